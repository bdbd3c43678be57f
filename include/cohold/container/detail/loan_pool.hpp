// The part of shm_pool that does not depend on its elements.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_LOAN_POOL_HPP
#define COHOLD_CONTAINER_DETAIL_LOAN_POOL_HPP

#include <cstddef>
#include <cstdint>
#include <system_error>

#include <cohold/container/detail/shared_words.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// The blocks of a pool are those of objects that pointers share: recovery of a dead participant
/// drops its references to them as to any other object. A block that loses its last reference goes
/// back to the list in `pool_`, in the same change of the heap.
class loan_pool {
  public:
    // Throws errc::invalid_size, and the allocator's errors.
    [[gnu::cold]] loan_pool(std::uint64_t count, std::uint64_t size, std::uint64_t alignment,
                            const shm_allocator<std::uint64_t>& allocator);

    loan_pool(const loan_pool&) = delete;
    loan_pool& operator=(const loan_pool&) = delete;

    [[gnu::cold]] ~loan_pool();

    // A block for `into`, which is outside the segment. Waits until the deadline; null: in vain.
    // *Errors*: those of take_hold.
    [[nodiscard]] bool lend(shared_words& into, deadline until, std::error_code& ec) noexcept;

    // Wakes those that wait, when a loan from a pool ends. Called before: what to tell after.
    [[nodiscard]] static loan_pool* waited_for(const shared_words& loan) noexcept;

    void tell() noexcept { returned_.wake_all(); }

    // An object is available, or will be after recovery.
    [[nodiscard]] event_source events() noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    [[nodiscard]] std::uint64_t available() const noexcept { return read(pool_.available); }

    [[nodiscard]] std::uint64_t least_available() const noexcept { return read(pool_.least); }

    // Calls visit(number of the block, pid) for each process that holds a block itself, and with
    // pid 0 for each block that lies in an element of the segment.
    template <class Visit>
    void each_holder(const Visit& visit) const {
        const segment_header& header = *allocator_.header();
        for (std::uint64_t i = 0; i < count_; ++i) {
            const shared_block* const block = block_at(i);
            if (block == nullptr) {
                continue;
            }
            if (read(block->counts[0]) != 0) {
                visit(i, 0u);
            }
            each_participant(header, [&](owner_word each, const participant_slot& slot) {
                const std::uint32_t number = slot_of(each);
                if ((read(block->holders(reference::strong)[number / 64]) >> number % 64 & 1) !=
                    0) {
                    visit(i, slot.pid.load(std::memory_order_relaxed));
                }
            });
        }
    }

    // While nobody else knows the pool.
    template <class Visit>
    void each_object(const Visit& visit) {
        for (std::uint64_t i = 0; i < count_; ++i) {
            visit(reinterpret_cast<char*>(allocator_.header()) + block_at(i)->object);
        }
    }

  private:
    [[nodiscard]] static std::uint64_t read(const std::uint64_t& word) noexcept {
        return __atomic_load_n(static_cast<const aligned_word*>(&word), __ATOMIC_RELAXED);
    }

    [[nodiscard, gnu::cold]] const shared_block* block_at(std::uint64_t index) const noexcept;

    [[nodiscard]] outcome try_lend(shared_words& into, bool thorough, std::error_code& ec) noexcept;

    // Frees what has been made so far, or belongs to the pool still.
    void free_blocks(std::uint64_t made) noexcept;

    shared_pool pool_{};
    shm_allocator<std::uint64_t> allocator_;
    offset_ptr<std::uint64_t> blocks_{}; // offsets
    std::uint64_t count_ = 0;
    wait_word returned_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

static_assert(sizeof(loan_pool) == 64);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/loan_pool.ipp>
#endif

#endif
