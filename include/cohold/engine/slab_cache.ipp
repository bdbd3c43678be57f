// Definitions for slab_cache.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SLAB_CACHE_IPP
#define COHOLD_ENGINE_SLAB_CACHE_IPP

#include <cohold/engine/slab_cache.hpp>

#include <cstdlib>
#include <cstring>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE slab_cache::slab_cache() noexcept {
    forget();
}

COHOLD_INLINE slab_cache::~slab_cache() {
    forget();
}

COHOLD_INLINE void slab_cache::begin(segment_header& header, owner_word me,
                                     std::uint64_t& list) noexcept {
    base_ = reinterpret_cast<char*>(&header);
    me_ = me;
    list_ = &list;
}

COHOLD_INLINE void slab_cache::forget() noexcept {
    for (std::uint32_t i = 0; i < slab_classes; ++i) {
        if (holdings_[i].nodes != nullptr) {
            std::free(holdings_[i].nodes);
            std::free(hands_[i].marks);
        }
        holdings_[i] = {};
        hands_[i] = {};
        hands_[i].size = slab_table.size[i];
        hands_[i].marks = no_marks_;
        use_none(hands_[i]);
    }
    recent_ = {};
    known_bytes_ = 0;
}

// ---- nodes

COHOLD_INLINE std::uint32_t slab_cache::next_marked(const hand& at, std::uint32_t from) noexcept {
    const std::uint32_t count = at.mask + 1;
    for (std::uint32_t i = 0; i < count;) {
        const std::uint32_t which = (from + i) & at.mask;
        std::uint64_t eight = 1;
        if (which % 8 == 0) {
            std::memcpy(&eight, at.marks + which, sizeof eight);
        }
        if (eight == 0) {
            i += 8;
        } else if (at.marks[which] != 0) {
            return which;
        } else {
            ++i;
        }
    }
    return count;
}

COHOLD_INLINE std::uint32_t slab_cache::new_node(std::uint32_t which) noexcept {
    holdings& own = holdings_[which];
    hand& at = hands_[which];
    if (const std::uint32_t unused = own.unused; unused != 0) {
        own.unused = own.nodes[unused].next_unused;
        return unused;
    }
    if (own.nodes == nullptr || own.count > at.mask) {
        const std::uint32_t room = own.nodes == nullptr ? 64 : (at.mask + 1) * 2;
        auto* const marks = static_cast<std::uint8_t*>(std::calloc(room, 1));
        auto* const nodes = marks == nullptr
                                ? nullptr
                                : static_cast<node*>(std::realloc(own.nodes, room * sizeof(node)));
        if (nodes == nullptr) {
            std::free(marks);
            return 0;
        }
        if (own.nodes == nullptr) {
            own.count = 1;
        } else {
            std::memcpy(marks, at.marks, room / 2);
            std::free(at.marks);
        }
        own.nodes = nodes;
        at.marks = marks;
        at.mask = room - 1;
    }
    own.nodes[own.count] = {};
    return own.count++;
}

COHOLD_INLINE void slab_cache::drop_node(std::uint32_t which, std::uint32_t dropped) noexcept {
    holdings& own = holdings_[which];
    unmark(hands_[which], dropped);
    if (own.nodes[dropped].at != nullptr) {
        --own.slabs;
    }
    own.nodes[dropped].at = nullptr;
    own.nodes[dropped].next_unused = own.unused;
    own.unused = dropped;
}

COHOLD_INLINE std::uint32_t slab_cache::node_of(const slab& owned, std::uint32_t which,
                                                std::uint32_t place) const noexcept {
    const holdings& own = holdings_[which];
    return place != 0 && place < own.count && own.nodes[place].at == &owned ? place : 0;
}

COHOLD_INLINE void slab_cache::use_none(hand& at) noexcept {
    at.word = &none_;
    at.first = at.last = nullptr;
    at.valid = 0;
    at.index = at.node = 0;
}

// ---- words

COHOLD_INLINE bool slab_cache::use_next_word(std::uint32_t which, std::uint32_t from) noexcept {
    const node& own = holdings_[which].nodes[from];
    hand& at = hands_[which];
    const std::uint32_t words = (own.count + 63) / 64;
    std::uint32_t word = at.node == from ? at.index : 0;
    for (std::uint32_t i = 0; i < words; ++i, word = word + 1 < words ? word + 1 : 0) {
        const std::uint64_t valid = slab::mask_of(own.count, word);
        if ((get_word(own.at->own(word)) & valid) == 0) {
            continue;
        }
        at.node = from;
        at.last = nullptr;
        at.word = &own.at->own(word);
        at.index = word;
        at.first = own.begin + std::uint64_t{word} * 64 * slab_table.size[which];
        at.valid = valid;
        return true;
    }
    return false;
}

template <class Look>
slab_cache::sight slab_cache::look_at(const node& known, const Look& look) const noexcept {
    // Where the slab was, there may be bytes of a user by now. The word of its state tells: but the
    // thread sanitizer would call that a race.
    if (!config::thread_sanitizer && !all().is_trimmed()) [[likely]] {
        return look();
    }
    const heap::change change(all(), process_word());
    return !change                                              ? sight::busy
           : change.has_slab(*known.at, offset_of(known.begin)) ? look()
                                                                : sight::gone;
}

COHOLD_INLINE bool slab_cache::activate(std::uint32_t which, std::uint32_t activated) noexcept {
    const node& own = holdings_[which].nodes[activated];
    const sight found = look_at(own, [&own]() noexcept {
        if (own.at->change_state(own.id, slab_state::parked, slab_state::active)) {
            return sight::yes;
        }
        return get_word(own.at->state) == slab_word(own.id, slab_state::claimed) ? sight::busy
                                                                                 : sight::gone;
    });
    if (found == sight::busy) {
        mark(hands_[which], activated); // later, perhaps
    } else if (found != sight::yes) {
        drop_node(which, activated);
    }
    return found == sight::yes;
}

COHOLD_INLINE bool slab_cache::collect(const node& from) noexcept {
    slab& own = *from.at;
    const std::uint32_t words = (from.count + 63) / 64;
    bool any = false;
    std::uint64_t promised = 0;
    for (std::uint32_t i = 0; i < words; ++i) {
        if (const std::uint64_t freed = get_word<__ATOMIC_ACQUIRE>(own.remote(i)); freed != 0) {
            // First free on both sides, then on one: a kill in between leaves a bit twice, which
            // means the same.
            put_word(own.own(i), get_word(own.own(i)) | freed);
            __atomic_fetch_and(static_cast<aligned_word*>(&own.remote(i)), ~freed,
                               __ATOMIC_ACQ_REL);
            any = true;
        }
        promised |= get_word(own.promised(i));
    }
    if (promised == 0) {
        return any;
    }
    // What sections have freed changes only in a change of the heap.
    constexpr std::uint32_t most_words = 32; // as the heap's log has room for them
    for (std::uint32_t i = 0; i < words; i += most_words) {
        heap::change change(all(), process_word());
        for (std::uint32_t each = i; change && each < i + most_words && each < words; ++each) {
            if (const std::uint64_t freed = own.promised(each); freed != 0) {
                change.set(own.own(each), own.own(each) | freed);
                change.set(own.promised(each), 0);
                any = true;
            }
        }
    }
    return any;
}

COHOLD_INLINE bool slab_cache::has_frees_of_others(const node& from) const noexcept {
    return look_at(from, [&from]() noexcept {
               std::uint64_t any = 0;
               for (std::uint32_t i = 0; i < (from.count + 63) / 64; ++i) {
                   any |= get_word(from.at->remote(i)) | get_word(from.at->promised(i));
               }
               return any != 0 ? sight::yes : sight::no;
           }) == sight::yes;
}

// ---- getting slabs

COHOLD_INLINE std::uint32_t slab_cache::wanted_units(std::uint32_t which) const noexcept {
    const holdings& own = holdings_[which];
    const std::uint64_t size = slab_table.size[which];
    const std::uint64_t whole = bounded_size(*reinterpret_cast<segment_header*>(base_));
    if (own.slabs == 0 && own.demand < demanded) {
        return 0;
    }
    // Not more than this part of the segment for one; in a small segment a unit, as long as there
    // is room, and for classes that save memory.
    std::uint64_t most = whole / 64;
    if (most < slab_unit) {
        if (whole < 16 * slab_unit || size > 128 || all().taken() > whole / 2) {
            return 0;
        }
        most = slab_unit;
    }
    most = most < 65536 ? most : 65536;
    std::uint64_t bytes = slab_unit << (own.slabs < 4 ? own.slabs : 4);
    // In a large segment the first one is larger, too: a small one would soon be full.
    const std::uint64_t first = whole / 8192 / slab_unit * slab_unit;
    bytes = bytes < first ? first : bytes;
    const std::uint64_t least = (size * 8 + slab_unit - 1) / slab_unit * slab_unit;
    bytes = bytes < least ? least : bytes;
    bytes = bytes < most ? bytes : most / slab_unit * slab_unit;
    if (bytes < least) {
        return 0;
    }
    // Of the lengths nearby, the one that wastes least. An eighth is too much.
    const std::uint64_t most_longer = size <= 256 ? 0 : size < slab_unit ? slab_unit : size;
    std::uint32_t best = 0;
    std::uint64_t least_waste = 128; // in 1024
    for (std::uint64_t each = bytes; each <= bytes + most_longer; each += slab_unit) {
        const std::uint64_t waste = (each - (each - 16) / size * size) * 1024 / each;
        if (waste < least_waste) {
            least_waste = waste;
            best = static_cast<std::uint32_t>(each / slab_unit);
        }
    }
    return best;
}

COHOLD_INLINE std::uint32_t slab_cache::hold(slab& got, std::uint32_t which) noexcept {
    holdings& own = holdings_[which];
    const node fresh{&got, get_word(got.state) >> 2, base_ + got.begin, got.count, 0};
    const std::uint32_t made = got.which == which ? new_node(which) : 0;
    if (made == 0) {
        park(fresh); // it stays in the list, unused, until it is taken back or the thread ends
        return 0;
    }
    own.nodes[made] = fresh;
    ++own.slabs;
    __atomic_store_n(&got.place, made, __ATOMIC_RELAXED);
    static_cast<void>(collect(own.nodes[made]));
    mark(hands_[which], made);
    return made;
}

COHOLD_INLINE bool slab_cache::use_own(std::uint32_t which) noexcept {
    hand& at = hands_[which];
    holdings& own = holdings_[which];
    if (own.nodes == nullptr) {
        return false;
    }
    for (std::uint32_t most = own.count; most != 0; --most) {
        const std::uint32_t each = next_marked(at, own.cursor);
        if (each > at.mask) {
            break;
        }
        unmark(at, each);
        own.cursor = (each + 1) & at.mask;
        if (each >= own.count || own.nodes[each].at == nullptr || !activate(which, each)) {
            continue;
        }
        mark(at, each); // as long as it is at hand, too
        if (use_next_word(which, each)) {
            return true;
        }
        unmark(at, each);
        park(own.nodes[each]);
    }
    // Blocks that others have freed: a few slabs are looked at each time, in turn.
    for (std::uint32_t i = 0; i < 8 && i < own.count; ++i) {
        own.look = own.look + 1 < own.count ? own.look + 1 : 1;
        const std::uint32_t each = own.look;
        if (each >= own.count || own.nodes[each].at == nullptr ||
            !has_frees_of_others(own.nodes[each]) || !activate(which, each)) {
            continue;
        }
        static_cast<void>(collect(own.nodes[each]));
        mark(at, each);
        if (use_next_word(which, each)) {
            return true;
        }
        unmark(at, each);
        park(own.nodes[each]);
    }
    return false;
}

COHOLD_INLINE bool slab_cache::use_orphan(std::uint32_t which) noexcept {
    // Even if it is full: then what others free in it is found in turn.
    for (int i = 0; i < 4 && all().has_orphans(which); ++i) {
        slab* found = nullptr;
        {
            heap::change change(all(), process_word());
            found = change ? change.adopt_slab(which, me_, *list_) : nullptr;
        }
        const std::uint32_t held = found == nullptr ? 0 : hold(*found, which);
        if (held == 0) {
            return false;
        }
        if (use_next_word(which, held)) {
            return true;
        }
        unmark(hands_[which], held);
        park(holdings_[which].nodes[held]);
    }
    return false;
}

[[gnu::noinline]] COHOLD_INLINE bool slab_cache::refill(std::uint32_t which) noexcept {
    hand& at = hands_[which];
    holdings& own = holdings_[which];
    recent_.key = nullptr;
    if (const std::uint32_t held = at.node; held != 0) {
        if (use_next_word(which, held) ||
            (collect(own.nodes[held]) && use_next_word(which, held))) {
            return true;
        }
        use_none(at);
        unmark(at, held);
        park(own.nodes[held]);
    }
    if (use_own(which) || use_orphan(which)) {
        return true;
    }
    const std::uint32_t units = wanted_units(which);
    if (units == 0) {
        return false;
    }
    slab* made = nullptr;
    {
        heap::change change(all(), process_word());
        if (!change) {
            return false;
        }
        made = change.make_slab(which, units, me_, *list_, false);
        if (made == nullptr && change.take_back_all() != 0) {
            made = change.make_slab(which, units, me_, *list_, false);
        }
        // Not by growing, if a single block is to be had without.
        if (made == nullptr && !all().has_room(slab_table.size[which])) {
            made = change.make_slab(which, units, me_, *list_, true);
        }
    }
    const std::uint32_t held = made == nullptr ? 0 : hold(*made, which);
    return held != 0 && use_next_word(which, held);
}

// ---- taking

COHOLD_INLINE slab_cache::offer slab_cache::look(std::uint64_t bytes,
                                                 std::uint64_t alignment) noexcept {
    if (!std::has_single_bit(alignment) || alignment > 64 || bytes > largest_slab_block) {
        return {};
    }
    if (alignment > 16) { // blocks of such a size are all aligned
        bytes = (bytes + alignment - 1) / alignment * alignment;
    }
    std::uint32_t which = slab_table.of_size[(bytes + 15) / 16];
    while (slab_table.size[which] % alignment != 0 && alignment > 16) {
        ++which; // the last one is a multiple of all of them
    }
    hand& at = hands_[which];
    if (recent_.key == &at) {
        return {recent_.block, which};
    }
    if ((get_word(*at.word) & at.valid) == 0 && !refill(which)) {
        ++holdings_[which].demand;
        return {};
    }
    const auto first = static_cast<unsigned>(std::countr_zero(get_word(*at.word) & at.valid));
    return {at.first + std::uint64_t{first} * slab_table.size[which], which};
}

COHOLD_INLINE void slab_cache::accept(const offer& found) noexcept {
    hand& at = hands_[found.which];
    if (recent_.key == &at) {
        static_cast<void>(take_again());
        return;
    }
    const std::uint64_t all = get_word(*at.word);
    static_cast<void>(take_lowest(at, all, all & at.valid));
}

[[gnu::noinline]] COHOLD_INLINE void* slab_cache::take_after_refill(std::uint32_t which) noexcept {
    if (!refill(which)) {
        return nullptr;
    }
    hand& at = hands_[which];
    const std::uint64_t all = get_word(*at.word);
    return take_lowest(at, all, all & at.valid);
}

// ---- freeing

[[gnu::noinline]] COHOLD_INLINE void slab_cache::after_give(slab& from, std::uint32_t which,
                                                            std::uint32_t place) noexcept {
    hand& at = hands_[which];
    const std::uint32_t held = node_of(from, which, place);
    if (held == 0 || held == at.node) {
        return;
    }
    const node& own = holdings_[which].nodes[held];
    if (look_at(own, [&from]() noexcept { return from.is_free() ? sight::yes : sight::no; }) !=
        sight::yes) {
        return;
    }
    if (at.node == 0) { // are there others?
        unmark(at, held);
        const bool alone = next_marked(at, 0) > at.mask;
        mark(at, held);
        if (alone) {
            return;
        }
    }
    bool gone = false;
    {
        heap::change change(all(), process_word());
        gone =
            change && change.has_slab(from, offset_of(own.begin)) && change.take_back(from, own.id);
    }
    if (gone) {
        drop_node(which, held);
    }
}

COHOLD_INLINE void slab_cache::learn_map() noexcept {
    // With the lock, because a part that a change is adding may be undone.
    const heap::change looking(all(), process_word());
    if (!looking) {
        return;
    }
    for (unsigned i = 0; i < slab_directory::parts; ++i) {
        std::uint32_t* const part = all().map_part(i);
        if (part == nullptr) {
            break;
        }
        parts_[i] = part - slab_directory::begin_of(i);
        known_bytes_ = (slab_directory::begin_of(i) + slab_directory::units_of(i))
                       << slab_unit_shift;
    }
    const std::uint64_t reserve = local_of(*reinterpret_cast<segment_header*>(base_)).reserve;
    known_bytes_ = known_bytes_ < reserve ? known_bytes_ : reserve;
}

COHOLD_INLINE void slab_cache::free_remotely(slab& from, std::uint64_t offset,
                                             void* block) noexcept {
    if (config::heap_checks ? !from.has_used(offset) : !from.has(offset)) [[unlikely]] {
        if constexpr (config::heap_checks) {
            heap::refuse(block, offset);
        }
        return;
    }
    // This frees, after everything that this thread has done with the block.
    __atomic_fetch_or(static_cast<aligned_word*>(&from.remote(from.word_of(offset))),
                      from.bit_of(offset), __ATOMIC_RELEASE);
}

[[gnu::noinline]] COHOLD_INLINE bool slab_cache::give_to_another(std::uint64_t offset,
                                                                 void* block) noexcept {
    slab* const found = all().slab_around(offset);
    if (found == nullptr || get_word(found->owner) == me_) {
        return false;
    }
    free_remotely(*found, offset, block);
    return true;
}

COHOLD_INLINE bool slab_cache::give_remotely(segment_header& header, void* block) noexcept {
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(block) -
                                                   reinterpret_cast<std::uintptr_t>(&header));
    slab* const found = heap::of(header).slab_around(offset);
    if (found != nullptr) {
        free_remotely(*found, offset, block);
    }
    return found != nullptr;
}

[[gnu::noinline]] COHOLD_INLINE bool slab_cache::give_slowly(void* block) noexcept {
    auto& header = *reinterpret_cast<segment_header*>(base_);
    const std::uint64_t offset = offset_of(block);
    const std::uint64_t size = bounded_size(header);
    if (size >= slab::most_bytes) {
        known_entries_ = (size - slab::most_bytes) / 64;
    }
    if (offset >= known_bytes_ && offset < size &&
        all().map_part(slab_directory::part_of(offset >> slab_unit_shift)) != nullptr) {
        learn_map();
    }
    slab* const found = all().slab_around(offset);
    if (found == nullptr) {
        return false;
    }
    if (get_word(found->owner) != me_ || !found->has(offset)) {
        free_remotely(*found, offset, block);
        return true;
    }
    if (config::heap_checks && !found->has_used(offset)) {
        heap::refuse(block, offset);
    }
    std::uint64_t& word = found->own(found->word_of(offset));
    const std::uint32_t which = found->which % slab_classes;
    const std::uint32_t place = get_word(found->place);
    hand& at = hands_[which];
    if (at.last == block) {
        at.last = nullptr;
    }
    recent_.key = nullptr;
    mark(at, place);
    put_word<__ATOMIC_RELEASE>(word, get_word(word) | found->bit_of(offset)); // this frees
    after_give(*found, which, place);
    return true;
}

COHOLD_INLINE bool slab_cache::give_recorded(std::uint64_t offset, std::atomic<std::uint64_t>& top,
                                             std::uint64_t below) noexcept {
    slab* const found = all().slab_around(offset);
    if (found == nullptr || get_word(found->owner) != me_ ||
        !(config::heap_checks ? found->has_used(offset) : found->has(offset))) {
        return false;
    }
    const std::uint32_t which = found->which % slab_classes;
    hand& at = hands_[which];
    const std::uint32_t held = node_of(*found, which, get_word(found->place));
    const bool at_hand = held != 0 && at.node == held;
    // Nobody may take the slab back as long as there is a record of a free block of it: therefore
    // it must be active.
    if (!at_hand && (held == 0 || !found->change_state(holdings_[which].nodes[held].id,
                                                       slab_state::parked, slab_state::active))) {
        return false;
    }
    std::uint64_t& word = found->own(found->word_of(offset));
    recent_.key = nullptr;
    mark(at, held);
    // Done twice it is the same, because nobody gets the block as long as the record is there.
    put_word<__ATOMIC_RELEASE>(word, get_word(word) | found->bit_of(offset));
    std::atomic_signal_fence(std::memory_order_seq_cst);
    top.store(below, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (!at_hand) {
        park(holdings_[which].nodes[held]);
        after_give(*found, which, held);
    }
    return true;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
