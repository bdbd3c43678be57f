// An order book: one process matches orders, any number look at the best prices without a lock.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <functional>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "../check.hpp"

// #region types
// Prices in ticks; at each price the quantity that is offered or wanted.
struct order_book {
    cohold::shm_map<std::int64_t, std::int64_t, std::greater<>> bids; // the highest first
    cohold::shm_map<std::int64_t, std::int64_t> asks;                 // the lowest first
    std::uint64_t last_order = 0;                                     // the last that was applied
};

struct best_prices {
    std::int64_t bid = 0;
    std::int64_t ask = 0;
    std::uint64_t as_of = 0;
};

struct order {
    std::uint64_t number;
    bool buys;
    std::int64_t price;
    std::int64_t quantity;
};

struct market {
    cohold::shm_guarded<order_book> book;
    cohold::shm_guarded<best_prices> best;
};

// #endregion types

namespace {

// #region match
template <class Own, class Other>
void match(order wanted, Own& own, Other& other) {
    while (wanted.quantity > 0 && !other.empty()) {
        const auto level = other.begin(); // the best price of the other side
        if (wanted.buys ? level->first > wanted.price : level->first < wanted.price) {
            break;
        }
        const std::int64_t traded = std::min(wanted.quantity, level->second);
        wanted.quantity -= traded;
        if (traded == level->second) {
            other.erase(level);
        } else {
            other.insert_or_assign(level->first, level->second - traded);
        }
    }
    if (wanted.quantity > 0) {
        const auto level = own.find(wanted.price);
        own.insert_or_assign(wanted.price,
                             wanted.quantity + (level == own.end() ? 0 : level->second));
    }
}

// One section: the whole order is applied, with its number, or nothing of it.
void apply(market& in, const order& wanted, bool dies = false) {
    const auto book = in.book.lock();
    if (wanted.number <= book->last_order) {
        return; // a restarted process may send again what it is not sure about
    }
    if (wanted.buys) {
        match(wanted, book->bids, book->asks);
    } else {
        match(wanted, book->asks, book->bids);
    }
    book->last_order = wanted.number;
    if (dies) {
        std::raise(SIGKILL);
    }
    const auto best = in.best.lock(); // a part of the same section
    *best = {book->bids.empty() ? 0 : book->bids.begin()->first,
             book->asks.empty() ? 0 : book->asks.begin()->first, wanted.number};
}

// #endregion match

} // namespace

int main() {
    cohold::segment<>::remove("example-market");
    const auto segment = cohold::segment<>::create("example-market", 1 << 20);
    auto& shared = segment.construct<market>("market");
    apply(shared, {1, true, 99, 10});
    apply(shared, {2, false, 101, 5});
    apply(shared, {3, false, 102, 5});

    // The matching process is killed when it has taken two levels and not yet written the rest.
    if (fork() == 0) {
        apply(shared, {4, true, 102, 8}, true);
    } else {
        wait(nullptr);
    }
    shared.book.with([](const order_book& book) { // as before that order
        check(book.asks.size() == 2 && book.asks.at(101) == 5 && book.last_order == 3);
    });
    apply(shared, {4, true, 102, 8}); // its successor sends the order again
    apply(shared, {4, true, 102, 8}); // and once too often, which changes nothing
    shared.book.with([](const order_book& book) {
        check(book.asks.size() == 1 && book.asks.at(102) == 2 && book.last_order == 4);
    });

    // #region look
    // A process that only looks, in memory that it cannot write to.
    const auto view = cohold::segment<>::open("example-market", cohold::read_only);
    const best_prices seen = view.find<market>("market")->best.snapshot();
    check(seen.bid == 99 && seen.ask == 102 && seen.as_of == 4);
    // #endregion look
    check(cohold::segment<>::remove("example-market"));
}
