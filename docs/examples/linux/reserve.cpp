// Four times the memory of the machine, with vm.overcommit_memory = 0, the default.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/shm.h>

#include "look.hpp"

#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif

int main() {
    if (field("/proc/sys/vm/overcommit_memory", "") != 0) {
        return 77; // with 1 all of it succeeds, with 2 less does
    }
    const auto memory = static_cast<std::size_t>(field("/proc/meminfo", "MemTotal:")) +
                        static_cast<std::size_t>(field("/proc/meminfo", "SwapTotal:"));
    const std::size_t size = memory * 4096; // KiB, times four

    auto segment = [size](int flags) {
        const int id = shmget(IPC_PRIVATE, size, 0600 | flags);
        const char* const how = result(id >= 0);
        check(id < 0 || shmctl(id, IPC_RMID, nullptr) == 0);
        return how;
    };
    std::printf("shmget                           %s\n", segment(0));
    std::printf("shmget with SHM_NORESERVE        %s\n", segment(SHM_NORESERVE));

    auto anonymous = [size](int flags) {
        const int all = MAP_SHARED | MAP_ANONYMOUS | flags;
        return result(mmap(nullptr, size, PROT_READ | PROT_WRITE, all, -1, 0) != MAP_FAILED);
    };
    std::printf("shared anonymous                 %s\n", anonymous(0));
    std::printf("... with MAP_NORESERVE           %s\n", anonymous(MAP_NORESERVE));

    const int object = memfd_create("pages", 0);
    std::printf("ftruncate of a memfd             %s\n",
                result(ftruncate(object, static_cast<off_t>(size)) == 0));
    std::printf(
        "mmap of all of it                %s\n",
        result(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0) != MAP_FAILED));
}
