// Kills every declared operation at every instruction, and reports the results.
//
//   crash [--only=PART] [--quick | --complete] [--sample=N] [--table] [--list] [--without=KIND]…
//
// With a sample, every operation is killed at every instruction, but only one of N operations of a
// function, and at least one, goes through the rest: survivors that are killed, and others that act
// meanwhile. That takes nine tenths of the time.
//
// Kinds: `hasty`, survivors that act before anybody has recovered; `twice`, victims with two
// mappings; `crowded`, the same again in full segments, and undone. Of the latter a quick run
// takes one in sixteen, whichever part is asked for.
//
// Each operation is explored in a process of its own: a failure hurts no other.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/crowded.hpp"
#include "crash/explore.hpp"
#include "crash/operations.hpp"

namespace {

struct options {
    std::string_view only{};
    std::size_t sample = 1;
    bool complete = false;
    bool quick = false;
    bool table = false;
    bool list = false;
    bool hasty = true;
    bool twice = true;
    bool crowded = true;
};

std::size_t illegal(const crash::findings& found) {
    return found.failures[static_cast<int>(crash::result::illegal)] +
           found.failures[static_cast<int>(crash::result::torn)] +
           found.failures[static_cast<int>(crash::result::crashed)];
}

// A line for each operation.
void print(const crash::operation& what, const crash::findings& found) {
    std::printf("%s, %s: %" PRIu64
                " instructions, %zu states, %zu deep, %zu schedules; %zu before, "
                "%zu after, %zu other; %zu illegal, %zu stuck, %zu leaked\n",
                what.name.c_str(), what.setup.c_str(), found.instructions, found.states, found.deep,
                found.schedules, found.before, found.after, found.other, illegal(found),
                found.failures[static_cast<int>(crash::result::stuck)],
                found.failures[static_cast<int>(crash::result::leaked)]);
    for (const std::string& each : found.complaints) {
        std::printf("    %s\n", each.c_str());
    }
    std::fflush(stdout);
}

// A row of the table, for all setups of one function. Children add to it.
struct row {
    std::size_t setups = 0;
    std::uint64_t instructions = 0; // the most of any
    std::size_t states = 0;
    std::size_t deep = 0;
    std::size_t schedules = 0;
    std::size_t before = 0;
    std::size_t after = 0;
    std::size_t other = 0;
    std::size_t illegal = 0;
    std::size_t stuck = 0;
    std::size_t leaked = 0;

    void add(const crash::findings& found) {
        ++setups;
        instructions = std::max(instructions, found.instructions);
        states += found.states;
        deep += found.deep;
        schedules += found.schedules;
        before += found.before;
        after += found.after;
        other += found.other;
        illegal += ::illegal(found);
        stuck += found.failures[static_cast<int>(crash::result::stuck)];
        leaked += found.failures[static_cast<int>(crash::result::leaked)];
    }

    void print(const std::string& name) const {
        std::printf("| `%s` | %zu | %" PRIu64 " | %zu | %zu | %zu | %zu / %zu / %zu | %zu | %zu | "
                    "%zu |\n",
                    name.c_str(), setups, instructions, states, deep, schedules, before, after,
                    other, illegal, stuck, leaked);
    }
};

// The operations that go through everything.
std::set<const crash::operation*> sampled(const crash::registry& all, std::size_t one_of) {
    std::map<std::string, std::vector<const crash::operation*>> functions;
    for (const crash::operation& each : all.all()) {
        functions[each.name].push_back(&each);
    }
    std::set<const crash::operation*> chosen;
    std::size_t first = 0; // so that not always the first setup is taken
    for (const auto& [name, operations] : functions) {
        const std::size_t every = std::min(one_of, operations.size());
        for (std::size_t i = first++ % every; i < operations.size(); i += every) {
            chosen.insert(operations[i]);
        }
    }
    return chosen;
}

// In a child. Returns whether everything was legal.
bool explore(const crash::operation& what, const options& chosen, bool only_victims, row& sum) {
    std::fflush(stdout);
    const int id = ::fork();
    if (id == 0) {
        const auto finish = [&](const crash::findings& found) {
            if (!chosen.table) {
                print(what, found);
            }
            sum.add(found);
            std::_Exit(found.good() ? 0 : 1); // some threads are left in the middle of something
        };
        const auto how = only_victims      ? crash::thoroughness::only_victims()
                         : chosen.complete ? crash::thoroughness::complete()
                         : chosen.quick    ? crash::thoroughness::quick()
                                           : crash::thoroughness();
        finish(crash::explorer(how, finish).explore(what));
    }
    int status = 0;
    ::waitpid(id, &status, 0);
    if (WIFSIGNALED(status)) {
        std::printf("%s, %s: the rig was killed by signal %d\n", what.name.c_str(),
                    what.setup.c_str(), WTERMSIG(status));
    }
    return status == 0;
}

} // namespace

int main(int count, char** arguments) {
    options chosen;
    for (int i = 1; i < count; ++i) {
        const std::string_view each = arguments[i];
        if (each.starts_with("--only=")) {
            chosen.only = each.substr(std::strlen("--only="));
        } else if (each.starts_with("--sample=")) {
            chosen.sample = std::strtoul(arguments[i] + std::strlen("--sample="), nullptr, 10);
            if (chosen.sample == 0) {
                std::fprintf(stderr, "%s: a number of at least 1 is needed\n", arguments[i]);
                return 2;
            }
        } else if (each == "--complete") {
            chosen.complete = true;
        } else if (each == "--table") {
            chosen.table = true;
        } else if (each == "--list") {
            chosen.list = true;
        } else if (each == "--quick") {
            chosen.quick = true;
        } else if (each == "--without=hasty") {
            chosen.hasty = false;
        } else if (each == "--without=twice") {
            chosen.twice = false;
        } else if (each == "--without=crowded") {
            chosen.crowded = false;
        } else {
            std::fprintf(stderr, "%s: unknown\n", arguments[i]);
            return 2;
        }
    }
    crash::registry all;
    crash::declare(all);
    if (chosen.crowded) {
        crash::add_crowded(all, chosen.quick ? 16 : 1);
    }
    if (!chosen.hasty || !chosen.twice) {
        all.restrict(chosen.hasty, chosen.twice);
    }
    if (chosen.list) {
        for (const crash::operation& each : all.all()) {
            std::printf("%s\t%s\n", each.name.c_str(), each.setup.c_str());
        }
        for (const auto& [mutator, by] : all.covered()) {
            std::printf("%s\tby %s\n", mutator.c_str(), by.c_str());
        }
        return 0;
    }
    if (!COHOLD_TEST_STEPS) {
        std::puts("skipped: instructions can be stepped only on x86-64 without sanitizers");
        return 77;
    }
    const std::set<const crash::operation*> deep = sampled(all, chosen.sample);
    int bad = 0;
    int explored = 0;
    std::map<std::string, row*> rows; // where children can write to them
    for (const crash::operation& each : all.all()) {
        if ((each.name + ", " + each.setup).find(chosen.only) == std::string::npos) {
            continue;
        }
        row*& sum = rows[each.name];
        if (sum == nullptr) {
            void* const at = ::mmap(nullptr, sizeof(row), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            crash::demand(at != MAP_FAILED, "memory for a row");
            sum = ::new (at) row();
        }
        ++explored;
        bad += explore(each, chosen, !deep.contains(&each), *sum) ? 0 : 1;
    }
    if (chosen.table) {
        for (const auto& [name, sum] : rows) {
            sum->print(name);
        }
    } else {
        std::printf("%d passed, %d failed\n", explored - bad, bad); // operations
    }
    return bad == 0 && explored != 0 ? 0 : 1;
}
