// What segment, segment_view and shared let everybody see.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SEGMENT_OBSERVERS_HPP
#define COHOLD_HANDLE_SEGMENT_OBSERVERS_HPP

#include <cohold/handle/participants.hpp>
#include <cohold/handle/segment_base.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Policies>
class segment_observers {
  public:
    using mechanism_type = typename Policies::mechanism;
    using native_handle_type = typename Policies::mechanism::native_handle_type;

    /// Is a segment attached?
    explicit operator bool() const noexcept { return static_cast<bool>(base_); }

    /// The name as it was given; empty for unnamed and adopted segments.
    [[nodiscard]] const std::string& name() const noexcept { return base_.object().name(); }

    /// Stays owned by this handle.
    [[nodiscard]] const native_handle_type& native_handle() const noexcept {
        return base_.object().native();
    }

    /// Bytes that are published and backed by real memory now. All three sizes are 0 for an empty
    /// handle.
    [[nodiscard]] std::size_t size() const noexcept {
        return *this ? static_cast<std::size_t>(
                           base_.memory().header().size.load(std::memory_order_acquire))
                     : 0;
    }

    /// Bytes that the segment can grow to: its reserve.
    [[nodiscard]] std::size_t capacity() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().header().reserve) : 0;
    }

    /// Bytes allocated on the heap, for objects, their names and their elements. A block
    /// takes 16 bytes more than it needs where these would be too small for a block of their own,
    /// so the same objects need not always have the same number.
    [[nodiscard]] std::size_t used() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().heap_here().used()) : 0;
    }

    /// Who removes the name.
    [[nodiscard]] enum lifetime lifetime() const noexcept {
        return *this ? static_cast<enum cohold::lifetime>(base_.memory().header().life)
                     : cohold::lifetime::persistent;
    }

    /// Has the name been removed, or taken over by another segment (replace)? The memory stays good
    /// for who has it.
    [[nodiscard]] bool is_removed() const noexcept { return base_.object().is_removed(); }

    /// Which processes use the segment, and whether they are alive. One that was forked off is
    /// there as soon as it has used the segment itself. Readers are not. *Complexity*: a system
    /// call for each.
    [[nodiscard]] participant_list participants() const {
        return *this ? list_participants(base_.memory().header()) : participant_list();
    }

    /// Where it is mapped in this process, with the bytes that there are now: to have huge pages,
    /// to be locked, looked at … Empty for an empty handle.
    [[nodiscard]] memory_mapping mapping() const noexcept { return base_.mapping(); }

  protected:
    segment_observers() = default;

    explicit segment_observers(segment_base<Policies>&& base) noexcept : base_(std::move(base)) {}

    // For the operations that need a segment. False for an empty handle.
    [[nodiscard]] bool check_attached(std::error_code& ec) const noexcept {
        if (!*this) {
            fail(ec, errc::empty_handle);
        }
        return !ec;
    }

    // For segment and shared: see there.
    [[gnu::cold]] std::size_t recover_dead(std::error_code& ec) const noexcept {
        ec.clear();
        return check_attached(ec) ? recover_participants(base_.memory().header(), ec) : 0;
    }

    segment_base<Policies> base_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
