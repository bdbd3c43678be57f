// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <memory>

#include <cohold/container/detail/queue_words.hpp>

#include <doctest/doctest.h>

using namespace cohold::detail;

namespace {

template <class T>
struct words : queue_words<T, std::allocator<T>> {
    using base = queue_words<T, std::allocator<T>>;
    using typename base::layout;

    explicit words(std::uint32_t turn, std::uint64_t capacity = 3)
        : base(first_turn{turn}, capacity, std::allocator<T>()) {}

    // Does each position of the queue have this value?
    [[nodiscard]] bool are_all(queue_position at) const {
        return this->claimed_ == at && this->seen_head_ == at && this->tail_ == at &&
               this->head_ == at && this->taken_ == at && this->seen_tail_ == at;
    }

    using base::capacity_;
    using base::closed_;
    using base::drained;
    using base::each_word;
    using base::end_;
    using base::free_ring;
    using base::limit_;
    using base::ring;
};

} // namespace

TEST_CASE_TEMPLATE("a new queue is empty, with room for its capacity", T, char, std::uint64_t,
                   words<int>) {
    for (const std::uint32_t turn : {0U, 7U, 0xffffffffU}) {
        words<T> made(turn);
        CHECK(made.are_all(position_at(turn, 0)));
        CHECK(made.limit_ == words<T>::layout::later(position_at(turn, 0), 3, made.end_));
        CHECK(made.closed_ == 0);
        made.free_ring();
    }
}

TEST_CASE_TEMPLATE("a queue without its ring is closed, drained and full", T, char, std::uint64_t,
                   words<int>) {
    words<T> made(7);
    made.free_ring();
    CHECK(made.capacity_ == 0);
    CHECK(made.closed_ == made.drained);
    CHECK(made.are_all(0));
    CHECK(made.limit_ == 0);
    // A look at the first element stays in the queue.
    const auto offset = made.ring() - reinterpret_cast<std::byte*>(&made);
    CHECK(offset >= 0);
    CHECK(offset + 8 <= static_cast<std::ptrdiff_t>(sizeof made));
}

TEST_CASE("what freeing the ring changes is named before, to be undone") {
    words<int> made(7);
    std::size_t bytes = 0;
    made.each_word([&](const void* first, std::size_t size) {
        const auto* const at = static_cast<const std::byte*>(first);
        CHECK(at >= reinterpret_cast<const std::byte*>(&made));
        CHECK(at + size <= reinterpret_cast<const std::byte*>(&made + 1));
        bytes += size;
    });
    CHECK(bytes == 24 + 8 * sizeof(std::uint64_t));
    made.free_ring();
}
