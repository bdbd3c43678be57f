// A cache that the workers of a pre-forking server share. The memory has no name, and disappears
// with the server. A worker that is killed is replaced; what it has cached stays.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "../check.hpp"

// #region types
struct answer {
    std::uint64_t value = 0;
    std::uint32_t used_in = 0; // the round in which it was used last
};

struct cache {
    cohold::shm_hash_map<std::uint64_t, answer> answers{};
    std::atomic<std::uint32_t> round = 0;
    std::atomic<std::uint64_t> computed = 0;
};

// #endregion types

namespace {

constexpr std::size_t most_answers = 5000;

std::uint64_t compute(std::uint64_t question) { // what takes long
    return question * question;
}

// #region ask
std::uint64_t ask(cache& shared, std::uint64_t question) {
    const std::uint32_t round = shared.round.load(std::memory_order_relaxed);
    if (const auto known = shared.answers.get(question)) { // without a lock
        if (known->used_in != round) {                     // written once a round at most
            shared.answers.update(question, [&](answer& one) { one.used_in = round; });
        }
        return known->value;
    }
    const std::uint64_t value = compute(question); // two workers may, at the same time
    ++shared.computed;
    shared.answers.insert_or_assign(question, answer{value, round});
    return value;
}

// #endregion ask

// #region tidy
// The parent calls it every few seconds: when the cache is too large, what was not used in this
// round or the last one goes.
void tidy(cache& shared) {
    const std::uint32_t round = shared.round++;
    if (shared.answers.size() > most_answers) {
        shared.answers.erase_if([&](const auto& each) { return each.second.used_in + 1 < round; });
    }
}

// #endregion tidy

int serve(cache& shared, std::uint64_t seed, bool dies) {
    for (std::uint64_t i = 0; i < 20000; ++i) {
        const std::uint64_t question = (seed + i * i) % 4000;
        if (ask(shared, question) != question * question) {
            return 1;
        }
        if (dies && i == 5000) {
            std::raise(SIGKILL);
        }
    }
    return 0;
}

} // namespace

int main() {
    // #region fork
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(4 << 20);
    auto& shared = segment.construct<cache>("cache");
    const auto start = [&](std::uint64_t seed, bool dies) {
        const pid_t child = fork(); // has the same memory, at the same address
        if (child == 0) {
            _exit(serve(shared, seed, dies));
        }
        return child;
    };
    std::array<pid_t, 4> workers{};
    for (std::size_t i = 0; i != workers.size(); ++i) {
        workers[i] = start(i, i == 0);
    }
    for (std::size_t running = workers.size(); running != 0;) {
        int status = 0;
        check(wait(&status) > 0);
        if (WIFSIGNALED(status)) {
            segment.recover(); // at once, instead of when somebody needs what it had locked
            start(0, false);
        } else {
            check(status == 0);
            --running;
        }
    }
    // #endregion fork
    check(shared.computed < 5 * shared.answers.size()); // each by a few of the workers
    for (std::uint64_t question = 100000; question < 106000; ++question) {
        ask(shared, question);
    }
    for (int i = 0; i != 3; ++i) {
        tidy(shared);
        ask(shared, 100000); // this one is used
    }
    check(shared.answers.size() == 1 && shared.answers.contains(100000));
}
