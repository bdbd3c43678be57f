// Definitions for journal.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_JOURNAL_IPP
#define COHOLD_ENGINE_JOURNAL_IPP

#include <cohold/engine/journal.hpp>
#include <cohold/engine/shared_block.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::uint64_t journal_record::room() const noexcept {
    switch (kind()) {
    case journal_kind::bytes:
    case journal_kind::shift:
        return (bytes() + 7) / 8 * 8;
    case journal_kind::snapshot:
    case journal_kind::jump:
        return 8;
    default:
        return 0;
    }
}

COHOLD_INLINE byte_shift::byte_shift(char* place, shift_words& words, std::uint64_t room,
                                     std::uint64_t bytes, std::ptrdiff_t distance) noexcept
    : place_(place), bytes_(bytes), distance_(distance), progress_(&words.progress) {
    if (room >= sizeof words + least_kept) {
        step_ = (room - sizeof words) / least_kept * least_kept;
        kept_ = reinterpret_cast<char*>(&words) - step_;
    } else {
        step_ = length_of(distance_);
    }
}

COHOLD_INLINE bool byte_shift::is_possible() const noexcept {
    if (bytes_ == 0 || distance_ == 0) {
        return false;
    }
    return kept_ != nullptr || !keeps(bytes_, distance_);
}

COHOLD_INLINE void byte_shift::run() noexcept {
    if (distance_ > 0) {
        std::uint64_t at = bytes_;
        do {
            at = step_before(at);
            take(at, at);
        } while (at != 0);
    } else {
        for (std::uint64_t at = 0; at != bytes_;) {
            const std::uint64_t next = at + size_at(at);
            take(at, next);
            at = next;
        }
    }
}

COHOLD_INLINE void byte_shift::undo() noexcept {
    if (progress_ == nullptr) {
        undo_at_once();
        return;
    }
    const std::uint64_t begun = progress_->load(std::memory_order_relaxed);
    std::uint64_t at = begun / 2;
    if (at > bytes_) {
        return; // the value is damaged
    }
    if (kept_ != nullptr && begun % 2 != 0) {
        at = give_back(at);
    }
    while (at != (distance_ > 0 ? bytes_ : 0)) {
        const std::uint64_t last = distance_ > 0 ? at : step_before(at);
        if (kept_ != nullptr) {
            move(kept_, place_ + last + distance_, size_at(last));
            note(last, true);
            at = give_back(last);
        } else {
            move(place_ + last, place_ + last + distance_, size_at(last));
            at = without(last);
        }
    }
}

COHOLD_INLINE void byte_shift::take(std::uint64_t at, std::uint64_t then) noexcept {
    if (kept_ != nullptr) {
        move(kept_, place_ + at, size_at(at));
        note(at, true);
    }
    move(place_ + at + distance_, place_ + at, size_at(at));
    note(then, false);
}

[[gnu::noinline]] COHOLD_INLINE bool journal_reader::roll_back(std::uint64_t floor) noexcept {
    if (log_.top.load(std::memory_order_relaxed) == floor) {
        return true;
    }
    header_.rollbacks.fetch_add(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_release); // later writes stay after it
    const bool done = undo_records(floor);
    header_.rollbacks.fetch_add(1, std::memory_order_seq_cst);
    return done;
}

[[gnu::noinline]] COHOLD_INLINE bool journal_reader::finish(std::uint64_t floor) noexcept {
    store_in_order(log_.floor, floor); // this commits
    store_in_order(log_.witness, 0);
    read_ = 0;
    for (std::uint64_t top; (top = log_.top.load(std::memory_order_relaxed)) != floor;) {
        const journal_record* const last = record_before(top);
        if (last == nullptr) {
            store_in_order(log_.top, floor);
            break;
        }
        const std::uint64_t below = below_of(*last, top);
        if (last->kind() == journal_kind::dropped || last->kind() == journal_kind::temporary) {
            if (!free_block(last->where, below)) {
                return false;
            }
        } else if (last->kind() == journal_kind::released || last->kind() == journal_kind::ended) {
            if (!change_shared(*last, below)) {
                return false;
            }
        } else {
            store_in_order(log_.top, below);
        }
    }
    store_in_order(log_.floor, 0);
    return true;
}

COHOLD_INLINE bool journal_reader::recover() noexcept {
    const std::uint64_t begin = begin_of(header_, log_);
    bool done = true;
    if (const std::uint64_t floor = log_.floor.load(std::memory_order_relaxed); floor != 0) {
        done = finish(floor);
    } else if (is_witnessed()) {
        done = finish(log_.witness_floor.load(std::memory_order_relaxed));
    }
    if (!done) {
        return false;
    }
    store_in_order(log_.witness, 0);
    return roll_back(begin);
}

COHOLD_INLINE std::uint64_t journal_reader::sections_around() noexcept {
    const std::uint64_t begin = begin_of(header_, log_);
    std::uint64_t around = 0;
    read_ = 0;
    for (std::uint64_t top = log_.top.load(std::memory_order_relaxed); top != begin;) {
        const journal_record* const last = record_before(top);
        if (last == nullptr) {
            return 0;
        }
        around = last->kind() == journal_kind::within ? last->where : 0;
        top = below_of(*last, top);
    }
    return around;
}

COHOLD_INLINE bool journal_reader::has_saved(std::uint64_t where, std::uint64_t bytes,
                                             std::uint64_t floor) noexcept {
    read_ = 0;
    std::uint64_t top = log_.top.load(std::memory_order_relaxed);
    const std::uint64_t begin = begin_of(header_, log_);
    for (unsigned count = 0; top != floor && top != begin && count != 1000; ++count) {
        const journal_record* const last = record_before(top);
        // Undoing a shift reads the current bytes, so they must be restored first.
        if (last == nullptr || last->kind() == journal_kind::shift) {
            return false;
        }
        if ((last->kind() == journal_kind::bytes || last->kind() == journal_kind::snapshot) &&
            bytes <= last->bytes() && where - last->where <= last->bytes() - bytes) {
            return true;
        }
        top = below_of(*last, top);
    }
    return false;
}

COHOLD_INLINE const journal_record* journal_reader::record_before(std::uint64_t top) noexcept {
    if (top % 8 != 0 || top < control_bytes + sizeof(journal_record) || at(top - 1) == nullptr) {
        return nullptr;
    }
    const auto* const last =
        reinterpret_cast<const journal_record*>(base() + top - sizeof(journal_record));
    read_ += sizeof(journal_record);
    if (last->kind() == journal_kind::bytes || last->kind() == journal_kind::snapshot) {
        read_ += last->bytes();
    }
    if (last->kind() == journal_kind::jump) {
        read_ += journal::chunk_size; // the chunk has been read
    }
    return read_ / 2 <= bounded_size(header_) && // half, as records and chunks both count
                   last->room() <= top - control_bytes - sizeof(journal_record)
               ? last
               : nullptr;
}

COHOLD_INLINE bool journal_reader::undo_records(std::uint64_t floor) noexcept {
    read_ = 0;
    for (std::uint64_t top; (top = log_.top.load(std::memory_order_relaxed)) != floor;) {
        const journal_record* const last = record_before(top);
        if (last == nullptr) {
            store_in_order(log_.top, floor);
            break;
        }
        const std::uint64_t below = below_of(*last, top);
        switch (last->kind()) {
        case journal_kind::bytes:
            put_back(last->where, reinterpret_cast<const char*>(last) - last->room(),
                     last->bytes());
            store_in_order(log_.top, below);
            break;
        case journal_kind::snapshot:
            if (const std::uint64_t kept = word_before(*last); is_inside(kept, last->bytes())) {
                put_back(last->where, base() + kept, last->bytes());
            }
            store_in_order(log_.top, below);
            break;
        case journal_kind::shift:
            undo_shift(*last);
            store_in_order(log_.top, below);
            break;
        case journal_kind::made:
        case journal_kind::temporary:
            if (!free_block(last->where, below)) {
                return false;
            }
            break;
        case journal_kind::counted:
        case journal_kind::linked:
            if (!change_shared(*last, below)) {
                return false;
            }
            break;
        default:
            store_in_order(log_.top, below);
        }
    }
    return true;
}

COHOLD_INLINE bool journal_reader::is_witnessed() const noexcept {
    const std::uint64_t witness = log_.witness.load(std::memory_order_relaxed);
    const char* const word = witness == 0 ? nullptr : at(witness / 8 * 8);
    if (word == nullptr) {
        return false;
    }
    const std::uint64_t value = log_.witness_value.load(std::memory_order_relaxed);
    const std::uint64_t now =
        reinterpret_cast<const std::atomic<std::uint64_t>*>(word)->load(std::memory_order_acquire);
    return static_cast<witness_kind>(witness % 8) == witness_kind::counter ? has_reached(now, value)
                                                                           : now == value;
}

COHOLD_INLINE void journal_reader::put_back(std::uint64_t where, const char* from,
                                            std::uint64_t bytes) const noexcept {
    if (bytes != 0 && is_inside(where, bytes)) {
        // memmove, because in a damaged journal the bytes may overlap.
        std::memmove(base() + static_cast<std::ptrdiff_t>(where), from,
                     static_cast<std::size_t>(bytes));
    }
}

COHOLD_INLINE void journal_reader::undo_shift(const journal_record& record) noexcept {
    if (record.bytes() % 8 != 0 || record.bytes() < sizeof(shift_words)) {
        return;
    }
    byte_shift shift(base() + static_cast<std::ptrdiff_t>(record.where), shift_words::of(record),
                     record.bytes());
    const auto distance = static_cast<std::uint64_t>(std::int64_t{shift.distance()});
    if (shift.is_possible() && is_inside(record.where, shift.bytes()) &&
        is_inside(record.where + distance, shift.bytes())) {
        shift.undo();
    }
}

COHOLD_INLINE bool journal_reader::free_block(std::uint64_t where, std::uint64_t below) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (own_ != nullptr && own_->give_recorded(where, log_.top, below)) {
        return true;
    }
    heap::change change(heap::of(header_), me_);
    if (!change) {
        return false;
    }
    // In this process's own journal, a block that is freed twice is an error of the user, which
    // is reported with heap_checks.
    const bool checked = config::heap_checks && own_ != nullptr;
    if (char* const block = at(where);
        block != nullptr && (checked || change.owns_counted(block))) {
        change.deallocate(block);
    }
    change.set(log_.top, below);
    return true;
}

COHOLD_INLINE bool journal_reader::change_shared(const journal_record& record,
                                                 std::uint64_t below) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    heap::change change(heap::of(header_), me_);
    if (!change) {
        return false;
    }
    if (shared_block* const block = shared_block_at(header_, change, record.where);
        block != nullptr) {
        if (record.kind() == journal_kind::linked) {
            remove_shared(header_, change, *block);
        } else if (record.kind() == journal_kind::ended) {
            end_shared(header_, change, *block);
        } else {
            uncount_reference(header_, change, *block,
                              record.bytes() == 0 ? reference::strong : reference::weak);
        }
    }
    change.set(log_.top, below);
    return true;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
