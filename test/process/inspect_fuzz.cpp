// Whatever the bytes of a segment are, even while another process changes them: looking at it from
// outside ends, reads nothing else, and reports damage or shows the contents.
//
//   inspect_fuzz            10,000 segments at rest, as many while a writer works
//   FUZZ_SEED=N FUZZ_COUNT=N inspect_fuzz
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include <atomic>
#include <string>
#include <thread>

#include "support/bytes_source.hpp"
#include "support/damage.hpp"
#include "support/process.hpp"

#if __has_include("../../docs/examples/inspect/show.hpp")
#include "../../docs/examples/inspect/show.hpp"
#define HAS_TOOL 1
#else
#define HAS_TOOL 0
#endif

using namespace cohold;
using namespace support;

namespace {

// A segment with a long history, in which this thread is in the middle of something.
specimen some_segment() {
    const auto made = segment<mechanism::memfd>::create({.size = 65536, .reserve = 1 << 20});
    for (int i = 0; i < 40; ++i) {
        made.construct<std::int64_t[20]>("array " + std::to_string(i));
        made.construct<shm_vector<int>>("vector " + std::to_string(i)).resize(10);
    }
    for (int i = 0; i < 40; i += 3) {
        made.destroy<std::int64_t[20]>("array " + std::to_string(i));
    }
    std::thread([&] { made.construct<int>("of another thread"); }).join();
    auto& many = made.construct<std::int64_t[400]>("many");
    std::error_code ec;
    auto& header =
        *static_cast<detail::segment_header*>(const_cast<void*>(made.mapping().address()));
    detail::section open(detail::self(header, ec), true);
    for (std::int64_t& each : many) { // enough records for a second block
        open->save(&each, sizeof each, ec);
    }
    open->save(many, sizeof many, ec); // and a block with a copy
    const segment_contents found = inspect_contents(made.native_handle());
    CHECK(found.is_good());
    specimen out(
        std::string(static_cast<const char*>(made.mapping().address()), made.mapping().size()),
        found);
    open.roll_back();
    return out;
}

// Everything that a program may do with the result for a segment of at most that many bytes.
void use(const segment_contents& found, std::size_t largest) {
    static_cast<void>(found.is_good());
    static_cast<void>(found.is_mendable());
    std::size_t sum = 0;
    for (const stored_object& each : found.objects) {
        sum += each.name.size() + each.type.size() + each.description.size();
    }
    bool sane = sum <= largest;
    REQUIRE(found.flaws.size() <= 200);
#if HAS_TOOL
    for (const int each : inspector::heap_cells(found.heap, 64)) {
        sane = sane && each >= 0 && each <= 3;
    }
    inspector::json out;
    inspector::write_contents(out.begin('{'), found).end('}');
#endif
    REQUIRE(sane);
}

} // namespace

TEST_CASE("damaged segments") {
    const specimen sound = some_segment();
    const std::uint64_t seed = from_environment("FUZZ_SEED", 1);
    const std::uint64_t count = from_environment("FUZZ_COUNT", 10000);
    std::uint64_t noticed = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        CAPTURE(seed + i);
        engine random(seed + i);
        support::bytes_source source(mutated(sound, random));
        source.participants = random() % 2 == 0 ? verdict::dead : verdict::alive;
        const segment_contents found = detail::examine_contents(source);
        use(found, source.bytes.size());
        if (i % 8 == 0) {
            use(detail::examine_contents(source, contents_extent::counts), source.bytes.size());
        }
        // Each page is read once, as long as all fit; and each word is followed once.
        REQUIRE(source.reads < 20000);
        noticed += found.is_good() ? 0u : 1u;
    }
    CHECK(noticed > count / 2);
}

TEST_CASE("damaged segments while another process writes to them") {
    const specimen sound = some_segment();
    const std::uint64_t seed = from_environment("FUZZ_SEED", 1);
    const std::uint64_t count = from_environment("FUZZ_COUNT", 10000);
    const detail::unique_fd file = detail::memory_file(0);
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(sound.bytes.size())) == 0);
    const auto write = [&file](const void* from, std::size_t bytes, std::uint64_t at) {
        return ::pwrite(file.get(), from, bytes, static_cast<off_t>(at)) ==
               static_cast<ssize_t>(bytes);
    };
    std::atomic<bool> done{false};

    struct joined {
        std::atomic<bool>& done;
        std::thread thread;

        ~joined() { join(); }

        void join() {
            done = true;
            if (thread.joinable()) {
                thread.join();
            }
        }
    };

    joined writer{done, std::thread([&] {
                      engine random(seed);
                      while (!done) {
                          const change what = some_change(sound, random);
                          write(&what.value, sizeof what.value, what.at);
                          ::usleep(20);
                          write(sound.bytes.data() + what.at, 8, what.at);
                      }
                  })};
    for (std::uint64_t i = 0; i < count; ++i) {
        CAPTURE(seed + i);
        engine random(seed + i);
        const std::string bytes = mutated(sound, random);
        if (bytes.size() < sound.bytes.size()) { // truncated under the reader
            REQUIRE(::ftruncate(file.get(), static_cast<off_t>(bytes.size())) == 0);
        }
        REQUIRE(write(bytes.data(), bytes.size(), 0));
        const detail::file_source source({file.get()});
        use(i % 500 == 0 ? inspect_contents(file_descriptor{file.get()})
                         : detail::examine_contents(source),
            sound.bytes.size());
    }
    writer.join();
    // The writer caused it: an intact segment is recognized.
    REQUIRE(write(sound.bytes.data(), sound.bytes.size(), 0));
    CHECK(inspect_contents(file_descriptor{file.get()}).is_mendable());
}
