// The latest value and the broadcast, for the rig. Their readers are operations, too: they must see
// whole values whatever others do in the middle.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
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

// Where a version is read, its value is ten times its number.
template <class T>
bool is_of(const T& value, std::uint64_t version) {
    return value == latest_of<T>(static_cast<int>(version) * 10);
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
        torn |= !is_of(value, version) || version < before ? 1 : 0;
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
    on("shm_latest::operator=", "alone", [](one& it) { it.it = latest_of<T>(30); });
    on("shm_latest::update", "another stores", [](one& it) {
        it.it.update([](T& value) { value = latest_of<T>(30); });
    }).meanwhile([](one& it) { it.store(40); });
    on("shm_latest::update", "it throws", [](one& it) {
        try {
            it.it.update([](T& value) {
                value = latest_of<T>(30);
                throw std::runtime_error("on purpose");
            });
        } catch (const std::runtime_error&) {
        }
    });
    // A killed bystander may have stored fewer.
    const auto storing = [](int times) {
        return [times](one& it) {
            for (int i = 0; i < times; ++i) {
                it.store(30 + i * 10);
            }
        };
    };
    auto load = on("shm_latest::load", "another stores four times", [](one& it) { it.load(); });
    load.meanwhile(storing(4)).closely();
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

// ---- the broadcast

// Readers note what they have seen in the object, where it is a part of the outcome.
template <class T>
struct with_broadcast {
    cohold::shm_broadcast<T, cohold::waiting::block> it{4};
    int torn = 0;

    using reader = typename cohold::shm_broadcast<T, cohold::waiting::block>::subscription;

    bool publish(int number) { return it.publish(latest_of<T>(number)); }

    // All that is there, whole and in order, with what was missed between.
    void read(reader& from_here) {
        std::uint64_t seen = 0;
        int last = 0;
        while (const std::optional<T> each = from_here.try_next()) {
            const int number = number_of(*each);
            torn |= !is_good(*each) || number <= last ? 1 : 0;
            last = number;
            ++seen;
        }
        torn |= seen + from_here.missed() > it.published() ? 1 : 0;
    }

    // Two messages, where each is ten more than the one before: so their numbers tell what was
    // missed.
    void read_two() {
        reader mine = it.subscribe(cohold::from::oldest);
        const std::optional<T> first = mine.try_next();
        static_cast<void>(mine.missed());
        const std::optional<T> second = mine.try_next();
        if (!first || !second) {
            torn = 1;
            return;
        }
        const int between = number_of(*second) - number_of(*first);
        torn |= !is_good(*first) || !is_good(*second) ||
                        between != 10 + 10 * static_cast<int>(mine.missed())
                    ? 1
                    : 0;
    }

    void read_all() {
        reader mine = it.subscribe(cohold::from::oldest);
        read(mine);
    }

    std::string tell() {
        std::string text = torn == 0 ? "" : "torn, ";
        text += std::to_string(it.published()) + (it.is_closed() ? " and closed:" : ":");
        reader mine = it.subscribe(cohold::from::oldest);
        while (std::optional<T> each = mine.try_next()) {
            text += " " + crash::tell(*each);
        }
        return text;
    }

  private:
    static int number_of(int value) { return value; }

    static int number_of(const several& value) { return value[0]; }
};

template <class T>
void declare_broadcast(registry& all, const char* kind) {
    using one = with_broadcast<T>;
    const auto on = [&](const char* name, const char* setup, int before, auto act) -> auto {
        return all
            .add<one>(
                name, std::string(setup) + ", " + kind,
                [before](const segment& where) {
                    one& made = where.construct<one>(crash::subject);
                    for (int i = 1; i <= before; ++i) {
                        made.publish(i * 10);
                    }
                },
                act)
            .heals();
    };
    // Where the ring is full, a killed writer has begun to overwrite the oldest message. Then
    // that is lost, and nothing was published.
    const auto loses_oldest = [](one& it) {
        if (auto place = it.it.try_claim()) {
            *place = latest_of<T>(0);
        }
    };
    const auto publish = [](one& it) { return it.publish(100); };
    const auto other = [](one& it) { return it.publish(110); };
    on("shm_broadcast::publish", "another publishes", 1, publish).meanwhile(other);
    on("shm_broadcast::publish", "another reads", 2, publish).meanwhile([](one& it) {
        it.read_all();
    });
    on("shm_broadcast::publish", "going round, another reads", 5, publish)
        .also(loses_oldest)
        .together(loses_oldest)
        .meanwhile([](one& it) { it.read_all(); });
    on("shm_broadcast::publish", "somebody seems to wait", 1, [](one& it) {
        auto reader = it.it.subscribe();
        static_cast<void>(reader.next_for(20us));
        return it.publish(100);
    });
    on("shm_broadcast::publish", "with an error code", 1, [](one& it) {
        std::error_code ec;
        return it.it.publish(latest_of<T>(100), ec);
    });
    on("shm_broadcast::try_publish", "alone", 1,
       [](one& it) { return it.it.try_publish(latest_of<T>(100)); });
    on("shm_broadcast::publish_for", "alone", 1,
       [](one& it) { return it.it.publish_for(latest_of<T>(100), 1s); });
    on("shm_broadcast::publish_until", "alone", 1,
       [](one& it) { return it.it.publish_until(latest_of<T>(100), now() + 1s); });
    on("shm_broadcast::claim", "and commit, another publishes", 1, [](one& it) {
        auto place = it.it.claim();
        place.emplace(latest_of<T>(100));
        place.commit();
    }).meanwhile(other);
    on("shm_broadcast::try_claim", "and give up", 1, [](one& it) {
        auto place = it.it.try_claim();
        *place = latest_of<T>(100);
    });
    on("shm_broadcast::close", "another publishes", 1, [](one& it) {
        it.it.close();
    }).meanwhile(other);
    const auto publishing = [](int times) {
        return [times](one& it) {
            for (int i = 0; i < times; ++i) {
                it.publish(50 + i * 10);
            }
        };
    };
    // A killed bystander has published fewer, and may have begun to overwrite the oldest.
    const auto while_another_publishes = [&](auto read) {
        read.meanwhile(publishing(4));
        for (int times = 0; times < 4; ++times) {
            const auto fewer = publishing(times);
            const auto begun = [fewer, loses_oldest](one& it) {
                fewer(it);
                loses_oldest(it);
            };
            read.also(fewer).together(fewer).also(begun).together(begun);
        }
    };
    while_another_publishes(
        on("subscription::try_next", "all, another publishes", 4, [](one& it) { it.read_all(); }));
    while_another_publishes(
        on("subscription::try_next", "two, another publishes", 4, [](one& it) { it.read_two(); }));
    on("subscription::next_for", "in vain", 1, [](one& it) {
        auto reader = it.it.subscribe();
        return reader.next_for(50us).has_value();
    }).meanwhile(publish);
}

} // namespace

void crash::declare(registry& all) {
    declare_latest<int>(all, "ints");
    declare_latest<several>(all, "arrays");
    declare_first_use<several>(all);
    declare_broadcast<int>(all, "ints");
    declare_broadcast<several>(all, "arrays");
}
