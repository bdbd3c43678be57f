// The lines of /proc/PID/maps and smaps.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_PROC_MAPS_HPP
#define COHOLD_DETAIL_PROC_MAPS_HPP

#include <cohold/detail/proc_text.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A mapping, as the kernel prints it.
struct map_line {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    bool readable = false;
    bool writable = false;
    bool shared = false;
    std::uint64_t offset = 0;
    std::uint64_t device = 0; // as st_dev
    std::uint64_t inode = 0;
    std::string_view path; // with "\012" for the ends of lines in it, and " (deleted)" behind it
};

// The two numbers of a device as one, as stat(2) gives it.
[[nodiscard]] constexpr std::uint64_t device_number(std::uint64_t major,
                                                    std::uint64_t minor) noexcept {
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~std::uint64_t{0xff}) << 12 |
           (major & ~std::uint64_t{0xfff}) << 32;
}

// False if the line is something else.
[[gnu::cold]] inline bool parse_map_line(std::string_view line, map_line& out) noexcept {
    const std::string_view range = next_word(line);
    const std::string_view kind = next_word(line);
    const std::string_view offset = next_word(line);
    const std::string_view device = next_word(line);
    const auto inode = number_in(next_word(line));
    const std::size_t dash = range.find('-');
    const std::size_t colon = device.find(':');
    if (dash == std::string_view::npos || colon == std::string_view::npos || kind.size() != 4 ||
        !inode) {
        return false;
    }
    const auto from = number_in(range.substr(0, dash), 16);
    const auto to = number_in(range.substr(dash + 1), 16);
    const auto start = number_in(offset, 16);
    const auto major = number_in(device.substr(0, colon), 16);
    const auto minor = number_in(device.substr(colon + 1), 16);
    if (!from || !to || *to < *from || !start || !major || !minor) {
        return false;
    }
    out = {*from,
           *to,
           kind[0] == 'r',
           kind[1] == 'w',
           kind[3] == 's',
           *start,
           device_number(*major, *minor),
           *inode,
           line};
    return true;
}

// Calls visit(mapping) for each line of a text of /proc/PID/maps.
template <class Visit>
[[gnu::cold]] void for_each_mapping(std::string_view text, const Visit& visit) {
    map_line found;
    while (!text.empty()) {
        if (parse_map_line(next_line(text), found)) {
            visit(found);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
