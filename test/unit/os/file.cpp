// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/file.hpp>

#include <chrono>
#include <string>
#include <utility>

#include <sys/mman.h>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "support/interruptions.hpp"

using namespace cohold::detail;

namespace {

unique_fd memory_file() {
    return unique_fd(::memfd_create("cohold-test", MFD_CLOEXEC));
}

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

std::int64_t size_of(int fd) {
    file_status status{};
    REQUIRE(raw_fstat(fd, status) == 0);
    return status.st_size;
}

} // namespace

TEST_CASE("a descriptor is closed once, with its owner") {
    int number = -1;
    {
        unique_fd first = memory_file();
        number = first.get();
        CHECK(static_cast<bool>(first));
        CHECK((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
        unique_fd second(std::move(first));
        CHECK_FALSE(static_cast<bool>(first)); // NOLINT: promised to be
        unique_fd third;
        third = std::move(second);
        CHECK(third.get() == number);
        CHECK(is_open(number));
    }
    CHECK_FALSE(is_open(number));
    unique_fd given = memory_file();
    number = given.release();
    CHECK_FALSE(static_cast<bool>(given));
    CHECK(is_open(number));
    ::close(number);
}

TEST_CASE("files are opened with close-on-exec, and can be reopened separately") {
    const unique_fd missing = open_file("/no/such/file", O_RDONLY);
    CHECK_FALSE(static_cast<bool>(missing));
    CHECK(errno == ENOENT);
    const unique_fd file = memory_file();
    const unique_fd again = reopen_file(file.get(), O_RDONLY);
    REQUIRE(static_cast<bool>(again));
    CHECK((::fcntl(again.get(), F_GETFD) & FD_CLOEXEC) != 0);
    REQUIRE(::write(file.get(), "abc", 3) == 3);
    CHECK(::lseek(again.get(), 0, SEEK_CUR) == 0); // an open file of its own
    CHECK(size_of(again.get()) == 3);
    CHECK(::write(again.get(), "x", 1) == -1);
    const unique_fd far(::fcntl(file.get(), F_DUPFD_CLOEXEC, 900)); // more digits
    CHECK(static_cast<bool>(reopen_file(far.get(), O_RDWR)));
}

TEST_CASE("space is reserved, or errno says why not") {
    const unique_fd file = memory_file();
    CHECK(reserve_space(file.get(), 0, 100000) == 0);
    CHECK(size_of(file.get()) == 100000);
    CHECK(reserve_space(file.get(), 100000, 200000) == 0);
    CHECK(size_of(file.get()) == 200000);
    const unique_fd reader = reopen_file(file.get(), O_RDONLY);
    CHECK(reserve_space(reader.get(), 0, 100) == EBADF);
    CHECK(reserve_space(-1, 0, 100) == EBADF);
    CHECK(is_on_tmpfs(file.get()));
    const unique_fd proc = open_file("/proc/self/status", O_RDONLY);
    CHECK_FALSE(is_on_tmpfs(proc.get()));
}

TEST_CASE("constant interrupts by a timer do not prevent space from being reserved") {
    support::check_child([] {
        support::interrupt_every(std::chrono::microseconds(200));
        const unique_fd file = memory_file();
        CHILD_CHECK(reserve_space(file.get(), 0, 32 << 20) == 0);
        sigset_t blocked;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        CHILD_CHECK(::sigismember(&blocked, SIGALRM) == 0); // as it was
    });
}

TEST_CASE("locks belong to the open file, and end with its process") {
    const unique_fd file = memory_file();
    const unique_fd other = reopen_file(file.get(), O_RDWR);
    const auto held = [&](lock_byte byte) { return lock_held(file.get(), byte); };
    CHECK(held(lock_byte::gate) == 0);
    CHECK(lock_file(other.get(), lock_byte::gate, lock_kind::shared, false) == 0);
    CHECK(held(lock_byte::gate) == 1);
    CHECK(held(lock_byte::attached) == 0);
    CHECK(lock_file(file.get(), lock_byte::gate, lock_kind::shared, false) == 0);
    CHECK(lock_file(file.get(), lock_byte::gate, lock_kind::exclusive, false) == EAGAIN);
    CHECK(lock_file(file.get(), lock_byte::attached, lock_kind::exclusive, false) == 0);
    CHECK(lock_file(other.get(), lock_byte::gate, lock_kind::none, false) == 0);
    CHECK(lock_file(file.get(), lock_byte::gate, lock_kind::exclusive, false) == 0);
    CHECK(lock_held(-1, lock_byte::gate) == -1);

    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    support::child holder([&] {
        const unique_fd mine = reopen_file(file.get(), O_RDWR);
        CHILD_CHECK(lock_file(mine.get(), lock_byte::creation, lock_kind::exclusive, false) == 0);
        CHILD_CHECK(::write(ends[1], "x", 1) == 1);
        ::pause();
    });
    char ready = 0;
    REQUIRE(::read(ends[0], &ready, 1) == 1);
    CHECK(held(lock_byte::creation) == 1);
    ::kill(holder.id(), SIGKILL);
    CHECK(lock_file(file.get(), lock_byte::creation, lock_kind::exclusive, true) == 0); // waits
    CHECK(holder.wait().signal == SIGKILL);
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK(size_of(file.get()) == 0); // the bytes are far behind the end
}
