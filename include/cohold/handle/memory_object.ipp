// Definitions for memory_object.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MEMORY_OBJECT_IPP
#define COHOLD_HANDLE_MEMORY_OBJECT_IPP

#include <cohold/handle/memory_object.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE object_handle prepare_object(const object_policies& of, std::string_view name,
                                           const object_options& options,
                                           std::error_code& ec) noexcept {
    const mechanism_calls& calls = *of.mechanism;
    const std::uint64_t huge = hugetlb_page_of(options.huge);
    if (options.size == 0 || options.size > PTRDIFF_MAX) {
        fail(ec, errc::invalid_size, "%zu bytes", options.size);
    } else if (options.huge != huge_pages::none && huge == 0) {
        fail(ec, errc::invalid_options,
             "object_options::huge: an object has hugetlb pages or none; the others are options of "
             "map()");
    } else {
        check_hugetlb(calls.huge_pages, options.huge, ec);
    }
    if (!ec && calls.seal == nullptr && options.seals != seal::none) {
        fail(ec, errc::unsupported, "object_options::seals: only a memfd can be sealed");
    }
    if (ec) {
        return object_handle(of);
    }
    const std::uint64_t size = huge == 0 ? options.size : round_up(options.size, huge);
    object_handle made = object_handle::create(of, name,
                                               {.reserve = size,
                                                .mode = of.mode,
                                                .group = options.group,
                                                .formatted = false,
                                                .huge_page = huge},
                                               ec);
    if (!ec) {
        calls.back(made.object().native, nullptr, 0, size, ec);
    }
    if (!ec && options.seals != seal::none) {
        calls.seal(made.object().native, options.seals, ec);
    }
    if (ec && made) {
        made.abandon();
    }
    return made;
}

COHOLD_INLINE void grow_object(const object_handle& object, std::size_t size,
                               std::error_code& ec) noexcept {
    const error_context context("grow", object.calls().label, object.name());
    ec.clear();
    const object_status found = object.status(ec);
    if (ec || size <= found.size) {
        return;
    }
    if (object.calls().grows) {
        object.calls().back(object.object().native, nullptr, found.size, size, ec);
    } else {
        fail(ec, errc::unsupported, "its size is fixed at creation: %llu bytes",
             static_cast<unsigned long long>(found.size));
    }
}

COHOLD_INLINE mapped_bytes map_object(const object_handle& object, access_mode how,
                                      const mapping_options& options,
                                      std::error_code& ec) noexcept {
    const error_context context("map", object.calls().label, object.name());
    ec.clear();
    const object_status found = object.status(ec);
    if (!ec && (found.size == 0 || found.size > PTRDIFF_MAX)) {
        fail(ec, errc::invalid_size, "the object has %llu bytes",
             static_cast<unsigned long long>(found.size));
    }
    const auto size = static_cast<std::size_t>(found.size);
    char* place = nullptr; // the kernel's choice
    if (!ec && options.huge != huge_pages::none && size >= huge_page_bytes) {
        place = reserve_aligned(0, size, mapping_unit(object.object().descriptor(), options.huge));
        if (place == nullptr) {
            fail_errno(ec, errno, "mmap");
        }
    }
    void* const at = ec ? nullptr : object.object().map(size, how, place, ec);
    if (ec) {
        unmap(place, size);
        return {};
    }
    mapping_options others = options;
    others.fork = true;
    begin_mapping(at, size, others, ec);
    if (!ec && !options.fork) {
        const error_context again("advise", "region", "");
        advise_pages(at, size, MADV_DONTFORK, ec);
    }
    if (!ec) {
        finish_mapping(at, size, how == access_mode::writing, options, ec);
    }
    if (ec) {
        unmap(at, size);
        return {};
    }
    return {at, size, options.fork ? 0 : process_stamp()};
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
