// The operations of shm_string, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "crash/operations.hpp"

namespace {

using cohold::shm_string;
using crash::registry;
using names = cohold::shm_vector<shm_string>;

// A member of a struct with another, for operations that take two.
struct two {
    shm_string it;
    shm_string other;

    std::string tell() { return crash::tell(it) + " and " + crash::tell(other); }
};

struct state {
    const char* name;
    const char* text;
    std::size_t room;
};

constexpr const char* word = "fresh";
constexpr const char* sentence = "a text that needs a block of its own";

constexpr state states[] = {
    {"empty", "", 0},
    {"short", "short", 0},
    {"short, and full", "twenty-two characters.", 0},
    {"long, with room", "a long text, with a little room", 100},
    {"long, about to grow", "a long text with 31 characters.", 0},
};

// An operation on a string in the states that have so many characters and, unless `all_states`,
// room for a few more.
template <class Act>
void on_each(registry& all, const char* name, std::size_t least, const Act& act,
             const char* other = sentence, const char* how = "", bool all_states = false) {
    for (const state& each : states) {
        const std::size_t size = std::string_view(each.text).size();
        if (size >= least && (all_states || size == 5 || each.room != 0)) {
            all.add<two>(
                std::string("shm_basic_string::") + name, each.name + std::string(how),
                [each, other](const crash::segment& where) {
                    auto& both = where.construct<two>(crash::subject);
                    both.it.reserve(each.room);
                    both.it = each.text;
                    both.other = other;
                },
                act);
        }
    }
}

void declare_changes(registry& all) {
    on_each(all, "push_back", 0, [](two& s) { s.it.push_back('!'); }, word, "", true);
    on_each(all, "pop_back", 1, [](two& s) { s.it.pop_back(); });
    on_each(all, "append", 0, [](two& s) { s.it.append(word); }, word, "", true);
    on_each(all, "append", 1, [](two& s) { s.it.append(s.it); }, word, ", itself");
    on_each(all, "append_range", 0, [](two& s) { s.it.append_range(s.other); });
    on_each(all, "try_append", 0, [](two& s) { return s.it.try_append(word); }, word, "", true);
    on_each(all, "operator+=", 0, [](two& s) { s.it += s.other; }, word);
    on_each(all, "assign", 0, [](two& s) { s.it.assign(word); });
    on_each(all, "assign", 0, [](two& s) { s.it.assign(sentence); }, word, ", a long text");
    on_each(all, "assign_range", 0, [](two& s) { s.it.assign_range(s.other); }, word);
    on_each(all, "try_assign", 0, [](two& s) { return s.it.try_assign(sentence); });
    on_each(all, "operator=", 0, [](two& s) { s.it = s.other; }, word, ", copy");
    on_each(all, "operator=", 0, [](two& s) { s.it = std::move(s.other); }, word, ", move");
    on_each(
        all, "operator=", 0, [](two& s) { s.it = std::move(s.other); }, sentence,
        ", move a long text");
    on_each(all, "swap", 0, [](two& s) { s.it.swap(s.other); }, word);
    on_each(all, "swap", 0, [](two& s) { s.it.swap(s.other); }, sentence, ", a long text");
    on_each(all, "insert", 1, [](two& s) { s.it.insert(1, word); }, word, "", true);
    on_each(all, "insert_range", 1, [](two& s) { s.it.insert_range(s.it.begin(), s.other); }, word);
    on_each(all, "erase", 3, [](two& s) { s.it.erase(1, 2); });
    on_each(all, "replace", 3, [](two& s) { s.it.replace(1, 2, word); }, word, ", longer");
    on_each(all, "replace", 5, [](two& s) { s.it.replace(0, 5, "abc"); }, word, ", shorter");
    on_each(all, "replace", 5, [](two& s) { s.it.replace(1, 3, "abc"); }, word, ", alike");
    on_each(
        all, "replace_with_range", 3,
        [](two& s) { s.it.replace_with_range(s.it.begin(), s.it.begin() + 3, s.other); }, word);
    on_each(all, "resize", 0, [](two& s) { s.it.resize(s.it.size() + 3, '.'); }, word, ", larger");
    on_each(all, "resize", 3, [](two& s) { s.it.resize(2); }, word, ", smaller");
    on_each(all, "resize_and_overwrite", 0, [](two& s) {
        s.it.resize_and_overwrite(7, [](char* text, std::size_t) {
            text[0] = 'x';
            text[1] = 'y';
            return std::size_t{2};
        });
    });
    on_each(all, "clear", 1, [](two& s) { s.it.clear(); });
    on_each(all, "reserve", 0, [](two& s) { s.it.reserve(150); });
    on_each(all, "try_reserve", 0, [](two& s) { return s.it.try_reserve(150); });
    on_each(all, "shrink_to_fit", 0, [](two& s) { s.it.shrink_to_fit(); });
    all.add<two>(
        "shm_basic_string::shrink_to_fit", "short, in a block",
        [](const crash::segment& where) {
            auto& both = where.construct<two>(crash::subject);
            both.it.reserve(100);
            both.it = "short";
        },
        [](two& s) { s.it.shrink_to_fit(); });
}

// Many characters behind the place: they are moved in steps.
void declare_long(registry& all) {
    const auto on = [&](const char* name, const char* how, auto act) {
        all.add<shm_string>(
            std::string("shm_basic_string::") + name, how,
            [](const crash::segment& where) {
                auto& made = where.construct<shm_string>(crash::subject);
                made.reserve(1500);
                for (int i = 0; i < 100; ++i) {
                    made += "0123456789";
                }
            },
            act);
    };
    on("insert", "1,000 characters, one at the front", [](shm_string& s) {
        if (s.size() < s.capacity()) {
            s.insert(0, 1, '+');
        }
    });
    on("replace", "1,000 characters, two by 300 in the middle", [](shm_string& s) {
        if (s.size() + 298 <= s.capacity()) {
            s.replace(400, 2, 300, '*');
        }
    });
    on("erase", "1,000 characters, 100 at the front", [](shm_string& s) { s.erase(0, 100); });
    on("assign", "1,000 characters", [](shm_string& s) { s.assign(word); });
}

// Strings as elements, which a vector constructs, moves and destroys.
void declare_elements(registry& all) {
    const auto on = [&](const char* name, std::size_t room, const char* how, auto act) {
        all.add<names>(
            std::string("shm_vector::") + name, how,
            [room](const crash::segment& where) {
                auto& made = where.construct<names>(crash::subject);
                made.reserve(room);
                made.emplace_back("one");
                made.emplace_back(sentence);
                made.emplace_back("three");
            },
            act);
    };
    on("emplace_back", 3, "strings, about to grow", [](names& v) { v.emplace_back(word); });
    on("emplace_back", 4, "strings, with room", [](names& v) { v.emplace_back(sentence); });
    on("insert", 4, "strings, with room", [](names& v) { v.emplace(v.begin(), word); });
    on("erase", 4, "strings", [](names& v) { v.erase(v.begin()); });
    on("erase", 4, "strings, the last two", [](names& v) {
        if (v.size() > 1) {
            v.erase(v.end() - 2, v.end());
        }
    });
    on("pop_back", 4, "strings", [](names& v) { v.pop_back(); });
    // Not from an initializer_list: that is on the stack, and a kill leaks what it owns.
    on("assign", 4, "strings", [](names& v) {
        if (v.size() > 1) {
            v.assign(2, v[1]);
        }
    });
}

} // namespace

void crash::declare(registry& all) {
    declare_changes(all);
    declare_long(all);
    declare_elements(all);
}
