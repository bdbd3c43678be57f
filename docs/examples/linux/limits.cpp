// Where the limits are, and their defaults.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <csignal>

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <fcntl.h>

#include "look.hpp"

int main() {
    // tmpfs: half of the memory, and half as many inodes as there are pages.
    check(mount("own", "/dev/shm", "tmpfs", 0, nullptr) == 0);
    struct statvfs own = {};
    check(statvfs("/dev/shm", &own) == 0);
    const double memory = static_cast<double>(field("/proc/meminfo", "MemTotal:")) * 1024;
    const double size = static_cast<double>(own.f_blocks) * static_cast<double>(own.f_bsize);
    std::printf("a tmpfs mounted without a size     %.2f of MemTotal\n", size / memory);
    std::printf("files that it may hold             %.2f of the pages\n",
                static_cast<double>(own.f_files) * 4096 / memory);
    check(mount("own", "/dev/shm", "tmpfs", 0, "size=0") == 0);
    check(statvfs("/dev/shm", &own) == 0);
    std::printf("with size=0                        %lu blocks: no limit\n", own.f_blocks);

    // System V: how large, how much together, how many.
    struct shminfo system_v = {};
    check(shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&system_v)) >= 0);
    std::printf("\nkernel.shmmax                      2^64 - 1 - 2^24 bytes: %s\n",
                system_v.shmmax == ~0UL - (1UL << 24) ? "yes" : "no");
    std::printf("kernel.shmall                      2^64 - 1 - 2^24 pages: %s\n",
                system_v.shmall == ~0UL - (1UL << 24) ? "yes" : "no");
    std::printf("kernel.shmmni                      %lu\n", system_v.shmmni);
    unsigned long made = 0;
    while (shmget(IPC_PRIVATE, 1, 0600) >= 0) {
        ++made;
    }
    std::printf("segments made before shmget failed %lu, then %s\n", made, result(false));

    // ulimit -f limits files, in memory or not.
    signal(SIGXFSZ, SIG_IGN); // which would kill
    const rlimit one_page = {4096, 4096};
    check(setrlimit(RLIMIT_FSIZE, &one_page) == 0);
    const int object = shm_open("/pages", O_RDWR | O_CREAT, 0600);
    std::printf("\nulimit -f, POSIX object            %s\n", result(ftruncate(object, 8192) == 0));
    std::printf("ulimit -f, memfd                   %s\n",
                result(ftruncate(memfd_create("pages", 0), 8192) == 0));
    const int flags = MAP_SHARED | MAP_ANONYMOUS;
    std::printf("ulimit -f, shared anonymous        %s\n",
                result(mmap(nullptr, 8192, PROT_READ, flags, -1, 0) != MAP_FAILED));
}
