// stored_object: a named object of a segment, as the directory describes it; and whether the
// directory is in order.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STORED_OBJECTS_HPP
#define COHOLD_INSPECT_STORED_OBJECTS_HPP

#include <string>

#include <time.h>

#include <cohold/engine/directory.hpp>
#include <cohold/engine/recovery.hpp>
#include <cohold/inspect/heap_map.hpp>
#include <cohold/os/thread.hpp>

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

/// A journal: what its thread, if it died now, would leave to be undone or finished.
struct stored_journal {
    std::uint32_t participant = 0; ///< the slot of its process
    std::uint64_t thread = 0;      ///< a number of the thread within its process; 0: of none now
    std::uint64_t offset = 0;      ///< in the segment
    std::uint64_t records = 0;     ///< steps that are noted; 0: the thread is in no section
    std::uint64_t bytes = 0;       ///< what these would put back
    bool finishing = false;        ///< the section counts as done, and is being tidied up
};

namespace detail {

static_assert(segment_places(config::max_participants).kept_journals == kept_journals::offset);
static_assert(segment_places::kept_bytes == sizeof(kept_journals));

class journals_reader {
  public:
    journals_reader(segment_reader& segment, const segment_places& places, heap_reader& heap,
                    flaw_list& flaws) noexcept
        : segment_(segment), places_(places), heap_(heap), flaws_(flaws),
          records_left_(segment.size() / sizeof(journal_record)),
          journals_left_(segment.size() / journal::size),
          kept_left_(segment.word(places.kept_journals)) {}

    [[gnu::cold]] std::vector<stored_journal> read() {
        for (std::uint64_t index = 0; index < places_.slots; ++index) {
            read_slot(index);
        }
        if (kept_left_ != 0) {
            wrong("a journal beside the heap is in use by nobody", places_.kept_journals,
                  kept_left_);
        }
        return std::move(out_);
    }

    // Of the blocks that the heap does not count.
    [[nodiscard]] std::uint64_t block_bytes() const noexcept { return block_bytes_; }

  private:
    static constexpr std::uint64_t records_at = offsetof(journal, records);
    static constexpr std::uint64_t kept_at = offsetof(kept_journals, journals);

    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found) {
        flaws_.add(segment_part::journals, what, offset, found);
    }

    [[gnu::cold]] void read_slot(std::uint64_t index) {
        const std::uint64_t slot = process_table::offset_of(index);
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
                wrong("there are more journals than there can be", from, next);
                return;
            }
            --journals_left_;
            if (next % 8 != 0 || next < control_bytes || !segment_.has(next, journal::size)) {
                wrong("a journal is not in the segment", from, next);
                return;
            }
            if (next >= places_.kept_journals + kept_at && next < places_.first_block) {
                if (!take_kept(next, from)) {
                    return;
                }
            } else if (!take(next, journal::size, "a journal is in no block of its own", from)) {
                return;
            }
            read_journal(static_cast<std::uint32_t>(index), next);
            from = next;
        }
    }

    // One of those that the segment keeps beside its heap.
    [[gnu::cold]] bool take_kept(std::uint64_t offset, std::uint64_t from) {
        const std::uint64_t distance = offset - places_.kept_journals - kept_at;
        const std::uint64_t bit = std::uint64_t{1} << distance / journal::size;
        if (distance % journal::size != 0 || (kept_left_ & bit) == 0) {
            wrong("a journal beside the heap is not in use", from, offset);
            return false;
        }
        kept_left_ &= ~bit;
        return true;
    }

    // A block that used() leaves out.
    [[gnu::cold]] bool take(std::uint64_t offset, std::uint64_t bytes, std::string_view what,
                            std::uint64_t from) {
        if (!heap_.take(offset, bytes, segment_part::journals, what, from)) {
            return false;
        }
        const heap_extent* const block = heap_.find(offset);
        block_bytes_ += block != nullptr ? block->bytes : 0;
        return true;
    }

    [[gnu::cold]] void read_journal(std::uint32_t slot, std::uint64_t place) {
        stored_journal found;
        found.participant = slot;
        found.offset = place;
        const owner_word thread = segment_.word(place + offsetof(journal, thread));
        found.thread = thread_of(thread);
        found.finishing = segment_.word(place + offsetof(journal, floor)) != 0;
        if (thread != nobody && (slot_of(thread) != slot || found.thread == 0)) {
            wrong("a journal is of a thread that cannot be", place + offsetof(journal, thread),
                  thread);
        }
        const std::uint64_t chunk = segment_.word(place + offsetof(journal, chunk));
        if (chunk != 0) {
            take(chunk, journal::chunk_size, "a journal's second block is none",
                 place + offsetof(journal, chunk));
        }
        const std::uint64_t begin = place + records_at;
        std::uint64_t top = segment_.word(place + offsetof(journal, top));
        while (top != begin) {
            if (!read_record(top, found)) {
                wrong("a record is not one", place + offsetof(journal, top), top);
                break;
            }
        }
        out_.push_back(found);
    }

    // The record that ends there; then those before it end at `top`.
    [[gnu::cold]] bool read_record(std::uint64_t& top, stored_journal& found) {
        journal_record record;
        if (records_left_ == 0 || top % 8 != 0 || top < control_bytes + sizeof record ||
            !segment_.read(&record, sizeof record, top - sizeof record) ||
            record.kind() > journal_kind::within ||
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
        top = record.kind() == journal_kind::jump ? record.where
                                                  : top - sizeof record - record.room();
        return true;
    }

    segment_reader& segment_;
    const segment_places& places_;
    heap_reader& heap_;
    flaw_list& flaws_;
    // However they are linked, all together cannot be more than the segment.
    std::uint64_t records_left_;
    std::uint64_t journals_left_;
    std::uint64_t kept_left_; // bits of those that the header says are in use
    std::uint64_t block_bytes_ = 0;
    std::vector<stored_journal> out_;
};

} // namespace detail

/// How much inspect_contents() reads.
enum class contents_extent {
    everything,
    counts, ///< neither blocks nor journals, and no flaw is looked for: sizes and objects alone
};

/// What inspect_contents() finds. Where `readable` is false the state alone is known.
struct segment_contents {
    segment_state state{};
    bool readable = false; ///< was the header in order, so that the rest could be read?
    heap_map heap{};
    std::vector<stored_object> objects{};
    std::vector<stored_journal> journals{};
    std::vector<segment_flaw> flaws{}; ///< the first 200
    std::uint64_t flaw_count = 0;
    bool lost = false; ///< the object has become shorter while it was read, or was removed

    /// Everything is as it must be, and nothing is left to recover.
    [[nodiscard]] bool is_good() const noexcept { return readable && flaw_count == 0 && !lost; }

    /// Nothing is wrong but what recovery puts in order: segment::recover(), or whoever attaches.
    [[nodiscard]] bool is_mendable() const noexcept {
        bool mends = readable && !lost && flaw_count == flaws.size();
        for (const segment_flaw& each : flaws) {
            mends = mends && each.mends;
        }
        return mends;
    }
};

namespace detail {

[[gnu::cold]] inline segment_contents
examine_contents(const segment_source& source,
                 contents_extent extent = contents_extent::everything) {
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
            out.state.problem = problem; // it has become so meanwhile
        }
        flaws.add(segment_part::header, "the header is not in order", 0, 0);
        out.flaw_count = flaws.count();
        out.flaws = flaws.take();
        return out;
    }
    for (const participant& each : out.state.participants) {
        if (each.state == verdict::dead) {
            flaws.add(segment_part::participants, "a process has died, and is not recovered",
                      process_table::offset_of(each.slot), static_cast<std::uint64_t>(each.pid),
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
    journals_reader journals(segment, places, heap, flaws);
    out.journals = journals.read();
    heap.check_used(journals.block_bytes());
    out.heap = std::move(heap.map());
    out.lost = segment.lost();
    out.flaw_count = flaws.count();
    out.flaws = flaws.take();
    return out;
}

// While somebody works in the segment, a look at it can see half of a change. What is found is
// looked for again, and counts if it is there every time.
[[gnu::cold]] inline segment_contents confirmed_contents(const segment_source& source,
                                                         contents_extent extent) {
    constexpr int looks = 16;
    segment_contents out = examine_contents(source, extent);
    std::vector<segment_flaw> always = out.flaws;
    for (int look = 1; look < looks && !always.empty(); ++look) {
        const segment_state& state = out.state;
        if (!out.readable || state.count(verdict::dead) == state.participants.size()) {
            return out; // it is at rest
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

/// Reads the whole of a segment's own data: the blocks of its heap, its directory and its journals,
/// not the objects themselves. Nothing is attached to, nothing is locked, nobody waits. Whatever
/// the bytes are, it ends, and touches nothing outside. While others work in the segment the parts
/// may be of different moments; `flaws` has what was wrong each time, up to sixteen times in 36 ms.
/// *Complexity*: linear in the number of blocks.
[[nodiscard, gnu::cold]] inline segment_contents
inspect_contents(const file_descriptor& object,
                 contents_extent extent = contents_extent::everything) {
    return detail::confirmed_contents(detail::file_source(object), extent);
}

/// Of a System V segment, as inspect_segment() does it.
[[nodiscard, gnu::cold]] inline segment_contents
inspect_contents(const system_v_id& object, contents_extent extent = contents_extent::everything) {
    return detail::confirmed_contents(detail::system_v_source(object.value), extent);
}

/// The same by name. *Errors*: as Mechanism::open has them; what is wrong with the segment is none.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents
inspect_contents(std::string_view name, std::error_code& ec,
                 contents_extent extent = contents_extent::everything) {
    const detail::operation context("inspect", Mechanism::label, name);
    ec.clear();
    auto object = Mechanism::open(name, access_mode::reading, ec);
    if (ec) {
        return {};
    }
    segment_contents out = inspect_contents(object, extent);
    Mechanism::close(object);
    return out;
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents inspect_contents(std::string_view name) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_contents<Mechanism>(name, ec); });
}

COHOLD_NAMESPACE_END

#endif
