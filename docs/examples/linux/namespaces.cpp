// Which namespace decides what a process finds, as between containers or a container and its host.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>

#include <fcntl.h>

#include "look.hpp"

int memfd;

void show(const char* where) {
    const bool posix = shm_open("/pages", O_RDWR, 0) >= 0;
    const bool system_v = shmget(0x2a, 1, 0) >= 0;
    char byte = 0;
    const bool passed = pread(memfd, &byte, 1, 0) == 1 && byte == 42;
    std::printf("%-36s %-6s %-9s %s\n", where, posix ? "yes" : "-", system_v ? "yes" : "-",
                passed ? "yes" : "-");
}

int main() {
    check(shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600) >= 0);
    check(shmget(0x2a, 1, IPC_CREAT | IPC_EXCL | 0600) >= 0);
    memfd = memfd_create("pages", 0);
    check(memfd >= 0 && write(memfd, "\x2a", 1) == 1);

    std::printf("%-36s POSIX  System V  memfd\n", "found");
    show("here");
    in_a_child([] {
        check(unshare(CLONE_NEWIPC) == 0);
        show("in another IPC namespace");
    });
    in_a_child([] {
        check(unshare(CLONE_NEWNS) == 0);
        show("in another mount namespace");
        check(mount("shm", "/dev/shm", "tmpfs", 0, "size=64m") == 0);
        show("... with a tmpfs of its own there");
        check(unshare(CLONE_NEWIPC) == 0);
        show("... and another IPC namespace");
    });
}
