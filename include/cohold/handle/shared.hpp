// shared<T>: a segment whose only root object is a T, and which behaves like a pointer to it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SHARED_HPP
#define COHOLD_HANDLE_SHARED_HPP

#include <cohold/handle/segment.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The factories of shared<T> are those of segment, with T's constructor arguments at the end.
template <class Policies>
struct shared_forms : segment_forms<Policies> {
    static constexpr bool has_contents = true;

    using number = no_number; // it could be meant for T
};

// `Segment`: the operations that the handle has on T's segment, segment_operations or
// segment_observers.
template <class T, class Policies, class Segment>
class shared_base : public Segment {
  public:
    using element_type = T;

    [[nodiscard]] T* get() const noexcept COHOLD_LIFETIMEBOUND { return root_; }

    [[nodiscard]] T& operator*() const noexcept COHOLD_LIFETIMEBOUND { return *root_; }

    [[nodiscard]] T* operator->() const noexcept COHOLD_LIFETIMEBOUND { return root_; }

  protected:
    using base = segment_base<Policies>;

    shared_base() = default;

    shared_base(base&& opened, T* root) noexcept : Segment(std::move(opened)), root_(root) {}

    shared_base(shared_base&& other) noexcept
        : Segment(std::move(other)), root_(std::exchange(other.root_, nullptr)) {}

    shared_base& operator=(shared_base&& other) noexcept {
        Segment::operator=(std::move(other));
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
/// *Errors* of the factories: those of segment, and what T's constructor throws. *Complexity*: that
/// of creating or opening a segment; reaching the T costs nothing.
///
/// *Thread and process safety*: all factories are safe; for the T, its own rules apply. *If the
/// process is killed* in a factory, there is the whole T or nothing.
template <class T, class Mechanism = mechanism::posix,
          class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class shared : public detail::shared_base<
                   T, detail::policies_of<Mechanism, Naming, Permission>,
                   detail::segment_operations<detail::policies_of<Mechanism, Naming, Permission>>>,
               public detail::factories<
                   shared<T, Mechanism, Naming, Permission>,
                   detail::shared_forms<detail::policies_of<Mechanism, Naming, Permission>>,
                   shared<const T, Mechanism, Naming, Permission>> {
    using policies = detail::policies_of<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using parent = detail::shared_base<T, policies, detail::segment_operations<policies>>;

  public:
    using read_only_type = shared<const T, Mechanism, Naming, Permission>;

    shared() = default;

  private:
    friend detail::factory_access;

    // A segment that no other process can see yet, and the T in it. Destroyed without publish(), it
    // leaves neither.
    class draft {
      public:
        draft(std::string_view name, const segment_options& options, publication how,
              std::error_code& ec) noexcept
            : made_(base::prepare(name, options, how, ec)) {}

        draft(const draft&) = delete;
        draft& operator=(const draft&) = delete;

        ~draft() {
            if (root_ != nullptr) {
                std::destroy_at(root_);
            }
        }

        template <class... Arguments>
        void fill(std::error_code& ec, Arguments&&... arguments) {
            root_ =
                detail::construct_object<T>(made_.memory(), detail::root_name, detail::making::root,
                                            ec, std::forward<Arguments>(arguments)...);
        }

        void publish(publication how, std::error_code& ec) noexcept { made_.publish(how, ec); }

      private:
        friend shared;

        base made_;
        T* root_ = nullptr;
    };

    shared(base&& opened, T* root) noexcept : parent(std::move(opened), root) {}

    explicit shared(draft&& made) noexcept
        : parent(std::move(made.made_), std::exchange(made.root_, nullptr)) {}

    static shared attach(std::string_view name, const mapping_options& options,
                         std::error_code& ec) noexcept {
        return checked(base::open(name, access_mode::writing, options, ec), ec);
    }

    static shared attach(const typename policies::mechanism::native_handle_type& native,
                         const mapping_options& options, std::error_code& ec) noexcept {
        return checked(base::adopt(native, access_mode::writing, options, ec), ec);
    }

    static shared checked(base&& opened, std::error_code& ec) noexcept {
        T* const root = ec ? nullptr : parent::root_of(opened, ec);
        return ec ? shared() : shared(std::move(opened), root);
    }

    static bool erase(std::string_view name, std::error_code& ec) noexcept {
        return base::remove(name, ec);
    }
};

/// A T that other processes share, for reading. From `shared<T>::open(name, read_only)`. *Errors*,
/// *complexity*, *thread and process safety* and what is left *if the process is killed*: as for
/// shared.
template <class T, class Mechanism, class Naming, class Permission>
class shared<const T, Mechanism, Naming, Permission>
    : public detail::shared_base<
          const T, detail::policies_of<Mechanism, Naming, Permission>,
          detail::segment_observers<detail::policies_of<Mechanism, Naming, Permission>>>,
      public detail::view_factories<
          shared<const T, Mechanism, Naming, Permission>,
          detail::shared_forms<detail::policies_of<Mechanism, Naming, Permission>>> {
    using policies = detail::policies_of<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using parent = detail::shared_base<const T, policies, detail::segment_observers<policies>>;

  public:
    shared() = default;

  private:
    friend detail::factory_access;

    shared(base&& opened, const T* root) noexcept : parent(std::move(opened), root) {}

    static shared attach(std::string_view name, const mapping_options& options,
                         std::error_code& ec) noexcept {
        return checked(base::open(name, access_mode::reading, options, ec), ec);
    }

    static shared attach(const typename policies::mechanism::native_handle_type& native,
                         const mapping_options& options, std::error_code& ec) noexcept {
        return checked(base::adopt(native, access_mode::reading, options, ec), ec);
    }

    static shared checked(base&& opened, std::error_code& ec) noexcept {
        const T* const root = ec ? nullptr : parent::root_of(opened, ec);
        return ec ? shared() : shared(std::move(opened), root);
    }
};

COHOLD_NAMESPACE_END

#endif
