// The common parts of all handles of kernel objects: the check of their policies, and these as
// data; object_handle, which owns the native handle; and waiting until a name exists.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_OBJECT_HANDLE_HPP
#define COHOLD_HANDLE_DETAIL_OBJECT_HANDLE_HPP

#include <concepts>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/engine/mechanism_calls.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/time.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/memfd.hpp>
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

// Of mechanisms that are derived from the library's, and have functions of their own beside those
// that they inherit: do the inherited ones still tell the truth?
template <class Mechanism>
concept maps_descriptors = std::derived_from<Mechanism, descriptor_object> &&
                           requires { requires& Mechanism::map == &descriptor_object::map; };

template <class Mechanism>
concept has_own_status = std::derived_from<Mechanism, descriptor_object> &&
                         !requires { requires& Mechanism::status == &descriptor_object::status; };

// The functions of a mechanism for native handles anywhere in memory.
template <class M>
struct mechanism_thunks {
    using native_type = typename M::native_handle_type;
    static_assert(sizeof(native_type) <= sizeof(native_room) && alignof(native_type) <= 16 &&
                      std::is_trivially_copyable_v<native_type>,
                  "cohold: a mechanism's native handle is a small trivially copyable type");

    static constexpr bool named = M::names != name_form::none;
    static constexpr bool attends = requires { typename M::attendance; };
    using liveness = liveness_of<M>;

    static const native_type& at(const void* native) noexcept {
        return *static_cast<const native_type*>(native);
    }

    static native_type& at(void* native) noexcept { return *static_cast<native_type*>(native); }

    static void clear(void* native) noexcept { ::new (native) native_type(); }

    static bool refers(const void* native) noexcept { return static_cast<bool>(at(native)); }

    static object_status status(const void* native, std::error_code& ec) noexcept {
        return M::status(at(native), ec);
    }

    static void back(const void* native, void* mapping, std::uint64_t from, std::uint64_t to,
                     std::error_code& ec) noexcept {
        M::back(at(native), mapping, from, to, ec);
    }

    static void* map(const void* native, std::uint64_t bytes, access_mode how, void* place,
                     std::error_code& ec) noexcept {
        return M::map(at(native), bytes, how, place, ec);
    }

    static void adopt(void* native, std::error_code& ec) noexcept { M::adopt(at(native), ec); }

    static void close(void* native) noexcept { M::close(at(native)); }

    static void create(void* native, std::string_view name, const creation& wanted,
                       std::error_code& ec) noexcept {
        at(native) = M::create(name, wanted, ec);
    }

    static void publish(void* native, std::string_view name, publication how,
                        std::error_code& ec) noexcept {
        M::publish(at(native), name, how, ec);
    }

    static void abandon(void* native, std::string_view name) noexcept {
        M::abandon(at(native), name);
    }

    static void open(void* native, std::string_view name, access_mode how, object_status& found,
                     std::error_code& ec) noexcept {
        if constexpr (!has_own_status<M> && requires { M::open(name, how, found, ec); }) {
            at(native) = M::open(name, how, found, ec);
        } else {
            at(native) = M::open(name, how, ec);
            if (!ec) {
                found = M::status(at(native), ec);
            }
        }
    }

    static void create_unnamed(void* native, const creation& wanted, std::error_code& ec) noexcept {
        at(native) = M::create(wanted, ec);
    }

    static void seal(const void* native, enum seal seals, std::error_code& ec) noexcept {
        M::seal(at(native), seals, ec);
    }

    static void settle(const void* native, std::string_view name, std::error_code& ec) noexcept {
        M::settle(at(native), name, ec);
    }

    static void fill(const void* native, access_mode how, void* mapping, std::uint64_t bytes,
                     std::error_code& ec) noexcept {
        M::fill(at(native), how, mapping, bytes, ec);
    }

    static void release(const void* native, void* mapping, std::uint64_t from, std::uint64_t to,
                        std::error_code& ec) noexcept {
        M::release(at(native), mapping, from, to, ec);
    }

    static void* claim(const void* native, std::uint32_t slot, const liveness_token& present,
                       bool (*publish)(void* context, const liveness_token& token) noexcept,
                       void* context, std::error_code& ec) noexcept {
        const claim_gate<M> gate(at(native), ec); // one at a time, where necessary
        liveness_token token = present;
        void* const page = ec ? nullptr : liveness::claim(at(native), slot, token, ec);
        if (page != nullptr && !publish(context, token)) {
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    static verdict probe(const void* native, std::uint32_t slot,
                         const liveness_token& token) noexcept {
        return liveness::probe(at(native), slot, token);
    }

    static verdict probe_by(int descriptor, const void* native, std::uint64_t device,
                            std::uint64_t inode, std::uint32_t slot,
                            const liveness_token& token) noexcept {
        bool same = false;
        if constexpr (std::is_same_v<liveness, anonymous_liveness>) {
            same = anonymous_liveness::identity(descriptor) == at(native).liveness_identity;
        } else {
            std::error_code ec;
            const object_status found = M::status({descriptor}, ec);
            same = !ec && found.device == device && found.inode == inode;
        }
        return same ? file_liveness::probe({descriptor}, slot, token) : verdict::unknown;
    }

    static void within_gate(const void* native, lock_kind kind,
                            void (*act)(void* context, bool held) noexcept,
                            void* context) noexcept {
        const typename M::attendance::gate gate(at(native), kind);
        act(context, static_cast<bool>(gate));
    }

    static bool anybody(const void* native) noexcept { return M::attendance::anybody(at(native)); }

    static void enter(const void* native, void* page, std::error_code& ec) noexcept {
        M::attendance::enter(at(native), page, ec);
    }

    static constexpr mechanism_calls all() noexcept {
        mechanism_calls calls{};
        calls.label = M::label;
        calls.grows = M::grows;
        calls.huge_pages = has_hugetlb<M>;
        calls.has_descriptor = std::is_same_v<native_type, file_descriptor>;
        calls.size = sizeof(native_type);
        calls.reads_as_maps = maps_descriptors<M>;
        calls.clear = &clear;
        calls.refers = &refers;
        calls.status = &status;
        calls.back = &back;
        calls.map = &map;
        calls.adopt = &adopt;
        calls.close = &close;
        if constexpr (named) {
            calls.create = &create;
            calls.publish = &publish;
            calls.abandon = &abandon;
            calls.open = &open;
            calls.remove = M::remove;
            if constexpr (requires(std::string_view name) { M::reclaim(name); }) {
                calls.reclaim = M::reclaim;
            }
        }
        if constexpr (unnamed_mechanism<M>) {
            calls.create_unnamed = &create_unnamed;
        }
        using object = const native_type&;
        using error = std::error_code&;
        if constexpr (requires(object native, error ec) { M::seal(native, seal::none, ec); }) {
            calls.seal = &seal;
        }
        if constexpr (requires(object native, error ec) { M::settle(native, "", ec); }) {
            calls.settle = &settle;
        }
        if constexpr (requires(object native, error ec) {
                          M::fill(native, access_mode::reading, nullptr, 0, ec);
                      }) {
            calls.fill = &fill;
        }
        if constexpr (requires(object native, error ec) {
                          M::release(native, nullptr, 0, 0, ec);
                      }) {
            calls.release = &release;
        }
        calls.claim = &claim;
        calls.probe = &probe;
        calls.locks_itself = std::is_same_v<liveness, file_liveness>;
        if constexpr (std::is_same_v<liveness, file_liveness> ||
                      std::is_same_v<liveness, anonymous_liveness>) {
            calls.probe_by = &probe_by;
        }
        if constexpr (attends) {
            calls.within_gate = &within_gate;
            calls.anybody = &anybody;
            calls.enter = &enter;
        }
        return calls;
    }
};

template <class Mechanism>
inline const mechanism_calls calls_of = mechanism_thunks<Mechanism>::all();

// The decisions of a handle's policies, as data.
struct object_policies {
    const mechanism_calls* mechanism;
    bool named;
    bool checks_names; // two names can lead to one object
    ::mode_t mode;
    bool (*accepts)(const object_status& found) noexcept;
    std::string (*object_name)(std::string_view name, std::error_code& ec); // null without names
    std::string (*full_name)(std::string_view name);
};

// Wrong arguments give one readable error: after it, the handle is compiled with valid arguments.
template <class Mechanism, class Naming, class Permission>
struct policies {
    static constexpr bool fit_all = mechanism_policy<Mechanism> && naming_policy<Naming> &&
                                    permission_policy<Permission> && fit<Mechanism, Naming>();
    using mechanism = std::conditional_t<fit_all, Mechanism, cohold::mechanism::posix>;
    using naming = std::conditional_t<fit_all, Naming, cohold::naming::verbatim>;
    using permission = std::conditional_t<fit_all, Permission, cohold::permission::owner_only>;
    using self = policies;

    static constexpr bool named = naming::kind != name_kind::none;

    [[nodiscard, gnu::cold]] static const object_policies& data() noexcept {
        static constexpr object_policies all = [] {
            object_policies made{};
            made.mechanism = &calls_of<mechanism>;
            made.named = named;
            made.checks_names = named && (mechanism::keys_collide || naming::collides);
            made.mode = permission::bits;
            made.accepts = [](const object_status& found) noexcept -> bool {
                return permission::accepts(found);
            };
            if constexpr (named) {
                made.object_name = &detail::object_name<mechanism, naming>;
                made.full_name = &detail::full_name<mechanism, naming>;
            }
            return made;
        }();
        return all;
    }

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

// The same type, complete where it is named: clang adds errors of its own if an assertion fails
// while it completes a base class.
template <class Mechanism, class Naming, class Permission>
using policies_of = typename policies<Mechanism, Naming, Permission>::self;

// Owns a native handle, of which it knows the policies, and the name that the user gave.
class object_handle {
  public:
    explicit object_handle(const object_policies& of) noexcept : of_(&of) {
        calls().clear(&native_);
    }

    // Takes over a native handle, from wherever it is.
    object_handle(const object_policies& of, const void* native) noexcept : of_(&of) {
        std::memcpy(&native_, native, of.mechanism->size);
    }

    object_handle(object_handle&& other) noexcept
        : of_(other.of_), native_(other.native_), name_(std::move(other.name_)) {
        calls().clear(&other.native_);
    }

    object_handle& operator=(object_handle&& other) noexcept {
        object_handle taken(std::move(other));
        std::swap(of_, taken.of_);
        std::swap(native_, taken.native_);
        name_.swap(taken.name_);
        return *this;
    }

    ~object_handle() {
        if (*this) {
            calls().close(&native_);
        }
    }

    // A new object that has no name yet; publish() gives it one.
    [[gnu::cold]] static object_handle create(const object_policies& of, std::string_view name,
                                              creation wanted, std::error_code& ec) noexcept;

    // `found` becomes the object's status.
    [[gnu::cold]] static object_handle open(const object_policies& of, std::string_view name,
                                            access_mode how, object_status& found,
                                            std::error_code& ec) noexcept;

    [[gnu::cold]] static object_handle adopt(const object_policies& of, const void* native,
                                             std::error_code& ec) noexcept;

    [[gnu::cold]] void publish(publication how, std::error_code& ec) noexcept;

    // Destroys an object that was not published.
    [[gnu::cold]] void abandon() noexcept;

    [[gnu::cold]] static bool remove(const object_policies& of, std::string_view name,
                                     std::error_code& ec) noexcept;

    // Removes what a killed creator has left of an object that nobody can open.
    [[gnu::cold]] static void reclaim(const object_policies& of, std::string_view name) noexcept;

    // For opening by name: an object that is removed between two steps of that (System V's can be)
    // counts as absent.
    [[gnu::cold]] static void removed_is_absent(std::error_code& ec) noexcept;

    explicit operator bool() const noexcept { return calls().refers(&native_); }

    [[nodiscard]] const object_policies& policies() const noexcept { return *of_; }

    [[nodiscard]] const mechanism_calls& calls() const noexcept { return *of_->mechanism; }

    [[nodiscard]] native_object object() const noexcept { return {of_->mechanism, &native_}; }

    // The native handle, of the type that the mechanism has.
    template <class Native>
    [[nodiscard]] const Native& native() const noexcept {
        return *reinterpret_cast<const Native*>(&native_);
    }

    // Gives up the native handle: it is not closed.
    void release() noexcept { calls().clear(&native_); }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    [[nodiscard, gnu::cold]] object_status status(std::error_code& ec) const noexcept;

    // An object that the kernel no longer knows has been removed.
    [[nodiscard, gnu::cold]] bool is_removed() const noexcept;

    // Does the name lead to this same object?
    [[nodiscard, gnu::cold]] bool is_named_so() const noexcept;

  private:
    const object_policies* of_;
    native_room native_;
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

#if defined(COHOLD_SEPARATE_COMPILATION)
// The functions of the default policies are in the compiled library.
#if COHOLD_DEFINED_HERE
template struct policies<cohold::mechanism::posix, default_naming<cohold::mechanism::posix>,
                         cohold::permission::owner_only>;
#else
extern template struct policies<cohold::mechanism::posix, default_naming<cohold::mechanism::posix>,
                                cohold::permission::owner_only>;
#endif
#endif

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/detail/object_handle.ipp>
#endif

#endif
