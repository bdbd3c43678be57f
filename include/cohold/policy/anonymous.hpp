// mechanism::anonymous: a shared anonymous mapping, for a process and its forked children.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_ANONYMOUS_HPP
#define COHOLD_POLICY_ANONYMOUS_HPP

#include <cohold/error.hpp>
#include <cohold/os/mapping.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/policy/detail/liveness.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// mmap(2) with MAP_SHARED | MAP_ANONYMOUS. It is created with the size of its reserve, which costs
/// nothing; memory is allocated as the segment grows. It lives as long as a process of the fork
/// tree has it mapped. An empty memfd, which is inherited together with it, carries the locks that
/// show which of these processes are alive.
struct anonymous {
    using native_handle_type = anonymous_memory;
    using default_naming = naming::unnamed;
    using liveness = detail::anonymous_liveness;
    static constexpr std::string_view label = "anonymous memory";
    static constexpr name_form names = name_form::none;
    static constexpr bool grows = false;
    static constexpr bool keys_collide = false;

    [[gnu::cold]] static anonymous_memory create(const creation& wanted,
                                                 std::error_code& ec) noexcept;

    [[gnu::cold]] static object_status status(const anonymous_memory& memory,
                                              std::error_code&) noexcept;

    [[gnu::cold]] static void back(const anonymous_memory& memory, void* mapping,
                                   std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept;

    [[gnu::cold]] static void release(const anonymous_memory& /*memory*/, void* mapping,
                                      std::uint64_t from, std::uint64_t to,
                                      std::error_code& ec) noexcept {
        detail::remove_pages(mapping, from, to, ec);
    }

    /// Maps the same pages once more, with mremap(2) of zero bytes.
    [[gnu::cold]] static void* map(const anonymous_memory& memory, std::uint64_t bytes,
                                   access_mode how, void* at, std::error_code& ec) noexcept;

    /// Takes over the descriptor too. Without one, or if it has been closed meanwhile, the memory
    /// can be used, but not by participants: it would be impossible to tell which of them are
    /// alive.
    [[gnu::cold]] static void adopt(anonymous_memory& memory, std::error_code& ec) noexcept;

    [[gnu::cold]] static void close(anonymous_memory& memory) noexcept;
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/anonymous.ipp>
#endif

#endif
