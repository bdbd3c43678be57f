// The journal of a thread (its undo log in the segment): its records, byte shifts that can be
// undone at any moment, and the reader that rolls records back or, after the commit, does what they
// have promised.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_JOURNAL_HPP
#define COHOLD_ENGINE_JOURNAL_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <cohold/config.hpp>
#include <cohold/engine/slab_cache.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- records

// The kinds of records.
enum class journal_kind : std::uint64_t {
    bytes = 1, // the bytes before the record were at `where`
    snapshot,  // the block whose offset is before the record has the bytes that were at `where`
    made,      // the block at `where` was allocated: freed on undo
    dropped,   // the block at `where` is to be freed: freed on commit
    temporary, // the block at `where` belongs to the journal: freed in either case
    jump,      // preceded by the records that end at `where`; their limit is before the record
    shift,     // the bytes from `where` on are being moved, or have been: see byte_shift
    // The first record of a section that began while the thread had `where` other sections open in
    // other mappings of the segment. It is undone before those.
    within,
    // A reference to the shared object at `where` was counted: uncounted on undo. The bytes say
    // which kind of reference.
    counted,
    released, // the same, to be uncounted on commit
    linked,   // the shared object at `where` was added to the list: removed on undo
    ended,    // the shared object at `where` was destroyed: its memory is freed on commit
};

// A record follows its bytes, because records are read backwards from the last one.
struct journal_record {
    // For `bytes`, `snapshot` and `shift`, the distance from the header in two's complement,
    // because objects on a stack are outside the segment. For other kinds, an offset.
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

    // The size of the bytes before the record.
    [[nodiscard]] std::uint64_t room() const noexcept;
};

// Stores a word that another process reads only after the death of this one. A kill takes effect
// between two instructions, so the processor needs no fences. The signal fences keep the compiler
// from reordering.
inline void store_in_order(std::atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    word.store(value, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Stores two words with one instruction, if the processor has one.
inline void store_pair(void* into, std::uint64_t first, std::uint64_t second) noexcept {
    using pair [[gnu::vector_size(16)]] = std::uint64_t;
    const pair words{first, second};
    std::memcpy(into, &words, sizeof words);
}

// ---- byte shifts

// Moves bytes so that the move can be undone at any moment. The bytes are moved step by step, in an
// order in which no step overwrites bytes that have not been moved yet. If the source and the
// target of a step overlap, the step is kept in the journal meanwhile, because a kill during it
// leaves neither intact. One word, `progress`, records what has been moved. Undoing goes the same
// way back and updates the same word. So if the process is killed while it undoes, any other
// process can continue.
//
// Before the record are the bytes of a step, if they have to be kept, followed by these words.
struct shift_words {
    std::uint64_t bytes;                 // the total number of bytes to move
    std::uint64_t distance;              // up or down, in two's complement
    std::atomic<std::uint64_t> progress; // offset:63 | held:1

    // Upwards, all bytes from the offset on have been moved; downwards, all bytes before it. If
    // `held`, the step at the offset is in the journal. The steps in front of it in the order of
    // moving have been moved, and the others have not.

    [[nodiscard]] static shift_words& of(const journal_record& record) noexcept {
        return *reinterpret_cast<shift_words*>(
            const_cast<char*>(reinterpret_cast<const char*>(&record)) - sizeof(shift_words));
    }
};

static_assert(sizeof(shift_words) == 24);

class byte_shift {
  public:
    // With steps as long as the distance, source and target do not overlap, and nothing has to be
    // kept. But short steps are slow.
    static constexpr std::uint64_t least_unkept = 1024;

    // The length of kept steps is a multiple of this, and their place should be aligned to it.
    static constexpr std::uint64_t least_kept = 64;

    // Without a record: for bytes that need none, or have already been saved.
    byte_shift(char* place, std::uint64_t bytes, std::ptrdiff_t distance) noexcept
        : place_(place), bytes_(bytes), distance_(distance) {}

    // `room`: the size of the words and the bytes before them. The words may be those of a
    // participant that is dying and still changes them, so they are read only once.
    byte_shift(char* place, shift_words& words, std::uint64_t room) noexcept
        : byte_shift(place, words, room, words.bytes,
                     static_cast<std::ptrdiff_t>(static_cast<std::int64_t>(words.distance))) {}

    // The same if the values of the words are known.
    byte_shift(char* place, shift_words& words, std::uint64_t room, std::uint64_t bytes,
               std::ptrdiff_t distance) noexcept;

    // Does a shift by that distance keep its steps?
    [[nodiscard]] static constexpr bool keeps(std::uint64_t bytes,
                                              std::ptrdiff_t distance) noexcept {
        return length_of(distance) < bytes && length_of(distance) < least_unkept;
    }

    // The number of bytes and the distance. For the shift of a dead participant, it must be checked
    // whether they are in the segment.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    [[nodiscard]] std::ptrdiff_t distance() const noexcept { return distance_; }

    // Can a dead participant have begun this shift?
    [[nodiscard]] bool is_possible() const noexcept;

    // The value of `progress` for a shift that has not begun.
    [[nodiscard]] static constexpr std::uint64_t begin_of(std::uint64_t bytes,
                                                          std::ptrdiff_t distance) noexcept {
        return distance > 0 ? bytes * 2 : 0;
    }

    // The value of `progress` for a shift that is done.
    [[nodiscard]] static constexpr std::uint64_t end_of(std::uint64_t bytes,
                                                        std::ptrdiff_t distance) noexcept {
        return distance > 0 ? 0 : bytes * 2;
    }

    void run() noexcept;

    // Moves back everything that has been moved.
    [[gnu::cold]] void undo() noexcept;

    // Undoes a shift that is done, without its record, which may no longer exist.
    [[gnu::cold]] void undo_at_once() noexcept { move(place_, place_ + distance_, bytes_); }

  private:
    [[nodiscard]] static constexpr std::uint64_t length_of(std::ptrdiff_t distance) noexcept {
        return distance > 0 ? static_cast<std::uint64_t>(distance)
                            : std::uint64_t{0} - static_cast<std::uint64_t>(distance);
    }

    // A step begins at a multiple of its length. The last step may be shorter.
    [[nodiscard]] std::uint64_t step_before(std::uint64_t at) const noexcept {
        return (at - 1) / step_ * step_;
    }

    [[nodiscard]] std::uint64_t size_at(std::uint64_t at) const noexcept {
        return bytes_ - at < step_ ? bytes_ - at : step_;
    }

    // Moves a step. `then` is the progress after it.
    void take(std::uint64_t at, std::uint64_t then) noexcept;

    // Moves the kept step back to its place. Returns the progress after that.
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

    // memmove, because with the words of a dead participant anything may overlap.
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

// ---- the journal

// How a witness shows that a section is committed. A witness is a word that other processes see.
enum class witness_kind : std::uint64_t {
    equal = 0,   // it has the value
    counter = 1, // it has reached or passed the value: a position of a queue
};

// A block of the segment's heap. Its words are written only by its thread and, once the process is
// dead, by the process that recovers it. The journal of a live thread is not read by other threads,
// so the processor needs no fences; signal fences keep the compiler from reordering. Every step
// that matters is one store to `top` or `floor`.
struct journal {
    static constexpr std::uint64_t size = 1024;
    static constexpr std::uint64_t chunk_size = 8192;

    std::uint64_t next;                // offset of the next journal of the participant, or 0
    std::atomic<std::uint64_t> thread; // the owner word of the thread that uses it; 0: none
    std::atomic<std::uint64_t> top;    // offset of the end of the records
    // 0, or the offset of the end of the records that are not committed yet: the records after it
    // are.
    std::atomic<std::uint64_t> floor;
    // The offset of the witness, the word that shows whether the section is committed, plus its
    // kind; 0 if there is none. And the value of that word once it is committed.
    std::atomic<std::uint64_t> witness;
    std::atomic<std::uint64_t> witness_value;
    std::atomic<std::uint64_t> witness_floor; // the value of `floor` in that case
    std::atomic<std::uint64_t> queue_side;    // offset of the queue's side it is at work in, or 0
    std::uint64_t chunk; // offset of a block for more records, kept for the next time, or 0
    std::uint64_t slabs; // offset of the first slab that the thread owns, or 0
    char records[size - 80];
};

static_assert(sizeof(journal) == journal::size && offsetof(journal, thread) == 8 &&
              offsetof(journal, top) == 16 && offsetof(journal, floor) == 24 &&
              offsetof(journal, witness) == 32 && offsetof(journal, witness_value) == 40 &&
              offsetof(journal, witness_floor) == 48 && offsetof(journal, queue_side) == 56 &&
              offsetof(journal, chunk) == 64 && offsetof(journal, slabs) == 72 &&
              offsetof(journal, records) == 80);

// ---- reading a journal

// Rolls a journal back or finishes it: in the thread that owns it or, after a death, in another
// process, which has the segment at another address. Every step can be repeated from the beginning
// if this process dies too. Whatever the journal's bytes are, nothing is written outside the
// segment, and only blocks of the heap are freed, because another process may have damaged the
// journal, even that of a live thread.
class journal_reader {
  public:
    // `me`: the process that does the work, for the heap's lock. `own`: what the thread knows about
    // its slabs; nullptr if the journal belongs to a dead participant.
    journal_reader(segment_header& header, journal& log, owner_word me, slab_cache* own) noexcept
        : header_(header), log_(log), me_(me), own_(own) {}

    [[nodiscard]] static std::uint64_t begin_of(const segment_header& header,
                                                const journal& log) noexcept {
        return static_cast<std::uint64_t>(log.records - reinterpret_cast<const char*>(&header));
    }

    // Undoes the records after `floor`. False if the thread's patience ended before.
    [[gnu::cold]] bool roll_back(std::uint64_t floor) noexcept;

    // Does what the records after `floor` have promised to do after the commit. False if the
    // thread's patience ended before.
    [[gnu::cold]] bool finish(std::uint64_t floor) noexcept;

    // For a dead participant: finishes or undoes its section, depending on its journal. False if
    // the thread's patience ended before; then it must be called again.
    [[gnu::cold]] bool recover() noexcept;

    // How many sections of other mappings were open around the section of these records?
    [[nodiscard, gnu::cold]] std::uint64_t sections_around() noexcept;

    // Do the last records after `floor` contain these bytes? Only a limited number of them is
    // examined.
    [[nodiscard, gnu::cold]] bool has_saved(std::uint64_t where, std::uint64_t bytes,
                                            std::uint64_t floor) noexcept;

  private:
    // The record that ends at `top`. nullptr if there can be none, or if the records read so far
    // have more bytes than the segment, so that they must form a cycle. So reading always ends.
    [[nodiscard]] const journal_record* record_before(std::uint64_t top) noexcept;

    // The end of the records before this one.
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

    // nullptr outside the part of the segment that a journal may change.
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

    // Its bytes are not counted as read, because a section may move the same bytes many times.
    // Undoing a shift a second time does nothing.
    void undo_shift(const journal_record& record) noexcept;

    // Frees a block and removes its record in one step.
    [[nodiscard]] bool free_block(std::uint64_t where, std::uint64_t below) noexcept;

    // Carries out the record of a shared object and removes it, in one step.
    [[nodiscard]] bool change_shared(const journal_record& record, std::uint64_t below) noexcept;

    segment_header& header_;
    journal& log_;
    owner_word me_;
    slab_cache* own_;
    std::uint64_t read_ = 0; // bytes
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/journal.ipp>
#endif

#endif
