// What holds a place of a queue: a slot, which the program fills in place, a view of the element
// that comes next, and a lease of an element that comes back unless it is done.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_GUARDS_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_GUARDS_HPP

#include <cstdint>
#include <utility>

#include <cohold/container/detail/queue_layout.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/type/construct_from.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A side of a queue that this thread stays in.
template <class Core>
class queue_hold {
  public:
    queue_hold() noexcept = default;

    queue_hold(Core& core, queue_position at) noexcept
        : core_(&core), at_(at), epoch_(core.epoch()) {}

    queue_hold(queue_hold&& other) noexcept
        : core_(std::exchange(other.core_, nullptr)), at_(other.at_), epoch_(other.epoch_) {}

    queue_hold& operator=(queue_hold&&) = delete;

    [[nodiscard]] explicit operator bool() const noexcept { return core_ != nullptr; }

    [[nodiscard]] auto* place() const noexcept { return core_->place(at_); }

    // Calls end(core, position) and forgets them; returns whether it did. Not in a forked child,
    // where they are its parent's.
    template <class End>
    bool end(const End& how) noexcept {
        Core* const core = std::exchange(core_, nullptr);
        const bool mine = core != nullptr && core->epoch() == epoch_;
        if (mine) {
            how(*core, at_);
        }
        return mine;
    }

  private:
    Core* core_ = nullptr;
    queue_position at_ = 0;
    std::uint64_t epoch_ = 0;
};

/// A place at the end of a queue, for an element that is written there, without a copy. commit()
/// appends it; a slot that is destroyed without that never was. Until then the other producers
/// wait. Movable within its thread; the queue must outlive it. If the process is killed, the next
/// producer takes the place.
template <class T, class Core>
class queue_slot {
  public:
    /// Empty.
    queue_slot() noexcept = default;

    queue_slot(Core& core, queue_position at) noexcept : hold_(core, at) {}

    queue_slot(queue_slot&&) noexcept = default;

    queue_slot& operator=(queue_slot&& other) noexcept {
        if (this != &other) {
            this->~queue_slot();
            ::new (static_cast<void*>(this)) queue_slot(std::move(other));
        }
        return *this;
    }

    ~queue_slot() { abandon(); }

    /// False if there is no place: the queue was full or closed; or after commit() or abandon().
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(hold_); }

    /// The element. Until it is assigned to, it has the bytes of an earlier one.
    [[nodiscard]] T& operator*() const noexcept COHOLD_LIFETIMEBOUND { return *hold_.place(); }

    [[nodiscard]] T* operator->() const noexcept COHOLD_LIFETIMEBOUND { return hold_.place(); }

    /// Makes a new element there; without arguments, one whose members are 0. May be repeated.
    /// Errors: what T's constructor throws.
    template <class... Args>
    T& emplace(Args&&... args) const COHOLD_LIFETIMEBOUND {
        return *construct_from<T>(static_cast<void*>(hold_.place()), std::forward<Args>(args)...);
    }

    /// Appends the element, and leaves the slot empty. False if it was empty, or is a copy in a
    /// forked child.
    bool commit() noexcept {
        return hold_.end([](Core& core, queue_position at) { core.commit(at); });
    }

    /// Gives the place back.
    void abandon() noexcept {
        hold_.end([](Core& core, queue_position at) { core.abandon(at); });
    }

  private:
    queue_hold<Core> hold_;
};

/// The oldest element of a queue, in its place. Destroying the view removes the element; keep(), or
/// an exception that destroys the view, leaves it there. Until then the other consumers wait.
/// Movable within its thread; the queue must outlive it. If the process is killed, the element is
/// still there, in its place.
template <class T, class Core>
class queue_view {
  public:
    /// Empty.
    queue_view() noexcept = default;

    queue_view(Core& core, queue_position at) noexcept
        : hold_(core, at), exceptions_(*uncaught_counter()) {}

    queue_view(queue_view&&) noexcept = default;

    queue_view& operator=(queue_view&& other) noexcept {
        if (this != &other) {
            this->~queue_view();
            ::new (static_cast<void*>(this)) queue_view(std::move(other));
        }
        return *this;
    }

    ~queue_view() {
        if (*uncaught_counter() > exceptions_) {
            keep();
        } else {
            release();
        }
    }

    /// False if there is no element: the queue was empty; or after release() or keep().
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(hold_); }

    [[nodiscard]] const T& operator*() const noexcept COHOLD_LIFETIMEBOUND {
        return *hold_.place();
    }

    [[nodiscard]] const T* operator->() const noexcept COHOLD_LIFETIMEBOUND {
        return hold_.place();
    }

    /// Removes the element, and leaves the view empty. False if it was empty, or is a copy in a
    /// forked child.
    bool release() noexcept {
        return hold_.end([](Core& core, queue_position at) { core.release(at); });
    }

    /// Leaves the element in the queue, as the oldest one.
    void keep() noexcept {
        hold_.end([](Core& core, queue_position /*at*/) { core.keep(); });
    }

  private:
    queue_hold<Core> hold_;
    unsigned exceptions_ = 0;
};

/// An element that this process has taken out of a queue, until done(): that removes it for good.
/// If the lease is destroyed without that, or the process is killed, the element is back in the
/// queue, in front of all that was pushed after it. It holds up nobody meanwhile. Movable, also to
/// another thread of the process; the queue must outlive it.
template <class T, class Core>
class queue_lease {
  public:
    /// Empty.
    queue_lease() noexcept = default;

    queue_lease(Core& core, queue_position at) noexcept
        : hold_(core, at), attempts_(core.attempts(at)) {}

    queue_lease(queue_lease&&) noexcept = default;

    queue_lease& operator=(queue_lease&& other) noexcept {
        if (this != &other) {
            this->~queue_lease();
            ::new (static_cast<void*>(this)) queue_lease(std::move(other));
        }
        return *this;
    }

    ~queue_lease() { give_back(); }

    /// False if there is no element: the queue was empty; or after done() or give_back().
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(hold_); }

    [[nodiscard]] const T& operator*() const noexcept COHOLD_LIFETIMEBOUND {
        return *hold_.place();
    }

    [[nodiscard]] const T* operator->() const noexcept COHOLD_LIFETIMEBOUND {
        return hold_.place();
    }

    /// How often the element has been taken: 1 the first time. Greater: it has come back, because
    /// its process was killed, or gave it back.
    [[nodiscard]] unsigned attempts() const noexcept { return attempts_; }

    /// Removes the element for good, and leaves the lease empty. False if it was empty, or is a
    /// copy in a forked child.
    bool done() noexcept {
        return hold_.end([](Core& core, queue_position at) { core.end_lease(at); });
    }

    /// Puts the element back to its place.
    void give_back() noexcept {
        hold_.end([](Core& core, queue_position at) { core.give_back(at); });
    }

  private:
    queue_hold<Core> hold_;
    unsigned attempts_ = 0;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
