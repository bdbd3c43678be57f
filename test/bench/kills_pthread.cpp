// Rows of the table of kills: what the C library has for several processes, and the lock-free queue
// that most many-to-many queues are modelled on.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "kills.hpp"
#include "mutexes.hpp"
#include "rings.hpp"

namespace kills {
namespace {

template <class Queue>
class hand_written {
  public:
    bool try_push(const item& value) { return queue_->try_push(value); }

    bool try_pop(item& value) { return queue_->try_pop(value); }

  private:
    bench::in_shared_memory<Queue> queue_;
};

} // namespace

std::vector<row> rows_of_pthread() {
    return {
        {"pthread mutex", referee<locked_record<bench::pthread_mutex>>},
        {"pthread robust mutex", referee<locked_record<bench::pthread_robust_mutex>>},
        {"pthread rwlock, writer killed", referee<locked_record<bench::pthread_shared_mutex>>},
        {"pthread rwlock, reader killed", referee<read_record<bench::pthread_shared_mutex>>},
        {"pthread condition, waiter killed", referee<waited_for<bench::pthread_condition>>},
        {"POSIX semaphore as a lock", referee<locked_record<bench::semaphore_lock>>},
        {"POSIX semaphore, waiter killed", referee<waited_signal<bench::posix_semaphore>>},
        {"Vyukov's bounded queue",
         referee<half_full_queue<hand_written<bench::vyukov_queue<item, 16>>>>},
        {"slot ring, one producer and one consumer",
         referee<half_full_queue<hand_written<bench::slot_ring<item, 16>>>>},
    };
}

} // namespace kills
