// heap_map: the blocks of a segment's heap, in order, and whether they agree with the lists of free
// blocks.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_HEAP_MAP_HPP
#define COHOLD_INSPECT_HEAP_MAP_HPP

#include <algorithm>
#include <bit>

#include <cohold/inspect/segment_reader.hpp>

COHOLD_NAMESPACE_BEGIN

/// A block of the heap.
struct heap_extent {
    std::uint64_t offset = 0;     ///< of its payload
    std::uint64_t bytes : 63 = 0; ///< of its payload; the 16 bytes before it belong to the heap
    std::uint64_t is_free : 1 = 0;
};

/// The heap as it is when no change is under way: a change that is being made at this moment, or
/// that a dead process left unfinished, is disregarded.
struct heap_map {
    std::uint64_t begin = 0; ///< offsets
    std::uint64_t end = 0;
    std::uint64_t used = 0; ///< the heap's own count: bytes in use, without journals
    std::uint64_t bytes_in_use = 0;
    std::uint64_t bytes_free = 0;
    std::uint64_t largest_free = 0;
    std::uint64_t count_in_use = 0;
    std::uint64_t count_free = 0;
    bool complete = false;           ///< do the blocks fill the heap? If not, the rest is unknown
    std::vector<heap_extent> blocks; ///< in order
};

namespace detail {

// The heap's state, by the offsets in docs/layout.md.
struct heap_places {
    static constexpr unsigned rows = 41;
    static constexpr unsigned columns = 16;
    static constexpr std::uint64_t lock = 0;
    static constexpr std::uint64_t row_map = 8;
    static constexpr std::uint64_t column_maps = 16;
    static constexpr std::uint64_t used = 344;
    static constexpr std::uint64_t first = 352;
    static constexpr std::uint64_t end = 360;
    static constexpr std::uint64_t heads = 368;
    static constexpr std::uint64_t log_size = 5616;
    static constexpr std::uint64_t log = 5624;
    static constexpr std::uint64_t log_capacity = 128;
    static constexpr std::uint64_t overhead = 16; // of each block
};

static_assert(sizeof(heap) == segment_places::heap_bytes &&
              heap_places::log + heap_places::log_capacity * 16 == sizeof(heap));

class heap_reader {
    using at = heap_places;

  public:
    heap_reader(segment_reader& segment, const segment_places& places, flaw_list& flaws) noexcept
        : segment_(segment), places_(places), flaws_(flaws) {}

    // Makes the reader see the heap as it was before the change that is under way. Returns true if
    // there is one.
    [[gnu::cold]] bool undo();

    // Everything but the blocks.
    [[gnu::cold]] void read_counts();

    [[gnu::cold]] void walk();

    // Every free block is in the list of its class, once, and the lists contain nothing else.
    // Called after walk().
    [[gnu::cold]] void check_lists();

    // Is this the payload of a block in use, of at least so many bytes, that nothing else has taken
    // so far? Reports a flaw if not. Where the heap is unknown, everything is possible.
    [[gnu::cold]] bool take(std::uint64_t offset, std::uint64_t bytes, segment_part part,
                            std::string_view what, std::uint64_t from);

    // The block with that payload; nullptr if there is none.
    [[nodiscard, gnu::cold]] const heap_extent* find(std::uint64_t offset) const noexcept;

    // `journals`: the bytes that used() leaves out.
    [[gnu::cold]] void check_used(std::uint64_t journals);

    [[nodiscard]] heap_map& map() noexcept { return out_; }

  private:
    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[nodiscard]] std::uint64_t field(std::uint64_t offset) noexcept {
        return segment_.word(places_.heap + offset);
    }

    [[nodiscard]] static std::uint64_t mark_of(std::uint64_t place) noexcept {
        return ((place * 0x9e3779b97f4a7c15u) | std::uint64_t{1} << 63) & 0xffff000000000000u;
    }

    [[nodiscard]] static unsigned class_of(std::uint64_t size) noexcept;

    // Each block is at least 32 bytes after the one before.
    [[gnu::cold]] bool walk_blocks();

    // Ends at the first flaw: a cyclic list reaches some block a second time.
    [[gnu::cold]] void check_list(std::uint64_t head, unsigned which);

    segment_reader& segment_;
    const segment_places& places_;
    flaw_list& flaws_;
    heap_map out_;
    std::vector<bool> taken_; // for each block: is it in a list, or owned?
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/heap_map.ipp>
#endif

#endif
