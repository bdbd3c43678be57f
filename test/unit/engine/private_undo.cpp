// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/private_undo.hpp>

#include <array>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

using cohold::detail::private_undo;

namespace {

void undo_since(private_undo& undo, std::uint32_t stamp) {
    while (undo.has(stamp)) {
        undo.undo_last();
    }
}

} // namespace

TEST_CASE("bytes outside are restored, the first ones last") {
    private_undo undo;
    int a = 1;
    std::array<int, 3> b{1, 2, 3};
    CHECK(undo.save(&a, sizeof a, {0, 0}));
    a = 2;
    CHECK(undo.save(&b, sizeof b, {1, 0}));
    b = {7, 8, 9};
    CHECK(undo.save(&a, sizeof a, {2, 0}));
    a = 3;
    undo_since(undo, 2);
    CHECK(a == 2);
    CHECK(b == std::array{7, 8, 9});
    undo_since(undo, 0);
    CHECK(a == 1);
    CHECK(b == std::array{1, 2, 3});
    a = 5;
    undo_since(undo, 0); // nothing is left
    CHECK(a == 5);
}

TEST_CASE("dropped changes stay, changes saved before them do not") {
    private_undo undo;
    int a = 1;
    int b = 1;
    CHECK(undo.save(&a, sizeof a, {3, 0}));
    CHECK(undo.save(&b, sizeof b, {4, 0}));
    a = b = 2;
    undo.finish(4, [](void*) {});
    undo_since(undo, 3);
    CHECK(a == 1);
    CHECK(b == 2);
}

TEST_CASE("an object that has been destroyed is not restored, nor is any of its parts") {
    private_undo undo;
    std::array<int, 4> object{1, 1, 1, 1};
    int other = 1;
    CHECK(undo.save(&object[1], sizeof(int), {0, 0}));
    CHECK(undo.save(&other, sizeof other, {1, 0}));
    CHECK(undo.save(&object[3], sizeof(int), {2, 0}));
    object.fill(2);
    other = 2;
    undo.forget(&object, sizeof object);
    undo_since(undo, 0);
    CHECK(object == std::array{2, 2, 2, 2});
    CHECK(other == 1);
    CHECK(undo.save(&other, 0, {0, 0})); // no bytes
    undo_since(undo, 0);
}

TEST_CASE("blocks are handed over on success, the last ones first, and otherwise forgotten") {
    private_undo undo;
    std::array<int, 3> blocks{};
    std::vector<void*> freed;
    const auto free = [&](void* block) { freed.push_back(block); };
    CHECK(undo.drop(&blocks[0], {0, 0}));
    CHECK(undo.drop(&blocks[1], {1, 0}));
    CHECK(undo.drop(&blocks[2], {2, 16}));
    CHECK(undo.last_top() == 16);
    undo.undo_last();
    undo.finish(1, free);
    CHECK(freed == std::vector<void*>{&blocks[1]});
    undo.finish(0, free);
    CHECK(freed == std::vector<void*>{&blocks[1], &blocks[0]});
    CHECK_FALSE(undo.has(0));
}
