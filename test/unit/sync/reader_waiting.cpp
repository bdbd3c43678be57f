// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/reader_waiting.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

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
