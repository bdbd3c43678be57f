// The allocator in those containers of the standard library and of Boost that can use its pointers.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_allocator.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <ostream>
#include <type_traits>
#include <vector>

// Boost 1.74 needs what libc++ has removed from std.
#if __has_include(<boost/container/vector.hpp>) && !defined(_LIBCPP_VERSION)
#define HAS_BOOST 1
// Boost does not promise to be free of warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wextra"
#include <boost/container/deque.hpp>
#include <boost/container/flat_map.hpp>
#include <boost/container/list.hpp>
#include <boost/container/map.hpp>
#include <boost/container/set.hpp>
#include <boost/container/slist.hpp>
#include <boost/container/string.hpp>
#include <boost/container/vector.hpp>
#pragma GCC diagnostic pop
#endif

#include <doctest/doctest.h>

#include "unit/engine/scratch_segment.hpp"

using cohold::errc;
using cohold::shm_allocator;

static_assert(std::is_nothrow_default_constructible_v<shm_allocator<int>>);
static_assert(std::is_nothrow_copy_constructible_v<shm_allocator<int>>);
static_assert(std::is_nothrow_convertible_v<shm_allocator<int>, shm_allocator<double>>);
using traits = std::allocator_traits<shm_allocator<int>>;
static_assert(!traits::is_always_equal::value);
static_assert(!traits::propagate_on_container_copy_assignment::value);
static_assert(!traits::propagate_on_container_move_assignment::value);
static_assert(!traits::propagate_on_container_swap::value);
static_assert(std::is_same_v<traits::pointer, cohold::offset_ptr<int>>);
static_assert(std::is_same_v<traits::void_pointer, cohold::offset_ptr<void>>);
static_assert(std::is_same_v<traits::rebind_alloc<double>, shm_allocator<double>>);

namespace {

struct alignas(4096) page {
    char bytes[4096];
};

struct alignas(1 << 22) too_wide {
    char bytes[1 << 22];
};

bool in_segment(const scratch::segment& segment, const void* at) {
    const auto* const place = static_cast<const char*>(at);
    return place >= segment.memory().base() && place < segment.memory().base() + segment.size();
}

} // namespace

TEST_CASE("memory of the segment is aligned, and freed again") {
    const scratch::segment segment(65536, 1 << 20);
    shm_allocator<page> pages(segment.header());
    shm_allocator<char> bytes(pages);
    CHECK(bytes == pages);
    CHECK(static_cast<bool>(bytes));
    const auto one = pages.allocate(3);
    CHECK(reinterpret_cast<std::uintptr_t>(one.get()) % 4096 == 0);
    CHECK(in_segment(segment, one.get() + 2));
    const auto two = bytes.allocate(0);
    CHECK(in_segment(segment, two.get()));
    CHECK(segment.heap().used() >= 3 * 4096);
    bytes.deallocate(two, 0);
    pages.deallocate(one, 3);
    pages.deallocate(nullptr, 7);
    CHECK(segment.heap().used() == 0);
    const auto constant = shm_allocator<const int>(bytes).allocate(2);
    shm_allocator<const int>(bytes).deallocate(constant, 2);
    CHECK(segment.heap().used() == 0);
}

TEST_CASE("an allocation that fails throws, or is null") {
    const scratch::segment segment(65536, 1 << 20);
    const auto check = [](auto allocator, std::size_t count, errc code) {
        CHECK(allocator.try_allocate(count) == nullptr);
        std::error_code ec;
        CHECK(allocator.allocate(count, ec) == nullptr);
        CHECK(ec == cohold::last_failure().code());
        CHECK(ec);
        CHECK(cohold::last_failure().code() == code);
        try {
            (void)allocator.allocate(count);
            CHECK(false);
        } catch (const cohold::failure& thrown) {
            CHECK(thrown.code() == code);
        }
    };
    check(shm_allocator<int>(), 1, errc::no_segment);
    check(shm_allocator<int>(segment.header()), 1 << 20, errc::reserve_exceeded);
    check(shm_allocator<int>(segment.header()), SIZE_MAX, errc::invalid_size);
    check(shm_allocator<int>(segment.header()), SIZE_MAX / 4 + 1, errc::invalid_size);
    check(shm_allocator<too_wide>(segment.header()), 1, errc::invalid_alignment);
    const std::size_t most = shm_allocator<std::uint64_t>().max_size();
    CHECK(most == static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / 8);
    CHECK(segment.heap().used() == 0);
    CHECK(segment.size() == 65536);
}

TEST_CASE("an allocator binds to the segment that it is constructed in") {
    const scratch::segment one(65536, 1 << 20);
    const scratch::segment two(65536, 1 << 20);
    const auto again = one.again(cohold::access_mode::writing);
    using allocator = shm_allocator<int>;
    const allocator of_one(one.header());
    const allocator of_two(two.header());
    CHECK(of_one != of_two);
    CHECK(of_one != allocator(again.header())); // another mapping of the segment
    CHECK_FALSE(static_cast<bool>(allocator()));
    CHECK(allocator() == allocator());
    const allocator copy(of_one);
    CHECK(copy == of_one);
    void* const place = one.memory().base() + 20000;
    {
        const cohold::detail::construction_scope scope(&one.header());
        CHECK(*::new (place) allocator() == of_one);
        CHECK(*::new (place) allocator(of_two) == of_one);
        CHECK(*::new (place) allocator(shm_allocator<char>(of_two)) == of_one);
        CHECK(allocator() != of_one); // not in the segment
        CHECK(allocator(of_two) == of_two);
    }
    CHECK(*::new (place) allocator(of_two) == of_two); // nothing is being constructed
    allocator assigned;
    assigned = of_two;
    CHECK(assigned == of_two);

    // Objects that an allocator constructs know their segment, however deeply nested.
    struct holder {
        allocator inner[2];
        std::uint64_t more = 0;
        holder() = default;
        holder(const holder&) = default;

        ~holder() {} // not trivially copyable
    };

    shm_allocator<holder> makes(one.header());
    const auto made = makes.allocate(1);
    makes.construct(made.get());
    CHECK(made->inner[1] == of_one);
    CHECK_FALSE(static_cast<bool>(holder().inner[1]));
    makes.deallocate(made, 1);
}

TEST_CASE("std::vector in a segment") {
    const scratch::segment segment(65536, 16 << 20);
    {
        std::vector<int, shm_allocator<int>> numbers{shm_allocator<int>(segment.header())};
        for (int i = 0; i < 10000; ++i) {
            numbers.push_back(i);
        }
        numbers.insert(numbers.begin() + 5, 100, 7);
        numbers.erase(numbers.begin(), numbers.begin() + 50);
        CHECK(in_segment(segment, &numbers[0]));
        CHECK(numbers.size() == 10050);
        CHECK(numbers.back() == 9999);
        const auto copy = numbers;
        CHECK(copy == numbers);
        CHECK(copy.get_allocator() == numbers.get_allocator());
    }
    CHECK(segment.heap().used() == 0);
}

#ifdef HAS_BOOST
namespace {

namespace bc = boost::container;

// Fills and empties a container whose elements are made from int.
template <class Container, class Make>
void try_container(const scratch::segment& segment, const Make& make) {
    {
        Container all{typename Container::allocator_type(segment.header())};
        for (int i = 0; i < 2000; ++i) {
            all.insert(all.end(), make((i * 7919) % 2000));
        }
        CHECK(all.size() == 2000);
        std::size_t inside = 0;
        for (const auto& each : all) {
            inside += in_segment(segment, &each) ? 1u : 0u;
        }
        CHECK(inside == 2000);
        Container copy(all);
        CHECK(copy == all);
        copy.erase(copy.begin());
        Container moved(std::move(copy));
        CHECK(moved.size() == 1999);
        all.clear();
        CHECK(all.empty());
    }
    CHECK(segment.heap().used() == 0);
}

template <class T>
using with = shm_allocator<T>;

} // namespace

TEST_CASE("containers of Boost in a segment") {
    const scratch::segment segment(65536, 64 << 20);
    const auto number = [](int i) { return i; };
    const auto pair = [](int i) { return std::pair<const int, int>(i, i); };
    const auto loose = [](int i) { return std::pair<int, int>(i, i); };
    try_container<bc::vector<int, with<int>>>(segment, number);
    try_container<bc::deque<int, with<int>>>(segment, number);
    try_container<bc::list<int, with<int>>>(segment, number);
    try_container<bc::slist<int, with<int>>>(segment, number);
    try_container<bc::set<int, std::less<int>, with<int>>>(segment, number);
    try_container<bc::map<int, int, std::less<int>, with<std::pair<const int, int>>>>(segment,
                                                                                      pair);
    try_container<bc::flat_map<int, int, std::less<int>, with<std::pair<int, int>>>>(segment,
                                                                                     loose);
    {
        using text = bc::basic_string<char, std::char_traits<char>, with<char>>;
        text words(with<char>(segment.header()));
        for (int i = 0; i < 1000; ++i) {
            words += "more ";
        }
        CHECK(words.size() == 5000);
        CHECK(in_segment(segment, &words[4999]));
    }
    CHECK(segment.heap().used() == 0);
}

TEST_CASE("a list of Boost lives in a segment and is used through another mapping") {
    const scratch::segment segment(65536, 16 << 20);
    using numbers = bc::list<int, with<int>>;
    shm_allocator<numbers> makes(segment.header());
    const auto made = makes.allocate(1);
    makes.construct(made.get(), with<int>(segment.header()));
    for (int i = 0; i < 100; ++i) {
        made->push_back(i);
    }
    const auto again = segment.again(cohold::access_mode::writing);
    auto& there = *reinterpret_cast<numbers*>(
        again.base() + (reinterpret_cast<char*>(made.get()) - segment.memory().base()));
    int sum = 0;
    for (const int each : there) {
        sum += each;
    }
    CHECK(sum == 4950);
    there.push_back(50);
    there.pop_front();
    CHECK(made->back() == 50);
    CHECK(made->front() == 1);
    std::destroy_at(made.get());
    makes.deallocate(made, 1);
    CHECK(segment.heap().used() == 0);
}
#endif

TEST_CASE("a block is resized where it is, or moves") {
    const scratch::segment segment(65536, 1 << 20);
    shm_allocator<int> numbers(segment.header());
    auto block = numbers.allocate(1000);
    for (int i = 0; i < 1000; ++i) {
        block[i] = i;
    }
    CHECK(numbers.resize_in_place(block, 4000));
    CHECK(segment.heap().used() == 16000);
    CHECK(numbers.reallocate(block, 4000, 2000) == block);
    CHECK(segment.heap().used() == 8000);
    const auto behind = numbers.allocate(1);
    CHECK_FALSE(numbers.resize_in_place(block, 3000));
    CHECK_FALSE(numbers.resize_in_place(nullptr, 3000));
    CHECK_FALSE(numbers.resize_in_place(block, SIZE_MAX));
    const auto moved = numbers.reallocate(block, 2000, 3000);
    CHECK(moved != block);
    CHECK(segment.heap().used() == 12000 + 16);
    for (int i = 0; i < 1000; ++i) {
        REQUIRE(moved[i] == i);
    }
    std::error_code ec;
    CHECK(numbers.reallocate(moved, 3000, 1 << 20, ec) == nullptr);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(moved[999] == 999);
    CHECK(numbers.reallocate(nullptr, 0, 10, ec) != nullptr);
    CHECK_FALSE(ec);
    numbers.deallocate(behind, 1);
    // In a section it would have to be undone.
    cohold::detail::section open(segment.header(), ec);
    CHECK_FALSE(numbers.resize_in_place(moved, 2000));
}
