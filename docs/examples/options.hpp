// The command line of the main job's programs: [--mechanism NAME] and what follows it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_EXAMPLES_OPTIONS_HPP
#define COHOLD_EXAMPLES_OPTIONS_HPP

#include <cstdio>
#include <exception>
#include <string_view>

#include <cohold/cohold.hpp>

namespace options {

inline int usage(const char* text) {
    std::fprintf(stderr, "usage: %s\n", text);
    return 2;
}

// #region choose
// Takes `--mechanism NAME` off the front of the arguments.
inline std::string_view take_mechanism(int& argc, char**& argv, std::string_view fallback) {
    if (argc >= 3 && std::string_view(argv[1]) == "--mechanism") {
        const std::string_view name = argv[2];
        argc -= 2;
        argv += 2;
        return name;
    }
    return fallback;
}

// Mechanisms are types: a name known only at run time is turned into one here. Calls
// run(cohold::mechanism::…{}) for the mechanism of that name, if it has names.
template <class Run>
int with_named_mechanism(std::string_view name, const Run& run) {
    if (name == "posix") {
        return run(cohold::mechanism::posix{});
    }
    if (name == "system_v") {
        return run(cohold::mechanism::system_v{});
    }
    if (name == "file") {
        return run(cohold::mechanism::file{});
    }
    if (name == "tmpfs") {
        return run(cohold::mechanism::tmpfs{});
    }
    return usage("… --mechanism posix|system_v|file|tmpfs …");
}

// The same for the mechanisms without names.
template <class Run>
int with_unnamed_mechanism(std::string_view name, const Run& run) {
    if (name == "anonymous") {
        return run(cohold::mechanism::anonymous{});
    }
    if (name == "memfd") {
        return run(cohold::mechanism::memfd{});
    }
    return usage("… --mechanism anonymous|memfd …");
}

// #endregion choose

// Runs a program; an exception becomes a message and status 1.
template <class Run>
int guarded(const Run& run) {
    try {
        return run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

} // namespace options

#endif
