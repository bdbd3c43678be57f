// Text in a segment: by name, in a vector, as a member of a struct.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <string>
#include <string_view>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct user {
    cohold::shm_string name;
    int age;
};

// #endregion types

int main() {
    cohold::segment<>::remove("example-strings");
    {
        // #region use
        const auto segment = cohold::segment<>::create("example-strings");
        auto& motto = segment.construct<cohold::shm_string>("motto", "share");
        motto += " and share alike";
        motto.insert(0, "Share ");
        check(motto.starts_with("Share share") && motto.contains("alike"));

        auto& names = segment.construct<cohold::shm_vector<cohold::shm_string>>("names");
        names.emplace_back("Grace");
        names.push_back("Ada, Countess of Lovelace"); // made in the segment, as by emplace_back
        names[0] = std::string("Grace Brewster Murray Hopper"); // allocates in the segment
        std::ranges::sort(names);

        auto& users = segment.construct<cohold::shm_vector<user>>("users");
        users.emplace_back("Ada", 36);
        users[0].name += " Lovelace";

        // To and from the text of this process.
        const std::string_view seen = users[0].name;
        const std::string copied(names[1]);
        check(seen == "Ada Lovelace" && copied == names[1] && names[0] < "B");
        // #endregion use

        // #region outside
        // Made in the segment: of any length.
        users.emplace_back("Augusta Ada King, Countess of Lovelace", 36);
        users.emplace_back().name = "Grace Brewster Murray Hopper";

        // A long text on the stack needs an allocator of the segment. A kill would leak its memory.
        const cohold::shm_string bound("Charles Babbage of Walworth Road",
                                       segment.allocator<char>());
        users.push_back({bound, 79});
        // #endregion outside
        check(users.size() == 4 && users[3].name.starts_with("Charles"));

        // #region section
        auto& account = segment.construct<cohold::shm_guarded<user>>("account", "Ada", 36);
        account.with([](user& guarded) { // both change, or none: whatever kills the process here
            guarded.name = "Augusta Ada King, Countess of Lovelace";
            guarded.age = 37;
        });
        // #endregion section
        check(account.lock()->age == 37);
    }
    check(cohold::segment<>::remove("example-strings"));
}
