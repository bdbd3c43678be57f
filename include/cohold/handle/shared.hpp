// shared<T>: a segment whose only root object is a T, and which behaves like a pointer to it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SHARED_HPP
#define COHOLD_HANDLE_SHARED_HPP

#include <cohold/handle/segment.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class First>
concept options_or_error = std::same_as<std::remove_cvref_t<First>, segment_options> ||
                           std::same_as<std::remove_cvref_t<First>, std::error_code>;

// The arguments of T alone, with no options or error code before them.
template <class... Arguments>
inline constexpr bool plain_arguments = true;
template <class First, class... Rest>
inline constexpr bool plain_arguments<First, Rest...> = !options_or_error<First>;

template <class T, class Policies>
class shared_base : public segment_observers<Policies> {
  public:
    using element_type = T;

    [[nodiscard]] T* get() const noexcept COHOLD_LIFETIMEBOUND { return root_; }

    [[nodiscard]] T& operator*() const noexcept COHOLD_LIFETIMEBOUND { return *root_; }

    [[nodiscard]] T* operator->() const noexcept COHOLD_LIFETIMEBOUND { return root_; }

  protected:
    using base = segment_base<Policies>;

    shared_base() = default;

    shared_base(base&& opened, T* root) noexcept
        : segment_observers<Policies>(std::move(opened)), root_(root) {}

    shared_base(shared_base&& other) noexcept
        : segment_observers<Policies>(std::move(other)),
          root_(std::exchange(other.root_, nullptr)) {}

    shared_base& operator=(shared_base&& other) noexcept {
        segment_observers<Policies>::operator=(std::move(other));
        root_ = std::exchange(other.root_, nullptr);
        return *this;
    }

    ~shared_base() = default;

    static T* root_of(const base& opened, std::error_code& ec) noexcept {
        const directory& objects = opened.memory().directory_here();
        const auto found = objects.find(root_name);
        if (found.entry == nullptr) {
            fail(ec, errc::not_found,
                 "the segment has no root object: it was not created by shared<T>");
            return nullptr;
        }
        return static_cast<T*>(
            const_cast<void*>(checked_address(objects, found, type_descriptor_of<T>, ec)));
    }

    T* root_ = nullptr;
};

} // namespace detail

/// A T that processes share: `auto config = shared<settings>::open_or_create("settings");
/// config->volume = 7;` Its segment grows as T needs it. T's constructor arguments come last in the
/// factories. Other processes see the T only when it is constructed.
///
/// `shared<const T>` is opened for reading: mapped so that nothing can be written.
///
/// *Thread and process safety*: all factories are safe; for the T, its own rules apply. *If the
/// process is killed* in a factory, there is the whole T or nothing.
template <class T, class Mechanism = mechanism::posix,
          class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class shared : public detail::shared_base<T, detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using parent = detail::shared_base<T, policies>;
    static constexpr std::string_view label = policies::mechanism::label;

  public:
    using typename parent::native_handle_type;
    using read_only_type = shared<const T, Mechanism, Naming, Permission>;

    shared() = default;

    /// A new segment with a T. *Errors*: those of segment::create; exceptions from T's constructor
    /// pass through, and nothing is left behind.
    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(name_argument name, Arguments&&... arguments) {
        return create(name, segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(name_argument name, const segment_options& options,
                                       Arguments&&... arguments) {
        std::error_code ec;
        shared made = create(name, options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return made;
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared create(name_argument name, std::error_code& ec,
                                       Arguments&&... arguments) {
        return create(name, segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared create(name_argument name, const segment_options& options,
                                       std::error_code& ec, Arguments&&... arguments) {
        return make(name, options, publication::exclusive, ec,
                    std::forward<Arguments>(arguments)...);
    }

    static shared create(name_argument, std::initializer_list<decltype(nullptr)>)
        requires detail::has_names<policies>
    = delete;

    template <class... Arguments>
        requires detail::has_no_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(Arguments&&... arguments) {
        return create(segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_no_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(const segment_options& options, Arguments&&... arguments) {
        std::error_code ec;
        shared made = create(options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return made;
    }

    template <class... Arguments>
        requires detail::has_no_names<policies>
    [[nodiscard]] static shared create(std::error_code& ec, Arguments&&... arguments) {
        return create(segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_no_names<policies>
    [[nodiscard]] static shared create(const segment_options& options, std::error_code& ec,
                                       Arguments&&... arguments) {
        return make({}, options, publication::exclusive, ec, std::forward<Arguments>(arguments)...);
    }

    /// The existing T. *Errors*: those of segment::open; errc::type_mismatch; not_found if the
    /// segment has no root object.
    [[nodiscard]] static shared open(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static shared open(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    /// The same, mapped according to the options.
    [[nodiscard]] static shared open(name_argument name, const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard]] static shared open(name_argument name, const mapping_options& options,
                                     std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("open", label, name);
        ec.clear();
        return checked(base::open(name, access_mode::writing, options, ec), ec);
    }

    [[nodiscard]] static shared open(name_argument name, read_write_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard]] static shared open(name_argument name, read_write_t, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    [[nodiscard]] static read_only_type open(name_argument name, read_only_t)
        requires detail::has_names<policies>
    {
        return read_only_type::open(name);
    }

    [[nodiscard]] static read_only_type open(name_argument name, read_only_t,
                                             std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, ec);
    }

    [[nodiscard]] static read_only_type open(name_argument name, read_only_t,
                                             const mapping_options& options)
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, options);
    }

    [[nodiscard]] static read_only_type open(name_argument name, read_only_t,
                                             const mapping_options& options,
                                             std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, options, ec);
    }

    /// Waits until the name exists, like segment::open.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard]] static auto open(name_argument name, const Duration& patience, Rest&&... rest) {
        return detail::open_within<shared>(name, patience, std::forward<Rest>(rest)...);
    }

    /// The existing T, or a new one made from the arguments. Any number of processes may race:
    /// there will be one T.
    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared open_or_create(name_argument name, Arguments&&... arguments) {
        return open_or_create(name, segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared open_or_create(name_argument name, const segment_options& options,
                                               Arguments&&... arguments) {
        std::error_code ec;
        shared opened = open_or_create(name, options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return opened;
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared open_or_create(name_argument name, std::error_code& ec,
                                               Arguments&&... arguments) {
        return open_or_create(name, segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared open_or_create(name_argument name, const segment_options& options,
                                               std::error_code& ec, Arguments&&... arguments) {
        for (;;) {
            const detail::error_context context("open", label, name);
            ec.clear();
            base opened = base::open(name, access_mode::writing, base::options_of(options), ec);
            if (!ec) {
                return checked(std::move(opened), ec);
            }
            if (ec != errc::not_found) {
                return {};
            }
            ec.clear();
            base made = base::prepare(name, options, publication::exclusive, ec);
            if (ec == errc::already_exists) {
                continue;
            }
            T* const root = construct_root(made, ec, std::forward<Arguments>(arguments)...);
            // The arguments can be used only once, so there is one T, which waits for the name
            // while others create and remove it.
            while (!ec) {
                made.publish(publication::exclusive, ec);
                if (!ec) {
                    return shared(std::move(made), root);
                }
                if (ec == errc::already_exists) {
                    ec.clear();
                    opened = base::open(name, access_mode::writing, base::options_of(options), ec);
                    if (!ec) {
                        std::destroy_at(root);
                        return checked(std::move(opened), ec);
                    }
                    if (ec == errc::not_found) {
                        ec.clear();
                    }
                }
            }
            if (root != nullptr) {
                std::destroy_at(root);
            }
            return {};
        }
    }

    static shared open_or_create(name_argument, std::initializer_list<decltype(nullptr)>)
        requires detail::has_names<policies>
    = delete;

    /// A new T under the name, in one step, whether or not there was one before. Not for System V.
    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces &&
                 detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared replace(name_argument name, Arguments&&... arguments) {
        return replace(name, segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces
    [[nodiscard]] static shared replace(name_argument name, std::error_code& ec,
                                        Arguments&&... arguments) {
        return replace(name, segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces &&
                 detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared replace(name_argument name, const segment_options& options,
                                        Arguments&&... arguments) {
        std::error_code ec;
        shared made = replace(name, options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return made;
    }

    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces
    [[nodiscard]] static shared replace(name_argument name, const segment_options& options,
                                        std::error_code& ec, Arguments&&... arguments) {
        return make(name, options, publication::replace, ec, std::forward<Arguments>(arguments)...);
    }

    /// Removes the name; processes that have the T keep it. Returns false if there was no such
    /// name.
    static bool remove(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return remove(name, ec); });
    }

    static bool remove(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("remove", label, name);
        ec.clear();
        return base::remove(name, ec);
    }

    /// From a native handle that was obtained in another way; checked like open, except for the
    /// owner and the mode: the process that passes a handle vouches for it. On failure it is
    /// closed.
    [[nodiscard]] static shared adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options,
                                      std::error_code& ec) noexcept {
        const detail::error_context context("adopt", label, "");
        ec.clear();
        return checked(base::adopt(native, access_mode::writing, options, ec), ec);
    }

    /// An allocator of the T's segment.
    template <class U>
    [[nodiscard]] shm_allocator<U> allocator() const noexcept {
        return *this ? shm_allocator<U>(this->base_.memory().header()) : shm_allocator<U>();
    }

    /// Recovers now what dead processes have left in the segment: unfinished changes are rolled
    /// back, committed ones completed, and their slots freed. Returns how many dead participants
    /// this call has found. Attaching does the same, and a thread that waits for a lock does it for
    /// the lock's holder. *Errors*: those of attaching, in a forked child. *Complexity*: a system
    /// call for each participant.
    std::size_t recover() const {
        return detail::thrown([&](std::error_code& ec) { return recover(ec); });
    }

    std::size_t recover(std::error_code& ec) const noexcept {
        const detail::error_context context("recover", label, this->name());
        return this->recover_dead(ec);
    }

    /// See segment::durable.
    void durable() const {
        std::error_code ec;
        durable(ec);
        detail::raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept {
        const detail::error_context context("write back", label, this->name());
        ec.clear();
        this->base_.durable(ec);
    }

  private:
    shared(base&& opened, T* root) noexcept : parent(std::move(opened), root) {}

    static shared checked(base&& opened, std::error_code& ec) noexcept {
        T* const root = ec ? nullptr : parent::root_of(opened, ec);
        return ec ? shared() : shared(std::move(opened), root);
    }

    template <class... Arguments>
    static shared make(std::string_view name, const segment_options& options, publication how,
                       std::error_code& ec, Arguments&&... arguments) {
        const detail::error_context context("create", label, name);
        ec.clear();
        base made = base::prepare(name, options, how, ec);
        T* const root =
            ec ? nullptr : construct_root(made, ec, std::forward<Arguments>(arguments)...);
        if (!ec) {
            made.publish(how, ec);
            if (ec) {
                std::destroy_at(root);
            }
        }
        return ec ? shared() : shared(std::move(made), root);
    }

    // In a segment that no other process can see yet.
    template <class... Arguments>
    static T* construct_root(const base& made, std::error_code& ec, Arguments&&... arguments) {
        if (ec) {
            return nullptr;
        }
        return detail::construct_object<T>(made.memory(), detail::root_name, detail::making::root,
                                           ec, std::forward<Arguments>(arguments)...);
    }
};

/// A T that other processes share, for reading.
template <class T, class Mechanism, class Naming, class Permission>
class shared<const T, Mechanism, Naming, Permission>
    : public detail::shared_base<const T, detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using parent = detail::shared_base<const T, policies>;

  public:
    using typename parent::native_handle_type;

    shared() = default;

    /// The same as shared<T>::open(name, read_only).
    [[nodiscard]] static shared open(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static shared open(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    [[nodiscard]] static shared open(name_argument name, const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard]] static shared open(name_argument name, const mapping_options& options,
                                     std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("open", policies::mechanism::label, name);
        ec.clear();
        return checked(base::open(name, access_mode::reading, options, ec), ec);
    }

    [[nodiscard]] static shared open(name_argument name, read_only_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard]] static shared open(name_argument name, read_only_t, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    /// Waits until the name exists, like segment::open.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard]] static auto open(name_argument name, const Duration& patience, Rest&&... rest) {
        return detail::open_within<shared>(name, patience, std::forward<Rest>(rest)...);
    }

    /// From a native handle that was obtained in another way; it may be read-only.
    [[nodiscard]] static shared adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options,
                                      std::error_code& ec) noexcept {
        const detail::error_context context("adopt", policies::mechanism::label, "");
        ec.clear();
        return checked(base::adopt(native, access_mode::reading, options, ec), ec);
    }

  private:
    shared(base&& opened, const T* root) noexcept : parent(std::move(opened), root) {}

    static shared checked(base&& opened, std::error_code& ec) noexcept {
        const T* const root = ec ? nullptr : parent::root_of(opened, ec);
        return ec ? shared() : shared(std::move(opened), root);
    }
};

COHOLD_NAMESPACE_END

#endif
