// segment: shared memory that holds named typed objects and a heap.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SEGMENT_HPP
#define COHOLD_HANDLE_SEGMENT_HPP

#include <cohold/container/shm_allocator.hpp>
#include <cohold/handle/detail/factories.hpp>
#include <cohold/handle/detail/named_objects.hpp>
#include <cohold/handle/detail/segment_core.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Policies>
struct segment_forms {
    static constexpr bool named = Policies::named;
    static constexpr std::string_view label = Policies::mechanism::label;
    static constexpr bool has_default = true;
    static constexpr bool has_contents = false;
    static constexpr bool replaces = Policies::mechanism::replaces;

    using options = segment_options;
    using number = std::size_t; // its size
    using opening = mapping_options;
    using native_handle_type = typename Policies::mechanism::native_handle_type;

    static segment_options from(std::size_t size) noexcept { return {.size = size}; }

    static mapping_options opening_of(const segment_options& wanted) noexcept {
        return mapping_of(wanted);
    }
};

// The operations of segment and shared on the segment that they have attached.
template <class Policies>
class segment_operations : public segment_observers<Policies> {
    static constexpr std::string_view label = Policies::mechanism::label;

  public:
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
        raise_if(ec);
    }

    void grow(std::size_t size, std::error_code& ec) const noexcept {
        const error_context context("grow", label, this->name());
        ec.clear();
        if (this->check_attached(ec)) {
            segment_header& header = this->base_.memory().header();
            if (const owner_word me = participant_of(header, ec); !ec) {
                heap::change(heap::of(header), me).grow(size, ec);
            }
        }
    }

    /// Gives the memory of free blocks back to the kernel, in whole pages, for all processes.
    /// Returns how many bytes. The segment stays as long as it is, and gets the memory again before
    /// it hands out such a block: if the kernel has none then, allocating fails, and nothing raises
    /// SIGBUS. *Errors*: errc::unsupported for hugetlb pages, for file systems without holes, and
    /// for locked memory on System V or anonymous memory; permission_denied; those of
    /// fallocate(2) and madvise(2). Then a part may have been given back.
    /// *Complexity*: a system call for each free block of at least a page; others that allocate
    /// wait for 64 of them at most. *If the process is killed*, a part has been given back.
    std::size_t trim() const {
        return thrown([&](std::error_code& ec) { return trim(ec); });
    }

    std::size_t trim(std::error_code& ec) const noexcept {
        const error_context context("trim", label, this->name());
        ec.clear();
        if (!this->check_attached(ec)) {
            return 0;
        }
        segment_header& header = this->base_.memory().header();
        const owner_word me = participant_of(header, ec);
        return ec ? 0 : static_cast<std::size_t>(trim_heap(header, me, ec));
    }

    /// Recovers dead processes now: rolls unfinished changes back, completes committed ones, and
    /// frees their slots. Returns how many dead participants this call has found. Attaching does
    /// the same, and a thread that waits for a lock does it for the lock's holder. *Errors*: those
    /// of attaching, in a forked child. *Complexity*: a system call for each participant.
    std::size_t recover() const {
        return thrown([&](std::error_code& ec) { return recover(ec); });
    }

    std::size_t recover(std::error_code& ec) const noexcept {
        const error_context context("recover", label, this->name());
        return this->recover_dead(ec);
    }

    /// Waits until everything that any process has written to the segment, and the segment's name,
    /// will survive a loss of power: msync(2), fsync(2) of a file and of its directory. This is no
    /// snapshot: bytes that other processes write meanwhile or afterwards may be on the disk or
    /// not. For memory there is nothing to wait for. *Errors*: EIO if the disk has failed;
    /// msync(2), fsync(2).
    void durable() const {
        std::error_code ec;
        durable(ec);
        raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept {
        const error_context context("write back", label, this->name());
        ec.clear();
        this->base_.durable(ec);
    }

  protected:
    using segment_observers<Policies>::segment_observers;
};

// A call without a type, such as destroy("name"), ends up here, for the message.
template <class... Arguments>
int& type_is_missing() noexcept {
    static_assert(sizeof...(Arguments) > SIZE_MAX - 1,
                  "cohold: name the object's type: construct<T>(name, arguments), "
                  "find_or_construct<T>(name, arguments), find<T>(name), destroy<T>(name)");
    static int none = 0;
    return none;
}

} // namespace detail

/// A segment opened for reading: mapped so that nothing can be written, and finding only const
/// objects. From `segment<…>::open(name, read_only)`. Needs no write permission, and takes no lock.
///
/// *Thread safety*: several threads may call const members. *If the process is killed*, nobody
/// notices: it is no participant.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class segment_view
    : public detail::segment_observers<detail::policies_of<Mechanism, Naming, Permission>>,
      public detail::view_factories<
          segment_view<Mechanism, Naming, Permission>,
          detail::segment_forms<detail::policies_of<Mechanism, Naming, Permission>>> {
    using policies = detail::policies_of<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;

  public:
    segment_view() = default;

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

    template <int = 0, class... Arguments>
    [[nodiscard]] int* find(std::string_view, const Arguments&...) const noexcept {
        return &detail::type_is_missing<Arguments...>();
    }

    /// The named objects, in no particular order. A snapshot, if others construct and destroy
    /// meanwhile. Throws std::bad_alloc. *Complexity*: linear in their number.
    [[nodiscard]] object_list objects() const {
        return *this ? detail::list_objects(this->base_.memory().directory_here()) : object_list();
    }

    /// The same: of a view it does not fail.
    [[nodiscard]] object_list objects(std::error_code& ec) const {
        ec.clear();
        return objects();
    }

  private:
    friend detail::factory_access;

    explicit segment_view(base&& opened) noexcept
        : detail::segment_observers<policies>(std::move(opened)) {}

    static segment_view attach(std::string_view name, const mapping_options& options,
                               std::error_code& ec) noexcept {
        return segment_view(base::open(name, access_mode::reading, options, ec));
    }

    static segment_view attach(const typename policies::mechanism::native_handle_type& native,
                               const mapping_options& options, std::error_code& ec) noexcept {
        return segment_view(base::adopt(native, access_mode::reading, options, ec));
    }
};

/// Shared memory formatted by cohold: named objects of checked types, and the heap for them and
/// their elements. It grows by itself, in every process at the same time and without moving, up to
/// its reserve.
///
/// Each factory and operation has two forms: one throws cohold::failure; one takes std::error_code&
/// as the last argument, or right before those of a constructor, and returns an empty handle or
/// nullptr, with the details in last_failure().
///
/// *Thread and process safety*: several threads may call const members; all processes may call
/// everything at the same time. *If the process is killed* in a factory, there is the whole segment
/// or none.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class segment
    : public detail::segment_operations<detail::policies_of<Mechanism, Naming, Permission>>,
      public detail::factories<
          segment<Mechanism, Naming, Permission>,
          detail::segment_forms<detail::policies_of<Mechanism, Naming, Permission>>,
          segment_view<Mechanism, Naming, Permission>> {
    using policies = detail::policies_of<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using operations = detail::segment_operations<policies>;

  public:
    using read_only_type = segment_view<Mechanism, Naming, Permission>;

    segment() = default;

    /// Constructs an object under a name. Other threads that construct or destroy wait meanwhile.
    /// Its own allocators, at any depth, bind to this segment. *Errors*: errc::already_exists if
    /// the name is taken, invalid_name, out_of_space, reserve_exceeded; those of T's
    /// constructor, and nothing is left behind. The form with an error code has the code of a
    /// cohold::failure that the constructor throws, and errc::out_of_space for std::bad_alloc; its
    /// other exceptions pass through.
    template <class T, class... Arguments>
    T& construct(std::string_view name, Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        std::error_code ec;
        T* const made = make_object<T>(name, detail::making::construct, ec,
                                       std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return *made;
    }

    template <class T, class... Arguments>
    T* construct(std::string_view name, std::error_code& ec,
                 Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        return detail::reported(ec, [&] {
            return make_object<T>(name, detail::making::construct, ec,
                                  std::forward<Arguments>(arguments)...);
        });
    }

    /// The object with this name, which is constructed first if there is none: by one of all
    /// threads that ask at the same time. *Errors*: those of construct, and errc::type_mismatch if
    /// it exists with another type.
    template <class T, class... Arguments>
    T& find_or_construct(std::string_view name,
                         Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        std::error_code ec;
        T* const object = make_object<T>(name, detail::making::find_or_construct, ec,
                                         std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return *object;
    }

    template <class T, class... Arguments>
    T* find_or_construct(std::string_view name, std::error_code& ec,
                         Arguments&&... arguments) const COHOLD_LIFETIMEBOUND {
        return detail::reported(ec, [&] {
            return make_object<T>(name, detail::making::find_or_construct, ec,
                                  std::forward<Arguments>(arguments)...);
        });
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

    template <int = 0, class... Arguments>
    int& construct(std::string_view, const Arguments&...) const noexcept {
        return detail::type_is_missing<Arguments...>();
    }

    template <int = 0, class... Arguments>
    int& find_or_construct(std::string_view, const Arguments&...) const noexcept {
        return detail::type_is_missing<Arguments...>();
    }

    template <int = 0, class... Arguments>
    [[nodiscard]] int* find(std::string_view, const Arguments&...) const noexcept {
        return &detail::type_is_missing<Arguments...>();
    }

    template <int = 0, class... Arguments>
    bool destroy(std::string_view, const Arguments&...) const noexcept {
        return detail::type_is_missing<Arguments...>() != 0;
    }

    /// The named objects, in no particular order. *Errors*: those of attaching, where a dead
    /// process has left something to recover.
    [[nodiscard]] object_list objects() const {
        return detail::thrown([&](std::error_code& ec) { return objects(ec); });
    }

    [[nodiscard]] object_list objects(std::error_code& ec) const {
        ec.clear();
        if (!*this) {
            return {};
        }
        detail::directory& objects = this->base_.memory().directory_here();
        detail::tidy_up(objects, ec);
        return ec ? object_list() : detail::list_objects(objects);
    }

  private:
    friend detail::factory_access;

    // A segment that no other process can see yet.
    class draft {
      public:
        draft(std::string_view name, const segment_options& options, publication how,
              std::error_code& ec) noexcept
            : made_(base::prepare(name, options, how, ec)) {}

        void fill(std::error_code& /*ec*/) noexcept {}

        void publish(publication how, std::error_code& ec) noexcept { made_.publish(how, ec); }

      private:
        friend segment;

        base made_;
    };

    explicit segment(base&& opened) noexcept : operations(std::move(opened)) {}

    explicit segment(draft&& made) noexcept : operations(std::move(made.made_)) {}

    static segment attach(std::string_view name, const mapping_options& options,
                          std::error_code& ec) noexcept {
        return segment(base::open(name, access_mode::writing, options, ec));
    }

    static segment attach(const typename policies::mechanism::native_handle_type& native,
                          const mapping_options& options, std::error_code& ec) noexcept {
        return segment(base::adopt(native, access_mode::writing, options, ec));
    }

    static bool erase(std::string_view name, std::error_code& ec) noexcept {
        return base::remove(name, ec);
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
