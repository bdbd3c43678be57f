// Definitions for limits.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_LIMITS_IPP
#define COHOLD_OS_LIMITS_IPP

#include <cohold/os/limits.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::uint64_t soft_limit(int which) noexcept {
    struct {
        std::uint64_t soft;
        std::uint64_t hard;
    } found{UINT64_MAX, UINT64_MAX};

    ::syscall(SYS_prlimit64, 0, which, nullptr, &found);
    return found.soft;
}

COHOLD_INLINE std::uint64_t file_size_limit() noexcept {
    return soft_limit(RLIMIT_FSIZE);
}

COHOLD_INLINE std::optional<std::uint64_t> resource_limit(int which) noexcept {
    const std::uint64_t soft = soft_limit(which);
    return soft == UINT64_MAX ? std::optional<std::uint64_t>() : std::optional(soft);
}

COHOLD_INLINE std::string_view status_word(std::string_view text, std::string_view key) noexcept {
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (line.size() > key.size() && line.substr(0, key.size()) == key &&
            line[key.size()] == ':') {
            line.remove_prefix(key.size() + 1);
            return next_word(line);
        }
    }
    return {};
}

COHOLD_INLINE bool may_lock_everything(std::string_view status, std::string_view uid_map) noexcept {
    constexpr std::uint64_t ipc_lock = std::uint64_t{1} << 14;
    const std::uint64_t effective = number_in(status_word(status, "CapEff"), 16).value_or(0);
    std::string_view line = next_line(uid_map);
    const bool first =
        next_word(line) == "0" && next_word(line) == "0" && next_word(line) == "4294967295";
    return first && (effective & ipc_lock) != 0;
}

COHOLD_INLINE std::uint64_t count_lines(std::string_view text) noexcept {
    std::uint64_t lines = 0;
    for (const char c : text) {
        lines += c == '\n' ? 1 : 0;
    }
    return lines;
}

COHOLD_INLINE std::uint64_t open_descriptors() noexcept {
    folder all("/proc/self/fd");
    std::uint64_t count = 0;
    while (all && all.next() != nullptr) {
        ++count;
    }
    return count == 0 ? 0 : count - 1; // without the descriptor of the directory itself
}

COHOLD_INLINE std::string_view memory_group(std::string_view text, bool& unified) noexcept {
    std::string_view found;
    unified = true;
    while (!text.empty()) {
        std::string_view line = next_line(text);
        const std::size_t first = line.find(':');
        const std::size_t second =
            line.find(':', first == std::string_view::npos ? first : first + 1);
        if (second == std::string_view::npos) {
            continue;
        }
        std::string_view controllers = line.substr(first + 1, second - first - 1);
        if (controllers.empty() && unified) {
            found = line.substr(second + 1);
        }
        while (!controllers.empty()) {
            const std::size_t comma = controllers.find(',');
            if (controllers.substr(0, comma) == "memory") {
                unified = false;
                found = line.substr(second + 1);
            }
            controllers.remove_prefix(comma == std::string_view::npos ? controllers.size()
                                                                      : comma + 1);
        }
    }
    return found;
}

COHOLD_INLINE bool memory_group_mount(std::string_view mounts, bool unified, std::string& point,
                                      std::string& root) {
    while (!mounts.empty()) {
        std::string_view line = next_line(mounts);
        const std::size_t dash = line.find(" - ");
        if (dash == std::string_view::npos) {
            continue;
        }
        std::string_view behind = line.substr(dash + 3);
        const std::string_view type = next_word(behind);
        next_word(behind);
        const bool memory = ("," + std::string(behind) + ",").find(",memory,") != std::string::npos;
        if (unified ? type == "cgroup2" : type == "cgroup" && memory) {
            next_word(line);
            next_word(line);
            next_word(line);
            root = unescaped(next_word(line));
            point = unescaped(next_word(line));
            return true;
        }
    }
    return false;
}

COHOLD_INLINE group_memory read_group_memory(std::string_view groups, std::string_view mounts,
                                             const std::string& prefix) {
    constexpr std::uint64_t no_limit = std::uint64_t{1} << 62; // version 1 shows a large number
    group_memory out;
    bool unified = true;
    std::string group(memory_group(groups, unified));
    std::string point;
    std::string root;
    if (group.empty() || !memory_group_mount(mounts, unified, point, root)) {
        return out;
    }
    if (root.size() > 1 && group.compare(0, root.size(), root) == 0) {
        group.erase(0, root.size());
    }
    if (group == "/" || group.find("/..") != std::string::npos) {
        group.clear(); // outside the mounted part
    }
    for (;;) {
        const std::string folder_path = prefix + point + group;
        const auto most = number_of_file(
            (folder_path + (unified ? "/memory.max" : "/memory.limit_in_bytes")).c_str());
        const auto used = number_of_file(
            (folder_path + (unified ? "/memory.current" : "/memory.usage_in_bytes")).c_str());
        const auto left = [](std::optional<std::uint64_t> all,
                             std::optional<std::uint64_t> taken) noexcept {
            return *all > taken.value_or(0) ? *all - taken.value_or(0) : 0;
        };
        if (most && *most < no_limit &&
            (!out.most || left(most, used) < left(out.most, out.used))) {
            out = {point + group, most, used};
        }
        if (group.empty()) {
            return out;
        }
        group.erase(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
    }
}

COHOLD_INLINE std::uint64_t labelled_number(std::string_view text,
                                            std::string_view label) noexcept {
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (next_word(line) == label) {
            return number_in(next_word(line)).value_or(0);
        }
    }
    return 0;
}

COHOLD_INLINE std::uint64_t group_memory_left(std::string_view groups, std::string_view mounts,
                                              std::uint64_t swap, const std::string& prefix) {
    const group_memory group = read_group_memory(groups, mounts, prefix);
    if (!group.most) {
        return UINT64_MAX;
    }
    std::string text;
    read_text((prefix + group.path + "/memory.stat").c_str(), text);
    const bool first = text.find("total_inactive_file") != std::string::npos; // version 1
    const std::uint64_t cached =
        labelled_number(text, first ? "total_inactive_file" : "inactive_file") +
        labelled_number(text, first ? "total_active_file" : "active_file");
    const std::uint64_t used = group.used.value_or(0);
    const std::uint64_t taken = used > cached ? used - cached : 0;
    const auto swap_most = number_of_file((prefix + group.path + "/memory.swap.max").c_str());
    const auto swap_used = number_of_file((prefix + group.path + "/memory.swap.current").c_str());
    if (swap_most) {
        const std::uint64_t left =
            *swap_most > swap_used.value_or(0) ? *swap_most - swap_used.value_or(0) : 0;
        swap = left < swap ? left : swap;
    }
    return (*group.most > taken ? *group.most - taken : 0) + swap;
}

COHOLD_INLINE std::uint64_t group_memory_left(std::uint64_t swap) noexcept {
    std::string groups;
    std::string mounts;
    return read_text("/proc/self/cgroup", groups) != 0 ||
                   read_text("/proc/self/mountinfo", mounts) != 0
               ? UINT64_MAX
               : group_memory_left(groups, mounts, swap);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
