// mapped_region and const_mapped_region: one mapping of an object into this process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MAPPED_REGION_HPP
#define COHOLD_HANDLE_MAPPED_REGION_HPP

#include <cstddef>
#include <span>
#include <utility>

#include <cohold/detail/process.hpp>
#include <cohold/detail/uncancelled.hpp>
#include <cohold/handle/memory_mapping.hpp>

COHOLD_NAMESPACE_BEGIN

/// What a region will be used for: madvise(2).
enum class advice : int {
    normal = MADV_NORMAL,
    random = MADV_RANDOM,
    sequential = MADV_SEQUENTIAL,
    will_need = MADV_WILLNEED,
    huge_pages = MADV_HUGEPAGE,
    no_huge_pages = MADV_NOHUGEPAGE,
    no_dump = MADV_DONTDUMP,
    no_fork = MADV_DONTFORK,
};

namespace detail {

// Owns a mapping; Byte is std::byte or const std::byte.
template <class Byte>
class basic_region {
  public:
    basic_region() = default;

    basic_region(basic_region&& other) noexcept
        : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)),
          only_in_(other.only_in_) {}

    basic_region& operator=(basic_region&& other) noexcept {
        basic_region taken(std::move(other));
        std::swap(address_, taken.address_);
        std::swap(size_, taken.size_);
        std::swap(only_in_, taken.only_in_);
        return *this;
    }

    ~basic_region() {
        // In a forked child that does not have the mapping, something else may be in its place.
        if (only_in_ == 0 || only_in_ == process_stamp()) {
            unmap(address_, size_);
        }
    }

    // Takes over a mapping that the caller has made.
    basic_region(void* address, std::size_t size) noexcept : address_(address), size_(size) {}

    /// The bytes of the object. Other processes see writes at once, and in no particular order
    /// without atomics.
    [[nodiscard]] std::span<Byte> bytes() const noexcept COHOLD_LIFETIMEBOUND {
        return {data(), size_};
    }

    [[nodiscard]] Byte* data() const noexcept COHOLD_LIFETIMEBOUND {
        return static_cast<Byte*>(address_);
    }

    /// In bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    explicit operator bool() const noexcept { return address_ != nullptr; }

    /// To be steered: huge pages, NUMA nodes, durable points of parts of it …
    [[nodiscard]] memory_mapping mapping() const noexcept {
        return {address_, size_, !std::is_const_v<Byte>};
    }

    /// Waits until the changed pages of a file are written to its disk; nothing to do for memory.
    /// The same as mapping().durable(). *Errors*: msync(2).
    void sync() const {
        std::error_code ec;
        sync(ec);
        raise_if(ec);
    }

    void sync(std::error_code& ec) const noexcept {
        const detail::uncancelled here;
        check("sync", ::msync(address_, size_, MS_SYNC), "msync", ec);
    }

    /// Tells the kernel what the region will be used for. *Errors*: madvise(2); EINVAL if the
    /// kernel does not know it.
    void advise(advice what) const {
        std::error_code ec;
        advise(what, ec);
        raise_if(ec);
    }

    void advise(advice what, std::error_code& ec) const noexcept {
        if (what == advice::no_fork) {
            __atomic_store_n(&only_in_, process_stamp(), __ATOMIC_RELAXED);
        }
        check("advise", ::madvise(address_, size_, static_cast<int>(what)), "madvise", ec);
    }

    /// Touches all pages now, so that no page fault comes later. *Errors*: madvise(2); EFAULT if
    /// there is no memory.
    void populate() const {
        std::error_code ec;
        populate(ec);
        raise_if(ec);
    }

    void populate(std::error_code& ec) const noexcept {
        constexpr int how = std::is_const_v<Byte> ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
        check("populate", ::madvise(address_, size_, how), "madvise", ec);
    }

    /// Keeps all pages in memory, never in swap, until unlock or unmapping. *Errors*:
    /// errc::lock_limit beyond `ulimit -l`; mlock(2).
    void lock() const {
        std::error_code ec;
        lock(ec);
        raise_if(ec);
    }

    void lock(std::error_code& ec) const noexcept {
        const operation context("lock", "region", "");
        ec.clear();
        lock_pages(address_, size_, false, ec);
    }

    void unlock() const noexcept { unlock_pages(address_, size_); }

  private:
    static void check(const char* verb, int result, const char* call,
                      std::error_code& ec) noexcept {
        const operation context(verb, "region", "");
        ec.clear();
        if (result != 0) {
            fail_errno(ec, errno, "%s", call);
        }
    }

    void* address_ = nullptr;
    std::size_t size_ = 0;
    // The process that has the mapping, if forked children do not.
    mutable std::uint64_t only_in_ = 0;
};

} // namespace detail

/// A mapping for reading and writing, from memory_object::map(). Unmapped by the destructor;
/// independent of the handle that made it. *Thread safety*: const members may be called from
/// several threads.
class mapped_region : public detail::basic_region<std::byte> {
  public:
    using basic_region::basic_region;
};

/// A mapping for reading, from map(read_only): it gives const bytes alone.
class const_mapped_region : public detail::basic_region<const std::byte> {
  public:
    using basic_region::basic_region;
};

COHOLD_NAMESPACE_END

#endif
