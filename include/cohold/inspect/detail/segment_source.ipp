// Definitions for segment_source.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_IPP
#define COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_IPP

#include <cohold/inspect/detail/segment_source.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::size_t file_source::read(void* to, std::size_t bytes,
                                            std::uint64_t from) const noexcept {
    return read_file(file_.value, to, bytes, from);
}

COHOLD_INLINE std::uint64_t file_source::size() const noexcept {
    file_status found{};
    return raw_fstat(file_.value, found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

COHOLD_INLINE verdict file_source::probe(std::uint32_t slot,
                                         const liveness_token& token) const noexcept {
    return file_liveness::probe(file_, slot, token);
}

COHOLD_INLINE bool file_source::nameless() const noexcept {
    file_status found{};
    return raw_fstat(file_.value, found) == 0 && found.st_nlink == 0;
}

COHOLD_INLINE int file_source::anybody() const noexcept {
    return lock_held(file_.value, lock_byte::attached);
}

COHOLD_INLINE system_v_source::system_v_source(int id) noexcept : id_(id) {
    struct ::shmid_ds status{};
    if (!system_v_status(id, status)) {
        error_ = errno;
        return;
    }
    size_ = status.shm_segsz;
    // The small ones beside segments must not be attached: they serve to count the living.
    if (size_ < control_bytes) {
        return;
    }
    at_ = attach_for_reading(id);
    if (at_ == nullptr) {
        error_ = errno; // ENOMEM: there may not be enough addresses for it
    }
}

COHOLD_INLINE std::size_t system_v_source::read(void* to, std::size_t bytes,
                                                std::uint64_t from) const noexcept {
    if (at_ == nullptr) {
        errno = error_;
        return error_ == 0 || error_ == EINVAL || error_ == EIDRM ? 0 : refused;
    }
    // A page that was never written contains zeros; reading it would allocate it.
    const std::size_t page = page_size();
    const std::uint64_t begin = from / page * page;
    if (from + bytes > size_ ||
        (!any_page_resident(static_cast<char*>(at_) + begin, from + bytes - begin) &&
         !system_v_swapped())) {
        return 0;
    }
    return copy_from_mapping(to, static_cast<const char*>(at_) + from, bytes);
}

COHOLD_INLINE verdict system_v_source::probe(std::uint32_t slot,
                                             const liveness_token& token) const noexcept {
    return system_v_liveness::probe({id_}, slot, token);
}

COHOLD_INLINE bool system_v_source::nameless() const noexcept {
    struct ::shmid_ds status{};
    return system_v_status(id_, status) &&
           (status.shm_perm.__key == IPC_PRIVATE || system_v_removed(status));
}

COHOLD_INLINE int system_v_source::anybody() const noexcept {
    struct ::shmid_ds segment{};
    struct ::shmid_ds beside{};
    if (!system_v_status(id_, segment)) {
        return -1;
    }
    if (segment.shm_perm.__key != IPC_PRIVATE) {
        const int id = system_v_at(attendance_object::key_of(segment));
        if (id >= 0 && !system_v_status(id, beside) && errno != EINVAL && errno != EIDRM) {
            return -1;
        }
    } else {
        return segment.shm_nattch > (at_ != nullptr ? 1u : 0u) ? 1 : 0;
    }
    return system_v_attendance::anybody({id_}) ? 1 : 0;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
