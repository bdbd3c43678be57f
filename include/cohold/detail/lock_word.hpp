// The lock of a segment's own structures: one futex word, shared between processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_LOCK_WORD_HPP
#define COHOLD_DETAIL_LOCK_WORD_HPP

#include <atomic>
#include <cstdint>

#include <cohold/detail/futex.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A mutex of three states: free, held, held and awaited. Zeroed memory is a free one.
// Source: Drepper, Futexes Are Tricky.
class lock_word {
  public:
    void lock() noexcept {
        std::uint32_t found = free;
        if (word_.compare_exchange_strong(found, held, std::memory_order_acquire)) {
            return;
        }
        for (int spins = 0; spins < 100; ++spins) {
            if (word_.load(std::memory_order_relaxed) == free) {
                found = free;
                if (word_.compare_exchange_strong(found, held, std::memory_order_acquire)) {
                    return;
                }
            }
        }
        while (word_.exchange(awaited, std::memory_order_acquire) != free) {
            futex_wait(word_, awaited);
        }
    }

    void unlock() noexcept {
        if (word_.exchange(free, std::memory_order_release) == awaited) {
            futex_wake(word_, 1);
        }
    }

  private:
    static constexpr std::uint32_t free = 0;
    static constexpr std::uint32_t held = 1;
    static constexpr std::uint32_t awaited = 2;

    std::atomic<std::uint32_t> word_{free};
};

static_assert(sizeof(lock_word) == 4);

class lock_guard {
  public:
    explicit lock_guard(lock_word& word) noexcept : word_(word) { word_.lock(); }

    lock_guard(const lock_guard&) = delete;
    lock_guard& operator=(const lock_guard&) = delete;

    ~lock_guard() { word_.unlock(); }

  private:
    lock_word& word_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
