// An operation of a container that happens completely or not at all: a section in which it saves
// what it changes, and which is undone unless the operation is done.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_CONTAINER_OPERATION_HPP
#define COHOLD_CONTAINER_DETAIL_CONTAINER_OPERATION_HPP

#include <cstddef>

#include <cohold/container/detail/undo.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// An operation of several steps, each of which may fail when others are done. A container on a
// stack is restored then, too; the other operations save everything before they change anything.
struct several_steps_t {};

inline constexpr several_steps_t several_steps{};

template <class Allocator>
class container_operation {
  public:
    container_operation(const Allocator& allocator, several_steps_t /*steps*/,
                        without_journal otherwise = without_journal::fails)
        : section_(allocator, otherwise, true), reports_(otherwise == without_journal::reports),
          possible_(section_.is_there() || !has_segment(allocator)) {}

    explicit container_operation(const Allocator& allocator,
                                 without_journal otherwise = without_journal::fails)
        : section_(allocator, otherwise), reports_(otherwise == without_journal::reports),
          possible_(section_.is_there() || !has_segment(allocator)) {}

    container_operation(const container_operation&) = delete;
    container_operation& operator=(const container_operation&) = delete;

    ~container_operation() {
        if (!done_) {
            section_.roll_back();
        }
    }

    void done() noexcept { done_ = true; }

    [[nodiscard]] undo_scope<Allocator>& section() noexcept { return section_; }

    // Does it return, rather than throw, when memory runs out?
    [[nodiscard]] bool reports() const noexcept { return reports_; }

    // False, for an operation that reports failure: there is no section, but there should be one.
    [[nodiscard]] bool is_possible() const noexcept { return possible_; }

    // Saves an element before it changes. False, for an operation that reports failure, if that is
    // not possible.
    [[nodiscard]] bool saves(const void* at, std::size_t bytes) {
        if (reports_) {
            return possible_ && section_.try_elements(at, bytes);
        }
        section_.elements(at, bytes);
        return true;
    }

    // The same for words of a container, such as links.
    [[nodiscard]] bool saves_words(const void* at, std::size_t bytes) {
        if (reports_) {
            return possible_ && section_.try_elements(at, bytes);
        }
        section_.words(at, at, bytes);
        return true;
    }

    // Memory for `count` elements. Without any, an exception or, if the operation reports failure,
    // null.
    template <class Rebound>
    [[nodiscard]] auto allocate(Rebound& allocator, std::size_t count, const char* container) const
        -> typename std::allocator_traits<Rebound>::pointer {
        using traits = std::allocator_traits<Rebound>;
        if (!reports_) {
            return traits::allocate(allocator, static_cast<typename traits::size_type>(count));
        }
        if (!possible_) {
            return nullptr;
        }
        return allocate_or_report(allocator, count, container);
    }

  private:
    undo_scope<Allocator> section_;
    bool done_ = false;
    bool reports_;
    bool possible_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
