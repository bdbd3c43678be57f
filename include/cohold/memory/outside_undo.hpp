// What a section has to put back outside of the segment, if it is undone in a living process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_OUTSIDE_UNDO_HPP
#define COHOLD_MEMORY_OUTSIDE_UNDO_HPP

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Old bytes of objects on stacks and the like. They are kept in private memory: everybody who may
// write to the segment can write to the journal, and an address that stood there would let him
// write anywhere in this process. If the process dies, nobody misses them.
class outside_undo {
  public:
    outside_undo() = default;
    outside_undo(const outside_undo&) = delete;
    outside_undo& operator=(const outside_undo&) = delete;

    ~outside_undo() { drop(0); }

    // `stamp`: of the moment; never less than that of the one saved before. False if there is no
    // memory.
    [[nodiscard, gnu::cold]] bool save(const void* at, std::size_t bytes,
                                       std::uint32_t stamp) noexcept {
        void* const memory = ::operator new(sizeof(entry) + bytes, std::nothrow);
        if (memory == nullptr) {
            return false;
        }
        last_ = ::new (memory) entry{last_, const_cast<void*>(at), bytes, stamp};
        if (bytes != 0) {
            std::memcpy(last_ + 1, at, bytes);
        }
        return true;
    }

    // Puts back what was saved since the stamp, the last one first.
    [[gnu::cold]] void undo(std::uint32_t stamp) noexcept {
        while (is_since(stamp)) {
            if (last_->bytes != 0) {
                std::memcpy(last_->at, last_ + 1, last_->bytes);
            }
            pop();
        }
    }

    // Forgets what was saved since the stamp: what has happened stays.
    [[gnu::cold]] void drop(std::uint32_t stamp) noexcept {
        while (is_since(stamp)) {
            pop();
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
        std::uint32_t stamp;
    };

    [[nodiscard]] bool is_since(std::uint32_t stamp) const noexcept {
        return last_ != nullptr && last_->stamp >= stamp;
    }

    void pop() noexcept { ::operator delete(std::exchange(last_, last_->below)); }

    entry* last_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
