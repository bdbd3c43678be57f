// Objects that pointers own: making one in a segment, and whether a pointer may lie where it does.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_NEW_OBJECT_HPP
#define COHOLD_CONTAINER_DETAIL_NEW_OBJECT_HPP

#include <cstddef>
#include <cstdint>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/shm_allocator.hpp>
#include <cohold/engine/section.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// An allocator of the segment. `where`: a handle or any allocator of it.
template <class T, class Where>
[[nodiscard]] shm_allocator<T> memory_for(const Where& where) {
    if constexpr (requires { where.template allocator<T>(); }) {
        return where.template allocator<T>();
    } else {
        static_assert(std::is_convertible_v<const Where&, shm_allocator<T>>,
                      "cohold: the first argument says where the object is made: a segment, a "
                      "shared or a shm_allocator");
        return where;
    }
}

// Memory for one object, and the section in which it is made: if its constructor throws or the
// process is killed, nothing stays.
template <class T>
class new_object {
  public:
    new_object(const shm_allocator<T>& memory, std::error_code& ec) noexcept
        : memory_(memory), section_(caller(memory.header(), ec), false) {
        if (!ec) {
            block_ = allocate_objects(memory.header(), 1, sizeof(T), alignof(T), ec);
        }
    }

    new_object(const new_object&) = delete;
    new_object& operator=(const new_object&) = delete;

    ~new_object() {
        if (block_ != nullptr) {
            deallocate(*memory_.header(), block_);
        }
    }

    template <class... Arguments>
    void construct(Arguments&&... arguments) {
        memory_.construct(static_cast<T*>(block_), std::forward<Arguments>(arguments)...);
    }

    [[nodiscard]] T* release() noexcept {
        return std::launder(static_cast<T*>(std::exchange(block_, nullptr)));
    }

  private:
    [[nodiscard]] static transaction* caller(segment_header* header, std::error_code& ec) noexcept {
        const error_context context("allocate", "", "");
        if (header == nullptr) {
            fail(ec, errc::no_segment, "an object of %zu bytes", sizeof(T));
            return nullptr;
        }
        return self(*header, ec);
    }

    shm_allocator<T> memory_;
    section section_;
    void* block_ = nullptr;
};

// Makes an object and its pointer, by the pointer's own make(where, ec, arguments…).
struct pointer_factory {
    template <class Pointer, class Where, class... Arguments>
    static Pointer make(const Where& where, std::error_code& ec, Arguments&&... arguments) {
        ec.clear();
        return reported(
            ec, [&] { return Pointer::make(where, ec, std::forward<Arguments>(arguments)...); });
    }

    template <class Pointer, class Where, class... Arguments>
    static Pointer make_or_throw(const Where& where, Arguments&&... arguments) {
        return thrown([&](std::error_code& ec) {
            return Pointer::make(where, ec, std::forward<Arguments>(arguments)...);
        });
    }
};

// Is the address in the mapping of the allocator's segment?
template <class T>
[[nodiscard]] bool is_in_segment(const shm_allocator<T>& memory, const void* at) noexcept {
    const segment_header* const header = memory.header();
    return header != nullptr &&
           reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(header) <
               local_of(*header).reserve;
}

// The address of an object of the segment `from` in another mapping of it. Not all segments can
// have pointers to it: errc::unsupported.
[[nodiscard, gnu::cold]] void* address_elsewhere(segment_header* home, segment_header& from,
                                                 void* object);

// The address by which a pointer at `holder`, whose own segment is that of `home`, can refer to an
// object that another pointer has. *Errors*: errc::unsupported if both are in different segments.
template <class T, class Home, class From>
[[nodiscard]] T* address_for(const shm_allocator<Home>& home, const void* holder,
                             const shm_allocator<From>& from, T* object) {
    if (home == from || !is_in_segment(home, holder)) {
        return object;
    }
    return static_cast<T*>(address_elsewhere(home.header(), *from.header(),
                                             const_cast<std::remove_const_t<T>*>(object)));
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/new_object.ipp>
#endif

#endif
