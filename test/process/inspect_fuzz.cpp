// Whatever the bytes of a segment are, and while somebody is changing them: looking at it from
// outside ends, reads nothing else, and says that it is damaged or shows what is there.
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
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/bytes_source.hpp"
#include "support/process.hpp"

#if __has_include("../../docs/examples/inspect/show.hpp")
#include "../../docs/examples/inspect/show.hpp"
#define HAS_TOOL 1
#else
#define HAS_TOOL 0
#endif

using namespace cohold;

namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::uint64_t word_at(const std::string& bytes, std::uint64_t at) {
    std::uint64_t out = 0;
    std::memcpy(&out, bytes.data() + at, sizeof out);
    return out;
}

// The bytes of a segment in which a good deal has happened, and in which this thread is in the
// middle of something; and where its structures are.
struct specimen {
    std::string bytes;
    std::vector<std::uint64_t> words;   // offsets that mean something
    std::vector<std::uint64_t> targets; // what such words may point to

    specimen() {
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
        for (std::int64_t& each : many) { // so many records that they take a second block
            open.record().save(&each, sizeof each, ec);
        }
        open.record().save(many, sizeof many, ec); // and a block with a copy
        bytes.assign(static_cast<const char*>(made.mapping().address()), made.mapping().size());
        CHECK(inspect_contents(made.native_handle()).is_good());
        find_words(inspect_contents(made.native_handle()));
        open.roll_back();
    }

  private:
    void add(std::uint64_t from, std::uint64_t to) {
        for (std::uint64_t at = from / 8 * 8; at + 8 <= to && at + 8 <= bytes.size(); at += 8) {
            words.push_back(at);
        }
    }

    void find_words(const segment_contents& found) {
        add(0, 80);
        add(592, 704);
        add(4096, 4096 + 3 * 64);
        constexpr std::uint64_t heap = detail::heap::offset;
        add(heap, heap + 368);
        add(heap + 5616, heap + 5624 + 64);
        for (std::uint64_t at = heap + 368; at < heap + 5616; at += 8) {
            if (word_at(bytes, at) != 0) {
                words.push_back(at);
            }
        }
        for (const heap_extent& each : found.heap.blocks) {
            add(each.offset - 16, each.offset + 16);
            targets.push_back(each.offset);
            targets.push_back(each.offset - 16);
        }
        add(detail::directory::offset, detail::directory::offset + 32);
        const std::uint64_t table = word_at(bytes, detail::directory::offset + 16);
        add(table, table + 16 + 8 * word_at(bytes, table));
        for (const stored_journal& each : found.journals) {
            add(each.offset, each.offset + 1024);
            const std::uint64_t chunk = word_at(bytes, each.offset + 64);
            add(chunk, chunk == 0 ? 0 : chunk + 1024);
        }
        for (std::uint64_t i = 0; i < word_at(bytes, table); ++i) {
            const std::uint64_t entry = word_at(bytes, table + 16 + 8 * i) & 0xffffffffffff;
            if (entry > 1) {
                add(entry, entry + 64);
                targets.push_back(entry);
            }
        }
    }
};

struct change {
    std::uint64_t at;
    std::uint64_t value;
};

using engine = std::mt19937_64;

// A number below `end`.
std::size_t below(std::size_t end, engine& random) {
    return static_cast<std::size_t>(random() % end);
}

// Of the kinds that break a program that believes: nothing, everything, itself, somebody else,
// just beyond the end, hardly different.
change some_change(const specimen& of, engine& random) {
    const std::uint64_t at = random() % 8 == 0 ? random() % (of.bytes.size() / 8) * 8
                                               : of.words[below(of.words.size(), random)];
    const std::uint64_t old = word_at(of.bytes, at);
    const auto target = [&] { return of.targets[below(of.targets.size(), random)]; };
    switch (random() % 16) {
    case 0:
        return {at, 0};
    case 1:
        return {at, ~std::uint64_t{0}};
    case 2:
        return {at, at};
    case 3:
        return {at, at - 16};
    case 4:
    case 5:
        return {at, target()};
    case 6:
        return {at, (old & 0xffff000000000001u) | (target() & 0x0000fffffffffffeu)};
    case 7:
        return {at, of.bytes.size() - random() % 3 * 8};
    case 8:
        return {at, std::uint64_t{1} << random() % 64};
    case 9:
        return {at, old ^ std::uint64_t{1} << random() % 64};
    case 10:
        return {at, old + 8 * (random() % 9) - 32};
    case 11:
        return {at, old | 0x0000fffffffffff0u}; // a length, and nothing else
    case 12:
        return {at, word_at(of.bytes, of.words[below(of.words.size(), random)])};
    case 13:
        return {at, random() % 200};
    case 14: // a list of free blocks, or of journals, that goes round
        return {at, (target() + 16 * (random() % 2))};
    default:
        return {at, random()};
    }
}

void put(std::string& bytes, const change& what) {
    std::memcpy(bytes.data() + what.at, &what.value, sizeof what.value);
}

// So that the rest of the header is looked at, too.
void seal_header(std::string& bytes) {
    detail::segment_header header{};
    std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
    put(bytes, {offsetof(detail::segment_header, checksum), header.expected_checksum()});
}

std::string mutated(const specimen& of, engine& random) {
    std::string bytes = of.bytes;
    for (std::uint64_t left = random() % 6 + 1; left != 0; --left) {
        put(bytes, some_change(of, random));
    }
    if (random() % 2 == 0) {
        seal_header(bytes);
    }
    if (random() % 16 == 0) {
        put(bytes, {detail::heap::offset + 5616, random() % 130}); // something is half changed
    }
    if (random() % 32 == 0) {
        bytes.resize(below(bytes.size() + 1, random));
    }
    return bytes;
}

// All that anybody may do with what was found in so many bytes at most.
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
    const specimen sound;
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
        // Each page is read once, as long as all fit; and each word that leads on leads once.
        REQUIRE(source.reads < 20000);
        noticed += found.is_good() ? 0u : 1u;
    }
    CHECK(noticed > count / 2);
}

TEST_CASE("damaged segments while somebody writes to them") {
    const specimen sound;
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
    // It was the writer: what is whole is seen so.
    REQUIRE(write(sound.bytes.data(), sound.bytes.size(), 0));
    CHECK(inspect_contents(file_descriptor{file.get()}).is_mendable());
}
