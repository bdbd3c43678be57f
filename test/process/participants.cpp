// The processes that use a segment: which are listed, which are alive, and what happens to the
// segment when some are killed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "support/place.hpp"
#include "support/process.hpp"
#include "support/seccomp.hpp"

using namespace cohold;
using support::child;
using support::common;
using support::content;
using support::in_child;
using support::kill_child;
using support::status_of;

namespace {

using numbers = shm_vector<std::uint64_t>;

constexpr segment_options small{.size = 65536, .reserve = std::size_t{16} << 20};

// May this process open files by its mappings? That takes a privilege.
bool sees_mapped_files() {
    const int fd = static_cast<int>(::syscall(SYS_memfd_create, "cohold", MFD_CLOEXEC));
    const auto bytes = static_cast<std::size_t>(::getpagesize());
    void* const page = ::mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, fd, 0);
    ::close(fd);
    const cohold::detail::unique_fd again =
        cohold::detail::reopen_mapped(page, bytes, {}, O_RDONLY);
    ::munmap(page, bytes);
    return static_cast<bool>(again);
}

// A segment of any mechanism, of which nothing is left at the end.
template <class Mechanism>
class scratch {
  public:
    using policies =
        support::combination<Mechanism, typename Mechanism::default_naming, permission::owner_only>;
    using segment = cohold::segment<Mechanism>;

    scratch() {
        if constexpr (policies::named) {
            handle = segment::create(name, small);
        } else {
            handle = segment::create(small);
        }
    }

    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    ~scratch() {
        if constexpr (policies::named) {
            std::error_code ec;
            segment::remove(name, ec);
        }
    }

    // As another process would get it.
    [[nodiscard]] segment again() const {
        if constexpr (policies::named) {
            return segment::open(name);
        } else {
            return segment::adopt(support::duplicate(handle.native_handle()));
        }
    }

    const std::string name = policies::name("participants");
    segment handle;
};

template <class Segment>
std::optional<participant> find(const Segment& handle, pid_t id) {
    for (const participant& each : handle.participants()) {
        if (each.pid == id) {
            return each;
        }
    }
    return std::nullopt;
}

template <class Segment>
bool is(const Segment& handle, pid_t id, verdict state) {
    const std::optional<participant> found = find(handle, id);
    return found && found->state == state;
}

template <class Segment>
void wait_for(const Segment& handle, std::size_t participants) {
    while (handle.participants().size() != participants) {
        ::usleep(200);
    }
}

// Until the child is a zombie, and stays one.
void wait_until_dead(pid_t id) {
    ::siginfo_t info{};
    CHECK(::waitid(P_PID, static_cast<id_t>(id), &info, WEXITED | WNOWAIT) == 0);
}

} // namespace

#define MECHANISMS                                                                                 \
    mechanism::posix, mechanism::system_v, mechanism::file, mechanism::tmpfs, mechanism::memfd,    \
        mechanism::anonymous

TEST_CASE_TEMPLATE("a participant is listed until it detaches, or is dead and recovered", Mechanism,
                   MECHANISMS) {
    const scratch<Mechanism> s;
    REQUIRE(s.handle.participants().size() == 1);
    CHECK(s.handle.participants()[0].self);
    CHECK(is(s.handle, ::getpid(), verdict::alive));
    for (const bool killed : {false, true}) {
        CAPTURE(killed);
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        child other(content([&] {
            ::close(ends[1]);
            const auto mine = s.again();
            EXPECT(mine.participants().size() == 2);
            EXPECT(is(mine, ::getpid(), verdict::alive));
            EXPECT(find(mine, ::getpid())->self);
            EXPECT(is(mine, ::getppid(), verdict::alive));
            EXPECT(!find(mine, ::getppid())->self);
            char end = 0;
            EXPECT(::read(ends[0], &end, 1) == 0);
            return true;
        }));
        ::close(ends[0]);
        wait_for(s.handle, 2);
        CHECK(is(s.handle, other.id(), verdict::alive));
        CHECK(s.handle.recover() == 0);
        ::kill(other.id(), SIGSTOP);
        int status = 0;
        CHECK(::waitpid(other.id(), &status, WUNTRACED) == other.id());
        CHECK(is(s.handle, other.id(), verdict::alive));
        if (killed) {
            ::kill(other.id(), SIGKILL);
            wait_until_dead(other.id());
            CHECK(is(s.handle, other.id(), verdict::dead));
            CHECK(s.handle.recover() == 1);
        } else {
            ::kill(other.id(), SIGCONT);
        }
        ::close(ends[1]);
        CHECK(status_of(other) == (killed ? -SIGKILL : 0));
        CHECK(s.handle.participants().size() == 1);
        CHECK(s.handle.recover() == 0);
    }
}

TEST_CASE_TEMPLATE("a forked child is no participant before it uses the segment, and dies alone",
                   Mechanism, MECHANISMS) {
    const scratch<Mechanism> s;
    for (const bool parent_first : {false, true}) {
        CAPTURE(parent_first);
        const common<std::atomic<int>> step;
        const common<std::atomic<pid_t>> grandchild;
        child parent(content([&] {
            const auto mine = s.again();
            const pid_t forked = ::fork();
            if (forked == 0) {
                support::await(*step, 2);
                mine.template construct<int>("by the grandchild", 7);
                *step = 3;
                ::pause();
                ::_exit(0);
            }
            *grandchild = forked;
            *step = 1;
            ::pause();
            return true;
        }));
        support::await(*step, 1);
        CHECK(s.handle.participants().size() == 2);
        *step = 2;
        support::await(*step, 3);
        CHECK(s.handle.participants().size() == 3);
        CHECK(is(s.handle, parent.id(), verdict::alive));
        CHECK(is(s.handle, *grandchild, verdict::alive));
        if (parent_first) {
            ::kill(parent.id(), SIGKILL);
            wait_until_dead(parent.id());
            CHECK(is(s.handle, parent.id(), verdict::dead));
            CHECK(is(s.handle, *grandchild, verdict::alive));
            CHECK(s.handle.recover() == 1);
            ::kill(*grandchild, SIGKILL);
            while (is(s.handle, *grandchild, verdict::alive)) {
                ::usleep(200);
            }
        } else {
            ::kill(*grandchild, SIGKILL);
            while (is(s.handle, *grandchild, verdict::alive)) {
                ::usleep(200);
            }
            CHECK(is(s.handle, parent.id(), verdict::alive));
            CHECK(s.handle.recover() == 1);
            ::kill(parent.id(), SIGKILL);
            wait_until_dead(parent.id());
            CHECK(is(s.handle, parent.id(), verdict::dead));
        }
        CHECK(status_of(parent) == -SIGKILL);
        CHECK(s.handle.recover() == 1);
        CHECK(s.handle.participants().size() == 1);
        CHECK(s.handle.template destroy<int>("by the grandchild"));
    }
}

TEST_CASE_TEMPLATE("a child's destructor does not release its parent's slot", Mechanism,
                   MECHANISMS) {
    scratch<Mechanism> s;
    for (const bool used : {false, true}) {
        CHECK(in_child([&] {
                  if (used) {
                      s.handle.template construct<int>("number", 7);
                      EXPECT(s.handle.participants().size() == 2);
                  }
                  {
                      const auto taken = std::move(s.handle);
                  }
                  return true;
              }) == 0);
        CHECK(s.handle.participants().size() == 1);
        CHECK(is(s.handle, ::getpid(), verdict::alive));
        CHECK(s.handle.template destroy<int>("number") == used);
    }
}

TEST_CASE_TEMPLATE("exec ends a participant", Mechanism, MECHANISMS) {
    const scratch<Mechanism> s;
    child other(content([&] {
        const auto mine = s.again();
        ::execl("/bin/sleep", "sleep", "100", static_cast<char*>(nullptr));
        return false;
    }));
    wait_for(s.handle, 2);
    while (!is(s.handle, other.id(), verdict::dead)) {
        ::usleep(200);
    }
    CHECK(s.handle.recover() == 1);
    kill_child(other);
}

TEST_CASE_TEMPLATE("after closing all descriptors a participant is alive, continues and detaches",
                   Mechanism, mechanism::posix, mechanism::file, mechanism::memfd,
                   mechanism::anonymous) {
    const scratch<Mechanism> s;
    const common<std::atomic<int>> step;
    child other(content([&] {
        auto mine = s.again();
        mine.template construct<numbers>("numbers").resize(100);
        ::close_range(3, ~0u, 0);
        *step = 1;
        support::await(*step, 2);
        mine.template find<numbers>("numbers")->push_back(1);
        EXPECT(mine.template destroy<numbers>("numbers"));
        EXPECT(mine.template construct<int>("number", 7) == 7);
        // Where it cannot ask about others, it takes nobody for dead.
        const bool asks = scratch<Mechanism>::policies::named || sees_mapped_files();
        for (const participant& each : mine.participants()) {
            EXPECT(each.state == (each.self || asks ? verdict::alive : verdict::unknown));
        }
        EXPECT(mine.recover() == 0);
        // A child of it attaches, if it finds the file again.
        const bool finds = asks && !std::is_same_v<Mechanism, mechanism::anonymous>;
        EXPECT(support::run_child([&] {
                   std::error_code ec;
                   CHILD_CHECK(mine.recover(ec) == 0);
                   CHILD_CHECK(finds ? !ec : ec == errc::empty_handle);
                   mine = {};
               }).code == 0);
        mine = {};
        return true;
    }));
    support::await(*step, 1);
    CHECK(is(s.handle, other.id(), verdict::alive));
    CHECK(s.handle.recover() == 0);
    *step = 2;
    CHECK(status_of(other) == 0);
    CHECK(s.handle.participants().size() == 1);
    CHECK(*s.handle.template find<int>("number") == 7);
}

TEST_CASE_TEMPLATE("after closing all descriptors a participant finds the dead by the mapping",
                   Mechanism, mechanism::posix, mechanism::file, mechanism::memfd,
                   mechanism::anonymous, mechanism::system_v) {
    const scratch<Mechanism> s;
    auto& lock = s.handle.template construct<shm_mutex>("lock");
    const common<std::atomic<int>> step;
    child victim(content([&] {
        auto mine = s.again();
        mine.template find<shm_mutex>("lock")->lock();
        *step = 1;
        support::await(*step, 100);
        return true;
    }));
    support::await(*step, 1);
    child survivor(content([&] {
        using namespace std::chrono_literals;
        auto mine = s.again();
        auto& its = *mine.template find<shm_mutex>("lock");
        ::close_range(3, ~0u, 0);
        EXPECT(!its.try_lock_for(20ms)); // the holder is alive
        *step = 2;
        support::await(*step, 3);
        const bool asks = scratch<Mechanism>::policies::named || sees_mapped_files();
        EXPECT(its.try_lock_for(asks ? 60000ms : 50ms) == asks);
        if (asks) {
            EXPECT(its.recovered());
            its.unlock();
        }
        return true;
    }));
    support::await(*step, 2);
    kill_child(victim);
    *step = 3;
    CHECK(status_of(survivor) == 0);
    lock.lock(); // a process that has all descriptors gets it anyway
    lock.unlock();
}

TEST_CASE("without privileges the dead are found by the name of the segment, while it has one") {
    using namespace std::chrono_literals;
    CHECK(in_child([] {
              if (::geteuid() == 0) {
                  EXPECT(::setresuid(65534, 65534, 65534) == 0);
                  EXPECT(::prctl(PR_SET_DUMPABLE, 1) == 0); // like ordinary programs
              }
              const std::string name = support::own_name("closed");
              const auto mine = segment<>::create(name, small);
              std::vector<shm_mutex*> locks;
              for (const char* const each : {"first", "second"}) {
                  locks.push_back(&mine.construct<shm_mutex>(each));
                  const support::ending killed = support::child([&] {
                                                     locks.back()->lock();
                                                     ::raise(SIGKILL);
                                                 }).wait();
                  EXPECT(killed.signal == SIGKILL);
              }
              ::close_range(3, ~0u, 0);
              EXPECT(locks[0]->try_lock_for(60000ms));
              EXPECT(locks[0]->recovered());
              EXPECT(segment<>::remove(name));
              const auto other = segment<>::create(name, small); // an unrelated segment
              EXPECT(!locks[1]->try_lock_for(50ms));
              EXPECT(segment<>::remove(name));
              return true;
          }) == 0);
}

TEST_CASE("namespaces of process numbers make no difference") {
    const scratch<mechanism::posix> s;
    // Each of them is number 1 in its namespace, and has forked the next one.
    const common<std::atomic<int>> step;
    const common<std::atomic<pid_t>> inner; // the first, by its number out here
    child outer(content([&] {
        support::enter_namespaces(CLONE_NEWPID);
        const pid_t first = ::fork();
        if (first == 0) {
            EXPECT(::getpid() == 1);
            const auto mine = s.again();
            mine.construct<int>("of the first");
            EXPECT(::unshare(CLONE_NEWPID) == 0);
            const pid_t second = ::fork();
            if (second == 0) {
                EXPECT(::getpid() == 1);
                EXPECT(mine.participants().size() == 2);
                mine.construct<int>("of the second"); // as a participant of its own
                EXPECT(mine.participants().size() == 3);
                std::exit(0);
            }
            int status = 1;
            EXPECT(::waitpid(second, &status, 0) == second && status == 0);
            EXPECT(mine.participants().size() == 3); // exit(3) has not destroyed `mine`
            EXPECT(mine.recover() == 1);
            mine.construct<int>("of the first again");
            ++*step;
            ::pause();
        }
        *inner = first;
        ++*step;
        ::pause();
        return true;
    }));
    support::await(*step, 2);
    CHECK(s.handle.participants().size() == 2);
    CHECK(is(s.handle, 1, verdict::alive));
    ::kill(outer.id(), SIGKILL);
    wait_until_dead(outer.id());
    CHECK(is(s.handle, 1, verdict::alive));
    CHECK(s.handle.recover() == 0);
    ::kill(*inner, SIGKILL);
    while (!is(s.handle, 1, verdict::dead)) {
        ::usleep(200);
    }
    CHECK(s.handle.recover() == 1);
    CHECK(s.handle.objects().size() == 3);
    CHECK(status_of(outer) == -SIGKILL);
}

TEST_CASE("where the kernel refuses the locks, no process attaches, and the error says why") {
    const scratch<mechanism::posix> s;
    s.handle.construct<int>("number", 7);
    CHECK(in_child([&] {
              support::refuse_locks();
              std::error_code ec;
              EXPECT(!segment<>::open(s.name, ec));
              EXPECT(ec == errc::locks_unsupported);
              EXPECT(ec == std::errc::no_lock_available);
              EXPECT(std::string_view(last_failure().what()).find("F_OFD_SETLK") !=
                     std::string_view::npos);
              EXPECT(!shared<int>::open_or_create(s.name + ".other", ec));
              EXPECT(ec == errc::locks_unsupported);
              EXPECT(!segment<mechanism::anonymous>::create(small, ec));
              EXPECT(ec == errc::locks_unsupported);
              EXPECT(!segment<mechanism::memfd>::create(small, ec));
              // The inherited handle can be read, but not used.
              EXPECT(s.handle.construct<int>("another", ec) == nullptr);
              EXPECT(ec == errc::locks_unsupported);
              EXPECT(*segment<>::open(s.name, read_only).find<int>("number") == 7);
              return true;
          }) == 0);
    CHECK(s.handle.participants().size() == 1);
    CHECK(support::files_in("/dev/shm", s.name + ".other").empty());
}

TEST_CASE("a thousand segments with 1024 descriptors, also after closing them all") {
    CHECK(in_child([&] {
              const ::rlimit few{1024, 1024};
              EXPECT(::setrlimit(RLIMIT_NOFILE, &few) == 0);
              std::vector<segment<mechanism::memfd>> all;
              for (int i = 0; i < 1000; ++i) {
                  all.push_back(segment<mechanism::memfd>::create(
                      segment_options{.size = 32768, .reserve = 65536}));
                  all.back().construct<numbers>("numbers").push_back(1);
              }
              // The same goes for a child.
              EXPECT(in_child([&] {
                         for (const auto& each : all) {
                             each.find<numbers>("numbers")->push_back(2);
                             EXPECT(each.participants().size() == 2);
                         }
                         return true;
                     }) == 0);
              for (const auto& each : all) {
                  // The child was in all of them: the first recovery finds it in all of them.
                  EXPECT(each.recover() == (&each == &all.front() ? 1u : 0u));
                  EXPECT(each.participants().size() == 1);
              }
              ::close_range(3, ~0u, 0);
              for (const auto& each : all) {
                  auto& mine = *each.find<numbers>("numbers");
                  mine.push_back(3);
                  EXPECT(mine.size() == 3);
                  EXPECT(each.destroy<numbers>("numbers"));
                  EXPECT(each.construct<int>("number", 7) == 7);
                  EXPECT(each.participants().size() == 1);
              }
              std::shuffle(all.begin(), all.end(), std::mt19937(5));
              while (!all.empty()) {
                  all.pop_back();
              }
              return true;
          }) == 0);
}

TEST_CASE_TEMPLATE("two hundred threads of one process, killed while they work", Mechanism,
                   MECHANISMS) {
    const scratch<Mechanism> s;
    s.handle.template construct<int>("number", 7);
    const common<std::atomic<int>> working;
    child other(content([&] {
        const auto mine = s.again();
        std::vector<std::thread> threads;
        for (int i = 0; i < 200; ++i) {
            threads.emplace_back([&, i] {
                numbers vector(mine.template allocator<std::uint64_t>());
                vector.resize(10);
                ++*working;
                const std::string name = std::to_string(i);
                for (;;) {
                    mine.template construct<int>(name, i);
                    mine.template destroy<int>(name);
                }
            });
        }
        ::pause();
        return true;
    }));
    support::await(*working, 200);
    ::usleep(2000);
    kill_child(other);
    CHECK(s.handle.recover() == 1);
    CHECK(s.handle.participants().size() == 1);
    for (const object_info& each : s.handle.objects()) {
        if (each.name != "number") {
            CHECK(*s.handle.template find<int>(each.name) == std::stoi(each.name));
            CHECK(s.handle.template destroy<int>(each.name));
        }
    }
    CHECK(*s.handle.template find<int>("number") == 7);
}

namespace {

// Static objects that end in any order, and use segments in their destructors.
struct static_user {
    segment<>* handle = nullptr;

    ~static_user() {
        if (handle != nullptr && *handle) {
            handle->construct<int>("at the end", 7);
            handle->find<numbers>("numbers")->push_back(8);
        }
    }
};

} // namespace

TEST_CASE("segments are detached by static objects, in any order, and used until the end") {
    const scratch<mechanism::posix> s;
    s.handle.construct<numbers>("numbers");
    for (int order = 0; order < 3; ++order) {
        CAPTURE(order);
        const child exiting([&] {
            if (order == 0) {
                static static_user before; // ends last: its segment is detached by then
                static segment<> handle = segment<>::open(s.name);
                static segment<> second = segment<>::open(s.name);
                before.handle = nullptr;
                handle.construct<int>("number", 1);
                second.construct<int>("another", 1);
                std::exit(0);
            }
            static segment<> handle = segment<>::open(s.name);
            static static_user after;
            static const segment<> second = segment<>::open(s.name);
            after.handle = &handle;
            std::thread([] { second.construct<int>("by a thread", 1); }).join();
            if (order == 2) {
                static thread_local static_user of_thread;
                of_thread.handle = &handle;
                handle.construct<int>("number", 1);
                std::thread([] {
                    static thread_local static_user user;
                    user.handle = &handle;
                    handle.construct<int>("of the thread", 1);
                }).detach();
                ::usleep(20000);
                handle.destroy<int>("at the end");
                of_thread.handle = nullptr;
            }
            std::exit(0);
        });
        ::siginfo_t info{};
        CHECK(::waitid(P_PID, static_cast<id_t>(exiting.id()), &info, WEXITED | WNOWAIT) == 0);
        CHECK(info.si_code == CLD_EXITED);
        CHECK(info.si_status == 0);
        CHECK(s.handle.participants().size() == 1); // all have detached: none is dead
        CHECK((s.handle.find<int>("at the end") != nullptr) == (order != 0));
        for (const object_info& each : s.handle.objects()) {
            if (each.name != "numbers") {
                CHECK(s.handle.destroy<int>(each.name));
            }
        }
    }
    CHECK(s.handle.find<numbers>("numbers")->size() == 3);
}

namespace {

// Dies during its construction: with the directory's lock, in a section.
struct suicide {
    explicit suicide(shm_allocator<int> allocator) : vector(allocator) {
        vector.resize(1000);
        ::raise(SIGKILL);
    }

    shm_vector<int> vector;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<suicide> = true;

TEST_CASE_TEMPLATE("killed in a constructor: nothing was made, and no process waits", Mechanism,
                   MECHANISMS) {
    const scratch<Mechanism> s;
    s.handle.template construct<int>("number", 7);
    s.handle.template construct<int>("victim", 8);
    s.handle.template destroy<int>("victim");
    const std::size_t used = s.handle.used();
    for (int round = 0; round < 10; ++round) {
        CHECK(in_child([&] {
                  const auto mine = s.again();
                  mine.template construct<suicide>("victim", mine.template allocator<int>());
                  return false;
              }) == -SIGKILL);
        // Recovered through the lock that is in the way, without an explicit call.
        CHECK(s.handle.template find<int>("number") != nullptr);
        CHECK(s.handle.participants().size() == 1);
        CHECK(s.handle.objects().size() == 1);
        CHECK(s.handle.used() == used);
    }
}

namespace {

// The victim's work, until it is killed. "first" grows by one element at a time, "second" exists
// completely or not at all.
template <class Segment>
[[noreturn]] void work(const Segment& mine) {
    for (std::uint64_t round = 0;; ++round) {
        auto& first = mine.template find_or_construct<numbers>(
            "first", mine.template allocator<std::uint64_t>());
        for (int i = 0; i < 50; ++i) {
            first.push_back(first.size());
        }
        if (first.size() > 5000) {
            first.clear();
            first.shrink_to_fit();
        }
        auto& second = mine.template construct<numbers>("second", std::size_t{64}, round,
                                                        mine.template allocator<std::uint64_t>());
        if (round % 8 == 7) {
            first.resize(first.size() + 2000);
            for (std::size_t i = first.size() - 2000; i < first.size(); ++i) {
                first.pop_back();
            }
            mine.template destroy<numbers>("first");
        }
        second.front() = round;
        mine.template destroy<numbers>("second");
    }
}

template <class Segment>
void check_after_death(const Segment& handle, std::size_t used) {
    CHECK(handle.recover() <= 1);
    REQUIRE(handle.participants().size() == 1);
    const auto* const second = handle.template find<numbers>("second");
    if (second != nullptr) {
        CHECK(second->size() == 64);
        CHECK(std::count(second->begin(), second->end(), second->front()) == 64);
        CHECK(handle.template destroy<numbers>("second"));
    }
    if (handle.template find<numbers>("first") != nullptr) {
        CHECK(handle.template destroy<numbers>("first"));
    }
    CHECK(handle.objects().empty());
    CHECK(handle.used() == used);
}

template <class Scratch>
void kill_at_random(const Scratch& s, int rounds) {
    std::minstd_rand random(1);
    // Both names have existed, so that the directory has its table.
    s.handle.template construct<numbers>("first");
    s.handle.template construct<numbers>("second");
    CHECK(s.handle.template destroy<numbers>("first"));
    CHECK(s.handle.template destroy<numbers>("second"));
    const std::size_t used = s.handle.used();
    for (int round = 0; round < rounds; ++round) {
        CAPTURE(round);
        child victim([&] { work(s.again()); });
        const auto pause = static_cast<unsigned>(random() % 3000);
        if (round % 2 == 0) {
            wait_for(s.handle, 2);
        }
        ::usleep(round % 2 == 0 ? pause / 4 : pause);
        ::kill(victim.id(), SIGKILL);
        const support::ending how = victim.wait();
        INFO(how.text);
        CHECK(how.signal == SIGKILL);
        check_after_death(s.handle, used);
    }
}

} // namespace

TEST_CASE_TEMPLATE("killed at random moments: each operation happened or did not", Mechanism,
                   MECHANISMS) {
    const scratch<Mechanism> s;
    kill_at_random(s, std::is_same_v<Mechanism, mechanism::posix> ? 500 : 300);
}

int main(int argc, char** argv) {
    return doctest::Context(argc, argv).run();
}
