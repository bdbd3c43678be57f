// The header at the beginning of a segment: the sizes of what has a fixed place, the fields, and
// their validation. docs/layout.md describes them for programs in other languages.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_HEADER_HPP
#define COHOLD_ENGINE_HEADER_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <cohold/config.hpp>
#include <cohold/error.hpp>
#include <cohold/os/hash.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// What removes the name of a segment.
enum class lifetime : std::uint32_t {
    persistent = 0, ///< only an explicit removal, as with a file
    session =
        1, ///< the last process that detaches; if all users are dead, the segment counts as absent
};

namespace detail {

// ---- what has a fixed size or place

// "cohold" and two bytes that do not occur in text. Compared as bytes, so that a segment with the
// other byte order is recognized.
inline constexpr char segment_magic[8] = {'c', 'o', 'h', 'o', 'l', 'd', '\x1a', '\0'};
inline constexpr std::uint32_t word_order = 0x01020304;
inline constexpr std::uint64_t control_bytes = 4096;   // of the header, regardless of the page size
inline constexpr std::uint64_t participant_bytes = 64; // of a slot of the process table
// The process table has one slot more than there can be participants: see attach. In every segment
// the first slots follow the header, so that everything after them has a fixed place. Further
// slots, if the segment has room for more participants, lie between the kept journals and the first
// block of the heap.
inline constexpr std::uint32_t least_participants = 2;
inline constexpr std::uint32_t most_participants = 4094; // so that 12 bits hold every slot index
inline constexpr std::uint64_t near_slots = 65;
inline constexpr std::uint64_t table_bytes = near_slots * participant_bytes;
inline constexpr std::uint64_t far_slots_offset = 20160;

[[nodiscard]] constexpr std::uint64_t far_bytes(std::uint64_t max_participants) noexcept {
    return max_participants < near_slots ? 0
                                         : (max_participants + 1 - near_slots) * participant_bytes;
}

// The size of a segment that has room for its process table, heap and directory.
[[nodiscard]] constexpr std::uint64_t smallest_segment_for(std::uint64_t participants) noexcept {
    return (5 * control_bytes + table_bytes + far_bytes(participants) + control_bytes - 1) /
           control_bytes * control_bytes;
}

inline constexpr std::uint64_t smallest_segment = smallest_segment_for(0);
inline constexpr std::uint64_t largest_reserve = std::uint64_t{1} << 47; // what a heap can address

// ---- the header

struct segment_header {
    // Written last, where publication is not one step; zero means "not ready".
    alignas(8) std::atomic<std::uint64_t> magic;
    std::uint32_t order;
    std::uint32_t layout_version;
    std::uint32_t header_bytes;
    std::uint32_t max_participants;
    alignas(8) std::uint64_t reserve;
    alignas(8) std::uint64_t id[2];   // random: distinguishes segments of the same name
    alignas(8) std::uint64_t created; // nanoseconds since 1970
    std::uint32_t life;
    std::uint32_t name_length;
    alignas(8) std::uint64_t name_hash[2];
    char name[512];                    // the full name, or the beginning of a longer one
    alignas(8) std::uint64_t checksum; // of everything from `order` to here
    // The fields from here on change.
    alignas(64) std::atomic<std::uint64_t> size; // bytes that are backed and published
    // Incremented before and after something is undone, so that readers without a lock read again.
    std::atomic<std::uint64_t> rollbacks;
    // 0, or the object_word() of the object of which free pages have been given back. A copy of it,
    // which may have lost others, is a different object.
    std::atomic<std::uint64_t> trimmed;

    [[nodiscard]] std::uint64_t expected_checksum() const noexcept {
        const char* from = reinterpret_cast<const char*>(&order);
        return hash64_of_sparse(
            from, static_cast<std::size_t>(reinterpret_cast<const char*>(&checksum) - from));
    }

    [[nodiscard]] std::string_view name_view() const noexcept {
        return {name, name_length < sizeof name ? name_length : sizeof name};
    }

    void set_name(std::string_view full) noexcept;

    [[nodiscard]] bool is_named(std::string_view full) const noexcept {
        const hash_pair hash = hash128(full);
        return name_length == full.size() && name_hash[0] == hash.first &&
               name_hash[1] == hash.second;
    }
};

// Are both mappings of the same segment?
[[nodiscard]] inline bool is_same_segment(const segment_header& a,
                                          const segment_header& b) noexcept {
    return a.id[0] == b.id[0] && a.id[1] == b.id[1];
}

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(offsetof(segment_header, order) == 8);
static_assert(offsetof(segment_header, layout_version) == 12);
static_assert(offsetof(segment_header, header_bytes) == 16);
static_assert(offsetof(segment_header, max_participants) == 20);
static_assert(offsetof(segment_header, reserve) == 24);
static_assert(offsetof(segment_header, id) == 32);
static_assert(offsetof(segment_header, created) == 48);
static_assert(offsetof(segment_header, life) == 56);
static_assert(offsetof(segment_header, name_length) == 60);
static_assert(offsetof(segment_header, name_hash) == 64);
static_assert(offsetof(segment_header, name) == 80);
static_assert(offsetof(segment_header, checksum) == 592);
static_assert(offsetof(segment_header, size) == 640);
static_assert(offsetof(segment_header, rollbacks) == 648);
static_assert(offsetof(segment_header, trimmed) == 656);
static_assert(sizeof(segment_header) == 704);

inline std::uint64_t magic_word() noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, segment_magic, sizeof word);
    return word;
}

// Checks every field of a header, which may contain any bytes. Reads only the header;
// `object_bytes` is the size of the object according to the kernel. Sets ec, and reports the wrong
// field with the expected and the found value.
[[gnu::cold]] void validate_header(const segment_header& header, std::uint64_t object_bytes,
                                   std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/header.ipp>
#endif

#endif
