// shm_string by itself: construction, the interface of std::string, comparison, streams, and short
// texts outside of segments.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <version>
#if defined(__cpp_lib_format)
#include <format>
#endif

#include <cohold/container/shm_string.hpp>

#include <algorithm>
#include <array>
#include <compare>
#include <iomanip>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <ranges>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using cohold::shm_basic_string;
using cohold::shm_string;
using namespace std::literals;

namespace {

using plain = shm_basic_string<char, std::char_traits<char>, std::allocator<char>>;
using wide = shm_basic_string<wchar_t, std::char_traits<wchar_t>, std::allocator<wchar_t>>;

// Compares without regard to case.
struct traits : std::char_traits<char> {
    static char folded(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

    static bool eq(char a, char b) { return folded(a) == folded(b); }

    static bool lt(char a, char b) { return folded(a) < folded(b); }

    static int compare(const char* a, const char* b, std::size_t count) {
        for (; count != 0; --count, ++a, ++b) {
            if (!eq(*a, *b)) {
                return lt(*a, *b) ? -1 : 1;
            }
        }
        return 0;
    }
};

using caseless = shm_basic_string<char, traits, std::allocator<char>>;

constexpr auto sentence = "a text that does not fit into the string itself"sv;

template <class T, class... Arguments>
concept constructible = std::is_constructible_v<T, Arguments...>;

} // namespace

static_assert(sizeof(shm_string) == 32 && alignof(shm_string) == 8);
static_assert(sizeof(shm_basic_string<char16_t>) == 32);
static_assert(sizeof(shm_basic_string<char32_t>) == 32);
static_assert(cohold::shareable<shm_string> && cohold::shareable<shm_basic_string<wchar_t>>);
static_assert(cohold::type_name_of<shm_string>() == "shm_string");
static_assert(cohold::type_name_of<shm_basic_string<char16_t>>() == "shm_basic_string<char16>");
static_assert(cohold::detail::type_descriptor_of<shm_string>.description == "shm_string");
static_assert(!std::is_trivially_copyable_v<shm_string>);

// Conversions are implicit where those of std::string are.
static_assert(std::is_convertible_v<const char*, shm_string>);
static_assert(std::is_convertible_v<const shm_string&, std::string_view>);
static_assert(!std::is_convertible_v<std::string_view, shm_string>);
static_assert(!std::is_convertible_v<std::string, shm_string>);
static_assert(constructible<shm_string, std::string> &&
              constructible<shm_string, std::string_view>);
static_assert(constructible<std::string, shm_string>);
static_assert(!constructible<shm_string, std::nullptr_t> &&
              !std::is_assignable_v<shm_string&, std::nullptr_t>);
static_assert(std::is_assignable_v<std::string&, shm_string>);

// What must not throw, does not.
static_assert(std::is_nothrow_default_constructible_v<shm_string>);
static_assert(std::is_nothrow_move_constructible_v<shm_string>);
static_assert(std::is_nothrow_destructible_v<shm_string>);
static_assert(std::is_nothrow_move_assignable_v<plain> && std::is_nothrow_swappable_v<plain>);
static_assert(noexcept(std::declval<shm_string&>().clear()));
static_assert(std::is_nothrow_convertible_v<const shm_string&, std::string_view>);
static_assert(std::contiguous_iterator<shm_string::iterator> &&
              std::ranges::contiguous_range<shm_string>);
static_assert(std::three_way_comparable<shm_string, std::strong_ordering>);

TEST_CASE("constructors") {
    CHECK(plain().empty());
    CHECK(plain(std::allocator<char>()).empty());
    CHECK(plain("abc") == "abc");
    CHECK(plain("abcdef", 3) == "abc");
    CHECK(plain("a\0b", 3) == "a\0b"sv);
    CHECK(plain(3, 'x') == "xxx");
    CHECK(plain("abc"s) == "abc");
    CHECK(plain(sentence) == sentence);
    CHECK(plain(sentence, 2, 4) == "text");
    CHECK(plain(plain(sentence), 2, 4) == "text");
    CHECK(plain(plain(sentence), 40) == " itself");
    CHECK(plain({'a', 'b'}) == "ab");
    CHECK(plain(sentence.begin(), sentence.end()) == sentence);
    const std::list<char> list{'l', 'i', 's', 't'};
    CHECK(plain(list.begin(), list.end()) == "list");
    std::istringstream stream("read");
    CHECK(plain(std::istreambuf_iterator<char>(stream), {}) == "read");
    CHECK(plain(cohold::from_range, list) == "list");
    const plain copied(plain("copy"));
    CHECK(copied == "copy");
    CHECK(plain(copied, std::allocator<char>()) == "copy");
    CHECK_THROWS_AS(plain(sentence, 100, 1), std::out_of_range);
    CHECK_THROWS_AS(plain(plain("abc"), 4), std::out_of_range);
    CHECK(wide(L"wide") == L"wide");
    CHECK(shm_basic_string("deduced"sv) == "deduced");
    CHECK(shm_basic_string(list.begin(), list.end()) == "list");
}

TEST_CASE("short texts need no segment") {
    shm_string s("at most 22 characters!");
    CHECK(s.size() == 22);
    CHECK(s.capacity() == 22);
    CHECK(s.c_str()[22] == '\0');
    CHECK(static_cast<const void*>(s.data()) >= static_cast<const void*>(&s));
    CHECK(static_cast<const void*>(s.data() + 22) < static_cast<const void*>(&s + 1));
    shm_string t = s;
    t.erase(2, 5);
    t += " more";
    CHECK(t == "at 22 characters! more");
}

TEST_CASE("long texts need one") {
    shm_string s = "short";
    try {
        s += sentence;
        FAIL("a string without a segment has allocated");
    } catch (const cohold::failure& refused) {
        CHECK(refused.code() == cohold::errc::no_segment);
    }
    CHECK(s == "short");
    CHECK_THROWS_AS(shm_string{sentence}, cohold::failure);
    CHECK(!s.try_append(sentence));
    CHECK(!s.try_assign(sentence));
    CHECK(!s.try_reserve(23));
    CHECK(s.try_append(" text"));
    CHECK(s == "short text");
    std::error_code ec;
    CHECK(!s.try_append(sentence, ec));
    CHECK(ec == cohold::errc::no_segment);
    CHECK(s.try_append("s", ec));
    CHECK(!ec);
    CHECK(!s.try_assign(sentence, ec));
    CHECK(ec == cohold::errc::no_segment);
    CHECK(s.try_assign("short", ec));
    CHECK(!ec);
    CHECK(!s.try_reserve(23, ec));
    CHECK(ec == cohold::errc::no_segment);
    CHECK(!s.try_reserve(s.max_size() + 1, ec));
    CHECK(ec == cohold::errc::invalid_size);
    CHECK(s.try_reserve(22, ec));
    CHECK(!ec);
    CHECK(s == "short");
}

TEST_CASE("copies and moves") {
    plain a(sentence);
    const char* const data = a.data();
    plain b(std::move(a));
    CHECK(b.data() == data);
    CHECK(a.empty()); // NOLINT: what is left is tested
    plain c("short");
    c = std::move(b);
    CHECK(c.data() == data);
    CHECK(b.empty()); // NOLINT
    b = c;
    CHECK(b == c);
    CHECK(b.data() != data);
    b = "again";
    c = std::move(b);
    CHECK(c == "again");
    CHECK(b.empty()); // NOLINT
    const plain& self = c;
    c = self;
    CHECK(c == "again");
    swap(b, c);
    CHECK(b == "again");
    CHECK(c.empty());
    b.swap(b);
    CHECK(b == "again");
    std::ranges::swap(b, c);
    CHECK(c == "again");
}

TEST_CASE("assignment of all that is text") {
    plain s;
    s = "literal";
    CHECK(s == "literal");
    s = 'c';
    CHECK(s == "c");
    s = sentence;
    CHECK(s == sentence);
    s = "std"s;
    CHECK(s == "std");
    s = {'l', 'i', 's', 't'};
    CHECK(s == "list");
    CHECK(s.assign(plain("other")) == "other");
    CHECK(s.assign("counted", 5) == "count");
    CHECK(s.assign(2, 'x') == "xx");
    CHECK(s.assign(sentence, 2, 4) == "text");
    CHECK(s.assign("from 2"s, 5) == "2");
    const std::list<char> list{'a', 'b'};
    CHECK(s.assign(list.begin(), list.end()) == "ab");
    CHECK(s.assign_range(sentence | std::views::take(6)) == "a text");
    CHECK(s.assign(s, 2) == "text");
    CHECK_THROWS_AS(s.assign("x"s, 2), std::out_of_range);
    CHECK(s == "text");
    const std::string out(s);
    std::string assigned;
    assigned = s;
    CHECK(out == assigned);
    CHECK(s.str() == "text");
}

TEST_CASE("characters") {
    plain s("abc");
    const plain& c = s;
    CHECK(s[1] == 'b');
    CHECK(c[3] == '\0');
    s[1] = 'B';
    s.at(2) = 'C';
    CHECK(c.at(2) == 'C');
    CHECK_THROWS_AS(static_cast<void>(s.at(3)), std::out_of_range);
    CHECK(c.front() == 'a');
    CHECK(c.back() == 'C');
    s.front() = 'A';
    s.back() = 'D';
    CHECK(std::string(s.begin(), s.end()) == "ABD");
    CHECK(std::string(c.rbegin(), c.rend()) == "DBA");
    CHECK(std::string(c.crbegin(), c.crend()) == "DBA");
    std::sort(s.begin(), s.end(), std::greater<>());
    CHECK(s == "DBA");
    char copied[3] = {};
    CHECK(s.copy(copied, 5, 1) == 2);
    CHECK(std::string_view(copied) == "BA");
    CHECK(s.length() == 3);
    CHECK(s.max_size() > std::size_t{1} << 20);
}

TEST_CASE("room") {
    plain s;
    const auto own = s.capacity();
    CHECK(own >= 15);
    s.reserve(100);
    CHECK(s.capacity() >= 100);
    const char* const data = s.data();
    s.assign(100, 'x');
    CHECK(s.data() == data);
    s.reserve(10); // not a request to shrink
    CHECK(s.data() == data);
    s.resize(40);
    s.shrink_to_fit();
    CHECK(s.capacity() < 60);
    CHECK(s == std::string(40, 'x'));
    s.resize(3);
    s.shrink_to_fit();
    CHECK(s.capacity() == own);
    CHECK(s == "xxx");
    s.resize(5);
    CHECK(s == "xxx\0\0"sv);
    s.resize(2, 'y');
    s.resize(4, 'y');
    CHECK(s == "xxyy");
    CHECK_THROWS_AS(s.reserve(s.max_size() + 1), std::length_error);
    CHECK_THROWS_AS(s.append(s.max_size(), 'x'), std::length_error);
    CHECK_THROWS_AS(s.insert(0, s.max_size(), 'x'), std::length_error);
    CHECK(!s.try_reserve(s.max_size() + 1));
    CHECK(s == "xxyy");
    const auto write = [](char* text, std::size_t count) {
        std::fill_n(text + 2, count - 2, '!');
        return count - 1;
    };
    s.resize_and_overwrite(6, write);
    CHECK(s == "xx!!!");
    s.resize_and_overwrite(60, write);
    CHECK(s == "xx" + std::string(57, '!'));
    s.resize_and_overwrite(30, write);
    CHECK(s == "xx" + std::string(27, '!'));
}

TEST_CASE("adding, inserting, erasing, replacing") {
    plain s;
    s += "a";
    s += 'b';
    s += "c"s;
    s += "d"sv;
    s += {'e', 'f'};
    s += plain("g");
    CHECK(s.append("hij", 2).append(2, 'k').append("012345"s, 3, 2) == "abcdefghikk34");
    s.append_range(std::list<char>{'!'});
    s.pop_back();
    CHECK(s.insert(0, "<").insert(s.size(), 2, '>').insert(0, 1, '<') == "<<abcdefghikk34>>");
    CHECK(s.erase(13, 2).erase(0, 1) == "<abcdefghikk>>");
    CHECK(s.erase(0).empty());
    s = "0123456789";
    CHECK(*s.insert(s.begin() + 1, 'x') == 'x');
    const auto inserted = s.insert(s.cend(), 2, 'y');
    CHECK(inserted == s.end() - 2);
    CHECK(*s.insert(s.begin(), {'a', 'b'}) == 'a');
    CHECK(s == "ab0x123456789yy");
    CHECK(*s.erase(s.begin() + 3) == '1');
    const auto erased = s.erase(s.end() - 2, s.end());
    CHECK(erased == s.end());
    CHECK(s.replace(0, 2, "").replace(8, 100, "...") == "01234567...");
    CHECK(s.replace(0, 0, "<").replace(0, 1, 3, '-') == "---01234567...");
    CHECK(s.replace(s.begin(), s.begin() + 3, "+"s) == "+01234567...");
    CHECK(s.replace(s.begin(), s.cbegin() + 1, {'a', 'b'}) == "ab01234567...");
    CHECK(s.replace(s.begin(), s.end(), sentence.begin(), sentence.end()) == sentence);
    CHECK(s.replace(s.begin(), s.begin() + 1, "one", 2) == "on" + std::string(sentence.substr(1)));
    CHECK(s.replace_with_range(s.begin(), s.end(), std::list<char>{'r'}) == "r");
    CHECK(s.replace(0, 1, sentence, 2, 4) == "text");
    CHECK_THROWS_AS(s.insert(5, "x"), std::out_of_range);
    CHECK_THROWS_AS(s.erase(5), std::out_of_range);
    CHECK_THROWS_AS(s.replace(5, 1, "x"), std::out_of_range);
    CHECK_THROWS_AS(s.replace(0, 1, "x"s, 2), std::out_of_range);
    CHECK(s == "text");
    CHECK(erase(s, 't') == 2);
    CHECK(erase_if(s, [](char c) { return c == 'x'; }) == 1);
    CHECK(s == "e");
}

TEST_CASE("an iterator that throws changes nothing") {
    struct bad {
        using value_type = char;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::input_iterator_tag;
        using pointer = const char*;
        using reference = char;

        int at = 0;

        char operator*() const {
            if (at == 3) {
                throw 7;
            }
            return 'x';
        }

        bad& operator++() {
            ++at;
            return *this;
        }

        void operator++(int) { ++at; }

        bool operator==(const bad& other) const { return at == other.at; }
    };

    plain s("text");
    CHECK_THROWS_AS(s.append(bad{}, bad{5}), int);
    CHECK_THROWS_AS(s.assign(bad{}, bad{5}), int);
    CHECK_THROWS_AS(s.insert(s.begin(), bad{}, bad{5}), int);
    CHECK_THROWS_AS(s.replace(s.begin(), s.end(), bad{}, bad{5}), int);
    CHECK_THROWS_AS(erase_if(s, [](char) -> bool { throw 7; }), int);
    CHECK(s == "text");
    CHECK(s.append(bad{}, bad{2}) == "textxx");
}

TEST_CASE("searching") {
    const plain s("one two one");
    CHECK(s.find("one") == 0);
    CHECK(s.find("one"s, 1) == 8);
    CHECK(s.find(plain("two")) == 4);
    CHECK(s.find('w') == 5);
    CHECK(s.find("one!", 0, 3) == 0);
    CHECK(s.find("three") == plain::npos);
    CHECK(s.rfind("one") == 8);
    CHECK(s.find_first_of("wt") == 4);
    CHECK(s.find_last_of("wt"sv) == 5);
    CHECK(s.find_first_not_of("eno") == 3);
    CHECK(s.find_last_not_of('e') == 9);
    CHECK(s.starts_with("one"));
    CHECK(s.starts_with('o'));
    CHECK(!s.starts_with(sentence));
    CHECK(s.ends_with("one"s));
    CHECK(s.ends_with('e'));
    CHECK(s.contains("two"));
    CHECK(s.contains('w'));
    CHECK(!s.contains("three"sv));
    CHECK(s.substr(4, 3) == "two");
    CHECK(s.substr(8) == "one");
    CHECK_THROWS_AS(static_cast<void>(s.substr(12)), std::out_of_range);
}

TEST_CASE("comparison") {
    const plain a("abc");
    const shm_string b("abd");
    CHECK(a == "abc");
    CHECK("abc" == a);
    CHECK(a == "abc"s);
    CHECK("abc"s == a);
    CHECK(a == "abc"sv);
    CHECK("abc"sv == a);
    CHECK(a != b); // allocators do not matter
    CHECK(a < b);
    CHECK(b > "abc");
    CHECK("abc"sv < b);
    CHECK(a <= "abd"s);
    CHECK("x"s > a);
    CHECK((a <=> b) == std::strong_ordering::less);
    CHECK((a <=> "abc") == std::strong_ordering::equal);
    CHECK(a.compare(b) < 0);
    CHECK(a.compare("abc") == 0);
    CHECK(a.compare(1, 1, "bx", 1) == 0);
    CHECK(a.compare(0, 2, "ab"s) == 0);
    CHECK(plain("a\0b"sv) != "a");
    CHECK(caseless("ABC") == "abc");
    CHECK(caseless("ABC") <= caseless("abd"));
}

TEST_CASE("concatenation") {
    const plain a("a");
    CHECK(a + a == "aa");
    CHECK(a + "b" == "ab");
    CHECK("b" + a == "ba");
    CHECK(a + 'b' == "ab");
    CHECK('b' + a == "ba");
    CHECK(a + "b"s == "ab");
    CHECK("b"sv + a == "ba");
    CHECK(plain("b") + a == "ba");
    CHECK(a + plain("b") == "ab");
    CHECK(plain("x") + plain("y") + "z" + 'z' + "z"s == "xyzzz");
    CHECK("1" + plain("x") == "1x");
    CHECK('1' + plain("x") == "1x");
    static_assert(std::is_same_v<decltype(a + "b"), plain>);
}

TEST_CASE("keys of containers") {
    std::map<plain, int, std::less<>> sorted;
    sorted.emplace("one", 1);
    CHECK(sorted.find("one") != sorted.end());
    CHECK(sorted.find("two"sv) == sorted.end());
    std::unordered_set<plain> hashed{plain("one"), plain("two")};
    CHECK(hashed.contains("one"));
    CHECK(std::hash<shm_string>()(shm_string("one")) == std::hash<std::string_view>()("one"));
    CHECK(std::hash<shm_string>()("one") == std::hash<std::string>()("one"));
}

#if defined(__cpp_lib_format)
TEST_CASE("format") {
    CHECK(std::format("{} {:>6}", plain("a"), shm_string("right")) == "a  right");
    CHECK(std::format(L"{}", wide(L"wide")) == L"wide");
}
#endif

TEST_CASE("streams") {
    std::ostringstream out;
    out << std::setw(6) << std::left << plain("abc") << '|' << shm_string("short");
    CHECK(out.str() == "abc   |short");
    std::istringstream in("two words\nand a line\nlast");
    plain s("before");
    in >> s;
    CHECK(s == "two");
    in >> std::setw(3) >> s;
    CHECK(s == "wor");
    getline(in, s);
    CHECK(s == "ds");
    getline(in, s, ' ');
    CHECK(s == "and");
    getline(in, s);
    getline(in, s);
    CHECK(s == "last");
    CHECK(in.eof());
    in >> s; // nothing can be read
    CHECK(in.fail());
    CHECK(s == "last");
    std::wostringstream wide_out;
    wide_out << wide(L"wide");
    CHECK(wide_out.str() == L"wide");
}
