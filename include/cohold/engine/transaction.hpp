// The transaction of a thread in a segment: what the thread changes there in a section happens
// completely or not at all, and the locks of the section are released at its end.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_TRANSACTION_HPP
#define COHOLD_ENGINE_TRANSACTION_HPP

#include <utility>

#include <cohold/engine/deferred_unlock.hpp>
#include <cohold/engine/private_undo.hpp>
#include <cohold/os/thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// One for each thread and mapping. Sections of it are opened and ended by the functions in
// section.hpp, which know the other transactions of the thread, and call begin() and end() here.
// The first cache line has what every section uses.
class alignas(64) transaction : public journal_writer {
  public:
    using journal_writer::journal_writer;

    // ---- sections

    // The number of nested open sections.
    [[nodiscard]] std::uint32_t depth() const noexcept { return state.depth; }

    // Can one of them be undone in a live process?
    [[nodiscard]] bool is_undoable() const noexcept { return state.undoable; }

    // The number of uncaught exceptions of the thread.
    [[nodiscard]] unsigned uncaught() const noexcept { return *uncaught_; }

    // The most frequent section is the only one of its thread, and saves only a few bytes. Its cost
    // is stores, so it has few of them and no counters, and depends on no earlier value. Such a
    // section can begin if no other one is open in any segment.
    [[nodiscard]] bool is_idle() const noexcept { return state.word() == 0; }

    [[gnu::always_inline]] void begin_first(section_state first) noexcept { state = first; }

    // Commits the section if it has done no more than `first` says. Otherwise returns false and
    // does nothing.
    [[nodiscard, gnu::always_inline]] bool commit_first(section_state first) noexcept {
        if (state.word() != first.word() || is_inherited()) [[unlikely]] {
            return false;
        }
        store_in_order(log().top, first_top());
        return true;
    }

    // Ends the section after that.
    [[gnu::always_inline]] void end_first() noexcept {
        forget_sizes();
        state = {};
    }

    // Begins any section.
    void begin(bool undoable) noexcept;

    // Ends a section that is inside another one. Otherwise returns false and does nothing.
    [[nodiscard]] bool end_inner() noexcept;

    // Ends the outermost section after its changes have been committed or undone, and releases its
    // locks. `undone`: not by its own thread, which still has to look for other open sections.
    void end_outermost(bool undone = false) noexcept;

    // Says that one store to the journal will not be enough to end the section.
    void expect_more() noexcept { state.more = true; }

    // Commits the changes since `from`.
    void commit(const savepoint& from) noexcept {
        if (promises() == from.promises) {
            store_in_order(log().top, from.top);
            return_to(from);
        } else {
            finish(from);
        }
    }

    // The same, while the section stays open: what it has changed so far is not undone any more.
    [[gnu::cold]] void commit_so_far(const savepoint& from) noexcept;

    // Commits the changes since `from` by storing the value in the word, the witness: they are
    // committed if and only if the word gets the value.
    void commit_by(const savepoint& from, std::atomic<std::uint64_t>& word, std::uint64_t value,
                   witness_kind kind) noexcept {
        call_witness(from, word, value, kind);
        word.store(value, std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        finish(from);
        forget_sizes(); // what the section has saved is no longer saved
        state.full = false;
    }

    // Undoes the changes since `from`.
    [[gnu::cold]] void roll_back(const savepoint& from) noexcept;

    // ---- changes

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

    // Saves one word of 8 bytes, as most operations do.
    void save_word(const void* at, std::error_code& ec) noexcept { save(at, 8, ec); }

    // The same for a change that must not fail. In a full segment, in which the journal has no room
    // either, the bytes are saved in private memory, and are not restored after a kill. `words`:
    // they are the words of a vector, for which some room is held back.
    [[gnu::cold]] void save_anyhow(const void* at, std::size_t bytes, bool words) noexcept;

    // Frees a block at the end of the section. In a full segment, in which the journal has no room
    // for the record, the promise is in private memory, and a kill leaks the block.
    [[gnu::cold]] void drop(const void* block) noexcept;

    // Called when an object outside the segment ends: nothing of it is restored any more.
    [[gnu::cold]] void forget(const void* object, std::size_t bytes) noexcept;

    // ---- shared objects

    // Counts a reference in the segment, which is uncounted if the section is undone. In a full
    // segment, in which the journal has no room, it stays counted after a kill.
    [[gnu::cold]] void count(shared_block& block, reference which) noexcept;

    // Uncounts one at the end of the section. In a full segment, it stays counted after a kill.
    [[gnu::cold]] void release_reference(shared_block& block, reference which) noexcept;

    // Adds a new object to the segment's list, held by this process. It is removed if the section
    // is undone.
    [[gnu::cold]] void link(shared_block& block, std::error_code& ec) noexcept {
        append_link(block, ec);
    }

    // Frees the memory of an orphan, which has been destroyed, at the end of the section.
    [[gnu::cold]] void end(shared_block& block) noexcept;

    // Registers what is to be done with a pointer outside the segment at the end of the section, or
    // when it is undone. False if there is not enough memory.
    [[nodiscard, gnu::cold]] bool act(const private_undo::action& what) noexcept;

    // Says that the section may leave orphans, so that its end looks for them.
    void expect_orphans() noexcept {
        state.more = true;
        releases_ = true;
    }

    // Did the section that has ended expect orphans?
    [[nodiscard]] bool has_released() noexcept { return std::exchange(releases_, false); }

    // Is the thread destroying orphans? Returns what was set before.
    bool collect(bool now) noexcept { return std::exchange(collecting_, now); }

    // ---- what need not be saved

    struct range {
        std::uintptr_t first = 0;
        std::size_t bytes = 0;
    };

    // Bytes that are saved already need not be saved again. Nor do bytes outside the segment, on a
    // stack for instance: if the process dies they are gone, and in a living one only an undoable
    // section can be undone.
    [[nodiscard]] bool needs_saved(const void* at) const noexcept {
        return reinterpret_cast<std::uintptr_t>(at) - covered_.first >= covered_.bytes &&
               (is_inside(at) || state.undoable);
    }

    // Bytes that are saved already, from now on; returns those that were before.
    range cover(range bytes) noexcept { return std::exchange(covered_, bytes); }

    // The smallest size that a vector has had since its size was saved in this section. Its
    // elements from there on need not be saved. Only the sizes of the last few vectors are known;
    // nullptr if this one is not.
    [[nodiscard]] std::uint64_t* saved_size(const void* vector) noexcept {
        known_size& place = place_of(vector);
        return place.vector == vector ? &place.size : nullptr;
    }

    void note_size(const void* vector, std::uint64_t size) noexcept {
        place_of(vector) = {vector, size};
        marked_ = true;
    }

    // Also forgets another vector that has the same place.
    void forget_size(const void* vector) noexcept { place_of(vector) = {}; }

    // Are there bytes of the segment that are saved only in private memory?
    [[nodiscard]] bool is_unkept() const noexcept { return unkept_; }

    // ---- locks

    // Makes room for keep(). False if there is not enough memory.
    [[nodiscard, gnu::cold]] bool make_room_for_lock() noexcept { return locks_.make_room(); }

    // Keeps a lock until the outermost section ends. Returns its number.
    [[gnu::cold]] std::uint32_t keep(const deferred_unlock& lock) noexcept;

    // The lock with which an outermost section begins, whose state says that there is one. Its
    // number is 0.
    void set_first_lock(void* lock, deferred_unlock::function release) noexcept {
        locks_.set_first(lock, release);
    }

    [[gnu::cold]] void keep_first(void* lock, deferred_unlock::function release) noexcept {
        state.locked = true;
        locks_.set_first(lock, release);
    }

    [[nodiscard]] bool keeps(const void* lock) const noexcept {
        return (state.locked && locks_.is_first(lock)) || locks_.keeps(lock);
    }

    // Where the section began that kept the lock with this number.
    [[nodiscard]] savepoint begin_of(std::uint32_t number) const noexcept {
        return number == 0 ? first() : locks_.from(number);
    }

    // Called at the end of that section: the lock stays locked until the outermost section ends.
    void end_of(std::uint32_t number) noexcept {
        if (number != 0) {
            locks_.end(number);
        }
    }

    // Forgets a lock if it was kept last. Otherwise returns false.
    [[nodiscard]] bool forget_lock(const void* lock) noexcept { return locks_.forget_last(lock); }

    // ---- for the thread, which has a list of its transactions with open sections

    [[nodiscard]] const open_sections& sections() const noexcept { return *this; }

    // The transaction of which these are the sections.
    [[nodiscard]] static transaction& of(const open_sections& sections) noexcept {
        return const_cast<transaction&>(static_cast<const transaction&>(sections));
    }

    // The one whose section was opened before this one's, if both are open.
    [[nodiscard]] transaction* next_open() const noexcept { return next_open_; }

    void set_next_open(transaction* next) noexcept { next_open_ = next; }

    // Where to find the number of the thread's uncaught exceptions.
    void count_exceptions_in(const unsigned* uncaught) noexcept { uncaught_ = uncaught; }

  private:
    struct known_size {
        const void* vector = nullptr;
        std::uint64_t size = 0;
    };

    [[nodiscard]] known_size& place_of(const void* vector) noexcept {
        return sizes_[(reinterpret_cast<std::uintptr_t>(vector) >> 5) % size_count];
    }

    void forget_sizes() noexcept {
        if (marked_) [[unlikely]] {
            clear_sizes();
        }
    }

    [[gnu::cold]] void clear_sizes() noexcept;

    [[nodiscard]] private_undo::moment now() const noexcept { return {promises(), top()}; }

    // Keeps the promises since `from`.
    [[gnu::cold]] void finish(const savepoint& from) noexcept;

    // The corresponding address in this mapping, if the address lies in another mapping of the
    // segment.
    [[nodiscard, gnu::cold]] const void* in_this_mapping(const void* at) const noexcept;

    [[gnu::cold]] void save_slowly(const void* at, std::size_t bytes, std::error_code& ec) noexcept;

    [[gnu::cold]] void save_or_throw(const void* at, std::size_t bytes);

    [[gnu::cold]] void save_for_the_living(const void* at, std::size_t bytes, bool words) noexcept;

    [[nodiscard, gnu::cold]] bool save_private(const void* at, std::size_t bytes) noexcept;

    // For actions: uncounts a reference. The words are the transaction, the block and the kind.
    [[gnu::cold]] static void uncount_now(const private_undo::action& what) noexcept;

    static constexpr std::size_t size_count = 4;

    const unsigned* uncaught_ = uncaught_counter();
    private_undo own_; // each entry counts as a promise, so that commit handles it
    deferred_unlocks locks_;

    // The depth of the first section that can be undone, if it is nested in one that cannot;
    // otherwise 0.
    std::uint32_t undoable_from_ = 0;
    bool marked_ = false;          // is any of sizes_ in use, or the next member true?
    bool releases_ = false;        // see expect_orphans
    bool collecting_ = false;      // see collect
    bool unkept_ = false;          // bytes of the segment are saved only in private memory
    std::uint64_t undo_floor_ = 0; // the end of the journal when the last undoable section began
    transaction* next_open_ = nullptr;
    known_size sizes_[size_count];
    range covered_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/transaction.ipp>
#endif

#endif
