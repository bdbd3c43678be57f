// Raw memory for the elements of a container, and the section in which it becomes the container's.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_RAW_BLOCK_HPP
#define COHOLD_CONTAINER_RAW_BLOCK_HPP

#include <cohold/container/operation_section.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Raw memory for a number of elements, given back unless released: and the section of the operation
// that wanted it, so that a killed process leaves either the old block or the new one.
template <class Allocator>
class raw_block {
  public:
    using traits = std::allocator_traits<Allocator>;
    using pointer = typename traits::pointer;
    using size_type = typename traits::size_type;

    raw_block(Allocator& allocator, size_type capacity)
        : section_(allocator), allocator_(allocator),
          memory_(traits::allocate(allocator, capacity)), capacity_(capacity) {}

    // From `allocate()`, which returns null if there is no memory: then it holds nothing.
    template <class Allocate>
    raw_block(Allocator& allocator, size_type capacity, const Allocate& allocate)
        : section_(allocator, without_journal::reports), allocator_(allocator),
          memory_(section_.is_there() ? allocate() : nullptr),
          capacity_(memory_ == nullptr ? 0 : capacity) {}

    raw_block(const raw_block&) = delete;
    raw_block& operator=(const raw_block&) = delete;

    ~raw_block() {
        if (capacity_ != 0) {
            traits::deallocate(allocator_, memory_, capacity_);
        }
    }

    [[nodiscard]] explicit operator bool() const noexcept { return capacity_ != 0; }

    [[nodiscard]] const pointer& memory() const noexcept { return memory_; }

    [[nodiscard]] auto* begin() const noexcept { return raw_address(memory_); }

    [[nodiscard]] size_type capacity() const noexcept { return capacity_; }

    [[nodiscard]] operation_record<Allocator>& section() noexcept { return section_; }

    void release() noexcept { capacity_ = 0; }

  private:
    operation_section<Allocator> section_;
    Allocator& allocator_;
    pointer memory_;
    size_type capacity_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
