// Reads /proc, and reports how a child ended: for the programs in this directory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_EXAMPLES_LOOK_HPP
#define COHOLD_EXAMPLES_LOOK_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "../check.hpp"

// The number behind a field, as of "Shmem:  123 kB" in /proc/meminfo; -1 if there is none.
inline long field(const char* file, const char* name) {
    std::FILE* in = std::fopen(file, "re");
    check(in != nullptr);
    char line[512];
    long value = -1;
    while (value < 0 && std::fgets(line, sizeof line, in) != nullptr) {
        if (std::strncmp(line, name, std::strlen(name)) == 0) {
            value = std::strtol(line + std::strlen(name), nullptr, 10);
        }
    }
    std::fclose(in);
    return value;
}

// The line of /proc/self/maps (or smaps) that an address is in; and of smaps, a field below it.
struct mapping {
    unsigned long first, last;
    unsigned major, minor;
    unsigned long inode;
    std::string path;
    long value;
};

inline mapping mapping_at(const void* address, const char* name = nullptr) {
    std::FILE* in = std::fopen(name == nullptr ? "/proc/self/maps" : "/proc/self/smaps", "re");
    check(in != nullptr);
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    mapping found = {0, 0, 0, 0, 0, "", -1};
    char line[512];
    while (found.value < 0 && std::fgets(line, sizeof line, in) != nullptr) {
        mapping now = {0, 0, 0, 0, 0, "", -1};
        int path = 0;
        line[std::strcspn(line, "\n")] = 0;
        if (std::sscanf(line, "%lx-%lx %*s %*s %x:%x %lu %n", &now.first, &now.last, &now.major,
                        &now.minor, &now.inode, &path) == 5) {
            if (found.last != 0) {
                break;
            }
            now.path = line + path;
            found = wanted >= now.first && wanted < now.last ? now : found;
        } else if (found.last != 0 && std::strncmp(line, name, std::strlen(name)) == 0) {
            found.value = std::strtol(line + std::strlen(name), nullptr, 10);
        }
    }
    std::fclose(in);
    check(found.last != 0);
    return found;
}

// The result of a call: "ok", or the name of the error.
inline const char* result(bool good) {
    return good ? "ok" : strerrorname_np(errno);
}

// How a child that does it ends: "ok", or the name of the signal.
template <class Function>
const char* in_a_child(Function function) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        function();
        std::fflush(stdout);
        std::_Exit(0);
    }
    int status = 0;
    check(child > 0 && waitpid(child, &status, 0) == child);
    static char name[32];
    std::snprintf(name, sizeof name, "SIG%s",
                  WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "");
    return WIFSIGNALED(status) ? name : WEXITSTATUS(status) == 0 ? "ok" : "failed";
}

#endif
