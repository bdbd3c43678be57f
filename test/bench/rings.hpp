// The limits that shm_queue is compared with: the fastest hand-written rings for the job. They
// cannot be waited in or closed, and do not survive a death.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_RINGS_HPP
#define COHOLD_TEST_BENCH_RINGS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bench {

/// One producer, one consumer: a number in each slot says whose turn it is.
template <class T, std::uint64_t Capacity>
class slot_ring {
  public:
    slot_ring() {
        for (std::uint64_t i = 0; i < Capacity; ++i) {
            slots_[i].turn.store(i, std::memory_order_relaxed);
        }
    }

    bool try_push(const T& value) {
        slot& s = slots_[tail_ % Capacity];
        if (s.turn.load(std::memory_order_acquire) != tail_) {
            return false;
        }
        s.value = value;
        s.turn.store(++tail_, std::memory_order_release);
        return true;
    }

    bool try_pop(T& value) {
        slot& s = slots_[head_ % Capacity];
        if (s.turn.load(std::memory_order_acquire) != head_ + 1) {
            return false;
        }
        value = s.value;
        s.turn.store(head_ + Capacity, std::memory_order_release);
        ++head_;
        return true;
    }

  private:
    struct slot {
        alignas(8) std::atomic<std::uint64_t> turn;
        T value;
    };

    alignas(64) std::uint64_t tail_ = 0; // only the producer's
    alignas(64) std::uint64_t head_ = 0; // only the consumer's
    alignas(64) slot slots_[Capacity];
};

/// One producer, one consumer: two shared indexes, of which each side keeps a copy of the other's,
/// and one store for a whole batch.
template <class T, std::uint64_t Capacity>
class index_ring {
  public:
    std::size_t try_push_n(const T* values, std::size_t n) {
        const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
        if (tail + n - seen_head_ > Capacity) {
            seen_head_ = head_.load(std::memory_order_acquire);
        }
        const std::size_t count = fewer(n, Capacity - (tail - seen_head_));
        for (std::size_t i = 0; i < count; ++i) {
            values_[(tail + i) % Capacity] = values[i];
        }
        if (count != 0) {
            tail_.store(tail + count, std::memory_order_release);
        }
        return count;
    }

    std::size_t try_pop_n(T* values, std::size_t n) {
        const std::uint64_t head = head_.load(std::memory_order_relaxed);
        if (seen_tail_ - head < n) {
            seen_tail_ = tail_.load(std::memory_order_acquire);
        }
        const std::size_t count = fewer(n, seen_tail_ - head);
        for (std::size_t i = 0; i < count; ++i) {
            values[i] = values_[(head + i) % Capacity];
        }
        if (count != 0) {
            head_.store(head + count, std::memory_order_release);
        }
        return count;
    }

  private:
    static std::size_t fewer(std::size_t a, std::uint64_t b) {
        return a < b ? a : static_cast<std::size_t>(b);
    }

    alignas(64) std::atomic<std::uint64_t> tail_{0};
    std::uint64_t seen_head_ = 0; // on the producer's line
    alignas(64) std::atomic<std::uint64_t> head_{0};
    std::uint64_t seen_tail_ = 0; // on the consumer's line
    alignas(64) T values_[Capacity];
};

/// Many producers, many consumers. A process that dies between its claim and its store stops all
/// others for ever. Source: Dmitry Vyukov, Bounded MPMC queue (1024cores.net).
template <class T, std::uint64_t Capacity>
class vyukov_queue {
  public:
    vyukov_queue() {
        for (std::uint64_t i = 0; i < Capacity; ++i) {
            slots_[i].turn.store(i, std::memory_order_relaxed);
        }
    }

    bool try_push(const T& value) {
        std::uint64_t position = 0;
        slot* const s = claim(tail_, 0, position);
        if (s == nullptr) {
            return false;
        }
        s->value = value;
        s->turn.store(position + 1, std::memory_order_release);
        return true;
    }

    bool try_pop(T& value) {
        std::uint64_t position = 0;
        slot* const s = claim(head_, 1, position);
        if (s == nullptr) {
            return false;
        }
        value = s->value;
        s->turn.store(position + Capacity, std::memory_order_release);
        return true;
    }

  private:
    struct slot {
        alignas(8) std::atomic<std::uint64_t> turn;
        T value;
    };

    // Gives the slot whose turn is its position + `ahead` to the caller alone.
    slot* claim(std::atomic<std::uint64_t>& next, std::uint64_t ahead, std::uint64_t& position) {
        position = next.load(std::memory_order_relaxed);
        for (;;) {
            slot& s = slots_[position % Capacity];
            const std::uint64_t turn = s.turn.load(std::memory_order_acquire);
            const auto distance = static_cast<std::int64_t>(turn - (position + ahead));
            if (distance < 0) {
                return nullptr;
            }
            if (distance > 0) {
                position = next.load(std::memory_order_relaxed);
            } else if (next.compare_exchange_weak(position, position + 1,
                                                  std::memory_order_relaxed)) {
                return &s;
            }
        }
    }

    alignas(64) std::atomic<std::uint64_t> tail_{0};
    alignas(64) std::atomic<std::uint64_t> head_{0};
    alignas(64) slot slots_[Capacity];
};

} // namespace bench

#endif
