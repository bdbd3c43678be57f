// The kernel's barrier across processes: one side of a handshake pays for both, so that the other
// side, which runs often, needs no fence.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_MEMBARRIER_HPP
#define COHOLD_DETAIL_MEMBARRIER_HPP

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

enum class membarrier_state : std::uint32_t { unknown, registered, missing };

// Of this process. A forked child has its parent's memory and its registration; exec loses both.
inline std::atomic<membarrier_state> membarrier_of_process{membarrier_state::unknown};

/// Makes heavy_barrier() of other processes reach this one; once is enough, and again costs a load.
/// False if the kernel has no such barrier (before 4.16, or forbidden by a filter of system calls).
/// System call: membarrier(2), the first time.
inline bool register_membarrier() noexcept {
    membarrier_state state = membarrier_of_process.load(std::memory_order_relaxed);
    if (state == membarrier_state::unknown) [[unlikely]] {
        const int error = errno;
        state = ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0
                    ? membarrier_state::registered
                    : membarrier_state::missing;
        errno = error;
        membarrier_of_process.store(state, std::memory_order_relaxed);
    }
    return state == membarrier_state::registered;
}

/// A full memory barrier in the caller and, before it returns, in every thread of every registered
/// process. False if there was none. *Complexity*: half a microsecond to ten.
/// System call: membarrier(2).
[[nodiscard, gnu::cold]] inline bool heavy_barrier() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!register_membarrier()) {
        return false;
    }
    const int error = errno;
    const bool done = ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
    errno = error;
    return done;
}

/// The other side's half of it: keeps the compiler from moving what follows before what precedes.
/// Between a store and a load it means what a full barrier means, but only towards somebody who
/// executes heavy_barrier() between his own store and load.
inline void light_barrier() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
