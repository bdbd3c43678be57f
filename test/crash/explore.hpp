// Kills an operation at every instruction, in every way the rig knows, and judges what is left.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_EXPLORE_HPP
#define COHOLD_TEST_CRASH_EXPLORE_HPP

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sys/time.h>
#include <unistd.h>

#include "crash/audit.hpp"
#include "crash/bystander.hpp"
#include "crash/operation.hpp"
#include "crash/outside.hpp"

namespace crash {

// ---- what must not happen to a survivor

enum class result { legal, illegal, torn, leaked, stuck, crashed };

inline std::string_view name_of(result what) {
    constexpr std::string_view names[] = {"legal", "illegal", "torn", "leaked", "stuck", "crashed"};
    return names[static_cast<int>(what)];
}

namespace detail {

inline constexpr int patience = 20; // seconds until a survivor counts as stuck
inline constexpr std::uint64_t most_instructions = 3000000;

inline ::sigjmp_buf rescue;
inline volatile std::sig_atomic_t rescuing = 0;
inline std::uint64_t steps_at_alarm = 0;

inline void set_alarm(int seconds) {
    const ::itimerval timer{{0, 0}, {seconds, 0}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

// A trap takes 10 to 30 us, and longer on a busy machine: a stepped thread counts as stuck when it
// has executed too many instructions, not when it has taken too long.
inline bool goes_on() {
    const std::uint64_t before = std::exchange(steps_at_alarm, now_stepping.steps);
    return now_stepping.what != nullptr && now_stepping.steps != before &&
           now_stepping.steps < most_instructions;
}

inline void on_trouble(int signal) {
    if (signal == SIGALRM && rescuing != 0 && goes_on()) {
        set_alarm(patience);
        return;
    }
    if (rescuing == 0) {
        std::signal(signal, SIG_DFL);
        std::raise(signal);
        return;
    }
    rescuing = 0;
    ::siglongjmp(rescue, signal);
}

inline void handle_trouble() {
    static const bool once = [] {
        struct sigaction action{};
        action.sa_handler = &on_trouble;
        action.sa_flags = SA_ONSTACK | SA_NODEFER;
        sigemptyset(&action.sa_mask);
        for (const int each : {SIGALRM, SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE}) {
            ::sigaction(each, &action, nullptr);
        }
        return true;
    }();
    static_cast<void>(once);
}

} // namespace detail

using detail::patience;

// Runs the deed, and comes back in any case. Objects that it leaves behind then are lost.
template <class Deed>
result survive(Deed&& what, std::string& complaint) {
    detail::handle_traps(); // with the stack for signals
    detail::handle_trouble();
    const int signal = ::sigsetjmp(detail::rescue, 1);
    if (signal != 0) {
        abandon_victim();
        detail::set_alarm(0);
        complaint = signal == SIGALRM ? "stuck" : "killed by signal " + std::to_string(signal);
        return signal == SIGALRM ? result::stuck : result::crashed;
    }
    detail::steps_at_alarm = 0;
    detail::rescuing = 1;
    detail::set_alarm(patience);
    result how = result::legal;
    try {
        what();
    } catch (const std::exception& thrown) {
        how = result::crashed;
        complaint = std::string("threw ") + thrown.what();
    }
    detail::set_alarm(0);
    detail::rescuing = 0;
    return how;
}

// ---- outcomes

// The contents of a segment at the end.
struct outcome {
    std::string contents;
    std::uint64_t blocks = 0; // allocated
    int bystander = -1;       // what its deed returned, if there was one
    std::string said{};       // by a survivor, about the elements that it was given

    bool operator==(const outcome&) const = default;
};

using outcomes = std::vector<outcome>;

struct judgement {
    result how = result::legal;
    std::size_t which = 0; // of the legal outcomes
    std::string complaint;
};

inline std::string text_of(const outcome& what) {
    return "{" + (what.said.empty() ? "" : "given " + what.said + ", ") + what.contents + ", " +
           std::to_string(what.blocks) + " blocks}";
}

inline judgement compare(const outcome& found, const outcomes& legal) {
    result how = result::illegal;
    std::string list;
    for (std::size_t i = 0; i < legal.size(); ++i) {
        if (found.contents == legal[i].contents && found.said == legal[i].said &&
            (found.bystander < 0 || legal[i].bystander < 0 ||
             found.bystander == legal[i].bystander)) {
            if (found.blocks == legal[i].blocks) {
                return {result::legal, i, {}};
            }
            how = found.blocks > legal[i].blocks ? result::leaked : result::torn;
        }
        if (const std::string each = text_of(legal[i]); list.find(each) == std::string::npos) {
            list += " " + each;
        }
    }
    return {how, 0,
            "found " + text_of(found) +
                (found.bystander > 0    ? ", the bystander done"
                 : found.bystander == 0 ? ", the bystander refused"
                                        : "") +
                "; legal:" + list};
}

// ---- the scene

using owner = cohold::detail::owner_word;

// Makes this thread and mapping a participant that has its journal and has used it.
inline owner warm_up(const segment& handle) {
    std::error_code ec;
    cohold::detail::transaction* const mine = cohold::detail::self(header_of(handle), ec);
    demand(mine != nullptr, "a journal");
    {
        const cohold::detail::section section(header_of(handle), ec);
        auto memory = handle.allocator<int>();
        memory.deallocate(memory.try_allocate(1), 1); // there may be no room
    }
    return mine->word();
}

// Attaches the handle, if it is not attached. A newcomer recovers all dead participants.
inline owner attached(const segment& handle) {
    std::error_code ec;
    return cohold::detail::participant_of(header_of(handle), ec);
}

inline void recover(const segment& handle) {
    cohold::detail::recover_all(header_of(handle), attached(handle));
    cohold::detail::collect_orphans(header_of(handle));
}

// For operations that attach: the world to attach to. The handle that they are given is empty.
inline world* world_to_attach_to = nullptr;

// Free blocks of all sizes, several in each list: a list of one hides many bugs.
inline void scatter(const segment& where) {
    auto memory = where.allocator<char>();
    for (const std::size_t size : {16u, 32u, 48u, 96u, 200u, 1040u}) {
        std::vector<cohold::offset_ptr<char>> freed;
        for (int i = 0; i < 3; ++i) {
            freed.push_back(memory.allocate(size));
            static_cast<void>(memory.allocate(16)); // stays, or the neighbours would be merged
        }
        for (const cohold::offset_ptr<char>& each : freed) {
            memory.deallocate(each, size);
        }
    }
}

// Which participant is dead besides the victim.
enum class casualty { none, survivor, bystander };

// A segment with all its participants.
struct scene {
    std::unique_ptr<world> place;
    std::unique_ptr<segment> victim = std::make_unique<segment>();
    std::unique_ptr<segment> victim_too = std::make_unique<segment>(); // its other mapping
    std::unique_ptr<segment> survivor = std::make_unique<segment>();
    std::unique_ptr<segment> third = std::make_unique<segment>(); // of the bystander
    std::vector<std::uint32_t> victims;                           // slots
    std::uint32_t survivor_slot = 0;
    std::uint32_t third_slot = 0;
    census fates;

    scene(const operation& what, bystander& other) : place(std::make_unique<world>(what.most)) {
        scatter(place->maker());
        what.make(place->maker());
        *survivor = place->attach();
        survivor_slot = cohold::detail::slot_of(warm_up(*survivor));
        *third = place->attach();
        other.do_now([this] { third_slot = cohold::detail::slot_of(warm_up(*third)); });
        if (what.attaches) {
            world_to_attach_to = place.get();
        } else {
            *victim = place->attach();
            victims = {cohold::detail::slot_of(what.fresh ? attached(*victim) : warm_up(*victim))};
            if (what.twice) {
                *victim_too = place->attach();
                victims.push_back(cohold::detail::slot_of(warm_up(*victim_too)));
                second_mappings[victim.get()] = victim_too.get();
            }
        }
        if (what.prepare) {
            what.prepare(*victim);
        }
        if (what.fill) {
            what.fill(place->maker());
        }
        fates = place->fates();
    }

    scene(const scene&) = delete;
    scene& operator=(const scene&) = delete;

    ~scene() { second_mappings.erase(victim.get()); }

    // If the victim attaches in the operation, every participant that was not there before is dead.
    void kill(world& here, casualty other = casualty::none) const {
        if (victims.empty()) {
            for (std::uint32_t i = 0; i < slots; ++i) {
                if (fates.fates[i] != fate::alive) {
                    here.kill(i, 1);
                }
            }
        }
        for (const std::uint32_t each : victims) {
            here.kill(each, 1);
        }
        if (other != casualty::none) {
            here.kill(other == casualty::survivor ? survivor_slot : third_slot, 2);
        }
    }

    // Leaves everything as it is, for ever: a thread was left in the middle of something.
    void leave() {
        second_mappings.erase(victim.get());
        static_cast<void>(victim.release());
        static_cast<void>(victim_too.release());
        static_cast<void>(survivor.release());
        static_cast<void>(third.release());
        static_cast<void>(place.release());
    }
};

// The entries of an operation in the table.
struct findings {
    std::uint64_t instructions = 0;
    std::size_t states = 0;    // distinct states of the segment
    std::size_t deep = 0;      // distinct states while a survivor recovers
    std::size_t schedules = 0; // with a bystander at one of the instructions
    std::size_t waited = 0;    // of these, the bystander had to wait
    std::size_t before = 0;
    std::size_t after = 0;
    std::size_t other = 0;
    std::size_t failures[6] = {};
    std::vector<std::string> complaints;

    [[nodiscard]] bool good() const {
        for (int i = 1; i < 6; ++i) {
            if (failures[i] != 0) {
                return false;
            }
        }
        return true;
    }
};

struct thoroughness {
    std::size_t deep_states = 10;    // how many states get a killed survivor
    std::size_t schedules = 40;      // how many instructions get a bystander
    std::size_t races = 4;           // at how many instructions
    std::size_t race_schedules = 12; // at how many instructions
    std::size_t waiting_kills = 3;   // how many kills while a bystander waits
    std::size_t freezes = 4;         // at how many instructions the victim is frozen, while ...
    std::size_t deaths = 4;          // ... a bystander is killed at this many
    std::size_t hasty = 40; // how many states a survivor finds that does not ask about the dead

    // The victim is killed at every instruction, and that is all.
    static thoroughness only_victims() { return {0, 0, 0, 0, 0, 0, 0, 0}; }

    static thoroughness quick() { return {2, 8, 1, 5, 1, 2, 2, 12}; }

    static thoroughness complete() {
        constexpr std::size_t all = 1u << 30;
        return {all, all, 40, 60, 40, 40, 40, all};
    }
};

inline std::uint64_t hash_of(const snapshot& state) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    std::uint64_t word = 0;
    for (std::size_t i = 0; i + 8 <= state.size; i += 8) {
        std::memcpy(&word, state.bytes + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

// ---- the rig

class explorer {
  public:
    // `give_up` is called where a survivor cannot be waited for any more; it must not return.
    explorer(const thoroughness& how, std::function<void(const findings&)> give_up)
        : how_(how), give_up_(std::move(give_up)) {}

    findings explore(const operation& what) {
        what_ = &what;
        found_ = {};
        std::string complaint;
        const result how = survive([&] { expect(); }, complaint);
        if (how != result::legal) {
            note(how, "without any kill", 0, nullptr, complaint);
            return found_;
        }
        one_deep();
        return found_;
    }

  private:
    // ---- judging

    // A newcomer finds the state in a segment of its own, at another address. `given`: what a
    // survivor has said, which may have destroyed the operation's object.
    judgement arrive(const scene& from, const snapshot& state, casualty other,
                     const outcomes& legal, int bystander_result = -1,
                     const std::string* given = nullptr) {
        judgement verdict;
        outcome found;
        found.bystander = bystander_result;
        if (given != nullptr) {
            found.said = *given;
        }
        copy_.load(state);
        copy_.fates() = from.fates;
        from.kill(copy_, other);
        verdict.complaint = outside(copy_.bytes(), copy_.fates()).complaint(false);
        if (!verdict.complaint.empty()) {
            verdict.how = result::torn;
            return verdict;
        }
        const result how = survive(
            [&] {
                segment newcomer = copy_.attach();
                verdict = look(newcomer, copy_.fates(), found, legal);
                if (verdict.how == result::legal && what_->repeats && given == nullptr) {
                    again(newcomer, verdict);
                }
            },
            verdict.complaint);
        if (how != result::legal) {
            verdict.how = how;
        }
        return verdict;
    }

    // Is the segment sound, and are its contents legal?
    static judgement look(const segment& here, const census& fates, outcome& found,
                          const outcomes& legal) {
        cohold::detail::segment_header& header = header_of(here);
        attached(here);
        cohold::detail::collect_orphans(header); // any process may do that later
        for (std::uint32_t each = 0; each < slots; ++each) {
            const auto& slot = cohold::detail::participant_table::of(header).slots[each];
            if (fates.fates[each] == fate::dead &&
                (slot.state.load() & cohold::detail::attached_bit) != 0) {
                return {result::leaked, 0, "a dead participant's slot is still attached"};
            }
        }
        std::string complaint = audit(header, &found.blocks);
        if (complaint.empty()) {
            complaint = outside(reinterpret_cast<const char*>(&header), fates).complaint(true);
        }
        if (!complaint.empty()) {
            return {result::torn, 0, std::move(complaint)};
        }
        found.contents = what_contents(here);
        return compare(found, legal);
    }

    // The survivors must be able to work: the same operation once more, by the thread that has
    // recovered.
    static void again(const segment& here, judgement& verdict) {
        current().act(here)();
        std::string complaint = audit(header_of(here));
        if (!complaint.empty()) {
            verdict = {result::torn, 0, "after doing it again: " + complaint};
        }
    }

    static const operation*& current_pointer() {
        static const operation* what = nullptr;
        return what;
    }

    static const operation& current() { return *current_pointer(); }

    static std::string what_contents(const segment& here) {
        std::string text = current().contents(here);
        if (usurper* const others = here.find<usurper>(usurper_name); others != nullptr) {
            text += " and " + tell_usurper(*others);
        }
        return text;
    }

    // ---- what is legal

    // The victim's variants: nothing, the operation, and everything else that is declared legal.
    std::vector<binding> variants() const {
        std::vector<binding> all{nothing()};
        if (!what_->undone) {
            all.push_back(what_->act);
        }
        all.insert(all.end(), what_->also.begin(), what_->also.end());
        return all;
    }

    std::vector<binding> survivor_variants() const {
        return what_->survive ? std::vector<binding>{nothing(), what_->survive} : variants();
    }

    static binding nothing() {
        return [](const segment&) -> deed { return [] { return true; }; };
    }

    [[nodiscard]] snapshot take(scene& from) {
        scratch_.clear();
        scratch_.add(0, from.place->bytes(), from.place->size());
        return scratch_.last();
    }

    struct run_of {
        binding victim;    // null: it does nothing
        binding survivor;  // after it
        binding bystander; // after or before it
        bool bystander_first = false;
    };

    // The outcome of a run in which no thread is killed before it is done.
    outcome outcome_of(const run_of& run, casualty other) {
        scene here(*what_, other_);
        outcome result_here;
        const auto let = [](const segment& who, const binding& what) {
            return what ? static_cast<int>(what(who)()) : -1;
        };
        const auto let_bystander = [&] {
            if (run.bystander) {
                other_.do_now([&] { result_here.bystander = let(*here.third, run.bystander); });
            }
        };
        if (run.bystander_first) {
            let_bystander();
        }
        if (run.victim) {
            let(*here.victim, run.victim);
        }
        if (!run.bystander_first) {
            let_bystander();
        }
        said.clear();
        if (run.survivor) {
            here.kill(*here.place);
            let(*here.survivor, run.survivor);
        }
        result_here.said = said;
        const snapshot end = take(here);
        copy_.load(end);
        copy_.fates() = here.fates;
        here.kill(copy_, other);
        const segment newcomer = copy_.attach();
        const judgement verdict = look(newcomer, copy_.fates(), result_here, {});
        if (verdict.how == result::torn || !verdict.complaint.starts_with("found")) {
            throw std::runtime_error("without any kill: " + verdict.complaint);
        }
        return result_here;
    }

    void expect() {
        current_pointer() = what_;
        alone_.clear();
        pairs_.clear();
        with_bystander_.clear();
        finished_with_bystander_.clear();
        beside_dead_.clear();
        finished_beside_dead_.clear();
        hasty_.clear();
        for (const binding& each : variants()) {
            alone_.push_back(outcome_of({each, {}, {}}, casualty::none));
        }
        if (what_->fill && !what_->undone) {
            expect_as_with_room();
        }
        if (what_->alone) {
            return;
        }
        for (const binding& each : variants()) {
            pairs_.push_back(outcome_of({each, {}, {}}, casualty::survivor));
        }
        for (const hasty_deed& then : what_->hasty) {
            outcomes& legal = hasty_.emplace_back();
            for (const binding& each : variants()) {
                legal.push_back(outcome_of({each, then.act, {}}, casualty::none));
            }
        }
        if (what_->heals) {
            for (const binding& each : variants()) {
                for (const binding& then : survivor_variants()) {
                    pairs_.push_back(outcome_of({each, then, {}}, casualty::survivor));
                }
            }
        }
        for (const binding& each : what_->together) {
            pairs_.push_back(outcome_of({each, {}, {}}, casualty::survivor));
            outcome done = outcome_of({each, {}, {}}, casualty::none);
            done.bystander = 1;
            with_bystander_.push_back(std::move(done));
        }
        if (what_->meanwhile) {
            expect_beside_dead();
            for (const binding& each : variants()) {
                with_bystander_.push_back(outcome_of({each, {}, what_->meanwhile}, casualty::none));
                with_bystander_.push_back(
                    outcome_of({each, {}, what_->meanwhile, true}, casualty::none));
            }
            for (const bool first : {false, true}) {
                finished_with_bystander_.push_back(
                    outcome_of({what_->act, {}, what_->meanwhile, first}, casualty::none));
            }
            // Operations that were refused because of the victim, and would not have been
            // otherwise.
            for (std::size_t i = 0; i < alone_.size(); ++i) {
                outcome refused = alone_[i];
                refused.bystander = 0;
                with_bystander_.push_back(refused);
                if (i == 1) {
                    finished_with_bystander_.push_back(refused);
                }
            }
        }
    }

    // In a full segment the outcome must be the same as with room, or nothing: a different one is a
    // mistake of the rig.
    void expect_as_with_room() {
        operation roomy = *what_;
        roomy.fill = {};
        const operation* const crowded = std::exchange(what_, &roomy);
        outcomes found;
        for (const binding& each : variants()) {
            found.push_back(outcome_of({each, {}, {}}, casualty::none));
        }
        what_ = crowded;
        for (std::size_t i = 1; i < found.size(); ++i) {
            found[i].blocks += alone_[0].blocks - found[0].blocks;
            alone_[i] = found[i];
        }
    }

    void expect_beside_dead() {
        for (const binding& each : what_->together) {
            finished_beside_dead_.push_back(outcome_of({each, {}, {}}, casualty::bystander));
        }
        for (const binding& other : {nothing(), what_->meanwhile}) {
            for (const bool first : {false, true}) {
                finished_beside_dead_.push_back(
                    outcome_of({what_->act, {}, other, first}, casualty::bystander));
                for (const binding& each : variants()) {
                    beside_dead_.push_back(
                        outcome_of({each, {}, other, first}, casualty::bystander));
                }
            }
        }
    }

    // ---- killing

    static std::uint64_t step(scene& here, const segment& who, snapshot_store* states,
                              const deed& act, std::uint64_t at,
                              std::function<bool(std::uint64_t)> between) {
        const bool attached = static_cast<bool>(who);

        const stepping how{.bytes = here.place->bytes(),
                           .size = [&here] { return here.place->size(); },
                           .mapped =
                               attached ? reinterpret_cast<const char*>(&header_of(who)) : nullptr,
                           .mapped_size = world::reserve,
                           .states = states,
                           .at = at,
                           .between = std::move(between)};
        return step_through(how, act);
    }

    void one_deep() {
        scene here(*what_, other_);
        const deed act = what_->act(*here.victim);
        std::string complaint;
        result how = survive(
            [&] { found_.instructions = step(here, *here.victim, &first_states_, act, 0, {}); },
            complaint);
        if (how != result::legal) {
            note(how, "stepping the victim", 0, nullptr, complaint);
            here.leave();
            return;
        }
        std::unordered_set<std::uint64_t> seen;
        std::vector<snapshot> states;
        for (std::size_t i = 0; i < first_states_.size(); ++i) {
            if (seen.insert(hash_of(first_states_[i])).second) {
                states.push_back(first_states_[i]);
            }
        }
        found_.states = states.size();
        for (const snapshot& each : states) {
            judgement verdict = arrive(here, each, casualty::none, alone_);
            if (verdict.how == result::leaked && what_->may_leak &&
                hash_of(each) != hash_of(first_states_.last())) {
                verdict.how = result::legal;
            }
            count(verdict);
            note(verdict, "killed", each);
        }
        if (what_->alone || how_.deep_states == 0) {
            return;
        }
        if (!what_->attaches && !be_hasty(here, states)) {
            return;
        }
        if (two_deep(here, states) && !what_->fresh && !what_->attaches) {
            race(here, states); // first: the others leave segments behind, which recovery looks at
            if (what_->meanwhile) {
                interfere();
                kill_before_waiters();
                kill_beside_frozen();
            }
        }
    }

    void count(const judgement& verdict) {
        if (verdict.how == result::legal) {
            ++(verdict.which == 0   ? found_.before
               : verdict.which == 1 ? found_.after
                                    : found_.other);
        }
    }

    static std::size_t stride(std::size_t all, std::size_t wanted) {
        return all <= wanted ? 1 : (all + wanted - 1) / wanted;
    }

    // Instructions at which to interfere: those after which the segment is in a new state are worth
    // more than those in between.
    static std::vector<std::uint64_t> moments(const snapshot_store& states, std::uint64_t length,
                                              std::size_t wanted) {
        std::vector<std::uint64_t> chosen;
        const std::size_t changes = states.size() - 1;
        const std::size_t every = stride(changes, wanted - wanted / 4);
        for (std::size_t i = every / 2; i < changes; i += every) {
            chosen.push_back(states[i + 1].step);
        }
        const std::size_t more = wanted > chosen.size() ? wanted - chosen.size() : 1;
        const std::uint64_t gap = stride(length, more);
        for (std::uint64_t at = 1 + gap / 2; at < length; at += gap) {
            chosen.push_back(at);
        }
        std::sort(chosen.begin(), chosen.end());
        chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
        return chosen;
    }

    // What threads know in private memory is not of this state, and they forget it.
    void restore(scene& here, const snapshot& state, bool victim_dead) {
        for (const auto* each : {&here.victim, &here.survivor, &here.third}) {
            if (**each) {
                auto* its = cohold::detail::local_of(header_of(**each)).identity->transactions;
                for (; its != nullptr; its = its->next_in_mapping) {
                    its->slabs().forget();
                }
            }
        }
        here.place->load(state);
        here.place->fates() = here.fates;
        if (victim_dead) {
            here.kill(*here.place);
        }
    }

    // The deed of a survivor that was attached all the time.
    [[nodiscard]] deed recovery(const segment& who) const {
        if (what_->heals) {
            return (what_->survive ? what_->survive : what_->act)(who);
        }
        return [&who] {
            recover(who);
            return true;
        };
    }

    // A survivor that was attached all the time does something to the object that the victim was
    // changing, without asking about the dead first; recovery comes later. Returns false if one has
    // failed, and may hold anything.
    bool be_hasty(scene& here, const std::vector<snapshot>& states) {
        const std::size_t every = stride(states.size(), how_.hasty);
        for (std::size_t k = 0; k < what_->hasty.size(); ++k) {
            restore(here, states.front(), false);
            const deed act = what_->hasty[k].act(*here.survivor);
            const std::string when = "killed, and then a survivor " + what_->hasty[k].name;
            for (std::size_t i = every / 2; i < states.size(); i += every) {
                restore(here, states[i], true);
                said.clear();
                std::string complaint;
                const result how = survive([&] { act(); }, complaint);
                if (how != result::legal) {
                    note({how, 0, complaint}, when, states[i]);
                    here.leave();
                    return false;
                }
                ++found_.schedules;
                note(arrive(here, take(here), casualty::none, hasty_[k], -1, &said), when,
                     states[i]);
            }
        }
        return true;
    }

    // The survivor itself is killed at every instruction. Returns false if one has failed, and may
    // hold anything.
    bool two_deep(scene& here, const std::vector<snapshot>& states) {
        restore(here, states.front(), false);
        const deed act = recovery(*here.survivor);
        std::unordered_set<std::uint64_t> seen;
        const std::size_t every = stride(states.size(), how_.deep_states);
        for (std::size_t i = every / 2; i < states.size(); i += every) {
            restore(here, states[i], true);
            std::string complaint;
            const result how = survive(
                [&] { step(here, *here.survivor, &second_states_, act, 0, {}); }, complaint);
            if (how != result::legal) {
                note({how, 0, complaint}, "a survivor", states[i]);
                here.leave();
                return false;
            }
            for (std::size_t k = 0; k < second_states_.size(); ++k) {
                if (!seen.insert(hash_of(second_states_[k])).second) {
                    continue;
                }
                ++found_.deep;
                note(arrive(here, second_states_[k], casualty::survivor, pairs_),
                     "killed, at step " + std::to_string(states[i].step) + ", and then a survivor",
                     second_states_[k]);
            }
        }
        return true;
    }

    // ---- bystanders

    struct schedule_result {
        bool waited = false;
        bool finished = true;
        int returned = -1;
    };

    // Steps the actor; after `at` instructions the other one begins. If it waits for the actor, the
    // actor continues.
    schedule_result schedule(scene& here, const segment& who, const deed& actor, const deed& other,
                             std::uint64_t at, bool snapshot_then) {
        schedule_result how;
        const std::function<void()> task = [&] {
            try {
                how.returned = other() ? 1 : 0;
            } catch (...) {
                how.returned = 2;
            }
        };
        bool started = false;
        step(here, who, nullptr, actor, at, [&](std::uint64_t) {
            started = true;
            other_.start(&task);
            how.waited = !other_.wait(std::chrono::milliseconds(3));
            if (!how.waited && snapshot_then) {
                scratch_.clear();
                scratch_.add(at, here.place->bytes(), here.place->size());
            }
            return false;
        });
        if (started) {
            how.finished = other_.wait(std::chrono::seconds(patience));
        }
        return how;
    }

    void interfere() {
        auto all = std::make_unique<scene>(*what_, other_); // as it was before the victim began
        base_.clear();
        base_.add(0, all->place->bytes(), all->place->size());
        deed victim = what_->act(*all->victim);
        deed other;
        other_.do_now([&] { other = what_->meanwhile(*all->third); });
        const std::size_t wanted =
            what_->closely // then after every change
                ? std::max({how_.schedules, close_schedules, first_states_.size() * 4 / 3 + 1})
                : how_.schedules;
        for (const std::uint64_t at : moments(first_states_, found_.instructions, wanted)) {
            if (what_->prepare) { // what the victim knows is a part of the state
                all.reset();
                all = std::make_unique<scene>(*what_, other_);
                victim = what_->act(*all->victim);
                other_.do_now([&] { other = what_->meanwhile(*all->third); });
            } else {
                restore(*all, base_.last(), false);
            }
            scene& fresh = *all;
            schedule_result how;
            std::string complaint;
            const result ended = survive(
                [&] { how = schedule(fresh, *fresh.victim, victim, other, at, true); }, complaint);
            ++found_.schedules;
            found_.waited += how.waited ? 1u : 0u;
            const snapshot where{at, nullptr, 0, nullptr};
            if (ended != result::legal || !how.finished) {
                note({how.finished ? ended : result::stuck, 0, complaint}, "with a bystander",
                     where);
                if (!how.finished) {
                    give_up_(found_);
                }
                fresh.leave();
                return;
            }
            if (!how.waited) {
                const snapshot killed = scratch_.last();
                note(arrive(fresh, killed, casualty::none, with_bystander_, how.returned),
                     "killed after a bystander", where);
            }
            note(arrive(fresh, take(fresh), casualty::none, finished_with_bystander_, how.returned),
                 "finished with a bystander", where);
        }
    }

    // A killed process takes its private lock with it; here the threads that continue in place of
    // other processes would wait for it.
    static bool is_list_locked() noexcept {
        return reinterpret_cast<const std::atomic<std::uint64_t>&>(cohold::detail::mappings)
                   .load() != 0;
    }

    // Runs a deed in a thread of its own, which after a number of instructions is left in the
    // middle for ever, with all that it knows.
    class doomed {
      public:
        // `then` is called when it is in the middle.
        doomed(
            scene& here, const segment& who, const binding& what, std::uint64_t at,
            std::function<void()> then = [] {}) {
            std::thread([&here, &who, &what, at, then = std::move(then), state = state_] {
                ::sigset_t most;
                sigfillset(&most);
                sigdelset(&most, SIGTRAP);
                ::pthread_sigmask(SIG_SETMASK, &most, nullptr);
                warm_up(who); // this thread has a journal of its own
                const deed act = what(who);
                set(*state, ready);
                state->wait(ready);
                step(here, who, nullptr, act, 0, [&](std::uint64_t now) {
                    if (now < at || is_list_locked()) {
                        return true;
                    }
                    int alive = running;
                    if (!state->compare_exchange_strong(alive, dying)) {
                        return false; // spared
                    }
                    then();
                    abandon_victim();
                    set(*state, dead);
                    for (;;) {
                        ::pause();
                    }
                    return false;
                });
                set(*state, ended);
            }).detach();
            state_->wait(0);
        }

        // Nothing is allocated here: the caller may be in the middle of malloc.
        void go() const noexcept { set(*state_, running); }

        // Has it died, or ended, within that time?
        [[nodiscard]] bool wait(std::chrono::milliseconds most) const noexcept {
            const auto end = std::chrono::steady_clock::now() + most;
            while (state_->load() < dead && std::chrono::steady_clock::now() < end) {
                ::usleep(50);
            }
            return state_->load() >= dead;
        }

        // Lets it live, unless it is dead or about to be: then waits for that.
        void spare() const noexcept {
            int alive = running;
            if (!state_->compare_exchange_strong(alive, spared)) {
                while (state_->load() == dying) {
                    ::usleep(50);
                }
            }
        }

        [[nodiscard]] bool is_dead() const noexcept { return state_->load() == dead; }

      private:
        enum : int { ready = 1, running, spared, dying, dead, ended };

        static void set(std::atomic<int>& state, int to) noexcept {
            state = to;
            state.notify_all();
        }

        std::shared_ptr<std::atomic<int>> state_ = std::make_shared<std::atomic<int>>(0);
    };

    // The victim is killed while the bystander waits for what it holds.
    void kill_before_waiters() {
        if (found_.waited == 0) {
            return;
        }
        for (const std::uint64_t at :
             moments(first_states_, found_.instructions, how_.waiting_kills)) {
            scene here(*what_, other_);
            deed other;
            other_.do_now([&] { other = what_->meanwhile(*here.third); });
            int returned = -1;
            bool finished = false;
            const std::function<void()> task = [&] { returned = other() ? 1 : 0; };
            const doomed victim(here, *here.victim, what_->act, at, [&] {
                other_.start(&task);
                static_cast<void>(other_.wait(std::chrono::milliseconds(2)));
                here.kill(*here.place);
                finished = other_.wait(std::chrono::seconds(patience));
            });
            victim.go();
            static_cast<void>(victim.wait(std::chrono::seconds(2 * patience)));
            if (!victim.is_dead()) {
                continue; // not every run has that many instructions
            }
            ++found_.schedules;
            const snapshot where{at, nullptr, 0, nullptr};
            if (!finished) {
                note({result::stuck, 0, "the waiter"}, "killed before a waiter", where);
                give_up_(found_);
            }
            note(arrive(here, take(here), casualty::none, with_bystander_, returned),
                 "killed before a waiter", where);
            here.leave();
        }
    }

    // The victim is frozen, and the bystander dies in the middle of its deed; a survivor recovers
    // it. Then the victim continues: nothing may have been taken from it.
    void kill_beside_frozen() {
        std::vector<std::uint64_t> deaths;
        {
            scene alone(*what_, other_);
            warm_up(*alone.third);
            const deed other = what_->meanwhile(*alone.third);
            const std::uint64_t length = step(alone, *alone.third, &second_states_, other, 0, {});
            deaths = moments(second_states_, length, how_.deaths);
        }
        for (const std::uint64_t at : moments(first_states_, found_.instructions, how_.freezes)) {
            for (const std::uint64_t then : deaths) {
                if (!kill_beside_frozen(at, then)) {
                    return;
                }
            }
        }
    }

    // Returns false if the rest need not be tried.
    bool kill_beside_frozen(std::uint64_t at, std::uint64_t then) {
        scene here(*what_, other_);
        const deed act = what_->act(*here.victim);
        const doomed other(here, *here.third, what_->meanwhile, then);
        const std::function<void()> tidy_up = [&here] { recover(*here.survivor); };
        other_.do_now([&] { warm_up(*here.survivor); });
        bool frozen = false;
        bool died = false;
        bool done = false;
        std::string complaint;
        const result ended = survive(
            [&] {
                const deed noting = [&] { return done = act(); };
                step(here, *here.victim, nullptr, noting, at, [&](std::uint64_t) {
                    frozen = true;
                    other.go();
                    if (!other.wait(std::chrono::milliseconds(500))) {
                        other.spare(); // or it would die later, unnoticed
                    }
                    if (other.is_dead()) {
                        died = true;
                        here.place->kill(here.third_slot, 2);
                        other_.start(&tidy_up);
                        // The survivor may have to wait, for the heap for instance.
                        static_cast<void>(other_.wait(std::chrono::milliseconds(3)));
                    }
                    return false;
                });
            },
            complaint);
        if (!frozen) {
            other.go();
        }
        const bool still_running = !other.wait(std::chrono::seconds(patience)) ||
                                   !other_.wait(std::chrono::seconds(patience));
        const snapshot where{at, nullptr, 0, nullptr};
        const std::string when = "frozen, and a bystander killed at step " + std::to_string(then);
        if (ended != result::legal || still_running) {
            note({ended != result::legal ? ended : result::stuck, 0, complaint}, when, where);
            if (still_running) {
                give_up_(found_);
            }
            here.leave();
            return false;
        }
        if (died) { // otherwise it has waited for the victim, or was done
            ++found_.schedules;
            note(arrive(here, take(here), casualty::bystander,
                        done ? finished_beside_dead_ : beside_dead_),
                 when, where);
        }
        here.leave();
        return true;
    }

    // Two survivors find the same dead participant.
    void race(scene& here, const std::vector<snapshot>& states) {
        restore(here, states.front(), false);
        const deed actor = [&here] {
            recover(*here.survivor);
            return true;
        };
        const deed other = [&here] {
            recover(*here.third);
            return true;
        };
        const std::size_t every = stride(states.size(), how_.races);
        for (std::size_t i = every / 2; i < states.size(); i += every) {
            restore(here, states[i], true);
            const std::uint64_t length = step(here, *here.survivor, &second_states_, actor, 0, {});
            for (const std::uint64_t at : moments(second_states_, length, how_.race_schedules)) {
                restore(here, states[i], true);
                const schedule_result how = schedule(here, *here.survivor, actor, other, at, false);
                ++found_.schedules;
                found_.waited += how.waited ? 1u : 0u;
                if (!how.finished) {
                    note({result::stuck, 0, "the second survivor"}, "two survivors", states[i]);
                    give_up_(found_);
                }
                note(arrive(here, take(here), casualty::none, alone_), "two survivors", states[i]);
            }
        }
    }

    // ---- reporting

    void note(const judgement& verdict, const std::string& when, const snapshot& state) {
        if (verdict.how != result::legal) {
            note(verdict.how, when, state.step, state.code, verdict.complaint);
        }
    }

    void note(result how, const std::string& when, std::uint64_t step, const void* code,
              const std::string& complaint) {
        ++found_.failures[static_cast<int>(how)];
        if (how == result::stuck && found_.failures[static_cast<int>(how)] == 3) {
            found_.complaints.emplace_back("stuck too often: the rest is not explored");
            give_up_(found_); // each one takes seconds
        }
        if (found_.complaints.size() < 8) {
            char place[64];
            std::snprintf(place, sizeof place, " after %llu instructions (before %p): ",
                          static_cast<unsigned long long>(step), code);
            found_.complaints.push_back(std::string(name_of(how)) + ": " + when + place +
                                        complaint.substr(0, 600));
        }
    }

    static constexpr std::size_t most_states = 8192;
    static constexpr std::size_t close_schedules = 128;

    const thoroughness how_;
    const std::function<void(const findings&)> give_up_;
    const operation* what_ = nullptr;
    findings found_;
    world copy_;
    bystander other_;
    snapshot_store first_states_{most_states, world::reserve};
    snapshot_store second_states_{most_states, world::reserve};
    snapshot_store scratch_{1, world::reserve};
    snapshot_store base_{1, world::reserve};
    outcomes alone_;                   // the victim's: before, after, also
    outcomes pairs_;                   // and the survivor may have done it too, and is dead
    outcomes with_bystander_;          // the victim killed, the bystander done or refused
    outcomes finished_with_bystander_; // the victim done
    outcomes beside_dead_;             // the bystander killed, whatever the victim did
    outcomes finished_beside_dead_;    // the victim done
    std::vector<outcomes> hasty_;      // for each hasty deed: first the victim's, then that deed's
};

} // namespace crash

#endif
