// repair and remove: the commands that change something.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TOOLS_INSPECT_CHANGE_HPP
#define COHOLD_TOOLS_INSPECT_CHANGE_HPP

#include "show.hpp"

namespace inspector {

// A user who names a segment means that segment; root may name another user's, whatever its mode.
struct mine_or_root {
    static constexpr mode_t bits = 0666;

    static bool accepts(const cohold::object_status& status) noexcept {
        return status.owner == ::geteuid() || ::geteuid() == 0;
    }
};

struct repair_report {
    const char* outcome = "";
    std::uint64_t recovered = 0; // participants
    std::uint64_t undone = 0;    // records of their journals
    bool is_good = false;
};

inline int print_repair(const arguments& asked, const repair_report& done,
                        const cohold::segment_contents& after) {
    if (asked.json) {
        json out;
        out.begin('{').text("name", asked.words[0]).text("outcome", done.outcome);
        out.number("recovered", done.recovered).number("records", done.undone);
        write_flaws(out, after);
        out.end('}').print();
    } else {
        std::printf("%s: %s\n", shown(asked.words[0]).c_str(),
                    in_colour(done.is_good ? colour::good : colour::bad, done.outcome).c_str());
        if (done.recovered != 0) {
            std::printf("%llu %s recovered; %llu %s undone or finished\n",
                        static_cast<unsigned long long>(done.recovered),
                        done.recovered == 1 ? "dead participant was" : "dead participants were",
                        static_cast<unsigned long long>(done.undone),
                        done.undone == 1 ? "record of a journal was" : "records of journals were");
        }
        print_flaws(after);
    }
    return done.is_good ? good : found_damage;
}

inline bool is_dead(const cohold::segment_state& in, std::uint32_t slot) {
    for (const cohold::participant& each : in.participants) {
        if (each.slot == slot) {
            return each.state == cohold::verdict::dead;
        }
    }
    return false;
}

// Every process that attaches recovers; damage that recovery does not mend is left alone,
// because working on such a heap could make it worse.
inline int repair(const arguments& asked) {
    return with_mechanism(asked.where, [&]<class Mechanism>(Mechanism) -> int {
        using its_segment =
            cohold::segment<Mechanism, typename Mechanism::default_naming, mine_or_root>;
        const std::string_view name = asked.words[0];
        std::error_code ec;
        const auto before = cohold::inspect_contents<Mechanism>(name, ec);
        if (ec) {
            return cannot_open(asked);
        }
        repair_report done;
        if (before.is_good()) {
            done.outcome = "good, nothing to do";
            done.is_good = true;
            return print_repair(asked, done, before);
        }
        if (before.state.standing == cohold::standing::session_over) {
            done.outcome = "its session is over: `remove --stale` removes it";
            return print_repair(asked, done, before);
        }
        if (!before.is_mendable()) {
            done.outcome = "damaged; recovery does not mend that, and has not been tried";
            return print_repair(asked, done, before);
        }
        const auto opened = its_segment::open(name, ec);
        if (!ec) {
            static_cast<void>(opened.recover(ec));
        }
        if (ec) {
            return cannot_open(asked);
        }
        const auto after = cohold::inspect_contents<Mechanism>(name, ec);
        if (ec) {
            return cannot_open(asked);
        }
        for (const cohold::participant& each : before.state.participants) {
            const bool was = each.state == cohold::verdict::dead;
            done.recovered += was && !is_dead(after.state, each.slot) ? 1u : 0u;
        }
        for (const cohold::stored_journal& each : before.journals) {
            done.undone += is_dead(before.state, each.participant) ? each.records : 0;
        }
        done.is_good = after.is_good();
        done.outcome = done.is_good ? "repaired" : "still not in order after recovery";
        return print_repair(asked, done, after);
    });
}

inline int remove_stale(const arguments& asked) {
    cohold::stale_options where;
    where.dry_run = asked.dry_run;
    if (asked.chosen) {
        where.system_v = asked.where == place::system_v;
        where.directory = asked.of_files()              ? std::string(asked.words[0])
                          : asked.where == place::posix ? "/dev/shm"
                                                        : "";
    }
    std::error_code ec;
    const auto found = cohold::remove_stale(where, ec);
    if (ec) {
        return cannot_open(asked);
    }
    bool all = true;
    json out;
    out.begin('{').boolean("dry_run", asked.dry_run).number("refused", found.refused);
    out.key("stale").begin('[');
    table rows({"KIND", "NAME", "SIZE", "WHY", ""});
    for (const cohold::stale_object& each : found) {
        const char* const why =
            each.why == cohold::stale_reason::session_over ? "session over" : "unfinished";
        all = all && (each.removed || asked.dry_run);
        out.begin('{').text("kind", cohold::name_of(each.kind)).text("name", each.name);
        out.number("size", each.size).text("why", why).boolean("removed", each.removed);
        out.text("error", each.error ? each.error.message() : "").end('}');
        rows.add({std::string(cohold::name_of(each.kind)), shown(each.name), size_text(each.size),
                  why,
                  each.removed    ? cell("removed", colour::good)
                  : asked.dry_run ? cell("would be removed")
                                  : cell(each.error.message(), colour::bad)});
    }
    out.end(']').end('}');
    if (asked.json) {
        out.print();
    } else if (found.empty()) {
        std::printf("nothing is stale\n");
    } else {
        rows.print();
    }
    if (!asked.json && found.refused != 0) {
        std::printf("%zu were not to be looked at\n", found.refused);
    }
    return all ? good : found_damage;
}

} // namespace inspector

#endif
