// list_memfds: memory that has no name anywhere, found by who holds it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_MEMFDS_HPP
#define COHOLD_INSPECT_MEMFDS_HPP

#include <cohold/inspect/files.hpp>
#include <cohold/inspect/mappings.hpp>

COHOLD_NAMESPACE_BEGIN

/// An open descriptor of a memfd.
struct memfd_holder {
    pid_t process = 0;
    int descriptor = -1;
};

/// A memfd, its label as the name. One that is mapped while nobody has a descriptor of it has no
/// holders; then of its status no more is known than which it is, and that it is at least as large
/// as what is mapped.
struct memfd_entry : file_entry {
    std::vector<memfd_holder> holders;
};

namespace detail {

// The label in what /proc says of a descriptor or mapping; false if it is of something else.
[[gnu::cold]] inline bool parse_memfd(std::string_view target, std::string& label) {
    constexpr std::string_view begin = "/memfd:";
    constexpr std::string_view end = " (deleted)";
    if (target.substr(0, begin.size()) != begin || target.size() < begin.size() + end.size() ||
        target.substr(target.size() - end.size()) != end) {
        return false;
    }
    target.remove_prefix(begin.size());
    target.remove_suffix(end.size());
    label = target;
    return true;
}

[[gnu::cold]] inline memfd_entry& memfd_in(std::vector<memfd_entry>& all, std::uint64_t device,
                                           std::uint64_t inode) {
    for (memfd_entry& each : all) {
        if (each.device == device && each.inode == inode) {
            return each;
        }
    }
    all.emplace_back();
    all.back().kind = object_kind::memfd;
    all.back().device = device;
    all.back().inode = inode;
    return all.back();
}

[[gnu::cold]] inline void add_memfds(folder& descriptors, pid_t process,
                                     std::vector<memfd_entry>& out) {
    std::string label;
    file_status status{};
    while (const char* const name = descriptors.next()) {
        if (!parse_memfd(descriptors.link(name), label) ||
            descriptors.status(name, status, true) != 0 || !S_ISREG(status.st_mode)) {
            continue; // something else, or closed meanwhile
        }
        memfd_entry& entry = memfd_in(out, status.st_dev, status.st_ino);
        if (entry.holders.empty()) {
            entry.name = label;
            entry.path = "/proc/" + std::to_string(process) + "/fd/" + name;
            set_status(entry, status);
        }
        entry.holders.push_back({process, std::atoi(name)});
    }
}

// With those that a list of mappings has and no descriptor leads to.
[[gnu::cold]] inline void add_mapped_memfds(const survey<shared_mapping>& mapped,
                                            std::vector<memfd_entry>& out) {
    std::string label;
    for (const shared_mapping& each : mapped) {
        if (each.kind == object_kind::memfd && parse_memfd(each.path, label)) {
            memfd_entry& entry = memfd_in(out, each.device, each.inode);
            if (entry.holders.empty()) {
                entry.name = label;
                entry.size = larger(entry.size, each.end);
            }
        }
    }
}

[[gnu::cold]] inline survey<memfd_entry> list_memfds(const survey<shared_mapping>& mapped) {
    survey<memfd_entry> out;
    out.hidden = mapped.hidden;
    for_each_process([&](const folder& its, pid_t process) {
        folder descriptors(its, "fd");
        if (descriptors) {
            add_memfds(descriptors, process, out.entries);
        } else {
            out.refused += errno == EACCES || errno == EPERM ? 1u : 0u;
        }
    });
    add_mapped_memfds(mapped, out.entries);
    return out;
}

} // namespace detail

/// The memfds of all processes that this user may look into. The others are counted in `refused`.
/// Anonymous memory of cohold has an empty one beside it, "cohold". *Errors*: errc::unsupported
/// without /proc. *Complexity*: looks at every descriptor and mapping of every process.
[[nodiscard, gnu::cold]] inline survey<memfd_entry> list_memfds(std::error_code& ec) {
    const detail::operation context("list", "memfds", "");
    const survey<shared_mapping> mapped = list_mappings(ec);
    return ec ? survey<memfd_entry>() : detail::list_memfds(mapped);
}

[[nodiscard, gnu::cold]] inline survey<memfd_entry> list_memfds() {
    return detail::thrown([](std::error_code& ec) { return list_memfds(ec); });
}

COHOLD_NAMESPACE_END

#endif
