// residency: which part of an object, or of a mapping, is in memory, in swap, in huge pages.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_RESIDENCY_HPP
#define COHOLD_INSPECT_RESIDENCY_HPP

#include <concepts>

#include <cohold/error.hpp>
#include <cohold/inspect/usage.hpp>
#include <cohold/os/proc.hpp>
#include <cohold/os/resident_pages.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// Where the bytes of an object are. Bytes, whole pages.
struct object_residency {
    std::uint64_t size = 0; ///< of the object, holes included
    /// What it takes: st_blocks. Of a POSIX object, memfd or file of a tmpfs exactly the pages that
    /// are in memory or in swap; of another file what the disk has, if it is written there already.
    std::uint64_t allocated = 0;
    /// From SEEK_DATA and SEEK_HOLE: bytes that are no hole and were written to. Space that is only
    /// reserved, as that of a segment is before it is used, counts as a hole. Missing where the
    /// file system cannot tell; some take every file for one piece of data.
    amount data;
    /// From mincore(2): pages in memory that were written or read, whether or not any process has
    /// them mapped. Missing where the kernel does not say: to who neither owns the object nor may
    /// write to it.
    amount resident;
    /// Of a POSIX object, memfd or file of a tmpfs: pages in swap. Of a file 0: its place is the
    /// disk.
    amount swapped;
};

/// Where the bytes of one mapping of this process are: what the kernel really gave, not what was
/// asked for. Except for `resident`, whole mappings are counted, of which the range may be a part:
/// the kernel merges neighbours that are alike, and counts them as one.
struct mapping_residency {
    std::uint64_t mapped = 0; ///< bytes of the range that are mapped: the reserve of a segment
    /// From mincore(2): pages of the object in memory, whether or not this mapping has touched
    /// them.
    amount resident;
    amount rss;        ///< pages that this mapping has touched and that are there
    amount pss;        ///< the same, divided by how many map each
    amount swapped;    ///< pages of the object in swap, within what is mapped
    amount shmem_huge; ///< ShmemPmdMapped: of shmem, mapped by huge entries
    amount file_huge;  ///< FilePmdMapped: of files, mapped by huge entries
    amount hugetlb;    ///< Shared_Hugetlb and Private_Hugetlb
    amount locked;     ///< by mlock(2), divided as pss
    amount page_size;  ///< KernelPageSize: of hugetlb 2 MiB or more
};

namespace detail {

inline constexpr text_field<mapping_residency> smaps_fields[] = {
    {"Rss", &mapping_residency::rss},
    {"Pss", &mapping_residency::pss},
    {"Swap", &mapping_residency::swapped},
    {"ShmemPmdMapped", &mapping_residency::shmem_huge},
    {"FilePmdMapped", &mapping_residency::file_huge},
    {"Shared_Hugetlb", &mapping_residency::hugetlb},
    {"Private_Hugetlb", &mapping_residency::hugetlb},
    {"Locked", &mapping_residency::locked},
};

// Adds up the mappings of a text of smaps that lie in [from, to).
[[gnu::cold]] inline mapping_residency parse_mappings(std::string_view text, std::uint64_t from,
                                                      std::uint64_t to) {
    constexpr text_field<mapping_residency> page[] = {
        {"KernelPageSize", &mapping_residency::page_size}};
    mapping_residency out;
    bool inside = false;
    map_line line;
    while (!text.empty()) {
        const std::string_view each = next_line(text);
        if (parse_map_line(each, line)) {
            const std::uint64_t begin = larger(line.from, from);
            const std::uint64_t end = line.to < to ? line.to : to;
            inside = begin < end;
            out.mapped += inside ? end - begin : 0;
        } else if (inside && !add_field(each, smaps_fields, out) && !out.page_size) {
            add_field(each, page, out);
        }
    }
    return out;
}

// A mapping that nobody touches: its line in smaps says what the object has in swap. Nothing if it
// cannot be made, as with a too small address space.
[[gnu::cold]] inline amount swapped_bytes_of_file(int fd, std::uint64_t size) {
    std::string text;
    if (read_text("/proc/meminfo", text) == 0) {
        const memory_report memory = parse_meminfo(text);
        if (memory.swap_total && memory.swap_total == memory.swap_free) {
            return 0;
        }
    }
    void* const at = size == 0 || size > PTRDIFF_MAX
                         ? MAP_FAILED
                         : raw_map(static_cast<std::size_t>(size), fd, 0);
    if (at == MAP_FAILED) {
        return size == 0 ? amount(0) : amount();
    }
    const auto from = reinterpret_cast<std::uintptr_t>(at);
    amount out;
    if (read_text("/proc/self/smaps", text) == 0) {
        out = parse_mappings(text, from, from + size).swapped;
    }
    unmap(at, static_cast<std::size_t>(size));
    return out;
}

template <class T>
concept has_descriptor = requires(const T& object) {
    { object.native_handle() } -> std::convertible_to<file_descriptor>;
};

template <class T>
concept is_region = requires(const T& region) {
    { region.data() } -> std::convertible_to<const void*>;
    { region.size() } -> std::convertible_to<std::size_t>;
    region.bytes();
};

} // namespace detail

/// Of a file, POSIX object or memfd. Nothing is read into memory by asking. *Errors*: those of
/// fstat(2). *Complexity*: the kernel looks at every page.
[[nodiscard, gnu::cold]] inline object_residency residency(const file_descriptor& object,
                                                           std::error_code& ec) {
    const detail::operation context("ask for the pages of", "an object", "");
    ec.clear();
    object_residency out;
    detail::file_status status{};
    if (detail::raw_fstat(object.value, status) != 0) {
        detail::fail_errno(ec, errno, "fstat");
        return out;
    }
    out.size = static_cast<std::uint64_t>(status.st_size);
    out.allocated = static_cast<std::uint64_t>(status.st_blocks) * 512;
    out.data = detail::data_bytes(object.value, out.size);
    if (detail::tells_residency(object.value, status)) {
        out.resident = detail::resident_bytes_of_file(object.value, out.size);
    }
    out.swapped = detail::is_on_tmpfs(object.value)
                      ? detail::swapped_bytes_of_file(object.value, out.size)
                      : amount(0);
    return out;
}

[[nodiscard, gnu::cold]] inline object_residency residency(const file_descriptor& object) {
    return detail::thrown([&](std::error_code& ec) { return residency(object, ec); });
}

/// Of a path: "/dev/shm/name" for a POSIX object. It must be readable. *Errors*: those of open(2);
/// errc::special_file_refused.
[[nodiscard, gnu::cold]] inline object_residency residency(std::string_view path,
                                                           std::error_code& ec) {
    const detail::operation context("ask for the pages of", "", path);
    ec.clear();
    const detail::file_place place(path);
    file_descriptor file = detail::open_existing(place, access_mode::reading, ec);
    if (ec) {
        return {};
    }
    const object_residency out = residency(file, ec);
    detail::descriptor_object::close(file);
    return out;
}

[[nodiscard, gnu::cold]] inline object_residency residency(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return residency(path, ec); });
}

/// Of addresses of this process. *Errors*: those of reading /proc/self/smaps. *Complexity*: the
/// kernel looks at every page of every mapping of the process.
[[nodiscard, gnu::cold]] inline mapping_residency residency(const void* address, std::size_t bytes,
                                                            std::error_code& ec) {
    const detail::operation context("ask for the pages of", "a mapping", "");
    ec.clear();
    std::string text;
    if (const int error = detail::read_text("/proc/self/smaps", text); error != 0) {
        detail::fail_errno(ec, error, "/proc/self/smaps");
        return {};
    }
    const auto from = reinterpret_cast<std::uintptr_t>(address);
    mapping_residency out = detail::parse_mappings(text, from, from + bytes);
    out.resident = detail::resident_bytes(address, bytes);
    return out;
}

[[nodiscard, gnu::cold]] inline mapping_residency residency(const void* address,
                                                            std::size_t bytes) {
    return detail::thrown([&](std::error_code& ec) { return residency(address, bytes, ec); });
}

/// Of a mapped_region or const_mapped_region.
template <detail::is_region Region>
[[nodiscard]] mapping_residency residency(const Region& region, std::error_code& ec) {
    return residency(static_cast<const void*>(region.data()), region.size(), ec);
}

template <detail::is_region Region>
[[nodiscard]] mapping_residency residency(const Region& region) {
    return residency(static_cast<const void*>(region.data()), region.size());
}

/// Of the object of a segment, segment_view, shared<T> or memory_object whose mechanism has file
/// descriptors. (For System V, list_system_v_segments() has the numbers.)
template <detail::has_descriptor Handle>
    requires(!detail::is_region<Handle>)
[[nodiscard]] object_residency residency(const Handle& handle, std::error_code& ec) {
    return residency(static_cast<const file_descriptor&>(handle.native_handle()), ec);
}

template <detail::has_descriptor Handle>
    requires(!detail::is_region<Handle>)
[[nodiscard]] object_residency residency(const Handle& handle) {
    return residency(static_cast<const file_descriptor&>(handle.native_handle()));
}

COHOLD_NAMESPACE_END

#endif
