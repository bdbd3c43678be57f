// Definitions for new_object.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_NEW_OBJECT_IPP
#define COHOLD_CONTAINER_DETAIL_NEW_OBJECT_IPP

#include <cohold/container/detail/new_object.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void* address_elsewhere(segment_header* home, segment_header& from, void* object) {
    if (!is_same_segment(*home, from)) {
        raise(errc::unsupported, "a pointer in a segment cannot own an object of another segment: "
                                 "make a new object there");
    }
    return reinterpret_cast<char*>(home) +
           (static_cast<char*>(object) - reinterpret_cast<char*>(&from));
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
