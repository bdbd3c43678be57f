// Names and directories of this process alone, for every mechanism, and operations on native
// handles.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_PLACE_HPP
#define COHOLD_TEST_SUPPORT_PLACE_HPP

#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

namespace support {

// The names in a directory that contain the text.
inline std::vector<std::string> files_in(const std::string& folder, const std::string& text = "") {
    std::vector<std::string> found;
    DIR* const directory = ::opendir(folder.c_str());
    if (directory == nullptr) {
        return found;
    }
    while (const dirent* entry = ::readdir(directory)) {
        const std::string name = entry->d_name;
        if (name != "." && name != ".." && name.find(text) != std::string::npos) {
            found.push_back(name);
        }
    }
    ::closedir(directory);
    return found;
}

// A directory of this process alone; it must be empty when it is removed.
class own_directory {
  public:
    explicit own_directory(const std::string& parent)
        : path_(parent + "/cohold-test-XXXXXX"), process_(::getpid()) {
        if (::mkdtemp(path_.data()) == nullptr) {
            std::perror(path_.c_str());
            std::abort();
        }
    }

    own_directory(const own_directory&) = delete;
    own_directory& operator=(const own_directory&) = delete;

    ~own_directory() {
        if (process_ == ::getpid() && ::rmdir(path_.c_str()) != 0) {
            std::perror(path_.c_str());
            std::_Exit(99); // a test has left something behind: then no test may pass
        }
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
    pid_t process_;
};

inline const std::string& disk_directory() {
    static const own_directory directory(std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR")
                                                                          : "/tmp");
    return directory.path();
}

inline const std::string& tmpfs_directory() {
    static const own_directory directory("/dev/shm");
    return directory.path();
}

// A file that exists, for ftok(3); removed at the end.
class own_file {
  public:
    own_file() : path_(disk_directory() + "/key"), process_(::getpid()) {
        const int fd = ::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0) {
            std::perror(path_.c_str());
            std::abort();
        }
        ::close(fd);
    }

    own_file(const own_file&) = delete;
    own_file& operator=(const own_file&) = delete;

    ~own_file() {
        if (process_ == ::getpid()) {
            ::unlink(path_.c_str());
        }
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
    pid_t process_;
};

// Names contain this; children use their parent's.
inline const pid_t main_process = ::getpid();

// Three policies, as one argument of a test.
template <class Mechanism, class Naming, class Permission>
struct combination {
    using mechanism = Mechanism;
    using naming = Naming;
    using permission = Permission;
    using memory_object = cohold::memory_object<Mechanism, Naming, Permission>;
    using segment = cohold::segment<Mechanism, Naming, Permission>;
    using segment_view = cohold::segment_view<Mechanism, Naming, Permission>;
    template <class T>
    using shared = cohold::shared<T, Mechanism, Naming, Permission>;

    static constexpr bool named = Naming::kind != cohold::name_kind::none;
    static constexpr bool replaces = [] {
        if constexpr (named) {
            return Mechanism::replaces;
        } else {
            return false;
        }
    }();
    static constexpr bool has_sessions = named && requires { typename Mechanism::attendance; };

    // A name of this process alone, in the form that the policies require.
    static std::string name(const char* suffix = "a") {
        const std::string component = "cohold-test." + std::to_string(main_process) + "." + suffix;
        if constexpr (Naming::kind == cohold::name_kind::key) {
            static const own_file file;
            return file.path(); // there is one key; the suffix makes no difference
        } else if constexpr (std::is_same_v<Mechanism, cohold::mechanism::tmpfs>) {
            return tmpfs_directory() + "/" + component;
        } else if constexpr (Mechanism::names == cohold::name_form::path) {
            return disk_directory() + "/" + component;
        } else {
            return component;
        }
    }
};

// A second native handle of the same object, to be adopted.
inline cohold::file_descriptor duplicate(const cohold::file_descriptor& file) {
    return {::fcntl(file.value, F_DUPFD_CLOEXEC, 0)};
}

inline cohold::system_v_id duplicate(const cohold::system_v_id& object) {
    return {object.value};
}

inline cohold::anonymous_memory duplicate(const cohold::anonymous_memory& memory) {
    void* at = ::mremap(memory.address, 0, memory.bytes, MREMAP_MAYMOVE);
    return at == MAP_FAILED
               ? cohold::anonymous_memory{}
               : cohold::anonymous_memory{at, memory.bytes,
                                          duplicate(cohold::file_descriptor{memory.liveness}).value,
                                          memory.liveness_identity};
}

// How the page at this address is mapped, in the notation of /proc/self/maps: "rw-s". Empty if it
// is not mapped.
inline std::string mapping_of(const void* address) {
    std::FILE* const maps = std::fopen("/proc/self/maps", "re");
    if (maps == nullptr) {
        return {};
    }
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    char line[512];
    std::string found;
    while (found.empty() && std::fgets(line, sizeof line, maps) != nullptr) {
        unsigned long long from = 0;
        unsigned long long to = 0;
        char kind[8] = {};
        if (std::sscanf(line, "%llx-%llx %7s", &from, &to, kind) == 3 && wanted >= from &&
            wanted < to) {
            found = kind;
        }
    }
    std::fclose(maps);
    return found;
}

} // namespace support

#endif
