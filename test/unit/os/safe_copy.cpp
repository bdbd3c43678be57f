// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/mapping.hpp>

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold::detail;

TEST_CASE("copying from memory that would raise a signal copies nothing") {
    const unique_fd file = memory_file(0);
    REQUIRE(file);
    const std::size_t page = page_size();
    const std::string text(page, 'x');
    REQUIRE(::write(file.get(), text.data(), page) == static_cast<ssize_t>(page));
    void* const at = ::mmap(nullptr, 2 * page, PROT_READ, MAP_SHARED, file.get(), 0);
    REQUIRE(at != MAP_FAILED);
    std::string copy(2 * page, '?');
    CHECK(copy_from_mapping(copy.data(), at, page) == page);
    CHECK(copy.substr(0, page) == text);
    CHECK(copy_from_mapping(copy.data(), static_cast<char*>(at) + page, 8) == 0); // behind the end
    CHECK(copy_from_mapping(copy.data(), at, 2 * page) <= page);
    CHECK(copy_from_mapping(copy.data(), nullptr, 8) == 0);
    REQUIRE(::ftruncate(file.get(), 0) == 0);
    CHECK(copy_from_mapping(copy.data(), at, 8) == 0);
    ::munmap(at, 2 * page);
}

TEST_CASE("a file is read up to its end") {
    const unique_fd file = memory_file(0);
    REQUIRE(::write(file.get(), "abc", 3) == 3);
    char text[8] = {};
    CHECK(read_file(file.get(), text, 8, 0) == 3);
    CHECK(std::string(text) == "abc");
    CHECK(read_file(file.get(), text, 1, 2) == 1);
    CHECK(text[0] == 'c');
    CHECK(read_file(file.get(), text, 8, 100) == 0);
    CHECK(read_file(-1, text, 8, 0) == 0);
}

TEST_CASE("asking about pages allocates none") {
    const unique_fd file = memory_file(0);
    const std::size_t page = page_size();
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(200 * page)) == 0);
    void* const at = ::mmap(nullptr, 200 * page, PROT_READ, MAP_SHARED, file.get(), 0);
    REQUIRE(at != MAP_FAILED);
    CHECK_FALSE(any_page_resident(at, 200 * page));
    REQUIRE(::pwrite(file.get(), "x", 1, static_cast<off_t>(150 * page)) == 1);
    CHECK_FALSE(any_page_resident(at, 150 * page));
    CHECK(any_page_resident(at, 150 * page + 1));
    file_status status{};
    REQUIRE(raw_fstat(file.get(), status) == 0);
    CHECK(static_cast<std::size_t>(status.st_blocks) * 512 == page);
    ::munmap(at, 200 * page);
    CHECK(any_page_resident(at, page)); // not mapped: nobody knows
}
