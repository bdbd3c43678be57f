// The private page that each process keeps before a segment's mapping. It holds what the process
// must know about a segment of which it has only an address. Also the list of this process's
// mappings, and the size and growth of a mapped segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_LOCAL_MAPPING_HPP
#define COHOLD_ENGINE_LOCAL_MAPPING_HPP

#include <cohold/engine/header.hpp>
#include <cohold/engine/mechanism_calls.hpp>
#include <cohold/engine/words.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/process.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- objects under construction

// While it lives, allocators that this thread constructs at an address of the segment are bound to
// the segment. Uses-allocator construction alone would not reach the members of plain structs and
// arrays.
class construction_scope {
  public:
    explicit construction_scope(segment_header* header) noexcept
        : header_(header), outer_(innermost_) {
        innermost_ = this;
    }

    construction_scope(const construction_scope&) = delete;
    construction_scope& operator=(const construction_scope&) = delete;

    ~construction_scope() { innermost_ = outer_; }

    // The segment under construction to which the address belongs, or nullptr. The address is a
    // number, because g++ considers passing the address of an object under construction a use of
    // that object.
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

// ---- the private page

struct thread_transaction;
struct hold_table;
struct local_mapping;

// The participant that this mapping is. It lies in a cell that the kernel clears in a forked child,
// so that the child finds that it is not a participant yet.
struct local_identity {
    std::atomic<std::uint64_t> epoch; // 0: not attached; unique among a process's attachments
    owner_word me;                    // thread 0
    void* page;                       // keeps the kernel's lock
    void* attendance;                 // for a session: the result of attend
    std::atomic<std::uint32_t> busy;  // a lock between the threads of this process
    std::uint32_t threads;            // the last number given to a thread
    thread_transaction* transactions; // of the threads that have used this mapping
    std::atomic<std::uint32_t> pins;  // threads that are using the mapping through mapping_list
    std::atomic<std::uint32_t> flags;
    hold_table* holds; // of the shared objects; see shared_hold.hpp

    static constexpr std::uint32_t fresh = 1; // while it is opened: the native handle must be good
    static constexpr std::uint32_t holding = 2; // a lock for holds
};

static_assert(sizeof(local_identity) <= wiped_cells::size);

// Ends where the segment begins, so that it is found without a registry, even by plug-ins with
// private symbols.
struct alignas(16) local_mapping {
    native_room native;
    std::uint64_t device; // of the object, as object_status has it
    std::uint64_t inode;
    const mechanism_calls* calls;
    local_identity* identity;
    std::uint64_t reserve;                     // bytes that are mapped, whatever the segment says
    mutable std::atomic<std::uint64_t> length; // bytes of the object, when last checked
    local_mapping* next_mapping;               // in mapping_list
    std::uint64_t only_in; // the only process with the mapping; 0 if forked children have it
    bool is_read_only;     // copies of objects in it that lie elsewhere still name this segment
    // How many participants the segment has room for, as first read from it; 0 if not read yet.
    mutable std::atomic<std::uint32_t> participants;

    // Distinguishes the object from copies of it. Never 0.
    [[nodiscard]] static std::uint64_t word_of(std::uint64_t device, std::uint64_t inode) noexcept {
        const std::uint64_t both[] = {device, inode};
        return hash64({reinterpret_cast<const char*>(both), sizeof both}) | 1;
    }

    [[nodiscard]] std::uint64_t object_word() const noexcept { return word_of(device, inode); }
};

inline const local_mapping& local_of(const segment_header& header) noexcept {
    return *reinterpret_cast<const local_mapping*>(reinterpret_cast<const char*>(&header) -
                                                   sizeof(local_mapping));
}

// ---- the mechanism's functions for a mapped segment

// A program that closes all descriptors closes the segment's as well, and its number may then refer
// to another file. So these check the native handle, or open the mapped file again.

// Is this the status of the mapped object?
[[nodiscard]] inline bool is_of(const local_mapping& local, const object_status& found) noexcept {
    return found.device == local.device && found.inode == local.inode;
}

// Gives real memory to the bytes [from, to).
[[gnu::cold]] void back_segment(const local_mapping& local, void* base, std::uint64_t from,
                                std::uint64_t to, std::error_code& ec) noexcept;

// Gives the memory of the whole pages [from, to) back to the kernel.
[[gnu::cold]] void release_segment(const local_mapping& local, void* base, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept;

// `present` is the token in the slot at the time of the call. Calls publish(context, token) while
// no other process can claim the slot, and returns the page that keeps the claim.
[[gnu::cold]] void* claim_slot(const local_mapping& local, std::uint32_t slot,
                               const liveness_token& present,
                               bool (*publish)(void* context, const liveness_token& token) noexcept,
                               void* context, std::error_code& ec) noexcept;

[[gnu::cold]] verdict probe_claim(const local_mapping& local, std::uint32_t slot,
                                  const liveness_token& token) noexcept;

// A page through which this process counts as a user of a session.
[[gnu::cold]] void* enter_session(const native_object& object, std::error_code& ec) noexcept;

// The same, in the mechanism's gate. Null without an error: the mechanism needs no page.
[[gnu::cold]] void* attend_session(const local_mapping& local, std::error_code& ec) noexcept;

// ---- the mappings of this process

// The segments that this process has mapped for writing, so that a death that is noticed in one of
// them is handled in all. Each link changes by one store, so a child that is forked at any moment
// inherits an intact list.
class mapping_list {
  public:
    [[gnu::cold]] void add(local_mapping& mapping) noexcept;

    // Waits until no other thread is using the mapping through this list.
    [[gnu::cold]] void remove(local_mapping& mapping) noexcept;

    // Calls visit(header) for each mapping, possibly more than once. The mapping is not unmapped
    // meanwhile.
    template <class Visitor>
    [[gnu::cold]] void each(const Visitor& visit) noexcept {
        local_mapping* mapping = nullptr;
        while ((mapping = next_pinned(mapping)) != nullptr) {
            if (is_here(*mapping)) {
                visit(*reinterpret_cast<segment_header*>(mapping + 1));
            }
        }
    }

    // The segment in which the address lies; nullptr if it lies in none. The caller has an object
    // there, so the segment must not be unmapped meanwhile. For most addresses on the process's own
    // heap or stacks, two comparisons are enough.
    [[nodiscard, gnu::cold]] segment_header* around(std::uintptr_t address) noexcept;

  private:
    static bool is_here(const local_mapping& mapping) noexcept {
        return mapping.only_in == 0 || mapping.only_in == process_stamp();
    }

    // Unpins `last`, and pins and returns the mapping after it, or the first one. nullptr at the
    // end.
    [[gnu::cold]] local_mapping* next_pinned(local_mapping* last) noexcept;

    std::atomic<std::uint64_t> busy_{0}; // held while the list is read or changed
    std::atomic<local_mapping*> first_{nullptr};
    std::atomic<std::uintptr_t> lowest_{UINTPTR_MAX}; // address of any mapping so far
    std::atomic<std::uintptr_t> highest_{0};
};

inline constinit mapping_list mappings{};

// ---- size and growth

[[gnu::cold]] std::uint64_t bounded_by_object(const local_mapping& local,
                                              std::uint64_t size) noexcept;

// The size of the segment in bytes, but never more than the object has, whatever the segment says.
// System call: fstat(2) or the like, once each time the segment has grown.
[[nodiscard, gnu::always_inline]] inline std::uint64_t
bounded_size(const segment_header& header) noexcept {
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

// Makes the segment at least `to` bytes long. The caller must hold the heap's lock, which
// serializes growth.
[[gnu::cold]] void grow_segment(segment_header& header, std::uint64_t to,
                                std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/local_mapping.ipp>
#endif

#endif
