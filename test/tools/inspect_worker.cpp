// For inspect_tool.py: makes segments, and works in them until it is killed.
//
//   inspect_worker MECHANISM NAME make|session|work|wait|verify|remove
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include <cohold/cohold.hpp>

#include <unistd.h>

#include "../../docs/examples/options.hpp"

namespace {

constexpr cohold::segment_options small{.size = 65536, .reserve = 1 << 22};

// Objects are made, grow and are destroyed, in sections of several steps, until the process is
// killed.
template <class Segment>
[[noreturn]] void work(const Segment& in) {
    using vector = cohold::shm_vector<std::uint64_t>;
    std::mt19937 random(static_cast<unsigned>(::getpid()));
    for (;;) {
        const std::string name = "vector " + std::to_string(random() % 20);
        std::error_code ec;
        if (random() % 4 == 0) {
            in.template destroy<vector>(name, ec);
        } else if (vector* const made = in.template find_or_construct<vector>(name, ec)) {
            static_cast<void>(made);
        }
        const auto own = "of " + std::to_string(::getpid()) + " " + std::to_string(random() % 5);
        if (vector* const mine = in.template find_or_construct<vector>(own, ec)) {
            mine->resize(random() % 500, random());
            if (random() % 8 == 0) {
                in.template destroy<vector>(own, ec);
            }
        }
    }
}

template <class Mechanism>
int run(const char* name, std::string_view what) {
    using segment = cohold::segment<Mechanism>;
    if (what == "make" || what == "session") {
        cohold::segment_options options = small;
        options.lifetime =
            what == "session" ? cohold::lifetime::session : cohold::lifetime::persistent;
        static const auto made = segment::create(name, options);
        made.template construct<std::int32_t>("answer", 42);
        made.template construct<cohold::shm_vector<double>>("a \"name\" \x1b[31m\xff\n");
        if (what == "session") {
            std::_Exit(0); // leaves it behind
        }
        return 0;
    }
    if (what == "remove") {
        return segment::remove(name) ? 0 : 1;
    }
    const auto opened = segment::open(name);
    if (what == "wait" || what == "work") {
        opened.template find_or_construct<std::int32_t>("answer", 42);
        std::printf("ready\n");
        std::fflush(stdout);
        if (what == "wait") {
            ::pause();
        }
        work(opened);
    }
    // Everything can be used.
    for (const cohold::object_info& each : opened.objects()) {
        if (each.name.substr(0, 3) == "of " || each.name.substr(0, 6) == "vector") {
            opened.template find<cohold::shm_vector<std::uint64_t>>(each.name)->push_back(1);
        }
    }
    return opened.template find<std::int32_t>("answer") != nullptr ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    ::alarm(100);
    if (argc != 4) {
        return options::usage("inspect_worker MECHANISM NAME WHAT");
    }
    return options::guarded([&] {
        return options::with_named_mechanism(
            argv[1], [&]<class Mechanism>(Mechanism) { return run<Mechanism>(argv[2], argv[3]); });
    });
}
