// A change is visible without msync: mappings, read and write use the same pages.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 4096;

void show(const char* kind, int descriptor) {
    check(descriptor >= 0 && ftruncate(descriptor, size) == 0);
    auto map = [descriptor](int flags) {
        return static_cast<volatile char*>(
            mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, descriptor, 0));
    };
    volatile char* const memory = map(MAP_SHARED);
    volatile char* const copy = map(MAP_PRIVATE);
    in_a_child([memory] { memory[0] = 1; });
    char byte = 0;
    check(pread(descriptor, &byte, 1, 0) == 1);
    std::printf("%s\n  a child stores 1: the parent's mapping has %d, read(2) gives %d\n", kind,
                memory[0], byte);
    check(pwrite(descriptor, "\2", 1, 0) == 1);
    std::printf("  write(2) of 2: the mapping has %d, a private one %d\n", memory[0], copy[0]);
    copy[0] = 3;
    check(pwrite(descriptor, "\4", 1, 0) == 1);
    std::printf("  3 to the private one, write(2) of 4: it has %d, the shared one %d\n", copy[0],
                memory[0]);
}

int main() {
    char path[] = "/var/tmp/pages-XXXXXX";
    const int file = mkstemp(path);
    check(unlink(path) == 0);
    show("a file of a disk", file);
    show("a POSIX object", shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600));
}
