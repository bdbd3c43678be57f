// Two mappings of one segment in one process, at different addresses, used by threads at the same
// time as if they were two processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cohold/cohold.hpp>

using namespace cohold;

namespace {

using row = shm_vector<std::uint64_t>;
using table = shm_vector<row>;
using queue = shm_queue<std::uint64_t>;

constexpr segment_options small{.size = 16384, .reserve = std::size_t{64} << 20};

// Constructs another named object, through another mapping, during its own construction.
struct planted {
    explicit planted(const segment<>& other) : inner(3, 7) {
        other.construct<row>("leaf", std::size_t{2}, std::uint64_t{5});
    }

    row inner;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<planted> = true;

namespace {

// One segment, twice.
template <class Mechanism>
struct twice {
    using segment = cohold::segment<Mechanism>;

    static constexpr bool named =
        !std::same_as<typename Mechanism::default_naming, naming::unnamed>;

    twice()
        : name((std::same_as<Mechanism, mechanism::file> ? "/tmp/" : "") +
               ("cohold-test-twice-" + std::to_string(getpid()))) {
        if constexpr (named) {
            segment::remove(name); // left by a killed process with the same number
            first = segment::create(name, small);
            second = segment::open(name);
        } else {
            first = segment::create(small);
            auto native = first.native_handle();
            if constexpr (std::same_as<decltype(native), file_descriptor>) {
                native.value = dup(native.value);
            }
            second = segment::adopt(native);
        }
    }

    twice(const twice&) = delete;
    twice& operator=(const twice&) = delete;

    ~twice() {
        if constexpr (named) {
            segment::remove(name);
        }
    }

    std::string name;
    segment first;
    segment second;
};

std::uint64_t cell(std::size_t i, std::size_t j) {
    return std::uint64_t{i} << 32 | j;
}

void grow(table& cells, std::size_t rows, std::size_t columns) {
    while (cells.size() < rows) {
        cells.emplace_back();
    }
    for (std::size_t i = 0; i < rows; ++i) {
        while (cells[i].size() < columns) {
            cells[i].push_back(cell(i, cells[i].size()));
        }
    }
}

bool holds(const table& cells, std::size_t rows, std::size_t columns) {
    bool good = cells.size() == rows;
    for (std::size_t i = 0; good && i < rows; ++i) {
        good = cells[i].size() == columns;
        for (std::size_t j = 0; good && j < columns; ++j) {
            good = cells[i][j] == cell(i, j);
        }
    }
    return good;
}

// Copies bytes from one mapping to the other.
template <class T>
std::intptr_t distance(const T* from, const T* to) {
    return static_cast<std::intptr_t>(reinterpret_cast<std::uintptr_t>(to) -
                                      reinterpret_cast<std::uintptr_t>(from));
}

} // namespace

#define NAMED mechanism::posix, mechanism::system_v, mechanism::file
#define MECHANISMS NAMED, mechanism::memfd

TEST_CASE_TEMPLATE("objects made in one mapping are found, grown and destroyed in the other",
                   Mechanism, MECHANISMS) {
    twice<Mechanism> s;
    auto& mine = s.first.template construct<table>("table");
    auto* const theirs = s.second.template find<table>("table");
    REQUIRE(theirs != nullptr);
    REQUIRE(theirs != &mine);
    grow(mine, 10, 10);
    CHECK(holds(*theirs, 10, 10));
    const std::size_t size = s.first.size();
    grow(*theirs, 300, 300); // each reaches what the other has added to the segment
    CHECK(s.first.size() > size);
    CHECK(s.first.size() == s.second.size());
    CHECK(holds(mine, 300, 300));
    grow(mine, 301, 400);
    CHECK(holds(*theirs, 301, 400));
    CHECK(distance(&mine, theirs) == distance(mine.data(), theirs->data()));
    CHECK(distance(&mine, theirs) == distance(mine[7].data(), (*theirs)[7].data()));
    theirs->erase(theirs->begin());
    mine.shrink_to_fit();
    CHECK((*theirs)[0][3] == cell(1, 3));
    CHECK(s.first.objects().size() == s.second.objects().size());
    CHECK(s.second.template destroy<table>("table"));
    CHECK(s.first.template find<table>("table") == nullptr);
}

TEST_CASE("allocators of two mappings are unequal, and elements are copied between them") {
    twice<mechanism::posix> s;
    CHECK(s.first.allocator<int>() == s.first.allocator<int>());
    CHECK(s.first.allocator<int>() != s.second.allocator<int>());
    CHECK(s.first.allocator<int>() != shm_allocator<int>());

    auto& mine = s.first.construct<table>("mine");
    grow(mine, 5, 5);
    auto& theirs = s.second.construct<table>("theirs", mine);
    CHECK(theirs.get_allocator() == s.second.allocator<row>());
    CHECK(theirs[4].get_allocator() == s.second.allocator<std::uint64_t>());
    CHECK(holds(theirs, 5, 5));
    CHECK(holds(mine, 5, 5));

    // A move cannot take over memory at an address of another mapping.
    const std::uint64_t* const before = mine[0].data();
    table& moved = s.second.construct<table>("moved");
    moved = std::move(mine);
    CHECK(holds(moved, 5, 5));
    CHECK(distance(s.first.find<table>("moved")->data()->data(), before) != 0);
    CHECK(moved[0].get_allocator() == s.second.allocator<std::uint64_t>());

    // Within one mapping it can.
    const std::uint64_t* const cells = moved[0].data();
    table& stolen = s.second.construct<table>("stolen");
    stolen = std::move(moved);
    CHECK(stolen[0].data() == cells);

    const std::size_t used = s.first.used();
    s.first.destroy<table>("stolen");
    s.second.destroy<table>("mine");
    s.first.destroy<table>("moved");
    s.second.destroy<table>("theirs");
    CHECK(s.first.used() < used);
    CHECK(s.first.objects().empty());
}

TEST_CASE_TEMPLATE("pushed in one mapping, popped in the other, by threads", Mechanism,
                   MECHANISMS) {
    twice<Mechanism> s;
    constexpr std::uint64_t count = 20000;
    auto& in = s.first.template construct<queue>("queue", 10U);
    auto& out = *s.second.template find<queue>("queue");
    auto& rows_in = s.first.template construct<shm_queue<row>>("rows", 10U);
    auto& rows_out = *s.second.template find<shm_queue<row>>("rows");
    std::thread producer([&] {
        for (std::uint64_t i = 0; i < count; ++i) {
            in.push(i);
        }
        in.close();
    });
    std::thread maker([&] {
        for (std::uint64_t i = 0; i < count / 10; ++i) {
            row made(s.first.template allocator<std::uint64_t>());
            made.assign(static_cast<std::size_t>(i % 40), i);
            rows_in.push(std::move(made));
        }
        rows_in.close();
    });
    int wrong = 0;
    std::thread taker([&] {
        std::uint64_t next = 0;
        while (std::optional<row> got = rows_out.pop()) {
            // Grown and freed through another mapping than that of its creation.
            got->push_back(next);
            wrong += got->size() != next % 40 + 1 || got->front() != next ? 1 : 0;
            ++next;
        }
        wrong += next == count / 10 ? 0 : 1;
    });
    std::uint64_t next = 0;
    while (const std::optional<std::uint64_t> got = out.pop()) {
        CHECK(*got == next);
        ++next;
    }
    producer.join();
    maker.join();
    taker.join();
    CHECK(next == count);
    CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("names are made and destroyed through both at the same time", Mechanism,
                   MECHANISMS) {
    twice<Mechanism> s;
    std::atomic<int> made{0};
    std::atomic<int> destroyed{0};
    std::atomic<int> wrong{0};
    s.first.template construct<row>("warm");
    s.first.template destroy<row>("warm");
    const auto work = [&](const auto& mine, const auto& other, std::uint64_t tag) {
        for (int round = 0; round < 300; ++round) {
            std::error_code ec;
            const std::string contested = "name" + std::to_string(round % 7);
            if (mine.template construct<row>(contested, ec, std::size_t{20}, tag) != nullptr) {
                ++made;
            } else if (ec != errc::already_exists) {
                ++wrong;
            }
            destroyed += other.template destroy<row>(contested, ec) ? 1 : 0;
            wrong += ec ? 1 : 0;
            // Used by no other thread.
            const std::string own = "own" + std::to_string(tag) + std::to_string(round);
            row& numbers = mine.template find_or_construct<row>(own);
            numbers.assign(std::size_t{50}, tag);
            const row* const again = other.template find<row>(own);
            wrong += again != nullptr && again->size() == 50 && again->back() == tag ? 0 : 1;
            wrong += other.template destroy<row>(own) ? 0 : 1;
        }
    };
    std::thread thread([&] { work(s.first, s.second, 1); });
    work(s.second, s.first, 2);
    thread.join();
    CHECK(wrong == 0);
    CHECK(made > 0);
    CHECK(made == destroyed + static_cast<int>(s.first.objects().size()));
    for (const object_info& each : s.first.objects()) {
        CHECK(s.second.template destroy<row>(each.name));
    }
    CHECK(s.second.objects().empty());
}

TEST_CASE_TEMPLATE("the heap serves both at the same time, and grows through either", Mechanism,
                   MECHANISMS) {
    twice<Mechanism> s;
    const std::size_t used = s.first.used();
    std::atomic<int> wrong{0};
    const auto work = [&](const auto& segment, std::uint64_t tag) {
        std::vector<row> rows;
        for (std::size_t i = 0; i < 3000; ++i) {
            rows.emplace_back(segment.template allocator<std::uint64_t>());
            rows.back().resize(i % 97 * (i % 13), tag);
            if (i % 3 == 2) {
                const std::size_t victim = i * 7919 % rows.size();
                for (const std::uint64_t each : rows[victim]) {
                    wrong += each == tag ? 0 : 1;
                }
                std::swap(rows[victim], rows.back());
                rows.pop_back();
            }
        }
        for (const row& cells : rows) {
            for (const std::uint64_t each : cells) {
                wrong += each == tag ? 0 : 1;
            }
        }
    };
    const std::size_t size = s.first.size();
    std::thread thread([&] { work(s.first, 1); });
    work(s.second, 2);
    thread.join();
    CHECK(wrong == 0);
    CHECK(s.first.used() == used);
    CHECK(s.first.size() > size);
}

TEST_CASE("construction in one mapping can construct through the other") {
    twice<mechanism::posix> s;
    const auto& made = s.first.construct<planted>("planted", s.second);
    CHECK(made.inner.get_allocator() == s.first.allocator<std::uint64_t>());
    CHECK(s.first.find<row>("leaf")->get_allocator() == s.first.allocator<std::uint64_t>());
    CHECK(s.second.destroy<planted>("planted"));
    CHECK(s.first.destroy<row>("leaf"));
}

TEST_CASE("members of plain structs are bound to the mapping that they are seen through") {
    struct plain {
        row inner[2];
        std::uint32_t id;
    };

    twice<mechanism::posix> s;
    auto& made = s.first.construct<plain>("plain");
    CHECK(made.inner[1].get_allocator() == s.first.allocator<std::uint64_t>());
    auto* const seen = s.second.find<plain>("plain");
    REQUIRE(seen != nullptr);
    CHECK(seen->inner[1].get_allocator() == s.second.allocator<std::uint64_t>());
    seen->inner[1].assign(1000, 3);
    CHECK(made.inner[1].back() == 3);
}

TEST_CASE("one mapping is removed, the other stays") {
    twice<mechanism::posix> s;
    auto& mine = s.first.construct<table>("table");
    grow(mine, 10, 10);
    s.first = {};
    auto* const theirs = s.second.find<table>("table");
    REQUIRE(theirs != nullptr);
    grow(*theirs, 200, 200);
    s.first = segment<>::open(s.name);
    CHECK(holds(*s.first.find<table>("table"), 200, 200));
}
