// The heap of a segment: two-level segregated fit under one lock, its whole state inside the
// segment, and undone by the next one if its holder dies in the middle of a change.
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

// Offsets count from the segment's first byte; sizes are payload bytes, multiples of 16.
struct alignas(16) heap_block {
    // Bit 0: free. Bits 4 to 47: size. Bits 48 to 63: the mark of allocated blocks, made from the
    // offset.
    alignas(8) std::uint64_t word;
    alignas(8) std::uint64_t previous; // the block before this one in memory; 0: none
    alignas(8)
        std::uint64_t next_free; // here the payload begins; the two links are of free blocks only
    alignas(8) std::uint64_t previous_free;

    [[nodiscard]] std::uint64_t size() const noexcept { return word & 0x0000fffffffffff0u; }

    [[nodiscard]] bool is_free() const noexcept { return (word & 1) != 0; }
};

// Constant time for both operations; neighbours are merged at once, so no order of frees leaves the
// heap in pieces that could be one. Everything happens in a transaction, which holds the lock.
// If the process is killed in it, the next one to take the lock undoes it.
//
// Whatever the bytes are, nothing outside the segment is read or written, and everything ends: what
// an operation follows is looked at before it changes anything. One that would have to use
// something that is damaged fails with errc::corrupt; a block that cannot be freed for that stays
// allocated, and a list that does not begin with a free block is given up. Source: Masmano, Ripoll,
// Crespo, Real, TLSF: a new dynamic memory allocator for real-time systems (2004).
class heap {
  public:
    static constexpr std::uint64_t max_alignment = 4096;
    // Of the heap's state in the segment.
    static constexpr std::uint64_t offset = (control_bytes + table_bytes + 63) / 64 * 64;

    [[nodiscard]] static heap& of(segment_header& header) noexcept {
        return *reinterpret_cast<heap*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Makes the zeroed memory from `first` to the segment's size the heap.
    [[gnu::cold]] void format(std::uint64_t first) noexcept;

    // Changes of the heap, and of other words, that all happen or none. Destroying it commits.
    // One at a time in a thread. Thread and process safety: others wait. False if the thread's
    // patience was over before it had the lock: then nothing may be changed, and allocate() fails
    // with ETIMEDOUT.
    class transaction {
      public:
        transaction(heap& changed, owner_word me) noexcept
            : heap_(changed), locked_(heap_.lock(me)) {}

        transaction(const transaction&) = delete;
        transaction& operator=(const transaction&) = delete;

        ~transaction();

        [[nodiscard]] explicit operator bool() const noexcept { return locked_; }

        // nullptr on failure: errc::invalid_alignment, reserve_exceeded, out_of_space, corrupt.
        void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) noexcept;

        // Null is allowed. In debug builds a pointer that is no block of this heap aborts with a
        // message.
        void deallocate(void* pointer) noexcept { heap_.deallocate(pointer); }

        // Is it the payload of a block in use? Any address in the segment can be asked about.
        [[nodiscard]] bool owns(const void* payload) const noexcept {
            return heap_.is_in_use(heap_.place_of(payload));
        }

        // Is it also among the bytes that used() counts, as far as can be told?
        [[nodiscard]] bool owns_counted(const void* payload) const noexcept {
            return owns(payload) && heap_.at(heap_.place_of(payload)).size() <= heap_.used_;
        }

        // A block that used() does not count, for what the library itself needs, or one that it
        // does from now on.
        void uncount(void* block) noexcept { count(block, true); }

        void recount(void* block) noexcept { count(block, false); }

        // Makes the segment at least `bytes` long.
        void grow(std::uint64_t bytes, std::error_code& ec) noexcept { heap_.grow_to(bytes, ec); }

        // Changes any aligned word of the segment, as a part of the transaction. Who reads it
        // without the lock finds what was written before.
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

    // Payload bytes of all allocated blocks, but for those that are not counted.
    [[nodiscard]] std::uint64_t used() const noexcept {
        return __atomic_load_n(&used_, __ATOMIC_RELAXED);
    }

  private:
    static constexpr std::uint64_t overhead = 16; // of a block, in front of its payload
    static constexpr std::uint64_t smallest = overhead + 16;
    static constexpr unsigned rows =
        41; // sizes below 256, then one row for each doubling up to 2^48
    static constexpr unsigned columns = 16; // equal steps in a row
    static constexpr std::uint64_t all_columns = (std::uint64_t{1} << columns) - 1;
    static constexpr std::uint64_t log_capacity = 128; // a block allocated or freed takes up to 50

    // What a word was before the transaction.
    struct undo {
        std::uint64_t where; // offset
        std::uint64_t old;
    };

    // The class of a size: every block in it has at least the size that is its lower bound.
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

    // Of the block with this payload.
    [[nodiscard]] std::uint64_t place_of(const void* payload) noexcept {
        return static_cast<std::uint64_t>(static_cast<const char*>(payload) - base()) - overhead;
    }

    // Where blocks may begin, as 16 bytes that are there.
    class bounds {
      public:
        explicit bounds(std::uint64_t bytes) noexcept
            : count_(bytes > lowest ? (bytes - lowest) / 16 : 0) {}

        [[nodiscard]] bool contain(std::uint64_t place) const noexcept {
            return std::rotr(place - lowest, 4) < count_; // what is no multiple of 16 becomes large
        }

        [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

      private:
        static constexpr std::uint64_t lowest = far_slots_offset;

        std::uint64_t count_;
    };

    [[nodiscard]] bounds own_bounds() noexcept { return bounds(bounded_size(header())); }

    // Does a block end before the next one, which leads back to it?
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

    // Has a free block neighbours in its list that know of it? Then it can be taken out of that.
    [[nodiscard]] bool is_listed(const bounds& all, std::uint64_t place) noexcept;

    [[nodiscard]] static std::uint64_t mark_of(std::uint64_t place) noexcept {
        return ((place * 0x9e3779b97f4a7c15u) | std::uint64_t{1} << 63) & 0xffff000000000000u;
    }

    [[nodiscard]] bool lock(owner_word me) noexcept;

    // Nobody alive reads the log, and who reads it after a death sees all that had been executed:
    // only the compiler must be kept from reordering.
    template <int Order = __ATOMIC_RELAXED>
    void set(std::uint64_t& word, std::uint64_t value) noexcept {
        const std::uint64_t count = log_size_;
        if (count >= log_capacity) [[unlikely]] {
            die("heap: a transaction is too long");
        }
        log_[count] = {static_cast<std::uint64_t>(reinterpret_cast<char*>(&word) - base()), word};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        log_size_ = count + 1;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        __atomic_store_n(&word, value, Order); // used() reads one without the lock
    }

    void commit() noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        log_size_ = 0;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // If the process is killed here, the next one does it again from the beginning.
    [[gnu::cold]] void roll_back() noexcept;

    void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) noexcept;

    void deallocate(void* pointer) noexcept;

    // A block of so many bytes, whose word is written here.
    void put_free(const bounds& all, std::uint64_t place, std::uint64_t size) noexcept;

    // Of a block that is listed. Its word is the caller's to write, or is no word any more.
    void remove_free(std::uint64_t place) noexcept;

    // A block of at least `size` bytes, as its list says; 0 if there is none.
    std::uint64_t find_free(const bounds& all, std::uint64_t size) noexcept;

    // Cuts a block off the front of `place`, so that the payload of the rest is aligned. Returns
    // the rest.
    [[gnu::cold]] std::uint64_t cut_front(const bounds& all, std::uint64_t place,
                                          std::uint64_t alignment) noexcept;

    // Gives back what `place` has beyond `need` bytes; returns how many it has then.
    std::uint64_t cut_back(const bounds& all, std::uint64_t place, std::uint64_t need) noexcept;

    // The words are the caller's to write.
    void split(std::uint64_t place, std::uint64_t rest, std::uint64_t size) noexcept {
        set(at(rest).previous, place);
        set(at(place + overhead + size).previous, rest);
    }

    // Grows by doubling, in steps of at most 64 MiB; by what is needed alone if there is no space
    // for more.
    [[gnu::cold]] void grow_for(std::uint64_t size, std::error_code& ec) noexcept;

    [[gnu::cold]] void grow_to(std::uint64_t bytes, std::error_code& ec) noexcept;

    // Makes what lies behind the last block a part of the heap.
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
