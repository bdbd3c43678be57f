// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/error.hpp>

#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>

#include <doctest/doctest.h>

namespace detail = cohold::detail;
using cohold::errc;

namespace {

// A report ends with the meaning of the code, which for cohold's own codes includes the remedy.
std::string with_meaning(const std::string& facts, std::error_code code) {
    return facts + ": " + code.message();
}

} // namespace

TEST_CASE("every code has a text of its own and maps to a condition") {
    for (const detail::errc_row& row : detail::errc_table) {
        const std::error_code code = row.code;
        CAPTURE(row.text);
        CHECK(code.category() == cohold::category());
        CHECK(code.message() == row.text);
        CHECK(code == row.condition);
        for (const detail::errc_row& other : detail::errc_table) {
            CHECK((&row == &other) == (row.code == other.code));
            CHECK((&row == &other) == (std::string(row.text) == other.text));
        }
    }
    CHECK(std::size(detail::errc_table) == static_cast<std::size_t>(errc::closed));
}

TEST_CASE("an invalid code is an unknown error and equals only its own condition") {
    const std::error_code strange(9999, cohold::category());
    CHECK(strange.message() == "unknown error");
    CHECK(strange.default_error_condition().category() == cohold::category());
    CHECK(strange != std::errc::invalid_argument);
}

TEST_CASE("a code is recognised by the category's name, wherever the category object is") {
    const detail::errc_category_type of_a_plug_in; // with private symbols
    const std::error_code code(static_cast<int>(errc::removed), of_a_plug_in);
    CHECK(code == errc::removed);
    CHECK(errc::removed == code);
    CHECK(code != errc::corrupt);
    CHECK(code == std::errc::no_such_file_or_directory);
    CHECK(std::error_code(static_cast<int>(errc::removed), std::generic_category()) !=
          errc::removed);
}

TEST_CASE("fail sets the code and reports the facts with the operation around it") {
    std::error_code ec;
    {
        const detail::error_context doing("open", "posix object", "prices");
        detail::fail(ec, errc::layout_mismatch, "layout version: expected %d, found %d", 1, 7);
    }
    CHECK(ec == errc::layout_mismatch);
    CHECK(cohold::last_failure().code() == ec);
    CHECK(std::string(cohold::last_failure().what()) ==
          with_meaning("open posix object 'prices': layout version: expected 1, found 7", ec));
}

TEST_CASE("an inner operation is named, then the outer one again") {
    std::error_code ec;
    const detail::error_context outer("open", "segment", "outer");
    {
        const detail::error_context inner("map", "", "");
        detail::fail(ec, errc::truncated, "%s", "short");
        CHECK(std::string(cohold::last_failure().what()) == with_meaning("map: short", ec));
    }
    detail::fail(ec, errc::truncated, "%s", "");
    CHECK(std::string(cohold::last_failure().what()).starts_with("open segment 'outer'"));
}

TEST_CASE("a failed system call keeps its errno in the generic category") {
    std::error_code ec;
    detail::fail_errno(ec, EMFILE, "open(2)");
    CHECK(ec == std::errc::too_many_files_open);
    CHECK(ec.category() == std::generic_category());
    CHECK(cohold::last_failure().code() == ec);
    CHECK(std::string(cohold::last_failure().what()) == with_meaning("open(2)", ec));
}

TEST_CASE("a report that is too long is cut, not overrun") {
    std::error_code ec;
    const std::string word(3000, 'x');
    detail::fail(ec, errc::corrupt, "%s", word.c_str());
    const std::string text = cohold::last_failure().what();
    CHECK(text.size() > 500);
    CHECK(text.size() < word.size());
    CHECK(text == word.substr(0, text.size()));
}

TEST_CASE("the report belongs to its thread") {
    std::error_code ec;
    detail::fail(ec, errc::corrupt, "in the first thread");
    std::thread([] {
        std::error_code other;
        detail::fail(other, errc::removed, "in the second thread");
        CHECK(cohold::last_failure().code() == errc::removed);
    }).join();
    CHECK(cohold::last_failure().code() == errc::corrupt);
    CHECK(std::string(cohold::last_failure().what()) == with_meaning("in the first thread", ec));
}

TEST_CASE("raise throws a failure, which is a std::system_error, with the facts in what()") {
    try {
        const detail::error_context doing("create", "file", "a/b");
        detail::raise(errc::invalid_name, "it holds a '%c'", '/');
        FAIL("raise returned");
    } catch (const std::system_error& error) {
        CHECK(error.code() == errc::invalid_name);
        CHECK(dynamic_cast<const cohold::failure*>(&error) != nullptr);
        CHECK(std::string(error.what()).find("create file 'a/b': it holds a '/'") !=
              std::string::npos);
    }
}

TEST_CASE("raise_if throws for a code and does nothing without one") {
    CHECK_NOTHROW(detail::raise_if(std::error_code()));
    std::error_code ec;
    detail::fail(ec, errc::removed, "facts");
    CHECK_THROWS_AS(detail::raise_if(ec), cohold::failure);
}

TEST_CASE("raise_if does not attach an old report to a code that was set without one") {
    std::error_code ec;
    detail::fail(ec, errc::removed, "old facts");
    try {
        detail::raise_if(std::make_error_code(std::errc::io_error));
        FAIL("raise_if returned");
    } catch (const cohold::failure& error) {
        CHECK(error.code() == std::errc::io_error);
        CHECK(std::string(error.what()).find("old facts") == std::string::npos);
    }
}

TEST_CASE("an attempt that may fail keeps the last report") {
    std::error_code ec;
    cohold::detail::fail(ec, cohold::errc::corrupt, "kept");
    {
        const cohold::detail::report_keeper keeper;
        cohold::detail::fail(ec, cohold::errc::out_of_space, "not shown");
        CHECK(ec == cohold::errc::out_of_space);
        CHECK(cohold::last_failure().code() == cohold::errc::corrupt);
        try {
            cohold::detail::raise_if(ec);
            FAIL_CHECK("nothing was thrown");
        } catch (const cohold::failure& thrown) {
            CHECK(thrown.code() == cohold::errc::out_of_space);
            CHECK(std::string(thrown.what()) == ec.message());
        }
        const cohold::detail::report_keeper inner;
    }
    CHECK(std::string(cohold::last_failure().what()).find("kept") != std::string::npos);
    cohold::detail::fail(ec, cohold::errc::read_only, "new");
    CHECK(cohold::last_failure().code() == cohold::errc::read_only);
}

TEST_CASE("a report can be copied in a noexcept context") {
    static_assert(std::is_nothrow_copy_constructible_v<cohold::failure_report>);
    static_assert(noexcept(cohold::last_failure()));
    static_assert(noexcept(cohold::category()));
}

TEST_CASE("reported gives the code and the report of what an operation throws") {
    std::error_code ec;
    CHECK(detail::reported(ec, [] { return 7; }) == 7);
    CHECK(!ec);
    CHECK(detail::reported(ec, []() -> int {
              try {
                  detail::raise(errc::reserve_exceeded, "found %d", 7);
              } catch (const cohold::failure&) {
                  std::error_code other;
                  detail::fail(other, errc::busy); // as a destructor could
                  throw;
              }
          }) == 0);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(cohold::last_failure().code() == ec);
    CHECK(cohold::last_failure().what() == with_meaning("found 7", ec));
    CHECK(detail::reported(ec, []() -> const char* { throw std::bad_alloc(); }) == nullptr);
    CHECK(ec == errc::out_of_space);
    CHECK(cohold::last_failure().code() == ec);
    CHECK_THROWS_AS(detail::reported(ec, []() -> int { throw std::runtime_error("other"); }),
                    std::runtime_error);
}
