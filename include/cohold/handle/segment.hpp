// segment: shared memory that holds named typed objects and a heap.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SEGMENT_HPP
#define COHOLD_HANDLE_SEGMENT_HPP

#include <cohold/container/shm_allocator.hpp>
#include <cohold/handle/detail/named_objects.hpp>
#include <cohold/handle/detail/segment_core.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

template <class Mechanism, class Naming, class Permission>
class segment;

/// A segment opened for reading: mapped so that nothing can be written, and finding only const
/// objects. From segment<…>::open(name, read_only). Needs no write permission, and takes no lock.
///
/// *Thread safety*: several threads may call const members.
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
        const detail::error_context context("open", policies::mechanism::label, name);
        ec.clear();
        return segment_view(base::open(name, access_mode::reading, options, ec));
    }

    /// Waits until the name exists, like segment::open.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard, gnu::cold]] static auto open(name_argument name, const Duration& patience,
                                              Rest&&... rest) {
        return detail::open_within<segment_view>(name, patience, std::forward<Rest>(rest)...);
    }

    /// From a native handle that was obtained in another way; it may be read-only. On failure it is
    /// closed.
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
        const detail::error_context context("adopt", policies::mechanism::label, "");
        ec.clear();
        return segment_view(base::adopt(native, access_mode::reading, options, ec));
    }

    /// nullptr if there is no object with this name. *Errors*: errc::type_mismatch.
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

    /// The named objects, in no particular order. A snapshot, if others construct and destroy
    /// meanwhile.
    [[nodiscard]] object_list objects() const {
        return *this ? detail::list_objects(this->base_.memory().directory_here()) : object_list();
    }

  private:
    friend class segment<Mechanism, Naming, Permission>;

    explicit segment_view(base&& opened) noexcept
        : detail::segment_observers<policies>(std::move(opened)) {}
};

/// Shared memory formatted by cohold: named objects of checked types, and the heap for them and
/// their elements. It grows by itself, in every process at the same time and without moving, up to
/// its reserve.
///
/// Each factory and operation has two forms: one throws cohold::failure; one takes std::error_code&
/// right after the name and options and returns an empty handle or nullptr, with the details in
/// last_failure().
///
/// *Thread and process safety*: several threads may call const members; all processes may call
/// everything at the same time. *If the process is killed* in a factory, there is the whole segment
/// or none.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class segment : public detail::segment_observers<detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using observers = detail::segment_observers<policies>;
    static constexpr std::string_view label = policies::mechanism::label;

  public:
    using typename observers::native_handle_type;
    using view_type = segment_view<Mechanism, Naming, Permission>;

    segment() = default;

    /// A new segment. *Errors*: errc::already_exists, invalid_name, invalid_size, out_of_space,
    /// reserve_too_large, permission_denied, no_such_directory, not_on_tmpfs, unsupported,
    /// locks_unsupported.
    [[nodiscard, gnu::cold]] static segment create(name_argument name,
                                                   const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    create(name_argument name, const segment_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return make(name, options, publication::exclusive, ec);
    }

    /// `size` is the initial size in bytes.
    [[nodiscard, gnu::cold]] static segment create(name_argument name,
                                                   std::size_t size = config::default_size)
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size});
    }

    [[nodiscard, gnu::cold]] static segment create(name_argument name, std::size_t size,
                                                   std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size}, ec);
    }

    static segment create(name_argument, std::initializer_list<decltype(nullptr)>) = delete;

    [[nodiscard, gnu::cold]] static segment create(const segment_options& options)
        requires detail::has_no_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment create(const segment_options& options,
                                                   std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return make({}, options, publication::exclusive, ec);
    }

    [[nodiscard, gnu::cold]] static segment create(std::size_t size = config::default_size)
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size});
    }

    [[nodiscard, gnu::cold]] static segment create(std::size_t size, std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size}, ec);
    }

    /// An existing segment, complete and checked. *Errors*: errc::not_found; symlink_refused,
    /// directory_refused, special_file_refused, unexpected_owner, wider_permission,
    /// permission_denied; truncated, not_a_segment, byte_order_mismatch, layout_mismatch, corrupt,
    /// name_mismatch; reserve_too_large; too_many_participants, locks_unsupported.
    [[nodiscard, gnu::cold]] static segment open(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard, gnu::cold]] static segment open(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    /// The same, mapped according to the options. *Errors*: also errc::lock_limit, unsupported,
    /// invalid_options.
    [[nodiscard, gnu::cold]] static segment open(name_argument name, const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment open(name_argument name, const mapping_options& options,
                                                 std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::error_context context("open", label, name);
        ec.clear();
        return segment(base::open(name, access_mode::writing, options, ec));
    }

    [[nodiscard, gnu::cold]] static segment open(name_argument name, read_write_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard, gnu::cold]] static segment open(name_argument name, read_write_t,
                                                 std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    /// For reading only: another type, through which nothing can be written.
    [[nodiscard, gnu::cold]] static view_type open(name_argument name, read_only_t)
        requires detail::has_names<policies>
    {
        return view_type::open(name);
    }

    [[nodiscard, gnu::cold]] static view_type open(name_argument name, read_only_t,
                                                   std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return view_type::open(name, ec);
    }

    [[nodiscard, gnu::cold]] static view_type open(name_argument name, read_only_t,
                                                   const mapping_options& options)
        requires detail::has_names<policies>
    {
        return view_type::open(name, options);
    }

    [[nodiscard, gnu::cold]] static view_type open(name_argument name, read_only_t,
                                                   const mapping_options& options,
                                                   std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return view_type::open(name, options, ec);
    }

    /// The same, but waits until the name exists, no longer than `patience`, a
    /// std::chrono::duration; then errc::not_found or no_such_directory. The further arguments are
    /// those of the other forms: `open("prices", 5s, read_only, ec)`.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard, gnu::cold]] static auto open(name_argument name, const Duration& patience,
                                              Rest&&... rest) {
        return detail::open_within<segment>(name, patience, std::forward<Rest>(rest)...);
    }

    /// The existing segment, or a new one. Any number of processes may race: there will be one
    /// segment, and all get it.
    [[nodiscard, gnu::cold]] static segment open_or_create(name_argument name,
                                                           const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    open_or_create(name_argument name, const segment_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        for (;;) {
            segment opened = open(name, base::options_of(options), ec);
            if (ec != errc::not_found) {
                return opened;
            }
            opened = create(name, options, ec);
            if (ec != errc::already_exists) {
                return opened;
            }
        }
    }

    [[nodiscard, gnu::cold]] static segment open_or_create(name_argument name,
                                                           std::size_t size = config::default_size)
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size});
    }

    [[nodiscard, gnu::cold]] static segment open_or_create(name_argument name, std::size_t size,
                                                           std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size}, ec);
    }

    static segment open_or_create(name_argument, std::initializer_list<decltype(nullptr)>) = delete;

    /// A new segment under the name, in one step, whether or not there was one before: a process
    /// that opens the name gets the old one or the new one. Processes that have the old one keep
    /// it; its is_removed() is true then. Not for System V.
    [[nodiscard, gnu::cold]] static segment replace(name_argument name,
                                                    const segment_options& options)
        requires detail::has_names<policies> && policies::mechanism::replaces
    {
        return detail::thrown([&](std::error_code& ec) { return replace(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    replace(name_argument name, const segment_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies> && policies::mechanism::replaces
    {
        return make(name, options, publication::replace, ec);
    }

    [[nodiscard, gnu::cold]] static segment replace(name_argument name,
                                                    std::size_t size = config::default_size)
        requires detail::has_names<policies> && policies::mechanism::replaces
    {
        return replace(name, segment_options{.size = size});
    }

    // A template, so that {} means options.
    template <std::integral Size>
    [[nodiscard, gnu::cold]] static segment replace(name_argument name, Size size,
                                                    std::error_code& ec) noexcept
        requires detail::has_names<policies> && policies::mechanism::replaces
    {
        return replace(name, segment_options{.size = static_cast<std::size_t>(size)}, ec);
    }

    static segment replace(name_argument, std::initializer_list<decltype(nullptr)>) = delete;

    /// Removes the name; processes that have the segment attached keep it. Returns false if there
    /// was no such name.
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

    /// From a native handle that was obtained in another way, e.g. over a socket; checked like
    /// open, except for the owner and the mode: the process that passes a handle vouches for it. On
    /// failure it is closed.
    [[nodiscard, gnu::cold]] static segment adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard, gnu::cold]] static segment adopt(native_handle_type native,
                                                  std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard, gnu::cold]] static segment adopt(native_handle_type native,
                                                  const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    adopt(native_handle_type native, const mapping_options& options, std::error_code& ec) noexcept {
        const detail::error_context context("adopt", label, "");
        ec.clear();
        return segment(base::adopt(native, access_mode::writing, options, ec));
    }

    /// Constructs an object under a name. Other threads that construct or destroy wait meanwhile.
    /// Its own allocators, at any depth, bind to this segment. *Errors*: errc::already_exists if
    /// the name is taken, invalid_name, out_of_space, reserve_exceeded; exceptions from T's
    /// constructor pass through, and nothing is left behind.
    template <class T, class... Arguments>
    T& construct(std::string_view name, Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        std::error_code ec;
        T* const made = construct<T>(name, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return *made;
    }

    template <class T, class... Arguments>
    T* construct(std::string_view name, std::error_code& ec,
                 Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        return make_object<T>(name, detail::making::construct, ec,
                              std::forward<Arguments>(arguments)...);
    }

    /// The object with this name, which is constructed first if there is none: by one of all
    /// threads that ask at the same time. *Errors*: those of construct, and errc::type_mismatch if
    /// it exists with another type.
    template <class T, class... Arguments>
    T& find_or_construct(std::string_view name,
                         Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        std::error_code ec;
        T* const object = find_or_construct<T>(name, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return *object;
    }

    template <class T, class... Arguments>
    T* find_or_construct(std::string_view name, std::error_code& ec,
                         Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        return make_object<T>(name, detail::making::find_or_construct, ec,
                              std::forward<Arguments>(arguments)...);
    }

    /// nullptr if there is no object with this name, or if it is still being constructed; does not
    /// wait for living processes. *Errors*: errc::type_mismatch, naming both types and the member
    /// that differs.
    template <class T>
    [[nodiscard]] T* find(std::string_view name) const COHOLD_LIFETIMEBOUND {
        return detail::thrown([&](std::error_code& ec) { return find<T>(name, ec); });
    }

    template <class T>
    [[nodiscard]] T* find(std::string_view name,
                          std::error_code& ec) const noexcept COHOLD_LIFETIMEBOUND {
        ec.clear();
        return this->check_attached(ec)
                   ? static_cast<T*>(detail::find_address(this->base_.memory(), name,
                                                          detail::type_descriptor_of<T>, ec))
                   : nullptr;
    }

    /// Removes the name and destroys the object. Returns false if there is none. No thread may be
    /// using it. *Errors*: errc::type_mismatch, and then the object stays.
    template <class T>
    bool destroy(std::string_view name) const {
        return detail::thrown([&](std::error_code& ec) { return destroy<T>(name, ec); });
    }

    template <class T>
    bool destroy(std::string_view name, std::error_code& ec) const noexcept {
        ec.clear();
        if (!this->check_attached(ec)) {
            return false;
        }
        const detail::pending_destruction object(this->base_.memory(), name,
                                                 detail::type_descriptor_of<T>,
                                                 !std::is_trivially_destructible_v<T>, ec);
        if (object.block() == nullptr) {
            return false;
        }
        std::destroy_at(static_cast<T*>(object.block()));
        return true;
    }

    /// The named objects, in no particular order.
    [[nodiscard]] object_list objects() const {
        if (!*this) {
            return {};
        }
        detail::directory& objects = this->base_.memory().directory_here();
        std::error_code ec;
        detail::tidy_up(objects, ec);
        detail::raise_if(ec);
        return detail::list_objects(objects);
    }

    /// An allocator of this segment, for containers that are not constructed inside it. Not bound
    /// if the handle is empty. Valid as long as this segment, or one moved from it, is attached.
    template <class T>
    [[nodiscard]] shm_allocator<T> allocator() const noexcept {
        return *this ? shm_allocator<T>(this->base_.memory().header()) : shm_allocator<T>();
    }

    /// Makes the segment at least `size` bytes long, in all processes. It also grows by itself;
    /// this is for growing in advance. *Errors*: errc::reserve_exceeded, out_of_space (with the
    /// bytes wanted and available).
    void grow(std::size_t size) const {
        std::error_code ec;
        grow(size, ec);
        detail::raise_if(ec);
    }

    void grow(std::size_t size, std::error_code& ec) const noexcept {
        const detail::error_context context("grow", label, this->name());
        ec.clear();
        if (this->check_attached(ec)) {
            detail::segment_header& header = this->base_.memory().header();
            if (const detail::owner_word me = detail::participant_of(header, ec); !ec) {
                detail::heap::transaction(detail::heap::of(header), me).grow(size, ec);
            }
        }
    }

    /// Recovers now what dead processes have left: unfinished changes are rolled back, committed
    /// ones completed, and their slots freed. Returns how many dead participants this call has
    /// found. Attaching does the same, and a thread that waits for a lock does it for the lock's
    /// holder. *Errors*: those of attaching, in a forked child. *Complexity*: a system call for
    /// each participant.
    std::size_t recover() const {
        return detail::thrown([&](std::error_code& ec) { return recover(ec); });
    }

    std::size_t recover(std::error_code& ec) const noexcept {
        const detail::error_context context("recover", label, this->name());
        return this->recover_dead(ec);
    }

    /// Waits until everything that any process has written to the segment, and the segment's name,
    /// will survive a loss of power: msync(2), fsync(2) of a file and of its directory. This is no
    /// snapshot: what others write meanwhile may be on the disk or not, and so may any part of what
    /// is written next. For memory there is nothing to wait for. *Errors*: EIO if the disk has
    /// failed; msync(2), fsync(2).
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
    explicit segment(base&& opened) noexcept : observers(std::move(opened)) {}

    [[gnu::cold]] static segment make(std::string_view name, const segment_options& options,
                                      publication how, std::error_code& ec) noexcept {
        const detail::error_context context("create", label, name);
        ec.clear();
        base made = base::prepare(name, options, how, ec);
        if (!ec) {
            made.publish(how, ec);
        }
        return ec ? segment() : segment(std::move(made));
    }

    template <class T, class... Arguments>
    T* make_object(std::string_view name, detail::making how, std::error_code& ec,
                   Arguments&&... arguments) const {
        ec.clear();
        return this->check_attached(ec)
                   ? detail::construct_object<T>(this->base_.memory(), name, how, ec,
                                                 std::forward<Arguments>(arguments)...)
                   : nullptr;
    }
};

COHOLD_NAMESPACE_END

#endif
