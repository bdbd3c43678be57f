// The two sides of a queue: its producers and its consumers. On each side, one thread is at work at
// a time.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_SIDE_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_SIDE_HPP

#include <atomic>
#include <cstdint>

#include <cohold/container/shm_allocator.hpp>
#include <cohold/engine/section.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- who is at work

// What a side has to know of the calling thread.
struct queue_thread {
    owner_word me = nobody;
    // The word of its journal that says in which side it is at work; nullptr outside of segments.
    std::atomic<std::uint64_t>* cell = nullptr;
    segment_header* header = nullptr;
};

/// Threads and processes as workers of a queue with this allocator. Outside of segments they cannot
/// be told apart, and none ever counts as dead.
template <class Allocator>
class queue_worker {
  public:
    static constexpr bool knows_the_dead = false;

    /// For callers that pass an error_code: reports what thread() or process() would throw.
    static void prepare(const Allocator& /*allocator*/, bool /*with_record*/,
                        std::error_code& /*ec*/) noexcept {}

    /// False if the thread cannot work now and should try again.
    [[nodiscard]] static bool thread(const Allocator& /*allocator*/, queue_thread& who) noexcept {
        who.me = make_owner(0, 1, 1);
        return true;
    }

    [[nodiscard]] static owner_word process(const Allocator& /*allocator*/) noexcept {
        return make_owner(0, 1, 0);
    }

    /// Is this process, or thread, dead? If so, recovers it now.
    [[nodiscard]] static bool recover_if_dead(const Allocator& /*allocator*/,
                                              owner_word /*worker*/) noexcept {
        return false;
    }

    /// Called before the queue's memory is freed: whatever dead processes had begun is rolled back
    /// or completed.
    static void recover_dead(const Allocator& /*allocator*/) noexcept {}

    /// Is the thread in a section of the segment, which may still be undone?
    [[nodiscard]] static bool in_section(const Allocator& /*allocator*/) noexcept { return false; }

    /// A number that differs in a process that was forked since, and after another attachment.
    [[nodiscard]] static std::uint64_t epoch(const Allocator& /*allocator*/) noexcept { return 0; }

    /// Is the calling thread, or its process if that is all that a side knows, this owner?
    [[nodiscard]] static bool is(const Allocator& /*allocator*/, owner_word /*owner*/) noexcept {
        return false;
    }

    /// What happens to an element in it is undone if the process dies: its allocations, and the
    /// changes to bytes that were saved.
    class section {
      public:
        explicit section(const Allocator& /*allocator*/) noexcept {}

        ~section() {} // NOLINT: like that of the specialization

        void save(const void* /*element*/, std::size_t /*bytes*/) noexcept {}

        /// Ends the section by one store.
        void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
            word.store(value, std::memory_order_release);
        }
    };
};

// What is known of the thread that used a queue last, ready to hand.
struct queue_thread_cache {
    segment_header* header;
    const std::atomic<std::uint64_t>* epoch_here;
    std::uint64_t epoch;
    std::atomic<std::uint64_t>* cell;
    owner_word me;
};

inline thread_local constinit queue_thread_cache last_queue_thread{};

// Fills last_queue_thread for the calling thread. Returns false if the heap's lock, which a
// thread's first use of a segment needs, is held by a process that is not running, or after an
// error.
[[nodiscard, gnu::cold]] bool find_queue_thread(segment_header& header,
                                                std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] bool find_queue_thread(segment_header& header);

[[nodiscard, gnu::cold]] owner_word new_worker(segment_header& header);

[[gnu::cold]] void prepare_worker(segment_header& header, std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] bool recover_worker_if_dead(segment_header& header,
                                                     owner_word worker) noexcept;

[[gnu::cold]] void recover_all_dead(segment_header& header) noexcept;

/// *Errors* of thread() and of process(), the first time a thread or a process uses the segment:
/// errc::too_many_participants, locks_unsupported, out_of_space.
template <class T>
class queue_worker<shm_allocator<T>> {
  public:
    using allocator = shm_allocator<T>;

    static constexpr bool knows_the_dead = true;

    static void prepare(const allocator& a, bool with_record, std::error_code& ec) noexcept {
        segment_header& header = a.bound_header();
        if (!with_record) {
            if (local_of(header).identity->epoch.load(std::memory_order_acquire) == 0) {
                prepare_worker(header, ec);
            }
        } else if (!is_known(header)) {
            static_cast<void>(find_queue_thread(header, ec));
        }
    }

    [[nodiscard, gnu::always_inline]] static bool thread(const allocator& a, queue_thread& who) {
        segment_header& header = a.bound_header();
        if (!is_known(header) && !find_queue_thread(header)) [[unlikely]] {
            return false;
        }
        who = {last_queue_thread.me, last_queue_thread.cell, &header};
        return true;
    }

    [[nodiscard, gnu::always_inline]] static owner_word process(const allocator& a) {
        segment_header& header = a.bound_header();
        const local_identity& identity = *local_of(header).identity;
        if (identity.epoch.load(std::memory_order_acquire) == 0) [[unlikely]] {
            return new_worker(header);
        }
        return identity.me;
    }

    [[nodiscard]] static bool recover_if_dead(const allocator& a, owner_word worker) noexcept {
        return recover_worker_if_dead(a.bound_header(), worker);
    }

    static void recover_dead(const allocator& a) noexcept {
        if (segment_header* const header = a.header(); header != nullptr) {
            recover_all_dead(*header);
        }
    }

    [[nodiscard]] static bool in_section(const allocator& a) noexcept {
        return open_transaction(a.header()) != nullptr;
    }

    [[nodiscard]] static std::uint64_t epoch(const allocator& a) noexcept {
        return local_of(a.bound_header()).identity->epoch.load(std::memory_order_acquire);
    }

    [[nodiscard]] static bool is(const allocator& a, owner_word owner) noexcept {
        const segment_header& header = a.bound_header();
        return (is_known(header) && owner == last_queue_thread.me) ||
               (epoch(a) != 0 && owner == local_of(header).identity->me);
    }

    class section {
      public:
        explicit section(const allocator& a) : section_(caller(a.bound_header()), false) {}

        void save(const void* element, std::size_t bytes) { section_->save(element, bytes); }

        void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
            section_.commit_by(word, value, witness_kind::counter);
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
        const queue_thread_cache& cache = last_queue_thread;
        return cache.header == &header &&
               cache.epoch_here->load(std::memory_order_relaxed) == cache.epoch;
    }
};

/// When to ask whether the thread that holds up another is alive: not at once, because most work is
/// over in an instant; and not often, because it takes a system call. A thread remembers a few
/// sides, by their addresses: it may look at many queues in turn. Where two of them share an entry,
/// it asks about the one that it meets first when the time is over.
class suspicion {
  public:
    [[nodiscard, gnu::cold]] static bool is_due(const void* side, owner_word worker) noexcept;

  private:
    static constexpr std::size_t count = 32;
    static constexpr std::int64_t interval = 1000000; // ns

    const void* side_;
    owner_word worker_;
    std::int64_t since_; // when the worker was noticed, or last asked about
};

// ---- sides

// What both sides have on a line of their own, behind the positions.
struct side_words {
    // Of a side of many: 0, the thread that is at work, or, with the bit `biased`, the thread that
    // comes in without an atomic operation. Of a single side: not 0 while code of the element's
    // type runs, or an element is in use in its place.
    alignas(8) std::atomic<owner_word> owner{nobody};
    // The thread that may be at work besides the owner: the side was biased to it, and the owner is
    // taking that away, or has just become biased. The owner itself, without its bit, while it uses
    // an element in its place. Otherwise 0.
    alignas(8) std::atomic<owner_word> victim{nobody};
    // Offset of the victim's cell; 0 while the owner uses an element in its place.
    alignas(8) std::atomic<std::uint64_t> cell{0};
    alignas(8) std::uint64_t last = nobody; // the last owner
    std::uint32_t run = 0;                  // how often it has come in without another
    std::uint32_t needed = 256;             // how often it has to until it becomes biased

    // From now on, until leave(), an element is in use in its place: by the program, which may do
    // anything meanwhile.
    void keep_in_hand() noexcept {
        cell.store(0, std::memory_order_relaxed);
        victim.store(owner.load(std::memory_order_relaxed), std::memory_order_relaxed);
    }

    [[nodiscard]] bool has_in_hand() const noexcept {
        const owner_word now = owner.load(std::memory_order_relaxed);
        return now != nobody && victim.load(std::memory_order_relaxed) == now &&
               cell.load(std::memory_order_relaxed) == 0;
    }

    void let_go() noexcept {
        victim.store(nobody, std::memory_order_relaxed);
        owner.store(nobody, std::memory_order_release);
    }
};

static_assert(sizeof(side_words) == 40);

enum class entry {
    done,
    inherited, // done, and the previous worker may have been stopped in the middle
    vain,      // there was nothing to do there
    held,      // another thread is at work
    nested,    // this thread is at work already
};

// Takes the side by compare-and-swap. `progress` changes as the other threads of the side work.
[[nodiscard, gnu::cold]] entry enter_slowly(side_words& side,
                                            const std::atomic<std::uint64_t>& progress,
                                            queue_thread who, bool may_bias) noexcept;

inline constexpr owner_word biased = awaited; // the same bit: nobody sleeps on these words

/// A side on which many threads work, one at a time. A thread that is inside for 256 times
/// without another one in between becomes biased: it comes in by a store to its own cell and a look
/// at the owner. A thread that takes this away stores itself as the owner, executes the heavy
/// barrier, and waits until the cell shows that the other one is out. A thread that is killed
/// inside is replaced by the next one, which repairs what it had begun.
///
/// If a process is killed while it takes the bias away, `victim` tells the next one whom to wait
/// for.
template <class Allocator>
class shared_side {
    using worker = queue_worker<Allocator>;

  public:
    static constexpr bool many = true;

    shared_side(side_words& words, std::atomic<owner_word>& /*role*/) noexcept : words_(words) {}

    // `runs_code`: code of the element's type runs inside, which may use other queues. `worth()`:
    // is there anything to do?
    template <bool RunsCode, class Worth>
    [[nodiscard, gnu::always_inline]] entry enter(const Allocator& allocator,
                                                  const std::atomic<std::uint64_t>& progress,
                                                  const Worth& worth) {
        if (!worker::thread(allocator, who_)) [[unlikely]] {
            return entry::held;
        }
        if constexpr (worker::knows_the_dead && !RunsCode) {
            if (words_.owner.load(std::memory_order_relaxed) == (who_.me | biased)) [[likely]] {
                if (who_.cell->load(std::memory_order_relaxed) != 0) [[unlikely]] {
                    return entry::nested; // a signal handler
                }
                who_.cell->store(mark(), std::memory_order_relaxed);
                light_barrier();
                if (words_.owner.load(std::memory_order_relaxed) == (who_.me | biased)) [[likely]] {
                    return entry::done;
                }
                who_.cell->store(0, std::memory_order_release);
            }
        }
        if (!worth()) {
            return entry::vain;
        }
        return enter_slowly(words_, progress, who_, !RunsCode);
    }

    template <bool RunsCode>
    [[gnu::always_inline]] void leave() noexcept {
        if constexpr (worker::knows_the_dead && !RunsCode) {
            if (words_.owner.load(std::memory_order_relaxed) != who_.me) [[likely]] {
                who_.cell->store(0, std::memory_order_release);
                return;
            }
        }
        words_.owner.store(nobody, std::memory_order_release);
    }

    // Called when what the thread before had begun is repaired.
    void repaired(const Allocator& /*allocator*/) const noexcept {}

  private:
    [[nodiscard]] std::uint64_t mark() const noexcept {
        return static_cast<std::uint64_t>(reinterpret_cast<char*>(&words_) -
                                          reinterpret_cast<char*>(who_.header));
    }

    side_words& words_;
    queue_thread who_;
};

/// A side on which one thread works; it may be replaced by another, in any process. The role word
/// names the process that was at work last: another one repairs what that may have begun.
template <class Allocator>
class single_side {
    using worker = queue_worker<Allocator>;

  public:
    static constexpr bool many = false;

    single_side(side_words& words, std::atomic<owner_word>& role) noexcept
        : words_(words), role_(role) {}

    template <bool RunsCode, class Worth>
    [[nodiscard, gnu::always_inline]] entry enter(const Allocator& allocator,
                                                  const std::atomic<std::uint64_t>& /*progress*/,
                                                  const Worth& /*worth*/) {
        const owner_word me = worker::process(allocator);
        if (role_.load(std::memory_order_relaxed) != me) [[unlikely]] {
            return take_over<RunsCode>(words_, role_, allocator, me);
        }
        if (words_.owner.load(std::memory_order_relaxed) != nobody) [[unlikely]] {
            return entry::nested;
        }
        if constexpr (RunsCode) {
            words_.owner.store(me, std::memory_order_relaxed);
        }
        return entry::done;
    }

    template <bool RunsCode>
    [[gnu::always_inline]] void leave() noexcept {
        if constexpr (RunsCode) {
            words_.owner.store(nobody, std::memory_order_relaxed);
        }
    }

    // Called when what the worker before had begun is repaired.
    void repaired(const Allocator& allocator) const {
        role_.store(marked(worker::process(allocator)), std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst); // before the others see it at work
    }

  private:
    // A process that the others' heavy barrier does not reach, in a sandbox, is marked.
    [[nodiscard]] static owner_word marked(owner_word me) noexcept {
        return !worker::knows_the_dead || register_membarrier() ? me : me | awaited;
    }

    // Not the same process as before; or one that is marked, which comes here each time.
    template <bool RunsCode>
    [[nodiscard, gnu::noinline]] static entry
    take_over(side_words& words, const std::atomic<owner_word>& role, const Allocator& allocator,
              owner_word me) noexcept {
        const owner_word before = role.load(std::memory_order_acquire);
        const bool is_mine = before == marked(me);
        if (is_mine && words.owner.load(std::memory_order_relaxed) != nobody) {
            return entry::nested;
        }
        if (!is_mine) {
            if (RunsCode && before != nobody) {
                // What it had begun must be undone before the next change begins.
                static_cast<void>(worker::recover_if_dead(allocator, before & ~awaited));
            }
            std::atomic_thread_fence(std::memory_order_seq_cst);
        }
        words.owner.store(RunsCode ? me : nobody, std::memory_order_relaxed);
        return is_mine ? entry::done : entry::inherited;
    }

    side_words& words_;
    std::atomic<owner_word>& role_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/queue_side.ipp>
#endif

#endif
