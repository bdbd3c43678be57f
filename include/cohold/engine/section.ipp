// Definitions for section.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SECTION_IPP
#define COHOLD_ENGINE_SECTION_IPP

#include <cohold/engine/section.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE void open_section(thread_record& record, bool undoable) noexcept {
    if (record.state.depth == 0) {
        list_open(record);
    }
    ++record.state.depth;
    if (undoable) {
        record.forget_watermarks(); // this section does not undo what was saved before
        if (!record.state.undoable && record.state.depth != 1) {
            record.undoable_from = record.state.depth;
        }
        record.undo_floor = record.log->top.load(std::memory_order_relaxed);
        record.state.undoable = true;
    }
}

[[gnu::noinline]] COHOLD_INLINE void close_section(thread_record& record) noexcept {
    if (record.state.depth != 1) {
        if (record.undoable_from == record.state.depth) {
            record.state.undoable = false;
            record.undoable_from = 0;
        }
        --record.state.depth;
        return;
    }
    const bool acts = !is_inherited(record);
    if (acts) [[likely]] {
        record.commit(record.first());
    }
    unlist_open(record);
    record.undoable_from = 0;
    record.forget_watermarks();
    if (acts) [[likely]] {
        record.release_locks();
    }
    record.state = {};
}

[[gnu::noinline]] COHOLD_INLINE void roll_back_section(thread_record& record,
                                                       savepoint from) noexcept {
    if (!is_inherited(record)) {
        record.roll_back(record.state.depth == 1 ? record.first() : from);
    }
}

COHOLD_INLINE void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
                             std::error_code& ec) noexcept {
    if (thread_record* const record = open_record(&header); record != nullptr) {
        return record->allocate(bytes, alignment, ec);
    }
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    heap::transaction change(heap::of(header), me);
    return change.allocate(bytes, alignment, ec);
}

COHOLD_INLINE void deallocate(segment_header& header, void* pointer) noexcept {
    if (pointer == nullptr || !is_participant(header)) {
        return;
    }
    if (thread_record* const record = open_record(&header); record != nullptr) {
        record->drop(pointer);
        return;
    }
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        heap::transaction change(heap::of(header), me);
        change.deallocate(pointer);
    }
}

COHOLD_INLINE void* allocate_objects(segment_header* header, std::size_t count, std::size_t size,
                                     std::size_t alignment, std::error_code& ec) noexcept {
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
