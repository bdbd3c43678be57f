// The writer of a journal: appends the records of a thread's section, and finds room for them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_JOURNAL_WRITER_HPP
#define COHOLD_ENGINE_JOURNAL_WRITER_HPP

#include <bit>
#include <utility>

#include <cohold/engine/journal.hpp>
#include <cohold/engine/shared_block.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Everything that the end of a section must check, set and compared as one word.
struct alignas(8) section_state {
    std::uint32_t depth = 0; // the number of nested open sections
    bool undoable = false;   // can one of them be undone in a live process?
    bool locked = false;     // is there a first lock?
    // Is there anything that one store to the journal does not end: promises, room outside the
    // journal, further locks, or open sections of other segments?
    bool more = false;
    bool full = false; // there was no room for more of the journal

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return std::bit_cast<std::uint64_t>(*this);
    }
};

// The state of an outermost section that has saved bytes only in the journal itself, and has done
// nothing else.
[[nodiscard]] constexpr section_state first_state(bool undoable, bool locked) noexcept {
    return {.depth = 1, .undoable = undoable, .locked = locked};
}

// The state of the journal at some moment, to which it can be rolled back.
struct savepoint {
    std::uint64_t top;
    std::uint64_t limit;
    std::uint32_t promises;
};

// The part of a transaction that the fast paths can find without the rest.
struct open_sections {
    section_state state;
    segment_header* segment = nullptr;
};

// It is in the private memory of the process, and the journal in the segment. All records are
// written before the changes that they describe.
class journal_writer : protected open_sections {
  public:
    // `mapped`: bytes. The epoch of the attachment is that of the mapping now. It changes there
    // when the mapping is detached, and in a forked child, which must not use what it has
    // inherited.
    journal_writer(segment_header& of, owner_word me, std::uint64_t mapped,
                   const std::atomic<std::uint64_t>& epoch) noexcept;

    journal_writer(const journal_writer&) = delete;
    journal_writer& operator=(const journal_writer&) = delete;

    // Called before anything is written.
    void use(journal& log) noexcept {
        log_ = &log;
        limit_ = first_limit();
        slabs_.begin(*segment, me_, log.slabs);
    }

    [[nodiscard]] segment_header& header() const noexcept { return *segment; }

    [[nodiscard]] journal& log() const noexcept { return *log_; }

    // What the thread knows about its slabs.
    [[nodiscard]] slab_cache& slabs() noexcept { return slabs_; }

    // The owner word of the thread.
    [[nodiscard]] owner_word word() const noexcept { return me_; }

    // For the heap's lock, which is held for the process and not for a thread.
    [[nodiscard]] owner_word process_word() const noexcept {
        return make_owner(slot_of(me_), generation_of(me_), 0);
    }

    // Which attachment of the process to the segment this is.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

    // Does the journal belong to the process that forked this one?
    [[nodiscard]] bool is_inherited() const noexcept {
        return epoch_here_->load(std::memory_order_relaxed) != epoch_;
    }

    // Is the address in the mapping?
    [[nodiscard]] bool is_inside(std::uintptr_t address) const noexcept {
        return address - reinterpret_cast<std::uintptr_t>(segment) < mapped_;
    }

    [[nodiscard]] bool is_inside(const void* at) const noexcept {
        return is_inside(reinterpret_cast<std::uintptr_t>(at));
    }

    [[nodiscard]] savepoint here() const noexcept { return {top(), limit_, promises_}; }

    // The savepoint at the beginning of an outermost section.
    [[nodiscard]] savepoint first() const noexcept { return {first_top(), first_limit(), 0}; }

    // ---- bytes

    // Saves if that needs no further memory. Otherwise returns false and does nothing.
    [[nodiscard, gnu::always_inline]] bool save_at_hand(const void* at,
                                                        std::size_t bytes) noexcept {
        const std::uint64_t top = log_->top.load(std::memory_order_relaxed);
        const std::uint64_t room = rounded(bytes);
        if (!is_inside(at) || bytes > largest_inline || !fits(top, room)) [[unlikely]] {
            return false;
        }
        write(base() + top, at, bytes);
        store_in_order(log_->top, top + room + sizeof(journal_record));
        return true;
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

    // ---- moves

    // Can shift() work without the heap?
    [[nodiscard]] bool has_room_for_shift() const noexcept {
        return room_for_shift(top()) >= byte_shift::least_kept;
    }

    // The same, if necessary with a chunk from the heap.
    [[nodiscard]] bool make_room_to_shift() noexcept {
        return has_room_for_shift() || has_room_now(shift_room(0, byte_shift::least_kept));
    }

    // Moves bytes of the segment, so that they are moved back when the section is undone. The bytes
    // that they overwrite are not restored. An error changes nothing. Errors are those of
    // transaction::save, and happen only if the journal is full too.
    byte_shift shift(char* place, std::size_t bytes, std::ptrdiff_t distance,
                     std::error_code& ec) noexcept {
        const bool keeps = byte_shift::keeps(bytes, distance);
        std::uint64_t step = keeps ? wanted_step(bytes) : 0;
        std::uint64_t top = log_->top.load(std::memory_order_relaxed);
        if (!fits(top, shift_room(top, step))) [[unlikely]] {
            make_room_for_shift(keeps, ec);
            if (ec) {
                return {place, 0, distance};
            }
            top = log_->top.load(std::memory_order_relaxed);
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

    // ---- blocks

    // Allocates a block, which is freed if the section is undone. nullptr and an error as from the
    // heap.
    [[gnu::cold]] void* allocate(std::uint64_t bytes, std::uint64_t alignment,
                                 std::error_code& ec) noexcept;

    // ---- sections around

    // Appends the first record of a section that begins while sections of other mappings of the
    // segment are open.
    [[gnu::cold]] void append_within(std::uint64_t around) noexcept;

  protected:
    ~journal_writer() = default;

    [[nodiscard]] char* base() const noexcept { return reinterpret_cast<char*>(segment); }

    [[nodiscard]] journal_reader reader() noexcept {
        return {*segment, *log_, process_word(), &slabs_};
    }

    [[nodiscard]] std::uint64_t top() const noexcept {
        return log_->top.load(std::memory_order_relaxed);
    }

    // The end of the journal while no section is open.
    [[nodiscard]] std::uint64_t first_top() const noexcept { return distance_to(log_->records); }

    [[nodiscard]] std::uint64_t distance_to(const void* address) const noexcept {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(
            reinterpret_cast<std::intptr_t>(address) - reinterpret_cast<std::intptr_t>(segment)));
    }

    // Called before the word gets the value by which the records after `from` are committed.
    void call_witness(const savepoint& from, const std::atomic<std::uint64_t>& word,
                      std::uint64_t value, witness_kind kind) noexcept {
        log_->witness_floor.store(from.top, std::memory_order_relaxed);
        log_->witness_value.store(value, std::memory_order_relaxed);
        store_in_order(log_->witness, distance_to(&word) + static_cast<std::uint64_t>(kind));
    }

    // ---- promises: records to be executed on commit

    [[nodiscard]] std::uint32_t promises() const noexcept { return promises_; }

    void promise() noexcept {
        ++promises_;
        state.more = true;
    }

    // After the promises of the section that began there have been kept, or undone.
    void return_to(const savepoint& from) noexcept {
        promises_ = from.promises;
        if (limit_ != from.limit) [[unlikely]] { // usually there is nothing to store
            limit_ = from.limit;
        }
    }

    // ---- records that are not at hand

    // Saves bytes of the segment.
    void save_inside(const void* at, std::size_t bytes, std::error_code& ec) noexcept;

    // Saves in the room that is held back for the words of a few vectors, if there is enough of it.
    // `last`: of all of it, for an operation that must not fail; otherwise of half.
    [[nodiscard, gnu::cold]] bool save_at_last(const void* at, std::size_t bytes,
                                               bool last) noexcept;

    // Has it already been saved in the journal after `floor`?
    [[gnu::cold]] bool has_saved(const void* at, std::size_t bytes, std::uint64_t floor) noexcept {
        return reader().has_saved(distance_to(at), bytes, floor);
    }

    // Promises to free a block. False if there is no room for the record.
    [[nodiscard, gnu::cold]] bool append_drop(const void* block) noexcept;

    // ---- shared objects

    // Promises to uncount a reference, or to free the memory of a destroyed object. False if there
    // is no room for the record.
    [[nodiscard, gnu::cold]] bool append_promise(journal_kind kind, const shared_block& block,
                                                 reference which) noexcept;

    // Counts a reference. False if there is no room for the record; it is counted all the same.
    [[nodiscard, gnu::cold]] bool append_count(shared_block& block, reference which) noexcept;

    // Adds a new object, held by this process, to the segment's list.
    [[gnu::cold]] void append_link(shared_block& block, std::error_code& ec) noexcept;

  private:
    // Appends a record as a part of a change of the heap. There must be room for it.
    [[gnu::cold]] void append_in(heap::change& change, journal_kind kind, const shared_block& block,
                                 reference which) noexcept;

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

    // The limit of the room in the journal itself.
    [[nodiscard]] std::uint64_t first_limit() const noexcept {
        return distance_to(log_) + journal::size - held_back;
    }

    [[nodiscard]] static constexpr std::uint64_t rounded(std::uint64_t bytes) noexcept {
        return (bytes + 7) / 8 * 8;
    }

    // Is there room in the chunk? Also false if another process has damaged `top`, so that it is
    // elsewhere.
    [[nodiscard]] bool fits(std::uint64_t top, std::uint64_t room) const noexcept {
        // Addresses that far below the chunk are still in the segment.
        static_assert(heap::offset + sizeof(heap) + journal::size - held_back >
                      journal::chunk_size + largest_inline + sizeof(journal_record));
        return limit_ - top - (room + sizeof(journal_record)) <= journal::chunk_size;
    }

    // Writes the bytes and their record.
    void write(char* into, const void* at, std::size_t bytes) const noexcept {
        std::memcpy(into, at, bytes);
        write_record(into + rounded(bytes), distance_to(at), bytes);
    }

    static void write_record(char* into, std::uint64_t where, std::size_t bytes) noexcept {
        store_pair(into, where, journal_record::word_of(journal_kind::bytes, bytes));
    }

    // Writes a record and moves the end of the journal past it.
    void append(char* at, const journal_record& record) noexcept {
        std::memcpy(at, &record, sizeof record);
        store_in_order(log_->top, static_cast<std::uint64_t>(at - base()) + sizeof record);
    }

    // Makes room for a record with `room` bytes before it, and returns the address for these bytes.
    // nullptr after an error.
    [[nodiscard]] char* reserve(std::uint64_t room, std::error_code& ec) noexcept {
        if (!fits(top(), room)) [[unlikely]] {
            add_chunk(room, ec);
            if (ec) {
                return nullptr;
            }
        }
        return base() + top();
    }

    // Is there room for a record, if necessary in a further chunk?
    [[nodiscard, gnu::cold]] bool has_room_now(std::uint64_t room) noexcept;

    // Adds a chunk with room for a record with `room` bytes before it. The first chunk stays with
    // the journal. Further chunks, and short ones, are freed at the end of the section.
    [[gnu::cold]] void add_chunk(std::uint64_t room, std::error_code& ec) noexcept;

    [[nodiscard]] bool has_chunk_at_hand() const noexcept {
        return limit_ == first_limit() && log_->chunk != 0;
    }

    // The first record of a chunk leads back to the records before.
    void begin_chunk(char* chunk, std::uint64_t size, std::uint64_t below) noexcept;

    // Allocates a block and appends its record in one step.
    [[gnu::cold]] void* allocate_as(journal_kind kind, std::uint64_t bytes, std::uint64_t alignment,
                                    std::error_code& ec) noexcept;

    // Saves a large number of bytes in a block of their own.
    [[gnu::cold]] void save_apart(const void* at, std::size_t bytes, std::error_code& ec) noexcept;

    // How many bytes of a shift should be kept at once.
    [[nodiscard]] static std::uint64_t wanted_step(std::uint64_t bytes) noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        return bytes < most_kept ? (bytes + unit - 1) / unit * unit : most_kept;
    }

    // The padding before a kept step, because whole cache lines are copied faster.
    [[nodiscard]] static std::uint64_t before_step(std::uint64_t top) noexcept {
        return (std::uint64_t{0} - top) % byte_shift::least_kept;
    }

    // The number of bytes before the record that belong to it.
    [[nodiscard]] static std::uint64_t shift_room(std::uint64_t top, std::uint64_t step) noexcept {
        return (step != 0 ? before_step(top) + step : 0) + sizeof(shift_words);
    }

    // How many bytes can be kept at once.
    [[nodiscard]] std::uint64_t room_for_shift(std::uint64_t top) const noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        const std::uint64_t room =
            limit_ - top - (shift_room(top, unit) - unit) - sizeof(journal_record);
        return room <= journal::chunk_size ? room / unit * unit : 0;
    }

    // Adds a chunk. If there is no memory for it, shorter steps that fit into the present room are
    // used.
    [[gnu::cold]] void make_room_for_shift(bool keeps, std::error_code& ec) noexcept;

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

    owner_word me_;
    journal* log_ = nullptr;
    std::uint64_t limit_ = 0; // offset of the end of the room for records
    const std::atomic<std::uint64_t>* epoch_here_;
    std::uint64_t epoch_;
    std::uint64_t mapped_;       // bytes of the mapping
    std::uint32_t promises_ = 0; // the number of records to be executed on commit
    slab_cache slabs_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/journal_writer.ipp>
#endif

#endif
