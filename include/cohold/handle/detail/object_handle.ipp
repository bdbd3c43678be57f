// Definitions for object_handle.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_OBJECT_HANDLE_IPP
#define COHOLD_HANDLE_DETAIL_OBJECT_HANDLE_IPP

#include <cohold/handle/detail/object_handle.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE object_handle object_handle::create(const object_policies& of, std::string_view name,
                                                  creation wanted, std::error_code& ec) noexcept {
    wanted.mode = of.mode;
    object_handle made(of);
    if (of.named) {
        const std::string real = of.object_name(name, ec);
        if (!ec) {
            of.mechanism->create(&made.native_, real, wanted, ec);
            made.name_ = name;
        }
    } else {
        of.mechanism->create_unnamed(&made.native_, wanted, ec);
    }
    return made;
}

COHOLD_INLINE object_handle object_handle::open(const object_policies& of, std::string_view name,
                                                access_mode how, object_status& found,
                                                std::error_code& ec) noexcept {
    object_handle opened(of);
    const std::string real = of.object_name(name, ec);
    if (ec) {
        return opened;
    }
    opened.name_ = name;
    of.mechanism->open(&opened.native_, real, how, found, ec);
    if (!ec) {
        check_permission(found, of.mode, of.accepts(found), ec);
    }
    removed_is_absent(ec);
    return ec ? object_handle(of) : std::move(opened);
}

COHOLD_INLINE object_handle object_handle::adopt(const object_policies& of, const void* native,
                                                 std::error_code& ec) noexcept {
    object_handle adopted(of, native);
    if (!adopted) {
        fail(ec, errc::empty_handle);
        return adopted;
    }
    of.mechanism->adopt(&adopted.native_, ec);
    return ec ? object_handle(of) : std::move(adopted);
}

COHOLD_INLINE void object_handle::publish(publication how, std::error_code& ec) noexcept {
    if (of_->named) {
        const std::string real = of_->object_name(name_, ec);
        if (!ec) {
            calls().publish(&native_, real, how, ec);
        }
    }
}

COHOLD_INLINE void object_handle::abandon() noexcept {
    if (of_->named) {
        std::error_code ignored;
        const std::string real = of_->object_name(name_, ignored);
        calls().abandon(&native_, real);
        calls().clear(&native_);
    } else {
        *this = object_handle(*of_);
    }
}

COHOLD_INLINE bool object_handle::remove(const object_policies& of, std::string_view name,
                                         std::error_code& ec) noexcept {
    const std::string real = of.object_name(name, ec);
    return !ec && of.mechanism->remove(real, ec);
}

COHOLD_INLINE void object_handle::reclaim(const object_policies& of,
                                          std::string_view name) noexcept {
    if (of.mechanism->reclaim != nullptr) {
        std::error_code ec;
        const std::string real = of.object_name(name, ec);
        if (!ec) {
            of.mechanism->reclaim(real);
        }
    }
}

COHOLD_INLINE void object_handle::removed_is_absent(std::error_code& ec) noexcept {
    if (ec == errc::removed) {
        fail(ec, errc::not_found, "it has just been removed");
    }
}

COHOLD_INLINE object_status object_handle::status(std::error_code& ec) const noexcept {
    if (!*this) {
        fail(ec, errc::empty_handle);
        return {};
    }
    return calls().status(&native_, ec);
}

COHOLD_INLINE bool object_handle::is_removed() const noexcept {
    const report_keeper keeper;
    std::error_code ec;
    return status(ec).removed || ec == errc::removed;
}

COHOLD_INLINE bool object_handle::is_named_so() const noexcept {
    const report_keeper keeper;
    std::error_code ec;
    const object_status mine = status(ec);
    object_status theirs{};
    if (!ec) {
        open(*of_, name_, access_mode::reading, theirs, ec);
    }
    return !ec && mine.device == theirs.device && mine.inode == theirs.inode;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
