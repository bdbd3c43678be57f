// Is a descriptor readable?
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_READABLE_HPP
#define COHOLD_TEST_SUPPORT_READABLE_HPP

#include <poll.h>

#include <cohold/sync/event_descriptor.hpp>

namespace support {

// Within a minute?
inline bool becomes_readable(const cohold::event_descriptor& events) {
    struct ::pollfd watched{events.native_handle(), POLLIN, 0};
    return ::poll(&watched, 1, 60000) == 1 && watched.revents == POLLIN;
}

// For a while?
inline bool stays_unreadable(const cohold::event_descriptor& events, int milliseconds = 30) {
    struct ::pollfd watched{events.native_handle(), POLLIN, 0};
    return ::poll(&watched, 1, milliseconds) == 0;
}

} // namespace support

#endif
