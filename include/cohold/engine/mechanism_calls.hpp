// A mechanism as data: its properties, and its functions for native handles of any type. So code
// that works with all mechanisms need not be a template.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_MECHANISM_CALLS_HPP
#define COHOLD_ENGINE_MECHANISM_CALLS_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <cohold/config.hpp>
#include <cohold/os/file.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

enum class seal : unsigned;

namespace detail {

// Room for a native handle of any mechanism.
struct alignas(16) native_room {
    unsigned char bytes[32];
};

// For the meaning of most of these, see the table of mechanism_policy. `native` is the address of
// a native handle. An optional function that the mechanism lacks is null.
struct mechanism_calls {
    std::string_view label;
    bool grows;
    bool huge_pages;
    bool has_descriptor; // the native handle is a file_descriptor
    std::size_t size;    // of a native handle, in bytes
    bool reads_as_maps;  // pread(2) of that descriptor gets the bytes that map() maps

    // Makes an empty native handle; the memory may hold any bytes before.
    void (*clear)(void* native) noexcept;
    bool (*refers)(const void* native) noexcept;

    object_status (*status)(const void* native, std::error_code& ec) noexcept;
    void (*back)(const void* native, void* mapping, std::uint64_t from, std::uint64_t to,
                 std::error_code& ec) noexcept;
    void* (*map)(const void* native, std::uint64_t bytes, access_mode how, void* at,
                 std::error_code& ec) noexcept;
    void (*adopt)(void* native, std::error_code& ec) noexcept;
    void (*close)(void* native) noexcept;

    // With a name; null for mechanisms that have none.
    void (*create)(void* native, std::string_view name, const creation& wanted,
                   std::error_code& ec) noexcept;
    void (*publish)(void* native, std::string_view name, publication how,
                    std::error_code& ec) noexcept;
    void (*abandon)(void* native, std::string_view name) noexcept;
    void (*open)(void* native, std::string_view name, access_mode how, object_status& found,
                 std::error_code& ec) noexcept;
    bool (*remove)(std::string_view name, std::error_code& ec) noexcept;

    // Without a name.
    void (*create_unnamed)(void* native, const creation& wanted, std::error_code& ec) noexcept;

    void (*reclaim)(std::string_view name) noexcept;
    void (*seal)(const void* native, enum seal seals, std::error_code& ec) noexcept;
    void (*settle)(const void* native, std::string_view name, std::error_code& ec) noexcept;
    void (*release)(const void* native, void* mapping, std::uint64_t from, std::uint64_t to,
                    std::error_code& ec) noexcept;
    // Gives memory to the holes in the first `bytes`.
    void (*fill)(const void* native, access_mode how, void* mapping, std::uint64_t bytes,
                 std::error_code& ec) noexcept;

    // Liveness. `claim` holds the gate, and calls publish(context, token) while no other process
    // can claim the slot.
    void* (*claim)(const void* native, std::uint32_t slot, const liveness_token& present,
                   bool (*publish)(void* context, const liveness_token& token) noexcept,
                   void* context, std::error_code& ec) noexcept;
    verdict (*probe)(const void* native, std::uint32_t slot, const liveness_token& token) noexcept;
    // The same by another descriptor, of the file with the locks of this object; `unknown` if it is
    // one of another file. Null where no file has locks.
    verdict (*probe_by)(int descriptor, const void* native, std::uint64_t device,
                        std::uint64_t inode, std::uint32_t slot,
                        const liveness_token& token) noexcept;
    bool locks_itself; // that file is the object

    // Attendance. Calls act(context, held) within the gate; if that is not held, errno says why.
    void (*within_gate)(const void* native, lock_kind kind,
                        void (*act)(void* context, bool held) noexcept, void* context) noexcept;
    bool (*anybody)(const void* native) noexcept;
    void (*enter)(const void* native, void* page, std::error_code& ec) noexcept;
};

// An object of a mechanism, by a native handle that lives somewhere else.
struct native_object {
    const mechanism_calls* calls;
    const void* native;

    [[nodiscard]] object_status status(std::error_code& ec) const noexcept {
        return calls->status(native, ec);
    }

    [[nodiscard]] void* map(std::uint64_t bytes, access_mode how, void* at,
                            std::error_code& ec) const noexcept {
        return calls->map(native, bytes, how, at, ec);
    }

    // The file descriptor that the native handle is; -1 if it is something else.
    [[nodiscard]] int descriptor() const noexcept {
        return calls->has_descriptor ? static_cast<const file_descriptor*>(native)->value : -1;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
