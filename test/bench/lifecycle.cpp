// Creating, opening and removing segments, compared with Boost and with bare system calls.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <boost/interprocess/managed_shared_memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::bound;
using bench::contest;
using bench::sample;

constexpr std::size_t mebibyte = std::size_t{1} << 20;
constexpr int repeats = 10;

template <class Work>
sample repeated(Work&& work) {
    return bench::time_of(repeats, [&] {
        for (int i = 0; i < repeats; ++i) {
            work();
        }
    });
}

enum class space { reserved, promised };

// The least work of creating an object, with or without its pages.
void create_raw(const char* name, std::size_t bytes, space pages) {
    const int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bench::check(file >= 0, "shm_open");
    const auto length = static_cast<off_t>(bytes);
    bench::check(
        (pages == space::reserved ? fallocate(file, 0, 0, length) : ftruncate(file, length)) == 0,
        "fallocate or ftruncate");
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    bench::check(memory != MAP_FAILED, "mmap");
    *static_cast<volatile int*>(memory) = 1;
    bench::check(munmap(memory, bytes) == 0, "munmap");
    close(file);
}

void open_raw(const char* name, std::size_t bytes) {
    const int file = shm_open(name, O_RDWR | O_CLOEXEC, 0);
    bench::check(file >= 0, "shm_open");
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    bench::check(memory != MAP_FAILED, "mmap");
    bench::check(*static_cast<volatile int*>(memory) == 1, "contents");
    bench::check(munmap(memory, bytes) == 0, "munmap");
    close(file);
}

contest create_and_remove(const char* title, std::size_t bytes, std::vector<bench::goal> goals,
                          int rounds) {
    const std::string ours = bench::own_name("create");
    const std::string raw = "/" + bench::own_name("create-raw");
    const std::string boosts = bench::own_name("create-boost");
    contest row(title, std::move(goals));
    row.add("cohold", [&] {
        return repeated([&] {
            bench::check(static_cast<bool>(cohold::segment<>::create(ours, bytes)), "create");
            bench::check(cohold::segment<>::remove(ours), "remove");
        });
    });
    row.add("raw, fallocate", [&] {
        return repeated([&] {
            create_raw(raw.c_str(), bytes, space::reserved);
            bench::check(shm_unlink(raw.c_str()) == 0, "shm_unlink");
        });
    });
    row.add("raw, ftruncate of 1 MiB", [&] {
        return repeated([&] {
            create_raw(raw.c_str(), mebibyte, space::promised);
            bench::check(shm_unlink(raw.c_str()) == 0, "shm_unlink");
        });
    });
    row.add("boost managed", [&] {
        return repeated([&] {
            {
                bip::managed_shared_memory made(bip::create_only, boosts.c_str(), bytes);
            }
            bench::check(bip::shared_memory_object::remove(boosts.c_str()), "remove");
        });
    });
    return row.measure(rounds);
}

contest open_and_find(int rounds) {
    const std::string ours = bench::own_name("open");
    const std::string raw = "/" + bench::own_name("open-raw");
    const std::string boosts = bench::own_name("open-boost");
    cohold::segment<>::create(ours, mebibyte).construct<int>("object", 1);
    create_raw(raw.c_str(), mebibyte, space::reserved);
    bip::managed_shared_memory(bip::create_only, boosts.c_str(), mebibyte)
        .construct<int>("object")(1);

    contest row("open, find an object, close: 1 MiB",
                {{bound::at_most, 2, {"raw open"}}, {bound::at_most, 1.5, {"boost managed"}}});
    row.add("cohold", [&] {
        return repeated([&] {
            const auto opened = cohold::segment<>::open(ours);
            bench::check(*opened.find<int>("object") == 1, "find");
        });
    });
    row.add("raw open", [&] { return repeated([&] { open_raw(raw.c_str(), mebibyte); }); });
    row.add("boost managed", [&] {
        return repeated([&] {
            bip::managed_shared_memory opened(bip::open_only, boosts.c_str());
            bench::check(*opened.find<int>("object").first == 1, "find");
        });
    });
    row.measure(rounds);

    bench::check(cohold::segment<>::remove(ours), "remove");
    bench::check(shm_unlink(raw.c_str()) == 0, "shm_unlink");
    bench::check(bip::shared_memory_object::remove(boosts.c_str()), "remove");
    return row;
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    const int rounds = settings.rounds(150);
    bench::table("Life cycle", "µs", 1e-3, bench::shown::time)
        .print(
            {create_and_remove("create, close, remove: 1 MiB", mebibyte,
                               {{bound::at_most, 1.1, {"raw, fallocate"}}}, rounds),
             create_and_remove("create, close, remove: default size", cohold::config::default_size,
                               {{bound::at_most, 2, {"raw, fallocate"}}}, rounds),
             open_and_find(rounds)});
}
