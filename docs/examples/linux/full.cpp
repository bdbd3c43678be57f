// A full tmpfs, as in a container; and the kinds of memory that its limit does not affect.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t much = 8 << 20;

void* map(int flags, int descriptor) {
    return mmap(nullptr, much, PROT_READ | PROT_WRITE, flags, descriptor, 0);
}

int main() {
    check(mount(nullptr, "/dev/shm", nullptr, MS_REMOUNT, "size=1m") == 0);
    const int object = shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600);
    std::printf("A /dev/shm of 1 MiB. A POSIX object of 8 MiB:\n");
    std::printf("ftruncate                  %s\n", result(ftruncate(object, much) == 0));
    void* const memory = map(MAP_SHARED, object);
    std::printf("mmap                       %s\n", result(memory != MAP_FAILED));
    std::printf("MADV_POPULATE_WRITE        %s\n",
                result(madvise(memory, much, MADV_POPULATE_WRITE) == 0));
    std::printf("memset                     %s\n",
                in_a_child([&] { std::memset(memory, 1, much); }));
    std::printf("reading all of it          %s\n", in_a_child([&] {
                    for (std::size_t i = 0; i < much; i += 4096) {
                        static_cast<void>(static_cast<volatile char*>(memory)[i]);
                    }
                }));
    check(ftruncate(object, 0) == 0);
    errno = posix_fallocate(object, 0, much);
    std::printf("posix_fallocate            %s", result(errno == 0));
    struct stat after = {};
    check(fstat(object, &after) == 0);
    std::printf(", and it keeps %ld KiB\n", after.st_blocks / 2);
    static char bytes[much];
    std::printf("write                      %zd KiB, ", write(object, bytes, much) / 1024);
    std::printf("the next one %s\n", result(write(object, bytes, much) > 0));

    std::printf("\n8 MiB of other kinds, with /dev/shm full:\n");
    std::printf("System V                   %s\n", in_a_child([] {
                    const int id = shmget(IPC_PRIVATE, much, 0600);
                    void* const segment = shmat(id, nullptr, 0);
                    check(shmctl(id, IPC_RMID, nullptr) == 0);
                    std::memset(segment, 1, much);
                }));
    std::printf("shared anonymous           %s\n",
                in_a_child([] { std::memset(map(MAP_SHARED | MAP_ANONYMOUS, -1), 1, much); }));
    std::printf("memfd                      %s\n", in_a_child([] {
                    const int descriptor = memfd_create("pages", 0);
                    check(ftruncate(descriptor, much) == 0);
                    std::memset(map(MAP_SHARED, descriptor), 1, much);
                }));
}
