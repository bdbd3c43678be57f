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
    put_free(own_bounds(), first, end_ - first - overhead, {});
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
        if (last.where % 8 == claim_bit && last.where >= control_bytes && last.where <= size - 8) {
            std::uint64_t claimed = slab_word(last.old >> 2, slab_state::claimed);
            __atomic_compare_exchange_n(
                reinterpret_cast<aligned_word*>(base() + (last.where - claim_bit)), &claimed,
                last.old, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
        } else if (last.where % 8 == 0 && last.where >= control_bytes && last.where <= size - 8) {
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
    obstacle why;
    void* made = allocate_here(own_bounds(), need, alignment, 0, why);
    if (made == nullptr && why.damaged == 0 && log_size_ == 0 && take_back_all() != 0) {
        why = {};
        made = allocate_here(own_bounds(), need, alignment, 0, why);
    }
    if (made == nullptr && !why.is_there()) {
        grow_for(alignment <= 16 ? need : need + alignment + smallest, ec);
        if (ec) {
            return nullptr;
        }
        made = allocate_here(own_bounds(), need, alignment, 0, why);
    }
    if (made == nullptr) [[unlikely]] {
        if (why.unbacked) {
            ec = why.unbacked; // reported already
        } else {
            fail_damaged(why.damaged, ec);
        }
    }
    return made;
}

COHOLD_INLINE void* heap::allocate_here(const bounds& all, std::uint64_t need,
                                        std::uint64_t alignment, std::uint64_t kind,
                                        obstacle& why) noexcept {
    std::uint64_t found =
        alignment <= 16 ? find_free(all, need) : find_aligned(all, need, alignment);
    if (found == 0) {
        return nullptr;
    }
    if (!is_listed(all, found) || at(found).size() < need ||
        (alignment > 16 && !fits(found, need, alignment))) [[unlikely]] {
        why.damaged = found;
        return nullptr;
    }
    cut_holes holes;
    if ((at(found).word & heap_block::holes_bit) != 0) [[unlikely]] {
        holes = cut(found, need, alignment);
        if (holes.touched.bytes() != 0) {
            back(holes.touched, why.unbacked);
            if (why.unbacked) {
                found = find_backed(all, need, alignment);
                if (found == 0) {
                    return nullptr;
                }
                why.unbacked.clear();
                holes = cut(found, need, alignment);
            }
        }
        // Rolling this back needs them.
        heap_holes& words = reinterpret_cast<trimmed_block&>(at(found)).holes;
        set(words.begin, words.begin);
        set(words.end, words.end);
        set(words.filled, words.filled);
    }
    remove_free(found);
    if (alignment > 16) {
        found = cut_front(all, found, alignment, holes.before);
    }
    heap_block& block = at(found);
    const std::uint64_t size = cut_back(all, found, need, holes.after);
    set(block.word, size | mark_of(found) | kind);
    // Rolling this back needs the links, which the caller may overwrite during the change.
    set(block.next_free, 0);
    set(block.previous_free, 0);
    if (kind == 0) {
        set(used_, used_ + size);
    }
    return &block.next_free;
}

COHOLD_INLINE void heap::deallocate(void* pointer, std::uint64_t kind) noexcept {
    const bounds all = own_bounds();
    std::uint64_t here = place_of(pointer);
    if (!is_in_use(all, here) ||
        (at(here).word & (heap_block::slab_bit | heap_block::own_bit)) != kind) [[unlikely]] {
        if (config::heap_checks && kind == 0) {
            refuse_overrun(all, here);
            refuse(pointer, here + overhead);
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
    if (kind == 0) {
        set(used_, used_ - size);
    }
    heap_holes holes;
    if (joins_next) {
        holes = holes_of(next);
        remove_free(next);
        size += at(next).size() + overhead;
    }
    if (joins_previous) {
        holes = holes_of(previous).with(holes);
        remove_free(previous);
        // Clears the mark, so that a second free is detected even now.
        set(at(here).word, 0);
        size += at(previous).size() + overhead;
        here = previous;
    }
    set(at(here + overhead + size).previous, here);
    put_free(all, here, size, holes);
}

COHOLD_INLINE bool heap::resize(void* pointer, std::uint64_t bytes) noexcept {
    const std::uint64_t here = place_of(pointer);
    if (bytes > local_of(header()).reserve || !is_in_use(here) ||
        (at(here).word & (heap_block::slab_bit | heap_block::own_bit)) != 0) {
        return false;
    }
    const std::uint64_t need = bytes < 16 ? 16 : (bytes + 15) / 16 * 16;
    const std::uint64_t size = at(here).size();
    const std::uint64_t next = here + overhead + size;
    // The free block behind it, and its size with the 16 bytes before its payload; 0: there is
    // none.
    const auto behind = [&]() noexcept -> std::uint64_t {
        return is_listed(own_bounds(), next) ? at(next).size() + overhead : 0;
    };
    if (need > size + behind()) {
        const bool last = next == end_ || (behind() != 0 && next + behind() == end_);
        if (!last || find_free(own_bounds(), need) != 0) {
            return false;
        }
        const report_keeper keeper;
        std::error_code ec;
        take_in(ec);
        if (!ec && need > size + behind()) {
            grow_end_for(need - size, ec);
        }
        if (ec || need > size + behind()) {
            return false;
        }
    }
    const bounds all = own_bounds();
    std::uint64_t whole = size + behind();
    heap_holes holes;
    if (whole != size) {
        holes = holes_of(next);
        const std::uint64_t page = page_size();
        const std::uint64_t used =
            (here + overhead + need + sizeof(trimmed_block) + page - 1) / page * page;
        if (const heap_holes touched = holes.before(used); touched.bytes() != 0) {
            const report_keeper keeper;
            std::error_code ec;
            back(touched, ec);
            if (ec) {
                return false;
            }
        }
        holes = holes.from(used);
    }
    if (whole < need + smallest && need <= size) {
        return true; // as before
    }
    if (whole != size) {
        remove_free(next);
    }
    const std::uint64_t end = here + overhead + whole;
    if (whole >= need + smallest) {
        const std::uint64_t rest = here + overhead + need;
        set(at(rest).previous, here);
        set(at(end).previous, rest);
        put_free(all, rest, end - rest - overhead, holes);
        whole = need;
    } else {
        set(at(end).previous, here);
    }
    set(at(here).word, whole | mark_of(here));
    set(used_, used_ + whole - size);
    return true;
}

COHOLD_INLINE void heap::put_free(const bounds& all, std::uint64_t place, std::uint64_t size,
                                  const heap_holes& holes) noexcept {
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
    if (holes.bytes() != 0) [[unlikely]] {
        write_holes(place, holes);
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

COHOLD_INLINE std::uint64_t heap::aligned_after(std::uint64_t place,
                                                std::uint64_t alignment) noexcept {
    const auto aligned = [alignment](std::uint64_t from) noexcept {
        return (from + overhead + alignment - 1) / alignment * alignment - overhead;
    };
    // The bytes before it must form a block of their own.
    const std::uint64_t rest = aligned(place);
    return rest != place && rest - place < smallest ? aligned(place + smallest) : rest;
}

COHOLD_INLINE bool heap::fits(std::uint64_t place, std::uint64_t need,
                              std::uint64_t alignment) noexcept {
    return aligned_after(place, alignment) - place + need <= at(place).size();
}

COHOLD_INLINE std::uint64_t heap::find_aligned(const bounds& all, std::uint64_t need,
                                               std::uint64_t alignment) noexcept {
    // The holes that slabs leave fit exactly, so a few blocks of the class are tried.
    const size_class own(need);
    std::uint64_t place = heads_[own.row][own.column];
    for (int most = 8; place != 0 && all.contain(place + overhead) && most > 0; --most) {
        if (at(place).size() >= need && fits(place, need, alignment)) {
            return place;
        }
        place = at(place).next_free;
    }
    place = find_free(all, need);
    if (place != 0 && all.contain(place + overhead) && fits(place, need, alignment)) {
        return place;
    }
    return find_free(all, need + alignment + smallest);
}

COHOLD_INLINE std::uint64_t heap::cut_front(const bounds& all, std::uint64_t place,
                                            std::uint64_t alignment,
                                            const heap_holes& holes) noexcept {
    const std::uint64_t rest = aligned_after(place, alignment);
    if (rest == place) {
        return place;
    }
    const std::uint64_t size = at(place).size();
    split(place, rest, size);
    set(at(rest).word, size - (rest - place));
    // The block before it is not free, or the two would have been merged.
    put_free(all, place, rest - place - overhead, holes);
    return rest;
}

COHOLD_INLINE std::uint64_t heap::cut_back(const bounds& all, std::uint64_t place,
                                           std::uint64_t need, const heap_holes& holes) noexcept {
    const std::uint64_t size = at(place).size();
    if (size < need + smallest) {
        return size;
    }
    const std::uint64_t rest = place + overhead + need;
    split(place, rest, size);
    put_free(all, rest, size - need - overhead, holes);
    return need;
}

COHOLD_INLINE void heap::grow_for(std::uint64_t size, std::error_code& ec) noexcept {
    // Takes in the bytes that a process added to the segment before it was killed.
    take_in(ec);
    if (!ec && find_free(own_bounds(), size) == 0) {
        grow_end_for(size, ec);
    }
}

COHOLD_INLINE void heap::grow_end_for(std::uint64_t size, std::error_code& ec) noexcept {
    constexpr std::uint64_t largest_step = std::uint64_t{64} << 20;
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
    heap_holes holes;
    if (const std::uint64_t previous = at(last).previous;
        is_listed(all, previous) && previous + overhead + at(previous).size() == last) {
        place = previous;
        holes = holes_of(place);
        remove_free(place);
        // Rolling this back needs the last block, which is now inside the new one, where the caller
        // may overwrite it during the change.
        set(at(last).word, at(last).word);
        set(at(last).previous, at(last).previous);
    }
    set(at(end).word, 0);
    set(at(end).previous, place);
    set(end_, end);
    put_free(all, place, end - place - overhead, holes);
}

[[gnu::noinline]] COHOLD_INLINE void heap::fail_damaged(std::uint64_t place,
                                                        std::error_code& ec) noexcept {
    fail(ec, errc::corrupt, "the heap: a block at offset %#llx is damaged",
         static_cast<unsigned long long>(place));
}

[[gnu::noinline]] COHOLD_INLINE void heap::refuse_overrun(const bounds& all,
                                                          std::uint64_t here) noexcept {
    if (!all.contain(here)) {
        return;
    }
    const std::uint64_t word = at(here).word;
    const std::uint64_t before = at(here).previous;
    const bool marked = (word & 0xffff000000000001u) == mark_of(here);
    if (marked && is_closed(all, here, at(here).size())) {
        return; // in order, but the heap's own
    }
    // A block that was freed, and merged with the one before it, has no word any more.
    const bool spoilt = !marked && word != 0 && is_in_use(all, before) &&
                        before + overhead + at(before).size() == here;
    if (marked || spoilt) {
        char text[128];
        std::snprintf(text, sizeof text,
                      "heap: the end of the block at offset %#llx was overrun: found when %s freed",
                      static_cast<unsigned long long>((marked ? here : before) + overhead),
                      marked ? "it is" : "the one behind it is");
        die(text);
    }
}

[[gnu::noinline]] COHOLD_INLINE void heap::refuse(const void* pointer,
                                                  std::uint64_t where) noexcept {
    char text[128];
    std::snprintf(
        text, sizeof text,
        "heap: %p (offset %#llx) is freed a second time, or is not a block of this segment",
        pointer, static_cast<unsigned long long>(where));
    die(text);
}

// ---- pages that have been given back

COHOLD_INLINE heap_holes heap::read_holes(std::uint64_t place) noexcept {
    const heap_holes all = pages_inside(place, at(place).size());
    if (all.bytes() == 0) {
        return {};
    }
    const heap_holes found = reinterpret_cast<const trimmed_block&>(at(place)).holes;
    const bool good = found.begin % page_size() == 0 && found.end % page_size() == 0 &&
                      all.begin <= found.begin && found.begin < found.end && found.end <= all.end &&
                      found.filled <= found.bytes();
    return good ? found : all;
}

COHOLD_INLINE void heap::write_holes(std::uint64_t place, const heap_holes& holes) noexcept {
    const heap_holes all = pages_inside(place, at(place).size());
    const heap_holes inside = holes.before(all.end).from(all.begin);
    if (inside.bytes() != 0) {
        auto& block = reinterpret_cast<trimmed_block&>(at(place));
        set(block.holes.begin, inside.begin);
        set(block.holes.end, inside.end);
        set(block.holes.filled, inside.filled);
        set(block.word, block.word | heap_block::holes_bit);
    }
}

COHOLD_INLINE heap::cut_holes heap::cut(std::uint64_t place, std::uint64_t need,
                                        std::uint64_t alignment) noexcept {
    const heap_holes all = holes_of(place);
    const std::uint64_t page = page_size();
    const std::uint64_t begin = alignment <= 16 ? place : aligned_after(place, alignment);
    // With the words of the block behind it.
    const std::uint64_t end = begin + overhead + need + sizeof(trimmed_block);
    const std::uint64_t first = begin / page * page;
    const std::uint64_t last = (end + page - 1) / page * page;
    return {all.before(first), all.from(first).before(last), all.from(last)};
}

COHOLD_INLINE void heap::back(const heap_holes& holes, std::error_code& ec) noexcept {
    back_segment(local_of(header()), base(), holes.begin, holes.end, ec);
}

COHOLD_INLINE std::uint64_t heap::find_backed(const bounds& all, std::uint64_t need,
                                              std::uint64_t alignment) noexcept {
    const size_class own(need);
    std::uint64_t most = all.count(); // so that it ends, whatever the links are
    for (unsigned i = own.row * columns + own.column; i < rows * columns; ++i) {
        for (std::uint64_t place = heads_[i / columns][i % columns];
             place != 0 && most != 0 && is_listed(all, place);
             place = at(place).next_free, --most) {
            if (at(place).size() >= need && (alignment <= 16 || fits(place, need, alignment)) &&
                cut(place, need, alignment).touched.bytes() == 0) {
                return place;
            }
        }
    }
    return 0;
}

COHOLD_INLINE std::uint64_t heap::trim(bool& more, std::error_code& ec) noexcept {
    const local_mapping& local = local_of(header());
    const bounds all = own_bounds();
    const size_class least(page_size());
    std::uint64_t given = 0;
    unsigned most = 64; // so that others need not wait long for the lock
    more = false;
    // From now on, an object with holes is not one that has lost its memory.
    header().trimmed.store(local.object_word(), std::memory_order_relaxed);
    for (unsigned i = least.row * columns; i < rows * columns; ++i) {
        std::uint64_t left = all.count();
        for (std::uint64_t place = heads_[i / columns][i % columns];
             place != 0 && left != 0 && is_listed(all, place);
             place = at(place).next_free, --left) {
            const heap_holes before = holes_of(place);
            heap_holes now = pages_inside(place, at(place).size());
            if (now.bytes() == before.bytes() - before.filled) {
                continue;
            }
            if (most-- == 0) {
                more = true;
                return given;
            }
            // What the block says is true at every moment, also if the process is killed.
            now.filled = now.bytes() - (before.bytes() - before.filled);
            write_holes(place, now);
            commit();
            release_segment(local, base(), now.begin, now.end, ec);
            if (ec) {
                return given;
            }
            given += now.filled;
            set(reinterpret_cast<trimmed_block&>(at(place)).holes.filled, 0);
            commit();
        }
    }
    return given;
}

COHOLD_INLINE std::uint64_t trim_heap(segment_header& header, owner_word me,
                                      std::error_code& ec) noexcept {
    std::uint64_t given = 0;
    bool more = true;
    for (bool first = true; more && !ec; first = false) {
        heap::change change(heap::of(header), me);
        if (!change) {
            static_cast<void>(change.allocate(1, 8, ec)); // for the report
        } else {
            if (first) {
                change.take_back_all();
            }
            given += change.trim(more, ec);
        }
    }
    return given;
}

// ---- slabs

COHOLD_INLINE slab_directory* heap::slabs() noexcept {
    const std::uint64_t place = get_word(slabs_);
    const std::uint64_t size = bounded_size(header());
    return place % 8 == 0 && place >= far_slots_offset && place < size &&
                   sizeof(slab_directory) <= size - place
               ? reinterpret_cast<slab_directory*>(base() + place)
               : nullptr;
}

COHOLD_INLINE std::uint32_t* heap::map_part(unsigned which) noexcept {
    slab_directory* const all = slabs();
    if (all == nullptr || which >= slab_directory::parts) {
        return nullptr;
    }
    if (which == 0) {
        return all->first_part;
    }
    const std::uint64_t place = get_word<__ATOMIC_ACQUIRE>(all->part[which]);
    const std::uint64_t size = bounded_size(header());
    return place % 8 == 0 && place >= far_slots_offset && place < size &&
                   4 * slab_directory::units_of(which) <= size - place
               ? reinterpret_cast<std::uint32_t*>(base() + place)
               : nullptr;
}

COHOLD_INLINE std::uint32_t* heap::map_at(std::uint64_t unit) noexcept {
    const unsigned which = slab_directory::part_of(unit);
    std::uint32_t* const part = map_part(which);
    return part == nullptr ? nullptr : part + (unit - slab_directory::begin_of(which));
}

COHOLD_INLINE std::uint64_t* heap::word_at(std::uint64_t place) noexcept {
    return place % 8 == 0 && place >= control_bytes && place <= bounded_size(header()) - 8
               ? reinterpret_cast<std::uint64_t*>(base() + place)
               : nullptr;
}

COHOLD_INLINE slab* heap::slab_at(std::uint64_t place) noexcept {
    const std::uint64_t size = bounded_size(header());
    if (place % 64 != 0 || place < far_slots_offset || size < slab::most_bytes ||
        place > size - slab::most_bytes) {
        return nullptr;
    }
    auto* const found = reinterpret_cast<slab*>(base() + place);
    const std::uint64_t begin = get_word(found->begin);
    const std::uint32_t* const entry = begin < size ? map_at(begin >> slab_unit_shift) : nullptr;
    return entry != nullptr && std::uint64_t{get_word<__ATOMIC_ACQUIRE>(*entry)} * 64 == place &&
                   found->is_sane(place, size)
               ? found
               : nullptr;
}

COHOLD_INLINE slab* heap::slab_around(std::uint64_t place) noexcept {
    if (place >= bounded_size(header())) {
        return nullptr;
    }
    const std::uint32_t* const entry = map_at(place >> slab_unit_shift);
    return entry == nullptr ? nullptr
                            : slab_at(std::uint64_t{get_word<__ATOMIC_ACQUIRE>(*entry)} * 64);
}

COHOLD_INLINE bool heap::has_orphans(std::uint32_t which) noexcept {
    slab_directory* const all = slabs();
    return all != nullptr && get_word(all->orphans[which]) != 0;
}

template <class Visitor>
void heap::each_slab(const Visitor& visit) noexcept {
    const std::uint64_t units = bounded_size(header()) >> slab_unit_shift;
    for (unsigned which = 0; which < slab_directory::parts; ++which) {
        const std::uint64_t begin = slab_directory::begin_of(which);
        std::uint32_t* const part = map_part(which);
        if (begin >= units) {
            return;
        }
        if (part == nullptr) {
            continue;
        }
        std::uint64_t end = begin + slab_directory::units_of(which);
        end = end < units ? end : units;
        for (std::uint64_t unit = begin; unit < end; ++unit) {
            const std::uint32_t entry = get_word<__ATOMIC_ACQUIRE>(part[unit - begin]);
            slab* const found = entry == 0 ? nullptr : slab_at(std::uint64_t{entry} * 64);
            if (found != nullptr && found->begin >> slab_unit_shift == unit) {
                visit(*found);
            }
        }
    }
}

COHOLD_INLINE std::uint64_t heap::used() noexcept {
    std::uint64_t sum = get_word(used_);
    each_slab([&sum](slab& each) noexcept {
        sum += each.count_used() * slab_table.size[each.which % slab_classes];
    });
    return sum;
}

COHOLD_INLINE void heap::sum_up(slab_sum (&by_class)[slab_classes]) noexcept {
    each_slab([&by_class](slab& each) noexcept {
        slab_sum& sum = by_class[each.which % slab_classes];
        ++sum.slabs;
        sum.orphans += get_word(each.owner) == nobody ? 1U : 0U;
        sum.blocks += each.count;
        sum.used += each.count_used();
    });
}

COHOLD_INLINE std::uint64_t heap::taken() noexcept {
    slab_directory* const all = slabs();
    return get_word(used_) + (all == nullptr ? 0 : get_word(all->bytes));
}

COHOLD_INLINE void* heap::allocate_own(std::uint64_t bytes, bool grow) noexcept {
    const report_keeper keeper;
    obstacle why;
    bytes = (bytes + 15) / 16 * 16;
    void* made = allocate_here(own_bounds(), bytes, 64, heap_block::own_bit, why);
    if (made == nullptr && !why.is_there() && grow) {
        std::error_code ec;
        grow_for(bytes + 64 + smallest, ec);
        commit(); // the log has no room for all of it
        made = ec ? nullptr : allocate_here(own_bounds(), bytes, 64, heap_block::own_bit, why);
    }
    return made;
}

COHOLD_INLINE bool heap::make_map(std::uint64_t last_unit, bool grow) noexcept {
    const auto publish = [this](std::uint64_t& word, const void* made) noexcept {
        set<__ATOMIC_RELEASE>(word, offset_of(made));
        commit(); // good for itself
    };
    if (slabs_ == 0) {
        void* const made = allocate_own(sizeof(slab_directory), grow);
        if (made == nullptr) {
            return false;
        }
        std::memset(made, 0, sizeof(slab_directory));
        publish(slabs_, made);
    }
    slab_directory* const all = slabs();
    if (all == nullptr) {
        return false;
    }
    for (unsigned i = 1; i <= slab_directory::part_of(last_unit); ++i) {
        if (all->part[i] == 0) {
            const std::uint64_t bytes = 4 * slab_directory::units_of(i);
            void* const made = allocate_own(bytes, grow);
            if (made == nullptr) {
                return false;
            }
            std::memset(made, 0, static_cast<std::size_t>(bytes));
            publish(all->part[i], made);
        }
    }
    return map_at(last_unit) != nullptr;
}

COHOLD_INLINE void heap::write_map(std::uint64_t unit, std::uint32_t count,
                                   std::uint32_t value) noexcept {
    for (std::uint64_t i = unit; i < unit + count;) {
        std::uint32_t* const first = map_at(i / 2 * 2); // two entries are one word
        if (first == nullptr) {
            return;
        }
        auto& word = *reinterpret_cast<std::uint64_t*>(first);
        std::uint64_t whole = word;
        std::uint32_t entries[2];
        std::memcpy(entries, &whole, sizeof whole);
        do {
            entries[i % 2] = value;
            ++i;
        } while (i % 2 != 0 && i < unit + count);
        std::memcpy(&whole, entries, sizeof whole);
        set<__ATOMIC_RELEASE>(word, whole);
    }
}

COHOLD_INLINE void heap::link_slab(slab& added, std::uint64_t& list) noexcept {
    slab* const next = slab_at(list);
    set(added.list, offset_of(&list));
    set(added.next, next == nullptr ? 0 : list);
    set(added.previous, 0);
    if (next != nullptr) {
        set(next->previous, offset_of(&added));
    }
    set(list, offset_of(&added));
}

COHOLD_INLINE void heap::unlink_slab(slab& removed) noexcept {
    slab* const next = slab_at(removed.next);
    slab* const previous = slab_at(removed.previous);
    if (next != nullptr) {
        set(next->previous, removed.previous);
    }
    if (previous != nullptr) {
        set(previous->next, removed.next);
    } else if (std::uint64_t* const list = word_at(removed.list); list != nullptr) {
        set(*list, removed.next);
    }
}

COHOLD_INLINE slab* heap::make_slab(std::uint32_t which, std::uint32_t units, owner_word owner,
                                    std::uint64_t& list, bool grow) noexcept {
    const std::uint64_t bytes = units * slab_unit - overhead;
    const std::uint64_t size = slab_table.size[which];
    const std::uint64_t most = std::uint64_t{most_slab_words} * 64;
    const std::uint64_t count = bytes / size < most ? bytes / size : most;
    const auto words = static_cast<std::uint32_t>((count + 63) / 64);
    const report_keeper keeper;
    // All growth comes first, as the log has no room for all of it at once.
    if (grow && find_aligned(own_bounds(), bytes, slab_unit) == 0) {
        std::error_code ec;
        grow_for(bytes + slab_unit + smallest, ec);
        commit();
    }
    if (!make_map(bounded_size(header()) >> slab_unit_shift, grow)) {
        return nullptr;
    }
    obstacle why;
    void* const blocks = allocate_here(own_bounds(), bytes, slab_unit, heap_block::slab_bit, why);
    void* const memory = blocks == nullptr ? nullptr : allocate_own(slab::bytes_of(words), false);
    slab_directory* const all = slabs();
    const std::uint64_t place = memory == nullptr ? 0 : offset_of(memory);
    if (memory == nullptr || place > slab_directory::largest_offset ||
        place > bounded_size(header()) - slab::most_bytes) {
        roll_back();
        return nullptr;
    }
    const std::uint64_t begin = offset_of(blocks);
    set(all->last_id, all->last_id + 1);
    set(all->bytes, all->bytes + bytes);
    auto* const made = static_cast<slab*>(memory);
    made->owner = owner;
    // Not a number that a program would store by chance. Active, or somebody else could take the
    // slab back before its owner knows it.
    made->state = slab_word(all->last_id * 0x9e3779b97f4a7c15u >> 2, slab_state::active);
    made->begin = begin;
    made->reciprocal = slab_table.reciprocal[which];
    made->count = static_cast<std::uint16_t>(count);
    made->home = static_cast<std::uint16_t>(which * 64);
    made->which = static_cast<std::uint8_t>(which);
    made->units = static_cast<std::uint8_t>(units);
    made->words = static_cast<std::uint8_t>(words);
    made->stride = static_cast<std::uint8_t>(slab::stride_of(words));
    made->place = 0;
    std::memset(made->bits, 0, 24 * std::size_t{made->stride});
    for (std::uint32_t i = 0; i < words; ++i) {
        made->bits[i] = ~std::uint64_t{0};
    }
    write_map(begin >> slab_unit_shift, units, static_cast<std::uint32_t>(place / 64));
    link_slab(*made, list);
    commit();
    return made;
}

COHOLD_INLINE slab* heap::adopt_slab(std::uint32_t which, owner_word owner,
                                     std::uint64_t& list) noexcept {
    slab_directory* const all = slabs();
    if (all == nullptr || all->orphans[which] == 0) {
        return nullptr;
    }
    slab* const found = slab_at(all->orphans[which]);
    if (found == nullptr || found->which != which || found->owner != nobody) {
        set(all->orphans[which], 0); // damaged
        commit();
        return nullptr;
    }
    unlink_slab(*found);
    set(found->owner, owner);
    set(found->state, slab_word(found->state >> 2, slab_state::active)); // as a new one
    link_slab(*found, list);
    commit();
    return found;
}

COHOLD_INLINE void heap::destroy_slab(slab& destroyed) noexcept {
    unlink_slab(destroyed);
    const std::uint64_t begin = destroyed.begin;
    const std::uint32_t units = destroyed.units;
    write_map(begin >> slab_unit_shift, units, 0);
    if (slab_directory* const all = slabs(); all != nullptr) {
        set(all->bytes, all->bytes - (units * slab_unit - overhead));
    }
    deallocate(base() + begin, heap_block::slab_bit);
    deallocate(&destroyed, heap_block::own_bit);
}

COHOLD_INLINE bool heap::take_back(slab& returned, std::uint64_t id) noexcept {
    // If this process is killed, the next holder of the lock undoes the claim.
    log_[0] = {offset_of(&returned.state) + claim_bit, slab_word(id, slab_state::parked)};
    put_word(log_size_, 1);
    bool done = false;
    if (returned.change_state(id, slab_state::parked, slab_state::claimed)) {
        done = returned.is_free();
        if (done) {
            destroy_slab(returned);
        } else {
            static_cast<void>(returned.change_state(id, slab_state::claimed, slab_state::parked));
        }
    }
    commit();
    return done;
}

[[gnu::noinline]] COHOLD_INLINE std::uint64_t heap::take_back_all() noexcept {
    std::uint64_t count = 0;
    if (slabs_ != 0) {
        each_slab([this, &count](slab& each) noexcept {
            const std::uint64_t state = get_word(each.state);
            if ((state & 3) == static_cast<std::uint64_t>(slab_state::parked) && each.is_free() &&
                take_back(each, state >> 2)) {
                ++count;
            }
        });
    }
    return count;
}

COHOLD_INLINE void heap::change::deallocate(void* pointer) noexcept {
    if (pointer == nullptr) {
        return;
    }
    const std::uint64_t where = heap_.offset_of(pointer);
    slab* const around = heap_.slab_around(where);
    if (around == nullptr) {
        heap_.deallocate(pointer, 0);
    } else if (around->has_used(where)) {
        std::uint64_t& word = around->promised(around->word_of(where));
        heap_.set(word, word | around->bit_of(where));
    } else if (config::heap_checks) {
        refuse(pointer, where);
    }
}

COHOLD_INLINE void heap::change::abandon_slabs(std::uint64_t& list) noexcept {
    slab_directory* const all = heap_.slabs();
    std::uint64_t most = bounded_size(heap_.header()) >> slab_unit_shift;
    while (list != 0) {
        slab* const each = heap_.slab_at(list);
        if (each == nullptr || all == nullptr || most-- == 0) {
            heap_.set(list, 0); // damaged
        } else if (each->is_free()) {
            heap_.destroy_slab(*each);
        } else {
            heap_.unlink_slab(*each);
            heap_.set<__ATOMIC_RELEASE>(each->owner, nobody);
            heap_.set(each->state, slab_word(each->state >> 2, slab_state::parked));
            heap_.link_slab(*each, all->orphans[each->which % slab_classes]);
        }
        heap_.commit();
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
