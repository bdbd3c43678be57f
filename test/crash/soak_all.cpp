// Everything at once, at random, with kills every few milliseconds: several segments, one of which
// is full most of the time and another is recreated again and again; processes with two mappings of
// a segment, several threads that end, signals, and forked children; and a supervisor that destroys
// and recreates what others use.
//
//   soak_all [SECONDS [SEED]]     10 seconds by default
//
// Every pushed element has a number of its own. Operations are recorded in a ledger outside of the
// segments, before and after each one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <shared_mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "crash/audit.hpp"
#include "support/interruptions.hpp"

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using cohold::concurrency;
using cohold::segment;
using number = std::uint64_t;
using numbers = cohold::shm_vector<number>;
using rows = cohold::shm_vector<numbers>;

constexpr int workers = 4;
constexpr int actors = 3; // in each: two threads and a forked child

// ---- the contents of the segments

// Three words that must agree, and rows in which each number is the row's length.
struct account {
    number left = 0;
    rows book;
    number middle = 0;
    std::optional<number> last = 0;
    numbers moves;
    number right = 0;
};

struct message {
    number id = 0;
    number check = 0;
    number padding[3]{};
};

using plain_queue = cohold::shm_queue<message>;
using owning_queue = cohold::shm_queue<numbers>;
using single_queue = cohold::shm_queue<message, concurrency::spsc>;

struct yard {
    cohold::shm_guarded<account> accounts[2];
    plain_queue plain{16};
    owning_queue owning{8};
    // One producer and one consumer at a time: the owners of these locks.
    cohold::shm_mutex producer;
    cohold::shm_mutex consumer;
    single_queue single{8};
    // Every operation on a vector happens completely or not at all, locked or not.
    cohold::shm_mutex order;
    rows unguarded;
    // Held by users of what the supervisor destroys now and then.
    cohold::shm_shared_mutex reborn;
    // The elements that each has popped: on a stack they would die with the process.
    numbers hands[workers][actors];
};

// Allocates all memory of its segment, and frees it.
struct hog {
    cohold::shm_guarded<rows> all;
    cohold::shm_guarded<account> crowded;
};

// ---- the ledger

constexpr number most_ids = number{1} << 23;

enum deed : int {
    idle,
    increment,
    increment_both,
    push,
    pop,
    push_owning,
    pop_owning,
    push_single,
    pop_single,
    name,
    move_out,
    take_all,
    crowded_increment,
    append,
    reborn,
    own,
    other_segment,
    look,
    deeds
};

constexpr const char* names[deeds] = {"nothing",
                                      "increment",
                                      "increment both",
                                      "push",
                                      "pop",
                                      "push owning",
                                      "pop owning",
                                      "push single",
                                      "pop single",
                                      "named object",
                                      "move out",
                                      "take all memory",
                                      "increment in a full segment",
                                      "append to a vector",
                                      "use a recreated object",
                                      "use its own",
                                      "use another segment",
                                      "look"};

struct line {
    std::atomic<int> doing{idle};
    std::atomic<number> id{0};
    std::atomic<number> done[2]{}; // increments of the accounts
    std::atomic<number> count{0};
};

struct ledger {
    line lines[workers][actors];
    std::atomic<number> unknown[2]{}; // increments killed in the middle
    std::atomic<number> unknown_pops{0};
    std::atomic<number> operations{0};
    std::atomic<number> kills{0};
    std::atomic<bool> over{false};
    std::atomic<int> wrong{0};
    std::atomic<number> next{1};
    std::atomic<std::uint8_t> pushed[most_ids]; // 1: begun, 2: returned, 3: refused
    std::atomic<std::uint8_t> popped[most_ids];
};

ledger* book = nullptr;
unsigned seed = 0;

void complain(const char* what, number detail = 0) {
    if (book->wrong.fetch_add(1) < 20) {
        std::printf("not so: %s (%llu), by %d\n", what, static_cast<unsigned long long>(detail),
                    static_cast<int>(::getpid()));
        std::fflush(stdout);
    }
}

// If a process finds anything else, at any time, it has found a bug.
void check(const account& it) {
    if (it.left != it.right || it.left != it.middle || it.left != it.last.value_or(0) ||
        it.moves.size() != it.left % 50) {
        complain("a guarded value is consistent", it.left);
    }
    for (const numbers& row : it.book) {
        for (const number each : row) {
            if (each != row.size()) {
                complain("a row is consistent", each);
                return;
            }
        }
    }
}

struct on_purpose : std::exception {};

// ---- workers

class actor {
  public:
    // `first` and `second`: two mappings of one segment, or the same.
    actor(const segment<>& first, const segment<>& second, const segment<>& small,
          std::string other, int worker, int which)
        : places_{&first, &second}, small_(small), other_(std::move(other)), worker_(worker),
          which_(which), mine_(book->lines[worker][which]),
          random_(seed + static_cast<unsigned>(::getpid() * 8 + which)) {
        for (int i = 0; i < 2; ++i) {
            yards_[i] = places_[i]->find<yard>("yard");
        }
        hog_ = small.find<hog>("hog");
    }

    void work(number times) {
        for (number i = 0; i < times && !book->over; ++i) {
            try {
                step();
            } catch (const cohold::failure& thrown) {
                if (thrown.code() != cohold::errc::out_of_space &&
                    thrown.code() != cohold::errc::reserve_exceeded &&
                    thrown.code() != cohold::errc::too_many_participants) {
                    complain(thrown.what());
                }
            }
            mine_.doing = idle;
            book->operations.fetch_add(1, std::memory_order_relaxed);
        }
    }

  private:
    yard& any() { return *yards_[random_() % 2]; }

    void step() {
        const auto choice = random_() % 100;
        if (choice < 12) {
            add_to(any().accounts[random_() % 2]);
        } else if (choice < 18) {
            add_to_both();
        } else if (choice < 30) {
            do_push(any().plain, push);
        } else if (choice < 42) {
            do_pop(any().plain, pop);
        } else if (choice < 50) {
            do_push_owning(any().owning);
        } else if (choice < 58) {
            do_pop_owning(any().owning);
        } else if (choice < 62) {
            begin(push_single);
            const std::lock_guard<cohold::shm_mutex> role(any().producer);
            do_push(any().single, push_single);
        } else if (choice < 66) {
            begin(pop_single);
            const std::lock_guard<cohold::shm_mutex> role(any().consumer);
            do_pop(any().single, pop_single);
        } else if (choice < 72) {
            named();
        } else if (choice < 76) {
            move_out_of(any().accounts[random_() % 2]);
        } else if (choice < 80) {
            eat();
        } else if (choice < 84) {
            begin(crowded_increment);
            change(hog_->crowded);
        } else if (choice < 90) {
            append_under_lock();
        } else if (choice < 93) {
            use_reborn();
        } else if (choice < 95) {
            use_own();
        } else if (choice < 97) {
            use_other_segment();
        } else {
            look_around();
        }
    }

    void begin(deed what) { mine_.doing = what; }

    void change(account& it) {
        check(it);
        ++it.left;
        if (it.book.size() > 6) {
            it.book.erase(it.book.begin() + random_() % 6);
        } else {
            const number size = random_() % 20;
            it.book.insert(it.book.begin(), numbers(size, size, it.book.get_allocator()));
        }
        ++it.middle;
        it.last = it.left;
        if (it.left % 50 == 0) {
            it.moves.clear();
            it.moves.shrink_to_fit();
        } else {
            it.moves.push_back(it.left);
        }
        if (it.book.size() > 3) {
            using std::swap;
            swap(it.book[0], it.book[2]);
        }
        ++it.right;
    }

    void change(cohold::shm_guarded<account>& it) {
        it.with([this](account& inner) { change(inner); });
    }

    // It is undone now and then.
    void add_to(cohold::shm_guarded<account>& it) {
        const bool undone = random_() % 8 == 0;
        const int which = &it == &yards_[0]->accounts[0] || &it == &yards_[1]->accounts[0] ? 0 : 1;
        mine_.id = static_cast<number>(which);
        begin(increment);
        try {
            it.with([&](account& inner) {
                change(inner);
                if (undone) {
                    throw on_purpose();
                }
            });
            mine_.done[which].fetch_add(1);
        } catch (const on_purpose&) {
        }
        mine_.doing = idle;
    }

    void add_to_both() {
        yard& all = any();
        begin(increment_both);
        all.accounts[0].with([&](account& outer) {
            change(outer);
            all.accounts[1].with([&](account& inner) { change(inner); });
        });
        mine_.done[0].fetch_add(1);
        mine_.done[1].fetch_add(1);
        mine_.doing = idle;
    }

    // The number of the next element; 0 if there are no more.
    number announce(deed what) {
        const number id = book->next.fetch_add(1);
        if (id >= most_ids) {
            return 0;
        }
        book->pushed[id] = 1;
        mine_.id = id;
        begin(what);
        return id;
    }

    void settle(number id, bool done) {
        book->pushed[id] = done ? 2 : 3;
        mine_.doing = idle;
    }

    static void received(number id) {
        if (id == 0 || id >= most_ids) {
            complain("an element is one that was pushed", id);
        } else if (book->pushed[id] == 0 || book->pushed[id] == 3) {
            complain("an element was pushed", id);
        } else if (book->popped[id].fetch_add(1) != 0) {
            complain("an element comes once", id);
        }
    }

    template <class Queue>
    void do_push(Queue& to, deed what) {
        if (const number id = announce(what); id != 0) {
            const message each{id, ~id, {id, id, id}};
            settle(id, random_() % 4 == 0 ? to.push_for(each, 300us) : to.try_push(each));
        }
    }

    template <class Queue>
    void do_pop(Queue& from, deed what) {
        begin(what);
        const std::optional<message> found =
            random_() % 4 == 0 ? from.pop_for(300us) : from.try_pop();
        if (found) {
            if (found->check != ~found->id || found->padding[2] != found->id) {
                complain("an element is intact", found->id);
            }
            received(found->id);
        }
        mine_.doing = idle;
    }

    // The contents of a vector outside are then in the queue, or in neither.
    void do_push_owning(owning_queue& to) {
        const number id = announce(push_owning);
        if (id == 0) {
            return;
        }
        bool done = false;
        try {
            done = to.try_emplace(id % 30 + 2, id);
        } catch (const cohold::failure&) { // no room
        }
        settle(id, done);
    }

    void do_pop_owning(owning_queue& from) {
        begin(pop_owning);
        numbers& hand = any().hands[worker_][which_];
        if (from.try_pop_n(std::span<numbers>(&hand, 1)) != 0) {
            const number id = hand.empty() ? 0 : hand.front();
            for (const number each : hand) {
                if (each != id || hand.size() != id % 30 + 2) {
                    complain("an element that owns memory is intact", id);
                    break;
                }
            }
            received(id);
        }
        mine_.doing = idle;
    }

    void named() {
        begin(name);
        std::error_code ec;
        const segment<>& where = random_() % 3 == 0 ? small_ : *places_[random_() % 2];
        const std::string which = "name " + std::to_string(random_() % 16);
        if (random_() % 2 == 0) {
            where.construct<numbers>(which, ec, random_() % 40, number{7});
        } else {
            where.destroy<numbers>(which, ec);
        }
    }

    // An object outside that outlives the section, which is undone.
    void move_out_of(cohold::shm_guarded<account>& it) {
        begin(move_out);
        std::optional<numbers> outside;
        std::vector<numbers> more;
        try {
            it.with([&](account& inner) {
                check(inner);
                if (!inner.book.empty()) {
                    more.push_back(std::move(inner.book.back()));
                }
                outside.emplace(std::move(inner.moves));
                inner.moves.assign(3u, number{1});
                throw on_purpose();
            });
        } catch (const on_purpose&) {
        }
    }

    void eat() {
        begin(take_all);
        hog_->all.with([this](rows& it) {
            for (const numbers& each : it) {
                if (!each.empty() && (each.front() != each.size() || each.back() != each.size())) {
                    complain("memory that fills a segment is intact", each.size());
                }
            }
            if (it.size() > 40 || random_() % 16 == 0) {
                it.clear();
                if (random_() % 2 == 0) {
                    it.shrink_to_fit();
                }
                return;
            }
            const number size = 1 + random_() % 600;
            it.emplace_back(size, size);
        });
    }

    // The lock belongs to one mapping, the vector is changed through another.
    void append_under_lock() {
        begin(append);
        yard& app = any();
        yard& library = any();
        const std::lock_guard<cohold::shm_mutex> lock(app.order);
        rows& it = library.unguarded;
        for (const numbers& row : it) {
            for (const number each : row) {
                if (each != row.size()) {
                    complain("a row of a vector under a lock is consistent", each);
                    return;
                }
            }
        }
        if (it.size() > 9) {
            it.erase(it.begin() + random_() % 4, it.begin() + 5);
        } else {
            const number size = random_() % 9;
            it.emplace(it.begin() + (it.empty() ? 0 : random_() % 2), size, size);
        }
    }

    void use_reborn() {
        begin(reborn);
        yard& all = any();
        const segment<>& where = *places_[random_() % 2];
        const std::shared_lock<cohold::shm_shared_mutex> alive(all.reborn);
        if (auto* const found = where.find<owning_queue>("reborn"); found != nullptr) {
            if (random_() % 2 == 0) {
                found->try_emplace(5u, number{5});
            } else {
                numbers& hand = any().hands[worker_][which_];
                if (found->try_pop_n(std::span<numbers>(&hand, 1)) != 0 &&
                    (hand.size() != 5 || hand[4] != 5)) {
                    complain("an element of a recreated queue is intact");
                }
            }
        }
    }

    // Only this worker uses it, and when the worker is dead the supervisor destroys it at once.
    void use_own() {
        begin(own);
        const segment<>& where = *places_[random_() % 2];
        if (auto* const mine = where.find<rows>("own " + std::to_string(worker_));
            mine != nullptr && &mine_ == &book->lines[worker_][0]) {
            const number size = random_() % 12;
            if (mine->size() > 6) {
                mine->erase(mine->begin() + 1, mine->begin() + 4);
            } else {
                mine->emplace(mine->begin(), size, size);
            }
        }
    }

    void use_other_segment() {
        begin(other_segment);
        std::error_code ec;
        const auto other = segment<>::open(other_, ec);
        if (!ec) {
            auto* const found = other.find_or_construct<cohold::shm_guarded<account>>("shared", ec);
            if (found != nullptr) {
                // A section in one segment within one in another.
                any().accounts[0].with([&](account& outer) {
                    check(outer);
                    change(*found);
                });
            }
        }
    }

    void look_around() {
        begin(look);
        const segment<>& where = *places_[random_() % 2];
        switch (random_() % 4) {
        case 0:
            where.recover();
            break;
        case 1:
            for (const auto& each : where.objects()) {
                if (each.name.empty()) {
                    complain("objects have names");
                }
            }
            break;
        case 2:
            if (where.participants().empty()) {
                complain("there are participants");
            }
            break;
        default:
            any().accounts[random_() % 2].with([](account& it) { check(it); });
        }
    }

    const segment<>* places_[2];
    const segment<>& small_;
    yard* yards_[2]{};
    hog* hog_ = nullptr;
    std::string other_;
    int worker_;
    int which_;
    line& mine_;
    std::minstd_rand random_;
};

struct setting {
    std::string big;
    std::string small;
    std::string other;
};

[[noreturn]] void be_worker(const setting& where, int which) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::minstd_rand random(seed + static_cast<unsigned>(::getpid()));
    const auto first = segment<>::open(where.big);
    const auto second = random() % 2 == 0 ? segment<>::open(where.big) : segment<>();
    const segment<>& again = second ? second : first;
    const auto small = segment<>::open(where.small);
    if (random() % 3 == 0) { // like a sampling profiler
        support::interrupt_every(1ms);
    }
    while (!book->over) {
        // Threads end, and others start.
        std::thread one(
            [&] { actor(first, again, small, where.other, which, 0).work(random() % 900); });
        std::thread two([&] { actor(first, again, small, where.other, which, 1).work(200); });
        if (random() % 4 == 0) {
            const pid_t child = ::fork();
            if (child == 0) {
                actor(first, again, small, where.other, which, 2).work(300);
                std::_Exit(0);
            }
            if (child > 0) {
                while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
                }
            }
        }
        one.join();
        two.join();
        if (random() % 8 == 0) {
            break;
        }
    }
    std::exit(0);
}

// ---- the supervisor

class supervisor {
  public:
    explicit supervisor(unsigned round)
        : random_(seed + round), kills_(round % 3 != 2),
          where_{name_of("big"), name_of("small"), name_of("other")},
          big_(segment<>::create(where_.big, {.size = 1 << 18, .reserve = 1 << 20})),
          small_(segment<>::create(where_.small, {.size = 1 << 16, .reserve = 1 << 16})) {
        big_.construct<yard>("yard");
        small_.construct<hog>("hog");
        make_others();
        for (int i = 0; i < workers; ++i) {
            big_.construct<rows>("own " + std::to_string(i));
        }
        remake();
    }

    supervisor(const supervisor&) = delete;
    supervisor& operator=(const supervisor&) = delete;

    void run(clock_type::time_point end) {
        for (int i = 0; i < workers; ++i) {
            start(i);
        }
        while (clock_type::now() < end && book->wrong == 0) {
            ::usleep(static_cast<::useconds_t>(random_() % 4000));
            const auto victim = static_cast<int>(random_() % workers);
            if (reap(victim, kills_)) {
                start(victim);
            }
            const auto choice = random_() % 16;
            if (choice == 0) {
                remake();
            } else if (choice < 4) {
                make_others();
            } else if (choice == 4) {
                big_.recover();
            }
        }
        book->over = true;
        const auto last = clock_type::now() + 30s;
        for (int i = 0; i < workers; ++i) {
            while (!reap(i, false)) {
                if (clock_type::now() > last) {
                    for (const line& each : book->lines[i]) {
                        complain(names[each.doing], 0);
                    }
                    complain("no process is stuck", static_cast<number>(ids_[i]));
                    reap(i, true);
                    break;
                }
                ::usleep(500);
            }
        }
        settle_all();
    }

  private:
    static std::string name_of(const char* what) {
        return "cohold.test.soak_all." + std::to_string(::getppid()) + "." + what;
    }

    void start(int which) {
        const pid_t id = ::fork();
        if (id == 0) {
            ::setpgid(0, 0);
            ::prctl(PR_SET_CHILD_SUBREAPER, 0);
            be_worker(where_, which);
        }
        ::setpgid(id, id);
        ids_[which] = id;
    }

    // The worker, and the child that it may have forked. True if both are gone.
    bool reap(int which, bool kill) {
        const pid_t group = ids_[which];
        if (group == 0) {
            return true;
        }
        if (kill) {
            ::kill(-group, SIGKILL);
        }
        for (;;) {
            int status = 0;
            const pid_t gone = ::waitpid(-group, &status, kill ? 0 : WNOHANG);
            if (gone == 0) {
                return false;
            }
            if (gone < 0) {
                if (errno == EINTR) {
                    continue;
                }
                break; // ECHILD: none of them is left
            }
            if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
                complain("workers are not ended by a signal",
                         static_cast<number>(WTERMSIG(status)));
                for (const line& each : book->lines[which]) {
                    complain(names[each.doing], 0);
                }
            }
            if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
                complain("workers succeed", static_cast<number>(WEXITSTATUS(status)));
            }
        }
        ids_[which] = 0;
        if (kill) {
            ++book->kills;
        }
        settle(which);
        if (kill && random_() % 3 != 0) {
            be_hasty(which);
        }
        return true;
    }

    // Resolves what a killed worker had begun and not finished.
    static void settle(int which) {
        for (line& each : book->lines[which]) {
            switch (each.doing.exchange(idle)) {
            case increment:
                book->unknown[each.id == 0 ? 0 : 1].fetch_add(1);
                break;
            case increment_both:
                book->unknown[0].fetch_add(1);
                book->unknown[1].fetch_add(1);
                break;
            case pop:
            case pop_owning:
            case pop_single:
                book->unknown_pops.fetch_add(1);
                break;
            default:
                break;
            }
        }
    }

    // Destroys what only the dead worker has used, before any process has recovered it, and lets
    // others have the memory.
    void be_hasty(int which) {
        const std::string name = "own " + std::to_string(which);
        std::error_code ec;
        big_.destroy<rows>(name, ec);
        auto* const other = big_.construct<numbers>("memory of another", ec, 20u, number{77});
        if (random_() % 2 == 0) {
            big_.recover();
        }
        if (other != nullptr) {
            for (const number each : *other) {
                if (each != 77) {
                    complain("recovery does not write to memory of others", each);
                }
            }
            big_.destroy<numbers>("memory of another");
        }
        big_.construct<rows>(name, ec);
    }

    void make_others() {
        std::error_code ec;
        const auto* const all = big_.find<yard>("yard");
        const std::lock_guard<cohold::shm_shared_mutex> alone(const_cast<yard*>(all)->reborn);
        big_.destroy<owning_queue>("reborn", ec);
        big_.construct<owning_queue>("reborn", ec, std::size_t{1} + random_() % 8);
    }

    // Afterwards the name belongs to another segment.
    void remake() {
        std::error_code ec;
        if (random_() % 2 == 0) {
            segment<>::remove(where_.other, ec);
            static_cast<void>(segment<>::create(where_.other, {.size = 1 << 16}, ec));
        } else {
            static_cast<void>(segment<>::replace(where_.other, {.size = 1 << 16}, ec));
        }
    }

    // ---- the end

    void settle_all() {
        big_.recover();
        small_.recover();
        yard& all = *big_.find<yard>("yard");
        drain(all);
        number lost = 0;
        const number ids = std::min(book->next.load(), most_ids);
        for (number id = 1; id < ids; ++id) {
            lost += book->pushed[id] == 2 && book->popped[id] == 0 ? 1u : 0u;
        }
        if (lost > book->unknown_pops) {
            complain("no element is lost except those that dead consumers held", lost);
        }
        for (int i = 0; i < 2; ++i) {
            number done = 0;
            for (const auto& each : book->lines) {
                for (const line& one : each) {
                    done += one.done[i];
                }
            }
            const auto locked = all.accounts[i].lock();
            check(*locked);
            if (locked->left < done || locked->left > done + book->unknown[i]) {
                complain("no increment is lost or duplicated", locked->left - done);
            }
        }
        small_.find<hog>("hog")->crowded.with([](account& it) { check(it); });
        empty(big_, false);
        empty(small_, kills_); // a kill in a full segment may leave memory allocated
    }

    static void drain(yard& all) {
        const auto count = [](number id) {
            if (id == 0 || id >= most_ids || book->popped[id].fetch_add(1) != 0) {
                complain("an element exists once", id);
            }
        };
        while (const auto each = all.plain.try_pop()) {
            count(each->id);
        }
        while (const auto each = all.single.try_pop()) {
            count(each->id);
        }
        while (const auto each = all.owning.try_pop()) {
            count(each->front());
        }
    }

    static void empty(const segment<>& where, bool may_leak) {
        std::vector<cohold::object_info> objects;
        for (const auto& each : where.objects()) {
            objects.push_back(each);
        }
        for (const auto& each : objects) {
            std::error_code ec;
            if (each.name == "yard") {
                where.destroy<yard>(each.name);
            } else if (each.name == "hog") {
                where.destroy<hog>(each.name);
            } else if (each.name == "reborn") {
                where.destroy<owning_queue>(each.name);
            } else if (each.name.starts_with("own ")) {
                where.destroy<rows>(each.name);
            } else if (!where.destroy<numbers>(each.name, ec)) {
                complain(each.name.c_str());
            }
        }
        if (const std::string wrong = crash::audit_empty(where, may_leak); !wrong.empty()) {
            complain(wrong.c_str());
        }
        for (const auto& each : where.participants()) {
            if (each.pid != ::getpid()) {
                complain("no dead participant is left", static_cast<number>(each.pid));
            }
        }
    }

    std::minstd_rand random_;
    const bool kills_; // otherwise workers come and go by themselves
    const setting where_;
    segment<> big_;
    segment<> small_;
    pid_t ids_[workers]{};
};

} // namespace

int main(int count, char** arguments) {
    const std::chrono::seconds duration(count > 1 ? std::atoi(arguments[1]) : 10);
    seed = count > 2 ? static_cast<unsigned>(std::strtoul(arguments[2], nullptr, 10))
                     : std::random_device()();
    const auto end = clock_type::now() + duration;
    number kills = 0;
    number operations = 0;
    unsigned rounds = 0;
    int wrong = 0;
    while (clock_type::now() < end && wrong == 0) {
        void* const at = ::mmap(nullptr, sizeof(ledger), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) {
            std::perror("mmap");
            return 2;
        }
        book = static_cast<ledger*>(at); // zeroed
        // In a process of its own: its names are removed even if it fails.
        const pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_CHILD_SUBREAPER, 1); // what workers have forked is reaped here
            supervisor(rounds).run(std::min(end, clock_type::now() + 5s));
            std::_Exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        if (status != 0) {
            complain("the supervisor succeeds", static_cast<number>(status));
        }
        for (const char* const each : {"big", "small", "other"}) {
            std::error_code ec;
            segment<>::remove("cohold.test.soak_all." + std::to_string(::getpid()) + "." + each,
                              ec);
        }
        ++rounds;
        kills += book->kills;
        operations += book->operations;
        wrong = book->wrong;
        ::munmap(at, sizeof(ledger));
    }
    std::printf("%u rounds, %llu kills, %llu operations; seed %u: %d findings\n", rounds,
                static_cast<unsigned long long>(kills), static_cast<unsigned long long>(operations),
                seed, wrong);
    return wrong == 0 ? 0 : 1;
}
