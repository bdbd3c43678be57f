// The modes of objects that were made with mode 0666 under a umask of 027.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <semaphore.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 4096;

unsigned mode_of(int descriptor) {
    struct stat now = {};
    check(descriptor >= 0 && fstat(descriptor, &now) == 0);
    return now.st_mode & 0777;
}

int main() {
    umask(027);
    const int object = shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0666);
    std::printf("shm_open    %04o\n", mode_of(object));
    check(fchmod(object, 0666) == 0);
    std::printf("and fchmod  %04o\n", mode_of(object));
    check(sem_open("/count", O_CREAT | O_EXCL, 0666, 1) != SEM_FAILED);
    std::printf("sem_open    %04o\n", mode_of(open("/dev/shm/sem.count", O_RDWR)));
    struct shmid_ds segment = {};
    check(shmctl(shmget(0x2a, size, IPC_CREAT | 0666), IPC_STAT, &segment) == 0);
    std::printf("shmget      %04o\n", static_cast<unsigned>(segment.shm_perm.mode) & 0777);
    const int memfd = memfd_create("pages", MFD_ALLOW_SEALING);
    std::printf("memfd       %04o\n", mode_of(memfd));

    // A descriptor for reading is no guarantee: a process that may open the file gets another one.
    check(ftruncate(memfd, size) == 0);
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", memfd);
    const int reader = open(path, O_RDONLY | O_CLOEXEC);
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", reader);
    std::printf("\nwrite to the reader's descriptor    %s\n", result(write(reader, "", 1) == 1));
    const int writer = open(path, O_RDWR | O_CLOEXEC);
    std::printf("open that again for writing         %s\n", result(writer >= 0));
    std::printf("write                               %s\n", result(write(writer, "", 1) == 1));
    check(fcntl(memfd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0);
    std::printf("write after F_SEAL_FUTURE_WRITE     %s\n", result(write(writer, "", 1) == 1));
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0);
    std::printf("map for writing after it            %s\n", result(memory != MAP_FAILED));
    std::printf("seal a POSIX object                 %s\n",
                result(fcntl(object, F_ADD_SEALS, F_SEAL_SHRINK) == 0));
}
