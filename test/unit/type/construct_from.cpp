// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/construct_from.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

namespace detail = cohold::detail;
using cohold::shm_vector;

namespace {

struct plain {
    int id;
    char name[16];
    short sides[2][2];
};

struct owning {
    int id;
    char name[16];
    shm_vector<int> values;
    shm_vector<int> more[2];
};

struct refusing { // throws when -1 is assigned
    static inline int alive = 0;

    refusing() { ++alive; }

    refusing(const refusing& /*from*/) { ++alive; }

    ~refusing() { --alive; }

    refusing& operator=(const refusing&) = default;

    refusing& operator=(int value) {
        if (value == -1) {
            throw std::runtime_error("refused");
        }
        return *this;
    }
};

struct partly {
    char name[4];
    refusing first;
    refusing second;
};

struct no_default {
    explicit no_default(int) {}
};

struct without_default {
    char name[4];
    no_default member;
};

struct parenthesised {
    int first;
    int second;
};

std::string name_of(const auto& object) {
    return object.name;
}

} // namespace

static_assert(detail::is_made_by_members<plain, int, const char (&)[4]>());
static_assert(detail::is_made_by_members<owning, int, const char (&)[4]>());
static_assert(!detail::is_made_by_members<plain, int>()); // T(1) does
static_assert(!detail::is_made_by_members<parenthesised, int, int>());
static_assert(!detail::is_made_by_members<without_default, const char (&)[4]>());
static_assert(!detail::is_made_by_members<int, const char*>());
static_assert(!detail::is_made_by_members<std::string, parenthesised>());

TEST_CASE("an assignment that throws leaves no member behind") {
    alignas(partly) unsigned char block[sizeof(partly)];
    CHECK_THROWS_AS(detail::construct_from<partly>(block, "abc", 1, -1), std::runtime_error);
    CHECK(refusing::alive == 0);
    partly* const made = detail::construct_from<partly>(block, "abc", 1, 2);
    CHECK(refusing::alive == 2);
    CHECK(name_of(*made) == "abc");
    made->~partly();
}

TEST_CASE("arrays of an rvalue argument are moved from") {
    struct holder {
        std::string texts[2];
        int number;
    };

    std::string texts[2] = {std::string(40, 'a'), std::string(40, 'b')};
    alignas(holder) unsigned char block[sizeof(holder)];
    holder* made = detail::construct_from<holder>(block, texts, 1);
    CHECK(texts[1].size() == 40);
    made->~holder();
    made = detail::construct_from<holder>(block, std::move(texts), 1);
    CHECK(texts[1].empty());
    CHECK(made->texts[1].size() == 40);
    made->~holder();
}

TEST_CASE("vectors and queues make structs with arrays from their members' values") {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1U << 18);
    auto& rows = segment.construct<shm_vector<plain>>("plain");
    for (int i = 0; i < 10; ++i) { // and grows
        CHECK(name_of(rows.emplace_back(i, "bob")) == "bob");
    }
    const short sides[1][2] = {{1, 2}};
    auto at = rows.emplace(rows.begin() + 3, 33, "eve", sides);
    CHECK(at->id == 33);
    CHECK(name_of(*at) == "eve");
    CHECK(at->sides[0][1] == 2);
    CHECK(at->sides[1][1] == 0);
    CHECK(rows[4].id == 3);
    at = rows.emplace(rows.begin(), rows[3].id, rows[3].name); // from an element that moves
    CHECK(at->id == 33);
    CHECK(name_of(*at) == "eve");
    CHECK(rows.try_emplace_back(7, "ann") != nullptr);

    auto& queue = segment.construct<cohold::shm_queue<plain>>("queue", 4);
    CHECK(queue.emplace(1, "one"));
    std::error_code ec;
    CHECK(queue.try_emplace(ec, 2, "two"));
    CHECK(name_of(queue.pop().value()) == "one");
    auto& single = segment.construct<cohold::shm_queue<plain, cohold::concurrency::spsc>>("1", 4);
    CHECK(single.emplace(3, "three"));
    CHECK(name_of(single.pop().value()) == "three");
}

TEST_CASE("so do structs that own memory of the segment") {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1U << 18);
    shm_vector<int> numbers({1, 2, 3}, segment.allocator<int>());
    auto& bob = segment.construct<owning>("bob", 1, "bob", numbers);
    CHECK(name_of(bob) == "bob");
    CHECK(bob.values == numbers);
    bob.more[1].push_back(1); // bound, too
    auto& rows = segment.construct<shm_vector<owning>>("rows");
    for (int i = 0; i < 10; ++i) {
        auto& row = rows.emplace_back(i, "eve", numbers);
        CHECK(row.values == numbers);
        row.more[0].push_back(i);
    }
    const auto at = rows.emplace(rows.begin() + 3, 33, "ann", std::move(numbers));
    CHECK(at->id == 33);
    CHECK(at->values.size() == 3);
    CHECK(rows[4].more[0][0] == 3);
    auto& queue = segment.construct<cohold::shm_queue<owning>>("queue", 4);
    CHECK(queue.emplace(1, "one", at->values));
    auto& lock = segment.construct<cohold::shm_guarded<int>>("lock");
    lock.with([&](int&) { CHECK(queue.emplace(2, "two", at->values)); });
    CHECK(name_of(queue.pop().value()) == "one");
    CHECK(queue.pop()->values.size() == 3);
}

TEST_CASE("so does the object of a shared") {
    const std::string name = support::own_name("members");
    const auto made = cohold::shared<plain>::create(name, 1, "bob");
    CHECK(name_of(*made) == "bob");
    CHECK(cohold::shared<plain>::remove(name));
}

namespace {

struct with_lock { // whose constructor is explicit
    int id;
    char name[16];
    cohold::shm_guarded<int> value;
    std::optional<shm_vector<int>> extra;
};

} // namespace

TEST_CASE("members behind the arguments may have explicit constructors") {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1 << 16);
    auto& made = segment.construct<with_lock>("made", 1, "bob");
    CHECK(made.id == 1);
    CHECK(std::string(made.name) == "bob");
    CHECK(*made.value.lock() == 0);
    CHECK_FALSE(made.extra.has_value());
}
