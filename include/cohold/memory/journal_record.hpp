// What a record of a journal says, and the order in which a journal is written.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_JOURNAL_RECORD_HPP
#define COHOLD_MEMORY_JOURNAL_RECORD_HPP

#include <atomic>
#include <cstdint>
#include <cstring>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a record of the journal says.
enum class journal_kind : std::uint64_t {
    bytes = 1, // the bytes before the record were at `where`
    snapshot,  // the block, whose offset is before the record, has the bytes that were at `where`
    made,      // the block at `where` was allocated: undone by freeing it
    dropped,   // the block at `where` shall be freed: done on commit
    temporary, // the block at `where` belongs to the journal: freed either way
    jump,      // before this come the records that end at `where`; before it is their limit
    shift, // bytes from `where` on are being moved, or have been: before it is how; see byte_shift
    // The first one of a section that began while the thread had `where` others open, in other
    // mappings of the segment: it is undone before those.
    within,
};

// Follows its bytes, so that the records are read from the last one back.
struct journal_record {
    // `bytes`, `snapshot` and `shift`: the distance from the header, as two's complement: objects
    // on a stack are outside the segment. Otherwise an offset.
    std::uint64_t where;
    std::uint64_t word; // bytes:56 | kind:8

    [[nodiscard]] journal_kind kind() const noexcept {
        return static_cast<journal_kind>(word & 0xff);
    }

    [[nodiscard]] std::uint64_t bytes() const noexcept { return word >> 8; }

    [[nodiscard]] static constexpr std::uint64_t word_of(journal_kind kind,
                                                         std::uint64_t bytes) noexcept {
        return bytes << 8 | static_cast<std::uint64_t>(kind);
    }

    // Of the bytes in front of the record.
    [[nodiscard]] std::uint64_t room() const noexcept {
        switch (kind()) {
        case journal_kind::bytes:
        case journal_kind::shift:
            return (bytes() + 7) / 8 * 8;
        case journal_kind::snapshot:
        case journal_kind::jump:
            return 8;
        default:
            return 0;
        }
    }
};

// What a journal has is read after a death alone, so the processor needs no fences: a kill is taken
// between two instructions. The signal fences keep the compiler from reordering.
inline void store_in_order(std::atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    word.store(value, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Two words with one instruction, where there is one.
inline void store_pair(void* into, std::uint64_t first, std::uint64_t second) noexcept {
    using pair [[gnu::vector_size(16)]] = std::uint64_t;
    const pair words{first, second};
    std::memcpy(into, &words, sizeof words);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
