// shm_unique_ptr: on the stack and in segments, in sections that are undone, and in full segments.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_unique_ptr.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "pointer_support.hpp"

using cohold::make_shm_unique;
using cohold::segment;
using cohold::shm_unique_ptr;
using cohold::shm_vector;
using pointer_test::anonymous;
using pointer_test::filling;
using pointer_test::fresh;
using pointer_test::greedy;
using pointer_test::starving;
using pointer_test::tallied;
using pointer_test::third_throws;
using pointer_test::thrower;

namespace {

struct node {
    int value = 0;
    shm_unique_ptr<node> next{};
};

struct point {
    int x = 0;
    char name[8] = {};
};

struct pair_of {
    shm_unique_ptr<shm_vector<int>> left;
    shm_unique_ptr<shm_vector<int>> right;
};

} // namespace

TEST_CASE("a shm_unique_ptr owns its object") {
    const anonymous where = fresh();
    const std::size_t before = where.used();
    {
        const auto owner = make_shm_unique<tallied>(where, 5);
        CHECK(tallied::alive() == 1);
        CHECK(owner->value == 5);
        CHECK((*owner).value == 5);
        CHECK(owner.get() == &*owner);
        CHECK(static_cast<bool>(owner));
        CHECK(where.used() > before);
    }
    CHECK(tallied::alive() == 0);
    CHECK(where.used() == before);
    const shm_unique_ptr<int> none;
    CHECK(none == nullptr);
    CHECK(none.get() == nullptr);
    CHECK_FALSE(static_cast<bool>(none));
}

TEST_CASE("a shm_unique_ptr moves, and is then null") {
    const anonymous where = fresh();
    auto a = make_shm_unique<tallied>(where, 1);
    tallied* const object = a.get();
    auto b = std::move(a);
    CHECK(a == nullptr);
    CHECK(b.get() == object);
    a = std::move(b);
    CHECK(a.get() == object);
    CHECK(b == nullptr);
    auto c = make_shm_unique<tallied>(where, 2);
    CHECK(tallied::alive() == 2);
    c = std::move(a);
    CHECK(tallied::alive() == 1);
    CHECK(c->value == 1);
    auto d = make_shm_unique<tallied>(where, 3);
    swap(c, d);
    CHECK(c->value == 3);
    CHECK(d->value == 1);
    tallied* const given = c.release();
    CHECK(c == nullptr);
    CHECK(tallied::alive() == 2);
    d.reset(given);
    CHECK(tallied::alive() == 1);
    CHECK(d->value == 3);
    d = nullptr;
    CHECK(tallied::alive() == 0);
    d = shm_unique_ptr<tallied>();
    d.reset();
    CHECK(d.release() == nullptr);
    shm_unique_ptr<const tallied> e = make_shm_unique<tallied>(where, 4);
    CHECK(e->value == 4);
    e = make_shm_unique<tallied>(where, 6);
    CHECK(tallied::alive() == 1);
    e.reset();
    CHECK(tallied::alive() == 0);
}

TEST_CASE("a shm_unique_ptr compares and hashes as the address") {
    const anonymous where = fresh();
    const auto a = make_shm_unique<int>(where, 1);
    const auto b = make_shm_unique<int>(where, 1);
    CHECK(a == a);
    CHECK(a != b);
    CHECK((a <=> b) == (a.get() <=> b.get()));
    CHECK(std::hash<shm_unique_ptr<int>>{}(a) == std::hash<int*>{}(a.get()));
    static_assert(std::is_nothrow_move_constructible_v<shm_unique_ptr<int>>);
    static_assert(!std::is_copy_constructible_v<shm_unique_ptr<int>>);
    static_assert(!std::is_constructible_v<shm_unique_ptr<int>, shm_unique_ptr<const int>&&>);
    static_assert(sizeof(shm_unique_ptr<int>) == 16);
    static_assert(cohold::type_name_of<shm_unique_ptr<int>>() == "shm_unique_ptr<i32>");
}

TEST_CASE("a plain struct is made member by member") {
    const anonymous where = fresh();
    const auto made = make_shm_unique<point>(where, 3, "bob");
    CHECK(made->x == 3);
    CHECK(std::string(made->name) == "bob");
    const auto again = make_shm_unique<point>(where.allocator<int>(), 4);
    CHECK(again->x == 4);
}

TEST_CASE("if a constructor throws, nothing stays") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    CHECK_THROWS_AS(static_cast<void>(make_shm_unique<thrower>(where, 1)), std::runtime_error);
    CHECK(where.used() == before);
}

TEST_CASE("without memory there is an error, and no object") {
    const anonymous where = fresh();
    where.construct<shm_vector<int>>("warm", 1U);
    const std::size_t before = where.used();
    {
        const filling all(where);
        std::error_code ec;
        CHECK(make_shm_unique<int>(where, ec, 1) == nullptr);
        CHECK(ec == cohold::errc::reserve_exceeded);
        CHECK_THROWS_AS(static_cast<void>(make_shm_unique<int>(where, 1)), cohold::failure);
    }
    CHECK(where.used() == before);
    std::error_code ec;
    CHECK(make_shm_unique<int>(cohold::shm_allocator<int>(), ec, 1) == nullptr);
    CHECK(ec == cohold::errc::no_segment);
}

TEST_CASE("make_shm_unique with an error code gives that of a constructor without memory") {
    const anonymous where = fresh();
    where.construct<shm_vector<int>>("warm", 1U);
    const std::size_t before = where.used();
    std::error_code ec;
    CHECK(make_shm_unique<greedy>(where, ec, 1) == nullptr);
    CHECK(ec == cohold::errc::reserve_exceeded);
    CHECK(cohold::last_failure().code() == ec);
    CHECK(make_shm_unique<starving>(where, ec, 1) == nullptr);
    CHECK(ec == cohold::errc::out_of_space);
    CHECK_THROWS_AS(static_cast<void>(make_shm_unique<greedy>(where, 1)), cohold::failure);
    CHECK_THROWS_AS(static_cast<void>(make_shm_unique<starving>(where, 1)), std::bad_alloc);
    CHECK_THROWS_AS(static_cast<void>(make_shm_unique<thrower>(where, ec, 1)), std::runtime_error);
    CHECK(where.used() == before);
    CHECK(make_shm_unique<int>(where, ec, 1) != nullptr); // with the code of an earlier failure
    CHECK(!ec);
}

TEST_CASE("what is in no segment cannot be owned") {
    int number = 1;
    CHECK_THROWS_AS(shm_unique_ptr<int>{&number}, cohold::failure);
}

TEST_CASE("owners are elements and members") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    auto& all = where.construct<shm_vector<shm_unique_ptr<tallied>>>("all");
    for (int i = 0; i < 20; ++i) {
        all.push_back(make_shm_unique<tallied>(where, i));
    }
    CHECK(tallied::alive() == 20);
    all.insert(all.begin() + 3, make_shm_unique<tallied>(where, 100));
    all.erase(all.begin());
    all.pop_back();
    CHECK(tallied::alive() == 19);
    CHECK(all[2]->value == 100);
    auto taken = std::move(all[5]);
    CHECK(all[5] == nullptr);
    all.clear();
    CHECK(tallied::alive() == 1);
    taken.reset();
    where.destroy<shm_vector<shm_unique_ptr<tallied>>>("all");
    CHECK(where.used() == before);

    auto& first = where.construct<node>("list", 0);
    node* last = &first;
    for (int i = 1; i < 100; ++i) {
        last->next = make_shm_unique<node>(where, i);
        last = last->next.get();
    }
    int sum = 0;
    for (const node* each = &first; each != nullptr; each = each->next.get()) {
        sum += each->value;
    }
    CHECK(sum == 4950);
    first.next = std::move(first.next->next); // a part of what it had
    CHECK(first.next->value == 2);
    where.destroy<node>("list");
    CHECK(where.used() == before);
}

TEST_CASE("owners go through a queue") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    auto& queue = where.construct<cohold::shm_queue<shm_unique_ptr<tallied>>>("queue", 4U);
    queue.push(make_shm_unique<tallied>(where, 1));
    queue.push(make_shm_unique<tallied>(where, 2));
    CHECK((*queue.try_pop())->value == 1);
    CHECK(tallied::alive() == 1);
    where.destroy<cohold::shm_queue<shm_unique_ptr<tallied>>>("queue");
    CHECK(tallied::alive() == 0);
    CHECK(where.used() == before);
}

TEST_CASE("an exception undoes what a section did with owners") {
    const anonymous where = fresh();
    auto& guarded = where.construct<cohold::shm_guarded<pair_of>>("pair");
    guarded.with([&](pair_of& both) {
        both.left = make_shm_unique<shm_vector<int>>(where, 3U, 1);
        both.right = make_shm_unique<shm_vector<int>>(where, 4U, 2);
    });
    const auto check = [&] {
        guarded.with([&](pair_of& both) {
            CHECK(*both.left == shm_vector<int>({1, 1, 1}, both.left->get_allocator()));
            CHECK(*both.right == shm_vector<int>({2, 2, 2, 2}, both.left->get_allocator()));
        });
    };
    check();
    const std::size_t before = where.used();
    const auto vain = [&](const auto& act) {
        CHECK_THROWS_AS(guarded.with([&](pair_of& both) {
            act(both);
            throw std::runtime_error("on purpose");
        }),
                        std::runtime_error);
        check();
        CHECK(where.used() == before);
    };
    vain([](pair_of& both) { both.left.reset(); });
    vain([](pair_of& both) { both.left = std::move(both.right); });
    vain([](pair_of& both) { swap(both.left, both.right); });
    vain([&](pair_of& both) { both.left = make_shm_unique<shm_vector<int>>(where, 9U); });
    shm_unique_ptr<shm_vector<int>> outside;
    vain([&](pair_of& both) { outside = std::move(both.left); });
    CHECK(outside == nullptr);
    vain([&](pair_of& both) {
        const shm_unique_ptr<shm_vector<int>> gone = std::move(both.left);
        CHECK(gone->size() == 3);
    });
    // What has ended, even if it is null by then, is not restored where it was.
    alignas(shm_unique_ptr<int>) unsigned char place[sizeof(shm_unique_ptr<shm_vector<int>>)];
    vain([&](pair_of& both) {
        using owner = shm_unique_ptr<shm_vector<int>>;
        auto* const there = ::new (static_cast<void*>(place)) owner(std::move(both.left));
        both.left = std::move(both.right);
        both.right = std::move(*there);
        there->~owner();
        std::fill(std::begin(place), std::end(place), static_cast<unsigned char>(7));
    });
    CHECK(std::count(std::begin(place), std::end(place), 7) == sizeof place);
    std::optional<shm_unique_ptr<shm_vector<int>>> later;
    vain([&](pair_of& both) { later.emplace(std::move(both.left)); });
    CHECK(*later == nullptr);
    {
        auto own = make_shm_unique<shm_vector<int>>(where, 5U);
        const std::size_t with_own = where.used();
        CHECK_THROWS_AS(guarded.with([&](pair_of& both) {
            both.left = std::move(own);
            throw std::runtime_error("on purpose");
        }),
                        std::runtime_error);
        CHECK(own->size() == 5);
        CHECK(where.used() == with_own);
        CHECK_THROWS_AS(guarded.with([&](pair_of&) {
            own.reset();
            throw std::runtime_error("on purpose");
        }),
                        std::runtime_error);
        CHECK(own->size() == 5);
    }
    check();
    CHECK(where.used() == before);
}

TEST_CASE("a full segment loses nothing") {
    const anonymous where = fresh();
    auto& guarded = where.construct<cohold::shm_guarded<pair_of>>("pair");
    guarded.with([&](pair_of& both) {
        both.left = make_shm_unique<shm_vector<int>>(where, 3U, 1);
        both.right = make_shm_unique<shm_vector<int>>(where, 4U, 2);
    });
    std::size_t freed = 0;
    {
        const filling all(where);
        const std::size_t before = where.used();
        guarded.with([](pair_of& both) {
            swap(both.left, both.right);
            both.left.reset();
        });
        CHECK(where.used() < before);
        freed = before - where.used();
        guarded.with([](pair_of& both) {
            CHECK(both.left == nullptr);
            CHECK(both.right->size() == 3);
        });
    }
    CHECK(freed != 0);
}

TEST_CASE("two mappings, two segments") {
    const std::string name = "cohold.unique." + std::to_string(::getpid());
    const auto one = segment<>::create(name, 1 << 20);
    const auto again = segment<>::open(name);
    CHECK(segment<>::remove(name));
    const anonymous other = fresh();
    auto& here = one.construct<shm_vector<shm_unique_ptr<int>>>("here", 2U);
    auto& there = *again.find<shm_vector<shm_unique_ptr<int>>>("here");
    here[0] = make_shm_unique<int>(one, 1);
    CHECK(*there[0] == 1);
    here[1] = make_shm_unique<int>(again, 2); // the pointer refers to its own mapping
    CHECK(*here[1] == 2);
    CHECK(*there[1] == 2);
    there[0] = std::move(here[1]);
    CHECK(*here[0] == 2);
    CHECK(here[1] == nullptr);
    // On a stack it follows the object; in a segment it cannot.
    auto outside = make_shm_unique<int>(other, 3);
    CHECK_THROWS_AS(here[0] = std::move(outside), cohold::failure);
    CHECK(*here[0] == 2);
    CHECK(*outside == 3);
    CHECK_THROWS_AS(here[0].swap(outside), cohold::failure);
    outside = std::move(here[0]);
    CHECK(*outside == 2);
    CHECK(here[0] == nullptr);
    outside.reset(make_shm_unique<int>(other, 4).release());
    CHECK(*outside == 4);
    here[0] = make_shm_unique<int>(one, 5);
    here.clear();
}

namespace {

using texts = shm_unique_ptr<cohold::shm_string[]>;

constexpr char long_text[] = "a text that does not fit into the string itself";

struct alignas(64) aligned {
    std::int32_t value;
};

struct texts_of {
    texts first;
    texts second;
};

} // namespace

TEST_CASE("a shm_unique_ptr owns an array and knows its size") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    {
        auto numbers = make_shm_unique<int[]>(where, 1000);
        REQUIRE(numbers.size() == 1000);
        CHECK(std::count(numbers.get(), numbers.get() + 1000, 0) == 1000);
        numbers[999] = 7;
        CHECK(numbers.get()[999] == 7);
        const shm_unique_ptr<const int[]> constant = std::move(numbers);
        CHECK(numbers == nullptr);
        CHECK(numbers.size() == 0);
        CHECK(constant.size() == 1000);
        CHECK(constant[999] == 7);

        auto sevens = make_shm_unique<std::int64_t[]>(where, 3U, 7);
        CHECK(sevens[0] + sevens[1] + sevens[2] == 21);
        std::int64_t* const released = sevens.release();
        CHECK(sevens == nullptr);
        sevens.reset(released);
        CHECK(sevens.size() == 3);
        auto others = make_shm_unique<std::int64_t[]>(where, 2);
        swap(sevens, others);
        CHECK(sevens.size() == 2);
        CHECK(others.size() == 3);
        const auto none = make_shm_unique<int[]>(where, 0);
        CHECK(none != nullptr);
        CHECK(none.size() == 0);
        const auto lines = make_shm_unique<aligned[]>(where, 3);
        CHECK(reinterpret_cast<std::uintptr_t>(lines.get()) % 64 == 0);
        CHECK(lines[2].value == 0);
        CHECK(std::hash<shm_unique_ptr<std::int64_t[]>>{}(sevens) ==
              std::hash<std::int64_t*>{}(sevens.get()));
    }
    CHECK(where.used() == before);
    {
        const auto all = make_shm_unique<tallied[]>(where, 5);
        CHECK(tallied::alive() == 5);
        const auto same = make_shm_unique<cohold::shm_string[]>(where, 4, long_text);
        CHECK(same[3] == long_text);
    }
    CHECK(tallied::alive() == 0);
    CHECK(where.used() == before);
    CHECK(cohold::type_name_of<shm_unique_ptr<std::int32_t[]>>() == "shm_unique_ptr<i32[]>");
    static_assert(!std::is_convertible_v<shm_unique_ptr<int[]>, shm_unique_ptr<int>>);
    static_assert(sizeof(shm_unique_ptr<int[]>) == 16);
}

TEST_CASE("an array that cannot be made leaves nothing") {
    const anonymous where = fresh();
    where.construct<shm_vector<int>>("warm", 1U);
    const std::size_t before = where.used();
    third_throws::made = 0;
    CHECK_THROWS_AS(static_cast<void>(make_shm_unique<third_throws[]>(where, 5)),
                    std::runtime_error);
    CHECK(third_throws::made == 3);
    CHECK(where.used() == before);
    std::error_code ec;
    CHECK(make_shm_unique<int[]>(where, ec, -1) == nullptr);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK(make_shm_unique<int[]>(where, ec, PTRDIFF_MAX) == nullptr);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK(make_shm_unique<int[]>(where, ec, 1 << 28) == nullptr);
    CHECK(ec == cohold::errc::reserve_exceeded);
    CHECK_THROWS_AS(static_cast<void>(make_shm_unique<int[]>(where, -1)), cohold::failure);
    CHECK(make_shm_unique<int[]>(cohold::shm_allocator<int>(), ec, 1) == nullptr);
    CHECK(ec == cohold::errc::no_segment);
    CHECK(where.used() == before);
    CHECK(make_shm_unique<int[]>(where, ec, 1) != nullptr);
    CHECK(!ec);
}

TEST_CASE("an exception undoes what a section did with arrays") {
    const anonymous where = fresh();
    auto& guarded = where.construct<cohold::shm_guarded<texts_of>>("texts");
    guarded.with([&](texts_of& both) {
        both.first = make_shm_unique<cohold::shm_string[]>(where, 30, long_text);
        both.second = make_shm_unique<cohold::shm_string[]>(where, 2, "short");
    });
    const auto check = [&] {
        guarded.with([](texts_of& both) {
            REQUIRE(both.first.size() == 30);
            CHECK(std::count(both.first.get(), both.first.get() + 30, long_text) == 30);
            REQUIRE(both.second.size() == 2);
            CHECK(both.second[1] == "short");
        });
    };
    check();
    const std::size_t before = where.used();
    const auto vain = [&](const auto& act) {
        CHECK_THROWS_AS(guarded.with([&](texts_of& both) {
            act(both);
            throw std::runtime_error("on purpose");
        }),
                        std::runtime_error);
        check();
        CHECK(where.used() == before);
    };
    vain([](texts_of& both) { both.first.reset(); });
    vain([](texts_of& both) { both.first = std::move(both.second); });
    vain([](texts_of& both) { both.first[29] = "changed to another text that is long"; });
    vain([&](texts_of& both) {
        both.first = make_shm_unique<cohold::shm_string[]>(where, 9, long_text);
    });
    vain([](texts_of& both) { const texts gone = std::move(both.first); });
    guarded.with([](texts_of& both) { both.first.reset(); });
    CHECK(where.used() < before);
    where.destroy<cohold::shm_guarded<texts_of>>("texts");
}
