// segment_options: what a new segment shall be.
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
    /// the segment needs for itself. It grows on its own, up to the reserve.
    std::size_t size = config::default_size;
    /// Address range that every process keeps for the segment: the size that it can never outgrow.
    /// Costs nothing until used. 0: the larger of COHOLD_DEFAULT_RESERVE (1 GiB; 64 MiB in 32-bit
    /// programs) and 16 times the
    /// size.
    std::size_t reserve = 0;
    /// How many processes can use the segment at the same time, 2 to 4094. Each one more than 64
    /// takes 64 bytes of it.
    std::size_t participants = config::max_participants;
    /// Who removes the name?
    enum lifetime lifetime = lifetime::persistent;
    /// Touch all pages of `size` now, in this process, so that no page fault comes later.
    bool populate = false;
    /// The group that the object shall belong to, for permission::group and group_read. None: the
    /// kernel's choice.
    std::optional<gid_t> group = std::nullopt;
    /// What this process wants of its mapping, whether it makes the segment or opens it. Huge pages
    /// of hugetlb memory are a property of the segment, settled by who makes it. Where huge pages
    /// are asked for, except by `advise`, `size` is rounded up to whole ones.
    mapping_options mapping = {};
    /// What nobody shall be able to do to a memfd any more, once the segment is made. Not for other
    /// mechanisms: errc::unsupported. With seal::grow the reserve is the size.
    seal seals = seal::none;
};

COHOLD_NAMESPACE_END

#endif
