// The window between shm_open and ftruncate, and how to avoid it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <sys/stat.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 4096;

// The size that another process finds, and how its first access ends.
void open_it(const char* when) {
    std::printf("%-24s ", when);
    const int object = shm_open("/pages", O_RDWR, 0);
    struct stat found = {};
    if (object < 0 || fstat(object, &found) != 0) {
        std::printf("%s\n", result(false));
        return;
    }
    std::printf("size %ld, touching it: %s\n", found.st_size, in_a_child([object] {
                    static_cast<volatile char*>(
                        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0))[0] = 1;
                }));
}

int main() {
    std::printf("shm_open, then ftruncate:\n");
    const int object = shm_open("/pages", O_RDWR | O_CREAT | O_EXCL, 0600);
    open_it("between the two");
    check(ftruncate(object, size) == 0);
    open_it("after both");
    check(shm_unlink("/pages") == 0);

    std::printf("\nWithout a name first:\n");
    // #region publish
    const int fresh = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check(fresh >= 0 && posix_fallocate(fresh, 0, size) == 0);
    // ... map it, fill it in ...
    const std::string link = "/proc/self/fd/" + std::to_string(fresh);
    // #endregion publish
    open_it("before linkat");
    // #region show
    const int shown = linkat(AT_FDCWD, link.c_str(), AT_FDCWD, "/dev/shm/pages", AT_SYMLINK_FOLLOW);
    // #endregion show
    check(shown == 0);
    open_it("after linkat");
    const int again = linkat(AT_FDCWD, link.c_str(), AT_FDCWD, "/dev/shm/pages", AT_SYMLINK_FOLLOW);
    std::printf("%-24s %s\n", "linkat to a taken name", result(again == 0));
}
