// A formatted segment in a memfd, for tests of a segment's internals.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_MEMORY_SCRATCH_SEGMENT_HPP
#define COHOLD_TEST_MEMORY_SCRATCH_SEGMENT_HPP

#include <cstddef>
#include <cstdint>
#include <ostream>

#include <doctest/doctest.h>

#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/handle/detail/segment_memory.hpp>
#include <cohold/policy/memfd.hpp>

namespace scratch {

namespace detail = cohold::detail;
using memfd = cohold::mechanism::memfd;

// The heap, with a change for each call.
class plain_heap {
  public:
    explicit plain_heap(detail::segment_header& header) : header_(header) {}

    void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) {
        return change().allocate(bytes, alignment, ec);
    }

    void deallocate(void* pointer) { change().deallocate(pointer); }

    [[nodiscard]] bool resize(void* pointer, std::uint64_t bytes) {
        return change().resize(pointer, bytes);
    }

    std::uint64_t trim() {
        std::error_code ec;
        const std::uint64_t given =
            detail::trim_heap(header_, detail::participant_of(header_, ec), ec);
        REQUIRE_FALSE(ec);
        return given;
    }

    void grow(std::uint64_t bytes, std::error_code& ec) { change().grow(bytes, ec); }

    [[nodiscard]] std::uint64_t used() const { return detail::heap::of(header_).used(); }

  private:
    [[nodiscard]] detail::heap::change change() const {
        std::error_code ec;
        return {detail::heap::of(header_), detail::participant_of(header_, ec)};
    }

    detail::segment_header& header_;
};

class segment {
  public:
    explicit segment(std::uint64_t size, std::uint64_t reserve) : reserve_(reserve) {
        std::error_code ec;
        file_ = memfd::create(
            {.reserve = reserve, .mode = 0600, .group = std::nullopt, .formatted = true}, ec);
        memory_ =
            detail::segment_memory::map(object(), reserve, cohold::access_mode::writing, {}, ec);
        memory_.format(size, cohold::config::max_participants, cohold::lifetime::persistent,
                       "scratch", ec);
        memory_.ready();
        static_cast<void>(detail::participant_of(memory_.header(), ec));
        INFO(cohold::last_failure().what());
        REQUIRE_FALSE(ec);
    }

    segment(const segment&) = delete;
    segment& operator=(const segment&) = delete;

    ~segment() {
        memory_ = {};
        memfd::close(file_);
    }

    // A further mapping of it.
    [[nodiscard]] detail::segment_memory again(cohold::access_mode how) const {
        std::error_code ec;
        detail::segment_memory mapped =
            detail::segment_memory::map(object(), reserve_, how, {}, ec);
        if (!ec && how == cohold::access_mode::writing) {
            static_cast<void>(detail::participant_of(mapped.header(), ec));
        }
        REQUIRE_FALSE(ec);
        return mapped;
    }

    [[nodiscard]] const cohold::file_descriptor& file() const { return file_; }

    [[nodiscard]] detail::native_object object() const {
        return {&detail::calls_of<memfd>, &file_};
    }

    [[nodiscard]] const detail::segment_memory& memory() const { return memory_; }

    [[nodiscard]] detail::segment_header& header() const { return memory_.header(); }

    [[nodiscard]] plain_heap heap() const { return plain_heap(memory_.header()); }

    [[nodiscard]] detail::directory& directory() const { return memory_.directory_here(); }

    [[nodiscard]] std::uint64_t size() const {
        return header().size.load(std::memory_order_acquire);
    }

    // The largest possible block when nothing is allocated.
    [[nodiscard]] std::uint64_t largest_block() const {
        return size() - detail::far_slots_offset - 32; // its overhead, and the last one
    }

    // The number of allocated blocks, including those of slabs and of journals; the heap must be
    // sound.
    [[nodiscard]] std::size_t blocks() const {
        std::size_t count = 0;
        std::uint64_t before = 0;
        std::uint64_t place = detail::far_slots_offset;
        for (bool free = false;;) {
            const auto& block = *reinterpret_cast<detail::heap_block*>(memory_.base() + place);
            REQUIRE(block.previous == before);
            if (block.size() == 0) {
                return count;
            }
            REQUIRE(place + block.size() < size());
            REQUIRE_FALSE((free && block.is_free())); // neighbours are one
            free = block.is_free();
            if ((block.word & detail::heap_block::slab_bit) != 0) {
                detail::slab* const run = detail::heap::of(header()).slab_around(place + 16);
                REQUIRE(run != nullptr);
                count += static_cast<std::size_t>(run->count_used());
            } else if (!free && (block.word & detail::heap_block::own_bit) == 0) {
                ++count;
            }
            before = place;
            place += 16 + block.size();
        }
    }

  private:
    std::uint64_t reserve_;
    cohold::file_descriptor file_;
    detail::segment_memory memory_;
};

// Ends a mapping as if its process had been killed at this moment: the kernel's lock is released,
// and nothing is cleaned up.
inline void kill(detail::segment_memory& victim) {
    detail::local_identity& identity = *detail::local_of(victim.header()).identity;
    while (identity.transactions != nullptr) {
        detail::thread_transaction* const its = identity.transactions;
        identity.transactions = its->next_in_mapping;
        its->ended.store(detail::thread_transaction::orphaned);
    }
    // The separate process that it stood for.
    detail::participant_table::of(victim.header()).slots[detail::slot_of(identity.me)].stamp ^= 1;
    detail::unmap(identity.page, detail::page_size());
    identity.page = nullptr;
    identity.epoch = 0;
    victim = {};
}

// This thread's transaction in that mapping.
inline detail::transaction& self(const detail::segment_memory& memory) {
    std::error_code ec;
    detail::transaction* const mine = detail::self(memory.header(), ec);
    REQUIRE(mine != nullptr);
    return *mine;
}

// Recovers all dead participants, and returns how many.
inline std::uint32_t recover(const segment& survivor) {
    std::error_code ec;
    return detail::recover_all(survivor.header(), detail::participant_of(survivor.header(), ec));
}

} // namespace scratch

#endif
