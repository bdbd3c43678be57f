// Ordered maps and sets in a segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <string_view>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct account {
    int cents;
    cohold::shm_set<cohold::shm_string> tags;
};

using accounts = cohold::shm_map<cohold::shm_string, account>;

// #endregion types

int main() {
    cohold::segment<>::remove("example-maps");
    {
        // #region use
        const auto segment = cohold::segment<>::create("example-maps");
        auto& all = segment.construct<cohold::shm_guarded<accounts>>("accounts");

        all.with([](accounts& map) { // one process at a time; all of it happens, or nothing
            map["Ada"].cents = 500;
            map["Ada"].tags.insert("first");
            map.try_emplace("Grace", 700);
            map["Charles"].cents = 900;
            map.erase("Charles");
        });

        const auto guard = all.lock();
        check(guard->size() == 2 && guard->contains("Ada"));
        for (const auto& [name, account] : *guard) { // in order
            std::printf("%s: %d\n", name.c_str(), account.cents);
        }
        const auto found = guard->find(std::string_view("Grace")); // any text will do
        check(found != guard->end() && found->second.cents == 700);
        // #endregion use
    }
    check(cohold::segment<>::remove("example-maps"));
}
