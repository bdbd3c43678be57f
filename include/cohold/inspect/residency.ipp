// Definitions for residency.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_RESIDENCY_IPP
#define COHOLD_INSPECT_RESIDENCY_IPP

#include <cohold/inspect/residency.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE mapping_residency parse_mappings(std::string_view text, std::uint64_t from,
                                               std::uint64_t to) {
    constexpr text_field<mapping_residency> page[] = {
        {"KernelPageSize", &mapping_residency::page_size}};
    mapping_residency out;
    bool inside = false;
    map_line line;
    while (!text.empty()) {
        const std::string_view each = next_line(text);
        if (parse_map_line(each, line)) {
            const std::uint64_t begin = larger(line.from, from);
            const std::uint64_t end = line.to < to ? line.to : to;
            inside = begin < end;
            out.mapped += inside ? end - begin : 0;
        } else if (inside && !add_field(each, smaps_fields, out) && !out.page_size) {
            add_field(each, page, out);
        }
    }
    return out;
}

COHOLD_INLINE amount swapped_bytes_of_file(int fd, std::uint64_t size) {
    std::string text;
    if (read_text("/proc/meminfo", text) == 0) {
        const memory_report memory = parse_meminfo(text);
        if (memory.swap_total && memory.swap_total == memory.swap_free) {
            return 0;
        }
    }
    void* const at = size == 0 || size > PTRDIFF_MAX
                         ? MAP_FAILED
                         : raw_map(static_cast<std::size_t>(size), fd, 0);
    if (at == MAP_FAILED) {
        return size == 0 ? amount(0) : amount();
    }
    const auto from = reinterpret_cast<std::uintptr_t>(at);
    amount out;
    if (read_text("/proc/self/smaps", text) == 0) {
        out = parse_mappings(text, from, from + size).swapped;
    }
    unmap(at, static_cast<std::size_t>(size));
    return out;
}

} // namespace detail

COHOLD_INLINE object_residency residency(const file_descriptor& object, std::error_code& ec) {
    const detail::error_context context("ask for the pages of", "an object", "");
    ec.clear();
    object_residency out;
    detail::file_status status{};
    if (detail::raw_fstat(object.value, status) != 0) {
        detail::fail_errno(ec, errno, "fstat");
        return out;
    }
    out.size = static_cast<std::uint64_t>(status.st_size);
    out.allocated = static_cast<std::uint64_t>(status.st_blocks) * 512;
    out.data = detail::data_bytes(object.value, out.size);
    if (detail::tells_residency(object.value, status)) {
        out.resident = detail::resident_bytes_of_file(object.value, out.size);
    }
    out.swapped = detail::is_on_tmpfs(object.value)
                      ? detail::swapped_bytes_of_file(object.value, out.size)
                      : amount(0);
    return out;
}

COHOLD_INLINE object_residency residency(const file_descriptor& object) {
    return detail::thrown([&](std::error_code& ec) { return residency(object, ec); });
}

COHOLD_INLINE object_residency residency(std::string_view path, std::error_code& ec) {
    const detail::error_context context("ask for the pages of", "", path);
    ec.clear();
    const detail::file_place place(path);
    object_status found{};
    file_descriptor file = detail::open_existing(place, access_mode::reading, found, ec);
    if (ec) {
        return {};
    }
    const object_residency out = residency(file, ec);
    detail::descriptor_object::close(file);
    return out;
}

COHOLD_INLINE object_residency residency(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return residency(path, ec); });
}

COHOLD_INLINE mapping_residency residency(const void* address, std::size_t bytes,
                                          std::error_code& ec) {
    const detail::error_context context("ask for the pages of", "a mapping", "");
    ec.clear();
    std::string text;
    if (const int error = detail::read_text("/proc/self/smaps", text); error != 0) {
        detail::fail_errno(ec, error, "/proc/self/smaps");
        return {};
    }
    const auto from = reinterpret_cast<std::uintptr_t>(address);
    mapping_residency out = detail::parse_mappings(text, from, from + bytes);
    out.resident = detail::resident_bytes(address, bytes);
    return out;
}

COHOLD_INLINE mapping_residency residency(const void* address, std::size_t bytes) {
    return detail::thrown([&](std::error_code& ec) { return residency(address, bytes, ec); });
}

COHOLD_NAMESPACE_END

#endif
