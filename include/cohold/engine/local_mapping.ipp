// Definitions for local_mapping.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_LOCAL_MAPPING_IPP
#define COHOLD_ENGINE_LOCAL_MAPPING_IPP

#include <cohold/engine/local_mapping.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void mapping_list::add(local_mapping& mapping) noexcept {
    const lock held(*this);
    const auto begin = reinterpret_cast<std::uintptr_t>(&mapping + 1);
    if (begin < lowest_.load(std::memory_order_relaxed)) {
        lowest_.store(begin, std::memory_order_relaxed);
    }
    const auto end = begin + static_cast<std::uintptr_t>(mapping.reserve);
    if (end > highest_.load(std::memory_order_relaxed)) {
        highest_.store(end, std::memory_order_relaxed);
    }
    mapping.next_mapping = first_.load(std::memory_order_relaxed);
    first_.store(&mapping, std::memory_order_relaxed);
}

COHOLD_INLINE void mapping_list::remove(local_mapping& mapping) noexcept {
    {
        const lock held(*this);
        if (first_.load(std::memory_order_relaxed) == &mapping) {
            first_.store(mapping.next_mapping, std::memory_order_relaxed);
        }
        for (local_mapping* each = first_.load(std::memory_order_relaxed); each != nullptr;
             each = each->next_mapping) {
            if (each->next_mapping == &mapping) {
                each->next_mapping = mapping.next_mapping;
            }
        }
        mapping.next_mapping = &mapping; // a thread that is at this mapping has to start again
    }
    for (yielding turn; mapping.identity->pins.load(std::memory_order_acquire) != 0;) {
        turn.yield();
    }
}

COHOLD_INLINE segment_header* mapping_list::around(std::uintptr_t address) noexcept {
    if (address < lowest_.load(std::memory_order_relaxed) ||
        address >= highest_.load(std::memory_order_relaxed)) {
        return nullptr;
    }
    const lock held(*this);
    for (local_mapping* each = first_.load(std::memory_order_relaxed); each != nullptr;
         each = each->next_mapping) {
        if (address - reinterpret_cast<std::uintptr_t>(each + 1) < each->reserve &&
            is_here(*each)) {
            return reinterpret_cast<segment_header*>(each + 1);
        }
    }
    return nullptr;
}

COHOLD_INLINE local_mapping* mapping_list::next_pinned(local_mapping* last) noexcept {
    const lock held(*this);
    local_mapping* const next = last == nullptr || last->next_mapping == last
                                    ? first_.load(std::memory_order_relaxed)
                                    : last->next_mapping;
    if (last != nullptr) {
        last->identity->pins.fetch_sub(1, std::memory_order_release);
    }
    if (next != nullptr) {
        next->identity->pins.fetch_add(1, std::memory_order_relaxed);
    }
    return next;
}

[[gnu::noinline]] COHOLD_INLINE std::uint64_t bounded_by_object(const local_mapping& local,
                                                                std::uint64_t size) noexcept {
    const std::uint64_t now = local.calls->length(local);
    const std::uint64_t there = now != 0 && now < local.reserve ? now : local.reserve;
    local.length.store(there, std::memory_order_relaxed);
    return size < there ? size : there;
}

[[gnu::noinline]] COHOLD_INLINE std::uint32_t
count_participants(const segment_header& header) noexcept {
    const std::uint64_t size = bounded_size(header);
    std::uint64_t count = header.max_participants;
    const std::uint64_t room = near_slots - 1 +
                               (size < far_slots_offset ? 0 : size - far_slots_offset) /
                                   participant_bytes; // whatever the segment says
    count = count < room ? count : room;
    count = count < most_participants ? count : most_participants;
    const auto found = static_cast<std::uint32_t>(count);
    local_of(header).participants.store(found, std::memory_order_relaxed);
    return found;
}

COHOLD_INLINE void grow_segment(segment_header& header, std::uint64_t to,
                                std::error_code& ec) noexcept {
    const std::uint64_t from = header.size.load(std::memory_order_relaxed);
    if (to <= from) {
        return;
    }
    const local_mapping& local = local_of(header);
    if (to > local.reserve) {
        fail(ec, errc::reserve_exceeded, "wanted a size of %llu bytes, the reserve has %llu",
             static_cast<unsigned long long>(to), static_cast<unsigned long long>(local.reserve));
        return;
    }
    local.calls->back(local, &header, from, to, ec);
    if (!ec) {
        header.size.store(to, std::memory_order_release); // after the space exists: no SIGBUS
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
