// shm_shared_ptr and shm_weak_ptr: pointers of several processes to one object in a segment, which
// is freed when no living process refers to it any more.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_SHARED_PTR_HPP
#define COHOLD_CONTAINER_SHM_SHARED_PTR_HPP

#include <compare>
#include <cstddef>
#include <string_view> // std::hash, for less than <functional> costs
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/new_object.hpp>
#include <cohold/container/detail/owned_array.hpp>
#include <cohold/container/detail/shared_words.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T>
class shm_weak_ptr;

namespace detail {

template <class From, class To>
concept shared_pointer_converts = std::is_convertible_v<From*, To*>;

template <class T>
inline constexpr bool is_destroyed_trivially =
    std::is_trivially_destructible_v<std::remove_extent_t<T>>;

template <class T>
void destroy_shared(void* object) noexcept {
    std::launder(static_cast<T*>(object))->~T();
}

// The type as a control block records it. It is not 0.
template <class T>
inline constexpr std::uint64_t shared_hash_of = type_descriptor_of<T>.hash | 1;
template <class T>
inline constexpr std::uint64_t shared_hash_of<T[]> = type_descriptor_of<owned_array<T>>.hash | 1;

// This program can destroy shared objects of the type.
template <class T>
inline const known_shared_type known_type_of{
    {shared_hash_of<T>, sizeof(T), &destroy_shared<T>, nullptr}};
template <class T>
inline const known_shared_type known_type_of<T[]>{{shared_hash_of<T[]>, owned_array<T>::distance,
                                                   &owned_array<T>::destroy_block,
                                                   &owned_array<T>::bytes_at}};

} // namespace detail

/// Refers to an object in a segment together with other pointers, of this and other processes, as
/// std::shared_ptr does. It may lie in the same segment (as an element of a container or a member
/// of a struct) or outside, for example on a stack. make_shm_shared makes the object.
///
/// Pointers in the segment are counted there: every operation that changes one happens completely
/// or not at all, and is undone with the section that it is a part of. Pointers outside it are
/// counted by each process.
///
/// *Errors* of copying, moving and assigning: errc::out_of_space and reserve_exceeded, where a
/// pointer in the segment is changed; those of a thread's first use of a segment. *Complexity*:
/// constant.
///
/// *Thread and process safety*: as for std::shared_ptr: any number of threads may use different
/// pointers to one object; one pointer may be changed by one thread at a time.
///
/// *If the process is killed*: its pointers outside the segment no longer count; recovery frees the
/// objects to which no other pointer refers. If they have a destructor, the next program that knows
/// the type calls it: in make_shm_shared, in segment::recover, or when it releases an object.
///
/// A shm_shared_ptr<T[]> shares an array, and does not tell its size.
template <class T>
class shm_shared_ptr {
    static constexpr bool is_array = std::is_unbounded_array_v<T>;

    static_assert(
        ((std::is_object_v<T> || std::is_void_v<T>) && !std::is_array_v<T>) ||
            (is_array && !std::is_array_v<std::remove_extent_t<T>>),
        "cohold: the T of shm_shared_ptr<T> is an object type, void, or an array U[]. Use "
        "std::array instead of U[3]");

  public:
    /// T, or of an array its elements.
    using element_type = std::remove_extent_t<T>;
    using weak_type = shm_weak_ptr<T>;

    /// Null.
    shm_shared_ptr() noexcept = default;

    shm_shared_ptr(std::nullptr_t) noexcept {} // NOLINT: converts as in std

    /// *Errors*: errc::unsupported if it lies in a segment and the object in another one;
    /// errc::not_owner if it lies in a segment and `other` was inherited from the parent of a
    /// forked child; those of attaching; out_of_space if the process has no memory.
    shm_shared_ptr(const shm_shared_ptr& other) {
        words_.copy(other.words_, other.address(), strong, strong);
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_shared_ptr(const shm_shared_ptr<U>& other) { // NOLINT: converts as in std
        words_.copy(other.words_, writable(other.get()), strong, strong);
    }

    /// The errors of copying end the program with a message.
    shm_shared_ptr(shm_shared_ptr&& other) noexcept {
        words_.move(other.words_, other.address(), strong);
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_shared_ptr(shm_shared_ptr<U>&& other) noexcept { // NOLINT: converts as in std
        words_.move(other.words_, writable(other.get()), strong);
    }

    /// Keeps the object of `owner`, and points to a part of it, or to anything in the same segment
    /// that lives as long.
    template <class U>
    shm_shared_ptr(const shm_shared_ptr<U>& owner, element_type* part) {
        words_.copy(owner.words_, writable(part), strong, strong);
    }

    /// *Errors*: errc::empty if the object is gone, and those of copying.
    template <class U>
        requires detail::shared_pointer_converts<U, T>
    explicit shm_shared_ptr(const shm_weak_ptr<U>& weak) {
        words_.lock(weak.words_);
        if (words_.is_null()) {
            detail::raise(errc::empty, "shm_shared_ptr: the object of the weak pointer is gone");
        }
    }

    ~shm_shared_ptr() {
        know();
        words_.end(strong);
    }

    shm_shared_ptr& operator=(const shm_shared_ptr& other) {
        if (this != __builtin_addressof(other)) {
            words_.assign(other.words_, other.address(), strong, strong);
        }
        return *this;
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_shared_ptr& operator=(const shm_shared_ptr<U>& other) {
        words_.assign(other.words_, writable(other.get()), strong, strong);
        return *this;
    }

    shm_shared_ptr& operator=(shm_shared_ptr&& other) {
        if (this != __builtin_addressof(other)) {
            words_.assign_moved(other.words_, other.address(), strong);
        }
        return *this;
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_shared_ptr& operator=(shm_shared_ptr<U>&& other) {
        words_.assign_moved(other.words_, writable(other.get()), strong);
        return *this;
    }

    shm_shared_ptr& operator=(std::nullptr_t) noexcept {
        reset();
        return *this;
    }

    void reset() noexcept { words_.clear(strong); }

    void swap(shm_shared_ptr& other) { words_.swap(other.words_, strong); }

    friend void swap(shm_shared_ptr& a, shm_shared_ptr& b) { a.swap(b); }

    [[nodiscard]] element_type* get() const noexcept {
        return static_cast<element_type*>(address());
    }

    [[nodiscard]] std::add_lvalue_reference_t<element_type> operator*() const noexcept
        requires(!std::is_void_v<T> && !is_array)
    {
        return *get();
    }

    [[nodiscard]] element_type* operator->() const noexcept
        requires(!std::is_void_v<T> && !is_array)
    {
        return get();
    }

    /// An element of an array.
    [[nodiscard]] std::add_lvalue_reference_t<element_type>
    operator[](std::size_t index) const noexcept
        requires is_array
    {
        return get()[index];
    }

    [[nodiscard]] explicit operator bool() const noexcept { return address() != nullptr; }

    /// The pointers in the segment and those of this process, plus one for each other process that
    /// has any. 1: only this pointer refers to the object. Others may change it at any moment.
    [[nodiscard]] std::size_t use_count() const noexcept { return words_.use_count(); }

    /// Orders pointers by the objects that they keep, not by those that they point to.
    template <class U>
    [[nodiscard]] bool owner_before(const shm_shared_ptr<U>& other) const noexcept {
        return words_.block() < other.words_.block();
    }

    template <class U>
    [[nodiscard]] bool owner_before(const shm_weak_ptr<U>& other) const noexcept {
        return words_.block() < other.words_.block();
    }

  private:
    template <class>
    friend class shm_shared_ptr;
    template <class>
    friend class shm_weak_ptr;

    friend detail::pointer_factory;

    static constexpr detail::reference strong = detail::reference::strong;

    [[nodiscard]] void* address() const noexcept { return words_.object(); }

    [[nodiscard]] static void* writable(const volatile void* object) noexcept {
        return const_cast<void*>(object);
    }

    // For pointer_factory.
    template <class Where, class... Arguments>
    static shm_shared_ptr make(const Where& where, std::error_code& ec, Arguments&&... arguments) {
        using object = std::remove_cv_t<element_type>;
        [[maybe_unused]] constexpr bool good = detail::assert_shareable<object>();
        know();
        shm_shared_ptr made;
        auto memory = detail::memory_for<object>(where);
        if constexpr (is_array) {
            detail::check_array_arguments<Arguments...>();
            using layout = detail::owned_array<object>;
            const std::size_t bytes = layout::bytes(detail::array_count<object>(ec, arguments...));
            if (ec) {
                return made;
            }
            detail::new_shared block(memory.header(), bytes, layout::distance, type_hash(), ec);
            if (!ec) {
                detail::construct_array(memory, block.address(), arguments...);
                block.publish(made.words_, layout::elements(block.address()), ec);
                if (ec) {
                    layout::destroy_block(block.address());
                }
            }
        } else {
            detail::new_shared block(memory.header(), sizeof(object), alignof(object), type_hash(),
                                     ec);
            if (!ec) {
                memory.construct(static_cast<object*>(block.address()),
                                 std::forward<Arguments>(arguments)...);
                block.publish(made.words_, block.address(), ec);
                if (ec) {
                    detail::destroy_shared<object>(block.address());
                }
            }
        }
        return made;
    }

    // 0: the object need not be destroyed.
    [[nodiscard]] static constexpr std::uint64_t type_hash() noexcept {
        if constexpr (detail::is_destroyed_trivially<T>) {
            return 0;
        } else {
            return detail::shared_hash_of<std::remove_cv_t<T>>;
        }
    }

    // So that this program can destroy the object.
    static void know() noexcept {
        if constexpr (!std::is_void_v<T>) {
            if constexpr (!detail::is_destroyed_trivially<T> &&
                          shareable<std::remove_cv_t<element_type>>) {
                static_cast<void>(&detail::known_type_of<std::remove_cv_t<T>>);
            }
        }
    }

    detail::shared_words words_;
};

/// Refers to an object without keeping it.
///
/// *Errors*, *complexity*, *thread and process safety* and what is left *if the process is killed*:
/// as for shm_shared_ptr.
template <class T>
class shm_weak_ptr {
  public:
    /// T, or of an array its elements.
    using element_type = std::remove_extent_t<T>;

    /// Null.
    shm_weak_ptr() noexcept = default;

    /// *Errors*: those of copying a shm_shared_ptr, also below.
    shm_weak_ptr(const shm_weak_ptr& other) {
        words_.copy(other.words_, other.words_.object(), weak, weak);
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_weak_ptr(const shm_weak_ptr<U>& other) { // NOLINT: converts as in std
        words_.copy(other.words_, converted(other), weak, weak);
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_weak_ptr(const shm_shared_ptr<U>& other) { // NOLINT: converts as in std
        words_.copy(other.words_, writable(other.get()), detail::reference::strong, weak);
    }

    shm_weak_ptr(shm_weak_ptr&& other) noexcept {
        words_.move(other.words_, other.words_.object(), weak);
    }

    ~shm_weak_ptr() { words_.end(weak); }

    shm_weak_ptr& operator=(const shm_weak_ptr& other) {
        if (this != __builtin_addressof(other)) {
            words_.assign(other.words_, other.words_.object(), weak, weak);
        }
        return *this;
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_weak_ptr& operator=(const shm_shared_ptr<U>& other) {
        words_.assign(other.words_, writable(other.get()), detail::reference::strong, weak);
        return *this;
    }

    template <class U>
        requires detail::shared_pointer_converts<U, T>
    shm_weak_ptr& operator=(const shm_weak_ptr<U>& other) {
        words_.assign(other.words_, converted(other), weak, weak);
        return *this;
    }

    shm_weak_ptr& operator=(shm_weak_ptr&& other) {
        if (this != __builtin_addressof(other)) {
            words_.assign_moved(other.words_, other.words_.object(), weak);
        }
        return *this;
    }

    void reset() noexcept { words_.clear(weak); }

    void swap(shm_weak_ptr& other) { words_.swap(other.words_, weak); }

    friend void swap(shm_weak_ptr& a, shm_weak_ptr& b) { a.swap(b); }

    /// The object, or null if it is gone. *Errors*: those of copying.
    [[nodiscard]] shm_shared_ptr<T> lock() const {
        shm_shared_ptr<T> kept;
        kept.words_.lock(words_);
        return kept;
    }

    [[nodiscard]] bool expired() const noexcept { return use_count() == 0; }

    [[nodiscard]] std::size_t use_count() const noexcept { return words_.use_count(); }

    template <class U>
    [[nodiscard]] bool owner_before(const shm_shared_ptr<U>& other) const noexcept {
        return words_.block() < other.words_.block();
    }

    template <class U>
    [[nodiscard]] bool owner_before(const shm_weak_ptr<U>& other) const noexcept {
        return words_.block() < other.words_.block();
    }

  private:
    template <class>
    friend class shm_shared_ptr;
    template <class>
    friend class shm_weak_ptr;

    static constexpr detail::reference weak = detail::reference::weak;

    // The object may be gone, but a base lies at a fixed distance.
    template <class U>
    [[nodiscard]] static void* converted(const shm_weak_ptr<U>& other) noexcept {
        return writable(static_cast<std::remove_extent_t<U>*>(other.words_.object()));
    }

    [[nodiscard]] static void* writable(element_type* object) noexcept {
        return const_cast<std::remove_cv_t<element_type>*>(object);
    }

    detail::shared_words words_;
};

template <class T>
shm_weak_ptr(shm_shared_ptr<T>) -> shm_weak_ptr<T>;

template <class T>
shm_shared_ptr(shm_weak_ptr<T>) -> shm_shared_ptr<T>;

/// The same object, seen as another type.
template <class T, class U>
[[nodiscard]] shm_shared_ptr<T> static_pointer_cast(const shm_shared_ptr<U>& from) {
    return {from, static_cast<std::remove_extent_t<T>*>(from.get())};
}

template <class T, class U>
[[nodiscard]] shm_shared_ptr<T> const_pointer_cast(const shm_shared_ptr<U>& from) {
    return {from, const_cast<std::remove_extent_t<T>*>(from.get())};
}

/// Makes an object that pointers share, in a segment: `where` is the segment, a `shared`, or one of
/// its allocators. A plain struct takes its arguments member by member. An array T[] takes the
/// number of its elements and, if wanted, the value that they are copies of; otherwise they are
/// value-initialised. *Errors*: those of shm_allocator::allocate, errc::invalid_size for a negative
/// number, and those of T's constructor, as in segment::construct; then nothing stays.
///
/// *If the process is killed*: nothing stays. In a section that is undone, the object stays as long
/// as a pointer outside the segment refers to it.
template <class T, class Where, class... Arguments>
[[nodiscard]] shm_shared_ptr<T> make_shm_shared(const Where& where, std::error_code& ec,
                                                Arguments&&... arguments) {
    return detail::pointer_factory::make<shm_shared_ptr<T>>(where, ec,
                                                            std::forward<Arguments>(arguments)...);
}

template <class T, class Where, class... Arguments>
[[nodiscard]] shm_shared_ptr<T> make_shm_shared(const Where& where, Arguments&&... arguments) {
    return detail::pointer_factory::make_or_throw<shm_shared_ptr<T>>(
        where, std::forward<Arguments>(arguments)...);
}

/// The addresses in this process.
template <class T, class U>
[[nodiscard]] bool operator==(const shm_shared_ptr<T>& a, const shm_shared_ptr<U>& b) noexcept {
    return a.get() == b.get();
}

template <class T>
[[nodiscard]] bool operator==(const shm_shared_ptr<T>& a, std::nullptr_t) noexcept {
    return !a;
}

template <class T, class U>
[[nodiscard]] std::strong_ordering operator<=>(const shm_shared_ptr<T>& a,
                                               const shm_shared_ptr<U>& b) noexcept {
    return a.get() <=> b.get();
}

template <class T>
inline constexpr bool enable_shareable<shm_shared_ptr<T>> = true;
template <class T>
inline constexpr bool enable_shareable<shm_weak_ptr<T>> = true;

namespace detail {

template <class T>
inline constexpr bool saves_itself<shm_shared_ptr<T>> = true;
template <class T>
inline constexpr bool saves_itself<shm_weak_ptr<T>> = true;

} // namespace detail

template <class T>
struct type_description<shm_shared_ptr<T>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_shared_ptr<");
        detail::describe_pointee<T>(out);
        out.text(">");
    }
};

template <class T>
struct type_description<shm_weak_ptr<T>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_weak_ptr<");
        detail::describe_pointee<T>(out);
        out.text(">");
    }
};

/// Orders shm_shared_ptr and shm_weak_ptr by the objects that they keep, as std::owner_less<> does
/// with those of std: for a shm_set<shm_weak_ptr<T>, owner_less>, for instance. The order of the
/// objects of one segment is the same in every process.
struct owner_less {
    using is_transparent = void;

    template <class A, class B>
        requires requires(const A& a, const B& b) { a.owner_before(b); }
    [[nodiscard]] bool operator()(const A& a, const B& b) const noexcept {
        return a.owner_before(b);
    }
};

COHOLD_NAMESPACE_END

/// Of the address in this process: it differs between processes.
template <class T>
struct std::hash<cohold::shm_shared_ptr<T>> {
    [[nodiscard]] std::size_t operator()(const cohold::shm_shared_ptr<T>& from) const noexcept {
        return std::hash<typename cohold::shm_shared_ptr<T>::element_type*>{}(from.get());
    }
};

#endif
