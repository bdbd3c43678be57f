// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/thread.hpp>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/child.hpp"

namespace {

int state() {
    int found = 0;
    ::pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &found);
    ::pthread_setcancelstate(found, nullptr);
    return found;
}

// In a thread that will be cancelled at the next point where that is possible.
template <class Work>
void cancelled_before(Work work) {
    ::pthread_t thread{};
    const auto run = [](void* with) -> void* {
        ::pthread_cancel(::pthread_self());
        (*static_cast<Work*>(with))();
        return with;
    };
    REQUIRE(::pthread_create(&thread, nullptr, run, &work) == 0);
    void* result = nullptr;
    REQUIRE(::pthread_join(thread, &result) == 0);
    CHECK(result == &work); // it ran to its end
}

} // namespace

TEST_CASE("nested scopes restore the previous state at the end") {
    CHECK(state() == PTHREAD_CANCEL_ENABLE);
    {
        const cohold::detail::uncancelled outer;
        {
            const cohold::detail::uncancelled inner;
            CHECK(state() == PTHREAD_CANCEL_DISABLE);
        }
        CHECK(state() == PTHREAD_CANCEL_DISABLE);
    }
    CHECK(state() == PTHREAD_CANCEL_ENABLE);
}

TEST_CASE("a thread under cancellation creates, grows, opens and removes segments") {
    const std::string name = support::own_name("uncancelled");
    cancelled_before([&] {
        auto segment = cohold::segment<>::create(name, {.size = 65536, .populate = true});
        segment.construct<cohold::shm_guarded<int>>("value", 1);
        segment.grow(1 << 20);
        segment.mapping().durable();
        const auto other = cohold::segment<>::open(name);
        static_cast<void>(*other.find<cohold::shm_guarded<int>>("value")->lock());
        static_cast<void>(cohold::segment<>::open(name, cohold::read_only).participants());
        static_cast<void>(other.recover());
        cohold::segment<>::remove(name);
    });
    cancelled_before([&] {
        const auto memory = cohold::memory_object<cohold::mechanism::memfd>::create(65536);
        memory.map().durable();
    });
}
