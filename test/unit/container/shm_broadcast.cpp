// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/container/shm_broadcast.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = segment<mechanism::memfd>;
using numbers = shm_broadcast<std::uint64_t>;

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

struct quote {
    std::int32_t first;
    double second;
};

struct alignas(128) aligned {
    std::int32_t value;
};

// A segment with a name, so that it can be mapped once more.
struct named {
    named() : handle(segment<>::create(name)) {}

    named(const named&) = delete;
    named& operator=(const named&) = delete;

    ~named() { segment<>::remove(name); }

    std::string name = support::own_name("broadcast");
    segment<> handle;
};

// The words of the object, as docs/layout.md has them.
template <class T>
char* address(shm_broadcast<T>& it, std::size_t offset) {
    return reinterpret_cast<char*>(&it) + offset;
}

template <class T>
std::atomic<std::uint64_t>& end_of(shm_broadcast<T>& it) {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(address(it, 24));
}

std::atomic<std::uint64_t>& slot_word(numbers& it, std::size_t index) {
    char* const pointer = address(it, 64);
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(
        pointer + *reinterpret_cast<const std::int64_t*>(pointer) + index * 16);
}

void publish(numbers& it, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t i = first; i <= last; ++i) {
        REQUIRE(it.publish(i));
    }
}

template <class Reader>
std::vector<std::uint64_t> rest_of(Reader& reader) {
    std::vector<std::uint64_t> found;
    while (const std::optional<std::uint64_t> each = reader.try_next()) {
        found.push_back(*each);
    }
    return found;
}

using list = std::vector<std::uint64_t>;

} // namespace

TEST_CASE("a broadcast has the same layout everywhere") {
    CHECK(sizeof(shm_broadcast<char>) == 128);
    CHECK(sizeof(shm_broadcast<aligned, waiting::spin>) == 128);
    CHECK(alignof(shm_broadcast<int>) == 64);
    CHECK(shareable<shm_broadcast<int>>);
    CHECK_FALSE(std::is_copy_constructible_v<numbers>);
    CHECK(std::is_copy_constructible_v<numbers::subscription>);
    CHECK(std::is_nothrow_move_constructible_v<numbers::claimed>);
    CHECK_FALSE(std::is_copy_constructible_v<numbers::claimed>);
}

TEST_CASE("the type of a broadcast is that of the messages, not the waiting policy") {
    CHECK(type_name_of<shm_broadcast<int>>() == "shm_broadcast<i32>");
    const named here;
    here.handle.construct<shm_broadcast<int>>("it", 4);
    std::error_code ec;
    CHECK(here.handle.find<shm_broadcast<int, waiting::block>>("it", ec) != nullptr);
    CHECK_FALSE(ec);
    CHECK(here.handle.find<shm_broadcast<unsigned>>("it", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);
}

TEST_CASE("the capacity of a broadcast") {
    const memory here = memory::create(std::size_t{1} << 16);
    const std::uint64_t used = here.used();
    CHECK(here.construct<numbers>("5", 5).capacity() == 8);
    CHECK(here.construct<numbers>("8", 8U).capacity() == 8);
    CHECK(here.construct<numbers>("1", 1).capacity() == 1);
    CHECK(here.destroy<numbers>("5"));
    CHECK(here.destroy<numbers>("8"));
    CHECK(here.destroy<numbers>("1"));
    CHECK(here.used() <= used + 4096); // the directory keeps its table
    std::error_code ec;
    CHECK(here.construct<numbers>("0", ec, 0) == nullptr);
    CHECK(ec == errc::invalid_size);
    CHECK(here.construct<numbers>("-1", ec, -1) == nullptr);
    CHECK(ec == errc::invalid_size);
    CHECK(here.construct<numbers>("large", ec, std::uint64_t{1} << 40) == nullptr);
    CHECK(ec == errc::invalid_size);
    CHECK(here.construct<shm_broadcast<bytes<4096>>>("full", ec, 1 << 20) == nullptr);
    CHECK(ec);                            // no room for that
    CHECK_THROWS_AS(numbers(4), failure); // outside of a segment
}

TEST_CASE("every reader gets every message, in order") {
    const memory here = memory::create();
    auto& it = here.construct<numbers>("it", 8);
    auto first = it.subscribe();
    CHECK_FALSE(first.try_next());
    publish(it, 1, 3);
    auto second = it.subscribe();
    auto third = it.subscribe(from::oldest);
    publish(it, 4, 5);
    auto copy = first;
    CHECK(rest_of(first) == list{1, 2, 3, 4, 5});
    CHECK(rest_of(second) == list{4, 5});
    CHECK(rest_of(third) == list{1, 2, 3, 4, 5});
    CHECK(rest_of(copy) == list{1, 2, 3, 4, 5});
    CHECK(first.missed() + second.missed() + third.missed() == 0);
    CHECK(it.published() == 5);
}

TEST_CASE("a slow reader learns how much it has missed") {
    for (const std::uint64_t capacity : {1U, 2U, 4U, 16U}) {
        const memory here = memory::create();
        auto& it = here.construct<numbers>("it", capacity);
        auto slow = it.subscribe();
        publish(it, 1, capacity); // just fits
        auto exact = slow;
        CHECK(rest_of(exact).size() == capacity);
        CHECK(exact.missed() == 0);
        publish(it, capacity + 1, capacity * 3 + 1);
        list last;
        for (std::uint64_t i = capacity * 2 + 2; i <= capacity * 3 + 1; ++i) {
            last.push_back(i);
        }
        CHECK(rest_of(slow) == last); // all that is there
        CHECK(slow.missed() == capacity * 2 + 1);
        CHECK(slow.missed() == 0);
        auto late = it.subscribe(from::oldest);
        CHECK(rest_of(late) == last);
        CHECK(late.missed() == 0);
    }
}

TEST_CASE_TEMPLATE("messages may have any size", T, bytes<1>, bytes<3>, bytes<8>, bytes<13>,
                   bytes<24>, bytes<25>, bytes<56>, bytes<57>, bytes<300>, bytes<4097>) {
    const memory here = memory::create(std::size_t{1} << 17);
    auto& it = here.construct<shm_broadcast<T>>("it", 4);
    auto reader = it.subscribe();
    for (std::uint64_t i = 0; i < 11; ++i) {
        CHECK(it.publish(T::of(i)));
        const std::optional<T> got = reader.next();
        REQUIRE(got);
        CHECK(got->is(i));
        CHECK(it.publish(T::of(i + 100)));
        T into{};
        CHECK(reader.next(into));
        CHECK(into.is(i + 100));
    }
}

TEST_CASE("aligned messages") {
    const memory here = memory::create();
    auto& it = here.construct<shm_broadcast<aligned>>("it", 2);
    auto reader = it.subscribe();
    for (int i = 0; i < 5; ++i) {
        auto place = it.claim();
        CHECK(reinterpret_cast<std::uintptr_t>(&*place) % 128 == 0);
        place->value = i;
        place.commit();
        CHECK(reader.next()->value == i);
    }
}

TEST_CASE("messages are written in place") {
    const memory here = memory::create();
    auto& it = here.construct<shm_broadcast<quote>>("it", 2);
    auto reader = it.subscribe();
    {
        auto place = it.claim();
        REQUIRE(place);
        place.emplace(quote{1, 2.5});
        CHECK_FALSE(reader.try_next());
        std::error_code ec;
        it.publish({3, 0}, ec); // this thread is at it itself
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        std::thread([&] {
            CHECK_FALSE(it.try_claim());
            CHECK_FALSE(it.try_claim(ec));
            CHECK(ec == errc::busy);
            CHECK_FALSE(it.try_publish({3, 0}));
            CHECK_FALSE(it.try_publish({3, 0}, ec));
            CHECK(ec == errc::busy);
            CHECK_FALSE(it.publish_for({3, 0}, 1ms));
            CHECK_FALSE(it.publish_for({3, 0}, 1ms, ec));
            CHECK(ec == std::errc::timed_out);
            CHECK_FALSE(it.publish_until({3, 0}, std::chrono::steady_clock::now() + 1ms));
            CHECK_FALSE(it.publish_until({3, 0}, std::chrono::system_clock::now() + 1ms, ec));
            CHECK(ec == std::errc::timed_out);
        }).join();
        auto moved = std::move(place);
        CHECK_FALSE(place); // NOLINT: it is empty
        place.commit();     // does nothing
        CHECK_FALSE(reader.try_next());
        moved.commit();
        CHECK_FALSE(moved);
    }
    CHECK(reader.try_next()->second == 2.5);
    {
        std::error_code ec = errc::busy;
        auto place = it.claim(ec);
        CHECK_FALSE(ec);
        place->first = 9; // and not committed
    }
    CHECK_FALSE(reader.try_next());
    CHECK(it.published() == 1);
    std::error_code ec;
    auto place = it.try_claim(ec);
    CHECK_FALSE(ec);
    *place = {4, 4.5};
    place.commit();
    CHECK(reader.next()->first == 4);
    CHECK(reader.missed() == 0);
}

TEST_CASE("the forms of publishing") {
    const memory here = memory::create();
    auto& it = here.construct<numbers>("it", 16);
    auto reader = it.subscribe();
    std::error_code ec = errc::busy;
    CHECK(it.publish(1, ec));
    CHECK_FALSE(ec);
    CHECK(it.try_publish(2));
    CHECK(it.try_publish(3, ec));
    CHECK(it.publish_for(4, 1s));
    CHECK(it.publish_for(5, 1s, ec));
    CHECK(it.publish_until(6, std::chrono::steady_clock::now()));
    CHECK(it.publish_until(7, std::chrono::system_clock::now() + 1s, ec));
    CHECK_FALSE(ec);
    CHECK(rest_of(reader) == list{1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("a closed broadcast is read to its end") {
    const memory here = memory::create();
    auto& it = here.construct<numbers>("it", 4);
    auto reader = it.subscribe();
    publish(it, 1, 2);
    CHECK_FALSE(it.is_closed());
    it.close();
    it.close();
    CHECK(it.is_closed());
    std::error_code ec;
    CHECK_FALSE(it.publish(3));
    CHECK_FALSE(it.publish(3, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(it.try_publish(3, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(it.claim());
    CHECK_FALSE(it.claim(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(it.try_claim(ec));
    CHECK(ec == errc::closed);
    CHECK(reader.next() == std::optional<std::uint64_t>(1));
    CHECK(reader.next(ec) == std::optional<std::uint64_t>(2));
    CHECK_FALSE(ec);
    CHECK_FALSE(reader.next());
    CHECK_FALSE(reader.next(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(reader.try_next(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(reader.next_for(1s, ec));
    CHECK(ec == errc::closed);
    it.close(ec);
    CHECK_FALSE(ec);
}

TEST_CASE("a reader waits for the next message") {
    const memory here = memory::create();
    auto& it = here.construct<shm_broadcast<int, waiting::block>>("it", 4);
    auto reader = it.subscribe();
    std::error_code ec;
    CHECK_FALSE(reader.try_next(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(reader.next_for(0s));
    CHECK_FALSE(reader.next_for(2ms));
    CHECK_FALSE(reader.next_for(2ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(reader.next_until(std::chrono::steady_clock::now() + 2ms));
    CHECK_FALSE(reader.next_until(std::chrono::system_clock::now() - 1s, ec));
    CHECK(ec == std::errc::timed_out);
    int into = 0;
    CHECK_FALSE(reader.try_next(into));
    CHECK_FALSE(reader.next_for(into, 1ms));
    CHECK_FALSE(reader.next_until(into, std::chrono::steady_clock::now() + 1ms));
    std::thread writer([&] {
        for (int i = 1; i <= 4; ++i) {
            std::this_thread::sleep_for(5ms);
            it.publish(i);
        }
        std::this_thread::sleep_for(5ms);
        it.close();
    });
    CHECK(reader.next() == 1);
    CHECK(reader.next_for(10s, ec) == 2);
    CHECK_FALSE(ec);
    CHECK(reader.next_until(std::chrono::system_clock::now() + 10s) == 3);
    CHECK(reader.next(into));
    CHECK(into == 4);
    CHECK_FALSE(reader.next());
    writer.join();
}

TEST_CASE("a writer that dies leaves a broadcast that others continue") {
    const memory here = memory::create();
    auto& it = here.construct<numbers>("it", 2);
    auto reader = it.subscribe();
    publish(it, 1, 2);
    // Killed while it writes the third message over the first one.
    slot_word(it, 0) = 5;
    CHECK(rest_of(reader) == list{2});
    CHECK(reader.missed() == 1);
    publish(it, 3, 3);
    CHECK(rest_of(reader) == list{3});
    // Killed after it has published the fourth, before it has counted it.
    publish(it, 4, 4);
    end_of(it) = 3;
    CHECK(it.published() == 4);
    auto now = it.subscribe();
    CHECK(rest_of(reader) == list{4});
    publish(it, 5, 5);
    CHECK(it.published() == 5);
    CHECK(rest_of(reader) == list{5});
    CHECK(rest_of(now) == list{5});
    CHECK(reader.missed() == 0);
}

TEST_CASE("publishing is permanent, even in a section that is undone") {
    const memory here = memory::create();
    auto& it = here.construct<numbers>("it", 2);
    auto& guarded = here.construct<shm_guarded<shm_vector<int>>>("guarded");
    auto reader = it.subscribe();
    try {
        guarded.with([&](shm_vector<int>& values) {
            values.push_back(1);
            it.publish(2);
            throw 0;
        });
    } catch (int) {
    }
    CHECK(guarded.lock()->empty());
    CHECK(reader.try_next() == std::optional<std::uint64_t>(2));
}

TEST_CASE("two mappings of one broadcast work as one, and so does a view") {
    const named here;
    auto& mine = here.handle.construct<numbers>("it", 64);
    const segment<> second = segment<>::open(here.name);
    auto* const theirs = second.find<numbers>("it");
    const auto view = segment<>::open(here.name, read_only);
    const auto* const seen = view.find<numbers>("it");
    REQUIRE(theirs != nullptr);
    REQUIRE(seen != nullptr);
    auto first = theirs->subscribe();
    auto last = seen->subscribe();
    for (std::uint64_t i = 0; i < 40; ++i) {
        (i % 2 == 0 ? mine : *theirs).publish(i);
    }
    CHECK(rest_of(first).size() == 40);
    CHECK(rest_of(last).size() == 40);
    CHECK_FALSE(last.next_for(3ms));
    std::thread through_view([&] { CHECK(last.next() == std::optional<std::uint64_t>(40)); });
    std::thread through_second([&] { CHECK(first.next() == std::optional<std::uint64_t>(40)); });
    std::this_thread::sleep_for(15ms);
    mine.publish(40);
    through_view.join();
    through_second.join();
    CHECK(second.destroy<numbers>("it")); // made at one address, destroyed at another
}

TEST_CASE("a broadcast as the root of a segment") {
    const std::string name = support::own_name("broadcast-root");
    using root = shared<shm_broadcast<int>>;
    {
        const root writer = root::create(name, 4);
        writer->publish(5);
        const auto reader = root::open(name, read_only);
        CHECK(reader->subscribe(from::oldest).try_next() == 5);
    }
    root::remove(name);
}

TEST_CASE_TEMPLATE("threads get whole messages in order, or know what they have missed", T,
                   bytes<8>, bytes<24>, bytes<100>) {
    struct numbered {
        std::uint32_t writer;
        std::uint32_t number;
        T rest;
    };

    const memory here = memory::create(std::size_t{1} << 17);
    constexpr std::uint32_t count = 3000;
    for (const int capacity : {1, 4, 256}) {
        auto& it = here.construct<shm_broadcast<numbered>>("it", capacity);
        std::vector<std::thread> threads;
        std::atomic<int> wrong{0};
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([&, reader = it.subscribe()]() mutable {
                std::uint64_t got = 0;
                std::uint64_t missed = 0;
                std::uint32_t last[2] = {};
                while (const std::optional<numbered> each = reader.next()) {
                    ++got;
                    missed += reader.missed();
                    wrong += each->writer > 1 || each->number <= last[each->writer] ? 1 : 0;
                    wrong += each->rest.is(each->number) ? 0 : 1;
                    last[each->writer & 1] = each->number;
                }
                missed += reader.missed();
                wrong += got + missed == 2 * count ? 0 : 1;
            });
        }
        std::vector<std::thread> writers;
        for (std::uint32_t i = 0; i < 2; ++i) {
            writers.emplace_back([&it, i] {
                for (std::uint32_t number = 1; number <= count; ++number) {
                    it.publish({i, number, T::of(number)});
                }
            });
        }
        for (std::thread& each : writers) {
            each.join();
        }
        it.close();
        for (std::thread& each : threads) {
            each.join();
        }
        CHECK(wrong == 0);
        CHECK(it.published() == 2 * count);
        CHECK(here.destroy<shm_broadcast<numbered>>("it"));
    }
}

TEST_CASE("a stopped writer holds up other writers, but no reader; a claim in a child is nothing") {
    const named here;
    auto& it = here.handle.construct<numbers>("it", 4);
    publish(it, 1, 2);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const segment<> mine = segment<>::open(here.name);
        auto place = mine.find<numbers>("it")->claim();
        *place = 7;
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, WUNTRACED) == child);
    REQUIRE(WIFSTOPPED(status));
    std::error_code ec;
    CHECK_FALSE(it.publish_for(8, 10ms, ec));
    CHECK(ec == std::errc::timed_out);
    auto reader = it.subscribe(from::oldest);
    CHECK(rest_of(reader) == list{1, 2});
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(it.publish(9));
    CHECK(rest_of(reader) == list{9});

    auto place = it.claim();
    *place = 10;
    const pid_t heir = fork();
    REQUIRE(heir >= 0);
    if (heir == 0) {
        place.commit();
        _exit(it.published() == 3 ? 0 : 1);
    }
    REQUIRE(waitpid(heir, &status, 0) == heir);
    CHECK(status == 0);
    CHECK_FALSE(reader.try_next());
    place.commit();
    CHECK(rest_of(reader) == list{10});
}

TEST_CASE("damaged positions of a broadcast lead nowhere else, and into no endless loop") {
    const memory here = memory::create();
    auto& it = here.construct<numbers>("it", 4);
    std::mt19937_64 random(7);
    for (int i = 0; i < 3000; ++i) {
        const auto some = [&] {
            return random() % 3 == 0 ? random() % 32 : random() >> random() % 64;
        };
        auto reader = it.subscribe(random() % 2 == 0 ? from::now : from::oldest);
        end_of(it) = some();
        for (std::size_t slot = 0; slot < 4; ++slot) {
            if (random() % 2 == 0) {
                slot_word(it, slot) = some();
            }
        }
        for (int j = 0; j < 6; ++j) {
            static_cast<void>(reader.try_next());
        }
        static_cast<void>(reader.next_for(0s));
        std::error_code ec;
        CHECK(it.publish(static_cast<std::uint64_t>(i), ec));
        auto other = it.subscribe(from::oldest);
        for (int j = 0; j < 6; ++j) {
            static_cast<void>(other.try_next());
        }
    }
}
