// How shm_vector treats allocators: propagation, unequal ones, their own construct and destroy.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_vector.hpp>

#include <atomic>
#include <memory_resource>
#include <scoped_allocator>

#include "vector_support.hpp"

using namespace vector_test;

namespace {

// All of the test's vectors from two ledgers, and at the end the proof that each block was returned
// to its ledger.
template <class V>
struct two_books {
    ledger first;
    ledger second;

    typename V::allocator_type a{first};
    typename V::allocator_type b{second};

    two_books() = default;
    two_books(const two_books&) = delete;
    two_books& operator=(const two_books&) = delete;

    ~two_books() {
        CHECK(first.outstanding == 0);
        CHECK(second.outstanding == 0);
    }
};

template <unsigned Traits>
struct with {
    static constexpr unsigned traits = Traits;
};

#define ALL_TRAITS                                                                                 \
    with<plain>, with<copy_propagates>, with<move_propagates>, with<swap_propagates>,              \
        with<copy_propagates | move_propagates>, with<copy_propagates | swap_propagates>,          \
        with<move_propagates | swap_propagates>,                                                   \
        with<copy_propagates | move_propagates | swap_propagates>, with<offset_pointers>,          \
        with<offset_pointers | copy_propagates | move_propagates | swap_propagates>,               \
        with<own_construct>, with<own_construct | offset_pointers>

template <class T, class Traits>
void propagation() {
    using V = ledger_vec<T, Traits::traits>;
    constexpr bool pocca = (Traits::traits & copy_propagates) != 0;
    constexpr bool pocma = (Traits::traits & move_propagates) != 0;
    constexpr bool pocs = (Traits::traits & swap_propagates) != 0;
    two_books<V> books;
    for (std::size_t room : {std::size_t{0}, std::size_t{2}, std::size_t{30}}) {
        for (int size : {0, 2, 10}) {
            CAPTURE(room);
            CAPTURE(size);
            V target(books.a);
            target.reserve(room);
            target.push_back(el<T>(8));
            target.push_back(el<T>(9));
            V source(books.b);
            for (int i = 0; i < size; ++i) {
                source.push_back(el<T>(i));
            }
            const V expected(source, books.a);
            const V old(target, books.b);
            const T* in_source = source.data();

            V copied(target, books.a);
            copied.reserve(20); // a block that must be returned to its origin
            copied = source;
            CHECK(copied == expected);
            CHECK(copied.get_allocator() == (pocca ? books.b : books.a));
            CHECK(source == V(expected, books.b));

            V copied_within(books.b);
            copied_within = source;
            CHECK(copied_within == expected);

            // Swap back and forth.
            target.swap(source);
            CHECK(target == expected);
            CHECK(source == old);
            CHECK(target.get_allocator() == (pocs ? books.b : books.a));
            CHECK(source.get_allocator() == (pocs ? books.a : books.b));
            if (pocs && size != 0) {
                CHECK(target.data() == in_source);
            }
            target.swap(source);
            CHECK(target == old);
            CHECK(source == expected);

            in_source = source.data();
            target = std::move(source);
            CHECK(target == expected);
            CHECK(target.get_allocator() == (pocma ? books.b : books.a));
            CHECK(source.empty()); // NOLINT: promised to be
            if (pocma && size != 0) {
                CHECK(target.data() == in_source);
            }
            source.push_back(el<T>(1)); // as good as new
            CHECK(holds(source, {1}));
        }
    }
}

} // namespace

TEST_CASE_TEMPLATE("propagation: numbers", Traits, ALL_TRAITS) {
    propagation<int, Traits>();
}

TEST_CASE_TEMPLATE("propagation: strings", Traits, ALL_TRAITS) {
    propagation<std::string, Traits>();
}

TEST_CASE_TEMPLATE("propagation: elements that count themselves", Traits, ALL_TRAITS) {
    const long outside = fuse::live;
    propagation<probe<moving::never_throws>, Traits>();
    propagation<probe<moving::may_throw>, Traits>();
    CHECK(fuse::live == outside);
}

TEST_CASE_TEMPLATE("constructors with an allocator", T, int, std::string, page) {
    using V = ledger_vec<T, offset_pointers | selects_default>;
    two_books<V> books;
    V v({el<T>(1), el<T>(2)}, books.a);
    CHECK(v.get_allocator() == books.a);
    CHECK(books.first.outstanding == static_cast<long>(2 * sizeof(T)));

    const V selected(v); // select_on_container_copy_construction
    CHECK(selected.get_allocator().book().outstanding != 0);
    CHECK(&selected.get_allocator().book() == &default_ledger);
    CHECK(selected == v);

    const V copy(v, books.b);
    CHECK(copy.get_allocator() == books.b);
    CHECK(copy == v);

    const T* where = v.data();
    V moved(std::move(v));
    CHECK(moved.get_allocator() == books.a);
    CHECK(moved.data() == where);
    V same(std::move(moved), books.a);
    CHECK(same.data() == where);
    V across(std::move(same), books.b);
    CHECK(across.get_allocator() == books.b);
    CHECK(across.data() != where);
    CHECK(holds(across, {1, 2}));
    CHECK(same.empty()); // NOLINT: promised to be

    CHECK(V(3, books.b).get_allocator() == books.b);
    CHECK(V(3, el<T>(1), books.b).get_allocator() == books.b);
    const std::vector<T> source{el<T>(1)};
    CHECK(V(source.begin(), source.end(), books.b).get_allocator() == books.b);
    CHECK(V(cohold::from_range, source, books.b).get_allocator() == books.b);
}

TEST_CASE("unequal allocators move the elements, not copies of them") {
    using V = ledger_vec<std::unique_ptr<int>>;
    two_books<V> books;
    V v(books.a);
    v.push_back(std::make_unique<int>(5));
    const int* where = v[0].get();
    V across(std::move(v), books.b);
    CHECK(across[0].get() == where);
    V back(books.a);
    back.push_back(nullptr);
    back.push_back(nullptr);
    back = std::move(across);
    REQUIRE(back.size() == 1);
    CHECK(back[0].get() == where);
    V other(books.b);
    other.swap(back);
    CHECK(back.empty());
    CHECK(other[0].get() == where);
}

TEST_CASE("a swap that runs out of memory changes nothing") {
    using V = ledger_vec<std::string>;
    two_books<V> books;
    V a({"a", "b", "c"}, books.a);
    V b({"d"}, books.b);
    for (ledger* failing : {&books.first, &books.second}) {
        failing->fail_after = 0;
        CHECK_THROWS_AS(a.swap(b), std::bad_alloc);
        failing->fail_after = -1;
        CHECK(a == V({"a", "b", "c"}));
        CHECK(b == V({"d"}));
    }
    a.swap(b);
    CHECK(a.size() == 1);
    CHECK(a.get_allocator() == books.a);
}

TEST_CASE("elements that cannot move stay, with an error") {
    using V = ledger_vec<std::atomic<int>>;
    two_books<V> books;
    V a(2, books.a);
    V b(3, books.b);
    CHECK_THROWS_AS(a.swap(b), cohold::failure);
    CHECK(cohold::last_failure().code() == cohold::errc::unsupported);
    CHECK_THROWS_AS(a = std::move(b), cohold::failure);
    CHECK(a.size() == 2);
    CHECK(b.size() == 3); // NOLINT: was not moved
    V c(2, books.a);
    a.swap(c);
    a = std::move(c);
    CHECK(a.size() == 2);
}

TEST_CASE_TEMPLATE("the allocator's own construct and destroy are used for every element", T, int,
                   std::string, line, page) {
    using V = ledger_vec<T, own_construct>;
    constructs = 0;
    destroys = 0;
    {
        V v(3);
        CHECK(constructs == 3);
        v.push_back(el<T>(1));
        v.insert(v.begin(), 5, el<T>(2));
        v.resize(20);
        v.erase(v.begin() + 3, v.begin() + 7);
        const V copy(v);
        v.shrink_to_fit();
        v.assign(40, el<T>(3));
        v.insert(v.begin() + 1, copy.begin(), copy.end());
        v.clear();
        CHECK(constructs - destroys == static_cast<long>(copy.size()));
    }
    CHECK(constructs == destroys);
    CHECK(constructs > 60);
}

TEST_CASE("an allocator can pass itself on to the elements") {
    std::pmr::monotonic_buffer_resource resource;
    using V =
        cohold::shm_vector<std::pmr::string, std::pmr::polymorphic_allocator<std::pmr::string>>;
    V v(&resource);
    v.emplace_back("a string that is too long for the small buffer of it");
    v.resize(2);
    v.insert(v.begin(), 2, "another");
    for (const auto& string : v) {
        CHECK(string.get_allocator().resource() == &resource);
    }
    using inner = ledger_allocator<int>;
    using outer = ledger_allocator<ledger_vec<int>>;
    using scoped = std::scoped_allocator_adaptor<outer, inner>;
    ledger outer_book;
    ledger inner_book;
    {
        const inner inner_allocator(inner_book);
        const scoped allocator(outer(outer_book), inner_allocator);
        cohold::shm_vector<ledger_vec<int>, scoped> w(allocator);
        w.emplace_back(std::size_t{3}, 7);
        w.resize(5);
        CHECK(w[0].get_allocator().book().outstanding == 12);
        CHECK(&w[4].get_allocator().book() == &inner_book);
        CHECK(w[0] == ledger_vec<int>{7, 7, 7});
    }
    CHECK(outer_book.outstanding == 0);
    CHECK(inner_book.outstanding == 0);
}

TEST_CASE("a move keeps the nested vectors where they are") {
    using inner = ledger_vec<int>;
    ledger book;
    ledger_vec<inner> v;
    for (int i = 0; i < 10; ++i) {
        v.emplace_back(std::size_t{3}, i, ledger_allocator<int>(book));
    }
    CHECK(book.allocations == 10); // growing the outer vector has not copied an inner one
    v.insert(v.begin(), 2, inner(ledger_allocator<int>(book)));
    v.erase(v.begin());
    v.erase(v.begin());
    CHECK(book.allocations == 10);
    CHECK(v[9][2] == 9);
    v.clear();
    CHECK(book.outstanding == 0);
}

// Only this allocator may construct and destroy elements.
template <class T>
struct sole_maker {
    using value_type = T;

    sole_maker() = default;

    template <class U>
    sole_maker(const sole_maker<U>&) {}

    T* allocate(std::size_t n) { return std::allocator<T>().allocate(n); }

    void deallocate(T* p, std::size_t n) { std::allocator<T>().deallocate(p, n); }

    template <class... Args>
    void construct(T* at, Args&&... args) {
        ::new (static_cast<void*>(at)) T(std::forward<Args>(args)...);
        ++T::alive;
    }

    void destroy(T* at) {
        at->~T();
        --T::alive;
    }

    bool operator==(const sole_maker&) const { return true; }
};

class made_by_its_allocator {
    friend sole_maker<made_by_its_allocator>;

    friend bool
    holds(const cohold::shm_vector<made_by_its_allocator, sole_maker<made_by_its_allocator>>& v,
          std::initializer_list<int> values) {
        return std::equal(v.begin(), v.end(), values.begin(), values.end(),
                          [](const auto& a, int b) { return a.value_ == b; });
    }

    explicit made_by_its_allocator(int value) : value_(value) {}

    made_by_its_allocator(const made_by_its_allocator& other) : value_(other.value_) {} // may throw

    ~made_by_its_allocator() {}

    static inline int alive = 0;

    int value_;

  public:
    made_by_its_allocator& operator=(const made_by_its_allocator& other) {
        value_ = other.value_;
        return *this;
    }

    static int how_many() { return alive; }
};

TEST_CASE("whichever way elements take, the allocator constructs and destroys them") {
    {
        cohold::shm_vector<made_by_its_allocator, sole_maker<made_by_its_allocator>> v;
        v.reserve(20);
        v.emplace_back(1);
        v.emplace(v.begin(), 2);
        v.insert(v.begin(), v.back());
        CHECK(holds(v, {1, 2, 1}));
        v.insert(v.begin() + 1, 2, v[1]);
        CHECK(holds(v, {1, 2, 2, 2, 1}));
        v.erase(v.begin());
        v.push_back(v.front());
        v.resize(6, v[3]);
        CHECK(holds(v, {2, 2, 2, 1, 2, 1}));
        CHECK(made_by_its_allocator::how_many() == 6);
    }
    CHECK(made_by_its_allocator::how_many() == 0);
}

// Trivially copyable, but rvalues use another constructor.
struct counts_rvalues {
    int value = 0;

    static inline int constructed = 0;
    static inline int assigned = 0;

    counts_rvalues() = default;
    counts_rvalues(const counts_rvalues&) = default;
    counts_rvalues& operator=(const counts_rvalues&) = default;

    template <class U>
        requires std::same_as<U, counts_rvalues>
    counts_rvalues(U&& other) noexcept : value(other.value) {
        ++constructed;
    }

    template <class U>
        requires std::same_as<U, counts_rvalues>
    counts_rvalues& operator=(U&& other) noexcept {
        value = other.value;
        ++assigned;
        return *this;
    }
};

static_assert(std::is_trivially_copyable_v<counts_rvalues>);

// Not movable as bytes, either: it cannot be moved at all.
struct copied_only {
    int value;

    explicit copied_only(int v) : value(v) {}

    copied_only(const copied_only&) = default;
    copied_only(copied_only&&) = delete;
    copied_only& operator=(const copied_only&) = default;
};

TEST_CASE("a trivially copyable class is moved by the constructor that overload resolution finds") {
    vec<counts_rvalues> v(4);
    counts_rvalues::constructed = 0;
    v.shrink_to_fit();
    v.reserve(v.capacity() + 1);
    CHECK(counts_rvalues::constructed == 4);
    counts_rvalues::assigned = 0;
    v.erase(v.begin());
    CHECK(counts_rvalues::assigned == 3);
    vec<copied_only> w;
    const copied_only one(1);
    for (int i = 0; i < 9; ++i) {
        w.push_back(one);
        w.emplace_back(i);
    }
    w.erase(w.begin());
    CHECK(w[16].value == 8);
}

template <class... Args>
concept deducible = requires(Args... args) { cohold::shm_vector(args...); };

struct no_allocator {};

static_assert(!deducible<int, int*, no_allocator>);
static_assert(!deducible<int*, int*, no_allocator>);
static_assert(!deducible<vec<int>, no_allocator>);
static_assert(!deducible<no_allocator, no_allocator>);
static_assert(deducible<int, double>);
static_assert(deducible<int, double, std::allocator<double>>);
static_assert(deducible<int*, int*, std::allocator<int>>);
static_assert(deducible<vec<int>, std::allocator<int>>);
