// Definitions for anonymous.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_ANONYMOUS_IPP
#define COHOLD_POLICY_ANONYMOUS_IPP

#include <cohold/policy/anonymous.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

COHOLD_INLINE anonymous_memory anonymous::create(const creation& wanted,
                                                 std::error_code& ec) noexcept {
    const std::uint64_t bytes = detail::round_up(wanted.reserve, detail::page_size());
    void* at = bytes == 0 || bytes > PTRDIFF_MAX
                   ? (errno = ENOMEM, MAP_FAILED)
                   : ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        detail::fail(ec, errc::reserve_too_large,
                     "mmap of %llu bytes: errno %d (with vm.overcommit_memory=2 the whole "
                     "reserve must be available)",
                     static_cast<unsigned long long>(wanted.reserve), errno);
        return {};
    }
    anonymous_memory memory{at, static_cast<std::size_t>(bytes)};
    detail::unique_fd beside = detail::memory_file(0);
    if (!beside) {
        detail::fail_errno(ec, errno,
                           "memfd_create, for the locks that show which processes are alive");
        close(memory);
        return {};
    }
    memory.liveness_identity = liveness::identity(beside.get());
    memory.liveness = beside.release();
    return memory;
}

COHOLD_INLINE object_status anonymous::status(const anonymous_memory& memory,
                                              std::error_code&) noexcept {
    return {memory.bytes, ::geteuid(), ::getegid(), 0600, 0, 0, false};
}

COHOLD_INLINE void anonymous::back(const anonymous_memory& memory, void* mapping,
                                   std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept {
    detail::populate(mapping != nullptr ? mapping : memory.address, from, to, ec);
}

COHOLD_INLINE void* anonymous::map(const anonymous_memory& memory, std::uint64_t bytes,
                                   access_mode how, void* at, std::error_code& ec) noexcept {
    if (bytes > memory.bytes) {
        detail::fail(ec, errc::invalid_size, "wanted %llu bytes, there are %zu",
                     static_cast<unsigned long long>(bytes), memory.bytes);
        return nullptr;
    }
    const std::size_t length = static_cast<std::size_t>(bytes);
    void* mapped = ::mremap(memory.address, 0, length,
                            MREMAP_MAYMOVE | (at != nullptr ? MREMAP_FIXED : 0), at);
    if (mapped == MAP_FAILED && errno == EINVAL) {
        detail::fail(ec, errc::unsupported,
                     "mremap makes no second mapping of the same pages: is this valgrind? Use "
                     "mechanism::memfd there");
        return nullptr;
    }
    if (mapped == MAP_FAILED) {
        detail::fail(ec, errc::reserve_too_large, "mremap of %zu bytes: errno %d", length, errno);
        return nullptr;
    }
    if (how == access_mode::reading && ::mprotect(mapped, length, PROT_READ) != 0) {
        detail::fail_errno(ec, errno, "mprotect");
        detail::unmap(mapped, length);
        return nullptr;
    }
    return mapped;
}

COHOLD_INLINE void anonymous::adopt(anonymous_memory& memory, std::error_code& ec) noexcept {
    if (!liveness::is_open(memory)) {
        memory.liveness = -1; // not ours to close
    }
    if (memory.address == nullptr || memory.bytes == 0 ||
        reinterpret_cast<std::uintptr_t>(memory.address) % detail::page_size() != 0) {
        detail::fail(ec, errc::invalid_options, "not the address and size of a mapping");
    }
}

COHOLD_INLINE void anonymous::close(anonymous_memory& memory) noexcept {
    detail::unmap(memory.address, memory.bytes);
    if (liveness::is_open(memory)) {
        const detail::unique_fd closed(memory.liveness);
    }
    memory = {};
}

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
