// mechanism::system_v: the shared memory of System V, named by 32-bit keys.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_SYSTEM_V_HPP
#define COHOLD_POLICY_SYSTEM_V_HPP

#include <cohold/os/mapping.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/system_v.hpp>
#include <cohold/policy/detail/liveness.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// shmget(2) and shmat(2): lives until it is removed and everybody has detached. Its size is fixed,
/// so segments are created at their reserve, which costs nothing; pages become real as the segment
/// grows into them. A name is hashed to the key (and kept in the segment, to tell colliding names
/// apart); a name "0x" + eight hexadecimal digits is the key that ipcs(1) shows. Without a name:
/// IPC_PRIVATE: such a segment goes with its last user, however that ended. Users are the handle
/// that made it, what is mapped, what forked children have of both, and who adopts it by its
/// identifier, which another process can do as long as there is a user. A segment of session
/// lifetime has a second, small one beside it, which its participants have attached.
struct system_v {
    using native_handle_type = system_v_id;
    using default_naming = naming::verbatim;
    using attendance = detail::system_v_attendance;
    using liveness = detail::system_v_liveness;
    static constexpr std::string_view label = "System V segment";
    static constexpr name_form names = name_form::component;
    static constexpr bool grows = false;
    static constexpr bool replaces = false; // a key cannot move from one object to another
    static constexpr bool keys_collide = true;

    /// A segment cannot be published in one step. Until publish, a lock that dies with this process
    /// says that the object is in the making; one that is not ready and whose creator is dead
    /// counts as absent, and is reclaimed.
    [[gnu::cold]] static system_v_id create(std::string_view name, const creation& wanted,
                                            std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        detail::creation_lock lock(key);
        const ::mode_t mode = detail::creation_lock::mode_for(wanted.mode);
        if (const int error = lock.acquire(true, true, mode); error != 0) {
            fail_get(ec, error, "semget", key, wanted);
            return {};
        }
        detail::reclaim_unready(key, lock);
        // What is there already is not ours to claim: zeros can be a finished object.
        if (::shmget(key, 0, 0) < 0) {
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

    [[gnu::cold]] static system_v_id create(const creation& wanted, std::error_code& ec) noexcept {
        system_v_id object = make(IPC_PRIVATE, IPC_CREAT, wanted, ec);
        if (!ec) {
            hold(object, ec);
            ::shmctl(object.value, IPC_RMID, nullptr); // as soon as nobody has it attached
        }
        return ec ? system_v_id{} : object;
    }

    [[gnu::cold]] static void publish(system_v_id& /*object*/, std::string_view name,
                                      publication /*how*/, std::error_code& /*ec*/) noexcept {
        end_creation(name);
    }

    [[gnu::cold]] static void abandon(system_v_id& object, std::string_view name) noexcept {
        if (object) {
            detail::remove_system_v(object.value);
            end_creation(name);
        }
        object = {};
    }

    [[gnu::cold]] static system_v_id open(std::string_view name, access_mode /*how*/,
                                          std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        const int id = ::shmget(key, 0, 0);
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

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        // Not while somebody creates: his lock would go with the object, and the next creator take
        // his for a ruin.
        detail::creation_lock lock(key);
        const bool locked = lock.acquire(false, true, 0) == 0;
        const int id = ::shmget(key, 0, 0);
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

    [[gnu::cold]] static void reclaim(std::string_view name) noexcept {
        const key_t key = detail::system_v_key(name);
        detail::creation_lock lock(key);
        if (lock.acquire(false, false, 0) == 0) {
            detail::reclaim_unready(key, lock);
            lock.release(); // and with it goes the lock itself
        }
    }

    [[gnu::cold]] static object_status status(const system_v_id& object,
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
                // One that never had a name is marked for destruction from the start.
                object.held == nullptr && detail::system_v_removed(found)};
    }

    [[gnu::cold]] static void back(const system_v_id& object, void* mapping, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept {
        if (mapping != nullptr) {
            detail::populate(mapping, from, to, ec);
        } else if (void* at = attach(object, access_mode::writing, nullptr, ec); at != nullptr) {
            detail::populate(at, from, to, ec);
            ::shmdt(at);
        }
    }

    [[gnu::cold]] static void* map(const system_v_id& object, std::uint64_t bytes, access_mode how,
                                   void* at, std::error_code& ec) noexcept {
        const object_status found = status(object, ec);
        if (!ec && found.size < bytes) {
            detail::fail(ec, errc::truncated, "wanted %llu bytes, there are %llu",
                         static_cast<unsigned long long>(bytes),
                         static_cast<unsigned long long>(found.size));
        }
        return ec ? nullptr : attach(object, how, at, ec);
    }

    // Who adopts a segment without a name is one of its users. (One that lost its name before
    // cannot be told from it.)
    [[gnu::cold]] static void adopt(system_v_id& object, std::error_code& ec) noexcept {
        object.held = nullptr; // another handle's
        status(object, ec);
        struct ::shmid_ds found{};
        if (!ec && detail::system_v_status(object.value, found) &&
            found.shm_perm.__key == IPC_PRIVATE) {
            hold(object, ec);
        }
    }

    [[gnu::cold]] static void close(system_v_id& object) noexcept {
        if (object.held != nullptr) {
            ::munmap(object.held, detail::page_size());
        }
        object = {};
    }

  private:
    // Keeps a segment without a name for this handle: its first page stays attached.
    [[gnu::cold]] static void hold(system_v_id& object, std::error_code& ec) noexcept {
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

    [[gnu::cold]] static void end_creation(std::string_view name) noexcept {
        detail::creation_lock::end(detail::system_v_key(name));
    }

    [[gnu::cold]] static system_v_id make(key_t key, int flags, const creation& wanted,
                                          std::error_code& ec) noexcept {
        if (wanted.capacity > SIZE_MAX) {
            detail::fail(ec, errc::invalid_size, "%llu bytes",
                         static_cast<unsigned long long>(wanted.capacity));
            return {};
        }
        const int id = ::shmget(key, static_cast<std::size_t>(wanted.capacity),
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

    [[gnu::cold]] static void* attach(const system_v_id& object, access_mode how, void* at,
                                      std::error_code& ec) noexcept {
        void* mapped = ::shmat(object.value, at,
                               (how == access_mode::reading ? SHM_RDONLY : 0) |
                                   (at != nullptr ? SHM_REMAP : 0));
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

    [[gnu::cold]] static void fail_get(std::error_code& ec, int error, const char* call, key_t key,
                                       const creation& wanted) noexcept {
        const unsigned shown = static_cast<unsigned>(key);
        const auto bytes = static_cast<unsigned long long>(wanted.capacity);
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
            detail::fail(ec, errc::invalid_size, "%s of %llu bytes: see kernel.shmmax", call,
                         bytes);
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
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
