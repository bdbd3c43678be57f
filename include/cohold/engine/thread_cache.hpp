// The threads of this process: the transactions of each, which of them have open sections, and the
// end of a thread or of unloaded code.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_THREAD_CACHE_HPP
#define COHOLD_ENGINE_THREAD_CACHE_HPP

#include <cohold/engine/recovery.hpp>
#include <cohold/engine/transaction.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- the data about a thread

struct thread_cache;
struct thread_core;

// A transaction in the lists of its thread and of its mapping.
struct thread_transaction : transaction {
    using transaction::transaction;

    std::uint64_t process = 0;         // its process_stamp
    const void* late_thread = nullptr; // set after the end of the thread, which cannot delete it

    // Whether its thread or the thread that unmaps the segment ends the transaction.
    enum life : std::uint32_t { live, ending, orphaned };

    std::atomic<std::uint32_t> ended{live};
    thread_transaction* next_in_mapping = nullptr;
    thread_transaction* next_in_thread = nullptr;
};

// The placeholder for no transaction.
inline constexpr open_sections no_sections{};

// The placeholder for a thread for which this copy of the code does not yet know the sections that
// other copies have opened. It looks like an open section, so that the slow path finds out.
inline constexpr open_sections unknown_sections{{.more = true}, nullptr};

// The data that one copy of this code has about one thread. A program has one copy, and each
// plug-in with private symbols has its own.
struct thread_cache {
    // Where a transaction was found.
    struct place {
        segment_header* header = nullptr;
        const std::atomic<std::uint64_t>* epoch_here = nullptr;
        std::uint64_t epoch = 0;
        transaction* found = nullptr;

        [[nodiscard]] bool is_of(const segment_header* segment) const noexcept {
            return header == segment && epoch_here->load(std::memory_order_relaxed) == epoch;
        }
    };

    // The sections of the transaction that was opened last, for the fast paths. If that section has
    // ended, no other section is open in any segment. The other open ones follow by next_open.
    const open_sections* last = &unknown_sections;

    // Of the transaction that was asked for last, and of those of other segments, by a hash of the
    // segment's address.
    place latest;
    static constexpr std::size_t place_count = 8;
    place places[place_count];

    // nullptr: not known yet, or, at the end of a thread or a program, no longer known. Static
    // objects may still use a segment then.
    thread_core* core = nullptr;
    std::atomic<thread_cache*> next_in_thread{nullptr};
    thread_cache* next_in_copy = nullptr;
    void (*condemn)(void* core) = nullptr; // condemn_sections of this copy

    [[nodiscard]] place& place_of(const segment_header* header) noexcept {
        // Mappings begin at multiples of large powers of two, so all bits of the address count.
        const auto pages =
            static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(header) >> 12);
        return places[(pages * 0x9e3779b9u >> 16) % place_count];
    }
};

// A single object, because in code for shared libraries finding its address takes a call.
inline thread_local constinit thread_cache this_cache{};

// The data that all copies of this code share about a thread. They find it in the C library's list
// of the thread's cleanup handlers. Without such a list, each copy has its own.
struct thread_core {
    cleanup_entry entry{};
    std::atomic<std::uint64_t> busy{0}; // held while the list of copies is changed or read
    std::atomic<thread_cache*> copies{nullptr};
    thread_transaction* transactions = nullptr;
    stamp_word* process = nullptr; // where the process keeps its stamp
    open_sections none{};
    // Replaces the number of the thread's uncaught exceptions in its transactions, once the thread
    // is unwound without an exception: larger than any number that a guard has seen.
    unsigned condemned = 0;

    [[gnu::cold]] void add(thread_cache& copy) noexcept;

    // Removes a copy, so that the function called when the thread is unwound is not in code that
    // has been unloaded.
    [[gnu::cold]] void remove(thread_cache& copy) noexcept;

    [[nodiscard]] bool has_copies_beside(const thread_cache& copy) const noexcept {
        return copies.load(std::memory_order_relaxed) != &copy ||
               copy.next_in_thread.load(std::memory_order_relaxed) != nullptr;
    }

    template <class Function>
    void for_each_copy(const Function& function) noexcept {
        const process_lock lock(busy, process); // a copy may be unloaded at this moment
        for (thread_cache* each = copies.load(std::memory_order_relaxed); each != nullptr;
             each = each->next_in_thread.load(std::memory_order_relaxed)) {
            function(*each);
        }
    }
};

// ---- open sections

// The same as known_transaction, in a segment that is not the one that was used last.
[[nodiscard]] transaction* known_elsewhere(const segment_header* header) noexcept;

// The transaction of this thread in a segment that it has used recently; otherwise nullptr. Only
// compares the address and reads nothing there, so any address is allowed.
[[nodiscard, gnu::always_inline]] inline transaction*
known_transaction(const segment_header* header) noexcept {
    const thread_cache::place& latest = this_cache.latest;
    if (latest.is_of(header)) [[likely]] {
        if (latest.found == nullptr) {
            __builtin_unreachable(); // so that the caller need not check
        }
        return latest.found;
    }
    return known_elsewhere(header);
}

// Does the thread have a section open, in any segment?
[[nodiscard]] inline bool has_open_sections() noexcept {
    return this_cache.last->state.word() != 0;
}

// The transaction whose open section was opened last; nullptr if no section is open.
[[nodiscard]] inline transaction* last_opened() noexcept {
    return has_open_sections() ? &transaction::of(*this_cache.last) : nullptr;
}

inline void set_last_opened(const transaction* opened) noexcept {
    thread_core* const core = this_cache.core;
    if (core == nullptr) {
        this_cache.last = opened == nullptr ? &no_sections : &opened->sections();
        return;
    }
    const open_sections* const last = opened == nullptr ? &core->none : &opened->sections();
    this_cache.last = last;
    if (core->has_copies_beside(this_cache)) [[unlikely]] {
        core->for_each_copy([last](thread_cache& each) noexcept { each.last = last; });
    }
}

// Makes it the transaction whose section was opened last, if no section is open. Not at the end of
// a thread, because the cache would not be updated when the transaction is deleted.
[[nodiscard]] bool come_last(transaction& mine) noexcept;

// Can the thread open its only section with one store to the state?
[[nodiscard, gnu::always_inline]] inline bool can_open_first(transaction& mine) noexcept {
    return (this_cache.last == &mine.sections() && mine.is_idle()) || come_last(mine);
}

// Called when the thread's first section in the segment begins. Sections of other segments may be
// open.
void list_open(transaction& mine) noexcept;

// Called when that section or its transaction ends. Does nothing if it belongs to another thread.
void unlist_open(transaction& mine) noexcept;

// ---- the end of threads and of unloaded code

// Undoes an open section and releases its locks.
[[gnu::cold]] void abandon_section(transaction& its) noexcept;

// Called when a thread no longer needs its journal. The process keeps it for its next thread, but a
// reserve journal of the segment is returned for any process. The identity's lock must be held.
[[gnu::cold]] void leave_journal(segment_header& header, const transaction& its) noexcept;

// The caches that this copy of the code has in all threads.
struct caches_of_copy {
    std::atomic<std::uint64_t> busy{0};
    std::uint64_t process = 0; // its stamp, because a forked child has only one thread
    thread_cache* first = nullptr;

    [[gnu::cold]] void add(thread_cache& mine) noexcept;

    [[gnu::cold]] void remove(const thread_cache& mine) noexcept;

    // Removes all of them when this code is unloaded or the program ends.
    [[gnu::cold]] void remove_all() noexcept;
};

inline constinit caches_of_copy all_caches{};

[[gnu::cold]] void end_transaction(thread_transaction& its, thread_core& core) noexcept;

// Called when the thread ends, or when this code is unloaded. In the latter case the
// transactions stay if another copy knows the thread.
[[gnu::cold]] void end_cache(thread_cache& mine, bool thread_ends) noexcept;

// Gets the end of threads through a key, because the destructor of a thread_local object would keep
// a plug-in loaded as long as a thread that has used it is alive.
class copy_end {
  public:
    copy_end() noexcept = default;
    copy_end(const copy_end&) = delete;
    copy_end& operator=(const copy_end&) = delete;

    ~copy_end() {
        end_cache(this_cache, false);
        all_caches.remove_all();
    }

    [[nodiscard]] bool tell() const noexcept { return end_.tell(&this_cache); }

  private:
    thread_end end_{
        [](void* mine) noexcept { end_cache(*static_cast<thread_cache*>(mine), true); }};
};

// Called when the thread is unwound without a counted exception: makes the guards of all open
// sections undo them.
[[gnu::cold]] void condemn_sections(void* of) noexcept;

// Copies share transactions only if they agree on the layout of these.
inline constexpr auto core_tag = static_cast<int>(
    0x636f686fu + 31u * COHOLD_LAYOUT_VERSION + sizeof(thread_transaction) +
    4099u * sizeof(thread_core) + 65599u * sizeof(thread_cache) + config::max_participants);

// Finds the data that other copies have about the thread. At the end of the thread, or without
// enough memory, this copy uses data of its own.
[[gnu::cold]] void join_thread() noexcept;

[[gnu::cold]] transaction* search_open_transaction(const segment_header* header) noexcept;

// The section that this thread has open in the segment; nullptr if there is none.
[[nodiscard]] inline transaction* open_transaction(const segment_header* header) noexcept {
    if (!has_open_sections()) [[likely]] {
        return nullptr;
    }
    // An object that is not in a segment has no header, like the placeholder for an unknown thread.
    if (header != nullptr && this_cache.last->segment == header) {
        if (transaction* const last = last_opened(); !last->is_inherited()) {
            return last;
        }
    }
    return search_open_transaction(header);
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/thread_cache.ipp>
#endif

#endif
