// segment_view: a segment opened for reading.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SEGMENT_VIEW_HPP
#define COHOLD_HANDLE_SEGMENT_VIEW_HPP

#include <cohold/handle/named_objects.hpp>
#include <cohold/handle/segment_observers.hpp>
#include <cohold/policy/name_argument.hpp>
#include <cohold/policy/posix.hpp>

COHOLD_NAMESPACE_BEGIN

template <class Mechanism, class Naming, class Permission>
class segment;

/// A segment opened for reading: mapped so that nothing can be written, and finding const objects
/// alone. From segment<…>::open(name, read_only). Needs no permission to write, and takes no lock.
///
/// *Thread safety*: const members may be called from several threads.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class segment_view
    : public detail::segment_observers<detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;

  public:
    segment_view() = default;

    /// The same as segment<…>::open(name, read_only).
    [[nodiscard, gnu::cold]] static segment_view open(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view open(name_argument name,
                                                      std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    [[nodiscard, gnu::cold]] static segment_view open(name_argument name,
                                                      const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view
    open(name_argument name, const mapping_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", policies::mechanism::label, name);
        ec.clear();
        return segment_view(base::open(name, access_mode::reading, options, ec));
    }

    /// Waits until there is such a name, as segment::open does.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard, gnu::cold]] static auto open(name_argument name, const Duration& patience,
                                              Rest&&... rest) {
        return detail::open_within<segment_view>(name, patience, std::forward<Rest>(rest)...);
    }

    /// From a native handle that came by other ways; it may be one for reading alone. On failure it
    /// is closed.
    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native, std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native, const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native, const mapping_options& options,
          std::error_code& ec) noexcept {
        const detail::operation context("adopt", policies::mechanism::label, "");
        ec.clear();
        return segment_view(base::adopt(native, access_mode::reading, options, ec));
    }

    /// nullptr if there is no object of the name. *Errors*: errc::type_mismatch.
    template <class T>
    [[nodiscard]] const T* find(std::string_view name) const COHOLD_LIFETIMEBOUND {
        return detail::thrown([&](std::error_code& ec) { return find<T>(name, ec); });
    }

    template <class T>
    [[nodiscard]] const T* find(std::string_view name,
                                std::error_code& ec) const noexcept COHOLD_LIFETIMEBOUND {
        ec.clear();
        return this->check_attached(ec) ? static_cast<const T*>(detail::find_address(
                                              static_cast<const detail::directory&>(
                                                  this->base_.memory().directory_here()),
                                              name, detail::type_descriptor_of<T>, ec))
                                        : nullptr;
    }

    /// The named objects, in no order. While others construct and destroy, a moment's picture.
    [[nodiscard]] object_list objects() const {
        return *this ? detail::list_objects(this->base_.memory().directory_here()) : object_list();
    }

  private:
    friend class segment<Mechanism, Naming, Permission>;

    explicit segment_view(base&& opened) noexcept
        : detail::segment_observers<policies>(std::move(opened)) {}
};

COHOLD_NAMESPACE_END

#endif
