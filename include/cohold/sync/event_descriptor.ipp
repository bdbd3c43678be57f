// Definitions for event_descriptor.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_EVENT_DESCRIPTOR_IPP
#define COHOLD_SYNC_EVENT_DESCRIPTOR_IPP

#include <cohold/sync/event_descriptor.hpp>

#include <cerrno>
#include <new>

#include <cohold/os/event_flag.hpp>
#include <cohold/os/process.hpp>
#include <cohold/sync/reader_waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE event_watch::event_watch(const event_source& source, unique_fd&& flag,
                                       std::uint64_t seen) noexcept
    : source_(source), flag_(std::move(flag)), process_(process_stamp()), seen_(seen) {
}

COHOLD_INLINE event_watch* event_watch::start(const event_source& source, std::uint64_t seen,
                                              std::error_code& ec) noexcept {
    clear(ec);
    const error_context context("watch", "event_descriptor", "");
    unique_fd flag = make_event_flag();
    if (!flag) {
        fail_errno(ec, errno, "eventfd");
        return nullptr;
    }
    auto* const made = new (std::nothrow) event_watch(source, std::move(flag), seen);
    if (made == nullptr) {
        fail_errno(ec, ENOMEM, "%zu bytes", sizeof(event_watch));
        return nullptr;
    }
    if (const int error = start_thread(made->thread_, "cohold-event", &event_watch::run, made);
        error != 0) {
        fail_errno(ec, error, "pthread_create");
        delete made;
        return nullptr;
    }
    return made;
}

COHOLD_INLINE void event_watch::stop() noexcept {
    if (!is_inherited()) {
        seen_.store(UINT64_MAX, std::memory_order_release);
        stopping_.store(1, std::memory_order_seq_cst);
        do { // again, because the thread may have been about to sleep
            clear_event_flag(flag_.get());
            wake();
            futex_wait(ended_, 0, deadline::in(1000000));
        } while (ended_.load(std::memory_order_acquire) == 0);
        ::pthread_join(thread_, nullptr);
        clear_event_flag(flag_.get()); // for copies of the descriptor
    }
    flag_ = unique_fd();
    drop();
}

COHOLD_INLINE void event_watch::drop() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

COHOLD_INLINE void* event_watch::run(void* watch) noexcept {
    auto& mine = *static_cast<event_watch*>(watch);
    const auto stops = [&mine] { return mine.stopping_.load(std::memory_order_acquire) != 0; };
    while (!stops()) {
        mine.await_event();
        if (stops()) {
            break;
        }
        set_event_flag(mine.flag_.get());
        if (!stops()) { // if it stops now, the flag is cleared again
            mine.await_taken();
        }
    }
    mine.ended_.store(1, std::memory_order_release);
    futex_wake(mine.ended_, 1);
    return nullptr;
}

COHOLD_INLINE bool event_watch::is_over() noexcept {
    if (stopping_.load(std::memory_order_acquire) != 0) {
        return true;
    }
    const std::int64_t now = deadline::now().nanoseconds;
    const bool thorough = now - asked_ >= wait_word::recheck_interval;
    if (thorough) {
        asked_ = now;
    }
    return source_.look(source_.object, thorough, seen_);
}

COHOLD_INLINE void event_watch::await_taken() noexcept {
    constexpr std::int64_t shortest = 100000; // ns
    constexpr std::int64_t longest = 10000000;
    for (std::int64_t patience = shortest; !await_clear_flag(flag_.get(), patience);
         patience = patience < longest / 2 ? 2 * patience : longest) {
        if (source_.lasts && stopping_.load(std::memory_order_acquire) == 0 &&
            !source_.look(source_.object, true, seen_)) {
            clear_event_flag(flag_.get()); // what comes meanwhile is found next
            break;
        }
    }
}

COHOLD_INLINE void event_watch::await_event() noexcept {
    if (is_over()) {
        return;
    }
    auto attempt = [this]() noexcept { return is_over() ? outcome::done : outcome::blocked; };
    switch (source_.how) {
    case event_source::way::one:
        if (await<waiting::block>(word(), attempt, deadline::never()).slept && word().awaited()) {
            word().wake(1);
        }
        break;
    case event_source::way::all:
        static_cast<void>(await<waiting::block>(word(), attempt, deadline::never()));
        break;
    case event_source::way::reader:
        static_cast<void>(await_as_reader<waiting::block>(word(), attempt, deadline::never()));
        break;
    case event_source::way::signal:
        signal().watch([this]() noexcept { return is_over(); });
        break;
    case event_source::way::seen_signal: {
        const auto over = [this]() noexcept { return is_over(); };
        if (can_write(signal())) {
            signal().watch(over);
        } else {
            signal().poll(over, deadline::never());
        }
        break;
    }
    }
}

COHOLD_INLINE void event_watch::wake() const noexcept {
    if (source_.how == event_source::way::seen_signal && !can_write(signal())) {
        signal().disturb_readers();
    } else if (source_.how == event_source::way::signal ||
               source_.how == event_source::way::seen_signal) {
        signal().disturb();
    } else if (source_.how == event_source::way::reader && !can_write(word())) {
        word().finish_wake();
    } else if (word().awaited()) {
        word().wake_all();
    }
}

COHOLD_INLINE int event_position::own(const event_source& source, std::uint64_t position,
                                      std::error_code& ec) noexcept {
    clear(ec);
    if (!owns_ || watch_->is_inherited()) {
        event_watch* const made = event_watch::start(source, position, ec);
        if (made == nullptr) {
            return -1;
        }
        end();
        watch_ = made;
        owns_ = true;
    }
    return watch_->descriptor();
}

COHOLD_INLINE int native_events::of(const event_source& source, std::error_code& ec,
                                    std::uint64_t seen) noexcept {
    clear(ec);
    const process_lock held(busy_, stamp_page());
    for (event_watch* each = first_.load(std::memory_order_relaxed); each != nullptr;
         each = each->next_) {
        if (each->object() == source.object && !each->is_inherited()) {
            return each->descriptor();
        }
    }
    event_watch* const made = event_watch::start(source, seen, ec);
    if (made == nullptr) {
        return -1;
    }
    made->next_ = first_.load(std::memory_order_relaxed);
    first_.store(made, std::memory_order_release);
    return made->descriptor();
}

COHOLD_INLINE void native_events::end_those_of(const void* begin, std::size_t bytes) noexcept {
    const auto from = reinterpret_cast<std::uintptr_t>(begin);
    event_watch* ended = nullptr;
    {
        const process_lock held(busy_, stamp_page());
        event_watch* before = nullptr;
        event_watch* next = nullptr;
        for (event_watch* each = first_.load(std::memory_order_relaxed); each != nullptr;
             each = next) {
            next = each->next_;
            if (reinterpret_cast<std::uintptr_t>(each->object()) - from >= bytes) {
                before = each;
            } else {
                if (before == nullptr) {
                    first_.store(next, std::memory_order_release);
                } else {
                    before->next_ = next;
                }
                each->next_ = ended;
                ended = each;
            }
        }
    }
    while (ended != nullptr) {
        std::exchange(ended, ended->next_)->stop();
    }
}

} // namespace detail

COHOLD_INLINE void event_descriptor::clear() const noexcept {
    if (watch_ != nullptr) {
        detail::clear_event_flag(watch_->descriptor());
    }
}

COHOLD_NAMESPACE_END

#endif
