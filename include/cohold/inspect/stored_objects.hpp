// stored_object: a named object of a segment, as the directory describes it; and whether the
// directory is in order.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STORED_OBJECTS_HPP
#define COHOLD_INSPECT_STORED_OBJECTS_HPP

#include <string>

#include <cohold/inspect/heap_map.hpp>
#include <cohold/memory/directory.hpp>

COHOLD_NAMESPACE_BEGIN

/// A named object. Its description says what its type is made of: docs/layout.md.
struct stored_object {
    std::string name{}; ///< any bytes; empty: that of a shared<T>
    std::string type{};
    std::string description{};
    std::uint64_t offset = 0; ///< in the segment
    std::uint64_t bytes = 0;
};

namespace detail {

static_assert(sizeof(directory) == segment_places::directory_bytes);
static_assert(segment_places(config::max_participants).directory == directory::offset);

class directory_reader {
  public:
    directory_reader(segment_reader& segment, const segment_places& places, heap_reader& heap,
                     flaw_list& flaws) noexcept
        : segment_(segment), places_(places), heap_(heap), flaws_(flaws),
          text_left_(segment.size()) {}

    [[gnu::cold]] std::vector<stored_object> read() {
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
        heap_.take(table, 16 + slots * 8, segment_part::directory,
                   "the table is in no block of its own", field);
        read_slots(table, slots);
        return std::move(out_);
    }

  private:
    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found) {
        flaws_.add(segment_part::directory, what, offset, found);
    }

    [[gnu::cold]] void read_slots(std::uint64_t table, std::uint64_t slots) {
        const auto slot_at = [&](std::uint64_t index) noexcept {
            return table + 16 + (index & (slots - 1)) * 8;
        };
        // A search goes on from the name's place to the first slot that was never used.
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
                    wrong("a name is where nobody finds it", slot_at(i), slot);
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
            wrong("a name is there twice", table, 0);
        }
    }

    [[gnu::cold]] bool read_entry(std::uint64_t slot, std::uint64_t from, std::uint64_t& hash) {
        const std::uint64_t place = slot & 0x0000ffffffffffffu;
        directory_entry entry;
        if (place % 8 != 0 || place < control_bytes ||
            !segment_.read(&entry, sizeof entry, place)) {
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
        // However many slots mean the same bytes, all texts together are not longer than all there
        // is.
        if (text > text_left_) {
            wrong("the entries are more than the segment", from, slot);
            return false;
        }
        text_left_ -= text;
        if (!heap_.take(place, sizeof entry + text, segment_part::directory,
                        "an entry is in no block of its own", from)) {
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
            wrong("a name and its hash do not fit", place, hash);
        }
        if (entry.description_length < directory::max_description &&
            hash64(found.description) != entry.type_hash) {
            wrong("a type's description and its hash do not fit", place + 24, entry.type_hash);
        }
        heap_.take(found.offset, found.bytes, segment_part::directory,
                   "an object is in no block of its own", place + 8);
        out_.push_back(std::move(found));
        return true;
    }

    segment_reader& segment_;
    const segment_places& places_;
    heap_reader& heap_;
    flaw_list& flaws_;
    std::uint64_t text_left_;
    std::vector<stored_object> out_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
