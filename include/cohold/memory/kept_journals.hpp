// Journals that a segment keeps beside its heap, for threads that come when it is full.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_KEPT_JOURNALS_HPP
#define COHOLD_MEMORY_KEPT_JOURNALS_HPP

#include <bit>

#include <cohold/memory/journal.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Without a journal nothing can be locked, popped or destroyed: a segment that is full could not be
// helped by anybody new. Those who have one of these are in the same list as all others. Which are
// in use stands in a word; it changes in a transaction of the heap, together with the list, so that
// neither can be without the other if the process is killed.
struct kept_journals {
    static constexpr std::uint64_t count = 4;
    static constexpr std::uint64_t directory_bytes = 64; // what lies in front of this
    static constexpr std::uint64_t offset =
        (heap::offset + sizeof(heap) + 63) / 64 * 64 + directory_bytes;

    alignas(8) std::uint64_t in_use; // a bit for each
    alignas(64) char journals[count][journal::size];

    [[nodiscard]] static kept_journals& of(segment_header& header) noexcept {
        return *reinterpret_cast<kept_journals*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Which of them is it? `count` if it is none.
    [[nodiscard, gnu::cold]] std::uint64_t index_of(const journal* log) const noexcept {
        const auto distance =
            static_cast<std::uint64_t>(reinterpret_cast<const char*>(log) - journals[0]);
        return distance % journal::size == 0 && distance / journal::size < count
                   ? distance / journal::size
                   : count;
    }

    [[nodiscard, gnu::cold]] bool has_taken(const journal* log) const noexcept {
        const std::uint64_t index = index_of(log);
        return index != count && (in_use >> index & 1) != 0;
    }

    // One that is free, and is taken by the transaction; nullptr if there is none.
    [[nodiscard, gnu::cold]] void* take(heap::transaction& change) noexcept {
        const std::uint64_t free = ~in_use & ((std::uint64_t{1} << count) - 1);
        if (free == 0) {
            return nullptr;
        }
        const int index = std::countr_zero(free);
        change.set(in_use, in_use | std::uint64_t{1} << index);
        return journals[index];
    }

    [[gnu::cold]] void give_back(std::uint64_t index, heap::transaction& change) noexcept {
        change.set(in_use, in_use & ~(std::uint64_t{1} << index));
    }
};

static_assert(sizeof(kept_journals) == 64 + kept_journals::count * journal::size);

} // namespace detail

COHOLD_NAMESPACE_END

#endif
