// How a process waits for another: the policies spin, block and adaptive.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_BACKOFF_HPP
#define COHOLD_SYNC_BACKOFF_HPP

#include <concepts>
#include <cstdint>

#include <cohold/detail/spin.hpp>

COHOLD_NAMESPACE_BEGIN

/// How to wait. A policy changes what its own process does and nothing in the memory, so processes
/// with different policies can share one object.
namespace waiting {

/// Spins ten or twenty microseconds, which is about what waking somebody on another processor
/// takes, then sleeps in the kernel. The default: as fast as spinning while traffic flows, and idle
/// otherwise.
struct adaptive {
    static constexpr std::uint32_t spins = 1024;
    static constexpr bool parks = true;
};

/// Never sleeps: lowest latency for a process with a processor of its own. It gives the processor
/// away now and then, so that it cannot starve the one that it waits for.
struct spin {
    static constexpr std::uint32_t spins = 1024;
    static constexpr bool parks = false;
};

/// Sleeps at once: least work where waits are long or processors few.
struct block {
    static constexpr std::uint32_t spins = 0;
    static constexpr bool parks = true;
};

} // namespace waiting

/// A waiting policy: `spins`, how often to look again before giving the processor away, and
/// `parks`, whether that is by sleeping until woken (else by yielding).
template <class Policy>
concept waiting_policy = requires {
    { Policy::spins } -> std::convertible_to<std::uint32_t>;
    { Policy::parks } -> std::convertible_to<bool>;
};

COHOLD_NAMESPACE_END

#endif
