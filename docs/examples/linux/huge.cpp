// Huge pages: which are available without settings and privileges, and where they are counted.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/shm.h>

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>

#include "look.hpp"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

constexpr std::size_t huge = 2 << 20;

void collapse(const char* kind, int descriptor) {
    check(descriptor >= 0 && ftruncate(descriptor, huge) == 0);
    // At an address that is a multiple of 2 MiB.
    auto space = reinterpret_cast<std::uintptr_t>(
        mmap(nullptr, 2 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    void* const address = reinterpret_cast<void*>((space + huge - 1) / huge * huge);
    void* const memory =
        mmap(address, huge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0);
    std::memset(memory, 1, huge);
    const long before = mapping_at(memory, "ShmemPmdMapped:").value;
    bool done = false;
    for (int i = 0; i < 100 && !done; ++i) { // the kernel may have no 2 MiB in one piece just now
        done = madvise(memory, huge, MADV_COLLAPSE) == 0;
    }
    std::printf("%-14s ShmemPmdMapped %ld KiB, after MADV_COLLAPSE (%s) %ld KiB\n", kind, before,
                result(done), mapping_at(memory, "ShmemPmdMapped:").value);
}

int main() {
    collapse("POSIX object", shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600));
    collapse("memfd", memfd_create("pages", 0));

    std::printf("\nhugetlb, a pool of its own:\n");
    const bool empty = field("/proc/meminfo", "HugePages_Free:") == 0;
    const int object = memfd_create("pages", MFD_HUGETLB | MFD_HUGE_2MB);
    std::printf("memfd_create with MFD_HUGETLB    %s\n", result(object >= 0));
    void* const memory = mmap(nullptr, huge, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0);
    const bool expected = empty ? memory == MAP_FAILED && errno == ENOMEM : memory != MAP_FAILED;
    std::printf("mmap: ENOMEM if the pool is empty %s\n", expected ? "yes" : "no");
    const long shmem = field("/proc/self/status", "RssShmem:");
    if (memory != MAP_FAILED) {
        std::memset(memory, 1, huge);
    }
    std::printf("counted as RssShmem              %s\n",
                field("/proc/self/status", "RssShmem:") == shmem ? "no" : "yes");
}
