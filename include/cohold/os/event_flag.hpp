// A flag that epoll(7) and the like can wait for: an eventfd(2) that is readable while the flag is
// set; and threads that belong to the library.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_EVENT_FLAG_HPP
#define COHOLD_OS_EVENT_FLAG_HPP

#include <cstdint>

#include <pthread.h>

#include <cohold/os/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Not set. -1 and errno on failure: EMFILE, ENFILE, ENOMEM. System call: eventfd(2).
[[gnu::cold]] unique_fd make_event_flag() noexcept;

// Makes the descriptor readable, until somebody reads it. System call: write(2).
[[gnu::cold]] void set_event_flag(int flag) noexcept;

// Like reading 8 bytes from it. Does not wait. System call: read(2).
[[gnu::cold]] void clear_event_flag(int flag) noexcept;

// Waits until the flag is not set, no longer than `patience` ns. Returns whether it may be clear:
// spuriously, though not at once, if the descriptor is closed. System call: ppoll(2).
[[gnu::cold]] bool await_clear_flag(int flag, std::int64_t patience) noexcept;

// Starts a thread that calls run(argument). No signal is ever delivered to it, so that those of the
// program go to the program's threads. It needs little stack. 0, or the error of pthread_create(3):
// EAGAIN.
[[nodiscard, gnu::cold]] int start_thread(::pthread_t& made, const char* name, void* (*run)(void*),
                                          void* argument) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/event_flag.ipp>
#endif

#endif
