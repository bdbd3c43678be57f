// Tests with several users: as root, or in a user namespace that has all of them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_USERS_HPP
#define COHOLD_TEST_SUPPORT_USERS_HPP

#include <vector>

#include <grp.h>
#include <sys/prctl.h>

#include "support/child.hpp"

namespace support {

// For main: makes this process root, at least of a user namespace that contains other users. The
// kernel gives unprivileged users only one; newuidmap(1) gives them those of /etc/subuid.
inline void become_root_of_users(int argc, char** argv) {
    if (::geteuid() == 0) {
        return;
    }
    static char program[] = "unshare", user[] = "--user", map_root[] = "--map-root-user",
                map_others[] = "--map-auto", self[] = "/proc/self/exe";
    static char path[4096];
    if (::readlink(self, path, sizeof path - 1) < 0) {
        std::perror(self);
        ::_exit(1);
    }
    std::vector<char*> arguments{program, user, map_root, map_others, path};
    arguments.insert(arguments.end(), argv + 1, argv + argc);
    arguments.push_back(nullptr);
    ::execvp(program, arguments.data());
    std::perror("these tests need root, or unshare(1) and newuidmap(1)");
    ::_exit(1);
}

// In a child of root: another user, with access to its own /proc/self.
inline void become(uid_t user) {
    if (user != ::geteuid() && (::setgroups(0, nullptr) != 0 || ::setgid(user) != 0 ||
                                ::setuid(user) != 0 || ::prctl(PR_SET_DUMPABLE, 1) != 0)) {
        std::perror("becoming another user");
        ::_exit(95);
    }
}

// A child that runs as the user, and must do everything correctly.
template <class Body>
void as(uid_t user, const Body& body) {
    check_child([&] {
        become(user);
        body();
    });
}

// The number of open descriptors of this process.
inline int open_descriptors() {
    int count = 0;
    for (int fd = 0; fd < 4096; ++fd) {
        count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    }
    return count;
}

} // namespace support

#endif
