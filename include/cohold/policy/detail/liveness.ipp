// Definitions for liveness.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_DETAIL_LIVENESS_IPP
#define COHOLD_POLICY_DETAIL_LIVENESS_IPP

#include <cohold/policy/detail/liveness.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE bool lock_page::lock(const file_descriptor& file, lock_byte byte, bool inherited,
                                   std::error_code& ec) noexcept {
    fd_ = reopen_file(file.value, O_RDWR);
    if (!fd_) {
        fail_open(errno, file, ec);
        return false;
    }
    void* const at =
        ::mmap(nullptr, page_size(), PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd_.get(), 0);
    if (at == MAP_FAILED) {
        fail_errno(ec, errno, "mmap of the page that keeps a participant's lock");
        return false;
    }
    page_ = at;
    if (!inherited && !keep_from_children()) {
        fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
        return false;
    }
    const int error = lock_file(fd_.get(), byte, lock_kind::exclusive, false);
    if (error != 0 && error != EAGAIN) {
        fail(ec, errc::locks_unsupported, "fcntl(F_OFD_SETLK): errno %d", error);
    }
    return error == 0;
}

COHOLD_INLINE bool lock_page::keep_from_children() const noexcept {
    if (::madvise(page_, page_size(), MADV_DONTFORK) == 0) {
        return true;
    }
    // The pages of a hugetlb file are larger.
    const auto huge = static_cast<std::size_t>(errno == EINVAL ? hugetlb_page(fd_.get()) : 0);
    return huge != 0 && ::madvise(page_, huge, MADV_DONTFORK) == 0;
}

COHOLD_INLINE void lock_page::fail_open(int error, const file_descriptor& file,
                                        std::error_code& ec) noexcept {
    if (error == ENOENT && ::fcntl(file.value, F_GETFD) < 0) {
        fail(ec, errc::empty_handle, "file descriptor %d is closed", file.value);
    } else if (error == ENOENT) {
        fail(ec, errc::locks_unsupported, "/proc/self/fd/%d: errno %d: is /proc mounted?",
             file.value, error);
    } else if (error == EACCES || error == EPERM) {
        fail(ec, errc::permission_denied,
             "reopening the file through /proc/self/fd/%d: errno %d, user %u", file.value, error,
             static_cast<unsigned>(::geteuid()));
    } else {
        fail_errno(ec, error, "reopening the file through /proc/self/fd/%d", file.value);
    }
}

COHOLD_INLINE bool file_liveness::take(const file_descriptor& file, std::uint32_t slot,
                                       lock_page& mine, bool& forked,
                                       std::error_code& ec) noexcept {
    if (is_single_threaded()) {
        const signals_blocked here;
        const bool taken = mine.lock(file, participant_byte(slot), false, ec);
        mine.close_descriptor();
        return taken;
    }
    const lock_byte twins = twin_byte(nonce());
    {
        lock_page twin;
        if (!twin.lock(file, twins, true, ec) ||
            !mine.lock(file, participant_byte(slot), false, ec)) {
            return false;
        }
        mine.close_descriptor();
    }
    const int inherited = lock_held(file.value, twins);
    if (inherited < 0) {
        fail_visibility(file, ec);
    }
    forked = inherited != 0;
    return !ec;
}

COHOLD_INLINE void file_liveness::fail_visibility(const file_descriptor& file,
                                                  std::error_code& ec) noexcept {
    fail(ec, errc::locks_unsupported,
         is_on_overlay(file.value)
             ? "an overlayfs, such as the root of a container, does not keep the lock of a "
               "mapped file: use a volume, a tmpfs or mechanism::posix"
             : "a lock is not visible to other open files");
}

COHOLD_INLINE void* file_liveness::claim(const file_descriptor& file, std::uint32_t slot,
                                         liveness_token& token, std::error_code& ec) noexcept {
    token = {};
    lock_page mine;
    bool forked = false;
    if (!take(file, slot, mine, forked, ec)) {
        return nullptr;
    }
    if (probe(file, slot, token) != verdict::alive) {
        fail_visibility(file, ec);
        return nullptr;
    }
    return forked ? nullptr : mine.release();
}

COHOLD_INLINE verdict file_liveness::probe(const file_descriptor& file, std::uint32_t slot,
                                           const liveness_token& /*token*/) noexcept {
    switch (lock_held(file.value, participant_byte(slot), lock_kind::shared)) {
    case 0:
        return verdict::dead;
    case 1:
        return verdict::alive;
    default:
        return verdict::unknown;
    }
}

COHOLD_INLINE std::uint32_t file_liveness::nonce() noexcept {
    struct ::timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::uint64_t parts[] = {static_cast<std::uint64_t>(now.tv_nsec),
                                   static_cast<std::uint64_t>(::syscall(SYS_gettid)),
                                   reinterpret_cast<std::uintptr_t>(&now)};
    return static_cast<std::uint32_t>(
        hash64({reinterpret_cast<const char*>(parts), sizeof parts}) >> 32);
}

COHOLD_INLINE void* anonymous_liveness::claim(const anonymous_memory& memory, std::uint32_t slot,
                                              liveness_token& token, std::error_code& ec) noexcept {
    if (memory.liveness < 0) {
        fail(ec, errc::unsupported,
             "the anonymous memory was adopted without its liveness descriptor, so it is "
             "impossible to tell which processes are alive: adopt the result of native_handle()");
    } else if (!is_open(memory)) {
        fail(ec, errc::empty_handle, "file descriptor %d, made with the memory, is closed",
             memory.liveness);
    } else {
        return file_liveness::claim({memory.liveness}, slot, token, ec);
    }
    return nullptr;
}

COHOLD_INLINE std::uint64_t anonymous_liveness::identity(int fd) noexcept {
    file_status found{};
    return fd < 0 || raw_fstat(fd, found) != 0
               ? 0
               : static_cast<std::uint64_t>(found.st_dev) * 0x9e3779b97f4a7c15u +
                     static_cast<std::uint64_t>(found.st_ino);
}

COHOLD_INLINE system_v_liveness::gate::gate(const system_v_id& object, std::error_code& ec) noexcept
    : lock_(liveness_object::key_of(object.value)) {
    struct ::shmid_ds segment{};
    if (!status_of(object, segment, ec)) {
        return;
    }
    const int error = lock_.acquire(true, true, liveness_object::lock_mode(segment));
    held_ = error == 0;
    if (error == EACCES) {
        fail(ec, errc::permission_denied, "semget: user %u", static_cast<unsigned>(::geteuid()));
    } else if (error != 0) {
        fail(ec, errc::locks_unsupported, "semget or semop: errno %d; see kernel.sem", error);
    }
}

COHOLD_INLINE void* system_v_liveness::claim(const system_v_id& object, std::uint32_t slot,
                                             liveness_token& token, std::error_code& ec) noexcept {
    struct ::shmid_ds segment{};
    if (!status_of(object, segment, ec)) {
        return nullptr;
    }
    const bool had_one = token.words[1] != 0;
    if (had_one && probe(object, slot, token) != verdict::dead) {
        return nullptr;
    }
    for (;;) {
        const int id = liveness_object::make(object.value, segment);
        if (id < 0) {
            fail_make(errno, ec);
            return nullptr;
        }
        void* const at = ::shmat(id, nullptr, SHM_RDONLY);
        struct ::shmid_ds made{};
        const bool kept = at != reinterpret_cast<void*>(-1) &&
                          ::madvise(at, page_size(), MADV_DONTFORK) == 0 &&
                          system_v_status(id, made);
        const int error = errno;
        ::shmctl(id, IPC_RMID, nullptr); // takes effect with the last detachment
        if (kept && made.shm_nattch == 1) {
            token = {{static_cast<std::uint32_t>(id) | name_space() << 32, age(made)}};
            return at;
        }
        if (at != reinterpret_cast<void*>(-1)) {
            ::munmap(at, page_size());
        }
        if (!kept) {
            fail_errno(ec, error, "attaching the segment that shows that this process is alive");
            return nullptr;
        }
        // A child that was just forked has it attached too, and would hide the death of this
        // process.
    }
}

COHOLD_INLINE verdict system_v_liveness::probe(const system_v_id& /*object*/,
                                               std::uint32_t /*slot*/,
                                               const liveness_token& token) noexcept {
    struct ::shmid_ds found{};
    if (system_v_status(static_cast<int>(token.words[0] & 0xffffffffu), found)) {
        if (age(found) == token.words[1] && found.shm_nattch != 0) {
            return verdict::alive;
        }
    } else if (errno != EINVAL && errno != EIDRM) {
        return verdict::unknown;
    }
    // From another IPC namespace, which this process may have entered meanwhile, the segment cannot
    // be seen.
    const std::uint64_t here = name_space();
    const std::uint64_t there = token.words[0] >> 32;
    return here == there || here == 0 || there == 0 ? verdict::dead : verdict::unknown;
}

COHOLD_INLINE std::uint64_t system_v_liveness::name_space() noexcept {
    file_status found{};
    return raw_stat("/proc/self/ns/ipc", found) == 0 ? static_cast<std::uint32_t>(found.st_ino) : 0;
}

COHOLD_INLINE bool system_v_liveness::status_of(const system_v_id& object, struct ::shmid_ds& out,
                                                std::error_code& ec) noexcept {
    if (system_v_status(object.value, out)) {
        return true;
    }
    if (errno == EIDRM || errno == EINVAL) {
        fail(ec, errc::removed, "identifier %d", object.value);
    } else {
        fail_errno(ec, errno, "shmctl(IPC_STAT)");
    }
    return false;
}

COHOLD_INLINE void system_v_liveness::fail_make(int error, std::error_code& ec) noexcept {
    if (error == ENOSPC || error == ENOMEM) {
        fail(ec, errc::out_of_space,
             "shmget of a segment for one participant: errno %d; see kernel.shmmni, shmall", error);
    } else {
        fail_errno(ec, error, "shmget of a segment for one participant");
    }
}

COHOLD_INLINE void file_attendance::enter(const file_descriptor& file, void* page,
                                          std::error_code& ec) noexcept {
    const unique_fd fd = reopen_file(file.value, O_RDONLY);
    const int error =
        !fd ? errno : lock_file(fd.get(), lock_byte::attached, lock_kind::shared, false);
    if (error != 0) {
        fail_errno(ec, error, "locking the file, which session lifetime needs");
    } else if (::mmap(page, page_size(), PROT_NONE, MAP_SHARED | MAP_FIXED, fd.get(), 0) ==
                   MAP_FAILED ||
               ::madvise(page, page_size(), MADV_DONTFORK) != 0) {
        fail_errno(ec, errno, "mapping the attendance page");
    }
}

COHOLD_INLINE system_v_attendance::gate::~gate() {
    if (locked_) {
        // The lock may have been left by a dead creator of the next object with this key.
        reclaim_unready(key_, lock_);
        lock_.release();
    }
}

COHOLD_INLINE system_v_attendance::gate::gate(const struct ::shmid_ds& status, bool wait) noexcept
    : key_(status.shm_perm.__key), lock_(key_) {
    const ::mode_t mode = status.shm_perm.uid == ::geteuid()
                              ? creation_lock::mode_for(status.shm_perm.mode)
                              : ::mode_t{0666}; // its owner must be able to use it too
    const int error = key_ == IPC_PRIVATE ? 0 : lock_.acquire(true, wait, mode);
    locked_ = key_ != IPC_PRIVATE && error == 0;
    errno = error;
}

COHOLD_INLINE struct ::shmid_ds
system_v_attendance::gate::status_of(const system_v_id& object) noexcept {
    struct ::shmid_ds status{};
    if (!system_v_status(object.value, status)) {
        status.shm_perm.__key = IPC_PRIVATE;
    }
    return status;
}

COHOLD_INLINE void system_v_attendance::enter(const system_v_id& object, void* page,
                                              std::error_code& ec) noexcept {
    struct ::shmid_ds segment{};
    if (!system_v_status(object.value, segment)) {
        fail_errno(ec, errno, "shmctl(IPC_STAT)");
        return;
    }
    if (segment.shm_perm.__key == IPC_PRIVATE) {
        return;
    }
    const bool finished = system_v_ready(object.value);
    const int id = finished ? attendance_object::find(segment) : attendance_object::make(segment);
    if (id < 0 && finished) {
        fail(ec, errc::removed, "identifier %d", object.value);
    } else if (id < 0) {
        fail_errno(ec, errno, "shmget of key %#x, which session lifetime needs",
                   static_cast<unsigned>(attendance_object::key_of(segment)));
    } else if (::shmat(id, page, SHM_RDONLY | SHM_REMAP) == reinterpret_cast<void*>(-1)) {
        if (errno == EIDRM || errno == EINVAL) {
            fail(ec, errc::removed, "identifier %d", object.value);
        } else {
            fail_errno(ec, errno, "shmat, which session lifetime needs");
        }
    } else if (::madvise(page, page_size(), MADV_DONTFORK) != 0) {
        fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
    }
}

COHOLD_INLINE bool system_v_attendance::anybody(const system_v_id& object) noexcept {
    struct ::shmid_ds status{};
    if (!system_v_status(object.value, status)) {
        return false;
    }
    if (status.shm_perm.__key != IPC_PRIVATE) {
        const int id = attendance_object::find(status);
        return id >= 0 && system_v_status(id, status) && status.shm_nattch != 0;
    }
    return status.shm_nattch != 0;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
