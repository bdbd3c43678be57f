// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/thread.hpp>

#include <thread>

#include <doctest/doctest.h>

using cohold::detail::cleanup_chain;
using cohold::detail::cleanup_entry;

namespace {

#if defined(__GLIBC__) && !defined(_LIBCPP_VERSION) // glibc does not work with its unwinder
int called = 0;
int seen_by_destructor = 0;

void count(void* by) {
    called += *static_cast<int*>(by);
}

struct looking {
    looking() = default;
    looking(const looking&) = delete;
    looking& operator=(const looking&) = delete;

    ~looking() { seen_by_destructor = called; }
};

int by[3] = {1, 10, 100};
cleanup_entry entries[3];

void* leave(void* /*unused*/) {
    {
        cleanup_chain chain;
        for (int i = 0; i < 3; ++i) {
            chain.append(entries[i], i, &count, &by[i]);
        }
        chain.remove(entries[0]);
        cleanup_chain::change(entries[1], nullptr);
    }
    const looking inner;
    ::pthread_exit(nullptr);
}

#endif

} // namespace

#if defined(__GLIBC__) && !defined(_LIBCPP_VERSION)
TEST_CASE("entries of the chain are called before an unwound thread runs destructors") {
    ::pthread_t thread{};
    REQUIRE(::pthread_create(&thread, nullptr, &leave, nullptr) == 0);
    REQUIRE(::pthread_join(thread, nullptr) == 0);
    CHECK(called == 100);
    CHECK(seen_by_destructor == 100);
}
#endif

#if defined(__GLIBC__)
TEST_CASE("each thread has its own chain, in which entries are found by their tags") {
    static cleanup_entry entry;
    int argument = 0;
    std::thread([&] {
        {
            cleanup_chain chain;
            CHECK(chain.find(7) == nullptr);
            chain.append(entry, 7, nullptr, &argument);
        }
        CHECK(cleanup_chain().find(7) == &argument);
        CHECK(cleanup_chain().find(8) == nullptr);
        std::thread([] { CHECK(cleanup_chain().find(7) == nullptr); }).join();
        cleanup_chain::change(entry, nullptr);
        CHECK(cleanup_chain().find(7) == nullptr);
        cleanup_chain().remove(entry);
    }).join();
}
#endif
