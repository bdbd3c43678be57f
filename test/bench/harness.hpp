// A small benchmark harness: contenders take turns, ratios are formed within one round, and the
// result is a Markdown table with goals.
//
// The machines that this runs on are shared and change speed during the run: an absolute figure is
// worth little, and two figures from different minutes are worth nothing. So every contender runs
// once in each of many short rounds, in an order that rotates, and a ratio is the median of the
// ratios of the rounds.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_HARNESS_HPP
#define COHOLD_TEST_BENCH_HARNESS_HPP

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <malloc.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "json.hpp"

namespace bench {

inline double now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/// Nanoseconds that `work` takes, divided by `operations`.
template <class Work>
double time_of(std::uint64_t operations, Work&& work) {
    const double begin = now_ns();
    work();
    return (now_ns() - begin) / static_cast<double>(operations);
}

/// Makes the compiler believe that the value is used, and that memory may have changed.
template <class T>
void keep(const T& value) {
    asm volatile("" : : "r"(&value) : "memory");
}

/// So much private memory has its pages from now on, and keeps them: a peer's first touch of a page
/// is not measured, as that of shared memory is not.
inline void touch_private_memory(std::size_t bytes) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    void* const some = std::malloc(bytes);
    std::memset(some, 1, bytes);
    keep(some);
    std::free(some);
}

/// A benchmark that computed something wrong has measured nothing.
[[noreturn]] inline void wrong(const char* what) {
    std::fprintf(stderr, "benchmark is wrong: %s\n", what);
    std::_Exit(1);
}

inline void check(bool right, const char* what) {
    if (!right) {
        wrong(what);
    }
}

/// A fixed sequence of pseudo-random numbers (xorshift64*).
class random_numbers {
  public:
    explicit random_numbers(std::uint64_t seed = 88172645463325252u) : state_(seed) {}

    std::uint64_t operator()() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 2685821657736338717u;
    }

    std::uint64_t below(std::uint64_t limit) { return (*this)() % limit; }

  private:
    std::uint64_t state_;
};

struct spread {
    double low = 0; // quartiles
    double middle = 0;
    double high = 0;
    std::size_t count = 0;
};

inline spread spread_of(std::vector<double> values) {
    if (values.empty()) {
        return {};
    }
    std::sort(values.begin(), values.end());
    const std::size_t last = values.size() - 1;
    return {values[last / 4], values[last / 2], values[last - last / 4], values.size()};
}

/// The result of one run of a contender.
struct sample {
    double value; // ns or s an operation
    int core_class =
        0; // of the pair of CPUs that it ran on; -1: they changed meanwhile, do not use it

    sample(double measured, int cores = 0) : value(measured), core_class(cores) {}
};

enum class bound { at_most, at_least, at_most_more };

/// While it lives, no other process takes the CPU away, where real-time priority is allowed. For
/// samples of milliseconds.
class undisturbed {
  public:
    undisturbed() { become(SCHED_FIFO, 1); }

    undisturbed(const undisturbed&) = delete;
    undisturbed& operator=(const undisturbed&) = delete;

    ~undisturbed() { become(SCHED_OTHER, 0); }

  private:
    static void become(int policy, int priority) {
        const sched_param parameters{.sched_priority = priority};
        static_cast<void>(sched_setscheduler(0, policy, &parameters)); // without it, more noise
    }
};

/// What cohold should reach, compared with one peer or the best of several.
struct goal {
    bound kind;
    double limit;
    std::vector<std::string> peers;
    const char* name = nullptr; // for several peers
};

/// The contenders of one row of a table; the first one is cohold.
class contest {
  public:
    explicit contest(std::string name, std::vector<goal> goals = {})
        : name_(std::move(name)), goals_(std::move(goals)) {}

    contest& add(std::string contender, std::function<sample()> run) {
        names_.push_back(std::move(contender));
        runs_.push_back(std::move(run));
        samples_.emplace_back();
        return *this;
    }

    contest& measure(int rounds) {
        for (int round = 0; round < rounds; ++round, ++round_) {
            for (std::size_t turn = 0; turn < runs_.size(); ++turn) {
                const std::size_t who = (turn + round_) % runs_.size();
                const undisturbed alone;
                samples_[who].push_back(runs_[who]());
            }
        }
        return *this;
    }

    /// Keeps one round of the fastest samples. For work of one thread, which others can only slow
    /// down.
    contest& keep_best() {
        for (auto& column : samples_) {
            column = {*std::min_element(
                column.begin(), column.end(),
                [](const sample& a, const sample& b) { return a.value < b.value; })};
        }
        return *this;
    }

    /// Takes over the samples of another contest with the same contenders, whose runs may hold
    /// memory that should be freed.
    contest& join(const contest& other) {
        names_ = other.names_;
        samples_.resize(names_.size());
        for (std::size_t i = 0; i < names_.size(); ++i) {
            samples_[i].insert(samples_[i].end(), other.samples_[i].begin(),
                               other.samples_[i].end());
        }
        return *this;
    }

    [[nodiscard]] const std::string& name() const { return name_; }

    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

    [[nodiscard]] const std::vector<goal>& goals() const { return goals_; }

    [[nodiscard]] std::size_t index_of(const std::string& contender) const {
        const auto found = std::find(names_.begin(), names_.end(), contender);
        check(found != names_.end(), contender.c_str());
        return static_cast<std::size_t>(found - names_.begin());
    }

    /// The samples on the kind of core pair that most rounds had.
    [[nodiscard]] spread value(std::size_t who) const {
        std::vector<double> values;
        for (const sample& s : samples_[who]) {
            if (s.core_class == common_class()) {
                values.push_back(s.value);
            }
        }
        return spread_of(std::move(values));
    }

    /// Combines the two values of each round in which both ran on that kind of core pair.
    template <class Combine>
    [[nodiscard]] spread combined(std::size_t left, std::size_t right, Combine combine) const {
        std::vector<double> values;
        for (std::size_t i = 0; i < samples_[left].size(); ++i) {
            const sample& a = samples_[left][i];
            const sample& b = samples_[right][i];
            if (a.core_class == common_class() && b.core_class == common_class()) {
                values.push_back(combine(a.value, b.value));
            }
        }
        return spread_of(std::move(values));
    }

    [[nodiscard]] int common_class() const {
        std::size_t counts[8] = {};
        for (const auto& column : samples_) {
            for (const sample& s : column) {
                if (s.core_class >= 0) {
                    ++counts[s.core_class];
                }
            }
        }
        return static_cast<int>(std::max_element(counts, counts + 8) - counts);
    }

  private:
    std::string name_;
    std::vector<goal> goals_;
    std::vector<std::string> names_;
    std::vector<std::function<sample()>> runs_;
    std::vector<std::vector<sample>> samples_; // [contender][round]
    std::size_t round_ = 0;
};

/// How a table shows its values, which are all times.
enum class shown { time, rate };

/// Prints contests with the same contenders as one Markdown table. As a rate (million/s), ratios
/// are those of the rates: above 1 cohold is faster. As a time (ns, us), below 1 cohold is faster.
class table {
  public:
    table(const char* title, const char* unit, double units_per_ns, shown how)
        : title_(title), unit_(unit), scale_(units_per_ns), how_(how) {}

    void print(const std::vector<contest>& rows) const {
        std::vector<std::string> peers; // in the order in which they come
        for (const contest& row : rows) {
            for (std::size_t i = 1; i < row.names().size(); ++i) {
                if (std::find(peers.begin(), peers.end(), row.names()[i]) == peers.end()) {
                    peers.push_back(row.names()[i]);
                }
            }
        }
        std::printf("\n### %s\n\n| %s | cohold |", title_, unit_);
        for (const std::string& peer : peers) {
            std::printf(" × %s |", peer.c_str());
        }
        std::printf(" goal |\n|---|---:|");
        for (std::size_t i = 0; i < peers.size(); ++i) {
            std::printf("---:|");
        }
        std::printf("---|\n");
        for (const contest& row : rows) {
            print_row(row, peers);
        }
        std::fflush(stdout);
        std::vector<std::string> lines;
        for (const contest& row : rows) {
            lines.push_back(json_row(row));
        }
        json::table(title_, unit_, lines);
    }

  private:
    static constexpr const char* classes[] = {"", "SMT", "CCX", "CCD", "far"};

    void print_row(const contest& row, const std::vector<std::string>& peers) const {
        const std::string cores = classes[row.common_class()];
        const spread value = in_unit(row.value(0));
        std::printf("| %s%s | %s |", row.name().c_str(),
                    cores.empty() ? "" : (" (" + cores + ")").c_str(),
                    value.count == 0 ? "?" : number(value.middle).c_str());
        for (const std::string& peer : peers) {
            const auto& names = row.names();
            if (std::find(names.begin(), names.end(), peer) == names.end()) {
                std::printf(" |");
                continue;
            }
            const spread ratio = ratio_to(row, row.index_of(peer));
            std::printf(" %s |", ratio.count == 0 ? "?" : number(ratio.middle).c_str());
        }
        std::string text;
        for (const goal& wanted : row.goals()) {
            text += (text.empty() ? "" : "; ") + verdict(row, wanted);
        }
        std::printf(" %s |\n", text.c_str());
    }

    // Quartiles change places when a time becomes a rate.
    [[nodiscard]] spread in_unit(const spread& ns) const {
        return how_ == shown::rate
                   ? spread{1e3 / ns.high, 1e3 / ns.middle, 1e3 / ns.low, ns.count}
                   : spread{ns.low * scale_, ns.middle * scale_, ns.high * scale_, ns.count};
    }

    [[nodiscard]] std::string json_row(const contest& row) const {
        std::vector<std::string> contenders;
        for (std::size_t i = 0; i < row.names().size(); ++i) {
            contenders.push_back(json::object({{"name", json::text(row.names()[i])},
                                               {"value", json_spread(in_unit(row.value(i)))},
                                               {"ratio", json_spread(ratio_to(row, i))}}));
        }
        std::vector<std::string> verdicts;
        for (const goal& wanted : row.goals()) {
            const judgement found = judged(row, wanted);
            verdicts.push_back(json::object({{"bound", json::text(bounds(wanted.kind))},
                                             {"limit", json::number(wanted.limit)},
                                             {"peer", json::text(row.names()[found.peer])},
                                             {"reached", json_spread(found.reached)},
                                             {"met", json::truth(found.met)}}));
        }
        return json::object({{"name", json::text(row.name())},
                             {"cores", json::text(classes[row.common_class()])},
                             {"contenders", json::list(contenders)},
                             {"goals", json::list(verdicts)}});
    }

    static std::string json_spread(const spread& values) {
        return values.count == 0
                   ? "null"
                   : json::list({json::number(values.low), json::number(values.middle),
                                 json::number(values.high)});
    }

    static const char* bounds(bound kind) {
        return kind == bound::at_least  ? "at least, times"
               : kind == bound::at_most ? "at most, times"
                                        : "at most, ns more";
    }

    [[nodiscard]] spread ratio_to(const contest& row, std::size_t peer) const {
        const bool rate = how_ == shown::rate;
        return row.combined(
            0, peer, [rate](double mine, double its) { return rate ? its / mine : mine / its; });
    }

    struct judgement {
        std::size_t peer;
        spread reached;
        bool met;
    };

    [[nodiscard]] judgement judged(const contest& row, const goal& wanted) const {
        // Of several peers, the best one is the one against which cohold does worst.
        std::size_t peer = row.index_of(wanted.peers.front());
        for (const std::string& other : wanted.peers) {
            const double least = ratio_to(row, peer).middle;
            const double ratio = ratio_to(row, row.index_of(other)).middle;
            if (how_ == shown::rate ? ratio < least : ratio > least) {
                peer = row.index_of(other);
            }
        }
        const spread reached =
            wanted.kind == bound::at_most_more
                ? row.combined(0, peer, [](double mine, double its) { return mine - its; })
                : ratio_to(row, peer);
        const bool met =
            reached.count != 0 && (wanted.kind == bound::at_least ? reached.middle >= wanted.limit
                                                                  : reached.middle <= wanted.limit);
        return {peer, reached, met};
    }

    [[nodiscard]] std::string verdict(const contest& row, const goal& wanted) const {
        const auto [peer, reached, met] = judged(row, wanted);
        const std::string who = wanted.name != nullptr
                                    ? std::string(wanted.name) + " (" + row.names()[peer] + ")"
                                    : row.names()[peer];
        std::string text = wanted.kind == bound::at_most_more
                               ? "≤ " + who + " + " + number(wanted.limit) + " " + "ns"
                               : (wanted.kind == bound::at_least ? "≥ " : "≤ ") +
                                     number(wanted.limit) + " × " + who;
        if (reached.count == 0) {
            return text + ": not measured";
        }
        text += std::string(": ") + (met ? "met" : "**missed**") + ", ";
        if (wanted.kind == bound::at_most_more && reached.middle >= 0) {
            text += "+";
        }
        return text + number(reached.middle) + " (" + number(reached.low) + " to " +
               number(reached.high) + ")";
    }

    static std::string number(double value) {
        char text[32];
        const double size = value < 0 ? -value : value;
        std::snprintf(text, sizeof text,
                      size < 9.995   ? "%.2f"
                      : size < 99.95 ? "%.1f"
                                     : "%.0f",
                      value);
        return text;
    }

    const char* title_;
    const char* unit_;
    double scale_;
    shown how_;
};

/// The command line: `--quick` for few rounds, `--json=FILE` for the results in another form.
struct settings {
    bool quick = false;

    settings(int argc, char** argv) {
        const std::string json_to = "--json=";
        for (int i = 1; i < argc; ++i) {
            const std::string option = argv[i];
            if (option.starts_with(json_to)) {
                json::open(argv[i] + json_to.size());
            } else {
                check(option == "--quick", "the only options are --quick and --json=FILE");
                quick = true;
            }
        }
    }

    [[nodiscard]] int rounds(int thorough) const { return quick ? (thorough + 4) / 5 : thorough; }
};

/// A name for this process's objects, which no other process has.
inline std::string own_name(const char* what) {
    return "cohold-bench-" + std::string(what) + "-" + std::to_string(getpid());
}

} // namespace bench

#endif
