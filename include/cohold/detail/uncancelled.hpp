// System calls that would be cancellation points: whoever makes them here is noexcept, so a thread
// that is cancelled in one would end the process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_UNCANCELLED_HPP
#define COHOLD_DETAIL_UNCANCELLED_HPP

#include <pthread.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// While it lives, the thread is not cancelled; a request stays pending.
class uncancelled {
  public:
    uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }

    uncancelled(const uncancelled&) = delete;
    uncancelled& operator=(const uncancelled&) = delete;

    ~uncancelled() { ::pthread_setcancelstate(before_, &before_); }

  private:
    int before_ = PTHREAD_CANCEL_ENABLE;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
