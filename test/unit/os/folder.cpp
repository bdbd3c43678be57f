// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/file.hpp>

#include <set>
#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold::detail;

TEST_CASE("a directory lists all its names, whatever they are, and none twice") {
    char path[] = "/tmp/cohold-test-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    std::set<std::string> wanted{"a b", "line\nline", ".hidden",
                                 "...", "..x",        std::string(255, 'n')};
    for (int i = 0; i < 1000; ++i) { // more than one call returns
        wanted.insert("file" + std::to_string(i));
    }
    const std::string at = std::string(path) + "/";
    for (const std::string& name : wanted) {
        REQUIRE(open_file((at + name).c_str(), O_WRONLY | O_CREAT, 0600));
    }
    REQUIRE(::symlink("a b", (at + "link").c_str()) == 0);
    wanted.insert("link");

    folder place(path);
    REQUIRE(place);
    std::set<std::string> found;
    while (const char* name = place.next()) {
        CHECK(found.insert(name).second);
    }
    CHECK(found == wanted);
    CHECK(place.next() == nullptr);

    file_status status{};
    CHECK(place.status("link", status) == 0);
    CHECK(S_ISLNK(status.st_mode));
    CHECK(place.status("link", status, true) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK(place.link("link") == "a b");
    CHECK(place.link("a b").empty());
    CHECK_FALSE(place.open("link", O_RDONLY | O_NOFOLLOW));
    CHECK(place.open("a b", O_RDONLY));
    for (const std::string& name : wanted) {
        CHECK(place.remove(name.c_str()) == 0);
    }
    CHECK(place.remove("a b") == ENOENT);
    CHECK(::rmdir(path) == 0);
    CHECK(place.next() == nullptr); // it has disappeared

    CHECK_FALSE(static_cast<bool>(folder("/no such directory")));
    CHECK(errno == ENOENT);
    CHECK_FALSE(static_cast<bool>(folder("/proc/self/status")));
    CHECK(errno == ENOTDIR);
}

TEST_CASE("this process is among all processes") {
    int found = 0;
    CHECK(for_each_process([&](const folder& its, pid_t process) {
        CHECK(process > 0);
        if (process == ::getpid()) {
            ++found;
            CHECK(its.open("status", O_RDONLY));
        }
    }));
    CHECK(found == 1);
}
