// Definitions for heap.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_HEAP_IPP
#define COHOLD_ENGINE_HEAP_IPP

#include <cohold/engine/heap.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void heap::format(std::uint64_t first) noexcept {
    first_ = first;
    end_ = header().size.load(std::memory_order_relaxed) / 16 * 16 - overhead;
    at(end_).word = 0; // a last block of zero bytes, which is never free
    at(end_).previous = first;
    at(first).previous = 0;
    put_free(own_bounds(), first, end_ - first - overhead);
    commit();
}

COHOLD_INLINE heap::change::~change() {
    if (locked_) [[likely]] {
        heap_.commit();
        heap_.lock_.unlock();
    }
}

COHOLD_INLINE void* heap::change::allocate(std::uint64_t bytes, std::uint64_t alignment,
                                           std::error_code& ec) noexcept {
    if (!locked_) [[unlikely]] {
        fail_errno(ec, ETIMEDOUT, "the heap's lock is held by a process that makes no progress");
        return nullptr;
    }
    return heap_.allocate(bytes, alignment, ec);
}

COHOLD_INLINE heap::size_class::size_class(std::uint64_t size) noexcept {
    if (size < 256) {
        row = 0;
        column = static_cast<unsigned>(size / 16);
    } else {
        const unsigned log = static_cast<unsigned>(std::bit_width(size)) - 1;
        row = log - 7;
        column = static_cast<unsigned>(size >> (log - 4)) & (columns - 1);
    }
}

COHOLD_INLINE bool heap::is_listed(const bounds& all, std::uint64_t place) noexcept {
    if (!all.contain(place) || !at(place).is_free() || !is_closed(all, place, at(place).size())) {
        return false;
    }
    const std::uint64_t next = at(place).next_free;
    const std::uint64_t previous = at(place).previous_free;
    return (next == 0 || (all.contain(next + overhead) && at(next).previous_free == place)) &&
           (previous == 0 || (all.contain(previous + overhead) && at(previous).next_free == place));
}

COHOLD_INLINE bool heap::lock(owner_word me) noexcept {
    if (!lock_.lock_patiently(
            me, [this](owner_word holder) noexcept { return !is_alive(header(), holder); })) {
        return false;
    }
    if (log_size_ != 0) [[unlikely]] {
        roll_back(); // the previous holder is dead
    }
    return true;
}

[[gnu::noinline]] COHOLD_INLINE void heap::roll_back() noexcept {
    const std::uint64_t size = bounded_size(header());
    for (std::uint64_t i = log_size_ < log_capacity ? log_size_ : log_capacity; i > 0; --i) {
        const undo& last = log_[i - 1];
        if (last.where % 8 == 0 && last.where >= control_bytes && last.where <= size - 8) {
            __atomic_store_n(reinterpret_cast<aligned_word*>(base() + last.where), last.old,
                             __ATOMIC_RELAXED);
        }
    }
    commit();
}

COHOLD_INLINE void* heap::allocate(std::uint64_t bytes, std::uint64_t alignment,
                                   std::error_code& ec) noexcept {
    if (!std::has_single_bit(alignment) || alignment > max_alignment) {
        fail(ec, errc::invalid_alignment, "alignment %llu",
             static_cast<unsigned long long>(alignment));
        return nullptr;
    }
    if (const std::uint64_t reserve = local_of(header()).reserve; bytes > reserve) {
        fail(ec, errc::reserve_exceeded, "wanted a block of %llu bytes, the reserve has %llu",
             static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(reserve));
        return nullptr;
    }
    const std::uint64_t need = bytes < 16 ? 16 : (bytes + 15) / 16 * 16;
    // An aligned payload may begin further on. The bytes before it must then form a block of their
    // own.
    const std::uint64_t search = alignment <= 16 ? need : need + alignment + smallest;
    bounds all = own_bounds();
    std::uint64_t found = find_free(all, search);
    if (found == 0) {
        grow_for(search, ec);
        if (ec) {
            return nullptr;
        }
        all = own_bounds();
        found = find_free(all, search);
    }
    if (!is_listed(all, found) || at(found).size() < search) [[unlikely]] {
        fail_damaged(found, ec);
        return nullptr;
    }
    remove_free(found);
    if (alignment > 16) {
        found = cut_front(all, found, alignment);
    }
    heap_block& block = at(found);
    const std::uint64_t size = cut_back(all, found, need);
    set(block.word, size | mark_of(found));
    // Rolling this back needs the links, which the caller may overwrite during the change.
    set(block.next_free, 0);
    set(block.previous_free, 0);
    set(used_, used_ + size);
    return &block.next_free;
}

COHOLD_INLINE void heap::deallocate(void* pointer) noexcept {
    if (pointer == nullptr) {
        return;
    }
    const bounds all = own_bounds();
    std::uint64_t here = place_of(pointer);
    if (!is_in_use(all, here)) [[unlikely]] {
        if constexpr (config::heap_checks) {
            refuse(pointer, here);
        }
        return;
    }
    std::uint64_t size = at(here).size();
    const std::uint64_t next = here + overhead + size;
    const std::uint64_t previous = at(here).previous;
    const bool joins_next = at(next).is_free();
    const bool joins_previous = previous != 0 && all.contain(previous) && at(previous).is_free();
    if ((joins_next && !is_listed(all, next)) ||
        (joins_previous && (!is_listed(all, previous) ||
                            previous + overhead + at(previous).size() != here))) [[unlikely]] {
        return; // the block leaks, and the inspector reports it
    }
    set(used_, used_ - size);
    if (joins_next) {
        remove_free(next);
        size += at(next).size() + overhead;
    }
    if (joins_previous) {
        remove_free(previous);
        // Clears the mark, so that a second free is detected even now.
        set(at(here).word, 0);
        size += at(previous).size() + overhead;
        here = previous;
    }
    set(at(here + overhead + size).previous, here);
    put_free(all, here, size);
}

COHOLD_INLINE void heap::put_free(const bounds& all, std::uint64_t place,
                                  std::uint64_t size) noexcept {
    heap_block& block = at(place);
    const size_class which(size);
    std::uint64_t& head = heads_[which.row][which.column];
    std::uint64_t next = head;
    set(block.word, size | 1);
    set(block.previous_free, 0);
    if (next != 0) {
        if (all.contain(next + overhead) && at(next).previous_free == 0) [[likely]] {
            set(at(next).previous_free, place);
        } else {
            next = 0;
        }
    }
    set(block.next_free, next);
    set(head, place);
    if (next == 0) { // otherwise the bits are already set
        set(row_map_, row_map_ | std::uint64_t{1} << which.row);
        set(column_maps_[which.row], column_maps_[which.row] | std::uint64_t{1} << which.column);
    }
}

COHOLD_INLINE void heap::remove_free(std::uint64_t place) noexcept {
    heap_block& block = at(place);
    const size_class which(block.size());
    std::uint64_t& head = heads_[which.row][which.column];
    if (block.next_free != 0) {
        set(at(block.next_free).previous_free, block.previous_free);
    }
    if (block.previous_free != 0) {
        set(at(block.previous_free).next_free, block.next_free);
    } else {
        set(head, block.next_free);
        if (head == 0) {
            set(column_maps_[which.row],
                column_maps_[which.row] & ~(std::uint64_t{1} << which.column));
            if (column_maps_[which.row] == 0) {
                set(row_map_, row_map_ & ~(std::uint64_t{1} << which.row));
            }
        }
    }
}

COHOLD_INLINE std::uint64_t heap::find_free(const bounds& all, std::uint64_t size) noexcept {
    // Any block of the class above fits ...
    const std::uint64_t step = size < 256 ? 1 : std::uint64_t{1} << (std::bit_width(size) - 5);
    const size_class above(size + step - 1);
    std::uint64_t columns_left =
        column_maps_[above.row] & (all_columns << above.column) & all_columns;
    unsigned row = above.row;
    if (columns_left == 0) {
        const std::uint64_t rows_left =
            row_map_ & (~std::uint64_t{0} << row << 1) & ((std::uint64_t{1} << rows) - 1);
        if (rows_left != 0) {
            row = static_cast<unsigned>(std::countr_zero(rows_left));
            columns_left = column_maps_[row] & all_columns;
        }
    }
    if (columns_left != 0) {
        return heads_[row][std::countr_zero(columns_left)];
    }
    // ... and before the segment has to grow, blocks of its own class are tried.
    const size_class own(size);
    std::uint64_t place = heads_[own.row][own.column];
    std::uint64_t most = all.count(); // so that the loop ends, whatever the links are
    while (place != 0 && all.contain(place + overhead) && at(place).size() < size) {
        place = most-- != 0 ? at(place).next_free : 1; // 1 is not a valid place
    }
    return place;
}

COHOLD_INLINE std::uint64_t heap::cut_front(const bounds& all, std::uint64_t place,
                                            std::uint64_t alignment) noexcept {
    const auto aligned = [alignment](std::uint64_t from) noexcept {
        return (from + overhead + alignment - 1) / alignment * alignment - overhead;
    };
    std::uint64_t rest = aligned(place);
    if (rest == place) {
        return place;
    }
    if (rest - place < smallest) {
        rest = aligned(place + smallest);
    }
    const std::uint64_t size = at(place).size();
    split(place, rest, size);
    set(at(rest).word, size - (rest - place));
    // The block before it is not free, or the two would have been merged.
    put_free(all, place, rest - place - overhead);
    return rest;
}

COHOLD_INLINE std::uint64_t heap::cut_back(const bounds& all, std::uint64_t place,
                                           std::uint64_t need) noexcept {
    const std::uint64_t size = at(place).size();
    if (size < need + smallest) {
        return size;
    }
    const std::uint64_t rest = place + overhead + need;
    split(place, rest, size);
    put_free(all, rest, size - need - overhead);
    return need;
}

COHOLD_INLINE void heap::grow_for(std::uint64_t size, std::error_code& ec) noexcept {
    constexpr std::uint64_t largest_step = std::uint64_t{64} << 20;
    // Takes in the bytes that a process added to the segment before it was killed.
    take_in(ec);
    if (ec || find_free(own_bounds(), size) != 0) {
        return;
    }
    const std::uint64_t now = bounded_size(header());
    const std::uint64_t last = at(end_).previous;
    const std::uint64_t there = is_listed(own_bounds(), last) ? at(last).size() + overhead : 0;
    const std::uint64_t least = now + (size + overhead - there);
    const std::uint64_t more = now + (now < largest_step ? now : largest_step);
    if (more > least && more <= local_of(header()).reserve) {
        std::error_code full;
        grow_to(more, full);
        if (!full) {
            return;
        }
    }
    grow_to(least, ec);
}

COHOLD_INLINE void heap::grow_to(std::uint64_t bytes, std::error_code& ec) noexcept {
    // A size beyond the reserve must not wrap around when it is rounded.
    const std::uint64_t wanted =
        bytes > local_of(header()).reserve ? bytes : round_up(bytes, page_size());
    grow_segment(header(), wanted, ec);
    if (!ec) {
        take_in(ec);
    }
}

COHOLD_INLINE void heap::take_in(std::error_code& ec) noexcept {
    const bounds all = own_bounds();
    const std::uint64_t last = end_;
    if (!all.contain(last) || at(last).word != 0) {
        fail_damaged(last, ec);
        return;
    }
    const std::uint64_t end = bounded_size(header()) / 16 * 16 - overhead;
    if (end < last + smallest) {
        return;
    }
    // The last block becomes a block with the new bytes, and is merged with the block before if
    // that is free.
    std::uint64_t place = last;
    if (const std::uint64_t previous = at(last).previous;
        is_listed(all, previous) && previous + overhead + at(previous).size() == last) {
        place = previous;
        remove_free(place);
        // Rolling this back needs the last block, which is now inside the new one, where the caller
        // may overwrite it during the change.
        set(at(last).word, at(last).word);
        set(at(last).previous, at(last).previous);
    }
    set(at(end).word, 0);
    set(at(end).previous, place);
    set(end_, end);
    put_free(all, place, end - place - overhead);
}

[[gnu::noinline]] COHOLD_INLINE void heap::fail_damaged(std::uint64_t place,
                                                        std::error_code& ec) noexcept {
    fail(ec, errc::corrupt, "the heap: a block at offset %#llx is damaged",
         static_cast<unsigned long long>(place));
}

[[gnu::noinline]] COHOLD_INLINE void heap::refuse(const void* pointer,
                                                  std::uint64_t place) noexcept {
    char text[128];
    std::snprintf(
        text, sizeof text,
        "heap: %p (offset %#llx) is freed a second time, or is not a block of this segment",
        pointer, static_cast<unsigned long long>(place + overhead));
    die(text);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
