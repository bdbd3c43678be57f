// Definitions for transaction.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_TRANSACTION_IPP
#define COHOLD_ENGINE_TRANSACTION_IPP

#include <cohold/engine/transaction.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void* thread_record::allocate(std::uint64_t bytes, std::uint64_t alignment,
                                            std::error_code& ec) noexcept {
    return allocate_as(journal_kind::made, bytes, alignment, ec);
}

COHOLD_INLINE void thread_record::append_within(std::uint64_t around) noexcept {
    const std::uint64_t top = log->top.load(std::memory_order_relaxed);
    if (fits(top, 0)) {
        append(base() + top, {around, journal_record::word_of(journal_kind::within, 0)});
    }
}

COHOLD_INLINE void thread_record::drop(const void* block) noexcept {
    if (has_room_now(0)) {
        append(base() + log->top.load(std::memory_order_relaxed),
               {distance_to(block), journal_record::word_of(journal_kind::dropped, 0)});
        promise();
    } else if (own.drop(block, now())) {
        promise();
    }
}

COHOLD_INLINE void thread_record::roll_back(const savepoint& from) noexcept {
    while (own.has(from.promises)) {
        reader().roll_back(own.last_top());
        header->rollbacks.fetch_add(1, std::memory_order_seq_cst);
        own.undo_last();
        header->rollbacks.fetch_add(1, std::memory_order_seq_cst);
    }
    reader().roll_back(from.top);
    promises = from.promises;
    limit = from.limit;
    undo_floor = from.top;
    forget_watermarks();
}

COHOLD_INLINE void thread_record::forget(const void* object, std::size_t bytes) noexcept {
    own.forget(object, bytes);
}

COHOLD_INLINE void thread_record::keep(const deferred_unlock& lock) noexcept {
    state.more = true;
    locks.keep(lock);
}

[[gnu::noinline]] COHOLD_INLINE void thread_record::release_locks() noexcept {
    locks.release_all(*this);
    if (state.locked) {
        state.locked = false;
        locks.first.release(locks.first.lock, *this);
    }
}

COHOLD_INLINE void thread_record::finish_own(const savepoint& from) noexcept {
    own.finish(from.promises, [this](void* block) {
        heap::transaction change(heap::of(*header), process_word());
        if (change) {
            change.deallocate(block);
        }
    });
    promises = from.promises;
}

COHOLD_INLINE const void* thread_record::in_this_mapping(const void* at) const noexcept {
    const void* found = at;
    mappings.each([&](const segment_header& other) noexcept {
        const auto distance =
            reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(&other);
        if (distance < local_of(other).reserve && is_same_segment(other, *header)) {
            found = base() + distance;
        }
    });
    return found;
}

[[gnu::noinline]] COHOLD_INLINE void thread_record::save_slowly(const void* at, std::size_t bytes,
                                                                std::error_code& ec) noexcept {
    if (!is_inside(at)) {
        at = in_this_mapping(at);
    }
    if (!is_inside(at)) {
        if (own.save(at, bytes, now())) {
            promise();
        } else {
            fail(ec, errc::out_of_space, "not enough memory to save %zu bytes", bytes);
        }
    } else if (bytes > largest_inline) {
        save_apart(at, bytes, ec);
    } else if (char* const into = reserve(rounded(bytes), ec); into != nullptr) {
        write(into, at, bytes);
        store_in_order(log->top, distance_to(into) + rounded(bytes) + sizeof(journal_record));
    }
    if (ec && is_inside(at) && ec != errc::corrupt &&
        (has_saved(at, bytes) || save_at_last(at, bytes, last_bytes / 2))) {
        ec.clear();
    }
}

[[gnu::noinline]] COHOLD_INLINE void
thread_record::save_for_the_living(const void* at, std::size_t bytes, bool words) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    if (!is_inside(at)) {
        save_slowly(at, bytes, ec);
        raise_if(ec); // ends the program: otherwise two objects would own the same thing
        return;
    }
    if (!full) {
        save_slowly(at, bytes, ec);
        if (!ec) {
            return;
        }
        full = marked = true;
    } else if (has_saved(at, bytes)) {
        return;
    }
    if (!(words && save_at_last(at, bytes, 0)) && state.undoable && own.save(at, bytes, now())) {
        promise();
        clear_watermarks();
        full = unkept = marked = true;
    }
}

COHOLD_INLINE bool thread_record::save_at_last(const void* at, std::size_t bytes,
                                               std::uint64_t left) noexcept {
    const std::uint64_t top = log->top.load(std::memory_order_relaxed);
    const std::uint64_t room = rounded(bytes) + sizeof(journal_record);
    if (bytes > vector_bytes || room + left > last_bytes ||
        limit + last_bytes - top - room - left > journal::chunk_size) {
        return false;
    }
    write(base() + top, at, bytes);
    store_in_order(log->top, top + room);
    return true;
}

COHOLD_INLINE bool thread_record::has_saved(const void* at, std::size_t bytes) noexcept {
    return reader().has_saved(distance_to(at), bytes, undo_floor);
}

[[gnu::noinline]] COHOLD_INLINE void thread_record::save_or_throw(const void* at,
                                                                  std::size_t bytes) {
    std::error_code ec;
    save_slowly(at, bytes, ec);
    raise_if(ec);
}

[[gnu::noinline]] COHOLD_INLINE void thread_record::add_chunk(std::uint64_t room,
                                                              std::error_code& ec) noexcept {
    state.more = true;
    const std::uint64_t top = log->top.load(std::memory_order_relaxed);
    const bool first = limit == first_limit();
    const std::uint64_t kept = first ? log->chunk : 0;
    if (limit + last_bytes - top > journal::chunk_size ||
        (kept != 0 && (kept % 8 != 0 || kept < control_bytes ||
                       kept > bounded_size(*header) - journal::chunk_size))) {
        fail(ec, errc::corrupt, "the journal of a thread: end %#llx, chunk %#llx",
             static_cast<unsigned long long>(top), static_cast<unsigned long long>(kept));
        return;
    }
    if (kept != 0) {
        char* const chunk = base() + kept;
        begin_chunk(chunk, journal::chunk_size, top);
        store_in_order(log->top, distance_to(chunk) + 8 + sizeof(journal_record));
        return;
    }
    heap::transaction change(heap::of(*header), process_word());
    std::uint64_t size = journal::chunk_size;
    auto* chunk = static_cast<char*>(change.allocate(size, 8, ec));
    const std::uint64_t least = 2 * (room + 2 * sizeof(journal_record) + 8 + held_back);
    for (; ec && size > least; size /= 2) { // if the heap is fragmented or nearly full
        std::error_code again;
        const report_keeper keeper;
        chunk = static_cast<char*>(change.allocate(size / 2, 8, again));
        if (!again) {
            ec.clear();
        }
    }
    if (ec) {
        return;
    }
    std::uint64_t below = top;
    if (first && size == journal::chunk_size) {
        change.uncount(chunk);
        change.set(log->chunk, distance_to(chunk));
    } else {
        const journal_record freed{distance_to(chunk),
                                   journal_record::word_of(journal_kind::temporary, 0)};
        std::memcpy(base() + top, &freed, sizeof freed);
        below += sizeof freed;
        promise();
    }
    begin_chunk(chunk, size, below);
    change.set(log->top, distance_to(chunk) + 8 + sizeof(journal_record));
}

[[gnu::noinline]] COHOLD_INLINE void* thread_record::allocate_as(journal_kind kind,
                                                                 std::uint64_t bytes,
                                                                 std::uint64_t alignment,
                                                                 std::error_code& ec) noexcept {
    char* const into = reserve(0, ec);
    if (into == nullptr) {
        return nullptr;
    }
    heap::transaction change(heap::of(*header), process_word());
    void* const block = change.allocate(bytes, alignment, ec);
    if (ec) {
        return nullptr;
    }
    const journal_record record{distance_to(block), journal_record::word_of(kind, 0)};
    std::memcpy(into, &record, sizeof record);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    change.set(log->top, static_cast<std::uint64_t>(into - base()) + sizeof record);
    return block;
}

[[gnu::noinline]] COHOLD_INLINE void thread_record::save_apart(const void* at, std::size_t bytes,
                                                               std::error_code& ec) noexcept {
    void* const block = allocate_as(journal_kind::temporary, bytes, 8, ec);
    if (block == nullptr) {
        return;
    }
    promise();
    std::memcpy(block, at, bytes);
    if (char* const into = reserve(8, ec); into != nullptr) {
        const std::uint64_t kept = distance_to(block);
        std::memcpy(into, &kept, sizeof kept);
        append(into + 8, {distance_to(at), journal_record::word_of(journal_kind::snapshot, bytes)});
    }
}

[[gnu::noinline]] COHOLD_INLINE void thread_record::clear_watermarks() noexcept {
    for (watermark& each : watermarks) {
        each.of = nullptr;
    }
    full = false;
    marked = unkept = unkept && own.has(0);
}

[[gnu::noinline]] COHOLD_INLINE void
thread_record::make_room_for_shift(bool keeps, std::error_code& ec) noexcept {
    if (has_chunk_at_hand() || !keeps || !has_room_for_shift()) {
        add_chunk(shift_room(0, byte_shift::least_kept), ec);
    } else {
        const report_keeper keeper;
        std::error_code none;
        add_chunk(shift_room(0, byte_shift::least_kept), none);
    }
}

COHOLD_INLINE void thread_record::save_anyhow(const void* at, std::size_t bytes,
                                              bool words) noexcept {
    if (!save_at_hand(at, bytes)) [[unlikely]] {
        save_for_the_living(at, bytes, words);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
