// The heap of a segment: two-level segregated fit under one lock. Its state is entirely inside the
// segment. If the holder of the lock dies during a change, the next holder undoes that change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_HEAP_HPP
#define COHOLD_ENGINE_HEAP_HPP

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <cohold/engine/robust_lock.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A block. Offsets are relative to the beginning of the segment; sizes are those of the payload in
// bytes, and multiples of 16.
struct alignas(16) heap_block {
    // Bit 0: free. Bits 4 to 47: size. Bits 48 to 63: the mark of an allocated block, computed from
    // its offset.
    alignas(8) std::uint64_t word;
    alignas(8) std::uint64_t previous; // the block before this one in memory; 0: none
    alignas(
        8) std::uint64_t next_free; // the payload begins here; only free blocks have the two links
    alignas(8) std::uint64_t previous_free;

    [[nodiscard]] std::uint64_t size() const noexcept { return word & 0x0000fffffffffff0u; }

    [[nodiscard]] bool is_free() const noexcept { return (word & 1) != 0; }
};

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
    static constexpr std::uint64_t max_alignment = 4096;
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
        // program with a message.
        void deallocate(void* pointer) noexcept { heap_.deallocate(pointer); }

        // Is it the payload of a block in use? `payload` may be any address in the segment.
        [[nodiscard]] bool owns(const void* payload) const noexcept {
            return heap_.is_in_use(heap_.place_of(payload));
        }

        // Is it such a block, and is it also counted by used(), as far as can be told?
        [[nodiscard]] bool owns_counted(const void* payload) const noexcept {
            return owns(payload) && heap_.at(heap_.place_of(payload)).size() <= heap_.used_;
        }

        // Excludes a block from used(), because the library itself needs it, or includes it again.
        void uncount(void* block) noexcept { count(block, true); }

        void recount(void* block) noexcept { count(block, false); }

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

    // The payload bytes of all allocated blocks, except those that are not counted.
    [[nodiscard]] std::uint64_t used() const noexcept {
        return __atomic_load_n(&used_, __ATOMIC_RELAXED);
    }

  private:
    static constexpr std::uint64_t overhead = 16; // of a block, before its payload
    static constexpr std::uint64_t smallest = overhead + 16;
    static constexpr unsigned rows =
        41; // one for sizes below 256, then one for each doubling up to 2^48
    static constexpr unsigned columns = 16; // equal steps in a row
    static constexpr std::uint64_t all_columns = (std::uint64_t{1} << columns) - 1;
    static constexpr std::uint64_t log_capacity =
        128; // one allocation or deallocation needs at most 50

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

    void deallocate(void* pointer) noexcept;

    // Puts a block of `size` bytes into its list, and writes its word.
    void put_free(const bounds& all, std::uint64_t place, std::uint64_t size) noexcept;

    // Removes a listed block from its list. The caller must write its word, unless the block ceases
    // to exist.
    void remove_free(std::uint64_t place) noexcept;

    // A block of at least `size` bytes according to its list; 0 if there is none.
    std::uint64_t find_free(const bounds& all, std::uint64_t size) noexcept;

    // Splits a block off the front of the block at `place`, so that the payload of the rest is
    // aligned. Returns the rest.
    [[gnu::cold]] std::uint64_t cut_front(const bounds& all, std::uint64_t place,
                                          std::uint64_t alignment) noexcept;

    // Splits off and frees what the block at `place` has beyond `need` bytes. Returns the size of
    // the block after that.
    std::uint64_t cut_back(const bounds& all, std::uint64_t place, std::uint64_t need) noexcept;

    // The caller must write the words.
    void split(std::uint64_t place, std::uint64_t rest, std::uint64_t size) noexcept {
        set(at(rest).previous, place);
        set(at(place + overhead + size).previous, rest);
    }

    // Grows by doubling, in steps of at most 64 MiB, or only by what is needed if there is no space
    // for more.
    [[gnu::cold]] void grow_for(std::uint64_t size, std::error_code& ec) noexcept;

    [[gnu::cold]] void grow_to(std::uint64_t bytes, std::error_code& ec) noexcept;

    // Makes the bytes after the last block a part of the heap.
    [[gnu::cold]] void take_in(std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_damaged(std::uint64_t place, std::error_code& ec) noexcept;

    [[noreturn, gnu::cold]] static void refuse(const void* pointer, std::uint64_t place) noexcept;

    robust_lock lock_;
    alignas(8) std::uint64_t row_map_;
    alignas(8) std::uint64_t column_maps_[rows]; // bit: the class has free blocks
    alignas(8) std::uint64_t used_;
    alignas(8) std::uint64_t first_;
    alignas(8) std::uint64_t end_;                  // of the last block
    alignas(8) std::uint64_t heads_[rows][columns]; // the first free block of each class; 0: none
    alignas(8) std::uint64_t log_size_;
    undo log_[log_capacity];
};

static_assert(sizeof(heap) == 8 + 42 * 8 + 3 * 8 + 41 * 16 * 8 + 8 + 128 * 16);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/heap.ipp>
#endif

#endif
