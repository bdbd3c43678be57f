// A table of what a SIGKILL inside an operation does to the survivors: Boost.Interprocess, pthread
// and lock-free queues beside cohold.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "kills.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace {

constexpr double longest_delay = 300e3; // ns
constexpr int most_at_once = 100;       // referees that wait for stuck survivors

struct tally {
    int outcomes[4] = {};
    int inside = 0;

    void add(int status) {
        const int code = WIFEXITED(status) ? WEXITSTATUS(status) - kills::first_status : -1;
        bench::check(code >= 0 && code < 8, "a referee failed");
        ++outcomes[code % 4];
        inside += code / 4;
    }

    [[nodiscard]] int of(kills::outcome which) const { return outcomes[static_cast<int>(which)]; }
};

void await_one(tally& counts) {
    int status = 0;
    bench::check(wait(&status) > 0, "wait");
    counts.add(status);
}

tally measure(const kills::row& row, int rounds, bench::random_numbers& random) {
    int dead[2];
    bench::check(pipe2(dead, O_CLOEXEC) == 0, "pipe2");
    tally counts;
    int running = 0;
    for (int round = 0; round < rounds; ++round) {
        if (running == most_at_once) {
            await_one(counts);
            --running;
        }
        const double delay = static_cast<double>(random.below(1000)) / 1000 * longest_delay;
        bench::child([&] { row.referee(delay, dead[1]); });
        ++running;
        // One victim at a time: two would share the CPUs, and be killed while they do not run.
        pollfd victim{.fd = dead[0], .events = POLLIN, .revents = 0};
        char byte = 0;
        bench::check(poll(&victim, 1, 20000) == 1 && read(dead[0], &byte, 1) == 1,
                     "a referee did not kill");
    }
    for (; running > 0; --running) {
        await_one(counts);
    }
    close(dead[0]);
    close(dead[1]);
    return counts;
}

void write_file(const char* path, const std::string& text) {
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    bench::check(file >= 0 &&
                     write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()),
                 path);
    close(file);
}

// Gives this process a /dev/shm of its own, so that nothing can stay behind. Where that is not
// allowed, every name is removed as soon as its object is made.
void enter_own_shm() {
    const uid_t user = geteuid();
    const gid_t group = getegid();
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            return;
        }
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1");
        write_file("/proc/self/gid_map",
                   std::to_string(group) + " " + std::to_string(group) + " 1");
    }
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777") != 0) {
        return;
    }
}

// Returns the number of rows in which the promise was kept.
std::size_t print(const char* title, const std::vector<kills::row>& rows, int rounds,
                  bench::random_numbers& random) {
    std::size_t kept = 0;
    std::vector<std::string> lines;
    std::printf(
        "\n### %s\n\n"
        "| structure | survivors that could continue | of them found damage | hung | crashed "
        "| kills inside a call |\n|---|---:|---:|---:|---:|---:|\n",
        title);
    for (const kills::row& row : rows) {
        const tally counts = measure(row, rounds, random);
        const int damaged = counts.of(kills::outcome::damaged);
        std::printf("| %s | %d of %d | %d | %d | %d | %d |\n", row.name.c_str(),
                    counts.of(kills::outcome::unharmed) + damaged, rounds, damaged,
                    counts.of(kills::outcome::hung), counts.of(kills::outcome::crashed),
                    counts.inside);
        std::fflush(stdout);
        using namespace bench::json;
        lines.push_back(object({{"name", text(row.name)},
                                {"unharmed", number(counts.of(kills::outcome::unharmed))},
                                {"damaged", number(damaged)},
                                {"hung", number(counts.of(kills::outcome::hung))},
                                {"crashed", number(counts.of(kills::outcome::crashed))},
                                {"inside", number(counts.inside)},
                                {"keeps_data", truth(row.keeps_data)}}));
        if (counts.of(kills::outcome::unharmed) + (row.keeps_data ? 0 : damaged) == rounds) {
            ++kept;
        }
    }
    bench::json::table(title, "survivors", lines);
    return kept;
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    const int rounds = settings.rounds(300);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    enter_own_shm();
    bench::random_numbers random;
    std::vector<kills::row> ours = kills::rows_of_cohold();
    for (const auto more : {kills::rows_of_containers, kills::rows_of_messaging}) {
        const std::vector<kills::row> rows = more();
        ours.insert(ours.end(), rows.begin(), rows.end());
    }
    const std::size_t kept = print("What a kill does: cohold", ours, rounds, random);
    std::printf("\nGoal: every survivor can continue, and finds no damage except where a lock "
                "alone promises "
                "nothing about it: %s, %zu of %zu rows.\n",
                kept == ours.size() ? "met" : "**missed**", kept, ours.size());
    print("What a kill does: Boost", kills::rows_of_boost(), rounds, random);
    print("What a kill does: pthread and hand-written", kills::rows_of_pthread(), rounds, random);
}
