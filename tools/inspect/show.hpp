// show and check: what is in a segment, and whether it is in order.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TOOLS_INSPECT_SHOW_HPP
#define COHOLD_TOOLS_INSPECT_SHOW_HPP

#include <string>
#include <vector>

#include <cohold/inspect.hpp>

#include "arguments.hpp"
#include "printing.hpp"

namespace inspector {

inline const char* name_of(cohold::verdict state) {
    return state == cohold::verdict::alive  ? "alive"
           : state == cohold::verdict::dead ? "dead"
                                            : "unknown";
}

inline colour colour_of(cohold::standing how) {
    return how == cohold::standing::damaged  ? colour::bad
           : how == cohold::standing::in_use ? colour::good
                                             : colour::none;
}

// How much of each of `count` equal parts of the heap is used: 0 nothing, 1 up to a half, 2 more, 3
// all.
inline std::vector<int> heap_cells(const cohold::heap_map& heap, std::size_t count) {
    std::vector<int> out(count, 0);
    if (!heap.complete) {
        return out;
    }
    const std::uint64_t width = (heap.end - heap.begin) / count + 1;
    std::vector<std::uint64_t> used(count, 0);
    for (const cohold::heap_extent& each : heap.blocks) {
        std::uint64_t at = each.offset - 16 - heap.begin;
        std::uint64_t left = each.is_free ? 0 : each.bytes + 16;
        while (left != 0) {
            const std::uint64_t room = width - at % width;
            const std::uint64_t some = left < room ? left : room;
            used[static_cast<std::size_t>(at / width)] += some;
            at += some;
            left -= some;
        }
    }
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t begin = i * width;
        const std::uint64_t all = heap.end - heap.begin;
        const std::uint64_t whole = begin >= all ? 0 : all - begin < width ? all - begin : width;
        out[i] = used[i] == 0 ? 0 : used[i] >= whole ? 3 : used[i] * 2 > whole ? 2 : 1;
    }
    return out;
}

inline std::string sentence(const cohold::segment_flaw& flaw) {
    return std::string(cohold::name_of(flaw.part)) + ": " + std::string(flaw.what) + " (at " +
           hexadecimal(flaw.offset) + ": " + hexadecimal(flaw.found) + ")";
}

inline void write_flaws(json& out, const cohold::segment_contents& found) {
    out.boolean("good", found.is_good()).boolean("mendable", found.is_mendable());
    out.number("flaw_count", found.flaw_count).key("flaws").begin('[');
    for (const cohold::segment_flaw& each : found.flaws) {
        out.begin('{').text("part", cohold::name_of(each.part)).text("what", each.what);
        out.number("offset", each.offset).number("found", each.found);
        out.boolean("mends", each.mends).end('}');
    }
    out.end(']');
}

inline void write_participants(json& out, const cohold::segment_state& state) {
    out.key("participants").begin('[');
    for (const cohold::participant& each : state.participants) {
        out.begin('{').number("slot", each.slot).key("pid").signed_number(each.pid);
        out.text("state", name_of(each.state)).number("attached", each.attached);
        out.number("start_time", each.start_time).end('}');
    }
    out.end(']');
}

inline void write_state(json& out, const cohold::segment_state& state) {
    out.text("standing", cohold::name_of(state.standing)).text("full_name", state.name);
    out.text("problem", state.problem ? state.problem.message() : "");
    out.number("layout_version", state.layout_version);
    out.text("lifetime", state.lifetime == cohold::lifetime::session ? "session" : "persistent");
    out.number("size", state.size).number("reserve", state.reserve);
    out.number("created", state.created);
    write_participants(out, state);
}

inline json& write_contents(json& out, const cohold::segment_contents& found) {
    write_state(out, found.state);
    out.key("objects").begin('[');
    for (const cohold::stored_object& each : found.objects) {
        out.begin('{').text("name", each.name).text("type", each.type);
        out.text("description", each.description);
        out.number("offset", each.offset).number("bytes", each.bytes).key("state").begin('{');
        for (const cohold::object_fact& fact : each.state.facts) {
            out.number(fact.what, fact.value);
        }
        out.end('}').key("holders").begin('[');
        for (const cohold::object_holder& holder : each.state.holders) {
            out.begin('{').text("what", holder.what).number("count", holder.count);
            out.number("slot", holder.slot).key("pid").signed_number(holder.pid);
            out.text("state", name_of(holder.state)).end('}');
        }
        out.end(']').end('}');
    }
    out.end(']').key("heap").begin('{');
    out.number("begin", found.heap.begin).number("end", found.heap.end);
    out.number("used", found.heap.used).number("bytes_in_use", found.heap.bytes_in_use);
    out.number("bytes_free", found.heap.bytes_free);
    out.number("largest_free", found.heap.largest_free);
    out.number("blocks_in_use", found.heap.count_in_use);
    out.number("blocks_free", found.heap.count_free).key("map").begin('[');
    for (const int each : heap_cells(found.heap, 64)) {
        out.signed_number(each);
    }
    out.end(']').end('}').key("journals").begin('[');
    for (const cohold::stored_journal& each : found.journals) {
        out.begin('{').number("participant", each.participant).number("thread", each.thread);
        out.number("offset", each.offset).number("records", each.records);
        out.number("bytes", each.bytes).boolean("finishing", each.finishing).end('}');
    }
    out.end(']');
    write_flaws(out, found);
    return out;
}

inline void print_flaws(const cohold::segment_contents& found) {
    for (const cohold::segment_flaw& each : found.flaws) {
        std::printf("%s\n",
                    in_colour(each.mends ? colour::bold : colour::bad, sentence(each)).c_str());
    }
    if (found.flaw_count > found.flaws.size()) {
        std::printf("… and %llu more\n",
                    static_cast<unsigned long long>(found.flaw_count - found.flaws.size()));
    }
    if (found.lost) {
        std::printf("a part of it could not be read\n");
    }
}

inline void print_header(std::string_view name, const cohold::segment_state& state) {
    table rows({cell("segment"), cell(shown(name), colour::bold)});
    rows.add({"standing",
              cell(std::string(cohold::name_of(state.standing)), colour_of(state.standing))});
    if (state.problem) {
        rows.add({"problem", cell(state.problem.message(), colour::bad)});
    }
    if (state.reserve != 0) {
        rows.add({"full name", shown(state.name)});
        rows.add({"layout version", number(state.layout_version)});
        rows.add(
            {"lifetime", state.lifetime == cohold::lifetime::session ? "session" : "persistent"});
        rows.add({"size", size_text(state.size)});
        rows.add({"reserve", size_text(state.reserve)});
        rows.add({"created", time_text(state.created)});
    }
    rows.print();
}

// "size 3, capacity 10, closed": flags are said if they are set.
inline std::string in_words(const cohold::object_state& state) {
    std::string out;
    for (const cohold::object_fact& each : state.facts) {
        const bool is_flag = each.what == "closed" || each.what.ends_with(" wait");
        if (!is_flag || each.value != 0) {
            out += out.empty() ? "" : ", ";
            out += std::string(each.what) + (is_flag ? "" : " " + number(each.value));
        }
    }
    return out;
}

// What an object of the library says of itself, and the processes that have something of it.
inline void print_states(const std::vector<cohold::stored_object>& objects) {
    table rows({"NAME", "STATE", "HELD BY"});
    bool any = false;
    for (const cohold::stored_object& each : objects) {
        const std::string name = each.name.empty() ? "(root)" : shown(each.name);
        const std::string state = in_words(each.state);
        if (each.state.holders.empty() && !state.empty()) {
            rows.add({name, state, ""});
        }
        bool first = true;
        for (const cohold::object_holder& holder : each.state.holders) {
            const bool dead = holder.state == cohold::verdict::dead;
            std::string who = std::string(holder.what) +
                              (holder.count > 1 ? " (" + number(holder.count) + ")" : "") + ": ";
            who += holder.pid == 0
                       ? "a process that is gone"
                       : "process " + std::to_string(holder.pid) + ", " + name_of(holder.state);
            rows.add({first ? name : "", first ? state : "",
                      cell(who, dead ? colour::bad : colour::none)});
            first = false;
        }
        any = any || !state.empty() || !each.state.holders.empty();
    }
    if (any) {
        headline("state");
        rows.print();
    }
}

inline void print_contents(std::string_view name, const cohold::segment_contents& found) {
    print_header(name, found.state);
    if (!found.readable) {
        return;
    }
    headline("participants");
    table people({"SLOT", "PID", "STATE", "ATTACHED"});
    for (const cohold::participant& each : found.state.participants) {
        const bool dead = each.state == cohold::verdict::dead;
        people.add({number(each.slot), std::to_string(each.pid),
                    cell(name_of(each.state), dead ? colour::bad : colour::good),
                    time_text(each.attached)});
    }
    people.print();
    headline("objects");
    table objects({"NAME", "TYPE", "BYTES", "OFFSET", "MADE OF"});
    for (const cohold::stored_object& each : found.objects) {
        std::string made_of = shown(each.description);
        if (made_of.size() > 120) {
            made_of = shown(each.description.substr(0, 110)) + " …";
        }
        objects.add({each.name.empty() ? "(root)" : shown(each.name), shown(each.type),
                     number(each.bytes), hexadecimal(each.offset), made_of});
    }
    objects.print();
    print_states(found.objects);
    headline("heap");
    table heap({"", "BLOCKS", "BYTES"});
    heap.add({"in use", number(found.heap.count_in_use), number(found.heap.bytes_in_use)});
    heap.add({"  without journals", "", number(found.heap.used)});
    heap.add({"free", number(found.heap.count_free), number(found.heap.bytes_free)});
    heap.add({"  the largest", "", number(found.heap.largest_free)});
    heap.print();
    if (found.heap.complete) {
        std::string map;
        for (const int each : heap_cells(found.heap, 64)) {
            map += ".:+#"[each];
        }
        std::printf("[%s]  . free  : + in part  # in use\n", map.c_str());
    }
    headline("journals");
    table journals({"SLOT", "THREAD", "OFFSET", "RECORDS", "BYTES", ""});
    for (const cohold::stored_journal& each : found.journals) {
        journals.add({number(each.participant), each.thread == 0 ? "none" : number(each.thread),
                      hexadecimal(each.offset), number(each.records), number(each.bytes),
                      each.finishing ? "finishing" : ""});
    }
    journals.print();
    if (found.flaw_count != 0 || found.lost) {
        headline("flaws");
        print_flaws(found);
    }
}

// The text of the exception.
inline int cannot_open(const arguments& asked) {
    const std::string why = cohold::last_failure().what();
    if (asked.json) {
        json().begin('{').text("error", why).end('}').print();
    } else {
        std::fprintf(stderr, "cohold_inspect: %s\n", shown(why).c_str());
    }
    return wrong_usage;
}

inline int show(const arguments& asked) {
    return with_mechanism(asked.where, [&]<class Mechanism>(Mechanism) -> int {
        const std::string_view name = asked.words[0];
        std::error_code ec;
        const auto found = cohold::inspect_contents<Mechanism>(name, ec);
        if (ec) {
            return cannot_open(asked);
        }
        if (asked.json) {
            json out;
            write_contents(out.begin('{').text("name", name), found).end('}').print();
        } else {
            print_contents(name, found);
        }
        return found.is_good() ? good : found_damage;
    });
}

inline int check(const arguments& asked) {
    return with_mechanism(asked.where, [&]<class Mechanism>(Mechanism) -> int {
        const std::string_view name = asked.words[0];
        std::error_code ec;
        const auto found = cohold::inspect_contents<Mechanism>(name, ec);
        if (ec) {
            return cannot_open(asked);
        }
        if (asked.json) {
            json out;
            out.begin('{').text("name", name);
            out.text("standing", cohold::name_of(found.state.standing));
            out.text("problem", found.state.problem ? found.state.problem.message() : "");
            write_flaws(out, found);
            out.end('}').print();
        } else if (found.is_good()) {
            std::printf("%s: %s\n", shown(name).c_str(), in_colour(colour::good, "good").c_str());
        } else {
            std::printf("%s: %s\n", shown(name).c_str(),
                        in_colour(colour::bad, found.is_mendable()
                                                   ? "to be recovered (repair does it)"
                                                   : "damaged")
                            .c_str());
            if (found.state.problem) {
                std::printf("%s\n", found.state.problem.message().c_str());
            }
            print_flaws(found);
        }
        return found.is_good() ? good : found_damage;
    });
}

} // namespace inspector

#endif
