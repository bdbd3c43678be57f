// What a thread knows of a segment that it works on: who it is there, and its open section, as it
// writes that to its journal.
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

// What the end of a section has to look at, set and compared as one word.
struct alignas(8) section_state {
    std::uint32_t depth = 0; // sections that are open, one within the other
    bool undoable = false;   // can one of them be undone in a living process?
    bool locked = false;     // is there a first lock?
    // Anything that is not done with one store to the journal: promises, room outside of it,
    // further locks, sections of other segments that are open, too.
    bool more = false;
    bool unused = false;

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return std::bit_cast<std::uint64_t>(*this);
    }
};

// The part of a record that is to be found without the rest of it.
struct sections {
    section_state state;
    segment_header* header = nullptr;
};

// Of no record.
inline constexpr sections no_sections{};

// Of a thread of which this code does not know yet what other code has opened in it: looks as if
// there were a section, so that somebody asks.
inline constexpr sections unknown_sections{{.unused = true}, nullptr};

// Lives in the memory of its process; one for each thread and mapping. What every section looks at
// is in the first cache line.
struct alignas(64) thread_record : sections {
    owner_word me = nobody;
    journal* log = nullptr;
    std::uint64_t limit = 0; // offset of the end of the room for records
    // The attachment's, and where the mapping's is: a forked child must not use what it inherits.
    const std::atomic<std::uint64_t>* epoch_here = nullptr;
    std::uint64_t epoch = 0;

    // Exceptions under way in the thread.
    const unsigned* uncaught = uncaught_counter();
    std::uint64_t mapped = 0; // bytes of the segment's mapping
    private_undo own;         // each entry counts as a promise, so that commit sees to it

    // Locks to release at the end of the section.
    deferred_unlocks locks;

    std::uint32_t promises = 0; // records that have to be executed on commit
    // Depth of the first section that can be undone, if one that cannot is around it; else 0.
    std::uint32_t undoable_from = 0;
    bool marked = false; // is any of the watermarks in use, or of the two below?
    bool full = false;   // in the section, there was no room for more of the journal
    bool unkept = false; // bytes of the segment are saved in private memory alone
    // Where the journal ended when the last section began that can be undone within another.
    std::uint64_t undo_floor = 0;
    thread_record* next_open = nullptr; // whose section was open when this one's was opened

    // The vectors, by their addresses, that the section has changed last, and the least size that
    // each has had since: elements from there on need not be saved again.
    struct watermark {
        const void* of = nullptr;
        std::uint64_t size = 0;
    };

    static constexpr std::size_t watermark_count = 4;
    watermark watermarks[watermark_count];

    // Bytes that are saved already.
    struct range {
        std::uintptr_t first = 0;
        std::size_t bytes = 0;
    };

    range covered;

    std::uint64_t process = 0;         // its process_stamp
    const void* late_thread = nullptr; // of a thread that has ended: nobody else deletes it

    // Who puts an end to it: its thread, or who unmaps the segment.
    enum life : std::uint32_t { live, ending, orphaned };

    std::atomic<std::uint32_t> ended{live};
    thread_record* next_in_mapping = nullptr;
    thread_record* next_in_thread = nullptr;

    thread_record() = default;
    thread_record(const thread_record&) = delete;
    thread_record& operator=(const thread_record&) = delete;
    ~thread_record() = default;

    [[nodiscard]] char* base() const noexcept { return reinterpret_cast<char*>(header); }

    // For the heap's lock, which no thread holds longer than it runs.
    [[nodiscard]] owner_word process_word() const noexcept {
        return make_owner(slot_of(me), generation_of(me), 0);
    }

    [[nodiscard]] journal_reader reader() noexcept {
        return {*header, *log, process_word(), false};
    }

    [[nodiscard]] savepoint here() const noexcept {
        return {log->top.load(std::memory_order_relaxed), limit, promises};
    }

    // Where the journal ends while no section is open.
    [[nodiscard]] std::uint64_t first_top() const noexcept { return distance_to(log->records); }

    // Was it the process that forked this one?
    [[nodiscard]] bool is_inherited() const noexcept {
        return epoch_here->load(std::memory_order_relaxed) != epoch;
    }

    // Of the room that the journal has in itself.
    [[nodiscard]] std::uint64_t first_limit() const noexcept {
        return distance_to(log) + journal::size - held_back;
    }

    // Where an outermost section begins.
    [[nodiscard]] savepoint first() const noexcept { return {first_top(), first_limit(), 0}; }

    // ---- records. All are written before what they are about.

    [[nodiscard]] bool is_inside(const void* at) const noexcept {
        return reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(header) <
               mapped;
    }

    // What save() does if it need not ask for memory; else false, and nothing has happened.
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

    // Keeps the bytes, to be put back; those of an object outside of the segment, on a stack, if
    // the section is undone in this process. Nothing is changed after an error: errc::out_of_space,
    // reserve_exceeded, corrupt.
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

    // The same for a change that must not fail. In a full segment, where the journal has no room
    // either, the bytes are in private memory: after a kill they are not put back. `words`: they
    // are a vector's, for which some room is held back.
    void save_anyhow(const void* at, std::size_t bytes, bool words) noexcept {
        if (!save_at_hand(at, bytes)) [[unlikely]] {
            save_for_the_living(at, bytes, words);
        }
    }

    // Can shift() do without the heap?
    [[nodiscard]] bool has_room_for_shift() const noexcept {
        return room_for_shift(log->top.load(std::memory_order_relaxed)) >= byte_shift::least_kept;
    }

    // The same, with the heap's help.
    [[nodiscard]] bool make_room_to_shift() noexcept {
        return has_room_for_shift() || has_room_now(shift_room(0, byte_shift::least_kept));
    }

    // Moves bytes of the segment, so that they go back if this is undone; what was where they go is
    // not put back. Nothing has happened after an error, as from save(), which is had only if the
    // journal is full as well.
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
            // Undoing can do with less, and other records of the section follow.
            moved = append_shift(into, before + most_kept_when_done, place, bytes, distance, true);
        }
        return moved;
    }

    // Stretches of an object that are known to the compiler: have they room in the journal itself?
    template <const auto& Ranges>
    [[nodiscard]] static constexpr bool fits_first() noexcept {
        std::uint64_t room = 0;
        for (std::size_t i = 0; i < Ranges.size(); ++i) {
            room += rounded(Ranges[i].bytes) + sizeof(journal_record);
        }
        return room <= sizeof(journal::records) - held_back;
    }

    // Writes what is known before the first save of a section, which goes to `first`, its journal:
    // so what has to be written while others may wait is no more than ...
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

    // ... this: the bytes, and one step of the journal's end.
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

    // One word of 8 bytes: what most operations save.
    void save_word(const void* at, std::error_code& ec) noexcept { save(at, 8, ec); }

    // A block for this section: if the section is undone, it is freed. nullptr and an error as from
    // the heap.
    [[gnu::cold]] void* allocate(std::uint64_t bytes, std::uint64_t alignment,
                                 std::error_code& ec) noexcept;

    // The first one of a section that begins while sections of other mappings of the segment are
    // open.
    [[gnu::cold]] void append_within(std::uint64_t around) noexcept;

    // Frees a block at the end of the section. In a full segment, where the journal has no room for
    // that, it is promised in private memory: a kill leaks the block.
    [[gnu::cold]] void drop(const void* block) noexcept;

    // ---- ends

    // What happened since `from` stays.
    void commit(const savepoint& from) noexcept {
        if (promises == from.promises) {
            store_in_order(log->top, from.top);
        } else {
            reader().finish(from.top);
            finish_own(from);
        }
        if (limit != from.limit) [[unlikely]] { // most often there is nothing to store
            limit = from.limit;
        }
    }

    // What happened since `from` stays if, and only if, the word gets the value: done by this.
    // `queue`: it is a slot word of a queue, which others may change as soon as it has the value.
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

    // What happened since `from` never was.
    [[gnu::cold]] void roll_back(const savepoint& from) noexcept;

    // An object outside the segment ends: nothing of it is to be put back.
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

    // Keeps a lock until the end of the section, after make_room.
    [[gnu::cold]] void keep(const deferred_unlock& lock) noexcept;

    // That of an outermost section that begins with a lock.
    void keep_first(const deferred_unlock& lock) noexcept {
        state.locked = true;
        locks.set_first(lock.lock, lock.release);
    }

    [[nodiscard]] bool keeps(const void* lock) const noexcept {
        return (state.locked && locks.first.lock == lock) || locks.keeps(lock);
    }

    // The last one first.
    [[gnu::cold]] void release_locks() noexcept;

  private:
    [[gnu::noinline]] void clear_watermarks() noexcept {
        for (watermark& each : watermarks) {
            each.of = nullptr;
        }
        full = false;
        marked = unkept = unkept && own.has(0);
    }

    [[nodiscard]] private_undo::moment now() const noexcept {
        return {promises, log->top.load(std::memory_order_relaxed)};
    }

    [[gnu::cold]] void finish_own(const savepoint& from) noexcept;

    void promise() noexcept {
        ++promises;
        state.more = true;
    }

    static constexpr std::size_t largest_inline = 4096;
    // Of a shift: while it happens, longer steps are not faster; afterwards.
    static constexpr std::uint64_t most_kept = 2048;
    static constexpr std::uint64_t most_kept_when_done = 128;
    // What is left behind the limit, for the records that lead to another chunk.
    static constexpr std::uint64_t spare_bytes = 2 * sizeof(journal_record) + 8;
    // And before that, for the words of a few vectors, if the journal cannot have another chunk:
    // the second half of it is for operations that must not fail.
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

    // Is there room in the chunk? Not if somebody has damaged `top`, so that it is elsewhere.
    [[nodiscard]] bool fits(std::uint64_t top, std::uint64_t room) const noexcept {
        // What is below the chunk by that much is in the segment.
        static_assert(heap::offset + sizeof(heap) + journal::size - held_back >
                      journal::chunk_size + largest_inline + sizeof(journal_record));
        return limit - top - (room + sizeof(journal_record)) <= journal::chunk_size;
    }

    // The bytes and their record.
    void write(char* into, const void* at, std::size_t bytes) const noexcept {
        std::memcpy(into, at, bytes);
        write_record(into + rounded(bytes), distance_to(at), bytes);
    }

    static void write_record(char* into, std::uint64_t where, std::size_t bytes) noexcept {
        store_pair(into, where, journal_record::word_of(journal_kind::bytes, bytes));
    }

    // The same place of the segment, if this is one of it in another mapping.
    [[nodiscard, gnu::cold]] const void* in_this_mapping(const void* at) const noexcept;

    [[gnu::cold]] void save_slowly(const void* at, std::size_t bytes, std::error_code& ec) noexcept;

    [[gnu::cold]] void save_for_the_living(const void* at, std::size_t bytes, bool words) noexcept;

    // In what is held back of the journal, of which so many bytes are to be left.
    [[nodiscard, gnu::cold]] bool save_at_last(const void* at, std::size_t bytes,
                                               std::uint64_t left) noexcept;

    // Is it in the journal already, since the last section began that may be undone?
    [[gnu::cold]] bool has_saved(const void* at, std::size_t bytes) noexcept;

    // Is there room, or room to be had, for a record?
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

    // Room for a record with so many bytes before it: where these go. nullptr after an error.
    [[nodiscard]] char* reserve(std::uint64_t room, std::error_code& ec) noexcept {
        if (!fits(log->top.load(std::memory_order_relaxed), room)) [[unlikely]] {
            add_chunk(room, ec);
            if (ec) {
                return nullptr;
            }
        }
        return base() + log->top.load(std::memory_order_relaxed);
    }

    // How many bytes of a shift should be kept at a time.
    [[nodiscard]] static std::uint64_t wanted_step(std::uint64_t bytes) noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        return bytes < most_kept ? (bytes + unit - 1) / unit * unit : most_kept;
    }

    // Cache lines are copied faster as a whole.
    [[nodiscard]] static std::uint64_t before_step(std::uint64_t top) noexcept {
        return (std::uint64_t{0} - top) % byte_shift::least_kept;
    }

    // Of what is before the record.
    [[nodiscard]] static std::uint64_t shift_room(std::uint64_t top, std::uint64_t step) noexcept {
        return (step != 0 ? before_step(top) + step : 0) + sizeof(shift_words);
    }

    // How many bytes can be kept at a time.
    [[nodiscard]] std::uint64_t room_for_shift(std::uint64_t top) const noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        const std::uint64_t room =
            limit - top - (shift_room(top, unit) - unit) - sizeof(journal_record);
        return room <= journal::chunk_size ? room / unit * unit : 0;
    }

    // Another chunk. If memory runs out, shorter steps have to do, which fit the journal's own
    // room.
    [[gnu::noinline]] void make_room_for_shift(bool keeps, std::error_code& ec) noexcept {
        if (has_chunk_at_hand() || !keeps || !has_room_for_shift()) {
            add_chunk(shift_room(0, byte_shift::least_kept), ec);
        } else {
            const report_keeper keeper;
            std::error_code none;
            add_chunk(shift_room(0, byte_shift::least_kept), none);
        }
    }

    // Writes the record of a shift, begun or done, and lets it count.
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

    // Writes a record and lets it count.
    void append(char* at, const journal_record& record) noexcept {
        std::memcpy(at, &record, sizeof record);
        store_in_order(log->top, static_cast<std::uint64_t>(at - base()) + sizeof record);
    }

    // The first chunk stays with the journal, further ones, and short ones, go with the section.
    // There is room for a record with so many bytes before it.
    [[gnu::cold]] void add_chunk(std::uint64_t room, std::error_code& ec) noexcept;

    [[nodiscard]] bool has_chunk_at_hand() const noexcept {
        return limit == first_limit() && log->chunk != 0;
    }

    // Its first record leads back to those before.
    void begin_chunk(char* chunk, std::uint64_t size, std::uint64_t below) noexcept {
        std::memcpy(chunk, &limit, sizeof limit);
        const journal_record jump{below, journal_record::word_of(journal_kind::jump, 0)};
        std::memcpy(chunk + 8, &jump, sizeof jump);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        limit = distance_to(chunk) + size - held_back;
    }

    // A block, and the record of it, in one step.
    [[gnu::cold]] void* allocate_as(journal_kind kind, std::uint64_t bytes, std::uint64_t alignment,
                                    std::error_code& ec) noexcept;

    // Many bytes go to a block of their own.
    [[gnu::cold]] void save_apart(const void* at, std::size_t bytes, std::error_code& ec) noexcept;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/transaction.ipp>
#endif

#endif
