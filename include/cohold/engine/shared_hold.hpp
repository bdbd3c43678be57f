// The references to shared objects that this process has outside the segment, and the destruction
// of objects to which no pointer refers any more.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SHARED_HOLD_HPP
#define COHOLD_ENGINE_SHARED_HOLD_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <cohold/engine/section.hpp>
#include <cohold/engine/shared_block.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- holds

// The references that this process, as one participant, has to one object. It is private memory, so
// it ends with the process. The pointers outside the segment have its address. A forked child has
// copies of both, which belong to the parent: using them changes nothing in the segment.
struct shared_hold {
    std::atomic<std::uint64_t> counts[2]; // strong and weak pointers
    shared_block* block;
    segment_header* header;
    // See journal_writer.
    const std::atomic<std::uint64_t>* epoch_here;
    std::uint64_t epoch;
    std::atomic<bool> detached; // the segment is no longer mapped
    shared_hold* next;          // in the table

    [[nodiscard]] std::atomic<std::uint64_t>& count(reference which) noexcept {
        return counts[static_cast<std::uint32_t>(which)];
    }

    // Does it belong to another process, or to an attachment that has ended?
    [[nodiscard]] bool is_stale() const noexcept {
        return detached.load(std::memory_order_acquire) ||
               epoch_here->load(std::memory_order_acquire) != epoch;
    }
};

// A hash table by the address of the block. One for each mapping; its lock is in local_identity.
struct hold_table {
    std::size_t size = 0; // a power of two
    std::size_t count = 0;
    shared_hold** chains = nullptr;
};

// A pointer outside the segment begins to refer to the object. The caller has another reference,
// or, if `alive` is not null, only a weak one: then *alive tells whether there was a strong one.
// nullptr after an error: errc::out_of_space (of the process's memory), and those of attach.
[[nodiscard, gnu::cold]] shared_hold* take_hold(segment_header& header, shared_block& block,
                                                reference which, bool* alive,
                                                std::error_code& ec) noexcept;

// The same for a new object: adds it to the segment's list, as a part of the open section.
[[nodiscard, gnu::cold]] shared_hold* take_first_hold(transaction& mine, shared_block& block,
                                                      std::error_code& ec) noexcept;

// The first hold of a block that comes from its pool. nullptr without an error: none is available.
[[nodiscard, gnu::cold]] shared_hold* take_hold_of_pooled(segment_header& header, shared_pool& pool,
                                                          std::error_code& ec) noexcept;

// One more pointer of that kind, copied from another one.
inline void copy_hold(shared_hold& hold, reference which) noexcept {
    hold.count(which).fetch_add(1, std::memory_order_relaxed);
}

// The pointer no longer refers to the object. Returns whether it may have been the last one.
[[gnu::cold]] bool let_go(shared_hold& hold, reference which) noexcept;

// Let go of a reference that lies in the segment, without a journal.
[[gnu::cold]] void uncount_alone(shared_block& block, reference which) noexcept;

// ---- the destructors that this program knows

// A type of shared objects. The segment has no addresses of code, only the hash of the type's
// description, so only programs that know the type can destroy its objects.
struct shared_type {
    std::uint64_t hash;
    std::uint64_t size; // at least
    void (*destroy)(void* object) noexcept;
    std::uint64_t (*whole_size)(const void* object) noexcept; // null: all have that size
};

class shared_types {
  public:
    struct entry {
        shared_type type;
        std::atomic<entry*> next{nullptr};
    };

    [[gnu::cold]] void add(entry& made) noexcept;

    // Waits for threads that are looking for a type, but not for those that a forked child has not.
    [[gnu::cold]] void remove(const entry& gone) noexcept;

    [[nodiscard, gnu::cold]] bool find(std::uint64_t hash, shared_type& found) noexcept;

  private:
    std::atomic<std::uint64_t> busy_{0}; // held while the list is changed
    std::atomic<std::uint32_t> readers_{0};
    std::atomic<entry*> first_{nullptr};
};

inline constinit shared_types known_shared_types{};

// Is in the list as long as this code is loaded.
class known_shared_type {
  public:
    explicit known_shared_type(const shared_type& type) noexcept : entry_{type} {
        known_shared_types.add(entry_);
    }

    known_shared_type(const known_shared_type&) = delete;
    known_shared_type& operator=(const known_shared_type&) = delete;

    ~known_shared_type() { known_shared_types.remove(entry_); }

  private:
    shared_types::entry entry_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/shared_hold.ipp>
#endif

#endif
