// Definitions for journal_writer.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_JOURNAL_WRITER_IPP
#define COHOLD_ENGINE_JOURNAL_WRITER_IPP

#include <cohold/engine/journal_writer.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE journal_writer::journal_writer(segment_header& of, owner_word me,
                                             std::uint64_t mapped,
                                             const std::atomic<std::uint64_t>& epoch) noexcept
    : open_sections{{}, &of}, me_(me), epoch_here_(&epoch),
      epoch_(epoch.load(std::memory_order_relaxed)), mapped_(mapped) {
}

COHOLD_INLINE void* journal_writer::allocate(std::uint64_t bytes, std::uint64_t alignment,
                                             std::error_code& ec) noexcept {
    const slab_cache::offer found = slabs_.look(bytes, alignment);
    if (found.block == nullptr) {
        return allocate_as(journal_kind::made, bytes, alignment, ec);
    }
    char* const into = reserve(0, ec);
    if (into == nullptr) {
        return nullptr;
    }
    // First the record, then the block: nobody else takes it meanwhile, so if the record alone is
    // undone, a free block becomes free.
    append(into, {distance_to(found.block), journal_record::word_of(journal_kind::made, 0)});
    slabs_.accept(found);
    return found.block;
}

COHOLD_INLINE void journal_writer::append_within(std::uint64_t around) noexcept {
    if (fits(top(), 0)) {
        append(base() + top(), {around, journal_record::word_of(journal_kind::within, 0)});
    }
}

COHOLD_INLINE bool journal_writer::append_drop(const void* block) noexcept {
    if (!has_room_now(0)) {
        return false;
    }
    append(base() + top(), {distance_to(block), journal_record::word_of(journal_kind::dropped, 0)});
    promise();
    return true;
}

COHOLD_INLINE void journal_writer::save_inside(const void* at, std::size_t bytes,
                                               std::error_code& ec) noexcept {
    if (bytes > largest_inline) {
        save_apart(at, bytes, ec);
    } else if (char* const into = reserve(rounded(bytes), ec); into != nullptr) {
        write(into, at, bytes);
        store_in_order(log_->top, distance_to(into) + rounded(bytes) + sizeof(journal_record));
    }
}

COHOLD_INLINE bool journal_writer::save_at_last(const void* at, std::size_t bytes,
                                                bool last) noexcept {
    const std::uint64_t end = top();
    const std::uint64_t room = rounded(bytes) + sizeof(journal_record);
    const std::uint64_t left = last ? 0 : last_bytes / 2;
    if (bytes > vector_bytes || room + left > last_bytes ||
        limit_ + last_bytes - end - room - left > journal::chunk_size) {
        return false;
    }
    write(base() + end, at, bytes);
    store_in_order(log_->top, end + room);
    return true;
}

COHOLD_INLINE bool journal_writer::has_room_now(std::uint64_t room) noexcept {
    if (fits(top(), room)) {
        return true;
    }
    if (state.full) {
        return false;
    }
    const report_keeper keeper;
    std::error_code ec;
    add_chunk(room, ec);
    state.full = static_cast<bool>(ec);
    return !ec;
}

[[gnu::noinline]] COHOLD_INLINE void journal_writer::add_chunk(std::uint64_t room,
                                                               std::error_code& ec) noexcept {
    state.more = true;
    const std::uint64_t end = top();
    const bool first = limit_ == first_limit();
    const std::uint64_t kept = first ? log_->chunk : 0;
    if (limit_ + last_bytes - end > journal::chunk_size ||
        (kept != 0 && (kept % 8 != 0 || kept < control_bytes ||
                       kept > bounded_size(*segment) - journal::chunk_size))) {
        fail(ec, errc::corrupt, "the journal of a thread: end %#llx, chunk %#llx",
             static_cast<unsigned long long>(end), static_cast<unsigned long long>(kept));
        return;
    }
    if (kept != 0) {
        char* const chunk = base() + kept;
        begin_chunk(chunk, journal::chunk_size, end);
        store_in_order(log_->top, distance_to(chunk) + 8 + sizeof(journal_record));
        return;
    }
    heap::change change(heap::of(*segment), process_word());
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
    std::uint64_t below = end;
    if (first && size == journal::chunk_size) {
        change.uncount(chunk);
        change.set(log_->chunk, distance_to(chunk));
    } else {
        const journal_record freed{distance_to(chunk),
                                   journal_record::word_of(journal_kind::temporary, 0)};
        std::memcpy(base() + end, &freed, sizeof freed);
        below += sizeof freed;
        promise();
    }
    begin_chunk(chunk, size, below);
    change.set(log_->top, distance_to(chunk) + 8 + sizeof(journal_record));
}

COHOLD_INLINE void journal_writer::begin_chunk(char* chunk, std::uint64_t size,
                                               std::uint64_t below) noexcept {
    std::memcpy(chunk, &limit_, sizeof limit_);
    const journal_record jump{below, journal_record::word_of(journal_kind::jump, 0)};
    std::memcpy(chunk + 8, &jump, sizeof jump);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    limit_ = distance_to(chunk) + size - held_back;
}

[[gnu::noinline]] COHOLD_INLINE void* journal_writer::allocate_as(journal_kind kind,
                                                                  std::uint64_t bytes,
                                                                  std::uint64_t alignment,
                                                                  std::error_code& ec) noexcept {
    char* const into = reserve(0, ec);
    if (into == nullptr) {
        return nullptr;
    }
    heap::change change(heap::of(*segment), process_word());
    void* const block = change.allocate(bytes, alignment, ec);
    if (ec) {
        return nullptr;
    }
    const journal_record record{distance_to(block), journal_record::word_of(kind, 0)};
    std::memcpy(into, &record, sizeof record);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    change.set(log_->top, static_cast<std::uint64_t>(into - base()) + sizeof record);
    return block;
}

[[gnu::noinline]] COHOLD_INLINE void journal_writer::save_apart(const void* at, std::size_t bytes,
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

[[gnu::noinline]] COHOLD_INLINE void
journal_writer::make_room_for_shift(bool keeps, std::error_code& ec) noexcept {
    if (has_chunk_at_hand() || !keeps || !has_room_for_shift()) {
        add_chunk(shift_room(0, byte_shift::least_kept), ec);
    } else {
        const report_keeper keeper;
        std::error_code none;
        add_chunk(shift_room(0, byte_shift::least_kept), none);
    }
}

COHOLD_INLINE bool journal_writer::append_promise(journal_kind kind, const shared_block& block,
                                                  reference which) noexcept {
    if (!has_room_now(0)) {
        return false;
    }
    append(base() + top(),
           {distance_to(&block), journal_record::word_of(kind, static_cast<std::uint64_t>(which))});
    promise();
    return true;
}

COHOLD_INLINE bool journal_writer::append_count(shared_block& block, reference which) noexcept {
    const bool recorded = has_room_now(0);
    heap::change change(heap::of(header()), process_word());
    count_reference(change, block, which);
    if (recorded) {
        append_in(change, journal_kind::counted, block, which);
    }
    return recorded;
}

COHOLD_INLINE void journal_writer::append_link(shared_block& block, std::error_code& ec) noexcept {
    if (reserve(0, ec) == nullptr) {
        return;
    }
    heap::change change(heap::of(header()), process_word());
    if (!change) {
        static_cast<void>(change.allocate(1, 8, ec)); // for the report
        return;
    }
    add_shared(header(), change, block);
    hold_reference(change, block, reference::strong, slot_of(me_));
    append_in(change, journal_kind::linked, block, reference::strong);
}

COHOLD_INLINE void journal_writer::append_in(heap::change& change, journal_kind kind,
                                             const shared_block& block, reference which) noexcept {
    const std::uint64_t at = top();
    const journal_record made{distance_to(&block),
                              journal_record::word_of(kind, static_cast<std::uint64_t>(which))};
    std::memcpy(base() + at, &made, sizeof made);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    change.set(log_->top, at + sizeof made);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
