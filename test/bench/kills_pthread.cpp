// Rows of the table of kills: what the C library has for several processes, and the lock-free queue
// that most many-to-many queues are made after.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cerrno>

#include <pthread.h>
#include <semaphore.h>

#include "kills.hpp"
#include "rings.hpp"

namespace kills {
namespace {

void succeed(int error, const char* call) {
    bench::check(error == 0, call);
}

class mutex {
  public:
    explicit mutex(int robustness = PTHREAD_MUTEX_STALLED) {
        pthread_mutexattr_t attributes;
        succeed(pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
        succeed(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
        succeed(pthread_mutexattr_setrobust(&attributes, robustness), "setrobust");
        succeed(pthread_mutex_init(&mutex_, &attributes), "pthread_mutex_init");
        pthread_mutexattr_destroy(&attributes);
    }

    void lock() {
        const int error = pthread_mutex_lock(&mutex_);
        if (error == EOWNERDEAD) { // says that the data may be torn, and leaves that to the caller
            succeed(pthread_mutex_consistent(&mutex_), "pthread_mutex_consistent");
        } else {
            succeed(error, "pthread_mutex_lock");
        }
    }

    void unlock() { succeed(pthread_mutex_unlock(&mutex_), "pthread_mutex_unlock"); }

    pthread_mutex_t* native_handle() { return &mutex_; }

  private:
    pthread_mutex_t mutex_;
};

class robust_mutex : public mutex {
  public:
    robust_mutex() : mutex(PTHREAD_MUTEX_ROBUST) {}
};

class shared_mutex {
  public:
    shared_mutex() {
        pthread_rwlockattr_t attributes;
        succeed(pthread_rwlockattr_init(&attributes), "pthread_rwlockattr_init");
        succeed(pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
        succeed(pthread_rwlock_init(&lock_, &attributes), "pthread_rwlock_init");
        pthread_rwlockattr_destroy(&attributes);
    }

    void lock() { succeed(pthread_rwlock_wrlock(&lock_), "pthread_rwlock_wrlock"); }

    void unlock() { succeed(pthread_rwlock_unlock(&lock_), "pthread_rwlock_unlock"); }

    void lock_shared() { succeed(pthread_rwlock_rdlock(&lock_), "pthread_rwlock_rdlock"); }

    void unlock_shared() { unlock(); }

  private:
    pthread_rwlock_t lock_;
};

class semaphore {
  public:
    semaphore() { succeed(sem_init(&semaphore_, 1, 1), "sem_init"); }

    void lock() { succeed(sem_wait(&semaphore_), "sem_wait"); }

    void unlock() { succeed(sem_post(&semaphore_), "sem_post"); }

  private:
    sem_t semaphore_;
};

class condition : public robust_mutex { // so that the condition is what they hang at
  public:
    condition() {
        pthread_condattr_t attributes;
        succeed(pthread_condattr_init(&attributes), "pthread_condattr_init");
        succeed(pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
        succeed(pthread_cond_init(&condition_, &attributes), "pthread_cond_init");
        pthread_condattr_destroy(&attributes);
    }

    void wait() {
        const int error = pthread_cond_wait(&condition_, native_handle());
        if (error == EOWNERDEAD) {
            succeed(pthread_mutex_consistent(native_handle()), "pthread_mutex_consistent");
        } else {
            succeed(error, "pthread_cond_wait");
        }
    }

    void notify() { succeed(pthread_cond_signal(&condition_), "pthread_cond_signal"); }

  private:
    pthread_cond_t condition_;
};

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
        {"pthread mutex", referee<locked_record<mutex>>},
        {"pthread robust mutex", referee<locked_record<robust_mutex>>},
        {"pthread rwlock, writer killed", referee<locked_record<shared_mutex>>},
        {"pthread rwlock, reader killed", referee<read_record<shared_mutex>>},
        {"pthread condition, waiter killed", referee<waited_for<condition>>},
        {"POSIX semaphore as a lock", referee<locked_record<semaphore>>},
        {"Vyukov's bounded queue",
         referee<half_full_queue<hand_written<bench::vyukov_queue<item, 16>>>>},
        {"slot ring, one producer and one consumer",
         referee<half_full_queue<hand_written<bench::slot_ring<item, 16>>>>},
    };
}

} // namespace kills
