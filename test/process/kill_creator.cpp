// A process is killed at every system call of a creation, and at random moments: afterwards there
// is nothing or a complete object, the next process can work, and remove() leaves nothing at all.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <atomic>
#include <cstdint>
#include <ctime>
#include <functional>
#include <list>
#include <random>
#include <string>
#include <vector>

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/place.hpp"
#include "support/process.hpp"

namespace {

using cohold::errc;

constexpr std::size_t reserve = std::size_t{1} << 20;
constexpr cohold::segment_options small{.size = 16384, .reserve = reserve};
constexpr cohold::segment_options small_session{
    .size = 16384, .reserve = reserve, .lifetime = cohold::lifetime::session};

// Complete if both are equal.
struct pair_of {
    explicit pair_of(std::int32_t value) : first(value), last(value) {}

    std::int32_t first;
    std::int32_t last;
};

template <class Mechanism, class Naming = cohold::naming::verbatim>
struct target : support::combination<Mechanism, Naming, cohold::permission::owner_only> {
    using shared = cohold::shared<pair_of, Mechanism, Naming>;

    // In its own namespaces a test can use any name.
    static std::string name() {
        return std::is_same_v<Mechanism, cohold::mechanism::tmpfs> ? "/dev/shm/victim"
               : std::is_same_v<Mechanism, cohold::mechanism::file>
                   ? support::disk_directory() + "/victim"
                   : "victim";
    }
};

using all_targets = std::tuple<target<cohold::mechanism::posix>, target<cohold::mechanism::file>,
                               target<cohold::mechanism::tmpfs>,
                               target<cohold::mechanism::posix, cohold::naming::hashed>
#if COHOLD_USE_O_TMPFILE
                               ,
                               target<cohold::mechanism::system_v>
#endif
                               >;

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<pair_of> = true;

namespace {

// There was nothing to open.
bool absent(const std::error_code& ec) {
    if (ec != errc::not_found) {
        std::fprintf(stderr, "%s\n", cohold::last_failure().what());
        return false;
    }
    return true;
}

void count_lines(const char* path, std::vector<std::string>& into) {
    std::FILE* const file = std::fopen(path, "re");
    char line[512];
    for (int n = 0; file != nullptr && std::fgets(line, sizeof line, file) != nullptr; ++n) {
        if (n > 0) { // the first is the heading
            into.push_back(std::string(path) + ": " + line);
        }
    }
    if (file != nullptr) {
        std::fclose(file);
    }
}

// All objects in the namespaces of the test.
std::vector<std::string> leftovers() {
    std::vector<std::string> found = support::files_in("/dev/shm");
    for (const std::string& each : support::files_in(support::disk_directory())) {
        found.push_back(each);
    }
    count_lines("/proc/sysvipc/shm", found);
    count_lines("/proc/sysvipc/sem", found);
    return found;
}

bool nothing_left() {
    const std::vector<std::string> found = leftovers();
    for (const std::string& each : found) {
        std::fprintf(stderr, "left behind: %s\n", each.c_str());
    }
    return found.empty();
}

// Runs a test in a child whose System V objects and /dev/shm are its own.
template <class Run>
int in_own_world(Run run) {
    static_cast<void>(support::disk_directory()); // this process will remove it
    return support::in_child([run] {
        support::enter_namespaces(CLONE_NEWIPC | CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/dev/shm", "size=64m");
        return run();
    });
}

enum class fate { died, lived, failed };

// Runs the victim, and kills it at the stop with this number: 2 * n + 1 is before its system call
// n, 2 * n + 2 after it. Lived: it has fewer.
template <class Victim>
fate kill_at(int stop, const Victim& victim) {
    const pid_t id = ::fork();
    if (id == 0) {
        ::alarm(30);
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        try {
            victim();
        } catch (const std::exception& thrown) {
            std::fprintf(stderr, "victim: %s\n", thrown.what());
            ::_exit(1);
        }
        ::_exit(0);
    }
    int status = 0;
    if (id < 0 || ::waitpid(id, &status, 0) != id || !WIFSTOPPED(status) ||
        ::ptrace(PTRACE_SETOPTIONS, id, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
        std::perror("ptrace");
        return fate::failed;
    }
    for (long number = 0;;) {
        const int passed = WSTOPSIG(status) == SIGSTOP || (WSTOPSIG(status) & 0x7f) == SIGTRAP
                               ? 0
                               : WSTOPSIG(status);
        if (::ptrace(PTRACE_SYSCALL, id, nullptr, passed) != 0 || ::waitpid(id, &status, 0) != id) {
            std::perror("ptrace");
            return fate::failed;
        }
        if (WIFEXITED(status)) {
            return WEXITSTATUS(status) == 0 ? fate::lived : fate::failed;
        }
        if (WIFSIGNALED(status)) {
            std::fprintf(stderr, "victim: signal %d\n", WTERMSIG(status));
            return fate::failed;
        }
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) && ++number == stop) {
            ::kill(id, SIGKILL);
            while (::waitpid(id, &status, 0) == id && !WIFSIGNALED(status)) {
            }
            return fate::died;
        }
    }
}

// Kills the victim at each of its stops. Before: prepare(). After: each of the aftermaths, which
// must end with nothing left.
template <class Prepare, class Victim>
bool kill_everywhere(const char* what, const Prepare& prepare, const Victim& victim,
                     const std::vector<std::function<bool()>>& aftermaths) {
    for (std::size_t which = 0; which < aftermaths.size(); ++which) {
        int stop = 1;
        for (;; ++stop) {
            EXPECT(prepare());
            const fate how = kill_at(stop, victim);
            EXPECT(how != fate::failed);
            bool good = false;
            try {
                good = aftermaths[which]() && nothing_left();
            } catch (const std::exception& thrown) {
                std::fprintf(stderr, "afterwards: %s\n", thrown.what());
            }
            if (!good) {
                std::fprintf(stderr, "%s: killed at stop %d, aftermath %zu\n", what, stop, which);
                return false;
            }
            if (how == fate::lived) {
                break;
            }
        }
        EXPECT(stop > 8); // it did make system calls
    }
    return true;
}

// A segment that works: objects can be made, found and removed.
template <class Segment>
bool works(const Segment& segment) {
    EXPECT(segment);
    segment.template construct<std::int32_t>("works", 5);
    const Segment again = Segment::open(segment.name());
    EXPECT(*again.template find<std::int32_t>("works") == 5);
    EXPECT(again.template destroy<std::int32_t>("works"));
    EXPECT(!segment.is_removed());
    return true;
}

// Nothing, or a complete one.
template <class C>
bool openable_or_absent(bool may_be_there = true) {
    std::error_code ec;
    {
        const auto view = C::segment::open(C::name(), cohold::read_only, ec);
        EXPECT(view ? may_be_there : absent(ec));
    }
    const auto opened = C::segment::open(C::name(), ec);
    EXPECT(opened ? may_be_there : absent(ec));
    return !opened || works(opened);
}

template <class C>
bool removes() {
    std::error_code ec;
    C::segment::remove(C::name(), ec);
    EXPECT(!ec);
    EXPECT(!C::segment::remove(C::name(), ec) && !ec);
    return true;
}

// A process creates and removes repeatedly, until it is killed; the next one finds nothing, or a
// complete object.
template <class C>
bool kill_at_random(int times) {
    using shared = typename C::shared;
    support::common<std::atomic<int>> started;
    std::minstd_rand random(static_cast<unsigned>(::getpid()));
    for (int n = 0; n < times; ++n) {
        *started = 0;
        support::child creator(support::content([&] {
            *started = 1;
            for (;;) {
                EXPECT(shared::open_or_create(C::name(), small, 7)->last == 7);
                EXPECT(shared::remove(C::name()));
            }
            return true;
        }));
        support::await(*started, 1);
        const std::timespec moment{0, static_cast<long>(random() % 400000)};
        ::nanosleep(&moment, nullptr);
        const int ended = support::kill_child(creator);
        EXPECT(ended == -SIGKILL); // no failure until then
        const shared next = shared::open_or_create(C::name(), small, 7);
        EXPECT(next->first == 7 && next->last == 7);
        EXPECT(!next.is_removed());
        if (n % 2 == 0) {
            EXPECT(shared::remove(C::name()));
        }
    }
    return true;
}

bool nothing_to_prepare() {
    return true;
}

// What the next process may do, whatever has happened.
template <class C>
std::vector<std::function<bool()>> aftermaths_of_creation(bool may_be_there = true) {
    using segment = typename C::segment;
    std::vector<std::function<bool()>> list = {
        [] { return removes<C>(); },
        [may_be_there] { return openable_or_absent<C>(may_be_there) && removes<C>(); },
        [] { return works(segment::open_or_create(C::name(), small)) && removes<C>(); },
        [may_be_there] {
            std::error_code ec;
            const segment made = segment::create(C::name(), small, ec);
            EXPECT(made ? works(made) : may_be_there && ec == errc::already_exists);
            return openable_or_absent<C>() && removes<C>();
        },
    };
    if constexpr (C::replaces) {
        list.push_back([] { return works(segment::replace(C::name(), small)) && removes<C>(); });
    }
    return list;
}

template <class C>
bool holds(std::int32_t one, std::int32_t other) {
    const auto opened = C::shared::open(C::name());
    EXPECT(opened->first == opened->last);
    EXPECT(opened->first == one || opened->first == other);
    return true;
}

template <class C>
bool prepares_a_one() {
    return C::shared::create(C::name(), small, 1)->first == 1;
}

} // namespace

TEST_CASE_TEMPLATE_DEFINE("killed at every system call", C, at_every_call) {
    using segment = typename C::segment;
    using shared = typename C::shared;
    SUBCASE("of segment::create") {
        CHECK(in_own_world([] {
                  return kill_everywhere(
                      "create", nothing_to_prepare,
                      [] { static_cast<void>(segment::create(C::name(), small)); },
                      aftermaths_of_creation<C>());
              }) == 0);
    }
    SUBCASE("of segment::open_or_create") {
        CHECK(in_own_world([] {
                  return kill_everywhere(
                      "open_or_create", nothing_to_prepare,
                      [] { static_cast<void>(segment::open_or_create(C::name(), small)); },
                      aftermaths_of_creation<C>());
              }) == 0);
    }
    SUBCASE("of a whole session") { // its death has ended it
        CHECK(in_own_world([] {
                  return kill_everywhere(
                      "session", nothing_to_prepare,
                      [] {
                          const segment made = segment::create(C::name(), small_session);
                          made.template construct<std::int32_t>("number", 1);
                      },
                      aftermaths_of_creation<C>(false));
              }) == 0);
    }
    SUBCASE("of memory_object::create") {
        using object = typename C::memory_object;
        CHECK(in_own_world([] {
                  return kill_everywhere("memory_object::create", nothing_to_prepare,
                                         [] { static_cast<void>(object::create(C::name(), 8192)); },
                                         {[] {
                                              object::remove(C::name());
                                              return true;
                                          },
                                          [] {
                                              std::error_code ec;
                                              const object opened = object::open(C::name(), ec);
                                              EXPECT(opened ? opened.size() == 8192 : absent(ec));
                                              object::remove(C::name());
                                              return true;
                                          },
                                          [] {
                                              const object made =
                                                  object::open_or_create(C::name(), 8192);
                                              EXPECT(made.map().size() == 8192);
                                              EXPECT(object::remove(C::name()));
                                              return true;
                                          }});
              }) == 0);
    }
    SUBCASE("of shared<T>::create") {
        CHECK(in_own_world([] {
                  return kill_everywhere(
                      "shared::create", nothing_to_prepare,
                      [] { static_cast<void>(shared::create(C::name(), small, 7)); },
                      {[] { return removes<C>(); },
                       [] {
                           std::error_code ec;
                           const shared opened = shared::open(C::name(), ec);
                           EXPECT(opened ? opened->first == 7 && opened->last == 7 : absent(ec));
                           return removes<C>();
                       },
                       [] {
                           EXPECT(shared::open_or_create(C::name(), small, 8)->first >= 7);
                           return holds<C>(7, 8) && removes<C>();
                       }});
              }) == 0);
    }
    SUBCASE("of shared<T>::replace") {
        if constexpr (C::replaces) {
            CHECK(in_own_world([] {
                      return kill_everywhere(
                          "shared::replace", prepares_a_one<C>,
                          [] { static_cast<void>(shared::replace(C::name(), small, 2)); },
                          {[] { return holds<C>(1, 2) && removes<C>(); },
                           [] {
                               EXPECT(shared::replace(C::name(), small, 3)->first == 3);
                               return holds<C>(3, 3) && removes<C>();
                           },
                           [] {
                               EXPECT(removes<C>() && nothing_left());
                               EXPECT(shared::create(C::name(), small, 4)->first == 4);
                               return holds<C>(4, 4) && removes<C>();
                           }});
                  }) == 0);
        }
    }
    SUBCASE("of remove") {
        CHECK(in_own_world([] {
                  return kill_everywhere(
                      "remove", [] { return static_cast<bool>(segment::create(C::name(), small)); },
                      [] { segment::remove(C::name()); }, aftermaths_of_creation<C>());
              }) == 0);
    }
}

TEST_CASE_TEMPLATE_DEFINE("killed at random moments while others open", C, at_random) {
    using shared = typename C::shared;
    CHECK(in_own_world([] {
              support::common<std::atomic<int>> stop;
              support::common<std::atomic<long>> seen;
              std::list<support::child> openers;
              for (int i = 0; i < 2; ++i) {
                  openers.emplace_back(support::content([&, i] {
                      while (*stop == 0) {
                          std::error_code ec;
                          if (i == 0) {
                              const shared opened = shared::open(C::name(), ec);
                              EXPECT(opened ? opened->first == 7 && opened->last == 7 : absent(ec));
                              *seen += opened ? 1 : 0;
                          } else {
                              const auto opened = shared::open(C::name(), cohold::read_only, ec);
                              EXPECT(opened ? opened->first == 7 && opened->last == 7 : absent(ec));
                          }
                          ::sched_yield();
                      }
                      return true;
                  }));
              }
              constexpr int times = 1000 / static_cast<int>(std::tuple_size_v<all_targets>) + 1;
              bool good = false;
              try {
                  good = kill_at_random<C>(times);
              } catch (const std::exception& thrown) {
                  std::fprintf(stderr, "the next process: %s\n", thrown.what());
              }
              *stop = 1;
              for (support::child& each : openers) {
                  good = support::status_of(each) == 0 && good;
              }
              EXPECT(good);
              EXPECT(*seen > 0);
              shared::remove(C::name());
              return nothing_left();
          }) == 0);
}

TEST_CASE_TEMPLATE_APPLY(at_every_call, all_targets);
TEST_CASE_TEMPLATE_APPLY(at_random, all_targets);
