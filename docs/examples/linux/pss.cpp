// What smaps counts for each process: 16 MiB, mapped by one process, then by two.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <csignal>

#include <sys/mman.h>

#include "look.hpp"

constexpr std::size_t size = 16 << 20;

void show(const char* who, const void* memory) {
    std::printf("%-32s", who);
    for (const char* name : {"Rss:", "Pss:", "Private_Dirty:", "Shared_Dirty:"}) {
        std::printf(" %14ld", mapping_at(memory, name).value / 1024);
    }
    std::puts("");
}

void touch(const void* memory) {
    long sum = 0;
    for (std::size_t i = 0; i < size; i += 4096) {
        sum += static_cast<const volatile char*>(memory)[i];
    }
    check(sum == 4096); // the bytes that the parent has written
}

int main() {
    std::printf("%-32s %14s %14s %14s %14s\n", "MiB", "Rss", "Pss", "Private_Dirty",
                "Shared_Dirty");
    const int object = memfd_create("pages", 0);
    check(ftruncate(object, size) == 0);
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0);
    check(memory != MAP_FAILED);
    show("mapped, not touched", memory);
    std::memset(memory, 1, size);
    show("touched by the only one", memory);
    in_a_child([&] {
        show("a child that has not touched it", memory);
        touch(memory);
        show("the child, having touched it", memory);
    });
    void* const again = mmap(nullptr, size, PROT_READ, MAP_SHARED, object, 0);
    touch(again);
    show("one process, mapped twice: one", memory);
    show("one process, mapped twice: two", again);
}
