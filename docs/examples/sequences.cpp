// Lists and double-ended queues in a segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdint>

#include <cohold/cohold.hpp>

#include "check.hpp"

int main() {
    cohold::segment<>::remove("example-sequences");
    {
        // #region use
        const auto segment = cohold::segment<>::create("example-sequences");

        using tasks = cohold::shm_list<cohold::shm_string>;

        struct board {
            tasks waiting;
            tasks done;
        };

        auto& shared = segment.construct<cohold::shm_guarded<board>>("board");
        shared.with([](board& all) { // both lists change, or none
            all.waiting = {"write", "test", "measure"};
            all.waiting.sort();
            all.done.splice(all.done.end(), all.waiting, all.waiting.begin()); // nothing is copied
        });
        check(shared.lock()->done.front() == "measure");

        auto& recent = segment.construct<cohold::shm_deque<std::int64_t>>("recent");
        for (std::int64_t number = 0; number < 1000; ++number) {
            recent.push_back(number);
            if (recent.size() > 100) {
                recent.pop_front(); // its block is used again
            }
        }
        check(recent.front() == 900 && recent[50] == 950);
        // #endregion use
    }
    check(cohold::segment<>::remove("example-sequences"));
}
