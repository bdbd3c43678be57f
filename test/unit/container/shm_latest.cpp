// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/container/shm_latest.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_mutex.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = segment<mechanism::memfd>;

template <std::size_t Bytes>
struct bytes {
    std::array<unsigned char, Bytes> at;

    // All of them follow from the number.
    static bytes of(std::uint64_t number) {
        bytes made;
        for (std::size_t i = 0; i < Bytes; ++i) {
            made.at[i] = static_cast<unsigned char>(number * 37 + i * number);
        }
        return made;
    }

    [[nodiscard]] bool is(std::uint64_t number) const { return at == of(number).at; }
};

struct alignas(256) aligned {
    std::int32_t value;
};

struct pose {
    explicit pose(double initial) : x(initial), y(-initial) {}

    double x;
    double y;
};

// A segment with a name, so that it can be mapped once more.
struct named {
    named() : handle(segment<>::create(name)) {}

    named(const named&) = delete;
    named& operator=(const named&) = delete;

    ~named() { segment<>::remove(name); }

    std::string name = support::own_name("latest");
    segment<> handle;
};

// The words of the object, as docs/layout.md has them.
template <class T>
std::atomic<std::uint64_t>& state_of(shm_latest<T>& it) {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(reinterpret_cast<char*>(&it) + 64);
}

template <class T>
shm_mutex& lock_of(shm_latest<T>& it) {
    return reinterpret_cast<shm_mutex&>(it);
}

template <class T>
unsigned char* places_of(shm_latest<T>& it) {
    return reinterpret_cast<unsigned char*>(&it) + (sizeof(T) <= 16 ? 80 : 128);
}

long voluntary_switches() {
    struct rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<pose> = true;

TEST_CASE("the latest value has the same layout everywhere") {
    CHECK(sizeof(shm_latest<char>) == 128);
    CHECK(sizeof(shm_latest<std::uint64_t>) == 128);
    CHECK(sizeof(shm_latest<bytes<16>>) == 128);
    CHECK(sizeof(shm_latest<bytes<17>>) == 128 + 3 * 64);
    CHECK(sizeof(shm_latest<bytes<65>>) == 128 + 3 * 128);
    CHECK(alignof(shm_latest<int>) == 64);
    CHECK(sizeof(shm_latest<aligned>) == 256 + 3 * 256);
    CHECK(alignof(shm_latest<aligned>) == 256);
    CHECK(shareable<shm_latest<int>>);
    CHECK_FALSE(std::is_copy_constructible_v<shm_latest<int>>);
    CHECK_FALSE(std::is_default_constructible_v<shm_latest<pose>>);
}

TEST_CASE("reading the latest value cannot fail") {
    using latest = shm_latest<int>;
    CHECK(noexcept(std::declval<const latest&>().load()));
    CHECK(noexcept(std::declval<const latest&>().load(std::declval<int&>())));
    CHECK(noexcept(std::declval<const latest&>().version()));
    CHECK(noexcept(std::declval<const latest&>().wait_newer(0)));
    constexpr std::chrono::milliseconds patience{1};
    CHECK(noexcept(std::declval<const latest&>().wait_newer_for(0, patience)));
    CHECK(noexcept(std::declval<latest&>().store(1, std::declval<std::error_code&>())));
    CHECK_FALSE(noexcept(std::declval<latest&>().store(1)));
}

TEST_CASE("the type of a latest value is that of the value, not the waiting policy") {
    CHECK(type_name_of<shm_latest<int>>() == "shm_latest<i32>");
    CHECK(type_name_of<shm_latest<int, waiting::spin>>() == "shm_latest<i32>");
    const named here;
    here.handle.construct<shm_latest<int>>("it");
    std::error_code ec;
    CHECK(here.handle.find<shm_latest<int, waiting::block>>("it", ec) != nullptr);
    CHECK_FALSE(ec);
    CHECK(here.handle.find<shm_latest<float>>("it", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);
}

TEST_CASE("the latest value is the one that was stored last") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<int>>("it");
    CHECK(it.load() == 0);
    CHECK(it.version() == 0);
    for (int i = 1; i <= 10; ++i) {
        it.store(i * i);
        CHECK(it.load() == i * i);
        int into = 0;
        CHECK(it.load(into) == static_cast<std::uint64_t>(i));
        CHECK(into == i * i);
        CHECK(it.version() == static_cast<std::uint64_t>(i));
    }
    std::error_code ec = errc::busy;
    it.store(-1, ec);
    CHECK_FALSE(ec);
    CHECK(it.try_store(-2));
    ec = errc::busy;
    CHECK(it.try_store(-3, ec));
    CHECK_FALSE(ec);
    CHECK(it.store_for(-4, 1s));
    CHECK(it.store_for(-5, 1s, ec));
    CHECK(it.store_until(-6, std::chrono::steady_clock::now() + 1s));
    CHECK(it.store_until(-7, std::chrono::system_clock::now() + 1s, ec));
    CHECK_FALSE(ec);
    CHECK(it.load() == -7);
    CHECK(it.version() == 17);
}

TEST_CASE("the latest value begins with an initial one") {
    const memory here = memory::create();
    CHECK(here.construct<shm_latest<pose>>("pose", pose(2.5)).load().y == -2.5);
    CHECK(here.construct<shm_latest<bytes<100>>>("bytes", bytes<100>::of(3)).load().is(3));
    CHECK(here.construct<shm_latest<double>>("number", 0.5).load() == 0.5);
    CHECK(here.construct<shm_latest<std::optional<int>>>("maybe").load() == std::nullopt);
    auto& root = here.construct<shm_latest<pose>>("again", pose(1.5));
    CHECK(root.load().x == 1.5);
    CHECK(root.version() == 0);
}

TEST_CASE_TEMPLATE("a latest value may have any size", T, bytes<1>, bytes<2>, bytes<3>, bytes<7>,
                   bytes<8>, bytes<15>, bytes<16>, bytes<17>, bytes<24>, bytes<63>, bytes<64>,
                   bytes<65>, bytes<255>, bytes<256>, bytes<257>, bytes<4097>) {
    const memory here = memory::create(std::size_t{1} << 17);
    auto& it = here.construct<shm_latest<T>>("it", T::of(0));
    CHECK(it.load().is(0));
    for (std::uint64_t i = 1; i < 8; ++i) {
        it.store(T::of(i));
        CHECK(it.load().is(i));
        // The bytes before it and behind it stay as they are.
        std::array<unsigned char, sizeof(T) + 16> around{};
        around.fill(0xa5);
        T& into = *reinterpret_cast<T*>(around.data() + 8);
        CHECK(it.load(into) == i);
        CHECK(into.is(i));
        CHECK(around[7] == 0xa5);
        CHECK(around[8 + sizeof(T)] == 0xa5);
    }
}

TEST_CASE("an aligned latest value") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<aligned>>("it");
    for (int i = 1; i < 5; ++i) {
        it.store(aligned{i});
        CHECK(it.load().value == i);
    }
}

TEST_CASE("a writer that dies in the middle of a store leaves the value readable") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<bytes<100>>>("it", bytes<100>::of(1));
    it.store(bytes<100>::of(2));
    // What a kill leaves: the mark, and half of a value in the next place.
    state_of(it) |= 1;
    std::memset(places_of(it) + 2 * 128, 0xee, 50);
    CHECK(it.load().is(2));
    CHECK(it.version() == 1);
    CHECK_FALSE(it.wait_newer_for(1, 1ms));
    it.store(bytes<100>::of(3));
    CHECK(it.load().is(3));
    CHECK(it.version() == 2);
    CHECK((state_of(it) & 1) == 0);
}

TEST_CASE("a store that begins while a reader copies does not disturb it, a third one does") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<bytes<100>>>("it", bytes<100>::of(0));
    const std::uint64_t before = state_of(it);
    // The place of the value is the one that the third store fills.
    unsigned char* const place = places_of(it);
    const unsigned char first = *place;
    it.store(bytes<100>::of(1));
    it.store(bytes<100>::of(2));
    CHECK(*place == first);
    it.store(bytes<100>::of(3));
    CHECK(*place != first);
    CHECK(before / 64 + 3 == state_of(it) / 64);
}

TEST_CASE("writers report what is in their way") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<int>>("it", 5);
    std::thread([&] { lock_of(it).lock(); }).join(); // the thread is gone: it counts as dead
    CHECK(it.try_store(6));

    std::atomic<int> step{0};
    std::thread holder([&] {
        lock_of(it).lock();
        step = 1;
        while (step != 2) {
            std::this_thread::yield();
        }
        lock_of(it).unlock();
    });
    while (step != 1) {
        std::this_thread::yield();
    }
    std::error_code ec;
    CHECK_FALSE(it.try_store(7));
    CHECK_FALSE(it.try_store(7, ec));
    CHECK(ec == errc::busy);
    CHECK_FALSE(it.store_for(7, 2ms));
    CHECK_FALSE(it.store_for(7, 2ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(it.store_until(7, std::chrono::system_clock::now() + 2ms));
    CHECK_FALSE(it.store_until(7, std::chrono::steady_clock::now() + 2ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK(it.load() == 6); // readers do not notice
    CHECK(it.version() == 1);
    step = 2;
    holder.join();
    CHECK(it.try_store(7, ec));
    CHECK_FALSE(ec);

    lock_of(it).lock(); // as if a signal handler had interrupted a store
    it.store(8, ec);
    CHECK(ec == std::errc::resource_deadlock_would_occur);
    CHECK_FALSE(it.try_store(8, ec));
    CHECK(ec == std::errc::resource_deadlock_would_occur);
    lock_of(it).unlock();
    CHECK(it.load() == 7);
}

TEST_CASE("outside of segments a latest value can be read only") {
    shm_latest<int> it(3);
    CHECK(it.load() == 3);
    std::error_code ec;
    it.store(4, ec);
    CHECK(ec == errc::no_segment);
    CHECK_FALSE(it.try_store(4, ec));
    CHECK(ec == errc::no_segment);
    CHECK_FALSE(it.store_for(4, 1ms, ec));
    CHECK(ec == errc::no_segment);
    CHECK_FALSE(it.store_until(4, std::chrono::system_clock::now(), ec));
    CHECK(ec == errc::no_segment);
    CHECK_THROWS_AS(it.store(4), failure);
    CHECK_THROWS_AS(static_cast<void>(it.try_store(4)), failure);
    CHECK(it.load() == 3);
    CHECK_FALSE(it.wait_newer_for(0, 1ms));
}

TEST_CASE("storing is permanent, even in a section that is undone") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<int>>("it", 1);
    auto& guarded = here.construct<shm_guarded<shm_vector<int>>>("guarded");
    try {
        guarded.with([&](shm_vector<int>& numbers) {
            numbers.push_back(1);
            it.store(2);
            throw 0;
        });
    } catch (int) {
    }
    CHECK(guarded.lock()->empty());
    CHECK(it.load() == 2);
}

TEST_CASE("waiting for a newer version") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<int, waiting::block>>("it");
    CHECK_FALSE(it.wait_newer_for(0, 0s));
    CHECK_FALSE(it.wait_newer_for(0, 2ms));
    CHECK_FALSE(it.wait_newer_until(0, std::chrono::steady_clock::now() + 2ms));
    CHECK_FALSE(it.wait_newer_until(0, std::chrono::system_clock::now() - 1s));
    it.store(1);
    it.store(2);
    CHECK(it.wait_newer(0) == 2);
    CHECK(it.wait_newer_for(1, 0s) == std::optional<std::uint64_t>(2));
    CHECK(it.wait_newer_until(1, std::chrono::system_clock::now()) ==
          std::optional<std::uint64_t>(2));
    CHECK_FALSE(it.wait_newer_for(2, 1ms));
    CHECK_FALSE(it.wait_newer_for(~std::uint64_t{0}, 1ms));

    std::atomic<std::uint64_t> got{0};
    std::atomic<long> switches{0};
    std::thread waiter([&] {
        const long before = voluntary_switches();
        got = it.wait_newer(2);
        switches = voluntary_switches() - before;
    });
    std::this_thread::sleep_for(20ms);
    it.store(3);
    waiter.join();
    CHECK(got == 3);
    CHECK(switches >= 1); // it slept
}

TEST_CASE("two mappings of one latest value work as one, and so does a view") {
    const named here;
    auto& mine = here.handle.construct<shm_latest<bytes<40>>>("it", bytes<40>::of(0));
    const segment<> second = segment<>::open(here.name);
    auto* const theirs = second.find<shm_latest<bytes<40>>>("it");
    const auto view = segment<>::open(here.name, read_only);
    const auto* const seen = view.find<shm_latest<bytes<40>>>("it");
    REQUIRE(theirs != nullptr);
    REQUIRE(seen != nullptr);
    for (std::uint64_t i = 1; i < 20; ++i) {
        (i % 2 == 0 ? mine : *theirs).store(bytes<40>::of(i));
        CHECK(mine.load().is(i));
        CHECK(theirs->load().is(i));
        CHECK(seen->load().is(i));
        CHECK(seen->wait_newer(i - 1) == i);
    }
    CHECK_FALSE(seen->wait_newer_for(19, 3ms));
    CHECK_FALSE(seen->wait_newer_until(19, std::chrono::system_clock::now() + 3ms));
    std::thread through_view([&] { CHECK(seen->wait_newer(19) == 20); });
    std::thread through_second([&] { CHECK(theirs->wait_newer(19) == 20); });
    std::this_thread::sleep_for(15ms);
    mine.store(bytes<40>::of(20));
    through_view.join();
    through_second.join();
}

TEST_CASE("a latest value as the root of a segment") {
    const std::string name = support::own_name("latest-root");
    using root = shared<shm_latest<std::array<int, 8>>>;
    {
        const root writer = root::create(name);
        writer->store({1, 2, 3});
        const auto reader = root::open(name, read_only);
        CHECK(reader->load()[2] == 3);
        CHECK(reader->version() == 1);
        std::error_code ec;
        const auto other = shared<shm_latest<std::array<int, 7>>>::open(name, ec);
        CHECK_FALSE(other);
        CHECK(ec == errc::type_mismatch);
    }
    root::remove(name);
}

TEST_CASE_TEMPLATE("threads never see a torn value, nor an older one", T, bytes<8>, bytes<16>,
                   bytes<24>, bytes<600>) {
    struct numbered {
        std::uint64_t number;
        T rest;
    };

    const named here;
    auto& it = here.handle.construct<shm_latest<numbered>>("it", numbered{0, T::of(0)});
    const auto view = segment<>::open(here.name, read_only);
    const auto& seen = *view.find<shm_latest<numbered>>("it");
    constexpr std::uint64_t count = 3000;
    std::atomic<std::uint64_t> next{0};
    std::vector<std::thread> writers;
    for (int i = 0; i < 2; ++i) {
        writers.emplace_back([&] {
            for (std::uint64_t number; (number = ++next) <= count;) {
                it.store({number, T::of(number)});
            }
        });
    }
    std::uint64_t version = 0;
    std::uint64_t wrong = 0;
    while (version < count) {
        numbered value;
        const std::uint64_t now = seen.load(value);
        wrong += now < version || !value.rest.is(value.number) ? 1u : 0u;
        version = now;
        const numbered again = it.load();
        wrong += again.rest.is(again.number) ? 0u : 1u;
    }
    for (std::thread& each : writers) {
        each.join();
    }
    CHECK(wrong == 0);
    CHECK(it.version() == count);
}

TEST_CASE("processes share a latest value") {
    const named here;
    auto& it = here.handle.construct<shm_latest<std::uint64_t>>("it");
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const segment<> mine = segment<>::open(here.name);
        auto* const theirs = mine.find<shm_latest<std::uint64_t>>("it");
        for (std::uint64_t i = 1; i <= 100 && theirs != nullptr; ++i) {
            theirs->store(i);
        }
        _exit(theirs != nullptr ? 0 : 1);
    }
    std::uint64_t seen = 0;
    while (seen < 100) {
        seen = it.wait_newer(seen);
        CHECK(it.load() >= seen);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(it.load() == 100);
}

TEST_CASE("a stopped writer holds up other writers, but no reader") {
    const named here;
    auto& it = here.handle.construct<shm_latest<int>>("it", 7);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const segment<> mine = segment<>::open(here.name);
        auto* const theirs = mine.find<shm_latest<int>>("it");
        lock_of(*theirs).lock();
        state_of(*theirs) |= 1; // in the middle of a store
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, WUNTRACED) == child);
    REQUIRE(WIFSTOPPED(status));
    std::error_code ec;
    CHECK_FALSE(it.store_for(8, 10ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK(it.load() == 7);
    CHECK(it.version() == 0);
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, &status, 0) == child);
    it.store(9);
    CHECK(it.load() == 9);
    CHECK(it.version() == 1);
}

TEST_CASE("a latest value is assigned and read like a std::atomic") {
    const memory here = memory::create();
    auto& it = here.construct<shm_latest<int>>("it", 1);
    const int before = it;
    it = 2;
    CHECK(before == 1);
    CHECK(it == 2);
    CHECK(it.version() == 1);
    static_assert(!std::is_copy_assignable_v<shm_latest<int>>);
}

TEST_CASE("updates of a latest value happen one after the other, or not at all") {
    const memory here = memory::create();

    struct two {
        std::uint64_t first;
        std::uint64_t second;
    };

    auto& it = here.construct<shm_latest<two>>("it");
    constexpr std::uint64_t each = 2000;
    const auto count = [&it] {
        for (std::uint64_t i = 0; i < each; ++i) {
            it.update([](two& value) {
                ++value.first;
                value.second = value.first * 3;
            });
        }
    };
    std::thread other(count);
    count();
    other.join();
    CHECK(it.load().first == 2 * each);
    CHECK(it.load().second == 6 * each);
    CHECK(it.version() == 2 * each);

    CHECK_THROWS_AS(it.update([](two& value) {
        value.first = 0;
        throw std::runtime_error("on purpose");
    }),
                    std::runtime_error);
    CHECK(it.load().first == 2 * each);
    CHECK(it.version() == 2 * each);
    CHECK_THROWS_AS(it.update([&it](two& value) { it.store(value); }), failure);
    CHECK(it.try_store({7, 8})); // the lock is free again
    CHECK(it.load().first == 7);
}

TEST_CASE("damaged words of a latest value lead nowhere else, and into no endless loop") {
    const memory here = memory::create();
    const auto check = [](auto& it, auto value) {
        std::mt19937_64 random(11);
        for (int i = 0; i < 2000; ++i) {
            const std::uint64_t bits = random();
            state_of(it) = i < 64 ? static_cast<std::uint64_t>(i) : bits >> random() % 64;
            static_cast<void>(it.load());
            static_cast<void>(it.wait_newer_for(it.version(), 0s));
            std::error_code ec;
            it.store(value, ec);
            CHECK_FALSE(ec);
            CHECK(it.load() == value);
        }
    };
    check(here.construct<shm_latest<std::uint64_t>>("small"), std::uint64_t{77});
    check(here.construct<shm_latest<std::array<int, 10>>>("middle"), std::array<int, 10>{1, 2});
    check(here.construct<shm_latest<std::array<int, 50>>>("large"), std::array<int, 50>{3, 4});
}
