// Definitions for event_flag.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_EVENT_FLAG_IPP
#define COHOLD_OS_EVENT_FLAG_IPP

#include <cohold/os/event_flag.hpp>

#include <atomic>
#include <cstdint>
#include <ctime>

#include <poll.h>
#include <sys/eventfd.h>

#include <cohold/os/futex.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE unique_fd make_event_flag() noexcept {
    return unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

COHOLD_INLINE void set_event_flag(int flag) noexcept {
    // With the highest count the descriptor is not writable: so writable means that it was read.
    const std::uint64_t most = 0xfffffffffffffffe;
    const uncancelled here;
    const int error = errno;
    static_cast<void>(!::write(flag, &most, sizeof most)); // EAGAIN: it is readable already
    errno = error;
}

COHOLD_INLINE void clear_event_flag(int flag) noexcept {
    std::uint64_t count = 0;
    const uncancelled here;
    const int error = errno;
    static_cast<void>(!::read(flag, &count, sizeof count)); // EAGAIN: it is clear
    errno = error;
}

COHOLD_INLINE bool await_clear_flag(int flag, std::int64_t patience) noexcept {
    constexpr std::int64_t second = 1000000000;
    struct ::pollfd watched{flag, POLLOUT, 0};
    const ::timespec most{static_cast<::time_t>(patience / second),
                          static_cast<long>(patience % second)};
    const uncancelled here;
    const int found = ::ppoll(&watched, 1, &most, nullptr);
    if (found == 0) {
        return false;
    }
    if (found < 0 || (watched.revents & POLLOUT) == 0) {
        // The program has closed the descriptor, or the kernel has no memory.
        const std::atomic<std::uint32_t> never{0};
        futex_wait(never, 0, deadline::in(10000000));
    }
    return true;
}

COHOLD_INLINE int start_thread(::pthread_t& made, const char* name, void* (*run)(void*),
                               void* argument) noexcept {
    constexpr std::size_t stack_bytes = 256 * 1024;
    const signals_blocked inherited_by_the_thread;
    ::pthread_attr_t attributes;
    int error = ::pthread_attr_init(&attributes);
    if (error == 0) {
        error = ::pthread_attr_setstacksize(&attributes, stack_bytes);
        if (error == 0) {
            error = ::pthread_create(&made, &attributes, run, argument);
        }
        ::pthread_attr_destroy(&attributes);
    }
    if (error == EINVAL) { // the thread-local variables of the program do not fit
        error = ::pthread_create(&made, nullptr, run, argument);
    }
    if (error == 0) {
        ::pthread_setname_np(made, name);
    }
    return error;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
