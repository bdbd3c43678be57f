// shm_shared_ptr and shm_weak_ptr: on the stack and in segments, in threads, in sections that are
// undone, and in full segments.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_shared_ptr.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "pointer_support.hpp"

using cohold::make_shm_shared;
using cohold::segment;
using cohold::shm_shared_ptr;
using cohold::shm_vector;
using cohold::shm_weak_ptr;
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
    shm_shared_ptr<node> next{};
    shm_weak_ptr<node> back{};
    shm_vector<int> numbers{};
};

struct two {
    shm_shared_ptr<tallied> left;
    shm_shared_ptr<tallied> right;
};

} // namespace

TEST_CASE("shm_shared_ptr on a stack") {
    const anonymous where = fresh();
    const std::size_t before = where.used();
    {
        auto a = make_shm_shared<tallied>(where, 5);
        CHECK(tallied::alive() == 1);
        CHECK(a.use_count() == 1);
        auto b = a;
        CHECK(a.use_count() == 2);
        CHECK(b->value == 5);
        CHECK((*b).value == 5);
        CHECK(a == b);
        CHECK((a <=> b) == std::strong_ordering::equal);
        auto c = std::move(a);
        CHECK(a == nullptr);
        CHECK(c.use_count() == 2);
        b.reset();
        CHECK(c.use_count() == 1);
        b = c;
        a = std::move(b);
        CHECK(b == nullptr);
        CHECK(c.use_count() == 2);
        c = make_shm_shared<tallied>(where, 6);
        CHECK(tallied::alive() == 2);
        swap(a, c);
        CHECK(a->value == 6);
        CHECK(c->value == 5);
        const shm_shared_ptr<const tallied> d = c;
        const shm_shared_ptr<void> e = c;
        CHECK(d.use_count() == 3);
        CHECK(e.get() == c.get());
        const shm_shared_ptr<int> part(c, &c->value);
        c.reset();
        CHECK(*part == 5);
        CHECK(part.use_count() == 3);
        CHECK_FALSE(part.owner_before(d));
        CHECK_FALSE(d.owner_before(part));
        CHECK(cohold::owner_less()(a, d) == a.owner_before(d));
        CHECK(a.owner_before(d) != d.owner_before(a));
        const shm_shared_ptr<tallied>& itself = a;
        a = itself;
        CHECK(a->value == 6);
        a = nullptr;
        CHECK(tallied::alive() == 1);
    }
    CHECK(tallied::alive() == 0);
    CHECK(where.used() == before);
    const shm_shared_ptr<int> none;
    CHECK(none == nullptr);
    CHECK(none.use_count() == 0);
    CHECK_FALSE(static_cast<bool>(none));
    const shm_shared_ptr<int> copy = none; // NOLINT: on purpose
    CHECK(copy == nullptr);
    static_assert(std::is_nothrow_move_constructible_v<shm_shared_ptr<int>>);
    static_assert(!std::is_constructible_v<shm_shared_ptr<int>, shm_shared_ptr<const int>>);
    static_assert(sizeof(shm_shared_ptr<int>) == 24);
    static_assert(sizeof(shm_weak_ptr<int>) == 24);
    static_assert(cohold::type_name_of<shm_shared_ptr<int>>() == "shm_shared_ptr<i32>");
    static_assert(cohold::type_name_of<shm_weak_ptr<int>>() == "shm_weak_ptr<i32>");
    static_assert(cohold::type_name_of<shm_shared_ptr<void>>() == "shm_shared_ptr<void>");
    CHECK(std::hash<shm_shared_ptr<int>>{}(none) == std::hash<int*>{}(nullptr));
}

TEST_CASE("shm_shared_ptr in the segment") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    {
        auto& all = where.construct<shm_vector<shm_shared_ptr<tallied>>>("all");
        auto mine = make_shm_shared<tallied>(where, 1);
        all.push_back(mine);
        all.push_back(mine);
        CHECK(mine.use_count() == 3);
        all.push_back(std::move(mine));
        CHECK(mine == nullptr);
        CHECK(all[0].use_count() == 3);
        all.insert(all.begin(), make_shm_shared<tallied>(where, 2));
        CHECK(tallied::alive() == 2);
        CHECK(all[0].use_count() == 1);
        for (int i = 0; i < 40; ++i) {
            all.push_back(all[1]); // grows
        }
        CHECK(all[1].use_count() == 43);
        auto taken = std::move(all[0]);
        CHECK(all[0] == nullptr);
        CHECK(taken.use_count() == 1);
        taken.reset();
        CHECK(tallied::alive() == 1);
        all.erase(all.begin());
        all.resize(1);
        CHECK(all[0].use_count() == 1);
        all[0] = make_shm_shared<tallied>(where, 3);
        CHECK(tallied::alive() == 1);
        all.push_back(make_shm_shared<tallied>(where, 4));
        swap(all[0], all[1]);
        CHECK(all[0]->value == 4);
        all[0] = all[1];
        CHECK(tallied::alive() == 1);
        all[0] = std::move(all[1]);
        CHECK(all[0].use_count() == 1);
        all.clear();
        CHECK(tallied::alive() == 0);
        where.destroy<shm_vector<shm_shared_ptr<tallied>>>("all");
    }
    CHECK(where.used() == before);
}

TEST_CASE("shm_weak_ptr") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    {
        shm_weak_ptr<tallied> weak;
        CHECK(weak.expired());
        CHECK(weak.lock() == nullptr);
        auto strong = make_shm_shared<tallied>(where, 7);
        weak = strong;
        CHECK_FALSE(weak.expired());
        CHECK(weak.lock()->value == 7);
        CHECK(weak.use_count() == 1);
        auto& inside = where.construct<shm_weak_ptr<tallied>>("weak", strong);
        CHECK(inside.lock()->value == 7);
        CHECK(strong.use_count() == 1);
        const shm_shared_ptr<tallied> again(weak);
        CHECK(strong.use_count() == 2);
        auto copy = weak;
        auto moved = std::move(copy);
        CHECK(moved.lock() == strong);
        strong.reset();
        CHECK(tallied::alive() == 1);
        const_cast<shm_shared_ptr<tallied>&>(again).reset();
        CHECK(tallied::alive() == 0);
        CHECK(weak.expired());
        CHECK(weak.lock() == nullptr);
        CHECK(inside.lock() == nullptr);
        CHECK_THROWS_AS(shm_shared_ptr<tallied>{weak}, cohold::failure);
        CHECK(where.used() > before);
        moved.reset();
        weak = moved;
        where.destroy<shm_weak_ptr<tallied>>("weak");
    }
    CHECK(where.used() == before);
}

TEST_CASE("an object that needs no destruction is freed at once") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    auto a = make_shm_shared<int>(where, 1);
    const shm_weak_ptr<int> weak = a;
    const std::size_t with_it = where.used();
    a.reset();
    CHECK(weak.lock() == nullptr);
    CHECK(where.used() == with_it); // the weak pointer keeps the block
    const_cast<shm_weak_ptr<int>&>(weak).reset();
    CHECK(where.used() == before);
}

TEST_CASE("a long list is destroyed without recursion") {
    const anonymous where = anonymous::create({.size = 1 << 20, .reserve = 1 << 26});
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    {
        auto first = make_shm_shared<node>(where);
        for (int i = 0; i < 20000; ++i) {
            auto next = make_shm_shared<node>(where);
            next->value = i;
            next->numbers.push_back(i);
            first->back = next;
            next->next = std::move(first);
            first = std::move(next);
        }
        CHECK(first->next->back.lock() == first);
    }
    CHECK(where.used() == before);
}

TEST_CASE("if a constructor throws or there is no memory, nothing stays") {
    const anonymous where = fresh();
    where.construct<shm_vector<int>>("warm", 1U);
    const std::size_t before = where.used();
    CHECK_THROWS_AS(static_cast<void>(make_shm_shared<thrower>(where, 1)), std::runtime_error);
    CHECK(where.used() == before);
    {
        const filling all(where);
        std::error_code ec;
        CHECK(make_shm_shared<int>(where, ec, 1) == nullptr);
        CHECK(ec == cohold::errc::reserve_exceeded);
        CHECK_THROWS_AS(static_cast<void>(make_shm_shared<int>(where, 1)), cohold::failure);
    }
    CHECK(where.used() == before);
    std::error_code ec;
    CHECK(make_shm_shared<int>(cohold::shm_allocator<int>(), ec, 1) == nullptr);
    CHECK(ec == cohold::errc::no_segment);
}

TEST_CASE("make_shm_shared with an error code gives that of a constructor without memory") {
    const anonymous where = fresh();
    where.construct<shm_vector<int>>("warm", 1U);
    const std::size_t before = where.used();
    std::error_code ec;
    CHECK(make_shm_shared<greedy>(where, ec, 1) == nullptr);
    CHECK(ec == cohold::errc::reserve_exceeded);
    CHECK(cohold::last_failure().code() == ec);
    CHECK(make_shm_shared<starving>(where, ec, 1) == nullptr);
    CHECK(ec == cohold::errc::out_of_space);
    CHECK_THROWS_AS(static_cast<void>(make_shm_shared<greedy>(where, 1)), cohold::failure);
    CHECK_THROWS_AS(static_cast<void>(make_shm_shared<starving>(where, 1)), std::bad_alloc);
    CHECK_THROWS_AS(static_cast<void>(make_shm_shared<thrower>(where, ec, 1)), std::runtime_error);
    CHECK(where.used() == before);
    CHECK(make_shm_shared<int>(where, ec, 1) != nullptr); // with the code of an earlier failure
    CHECK(!ec);
}

TEST_CASE("an exception undoes what a section did with shared pointers") {
    const anonymous where = fresh();
    auto& guarded = where.construct<cohold::shm_guarded<two>>("two");
    guarded.with([&](two& both) {
        both.left = make_shm_shared<tallied>(where, 1);
        both.right = make_shm_shared<tallied>(where, 2);
    });
    const auto check = [&] {
        guarded.with([&](two& both) {
            CHECK(both.left->value == 1);
            CHECK(both.left.use_count() == 1);
            CHECK(both.right->value == 2);
            CHECK(both.right.use_count() == 1);
        });
        CHECK(tallied::alive() == 2);
    };
    check();
    const std::size_t before = where.used();
    const auto vain = [&](const auto& act) {
        CHECK_THROWS_AS(guarded.with([&](two& both) {
            act(both);
            throw std::runtime_error("on purpose");
        }),
                        std::runtime_error);
    };
    vain([](two& both) { both.left.reset(); });
    check();
    vain([](two& both) { both.left = both.right; });
    check();
    vain([](two& both) { both.left = std::move(both.right); });
    check();
    vain([](two& both) { swap(both.left, both.right); });
    check();
    vain([&](two& both) { both.left = make_shm_shared<tallied>(where, 9); });
    check();
    CHECK(where.used() == before);
    // Pointers outside the segment have what they had before the section.
    shm_shared_ptr<tallied> outside;
    vain([&](two& both) { outside = std::move(both.left); });
    check();
    CHECK(outside == nullptr);
    vain([&](two& both) { outside = both.left; });
    check();
    vain([](two& both) {
        const shm_shared_ptr<tallied> gone = std::move(both.left);
        CHECK(gone.use_count() >= 1);
    });
    check();
    {
        auto own = make_shm_shared<tallied>(where, 5);
        vain([&](two& both) { both.left = std::move(own); });
        CHECK(own->value == 5);
        CHECK(own.use_count() == 1);
        vain([&](two& both) {
            both.left = std::move(own);
            own = both.right;
            own.reset();
        });
        CHECK(own->value == 5);
        CHECK(own.use_count() == 1);
        vain([&](two&) {
            auto other = std::move(own);
            CHECK(other->value == 5);
        });
        CHECK(own->value == 5);
        CHECK(own.use_count() == 1);
        vain([&](two& both) {
            auto local = make_shm_shared<tallied>(where, 6);
            both.left = std::move(local);
            CHECK(tallied::alive() == 4);
        });
        CHECK(tallied::alive() == 3);
        vain([&](two& both) {
            auto local = own;
            both.left = std::move(local);
            local = both.right;
        });
        CHECK(own.use_count() == 1);
        shm_weak_ptr<tallied> weak = own;
        vain([&](two&) { weak.reset(); });
        CHECK(weak.lock() == own);
    }
    check();
    CHECK(where.used() == before);
    // A section that ends well.
    {
        auto own = make_shm_shared<tallied>(where, 5);
        guarded.with([&](two& both) {
            both.left = std::move(own);
            CHECK(own == nullptr);
            outside = both.right;
            both.right = nullptr;
        });
        CHECK(tallied::alive() == 2);
        guarded.with([&](two& both) {
            CHECK(both.left.use_count() == 1);
            both.right = std::move(outside);
            outside = both.left;
            both.left.reset();
            CHECK(outside.use_count() == 2); // until the section ends
        });
        CHECK(outside.use_count() == 1);
        outside.reset();
        CHECK(tallied::alive() == 1);
        where.destroy<cohold::shm_guarded<two>>("two");
        CHECK(tallied::alive() == 0);
    }
}

TEST_CASE("a full segment loses nothing") {
    const anonymous where = fresh();
    auto& guarded = where.construct<cohold::shm_guarded<two>>("two");
    guarded.with([&](two& both) {
        both.left = make_shm_shared<tallied>(where, 1);
        both.right = make_shm_shared<tallied>(where, 2);
    });
    {
        const filling all(where);
        guarded.with([](two& both) {
            auto outside = both.left;
            swap(both.left, both.right);
            both.left.reset();
            both.left = both.right;
            both.right = std::move(outside);
            CHECK(both.left.use_count() == 2 + 2 - 1 + 1);
        });
        CHECK(tallied::alive() == 1);
        for (int i = 0; i < 200; ++i) {
            guarded.with([](two& both) {
                both.right = both.left;
                both.left = nullptr;
                both.left = both.right;
            });
        }
        guarded.with([](two& both) {
            CHECK(both.left.use_count() == 2);
            both.left = nullptr;
            both.right = nullptr;
        });
        CHECK(tallied::alive() == 0);
    }
}

TEST_CASE("two mappings, two segments") {
    const std::string name = "cohold.shared_ptr." + std::to_string(::getpid());
    const auto one = segment<>::create(name, 1 << 20);
    const auto again = segment<>::open(name);
    CHECK(segment<>::remove(name));
    const anonymous other = fresh();
    auto& here = one.construct<shm_vector<shm_shared_ptr<tallied>>>("here", 3U);
    auto& there = *again.find<shm_vector<shm_shared_ptr<tallied>>>("here");
    here[0] = make_shm_shared<tallied>(one, 1);
    CHECK(there[0]->value == 1);
    CHECK(there[0].use_count() == 1);
    here[1] = make_shm_shared<tallied>(again, 2); // refers to its own mapping
    CHECK(here[1]->value == 2);
    CHECK(there[1]->value == 2);
    CHECK(tallied::alive() == 2);
    there[2] = here[1];
    CHECK(here[2] == here[1]);
    CHECK(here[1].use_count() == 2);
    there[0] = std::move(here[1]);
    CHECK(tallied::alive() == 1);
    CHECK(here[0].use_count() == 2);
    auto outside = make_shm_shared<tallied>(other, 3);
    CHECK_THROWS_AS(here[0] = outside, cohold::failure);
    CHECK_THROWS_AS(here[0] = std::move(outside), cohold::failure);
    CHECK_THROWS_AS(here[0].swap(outside), cohold::failure);
    CHECK(outside->value == 3);
    CHECK(here[0]->value == 2);
    outside = here[0];
    CHECK(outside->value == 2);
    CHECK(outside.use_count() == 3);
    here.clear();
    CHECK(outside.use_count() == 1);
    outside.reset();
    CHECK(tallied::alive() == 0);
}

TEST_CASE("a pointer may outlive the handle of its segment") {
    shm_shared_ptr<tallied> left;
    shm_weak_ptr<tallied> weak;
    {
        const anonymous where = fresh();
        left = make_shm_shared<tallied>(where, 1);
        weak = left;
    }
    left.reset(); // nothing happens: the object went with the segment
    CHECK(left == nullptr);
    tallied::live = 0;
}

TEST_CASE("shared pointers go through a queue") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    using queue_of = cohold::shm_queue<shm_shared_ptr<tallied>>;
    auto& queue = where.construct<queue_of>("queue", 4U);
    auto one = make_shm_shared<tallied>(where, 1);
    queue.push(one);
    queue.push(make_shm_shared<tallied>(where, 2));
    CHECK(one.use_count() == 2);
    CHECK(queue.try_pop()->get() == one.get());
    CHECK(one.use_count() == 1);
    where.destroy<queue_of>("queue");
    CHECK(tallied::alive() == 1);
    one.reset();
    CHECK(where.used() == before);
}

TEST_CASE("threads copy, lock and release at once") {
    const anonymous where = anonymous::create({.size = 1 << 20, .reserve = 1 << 26});
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    using slots = shm_vector<shm_shared_ptr<tallied>>;
    auto& guarded = where.construct<cohold::shm_guarded<slots>>("slots");
    guarded.with([](slots& all) { all.resize(8); });
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned each = 0; each < 4; ++each) {
        threads.emplace_back([&, each] {
            std::uint32_t random = each * 7919 + 1;
            shm_shared_ptr<tallied> mine;
            shm_weak_ptr<tallied> weak;
            for (int i = 0; i < 3000; ++i) {
                random = random * 1664525 + 1013904223;
                const std::size_t at = random >> 29;
                switch (random >> 26 & 7) {
                case 0:
                    mine = make_shm_shared<tallied>(where, static_cast<int>(at));
                    break;
                case 1:
                    guarded.with([&](slots& all) { all[at] = mine; });
                    break;
                case 2:
                    guarded.with([&](slots& all) { mine = all[at]; });
                    break;
                case 3:
                    guarded.with([&](slots& all) { weak = all[at]; });
                    break;
                case 4:
                    mine = weak.lock();
                    break;
                case 5:
                    guarded.with([&](slots& all) { all[at] = std::move(mine); });
                    break;
                case 6:
                    guarded.with([&](slots& all) { swap(mine, all[at]); });
                    break;
                default:
                    try {
                        guarded.with([&](slots& all) {
                            swap(mine, all[at]);
                            all[at].reset();
                            throw 1;
                        });
                    } catch (int) {
                    }
                }
                if (mine != nullptr && (mine->value < 0 || mine->value > 7)) {
                    ++wrong;
                }
            }
        });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(wrong == 0);
    where.destroy<cohold::shm_guarded<slots>>("slots");
    CHECK(tallied::alive() == 0);
    where.recover();
    CHECK(where.used() == before);
}

TEST_CASE("pointers are cast, and weak ones convert, as in std") {
    const auto memory = fresh();
    shm_shared_ptr<int> number = make_shm_shared<int>(memory, 3);
    const shm_shared_ptr<const int> constant = number;
    const shm_shared_ptr<void> anything = number;
    CHECK(cohold::const_pointer_cast<int>(constant) == number);
    CHECK(*cohold::static_pointer_cast<int>(anything) == 3);
    CHECK_FALSE(cohold::static_pointer_cast<int>(shm_shared_ptr<void>()));
    const shm_weak_ptr weak(number);
    shm_weak_ptr<const int> converted(weak);
    CHECK(converted.lock() == number);
    converted.reset();
    converted = weak;
    CHECK(converted.lock() == number);
    CHECK(shm_shared_ptr(weak).use_count() == 4);
    auto& within = memory.construct<shm_weak_ptr<const int>>("within", weak);
    CHECK(within.lock() == number);
    CHECK(number.use_count() == 3);
}

TEST_CASE("shared pointers share an array") {
    const anonymous where = fresh();
    where.construct<int>("warm", 1);
    const std::size_t before = where.used();
    {
        shm_shared_ptr<int[]> numbers = make_shm_shared<int[]>(where, 1000);
        CHECK(std::count(numbers.get(), numbers.get() + 1000, 0) == 1000);
        numbers[999] = 7;
        const shm_shared_ptr<const int[]> constant = numbers;
        CHECK(constant[999] == 7);
        CHECK(numbers.use_count() == 2);
        const shm_weak_ptr<const int[]> weak = constant;
        CHECK(weak.lock() == constant);
        const shm_shared_ptr<int> one(numbers, &numbers[999]);
        CHECK(*one == 7);
        CHECK(numbers.use_count() == 3);
        const shm_shared_ptr<void> any = numbers;
        CHECK(any.get() == numbers.get());
        CHECK(const_pointer_cast<int[]>(constant) == numbers);
        static_assert(!std::is_convertible_v<shm_shared_ptr<int[]>, shm_shared_ptr<int>>);
        static_assert(!std::is_convertible_v<shm_shared_ptr<const int[]>, shm_shared_ptr<int[]>>);
    }
    CHECK(where.used() == before);
    {
        auto& kept = where.construct<shm_shared_ptr<tallied[]>>("kept");
        kept = make_shm_shared<tallied[]>(where, 40);
        CHECK(tallied::alive() == 40);
        const shm_shared_ptr<tallied[]> mine = kept;
        kept.reset();
        CHECK(tallied::alive() == 40);
    }
    CHECK(tallied::alive() == 0);
    where.destroy<shm_shared_ptr<tallied[]>>("kept");
    {
        const auto numbers = make_shm_shared<shm_vector<int>[]>(where, 3, shm_vector<int>());
        numbers[2].assign(100, 1);
        CHECK(numbers[2].size() == 100);
        const auto empty = make_shm_shared<tallied[]>(where, 0);
        CHECK(empty != nullptr);
    }
    CHECK(where.used() == before);
    CHECK(cohold::type_name_of<shm_shared_ptr<std::int32_t[]>>() == "shm_shared_ptr<i32[]>");
    CHECK(cohold::type_name_of<shm_weak_ptr<std::int32_t[]>>() == "shm_weak_ptr<i32[]>");

    third_throws::made = 0;
    CHECK_THROWS_AS(static_cast<void>(make_shm_shared<third_throws[]>(where, 5)),
                    std::runtime_error);
    CHECK(third_throws::made == 3);
    std::error_code ec;
    CHECK(make_shm_shared<int[]>(where, ec, -1) == nullptr);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK(make_shm_shared<int[]>(where, ec, 1 << 28) == nullptr);
    CHECK(ec == cohold::errc::reserve_exceeded);
    CHECK(where.used() == before);
}

TEST_CASE("a damaged size of a shared array leads nowhere else") {
    const anonymous where = fresh();
    for (const std::uint64_t damaged :
         {std::uint64_t{UINT64_MAX}, std::uint64_t{UINT64_MAX / sizeof(tallied)},
          std::uint64_t{1} << 40}) {
        auto all = make_shm_shared<tallied[]>(where, 4);
        std::memcpy(reinterpret_cast<char*>(all.get()) - 16, &damaged, sizeof damaged);
        all.reset(); // nobody can destroy it
        CHECK(tallied::alive() == 4);
        tallied::live = 0;
    }
}
