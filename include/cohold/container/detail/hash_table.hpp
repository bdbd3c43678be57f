// The part of a hash table in shared memory that is the same for all elements: its words, the
// directory, blocks and groups; finding and locking a block; and growth.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_TABLE_HPP
#define COHOLD_CONTAINER_DETAIL_HASH_TABLE_HPP

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>

#include <cohold/container/shm_allocator.hpp>
#include <cohold/engine/robust_lock.hpp>
#include <cohold/engine/section.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A table is a directory of blocks. The directory has 2^depth entries, and the first `depth` bits
// of a hash are the index of its entry. Each entry leads to a block and says how many of these bits
// all hashes of that block have in common: blocks with fewer have several entries. A block that is
// full is split: a new block gets those elements of which the next bit is 1. The old block stays
// where it is, so no reader ever looks at memory that has been freed; only old directories are
// left over, which are kept until the table is destroyed.
//
// A block has groups of 16 slots. An element is in the group that the last bits of its hash name
// or, if that is full, in one of the next ones. Every change is one store to the state of one
// group, by the thread that holds the block's lock. An element that is not yet, or no longer, in
// the state does not exist, so a thread that dies leaves nothing behind but the lock.

// ---- words

// version:40 | overflow:8 | valid:16. The version counts the changes. `valid` has a bit for each
// slot, which is set if the slot has an element. `overflow` has a bit for each eighth of the
// hashes, which is set if an element with such a hash ever had to go to a later group.
using group_word = std::uint64_t;

[[nodiscard]] constexpr std::uint32_t valid_of(group_word word) noexcept {
    return static_cast<std::uint32_t>(word) & 0xffffu;
}

[[nodiscard]] constexpr group_word next_word(group_word word, std::uint32_t valid) noexcept {
    return ((word & ~group_word{0xffff}) | valid) + (group_word{1} << 24);
}

// Which bit of `overflow` a hash uses, as a bit of the word; its group; and its byte in the group.
[[nodiscard]] constexpr group_word overflow_bit(std::uint64_t hash) noexcept {
    return group_word{1} << (16 + (hash >> 4 & 7));
}

[[nodiscard]] constexpr std::uint8_t tag_of(std::uint64_t hash) noexcept {
    return static_cast<std::uint8_t>(hash >> 8);
}

// offset:56 | depth:8, from the header of the segment: of the directory, or of a block.
using hash_entry = std::uint64_t;

[[nodiscard]] constexpr hash_entry make_entry(std::uint64_t offset, std::uint32_t depth) noexcept {
    return offset << 8 | depth;
}

[[nodiscard]] constexpr std::uint64_t offset_of(hash_entry entry) noexcept {
    return entry >> 8;
}

[[nodiscard]] constexpr std::uint32_t depth_of(hash_entry entry) noexcept {
    return static_cast<std::uint32_t>(entry) & 0xffu;
}

inline constexpr std::uint32_t most_depth = 40;

// The index in a directory.
[[nodiscard]] constexpr std::uint64_t first_bits(std::uint64_t hash, std::uint32_t depth) noexcept {
    return depth == 0 ? 0 : hash >> (64 - depth);
}

// The word of a block that is being split: the phase, and the future entry of the new block, with
// the depth before the split. In the first phase the new block is being filled; in the second one
// it is complete.
inline constexpr std::uint64_t split_filling = std::uint64_t{1} << 62;
inline constexpr std::uint64_t split_filled = std::uint64_t{2} << 62;

// ---- groups and blocks

inline constexpr std::uint32_t group_slots = 16;
inline constexpr std::uint32_t most_probes = 8; // groups in which an element can be

struct hash_group {
    std::atomic<group_word> state;
    std::atomic<std::uint64_t> tags[2]; // a byte for each slot, the first one lowest
    std::atomic<std::uint64_t> unused;

    // The slots with this tag, and perhaps without an element.
    [[nodiscard]] std::uint32_t match(std::uint8_t tag) const noexcept {
#if defined(__SSE2__)
        using bytes [[gnu::vector_size(16)]] = char;
        using words [[gnu::vector_size(16)]] = long long;
        const auto eight = static_cast<long long>(tag * 0x0101010101010101u);
        const words wanted{eight, eight};
        return static_cast<std::uint32_t>(__builtin_ia32_pmovmskb128(
            reinterpret_cast<bytes>(all_tags<bytes>() == reinterpret_cast<bytes>(wanted))));
#else
        return match(tags[0].load(std::memory_order_relaxed), tag) |
               match(tags[1].load(std::memory_order_relaxed), tag) << 8;
#endif
    }

    // Each of them comes from one moment, but not all from the same.
    template <class Bytes>
    [[nodiscard, gnu::always_inline]] Bytes all_tags() const noexcept {
        Bytes all;
        if constexpr (config::thread_sanitizer) {
            const std::uint64_t each[] = {tags[0].load(std::memory_order_relaxed),
                                          tags[1].load(std::memory_order_relaxed)};
            std::memcpy(&all, each, sizeof all);
        } else {
            std::memcpy(&all, static_cast<const void*>(tags), sizeof all);
        }
        return all;
    }

    // The bytes of a word that equal the tag.
    [[nodiscard]] static constexpr std::uint32_t match(std::uint64_t word,
                                                       std::uint8_t tag) noexcept {
        constexpr std::uint64_t ones = 0x0101010101010101u;
        constexpr std::uint64_t sevens = 0x7fu * ones;
        const std::uint64_t other = word ^ tag * ones;
        const std::uint64_t zero = ~(((other & sevens) + sevens) | other | sevens);
        return static_cast<std::uint32_t>((zero >> 7) * 0x0002040810204081u >> 49) & 0xffu;
    }

    // By the thread that holds the lock.
    void set_tag(std::uint32_t slot, std::uint8_t tag) noexcept {
        std::atomic<std::uint64_t>& word = tags[slot / 8];
        const std::uint32_t shift = slot % 8 * 8;
        word.store((word.load(std::memory_order_relaxed) & ~(std::uint64_t{0xff} << shift)) |
                       std::uint64_t{tag} << shift,
                   std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint8_t tag_at(std::uint32_t slot) const noexcept {
        return static_cast<std::uint8_t>(tags[slot / 8].load(std::memory_order_relaxed) >>
                                         slot % 8 * 8);
    }
};

static_assert(sizeof(hash_group) == 32);

// Followed by its groups, each of them with its slots behind it.
struct alignas(64) hash_block {
    robust_lock lock;
    std::atomic<std::uint64_t> split; // 0: it is not being split
    std::atomic<std::uint64_t> next;  // offset of a block with further elements; or 0
    std::uint64_t prefix;             // the first bits of all its hashes, followed by zeros
    std::uint64_t unused[4];
};

static_assert(sizeof(hash_block) == 64);

struct hash_directory {
    std::uint64_t before; // entry of the directory of which this is a larger copy; or 0
    std::uint64_t unused;

    [[nodiscard]] std::atomic<hash_entry>* entries() noexcept {
        return reinterpret_cast<std::atomic<hash_entry>*>(this + 1);
    }

    [[nodiscard]] static constexpr std::uint64_t bytes(std::uint32_t depth) noexcept {
        return sizeof(hash_directory) + (std::uint64_t{8} << depth);
    }
};

static_assert(sizeof(hash_directory) == 16);

// The facts about the elements of a table that growth needs.
struct hash_shape {
    std::uint32_t slot_bytes;
    std::uint32_t group_count; // a power of two
    std::uint32_t most;        // elements in a group: 16, or 15 if a change needs a free slot
    std::uint64_t (*hash_of)(const void* slot, std::uint64_t seed) noexcept;

    [[nodiscard]] constexpr std::size_t group_bytes() const noexcept {
        return sizeof(hash_group) + std::size_t{group_slots} * slot_bytes;
    }

    [[nodiscard]] constexpr std::uint64_t block_bytes() const noexcept {
        return sizeof(hash_block) + group_count * group_bytes();
    }

    [[nodiscard]] hash_group& group(hash_block& block, std::uint32_t index) const noexcept {
        return *reinterpret_cast<hash_group*>(reinterpret_cast<char*>(&block + 1) +
                                              index * group_bytes());
    }

    [[nodiscard]] const hash_group& group(const hash_block& block,
                                          std::uint32_t index) const noexcept {
        return group(const_cast<hash_block&>(block), index);
    }

    [[nodiscard]] char* slot(hash_group& group, std::uint32_t index) const noexcept {
        return reinterpret_cast<char*>(&group + 1) + std::size_t{index} * slot_bytes;
    }

    [[nodiscard]] const char* slot(const hash_group& group, std::uint32_t index) const noexcept {
        return slot(const_cast<hash_group&>(group), index);
    }

    [[nodiscard]] constexpr std::uint32_t probes() const noexcept {
        return group_count < most_probes ? group_count : most_probes;
    }

    [[nodiscard]] constexpr std::uint32_t group_of(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash) & (group_count - 1);
    }
};

// A slot of a group.
struct hash_place {
    hash_group* group = nullptr;
    std::uint32_t slot = 0;

    explicit operator bool() const noexcept { return group != nullptr; }

    [[nodiscard]] char* bytes(const hash_shape& shape) const noexcept {
        return shape.slot(*group, slot);
    }

    // The group's word with the element, and without it.
    [[nodiscard]] group_word word_with() const noexcept {
        const group_word now = group->state.load(std::memory_order_relaxed);
        return next_word(now, valid_of(now) | 1u << slot);
    }

    [[nodiscard]] group_word word_without() const noexcept {
        const group_word now = group->state.load(std::memory_order_relaxed);
        return next_word(now, valid_of(now) & ~(1u << slot));
    }

    void publish() const noexcept { group->state.store(word_with(), std::memory_order_release); }

    void retract() const noexcept { group->state.store(word_without(), std::memory_order_release); }
};

// ---- bytes that others may read, or write, at the same time

template <std::size_t Bytes>
using hash_unit = std::conditional_t<
    Bytes % 8 == 0, std::uint64_t,
    std::conditional_t<Bytes % 4 == 0, std::uint32_t,
                       std::conditional_t<Bytes % 2 == 0, std::uint16_t, unsigned char>>>;

// The units of a slot that have any of the bytes [From, To).
template <std::size_t SlotBytes, std::size_t From, std::size_t To>
inline void copy_from_slot(void* to, const char* slot) noexcept {
    using unit [[gnu::may_alias, gnu::aligned(sizeof(hash_unit<SlotBytes>))]] =
        hash_unit<SlotBytes>;
    constexpr std::size_t first = From / sizeof(unit) * sizeof(unit);
    for (std::size_t i = first; i < To; i += sizeof(unit)) {
        unit some;
        __atomic_load(reinterpret_cast<const unit*>(slot + i), &some, __ATOMIC_RELAXED);
        std::memcpy(static_cast<char*>(to) + i, &some, sizeof some);
    }
}

template <std::size_t SlotBytes>
inline void copy_to_slot(char* slot, const void* from) noexcept {
    using unit [[gnu::may_alias, gnu::aligned(sizeof(hash_unit<SlotBytes>))]] =
        hash_unit<SlotBytes>;
    // A reader that sees one of these bytes must not find the old state afterwards.
    std::atomic_thread_fence(std::memory_order_release);
    for (std::size_t i = 0; i < SlotBytes; i += sizeof(unit)) {
        unit some;
        std::memcpy(&some, static_cast<const char*>(from) + i, sizeof some);
        __atomic_store(reinterpret_cast<unit*>(slot + i), &some, __ATOMIC_RELAXED);
    }
}

// ---- the table

// The way to the block of a hash.
struct hash_way {
    hash_entry root = 0;
    hash_entry entry = 0;
    const std::atomic<hash_entry>* at = nullptr;
    hash_block* block = nullptr;
};

class hash_table;

// The tables whose locks this thread holds while it calls the user's functions.
struct hash_visit {
    const hash_table& table;
    const hash_visit* outer;

    static inline thread_local constinit const hash_visit* innermost = nullptr;

    explicit hash_visit(const hash_table& visited) noexcept : table(visited), outer(innermost) {
        innermost = this;
    }

    hash_visit(const hash_visit&) = delete;
    hash_visit& operator=(const hash_visit&) = delete;

    ~hash_visit() { innermost = outer; }

    // Also through another mapping of the segment.
    [[nodiscard]] static bool is_visiting(const hash_table& asked) noexcept;
};

class hash_table {
  public:
    hash_table() noexcept;

    explicit hash_table(std::uint64_t seed) noexcept : seed_(seed) {}

    hash_table(const hash_table&) = delete;
    hash_table& operator=(const hash_table&) = delete;
    ~hash_table() = default;

    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

    [[nodiscard]] segment_header* header() const noexcept { return allocator_.header(); }

    // ---- finding blocks, for readers as well

    // False if there is no block: nothing has been inserted, or the bytes are damaged.
    [[nodiscard, gnu::always_inline]] bool find(std::uint64_t hash, const hash_shape& shape,
                                                hash_way& way) const noexcept {
        way.root = root_.load(std::memory_order_acquire);
        if (way.root == 0) {
            return false;
        }
        segment_header& header = allocator_.bound_header();
        char* const base = reinterpret_cast<char*>(&header);
        const std::uint64_t size = bounded_size(header);
        const std::uint32_t depth = depth_of(way.root);
        if (depth > most_depth) [[unlikely]] {
            return false;
        }
        const std::uint64_t at =
            offset_of(way.root) + sizeof(hash_directory) + 8 * (hash >> 1 >> (63 - depth));
        if (!has_place<8>(at, 8, size)) [[unlikely]] {
            return false;
        }
        way.at = reinterpret_cast<std::atomic<hash_entry>*>(base + at);
        way.entry = way.at->load(std::memory_order_acquire);
        // The block may lie in memory by which the segment has grown since its size was read.
        const std::uint64_t place = offset_of(way.entry);
        if (!has_place<alignof(hash_block)>(place, shape.block_bytes(), size) &&
            !has_place<alignof(hash_block)>(place, shape.block_bytes(), bounded_size(header)))
            [[unlikely]] {
            return false;
        }
        way.block = reinterpret_cast<hash_block*>(base + place);
        return true;
    }

    // Does the way still lead to the block? If it does after the block has been read, the block had
    // all elements with such hashes all the time.
    [[nodiscard]] bool is_current(const hash_way& way) const noexcept {
        return way.at->load(std::memory_order_relaxed) == way.entry &&
               root_.load(std::memory_order_relaxed) == way.root;
    }

    // Calls visit(way, first hash) for each block, in the order of the hashes, until it returns
    // false. It returns the depth of the entry that it has used, plus one.
    template <class Visit>
    void each_block(const hash_shape& shape, const Visit& visit) const {
        hash_way way;
        for (std::uint64_t hash = 0; find(hash, shape, way);) {
            const std::uint32_t next = visit(way, hash);
            if (next == 0) {
                break;
            }
            // Depth 0: 2^64, which is the first hash again.
            const std::uint64_t step = next == 1 || next > 64 ? 0 : std::uint64_t{1} << (65 - next);
            if (step == 0 || hash + step < hash) {
                break;
            }
            hash += step;
        }
    }

    // ---- locking

    // Locks the block for hashes like this one; makes the first one. An error goes to `report`, or
    // is thrown if that is null; then nullptr.
    [[nodiscard, gnu::always_inline]] hash_block* lock(std::uint64_t hash, const hash_shape& shape,
                                                       const transaction& mine,
                                                       std::error_code* report) {
        hash_way way;
        if (find(hash, shape, way)) [[likely]] {
            if ((!config::heap_checks || hash_visit::innermost == nullptr) &&
                way.block->lock.try_lock(mine.word())) [[likely]] {
                if (is_current(way) && way.block->split.load(std::memory_order_relaxed) == 0)
                    [[likely]] {
                    return way.block;
                }
                way.block->lock.unlock();
            }
        }
        return lock_slowly(hash, shape, report);
    }

    static void unlock(hash_block& block, const transaction& mine) noexcept {
        if (!mine.is_inherited()) [[likely]] {
            block.lock.unlock();
        }
    }

    // The calling thread. An error goes to `report`, or is thrown; then nullptr.
    [[nodiscard, gnu::always_inline]] transaction* self(std::error_code* report) const {
        if (segment_header* const in = header(); in != nullptr) [[likely]] {
            if (transaction* const known = known_transaction(in); known != nullptr) [[likely]] {
                return known;
            }
        }
        return self_slowly(report);
    }

    // ---- growth

    // Makes room in the block, which the caller has locked and found full for the hash. Afterwards
    // the caller unlocks the block and tries again. If the hashes are too much alike, the room is
    // in a further block. Returns false after an error: errc::out_of_space, reserve_exceeded.
    [[gnu::cold]] bool make_room(hash_block& block, std::uint64_t hash, const hash_shape& shape,
                                 transaction& mine, std::error_code* report);

    // Splits blocks until all have at least this depth.
    [[gnu::cold]] bool split_to(std::uint32_t depth, const hash_shape& shape,
                                std::error_code* report);

    // ---- the end

    // Completes the changes that dead processes have begun.
    [[gnu::cold]] void settle(const hash_shape& shape) noexcept;

    // Calls visit(block) for each block, by the only thread that still uses the table. A damaged
    // chain is left alone, because the same block would come again and again.
    template <class Visit>
    void each_at_the_end(const hash_shape& shape, const Visit& visit) const;

    // Frees the memory; the table is empty then. Called in a section.
    [[gnu::cold]] void release(const hash_shape& shape) noexcept;

    // The words that release() changes.
    [[nodiscard]] const void* words() const noexcept { return &root_; }

    static constexpr std::size_t words_bytes = 8;

    [[nodiscard]] const shm_allocator<std::byte>& allocator() const noexcept { return allocator_; }

  private:
    friend struct hash_growth;
    friend class hash_chain;

    // The block that follows this one, and how many more may follow it; no block at the end.
    struct link {
        hash_block* block;
        std::uint64_t left;
    };

    static constexpr std::uint64_t not_counted = UINT64_MAX;

    // `left`: how many may follow this block; not_counted for the first one.
    [[nodiscard, gnu::cold]] link follow(const hash_block& block, std::uint64_t left,
                                         const hash_shape& shape) const noexcept;

    [[nodiscard]] static bool is_inside(std::uint64_t offset, std::uint64_t bytes,
                                        std::uint64_t size) noexcept {
        return offset % 8 == 0 && offset >= control_bytes && bytes <= size &&
               offset <= size - bytes;
    }

    // The same for an offset that an entry has room for: the sum does not overflow.
    template <std::uint64_t Alignment>
    [[nodiscard, gnu::always_inline]] static bool
    has_place(std::uint64_t offset, std::uint64_t bytes, std::uint64_t size) noexcept {
        return offset % Alignment == 0 && offset >= control_bytes && offset + bytes <= size;
    }

    [[nodiscard, gnu::cold]] hash_block* lock_slowly(std::uint64_t hash, const hash_shape& shape,
                                                     std::error_code* report);

    [[nodiscard, gnu::cold]] transaction* self_slowly(std::error_code* report) const;

    shm_allocator<std::byte> allocator_;
    alignas(8) std::atomic<hash_entry> root_{0}; // the directory
    std::uint64_t seed_;
    robust_lock growing_;                              // held while the directory changes
    alignas(8) std::atomic<std::uint64_t> pending_{0}; // offset of the block whose entries change
};

static_assert(sizeof(hash_table) == 40);

// Goes through the blocks with the elements for which the first one has no room. They may lie in
// any order, so offsets do not show whether damaged bytes lead in a circle: the blocks are counted
// instead, and end when there are more of them than the segment has room for.
class hash_chain {
  public:
    hash_chain(const hash_table& table, const hash_shape& shape, const hash_block& first) noexcept
        : table_(table), shape_(shape), block_(const_cast<hash_block*>(&first)) {}

    // The next block; nullptr if there is none, which is the end.
    [[nodiscard, gnu::always_inline]] hash_block* next() noexcept {
        const hash_table::link found = table_.follow(*block_, left_, shape_);
        left_ = found.left;
        return block_ = found.block;
    }

    // Has next() ended because there are too many? Then the chain is damaged.
    [[nodiscard]] bool is_damaged() const noexcept { return left_ == 0; }

  private:
    const hash_table& table_;
    const hash_shape& shape_;
    hash_block* block_;
    std::uint64_t left_ = hash_table::not_counted;
};

template <class Visit>
void hash_table::each_at_the_end(const hash_shape& shape, const Visit& visit) const {
    each_block(shape, [&](const hash_way& way, std::uint64_t /*hash*/) {
        hash_chain all(*this, shape, *way.block);
        while (all.next() != nullptr) {
        }
        hash_chain rest(*this, shape, *way.block);
        for (hash_block* each = all.is_damaged() ? nullptr : way.block; each != nullptr;) {
            hash_block* const next = rest.next(); // before the visit, which may free this one
            visit(*each);
            each = next;
        }
        return depth_of(way.entry) + 1;
    });
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/hash_table.ipp>
#endif

#endif
