// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/reader_waiting.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include <poll.h>
#include <unistd.h>

#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_latch.hpp>

#include <doctest/doctest.h>

using namespace cohold;
using detail::deadline;
using detail::outcome;

TEST_CASE("a word in a segment that is mapped for writing can be written") {
    const auto handle = segment<mechanism::memfd>::create(1 << 20);
    auto& inside = handle.construct<std::uint32_t>("word", 0u);
    CHECK(detail::can_write(reinterpret_cast<const detail::wait_word&>(inside)));
    const detail::wait_word outside;
    CHECK_FALSE(detail::can_write(outside));
}

TEST_CASE("a latch is waited for and watched through a read-only view") {
    const std::string name = "cohold-unit-reader-waiting-" + std::to_string(::getpid());
    const auto handle = segment<>::create(name, std::size_t{1} << 20);
    auto& latch = handle.construct<shm_latch>("latch", 1);
    const auto view = segment<>::open(name, read_only);
    segment<>::remove(name);
    const auto* const seen = view.find<shm_latch>("latch");
    REQUIRE(seen != nullptr);
    CHECK_FALSE(seen->wait_for(std::chrono::milliseconds(5)));
    pollfd wanted{seen->native_event(), POLLIN, 0};
    CHECK(::poll(&wanted, 1, 5) == 0);
    seen->watch().close(); // also one that sleeps
    std::thread writer([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        latch.count_down();
    });
    seen->wait();
    CHECK(::poll(&wanted, 1, 60000) == 1);
    writer.join();
}

TEST_CASE("a reader notices a change of which nobody tells it") {
    detail::wait_word word; // not in a segment
    std::atomic<bool> changed{false};
    std::thread writer([&] { changed = true; });
    auto attempt = [&] { return changed ? outcome::done : outcome::blocked; };
    const auto result =
        detail::await_as_reader<waiting::block>(word, attempt, deadline::in(60'000'000'000));
    CHECK(result.what == outcome::done);
    CHECK_FALSE(word.awaited()); // it has written nothing
    writer.join();
    auto never = [] { return outcome::blocked; };
    CHECK(detail::await_as_reader<waiting::block>(word, never, deadline::in(1000000)).what ==
          outcome::blocked);
}
