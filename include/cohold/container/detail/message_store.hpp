// The part of shm_message_queue that never waits for messages or room: the memory of the messages,
// and the lists in which they wait for consumers.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_MESSAGE_STORE_HPP
#define COHOLD_CONTAINER_DETAIL_MESSAGE_STORE_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <cohold/container/shm_allocator.hpp>
#include <cohold/engine/robust_lock.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a block is for. The upper 44 bits of its word name the process that has claimed or holds it.
enum class message_state : std::uint32_t {
    free = 0,
    claimed = 1, // by a producer; also a message that no consumer has listed yet
    queued = 2,  // in a list
    held = 3,    // in a list, while a consumer reads it
    returned = 4 // released, but not free yet: see `returned_`
};

// The header of a block, followed by the bytes of the message. The whole memory is a row of blocks,
// each of which begins where the one before ends. That is true between any two stores: a block is
// divided by making the second part in the free bytes first, and then shortening the first part.
struct alignas(32) message_block {
    std::atomic<std::uint64_t> word;
    std::atomic<std::uint32_t> units; // of 32 bytes, including this header
    std::uint32_t length;
    std::uint32_t next; // in its list; the place of a block is its distance from the first in units
    std::uint32_t previous;
    std::uint32_t priority;
    std::uint32_t attempts; // how many consumers have taken it
};

static_assert(sizeof(message_block) == 32);

// What is allocated: two blocks of the least size, or a part of the inbox.
struct alignas(64) message_line {
    message_block blocks[2];
};

// A message as a consumer or a producer has it, in private memory.
struct message_place {
    std::uint32_t place = 0; // 0: none
    std::uint32_t length = 0;
    std::uint32_t priority = 0;
    std::uint32_t attempts = 0;
    owner_word owner = nobody;
    std::byte* bytes = nullptr;
};

/// Two locks, one for producers and one for consumers, each of which names its holder. Producers
/// own the blocks: they look for a free one from the place where the last one was found, divide it,
/// and merge free neighbours. A message is passed on in `inbox`, a ring of places: *the store to
/// `tail_` commits a push*. Consumers move places from the inbox into a list for each priority.
/// *The store of {held, me} to a block's word takes a message*; it stays in its list, in its place.
/// Consumers gather blocks that they release one behind the other, and return them as one, when
/// they are an eighth of the room: so producers seldom look at bytes that consumers have written. A
/// producer that finds no room returns them itself, and one that waits does so before it sleeps.
/// *The store of {free} to the word of a block returns the room*.
///
/// If a process is killed: a block that it has claimed, but not passed on, is free as soon as a
/// producer finds no room without it. A message that it holds is queued again, in its place, as
/// soon as a consumer finds no other one, after 256 others, or by the next one to lock. The next to
/// lock after a dead consumer makes the lists whole; producers leave nothing to repair. No journal
/// takes part, so all this is immediate and permanent even in a section.
class message_store {
  public:
    static constexpr std::uint32_t priorities = 32;
    static constexpr std::uint64_t unit = sizeof(message_block);
    static constexpr std::uint64_t most_bytes = 0xfffffff0u * unit; // of room
    static constexpr std::uint64_t longest = 0xffffffffu;           // message, in bytes

    // Throws errc::invalid_size, and the allocator's errors.
    [[gnu::cold]] message_store(std::uint64_t capacity,
                                const shm_allocator<message_block>& allocator);

    message_store(const message_store&) = delete;
    message_store& operator=(const message_store&) = delete;

    [[gnu::cold]] ~message_store();

    // `until`: how long to wait for a lock. `ec` is set for failures only, together with the result
    // `closed`, for it makes no sense to wait then. They are errc::invalid_size, EINVAL,
    // errc::corrupt, not_owner, no_segment, and those of attaching.

    // Claims a block for a message. `thorough`: looks not only where room is found most often.
    [[nodiscard]] outcome claim(std::uint64_t length, std::uint32_t priority, bool thorough,
                                deadline until, message_place& claimed,
                                std::error_code& ec) noexcept;

    // Claims, copies and passes on.
    [[nodiscard]] outcome push(const void* bytes, std::uint64_t length, std::uint32_t priority,
                               bool thorough, deadline until, std::error_code& ec) noexcept;

    // Passes on the first `length` bytes of what was claimed. If the queue is closed, gives them
    // up. If the lock cannot be had in time, the result is `held`, and the claim stays.
    [[nodiscard]] outcome commit(const message_place& claimed, std::uint32_t length, deadline until,
                                 std::error_code& ec) noexcept;

    // Gives up what was claimed.
    void abandon(const message_place& claimed) noexcept;

    // Takes the first message of the highest priority. `thorough`: if there is none, asks also
    // about messages of dead consumers.
    [[nodiscard]] outcome take(bool thorough, deadline until, message_place& taken,
                               std::error_code& ec) noexcept;

    void release(const message_place& taken) noexcept;

    void close() noexcept;

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire) != 0;
    }

    [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

    [[nodiscard]] std::uint64_t size() const noexcept;

    // Would take() find a message, or the end? `thorough`: also one of a dead consumer.
    [[nodiscard, gnu::cold]] bool is_ready(bool thorough) noexcept;

    [[nodiscard]] wait_word& items() noexcept { return items_; }

    [[nodiscard]] wait_word& spaces() noexcept { return spaces_; }

    [[nodiscard]] const shm_allocator<message_block>& allocator() const noexcept {
        return allocator_;
    }

    static constexpr std::uint64_t units_for(std::uint64_t length) noexcept {
        const std::uint64_t units = 1 + (length + unit - 1) / unit;
        return units < least_units ? least_units : units;
    }

  private:
    static constexpr std::uint32_t first_place = 2; // the first block begins with a cache line
    static constexpr std::uint32_t least_units = 2; // of a block
    static constexpr std::uint64_t copied_at_once = 4096; // in bytes: longer copies need no lock
    static constexpr std::uint32_t pops_between_probes = 256;
    static constexpr std::uint32_t blocks_at_hand = 4; // behind the place where room was found last

    struct list {
        std::uint32_t first;
        std::uint32_t cursor; // the first that is not held
        std::uint32_t reach;  // the first from which on none has ever been held
        std::uint32_t last;
    };

    class side; // holds one of the locks
    class verdicts;

    [[nodiscard, gnu::always_inline]] message_block& at(std::uint32_t place) const noexcept {
        return reinterpret_cast<message_block*>(memory_.get())[inbox_units() + place];
    }

    [[nodiscard]] std::uint32_t* inbox() const noexcept {
        return reinterpret_cast<std::uint32_t*>(memory_.get());
    }

    // The inbox has a place for every block that there can be, so it is never full.
    [[nodiscard]] std::uint64_t inbox_units() const noexcept { return inbox_ / 8; }

    [[nodiscard]] bool is_place(std::uint32_t place) const noexcept {
        return place >= first_place && place < units_;
    }

    // The units of the block; 0 if the bytes are damaged.
    [[nodiscard]] std::uint32_t units_of(std::uint32_t place) const noexcept;

    [[nodiscard]] segment_header& header() const noexcept { return allocator_.bound_header(); }

    [[nodiscard]] owner_word enter(std::error_code& ec) const noexcept;

    // Of a forked child, too, whose parent has made the claim.
    [[nodiscard]] bool is_mine(const message_place& place) const noexcept;

    [[nodiscard]] bool is_empty() const noexcept;

    // With the producers' lock:

    [[nodiscard]] outcome allocate(std::uint64_t length, std::uint32_t priority, bool thorough,
                                   owner_word me, message_place& claimed,
                                   std::error_code& ec) noexcept;

    // Passes no more than `most` blocks that are not free.
    [[nodiscard]] std::uint32_t find_room(std::uint32_t units, std::uint32_t most) noexcept;

    void prefetch_room(std::uint32_t place, std::uint32_t units, std::uint32_t rest) const noexcept;

    // Returns what consumers have released; false if their lock cannot be had.
    [[nodiscard, gnu::cold]] bool return_released(owner_word me) noexcept;

    // Frees what dead producers have claimed. `others`: do living producers of other processes have
    // claims? `unknown`: may more room come by a claim that is given up?
    [[gnu::cold]] void free_dead_claims(bool& others, bool& unknown) noexcept;

    void pass_on(std::uint32_t place) noexcept;

    // With the consumers' lock:

    void list_inbox() noexcept;

    void append(std::uint32_t place) noexcept;

    // Only the block at `removing_`. Can be repeated, until that is 0.
    void remove(std::uint32_t place, owner_word me) noexcept;

    void gather(std::uint32_t place, owner_word me) noexcept;

    // What has been gathered.
    void give_back(owner_word me) noexcept;

    // After a takeover from a dead consumer.
    [[gnu::cold]] void repair(owner_word me) noexcept;

    // Messages of dead consumers are queued again. Tells whether living ones of other processes
    // hold any.
    [[gnu::cold]] void put_back(bool& others) noexcept;

    void note_list(std::uint32_t priority) noexcept;

    // Rarely written, always read.
    shm_allocator<message_block> allocator_;
    offset_ptr<message_block> memory_{};
    std::uint64_t capacity_ = 0; // in bytes, as in the constructor
    std::uint32_t units_ = 0;    // places, of which the first are not used
    std::uint32_t inbox_ = 0;    // places in the inbox, a power of two
    std::atomic<std::uint32_t> closed_{0};
    wait_word items_;
    wait_word spaces_;
    std::atomic<std::uint32_t> used_{0}; // bits: priorities that messages have had

    alignas(64) robust_lock producers_;
    // No room for that many units, as long as no more than `full_at_` messages are released.
    std::uint64_t full_at_ = 0;
    std::uint32_t full_units_ = 0xffffffffu;
    std::uint32_t rover_ = first_place; // where to look next

    alignas(64) std::atomic<std::uint64_t> tail_{0}; // how many messages were passed on

    alignas(64) robust_lock consumers_;
    std::atomic<std::uint64_t> head_{0};     // how many of them are listed, or were
    std::atomic<std::uint64_t> released_{0}; // how many of them are released
    std::atomic<std::uint32_t> listed_{0};   // bits: lists with messages
    std::atomic<std::uint32_t> queued_{0};   // bits: lists with messages that are not held
    std::atomic<std::uint32_t> removing_{0}; // the block that is being removed
    std::uint32_t pops_ = 0;                 // since the last probe
    list lists_[priorities] = {};
    // What is gathered, to be returned: {units:32 | the place of the first block:32}, or 0.
    alignas(8) std::atomic<std::uint64_t> returned_{0};

    friend struct message_layout;
};

struct message_layout {
    static_assert(
        offsetof(message_store, memory_) == 8 && offsetof(message_store, capacity_) == 16 &&
        offsetof(message_store, units_) == 24 && offsetof(message_store, inbox_) == 28 &&
        offsetof(message_store, closed_) == 32 && offsetof(message_store, producers_) == 64 &&
        offsetof(message_store, tail_) == 128 && offsetof(message_store, consumers_) == 192 &&
        offsetof(message_store, head_) == 200 && offsetof(message_store, released_) == 208 &&
        offsetof(message_store, lists_) == 232 && offsetof(message_store, returned_) == 744 &&
        sizeof(message_store) == 768);
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/message_store.ipp>
#endif

#endif
