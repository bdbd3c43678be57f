// The types that differently built programs share here, and their values.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_INTEROP_CATALOGUE_HPP
#define COHOLD_TEST_INTEROP_CATALOGUE_HPP

#include <array>
#include <atomic>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <cohold/cohold.hpp>

namespace catalogue {

using cohold::concurrency;
using cohold::shm_queue;
using cohold::shm_string;
using cohold::shm_vector;

using numbers = shm_vector<int>;
using row = shm_vector<std::uint64_t>;
using table = shm_vector<row>;

enum class colour : std::uint8_t { red, green, blue };

struct point {
    std::int32_t x;
    std::int32_t y;
};

// A template over a type that is long on one side and long long on the other.
template <class T, std::size_t Count>
struct samples {
    alignas(8) T at[Count];
    alignas(8) std::uint64_t when;
};

struct record {
    std::uint32_t id;
    colour shade;
    bool active;
    wchar_t initial;
    std::array<std::int16_t, 3> parts;
    char label[8];
    std::pair<std::int32_t, float> range;
    std::optional<std::int32_t> limit;
    std::complex<float> phase;
    samples<std::int64_t, 2> last;
    shm_vector<std::int32_t> history;
    shm_string remark;
    cohold::shm_basic_string<char16_t> title;
    cohold::shm_map<std::int64_t, shm_string> notes;
    point corners[2];
};

struct counters {
    std::atomic<std::int32_t> small;
    std::atomic<bool> flag;
    alignas(8) std::atomic<std::uint64_t> large;
};

// clang names it and its member without the inline namespace, g++ with it.
inline namespace edition_2 {

struct price {
    std::int32_t cents;
};

struct offer {
    price each;
    std::optional<price> before;
};

} // namespace edition_2

// Two types, whatever a compiler does with namespaces.
namespace v1 {
struct amount {
    std::int32_t value;
};
} // namespace v1

namespace v2 {
struct amount {
    std::int32_t value;
};
} // namespace v2

// These differ between 32 and 64 bit: i386 aligns 8 bytes in a struct to 4 only.
struct skewed {
    std::int32_t before;
    double value;
};

struct skewed_deep {
    std::int32_t id;
    point where;
    skewed inner;
    shm_vector<std::int32_t> tail;
};

struct skewed_word {
    std::int32_t before;
    std::size_t word;
};

using skewed_pair = std::pair<std::int32_t, std::int64_t>;
using skewed_optional = std::optional<std::uint64_t>;

// Elements of the race: the peer that made each, and its number there.
struct ticket {
    std::uint32_t maker;
    std::uint32_t number;
};

inline void require(bool good, const char* what, std::size_t where = 0) {
    if (!good) {
        throw std::runtime_error(std::string(what) + " at " + std::to_string(where));
    }
}

inline int number_at(std::size_t i) {
    return static_cast<int>(i) * 7 - 3;
}

inline std::uint64_t cell_at(std::size_t i, std::size_t j) {
    return (static_cast<std::uint64_t>(i) + 1) << 33 | j;
}

inline std::uint64_t cell_sum(std::size_t i, std::size_t count) {
    return count * ((static_cast<std::uint64_t>(i) + 1) << 33) + count * (count - 1) / 2;
}

inline void set(record& r, std::size_t i) {
    const auto n = static_cast<std::int32_t>(i);
    r.id = static_cast<std::uint32_t>(i);
    r.shade = static_cast<colour>(i % 3);
    r.active = i % 2 != 0;
    r.initial = static_cast<wchar_t>(0x1f600 + n);
    r.parts = {static_cast<std::int16_t>(n), static_cast<std::int16_t>(-n), 77};
    std::snprintf(r.label, sizeof r.label, "r%u", static_cast<unsigned>(i % 1000));
    r.range = {-n, static_cast<float>(n) / 2};
    r.limit = i % 4 == 0 ? std::nullopt : std::optional<std::int32_t>(n);
    r.phase = {static_cast<float>(n), -1.5F};
    r.last.at[0] = -static_cast<std::int64_t>(i) << 40;
    r.last.at[1] = static_cast<std::int64_t>(i);
    r.last.when = cell_at(i, 0);
    r.history.assign(i % 7, n);
    r.remark.assign(i % 40, 'r');
    r.title.assign(i % 20, u'\u00fc');
    r.notes.clear();
    for (std::size_t j = 0; j < i % 5; ++j) { // not in order
        r.notes.insert_or_assign(static_cast<std::int64_t>(j * 3 % 5), r.remark);
    }
    r.corners[0] = {n, 1};
    r.corners[1] = {2, n};
}

inline bool is(const record& r, std::size_t i) {
    const auto n = static_cast<std::int32_t>(i);
    bool good = r.id == i && r.shade == static_cast<colour>(i % 3) && r.active == (i % 2 != 0) &&
                r.initial == static_cast<wchar_t>(0x1f600 + n) && r.parts[0] == n &&
                r.parts[1] == -n && r.parts[2] == 77 && r.label == "r" + std::to_string(i % 1000) &&
                r.range.first == -n && r.range.second == static_cast<float>(n) / 2 &&
                r.phase.real() == static_cast<float>(n) && r.phase.imag() == -1.5F &&
                r.last.at[0] == -static_cast<std::int64_t>(i) << 40 && r.last.at[1] == n &&
                r.last.when == cell_at(i, 0) && r.history.size() == i % 7 && r.corners[0].x == n &&
                r.corners[0].y == 1 && r.corners[1].x == 2 && r.corners[1].y == n;
    good = good && (i % 4 == 0 ? !r.limit.has_value() : r.limit == n);
    good = good && r.remark == std::string(i % 40, 'r') &&
           r.title == std::u16string(i % 20, u'\u00fc');
    good = good && r.notes.size() == i % 5;
    for (const auto& [key, note] : r.notes) {
        good = good && key >= 0 && key < 5 && note == r.remark;
    }
    for (const std::int32_t each : r.history) {
        good = good && each == n;
    }
    return good;
}

} // namespace catalogue

#endif
