// All interleavings of two producers and two consumers of one small queue, with at most two
// preemptions and one kill: the library's own code, with a choice before each store to one of the
// queue's words, and after each atomic operation on one that both sides or several threads look at.
// Threads are fibers, each with a mapping of its own, and run one at a time; a schedule is a list
// of choices, and is repeated from the beginning up to where it differs from one before. Where a
// state is met again, it is not followed again.
//
//   model                   all queues with one preemption, and some with two
//   model --complete        all with two
//   model [--preemptions=N] [--operations=N] [--only=NAME]
//
// Memory is sequentially consistent here, so the barriers are not tested. The dead are recovered in
// one step: the other rigs stop within that.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "crash/scheduled.hpp"

#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "crash/lab.hpp"

namespace {

using crash::segment;

constexpr int fibers = 4; // the first two push, the others pop
constexpr int producers = 2;
constexpr std::uint32_t capacity = 2;
constexpr int most_attempts = 40;

int most_preemptions = 2;
int operations = 1;   // of each of them
std::int64_t now = 0; // of the clock that the library sees, in nanoseconds

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) noexcept {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15U;
    return hash ^ (hash >> 29);
}

// Small elements lie in lines, large ones densely.
using small = std::array<std::uint32_t, 4>;
using large = std::array<std::uint32_t, 8>;

template <class T>
T element_of(std::uint32_t number) {
    T made{};
    for (std::uint32_t i = 0; i < made.size(); ++i) {
        made[i] = number * 100 + i;
    }
    return made;
}

constexpr std::uint32_t broken = 0xffff;

template <class T>
std::uint32_t number_of(const T& element) {
    const std::uint32_t number = element[0] / 100;
    return element == element_of<T>(number) ? number : broken;
}

enum class status { ready, waiting, done, dead };

enum class result { done, blocked, held };

struct fiber {
    ucontext_t context{};
    std::unique_ptr<char[]> stack = std::make_unique<char[]>(stack_bytes);
    segment handle;
    std::uint32_t slot = 0;
    const char* base = nullptr;
    std::uint64_t cell = 0; // the offset of its word in a journal

    // Of a run.
    status is = status::ready;
    bool started = false;
    result last = result::done;
    std::uint64_t history = 0;    // of the attempt: determines its local variables
    std::uint64_t last_event = 0; // of the attempt
    std::uint64_t seen = 0;       // the shared words when it began to wait
    int attempts = 0;
    int retries = 0; // since the last progress of anybody
    int completed = 0;
    std::vector<std::uint32_t> got;
    std::int64_t clock = 0;

    static constexpr std::size_t stack_bytes = 256 * 1024;
};

struct pop_of {
    int who;
    std::size_t index;
};

using decisions = std::vector<std::uint8_t>;

template <class T>
class model final : crash::observer {
    using queue = cohold::shm_queue<T, cohold::concurrency::mpmc, cohold::waiting::block>;

  public:
    model(bool is_biased, std::uint32_t filled) : filled_(filled) {
        auto& made = place_.maker().template construct<queue>("queue", capacity);
        at_ = offset(place_.maker(), &made);
        ring_ = find_ring();
        if (is_biased) {
            bias_soon();
        }
        for (int i = 0; i < fibers; ++i) {
            fiber& each = all_[i];
            each.handle = place_.attach();
            each.base = reinterpret_cast<const char*>(&crash::header_of(each.handle));
            std::error_code ec;
            auto* const mine = cohold::detail::self(crash::header_of(each.handle), ec);
            crash::demand(mine != nullptr, "a journal");
            each.slot = cohold::detail::slot_of(mine->word());
            each.cell = offset(each.handle, &mine->log().queue_side);
            // Each is a process.
            table().slots[each.slot].stamp = static_cast<std::uint32_t>(1000 + i);
            pass(each.handle, 1);
        }
        // The first of each side has used it last, and is biased to it if anybody is.
        for (int i = 0; i < 3; ++i) {
            crash::demand(on(all_[0].handle).try_push(element_of<T>(99)), "a push");
            crash::demand(on(all_[producers].handle).try_pop().has_value(), "a pop");
        }
        if (is_biased) {
            bias_soon(); // again: it has become harder
        }
        for (std::uint32_t i = 0; i < filled; ++i) {
            crash::demand(
                on(all_[0].handle).try_push(element_of<T>(number(3, static_cast<int>(i)))),
                "a push");
        }
        bytes_.assign(place_.bytes(), place_.bytes() + place_.size());
        fates_ = place_.fates();
    }

    // Returns what is wrong, or "".
    std::string explore() {
        std::vector<decisions> left{{}};
        while (!left.empty()) {
            path_ = std::move(left.back());
            left.pop_back();
            fixed_ = path_.size();
            left_ = &left;
            if (std::string wrong = run(); !wrong.empty()) {
                return wrong + "\n    " + tell();
            }
        }
        return {};
    }

    std::uint64_t runs = 0;
    std::uint64_t ends = 0;
    std::uint64_t killed_runs = 0;

    [[nodiscard]] std::size_t states() const noexcept { return visited_.size(); }

  private:
    // ---- the queue's memory

    static std::uint64_t offset(const segment& in, const void* of) noexcept {
        return static_cast<std::uint64_t>(static_cast<const char*>(of) -
                                          reinterpret_cast<char*>(&crash::header_of(in)));
    }

    cohold::detail::participant_table& table() noexcept {
        return cohold::detail::participant_table::of(place_.header());
    }

    queue& on(const segment& handle) noexcept {
        return *reinterpret_cast<queue*>(reinterpret_cast<char*>(&crash::header_of(handle)) + at_);
    }

    void bias_soon() noexcept {
        for (const std::uint64_t needed :
             {std::uint64_t{124}, std::uint64_t{316}}) { // docs/layout.md
            const std::uint32_t one = 1;
            std::memcpy(place_.bytes() + at_ + needed, &one, sizeof one);
        }
    }

    void pass(const segment& handle, int times) {
        for (int i = 0; i < times; ++i) {
            crash::demand(on(handle).try_push(element_of<T>(98)), "a push");
            crash::demand(on(handle).try_pop().has_value(), "a pop");
        }
    }

    // Where the element of that number is: the line before it is where the ring begins.
    std::uint64_t find_ring() {
        crash::demand(on(place_.maker()).try_push(element_of<T>(77)), "a push");
        const T wanted = element_of<T>(77);
        std::uint64_t found = 0;
        for (std::uint64_t i = 0; i + sizeof wanted <= place_.size(); i += 8) {
            if (std::memcmp(place_.bytes() + i, &wanted, sizeof wanted) == 0) {
                found = i / 64 * 64;
            }
        }
        crash::demand(found != 0 && on(place_.maker()).try_pop().has_value(), "the ring");
        return found;
    }

    static constexpr std::uint64_t tail_word = 128; // docs/layout.md
    static constexpr std::uint64_t head_word = 192;
    static constexpr std::uint64_t words = 320;
    static constexpr std::uint64_t ring_bytes = 64;

    [[nodiscard]] bool is_watched(std::uint64_t at) const noexcept {
        if (at - at_ < words) {
            return at - at_ >= 40 || at - at_ == 20;
        }
        if (at - ring_ < ring_bytes) {
            return true;
        }
        return std::any_of(std::begin(all_), std::end(all_),
                           [at](const fiber& each) { return at == each.cell; });
    }

    [[nodiscard]] std::uint64_t hash_of_words() noexcept {
        std::uint64_t hash = 1;
        const auto add = [&](std::uint64_t at, std::uint64_t bytes) {
            for (std::uint64_t i = 0; i < bytes; i += 8) {
                std::uint64_t word = 0;
                std::memcpy(&word, place_.bytes() + at + i, sizeof word);
                hash = mixed(hash, word);
            }
        };
        add(at_, words);
        add(ring_, ring_bytes);
        for (const fiber& each : all_) {
            add(each.cell, 8);
            std::uint64_t state = 0;
            std::memcpy(&state, &table().slots[each.slot].state, sizeof state);
            hash = mixed(hash, state);
        }
        return hash;
    }

    // ---- a run

    std::string run() {
        ++runs;
        std::memcpy(place_.bytes(), bytes_.data(), bytes_.size());
        place_.fates() = fates_;
        now += 20'000'000'000;
        for (int i = 0; i < fibers; ++i) {
            fiber& each = all_[i];
            each.is = status::ready;
            each.started = false;
            each.last = result::done;
            each.history = each.last_event = each.seen = 0;
            each.attempts = each.retries = each.completed = 0;
            each.got.clear();
            each.clock = now;
        }
        made_ = 0;
        preemptions_ = 0;
        dead_ = -1;
        published_.clear();
        for (std::uint32_t i = 0; i < filled_; ++i) {
            published_.push_back(number(3, static_cast<int>(i)));
        }
        popped_.clear();
        wrong_.clear();
        cut_ = false;
        current_ = -1;
        next_ = -1;
        pick();
        while (next_ >= 0 && !cut_ && wrong_.empty()) {
            resume(next_);
        }
        if (cut_ || !wrong_.empty()) {
            return wrong_;
        }
        ++ends;
        killed_runs += dead_ >= 0 ? 1 : 0;
        return check();
    }

    void resume(int which) {
        fiber& it = all_[which];
        current_ = which;
        if (!it.started) {
            it.started = true;
            ::getcontext(&it.context);
            it.context.uc_stack.ss_sp = it.stack.get();
            it.context.uc_stack.ss_size = fiber::stack_bytes;
            it.context.uc_link = &outside_;
            running_ = this;
            ::makecontext(&it.context, &enter, 0);
        }
        it.is = status::ready;
        crash::observing = this;
        ::swapcontext(&outside_, &it.context);
        crash::observing = nullptr;
    }

    static void enter() { running_->act(); }

    void act() {
        fiber& me = all_[current_];
        const int index = current_;
        for (me.completed = 0; me.completed < operations;) {
            if (++me.attempts > most_attempts) {
                fail("it is tried again for ever");
            }
            me.history = mixed(0, static_cast<std::uint64_t>(me.completed));
            me.last_event = 0;
            forget_suspicions(me);
            me.last = index < producers ? push(me, index) : pop(me);
            me.history = 0;
            if (me.last == result::done) {
                ++me.completed;
                for (fiber& each : all_) {
                    each.retries = 0;
                }
            } else {
                me.is = status::waiting;
                me.seen = hash_of_words();
                pick();
                leave();
            }
        }
        me.is = status::done;
        pick();
        leave();
    }

    static std::uint32_t number(int producer, int index) noexcept {
        return static_cast<std::uint32_t>(producer * 10 + index + 1);
    }

    result push(fiber& me, int index) {
        std::error_code ec;
        if (on(me.handle).try_push(element_of<T>(number(index, me.completed)), ec)) {
            return result::done;
        }
        return ec == cohold::errc::full ? result::blocked : held(ec);
    }

    result pop(fiber& me) {
        std::error_code ec;
        const std::optional<T> found = on(me.handle).try_pop(ec);
        if (found) {
            me.got.push_back(number_of(*found));
            return result::done;
        }
        return ec == cohold::errc::empty ? result::blocked : held(ec);
    }

    result held(const std::error_code& ec) {
        if (ec != cohold::errc::busy) {
            fail("an error: " + ec.message());
        }
        return result::held;
    }

    // So that it is due at once to ask whether another is alive.
    void forget_suspicions(fiber& me) {
        crash::observer* const before = std::exchange(crash::observing, nullptr);
        for (const fiber& each : all_) {
            me.clock = std::max(me.clock, each.clock);
        }
        me.clock += 10'000'000;
        for (const std::uint64_t side : {std::uint64_t{88}, std::uint64_t{280}}) {
            static_cast<void>(cohold::detail::suspicion::is_due(me.base + at_ + side, 1));
        }
        me.clock += 1'500'000;
        crash::observing = before;
    }

    // ---- choices

    void leave() {
        crash::observing = nullptr;
        ::swapcontext(&all_[current_].context, &outside_);
    }

    // A choice: to go on, to die, or which fiber comes next.
    static constexpr std::uint8_t go_on = fibers;
    static constexpr std::uint8_t kill = fibers + 1;

    struct options {
        std::uint8_t all[fibers + 2]{};
        int count = 0;

        void add(int choice) noexcept { all[count++] = static_cast<std::uint8_t>(choice); }
    };

    // The first of these, or the one that the path demands; -1 if the state is known.
    int choose(const options& from, std::uint64_t kind) {
        if (made_ < fixed_) {
            return path_[made_++];
        }
        const std::uint64_t words_now = hash_of_words();
        std::uint64_t key = mixed(words_now, kind);
        key = mixed(key, static_cast<std::uint64_t>(current_ + 1));
        key = mixed(key, static_cast<std::uint64_t>(dead_ + 1));
        for (const fiber& each : all_) {
            key = mixed(key, static_cast<std::uint64_t>(each.is) * 4 +
                                 static_cast<std::uint64_t>(each.last));
            key = mixed(key, each.history);
            key = mixed(key, each.is == status::waiting && each.seen != words_now ? 1 : 0);
            key = mixed(key, static_cast<std::uint64_t>(each.retries * 8 + each.completed));
            for (const std::uint32_t number : each.got) {
                key = mixed(key, number);
            }
        }
        for (const std::uint32_t each : published_) {
            key = mixed(key, each);
        }
        for (const pop_of& each : popped_) {
            key = mixed(key, static_cast<std::uint64_t>(each.who));
        }
        const auto used = static_cast<std::uint8_t>(preemptions_);
        const auto [known, is_new] = visited_.try_emplace(key, used);
        if (!is_new) {
            if (known->second <= used) {
                cut_ = true;
                return -1;
            }
            known->second = used;
        }
        for (int other = from.count - 1; other > 0; --other) {
            decisions then(path_.begin(), path_.begin() + static_cast<std::ptrdiff_t>(made_));
            then.push_back(from.all[other]);
            left_->push_back(std::move(then));
        }
        path_.push_back(from.all[0]);
        ++made_;
        return from.all[0];
    }

    [[nodiscard]] bool may_go_on(int which, std::uint64_t words_now) const noexcept {
        const fiber& it = all_[which];
        return it.is == status::ready || (it.is == status::waiting && it.seen != words_now);
    }

    // Who comes next, when the current one cannot go on: next_, -1 if nobody can.
    void pick() {
        const std::uint64_t words_now = hash_of_words();
        options who;
        for (int i = 0; i < fibers; ++i) {
            if (may_go_on(i, words_now)) {
                who.add(i);
            }
        }
        if (who.count == 0) { // perhaps what changed did so while they were looking
            for (int i = 0; i < fibers; ++i) {
                if (all_[i].is == status::waiting && all_[i].retries < 2) {
                    ++all_[i].retries;
                    next_ = i;
                    return;
                }
            }
            next_ = -1;
            return;
        }
        next_ = who.count == 1 ? who.all[0] : choose(who, 1);
    }

    void point() {
        if (preemptions_ == most_preemptions && dead_ >= 0) {
            return;
        }
        options from;
        if (made_ >= fixed_) {
            from.add(go_on);
            if (preemptions_ < most_preemptions) {
                const std::uint64_t words_now = hash_of_words();
                for (int i = 0; i < fibers; ++i) {
                    if (i != current_ && may_go_on(i, words_now)) {
                        from.add(i);
                    }
                }
            }
            if (dead_ < 0) {
                from.add(kill);
            }
        }
        const int chosen = choose(from, 2);
        if (chosen == go_on) {
            return;
        }
        const int me = current_;
        if (chosen == kill) {
            die(me);
            pick();
        } else {
            preemptions_ += chosen >= 0 ? 1 : 0;
            next_ = chosen;
        }
        leave();
    }

    void die(int which) {
        dead_ = which;
        all_[which].is = status::dead;
        all_[which].history = 0;
        place_.kill(all_[which].slot, static_cast<std::uint32_t>(1000 + which));
    }

    // ---- what the library does

    void before(const volatile void* address, bool stores) override {
        const std::uint64_t at = offset_of(address);
        if (at == nowhere) {
            // Another that is asked about may be dead from now on, wherever it was stopped.
            for (int i = 0; dead_ < 0 && i < fibers; ++i) {
                if (i != current_ && address == &place_.fates().fates[all_[i].slot]) {
                    silently([&] {
                        options from;
                        from.add(go_on);
                        from.add(kill);
                        if (choose(from, 3) == kill) {
                            die(i);
                        }
                    });
                    if (cut_) {
                        leave();
                    }
                    fiber& me = all_[current_];
                    me.history = mixed(me.history, dead_ == i ? 5 : 6);
                    return;
                }
            }
            return;
        }
        if (stores) {
            fiber& me = all_[current_];
            me.history = mixed(me.history, 3);
            silently([this] { point(); });
        }
    }

    void after(const volatile void* address, bool stores, std::uint64_t value) override {
        const std::uint64_t at = offset_of(address);
        if (at == nowhere) {
            return;
        }
        fiber& me = all_[current_];
        const std::uint64_t event = mixed(mixed(at, value), stores ? 1 : 0);
        const bool again = !stores && event == me.last_event;
        // What an attempt has seen before it came in, or before it pushed or popped, does not
        // matter after that.
        const bool came_in =
            stores && (at == at_ + 88 || at == at_ + 280) && value == 0 && word_at(at) != 0;
        me.history = mixed(came_in || is_commit(at, stores) ? 7 : me.history, event);
        me.last_event = event;
        if (stores) {
            if (at == at_ + head_word) {
                popped_.push_back({current_, me.got.size()});
            } else if (at == at_ + tail_word || at == ring_) {
                published_.push_back(number(current_, me.completed));
            }
        }
        if (!again && is_followed_by_others(at - at_)) {
            silently([this] { point(); });
        }
    }

    // After an operation on one of these words, plain memory is written or read, or what others do
    // depends on it. Elsewhere, the choice before the next operation is enough.
    [[nodiscard]] static bool is_followed_by_others(std::uint64_t word) noexcept {
        constexpr std::uint64_t own[] = {20, 72, 80, 264, 272}; // known by one side only
        return std::find(std::begin(own), std::end(own), word) == std::end(own);
    }

    [[nodiscard]] bool is_commit(std::uint64_t at, bool stores) const noexcept {
        return stores && (at == at_ + head_word || at == at_ + tail_word || at == ring_);
    }

    [[nodiscard]] std::uint64_t word_at(std::uint64_t at) noexcept {
        std::uint64_t word = 0;
        std::memcpy(&word, place_.bytes() + at, sizeof word);
        return word;
    }

    template <class Act>
    void silently(const Act& act) {
        crash::observing = nullptr;
        act();
        crash::observing = this;
    }

    static constexpr std::uint64_t nowhere = ~std::uint64_t{0};

    [[nodiscard]] std::uint64_t offset_of(const volatile void* address) const noexcept {
        const auto at = static_cast<std::uint64_t>(reinterpret_cast<const volatile char*>(address) -
                                                   all_[current_].base);
        return at < bytes_.size() && is_watched(at) ? at : nowhere;
    }

    // ---- the end

    void fail(std::string what) {
        wrong_ = std::move(what);
        leave();
    }

    std::string check() {
        current_ = -1;
        for (const fiber& each : all_) {
            now = std::max(now, each.clock);
        }
        now += 10'000'000;
        std::vector<std::uint32_t> rest;
        queue& q = on(place_.maker());
        int vain = 0;
        for (;;) {
            std::error_code ec;
            now += 1'500'000;
            const std::optional<T> found = q.try_pop(ec);
            if (found) {
                rest.push_back(number_of(*found));
            } else if (ec == cohold::errc::empty) {
                break;
            } else if (++vain == 20) {
                return "the consumers' side is held by nobody";
            }
        }
        for (int i = 0; i < fibers; ++i) {
            const fiber& each = all_[i];
            if (each.is != status::waiting) {
                continue;
            }
            if (each.last == result::held) {
                return "one waits for ever for the side";
            }
            if (i < producers ? rest.size() != capacity : !rest.empty()) {
                return i < producers ? "a producer waits although there is room"
                                     : "a consumer waits although there is an element";
            }
        }
        if (std::string wrong = check_elements(rest); !wrong.empty()) {
            return wrong;
        }
        for (std::uint32_t i = 0; i <= capacity;) {
            std::error_code ec;
            now += 1'500'000;
            const bool pushed = q.try_push(element_of<T>(i + 50), ec);
            if (ec == cohold::errc::busy) {
                if (++vain == 40) {
                    return "the producers' side is held by nobody";
                }
                continue;
            }
            if (pushed != (i < capacity)) {
                return "there is not as much room as before";
            }
            ++i;
        }
        for (std::uint32_t i = 0; i < capacity; ++i) {
            std::optional<T> found;
            std::error_code ec = cohold::errc::busy;
            while (ec == cohold::errc::busy && ++vain != 60) {
                now += 1'500'000;
                found = q.try_pop(ec);
            }
            if (!found || number_of(*found) != i + 50) {
                return "what is pushed then does not come out";
            }
        }
        return {};
    }

    std::string check_elements(const std::vector<std::uint32_t>& rest) const {
        std::array<std::size_t, fibers> returned{};
        std::array<int, fibers> pushed{};
        std::size_t next = 0;
        for (const pop_of& each : popped_) {
            const fiber& by = all_[each.who];
            const std::size_t index = returned[static_cast<std::size_t>(each.who)]++;
            if (next == published_.size()) {
                return "more is popped than was pushed";
            }
            const std::uint32_t expected = published_[next++];
            if (index >= by.got.size()) {
                if (by.is != status::dead || index > by.got.size()) {
                    return "an element is lost";
                }
            } else if (by.got[index] != expected) {
                return "an element is popped out of order, twice, or half";
            }
        }
        for (const std::uint32_t each : rest) {
            if (next == published_.size() || published_[next++] != each) {
                return "an element is left out of order, twice, or half";
            }
        }
        if (next != published_.size()) {
            return "a pushed element is gone";
        }
        for (const std::uint32_t each : published_) {
            ++pushed[each / 10];
        }
        for (std::size_t i = 0; i < fibers; ++i) {
            const int least = all_[i].completed;
            const int found = i < producers ? pushed[i] : static_cast<int>(returned[i]);
            if (found < least || found > least + (all_[i].is == status::dead ? 1 : 0)) {
                return "an operation has not done what it reports";
            }
        }
        return {};
    }

    [[nodiscard]] std::string tell() const {
        std::string text = "published";
        for (const std::uint32_t each : published_) {
            text += " " + std::to_string(each);
        }
        for (int i = 0; i < fibers; ++i) {
            text += i < producers ? "; producer: " : "; consumer: ";
            text += std::to_string(all_[i].completed) + " done";
            text += i == dead_ ? ", killed" : all_[i].is == status::waiting ? ", waits" : "";
            for (const std::uint32_t each : all_[i].got) {
                text += " " + std::to_string(each);
            }
        }
        text += "; choices:";
        for (std::size_t i = 0; i < made_; ++i) { // where it does not go on
            text += path_[i] == go_on ? ""
                    : path_[i] == kill
                        ? " " + std::to_string(i) + ": kill;"
                        : " " + std::to_string(i) + ": " + std::to_string(path_[i]) + ";";
        }
        return text;
    }

    inline static model* running_ = nullptr;

    crash::world place_;
    fiber all_[fibers];
    std::uint64_t at_ = 0;
    std::uint64_t ring_ = 0;
    std::uint32_t filled_;
    std::vector<char> bytes_;
    crash::census fates_;
    ucontext_t outside_{};

    decisions path_;
    std::size_t fixed_ = 0; // choices of the path that are demanded
    std::size_t made_ = 0;
    std::vector<decisions>* left_ = nullptr;
    std::unordered_map<std::uint64_t, std::uint8_t> visited_; // with how many preemptions

    int current_ = -1;
    int next_ = -1;
    int preemptions_ = 0;
    int dead_ = -1;
    bool cut_ = false;
    std::string wrong_;
    std::vector<std::uint32_t> published_;
    std::vector<pop_of> popped_;

  public:
    [[nodiscard]] std::int64_t* clock() noexcept {
        return current_ < 0 ? nullptr : &all_[current_].clock;
    }

    // Which clock the library sees.
    inline static model* exploring = nullptr;
};

std::int64_t read_clock() {
    constexpr std::int64_t step = 100;
    for (std::int64_t* each :
         {model<small>::exploring != nullptr ? model<small>::exploring->clock() : nullptr,
          model<large>::exploring != nullptr ? model<large>::exploring->clock() : nullptr}) {
        if (each != nullptr) {
            return *each += step;
        }
    }
    return now += step;
}

double seconds() {
    timespec time{};
    ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class T>
bool explore(const std::string& layout, bool is_biased, std::uint32_t filled,
             const std::string& only) {
    const std::string name =
        layout + (is_biased ? ", biased, " : ", ") + std::to_string(filled) + " there";
    if (name.find(only) == std::string::npos) {
        return true;
    }
    const double begin = seconds();
    auto it = std::make_unique<model<T>>(is_biased, filled);
    model<T>::exploring = it.get();
    const std::string wrong = it->explore();
    model<T>::exploring = nullptr;
    std::printf("%s: %llu schedules begun, %llu ended (%llu with a kill), %zu states, %.1f s\n",
                name.c_str(), static_cast<unsigned long long>(it->runs),
                static_cast<unsigned long long>(it->ends),
                static_cast<unsigned long long>(it->killed_runs), it->states(), seconds() - begin);
    if (!wrong.empty()) {
        std::printf("    not so: %s\n", wrong.c_str());
    }
    std::fflush(stdout);
    return wrong.empty();
}

} // namespace

// The library's clock: waiting takes no time, and each look at it is later than the one before.
extern "C" int clock_gettime(clockid_t /*clock*/, timespec* time) noexcept {
    const std::int64_t at = read_clock();
    *time = {.tv_sec = static_cast<time_t>(at / 1'000'000'000),
             .tv_nsec = static_cast<long>(at % 1'000'000'000)};
    return 0;
}

namespace {

// The number of queues with which something is wrong.
int explore_all(const std::string& only) {
    int failed = 0;
    for (std::uint32_t filled = 0; filled <= capacity; ++filled) {
        for (const bool is_biased : {false, true}) {
            failed += explore<small>("in lines", is_biased, filled, only) ? 0 : 1;
            failed += explore<large>("densely", is_biased, filled, only) ? 0 : 1;
        }
    }
    return failed;
}

} // namespace

int main(int count, char** arguments) {
    std::string only;
    const bool is_quick = count == 1;
    for (int i = 1; i < count; ++i) {
        const std::string_view argument = arguments[i];
        if (argument.starts_with("--only=")) {
            only = argument.substr(7);
        } else if (argument.starts_with("--preemptions=")) {
            most_preemptions = std::atoi(arguments[i] + 14);
        } else if (argument.starts_with("--operations=")) {
            operations = std::atoi(arguments[i] + 13);
        } else if (argument != "--complete") {
            std::fprintf(stderr, "usage: model [--complete] [--preemptions=N] [--operations=N] "
                                 "[--only=NAME]\n");
            return 2;
        }
    }
    if (is_quick) {
        most_preemptions = 1;
        if (explore_all({}) != 0) {
            return 1;
        }
        most_preemptions = 2;
        only = "in lines, 1 there";
    }
    return explore_all(only) == 0 ? 0 : 1;
}
