// Reading a hash table without a lock: one element, all of them, and how many there are.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_READING_HPP
#define COHOLD_CONTAINER_DETAIL_HASH_READING_HPP

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/hash_storage.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Key, class T, class Hash, class Equal>
class hash_reading : protected hash_storage<Key, T, Hash, Equal> {
    using base = hash_storage<Key, T, Hash, Equal>;

  protected:
    using base::base;
    using base::block_slots;
    using base::hash_of_slot;
    using base::is_plain;
    using base::shape;
    using base::slot_bytes;
    using base::table_;
    using typename base::copied;
    using typename base::size_type;
    using typename base::traits;
    using typename base::value_type;

    // ---- reading without a lock

    // A copy of an element in a slot.
    class copied_element {
      public:
        void copy(const char* slot) noexcept {
            copy_from_slot<slot_bytes, 0, slot_bytes>(copy_.bytes, slot);
        }

        [[nodiscard]] const Key& key() noexcept { return traits::key(copy_.value()); }

        [[nodiscard]] const value_type& value() noexcept { return copy_.value(); }

      private:
        copied copy_;
    };

    // A copy of its key, or of its hash where keys are elsewhere: the element may be too large for
    // the stack.
    class copied_key {
      public:
        void copy(const char* slot) noexcept {
            copy_from_slot<slot_bytes, 0, sizeof(type)>(bytes_, slot);
        }

        [[nodiscard]] const Key& key() const noexcept
            requires is_plain
        {
            return part();
        }

        [[nodiscard]] std::uint64_t hash(std::uint64_t seed) const noexcept {
            if constexpr (is_plain) {
                return base::hash_with(part(), seed);
            } else {
                return part().hash;
            }
        }

      private:
        using type = std::conditional_t<is_plain, Key, hash_node>;

        [[nodiscard]] const type& part() const noexcept {
            return *__builtin_launder(reinterpret_cast<const type*>(bytes_));
        }

        // As the units of a slot.
        alignas(8) alignas(type) unsigned char bytes_[(sizeof(type) + 7) / 8 * 8];
    };

    // Calls take(const value_type&) with a copy of the element, and returns whether there is one.
    template <class K, class Take>
    [[nodiscard, gnu::always_inline]] bool read(const K& key, Take&& take) const {
        copied_element copy;
        if (!copy_to(copy, key)) {
            return false;
        }
        take(copy.value());
        return true;
    }

    // Copies the element with this key, or only its key, and returns whether there is one.
    template <class Copy, class K>
    [[nodiscard, gnu::always_inline]] bool copy_to(Copy& copy, const K& key) const {
        const std::uint64_t hash = this->hash(key);
        const answer found = copy_at_once(hash, key, copy);
        return found == answer::present ||
               (found == answer::unclear && copy_slowly(hash, key, copy));
    }

    enum class answer { absent, present, unclear };

    // Looks at the first slot that may have the element. Most look-ups end there: the tag of
    // another element is the same in one of 256 cases, and few elements are in a later group.
    template <class K, class Copy>
    [[nodiscard, gnu::always_inline]] answer copy_at_once(std::uint64_t hash, const K& key,
                                                          Copy& copy) const {
        hash_way way;
        if (!table_.find(hash, shape, way)) [[unlikely]] {
            return answer::absent;
        }
        const hash_group& in = shape.group(*way.block, shape.group_of(hash));
        const group_word state = in.state.load(std::memory_order_acquire);
        const std::uint32_t some = in.match(tag_of(hash)) & valid_of(state);
        bool found = false;
        if (some != 0) {
            const char* const bytes =
                shape.slot(in, static_cast<std::uint32_t>(std::countr_zero(some)));
            copy.copy(bytes);
            if constexpr (!std::is_scalar_v<Key>) {
                // A comparison must not see half of one key and half of another.
                std::atomic_thread_fence(std::memory_order_acquire);
                if (in.state.load(std::memory_order_relaxed) != state) [[unlikely]] {
                    return answer::unclear;
                }
            }
            found = static_cast<bool>(Equal()(copy.key(), key));
        }
        std::atomic_thread_fence(std::memory_order_acquire);
        if (in.state.load(std::memory_order_relaxed) != state || !table_.is_current(way))
            [[unlikely]] {
            return answer::unclear;
        }
        if (found) {
            return answer::present;
        }
        const bool may_be_elsewhere = (some & (some - 1)) != 0 || (state & overflow_bit(hash)) != 0;
        return may_be_elsewhere ? answer::unclear : answer::absent;
    }

    template <class K, class Copy>
    [[nodiscard, gnu::noinline]] bool copy_slowly(std::uint64_t hash, const K& key,
                                                  Copy& copy) const {
        for (;;) {
            hash_way way;
            if (!table_.find(hash, shape, way)) {
                return false;
            }
            const bool found = copy_found(*way.block, hash, key, copy);
            std::atomic_thread_fence(std::memory_order_acquire);
            if (table_.is_current(way)) [[likely]] {
                return found;
            }
        }
    }

    template <class K, class Copy>
    [[nodiscard]] bool copy_found(const hash_block& first, std::uint64_t hash, const K& key,
                                  Copy& copy) const {
        std::uint32_t group = shape.group_of(hash);
        for (std::uint32_t probes = shape.probes(); probes != 0; --probes) {
            group_word state = 0;
            if (copy_found_in_group(first, group, hash, key, copy, state)) {
                return true;
            }
            if ((state & overflow_bit(hash)) == 0) {
                return false;
            }
            group = (group + 1) & (shape.group_count - 1);
        }
        return copy_found_in_chain(first, hash, key, copy);
    }

    template <class K, class Copy>
    [[nodiscard, gnu::cold, gnu::noinline]] bool
    copy_found_in_chain(const hash_block& block, std::uint64_t hash, const K& key,
                        Copy& copy) const {
        hash_chain rest(table_, shape, block);
        group_word state = 0;
        while (const hash_block* const each = rest.next()) {
            for (std::uint32_t at = 0, group = shape.group_of(hash); at < shape.probes(); ++at) {
                if (copy_found_in_group(*each, group, hash, key, copy, state)) {
                    return true;
                }
                group = (group + 1) & (shape.group_count - 1);
            }
        }
        return false;
    }

    // `state`: the one in which the group has the element or not.
    template <class K, class Copy>
    [[nodiscard]] bool copy_found_in_group(const hash_block& block, std::uint32_t group,
                                           std::uint64_t hash, const K& key, Copy& copy,
                                           group_word& state) const {
        const hash_group& in = shape.group(block, group);
        for (;;) {
            state = in.state.load(std::memory_order_acquire);
            bool found = false;
            bool torn = false;
            for (std::uint32_t left = in.match(tag_of(hash)) & valid_of(state);
                 left != 0 && !found && !torn; left &= left - 1) {
                const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                copy.copy(shape.slot(in, slot));
                std::atomic_thread_fence(std::memory_order_acquire);
                torn = in.state.load(std::memory_order_relaxed) != state;
                found = !torn && static_cast<bool>(Equal()(copy.key(), key));
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (in.state.load(std::memory_order_relaxed) == state) {
                return found;
            }
        }
    }

    // ---- reading all without a lock

    // Copies of the slots of a block.
    struct copied_block {
        alignas(8) alignas(is_plain ? alignof(value_type)
                                    : 8) unsigned char bytes[block_slots * slot_bytes];
        std::size_t count = 0;

        [[nodiscard]] unsigned char* at(std::size_t index) noexcept {
            return bytes + index * slot_bytes;
        }
    };

    // On the stack, unless it is large.
    class copied_block_room {
      public:
        copied_block_room() noexcept {}

        [[nodiscard]] copied_block& get() {
            if constexpr (is_large) {
                if (held_.block == nullptr) {
                    held_.block = new copied_block;
                }
                return *held_.block;
            } else {
                return held_;
            }
        }

      private:
        static constexpr bool is_large = sizeof(copied_block) > 16384;

        struct owner {
            copied_block* block = nullptr;

            owner() = default;
            owner(const owner&) = delete;
            owner& operator=(const owner&) = delete;

            ~owner() { delete block; }
        };

        std::conditional_t<is_large, owner, copied_block> held_;
    };

    static void copy_groups(const hash_block& block, copied_block& into) noexcept {
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            const hash_group& in = shape.group(block, i);
            const std::size_t before = into.count;
            for (;;) {
                const group_word state = in.state.load(std::memory_order_acquire);
                for (std::uint32_t left = valid_of(state); left != 0; left &= left - 1) {
                    const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                    copy_from_slot<slot_bytes, 0, slot_bytes>(into.at(into.count),
                                                              shape.slot(in, slot));
                    ++into.count;
                }
                std::atomic_thread_fence(std::memory_order_acquire);
                if (in.state.load(std::memory_order_relaxed) == state) [[likely]] {
                    break;
                }
                into.count = before;
            }
        }
    }

    // Copies the elements of a block. Returns the depth plus one, as each_block expects, or 0 if
    // the block is no longer the one for the hash.
    [[nodiscard]] std::uint32_t copy_block(const hash_way& way, copied_block& into) const noexcept {
        into.count = 0;
        const hash_block& block = *way.block;
        const bool splitting = block.split.load(std::memory_order_acquire) != 0;
        copy_groups(block, into);
        std::atomic_thread_fence(std::memory_order_acquire);
        const bool split = splitting || block.split.load(std::memory_order_relaxed) != 0;
        const std::uint32_t depth = depth_of(way.entry);
        if (!table_.is_current(way)) {
            return 0;
        }
        if (split) { // those that have moved may still be in the block
            const std::uint64_t prefix = first_bits(block.prefix, depth);
            std::size_t kept = 0;
            for (std::size_t i = 0; i < into.count; ++i) {
                if (first_bits(hash_of_slot(into.at(i), table_.seed()), depth) == prefix) {
                    std::memmove(into.at(kept++), into.at(i), slot_bytes);
                }
            }
            into.count = kept;
        }
        return depth + 1;
    }

    // Calls f(const value_type&) until it returns false.
    template <class F>
    bool visit_copies(const F& f) const {
        copied_block_room room;
        copied_block& copies = room.get();
        bool all = true;
        const auto pass_on = [&] {
            for (std::size_t i = 0; i < copies.count && all; ++i) {
                all = f(*__builtin_launder(reinterpret_cast<const value_type*>(copies.at(i))));
            }
        };
        table_.each_block(shape, [&](const hash_way& found, std::uint64_t hash) {
            hash_way way = found;
            std::uint32_t next = 0;
            while ((next = copy_block(way, copies)) == 0) {
                if (!table_.find(hash, shape, way)) {
                    return 0u;
                }
            }
            pass_on();
            hash_chain rest(table_, shape, *way.block);
            for (const hash_block* each = nullptr; all && (each = rest.next()) != nullptr;) {
                copies.count = 0;
                copy_groups(*each, copies);
                pass_on();
            }
            return all ? next : 0u;
        });
        return all;
    }

    struct counted {
        size_type found;
        std::uint32_t next;
    };

    [[nodiscard]] counted count_in(const hash_way& found, std::uint64_t hash) const noexcept {
        hash_way way = found;
        for (;;) {
            const hash_block& block = *way.block;
            if (block.split.load(std::memory_order_acquire) == 0) {
                size_type count = count_groups(block);
                hash_chain rest(table_, shape, block);
                while (const hash_block* const each = rest.next()) {
                    count += count_groups(*each);
                }
                std::atomic_thread_fence(std::memory_order_acquire);
                if (block.split.load(std::memory_order_relaxed) == 0 && table_.is_current(way)) {
                    return {count, depth_of(way.entry) + 1};
                }
            } else {
                const size_type count = count_divided(block, depth_of(way.entry));
                std::atomic_thread_fence(std::memory_order_acquire);
                if (table_.is_current(way)) {
                    return {count, depth_of(way.entry) + 1};
                }
            }
            if (!table_.find(hash, shape, way)) {
                return {0, 0};
            }
        }
    }

    // The number of elements of a block that is being split: those that have moved may still be in
    // it.
    [[nodiscard, gnu::noinline]] size_type count_divided(const hash_block& block,
                                                         std::uint32_t depth) const noexcept {
        const std::uint64_t prefix = first_bits(block.prefix, depth);
        size_type count = 0;
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            const hash_group& in = shape.group(block, i);
            const size_type before = count;
            group_word state = in.state.load(std::memory_order_acquire);
            for (std::uint32_t left = valid_of(state); left != 0;) {
                copied_key part;
                part.copy(shape.slot(in, static_cast<std::uint32_t>(std::countr_zero(left))));
                std::atomic_thread_fence(std::memory_order_acquire);
                // The hash function must not see half of one key and half of another.
                if (in.state.load(std::memory_order_relaxed) == state) [[likely]] {
                    count += first_bits(part.hash(table_.seed()), depth) == prefix ? 1u : 0u;
                    left &= left - 1;
                } else {
                    state = in.state.load(std::memory_order_acquire);
                    left = valid_of(state);
                    count = before;
                }
            }
        }
        return count;
    }

    [[nodiscard]] static size_type count_groups(const hash_block& block) noexcept {
        size_type count = 0;
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            count += static_cast<size_type>(std::popcount(
                valid_of(shape.group(block, i).state.load(std::memory_order_relaxed))));
        }
        return count;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
