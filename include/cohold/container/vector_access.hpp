// The part of a vector's interface that leaves the elements where they are: access, iterators,
// sizes.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_VECTOR_ACCESS_HPP
#define COHOLD_CONTAINER_VECTOR_ACCESS_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <type_traits>

#include <cohold/container/bounds.hpp>
#include <cohold/container/vector_storage.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T, class Allocator>
class vector_access : protected vector_storage<T, Allocator> {
    using words = vector_storage<T, Allocator>;
    using traits = std::allocator_traits<Allocator>;

  protected:
    using words::data_;
    using words::size_;
    using words::vector_storage;

  public:
    using value_type = T;
    using allocator_type = Allocator;
    using size_type = typename traits::size_type;
    using difference_type = typename traits::difference_type;
    using reference = T&;
    using const_reference = const T&;
    using pointer = typename traits::pointer;
    using const_pointer = typename traits::const_pointer;
    using iterator = T*;
    using const_iterator = const T*;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;

    [[nodiscard]] reference operator[](size_type index) noexcept { return begin()[index]; }

    [[nodiscard]] const_reference operator[](size_type index) const noexcept {
        return begin()[index];
    }

    /// *Errors*: std::out_of_range.
    [[nodiscard]] reference at(size_type index) { return begin()[checked(index)]; }

    [[nodiscard]] const_reference at(size_type index) const { return begin()[checked(index)]; }

    [[nodiscard]] reference front() noexcept { return *begin(); }

    [[nodiscard]] const_reference front() const noexcept { return *begin(); }

    [[nodiscard]] reference back() noexcept { return end()[-1]; }

    [[nodiscard]] const_reference back() const noexcept { return end()[-1]; }

    /// Equal to begin(), and like it not null in an empty vector: look at the size.
    [[nodiscard]] T* data() noexcept { return begin(); }

    [[nodiscard]] const T* data() const noexcept { return begin(); }

    /// The bytes of the elements.
    [[nodiscard]] std::span<std::byte> bytes() noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return std::as_writable_bytes(std::span<T>(begin(), size()));
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return std::as_bytes(std::span<const T>(begin(), size()));
    }

    [[nodiscard]] iterator begin() noexcept { return raw_address(data_); }

    [[nodiscard]] const_iterator begin() const noexcept { return raw_address(data_); }

    [[nodiscard]] iterator end() noexcept { return begin() + words::size(); }

    [[nodiscard]] const_iterator end() const noexcept { return begin() + words::size(); }

    [[nodiscard]] const_iterator cbegin() const noexcept { return begin(); }

    [[nodiscard]] const_iterator cend() const noexcept { return end(); }

    [[nodiscard]] reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }

    [[nodiscard]] const_reverse_iterator rbegin() const noexcept {
        return const_reverse_iterator(end());
    }

    [[nodiscard]] reverse_iterator rend() noexcept { return reverse_iterator(begin()); }

    [[nodiscard]] const_reverse_iterator rend() const noexcept {
        return const_reverse_iterator(begin());
    }

    [[nodiscard]] const_reverse_iterator crbegin() const noexcept { return rbegin(); }

    [[nodiscard]] const_reverse_iterator crend() const noexcept { return rend(); }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    using words::capacity;
    using words::max_size;

    [[nodiscard]] size_type size() const noexcept {
        // As a difference of pointers would tell: g++ then indexes in loops over the vector without
        // a second counter.
        if (size_ > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
            __builtin_unreachable();
        }
        return words::size();
    }

  private:
    [[nodiscard]] size_type checked(size_type index) const {
        if (index >= size()) [[unlikely]] {
            raise_out_of_range("shm_vector::at", index, size());
        }
        return index;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
