// Definitions for segment_state.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SEGMENT_STATE_IPP
#define COHOLD_INSPECT_SEGMENT_STATE_IPP

#include <cohold/inspect/segment_state.hpp>

COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE std::size_t segment_state::count(verdict of) const noexcept {
    std::size_t out = 0;
    for (const participant& each : participants) {
        out += each.state == of ? 1 : 0;
    }
    return out;
}

namespace detail {

COHOLD_INLINE bool read_participant(const segment_source& source, std::uint32_t index,
                                    participant_slot& slot, participant& out) {
    const std::uint64_t at = participant_table::offset_of(index);
    for (int attempt = 0; attempt < 3; ++attempt) {
        const std::uint64_t state = slot.state.load(std::memory_order_relaxed);
        if ((state & attached_bit) == 0) {
            return false;
        }
        out.slot = index;
        out.pid = static_cast<pid_t>(slot.pid.load(std::memory_order_relaxed));
        out.start_time = slot.start_time.load(std::memory_order_relaxed);
        out.attached = slot.attached.load(std::memory_order_relaxed);
        out.self = out.pid == ::getpid() && out.start_time == process_start_time();
        out.state = source.probe(index, slot.read_token());
        if (out.state == verdict::alive) {
            return true;
        }
        // A detaching process releases the lock after it has said that it detaches: look again.
        if (source.read(&slot, sizeof slot, at) != sizeof slot) {
            out.state = verdict::unknown;
            return true;
        }
        if (slot.state.load(std::memory_order_relaxed) == state) {
            return true;
        }
        out.state = verdict::unknown;
    }
    return true;
}

COHOLD_INLINE void read_participants(const segment_source& source, std::uint32_t slots,
                                     segment_state& out) {
    constexpr auto chunk = static_cast<std::uint32_t>(near_slots);
    participant_slot some[chunk];
    for (std::uint32_t first = 0; first < slots;
         first += chunk) { // read in pieces, each of them contiguous
        const std::uint32_t count = slots - first < chunk ? slots - first : chunk;
        const std::uint64_t at = participant_table::offset_of(first);
        const std::size_t got = source.read(some, count * sizeof(participant_slot), at);
        for (std::uint32_t i = 0; i < got / sizeof(participant_slot); ++i) {
            participant found;
            if (read_participant(source, first + i, some[i], found)) {
                out.participants.push_back(found);
            }
        }
    }
}

COHOLD_INLINE standing judge(const segment_state& state, int attended) noexcept {
    if (state.count(verdict::alive) != 0 || attended == 1) {
        return standing::in_use;
    }
    if (state.count(verdict::unknown) != 0 || attended < 0) {
        return standing::unknown;
    }
    if (state.lifetime == lifetime::session) {
        return standing::session_over;
    }
    return state.participants.empty() ? standing::unused : standing::abandoned;
}

COHOLD_INLINE segment_state examine(const segment_source& source) {
    const report_keeper keeper;
    segment_state out;
    segment_header header{};
    const std::size_t got = source.read(&header, sizeof header, 0);
    const std::uint64_t bytes = source.size();
    if (got == segment_source::refused) {
        if (errno == EACCES || errno == EPERM) {
            fail(out.problem, errc::permission_denied);
        } else {
            fail_errno(out.problem, errno, "shmat");
        }
        return out;
    }
    if (got != sizeof header || bytes < control_bytes) {
        out.standing = standing::not_a_segment;
        fail(out.problem, errc::not_a_segment);
        return out;
    }
    validate_header(header, bytes, out.problem);
    if (out.problem == errc::not_a_segment) {
        const bool begun = header.magic.load(std::memory_order_relaxed) == 0 &&
                           header.order == word_order &&
                           header.header_bytes == sizeof(segment_header) &&
                           header.checksum == header.expected_checksum();
        out.standing = begun ? standing::unfinished : standing::not_a_segment;
        return out;
    }
    if (out.problem == errc::byte_order_mismatch || out.problem == errc::layout_mismatch) {
        out.layout_version = header.layout_version;
        out.standing = standing::foreign;
        return out;
    }
    out.layout_version = header.layout_version;
    if (out.problem && out.problem != errc::truncated) {
        out.standing = standing::damaged;
        return out;
    }
    out.lifetime = static_cast<lifetime>(header.life);
    out.name = header.name_view();
    out.id[0] = header.id[0];
    out.id[1] = header.id[1];
    out.created = header.created;
    out.size = header.size.load(std::memory_order_relaxed);
    out.reserve = header.reserve;
    if (out.problem == errc::truncated) {
        out.standing = standing::damaged;
        return out;
    }
    read_participants(source, header.max_participants + 1, out);
    const int attended = out.lifetime == lifetime::session ? source.anybody() : 0;
    out.standing = judge(out, attended);
    if (out.standing == standing::session_over && source.nameless()) {
        out.standing = standing::unused; // nothing to remove
    }
    return out;
}

} // namespace detail

COHOLD_INLINE segment_state inspect_segment(const file_descriptor& object) {
    return detail::examine(detail::file_source(object));
}

COHOLD_INLINE segment_state inspect_segment(const system_v_id& object) {
    return detail::examine(detail::system_v_source(object.value));
}

COHOLD_NAMESPACE_END

#endif
