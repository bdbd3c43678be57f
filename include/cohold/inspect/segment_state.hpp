// inspect_segment: what a segment says of itself and who uses it, learned without attaching to it
// and without trust in its bytes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SEGMENT_STATE_HPP
#define COHOLD_INSPECT_SEGMENT_STATE_HPP

#include <string>
#include <vector>

#include <cohold/handle/listing.hpp>
#include <cohold/inspect/detail/segment_source.hpp>

COHOLD_NAMESPACE_BEGIN

/// How a segment stands with its users.
enum class standing {
    not_a_segment, ///< of cohold: another program's
    unfinished,    ///< still being made, or left so by a creator that was killed
    damaged,       ///< it says that it is one, and is not in order
    foreign,       ///< of another layout version or byte order: nothing more can be said
    in_use,        ///< a process is attached
    unused,        ///< persistent, and no participant has ever left without detaching
    abandoned,     ///< persistent, and all its participants are dead; the next to open it recovers
    session_over,  ///< of session lifetime, and nobody is attached: remove_stale() removes it
    unknown,       ///< the kernel did not tell
};

/// Its name, for people.
[[nodiscard]] constexpr std::string_view name_of(standing how) noexcept {
    constexpr std::string_view names[] = {"not a segment", "unfinished",   "damaged",
                                          "foreign",       "in use",       "unused",
                                          "abandoned",     "session over", "unknown"};
    return names[static_cast<int>(how)];
}

/// What can be known of a segment from outside. The fields behind `problem` are set only if that is
/// none, or errc::truncated or (layout_version) layout_mismatch.
struct segment_state {
    enum standing standing = standing::unknown;
    std::error_code problem; ///< what is wrong with the header, as open() would say
    std::uint32_t layout_version = 0;
    enum lifetime lifetime = lifetime::persistent;
    std::string name; ///< the full name, or its first 512 bytes; empty for unnamed ones
    std::uint64_t id[2] = {0, 0};
    std::uint64_t created = 0; ///< nanoseconds since 1970
    std::uint64_t size = 0;    ///< bytes that are there
    std::uint64_t reserve = 0; ///< bytes that it can grow to
    /// Processes that have worked in it and have not detached. Those that only read, or have not
    /// done anything yet, are none; list_mappings() finds them.
    std::vector<participant> participants;

    [[nodiscard]] bool is_segment() const noexcept {
        return standing != standing::not_a_segment && standing != standing::unknown;
    }

    /// How many participants the kernel says that of.
    [[nodiscard]] std::size_t count(verdict of) const noexcept {
        std::size_t out = 0;
        for (const participant& each : participants) {
            out += each.state == of ? 1 : 0;
        }
        return out;
    }

    /// Left behind by processes that are dead, each in its way.
    [[nodiscard]] bool is_stale() const noexcept {
        return standing == standing::session_over || standing == standing::abandoned;
    }
};

namespace detail {

// One slot, with the kernel's word on it. False if nobody is there.
[[gnu::cold]] inline bool read_participant(const segment_source& source, std::uint32_t index,
                                           participant_slot& slot, participant& out) {
    const std::uint64_t at = process_table::offset_of(index);
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
        // Who detaches lets go of the lock after he has said so: look again.
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

[[gnu::cold]] inline void read_participants(const segment_source& source, std::uint32_t slots,
                                            segment_state& out) {
    constexpr auto chunk = static_cast<std::uint32_t>(near_slots);
    participant_slot some[chunk];
    for (std::uint32_t first = 0; first < slots; first += chunk) { // each lies together
        const std::uint32_t count = slots - first < chunk ? slots - first : chunk;
        const std::uint64_t at = process_table::offset_of(first);
        const std::size_t got = source.read(some, count * sizeof(participant_slot), at);
        for (std::uint32_t i = 0; i < got / sizeof(participant_slot); ++i) {
            participant found;
            if (read_participant(source, first + i, some[i], found)) {
                out.participants.push_back(found);
            }
        }
    }
}

[[gnu::cold]] inline standing judge(const segment_state& state, int attended) noexcept {
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

[[gnu::cold]] inline segment_state examine(const segment_source& source) {
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

/// What a file, POSIX object or memfd is as a segment; reading it is all that the descriptor must
/// allow. Nothing is mapped, so nothing can crash, whatever the bytes are and whoever truncates it
/// meanwhile; nobody is disturbed. The kernel is asked about each participant. *Complexity*: a
/// system call for each.
[[nodiscard, gnu::cold]] inline segment_state inspect_segment(const file_descriptor& object) {
    return detail::examine(detail::file_source(object));
}

/// The same of a System V segment, which is attached for a moment, read-only, and copied by the
/// kernel: shm_atime, shm_lpid and shm_nattch show it. One in which no page is allocated is not
/// touched.
[[nodiscard, gnu::cold]] inline segment_state inspect_segment(const system_v_id& object) {
    return detail::examine(detail::system_v_source(object.value));
}

/// The same by name. *Errors*: as Mechanism::open has them; that it is no segment is none.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_state inspect_segment(std::string_view name, std::error_code& ec) {
    const detail::operation context("inspect", Mechanism::label, name);
    ec.clear();
    auto object = Mechanism::open(name, access_mode::reading, ec);
    if (ec) {
        return {};
    }
    segment_state out = inspect_segment(object);
    Mechanism::close(object);
    return out;
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_state inspect_segment(std::string_view name) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_segment<Mechanism>(name, ec); });
}

COHOLD_NAMESPACE_END

#endif
