// Segments with damaged bytes: words with a meaning in a good specimen become values that break a
// program that trusts them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_DAMAGE_HPP
#define COHOLD_TEST_SUPPORT_DAMAGE_HPP

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

namespace support {

inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

inline std::uint64_t word_at(const std::string& bytes, std::uint64_t at) {
    std::uint64_t out = 0;
    std::memcpy(&out, bytes.data() + at, sizeof out);
    return out;
}

// The bytes of a segment, and the positions of its structures.
struct specimen {
    std::string bytes;
    std::vector<std::uint64_t> words;   // offsets of words with a meaning
    std::vector<std::uint64_t> targets; // what such words may point to

    specimen(std::string all, const cohold::segment_contents& found) : bytes(std::move(all)) {
        find_words(found);
    }

  private:
    void add(std::uint64_t from, std::uint64_t to) {
        for (std::uint64_t at = from / 8 * 8; at + 8 <= to && at + 8 <= bytes.size(); at += 8) {
            words.push_back(at);
        }
    }

    void find_words(const cohold::segment_contents& found) {
        add(0, 80);
        add(592, 704);
        add(4096, 4096 + 3 * 64);
        constexpr std::uint64_t heap = cohold::detail::heap::offset;
        add(heap, heap + 368);
        add(heap + 5616, heap + 5624 + 64);
        for (std::uint64_t at = heap + 368; at < heap + 5616; at += 8) {
            if (word_at(bytes, at) != 0) {
                words.push_back(at);
            }
        }
        for (const cohold::heap_extent& each : found.heap.blocks) {
            add(each.offset - 16, each.offset + 16);
            targets.push_back(each.offset);
            targets.push_back(each.offset - 16);
        }
        add(cohold::detail::directory::offset, cohold::detail::directory::offset + 32);
        const std::uint64_t table = word_at(bytes, cohold::detail::directory::offset + 16);
        add(table, table + 16 + 8 * word_at(bytes, table));
        for (const cohold::stored_journal& each : found.journals) {
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
inline std::size_t below(std::size_t end, engine& random) {
    return static_cast<std::size_t>(random() % end);
}

// Kinds of values that break a trusting program: zero, all ones, the word's own offset, another
// structure's, just beyond the end, slightly different.
inline change some_change(const specimen& of, engine& random) {
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
    case 14: // a cyclic list of free blocks, or of journals
        return {at, (target() + 16 * (random() % 2))};
    default:
        return {at, random()};
    }
}

inline void put(std::string& bytes, const change& what) {
    std::memcpy(bytes.data() + what.at, &what.value, sizeof what.value);
}

// So that the rest of the header is looked at, too.
inline void seal_header(std::string& bytes) {
    cohold::detail::segment_header header{};
    std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
    put(bytes, {offsetof(cohold::detail::segment_header, checksum), header.expected_checksum()});
}

inline std::string mutated(const specimen& of, engine& random) {
    std::string bytes = of.bytes;
    for (std::uint64_t left = random() % 6 + 1; left != 0; --left) {
        put(bytes, some_change(of, random));
    }
    if (random() % 2 == 0) {
        seal_header(bytes);
    }
    if (random() % 16 == 0) {
        put(bytes, {cohold::detail::heap::offset + 5616, random() % 130}); // a change is under way
    }
    if (random() % 32 == 0) {
        bytes.resize(below(bytes.size() + 1, random));
    }
    return bytes;
}

} // namespace support

#endif
