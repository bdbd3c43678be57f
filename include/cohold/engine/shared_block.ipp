// Definitions for shared_block.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SHARED_BLOCK_IPP
#define COHOLD_ENGINE_SHARED_BLOCK_IPP

#include <cohold/engine/shared_block.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::uint32_t holder_words(const segment_header& header) noexcept {
    return (participants_of(header) + 1 + 63) / 64; // with the spare slot
}

COHOLD_INLINE shared_block* shared_block_at(segment_header& header, const heap::change& change,
                                            std::uint64_t offset) noexcept {
    const std::uint64_t size = bounded_size(header);
    if (offset < control_bytes || offset % 16 != 0 || offset >= size ||
        size - offset < object_distance(holder_words(header), 16)) {
        return nullptr;
    }
    auto* const block = reinterpret_cast<shared_block*>(reinterpret_cast<char*>(&header) + offset);
    return change.owns(block) && block->self == offset && block->words() == holder_words(header)
               ? block
               : nullptr;
}

// Links the block in front of the others.
inline void link_shared(segment_header& header, heap::change& change, shared_block& block,
                        std::uint64_t& first) noexcept {
    change.set(block.previous, 0);
    change.set(block.next, first);
    if (shared_block* const next = shared_block_at(header, change, first); next != nullptr) {
        change.set(next->previous, block.self);
    }
    change.set(first, block.self);
}

inline void unlink_shared(segment_header& header, heap::change& change, shared_block& block,
                          std::uint64_t& first) noexcept {
    shared_block* const previous = shared_block_at(header, change, block.previous);
    if (previous != nullptr && previous->next == block.self) {
        change.set(previous->next, block.next);
    } else if (first == block.self) {
        change.set(first, block.next);
    }
    if (shared_block* const next = shared_block_at(header, change, block.next);
        next != nullptr && next->previous == block.self) {
        change.set(next->previous, block.previous);
    }
}

[[nodiscard]] inline bool is_referred_to(const shared_block& block, reference which) noexcept {
    std::uint64_t any = block.counts[static_cast<std::uint32_t>(which)];
    for (std::uint32_t i = 0; i < block.words(); ++i) {
        any |= block.holders(which)[i];
    }
    return any != 0;
}

inline void set_state(heap::change& change, shared_block& block, shared_state now) noexcept {
    change.set(block.state, shared_block::state_of(now, block.words()));
}

COHOLD_INLINE shared_pool* pool_of(segment_header& header, const shared_block& block) noexcept {
    const std::uint64_t size = bounded_size(header);
    if (block.pool < control_bytes || block.pool % 8 != 0 ||
        block.pool > size - sizeof(shared_pool)) {
        return nullptr;
    }
    auto* const pool =
        reinterpret_cast<shared_pool*>(reinterpret_cast<char*>(&header) + block.pool);
    return pool->self == block.pool ? pool : nullptr;
}

COHOLD_INLINE shared_block* take_pooled(segment_header& header, heap::change& change,
                                        shared_pool& pool, std::uint32_t slot) noexcept {
    shared_block* const block = shared_block_at(header, change, pool.free);
    if (block == nullptr || block->now() != shared_state::pooled || block->pool != pool.self) {
        return nullptr;
    }
    change.set(pool.free, block->next);
    change.set(pool.available, pool.available - 1);
    if (pool.available < pool.least) {
        change.set(pool.least, pool.available);
    }
    set_state(change, *block, shared_state::living);
    link_shared(header, change, *block, shared_lists::of(header).living);
    hold_reference(change, *block, reference::strong, slot);
    return block;
}

// The object has ended, and the block is in no list.
inline void end_object(segment_header& header, heap::change& change, shared_block& block) noexcept {
    if (shared_pool* const pool = pool_of(header, block); pool != nullptr) {
        set_state(change, block, shared_state::pooled);
        change.set(block.next, pool->free);
        change.set(pool->free, block.self);
        change.set(pool->available, pool->available + 1);
    } else if (is_referred_to(block, reference::weak)) {
        set_state(change, block, shared_state::destroyed);
        link_shared(header, change, block, shared_lists::of(header).living);
    } else {
        change.set(block.self, 0);
        change.deallocate(&block);
    }
}

inline void after_uncounting(segment_header& header, heap::change& change, shared_block& block,
                             reference which) noexcept {
    if (is_referred_to(block, which)) {
        return;
    }
    shared_lists& lists = shared_lists::of(header);
    if (which == reference::strong && block.now() == shared_state::living) {
        unlink_shared(header, change, block, lists.living);
        if (block.type == 0) {
            end_object(header, change, block);
        } else {
            set_state(change, block, shared_state::orphaned);
            link_shared(header, change, block, lists.orphans);
        }
    } else if (which == reference::weak && block.now() == shared_state::destroyed) {
        unlink_shared(header, change, block, lists.living);
        change.set(block.self, 0);
        change.deallocate(&block);
    }
}

COHOLD_INLINE void add_shared(segment_header& header, heap::change& change,
                              shared_block& block) noexcept {
    link_shared(header, change, block, shared_lists::of(header).living);
}

COHOLD_INLINE void remove_shared(segment_header& header, heap::change& change,
                                 shared_block& block) noexcept {
    unlink_shared(header, change, block, shared_lists::of(header).living);
}

COHOLD_INLINE void count_reference(heap::change& change, shared_block& block,
                                   reference which) noexcept {
    std::uint64_t& count = block.counts[static_cast<std::uint32_t>(which)];
    change.set(count, count + 1);
}

COHOLD_INLINE void uncount_reference(segment_header& header, heap::change& change,
                                     shared_block& block, reference which) noexcept {
    std::uint64_t& count = block.counts[static_cast<std::uint32_t>(which)];
    if (count != 0) {
        change.set(count, count - 1);
        after_uncounting(header, change, block, which);
    }
}

COHOLD_INLINE void hold_reference(heap::change& change, shared_block& block, reference which,
                                  std::uint32_t slot) noexcept {
    std::uint64_t& word = block.holders(which)[slot / 64];
    change.set(word, word | std::uint64_t{1} << slot % 64);
}

COHOLD_INLINE void drop_hold(segment_header& header, heap::change& change, shared_block& block,
                             reference which, std::uint32_t slot) noexcept {
    std::uint64_t& word = block.holders(which)[slot / 64];
    const std::uint64_t bit = std::uint64_t{1} << slot % 64;
    if ((word & bit) != 0) {
        change.set(word, word & ~bit);
        after_uncounting(header, change, block, which);
    }
}

COHOLD_INLINE void end_shared(segment_header& header, heap::change& change,
                              shared_block& block) noexcept {
    unlink_shared(header, change, block, shared_lists::of(header).orphans);
    change.set(block.claimant, nobody);
    end_object(header, change, block);
}

COHOLD_INLINE bool drop_holds_of(segment_header& header, owner_word me,
                                 std::uint32_t slot) noexcept {
    heap::change change(heap::of(header), me);
    if (!change) {
        return false;
    }
    shared_lists& lists = shared_lists::of(header);
    const std::uint64_t most = bounded_size(header) / sizeof(shared_block);
    // A participant that destroys objects has died: another one has to.
    std::uint64_t left = most;
    for (shared_block* each = shared_block_at(header, change, lists.orphans);
         each != nullptr && left != 0; --left) {
        shared_block* const next = shared_block_at(header, change, each->next);
        if (each->claimant != nobody && slot_of(each->claimant) == slot) {
            change.set(each->claimant, nobody);
            if (each->now() == shared_state::ending) {
                end_shared(header, change, *each);
            }
            change.keep();
        }
        each = next;
    }
    const std::uint64_t bit = std::uint64_t{1} << slot % 64;
    left = most;
    for (shared_block* each = shared_block_at(header, change, lists.living);
         each != nullptr && left != 0; --left) {
        shared_block* const next = shared_block_at(header, change, each->next);
        // The weak ones first, because the block may end with the strong ones.
        for (const reference which : {reference::weak, reference::strong}) {
            if (slot / 64 < each->words() && (each->holders(which)[slot / 64] & bit) != 0) {
                const bool last =
                    which == reference::weak && each->now() == shared_state::destroyed;
                drop_hold(header, change, *each, which, slot);
                change.keep();
                if (last) {
                    break; // it may have been freed
                }
            }
        }
        each = next;
    }
    left = most;
    for (shared_block* each = shared_block_at(header, change, lists.orphans);
         each != nullptr && left != 0; --left) {
        if (slot / 64 < each->words() && (each->holders(reference::weak)[slot / 64] & bit) != 0) {
            drop_hold(header, change, *each, reference::weak, slot);
            change.keep();
        }
        each = shared_block_at(header, change, each->next);
    }
    return true;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
