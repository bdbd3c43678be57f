// Rows of the table of kills: what is for messages and values between processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "kills_segment.hpp"

namespace kills {
namespace {

using namespace std::chrono_literals;

// What a victim does with what it has taken, so that the kill often comes then.
void work() {
    const double until = bench::now_ns() + 20e3;
    while (bench::now_ns() < until) {
        bench::pause();
    }
}

// What the victim had finished: calls with odd numbers put in an item, even ones take one out.
class half_full {
  public:
    static constexpr std::uint64_t before = 8; // items that were there before the victim's

    // `done`: the last item that the victim may have been done with.
    half_full(std::uint64_t begun, std::uint64_t returned, std::uint64_t done)
        : pushed_(before + (returned + 1) / 2), popped_(returned / 2),
          in_push_(begun != returned && begun % 2 != 0),
          in_pop_(begun != returned && begun % 2 == 0), may_be_gone_(done > popped_) {}

    /// Each item is there once that had been put in and had not been taken out; the one of the call
    /// that had begun may be. One that comes back may do so after those behind it.
    [[nodiscard]] bool allows(std::vector<std::uint64_t> found) const {
        const std::uint64_t taken = popped_ + 1;
        const auto back = std::find(found.begin(), found.end(), taken);
        std::uint64_t next = taken;
        if (in_pop_) {
            if (back != found.end()) {
                found.erase(back);
                ++next;
            } else if (may_be_gone_) {
                ++next;
            }
        }
        for (const std::uint64_t number : found) {
            if (number != next++) {
                return false;
            }
        }
        return next == pushed_ + 1 || (in_push_ && next == pushed_ + 2);
    }

  private:
    std::uint64_t pushed_;
    std::uint64_t popped_;
    bool in_push_;
    bool in_pop_;
    bool may_be_gone_;
};

// A queue whose items come back if the process is killed that has taken them. Holder has `try_push`
// and `take`, which waits for an item for some time, calls a function, and is then done with it.
template <class Holder>
class leased {
  public:
    static constexpr std::uint64_t calls_before = 2;

    leased() {
        for (std::uint64_t number = 1; number <= half_full::before; ++number) {
            bench::check(queue_.try_push(numbered(number)), "an item before the kill");
        }
    }

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            bench::check(queue_.try_push(numbered(half_full::before + (call + 1) / 2)),
                         "the victim's push");
        } else {
            item taken{};
            const auto finish = [&] {
                work();
                *done_ = call / 2;
            };
            bench::check(queue_.take(taken, 0ms, finish) == 1, "the victim's item");
        }
    }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        const std::uint64_t may_come_back = returned / 2 + 1;
        std::vector<std::uint64_t> found;
        item taken{};
        while (const std::uint32_t attempts = queue_.take(taken, 100ms, [] {})) {
            if (!taken.whole() ||
                attempts > (taken.number == may_come_back && begun != returned ? 2U : 1U)) {
                return false;
            }
            found.push_back(taken.number);
        }
        bool right = half_full(begun, returned, *done_).allows(std::move(found));
        for (std::uint64_t i = 0; right && i < 3; ++i) { // all places can still be used
            for (std::uint64_t number = 1; number <= capacity; ++number) {
                while (!queue_.try_push(numbered(number))) {
                    usleep(100);
                }
            }
            for (std::uint64_t number = 1; number <= capacity; ++number) {
                right = right && queue_.take(taken, 500ms, [] {}) == 1 && taken.whole() &&
                        taken.number == number;
            }
        }
        return right;
    }

  private:
    static constexpr std::uint64_t capacity = 16;

    Holder queue_;
    bench::in_shared_memory<std::atomic<std::uint64_t>> done_;
};

class leases {
  public:
    bool try_push(const item& value) { return queue_->try_push(value); }

    // Returns how often it has been taken, or 0 if there is none.
    template <class Function>
    std::uint32_t take(item& value, std::chrono::milliseconds patience, Function before_done) {
        auto lease = patience == 0ms ? queue_->try_take() : queue_->take_for(patience);
        if (!lease) {
            return 0;
        }
        value = *lease;
        const std::uint32_t attempts = lease.attempts();
        before_done();
        lease.done();
        return attempts;
    }

  private:
    home segment_;
    cohold::shm_queue<item>* queue_ = &segment_->construct<cohold::shm_queue<item>>("queue", 16);
};

class messages {
  public:
    bool try_push(const item& value) {
        const item one[] = {value};
        return queue_->try_push(std::as_bytes(std::span(one)));
    }

    template <class Function>
    std::uint32_t take(item& value, std::chrono::milliseconds patience, Function before_done) {
        const auto message = patience == 0ms ? queue_->try_pop() : queue_->pop_for(patience);
        if (!message) {
            return 0;
        }
        bench::check(message->size() == sizeof value, "the length of a message");
        std::memcpy(&value, message->data(), sizeof value);
        before_done();
        return message.attempts();
    }

  private:
    home segment_;
    cohold::shm_message_queue* queue_ = &segment_->construct<cohold::shm_message_queue>(
        "queue", 16 * (sizeof(item) + 32)); // 16 messages, and not one more
};

// A queue of loans. The pool has an object for each place and one for the producer.
class loans {
  public:
    bool try_push(const item& value) {
        auto loan = state_->pool.try_loan();
        if (!loan) {
            return false;
        }
        *loan = value;
        return state_->queue.try_push(std::move(loan));
    }

    bool try_pop(item& value) {
        const auto popped = state_->queue.try_pop();
        if (popped) {
            value = **popped;
        }
        return popped.has_value();
    }

    // All objects are back, and can be lent at once.
    bool lost_nothing() {
        segment_->recover();
        bool right = state_->pool.available() == state_->pool.size();
        std::vector<cohold::shm_loan<item>> all;
        for (std::size_t i = 0; i < state_->pool.size(); ++i) {
            all.push_back(state_->pool.try_loan());
            right = right && all.back() && all.back().use_count() == 1;
        }
        right = right && !state_->pool.try_loan();
        all.clear();
        return right && state_->pool.available() == state_->pool.size();
    }

  private:
    struct state {
        cohold::shm_pool<item> pool{17};
        cohold::shm_queue<cohold::shm_loan<item>> queue{16};
    };

    home segment_;
    state* state_ = &segment_->construct<state>("state");
};

class broadcast {
  public:
    static constexpr std::uint64_t calls_before = 40;

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            bench::check(ring_->publish(numbered(call)), "publish");
        } else {
            auto place = ring_->claim();
            *place = numbered(call);
            place.commit();
        }
    }

    /// The last messages are there, up to the last one that had returned or begun.
    bool survive(std::uint64_t begun, std::uint64_t returned) {
        const std::uint64_t last = ring_->published();
        if (last != returned && last != begun) {
            return false;
        }
        auto there = ring_->subscribe(cohold::from::oldest);
        std::uint64_t count = 0;
        std::uint64_t number = 0;
        while (const auto message = there.try_next()) {
            if (!message->whole() || (count != 0 && message->number != number + 1)) {
                return false;
            }
            number = message->number;
            ++count;
        }
        bool right = number == last && count + 1 >= ring_->capacity();
        static_cast<void>(there.missed());
        for (std::uint64_t more = last + 1; more <= last + 100; ++more) {
            operate(more);
            const auto message = there.next();
            right = right && message && message->whole() && message->number == more;
        }
        return right && there.missed() == 0 && ring_->published() == last + 100;
    }

  private:
    home segment_;
    cohold::shm_broadcast<item>* ring_ =
        &segment_->construct<cohold::shm_broadcast<item>>("ring", 16);
};

// Intact if all words are equal.
struct value {
    std::uint64_t words[64];

    [[nodiscard]] bool is(std::uint64_t number) const {
        return std::all_of(std::begin(words), std::end(words),
                           [&](std::uint64_t word) { return word == number; });
    }

    static value of(std::uint64_t number) {
        value made{};
        std::fill(std::begin(made.words), std::end(made.words), number);
        return made;
    }
};

class latest {
  public:
    static constexpr std::uint64_t calls_before = 2;

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            latest_->store(value::of(call));
        } else {
            latest_->update([&](value& now) {
                for (std::uint64_t& word : now.words) {
                    ++word;
                    bench::keep(word); // one by one
                }
            });
        }
    }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        value now{};
        const std::uint64_t version = latest_->load(now);
        bool right = (version == returned || version == begun) && now.is(version);
        for (std::uint64_t more = version + 1; more <= version + 100; ++more) {
            operate(more);
            right = right && latest_->load(now) == more && now.is(more);
        }
        return right;
    }

  private:
    in_segment<cohold::shm_latest<value>> latest_;
};

// What a service answers.
item reply_to(const item& asked) {
    return numbered(asked.number * 3 + 1);
}

using service = cohold::shm_service<item, item>;

// How a client fares that does nothing but call.
struct progress {
    std::atomic<std::uint64_t> answered{0};
    std::atomic<bool> right{true};
};

// A server is killed; another one serves.
class served {
  public:
    static constexpr std::uint64_t calls_before = 4;

    served() {
        bench::child([this] {
            for (std::uint64_t number = 1;; ++number) {
                std::error_code ec;
                const auto reply = service_->call(numbered(number), ec);
                if (!reply || !reply->whole() || reply->number != number * 3 + 1) {
                    client_->right = false;
                }
                client_->answered = number;
            }
        });
    }

    void prepare() {}

    void operate(std::uint64_t) {
        auto call = service_->next();
        work();
        call.reply(reply_to(*call));
    }

    bool survive(std::uint64_t, std::uint64_t) {
        const std::uint64_t before = client_->answered;
        while (client_->answered < before + 50) {
            if (auto call = service_->next_for(1ms)) {
                if (!call.request().whole()) {
                    return false;
                }
                call.reply(reply_to(*call));
            }
        }
        return client_->right;
    }

  private:
    home segment_;
    service* service_ = &segment_->construct<service>("service", 1);
    bench::in_shared_memory<progress> client_;
};

// A client is killed. There is only one place for a call: the survivor's is that of the dead.
class calling {
  public:
    static constexpr std::uint64_t calls_before = 4;

    calling() {
        bench::child([this] {
            while (auto call = service_->next()) {
                call.reply(reply_to(*call));
            }
        });
    }

    void prepare() {}

    void operate(std::uint64_t call) { bench::check(calls(call), "the victim's reply"); }

    bool survive(std::uint64_t, std::uint64_t) {
        for (std::uint64_t number = 1; number <= 50; ++number) {
            if (!calls(number)) {
                return false;
            }
        }
        return true;
    }

  private:
    bool calls(std::uint64_t number) {
        const auto reply = service_->call(numbered(number));
        return reply && reply->whole() && reply->number == number * 3 + 1;
    }

    home segment_;
    service* service_ = &segment_->construct<service>("service", 1);
};

} // namespace

std::vector<row> rows_of_messaging() {
    return {
        {"shm_queue: push, take, done", referee<leased<leases>>},
        {"shm_message_queue", referee<leased<messages>>},
        {"shm_broadcast, writer killed", referee<broadcast>},
        {"shm_latest, writer killed", referee<latest>},
        {"shm_pool, shm_queue of its loans", referee<half_full_queue<loans>>},
        {"shm_service, server killed", referee<served>},
        {"shm_service, client killed", referee<calling>},
    };
}

} // namespace kills
