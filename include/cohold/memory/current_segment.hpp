// Which segment this thread constructs objects in: how allocators deep inside an object learn where
// they live.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_CURRENT_SEGMENT_HPP
#define COHOLD_MEMORY_CURRENT_SEGMENT_HPP

#include <cohold/memory/layout.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// While it lives, allocators that are constructed at an address of the segment, by this thread,
// bind to the segment. Uses-allocator construction alone would not reach the members of plain
// structs and arrays.
class construction_scope {
  public:
    explicit construction_scope(segment_header* header) noexcept
        : header_(header), outer_(innermost_) {
        innermost_ = this;
    }

    construction_scope(const construction_scope&) = delete;
    construction_scope& operator=(const construction_scope&) = delete;

    ~construction_scope() { innermost_ = outer_; }

    // The segment under construction that the address belongs to, or nullptr.
    // A number, because g++ takes the address of an object under construction for its use.
    [[nodiscard]] static segment_header* around(std::uintptr_t address) noexcept {
        for (const construction_scope* scope = innermost_; scope != nullptr;
             scope = scope->outer_) {
            const auto distance = address - reinterpret_cast<std::uintptr_t>(scope->header_);
            if (scope->header_ != nullptr && distance < scope->header_->reserve) {
                return scope->header_;
            }
        }
        return nullptr;
    }

  private:
    static inline thread_local constinit const construction_scope* innermost_ = nullptr;

    segment_header* header_;
    const construction_scope* outer_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
