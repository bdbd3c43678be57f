// The part of a section's undo log that is in private memory: bytes to restore and blocks to free
// that are not in the journal. It serves the live process only.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_PRIVATE_UNDO_HPP
#define COHOLD_ENGINE_PRIVATE_UNDO_HPP

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Saved bytes, and blocks to be freed after the commit, in private memory. If the process dies,
// they are lost.
//
// For objects outside the segment, for example on a stack, that does not matter. They must not be
// in the journal, because every process that may write to the segment can write to the journal, and
// an address in it would let such a process write anywhere in this one. Entries for the segment
// itself are here when it is full, so that the journal has no room. A kill then leaks the blocks.
// Bytes of the segment are saved here only where the new bytes do no harm after a kill.
class private_undo {
  public:
    // A point in the section. The records of the journal from `top` on are undone first.
    struct moment {
        std::uint32_t stamp; // grows with each entry
        std::uint64_t top;
    };

    // An action on an object outside the segment: run(action, undone) is called once, after the
    // commit or when the section is undone.
    struct action {
        void (*run)(const action& self, bool undone) noexcept;
        void* subject; // the object; null after it has ended
        void* words[3];
    };

    private_undo() = default;
    private_undo(const private_undo&) = delete;
    private_undo& operator=(const private_undo&) = delete;

    ~private_undo() {
        while (last_ != nullptr) {
            pop();
        }
    }

    // False if there is not enough memory.
    [[nodiscard, gnu::cold]] bool save(const void* at, std::size_t bytes, moment now) noexcept {
        entry* const made = add(at, bytes, now);
        if (made != nullptr && bytes != 0) {
            std::memcpy(made + 1, at, bytes);
        }
        return made != nullptr;
    }

    // Registers a block to be freed. False if there is not enough memory.
    [[nodiscard, gnu::cold]] bool drop(const void* block, moment now) noexcept {
        entry* const made = add(block, 0, now);
        if (made != nullptr) {
            made->dropped = true;
        }
        return made != nullptr;
    }

    // Registers an action. False if there is not enough memory.
    [[nodiscard, gnu::cold]] bool act(const action& what, moment now) noexcept {
        entry* const made = add(what.subject, sizeof what, now);
        if (made != nullptr) {
            std::memcpy(made + 1, &what, sizeof what);
            made->acts = true;
        }
        return made != nullptr;
    }

    // Is there an entry since the stamp?
    [[nodiscard]] bool has(std::uint32_t stamp) const noexcept {
        return last_ != nullptr && last_->now.stamp >= stamp;
    }

    // The end of the journal when the last entry was added.
    [[nodiscard]] std::uint64_t last_top() const noexcept { return last_->now.top; }

    // Restores what was saved last.
    [[gnu::cold]] void undo_last() noexcept {
        if (last_->acts) {
            run_last(true);
        } else if (last_->bytes != 0) {
            std::memcpy(last_->at, last_ + 1, last_->bytes);
        }
        pop();
    }

    // After the commit: forgets what was saved since the stamp, and passes the blocks to be freed
    // to `free`.
    template <class Free>
    [[gnu::cold]] void finish(std::uint32_t stamp, const Free& free) noexcept {
        for (; has(stamp); pop()) {
            if (last_->acts) {
                run_last(false);
            } else if (last_->dropped) {
                free(last_->at);
            }
        }
    }

    // Called when an object ends: nothing of it is restored any more.
    [[gnu::cold]] void forget(const void* object, std::size_t bytes) noexcept {
        const auto first = reinterpret_cast<std::uintptr_t>(object);
        for (entry* each = last_; each != nullptr; each = each->below) {
            if (reinterpret_cast<std::uintptr_t>(each->at) - first < bytes) {
                each->bytes = 0;
            }
        }
    }

  private:
    // The bytes follow.
    struct entry {
        entry* below;
        void* at;
        std::size_t bytes;
        moment now;
        bool dropped;
        bool acts; // an action follows
    };

    [[nodiscard]] entry* add(const void* at, std::size_t bytes, moment now) noexcept {
        void* const memory = ::operator new(sizeof(entry) + bytes, std::nothrow);
        if (memory == nullptr) {
            return nullptr;
        }
        last_ = ::new (memory) entry{last_, const_cast<void*>(at), bytes, now, false, false};
        return last_;
    }

    void run_last(bool undone) noexcept {
        action what;
        std::memcpy(&what, last_ + 1, sizeof what);
        if (last_->bytes == 0) {
            what.subject = nullptr; // it has been forgotten
        }
        what.run(what, undone);
    }

    void pop() noexcept { ::operator delete(std::exchange(last_, last_->below)); }

    entry* last_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
