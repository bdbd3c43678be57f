// Definitions for section.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SECTION_IPP
#define COHOLD_ENGINE_SECTION_IPP

#include <cohold/engine/section.hpp>
#include <cohold/engine/shared_hold.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE void open_section(transaction& mine, bool undoable) noexcept {
    if (mine.depth() == 0) {
        list_open(mine);
    }
    mine.begin(undoable);
}

[[gnu::noinline]] COHOLD_INLINE void close_section(transaction& mine) noexcept {
    if (mine.end_inner()) {
        return;
    }
    if (!mine.is_inherited()) {
        mine.commit(mine.first());
    }
    unlist_open(mine);
    mine.end_outermost();
    if (mine.has_released() && !mine.is_inherited()) [[unlikely]] {
        collect_orphans(mine.header());
    }
}

[[gnu::noinline]] COHOLD_INLINE void roll_back_section(transaction& mine, savepoint from) noexcept {
    if (!mine.is_inherited()) {
        mine.roll_back(mine.depth() == 1 ? mine.first() : from);
    }
}

[[gnu::noinline]] COHOLD_INLINE transaction*
transaction_for_slabs(segment_header& header) noexcept {
    constexpr std::uint64_t least = 64 * slab_unit;
    transaction* const mine = known_transaction(&header);
    if (mine != nullptr) {
        return mine;
    }
    // The thread may have one, although it has used other segments since.
    const std::uint64_t epoch = local_of(header).identity->epoch.load(std::memory_order_acquire);
    if (bounded_size(header) < least &&
        (this_cache.core == nullptr ||
         find_transaction_of(*this_cache.core, header, epoch) == nullptr)) {
        return nullptr;
    }
    const report_keeper keeper;
    std::error_code ec;
    return self(header, ec);
}

// Recovers dead processes: their sections may have allocated, and their slabs may have room. False
// if there is none.
[[gnu::noinline]] COHOLD_INLINE bool recovers_the_dead(segment_header& header) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    return !ec && recover_all(header, me) != 0;
}

COHOLD_INLINE void* allocate_once(segment_header& header, std::uint64_t bytes,
                                  std::uint64_t alignment, std::error_code& ec) noexcept {
    if (transaction* const mine = open_transaction(&header); mine != nullptr) {
        return mine->allocate(bytes, alignment, ec);
    }
    if (transaction* const mine = transaction_for_slabs(header); mine != nullptr) {
        const slab_cache::offer found = mine->slabs().look(bytes, alignment);
        if (found.block != nullptr) {
            mine->slabs().accept(found);
            return found.block;
        }
    }
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    heap::change change(heap::of(header), me);
    return change.allocate(bytes, alignment, ec);
}

COHOLD_INLINE void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
                             std::error_code& ec) noexcept {
    void* made = allocate_once(header, bytes, alignment, ec);
    if ((ec == errc::out_of_space || ec == errc::reserve_exceeded) && recovers_the_dead(header))
        [[unlikely]] {
        ec.clear();
        made = allocate_once(header, bytes, alignment, ec);
    }
    return made;
}

[[gnu::noinline]] COHOLD_INLINE bool resize_block(segment_header& header, void* block,
                                                  std::uint64_t bytes, void* word,
                                                  std::uint64_t value) noexcept {
    if (open_transaction(&header) != nullptr) {
        return false; // it would have to be undone
    }
    const report_keeper keeper;
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return false;
    }
    heap::change change(heap::of(header), me);
    if (!change || !change.resize(block, bytes)) {
        return false;
    }
    auto& changed = *static_cast<std::uint64_t*>(word);
    if (heap::of(header).offset_of(word) < local_of(header).reserve) {
        change.set(changed, value);
    } else {
        change.keep();
        std::memcpy(word, &value, sizeof value);
    }
    asm volatile("" : : : "memory"); // the word has another type where it lives
    return true;
}

[[gnu::noinline]] COHOLD_INLINE void deallocate(segment_header& header, void* pointer) noexcept {
    if (pointer == nullptr || !is_participant(header)) {
        return;
    }
    if (transaction* const mine = open_transaction(&header); mine != nullptr) {
        mine->drop(pointer);
        return;
    }
    transaction* const mine = known_transaction(&header);
    if (mine != nullptr ? mine->slabs().give_slowly(pointer)
                        : slab_cache::give_remotely(header, pointer)) {
        return;
    }
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        heap::change change(heap::of(header), me);
        if (change) {
            change.deallocate(pointer);
        }
    }
}

[[gnu::noinline]] COHOLD_INLINE void* allocate_objects(segment_header* header, std::size_t count,
                                                       std::size_t size, std::size_t alignment,
                                                       std::error_code& ec) noexcept {
    const error_context context("allocate", "", "");
    if (header == nullptr) {
        fail(ec, errc::no_segment, "%zu objects of %zu bytes", count, size);
        return nullptr;
    }
    if (count > PTRDIFF_MAX / size) {
        fail(ec, errc::invalid_size, "%zu objects of %zu bytes", count, size);
        return nullptr;
    }
    return allocate(*header, count * size, alignment, ec);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
