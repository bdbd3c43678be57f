// A program of two processes, built without exceptions and RTTI: the forms with std::error_code do
// everything, and the others end the process with the message they would have thrown.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

#include <cstdio>
#include <cstring>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this program is about builds with -fno-exceptions -fno-rtti"
#endif

namespace {

using segment = cohold::segment<>;
using numbers = cohold::shm_vector<std::int64_t>;
using queue = cohold::shm_queue<std::int64_t>;

constexpr std::int64_t count = 20000;

int passed = 0;
int failed = 0;

void check(bool good, const char* what) {
    std::printf("%s %s\n", good ? "ok  " : "FAIL", what);
    ++(good ? passed : failed);
}

// The exit status of a child that opens the segment by its name and sends.
int send(const char* name) {
    std::error_code ec;
    segment mine = segment::open(name, ec);
    if (!mine || ec) {
        std::fprintf(stderr, "%s\n", cohold::last_failure().what());
        return 1;
    }
    queue* out = mine.find<queue>("queue", ec);
    if (out == nullptr || ec) {
        return 2;
    }
    for (std::int64_t i = 0; i < count; ++i) {
        if (!out->push(i)) {
            return 3;
        }
    }
    out->close();
    return 0;
}

void share(const char* name) {
    std::error_code ec;
    segment ours = segment::create(name, 1 << 16, ec);
    check(ours && !ec, "create");
    if (!ours) {
        return;
    }
    queue* in = ours.construct<queue>("queue", ec, 64);
    numbers* kept = ours.construct<numbers>("numbers", ec);
    check(in != nullptr && kept != nullptr && !ec, "construct");

    const pid_t child = fork();
    if (child == 0) {
        _exit(send(name));
    }
    while (auto number = in->pop()) {
        kept->push_back(*number);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other process sent everything");
    bool in_order = kept->size() == static_cast<std::size_t>(count);
    for (std::size_t i = 0; in_order && i < kept->size(); ++i) {
        in_order = (*kept)[i] == static_cast<std::int64_t>(i);
    }
    check(in_order, "the vector grew over all of it, in order");

    check(ours.find<queue>("numbers", ec) == nullptr && ec == cohold::errc::type_mismatch,
          "the wrong type is an error code");
    check(ours.construct<numbers>("numbers", ec) == nullptr && ec == cohold::errc::already_exists,
          "a name that is taken is an error code");
}

// What the form without std::error_code prints before it aborts.
void aborts(const char* name) {
    int ends[2];
    if (pipe(ends) != 0) {
        check(false, "pipe");
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        const rlimit no_core{};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        segment absent = segment::open(name);
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char part[256];
    for (ssize_t got; (got = read(ends[0], part, sizeof(part))) > 0;) {
        text.append(part, static_cast<std::size_t>(got));
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
          "opening a missing segment without an error code aborts");
    check(text.find("cohold: ") == 0 && text.find(name) != std::string::npos &&
              text.find("no such object") != std::string::npos,
          "and says what it did to what, and why it failed");
}

} // namespace

int main() {
    const std::string name = "cohold-test-no-exceptions-" + std::to_string(getpid());
    std::error_code ec;
    check(!segment::open(name, ec) && ec == cohold::errc::not_found,
          "a missing segment is an error code");
    aborts(name.c_str());
    share(name.c_str());
    check(segment::remove(name, ec) && !ec, "remove");
    check(!segment::remove(name, ec), "nothing is left to remove");
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
