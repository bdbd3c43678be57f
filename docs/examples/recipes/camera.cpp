// Camera frames: written once, seen by several processes without a copy. A slow one misses frames
// and delays no other; one that is killed gives back the frames that it held.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <numeric>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "../check.hpp"

// #region types
struct frame {
    std::uint32_t number = 0;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    cohold::shm_vector<std::uint8_t> pixels{};
};

using frame_pointer = cohold::shm_shared_ptr<const frame>;
using frame_queue = cohold::shm_queue<frame_pointer, cohold::concurrency::spsc>;

struct viewer {
    frame_queue frames{2}; // as many as may wait for it
    std::atomic<std::uint32_t> missed = 0;
};

// #endregion types

namespace {

template <class Segment>
// #region show
void show(const Segment& segment, std::uint32_t number, viewer* const (&viewers)[2]) {
    auto made = cohold::make_shm_shared<frame>(segment, number, 640U, 480U);
    made->pixels.resize(640 * 480, static_cast<std::uint8_t>(number));
    const frame_pointer done = std::move(made); // nobody changes it from now on
    for (viewer* const each : viewers) {
        if (!each->frames.try_push(done)) {
            ++each->missed;
        }
    }
}

// #endregion show

// #region view
int view_all(viewer& mine) {
    std::uint32_t last = 0;
    while (const auto next = mine.frames.pop()) { // waits; empty once the camera has closed it
        const frame& shown = **next;              // stays until `next` ends
        const auto [darkest, brightest] = std::ranges::minmax(shown.pixels);
        if (darkest != brightest || darkest != shown.number || shown.number <= last) {
            return 1;
        }
        last = shown.number;
    }
    return last == 0 ? 2 : 0;
}

// #endregion view

} // namespace

int main() {
    cohold::segment<>::remove("example-camera");
    const auto segment = cohold::segment<>::create("example-camera", 16 << 20);
    viewer* const viewers[] = {&segment.construct<viewer>("left"),
                               &segment.construct<viewer>("right")};
    const pid_t good = fork();
    if (good == 0) {
        _exit(view_all(*viewers[0]));
    }
    const pid_t bad = fork();
    if (bad == 0) { // takes a frame and never returns it
        const auto held = viewers[1]->frames.pop();
        pause();
        _exit(0);
    }
    show(segment, 1, viewers);
    while (!viewers[1]->frames.empty()) {
        usleep(1000);
    }
    for (std::uint32_t number = 2; number <= 50; ++number) {
        show(segment, number, viewers);
        usleep(1000);
    }
    check(viewers[1]->missed == 47); // one is held, two wait
    kill(bad, SIGKILL);
    waitpid(bad, nullptr, 0);
    segment.recover();

    for (viewer* const each : viewers) {
        each->frames.close();
    }
    int status = 1;
    check(waitpid(good, &status, 0) == good && status == 0);
    while (viewers[1]->frames.try_pop()) {
    }
    segment.recover();
    check(segment.used() < 640 * 480); // no frame is left
    check(cohold::segment<>::remove("example-camera"));
}
