// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/detail/factories.hpp>

#include <chrono>
#include <concepts>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>

#include <sys/mman.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/handle/memory_object.hpp>
#include <cohold/handle/named_semaphore.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/handle/system_v_semaphores.hpp>

#include "support/child.hpp"

using namespace cohold;
using namespace std::chrono_literals;

namespace {

// ---- the table: has a handle a form, that throws and that does not, with the same result?

// libc++ says of no conversion from a const char* that it does not throw.
constexpr std::string_view at = "name";

#define COHOLD_TEST_FORM(form, Result, throwing, quiet)                                            \
    template <class H>                                                                             \
    concept form = requires(std::error_code& ec, const std::filesystem::path& path) {              \
        { throwing } -> std::same_as<Result>;                                                      \
        { quiet } -> std::same_as<Result>;                                                         \
        requires noexcept(quiet);                                                                  \
    }

COHOLD_TEST_FORM(creates, H, H::create(at), H::create(at, ec));
COHOLD_TEST_FORM(creates_by_path, H, H::create(path, 1), H::create(path, 1, ec));
COHOLD_TEST_FORM(creates_with_number, H, H::create(at, 1), H::create(at, 1, ec));
COHOLD_TEST_FORM(creates_with_size, H, H::create(at, {.size = 1}), H::create(at, {.size = 1}, ec));
COHOLD_TEST_FORM(opens, H, H::open(at), H::open(at, ec));
COHOLD_TEST_FORM(opens_for_writing, H, H::open(at, read_write), H::open(at, read_write, ec));
COHOLD_TEST_FORM(opens_mapped, H, H::open(at, {.populate = true}),
                 H::open(at, {.populate = true}, ec));
COHOLD_TEST_FORM(opens_mapped_for_writing, H, H::open(at, read_write, {.populate = true}),
                 H::open(at, read_write, {.populate = true}, ec));
COHOLD_TEST_FORM(opens_a_view, typename H::read_only_type, H::open(at, read_only),
                 H::open(at, read_only, ec));
COHOLD_TEST_FORM(opens_a_mapped_view, typename H::read_only_type,
                 H::open(at, read_only, {.populate = true}),
                 H::open(at, read_only, {.populate = true}, ec));
COHOLD_TEST_FORM(opens_itself_for_reading, H, H::open(at, read_only), H::open(at, read_only, ec));
COHOLD_TEST_FORM(opens_or_creates, H, H::open_or_create(at), H::open_or_create(at, ec));
COHOLD_TEST_FORM(opens_or_creates_with_number, H, H::open_or_create(at, 1),
                 H::open_or_create(at, 1, ec));
COHOLD_TEST_FORM(opens_or_creates_with_size, H, H::open_or_create(at, {.size = 1}),
                 H::open_or_create(at, {.size = 1}, ec));
COHOLD_TEST_FORM(replaces, H, H::replace(at), H::replace(at, ec));
COHOLD_TEST_FORM(replaces_with_number, H, H::replace(at, 1), H::replace(at, 1, ec));
COHOLD_TEST_FORM(replaces_with_size, H, H::replace(at, {.size = 1}),
                 H::replace(at, {.size = 1}, ec));
COHOLD_TEST_FORM(removes, bool, H::remove(at), H::remove(at, ec));
COHOLD_TEST_FORM(adopts, H, H::adopt(typename H::native_handle_type()),
                 H::adopt(typename H::native_handle_type(), ec));
COHOLD_TEST_FORM(adopts_mapped, H, H::adopt(typename H::native_handle_type(), {.populate = true}),
                 H::adopt(typename H::native_handle_type(), {.populate = true}, ec));
COHOLD_TEST_FORM(creates_unnamed, H, H::create(), H::create(ec));
COHOLD_TEST_FORM(creates_unnamed_with_number, H, H::create(1), H::create(1, ec));
COHOLD_TEST_FORM(creates_unnamed_with_size, H, H::create({.size = 1}), H::create({.size = 1}, ec));

// A form that waits reads a clock of the caller's, which may throw.
template <class H>
concept waits_to_open = requires(std::error_code& ec) {
    { H::open(at, 1s) } -> std::same_as<H>;
    { H::open(at, 1s, ec) } -> std::same_as<H>;
};

// T's constructor may throw, so these are not noexcept.
template <class H>
concept constructs = requires(std::error_code& ec, const segment_options& options) {
    { H::create(at, 1) } -> std::same_as<H>;
    { H::create(at, ec, 1) } -> std::same_as<H>;
    { H::create(at, options, 1) } -> std::same_as<H>;
    { H::create(at, options, ec, 1) } -> std::same_as<H>;
    { H::create(at, {.size = 1}, ec, 1) } -> std::same_as<H>;
    { H::open_or_create(at, 1) } -> std::same_as<H>;
    { H::open_or_create(at, ec, 1) } -> std::same_as<H>;
    { H::open_or_create(at, options, 1) } -> std::same_as<H>;
    { H::open_or_create(at, options, ec, 1) } -> std::same_as<H>;
};
template <class H>
concept replaces_by_constructing = requires(std::error_code& ec, const segment_options& options) {
    { H::replace(at, 1) } -> std::same_as<H>;
    { H::replace(at, ec, 1) } -> std::same_as<H>;
    { H::replace(at, options, 1) } -> std::same_as<H>;
    { H::replace(at, options, ec, 1) } -> std::same_as<H>;
};
template <class H>
concept constructs_unnamed = requires(std::error_code& ec, const segment_options& options) {
    { H::create(1) } -> std::same_as<H>;
    { H::create(ec, 1) } -> std::same_as<H>;
    { H::create(options, 1) } -> std::same_as<H>;
    { H::create(options, ec, 1) } -> std::same_as<H>;
};

// Could mean options, a size or a value.
template <class H>
concept takes_braces = requires { H::create(at, {}); } || requires { H::open_or_create(at, {}); } ||
                       requires { H::replace(at, {}); } || requires { H::create({}); } ||
                       requires(std::error_code& ec) { H::create(at, {}, ec); } ||
                       requires(std::error_code& ec) { H::create({}, ec); } ||
                       requires(std::error_code& ec) { H::open_or_create(at, {}, ec); } ||
                       requires(std::error_code& ec) { H::replace(at, {}, ec); };

template <class H>
concept opens_somehow = opens<H> && waits_to_open<H>;

using posix_segment = segment<>;
using unnamed_segment = segment<mechanism::memfd>;
using key_segment = segment<mechanism::system_v>;
using view = segment_view<>;
using number = shared<int>;
using unnamed_number = shared<int, mechanism::memfd>;
using number_view = shared<const int>;
using object = memory_object<>;
using unnamed_object = memory_object<mechanism::memfd>;
using object_view = const_memory_object<>;
using semaphore = named_semaphore<>;
using set = system_v_semaphores<>;
using unnamed_set = system_v_semaphores<naming::unnamed>;

static_assert(creates<posix_segment> && creates_with_number<posix_segment>);
static_assert(creates_with_size<posix_segment> && creates_by_path<posix_segment>);
static_assert(opens_somehow<posix_segment> && opens_for_writing<posix_segment>);
static_assert(opens_mapped<posix_segment> && opens_mapped_for_writing<posix_segment>);
static_assert(opens_a_view<posix_segment> && opens_a_mapped_view<posix_segment>);
static_assert(opens_or_creates<posix_segment> && opens_or_creates_with_number<posix_segment>);
static_assert(opens_or_creates_with_size<posix_segment>);
static_assert(replaces<posix_segment> && replaces_with_number<posix_segment>);
static_assert(replaces_with_size<posix_segment> && removes<posix_segment>);
static_assert(adopts<posix_segment> && adopts_mapped<posix_segment>);
static_assert(creates<key_segment> && removes<key_segment>);
static_assert(!replaces<key_segment> && !replaces_with_number<key_segment>);

static_assert(creates_unnamed<unnamed_segment> && creates_unnamed_with_number<unnamed_segment>);
static_assert(creates_unnamed_with_size<unnamed_segment> && adopts<unnamed_segment>);
static_assert(!creates<unnamed_segment> && !opens<unnamed_segment> && !removes<unnamed_segment>);
static_assert(!creates_unnamed<posix_segment>);

static_assert(opens_itself_for_reading<view> && adopts<view> && adopts_mapped<view>);
static_assert(!opens<view> && !creates<view> && !removes<view>);

static_assert(constructs<number> && replaces_by_constructing<number>);
static_assert(opens_somehow<number> && opens_for_writing<number> && opens_mapped<number>);
static_assert(opens_mapped_for_writing<number> && opens_a_view<number>);
static_assert(opens_a_mapped_view<number> && removes<number> && adopts<number>);
static_assert(adopts_mapped<number> && constructs_unnamed<unnamed_number>);
static_assert(opens_itself_for_reading<number_view> && adopts<number_view>);
static_assert(!opens<number_view> && !constructs<number_view>);

static_assert(creates_with_number<object> && creates_with_size<object> && creates_by_path<object>);
static_assert(!creates<object> && !opens_or_creates<object>); // there is no size by default
static_assert(opens_somehow<object> && opens_for_writing<object> && opens_a_view<object>);
static_assert(opens_or_creates_with_number<object> && opens_or_creates_with_size<object>);
static_assert(removes<object> && adopts<object> && !replaces_with_size<object>);
static_assert(!opens_mapped<object>); // map() takes these options
static_assert(creates_unnamed_with_number<unnamed_object>);
static_assert(creates_unnamed_with_size<unnamed_object> && adopts<unnamed_object>);
static_assert(!creates_unnamed<unnamed_object>);
static_assert(opens_itself_for_reading<object_view> && adopts<object_view> && !opens<object_view>);

static_assert(creates<semaphore> && creates_with_number<semaphore> && creates_by_path<semaphore>);
static_assert(opens_somehow<semaphore> && opens_or_creates<semaphore>);
static_assert(opens_or_creates_with_number<semaphore> && removes<semaphore>);
static_assert(creates<set> && opens_somehow<set> && opens_or_creates<set> && removes<set>);
static_assert(adopts<set> && adopts<unnamed_set> && creates_unnamed<unnamed_set>);

static_assert(!takes_braces<posix_segment> && !takes_braces<unnamed_segment>);
static_assert(!takes_braces<number> && !takes_braces<unnamed_number>);
static_assert(!takes_braces<object> && !takes_braces<unnamed_object>);
static_assert(!takes_braces<semaphore> && !takes_braces<set> && !takes_braces<unnamed_set>);

} // namespace

TEST_CASE("forms without options have the defaults") {
    const std::string name = support::own_name("defaults");
    std::error_code ec = std::make_error_code(std::errc::io_error);
    const auto made = posix_segment::create(name, ec);
    CHECK_FALSE(ec);
    CHECK(made.size() >= config::default_size);
    CHECK_FALSE(posix_segment::create(name, ec));
    CHECK(ec == errc::already_exists);
    const auto same = posix_segment::open_or_create(name, ec);
    CHECK_FALSE(ec);
    CHECK(same.participants(ec).size() == 2);
    const auto other = posix_segment::replace(name, ec);
    CHECK_FALSE(ec);
    CHECK(made.is_removed());
    CHECK_FALSE(other.is_removed());
    CHECK(posix_segment::open(name, read_write, {.populate = true}, ec).size() == other.size());
    CHECK(posix_segment::remove(name, ec));
    CHECK_FALSE(posix_segment::remove(name, ec));
    CHECK_FALSE(ec);
    CHECK_FALSE(posix_segment::open(name, read_write, ec));
    CHECK(ec == errc::not_found);
    CHECK(unnamed_segment::create(ec).size() >= config::default_size);
    CHECK_FALSE(ec);
}

TEST_CASE("a failure names the operation that failed") {
    const std::string name = support::own_name("verbs");
    std::error_code ec;
    const auto begins = [](const char* text) {
        return std::string_view(last_failure().what()).starts_with(text);
    };
    CHECK_FALSE(posix_segment::open(name, read_only, ec));
    CHECK(begins("open posix object '"));
    CHECK_FALSE(posix_segment::open_or_create(name, {.size = 2, .reserve = 1}, ec));
    CHECK(ec == errc::invalid_size);
    CHECK(begins("create posix object '"));
    CHECK_FALSE(posix_segment::adopt({}, ec));
    CHECK(begins("adopt posix object"));
    CHECK_FALSE(object::create(name, {.size = 0}, ec));
    CHECK(begins("create posix object '"));
    CHECK_FALSE(object::create(name, {.size = 1, .huge = huge_pages::advise}, ec));
    CHECK(ec == errc::invalid_options);
    CHECK_FALSE(semaphore::open(name, ec));
    CHECK(begins("open semaphore '"));
    CHECK_FALSE(posix_segment::remove("a/b", ec));
    CHECK(begins("remove posix object 'a/b'"));
}

TEST_CASE("a semaphore can be waited for until it exists") {
    const std::string name = support::own_name("later");
    std::error_code ec;
    CHECK_FALSE(semaphore::open(name, 2ms, ec));
    CHECK(ec == errc::not_found);
    std::thread maker([&] {
        std::this_thread::sleep_for(3ms);
        (void)semaphore::create(name, 3);
        (void)set::create(name, {.initial = 4});
    });
    CHECK(semaphore::open(name, 24h).value() == 3);
    CHECK(set::open(name, 24h, ec).value() == 4);
    maker.join();
    CHECK(semaphore::remove(name));
    CHECK(set::remove(name));
}

namespace {

struct counted {
    explicit counted(int* made) : dead(*made + 1) { ++*made; }

    ~counted() { dead = 0; }

    int dead;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<counted> = true;

TEST_CASE("arguments are used once, whichever way the race ends") {
    const std::string name = support::own_name("once");
    int made = 0;
    {
        const auto first = shared<counted>::open_or_create(name, &made);
        std::error_code ec;
        const auto second = shared<counted>::open_or_create(name, ec, &made);
        CHECK_FALSE(ec);
        CHECK(second->dead == 1);
        CHECK_FALSE(shared<counted>::create(name, ec, &made));
        CHECK(ec == errc::already_exists);
        CHECK(made == 1);
    }
    CHECK(shared<counted>::remove(name));
}
