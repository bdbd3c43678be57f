// The basis of the signals (semaphore, event, latch, barrier, condition): a word that holds a value
// and says whether anybody waits for it; and the check of a count that is passed to a constructor.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_DETAIL_AWAITABLE_HPP
#define COHOLD_SYNC_DETAIL_AWAITABLE_HPP

#include <bit>

#include <cohold/error.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// 64 bits that change in one step: the value that is waited for and, in the upper half, a bit that
/// says whether any thread may be asleep. A thread that changes the value learns from that same
/// step whether it must wake a sleeper, and does not touch the memory again: a waiter may have
/// freed it by then. The upper half is what sleepers hand to the kernel; it changes with every
/// wake-up.
///
/// If a process is killed between its change and its wake, sleepers look again after
/// recheck_interval. A killed sleeper leaves the bit set, which costs the next changer one call.
class signal_word {
  public:
    static constexpr std::int64_t recheck_interval = wait_word::recheck_interval; // ns

    explicit constexpr signal_word(std::uint64_t value) noexcept : word_(value) {}

    [[nodiscard]] std::uint64_t
    load(std::memory_order order = std::memory_order_acquire) const noexcept {
        return word_.load(order);
    }

    /// Changes `found` to `next`, like compare_exchange_weak.
    [[nodiscard]] bool change(std::uint64_t& found, std::uint64_t next,
                              std::memory_order order) noexcept {
        return word_.compare_exchange_weak(found, next, order, std::memory_order_relaxed);
    }

    /// Sleeps while the upper half is that of `state`; may return spuriously. Returns whether there
    /// was a wake-up. If there was, the memory may be gone.
    [[gnu::cold, gnu::noinline]] bool sleep(std::uint64_t state, deadline until) const noexcept {
        const futex_outcome how = futex_wait(upper_half(), static_cast<std::uint32_t>(state >> 32),
                                             until.or_earlier(deadline::in(recheck_interval)));
        return how == futex_outcome::woken || how == futex_outcome::changed;
    }

    /// Wakes at most `count`, after a change of the upper half. Reads nothing.
    [[gnu::cold, gnu::noinline]] void wake(std::uint32_t count) const noexcept {
        futex_wake(upper_half(), count);
    }

    /// Waits until attempt(slept) is true; returns false once the time is over. `blocks(state)`: is
    /// there something to wait for? `slept`: others may be asleep although the bit no longer says
    /// so. `sleeping`: the bit.
    template <class Blocks, class Attempt>
    [[gnu::cold, gnu::noinline]] bool
    await(std::uint64_t sleeping, deadline until, const Blocks& blocks, const Attempt& attempt,
          std::uint32_t most_spins = waiting::adaptive::spins) const noexcept {
        backoff spins(most_spins);
        for (bool slept = false; !attempt(slept);) {
            if (spins.spin()) {
                continue;
            }
            if (until.has_passed()) {
                if (slept) { // the wake-up may have been the only one while others sleep
                    word_.fetch_or(sleeping, std::memory_order_relaxed);
                }
                return false;
            }
            std::uint64_t state = word_.load(std::memory_order_relaxed);
            while (
                blocks(state) && (state & sleeping) == 0 &&
                !word_.compare_exchange_weak(state, state | sleeping, std::memory_order_relaxed)) {
            }
            if (blocks(state)) {
                sleep(state | sleeping, until);
                slept = true;
            }
        }
        return true;
    }

  private:
    [[nodiscard]] const std::atomic<std::uint32_t>& upper_half() const noexcept {
        return reinterpret_cast<const std::atomic<std::uint32_t>*>(
            &word_)[std::endian::native == std::endian::big ? 0 : 1];
    }

    alignas(
        8) mutable std::atomic<std::uint64_t> word_; // mutable: waiting does not change the value
};

static_assert(sizeof(signal_word) == 8 && alignof(signal_word) == 8);

/// A signal whose value has 32 bits: {wake-ups:31 | sleeping:1 | value:32}.
class signal_value {
  public:
    explicit constexpr signal_value(std::uint32_t value) noexcept : word_(value) {}

    [[nodiscard]] std::uint32_t
    load(std::memory_order order = std::memory_order_acquire) const noexcept {
        return static_cast<std::uint32_t>(word_.load(order));
    }

    /// Changes the value to next(value), in one step, provided that may(value) is true, and wakes
    /// up to `count` sleepers if wakes(old value) is true. Returns what `may` returned.
    template <class May, class Next, class Wakes>
    bool change(const May& may, const Next& next, const Wakes& wakes,
                std::uint32_t count) noexcept {
        std::uint64_t state = word_.load(std::memory_order_relaxed);
        for (;;) {
            const auto value = static_cast<std::uint32_t>(state);
            if (!may(value)) {
                return false;
            }
            const bool calls = (state & sleeping) != 0 && wakes(value);
            const std::uint64_t above = calls ? (state & ~sleeping) + one : state;
            if (word_.change(state, (above & ~lower) | next(value), std::memory_order_acq_rel)) {
                if (calls) [[unlikely]] {
                    word_.wake(count);
                }
                return true;
            }
        }
    }

    /// Decrements the value if it is not 0.
    [[nodiscard]] bool take() noexcept { return take(false); }

    /// Waits until it can.
    [[gnu::cold]] bool take_by(deadline until) noexcept {
        return word_.await(sleeping, until, is_zero, [this](bool slept) { return take(slept); });
    }

    /// Waits until wanted(value) is true.
    template <class Wanted>
    [[gnu::cold]] bool await(const Wanted& wanted, deadline until) const noexcept {
        return word_.await(
            sleeping, until,
            [&](std::uint64_t state) { return !wanted(static_cast<std::uint32_t>(state)); },
            [&](bool /*slept*/) { return wanted(load()); });
    }

    /// For a thread that may not be able to write: waits until over() is true. It cannot say that
    /// it sleeps, so it looks by itself, as in await_as_reader.
    template <class Over>
    [[gnu::cold]] bool poll(const Over& over, deadline until) const noexcept {
        constexpr std::int64_t longest = 3200000;
        for (std::int64_t interval = 50000;;
             interval = interval < longest ? interval * 2 : longest) {
            const std::uint64_t seen = word_.load();
            if (over()) {
                return true;
            }
            if (until.has_passed()) {
                return false;
            }
            word_.sleep(seen, until.or_earlier(deadline::in(interval)));
        }
    }

    /// Those that poll look again.
    [[gnu::cold]] void disturb_readers() const noexcept { word_.wake(futex_wake_all); }

    /// For a thread that takes nothing: waits until over() is true, without spinning. Then passes a
    /// wake-up on that may have been for one sleeper alone.
    template <class Over>
    [[gnu::cold]] void watch(const Over& over) noexcept {
        bool has_slept = false;
        word_.await(
            sleeping, deadline::never(), [&](std::uint64_t /*state*/) { return !over(); },
            [&](bool slept) {
                has_slept = slept;
                return over();
            },
            0);
        if (has_slept) {
            pass_on();
        }
    }

    /// All sleepers look again.
    [[gnu::cold]] void disturb() noexcept {
        std::uint64_t state = word_.load(std::memory_order_relaxed);
        while (!word_.change(state, (state & ~sleeping) + one, std::memory_order_relaxed)) {
        }
        word_.wake(futex_wake_all);
    }

  private:
    static constexpr std::uint64_t lower = 0xffffffffu;
    static constexpr std::uint64_t sleeping = std::uint64_t{1} << 32;
    static constexpr std::uint64_t one = std::uint64_t{2} << 32; // one wake-up

    static constexpr bool is_zero(std::uint64_t state) noexcept { return (state & lower) == 0; }

    // A sleeper that was woken alone found the bit cleared by its wake-up: it sets the bit again,
    // because others may be asleep, or, if there is more to take, wakes the next one.
    [[nodiscard]] bool take(bool slept) noexcept {
        std::uint64_t state = word_.load(std::memory_order_relaxed);
        while (!is_zero(state)) {
            const bool more = slept && !is_zero(state - 1);
            const std::uint64_t above =
                more ? (state & ~sleeping) + one : state | (slept ? sleeping : std::uint64_t{0});
            if (word_.change(state, above - 1, std::memory_order_acquire)) {
                if (more) {
                    word_.wake(1);
                }
                return true;
            }
        }
        return false;
    }

    void pass_on() noexcept {
        std::uint64_t state = word_.load(std::memory_order_relaxed);
        bool more = false;
        do {
            more = !is_zero(state);
        } while (!word_.change(state, more ? (state & ~sleeping) + one : state | sleeping,
                               std::memory_order_relaxed));
        if (more) {
            word_.wake(1);
        }
    }

    signal_word word_;
};

// A count passed to a constructor; negative ones look like large ones.
inline std::uint32_t counted(const char* kind, std::uint64_t count, std::uint32_t most) {
    if (count > most) [[unlikely]] {
        const error_context context("construct", kind, "");
        raise(errc::invalid_size, "%lld is not between 0 and %u", static_cast<long long>(count),
              most);
    }
    return static_cast<std::uint32_t>(count);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
