// residency: which parts of an object, or of a mapping, are in memory, in swap, in huge pages.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_RESIDENCY_HPP
#define COHOLD_INSPECT_RESIDENCY_HPP

#include <concepts>

#include <cohold/error.hpp>
#include <cohold/inspect/usage.hpp>
#include <cohold/os/mapping.hpp>
#include <cohold/os/proc.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// Where the bytes of an object are. In bytes, of whole pages.
struct object_residency {
    std::uint64_t size = 0; ///< of the object, including holes
    /// The space that it occupies: st_blocks. For a POSIX object, memfd or file of a tmpfs exactly
    /// the pages in memory or in swap; for another file the space on the disk, if it has been
    /// written there already.
    std::uint64_t allocated = 0;
    /// From SEEK_DATA and SEEK_HOLE: bytes that are not in a hole and were written to. Space that
    /// is only reserved, like that of a segment before it is used, counts as a hole. Missing if the
    /// file system cannot tell; some report every file as one piece of data.
    amount data;
    /// From mincore(2): pages in memory that were written or read, whether or not any process has
    /// them mapped. Missing if the kernel does not tell: a user must own the object or be allowed
    /// to write to it.
    amount resident;
    /// For a POSIX object, memfd or file of a tmpfs: pages in swap. For another file 0: its pages
    /// go to the disk.
    amount swapped;
};

/// Where the bytes of one mapping of this process are: what the kernel really gave, not what was
/// requested. Except for `resident`, whole mappings are counted, even if the range is only a part:
/// the kernel merges similar neighbours, and counts them as one.
struct mapping_residency {
    std::uint64_t mapped = 0; ///< bytes of the range that are mapped: the reserve of a segment
    /// From mincore(2): pages of the object in memory, whether or not this mapping has touched
    /// them.
    amount resident;
    amount rss;        ///< pages in memory that this mapping has touched
    amount pss;        ///< the same, each page divided by the number of its mappings
    amount swapped;    ///< pages of the object in swap, within the mapped part
    amount shmem_huge; ///< ShmemPmdMapped: of shmem, mapped by huge entries
    amount file_huge;  ///< FilePmdMapped: of files, mapped by huge entries
    amount hugetlb;    ///< Shared_Hugetlb and Private_Hugetlb
    amount locked;     ///< by mlock(2), divided like pss
    amount page_size;  ///< KernelPageSize: for hugetlb 2 MiB or more
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

// Adds up those mappings in a text of smaps that lie in [from, to).
[[gnu::cold]] mapping_residency parse_mappings(std::string_view text, std::uint64_t from,
                                               std::uint64_t to);

// Makes a mapping that is never touched: its line in smaps says how much of the object is in swap.
// Missing if it cannot be made, because there are not enough addresses for example.
[[gnu::cold]] amount swapped_bytes_of_file(int fd, std::uint64_t size);

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

/// Of a file, POSIX object or memfd. Nothing is read into memory for this. *Errors*: those of
/// fstat(2). *Complexity*: the kernel looks at every page.
[[nodiscard, gnu::cold]] object_residency residency(const file_descriptor& object,
                                                    std::error_code& ec);

[[nodiscard, gnu::cold]] object_residency residency(const file_descriptor& object);

/// By a path: "/dev/shm/name" for a POSIX object. It must be readable. *Errors*: those of open(2);
/// errc::special_file_refused.
[[nodiscard, gnu::cold]] object_residency residency(std::string_view path, std::error_code& ec);

[[nodiscard, gnu::cold]] object_residency residency(std::string_view path);

/// Of a range of addresses of this process. *Errors*: those of reading /proc/self/smaps.
/// *Complexity*: the kernel looks at every page of every mapping of the process.
[[nodiscard, gnu::cold]] mapping_residency residency(const void* address, std::size_t bytes,
                                                     std::error_code& ec);

[[nodiscard, gnu::cold]] mapping_residency residency(const void* address, std::size_t bytes);

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

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/residency.ipp>
#endif

#endif
