// Lets a test see each atomic operation of the library, before it and after it: for the library's
// own code, std::atomic is a class of the same layout that calls the test. Must be included before
// any header of the library.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_SCHEDULED_HPP
#define COHOLD_TEST_CRASH_SCHEDULED_HPP

// All headers of the standard library that anything here includes: in them, nothing changes.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <bitset>
#include <cerrno>
#include <chrono>
#include <climits>
#include <compare>
#include <concepts>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <limits>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace crash {

struct observer {
    virtual void before(const volatile void* address, bool stores) = 0;
    virtual void after(const volatile void* address, bool stores, std::uint64_t value) = 0;

  protected:
    ~observer() = default;
};

inline constinit observer* observing = nullptr;

template <class T>
[[nodiscard]] std::uint64_t as_number(const T& value) noexcept {
    std::uint64_t number = 0;
    std::memcpy(&number, &value, sizeof value < 8 ? sizeof value : 8);
    return number;
}

template <class Act>
auto observed(const volatile void* address, bool stores, const Act& act) {
    if (observing == nullptr) {
        return act();
    }
    observing->before(address, stores);
    const auto result = act();
    if (observing != nullptr) {
        observing->after(address, stores, as_number(result));
    }
    return result;
}

} // namespace crash

namespace std { // NOLINT: the library names it so, by the macro below

template <class T>
struct scheduled_atomic : atomic<T> {
    using base = atomic<T>;
    using base::base;

    constexpr scheduled_atomic() noexcept = default;

    T operator=(T value) noexcept { // NOLINT: as that of std::atomic
        store(value);
        return value;
    }

    operator T() const noexcept { return load(); } // NOLINT: as that of std::atomic

    void store(T value, memory_order order = memory_order_seq_cst) noexcept {
        crash::observed(this, true, [&] {
            base::store(value, order);
            return value;
        });
    }

    [[nodiscard]] T load(memory_order order = memory_order_seq_cst) const noexcept {
        return crash::observed(this, false, [&] { return base::load(order); });
    }

    T exchange(T value, memory_order order = memory_order_seq_cst) noexcept {
        return crash::observed(this, true, [&] { return base::exchange(value, order); });
    }

    bool compare_exchange_strong(T& expected, T value, memory_order yes, memory_order no) noexcept {
        bool done = false;
        expected = crash::observed(this, true, [&] {
            T found = expected;
            done = base::compare_exchange_strong(found, value, yes, no);
            return found;
        });
        return done;
    }

    bool compare_exchange_strong(T& expected, T value,
                                 memory_order order = memory_order_seq_cst) noexcept {
        return compare_exchange_strong(expected, value, order, memory_order_acquire);
    }

    bool compare_exchange_weak(T& expected, T value, memory_order yes, memory_order no) noexcept {
        return compare_exchange_strong(expected, value, yes, no);
    }

    bool compare_exchange_weak(T& expected, T value,
                               memory_order order = memory_order_seq_cst) noexcept {
        return compare_exchange_strong(expected, value, order, memory_order_acquire);
    }

    T fetch_add(T by, memory_order order = memory_order_seq_cst) noexcept {
        return crash::observed(this, true, [&] { return base::fetch_add(by, order); });
    }

    T fetch_sub(T by, memory_order order = memory_order_seq_cst) noexcept {
        return crash::observed(this, true, [&] { return base::fetch_sub(by, order); });
    }

    T fetch_or(T bits, memory_order order = memory_order_seq_cst) noexcept {
        return crash::observed(this, true, [&] { return base::fetch_or(bits, order); });
    }

    T fetch_and(T bits, memory_order order = memory_order_seq_cst) noexcept {
        return crash::observed(this, true, [&] { return base::fetch_and(bits, order); });
    }

    T fetch_xor(T bits, memory_order order = memory_order_seq_cst) noexcept {
        return crash::observed(this, true, [&] { return base::fetch_xor(bits, order); });
    }

    T operator++() noexcept { return static_cast<T>(fetch_add(1) + 1); }

    T operator++(int) noexcept { return fetch_add(1); }

    T operator--() noexcept { return static_cast<T>(fetch_sub(1) - 1); }
};

} // namespace std

#define atomic scheduled_atomic // NOLINT: see above
// Waiting takes no time.
#define __builtin_ia32_pause() static_cast<void>(0) // NOLINT

#endif
