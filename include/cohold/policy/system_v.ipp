// Definitions for system_v.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_SYSTEM_V_IPP
#define COHOLD_POLICY_SYSTEM_V_IPP

#include <cohold/policy/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

COHOLD_INLINE system_v_id system_v::create(std::string_view name, const creation& wanted,
                                           std::error_code& ec) noexcept {
    const key_t key = detail::system_v_key(name);
    detail::creation_lock lock(key);
    const ::mode_t mode = detail::creation_lock::mode_for(wanted.mode);
    if (const int error = lock.acquire(true, true, mode); error != 0) {
        fail_get(ec, error, "semget", key, wanted);
        return {};
    }
    detail::reclaim_unready(key, lock);
    // An object that already exists must not be claimed: even one that begins with zeros can be
    // finished.
    if (detail::system_v_at(key) < 0) {
        lock.claim();
    }
    const system_v_id object = make(key, IPC_CREAT | IPC_EXCL, wanted, ec);
    if (ec) {
        lock.release();
    } else {
        lock.leave_held(); // until publish or abandon
    }
    return object;
}

COHOLD_INLINE system_v_id system_v::create(const creation& wanted, std::error_code& ec) noexcept {
    system_v_id object = make(IPC_PRIVATE, IPC_CREAT, wanted, ec);
    if (!ec) {
        hold(object, ec);
        ::shmctl(object.value, IPC_RMID, nullptr); // takes effect with the last detachment
    }
    return ec ? system_v_id{} : object;
}

COHOLD_INLINE void system_v::publish(system_v_id& /*object*/, std::string_view name,
                                     publication /*how*/, std::error_code& /*ec*/) noexcept {
    end_creation(name);
}

COHOLD_INLINE void system_v::abandon(system_v_id& object, std::string_view name) noexcept {
    if (object) {
        detail::remove_system_v(object.value);
        end_creation(name);
    }
    object = {};
}

COHOLD_INLINE system_v_id system_v::open(std::string_view name, access_mode /*how*/,
                                         std::error_code& ec) noexcept {
    const key_t key = detail::system_v_key(name);
    const int id = detail::system_v_at(key);
    if (id < 0) {
        fail_get(ec, errno, "shmget", key, {});
        return {};
    }
    if (detail::absent_or_reclaimed(key, id)) {
        detail::fail(ec, errc::not_found, "key %#x", static_cast<unsigned>(key));
        return {};
    }
    return {id};
}

COHOLD_INLINE bool system_v::remove(std::string_view name, std::error_code& ec) noexcept {
    const key_t key = detail::system_v_key(name);
    // Not while another process creates the object: its lock would be removed with the object, and
    // the next creator would consider its object unfinished.
    detail::creation_lock lock(key);
    const bool locked = lock.acquire(false, true, 0) == 0;
    const int id = detail::system_v_at(key);
    bool removed = false;
    if (id >= 0) {
        const bool ruin = locked && detail::reclaim_unready(key, lock);
        removed = !ruin && detail::remove_system_v(id);
        if (!removed && !ruin && errno != EIDRM && errno != EINVAL) {
            fail_get(ec, errno, "shmctl(IPC_RMID)", key, {});
        }
    } else if (errno != ENOENT) {
        fail_get(ec, errno, "shmget", key, {});
    }
    if (locked) {
        lock.release();
    }
    return removed;
}

COHOLD_INLINE void system_v::reclaim(std::string_view name) noexcept {
    const key_t key = detail::system_v_key(name);
    detail::creation_lock lock(key);
    if (lock.acquire(false, false, 0) == 0) {
        detail::reclaim_unready(key, lock);
        lock.release(); // this also removes the lock itself
    }
}

COHOLD_INLINE object_status system_v::status(const system_v_id& object,
                                             std::error_code& ec) noexcept {
    struct ::shmid_ds found{};
    if (!detail::system_v_status(object.value, found)) {
        if (errno == EACCES) {
            detail::fail(ec, errc::permission_denied, "shmctl(IPC_STAT): user %u",
                         static_cast<unsigned>(::geteuid()));
        } else if (errno == EIDRM || errno == EINVAL) {
            detail::fail(ec, errc::removed, "identifier %d", object.value);
        } else {
            detail::fail_errno(ec, errno, "shmctl(IPC_STAT)");
        }
        return {};
    }
    return {found.shm_segsz, found.shm_perm.uid, found.shm_perm.gid,
            found.shm_perm.mode & ::mode_t{0777}, 0, static_cast<std::uint64_t>(object.value),
            // An object that never had a name is marked for destruction from the start.
            object.held == nullptr && detail::system_v_removed(found)};
}

COHOLD_INLINE void system_v::back(const system_v_id& object, void* mapping, std::uint64_t from,
                                  std::uint64_t to, std::error_code& ec) noexcept {
    if (mapping != nullptr) {
        detail::populate(mapping, from, to, ec);
    } else if (void* at = attach(object, access_mode::writing, nullptr, ec); at != nullptr) {
        detail::populate(at, from, to, ec);
        ::shmdt(at);
    }
}

COHOLD_INLINE void* system_v::map(const system_v_id& object, std::uint64_t bytes, access_mode how,
                                  void* at, std::error_code& ec) noexcept {
    const object_status found = status(object, ec);
    if (!ec && found.size < bytes) {
        detail::fail(ec, errc::truncated, "wanted %llu bytes, there are %llu",
                     static_cast<unsigned long long>(bytes),
                     static_cast<unsigned long long>(found.size));
    }
    return ec ? nullptr : attach(object, how, at, ec);
}

COHOLD_INLINE void system_v::adopt(system_v_id& object, std::error_code& ec) noexcept {
    object.held = nullptr; // the page belongs to another handle
    status(object, ec);
    struct ::shmid_ds found{};
    if (!ec && detail::system_v_status(object.value, found) &&
        found.shm_perm.__key == IPC_PRIVATE) {
        hold(object, ec);
    }
}

COHOLD_INLINE void system_v::close(system_v_id& object) noexcept {
    if (object.held != nullptr) {
        ::munmap(object.held, detail::page_size());
    }
    object = {};
}

COHOLD_INLINE void system_v::hold(system_v_id& object, std::error_code& ec) noexcept {
    struct ::shmid_ds found{};
    void* const at = attach(object, access_mode::reading, nullptr, ec);
    if (ec || !detail::system_v_status(object.value, found)) {
        return;
    }
    object.held = at;
    const std::uint64_t page = detail::page_size();
    const std::uint64_t bytes = detail::round_up(found.shm_segsz, page);
    if (bytes > page) {
        ::munmap(static_cast<char*>(at) + page, static_cast<std::size_t>(bytes - page));
    }
}

COHOLD_INLINE void system_v::end_creation(std::string_view name) noexcept {
    detail::creation_lock::end(detail::system_v_key(name));
}

COHOLD_INLINE system_v_id system_v::make(key_t key, int flags, const creation& wanted,
                                         std::error_code& ec) noexcept {
    if (wanted.reserve > SIZE_MAX) {
        detail::fail(ec, errc::invalid_size, "%llu bytes",
                     static_cast<unsigned long long>(wanted.reserve));
        return {};
    }
    const int id = ::shmget(key, static_cast<std::size_t>(wanted.reserve),
                            flags | SHM_NORESERVE | static_cast<int>(wanted.mode));
    if (id < 0) {
        fail_get(ec, errno, "shmget", key, wanted);
        return {};
    }
    struct ::shmid_ds found{};
    if (wanted.group && detail::system_v_status(id, found)) {
        found.shm_perm.gid = *wanted.group;
        if (::shmctl(id, IPC_SET, &found) != 0) {
            detail::fail(ec, errc::permission_denied,
                         "cannot give the object to group %u: errno %d",
                         static_cast<unsigned>(*wanted.group), errno);
            ::shmctl(id, IPC_RMID, nullptr);
            return {};
        }
    }
    return {id};
}

COHOLD_INLINE void* system_v::attach(const system_v_id& object, access_mode how, void* at,
                                     std::error_code& ec) noexcept {
    void* mapped =
        ::shmat(object.value, at,
                (how == access_mode::reading ? SHM_RDONLY : 0) | (at != nullptr ? SHM_REMAP : 0));
    if (mapped != reinterpret_cast<void*>(-1)) {
        return mapped;
    }
    const int error = errno;
    if (error == EACCES) {
        detail::fail(ec, errc::permission_denied, "shmat for %s: user %u",
                     how == access_mode::reading ? "reading" : "writing",
                     static_cast<unsigned>(::geteuid()));
    } else if (error == EIDRM || (error == EINVAL && detail::system_v_gone(object.value))) {
        detail::fail(ec, errc::removed, "identifier %d", object.value);
    } else if (error == ENOMEM) {
        detail::fail(ec, errc::reserve_too_large, "shmat: errno %d", error);
    } else {
        detail::fail_errno(ec, error, "shmat");
    }
    return nullptr;
}

COHOLD_INLINE void system_v::fail_get(std::error_code& ec, int error, const char* call, key_t key,
                                      const creation& wanted) noexcept {
    const unsigned shown = static_cast<unsigned>(key);
    const auto bytes = static_cast<unsigned long long>(wanted.reserve);
    switch (error) {
    case ENOENT:
        detail::fail(ec, errc::not_found, "key %#x", shown);
        break;
    case EEXIST:
        detail::fail(ec, errc::already_exists, "key %#x", shown);
        break;
    case EACCES:
    case EPERM:
        detail::fail(ec, errc::permission_denied, "%s of key %#x: user %u", call, shown,
                     static_cast<unsigned>(::geteuid()));
        break;
    case EINVAL:
        detail::fail(ec, errc::invalid_size, "%s of %llu bytes: see kernel.shmmax", call, bytes);
        break;
    case ENOMEM:
    case ENOSPC:
        detail::fail(ec, errc::out_of_space,
                     "%s of %llu bytes: errno %d; see kernel.shmall, shmmni, sem", call, bytes,
                     error);
        break;
    default:
        detail::fail_errno(ec, error, "%s of key %#x", call, shown);
    }
}

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
