// The command line of cohold_inspect.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TOOLS_INSPECT_ARGUMENTS_HPP
#define COHOLD_TOOLS_INSPECT_ARGUMENTS_HPP

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <cohold/cohold.hpp>

#include "printing.hpp"

namespace inspector {

enum exit_status { good = 0, found_damage = 1, wrong_usage = 2 };

constexpr const char* usage_text =
    R"(usage: cohold_inspect COMMAND [OPTION…]

  doctor               what is stale, damaged, too small or wrongly permitted, and the remedy
  list                 the segments of cohold and their users (--all: all other objects, too)
  show NAME            its header, participants, objects, heap and journals
  watch [NAME] [SECONDS]   how they change, every second by default (--count N: N times)
  check NAME           checks whether all of it is in order
  repair NAME          recovers the dead processes that have used it
  remove --stale       removes segments of sessions that are over (--dry-run: only prints them)

where NAME is that of
  --posix              a POSIX object: the default
  --system-v           a System V segment, by its name or its key (0x and eight digits)
  --file, --tmpfs      a file, by its path; for doctor, list, watch and remove, a
                       directory

  --json               output for programs
  --help, --version

exit status: 0 all is well; 1 something is damaged, left to be recovered, to be mended, or could
not be repaired or removed; 2 wrong usage, or it could not be opened
)";

enum class place { posix, system_v, file, tmpfs };

struct arguments {
    std::string_view command{};
    std::vector<std::string_view> words{}; // what is no option
    place where = place::posix;
    bool chosen = false; // was `where` said?
    bool json = false;
    bool all = false;
    bool stale = false;
    bool dry_run = false;
    bool help = false;
    bool version = false;
    unsigned count = 0; // 0: for ever

    [[nodiscard]] bool of_files() const { return where == place::file || where == place::tmpfs; }
};

inline int usage(const std::string& what) {
    std::fprintf(stderr, "cohold_inspect: %s\n\n%s", what.c_str(), usage_text);
    return wrong_usage;
}

// Leaves `out` as it is if the text is no number.
inline bool parse_number(std::string_view text, double& out) {
    const std::string copy(text);
    char* end = nullptr;
    const double found = std::strtod(copy.c_str(), &end);
    const bool valid = !copy.empty() && *end == '\0' && found >= 0.001 && found <= 1e6;
    out = valid ? found : out;
    return valid;
}

inline bool parse_option(std::string_view text, arguments& out) {
    const auto choose = [&out](place where) {
        const bool first = !out.chosen || out.where == where;
        out.where = where;
        out.chosen = true;
        return first;
    };
    if (text == "--posix") {
        return choose(place::posix);
    }
    if (text == "--system-v") {
        return choose(place::system_v);
    }
    if (text == "--file") {
        return choose(place::file);
    }
    if (text == "--tmpfs") {
        return choose(place::tmpfs);
    }
    bool* const flag = text == "--json"                   ? &out.json
                       : text == "--all"                  ? &out.all
                       : text == "--stale"                ? &out.stale
                       : text == "--dry-run"              ? &out.dry_run
                       : text == "--help" || text == "-h" ? &out.help
                       : text == "--version"              ? &out.version
                                                          : nullptr;
    if (flag != nullptr) {
        *flag = true;
    }
    return flag != nullptr;
}

// False after it has printed the reason.
inline bool parse(int argc, char** argv, arguments& out) {
    bool options = true;
    for (int i = 1; i < argc; ++i) {
        const std::string_view each = argv[i];
        if (options && each == "--") {
            options = false;
        } else if (options && each == "--count") {
            double count = 0;
            if (++i == argc || !parse_number(argv[i], count) || count < 1) {
                usage("--count needs a number");
                return false;
            }
            out.count = static_cast<unsigned>(count);
        } else if (options && each.size() > 1 && each[0] == '-') {
            if (!parse_option(each, out)) {
                usage("unknown or superfluous: " + shown(each));
                return false;
            }
        } else if (out.command.empty()) {
            out.command = each;
        } else {
            out.words.push_back(each);
        }
    }
    return true;
}

// Mechanisms are types: calls run(cohold::mechanism::…{}) for the one that was chosen.
template <class Run>
int with_mechanism(place where, const Run& run) {
    switch (where) {
    case place::system_v:
        return run(cohold::mechanism::system_v{});
    case place::file:
        return run(cohold::mechanism::file{});
    case place::tmpfs:
        return run(cohold::mechanism::tmpfs{});
    default:
        return run(cohold::mechanism::posix{});
    }
}

} // namespace inspector

#endif
