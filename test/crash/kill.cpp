// Real processes, killed or stopped for real between two instructions of an operation, beside
// others that are waiting, working and arriving.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "crash/stepper.hpp"

namespace {

using namespace std::chrono_literals;
using cohold::segment;

int failures = 0;

void expect(bool good, const char* what, const char* structure, std::uint64_t step) {
    if (!good) {
        ++failures;
        std::printf("%s, after %llu instructions: not so: %s\n", structure,
                    static_cast<unsigned long long>(step), what);
        std::fflush(stdout);
    }
}

// ---- structures. Each operation adds one; the number can be counted, and must be that of
// completed operations, or one more if one was killed.

struct account {
    int left = 1000;
    int right = 0;
    cohold::shm_vector<int> moves;
};

struct guarded {
    static constexpr const char* name = "guarded value";
    cohold::shm_guarded<account> it;

    void operate(segment<>&) {
        it.with([](account& inner) {
            --inner.left;
            ++inner.right;
            inner.moves.push_back(inner.right);
        });
    }

    int count(segment<>&) {
        return it.with([](account& inner) {
            bool good = inner.left + inner.right == 1000 &&
                        inner.moves.size() == static_cast<std::size_t>(inner.right);
            for (std::size_t i = 0; i < inner.moves.size(); ++i) {
                good = good && inner.moves[i] == static_cast<int>(i) + 1;
            }
            return good ? inner.right : -1;
        });
    }
};

struct queue {
    static constexpr const char* name = "queue";
    cohold::shm_queue<std::array<int, 4>> it{64};

    void operate(segment<>&) { it.push({1, 2, 3, 4}); }

    int count(segment<>&) {
        int found = 0;
        while (const auto each = it.try_pop()) {
            if (*each != std::array<int, 4>{1, 2, 3, 4}) {
                return -1;
            }
            ++found;
        }
        for (int i = 0; i < found; ++i) {
            it.push({1, 2, 3, 4});
        }
        return found;
    }
};

struct directory {
    static constexpr const char* name = "directory";
    int unused = 0;

    void operate(segment<>& where) {
        where.construct<account>(std::to_string(::getpid())).moves.assign(20u, 7);
    }

    int count(segment<>& where) {
        int found = 0;
        for (const cohold::object_info& each : where.objects()) {
            found += each.name != "it" ? 1 : 0;
        }
        return found;
    }
};

struct heap {
    static constexpr const char* name = "heap";
    std::atomic<int> calls{0};

    void operate(segment<>& where) {
        auto memory = where.allocator<char>();
        for (const std::size_t bytes : {24u, 700u, 100u}) {
            memory.deallocate(memory.allocate(bytes), bytes);
        }
        ++calls;
    }

    int count(segment<>&) { return calls; }
};

// A vector of another segment, changed under a lock of this one: the next holder of the lock finds
// the vector in order.
struct across {
    static constexpr const char* name = "vector of another segment";
    using rows = cohold::shm_vector<cohold::shm_vector<int>>;

    cohold::shm_mutex lock;
    static inline segment<> other{};

    static void make_other() {
        const std::string name_of = "cohold.test.kill.other." + std::to_string(::getpid());
        other = segment<>::create(name_of, 1 << 16);
        segment<>::remove(name_of);
        other.construct<rows>("rows").reserve(32);
    }

    void operate(segment<>&) {
        const std::lock_guard<cohold::shm_mutex> locked(lock);
        if (whole() < 0) {
            std::_Exit(1);
        }
        rows& all = *other.find<rows>("rows");
        all.emplace(all.begin(), 3u, 3);
    }

    int count(segment<>&) {
        const std::lock_guard<cohold::shm_mutex> locked(lock);
        return whole();
    }

    static int whole() {
        rows& all = *other.find<rows>("rows");
        for (const cohold::shm_vector<int>& each : all) {
            if (each.size() != 3 || each[0] != 3 || each[2] != 3) {
                return -1;
            }
        }
        return static_cast<int>(all.size());
    }
};

// ---- processes

template <class Structure>
class place {
  public:
    place() : where_(segment<>::create("cohold.test.kill." + std::to_string(::getpid()), 1 << 16)) {
        segment<>::remove(where_.name());
        if constexpr (std::is_same_v<Structure, across>) {
            across::make_other();
        }
        it_ = &where_.construct<Structure>("it");
    }

    [[nodiscard]] segment<>& where() noexcept { return where_; }

    void operate() { it_->operate(where_); }

    int count() {
        where_.recover();
        return it_->count(where_);
    }

  private:
    segment<> where_;
    Structure* it_ = nullptr;
};

template <class Body>
pid_t child(const Body& body) {
    const pid_t id = ::fork();
    if (id == 0) {
        ::alarm(30); // ends a stuck process
        body();
        std::_Exit(0);
    }
    return id;
}

int end_of(pid_t id) {
    int status = 0;
    ::waitpid(id, &status, 0);
    return status;
}

// A process that runs the operation once as a warm-up, so that it is a participant, and once more;
// then it gets the signal after a number of instructions.
template <class Structure>
pid_t victim(place<Structure>& here, std::uint64_t at, int signal) {
    return child([&] {
        here.operate();
        if constexpr (std::is_same_v<Structure, directory>) {
            here.where().template destroy<account>(std::to_string(::getpid()));
        }
        const crash::stepping how{.at = at, .between = [signal](std::uint64_t) {
                                      ::raise(signal);
                                      return false;
                                  }};
        crash::step_through(how, [&] { here.operate(); });
    });
}

template <class Structure>
constexpr int warm_up = std::is_same_v<Structure, directory> ? 0 : 1;

template <class Structure>
std::uint64_t length_of() {
    place<Structure> here;
    here.operate();
    if constexpr (std::is_same_v<Structure, directory>) {
        here.where().template destroy<account>(std::to_string(::getpid()));
    }
    return crash::step_through({}, [&] { here.operate(); });
}

constexpr int workers = 2;
constexpr int rounds = 3;

template <class Structure>
pid_t worker(place<Structure>& here, int first) {
    return child([&here, first] {
        for (int i = first; i < rounds; ++i) {
            if constexpr (std::is_same_v<Structure, directory>) {
                here.where().template construct<account>(std::to_string(::getpid()) + "." +
                                                         std::to_string(i));
            } else {
                here.operate();
            }
        }
    });
}

// Killed while others work, wait, and arrive later.
template <class Structure>
void kill_at(std::uint64_t step) {
    place<Structure> here;
    const pid_t dead = victim(here, step, SIGKILL);
    pid_t others[workers];
    for (pid_t& each : others) {
        each = worker(here, 0);
    }
    const int how = end_of(dead);
    const bool killed = WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL;
    expect(killed || how == 0, "the victim was killed, or had ended", Structure::name, step);
    const pid_t late = worker(here, 0);
    for (const pid_t each : others) {
        expect(end_of(each) == 0, "existing processes continue", Structure::name, step);
    }
    expect(end_of(late) == 0, "later processes work", Structure::name, step);
    const int done = here.count() - (workers + 1) * rounds - warm_up<Structure>;
    expect(done == 0 || done == 1, "the operation happened completely or not at all",
           Structure::name, step);
    std::size_t living = 0;
    for (const auto& each : here.where().participants()) {
        living += static_cast<std::size_t>(each.pid == static_cast<pid_t>(dead));
    }
    expect(living == 0, "the dead process's slot is free", Structure::name, step);
}

// Stopped, not dead: nothing is taken from it, and it continues as if nothing had happened.
template <class Structure>
void stop_at(std::uint64_t step) {
    place<Structure> here;
    const pid_t frozen = victim(here, step, SIGSTOP);
    int status = 0;
    ::waitpid(frozen, &status, WUNTRACED);
    if (!WIFSTOPPED(status)) {
        expect(status == 0, "the victim had ended", Structure::name, step);
        return;
    }
    const pid_t other = worker(here, 0);
    std::this_thread::sleep_for(15ms); // longer than a waiter trusts the holder
    here.where().recover();
    std::size_t living = 0;
    for (const auto& each : here.where().participants()) {
        living += static_cast<std::size_t>(each.pid == static_cast<pid_t>(frozen));
    }
    expect(living == 1, "a stopped process is alive", Structure::name, step);
    ::kill(frozen, SIGCONT);
    expect(end_of(frozen) == 0, "the stopped process continues", Structure::name, step);
    expect(end_of(other) == 0, "the waiter continues", Structure::name, step);
    expect(here.count() == rounds + 1 + warm_up<Structure>, "both operations happened completely",
           Structure::name, step);
}

template <class Structure>
void explore(std::uint64_t samples) {
    const std::uint64_t length = length_of<Structure>();
    const std::uint64_t every = length / samples + 1;
    std::uint64_t count = 0;
    for (std::uint64_t step = 1 + every / 2; step < length; step += every) {
        kill_at<Structure>(step);
        stop_at<Structure>(step + every / 3);
        ++count;
    }
    std::printf("%s: %llu instructions, %llu kills, %llu stops\n", Structure::name,
                static_cast<unsigned long long>(length), static_cast<unsigned long long>(count),
                static_cast<unsigned long long>(count));
}

} // namespace

int main(int count, char** arguments) {
    if (!COHOLD_TEST_STEPS) {
        std::puts("skipped: instructions can be stepped only on x86-64 without sanitizers");
        return 77;
    }
    const std::uint64_t samples = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 25;
    explore<guarded>(samples);
    explore<queue>(samples);
    explore<directory>(samples);
    explore<heap>(samples);
    explore<across>(samples);
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
