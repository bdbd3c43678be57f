// Definitions for queue_claimant.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_CLAIMANT_IPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_CLAIMANT_IPP

#include <cohold/container/detail/queue_claimant.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE bool find_claimant(segment_header& header,
                                                   std::error_code& ec) noexcept {
    static thread_local bool in_vain = false; // then a spinning thread does not wait here
    transaction* found = nullptr;
    {
        const patience limit(deadline{0}, in_vain ? 0 : patience::brief);
        found = self(header, ec);
    }
    forget_timeout(ec);
    if (ec) {
        return false;
    }
    in_vain = found == nullptr;
    if (in_vain) {
        return false;
    }
    last_claimant = {&header, &local_of(header).identity->epoch, found->epoch(),
                     &found->log().claim,
                     mark_of(slot_of(found->word()), generation_of(found->word()))};
    return true;
}

[[gnu::noinline]] COHOLD_INLINE bool find_claimant(segment_header& header) {
    std::error_code ec;
    const bool found = find_claimant(header, ec);
    raise_if(ec);
    return found;
}

[[gnu::noinline]] COHOLD_INLINE owner_word new_worker(segment_header& header) {
    const patience limit(deadline{0});
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    raise_if(ec);
    return me;
}

COHOLD_INLINE bool recover_worker_if_dead(segment_header& header, owner_word worker) noexcept {
    if (is_alive(header, worker)) {
        return false;
    }
    std::error_code ec;
    const report_keeper keeper;
    const patience limit(deadline{0});
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return false;
    }
    static_cast<void>(recover(header, me, worker));
    return !is_attached(header, worker);
}

COHOLD_INLINE bool recover_claimant_if_dead(segment_header& header, claim_mark mark) noexcept {
    const std::uint32_t index = marked_participant(mark);
    if (index > participant_table::spare(header)) {
        return true; // there never was a worker
    }
    const std::uint64_t state =
        participant_table::of(header).slots[index].state.load(std::memory_order_acquire);
    const auto generation = static_cast<std::uint32_t>(state >> 32);
    const std::uint32_t marked = generation - ((generation - marked_generation(mark)) & 0xffffU);
    // If the attachment is over, recovery has resolved its claims; the word may have been read
    // before that.
    return !is_attachment_of(state, marked) ||
           recover_worker_if_dead(header, make_owner(index, generation, 0));
}

COHOLD_INLINE void recover_all_dead(segment_header& header) noexcept {
    std::error_code ec;
    const report_keeper keeper;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        recover_all(header, me);
    }
}

COHOLD_INLINE bool suspicion::is_due(const atomic_word& word, slot_word claimed) noexcept {
    static thread_local suspicion memories[count];
    suspicion& memory =
        memories[(reinterpret_cast<std::uintptr_t>(&word) * 0x9e3779b9u >> 16) % count];
    const bool known = memory.word_ == &word && memory.claimed_ == claimed;
    if (known && ++memory.looks_ % few_looks != 0 && memory.looks_ > few_looks) {
        return false; // in a spin loop: reading the clock costs more than reading the word
    }
    const std::int64_t now = deadline::now().nanoseconds;
    const bool over = now - memory.since_ >= interval;
    if (over) {
        const bool due = known || now - memory.since_ < 2 * interval;
        memory.word_ = &word;
        memory.claimed_ = claimed;
        memory.looks_ = 0;
        memory.since_ = now;
        return due;
    }
    return false;
}
} // namespace detail

COHOLD_NAMESPACE_END

#endif
