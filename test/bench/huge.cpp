// Huge pages against ordinary ones: making and touching 256 MiB, and reading them at random.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

using bench::contest;
using bench::sample;
using cohold::huge_pages;
using cohold::mapping_options;

constexpr std::size_t bytes = std::size_t{256} << 20;
constexpr std::size_t page = 4096;
constexpr std::size_t reads = std::size_t{1} << 20;

template <class Mechanism>
cohold::memory_object<Mechanism> make() {
    if constexpr (Mechanism::names == cohold::name_form::none) {
        return cohold::memory_object<Mechanism>::create(bytes);
    } else {
        const std::string name = bench::own_name("huge");
        auto object = cohold::memory_object<Mechanism>::create(name, bytes);
        cohold::memory_object<Mechanism>::remove(name);
        return object;
    }
}

void touch(std::byte* at) {
    for (std::size_t offset = 0; offset < bytes; offset += page) {
        at[offset] = std::byte{1};
    }
}

// The mapping may not have got what it asked for: then there is nothing to compare.
void check_report(const cohold::mapped_region& region, bool huge) {
    const cohold::mapping_report found = report(region.mapping());
    if (huge ? found.huge_bytes < bytes / 10 * 9 : found.huge_bytes != 0) {
        std::fprintf(stderr, "%llu of %zu bytes by huge pages, wanted %s\n",
                     static_cast<unsigned long long>(found.huge_bytes), bytes,
                     huge ? "all" : "none");
    }
}

template <class Mechanism>
sample made_and_touched(const mapping_options& options) {
    return bench::time_of(1, [&] {
        const auto object = make<Mechanism>();
        touch(object.map(options).data());
    });
}

// Existing pages in a new mapping.
template <class Mechanism>
sample touched(const mapping_options& options) {
    const auto object = make<Mechanism>();
    const cohold::mapped_region region = object.map(options);
    const double time = bench::time_of(bytes / page, [&] { touch(region.data()); });
    check_report(region, options.huge != huge_pages::none);
    return time;
}

// Each address depends on the value read before.
sample read_at_random(const cohold::mapped_region& region) {
    const auto* const words = reinterpret_cast<const std::uint64_t*>(region.data());
    std::uint64_t next = 1;
    const double time = bench::time_of(reads, [&] {
        for (std::size_t i = 0; i < reads; ++i) {
            next = next * 6364136223846793005u + 1442695040888963407u + words[next >> 39];
        }
    });
    bench::keep(next);
    return time;
}

static_assert(bytes / 8 == std::size_t{1} << 25); // the shift relies on it

template <class Mechanism>
contest reading(const char* name, int rounds) {
    const auto large = make<Mechanism>();
    const auto small = make<Mechanism>();
    const cohold::mapped_region huge = large.map({.populate = true, .huge = huge_pages::collapse});
    const cohold::mapped_region plain = small.map({.populate = true});
    check_report(huge, true);
    check_report(plain, false);
    contest row(name);
    row.add("huge pages", [&] { return read_at_random(huge); });
    row.add("4 KiB pages", [&] { return read_at_random(plain); });
    row.measure(rounds);
    contest result(name); // without the parts that refer to the memory
    return result.join(row);
}

template <class Mechanism>
contest touching(const char* name, sample (*run)(const mapping_options&), int rounds) {
    contest row(name);
    row.add("huge pages", [run] { return run({.huge = huge_pages::collapse}); });
    row.add("4 KiB pages", [run] { return run({}); });
    row.add("4 KiB pages, populated", [run] { return run({.populate = true}); });
    row.add("4 KiB pages, populated by all cpus",
            [run] { return run({.populate = true, .threads = 0}); });
    return std::move(row.measure(rounds));
}

} // namespace

int main(int argc, char** argv) {
    using cohold::mechanism::memfd;
    using cohold::mechanism::posix;
    const bench::settings settings(argc, argv);
    const int rounds = settings.rounds(15);

    std::printf("\n\"cohold\" is huge_pages::collapse here, the others are mappings of cohold with "
                "other options.\n");
    bench::table("Huge pages: 256 MiB made, mapped and touched", "ms", 1e-6, bench::shown::time)
        .print({touching<memfd>("memfd", made_and_touched<memfd>, rounds),
                touching<posix>("posix", made_and_touched<posix>, rounds)});
    bench::table("Huge pages: first touch of a page, in a new mapping of memory that is there",
                 "ns", 1, bench::shown::time)
        .print({touching<memfd>("memfd", touched<memfd>, rounds),
                touching<posix>("posix", touched<posix>, rounds)});
    bench::table("Huge pages: 256 MiB read at random", "ns", 1, bench::shown::time)
        .print({reading<memfd>("memfd", rounds * 3), reading<posix>("posix", rounds * 3)});
}
