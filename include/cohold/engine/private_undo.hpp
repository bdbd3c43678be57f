// What a section has to put back, or to free, of which its journal knows nothing: for the living
// process alone.
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

// Old bytes, and blocks to be freed once all is done, in private memory. If the process dies,
// nobody has them.
//
// Of objects outside of the segment, on stacks and the like, nobody misses them: and everybody who
// may write to the segment can write to the journal, so an address that stood there would let it
// write anywhere in this process. Of the segment itself they are here when it is full, so that the
// journal has no room: a kill then leaks the blocks. Its old bytes are here only where those that
// are there now do no harm after a kill.
class private_undo {
  public:
    // How far the section had come. Records of the journal from `top` on are undone first.
    struct moment {
        std::uint32_t stamp; // grows with each entry
        std::uint64_t top;
    };

    private_undo() = default;
    private_undo(const private_undo&) = delete;
    private_undo& operator=(const private_undo&) = delete;

    ~private_undo() {
        finish(0, [](void*) {});
    }

    // False if there is no memory.
    [[nodiscard, gnu::cold]] bool save(const void* at, std::size_t bytes, moment now) noexcept {
        entry* const made = add(at, bytes, now);
        if (made != nullptr && bytes != 0) {
            std::memcpy(made + 1, at, bytes);
        }
        return made != nullptr;
    }

    // A block that shall be freed.
    [[nodiscard, gnu::cold]] bool drop(const void* block, moment now) noexcept {
        entry* const made = add(block, 0, now);
        if (made != nullptr) {
            made->dropped = true;
        }
        return made != nullptr;
    }

    // Since the stamp, is there something left? And where did the journal end when it was added?
    [[nodiscard]] bool has(std::uint32_t stamp) const noexcept {
        return last_ != nullptr && last_->now.stamp >= stamp;
    }

    [[nodiscard]] std::uint64_t last_top() const noexcept { return last_->now.top; }

    // Puts back what was saved last.
    [[gnu::cold]] void undo_last() noexcept {
        if (last_->bytes != 0) {
            std::memcpy(last_->at, last_ + 1, last_->bytes);
        }
        pop();
    }

    // Forgets what was saved since the stamp, and hands over the blocks to be freed: all is done.
    template <class Free>
    [[gnu::cold]] void finish(std::uint32_t stamp, const Free& free) noexcept {
        for (; has(stamp); pop()) {
            if (last_->dropped) {
                free(last_->at);
            }
        }
    }

    // An object ends: nothing of it is to be put back.
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
    };

    [[nodiscard]] entry* add(const void* at, std::size_t bytes, moment now) noexcept {
        void* const memory = ::operator new(sizeof(entry) + bytes, std::nothrow);
        if (memory == nullptr) {
            return nullptr;
        }
        last_ = ::new (memory) entry{last_, const_cast<void*>(at), bytes, now, false};
        return last_;
    }

    void pop() noexcept { ::operator delete(std::exchange(last_, last_->below)); }

    entry* last_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
