// Rows of the table of kills: Boost.Interprocess and Boost.Lockfree. Named objects lose their names
// as soon as they are made; the children of the process that made them inherit the mapping.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <functional>
#include <string>
#include <utility>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include "kills.hpp"

namespace kills {
namespace {

namespace bip = boost::interprocess;

class managed {
  public:
    managed() : name_(bench::own_name("kill")), segment_(bip::create_only, name_.c_str(), 1 << 18) {
        bip::shared_memory_object::remove(name_.c_str());
    }

    bip::managed_shared_memory& operator*() { return segment_; }

    bip::managed_shared_memory* operator->() { return &segment_; }

  private:
    std::string name_;
    bip::managed_shared_memory segment_;
};

class heap {
  public:
    static constexpr std::uint64_t calls_before = 2;

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            block_ = segment_->allocate(16 + random_.below(1000));
        } else {
            segment_->deallocate(block_);
        }
    }

    bool survive(std::uint64_t, std::uint64_t) {
        for (std::uint64_t i = 0; i < 200; ++i) {
            operate(1);
            std::memset(block_, 1, 16);
            operate(2);
        }
        return segment_->check_sanity();
    }

  private:
    managed segment_;
    void* block_ = nullptr;
    bench::random_numbers random_;
};

class map {
  public:
    static constexpr std::uint64_t calls_before = 1;

    map()
        : entries_(segment_->construct<entries>("map")(std::less<std::uint64_t>(),
                                                       segment_->get_segment_manager())),
          mutex_(segment_->construct<bip::interprocess_mutex>("mutex")()) {
        for (std::uint64_t key = 0; key < 16; ++key) {
            entries_->emplace(key, ~key);
        }
    }

    void prepare() {}

    void operate(std::uint64_t call) {
        const bip::scoped_lock guard(*mutex_);
        const std::uint64_t key = 16 + call * 7 % 16;
        entries_->emplace(key, ~key);
        entries_->erase(key);
    }

    bool survive(std::uint64_t, std::uint64_t) {
        std::uint64_t count = 0;
        {
            const bip::scoped_lock guard(*mutex_);
            for (const auto& [key, value] : *entries_) {
                if (value != ~key || key < count || ++count > 17) {
                    return false;
                }
            }
            if (count < 16 || count != entries_->size()) {
                return false;
            }
        }
        for (std::uint64_t call = 0; call < 100; ++call) {
            operate(call);
        }
        return segment_->check_sanity();
    }

  private:
    using entry = std::pair<const std::uint64_t, std::uint64_t>;
    using entries = bip::map<std::uint64_t, std::uint64_t, std::less<std::uint64_t>,
                             bip::allocator<entry, bip::managed_shared_memory::segment_manager>>;

    managed segment_;
    entries* entries_;
    bip::interprocess_mutex* mutex_;
};

struct sharable_mutex : bip::interprocess_sharable_mutex {
    void lock_shared() { lock_sharable(); }

    void unlock_shared() { unlock_sharable(); }
};

class named_mutex {
  public:
    named_mutex() : name_(bench::own_name("kill")), mutex_(bip::create_only, name_.c_str()) {
        bip::named_mutex::remove(name_.c_str());
    }

    void lock() { mutex_.lock(); }

    void unlock() { mutex_.unlock(); }

  private:
    std::string name_;
    bip::named_mutex mutex_;
};

class condition {
  public:
    void lock() { mutex_.lock(); }

    void unlock() { mutex_.unlock(); }

    void wait() {
        bip::scoped_lock guard(mutex_, bip::accept_ownership);
        condition_.wait(guard);
        guard.release();
    }

    void notify() { condition_.notify_one(); }

  private:
    bip::interprocess_mutex mutex_;
    bip::interprocess_condition condition_;
};

class message_queue {
  public:
    message_queue()
        : name_(bench::own_name("kill")),
          queue_(bip::create_only, name_.c_str(), capacity, sizeof(item)) {
        bip::message_queue::remove(name_.c_str());
    }

    bool try_push(const item& value) { return queue_.try_send(&value, sizeof value, 0); }

    bool try_pop(item& value) {
        std::size_t size = 0;
        unsigned priority = 0;
        return queue_.try_receive(&value, sizeof value, size, priority);
    }

    void push(const item& value) { queue_.send(&value, sizeof value, 0); }

    item pop() {
        item value{};
        std::size_t size = 0;
        unsigned priority = 0;
        queue_.receive(&value, sizeof value, size, priority);
        return value;
    }

  private:
    static constexpr std::uint64_t capacity = 16;

    std::string name_;
    bip::message_queue queue_;
};

template <class Queue>
class lockfree {
  public:
    bool try_push(const item& value) { return queue_->push(value); }

    bool try_pop(item& value) { return queue_->pop(value); }

  private:
    bench::in_shared_memory<Queue> queue_;
};

using boost::lockfree::capacity;

} // namespace

std::vector<row> rows_of_boost() {
    return {
        {"managed_shared_memory: allocate, deallocate", referee<heap>},
        {"interprocess::map under interprocess_mutex: insert, erase", referee<map>},
        {"interprocess_mutex", referee<locked_record<bip::interprocess_mutex>>},
        {"named_mutex", referee<locked_record<named_mutex>>},
        {"interprocess_sharable_mutex, writer killed", referee<locked_record<sharable_mutex>>},
        {"interprocess_sharable_mutex, reader killed", referee<read_record<sharable_mutex>>},
        {"interprocess_condition, waiter killed", referee<waited_for<condition>>},
        {"message_queue", referee<half_full_queue<message_queue>>},
        {"message_queue, receiver killed while it waits", referee<waited_queue<message_queue>>},
        {"lockfree::queue, of fixed size",
         referee<half_full_queue<lockfree<boost::lockfree::queue<item, capacity<16>>>>>},
        {"lockfree::spsc_queue",
         referee<half_full_queue<lockfree<boost::lockfree::spsc_queue<item, capacity<16>>>>>},
    };
}

} // namespace kills
