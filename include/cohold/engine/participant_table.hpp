// The process table of a segment: which participants are attached, and whether they are alive
// according to the kernel.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_PARTICIPANT_TABLE_HPP
#define COHOLD_ENGINE_PARTICIPANT_TABLE_HPP

#include <utility>

#include <cohold/engine/local_mapping.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct journal;

// ---- slots

// Identifies a process, in whatever namespaces it is. The key is the same for all participants that
// one process is, in one segment or in several.
struct process_key {
    std::uint32_t pid;     // as the process saw itself
    std::uint32_t stamp;   // made from its process_stamp
    std::uint64_t started; // in clock ticks since boot

    friend bool operator==(const process_key&, const process_key&) = default;
};

// One participant: a process with one of its mappings.
struct alignas(64) participant_slot {
    // generation:32 | former:31 | attached:1. The generation also grows during an attachment, when
    // its thread numbers are used up; `former` is the number of earlier generations of the
    // attachment. Written only by the holder of the kernel's lock on the slot, and by a process
    // that has recovered a dead participant.
    std::atomic<std::uint64_t> state;
    std::atomic<std::uint32_t> pid;
    std::atomic<std::uint32_t> stamp;
    std::atomic<std::uint64_t> start_time; // of the process, in clock ticks since boot
    std::atomic<std::uint64_t> token[2];   // a liveness_token
    std::atomic<std::uint64_t>
        recovery; // a robust_lock: held by the process that recovers this slot
    std::atomic<std::uint64_t> journals; // offset of its first journal, or 0
    std::atomic<std::uint64_t> attached; // nanoseconds since 1970

    // The key and the token may be read while a later participant of the slot is writing them.
    [[nodiscard]] process_key process() const noexcept {
        return {pid.load(std::memory_order_relaxed), stamp.load(std::memory_order_relaxed),
                start_time.load(std::memory_order_relaxed)};
    }

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

[[nodiscard]] constexpr std::uint64_t detached_state(std::uint32_t generation) noexcept {
    return std::uint64_t{generation} << 32;
}

// Does the generation belong to the attachment in a slot's state?
[[nodiscard]] constexpr bool is_attachment_of(std::uint64_t state,
                                              std::uint32_t generation) noexcept {
    const std::uint32_t former = static_cast<std::uint32_t>(state) >> 1;
    return (state & attached_bit) != 0 &&
           static_cast<std::uint32_t>(state >> 32) - generation <= former;
}

// The state after this one, with the next generation of the same attachment. The generation is
// never 0.
[[nodiscard]] constexpr std::uint64_t with_next_generation(std::uint64_t state) noexcept {
    const auto last = static_cast<std::uint32_t>(state >> 32);
    const std::uint32_t step = last == UINT32_MAX ? 2 : 1;
    return std::uint64_t{last + step} << 32 | (static_cast<std::uint32_t>(state) + 2 * step);
}

struct participant_table {
    static constexpr std::uint64_t offset = control_bytes;

    // Accesses slots by index, as if all of them were contiguous.
    struct slot_array {
        participant_slot near[near_slots];

        [[nodiscard]] participant_slot& operator[](std::uint32_t index) noexcept {
            return const_cast<participant_slot&>(std::as_const(*this)[index]);
        }

        [[nodiscard]] const participant_slot& operator[](std::uint32_t index) const noexcept {
            return *reinterpret_cast<const participant_slot*>(reinterpret_cast<const char*>(this) +
                                                              offset_of(index) - offset);
        }
    } slots;

    [[nodiscard]] static constexpr std::uint64_t offset_of(std::uint64_t index) noexcept {
        return index < near_slots ? offset + index * participant_bytes
                                  : far_slots_offset + (index - near_slots) * participant_bytes;
    }

    // The index of the last slot, for a process that has found all other slots taken and looks for
    // dead participants among them.
    [[nodiscard]] static std::uint32_t spare(const segment_header& header) noexcept {
        return participants_of(header);
    }

    [[nodiscard]] static participant_table& of(segment_header& header) noexcept {
        return *reinterpret_cast<participant_table*>(reinterpret_cast<char*>(&header) + offset);
    }

    [[nodiscard]] static const participant_table& of(const segment_header& header) noexcept {
        return *reinterpret_cast<const participant_table*>(reinterpret_cast<const char*>(&header) +
                                                           offset);
    }
};

static_assert(sizeof(participant_table) == table_bytes);

// ---- verdicts

// Does the owner word name the process of this mapping?
[[nodiscard]] bool is_this_process(const segment_header& header, owner_word owner) noexcept;

// The verdict on this participant alone, even if its process is another participant too.
[[gnu::cold]] verdict probe_slot(const segment_header& header, owner_word owner) noexcept;

// Is the participant still attached: it has neither detached nor been recovered?
[[nodiscard]] bool is_attached(const segment_header& header, owner_word owner) noexcept;

// Calls visit(owner, slot) for each participant.
template <class Visitor>
void each_participant(const segment_header& header, const Visitor& visit) noexcept {
    const std::uint32_t last = participant_table::spare(header);
    const participant_table::slot_array& slots = participant_table::of(header).slots;
    const participant_slot* slot = slots.near;
    for (std::uint32_t index = 0; index <= last; ++index, ++slot) {
        slot = index == near_slots ? &slots[index] : slot;
        const std::uint64_t state = slot->state.load(std::memory_order_acquire);
        if ((state & attached_bit) != 0) {
            visit(make_owner(index, static_cast<std::uint32_t>(state >> 32), 0), *slot);
        }
    }
}

// Calls visit(owner) for each participant of the process.
template <class Visitor>
void each_of_process(const segment_header& header, const process_key& process,
                     const Visitor& visit) noexcept {
    each_participant(header, [&](owner_word each, const participant_slot& slot) noexcept {
        if (slot.process() == process) {
            visit(each);
        }
    });
}

/// The kernel's verdict on the process that an owner word names: dead only if the process is dead
/// or has detached. In that case everything that it has written is visible. The unit of death is
/// the process: if it is several participants, each of them is dead only when all are, because the
/// kernel releases their locks one after the other. *Complexity*: a system call, if it is another
/// process.
[[gnu::cold]] verdict verdict_on(const segment_header& header, owner_word owner) noexcept;

// False only if the participant is certainly dead.
[[gnu::cold]] bool is_alive(const segment_header& header, owner_word owner) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/participant_table.ipp>
#endif

#endif
