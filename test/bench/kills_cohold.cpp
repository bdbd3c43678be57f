// Rows of the table of kills: cohold's heap, locks and queues.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "kills_segment.hpp"

namespace kills {
namespace {

using cohold::concurrency;
using cohold::shm_queue;
using cohold::shm_vector;

// Each call allocates a block, or frees one.
class heap {
  public:
    static constexpr std::uint64_t calls_before = 2;

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            bytes_ = 16 + random_.below(1000);
            block_ = allocator_.allocate(bytes_);
        } else {
            allocator_.deallocate(block_, bytes_);
        }
    }

    bool survive(std::uint64_t, std::uint64_t) {
        segment_->recover();
        const std::size_t used = segment_->used();
        for (std::uint64_t i = 0; i < 200; ++i) {
            operate(1);
            std::memset(block_.get(), 1, bytes_);
            operate(2);
        }
        return segment_->used() == used;
    }

  private:
    home segment_;
    cohold::shm_allocator<char> allocator_ = segment_->allocator<char>();
    cohold::shm_allocator<char>::pointer block_;
    std::size_t bytes_ = 0;
    bench::random_numbers random_;
};

// Each call makes a named object, or destroys it.
class names {
  public:
    static constexpr std::uint64_t calls_before = 2;

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            segment_->construct<shm_vector<std::uint64_t>>("name", std::size_t{20}, call);
        } else {
            bench::check(segment_->destroy<shm_vector<std::uint64_t>>("name"), "destroy");
        }
    }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        segment_->recover();
        const auto* const found = segment_->find<shm_vector<std::uint64_t>>("name");
        const bool right = begun == returned ? (found != nullptr) == (begun % 2 != 0) : true;
        const bool whole = found == nullptr || (found->size() == 20 && found->front() != 0 &&
                                                found->front() == found->back());
        segment_->destroy<shm_vector<std::uint64_t>>("name");
        for (std::uint64_t i = 0; i < 20; ++i) {
            operate(1);
            operate(2);
        }
        return right && whole;
    }

  private:
    home segment_;
};

// What happens to a vector in 64 calls, the last of which empties it.
template <class Vector>
void apply(Vector& vector, std::uint64_t call) {
    const std::uint64_t step = call % 64;
    if (step == 63) {
        vector.clear();
        vector.shrink_to_fit();
    } else if (step < 40) {
        vector.push_back(call);
    } else if (step < 52) {
        vector.insert(vector.begin() + 3, call);
    } else {
        vector.erase(vector.begin() + 1);
    }
}

class vector {
  public:
    static constexpr std::uint64_t calls_before = 64;

    void prepare() {}

    void operate(std::uint64_t call) { apply(*vector_, call); }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        segment_->recover();
        const std::vector<std::uint64_t> found(vector_->begin(), vector_->end());
        const bool right = found == after(returned) || (begun != returned && found == after(begun));
        for (std::uint64_t call = 63; call < 63 + 64; ++call) {
            operate(call);
        }
        return right;
    }

  private:
    static std::vector<std::uint64_t> after(std::uint64_t calls) {
        std::vector<std::uint64_t> model;
        for (std::uint64_t call = calls - calls % 64; call <= calls; ++call) {
            apply(model, call);
        }
        return model;
    }

    home segment_;
    shm_vector<std::uint64_t>* vector_ = &segment_->construct<shm_vector<std::uint64_t>>("vector");
};

// The value of a shm_guarded: intact if all words are equal.
struct plain_record {
    std::uint64_t words[64] = {};

    void write(std::uint64_t value) {
        for (std::uint64_t& word : words) {
            word = value;
            bench::keep(word); // one by one
        }
    }

    [[nodiscard]] bool whole() const {
        return std::all_of(std::begin(words), std::end(words),
                           [&](std::uint64_t word) { return word == words[0]; });
    }
};

class guarded_words {
  public:
    static constexpr std::uint64_t calls_before = 1;

    void prepare() {}

    void operate(std::uint64_t call) { record_->lock()->write(call); }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        const std::uint64_t found = record_->lock()->words[0];
        bool right = found == begun || found == returned;
        for (std::uint64_t i = 0; i < lock_uses; ++i) {
            const auto locked = record_->lock();
            right = right && locked->whole();
            locked->write(i);
        }
        return right;
    }

  private:
    in_segment<cohold::shm_guarded<plain_record>> record_;
};

// Two vectors and a sum that agree only between sections.
struct books {
    shm_vector<std::uint64_t> debit;
    shm_vector<std::uint64_t> credit;
    std::uint64_t total = 0;

    void enter(std::uint64_t amount) {
        if (debit.size() == 40) {
            debit.clear();
            debit.shrink_to_fit();
            total = 0;
            credit.clear();
        }
        debit.push_back(amount);
        total += amount;
        credit.insert(credit.begin(), amount);
    }

    [[nodiscard]] bool balanced() const {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < debit.size(); ++i) {
            sum += debit[i];
        }
        return sum == total &&
               std::equal(debit.begin(), debit.end(), credit.rbegin(), credit.rend());
    }
};

class guarded_vectors {
  public:
    static constexpr std::uint64_t calls_before = 1;

    void prepare() {}

    void operate(std::uint64_t call) { books_->lock()->enter(call); }

    bool survive(std::uint64_t, std::uint64_t) {
        bool right = true;
        for (std::uint64_t i = 0; i < lock_uses; ++i) {
            const auto locked = books_->lock();
            right = right && locked->balanced();
            locked->enter(i);
        }
        return right;
    }

  private:
    in_segment<cohold::shm_guarded<books>> books_;
};

struct recursive_mutex {
    cohold::shm_recursive_mutex mutex;

    void lock() {
        mutex.lock();
        mutex.lock();
    }

    void unlock() {
        mutex.unlock();
        mutex.unlock();
    }
};

struct condition {
    cohold::shm_mutex mutex;
    cohold::shm_condition changed;

    void lock() { mutex.lock(); }

    void unlock() { mutex.unlock(); }

    void wait() { changed.wait(mutex); }

    void notify() { changed.notify_one(); }
};

struct semaphore {
    cohold::shm_semaphore permits{0};

    void wait() { permits.acquire(); }

    void give() { permits.release(); }
};

struct event {
    cohold::shm_event event{cohold::event_reset::automatic};

    void wait() { event.wait(); }

    void give() { event.set(); }
};

template <concurrency Concurrency>
class queue {
  public:
    bool try_push(const item& value) { return queue_->try_push(value); }

    bool try_pop(item& value) {
        const auto popped = queue_->try_pop();
        if (popped) {
            value = *popped;
        }
        return popped.has_value();
    }

    void push(const item& value) { queue_->push(value); }

    item pop() { return queue_->pop().value(); }

  private:
    home segment_;
    shm_queue<item, Concurrency>* queue_ =
        &segment_->construct<shm_queue<item, Concurrency>>("queue", 16);
};

} // namespace

std::vector<row> rows_of_cohold() {
    return {
        {"shm_allocator: allocate, deallocate", referee<heap>},
        {"construct, destroy a named object", referee<names>},
        {"shm_vector: push_back, insert, erase, clear", referee<vector>},
        {"shm_guarded: 64 words", referee<guarded_words>},
        {"shm_guarded: two shm_vectors and their sum", referee<guarded_vectors>},
        {"shm_mutex alone", referee<locked_record<cohold::shm_mutex, in_segment>>, false},
        {"shm_recursive_mutex alone, held twice",
         referee<locked_record<recursive_mutex, in_segment>>, false},
        {"shm_shared_mutex alone, writer killed",
         referee<locked_record<cohold::shm_shared_mutex, in_segment>>, false},
        {"shm_shared_mutex, reader killed",
         referee<read_record<cohold::shm_shared_mutex, in_segment>>},
        {"shm_condition, waiter killed", referee<waited_for<condition, in_segment>>},
        {"shm_semaphore, waiter killed", referee<waited_signal<semaphore, in_segment>>},
        {"shm_event, waiter killed", referee<waited_signal<event, in_segment>>},
        {"shm_queue, many to many", referee<half_full_queue<queue<concurrency::mpmc>>>},
        {"shm_queue, consumer killed while it waits",
         referee<waited_queue<queue<concurrency::mpmc>>>},
        {"shm_queue, one to one", referee<half_full_queue<queue<concurrency::spsc>>>},
    };
}

} // namespace kills
