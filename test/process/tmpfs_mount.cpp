// tmpfs_mount in mount namespaces of its own, as root and as an unprivileged user in a user
// namespace: filled, resized, unmounted while in use, nested, left behind by killed processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/process.hpp"

using namespace cohold;

namespace {

constexpr std::uint64_t mebibyte = 1 << 20;
using tmpfs_segment = segment<mechanism::tmpfs>;

constexpr uid_t ann = 1001;

// In a child of root: another user, with access to its own /proc/self.
void become(uid_t user, gid_t group) {
    if (::setgroups(1, &group) != 0 || ::setgid(user) != 0 || ::setuid(user) != 0 ||
        ::prctl(PR_SET_DUMPABLE, 1) != 0) {
        std::perror("becoming another user");
        ::_exit(95);
    }
}

// In a child: a mount namespace in which /mnt is empty, and in which this process may mount.
void enter_empty_world() {
    support::enter_namespaces(CLONE_NEWNS);
    support::mount_or_exit("tmpfs", "/mnt", "size=1m,mode=1777");
}

// The two worlds: the user that runs the test (perhaps root), and a user without privilege outside
// of its namespace. If the runner is not root, both are that user.
struct as_runner {
    static void enter() { enter_empty_world(); }
};

struct as_user {
    static void enter() {
        if (::geteuid() == 0) {
            become(ann, ann);
        }
        enter_empty_world();
    }
};

bool says(std::string_view text, std::string_view part) {
    if (text.find(part) == std::string_view::npos) {
        std::fprintf(stderr, "'%s' is not in '%s'\n", std::string(part).c_str(),
                     std::string(text).c_str());
        return false;
    }
    return true;
}

bool report_says(std::string_view part) {
    return says(last_failure().what(), part);
}

std::string make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) != 0) {
        std::perror(path.c_str());
        ::_exit(96);
    }
    return path;
}

bool exists(const std::string& path) {
    struct ::stat status{};
    return ::lstat(path.c_str(), &status) == 0;
}

// Allocates until there is no more memory, and returns how much it has allocated.
std::uint64_t fill(const tmpfs_segment& to) {
    struct alignas(8) chunk {
        std::uint64_t words[512];
    };

    auto allocator = to.allocator<chunk>();
    std::uint64_t bytes = 0;
    while (const auto got = allocator.try_allocate(1)) {
        for (std::uint64_t& word : got->words) {
            word = bytes; // SIGBUS if the space were not there
        }
        bytes += sizeof(chunk);
    }
    return bytes;
}

// A process that uses the mount until it is told to end.
class user_of_it {
  public:
    template <class Begin>
    explicit user_of_it(const Begin& begin)
        : child_([this, &begin] {
              begin();
              *ready_ = 1;
              support::await(*over_, 1);
          }) {
        support::await(*ready_, 1);
    }

    [[nodiscard]] pid_t id() const { return child_.id(); }

    void end() {
        *over_ = 1;
        CHILD_CHECK(support::status_of(child_) == 0);
    }

  private:
    support::common<std::atomic<int>> ready_;
    support::common<std::atomic<int>> over_;
    support::child child_;
};

} // namespace

TEST_CASE_TEMPLATE("mounted, looked at, unmounted", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/a b\\c");
        CHILD_CHECK(::mkdir("/mnt/a b\\c/hidden", 0755) == 0);
        const tmpfs_statistics outer = tmpfs_usage(place);
        CHILD_CHECK(outer.mount_point == "/mnt");
        CHILD_CHECK(outer.size == mebibyte);

        auto mount = tmpfs_mount::create(
            place,
            {.size = 3 * mebibyte + 1, .inodes = 100, .mode = 01750, .huge = tmpfs_huge::advise});
        CHILD_CHECK(mount && mount.is_mounted());
        CHILD_CHECK(mount.path() == place);
        CHILD_CHECK(is_tmpfs(place));
        CHILD_CHECK(!exists(place + "/hidden"));
        const tmpfs_statistics found = mount.statistics();
        CHILD_CHECK(found.size == 3 * mebibyte + detail::page_size()); // whole pages
        CHILD_CHECK(found.used == 0);
        CHILD_CHECK(found.free == found.size);
        CHILD_CHECK(found.inodes == 100);
        CHILD_CHECK(found.free_inodes == 99);
        CHILD_CHECK(found.mount_point == place);
        CHILD_CHECK(says(found.options, "rw,nosuid,nodev,noexec"));
        CHILD_CHECK(says(found.options, "nr_inodes=100"));
        CHILD_CHECK(found.huge == tmpfs_huge::advise);
        CHILD_CHECK(!found.noswap);
        struct ::stat root{};
        CHILD_CHECK(::stat(place.c_str(), &root) == 0);
        CHILD_CHECK((root.st_mode & 07777) == 01750);
        CHILD_CHECK(root.st_uid == ::geteuid());

        auto object =
            memory_object<mechanism::tmpfs>::create(place + "/object", 5 * detail::page_size());
        const tmpfs_statistics later = tmpfs_usage(place + "/object");
        CHILD_CHECK(later.used == 5 * detail::page_size());
        CHILD_CHECK(later.free == later.size - later.used);
        CHILD_CHECK(later.free_inodes == 98);
        CHILD_CHECK(later.mount_point == place);
        CHILD_CHECK(memory_object<mechanism::tmpfs>::remove(place + "/object"));
        {
            const auto last = std::move(object); // otherwise it would be in use
        }
        mount.unmount();
        CHILD_CHECK(!mount && !mount.is_mounted() && mount.path().empty());
        CHILD_CHECK(exists(place + "/hidden"));
        CHILD_CHECK(tmpfs_usage(place).mount_point == "/mnt");
    });
}

TEST_CASE_TEMPLATE("every option arrives", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        {
            const auto mount = tmpfs_mount::create(place);
            struct ::stat root{};
            CHILD_CHECK(::stat(place.c_str(), &root) == 0);
            CHILD_CHECK((root.st_mode & 07777) == 0700);
            CHILD_CHECK(mount.statistics().size > 16 * mebibyte); // half of the memory
        }
        for (const tmpfs_huge each :
             {tmpfs_huge::never, tmpfs_huge::advise, tmpfs_huge::within_size, tmpfs_huge::always}) {
            const auto mount = tmpfs_mount::create(place, {.size = mebibyte, .huge = each});
            CHILD_CHECK(mount.statistics().huge == each);
        }
        {
            const auto mount = tmpfs_mount::create(
                place, {.size = tmpfs_options::unlimited, .inodes = tmpfs_options::unlimited});
            const tmpfs_statistics found = mount.statistics();
            CHILD_CHECK(found.size == 0 && found.used == 0 && found.free == 0);
            CHILD_CHECK(found.inodes == 0);
            std::error_code ec;
            mount.resize(mebibyte, ec);
            CHILD_CHECK(ec == errc::invalid_size);
            CHILD_CHECK(report_says("mounted without a limit"));
            mount.resize_inodes(100, ec);
            CHILD_CHECK(ec == errc::invalid_size);
            mount.resize(tmpfs_options::unlimited); // no change
        }
        const gid_t group = ::getegid();
        const auto mount = tmpfs_mount::create(place, {.uid = ::geteuid(), .gid = group});
        CHILD_CHECK(mount.is_mounted());
        CHILD_CHECK(::chdir("/") == 0);
    });
}

TEST_CASE_TEMPLATE("a full tmpfs grows by a remount, and the same segment continues", World,
                   as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const auto mount = tmpfs_mount::create(
            make_directory("/mnt/x"),
            {.size = mebibyte, .inodes = 50, .mode = 0755, .huge = tmpfs_huge::within_size});
        const std::string options_before = mount.statistics().options;
        const std::string name = mount.path() + "/segment";
        const auto made = tmpfs_segment::create(name, {.size = 65536, .reserve = 64 * mebibyte});
        const auto other = tmpfs_segment::open(name);
        auto& numbers = made.construct<shm_vector<std::uint64_t>>("numbers");
        CHILD_CHECK(fill(made) > mebibyte / 2);
        CHILD_CHECK(last_failure().code() == errc::out_of_space);
        CHILD_CHECK(report_says("wanted "));
        CHILD_CHECK(report_says(" bytes more, available "));
        const tmpfs_statistics full = mount.statistics();
        CHILD_CHECK(full.size == mebibyte);
        CHILD_CHECK(full.free < 65536);
        CHILD_CHECK(full.used == full.size - full.free);

        // Not below the used size, and not to 0; and without effect.
        std::error_code ec;
        mount.resize(mebibyte / 2, ec);
        CHILD_CHECK(ec == errc::invalid_size);
        CHILD_CHECK(report_says("wanted a limit of 524288 bytes, " + std::to_string(full.used) +
                                " are used"));
        mount.resize(0, ec);
        CHILD_CHECK(ec == errc::invalid_size);
        mount.resize(tmpfs_options::unlimited - 1, ec);
        CHILD_CHECK(ec == errc::invalid_size);
        mount.resize_inodes(1, ec);
        CHILD_CHECK(ec == errc::invalid_size);
        CHILD_CHECK(report_says("wanted a limit of 1 inodes, 2 are used"));
        CHILD_CHECK(mount.statistics().options == options_before);

        mount.resize(16 * mebibyte);
        CHILD_CHECK(mount.statistics().size == 16 * mebibyte);
        std::string options_after = options_before;
        options_after.replace(options_after.find("size=1024k"), 10, "size=16384k");
        CHILD_CHECK(mount.statistics().options == options_after); // all others are as before
        numbers.resize(mebibyte, 7);
        CHILD_CHECK(other.find<shm_vector<std::uint64_t>>("numbers")->back() == 7);
        CHILD_CHECK(other.size() > 8 * mebibyte);

        mount.resize(12 * mebibyte); // smaller, as long as everything fits
        CHILD_CHECK(mount.statistics().size == 12 * mebibyte);
        CHILD_CHECK(numbers.back() == 7);
        CHILD_CHECK(tmpfs_segment::remove(name));
    });
}

TEST_CASE_TEMPLATE("too few inodes", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const auto mount =
            tmpfs_mount::create(make_directory("/mnt/x"), {.size = mebibyte, .inodes = 2});
        const std::string name = mount.path() + "/y";
        const auto first = memory_object<mechanism::tmpfs>::create(name, 1);
        std::error_code ec;
        (void)memory_object<mechanism::tmpfs>::create(name + "2", 1, ec);
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(report_says("no room for another file in /mnt/x/"));
        mount.resize_inodes(3);
        CHILD_CHECK(memory_object<mechanism::tmpfs>::create(name + "2", 1));
        CHILD_CHECK(mount.statistics().inodes == 3);
        CHILD_CHECK(mount.statistics().free_inodes == 0);
    });
}

TEST_CASE("resizing while others fill it: no process gets SIGBUS") {
    support::check_child([] {
        enter_empty_world();
        const auto mount =
            tmpfs_mount::create(make_directory("/mnt/x"), {.size = mebibyte, .mode = 0700});
        const std::string name = mount.path() + "/segment";
        const auto made = tmpfs_segment::create(name, {.size = 65536, .reserve = 64 * mebibyte});
        const auto filler = [&name] {
            const auto mine = tmpfs_segment::open(name);
            std::uint64_t bytes = 0;
            while (bytes < 4 * mebibyte) {
                bytes += fill(mine);
            }
        };
        {
            support::child first(filler);
            support::child second(filler);
            for (std::uint64_t size = mebibyte; size < 24 * mebibyte; size += 65536) {
                std::error_code ec;
                mount.resize(size, ec);
                mount.resize(size - 16384, ec); // refused if the two were faster
                CHILD_CHECK(!ec || ec == errc::invalid_size);
            }
            CHILD_CHECK(support::status_of(first) == 0);
            CHILD_CHECK(support::status_of(second) == 0);
        }
        CHILD_CHECK(made.used() >= 8 * mebibyte);
    });
}

TEST_CASE_TEMPLATE("unmounting reports the users of a busy tmpfs", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        auto mount = tmpfs_mount::create(place, {.size = mebibyte});
        std::error_code ec;
        const auto is_busy = [&](std::string_view why) {
            mount.unmount(ec);
            CHILD_CHECK(ec == errc::busy);
            CHILD_CHECK(ec == std::errc::device_or_resource_busy);
            CHILD_CHECK(report_says("unmount tmpfs '/mnt/x': umount2: still in use: "));
            CHILD_CHECK(report_says(why));
            CHILD_CHECK(mount && mount.is_mounted()); // nothing has changed
        };
        {
            const auto mine = tmpfs_segment::create(place + "/x", 65536);
            is_busy("this process has a file open");
        }
        {
            const auto region = memory_object<mechanism::tmpfs>::create(place + "/y", 4096).map();
            is_busy("this process has a file mapped");
        }
        user_of_it opener([&] { static const auto theirs = tmpfs_segment::open(place + "/x"); });
        const std::string process = "process " + std::to_string(opener.id()) + " (tmpfs_mount) ";
        is_busy(process + "has a file open");
        opener.end();

        user_of_it visitor([&] { CHILD_CHECK(::chdir(place.c_str()) == 0); });
        is_busy("(tmpfs_mount) has its working directory there");
        visitor.end();
        {
            const auto inner = tmpfs_mount::create(make_directory(place + "/in ner"));
            is_busy("'/mnt/x/in ner' is mounted on it");
        }
        try {
            const auto mine = tmpfs_segment::open(place + "/x");
            mount.unmount();
            CHILD_CHECK(false);
        } catch (const failure& thrown) {
            CHILD_CHECK(thrown.code() == errc::busy);
        }
        mount.unmount(ec);
        CHILD_CHECK(!ec && !mount);
        CHILD_CHECK(!exists(place + "/x"));
    });
}

TEST_CASE_TEMPLATE("after a lazy unmount users keep what they have", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        auto mount = tmpfs_mount::create(place, {.size = 4 * mebibyte});
        const auto mine =
            tmpfs_segment::create(place + "/x", {.size = 65536, .reserve = 16 * mebibyte});
        auto& numbers = mine.construct<shm_vector<int>>("numbers");
        support::common<std::atomic<int>> detached;
        support::child user([&] {
            const auto theirs = tmpfs_segment::open(place + "/x");
            theirs.find<shm_vector<int>>("numbers")->push_back(1);
            *detached = 1;
            support::await(*detached, 2);
            theirs.find<shm_vector<int>>("numbers")->resize(100000, 2); // still grows it
        });
        support::await(*detached, 1);
        mount.unmount(lazy);
        CHILD_CHECK(!mount);
        CHILD_CHECK(!exists(place + "/x"));
        CHILD_CHECK(tmpfs_usage(place).mount_point == "/mnt");
        *detached = 2;
        CHILD_CHECK(support::status_of(user) == 0);
        CHILD_CHECK(numbers.size() == 100000 && numbers[0] == 1 && numbers.back() == 2);
        // Another one can be mounted in its place.
        auto next = tmpfs_mount::create(place, {.size = mebibyte});
        CHILD_CHECK(!exists(place + "/x"));
        next.unmount();
    });
}

TEST_CASE_TEMPLATE("the destructor leaves nothing mounted", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        std::optional<tmpfs_segment> kept;
        std::error_code ec;
        (void)tmpfs_segment::open("/mnt/none", ec);
        const std::string report = last_failure().what();
        {
            const auto mount = tmpfs_mount::create(place, {.size = mebibyte});
            kept = tmpfs_segment::create(place + "/x", 65536); // so it is busy
            CHILD_CHECK(exists(place + "/x"));
            // A forked child's copy does nothing to it.
            support::child_check_child([&] { const_cast<tmpfs_mount&>(mount).~tmpfs_mount(); },
                                       __FILE__, __LINE__);
            CHILD_CHECK(exists(place + "/x"));
        }
        CHILD_CHECK(!exists(place + "/x"));
        CHILD_CHECK(tmpfs_usage(place).mount_point == "/mnt");
        CHILD_CHECK(last_failure().what() == report); // and reports nothing
        *kept->construct<shm_vector<int>>("x", std::size_t{1000}, 7).data() = 8;
        {
            auto first = tmpfs_mount::create(place, {.size = mebibyte});
            auto second = tmpfs_mount::create(make_directory("/mnt/y"));
            first = std::move(second); // its former mount is unmounted
            CHILD_CHECK(first.path() == "/mnt/y");
            CHILD_CHECK(tmpfs_usage(place).mount_point == "/mnt");
        }
        CHILD_CHECK(tmpfs_usage("/mnt/y").mount_point == "/mnt");
    });
}

TEST_CASE_TEMPLATE("one mount over another", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        auto lower = tmpfs_mount::create(place, {.size = mebibyte});
        (void)make_directory(place + "/lower");
        auto upper = tmpfs_mount::create(place, {.size = 2 * mebibyte});
        CHILD_CHECK(!exists(place + "/lower"));
        CHILD_CHECK(upper.statistics().size == 2 * mebibyte);
        CHILD_CHECK(!lower.is_mounted());
        std::error_code ec;
        const auto covered = [&] { return ec == errc::busy && report_says("mounted over it"); };
        lower.unmount(ec);
        CHILD_CHECK(covered());
        lower.unmount(lazy, ec); // would remove the upper one
        CHILD_CHECK(covered());
        lower.resize(4 * mebibyte, ec);
        CHILD_CHECK(covered());
        CHILD_CHECK(lower.statistics(ec).size == 0);
        CHILD_CHECK(covered());
        CHILD_CHECK(upper.statistics().size == 2 * mebibyte);
        upper.unmount();
        CHILD_CHECK(exists(place + "/lower"));
        CHILD_CHECK(lower.statistics().size == mebibyte);

        // Nested: the outer one is unmounted lazily, and takes the inner one along.
        const auto inner = tmpfs_mount::create(place + "/lower", {.size = mebibyte});
        lower.unmount(lazy);
        CHILD_CHECK(!inner.is_mounted());
        CHILD_CHECK(!exists(place + "/lower"));
    });
}

TEST_CASE_TEMPLATE("a tmpfs unmounted by others is not mistaken for another", World, as_runner,
                   as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        auto mount = tmpfs_mount::create(place, {.size = mebibyte});
        CHILD_CHECK(::umount2(place.c_str(), 0) == 0);
        std::error_code ec;
        const auto gone = [&] {
            return ec == errc::removed && report_says("no longer mounted there");
        };
        mount.unmount(ec);
        CHILD_CHECK(gone());
        mount.resize(2 * mebibyte, ec);
        CHILD_CHECK(gone());
        // The kernel gives the next one the same number.
        support::mount_or_exit("tmpfs", place.c_str(), "size=1m");
        CHILD_CHECK(!mount.is_mounted());
        mount.unmount(lazy, ec);
        CHILD_CHECK(gone());
        {
            const tmpfs_mount ended = std::move(mount);
        }
        CHILD_CHECK(tmpfs_usage(place).mount_point == place); // it is still there
        CHILD_CHECK(::umount2(place.c_str(), 0) == 0);
    });
}

TEST_CASE("in another mount namespace it is a different mount") {
    support::check_child([] {
        enter_empty_world();
        const auto mount = tmpfs_mount::create(make_directory("/mnt/x"), {.size = mebibyte});
        support::child_check_child(
            [&] {
                support::enter_namespaces(CLONE_NEWNS);
                std::error_code ec;
                mount.resize(2 * mebibyte, ec);
                CHILD_CHECK(ec == errc::removed);
                CHILD_CHECK(report_says("another mount namespace"));
                auto copy = tmpfs_mount::adopt(mount.path()); // this is possible
                copy.unmount();
            },
            __FILE__, __LINE__);
        CHILD_CHECK(mount.statistics().size == mebibyte);
    });
}

TEST_CASE_TEMPLATE("the mount of a killed process is adopted", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        const std::string place = make_directory("/mnt/x");
        const support::ending how = support::run_child([&] {
            const auto mount = tmpfs_mount::create(place, {.size = mebibyte});
            (void)make_directory(place + "/left");
            ::raise(SIGKILL);
        });
        CHILD_CHECK(how.signal == SIGKILL);
        CHILD_CHECK(exists(place + "/left"));
        std::error_code ec;
        CHILD_CHECK(!tmpfs_mount::adopt(place + "/left", ec));
        CHILD_CHECK(ec == errc::invalid_name);
        CHILD_CHECK(report_says("mounted at '/mnt/x'"));
        auto mount = tmpfs_mount::adopt(place + "/");
        mount.resize(2 * mebibyte);
        CHILD_CHECK(mount.statistics().size == 2 * mebibyte);
        mount.release();
        CHILD_CHECK(!mount);
        CHILD_CHECK(exists(place + "/left"));
        tmpfs_mount::adopt(place).unmount();
        CHILD_CHECK(!exists(place + "/left"));
    });
}

TEST_CASE_TEMPLATE("paths are resolved at the moment of the call", World, as_runner, as_user) {
    support::check_child([] {
        World::enter();
        (void)make_directory("/mnt/x");
        (void)make_directory("/mnt/x/y");
        CHILD_CHECK(::symlink("/mnt/x", "/mnt/link") == 0);
        CHILD_CHECK(::chdir("/mnt/x") == 0);
        auto mount = tmpfs_mount::create("./y//", {.size = mebibyte});
        CHILD_CHECK(mount.path() == "/mnt/x/y");
        CHILD_CHECK(::chdir("/") == 0);
        CHILD_CHECK(mount.is_mounted());
        mount.unmount();
        mount =
            tmpfs_mount::create("/mnt/link/y", {.size = mebibyte}); // but not in the last component
        CHILD_CHECK(mount.path() == "/mnt/x/y");
        mount.unmount();
        std::error_code ec;
        for (const char* link : {"/mnt/link", "/mnt/link/"}) {
            CHILD_CHECK(!tmpfs_mount::create(link, {}, ec));
            CHILD_CHECK(ec == errc::symlink_refused);
        }
        const int fd = ::open("/mnt/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        ::close(fd);
        CHILD_CHECK(!tmpfs_mount::create("/mnt/file", {}, ec));
        CHILD_CHECK(ec == errc::not_a_directory);
        CHILD_CHECK(ec == std::errc::not_a_directory);
        CHILD_CHECK(report_says("mount tmpfs '/mnt/file'"));
    });
}

TEST_CASE("with few descriptors left it is mounted or not, and unmounted all the same") {
    support::check_child([] {
        enter_empty_world();
        const std::string place = make_directory("/mnt/x");
        const detail::unique_fd next(::open("/", O_PATH | O_CLOEXEC));
        // UBSan itself needs descriptors as soon as something fails.
        for (int left = COHOLD_TEST_SANITIZED ? 1 : 0; left < 3; ++left) {
            const ::rlimit few{static_cast<rlim_t>(next.get() + 1 + left), 4096};
            CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &few) == 0);
            std::error_code ec;
            const ::rlimit many{1024, 4096};
            {
                const auto mount = tmpfs_mount::create(place, {.size = mebibyte}, ec);
                CHILD_CHECK(static_cast<bool>(mount) == (left > 0));
                CHILD_CHECK(left > 0 || ec == std::errc::too_many_files_open);
                CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &many) == 0);
                CHILD_CHECK(tmpfs_usage(place).mount_point == (mount ? place : "/mnt"));
                const ::rlimit none{static_cast<rlim_t>(next.get() + 1), 4096};
                CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &none) == 0);
                CHILD_CHECK(mount.is_mounted() == (left > 0));
                if (!COHOLD_TEST_SANITIZED) {
                    (void)mount.statistics(ec);
                    CHILD_CHECK(ec == (left > 0 ? std::errc::too_many_files_open
                                                : std::errc::bad_file_descriptor));
                }
            }
            CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &many) == 0);
            CHILD_CHECK(tmpfs_usage(place).mount_point == "/mnt");
        }
    });
}

TEST_CASE("pages that stay in memory are reserved for root") {
    support::check_child([] {
        const bool privileged = ::geteuid() == 0;
        enter_empty_world();
        std::error_code ec;
        const auto mount =
            tmpfs_mount::create(make_directory("/mnt/x"), {.size = mebibyte, .noswap = true}, ec);
        if (privileged && !ec) {
            CHILD_CHECK(mount.statistics().noswap);
            mount.resize(4 * mebibyte);
            CHILD_CHECK(mount.statistics().noswap);
        } else { // not root, or root of a container
            CHILD_CHECK(ec == errc::unsupported);
        }
    });
}

TEST_CASE("options that the kernel refuses, with its reason") {
    support::check_child([] {
        as_user::enter();
        const std::string place = make_directory("/mnt/x");
        std::error_code ec;
        CHILD_CHECK(!tmpfs_mount::create(place, {.size = mebibyte, .noswap = true}, ec));
        CHILD_CHECK(ec == errc::unsupported);
        CHILD_CHECK(report_says("the kernel refuses 'noswap': "));
        CHILD_CHECK(report_says("needs Linux 6.4, and root outside of user namespaces"));
        CHILD_CHECK(!tmpfs_mount::create(place, {.uid = 4711}, ec)); // not in this namespace
        CHILD_CHECK(ec == errc::invalid_options);
        CHILD_CHECK(report_says("'uid=4711'"));
        CHILD_CHECK(!tmpfs_mount::create(place, {.gid = 4711}, ec));
        CHILD_CHECK(ec == errc::invalid_options);
        CHILD_CHECK(report_says("'gid=4711'"));
        CHILD_CHECK(tmpfs_usage(place).mount_point == "/mnt");
    });
}

TEST_CASE("without privilege, the error says how to get it") {
    support::check_child([] {
        if (::geteuid() == 0) {
            become(ann, ann);
        }
        std::error_code ec;
        CHILD_CHECK(!tmpfs_mount::create("/", {}, ec));
        CHILD_CHECK(ec == errc::permission_denied);
        CHILD_CHECK(ec == std::errc::permission_denied);
        CHILD_CHECK(report_says("CAP_SYS_ADMIN"));
        CHILD_CHECK(report_says("unshare --user --map-root-user --mount"));
        // Not even an existing one, though it can be looked at.
        auto mount = tmpfs_mount::adopt("/dev/shm");
        CHILD_CHECK(mount.statistics().mount_point == "/dev/shm");
        mount.resize(1ull << 40, ec);
        CHILD_CHECK(ec == errc::permission_denied);
        CHILD_CHECK(report_says("CAP_SYS_ADMIN"));
        mount.unmount(ec);
        CHILD_CHECK(ec == errc::permission_denied);
        mount.unmount(lazy, ec);
        CHILD_CHECK(ec == errc::permission_denied);
        {
            const tmpfs_mount ended = std::move(mount);
        }
        CHILD_CHECK(tmpfs_usage("/dev/shm").mount_point == "/dev/shm");
    });
}
