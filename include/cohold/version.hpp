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

/// How many processes can be attached to one segment at a time. Changes the layout, hence the
/// namespace.
#ifndef COHOLD_MAX_PARTICIPANTS
#define COHOLD_MAX_PARTICIPANTS 64
#endif

#define COHOLD_CONCAT_EXPANDED(a, b, c, d) a##b##c##d
#define COHOLD_CONCAT(a, b, c, d) COHOLD_CONCAT_EXPANDED(a, b, c, d)

// Every macro that changes the layout takes part in the inline namespace, so that two units built
// with different layouts cannot be linked by mistake.
#if COHOLD_MAX_PARTICIPANTS == 64
#define COHOLD_ABI COHOLD_CONCAT(v, COHOLD_LAYOUT_VERSION, , )
#else
#define COHOLD_ABI COHOLD_CONCAT(v, COHOLD_LAYOUT_VERSION, _p, COHOLD_MAX_PARTICIPANTS)
#endif

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
