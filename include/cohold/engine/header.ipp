// Definitions for header.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_HEADER_IPP
#define COHOLD_ENGINE_HEADER_IPP

#include <cohold/engine/header.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void segment_header::set_name(std::string_view full) noexcept {
    const hash_pair hash = hash128(full);
    name_hash[0] = hash.first;
    name_hash[1] = hash.second;
    name_length = static_cast<std::uint32_t>(full.size());
    if (!full.empty()) {
        std::memcpy(name, full.data(), full.size() < sizeof name ? full.size() : sizeof name);
    }
}

COHOLD_INLINE void validate_header(const segment_header& header, std::uint64_t object_bytes,
                                   std::error_code& ec) noexcept {
    const auto unequal = [&ec](errc code, const char* field, std::uint64_t expected,
                               std::uint64_t found) noexcept {
        if (!ec && expected != found) {
            fail(ec, code, "%s: expected %#llx, found %#llx", field,
                 static_cast<unsigned long long>(expected), static_cast<unsigned long long>(found));
        }
    };
    if (object_bytes < control_bytes) {
        fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
             static_cast<unsigned long long>(control_bytes),
             static_cast<unsigned long long>(object_bytes));
        return;
    }
    unequal(errc::not_a_segment, "magic", magic_word(),
            header.magic.load(std::memory_order_acquire));
    unequal(errc::byte_order_mismatch, "word order", word_order, header.order);
    unequal(errc::layout_mismatch, "layout version", COHOLD_LAYOUT_VERSION, header.layout_version);
    unequal(errc::corrupt, "header bytes", sizeof(segment_header), header.header_bytes);
    unequal(errc::corrupt, "checksum", header.expected_checksum(), header.checksum);
    if (ec) {
        return;
    }
    if (header.max_participants < least_participants ||
        header.max_participants > most_participants) {
        fail(ec, errc::corrupt, "participants: expected %u to %u, found %u", least_participants,
             most_participants, header.max_participants);
        return;
    }
    const std::uint64_t smallest = smallest_segment_for(header.max_participants);
    const std::uint64_t size = header.size.load(std::memory_order_acquire);
    if (header.reserve < smallest || header.reserve > largest_reserve) {
        fail(ec, errc::corrupt, "reserve: expected %llu to %llu bytes, found %llu",
             static_cast<unsigned long long>(smallest),
             static_cast<unsigned long long>(largest_reserve),
             static_cast<unsigned long long>(header.reserve));
    } else if (size < smallest || size > header.reserve) {
        fail(ec, errc::corrupt, "size: expected %llu to %llu bytes, found %llu",
             static_cast<unsigned long long>(smallest),
             static_cast<unsigned long long>(header.reserve),
             static_cast<unsigned long long>(size));
    } else if (size > object_bytes) {
        fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
             static_cast<unsigned long long>(size), static_cast<unsigned long long>(object_bytes));
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
