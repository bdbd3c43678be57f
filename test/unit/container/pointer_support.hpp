// What the tests of pointers share: a segment, objects that count themselves or throw, and a way to
// leave a segment no memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_UNIT_CONTAINER_POINTER_SUPPORT_HPP
#define COHOLD_TEST_UNIT_CONTAINER_POINTER_SUPPORT_HPP

#include <atomic>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <vector>

#include <cohold/container/shm_allocator.hpp>
#include <cohold/container/shm_string.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/anonymous.hpp>

namespace pointer_test {

using anonymous = cohold::segment<cohold::mechanism::anonymous>;

inline anonymous fresh(std::size_t size = 1 << 20) {
    return anonymous::create(size);
}

// Counts its living instances.
struct tallied {
    static inline std::atomic<int> live = 0;

    static int alive() { return live.load(); }

    tallied() { ++live; }

    explicit tallied(int start) : value(start) { ++live; }

    tallied(const tallied&) = delete;
    tallied& operator=(const tallied&) = delete;

    ~tallied() { --live; }

    int value = 0;
};

struct thrower {
    explicit thrower(int) : numbers(100, 7) { throw std::runtime_error("on purpose"); }

    cohold::shm_vector<int> numbers;
};

// Of each three, the last one that is made throws.
struct third_throws {
    static inline int made = 0;

    third_throws() : numbers(100, 7) {
        if (++made % 3 == 0) {
            throw std::runtime_error("on purpose");
        }
    }

    cohold::shm_vector<int> numbers;
};

// Has memory in the segment when its constructor says that there is none in the process.
struct starving {
    explicit starving(int) : numbers(100, 7) { throw std::bad_alloc(); }

    cohold::shm_vector<int> numbers;
};

// Its constructor needs more memory than any segment here has.
struct greedy {
    explicit greedy(int) : numbers(100, 7), text(std::size_t{1} << 30, 'x') {}

    cohold::shm_vector<int> numbers;
    cohold::shm_string text;
};

// Takes all memory of a segment, and frees it again.
class filling {
  public:
    explicit filling(const anonymous& where) : where_(where.allocator<char>()) {
        for (std::size_t size = 1 << 20; size != 0; size /= 2) {
            while (const auto block = where_.try_allocate(size)) {
                blocks_.push_back(block.get());
            }
        }
    }

    filling(const filling&) = delete;
    filling& operator=(const filling&) = delete;

    ~filling() {
        for (char* const each : blocks_) {
            where_.deallocate(each, 1);
        }
    }

  private:
    cohold::shm_allocator<char> where_;
    std::vector<char*> blocks_;
};

} // namespace pointer_test

template <>
inline constexpr bool cohold::enable_shareable<pointer_test::tallied> = true;
template <>
inline constexpr bool cohold::enable_shareable<pointer_test::thrower> = true;
template <>
inline constexpr bool cohold::enable_shareable<pointer_test::third_throws> = true;
template <>
inline constexpr bool cohold::enable_shareable<pointer_test::starving> = true;
template <>
inline constexpr bool cohold::enable_shareable<pointer_test::greedy> = true;

#endif
