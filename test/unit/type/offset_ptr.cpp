// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/offset_ptr.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <forward_list>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include <doctest/doctest.h>

#if __has_include(<boost/container/vector.hpp>)
#define HAVE_BOOST 1
#include <boost/container/flat_map.hpp>
#include <boost/container/list.hpp>
#include <boost/container/map.hpp>
#include <boost/container/vector.hpp>
#endif

using cohold::offset_ptr;

namespace {

struct incomplete;

struct node { // T is incomplete where the class is instantiated
    int value = 0;
    offset_ptr<node> next;
    offset_ptr<incomplete> other;
};

struct base {
    int b = 1;
};

struct second_base {
    int s = 2;
};

struct derived : base, second_base {
    int d = 3;
};

struct abstract {
    virtual int answer() const = 0;

  protected:
    ~abstract() = default;
};

struct concrete final : abstract {
    int answer() const override { return 42; }
};

// Layout and traits.
static_assert(sizeof(offset_ptr<void>) == 8 && alignof(offset_ptr<void>) == 8);
static_assert(sizeof(node) == 24);
static_assert(!std::is_trivially_copyable_v<offset_ptr<int>>);
static_assert(std::is_trivially_destructible_v<offset_ptr<int>>);
static_assert(std::is_nothrow_default_constructible_v<offset_ptr<int>>);
static_assert(std::is_nothrow_copy_constructible_v<offset_ptr<int>>);
static_assert(std::is_nothrow_move_constructible_v<offset_ptr<int>>);
static_assert(std::is_nothrow_copy_assignable_v<offset_ptr<int>>);
static_assert(std::is_nothrow_move_assignable_v<offset_ptr<int>>);
static_assert(std::is_nothrow_swappable_v<offset_ptr<int>>);

// Iterator concepts.
static_assert(std::random_access_iterator<offset_ptr<int>>);
static_assert(std::contiguous_iterator<offset_ptr<int>>);
static_assert(std::contiguous_iterator<offset_ptr<const int>>);
static_assert(std::contiguous_iterator<offset_ptr<std::string>>);
static_assert(!std::input_iterator<offset_ptr<void>>);
// Boost's pointer_traits name functions that take a reference to the target of any pointer.
static_assert(std::is_lvalue_reference_v<offset_ptr<void>::reference>);
static_assert(std::is_lvalue_reference_v<offset_ptr<const void>::reference>);
static_assert(std::is_same_v<offset_ptr<const int>::reference, const int&>);
static_assert(std::is_same_v<std::iter_value_t<offset_ptr<const int>>, int>);
static_assert(std::is_same_v<std::iter_reference_t<offset_ptr<const int>>, const int&>);
static_assert(std::is_same_v<std::iterator_traits<offset_ptr<int>>::iterator_category,
                             std::random_access_iterator_tag>);
static_assert(std::sized_sentinel_for<offset_ptr<const int>, offset_ptr<int>>);
static_assert(std::totally_ordered_with<offset_ptr<int>, int*>);
static_assert(std::three_way_comparable<offset_ptr<int>, std::strong_ordering>);

// std::pointer_traits.
using traits = std::pointer_traits<offset_ptr<int>>;
static_assert(std::is_same_v<traits::element_type, int>);
static_assert(std::is_same_v<traits::rebind<const char>, offset_ptr<const char>>);
static_assert(std::is_same_v<traits::difference_type, std::ptrdiff_t>);

// Conversions: exactly those of raw pointers.
template <class From, class To>
constexpr bool converts_as_raw =
    std::is_convertible_v<offset_ptr<From>, offset_ptr<To>> == std::is_convertible_v<From*, To*> &&
    std::is_constructible_v<offset_ptr<To>, offset_ptr<From>> ==
        (std::is_convertible_v<From*, To*> || requires(From* p) { static_cast<To*>(p); });
static_assert(converts_as_raw<int, const int> && converts_as_raw<const int, int>);
static_assert(converts_as_raw<derived, base> && converts_as_raw<base, derived>);
static_assert(converts_as_raw<int, void> && converts_as_raw<void, int>);
static_assert(converts_as_raw<const int, void> && converts_as_raw<const void, int>);
static_assert(converts_as_raw<int, double> && converts_as_raw<base, second_base>);
static_assert(converts_as_raw<int, volatile int> && converts_as_raw<int, long>);
static_assert(std::is_convertible_v<int*, offset_ptr<const int>>);
static_assert(!std::is_convertible_v<const int*, offset_ptr<int>>);
static_assert(!std::is_convertible_v<offset_ptr<int>, int*>);
static_assert(!std::is_convertible_v<offset_ptr<int>, bool>);
static_assert(!std::is_convertible_v<int, offset_ptr<int>>);

constinit offset_ptr<int> static_null = nullptr;

// Two mappings of one memfd at two addresses.
class double_mapping {
  public:
    static constexpr std::size_t size = 1 << 16;

    double_mapping() {
        const int fd = memfd_create("offset_ptr", MFD_CLOEXEC);
        REQUIRE(fd >= 0);
        REQUIRE(ftruncate(fd, size) == 0);
        for (void*& address : address_) {
            address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            REQUIRE(address != MAP_FAILED);
        }
        close(fd);
    }

    double_mapping(const double_mapping&) = delete;
    double_mapping& operator=(const double_mapping&) = delete;

    ~double_mapping() {
        for (void* address : address_) {
            munmap(address, size);
        }
    }

    template <class T = char>
    T* at(int which, std::size_t offset = 0) const {
        return reinterpret_cast<T*>(static_cast<char*>(address_[which]) + offset);
    }

  private:
    void* address_[2] = {};
};

// A bump allocator over a plain buffer, whose pointer is offset_ptr.
struct arena {
    alignas(16) std::byte bytes[1 << 16];
    std::size_t used = 0;
    std::size_t live = 0;
};

template <class T>
struct arena_allocator {
    using value_type = T;
    using pointer = offset_ptr<T>;

    explicit arena_allocator(arena& a) noexcept : home(&a) {}

    template <class U>
    arena_allocator(const arena_allocator<U>& other) noexcept : home(other.home) {}

    pointer allocate(std::size_t count) {
        const std::size_t start = (home->used + alignof(T) - 1) / alignof(T) * alignof(T);
        if (start + count * sizeof(T) > sizeof(home->bytes)) {
            std::abort();
        }
        home->used = start + count * sizeof(T);
        ++home->live;
        return reinterpret_cast<T*>(home->bytes + start);
    }

    void deallocate(const pointer& p, std::size_t) noexcept {
        CHECK(p != nullptr);
        --home->live;
    }

    template <class U>
    friend bool operator==(const arena_allocator& a, const arena_allocator<U>& b) noexcept {
        return a.home == b.home;
    }

    arena* home;
};

} // namespace

TEST_CASE("null, self and other targets are distinguished") {
    offset_ptr<int> p;
    CHECK(!p);
    CHECK(static_null == nullptr);
    CHECK(p.get() == nullptr);
    CHECK(p == nullptr);
    int x = 7;
    p = &x;
    CHECK(p);
    CHECK(p.get() == &x);
    CHECK(p.unchecked() == &x);
    CHECK(*p == 7);
    p = nullptr;
    CHECK(p == nullptr);

    offset_ptr<void> self;
    self = &self;
    CHECK(self);
    CHECK(self != nullptr);
    CHECK(self.get() == &self);
    const offset_ptr<void> copy = self; // points to self, not to copy
    CHECK(copy.get() == &self);
    self = copy;
    CHECK(self.get() == &self);
    offset_ptr<void>& alias = self;
    self = alias;
    CHECK(self.get() == &self);
}

TEST_CASE("the bytes are as documented") {
    struct {
        offset_ptr<char> p;
        char bytes[16];
    } s;

    std::int64_t raw = 0;
    const auto stored = [&] {
        std::memcpy(&raw, &s.p, sizeof(raw));
        return raw;
    };
    CHECK(stored() == 0);
    s.p = s.bytes + 4;
    CHECK(stored() == 12);
    s.p = reinterpret_cast<char*>(&s.p);
    CHECK(stored() == INT64_MIN);
    s.p = reinterpret_cast<char*>(&s) + 1;
    CHECK(stored() == 1);

    struct {
        char bytes[16];
        offset_ptr<char> p;
    } t;

    t.p = t.bytes;
    std::memcpy(&raw, &t.p, sizeof(raw));
    CHECK(raw == -16); // sign-extended, also in a 32-bit program
    std::memset(static_cast<void*>(&t.p), 0, sizeof(t.p));
    CHECK(t.p == nullptr);
}

TEST_CASE("copies in other places point to the same target") {
    int target[3] = {1, 2, 3};
    offset_ptr<int> a = target;
    offset_ptr<int> places[4] = {a, a, a, offset_ptr<int>(std::move(a))};
    for (offset_ptr<int>& p : places) {
        CHECK(p.get() == target);
    }
    using std::swap;
    offset_ptr<int> other = target + 2;
    swap(places[0], other);
    CHECK(places[0].get() == target + 2);
    CHECK(other.get() == target);
}

TEST_CASE("conversions") {
    derived d;
    offset_ptr<derived> pd = &d;
    offset_ptr<second_base> ps = pd; // the address changes
    CHECK(ps.get() == static_cast<second_base*>(&d));
    CHECK(ps->s == 2);
    CHECK(static_cast<offset_ptr<derived>>(ps).get() == &d);
    CHECK(cohold::static_pointer_cast<derived>(ps) == &d);
    const offset_ptr<const derived> pc = pd;
    CHECK(cohold::const_pointer_cast<derived>(pc) == &d);
    offset_ptr<void> pv = pd;
    CHECK(pv == &d);
    CHECK(static_cast<offset_ptr<derived>>(pv)->d == 3);
    CHECK(cohold::reinterpret_pointer_cast<char>(pd).get() == reinterpret_cast<char*>(&d));

    offset_ptr<derived> none;
    offset_ptr<second_base> still_none = none; // null stays null although the base is not at 0
    CHECK(still_none == nullptr);
    CHECK(static_cast<offset_ptr<derived>>(still_none) == nullptr);

    concrete c;
    offset_ptr<abstract> pa = &c;
    CHECK(pa->answer() == 42);

    int grid[2][3] = {{1, 2, 3}, {4, 5, 6}};
    offset_ptr<int[3]> row = grid;
    CHECK((*row)[1] == 2);
    ++row;
    CHECK((*row)[1] == 5);
}

TEST_CASE("arithmetic and comparison") {
    int array[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    offset_ptr<int> p = array;
    CHECK(*(p + 3) == 3);
    CHECK(*(3 + p) == 3);
    CHECK(p[9] == 9);
    p += 4;
    CHECK(*p == 4);
    p -= 2;
    CHECK(*p == 2);
    CHECK(*p++ == 2);
    CHECK(*p-- == 3);
    CHECK(*++p == 3);
    CHECK(*--p == 2);
    offset_ptr<const int> end = array + 10;
    CHECK(end - p == 8);
    CHECK(p - end == -8);
    CHECK(p - array == 2);
    CHECK(array - end == -10);
    static_assert(std::sized_sentinel_for<offset_ptr<int>, int*>);
    static_assert(std::sized_sentinel_for<int*, offset_ptr<const int>>);
    CHECK(p < end);
    CHECK(end >= p);
    CHECK(p == array + 2);
    CHECK(array + 2 == p);
    CHECK(p < array + 3);
    CHECK(array < p);
    CHECK((p <=> array) > 0);
    CHECK(p > nullptr);
    CHECK(nullptr != p);
    CHECK(p != end);
    offset_ptr<int> null;
    null += 0;
    CHECK(null == nullptr);
    CHECK(null - offset_ptr<int>() == 0);

    // Stepping over itself is not a special case.
    offset_ptr<offset_ptr<void>> cells[3];
    auto* first = reinterpret_cast<offset_ptr<void>*>(cells);
    cells[1] = first;
    ++cells[1];
    CHECK(cells[1].get() == first + 1);
    ++cells[1];
    CHECK(cells[1].get() == first + 2);
    cells[1] -= 2;
    CHECK(cells[1].get() == first);
}

TEST_CASE("traits, iterators and hash") {
    int array[4] = {4, 2, 3, 1};
    const offset_ptr<int> p = traits::pointer_to(array[1]);
    CHECK(p == array + 1);
    CHECK(std::to_address(p) == array + 1);
    CHECK(traits::to_address(p) == array + 1);
    CHECK(std::hash<offset_ptr<int>>{}(p) == std::hash<int*>{}(array + 1));
    CHECK(std::hash<offset_ptr<void>>{}(p) == std::hash<void*>{}(array + 1));
    std::sort(offset_ptr<int>(array), offset_ptr<int>(array + 4));
    CHECK(array[0] == 1);
    CHECK(array[3] == 4);
    CHECK(std::vector<int>(offset_ptr<int>(array), offset_ptr<int>(array + 4)).size() == 4);
    std::ostringstream text;
    std::ostringstream expected;
    text << p << ' ' << offset_ptr<const void>(p);
    expected << p.get() << ' ' << static_cast<const void*>(p.get());
    CHECK(text.str() == expected.str());
}

TEST_CASE("a list built through one mapping is read through another") {
    const double_mapping memory;
    node* head = new (memory.at<node>(0, 8192)) node;
    node* tail = new (memory.at<node>(0, 64)) node;
    head->value = 1;
    head->next = tail;
    tail->value = 2;
    tail->next = tail; // a node's first member is not the pointer, so this is no self-pointer
    const node* seen = memory.at<node>(1, 8192);
    CHECK(seen->next.get() == memory.at<node>(1, 64));
    CHECK(seen->next->value == 2);
    CHECK(seen->next->next == seen->next);
    CHECK(seen->other == nullptr);

    auto* self = new (memory.at(0, 128)) offset_ptr<void>;
    *self = self;
    CHECK(memory.at<offset_ptr<void>>(1, 128)->get() == memory.at(1, 128));

    std::memcpy(memory.at(0, 32768), memory.at(0, 0), 16384); // pointers together with targets
    const node* copy = memory.at<node>(0, 32768 + 8192);
    CHECK(copy->next.get() == memory.at<node>(0, 32768 + 64));
    CHECK(copy->next->value == 2);
}

TEST_CASE_TEMPLATE("the pointer of an allocator of std containers", T, int, std::string) {
    const auto make = [](int i) {
        if constexpr (std::is_same_v<T, int>) {
            return i;
        } else {
            return "a string too long for the small buffer " + std::to_string(i);
        }
    };
    auto home = std::make_unique<arena>();
    {
        arena_allocator<T> a(*home);
        std::vector<T, arena_allocator<T>> v(a);
        for (int i = 0; i < 100; ++i) {
            v.push_back(make(i));
        }
        v.erase(v.begin() + 10);
        v.insert(v.begin(), make(-1));
        auto w = v;
        CHECK(w == v);
        CHECK(w[50] == make(50));
        CHECK(std::to_address(w.begin()) == w.data());
    }
    CHECK(home->live == 0);
    {
        arena_allocator<T> a(*home);
        std::deque<T, arena_allocator<T>> d(a);
        for (int i = 0; i < 300; ++i) {
            d.push_back(make(i));
            d.push_front(make(-i));
        }
        d.pop_front();
        CHECK(d.size() == 599);
        CHECK(d.back() == make(299));
    }
    CHECK(home->live == 0);
    {
        arena_allocator<T> a(*home);
        std::forward_list<T, arena_allocator<T>> f(a);
        for (int i = 0; i < 10; ++i) {
            f.push_front(make(i));
        }
        f.reverse();
        CHECK(f.front() == make(0));
    }
    CHECK(home->live == 0);
    {
        using pair = std::pair<const int, T>;
        std::unordered_map<int, T, std::hash<int>, std::equal_to<>, arena_allocator<pair>> m(
            16, std::hash<int>{}, std::equal_to<>{}, arena_allocator<pair>(*home));
        for (int i = 0; i < 100; ++i) {
            m.emplace(i, make(i));
        }
        m.erase(5);
        CHECK(m.size() == 99);
        CHECK(m.at(77) == make(77));
    }
    CHECK(home->live == 0);
}

TEST_CASE("the pointer of an allocator of std::list and map") {
#if defined(_LIBCPP_VERSION)
    auto home = std::make_unique<arena>();
    {
        std::list<int, arena_allocator<int>> l({3, 1, 2}, arena_allocator<int>(*home));
        l.sort();
        CHECK(l.front() == 1);
        CHECK(l.back() == 3);
        using pair = std::pair<const int, int>;
        std::map<int, int, std::less<>, arena_allocator<pair>> m(arena_allocator<pair>{*home});
        for (int i = 0; i < 100; ++i) {
            m[i * 37 % 101] = i;
        }
        CHECK(m.size() == 100);
        CHECK(m.begin()->first == 0);
    }
    CHECK(home->live == 0);
#else
    // libstdc++ 12 refuses pointers of class type here: its nodes hold raw pointers, and assign
    // what allocate() gives to them. std::basic_string takes none in either library: its bytes
    // share a union with the pointer.
    MESSAGE("std::list and std::map of libstdc++ take raw pointers only");
#endif
}

#if defined(HAVE_BOOST)
TEST_CASE("the pointer of an allocator of Boost containers") {
    auto home = std::make_unique<arena>();
    {
        namespace bc = boost::container;
        bc::vector<int, arena_allocator<int>> v{arena_allocator<int>(*home)};
        for (int i = 0; i < 100; ++i) {
            v.push_back(i);
        }
        v.erase(v.begin() + 1);
        CHECK(v[1] == 2);
        bc::list<int, arena_allocator<int>> l{arena_allocator<int>(*home)};
        l.push_back(2);
        l.push_front(1);
        l.reverse();
        CHECK(l.front() == 2);
        using pair = std::pair<const int, int>;
        bc::map<int, int, std::less<int>, arena_allocator<pair>> m{arena_allocator<pair>(*home)};
        using flat_pair = std::pair<int, int>;
        bc::flat_map<int, int, std::less<int>, arena_allocator<flat_pair>> f{
            arena_allocator<flat_pair>(*home)};
        for (int i = 0; i < 100; ++i) {
            m[i * 37 % 101] = i;
            f[i * 37 % 101] = i;
        }
        CHECK(m.size() == 100);
        CHECK(f.size() == 100);
        CHECK(std::equal(m.begin(), m.end(), f.begin(),
                         [](const auto& a, const auto& b) { return a.first == b.first; }));
    }
    CHECK(home->live == 0);
}
#endif
