// Definitions for listing.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_LISTING_IPP
#define COHOLD_HANDLE_LISTING_IPP

#include <cohold/handle/listing.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE participant_list list_participants(const segment_header& header) {
    participant_list list;
    for (std::uint32_t index = 0; index < participant_table::spare(header); ++index) {
        const participant_slot& slot = participant_table::of(header).slots[index];
        for (std::uint64_t state = slot.state.load(std::memory_order_acquire);
             (state & attached_bit) != 0;) {
            const owner_word owner = make_owner(index, static_cast<std::uint32_t>(state >> 32), 0);
            participant found{.slot = index,
                              .pid = static_cast<pid_t>(slot.pid.load(std::memory_order_relaxed)),
                              .start_time = slot.start_time.load(std::memory_order_relaxed),
                              .attached = slot.attached.load(std::memory_order_relaxed),
                              .state = verdict_on(header, owner),
                              .self = is_this_process(header, owner)};
            const std::uint64_t now = slot.state.load(std::memory_order_acquire);
            if (now == state) {
                list.add(std::move(found));
                break;
            }
            state = now; // by now another one has the slot, or none
        }
    }
    return list;
}

COHOLD_INLINE std::size_t recover_participants(segment_header& header,
                                               std::error_code& ec) noexcept {
    const owner_word me = participant_of(header, ec);
    const std::size_t recovered = ec ? 0 : recover_all(header, me);
    if (!ec) {
        collect_orphans(header);
    }
    return recovered;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
