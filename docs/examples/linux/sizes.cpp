// A size is a promise; memory comes with use. In a /dev/shm of 64 MiB.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "look.hpp"

int object;

void show(const char* what) {
    struct stat now = {};
    check(fstat(object, &now) == 0);
    std::printf("%-36s size %5ld MiB, memory %3ld KiB\n", what, now.st_size >> 20,
                now.st_blocks / 2);
}

void show_system_v(const char* what) {
    struct shm_info now = {};
    check(shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&now)) >= 0);
    std::printf("%-36s size %5ld KiB, memory %3ld KiB\n", what, now.shm_tot * 4, now.shm_rss * 4);
}

int main() {
    object = shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600);
    check(shm_unlink("/pages") == 0 && ftruncate(object, off_t{1} << 30) == 0);
    show("ftruncate to 1 GiB");
    const std::size_t mapped = std::size_t{64} << 30;
    auto* const memory = static_cast<volatile char*>(
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, object, 0));
    check(memory != MAP_FAILED);
    show("map 64 GiB of addresses");
    memory[0] = 1;
    show("write one byte");
    char byte = 1;
    check(pread(object, &byte, 1, 1 << 20) == 1 && byte == 0);
    show("read(2) from a hole");
    check(memory[2 << 20] == 0);
    show("read from a hole through the mapping");
    check(fallocate(object, 0, 4 << 20, 64 << 10) == 0);
    show("fallocate 64 KiB");
    check(fallocate(object, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8 << 20) == 0);
    show("punch a hole of 8 MiB");

    const int id = shmget(IPC_PRIVATE, 64 << 10, 0600);
    void* const segment = shmat(id, nullptr, 0);
    std::memset(segment, 1, 64 << 10);
    show_system_v("System V, 64 KiB written");
    check(madvise(segment, 64 << 10, MADV_REMOVE) == 0);
    show_system_v("MADV_REMOVE");
}
