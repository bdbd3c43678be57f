// The journal of a thread: what it has to undo, if the process dies in the middle of a change, and
// what it has promised to do once the change is done.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_JOURNAL_HPP
#define COHOLD_ENGINE_JOURNAL_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <cohold/config.hpp>
#include <cohold/engine/heap.hpp>
#include <cohold/engine/words.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a record of the journal says.
enum class journal_kind : std::uint64_t {
    bytes = 1, // the bytes before the record were at `where`
    snapshot,  // the block, whose offset is before the record, has the bytes that were at `where`
    made,      // the block at `where` was allocated: undone by freeing it
    dropped,   // the block at `where` shall be freed: done on commit
    temporary, // the block at `where` belongs to the journal: freed either way
    jump,      // before this come the records that end at `where`; before it is their limit
    shift, // bytes from `where` on are being moved, or have been: before it is how; see byte_shift
    // The first one of a section that began while the thread had `where` others open, in other
    // mappings of the segment: it is undone before those.
    within,
};

// Follows its bytes, so that the records are read from the last one back.
struct journal_record {
    // `bytes`, `snapshot` and `shift`: the distance from the header, as two's complement: objects
    // on a stack are outside the segment. Otherwise an offset.
    std::uint64_t where;
    std::uint64_t word; // bytes:56 | kind:8

    [[nodiscard]] journal_kind kind() const noexcept {
        return static_cast<journal_kind>(word & 0xff);
    }

    [[nodiscard]] std::uint64_t bytes() const noexcept { return word >> 8; }

    [[nodiscard]] static constexpr std::uint64_t word_of(journal_kind kind,
                                                         std::uint64_t bytes) noexcept {
        return bytes << 8 | static_cast<std::uint64_t>(kind);
    }

    // Of the bytes in front of the record.
    [[nodiscard]] std::uint64_t room() const noexcept;
};

// What a journal has is read after a death alone, so the processor needs no fences: a kill is taken
// between two instructions. The signal fences keep the compiler from reordering.
inline void store_in_order(std::atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    word.store(value, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Two words with one instruction, where there is one.
inline void store_pair(void* into, std::uint64_t first, std::uint64_t second) noexcept {
    using pair [[gnu::vector_size(16)]] = std::uint64_t;
    const pair words{first, second};
    std::memcpy(into, &words, sizeof words);
}

// The bytes are moved step by step, those first that stand where the others go. A step whose source
// and target overlap is kept in the journal meanwhile: a kill in the middle of it leaves neither
// whole. What has been done is one word, `progress`, and undoing goes the same way back: it keeps
// the same word, so that it can be killed, too, and gone on with by anybody.
//
// In front of the record are the bytes of a step, if they have to be kept, and then these words.
struct shift_words {
    std::uint64_t bytes;                 // how many are moved in all
    std::uint64_t distance;              // by how much, as two's complement: up or down
    std::atomic<std::uint64_t> progress; // offset:63 | held:1

    // Up: from the offset on, all have been moved; down: all before it. If `held`, the step at the
    // offset is in the journal, those that are moved before it have been, and the others have not.

    [[nodiscard]] static shift_words& of(const journal_record& record) noexcept {
        return *reinterpret_cast<shift_words*>(
            const_cast<char*>(reinterpret_cast<const char*>(&record)) - sizeof(shift_words));
    }
};

static_assert(sizeof(shift_words) == 24);

class byte_shift {
  public:
    // With steps as long as the distance, source and target do not overlap, and nothing has to be
    // kept; but short ones are slow.
    static constexpr std::uint64_t least_unkept = 1024;

    // Steps that are kept are a multiple of this, and should begin at one.
    static constexpr std::uint64_t least_kept = 64;

    // There is no record: for bytes that need none, or are saved already.
    byte_shift(char* place, std::uint64_t bytes, std::ptrdiff_t distance) noexcept
        : place_(place), bytes_(bytes), distance_(distance) {}

    // `room`: of the words and what is in front of them. The words may be a dead one's, who may
    // change them still: they are read once.
    byte_shift(char* place, shift_words& words, std::uint64_t room) noexcept
        : byte_shift(place, words, room, words.bytes,
                     static_cast<std::ptrdiff_t>(static_cast<std::int64_t>(words.distance))) {}

    // The same, where it is known what they say.
    byte_shift(char* place, shift_words& words, std::uint64_t room, std::uint64_t bytes,
               std::ptrdiff_t distance) noexcept;

    // Does it keep what a step of that distance needs?
    [[nodiscard]] static constexpr bool keeps(std::uint64_t bytes,
                                              std::ptrdiff_t distance) noexcept {
        return length_of(distance) < bytes && length_of(distance) < least_unkept;
    }

    // Of how many bytes, to where: of a dead one's it must be seen whether they are in the segment.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    [[nodiscard]] std::ptrdiff_t distance() const noexcept { return distance_; }

    // Can a dead one have begun that?
    [[nodiscard]] bool is_possible() const noexcept;

    // For a shift that has not begun: what `progress` is then.
    [[nodiscard]] static constexpr std::uint64_t begin_of(std::uint64_t bytes,
                                                          std::ptrdiff_t distance) noexcept {
        return distance > 0 ? bytes * 2 : 0;
    }

    // For one that is done.
    [[nodiscard]] static constexpr std::uint64_t end_of(std::uint64_t bytes,
                                                        std::ptrdiff_t distance) noexcept {
        return distance > 0 ? 0 : bytes * 2;
    }

    void run() noexcept;

    // Moves all back that has been moved.
    [[gnu::cold]] void undo() noexcept;

    // One that is done, without its record: that may be gone.
    [[gnu::cold]] void undo_at_once() noexcept { move(place_, place_ + distance_, bytes_); }

  private:
    [[nodiscard]] static constexpr std::uint64_t length_of(std::ptrdiff_t distance) noexcept {
        return distance > 0 ? static_cast<std::uint64_t>(distance)
                            : std::uint64_t{0} - static_cast<std::uint64_t>(distance);
    }

    // A step begins at a multiple of its length, and the last one may be shorter.
    [[nodiscard]] std::uint64_t step_before(std::uint64_t at) const noexcept {
        return (at - 1) / step_ * step_;
    }

    [[nodiscard]] std::uint64_t size_at(std::uint64_t at) const noexcept {
        return bytes_ - at < step_ ? bytes_ - at : step_;
    }

    // Moves the step; `then`: where the progress is after it.
    void take(std::uint64_t at, std::uint64_t then) noexcept;

    // The step that is kept goes to where it was. Where the progress is then.
    std::uint64_t give_back(std::uint64_t at) noexcept {
        move(place_ + at, kept_, size_at(at));
        return without(at);
    }

    std::uint64_t without(std::uint64_t at) noexcept {
        const std::uint64_t then = distance_ > 0 ? at + size_at(at) : at;
        note(then, false);
        return then;
    }

    void note(std::uint64_t at, bool held) noexcept {
        store_in_order(*progress_, at * 2 + (held ? 1 : 0));
    }

    // A dead one's words may say that anything overlaps.
    static void move(char* to, const char* from, std::uint64_t bytes) noexcept {
        std::memmove(to, from, static_cast<std::size_t>(bytes));
    }

    char* place_;
    std::uint64_t bytes_;
    std::ptrdiff_t distance_;
    std::atomic<std::uint64_t>* progress_ = nullptr;
    char* kept_ = nullptr;
    std::uint64_t step_ = 0;
};

// A block of the segment's heap; its words are written by its thread alone and, once the process is
// dead, by who recovers it. Nobody alive reads another one's journal, so the processor needs no
// fences; signal fences keep the compiler from reordering. Every change of what counts is one store
// to `top` or `floor`.
struct journal {
    static constexpr std::uint64_t size = 1024;
    static constexpr std::uint64_t chunk_size = 8192;

    std::uint64_t next;                // offset of the next journal of the participant, or 0
    std::atomic<std::uint64_t> thread; // the owner word of the thread that uses it; 0: none
    std::atomic<std::uint64_t> top;    // offset of the end of the records
    // 0, or offset of the end of the records that do not count as done: those behind it do.
    std::atomic<std::uint64_t> floor;
    // The word that says whether all is done: its offset, plus 1 if it is a slot word of a queue;
    // 0: none. And its value when all is done.
    std::atomic<std::uint64_t> witness;
    std::atomic<std::uint64_t> witness_value;
    std::atomic<std::uint64_t> witness_floor; // what is `floor` then
    std::atomic<std::uint64_t> queue_claim;   // offset of the slot word that was claimed last, or 0
    std::uint64_t chunk; // offset of a block for more records, kept for the next time, or 0
    char records[size - 72];
};

static_assert(sizeof(journal) == journal::size);

// Undoing and finishing, in the thread whose journal it is or, after a death, in another process,
// which has the segment at another address. Every step can be repeated from the beginning, if this
// process dies in its turn. Whatever the journal's bytes are, nothing is written outside the
// segment, and only what is a block of the heap is freed: others may have damaged them, in the
// living process, too.
class journal_reader {
  public:
    // `me`: the process that does it, for the lock of the heap. `foreign`: it is a dead one's.
    journal_reader(segment_header& header, journal& log, owner_word me, bool foreign) noexcept
        : header_(header), log_(log), me_(me), foreign_(foreign) {}

    [[nodiscard]] static std::uint64_t begin_of(const segment_header& header,
                                                const journal& log) noexcept {
        return static_cast<std::uint64_t>(log.records - reinterpret_cast<const char*>(&header));
    }

    // Undoes the records behind `floor`. False if the thread's patience is over before.
    [[gnu::cold]] bool roll_back(std::uint64_t floor) noexcept;

    // Does what the records behind `floor` have promised for the time when all is done. False if
    // the thread's patience is over before.
    [[gnu::cold]] bool finish(std::uint64_t floor) noexcept;

    // Of a participant that is dead: done or undone, by what its journal says. False if the
    // thread's patience is over before: then it is to be done again.
    [[gnu::cold]] bool recover(owner_word dead) noexcept;

    // How many sections of other mappings were open around the one whose records these are?
    [[nodiscard, gnu::cold]] std::uint64_t sections_around() noexcept;

    // Do the last records, of those behind `floor`, have these bytes? A limited number of them is
    // looked at.
    [[nodiscard, gnu::cold]] bool has_saved(std::uint64_t where, std::uint64_t bytes,
                                            std::uint64_t floor) noexcept;

  private:
    // The last record that ends at `top`; nullptr where none can be, and when the records have had
    // more bytes than a segment has, so that they must go round: whatever they say, reading ends.
    [[nodiscard]] const journal_record* record_before(std::uint64_t top) noexcept;

    // Where the records before this one end.
    [[nodiscard]] static std::uint64_t below_of(const journal_record& last,
                                                std::uint64_t top) noexcept {
        return last.kind() == journal_kind::jump ? last.where
                                                 : top - sizeof(journal_record) - last.room();
    }

    [[nodiscard]] static std::uint64_t word_before(const journal_record& last) noexcept {
        std::uint64_t word = 0;
        std::memcpy(&word, reinterpret_cast<const char*>(&last) - 8, sizeof word);
        return word;
    }

    [[nodiscard]] char* base() const noexcept { return reinterpret_cast<char*>(&header_); }

    // nullptr outside of what a journal may change.
    [[nodiscard]] char* at(std::uint64_t offset) const noexcept {
        return offset >= control_bytes && offset < bounded_size(header_) ? base() + offset
                                                                         : nullptr;
    }

    [[nodiscard]] bool undo_records(std::uint64_t floor) noexcept;

    [[nodiscard]] bool is_witnessed() const noexcept;

    [[nodiscard]] bool is_inside(std::uint64_t where, std::uint64_t bytes) const noexcept {
        const std::uint64_t size = bounded_size(header_);
        return where >= control_bytes && where <= size && bytes <= size - where;
    }

    void put_back(std::uint64_t where, const char* from, std::uint64_t bytes) const noexcept;

    // Its bytes do not count as read: a section may move the same ones again and again. Undone
    // twice, there is nothing to do the second time.
    void undo_shift(const journal_record& record) noexcept;

    // Frees a block and takes its record away, in one step.
    [[nodiscard]] bool free_block(std::uint64_t where, std::uint64_t below) noexcept;

    segment_header& header_;
    journal& log_;
    owner_word me_;
    bool foreign_;
    std::uint64_t read_ = 0; // bytes
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/journal.ipp>
#endif

#endif
