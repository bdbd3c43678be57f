// shm_string, compared with std::string and Boost.Interprocess's string in shared memory.
//
// "cohold" is in a segment, so each change is saved first; "cohold, on the stack" is a local
// object, as a temporary is.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::contest;
using bench::sample;
using bench::time_of;
using goals = std::vector<bench::goal>;

constexpr std::size_t count = 1000; // in the first-level cache
constexpr int repeats = 200;
constexpr std::string_view short_text = "a short text"; // 12 characters
constexpr std::string_view long_text = "a text that is longer than what fits into a string itself";

struct cohold_home {
    static constexpr const char* name = "cohold";
    using string = cohold::shm_string;

    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(
            {.size = 1 << 20, .reserve = std::size_t{1} << 26});
    string* strings = segment.construct<cohold::shm_vector<string>>("s", count).data();

    template <class Text>
    void construct(string* at, const Text& text) {
        segment.allocator<char>().construct(at, text);
    }
};

struct stack_home {
    static constexpr const char* name = "cohold, outside";
    using string = cohold::shm_string;
    std::vector<string> memory = std::vector<string>(count);
    string* strings = memory.data();

    template <class Text>
    void construct(string* at, const Text& text) {
        ::new (static_cast<void*>(at)) string(text);
    }
};

struct std_home {
    static constexpr const char* name = "std";
    using string = std::string;
    std::vector<string> memory = std::vector<string>(count);
    string* strings = memory.data();

    template <class Text>
    void construct(string* at, const Text& text) {
        ::new (static_cast<void*>(at)) string(text);
    }
};

struct boost_home {
    static constexpr const char* name = "boost";
    using allocator = bip::allocator<char, bip::managed_shared_memory::segment_manager>;
    using string = bip::basic_string<char, std::char_traits<char>, allocator>;

    std::string object = bench::own_name("strings");
    bip::managed_shared_memory segment{bip::create_only, object.c_str(), std::size_t{1} << 26};
    bool removed = bip::shared_memory_object::remove(object.c_str());
    string* strings =
        segment.construct<string>("s")[count](allocator(segment.get_segment_manager()));

    template <class Text>
    void construct(string* at, const Text& text) {
        ::new (static_cast<void*>(at))
            string(text.data(), text.size(), allocator(segment.get_segment_manager()));
    }
};

// A row with all homes; `run(home)` is one pass over all strings.
template <class First, class... Homes, class Prepare, class Run>
contest row(const char* name, const goals& wanted, int series, int rounds, Prepare prepare,
            Run run) {
    contest all(name, wanted);
    for (int i = 0; i < series; ++i) {
        contest one(name);
        const auto add = [&]<class Home>(std::type_identity<Home>) {
            auto home = std::make_shared<Home>();
            prepare(*home);
            one.add(Home::name, [home, run]() -> sample {
                return time_of(count * repeats, [&] {
                    for (int each = 0; each < repeats; ++each) {
                        run(*home);
                    }
                });
            });
        };
        add(std::type_identity<First>());
        (add(std::type_identity<Homes>()), ...);
        all.join(one.measure(rounds).keep_best());
    }
    return all;
}

template <class String, class Text>
[[gnu::noipa]] void assign_all(String* strings, const Text& text) {
    for (std::size_t i = 0; i < count; ++i) {
        strings[i].assign(text.data(), text.size());
    }
}

template <class Home>
[[gnu::noipa]] void construct_all(Home& home, std::string_view text) {
    using string = typename Home::string;
    for (std::size_t i = 0; i < count; ++i) {
        home.strings[i].~string();
        home.construct(home.strings + i, text);
    }
}

template <class String>
[[gnu::noipa]] void append_all(String* strings, std::string_view text) {
    for (std::size_t i = 0; i < count; ++i) {
        strings[i].clear();
        strings[i].append(text.data(), text.size());
    }
}

template <class String>
[[gnu::noipa]] void push_all(String* strings) {
    for (std::size_t i = 0; i < count; ++i) {
        strings[i].pop_back();
        strings[i].push_back('x');
    }
}

template <class String>
[[gnu::noipa]] std::size_t compare_all(const String* strings) {
    std::size_t same = 0;
    for (std::size_t i = 1; i < count; ++i) {
        same += strings[i] == strings[i - 1] ? 1 : 0;
    }
    return same;
}

template <class String>
[[gnu::noipa]] std::size_t less_all(const String* strings) {
    std::size_t less = 0;
    for (std::size_t i = 1; i < count; ++i) {
        less += strings[i] < strings[i - 1] ? 1 : 0;
    }
    return less;
}

template <class String>
[[gnu::noipa]] std::size_t read_all(const String* strings) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
        sum += static_cast<unsigned char>(strings[i][strings[i].size() / 2]);
    }
    return sum;
}

std::vector<contest> rows(int series, int rounds) {
    const goals as_std{{bench::bound::at_most, 1.1, {"std"}}};
    const goals no_goal;
    const auto filled = [](std::string_view text) {
        return [text](auto& home) { assign_all(home.strings, text); };
    };
    std::vector<contest> all;
    const auto add = [&](const char* name, const goals& wanted, std::string_view text, auto run) {
        all.push_back(row<cohold_home, stack_home, std_home, boost_home>(
            name, wanted, series, rounds, filled(text), run));
    };
    const auto add_long = [&](const char* name, const goals& wanted, std::string_view text,
                              auto run) {
        all.push_back(row<cohold_home, std_home, boost_home>(name, wanted, series, rounds,
                                                             filled(text), run));
    };
    add("destroy and construct, 12 characters", as_std, short_text,
        [](auto& home) { construct_all(home, short_text); });
    add("assign 12 characters", no_goal, short_text,
        [](auto& home) { assign_all(home.strings, short_text); });
    add("clear and append 12 characters", as_std, short_text,
        [](auto& home) { append_all(home.strings, short_text); });
    add("pop_back and push_back, 12 characters", as_std, short_text,
        [](auto& home) { push_all(home.strings); });
    add("compare 12 characters, ==", as_std, short_text,
        [](auto& home) { bench::keep(compare_all(home.strings)); });
    add("compare 12 characters, <", as_std, short_text,
        [](auto& home) { bench::keep(less_all(home.strings)); });
    add("read a character, of 12", no_goal, short_text,
        [](auto& home) { bench::keep(read_all(home.strings)); });
    add_long("destroy and construct, 57 characters", no_goal, long_text,
             [](auto& home) { construct_all(home, long_text); });
    add_long("clear and append 57 characters", no_goal, long_text,
             [](auto& home) { append_all(home.strings, long_text); });
    add_long("compare 57 characters, ==", no_goal, long_text,
             [](auto& home) { bench::keep(compare_all(home.strings)); });
    return all;
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    bench::table("Strings", "ns an operation", 1, bench::shown::time)
        .print(rows(settings.rounds(15), 6));
}
