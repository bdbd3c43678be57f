// What containers over which one can iterate have in common: their types, begin() and end() in all
// their forms, and their size.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_ITERABLE_HPP
#define COHOLD_CONTAINER_DETAIL_ITERABLE_HPP

#include <cstddef>
#include <iterator>
#include <string> // std::allocator_traits, at half the compile time of <memory>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The storage has the types value_type, allocator_type, size_type, iterator and const_iterator; and
// begin() and end(), from whose results both iterators can be made.
template <class Storage>
class iterable : protected Storage {
  protected:
    using Storage::Storage;

  public:
    using typename Storage::allocator_type;
    using typename Storage::const_iterator;
    using typename Storage::iterator;
    using typename Storage::size_type;
    using typename Storage::value_type;
    using difference_type = std::ptrdiff_t;
    using reference = value_type&;
    using const_reference = const value_type&;
    using pointer = typename std::allocator_traits<allocator_type>::pointer;
    using const_pointer = typename std::allocator_traits<allocator_type>::const_pointer;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;

    [[nodiscard]] allocator_type get_allocator() const noexcept { return Storage::alloc_; }

    [[nodiscard]] iterator begin() noexcept { return iterator(Storage::begin()); }

    [[nodiscard]] const_iterator begin() const noexcept { return const_iterator(Storage::begin()); }

    [[nodiscard]] iterator end() noexcept { return iterator(Storage::end()); }

    [[nodiscard]] const_iterator end() const noexcept { return const_iterator(Storage::end()); }

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

    [[nodiscard]] bool empty() const noexcept { return Storage::size() == 0; }

    [[nodiscard]] size_type size() const noexcept { return Storage::size(); }

    [[nodiscard]] size_type max_size() const noexcept { return Storage::max_size(); }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
