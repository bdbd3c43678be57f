// How a process becomes a participant of a segment: a slot of the process table, which the kernel
// keeps for it while it lives.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_ATTACHMENT_HPP
#define COHOLD_MEMORY_ATTACHMENT_HPP

#include <cerrno>
#include <ctime>

#include <cohold/detail/membarrier.hpp>
#include <cohold/detail/process.hpp>
#include <cohold/memory/recovery.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Held for a moment by a thread that changes the identity of a mapping in this process.
class identity_lock {
  public:
    explicit identity_lock(local_identity& identity) noexcept : identity_(identity) {
        yielding loop;
        while (identity_.busy.exchange(1, std::memory_order_acquire) != 0) {
            if (patience::until().has_passed()) {
                return;
            }
            loop.yield();
        }
        locked_ = true;
    }

    // The same for a member that reports: ETIMEDOUT if the thread's patience is over before.
    identity_lock(local_identity& identity, std::error_code& ec) noexcept
        : identity_lock(identity) {
        if (!locked_) {
            fail_errno(ec, ETIMEDOUT,
                       "another thread waits for the heap's lock, whose holder "
                       "does not run");
        }
    }

    identity_lock(const identity_lock&) = delete;
    identity_lock& operator=(const identity_lock&) = delete;

    ~identity_lock() {
        if (locked_) {
            identity_.busy.store(0, std::memory_order_release);
        }
    }

  private:
    local_identity& identity_;
    bool locked_ = false;
};

// Takes one slot, if nobody has it: the kernel's lock first, then the word that says so.
[[gnu::cold]] inline bool take_slot(segment_header& header, std::uint32_t index,
                                    std::error_code& ec) noexcept {
    struct publishing {
        participant_slot& slot;
        local_identity& identity;
        std::uint32_t index;
        std::uint32_t spare;
    } context{process_table::of(header).slots[index], *local_of(header).identity, index,
              process_table::spare(header)};

    const auto publish = [](void* with, const liveness_token& token) noexcept {
        const auto& [slot, identity, number, spare] = *static_cast<publishing*>(with);
        std::uint64_t before = slot.state.load(std::memory_order_acquire);
        // A dead one's slot is free only when he has been recovered. The spare one has no journals.
        if ((before & attached_bit) != 0 && number != spare) {
            return false;
        }
        // Never 0, so that no owner's word is that of nobody.
        const auto last = static_cast<std::uint32_t>(before >> 32);
        const std::uint32_t generation = last == UINT32_MAX ? 1 : last + 1;
        struct ::timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        slot.pid.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
        slot.stamp.store(static_cast<std::uint32_t>(process_stamp() * 0x9e3779b97f4a7c15u >> 32),
                         std::memory_order_relaxed);
        slot.start_time.store(process_start_time(), std::memory_order_relaxed);
        slot.attached.store(static_cast<std::uint64_t>(now.tv_sec) * 1000000000u +
                                static_cast<std::uint64_t>(now.tv_nsec),
                            std::memory_order_relaxed);
        slot.token[0].store(token.words[0], std::memory_order_relaxed);
        slot.token[1].store(token.words[1], std::memory_order_relaxed);
        identity.me = make_owner(number, generation, 0);
        // Who recovers the last one of the spare slot may just free it, and claims of mechanisms
        // without liveness do not exclude each other.
        return slot.state.compare_exchange_strong(before, attached_state(generation),
                                                  std::memory_order_acq_rel);
    };

    const local_block& local = local_of(header);
    void* const page =
        local.calls->claim(local, index, context.slot.read_token(), publish, &context, ec);
    if (page != nullptr) {
        local.identity->page = page;
    }
    return page != nullptr;
}

// `tidy`: it has nothing there any more. If not, it is left as a process leaves it that dies.
[[gnu::cold]] inline void leave_slot(segment_header& header, bool tidy = true) noexcept {
    local_identity& identity = *local_of(header).identity;
    participant_slot& slot = process_table::of(header).slots[slot_of(identity.me)];
    if (tidy) {
        slot.state.store(detached_state(generation_of(identity.me)), std::memory_order_release);
    }
    unmap(identity.page, page_size()); // and with it goes the kernel's lock
    identity.page = nullptr;
    identity.me = nobody;
}

[[gnu::cold]] inline bool take_any_slot(segment_header& header, std::error_code& ec) noexcept {
    for (std::uint32_t index = 0; index < process_table::spare(header) && !ec; ++index) {
        const std::uint64_t state =
            process_table::of(header).slots[index].state.load(std::memory_order_acquire);
        if ((state & attached_bit) == 0 && take_slot(header, index, ec)) {
            return true;
        }
    }
    return false;
}

// Makes this mapping a participant. The caller has the identity's lock. *Errors*:
// errc::locks_unsupported, too_many_participants. If the process is killed in it, it was no
// participant, or one that is dead.
[[gnu::cold, gnu::noinline]] inline void attach(segment_header& header,
                                                std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_relaxed) != 0) {
        return;
    }
    // Nobody is kept out by the dead, if a process that is stopped has the lock of the heap: they
    // are recovered later, by whoever finds something of theirs in the way.
    const patience limit(deadline::in(10 * patience::brief));
    register_membarrier();
    bool taken = take_any_slot(header, ec);
    // All are taken, some perhaps by dead ones: the spare slot is for looking after that.
    for (int attempt = 0; !taken && !ec && attempt < 100; ++attempt) {
        if (take_slot(header, process_table::spare(header), ec)) {
            static_cast<void>(recover_all(header, identity.me));
            leave_slot(header);
            attempt = 99;
        } else if (!ec) {
            const std::atomic<std::uint32_t> never{0};
            futex_wait(never, 0, deadline::in(1000000)); // somebody else is just doing that
        }
        taken = !ec && take_any_slot(header, ec);
    }
    if (!taken && !ec) {
        fail(ec, errc::too_many_participants, "all %u slots are taken by living processes",
             process_table::spare(header));
    }
    // Who has opened the segment is a user of its session already, a forked child is not yet.
    if (!ec && header.life == static_cast<std::uint32_t>(lifetime::session) &&
        identity.attendance == nullptr) {
        identity.attendance = local_of(header).calls->attend(local_of(header), ec);
        if (ec) {
            leave_slot(header);
        }
    }
    if (ec) {
        return;
    }
    identity.epoch.store(static_cast<std::uint64_t>(deadline::now().nanoseconds) | 1,
                         std::memory_order_release);
    static_cast<void>(recover_all(header, identity.me));
}

// Not so in a forked child, until it uses what it has inherited.
[[nodiscard]] inline bool is_participant(const segment_header& header) noexcept {
    return local_of(header).identity->epoch.load(std::memory_order_acquire) != 0;
}

// This mapping as a participant; it becomes one if it is none, as in a forked child. `nobody` after
// an error.
[[nodiscard]] inline owner_word participant_of(segment_header& header,
                                               std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) [[unlikely]] {
        const identity_lock lock(identity, ec);
        if (!ec) {
            attach(header, ec);
        } else if (identity.epoch.load(std::memory_order_acquire) != 0) {
            ec.clear(); // the other thread has attached, and waits for more than that
        }
        if (ec) {
            return nobody;
        }
    }
    return identity.me;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
