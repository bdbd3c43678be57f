// A pointer that stays valid at any mapping address, because it holds the distance from itself to
// what it points to.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_OFFSET_PTR_HPP
#define COHOLD_TYPE_OFFSET_PTR_HPP

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator> // and std::pointer_traits, which its std::contiguous_iterator is made of
#include <limits>
#include <string_view> // std::hash, for less than <functional> costs
#include <type_traits>
#include <utility>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

class no_target; // what a pointer to void leads to

} // namespace detail

/// A pointer for objects in shared memory: 8 bytes on every platform, holding the signed distance
/// in bytes from itself to its target. Both must lie in the same segment.
///
/// It behaves as T* does: T may be void, const, incomplete or abstract; derived converts to base;
/// static_cast goes back. Copying computes the distance anew, so an offset_ptr is not trivially
/// copyable; bytes that hold it together with its target may be copied or mapped anywhere.
///
/// *Encoding*: 0 is null, so zeroed memory is a null pointer; INT64_MIN points to itself; 32- and
/// 64-bit programs agree as long as the distance is below 2 GiB.
///
/// *Thread and process safety*: as for a plain pointer: guard concurrent access where one writes.
template <class T>
class alignas(8) offset_ptr {
    static_assert(!std::is_reference_v<T>, "offset_ptr<T&>: there are no pointers to references");
    static_assert(!std::is_function_v<T>,
                  "offset_ptr to a function: code lies at another address in every process");

  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using difference_type = std::ptrdiff_t;
    using pointer = offset_ptr; // libstdc++'s vector iterators return one from operator->
    // Of nothing for void, as Boost has it: its containers name functions that take one.
    using reference = std::conditional_t<std::is_void_v<T>, detail::no_target, T>&;
    using iterator_category = std::random_access_iterator_tag;
    using iterator_concept = std::contiguous_iterator_tag;

    /// Null.
    constexpr offset_ptr() noexcept : offset_(distance::null) {}

    /// A constant expression for nullptr.
    constexpr offset_ptr(T* target) noexcept
        : offset_(target == nullptr ? distance::null : encode(target)) {}

    offset_ptr(const offset_ptr& other) noexcept : offset_(encode(other.get())) {}

    /// Converts as U* does to T*: derived to base, to const, to void.
    template <class U>
        requires(!std::is_same_v<U, T> && std::is_convertible_v<U*, T*>)
    offset_ptr(const offset_ptr<U>& other) noexcept : offset_(encode(other.get())) {}

    /// The conversions that take a static_cast: base to derived, from void.
    template <class U>
        requires(!std::is_convertible_v<U*, T*> && requires(U* from) { static_cast<T*>(from); })
    explicit offset_ptr(const offset_ptr<U>& other) noexcept
        : offset_(encode(static_cast<T*>(other.get()))) {}

    ~offset_ptr() = default;

    offset_ptr& operator=(const offset_ptr& other) noexcept { return *this = other.get(); }

    offset_ptr& operator=(T* target) noexcept {
        offset_ = encode(target);
        return *this;
    }

    /// The target at its address in this process.
    [[nodiscard]] T* get() const noexcept {
        // Null and self are the two values that a shift by one turns to 0: one test for both.
        if ((static_cast<std::uint64_t>(offset_) << 1) == 0) [[unlikely]] {
            return offset_ == distance::null ? nullptr : reinterpret_cast<T*>(own_address());
        }
        return reinterpret_cast<T*>(own_address() + static_cast<std::uintptr_t>(offset_));
    }

    /// get() without its tests, for hot paths. The pointer must be neither null nor point to
    /// itself: then the result is this or wild. And it must itself lie in shared memory: of a local
    /// one g++ may conclude that the target is no other variable that it knows.
    [[nodiscard]] T* unchecked() const noexcept {
        return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(this) +
                                    static_cast<std::uintptr_t>(offset_));
    }

    [[nodiscard]] explicit operator bool() const noexcept { return offset_ != distance::null; }

    reference operator*() const noexcept
        requires(!std::is_void_v<T>)
    {
        return *get();
    }

    T* operator->() const noexcept { return get(); }

    reference operator[](difference_type index) const noexcept
        requires(!std::is_void_v<T>)
    {
        return get()[index];
    }

    offset_ptr& operator+=(difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() + count;
    }

    offset_ptr& operator-=(difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() - count;
    }

    offset_ptr& operator++() noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() + 1;
    }

    offset_ptr operator++(int) noexcept
        requires(!std::is_void_v<T>)
    {
        T* before = get();
        *this = before + 1;
        return before;
    }

    offset_ptr& operator--() noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() - 1;
    }

    offset_ptr operator--(int) noexcept
        requires(!std::is_void_v<T>)
    {
        T* before = get();
        *this = before - 1;
        return before;
    }

    [[nodiscard]] friend offset_ptr operator+(const offset_ptr& from,
                                              difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return from.get() + count;
    }

    [[nodiscard]] friend offset_ptr operator+(difference_type count,
                                              const offset_ptr& from) noexcept
        requires(!std::is_void_v<T>)
    {
        return from.get() + count;
    }

    [[nodiscard]] friend offset_ptr operator-(const offset_ptr& from,
                                              difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return from.get() - count;
    }

    /// A pointer to an object, as std::pointer_traits and Boost's pointer_traits ask for it.
    [[nodiscard]] static offset_ptr
    pointer_to(std::conditional_t<std::is_void_v<T>, std::nullptr_t, T>& object) noexcept
        requires(!std::is_void_v<T>)
    {
        return __builtin_addressof(object);
    }

  private:
    // A type of its own: no store to anything else, be it to a std::int64_t, can change an offset,
    // so a loop that writes through the pointer need not load it again.
    enum class distance : std::int64_t {
        null = 0,
        self = std::numeric_limits<std::int64_t>::min()
    };

    [[nodiscard]] std::uintptr_t own_address() const noexcept {
        std::uintptr_t address = reinterpret_cast<std::uintptr_t>(this);
#if defined(__GNUC__) && !defined(__clang__)
        // g++ takes what is computed from this address for an address in *this, and where *this is
        // a local whose scope ends, warns of dangling pointers.
        asm("" : "+r"(address));
#endif
        return address;
    }

    // In unsigned arithmetic, which may wrap; then sign-extended, so that both widths agree.
    [[nodiscard]] distance encode(T* target) const noexcept {
        if (target == nullptr) {
            return distance::null;
        }
        const std::uintptr_t bytes = reinterpret_cast<std::uintptr_t>(target) - own_address();
        return bytes == 0 ? distance::self : distance{static_cast<std::intptr_t>(bytes)};
    }

    distance offset_;
};

static_assert(sizeof(offset_ptr<int>) == 8 && alignof(offset_ptr<int>) == 8);

template <class T, class U>
[[nodiscard]] std::ptrdiff_t operator-(const offset_ptr<T>& left,
                                       const offset_ptr<U>& right) noexcept
    requires requires { left.get() - right.get(); }
{
    return left.get() - right.get();
}

template <class T, class U>
[[nodiscard]] std::ptrdiff_t operator-(const offset_ptr<T>& left, U* right) noexcept
    requires requires { left.get() - right; }
{
    return left.get() - right;
}

template <class T, class U>
[[nodiscard]] std::ptrdiff_t operator-(T* left, const offset_ptr<U>& right) noexcept
    requires requires { left - right.get(); }
{
    return left - right.get();
}

/// Writes the address in this process, as that of a pointer, to a std::basic_ostream.
template <class Stream, class T>
Stream& operator<<(Stream& out, const offset_ptr<T>& pointer)
    requires requires {
        typename Stream::traits_type;
        out << pointer.get();
    }
{
    out << pointer.get();
    return out;
}

/// Compare the addresses in this process, as pointers do; also with raw pointers and nullptr.
template <class T, class U>
[[nodiscard]] bool operator==(const offset_ptr<T>& left, const offset_ptr<U>& right) noexcept
    requires requires { left.get() == right.get(); }
{
    return left.get() == right.get();
}

template <class T, class U>
[[nodiscard]] bool operator==(const offset_ptr<T>& left, U* right) noexcept
    requires requires { left.get() == right; }
{
    return left.get() == right;
}

template <class T>
[[nodiscard]] bool operator==(const offset_ptr<T>& left, std::nullptr_t) noexcept {
    return !left;
}

template <class T, class U>
[[nodiscard]] std::strong_ordering operator<=>(const offset_ptr<T>& left,
                                               const offset_ptr<U>& right) noexcept
    requires requires { left.get() <=> right.get(); }
{
    return left.get() <=> right.get();
}

template <class T, class U>
[[nodiscard]] std::strong_ordering operator<=>(const offset_ptr<T>& left, U* right) noexcept
    requires requires { left.get() <=> right; }
{
    return left.get() <=> right;
}

template <class T>
[[nodiscard]] std::strong_ordering operator<=>(const offset_ptr<T>& left, std::nullptr_t) noexcept {
    return left.get() <=> static_cast<T*>(nullptr);
}

/// static_cast, const_cast and reinterpret_cast of the pointer.
template <class T, class U>
[[nodiscard]] offset_ptr<T> static_pointer_cast(const offset_ptr<U>& from) noexcept {
    return static_cast<T*>(from.get());
}

template <class T, class U>
[[nodiscard]] offset_ptr<T> const_pointer_cast(const offset_ptr<U>& from) noexcept {
    return const_cast<T*>(from.get());
}

template <class T, class U>
[[nodiscard]] offset_ptr<T> reinterpret_pointer_cast(const offset_ptr<U>& from) noexcept {
    return reinterpret_cast<T*>(from.get());
}

COHOLD_NAMESPACE_END

template <class T>
struct std::pointer_traits<cohold::offset_ptr<T>> {
    using pointer = cohold::offset_ptr<T>;
    using element_type = T;
    using difference_type = std::ptrdiff_t;

    template <class U>
    using rebind = cohold::offset_ptr<U>;

    [[nodiscard]] static pointer
    pointer_to(std::conditional_t<std::is_void_v<T>, std::nullptr_t, T>& object) noexcept
        requires(!std::is_void_v<T>)
    {
        return pointer::pointer_to(object);
    }

    [[nodiscard]] static T* to_address(const pointer& from) noexcept { return from.get(); }
};

/// Of the address in this process: it differs between processes, so no hash table in shared memory
/// may keep it.
template <class T>
struct std::hash<cohold::offset_ptr<T>> {
    [[nodiscard]] std::size_t operator()(const cohold::offset_ptr<T>& from) const noexcept {
        return std::hash<T*>{}(from.get());
    }
};

#endif
