// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/segment_state.hpp>

#include <string>

#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

constexpr segment_options small{.size = 65536, .reserve = 1 << 20};
constexpr segment_options of_session{
    .size = 65536, .reserve = 1 << 20, .lifetime = lifetime::session};

// A process that is killed while it uses the segment.
template <class Use>
void die_using(const Use& use) {
    const support::ending how = support::run_child([&] {
        use();
        ::raise(SIGKILL);
    });
    INFO(how.text);
    CHECK(how.signal == SIGKILL);
}

} // namespace

TEST_CASE_TEMPLATE("a segment describes itself and its users", Mechanism, mechanism::posix,
                   mechanism::system_v) {
    using own_segment = segment<Mechanism>;
    const std::string name = support::own_name("state");
    {
        auto made = own_segment::create(name, small);
        segment_state state = inspect_segment<Mechanism>(name);
        CHECK(state.standing == standing::in_use);
        CHECK(state.is_segment());
        CHECK_FALSE(state.problem);
        CHECK(state.layout_version == COHOLD_LAYOUT_VERSION);
        CHECK(state.lifetime == lifetime::persistent);
        CHECK(state.name == name);
        CHECK(state.size == made.size());
        CHECK(state.reserve == made.capacity());
        CHECK(state.created > 1600000000000000000);
        made.template construct<int>("x");
        state = inspect_segment<Mechanism>(name);
        CHECK(state.standing == standing::in_use);
        REQUIRE(state.participants.size() == 1);
        CHECK(state.participants[0].pid == ::getpid());
        CHECK(state.participants[0].state == verdict::alive);
        CHECK(state.participants[0].self);
        CHECK(state.participants[0].attached >= state.created);
        CHECK(state.count(verdict::alive) == 1);
    }
    CHECK(inspect_segment<Mechanism>(name).standing == standing::unused);
    die_using([&] { own_segment::open(name).template construct<int>("y"); });
    segment_state state = inspect_segment<Mechanism>(name);
    CHECK(state.standing == standing::unused); // the handle was destroyed before
    die_using([&] {
        static auto kept = own_segment::open(name);
        kept.template construct<int>("z");
    });
    state = inspect_segment<Mechanism>(name);
    CHECK(state.standing == standing::abandoned);
    CHECK(state.is_stale());
    CHECK(state.count(verdict::dead) == 1);
    CHECK(inspect_segment<Mechanism>(name).standing ==
          standing::abandoned); // asking changes nothing
    CHECK(own_segment::remove(name));
    std::error_code ec;
    static_cast<void>(inspect_segment<Mechanism>(name, ec));
    CHECK(ec == errc::not_found);
    CHECK_THROWS_AS(static_cast<void>(inspect_segment<Mechanism>(name)), failure);
}

TEST_CASE_TEMPLATE("a session is over when all are dead", Mechanism, mechanism::posix,
                   mechanism::system_v) {
    using own_segment = segment<Mechanism>;
    const std::string name = support::own_name("over");
    die_using([&] {
        static auto kept = own_segment::create(name, of_session);
        CHILD_CHECK(inspect_segment<Mechanism>(name).standing == standing::in_use);
        kept.template construct<int>("x");
        CHILD_CHECK(inspect_segment<Mechanism>(name).standing == standing::in_use);
    });
    const segment_state state = inspect_segment<Mechanism>(name);
    CHECK(state.standing == standing::session_over);
    CHECK(state.lifetime == lifetime::session);
    CHECK(state.is_stale());
    CHECK(own_segment::remove(name));
}

TEST_CASE("memfds") {
    const auto made = segment<mechanism::memfd>::create(small);
    CHECK(inspect_segment(made.native_handle()).standing == standing::in_use);
    CHECK(inspect_segment(made.native_handle()).name.empty());
}

TEST_CASE("objects that are not segments, and damaged segments") {
    const detail::unique_fd file = detail::memory_file(0);
    const file_descriptor object{file.get()};
    CHECK(inspect_segment(object).standing == standing::not_a_segment);
    CHECK_FALSE(inspect_segment(object).is_segment());
    REQUIRE(::ftruncate(file.get(), 65536) == 0);
    segment_state state = inspect_segment(object);
    CHECK(state.standing == standing::not_a_segment);
    CHECK(state.problem == errc::not_a_segment);
    CHECK(inspect_segment(file_descriptor{-1}).standing == standing::not_a_segment);
    CHECK(inspect_segment(system_v_id{0x7ffffff0}).standing == standing::not_a_segment);

    const auto made = segment<mechanism::memfd>::create(small);
    std::string bytes(65536, '\0');
    REQUIRE(::pread(made.native_handle().value, bytes.data(), bytes.size(), 0) == 65536);
    const auto with = [&](std::size_t at, char value) {
        std::string changed = bytes;
        changed[at] = value;
        REQUIRE(::pwrite(file.get(), changed.data(), changed.size(), 0) == 65536);
        return inspect_segment(object);
    };
    CHECK(with(0, 'c').standing == standing::abandoned); // a copy, which no process has attached
    CHECK(with(0, 'x').standing == standing::not_a_segment);
    CHECK(with(8, 99).standing == standing::foreign);
    state = with(12, 99);
    CHECK(state.standing == standing::foreign);
    CHECK(state.layout_version == 99);
    CHECK(with(24, 99).standing == standing::damaged); // the checksum is wrong
    CHECK(with(20, 99).problem == errc::corrupt);      // of a number of participants, too
    REQUIRE(::ftruncate(file.get(), 8192) == 0);
    state = with(0, 'c');
    REQUIRE(::ftruncate(file.get(), 8192) == 0);
    state = inspect_segment(object);
    CHECK(state.standing == standing::damaged);
    CHECK(state.problem == errc::truncated);
}

TEST_CASE("a segment for another number of participants is read all the same") {
    const auto made = segment<mechanism::memfd>::create(small);
    const file_descriptor object = made.native_handle();
    detail::segment_header header{};
    REQUIRE(::pread(object.value, static_cast<void*>(&header), sizeof header, 0) ==
            static_cast<ssize_t>(sizeof header));
    header.max_participants = 7;
    header.checksum = header.expected_checksum();
    REQUIRE(::pwrite(object.value, static_cast<void*>(&header), sizeof header, 0) ==
            static_cast<ssize_t>(sizeof header));
    const segment_state state = inspect_segment(object);
    CHECK_FALSE(state.problem);
    CHECK(state.standing == standing::in_use);
    CHECK(state.size == made.size());
}

TEST_CASE("a System V segment of another program is not touched") {
    const int id = ::shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
    REQUIRE(id >= 0);
    CHECK(inspect_segment(system_v_id{id}).standing == standing::not_a_segment);
    void* const at = ::shmat(id, nullptr, SHM_RDONLY);
    CHECK_FALSE(detail::any_page_resident(at, 1 << 20));
    ::shmdt(at);
    if (::geteuid() == 0) {
        support::check_child([id] {
            CHILD_CHECK(::setgid(65534) == 0 && ::setuid(65534) == 0);
            const segment_state state = inspect_segment(system_v_id{id});
            CHILD_CHECK(state.standing == standing::unknown);
            CHILD_CHECK(state.problem == errc::permission_denied);
        });
    }
    ::shmctl(id, IPC_RMID, nullptr);
}

TEST_CASE("inspecting keeps the last failure") {
    std::error_code ec;
    static_cast<void>(segment<>::open("no such segment", ec));
    const std::string before = last_failure().what();
    static_cast<void>(inspect_segment(file_descriptor{-1}));
    CHECK(before == last_failure().what());
}

TEST_CASE("every standing has a name of its own") {
    CHECK(name_of(standing::not_a_segment) == "not a segment");
    CHECK(name_of(standing::session_over) == "session over");
    CHECK(name_of(standing::unknown) == "unknown");
}
