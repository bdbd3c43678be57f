// Which memory goes to swap, and where it is counted then. Needs a machine with swap.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/statvfs.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 16 << 20;

void show(const char* what, void* memory) {
    struct statvfs shm = {};
    struct shm_info segments = {};
    check(statvfs("/dev/shm", &shm) == 0);
    check(shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&segments)) >= 0);
    const unsigned long page = 4096;
    std::printf("%-20s %7ld %8ld %11ld %13ld %13ld\n", what,
                mapping_at(memory, "Rss:").value / 1024, mapping_at(memory, "Swap:").value / 1024,
                static_cast<long>((shm.f_blocks - shm.f_bfree) * page >> 20),
                static_cast<long>(segments.shm_rss * page >> 20),
                static_cast<long>(segments.shm_swp * page >> 20));
}

void* map(int descriptor) {
    check(descriptor >= 0 && ftruncate(descriptor, size) == 0);
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    return memory;
}

void page_out(const char* kind, void* memory) {
    std::memset(memory, 1, size);
    show(kind, memory);
    check(madvise(memory, size, MADV_PAGEOUT) == 0);
    show("  paged out", memory);
    static_cast<volatile char*>(memory)[0] = 2; // and comes back as it is used
    std::memset(memory, 2, size);
    show("  written again", memory);
    check(munmap(memory, size) == 0);
}

int main() {
    if (field("/proc/meminfo", "SwapFree:") < 65536) {
        return 77; // no swap here
    }
    if (mount("own", "/dev/shm", "tmpfs", 0, "noswap") != 0) {
        return 77; // a user namespace, or Linux before 6.4
    }
    check(umount("/dev/shm") == 0);
    std::printf("%-20s %7s %8s %11s %13s %13s\n", "MiB", "Rss", "Swap", "df /dev/shm",
                "System V rss", "System V swp");
    page_out("POSIX object", map(shm_open("/pages", O_RDWR | O_CREAT, 0600)));
    check(shm_unlink("/pages") == 0);
    const int id = shmget(IPC_PRIVATE, size, 0600);
    void* const segment = shmat(id, nullptr, 0);
    check(shmctl(id, IPC_RMID, nullptr) == 0);
    page_out("System V", segment);
    check(mount("own", "/dev/shm", "tmpfs", 0, "noswap") == 0);
    page_out("on tmpfs noswap", map(shm_open("/pages", O_RDWR | O_CREAT, 0600)));
}
