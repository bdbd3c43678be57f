// Definitions for shm_message_queue.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_MESSAGE_QUEUE_IPP
#define COHOLD_CONTAINER_SHM_MESSAGE_QUEUE_IPP

#include <cohold/container/shm_message_queue.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// How long an attempt waits for a lock. One that may fail comes back soon.
[[nodiscard]] inline deadline patience_of(wait_limit limit) noexcept {
    return limit.is_for_ever() ? deadline::never() : at_once;
}

[[nodiscard]] inline bool is_to_wait(outcome result, wait_limit limit) noexcept {
    return (result == outcome::blocked || result == outcome::held) && !limit.is_none();
}

// Counts the attempts to find room. Is this one that must look everywhere: one that is not
// repeated, or one before sleeping?
[[nodiscard]] inline bool is_last(std::uint32_t& attempts, wait_limit limit) noexcept {
    return attempts > waiting::adaptive::spins || limit.is_none() ||
           ++attempts > waiting::adaptive::spins;
}

} // namespace detail

COHOLD_INLINE detail::event_source shm_message_queue::events() noexcept {
    using detail::message_store;
    return detail::event_source::of(
        store_, store_.items(), detail::event_source::way::one,
        [](message_store& store, bool thorough) noexcept { return store.is_ready(thorough); });
}

COHOLD_INLINE detail::outcome shm_message_queue::offer(message_bytes bytes, unsigned priority,
                                                       detail::wait_limit limit,
                                                       std::error_code& ec) noexcept {
    const detail::deadline until = detail::patience_of(limit);
    std::uint32_t attempts = 0;
    const auto attempt = [&]() noexcept {
        return store_.push(bytes.get().data(), bytes.get().size(), priority,
                           detail::is_last(attempts, limit), until, ec);
    };
    detail::wait_result result{attempt(), false};
    if (detail::is_to_wait(result.what, limit)) {
        result = detail::await<waiting::adaptive>(store_.spaces(), attempt, limit.start());
    }
    if (result.what == outcome::done && store_.items().awaited()) {
        store_.items().wake(1);
    }
    return result.what;
}

COHOLD_INLINE detail::outcome shm_message_queue::find_room(size_type bytes, unsigned priority,
                                                           detail::wait_limit limit, place& found,
                                                           std::error_code& ec) noexcept {
    const detail::deadline until = detail::patience_of(limit);
    std::uint32_t attempts = 0;
    const auto attempt = [&]() noexcept {
        return store_.claim(bytes, priority, detail::is_last(attempts, limit), until, found, ec);
    };
    const outcome result = attempt();
    return detail::is_to_wait(result, limit)
               ? detail::await<waiting::adaptive>(store_.spaces(), attempt, limit.start()).what
               : result;
}

COHOLD_INLINE detail::outcome shm_message_queue::take(detail::wait_limit limit, place& found,
                                                      std::error_code& ec) noexcept {
    const detail::deadline until = detail::patience_of(limit);
    detail::wait_result result{store_.take(!limit.is_for_ever(), until, found, ec), false};
    if (detail::is_to_wait(result.what, limit)) {
        std::uint32_t attempts = 0;
        const auto attempt = [&]() noexcept {
            ++attempts; // messages of the dead are looked for only when it is time to sleep
            return store_.take(attempts > waiting::adaptive::spins, until, found, ec);
        };
        result = detail::await<waiting::adaptive>(store_.items(), attempt, limit.start());
        if (result.what == outcome::done && result.slept && store_.items().awaited()) {
            store_.items().wake(1); // there may be a message for another sleeper
        }
    }
    return result.what;
}

COHOLD_INLINE bool shm_message_queue::tell(outcome result, errc not_now, detail::wait_limit limit,
                                           std::error_code& ec) noexcept {
    if (!ec && result != outcome::done) {
        ec = result == outcome::closed ? make_error_code(errc::closed)
             : !limit.is_none()        ? std::make_error_code(std::errc::timed_out)
             : result == outcome::held ? make_error_code(errc::busy)
                                       : make_error_code(not_now);
    }
    return result == outcome::done;
}

COHOLD_INLINE void shm_message_queue::raise_unless_told(const std::error_code& ec) {
    if (ec != errc::closed && ec != errc::full && ec != errc::empty && ec != errc::busy &&
        ec != std::errc::timed_out) {
        detail::raise_if(ec);
    }
}

COHOLD_INLINE shm_message_queue::claimed_message
shm_message_queue::make_claim(size_type bytes, unsigned priority, detail::wait_limit limit) {
    std::error_code ec;
    place found;
    const outcome result = find_room(bytes, priority, limit, found, ec);
    detail::raise_if(ec);
    return result == outcome::done ? claimed_message(store_, found) : claimed_message();
}

COHOLD_INLINE shm_message_queue::claimed_message
shm_message_queue::make_claim(size_type bytes, unsigned priority, detail::wait_limit limit,
                              std::error_code& ec) noexcept {
    detail::clear(ec);
    place found;
    return tell(find_room(bytes, priority, limit, found, ec), errc::full, limit, ec)
               ? claimed_message(store_, found)
               : claimed_message();
}

COHOLD_INLINE shm_message_queue::message shm_message_queue::get(detail::wait_limit limit) {
    std::error_code ec;
    place found;
    const outcome result = take(limit, found, ec);
    detail::raise_if(ec);
    return result == outcome::done ? message(store_, found) : message();
}

COHOLD_INLINE shm_message_queue::message shm_message_queue::get(detail::wait_limit limit,
                                                                std::error_code& ec) noexcept {
    detail::clear(ec);
    place found;
    return tell(take(limit, found, ec), errc::empty, limit, ec) ? message(store_, found)
                                                                : message();
}

COHOLD_INLINE bool shm_message_queue::claimed_message::commit(size_type bytes) {
    std::error_code ec;
    const bool pushed = commit(bytes, ec);
    raise_unless_told(ec);
    return pushed;
}

COHOLD_INLINE bool shm_message_queue::claimed_message::commit(size_type bytes,
                                                              std::error_code& ec) noexcept {
    detail::clear(ec);
    const detail::error_context context("commit", "shm_message_queue", "");
    if (store_ == nullptr) {
        detail::fail(ec, errc::empty_handle, "there is no claim");
        return false;
    }
    if (bytes > bytes_.size()) {
        detail::fail(ec, errc::invalid_size, "claimed: %zu bytes, committed: %zu", bytes_.size(),
                     bytes);
        return false;
    }
    detail::message_store& store = *std::exchange(store_, nullptr);
    bytes_ = {};
    const outcome result =
        store.commit(at_, static_cast<std::uint32_t>(bytes), detail::deadline::never(), ec);
    if (result == outcome::done && store.items().awaited()) {
        store.items().wake(1);
    }
    return tell(result, errc::full, detail::wait_limit::for_ever(), ec);
}

COHOLD_INLINE void shm_message_queue::claimed_message::abandon() noexcept {
    if (store_ != nullptr) {
        std::exchange(store_, nullptr)->abandon(at_);
        bytes_ = {};
    }
}

COHOLD_NAMESPACE_END

#endif
