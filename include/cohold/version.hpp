// The version of the library, the version of the layout in memory, and the inline namespace made of
// both.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_VERSION_HPP
#define COHOLD_VERSION_HPP

#define COHOLD_VERSION_MAJOR 0
#define COHOLD_VERSION_MINOR 1
#define COHOLD_VERSION_PATCH 0

/// Version of the bytes in a segment. Segments of another version are refused, never misread.
#define COHOLD_LAYOUT_VERSION 1

/// How many processes can be attached at a time to a segment that is made without saying so.
#ifndef COHOLD_MAX_PARTICIPANTS
#define COHOLD_MAX_PARTICIPANTS 64
#endif

#define COHOLD_CONCAT_EXPANDED(a, b) a##b
#define COHOLD_CONCAT(a, b) COHOLD_CONCAT_EXPANDED(a, b)

// The layout takes part in the inline namespace, so that two units built with different ones cannot
// be linked by mistake.
#define COHOLD_ABI COHOLD_CONCAT(v, COHOLD_LAYOUT_VERSION)

#define COHOLD_TEXT_EXPANDED(a) #a
#define COHOLD_TEXT(a) COHOLD_TEXT_EXPANDED(a)
#define COHOLD_ABI_NAME COHOLD_TEXT(COHOLD_ABI)

#define COHOLD_NAMESPACE_BEGIN                                                                     \
    namespace cohold {                                                                             \
    inline namespace COHOLD_ABI {
#define COHOLD_NAMESPACE_END                                                                       \
    }                                                                                              \
    }

#endif
