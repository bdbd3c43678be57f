// The latest value, for the rig. Its readers are operations, too: they must see a whole value
// whatever others do in the middle.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include "crash/operations.hpp"

namespace {

using namespace std::chrono_literals;
using crash::registry;
using crash::segment;

std::chrono::steady_clock::time_point now() {
    return std::chrono::steady_clock::now();
}

// More than a single store writes; all of it follows from the first number.
using several = std::array<int, 6>;

constexpr several of(int number) {
    return {number, number + 1, number + 2, number + 3, number + 4, number + 5};
}

bool is_whole(const several& value) {
    return value == of(value[0]);
}

// ---- the latest value

template <class T>
T latest_of(int number) {
    if constexpr (std::is_same_v<T, int>) {
        return number;
    } else {
        return of(number);
    }
}

template <class T>
bool is_good(const T& value) {
    if constexpr (std::is_same_v<T, int>) {
        return value % 10 == 0;
    } else {
        return is_whole(value) && value[0] % 10 == 0;
    }
}

template <class T>
struct with_latest {
    cohold::shm_latest<T, cohold::waiting::block> it{latest_of<T>(0)};
    int torn = 0;

    void store(int number) { it.store(latest_of<T>(number)); }

    void load() {
        T value{};
        const std::uint64_t before = it.version();
        const std::uint64_t version = it.load(value);
        torn |= !is_good(value) || version < before ? 1 : 0;
    }

    std::string tell() {
        T value{};
        const std::uint64_t version = it.load(value);
        return (torn == 0 ? "version " : "torn, version ") + std::to_string(version) + ": " +
               crash::tell(value);
    }
};

template <class T>
void declare_latest(registry& all, const char* kind) {
    using one = with_latest<T>;
    const auto on = [&](const char* name, const char* setup, auto act) -> auto {
        return all
            .add<one>(
                name, std::string(setup) + ", " + kind,
                [](const segment& where) {
                    one& made = where.construct<one>(crash::subject);
                    made.store(10);
                    made.store(20);
                },
                act)
            .heals();
    };
    const auto store = [](one& it) { it.store(30); };
    on("shm_latest::store", "another stores", store).meanwhile([](one& it) { it.store(40); });
    on("shm_latest::store", "another reads", store).meanwhile([](one& it) { it.load(); });
    on("shm_latest::store", "somebody seems to wait", [](one& it) {
        static_cast<void>(it.it.wait_newer_for(2, 20us));
        it.store(30);
    });
    on("shm_latest::store", "with an error code", [](one& it) {
        std::error_code ec;
        it.it.store(latest_of<T>(30), ec);
        return !ec;
    });
    on("shm_latest::try_store", "alone", [](one& it) { return it.it.try_store(latest_of<T>(30)); });
    on("shm_latest::store_for", "alone",
       [](one& it) { return it.it.store_for(latest_of<T>(30), 1s); });
    on("shm_latest::store_until", "alone",
       [](one& it) { return it.it.store_until(latest_of<T>(30), now() + 1s); });
    // A killed bystander may have stored fewer.
    const auto storing = [](int times) {
        return [times](one& it) {
            for (int i = 0; i < times; ++i) {
                it.store(30 + i * 10);
            }
        };
    };
    auto load = on("shm_latest::load", "another stores four times", [](one& it) { it.load(); });
    load.meanwhile(storing(4));
    for (int times = 1; times < 4; ++times) {
        load.also(storing(times)).together(storing(times));
    }
    on("shm_latest::wait_newer", "there is one", [](one& it) {
        it.it.wait_newer(1);
    }).meanwhile(store);
    on("shm_latest::wait_newer_for", "in vain", [](one& it) {
        return it.it.wait_newer_for(2, 50us).has_value();
    }).meanwhile(store);
}

template <class T>
void declare_first_use(registry& all) {
    using one = with_latest<T>;
    const auto make = [](const segment& where) { where.construct<one>(crash::subject); };
    const auto store = [](one& it) { it.store(30); };
    all.add<one>("shm_latest::store", "the thread's first use", make, store).heals().fresh();
}

} // namespace

void crash::declare(registry& all) {
    declare_latest<int>(all, "ints");
    declare_latest<several>(all, "arrays");
    declare_first_use<several>(all);
}
