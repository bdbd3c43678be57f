// How threads wait that may not be able to write the word on which they sleep, because they have
// mapped it only for reading.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_READER_WAITING_HPP
#define COHOLD_SYNC_READER_WAITING_HPP

#include <cstdint>

#include <cohold/engine/local_mapping.hpp>
#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Can this process write the word? Only in a segment does it know.
[[nodiscard, gnu::cold]] inline bool can_write(const wait_word& word) noexcept {
    return mappings.around(reinterpret_cast<std::uintptr_t>(&word)) != nullptr;
}

[[nodiscard, gnu::cold]] inline bool can_write(const signal_value& word) noexcept {
    return mappings.around(reinterpret_cast<std::uintptr_t>(&word)) != nullptr;
}

// Like await() with a word that a reader may not be able to write: it cannot say then that it
// sleeps. It wakes up together with others that can. Otherwise it looks again by itself after 50
// microseconds, and then less and less often, down to every 3.2 ms.
template <waiting_policy Waiting, class Attempt>
[[gnu::cold, gnu::noinline]] wait_result await_as_reader(wait_word& word, Attempt& attempt,
                                                         deadline until) {
    if (!Waiting::parks || can_write(word)) {
        return await<Waiting>(word, attempt, until);
    }
    constexpr std::int64_t longest = 3200000;
    std::int64_t interval = 50000;
    backoff spins(Waiting::spins);
    for (bool slept = false;; slept = true) {
        const std::uint32_t seen = word.look();
        if (const outcome what = attempt(); what != outcome::blocked && what != outcome::held) {
            return {what, slept};
        }
        if (spins.spin()) {
            continue;
        }
        if (until.has_passed()) {
            return {outcome::blocked, slept};
        }
        word.doze(seen, until.or_earlier(deadline::in(interval)));
        interval = interval < longest ? interval * 2 : longest;
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
