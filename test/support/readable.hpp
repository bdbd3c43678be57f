// Is a descriptor readable?
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_READABLE_HPP
#define COHOLD_TEST_SUPPORT_READABLE_HPP

#include <poll.h>
#include <unistd.h>

#include <cohold/sync/event_descriptor.hpp>

namespace support {

// Within a minute?
inline bool becomes_readable(int descriptor) {
    struct ::pollfd watched{descriptor, POLLIN, 0};
    return ::poll(&watched, 1, 60000) == 1 && watched.revents == POLLIN;
}

inline bool becomes_readable(const cohold::event_descriptor& events) {
    return becomes_readable(events.native_handle());
}

// For a while?
inline bool stays_unreadable(int descriptor, int milliseconds = 30) {
    struct ::pollfd watched{descriptor, POLLIN, 0};
    return ::poll(&watched, 1, milliseconds) == 0;
}

inline bool stays_unreadable(const cohold::event_descriptor& events, int milliseconds = 30) {
    return stays_unreadable(events.native_handle(), milliseconds);
}

// Is it not readable any more, within a minute, although nobody clears it?
inline bool becomes_unreadable(int descriptor) {
    for (int i = 0; i < 60000 / 5; ++i) {
        struct ::pollfd watched{descriptor, POLLIN, 0};
        if (::poll(&watched, 1, 0) == 0) {
            return true;
        }
        ::usleep(5000);
    }
    return false;
}

} // namespace support

#endif
