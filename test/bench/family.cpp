// shm_latest, compared with the fastest hand-written way to do its job, which does not survive a
// kill and cannot be waited for.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <cohold/cohold.hpp>

#include "harness.hpp"
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
        contest busy(size + " read, another stores all the time", wanted);
        add_busy<mine, T>(busy, cpus, count, 0);
        add_busy<theirs, T>(busy, cpus, count, 0);
        rows.push_back(busy.measure(rounds));
        contest seldom(size + " read, another stores now and then", wanted);
        add_busy<mine, T>(seldom, cpus, count, 50);
        add_busy<theirs, T>(seldom, cpus, count, 50);
        rows.push_back(seldom.measure(rounds));
    }
    contest store(size + " stored, nobody reads");
    add_store<mine, T>(store, count / 10);
    add_store<theirs, T>(store, count / 10);
    rows.push_back(store.measure(rounds));
}

} // namespace

int main(int argc, char** argv) {
    const bool quick = argc > 1 && std::string(argv[1]) == "--quick";
    const int rounds = quick ? 3 : 25;
    const std::vector<int> cpus = bench::two_cpus();
    std::vector<contest> latest;
    latest_rows<8>(latest, cpus, rounds);
    latest_rows<32>(latest, cpus, rounds);
    latest_rows<256>(latest, cpus, rounds);
    latest_rows<65536>(latest, cpus, rounds);
    bench::table("Latest value", "ns", 1, bench::shown::time).print(latest);
    return 0;
}
