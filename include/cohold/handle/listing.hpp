// What a segment lists, its objects and its participants: a range.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_LISTING_HPP
#define COHOLD_HANDLE_LISTING_HPP

#include <cstddef>
#include <span>
#include <utility>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

/// A range of facts, copied out of a segment: what segment::objects() and participants() return. (A
/// vector would be one, at the price of including it everywhere.)
template <class T>
class listing {
  public:
    listing() = default;

    listing(listing&& other) noexcept
        : items_(std::exchange(other.items_, nullptr)), size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}

    listing& operator=(listing&& other) noexcept {
        std::swap(items_, other.items_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }

    ~listing() { delete[] items_; }

    [[nodiscard]] const T* begin() const noexcept { return items_; }

    [[nodiscard]] const T* end() const noexcept { return items_ + size_; }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return items_[index]; }

    [[gnu::cold]] void add(T&& item) {
        if (size_ == capacity_) {
            listing larger;
            larger.items_ = new T[size_ * 2 + 8];
            larger.capacity_ = size_ * 2 + 8;
            for (T& each : std::span<T>(items_, size_)) {
                larger.items_[larger.size_++] = std::move(each);
            }
            *this = std::move(larger);
        }
        items_[size_++] = std::move(item);
    }

  private:
    T* items_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

COHOLD_NAMESPACE_END

#endif
