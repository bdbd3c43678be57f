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

// Memory for what is made, and the section in which that happens: if a constructor throws or the
// process is killed, nothing stays.
class new_block {
  public:
    // Nothing, if there is an error already.
    new_block(segment_header* header, std::size_t bytes, std::size_t alignment,
              std::error_code& ec) noexcept
        : header_(header), section_(caller(header, bytes, ec), false) {
        if (!ec) {
            block_ = allocate_objects(header, 1, bytes, alignment, ec);
        }
    }

    new_block(const new_block&) = delete;
    new_block& operator=(const new_block&) = delete;

    ~new_block() {
        if (block_ != nullptr) {
            deallocate(*header_, block_);
        }
    }

    [[nodiscard]] void* address() const noexcept { return block_; }

    [[nodiscard]] void* release() noexcept { return std::exchange(block_, nullptr); }

  private:
    [[nodiscard]] static transaction* caller(segment_header* header, std::size_t bytes,
                                             std::error_code& ec) noexcept {
        if (ec) {
            return nullptr;
        }
        const error_context context("allocate", "", "");
        if (header == nullptr) {
            fail(ec, errc::no_segment, "an object of %zu bytes", bytes);
            return nullptr;
        }
        return self(*header, ec);
    }

    segment_header* header_;
    section section_;
    void* block_ = nullptr;
};

// One object.
template <class T>
class new_object {
  public:
    new_object(const shm_allocator<T>& memory, std::error_code& ec) noexcept
        : memory_(memory), block_(memory.header(), sizeof(T), alignof(T), ec) {}

    template <class... Arguments>
    void construct(Arguments&&... arguments) {
        memory_.construct(static_cast<T*>(block_.address()), std::forward<Arguments>(arguments)...);
    }

    [[nodiscard]] T* release() noexcept { return std::launder(static_cast<T*>(block_.release())); }

  private:
    shm_allocator<T> memory_;
    new_block block_;
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
