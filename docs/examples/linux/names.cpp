// Names of POSIX objects are files of /dev/shm; keys of System V are numbers that can collide.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "look.hpp"

int posix(const std::string& name) {
    return shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
}

const char* semaphore(const std::string& name) {
    return result(sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 1) != SEM_FAILED);
}

int main() {
    struct stat one = {};
    struct stat two = {};
    check(fstat(posix("/pages"), &one) == 0 && stat("/dev/shm/pages", &two) == 0);
    std::printf("/pages is /dev/shm/pages     %s\n", one.st_ino == two.st_ino ? "yes" : "no");
    std::printf("without the slash            %s\n", result(shm_open("pages", O_RDWR, 0) >= 0));
    std::printf("with a slash inside          %s\n", result(posix("/a/b") >= 0));
    std::printf("255 bytes                    %s\n", result(posix(std::string(255, 'x')) >= 0));
    std::printf("256 bytes                    %s\n", result(posix(std::string(256, 'x')) >= 0));
    check(symlink("/dev/shm/pages", "/dev/shm/link") == 0);
    std::printf("a symbolic link              %s\n", result(shm_open("/link", O_RDWR, 0) >= 0));
    check(open("/dev/shm/by-open", O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0);
    std::printf("a file made with open(2)     %s\n", result(shm_open("/by-open", O_RDWR, 0) >= 0));

    std::printf("\nsem_open(\"/count\")           %s, ", semaphore("/count"));
    check(stat("/dev/shm/sem.count", &two) == 0);
    std::printf("it is sem.count of %ld bytes\n", two.st_size);
    std::printf("251 bytes                    %s\n", semaphore(std::string(251, 'y')));
    std::printf("252 bytes                    %s\n", semaphore(std::string(252, 'y')));

    std::printf("\nftok: projects 1 and 257     %s\n",
                ftok("/dev/shm", 1) == ftok("/dev/shm", 257) ? "the same key" : "two keys");
    const int id = shmget(0x2a, 4096, IPC_CREAT | IPC_EXCL | 0600);
    std::printf("shmget with a larger size    %s\n", result(shmget(0x2a, 8192, 0600) == id));
    std::printf("shmget with a smaller one    %s\n", result(shmget(0x2a, 1, 0600) == id));
    std::printf("IPC_PRIVATE, twice           %s\n",
                shmget(IPC_PRIVATE, 4096, 0600) == shmget(IPC_PRIVATE, 4096, 0600)
                    ? "the same segment"
                    : "two segments, without a key");
}
