// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/memory.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <sys/syscall.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/child.hpp"
#include "support/seccomp.hpp"

namespace {

// With EINVAL like gVisor; with 0, which is success, like the user mode of qemu 7.
void answer_wiping(int error) {
    support::refuse_call(SYS_madvise, error,
                         {.index = 2, .first = MADV_WIPEONFORK, .last = MADV_WIPEONFORK});
}

void check_page() {
    const std::size_t bytes = cohold::detail::page_size();
    void* const page =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHILD_CHECK(page != MAP_FAILED);
    auto* const first = static_cast<char*>(page);
    std::memset(first, 'x', bytes);
    CHILD_CHECK(cohold::detail::wipe_on_fork(page));
    support::check_child([&] { CHILD_CHECK((first[0] == '\0' && first[bytes - 1] == '\0')); });
    CHILD_CHECK((first[0] == 'x' && first[bytes - 1] == 'x'));
    cohold::detail::forget_wiped(page);
    ::munmap(page, bytes);
    support::check_child([] {}); // nothing is written in its former place
}

} // namespace

TEST_CASE("cells are zero, apart from each other, and cleared in a forked child") {
    using cohold::detail::wiped_cells;
    constexpr std::size_t count = 150; // more than a page has
    std::uint64_t* cells[count];
    for (std::uint64_t*& each : cells) {
        each = static_cast<std::uint64_t*>(wiped_cells::take());
        REQUIRE(each != nullptr);
        for (std::size_t i = 0; i < wiped_cells::size / 8; ++i) {
            CHECK(each[i] == 0);
            each[i] = static_cast<std::uint64_t>(&each - cells) + 1;
        }
    }
    support::check_child([&] {
        for (const std::uint64_t* each : cells) {
            CHILD_CHECK((each[0] == 0 && each[7] == 0));
        }
        auto* const another = static_cast<std::uint64_t*>(wiped_cells::take());
        for (const std::uint64_t* each : cells) {
            CHILD_CHECK(each != another); // its parent's are not free
        }
        wiped_cells::give_back(cells[3]);
        int taken = 1;
        while (taken < 1000 && wiped_cells::take() != cells[3]) {
            ++taken;
        }
        CHILD_CHECK(taken < 1000);
    });
    for (std::size_t i = 0; i < count; ++i) {
        CHECK((cells[i][0] == i + 1 && cells[i][7] == i + 1));
        wiped_cells::give_back(cells[i]);
        CHECK((cells[i][0] == 0 && cells[i][7] == 0));
    }
    void* const again = wiped_cells::take();
    CHECK(std::any_of(cells, cells + count, [&](void* each) { return each == again; }));
    wiped_cells::give_back(again);
}

TEST_CASE("a forked child finds the page cleared, whether the kernel does it or not") {
    support::check_child([] { check_page(); });
    for (const int error : {EINVAL, 0}) {
        support::check_child([error] {
            answer_wiping(error);
            check_page();
        });
    }
}

TEST_CASE("where the kernel clears no pages, a forked child is a participant of its own") {
    using guarded = cohold::shm_guarded<int>;
    int error = 0;
    SUBCASE("it says so") {
        error = EINVAL;
    }
    SUBCASE("it says that it does") {
    }
    support::check_child([error] {
        answer_wiping(error);
        for (int i = 0; i < 1000; ++i) { // so that none is left that the kernel clears
            CHILD_CHECK(cohold::detail::wiped_cells::take() != nullptr);
        }
        auto segment = cohold::segment<cohold::mechanism::memfd>::create(65536);
        auto& value = segment.construct<guarded>("value", 1);
        auto held = std::make_optional(value.lock());
        support::check_child([&] {
            held.reset(); // does nothing
            CHILD_CHECK(!value.try_lock());
            CHILD_CHECK(segment.participants().size() == 2);
        });
        **held = 2;
        held.reset();
        support::check_child([&] {
            *value.lock() = 3;
            const auto left = value.lock();
            *left = 4;
            std::_Exit(0);
        });
        CHILD_CHECK(*value.lock() == 3);
    });
}
