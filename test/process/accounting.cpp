// Where 64 MiB of shared memory are counted: for each mechanism, what Shmem, df of /dev/shm, the
// System V table and a process's own numbers say, as described in docs/inspection.md.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include <cstring>
#include <functional>
#include <string>

#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/process.hpp"
#include "support/world.hpp"

using namespace cohold;

namespace {

constexpr std::uint64_t much = std::uint64_t{64} << 20;
// A sanitizer needs memory of its own for each byte.
constexpr bool shadowed = COHOLD_TEST_SANITIZED != 0;
constexpr std::uint64_t little = std::uint64_t{4} << 20; // what a process needs in addition

// The numbers that are compared, in bytes.
struct numbers {
    std::int64_t shared = 0;    // of the machine: other programs change it, too
    std::int64_t cached = 0;    // of the machine
    std::int64_t dev_shm = 0;   // of the mount: no other process uses it
    std::int64_t system_v = 0;  // of the namespace: no other process uses it
    std::int64_t rss = 0;       // of this process
    std::int64_t pss_shmem = 0; // of this process
    std::int64_t pss_file = 0;  // of this process
    std::int64_t private_bytes = 0;
    std::int64_t shared_bytes = 0;
};

std::int64_t number(const amount& value) {
    CHILD_CHECK(value.has_value());
    return static_cast<std::int64_t>(value.value_or(0));
}

numbers now() {
    const memory_report machine = memory_usage();
    const process_report process = process_usage();
    CHILD_CHECK(machine.dev_shm && machine.system_v);
    return {number(machine.shared),
            number(machine.cached),
            static_cast<std::int64_t>(machine.dev_shm->used),
            static_cast<std::int64_t>(machine.system_v->resident + machine.system_v->swapped),
            number(process.rss),
            number(process.pss_shared),
            number(process.pss_file),
            number(process.private_clean) + number(process.private_dirty),
            number(process.shared_clean) + number(process.shared_dirty)};
}

// Exactly, where no other process can change it.
bool is_much(std::int64_t before, std::int64_t after) {
    return after - before == static_cast<std::int64_t>(much);
}

bool is_about_much(std::int64_t before, std::int64_t after) {
    const std::int64_t less = after - before - static_cast<std::int64_t>(much);
    return less > -static_cast<std::int64_t>(little) && less < static_cast<std::int64_t>(little);
}

bool is_about_nothing(std::int64_t before, std::int64_t after) {
    return after - before > -static_cast<std::int64_t>(little) &&
           after - before < static_cast<std::int64_t>(little);
}

// The expectation for one mechanism.
struct expectation {
    bool shared;
    bool dev_shm;
    bool system_v;
};

// `make` returns an owner of untouched memory, with its address in *where.
template <class Make>
void account(const expectation& wanted, const Make& make) {
    for (int attempt = 0;; ++attempt) {
        const numbers before = now();
        std::byte* where = nullptr;
        {
            const auto owner = make(where);
            const numbers touched = [&] {
                std::memset(where, 1, much);
                return now();
            }();
            CHILD_CHECK(wanted.dev_shm ? is_much(before.dev_shm, touched.dev_shm)
                                       : before.dev_shm == touched.dev_shm);
            CHILD_CHECK(wanted.system_v ? is_much(before.system_v, touched.system_v)
                                        : before.system_v == touched.system_v);
            CHILD_CHECK(shadowed || is_about_much(before.rss, touched.rss));
            // Mapped once, it counts as private, although it is shared memory.
            CHILD_CHECK(shadowed || is_about_much(before.private_bytes, touched.private_bytes));
            CHILD_CHECK(shadowed || is_about_nothing(before.shared_bytes, touched.shared_bytes));
            if (wanted.shared) {
                CHILD_CHECK(is_about_much(before.pss_shmem, touched.pss_shmem));
                CHILD_CHECK(is_about_nothing(before.pss_file, touched.pss_file));
            } else {
                CHILD_CHECK(is_about_nothing(before.pss_shmem, touched.pss_shmem));
                CHILD_CHECK(is_about_much(before.pss_file, touched.pss_file));
            }
            const mapping_residency pages = residency(where, much);
            CHILD_CHECK(pages.mapped == much && pages.resident == much && pages.rss == much);

            // A second process touches it: half of it belongs to each, and it counts as shared.
            support::common<std::atomic<int>> step;
            support::child other([&] {
                unsigned sum = 0;
                for (std::uint64_t at = 0; at < much; at += 4096) {
                    sum += static_cast<unsigned>(*static_cast<volatile std::byte*>(where + at));
                }
                CHILD_CHECK(sum == much / 4096);
                *step = 1;
                support::await(*step, 2);
            });
            support::await(*step, 1);
            const numbers both = now();
            CHILD_CHECK(shadowed || is_about_much(touched.shared_bytes, both.shared_bytes));
            CHILD_CHECK(shadowed || is_about_much(before.rss, both.rss));
            const auto half = static_cast<std::int64_t>(much / 2);
            const std::int64_t part =
                wanted.shared ? both.pss_shmem - before.pss_shmem : both.pss_file - before.pss_file;
            CHILD_CHECK(part > half - static_cast<std::int64_t>(little) &&
                        part < half + static_cast<std::int64_t>(little));
            CHILD_CHECK(both.dev_shm == touched.dev_shm); // it exists once
            *step = 2;
            CHILD_CHECK(support::status_of(other) == 0);

            // Shmem is the whole machine's, and other programs change it: sometimes they are quiet.
            const bool as_wanted =
                wanted.shared
                    ? is_about_much(before.shared, touched.shared)
                    : is_about_nothing(before.shared, touched.shared) &&
                          touched.cached - before.cached > static_cast<std::int64_t>(much / 2);
            if (!as_wanted && attempt < 40 && support::child_failures == 0) {
                continue;
            }
            CHILD_CHECK(as_wanted);
        }
        const numbers after = now();
        CHILD_CHECK(after.dev_shm == before.dev_shm);
        CHILD_CHECK(after.system_v == before.system_v);
        CHILD_CHECK(shadowed || is_about_nothing(before.rss, after.rss));
        return;
    }
}

template <class Mechanism, class Name>
auto maker(const Name& name) {
    return [name](std::byte*& where) {
        using object_type = memory_object<Mechanism>;
        struct kept {
            object_type object;
            mapped_region region;
            std::string name;

            kept(const kept&) = delete;
            kept(object_type&& made, mapped_region&& mapped, std::string called)
                : object(std::move(made)), region(std::move(mapped)), name(std::move(called)) {}

            ~kept() {
                if constexpr (Mechanism::names != name_form::none) {
                    region = {};
                    CHILD_CHECK(object_type::remove(name));
                }
            }
        };
        auto object = [&] {
            if constexpr (Mechanism::names != name_form::none) {
                return object_type::create(name, much);
            } else {
                return object_type::create(much);
            }
        }();
        auto region = object.map();
        where = region.data();
        return kept(std::move(object), std::move(region), name);
    };
}

} // namespace

TEST_CASE("POSIX objects count in Shmem and in the mount") {
    support::in_own_world(
        [] { account({true, true, false}, maker<mechanism::posix>(std::string("x"))); });
}

TEST_CASE("files of a tmpfs: Shmem, and the mount that they are on") {
    support::in_own_world([] {
        account({true, true, false}, maker<mechanism::tmpfs>(std::string("/dev/shm/x")));
        support::mount_or_exit("tmpfs", "/mnt", "size=128m");
        const std::uint64_t before = space_usage_of("/mnt").used;
        std::byte* where = nullptr;
        const auto made = maker<mechanism::tmpfs>(std::string("/mnt/x"))(where);
        CHILD_CHECK(space_usage_of("/mnt").used == before + much); // as soon as it is reserved
        CHILD_CHECK(memory_usage().dev_shm->used == 0);
    });
}

TEST_CASE("System V segments: Shmem and their table, and no mount") {
    support::in_own_world(
        [] { account({true, false, true}, maker<mechanism::system_v>(std::string("x"))); });
}

TEST_CASE("memfds: Shmem alone") {
    support::in_own_world(
        [] { account({true, false, false}, maker<mechanism::memfd>(std::string())); });
}

TEST_CASE("anonymous memory: Shmem alone") {
    support::in_own_world([] {
        // By mmap alone: a handle of anonymous memory is a mapping, and map() makes a second one,
        // which doubles the process's own numbers.
        account({true, false, false}, [](std::byte*& where) {
            void* const at =
                ::mmap(nullptr, much, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            CHILD_CHECK(at != MAP_FAILED);
            where = static_cast<std::byte*>(at);
            return mapped_region(at, much);
        });
        const numbers before = now();
        const auto object = memory_object<mechanism::anonymous>::create(much);
        const auto region = object.map();
        std::memset(region.data(), 1, much);
        const numbers twice = now();
        CHILD_CHECK(shadowed ||
                    twice.rss - before.rss > static_cast<std::int64_t>(2 * much - little));
        CHILD_CHECK(is_about_much(before.pss_shmem, twice.pss_shmem)); // each page exists once
    });
}

TEST_CASE("files of a disk: the page cache, and not Shmem") {
    // On whatever file system /var/tmp is; a tmpfs would be a different case.
    if (space_usage_of("/var/tmp").is_tmpfs) {
        return;
    }
    const std::string path = "/var/tmp/" + support::own_name("accounting");
    support::in_own_world([&] { account({false, false, false}, maker<mechanism::file>(path)); });
}

TEST_CASE("an unprivileged user finds the same") {
    support::in_world_of_nobody([] {
        account({true, true, false}, maker<mechanism::posix>(std::string("x")));
        account({true, false, true}, maker<mechanism::system_v>(std::string("x")));
        account({true, false, false}, maker<mechanism::memfd>(std::string()));
    });
}

TEST_CASE("the reserve of a segment is counted nowhere") {
    support::in_own_world([] {
        const numbers before = now();
        const amount committed = memory_usage().committed;
        const auto segment = cohold::segment<>::create("x", {.size = 1 << 20, .reserve = much});
        const numbers after = now();
        CHILD_CHECK(after.dev_shm - before.dev_shm == 1 << 20);
        CHILD_CHECK(shadowed || is_about_nothing(before.rss, after.rss));
        CHILD_CHECK(committed.has_value());
        cohold::segment<>::remove("x");
    });
}

TEST_CASE("the limit that check_limits names is the one that is hit") {
    support::in_own_world(
        [] {
            const limit_request large{.size = 2 << 20, .reserve = 2 << 20};
            const auto found = check_limits(large);
            CHILD_CHECK(found.size() == 1 && found[0].stops);
            CHILD_CHECK(std::string(found[0].limit) == "space of the file system");
            CHILD_CHECK(found[0].most == 1 << 20);
            std::error_code ec;
            CHILD_CHECK(!segment<>::create("x", {.size = 2 << 20, .reserve = 2 << 20}, ec));
            CHILD_CHECK(ec == errc::out_of_space);
            CHILD_CHECK(check_limits({.size = 1 << 19, .reserve = 1 << 19}).empty());
            CHILD_CHECK(segment<>::create("x", {.size = 1 << 19, .reserve = 1 << 19}, ec));
        },
        "size=1m");
    support::in_own_world([] {
        support::mount_or_exit("proc", "/proc", nullptr);
        const int file = ::open("/proc/sys/kernel/shmmax", O_WRONLY | O_CLOEXEC);
        CHILD_CHECK(file >= 0 && ::write(file, "1000000", 7) == 7); // of the namespace
        const auto found = check_limits({.kind = object_kind::system_v, .size = 1 << 20});
        CHILD_CHECK(found.size() == 1 && std::string(found[0].limit) == "kernel.shmmax");
        std::error_code ec;
        CHILD_CHECK(!memory_object<mechanism::system_v>::create("x", 1 << 20, ec));
        CHILD_CHECK(ec == errc::invalid_size);
        ::close(file);
    });
    support::check_child([] {
        constexpr std::size_t space = std::size_t{1} << 30;
        const ::rlimit some{space, space};
        if (!shadowed && ::setrlimit(RLIMIT_AS, &some) == 0) {
            const auto found = check_limits({.size = 65536, .reserve = space});
            bool named = false;
            for (const limit_finding& each : found) {
                named = named || (each.stops && std::string(each.limit) == "RLIMIT_AS");
            }
            CHILD_CHECK(named);
            std::error_code ec;
            CHILD_CHECK(!segment<mechanism::memfd>::create({.size = 65536, .reserve = space}, ec));
            CHILD_CHECK(ec == errc::reserve_too_large);
        }
        const ::rlimit short_file{65536, 65536};
        CHILD_CHECK(::setrlimit(RLIMIT_FSIZE, &short_file) == 0);
        ::signal(SIGXFSZ, SIG_IGN);
        const auto found = check_limits({.kind = object_kind::memfd, .size = 1 << 20});
        CHILD_CHECK(!found.empty() && std::string(found[0].limit) == "RLIMIT_FSIZE");
        std::error_code ec;
        CHILD_CHECK(!memory_object<mechanism::memfd>::create(1 << 20, ec));
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(check_limits({.kind = object_kind::anonymous, .size = 1 << 20}).empty());
    });
}
