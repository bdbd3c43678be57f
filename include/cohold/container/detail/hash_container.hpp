// Everything that hash maps and hash sets in shared memory have in common: how elements lie in
// slots, how they are read without a lock, and how they change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_CONTAINER_HPP
#define COHOLD_CONTAINER_DETAIL_HASH_CONTAINER_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/hash_table.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/container/shm_hash.hpp>
#include <cohold/error.hpp>
#include <cohold/type/construct_from.hpp>
#include <cohold/type/plain_bytes.hpp>
#include <cohold/type/shareable.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For tests: the seed of a table.
enum class hash_seed : std::uint64_t {};

// How many groups a block has: as many as 8 KiB have room for, within limits. A part of the layout.
template <class Value>
inline constexpr std::uint32_t hash_groups = sizeof(Value) <= 32   ? 16
                                             : sizeof(Value) <= 64 ? 8
                                                                   : 4;

template <class Key, class T>
struct hash_value {
    using type = std::pair<const Key, T>;

    static constexpr bool is_plain =
        std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<T>;

    static const Key& key(const type& value) noexcept { return value.first; }
};

template <class Key>
struct hash_value<Key, void> {
    using type = Key;

    static constexpr bool is_plain = std::is_trivially_copyable_v<Key>;

    static const Key& key(const type& value) noexcept { return value; }
};

// Elements that own memory are in blocks of their own.
struct hash_node {
    std::uint64_t offset; // of the element, from the header
    std::uint64_t hash;
};

static_assert(sizeof(hash_node) == 16);

template <class Hash, class Equal>
concept hash_is_transparent = requires {
    typename Hash::is_transparent;
    typename Equal::is_transparent;
};

// The result of an insertion.
enum class hash_result { failed, found, inserted };

template <class Key, class T, class Hash, class Equal>
class hash_container {
  protected:
    using traits = hash_value<Key, T>;

    // Plain elements are in the slots and are read without a lock, others only by the thread that
    // has locked their block.
    static constexpr bool is_plain = traits::is_plain;

  public:
    using key_type = Key;
    using value_type = typename traits::type;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using hasher = Hash;
    using key_equal = Equal;
    using reference = value_type&;
    using const_reference = const value_type&;

    hash_container(const hash_container&) = delete;
    hash_container& operator=(const hash_container&) = delete;

    /// The number of elements. The groups are counted one after the other, so the result is not
    /// exact while other threads insert and erase. *Complexity*: linear in the size, but fast: one
    /// cache line for 32 elements.
    [[nodiscard]] size_type size() const noexcept {
        size_type count = 0;
        table_.each_block(shape, [&](const hash_way& way, std::uint64_t hash) noexcept {
            const auto [found, next] = count_in(way, hash);
            count += found;
            return next;
        });
        return count;
    }

    [[nodiscard]] bool empty() const noexcept {
        bool none = true;
        table_.each_block(shape, [&](const hash_way& way, std::uint64_t hash) noexcept {
            const auto [found, next] = count_in(way, hash);
            none = found == 0;
            return none ? next : 0;
        });
        return none;
    }

    /// What a directory of the greatest depth has room for.
    [[nodiscard]] size_type max_size() const noexcept {
        constexpr std::uint64_t blocks = std::uint64_t{1} << most_depth;
        constexpr std::uint64_t addressable = static_cast<std::size_t>(PTRDIFF_MAX) / slot_bytes;
        return static_cast<size_type>(addressable / block_slots < blocks ? addressable
                                                                         : blocks * block_slots);
    }

    /// Elements for each place of the table, between 0 and 1. *Complexity*: that of size().
    [[nodiscard]] float load_factor() const noexcept {
        size_type used = 0;
        size_type places = 0;
        table_.each_block(shape, [&](const hash_way& way, std::uint64_t hash) noexcept {
            const auto [found, next] = count_in(way, hash);
            used += found;
            places += block_slots;
            return next;
        });
        return places == 0 ? 0.0F : static_cast<float>(used) / static_cast<float>(places);
    }

    [[nodiscard]] hasher hash_function() const noexcept { return {}; }

    [[nodiscard]] key_equal key_eq() const noexcept { return {}; }

    // ---- looking

    /// Is there an element with this key?
    template <class K = Key>
    [[nodiscard]] bool contains(const K& key) const
        requires is_plain
    {
        return with_key(key, [this](const auto& k) {
            return this->template read<true>(k, [](const value_type&) noexcept {});
        });
    }

    template <class K = Key>
    [[nodiscard]] bool contains(const K& key)
        requires(!is_plain)
    {
        return cvisit(key, [](const value_type&) noexcept {}) != 0;
    }

    /// The number of elements with this key: 1 or 0.
    template <class K = Key>
    [[nodiscard]] size_type count(const K& key) const
        requires is_plain
    {
        return contains(key) ? 1 : 0;
    }

    template <class K = Key>
    [[nodiscard]] size_type count(const K& key)
        requires(!is_plain)
    {
        return contains(key) ? 1 : 0;
    }

    /// Calls f(const value_type&) for the element with this key, and returns the number of
    /// calls: 1 or 0. If elements are plain bytes, f gets a copy, and may do anything. Otherwise it
    /// gets the element in the table, whose block is locked, and must not change the table.
    template <class K = Key, class F>
    size_type cvisit(const K& key, F&& f) const
        requires is_plain
    {
        return with_key(key, [&](const auto& k) { return this->template read<false>(k, f); }) ? 1
                                                                                              : 0;
    }

    template <class K = Key, class F>
    size_type cvisit(const K& key, F&& f)
        requires(!is_plain)
    {
        return with_element(key, nullptr, [&](const hash_place& place, transaction&) {
            const hash_visit visiting(table_);
            std::forward<F>(f)(std::as_const(element(place)));
        });
    }

    template <class K = Key, class F>
    size_type visit(const K& key, F&& f) const
        requires is_plain
    {
        return cvisit(key, std::forward<F>(f));
    }

    /// Calls f(const value_type&) for all elements, and returns the number of calls. An element
    /// that is there all the time is visited once. An element that is inserted or erased meanwhile
    /// may be visited or not.
    template <class F>
    size_type cvisit_all(F&& f) const
        requires is_plain
    {
        size_type count = 0;
        visit_copies([&](const value_type& value) {
            f(value);
            ++count;
            return true;
        });
        return count;
    }

    template <class F>
    size_type cvisit_all(F&& f)
        requires(!is_plain)
    {
        size_type count = 0;
        visit_locked([&](const hash_place& place, transaction&) {
            f(std::as_const(element(place)));
            ++count;
            return true;
        });
        return count;
    }

    template <class F>
    size_type visit_all(F&& f) const
        requires is_plain
    {
        return cvisit_all(std::forward<F>(f));
    }

    /// Like cvisit_all until f returns false. Returns true if f never did.
    template <class F>
    bool cvisit_while(F&& f) const
        requires is_plain
    {
        return visit_copies([&](const value_type& value) { return static_cast<bool>(f(value)); });
    }

    template <class F>
    bool cvisit_while(F&& f)
        requires(!is_plain)
    {
        return visit_locked([&](const hash_place& place, transaction&) {
            return static_cast<bool>(f(std::as_const(element(place))));
        });
    }

    template <class F>
    bool visit_while(F&& f) const
        requires is_plain
    {
        return cvisit_while(std::forward<F>(f));
    }

    // ---- erasing

    /// Removes the element with this key, and returns how many there were: 1 or 0. Errors: those of
    /// a thread's first use of a segment, errc::too_many_participants for instance.
    template <class K = Key>
    size_type erase(const K& key) {
        return with_element(key, nullptr, [this](const hash_place& place, transaction& mine) {
            remove(place, mine);
        });
    }

    template <class K = Key>
    size_type erase(const K& key, std::error_code& ec) {
        detail::clear(ec);
        return with_element(
            key, &ec, [this](const hash_place& place, transaction& mine) { remove(place, mine); });
    }

    /// The same if f(const value_type&) returns true.
    template <class K = Key, class F>
    size_type erase_if(const K& key, F&& f) {
        bool erased = false;
        with_element(key, nullptr, [&](const hash_place& place, transaction& mine) {
            erased = decide(place, f);
            if (erased) {
                remove(place, mine);
            }
        });
        return erased ? 1 : 0;
    }

    /// Removes the elements for which f(const value_type&) returns true, one by one, and returns
    /// how many there were.
    template <class F>
    size_type erase_if(F&& f) {
        size_type count = 0;
        visit_locked([&](const hash_place& place, transaction& mine) {
            if (static_cast<bool>(f(seen(place)))) {
                remove(place, mine);
                ++count;
            }
            return true;
        });
        return count;
    }

    /// Removes all elements, block by block. Meanwhile other threads may see some of them gone and
    /// some not, and may insert. The memory stays with the table.
    void clear() {
        lock_each([&](hash_block& block, transaction& mine) {
            if constexpr (!is_plain) {
                const hash_visit visiting(table_);
                static_cast<void>(
                    visit_groups(block, mine, [&](const hash_place& place, transaction& me) {
                        remove(place, me);
                        return true;
                    }));
            }
            for (std::uint32_t i = 0; i < shape.group_count; ++i) {
                std::atomic<group_word>& state = shape.group(block, i).state;
                const group_word now = state.load(std::memory_order_relaxed);
                state.store(next_word(now, 0) & ~(group_word{0xff} << 16),
                            std::memory_order_release);
            }
            return true;
        });
    }

    /// Makes room for this many elements, so that growth does not delay inserting them. Errors:
    /// errc::out_of_space, reserve_exceeded; then there is room for fewer.
    void reserve(size_type count) {
        static_cast<void>(table_.split_to(depth_for(count), shape, nullptr));
    }

    void reserve(size_type count, std::error_code& ec) {
        detail::clear(ec);
        static_cast<void>(table_.split_to(depth_for(count), shape, &ec));
    }

    /// The same: a table never becomes smaller.
    void rehash(size_type count) { reserve(count); }

    void rehash(size_type count, std::error_code& ec) { reserve(count, ec); }

  protected:
    hash_container() noexcept { check(); }

    explicit hash_container(hash_seed seed) noexcept : table_(static_cast<std::uint64_t>(seed)) {
        check();
    }

    [[gnu::cold]] ~hash_container() {
        const report_keeper keeper;
        table_.settle(shape);
        if (segment_header* const header = table_.header(); header != nullptr) {
            std::error_code ec;
            const bool known = is_participant(*header);
            transaction* const mine = known ? table_.self(&ec) : nullptr;
            if (mine != nullptr) {
                section ending(mine, false);
                mine->save_anyhow(table_.words(), hash_table::words_bytes, true);
                destroy_nodes(*mine);
                table_.release(shape);
            }
        }
    }

    // ---- elements

    // Bytes of an element outside the table.
    struct alignas(value_type) copied {
        unsigned char bytes[sizeof(value_type)];

        [[nodiscard]] value_type& value() noexcept {
            return *__builtin_launder(reinterpret_cast<value_type*>(bytes));
        }
    };

    static constexpr std::size_t slot_bytes = is_plain ? sizeof(value_type) : sizeof(hash_node);

    static constexpr std::size_t value_offset =
        std::is_void_v<T>
            ? 0
            : (sizeof(Key) + alignof(std::conditional_t<std::is_void_v<T>, char, T>) - 1) /
                  alignof(std::conditional_t<std::is_void_v<T>, char, T>) *
                  alignof(std::conditional_t<std::is_void_v<T>, char, T>);

    static constexpr std::size_t value_bytes =
        sizeof(std::conditional_t<std::is_void_v<T>, char, T>);

    // Can one store change the value?
    static constexpr bool is_word =
        is_plain && !std::is_void_v<T> && std::has_single_bit(value_bytes) &&
        value_bytes <= sizeof(hash_unit<slot_bytes>) && value_offset % value_bytes == 0;

    static std::uint64_t hash_of_slot(const void* slot, std::uint64_t seed) noexcept {
        if constexpr (is_plain) {
            return hash_with(traits::key(*static_cast<const value_type*>(slot)), seed);
        } else {
            static_cast<void>(seed);
            return static_cast<const hash_node*>(slot)->hash;
        }
    }

    // Elements that never change, or that change by one store, need no free slot.
    static constexpr hash_shape shape{
        static_cast<std::uint32_t>(slot_bytes),
        hash_groups<std::conditional_t<is_plain, value_type, hash_node>>,
        std::is_void_v<T> || !is_plain || is_word ? 16u : 15u, &hash_of_slot};

    template <class K>
    [[nodiscard]] static std::uint64_t hash_with(const K& key, std::uint64_t seed) noexcept {
        if constexpr (requires { static_cast<std::uint64_t>(Hash()(key, seed)); }) {
            return static_cast<std::uint64_t>(Hash()(key, seed));
        } else {
            return hash_number(static_cast<std::uint64_t>(Hash()(key)), seed);
        }
    }

    template <class K>
    [[nodiscard]] std::uint64_t hash(const K& key) const noexcept {
        return hash_with(key, table_.seed());
    }

    // Calls f with the key, or with a Key made from it if the table cannot be searched for a K.
    template <class K, class F>
    static decltype(auto) with_key(const K& key, const F& f) {
        if constexpr (std::is_same_v<K, Key> || hash_is_transparent<Hash, Equal>) {
            return f(key);
        } else {
            static_assert(std::is_convertible_v<const K&, Key>,
                          "cohold: the table cannot be searched for a value of this type: it does "
                          "not convert to the key, and Hash or Equal has no is_transparent");
            const Key converted = static_cast<Key>(key);
            return f(converted);
        }
    }

    [[nodiscard]] value_type& element(const hash_place& place) const noexcept {
        if constexpr (is_plain) {
            return *__builtin_launder(reinterpret_cast<value_type*>(place.bytes(shape)));
        } else {
            return *__builtin_launder(reinterpret_cast<value_type*>(
                reinterpret_cast<char*>(table_.header()) + node(place).offset));
        }
    }

    [[nodiscard]] static hash_node& node(const hash_place& place) noexcept {
        return *reinterpret_cast<hash_node*>(place.bytes(shape));
    }

    // The element, for a function of the user that must not change it: others may read its bytes.
    [[nodiscard]] const value_type& seen(const hash_place& place) const noexcept {
        return element(place);
    }

    template <class F>
    [[nodiscard]] bool decide(const hash_place& place, F& f) const {
        const hash_visit visiting(table_);
        return static_cast<bool>(f(seen(place)));
    }

    // ---- reading without a lock

    static constexpr std::size_t key_end = is_plain ? sizeof(Key) : 0;

    // Calls take(const value_type&) with a copy of the element, and returns whether there is one.
    // `KeyOnly`: the copy has only the key.
    template <bool KeyOnly, class K, class Take>
    [[nodiscard, gnu::always_inline]] bool read(const K& key, Take&& take) const {
        const std::uint64_t hash = this->hash(key);
        for (;;) {
            hash_way way;
            if (!table_.find(hash, shape, way)) {
                return false;
            }
            copied copy;
            const bool found = copy_found<KeyOnly>(*way.block, hash, key, copy);
            std::atomic_thread_fence(std::memory_order_acquire);
            if (!table_.is_current(way)) [[unlikely]] {
                continue;
            }
            if (found) {
                take(std::as_const(copy.value()));
            }
            return found;
        }
    }

    template <bool KeyOnly, class K>
    [[nodiscard, gnu::always_inline]] bool copy_found(const hash_block& first, std::uint64_t hash,
                                                      const K& key, copied& copy) const {
        const hash_block* block = &first;
        std::uint32_t group = shape.group_of(hash);
        for (std::uint32_t probes = shape.probes();;) {
            const hash_group& in = shape.group(*block, group);
            const group_word state = in.state.load(std::memory_order_acquire);
            bool found = false;
            for (std::uint32_t left = in.match(tag_of(hash)) & valid_of(state); left != 0;
                 left &= left - 1) {
                const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                const char* const bytes = shape.slot(in, slot);
                copy_from_slot<slot_bytes, 0, key_end>(copy.bytes, bytes);
                if constexpr (!std::is_scalar_v<Key>) {
                    // A comparison must not see half of one key and half of another.
                    std::atomic_thread_fence(std::memory_order_acquire);
                    if (in.state.load(std::memory_order_relaxed) != state) {
                        break;
                    }
                }
                if (static_cast<bool>(Equal()(traits::key(copy.value()), key))) {
                    if constexpr (!KeyOnly) {
                        copy_from_slot<slot_bytes, key_end, slot_bytes>(copy.bytes, bytes);
                    }
                    found = true;
                    break;
                }
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (in.state.load(std::memory_order_relaxed) != state) [[unlikely]] {
                continue; // it has changed meanwhile: the same group again
            }
            if (found || (state & overflow_bit(hash)) == 0) [[likely]] {
                return found;
            }
            group = (group + 1) & (shape.group_count - 1);
            if (--probes == 0) {
                return copy_found_in_chain<KeyOnly>(*block, hash, key, copy);
            }
        }
    }

    template <bool KeyOnly, class K>
    [[nodiscard, gnu::cold, gnu::noinline]] bool
    copy_found_in_chain(const hash_block& block, std::uint64_t hash, const K& key,
                        copied& copy) const {
        hash_chain rest(table_, shape, block);
        while (const hash_block* const each = rest.next()) {
            for (std::uint32_t at = 0, group = shape.group_of(hash); at < shape.probes(); ++at) {
                if (copy_found_in_group<KeyOnly>(*each, group, hash, key, copy)) {
                    return true;
                }
                group = (group + 1) & (shape.group_count - 1);
            }
        }
        return false;
    }

    template <bool KeyOnly, class K>
    [[nodiscard]] bool copy_found_in_group(const hash_block& block, std::uint32_t group,
                                           std::uint64_t hash, const K& key, copied& copy) const {
        const hash_group& in = shape.group(block, group);
        for (;;) {
            const group_word state = in.state.load(std::memory_order_acquire);
            bool found = false;
            bool torn = false;
            for (std::uint32_t left = in.match(tag_of(hash)) & valid_of(state);
                 left != 0 && !found && !torn; left &= left - 1) {
                const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                const char* const bytes = shape.slot(in, slot);
                copy_from_slot<slot_bytes, 0, slot_bytes>(copy.bytes, bytes);
                std::atomic_thread_fence(std::memory_order_acquire);
                torn = in.state.load(std::memory_order_relaxed) != state;
                found = !torn && static_cast<bool>(Equal()(traits::key(copy.value()), key));
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (in.state.load(std::memory_order_relaxed) == state) {
                return found;
            }
        }
    }

    // ---- reading all without a lock

    static constexpr std::size_t block_slots = std::size_t{shape.group_count} * group_slots;

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
                copied_block copies;
                if (const std::uint32_t next = copy_block(way, copies); next != 0) {
                    return {copies.count, next};
                }
            }
            if (!table_.find(hash, shape, way)) {
                return {0, 0};
            }
        }
    }

    [[nodiscard]] static size_type count_groups(const hash_block& block) noexcept {
        size_type count = 0;
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            count += static_cast<size_type>(std::popcount(
                valid_of(shape.group(block, i).state.load(std::memory_order_relaxed))));
        }
        return count;
    }

    // ---- with a lock

    // Unlocks a block.
    class locked_block {
      public:
        locked_block(hash_block* block, const transaction& mine) noexcept
            : block_(block), mine_(mine) {}

        locked_block(const locked_block&) = delete;
        locked_block& operator=(const locked_block&) = delete;

        ~locked_block() {
            if (block_ != nullptr) {
                hash_table::unlock(*block_, mine_);
            }
        }

        void unlock() noexcept { hash_table::unlock(*std::exchange(block_, nullptr), mine_); }

      private:
        hash_block* block_;
        const transaction& mine_;
    };

    template <class K>
    [[nodiscard]] hash_place find_locked(hash_block& first, std::uint64_t hash,
                                         const K& key) const {
        hash_chain rest(table_, shape, first);
        for (hash_block* block = &first; block != nullptr; block = rest.next()) {
            std::uint32_t group = shape.group_of(hash);
            for (std::uint32_t probes = shape.probes(); probes != 0; --probes) {
                hash_group& in = shape.group(*block, group);
                const group_word state = in.state.load(std::memory_order_relaxed);
                for (std::uint32_t left = in.match(tag_of(hash)) & valid_of(state); left != 0;
                     left &= left - 1) {
                    const auto slot = static_cast<std::uint32_t>(std::countr_zero(left));
                    const hash_place place{&in, slot};
                    if constexpr (!is_plain) {
                        if (node(place).hash != hash) {
                            continue;
                        }
                    }
                    if (static_cast<bool>(Equal()(traits::key(seen(place)), key))) {
                        return place;
                    }
                }
                if ((state & overflow_bit(hash)) == 0) [[likely]] {
                    return {};
                }
                group = (group + 1) & (shape.group_count - 1);
            }
        }
        return {};
    }

    // A free slot for the hash. Groups without one note that they were passed.
    [[nodiscard]] hash_place find_room(hash_block& first, std::uint64_t hash) const noexcept {
        hash_chain rest(table_, shape, first);
        for (hash_block* block = &first; block != nullptr; block = rest.next()) {
            std::uint32_t group = shape.group_of(hash);
            for (std::uint32_t probes = shape.probes(); probes != 0; --probes) {
                hash_group& in = shape.group(*block, group);
                const group_word now = in.state.load(std::memory_order_relaxed);
                const std::uint32_t valid = valid_of(now);
                if (static_cast<std::uint32_t>(std::popcount(valid)) < shape.most) [[likely]] {
                    return {&in, static_cast<std::uint32_t>(std::countr_one(valid))};
                }
                if ((now & overflow_bit(hash)) == 0) {
                    in.state.store(now | overflow_bit(hash), std::memory_order_release);
                }
                group = (group + 1) & (shape.group_count - 1);
            }
        }
        return {};
    }

    // Calls act(place, mine) with the block locked, if there is an element with this key.
    template <class K, class Act>
    size_type with_element(const K& any, std::error_code* report, const Act& act) {
        return with_key(any, [&](const auto& key) -> size_type {
            transaction* const mine = table_.self(report);
            if (mine == nullptr) {
                return 0;
            }
            const std::uint64_t hash = this->hash(key);
            hash_block* const block = table_.lock(hash, shape, *mine, report);
            if (block == nullptr) {
                return 0;
            }
            const locked_block locked(block, *mine);
            const hash_place place = find_locked(*block, hash, key);
            if (!place) {
                return 0;
            }
            act(place, *mine);
            return 1;
        });
    }

    // Calls act(place, mine) for all elements, each block being locked, until it returns false.
    template <class Act>
    bool visit_locked(const Act& act) {
        return lock_each([this, &act](hash_block& block, transaction& mine) {
            const hash_visit visiting(table_);
            return visit_groups(block, mine, act);
        });
    }

    // Calls act(block, mine) for all blocks, each being locked, until it returns false.
    template <class Act>
    bool lock_each(const Act& act) {
        bool all = true;
        if (transaction* const mine = table_.self(nullptr); mine != nullptr) {
            table_.each_block(shape, [&](const hash_way& /*way*/, std::uint64_t hash) {
                hash_block* const block = table_.lock(hash, shape, *mine, nullptr);
                hash_way way;
                if (block == nullptr || !table_.find(hash, shape, way)) {
                    return 0u;
                }
                const locked_block locked(block, *mine);
                hash_chain rest(table_, shape, *block);
                for (hash_block* each = block; each != nullptr && all; each = rest.next()) {
                    all = act(*each, *mine);
                }
                return all ? depth_of(way.entry) + 1 : 0u;
            });
        }
        return all;
    }

    template <class Act>
    [[nodiscard]] static bool visit_groups(hash_block& block, transaction& mine, const Act& act) {
        for (std::uint32_t i = 0; i < shape.group_count; ++i) {
            hash_group& in = shape.group(block, i);
            const group_word state = in.state.load(std::memory_order_relaxed);
            for (std::uint32_t left = valid_of(state); left != 0; left &= left - 1) {
                if (!act(hash_place{&in, static_cast<std::uint32_t>(std::countr_zero(left))},
                         mine)) {
                    return false;
                }
            }
        }
        return true;
    }

    // Constructs an element by build(void*) if there is none with this key; otherwise calls
    // found(place, mine). The block is locked in either case.
    template <class K, class Build, class Found>
    hash_result put(const K& key, std::error_code* report, const Build& build, const Found& found) {
        transaction* const mine = table_.self(report);
        if (mine == nullptr) {
            return hash_result::failed;
        }
        const std::uint64_t hash = this->hash(key);
        for (;;) {
            hash_block* const block = table_.lock(hash, shape, *mine, report);
            if (block == nullptr) {
                return hash_result::failed;
            }
            const locked_block locked(block, *mine);
            if (const hash_place place = find_locked(*block, hash, key)) {
                found(place, *mine);
                return hash_result::found;
            }
            if (const hash_place place = find_room(*block, hash)) [[likely]] {
                return add(place, hash, *mine, report, build) ? hash_result::inserted
                                                              : hash_result::failed;
            }
            if (!table_.make_room(*block, hash, shape, *mine, report)) {
                return hash_result::failed;
            }
        }
    }

    template <class Build>
    [[nodiscard]] bool add(const hash_place& place, std::uint64_t hash, transaction& mine,
                           std::error_code* report, const Build& build) {
        if constexpr (is_plain) {
            copied made{};
            build(static_cast<void*>(made.bytes));
            copy_to_slot<slot_bytes>(place.bytes(shape), made.bytes);
            place.group->set_tag(place.slot, tag_of(hash));
            place.publish();
            return true;
        } else {
            return add_node(place, hash, mine, report, build);
        }
    }

    // Rolls a section back if an exception leaves it.
    class node_section {
      public:
        explicit node_section(transaction& mine) noexcept
            : section_(&mine), exceptions_(mine.uncaught()) {}

        node_section(const node_section&) = delete;
        node_section& operator=(const node_section&) = delete;

        ~node_section() {
            if (section_->uncaught() > exceptions_) {
                section_.roll_back();
            }
        }

        detail::section* operator->() noexcept { return &section_; }

      private:
        detail::section section_;
        unsigned exceptions_;
    };

    template <class Build>
    [[nodiscard]] bool add_node(const hash_place& place, std::uint64_t hash, transaction& mine,
                                std::error_code* report, const Build& build) {
        node_section making(mine);
        value_type* const made = make_node(making, report, build);
        if (made != nullptr) {
            commit_node(making, place, hash, made);
        }
        return made != nullptr;
    }

    // nullptr after an error.
    template <class Build>
    [[nodiscard]] value_type* make_node(node_section& making, std::error_code* report,
                                        const Build& build) {
        segment_header& header = *table_.header();
        std::error_code ec;
        void* const memory =
            allocate_objects(&header, 1, sizeof(value_type), alignof(value_type), ec);
        if (ec) {
            making->roll_back();
            if (report == nullptr) {
                raise_if(ec);
            }
            *report = ec;
            return nullptr;
        }
        const construction_scope scope(&header);
        build(memory);
        return static_cast<value_type*>(memory);
    }

    void commit_node(node_section& making, const hash_place& place, std::uint64_t hash,
                     const value_type* made) noexcept {
        const hash_node added{
            static_cast<std::uint64_t>(reinterpret_cast<const char*>(made) -
                                       reinterpret_cast<const char*>(table_.header())),
            hash};
        copy_to_slot<sizeof(hash_node)>(place.bytes(shape), &added);
        place.group->set_tag(place.slot, tag_of(hash));
        making->commit_by(place.group->state, place.word_with(), witness_kind::equal);
    }

    // As put() for an element that owns memory and is made before its key is known: it is in the
    // segment from the beginning, because on a stack a kill would leak its memory.
    template <class Build, class Found>
    hash_result put_made(std::error_code* report, const Build& build, const Found& found) {
        transaction* const mine = table_.self(report);
        if (mine == nullptr) {
            return hash_result::failed;
        }
        node_section making(*mine);
        value_type* const made = make_node(making, report, build);
        if (made == nullptr) {
            return hash_result::failed;
        }
        const std::uint64_t hash = this->hash(traits::key(*made));
        hash_result result = hash_result::failed;
        while (hash_block* const block = table_.lock(hash, shape, *mine, report)) {
            const locked_block locked(block, *mine);
            if (const hash_place place = find_locked(*block, hash, traits::key(*made))) {
                found(place, *mine);
                result = hash_result::found;
                break;
            }
            if (const hash_place place = find_room(*block, hash)) [[likely]] {
                commit_node(making, place, hash, made);
                return hash_result::inserted;
            }
            if (!table_.make_room(*block, hash, shape, *mine, report)) {
                break;
            }
        }
        made->~value_type();
        deallocate(*table_.header(), made);
        return result;
    }

    void remove(const hash_place& place, transaction& mine) {
        if constexpr (is_plain) {
            static_cast<void>(mine);
            place.retract();
        } else {
            value_type& gone = element(place);
            node_section ending(mine);
            std::error_code ec;
            const report_keeper keeper;
            mine.save(std::addressof(gone), sizeof gone, ec);
            if (ec) { // no room to save it: removed first, so a kill may leak its memory
                place.retract();
            }
            gone.~value_type();
            deallocate(*table_.header(), std::addressof(gone));
            if (!ec) {
                ending->commit_by(place.group->state, place.word_without(), witness_kind::equal);
            }
        }
    }

    // Calls f(value_type&) with the element, and commits its change as a whole: if f throws, or the
    // process is killed, the element is as before, as far as it is saved. `Assigns`: f assigns the
    // mapped value, all of which is then saved.
    template <bool Assigns = false, class F>
    void change(const hash_place& place, transaction& mine, F&& f) {
        if constexpr (is_plain) {
            static_cast<void>(mine);
            copied changed;
            std::memcpy(changed.bytes, place.bytes(shape), sizeof changed);
            {
                const hash_visit visiting(table_);
                std::forward<F>(f)(changed.value());
            }
            if (std::memcmp(changed.bytes, place.bytes(shape), sizeof changed) != 0) {
                replace(place, changed);
            }
        } else {
            value_type& changed = element(place);
            node_section changing(mine);
            if constexpr (Assigns && !(saves_ranges<T> && detail::is_plain<T, true>())) {
                mine.save(std::addressof(changed.second), sizeof changed.second);
            } else {
                save_plain_parts(mine, changed);
            }
            {
                const hash_visit visiting(table_);
                std::forward<F>(f)(changed);
            }
            changing->commit();
        }
    }

    static void save_plain_parts(transaction& mine, const value_type& value) {
        if constexpr (!std::is_void_v<T>) {
            if constexpr (saves_ranges<T>) {
                const auto* const bytes =
                    reinterpret_cast<const char*>(std::addressof(value.second));
                for (std::size_t i = 0; i < plain_ranges_of<T>.size(); ++i) {
                    mine.save(bytes + plain_ranges_of<T>[i].offset, plain_ranges_of<T>[i].bytes);
                }
            }
        }
    }

    // Puts other bytes in the place of an element with the same key.
    static void replace(const hash_place& place, const copied& by) noexcept {
        if constexpr (is_word) {
            using word [[gnu::may_alias, gnu::aligned(value_bytes)]] = hash_unit<value_bytes>;
            word value;
            std::memcpy(&value, by.bytes + value_offset, sizeof value);
            __atomic_store(reinterpret_cast<word*>(place.bytes(shape) + value_offset), &value,
                           __ATOMIC_RELEASE);
        } else {
            const group_word now = place.group->state.load(std::memory_order_relaxed);
            const std::uint32_t valid = valid_of(now);
            const hash_place other{place.group, static_cast<std::uint32_t>(std::countr_one(valid))};
            copy_to_slot<slot_bytes>(other.bytes(shape), by.bytes);
            place.group->set_tag(other.slot, place.group->tag_at(place.slot));
            place.group->state.store(next_word(now, valid ^ 1u << place.slot ^ 1u << other.slot),
                                     std::memory_order_release);
        }
    }

    // ---- the rest

    void destroy_nodes(transaction& mine) noexcept {
        if constexpr (!is_plain) {
            segment_header& header = *table_.header();
            table_.each_at_the_end(shape, [&](hash_block& block) {
                static_cast<void>(
                    visit_groups(block, mine, [&](const hash_place& place, transaction& in) {
                        value_type& gone = element(place);
                        in.save_anyhow(std::addressof(gone), sizeof gone, false);
                        gone.~value_type();
                        deallocate(header, std::addressof(gone));
                        return true;
                    }));
            });
        } else {
            static_cast<void>(mine);
        }
    }

    [[nodiscard]] static std::uint32_t depth_for(size_type count) noexcept {
        constexpr std::uint64_t comfortable = std::uint64_t{shape.group_count} * shape.most * 3 / 4;
        std::uint32_t depth = 0;
        while (depth < most_depth && (comfortable << depth) < count) {
            ++depth;
        }
        return depth;
    }

    static constexpr void check() noexcept {
        static_assert(std::is_same_v<Key, std::remove_cvref_t<Key>>);
        static_assert(assert_shareable<Key>());
        if constexpr (!std::is_void_v<T>) {
            static_assert(assert_shareable<T>());
        }
        static_assert(std::is_empty_v<Hash> && std::is_empty_v<Equal>,
                      "cohold: Hash and Equal of a table in shared memory must have no members: "
                      "every process makes its own");
        static_assert(std::is_invocable_r_v<bool, Equal, const Key&, const Key&>,
                      "cohold: keys of a hash map or set need operator==: give the key a defaulted "
                      "one, or name another Equal");
        static_assert(!is_plain || alignof(value_type) <= 32);
        static_assert(hash_groups<value_type> <= 16);
    }

    hash_table table_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
