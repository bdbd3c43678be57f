// What every handle of a kernel object has in common: the check of its policies, the native handle,
// the name, the object's status; and waiting until a name exists.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_OBJECT_HANDLE_HPP
#define COHOLD_HANDLE_DETAIL_OBJECT_HANDLE_HPP

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/os/futex.hpp>
#include <cohold/os/time.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/permission.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Mechanism>
struct default_naming_of {
    using type = naming::unnamed; // Mechanism is not one: a static_assert says so
};

template <class Mechanism>
    requires requires { typename Mechanism::default_naming; }
struct default_naming_of<Mechanism> {
    using type = typename Mechanism::default_naming;
};

template <class Mechanism>
using default_naming = typename default_naming_of<Mechanism>::type;

template <class Mechanism, class Naming>
consteval bool fit() {
    if constexpr (mechanism_policy<Mechanism> && naming_policy<Naming>) {
        return names_fit<Naming, Mechanism>;
    } else {
        return true; // one message is enough
    }
}

// Wrong arguments give one readable error: after it, the handle is compiled with valid arguments.
template <class Mechanism, class Naming, class Permission>
struct policies {
    static constexpr bool fit_all = mechanism_policy<Mechanism> && naming_policy<Naming> &&
                                    permission_policy<Permission> && fit<Mechanism, Naming>();
    using mechanism = std::conditional_t<fit_all, Mechanism, cohold::mechanism::posix>;
    using naming = std::conditional_t<fit_all, Naming, cohold::naming::verbatim>;
    using permission = std::conditional_t<fit_all, Permission, cohold::permission::owner_only>;

    static constexpr bool named = naming::kind != name_kind::none;

    // At the end: clang considers a class complete where an assertion fails.
    static_assert(mechanism_policy<Mechanism>,
                  "cohold: the mechanism (first policy) must be one of cohold::mechanism::posix, "
                  "system_v, file, tmpfs, anonymous, memfd, or meet the concept mechanism_policy");
    static_assert(naming_policy<Naming>,
                  "cohold: the naming (second policy) must be one of cohold::naming::verbatim, "
                  "prefixed<\"...\">, per_user, hashed, from_path<'x'>, unnamed, or meet the "
                  "concept naming_policy");
    static_assert(permission_policy<Permission>,
                  "cohold: the permission (third policy) must be cohold::permission::mode<Bits>, "
                  "one of its aliases, or meet the concept permission_policy");
    static_assert(fit<Mechanism, Naming>(),
                  "cohold: this naming cannot name objects of this mechanism: anonymous memory and "
                  "memfds are naming::unnamed, POSIX objects and files need a name, "
                  "naming::from_path makes System V keys");
};

template <class Policies>
concept has_names = Policies::named;

template <class Policies>
concept has_no_names = !Policies::named;

template <class Mechanism>
concept has_attendance = requires { typename Mechanism::attendance; };

// Of mechanisms that are derived from the library's, and have functions of their own beside those
// that they inherit: do the inherited ones still tell the truth?
template <class Mechanism>
concept maps_descriptors = std::derived_from<Mechanism, descriptor_object> &&
                           requires { requires& Mechanism::map == &descriptor_object::map; };

template <class Mechanism>
concept has_own_status = std::derived_from<Mechanism, descriptor_object> &&
                         !requires { requires& Mechanism::status == &descriptor_object::status; };

template <class Policies>
class object_handle {
  public:
    using mechanism = typename Policies::mechanism;
    using naming = typename Policies::naming;
    using permission = typename Policies::permission;
    using native_type = typename mechanism::native_handle_type;

    object_handle() = default;

    object_handle(native_type native, std::string_view name) : native_(native), name_(name) {}

    object_handle(object_handle&& other) noexcept
        : native_(std::exchange(other.native_, native_type())), name_(std::move(other.name_)) {}

    object_handle& operator=(object_handle&& other) noexcept {
        object_handle taken(std::move(other));
        std::swap(native_, taken.native_);
        name_.swap(taken.name_);
        return *this;
    }

    ~object_handle() {
        if (native_) {
            mechanism::close(native_);
        }
    }

    // A new object that has no name yet; publish() gives it one.
    [[gnu::cold]] static object_handle create(std::string_view name, const creation& wanted,
                                              std::error_code& ec) noexcept {
        if constexpr (Policies::named) {
            const std::string real = object_name<mechanism, naming>(name, ec);
            return ec ? object_handle() : object_handle(mechanism::create(real, wanted, ec), name);
        } else {
            return object_handle(mechanism::create(wanted, ec), {});
        }
    }

    [[gnu::cold]] static object_handle open(std::string_view name, access_mode how,
                                            object_status& found, std::error_code& ec) noexcept {
        const std::string real = object_name<mechanism, naming>(name, ec);
        if (ec) {
            return {};
        }
        object_handle opened;
        if constexpr (!has_own_status<mechanism> &&
                      requires { mechanism::open(real, how, found, ec); }) {
            opened = object_handle(mechanism::open(real, how, found, ec), name);
        } else {
            opened = object_handle(mechanism::open(real, how, ec), name);
            if (!ec) {
                found = mechanism::status(opened.native_, ec);
            }
        }
        if (!ec) {
            check_permission<permission>(found, ec);
        }
        removed_is_absent(ec);
        return ec ? object_handle() : std::move(opened);
    }

    [[gnu::cold]] static object_handle open(std::string_view name, access_mode how,
                                            std::error_code& ec) noexcept {
        object_status found{};
        return open(name, how, found, ec);
    }

    [[gnu::cold]] static object_handle adopt(native_type native, std::error_code& ec) noexcept {
        if (!native) {
            fail(ec, errc::empty_handle);
            return {};
        }
        object_handle adopted(native, {});
        mechanism::adopt(adopted.native_, ec);
        return ec ? object_handle() : std::move(adopted);
    }

    [[gnu::cold]] void publish(publication how, std::error_code& ec) noexcept {
        if constexpr (Policies::named) {
            const std::string real = object_name<mechanism, naming>(name_, ec);
            if (!ec) {
                mechanism::publish(native_, real, how, ec);
            }
        }
    }

    // Destroys an object that was not published.
    [[gnu::cold]] void abandon() noexcept {
        if constexpr (Policies::named) {
            std::error_code ignored;
            const std::string real = object_name<mechanism, naming>(name_, ignored);
            mechanism::abandon(native_, real);
            native_ = {};
        } else {
            *this = object_handle();
        }
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const std::string real = object_name<mechanism, naming>(name, ec);
        return !ec && mechanism::remove(real, ec);
    }

    // Removes what a killed creator has left of an object that nobody can open.
    [[gnu::cold]] static void reclaim(std::string_view name) noexcept {
        if constexpr (requires { mechanism::reclaim(name); }) {
            std::error_code ec;
            const std::string real = object_name<mechanism, naming>(name, ec);
            if (!ec) {
                mechanism::reclaim(real);
            }
        }
    }

    // For opening by name: an object that is removed between two steps of that (System V's can be)
    // counts as absent.
    [[gnu::cold]] static void removed_is_absent(std::error_code& ec) noexcept {
        if (ec == errc::removed) {
            fail(ec, errc::not_found, "it has just been removed");
        }
    }

    explicit operator bool() const noexcept { return static_cast<bool>(native_); }

    [[nodiscard]] const native_type& native() const noexcept { return native_; }

    [[nodiscard]] native_type release() noexcept { return std::exchange(native_, native_type()); }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    [[nodiscard]] object_status status(std::error_code& ec) const noexcept {
        if (!native_) {
            fail(ec, errc::empty_handle);
            return {};
        }
        return mechanism::status(native_, ec);
    }

    // An object that the kernel no longer knows has been removed.
    [[nodiscard]] bool is_removed() const noexcept {
        const report_keeper keeper;
        std::error_code ec;
        return status(ec).removed || ec == errc::removed;
    }

    // Does the name lead to this same object?
    [[nodiscard]] bool is_named_so() const noexcept {
        std::error_code ec;
        const object_status mine = status(ec);
        const object_handle named = ec ? object_handle() : open(name_, access_mode::reading, ec);
        const object_status theirs = ec ? object_status{} : named.status(ec);
        return !ec && mine.device == theirs.device && mine.inode == theirs.inode;
    }

  private:
    native_type native_{};
    std::string name_; // as the user gave it
};

// Calls open(ec) until the name exists, or the deadline has passed: at once, then after a
// millisecond, two, four and so on, up to ten; each call costs some microseconds.
template <class Open>
[[gnu::cold]] auto open_by(deadline until, std::error_code& ec, const Open& open) noexcept {
    const std::atomic<std::uint32_t> nobody_wakes{0};
    for (std::int64_t pause = 1000000;; pause = pause < 5000000 ? 2 * pause : 10000000) {
        auto opened = open(ec);
        if ((ec != errc::not_found && ec != errc::no_such_directory) || until.has_passed()) {
            return opened;
        }
        futex_wait(nobody_wakes, 0, until.or_earlier(deadline::in(pause)));
    }
}

// Handle::open(name, rest…), which throws if no std::error_code is the last of the rest.
template <class Handle, duration_like Duration, class... Rest>
[[gnu::cold]] auto open_within(std::string_view name, const Duration& patience, Rest&&... rest) {
    if constexpr ((std::is_same_v<Rest, std::error_code&> || ...)) {
        std::error_code* ec = nullptr;
        const auto find = [&ec](auto& each) noexcept {
            if constexpr (std::is_same_v<decltype(each), std::error_code&>) {
                ec = &each;
            }
        };
        (find(rest), ...);
        return open_by(deadline_in(patience), *ec,
                       [&](std::error_code&) { return Handle::open(name, rest...); });
    } else {
        return thrown(
            [&](std::error_code& ec) { return open_within<Handle>(name, patience, rest..., ec); });
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
