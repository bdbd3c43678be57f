// What the signals (semaphore, event, latch, barrier) share: waiting for a word to change, and
// checking a count.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_AWAITABLE_HPP
#define COHOLD_SYNC_AWAITABLE_HPP

#include <cohold/detail/moment.hpp>
#include <cohold/error.hpp>
#include <cohold/sync/wait_word.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Waits until `come` is true: outcome::done, or blocked once the time is over.
template <class Come>
wait_result await_that(wait_word& word, const Come& come, deadline until) noexcept {
    auto attempt = [&come]() noexcept { return come() ? outcome::done : outcome::blocked; };
    const outcome now = attempt();
    return now == outcome::done ? wait_result{now, false}
                                : await<waiting::adaptive>(word, attempt, until);
}

// A count as a constructor's argument, negative ones as large ones.
inline std::uint32_t counted(const char* kind, std::uint64_t count, std::uint32_t most) {
    if (count > most) [[unlikely]] {
        const operation context("construct", kind, "");
        raise(errc::invalid_size, "%lld, but 0 to %u are possible", static_cast<long long>(count),
              most);
    }
    return static_cast<std::uint32_t>(count);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
