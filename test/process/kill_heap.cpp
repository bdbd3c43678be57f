// A process that is killed at any moment while it resizes blocks, gives memory back to the kernel
// and takes it again, or grows containers where they are, beside another one that does so, too: the
// containers stay whole, and so does the heap.
//
//   kill_heap                    a short form
//   KILL_HEAP_ROUNDS=2000 kill_heap
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include "support/child.hpp"

namespace {

using namespace cohold;
using namespace std::chrono_literals;
using numbers = shm_vector<std::uint32_t>;

// Blocks that no other process knows, with a byte of their own.
class private_blocks {
  public:
    private_blocks(const segment<>& where, unsigned seed)
        : where_(where), memory_(where.allocator<char>()), random_(seed) {}

    // False if a block has lost a byte.
    [[nodiscard]] bool step() {
        block& each = blocks_[random_() % blocks_.size()];
        const std::size_t bytes = 1 + random_() % 20000;
        if (each.at != nullptr &&
            std::count(each.at.get(), each.at.get() + each.bytes, each.filled) !=
                static_cast<std::ptrdiff_t>(each.bytes)) {
            return false;
        }
        switch (random_() % 8) {
        case 0:
            where_.trim();
            break;
        case 1:
        case 2:
        case 3:
            if (each.at != nullptr && memory_.resize_in_place(each.at, bytes)) {
                fill(each, bytes);
            }
            break;
        case 4:
            each.at = memory_.reallocate(each.at, each.bytes, bytes);
            fill(each, bytes);
            break;
        default:
            memory_.deallocate(each.at, each.bytes);
            each = {};
        }
        return true;
    }

    void free_all() {
        for (block& each : blocks_) {
            memory_.deallocate(each.at, each.bytes);
            each = {};
        }
    }

  private:
    struct block {
        offset_ptr<char> at = nullptr;
        std::size_t bytes = 0;
        char filled = 0;
    };

    void fill(block& each, std::size_t bytes) {
        each.bytes = bytes;
        each.filled = static_cast<char>(random_());
        std::memset(each.at.get(), each.filled, bytes);
    }

    const segment<>& where_;
    shm_allocator<char> memory_;
    std::mt19937 random_;
    std::array<block, 6> blocks_{};
};

[[noreturn]] void work(const segment<>& mine, unsigned seed) {
    numbers& all = *mine.find<numbers>("numbers");
    shm_string& text = *mine.find<shm_string>("text");
    private_blocks blocks(mine, seed);
    std::mt19937 random(seed);
    for (;;) {
        for (auto count = random() % 500; count > 0; --count) {
            all.push_back(static_cast<std::uint32_t>(all.size()));
        }
        text.append(random() % 3000, 'x');
        if (all.size() > 30000) {
            all.resize(random() % 3000);
            all.shrink_to_fit();
        }
        if (text.size() > 100000) {
            text.erase(random() % 3000);
            text.shrink_to_fit();
        }
        CHILD_CHECK(blocks.step());
    }
}

} // namespace

TEST_CASE("killed while blocks change their size and memory comes and goes") {
    const char* const asked = std::getenv("KILL_HEAP_ROUNDS");
    const int rounds = asked == nullptr ? 60 : std::atoi(asked);
    const std::string name = support::own_name("kill_heap");
    const auto here = segment<>::create(name, {.size = 65536, .reserve = std::size_t{256} << 20});
    const numbers& all = here.construct<numbers>("numbers");
    const shm_string& text = here.construct<shm_string>("text");
    private_blocks blocks(here, 1);
    std::mt19937 random(7);
    for (int round = 0; round < rounds; ++round) {
        CAPTURE(round);
        support::child victim(
            [&] { work(segment<>::open(name), static_cast<unsigned>(round) + 100); });
        const auto until = std::chrono::steady_clock::now() + 3ms + random() % 9000 * 1us;
        while (std::chrono::steady_clock::now() < until) {
            REQUIRE(blocks.step());
        }
        ::kill(victim.id(), SIGKILL);
        CHECK(victim.wait().signal == SIGKILL);
        const auto last = std::chrono::steady_clock::now() + 10s;
        while (here.participants().size() > 1 && std::chrono::steady_clock::now() < last) {
            here.recover();
            std::this_thread::sleep_for(100us);
        }
        REQUIRE(here.participants().size() == 1);

        std::size_t wrong = 0;
        for (std::size_t i = 0; i < all.size(); ++i) {
            wrong += all[i] != i ? 1U : 0U;
        }
        CHECK(wrong == 0);
        CHECK(all.size() <= all.capacity());
        CHECK(std::string_view(text).find_first_not_of('x') == std::string_view::npos);
        CHECK(text.c_str()[text.size()] == '\0');
        std::error_code ec;
        const segment_contents found = inspect_contents(name, ec);
        REQUIRE_FALSE(ec);
        CHECK(found.heap.complete);
        CHECK(found.flaw_count == 0);
        if (!found.flaws.empty()) {
            MESSAGE(found.flaws[0].what << " at " << found.flaws[0].offset);
        }
    }
    blocks.free_all();
    CHECK(segment<>::remove(name));
}
