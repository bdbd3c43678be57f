// Processes that do random things to one segment, and one that kills them at random.
//
//   soak [SECONDS]     3 seconds by default
//   soak repeat [N]    the same crash N times, 100,000 by default
//
// Operations are recorded in a ledger outside of the segment, before and after each one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "crash/audit.hpp"

namespace {

using clock_type = std::chrono::steady_clock;
using cohold::segment;

constexpr int workers = 4;
constexpr std::uint64_t keys = 64;

// Two words that must stay equal, and a vector that must have as many elements.
struct account {
    std::uint64_t left = 0;
    std::uint64_t right = 0;
    cohold::shm_vector<std::uint64_t> moves;
};

struct message {
    std::uint64_t sender = 0;
    std::uint64_t number = 0;
    std::uint64_t check = 0;
};

struct playground {
    cohold::shm_guarded<account> shared;
    cohold::shm_queue<message> queue{16};
    cohold::shm_guarded<cohold::shm_vector<cohold::shm_vector<std::uint64_t>>> rows;
};

// The operations that a worker has begun and finished. The outcome of the last one begun is
// unknown.
struct ledger {
    struct line {
        std::atomic<std::uint64_t> begun{0};
        std::atomic<std::uint64_t> done{0};
    };

    line increments[workers];
    line pushes[workers];
    line pops[workers];
    std::atomic<std::uint64_t> unknown_pushes{0}; // killed in the middle
    std::atomic<std::uint64_t> unknown_pops{0};
    std::atomic<std::uint64_t> unknown_increments{0};
    std::atomic<std::uint64_t> kills{0};
    std::atomic<bool> over{false};
    std::atomic<int> wrong{0};
};

ledger* shared_ledger() {
    void* const at =
        ::mmap(nullptr, sizeof(ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        std::perror("mmap");
        std::abort();
    }
    return ::new (at) ledger();
}

template <class Do>
void note(ledger::line& in, const Do& what) {
    in.begun.fetch_add(1);
    if (what()) {
        in.done.fetch_add(1);
    } else {
        in.begun.fetch_sub(1);
    }
}

void complain(ledger& book, const char* what) {
    std::printf("not so: %s\n", what);
    std::fflush(stdout);
    ++book.wrong;
}

// If a process finds anything else, at any time, it has found a bug.
void check(playground& all, ledger& book) {
    all.shared.with([&](account& it) {
        if (it.left != it.right || it.moves.size() != it.left % 50) {
            complain(book, "a guarded value is consistent");
        }
    });
    all.rows.with([&](cohold::shm_vector<cohold::shm_vector<std::uint64_t>>& it) {
        for (const auto& row : it) {
            for (const std::uint64_t each : row) {
                if (each != row.size()) {
                    complain(book, "a row is consistent");
                }
            }
        }
    });
}

void work(const segment<>& where, playground& all, ledger& book, int number) {
    std::mt19937 random(static_cast<unsigned>(::getpid()));
    while (!book.over) {
        switch (random() % 7) {
        case 0:
        case 1:
            note(book.increments[number], [&] {
                all.shared.with([](account& it) {
                    ++it.left;
                    if (it.left % 50 == 0) {
                        it.moves.clear();
                        it.moves.shrink_to_fit();
                    } else {
                        it.moves.push_back(it.left);
                    }
                    ++it.right;
                });
                return true;
            });
            break;
        case 2:
            note(book.pushes[number], [&] {
                const std::uint64_t n = random();
                return all.queue.try_push({static_cast<std::uint64_t>(number), n, ~n});
            });
            break;
        case 3:
            note(book.pops[number], [&] {
                const auto found = all.queue.try_pop();
                if (found && found->check != ~found->number) {
                    complain(book, "an element is intact");
                }
                return found.has_value();
            });
            break;
        case 4:
            all.rows.with([&](auto& it) {
                if (it.size() > 8) {
                    it.erase(it.begin() + random() % 8);
                } else {
                    const std::uint64_t size = random() % 30;
                    it.insert(it.begin(), cohold::shm_vector<std::uint64_t>(
                                              size, size, where.allocator<std::uint64_t>()));
                }
            });
            break;
        case 5: {
            std::error_code ec;
            const std::string name = std::to_string(random() % keys);
            if (random() % 2 == 0) {
                where.construct<cohold::shm_vector<std::uint64_t>>(name, ec, 20u, 7u);
            } else {
                where.destroy<cohold::shm_vector<std::uint64_t>>(name, ec);
            }
            break;
        }
        default:
            check(all, book);
        }
    }
}

pid_t start(const segment<>& where, playground& all, ledger& book, int number) {
    const pid_t id = ::fork();
    if (id == 0) {
        ::alarm(3600);
        work(where, all, book, number);
        std::_Exit(0);
    }
    return id;
}

// Resolves what a killed worker had begun and not finished.
void settle(ledger::line& of, std::atomic<std::uint64_t>& unknown) {
    unknown += of.begun - of.done;
    of.begun = of.done.load();
}

std::uint64_t sum(const ledger::line (&lines)[workers]) {
    std::uint64_t all = 0;
    for (const ledger::line& each : lines) {
        all += each.done;
    }
    return all;
}

segment<> unnamed_segment() {
    const std::string name = "cohold.test.soak." + std::to_string(::getpid());
    segment<> made = segment<>::create(name, 1 << 18);
    segment<>::remove(name);
    return made;
}

int soak(std::chrono::seconds duration) {
    const segment<> where = unnamed_segment();
    ledger& book = *shared_ledger();
    auto& all = where.construct<playground>("all");
    pid_t ids[workers];
    for (int i = 0; i < workers; ++i) {
        ids[i] = start(where, all, book, i);
    }
    std::mt19937 random(std::random_device{}());
    const auto end = clock_type::now() + duration;
    while (clock_type::now() < end && book.wrong == 0) {
        ::usleep(static_cast<::useconds_t>(random() % 3000));
        const auto victim = static_cast<int>(random() % workers);
        ::kill(ids[victim], SIGKILL);
        ::waitpid(ids[victim], nullptr, 0);
        ++book.kills;
        settle(book.increments[victim], book.unknown_increments);
        settle(book.pushes[victim], book.unknown_pushes);
        settle(book.pops[victim], book.unknown_pops);
        ids[victim] = start(where, all, book, victim);
    }
    book.over = true;
    const auto last = clock_type::now() + std::chrono::seconds(20);
    for (const pid_t each : ids) {
        int status = 0;
        while (::waitpid(each, &status, WNOHANG) == 0) {
            if (clock_type::now() > last) {
                complain(book, "no process is stuck");
                ::kill(each, SIGKILL);
            }
            ::usleep(1000);
        }
        if (status != 0) {
            complain(book, "the workers succeed");
        }
    }
    where.recover();
    check(all, book);
    std::uint64_t left = 0;
    while (all.queue.try_pop()) {
        ++left;
    }
    const std::uint64_t pushed = sum(book.pushes);
    const std::uint64_t popped = sum(book.pops);
    if (popped + left > pushed + book.unknown_pushes ||
        popped + left + book.unknown_pops < pushed) {
        complain(book, "no element is lost or duplicated");
    }
    const std::uint64_t value = all.shared.lock()->left;
    const std::uint64_t added = sum(book.increments);
    if (value < added || value > added + book.unknown_increments) {
        complain(book, "no increment is lost or duplicated");
    }
    for (std::uint64_t i = 0; i < keys; ++i) {
        where.destroy<cohold::shm_vector<std::uint64_t>>(std::to_string(i));
    }
    for (const auto& each : where.participants()) {
        if (each.pid != ::getpid()) {
            complain(book, "no dead participant is left");
        }
    }
    where.destroy<playground>("all");
    std::printf("%" PRIu64 " kills; %" PRIu64 " increments, %" PRIu64 " pushes, %" PRIu64
                " pops; %zu bytes used in the end\n",
                book.kills.load(), added, pushed, popped, where.used());
    if (const std::string wrong = crash::audit_empty(where); !wrong.empty()) {
        complain(book, wrong.c_str());
    }
    return book.wrong == 0 ? 0 : 1;
}

// Constructed in the ring of a queue; the process does not survive that.
struct fatal {
    operator message() const { // NOLINT: converts, as an argument of emplace
        std::raise(SIGKILL);
        return {};
    }
};

// The same crashes repeatedly: in a section, with memory that it has allocated; with a claimed
// element; and just attached.
int repeat(std::uint64_t times) {
    const segment<> where = unnamed_segment();
    ledger& book = *shared_ledger();
    auto& all = where.construct<playground>("all");
    std::size_t used = 0;
    std::size_t size = 0;
    const auto begin = clock_type::now();
    // The slot of all those that crash. Its generations wrap now and then.
    auto& slot = cohold::detail::participant_table::of(*where.allocator<int>().header()).slots[1];
    std::uint64_t wraps = 0;
    for (std::uint64_t i = 0; i < times && book.wrong == 0; ++i) {
        if (i % 400 == 200 || i % 400 == 399) {
            slot.state = (i % 400 == 200 ? std::uint64_t{0xfff0} : std::uint64_t{0xfffffff0}) << 32;
        }
        const std::uint64_t before = slot.state >> 32;
        const pid_t id = ::fork();
        if (id == 0) {
            const auto locked = all.shared.lock();
            ++locked->left;
            locked->moves.resize(locked->moves.size() + 40);
            where.construct<int>("never");
            if (i % 2 == 0) {
                all.queue.try_emplace(fatal{});
            }
            std::raise(SIGKILL);
        }
        ::waitpid(id, nullptr, 0);
        if (i % 3 == 0) {
            where.recover(); // otherwise the next thread to take the lock does it
        }
        {
            const auto locked = all.shared.lock();
            if (locked->left != 0 || locked->moves.size() != 0 ||
                (i % 3 != 0 && !locked.recovered())) {
                complain(book, "the section never happened");
            }
        }
        where.recover();
        const std::uint64_t generation = slot.state >> 32;
        if (generation != (before == 0xffffffff ? 1 : before + 1)) {
            complain(book, "each process has the next generation");
        }
        wraps += (generation & 0xffff) < (before & 0xffff) ? 1 : 0;
        if (i == 100) {
            used = where.used();
            size = where.size();
        }
        if (i >= 100 && (where.used() != used || where.size() != size)) {
            complain(book, "nothing fills up");
        }
        if (where.participants().size() != 1 || where.find<int>("never") != nullptr ||
            all.queue.size() != 0 || all.queue.try_pop()) {
            complain(book, "nothing of it is left");
        }
    }
    std::printf("%" PRIu64 " crashes, %.0f s; %zu bytes used, of %zu, as at the beginning; "
                "generations wrapped %" PRIu64 " times\n",
                times, std::chrono::duration<double>(clock_type::now() - begin).count(),
                where.used(), where.size(), wraps);
    if (times >= 500 && wraps < times / 400) {
        complain(book, "generations wrap");
    }
    return book.wrong == 0 ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
    if (count > 1 && std::strcmp(arguments[1], "repeat") == 0) {
        return repeat(count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 100000);
    }
    return soak(std::chrono::seconds(count > 1 ? std::atoi(arguments[1]) : 3));
}
