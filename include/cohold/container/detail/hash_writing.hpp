// Changing a hash table, block by block, with the block's lock: finding, adding, replacing and
// removing elements.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_WRITING_HPP
#define COHOLD_CONTAINER_DETAIL_HASH_WRITING_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/hash_reading.hpp>
#include <cohold/error.hpp>
#include <cohold/type/construct_from.hpp>
#include <cohold/type/plain_bytes.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The result of an insertion.
enum class hash_result { failed, found, inserted };

template <class Key, class T, class Hash, class Equal>
class hash_writing : protected hash_reading<Key, T, Hash, Equal> {
    using base = hash_reading<Key, T, Hash, Equal>;

  protected:
    using base::base;
    using base::decide;
    using base::element;
    using base::is_plain;
    using base::is_word;
    using base::node;
    using base::seen;
    using base::shape;
    using base::slot_bytes;
    using base::table_;
    using base::value_bytes;
    using base::value_offset;
    using base::with_key;
    using typename base::copied;
    using typename base::size_type;
    using typename base::traits;
    using typename base::value_type;

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

    static constexpr bool keeps_one_free = shape.most < group_slots;
    static_assert(shape.most + (keeps_one_free ? 1 : 0) == group_slots);

    // A free slot for the hash. Groups without one note that they were passed.
    [[nodiscard]] hash_place find_room(hash_block& first, std::uint64_t hash) const noexcept {
        hash_chain rest(table_, shape, first);
        for (hash_block* block = &first; block != nullptr; block = rest.next()) {
            std::uint32_t group = shape.group_of(hash);
            for (std::uint32_t probes = shape.probes(); probes != 0; --probes) {
                hash_group& in = shape.group(*block, group);
                const group_word now = in.state.load(std::memory_order_relaxed);
                const std::uint32_t free = ~valid_of(now) & ((1u << group_slots) - 1);
                const std::uint32_t usable = keeps_one_free ? free & (free - 1) : free;
                if (usable != 0) [[likely]] {
                    return {&in, static_cast<std::uint32_t>(std::countr_zero(free))};
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
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
