// shm_vector in real segments: at two addresses at once, nested, between segments, until memory
// runs out.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_vector.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_mutex.hpp>

using cohold::segment;
using cohold::shm_vector;

namespace {

// A segment with a name of its own, removed at the end.
class temporary_segment {
  public:
    explicit temporary_segment(const char* suffix, std::size_t reserve = 64 << 20)
        : name_("cohold.vector." + std::to_string(::getpid()) + "." + suffix),
          handle_(segment<>::create(name_, {.size = 65536, .reserve = reserve})) {}

    temporary_segment(const temporary_segment&) = delete;
    temporary_segment& operator=(const temporary_segment&) = delete;

    ~temporary_segment() { CHECK(segment<>::remove(name_)); }

    const segment<>* operator->() const { return &handle_; }

    // A second mapping of it, at another address.
    [[nodiscard]] segment<> again() const { return segment<>::open(name_); }

  private:
    std::string name_;
    segment<> handle_;
};

struct node {
    shm_vector<node> kids;
    std::int32_t value = 0;
};

struct record {
    std::int32_t id;
    shm_vector<std::int32_t> numbers;
    std::array<shm_vector<char>, 2> texts;
};

struct alignas(64) line {
    std::int32_t value;
};

struct alignas(4096) page {
    std::int32_t value;
};

template <class V>
bool aligned(const V& vector) {
    return reinterpret_cast<std::uintptr_t>(vector.data()) % alignof(typename V::value_type) == 0;
}

} // namespace

TEST_CASE("one vector at two addresses") {
    const temporary_segment here("two");
    const segment<> there = here.again();
    auto& mine = here->construct<shm_vector<int>>("numbers");
    auto* other = there.find<shm_vector<int>>("numbers");
    REQUIRE(other != nullptr);
    REQUIRE(other != &mine);
    CHECK(other->empty());
    for (int i = 0; i < 100000; ++i) { // the segment grows several times
        (i % 2 == 0 ? mine : *other).push_back(i);
    }
    REQUIRE(mine.size() == 100000);
    CHECK(mine.data() != other->data());
    CHECK(std::equal(mine.begin(), mine.end(), other->begin(), other->end()));
    CHECK((*other)[99999] == 99999);
    other->erase(other->begin() + 10, other->end());
    other->shrink_to_fit();
    CHECK(mine.size() == 10);
    CHECK(mine.capacity() == 10);
    CHECK(mine.back() == 9);
    CHECK(mine == *other);
    CHECK(mine.get_allocator() != other->get_allocator());
    CHECK(here->destroy<shm_vector<int>>("numbers"));
    CHECK(there.find<shm_vector<int>>("numbers") == nullptr);
}

TEST_CASE("nested vectors reach the segment to any depth") {
    const temporary_segment here("nested");
    const segment<> there = here.again();
    using table = shm_vector<shm_vector<shm_vector<int>>>;
    auto& mine = here->construct<table>("table", std::size_t{3});
    mine[1].resize(2);
    mine[1][1].assign(3, 7);
    mine.insert(mine.begin(), mine[1]);
    mine.emplace(mine.begin() + 1);
    mine.emplace_back(std::size_t{4})[3].push_back(1);
    for (int i = 0; i < 100; ++i) {
        mine.push_back(mine[0]); // an element of its own, through several growths
        mine.insert(mine.begin() + 1, 1, mine.back());
    }
    const auto* other = there.find<table>("table");
    REQUIRE(other != nullptr);
    CHECK(*other == mine);
    CHECK((*other)[0][1] == shm_vector<int>({7, 7, 7}, there.allocator<int>()));
    CHECK((*other)[205][1][2] == 7);
    for (const auto& row : *other) {
        CHECK(static_cast<bool>(row.get_allocator()));
        CHECK(row.get_allocator() == other->get_allocator());
    }

    auto& records = here->construct<shm_vector<record>>("records");
    records.resize(3);
    records[2].numbers.push_back(5);
    records[2].texts[1].assign(10, 'x');
    records.push_back(records[2]);
    records.erase(records.begin());
    records.insert(records.begin(), 2, records.back());
    auto* remote = there.find<shm_vector<record>>("records");
    REQUIRE(remote != nullptr);
    CHECK((*remote)[0].numbers.back() == 5);
    CHECK((*remote)[4].texts[1].size() == 10);
    (*remote)[4].texts[0].resize(100, 'y');
    CHECK(records[4].texts[0][99] == 'y');

    auto& root = here->construct<node>("root");
    root.kids.resize(2);
    root.kids[1].kids.emplace_back().value = 3;
    root.kids.push_back(root.kids[1]);
    CHECK(there.find<node>("root")->kids[2].kids[0].value == 3);

    const std::size_t full = here->used();
    here->destroy<node>("root");
    here->destroy<shm_vector<record>>("records");
    here->destroy<table>("table");
    CHECK(here->used() < full);
}

TEST_CASE("everything is freed") {
    const temporary_segment here("back");
    here->construct<int>("first", 1); // the directory has allocated its table
    const std::size_t before = here->used();
    auto& v = here->construct<shm_vector<shm_vector<int>>>("v");
    for (int i = 0; i < 1000; ++i) {
        v.emplace_back(static_cast<std::size_t>(i % 10), i);
    }
    v.erase(v.begin() + 100, v.begin() + 900);
    v.shrink_to_fit();
    auto copy = v;
    swap(v, copy);
    v = std::move(copy);
    CHECK(v.size() == 200);
    CHECK(here->destroy<shm_vector<shm_vector<int>>>("v"));
    CHECK(here->used() == before);
}

TEST_CASE("between segments elements are copied, and the target stays in its segment") {
    const temporary_segment one("one");
    const temporary_segment two("two");
    using table = shm_vector<shm_vector<int>>;
    auto& a = one->construct<table>("a");
    auto& b = two->construct<table>("b");
    a.emplace_back(std::size_t{3}, 7);
    a.emplace_back();
    b = a;
    CHECK(b == a);
    CHECK(b[0].get_allocator() == two->allocator<int>());
    b[0][0] = 8;
    CHECK(a[0][0] == 7);
    swap(a, b);
    CHECK(a[0][0] == 8);
    CHECK(b[0][0] == 7);
    CHECK(a[0].get_allocator() == one->allocator<int>());
    CHECK(b[0].get_allocator() == two->allocator<int>());
    a = std::move(b);
    CHECK(a[0][0] == 7);
    CHECK(a[0].get_allocator() == one->allocator<int>());
    CHECK(b.empty()); // NOLINT: promised to be
    auto& c = two->construct<table>("c", std::move(a));
    CHECK(c.size() == 2);
    CHECK(c[0][2] == 7);
    CHECK(c[0].get_allocator() == two->allocator<int>());
    CHECK(c.get_allocator() == two->allocator<int>());
    CHECK(a.empty()); // NOLINT: promised to be
    auto& d = one->construct<table>("d", c);
    CHECK(d == c);
    CHECK(d[0].get_allocator() == one->allocator<int>());

    // A vector of this process, with its elements in the segment.
    table local(two->allocator<shm_vector<int>>());
    local = c;
    const auto* where = local.data();
    c = std::move(local);
    CHECK(c.data() == where);
    local.push_back(shm_vector<int>({1, 2}, two->allocator<int>()));
    CHECK(local[0][1] == 2);
}

TEST_CASE("elements of every alignment") {
    const temporary_segment here("aligned");
    auto& lines = here->construct<shm_vector<line>>("lines");
    auto& pages = here->construct<shm_vector<page>>("pages");
    auto& bytes = here->construct<shm_vector<char>>("bytes");
    for (int i = 0; i < 40; ++i) {
        lines.push_back({i});
        pages.insert(pages.begin(), page{i});
        bytes.push_back('a');
        CHECK(aligned(lines));
        CHECK(aligned(pages));
    }
    CHECK(pages[39].value == 0);
    CHECK(lines[39].value == 39);
    CHECK(bytes.bytes().size() == 40);
}

TEST_CASE("running out of memory is an error, and changes nothing") {
    const temporary_segment here("full", 1 << 20);
    auto& v = here->construct<shm_vector<std::int64_t>>("v");
    std::int64_t pushed = 0;
    while (v.try_push_back(pushed)) {
        ++pushed;
        REQUIRE(pushed < (1 << 20));
    }
    CHECK(cohold::last_failure().code() == cohold::errc::reserve_exceeded);
    CHECK(v.size() == static_cast<std::size_t>(pushed));
    CHECK(pushed > 1000);
    CHECK_THROWS_AS(v.push_back(1), cohold::failure);
    CHECK_THROWS_AS(v.emplace_back(1), cohold::failure);
    CHECK_THROWS_AS(v.insert(v.begin(), 1), cohold::failure);
    CHECK_THROWS_AS(v.reserve(v.size() + 1000000), cohold::failure);
    CHECK_FALSE(v.try_reserve(v.size() + 1000000));
    CHECK(v.try_emplace_back(1) == nullptr);
    bool unchanged = v.size() == static_cast<std::size_t>(pushed);
    for (std::int64_t i = 0; i < pushed; ++i) {
        unchanged = unchanged && v[static_cast<std::size_t>(i)] == i;
    }
    CHECK(unchanged);
    v.pop_back();
    CHECK(v.try_push_back(5));
}

TEST_CASE("a full segment has enough room to insert and to erase, if the vector has") {
    const temporary_segment here("room", 1 << 20);
    auto& v = here->construct<shm_vector<std::int64_t>>("v");
    auto& all = here->construct<shm_vector<char>>("all");
    std::vector<std::int64_t> expected;
    v.reserve(5001);
    for (std::int64_t i = 0; i < 5000; ++i) {
        v.push_back(i);
        expected.push_back(i);
    }
    while (all.try_push_back('x')) {
    }
    std::vector<cohold::offset_ptr<char>> rest;
    auto bytes = here->allocator<char>();
    for (std::size_t size = 1 << 19; size != 0; size /= 2) {
        while (auto const block = bytes.try_allocate(size)) {
            rest.push_back(block);
        }
    }
    v.insert(v.begin(), -1);
    expected.insert(expected.begin(), -1);
    CHECK(std::ranges::equal(v, expected));
    v.erase(v.begin() + 100, v.begin() + 110);
    expected.erase(expected.begin() + 100, expected.begin() + 110);
    CHECK(std::ranges::equal(v, expected));
    v.insert(v.begin() + 5, 10, 77);
    expected.insert(expected.begin() + 5, 10, 77);
    CHECK(std::ranges::equal(v, expected));
}

TEST_CASE("a source that uses up the journal of a full segment and throws changes nothing") {
    const temporary_segment here("cut", 1 << 20);
    auto& v = here->construct<shm_vector<std::int64_t>>("v");
    v.reserve(5100);
    for (std::int64_t i = 0; i < 5000; ++i) {
        v.push_back(i);
    }
    auto bytes = here->allocator<char>();
    std::vector<cohold::offset_ptr<char>> small;
    for (std::size_t i = 0; i < 2000; ++i) {
        small.push_back(bytes.allocate(16));
    }
    for (std::size_t size = 1 << 19; size != 0; size /= 2) {
        while (bytes.try_allocate(size)) {
        }
    }
    // Every second one, so that the free blocks have no room for more records.
    auto freeing = std::views::iota(0, 20) | std::views::transform([&](int number) {
                       if (number == 19) {
                           for (std::size_t i = 0; i < small.size(); i += 2) {
                               bytes.deallocate(small[i], 16);
                           }
                           throw 19;
                       }
                       return std::int64_t{number};
                   });
    const std::uint64_t used = here->used();
    CHECK_THROWS_AS(v.insert_range(v.begin() + 10, freeing), int);
    CHECK(here->used() + 16 * small.size() / 2 <= used); // they were not saved for undoing
    CHECK(std::ranges::equal(v, std::views::iota(std::int64_t{0}, std::int64_t{5000})));
}

TEST_CASE("a vector outside any segment") {
    shm_vector<int> v;
    CHECK(v.empty());
    CHECK_THROWS_AS(v.push_back(1), cohold::failure);
    CHECK(cohold::last_failure().code() == cohold::errc::no_segment);
    CHECK_FALSE(v.try_push_back(1));
    CHECK_THROWS_AS(shm_vector<int>(3), cohold::failure);
    CHECK(v.empty());
    shm_vector<int> w = v;
    w = std::move(v);
    w.clear();
    w.shrink_to_fit();
    CHECK(w == v); // NOLINT
}

TEST_CASE("which types an element may have") {
    static_assert(cohold::shareable<shm_vector<int>>);
    static_assert(cohold::shareable<shm_vector<shm_vector<double>>>);
    static_assert(cohold::shareable<node>);
    static_assert(cohold::shareable<record>);
    static_assert(!cohold::shareable<shm_vector<int, std::allocator<int>>>);
    // Naming a vector of another type is no error; constructing it would be one.
    static_assert(sizeof(shm_vector<std::string>) == 32);

    const temporary_segment here("types");
    auto& flags = here->construct<shm_vector<std::atomic<std::uint32_t>>>("flags", std::size_t{4});
    flags[2] = 7;
    auto& pairs = here->construct<shm_vector<std::pair<int, std::optional<double>>>>("pairs");
    pairs.emplace_back(1, 2.5);
    CHECK(here.again().find<shm_vector<std::atomic<std::uint32_t>>>("flags")->at(2) == 7);
    CHECK(pairs[0].second == 2.5);
}

TEST_CASE("another element type is refused, and named") {
    const temporary_segment here("mismatch");
    here->construct<shm_vector<int>>("v");
    CHECK_THROWS_AS((void)here->find<shm_vector<float>>("v"), cohold::failure);
    CHECK(cohold::last_failure().code() == cohold::errc::type_mismatch);
    const std::string what = cohold::last_failure().what();
    CHECK(what.find("shm_vector<i32>") != std::string::npos);
    CHECK(what.find("shm_vector<f32>") != std::string::npos);
    CHECK(what.find("allocator") == std::string::npos);
}

TEST_CASE("a full segment gets back everything that is freed in it") {
    // More blocks at a time than a journal can record if it cannot grow.
    constexpr std::size_t count = 1000;
    const temporary_segment here("freed", 1 << 18);
    using rows_type = shm_vector<shm_vector<std::int32_t>>;
    auto& rows = here->construct<rows_type>("rows");
    rows.reserve(count);
    const std::size_t without = here->used();
    std::size_t bytes_of_100 = 0; // a few blocks may be larger than others
    for (std::size_t i = 0; i < count; ++i) {
        rows.emplace_back(1U, static_cast<std::int32_t>(i));
        bytes_of_100 = i < 100 ? here->used() - without : bytes_of_100;
    }
    const std::size_t bytes = here->used() - without;

    auto allocator = here->allocator<char>();
    auto gap = allocator.allocate(48000);
    std::vector<cohold::offset_ptr<char>> stones;
    while (const auto stone = allocator.try_allocate(16)) {
        stones.push_back(stone);
    }
    const std::size_t full = here->used();

    SUBCASE("by clear") {
        rows.clear();
        CHECK(here->used() == full - bytes);
    }
    SUBCASE("by erase") {
        rows.erase(rows.begin() + 100, rows.end());
        CHECK(here->used() == full - (bytes - bytes_of_100));
        CHECK(rows[99][0] == 99);
    }
    SUBCASE("by assignment") {
        rows = rows_type(here->allocator<shm_vector<std::int32_t>>());
        CHECK(here->used() == full - bytes - count * sizeof(rows_type));
    }
    SUBCASE("by destroy") {
        CHECK(here->destroy<rows_type>("rows"));
        CHECK(here->used() < full - bytes - count * sizeof(rows_type));
    }
    SUBCASE("by a copy that fails half-way") {
        allocator.deallocate(gap, 48000);
        gap = nullptr;
        const std::size_t before = here->used();
        CHECK_THROWS_AS(static_cast<void>(rows_type(rows)), cohold::failure);
        CHECK(here->used() == before);
        CHECK(rows.size() == count);
        CHECK(rows[count - 1][0] == count - 1);
    }
    for (const auto& stone : stones) {
        allocator.deallocate(stone, 16);
    }
    if (gap != nullptr) {
        allocator.deallocate(gap, 48000);
    }
}

namespace greedy {

// Like a library of expression templates: its & and comma would accept any types.
struct node {
    int value;
};

template <class T>
void operator&(T&&) = delete;

template <class T, class U>
void operator,(T&&, U&&) = delete;

inline bool operator==(const node& a, const node& b) {
    return a.value == b.value;
}

} // namespace greedy

TEST_CASE("the elements' own & and comma are not used") {
    using greedy::node;
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1U << 20);
    auto& a = segment.construct<cohold::shm_vector<node>>("a", 3U);
    auto& b = segment.construct<cohold::shm_vector<node>>("b", 2U, node{7});
    a = b;
    b = std::move(a);
    a.swap(b);
    a.push_back(node{1});
    a.insert(a.begin(), node{2});
    a.insert(a.begin(), 2U, node{3});
    a.insert(a.begin() + 1, b.begin(), b.end());
    a.emplace(a.begin(), 4);
    a.resize(10);
    a.erase(a.begin());
    CHECK(cohold::erase(a, node{}) == 3);
    CHECK(a == cohold::shm_vector<node>({{3}, {3}, {2}, {7}, {7}, {1}}, segment.allocator<node>()));
    a.assign(3, node{});
    auto moved = std::move(a);
    moved.clear();

    auto& queue = segment.construct<cohold::shm_queue<node>>("queue", 4);
    auto& alone = segment.construct<cohold::shm_queue<node, cohold::concurrency::spsc>>("alone", 4);
    queue.push(node{5});
    alone.push(node{6});
    CHECK(queue.pop()->value == 5);
    CHECK(alone.pop()->value == 6);

    auto& guarded = segment.construct<cohold::shm_guarded<node>>("guarded");
    guarded.with([](node& inside) { inside.value = 1; });
    CHECK(guarded.lock()->value == 1);
    segment.construct<node>("node", 9);
    CHECK(segment.find<node>("node")->value == 9);
    CHECK(segment.destroy<node>("node"));
    const auto root = cohold::shared<node, cohold::mechanism::anonymous>::create();
    cohold::offset_ptr<node> pointer(root.get());
    CHECK(pointer == root.get());
}

TEST_CASE("a thread that has used no segment may destroy a vector outside of segments") {
    std::thread([] {
        const shm_vector<int> none;
        CHECK(none.empty());
    }).join();
}

namespace {

struct with_optional {
    int id;
    std::optional<shm_vector<int>> extra;
};

} // namespace

TEST_CASE(
    "a vector that is made later in an object of a segment binds to the segment, in any thread") {
    using memory = cohold::segment<cohold::mechanism::anonymous>;
    const auto other = memory::create(1 << 20);
    const auto segment = memory::create(1 << 20);
    const auto third = memory::create(1 << 20);
    auto& object = segment.construct<with_optional>("object");
    std::thread([&] { // has used no segment
        object.extra.emplace();
        CHECK(object.extra->get_allocator() == segment.allocator<int>());
        object.extra->push_back(1);
        shm_vector<int> outside;
        CHECK_FALSE(static_cast<bool>(outside.get_allocator()));
    })
        .join();
    CHECK(object.extra->size() == 1);
    auto on_the_heap = std::make_unique<shm_vector<int>>();
    CHECK_FALSE(static_cast<bool>(on_the_heap->get_allocator()));
}

TEST_CASE("vectors can hold queues and locks, which stay in place") {
    using queue = cohold::shm_queue<int>;

    struct channel {
        queue requests{4};
        cohold::shm_mutex lock;
    };

    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1 << 20);
    auto& channels = segment.construct<shm_vector<channel>>("channels", 3);
    CHECK(channels[2].requests.push(7));
    CHECK(channels[2].requests.pop() == 7);
    CHECK(channels[1].lock.try_lock());
    channels[1].lock.unlock();
    auto& queues = segment.construct<shm_vector<std::optional<queue>>>("queues", 3);
    queues[1].emplace(16);
    CHECK(queues[1]->push(8));
    queues[1].reset();
    CHECK(segment.destroy<shm_vector<channel>>("channels"));
    CHECK(segment.destroy<shm_vector<std::optional<queue>>>("queues"));
}

namespace {

struct only_copied { // libc++'s std::vector does not accept it, but libstdc++'s does

    explicit only_copied(int n) : number(n) {}

    only_copied(const only_copied&) = default;
    only_copied(only_copied&&) = delete;
    only_copied& operator=(const only_copied&) = default;

    int number;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<only_copied> = true;

TEST_CASE("elements that can be copied but explicitly not moved are copied") {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1 << 20);
    auto& v = segment.construct<shm_vector<only_copied>>("v");
    const only_copied one(1);
    v.push_back(one);
    v.emplace_back(one);
    v.reserve(100);
    v.resize(5, one);
    CHECK(v.size() == 5);
    CHECK(v[1].number == 1);
}
