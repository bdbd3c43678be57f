// Where 64 MiB are counted once they are written to.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <array>

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#include <fcntl.h>

#include "look.hpp"

constexpr std::size_t size = 64 << 20;
using numbers = std::array<long, 8>; // in KiB

numbers look() {
    struct sysinfo system = {};
    struct statvfs shm = {};
    struct shm_info segments = {};
    check(sysinfo(&system) == 0 && statvfs("/dev/shm", &shm) == 0);
    check(shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&segments)) >= 0); // as ipcs -um
    return {field("/proc/meminfo", "Shmem:"),
            field("/proc/meminfo", "Cached:"),
            static_cast<long>(system.sharedram * system.mem_unit / 1024),
            static_cast<long>((shm.f_blocks - shm.f_bfree) * shm.f_bsize / 1024),
            static_cast<long>(segments.shm_rss) * getpagesize() / 1024,
            field("/proc/self/status", "RssShmem:"),
            field("/proc/self/status", "RssFile:"),
            field("/proc/self/status", "RssAnon:")};
}

// Others use memory too: so it is the median of three.
template <class Make>
void show(const char* kind, Make make) {
    std::array<numbers, 3> grown = {};
    for (numbers& found : grown) {
        const numbers before = look();
        void* const memory = make();
        check(memory != MAP_FAILED);
        std::memset(memory, 1, size);
        found = look();
        for (std::size_t i = 0; i < found.size(); ++i) {
            found[i] = (found[i] - before[i] + 8192) / 16384 * 16; // MiB, to the nearest 16
        }
        check(munmap(memory, size) == 0); // what shmdt does, too
    }
    std::printf("%-18s", kind);
    for (std::size_t i = 0; i < grown[0].size(); ++i) {
        std::nth_element(grown.begin(), grown.begin() + 1, grown.end(),
                         [i](const numbers& a, const numbers& b) { return a[i] < b[i]; });
        std::printf(" %11s", grown[1][i] == 0    ? "-"
                             : grown[1][i] == 64 ? "+64 MiB"
                                                 : std::to_string(grown[1][i]).c_str());
    }
    std::puts("");
}

void* map(int flags, int descriptor) {
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    close(descriptor);
    return memory;
}

void* map_file(int descriptor) {
    check(descriptor >= 0 && ftruncate(descriptor, size) == 0);
    return map(MAP_SHARED, descriptor);
}

int main() {
    std::printf("%-18s %11s %11s %11s %11s %11s %11s %11s %11s\n", "", "Shmem", "Cached",
                "sharedram", "df /dev/shm", "ipcs -um", "RssShmem", "RssFile", "RssAnon");
    show("POSIX object", [] {
        const int object = shm_open("/pages", O_RDWR | O_CREAT, 0600);
        check(shm_unlink("/pages") == 0);
        return map_file(object);
    });
    show("System V", [] {
        const int id = shmget(IPC_PRIVATE, size, 0600);
        void* const memory = shmat(id, nullptr, 0);
        check(shmctl(id, IPC_RMID, nullptr) == 0);
        return memory;
    });
    show("shared anonymous", [] { return map(MAP_SHARED | MAP_ANONYMOUS, -1); });
    show("memfd", [] { return map_file(memfd_create("pages", 0)); });
    show("file", [] {
        char path[] = "/var/tmp/pages-XXXXXX";
        const int file = mkstemp(path);
        check(unlink(path) == 0);
        return map_file(file);
    });
    show("private anonymous", [] { return map(MAP_PRIVATE | MAP_ANONYMOUS, -1); });
}
