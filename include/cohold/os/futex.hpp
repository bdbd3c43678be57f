// Waiting for other threads and processes: spinning, the kernel's futex (sleep while a 32-bit word
// has a value, wake the sleepers), process-wide memory barriers, and yielding loops.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_FUTEX_HPP
#define COHOLD_OS_FUTEX_HPP

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cohold/config.hpp>
#include <cohold/error.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- spinning

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

/// Prefetches a cache line for writing. Any address is allowed. Does nothing on processors that
/// cannot do it.
inline void prefetch_to_write(const void* address) noexcept {
#if defined(__x86_64__)
    // For generic x86-64, compilers turn __builtin_prefetch into a prefetch for reading.
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
    __builtin_prefetch(address, 1);
#endif
}

/// Counts the spins of one wait: pauses as long as some are left, then reports that they are used
/// up.
class backoff {
  public:
    explicit backoff(std::uint32_t spins) noexcept : left_(spins) {}

    /// Pauses and returns true, or returns false when the spins are used up.
    [[nodiscard]] bool spin() noexcept {
        if (left_ == 0) {
            return false;
        }
        --left_;
        cpu_pause();
        return true;
    }

    /// Counts something else that took as long as these spins.
    void count(std::uint32_t spins) noexcept { left_ -= spins < left_ ? spins : left_; }

  private:
    std::uint32_t left_;
};

// ---- barriers in all processes

enum class membarrier_state : std::uint32_t { unknown, registered, missing };

// The state of this process. A forked child inherits its parent's memory and registration; exec
// loses both.
inline std::atomic<membarrier_state> membarrier_of_process{membarrier_state::unknown};

/// Registers this process, so that heavy_barrier() in other processes reaches it. One call is
/// enough; each further call costs a load. False if the kernel has no such barrier (before Linux
/// 4.16, or if a seccomp filter forbids it). System call: membarrier(2), the first time.
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
/// process. False if the kernel has none. *Complexity*: half a microsecond to ten microseconds.
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

/// The counterpart of heavy_barrier() on the fast side: keeps the compiler from reordering what
/// precedes it and what follows it. Between a store and a load it acts as a full barrier, but only
/// towards a thread that executes heavy_barrier() between its own store and load.
inline void light_barrier() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// ---- futexes

// The kernel sees the word itself, so the atomic must be nothing but its 32 bits.
static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && alignof(std::atomic<std::uint32_t>) == 4);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

inline constexpr std::uint32_t futex_wake_all = 0x7fffffff;

enum class futex_outcome {
    woken,      // by futex_wake, or spuriously: check the condition
    changed,    // the word already had another value
    timed_out,  // the deadline has passed
    interrupted // a signal handler ran
};

// The arguments of the kernel's 64-bit time calls on every platform.
struct futex_time {
    std::int64_t seconds;
    std::int64_t nanoseconds;
};

// Waits with FUTEX_WAIT_BITSET, whose deadline is absolute on CLOCK_MONOTONIC, so that a wait which
// is interrupted and repeated does not become longer. Never uses FUTEX_PRIVATE_FLAG, because the
// wakers are in other processes.
inline long futex_wait_call(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                            const futex_time* until) noexcept {
#if defined(SYS_futex_time64)
    // In a 32-bit process, SYS_futex takes 32-bit times, and kernels before 5.1 have nothing else.
    const long result = ::syscall(SYS_futex_time64, &word, FUTEX_WAIT_BITSET, expected, until,
                                  nullptr, FUTEX_BITSET_MATCH_ANY);
    if (result == 0 || errno != ENOSYS) {
        return result;
    }

    struct {
        std::int32_t seconds;
        std::int32_t nanoseconds;
    } narrow{0x7fffffff, 0};

    if (until != nullptr && until->seconds < narrow.seconds) {
        narrow = {static_cast<std::int32_t>(until->seconds),
                  static_cast<std::int32_t>(until->nanoseconds)};
    }
    return ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected,
                     until == nullptr ? nullptr : &narrow, nullptr, FUTEX_BITSET_MATCH_ANY);
#else
    return ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, until, nullptr,
                     FUTEX_BITSET_MATCH_ANY);
#endif
}

// Reached only in a sandbox that forbids futex(2), where waiting is impossible.
[[noreturn, gnu::cold]] inline void futex_failed(const char* call, int error) noexcept {
    char text[96];
    std::snprintf(text, sizeof(text), "%s failed with errno %d: waiting is impossible", call,
                  error);
    die(text);
}

/// Sleeps while `word` is `expected`, at most until `until`. System call: futex(2).
inline futex_outcome futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                deadline until = deadline::never()) noexcept {
    const futex_time time{until.nanoseconds / 1000000000, until.nanoseconds % 1000000000};
    if (futex_wait_call(word, expected, until.is_never() ? nullptr : &time) == 0) {
        return futex_outcome::woken;
    }
    switch (errno) {
    case EAGAIN:
    case EFAULT: // the thread that would have woken this one has freed the memory meanwhile
        return futex_outcome::changed;
    case ETIMEDOUT:
        return futex_outcome::timed_out;
    case EINTR:
        return futex_outcome::interrupted;
    default:
        futex_failed("futex(FUTEX_WAIT_BITSET)", errno);
    }
}

/// Wakes at most `count` sleepers, in any process; returns how many there were. System call:
/// futex(2).
inline std::uint32_t futex_wake(const std::atomic<std::uint32_t>& word,
                                std::uint32_t count) noexcept {
    if (count > futex_wake_all) {
        count = futex_wake_all; // the kernel takes a signed number
    }
    const long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
    if (woken < 0) {
        if (errno == EFAULT) {
            return 0; // the word was released before this call, and its memory has been freed since
        }
        futex_failed("futex(FUTEX_WAKE)", errno);
    }
    return static_cast<std::uint32_t>(woken);
}

// ---- yielding

/// For loops that wait for another thread which will not wake them. They yield the processor. Under
/// a real-time policy that does not help threads of lower priority, and the thread that is waited
/// for might never run, so such a thread sleeps 50 microseconds now and then. System calls:
/// sched_yield(2), sched_getscheduler(2), futex(2).
class yielding {
  public:
    void yield() noexcept {
        if (++turns_ % turns_between_sleeps == 0 && ::sched_getscheduler(0) != SCHED_OTHER)
            [[unlikely]] {
            const std::atomic<std::uint32_t> never{0};
            futex_wait(never, 0, deadline::in(50000));
        } else {
            ::sched_yield(); // cannot fail
        }
    }

  private:
    static constexpr std::uint32_t turns_between_sleeps = 32;

    std::uint32_t turns_ = 0;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
