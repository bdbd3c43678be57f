// Values with their mutex: changed as a whole, or not at all.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <chrono>
#include <cstdint>
#include <stdexcept>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct account {
    std::int64_t balance = 0;
    cohold::shm_vector<std::int64_t> entries;
};

struct bank {
    cohold::shm_guarded<account> giro;
    cohold::shm_guarded<account> savings;
};

struct samples {
    std::int64_t used = 0;
    std::array<double, 10000> values{};
};

// #endregion types

namespace {

using namespace std::chrono_literals;

// #region nested
void enter(account& to, std::int64_t amount) {
    to.entries.push_back(amount);
    to.balance += amount;
    if (to.balance < 0) {
        throw std::runtime_error("insufficient funds");
    }
}

void move(bank& shared, std::int64_t amount) {
    const auto savings = shared.savings.lock();
    enter(*savings, amount);
    const auto giro = shared.giro.lock();
    enter(*giro, -amount);
}

// #endregion nested

void salary(account& to) {
    enter(to, 100);
}

} // namespace

int main() {
    cohold::segment<>::remove("example-guarded");
    {
        const auto segment = cohold::segment<>::create("example-guarded");
        auto& shared = segment.construct<bank>("bank");

        // #region use
        shared.giro.with(salary);

        if (const auto giro = shared.giro.try_lock_for(1s)) { // a guard is a pointer
            check(giro->balance == 100 && giro->entries.size() == 1);
        }
        // #endregion use

        // #region throws
        move(shared, 30);
        try {
            move(shared, 100); // from the 70 that are left
        } catch (const std::runtime_error&) {
        }
        check(shared.giro.lock()->balance == 70);
        check(shared.savings.lock()->balance == 30); // the 100 were rolled back
        check(shared.savings.lock()->entries.size() == 1);
        // #endregion throws

        auto& measured = segment.construct<cohold::shm_guarded<samples>>("samples");
        // #region snapshot
        const auto view = cohold::segment<>::open("example-guarded", cohold::read_only);
        const auto* const seen = view.find<cohold::shm_guarded<samples>>("samples");
        const samples now = seen->snapshot();
        // #endregion snapshot
        check(now.used == 0);

        // #region save
        static_assert(cohold::shm_guarded<account>::saved_bytes == sizeof(std::int64_t));
        static_assert(cohold::shm_guarded<samples>::saved_bytes == 0); // more than 4096 bytes

        const auto guard = measured.lock();
        guard.save(guard->used);
        guard.save(&guard->values[0], 2); // what is going to change
        guard->used = 2;
        guard->values[0] = 0.5;
        guard->values[1] = 0.25;
        // #endregion save
    }
    check(cohold::segment<>::remove("example-guarded"));
}
