// Messages of different lengths and priorities: a producer, and consumers of which one is killed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <csignal>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

namespace {

using inbox = cohold::shared<cohold::shm_message_queue>;

struct point {
    std::int32_t x, y;
};

void produce() {
    // #region push
    constexpr std::size_t room = 1 << 20; // bytes
    const auto queue = inbox::open_or_create("example-messages", room);
    queue->push("log: ready");
    queue->push("stop the motor", 31); // comes first
    const point points[] = {{1, 2}, {3, 4}};
    queue->push(std::as_bytes(std::span(points)), 7); // any bytes
    // #endregion push
    // #region claim
    if (auto picture = queue->claim(640 * 480)) { // written where it lies in the segment
        std::memset(picture->data(), 7, 640 * 480);
        picture.commit(); // without this there is no message
    }
    // #endregion claim
}

std::string consume() {
    std::string seen;
    const auto queue = inbox::open("example-messages");
    // #region pop
    while (const auto message = queue->try_pop()) { // read where it lies
        switch (message.priority()) {
        case 31:
            seen += message.text();
            break;
        case 7:
            seen += ", " + std::to_string(message->size() / sizeof(point)) + " points";
            break;
        default:
            seen += ", " + std::to_string(message->size()) + " bytes";
        }
    } // done, and its room is free
    // #endregion pop
    return seen;
}

} // namespace

int main() {
    inbox::remove("example-messages");
    produce();
    const pid_t child = ::fork();
    if (child == 0) {
        const auto queue = inbox::open("example-messages");
        const auto message = queue->pop();
        check(message.text() == "stop the motor");
        ::raise(SIGKILL); // before it is done
    }
    int status = 0;
    check(::waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    // The message of the killed consumer comes back: at the latest when there is no other one.
    const std::string seen = consume();
    check(seen.find("stop the motor") != std::string::npos);
    check(seen.find(", 2 points") != std::string::npos);
    check(seen.find(", 10 bytes, 307200 bytes") != std::string::npos);
    inbox::remove("example-messages");
}
