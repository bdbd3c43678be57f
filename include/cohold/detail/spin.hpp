// Waiting for a moment without the kernel: the spin loop's pause, and a count of how many are left.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_SPIN_HPP
#define COHOLD_DETAIL_SPIN_HPP

#include <cstdint>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// Tells the processor that this is a spin loop.
inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    asm volatile("yield" ::: "memory");
#else
    asm volatile("" ::: "memory");
#endif
}

/// Asks for the cache line as one that will be written. Any address will do; nothing happens where
/// the processor cannot.
inline void prefetch_to_write(const void* address) noexcept {
#if defined(__x86_64__)
    // What the compiler makes of __builtin_prefetch for x86-64 in general only asks for reading.
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
    __builtin_prefetch(address, 1);
#endif
}

/// Counts the spins of one wait: pauses while some are left, then says that they are used up.
class backoff {
  public:
    explicit backoff(std::uint32_t spins) noexcept : left_(spins) {}

    /// Pauses and returns true, or returns false when it is time for something better.
    [[nodiscard]] bool spin() noexcept {
        if (left_ == 0) {
            return false;
        }
        --left_;
        cpu_pause();
        return true;
    }

  private:
    std::uint32_t left_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
