// What others do to the places that a program uses: planted files, dead sessions that only they may
// remove, objects that are not what they claim to be. No process is blocked by that, and nothing
// crashes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

constexpr gid_t team = 2000;
constexpr segment_options small{.size = 65536, .reserve = 1 << 20};

// A child that runs as another user of the team. Needs root.
template <class Body>
void as(uid_t user, const Body& body) {
    const support::ending how = support::run_child([&] {
        if (::setgroups(1, &team) != 0 || ::setgid(user) != 0 || ::setuid(user) != 0) {
            std::perror("becoming another user");
            ::_exit(95);
        }
        ::alarm(20); // a hang is a failure
        body();
    });
    support::child_check(how.signal == 0 && how.code == 0, "as another user", __FILE__, __LINE__,
                         how.text + " signal " + std::to_string(how.signal));
}

// A child with a /dev/shm and System V of its own.
template <class Body>
void in_own_world(const Body& body, const char* options = "size=4m,mode=1777") {
    support::check_child([&] {
        support::enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC);
        support::mount_or_exit("tmpfs", "/dev/shm", options);
        body();
    });
}

template <class Mechanism>
using team_segment = segment<Mechanism, naming::verbatim, permission::group>;

} // namespace

TEST_CASE("a file that another user planted under the temporary name does not block replacing") {
    in_own_world([] {
        // The library decides where the name is: the test asks it.
        const uid_t victim = 1002;
        as(victim, [] {
            CHILD_CHECK(segment<>::create("x", small).size() > 0);
            // Where the name is depends on the user; an attacker can compute it, the test asks.
            const std::string text = detail::file_place("/dev/shm/", "x").temporary().text;
            const int fd = ::open("/dev/shm/note", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
            CHILD_CHECK(::write(fd, text.data(), text.size()) > 0);
        });
        char text[256] = {};
        const int note = ::open("/dev/shm/note", O_RDONLY | O_CLOEXEC);
        CHILD_CHECK(::read(note, text, sizeof text - 1) > 0);
        as(1001, [&] {
            const int fd = ::open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
            CHILD_CHECK(fd >= 0 && ::fchmod(fd, 0666) == 0);
        });
        as(victim, [&] {
            std::error_code ec;
            const auto made = segment<>::replace("x", small, ec);
            CHILD_CHECK(!made);
            CHILD_CHECK(ec == errc::permission_denied);
            CHILD_CHECK(segment<>::open("x").size() > 0); // the old one still exists
        });
    });
}

TEST_CASE_TEMPLATE("a dead session of another user is an error, not an endless loop", Mechanism,
                   mechanism::posix, mechanism::system_v) {
    in_own_world([] {
        using shared_segment = team_segment<Mechanism>;
        as(1001, [] {
            segment_options options = small;
            options.lifetime = lifetime::session;
            options.group = team;
            const support::ending how = support::run_child([&] {
                const auto made = shared_segment::create("x", options);
                ::raise(SIGKILL);
            });
            CHILD_CHECK(how.signal == SIGKILL);
        });
        as(1002, [] {
            std::error_code ec;
            const auto opened = shared_segment::open_or_create("x", small, ec);
            CHILD_CHECK(!opened);
            CHILD_CHECK(ec == errc::permission_denied);
        });
        as(1001, [] { // its owner may remove it
            CHILD_CHECK(shared_segment::open_or_create("x", small).size() > 0);
        });
    });
}

TEST_CASE("a hole where a header should be is an error on a full file system") {
    in_own_world(
        [] {
            const int sparse = ::open("/dev/shm/x", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            const int filler = ::open("/dev/shm/filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            CHILD_CHECK(::ftruncate(sparse, 1 << 20) == 0);
            CHILD_CHECK(::posix_fallocate(filler, 0, 1 << 20) == 0);
            std::error_code ec;
            CHILD_CHECK(!segment<>::open("x", ec));
            CHILD_CHECK(ec == errc::out_of_space);
            CHILD_CHECK(!segment<>::open("x", read_only, ec));
            CHILD_CHECK(ec == errc::out_of_space);
        },
        "size=1m,mode=1777");
}

TEST_CASE("a System V segment that is larger than its header says maps over nothing") {
    in_own_world([] {
        using small_segment = segment<mechanism::system_v>;
        CHILD_CHECK(small_segment::create("0x00c0401d", {.size = 65536, .reserve = 65536}).size() >
                    0);
        // The same bytes in an object of 8 MiB.
        const int from = ::shmget(0x00c0401d, 0, 0);
        const void* const bytes = ::shmat(from, nullptr, SHM_RDONLY);
        const std::string copy(static_cast<const char*>(bytes), 65536);
        ::shmdt(bytes);
        CHILD_CHECK(::shmctl(from, IPC_RMID, nullptr) == 0);
        const int to = ::shmget(0x00c0401d, 8 << 20, IPC_CREAT | IPC_EXCL | 0600);
        void* const there = ::shmat(to, nullptr, 0);
        copy.copy(static_cast<char*>(there), copy.size());
        ::shmdt(there);
        std::error_code ec;
        CHILD_CHECK(!small_segment::open("0x00c0401d", ec));
        CHILD_CHECK(ec == errc::corrupt);
    });
}

TEST_CASE("mechanism::tmpfs removes nothing that is not on a tmpfs") {
    support::check_child([] {
        const std::string path = "/var/tmp/" + support::own_name("precious");
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHILD_CHECK(fd >= 0);
        std::error_code ec;
        CHILD_CHECK(!segment<mechanism::tmpfs>::remove(path, ec));
        CHILD_CHECK(ec == errc::not_on_tmpfs);
        CHILD_CHECK(!memory_object<mechanism::tmpfs>::remove(path, ec));
        CHILD_CHECK(ec == errc::not_on_tmpfs);
        CHILD_CHECK(::access(path.c_str(), F_OK) == 0);
        ::unlink(path.c_str());
    });
}

TEST_CASE("children that other threads fork do not keep the locks of a session") {
    in_own_world([] {
        segment_options options = small;
        options.lifetime = lifetime::session;
        const auto held = segment<>::create("x", options);
        std::atomic<bool> stop = false;
        std::vector<pid_t> children;
        std::thread forker([&] {
            for (int i = 0; i < 100 && !stop; ++i) {
                const pid_t child = ::fork();
                if (child == 0) {
                    ::alarm(60);
                    ::pause(); // lives longer than the test
                    ::_exit(0);
                }
                children.push_back(child);
            }
            stop = true;
        });
        while (!stop) {
            CHILD_CHECK(segment<>::open("x").size() > 0);
        }
        forker.join();
        ::alarm(20); // before the children give anything back
        for (int i = 0; i < 100; ++i) {
            CHILD_CHECK(segment<>::open("x").size() > 0);
        }
        for (const pid_t child : children) {
            ::kill(child, SIGKILL);
        }
    });
}

TEST_CASE("a report that the user has not read survives the attempts of destructors") {
    const std::string name = support::own_name("report");
    std::error_code ec;
    {
        auto made = segment<>::create(name, small);
        segment<>::remove(name);
        CHECK(!segment<>::open("no.such.segment", ec));
    }
    CHECK(std::string(last_failure().what()).find("no.such.segment") != std::string::npos);
}
