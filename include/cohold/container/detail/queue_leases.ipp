// Definitions for queue_leases.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_LEASES_IPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_LEASES_IPP

#include <cohold/container/detail/queue_leases.hpp>

#include <new>

#include <cohold/engine/section.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[nodiscard]] inline std::size_t lease_elements_at(std::uint32_t count,
                                                   std::size_t alignment) noexcept {
    const std::size_t unit = alignment < 64 ? 64 : alignment;
    const std::size_t words = sizeof(queue_leases) + 16 * std::size_t{count};
    return (words + unit - 1) / unit * unit;
}

COHOLD_INLINE queue_leases::queue_leases(std::uint32_t count, std::size_t size,
                                         std::size_t alignment) noexcept
    : count_(count), elements_(lease_elements_at(count, alignment)), size_(size) {
    for (std::uint32_t i = 0; i < count; ++i) {
        ::new (static_cast<void*>(&word(i))) atomic_word{{0}};
        positions()[i] = 0;
    }
}

COHOLD_INLINE std::size_t queue_leases::bytes_for(std::uint32_t count, std::size_t size,
                                                  std::size_t alignment) noexcept {
    return lease_elements_at(count, alignment) + count * size;
}

COHOLD_INLINE std::uint32_t queue_leases::first_returned() const noexcept {
    std::uint32_t first = none;
    for (std::uint32_t i = 0; i < count(); ++i) {
        if (state_of(word(i).load(std::memory_order_acquire)) == lease_state::returned &&
            (first == none || ahead_by(positions()[first], positions()[i]) > 0)) {
            first = i;
        }
    }
    return first;
}

COHOLD_INLINE std::uint32_t queue_leases::find_free() noexcept {
    for (bool announced = false;; announced = true) {
        for (std::uint32_t i = 0; i < count(); ++i) {
            if (word(i).load(std::memory_order_acquire) == 0) {
                return i;
            }
        }
        if (announced) {
            return none;
        }
        awaited_.store(1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst); // see done()
    }
}

COHOLD_INLINE void queue_leases::take(std::uint32_t place, queue_position at,
                                      owner_word me) noexcept {
    positions()[place] = at;
    word(place).store(word_of(me, 1, lease_state::taken), std::memory_order_release);
}

COHOLD_INLINE void queue_leases::take_again(std::uint32_t place, owner_word me) noexcept {
    const std::uint32_t before = attempts(place);
    word(place).store(word_of(me, before < most_attempts ? before + 1 : before, lease_state::taken),
                      std::memory_order_release);
}

COHOLD_INLINE void queue_leases::return_from_dead(segment_header& header) noexcept {
    constexpr std::int64_t interval = 1000000; // ns
    owner_word known = nobody;                 // the last one that is known to be alive
    int may_ask = -1;                          // not decided yet
    for (std::uint32_t i = 0; i < count(); ++i) {
        const std::uint64_t now = word(i).load(std::memory_order_acquire);
        const owner_word owner = now & process_bits;
        if (state_of(now) != lease_state::taken || owner == known ||
            is_this_process(header, owner)) {
            continue;
        }
        if (is_attached(header, owner)) {
            if (may_ask < 0) {
                const std::int64_t time = deadline::now().nanoseconds;
                const std::int64_t since = time - asked_.load(std::memory_order_relaxed);
                may_ask = since >= interval || since < 0 ? 1 : 0; // another clock after a reboot
                if (may_ask == 1) {
                    asked_.store(time, std::memory_order_relaxed);
                }
            }
            if (may_ask == 0 || is_alive(header, owner)) {
                known = owner;
                continue;
            }
        }
        word(i).store((now & ~(process_bits | 3)) |
                          static_cast<std::uint32_t>(lease_state::returned),
                      std::memory_order_release);
    }
}

COHOLD_INLINE void queue_leases::forget_from(queue_position head) noexcept {
    for (std::uint32_t i = 0; i < count(); ++i) {
        if (word(i).load(std::memory_order_acquire) != 0 && ahead_by(positions()[i], head) >= 0) {
            free(i);
        }
    }
}

COHOLD_INLINE queue_leases::rest
queue_leases::what_is_left(const segment_header& header) const noexcept {
    rest found = rest::none;
    for (std::uint32_t i = 0; i < count(); ++i) {
        const std::uint64_t now = word(i).load(std::memory_order_acquire);
        if (state_of(now) == lease_state::returned) {
            return rest::returned;
        }
        if (state_of(now) == lease_state::taken) {
            const bool ours = is_this_process(header, now & process_bits);
            found = ours && found != rest::others ? rest::ours : rest::others;
        }
    }
    return found;
}

COHOLD_INLINE bool queue_leases::done(std::uint32_t place) noexcept {
    free(place);
    std::atomic_thread_fence(std::memory_order_seq_cst); // see find_free()
    return awaited_.load(std::memory_order_relaxed) != 0 &&
           awaited_.exchange(0, std::memory_order_relaxed) != 0;
}

COHOLD_INLINE void queue_leases::give_back(std::uint32_t place) noexcept {
    word(place).store(word_of(nobody, attempts(place), lease_state::returned),
                      std::memory_order_release);
}

COHOLD_INLINE bool queue_leases::are_of_dead(const segment_header& header) const noexcept {
    owner_word known = nobody; // the last one that is known to be alive
    for (std::uint32_t i = 0; i < count(); ++i) {
        const std::uint64_t now = word(i).load(std::memory_order_acquire);
        const owner_word owner = now & process_bits;
        if (state_of(now) != lease_state::taken || owner == known) {
            continue;
        }
        if (!is_this_process(header, owner) &&
            (!is_attached(header, owner) || !is_alive(header, owner))) {
            return true;
        }
        known = owner;
    }
    return false;
}

COHOLD_INLINE std::uint32_t queue_leases::count_returned() const noexcept {
    std::uint32_t found = 0;
    for (std::uint32_t i = 0; i < count(); ++i) {
        found +=
            state_of(word(i).load(std::memory_order_relaxed)) == lease_state::returned ? 1U : 0U;
    }
    return found;
}

[[gnu::noinline]] COHOLD_INLINE void
make_queue_leases(segment_header& header, std::atomic<std::uint64_t>& word, std::uint32_t count,
                  std::size_t size, std::size_t alignment, std::error_code& ec) noexcept {
    section undone_by_death(header, ec);
    if (ec) {
        return;
    }
    void* const made = allocate(header, queue_leases::bytes_for(count, size, alignment),
                                alignment < 64 ? 64 : alignment, ec);
    if (ec) {
        return;
    }
    ::new (made) queue_leases(count, size, alignment);
    undone_by_death.commit_by(
        word,
        static_cast<std::uint64_t>(static_cast<char*>(made) - reinterpret_cast<char*>(&header)),
        witness_kind::equal);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
