// mapping_options: what a process wants of its mapping of an object, and how it gets it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_MAPPING_OPTIONS_HPP
#define COHOLD_MEMORY_MAPPING_OPTIONS_HPP

#include <cohold/detail/mapping_calls.hpp>
#include <cohold/error.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// Pages larger than the machine's ordinary ones. What was really given, a mapping_report tells.
enum class huge_pages : std::uint8_t {
    none,
    advise,   ///< where the kernel is set up to: `shmem_enabled`, or `huge=` of the mount
    collapse, ///< now, of the pages that there are, however it is set up: MADV_COLLAPSE, Linux 6.1
    hugetlb_2m, ///< only at creation: from the pool of the machine, which root has filled
    hugetlb_1g, ///< the same, of 1 GiB each
};

/// Pages that never go to swap. Counts against `ulimit -l`: errc::lock_limit.
enum class memory_lock : std::uint8_t {
    none,
    now,      ///< all pages, touched now
    on_fault, ///< each from the moment when it is touched
};

/// How NUMA nodes are chosen.
enum class numa_mode : std::uint8_t {
    unchanged,
    bind,       ///< these nodes and no others
    interleave, ///< these nodes in turn, page by page
    preferred,  ///< the lowest of these nodes, others if it is full
};

/// Which NUMA nodes memory comes from.
struct numa_placement {
    numa_mode mode = numa_mode::unchanged;
    std::uint64_t nodes = 0; ///< bit n: node n
};

/// For `segment::open(name, {.populate = true})`, `memory_object::map({…})`, and as `mapping` in
/// segment_options: what one process wants, whatever the others have chosen. Of a segment it is
/// done for the bytes that there are; `segment.mapping().apply({…})` does it for those that have
/// been added since.
struct mapping_options {
    /// Touch all pages now, so that no page fault comes later.
    bool populate = false;
    /// How many threads touch them: 0 is one for each cpu.
    unsigned threads = 1;
    /// The mapping's address is chosen so that it can have them.
    enum huge_pages huge = huge_pages::none;
    memory_lock lock = memory_lock::none;
    /// The kernel keeps it with the object, for all processes; that of a file on a disk it ignores.
    numa_placement numa = {};
    /// Does it become part of core dumps?
    bool dump = true;
    /// Does a forked child have it? If not, a child has a handle that it may destroy, and nothing
    /// else: what it pointed to is not mapped there.
    bool fork = true;
};

namespace detail {

// Bytes of a page from the kernel's pools; 0: none is asked for.
constexpr std::uint64_t hugetlb_page_of(huge_pages how) noexcept {
    return how == huge_pages::hugetlb_2m   ? std::uint64_t{1} << 21
           : how == huge_pages::hugetlb_1g ? std::uint64_t{1} << 30
                                           : 0;
}

// Addresses of a mapping, and sizes that can consist of huge pages, are multiples of this.
inline std::uint64_t mapping_unit(huge_pages how) noexcept {
    return how == huge_pages::none         ? page_size()
           : how == huge_pages::hugetlb_1g ? hugetlb_page_of(how)
                                           : huge_page_bytes;
}

// The same of an object that is there already.
template <class Native>
[[gnu::cold]] std::uint64_t mapping_unit(const Native& native, huge_pages how) noexcept {
    std::uint64_t found = 0;
    if constexpr (std::is_same_v<Native, file_descriptor>) {
        found = hugetlb_page(native.value);
    }
    return larger(found, mapping_unit(how));
}

template <class Mechanism>
inline constexpr bool has_hugetlb = false;
template <class Mechanism>
    requires requires { Mechanism::huge_pages; }
inline constexpr bool has_hugetlb<Mechanism> = Mechanism::huge_pages;

// Before anything is made.
template <class Mechanism>
[[gnu::cold]] void check_hugetlb(huge_pages how, std::error_code& ec) noexcept {
    if (!has_hugetlb<Mechanism> && hugetlb_page_of(how) != 0) {
        fail(ec, errc::unsupported,
             "huge_pages::hugetlb_…: not of this mechanism; memfd and a file on a hugetlbfs have "
             "them");
    }
}

// What must be said before the memory is there, of all addresses.
[[gnu::cold]] inline void begin_mapping(void* at, std::size_t bytes, const mapping_options& options,
                                        std::error_code& ec) noexcept {
    if (options.numa.mode != numa_mode::unchanged) {
        const int policy = options.numa.mode == numa_mode::bind         ? numa_bind
                           : options.numa.mode == numa_mode::interleave ? numa_interleave
                                                                        : numa_preferred;
        place_on_nodes(at, bytes, policy, options.numa.nodes, ec);
    }
    if (!ec && options.huge == huge_pages::advise) {
        advise_mapping(at, bytes, MADV_HUGEPAGE, "MADV_HUGEPAGE", ec);
    }
    if (!ec && !options.dump) {
        advise_mapping(at, bytes, MADV_DONTDUMP, "MADV_DONTDUMP", ec);
    }
    if (!ec && !options.fork) {
        advise_mapping(at, bytes, MADV_DONTFORK, "MADV_DONTFORK", ec);
    }
}

// What is done to the memory that is there: the first `bytes`.
[[gnu::cold]] inline void finish_mapping(void* at, std::size_t bytes, bool writing,
                                         const mapping_options& options,
                                         std::error_code& ec) noexcept {
    if (options.huge == huge_pages::collapse) {
        collapse_pages(at, bytes, ec);
    }
    if (!ec && options.populate) {
        populate_mapping(at, bytes, options.threads, writing, ec);
    }
    if (!ec && options.lock != memory_lock::none) {
        lock_pages(at, bytes, options.lock == memory_lock::on_fault, ec);
    }
}

// Addresses for a mapping, a multiple of `unit`, with `front` bytes of others before it. nullptr
// and errno on failure.
[[gnu::cold]] inline char* reserve_aligned(std::size_t front, std::uint64_t bytes,
                                           std::uint64_t unit) noexcept {
    if (bytes == 0 || bytes > PTRDIFF_MAX - unit - front) {
        errno = ENOMEM;
        return nullptr;
    }
    const std::uint64_t all = front + bytes + (unit > page_size() ? unit : 0);
    auto* const start = static_cast<char*>(reserve_addresses(all));
    if (start == nullptr || unit <= page_size()) {
        return start == nullptr ? nullptr : start + front;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    char* const base = start + (round_up(address + front, unit) - address);
    const auto before = static_cast<std::size_t>(base - front - start);
    const auto after = static_cast<std::size_t>(all - bytes) - front - before;
    if (before != 0) {
        unmap(start, before);
    }
    if (after != 0) {
        unmap(base + bytes, after);
    }
    return base;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
