// Mechanism policies: the concept, and the types that mechanisms and handles exchange.
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

// ---- access

/// Selects read-only opening: `open(name, read_only)`. The access is part of the type of the
/// result.
inline constexpr struct read_only_t {
} read_only{}; ///< `open(name, read_only)`

/// Selects read-write opening, the default.
inline constexpr struct read_write_t {
} read_write{}; ///< `open(name, read_write)`

/// The two ways in which a mechanism can be asked to open an object.
enum class access_mode {
    reading, ///< nothing can be changed
    writing, ///< for reading and writing
};

// ---- native handles

/// The file descriptor of a POSIX, file, tmpfs or memfd object.
struct file_descriptor {
    int value = -1; ///< the number; -1: none

    explicit operator bool() const noexcept { return value >= 0; }
};

/// The identifier of a System V segment, as shmget(2) returns it.
struct system_v_id {
    int value = -1;       ///< the number; -1: none
    void* held = nullptr; ///< set by a handle: the page that keeps a segment without a name alive

    explicit operator bool() const noexcept { return value >= 0; }
};

/// A shared anonymous mapping. It has no name; a forked child has it too.
struct anonymous_memory {
    void* address = nullptr; ///< where it is in this process
    std::size_t bytes = 0;   ///< its length
    int liveness = -1; ///< the descriptor of a memfd whose locks show which processes are alive
    std::uint64_t liveness_identity = 0; ///< to check that the descriptor is still that memfd

    explicit operator bool() const noexcept { return address != nullptr; }
};

// ---- objects and participants

/// The properties of a new object.
struct creation {
    std::uint64_t reserve; ///< bytes for which a mechanism that cannot grow must make room at once
    ::mode_t mode;         ///< exact permission bits, regardless of the umask
    std::optional<gid_t> group; ///< the group of the object; if empty, the kernel chooses
    bool formatted; ///< as the last step before publication, the first 8 bytes become non-zero
    /// The size of its hugetlb pages in bytes; 0 for ordinary pages. Only mechanisms with
    /// `huge_pages` are asked for other values.
    std::uint64_t huge_page = 0;
};

/// What the kernel knows about an object.
struct object_status {
    std::uint64_t size;   ///< bytes
    uid_t owner;          ///< user
    gid_t group;          ///< group
    ::mode_t mode;        ///< permission bits
    std::uint64_t device; ///< identifies the object, together with inode
    std::uint64_t inode;  ///< identifies the object, together with device
    bool removed;         ///< no name refers to it any more
    bool sparse = true;   ///< may parts of it have no memory or space yet?
};

/// How to publish a finished object if another object already has its name.
enum class publication {
    exclusive, ///< errc::already_exists
    replace,   ///< the new one takes over the name; existing users keep the old one
};

/// The state of a participant, a process that uses a segment, according to the kernel.
enum class verdict {
    alive,   ///< even if it is stopped or slow
    dead,    ///< its memory and all of its threads are gone
    unknown, ///< the kernel could not be asked, e.g. because a descriptor was closed
};

/// What a mechanism records about a participant, in the participant's slot in the segment.
struct liveness_token {
    std::uint64_t words[2] = {0, 0}; ///< what they mean is the mechanism's business
};

/// The form of name that a mechanism needs.
enum class name_form {
    none,      ///< no name at all
    component, ///< a name without slashes
    path,      ///< a path in the file system, whose last component the naming policy makes
};

// ---- the concept

/// For policies: sets `ec`, and makes the report that last_failure() and failure::what() return.
/// The report contains what this thread is doing, the formatted text (what was wanted and found)
/// and the code's message.
[[gnu::cold, gnu::format(printf, 3, 4)]] inline void
report_failure(std::error_code& ec, std::error_code code, const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    detail::error_context::fail(ec, code, format, &arguments);
    va_end(arguments);
}

namespace detail {

// The part of a mechanism that does not depend on names.
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
/// A way to get shared memory from the kernel. Stateless. Every function is static and noexcept,
/// and reports errors through std::error_code& (errc, or errno in std::generic_category()),
/// preferably with report_failure.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `M::native_handle_type` | type | trivially copyable, at most 32 bytes, default-constructible, `explicit operator bool`: does it refer to an object? |
/// | `M::default_naming` | type | the default naming policy |
/// | `M::label` | `std::string_view` | the mechanism's name in error messages |
/// | `M::names` | `name_form` | the form of names; for `none`, the functions with a name are not needed |
/// | `M::grows` | `bool` | `back` can make an object longer than it was created |
/// | `M::keys_collide` | `bool` | two names can refer to one object, so the full name is checked on opening |
/// | `M::replaces` | `bool` | if named: `publish` can take over the name of another object |
/// | `M::create(name, creation, ec)` | native | if named: a new object that cannot be opened by its name yet |
/// | `M::publish(native, name, publication, ec)` | – | if named: gives it its name in one step |
/// | `M::abandon(native, name)` | – | if named: destroys and closes an object that was not published |
/// | `M::open(name, access, ec)` | native | if named: an existing object; refuses anything else (links, directories …) |
/// | `M::open(name, access, status, ec)` | native | optional, if named: the same; sets `status` to what `M::status` would return |
/// | `M::remove(name, ec)` | `bool` | if named: removes the name; false if there was none |
/// | `M::reclaim(name)` | – | optional, if named: removes what a killed creator has left of an unpublished object |
/// | `M::create(creation, ec)` | native | a new object, if it has objects without a name |
/// | `M::status(native, ec)` | `object_status` | what the kernel knows about it |
/// | `M::back(native, mapping, from, to, ec)` | – | real memory for the bytes [from, to), so that touching them cannot fail; `mapping`: the address at which all of it is mapped for writing, or null |
/// | `M::map(native, bytes, access, at, ec)` | `void*` | maps it; if `at` is not null, at that address, replacing what is mapped there |
/// | `M::adopt(native, ec)` | – | checks and prepares an object that the user obtained by other means |
/// | `M::close(native)` | – | closes the native handle; mappings stay |
/// | `M::release(native, mapping, from, to, ec)` | – | optional: gives the memory of the pages [from, to) back to the kernel; `back` for them gets it again |
/// | `M::huge_pages` | `bool` | optional: `create` can make objects of hugetlb pages, according to `creation::huge_page` |
/// | `M::seal(native, seals, ec)` | – | optional: permanently forbids what `seals`, an enum seal, says |
/// | `M::settle(native, name, ec)` | – | optional: waits until the contents of the object and, if `name` is not empty, its name would survive a power failure |
/// | `M::attendance` | type | optional, for lifetime::session: tells which processes are attached. `mechanism::file::attendance` works for every mechanism whose native handle is a file_descriptor |
/// | `M::liveness` | type | optional: tells which participants are alive; see the table below. Without it, a mechanism with a file_descriptor works like those of the library, and with any other native handle no participant is ever considered dead |
///
/// Liveness `L = M::liveness`, for participants with the numbers 0, 1, …:
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `L::claim(native, slot, token, ec)` | `void*` | claims the slot for this process until the returned page is unmapped or the process dies, in whatever way; a forked child does not inherit the claim. Null without an error: a live process has the slot. `token`: that of the slot's previous participant, or zeros if there was none; becomes that of this process |
/// | `L::probe(native, slot, token)` | `verdict` | is the process that claimed the slot with this token alive? |
/// | `L::gate` | type | optional: `L::gate(native, ec)` is held from before the token is read until the new one is published; needed where claims alone do not exclude each other |
// clang-format on
template <class M>
concept mechanism_policy = std::is_class_v<M> && detail::object_mechanism<M> &&
                           ((M::names == name_form::none && detail::unnamed_mechanism<M>) ||
                            (M::names != name_form::none && detail::named_mechanism<M>));

COHOLD_NAMESPACE_END

#endif
