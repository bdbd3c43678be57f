// Definitions for message_store.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_MESSAGE_STORE_IPP
#define COHOLD_CONTAINER_DETAIL_MESSAGE_STORE_IPP

#include <cohold/container/detail/message_store.hpp>

#include <bit>
#include <cerrno>
#include <cstring>

#include <cohold/container/detail/undo.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A kill cuts the program between two instructions, so what must stay in order is only what the
// compiler would reorder.
inline void next_step() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

[[nodiscard]] inline std::uint64_t block_word(owner_word owner, message_state state) noexcept {
    constexpr std::uint64_t process = ~std::uint64_t{0xfffff};
    return (owner & process) | static_cast<std::uint32_t>(state);
}

[[nodiscard]] inline message_state state_of(std::uint64_t word) noexcept {
    return static_cast<message_state>(word & 0xfffffu);
}

[[nodiscard]] inline message_state state_of(const message_block& block) noexcept {
    return state_of(block.word.load(std::memory_order_acquire));
}

[[nodiscard]] inline owner_word owner_of(std::uint64_t word) noexcept {
    return word & ~std::uint64_t{0xfffff};
}

class message_store::side {
  public:
    // Attempts that must not wait give a running holder this long, in ns.
    static constexpr std::int64_t brief = 100000;

    side(robust_lock& lock, segment_header& header, owner_word me, deadline until) noexcept
        : lock_(lock) {
        if (!lock.try_lock(me)) [[unlikely]] {
            how_ = lock.lock_slowly(
                me, until.nanoseconds == at_once.nanoseconds ? deadline::in(brief) : until,
                [&header](owner_word holder) noexcept { return !is_alive(header, holder); });
        }
    }

    side(const side&) = delete;
    side& operator=(const side&) = delete;

    ~side() {
        if (how_ != lock_result::timed_out) {
            lock_.unlock();
        }
    }

    explicit operator bool() const noexcept { return how_ != lock_result::timed_out; }

    [[nodiscard]] bool is_from_dead() const noexcept { return how_ == lock_result::taken_over; }

  private:
    robust_lock& lock_;
    lock_result how_ = lock_result::locked;
};

// Asks about each process once, if its messages lie one after the other.
class message_store::verdicts {
  public:
    explicit verdicts(segment_header& header) noexcept : header_(header) {}

    [[nodiscard]] bool is_dead(owner_word owner) noexcept {
        if (owner != asked_) {
            asked_ = owner;
            dead_ = !is_alive(header_, owner);
        }
        return dead_;
    }

    [[nodiscard]] bool is_other(owner_word owner) const noexcept {
        return !is_this_process(header_, owner);
    }

  private:
    segment_header& header_;
    owner_word asked_ = nobody;
    bool dead_ = true;
};

// ---- making and destroying

COHOLD_INLINE message_store::message_store(std::uint64_t capacity,
                                           const shm_allocator<message_block>& allocator)
    : allocator_(allocator) {
    if (capacity == 0 || capacity > most_bytes - 4 * unit) {
        const error_context context("construct", "shm_message_queue", "");
        raise(errc::invalid_size, "bytes of room: expected 1 to %llu, found %lld",
              static_cast<unsigned long long>(most_bytes - 4 * unit),
              static_cast<long long>(capacity));
    }
    units_ = first_place + static_cast<std::uint32_t>(units_for(capacity));
    inbox_ = std::bit_ceil((units_ - first_place) / least_units + 1);
    inbox_ = inbox_ < 16 ? 16 : inbox_; // so that the first block begins with a cache line
    const std::uint64_t count = inbox_units() + units_;
    if (count > allocator_.max_size()) {
        const error_context context("construct", "shm_message_queue", "");
        raise(errc::invalid_size, "%llu bytes of room are too many for this program",
              static_cast<unsigned long long>(capacity));
    }
    memory_ = shm_allocator<message_line>(allocator_)
                  .allocate(static_cast<std::size_t>((count + 1) / 2))
                  ->blocks;
    message_block& all = at(first_place);
    all.units.store(units_ - first_place, std::memory_order_relaxed);
    all.word.store(block_word(nobody, message_state::free), std::memory_order_relaxed);
    capacity_ = capacity;
}

COHOLD_INLINE message_store::~message_store() {
    native_events::end(this, sizeof *this);
    if (capacity_ == 0) {
        return; // destroyed already, by a process that was killed afterwards
    }
    const report_keeper keeper;
    undo_scope<shm_allocator<message_block>> section(allocator_, without_journal::happens);
    section.words(this, this, offsetof(message_store, producers_));
    deallocate(header(), memory_.get());
    memory_ = nullptr;
    capacity_ = 0;
    units_ = 0;
    closed_.store(1, std::memory_order_relaxed);
    keep_stores_of(this);
}

// ---- both sides

COHOLD_INLINE std::uint32_t message_store::units_of(std::uint32_t place) const noexcept {
    const std::uint32_t units = at(place).units.load(std::memory_order_relaxed);
    return units >= least_units && units <= units_ - place ? units : 0;
}

COHOLD_INLINE owner_word message_store::enter(std::error_code& ec) const noexcept {
    if (allocator_.header() == nullptr) [[unlikely]] {
        fail(ec, errc::no_segment, "a shm_message_queue must be in a segment");
        return nobody;
    }
    return participant_of(header(), ec);
}

COHOLD_INLINE bool message_store::is_mine(const message_place& place) const noexcept {
    return is_participant(header()) && is_this_process(header(), place.owner);
}

COHOLD_INLINE bool message_store::is_empty() const noexcept {
    return queued_.load(std::memory_order_relaxed) == 0 &&
           head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
}

COHOLD_INLINE std::uint64_t message_store::size() const noexcept {
    const std::uint64_t released = released_.load(std::memory_order_acquire);
    return tail_.load(std::memory_order_acquire) - released;
}

COHOLD_INLINE void message_store::close() noexcept {
    closed_.store(1, std::memory_order_seq_cst);
    items_.wake_all();
    spaces_.wake_all();
}

// ---- producers

COHOLD_INLINE outcome message_store::claim(std::uint64_t length, std::uint32_t priority,
                                           bool thorough, deadline until, message_place& claimed,
                                           std::error_code& ec) noexcept {
    const owner_word me = enter(ec);
    if (ec) [[unlikely]] {
        return outcome::closed;
    }
    const side lock(producers_, header(), me, until);
    return lock ? allocate(length, priority, thorough, me, claimed, ec) : outcome::held;
}

COHOLD_INLINE outcome message_store::push(const void* bytes, std::uint64_t length,
                                          std::uint32_t priority, bool thorough, deadline until,
                                          std::error_code& ec) noexcept {
    message_place claimed;
    outcome what = outcome::done;
    if (length <= copied_at_once) {
        const owner_word me = enter(ec);
        if (ec) [[unlikely]] {
            return outcome::closed;
        }
        const side lock(producers_, header(), me, until);
        what = lock ? allocate(length, priority, thorough, me, claimed, ec) : outcome::held;
        if (what == outcome::done) {
            if (length != 0) { // no bytes may be at nullptr
                std::memcpy(claimed.bytes, bytes, static_cast<std::size_t>(length));
            }
            pass_on(claimed.place);
        }
        return what;
    }
    what = claim(length, priority, thorough, until, claimed, ec);
    if (what == outcome::done) {
        std::memcpy(claimed.bytes, bytes, static_cast<std::size_t>(length));
        what = commit(claimed, claimed.length, until, ec);
        if (what == outcome::held || ec) {
            abandon(claimed);
        }
    }
    return what;
}

COHOLD_INLINE outcome message_store::commit(const message_place& claimed, std::uint32_t length,
                                            deadline until, std::error_code& ec) noexcept {
    if (!is_mine(claimed)) {
        fail(ec, errc::not_owner, "the claim belongs to the parent process");
        return outcome::closed;
    }
    const owner_word me = enter(ec);
    const side lock(producers_, header(), me, until);
    if (!lock) {
        return outcome::held;
    }
    message_block& block = at(claimed.place);
    if (is_closed()) {
        block.word.store(block_word(nobody, message_state::free), std::memory_order_release);
        return outcome::closed;
    }
    block.length = length;
    next_step();
    pass_on(claimed.place);
    return outcome::done;
}

COHOLD_INLINE void message_store::abandon(const message_place& claimed) noexcept {
    if (is_mine(claimed)) {
        at(claimed.place)
            .word.store(block_word(nobody, message_state::free), std::memory_order_release);
        if (spaces_.awaited()) {
            spaces_.wake_all();
        }
    }
}

COHOLD_INLINE outcome message_store::allocate(std::uint64_t length, std::uint32_t priority,
                                              bool thorough, owner_word me, message_place& claimed,
                                              std::error_code& ec) noexcept {
    if (length > capacity_ || length > longest || priority >= priorities) [[unlikely]] {
        const error_context context("push", "shm_message_queue", "");
        if (priority >= priorities) {
            fail_errno(ec, EINVAL, "priority %u is not between 0 and %u", priority, priorities - 1);
        } else {
            fail(ec, errc::invalid_size, "a message of %llu bytes in a queue with room for %llu",
                 static_cast<unsigned long long>(length),
                 static_cast<unsigned long long>(capacity_));
        }
        return outcome::closed;
    }
    if (is_closed()) {
        return outcome::closed;
    }
    const auto want = static_cast<std::uint32_t>(units_for(length));
    // No room was found for that many. A thread that waits does not ask what has been
    // released since: it would take the lines of a consumer at work.
    const bool noted = want >= full_units_;
    if (noted && thorough && released_.load(std::memory_order_acquire) == full_at_) {
        return outcome::blocked;
    }
    std::uint32_t place = find_room(want, thorough ? blocks_at_hand : 1);
    if (place == 0) [[unlikely]] {
        if (!thorough) {
            return outcome::blocked;
        }
        const std::uint64_t seen = released_.load(std::memory_order_acquire);
        bool others = false;
        bool unknown = false;
        if (return_released(me)) {
            place = find_room(want, blocks_at_hand);
            if (place == 0) {
                place = find_room(want, units_);
            }
            if (place == 0) {
                free_dead_claims(others, unknown);
                place = find_room(want, units_); // also what was given up before it was looked at
            }
        } else {
            place = find_room(want, units_);
            others = unknown = true;
        }
        if (place == 0) {
            if (!unknown) {
                full_units_ = 0xffffffffu;
                next_step();
                full_at_ = seen;
                next_step();
                full_units_ = want;
            }
            return others ? outcome::held : outcome::blocked;
        }
    }
    if (noted) {
        full_units_ = 0xffffffffu;
    }
    message_block& block = at(place);
    block.length = static_cast<std::uint32_t>(length);
    block.priority = priority;
    block.attempts = 0;
    next_step();
    block.word.store(block_word(me, message_state::claimed), std::memory_order_release);
    claimed = {place, block.length, priority,
               0,     owner_of(me), reinterpret_cast<std::byte*>(std::addressof(block) + 1)};
    return outcome::done;
}

COHOLD_INLINE std::uint32_t message_store::find_room(std::uint32_t want,
                                                     std::uint32_t most) noexcept {
    if (units_ <= first_place) {
        return 0;
    }
    const std::uint32_t start = is_place(rover_) ? rover_ : first_place;
    std::uint32_t place = start;
    for (bool wrapped = false; most != 0;) {
        message_block& block = at(place);
        std::uint32_t units = units_of(place);
        if (units == 0) {
            return 0;
        }
        if (state_of(block) == message_state::free) {
            while (units < want && place + units < units_ &&
                   state_of(at(place + units)) == message_state::free) {
                const std::uint32_t more = units_of(place + units);
                if (more == 0) {
                    return 0;
                }
                units += more;
                if (rover_ > place && rover_ - place < units) {
                    rover_ = place; // there is no block in the middle of one
                    next_step();
                }
                block.units.store(units, std::memory_order_relaxed);
                next_step();
            }
            if (units >= want) {
                const std::uint32_t rest = units - want;
                if (rest >= least_units) {
                    prefetch_room(place + want, want, rest);
                    at(place + want).units.store(rest, std::memory_order_relaxed);
                    at(place + want)
                        .word.store(block_word(nobody, message_state::free),
                                    std::memory_order_relaxed);
                    next_step();
                    units = want;
                    block.units.store(want, std::memory_order_relaxed);
                    next_step();
                }
                rover_ = place + units < units_ ? place + units : first_place;
                return place;
            }
        } else {
            --most;
        }
        place += units;
        if (place >= units_) {
            if (wrapped) {
                return 0;
            }
            wrapped = true;
            place = first_place;
        }
        if (wrapped && place >= start) {
            return 0;
        }
    }
    return 0;
}

// The bytes of messages that come soon, if they will be as long as this one. All that is asked for
// is free, so no consumer needs it.
COHOLD_INLINE void message_store::prefetch_room(std::uint32_t place, std::uint32_t units,
                                                std::uint32_t rest) const noexcept {
    constexpr std::uint32_t ahead = 512 / unit;
    constexpr std::uint32_t most = 2048 / unit; // longer ones the processor sees by itself
    if (units <= most && rest >= ahead + units) {
        for (std::uint32_t each = 0; each < units; each += 2) {
            prefetch_to_write(std::addressof(at(place + ahead + each)));
        }
    }
}

[[gnu::noinline]] COHOLD_INLINE bool message_store::return_released(owner_word me) noexcept {
    const side lock(consumers_, header(), me, at_once);
    if (!lock) {
        return false;
    }
    if (lock.is_from_dead()) {
        repair(me);
    }
    list_inbox(); // what has been passed on is no claim: its state says so when it is listed
    give_back(me);
    return true;
}

[[gnu::noinline]] COHOLD_INLINE void message_store::free_dead_claims(bool& others,
                                                                     bool& unknown) noexcept {
    verdicts known(header());
    std::uint32_t units = 0;
    for (std::uint32_t place = first_place; is_place(place) && (units = units_of(place)) != 0;
         place += units) {
        std::uint64_t word = at(place).word.load(std::memory_order_acquire);
        if (state_of(word) != message_state::claimed) {
            continue;
        }
        // What a dead consumer was giving back is for the next one that locks.
        if (!known.is_dead(owner_of(word)) ||
            static_cast<std::uint32_t>(returned_.load(std::memory_order_relaxed)) == place ||
            !at(place).word.compare_exchange_strong(word, block_word(nobody, message_state::free),
                                                    std::memory_order_acq_rel)) {
            unknown = true; // what is given up later does not count as released
            others = others || known.is_other(owner_of(word));
        }
    }
}

COHOLD_INLINE void message_store::pass_on(std::uint32_t place) noexcept {
    const std::uint32_t used = used_.load(std::memory_order_relaxed);
    const std::uint32_t bit = std::uint32_t{1} << at(place).priority % priorities;
    if ((used & bit) == 0) [[unlikely]] {
        used_.store(used | bit, std::memory_order_relaxed); // seen by those who see the tail
    }
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    inbox()[tail & (inbox_ - 1)] = place;
    next_step();
    tail_.store(tail + 1, std::memory_order_release);
    next_step();
}

// ---- consumers

COHOLD_INLINE outcome message_store::take(bool thorough, deadline until, message_place& taken,
                                          std::error_code& ec) noexcept {
    // By the size: a repair that was cut may have left lists without bits.
    if (is_empty() && !is_closed() &&
        (!thorough || (listed_.load(std::memory_order_relaxed) == 0 && size() == 0))) {
        return outcome::blocked;
    }
    const owner_word me = enter(ec);
    if (ec) [[unlikely]] {
        return outcome::closed;
    }
    bool others = false;
    std::uint64_t head = 0;
    {
        const side lock(consumers_, header(), me, until);
        if (!lock) {
            return outcome::held;
        }
        if (lock.is_from_dead()) [[unlikely]] {
            repair(me);
        }
        // While all have one priority, the next one is in the list.
        const std::uint32_t used = used_.load(std::memory_order_acquire);
        if (queued_.load(std::memory_order_relaxed) == 0 || (used & (used - 1)) != 0) {
            list_inbox();
        }
        if (listed_.load(std::memory_order_relaxed) != 0 &&
            (queued_.load(std::memory_order_relaxed) == 0 || ++pops_ >= pops_between_probes)) {
            pops_ = 0;
            put_back(others);
        }
        if (const std::uint32_t queued = queued_.load(std::memory_order_relaxed); queued != 0) {
            const auto priority = static_cast<std::uint32_t>(std::bit_width(queued)) - 1;
            list& mine = lists_[priority];
            const std::uint32_t place = mine.cursor;
            if (!is_place(place) || state_of(at(place)) != message_state::queued ||
                units_of(place) == 0 || at(place).length > (units_of(place) - 1) * unit)
                [[unlikely]] {
                const error_context context("pop", "shm_message_queue", "");
                fail(ec, errc::corrupt, "the message at place %u", place);
                return outcome::closed;
            }
            message_block& block = at(place);
            ++block.attempts;
            next_step();
            block.word.store(block_word(me, message_state::held), std::memory_order_release);
            next_step();
            std::uint32_t next = block.next;
            if (mine.reach == place) {
                mine.reach = next;
            }
            for (std::uint32_t most = units_;
                 is_place(next) && most != 0 && state_of(at(next)) == message_state::held; --most) {
                next = at(next).next;
            }
            mine.cursor = next;
            if (is_place(next)) {
                for (std::uint32_t line = 0; line < 4; ++line) { // addresses are not checked
                    __builtin_prefetch(
                        reinterpret_cast<const std::byte*>(std::addressof(at(next))) + line * 64);
                }
            }
            note_list(priority);
            taken = {place,        block.length,
                     priority,     block.attempts,
                     owner_of(me), reinterpret_cast<std::byte*>(std::addressof(block) + 1)};
            return outcome::done;
        }
        head = head_.load(std::memory_order_relaxed);
    }
    if (!is_closed() || others) {
        return outcome::blocked;
    }
    {
        const side lock(producers_, header(), me, until);
        if (!lock) {
            return outcome::held;
        }
    }
    // Every push that did not see that the queue is closed has come to its end now.
    return tail_.load(std::memory_order_acquire) == head ? outcome::closed
                                                         : take(thorough, until, taken, ec);
}

COHOLD_INLINE bool message_store::is_ready(bool thorough) noexcept {
    if (!is_empty()) {
        return true;
    }
    bool others = size() != 0;
    if (others && thorough) { // consumers hold them, which may be dead
        const report_keeper keeper;
        std::error_code ec;
        const owner_word me = enter(ec);
        if (ec) {
            return true; // the consumer gets the error
        }
        const side lock(consumers_, header(), me, at_once);
        if (lock) {
            if (lock.is_from_dead()) {
                repair(me);
            }
            list_inbox();
            others = false;
            put_back(others);
        }
    }
    return !is_empty() || (is_closed() && !others);
}

COHOLD_INLINE void message_store::release(const message_place& taken) noexcept {
    if (!is_mine(taken)) {
        return;
    }
    {
        std::error_code ec;
        const owner_word me = enter(ec); // cannot fail for a participant
        const side lock(consumers_, header(), me, deadline::never());
        if (lock.is_from_dead()) [[unlikely]] {
            repair(me);
        }
        message_block& block = at(taken.place);
        if (block.word.load(std::memory_order_relaxed) !=
            block_word(taken.owner, message_state::held)) [[unlikely]] {
            return; // the bytes are damaged
        }
        removing_.store(taken.place, std::memory_order_relaxed);
        next_step();
        // First: once no list tells of the message, nobody has a reason to lock, and to repair.
        released_.store(released_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        next_step();
        remove(taken.place, me);
        if (returned_.load(std::memory_order_relaxed) >> 32 >= units_ / 8 || spaces_.awaited()) {
            give_back(me);
        }
    }
    if (spaces_.awaited()) {
        spaces_.wake_all();
    }
    if (is_closed() && items_.awaited()) {
        items_.wake_all(); // they wait for the last messages that others hold
    }
}

COHOLD_INLINE void message_store::list_inbox() noexcept {
    const std::uint64_t tail = tail_.load(std::memory_order_acquire);
    std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (tail - head > inbox_) [[unlikely]] {
        return; // the bytes are damaged
    }
    while (head != tail) {
        const std::uint32_t place = inbox()[head & (inbox_ - 1)];
        if (is_place(place) && units_of(place) != 0) [[likely]] {
            append(place);
        }
        next_step();
        head_.store(++head, std::memory_order_relaxed);
        next_step();
    }
}

COHOLD_INLINE void message_store::append(std::uint32_t place) noexcept {
    message_block& block = at(place);
    const std::uint32_t priority = block.priority % priorities;
    list& mine = lists_[priority];
    const bool first = !is_place(mine.first) || !is_place(mine.last);
    block.next = 0;
    block.previous = first ? 0 : mine.last;
    block.word.store(block_word(nobody, message_state::queued), std::memory_order_relaxed);
    next_step();
    (first ? mine.first : at(mine.last).next) = place;
    next_step();
    mine.last = place;
    mine.cursor = mine.cursor == 0 ? place : mine.cursor;
    mine.reach = mine.reach == 0 ? place : mine.reach;
    note_list(priority);
}

COHOLD_INLINE void message_store::remove(std::uint32_t place, owner_word me) noexcept {
    message_block& block = at(place);
    const std::uint32_t priority = block.priority % priorities;
    list& mine = lists_[priority];
    (is_place(block.previous) ? at(block.previous).next : mine.first) = block.next;
    (is_place(block.next) ? at(block.next).previous : mine.last) = block.previous;
    note_list(priority);
    next_step();
    block.word.store(block_word(nobody, message_state::returned), std::memory_order_relaxed);
    next_step();
    gather(place, me);
    next_step();
    removing_.store(0, std::memory_order_relaxed);
    next_step();
}

COHOLD_INLINE void message_store::gather(std::uint32_t place, owner_word me) noexcept {
    const auto run = [](std::uint64_t units, std::uint32_t first) { return units << 32 | first; };
    const std::uint64_t units = units_of(place);
    const std::uint64_t now = returned_.load(std::memory_order_relaxed);
    const auto first = static_cast<std::uint32_t>(now);
    const std::uint64_t gathered = now >> 32;
    if (place - first < gathered) [[unlikely]] {
        return; // this is a repetition
    }
    if (gathered != 0 && place - first == gathered) [[likely]] {
        returned_.store(run(gathered + units, first), std::memory_order_relaxed);
    } else {
        give_back(me);
        returned_.store(units == 0 ? 0 : run(units, place), std::memory_order_relaxed);
    }
}

// Can be repeated, until `returned_` is 0. That comes before the block is free: in one that is
// free, producers may write any bytes to where its word was. In between it is a claim, which they
// free if this process is killed.
COHOLD_INLINE void message_store::give_back(owner_word me) noexcept {
    const std::uint64_t run = returned_.load(std::memory_order_relaxed);
    const auto first = static_cast<std::uint32_t>(run);
    const auto units = static_cast<std::uint32_t>(run >> 32);
    if (units == 0) {
        return;
    }
    if (is_place(first) && units <= units_ - first) [[likely]] {
        at(first).units.store(units, std::memory_order_relaxed);
        next_step();
        at(first).word.store(block_word(me, message_state::claimed), std::memory_order_relaxed);
        next_step();
        returned_.store(0, std::memory_order_relaxed);
        next_step();
        at(first).word.store(block_word(nobody, message_state::free), std::memory_order_release);
    } else {
        returned_.store(0, std::memory_order_relaxed); // the bytes are damaged
    }
}

COHOLD_INLINE void message_store::note_list(std::uint32_t priority) noexcept {
    const std::uint32_t bit = std::uint32_t{1} << priority;
    const list& mine = lists_[priority];
    const auto note = [bit](std::atomic<std::uint32_t>& bits, bool set) noexcept {
        const std::uint32_t now = bits.load(std::memory_order_relaxed);
        if (((now & bit) != 0) != set) {
            bits.store(now ^ bit, std::memory_order_relaxed);
        }
    };
    note(listed_, mine.first != 0);
    note(queued_, mine.cursor != 0);
}

[[gnu::noinline]] COHOLD_INLINE void message_store::put_back(bool& others) noexcept {
    verdicts known(header());
    for (std::uint32_t bits = listed_.load(std::memory_order_relaxed); bits != 0;
         bits &= bits - 1) {
        const auto priority = static_cast<std::uint32_t>(std::countr_zero(bits));
        list& mine = lists_[priority];
        std::uint32_t most = units_; // so that it ends, whatever the bytes are
        bool before = true;          // the cursor
        for (std::uint32_t place = mine.first; is_place(place) && place != mine.reach && most != 0;
             --most) {
            message_block& block = at(place);
            before = before && place != mine.cursor;
            const std::uint64_t word = block.word.load(std::memory_order_relaxed);
            if (state_of(block) == message_state::held) {
                if (known.is_dead(owner_of(word))) {
                    block.word.store(block_word(nobody, message_state::queued),
                                     std::memory_order_relaxed);
                    next_step();
                    if (before) {
                        mine.cursor = place;
                        before = false;
                    }
                } else {
                    others = others || known.is_other(owner_of(word));
                }
            }
            place = block.next;
        }
        note_list(priority);
    }
}

[[gnu::noinline]] COHOLD_INLINE void message_store::repair(owner_word me) noexcept {
    if (const std::uint32_t place = removing_.load(std::memory_order_relaxed); is_place(place)) {
        remove(place, me);
    }
    verdicts known(header());
    std::uint64_t count = 0;
    std::uint32_t most = units_;
    for (std::uint32_t priority = 0; priority < priorities; ++priority) {
        list& mine = lists_[priority];
        list found{mine.first, 0, mine.first, 0};
        for (std::uint32_t place = mine.first; is_place(place) && most != 0; --most) {
            message_block& block = at(place);
            block.previous = found.last;
            const std::uint64_t word = block.word.load(std::memory_order_relaxed);
            if (state_of(block) == message_state::held) {
                if (known.is_dead(owner_of(word))) {
                    block.word.store(block_word(nobody, message_state::queued),
                                     std::memory_order_relaxed);
                } else {
                    found.reach = block.next;
                }
            }
            if (found.cursor == 0 && state_of(block) == message_state::queued) {
                found.cursor = place;
            }
            found.last = place;
            ++count;
            place = block.next;
        }
        mine = found;
        note_list(priority);
    }
    // The next in the inbox may be listed already.
    std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head != tail_.load(std::memory_order_acquire)) {
        const std::uint32_t place = inbox()[head & (inbox_ - 1)];
        if (is_place(place) && lists_[at(place).priority % priorities].last == place) {
            head_.store(++head, std::memory_order_relaxed);
        }
    }
    next_step();
    released_.store(head - count, std::memory_order_release);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
