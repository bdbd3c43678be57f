// Definitions for shared_hold.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SHARED_HOLD_IPP
#define COHOLD_ENGINE_SHARED_HOLD_IPP

#include <cohold/engine/shared_hold.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Held by a thread that changes the table. In a forked child the kernel has cleared it.
class holding_lock {
  public:
    explicit holding_lock(local_identity& identity) noexcept : flags_(identity.flags) {
        yielding loop;
        while ((flags_.fetch_or(local_identity::holding, std::memory_order_acquire) &
                local_identity::holding) != 0) {
            loop.yield();
        }
    }

    holding_lock(const holding_lock&) = delete;
    holding_lock& operator=(const holding_lock&) = delete;

    ~holding_lock() { flags_.fetch_and(~local_identity::holding, std::memory_order_release); }

  private:
    std::atomic<std::uint32_t>& flags_;
};

[[nodiscard]] inline shared_hold** chain_of(const hold_table& table,
                                            const shared_block* block) noexcept {
    const std::uint64_t mixed =
        reinterpret_cast<std::uintptr_t>(block) / 16 * 0x9e3779b97f4a7c15u >> 32;
    return &table.chains[mixed & (table.size - 1)];
}

// Room for one more. False if there is not enough memory.
[[nodiscard]] inline bool reserve_hold(hold_table& table) noexcept {
    if (table.count < table.size) {
        return true;
    }
    hold_table larger{table.size == 0 ? 64 : table.size * 2, table.count, nullptr};
    larger.chains = new (std::nothrow) shared_hold*[larger.size]();
    if (larger.chains == nullptr) {
        return table.size != 0; // the chains become longer
    }
    for (std::size_t i = 0; i < table.size; ++i) {
        for (shared_hold* each = table.chains[i]; each != nullptr;) {
            shared_hold* const next = each->next;
            shared_hold** const chain = chain_of(larger, each->block);
            each->next = *chain;
            *chain = each;
            each = next;
        }
    }
    delete[] table.chains;
    table = larger;
    return true;
}

// The hold of the block, which may be new and not used yet. nullptr without memory.
[[nodiscard]] inline shared_hold* find_hold(segment_header& header, local_identity& identity,
                                            shared_block& block, std::error_code& ec) noexcept {
    if (identity.holds == nullptr) {
        identity.holds = new (std::nothrow) hold_table;
    }
    hold_table* const table = identity.holds;
    shared_hold* found = nullptr;
    if (table != nullptr && table->size != 0) {
        found = *chain_of(*table, &block);
        while (found != nullptr && found->block != &block) {
            found = found->next;
        }
    }
    if (found == nullptr && table != nullptr && reserve_hold(*table)) {
        found = new (std::nothrow) shared_hold{
            {0, 0}, &block, &header, &identity.epoch, identity.epoch.load(), false, nullptr};
        if (found != nullptr) {
            shared_hold** const chain = chain_of(*table, &block);
            found->next = *chain;
            *chain = found;
            ++table->count;
        }
    }
    if (found == nullptr) {
        fail(ec, errc::out_of_space, "not enough memory for a shared pointer");
    }
    return found;
}

inline void remove_if_unused(local_identity& identity, shared_hold& hold) noexcept {
    if (hold.counts[0].load(std::memory_order_acquire) != 0 ||
        hold.counts[1].load(std::memory_order_acquire) != 0) {
        return;
    }
    for (shared_hold** link = chain_of(*identity.holds, hold.block); *link != nullptr;
         link = &(*link)->next) {
        if (*link == &hold) {
            *link = hold.next;
            --identity.holds->count;
            delete &hold;
            return;
        }
    }
}

COHOLD_INLINE shared_hold* take_hold(segment_header& header, shared_block& block, reference which,
                                     bool* alive, std::error_code& ec) noexcept {
    const patience::lifted unlimited;
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    local_identity& identity = *local_of(header).identity;
    const holding_lock lock(identity);
    shared_hold* const hold = find_hold(header, identity, block, ec);
    if (hold == nullptr) {
        return nullptr;
    }
    if (hold->count(which).load(std::memory_order_relaxed) == 0) {
        heap::change change(heap::of(header), me);
        if (alive != nullptr && block.now() != shared_state::living) {
            *alive = false;
            remove_if_unused(identity, *hold);
            return nullptr;
        }
        hold_reference(change, block, which, slot_of(me));
    }
    if (alive != nullptr) {
        *alive = true;
    }
    copy_hold(*hold, which);
    return hold;
}

COHOLD_INLINE shared_hold* take_first_hold(transaction& mine, shared_block& block,
                                           std::error_code& ec) noexcept {
    local_identity& identity = *local_of(mine.header()).identity;
    const holding_lock lock(identity);
    shared_hold* const hold = find_hold(mine.header(), identity, block, ec);
    if (hold == nullptr) {
        return nullptr;
    }
    mine.link(block, ec);
    if (ec) {
        remove_if_unused(identity, *hold);
        return nullptr;
    }
    copy_hold(*hold, reference::strong);
    return hold;
}

COHOLD_INLINE shared_hold* take_hold_of_pooled(segment_header& header, shared_pool& pool,
                                               std::error_code& ec) noexcept {
    const patience::lifted unlimited;
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    local_identity& identity = *local_of(header).identity;
    const holding_lock lock(identity);
    heap::change change(heap::of(header), me);
    shared_block* const next = shared_block_at(header, change, pool.free);
    shared_hold* const hold =
        next != nullptr ? find_hold(header, identity, *next, ec) : nullptr; // before any change
    if (hold == nullptr) {
        return nullptr;
    }
    if (take_pooled(header, change, pool, slot_of(me)) == nullptr) {
        remove_if_unused(identity, *hold);
        return nullptr;
    }
    copy_hold(*hold, reference::strong);
    return hold;
}

COHOLD_INLINE bool let_go(shared_hold& hold, reference which) noexcept {
    std::atomic<std::uint64_t>& count = hold.count(which);
    if (hold.is_stale()) { // a copy that a forked child has, or what is left of an attachment
        static constinit std::atomic<std::uint64_t> busy{0};
        const process_lock lock(busy, stamp_page());
        count.fetch_sub(1, std::memory_order_relaxed);
        if (hold.counts[0].load(std::memory_order_relaxed) == 0 &&
            hold.counts[1].load(std::memory_order_relaxed) == 0) {
            delete &hold;
        }
        return false;
    }
    for (std::uint64_t now = count.load(std::memory_order_relaxed); now > 1;) {
        if (count.compare_exchange_weak(now, now - 1, std::memory_order_release,
                                        std::memory_order_relaxed)) {
            return false;
        }
    }
    const patience::lifted unlimited;
    segment_header& header = *hold.header;
    local_identity& identity = *local_of(header).identity;
    const holding_lock lock(identity);
    if (count.fetch_sub(1, std::memory_order_acq_rel) != 1) {
        return false;
    }
    {
        heap::change change(heap::of(header), identity.me);
        drop_hold(header, change, *hold.block, which, slot_of(identity.me));
    }
    remove_if_unused(identity, hold);
    return which == reference::strong;
}

COHOLD_INLINE void uncount_alone(shared_block& block, reference which) noexcept {
    const patience::lifted unlimited;
    segment_header& header = block.header();
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        heap::change change(heap::of(header), me);
        uncount_reference(header, change, block, which);
    }
}

COHOLD_INLINE bool forget_holds(local_identity& identity) noexcept {
    const holding_lock lock(identity);
    hold_table* const table = std::exchange(identity.holds, nullptr);
    if (table == nullptr) {
        return false;
    }
    const bool any = table->count != 0;
    for (std::size_t i = 0; i < table->size; ++i) {
        for (shared_hold* each = table->chains[i]; each != nullptr;) {
            shared_hold* const next = each->next;
            each->detached.store(true, std::memory_order_release);
            each = next;
        }
    }
    delete[] table->chains;
    delete table;
    return any;
}

COHOLD_INLINE void shared_types::add(entry& made) noexcept {
    const process_lock lock(busy_, stamp_page());
    made.next.store(first_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    first_.store(&made, std::memory_order_release);
}

COHOLD_INLINE void shared_types::remove(const entry& gone) noexcept {
    const process_lock lock(busy_, stamp_page());
    for (std::atomic<entry*>* link = &first_; link->load(std::memory_order_relaxed) != nullptr;
         link = &link->load(std::memory_order_relaxed)->next) {
        if (link->load(std::memory_order_relaxed) == &gone) {
            link->store(gone.next.load(std::memory_order_relaxed), std::memory_order_seq_cst);
            break;
        }
    }
    const deadline until = deadline::in(patience::brief);
    for (yielding loop; readers_.load(std::memory_order_seq_cst) != 0 && !until.has_passed();) {
        loop.yield();
    }
}

COHOLD_INLINE bool shared_types::find(std::uint64_t hash, shared_type& found) noexcept {
    readers_.fetch_add(1, std::memory_order_seq_cst);
    const entry* each = first_.load(std::memory_order_seq_cst);
    while (each != nullptr && each->type.hash != hash) {
        each = each->next.load(std::memory_order_acquire);
    }
    if (each != nullptr) {
        found = each->type;
    }
    readers_.fetch_sub(1, std::memory_order_release);
    return each != nullptr;
}

// Destroys an orphan that this process has claimed. If the process is killed meanwhile, the object
// is whole again, and another process destroys it. In a full segment, which has no room to save the
// object, the memory that it owns is leaked then.
inline void destroy_orphan(transaction& mine, shared_block& block, const shared_type& type,
                           std::size_t size) noexcept {
    const section part(&mine, false);
    char* const object = reinterpret_cast<char*>(&mine.header()) + block.object;
    std::error_code ec;
    mine.save(object, size, ec);
    if (ec) {
        const patience::lifted unlimited;
        heap::change change(heap::of(mine.header()), mine.process_word());
        change.set(block.state, shared_block::state_of(shared_state::ending, block.words()));
    }
    const transaction::range outer = mine.cover({reinterpret_cast<std::uintptr_t>(object), size});
    type.destroy(object);
    mine.cover(outer);
    mine.end(block);
}

[[gnu::noinline]] COHOLD_INLINE void collect_orphans(segment_header& header) noexcept {
    if (__atomic_load_n(static_cast<aligned_word*>(&shared_lists::of(header).orphans),
                        __ATOMIC_RELAXED) == 0) {
        return;
    }
    const report_keeper keeper;
    std::error_code ec;
    transaction* const mine = self(header, ec);
    if (mine == nullptr || mine->depth() != 0 || mine->collect(true)) {
        return; // if it is collecting, the loop around this goes on
    }
    shared_type type{};
    const auto known = [&](std::uint64_t hash) noexcept {
        return known_shared_types.find(hash, type);
    };
    while (shared_block* const block = claim_orphan(header, mine->process_word(), known)) {
        const std::uint64_t size = bounded_size(header); // it may have grown for the block
        if (block->object < control_bytes || block->object >= size ||
            size - block->object < type.size) {
            break; // the bytes are damaged
        }
        const std::uint64_t bytes =
            type.whole_size == nullptr
                ? type.size
                : type.whole_size(reinterpret_cast<const char*>(&header) + block->object);
        if (size - block->object < bytes) {
            break;
        }
        destroy_orphan(*mine, *block, type, static_cast<std::size_t>(bytes));
    }
    mine->collect(false);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
