// shm_hash: fixed values, so that no build disagrees with another, and how well it spreads.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohold/container/shm_hash.hpp>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

enum class colour : std::uint8_t { red, green };

struct point {
    std::int32_t x;
    std::int32_t y;
};

struct name {
    char text[32];

    operator std::string_view() const noexcept { return text; } // NOLINT: as strings convert
};

// The largest number of keys that share a value of some bits, for as many keys as values.
template <class Bits>
std::size_t fullest(const std::vector<std::uint64_t>& hashes, Bits bits) {
    std::vector<std::size_t> counts(hashes.size());
    std::size_t most = 0;
    for (const std::uint64_t each : hashes) {
        most = std::max(most, ++counts[static_cast<std::size_t>(bits(each)) % counts.size()]);
    }
    return most;
}

template <class Key>
std::uint64_t hash_of(const Key& key, std::uint64_t seed = 0) {
    return shm_hash<Key>()(key, seed);
}

} // namespace

// Computed by the program in docs/layout.md. They must never change.
TEST_CASE("the hash of a value is the same in every build") {
    CHECK(hash_of(std::uint64_t{0}) == 0xe18485764ba03644u);
    CHECK(hash_of(std::uint64_t{1}) == 0x4fcdfcacca5aaa31u);
    CHECK(hash_of(std::uint64_t{1}, 0x123456789abcdef0u) == 0x05a94c7e7eb12223u);
    CHECK(hash_of(std::int32_t{-1}) == 0xee36714144573794u);
    const auto text = [](std::string_view of, std::uint64_t seed = 0) { return hash_of(of, seed); };
    CHECK(text("") == 0x28fe09f9d2b6a28au);
    CHECK(text("a") == 0xc7fb2e2caabc6938u);
    CHECK(text("abc") == 0x18046d294474e150u);
    CHECK(text("abcdefg") == 0x84147fa2ca9886d9u);
    CHECK(text("the quick brown") == 0x6c3e666cef22d2e7u);
    CHECK(text("the quick brown fox jumps over the lazy dog", 42) == 0x0632c817f2cbf5f4u);
}

TEST_CASE("equal values have equal hashes, whatever their type") {
    CHECK(hash_of(std::uint8_t{200}) == hash_of(std::uint64_t{200}));
    CHECK(hash_of(std::int8_t{-3}) == hash_of(std::int64_t{-3}));
    CHECK(hash_of(char{'x'}) == hash_of(std::uint64_t{'x'}));
    CHECK(hash_of(static_cast<char>(0xff)) == hash_of(std::uint64_t{0xff}));
    CHECK(hash_of(colour::green) == hash_of(std::uint64_t{1}));
    CHECK(hash_of(0.0) == hash_of(-0.0));
    CHECK(hash_of(0.0f) == hash_of(-0.0f));
    CHECK(hash_of(1.0) != hash_of(2.0));
    CHECK(hash_of(std::string("many")) == hash_of(std::string_view("many")));
    CHECK(hash_of(name{"many"}) == hash_of(std::string_view("many")));
    CHECK(hash_of(std::array<char, 4>{'m', 'a', 'n', 'y'}) == hash_of(std::string_view("many")));
    CHECK(hash_of(point{1, 2}) == hash_of(std::string_view("\1\0\0\0\2\0\0\0", 8)));
}

TEST_CASE("what consists of parts is hashed part by part") {
    const auto both = hash_of(std::pair<int, std::string>{7, "seven"}, 3);
    CHECK(both == hash_of(std::string("seven"), hash_of(7, 3)));
    CHECK(both != hash_of(std::pair<int, std::string>{8, "seven"}, 3));
    CHECK(hash_of(std::array<int, 2>{1, 2}) == hash_of(2, hash_of(1)));
    CHECK(hash_of(std::array<int, 2>{1, 2}) != hash_of(std::array<int, 2>{2, 1}));
}

TEST_CASE("every byte and the length count") {
    std::string text(70, 'a');
    std::vector<std::uint64_t> seen;
    for (std::size_t length = 0; length <= text.size(); ++length) {
        seen.push_back(hash_of(std::string_view(text).substr(0, length)));
        for (std::size_t at = 0; at < length; ++at) {
            text[at] = 'b';
            seen.push_back(hash_of(std::string_view(text).substr(0, length)));
            text[at] = 'a';
        }
    }
    std::sort(seen.begin(), seen.end());
    CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
}

// A table uses the first bits for the block, and the last ones for the group. For 65,536 keys and
// values, ten in one place are to be expected; a bad hash has thousands.
TEST_CASE("patterns of numbers spread over the first and the last bits") {
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{0x9d8f00123456789au}}) {
        for (const int shift : {0, 1, 8, 16, 32, 47, 48}) {
            for (const std::uint64_t step : {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{10},
                                             std::uint64_t{4096}, std::uint64_t{65536}}) {
                CAPTURE(shift);
                CAPTURE(step);
                std::vector<std::uint64_t> hashes(65536);
                if (shift + static_cast<int>(std::bit_width(step)) > 49) {
                    continue; // some keys would be equal
                }
                for (std::size_t i = 0; i < hashes.size(); ++i) {
                    hashes[i] = hash_of(i * step << shift, seed);
                }
                CHECK(fullest(hashes, [](std::uint64_t hash) { return hash >> 48; }) < 24);
                CHECK(fullest(hashes, [](std::uint64_t hash) { return hash & 0xffff; }) < 24);
                CHECK(fullest(hashes, [](std::uint64_t hash) { return hash >> 4 & 0xffff; }) < 24);
            }
        }
    }
}

TEST_CASE("patterns of text spread over the first and the last bits") {
    std::vector<std::uint64_t> hashes(65536);
    for (const char* const form : {"user:", "", "/a/long/path/with/a/number/at/the/end/"}) {
        for (std::size_t i = 0; i < hashes.size(); ++i) {
            hashes[i] = hash_of(form + std::to_string(i));
        }
        CHECK(fullest(hashes, [](std::uint64_t hash) { return hash >> 48; }) < 24);
        CHECK(fullest(hashes, [](std::uint64_t hash) { return hash & 0xffff; }) < 24);
    }
}

TEST_CASE("each bit of a number and of the seed changes about half of the hash") {
    for (int bit = 0; bit < 64; ++bit) {
        int of_number = 0;
        int of_seed = 0;
        for (std::uint64_t i = 0; i < 256; ++i) {
            const std::uint64_t number = i * 0x0123456789abcdefu + i;
            const std::uint64_t other = std::uint64_t{1} << bit;
            of_number += std::popcount(hash_of(number, i) ^ hash_of(number ^ other, i));
            of_seed += std::popcount(hash_of(std::string_view("key"), i) ^
                                     hash_of(std::string_view("key"), i ^ other));
        }
        CAPTURE(bit);
        CHECK(of_number > 256 * 20);
        CHECK(of_number < 256 * 44);
        CHECK(of_seed > 256 * 24);
        CHECK(of_seed < 256 * 40);
    }
}
