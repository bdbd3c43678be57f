// A file system in memory: mounted, filled, enlarged, unmounted.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

namespace {

void look() {
    // #region look
    if (cohold::is_tmpfs("/dev/shm")) {
        const auto found = cohold::tmpfs_usage("/dev/shm");
        std::printf("%s: %llu of %llu bytes free, %s\n", found.mount_point.c_str(),
                    static_cast<unsigned long long>(found.free),
                    static_cast<unsigned long long>(found.size), found.options.c_str());
    }
    // #endregion look
}

void write_file(const char* path, const std::string& text) {
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    check(write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    close(file);
}

// #region namespaces
// What `unshare --mount --map-root-user` does: any user may mount, in namespaces that only
// that user's processes see.
void enter_namespaces() {
    const std::string user = std::to_string(geteuid());
    const std::string group = std::to_string(getegid());
    const bool root = geteuid() == 0;
    check(unshare(CLONE_NEWNS | (root ? 0 : CLONE_NEWUSER)) == 0);
    if (!root) {
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", "0 " + user + " 1");
        write_file("/proc/self/gid_map",
                   "0 " + group + " 1"); // or no files can be made (EOVERFLOW)
    }
    check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
}

// #endregion namespaces

void use(const std::string& directory) {
    // #region mount
    auto mount = cohold::tmpfs_mount::create(directory, {.size = 1 << 20});

    using segment = cohold::segment<cohold::mechanism::tmpfs>;
    const auto prices = segment::create(mount.path() + "/prices", 65536);
    auto& numbers = prices.construct<cohold::shm_vector<double>>("numbers");
    // #endregion mount

    // #region resize
    std::error_code ec;
    prices.grow(4 << 20, ec); // "... wanted 4128768 bytes more, available 983040: ..."
    check(ec == cohold::errc::out_of_space);

    mount.resize(64 << 20); // processes that use it continue, and now the segment can grow
    numbers.resize(1000000);
    check(mount.statistics().used > 8000000);

    mount.resize(1 << 20, ec); // "... wanted a limit of 1048576 bytes, 8003584 are used: ..."
    check(ec == cohold::errc::invalid_size);
    // #endregion resize

    // #region busy
    mount.unmount(ec); // "... still in use: this process has a file open: ..."
    check(ec == cohold::errc::busy);

    mount.unmount(cohold::lazy); // gone from its path at once; `prices` stays usable
    numbers[0] = 2.5;
    check(!segment::open(directory + "/prices", ec));
    // #endregion busy
}

} // namespace

int main() {
    look();
    char directory[] = "/tmp/cohold-example-XXXXXX";
    check(mkdtemp(directory) != nullptr);
    if (const pid_t child = fork(); child == 0) { // the namespaces are for it alone
        enter_namespaces();
        use(directory);
        std::_Exit(0);
    } else {
        int status = 1;
        check(waitpid(child, &status, 0) == child);
        check(rmdir(directory) == 0);
        check(status == 0);
    }
}
