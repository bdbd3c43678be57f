// What a thread knows about the slabs that it owns in a segment, and how it takes and frees blocks
// of them: its own with one plain store, those of others with one fetch_or.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SLAB_CACHE_HPP
#define COHOLD_ENGINE_SLAB_CACHE_HPP

#include <cohold/engine/heap.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// In the private memory of the process: a hint that nobody else can damage. Only the bits of the
// slabs say what is free. That a slab has been taken back meanwhile is noticed by its id when it is
// used next.
//
// Blocks are taken from one word of bits at a time, the lowest first. If the block that was taken
// last is freed first, it is the next to be taken, and both values of its word are noted: then
// neither taking nor freeing it has to wait for the store before, or to look for its slab.
class slab_cache {
  public:
    // A free block of this thread's that is about to be taken.
    struct offer {
        char* block = nullptr; // nullptr: there is none
        std::uint32_t which = 0;
    };

    slab_cache() noexcept;
    slab_cache(const slab_cache&) = delete;
    slab_cache& operator=(const slab_cache&) = delete;
    ~slab_cache();

    // `me`: of the thread. `list`: the word of its journal where the list of its slabs begins.
    void begin(segment_header& header, owner_word me, std::uint64_t& list) noexcept;

    // Forgets everything, because the slabs have been abandoned.
    [[gnu::cold]] void forget() noexcept;

    // ---- taking

    // Takes a block that is at hand; nullptr if there is none.
    [[nodiscard, gnu::always_inline]] void* take(std::uint64_t bytes) noexcept {
        if (bytes > largest_slab_block) [[unlikely]] {
            return nullptr;
        }
        const std::uint32_t which = slab_table.of_size[(bytes + 15) / 16];
        hand& at = hands_[which];
        if (recent_.key == &at) {
            return take_again();
        }
        const std::uint64_t all = get_word(*at.word);
        const std::uint64_t free = all & at.valid;
        if (free == 0) [[unlikely]] {
            return at.node == 0 ? nullptr : take_after_refill(which);
        }
        return take_lowest(at, all, free);
    }

    // The same in two steps, for a section, which has to record the block first.
    [[nodiscard]] offer look(std::uint64_t bytes, std::uint64_t alignment) noexcept;

    void accept(const offer& found) noexcept;

    // ---- freeing. `block`: any pointer.

    // Frees a block of this thread's slabs. False if it may be something else.
    [[nodiscard, gnu::always_inline]] bool give(void* block) noexcept {
        if (block == recent_.key) {
            recent_.key = recent_.from;
            put_word<__ATOMIC_RELEASE>(*recent_.word, recent_.free); // this frees
            return true;
        }
        const std::uint64_t offset = offset_of(block);
        if (offset >= known_bytes_) [[unlikely]] {
            return false;
        }
        const std::uint64_t unit = offset >> slab_unit_shift;
        const std::uint64_t entry = get_word(parts_[slab_directory::part_of(unit)][unit]);
        if (entry - 1 >= known_entries_) [[unlikely]] {
            return false;
        }
        auto* const found = reinterpret_cast<slab*>(base_ + entry * 64);
        if (get_word(found->owner) != me_) [[unlikely]] {
            return give_to_another(offset, block);
        }
        const std::uint32_t index = found->index_of(offset);
        const std::uint32_t word = index / 64 % most_slab_words;
        const std::uint64_t bit = std::uint64_t{1} << index % 64;
        hand& at = *reinterpret_cast<hand*>(reinterpret_cast<char*>(hands_) +
                                            (found->home & (slab_classes - 1) * sizeof(hand)));
        const std::uint64_t before = get_word(found->own(word));
        if constexpr (config::heap_checks) {
            if (!found->has(offset) || (before & bit) != 0) {
                return false; // the slow path reports it
            }
        }
        if (at.last == block) {
            recent_ = {&at,          &at,   &found->own(word), static_cast<char*>(block),
                       before | bit, before};
            put_word<__ATOMIC_RELEASE>(found->own(word), before | bit); // this frees
            return true;
        }
        const std::uint32_t place = get_word(found->place);
        mark(at, place);
        recent_.key = nullptr;
        put_word<__ATOMIC_RELEASE>(found->own(word), before | bit); // this frees
        // From here on the slab may belong to somebody else.
        if ((before | bit) == ~std::uint64_t{0}) [[unlikely]] {
            after_give(*found, static_cast<std::uint32_t>(&at - hands_), place);
        }
        return true;
    }

    // Frees a block of any slab. False if it is not in a slab. In debug builds, a pointer that is
    // not a block in use aborts the program with a message.
    [[nodiscard, gnu::cold]] bool give_slowly(void* block) noexcept;

    // The same for a thread without a cache.
    [[nodiscard, gnu::cold]] static bool give_remotely(segment_header& header,
                                                       void* block) noexcept;

    // Frees a block of this thread's slabs and removes its record by storing `below` to `top`. If
    // the process is killed in between, it may be done again. False if it is not such a block.
    [[nodiscard]] bool give_recorded(std::uint64_t offset, std::atomic<std::uint64_t>& top,
                                     std::uint64_t below) noexcept;

  private:
    // Where blocks of a class are taken from.
    struct alignas(64) hand {
        std::uint64_t* word; // the word at hand, or one without free blocks
        char* first;         // the block of its bit 0
        std::uint64_t valid; // the bits of it that are blocks
        char* last;          // the block of it that was taken last, or nullptr
        std::uint8_t* marks; // for each node: may its slab have free blocks?
        std::uint32_t size;  // of a block
        std::uint32_t index; // of the word in its slab
        std::uint32_t node;  // of the slab at hand, which is active; 0: none
        std::uint32_t mask;  // room for nodes, less 1
    };

    // The block that was freed directly after it had been taken, as long as nothing else is done
    // with its word of bits.
    struct recent {
        const void* key; // the block, if it is taken; its hand, if it is free; nullptr: none
        const hand* from;
        std::uint64_t* word;
        char* block;
        std::uint64_t free;  // the word while the block is free ...
        std::uint64_t taken; // ... and while it is taken
    };

    // A slab that this thread owns.
    struct node {
        slab* at; // nullptr: unused
        std::uint64_t id;
        char* begin;
        std::uint32_t count;
        std::uint32_t next_unused;
    };

    struct holdings {
        node* nodes;          // the first one is never used
        std::uint32_t count;  // of nodes that have ever been used
        std::uint32_t unused; // first one of these that is unused, or 0
        std::uint32_t slabs;
        std::uint32_t cursor; // where the search for free blocks goes on
        std::uint32_t look;   // the same for blocks that others have freed
        std::uint32_t demand; // for blocks that the heap had to provide
    };

    // How often a class must have been asked for until it gets a slab.
    static constexpr std::uint32_t demanded = 16;

    [[nodiscard]] std::uint64_t offset_of(const void* address) const noexcept {
        return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address) -
                                          reinterpret_cast<std::uintptr_t>(base_));
    }

    [[nodiscard]] heap& all() const noexcept {
        return heap::of(*reinterpret_cast<segment_header*>(base_));
    }

    [[nodiscard]] owner_word process_word() const noexcept {
        return make_owner(slot_of(me_), generation_of(me_), 0);
    }

    static void mark(hand& at, std::uint32_t which) noexcept { at.marks[which & at.mask] = 1; }

    static void unmark(hand& at, std::uint32_t which) noexcept { at.marks[which & at.mask] = 0; }

    // Takes the block of the lowest bit.
    [[nodiscard, gnu::always_inline]] void* take_lowest(hand& at, std::uint64_t all,
                                                        std::uint64_t free) noexcept {
        char* const block =
            at.first + std::uint64_t{static_cast<unsigned>(std::countr_zero(free))} * at.size;
        at.last = block;
        recent_.key = nullptr;
        put_word(*at.word, all ^ (free & (std::uint64_t{0} - free))); // this allocates
        return block;
    }

    [[nodiscard]] void* take_after_refill(std::uint32_t which) noexcept;

    [[nodiscard, gnu::always_inline]] void* take_again() noexcept {
        recent_.key = recent_.block;
        put_word(*recent_.word, recent_.taken); // this allocates
        return recent_.block;
    }

    // The first marked node from that one on, round; mask + 1 if there is none.
    [[nodiscard]] static std::uint32_t next_marked(const hand& at, std::uint32_t from) noexcept;

    [[nodiscard]] std::uint32_t new_node(std::uint32_t which) noexcept;

    void drop_node(std::uint32_t which, std::uint32_t dropped) noexcept;

    // The node of a slab; 0 if there is none, so that it belongs to somebody else by now.
    [[nodiscard]] std::uint32_t node_of(const slab& owned, std::uint32_t which,
                                        std::uint32_t place) const noexcept;

    void use_none(hand& at) noexcept;

    // Goes on with the next word of an active slab that has free blocks, round from the one at
    // hand.
    [[nodiscard]] bool use_next_word(std::uint32_t which, std::uint32_t from) noexcept;

    // Calls look() for a slab that is not active. Others may take such a slab back, and then trim()
    // the page of its descriptor: so after the first trim() this needs the lock. Returns what
    // look() does; `gone` if the slab is no longer there, and `busy` if that cannot be told.
    enum class sight { yes, no, gone, busy };

    template <class Look>
    [[nodiscard]] sight look_at(const node& known, const Look& look) const noexcept;

    [[nodiscard]] bool activate(std::uint32_t which, std::uint32_t activated) noexcept;

    static void park(const node& parked) noexcept {
        __atomic_store_n(static_cast<aligned_word*>(&parked.at->state),
                         slab_word(parked.id, slab_state::parked), __ATOMIC_RELEASE);
    }

    // Makes blocks that others have freed in an active slab free for its owner.
    [[nodiscard, gnu::cold]] bool collect(const node& from) noexcept;

    [[nodiscard]] bool has_frees_of_others(const node& from) const noexcept;

    // Called when a word of a slab has only free blocks: gives back the slab if it is free, unless
    // it is the only one of its class with free blocks.
    [[gnu::cold]] void after_give(slab& from, std::uint32_t which, std::uint32_t place) noexcept;

    // How many units a new slab should have; 0 if the heap should provide the block.
    [[nodiscard]] std::uint32_t wanted_units(std::uint32_t which) const noexcept;

    // Notes an active slab that this thread has got. 0: it is of no use.
    [[nodiscard]] std::uint32_t hold(slab& got, std::uint32_t which) noexcept;

    // Finds a word with free blocks. False: the heap has to provide the block.
    [[nodiscard, gnu::cold]] bool refill(std::uint32_t which) noexcept;

    [[nodiscard]] bool use_own(std::uint32_t which) noexcept;

    [[nodiscard]] bool use_orphan(std::uint32_t which) noexcept;

    // Learns which parts of the map there are.
    [[gnu::cold]] void learn_map() noexcept;

    // Frees a block of another thread's slab. False if it may be something else.
    [[nodiscard]] bool give_to_another(std::uint64_t offset, void* block) noexcept;

    static void free_remotely(slab& from, std::uint64_t offset, void* block) noexcept;

    recent recent_{};
    char* base_ = nullptr;
    owner_word me_ = nobody;
    std::uint64_t known_bytes_ = 0;   // of the segment, whose part of the map is known here
    std::uint64_t known_entries_ = 0; // what an entry can be so that its slab is in the segment
    std::uint64_t* list_ = nullptr;
    std::uint64_t none_ = 0;
    std::uint8_t no_marks_[8]{};
    std::uint32_t* parts_[slab_directory::parts]{}; // each less where it begins
    hand hands_[slab_classes];
    holdings holdings_[slab_classes]{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/slab_cache.ipp>
#endif

#endif
