// Frames of a camera, which are written and read where they lie in the queue, without a copy.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstdint>
#include <thread>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region type
struct frame {
    std::uint32_t number;
    std::array<std::uint8_t, std::size_t{640} * 480> pixels;
};

using frames = cohold::shm_queue<frame, cohold::concurrency::spsc>;

// #endregion type

namespace {

void expose(frame& to, std::uint32_t number) {
    to.number = number;
    to.pixels.fill(static_cast<std::uint8_t>(number));
}

} // namespace

int main() {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(8 << 20);
    frames& queue = segment.construct<frames>("frames", 4);
    std::thread camera([&] {
        for (std::uint32_t number = 0; number < 100; ++number) {
            // #region claim
            if (auto slot = queue.claim()) { // waits for room
                expose(*slot, number);
                slot.commit(); // without this, the slot never was
            }
            // #endregion claim
        }
        queue.close();
    });
    std::uint32_t next = 0;
    // #region front
    while (const auto view = queue.front()) { // waits for a frame; empty at the end
        check(view->number == next++);
        check(std::ranges::count(view->pixels, static_cast<std::uint8_t>(view->number)) ==
              640 * 480);
    } // here each frame is removed
    // #endregion front
    camera.join();
    check(next == 100);
}
