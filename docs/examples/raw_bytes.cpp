// Shared bytes without any structure of the library.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <cstddef>

#include <cohold/cohold.hpp>

#include "check.hpp"

int main() {
    using object = cohold::memory_object<>;
    object::remove("example-bytes");

    // #region use
    auto memory = object::create("example-bytes", 8192); // zeroed, and backed by real memory
    const cohold::mapped_region region = memory.map();
    const std::span<std::byte> bytes = region.bytes();
    std::fill(bytes.begin(), bytes.end(), std::byte{0x5a});

    const auto reader = object::open("example-bytes", cohold::read_only);
    const cohold::const_mapped_region view = reader.map(cohold::read_only);
    check(view.bytes()[8191] == std::byte{0x5a});

    memory.grow(16384); // regions made before keep their size
    check(reader.size() == 16384 && view.size() == 8192);
    // #endregion use

    check(object::remove("example-bytes"));
    check(memory.is_removed());
}
