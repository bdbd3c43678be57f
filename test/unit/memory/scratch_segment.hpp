// A formatted segment in a memfd, for tests of what lies inside a segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_MEMORY_SCRATCH_SEGMENT_HPP
#define COHOLD_TEST_MEMORY_SCRATCH_SEGMENT_HPP

#include <cstddef>
#include <cstdint>
#include <ostream>

#include <doctest/doctest.h>

#include <cohold/memory/segment_memory.hpp>
#include <cohold/policy/memfd.hpp>

namespace scratch {

namespace detail = cohold::detail;
using memfd = cohold::mechanism::memfd;

class segment {
  public:
    explicit segment(std::uint64_t size, std::uint64_t reserve) : reserve_(reserve) {
        std::error_code ec;
        file_ = memfd::create(
            {.capacity = reserve, .mode = 0600, .group = std::nullopt, .formatted = true}, ec);
        memory_ =
            detail::segment_memory::map<memfd>(file_, reserve, cohold::access_mode::writing, ec);
        memory_.format<memfd>(file_, size, cohold::lifetime::persistent, "scratch", ec);
        memory_.ready();
        INFO(cohold::last_failure().what());
        REQUIRE_FALSE(ec);
    }

    segment(const segment&) = delete;
    segment& operator=(const segment&) = delete;

    ~segment() {
        memory_ = {};
        memfd::close(file_);
    }

    // A further mapping of it.
    [[nodiscard]] detail::segment_memory again(cohold::access_mode how) const {
        std::error_code ec;
        detail::segment_memory mapped =
            detail::segment_memory::map<memfd>(file_, reserve_, how, ec);
        REQUIRE_FALSE(ec);
        return mapped;
    }

    [[nodiscard]] const cohold::file_descriptor& file() const { return file_; }

    [[nodiscard]] const detail::segment_memory& memory() const { return memory_; }

    [[nodiscard]] detail::segment_header& header() const { return memory_.header(); }

    [[nodiscard]] detail::heap& heap() const { return memory_.heap_here(); }

    [[nodiscard]] detail::directory& directory() const { return memory_.directory_here(); }

    [[nodiscard]] std::uint64_t size() const {
        return header().size.load(std::memory_order_acquire);
    }

    // What one block can have at most, when nothing is allocated.
    [[nodiscard]] std::uint64_t largest_block() const {
        return size() - detail::segment_memory::first_block - 32; // its overhead, and the last one
    }

  private:
    std::uint64_t reserve_;
    cohold::file_descriptor file_;
    detail::segment_memory memory_;
};

} // namespace scratch

#endif
