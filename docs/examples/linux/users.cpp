// What one user may do with another user's objects. Needs root, to be two users.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <grp.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 4096;
constexpr unsigned nobody = 65534;

int made(const char* name, mode_t mode) {
    const int object = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    check(ftruncate(object, size) == 0 && fchmod(object, mode) == 0);
    return object;
}

int main() {
    if (in_a_child([] { std::_Exit(setuid(nobody) == 0 ? 0 : 1); }) != std::string("ok")) {
        return 77;
    }
    made("/private", 0600);
    const int object = made("/readable", 0644);
    const int id = shmget(0x2a, size, IPC_CREAT | 0600);
    const int memfd = memfd_create("pages", 0);
    const std::string path = "/proc/self/fd/" + std::to_string(memfd);
    check(object >= 0 && id >= 0 && ftruncate(memfd, size) == 0);
    auto* const memory = static_cast<volatile char*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0));

    check(in_a_child([&] {
              check(setgroups(0, nullptr) == 0 && setgid(nobody) == 0 && setuid(nobody) == 0);
              std::printf("open 0600 for reading           %s\n",
                          result(shm_open("/private", O_RDONLY, 0) >= 0));
              std::printf("open 0644 for reading           %s\n",
                          result(shm_open("/readable", O_RDONLY, 0) >= 0));
              std::printf("open 0644 for writing           %s\n",
                          result(shm_open("/readable", O_RDWR, 0) >= 0));
              std::printf("remove it                       %s\n",
                          result(shm_unlink("/readable") == 0));
              std::printf("shmget of 0600, with flags 0    %s\n", result(shmget(0x2a, 0, 0) == id));
              std::printf("shmat of it                     %s\n",
                          result(shmat(id, nullptr, 0) != MAP_FAILED));
              std::printf("open a memfd that is here       %s\n",
                          result(open(path.c_str(), O_RDWR | O_CLOEXEC) >= 0));
              check(fchmod(memfd, 0) != 0 && errno == EPERM);
          }) == std::string("ok"));
    check(fchmod(memfd, 0600) == 0 && fchmod(object, 0) == 0);
    check(in_a_child([&] {
              check(setgroups(0, nullptr) == 0 && setgid(nobody) == 0 && setuid(nobody) == 0);
              std::printf("after fchmod to 0600            %s\n",
                          result(open(path.c_str(), O_RDWR | O_CLOEXEC) >= 0));
              memory[0] = 42;
              std::printf("write to a mapping of mode 0    %s\n", result(memory[0] == 42));
          }) == std::string("ok"));
}
