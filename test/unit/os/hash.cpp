// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/hash.hpp>

#include <ostream>
#include <set>
#include <string>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("hashes are part of the layout: they never change") {
    static_assert(hash64("") == 0xefd01f60ba992926u);
    CHECK(hash64("cohold") == hash64(std::string("cohold")));
    CHECK(hash64("a") != hash64("b"));
    CHECK(hash64("a", 1) != hash64("a", 2));
    CHECK(hash64({"a\0b", 3}) != hash64({"a\0c", 3}));
    CHECK(hash128("a") == hash_pair{hash64("a"), hash64("a", 0x9ae16a3b2f90404fu)});
    CHECK_FALSE(hash128("a") == hash128("b"));
}

TEST_CASE("zeros are hashed quickly, but to the same") {
    for (std::size_t count = 0; count < 40; ++count) {
        std::string bytes(count, '\0');
        CHECK(hash64_of_sparse(bytes.data(), count) == hash64(bytes));
        for (std::size_t at = 0; at < count; ++at) {
            bytes.assign(count, '\0');
            bytes[at] = static_cast<char>(0x80 + at);
            CHECK(hash64_of_sparse(bytes.data(), count) == hash64(bytes));
        }
        bytes.assign(count, 'x');
        CHECK(hash64_of_sparse(bytes.data(), count) == hash64(bytes));
    }
}

TEST_CASE("names that differ little have hashes that differ everywhere") {
    std::set<std::uint64_t> low;
    std::set<std::uint64_t> high;
    for (int i = 0; i < 4096; ++i) {
        const std::uint64_t hash = hash64("name." + std::to_string(i));
        low.insert(hash & 0xffff);
        high.insert(hash >> 48);
    }
    CHECK(low.size() > 3700); // of 4096 in 65536 places, about 3970 differ
    CHECK(high.size() > 3700);
}

TEST_CASE("numbers as text") {
    CHECK(to_hex(std::uint64_t{0}, 4) == "0000");
    CHECK(to_hex(std::uint64_t{0xabcd}, 2) == "cd");
    CHECK(to_hex(UINT64_MAX, 16) == "ffffffffffffffff");
    CHECK(to_hex(hash_pair{1, 0xff}) == "000000000000000100000000000000ff");
    CHECK(key_text(0xdeadbeef) == "0xdeadbeef");
    CHECK(key_text(1) == "0x00000001");
}
