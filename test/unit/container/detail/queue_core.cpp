// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>

#include <cohold/container/detail/queue_core.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include <doctest/doctest.h>

using namespace cohold;
using namespace cohold::detail;

namespace {

using large = std::array<int, 16>; // lies densely

template <class T>
T made_of(int number) {
    if constexpr (std::is_same_v<T, int>) {
        return number;
    } else {
        T made{};
        made.fill(number);
        return made;
    }
}

// A queue of one producer and one consumer, and its words.
template <class T>
struct scene {
    using core = queue_core<T, false, false, shm_allocator<T>>;

    explicit scene(std::uint32_t capacity, std::uint32_t turn = 0)
        : it(*::new(block.data())
                 core(first_turn{turn}, capacity, segment.template allocator<T>())) {}

    scene(const scene&) = delete;
    scene& operator=(const scene&) = delete;

    ~scene() { it.~core(); }

    [[nodiscard]] std::atomic<std::uint64_t>& word(std::size_t offset) const {
        return *reinterpret_cast<std::atomic<std::uint64_t>*>(block.data() + offset / 8);
    }

    bool push(int number) { return it.try_emplace(made_of<T>(number)) == outcome::done; }

    int pop() {
        int found = -1;
        static_cast<void>(it.try_take([&](T&& element) {
            if constexpr (std::is_same_v<T, int>) {
                found = element;
            } else {
                found = element[15];
            }
        }));
        return found;
    }

    // As if another process had been at work on both sides before.
    void replace_both() {
        word(40) = 0;
        word(48) = 0;
    }

    cohold::segment<mechanism::memfd> segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    std::array<std::uint64_t, 48>& memory =
        segment.template construct<std::array<std::uint64_t, 48>>("memory");
    // Aligned to a line.
    std::span<std::uint64_t> block =
        std::span(memory).subspan((64 - reinterpret_cast<std::uintptr_t>(&memory) % 64) % 64 / 8);
    core& it;
};

} // namespace

TEST_CASE_TEMPLATE("the successor of a producer goes on where the published elements end", T, int,
                   large) {
    for (const std::uint32_t turn : {0U, 0xffffffffU}) {
        for (const std::uint32_t capacity : {1U, 13U, 14U, 15U, 40U}) {
            for (std::uint32_t claimed = 0; claimed <= capacity; ++claimed) {
                scene<T> s(capacity, turn);
                CAPTURE(capacity);
                CAPTURE(claimed);
                int next = 0;
                int expected = 0;
                for (std::uint32_t round = 0; round < 3; ++round) {
                    // Claims several, and is killed before it publishes the last of them.
                    for (std::uint32_t i = 0; i < claimed; ++i) {
                        CHECK(s.push(next++));
                    }
                    const std::uint64_t at = s.word(64);
                    using layout = queue_layout<T>;
                    for (std::uint32_t more = 0; more <= capacity - claimed; ++more) {
                        s.word(64) = layout::later(at, more, layout::end_for(capacity));
                        CHECK(s.it.size() == claimed);
                        s.replace_both();
                        if (claimed < capacity) {
                            CHECK(s.push(next));
                            CHECK(s.it.size() == claimed + 1);
                            CHECK(s.word(64) == layout::next(at, layout::end_for(capacity)));
                            break;
                        }
                        CHECK_FALSE(s.push(next));
                    }
                    next += claimed < capacity ? 1 : 0;
                    while (s.it.size() != 0) {
                        CHECK(s.pop() == expected++);
                    }
                    CHECK(expected == next);
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("the successor of a consumer goes on at the head", T, int, large) {
    scene<T> s(9);
    for (int i = 0; i < 9; ++i) {
        CHECK(s.push(i));
    }
    CHECK(s.pop() == 0);
    const std::uint64_t taken = s.word(256);
    CHECK(s.pop() == 1);
    s.word(256) = taken; // killed before it copied the head
    s.replace_both();
    CHECK(s.pop() == 2);
}

TEST_CASE("a producer killed between limit and head looks at the head again") {
    scene<int> s(3);
    for (int i = 0; i < 3; ++i) {
        CHECK(s.push(i));
    }
    CHECK_FALSE(s.push(3));
    CHECK(s.pop() == 0);
    const std::uint64_t seen = s.word(80);
    CHECK(s.push(3));
    CHECK(s.word(80) != seen);
    s.word(80) = seen;
    CHECK_FALSE(s.push(4));
    CHECK(s.pop() == 1);
    CHECK(s.push(4));
}

TEST_CASE("a batch stops at the room and at the elements that there are") {
    scene<int> s(10);
    const std::array<int, 12> in{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    std::array<int, 12> out{};
    outcome why = outcome::done;
    CHECK(s.it.try_push_batch(in.data(), 4, why) == 4);
    CHECK(why == outcome::done);
    CHECK(s.it.try_pop_batch(out.data(), 3, why) == 3);
    CHECK(why == outcome::done);
    CHECK(s.it.try_push_batch(in.data(), 12, why) == 9);
    CHECK(why == outcome::blocked);
    CHECK(s.it.try_push_batch(in.data(), 1, why) == 0);
    CHECK(why == outcome::blocked);
    CHECK(s.it.try_pop_batch(out.data(), 12, why) == 10);
    CHECK(why == outcome::blocked);
    CHECK(out[0] == 3);
    CHECK(out[9] == 8);
    s.it.close();
    CHECK(s.it.try_push_batch(in.data(), 1, why) == 0);
    CHECK(why == outcome::closed);
    CHECK(s.it.try_pop_batch(out.data(), 1, why) == 0);
    CHECK(why == outcome::closed);
}
