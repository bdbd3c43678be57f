// The private pages that each process keeps in front of a segment's mapping: what it has to know of
// a segment of which it has nothing but an address.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_LOCAL_MAPPING_HPP
#define COHOLD_ENGINE_LOCAL_MAPPING_HPP

#include <cohold/engine/header.hpp>
#include <cohold/engine/words.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/process.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// While it lives, allocators that are constructed at an address of the segment, by this thread,
// bind to the segment. Uses-allocator construction alone would not reach the members of plain
// structs and arrays.
class construction_scope {
  public:
    explicit construction_scope(segment_header* header) noexcept
        : header_(header), outer_(innermost_) {
        innermost_ = this;
    }

    construction_scope(const construction_scope&) = delete;
    construction_scope& operator=(const construction_scope&) = delete;

    ~construction_scope() { innermost_ = outer_; }

    // The segment under construction that the address belongs to, or nullptr.
    // A number, because g++ takes the address of an object under construction for its use.
    [[nodiscard]] static segment_header* around(std::uintptr_t address) noexcept {
        for (const construction_scope* scope = innermost_; scope != nullptr;
             scope = scope->outer_) {
            const auto distance = address - reinterpret_cast<std::uintptr_t>(scope->header_);
            if (scope->header_ != nullptr && distance < scope->header_->reserve) {
                return scope->header_;
            }
        }
        return nullptr;
    }

  private:
    static inline thread_local constinit const construction_scope* innermost_ = nullptr;

    segment_header* header_;
    const construction_scope* outer_;
};

struct thread_record;
struct local_mapping;

// What the mechanism does for a segment, from wherever in this process it is noticed that it must
// be done.
struct local_calls {
    // Real memory for the bytes [from, to).
    void (*back)(const local_mapping& local, void* base, std::uint64_t from, std::uint64_t to,
                 std::error_code& ec) noexcept;
    // See liveness in the table of mechanism_policy. `claim` calls publish(context, token) while
    // nobody else can claim the slot, whose token is `present` when it is called; it returns the
    // page that keeps the claim.
    void* (*claim)(const local_mapping& local, std::uint32_t slot, const liveness_token& present,
                   bool (*publish)(void* context, const liveness_token& token) noexcept,
                   void* context, std::error_code& ec) noexcept;
    verdict (*probe)(const local_mapping& local, std::uint32_t slot,
                     const liveness_token& token) noexcept;
    // How many bytes the object has now; 0 if it cannot be asked.
    std::uint64_t (*length)(const local_mapping& local) noexcept;
    // Of a session: the page by which this process counts among its users. Null without ec: the
    // mechanism needs none.
    void* (*attend)(const local_mapping& local, std::error_code& ec) noexcept;
};

// Which participant this mapping is. Lies on a page that the kernel clears in a forked child, which
// so finds out that it is none yet.
struct local_identity {
    std::atomic<std::uint64_t> epoch; // 0: none yet. No two attachments in a process have the same
    owner_word me;                    // thread 0
    void* page;                       // that holds the kernel's lock
    void* attendance;                 // of a session: what attend returned
    std::atomic<std::uint32_t> busy;  // a lock among this process's threads
    std::uint32_t threads;            // the last number given to one
    thread_record* records;           // of the threads that have worked on this mapping
    std::atomic<std::uint32_t> pins;  // threads at work here by way of mapping_list
};

// Ends where the segment begins; so it is found without any registry, by plug-ins with private
// symbols too.
struct alignas(16) local_mapping {
    alignas(16) unsigned char native[32]; // the mechanism's native handle
    std::uint64_t device;                 // of the object, as object_status has it
    std::uint64_t inode;
    const local_calls* calls;
    local_identity* identity;
    std::uint64_t reserve; // bytes that are mapped, whatever the segment says of itself
    mutable std::atomic<std::uint64_t> length; // bytes of the object, when last asked
    local_mapping* next_mapping;               // of those that mapping_list has
    std::uint64_t only_in; // the process that has the mapping, if forked children do not; else 0
    // For how many the segment is, as it said when it was asked first; 0: not yet.
    mutable std::atomic<std::uint32_t> participants;
};

inline const local_mapping& local_of(const segment_header& header) noexcept {
    return *reinterpret_cast<const local_mapping*>(reinterpret_cast<const char*>(&header) -
                                                   sizeof(local_mapping));
}

// The segments that this process has mapped to write, so that a death seen in one of them is dealt
// with in all. Links change by one store each: a child forked at any moment inherits a list that is
// whole.
class mapping_list {
  public:
    [[gnu::cold]] void add(local_mapping& mapping) noexcept;

    // Waits until no other thread is at work on the mapping by way of this list.
    [[gnu::cold]] void remove(local_mapping& mapping) noexcept;

    // Calls visit(header) for each mapping, perhaps more than once. It is not unmapped meanwhile.
    template <class Visitor>
    [[gnu::cold]] void each(const Visitor& visit) noexcept {
        local_mapping* mapping = nullptr;
        while ((mapping = next_pinned(mapping)) != nullptr) {
            if (is_here(*mapping)) {
                visit(*reinterpret_cast<segment_header*>(mapping + 1));
            }
        }
    }

    // The segment that the address lies in; nullptr if it lies in none. It must not be unmapped
    // meanwhile, as there is an object. What is on the heap or a stack of the process is mostly
    // told by two comparisons.
    [[nodiscard, gnu::cold]] segment_header* around(std::uintptr_t address) noexcept;

  private:
    static bool is_here(const local_mapping& mapping) noexcept {
        return mapping.only_in == 0 || mapping.only_in == process_stamp();
    }

    // A child that was forked while another thread held it takes it.
    class lock {
      public:
        explicit lock(mapping_list& list) noexcept : list_(list) {
            const std::uint64_t me = process_stamp();
            yielding turn;
            for (std::uint64_t found = 0;
                 !list_.busy_.compare_exchange_weak(found, me, std::memory_order_acquire);) {
                if (found == me) {
                    turn.yield();
                    found = 0;
                }
            }
        }

        lock(const lock&) = delete;
        lock& operator=(const lock&) = delete;

        ~lock() { list_.busy_.store(0, std::memory_order_release); }

      private:
        mapping_list& list_;
    };

    // The one after `last`, which is let go of, or the first; nullptr at the end.
    [[gnu::cold]] local_mapping* next_pinned(local_mapping* last) noexcept;

    std::atomic<std::uint64_t> busy_{0}; // the process_stamp of the process whose thread has it
    std::atomic<local_mapping*> first_{nullptr};
    std::atomic<std::uintptr_t> lowest_{UINTPTR_MAX}; // address where a mapping was, ever
    std::atomic<std::uintptr_t> highest_{0};
};

inline constinit mapping_list mappings{};

[[gnu::cold]] std::uint64_t bounded_by_object(const local_mapping& local,
                                              std::uint64_t size) noexcept;

// Bytes of the segment, but none that are not there, whatever its own bytes say. System call:
// fstat(2) or the like, once each time it has grown.
[[nodiscard]] inline std::uint64_t bounded_size(const segment_header& header) noexcept {
    const std::uint64_t size = header.size.load(std::memory_order_acquire);
    const local_mapping& local = local_of(header);
    return size <= local.length.load(std::memory_order_relaxed) ? size
                                                                : bounded_by_object(local, size);
}

[[gnu::cold]] std::uint32_t count_participants(const segment_header& header) noexcept;

// How many participants the segment has room for.
[[nodiscard]] inline std::uint32_t participants_of(const segment_header& header) noexcept {
    const std::uint32_t known = local_of(header).participants.load(std::memory_order_relaxed);
    return known != 0 ? known : count_participants(header);
}

// Makes the segment at least `to` bytes long; the caller holds the heap's lock, which orders
// growths.
[[gnu::cold]] void grow_segment(segment_header& header, std::uint64_t to,
                                std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/local_mapping.ipp>
#endif

#endif
