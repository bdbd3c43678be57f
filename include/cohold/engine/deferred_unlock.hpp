// The locks that a section keeps until the outermost section of the thread ends.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_DEFERRED_UNLOCK_HPP
#define COHOLD_ENGINE_DEFERRED_UNLOCK_HPP

#include <new>

#include <cohold/engine/journal_writer.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

class transaction;

// A lock of any type that is held until the outermost section ends.
struct deferred_unlock {
    using function = void (*)(void* lock, transaction& holder) noexcept;

    void* lock; // nullptr: none, because an enclosing section already held it
    function release;
    savepoint from{}; // where the section that locked it began
};

// The deferred unlocks in locking order. The first few need no allocation.
class deferred_unlocks {
  public:
    deferred_unlocks() = default;
    deferred_unlocks(const deferred_unlocks&) = delete;
    deferred_unlocks& operator=(const deferred_unlocks&) = delete;

    ~deferred_unlocks() {
        if (all_ != few_) {
            delete[] all_;
        }
    }

    // The unlock of the outermost section. The state of the section says whether there is one.
    void set_first(void* lock, deferred_unlock::function release) noexcept {
        if constexpr (sizeof(void*) == sizeof(std::uint64_t)) {
            store_pair(&first_, reinterpret_cast<std::uintptr_t>(lock),
                       reinterpret_cast<std::uintptr_t>(release));
        } else {
            first_.lock = lock;
            first_.release = release;
        }
    }

    [[nodiscard]] bool is_first(const void* lock) const noexcept { return first_.lock == lock; }

    void release_first(transaction& holder) noexcept { first_.release(first_.lock, holder); }

    // The number of unlocks after the first.
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

    // Makes room for one more. False if there is not enough memory.
    [[nodiscard, gnu::cold]] bool make_room() noexcept {
        if (count_ < capacity_) {
            return true;
        }
        auto* const more = new (std::nothrow) deferred_unlock[capacity_ * 2];
        if (more == nullptr) {
            return false;
        }
        for (std::uint32_t i = 0; i < count_; ++i) {
            more[i] = all_[i];
        }
        if (all_ != few_) {
            delete[] all_;
        }
        all_ = more;
        capacity_ *= 2;
        return true;
    }

    void keep(const deferred_unlock& lock) noexcept { all_[count_++] = lock; }

    [[nodiscard]] bool keeps(const void* lock) const noexcept {
        for (std::uint32_t i = 0; i < count_; ++i) {
            if (all_[i].lock == lock) {
                return true;
            }
        }
        return false;
    }

    // The savepoint of the `number`th unlock, counted from 1.
    [[nodiscard]] const savepoint& from(std::uint32_t number) const noexcept {
        return all_[number - 1].from;
    }

    // Called at the end of the section that kept the unlock: forgets it, unless its lock stays
    // locked until the outermost section ends.
    void end(std::uint32_t number) noexcept {
        if (number == count_ && all_[number - 1].lock == nullptr) {
            --count_;
        }
    }

    // Forgets a lock if it was kept last. Otherwise returns false.
    [[nodiscard]] bool forget_last(const void* lock) noexcept {
        const bool last = count_ != 0 && all_[count_ - 1].lock == lock;
        count_ -= last ? 1 : 0;
        return last;
    }

    void release_all(transaction& holder) noexcept {
        while (count_ != 0) {
            const deferred_unlock last = all_[--count_];
            if (last.lock != nullptr) {
                last.release(last.lock, holder);
            }
        }
    }

  private:
    static constexpr std::uint32_t few = 8;

    deferred_unlock first_{};
    deferred_unlock few_[few]{};
    deferred_unlock* all_ = few_;
    std::uint32_t count_ = 0;
    std::uint32_t capacity_ = few;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
