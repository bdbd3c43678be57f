// Definitions for heap_map.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_HEAP_MAP_IPP
#define COHOLD_INSPECT_HEAP_MAP_IPP

#include <cohold/inspect/heap_map.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void flaw_list::add(segment_part part, std::string_view what, std::uint64_t offset,
                                  std::uint64_t found, bool mends) {
    ++count_;
    if (flaws_.size() < kept) {
        flaws_.push_back({part, what, offset, found, mends});
    }
}

COHOLD_INLINE bool segment_reader::read(void* to, std::size_t bytes, std::uint64_t from) noexcept {
    char* out = static_cast<char*>(to);
    if (!has(from, bytes)) {
        std::memset(out, 0, bytes);
        return false;
    }
    while (bytes != 0) {
        const std::size_t begin = from % page_bytes;
        const std::size_t some = bytes < page_bytes - begin ? bytes : page_bytes - begin;
        std::memcpy(out, fetch(from / page_bytes) + begin, some);
        out += some;
        from += some;
        bytes -= some;
    }
    return true;
}

COHOLD_INLINE void segment_reader::replace(std::uint64_t where, std::uint64_t value) {
    for (replaced& each : replaced_) {
        if (each.where == where) {
            each.value = value;
            return;
        }
    }
    replaced_.push_back({where, value});
    pages_[where / page_bytes % page_count].index = none;
}

COHOLD_INLINE const char* segment_reader::fetch(std::uint64_t index) noexcept {
    page& out = pages_[index % page_count];
    if (out.index == index) {
        return out.bytes;
    }
    const std::uint64_t begin = index * page_bytes;
    const std::uint64_t left = size_ - begin;
    const std::size_t wanted = left < page_bytes ? static_cast<std::size_t>(left) : page_bytes;
    std::size_t got = source_.read(out.bytes, wanted, begin);
    if (got > wanted) { // refused
        got = 0;
        lost_ = true;
    }
    if (got < wanted) {
        std::memset(out.bytes + got, 0, wanted - got);
        lost_ = lost_ || source_.size() < begin + wanted;
    }
    for (const replaced& each : replaced_) {
        if (each.where / page_bytes == index && each.where - begin + 8 <= wanted) {
            std::memcpy(out.bytes + (each.where - begin), &each.value, 8);
        }
    }
    out.index = index;
    return out.bytes;
}

COHOLD_INLINE void check_lock(segment_reader& segment, const segment_places& places,
                              std::uint64_t at, segment_part part, flaw_list& flaws) {
    const owner_word holder = segment.word(at);
    if (holder == nobody) {
        return;
    }
    const std::uint64_t slot = slot_of(holder);
    if (slot >= places.slots || generation_of(holder) == 0 || thread_of(holder) != 0) {
        flaws.add(part, "a lock's holder cannot exist", at, holder);
        return;
    }
    const std::uint64_t state = segment.word(participant_table::offset_of(slot));
    const auto newer =
        static_cast<std::int32_t>(generation_of(holder) - static_cast<std::uint32_t>(state >> 32));
    if (newer > 0) {
        flaws.add(part, "a lock's holder has not attached yet", at, holder);
    }
}

COHOLD_INLINE bool heap_reader::undo() {
    const std::uint64_t size = field(at::log_size);
    if (size > at::log_capacity) {
        wrong("its log is too long", places_.heap + at::log_size, size);
    }
    for (std::uint64_t i = std::min(size, at::log_capacity); i > 0; --i) {
        const std::uint64_t record = places_.heap + at::log + (i - 1) * 16;
        const std::uint64_t where = segment_.word(record);
        if (where % 8 != 0 || where < control_bytes || !segment_.has(where, 8)) {
            wrong("its log refers to something that is not a word of the segment", record, where);
        } else {
            segment_.replace(where, segment_.word(record + 8));
        }
    }
    return size != 0;
}

COHOLD_INLINE void heap_reader::read_counts() {
    out_.begin = field(at::first);
    out_.end = field(at::end);
    out_.used = field(at::used);
}

COHOLD_INLINE void heap_reader::walk() {
    read_counts();
    const std::uint64_t size = segment_.size();
    if (out_.begin != places_.first_block) {
        wrong("its beginning is wrong", places_.heap + at::first, out_.begin);
        return;
    }
    if (out_.end % 16 != 0 || out_.end <= out_.begin || out_.end > size - at::overhead) {
        wrong("its end is wrong", places_.heap + at::end, out_.end);
        return;
    }
    out_.complete = walk_blocks();
    taken_.assign(out_.blocks.size(), false);
}

COHOLD_INLINE void heap_reader::check_lists() {
    const std::uint64_t rows = field(at::row_map);
    for (unsigned row = 0; row < at::rows; ++row) {
        const std::uint64_t columns = field(at::column_maps + row * 8);
        if ((rows >> row & 1) != (columns != 0 ? 1u : 0u)) {
            wrong("the row map is wrong", places_.heap + at::row_map, rows);
        }
        if (columns >> at::columns != 0) {
            wrong("a column map is wrong", places_.heap + at::column_maps + row * 8, columns);
        }
        for (unsigned column = 0; column < at::columns; ++column) {
            const std::uint64_t head = places_.heap + at::heads + (row * at::columns + column) * 8;
            if ((columns >> column & 1) != (segment_.word(head) != 0 ? 1u : 0u)) {
                wrong("a column map contradicts its list", head, segment_.word(head));
            }
            check_list(head, row * at::columns + column);
        }
    }
    if (rows >> at::rows != 0) {
        wrong("the row map is wrong", places_.heap + at::row_map, rows);
    }
    for (std::size_t i = 0; i < out_.blocks.size(); ++i) {
        if (out_.blocks[i].is_free && !taken_[i]) {
            wrong("a free block is in no list", out_.blocks[i].offset - at::overhead,
                  out_.blocks[i].bytes);
        }
    }
}

COHOLD_INLINE bool heap_reader::take(std::uint64_t offset, std::uint64_t bytes, segment_part part,
                                     std::string_view what, std::uint64_t from) {
    const heap_extent* const block = find(offset);
    if (block == nullptr && !out_.complete) {
        return segment_.has(offset, bytes);
    }
    if (block == nullptr || block->is_free || block->bytes < bytes) {
        flaws_.add(part, what, from, offset);
        return false;
    }
    const auto index = static_cast<std::size_t>(block - out_.blocks.data());
    if (taken_[index]) {
        flaws_.add(part, "a block has two owners", from, offset);
        return false;
    }
    taken_[index] = true;
    return true;
}

COHOLD_INLINE const heap_extent* heap_reader::find(std::uint64_t offset) const noexcept {
    const auto found =
        std::lower_bound(out_.blocks.begin(), out_.blocks.end(), offset,
                         [](const heap_extent& block, std::uint64_t wanted) noexcept {
                             return block.offset < wanted;
                         });
    return found == out_.blocks.end() || found->offset != offset ? nullptr : &*found;
}

COHOLD_INLINE void heap_reader::check_used(std::uint64_t journals) {
    if (out_.complete && out_.bytes_in_use - journals != out_.used) {
        wrong("the bytes in use are counted wrongly", places_.heap + at::used, out_.used);
    }
}

COHOLD_INLINE void heap_reader::wrong(std::string_view what, std::uint64_t offset,
                                      std::uint64_t found) {
    flaws_.add(segment_part::heap, what, offset, found);
}

COHOLD_INLINE unsigned heap_reader::class_of(std::uint64_t size) noexcept {
    if (size < 256) {
        return static_cast<unsigned>(size / 16);
    }
    const unsigned log = static_cast<unsigned>(std::bit_width(size)) - 1;
    return (log - 7) * at::columns + (static_cast<unsigned>(size >> (log - 4)) & (at::columns - 1));
}

COHOLD_INLINE bool heap_reader::walk_blocks() {
    std::uint64_t previous = 0;
    bool free_before = false;
    std::uint64_t place = out_.begin;
    while (place < out_.end) {
        const std::uint64_t word = segment_.word(place);
        const std::uint64_t bytes = word & 0x0000fffffffffff0u;
        const bool is_free = (word & 1) != 0;
        if (bytes < 16 || bytes > out_.end - place - at::overhead) {
            wrong("a block has an impossible size", place, word);
            return false;
        }
        if ((word & 0xffff00000000000fu) != (is_free ? 1u : mark_of(place))) {
            wrong("a block is neither free nor in use", place, word);
            return false;
        }
        if (segment_.word(place + 8) != previous) {
            wrong("a block does not record the one before it", place, segment_.word(place + 8));
        }
        if (is_free && free_before) {
            wrong("two free blocks are neighbours", place, word);
        }
        heap_extent block;
        block.offset = place + at::overhead;
        block.bytes = bytes & 0x0000fffffffffff0u;
        block.is_free = is_free ? 1 : 0;
        out_.blocks.push_back(block);
        ++(is_free ? out_.count_free : out_.count_in_use);
        (is_free ? out_.bytes_free : out_.bytes_in_use) += bytes;
        out_.largest_free = is_free ? std::max(out_.largest_free, bytes) : out_.largest_free;
        free_before = is_free;
        previous = place;
        place += at::overhead + bytes;
    }
    if (segment_.word(place) != 0 || segment_.word(place + 8) != previous) {
        wrong("the last block is wrong", place, segment_.word(place));
        return false;
    }
    return true;
}

COHOLD_INLINE void heap_reader::check_list(std::uint64_t head, unsigned which) {
    std::uint64_t before = 0;
    std::uint64_t from = head;
    for (std::uint64_t place = segment_.word(head); place != 0;) {
        const heap_extent* const block = find(place + at::overhead);
        if (block == nullptr || !block->is_free) {
            if (out_.complete || block != nullptr) {
                wrong("a free list contains something that is not a free block", from, place);
            }
            return;
        }
        const auto index = static_cast<std::size_t>(block - out_.blocks.data());
        if (taken_[index]) {
            wrong("a block is in a free list twice", from, place);
            return;
        }
        taken_[index] = true;
        if (class_of(block->bytes) != which) {
            wrong("a block is in the list of another size", from, place);
        }
        if (segment_.word(place + 24) != before) {
            wrong("a free list is linked wrongly", place, segment_.word(place + 24));
        }
        before = place;
        from = place + 16;
        place = segment_.word(from);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
