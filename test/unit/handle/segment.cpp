// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/container/shm_string.hpp>
#include <cohold/handle/memory_object.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/system_v.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_nothrow_default_constructible_v<segment<>>);
static_assert(std::is_nothrow_move_constructible_v<segment<>>);
static_assert(std::is_nothrow_move_assignable_v<segment<>>);
static_assert(!std::is_copy_constructible_v<segment<>>);
static_assert(std::is_same_v<decltype(segment<>::open("", read_only)), segment_view<>>);
static_assert(std::is_same_v<decltype(segment_view<>().find<int>("")), const int*>);
template <class Segment>
concept constructs = requires(const Segment& s) { s.template construct<int>("x"); };
static_assert(constructs<segment<>>);
static_assert(!constructs<segment_view<>>);

namespace {

constexpr segment_options small{.size = 65536, .reserve = 1 << 20};
constexpr segment_options session{.size = 65536, .reserve = 1 << 20, .lifetime = lifetime::session};

} // namespace

TEST_CASE("an empty segment") {
    const segment<> empty;
    CHECK_FALSE(static_cast<bool>(empty));
    CHECK(empty.size() == 0);
    CHECK(empty.capacity() == 0);
    CHECK(empty.used() == 0);
    CHECK(empty.objects().empty());
    CHECK_FALSE(static_cast<bool>(empty.allocator<int>()));
    CHECK_THROWS_AS((void)empty.construct<int>("x"), failure);
    CHECK_FALSE(static_cast<bool>(segment_view<>()));
}

TEST_CASE("two mappings of one segment are one memory") {
    const std::string name = support::own_name("segment");
    const auto made = segment<>::create(name, small);
    CHECK(made.name() == name);
    CHECK_FALSE(made.is_removed());
    const auto opened = segment<>::open(name);
    const auto view = segment<>::open(name, read_only);
    int& number = made.construct<int>("number", 1);
    int* const other = opened.find<int>("number");
    REQUIRE(other != nullptr);
    CHECK(other != &number);
    *other = 2;
    CHECK(number == 2);
    CHECK(*view.find<int>("number") == 2);
    CHECK(view.find<int>("none") == nullptr);
    CHECK(view.objects().size() == 1);
    CHECK(opened.used() == made.used());
    opened.grow(200000);
    CHECK(made.size() == view.size());
    CHECK(made.size() >= 200000);
    CHECK(made.allocator<int>() == made.allocator<char>());
    CHECK(made.allocator<int>() != opened.allocator<int>());
    CHECK(segment<>::remove(name));
    CHECK(made.is_removed());
    CHECK(view.is_removed());
    CHECK(number == 2);
}

namespace {

// Opens a name that another thread creates meanwhile.
template <class Open, class Make>
auto opened_while(const Open& open, const Make& make) {
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        make();
    });
    auto opened = open();
    other.join();
    return opened;
}

} // namespace

TEST_CASE_TEMPLATE("opening can wait until the name exists", Mechanism, mechanism::posix,
                   mechanism::system_v) {
    using namespace std::chrono_literals;
    using segment_type = segment<Mechanism>;
    using bytes_type = memory_object<Mechanism>;
    using shared_type = shared<int, Mechanism>;
    const std::string name = support::own_name("waiting");
    std::error_code ec;
    CHECK_FALSE(segment_type::open(name, 2ms, ec));
    CHECK(ec == errc::not_found);
    CHECK_FALSE(segment_type::open(name, -1s, read_only, ec));
    CHECK(ec == errc::not_found);
    CHECK_THROWS_AS(static_cast<void>(segment_type::open(name, 0s)), failure);
    const auto make = [&] { (void)segment_type::create(name, small); };
    CHECK(opened_while([&] { return segment_type::open(name, 24h); }, make));
    CHECK(segment_type::open(name, 24h, mapping_options{}));
    segment_type::remove(name);
    CHECK(opened_while([&] { return segment_type::open(name, 24h, read_only, ec); }, make));
    CHECK_FALSE(ec);
    CHECK(segment_view<Mechanism>::open(name, 1s, read_only));
    segment_type::remove(name);
    const auto make_shared = [&] { (void)shared_type::create(name, 7); };
    CHECK(*opened_while([&] { return shared_type::open(name, 24h); }, make_shared) == 7);
    CHECK(*shared_type::open(name, 1s, read_only) == 7);
    CHECK(*shared<const int, Mechanism>::open(name, 1s, read_only) == 7);
    // After other errors it does not wait.
    CHECK_FALSE(shared<float, Mechanism>::open(name, 24h, ec));
    CHECK(ec == errc::type_mismatch);
    shared_type::remove(name);
    const auto make_bytes = [&] { (void)bytes_type::create(name, 4096); };
    CHECK(opened_while([&] { return bytes_type::open(name, 24h, ec); }, make_bytes).size() == 4096);
    CHECK(bytes_type::open(name, 1s, read_only).size() == 4096);
    bytes_type::remove(name);
}

TEST_CASE("replace puts a new segment under the name") {
    const std::string name = support::own_name("replace");
    const auto first = segment<>::replace(name, small); // there was none
    first.construct<int>("x", 1);
    const auto second = segment<>::replace(name, small);
    CHECK(first.is_removed());
    CHECK_FALSE(second.is_removed());
    CHECK(segment<>::replace(name, 131072).size() == 131072);
    CHECK(second.is_removed());
    CHECK(*first.find<int>("x") == 1);
    CHECK(second.find<int>("x") == nullptr);
    CHECK(segment<>::open_or_create(name, small).find<int>("x") == nullptr);
    CHECK(segment<>::remove(name));
}

TEST_CASE_TEMPLATE("a session ends with its last process", Mechanism, mechanism::posix,
                   mechanism::system_v) {
    using named = segment<Mechanism>;
    const std::string name = support::own_name("session");
    std::error_code ec;
    {
        auto first = named::create(name, session);
        CHECK(first.lifetime() == lifetime::session);
        {
            const auto second = named::open(name);
            first = named();
            CHECK_FALSE(second.is_removed());
            CHECK(static_cast<bool>(named::open(name, read_only)));
        }
        CHECK_FALSE(static_cast<bool>(named::open(name, ec)));
        CHECK(ec == errc::not_found);
    }
    // A segment whose users are all dead counts as absent.
    const support::ending how = support::run_child([&] {
        auto lost = named::create(name, session);
        ::kill(::getpid(), SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    {
        const auto next = named::create(name, session);
        CHECK(next.used() == 0);
    }
    // A forked child is not a user of it.
    const auto parents = named::create(name, session);
    support::check_child([&] {
        auto inherited = std::move(const_cast<named&>(parents));
        inherited = named();
    });
    CHECK_FALSE(parents.is_removed());
    CHECK(static_cast<bool>(named::open(name)));
}

TEST_CASE("names that others create at the same time") {
    const std::string name = support::own_name("made");
    auto made = segment<>::open_or_create(name, small);
    auto& ready = made.construct<std::atomic<std::uint32_t>>("sum", 0u);
    {
        support::child one([&] {
            for (int i = 0; i < 500; ++i) {
                const auto mine = segment<>::open_or_create(name, small);
                auto& each =
                    mine.find_or_construct<std::atomic<std::uint32_t>>("n" + std::to_string(i), 0u);
                ++each;
                ++*mine.find<std::atomic<std::uint32_t>>("sum");
            }
        });
        for (int i = 0; i < 500; ++i) {
            ++made.find_or_construct<std::atomic<std::uint32_t>>("n" + std::to_string(i), 0u);
            ++ready;
        }
        CHECK(one.wait().code == 0);
    }
    CHECK(ready == 1000);
    CHECK(made.objects().size() == 501);
    bool all = true;
    for (int i = 0; i < 500; ++i) {
        all = all && *made.find<std::atomic<std::uint32_t>>("n" + std::to_string(i)) == 2;
    }
    CHECK(all);
    CHECK(segment<>::remove(name));
}

namespace {

struct labelled {
    int id;
    char label[16];
    short sides[2][3];
    double weight;
};

} // namespace

TEST_CASE("a plain struct with arrays takes its arguments member by member") {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1U << 16);
    auto& bob = segment.construct<labelled>("bob", 1, "bob");
    CHECK(bob.id == 1);
    CHECK(std::string(bob.label) == "bob");
    CHECK(bob.label[15] == 0);
    CHECK(bob.sides[1][2] == 0);
    const short sides[1][3] = {{1, 2, 3}};
    auto& eve = segment.find_or_construct<labelled>("eve", 2, "fifteen letters", sides, 2.5);
    CHECK(std::string(eve.label) == "fifteen letters");
    CHECK(eve.sides[0][2] == 3);
    CHECK(eve.sides[1][0] == 0);
    CHECK(eve.weight == 2.5);
}

namespace {

struct throwing {
    explicit throwing(bool of_memory) : text(100, 'x') {
        if (of_memory) {
            throw std::bad_alloc();
        }
        throw std::runtime_error("on purpose");
    }

    shm_string text;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<throwing> = true;

TEST_CASE("the forms with an error code give that of a constructor without memory") {
    using anonymous = segment<mechanism::anonymous>;
    const auto full = anonymous::create({.size = 65536, .reserve = 65536});
    full.construct<int>("warm", 1);
    const std::string text(70000, 'x');
    const std::size_t before = full.used();
    std::error_code ec;
    CHECK(full.construct<shm_string>("n", ec, text) == nullptr);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(last_failure().code() == ec);
    CHECK(std::string(last_failure().what()).find("70016 bytes") != std::string::npos);
    CHECK(full.find_or_construct<shm_string>("n", ec, text) == nullptr);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(full.construct<throwing>("n", ec, true) == nullptr);
    CHECK(ec == errc::out_of_space);
    CHECK(last_failure().code() == ec);
    CHECK_THROWS_AS(full.construct<shm_string>("n", text), failure);
    CHECK_THROWS_AS(full.find_or_construct<throwing>("n", true), std::bad_alloc);
    CHECK_THROWS_AS(full.construct<throwing>("n", ec, false), std::runtime_error);
    CHECK_THROWS_AS(full.find_or_construct<throwing>("n", ec, false), std::runtime_error);
    CHECK(full.used() == before);
    CHECK(full.objects().size() == 1);
    CHECK(full.construct<shm_string>("n", ec, 1000U, 'x') != nullptr);
    CHECK(!ec);

    // A section around it stays as it is.
    auto& number = full.construct<shm_guarded<int>>("guarded", 1);
    number.with([&](int& value) {
        value = 2;
        CHECK(full.construct<shm_string>("m", ec, text) == nullptr);
        value = 3;
    });
    CHECK(ec == errc::reserve_exceeded);
    CHECK(number.with([](int& value) { return value; }) == 3);
    CHECK(full.find<shm_string>("m") == nullptr);
    CHECK(full.destroy<shm_guarded<int>>("guarded"));
}

namespace {

template <class Segment>
void trim_and_count(const Segment& made) {
    CAPTURE(Segment::mechanism_type::label);
    auto memory = made.template allocator<char>();
    const auto block = memory.allocate(4 << 20);
    const auto behind = memory.allocate(100000);
    CHECK(made.committed() == made.size());
    memory.deallocate(block, 4 << 20);
    const std::size_t given = made.trim();
    CHECK(given >= (4 << 20) - 8192);
    CHECK(made.committed() == made.size() - given);
    CHECK(made.trim() == 0);
    std::memset(behind.get(), 1, 100000);
    const auto again = memory.allocate(4 << 20);
    std::memset(again.get(), 1, 4 << 20);
    CHECK(made.committed() >= 4 << 20);
}

} // namespace

TEST_CASE("free memory goes back to the kernel, with every mechanism") {
    const std::string name = support::own_name("trim");
    trim_and_count(segment<>::create(name, 65536));
    CHECK(segment<>::remove(name));
    trim_and_count(segment<mechanism::memfd>::create(65536));
    trim_and_count(segment<mechanism::anonymous>::create(65536));
    trim_and_count(segment<mechanism::system_v>::create(name, 65536));
    CHECK(segment<mechanism::system_v>::remove(name));
    std::error_code ec;
    CHECK(segment<>().trim(ec) == 0);
    CHECK(ec == errc::empty_handle);
    CHECK(segment<>().committed() == 0);
    CHECK_THROWS_AS(segment<>().trim(), failure);
}

struct alignas(1 << 21) wide {
    int value = 7;
};

TEST_CASE("objects of large alignment are aligned in every mapping") {
    const auto made = segment<mechanism::memfd>::create({.size = 65536, .reserve = 32 << 20});
    const wide& object = made.construct<wide>("wide");
    const auto other = segment<mechanism::memfd>::adopt({::dup(made.native_handle().value)});
    for (const wide* each : {&object, static_cast<const wide*>(other.find<wide>("wide"))}) {
        CHECK(reinterpret_cast<std::uintptr_t>(each) % alignof(wide) == 0);
        CHECK(each->value == 7);
    }
    CHECK(made.destroy<wide>("wide"));
}
