// Definitions for loan_pool.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_LOAN_POOL_IPP
#define COHOLD_CONTAINER_DETAIL_LOAN_POOL_IPP

#include <cohold/container/detail/loan_pool.hpp>

#include <cstring>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE loan_pool::loan_pool(std::uint64_t count, std::uint64_t size, std::uint64_t alignment,
                                   const shm_allocator<std::uint64_t>& allocator)
    : allocator_(allocator) {
    const error_context context("construct", "shm_pool", "");
    constexpr std::uint64_t most = 1u << 31;
    if (count == 0 || count > most) {
        raise(errc::invalid_size, "elements: expected 1 to %llu, found %lld",
              static_cast<unsigned long long>(most), static_cast<long long>(count));
    }
    undo_scope<shm_allocator<std::uint64_t>> section(allocator_);
    blocks_ = allocator_.allocate(static_cast<std::size_t>(count));
    segment_header& header = allocator_.bound_header();
    char* const base = reinterpret_cast<char*>(&header);
    const std::uint32_t words = holder_words(header);
    const std::uint64_t distance = object_distance(words, alignment);
    pool_.self = static_cast<std::uint64_t>(reinterpret_cast<char*>(this) - base);
    std::error_code ec;
    for (; count_ < count; ++count_) {
        void* const made = allocate(header, distance + size, alignment < 16 ? 16 : alignment, ec);
        if (ec) {
            free_blocks(count_);
            raise_if(ec);
        }
        const auto offset = static_cast<std::uint64_t>(static_cast<char*>(made) - base);
        auto* const block = ::new (made)
            shared_block{0,         pool_.free,
                         offset,    0,
                         {0, 0},    shared_block::state_of(shared_state::pooled, words),
                         0,         offset + distance,
                         pool_.self};
        std::memset(block->holders(reference::strong), 0, 16 * std::size_t{words});
        blocks_[static_cast<std::ptrdiff_t>(count_)] = offset;
        pool_.free = offset;
    }
    pool_.available = count;
    pool_.least = count;
}

COHOLD_INLINE loan_pool::~loan_pool() {
    native_events::end(this, sizeof *this);
    if (count_ == 0) {
        return; // destroyed already, by a process that was killed afterwards
    }
    const report_keeper keeper;
    undo_scope<shm_allocator<std::uint64_t>> section(allocator_, without_journal::happens);
    section.words(this, this, sizeof *this);
    free_blocks(count_);
    count_ = 0;
    pool_ = {};
    keep_stores_of(this);
}

COHOLD_INLINE void loan_pool::free_blocks(std::uint64_t made) noexcept {
    segment_header& header = allocator_.bound_header();
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    for (std::uint64_t i = 0; i < made && !ec; ++i) {
        shared_block* block = nullptr;
        {
            const patience::lifted unlimited;
            heap::change change(heap::of(header), me);
            block = shared_block_at(header, change, blocks_[static_cast<std::ptrdiff_t>(i)]);
            if (block == nullptr || block->pool != pool_.self) {
                continue;
            }
            if (block->now() != shared_state::pooled) {
                change.set(block->pool, 0); // it is freed by its last holder
                continue;
            }
        }
        deallocate(header, block);
    }
    deallocate(header, blocks_.get());
    blocks_ = nullptr;
}

COHOLD_INLINE const shared_block* loan_pool::block_at(std::uint64_t index) const noexcept {
    const segment_header& header = *allocator_.header();
    const std::uint64_t offset = read(blocks_.get()[index]);
    const std::uint64_t size = bounded_size(header);
    if (offset < control_bytes || offset % 16 != 0 || offset >= size ||
        size - offset < object_distance(holder_words(header), 16)) {
        return nullptr;
    }
    const auto* const block =
        reinterpret_cast<const shared_block*>(reinterpret_cast<const char*>(&header) + offset);
    return block->words() == holder_words(header) ? block : nullptr;
}

COHOLD_INLINE outcome loan_pool::try_lend(shared_words& into, bool thorough,
                                          std::error_code& ec) noexcept {
    segment_header* const header = allocator_.header();
    if (header == nullptr) {
        fail(ec, errc::no_segment, "a shm_pool must be in a segment");
        return outcome::closed;
    }
    if (available() == 0 && !thorough) {
        return outcome::blocked;
    }
    shared_hold* hold = take_hold_of_pooled(*header, pool_, ec);
    if (hold == nullptr && !ec) {
        // Perhaps dead processes have the others.
        const owner_word me = participant_of(*header, ec);
        if (!ec && recover_all(*header, me) != 0) {
            hold = take_hold_of_pooled(*header, pool_, ec);
        }
    }
    if (hold == nullptr) {
        return ec ? outcome::closed : outcome::blocked;
    }
    into.adopt(*hold->block, reinterpret_cast<char*>(header) + hold->block->object, *hold);
    return outcome::done;
}

COHOLD_INLINE bool loan_pool::lend(shared_words& into, deadline until,
                                   std::error_code& ec) noexcept {
    outcome result = try_lend(into, true, ec);
    if (result == outcome::blocked && until.nanoseconds != at_once.nanoseconds) {
        std::uint32_t attempts = 0;
        const auto attempt = [&]() noexcept {
            return try_lend(into, ++attempts > waiting::adaptive::spins, ec);
        };
        result = await<waiting::adaptive>(returned_, attempt, until).what;
    }
    return result == outcome::done;
}

COHOLD_INLINE event_source loan_pool::events() noexcept {
    const auto look = [](const loan_pool& pool, bool thorough) noexcept {
        const segment_header* const header = pool.allocator_.header();
        bool available = pool.available() != 0;
        if (!available && thorough && header != nullptr) {
            each_participant(*header, [&](owner_word each, const participant_slot& /*slot*/) {
                available = available || !is_alive(*header, each);
            });
        }
        return available;
    };
    return event_source::of(*this, returned_, event_source::way::all, look);
}

COHOLD_INLINE loan_pool* loan_pool::waited_for(const shared_words& loan) noexcept {
    if (loan.is_null()) {
        return nullptr;
    }
    shared_block& block = *loan.block();
    auto* const pool =
        reinterpret_cast<loan_pool*>(block.pool != 0 ? pool_of(block.header(), block) : nullptr);
    return pool != nullptr && pool->returned_.awaited() ? pool : nullptr;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
