// Definitions for heap_map.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_HEAP_MAP_IPP
#define COHOLD_INSPECT_HEAP_MAP_IPP

#include <bitset>

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
    pages_[where / page_bytes % page_count].index = none;
    for (replaced& each : replaced_) {
        if (each.where == where) {
            each.value = value;
            return;
        }
    }
    replaced_.push_back({where, value});
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
        if (where % 8 == 1 && where >= control_bytes && segment_.has(where, 8)) {
            // The state of a slab that is being taken back.
            const std::uint64_t parked = segment_.word(record + 8);
            if (segment_.word(where - 1) == slab_word(parked >> 2, slab_state::claimed)) {
                segment_.replace(where - 1, parked);
            }
        } else if (where % 8 != 0 || where < control_bytes || !segment_.has(where, 8)) {
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
    const std::uint64_t units = segment_.size() >> slab_unit_shift;
    for (std::uint64_t unit = 0; field(at::slabs) != 0 && unit < units; ++unit) {
        slab found{};
        const std::uint64_t place = map_entry(unit) * 64;
        if (place != 0 && segment_.read(&found, 64, place) &&
            found.begin >> slab_unit_shift == unit && found.is_sane(place, segment_.size())) {
            out_.used += read_bits(place, found, false) * slab_table.size[found.which];
            unit += found.units - 1u;
        }
    }
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
    if (!out_.complete) {
        return;
    }
    const std::uint64_t all = field(at::slabs);
    std::sort(descriptors_.begin(), descriptors_.end());
    listed_.assign(descriptors_.size(), false);
    std::vector<std::uint64_t> expected = descriptors_;
    if (all != 0) {
        expected.push_back(all);
        for (unsigned i = 1; i < slab_directory::parts; ++i) {
            if (const std::uint64_t part = segment_.word(all + at::parts + i * 8); part != 0) {
                expected.push_back(part);
            }
        }
    }
    std::sort(expected.begin(), expected.end());
    if (expected != own_blocks_) { // both in order
        wrong("a block of the heap's own belongs to nothing, or is missing",
              places_.heap + at::slabs, all);
    }
}

COHOLD_INLINE void heap_reader::check_lists() {
    std::bitset<at::rows * at::columns> whole;
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
            whole[row * at::columns + column] = check_list(head, row * at::columns + column);
        }
    }
    if (rows >> at::rows != 0) {
        wrong("the row map is wrong", places_.heap + at::row_map, rows);
    }
    // Blocks behind a wrong link are not flaws of their own. A list that changes while it is read
    // is wrong at another place each time, and the blocks behind that place are the same each time.
    for (std::size_t i = 0; i < out_.blocks.size(); ++i) {
        const heap_extent& block = out_.blocks[i];
        if (block.is_free && !taken_[i] && !in_slab_[i] && whole[class_of(block.bytes)]) {
            wrong("a free block is in no list", block.offset - at::overhead, block.bytes);
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
        const std::uint64_t kind = word & (heap_block::slab_bit | heap_block::own_bit);
        const std::uint64_t holes = is_free ? word & heap_block::holes_bit : 0;
        if ((word & 0xffff00000000000fu) != (is_free ? 1u | holes : mark_of(place) | kind) ||
            kind == (heap_block::slab_bit | heap_block::own_bit)) {
            wrong("a block is neither free nor in use", place, word);
            return false;
        }
        if (segment_.word(place + 8) != previous) {
            wrong("a block does not record the one before it", place, segment_.word(place + 8));
        }
        if (is_free && free_before) {
            wrong("two free blocks are neighbours", place, word);
        }
        if (kind == heap_block::slab_bit) {
            add_slab(place + at::overhead, bytes);
        } else if (kind == heap_block::own_bit) {
            own_blocks_.push_back(place + at::overhead);
            out_.bytes_own += bytes + at::overhead;
        } else {
            add_block(place + at::overhead, bytes, is_free, false);
        }
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

COHOLD_INLINE bool heap_reader::check_list(std::uint64_t head, unsigned which) {
    std::uint64_t before = 0;
    std::uint64_t from = head;
    bool whole = true;
    for (std::uint64_t place = segment_.word(head); place != 0;) {
        const heap_extent* const block = find(place + at::overhead);
        if (block == nullptr || !block->is_free ||
            in_slab_[static_cast<std::size_t>(block - out_.blocks.data())]) {
            if (out_.complete || block != nullptr) {
                wrong("a free list contains something that is not a free block", from, place);
            }
            return false;
        }
        const auto index = static_cast<std::size_t>(block - out_.blocks.data());
        if (taken_[index]) {
            wrong("a block is in a free list twice", from, place);
            return false;
        }
        taken_[index] = true;
        if (class_of(block->bytes) != which) {
            wrong("a block is in the list of another size", from, place);
            whole = false;
        }
        if (segment_.word(place + 24) != before) {
            wrong("a free list is linked wrongly", place, segment_.word(place + 24));
            whole = false;
        }
        before = place;
        from = place + 16;
        place = segment_.word(from);
    }
    return whole;
}

// ---- slabs

COHOLD_INLINE void heap_reader::add_block(std::uint64_t offset, std::uint64_t bytes, bool is_free,
                                          bool in_slab) {
    heap_extent block;
    block.offset = offset;
    block.bytes = bytes & 0x0000fffffffffff0u;
    block.is_free = is_free ? 1 : 0;
    out_.blocks.push_back(block);
    in_slab_.push_back(in_slab);
    ++(is_free ? out_.count_free : out_.count_in_use);
    (is_free ? out_.bytes_free : out_.bytes_in_use) += bytes;
    out_.largest_free = is_free ? std::max(out_.largest_free, bytes) : out_.largest_free;
}

COHOLD_INLINE std::uint64_t heap_reader::map_entry(std::uint64_t unit) {
    const std::uint64_t all = field(at::slabs);
    const unsigned which = slab_directory::part_of(unit);
    if (all == 0 || which >= slab_directory::parts) {
        return 0;
    }
    const std::uint64_t part =
        which == 0 ? all + at::first_part : segment_.word(all + at::parts + which * 8);
    std::uint32_t entry = 0;
    if (part != 0) {
        segment_.read(&entry, sizeof entry, part + (unit - slab_directory::begin_of(which)) * 4);
    }
    return entry;
}

COHOLD_INLINE std::uint64_t heap_reader::read_bits(std::uint64_t place, const slab& from,
                                                   bool add) {
    std::uint64_t used = 0;
    for (std::uint32_t word = 0; word < from.words; ++word) {
        std::uint64_t free = 0;
        for (std::uint64_t each = 0; each < 3; ++each) {
            free |= segment_.word(place + 64 + (each * from.stride + word) * 8);
        }
        const std::uint64_t mask = slab::mask_of(from.count, word);
        used += static_cast<std::uint64_t>(std::popcount(mask & ~free));
        for (std::uint32_t bit = 0; add && bit < 64 && (mask >> bit & 1) != 0; ++bit) {
            const std::uint64_t bytes = slab_table.size[from.which];
            add_block(from.begin + (word * 64 + bit) * bytes, bytes, (free >> bit & 1) != 0, true);
        }
    }
    return used;
}

COHOLD_INLINE void heap_reader::add_slab(std::uint64_t begin, std::uint64_t bytes) {
    const std::uint64_t place = map_entry(begin >> slab_unit_shift) * 64;
    slab found{};
    if (place == 0 || !segment_.read(&found, 64, place) || found.begin != begin ||
        !found.is_sane(place, segment_.size()) ||
        (bytes + at::overhead) / slab_unit != found.units) {
        wrong("a slab's descriptor is damaged", begin, place);
        return;
    }
    for (std::uint64_t unit = 1; unit < found.units; ++unit) {
        if (map_entry((begin >> slab_unit_shift) + unit) * 64 != place) {
            wrong("the map of slabs is wrong", begin + unit * slab_unit, place);
        }
    }
    const std::uint64_t state = found.state & 3;
    if (state != static_cast<std::uint64_t>(slab_state::parked) &&
        (state != static_cast<std::uint64_t>(slab_state::active) || found.owner == nobody)) {
        wrong("a slab is in an impossible state", place + offsetof(slab, state), found.state);
    }
    if (found.owner != nobody && (slot_of(found.owner) >= places_.slots ||
                                  thread_of(found.owner) == 0 || generation_of(found.owner) == 0)) {
        wrong("a slab's owner cannot exist", place, found.owner);
    }
    const std::uint64_t used = read_bits(place, found, true);
    const std::uint64_t size = slab_table.size[found.which];
    out_.bytes_own += at::overhead + bytes - found.count * size;
    descriptors_.push_back(place);
    out_.slabs.push_back({begin, bytes, place, static_cast<std::uint32_t>(size), found.count,
                          found.count - static_cast<std::uint32_t>(used), slot_of(found.owner),
                          thread_of(found.owner)});
}

COHOLD_INLINE void heap_reader::check_slabs(std::uint64_t from, bool owned, std::uint64_t slot) {
    std::uint64_t before = 0;
    for (std::uint64_t place = segment_.word(from); place != 0 && out_.complete;) {
        const auto found = std::lower_bound(descriptors_.begin(), descriptors_.end(), place);
        const auto index = static_cast<std::size_t>(found - descriptors_.begin());
        if (found == descriptors_.end() || *found != place || listed_[index]) {
            wrong("a list of slabs contains something else", from, place);
            all_listed_ = false;
            return;
        }
        listed_[index] = true;
        const owner_word owner = segment_.word(place);
        if (segment_.word(place + offsetof(slab, previous)) != before ||
            (owner != nobody) != owned || (owned && slot_of(owner) != slot)) {
            wrong("a slab is in a wrong list", place, segment_.word(place));
            all_listed_ = false;
        }
        before = place;
        from = place + offsetof(slab, next);
        place = segment_.word(from);
    }
}

COHOLD_INLINE void heap_reader::check_orphans() {
    const std::uint64_t all = field(at::slabs);
    for (std::uint64_t i = 0; i < slab_classes && all != 0; ++i) {
        check_slabs(all + at::orphans + i * 8, false, 0);
    }
    for (std::size_t i = 0; i < listed_.size() && all_listed_; ++i) {
        if (!listed_[i]) {
            wrong("a slab is in no list", descriptors_[i], 0);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
