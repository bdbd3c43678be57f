// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/limits.hpp>

#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold::detail;

namespace {

constexpr std::string_view unified_mounts = "22 1 0:21 / /proc rw - proc proc rw\n"
                                            "30 1 0:26 / /sys/fs/cgroup\\040x rw,nosuid shared:9 - "
                                            "cgroup2 cgroup2 rw,memory_recursiveprot\n";

constexpr std::string_view old_mounts =
    "31 1 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 1 0:28 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 1 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

void write_at(const std::string& path, const std::string& text) {
    const unique_fd file = open_file(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    REQUIRE(file);
    REQUIRE(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

void make(const std::string& path) {
    REQUIRE(::system(("mkdir -p '" + path + "'").c_str()) == 0);
}

} // namespace

TEST_CASE("limits of this process, and nothing where there is no limit") {
    support::check_child([] {
        const ::rlimit some{1 << 20, 1 << 20};
        CHILD_CHECK(::setrlimit(RLIMIT_MEMLOCK, &some) == 0);
        CHILD_CHECK(resource_limit(RLIMIT_MEMLOCK) == 1u << 20);
        ::rlimit core{};
        ::getrlimit(RLIMIT_FSIZE, &core);
        CHILD_CHECK(core.rlim_cur != RLIM_INFINITY || !resource_limit(RLIMIT_FSIZE));
        const std::uint64_t before = open_descriptors();
        const unique_fd one = open_file("/dev/null", O_RDONLY);
        CHILD_CHECK(open_descriptors() == before + 1);
    });
}

TEST_CASE("processes that may lock any amount") {
    const std::string all = "Name:\tx\nCapEff:\t000001ffffffffff\n";
    const std::string none = "Name:\tCapEff\nCapEff:\t0000000000000000\n";
    CHECK(may_lock_everything(all, "         0          0 4294967295\n"));
    CHECK_FALSE(may_lock_everything(none, "         0          0 4294967295\n"));
    CHECK_FALSE(may_lock_everything(all, "         0       1000          1\n"));
    CHECK_FALSE(may_lock_everything("", ""));
    CHECK(status_word(all, "Name") == "x");
    CHECK(status_word(all, "Nam").empty());
}

TEST_CASE("the control group that has the memory") {
    bool unified = false;
    CHECK(memory_group("0::/user.slice/a b\n", unified) == "/user.slice/a b");
    CHECK(unified);
    CHECK(memory_group("9:name=systemd:/\n4:cpu,memory:/g:h\n0::/u\n", unified) == "/g:h");
    CHECK_FALSE(unified);
    CHECK(memory_group("nonsense\n", unified).empty());
    CHECK(memory_group("", unified).empty());

    std::string point;
    std::string root;
    REQUIRE(memory_group_mount(unified_mounts, true, point, root));
    CHECK(point == "/sys/fs/cgroup x");
    CHECK(root == "/");
    REQUIRE(memory_group_mount(old_mounts, false, point, root));
    CHECK(point == "/sys/fs/cgroup/memory");
    CHECK(root == "/docker/1");
    CHECK_FALSE(memory_group_mount(unified_mounts, false, point, root));
}

TEST_CASE("among nested control groups the tightest counts") {
    char path[] = "/tmp/cohold-test-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    const std::string at = std::string(path) + "/sys/fs/cgroup x";
    make(at + "/a/b");
    write_at(at + "/a/b/memory.max", "max\n");
    write_at(at + "/a/b/memory.current", "5\n");
    write_at(at + "/a/memory.max", "1000\n");
    write_at(at + "/a/memory.current", "900\n");
    const group_memory found = read_group_memory("0::/a/b\n", unified_mounts, path);
    CHECK(found.path == "/sys/fs/cgroup x/a");
    CHECK(found.most == 1000u);
    CHECK(found.used == 900u);
    // Cached files are reclaimed; swap is added, as far as the group may use it.
    const auto left = [&](std::uint64_t swap) {
        return group_memory_left("0::/a/b\n", unified_mounts, swap, path);
    };
    CHECK(left(0) == 100);
    CHECK(left(7) == 107);
    write_at(at + "/a/memory.stat", "anon 800\nfile 100\ninactive_file 60\nactive_file 20\n");
    CHECK(left(0) == 180);
    write_at(at + "/a/memory.swap.max", "30\n");
    write_at(at + "/a/memory.swap.current", "10\n");
    CHECK(left(7) == 187);
    CHECK(left(1000) == 200);
    CHECK(group_memory_left("0::/\n", unified_mounts, 0, path) == UINT64_MAX);
    write_at(at + "/a/b/memory.max", "50\n"); // 45 are left
    CHECK(read_group_memory("0::/a/b\n", unified_mounts, path).path == "/sys/fs/cgroup x/a/b");
    CHECK(read_group_memory("0::/\n", unified_mounts, path).path.empty());
    CHECK(read_group_memory("0::/../x\n", unified_mounts, path).path.empty());
    CHECK(read_group_memory("0::/gone\n", unified_mounts, path).path.empty());
    CHECK(read_group_memory("", "", path).path.empty());

    const std::string old = std::string(path) + "/sys/fs/cgroup/memory";
    make(old + "/sub");
    write_at(old + "/memory.limit_in_bytes", "9223372036854771712\n");
    write_at(old + "/sub/memory.limit_in_bytes", "4096\n");
    write_at(old + "/sub/memory.usage_in_bytes", "1024\n");
    const group_memory inner = read_group_memory("4:memory:/docker/1/sub\n", old_mounts, path);
    CHECK(inner.path == "/sys/fs/cgroup/memory/sub");
    CHECK(inner.most == 4096u);
    CHECK(inner.used == 1024u);
    write_at(old + "/sub/memory.stat", "inactive_file 1\ntotal_inactive_file 24\n");
    CHECK(group_memory_left("4:memory:/docker/1/sub\n", old_mounts, 0, path) == 3096);
    CHECK_FALSE(read_group_memory("4:memory:/docker/1\n", old_mounts, path).most);
    REQUIRE(::system(("rm -r " + std::string(path)).c_str()) == 0);
}
