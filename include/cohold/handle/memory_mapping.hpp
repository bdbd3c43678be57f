// memory_mapping: the mapping of a region or segment, to be steered after it was made.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MEMORY_MAPPING_HPP
#define COHOLD_HANDLE_MEMORY_MAPPING_HPP

#include <cstddef>

#include <cohold/memory/mapping_options.hpp>

COHOLD_NAMESPACE_BEGIN

/// Where an object is mapped in this process, and what can be done about it there. Owns nothing:
/// good as long as the region or segment is that gave it. Of a segment, the bytes that it had when
/// it was asked. From `region.mapping()` and `segment.mapping()`.
///
/// *Thread safety*: all members may be called from several threads.
class memory_mapping {
  public:
    memory_mapping() = default;

    memory_mapping(const void* address, std::size_t size, bool writable) noexcept
        : address_(const_cast<void*>(address)), size_(size), writable_(writable) {}

    [[nodiscard]] const void* address() const noexcept { return address_; }

    /// In bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Does what the options say, to these bytes. What they leave out stays as it is. *Errors*:
    /// errc::lock_limit, unsupported, invalid_options (a node that is not there; hugetlb pages and
    /// `fork`, which are settled when a mapping is made); madvise(2), mlock(2), mbind(2).
    void apply(const mapping_options& options) const {
        std::error_code ec;
        apply(options, ec);
        detail::raise_if(ec);
    }

    [[gnu::cold]] void apply(const mapping_options& options, std::error_code& ec) const noexcept {
        const detail::operation context("steer", "mapping", "");
        ec.clear();
        if (address_ == nullptr) {
            detail::fail(ec, errc::empty_handle);
        } else if (!options.fork || detail::hugetlb_page_of(options.huge) != 0) {
            detail::fail(ec, errc::invalid_options,
                         "mapping_options::fork and hugetlb pages are for making a mapping, not "
                         "for one that is there");
        } else {
            detail::begin_mapping(address_, size_, options, ec);
        }
        if (!ec) {
            detail::finish_mapping(address_, size_, writable_, options, ec);
        }
    }

    /// Lets all pages go to swap again.
    void unlock() const noexcept { detail::unlock_pages(address_, size_); }

    /// Waits until what has been written to these bytes, or those [offset, offset + bytes), by
    /// whatever process, is on the disk of a file, and as much of the file's length as it takes. Of
    /// memory there is nothing to wait for. See `segment::durable()` for a whole segment with its
    /// name. *Errors*: msync(2), EIO if the disk has failed; errc::invalid_size beyond the end.
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
                               std::error_code& ec) const noexcept {
        const detail::operation context("write back", "mapping", "");
        ec.clear();
        if (offset > size_ || bytes > size_ - offset) {
            detail::fail(ec, errc::invalid_size, "bytes %zu to %zu + %zu, the mapping has %zu",
                         offset, offset, bytes, size_);
        } else {
            detail::write_back(address_, offset, offset + bytes, ec);
        }
    }

  private:
    void* address_ = nullptr;
    std::size_t size_ = 0;
    bool writable_ = false;
};

COHOLD_NAMESPACE_END

#endif
