// Definitions for stored_objects.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STORED_OBJECTS_IPP
#define COHOLD_INSPECT_STORED_OBJECTS_IPP

#include <cohold/inspect/stored_objects.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::vector<stored_object> directory_reader::read() {
    const std::uint64_t field = places_.directory + 16;
    const std::uint64_t table = segment_.word(field);
    if (table == 0) {
        return {};
    }
    const std::uint64_t slots = segment_.word(table);
    if (table % 8 != 0 || !segment_.has(table, sizeof(directory_table)) ||
        slots > segment_.size() / 8 || !segment_.has(table + 16, slots * 8)) {
        wrong("the table is not in the segment", field, table);
        return {};
    }
    if (slots == 0 || (slots & (slots - 1)) != 0) {
        wrong("the table has an impossible length", table, slots);
        return {};
    }
    heap_.take(table, 16 + slots * 8, segment_part::directory, "the table has no block of its own",
               field);
    read_slots(table, slots);
    return std::move(out_);
}

COHOLD_INLINE void directory_reader::wrong(std::string_view what, std::uint64_t offset,
                                           std::uint64_t found) {
    flaws_.add(segment_part::directory, what, offset, found);
}

COHOLD_INLINE void directory_reader::read_slots(std::uint64_t table, std::uint64_t slots) {
    const auto slot_at = [&](std::uint64_t index) noexcept {
        return table + 16 + (index & (slots - 1)) * 8;
    };
    // A search goes from the name's home slot to the first slot that was never used.
    std::uint64_t begin = 0;
    while (begin < slots && segment_.word(slot_at(begin)) != 0) {
        ++begin;
    }
    const bool full = begin == slots;
    if (full) {
        wrong("the table is full", table, slots);
        begin = 0;
    }
    std::uint64_t not_empty = 0;
    std::uint64_t run = 0; // slots since the last one that was never used
    std::vector<std::uint64_t> hashes;
    for (std::uint64_t i = begin; i < begin + slots; ++i) {
        const std::uint64_t slot = segment_.word(slot_at(i));
        if (slot == 0) {
            run = 0;
            continue;
        }
        ++not_empty;
        std::uint64_t hash = 0;
        if (slot != 1 && read_entry(slot, slot_at(i), hash)) {
            if (!full && ((i - hash) & (slots - 1)) > run) {
                wrong("a name is where no search finds it", slot_at(i), slot);
            }
            hashes.push_back(hash);
        }
        ++run;
    }
    const std::uint64_t used = segment_.word(table + 8);
    if (used < not_empty || used > slots) {
        wrong("the slots in use are counted wrongly", table + 8, used);
    }
    std::sort(hashes.begin(), hashes.end());
    if (std::adjacent_find(hashes.begin(), hashes.end()) != hashes.end()) {
        wrong("a name occurs twice", table, 0);
    }
}

COHOLD_INLINE bool directory_reader::read_entry(std::uint64_t slot, std::uint64_t from,
                                                std::uint64_t& hash) {
    const std::uint64_t place = slot & 0x0000ffffffffffffu;
    directory_entry entry;
    if (place % 8 != 0 || place < control_bytes || !segment_.read(&entry, sizeof entry, place)) {
        wrong("an entry is not in the segment", from, slot);
        return false;
    }
    const std::uint64_t text = entry.text_length();
    if (entry.name_length > directory::max_name ||
        entry.type_name_length > directory::max_description ||
        entry.description_length > directory::max_description ||
        !segment_.has(place + sizeof entry, text)) {
        wrong("an entry has impossible lengths", place, entry.name_length);
        return false;
    }
    // However many slots refer to the same bytes, all texts together are not longer than the
    // segment.
    if (text > text_left_) {
        wrong("the entries are longer than the segment", from, slot);
        return false;
    }
    text_left_ -= text;
    if (!heap_.take(place, sizeof entry + text, segment_part::directory,
                    "an entry has no block of its own", from)) {
        return false;
    }
    stored_object found;
    std::uint64_t at = place + sizeof entry;
    const auto take_text = [&](std::string& to, std::uint32_t bytes) {
        to.resize(bytes);
        segment_.read(to.data(), bytes, at);
        at += bytes;
    };
    take_text(found.name, entry.name_length);
    take_text(found.type, entry.type_name_length);
    take_text(found.description, entry.description_length);
    found.offset = entry.object;
    found.bytes = entry.bytes;
    hash = entry.name_hash;
    if (hash64(found.name) != hash || ((slot ^ hash) & 0xffff000000000000u) != 0) {
        wrong("a name does not match its hash", place, hash);
    }
    if (entry.description_length < directory::max_description &&
        hash64(found.description) != entry.type_hash) {
        wrong("a type's description does not match its hash", place + 24, entry.type_hash);
    }
    heap_.take(found.offset, found.bytes, segment_part::directory,
               "an object has no block of its own", place + 8);
    out_.push_back(std::move(found));
    return true;
}

COHOLD_INLINE std::vector<stored_journal> journals_reader::read() {
    for (std::uint64_t index = 0; index < places_.slots; ++index) {
        read_slot(index);
    }
    if (kept_left_ != 0) {
        wrong("a journal beside the heap is in use without an owner", places_.reserve_journals,
              kept_left_);
    }
    return std::move(out_);
}

COHOLD_INLINE void journals_reader::wrong(std::string_view what, std::uint64_t offset,
                                          std::uint64_t found) {
    flaws_.add(segment_part::journals, what, offset, found);
}

COHOLD_INLINE void journals_reader::read_slot(std::uint64_t index) {
    const std::uint64_t slot = participant_table::offset_of(index);
    const std::uint64_t state = segment_.word(slot);
    std::uint64_t from = slot + 48;
    std::uint64_t next = segment_.word(from);
    if ((state & attached_bit) == 0 && (state & 0xffffffffu) != 0) {
        flaws_.add(segment_part::participants, "a slot is in an impossible state", slot, state);
    }
    check_lock(segment_, places_, slot + 40, segment_part::participants, flaws_);
    if ((state & attached_bit) == 0 && next != 0) {
        wrong("a free slot has journals", from, next);
        return;
    }
    for (; next != 0; next = segment_.word(from)) {
        if (journals_left_ == 0) {
            wrong("there are more journals than are possible", from, next);
            return;
        }
        --journals_left_;
        if (next % 8 != 0 || next < control_bytes || !segment_.has(next, journal::size)) {
            wrong("a journal is not in the segment", from, next);
            return;
        }
        if (next >= places_.reserve_journals + kept_at && next < places_.first_block) {
            if (!take_kept(next, from)) {
                return;
            }
        } else if (!take(next, journal::size, "a journal has no block of its own", from)) {
            return;
        }
        read_journal(static_cast<std::uint32_t>(index), next);
        from = next;
    }
}

COHOLD_INLINE bool journals_reader::take_kept(std::uint64_t offset, std::uint64_t from) {
    const std::uint64_t distance = offset - places_.reserve_journals - kept_at;
    const std::uint64_t bit = std::uint64_t{1} << distance / journal::size;
    if (distance % journal::size != 0 || (kept_left_ & bit) == 0) {
        wrong("a journal beside the heap is not in use", from, offset);
        return false;
    }
    kept_left_ &= ~bit;
    return true;
}

COHOLD_INLINE bool journals_reader::take(std::uint64_t offset, std::uint64_t bytes,
                                         std::string_view what, std::uint64_t from) {
    if (!heap_.take(offset, bytes, segment_part::journals, what, from)) {
        return false;
    }
    const heap_extent* const block = heap_.find(offset);
    block_bytes_ += block != nullptr ? block->bytes : 0;
    return true;
}

COHOLD_INLINE void journals_reader::read_journal(std::uint32_t slot, std::uint64_t place) {
    stored_journal found;
    found.participant = slot;
    found.offset = place;
    const owner_word thread = segment_.word(place + offsetof(journal, thread));
    found.thread = thread_of(thread);
    found.finishing = segment_.word(place + offsetof(journal, floor)) != 0;
    if (thread != nobody && (slot_of(thread) != slot || found.thread == 0)) {
        wrong("a journal belongs to a thread that cannot exist", place + offsetof(journal, thread),
              thread);
    }
    const std::uint64_t chunk = segment_.word(place + offsetof(journal, chunk));
    if (chunk != 0) {
        take(chunk, journal::chunk_size, "a journal's second block is not a block",
             place + offsetof(journal, chunk));
    }
    heap_.check_slabs(place + offsetof(journal, slabs), true, slot);
    const std::uint64_t begin = place + records_at;
    std::uint64_t top = segment_.word(place + offsetof(journal, top));
    while (top != begin) {
        if (!read_record(top, found)) {
            wrong("a record is invalid", place + offsetof(journal, top), top);
            break;
        }
    }
    out_.push_back(found);
}

COHOLD_INLINE bool journals_reader::read_record(std::uint64_t& top, stored_journal& found) {
    journal_record record;
    if (records_left_ == 0 || top % 8 != 0 || top < control_bytes + sizeof record ||
        !segment_.read(&record, sizeof record, top - sizeof record) ||
        record.kind() > journal_kind::ended ||
        record.room() > top - control_bytes - sizeof record) {
        return false;
    }
    --records_left_;
    ++found.records;
    if (record.kind() == journal_kind::bytes || record.kind() == journal_kind::snapshot) {
        found.bytes += record.bytes();
    } else if (record.kind() == journal_kind::shift) {
        found.bytes += segment_.word(top - sizeof record - sizeof(shift_words));
    }
    top = record.kind() == journal_kind::jump ? record.where : top - sizeof record - record.room();
    return true;
}

} // namespace detail

COHOLD_INLINE bool segment_contents::is_mendable() const noexcept {
    bool mends = readable && !lost && flaw_count == flaws.size();
    for (const segment_flaw& each : flaws) {
        mends = mends && each.mends;
    }
    return mends;
}

namespace detail {

COHOLD_INLINE segment_contents examine_contents(const segment_source& source,
                                                contents_extent extent) {
    segment_contents out;
    flaw_list flaws;
    segment_header header{};
    out.state = examine(source);
    std::error_code problem;
    const report_keeper keeper;
    if (source.read(&header, sizeof header, 0) == sizeof header) {
        validate_header(header, source.size(), problem);
    } else {
        fail(problem, errc::not_a_segment);
    }
    out.readable = !problem && !out.state.problem;
    const segment_places places(out.readable ? header.max_participants : 2);
    const std::uint64_t size = header.size.load(std::memory_order_relaxed);
    if (out.readable && size < places.first_block + 4096) {
        fail(problem, errc::corrupt);
        out.readable = false;
    }
    if (!out.readable) {
        if (!out.state.problem) {
            out.state.problem = problem; // it was damaged meanwhile
        }
        flaws.add(segment_part::header, "the header is not in order", 0, 0);
        out.flaw_count = flaws.count();
        out.flaws = flaws.take();
        return out;
    }
    for (const participant& each : out.state.participants) {
        if (each.state == verdict::dead) {
            flaws.add(segment_part::participants, "a process has died and is not recovered",
                      participant_table::offset_of(each.slot), static_cast<std::uint64_t>(each.pid),
                      true);
        }
    }
    segment_reader segment(source, size);
    heap_reader heap(segment, places, flaws);
    heap.undo();
    if (extent == contents_extent::counts) {
        heap.read_counts();
        out.objects = directory_reader(segment, places, heap, flaws).read();
        out.heap = std::move(heap.map());
        out.lost = segment.lost();
        return out;
    }
    heap.walk();
    heap.check_lists();
    check_lock(segment, places, places.heap, segment_part::heap, flaws);
    check_lock(segment, places, places.directory, segment_part::directory, flaws);
    out.objects = directory_reader(segment, places, heap, flaws).read();
    object_reader objects(segment, out.state);
    for (stored_object& each : out.objects) {
        each.state = objects.read(each.description, each.offset);
    }
    journals_reader journals(segment, places, heap, flaws);
    out.journals = journals.read();
    heap.check_orphans();
    heap.check_used(journals.block_bytes());
    out.heap = std::move(heap.map());
    out.lost = segment.lost();
    out.flaw_count = flaws.count();
    out.flaws = flaws.take();
    return out;
}

COHOLD_INLINE segment_contents confirmed_contents(const segment_source& source,
                                                  contents_extent extent) {
    constexpr int looks = 16;
    segment_contents out = examine_contents(source, extent);
    std::vector<segment_flaw> always = out.flaws;
    for (int look = 1; look < looks && !always.empty(); ++look) {
        const segment_state& state = out.state;
        if (!out.readable || state.count(verdict::dead) == state.participants.size()) {
            return out; // no change is under way
        }
        const uncancelled here;
        sleep_for(look * 300000);
        out = examine_contents(source, extent);
        std::erase_if(always, [&out](const segment_flaw& flaw) {
            return std::find(out.flaws.begin(), out.flaws.end(), flaw) == out.flaws.end();
        });
    }
    out.flaw_count = always.size();
    out.flaws = std::move(always);
    return out;
}

} // namespace detail

COHOLD_INLINE segment_contents inspect_contents(const file_descriptor& object,
                                                contents_extent extent) {
    return detail::confirmed_contents(detail::file_source(object), extent);
}

COHOLD_INLINE segment_contents inspect_contents(const system_v_id& object, contents_extent extent) {
    return detail::confirmed_contents(detail::system_v_source(object.value), extent);
}

COHOLD_NAMESPACE_END

#endif
