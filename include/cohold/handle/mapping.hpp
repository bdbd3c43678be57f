// mapping_options, memory_mapping and mapping_report: what a process wants from a mapping (huge
// pages, locked pages, NUMA nodes, durability), and what the kernel really gave it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MAPPING_HPP
#define COHOLD_HANDLE_MAPPING_HPP

#include <cstddef>

#include <cohold/error.hpp>
#include <cohold/os/mapping.hpp>
#include <cohold/os/proc.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- the options

/// Pages larger than the machine's ordinary ones. A mapping_report tells what was really given.
enum class huge_pages : std::uint8_t {
    none,       ///< ordinary pages, as far as this process decides
    advise,     ///< where the kernel is configured for it: `shmem_enabled`, or `huge=` of the mount
    collapse,   ///< the existing pages, now, whatever the configuration: MADV_COLLAPSE, Linux 6.1
    hugetlb_2m, ///< only at creation: from the machine's pool, which root has filled
    hugetlb_1g, ///< the same, of 1 GiB each
};

/// Pages that never go to swap. They count against `ulimit -l`: errc::lock_limit.
enum class memory_lock : std::uint8_t {
    none,     ///< pages may go to swap
    now,      ///< all pages, touched now
    on_fault, ///< each page from the moment it is touched
};

/// How NUMA nodes are chosen.
enum class numa_mode : std::uint8_t {
    unchanged,  ///< as the kernel, or the process that made the object, has chosen
    bind,       ///< these nodes and no others
    interleave, ///< these nodes in turn, page by page
    preferred,  ///< the lowest of these nodes, others if it is full
};

/// The NUMA nodes that memory comes from.
struct numa_placement {
    numa_mode mode = numa_mode::unchanged; ///< how the nodes are chosen
    std::uint64_t nodes = 0;               ///< bit n: node n
};

/// For `segment::open(name, {.populate = true})`, `memory_object::map({…})`, and as `mapping` in
/// segment_options: what one process wants, whatever the others have chosen. For a segment this
/// applies to the bytes that exist; `segment.mapping().apply({…})` applies it to bytes that were
/// added since.
struct mapping_options {
    /// Touch all pages now, so that no page fault comes later.
    bool populate = false;
    /// How many threads touch them: 0 means one for each CPU.
    unsigned threads = 1;
    /// The mapping's address is chosen so that it can have huge pages.
    enum huge_pages huge = huge_pages::none;
    /// Whether pages may go to swap.
    memory_lock lock = memory_lock::none;
    /// The kernel keeps this with the object, for all processes; it ignores it for a file on a
    /// disk.
    numa_placement numa = {};
    /// Is the mapping part of core dumps?
    bool dump = true;
    /// Does a forked child inherit the mapping? If not, the child may only destroy its copy of the
    /// handle: the memory is not mapped there.
    bool fork = true;
};

namespace detail {

// The size of a page from the kernel's pools; 0: none is requested.
constexpr std::uint64_t hugetlb_page_of(huge_pages how) noexcept {
    return how == huge_pages::hugetlb_2m   ? std::uint64_t{1} << 21
           : how == huge_pages::hugetlb_1g ? std::uint64_t{1} << 30
                                           : 0;
}

// The address of a mapping, and a size that can consist of huge pages, are multiples of this.
inline std::uint64_t mapping_unit(huge_pages how) noexcept {
    return how == huge_pages::none         ? page_size()
           : how == huge_pages::hugetlb_1g ? hugetlb_page_of(how)
                                           : huge_page_bytes;
}

// The same for an existing object with this file descriptor, or -1.
[[gnu::cold]] std::uint64_t mapping_unit(int descriptor, huge_pages how) noexcept;

template <class Mechanism>
inline constexpr bool has_hugetlb = false;
template <class Mechanism>
    requires requires { Mechanism::huge_pages; }
inline constexpr bool has_hugetlb<Mechanism> = Mechanism::huge_pages;

// Called before anything is made, for a mechanism that has hugetlb pages or has none.
[[gnu::cold]] void check_hugetlb(bool possible, huge_pages how, std::error_code& ec) noexcept;

// Sets what must be known before the memory exists, for all addresses.
[[gnu::cold]] void begin_mapping(void* at, std::size_t bytes, const mapping_options& options,
                                 std::error_code& ec) noexcept;

// Applies the rest to the memory that exists: the first `bytes`.
[[gnu::cold]] void finish_mapping(void* at, std::size_t bytes, bool writing,
                                  const mapping_options& options, std::error_code& ec) noexcept;

// Addresses for a mapping, a multiple of `unit`, with `front` other bytes before it. nullptr and
// errno on failure.
[[gnu::cold]] char* reserve_aligned(std::size_t front, std::uint64_t bytes,
                                    std::uint64_t unit) noexcept;

} // namespace detail

// ---- an existing mapping

/// Where an object is mapped in this process, and operations on that mapping. Owns nothing: valid
/// as long as the region or segment that returned it. For a segment, it covers the bytes that
/// existed at the call. From `region.mapping()` and `segment.mapping()`.
///
/// *Complexity*: a system call or a few for each operation. *Thread safety*: several threads may
/// call all members. *If the process is killed*: its mapping ends with it; the memory does not
/// change.
class memory_mapping {
  public:
    memory_mapping() = default;

    memory_mapping(const void* address, std::size_t size, bool writable) noexcept
        : address_(const_cast<void*>(address)), size_(size), writable_(writable) {}

    /// Where it begins in this process.
    [[nodiscard]] const void* address() const noexcept { return address_; }

    /// In bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Applies the options to these bytes. Everything else stays as it is. *Errors*:
    /// errc::lock_limit, unsupported, invalid_options (a node that does not exist; hugetlb pages
    /// and `fork`, which are fixed when a mapping is made); madvise(2), mlock(2), mbind(2).
    void apply(const mapping_options& options) const {
        std::error_code ec;
        apply(options, ec);
        detail::raise_if(ec);
    }

    [[gnu::cold]] void apply(const mapping_options& options, std::error_code& ec) const noexcept;

    /// Allows all pages to be swapped again.
    void unlock() const noexcept { detail::unlock_pages(address_, size_); }

    /// Waits until everything that any process has written to these bytes, or to [offset, offset +
    /// bytes), is on the file's disk, with as much of the file's length as that takes. For memory
    /// there is nothing to wait for. See `segment::durable()` for a whole segment with its name.
    /// *Errors*: msync(2), EIO if the disk has failed; errc::invalid_size beyond the end.
    void durable() const {
        std::error_code ec;
        durable(ec);
        detail::raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept { durable(0, size_, ec); }

    void durable(std::size_t offset, std::size_t bytes) const {
        std::error_code ec;
        durable(offset, bytes, ec);
        detail::raise_if(ec);
    }

    [[gnu::cold]] void durable(std::size_t offset, std::size_t bytes,
                               std::error_code& ec) const noexcept;

  private:
    void* address_ = nullptr;
    std::size_t size_ = 0;
    bool writable_ = false;
};

// ---- the report

/// What /proc/self/smaps says about a mapping, whatever was asked for. Amounts are in bytes. For a
/// segment, it covers all addresses that have been set up alike: often all of its reserve.
struct mapping_report {
    std::uint64_t addresses = 0; ///< its length
    std::uint64_t page =
        0; ///< the page size that the kernel reports; a large one for hugetlb memory
    std::uint64_t resident = 0;   ///< in memory, and mapped here
    std::uint64_t huge_bytes = 0; ///< of these, in huge pages of either kind
    std::uint64_t locked = 0;     ///< of these, kept from swap by a lock
    std::uint64_t swapped = 0;    ///< of it, in swap
    bool huge_advised = false;    ///< huge_pages::advise
    bool lock_on_fault = false;   ///< memory_lock::on_fault
    bool dumped = true;           ///< is part of core dumps
    bool inherited = true;        ///< a forked child has it
};

namespace detail {

// Parses smaps line by line.
class report_reader {
  public:
    report_reader(std::uint64_t from, std::uint64_t to) noexcept : from_(from), to_(to) {}

    [[gnu::cold]] void add(std::string_view line);

    [[nodiscard]] const mapping_report& report() const noexcept { return out_; }

  private:
    [[gnu::cold]] void add_flags(std::string_view rest) noexcept;

    std::uint64_t from_;
    std::uint64_t to_;
    std::uint64_t resident_ = 0; // of the mapping that is being read
    bool inside_ = false;
    mapping_report out_;
};

} // namespace detail

/// *Errors*: errc::unsupported without /proc; empty_handle. *Complexity*: reads two dozen lines
/// for each mapping of the process.
[[nodiscard, gnu::cold]] mapping_report report(const memory_mapping& mapping, std::error_code& ec);

[[nodiscard, gnu::cold]] mapping_report report(const memory_mapping& mapping);

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/mapping.ipp>
#endif

#endif
