// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/journal.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace detail = cohold::detail;
using detail::byte_shift;
using detail::shift_words;

namespace {

// A shift by itself: the moved bytes, with room on both sides, and the words, with a step in front.
struct scene {
    scene(std::uint64_t bytes, std::ptrdiff_t distance, std::uint64_t step)
        : length(bytes), by(distance), room(step + sizeof(shift_words)),
          noted(static_cast<std::size_t>(room / 8)),
          memory(margin * 2 + static_cast<std::size_t>(bytes), '.') {
        for (std::uint64_t i = 0; i < bytes; ++i) {
            place()[i] = static_cast<char>('a' + i * 7 % 26);
        }
        before.assign(place(), static_cast<std::size_t>(bytes));
        words().bytes = bytes;
        words().distance = static_cast<std::uint64_t>(std::int64_t{distance});
        words().progress = byte_shift::begin_of(bytes, distance);
    }

    [[nodiscard]] char* place() { return memory.data() + margin; }

    [[nodiscard]] shift_words& words() {
        return *reinterpret_cast<shift_words*>(reinterpret_cast<char*>(noted.data()) + room -
                                               sizeof(shift_words));
    }

    [[nodiscard]] byte_shift shift() { return {place(), words(), room}; }

    [[nodiscard]] std::string now(std::ptrdiff_t where = 0) {
        return {place() + where, static_cast<std::size_t>(length)};
    }

    static constexpr std::size_t margin = 3000;
    std::uint64_t length;
    std::ptrdiff_t by;
    std::uint64_t room;
    std::vector<std::uint64_t> noted;
    std::string memory;
    std::string before;
};

struct shape {
    std::uint64_t bytes;
    std::ptrdiff_t distance;
    std::uint64_t step; // 0: as long as the distance
};

// Longer and shorter than a step, by one and by more than one, up and down, saved and not saved.
constexpr shape shapes[] = {
    {1, 1, 0},         {1, -1, 0},       {64, 8, 64},     {64, -8, 64},     {65, 8, 64},
    {65, -8, 64},      {63, 1, 64},      {1000, 8, 128},  {1000, -8, 128},  {1000, 300, 128},
    {1000, -300, 128}, {1024, 64, 64},   {1024, -64, 64}, {2000, 3, 1024},  {2000, -3, 1024},
    {2500, 1024, 0},   {2500, -1024, 0}, {1000, 2048, 0}, {1000, -2048, 0}, {2048, 1024, 0},
};

} // namespace

TEST_CASE("bytes are moved, and moved back") {
    for (const shape& each : shapes) {
        CAPTURE(each.bytes);
        CAPTURE(each.distance);
        CAPTURE(each.step);
        scene s(each.bytes, each.distance, each.step);
        CHECK(byte_shift::keeps(each.bytes, each.distance) == (each.step != 0));
        CHECK(s.shift().is_possible());
        s.shift().run();
        CHECK(s.now(each.distance) == s.before);
        CHECK(s.words().progress == byte_shift::end_of(each.bytes, each.distance));
        // Nothing else has changed.
        const auto length = static_cast<std::size_t>(each.bytes);
        const auto far =
            static_cast<std::size_t>(each.distance < 0 ? -each.distance : each.distance);
        const std::size_t first = scene::margin - (each.distance < 0 ? far : 0);
        const std::size_t behind = scene::margin + length + (each.distance > 0 ? far : 0);
        CHECK(s.memory.find_first_not_of('.') >= first);
        CHECK(s.memory.find_first_not_of('.', behind) == std::string::npos);
        s.shift().undo();
        CHECK(s.now() == s.before);
        CHECK(s.words().progress == byte_shift::begin_of(each.bytes, each.distance));
        s.shift().undo(); // there is nothing to do
        CHECK(s.now() == s.before);
    }
}

TEST_CASE("wherever a move was left, and whatever the place contains, everything comes back") {
    for (const shape& each : shapes) {
        CAPTURE(each.bytes);
        CAPTURE(each.distance);
        CAPTURE(each.step);
        const std::uint64_t step =
            each.step != 0
                ? each.step
                : static_cast<std::uint64_t>(each.distance < 0 ? -each.distance : each.distance);
        for (std::uint64_t at = 0; at <= each.bytes; at += step) {
            for (const bool held : {false, true}) {
                if (held && (each.step == 0 || at == each.bytes)) {
                    continue;
                }
                CAPTURE(at);
                CAPTURE(held);
                scene s(each.bytes, each.distance, each.step);
                const std::string whole = s.before;
                const std::uint64_t size = std::min(step, each.bytes - at);
                // The moved bytes, the others, and garbage everywhere else.
                const std::uint64_t first = each.distance > 0 ? (held ? at + size : at) : 0;
                const std::uint64_t last = each.distance > 0 ? each.bytes : at;
                const std::uint64_t rest = each.distance > 0 ? 0 : (held ? at + size : at);
                const std::uint64_t rest_end = each.distance > 0 ? at : each.bytes;
                std::fill(s.memory.begin(), s.memory.end(), '#');
                std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(rest), rest_end - rest,
                            s.place() + rest);
                std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(first), last - first,
                            s.place() + first + each.distance);
                if (held) {
                    std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(at), size,
                                reinterpret_cast<char*>(&s.words()) - each.step);
                }
                s.words().progress = at * 2 + (held ? 1 : 0);
                s.shift().undo();
                CHECK(s.now() == whole);
                CHECK(s.words().progress == byte_shift::begin_of(each.bytes, each.distance));
            }
        }
    }
}

TEST_CASE("what nobody can have written is not possible, or does nothing") {
    scene s(1000, 8, 128);
    s.words().progress = 2002;
    s.shift().undo();
    CHECK(s.now() == s.before);
    s.words().distance = 0;
    CHECK_FALSE(s.shift().is_possible());
    s.words().distance = 8;
    s.words().bytes = 0;
    CHECK_FALSE(s.shift().is_possible());
    scene short_steps(1000, 8, 0); // otherwise as many as there are elements
    CHECK_FALSE(short_steps.shift().is_possible());
    scene too_little(1000, 8, 56);
    CHECK_FALSE(too_little.shift().is_possible());
}

TEST_CASE("without a record it is moved back at once") {
    scene s(1000, 8, 128);
    std::memmove(s.place() + 8, s.place(), 1000);
    byte_shift(s.place(), 1000, 8).undo();
    CHECK(s.now() == s.before);
}
