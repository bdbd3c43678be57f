// shm_latest and shm_broadcast, compared with the fastest hand-written ways to do their jobs, which
// do not survive a kill, have one writer, and cannot be waited for; messages, frames and calls,
// compared with what else carries them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <cohold/cohold.hpp>

#include "harness.hpp"
#include "loans.hpp"
#include "messages.hpp"
#include "processes.hpp"

namespace {

using bench::bound;
using bench::contest;
using bench::in_shared_memory;
using bench::sample;
using goals = std::vector<bench::goal>;
using memory = cohold::segment<cohold::mechanism::memfd>;

template <std::size_t Bytes>
struct element {
    std::uint64_t value;
    std::array<std::byte, Bytes - 8> rest;
};

template <>
struct element<8> {
    std::uint64_t value;
};

// ---- the latest value

// One writer; readers wait while it writes.
template <class T>
class seqlock {
  public:
    void store(const T& value) {
        const std::uint64_t now = version_.load(std::memory_order_relaxed);
        version_.store(now + 1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);
        copy(&value_, &value);
        version_.store(now + 2, std::memory_order_release);
    }

    T load() const {
        T value;
        for (;;) {
            const std::uint64_t before = version_.load(std::memory_order_acquire);
            copy(&value, &value_);
            std::atomic_thread_fence(std::memory_order_acquire);
            if (version_.load(std::memory_order_relaxed) == before && before % 2 == 0) {
                return value;
            }
            bench::pause();
        }
    }

  private:
    // A call for large ones: the instructions that g++ prefers take longer.
    static void copy(void* to, const void* from) {
        std::size_t bytes = sizeof(T);
        if (sizeof(T) > 256) {
            asm("" : "+r"(bytes));
        }
        std::memcpy(to, from, bytes);
    }

    alignas(64) std::atomic<std::uint64_t> version_{0};
    T value_{};
};

template <class T>
struct cohold_latest {
    static constexpr const char* name = "cohold";
    memory segment = memory::create(std::size_t{1} << 20);
    cohold::shm_latest<T>& it = segment.construct<cohold::shm_latest<T>>("it");
};

template <class T>
struct hand_written_latest {
    static constexpr const char* name = "seqlock";
    in_shared_memory<seqlock<T>> place;
    seqlock<T>& it = *place;
};

template <class It>
std::uint64_t load_all(const It& it, std::uint64_t count) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto value = it.load();
        bench::keep(value);
        sum += value.value;
    }
    return sum;
}

// One thread, nobody stores.
template <class Latest, class T>
void add_quiet(contest& row, std::uint64_t count) {
    auto latest = std::make_shared<Latest>();
    T value{};
    value.value = 1;
    latest->it.store(value);
    row.add(Latest::name, [latest, count]() -> sample {
        std::uint64_t sum = 0;
        const double time =
            bench::time_of(count, [&] { sum = load_all(std::as_const(latest->it), count); });
        bench::check(sum == count, "the sum of what was read");
        return time;
    });
}

template <class Latest, class T>
void add_store(contest& row, std::uint64_t count) {
    auto latest = std::make_shared<Latest>();
    row.add(Latest::name, [latest, count]() -> sample {
        T value{};
        const double time = bench::time_of(count, [&] {
            for (std::uint64_t i = 0; i < count; ++i) {
                value.value = i;
                latest->it.store(value);
            }
        });
        bench::check(latest->it.load().value == count - 1, "what was stored last");
        return time;
    });
}

// A writer on the other cpu stores all the time, or with a pause after each store.
template <class Latest, class T>
void add_busy(contest& row, const std::vector<int>& cpus, std::uint64_t count, int pauses) {
    struct state {
        Latest latest;
        in_shared_memory<std::atomic<bool>> done;
    };

    auto shared = std::make_shared<state>();
    const auto write = [shared, pauses] {
        T value{};
        while (!shared->done->load(std::memory_order_relaxed)) {
            ++value.value;
            shared->latest.it.store(value);
            for (int i = 0; i < pauses; ++i) {
                bench::pause();
            }
        }
        return std::uint64_t{0};
    };
    const auto read = [shared, count] {
        std::uint64_t last = 0;
        std::uint64_t wrong = 0;
        for (std::uint64_t i = 0; i < count; ++i) {
            const T value = shared->latest.it.load();
            bench::keep(value);
            wrong += value.value + 1 < last ? 1u : 0u; // it starts again once
            last = value.value;
        }
        *shared->done = true;
        return wrong > 1 ? wrong : 0;
    };
    const auto warm_up = [shared] {
        *shared->done = false;
        shared->latest.it.store(T{});
        bench::keep(shared->latest.it.load());
    };
    auto team = std::make_shared<bench::team>(
        std::vector<bench::worker>{{cpus[0], write, warm_up}, {cpus[1], read, warm_up}});
    row.add(Latest::name, [team, count] { return team->run(count, 0); });
}

template <std::size_t Bytes>
void latest_rows(std::vector<contest>& rows, const std::vector<int>& cpus, int rounds) {
    using T = element<Bytes>;
    using mine = cohold_latest<T>;
    using theirs = hand_written_latest<T>;
    const std::string size =
        Bytes < 1024 ? std::to_string(Bytes) + " B" : std::to_string(Bytes / 1024) + " KiB";
    const std::uint64_t count = Bytes < 1024 ? 200'000 : 2'000;
    const goals wanted{{bound::at_most, 1.1, {theirs::name}}};
    contest quiet(size + " read, nobody stores", wanted);
    add_quiet<mine, T>(quiet, count);
    add_quiet<theirs, T>(quiet, count);
    rows.push_back(quiet.measure(rounds));
    if (!cpus.empty()) {
        if constexpr (Bytes <= 256) { // readers of a larger seqlock would never get a whole value
            contest busy(size + " read, another stores all the time", wanted);
            add_busy<mine, T>(busy, cpus, count, 0);
            add_busy<theirs, T>(busy, cpus, count, 0);
            rows.push_back(busy.measure(rounds));
        }
        constexpr int pauses = Bytes <= 256 ? 50 : static_cast<int>(Bytes);
        contest seldom(size + " read, another stores now and then", wanted);
        add_busy<mine, T>(seldom, cpus, count, pauses);
        add_busy<theirs, T>(seldom, cpus, count, pauses);
        rows.push_back(seldom.measure(rounds));
    }
    contest store(size + " stored, nobody reads");
    add_store<mine, T>(store, count / 10);
    add_store<theirs, T>(store, count / 10);
    rows.push_back(store.measure(rounds));
}

// ---- broadcast

// One writer; slots with a number, which readers look at before and after copying.
template <class T>
class number_ring {
  public:
    static constexpr std::uint64_t capacity = 1024;

    void publish(const T& value) {
        slot& s = slots_[end_ % capacity];
        s.number.store(end_ * 2 + 1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);
        std::memcpy(&s.value, &value, sizeof value);
        s.number.store(end_ * 2 + 2, std::memory_order_release);
        ++end_;
    }

    // 1: got it; 0: not yet; -1: missed it.
    int read(std::uint64_t position, T& value) const {
        const slot& s = slots_[position % capacity];
        const std::uint64_t found = s.number.load(std::memory_order_acquire);
        if (found != position * 2 + 2) {
            return found < position * 2 + 2 ? 0 : -1;
        }
        std::memcpy(&value, &s.value, sizeof value);
        std::atomic_thread_fence(std::memory_order_acquire);
        return s.number.load(std::memory_order_relaxed) == found ? 1 : -1;
    }

  private:
    struct slot {
        alignas(8) std::atomic<std::uint64_t> number{0};
        T value{};
    };

    alignas(64) std::uint64_t end_ = 0;
    alignas(64) slot slots_[capacity];
};

template <class T>
struct cohold_broadcast {
    static constexpr const char* name = "cohold";
    using broadcast = cohold::shm_broadcast<T>;
    memory segment = memory::create(std::size_t{8} << 20);
    broadcast& it = segment.construct<broadcast>("it", number_ring<T>::capacity);

    void publish(const T& value) { it.publish(value); }

    struct reader {
        typename broadcast::subscription from;
        std::uint64_t missed = 0;

        explicit reader(const cohold_broadcast& in) : from(in.it.subscribe()) {}

        bool try_next(T& value) {
            if (!from.try_next(value)) {
                return false;
            }
            missed += from.missed();
            return true;
        }
    };
};

template <class T>
struct hand_written_broadcast {
    static constexpr const char* name = "number ring";
    in_shared_memory<number_ring<T>> it;
    in_shared_memory<std::atomic<std::uint64_t>> published; // for readers that begin

    void publish(const T& value) {
        it->publish(value);
        published->store(published->load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    struct reader {
        const hand_written_broadcast& in;
        std::uint64_t position;
        std::uint64_t missed = 0;

        explicit reader(const hand_written_broadcast& from)
            : in(from), position(from.published->load(std::memory_order_acquire)) {}

        bool try_next(T& value) {
            for (;;) {
                const int found = in.it->read(position, value);
                if (found >= 0) {
                    position += static_cast<std::uint64_t>(found);
                    return found != 0;
                }
                const std::uint64_t end = in.published->load(std::memory_order_acquire);
                std::uint64_t later = end - number_ring<T>::capacity * 7 / 8;
                if (end < number_ring<T>::capacity || later <= position) {
                    later = position + 1;
                }
                missed += later - position;
                position = later;
            }
        }
    };
};

// The writer publishes; each reader reads until it has seen the last message. The writer stays less
// than a ring ahead, by what the slowest reader says now and then: so all messages are read.
template <class Broadcast, class T>
void add_readers(contest& row, const std::vector<int>& cpus, std::uint64_t count,
                 unsigned readers) {
    struct state {
        Broadcast broadcast;

        struct alignas(64) progress {
            std::atomic<std::uint64_t> read{0};
        };

        in_shared_memory<std::array<progress, 16>> at;
    };

    auto shared = std::make_shared<state>();
    const auto write = [shared, count, readers] {
        bench::patience patience;
        T value{};
        for (std::uint64_t i = 1; i <= count; ++i) {
            value.value = i;
            if (i % 256 == 0) {
                for (unsigned r = 0; r < readers; ++r) {
                    while ((*shared->at)[r].read.load(std::memory_order_relaxed) + 640 < i) {
                        patience.wait();
                    }
                }
            }
            shared->broadcast.publish(value);
        }
        return std::uint64_t{0};
    };
    std::vector<bench::worker> workers{{cpus[0], write, [shared, readers] {
                                            for (unsigned r = 0; r < readers; ++r) {
                                                (*shared->at)[r].read = 0;
                                            }
                                            shared->broadcast.publish(T{});
                                        }}};
    for (unsigned r = 0; r < readers; ++r) {
        auto from = std::make_shared<std::optional<typename Broadcast::reader>>();
        const auto read = [shared, count, r, from] {
            bench::patience patience;
            typename Broadcast::reader& mine = **from;
            std::uint64_t sum = 0;
            T value{};
            while (value.value != count) {
                if (!mine.try_next(value)) {
                    patience.wait();
                    continue;
                }
                sum += value.value;
                if (value.value % 64 == 0) {
                    (*shared->at)[r].read.store(value.value, std::memory_order_relaxed);
                }
            }
            return sum + mine.missed;
        };
        workers.push_back(
            {cpus[(r + 1) % 2], read, [shared, from] { from->emplace(shared->broadcast); }});
    }
    auto team = std::make_shared<bench::team>(std::move(workers));
    const std::uint64_t sum = count * (count + 1) / 2 * readers;
    row.add(Broadcast::name, [team, count, sum] { return team->run(count, sum); });
}

template <class Broadcast, class T>
void add_publish(contest& row, std::uint64_t count) {
    auto broadcast = std::make_shared<Broadcast>();
    row.add(Broadcast::name, [broadcast, count]() -> sample {
        T value{};
        return bench::time_of(count, [&] {
            for (std::uint64_t i = 0; i < count; ++i) {
                value.value = i;
                broadcast->publish(value);
            }
        });
    });
}

template <std::size_t Bytes>
void broadcast_rows(std::vector<contest>& rows, const std::vector<int>& cpus, int rounds) {
    using T = element<Bytes>;
    using mine = cohold_broadcast<T>;
    using theirs = hand_written_broadcast<T>;
    const std::string size = std::to_string(Bytes) + " B";
    contest alone(size + ", nobody reads");
    add_publish<mine, T>(alone, 50'000);
    add_publish<theirs, T>(alone, 50'000);
    rows.push_back(alone.measure(rounds));
    for (const unsigned readers : {1u, 4u, 16u}) {
        if (!cpus.empty()) {
            contest row(size + ", to " + std::to_string(readers) +
                        (readers == 1 ? "" : ", mixed on two cpus"));
            add_readers<mine, T>(row, cpus, 50'000, readers);
            add_readers<theirs, T>(row, cpus, 50'000, readers);
            rows.push_back(row.measure(rounds));
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    const int rounds = settings.quick ? 3 : 25;
    const std::vector<int> cpus = bench::two_cpus();
    std::vector<contest> latest;
    latest_rows<8>(latest, cpus, rounds);
    latest_rows<32>(latest, cpus, rounds);
    latest_rows<256>(latest, cpus, rounds);
    latest_rows<65536>(latest, cpus, rounds);
    bench::table("Latest value", "ns", 1, bench::shown::time).print(latest);
    std::vector<contest> broadcast;
    broadcast_rows<8>(broadcast, cpus, rounds);
    broadcast_rows<64>(broadcast, cpus, rounds);
    broadcast_rows<1024>(broadcast, cpus, rounds);
    bench::table("Broadcast", "million/s", 1, bench::shown::rate).print(broadcast);
    if (cpus.empty()) {
        std::printf("\nMessages, frames and calls are not measured: they take two cpus.\n");
        return 0;
    }
    bench::table("Messages of any size", "million/s", 1, bench::shown::rate)
        .print(bench::messages::rows(cpus, rounds));
    bench::table("Frames by loan", "ns", 1, bench::shown::time)
        .print(bench::loans::frame_rows(cpus, rounds));
    bench::table("Calls", "ns", 1, bench::shown::time).print(bench::loans::call_rows(cpus, rounds));
    return 0;
}
