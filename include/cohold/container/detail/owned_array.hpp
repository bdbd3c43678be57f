// Arrays that pointers own: the number of elements stands in front of them, in the same block.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_OWNED_ARRAY_HPP
#define COHOLD_CONTAINER_DETAIL_OWNED_ARRAY_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <system_error>
#include <type_traits>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/new_object.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Where things are in the block of an array of T. Only the type of shared arrays is called so in a
// segment; there are no objects of this class.
template <class T>
struct owned_array {
    // From the count, at the beginning of the block, to the first element.
    static constexpr std::size_t distance = alignof(T) < 16 ? 16 : alignof(T);
    static constexpr std::uint64_t most = (PTRDIFF_MAX - distance) / sizeof(T);

    [[nodiscard]] static T* elements(void* block) noexcept {
        return reinterpret_cast<T*>(static_cast<char*>(block) + distance);
    }

    [[nodiscard]] static void* block(T* elements) noexcept {
        return reinterpret_cast<char*>(elements) - distance;
    }

    [[nodiscard]] static std::uint64_t count_at(const void* block) noexcept {
        std::uint64_t count = 0;
        std::memcpy(&count, block, sizeof count);
        return count;
    }

    [[nodiscard]] static std::size_t count(const T* elements) noexcept {
        return static_cast<std::size_t>(
            count_at(reinterpret_cast<const char*>(elements) - distance));
    }

    [[nodiscard]] static constexpr std::size_t bytes(std::uint64_t count) noexcept {
        return distance + static_cast<std::size_t>(count) * sizeof(T);
    }

    // As a shared_type needs it: of a block whose bytes may be damaged.
    [[nodiscard]] static std::uint64_t bytes_at(const void* block) noexcept {
        const std::uint64_t count = count_at(block);
        return count <= most ? std::uint64_t{bytes(count)} : UINT64_MAX;
    }

    static void destroy(T* elements) noexcept {
        for (std::size_t left = count(elements); left != 0; --left) {
            std::launder(elements + left - 1)->~T();
        }
    }

    static void destroy_block(void* block) noexcept { destroy(elements(block)); }
};

template <class... Arguments>
inline constexpr bool are_array_arguments = false;
template <class Count>
inline constexpr bool are_array_arguments<Count> = std::integral<std::remove_cvref_t<Count>>;
template <class Count, class Value>
inline constexpr bool are_array_arguments<Count, Value> = are_array_arguments<Count>;

template <class... Arguments>
constexpr void check_array_arguments() noexcept {
    static_assert(are_array_arguments<Arguments...>,
                  "cohold: an array is made with the number of its elements and, if wanted, the "
                  "value that they are copies of");
}

// The arguments with which an array is made: how many elements, and of which value.
template <class T, std::integral Count, class... Value>
[[nodiscard]] std::uint64_t array_count(std::error_code& ec, const Count& count,
                                        const Value&... /*value*/) noexcept {
    const auto wanted = static_cast<std::uint64_t>(count); // a negative one is too large
    if (wanted > owned_array<T>::most) {
        const error_context context("allocate", "", "");
        fail(ec, errc::invalid_size, "an array of elements of %zu bytes", sizeof(T));
    }
    return wanted;
}

// Constructs the array in its block, all elements with T() or as copies of the value. If a
// constructor throws, the elements before that one end.
template <class T, std::integral Count, class... Value>
void construct_array(shm_allocator<T>& memory, void* block, const Count& count,
                     const Value&... value) {
    const auto wanted = static_cast<std::uint64_t>(count);
    ::new (block) std::uint64_t(wanted);

    struct building {
        T* first;
        T* end;

        ~building() {
            while (end != first) {
                (--end)->~T();
            }
        }
    };

    T* const first = owned_array<T>::elements(block);
    building made{first, first};
    for (std::uint64_t left = wanted; left != 0; --left) {
        memory.construct(made.end, value...);
        ++made.end;
    }
    made.end = first;
}

// Like new_object, for an array.
template <class T>
class new_array {
    using layout = owned_array<T>;

  public:
    template <class... Arguments>
    new_array(const shm_allocator<T>& memory, std::error_code& ec,
              const Arguments&... arguments) noexcept
        : memory_(memory), block_(memory.header(), layout::bytes(array_count<T>(ec, arguments...)),
                                  layout::distance, ec) {}

    template <class... Arguments>
    void construct(const Arguments&... arguments) {
        construct_array(memory_, block_.address(), arguments...);
    }

    [[nodiscard]] T* release() noexcept { return layout::elements(block_.release()); }

  private:
    shm_allocator<T> memory_;
    new_block block_;
};

// As a pointer's description names what it points to.
template <class T>
constexpr void describe_pointee(type_writer& out) {
    if constexpr (std::is_void_v<T>) {
        out.text("void");
    } else {
        out.type<std::remove_extent_t<T>>();
        if constexpr (std::is_array_v<T>) {
            out.text("[]");
        }
    }
}

} // namespace detail

template <class T>
inline constexpr bool enable_shareable<detail::owned_array<T>> = true;

template <class T>
struct type_description<detail::owned_array<T>> {
    static constexpr void write(type_writer& out) { detail::describe_pointee<T[]>(out); }
};

COHOLD_NAMESPACE_END

#endif
