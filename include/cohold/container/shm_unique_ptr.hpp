// shm_unique_ptr: the only owner of an object in a segment, itself in the segment or on a stack.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_UNIQUE_PTR_HPP
#define COHOLD_CONTAINER_SHM_UNIQUE_PTR_HPP

#include <compare>
#include <cstddef>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/new_object.hpp>
#include <cohold/container/detail/owned_array.hpp>
#include <cohold/container/detail/undo.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// Owns an object in a segment and destroys it, as std::unique_ptr does. It may lie in the same
/// segment (as an element of a container or a member of a struct) or outside, for example on a
/// stack. make_shm_unique makes one.
///
/// A shm_unique_ptr<T[]> owns an array and knows its size.
///
/// Every operation that changes one in a segment happens completely or not at all, and is undone
/// with the section that it is a part of.
///
/// *Complexity*: constant, and that of destroying the object. *Thread and process safety*: as for
/// std::unique_ptr: one thread at a time.
///
/// *If the process is killed*: an object whose pointer lies in a segment stays. An object whose
/// pointer lay outside is leaked; one that a shm_shared_ptr shares would be freed.
template <class T>
class shm_unique_ptr {
    static constexpr bool is_array = std::is_unbounded_array_v<T>;

    static_assert((std::is_object_v<T> && !std::is_array_v<T> && !std::is_volatile_v<T>) ||
                      (is_array && !std::is_volatile_v<std::remove_extent_t<T>> &&
                       !std::is_array_v<std::remove_extent_t<T>>),
                  "cohold: the T of shm_unique_ptr<T> is an object type without volatile, or an "
                  "array U[] of those. Use std::array instead of U[3]");

    using object_type = std::remove_const_t<std::remove_extent_t<T>>;
    using memory = shm_allocator<object_type>;

  public:
    /// T, or of an array its elements.
    using element_type = std::remove_extent_t<T>;
    using pointer = element_type*;

    /// Null.
    shm_unique_ptr() noexcept = default;

    shm_unique_ptr(std::nullptr_t) noexcept {} // NOLINT: converts as in std

    /// Owns an object that release() has given away. *Errors*: errc::no_segment if it is in none
    /// that this process has mapped.
    explicit shm_unique_ptr(pointer object) { reset(object); }

    /// The object must be in a segment in which the new pointer may lie: moving to another segment
    /// ends the program with a message.
    shm_unique_ptr(shm_unique_ptr&& other) noexcept : memory_(other.memory_) { take(other); }

    template <class U>
        requires(std::is_same_v<const U, T>)
    shm_unique_ptr(shm_unique_ptr<U>&& other) noexcept // NOLINT: converts as in std
        : memory_(other.memory_) {
        take(other);
    }

    /// If it lies in a segment while no section is open, destroying it is a section of its own.
    ~shm_unique_ptr() {
        [[maybe_unused]] constexpr bool good = detail::assert_shareable<object_type>();
        if (detail::has_open_sections()) [[unlikely]] {
            detail::forget_in_open_sections(this, sizeof *this); // also if it is null now
        }
        if (object_ == nullptr || detail::is_inherited_from_parent(memory_)) {
            return;
        }
        if (detail::is_alone_in_segment(memory_, this)) {
            exchange(nullptr);
            detail::keep_stores_of(this);
            return;
        }
        bool open = false;
        detail::if_section_open(memory_, detail::without_journal::happens, [&](record& section) {
            section.ends(this, sizeof *this);
            destroy(section, writable(get()));
            open = true;
        });
        if (!open) {
            record none(nullptr, detail::without_journal::happens);
            destroy(none, writable(get()));
        }
    }

    /// All or nothing. *Errors*: errc::unsupported if this lies in a segment and the object in
    /// another one.
    shm_unique_ptr& operator=(shm_unique_ptr&& other) {
        if (this != std::addressof(other)) {
            assign(other);
        }
        return *this;
    }

    template <class U>
        requires(std::is_same_v<const U, T>)
    shm_unique_ptr& operator=(shm_unique_ptr<U>&& other) {
        assign(other);
        return *this;
    }

    shm_unique_ptr& operator=(std::nullptr_t) noexcept {
        exchange(nullptr);
        return *this;
    }

    [[nodiscard]] pointer get() const noexcept { return object_.get(); }

    [[nodiscard]] element_type& operator*() const noexcept
        requires(!is_array)
    {
        return *get();
    }

    [[nodiscard]] pointer operator->() const noexcept
        requires(!is_array)
    {
        return get();
    }

    /// An element of an array. The index is below size().
    [[nodiscard]] element_type& operator[](std::size_t index) const noexcept
        requires is_array
    {
        return get()[index];
    }

    /// The number of elements of an array; 0 if this is null.
    [[nodiscard]] std::size_t size() const noexcept
        requires is_array
    {
        return object_ == nullptr ? 0 : detail::owned_array<object_type>::count(get());
    }

    [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

    /// Gives the object away, and is null afterwards. Undone with its section.
    [[nodiscard]] pointer release() noexcept {
        if (object_ == nullptr) {
            return nullptr;
        }
        operation section(memory_, detail::without_journal::happens);
        save(section);
        pointer const object = get();
        object_ = nullptr;
        return object;
    }

    /// Destroys the object.
    void reset() noexcept { exchange(nullptr); }

    void reset(std::nullptr_t) noexcept { exchange(nullptr); }

    /// Owns another object, that release() has given away, and destroys the one that it had.
    /// *Errors*: those of the constructor and of assignment.
    void reset(pointer object) {
        if (object != nullptr) {
            detail::segment_header* const around =
                detail::segment_around(reinterpret_cast<std::uintptr_t>(object));
            if (around == nullptr) {
                detail::raise(errc::no_segment,
                              "shm_unique_ptr: the object is in no segment of this process");
            }
            shm_unique_ptr owner;
            owner.memory_ = memory(*around);
            owner.object_ = object;
            assign(owner);
        } else {
            exchange(nullptr);
        }
    }

    /// All or nothing. *Errors*: those of assignment.
    void swap(shm_unique_ptr& other) {
        if (this == std::addressof(other)) {
            return;
        }
        if (memory_ == other.memory_) {
            operation section(memory_);
            save(section);
            other.save(section);
            pointer const object = get();
            object_ = other.get();
            other.object_ = object;
            return;
        }
        if (other.object_ != nullptr) { // both checks come before any change
            static_cast<void>(detail::address_for(memory_, this, other.memory_, other.get()));
        }
        if (object_ != nullptr) {
            static_cast<void>(detail::address_for(other.memory_, &other, memory_, get()));
        }
        shm_unique_ptr mine(std::move(*this));
        assign(other);
        other.assign(mine);
    }

    friend void swap(shm_unique_ptr& a, shm_unique_ptr& b) { a.swap(b); }

  private:
    template <class>
    friend class shm_unique_ptr;

    friend detail::pointer_factory;

    using operation = detail::undo_scope<memory>;
    using record = detail::undo_record<memory>;

    [[nodiscard]] static object_type* writable(pointer object) noexcept {
        return const_cast<object_type*>(object);
    }

    void save(record& section) { section.words(this, this, sizeof *this); }

    // *this has not been used yet: it is under construction.
    template <class U>
    void take(shm_unique_ptr<U>& other) noexcept {
        if (other.object_ == nullptr) {
            return;
        }
        pointer const object = detail::address_for(memory_, this, other.memory_, other.get());
        operation section(other.memory_, detail::without_journal::happens);
        section.begins(this, this, sizeof *this);
        other.save(section);
        other.object_ = nullptr;
        object_ = object;
    }

    template <class U>
    void assign(shm_unique_ptr<U>& other) {
        if (other.object_ == nullptr) {
            exchange(nullptr);
            return;
        }
        pointer const object = detail::address_for(memory_, this, other.memory_, other.get());
        if (memory_ == other.memory_) {
            operation section(memory_);
            save(section);
            other.save(section);
            object_type* const old = writable(get());
            other.object_ = nullptr;
            object_ = object;
            destroy(section, old);
            return;
        }
        const shm_unique_ptr old(std::move(*this)); // its object may be in a segment of its own
        operation section(other.memory_);
        save(section);
        other.save(section);
        if (!detail::is_in_segment(memory_, this)) {
            memory_ = other.memory_;
        }
        other.object_ = nullptr;
        object_ = object;
    }

    void exchange(std::nullptr_t) noexcept {
        if (object_ == nullptr) {
            return;
        }
        operation section(memory_, detail::without_journal::happens);
        save(section);
        object_type* const old = writable(get());
        object_ = nullptr;
        destroy(section, old);
    }

    // The object ends with the section, or is still there if that is undone.
    void destroy(record& section, object_type* object) noexcept {
        if (object == nullptr) {
            return;
        }
        if constexpr (!std::is_trivially_destructible_v<object_type>) {
            const std::size_t bytes = is_array ? size_of(object) : sizeof *object;
            section.elements(object, bytes);
            const typename record::cover covered(section, object, bytes);
            if constexpr (is_array) {
                detail::owned_array<object_type>::destroy(object);
            } else {
                object->~object_type();
            }
        }
        if constexpr (is_array) {
            shm_allocator<char>(memory_).deallocate(
                static_cast<char*>(detail::owned_array<object_type>::block(object)), 1);
        } else {
            memory_.deallocate(object, 1);
        }
    }

    [[nodiscard]] static std::size_t size_of(const object_type* array) noexcept {
        return detail::owned_array<object_type>::count(array) * sizeof *array;
    }

    // For pointer_factory.
    template <class Where, class... Arguments>
    static shm_unique_ptr make(const Where& where, std::error_code& ec, Arguments&&... arguments) {
        [[maybe_unused]] constexpr bool good = detail::assert_shareable<object_type>();
        shm_unique_ptr made;
        const auto there = detail::memory_for<object_type>(where);
        if constexpr (is_array) {
            detail::check_array_arguments<Arguments...>();
            detail::new_array<object_type> object(there, ec, arguments...);
            if (!ec) {
                object.construct(arguments...);
                made.memory_ = there;
                made.object_ = object.release();
            }
        } else {
            detail::new_object<object_type> object(there, ec);
            if (!ec) {
                object.construct(std::forward<Arguments>(arguments)...);
                made.memory_ = there;
                made.object_ = object.release();
            }
        }
        return made;
    }

    offset_ptr<element_type> object_;
    memory memory_;
};

/// Makes an object in a segment: `where` is the segment, a `shared`, or one of its allocators. A
/// plain struct takes its arguments member by member. An array T[] takes the number of its elements
/// and, if wanted, the value that they are copies of; otherwise they are value-initialised.
/// *Errors*: those of shm_allocator::allocate, errc::invalid_size for a negative number, and those
/// of T's constructor, as in segment::construct; then nothing stays.
///
/// *If the process is killed*: in T's constructor, nothing stays. Afterwards the object is leaked
/// until its pointer has moved into the segment; make it in a section to exclude that.
template <class T, class Where, class... Arguments>
[[nodiscard]] shm_unique_ptr<T> make_shm_unique(const Where& where, std::error_code& ec,
                                                Arguments&&... arguments) {
    return detail::pointer_factory::make<shm_unique_ptr<T>>(where, ec,
                                                            std::forward<Arguments>(arguments)...);
}

template <class T, class Where, class... Arguments>
[[nodiscard]] shm_unique_ptr<T> make_shm_unique(const Where& where, Arguments&&... arguments) {
    return detail::pointer_factory::make_or_throw<shm_unique_ptr<T>>(
        where, std::forward<Arguments>(arguments)...);
}

/// The addresses in this process.
template <class T, class U>
[[nodiscard]] bool operator==(const shm_unique_ptr<T>& a, const shm_unique_ptr<U>& b) noexcept {
    return a.get() == b.get();
}

template <class T>
[[nodiscard]] bool operator==(const shm_unique_ptr<T>& a, std::nullptr_t) noexcept {
    return !a;
}

template <class T, class U>
[[nodiscard]] std::strong_ordering operator<=>(const shm_unique_ptr<T>& a,
                                               const shm_unique_ptr<U>& b) noexcept {
    return a.get() <=> b.get();
}

template <class T>
inline constexpr bool enable_shareable<shm_unique_ptr<T>> = true;

namespace detail {

template <class T>
inline constexpr bool saves_itself<shm_unique_ptr<T>> = true;

} // namespace detail

template <class T>
struct type_description<shm_unique_ptr<T>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_unique_ptr<");
        detail::describe_pointee<T>(out);
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

/// Of the address in this process: it differs between processes.
template <class T>
struct std::hash<cohold::shm_unique_ptr<T>> {
    [[nodiscard]] std::size_t operator()(const cohold::shm_unique_ptr<T>& from) const noexcept {
        return std::hash<typename cohold::shm_unique_ptr<T>::pointer>{}(from.get());
    }
};

#endif
