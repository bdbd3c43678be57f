// heap_statistics: how much of a segment's heap is in use, and by blocks of which size.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_HEAP_STATISTICS_HPP
#define COHOLD_HANDLE_HEAP_STATISTICS_HPP

#include <cstddef>

#include <cohold/engine/heap.hpp>

COHOLD_NAMESPACE_BEGIN

/// The slabs of one size of block. A slab is a run of equal blocks, which a thread keeps ready.
struct heap_class {
    std::size_t block_bytes = 0; ///< the size of each block
    std::size_t slabs = 0;       ///< of all threads and processes
    std::size_t orphans = 0;     ///< of these: whose thread has ended; others will take them over
    std::size_t blocks = 0;      ///< in these slabs
    std::size_t used = 0;        ///< of these: allocated
};

/// What the heap of a segment consists of: see segment::statistics(). Nothing is counted for it
/// while blocks are allocated and freed; it reads the slabs' bitmaps. So while others allocate, it
/// is approximate.
struct heap_statistics {
    std::size_t used = 0;  ///< bytes of all allocated blocks: segment::used()
    std::size_t taken = 0; ///< the same, but all of each slab: what other sizes cannot use
    heap_class classes[detail::slab_classes]; ///< from the smallest size to the largest
};

namespace detail {

[[nodiscard]] inline heap_statistics statistics_of(heap& of) noexcept {
    heap_statistics found;
    heap::slab_sum sums[slab_classes];
    of.sum_up(sums);
    found.used = static_cast<std::size_t>(of.used());
    found.taken = static_cast<std::size_t>(of.taken());
    for (std::uint32_t i = 0; i < slab_classes; ++i) {
        found.classes[i] = {slab_table.size[i], static_cast<std::size_t>(sums[i].slabs),
                            static_cast<std::size_t>(sums[i].orphans),
                            static_cast<std::size_t>(sums[i].blocks),
                            static_cast<std::size_t>(sums[i].used)};
    }
    return found;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
