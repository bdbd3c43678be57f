// Slabs: runs of equal blocks, in which a block is a bit. This is what they consist of: the classes
// of sizes, a slab's descriptor, and the map that leads from an address to its slab. heap.hpp makes
// them and takes them back; slab_cache.hpp takes and frees blocks.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SLAB_HPP
#define COHOLD_ENGINE_SLAB_HPP

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <cohold/engine/words.hpp>
#include <cohold/os/memory.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- words that live threads of other processes read, too

// Stores a word that must not be reordered by the compiler. A kill takes effect between two
// instructions, so the processor needs a fence only for threads that read it while this one lives.
template <int Order = __ATOMIC_RELAXED>
[[gnu::always_inline]] inline void put_word(std::uint64_t& word, std::uint64_t value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    __atomic_store_n(static_cast<aligned_word*>(&word), value, Order);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

template <int Order = __ATOMIC_RELAXED, class Word>
[[nodiscard, gnu::always_inline]] inline Word get_word(const Word& word) noexcept {
    if constexpr (sizeof(Word) == 8) {
        return __atomic_load_n(static_cast<const aligned_word*>(&word), Order);
    } else {
        return __atomic_load_n(&word, Order);
    }
}

// ---- classes of sizes: 16 to 128 in steps of 16, then four for each doubling up to 8192

inline constexpr std::uint32_t slab_classes = 32;
inline constexpr std::uint64_t largest_slab_block = 8192;

[[nodiscard]] constexpr std::uint32_t size_of_slab_class(std::uint32_t which) noexcept {
    if (which < 8) {
        return 16 * (which + 1);
    }
    const std::uint32_t doubling = (which - 8) / 4;
    const std::uint32_t step = (which - 8) % 4;
    return (128u << doubling) + (32u << doubling) * (step + 1);
}

struct slab_class_table {
    std::uint8_t of_size[largest_slab_block / 16 + 1]{}; // by (bytes + 15) / 16
    std::uint32_t size[slab_classes]{};
    // Multiplied by a distance of so many times 16 bytes, and shifted by 31 bits, this divides it
    // by the size.
    std::uint32_t reciprocal[slab_classes]{};

    constexpr slab_class_table() noexcept {
        for (std::uint32_t i = 0; i < slab_classes; ++i) {
            size[i] = size_of_slab_class(i);
            reciprocal[i] = static_cast<std::uint32_t>(
                ((std::uint64_t{1} << 31) + size[i] / 16 - 1) / (size[i] / 16));
        }
        std::uint32_t which = 0;
        for (std::uint32_t i = 0; i <= largest_slab_block / 16; ++i) {
            which += size[which] < i * 16 ? 1 : 0;
            of_size[i] = static_cast<std::uint8_t>(which);
        }
    }
};

inline constexpr slab_class_table slab_table{};

// ---- a slab

inline constexpr std::uint64_t slab_unit = 4096; // the blocks of a slab begin at a multiple of this
inline constexpr unsigned slab_unit_shift = 12;
inline constexpr std::uint32_t most_slab_units = 250;
inline constexpr std::uint32_t most_slab_words = 64;

// Active: its owner takes blocks from it, or is in the middle of something. Parked: its owner only
// frees blocks of it, each by one store, after which it does not write to the slab. So once all
// blocks are free, the holder of the heap's lock may give the slab back to the heap. Claimed: this
// is being done.
enum class slab_state : std::uint64_t { parked = 1, active = 2, claimed = 3 };

// The word for a state. The id is different for each slab that there has ever been at the place.
[[nodiscard]] constexpr std::uint64_t slab_word(std::uint64_t id, slab_state state) noexcept {
    return id << 2 | static_cast<std::uint64_t>(state);
}

// The descriptor of a slab. It is a block of its own, so that freeing blocks all over the segment
// touches few pages, and no overrun of a block damages it. Its members change only in changes
// of the heap, unless stated otherwise.
struct slab {
    alignas(8) std::uint64_t owner; // owner word of a thread; 0: an orphan
    alignas(8) std::uint64_t state; // slab_word; changes by compare-and-swap
    alignas(8) std::uint64_t begin; // offset of the first block
    std::uint32_t reciprocal;       // of the class
    std::uint16_t count;            // of blocks
    std::uint16_t home;             // class * 64
    std::uint8_t which;             // class
    std::uint8_t units;
    std::uint8_t words;            // of one bitmap
    std::uint8_t stride;           // words from one bitmap to the next
    std::uint32_t place;           // a note of its owner
    alignas(8) std::uint64_t list; // offset of the word where its list begins
    alignas(8) std::uint64_t next; // offsets of its neighbours in the list, or 0
    alignas(8) std::uint64_t previous;
    // Three bitmaps: 1 is a free block. Changed by the owner with plain stores, by others with
    // fetch_or, and in changes. A block is free if any of the bits is set. Bits beyond the
    // last block mean nothing.
    alignas(8) std::uint64_t bits[1];

    // `word` is less than 128. Whatever the bytes are, these are in the segment: see most_bytes.
    [[nodiscard]] std::uint64_t& own(std::uint32_t word) noexcept { return bits[word]; }

    [[nodiscard]] std::uint64_t& remote(std::uint32_t word) noexcept {
        return bits[(stride & 127u) + word];
    }

    [[nodiscard]] std::uint64_t& promised(std::uint32_t word) noexcept {
        return bits[2 * (stride & 127u) + word];
    }

    // The bits of that word that are blocks.
    [[nodiscard]] static constexpr std::uint64_t mask_of(std::uint32_t count,
                                                         std::uint32_t word) noexcept {
        return count >= word * 64 + 64 ? ~std::uint64_t{0}
               : count <= word * 64    ? 0
                                       : (std::uint64_t{1} << count % 64) - 1;
    }

    // The free blocks of that word. Whatever was done with them before they were freed has
    // happened.
    [[nodiscard]] std::uint64_t free_bits(std::uint32_t word) noexcept {
        return (get_word<__ATOMIC_ACQUIRE>(own(word)) | get_word<__ATOMIC_ACQUIRE>(remote(word)) |
                get_word<__ATOMIC_ACQUIRE>(promised(word))) &
               mask_of(count, word);
    }

    [[nodiscard]] bool is_free() noexcept {
        for (std::uint32_t i = 0; i < (words & 127u); ++i) {
            if (free_bits(i) != mask_of(count, i)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] std::uint64_t count_used() noexcept {
        std::uint64_t used = 0;
        for (std::uint32_t i = 0; i < (words & 127u); ++i) {
            used += static_cast<std::uint64_t>(std::popcount(mask_of(count, i) & ~free_bits(i)));
        }
        return used;
    }

    // The index of the block around an offset.
    [[nodiscard]] std::uint32_t index_of(std::uint64_t offset) const noexcept {
        return static_cast<std::uint32_t>((offset - begin) / 16 * reciprocal >> 31);
    }

    // Is a block of it at that offset?
    [[nodiscard]] bool has(std::uint64_t offset) const noexcept {
        const std::uint32_t index = index_of(offset);
        return index < count &&
               begin + std::uint64_t{index} * slab_table.size[which % slab_classes] == offset;
    }

    // Which word of a bitmap the block has, and which bit of it.
    [[nodiscard]] std::uint32_t word_of(std::uint64_t offset) const noexcept {
        return index_of(offset) / 64 % most_slab_words;
    }

    [[nodiscard]] std::uint64_t bit_of(std::uint64_t offset) const noexcept {
        return std::uint64_t{1} << index_of(offset) % 64;
    }

    // Is a block in use at that offset?
    [[nodiscard]] bool has_used(std::uint64_t offset) noexcept {
        return has(offset) && (free_bits(word_of(offset)) & bit_of(offset)) == 0;
    }

    [[nodiscard]] bool change_state(std::uint64_t id, slab_state from, slab_state to) noexcept {
        std::uint64_t found = slab_word(id, from);
        return __atomic_compare_exchange_n(static_cast<aligned_word*>(&state), &found,
                                           slab_word(id, to), false, __ATOMIC_ACQ_REL,
                                           __ATOMIC_RELAXED);
    }

    // The bitmaps of several words lie in cache lines of their own.
    [[nodiscard]] static constexpr std::uint32_t stride_of(std::uint32_t words) noexcept {
        return words <= 2 ? words : (words + 7) / 8 * 8;
    }

    [[nodiscard]] static constexpr std::uint64_t bytes_of(std::uint32_t words) noexcept {
        return 64 + 24 * std::uint64_t{stride_of(words)};
    }

    // No descriptor lies nearer to the end of the segment, so that even one with damaged members
    // lies in the segment.
    static constexpr std::uint64_t most_bytes = 64 + 8 * 3 * 127;

    // Do its members agree with each other, and with a segment of that size?
    [[nodiscard]] bool is_sane(std::uint64_t offset, std::uint64_t segment_bytes) const noexcept {
        const std::uint64_t bytes = units * slab_unit;
        return which < slab_classes && units != 0 && begin % slab_unit == 0 &&
               begin < segment_bytes && bytes <= segment_bytes - begin && count != 0 &&
               words == (count + 63u) / 64 && words <= most_slab_words &&
               stride == stride_of(words) && home == which * 64u &&
               reciprocal == slab_table.reciprocal[which] && segment_bytes >= most_bytes &&
               offset <= segment_bytes - most_bytes &&
               std::uint64_t{count} * slab_table.size[which] <= bytes;
    }
};

static_assert(offsetof(slab, reciprocal) == 24);
static_assert(offsetof(slab, place) == 36);
static_assert(offsetof(slab, list) == 40);
static_assert(offsetof(slab, bits) == 64);

// ---- where the slabs are

// For each unit of a slab the offset of its descriptor, divided by 64. The map has parts that
// double: part i has the units [32 << i, 64 << i), the first one also those below. Parts are never
// moved or freed.
struct slab_directory {
    static constexpr unsigned parts = 29; // up to 2^45 bytes
    static constexpr std::uint64_t largest_offset = (std::uint64_t{1} << 38) - 64;

    alignas(8) std::uint64_t last_id;
    alignas(8) std::uint64_t bytes;                 // of all runs
    alignas(8) std::uint64_t orphans[slab_classes]; // the lists of slabs that nobody owns
    alignas(8) std::uint64_t part[parts];           // offsets, or 0
    std::uint32_t first_part[64];

    [[nodiscard]] static constexpr unsigned part_of(std::uint64_t unit) noexcept {
        return static_cast<unsigned>(std::bit_width(unit | 63)) - 6;
    }

    [[nodiscard]] static constexpr std::uint64_t begin_of(unsigned which) noexcept {
        return which == 0 ? 0 : std::uint64_t{32} << which;
    }

    [[nodiscard]] static constexpr std::uint64_t units_of(unsigned which) noexcept {
        return which == 0 ? 64 : std::uint64_t{32} << which;
    }
};

static_assert(sizeof(slab_directory) == 16 + 32 * 8 + 29 * 8 + 256);

} // namespace detail

COHOLD_NAMESPACE_END

#endif
