// Definitions for hash_table.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_TABLE_IPP
#define COHOLD_CONTAINER_DETAIL_HASH_TABLE_IPP

#include <cerrno>

#include <cohold/container/detail/hash_table.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE bool hash_visit::is_visiting(const hash_table& asked) noexcept {
    const auto place = [](const hash_table& table) noexcept {
        return reinterpret_cast<std::uintptr_t>(&table) -
               reinterpret_cast<std::uintptr_t>(table.header());
    };
    const hash_visit* each = innermost;
    while (each != nullptr && (place(each->table) != place(asked) ||
                               !is_same_segment(*each->table.header(), *asked.header()))) {
        each = each->outer;
    }
    return each != nullptr;
}

// ---- growth, by one thread

struct hash_growth {
    hash_table& table;
    const hash_shape& shape;
    transaction& mine;
    segment_header& header;

    [[nodiscard]] std::uint64_t offset_in_segment(const void* address) const noexcept {
        return static_cast<std::uint64_t>(static_cast<const char*>(address) -
                                          reinterpret_cast<const char*>(&header));
    }

    [[nodiscard]] hash_block* block_at(std::uint64_t offset) const noexcept {
        return offset % alignof(hash_block) == 0 &&
                       hash_table::is_inside(offset, shape.block_bytes(), bounded_size(header))
                   ? reinterpret_cast<hash_block*>(reinterpret_cast<char*>(&header) + offset)
                   : nullptr;
    }

    // The entries of the present directory, and its depth; nullptr if the bytes are damaged.
    [[nodiscard]] std::atomic<hash_entry>* entries(std::uint32_t& depth) const noexcept {
        const hash_entry root = table.root_.load(std::memory_order_acquire);
        depth = depth_of(root);
        return depth <= most_depth &&
                       hash_table::is_inside(offset_of(root), hash_directory::bytes(depth),
                                             bounded_size(header))
                   ? reinterpret_cast<hash_directory*>(reinterpret_cast<char*>(&header) +
                                                       offset_of(root))
                         ->entries()
                   : nullptr;
    }

    void lock(robust_lock& lock) const noexcept {
        segment_header& in = header;
        const owner_word me = mine.process_word();
        lock.lock(mine.word(), deadline::never(), [&in, me](owner_word holder) noexcept {
            return recover_thread_if_dead(in, me, holder);
        });
    }

    // The same for the lock of a block, for which this thread must not wait if another thread may
    // be waiting for it.
    void lock_block(hash_block& block, std::error_code& ec) const noexcept {
        const bool visiting = hash_visit::is_visiting(table);
        if (same_owner(block.lock.holder(), mine.word()) || (visiting && config::heap_checks) ||
            (!block.lock.try_lock(mine.word()) && visiting)) {
            fail_errno(ec, EDEADLK,
                       "a function that a table calls with one of its elements must not change "
                       "the same table");
        } else if (!same_owner(block.lock.holder(), mine.word())) {
            lock(block.lock);
        }
    }

    // ---- the directory

    // While it lives, the directory does not change otherwise, and no change of it is unfinished.
    class directory_lock {
      public:
        explicit directory_lock(const hash_growth& growth) noexcept : growth_(growth) {
            growth.lock(growth.table.growing_);
            growth.complete_entries();
        }

        directory_lock(const directory_lock&) = delete;
        directory_lock& operator=(const directory_lock&) = delete;

        ~directory_lock() { hash_growth::unlock(growth_.table.growing_, growth_.mine); }

      private:
        const hash_growth& growth_;
    };

    static void unlock(robust_lock& lock, const transaction& mine) noexcept {
        if (!mine.is_inherited()) {
            lock.unlock();
        }
    }

    // Makes the entries say that the pending block has been split. Any number of times.
    void complete_entries() const noexcept {
        const std::uint64_t offset = table.pending_.load(std::memory_order_relaxed);
        if (offset == 0) {
            return;
        }
        std::uint32_t depth = 0;
        std::atomic<hash_entry>* const all = entries(depth);
        const hash_block* const old = block_at(offset);
        const std::uint64_t word = old == nullptr ? 0 : old->split.load(std::memory_order_acquire);
        const std::uint32_t now = depth_of(word) + 1;
        if (all != nullptr && (word & split_filled) != 0 && now <= depth) {
            const std::uint64_t count = std::uint64_t{1} << (depth - now);
            const std::uint64_t first = first_bits(old->prefix, depth) & ~(2 * count - 1);
            const hash_entry added = make_entry(offset_of(word & ~split_filled), now);
            for (std::uint64_t i = first + count; i < first + 2 * count; ++i) {
                all[i].store(added, std::memory_order_release);
            }
            for (std::uint64_t i = first; i < first + count; ++i) {
                all[i].store(make_entry(offset, now), std::memory_order_release);
            }
        }
        table.pending_.store(0, std::memory_order_release);
    }

    // Makes the first directory and block.
    void make_first(std::error_code& ec) const noexcept {
        const directory_lock locked(*this);
        if (table.root_.load(std::memory_order_relaxed) != 0) {
            return;
        }
        section made(&mine);
        void* const memory = allocate(header, hash_directory::bytes(0), 16, ec);
        hash_block* const block = ec ? nullptr : new_block(0, ec);
        if (ec) {
            made.roll_back();
            return;
        }
        auto* const directory = static_cast<hash_directory*>(memory);
        directory->before = 0;
        directory->unused = 0;
        directory->entries()[0].store(make_entry(offset_in_segment(block), 0),
                                      std::memory_order_relaxed);
        made.commit_by(table.root_, make_entry(offset_in_segment(directory), 0),
                       witness_kind::equal);
    }

    // Doubles the directory, unless it has many more entries than there are blocks, or already has
    // more than `depth` bits. Returns whether it has.
    [[nodiscard]] bool deepen(std::uint32_t depth, std::error_code& ec) const noexcept {
        const directory_lock locked(*this);
        std::uint32_t now = 0;
        std::atomic<hash_entry>* const all = entries(now);
        if (all == nullptr || now > depth) {
            return all != nullptr;
        }
        std::uint64_t blocks = 0;
        const std::uint64_t count = std::uint64_t{1} << now;
        for (std::uint64_t i = 0; i < count; ++blocks) {
            const std::uint32_t bits = depth_of(all[i].load(std::memory_order_relaxed));
            i += bits < now ? std::uint64_t{1} << (now - bits) : 1;
        }
        if (now == most_depth || 2 * count > 64 * blocks + 256) {
            return false;
        }
        section made(&mine);
        void* const memory = allocate(header, hash_directory::bytes(now + 1), 16, ec);
        if (ec) {
            made.roll_back();
            return false;
        }
        auto* const larger = static_cast<hash_directory*>(memory);
        larger->before = table.root_.load(std::memory_order_relaxed);
        larger->unused = 0;
        for (std::uint64_t i = 0; i < 2 * count; ++i) {
            larger->entries()[i].store(all[i / 2].load(std::memory_order_relaxed),
                                       std::memory_order_relaxed);
        }
        made.commit_by(table.root_, make_entry(offset_in_segment(larger), now + 1),
                       witness_kind::equal);
        return true;
    }

    // ---- blocks

    // An empty one, allocated in a section.
    [[nodiscard]] hash_block* new_block(std::uint64_t prefix, std::error_code& ec) const noexcept {
        void* const memory = allocate(header, shape.block_bytes(), alignof(hash_block), ec);
        if (ec) {
            return nullptr;
        }
        auto* const block = static_cast<hash_block*>(memory);
        clear(*block, prefix);
        return block;
    }

    void clear(hash_block& block, std::uint64_t prefix) const noexcept {
        std::memset(static_cast<void*>(&block), 0, sizeof block);
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            std::memset(static_cast<void*>(&shape.group(block, i)), 0, sizeof(hash_group));
        }
        block.prefix = prefix;
    }

    // Splits the block, which this thread has locked and whose hashes have `depth` bits in common.
    void split(hash_block& block, std::uint32_t depth, std::error_code& ec) const noexcept {
        {
            section made(&mine);
            void* const memory = allocate(header, shape.block_bytes(), alignof(hash_block), ec);
            if (ec) {
                made.roll_back();
                return;
            }
            made.commit_by(block.split,
                           split_filling | make_entry(offset_in_segment(memory), depth),
                           witness_kind::equal);
        }
        finish_split(block);
    }

    // The elements of a group that move, those of them that are not in their own group, and the
    // bits of `overflow` that the group's word has without the elements that move.
    struct group_survey {
        std::uint32_t moved = 0;
        std::uint32_t displaced = 0;
        group_word overflow = 0;
    };

    static constexpr std::uint32_t most_groups = 16;

    // Goes on with a split, by the thread that has locked the block, from wherever it is.
    void finish_split(hash_block& block) const noexcept {
        const std::uint64_t word = block.split.load(std::memory_order_acquire);
        hash_block* const added = block_at(offset_of(word & ~(split_filling | split_filled)));
        if (added == nullptr) {
            block.split.store(0, std::memory_order_release); // damaged
            return;
        }
        const std::uint32_t depth = depth_of(word);
        group_survey groups[most_groups];
        survey(block, depth, groups);
        if ((word & split_filling) != 0) {
            fill(*added, block, depth, groups);
            block.split.store((word & ~split_filling) | split_filled, std::memory_order_release);
            std::atomic_signal_fence(std::memory_order_seq_cst);
        }
        {
            const directory_lock locked(*this);
            std::uint32_t bits = 0;
            const std::atomic<hash_entry>* const all = entries(bits);
            if (all != nullptr && depth_of(all[first_bits(block.prefix, bits)].load(
                                      std::memory_order_relaxed)) == depth) {
                table.pending_.store(offset_in_segment(&block), std::memory_order_relaxed);
                std::atomic_signal_fence(std::memory_order_seq_cst);
                complete_entries();
            }
        }
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            std::atomic<group_word>& state = shape.group(block, i).state;
            const group_word now = state.load(std::memory_order_relaxed);
            const group_word then = next_word(now, valid_of(now) & ~groups[i].moved);
            state.store((then & ~(group_word{0xff} << 16)) | groups[i].overflow,
                        std::memory_order_release);
        }
        std::atomic_signal_fence(std::memory_order_seq_cst);
        block.split.store(0, std::memory_order_release);
    }

    void survey(const hash_block& block, std::uint32_t depth, group_survey* groups) const noexcept {
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            const group_word state = shape.group(block, i).state.load(std::memory_order_relaxed);
            for (std::uint32_t left = valid_of(state); left != 0; left &= left - 1) {
                const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                const std::uint64_t hash = hash_at(block, i, slot);
                const std::uint32_t home = shape.group_of(hash);
                if ((hash >> (63 - depth) & 1) != 0) {
                    groups[i].moved |= 1u << slot;
                    groups[i].displaced |= home != i ? 1u << slot : 0;
                } else {
                    for (std::uint32_t at = home; at != i; at = (at + 1) % shape.group_count) {
                        groups[at].overflow |= overflow_bit(hash);
                    }
                }
            }
        }
    }

    [[nodiscard]] std::uint64_t hash_at(const hash_block& block, std::uint32_t group,
                                        std::uint32_t slot) const noexcept {
        return shape.hash_of(slot_at(block, group, slot), table.seed_);
    }

    [[nodiscard]] const char* slot_at(const hash_block& block, std::uint32_t group,
                                      std::uint32_t slot) const noexcept {
        return shape.slot(shape.group(block, group), slot);
    }

    // Fills the new block, which no other thread can find yet.
    void fill(hash_block& added, const hash_block& old, std::uint32_t depth,
              const group_survey* groups) const noexcept {
        const std::uint64_t prefix = old.prefix | std::uint64_t{1} << (63 - depth);
        clear(added, prefix);
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            copy_slots(added, i, old, i, groups[i].moved & ~groups[i].displaced);
        }
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            for (std::uint32_t left = groups[i].displaced; left != 0; left &= left - 1) {
                if (!put(added, old, i, static_cast<std::uint32_t>(std::countr_zero(left)))) {
                    // In another order there may be no room for all: as they were, they fit.
                    clear(added, prefix);
                    for (std::uint32_t at = 0; at < shape.group_count; ++at) {
                        copy_slots(added, at, old, at, groups[at].moved);
                        std::atomic<group_word>& state = shape.group(added, at).state;
                        state.store(
                            state.load(std::memory_order_relaxed) |
                                (shape.group(old, at).state.load(std::memory_order_relaxed) &
                                 group_word{0xff} << 16),
                            std::memory_order_relaxed);
                    }
                    return;
                }
            }
        }
    }

    void copy_slots(hash_block& to, std::uint32_t into, const hash_block& from, std::uint32_t group,
                    std::uint32_t which) const noexcept {
        hash_group& target = shape.group(to, into);
        group_word state = target.state.load(std::memory_order_relaxed);
        for (std::uint32_t left = which; left != 0; left &= left - 1) {
            const auto source = static_cast<std::uint32_t>(std::countr_zero(left));
            const auto slot = static_cast<std::uint32_t>(std::countr_one(valid_of(state)));
            std::memcpy(const_cast<char*>(slot_at(to, into, slot)), slot_at(from, group, source),
                        shape.slot_bytes);
            target.set_tag(slot, shape.group(from, group).tag_at(source));
            state |= group_word{1} << slot;
        }
        target.state.store(state, std::memory_order_relaxed);
    }

    // Copies an element to where it belongs.
    [[nodiscard]] bool put(hash_block& to, const hash_block& from, std::uint32_t group,
                           std::uint32_t slot) const noexcept {
        const std::uint64_t hash = hash_at(from, group, slot);
        std::uint32_t at = shape.group_of(hash);
        for (std::uint32_t probes = shape.probes(); probes != 0; --probes) {
            std::atomic<group_word>& state = shape.group(to, at).state;
            const group_word now = state.load(std::memory_order_relaxed);
            if (static_cast<std::uint32_t>(std::popcount(valid_of(now))) < shape.most) {
                copy_slots(to, at, from, group, 1u << slot);
                return true;
            }
            state.store(now | overflow_bit(hash), std::memory_order_relaxed);
            at = (at + 1) & (shape.group_count - 1);
        }
        return false;
    }

    // Appends a block to a chain, for elements for which the last one has no room.
    void lengthen(hash_block& block, std::error_code& ec) const noexcept {
        hash_block* last = &block;
        hash_chain rest(table, shape, block);
        while (hash_block* const next = rest.next()) {
            last = next;
        }
        if (rest.is_damaged()) {
            fail(ec, errc::corrupt, "a hash table: the blocks after offset %#llx lead in a circle",
                 static_cast<unsigned long long>(offset_in_segment(&block)));
            return;
        }
        section made(&mine);
        const hash_block* const added = new_block(block.prefix, ec);
        if (ec) {
            made.roll_back();
            return;
        }
        made.commit_by(last->next, offset_in_segment(added), witness_kind::equal);
    }

    // Do all hashes in the block begin with the same bits, many more than they have in common with
    // each other by being in this block? Then splitting it would not help.
    [[nodiscard]] bool are_alike(const hash_block& block, std::uint64_t hash,
                                 std::uint32_t depth) const noexcept {
        constexpr std::uint32_t many = 8;
        std::uint64_t different = 0;
        std::uint32_t count = 0;
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            const group_word state = shape.group(block, i).state.load(std::memory_order_relaxed);
            for (std::uint32_t left = valid_of(state); left != 0; left &= left - 1, ++count) {
                const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                different |= hash ^ hash_at(block, i, slot);
            }
        }
        return count > 2 && first_bits(different, depth + many) == 0;
    }

    // Splits the block with this hash, which this thread has locked, if its depth is less than
    // `depth`.
    [[nodiscard]] bool split_below(std::uint32_t depth, hash_block& block, std::uint64_t hash,
                                   std::error_code& ec) const noexcept {
        hash_way way;
        if (!table.find(hash, shape, way) || way.block != &block) {
            fail(ec, errc::corrupt, "the directory of a hash table");
            return false;
        }
        const std::uint32_t now = depth_of(way.entry);
        if (now >= depth || block.next.load(std::memory_order_relaxed) != 0 ||
            are_alike(block, hash, now) || !deepen(now, ec)) {
            return false;
        }
        split(block, now, ec);
        return !ec;
    }
};

// ---- the table

COHOLD_INLINE hash_table::hash_table() noexcept {
    if (!fill_randomly(&seed_, sizeof seed_)) {
        seed_ = static_cast<std::uint64_t>(deadline::now().nanoseconds) ^
                reinterpret_cast<std::uintptr_t>(this);
    }
}

COHOLD_INLINE hash_table::link hash_table::follow(const hash_block& block, std::uint64_t left,
                                                  const hash_shape& shape) const noexcept {
    const std::uint64_t offset = block.next.load(std::memory_order_acquire);
    if (offset == 0) {
        return {nullptr, left};
    }
    segment_header& header = allocator_.bound_header();
    const std::uint64_t size = bounded_size(header);
    if (offset % alignof(hash_block) != 0 || !is_inside(offset, shape.block_bytes(), size)) {
        return {nullptr, left};
    }
    left = left == not_counted ? size / shape.block_bytes() : left;
    left -= left != 0 ? 1 : 0;
    auto* const next = reinterpret_cast<hash_block*>(reinterpret_cast<char*>(&header) + offset);
    return {left != 0 ? next : nullptr, left};
}

[[gnu::noinline]] COHOLD_INLINE transaction*
hash_table::self_slowly(std::error_code* report) const {
    std::error_code ec;
    transaction* found = nullptr;
    {
        const error_context context("change", "hash table", "");
        if (header() == nullptr) {
            fail(ec, errc::no_segment, "a hash table must be in a segment");
        } else {
            found = detail::self(*header(), ec);
        }
    }
    if (ec) {
        found = nullptr;
        if (report == nullptr) {
            raise_if(ec);
        } else {
            *report = ec;
        }
    }
    return found;
}

[[gnu::noinline]] COHOLD_INLINE hash_block*
hash_table::lock_slowly(std::uint64_t hash, const hash_shape& shape, std::error_code* report) {
    transaction* const mine = self(report);
    if (mine == nullptr) {
        return nullptr;
    }
    std::error_code ec;
    const hash_growth growth{*this, shape, *mine, *header()};
    const error_context context("change", "hash table", "");
    while (!ec) {
        hash_way way;
        if (!find(hash, shape, way)) {
            if (way.root == 0) {
                growth.make_first(ec);
            } else {
                fail(ec, errc::corrupt, "the directory of a hash table: %#llx, %#llx",
                     static_cast<unsigned long long>(way.root),
                     static_cast<unsigned long long>(way.entry));
            }
            continue;
        }
        growth.lock_block(*way.block, ec);
        if (ec) {
            break;
        }
        if (is_current(way)) {
            if (way.block->split.load(std::memory_order_relaxed) == 0) {
                return way.block;
            }
            growth.finish_split(*way.block);
        }
        unlock(*way.block, *mine);
    }
    if (report == nullptr) {
        raise_if(ec);
    } else {
        *report = ec;
    }
    return nullptr;
}

[[gnu::noinline]] COHOLD_INLINE bool hash_table::make_room(hash_block& block, std::uint64_t hash,
                                                           const hash_shape& shape,
                                                           transaction& mine,
                                                           std::error_code* report) {
    std::error_code ec;
    const hash_growth growth{*this, shape, mine, *header()};
    if (!growth.split_below(most_depth, block, hash, ec) && !ec) {
        growth.lengthen(block, ec);
    }
    if (ec) {
        if (report == nullptr) {
            raise_if(ec);
        }
        *report = ec;
    }
    return !ec;
}

COHOLD_INLINE bool hash_table::split_to(std::uint32_t depth, const hash_shape& shape,
                                        std::error_code* report) {
    transaction* const mine = self(report);
    if (mine == nullptr) {
        return false;
    }
    const hash_growth growth{*this, shape, *mine, *header()};
    std::error_code ec;
    for (std::uint32_t goal = 0; goal <= depth && !ec; ++goal) {
        std::uint64_t hash = 0;
        const std::uint64_t step = goal == 0 ? 0 : std::uint64_t{1} << (64 - goal);
        do {
            hash_block* const block = lock(hash, shape, *mine, &ec);
            if (block == nullptr) {
                break;
            }
            static_cast<void>(growth.split_below(goal, *block, hash, ec));
            unlock(*block, *mine);
            hash += step;
        } while (hash != 0 && !ec);
    }
    if (ec) {
        if (report == nullptr) {
            raise_if(ec);
        }
        *report = ec;
    }
    return !ec;
}

COHOLD_INLINE void hash_table::settle(const hash_shape& shape) noexcept {
    if (header() == nullptr || root_.load(std::memory_order_relaxed) == 0) {
        return;
    }
    const report_keeper keeper;
    std::error_code ec;
    if (!is_participant(*header())) {
        return;
    }
    const owner_word me = participant_of(*header(), ec);
    transaction* const mine = ec ? nullptr : self(&ec);
    if (mine == nullptr) {
        return;
    }
    recover_all(*header(), me);
    const hash_growth growth{*this, shape, *mine, *header()};
    {
        const hash_growth::directory_lock locked(growth);
    }
    each_block(shape, [&](const hash_way& way, std::uint64_t /*hash*/) noexcept {
        if (way.block->split.load(std::memory_order_relaxed) != 0) {
            growth.lock(way.block->lock);
            growth.finish_split(*way.block);
            unlock(*way.block, *mine);
        }
        return depth_of(way.entry) + 1;
    });
}

COHOLD_INLINE void hash_table::release(const hash_shape& shape) noexcept {
    const hash_entry root = root_.load(std::memory_order_relaxed);
    if (root == 0 || header() == nullptr) {
        return;
    }
    segment_header& in = *header();
    each_at_the_end(shape, [&in](hash_block& each) noexcept { deallocate(in, &each); });
    for (hash_entry each = root;
         each != 0 && depth_of(each) <= most_depth &&
         is_inside(offset_of(each), hash_directory::bytes(depth_of(each)), bounded_size(in));) {
        auto* const directory =
            reinterpret_cast<hash_directory*>(reinterpret_cast<char*>(&in) + offset_of(each));
        const std::uint32_t depth = depth_of(each);
        each = directory->before;
        deallocate(in, directory);
        if (depth_of(each) >= depth) {
            break; // damaged
        }
    }
    root_.store(0, std::memory_order_release);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
