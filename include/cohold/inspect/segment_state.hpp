// inspect_segment: what a segment says about itself and its users, without attaching to it and
// without trusting its bytes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SEGMENT_STATE_HPP
#define COHOLD_INSPECT_SEGMENT_STATE_HPP

#include <string>
#include <vector>

#include <cohold/handle/listing.hpp>
#include <cohold/inspect/detail/segment_source.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

/// The relation of a segment to its users.
enum class standing {
    not_a_segment, ///< of cohold: it belongs to another program
    unfinished,    ///< still being made, or left behind by a creator that was killed
    damaged,       ///< it claims to be a segment, but is not in order
    foreign,       ///< of another layout version or byte order: nothing more can be said
    in_use,        ///< a process is attached
    unused,        ///< persistent, and all participants have detached properly
    abandoned,     ///< persistent, and all its participants are dead; the next to open it recovers
    session_over,  ///< of session lifetime, and no process is attached: remove_stale() removes it
    unknown,       ///< the kernel did not tell
};

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(standing how) noexcept {
    constexpr std::string_view names[] = {"not a segment", "unfinished",   "damaged",
                                          "foreign",       "in use",       "unused",
                                          "abandoned",     "session over", "unknown"};
    return names[static_cast<int>(how)];
}

/// What can be known about a segment from outside. The fields after `problem` are set only if there
/// is no problem, or it is errc::truncated or (only layout_version) layout_mismatch.
struct segment_state {
    enum standing standing = standing::unknown; ///< what can be said in a word
    std::error_code problem;          ///< what is wrong with the header: the error of open()
    std::uint32_t layout_version = 0; ///< COHOLD_LAYOUT_VERSION of its creator
    enum lifetime lifetime = lifetime::persistent; ///< how long it lives
    std::string name;             ///< the full name, or its first 512 bytes; empty for unnamed ones
    std::uint64_t id[2] = {0, 0}; ///< a random number, the same in all processes
    std::uint64_t created = 0;    ///< nanoseconds since 1970
    std::uint64_t size = 0;       ///< existing bytes
    std::uint64_t reserve = 0;    ///< bytes that it can grow to
    /// Processes that have worked in it and have not detached. Processes that only read, or have
    /// not done anything yet, are not among them; list_mappings() finds them.
    std::vector<participant> participants;

    /// Is it a segment of cohold, in whatever state?
    [[nodiscard]] bool is_segment() const noexcept {
        return standing != standing::not_a_segment && standing != standing::unknown;
    }

    /// The number of participants for which the kernel gives this answer.
    [[nodiscard]] std::size_t count(verdict of) const noexcept;

    /// Left behind by processes that are dead, in one way or another.
    [[nodiscard]] bool is_stale() const noexcept {
        return standing == standing::session_over || standing == standing::abandoned;
    }
};

namespace detail {

// One slot, with the kernel's answer about its process. Returns false if it is free.
[[gnu::cold]] bool read_participant(const segment_source& source, std::uint32_t index,
                                    participant_slot& slot, participant& out);

[[gnu::cold]] void read_participants(const segment_source& source, std::uint32_t slots,
                                     segment_state& out);

[[gnu::cold]] standing judge(const segment_state& state, int attended) noexcept;

[[gnu::cold]] segment_state examine(const segment_source& source);

} // namespace detail

/// What a file, POSIX object or memfd is as a segment; the descriptor must allow reading, nothing
/// else. Nothing is mapped, so nothing can crash, whatever the bytes are and even if the object is
/// truncated meanwhile; nobody is disturbed. The kernel is asked about each participant.
/// *Complexity*: a system call for each.
[[nodiscard, gnu::cold]] segment_state inspect_segment(const file_descriptor& object);

/// The same for a System V segment, which is attached for a moment, read-only, and copied by the
/// kernel: this shows in shm_atime, shm_lpid and shm_nattch. A segment without allocated pages is
/// not touched.
[[nodiscard, gnu::cold]] segment_state inspect_segment(const system_v_id& object);

/// The same by name. *Errors*: those of Mechanism::open; it is no error if the object is not a
/// segment.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_state inspect_segment(name_argument name, std::error_code& ec) {
    const detail::error_context context("inspect", Mechanism::label, name);
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
[[nodiscard]] segment_state inspect_segment(name_argument name) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_segment<Mechanism>(name, ec); });
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/segment_state.ipp>
#endif

#endif
