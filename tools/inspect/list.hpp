// list and watch: which segments there are, and how they change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TOOLS_INSPECT_LIST_HPP
#define COHOLD_TOOLS_INSPECT_LIST_HPP

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "show.hpp"

namespace inspector {

inline cohold::listing_options places_of(const arguments& asked, bool processes) {
    cohold::listing_options where;
    where.posix = !asked.chosen || asked.where == place::posix;
    where.system_v = !asked.chosen || asked.where == place::system_v;
    where.memfds = !asked.chosen && processes;
    where.processes = processes;
    where.directory = asked.of_files() ? std::string(asked.words[0]) : std::string();
    return where;
}

inline std::string label_of(const cohold::object_entry& object) {
    return object.kind == cohold::object_kind::system_v && object.name.empty()
               ? "id " + std::to_string(object.inode)
               : object.name;
}

inline int list(const arguments& asked) {
    std::error_code ec;
    const auto found = cohold::list_objects(places_of(asked, true), ec);
    if (ec) {
        return cannot_open(asked);
    }
    json out;
    out.begin('{').boolean("complete", found.complete()).number("refused", found.refused);
    out.key("objects").begin('[');
    table rows({"KIND", "NAME", "SIZE", "OWNER", "MODE", "STANDING", "ALIVE", "DEAD", "MAPPED BY"});
    bool damaged = false;
    for (const cohold::object_entry& each : found) {
        if (!asked.all && !each.is_segment()) {
            continue;
        }
        const cohold::segment_state& state = each.segment;
        damaged = damaged || state.standing == cohold::standing::damaged;
        out.begin('{').text("kind", cohold::name_of(each.kind)).text("name", each.name);
        out.number("id", each.inode).number("bytes", each.size).number("allocated", each.allocated);
        out.number("owner", each.owner).number("mode", each.mode).key("processes").begin('[');
        std::string pids;
        for (const pid_t process : each.processes) {
            out.signed_number(process);
            pids += (pids.empty() ? "" : " ") + std::to_string(process);
        }
        out.end(']');
        write_state(out, state);
        out.end('}');
        char mode[8];
        std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(each.mode & 07777));
        const std::size_t dead = state.count(cohold::verdict::dead);
        rows.add({std::string(cohold::name_of(each.kind)), shown(label_of(each)),
                  size_text(each.size), number(each.owner), mode,
                  cell(std::string(cohold::name_of(state.standing)), colour_of(state.standing)),
                  number(state.count(cohold::verdict::alive)),
                  cell(number(dead), dead != 0 ? colour::bad : colour::none), pids});
    }
    out.end(']').end('}');
    if (asked.json) {
        out.print();
    } else {
        rows.print();
        if (!found.complete()) {
            std::printf("there may be more: %zu %s could not be inspected\n", found.refused,
                        found.refused == 1 ? "process or object" : "processes and objects");
        }
    }
    return damaged ? found_damage : good;
}

// ---- watch

// A terminal in which a key ends the program; as it was afterwards.
class key_watch {
  public:
    key_watch() {
        if (::isatty(STDIN_FILENO) == 1 && has_colours() &&
            ::tcgetattr(STDIN_FILENO, &before_) == 0) {
            termios raw = before_;
            raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
            active_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
        }
        if (active_) {
            std::printf("\033[?1049h\033[?25l"); // the other screen, without a cursor
        }
    }

    key_watch(const key_watch&) = delete;
    key_watch& operator=(const key_watch&) = delete;

    ~key_watch() {
        if (active_) {
            std::printf("\033[?25h\033[?1049l");
            std::fflush(stdout);
            ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
        }
    }

    [[nodiscard]] bool active() const { return active_; }

    // Waits; true if q, Escape or Ctrl-C has been pressed.
    [[nodiscard]] bool wait(double seconds) const {
        using clock = std::chrono::steady_clock;
        const auto end = clock::now() + std::chrono::duration<double>(seconds);
        if (!active_) {
            std::this_thread::sleep_until(end);
            return false;
        }
        for (;;) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(end - clock::now()).count();
            pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
            char key = 0;
            if (::poll(&input, 1, static_cast<int>(left < 0 ? 0 : left)) == 0) {
                return false;
            }
            if (::read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 27 || key == 3) {
                return true;
            }
        }
    }

    // How many lines a table may have.
    [[nodiscard]] static std::size_t lines() {
        winsize size{};
        return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 5
                   ? std::size_t{size.ws_row} - 4
                   : 1000;
    }

  private:
    termios before_{};
    bool active_ = false;
};

struct sample {
    std::string standing{};
    std::uint64_t size = 0;
    std::uint64_t used = 0;
    std::uint64_t participants = 0;
    std::uint64_t dead = 0;
    std::uint64_t objects = 0;
};

inline sample sample_of(const cohold::segment_contents& found) {
    return {std::string(cohold::name_of(found.state.standing)),
            found.state.size,
            found.heap.used,
            found.state.participants.size(),
            found.state.count(cohold::verdict::dead),
            found.objects.size()};
}

template <class Mechanism>
void add_sample(std::string_view name, std::map<std::string, sample>& out) {
    std::error_code ec;
    const auto found =
        cohold::inspect_contents<Mechanism>(name, cohold::contents_extent::counts, ec);
    if (!ec && found.state.is_segment()) {
        out.emplace(name, sample_of(found));
    }
}

// The current state by name: of one segment, or of all.
inline std::map<std::string, sample> samples(const arguments& asked, std::string_view name) {
    std::map<std::string, sample> out;
    if (!name.empty()) {
        with_mechanism(asked.where, [&]<class Mechanism>(Mechanism) {
            add_sample<Mechanism>(name, out);
            return 0;
        });
        return out;
    }
    std::error_code ec;
    for (const cohold::object_entry& each : cohold::list_objects(places_of(asked, false), ec)) {
        if (!each.is_segment() || each.name.empty()) {
            continue;
        }
        if (each.kind == cohold::object_kind::posix) {
            add_sample<cohold::mechanism::posix>(each.name, out);
        } else if (each.kind == cohold::object_kind::system_v) {
            add_sample<cohold::mechanism::system_v>(each.name, out);
        } else {
            add_sample<cohold::mechanism::file>(each.name, out);
        }
    }
    return out;
}

inline std::string rate(std::uint64_t before, std::uint64_t now, double seconds) {
    const double change = static_cast<double>(now) - static_cast<double>(before);
    if (change == 0) {
        return "";
    }
    const double each = (change < 0 ? -change : change) / seconds;
    return (change < 0 ? "-" : "+") + size_text(static_cast<std::uint64_t>(each)) + "/s";
}

// All in one line.
inline std::string summary(const std::map<std::string, sample>& all, std::string_view directory) {
    sample sum;
    for (const auto& [name, each] : all) {
        sum.size += each.size;
        sum.used += each.used;
        sum.participants += each.participants;
        sum.dead += each.dead;
    }
    std::string out = number(all.size()) + (all.size() == 1 ? " segment, " : " segments, ") +
                      size_text(sum.size) + ", " + size_text(sum.used) + " in use by objects, " +
                      number(sum.participants) + " participants" +
                      (sum.dead != 0 ? ", " + number(sum.dead) + " of them dead" : "");
    std::error_code ec;
    const cohold::space_usage space = cohold::space_usage_of(directory, ec);
    if (!ec && space.limited) {
        out += "; " + shown(directory) + ": " + size_text(space.available) + " of " +
               size_text(space.size) + " free";
    }
    return out;
}

// The names, those first whose use of memory changes most, then the largest.
inline std::vector<std::string> in_order(const std::map<std::string, sample>& now,
                                         const std::map<std::string, sample>& before) {
    std::vector<std::string> names;
    for (const auto& [name, each] : now) {
        names.push_back(name);
    }
    const auto change = [&](const std::string& name) {
        const auto found = before.find(name);
        const std::uint64_t is = now.at(name).used;
        const std::uint64_t was = found == before.end() ? is : found->second.used;
        return is > was ? is - was : was - is;
    };
    std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
        return std::pair(change(a), now.at(a).used) > std::pair(change(b), now.at(b).used);
    });
    return names;
}

inline int watch(const arguments& asked, std::string_view name, double seconds) {
    using clock = std::chrono::steady_clock;
    std::map<std::string, sample> before = samples(asked, name);
    if (before.empty() && !name.empty()) {
        std::fprintf(stderr, "cohold_inspect: %s is no segment that can be opened\n",
                     shown(name).c_str());
        return wrong_usage;
    }
    const key_watch keys;
    const std::string directory =
        asked.of_files() && name.empty() ? std::string(asked.words[0]) : std::string("/dev/shm");
    clock::time_point then = clock::now();
    for (unsigned round = 0; asked.count == 0 || round < asked.count; ++round) {
        if (keys.wait(round == 0 && keys.active() ? std::min(seconds, 0.2) : seconds)) {
            return good;
        }
        std::map<std::string, sample> now = samples(asked, name);
        const clock::time_point at = clock::now();
        const double passed = std::chrono::duration<double>(at - then).count();
        json out;
        out.begin('{').number("milliseconds", static_cast<std::uint64_t>(passed * 1000));
        out.key("segments").begin('[');
        table rows({"NAME", "STANDING", "SIZE", "", "USED", "", "PARTICIPANTS", "DEAD", "OBJECTS"});
        std::size_t lines = key_watch::lines();
        for (const std::string& its_name : in_order(now, before)) {
            const sample& its = now.at(its_name);
            const auto found = before.find(its_name);
            const sample& was = found == before.end() ? its : found->second;
            out.begin('{').text("name", its_name).text("standing", its.standing);
            out.number("size", its.size).number("used", its.used);
            out.number("participants", its.participants).number("dead", its.dead);
            out.number("objects", its.objects).key("changed").begin('{');
            const auto change = [&](const char* key, std::uint64_t from, std::uint64_t to) {
                out.key(key).signed_number(static_cast<std::int64_t>(to - from));
            };
            change("size", was.size, its.size);
            change("used", was.used, its.used);
            change("participants", was.participants, its.participants);
            change("objects", was.objects, its.objects);
            out.end('}').end('}');
            if (lines-- == 0 && keys.active()) {
                break;
            }
            rows.add({shown(its_name), its.standing, size_text(its.size),
                      rate(was.size, its.size, passed), size_text(its.used),
                      rate(was.used, its.used, passed), number(its.participants),
                      cell(number(its.dead), its.dead != 0 ? colour::bad : colour::none),
                      number(its.objects)});
        }
        out.end(']').end('}');
        if (asked.json) {
            out.print();
        } else {
            std::printf("%s", has_colours() ? "\033[H\033[2J" : round == 0 ? "" : "\n");
            std::printf("%s\n%s\n", summary(now, directory).c_str(),
                        keys.active() ? "q ends\n" : "");
            rows.print();
            std::fflush(stdout);
        }
        if (now.empty() && !name.empty()) {
            return good; // it has gone
        }
        before = std::move(now);
        then = at;
    }
    return good;
}

} // namespace inspector

#endif
