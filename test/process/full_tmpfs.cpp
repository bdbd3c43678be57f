// A full /dev/shm, too few inodes, too little address space: the errors say what was wanted and
// what is available, nothing is left behind, existing data stay usable, and there is never a
// SIGBUS.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

constexpr std::size_t mebibyte = 1 << 20;

// The contents of the two file systems, with sizes.
std::string world() {
    std::string out;
    for (const std::string directory : {"/dev/shm/", "/mnt/"}) {
        DIR* const opened = ::opendir(directory.c_str());
        while (const dirent* entry = opened == nullptr ? nullptr : ::readdir(opened)) {
            struct ::stat status{};
            const std::string path = directory + entry->d_name;
            if (entry->d_name[0] != '.' && ::lstat(path.c_str(), &status) == 0) {
                out += path + " " + std::to_string(status.st_size) + "\n";
            } else if (std::string_view(entry->d_name).size() > 2) {
                out += path + "\n"; // a temporary name
            }
        }
        ::closedir(opened);
    }
    return out;
}

std::uint64_t free_bytes(const char* path) {
    struct ::statvfs status{};
    ::statvfs(path, &status);
    return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

// In a child: both file systems have one mebibyte.
void enter_small_world(const std::string& more = "") {
    support::enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC);
    const std::string options = "size=1m,mode=1777" + more;
    support::mount_or_exit("tmpfs", "/dev/shm", options.c_str());
    support::mount_or_exit("tmpfs", "/mnt", options.c_str());
}

void resize(const char* mount, const char* options) {
    if (::mount(nullptr, mount, nullptr, MS_REMOUNT, options) != 0) {
        std::perror("remount");
        ::_exit(94);
    }
}

// In a child: out of space, with both numbers, without effect.
template <class Operation>
void out_of_space(std::string_view verb, std::uint64_t wanted, std::uint64_t available,
                  const Operation& run) {
    const std::string before = world();
    const std::uint64_t left = free_bytes("/dev/shm");
    std::error_code ec;
    run(ec);
    const std::string what = last_failure().what();
    const std::string numbers = "wanted " + std::to_string(wanted) + " bytes more, available " +
                                std::to_string(available) + ":";
    CHILD_CHECK(ec == errc::out_of_space);
    CHILD_CHECK(ec == std::errc::no_space_on_device);
    CHILD_CHECK(what.starts_with(verb));
    CHILD_CHECK(what.find(numbers) != std::string::npos);
    CHILD_CHECK(world() == before);
    CHILD_CHECK(free_bytes("/dev/shm") == left);
    if (what.find(numbers) == std::string::npos) {
        std::fprintf(stderr, "expected '%s', found '%s'\n", numbers.c_str(), what.c_str());
    }
}

template <class Mechanism>
struct place;

template <>
struct place<mechanism::posix> {
    static constexpr const char* name = "x";
    static constexpr const char* mount = "/dev/shm";
};

template <>
struct place<mechanism::file> {
    static constexpr const char* name = "/mnt/x";
    static constexpr const char* mount = "/mnt";
};

template <>
struct place<mechanism::tmpfs> : place<mechanism::file> {};

struct alignas(8) chunk {
    std::uint64_t words[64];
};

} // namespace

TEST_CASE_TEMPLATE("a creation that does not fit leaves nothing", Mechanism, mechanism::posix,
                   mechanism::file, mechanism::tmpfs) {
    support::check_child([] {
        enter_small_world();
        using segment_type = segment<Mechanism>;
        const char* const name = place<Mechanism>::name;
        const std::uint64_t all = free_bytes(place<Mechanism>::mount);
        const segment_options large{.size = 4 * mebibyte, .reserve = 8 * mebibyte};
        out_of_space("create", large.size, all,
                     [&](std::error_code& ec) { (void)segment_type::create(name, large, ec); });
        out_of_space("create", large.size, all, [&](std::error_code& ec) {
            (void)segment_type::open_or_create(name, large, ec);
        });
        out_of_space("create", large.size, all,
                     [&](std::error_code& ec) { (void)segment_type::replace(name, large, ec); });
        out_of_space("create", large.size, all, [&](std::error_code& ec) {
            (void)shared<int, Mechanism>::create(name, large, ec, 1);
        });
        out_of_space("create", mebibyte + 1, all, [&](std::error_code& ec) {
            (void)memory_object<Mechanism>::create(name, mebibyte + 1, ec);
        });
        try {
            (void)segment_type::create(name, large);
            CHILD_CHECK(false);
        } catch (const failure& thrown) {
            CHILD_CHECK(thrown.code() == errc::out_of_space);
        }
        // An exact fit succeeds; one more byte does not.
        const auto fits = memory_object<Mechanism>::create(name, mebibyte);
        CHILD_CHECK(fits.map().bytes()[mebibyte - 1] == std::byte{0});
        out_of_space("create", 1, 0, [&](std::error_code& ec) {
            (void)memory_object<Mechanism>::create(name + std::string("y"), 1, ec);
        });
        CHILD_CHECK(memory_object<Mechanism>::remove(name));
    });
}

TEST_CASE_TEMPLATE("a root object that does not fit leaves nothing", Mechanism, mechanism::posix,
                   mechanism::tmpfs) {
    support::check_child([] {
        enter_small_world();
        const char* const name = place<Mechanism>::name;
        const std::string before = world();
        std::error_code ec;
        // The failure of the vector's constructor.
        CHILD_CHECK(!shared<shm_vector<int>, Mechanism>::create(name, ec, std::size_t{1000000}, 1));
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(world() == before);
        CHILD_CHECK(free_bytes(place<Mechanism>::mount) == mebibyte);
    });
}

TEST_CASE_TEMPLATE("a segment that cannot grow stays usable, and grows when there is room",
                   Mechanism, mechanism::posix, mechanism::file, mechanism::tmpfs) {
    support::check_child([] {
        enter_small_world();
        const char* const name = place<Mechanism>::name;
        const char* const mount = place<Mechanism>::mount;
        const auto made =
            segment<Mechanism>::create(name, {.size = 65536, .reserve = 64 * mebibyte});
        const auto other = segment<Mechanism>::open(name);
        auto& numbers = made.template construct<shm_vector<std::uint64_t>>("numbers");
        auto allocator = made.template allocator<chunk>();
        std::vector<chunk*> chunks;
        std::error_code ec;
        for (;;) {
            const auto got = allocator.try_allocate(1);
            if (got == nullptr) {
                ec = last_failure().code();
                break;
            }
            for (std::uint64_t& word : got->words) {
                word = chunks.size(); // SIGBUS if the space were not there
            }
            chunks.push_back(got.get());
        }
        CHILD_CHECK(ec == errc::out_of_space);
        const std::string what = last_failure().what();
        CHILD_CHECK(what.find("wanted ") != std::string::npos);
        CHILD_CHECK(what.find("available ") != std::string::npos);
        CHILD_CHECK(chunks.size() * sizeof(chunk) > mebibyte / 2);
        CHILD_CHECK(made.size() <= mebibyte);
        CHILD_CHECK(free_bytes(mount) < 65536); // up to the last pages
        const auto fails = [&](auto&& run) {
            const std::size_t used = made.used();
            const std::size_t size = made.size();
            try {
                run();
                CHILD_CHECK(false);
            } catch (const failure& thrown) {
                CHILD_CHECK(thrown.code() == errc::out_of_space);
                CHILD_CHECK(thrown.code() == std::errc::no_space_on_device);
            }
            CHILD_CHECK(made.used() == used);
            CHILD_CHECK(made.size() == size);
        };
        for (const auto* each : {&made, &other}) {
            fails([&] { (void)each->template allocator<char>().allocate(mebibyte); });
            fails([&] { each->grow(8 * mebibyte); });
            fails([&] { each->template construct<chunk[4096]>("large"); });
            CHILD_CHECK(each->template find<chunk[4096]>("large") == nullptr);
        }
        fails([&] { numbers.resize(mebibyte); });
        CHILD_CHECK(numbers.empty());
        // Freed memory can be used again.
        for (std::size_t i = 0; i < chunks.size(); i += 2) {
            allocator.deallocate(chunks[i], 1);
        }
        for (std::size_t i = 0; i < chunks.size(); i += 2) {
            const auto got = allocator.allocate(1);
            *got = chunk{};
            got->words[63] = i;
            chunks[i] = got.get();
        }
        for (std::size_t i = 0; i < chunks.size(); ++i) {
            CHILD_CHECK(chunks[i]->words[63] == i);
        }
        for (chunk* each : chunks) {
            allocator.deallocate(each, 1);
        }
        numbers.resize(50000, 7); // now that there is room inside
        CHILD_CHECK(other.template find<shm_vector<std::uint64_t>>("numbers")->back() == 7);
        const std::size_t size = made.size();

        resize(mount, "size=16m");
        numbers.resize(mebibyte, 9);
        CHILD_CHECK(made.size() > size);
        CHILD_CHECK(other.size() == made.size());
        CHILD_CHECK(other.template find<shm_vector<std::uint64_t>>("numbers")->back() == 9);
        other.grow(12 * mebibyte);
        CHILD_CHECK(made.size() == 12 * mebibyte);
        CHILD_CHECK(segment<Mechanism>::remove(name));
    });
}

TEST_CASE("an object that cannot grow stays as long as it was") {
    support::check_child([] {
        enter_small_world();
        auto object = memory_object<>::create("x", 65536);
        out_of_space("grow", 4 * mebibyte - 65536, mebibyte - 65536,
                     [&](std::error_code& ec) { object.grow(4 * mebibyte, ec); });
        CHILD_CHECK(object.size() == 65536);
        object.grow(mebibyte);
        CHILD_CHECK(object.map().bytes().size() == mebibyte);
        memory_object<>::remove("x");
    });
}

TEST_CASE("segments in several processes fill the space together, and no process gets SIGBUS") {
    support::check_child([] {
        enter_small_world();
        const auto made = segment<>::create("x", {.size = 65536, .reserve = 64 * mebibyte});
        const auto fill = [] {
            const auto mine = segment<>::open("x");
            auto allocator = mine.allocator<chunk>();
            while (const auto got = allocator.try_allocate(1)) {
                *got = chunk{};
            }
            CHILD_CHECK(last_failure().code() == errc::out_of_space);
        };
        {
            support::child first(fill);
            support::child second(fill);
            for (support::child* each : {&first, &second}) {
                const support::ending how = each->wait();
                support::child_check(how.code == 0 && how.signal == 0, "filling", __FILE__,
                                     __LINE__, how.text);
            }
        }
        CHILD_CHECK(made.used() <= mebibyte);
        CHILD_CHECK(made.used() > mebibyte / 4 * 3);
        CHILD_CHECK(segment<>::open("x", read_only).size() == made.size());
        CHILD_CHECK(segment<>::remove("x"));
    });
}

TEST_CASE("no inode is left") {
    support::check_child([] {
        enter_small_world(",nr_inodes=3"); // one is the directory
        const auto refused = [](const char* name, auto&& run) {
            const std::string before = world();
            std::error_code ec;
            run(ec);
            CHILD_CHECK(ec == errc::out_of_space);
            CHILD_CHECK(ec == std::errc::no_space_on_device);
            const std::string what = last_failure().what();
            CHILD_CHECK(what.find("no room for another file in ") != std::string::npos);
            CHILD_CHECK(what.find(name) != std::string::npos);
            CHILD_CHECK(world() == before);
        };
        constexpr segment_options small{.size = 65536, .reserve = mebibyte};
        const auto first = segment<>::create("first", small);
        const auto second = segment<>::create("second", small);
        refused("third", [&](std::error_code& ec) { (void)segment<>::create("third", small, ec); });
        refused("third",
                [&](std::error_code& ec) { (void)memory_object<>::create("third", 1, ec); });
        refused("second",
                [&](std::error_code& ec) { (void)segment<>::replace("second", small, ec); });
        first.grow(2 * 65536);
        CHILD_CHECK(segment<>::remove("first"));
        CHILD_CHECK(segment<>::remove("second"));
    });
}

TEST_CASE("too little address space for the reserve") {
    if constexpr (COHOLD_TEST_SANITIZED) {
        return; // sanitizers take terabytes of it
    }
    support::check_child([] {
        enter_small_world();
        constexpr segment_options small{.size = 65536, .reserve = mebibyte};
        constexpr segment_options wide{.size = 65536, .reserve = 512 * mebibyte};
        { // made by a process that has the room
            (void)segment<>::create("wide", wide);
            (void)segment<mechanism::system_v>::create("wide", wide);
        }
        const ::rlimit limit{256 * mebibyte, 256 * mebibyte};
        CHILD_CHECK(::setrlimit(RLIMIT_AS, &limit) == 0);
        const std::string before = world();
        const auto refused = [&](auto&& run) {
            std::error_code ec;
            run(ec);
            const std::string what = last_failure().what();
            CHILD_CHECK(ec == errc::reserve_too_large);
            CHILD_CHECK(ec == std::errc::not_enough_memory);
            CHILD_CHECK(what.find("ulimit -v") != std::string::npos);
            CHILD_CHECK(world() == before);
            if (ec != errc::reserve_too_large) {
                std::fprintf(stderr, "%s\n", what.c_str());
            }
        };
        refused([&](std::error_code& ec) { (void)segment<>::create("x", wide, ec); });
        if constexpr (config::default_reserve > 256 * mebibyte) { // not in 32-bit programs
            refused([&](std::error_code& ec) { (void)segment<>::create("x", 65536, ec); });
        }
        refused([&](std::error_code& ec) { (void)segment<>::open("wide", ec); });
        refused([&](std::error_code& ec) { (void)segment<>::open("wide", read_only, ec); });
        refused([&](std::error_code& ec) {
            (void)segment<mechanism::file>::create("/mnt/x", wide, ec);
        });
        refused([&](std::error_code& ec) { (void)segment<mechanism::memfd>::create(wide, ec); });
        refused(
            [&](std::error_code& ec) { (void)segment<mechanism::anonymous>::create(wide, ec); });
        refused([&](std::error_code& ec) {
            (void)segment<mechanism::system_v>::create("x", wide, ec);
        });
        refused([&](std::error_code& ec) { (void)segment<mechanism::system_v>::open("wide", ec); });
        std::error_code ec;
        CHILD_CHECK(!segment<mechanism::system_v>::open("x", ec) && ec == errc::not_found);
        CHILD_CHECK(segment<>::create("small", small));
        CHILD_CHECK(segment<>::remove("small"));
        CHILD_CHECK(segment<>::remove("wide"));
    });
}

TEST_CASE("a process that locks all its mappings learns which limit its reserve exceeds") {
    if constexpr (COHOLD_TEST_SANITIZED) {
        return; // sanitizers make mappings of their own
    }
    support::check_child([] {
        // Root may lock everything.
        CHILD_CHECK(::geteuid() != 0 || (::setgid(65534) == 0 && ::setuid(65534) == 0));
        const ::rlimit limit{mebibyte, mebibyte};
        CHILD_CHECK(::setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
        CHILD_CHECK(::mlockall(MCL_FUTURE) == 0);
        std::error_code ec;
        CHILD_CHECK(
            !segment<mechanism::memfd>::create({.size = 65536, .reserve = 16 * mebibyte}, ec));
        CHILD_CHECK(ec == errc::lock_limit);
        CHILD_CHECK(std::string(last_failure().what()).find("ulimit -l") != std::string::npos);
    });
}

TEST_CASE("the limit of /dev/shm does not apply to mechanisms without a file there") {
    support::check_child([] {
        enter_small_world();
        constexpr segment_options large{.size = 4 * mebibyte, .reserve = 8 * mebibyte};
        const auto check = [](const auto& made) {
            CHILD_CHECK(made.size() == 4 * mebibyte);
            made.template construct<chunk[4096]>("large")[4095].words[63] = 1;
            made.grow(8 * mebibyte);
            CHILD_CHECK(made.size() == 8 * mebibyte);
        };
        check(segment<mechanism::memfd>::create(large));
        check(segment<mechanism::anonymous>::create(large));
        check(segment<mechanism::system_v>::create("x", large));
        CHILD_CHECK(segment<mechanism::system_v>::remove("x"));
    });
}

TEST_CASE_TEMPLATE("a file size limit is an error, not a signal", Mechanism, mechanism::posix,
                   mechanism::file, mechanism::memfd) {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/dev/shm", "size=64m");
        support::mount_or_exit("tmpfs", "/mnt", "size=64m");
        const auto create = [](std::size_t size, std::error_code& ec) {
            const segment_options options{.size = size, .reserve = 16 * mebibyte};
            if constexpr (Mechanism::names == name_form::none) {
                return segment<Mechanism>::create(options, ec);
            } else {
                return segment<Mechanism>::create(place<Mechanism>::name, options, ec);
            }
        };
        const ::rlimit limit{mebibyte, RLIM_INFINITY};
        CHILD_CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
        const std::string before = world();
        const auto refused = [](std::error_code ec) {
            const std::string what = last_failure().what();
            CHILD_CHECK(ec == errc::out_of_space);
            CHILD_CHECK(what.find("RLIMIT_FSIZE (ulimit -f)") != std::string::npos);
            CHILD_CHECK(what.find(std::to_string(mebibyte)) != std::string::npos);
        };
        std::error_code ec;
        CHILD_CHECK(!create(2 * mebibyte, ec));
        refused(ec);
        CHILD_CHECK(world() == before);
        const auto made = create(mebibyte / 2, ec);
        CHILD_CHECK(!ec);
        made.grow(2 * mebibyte, ec);
        refused(ec);
        CHILD_CHECK(made.size() == mebibyte / 2);
        made.grow(mebibyte);
        // A thread that blocks the signal still has its own pending, and no other.
        sigset_t exceeded;
        sigemptyset(&exceeded);
        sigaddset(&exceeded, SIGXFSZ);
        CHILD_CHECK(::pthread_sigmask(SIG_BLOCK, &exceeded, nullptr) == 0);
        const auto pending = [] {
            sigset_t waiting;
            return ::sigpending(&waiting) == 0 && sigismember(&waiting, SIGXFSZ) == 1;
        };
        made.grow(2 * mebibyte, ec);
        refused(ec);
        CHILD_CHECK(!pending());
        ::raise(SIGXFSZ);
        made.grow(2 * mebibyte, ec);
        refused(ec);
        CHILD_CHECK(pending());
    });
}

namespace {

// Like a sparse copy: pages of zeros have no space.
void make_holes(const char* path) {
    const detail::unique_fd from = detail::open_file(path, O_RDONLY);
    struct ::stat status{};
    CHILD_CHECK(::fstat(from.get(), &status) == 0 && ::unlink(path) == 0);
    const detail::unique_fd to = detail::open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHILD_CHECK(::ftruncate(to.get(), status.st_size) == 0);
    static const char zeros[4096] = {};
    char page[4096];
    for (off_t at = 0; at < status.st_size; at += 4096) {
        CHILD_CHECK(::pread(from.get(), page, sizeof page, at) == 4096);
        if (std::memcmp(page, zeros, sizeof page) != 0) {
            CHILD_CHECK(::pwrite(to.get(), page, sizeof page, at) == 4096);
        }
    }
    CHILD_CHECK(::fstat(to.get(), &status) == 0 && status.st_blocks * 512 < status.st_size);
}

void fill_up(const char* path) {
    const detail::unique_fd to = detail::open_file(path, O_RDWR | O_CREAT, 0600);
    static const char bytes[4096] = {1};
    while (::write(to.get(), bytes, sizeof bytes) > 0) {
    }
}

// In a child: makes holes in the file at `path`, whose file system is at /mnt or /dev/shm.
template <class Mechanism>
void fill_holes_or_refuse(const char* name, const char* path, const char* rest) {
    using segment_type = segment<Mechanism>;
    using numbers = shm_vector<int>;
    (void)segment_type::create(name, {.size = mebibyte / 2, .reserve = 4 * mebibyte})
        .template construct<numbers>("numbers", 100u, 7);
    make_holes(path);
    fill_up(rest);
    const auto refused = [](std::error_code ec) {
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(std::string(last_failure().what()).find("holes") != std::string::npos);
    };
    std::error_code ec;
    CHILD_CHECK(!segment_type::open(name, ec));
    refused(ec);
    const auto view = segment_type::open(name, read_only, ec); // on a disk, reading takes no space
    if (ec) {
        refused(ec);
    } else {
        CHILD_CHECK(view.template find<numbers>("numbers")->back() == 7);
    }
    ::unlink(rest);
    CHILD_CHECK(segment_type::open(name, read_only).template find<numbers>("numbers")->back() == 7);
    make_holes(path);
    const auto opened = segment_type::open(name);
    fill_up(rest);
    auto& again = *opened.template find<numbers>("numbers");
    CHILD_CHECK(again.size() == 100 && again.back() == 7);
    while (again.try_push_back(8)) { // SIGBUS if there were a hole
    }
    CHILD_CHECK(again.size() > 1000);
    ::unlink(rest);
    CHILD_CHECK(segment_type::remove(name));
}

// In a child that is root: an ext4 of that many MiB at /mnt. Not every system allows that.
bool mount_ext4(int size) {
    char image[] = "/tmp/ext4.XXXXXX";
    const detail::unique_fd file(::mkstemp(image));
    const std::string command = "PATH=$PATH:/sbin:/usr/sbin; { mkfs.ext4 -q -F " +
                                std::string(image) + " && mount -o loop " + image +
                                " /mnt; } >/dev/null 2>&1";
    const bool done = ::ftruncate(file.get(), size * static_cast<off_t>(mebibyte)) == 0 &&
                      std::system(command.c_str()) == 0;
    ::unlink(image);
    return done;
}

} // namespace

TEST_CASE("holes of a file are filled when it is opened, or that is an error") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/dev/shm", "size=4m");
        fill_holes_or_refuse<mechanism::posix>("x", "/dev/shm/x", "/dev/shm/rest");
    });
}

TEST_CASE("a full disk") {
    if (::geteuid() != 0) {
        MESSAGE("only root can mount an ext4");
        return;
    }
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        if (!mount_ext4(8)) {
            std::fprintf(stderr, "skipped: no mkfs.ext4, or no loop device\n");
            return;
        }
        // Failed growth gives back what it took.
        const auto kept = [](std::size_t wanted, const auto& object) {
            const std::uint64_t before = free_bytes("/mnt");
            const auto size = object.size();
            std::error_code ec;
            object.grow(wanted, ec);
            CHILD_CHECK(ec == errc::out_of_space);
            CHILD_CHECK(object.size() == size);
            CHILD_CHECK(free_bytes("/mnt") + 65536 > before); // the disk's own blocks vary
        };
        kept(16 * mebibyte, segment<mechanism::file>::create(
                                "/mnt/s", {.size = mebibyte, .reserve = 64 * mebibyte}));
        kept(16 * mebibyte, memory_object<mechanism::file>::create("/mnt/o", mebibyte));
        const ::rlimit limit{2 * mebibyte, RLIM_INFINITY};
        CHILD_CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
        kept(3 * mebibyte, segment<mechanism::file>::open("/mnt/s"));
        const ::rlimit none{RLIM_INFINITY, RLIM_INFINITY};
        CHILD_CHECK(::setrlimit(RLIMIT_FSIZE, &none) == 0);
        segment<mechanism::file>::open("/mnt/s").grow(2 * mebibyte);
        fill_holes_or_refuse<mechanism::file>("/mnt/x", "/mnt/x", "/mnt/rest");
        CHILD_CHECK(::umount("/mnt") == 0);
    });
}

TEST_CASE("an overlayfs is refused by name, because its mappings keep no locks") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/mnt", "size=16m");
        for (const char* each : {"/mnt/lower", "/mnt/upper", "/mnt/work", "/mnt/merged"}) {
            CHILD_CHECK(::mkdir(each, 0700) == 0);
        }
        if (::mount("cohold-test", "/mnt/merged", "overlay", 0,
                    "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work,userxattr") != 0) {
            std::fprintf(stderr, "skipped: this kernel mounts no overlayfs here\n");
            return;
        }
        std::error_code ec;
        CHILD_CHECK(!segment<mechanism::file>::create("/mnt/merged/x", mebibyte, ec));
        const std::string what = last_failure().what();
        if (ec != errc::locks_unsupported || what.find("overlayfs") == std::string::npos) {
            std::fprintf(stderr, "%s\n", what.c_str());
            CHILD_CHECK(false);
        }
        // Raw bytes need no locks.
        const auto object = memory_object<mechanism::file>::create("/mnt/merged/x", mebibyte);
        object.grow(2 * mebibyte);
        CHILD_CHECK(object.map().size() == 2 * mebibyte);
        CHILD_CHECK(memory_object<mechanism::file>::remove("/mnt/merged/x"));
    });
}

namespace {

// Takes all the space that a file system has left.
void take_the_rest(const char* path) {
    const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t bytes = mebibyte, at = 0; bytes >= 4096; bytes /= 2) {
        while (::fallocate(fd, 0, at, bytes) == 0) {
            at += bytes;
        }
    }
    ::close(fd);
}

} // namespace

TEST_CASE("memory that was given back is an error, and no SIGBUS, where it cannot be had again") {
    support::check_child([] {
        enter_small_world();
        const auto full = segment<>::create("x", {.size = 65536, .reserve = 16 * mebibyte});
        auto memory = full.allocator<char>();
        offset_ptr<char> kept[20];
        offset_ptr<char> freed[20];
        for (int i = 0; i < 20; ++i) {
            kept[i] = memory.allocate(3000);
            std::memset(kept[i].get(), i, 3000);
            freed[i] = memory.allocate(i % 2 == 0 ? 9000 : 30000);
        }
        for (const auto& each : freed) {
            memory.deallocate(each, 1);
        }
        const std::uint64_t before = free_bytes("/dev/shm");
        const std::size_t given = full.trim();
        CHILD_CHECK(given > 300000);
        CHILD_CHECK(free_bytes("/dev/shm") == before + given);
        CHILD_CHECK(full.committed() + given == full.size());
        take_the_rest("/dev/shm/rest");
        CHILD_CHECK(free_bytes("/dev/shm") == 0);

        // What is there can be used: between the holes, and by blocks that are not in one.
        const auto other = segment<>::open("x");
        CHILD_CHECK(other.committed() + given == other.size());
        std::error_code ec;
        unsigned random = 1;
        std::vector<offset_ptr<char>> blocks;
        for (int i = 0; i < 20000; ++i) {
            random = random * 1103515245 + 12345;
            const std::size_t size = random >> 8 & (i % 7 == 0 ? 0x7fffu : 0x3ffu);
            if (random >> 30 == 0 && !blocks.empty()) {
                memory.deallocate(blocks.back(), 1);
                blocks.pop_back();
            } else if (const auto got = memory.allocate(size, ec); got != nullptr) {
                std::memset(got.get(), 99, size);
                blocks.push_back(got);
            } else {
                CHILD_CHECK(ec == errc::out_of_space);
                CHILD_CHECK(std::string_view(last_failure().what()).find("available 0") !=
                            std::string_view::npos);
            }
            if (i % 1000 == 999) {
                full.trim(); // may make room for the others
                take_the_rest("/dev/shm/rest2");
                ::unlink("/dev/shm/rest3");
                ::rename("/dev/shm/rest2", "/dev/shm/rest3");
            }
        }
        CHILD_CHECK(blocks.size() > 20);
        for (int i = 0; i < 20; ++i) {
            CHILD_CHECK(kept[i][0] == i && kept[i][2999] == i);
        }
        // With space again, everything can be had.
        for (const auto& each : blocks) {
            memory.deallocate(each, 1);
        }
        ::unlink("/dev/shm/rest");
        ::unlink("/dev/shm/rest3");
        for (const auto& each : kept) {
            memory.deallocate(each, 1);
        }
        const auto all = memory.allocate(full.size() / 2);
        std::memset(all.get(), 1, full.size() / 2);
        full.remove("x");
    });
}

TEST_CASE("a thread whose slabs were taken back and trimmed gets an error, and no SIGBUS") {
    support::check_child([] {
        enter_small_world();
        resize("/dev/shm", "size=16m");
        const auto full = segment<>::create("x", {.size = 8 * mebibyte, .reserve = 16 * mebibyte});
        auto memory = full.allocator<char>();
        std::vector<offset_ptr<char>> blocks;
        for (int i = 0; i < 40000; ++i) {
            blocks.push_back(memory.allocate(64));
        }
        std::thread([&] {
            for (const auto& each : blocks) {
                memory.deallocate(each, 64);
            }
            CHILD_CHECK(full.trim() > 7 * mebibyte);
            take_the_rest("/dev/shm/rest");
        }).join();
        CHILD_CHECK(free_bytes("/dev/shm") == 0);
        std::error_code ec;
        std::size_t count = 0;
        while (memory.allocate(64, ec) != nullptr) {
            ++count;
        }
        CHILD_CHECK(ec == errc::out_of_space);
        ::unlink("/dev/shm/rest");
        while (memory.allocate(64, ec) != nullptr) {
            ++count;
        }
        CHILD_CHECK(count > blocks.size());
        full.remove("x");
    });
}

TEST_CASE("slabs are taken back where trimmed memory cannot be had again") {
    support::check_child([] {
        enter_small_world();
        const auto full = segment<>::create("x", {.size = mebibyte / 2, .reserve = mebibyte});
        auto memory = full.allocator<char>();
        std::vector<offset_ptr<char>> blocks;
        for (int i = 0; i < 3000; ++i) {
            blocks.push_back(memory.allocate(64));
        }
        CHILD_CHECK(full.trim() > mebibyte / 8);
        take_the_rest("/dev/shm/rest");
        std::error_code ec;
        CHILD_CHECK(memory.allocate(20000, ec) == nullptr);
        CHILD_CHECK(ec == errc::out_of_space);
        std::thread([&] { // the slabs' owner does not notice
            for (const auto& each : blocks) {
                memory.deallocate(each, 64);
            }
        })
            .join();
        const auto made = memory.allocate(20000, ec);
        CHILD_CHECK(!ec);
        std::memset(made.get(), 1, 20000);
        full.remove("x");
    });
}

TEST_CASE("a copy of a trimmed segment, which may lack other pages, is filled when it is opened") {
    support::check_child([] {
        enter_small_world();
        {
            const auto made = segment<>::create("x", {.size = 524288, .reserve = mebibyte});
            made.trim();
            CHILD_CHECK(made.committed() < 65536);
        }
        CHILD_CHECK(std::system("cp --sparse=always /dev/shm/x /dev/shm/y") == 0);
        CHILD_CHECK(segment<>::open("x").committed() < 65536);
        CHILD_CHECK(segment<>::open("y").committed() == 524288);
        segment<>::remove("x");
        segment<>::remove("y");
    });
}
