// The heap of a segment: two-level segregated fit under one lock, and the slabs that threads take
// from it for their small blocks. Its state is entirely inside the segment. If the holder of the
// lock dies during a change, the next holder undoes that change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_HEAP_HPP
#define COHOLD_ENGINE_HEAP_HPP

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <cohold/engine/robust_lock.hpp>
#include <cohold/engine/slab.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Pages of a free block that have been given back to the kernel. Nothing may touch them before they
// have memory again, because a full file system has none for them.
struct heap_holes {
    alignas(8) std::uint64_t begin = 0; // offsets of whole pages
    alignas(8) std::uint64_t end = 0;
    alignas(8) std::uint64_t filled = 0; // so many bytes between these offsets do have memory

    [[nodiscard]] std::uint64_t bytes() const noexcept { return end - begin; }

    // Those before that offset, and those from it on.
    [[nodiscard]] heap_holes before(std::uint64_t offset) const noexcept {
        return begin < offset ? part(begin, end < offset ? end : offset) : heap_holes{};
    }

    [[nodiscard]] heap_holes from(std::uint64_t offset) const noexcept {
        return offset < end ? part(begin < offset ? offset : begin, end) : heap_holes{};
    }

    // Those of two neighbours.
    [[nodiscard]] heap_holes with(const heap_holes& after) const noexcept {
        if (bytes() == 0 || after.bytes() == 0) {
            return bytes() == 0 ? after : *this;
        }
        return {begin, after.end, filled + after.filled + (after.begin - end)};
    }

  private:
    [[nodiscard]] heap_holes part(std::uint64_t first, std::uint64_t last) const noexcept {
        return {first, last, filled < last - first ? filled : last - first};
    }
};

// A block. Offsets are relative to the beginning of the segment; sizes are those of the payload in
// bytes, and multiples of 16.
struct alignas(16) heap_block {
    // Bit 0: free. Bit 1: the blocks of a slab. Bit 2: the heap's own. Bit 3: free, and some of its
    // pages have been given back to the kernel. Bits 4 to 47: size. Bits 48 to 63: the mark of an
    // allocated block, computed from its offset.
    alignas(8) std::uint64_t word;
    alignas(8) std::uint64_t previous; // the block before this one in memory; 0: none
    alignas(
        8) std::uint64_t next_free; // the payload begins here; only free blocks have the two links
    alignas(8) std::uint64_t previous_free;

    [[nodiscard]] std::uint64_t size() const noexcept { return word & 0x0000fffffffffff0u; }

    [[nodiscard]] bool is_free() const noexcept { return (word & 1) != 0; }

    static constexpr std::uint64_t slab_bit = 2;
    static constexpr std::uint64_t own_bit = 4;
    static constexpr std::uint64_t holes_bit = 8;
};

// Free, with holes_bit.
struct trimmed_block : heap_block {
    heap_holes holes;
};

static_assert(sizeof(heap_block) == 32 && sizeof(trimmed_block) == 64 &&
              offsetof(heap_holes, filled) == 16);

// Both operations take constant time. Free neighbours are merged at once, so adjacent free blocks
// are always one block, whatever the order in which blocks are freed. Everything happens in a
// change, which holds the lock. If the process is killed during a change, the next holder of the
// lock undoes it.
//
// Whatever the bytes of the segment are, nothing outside the segment is read or written, and every
// operation ends, because it checks what it follows before it changes anything. An operation that
// depends on damaged data fails with errc::corrupt. A block that cannot be freed for this reason
// stays allocated, and a list that does not begin with a free block is abandoned.
// Source: Masmano, Ripoll, Crespo, Real, TLSF: a new dynamic memory allocator for real-time systems
// (2004).
class heap {
  public:
    // Every mapping of a segment begins at a multiple of this, as far as the segment is that large.
    static constexpr std::uint64_t max_alignment = std::uint64_t{1} << 21;
    // The offset of the heap's state in the segment.
    static constexpr std::uint64_t offset = (control_bytes + table_bytes + 63) / 64 * 64;

    [[nodiscard]] static heap& of(segment_header& header) noexcept {
        return *reinterpret_cast<heap*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Makes the heap from the zeroed memory between `first` and the end of the segment.
    [[gnu::cold]] void format(std::uint64_t first) noexcept;

    // Changes of the heap, and of other words, of which either all happen or none. The destructor
    // commits them. A thread can have only one at a time. Thread and process safety: other threads
    // and processes wait. False if the thread's patience ended before it had the lock: then nothing
    // may be changed, and allocate() fails with ETIMEDOUT.
    class change {
      public:
        change(heap& changed, owner_word me) noexcept : heap_(changed), locked_(heap_.lock(me)) {}

        change(const change&) = delete;
        change& operator=(const change&) = delete;

        ~change();

        [[nodiscard]] explicit operator bool() const noexcept { return locked_; }

        // nullptr on failure: errc::invalid_alignment, reserve_exceeded, out_of_space, corrupt.
        void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) noexcept;

        // Null is allowed. In debug builds, a pointer that is not a block of this heap aborts the
        // program with a message. A block of a slab becomes free in its third bitmap.
        void deallocate(void* pointer) noexcept;

        // Makes a block that is in no slab larger or smaller, where it is. False, without effect,
        // if it is something else, or if there is no free memory behind it. The segment grows for
        // it if it is the last block, and if there is no other place for so large a block.
        [[nodiscard, gnu::cold]] bool resize(void* pointer, std::uint64_t bytes) noexcept {
            return heap_.slab_around(heap_.offset_of(pointer)) == nullptr &&
                   heap_.resize(pointer, bytes);
        }

        // Is it the payload of a block in use? `payload` may be any address in the segment.
        [[nodiscard]] bool owns(const void* payload) const noexcept {
            slab* const around = heap_.slab_around(heap_.offset_of(payload));
            return around != nullptr ? around->has_used(heap_.offset_of(payload))
                                     : owns_alone(payload);
        }

        // The same for a block that is in no slab.
        [[nodiscard]] bool owns_alone(const void* payload) const noexcept {
            return heap_.is_in_use(heap_.place_of(payload)) &&
                   (heap_.at(heap_.place_of(payload)).word &
                    (heap_block::slab_bit | heap_block::own_bit)) == 0;
        }

        // Is it a block in use, and is it also counted by used(), as far as can be told?
        [[nodiscard]] bool owns_counted(const void* payload) const noexcept {
            return owns(payload) && (!owns_alone(payload) ||
                                     heap_.at(heap_.place_of(payload)).size() <= heap_.used_);
        }

        // ---- slabs. Each of these is a change of its own: nothing else may have been changed in
        // the change before, and it is committed at the end.

        // A new slab, active, in the list that begins at that word. nullptr if there is no memory.
        // `grow`: may the segment become longer for it?
        [[nodiscard, gnu::cold]] slab* make_slab(std::uint32_t which, std::uint32_t units,
                                                 owner_word owner, std::uint64_t& list,
                                                 bool grow) noexcept {
            return heap_.make_slab(which, units, owner, list, grow);
        }

        // Takes over a slab that nobody owns, and makes it active; nullptr if there is none.
        [[nodiscard, gnu::cold]] slab* adopt_slab(std::uint32_t which, owner_word owner,
                                                  std::uint64_t& list) noexcept {
            return heap_.adopt_slab(which, owner, list);
        }

        // Is it still the slab with the blocks from that offset on? Does not touch it if it is not.
        [[nodiscard]] bool has_slab(const slab& known, std::uint64_t begin) const noexcept {
            return heap_.slab_around(begin) == &known;
        }

        // Gives a slab, which must still be there, back to the heap if it is parked and has no
        // block in use.
        [[nodiscard, gnu::cold]] bool take_back(slab& returned, std::uint64_t id) noexcept {
            return heap_.take_back(returned, id);
        }

        // Gives back all slabs with no block in use. Returns how many.
        [[gnu::cold]] std::uint64_t take_back_all() noexcept { return heap_.take_back_all(); }

        // The owner of the slabs in the list does not use them any more, or is dead: makes them
        // orphans, or gives them back to the heap.
        [[gnu::cold]] void abandon_slabs(std::uint64_t& list) noexcept;

        // Excludes a block from used(), because the library itself needs it, or includes it again.
        void uncount(void* block) noexcept { count(block, true); }

        void recount(void* block) noexcept { count(block, false); }

        // Gives pages of free blocks back to the kernel, those of a limited number of blocks.
        // Returns how many bytes; `more`: there may be further ones. Nothing may have been changed
        // in the change before. *Errors*: those of the mechanism's release.
        [[gnu::cold]] std::uint64_t trim(bool& more, std::error_code& ec) noexcept {
            return heap_.trim(more, ec);
        }

        // Commits the changes so far, and keeps the lock.
        void keep() noexcept { heap_.commit(); }

        // Makes the segment at least `bytes` long.
        void grow(std::uint64_t bytes, std::error_code& ec) noexcept { heap_.grow_to(bytes, ec); }

        // Changes any aligned word of the segment, as a part of the change. A reader that sees
        // the new value without the lock also sees everything that was written before.
        template <class Word>
        void set(Word& word, std::uint64_t value) noexcept {
            static_assert(sizeof(Word) == 8);
            heap_.set<__ATOMIC_RELEASE>(reinterpret_cast<std::uint64_t&>(word), value);
        }

      private:
        void count(void* block, bool less) noexcept {
            const std::uint64_t size = heap_.at(heap_.place_of(block)).size();
            heap_.set(heap_.used_, less ? heap_.used_ - size : heap_.used_ + size);
        }

        heap& heap_;
        bool locked_;
    };

    // The payload bytes of all allocated blocks, except those that are not counted. *Complexity*:
    // linear in the number of slabs. While others allocate, approximate.
    [[nodiscard, gnu::cold]] std::uint64_t used() noexcept;

    // What there is of one class of slabs.
    struct slab_sum {
        std::uint64_t slabs = 0;
        std::uint64_t orphans = 0; // of these
        std::uint64_t blocks = 0;
        std::uint64_t used = 0; // of these
    };

    // Adds up the slabs, by class. *Complexity*: as used().
    [[gnu::cold]] void sum_up(slab_sum (&by_class)[slab_classes]) noexcept;

    // The bytes of blocks that are in no slab, and of the slabs' runs.
    [[nodiscard]] std::uint64_t taken() noexcept;

    // ---- slabs. These may be called without the lock, if the slab has a block in use.

    // The slab around an offset; nullptr if there is none.
    [[nodiscard]] slab* slab_around(std::uint64_t place) noexcept;

    // A part of the map of slabs; nullptr if it does not exist.
    [[nodiscard]] std::uint32_t* map_part(unsigned which) noexcept;

    [[nodiscard]] std::uint64_t offset_of(const void* address) noexcept {
        return static_cast<std::uint64_t>(static_cast<const char*>(address) - base());
    }

    [[nodiscard]] bool has_orphans(std::uint32_t which) noexcept;

    // May pages of free blocks have been given back? Then nothing that may have been freed can be
    // looked at without the lock.
    [[nodiscard]] bool is_trimmed() noexcept {
        return header().trimmed.load(std::memory_order_relaxed) != 0;
    }

    // What a free block of that size at that place could give back: its whole pages, without the
    // words of the heap.
    [[nodiscard]] static heap_holes pages_inside(std::uint64_t place, std::uint64_t size) noexcept {
        const std::uint64_t page = page_size();
        const std::uint64_t begin = (place + sizeof(trimmed_block) + page - 1) / page * page;
        const std::uint64_t end = (place + overhead + size) / page * page;
        return begin < end ? heap_holes{begin, end} : heap_holes{};
    }

    // Is there a free block of at least that size? The lock must be held.
    [[nodiscard]] bool has_room(std::uint64_t size) noexcept {
        return find_free(own_bounds(), size) != 0;
    }

    [[noreturn, gnu::cold]] static void refuse(const void* pointer, std::uint64_t where) noexcept;

  private:
    static constexpr std::uint64_t overhead = 16; // of a block, before its payload
    static constexpr std::uint64_t smallest = overhead + 16;
    static constexpr unsigned rows =
        41; // one for sizes below 256, then one for each doubling up to 2^48
    static constexpr unsigned columns = 16; // equal steps in a row
    static constexpr std::uint64_t all_columns = (std::uint64_t{1} << columns) - 1;
    static constexpr std::uint64_t log_capacity =
        128; // one allocation or deallocation needs at most 50

    static constexpr std::uint64_t claim_bit = 1;

    // The value that a word had before the change.
    struct undo {
        std::uint64_t where; // offset
        std::uint64_t old;
    };

    // The class of a size. Every block in a class has at least the size of its lower bound.
    struct size_class {
        unsigned row;
        unsigned column;

        explicit size_class(std::uint64_t size) noexcept;
    };

    [[nodiscard]] char* base() noexcept { return reinterpret_cast<char*>(this) - offset; }

    [[nodiscard]] segment_header& header() noexcept {
        return *reinterpret_cast<segment_header*>(base());
    }

    [[nodiscard]] heap_block& at(std::uint64_t place) noexcept {
        return *reinterpret_cast<heap_block*>(base() + place);
    }

    // The offset of the block with this payload.
    [[nodiscard]] std::uint64_t place_of(const void* payload) noexcept {
        return static_cast<std::uint64_t>(static_cast<const char*>(payload) - base()) - overhead;
    }

    // The places where a block may begin, because the 16 bytes there are in the segment.
    class bounds {
      public:
        explicit bounds(std::uint64_t bytes) noexcept
            : count_(bytes > lowest ? (bytes - lowest) / 16 : 0) {}

        [[nodiscard]] bool contain(std::uint64_t place) const noexcept {
            return std::rotr(place - lowest, 4) < count_; // becomes large unless a multiple of 16
        }

        [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

      private:
        static constexpr std::uint64_t lowest = far_slots_offset;

        std::uint64_t count_;
    };

    [[nodiscard]] bounds own_bounds() noexcept { return bounds(bounded_size(header())); }

    // Is the block followed by one that points back to it?
    [[nodiscard, gnu::always_inline]] bool is_closed(const bounds& all, std::uint64_t place,
                                                     std::uint64_t size) noexcept {
        const std::uint64_t next = place + overhead + size;
        return size != 0 && all.contain(next) && at(next).previous == place;
    }

    [[nodiscard, gnu::always_inline]] bool is_in_use(const bounds& all,
                                                     std::uint64_t place) noexcept {
        return all.contain(place) && (at(place).word & 0xffff000000000001u) == mark_of(place) &&
               is_closed(all, place, at(place).size());
    }

    [[nodiscard]] bool is_in_use(std::uint64_t place) noexcept {
        return is_in_use(own_bounds(), place);
    }

    // Do the neighbours of a free block in its list point back to it? Then it can be removed from
    // the list.
    [[nodiscard]] bool is_listed(const bounds& all, std::uint64_t place) noexcept;

    [[nodiscard]] static std::uint64_t mark_of(std::uint64_t place) noexcept {
        return ((place * 0x9e3779b97f4a7c15u) | std::uint64_t{1} << 63) & 0xffff000000000000u;
    }

    [[nodiscard]] bool lock(owner_word me) noexcept;

    // Changes a word and logs its old value. No other live thread reads the log. A thread that
    // reads it after the writer's death sees all stores that the writer executed, so only the
    // compiler must be kept from reordering.
    template <int Order = __ATOMIC_RELAXED>
    void set(std::uint64_t& word, std::uint64_t value) noexcept {
        const std::uint64_t count = log_size_;
        if (count >= log_capacity) [[unlikely]] {
            die("heap: a change is too long");
        }
        log_[count] = {static_cast<std::uint64_t>(reinterpret_cast<char*>(&word) - base()), word};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        log_size_ = count + 1;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        __atomic_store_n(static_cast<aligned_word*>(&word), value,
                         Order); // used() reads one without the lock
    }

    void commit() noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        log_size_ = 0;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // If the process is killed here, the next holder of the lock starts again from the beginning.
    [[gnu::cold]] void roll_back() noexcept;

    void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) noexcept;

    // Why there is no block, although one fits.
    struct obstacle {
        std::uint64_t damaged = 0; // the place of a block
        std::error_code unbacked;  // pages that were given back cannot be had again

        [[nodiscard]] bool is_there() const noexcept { return damaged != 0 || unbacked; }
    };

    // The same without growing; nullptr if no block fits, or if there is an obstacle. `kind`: the
    // bit of a block that is not the program's.
    void* allocate_here(const bounds& all, std::uint64_t need, std::uint64_t alignment,
                        std::uint64_t kind, obstacle& why) noexcept;

    // `kind`: what the block must be.
    void deallocate(void* pointer, std::uint64_t kind) noexcept;

    [[nodiscard]] bool resize(void* pointer, std::uint64_t bytes) noexcept;

    // Puts a block of `size` bytes into its list, and writes its word.
    void put_free(const bounds& all, std::uint64_t place, std::uint64_t size,
                  const heap_holes& holes) noexcept;

    // ---- pages that have been given back

    [[nodiscard]] heap_holes holes_of(std::uint64_t place) noexcept {
        return (at(place).word & heap_block::holes_bit) == 0 ? heap_holes{} : read_holes(place);
    }

    [[nodiscard, gnu::cold]] heap_holes read_holes(std::uint64_t place) noexcept;

    [[gnu::cold]] void write_holes(std::uint64_t place, const heap_holes& holes) noexcept;

    // Those that an allocation from a free block touches: `touched` of its holes, `before` and
    // `after` them the others.
    struct cut_holes {
        heap_holes before;
        heap_holes touched;
        heap_holes after;
    };

    [[nodiscard, gnu::cold]] cut_holes cut(std::uint64_t place, std::uint64_t need,
                                           std::uint64_t alignment) noexcept;

    // Gives them memory again.
    [[gnu::cold]] void back(const heap_holes& holes, std::error_code& ec) noexcept;

    // A free block that fits and needs no further memory; 0 if there is none.
    [[nodiscard, gnu::cold]] std::uint64_t find_backed(const bounds& all, std::uint64_t need,
                                                       std::uint64_t alignment) noexcept;

    [[gnu::cold]] std::uint64_t trim(bool& more, std::error_code& ec) noexcept;

    // Removes a listed block from its list. The caller must write its word, unless the block ceases
    // to exist.
    void remove_free(std::uint64_t place) noexcept;

    // A block of at least `size` bytes according to its list; 0 if there is none.
    std::uint64_t find_free(const bounds& all, std::uint64_t size) noexcept;

    // The same for an aligned payload.
    [[gnu::cold]] std::uint64_t find_aligned(const bounds& all, std::uint64_t need,
                                             std::uint64_t alignment) noexcept;

    // The place of the first block from `place` on with an aligned payload.
    [[nodiscard]] static std::uint64_t aligned_after(std::uint64_t place,
                                                     std::uint64_t alignment) noexcept;

    // Does an aligned payload fit into the free block?
    [[nodiscard]] bool fits(std::uint64_t place, std::uint64_t need,
                            std::uint64_t alignment) noexcept;

    // Splits a block off the front of the block at `place`, so that the payload of the rest is
    // aligned. Returns the rest.
    [[gnu::cold]] std::uint64_t cut_front(const bounds& all, std::uint64_t place,
                                          std::uint64_t alignment,
                                          const heap_holes& holes) noexcept;

    // Splits off and frees what the block at `place` has beyond `need` bytes. Returns the size of
    // the block after that.
    std::uint64_t cut_back(const bounds& all, std::uint64_t place, std::uint64_t need,
                           const heap_holes& holes) noexcept;

    // The caller must write the words.
    void split(std::uint64_t place, std::uint64_t rest, std::uint64_t size) noexcept {
        set(at(rest).previous, place);
        set(at(place + overhead + size).previous, rest);
    }

    // Grows by doubling, in steps of at most 64 MiB, or only by what is needed if there is no space
    // for more.
    [[gnu::cold]] void grow_for(std::uint64_t size, std::error_code& ec) noexcept;

    // The same, although another free block may be as large: the last one will be.
    [[gnu::cold]] void grow_end_for(std::uint64_t size, std::error_code& ec) noexcept;

    [[gnu::cold]] void grow_to(std::uint64_t bytes, std::error_code& ec) noexcept;

    // Makes the bytes after the last block a part of the heap.
    [[gnu::cold]] void take_in(std::error_code& ec) noexcept;

    // Ends the program if the block is no block in use because something was written behind the end
    // of it, or of the one before it.
    [[gnu::cold]] void refuse_overrun(const bounds& all, std::uint64_t here) noexcept;

    [[gnu::cold]] static void fail_damaged(std::uint64_t place, std::error_code& ec) noexcept;

    // ---- slabs

    // Memory for the heap itself.
    [[nodiscard, gnu::cold]] void* allocate_own(std::uint64_t bytes, bool grow) noexcept;

    [[nodiscard]] slab_directory* slabs() noexcept;

    // Makes the directory and the parts of its map for units up to this one.
    [[nodiscard, gnu::cold]] bool make_map(std::uint64_t last_unit, bool grow) noexcept;

    // The entry of a unit; nullptr if it does not exist.
    [[nodiscard]] std::uint32_t* map_at(std::uint64_t unit) noexcept;

    [[gnu::cold]] void write_map(std::uint64_t unit, std::uint32_t count,
                                 std::uint32_t value) noexcept;

    // The slab with the descriptor at an offset; nullptr if there is none.
    [[nodiscard]] slab* slab_at(std::uint64_t place) noexcept;

    // The word at an offset; nullptr if there can be none.
    [[nodiscard]] std::uint64_t* word_at(std::uint64_t place) noexcept;

    [[gnu::cold]] void link_slab(slab& added, std::uint64_t& list) noexcept;

    [[gnu::cold]] void unlink_slab(slab& removed) noexcept;

    [[gnu::cold]] slab* make_slab(std::uint32_t which, std::uint32_t units, owner_word owner,
                                  std::uint64_t& list, bool grow) noexcept;

    [[gnu::cold]] slab* adopt_slab(std::uint32_t which, owner_word owner,
                                   std::uint64_t& list) noexcept;

    [[gnu::cold]] void destroy_slab(slab& destroyed) noexcept;

    [[gnu::cold]] bool take_back(slab& returned, std::uint64_t id) noexcept;

    [[gnu::cold]] std::uint64_t take_back_all() noexcept;

    // Calls visit(slab) for each slab.
    template <class Visitor>
    void each_slab(const Visitor& visit) noexcept;

    robust_lock lock_;
    alignas(8) std::uint64_t row_map_;
    alignas(8) std::uint64_t column_maps_[rows]; // bit: the class has free blocks
    alignas(8) std::uint64_t used_;
    alignas(8) std::uint64_t first_;
    alignas(8) std::uint64_t end_;                  // of the last block
    alignas(8) std::uint64_t heads_[rows][columns]; // the first free block of each class; 0: none
    alignas(8) std::uint64_t log_size_;
    // `where` of the state of a slab is followed by claim_bit: it is undone by compare-and-swap.
    undo log_[log_capacity];
    alignas(8) std::uint64_t slabs_; // offset of the directory of slabs, or 0 before the first one
};

static_assert(sizeof(heap) == 8 + 42 * 8 + 3 * 8 + 41 * 16 * 8 + 8 + 128 * 16 + 8);

// Gives the pages of free memory back to the kernel. Returns how many bytes.
[[gnu::cold]] std::uint64_t trim_heap(segment_header& header, owner_word me,
                                      std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/heap.ipp>
#endif

#endif
