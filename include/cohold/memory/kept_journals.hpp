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
// in use stands in a word of the header; it changes in a transaction of the heap, together with the
// list, so that neither can be without the other if the process is killed.
struct kept_journals {
    static constexpr std::uint64_t count = 4;
    static constexpr std::uint64_t directory_bytes = 64; // what lies in front of them
    static constexpr std::uint64_t offset =
        (heap::offset + sizeof(heap) + 63) / 64 * 64 + directory_bytes;

    [[nodiscard]] static char* begin(segment_header& header) noexcept {
        return reinterpret_cast<char*>(&header) + offset;
    }

    // Which of them is it? `count` if it is none.
    [[nodiscard, gnu::cold]] static std::uint64_t index_of(segment_header& header,
                                                           const journal* log) noexcept {
        const auto distance =
            static_cast<std::uint64_t>(reinterpret_cast<const char*>(log) - begin(header));
        return distance % journal::size == 0 && distance / journal::size < count
                   ? distance / journal::size
                   : count;
    }

    // One that is free, and is taken by the transaction; nullptr if there is none.
    [[nodiscard, gnu::cold]] static void* take(segment_header& header,
                                               heap::transaction& change) noexcept {
        const auto free = ~header.kept_journals & ((std::uint64_t{1} << count) - 1);
        if (free == 0) {
            return nullptr;
        }
        const auto index = static_cast<std::uint64_t>(std::countr_zero(free));
        change.set(header.kept_journals, header.kept_journals | std::uint64_t{1} << index);
        return begin(header) + index * journal::size;
    }

    [[gnu::cold]] static void give_back(segment_header& header, heap::transaction& change,
                                        std::uint64_t index) noexcept {
        change.set(header.kept_journals, header.kept_journals & ~(std::uint64_t{1} << index));
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
