// Definitions for waiting.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_WAITING_IPP
#define COHOLD_SYNC_WAITING_IPP

#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE wait_ticket wait_word::announce() noexcept {
    const std::uint32_t word = word_.fetch_or(sleeping, std::memory_order_seq_cst) | sleeping;
    return (word & settled) != 0 ? wait_ticket{word, true}
           : heavy_barrier()     ? settle(word)
                                 : wait_ticket{word, false};
}

[[gnu::noinline]] COHOLD_INLINE void wait_word::park(wait_ticket ticket, deadline until,
                                                     std::int64_t longest) noexcept {
    const std::int64_t interval =
        ticket.settled || longest < unsettled_interval ? longest : unsettled_interval;
    const futex_outcome how =
        futex_wait(word_, ticket.word, until.or_earlier(deadline::in(interval)));
    if (!ticket.settled && how == futex_outcome::timed_out) {
        static_cast<void>(settle(ticket.word));
    }
}

[[gnu::noinline]] COHOLD_INLINE void wait_word::wake_all() noexcept {
    begin_wake();
    finish_wake();
}

[[gnu::noinline]] COHOLD_INLINE void wait_word::begin_wake() noexcept {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    while (!word_.compare_exchange_weak(word, (word | flags) + 1, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
    }
}

[[gnu::noinline]] COHOLD_INLINE void wait_word::finish_wake() const noexcept {
    futex_wake(word_, futex_wake_all);
}

[[gnu::noinline]] COHOLD_INLINE void wait_word::wake(std::uint32_t count) noexcept {
    word_.fetch_add(one, std::memory_order_seq_cst);
    if (futex_wake(word_, count) < count) {
        wake_all(); // nobody was left: clear the bit, and wake those that came meanwhile
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
