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
    [[nodiscard]] std::size_t count(verdict of) const noexcept;

    /// Left behind by processes that are dead, each in its way.
    [[nodiscard]] bool is_stale() const noexcept {
        return standing == standing::session_over || standing == standing::abandoned;
    }
};

namespace detail {

// One slot, with the kernel's word on it. False if nobody is there.
[[gnu::cold]] bool read_participant(const segment_source& source, std::uint32_t index,
                                    participant_slot& slot, participant& out);

[[gnu::cold]] void read_participants(const segment_source& source, std::uint32_t slots,
                                     segment_state& out);

[[gnu::cold]] standing judge(const segment_state& state, int attended) noexcept;

[[gnu::cold]] segment_state examine(const segment_source& source);

} // namespace detail

/// What a file, POSIX object or memfd is as a segment; reading it is all that the descriptor must
/// allow. Nothing is mapped, so nothing can crash, whatever the bytes are and whoever truncates it
/// meanwhile; nobody is disturbed. The kernel is asked about each participant. *Complexity*: a
/// system call for each.
[[nodiscard, gnu::cold]] segment_state inspect_segment(const file_descriptor& object);

/// The same of a System V segment, which is attached for a moment, read-only, and copied by the
/// kernel: shm_atime, shm_lpid and shm_nattch show it. One in which no page is allocated is not
/// touched.
[[nodiscard, gnu::cold]] segment_state inspect_segment(const system_v_id& object);

/// The same by name. *Errors*: as Mechanism::open has them; that it is no segment is none.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_state inspect_segment(std::string_view name, std::error_code& ec) {
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
[[nodiscard]] segment_state inspect_segment(std::string_view name) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_segment<Mechanism>(name, ec); });
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/segment_state.ipp>
#endif

#endif
