// Growing and shrinking under a mapping.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t page = 4096;
volatile char* memory;

const char* touch(std::size_t offset) {
    return in_a_child([offset] { memory[offset] = 1; });
}

int main() {
    const int object = memfd_create("pages", MFD_ALLOW_SEALING);
    check(ftruncate(object, 100) == 0);
    memory =
        static_cast<char*>(mmap(nullptr, 16 * page, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0));
    check(memory != MAP_FAILED);
    std::printf("An object of 100 bytes, 16 pages of addresses mapped.\n");
    std::printf("touch byte 50               %s\n", touch(50));
    std::printf("touch byte 200              %s: the page is there\n", touch(200));
    std::printf("touch page 5                %s\n", touch(5 * page));

    check(in_a_child([&] { check(ftruncate(object, 8 * page) == 0); }) == std::string("ok"));
    std::printf("\nAnother process has made it 8 pages long; nothing was mapped again.\n");
    std::printf("touch page 5                %s\n", touch(5 * page));
    std::printf("byte 200 is                 %d\n", memory[200]);
    std::printf("touch page 9                %s\n", touch(9 * page));

    check(ftruncate(object, page) == 0);
    std::printf("\nAnd now one page.\n");
    std::printf("touch page 5                %s\n", touch(5 * page));
    check(ftruncate(object, 8 * page) == 0);
    std::printf("grown again, page 5 has     %d\n", memory[5 * page]);

    check(fcntl(object, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    std::printf("\nSealed with F_SEAL_SHRINK.\n");
    std::printf("ftruncate to one page       %s\n", result(ftruncate(object, page) == 0));
    std::printf("ftruncate to nine pages     %s\n", result(ftruncate(object, 9 * page) == 0));
}
