// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/file.hpp>

#include "unit/policy/mechanism_checks.hpp"

using cohold::mechanism::file;
using cohold::mechanism::tmpfs;

static_assert(cohold::mechanism_policy<file>);
static_assert(cohold::mechanism_policy<tmpfs>);

TEST_CASE("files") {
    mechanism_checks::check_named<file>("/tmp/" + support::own_name("file"));
    mechanism_checks::check_named<file>("/dev/shm/" + support::own_name("file"));
}

TEST_CASE("files on a tmpfs") {
    mechanism_checks::check_named<tmpfs>("/dev/shm/" + support::own_name("tmpfs"));
}

TEST_CASE("paths relative to the current directory") {
    support::check_child([] {
        CHILD_CHECK(::chdir("/dev/shm") == 0);
        const std::string name = support::own_name("relative");
        std::error_code ec;
        for (const std::string& path : {name, "./" + name, "../shm/" + name}) {
            auto made = tmpfs::create(path, mechanism_checks::wanted, ec);
            tmpfs::publish(made, path, cohold::publication::exclusive, ec);
            CHILD_CHECK(!ec);
            CHILD_CHECK(::access(("/dev/shm/" + name).c_str(), F_OK) == 0);
            tmpfs::close(made);
            CHILD_CHECK(tmpfs::remove(path, ec));
        }
    });
}
