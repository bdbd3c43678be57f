// shm_hash_map: what each member does, compared with std::unordered_map, and what it does about
// exceptions, full segments and wrong use.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <pthread.h>

#include <cohold/container/shm_hash_map.hpp>
#include <cohold/container/shm_string.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

using memory = segment<mechanism::memfd>;
using number = std::uint64_t;

// All keys collide; or there are only 16 different hashes.
struct one_hash {
    number operator()(number /*key*/, number /*seed*/) const noexcept { return 42; }
};

struct few_hashes {
    number operator()(number key, number seed) const noexcept {
        return shm_hash<number>()(key % 16, seed);
    }
};

// Values: one word; several words; and one that owns memory.
using wide = std::array<number, 3>;
using owning = shm_vector<number>;
using map = shm_hash_map<number, number>;

void set(number& value, number to) {
    value = to;
}

void set(wide& value, number to) {
    value = {to, to + 1, to + 2};
}

void set(owning& value, number to) {
    value.assign({to, to + 1});
}

number get(number value) {
    return value;
}

number get(const wide& value) {
    return value[1] == value[0] + 1 && value[2] == value[0] + 2 ? value[0] : 0;
}

number get(const owning& value) {
    return value.size() == 2 && value[1] == value[0] + 1 ? value[0] : 0;
}

struct boom {};

template <class Map>
void check_equal(Map& it, const std::unordered_map<number, number>& model) {
    std::unordered_map<number, number> found;
    const std::size_t count = it.cvisit_all(
        [&](const auto& each) { CHECK(found.emplace(each.first, get(each.second)).second); });
    CHECK(count == model.size());
    CHECK(it.size() == model.size());
    CHECK(it.empty() == model.empty());
    CHECK(found == model);
}

// Random operations, and the same ones on a std::unordered_map.
template <class Map>
void compare(int operations, number keys, unsigned seed) {
    const memory shared = memory::create({.size = 1 << 20});
    Map& it = shared.construct<Map>("it");
    std::unordered_map<number, number> model;
    std::mt19937_64 random(seed);
    auto& value = shared.construct<typename Map::mapped_type>("value");
    for (int i = 0; i < operations; ++i) {
        const number key = random() % keys;
        const number to = random() >> 8 | 1;
        set(value, to);
        const auto entry = model.find(key);
        const bool is_new = entry == model.end();
        const number was = is_new ? 0 : entry->second;
        number seen = 0;
        const auto see = [&](const auto& each) { seen = get(each.second); };
        const auto assign = [&](auto& each) {
            seen = get(each.second);
            set(each.second, to);
        };
        switch (random() % 20) {
        case 0:
            REQUIRE(it.insert({key, value}) == is_new);
            model.emplace(key, to);
            break;
        case 1:
            REQUIRE(it.emplace(key, value) == is_new);
            model.emplace(key, to);
            break;
        case 2:
            REQUIRE(it.try_emplace(key, value) == is_new);
            model.emplace(key, to);
            break;
        case 3:
        case 4:
            REQUIRE(it.insert_or_assign(key, value) == is_new);
            model[key] = to;
            break;
        case 5:
            REQUIRE(it.insert_or_visit({key, value}, assign) == is_new);
            REQUIRE(seen == was);
            model[key] = to;
            break;
        case 6:
            REQUIRE(it.try_emplace_or_cvisit(key, value, see) == is_new);
            REQUIRE(seen == was);
            model.emplace(key, to);
            break;
        case 7:
            REQUIRE(it.emplace_or_visit(key, value, assign) == is_new);
            REQUIRE(seen == was);
            model[key] = to;
            break;
        case 8:
        case 9:
        case 10:
        case 11:
            REQUIRE(it.erase(key) == model.erase(key));
            break;
        case 12:
            REQUIRE(it.erase_if(key, [&](const auto& each) { return get(each.second) % 2 == 1; }) ==
                    model.erase(key));
            break;
        case 13:
            REQUIRE(it.visit(key, assign) == (is_new ? 0 : 1));
            REQUIRE(seen == was);
            if (!is_new) {
                entry->second = to;
            }
            break;
        case 14:
            REQUIRE(it.update(key, [&](auto& each) { set(each, to); }) == !is_new);
            if (!is_new) {
                entry->second = to;
            }
            break;
        case 15:
            REQUIRE(it.cvisit(key, see) == (is_new ? 0 : 1));
            REQUIRE(seen == was);
            break;
        case 16: {
            const auto found = it.get(key);
            REQUIRE(found.has_value() == !is_new);
            REQUIRE((is_new || get(*found) == was));
            break;
        }
        default:
            REQUIRE(it.contains(key) == !is_new);
            REQUIRE(it.count(key) == (is_new ? 0 : 1));
        }
        if (random() % (static_cast<number>(operations) / 4) == 0) {
            it.clear();
            model.clear();
        }
    }
    check_equal(it, model);
    const std::size_t odd = it.erase_if([](const auto& each) { return each.first % 2 == 1; });
    CHECK(odd == std::erase_if(model, [](const auto& each) { return each.first % 2 == 1; }));
    check_equal(it, model);
    shared.destroy<Map>("it");
}

} // namespace

TEST_CASE("random operations do to shm_hash_map what they do to std::unordered_map") {
    SUBCASE("few keys") {
        compare<map>(200000, 100, 1);
    }
    SUBCASE("many keys") {
        compare<map>(400000, 20000, 2);
    }
    SUBCASE("values of several words") {
        compare<shm_hash_map<number, wide>>(200000, 3000, 3);
    }
    SUBCASE("values that own memory") {
        compare<shm_hash_map<number, owning>>(60000, 2000, 4);
    }
    SUBCASE("all keys collide") {
        compare<shm_hash_map<number, number, one_hash>>(20000, 600, 5);
    }
    SUBCASE("many keys collide") {
        compare<shm_hash_map<number, number, few_hashes>>(60000, 5000, 6);
    }
}

TEST_CASE("a table whose blocks are larger than the stack tells its size") {
    const memory shared = memory::create(64U << 20);
    using huge = shm_hash_map<std::uint32_t, std::array<char, 700000>>;
    auto& table = shared.construct<huge>("huge");
    static constexpr huge::mapped_type zeros{};
    CHECK(table.try_emplace(1U, zeros));
    CHECK(table.size() == 1);
}

TEST_CASE("threads with a stack smaller than an element find it") {
    const memory shared = memory::create(64U << 20);
    using large = shm_hash_map<std::uint32_t, std::array<char, 400000>>;
    auto& table = shared.construct<large>("large");
    static constexpr large::mapped_type zeros{};
    CHECK(table.try_emplace(1U, zeros));
    bool found[3]{};
    // The stack of the thread has room for everything but an element.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    const auto look = [&] {
        found[0] = table.contains(1U) && table.count(1U) == 1;
        found[1] = !table.contains(2U) && table.count(2U) == 0;
        found[2] = table.size() == 1 && !table.empty();
    };
    pthread_t thread{};
    REQUIRE(pthread_create(
                &thread, &attributes,
                [](void* it) -> void* {
                    (*static_cast<decltype(look)*>(it))();
                    return nullptr;
                },
                const_cast<void*>(static_cast<const void*>(&look))) == 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
    CHECK(found[0]);
    CHECK(found[1]);
    CHECK(found[2]);
}

TEST_CASE("elements of all sizes") {
    const memory shared = memory::create();
    auto& bytes = shared.construct<shm_hash_map<std::uint8_t, std::uint8_t>>("bytes");
    auto& odd = shared.construct<shm_hash_map<std::uint32_t, std::array<std::uint16_t, 3>>>("odd");
    auto& large = shared.construct<shm_hash_map<std::uint32_t, std::array<char, 1000>>>("large");
    for (unsigned i = 0; i < 256; ++i) {
        CHECK(bytes.insert_or_assign(static_cast<std::uint8_t>(i),
                                     static_cast<std::uint8_t>(255 - i)));
        const auto part = static_cast<std::uint16_t>(i);
        CHECK(odd.try_emplace(i, std::array<std::uint16_t, 3>{part, 1, part}));
        std::array<char, 1000> text{};
        text.fill(static_cast<char>(i));
        CHECK(large.insert({i, text}));
    }
    for (unsigned i = 0; i < 256; ++i) {
        CHECK(bytes.get(static_cast<std::uint8_t>(i)) == static_cast<std::uint8_t>(255 - i));
        CHECK((*odd.get(i))[2] == i);
        CHECK((*large.get(i))[999] == static_cast<char>(i));
    }
    std::size_t sum = 0;
    CHECK(large.cvisit_all([&](const auto& each) { sum += each.first; }) == 256);
    CHECK(sum == 255 * 128);
}

TEST_CASE("strings as keys and values") {
    const memory shared = memory::create();
    shared.construct<int>("first");
    const std::size_t before = shared.used();
    auto& ages = shared.construct<shm_hash_map<shm_string, int>>("ages");
    CHECK(ages.try_emplace("Ada", 36));
    CHECK(ages.insert_or_assign(std::string("a name that is too long to be in the string"), 1));
    CHECK_FALSE(ages.insert_or_assign("Ada", 37));
    CHECK(ages.emplace("Blaise", 39));
    CHECK_FALSE(ages.emplace("Blaise", 40));
    CHECK(ages.emplace(std::piecewise_construct, std::forward_as_tuple("Carl"),
                       std::forward_as_tuple(77)));
    CHECK(ages.get("Ada") == 37);
    CHECK(ages.get(std::string_view("a name that is too long to be in the string")) == 1);
    CHECK(ages.contains(std::string("Carl")));
    CHECK_FALSE(ages.contains("Niels"));
    CHECK(ages.erase("Carl") == 1);
    CHECK(ages.size() == 3);
    auto& names = shared.construct<shm_hash_map<int, shm_string>>("names");
    for (int i = 0; i < 500; ++i) {
        CHECK(names.try_emplace(i, std::string(static_cast<std::size_t>(i), 'x')));
        CHECK(ages.insert_or_assign(std::to_string(i), i));
    }
    CHECK(names.update(7, [](shm_string& name) { name += "yz"; }));
    CHECK(names.get(7) == "xxxxxxxyz");
    CHECK(names.insert_or_assign(8, "eight") == false);
    CHECK(names.get(8) == "eight");
    CHECK(ages.get("499") == 499);
    shared.destroy<shm_hash_map<shm_string, int>>("ages");
    shared.destroy<shm_hash_map<int, shm_string>>("names");
    CHECK(shared.used() <= before + 4096);
}

TEST_CASE("ranges and lists are inserted one by one") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    CHECK(it.insert({{1, 10}, {2, 20}, {1, 30}}) == 2);
    const std::vector<std::pair<number, number>> more{{2, 21}, {3, 30}};
    CHECK(it.insert(more.begin(), more.end()) == 1);
    CHECK(it.get(1) == 10u);
    CHECK(it.get(2) == 20u);
    CHECK(it.get(3) == 30u);
}

TEST_CASE("pairs of other types are inserted, and erase_if is also a function") {
    const memory shared = memory::create();
    auto& it = shared.construct<shm_hash_map<shm_string, int>>("it");
    CHECK(it.insert(std::pair<std::string, short>("one", short{1})));
    const std::pair<std::string_view, int> two("two", 2);
    CHECK(it.insert(two));
    CHECK_FALSE(it.insert(two));
    CHECK(it.get("one") == 1);
    CHECK(erase_if(it, [](const auto& each) { return each.second == 2; }) == 1);
    CHECK_FALSE(it.contains("two"));
}

TEST_CASE("visits of all elements can be ended, and change them") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    for (number i = 0; i < 1000; ++i) {
        it.try_emplace(i, i);
    }
    CHECK(it.visit_all([](auto& each) { each.second *= 2; }) == 1000);
    CHECK(it.get(7) == 14u);
    int left = 10;
    CHECK_FALSE(it.cvisit_while([&](const auto&) { return --left != 0; }));
    CHECK(left == 0);
    CHECK_FALSE(it.visit_while([&](auto& each) {
        each.second = 1;
        return ++left != 5;
    }));
    CHECK(it.erase_if([](const auto& each) { return each.second == 1; }) == 5);
    CHECK(std::as_const(it).visit_while([](const auto&) { return true; }));
    CHECK(std::as_const(it).visit(999, [](const auto&) {}) == it.count(999));
    it.clear();
    CHECK(it.empty());
    CHECK(it.visit_all([](auto&) {}) == 0);
}

TEST_CASE("reserve makes room, and inserting then allocates nothing") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    it.reserve(10000);
    const std::size_t used = shared.used();
    CHECK(used > 10000 * 16);
    for (number i = 0; i < 10000; ++i) {
        it.try_emplace(i * 64, i);
    }
    CHECK(shared.used() == used);
    it.clear();
    it.reserve(10);
    CHECK(shared.used() == used);
}

TEST_CASE("at its fullest a map needs few bytes beyond its elements") {
    const memory shared = memory::create();
    const std::size_t before = shared.used();
    map& it = shared.construct<map>("it");
    double least = 1000;
    for (number i = 0; i < 200000; ++i) {
        it.try_emplace(i, i);
        if (i > 10000) {
            const double each =
                static_cast<double>(shared.used() - before) / static_cast<double>(i);
            least = each < least ? each : least;
        }
    }
    CHECK(least < 16 + 8);
}

TEST_CASE("the memory of a map is freed with it") {
    const memory shared = memory::create();
    shared.construct<int>("first");
    const std::size_t before = shared.used();
    for (int round = 0; round < 3; ++round) {
        auto& it = shared.construct<shm_hash_map<number, owning>>("it");
        auto& colliding = shared.construct<shm_hash_map<number, number, one_hash>>("colliding");
        for (number i = 0; i < 2000; ++i) {
            it.try_emplace(i, std::size_t{10}, i);
            colliding.try_emplace(i, i);
        }
        CHECK(it.erase(3) == 1);
        shared.destroy<shm_hash_map<number, owning>>("it");
        shared.destroy<shm_hash_map<number, number, one_hash>>("colliding");
        CHECK(shared.used() <= before + 4096);
    }
    const std::size_t after = shared.used();
    shared.construct<map>("it");
    shared.destroy<map>("it");
    CHECK(shared.used() == after);
}

TEST_CASE("an exception in a visit leaves the element as it was") {
    const memory shared = memory::create();
    auto& plain = shared.construct<map>("plain");
    auto& several = shared.construct<shm_hash_map<number, wide>>("several");
    auto& own = shared.construct<shm_hash_map<number, owning>>("own");
    plain.try_emplace(1, 10u);
    several.try_emplace(1, wide{10, 11, 12});
    own.try_emplace(1, std::size_t{2}, 10u);
    const std::size_t used = shared.used();
    const auto change = [](auto& value) {
        set(value, 99);
        throw boom{};
    };
    CHECK_THROWS_AS(plain.update(1, change), boom);
    CHECK_THROWS_AS(several.update(1, change), boom);
    CHECK_THROWS_AS(own.update(1,
                               [](owning& value) {
                                   value.assign(1000, 7);
                                   throw boom{};
                               }),
                    boom);
    CHECK_THROWS_AS(own.visit_all([](auto& each) {
        each.second.clear();
        throw boom{};
    }),
                    boom);
    CHECK_THROWS_AS(own.erase_if([](const auto&) -> bool { throw boom{}; }), boom);
    CHECK(plain.get(1) == 10u);
    CHECK(several.get(1) == wide{10, 11, 12});
    CHECK(own.get(1)->size() == 2);
    CHECK((*own.get(1))[1] == 10);
    CHECK(shared.used() == used);
    CHECK(own.update(1, [](owning& value) { value.push_back(3); })); // the locks are free
}

namespace {

// A value whose constructor throws.
struct fussy {
    explicit fussy(const shm_vector<int>& from, bool throws) : own(from) {
        if (throws) {
            throw boom{};
        }
    }

    shm_vector<int> own;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<fussy> = true;

template <>
struct cohold::type_description<fussy> {
    static constexpr void write(type_writer& out) { out.text("fussy"); }
};

namespace {

// Owns memory, and its plain member is private: no visit knows what to save. Assigning it may stop
// in the middle.
class guarded_secret {
  public:
    guarded_secret(int count, std::string_view text, bool throws = false)
        : text_(text), count_(count), throws_(throws) {}

    guarded_secret(const guarded_secret&) = default;

    guarded_secret& operator=(const guarded_secret& other) {
        count_ = other.count_;
        text_ = other.text_;
        if (other.throws_) {
            throw boom{};
        }
        return *this;
    }

    ~guarded_secret() = default;

    [[nodiscard]] bool is(int count, std::string_view text) const {
        return count_ == count && text_ == text && !throws_;
    }

  private:
    shm_string text_;
    int count_;
    bool throws_;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<guarded_secret> = true;

TEST_CASE("an assignment of a class that stops in the middle leaves the element as it was") {
    const memory shared = memory::create();
    auto& it = shared.construct<shm_hash_map<number, guarded_secret>>("it");
    it.try_emplace(1, 10, "short");
    CHECK_THROWS_AS(it.insert_or_assign(1, guarded_secret(11, "another", true)), boom);
    CHECK(it.get(1)->is(10, "short"));
    CHECK_FALSE(it.insert_or_assign(1, guarded_secret(12, "changed")));
    CHECK(it.get(1)->is(12, "changed"));
}

TEST_CASE("an exception of a constructor inserts nothing") {
    const memory shared = memory::create();
    auto& from = shared.construct<shm_vector<int>>("from", std::size_t{100}, 5);
    auto& it = shared.construct<shm_hash_map<number, fussy>>("it");
    it.try_emplace(1, from, false);
    const std::size_t used = shared.used();
    CHECK_THROWS_AS(it.try_emplace(2, from, true), boom);
    CHECK_FALSE(it.contains(2));
    CHECK(it.size() == 1);
    CHECK(shared.used() == used);
    CHECK(it.try_emplace(2, from, false));
}

TEST_CASE("a full segment: an error, and the map as before") {
    const memory shared = memory::create({.size = 65536, .reserve = 262144});
    map& plain = shared.construct<map>("plain");
    auto& own = shared.construct<shm_hash_map<number, owning>>("own");
    own.try_emplace(0, std::size_t{3}, 1u);
    std::error_code ec;
    number count = 0;
    while (plain.try_emplace(ec, count, count)) {
        ++count;
    }
    CHECK(ec == errc::reserve_exceeded);
    CHECK(count > 1000);
    CHECK(plain.size() == count);
    CHECK_FALSE(plain.contains(count));
    CHECK_THROWS_AS(plain.insert({count, 1}), failure);
    CHECK_FALSE(plain.insert_or_assign(count, 1u, ec));
    CHECK(ec == errc::reserve_exceeded);
    CHECK_FALSE(plain.insert_or_assign(0, 77u, ec));
    CHECK_FALSE(ec);
    CHECK(plain.get(0) == 77u);
    number more = 1;
    while (own.try_emplace(ec, more, std::size_t{3}, more)) {
        ++more;
    }
    CHECK(ec);
    CHECK(own.size() == more);
    for (number i = 0; i < more; ++i) {
        CHECK(own.erase(i) == 1); // works without free memory
    }
    CHECK(own.empty());
    for (number i = 1; i < count; ++i) {
        CHECK(plain.get(i) == i);
    }
    plain.reserve(1000000, ec);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(plain.size() == count);
}

TEST_CASE("a map outside of a segment is empty, and cannot become anything else") {
    map it;
    CHECK(it.empty());
    CHECK(it.size() == 0);
    CHECK_FALSE(it.contains(1));
    CHECK(it.cvisit_all([](const auto&) {}) == 0);
    std::error_code ec;
    CHECK_FALSE(it.try_emplace(ec, 1u, 1u));
    CHECK(ec == errc::no_segment);
    CHECK_THROWS_AS(it.insert({1, 1}), failure);
    CHECK_THROWS_AS(it.reserve(1), failure);
}

TEST_CASE("a function that is called with the table locked must not change the table") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    map& other = shared.construct<map>("other");
    it.try_emplace(1, 10u);
    std::error_code ec;
    // The same block: this would wait for itself.
    CHECK(it.visit(1, [&](auto& each) {
        CHECK_FALSE(it.try_emplace(ec, 2u, 20u));
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        CHECK(it.get(1) == 10u); // reading is allowed: nothing has changed yet
        other.try_emplace(1, 1u);
        each.second = 11;
    }) == 1);
    CHECK(it.get(1) == 11u);
    CHECK(other.size() == 1);
    try {
        it.visit(1, [&](auto&) { it.erase(1); });
        CHECK(false);
    } catch (const failure& thrown) {
        CHECK(thrown.code() == std::errc::resource_deadlock_would_occur);
    }
    CHECK(it.size() == 1);
    // Copies of plain elements are visited without a lock.
    CHECK(it.cvisit(1, [&](const auto& each) { it.erase(each.first); }) == 1);
    CHECK(it.empty());
}

TEST_CASE("nor through another mapping of the segment") {
    const std::string name = support::own_name("visited");
    {
        const auto here = cohold::segment<>::create(name);
        const auto again = cohold::segment<>::open(name);
        map& it = here.construct<map>("it");
        map& same = *again.find<map>("it");
        map& other = here.construct<map>("other");
        map& other_again = *again.find<map>("other");
        it.try_emplace(1, 10u);
        std::error_code ec;
        CHECK(it.visit(1, [&](auto&) {
            CHECK_FALSE(same.try_emplace(ec, 2u, 20u));
            CHECK(ec == std::errc::resource_deadlock_would_occur);
            CHECK(other_again.try_emplace(1, 1u));
        }) == 1);
        CHECK(same.visit(1, [&](auto&) { CHECK_THROWS_AS(it.erase(1), failure); }) == 1);
        CHECK(other.size() == 1);
        CHECK(same.size() == 1);
    }
    CHECK(cohold::segment<>::remove(name));
}

TEST_CASE("room that is asked for") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    CHECK(it.load_factor() == 0.0F);
    CHECK(it.max_size() > 1000000);
    it.rehash(1000);
    CHECK(it.load_factor() == 0.0F);
    for (unsigned i = 0; i < 1000; ++i) {
        it.try_emplace(i, i);
    }
    const float full = it.load_factor();
    CHECK(full > 0.3F);
    CHECK(full <= 1.0F);
    std::error_code ec;
    it.rehash(10000, ec);
    CHECK(!ec);
    CHECK(it.load_factor() < full / 4);
    CHECK(it.size() == 1000);
}

TEST_CASE("changes in a section are permanent even if it is undone") {
    const memory shared = memory::create();
    auto& plain = shared.construct<map>("plain");
    auto& own = shared.construct<shm_hash_map<number, owning>>("own");
    auto& guarded = shared.construct<shm_guarded<int>>("guarded", 1);
    own.try_emplace(7, std::size_t{1}, 7u);
    own.try_emplace(8, std::size_t{1}, 8u);
    try {
        guarded.with([&](int& value) {
            value = 2;
            plain.try_emplace(1, 1u);
            own.try_emplace(1, std::size_t{5}, 1u);
            own.update(7, [](owning& found) { found.push_back(1); });
            own.erase(8);
            throw boom{};
        });
    } catch (const boom&) {
    }
    CHECK(*guarded.lock() == 1);
    CHECK(plain.contains(1));
    CHECK(own.get(1)->size() == 5);
    CHECK(own.get(7)->size() == 2);
    CHECK_FALSE(own.contains(8));
    shared.destroy<shm_hash_map<number, owning>>("own");
}

namespace {

template <class Map>
concept readable = requires(Map& it, void (*f)(const typename Map::value_type&)) {
    it.contains(1);
    it.count(1);
    it.get(1);
    it.size();
    it.empty();
    it.visit(1, f);
    it.cvisit_all(f);
    it.hash_function();
    it.key_eq();
};

template <class Map>
concept writable = requires(Map& it) { it.erase(1); } ||
                   requires(Map& it) { it.try_emplace(1, 1); } || requires(Map& it) { it.clear(); };

} // namespace

TEST_CASE("types and names") {
    static_assert(shareable<map>);
    static_assert(!std::is_copy_constructible_v<map> && !std::is_move_constructible_v<map>);
    static_assert(std::is_nothrow_default_constructible_v<map>);
    static_assert(sizeof(map) == 40);
    static_assert(std::is_same_v<map::value_type, std::pair<const number, number>>);
    CHECK(type_name_of<map>() == "shm_hash_map<u64,u64>");
    CHECK(detail::type_descriptor_of<shm_hash_map<std::uint32_t, std::int64_t>>.description ==
          (alignof(double) == 8 ? "shm_hash_map<u32,i64>" // 32-bit programs differ
                                : "shm_hash_map<std::pair{first@0 u32;second@4 i64}12>"));
    CHECK(type_name_of<shm_hash_map<number, number, one_hash>>() != type_name_of<map>());
    // Elements that are plain can be read through a read-only view; others take a lock.
    static_assert(readable<const map> && readable<map>);
    static_assert(writable<map> && !writable<const map>);
    using own = shm_hash_map<number, owning>;
    static_assert(readable<own> && !readable<const own>);
    static_assert(requires(const own& it) { it.size(); });
}
