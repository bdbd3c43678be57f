// Uses cohold as a module: two processes share a vector, and one that is killed meanwhile does no
// harm.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string_view>

import cohold;

struct entry {
    int number;
    double value;
};

int main() {
    static_assert(cohold::shareable<entry>);
    auto segment = cohold::segment<cohold::mechanism::memfd>::create(1 << 16);
    using entries = cohold::shm_guarded<cohold::shm_vector<entry>>;
    auto& shared = segment.construct<entries>("entries");
    auto& text = segment.construct<cohold::shm_string>("text");
    for (int i = 0; i < 2; ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            auto* const found = segment.find<entries>("entries");
            if (i == 0) {
                auto locked = found->lock();
                locked->push_back({1, 0.5});
            } else { // is killed in the middle, which undoes the section
                auto locked = found->lock();
                locked->push_back({2, 1.5});
                ::kill(::getpid(), SIGKILL);
            }
            ::_exit(0);
        }
        int status = 0;
        if (child < 0 || ::waitpid(child, &status, 0) != child ||
            (i == 0 ? !WIFEXITED(status) || WEXITSTATUS(status) != 0 : !WIFSIGNALED(status))) {
            return 1;
        }
    }
    text = "shared";
    auto locked = shared.lock();
    if (locked->size() != 1 || locked->front().number != 1 || text != std::string_view("shared")) {
        return 2;
    }
    try {
        static_cast<void>(cohold::segment<>::open("cohold-no-such-segment"));
        return 3;
    } catch (const cohold::failure& failure) {
        std::printf("imported: %s\n", failure.what());
    }
    return 0;
}
