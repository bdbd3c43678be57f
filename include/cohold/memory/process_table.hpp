// The process table of a segment: who is attached, and whether the kernel says that he lives.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_PROCESS_TABLE_HPP
#define COHOLD_MEMORY_PROCESS_TABLE_HPP

#include <cohold/memory/local_block.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct journal;

// One participant: a process, by one of its mappings.
struct alignas(64) participant_slot {
    // generation:32 | 1 while attached. Only the holder of the kernel's lock on the slot writes it,
    // and who has recovered a dead one.
    std::atomic<std::uint64_t> state;
    std::atomic<std::uint32_t> pid; // for people: as its process saw itself
    std::uint32_t unused;
    std::atomic<std::uint64_t> start_time; // of the process, in clock ticks since boot
    std::atomic<std::uint64_t> token[2];   // a liveness_token
    std::atomic<std::uint64_t> recovery;   // an owner_lock: held by who recovers this slot
    std::atomic<std::uint64_t> journals;   // offset of its first journal, or 0
    std::atomic<std::uint64_t> attached;   // nanoseconds since 1970

    // Read by who asks after a participant while a later one of the slot is writing it, perhaps.
    [[nodiscard]] liveness_token read_token() const noexcept {
        return {
            {token[0].load(std::memory_order_relaxed), token[1].load(std::memory_order_relaxed)}};
    }
};

static_assert(sizeof(participant_slot) == participant_bytes);
static_assert(sizeof(liveness_token) == 16);

inline constexpr std::uint64_t attached_bit = 1;

[[nodiscard]] constexpr std::uint64_t attached_state(std::uint32_t generation) noexcept {
    return std::uint64_t{generation} << 32 | attached_bit;
}

struct process_table {
    static constexpr std::uint64_t offset = control_bytes;
    // A slot for who has found all others taken and looks for dead ones among them.
    static constexpr std::uint32_t spare = static_cast<std::uint32_t>(config::max_participants);

    participant_slot slots[config::max_participants + 1];

    [[nodiscard]] static process_table& of(segment_header& header) noexcept {
        return *reinterpret_cast<process_table*>(reinterpret_cast<char*>(&header) + offset);
    }

    [[nodiscard]] static const process_table& of(const segment_header& header) noexcept {
        return *reinterpret_cast<const process_table*>(reinterpret_cast<const char*>(&header) +
                                                       offset);
    }
};

static_assert(sizeof(process_table) == table_bytes);

// Is the process that a word names the one that this mapping is of?
[[nodiscard]] inline bool is_this_process(const segment_header& header, owner_word owner) noexcept {
    const local_identity& mine = *local_of(header).identity;
    return mine.epoch.load(std::memory_order_acquire) != 0 && slot_of(mine.me) == slot_of(owner) &&
           generation_of(mine.me) == generation_of(owner);
}

// Has the participant neither detached nor been recovered?
[[nodiscard]] inline bool is_attached(const segment_header& header, owner_word owner) noexcept {
    return slot_of(owner) <= process_table::spare &&
           process_table::of(header).slots[slot_of(owner)].state.load(std::memory_order_acquire) ==
               attached_state(generation_of(owner));
}

/// The kernel's verdict on the process that a word names: dead only if it is, or has detached; then
/// everything that it had written is visible. *Complexity*: a system call, if it is another
/// process.
[[gnu::cold]] inline verdict verdict_on(const segment_header& header, owner_word owner) noexcept {
    const std::uint32_t index = slot_of(owner);
    if (index > process_table::spare) {
        return verdict::dead; // nobody has ever been there
    }
    const participant_slot& slot = process_table::of(header).slots[index];
    const std::uint64_t state = attached_state(generation_of(owner));
    verdict found = verdict::dead;
    if (slot.state.load(std::memory_order_acquire) == state) {
        const local_block& local = local_of(header);
        found = is_this_process(header, owner)
                    ? verdict::alive
                    : local.calls->probe(local, index, slot.read_token());
        // Whoever attaches anew to a dead one's slot has the kernel's lock before he changes the
        // state, hence the second look: the lock that was found may be his.
        if (slot.state.load(std::memory_order_acquire) != state) {
            found = verdict::dead;
        }
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return found;
}

// False only of who is dead for certain.
[[gnu::cold]] inline bool is_alive(const segment_header& header, owner_word owner) noexcept {
    return verdict_on(header, owner) != verdict::dead;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
