// Which objects end when a name is removed, when a process is killed, and at exec.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <csignal>

#include <sys/mman.h>
#include <sys/shm.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 4096;

char* map(int descriptor) {
    return static_cast<char*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0));
}

int main(int argc, char**) {
    if (argc > 1) { // after exec
        std::printf("exec: RssShmem             %ld\n", field("/proc/self/status", "RssShmem:"));
        return 0;
    }
    std::printf("A child makes one of each, and is killed: %s\n", in_a_child([] {
                    check(ftruncate(shm_open("/pages", O_RDWR | O_CREAT, 0600), size) == 0);
                    check(shmat(shmget(0x2a, size, IPC_CREAT | 0600), nullptr, 0) != nullptr);
                    check(ftruncate(memfd_create("pages", 0), size) == 0);
                    raise(SIGKILL);
                }));
    const int object = shm_open("/pages", O_RDWR, 0);
    const int id = shmget(0x2a, size, 0);
    std::printf("the POSIX object           %s\n", object >= 0 ? "is there" : "is gone");
    std::printf("the System V segment       %s\n", id >= 0 ? "is there" : "is gone");

    std::printf("\nshm_unlink, with a mapping and a descriptor left:\n");
    char* const memory = map(object);
    memory[0] = 42;
    check(shm_unlink("/pages") == 0);
    std::printf("open by the name           %s\n", result(shm_open("/pages", O_RDWR, 0) >= 0));
    std::printf("in /proc/self/maps         %s\n", mapping_at(memory).path.c_str());
    std::printf("the memory has             %d\n", memory[0]);
    check(close(object) == 0);
    std::printf("without the descriptor     %d\n", memory[0]);
    std::printf("\nIPC_RMID, with an attachment left:\n");
    auto* const segment = static_cast<char*>(shmat(id, nullptr, 0));
    segment[0] = 42;
    struct shmid_ds now = {};
    check(shmctl(id, IPC_RMID, nullptr) == 0 && shmctl(id, IPC_STAT, &now) == 0);
    std::printf("shmget by the key          %s\n", result(shmget(0x2a, size, 0) >= 0));
    std::printf("marked with SHM_DEST       %s\n",
                (now.shm_perm.mode & SHM_DEST) != 0 ? "yes" : "no");
    char* const again = static_cast<char*>(shmat(id, nullptr, 0)); // Linux allows it, others not
    std::printf("shmat by the identifier    ok, it has %d\n", again[0]);
    check(shmdt(again) == 0 && shmdt(segment) == 0);
    std::printf("and after the last shmdt   %s\n", result(shmat(id, nullptr, 0) != MAP_FAILED));

    std::printf("\nfork: the child writes     %s\n", in_a_child([memory] { memory[0] = 43; }));
    std::printf("and the parent reads       %d\n", memory[0]);
    std::fflush(stdout);
    execl("/proc/self/exe", "lifetime", "after", nullptr);
}
