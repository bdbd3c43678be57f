// A table that several processes change at the same time, while another one reads it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

// #region type
struct account {
    std::int64_t balance;
    std::uint32_t bookings;
};

using accounts = cohold::shm_hash_map<std::uint64_t, account>;

// #endregion type

namespace {

constexpr std::uint64_t customers = 100;

void book(accounts& all) {
    for (std::uint64_t i = 0; i < 10000; ++i) {
        // #region change
        const std::uint64_t number = i % customers;
        all.try_emplace(number); // if it is not there yet
        all.update(number, [](account& of) {
            of.balance += 5;
            of.bookings += 1;
        });
        // #endregion change
    }
}

} // namespace

int main() {
    const std::string name = "cohold-example-hash-map." + std::to_string(getpid());
    {
        // #region make
        const auto segment = cohold::segment<>::create(name);
        accounts& all = segment.find_or_construct<accounts>("accounts");
        // #endregion make

        const pid_t other = fork();
        check(other >= 0);
        if (other == 0) {
            book(*cohold::segment<>::open(name).find<accounts>("accounts"));
            _exit(0);
        }
        book(all);
        int status = 0;
        check(waitpid(other, &status, 0) == other && status == 0);

        // #region read
        const auto view =
            cohold::segment<>::open(name, cohold::read_only); // only reads, and never waits
        const accounts& seen = *view.find<accounts>("accounts");
        const std::optional<account> one = seen.get(7);
        check(one && one->balance == 1000 && one->bookings == 200);
        check(!seen.contains(customers));

        std::int64_t sum = 0;
        seen.cvisit_all([&](const auto& each) { sum += each.second.balance; });
        check(sum == 2 * 10000 * 5);
        // #endregion read

        // #region erase
        all.erase(7);
        all.erase_if([](const auto& each) { return each.second.balance < 0; });
        // #endregion erase
        check(all.size() == customers - 1);
    }
    cohold::segment<>::remove(name);
}
