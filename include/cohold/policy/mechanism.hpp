// What a mechanism policy is: the concept, and the few types in which mechanisms and handles speak
// with each other.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_MECHANISM_HPP
#define COHOLD_POLICY_MECHANISM_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <sys/types.h>

#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

/// Selects read-only opening: `open(name, read_only)`. The access is part of the type of what comes
/// back.
inline constexpr struct read_only_t {
} read_only{};

/// Selects read-write opening, the default.
inline constexpr struct read_write_t {
} read_write{};

/// The two ways to open an object, as mechanisms are told.
enum class access_mode { reading, writing };

/// A file descriptor of an object: POSIX, file, tmpfs and memfd objects.
struct file_descriptor {
    int value = -1;

    explicit operator bool() const noexcept { return value >= 0; }
};

/// The identifier of a System V segment, as shmget(2) returns it.
struct system_v_id {
    int value = -1;
    void* held = nullptr; ///< of a handle's own: the page that keeps a segment without a name

    explicit operator bool() const noexcept { return value >= 0; }
};

/// A shared anonymous mapping. It has no name; a forked child has it too.
struct anonymous_memory {
    void* address = nullptr;
    std::size_t bytes = 0;
    int liveness = -1; ///< the descriptor of a memfd beside it: its locks say who is alive
    std::uint64_t liveness_identity = 0; ///< that the descriptor is that memfd still

    explicit operator bool() const noexcept { return address != nullptr; }
};

/// What a new object shall be.
struct creation {
    std::uint64_t capacity; ///< bytes that a mechanism which cannot grow must make room for at once
    ::mode_t mode;          ///< exact permission bits; the umask plays no part
    std::optional<gid_t> group; ///< the group of the object; none: the kernel's choice
    bool formatted; ///< the first 8 bytes become non-zero, last of all, before it is published
    /// Bytes of the hugetlb pages that it shall consist of; 0: ordinary pages. Asked for only of
    /// mechanisms with `huge_pages`.
    std::uint64_t huge_page = 0;
};

/// What the kernel knows of an object.
struct object_status {
    std::uint64_t size;   ///< bytes
    uid_t owner;          ///< user
    gid_t group;          ///< group
    ::mode_t mode;        ///< permission bits
    std::uint64_t device; ///< with inode: which object it is
    std::uint64_t inode;
    bool removed; ///< no name leads to it any more
};

/// How a finished object meets an object that has its name already.
enum class publication {
    exclusive, ///< errc::already_exists
    replace,   ///< the new one takes the name over; who holds the old one keeps it
};

/// What the kernel says of a participant, a process that uses a segment.
enum class verdict {
    alive,   ///< also if it is stopped, or slow
    dead,    ///< its memory is gone, and with it every thread
    unknown, ///< the kernel could not be asked, e.g. because a descriptor was closed
};

/// What a mechanism wants to remember of a participant, in the participant's slot of the segment.
struct liveness_token {
    std::uint64_t words[2] = {0, 0};
};

/// What a mechanism needs as a name.
enum class name_form {
    none,      ///< no name at all
    component, ///< a name without slashes
    path,      ///< a path of the file system, its last component made by the naming policy
};

/// For policies: sets `ec` and tells last_failure(), and so failure::what(), of it: what this
/// thread is doing, the text that printf(3) makes of the format (wanted and found), and the code's
/// message.
[[gnu::cold, gnu::format(printf, 3, 4)]] inline void
report_failure(std::error_code& ec, std::error_code code, const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    detail::error_context::fail(ec, code, format, &arguments);
    va_end(arguments);
}

namespace detail {

// The part of a mechanism that works on an object, whatever its name.
template <class M>
concept object_mechanism =
    requires(typename M::native_handle_type& object, const typename M::native_handle_type& there,
             const creation& wanted, std::uint64_t bytes, void* at, std::error_code& ec) {
        requires std::default_initializable<typename M::native_handle_type>;
        requires std::copyable<typename M::native_handle_type>;
        static_cast<bool>(there);
        typename M::default_naming;
        { M::label } -> std::convertible_to<std::string_view>;
        { M::names } -> std::convertible_to<name_form>;
        { M::grows } -> std::convertible_to<bool>;
        { M::keys_collide } -> std::convertible_to<bool>;
        { M::status(there, ec) } noexcept -> std::same_as<object_status>;
        { M::back(there, at, bytes, bytes, ec) } noexcept -> std::same_as<void>;
        { M::map(there, bytes, access_mode::reading, at, ec) } noexcept -> std::same_as<void*>;
        { M::adopt(object, ec) } noexcept -> std::same_as<void>;
        { M::close(object) } noexcept -> std::same_as<void>;
    };

template <class M>
concept named_mechanism = requires(typename M::native_handle_type& object, std::string_view name,
                                   const creation& wanted, std::error_code& ec) {
    { M::replaces } -> std::convertible_to<bool>;
    { M::create(name, wanted, ec) } noexcept -> std::same_as<typename M::native_handle_type>;
    { M::publish(object, name, publication::exclusive, ec) } noexcept -> std::same_as<void>;
    { M::abandon(object, name) } noexcept -> std::same_as<void>;
    {
        M::open(name, access_mode::reading, ec)
    } noexcept -> std::same_as<typename M::native_handle_type>;
    { M::remove(name, ec) } noexcept -> std::same_as<bool>;
};

template <class M>
concept unnamed_mechanism = requires(const creation& wanted, std::error_code& ec) {
    { M::create(wanted, ec) } noexcept -> std::same_as<typename M::native_handle_type>;
};

} // namespace detail

// clang-format off
/// A way to come by shared bytes. Stateless; every function is static and noexcept, and reports by
/// std::error_code& (errc, or errno in std::generic_category()), best through report_failure.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `M::native_handle_type` | type | default-constructible, copyable, `explicit operator bool`: is it an object? |
/// | `M::default_naming` | type | the naming policy for who names none |
/// | `M::label` | `std::string_view` | the mechanism's word in error messages |
/// | `M::names` | `name_form` | what names look like; for `none` the functions with a name are not needed |
/// | `M::grows` | `bool` | `back` can make an object longer than it was created |
/// | `M::keys_collide` | `bool` | two names can mean one object, so the full name is checked on opening |
/// | `M::replaces` | `bool` | if named: `publish` can take a name over from another object |
/// | `M::create(name, creation, ec)` | native | if named: a new object that nobody can open under the name yet |
/// | `M::publish(native, name, publication, ec)` | – | if named: shows it under the name in one step |
/// | `M::abandon(native, name)` | – | if named: destroys an object that was not published, and closes it |
/// | `M::open(name, access, ec)` | native | if named: an existing object; refuses what is none (links, directories …) |
/// | `M::remove(name, ec)` | `bool` | if named: takes the name away; false if there was none |
/// | `M::reclaim(name)` | – | optional, if named: clears away what a killed creator has left of an object that was not published |
/// | `M::create(creation, ec)` | native | if it has objects without a name |
/// | `M::status(native, ec)` | `object_status` | what the kernel knows of it |
/// | `M::back(native, mapping, from, to, ec)` | – | real memory for the bytes [from, to), so that touching them cannot fail; `mapping`: where all of it is mapped for writing, or null |
/// | `M::map(native, bytes, access, at, ec)` | `void*` | maps it; at `at` if that is not null, in place of what is mapped there |
/// | `M::adopt(native, ec)` | – | checks and prepares an object that came by other ways |
/// | `M::close(native)` | – | gives the native handle back; mappings stay |
/// | `M::huge_pages` | `bool` | optional: `create` can make objects of hugetlb pages, as `creation::huge_page` says |
/// | `M::seal(native, seals, ec)` | – | optional: forbids for ever what `seals`, an enum seal, says |
/// | `M::settle(native, name, ec)` | – | optional: waits until what was written to the object and, if `name` is not empty, its name outlive a loss of power |
/// | `M::attendance` | type | optional, for lifetime::session: who is attached. `mechanism::file::attendance` is one for every mechanism whose native handle is a file_descriptor |
/// | `M::liveness` | type | optional: who of the participants is alive; the table below. Without it, a file_descriptor is asked as those of the library are, and with any other native handle nobody is ever taken for dead |
///
/// Liveness `L = M::liveness`, for participants with the numbers 0, 1, …:
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `L::claim(native, slot, token, ec)` | `void*` | makes the slot this process's own until the page that is returned is unmapped, or the process dies, however; a forked child does not have it. Null without an error: somebody alive has it. `token`: that of the slot's last holder, all zero if there was none; becomes this one's |
/// | `L::probe(native, slot, token)` | `verdict` | is the process that claimed the slot, with this token, alive? |
/// | `L::gate` | type | optional: `L::gate(native, ec)` is held from before the token is read until the new one is published, where claims alone do not exclude each other |
// clang-format on
template <class M>
concept mechanism_policy = std::is_class_v<M> && detail::object_mechanism<M> &&
                           ((M::names == name_form::none && detail::unnamed_mechanism<M>) ||
                            (M::names != name_form::none && detail::named_mechanism<M>));

COHOLD_NAMESPACE_END

#endif
