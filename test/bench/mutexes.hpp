// The locks that cohold's are compared with, with the names of the standard library's members.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_MUTEXES_HPP
#define COHOLD_TEST_BENCH_MUTEXES_HPP

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <pthread.h>
#include <semaphore.h>

#include "processes.hpp"

namespace bench {

/// The least work of a mutex between processes: a word that is 0 (free), 1 (locked) or 2 (locked,
/// and a thread may be asleep). A process that dies with it keeps it. Source: Ulrich Drepper,
/// Futexes Are Tricky, mutex 2.
class futex_mutex {
  public:
    void lock() {
        std::uint32_t found = 0;
        if (!word_.compare_exchange_strong(found, 1, std::memory_order_acquire)) {
            lock_slowly(found);
        }
    }

    void unlock() {
        if (word_.exchange(0, std::memory_order_release) == 2) {
            futex_wake(word_);
        }
    }

  private:
    [[gnu::noinline]] void lock_slowly(std::uint32_t found) {
        if (found != 2) {
            found = word_.exchange(2, std::memory_order_acquire);
        }
        while (found != 0) {
            futex_wait(word_, 2);
            found = word_.exchange(2, std::memory_order_acquire);
        }
    }

    std::atomic<std::uint32_t> word_{0};
};

inline void succeed(int error, const char* call) {
    check(error == 0, call);
}

/// Between processes; robust if requested.
class pthread_mutex {
  public:
    explicit pthread_mutex(int robustness = PTHREAD_MUTEX_STALLED) {
        pthread_mutexattr_t attributes;
        succeed(pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
        succeed(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
        succeed(pthread_mutexattr_setrobust(&attributes, robustness), "setrobust");
        succeed(pthread_mutex_init(&mutex_, &attributes), "pthread_mutex_init");
        pthread_mutexattr_destroy(&attributes);
    }

    void lock() { locked(pthread_mutex_lock(&mutex_)); }

    void unlock() { succeed(pthread_mutex_unlock(&mutex_), "pthread_mutex_unlock"); }

  protected:
    /// A robust mutex reports that the data may be torn, and leaves the rest to the caller.
    void locked(int error) {
        if (error == EOWNERDEAD) {
            succeed(pthread_mutex_consistent(&mutex_), "pthread_mutex_consistent");
        } else {
            succeed(error, "pthread_mutex_lock");
        }
    }

    pthread_mutex_t mutex_;
};

class pthread_robust_mutex : public pthread_mutex {
  public:
    pthread_robust_mutex() : pthread_mutex(PTHREAD_MUTEX_ROBUST) {}
};

/// A condition and its mutex, which is robust so that only the condition can hang.
class pthread_condition : public pthread_robust_mutex {
  public:
    pthread_condition() {
        pthread_condattr_t attributes;
        succeed(pthread_condattr_init(&attributes), "pthread_condattr_init");
        succeed(pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "setpshared");
        succeed(pthread_cond_init(&condition_, &attributes), "pthread_cond_init");
        pthread_condattr_destroy(&attributes);
    }

    void wait() { locked(pthread_cond_wait(&condition_, &mutex_)); }

    void notify() { succeed(pthread_cond_signal(&condition_), "pthread_cond_signal"); }

  private:
    pthread_cond_t condition_;
};

class pthread_shared_mutex {
  public:
    pthread_shared_mutex() {
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

class posix_semaphore {
  public:
    explicit posix_semaphore(unsigned permits = 0) {
        succeed(sem_init(&semaphore_, 1, permits), "sem_init");
    }

    void wait() { succeed(sem_wait(&semaphore_), "sem_wait"); }

    void give() { succeed(sem_post(&semaphore_), "sem_post"); }

  private:
    sem_t semaphore_;
};

/// A semaphore of 1, used as a lock.
class semaphore_lock : public posix_semaphore {
  public:
    semaphore_lock() : posix_semaphore(1) {}

    void lock() { wait(); }

    void unlock() { give(); }
};

} // namespace bench

#endif
