// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/proc.hpp>

#include <string>
#include <thread>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("texts are read completely, however small the pieces are") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const std::string piece(1000, 'x');
    std::thread writer([&] {
        for (int i = 0; i < 50; ++i) {
            CHECK(::write(ends[1], piece.data(), piece.size()) == 1000);
        }
        ::close(ends[1]);
    });
    std::string text;
    CHECK(read_text(ends[0], text) == 0);
    writer.join();
    ::close(ends[0]);
    CHECK(text == std::string(50000, 'x'));

    CHECK(read_text("/proc/self/status", text) == 0);
    CHECK(text.find("Name:") == 0);
    CHECK(read_text("/proc/self/no such file", text) == ENOENT);
    CHECK(text.empty());
    CHECK(read_text("/proc/self", text) == EISDIR);
}

TEST_CASE("a text without an end is cut") {
    std::string text;
    const unique_fd zeros = open_file("/dev/zero", O_RDONLY);
    CHECK(read_text(zeros.get(), text, 10000) == 0);
    CHECK(text.size() >= 10000);
    CHECK(text.size() < 100000);
}

TEST_CASE("lines and words") {
    std::string_view rest = "one  two\tthree\n\n four";
    std::string_view line = next_line(rest);
    CHECK(next_word(line) == "one");
    CHECK(line == "two\tthree");
    CHECK(next_word(line) == "two");
    CHECK(next_word(line) == "three");
    CHECK(next_word(line).empty());
    CHECK(next_line(rest).empty());
    line = next_line(rest);
    CHECK(next_word(line) == "four");
    CHECK(rest.empty());
    CHECK(next_line(rest).empty());
}

TEST_CASE("numbers are whole words that fit") {
    CHECK(number_in("0") == 0u);
    CHECK(number_in("18446744073709551615") == UINT64_MAX);
    CHECK_FALSE(number_in("18446744073709551616"));
    CHECK_FALSE(number_in("99999999999999999999999"));
    CHECK(number_in("-1") == UINT64_MAX);
    CHECK(static_cast<int>(*number_in("-1234")) == -1234);
    CHECK_FALSE(number_in("-"));
    CHECK_FALSE(number_in(""));
    CHECK_FALSE(number_in("12x"));
    CHECK_FALSE(number_in("max"));
    CHECK(number_in("fF", 16) == 255u);
    CHECK_FALSE(number_in("-1", 16));
    CHECK(number_in("777", 8) == 511u);
    CHECK_FALSE(number_in("8", 8));
    CHECK(number_of_file("/proc/sys/kernel/pid_max").value_or(0) > 0);
    CHECK_FALSE(number_of_file("/proc/sys/kernel/ostype"));
    CHECK_FALSE(number_of_file("/no such file"));
}

TEST_CASE("amounts are bytes") {
    CHECK(amount_in("   12 kB") == 12288u);
    CHECK(amount_in("12") == 12u);
    CHECK_FALSE(amount_in("12 MB"));
    CHECK_FALSE(amount_in("kB"));
    CHECK_FALSE(amount_in("18446744073709551615 kB"));
}

TEST_CASE("fields are added up, and missing ones stay missing") {
    struct facts {
        std::optional<std::uint64_t> a;
        std::optional<std::uint64_t> b;
        std::optional<std::uint64_t> c;
    };

    constexpr text_field<facts> fields[] = {{"A", &facts::a}, {"B b", &facts::b}, {"C", &facts::c}};
    facts found;
    add_fields("A: 1 kB\nB b: 2\nAA: 7\nno colon\nA:\t3 kB\nC: nonsense\n: 4", fields, found);
    CHECK(found.a == 4096u);
    CHECK(found.b == 2u);
    CHECK_FALSE(found.c);
}

TEST_CASE("characters that the kernel has escaped") {
    CHECK(unescaped("a\\040b\\012c\\134") == "a b\nc\\");
    CHECK(unescaped("\\04") == "\\04");
    CHECK(unescaped("\\999\\777") == "\\999\\777");
    CHECK(unescaped("\\") == "\\");
    CHECK(unescaped("").empty());
}
