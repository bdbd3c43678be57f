// shm_allocator: the heap of a segment as an allocator for the containers of cohold, the standard
// library and Boost.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_ALLOCATOR_HPP
#define COHOLD_CONTAINER_SHM_ALLOCATOR_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include <cohold/engine/local_mapping.hpp>
#include <cohold/engine/section.hpp>
#include <cohold/type/construct_from.hpp>
#include <cohold/type/offset_ptr.hpp>

COHOLD_NAMESPACE_BEGIN

/// Allocates from the segment that it is bound to. An allocator that is constructed inside a
/// segment (by segment::construct, or as a part of an element of a container there) binds to that
/// segment; a copy elsewhere has the binding of its original; `segment::allocator<T>()` makes one
/// from a handle. One that is constructed later in an object of a segment, by
/// std::optional::emplace for instance, binds to the segment that it lies in. Two allocators are
/// equal if they are bound to the same mapping of the same segment. It never propagates: an object
/// stays in its segment, and between segments elements are copied.
///
/// *Errors*: errc::out_of_space, errc::reserve_exceeded, errc::no_segment. *Complexity*: constant,
/// unless the segment grows. *Thread and process safety*: any number of threads of any number of
/// processes may allocate at the same time. *If the process is killed*: the heap stays
/// intact. A block to which only the dead process referred stays allocated, unless an operation of
/// a container or a section had allocated it.
template <class T>
class shm_allocator {
  public:
    using value_type = T;
    using pointer = offset_ptr<T>;
    using const_pointer = offset_ptr<const T>;
    using void_pointer = offset_ptr<void>;
    using const_void_pointer = offset_ptr<const void>;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using propagate_on_container_copy_assignment = std::false_type;
    using propagate_on_container_move_assignment = std::false_type;
    using propagate_on_container_swap = std::false_type;
    using is_always_equal = std::false_type;

    /// Bound to the segment at this address; elsewhere to none.
    shm_allocator() noexcept : segment_(bind(nullptr)) {}

    shm_allocator(const shm_allocator& other) noexcept : segment_(bind(other.segment_.get())) {}

    template <class U>
    shm_allocator(const shm_allocator<U>& other) noexcept // NOLINT: allocators convert
        : segment_(bind(other.segment_.get())) {}

    shm_allocator& operator=(const shm_allocator&) = default;
    ~shm_allocator() = default;

    /// Memory for `count` objects. *Errors*, as cohold::failure: errc::no_segment if it is not
    /// bound, out_of_space, reserve_exceeded, invalid_alignment (over 2 MiB). *Complexity*:
    /// constant, except when the segment grows.
    [[nodiscard]] pointer allocate(size_type count) {
        T* const memory = at_hand(count);
        return memory != nullptr ? memory : allocated_or_throw(count);
    }

    /// nullptr on failure.
    [[nodiscard]] pointer allocate(size_type count, std::error_code& ec) noexcept {
        ec.clear();
        return allocated(count, ec);
    }

    /// Like allocate; nullptr on failure, with the details in last_failure().
    [[nodiscard]] pointer try_allocate(size_type count) noexcept {
        std::error_code ec;
        return allocated(count, ec);
    }

    /// Null is allowed. A double free or a foreign pointer aborts in debug builds
    /// (COHOLD_HEAP_CHECKS).
    void deallocate(pointer memory, size_type /*count*/) noexcept {
        if (memory != nullptr && segment_ != nullptr) {
            auto* const block = const_cast<std::remove_cv_t<T>*>(memory.get());
            // A bound allocator never points to itself, and no variable is where a header is.
            if (!detail::deallocate_at_hand(*segment_.unchecked(), block)) [[unlikely]] {
                detail::deallocate(*segment_, block);
            }
        }
    }

    /// Makes a block have room for `count` objects where it is, more or fewer than before. False,
    /// and nothing has changed, if there is no free memory behind it; if the block is small, as it
    /// lies among others of its size; and while a section is open. Of a block that is shortened to
    /// nothing, a small rest stays. *If the process is killed*, it has one size or the other.
    /// *Complexity*: constant.
    [[nodiscard]] bool resize_in_place(pointer memory, size_type count) noexcept {
        std::uint64_t none = 0;
        return memory != nullptr && segment_ != nullptr && count <= max_size() &&
               detail::resize_block(*segment_, const_cast<std::remove_cv_t<T>*>(memory.get()),
                                    count * sizeof(T), &none, 0);
    }

    /// The same, but elsewhere if need be: then the first objects are copied, as many as there are
    /// in both, and the old block is freed. Like std::realloc. *Errors*: those of allocate, and the
    /// old block stays.
    [[nodiscard]] pointer reallocate(pointer memory, size_type old_count, size_type count)
        requires std::is_trivially_copyable_v<T>
    {
        if (resize_in_place(memory, count)) {
            return memory;
        }
        const pointer made = allocate(count);
        move_to(made, memory, old_count < count ? old_count : count, old_count);
        return made;
    }

    /// nullptr on failure, and the old block stays.
    [[nodiscard]] pointer reallocate(pointer memory, size_type old_count, size_type count,
                                     std::error_code& ec) noexcept
        requires std::is_trivially_copyable_v<T>
    {
        ec.clear();
        if (resize_in_place(memory, count)) {
            return memory;
        }
        const pointer made = allocate(count, ec);
        if (made != nullptr) {
            move_to(made, memory, old_count < count ? old_count : count, old_count);
        }
        return made;
    }

    /// Constructs an element, whose own allocators bind to this segment. A plain struct with arrays
    /// takes its arguments member by member: `emplace_back(1, "bob")`. Throws what the constructor
    /// throws.
    template <class U, class... Arguments>
    void
    construct(U* at,
              Arguments&&... arguments) noexcept(std::is_nothrow_constructible_v<U, Arguments...>) {
        if constexpr (std::is_trivially_copyable_v<U>) { // holds no allocator
            detail::construct_from<U>(at, std::forward<Arguments>(arguments)...);
        } else {
            const detail::construction_scope scope(segment_.get());
            detail::construct_from<U>(at, std::forward<Arguments>(arguments)...);
        }
    }

    /// Is it bound to a segment?
    explicit operator bool() const noexcept { return segment_ != nullptr; }

    template <class U>
    [[nodiscard]] bool operator==(const shm_allocator<U>& other) const noexcept {
        return segment_ == other.segment_;
    }

    [[nodiscard]] size_type max_size() const noexcept { return PTRDIFF_MAX / sizeof(T); }

    // For the containers: of the segment that it is bound to, or nullptr.
    [[nodiscard]] detail::segment_header* header() const noexcept { return segment_.get(); }

    // The same for an allocator that is known to be bound and to lie in its segment.
    [[nodiscard]] detail::segment_header& bound_header() const noexcept {
        return *segment_.unchecked();
    }

    // For the handles, from a segment's header.
    explicit shm_allocator(detail::segment_header& header) noexcept : segment_(&header) {}

  private:
    template <class>
    friend class shm_allocator;

    [[nodiscard]] detail::segment_header* around() const noexcept {
        return detail::construction_scope::around(reinterpret_cast<std::uintptr_t>(this));
    }

    detail::segment_header* bind(detail::segment_header* original) noexcept {
        if (detail::segment_header* const here = around(); here != nullptr) {
            return here;
        }
        return original != nullptr ? original
                                   : detail::segment_around(reinterpret_cast<std::uintptr_t>(this));
    }

    T* allocated(size_type count, std::error_code& ec) noexcept {
        static_assert(
            !std::is_pointer_v<T>,
            "cohold: this container keeps plain pointers (std::unordered_map, unordered_set "
            "and deque do), which mean nothing in another process. Use those of cohold or "
            "of Boost.Container");
        T* const memory = at_hand(count);
        return memory != nullptr ? memory
                                 : static_cast<T*>(detail::allocate_objects(
                                       segment_.get(), count, sizeof(T), alignof(T), ec));
    }

    [[gnu::cold, gnu::noinline]] T* allocated_or_throw(size_type count) {
        std::error_code ec;
        T* const memory = allocated(count, ec);
        detail::raise_if(ec);
        return memory;
    }

    void move_to(const pointer& made, const pointer& memory, size_type kept,
                 size_type old_count) noexcept {
        if (memory != nullptr) {
            std::memcpy(static_cast<void*>(made.get()), memory.get(), kept * sizeof(T));
            deallocate(memory, old_count);
        }
    }

    [[gnu::always_inline]] T* at_hand(size_type count) noexcept {
        if (alignof(T) <= 16 && count <= detail::largest_slab_block / sizeof(T) &&
            segment_ != nullptr) [[likely]] {
            return static_cast<T*>(
                detail::allocate_at_hand(*segment_.unchecked(), count * sizeof(T)));
        }
        return nullptr;
    }

    offset_ptr<detail::segment_header> segment_;
};

static_assert(sizeof(shm_allocator<char>) == 8);

COHOLD_NAMESPACE_END

#endif
