// All objects are listed: with their users, their owners, and which of the segments are still
// needed. As root, as an unprivileged user, and as a user without permission.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include <algorithm>
#include <string>

#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/process.hpp"
#include "support/world.hpp"

using namespace cohold;

namespace {

constexpr segment_options small{.size = 65536, .reserve = 1 << 20};
constexpr segment_options of_session{
    .size = 65536, .reserve = 1 << 20, .lifetime = lifetime::session};

const object_entry* find(const survey<object_entry>& all, object_kind kind, std::string_view name) {
    for (const object_entry& each : all) {
        if (each.kind == kind && each.name == name) {
            return &each;
        }
    }
    return nullptr;
}

bool stands(const survey<object_entry>& all, object_kind kind, std::string_view name,
            standing how) {
    const object_entry* const entry = find(all, kind, name);
    return entry != nullptr && entry->segment.standing == how;
}

std::size_t users(const survey<object_entry>& all, object_kind kind, std::string_view name) {
    const object_entry* const entry = find(all, kind, name);
    return entry == nullptr ? 99 : entry->processes.size();
}

// In a child that sees no other process.
void list_a_world() {
    CHILD_CHECK(list_objects().empty());
    CHILD_CHECK(list_objects().complete());

    // Left behind by other processes.
    support::die_in([] {
        static auto over = segment<>::create("over", of_session);
        static auto abandoned = segment<>::create("abandoned", small);
        static auto system_v = segment<mechanism::system_v>::create("0x00c00001", of_session);
        CHILD_CHECK(over && abandoned && system_v);
    });
    CHILD_CHECK(segment<>::create("unused", small).size() > 0);
    // In use by other processes.
    support::common<std::atomic<int>> step;
    support::child other([&] {
        ::prctl(PR_SET_NAME, "a b\nc) R 1");
        auto used = segment<>::create("used", of_session);
        auto system_v = segment<mechanism::system_v>::create("0x00c00002", small);
        auto memory = segment<mechanism::memfd>::create(small);
        auto reader = segment<>::open("used", read_only);
        *step = 1;
        support::await(*step, 2);
    });
    support::await(*step, 1);
    // Not cohold's.
    const detail::unique_fd odd =
        detail::open_file("/dev/shm/a b\nc (deleted)", O_RDWR | O_CREAT, 0640);
    CHILD_CHECK(::ftruncate(odd.get(), 1 << 20) == 0);
    void* const mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, odd.get(), 0);
    CHILD_CHECK(mapped != MAP_FAILED);
    ::sem_t* const semaphore = ::sem_open("/listed", O_CREAT, 0600, 1);
    CHILD_CHECK(semaphore != SEM_FAILED);
    CHILD_CHECK(::semget(0x00c00003, 3, IPC_CREAT | 0600) >= 0);
    CHILD_CHECK(::shmget(0x00c00004, 1 << 20, IPC_CREAT | 0600) >= 0);

    const survey<object_entry> all = list_objects();
    CHILD_CHECK(all.complete());
    CHILD_CHECK(stands(all, object_kind::posix, "over", standing::session_over));
    CHILD_CHECK(stands(all, object_kind::posix, "abandoned", standing::abandoned));
    CHILD_CHECK(stands(all, object_kind::posix, "unused", standing::unused));
    CHILD_CHECK(stands(all, object_kind::posix, "used", standing::in_use));
    CHILD_CHECK(stands(all, object_kind::posix, "a b\nc (deleted)", standing::not_a_segment));
    CHILD_CHECK(stands(all, object_kind::posix_semaphore, "listed", standing::not_a_segment));
    CHILD_CHECK(stands(all, object_kind::system_v, "0x00c00001", standing::session_over));
    CHILD_CHECK(stands(all, object_kind::system_v, "0x00c00002", standing::in_use));
    CHILD_CHECK(stands(all, object_kind::system_v, "0x00c00004", standing::not_a_segment));
    CHILD_CHECK(stands(all, object_kind::semaphore_set, "0x00c00003", standing::not_a_segment));
    CHILD_CHECK(stands(all, object_kind::memfd, "cohold", standing::in_use));
    CHILD_CHECK(users(all, object_kind::posix, "over") == 0);
    CHILD_CHECK(users(all, object_kind::posix, "abandoned") == 0);
    CHILD_CHECK(users(all, object_kind::posix, "used") == 1);
    CHILD_CHECK(users(all, object_kind::posix, "a b\nc (deleted)") == 1);
    CHILD_CHECK(users(all, object_kind::posix_semaphore, "listed") == 1);
    CHILD_CHECK(users(all, object_kind::system_v, "0x00c00001") == 0);
    CHILD_CHECK(users(all, object_kind::system_v, "0x00c00002") == 1);
    CHILD_CHECK(users(all, object_kind::memfd, "cohold") == 1);
    const object_entry* const used = find(all, object_kind::posix, "used");
    CHILD_CHECK(used->processes[0] == other.id());
    CHILD_CHECK(used->segment.participants.size() == 1); // readers are not participants
    CHILD_CHECK(used->segment.participants[0].pid == other.id());
    CHILD_CHECK(!used->segment.participants[0].self);
    CHILD_CHECK(find(all, object_kind::posix, "abandoned")->segment.count(verdict::dead) == 1);
    // The small System V segments beside segments are not mistaken for segments.
    std::size_t beside = 0;
    for (const object_entry& each : all) {
        beside += each.beside ? 1u : 0u;
        CHILD_CHECK(!each.beside || !each.is_segment());
    }
    CHILD_CHECK(beside == 2); // the users of 0x00c00001, and a living participant of 0x00c00002

    *step = 2;
    CHILD_CHECK(support::status_of(other) == 0);
    const survey<object_entry> later = list_objects();
    CHILD_CHECK(find(later, object_kind::posix, "used") == nullptr);
    CHILD_CHECK(find(later, object_kind::memfd, "cohold") == nullptr);
    CHILD_CHECK(stands(later, object_kind::system_v, "0x00c00002", standing::unused));
    ::munmap(mapped, 4096);
    ::sem_close(semaphore);
}

} // namespace

TEST_CASE("everything in a namespace is listed") {
    support::in_own_world([] { list_a_world(); });
}

TEST_CASE("an unprivileged user lists a namespace of their own") {
    support::in_world_of_nobody([] { list_a_world(); });
}

TEST_CASE("a user without permission is told so") {
    if (::geteuid() != 0) {
        return; // the namespace of nobody has a single user
    }
    support::in_own_world([] {
        using public_segment =
            segment<mechanism::posix, naming::verbatim, permission::everyone_reads>;
        support::common<std::atomic<int>> step;
        support::child owner([&] {
            CHILD_CHECK(::setgid(1001) == 0 && ::setuid(1001) == 0);
            auto hidden = segment<>::create("hidden", of_session);
            auto shown = public_segment::create("shown", of_session);
            auto system_v = segment<mechanism::system_v>::create("0x00c00001", small);
            auto memory = segment<mechanism::memfd>::create(small);
            *step = 1;
            support::await(*step, 2);
        });
        support::await(*step, 1);
        const auto look = [] {
            const survey<object_entry> all = list_objects();
            CHILD_CHECK(all.refused > 0);
            CHILD_CHECK(!all.complete());
            CHILD_CHECK(stands(all, object_kind::posix, "hidden", standing::unknown));
            CHILD_CHECK(stands(all, object_kind::posix, "shown", standing::in_use));
            CHILD_CHECK(stands(all, object_kind::system_v, "0x00c00001", standing::unknown));
            CHILD_CHECK(find(all, object_kind::memfd, "cohold") == nullptr);
            CHILD_CHECK(find(all, object_kind::posix, "hidden")->owner == 1001);
            CHILD_CHECK(find(all, object_kind::posix, "shown")->segment.count(verdict::alive) == 1);
            CHILD_CHECK(users(all, object_kind::posix, "shown") ==
                        0); // this is what `refused` counts
        };
        support::as_user(1002, look);
        CHILD_CHECK(!list_mappings().hidden);
        support::mount_or_exit("proc", "/proc", "hidepid=2");
        support::as_user(1002, [&] {
            const survey<shared_mapping> all = list_mappings();
            CHILD_CHECK(all.hidden);
            CHILD_CHECK(!all.complete());
            CHILD_CHECK(list_memfds().hidden);
        });
        CHILD_CHECK(list_mappings().complete()); // root sees everything all the same
        CHILD_CHECK(stands(list_objects(), object_kind::posix, "hidden", standing::in_use));
        *step = 2;
        CHILD_CHECK(support::status_of(owner) == 0);
    });
}

TEST_CASE("identifiers of another IPC namespace are not mistaken for those of this one") {
    support::in_own_world([] {
        const int id = ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
        support::common<std::atomic<int>> step;
        support::child stranger([&] {
            CHILD_CHECK(::unshare(CLONE_NEWIPC) == 0);
            const int same = ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
            CHILD_CHECK(same == id);
            CHILD_CHECK(::shmat(same, nullptr, 0) != reinterpret_cast<void*>(-1));
            *step = 1;
            support::await(*step, 2);
        });
        support::await(*step, 1);
        const auto number = static_cast<std::uint64_t>(id);
        CHILD_CHECK(mappings_of(list_mappings(), object_kind::system_v, 0, number).empty());
        void* const at = ::shmat(id, nullptr, 0);
        CHILD_CHECK(mappings_of(list_mappings(), object_kind::system_v, 0, number).size() == 1);
        ::shmdt(at);
        *step = 2;
        CHILD_CHECK(support::status_of(stranger) == 0);
    });
}

TEST_CASE("processes and objects that come and go are no problem") {
    support::in_own_world([] {
        support::common<std::atomic<int>> stop;
        support::child storm([&] {
            while (*stop == 0) {
                const pid_t one = ::fork();
                if (one == 0) {
                    auto made = segment<>::create("storm", of_session);
                    auto memory = segment<mechanism::memfd>::create(small);
                    ::_exit(0);
                }
                ::waitpid(one, nullptr, 0);
                segment<>::remove("storm");
            }
        });
        support::child cutter([&] {
            const detail::unique_fd file =
                detail::open_file("/dev/shm/cut", O_RDWR | O_CREAT, 0600);
            const auto source = segment<mechanism::memfd>::create(small);
            std::string bytes(65536, '\0');
            CHILD_CHECK(detail::read_file(source.native_handle().value, bytes.data(), bytes.size(),
                                          0) == bytes.size());
            while (*stop == 0) { // a segment, truncated at any moment
                CHILD_CHECK(detail::raw_pwrite(file.get(), bytes.data(), bytes.size(), 0) ==
                            static_cast<ssize_t>(bytes.size()));
                CHILD_CHECK(::ftruncate(file.get(), 5000) == 0);
                CHILD_CHECK(::ftruncate(file.get(), 0) == 0);
            }
        });
        for (int i = 0; i < 300; ++i) {
            std::error_code ec;
            const survey<object_entry> all = list_objects({}, ec);
            CHILD_CHECK(!ec);
            for (const object_entry& each : all) {
                CHILD_CHECK(each.name != "storm" || each.kind == object_kind::posix);
            }
            static_cast<void>(process_usage(storm.id(), ec));
            CHILD_CHECK(!ec);
        }
        *stop = 1;
        CHILD_CHECK(support::status_of(storm) == 0);
        CHILD_CHECK(support::status_of(cutter) == 0);
    });
}

TEST_CASE("without /proc, lists report that") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/proc", nullptr);
        std::error_code ec;
        CHILD_CHECK(list_system_v_segments(ec).empty());
        CHILD_CHECK(ec == errc::unsupported);
        static_cast<void>(memory_usage(ec));
        CHILD_CHECK(ec == std::errc::no_such_file_or_directory);
        static_cast<void>(process_usage(0, ec));
        CHILD_CHECK(ec == std::errc::no_such_process);
        CHILD_CHECK(list_mappings(ec).empty());
        CHILD_CHECK(!ec); // there is a /proc, with no process in it
        static_cast<void>(list_objects({.system_v = false}, ec));
        CHILD_CHECK(!ec);
        CHILD_CHECK(!limits().system_v_size.most);
    });
}
