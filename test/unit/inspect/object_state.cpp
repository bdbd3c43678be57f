// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/object_state.hpp>
#include <cohold/inspect/stored_objects.hpp>

#include <array>
#include <chrono>
#include <thread>

#include <unistd.h>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

using memory = segment<mechanism::memfd>;

object_state state_of(const memory& in, std::string_view name) {
    const segment_contents found = inspect_contents(in.native_handle());
    CHECK(found.flaw_count == 0);
    for (const stored_object& each : found.objects) {
        if (each.name == name) {
            return each.state;
        }
    }
    FAIL("no object of that name");
    return {};
}

// Does this process have `count` of them, and nobody anything else?
bool is_held(const object_state& state, std::string_view what, std::uint64_t count) {
    return state.holders.size() == 1 && state.holders[0].what == what &&
           state.holders[0].count == count && state.holders[0].pid == ::getpid() &&
           state.holders[0].state == verdict::alive;
}

template <class T>
void check_queue(const T& value) {
    const auto made = memory::create(65536);
    auto& queue = made.construct<shm_queue<T>>("queue", 10);
    for (int step = 0; step < 60; ++step) { // around several times, full and empty
        const bool fills = step / 12 % 2 == 0;
        static_cast<void>(fills ? queue.try_push(value) : queue.try_pop().has_value());
        const object_state found = state_of(made, "queue");
        CHECK(found["size"] == queue.size());
        CHECK(found["capacity"] == 10);
        CHECK(found["closed"] == 0);
    }
    queue.close();
    CHECK(state_of(made, "queue")["closed"] == 1);
}

} // namespace

TEST_CASE("the state of queues") {
    check_queue<char>('a');
    check_queue<std::uint64_t>(1);
    check_queue<std::array<std::uint64_t, 3>>({1, 2, 3});
    check_queue<std::array<std::uint64_t, 8>>({1, 2, 3});
    const auto made = memory::create(65536);
    auto& ring = made.construct<
        shm_queue<int, concurrency::mpmc, waiting::adaptive, overflow::overwrite_oldest>>("ring",
                                                                                          3);
    for (int i = 0; i < 5; ++i) {
        ring.push(i);
    }
    CHECK(state_of(made, "ring")["size"] == ring.size());
    CHECK(state_of(made, "ring")["overwritten"] == ring.lost());
    auto& queue = made.construct<shm_queue<int>>("queue", 3);
    std::thread consumer([&queue] { static_cast<void>(queue.pop()); });
    while (state_of(made, "queue")["consumers wait"] == 0) {
        std::this_thread::yield();
    }
    queue.push(1);
    consumer.join();
}

TEST_CASE("the state of containers") {
    const auto made = memory::create(65536);
    made.construct<shm_vector<int>>("vector").assign(5, 1);
    made.construct<shm_list<int>>("list").assign(6, 1);
    made.construct<shm_deque<int>>("deque").assign(700, 1);
    made.construct<shm_map<int, int>>("map")[3] = 4;
    made.construct<shm_string>("short") = "four";
    made.construct<shm_string>("long") = std::string(300, 'x');
    made.construct<int>("number", 3);
    CHECK(state_of(made, "vector")["size"] == 5);
    CHECK(state_of(made, "list")["size"] == 6);
    CHECK(state_of(made, "deque")["size"] == 700);
    CHECK(state_of(made, "map")["size"] == 1);
    CHECK(state_of(made, "short")["size"] == 4);
    CHECK(state_of(made, "long")["size"] == 300);
    CHECK(state_of(made, "number").facts.empty());
}

TEST_CASE("the state of messages, pools and services") {
    const auto made = memory::create(65536);
    auto& messages = made.construct<shm_message_queue>("messages", 2000);
    for (unsigned i = 0; i < 10; ++i) {
        messages.push("a message", i % 3);
    }
    {
        const auto first = messages.pop();
        const auto second = messages.pop();
        CHECK(state_of(made, "messages")["size"] == 10);
        CHECK(state_of(made, "messages")["capacity"] == 2000);
        CHECK(is_held(state_of(made, "messages"), "messages", 2));
    }
    CHECK(state_of(made, "messages")["size"] == 8);
    CHECK(state_of(made, "messages").holders.empty());

    auto& pool = made.construct<shm_pool<std::array<int, 100>>>("pool", 4);
    auto& kept = made.construct<shm_loan<std::array<int, 100>>>("kept");
    kept = pool.loan();
    {
        const auto one = pool.loan();
        const auto two = pool.loan();
        const object_state found = state_of(made, "pool");
        CHECK(found["objects"] == 4);
        CHECK(found["available"] == 1);
        CHECK(found["in the segment"] == 1);
        CHECK(is_held(found, "loans", 2));
    }
    CHECK(state_of(made, "pool")["available"] == 3);
    CHECK(state_of(made, "pool")["least available"] == 1);
    CHECK(state_of(made, "pool").holders.empty());

    auto& service = made.construct<shm_service<int, int>>("service", 3);
    std::thread client([&service] { CHECK(service.call(1) == 2); });
    while (state_of(made, "service")["waiting"] == 0) {
        std::this_thread::yield();
    }
    auto call = service.next();
    CHECK(state_of(made, "service")["serving"] == 1);
    CHECK(is_held(state_of(made, "service"), "calls", 1));
    call.reply(2);
    client.join();
    CHECK(state_of(made, "service").holders.empty());

    auto& news = made.construct<shm_broadcast<int>>("news", 4);
    auto& latest = made.construct<shm_latest<int>>("latest");
    news.publish(1);
    latest.store(1);
    latest.store(2);
    const auto claim = news.claim();
    CHECK(state_of(made, "news")["published"] == 1);
    CHECK(state_of(made, "news")["capacity"] == 4);
    CHECK(is_held(state_of(made, "news"), "writer", 1));
    CHECK(state_of(made, "latest")["version"] == 2);
}

TEST_CASE("the state of locks and signals") {
    const auto made = memory::create(65536);
    auto& mutex = made.construct<shm_mutex>("mutex");
    auto& shared = made.construct<shm_shared_mutex>("shared");
    auto& guarded = made.construct<shm_guarded<int>>("guarded");
    made.construct<shm_semaphore>("semaphore", 3);
    made.construct<shm_latch>("latch", 2);
    made.construct<shm_event>("event").set();
    CHECK(state_of(made, "mutex").holders.empty());
    mutex.lock();
    shared.lock_shared();
    CHECK(is_held(state_of(made, "mutex"), "lock", 1));
    CHECK(is_held(state_of(made, "shared"), "reader", 1));
    {
        const auto inside = guarded.lock();
        CHECK(is_held(state_of(made, "guarded"), "lock", 1));
    }
    CHECK(state_of(made, "guarded").holders.empty());
    mutex.unlock();
    shared.unlock_shared();
    CHECK(state_of(made, "semaphore")["permits"] == 3);
    CHECK(state_of(made, "latch")["left"] == 2);
    CHECK(state_of(made, "event")["set"] == 1);
}

TEST_CASE("objects whose bytes are damaged say something, and end") {
    const auto made = memory::create(65536);
    auto& queue = made.construct<shm_queue<int>>("queue", 10);
    auto& messages = made.construct<shm_message_queue>("messages", 2000);
    auto& pool = made.construct<shm_pool<int>>("pool", 4);
    auto& service = made.construct<shm_service<int, int>>("service", 4);
    const auto spoil = [&](void* object, std::size_t bytes, std::string_view name) {
        auto* const words = static_cast<std::uint64_t*>(object);
        for (const std::uint64_t value : {~std::uint64_t{0}, std::uint64_t{1} << 63,
                                          std::uint64_t{0x100000001}, std::uint64_t{4096}}) {
            for (std::size_t i = 0; i < bytes / 8; ++i) {
                const std::uint64_t before = std::exchange(words[i], value);
                static_cast<void>(state_of(made, name));
                words[i] = before;
            }
        }
    };
    spoil(&queue, sizeof queue, "queue");
    // As many lines as fit into no segment, all of them claimed.
    reinterpret_cast<std::uint32_t*>(&queue)[8] = UINT32_MAX;
    reinterpret_cast<std::uint32_t*>(&queue)[9] = 1;
    reinterpret_cast<std::uint64_t*>(&queue)[8] = 0x7fffffffu;
    CHECK(state_of(made, "queue")["size"] == 0);
    spoil(&messages, 256, "messages");
    spoil(&pool, sizeof pool, "pool");
    spoil(&service, sizeof service, "service");
}
