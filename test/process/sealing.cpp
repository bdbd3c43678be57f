// Seals of memfds: set when a segment is made, relied upon by receivers, attacked by processes with
// the most rights. As root and as an unprivileged user, in namespaces of its own.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <string>
#include <string_view>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/process.hpp"
#include "support/users.hpp"
#include "support/world.hpp"

using namespace cohold;
using memfd_segment = segment<mechanism::memfd>;

namespace {

constexpr uid_t nobody = 65534;

struct as_runner {
    template <class Body>
    static void run(const Body& body) {
        support::in_own_world(body);
    }
};

struct as_user {
    template <class Body>
    static void run(const Body& body) {
        support::in_own_world([&] {
            support::become(nobody);
            body();
        });
    }
};

#define WORLDS as_runner, as_user

// A child of a child, where assertions are lost.
template <class Body>
void nested(const Body& body) {
    support::child_check_child(body, __FILE__, __LINE__);
}

bool fails(std::error_code ec, std::error_code code, std::string_view says = "") {
    const std::string_view what = last_failure().what();
    if (ec != code || what.find(says) == std::string_view::npos) {
        std::fprintf(stderr, "expected '%s' (%s), found '%s'\n", code.message().c_str(),
                     std::string(says).c_str(), ec ? std::string(what).c_str() : "success");
        return false;
    }
    return true;
}

bool has(const memfd_segment& object, seal wanted) {
    return (seals_of(object.native_handle()) & wanted) == wanted;
}

int fd_of(const memfd_segment& object) {
    return object.native_handle().value;
}

// The whole segment, through another descriptor, open for everything.
int reopened(const memfd_segment& object) {
    return ::open(("/proc/self/fd/" + std::to_string(fd_of(object))).c_str(), O_RDWR | O_CLOEXEC);
}

bool can_map_for_writing(int fd) {
    void* const at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at != MAP_FAILED && ::munmap(at, 4096) == 0;
}

} // namespace

TEST_CASE_TEMPLATE("nobody can shrink an object that cohold makes", World, WORLDS) {
    World::run([] {
        const auto made = memfd_segment::create();
        CHILD_CHECK(has(made, seal::shrink));
        const int again = reopened(made);
        for (const int fd : {fd_of(made), again}) {
            CHILD_CHECK(::ftruncate(fd, 0) != 0 && errno == EPERM);
            CHILD_CHECK(::ftruncate(fd, 4096) != 0 && errno == EPERM);
        }
        const auto raw = memory_object<mechanism::memfd>::create(8192);
        CHILD_CHECK(::ftruncate(raw.native_handle().value, 0) != 0);
    });
}

TEST_CASE_TEMPLATE("sealed against growing", World, WORLDS) {
    World::run([] {
        const auto made = memfd_segment::create({.size = 1 << 20, .seals = seal::grow});
        CHILD_CHECK(has(made, seal::grow));
        CHILD_CHECK(made.size() == 1 << 20 && made.capacity() == 1 << 20);
        CHILD_CHECK(::ftruncate(reopened(made), 2 << 20) != 0);
        auto& numbers = made.construct<shm_vector<int>>("v");
        while (numbers.try_push_back(1)) {
        }
        CHILD_CHECK(fails(last_failure().code(), errc::reserve_exceeded));
        CHILD_CHECK(numbers.size() > 50000);
        std::error_code ec;
        (void)memfd_segment::create({.size = 4096, .reserve = 1 << 20, .seals = seal::grow}, ec);
        CHILD_CHECK(fails(ec, errc::invalid_options, "seal::grow"));
        // Sealed later by another process: the segment says why it cannot grow.
        const auto open = memfd_segment::create();
        add_seals({reopened(open)}, seal::grow);
        open.grow(1 << 20, ec);
        CHILD_CHECK(fails(ec, errc::permission_denied, "sealed"));
    });
}

TEST_CASE_TEMPLATE("sealed against writing by others", World, WORLDS) {
    World::run([] {
        const auto made = memfd_segment::create({.seals = seal::future_write | seal::seals});
        auto& numbers = made.construct<shm_vector<int>>("v");
        numbers.resize(100000, 1); // grows, through an existing mapping
        const int again = reopened(made);
        CHILD_CHECK(again >= 0); // as root and as the owner, but it does not help
        for (const int fd : {fd_of(made), again}) {
            CHILD_CHECK(!can_map_for_writing(fd));
            CHILD_CHECK(::pwrite(fd, "x", 1, 0) < 0 && errno == EPERM);
            CHILD_CHECK(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
            void* const reading = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
            CHILD_CHECK(reading != MAP_FAILED);
            CHILD_CHECK(::mprotect(reading, 4096, PROT_READ | PROT_WRITE) != 0);
            void* const copy = // private: its own pages
                ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
            CHILD_CHECK(copy != MAP_FAILED);
            static_cast<char*>(copy)[0] = 'x';
        }
        std::error_code ec;
        (void)memfd_segment::adopt({::dup(fd_of(made))}, ec); // even the creator
        CHILD_CHECK(fails(ec, errc::permission_denied, "mmap for writing"));
        const auto view = segment_view<mechanism::memfd>::adopt({::dup(fd_of(made))});
        CHILD_CHECK(view.find<shm_vector<int>>("v")->back() == 1);
        // A forked child has the mapping, takes part, and writes.
        nested([&] {
            made.find<shm_vector<int>>("v")->resize(200000, 2);
            CHILD_CHECK(made.participants().size() == 2);
        });
        CHILD_CHECK(view.find<shm_vector<int>>("v")->back() == 2);
    });
}

TEST_CASE_TEMPLATE("sealed against further seals, and against execution", World, WORLDS) {
    World::run([] {
        std::error_code ec;
        const auto made = memfd_segment::create({.seals = seal::seals | seal::exec}, ec);
        if (!ec) { // Linux 6.3
            CHILD_CHECK(has(made, seal::seals | seal::exec));
            CHILD_CHECK(::fchmod(fd_of(made), 0777) != 0);
        } else {
            CHILD_CHECK(fails(ec, errc::unsupported, "does not know"));
        }
        const auto closed = memfd_segment::create({.seals = seal::seals});
        for (const seal each : {seal::grow, seal::future_write}) {
            add_seals({reopened(closed)}, each, ec);
            CHILD_CHECK(fails(ec, errc::permission_denied));
        }
        closed.construct<shm_vector<int>>("v").resize(100000);
        // Without the seal, a receiver can prevent the others' segments from growing.
        const auto open = memfd_segment::create();
        add_seals({reopened(open)}, seal::grow);
    });
}

TEST_CASE_TEMPLATE("a receiver checks the seals first", World, WORLDS) {
    World::run([] {
        std::error_code ec;
        // Made by a process that wants to shrink it later.
        const auto good = memfd_segment::create();
        const file_descriptor bait{::memfd_create("bait", MFD_CLOEXEC)};
        std::string bytes(good.size(), '\0');
        CHILD_CHECK(::pread(fd_of(good), bytes.data(), bytes.size(), 0) ==
                    static_cast<ssize_t>(bytes.size()));
        CHILD_CHECK(::write(bait.value, bytes.data(), bytes.size()) ==
                    static_cast<ssize_t>(bytes.size()));
        require_seals(bait, seal::shrink, ec);
        CHILD_CHECK(fails(ec, errc::unsealed, "seals: 0x2 expected, found 0x"));
        (void)memfd_segment::adopt({::dup(bait.value)}, ec);
        CHILD_CHECK(fails(ec, errc::unsupported, "can be shrunk by other processes"));
        // If it can be sealed, it is, and then its size is reliable.
        const file_descriptor can{::memfd_create("can", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
        CHILD_CHECK(::write(can.value, bytes.data(), bytes.size()) > 0);
        const auto adopted = memfd_segment::adopt({::dup(can.value)}, ec);
        CHILD_CHECK(!ec && has(adopted, seal::shrink));
        CHILD_CHECK(::ftruncate(can.value, 0) != 0);
        // A read-only one can no longer be sealed.
        const file_descriptor late{::memfd_create("late", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
        CHILD_CHECK(::write(late.value, bytes.data(), bytes.size()) > 0);
        const int reading =
            ::open(("/proc/self/fd/" + std::to_string(late.value)).c_str(), O_RDONLY | O_CLOEXEC);
        (void)segment_view<mechanism::memfd>::adopt({reading}, ec);
        CHILD_CHECK(fails(ec, errc::unsupported));
    });
}

TEST_CASE_TEMPLATE("other mechanisms have no seals, and nothing is made", World, WORLDS) {
    World::run([] {
        std::error_code ec;
        const segment_options wanted{.seals = seal::grow};
        (void)segment<>::create("x", wanted, ec);
        CHILD_CHECK(fails(ec, errc::unsupported, "only a memfd"));
        (void)segment<mechanism::system_v>::create("x", wanted, ec);
        CHILD_CHECK(fails(ec, errc::unsupported));
        (void)segment<mechanism::anonymous>::create(wanted, ec);
        CHILD_CHECK(fails(ec, errc::unsupported));
        (void)memory_object<mechanism::tmpfs>::create("/dev/shm/x",
                                                      {.size = 4096, .seals = seal::grow}, ec);
        CHILD_CHECK(fails(ec, errc::unsupported));
        (void)shared<int>::create("x", wanted, ec, 1);
        CHILD_CHECK(fails(ec, errc::unsupported));
        struct ::stat found{};
        CHILD_CHECK(::stat("/dev/shm/x", &found) != 0);
        const auto raw = memory_object<mechanism::memfd>::create(
            {.size = 4096, .seals = seal::grow | seal::seals});
        raw.grow(8192, ec);
        CHILD_CHECK(fails(ec, errc::permission_denied, "sealed"));
        const mapped_region region = raw.map();
        CHILD_CHECK(region.size() == 4096);
    });
}

int main(int argc, char** argv) {
    support::become_root_of_users(argc, argv);
    return doctest::Context(argc, argv).run();
}
