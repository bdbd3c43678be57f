// segment_options: the properties of a new segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SEGMENT_OPTIONS_HPP
#define COHOLD_HANDLE_SEGMENT_OPTIONS_HPP

#include <cstddef>
#include <optional>

#include <cohold/engine/header.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/policy/memfd.hpp>

COHOLD_NAMESPACE_BEGIN

/// For `segment::create(name, {.size = 1 << 20, .reserve = 1 << 30})`.
struct segment_options {
    /// Bytes at first, all of them backed by real memory; rounded up to whole pages, and to what
    /// the segment needs for itself. It grows by itself, up to the reserve.
    std::size_t size = config::default_size;
    /// The range of addresses that every process keeps for the segment: a size that it can never
    /// exceed. Costs nothing until it is used. 0: the larger of COHOLD_DEFAULT_RESERVE (1 GiB; 64
    /// MiB in 32-bit programs) and 16 times the size.
    std::size_t reserve = 0;
    /// How many processes can use the segment at the same time, 2 to 4094. Each one beyond 64 takes
    /// 64 bytes of it.
    std::size_t participants = config::max_participants;
    /// Does the name stay until it is removed, or go with the last process?
    enum lifetime lifetime = lifetime::persistent;
    /// Touch all pages of `size` now, in this process, so that there are no page faults later.
    bool populate = false;
    /// The group that the object will belong to, for permission::group and group_read. None: the
    /// kernel's choice.
    std::optional<gid_t> group = std::nullopt;
    /// What this process wants from its mapping, whether it creates the segment or opens it. Huge
    /// pages of hugetlb memory are a property of the segment, which its creator chooses. Where huge
    /// pages are requested, except by `advise`, `size` is rounded up to whole ones.
    mapping_options mapping = {};
    /// What nobody will be able to do to a memfd once the segment is made. Not for other
    /// mechanisms: errc::unsupported. With seal::grow the reserve is the size.
    seal seals = seal::none;
};

COHOLD_NAMESPACE_END

#endif
