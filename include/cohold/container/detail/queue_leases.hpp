// The elements that consumers have taken out of a queue and that come back unless they are done.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_LEASES_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_LEASES_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <cohold/container/detail/queue_layout.hpp>
#include <cohold/engine/participant_table.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

enum class lease_state : std::uint32_t {
    free = 0,
    taken = 1,   // by a process, which its word names
    returned = 2 // it comes before all elements of the ring
};

/// A table that a queue gets when something is taken for the first time: for each place a word, the
/// position that its element had in the ring, and a copy of the element. Bits 0 and 1 of the word
/// are the state, bits 2 to 19 count how often the element was taken, and the rest names the
/// process that has it.
///
/// *Taking* from the ring: the element and its position are copied; then the word is set; then *the
/// store to the head* removes it from the ring. If the process is killed before that, the position
/// is not before the head, and the successor frees the place. Taking what has come back, giving it
/// back, being done with it: one store to the word each. Only the process that has an element
/// changes its word; everything else is done on the consumers' side, by one thread at a time.
class alignas(64) queue_leases {
  public:
    static constexpr std::uint32_t most = 256; // places
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    queue_leases(std::uint32_t count, std::size_t size, std::size_t alignment) noexcept;

    [[nodiscard]] static constexpr std::uint32_t count_for(std::uint32_t capacity) noexcept {
        return capacity < most ? capacity : most;
    }

    [[nodiscard]] static std::size_t bytes_for(std::uint32_t count, std::size_t size,
                                               std::size_t alignment) noexcept;

    [[nodiscard]] std::byte* element(std::uint32_t place) noexcept {
        return reinterpret_cast<std::byte*>(this) + elements_ + std::size_t{place} * size_;
    }

    [[nodiscard]] std::uint32_t attempts(std::uint32_t place) const noexcept {
        return static_cast<std::uint32_t>(word(place).load(std::memory_order_relaxed) >> 2) &
               most_attempts;
    }

    // ---- on the consumers' side

    // The place of the first element that has come back, or none.
    [[nodiscard]] std::uint32_t first_returned() const noexcept;

    // A place for an element of the ring, or none: then the one who is done next will wake.
    [[nodiscard]] std::uint32_t find_free() noexcept;

    // What `me` is about to take out of the ring: it has been copied to its place.
    void take(std::uint32_t place, queue_position at, owner_word me) noexcept;

    // What has come back is taken again.
    void take_again(std::uint32_t place, owner_word me) noexcept;

    void free(std::uint32_t place) noexcept { word(place).store(0, std::memory_order_release); }

    // What the dead had taken comes back. Asks the kernel about the living once in a millisecond.
    void return_from_dead(segment_header& header) noexcept;

    // After the death of a consumer: what it has not removed from the ring.
    void forget_from(queue_position head) noexcept;

    // `others`: other processes have some, and nothing has come back.
    enum class rest { none, ours, others, returned };

    [[nodiscard]] rest what_is_left(const segment_header& header) const noexcept;

    // ---- for the process that has the element

    // Returns whether a consumer waits for a free place.
    [[nodiscard]] bool done(std::uint32_t place) noexcept;

    void give_back(std::uint32_t place) noexcept;

    // ---- for all

    // Has a dead process taken any, which will come back?
    [[nodiscard, gnu::cold]] bool are_of_dead(const segment_header& header) const noexcept;

    [[nodiscard]] std::uint32_t count_returned() const noexcept;

  private:
    static constexpr std::uint32_t most_attempts = (1u << 18) - 1;
    static constexpr std::uint64_t process_bits = ~std::uint64_t{0xfffff};

    [[nodiscard]] static lease_state state_of(std::uint64_t word) noexcept {
        return static_cast<lease_state>(word & 3);
    }

    [[nodiscard]] static std::uint64_t word_of(owner_word owner, std::uint32_t attempts,
                                               lease_state state) noexcept {
        return (owner & process_bits) | std::uint64_t{attempts} << 2 |
               static_cast<std::uint32_t>(state);
    }

    // Never more than there can be, whatever the bytes are.
    [[nodiscard]] std::uint32_t count() const noexcept { return count_ < most ? count_ : most; }

    [[nodiscard]] std::atomic<std::uint64_t>& word(std::uint32_t place) noexcept {
        return reinterpret_cast<atomic_word*>(this + 1)[place].value;
    }

    [[nodiscard]] const std::atomic<std::uint64_t>& word(std::uint32_t place) const noexcept {
        return reinterpret_cast<const atomic_word*>(this + 1)[place].value;
    }

    // Follow the words.
    [[nodiscard]] std::uint64_t* positions() noexcept {
        return reinterpret_cast<std::uint64_t*>(this + 1) + count_;
    }

    [[nodiscard]] const std::uint64_t* positions() const noexcept {
        return reinterpret_cast<const std::uint64_t*>(this + 1) + count_;
    }

    std::uint32_t count_;
    std::atomic<std::uint32_t> awaited_{0};         // does a consumer wait for a free place?
    alignas(8) std::uint64_t elements_;             // offset in the table
    std::uint64_t size_;                            // of an element
    alignas(8) std::atomic<std::int64_t> asked_{0}; // when it was asked about the living
};

static_assert(sizeof(queue_leases) == 64);

// Makes a table and stores its offset in the word. If the process is killed meanwhile, its memory
// is free again.
[[gnu::cold]] void make_queue_leases(segment_header& header, std::atomic<std::uint64_t>& word,
                                     std::uint32_t count, std::size_t size, std::size_t alignment,
                                     std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/queue_leases.ipp>
#endif

#endif
