// doctor: what is stale, damaged, too small or wrongly permitted on this machine, and what to do.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TOOLS_INSPECT_DOCTOR_HPP
#define COHOLD_TOOLS_INSPECT_DOCTOR_HPP

#include <sys/stat.h>

#include "list.hpp"

namespace inspector {

struct trouble {
    const char* kind; // stale, damaged, too small, permission, limit
    std::string where;
    std::string what;
    std::string remedy;
    bool serious = true; // false: it works, for the time being
};

using troubles = std::vector<trouble>;

// In a form that a shell takes, whatever the text is.
inline std::string quoted_for_shell(std::string_view text) {
    std::string out = "'";
    for (const char each : text) {
        out += each == '\'' ? std::string("'\\''") : std::string(1, each);
    }
    return out + "'";
}

// The command for it.
inline std::string command_for(const char* command, const cohold::object_entry& object) {
    const char* const option = object.kind == cohold::object_kind::system_v ? " --system-v"
                               : object.kind == cohold::object_kind::file   ? " --file"
                                                                            : "";
    return shown(std::string("cohold_inspect ") + command + option + " " +
                 quoted_for_shell(object.name));
}

// The same of the shell's own commands; empty if the object is no file.
inline std::string command_on_file(const char* command, const cohold::object_entry& object) {
    const bool is_posix = object.kind == cohold::object_kind::posix;
    if (object.name.empty() || (!is_posix && object.kind != cohold::object_kind::file)) {
        return {};
    }
    const std::string path = (is_posix ? "/dev/shm/" : "") + object.name;
    return shown(std::string(command) + " " + quoted_for_shell(path));
}

inline std::string removal(const cohold::object_entry& object) {
    const std::string command = command_on_file("rm", object);
    return command.empty() ? "remove it" : "remove it: " + command;
}

inline void look_at_permission(const cohold::object_entry& object, troubles& out) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(object.mode & 07777));
    const auto tell = [&](const char* what, const char* change, const char* meant) {
        std::string command = command_on_file(change, object);
        command = command.empty() ? change : command;
        out.push_back({"permission", label_of(object), std::string(what) + " (mode " + mode + ")",
                       "unless that is meant: " + command + meant, false});
    };
    if ((object.mode & 02) != 0) {
        tell("every user may write to it", "chmod o-w", "; permission::group in the programs");
    }
    if (object.kind != cohold::object_kind::memfd && (object.mode & 0600) != 0600) {
        tell((object.mode & 0400) == 0 ? "its owner may not open it" : "its owner may only read it",
             "chmod u+rw", "");
    }
}

inline void look_at_contents(const cohold::object_entry& object,
                             const cohold::segment_contents& found, troubles& out) {
    const std::string name = label_of(object);
    if (found.state.standing == cohold::standing::session_over || !found.readable) {
        return;
    }
    if (!found.is_good()) {
        // A dead process is trouble of its own kind; what recovery does not mend is damage.
        if (!found.is_mendable() && !found.flaws.empty()) {
            out.push_back(
                {"damaged", name, sentence(found.flaws[0]),
                 "find out which program writes there; copy what you need; " + removal(object)});
        }
    }
    const std::uint64_t reserve = found.state.reserve;
    if (reserve != 0 && found.heap.used > reserve / 10 * 9) {
        out.push_back(
            {"too small", name,
             size_text(found.heap.used) + " of a reserve of " + size_text(reserve) + " are in use",
             "make it anew with a larger segment_options::reserve", false});
    }
}

template <class Mechanism>
void look_into(const cohold::object_entry& object, const std::string& name, troubles& out) {
    std::error_code ec;
    // Twice if need be: while others work, its parts are read at different moments.
    auto found = cohold::inspect_contents<Mechanism>(name, ec);
    if (!ec && !found.is_mendable()) {
        found = cohold::inspect_contents<Mechanism>(name, ec);
    }
    if (!ec) {
        look_at_contents(object, found, out);
    }
}

inline void look_at_segment(const cohold::object_entry& object, const std::string& directory,
                            troubles& out) {
    using cohold::standing;
    const cohold::segment_state& state = object.segment;
    const std::string name = label_of(object);
    switch (state.standing) {
    case standing::session_over:
    case standing::unfinished:
        out.push_back({"stale", name,
                       state.standing == standing::session_over ? "its session is over"
                                                                : "it was never finished",
                       "cohold_inspect remove --stale" + (object.kind == cohold::object_kind::file
                                                              ? " --file '" + shown(directory) + "'"
                                                              : std::string()),
                       false});
        return;
    case standing::damaged:
        out.push_back({"damaged", name, state.problem.message(),
                       "find out which program did it; " + removal(object)});
        return;
    case standing::foreign:
        out.push_back({"damaged", name,
                       "layout version " + number(state.layout_version) + ", not " +
                           number(COHOLD_LAYOUT_VERSION),
                       "use programs built with one version of cohold, or " + removal(object)});
        return;
    default:
        break;
    }
    if (const std::size_t dead = state.count(cohold::verdict::dead); dead != 0) {
        out.push_back(
            {"stale", name,
             number(dead) + (dead == 1 ? " process died" : " processes died") + " while using it",
             command_for("repair", object), false});
    }
    look_at_permission(object, out);
    if (object.name.empty()) {
        return;
    }
    if (object.kind == cohold::object_kind::posix) {
        look_into<cohold::mechanism::posix>(object, object.name, out);
    } else if (object.kind == cohold::object_kind::system_v) {
        look_into<cohold::mechanism::system_v>(object, object.name, out);
    } else if (object.kind == cohold::object_kind::file) {
        look_into<cohold::mechanism::file>(object, object.name, out);
    }
}

inline void look_at_directory(const std::string& directory, troubles& out) {
    struct stat found{};
    if (::stat(directory.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) {
        out.push_back(
            {"permission", directory, "it is not there",
             directory == "/dev/shm" ? "mount -t tmpfs -o mode=1777 tmpfs /dev/shm" : "make it"});
        return;
    }
    if (::access(directory.c_str(), W_OK | X_OK) != 0) {
        out.push_back({"permission", directory, "this user may not make files there",
                       directory == "/dev/shm" ? "chmod 1777 /dev/shm" : "chmod, or another user"});
    }
    if ((found.st_mode & S_IWOTH) != 0 && (found.st_mode & S_ISVTX) == 0) {
        out.push_back({"permission", directory,
                       "every user may remove and replace the segments of others",
                       "chmod +t " + directory});
    }
    std::error_code ec;
    const cohold::space_usage space = cohold::space_usage_of(directory, ec);
    if (ec || !space.limited) {
        return;
    }
    const std::string free = size_text(space.available) + " of " + size_text(space.size);
    if (space.available < space.size / 10) {
        out.push_back({"too small", directory, "only " + free + " are free",
                       space.is_tmpfs
                           ? "remove what is not needed, or mount -o remount,size=… " + directory
                           : "remove what is not needed",
                       space.available < (1U << 20)});
    } else if (space.is_tmpfs && space.size <= (64U << 20)) {
        out.push_back({"too small", directory, "it has " + size_text(space.size) + ", as in Docker",
                       "docker run --shm-size=1g; Kubernetes: an emptyDir with medium: Memory",
                       false});
    }
}

// What would be in the way of a segment of the default size and reserve.
inline void look_at_limits(cohold::object_kind kind, const std::string& directory, troubles& out) {
    const cohold::limit_request wanted{
        .kind = kind, .size = 65536, .reserve = std::uint64_t{1} << 30, .directory = directory};
    for (const cohold::limit_finding& each : cohold::check_limits(wanted)) {
        if (kind == cohold::object_kind::system_v && each.limit[0] != 'k') {
            continue; // those of the kernel alone: the others have been reported
        }
        // The reserve costs memory only when it is used; a full disk is reported by directory.
        const std::string_view name = each.limit;
        if (!each.stops && (name.find("Mem") != name.npos || name.find("space") != name.npos ||
                            name.find("file system") != name.npos)) {
            continue;
        }
        out.push_back({"limit", each.limit,
                       number(each.most) + ", of which " + number(each.used) + " are used; " +
                           number(each.wanted) + " wanted",
                       each.remedy, each.stops});
    }
}

inline int doctor(const arguments& asked) {
    std::error_code ec;
    const auto found = cohold::list_objects(places_of(asked, false), ec);
    if (ec) {
        return cannot_open(asked);
    }
    troubles out;
    const std::string directory =
        asked.of_files() ? std::string(asked.words[0]) : std::string("/dev/shm");
    if (!asked.chosen || asked.where != place::system_v) {
        look_at_directory(directory, out);
        look_at_limits(asked.of_files() ? cohold::object_kind::file : cohold::object_kind::posix,
                       asked.of_files() ? directory : std::string(), out);
    }
    if (!asked.chosen || asked.where == place::system_v) {
        look_at_limits(cohold::object_kind::system_v, {}, out);
    }
    std::size_t segments = 0;
    for (const cohold::object_entry& each : found) {
        if (each.is_segment()) {
            ++segments;
            look_at_segment(each, directory, out);
        }
    }
    json text;
    text.begin('{').number("segments", segments).number("refused", found.refused);
    text.key("troubles").begin('[');
    table rows({"", "WHERE", "WHAT", "REMEDY"});
    bool serious = false;
    for (const trouble& each : out) {
        serious = serious || each.serious;
        text.begin('{').text("kind", each.kind).text("where", each.where).text("what", each.what);
        text.text("remedy", each.remedy).boolean("serious", each.serious).end('}');
        rows.add({cell(each.kind, each.serious ? colour::bad : colour::bold), shown(each.where),
                  each.what, each.remedy});
    }
    text.end(']').end('}');
    if (asked.json) {
        text.print();
    } else {
        if (out.empty()) {
            std::printf("%zu %s, %s\n", segments, segments == 1 ? "segment" : "segments",
                        in_colour(colour::good, "nothing to mend").c_str());
        } else {
            rows.print();
        }
        if (!found.complete()) {
            std::printf("%zu %s could not be looked at: root can\n", found.refused,
                        found.refused == 1 ? "object or process" : "objects and processes");
        }
    }
    return out.empty() ? good : found_damage;
}

} // namespace inspector

#endif
