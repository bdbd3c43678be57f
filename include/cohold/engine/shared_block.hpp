// The control block of an object that several pointers share, which counts its references, and the
// segment's list of such objects.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SHARED_BLOCK_HPP
#define COHOLD_ENGINE_SHARED_BLOCK_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <cohold/engine/heap.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Which kind of pointer refers to the object.
enum class reference : std::uint32_t { strong, weak };

enum class shared_state : std::uint32_t {
    living,
    orphaned,  // no strong reference is left, and it is to be destroyed
    ending,    // the same, but being destroyed where a kill leaves it half destroyed
    destroyed, // only weak references are left
    pooled     // no reference is left, and it is in its pool
};

// Everything in it changes in a heap::change. A pointer that lies in the segment is counted. Of a
// pointer outside it, only its participant is known: one bit. A participant counts its own pointers
// in private memory, so that its death needs only clear the bit.
struct alignas(16) shared_block {
    std::uint64_t previous; // offset of the neighbour in the segment's list, or 0
    std::uint64_t next;
    std::uint64_t self;      // offset of this block
    std::uint64_t type;      // hash of the object's description; 0: it need not be destroyed
    std::uint64_t counts[2]; // strong and weak references that lie in the segment
    std::uint64_t state;     // a shared_state:32 | words of a set of participants:32
    std::uint64_t claimant;  // the participant that is destroying the object, or 0
    std::uint64_t object;    // offset of the object
    std::uint64_t pool;      // offset of the shared_pool to which it returns; 0: it is freed

    // Then the set of participants with strong references outside the segment, then the set of
    // those with weak ones: a bit for each slot of the process table.

    [[nodiscard]] shared_state now() const noexcept {
        return static_cast<shared_state>(static_cast<std::uint32_t>(state >> 32));
    }

    [[nodiscard]] std::uint32_t words() const noexcept { return static_cast<std::uint32_t>(state); }

    [[nodiscard]] static constexpr std::uint64_t state_of(shared_state now,
                                                          std::uint64_t words) noexcept {
        return static_cast<std::uint64_t>(now) << 32 | words;
    }

    [[nodiscard]] std::uint64_t* holders(reference which) noexcept {
        return reinterpret_cast<std::uint64_t*>(this + 1) +
               static_cast<std::uint32_t>(which) * words();
    }

    [[nodiscard]] const std::uint64_t* holders(reference which) const noexcept {
        return const_cast<shared_block*>(this)->holders(which);
    }

    [[nodiscard]] segment_header& header() noexcept {
        return *reinterpret_cast<segment_header*>(reinterpret_cast<char*>(this) - self);
    }
};

static_assert(sizeof(shared_block) == 80);

// A pool of such blocks. It changes in the same way.
struct shared_pool {
    std::uint64_t self; // offset of this
    std::uint64_t free; // offset of the first block without references, or 0
    std::uint64_t available;
    std::uint64_t least; // that has been available so far
};

static_assert(sizeof(shared_pool) == 32);

// The sets of participants have that many words each.
[[nodiscard]] std::uint32_t holder_words(const segment_header& header) noexcept;

// The number of bytes from the control block to an object of that alignment.
[[nodiscard]] constexpr std::uint64_t object_distance(std::uint32_t words,
                                                      std::uint64_t alignment) noexcept {
    const std::uint64_t least = alignment < 16 ? 16 : alignment;
    return (sizeof(shared_block) + 16 * std::uint64_t{words} + least - 1) / least * least;
}

// The lists of a segment, beside the reserve journals: the offsets of the first blocks.
struct shared_lists {
    alignas(8) std::uint64_t living; // and destroyed ones that have weak references
    alignas(8) std::uint64_t orphans;

    static constexpr std::uint64_t offset = (heap::offset + sizeof(heap) + 63) / 64 * 64 + 64 + 8;

    [[nodiscard]] static shared_lists& of(segment_header& header) noexcept {
        return *reinterpret_cast<shared_lists*>(reinterpret_cast<char*>(&header) + offset);
    }
};

// The block at an offset that comes from the segment; nullptr if there is none.
[[nodiscard, gnu::cold]] shared_block*
shared_block_at(segment_header& header, const heap::change& change, std::uint64_t offset) noexcept;

// The pool of a block; nullptr if it has none.
[[nodiscard, gnu::cold]] shared_pool* pool_of(segment_header& header,
                                              const shared_block& block) noexcept;

// Takes a block out of the pool, for the participant; nullptr if none is available.
[[nodiscard, gnu::cold]] shared_block* take_pooled(segment_header& header, heap::change& change,
                                                   shared_pool& pool, std::uint32_t slot) noexcept;

// Adds a new block, whose other words are complete, to the list.
[[gnu::cold]] void add_shared(segment_header& header, heap::change& change,
                              shared_block& block) noexcept;

// Removes it again, before any other process has seen it.
[[gnu::cold]] void remove_shared(segment_header& header, heap::change& change,
                                 shared_block& block) noexcept;

[[gnu::cold]] void count_reference(heap::change& change, shared_block& block,
                                   reference which) noexcept;

// With the last strong reference, the object becomes an orphan, or, if it need not be destroyed, it
// ends; with the last weak one after that, the block is freed.
[[gnu::cold]] void uncount_reference(segment_header& header, heap::change& change,
                                     shared_block& block, reference which) noexcept;

// The same for the references of a participant outside the segment.
[[gnu::cold]] void hold_reference(heap::change& change, shared_block& block, reference which,
                                  std::uint32_t slot) noexcept;

[[gnu::cold]] void drop_hold(segment_header& header, heap::change& change, shared_block& block,
                             reference which, std::uint32_t slot) noexcept;

// An orphan has been destroyed.
[[gnu::cold]] void end_shared(segment_header& header, heap::change& change,
                              shared_block& block) noexcept;

// Drops all references that a dead participant held outside the segment. Can be repeated. False if
// the thread's patience ended before.
[[gnu::cold]] bool drop_holds_of(segment_header& header, owner_word me,
                                 std::uint32_t slot) noexcept;

// An orphan of a type for which `accepts(type)` is true, claimed by the participant; nullptr if
// there is none.
template <class Accepts>
[[nodiscard, gnu::cold]] shared_block* claim_orphan(segment_header& header, owner_word me,
                                                    const Accepts& accepts) noexcept {
    heap::change change(heap::of(header), me);
    if (!change) {
        return nullptr;
    }
    std::uint64_t most = bounded_size(header) / sizeof(shared_block);
    for (shared_block* each = shared_block_at(header, change, shared_lists::of(header).orphans);
         each != nullptr && most != 0; each = shared_block_at(header, change, each->next), --most) {
        if (each->claimant == nobody && accepts(each->type)) {
            change.set(each->claimant, me);
            return each;
        }
    }
    return nullptr;
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/shared_block.ipp>
#endif

#endif
