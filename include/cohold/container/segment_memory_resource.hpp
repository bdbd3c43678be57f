// The heap of a segment as a std::pmr::memory_resource. Empty if <memory_resource> has not been
// included before: cohold does not include it, because it costs compile time.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SEGMENT_MEMORY_RESOURCE_HPP
#define COHOLD_CONTAINER_SEGMENT_MEMORY_RESOURCE_HPP

#include <cstddef>
#include <system_error>
#include <type_traits>

#include <cohold/container/detail/new_object.hpp>
#include <cohold/container/shm_allocator.hpp>

#if defined(_GLIBCXX_MEMORY_RESOURCE) || defined(_LIBCPP_MEMORY_RESOURCE)

COHOLD_NAMESPACE_BEGIN

/// Gives the containers of std::pmr memory of a segment, for one process: for memory that counts
/// against the segment, is locked, or lies in huge pages or on a NUMA node as the segment does. The
/// containers keep plain pointers, and the resource has virtual functions. So neither may lie in a
/// segment, and no other process can use the containers; for that there are those of cohold.
///
/// It refers to the segment's mapping, which must outlive it, as an allocator does. Two are equal
/// if they are of the same mapping of the same segment. *Thread safety*: any number of threads may
/// allocate at the same time. *If the process is killed*, what it had allocated is leaked. A
/// section that is undone frees what was allocated in it, although containers refer to it: use them
/// outside of sections.
class segment_memory_resource final : public std::pmr::memory_resource {
  public:
    /// `where`: a segment, a `shared`, or an allocator of one.
    template <class Where>
        requires(!std::is_convertible_v<const Where&, const segment_memory_resource&>)
    explicit segment_memory_resource(const Where& where)
        : header_(detail::memory_for<char>(where).header()) {}

    segment_memory_resource(const segment_memory_resource&) noexcept = default;
    segment_memory_resource& operator=(const segment_memory_resource&) noexcept = default;
    ~segment_memory_resource() override = default;

  private:
    // *Errors*, as cohold::failure: those of shm_allocator::allocate.
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
        std::error_code ec;
        void* const memory =
            detail::allocate_objects(header_, bytes == 0 ? 1 : bytes, 1, alignment, ec);
        detail::raise_if(ec);
        return memory;
    }

    void do_deallocate(void* memory, std::size_t /*bytes*/, std::size_t /*alignment*/) override {
        detail::deallocate(*header_, memory);
    }

    [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
        if (this == &other) {
            return true;
        }
#if defined(__cpp_rtti)
        const auto* const same = dynamic_cast<const segment_memory_resource*>(&other);
        return same != nullptr && same->header_ == header_;
#else
        return false;
#endif
    }

    detail::segment_header* header_;
};

COHOLD_NAMESPACE_END

#else
#undef COHOLD_CONTAINER_SEGMENT_MEMORY_RESOURCE_HPP // it may be included again, after that
#endif

#endif
