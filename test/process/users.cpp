// Several users: two share through a group, others are refused, modes are exact. As root, in
// namespaces of its own; another user enters a user namespace with newuidmap's help.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <grp.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
namespace mechanisms = cohold::mechanism;

namespace {

struct user {
    uid_t id;
    std::vector<gid_t> groups; // in addition to its own, which has the same number
};

constexpr gid_t team = 2000;
const user ann{1001, {team}};
const user bob{1002, {team, 2001}};
const user eve{1003, {2001}};
const user root{0, {}};

// A child that runs as the user.
template <class Body>
void as(const user& who, const Body& body) {
    support::check_child([&] {
        if (::setgroups(who.groups.size(), who.groups.data()) != 0 || ::setgid(who.id) != 0 ||
            ::setuid(who.id) != 0) {
            std::perror("becoming another user");
            ::_exit(95);
        }
        body();
    });
}

template <class Mechanism>
std::string name_of(std::string_view name) {
    if constexpr (Mechanism::names == name_form::path) {
        // The file system of mechanism::file must not be one that is also fit for tmpfs.
        return std::string(Mechanism::label == "file" ? "/dev/shm/files/" : "/dev/shm/")
            .append(name);
    } else {
        return std::string(name);
    }
}

template <class Mechanism, class Permission>
using segment_for = segment<Mechanism, naming::verbatim, Permission>;

constexpr segment_options small{.size = 65536, .reserve = 1 << 20};

constexpr segment_options for_group(gid_t group) {
    segment_options options = small;
    options.group = group;
    return options;
}

// In a child: the operation must fail with this code, and mention that.
template <class Operation>
void refused(errc code, std::string_view says, const Operation& run) {
    std::error_code ec;
    run(ec);
    const std::string what = last_failure().what();
    CHILD_CHECK(ec == code);
    CHILD_CHECK(ec == std::errc::permission_denied || code == errc::already_exists);
    CHILD_CHECK(what.find(says) != std::string::npos);
    if (ec != code || what.find(says) == std::string::npos) {
        std::fprintf(stderr, "expected '%s' (%s), found '%s'\n",
                     make_error_code(code).message().c_str(), std::string(says).c_str(),
                     what.c_str());
    }
}

template <class Mechanism, class Permission>
void remove_as(const user& who, const std::string& name) {
    as(who, [&] { CHILD_CHECK(segment_for<Mechanism, Permission>::remove(name)); });
}

} // namespace

TEST_CASE_TEMPLATE("two users share through a group, a third is refused", Mechanism,
                   mechanisms::posix, mechanisms::file, mechanisms::tmpfs, mechanisms::system_v) {
    const std::string name = name_of<Mechanism>("team");
    using shared_segment = segment_for<Mechanism, permission::group>;
    as(ann, [&] {
        const auto made = shared_segment::create(name, for_group(team));
        made.template construct<shm_vector<int>>("numbers", std::size_t{3}, 7);
        const object_status found =
            memory_object<Mechanism, naming::verbatim, permission::group>::open(name).status();
        CHILD_CHECK(found.mode == 0660);
        CHILD_CHECK(found.owner == ann.id);
        CHILD_CHECK(found.group == team);
    });
    as(bob, [&] {
        const auto opened = shared_segment::open(name);
        auto* numbers = opened.template find<shm_vector<int>>("numbers");
        CHILD_CHECK(numbers != nullptr && numbers->size() == 3 && numbers->back() == 7);
        numbers->resize(100000, 8); // grows the segment of another user
        CHILD_CHECK(opened.size() > 65536);
        CHILD_CHECK(shared_segment::open_or_create(name, small));
        CHILD_CHECK(shared_segment::open(name, read_only));
        refused(errc::already_exists, name,
                [&](std::error_code& ec) { (void)shared_segment::create(name, small, ec); });
        // The name belongs to ann: the directory is sticky, like /dev/shm and /tmp.
        refused(errc::permission_denied, "1002",
                [&](std::error_code& ec) { shared_segment::remove(name, ec); });
        if constexpr (std::is_same_v<Mechanism, mechanism::posix>) {
            refused(errc::permission_denied, "only the owner of an object (user 1001)",
                    [&](std::error_code& ec) { shared_segment::remove(name, ec); });
        }
    });
    as(eve, [&] {
        const auto denied = [&](auto&& run) { refused(errc::permission_denied, "1003", run); };
        denied([&](std::error_code& ec) { (void)shared_segment::open(name, ec); });
        denied([&](std::error_code& ec) { (void)shared_segment::open(name, read_only, ec); });
        denied([&](std::error_code& ec) { (void)shared_segment::open_or_create(name, small, ec); });
        denied([&](std::error_code& ec) {
            (void)segment_for<Mechanism, permission::everyone>::open(name, ec);
        });
        denied([&](std::error_code& ec) { shared_segment::remove(name, ec); });
        refused(errc::already_exists, name,
                [&](std::error_code& ec) { (void)shared_segment::create(name, small, ec); });
    });
    as(ann, [&] {
        const auto opened = shared_segment::open(name);
        CHILD_CHECK(opened.template find<shm_vector<int>>("numbers")->back() == 8);
        CHILD_CHECK(shared_segment::remove(name));
    });
}

TEST_CASE_TEMPLATE("a group reads what its owner writes", Mechanism, mechanisms::posix,
                   mechanisms::file, mechanisms::tmpfs, mechanisms::system_v) {
    const std::string name = name_of<Mechanism>("read");
    using group_segment = segment_for<Mechanism, permission::group_read>;
    as(ann, [&] {
        const auto made = group_segment::create(name, for_group(team));
        made.template construct<int>("x", 41);
        *group_segment::open(name).template find<int>("x") = 42;
    });
    as(bob, [&] {
        CHILD_CHECK(*group_segment::open(name, read_only).template find<int>("x") == 42);
        refused(errc::permission_denied, name,
                [&](std::error_code& ec) { (void)group_segment::open(name, ec); });
    });
    as(eve, [&] {
        refused(errc::permission_denied, name,
                [&](std::error_code& ec) { (void)group_segment::open(name, read_only, ec); });
    });
    remove_as<Mechanism, permission::group_read>(ann, name);

    using public_segment = segment_for<Mechanism, permission::everyone_reads>;
    as(ann, [&] { public_segment::create(name, small).template construct<int>("x", 43); });
    for (const user* who : {&bob, &eve, &ann}) {
        as(*who, [&] {
            CHILD_CHECK(*public_segment::open(name, read_only).template find<int>("x") == 43);
            if (who != &ann) {
                refused(errc::permission_denied, name,
                        [&](std::error_code& ec) { (void)public_segment::open(name, ec); });
            }
        });
    }
    as(eve, [&] { // another user's, whatever its mode
        refused(errc::unexpected_owner, "owner: user 1001", [&](std::error_code& ec) {
            (void)segment_for<Mechanism, permission::owner_only>::open(name, read_only, ec);
        });
    });
    remove_as<Mechanism, permission::everyone_reads>(ann, name);
}

TEST_CASE_TEMPLATE("objects of unexpected owners are refused", Mechanism, mechanisms::posix,
                   mechanisms::file, mechanisms::tmpfs, mechanisms::system_v) {
    const std::string name = name_of<Mechanism>("planted");
    const auto planted_by = [&](const user& who) {
        as(who, [&] {
            segment_for<Mechanism, permission::everyone>::create(name, for_group(who.id))
                .template construct<int>("x", 1);
        });
    };
    const auto opens = [&]<class Permission>(Permission) {
        CHILD_CHECK(segment_for<Mechanism, Permission>::open(name));
        CHILD_CHECK(segment_for<Mechanism, Permission>::open(name, read_only));
    };
    const auto fails = [&]<class Permission>(Permission, errc code, std::string_view says) {
        using refusing = segment_for<Mechanism, Permission>;
        refused(code, says, [&](std::error_code& ec) { (void)refusing::open(name, ec); });
        refused(code, says,
                [&](std::error_code& ec) { (void)refusing::open(name, read_only, ec); });
        refused(code, says,
                [&](std::error_code& ec) { (void)refusing::open_or_create(name, small, ec); });
        refused(code, says, [&](std::error_code& ec) {
            (void)memory_object<Mechanism, naming::verbatim, Permission>::open(name, ec);
        });
        refused(code, says, [&](std::error_code& ec) {
            (void)shared<int, Mechanism, naming::verbatim, Permission>::open(name, ec);
        });
    };
    planted_by(eve);
    const std::string_view eves = "owner: user 1003, group 1003";
    for (const user* who : {&bob, &root}) {
        as(*who, [&] {
            fails(permission::owner_only(), errc::unexpected_owner, eves);
            fails(permission::group(), errc::unexpected_owner, eves);
            fails(permission::owned_by<1001, permission::everyone>(), errc::unexpected_owner, eves);
            opens(permission::everyone());
            opens(permission::owned_by<1003, permission::everyone>());
        });
    }
    as(eve, [&] {
        const std::string_view found = "mode: at most 0600 expected, found 0666";
        fails(permission::owner_only(), errc::wider_permission, found);
        fails(permission::group(), errc::wider_permission, "at most 0660 expected, found 0666");
        fails(permission::everyone_reads(), errc::wider_permission, "at most 0644 expected");
        fails(permission::owned_by<1003>(), errc::wider_permission, "at most 0644 expected");
        opens(permission::everyone());
    });
    remove_as<Mechanism, permission::everyone>(eve, name);

    // Root is trusted, because it could do anything anyway.
    as(root, [&] {
        segment_for<Mechanism, permission::everyone_reads>::create(name, small)
            .template construct<int>("x", 5);
    });
    as(bob, [&] {
        CHILD_CHECK(*segment_for<Mechanism, permission::owner_only>::open(name, read_only)
                         .template find<int>("x") == 5);
        refused(errc::permission_denied, name, [&](std::error_code& ec) {
            (void)segment_for<Mechanism, permission::owner_only>::open(name, ec);
        });
    });
    remove_as<Mechanism, permission::everyone_reads>(root, name);
}

TEST_CASE_TEMPLATE("private objects of others cannot be opened, changed or removed", Mechanism,
                   mechanisms::posix, mechanisms::file, mechanisms::tmpfs, mechanisms::system_v) {
    const std::string name = name_of<Mechanism>("private");
    using private_segment = segment_for<Mechanism, permission::owner_only>;
    as(ann, [&] { private_segment::create(name, small).template construct<int>("x", 6); });
    as(bob, [&] {
        const auto denied = [&](auto&& run) { refused(errc::permission_denied, "1002", run); };
        denied([&](std::error_code& ec) { (void)private_segment::open(name, ec); });
        denied([&](std::error_code& ec) { (void)private_segment::open(name, read_only, ec); });
        denied(
            [&](std::error_code& ec) { (void)private_segment::open_or_create(name, small, ec); });
        denied([&](std::error_code& ec) { private_segment::remove(name, ec); });
        denied([&](std::error_code& ec) {
            memory_object<Mechanism, naming::verbatim, permission::owner_only>::remove(name, ec);
        });
        refused(errc::already_exists, name,
                [&](std::error_code& ec) { (void)private_segment::create(name, small, ec); });
        if constexpr (Mechanism::replaces) {
            denied([&](std::error_code& ec) { (void)private_segment::replace(name, small, ec); });
        }
    });
    as(ann, [&] {
        CHILD_CHECK(*private_segment::open(name).template find<int>("x") == 6);
        CHILD_CHECK(private_segment::remove(name));
    });
}

TEST_CASE_TEMPLATE("modes are exact, whatever the umask", Mechanism, mechanisms::posix,
                   mechanisms::file, mechanisms::tmpfs, mechanisms::system_v) {
    const std::string name = name_of<Mechanism>("mode");
    const auto exact = [&]<class Permission>(Permission) {
        for (const mode_t mask : {mode_t{077}, mode_t{0}, mode_t{0777}, mode_t{022}}) {
            ::umask(mask);
            const auto mode = [&] {
                using object = memory_object<Mechanism, naming::verbatim, Permission>;
                const mode_t found = object::open(name).status().mode;
                CHILD_CHECK(object::remove(name));
                return found;
            };
            using made_segment = segment_for<Mechanism, Permission>;
            (void)made_segment::create(name, small);
            CHILD_CHECK(mode() == Permission::bits);
            (void)memory_object<Mechanism, naming::verbatim, Permission>::create(name, 4096);
            CHILD_CHECK(mode() == Permission::bits);
            (void)shared<int, Mechanism, naming::verbatim, Permission>::create(name, small, 1);
            CHILD_CHECK(mode() == Permission::bits);
            if constexpr (Mechanism::replaces) {
                (void)made_segment::replace(name, small);
                CHILD_CHECK(mode() == Permission::bits);
            }
        }
    };
    for (const user* who : {&ann, &root}) {
        as(*who, [&] {
            exact(permission::owner_only());
            exact(permission::group_read());
            exact(permission::group());
            exact(permission::everyone_reads());
            exact(permission::everyone());
            exact(permission::mode<0606>());
        });
    }
}

TEST_CASE("memfds have the mode of their policy") {
    as(ann, [] {
        ::umask(077);
        using shared_memfd = memory_object<mechanisms::memfd, naming::unnamed, permission::group>;
        CHILD_CHECK(shared_memfd::create(4096).status().mode == 0660);
        CHILD_CHECK(memory_object<mechanisms::memfd>::create(4096).status().mode == 0600);
    });
}

TEST_CASE_TEMPLATE("a group that the user does not belong to is refused, and nothing is left",
                   Mechanism, mechanisms::posix, mechanisms::file, mechanisms::tmpfs) {
    const std::string name = name_of<Mechanism>("stranger");
    as(eve, [&] {
        refused(errc::permission_denied, "group 2000", [&](std::error_code& ec) {
            (void)segment_for<Mechanism, permission::group>::create(name, for_group(team), ec);
        });
        std::error_code ec;
        (void)memory_object<Mechanism>::open(name, ec);
        CHILD_CHECK(ec == errc::not_found);
    });
}

TEST_CASE("directories and objects without permission to write") {
    REQUIRE(::mkdir("/dev/shm/roots", 0755) == 0);
    REQUIRE(::mkdir("/dev/shm/hidden", 0700) == 0);
    using file_segment = segment<mechanisms::file>;
    as(ann, [] {
        for (const char* name : {"/dev/shm/roots/x", "/dev/shm/hidden/x"}) {
            refused(errc::permission_denied, name,
                    [&](std::error_code& ec) { (void)file_segment::create(name, small, ec); });
            refused(errc::permission_denied, name, [&](std::error_code& ec) {
                (void)memory_object<mechanisms::file>::create(name, 4096, ec);
            });
        }
        refused(errc::permission_denied, "hidden",
                [](std::error_code& ec) { (void)file_segment::open("/dev/shm/hidden/x", ec); });
    });
    ::rmdir("/dev/shm/roots");
    ::rmdir("/dev/shm/hidden");
    as(ann, [] {
        segment<>::create("fixed", small).construct<int>("x", 9);
        CHILD_CHECK(::chmod("/dev/shm/fixed", 0400) == 0);
        refused(errc::permission_denied, "fixed",
                [](std::error_code& ec) { (void)segment<>::open("fixed", ec); });
        CHILD_CHECK(*segment<>::open("fixed", read_only).find<int>("x") == 9);
        CHILD_CHECK(segment<>::remove("fixed"));
    });
}

TEST_CASE("a file system mounted read-only") {
    {
        const auto made = segment<mechanisms::file>::create("/dev/shm/files/x", small);
        made.construct<int>("x", 10);
    }
    REQUIRE(::mount(nullptr, "/dev/shm/files", nullptr, MS_REMOUNT | MS_RDONLY | MS_BIND,
                    nullptr) == 0);
    support::check_child([] {
        refused(errc::read_only, "mounted read-only", [](std::error_code& ec) {
            (void)segment<mechanisms::file>::open("/dev/shm/files/x", ec);
        });
        refused(errc::read_only, "mounted read-only", [](std::error_code& ec) {
            (void)segment<mechanisms::file>::create("/dev/shm/files/y", small, ec);
        });
        refused(errc::read_only, "mounted read-only", [](std::error_code& ec) {
            segment<mechanisms::file>::remove("/dev/shm/files/x", ec);
        });
        const auto view = segment<mechanisms::file>::open("/dev/shm/files/x", read_only);
        CHILD_CHECK(*view.find<int>("x") == 10);
    });
    REQUIRE(::mount(nullptr, "/dev/shm/files", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0);
    CHECK(segment<mechanisms::file>::remove("/dev/shm/files/x"));
}

template <class Permission>
struct posix_semaphores {
    using type = named_semaphore<naming::verbatim, Permission>;
    template <class Other>
    using with = posix_semaphores<Other>;

    static constexpr semaphore_options options(std::optional<gid_t> group) {
        return {.initial = 5, .group = group};
    }
};

template <class Permission>
struct system_v_sets {
    using type = system_v_semaphores<naming::verbatim, Permission>;
    template <class Other>
    using with = system_v_sets<Other>;

    static constexpr semaphore_set_options options(std::optional<gid_t> group) {
        return {.initial = 5, .group = group};
    }
};

TEST_CASE_TEMPLATE("two users share a semaphore through a group, a third is refused", Kind,
                   posix_semaphores<permission::group>, system_v_sets<permission::group>) {
    using semaphore = typename Kind::type;
    using own_semaphore = typename Kind::template with<permission::owner_only>::type;
    const std::string name = "team";
    for (const mode_t mask : {mode_t{0}, mode_t{0777}}) { // it must not matter
        as(ann, [&] {
            ::umask(mask);
            const auto made = semaphore::create(name, Kind::options(team));
            made.acquire();
        });
        as(bob, [&] {
            const auto opened = semaphore::open(name);
            CHILD_CHECK(opened.value() == 4);
            opened.release();
            CHILD_CHECK(semaphore::open_or_create(name, Kind::options(team)).value() == 5);
            refused(errc::already_exists, name, [&](std::error_code& ec) {
                (void)semaphore::create(name, Kind::options(team), ec);
            });
            refused(errc::unexpected_owner, "owner: user 1001",
                    [&](std::error_code& ec) { (void)own_semaphore::open(name, ec); });
            refused(errc::permission_denied, "1002",
                    [&](std::error_code& ec) { semaphore::remove(name, ec); });
        });
        as(eve, [&] {
            const auto denied = [&](auto&& run) { refused(errc::permission_denied, "1003", run); };
            denied([&](std::error_code& ec) { (void)semaphore::open(name, ec); });
            denied([&](std::error_code& ec) {
                (void)semaphore::open_or_create(name, Kind::options({}), ec);
            });
            denied([&](std::error_code& ec) { semaphore::remove(name, ec); });
            refused(errc::already_exists, name, [&](std::error_code& ec) {
                (void)semaphore::create(name, Kind::options({}), ec);
            });
        });
        as(ann, [&] {
            CHILD_CHECK(semaphore::open(name).value() == 5);
            CHILD_CHECK(semaphore::remove(name));
        });
    }
    // A semaphore that eve has planted, open to all, is used only by processes that trust
    // everybody.
    as(eve, [&] {
        ::umask(0777);
        (void)Kind::template with<permission::everyone>::type::create(name, Kind::options({}));
    });
    for (const user* who : {&ann, &root}) {
        as(*who, [&] {
            refused(errc::unexpected_owner, "owner: user 1003",
                    [&](std::error_code& ec) { (void)own_semaphore::open(name, ec); });
            CHILD_CHECK(Kind::template with<permission::everyone>::type::open(name).value() == 5);
        });
    }
    as(eve, [&] { CHILD_CHECK(Kind::template with<permission::everyone>::type::remove(name)); });
    // A semaphore for its owner only cannot be opened, whatever the other's policy.
    as(ann, [&] { (void)own_semaphore::create(name, Kind::options({})); });
    as(bob, [&] {
        refused(errc::permission_denied, "1002",
                [&](std::error_code& ec) { (void)semaphore::open(name, ec); });
    });
    as(root, [&] { CHILD_CHECK(own_semaphore::remove(name)); });
}

TEST_CASE("an unready set of a killed creator, and other users") {
    using team_set = system_v_semaphores<naming::verbatim, permission::group>;
    const key_t key = detail::system_v_key("ruin");
    const auto leave = [&](const user& who) {
        as(who, [&] {
            const support::ending how = support::run_child([&] {
                detail::creation_lock lock(detail::set_lock_key(key));
                CHILD_CHECK(lock.acquire(true, true, 0666) == 0);
                ::semget(key, 3, IPC_CREAT | IPC_EXCL | static_cast<int>(detail::unready_mode));
                ::raise(SIGKILL);
            });
            CHILD_CHECK(how.signal == SIGKILL);
        });
    };
    leave(ann);
    as(bob, [&] { // cannot remove it, is told which user it is, and does not wait
        refused(errc::permission_denied, "1002",
                [&](std::error_code& ec) { (void)team_set::open("ruin", ec); });
        std::error_code ec;
        CHILD_CHECK(!team_set::create("ruin", ec));
        CHILD_CHECK(ec == errc::already_exists);
    });
    as(ann, [&] {
        std::error_code ec;
        CHILD_CHECK(!team_set::open("ruin", ec));
        CHILD_CHECK(ec == errc::not_found);
        CHILD_CHECK(team_set::create("ruin", {.initial = 1, .group = team}));
    });
    as(bob, [&] { CHILD_CHECK(team_set::open("ruin").value() == 1); });
    as(ann, [&] { CHILD_CHECK(team_set::remove("ruin")); });
    leave(ann);
    as(root, [&] { CHILD_CHECK(!team_set::remove("ruin")); });
    CHECK(::semget(key, 0, 0) == -1);
}

TEST_CASE("a mount that two users share, and a third cannot see into") {
    ::mkdir("/dev/shm/mount", 0755);
    {
        const auto mount =
            tmpfs_mount::create("/dev/shm/mount", {.size = 1 << 20, .mode = 02770, .gid = team});
        using team_segment = segment_for<mechanisms::tmpfs, permission::group>;
        as(ann, [] {
            team_segment::create("/dev/shm/mount/x", {.size = 65536, .reserve = 1 << 20})
                .construct<int>("x", 41);
        });
        as(bob, [&] {
            CHILD_CHECK(++*team_segment::open("/dev/shm/mount/x").find<int>("x") == 42);
            refused(errc::permission_denied, "CAP_SYS_ADMIN",
                    [&](std::error_code& ec) { mount.resize(2 << 20, ec); });
            // The user can fill it, and nothing else.
            std::error_code ec;
            (void)memory_object<mechanisms::tmpfs>::create("/dev/shm/mount/b", 2 << 20, ec);
            CHILD_CHECK(ec == errc::out_of_space);
            CHILD_CHECK(segment_for<mechanisms::posix, permission::owner_only>::create(
                "mine", {.size = 2 << 20, .reserve = 4 << 20}));
            CHILD_CHECK(segment_for<mechanisms::posix, permission::owner_only>::remove("mine"));
        });
        as(eve, [] {
            refused(errc::permission_denied, "1003",
                    [](std::error_code& ec) { (void)team_segment::open("/dev/shm/mount/x", ec); });
            refused(errc::permission_denied, "1003",
                    [](std::error_code& ec) { (void)is_tmpfs("/dev/shm/mount/x", ec); });
            CHILD_CHECK(tmpfs_usage("/dev/shm/mount").size == 1 << 20); // as df(1) may report
        });
    }
    CHECK(tmpfs_usage("/dev/shm/mount").mount_point == "/dev/shm");
    ::rmdir("/dev/shm/mount");
}

int main(int argc, char** argv) {
    if (::geteuid() != 0) {
        // The kernel gives other users only one user; newuidmap gives them those of /etc/subuid.
        std::vector<char*> arguments;
        static char program[] = "unshare", user[] = "--user", map_root[] = "--map-root-user",
                    map_others[] = "--map-auto", self[] = "/proc/self/exe";
        static char path[4096];
        if (::readlink(self, path, sizeof path - 1) < 0) {
            std::perror(self);
            return 1;
        }
        for (char* each : {program, user, map_root, map_others, path}) {
            arguments.push_back(each);
        }
        arguments.insert(arguments.end(), argv + 1, argv + argc);
        arguments.push_back(nullptr);
        ::execvp(program, arguments.data());
        std::perror("these tests need root, or unshare(1) and newuidmap(1)");
        return 1;
    }
    support::enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC);
    support::mount_or_exit("tmpfs", "/dev/shm", "size=64m,mode=1777");
    ::mkdir("/dev/shm/files", 0700);
    support::mount_or_exit("ramfs", "/dev/shm/files", "mode=1777");
    return doctest::Context(argc, argv).run();
}
