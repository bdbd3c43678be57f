// mechanism::system_v: System V shared memory, named by 32-bit keys.
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

/// shmget(2) and shmat(2): lives until it has been removed and all processes have detached. Its
/// size is fixed, so segments are created with the size of their reserve, which costs nothing;
/// memory is allocated as the segment grows. A name is hashed to the key, and stored in the segment
/// to distinguish colliding names. A name of "0x" and eight hexadecimal digits is the key itself,
/// as ipcs(1) shows it.
///
/// Without a name, the segment is made with IPC_PRIVATE. It disappears with its last user, however
/// that ends. Its users are the handle that made it, its mappings, copies of both in forked
/// children, and handles that have adopted it by its identifier, which is possible as long as there
/// is a user. A segment of session lifetime has a second, small segment beside it, which its
/// participants have attached.
struct system_v {
    using native_handle_type = system_v_id;
    using default_naming = naming::verbatim;
    using attendance = detail::system_v_attendance;
    using liveness = detail::system_v_liveness;
    static constexpr std::string_view label = "System V segment";
    static constexpr name_form names = name_form::component;
    static constexpr bool grows = false;
    static constexpr bool replaces = false; // a key cannot be moved from one object to another
    static constexpr bool keys_collide = true;

    /// A segment cannot be published in one step. Until publish, a lock that is released when this
    /// process dies shows that the object is still being made. An object that is not ready and
    /// whose creator is dead counts as absent, and is reclaimed.
    [[gnu::cold]] static system_v_id create(std::string_view name, const creation& wanted,
                                            std::error_code& ec) noexcept;

    [[gnu::cold]] static system_v_id create(const creation& wanted, std::error_code& ec) noexcept;

    [[gnu::cold]] static void publish(system_v_id& /*object*/, std::string_view name,
                                      publication /*how*/, std::error_code& /*ec*/) noexcept;

    [[gnu::cold]] static void abandon(system_v_id& object, std::string_view name) noexcept;

    [[gnu::cold]] static system_v_id open(std::string_view name, access_mode /*how*/,
                                          std::error_code& ec) noexcept;

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept;

    [[gnu::cold]] static void reclaim(std::string_view name) noexcept;

    [[gnu::cold]] static object_status status(const system_v_id& object,
                                              std::error_code& ec) noexcept;

    [[gnu::cold]] static void back(const system_v_id& object, void* mapping, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept;

    [[gnu::cold]] static void release(const system_v_id& /*object*/, void* mapping,
                                      std::uint64_t from, std::uint64_t to,
                                      std::error_code& ec) noexcept {
        detail::remove_pages(mapping, from, to, ec);
    }

    [[gnu::cold]] static void* map(const system_v_id& object, std::uint64_t bytes, access_mode how,
                                   void* at, std::error_code& ec) noexcept;

    // A handle that adopts a segment without a name becomes one of its users. (A segment whose name
    // has been removed cannot be distinguished from one without a name.)
    [[gnu::cold]] static void adopt(system_v_id& object, std::error_code& ec) noexcept;

    [[gnu::cold]] static void close(system_v_id& object) noexcept;

  private:
    // Keeps a segment without a name alive for this handle: its first page stays attached.
    [[gnu::cold]] static void hold(system_v_id& object, std::error_code& ec) noexcept;

    [[gnu::cold]] static void end_creation(std::string_view name) noexcept;

    [[gnu::cold]] static system_v_id make(key_t key, int flags, const creation& wanted,
                                          std::error_code& ec) noexcept;

    [[gnu::cold]] static void* attach(const system_v_id& object, access_mode how, void* at,
                                      std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_get(std::error_code& ec, int error, const char* call, key_t key,
                                       const creation& wanted) noexcept;
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/system_v.ipp>
#endif

#endif
