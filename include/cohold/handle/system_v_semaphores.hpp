// system_v_semaphores: a set of System V semaphores, found by a key, whose permits the kernel can
// give back when a holder is killed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_HPP
#define COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_HPP

#include <climits>
#include <optional>
#include <string>
#include <string_view>

#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/handle/semaphore_set.hpp>
#include <cohold/policy/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

/// For `system_v_semaphores<>::create(name, {.count = 2, .initial = 1})`.
struct semaphore_set_options {
    unsigned count = 1;   ///< semaphores in the set; the kernel's limit is SEMMSL of kernel.sem
    unsigned initial = 0; ///< permits that each has at first; at most 32767 (SEMVMX)
    /// The group that the set will belong to, for permission::group and group_read. None: the
    /// effective group of this process.
    std::optional<gid_t> group = std::nullopt;
};

/// A set of semaphores: semget(2), semop(2). For programs that have to live with `ipcs` and keys,
/// and for what nothing else offers: acquiring from several semaphores in one step, waiting until
/// one is empty, and getting back from the kernel what a killed process had acquired.
///
/// The naming policy makes a key from the name, as for mechanism::system_v: a name of "0x" and
/// eight hexadecimal digits is the key, others are hashed, naming::from_path is ftok(3). A set has
/// no room for its name, so two names with the same 32 bits cannot be told apart. Without names
/// (naming::unnamed) the handle that made the set removes it; until then a forked child may use its
/// copy, and other processes what adopt() makes of the id.
///
/// The race between semget and the setting of the first values, of which books on System V warn,
/// does not exist here: a new set can be opened as soon as it is ready, and not before. *If the
/// process is killed* while it creates a set, the set counts as absent and the next process to use
/// the name removes it; an empty set that was the lock of the creation may stay until then. Permits
/// acquired with semaphore_undo::at_exit come back, others are lost. But no process learns what was
/// left unfinished: a shm_mutex, in a segment, tells the next holder, and makes no system call
/// where nobody waits.
///
/// Reading values and waiting for zero need read permission; everything else needs write
/// permission. open() asks for both.
///
/// *Thread safety*: several threads may call const members at the same time. *Process safety*:
/// several processes may call all members at the same time. *Errors* of all operations:
/// errc::empty_handle; removed if the set has been removed, even during a wait; EINVAL for an index
/// beyond count().
/// index beyond count().
template <class Naming = naming::verbatim, class Permission = permission::owner_only>
class system_v_semaphores : public detail::semaphore_set {
    using policies = detail::policies<mechanism::system_v, Naming, Permission>;
    using naming_used = typename policies::naming;
    static constexpr ::mode_t bits = policies::permission::bits;

  public:
    system_v_semaphores() = default;

    /// A new set. Waits for processes that are creating one of this name. *Errors*:
    /// errc::already_exists, invalid_name, invalid_size (of count), invalid_options, out_of_space
    /// (the limits of kernel.sem), permission_denied. System calls: semget(2), semop(2), semctl(2).
    [[nodiscard]] static system_v_semaphores create(std::string_view name,
                                                    const semaphore_set_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard]] static system_v_semaphores create(std::string_view name,
                                                    const semaphore_set_options& options,
                                                    std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("create", label, name);
        ec.clear();
        const key_t key = key_of(name, ec);
        return ec ? system_v_semaphores() : make(key, name, options, ec);
    }

    [[nodiscard]] static system_v_semaphores create(const semaphore_set_options& options)
        requires detail::has_no_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(options, ec); });
    }

    [[nodiscard]] static system_v_semaphores create(const semaphore_set_options& options,
                                                    std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        const detail::error_context context("create", label, "");
        ec.clear();
        return make(IPC_PRIVATE, {}, options, ec);
    }

    /// An existing set, never an unfinished one. *Errors*: errc::not_found, unexpected_owner,
    /// wider_permission, permission_denied.
    [[nodiscard]] static system_v_semaphores open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static system_v_semaphores open(std::string_view name,
                                                  std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("open", label, name);
        ec.clear();
        const key_t key = key_of(name, ec);
        const int id = ec ? -1 : detail::open_set(key, ec);
        system_v_semaphores opened = ec ? system_v_semaphores() : from(id, name, true, ec);
        if (ec == errc::removed) {
            detail::fail(ec, errc::not_found, "it has just been removed");
        }
        return opened;
    }

    /// The existing set, whatever its values and count, or a new one. Any number of processes may
    /// race: all get the same one.
    [[nodiscard]] static system_v_semaphores open_or_create(std::string_view name,
                                                            const semaphore_set_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard]] static system_v_semaphores open_or_create(std::string_view name,
                                                            const semaphore_set_options& options,
                                                            std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        for (;;) {
            system_v_semaphores set = open(name, ec);
            if (ec != errc::not_found) {
                return set;
            }
            set = create(name, options, ec);
            if (ec != errc::already_exists) {
                return set;
            }
        }
    }

    /// A set by its identifier, which id() of another handle and `ipcs -s` show. Its ownership does
    /// not change: this handle does not remove it. *Errors*: errc::removed, permission_denied.
    [[nodiscard]] static system_v_semaphores adopt(int id) {
        return detail::thrown([&](std::error_code& ec) { return adopt(id, ec); });
    }

    [[nodiscard]] static system_v_semaphores adopt(int id, std::error_code& ec) noexcept {
        const detail::error_context context("adopt", label, "");
        ec.clear();
        return from(id, {}, false, ec);
    }

    /// Removes the set; processes that wait for its permits are woken with errc::removed. Returns
    /// false if there was no such set.
    static bool remove(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return remove(name, ec); });
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("remove", label, name);
        ec.clear();
        const key_t key = key_of(name, ec);
        return !ec && detail::remove_named_set(key, bits, ec);
    }

  private:
    system_v_semaphores(int id, unsigned count, std::string_view name, pid_t owner)
        : semaphore_set(id, count, name, owner) {}

    static key_t key_of(std::string_view name, std::error_code& ec)
        requires detail::has_names<policies>
    {
        const std::string real = naming_used::apply(name, ec);
        return ec ? key_t{IPC_PRIVATE} : detail::system_v_key(real);
    }

    static system_v_semaphores make(key_t key, std::string_view name,
                                    const semaphore_set_options& options, std::error_code& ec) {
        if (options.count == 0 || options.count > INT_MAX) {
            detail::fail(ec, errc::invalid_size, "a set of %u semaphores", options.count);
            return {};
        }
        if (options.initial > max) {
            detail::fail(ec, errc::invalid_options, "initial: %u, but at most %u are possible",
                         options.initial, max);
            return {};
        }
        const int id =
            detail::create_set(key, {options.count, options.initial, bits, options.group}, ec);
        return ec ? system_v_semaphores()
                  : system_v_semaphores(id, options.count, name,
                                        key == IPC_PRIVATE ? ::getpid() : -1);
    }

    static system_v_semaphores from(int id, std::string_view name, bool suspiciously,
                                    std::error_code& ec) {
        struct ::semid_ds found{};
        if (!detail::set_status(id, found)) {
            detail::fail_set(ec, errno, "semctl(IPC_STAT)");
            return {};
        }
        if (suspiciously) {
            detail::check_permission<typename policies::permission>(
                {.size = found.sem_nsems,
                 .owner = found.sem_perm.uid,
                 .group = found.sem_perm.gid,
                 .mode = found.sem_perm.mode & ::mode_t{0777},
                 .device = 0,
                 .inode = static_cast<std::uint64_t>(id),
                 .removed = false},
                ec);
        }
        return ec ? system_v_semaphores()
                  : system_v_semaphores(id, static_cast<unsigned>(found.sem_nsems), name, -1);
    }
};

COHOLD_NAMESPACE_END

#endif
