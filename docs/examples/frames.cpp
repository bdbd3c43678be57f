// Frames that go from a camera to a viewer without a copy.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <csignal>
#include <cstdint>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

namespace {

// #region types
struct frame {
    std::uint64_t number;
    std::array<std::uint8_t, 640 * 480> pixels;
};

struct stream {
    cohold::shm_pool<frame> pool{8};
    cohold::shm_queue<cohold::shm_loan<frame>> queue{4};
    cohold::shm_broadcast<cohold::shm_loan<frame>> shows{2}; // the last two
};

// #endregion types

void film(stream& to, std::uint64_t count) {
    // #region send
    for (std::uint64_t number = 1; number <= count; ++number) {
        cohold::shm_loan<frame> next = to.pool.loan(); // waits until one has come back
        next->number = number;
        next->pixels[0] = 255;
        to.queue.push(std::move(next)); // no pixel is copied
    }
    // #endregion send
}

} // namespace

int main() {
    const auto shared =
        cohold::shared<stream, cohold::mechanism::memfd>::create({.size = std::size_t{4} << 20});
    const pid_t camera = ::fork();
    if (camera == 0) {
        film(*shared, 20);
        const cohold::shm_loan<frame> last = shared->pool.loan();
        ::raise(SIGKILL); // with a loan
    }
    // #region receive
    for (std::uint64_t number = 1; number <= 20; ++number) {
        const auto shown = shared->queue.pop(); // an optional loan
        check((*shown)->number == number);
    } // here the frame goes back to the pool
    // #endregion receive
    // #region broadcast
    auto viewer = shared->shows.subscribe();
    auto recorder = shared->shows.subscribe();
    for (std::uint64_t number = 1; number <= 2; ++number) {
        cohold::shm_loan<frame> next = shared->pool.loan();
        next->number = number;
        shared->shows.publish(std::move(next));
    }
    const auto seen = viewer.next(); // an optional loan
    const auto recorded = recorder.next();
    check((*seen)->number == 1 && seen->get() == recorded->get()); // the same object
    // #endregion broadcast
    int status = 0;
    check(::waitpid(camera, &status, 0) == camera && WIFSIGNALED(status));
    shared.recover(); // the pool would do that when it is empty
    check(shared->pool.available() == shared->pool.size() - 2); // those in the broadcast
}
