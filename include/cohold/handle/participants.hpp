// The processes that use a segment, as everybody may know them; and putting in order what dead ones
// have left.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_PARTICIPANTS_HPP
#define COHOLD_HANDLE_PARTICIPANTS_HPP

#include <sys/types.h>

#include <cohold/handle/listing.hpp>
#include <cohold/memory/attachment.hpp>

COHOLD_NAMESPACE_BEGIN

/// A process that uses a segment, as segment::participants() lists it. One that has the segment
/// attached several times is there as often; readers (segment_view) take no part.
struct participant {
    std::uint32_t slot = 0; ///< its place in the segment; another one has it later
    pid_t pid = 0;          ///< as the process itself sees it: in its own PID namespace
    /// Of the process, in clock ticks since boot, as field 22 of /proc/PID/stat: with the pid it
    /// tells which process it was. 0: unknown.
    std::uint64_t start_time = 0;
    std::uint64_t attached = 0; ///< since when, in nanoseconds since 1970
    /// What the kernel says. Stopped processes are alive, zombies are dead; `unknown` if it cannot
    /// be asked, since somebody has closed the segment's descriptor.
    verdict state = verdict::unknown;
    bool self = false; ///< it is this process, by this handle
};

/// What segment::participants() returns.
using participant_list = listing<participant>;

namespace detail {

// Any number may come and go meanwhile: each was there at one moment.
[[gnu::cold]] inline participant_list list_participants(const segment_header& header) {
    participant_list list;
    for (std::uint32_t index = 0; index < process_table::spare(header); ++index) {
        const participant_slot& slot = process_table::of(header).slots[index];
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
            state = now; // another one has the slot by now, or nobody
        }
    }
    return list;
}

// How many dead ones this call has put in order.
[[gnu::cold]] inline std::size_t recover_participants(segment_header& header,
                                                      std::error_code& ec) noexcept {
    const owner_word me = participant_of(header, ec);
    return ec ? 0 : recover_all(header, me);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
