// What hash maps and hash sets in shared memory have in common for their users: looking, visiting,
// erasing and making room.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_CONTAINER_HPP
#define COHOLD_CONTAINER_DETAIL_HASH_CONTAINER_HPP

#include <cstddef>
#include <cstdint>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/hash_writing.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Key, class T, class Hash, class Equal>
class hash_container : protected hash_writing<Key, T, Hash, Equal> {
    using base = hash_writing<Key, T, Hash, Equal>;

  protected:
    using base::block_slots;
    using base::count_in;
    using base::decide;
    using base::depth_for;
    using base::element;
    using base::is_plain;
    using base::lock_each;
    using base::remove;
    using base::seen;
    using base::shape;
    using base::slot_bytes;
    using base::table_;
    using base::visit_copies;
    using base::visit_groups;
    using base::visit_locked;
    using base::with_element;
    using base::with_key;
    using typename base::traits;

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
            typename base::copied_key copy;
            return this->copy_to(copy, k);
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
        return with_key(key, [&](const auto& k) { return this->read(k, f); }) ? 1 : 0;
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
    using base::base;

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
                this->destroy_nodes(*mine);
                table_.release(shape);
            }
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
