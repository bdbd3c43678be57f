// Definitions for participant_table.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_PARTICIPANT_TABLE_IPP
#define COHOLD_ENGINE_PARTICIPANT_TABLE_IPP

#include <cohold/engine/participant_table.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE bool is_this_process(const segment_header& header, owner_word owner) noexcept {
    const local_identity& mine = *local_of(header).identity;
    return mine.epoch.load(std::memory_order_acquire) != 0 && slot_of(mine.me) == slot_of(owner) &&
           is_attachment_of(participant_table::of(header).slots[slot_of(owner)].state.load(
                                std::memory_order_relaxed),
                            generation_of(owner));
}

COHOLD_INLINE verdict probe_slot(const segment_header& header, owner_word owner) noexcept {
    const std::uint32_t index = slot_of(owner);
    const participant_slot& slot = participant_table::of(header).slots[index];
    const std::uint32_t generation = generation_of(owner);
    verdict found = verdict::dead;
    if (is_attachment_of(slot.state.load(std::memory_order_acquire), generation)) {
        const local_mapping& local = local_of(header);
        found = is_this_process(header, owner) ? verdict::alive
                                               : probe_claim(local, index, slot.read_token());
        // A process that attaches to the slot of a dead participant gets the kernel's lock before
        // it changes the state. The lock that was found may belong to that process, so the state is
        // checked again.
        if (!is_attachment_of(slot.state.load(std::memory_order_acquire), generation)) {
            found = verdict::dead;
        }
    }
    return found;
}

COHOLD_INLINE bool is_attached(const segment_header& header, owner_word owner) noexcept {
    return slot_of(owner) <= participant_table::spare(header) &&
           is_attachment_of(participant_table::of(header).slots[slot_of(owner)].state.load(
                                std::memory_order_acquire),
                            generation_of(owner));
}

COHOLD_INLINE verdict verdict_on(const segment_header& header, owner_word owner) noexcept {
    if (slot_of(owner) > participant_table::spare(header)) {
        return verdict::dead; // there is no such slot
    }
    const process_key process = participant_table::of(header).slots[slot_of(owner)].process();
    verdict found = probe_slot(header, owner);
    if (found == verdict::dead && is_attached(header, owner)) {
        each_of_process(header, process, [&](owner_word each) noexcept {
            if (found == verdict::dead && slot_of(each) != slot_of(owner)) {
                found = probe_slot(header, each);
            }
        });
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return found;
}

COHOLD_INLINE bool is_alive(const segment_header& header, owner_word owner) noexcept {
    return verdict_on(header, owner) != verdict::dead;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
