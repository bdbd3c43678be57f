// Messages to everybody: one process trades, others record every trade, each at its own pace.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdio>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region write
struct trade {
    std::uint32_t share;
    std::uint32_t count;
    double price;
};

using all_trades = cohold::shared<cohold::shm_broadcast<trade>>;

void exchange(const all_trades& trades) {
    for (std::uint32_t i = 0; i < 1000; ++i) {
        trades->publish({i % 7, 100, 2.5}); // waits for no reader
    }
    auto place = trades->claim(); // written in place
    *place = {7, 1, 3.5};
    place.commit();
    trades->close();
}

// #endregion write

// #region read
std::uint64_t record() {
    const auto trades = all_trades::open("example-trades", cohold::read_only);
    auto reader = trades->subscribe(cohold::from::oldest);
    std::uint64_t seen = 0;
    while (const std::optional<trade> each = reader.next()) {
        ++seen;
        if (const std::uint64_t missed = reader.missed(); missed != 0) {
            std::printf("too slow: missed %llu trades\n", static_cast<unsigned long long>(missed));
            seen += missed;
        }
    }
    return seen + reader.missed();
}

// #endregion read

int main() {
    all_trades::remove("example-trades");
    {
        const auto trades = all_trades::create("example-trades", 256);
        pid_t readers[2];
        for (pid_t& reader : readers) {
            reader = fork();
            if (reader == 0) {
                _exit(record() <= 1001 ? 0 : 1);
            }
        }
        exchange(trades);
        for (const pid_t reader : readers) {
            int status = -1;
            check(waitpid(reader, &status, 0) == reader && status == 0);
        }
        check(trades->published() == 1001);
    }
    check(all_trades::remove("example-trades"));
}
