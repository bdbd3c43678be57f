// The factories of all handles, written once: create, open, open_or_create, replace, remove and
// adopt, each in a form that throws and in one that takes std::error_code&; and the race between
// processes that open or create the same name.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_FACTORIES_HPP
#define COHOLD_HANDLE_DETAIL_FACTORIES_HPP

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/error.hpp>
#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Forms describes the factories of a handle:
//   named         has it names?
//   label         the object, in error messages
//   options       the type of the options of create
//   number        the type of the most important option, which can stand for all; or no_number
//   has_default   can create do without both?
//   has_contents  does create take arguments for an object to be constructed?
//   replaces      is there replace()?
//   opening       the type of the options of open and adopt, or no_opening
//   native_handle_type  the type that adopt takes
// static functions:
//   from(number) → options      opening_of(options) → opening, for open_or_create
//
// The handle itself befriends factory_access and has
//   attach(name, opening, ec), attach(native, opening, ec) → handle, empty on failure
//   erase(name, ec) → was there such a name?
//   draft  an object that is not published yet, and whose destructor leaves nothing behind:
//       draft(name, options, publication, ec), fill(ec, arguments…), publish(publication, ec),
//       and the handle's constructor from draft&&
// All of them are called with a clear error code; a draft's functions only while it stays clear.

struct no_number {
    no_number() = delete;
};

struct no_opening {};

// Makes create("name", {}) an error that says this.
struct neither_options_nor_a_size;
using empty_braces_are_neither_options_nor_a_size =
    std::initializer_list<neither_options_nor_a_size>;

// The arguments of the contents alone, with no options or error code before them.
template <class Options, class... Arguments>
inline constexpr bool plain_arguments = true;
template <class Options, class First, class... Rest>
inline constexpr bool plain_arguments<Options, First, Rest...> =
    !std::same_as<std::remove_cvref_t<First>, Options> &&
    !std::same_as<std::remove_cvref_t<First>, std::error_code>;

template <class Forms, class... Arguments>
concept may_fill = Forms::has_contents || sizeof...(Arguments) == 0;

template <class Forms, class... Arguments>
concept may_fill_plainly =
    may_fill<Forms, Arguments...> && plain_arguments<typename Forms::options, Arguments...>;

template <class Forms>
concept has_opening = !std::same_as<typename Forms::opening, no_opening>;

struct factory_access {
    template <class Handle, class Forms>
    [[gnu::cold]] static Handle open(std::string_view name, const typename Forms::opening& options,
                                     std::error_code& ec) noexcept {
        const error_context context("open", Forms::label, name);
        ec.clear();
        return Handle::attach(name, options, ec);
    }

    template <class Handle, class Forms>
    [[gnu::cold]] static Handle open(std::string_view name,
                                     const typename Forms::opening& options) {
        return thrown([&](std::error_code& ec) { return open<Handle, Forms>(name, options, ec); });
    }

    template <class Handle, class Forms>
    [[gnu::cold]] static Handle adopt(const typename Forms::native_handle_type& native,
                                      const typename Forms::opening& options,
                                      std::error_code& ec) noexcept {
        const error_context context("adopt", Forms::label, {});
        ec.clear();
        return Handle::attach(native, options, ec);
    }

    template <class Handle, class Forms>
    [[gnu::cold]] static Handle adopt(const typename Forms::native_handle_type& native,
                                      const typename Forms::opening& options) {
        return thrown(
            [&](std::error_code& ec) { return adopt<Handle, Forms>(native, options, ec); });
    }

    template <class Handle, class Forms, class... Arguments>
    [[gnu::cold]] static Handle create(std::string_view name,
                                       const typename Forms::options& options, publication how,
                                       std::error_code& ec, Arguments&&... arguments) {
        return reported<Forms>(ec, [&] {
            return make<Handle, Forms>(name, options, how, ec,
                                       std::forward<Arguments>(arguments)...);
        });
    }

    template <class Handle, class Forms, class... Arguments>
    [[gnu::cold]] static Handle create_or_throw(std::string_view name,
                                                const typename Forms::options& options,
                                                publication how, Arguments&&... arguments) {
        return thrown([&](std::error_code& ec) {
            return make<Handle, Forms>(name, options, how, ec,
                                       std::forward<Arguments>(arguments)...);
        });
    }

    template <class Handle, class Forms, class... Arguments>
    [[gnu::cold]] static Handle open_or_create(std::string_view name,
                                               const typename Forms::options& options,
                                               std::error_code& ec, Arguments&&... arguments) {
        return reported<Forms>(ec, [&] {
            return open_or_make<Handle, Forms>(name, options, ec,
                                               std::forward<Arguments>(arguments)...);
        });
    }

    template <class Handle, class Forms, class... Arguments>
    [[gnu::cold]] static Handle open_or_create_or_throw(std::string_view name,
                                                        const typename Forms::options& options,
                                                        Arguments&&... arguments) {
        return thrown([&](std::error_code& ec) {
            return open_or_make<Handle, Forms>(name, options, ec,
                                               std::forward<Arguments>(arguments)...);
        });
    }

    template <class Handle>
    static bool erase(std::string_view name, std::error_code& ec) noexcept {
        return Handle::erase(name, ec);
    }

  private:
    // Only a constructor of contents can throw.
    template <class Forms, class Operation>
    static auto reported(std::error_code& ec, const Operation& run) {
        if constexpr (Forms::has_contents) {
            return detail::reported(ec, run);
        } else {
            return run();
        }
    }

    template <class Handle, class Forms, class... Arguments>
    [[gnu::cold]] static Handle make(std::string_view name, const typename Forms::options& options,
                                     publication how, std::error_code& ec,
                                     Arguments&&... arguments) {
        const error_context context("create", Forms::label, name);
        ec.clear();
        typename Handle::draft made(name, options, how, ec);
        if (!ec) {
            made.fill(ec, std::forward<Arguments>(arguments)...);
        }
        if (!ec) {
            made.publish(how, ec);
        }
        return ec ? Handle() : Handle(std::move(made));
    }

    // The arguments can be used only once: there is one draft, which waits for the name while other
    // processes create and remove it.
    template <class Handle, class Forms, class... Arguments>
    [[gnu::cold]] static Handle open_or_make(std::string_view name,
                                             const typename Forms::options& options,
                                             std::error_code& ec, Arguments&&... arguments) {
        const typename Forms::opening how = Forms::opening_of(options);
        for (;;) {
            Handle opened = open<Handle, Forms>(name, how, ec);
            if (ec != errc::not_found) {
                return opened;
            }
            const error_context context("create", Forms::label, name);
            ec.clear();
            typename Handle::draft made(name, options, publication::exclusive, ec);
            if (ec == errc::already_exists) {
                continue;
            }
            if (!ec) {
                made.fill(ec, std::forward<Arguments>(arguments)...);
            }
            while (!ec) {
                made.publish(publication::exclusive, ec);
                if (!ec) {
                    return Handle(std::move(made));
                }
                if (ec == errc::already_exists) {
                    opened = open<Handle, Forms>(name, how, ec);
                    if (ec != errc::not_found) {
                        return opened;
                    }
                    ec.clear();
                }
            }
            return {};
        }
    }
};

// ---- adopt

template <class Handle, class Forms>
class adopting {
    using access = factory_access;
    using native_type = typename Forms::native_handle_type;
    using opening_type = typename Forms::opening;

  public:
    /// From a native handle that was obtained in another way, over a socket for instance. Checked
    /// like open, except for the owner and the mode: the process that passes a handle vouches for
    /// it. For reading, the native handle may be read-only. On failure it is closed. *Errors*:
    /// those of open; errc::empty_handle.
    [[nodiscard, gnu::cold]] static Handle adopt(native_type native) {
        return access::adopt<Handle, Forms>(native, opening_type());
    }

    [[nodiscard, gnu::cold]] static Handle adopt(native_type native, std::error_code& ec) noexcept {
        return access::adopt<Handle, Forms>(native, opening_type(), ec);
    }

    /// The same, mapped according to the options.
    [[nodiscard, gnu::cold]] static Handle adopt(native_type native, const opening_type& options)
        requires has_opening<Forms>
    {
        return access::adopt<Handle, Forms>(native, options);
    }

    [[nodiscard, gnu::cold]] static Handle adopt(native_type native, const opening_type& options,
                                                 std::error_code& ec) noexcept
        requires has_opening<Forms>
    {
        return access::adopt<Handle, Forms>(native, options, ec);
    }
};

// ---- open for reading

template <class View, class Forms>
class viewing {
    using access = factory_access;
    using opening_type = typename Forms::opening;

  public:
    /// For reading only: another type, through which nothing can be written. Needs no permission to
    /// write. *Errors*: as for opening it for reading and writing.
    [[nodiscard, gnu::cold]] static View open(name_argument name, read_only_t) {
        return access::open<View, Forms>(name, opening_type());
    }

    [[nodiscard, gnu::cold]] static View open(name_argument name, read_only_t,
                                              std::error_code& ec) noexcept {
        return access::open<View, Forms>(name, opening_type(), ec);
    }

    [[nodiscard, gnu::cold]] static View open(name_argument name, read_only_t,
                                              const opening_type& options)
        requires has_opening<Forms>
    {
        return access::open<View, Forms>(name, options);
    }

    [[nodiscard, gnu::cold]] static View
    open(name_argument name, read_only_t, const opening_type& options, std::error_code& ec) noexcept
        requires has_opening<Forms>
    {
        return access::open<View, Forms>(name, options, ec);
    }
};

// ---- create

// `Name`: name_argument; none for handles without names, which other processes get by fork or by
// their native handle.
template <class Handle, class Forms, class... Name>
class creating {
    using access = factory_access;
    using options_type = typename Forms::options;
    using number_type = typename Forms::number;

    static std::string_view text_of() noexcept { return {}; }

    static std::string_view text_of(std::string_view name) noexcept { return name; }

  public:
    /// A new object, complete when it appears under its name. Options may be replaced by the most
    /// important one of them, a number: the size in bytes, or the permits of a semaphore. Arguments
    /// of shared<T> come last, for the constructor of T. *Errors*: errc::already_exists,
    /// invalid_name, invalid_size, invalid_options, out_of_space, permission_denied,
    /// no_such_directory, not_on_tmpfs, unsupported; of segments also reserve_too_large and
    /// locks_unsupported; those of T's constructor: the form with an error code has the code of a
    /// cohold::failure that it throws, and errc::out_of_space for std::bad_alloc. Its other
    /// exceptions pass through. Nothing is left behind.
    template <class... Arguments>
        requires may_fill<Forms, Arguments...>
    [[nodiscard, gnu::cold]] static Handle
    create(Name... name, const options_type& wanted, std::error_code& ec,
           Arguments&&... arguments) noexcept(!Forms::has_contents) {
        return access::create<Handle, Forms>(text_of(name...), wanted, publication::exclusive, ec,
                                             std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill_plainly<Forms, Arguments...>
    [[nodiscard, gnu::cold]] static Handle create(Name... name, const options_type& wanted,
                                                  Arguments&&... arguments) {
        return access::create_or_throw<Handle, Forms>(text_of(name...), wanted,
                                                      publication::exclusive,
                                                      std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill<Forms, Arguments...> && Forms::has_default
    [[nodiscard, gnu::cold]] static Handle
    create(Name... name, std::error_code& ec,
           Arguments&&... arguments) noexcept(!Forms::has_contents) {
        return access::create<Handle, Forms>(text_of(name...), options_type(),
                                             publication::exclusive, ec,
                                             std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill_plainly<Forms, Arguments...> && Forms::has_default
    [[nodiscard, gnu::cold]] static Handle create(Name... name, Arguments&&... arguments) {
        return access::create_or_throw<Handle, Forms>(text_of(name...), options_type(),
                                                      publication::exclusive,
                                                      std::forward<Arguments>(arguments)...);
    }

    [[nodiscard, gnu::cold]] static Handle create(Name... name, number_type much,
                                                  std::error_code& ec) noexcept {
        return access::create<Handle, Forms>(text_of(name...), Forms::from(much),
                                             publication::exclusive, ec);
    }

    [[nodiscard, gnu::cold]] static Handle create(Name... name, number_type much) {
        return access::create_or_throw<Handle, Forms>(text_of(name...), Forms::from(much),
                                                      publication::exclusive);
    }

    static Handle create(Name..., empty_braces_are_neither_options_nor_a_size) = delete;
    static Handle create(Name..., empty_braces_are_neither_options_nor_a_size,
                         std::error_code&) = delete;
};

// ---- everything else, of handles with names

template <class Handle, class Forms>
class creating_named : public creating<Handle, Forms, name_argument> {
    using access = factory_access;
    using opening_type = typename Forms::opening;
    using options_type = typename Forms::options;
    using number_type = typename Forms::number;

  public:
    /// An existing object, complete and checked. *Errors*: errc::not_found; symlink_refused,
    /// directory_refused, special_file_refused, unexpected_owner, wider_permission,
    /// permission_denied; of segments also truncated, not_a_segment, byte_order_mismatch,
    /// layout_mismatch, corrupt, name_mismatch; reserve_too_large; too_many_participants,
    /// locks_unsupported; of a shared<T>, type_mismatch, and not_found if the segment has no root
    /// object.
    [[nodiscard, gnu::cold]] static Handle open(name_argument name) {
        return access::open<Handle, Forms>(name, opening_type());
    }

    [[nodiscard, gnu::cold]] static Handle open(name_argument name, std::error_code& ec) noexcept {
        return access::open<Handle, Forms>(name, opening_type(), ec);
    }

    /// The same, mapped according to the options. *Errors*: also errc::lock_limit, unsupported,
    /// invalid_options.
    [[nodiscard, gnu::cold]] static Handle open(name_argument name, const opening_type& how)
        requires has_opening<Forms>
    {
        return access::open<Handle, Forms>(name, how);
    }

    [[nodiscard, gnu::cold]] static Handle open(name_argument name, const opening_type& how,
                                                std::error_code& ec) noexcept
        requires has_opening<Forms>
    {
        return access::open<Handle, Forms>(name, how, ec);
    }

    /// The same, but waits until the name exists, no longer than `patience`, a
    /// std::chrono::duration; then errc::not_found or no_such_directory. The further arguments are
    /// those of the other forms: `open("prices", 5s, read_only, ec)`.
    template <duration_like Duration, class... Rest>
    [[nodiscard, gnu::cold]] static auto open(name_argument name, const Duration& patience,
                                              Rest&&... rest) {
        return open_within<Handle>(name, patience, std::forward<Rest>(rest)...);
    }

    /// The existing object, whatever its size, or a new one. Any number of processes may race:
    /// there will be one object, and all get it. *Errors*: those of open and of create.
    template <class... Arguments>
        requires may_fill<Forms, Arguments...>
    [[nodiscard, gnu::cold]] static Handle
    open_or_create(name_argument name, const options_type& wanted, std::error_code& ec,
                   Arguments&&... arguments) noexcept(!Forms::has_contents) {
        return access::open_or_create<Handle, Forms>(name, wanted, ec,
                                                     std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill_plainly<Forms, Arguments...>
    [[nodiscard, gnu::cold]] static Handle
    open_or_create(name_argument name, const options_type& wanted, Arguments&&... arguments) {
        return access::open_or_create_or_throw<Handle, Forms>(
            name, wanted, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill<Forms, Arguments...> && Forms::has_default
    [[nodiscard, gnu::cold]] static Handle
    open_or_create(name_argument name, std::error_code& ec,
                   Arguments&&... arguments) noexcept(!Forms::has_contents) {
        return access::open_or_create<Handle, Forms>(name, options_type(), ec,
                                                     std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill_plainly<Forms, Arguments...> && Forms::has_default
    [[nodiscard, gnu::cold]] static Handle open_or_create(name_argument name,
                                                          Arguments&&... arguments) {
        return access::open_or_create_or_throw<Handle, Forms>(
            name, options_type(), std::forward<Arguments>(arguments)...);
    }

    [[nodiscard, gnu::cold]] static Handle open_or_create(name_argument name, number_type much,
                                                          std::error_code& ec) noexcept {
        return access::open_or_create<Handle, Forms>(name, Forms::from(much), ec);
    }

    [[nodiscard, gnu::cold]] static Handle open_or_create(name_argument name, number_type much) {
        return access::open_or_create_or_throw<Handle, Forms>(name, Forms::from(much));
    }

    static Handle open_or_create(name_argument,
                                 empty_braces_are_neither_options_nor_a_size) = delete;
    static Handle open_or_create(name_argument, empty_braces_are_neither_options_nor_a_size,
                                 std::error_code&) = delete;

    /// A new segment under the name, in one step, whether or not there was one before: a process
    /// that opens the name gets the old one or the new one. Processes that have the old one keep
    /// it; its is_removed() is true then. Not for System V, nor for memory_object, which appears
    /// before anything is written to it. *Errors*: those of create, except already_exists.
    template <class... Arguments>
        requires may_fill<Forms, Arguments...> && Forms::replaces
    [[nodiscard, gnu::cold]] static Handle
    replace(name_argument name, const options_type& wanted, std::error_code& ec,
            Arguments&&... arguments) noexcept(!Forms::has_contents) {
        return access::create<Handle, Forms>(name, wanted, publication::replace, ec,
                                             std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill_plainly<Forms, Arguments...> && Forms::replaces
    [[nodiscard, gnu::cold]] static Handle replace(name_argument name, const options_type& wanted,
                                                   Arguments&&... arguments) {
        return access::create_or_throw<Handle, Forms>(name, wanted, publication::replace,
                                                      std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill<Forms, Arguments...> && Forms::replaces
    [[nodiscard, gnu::cold]] static Handle
    replace(name_argument name, std::error_code& ec,
            Arguments&&... arguments) noexcept(!Forms::has_contents) {
        return access::create<Handle, Forms>(name, options_type(), publication::replace, ec,
                                             std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires may_fill_plainly<Forms, Arguments...> && Forms::replaces
    [[nodiscard, gnu::cold]] static Handle replace(name_argument name, Arguments&&... arguments) {
        return access::create_or_throw<Handle, Forms>(name, options_type(), publication::replace,
                                                      std::forward<Arguments>(arguments)...);
    }

    [[nodiscard, gnu::cold]] static Handle replace(name_argument name, number_type much,
                                                   std::error_code& ec) noexcept
        requires(Forms::replaces)
    {
        return access::create<Handle, Forms>(name, Forms::from(much), publication::replace, ec);
    }

    [[nodiscard, gnu::cold]] static Handle replace(name_argument name, number_type much)
        requires(Forms::replaces)
    {
        return access::create_or_throw<Handle, Forms>(name, Forms::from(much),
                                                      publication::replace);
    }

    static Handle replace(name_argument, empty_braces_are_neither_options_nor_a_size) = delete;
    static Handle replace(name_argument, empty_braces_are_neither_options_nor_a_size,
                          std::error_code&) = delete;

    /// Removes the name; processes that have the object keep it, except for a set of System V's
    /// semaphores, whose waiters are woken with errc::removed. Returns false if there was no such
    /// name. *Errors*: errc::permission_denied, invalid_name, name_mismatch.
    [[gnu::cold]] static bool remove(name_argument name) {
        std::error_code ec;
        const bool removed = remove(name, ec);
        raise_if(ec);
        return removed;
    }

    [[gnu::cold]] static bool remove(name_argument name, std::error_code& ec) noexcept {
        const error_context context("remove", Forms::label, name);
        ec.clear();
        return access::erase<Handle>(name, ec);
    }
};

// ---- the factories of a handle

template <class Handle, class Forms, class View>
class named_factories : public creating_named<Handle, Forms>,
                        public viewing<View, Forms>,
                        public adopting<Handle, Forms> {
  public:
    using creating_named<Handle, Forms>::open;
    using viewing<View, Forms>::open;

    /// The same as open(name …) without read_write.
    [[nodiscard, gnu::cold]] static Handle open(name_argument name, read_write_t) {
        return open(name);
    }

    [[nodiscard, gnu::cold]] static Handle open(name_argument name, read_write_t,
                                                std::error_code& ec) noexcept {
        return open(name, ec);
    }

    [[nodiscard, gnu::cold]] static Handle open(name_argument name, read_write_t,
                                                const typename Forms::opening& options)
        requires has_opening<Forms>
    {
        return open(name, options);
    }

    [[nodiscard, gnu::cold]] static Handle open(name_argument name, read_write_t,
                                                const typename Forms::opening& options,
                                                std::error_code& ec) noexcept
        requires has_opening<Forms>
    {
        return open(name, options, ec);
    }
};

template <class Handle, class Forms>
class unnamed_factories : public creating<Handle, Forms>, public adopting<Handle, Forms> {};

template <class View, class Forms>
class named_view_factories : public viewing<View, Forms>, public adopting<View, Forms> {
  public:
    using viewing<View, Forms>::open;

    static View open(name_argument) = delete;                   // say how: open(name, read_only)
    static View open(name_argument, std::error_code&) = delete; // open(name, read_only, ec)

    /// The same, but waits until the name exists, no longer than `patience`, a
    /// std::chrono::duration; then errc::not_found or no_such_directory. *Errors*: those above.
    template <duration_like Duration, class... Rest>
    [[nodiscard, gnu::cold]] static auto open(name_argument name, const Duration& patience,
                                              Rest&&... rest) {
        return open_within<View>(name, patience, std::forward<Rest>(rest)...);
    }
};

// For a handle that opens, and whose View opens for reading only.
template <class Handle, class Forms, class View>
using factories = std::conditional_t<Forms::named, named_factories<Handle, Forms, View>,
                                     unnamed_factories<Handle, Forms>>;

// For that View.
template <class View, class Forms>
using view_factories =
    std::conditional_t<Forms::named, named_view_factories<View, Forms>, adopting<View, Forms>>;

} // namespace detail

COHOLD_NAMESPACE_END

#endif
