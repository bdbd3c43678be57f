// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <cohold/container/detail/element_copy.hpp>

#include <doctest/doctest.h>

using namespace cohold::detail;

namespace {

template <std::size_t Size, std::size_t Alignment = 1>
struct alignas(Alignment) sized {
    std::array<std::byte, Size> bytes;
};

} // namespace

TEST_CASE_TEMPLATE("elements are copied whole, and nothing beside them", T, char, sized<15>,
                   sized<16>, sized<17>, sized<31>, sized<64>, sized<100>, sized<1000>, sized<1024>,
                   sized<1025>, std::uint16_t, std::uint32_t, sized<24, 8>) {
    struct guarded {
        std::byte before[16];
        alignas(T) std::byte bytes[sizeof(T)];
        std::byte after[16];
    };

    guarded from{};
    guarded to{};
    std::memset(static_cast<void*>(&from), 0x55, sizeof from);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        from.bytes[i] = static_cast<std::byte>(i * 7);
    }
    for (const bool racing : {false, true}) {
        std::memset(static_cast<void*>(&to), 0, sizeof to);
        if (racing) {
            copy_racing<T>(to.bytes, from.bytes);
        } else {
            copy_element(reinterpret_cast<T*>(to.bytes), reinterpret_cast<const T*>(from.bytes));
        }
        CHECK(std::memcmp(to.bytes, from.bytes, sizeof(T)) == 0);
        for (std::size_t i = 0; i < 16; ++i) {
            CHECK(to.before[i] == std::byte{0});
            CHECK(to.after[i] == std::byte{0});
        }
    }
}
