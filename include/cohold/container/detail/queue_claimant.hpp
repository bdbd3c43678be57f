// The thread that works on a queue, and the question whether a claimant in its way is alive.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_CLAIMANT_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_CLAIMANT_HPP

#include <atomic>
#include <cstdint>

#include <cohold/container/detail/queue_slots.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/engine/section.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct claimant_ready {};

/// The calling thread, as a claimant of slots of a queue with this allocator. Outside of segments
/// threads cannot be identified, so no claimant ever counts as dead. (Tests have other claimants.)
template <class Allocator>
class queue_claimant {
  public:
    static constexpr bool knows_the_dead = false;

    /// Called before one is constructed: false if the thread cannot claim anything now and should
    /// try again.
    [[nodiscard]] static bool is_ready(const Allocator& /*allocator*/) noexcept { return true; }

    /// For callers that pass an error_code: reports what the constructor or worker() would throw. A
    /// thread that claims slots, or journals its changes, needs its journal.
    static void prepare(const Allocator& /*allocator*/, bool /*with_record*/,
                        std::error_code& /*ec*/) noexcept {}

    explicit queue_claimant(const Allocator& /*allocator*/) noexcept {}

    queue_claimant(const Allocator& /*allocator*/, claimant_ready /*known*/) noexcept {}

    [[nodiscard]] claim_mark mark() const noexcept { return 0; }

    /// Called before the compare-and-swap that claims the slot of this word; and again after code
    /// that may have claimed others.
    void intend(const atomic_word& /*word*/) const noexcept {}

    /// Called when the claim is over.
    void forget() const noexcept {}

    /// The process, as the only one that works on its side; not 0.
    [[nodiscard]] static owner_word worker(const Allocator& /*allocator*/) noexcept { return 2; }

    /// Is the claimant with this mark, or this worker, dead? If so, recovers it now.
    [[nodiscard]] static bool recover_if_dead(const Allocator& /*allocator*/,
                                              claim_mark /*mark*/) noexcept {
        return false;
    }

    [[nodiscard]] static bool is_dead_worker(const Allocator& /*allocator*/,
                                             owner_word /*worker*/) noexcept {
        return false;
    }

    /// Called before the queue's memory is freed: whatever dead processes had begun is rolled back
    /// or completed, and their claims are resolved.
    static void recover_dead(const Allocator& /*allocator*/) noexcept {}

    /// Is the thread in a section of the segment, which may still be undone?
    [[nodiscard]] static bool in_section(const Allocator& /*allocator*/) noexcept { return false; }

    /// What happens to an element between claim and release is undone if the process dies: its
    /// allocations, and the changes to bytes that were saved.
    class section {
      public:
        explicit section(const Allocator& /*allocator*/) noexcept {}

        ~section() {} // NOLINT: like that of the specialization

        void save(const void* /*element*/, std::size_t /*bytes*/) noexcept {}

        /// Ends the section, and the claim, by one store.
        void commit_by(atomic_word& word, slot_word value) noexcept {
            word.value.store(value, std::memory_order_release);
        }
    };
};

// The parts of the thread's transaction that a claim needs, close at hand: between two
// compare-and-swaps the processor waits for every load that depends on another one.
struct claimant_cache {
    segment_header* header;
    const std::atomic<std::uint64_t>* epoch_here;
    std::uint64_t epoch;
    std::atomic<std::uint64_t>* cell;
    claim_mark mark;
};

inline thread_local constinit claimant_cache last_claimant{};

// Fills last_claimant for the calling thread. Returns false if the heap's lock, which a thread's
// first use of a segment needs, is held by a process that is not running, or after an error.
[[nodiscard, gnu::cold]] bool find_claimant(segment_header& header, std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] bool find_claimant(segment_header& header);

[[nodiscard, gnu::cold]] owner_word new_worker(segment_header& header);

[[nodiscard, gnu::cold]] bool recover_worker_if_dead(segment_header& header,
                                                     owner_word worker) noexcept;

[[nodiscard, gnu::cold]] bool recover_claimant_if_dead(segment_header& header,
                                                       claim_mark mark) noexcept;

[[gnu::cold]] void recover_all_dead(segment_header& header) noexcept;

/// *Errors* of the constructor and of worker(), the first time a thread or a process uses the
/// segment: errc::too_many_participants, locks_unsupported, out_of_space.
template <class T>
class queue_claimant<shm_allocator<T>> {
  public:
    using allocator = shm_allocator<T>;

    static constexpr bool knows_the_dead = true;

    [[nodiscard, gnu::always_inline]] static bool is_ready(const allocator& a) {
        segment_header& header = a.bound_header();
        return is_known(header) || find_claimant(header);
    }

    static void prepare(const allocator& a, bool with_record, std::error_code& ec) noexcept {
        segment_header& header = a.bound_header();
        if (with_record) {
            if (!is_known(header)) {
                static_cast<void>(find_claimant(header, ec));
            }
        } else if (local_of(header).identity->epoch.load(std::memory_order_acquire) == 0) {
            const patience limit(deadline{0});
            static_cast<void>(participant_of(header, ec));
            if (ec == std::errc::timed_out) {
                ec = errc::busy;
            }
        }
    }

    /// Called right after is_ready().
    queue_claimant(const allocator& a, claimant_ready /*known*/) noexcept
        : header_(a.bound_header()), cell_(last_claimant.cell), mark_(last_claimant.mark) {}

    /// For a thread that has been ready before.
    explicit queue_claimant(const allocator& a) : header_(a.bound_header()) {
        static_cast<void>(is_ready(a));
        cell_ = last_claimant.cell;
        mark_ = last_claimant.mark;
    }

    [[nodiscard]] claim_mark mark() const noexcept { return mark_; }

    void intend(const atomic_word& word) const noexcept {
        store_in_order(*cell_, static_cast<std::uint64_t>(reinterpret_cast<const char*>(&word) -
                                                          reinterpret_cast<char*>(&header_)));
    }

    // So that the address is not read again when the queue's memory holds something else.
    void forget() const noexcept { store_in_order(*cell_, 0); }

    [[nodiscard]] static owner_word worker(const allocator& a) {
        segment_header& header = *a.header();
        const local_identity& identity = *local_of(header).identity;
        return identity.epoch.load(std::memory_order_acquire) != 0 ? identity.me
                                                                   : new_worker(header);
    }

    [[nodiscard]] static bool recover_if_dead(const allocator& a, claim_mark mark) noexcept {
        return recover_claimant_if_dead(*a.header(), mark);
    }

    [[nodiscard]] static bool is_dead_worker(const allocator& a, owner_word worker) noexcept {
        return recover_worker_if_dead(*a.header(), worker);
    }

    static void recover_dead(const allocator& a) noexcept {
        if (segment_header* const header = a.header(); header != nullptr) {
            recover_all_dead(*header);
        }
    }

    [[nodiscard]] static bool in_section(const allocator& a) noexcept {
        return open_transaction(a.header()) != nullptr;
    }

    class section {
      public:
        explicit section(const allocator& a) : section_(caller(*a.header()), false) {}

        void save(const void* element, std::size_t bytes) { section_->save(element, bytes); }

        void commit_by(atomic_word& word, slot_word value) noexcept {
            section_.commit_by(word.value, value, witness_kind::claim);
        }

      private:
        detail::section section_;
    };

  private:
    [[nodiscard, gnu::cold]] static transaction* caller(segment_header& header) {
        std::error_code ec;
        transaction* const mine = self(header, ec);
        raise_if(ec);
        return mine;
    }

    [[nodiscard, gnu::always_inline]] static bool is_known(const segment_header& header) noexcept {
        const claimant_cache& cache = last_claimant;
        return cache.header == &header &&
               cache.epoch_here->load(std::memory_order_relaxed) == cache.epoch;
    }

    segment_header& header_;
    std::atomic<std::uint64_t>* cell_;
    claim_mark mark_;
};

/// When to ask about the claim that a thread finds in its way: not at once, because most claims are
/// over in an instant; and not often, because it takes a system call. A thread remembers a few
/// claims, by their addresses: it may look at many queues in turn. Where two of them share an
/// entry, it asks about the one that it meets first when the time is over.
class suspicion {
  public:
    [[nodiscard, gnu::cold]] static bool is_due(const atomic_word& word,
                                                slot_word claimed) noexcept;

  private:
    static constexpr std::size_t count = 32;
    static constexpr std::uint32_t few_looks = 16;
    static constexpr std::int64_t interval = 1000000; // ns

    const atomic_word* word_;
    slot_word claimed_;
    std::uint32_t looks_;
    std::int64_t since_; // when the claim was noticed, or last asked about
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/queue_claimant.ipp>
#endif

#endif
