// Segments without a name, handed to other processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

using segment = cohold::segment<cohold::mechanism::memfd>;
using view = cohold::segment_view<cohold::mechanism::memfd>;

namespace {

void wait_for(pid_t child) {
    int status = 1;
    check(waitpid(child, &status, 0) == child && status == 0);
}

void over_a_socket() {
    int ends[2]; // or one from accept(2), the other from connect(2)
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    // #region socket
    const auto mine = segment::create();
    mine.construct<int>("answer", 41);
    cohold::send(ends[0], mine);                    // for reading and writing
    cohold::send(ends[0], mine, cohold::read_only); // and for reading alone

    if (const pid_t child = fork(); child == 0) {
        using namespace std::chrono_literals;
        const auto theirs = cohold::receive<segment>(ends[1], {.timeout = 2s});
        *theirs.find<int>("answer") = 42;
        const auto reader = cohold::receive<view>(ends[1], {.seals = cohold::seal::shrink});
        check(*reader.find<int>("answer") == 42);
        _exit(0);
    } else {
        wait_for(child);
    }
    // #endregion socket

    // #region read_only
    // Not even this user, or root, can map it for writing any more, in no process.
    const auto news = segment::create({.seals = cohold::seal::future_write | cohold::seal::seals});
    auto& headlines = news.construct<cohold::shm_vector<int>>("headlines");
    cohold::send(ends[0], news, cohold::read_only, {.tamper_proof = true});
    headlines.resize(100000, 7); // a mapping that was there before still writes, and grows

    const auto reader = cohold::receive<view>(ends[1], {.seals = cohold::seal::future_write});
    check(reader.find<cohold::shm_vector<int>>("headlines")->back() == 7);

    // A descriptor for reading alone does not keep its owner from this; the seal does.
    std::error_code ec;
    const auto again = segment::adopt({dup(reader.native_handle().value)}, ec);
    check(!again && ec == cohold::errc::permission_denied);
    // #endregion read_only
    close(ends[0]);
    close(ends[1]);
}

// #region exec
void run_another_program(const segment& mine, const char* program) {
    const std::string number = std::to_string(mine.native_handle().value);
    if (const pid_t child = fork(); child == 0) {
        // Here, after fork, so that no other thread's child has the descriptor, too.
        if (cohold::keep_across_exec(mine) >= 0) {
            execl(program, program, number.c_str(), nullptr);
        }
        _exit(1);
    } else {
        wait_for(child);
    }
}

void the_other_program(const char* number) {
    const auto theirs = cohold::inherit<segment>(number);
    *theirs.find<int>("answer") += 1;
}

// #endregion exec

void by_pidfd() {
    // #region pidfd
    const auto mine = segment::create();
    mine.construct<int>("answer", 42);
    const int number = mine.native_handle().value; // told to the other one somehow

    // A process that may trace that one, a debugger for example, needs none of its help.
    std::error_code ec;
    const auto fetched = cohold::fetch<view>(getpid(), number, ec);
    check(ec == cohold::errc::unsupported || *fetched.find<int>("answer") == 42);
    // #endregion pidfd
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 2) {
        the_other_program(argv[1]);
        return 0;
    }
    over_a_socket();
    const auto mine = segment::create();
    mine.construct<int>("answer", 41);
    run_another_program(mine, "/proc/self/exe");
    check(*mine.find<int>("answer") == 42);
    by_pidfd();
}
