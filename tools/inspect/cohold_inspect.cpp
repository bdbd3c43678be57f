// cohold_inspect: a tool that looks at segments, recovers the dead processes that have used them,
// and removes stale ones. It knows none of their types, attaches to a segment only to repair it,
// and withstands any contents.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include <sys/stat.h>

#include "arguments.hpp"
#include "change.hpp"
#include "doctor.hpp"
#include "list.hpp"
#include "show.hpp"

namespace {

int run(inspector::arguments& asked) {
    using inspector::usage;
    const std::size_t words = asked.words.size();
    // A directory is the first word.
    const std::size_t directories = asked.of_files() ? 1 : 0;
    if (asked.command == "list") {
        return words == directories ? inspector::list(asked) : usage("list [--file DIRECTORY]");
    }
    if (asked.command == "doctor") {
        return words == directories ? inspector::doctor(asked) : usage("doctor [--file DIRECTORY]");
    }
    if (asked.command == "remove") {
        return asked.stale && words == directories
                   ? inspector::remove_stale(asked)
                   : usage("remove --stale [--dry-run] [--file DIRECTORY]");
    }
    if (asked.command == "watch") {
        double seconds = 1;
        const bool timed = words != 0 && inspector::parse_number(asked.words.back(), seconds);
        const std::size_t names = words - (timed ? 1 : 0);
        if (names > 1 || (names == 0 && asked.of_files())) {
            return usage("watch [NAME] [SECONDS]");
        }
        const std::string_view name = names == 0 ? std::string_view() : asked.words[0];
        const bool is_directory = asked.of_files() && [&] {
            struct stat found{};
            return ::stat(std::string(name).c_str(), &found) == 0 && S_ISDIR(found.st_mode);
        }();
        return inspector::watch(asked, is_directory ? std::string_view() : name, seconds);
    }
    if (asked.command != "show" && asked.command != "check" && asked.command != "repair") {
        return usage("no such command: " + inspector::shown(asked.command));
    }
    if (words != 1) {
        return usage(std::string(asked.command) + " needs exactly one name");
    }
    return asked.command == "show"    ? inspector::show(asked)
           : asked.command == "check" ? inspector::check(asked)
                                      : inspector::repair(asked);
}

} // namespace

int main(int argc, char** argv) {
    try {
        inspector::arguments asked;
        if (!inspector::parse(argc, argv, asked)) {
            return inspector::wrong_usage;
        }
        if (asked.help) {
            std::fputs(inspector::usage_text, stdout);
            return inspector::good;
        }
        if (asked.version) {
            std::printf("cohold_inspect %d.%d.%d, layout version %d\n", COHOLD_VERSION_MAJOR,
                        COHOLD_VERSION_MINOR, COHOLD_VERSION_PATCH, COHOLD_LAYOUT_VERSION);
            return inspector::good;
        }
        if (asked.command.empty()) {
            return inspector::usage("a command is missing");
        }
        return run(asked);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cohold_inspect: %s\n", inspector::shown(error.what()).c_str());
        return inspector::wrong_usage;
    }
}
