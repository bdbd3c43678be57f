// Definitions for call_table.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_CALL_TABLE_IPP
#define COHOLD_CONTAINER_DETAIL_CALL_TABLE_IPP

#include <cohold/container/detail/call_table.hpp>

#include <cerrno>

#include <cohold/container/detail/undo.hpp>
#include <cohold/engine/recovery.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[nodiscard]] inline std::uint64_t call_word(owner_word owner, call_state state) noexcept {
    return (owner & ~std::uint64_t{0xfffff}) | static_cast<std::uint32_t>(state);
}

[[nodiscard]] inline call_state call_state_of(std::uint64_t word) noexcept {
    return static_cast<call_state>(word & 0xfffffu);
}

[[nodiscard]] inline owner_word worker_of(std::uint64_t word) noexcept {
    return word & ~std::uint64_t{0xfffff};
}

COHOLD_INLINE call_table::call_table(std::uint64_t count, std::size_t size, std::size_t alignment,
                                     if_killed what, const shm_allocator<std::byte>& allocator)
    : allocator_(allocator), what_(what) {
    constexpr std::uint64_t most = 65536;
    constexpr std::size_t largest = 1u << 30;
    const error_context context("construct", "shm_service", "");
    if (count == 0 || count > most || size > largest) {
        raise(errc::invalid_size, "calls: expected 1 to %llu, found %lld, of %zu bytes",
              static_cast<unsigned long long>(most), static_cast<long long>(count), size);
    }
    std::error_code ec;
    memory_ = static_cast<std::byte*>(allocate_objects(
        allocator_.header(), static_cast<std::size_t>(count), size, alignment, ec));
    raise_if(ec);
    stride_ = static_cast<std::uint32_t>(size);
    count_ = static_cast<std::uint32_t>(count);
    for (std::uint32_t i = 0; i < count_; ++i) {
        ::new (static_cast<void*>(&at(i))) call_slot{};
    }
}

COHOLD_INLINE call_table::~call_table() {
    native_events::end(this, sizeof *this);
    if (count_ == 0) {
        return; // destroyed already, by a process that was killed afterwards
    }
    const report_keeper keeper;
    undo_scope<shm_allocator<std::byte>> section(allocator_, without_journal::happens);
    section.words(this, this, sizeof *this);
    deallocate(header(), memory_.get());
    memory_ = nullptr;
    count_ = 0;
    closed_.store(1, std::memory_order_relaxed);
    keep_stores_of(this);
}

COHOLD_INLINE owner_word call_table::enter(std::error_code& ec) const noexcept {
    if (allocator_.header() == nullptr) [[unlikely]] {
        fail(ec, errc::no_segment, "a shm_service must be in a segment");
        return nobody;
    }
    return participant_of(header(), ec);
}

COHOLD_INLINE std::uint64_t call_table::waiting() const noexcept {
    std::uint64_t found = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
        const std::uint64_t word = at(i).word.load(std::memory_order_relaxed);
        found += call_state_of(word) == call_state::waiting ? 1u : 0u;
    }
    return found;
}

COHOLD_INLINE event_source call_table::events() noexcept {
    return event_source::of(
        *this, calls_, event_source::way::one,
        [](const call_table& table) noexcept { return table.waiting() != 0 || table.is_closed(); });
}

COHOLD_INLINE void call_table::close() noexcept {
    closed_.store(1, std::memory_order_seq_cst);
    calls_.wake_all();
    places_.wake_all();
    for (std::uint32_t i = 0; i < count_; ++i) {
        at(i).answered.wake_all();
    }
}

COHOLD_INLINE void call_table::raise_failure(const std::error_code& ec) {
    if (ec != errc::closed && ec != errc::empty && ec != std::errc::timed_out) {
        raise_if(ec);
    }
}

COHOLD_INLINE void call_table::free_slot(call_slot& slot) noexcept {
    slot.word.store(call_word(nobody, call_state::free), std::memory_order_release);
    if (places_.awaited()) {
        places_.wake(1);
    }
}

COHOLD_INLINE call_slot* call_table::try_claim(owner_word me, bool thorough) noexcept {
    for (std::uint32_t i = 0; i < count_; ++i) {
        call_slot& slot = at(i);
        std::uint64_t word = slot.word.load(std::memory_order_acquire);
        bool available = call_state_of(word) == call_state::free;
        if (!available && thorough) {
            // Of a dead client, or cancelled and its server is dead.
            switch (call_state_of(word)) {
            case call_state::filling:
            case call_state::cancelled:
                available = !is_alive(header(), worker_of(word));
                break;
            case call_state::waiting:
            case call_state::answered:
            case call_state::failed:
                available = !is_alive(header(), slot.client.load(std::memory_order_relaxed));
                break;
            case call_state::serving:
                available = !is_alive(header(), worker_of(word)) &&
                            !is_alive(header(), slot.client.load(std::memory_order_relaxed));
                break;
            default:
                break;
            }
        }
        if (available && slot.word.compare_exchange_strong(word, call_word(me, call_state::filling),
                                                           std::memory_order_acq_rel)) {
            slot.client.store(me, std::memory_order_relaxed);
            return &slot;
        }
    }
    return nullptr;
}

COHOLD_INLINE call_slot* call_table::claim(deadline until, std::error_code& ec) noexcept {
    const owner_word me = enter(ec);
    call_slot* found = nullptr;
    std::uint32_t attempts = 0;
    const auto attempt = [&]() noexcept {
        if (is_closed()) {
            return outcome::closed;
        }
        const bool thorough = attempts == 0 || attempts > waiting::adaptive::spins;
        ++attempts;
        found = try_claim(me, thorough);
        return found != nullptr ? outcome::done : outcome::blocked;
    };
    if (!ec) {
        outcome result = attempt();
        if (result == outcome::blocked) {
            result = await<waiting::adaptive>(places_, attempt, until).what;
        }
        if (result == outcome::closed) {
            ec = make_error_code(errc::closed);
        } else if (result != outcome::done) {
            ec = std::make_error_code(std::errc::timed_out);
        }
    }
    return found;
}

COHOLD_INLINE outcome call_table::look(call_slot& slot) noexcept {
    std::uint64_t word = slot.word.load(std::memory_order_acquire);
    switch (call_state_of(word)) {
    case call_state::answered:
    case call_state::failed:
        return outcome::done;
    case call_state::serving:
        break;
    default:
        return outcome::blocked;
    }
    return outcome::held;
}

COHOLD_INLINE void call_table::make(call_slot& slot) noexcept {
    slot.ticket.store(tickets_.fetch_add(1, std::memory_order_relaxed), std::memory_order_relaxed);
    slot.word.store(call_word(slot.client.load(std::memory_order_relaxed), call_state::waiting),
                    std::memory_order_release);
    if (calls_.awaited()) {
        calls_.wake(1);
    }
}

COHOLD_INLINE bool call_table::wait(call_slot& slot, deadline until, std::error_code& ec) noexcept {
    std::uint32_t attempts = 0;
    const auto attempt = [&]() noexcept {
        const outcome found = look(slot);
        std::uint64_t word = slot.word.load(std::memory_order_acquire);
        ++attempts; // also before a server had taken the call: the spins end once
        if (found == outcome::held && attempts > waiting::adaptive::spins &&
            call_state_of(word) == call_state::serving && !is_alive(header(), worker_of(word))) {
            const call_state next =
                what_ == if_killed::fail ? call_state::failed : call_state::waiting;
            if (slot.word.compare_exchange_strong(
                    word, call_word(slot.client.load(std::memory_order_relaxed), next),
                    std::memory_order_acq_rel) &&
                next == call_state::waiting && calls_.awaited()) {
                calls_.wake(1);
            }
            return look(slot);
        }
        if (is_closed() && call_state_of(word) == call_state::waiting) {
            return outcome::closed;
        }
        return found;
    };
    outcome result = attempt();
    if (result == outcome::blocked || result == outcome::held) {
        result = await<waiting::adaptive>(slot.answered, attempt, until).what;
    }
    // Cancels it, unless it is at its end by now.
    std::uint64_t word = slot.word.load(std::memory_order_acquire);
    for (;;) {
        const call_state state = call_state_of(word);
        if (state == call_state::answered) {
            return true;
        }
        if (state == call_state::failed) {
            const error_context context("call", "shm_service", "");
            fail_errno(ec, ECONNRESET, "the server of the call was killed, or did not reply");
            free_slot(slot);
            return false;
        }
        const bool served = state == call_state::serving;
        const std::uint64_t next = served ? call_word(worker_of(word), call_state::cancelled)
                                          : call_word(nobody, call_state::free);
        if (slot.word.compare_exchange_strong(word, next, std::memory_order_acq_rel)) {
            ec = result == outcome::closed ? make_error_code(errc::closed)
                                           : std::make_error_code(std::errc::timed_out);
            if (!served && places_.awaited()) {
                places_.wake(1);
            }
            return false;
        }
    }
}

COHOLD_INLINE void call_table::finish(call_slot& slot) noexcept {
    free_slot(slot);
}

COHOLD_INLINE call_slot* call_table::try_take(owner_word me) noexcept {
    for (;;) {
        call_slot* oldest = nullptr;
        std::uint64_t ticket = 0;
        std::uint64_t expected = 0;
        for (std::uint32_t i = 0; i < count_; ++i) {
            call_slot& slot = at(i);
            const std::uint64_t word = slot.word.load(std::memory_order_acquire);
            if (call_state_of(word) == call_state::waiting) {
                const std::uint64_t its = slot.ticket.load(std::memory_order_relaxed);
                if (oldest == nullptr || static_cast<std::int64_t>(its - ticket) < 0) {
                    oldest = &slot;
                    ticket = its;
                    expected = word;
                }
            }
        }
        if (oldest == nullptr) {
            return nullptr;
        }
        if (oldest->word.compare_exchange_strong(expected, call_word(me, call_state::serving),
                                                 std::memory_order_acq_rel)) {
            return oldest;
        }
    }
}

COHOLD_INLINE call_slot* call_table::take(deadline until, owner_word& me,
                                          std::error_code& ec) noexcept {
    me = enter(ec);
    call_slot* found = nullptr;
    const auto attempt = [&]() noexcept {
        found = try_take(me);
        return found != nullptr ? outcome::done : is_closed() ? outcome::closed : outcome::blocked;
    };
    if (!ec) {
        wait_result result{attempt(), false};
        const bool waits = until.nanoseconds != at_once.nanoseconds;
        if (result.what == outcome::blocked && waits) {
            result = await<waiting::adaptive>(calls_, attempt, until);
        }
        if (result.what == outcome::done && result.slept && calls_.awaited()) {
            calls_.wake(1); // there may be a call for another sleeper
        }
        if (result.what == outcome::closed) {
            ec = make_error_code(errc::closed);
        } else if (result.what != outcome::done) {
            ec = waits ? std::make_error_code(std::errc::timed_out) : make_error_code(errc::empty);
        }
    }
    return found;
}

COHOLD_INLINE bool call_table::is_cancelled(const call_slot& slot, owner_word me) const noexcept {
    return slot.word.load(std::memory_order_acquire) != call_word(me, call_state::serving);
}

COHOLD_INLINE bool call_table::reply(call_slot& slot, owner_word me, bool good) noexcept {
    if (!is_participant(header()) || !is_this_process(header(), me)) {
        return false; // a forked child's copy
    }
    std::uint64_t word = call_word(me, call_state::serving);
    if (slot.word.compare_exchange_strong(
            word,
            call_word(slot.client.load(std::memory_order_relaxed),
                      good ? call_state::answered : call_state::failed),
            std::memory_order_acq_rel)) {
        if (slot.answered.awaited()) {
            slot.answered.wake_all();
        }
        return true;
    }
    if (word == call_word(me, call_state::cancelled)) {
        free_slot(slot);
    }
    return false;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
