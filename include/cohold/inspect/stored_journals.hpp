// stored_journal: the journal of a thread that works, or has worked, in a segment; and whether the
// journals are in order.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STORED_JOURNALS_HPP
#define COHOLD_INSPECT_STORED_JOURNALS_HPP

#include <cohold/inspect/heap_map.hpp>
#include <cohold/memory/kept_journals.hpp>

COHOLD_NAMESPACE_BEGIN

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

COHOLD_NAMESPACE_END

#endif
