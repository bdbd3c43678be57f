// What a kill does to a structure in shared memory: a process does nothing but use it, is killed at
// a random moment, and a new process then uses what is left.
//
// Each round has a referee, a process of its own, which makes the structure, starts the victim,
// kills it, starts the survivor, and ends it if it is stuck. A referee with a stuck survivor just
// waits, so that the next rounds need not wait for it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_KILLS_HPP
#define COHOLD_TEST_BENCH_KILLS_HPP

#include <atomic>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "children.hpp"
#include "processes.hpp"

namespace kills {

/// The victim's calls that have begun and returned, seen from outside. They are numbered from 1.
struct ledger {
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> returned{0};
};

enum class outcome : int { unharmed, damaged, hung, crashed };

/// A structure. The referee makes it; its children use it through the same mapping.
template <class Subject>
concept subject = requires(Subject& s, std::uint64_t call) {
    s.prepare();                                     // in the victim, before its first call
    s.operate(call);                                 // in the victim, until it is killed
    { s.survive(call, call) } -> std::same_as<bool>; // in the survivor; false: found damage
    { Subject::calls_before } -> std::convertible_to<std::uint64_t>; // returned before the kill
};

/// A row of the table.
struct row {
    std::string name;
    void (*referee)(double delay, int killed); // sends a byte to `killed` when the victim is dead
    bool keeps_data = true;                    // is damage a broken promise?
};

constexpr int patience_ms = 1000;
constexpr int first_status = 16; // lower ones are failures of the benchmark itself

/// One round. Exits with its outcome and whether the kill hit a call, without destroying what the
/// victim has left: pthread_cond_destroy(3), too, waits for the dead.
template <subject Subject>
[[noreturn]] void referee(double delay, int killed) {
    alarm(30); // an end in any case
    const bench::in_shared_memory<ledger> calls;
    Subject structure;

    const pid_t victim = bench::child([&] {
        structure.prepare();
        for (std::uint64_t call = 1;; ++call) {
            calls->begun.store(call, std::memory_order_release);
            structure.operate(call);
            calls->returned.store(call, std::memory_order_release);
        }
    });
    while (calls->begun <= Subject::calls_before) {
        bench::pause();
        bench::check(waitpid(victim, nullptr, WNOHANG) == 0, "the victim ended by itself");
    }
    const double until = bench::now_ns() + delay;
    while (bench::now_ns() < until) {
        bench::pause();
    }
    bench::kill_and_reap(victim);
    bench::check(write(killed, "", 1) == 1, "write");

    const std::uint64_t begun = calls->begun;
    const std::uint64_t returned = calls->returned;
    const pid_t survivor = bench::child([&] {
        try {
            std::_Exit(structure.survive(begun, returned) ? 0 : 1);
        } catch (...) {
            std::_Exit(2);
        }
    });
    outcome found = outcome::hung;
    if (bench::ended_within(survivor, patience_ms)) {
        int status = 0;
        bench::check(waitpid(survivor, &status, 0) == survivor, "waitpid");
        found = status == 0                                     ? outcome::unharmed
                : WIFEXITED(status) && WEXITSTATUS(status) == 1 ? outcome::damaged
                                                                : outcome::crashed;
    } else {
        kill(survivor, SIGKILL); // unless it has just ended
        waitpid(survivor, nullptr, 0);
    }
    std::_Exit(first_status + static_cast<int>(found) + (begun != returned ? 4 : 0));
}

/// The data that a lock protects: intact if all words are equal. Atomic only so that the compiler
/// writes it word by word, as it would with more complicated data.
struct record {
    std::atomic<std::uint64_t> words[64]{};

    void write(std::uint64_t value) {
        for (auto& word : words) {
            word.store(value, std::memory_order_relaxed);
        }
    }

    [[nodiscard]] bool whole() const {
        for (const auto& word : words) {
            if (word.load(std::memory_order_relaxed) != words[0].load(std::memory_order_relaxed)) {
                return false;
            }
        }
        return true;
    }
};

constexpr std::uint64_t lock_uses = 100; // of a survivor

/// A lock with data, whose holder is killed. Place<T> is where a T is stored, like
/// in_shared_memory.
template <class Lock, template <class> class Place = bench::in_shared_memory>
class locked_record {
  public:
    static constexpr std::uint64_t calls_before = 1;

    void prepare() {}

    void operate(std::uint64_t call) {
        state_->lock.lock();
        state_->data.write(call);
        state_->lock.unlock();
    }

    bool survive(std::uint64_t, std::uint64_t) {
        bool whole = true;
        for (std::uint64_t i = 0; i < lock_uses; ++i) {
            state_->lock.lock();
            whole = whole && state_->data.whole();
            state_->data.write(i);
            state_->lock.unlock();
        }
        return whole;
    }

  private:
    struct state {
        Lock lock;
        record data;
    };

    Place<state> state_;
};

/// A lock, one of whose shared holders is killed.
template <class Lock, template <class> class Place = bench::in_shared_memory>
class read_record {
  public:
    static constexpr std::uint64_t calls_before = 1;

    void prepare() {}

    void operate(std::uint64_t) {
        state_->lock.lock_shared();
        bench::check(state_->data.whole(), "a record without writers");
        state_->lock.unlock_shared();
    }

    bool survive(std::uint64_t, std::uint64_t) {
        bool whole = true;
        for (std::uint64_t i = 0; i < lock_uses; ++i) {
            state_->lock.lock_shared();
            whole = whole && state_->data.whole();
            state_->lock.unlock_shared();
            state_->lock.lock();
            state_->data.write(i);
            state_->lock.unlock();
        }
        return whole;
    }

  private:
    struct state {
        Lock lock;
        record data;
    };

    Place<state> state_;
};

/// A condition on which a process waits when it is killed. Two survivors then take turns by it.
/// Monitor has `lock()`, `unlock()`, `wait()` and `notify()`.
template <class Monitor, template <class> class Place = bench::in_shared_memory>
class waited_for {
  public:
    static constexpr std::uint64_t calls_before = 0;

    void prepare() {
        state_->monitor.lock();
        state_->monitor.unlock();
    }

    void operate(std::uint64_t) { wait_for(never); }

    bool survive(std::uint64_t, std::uint64_t) {
        const pid_t partner = bench::child([&] { play(1); });
        play(0);
        int status = 0;
        return waitpid(partner, &status, 0) == partner && status == 0;
    }

  private:
    static constexpr std::uint64_t never = ~std::uint64_t{0};
    static constexpr std::uint64_t turns = 40;

    struct state {
        Monitor monitor;
        std::uint64_t turn = 0;
    };

    void wait_for(std::uint64_t turn) {
        state_->monitor.lock();
        while (state_->turn != turn) {
            state_->monitor.wait();
        }
        state_->monitor.unlock();
    }

    void play(std::uint64_t first) {
        for (std::uint64_t turn = first; turn < turns; turn += 2) {
            wait_for(turn);
            state_->monitor.lock();
            state_->turn = turn + 1;
            state_->monitor.notify();
            state_->monitor.unlock();
        }
    }

    Place<state> state_;
};

struct item {
    std::uint64_t number;
    std::uint64_t copies[7];

    [[nodiscard]] bool whole() const {
        for (const std::uint64_t copy : copies) {
            if (copy != number) {
                return false;
            }
        }
        return true;
    }
};

inline item numbered(std::uint64_t number) {
    item made{number, {}};
    for (std::uint64_t& copy : made.copies) {
        copy = number;
    }
    return made;
}

/// A queue to which the victim pushes and from which it pops in turn. Holder has `try_push` and
/// `try_pop`, and may have `lost_nothing`, which is asked in the end.
template <class Holder>
class half_full_queue {
  public:
    static constexpr std::uint64_t calls_before = 2;
    static constexpr std::uint64_t capacity = 16;

    half_full_queue() {
        for (std::uint64_t number = 1; number <= before; ++number) {
            bench::check(queue_.try_push(numbered(number)), "an item before the kill");
        }
    }

    void prepare() {}

    void operate(std::uint64_t call) {
        if (call % 2 != 0) {
            bench::check(queue_.try_push(numbered(before + (call + 1) / 2)), "the victim's push");
        } else {
            item popped{};
            bench::check(queue_.try_pop(popped), "the victim's pop");
        }
    }

    /// Operations that had returned have happened once, the one that had begun has happened or not;
    /// and all places can still be used.
    bool survive(std::uint64_t begun, std::uint64_t returned) {
        const std::uint64_t pushed = before + (returned + 1) / 2;
        const std::uint64_t popped = returned / 2;
        const bool in_push = begun != returned && begun % 2 != 0;
        const bool in_pop = begun != returned && begun % 2 == 0;

        const std::uint64_t least = pushed - popped - (in_pop ? 1 : 0);
        const item first = pop();
        item last = first;
        bool right =
            first.whole() && (first.number == popped + 1 || (in_pop && first.number == popped + 2));
        for (std::uint64_t count = 1; right && (count < least || last.number < pushed); ++count) {
            const item next = pop();
            right = next.whole() && next.number == last.number + 1;
            last = next;
        }
        item more{};
        if (right && queue_.try_pop(more)) {
            right = in_push && more.whole() && more.number == pushed + 1;
        }
        for (std::uint64_t i = 0; right && i < 3; ++i) {
            for (std::uint64_t number = 1; number <= capacity; ++number) {
                push(number);
            }
            for (std::uint64_t number = 1; number <= capacity; ++number) {
                const item next = pop();
                right = right && next.whole() && next.number == number;
            }
        }
        if constexpr (requires { queue_.lost_nothing(); }) {
            right = right && queue_.lost_nothing();
        }
        return right;
    }

  private:
    static constexpr std::uint64_t before = 8;

    item pop() {
        item popped{};
        while (!queue_.try_pop(popped)) {
            usleep(100);
        }
        return popped;
    }

    void push(std::uint64_t number) {
        while (!queue_.try_push(numbered(number))) {
            usleep(100);
        }
    }

    Holder queue_;
};

/// A queue at which a process waits for an element when it is killed. Two survivors then send each
/// other elements by this queue and another one. Holder has `push` and `pop`, which wait.
template <class Holder>
class waited_queue {
  public:
    static constexpr std::uint64_t calls_before = 0;

    void prepare() {
        there_.push(numbered(1));
        there_.pop();
    }

    void operate(std::uint64_t) { there_.pop(); }

    bool survive(std::uint64_t, std::uint64_t) {
        const pid_t partner = bench::child([&] {
            for (std::uint64_t i = 0; i < turns; ++i) {
                back_.push(there_.pop());
            }
        });
        bool right = true;
        for (std::uint64_t i = 0; i < turns; ++i) {
            there_.push(numbered(i));
            const item returned = back_.pop();
            right = right && returned.whole() && returned.number == i;
        }
        int status = 0;
        return waitpid(partner, &status, 0) == partner && status == 0 && right;
    }

  private:
    static constexpr std::uint64_t turns = 20;

    Holder there_;
    Holder back_;
};

/// A signal for which a process waits when it is killed. Two survivors then take turns by it and
/// another one. Signal has `wait`, and `give`, which lets one waiter continue.
template <class Signal, template <class> class Place = bench::in_shared_memory>
class waited_signal {
  public:
    static constexpr std::uint64_t calls_before = 0;

    void prepare() {
        state_->there.give();
        state_->there.wait();
    }

    void operate(std::uint64_t) { state_->there.wait(); }

    bool survive(std::uint64_t, std::uint64_t) {
        const pid_t partner = bench::child([&] {
            for (int i = 0; i < turns; ++i) {
                state_->there.wait();
                state_->back.give();
            }
        });
        for (int i = 0; i < turns; ++i) {
            state_->there.give();
            state_->back.wait();
        }
        int status = 0;
        return waitpid(partner, &status, 0) == partner && status == 0;
    }

  private:
    static constexpr int turns = 20;

    struct state {
        Signal there;
        Signal back;
    };

    Place<state> state_;
};

std::vector<row> rows_of_boost();
std::vector<row> rows_of_pthread();
std::vector<row> rows_of_cohold();
std::vector<row> rows_of_containers();
std::vector<row> rows_of_messaging();

} // namespace kills

#endif
