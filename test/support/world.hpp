// Separate namespaces for a test that looks at everything: /dev/shm, System V, processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_WORLD_HPP
#define COHOLD_TEST_SUPPORT_WORLD_HPP

#include <grp.h>
#include <sys/prctl.h>

#include "support/child.hpp"

namespace support {

// Runs the body in a child that sees no other process, with an empty /dev/shm.
template <class Body>
void in_own_world(const Body& body, const char* options = "size=256m,mode=1777") {
    check_child([&] {
        enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID);
        mount_or_exit("tmpfs", "/dev/shm", options);
        // The first of a PID namespace: when it ends, so do all others.
        child_check_child(
            [&] {
                mount_or_exit("proc", "/proc", nullptr);
                body();
            },
            __FILE__, __LINE__);
    });
}

// The same, entered by an unprivileged user.
template <class Body>
void in_world_of_nobody(const Body& body, const char* options = "size=256m,mode=1777") {
    check_child([&] {
        if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 ||
                                 ::setuid(65534) != 0 || ::prctl(PR_SET_DUMPABLE, 1) != 0)) {
            std::perror("becoming nobody");
            ::_exit(95);
        }
        enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID);
        mount_or_exit("tmpfs", "/dev/shm", options);
        child_check_child(
            [&] {
                mount_or_exit("proc", "/proc", nullptr);
                body();
            },
            __FILE__, __LINE__);
    });
}

// In a child that is root: runs the body as another user.
template <class Body>
void as_user(uid_t user, const Body& body) {
    const ending how = run_child([&] {
        if (::setgroups(0, nullptr) != 0 || ::setgid(user) != 0 || ::setuid(user) != 0 ||
            ::prctl(PR_SET_DUMPABLE, 1) != 0) {
            std::perror("becoming another user");
            ::_exit(95);
        }
        body();
    });
    child_check(how.signal == 0 && how.code == 0, "as another user", __FILE__, __LINE__, how.text);
}

// In a child: leaves what the body makes, as if the child were killed.
template <class Body>
void die_in(const Body& body) {
    const ending how = run_child([&] {
        body();
        ::raise(SIGKILL);
    });
    child_check(how.signal == SIGKILL, "killed", __FILE__, __LINE__, how.text);
}

} // namespace support

#endif
