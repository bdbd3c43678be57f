// Threads that end, instruction by instruction, beside others that judge which threads are alive,
// recover and take what the ended ones have left; and that are killed in the middle of it. And vice
// versa: a judge, instruction by instruction, while threads end and others take their journals.
//
//   threads [SAMPLES]    at how many instructions; 60 by default
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <pthread.h>

#include "crash/crowded.hpp"
#include "crash/explore.hpp"

namespace {

using namespace std::chrono_literals;
using crash::segment;

int failures = 0;
std::uint64_t schedules = 0;
std::uint64_t kills = 0;

void expect(bool good, const std::string& what, const std::string& setup, std::uint64_t step) {
    if (!good && ++failures <= 20) {
        std::printf("%s, after %llu instructions: not so: %s\n", setup.c_str(),
                    static_cast<unsigned long long>(step), what.c_str());
        std::fflush(stdout);
    }
}

struct things {
    cohold::shm_mutex held;  // by a living thread
    cohold::shm_mutex other; // for another thread's first use
    cohold::shm_mutex left;  // perhaps by the thread that ends
    cohold::shm_guarded<cohold::shm_vector<int>> value;
};

enum class leaving { nothing, a_lock, a_section };

struct setup {
    const char* name;
    bool crowded; // then journals are those that the segment keeps beside its heap
    leaving what;
};

constexpr setup setups[] = {
    {"a thread ends", false, leaving::nothing},
    {"a thread ends in a full segment", true, leaving::nothing},
    {"a thread ends with a lock", false, leaving::a_lock},
    {"a thread ends in a section", false, leaving::a_section},
    {"a thread ends in a section, in a full segment", true, leaving::a_section},
};

// The end of a thread is stepped from the last statement of its function until the destructors of
// the POSIX thread keys have run, of which this is the last one.
void end_stepping(void* /*value*/) {
    crash::detail::trap_flag_off();
    crash::abandon_victim();
}

::pthread_key_t last_key() {
    static const ::pthread_key_t key = [] {
        ::pthread_key_t made{};
        crash::demand(::pthread_key_create(&made, &end_stepping) == 0, "pthread_key_create");
        return made;
    }();
    return key;
}

// One process (as the lab sees it) with a living thread and one that ends, one that judges, and one
// whose threads are new.
class stage {
  public:
    explicit stage(const setup& how) : how_(how) {
        {
            const auto value = place_.maker().construct<things>("all").value.lock();
            value->reserve(8); // there may be no more room later
            value->assign({1, 2, 3});
        }
        process_ = place_.attach();
        judge_ = place_.attach();
        newcomers_ = place_.attach();
        crash::warm_up(judge_);
        slot_ = cohold::detail::slot_of(crash::attached(process_));
        crash::attached(newcomers_);
        holder_.do_now([this] { on(process_).held.lock(); });
        if (how.crowded) {
            crash::crowd(place_.maker(), crash::room::none);
        }
        fates_ = place_.fates();
    }

    [[nodiscard]] static things& on(const segment& where) { return *where.find<things>("all"); }

    crash::world& place() { return place_; }

    const segment& process() { return process_; }

    const segment& judge() { return judge_; }

    // A thread that has used the segment, and then waits for permission to end; its end is stepped.
    class ending {
      public:
        ending(stage& here, const crash::stepping* what) {
            thread_ = std::thread([&here, what, this] {
                things& all = on(here.process_);
                all.other.lock();
                all.other.unlock();
                if (here.how_.what == leaving::a_lock) {
                    all.left.lock();
                } else if (here.how_.what == leaving::a_section) {
                    auto* const guard = new auto(all.value.lock()); // never destroyed
                    (*guard)->push_back(4);
                    (*guard)->erase((*guard)->begin());
                }
                ready_ = true;
                ready_.notify_one();
                gate_.wait(false);
                if (what != nullptr) {
                    ::pthread_setspecific(last_key(), this);
                    crash::detail::now_stepping = {what, 0};
                    crash::detail::trap_flag_on();
                }
            });
            ready_.wait(false);
        }

        void end() {
            gate_ = true;
            gate_.notify_one();
            thread_.join();
        }

      private:
        std::atomic<bool> ready_{false};
        std::atomic<bool> gate_{false};
        std::thread thread_;
    };

    // A new thread of another process uses the segment, and ends.
    void newcomer() {
        std::thread([this] {
            std::error_code ec;
            if (on(newcomers_).other.try_lock_for(2s, ec)) {
                on(newcomers_).other.unlock();
            }
        }).join();
    }

    // What must always be true. Empty if it is.
    [[nodiscard]] std::string look() {
        things& all = on(judge_);
        if (all.held.try_lock()) {
            return "a living thread keeps its lock";
        }
        if (auto locked = all.value.try_lock(); locked && !is_before(*locked)) {
            return "an unfinished section has never happened";
        }
        static_cast<void>(crash::recover(judge_));
        return {};
    }

    [[nodiscard]] static bool is_before(const cohold::shm_vector<int>& it) {
        return it.size() == 3 && it[0] == 1 && it[2] == 3;
    }

    // The same after the thread has ended.
    [[nodiscard]] std::string look_afterwards() {
        std::string wrong = look();
        things& all = on(judge_);
        if (wrong.empty()) {
            if (all.left.try_lock_for(2s)) {
                all.left.unlock();
            } else {
                wrong = "a lock that an ended thread held can be locked";
            }
        }
        if (wrong.empty() && !is_before(*all.value.lock())) {
            wrong = "a section in which a thread has ended has never happened";
        }
        return wrong.empty() ? crash::audit(crash::header_of(judge_)) : wrong;
    }

    // The process is killed when the bytes have this state.
    [[nodiscard]] std::string kill(const crash::snapshot& state, crash::world& copy) {
        copy.load(state);
        copy.fates() = fates_;
        copy.kill(slot_, 1);
        std::string wrong;
        const crash::result how = crash::survive(
            [&] {
                const segment newcomer = copy.attach();
                crash::attached(newcomer);
                wrong = crash::audit(crash::header_of(newcomer));
                if (wrong.empty() && how_.what != leaving::nothing) {
                    // The judge held nothing then; the dead process may have held all of these.
                    things& all = on(newcomer);
                    if (!all.held.try_lock() || !all.left.try_lock()) {
                        wrong = "the locks of the dead can be locked";
                    } else if (!is_before(*all.value.lock())) {
                        wrong = "a killed section has never happened";
                    }
                }
            },
            wrong);
        return how == crash::result::legal ? wrong : wrong + " (a newcomer)";
    }

    void let_go() {
        holder_.do_now([this] { on(process_).held.unlock(); });
    }

  private:
    const setup& how_;
    crash::world place_;
    segment process_;
    segment judge_;
    segment newcomers_;
    crash::bystander holder_;
    std::uint32_t slot_ = 0;
    crash::census fates_;
};

// Each of a few instructions, or all of them.
std::uint64_t gap(std::uint64_t length, std::uint64_t samples) {
    return length / samples + 1;
}

// The end, instruction by instruction.
void step_the_end(const setup& how, std::uint64_t samples) {
    crash::world copy;
    crash::snapshot_store states(2048, crash::world::reserve);
    std::uint64_t length = 0;
    {
        stage here(how);
        states.clear();
        states.add(0, here.place().bytes(), here.place().size());
        const crash::stepping counting{.bytes = here.place().bytes(),
                                       .size = [&here] { return here.place().size(); },
                                       .states = &states,
                                       .between =
                                           [&length](std::uint64_t step) {
                                               length = step;
                                               return true;
                                           }};
        stage::ending(here, &counting).end();
        const std::string wrong = here.look_afterwards();
        expect(wrong.empty(), wrong, how.name, 0);
        here.let_go();
        for (std::size_t i = 1; i < states.size(); ++i) {
            ++kills;
            const std::string after = here.kill(states[i], copy);
            expect(after.empty(), after + ", once killed", how.name, states[i].step);
        }
    }
    crash::bystander other;
    for (std::uint64_t at = 1; at < length; at += gap(length, samples)) {
        stage here(how);
        std::string wrong;
        const std::function<void()> task = [&] {
            wrong = here.look();
            here.newcomer();
        };
        const crash::stepping what{.at = at, .between = [&](std::uint64_t) {
                                       other.start(&task);
                                       static_cast<void>(other.wait(3ms));
                                       return false;
                                   }};
        stage::ending(here, &what).end();
        expect(other.wait(5s), "the others continue", how.name, at);
        ++schedules;
        wrong = wrong.empty() ? here.look_afterwards() : wrong;
        expect(wrong.empty(), wrong, how.name, at);
        here.let_go();
    }
}

// The judge, instruction by instruction, while a thread ends and another process takes its journal.
void step_the_judge(const setup& how, std::uint64_t samples) {
    crash::bystander other;
    stage here(how);
    things& all = stage::on(here.judge());
    bool got = false;
    const auto ask = [&] { got = all.held.try_lock(); };
    ask();
    const std::uint64_t length = crash::step_through({}, ask);
    for (std::uint64_t at = 1; at < length; at += gap(length, samples)) {
        stage::ending thread(here, nullptr);
        const std::function<void()> task = [&] {
            thread.end();
            here.newcomer();
        };
        bool started = false;
        const crash::stepping what{.at = at, .between = [&](std::uint64_t) {
                                       started = true;
                                       other.start(&task);
                                       static_cast<void>(other.wait(20ms));
                                       return false;
                                   }};
        crash::step_through(what, ask);
        if (!started) {
            other.start(&task);
        }
        expect(other.wait(5s), "the others continue", how.name, at);
        ++schedules;
        expect(!got, "a living thread keeps its lock, whichever thread ends", how.name, at);
        if (got) {
            std::_Exit(1); // two threads have it
        }
    }
    const std::string wrong = here.look_afterwards();
    expect(wrong.empty(), wrong, how.name, 0);
    here.let_go();
}

} // namespace

int main(int count, char** arguments) {
    if (!COHOLD_TEST_STEPS) {
        std::puts("skipped: instructions can be stepped only on x86-64 without sanitizers");
        return 77;
    }
    const std::uint64_t samples = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 60;
    crash::detail::handle_traps();
    {
        const auto first =
            std::make_unique<crash::world>(); // cohold's key is created before the last one
        crash::warm_up(first->maker());
    }
    static_cast<void>(last_key());
    for (const setup& each : setups) {
        step_the_end(each, samples);
        if (each.what == leaving::nothing) {
            step_the_judge(each, samples * 8);
        }
    }
    std::printf("%llu schedules, %llu kills\n%d failures\n",
                static_cast<unsigned long long>(schedules), static_cast<unsigned long long>(kills),
                failures);
    return failures == 0 ? 0 : 1;
}
