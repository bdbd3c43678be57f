// The record of a thread in a segment: its owner word, and its open section with the journal in
// which it saves what it changes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_TRANSACTION_HPP
#define COHOLD_ENGINE_TRANSACTION_HPP

#include <utility>

#include <sys/types.h>

#include <cohold/engine/deferred_unlock.hpp>
#include <cohold/engine/private_undo.hpp>
#include <cohold/os/thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the end of a section has to check, set and compared as one word.
struct alignas(8) section_state {
    std::uint32_t depth = 0; // the number of nested open sections
    bool undoable = false;   // can one of them be undone in a live process?
    bool locked = false;     // is there a first lock?
    // Is there anything that one store to the journal does not end: promises, room outside the
    // journal, further locks, or open sections of other segments?
    bool more = false;
    bool unused = false;

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return std::bit_cast<std::uint64_t>(*this);
    }
};

// The part of a record that the fast paths can find without the rest.
struct sections {
    section_state state;
    segment_header* header = nullptr;
};

// The placeholder for no record.
inline constexpr sections no_sections{};

// The placeholder for a thread for which this copy of the code does not yet know the sections that
// other copies have opened. It looks like an open section, so that the slow path finds out.
inline constexpr sections unknown_sections{{.unused = true}, nullptr};

// One for each thread and mapping, in the private memory of the process. The first cache line has
// what every section uses.
struct alignas(64) thread_record : sections {
    owner_word me = nobody;
    journal* log = nullptr;
    std::uint64_t limit = 0; // offset of the end of the room for records
    // The epoch of the attachment, and the address of the mapping's current epoch: they differ in a
    // forked child, which must not use an inherited record.
    const std::atomic<std::uint64_t>* epoch_here = nullptr;
    std::uint64_t epoch = 0;

    // The number of uncaught exceptions of the thread.
    const unsigned* uncaught = uncaught_counter();
    std::uint64_t mapped = 0; // bytes of the segment's mapping
    private_undo own;         // each entry counts as a promise, so that commit handles it

    // Locks to release at the end of the section.
    deferred_unlocks locks;

    std::uint32_t promises = 0; // the number of records to be executed on commit
    // The depth of the first section that can be undone, if it is nested in one that cannot;
    // otherwise 0.
    std::uint32_t undoable_from = 0;
    bool marked = false; // are any watermarks in use, or is one of the next two members set?
    bool full = false;   // there was no room for more of the journal in this section
    bool unkept = false; // bytes of the segment are saved only in private memory
    // The end of the journal when the last undoable section began.
    std::uint64_t undo_floor = 0;
    thread_record* next_open = nullptr; // the record whose section was opened before this one's

    // The addresses of the vectors that the section has changed last, and the smallest size that
    // each has had since. Elements from there on need not be saved.
    struct watermark {
        const void* of = nullptr;
        std::uint64_t size = 0;
    };

    static constexpr std::size_t watermark_count = 4;
    watermark watermarks[watermark_count];

    // Bytes that have already been saved.
    struct range {
        std::uintptr_t first = 0;
        std::size_t bytes = 0;
    };

    range covered;

    std::uint64_t process = 0;         // its process_stamp
    const void* late_thread = nullptr; // set after the end of the thread, which cannot delete it

    // Whether its thread or the thread that unmaps the segment ends the record.
    enum life : std::uint32_t { live, ending, orphaned };

    std::atomic<std::uint32_t> ended{live};
    thread_record* next_in_mapping = nullptr;
    thread_record* next_in_thread = nullptr;

    thread_record() = default;
    thread_record(const thread_record&) = delete;
    thread_record& operator=(const thread_record&) = delete;
    ~thread_record() = default;

    [[nodiscard]] char* base() const noexcept { return reinterpret_cast<char*>(header); }

    // For the heap's lock, which is held for the process and not for a thread.
    [[nodiscard]] owner_word process_word() const noexcept {
        return make_owner(slot_of(me), generation_of(me), 0);
    }

    [[nodiscard]] journal_reader reader() noexcept {
        return {*header, *log, process_word(), false};
    }

    [[nodiscard]] savepoint here() const noexcept {
        return {log->top.load(std::memory_order_relaxed), limit, promises};
    }

    // The end of the journal while no section is open.
    [[nodiscard]] std::uint64_t first_top() const noexcept { return distance_to(log->records); }

    // Was the record inherited from the process that forked this one?
    [[nodiscard]] bool is_inherited() const noexcept {
        return epoch_here->load(std::memory_order_relaxed) != epoch;
    }

    // The limit of the room in the journal itself.
    [[nodiscard]] std::uint64_t first_limit() const noexcept {
        return distance_to(log) + journal::size - held_back;
    }

    // The savepoint at the beginning of an outermost section.
    [[nodiscard]] savepoint first() const noexcept { return {first_top(), first_limit(), 0}; }

    // ---- records. All are written before what they are about.

    [[nodiscard]] bool is_inside(const void* at) const noexcept {
        return reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(header) <
               mapped;
    }

    // Saves if that needs no further memory. Otherwise returns false and does nothing.
    [[nodiscard, gnu::always_inline]] bool save_at_hand(const void* at,
                                                        std::size_t bytes) noexcept {
        const std::uint64_t top = log->top.load(std::memory_order_relaxed);
        const std::uint64_t room = rounded(bytes);
        if (!is_inside(at) || bytes > largest_inline || !fits(top, room)) [[unlikely]] {
            return false;
        }
        write(base() + top, at, bytes);
        store_in_order(log->top, top + room + sizeof(journal_record));
        return true;
    }

    // Saves the bytes, so that they are restored when the section is undone. The bytes of an object
    // outside the segment, for example on a stack, are restored only if this process undoes the
    // section. An error changes nothing: errc::out_of_space, reserve_exceeded, corrupt.
    void save(const void* at, std::size_t bytes, std::error_code& ec) noexcept {
        if (!save_at_hand(at, bytes)) [[unlikely]] {
            save_slowly(at, bytes, ec);
        }
    }

    void save(const void* at, std::size_t bytes) {
        if (!save_at_hand(at, bytes)) [[unlikely]] {
            save_or_throw(at, bytes);
        }
    }

    // The same for a change that must not fail. In a full segment, in which the journal has no room
    // either, the bytes are saved in private memory, and are not restored after a kill. `words`:
    // they are the words of a vector, for which some room is held back.
    [[gnu::cold]] void save_anyhow(const void* at, std::size_t bytes, bool words) noexcept;

    // Can shift() work without the heap?
    [[nodiscard]] bool has_room_for_shift() const noexcept {
        return room_for_shift(log->top.load(std::memory_order_relaxed)) >= byte_shift::least_kept;
    }

    // The same, if necessary with a chunk from the heap.
    [[nodiscard]] bool make_room_to_shift() noexcept {
        return has_room_for_shift() || has_room_now(shift_room(0, byte_shift::least_kept));
    }

    // Moves bytes of the segment, so that they are moved back when the section is undone. The bytes
    // that they overwrite are not restored. An error changes nothing. Errors are those of save(),
    // and happen only if the journal is full too.
    byte_shift shift(char* place, std::size_t bytes, std::ptrdiff_t distance,
                     std::error_code& ec) noexcept {
        const bool keeps = byte_shift::keeps(bytes, distance);
        std::uint64_t step = keeps ? wanted_step(bytes) : 0;
        std::uint64_t top = log->top.load(std::memory_order_relaxed);
        if (!fits(top, shift_room(top, step))) [[unlikely]] {
            make_room_for_shift(keeps, ec);
            if (ec) {
                return {place, 0, distance};
            }
            top = log->top.load(std::memory_order_relaxed);
            if (!fits(top, shift_room(top, step))) {
                step = keeps ? room_for_shift(top) : 0;
                if (step == 0) {
                    fail(ec, errc::corrupt, "the journal of a thread: end %#llx",
                         static_cast<unsigned long long>(top));
                    return {place, 0, distance};
                }
            }
        }
        char* const into = base() + top;
        const std::uint64_t before = keeps ? before_step(top) : 0;
        byte_shift moved = append_shift(into, before + step, place, bytes, distance, false);
        moved.run();
        if (state.depth > 1 &&
            step > most_kept_when_done + sizeof(shift_words) + sizeof(journal_record)) {
            // Undoing needs less room than moving did, and the rest is for further records of the
            // section.
            moved = append_shift(into, before + most_kept_when_done, place, bytes, distance, true);
        }
        return moved;
    }

    // Is there room in the journal itself for ranges of an object that are known at compile time?
    template <const auto& Ranges>
    [[nodiscard]] static constexpr bool fits_first() noexcept {
        std::uint64_t room = 0;
        for (std::size_t i = 0; i < Ranges.size(); ++i) {
            room += rounded(Ranges[i].bytes) + sizeof(journal_record);
        }
        return room <= sizeof(journal::records) - held_back;
    }

    // Writes the parts of a section's first records that are known in advance to `first`, its
    // journal. While other threads may be waiting, only the rest has to be written ...
    template <const auto& Ranges, std::size_t... Index>
    [[gnu::always_inline]] void prepare_first(journal& first, const void* object,
                                              std::index_sequence<Index...> /*all*/) noexcept {
        [[maybe_unused]] char* into = first.records;
        [[maybe_unused]] const std::uint64_t where = distance_to(object);
        ((write_record(into + rounded(Ranges[Index].bytes), where + Ranges[Index].offset,
                       Ranges[Index].bytes),
          into += rounded(Ranges[Index].bytes) + sizeof(journal_record)),
         ...);
    }

    // ... by this: the bytes, and one store to the end of the journal.
    template <const auto& Ranges, std::size_t... Index>
    [[gnu::always_inline]] void save_first(journal& first, const void* object,
                                           std::index_sequence<Index...> /*all*/) noexcept {
        char* into = first.records;
        ((std::memcpy(into, static_cast<const char*>(object) + Ranges[Index].offset,
                      Ranges[Index].bytes),
          into += rounded(Ranges[Index].bytes) + sizeof(journal_record)),
         ...);
        store_in_order(first.top, distance_to(into));
    }

    // Saves one word of 8 bytes, as most operations do.
    void save_word(const void* at, std::error_code& ec) noexcept { save(at, 8, ec); }

    // Allocates a block, which is freed if the section is undone. nullptr and an error as from the
    // heap.
    [[gnu::cold]] void* allocate(std::uint64_t bytes, std::uint64_t alignment,
                                 std::error_code& ec) noexcept;

    // Appends the first record of a section that begins while sections of other mappings of the
    // segment are open.
    [[gnu::cold]] void append_within(std::uint64_t around) noexcept;

    // Frees a block at the end of the section. In a full segment, in which the journal has no room
    // for the record, the promise is in private memory, and a kill leaks the block.
    [[gnu::cold]] void drop(const void* block) noexcept;

    // ---- ends

    // Commits the changes since `from`.
    void commit(const savepoint& from) noexcept {
        if (promises == from.promises) {
            store_in_order(log->top, from.top);
        } else {
            reader().finish(from.top);
            finish_own(from);
        }
        if (limit != from.limit) [[unlikely]] { // usually there is nothing to store
            limit = from.limit;
        }
    }

    // Commits the changes since `from` by storing the value in the word: they are committed if and
    // only if the word gets the value. `queue`: it is the slot word of a queue, which other threads
    // may change as soon as it has the value.
    void commit_by(const savepoint& from, std::atomic<std::uint64_t>& word, std::uint64_t value,
                   bool queue) noexcept {
        log->witness_floor.store(from.top, std::memory_order_relaxed);
        log->witness_value.store(value, std::memory_order_relaxed);
        store_in_order(log->witness, distance_to(&word) + (queue ? 1 : 0));
        word.store(value, std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        reader().finish(from.top);
        finish_own(from);
        limit = from.limit;
    }

    // Undoes the changes since `from`.
    [[gnu::cold]] void roll_back(const savepoint& from) noexcept;

    // Called when an object outside the segment ends: nothing of it is restored any more.
    [[gnu::cold]] void forget(const void* object, std::size_t bytes) noexcept;

    // ---- watermarks

    void forget_watermarks() noexcept {
        if (marked) [[unlikely]] {
            clear_watermarks();
        }
    }

    [[nodiscard]] watermark& watermark_of(const void* vector) noexcept {
        return watermarks[(reinterpret_cast<std::uintptr_t>(vector) >> 5) % watermark_count];
    }

    // ---- locks

    // Keeps a lock until the end of the section. make_room must have been called before.
    [[gnu::cold]] void keep(const deferred_unlock& lock) noexcept;

    // Keeps the lock with which an outermost section begins.
    void keep_first(const deferred_unlock& lock) noexcept {
        state.locked = true;
        locks.set_first(lock.lock, lock.release);
    }

    [[nodiscard]] bool keeps(const void* lock) const noexcept {
        return (state.locked && locks.first.lock == lock) || locks.keeps(lock);
    }

    // Releases the locks, the last one first.
    [[gnu::cold]] void release_locks() noexcept;

  private:
    void clear_watermarks() noexcept;

    [[nodiscard]] private_undo::moment now() const noexcept {
        return {promises, log->top.load(std::memory_order_relaxed)};
    }

    [[gnu::cold]] void finish_own(const savepoint& from) noexcept;

    void promise() noexcept {
        ++promises;
        state.more = true;
    }

    static constexpr std::size_t largest_inline = 4096;
    // How many bytes of a shift are kept: during the move, for which longer steps are not faster,
    // and afterwards.
    static constexpr std::uint64_t most_kept = 2048;
    static constexpr std::uint64_t most_kept_when_done = 128;
    // The room after the limit, for the records that lead to another chunk.
    static constexpr std::uint64_t spare_bytes = 2 * sizeof(journal_record) + 8;
    // Further room for the words of a few vectors, if the journal cannot get another chunk. The
    // second half of it is for operations that must not fail.
    static constexpr std::uint64_t last_bytes = 192;
    static constexpr std::size_t vector_bytes = 24;
    static constexpr std::uint64_t held_back = spare_bytes + last_bytes;

    [[nodiscard]] static constexpr std::uint64_t rounded(std::uint64_t bytes) noexcept {
        return (bytes + 7) / 8 * 8;
    }

    [[nodiscard]] std::uint64_t distance_to(const void* address) const noexcept {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(
            reinterpret_cast<std::intptr_t>(address) - reinterpret_cast<std::intptr_t>(header)));
    }

    // Is there room in the chunk? Also false if another process has damaged `top`, so that it is
    // elsewhere.
    [[nodiscard]] bool fits(std::uint64_t top, std::uint64_t room) const noexcept {
        // Addresses that far below the chunk are still in the segment.
        static_assert(heap::offset + sizeof(heap) + journal::size - held_back >
                      journal::chunk_size + largest_inline + sizeof(journal_record));
        return limit - top - (room + sizeof(journal_record)) <= journal::chunk_size;
    }

    // Writes the bytes and their record.
    void write(char* into, const void* at, std::size_t bytes) const noexcept {
        std::memcpy(into, at, bytes);
        write_record(into + rounded(bytes), distance_to(at), bytes);
    }

    static void write_record(char* into, std::uint64_t where, std::size_t bytes) noexcept {
        store_pair(into, where, journal_record::word_of(journal_kind::bytes, bytes));
    }

    // The corresponding address in this mapping, if the address lies in another mapping of the
    // segment.
    [[nodiscard, gnu::cold]] const void* in_this_mapping(const void* at) const noexcept;

    [[gnu::cold]] void save_slowly(const void* at, std::size_t bytes, std::error_code& ec) noexcept;

    [[gnu::cold]] void save_for_the_living(const void* at, std::size_t bytes, bool words) noexcept;

    // Saves in the room that is held back, if at least `left` bytes of it remain.
    [[nodiscard, gnu::cold]] bool save_at_last(const void* at, std::size_t bytes,
                                               std::uint64_t left) noexcept;

    // Has it already been saved in the journal since the last undoable section began?
    [[gnu::cold]] bool has_saved(const void* at, std::size_t bytes) noexcept;

    // Is there room for a record, if necessary in a further chunk?
    [[nodiscard]] bool has_room_now(std::uint64_t room) noexcept {
        if (fits(log->top.load(std::memory_order_relaxed), room)) [[likely]] {
            return true;
        }
        if (full) {
            return false;
        }
        const report_keeper keeper;
        std::error_code ec;
        add_chunk(room, ec);
        if (ec) {
            full = marked = true;
        }
        return !ec;
    }

    [[gnu::cold]] void save_or_throw(const void* at, std::size_t bytes);

    // Makes room for a record with `room` bytes before it, and returns the address for these bytes.
    // nullptr after an error.
    [[nodiscard]] char* reserve(std::uint64_t room, std::error_code& ec) noexcept {
        if (!fits(log->top.load(std::memory_order_relaxed), room)) [[unlikely]] {
            add_chunk(room, ec);
            if (ec) {
                return nullptr;
            }
        }
        return base() + log->top.load(std::memory_order_relaxed);
    }

    // How many bytes of a shift should be kept at once.
    [[nodiscard]] static std::uint64_t wanted_step(std::uint64_t bytes) noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        return bytes < most_kept ? (bytes + unit - 1) / unit * unit : most_kept;
    }

    // The padding before a kept step, because whole cache lines are copied faster.
    [[nodiscard]] static std::uint64_t before_step(std::uint64_t top) noexcept {
        return (std::uint64_t{0} - top) % byte_shift::least_kept;
    }

    // The size of what precedes the record.
    [[nodiscard]] static std::uint64_t shift_room(std::uint64_t top, std::uint64_t step) noexcept {
        return (step != 0 ? before_step(top) + step : 0) + sizeof(shift_words);
    }

    // How many bytes can be kept at once.
    [[nodiscard]] std::uint64_t room_for_shift(std::uint64_t top) const noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        const std::uint64_t room =
            limit - top - (shift_room(top, unit) - unit) - sizeof(journal_record);
        return room <= journal::chunk_size ? room / unit * unit : 0;
    }

    // Adds a chunk. If there is no memory for it, shorter steps that fit into the present room are
    // used.
    void make_room_for_shift(bool keeps, std::error_code& ec) noexcept;

    // Writes and appends the record of a shift that begins or is done.
    byte_shift append_shift(char* into, std::uint64_t kept, const char* place, std::uint64_t bytes,
                            std::ptrdiff_t distance, bool done) noexcept {
        auto* const words = ::new (static_cast<void*>(into + kept)) shift_words{
            bytes, static_cast<std::uint64_t>(static_cast<std::int64_t>(distance)),
            done ? byte_shift::end_of(bytes, distance) : byte_shift::begin_of(bytes, distance)};
        append(into + kept + sizeof *words,
               {distance_to(place),
                journal_record::word_of(journal_kind::shift, kept + sizeof *words)});
        return {const_cast<char*>(place), *words, kept + sizeof *words, bytes, distance};
    }

    // Writes a record and moves the end of the journal past it.
    void append(char* at, const journal_record& record) noexcept {
        std::memcpy(at, &record, sizeof record);
        store_in_order(log->top, static_cast<std::uint64_t>(at - base()) + sizeof record);
    }

    // Adds a chunk with room for a record with `room` bytes before it. The first chunk stays with
    // the journal. Further chunks, and short ones, are freed at the end of the section.
    [[gnu::cold]] void add_chunk(std::uint64_t room, std::error_code& ec) noexcept;

    [[nodiscard]] bool has_chunk_at_hand() const noexcept {
        return limit == first_limit() && log->chunk != 0;
    }

    // The first record of a chunk leads back to the records before.
    void begin_chunk(char* chunk, std::uint64_t size, std::uint64_t below) noexcept {
        std::memcpy(chunk, &limit, sizeof limit);
        const journal_record jump{below, journal_record::word_of(journal_kind::jump, 0)};
        std::memcpy(chunk + 8, &jump, sizeof jump);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        limit = distance_to(chunk) + size - held_back;
    }

    // Allocates a block and appends its record in one step.
    [[gnu::cold]] void* allocate_as(journal_kind kind, std::uint64_t bytes, std::uint64_t alignment,
                                    std::error_code& ec) noexcept;

    // Saves a large number of bytes in a block of their own.
    [[gnu::cold]] void save_apart(const void* at, std::size_t bytes, std::error_code& ec) noexcept;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/transaction.ipp>
#endif

#endif
