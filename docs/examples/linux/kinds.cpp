// Five ways to share memory: how /proc/self/maps shows each, and which file system lies below.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <fcntl.h>
#include <linux/magic.h>

#include "look.hpp"

constexpr std::size_t size = 1 << 20;

void show(const char* kind, const void* address) {
    mapping at = mapping_at(address);
    if (at.path.find("XXXXXX") == std::string::npos && at.path.find("/var/tmp/") == 0) {
        at.path = "/var/tmp/... (deleted)"; // the name is different each time
    }
    struct stat shm = {};
    check(stat("/dev/shm", &shm) == 0);
    char device[16];
    std::snprintf(device, sizeof device, "%02x:%02x", at.major, at.minor);
    std::printf("%-18s %-24s %s\n", kind, at.path.c_str(),
                makedev(at.major, at.minor) == shm.st_dev ? "that of /dev/shm"
                : at.major == 0 && at.minor == 1          ? device
                                                          : "that of /var/tmp");
}

void* map(int descriptor) {
    check(descriptor >= 0 && ftruncate(descriptor, size) == 0);
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    check(memory != MAP_FAILED);
    return memory;
}

int main() {
    std::printf("%-18s %-24s %s\n", "", "in /proc/self/maps", "device");
    show("POSIX object", map(shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600)));

    const int id = shmget(0x2a, size, IPC_CREAT | IPC_EXCL | 0600);
    const void* const system_v = shmat(id, nullptr, 0);
    show("System V", system_v);
    const int flags = MAP_SHARED | MAP_ANONYMOUS;
    show("shared anonymous", mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0));
    const int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    show("mapped /dev/zero", mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0));
    const int memfd = memfd_create("pages", MFD_CLOEXEC);
    show("memfd", map(memfd));

    char path[] = "/var/tmp/pages-XXXXXX";
    const int file = mkostemp(path, O_CLOEXEC);
    check(unlink(path) == 0);
    show("file", map(file));

    struct statfs below = {};
    check(fstatfs(memfd, &below) == 0);
    std::printf("\nThe memfd is on a %s, whose limit is %lu blocks: none.\n",
                below.f_type == TMPFS_MAGIC ? "tmpfs" : "?", below.f_blocks);
    std::printf("The inode of the System V segment is its identifier: %s\n",
                mapping_at(system_v).inode == static_cast<unsigned long>(id) ? "yes" : "no");
}
