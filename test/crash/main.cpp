// Kills every declared operation at every instruction, and says what came of it.
//
//   crash [--only=PART] [--quick | --complete] [--table] [--list]
//
// Each operation is explored in a process of its own: one that goes wrong hurts no other.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <sys/wait.h>
#include <unistd.h>

#include "crash/explore.hpp"
#include "crash/operations.hpp"

namespace {

struct options {
    std::string_view only{};
    bool complete = false;
    bool quick = false;
    bool table = false;
    bool list = false;
};

std::string row_of(const crash::operation& what, const crash::findings& found, bool table) {
    char numbers[256];
    const char* const format =
        table ? "%" PRIu64 " | %zu | %zu | %zu | %zu / %zu / %zu | %zu | %zu | %zu |"
              : "%6" PRIu64 " steps %4zu states %5zu deep %4zu schedules, %zu before %zu after %zu "
                "other, %zu illegal %zu stuck %zu leaked";
    std::snprintf(numbers, sizeof numbers, format, found.instructions, found.states, found.deep,
                  found.schedules, found.before, found.after, found.other,
                  found.failures[static_cast<int>(crash::result::illegal)] +
                      found.failures[static_cast<int>(crash::result::torn)] +
                      found.failures[static_cast<int>(crash::result::crashed)],
                  found.failures[static_cast<int>(crash::result::stuck)],
                  found.failures[static_cast<int>(crash::result::leaked)]);
    const std::string what_it_is = table ? "| `" + what.name + "` | " + what.setup + " | "
                                         : what.name + ", " + what.setup + ": ";
    std::string text = what_it_is + numbers + "\n";
    for (const std::string& each : found.complaints) {
        text += "    " + each + "\n";
    }
    return text;
}

// In a child. Returns whether all was legal.
bool explore(const crash::operation& what, const options& chosen) {
    const int id = ::fork();
    if (id == 0) {
        const auto finish = [&](const crash::findings& found) {
            const std::string row = row_of(what, found, chosen.table);
            std::fputs(row.c_str(), stdout);
            std::fflush(stdout);
            std::_Exit(found.good() ? 0 : 1); // some are left in the middle of something
        };
        const auto how = chosen.complete ? crash::thoroughness::complete()
                         : chosen.quick  ? crash::thoroughness::quick()
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
        } else if (each == "--complete") {
            chosen.complete = true;
        } else if (each == "--table") {
            chosen.table = true;
        } else if (each == "--list") {
            chosen.list = true;
        } else if (each == "--quick") {
            chosen.quick = true;
        } else {
            std::fprintf(stderr, "%s: unknown\n", arguments[i]);
            return 2;
        }
    }
    crash::registry all;
    crash::declare(all);
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
        std::puts("skipped: instructions can be stepped through on x86-64 without sanitizers only");
        return 77;
    }
    int bad = 0;
    int explored = 0;
    for (const crash::operation& each : all.all()) {
        if ((each.name + ", " + each.setup).find(chosen.only) != std::string::npos) {
            std::fflush(stdout);
            ++explored;
            bad += explore(each, chosen) ? 0 : 1;
        }
    }
    if (!chosen.table) {
        std::printf("%d passed, %d failed\n", explored - bad, bad); // operations
    }
    return bad == 0 && explored != 0 ? 0 : 1;
}
