// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cohold/container/shm_message_queue.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = segment<mechanism::memfd>;
using message = shm_message_queue::message;
using claimed_message = shm_message_queue::claimed_message;

// A segment with an empty queue.
struct scratch {
    explicit scratch(std::size_t room) : queue(handle.construct<shm_message_queue>("q", room)) {}

    memory handle = memory::create(std::size_t{1} << 20);
    shm_message_queue& queue;
};

std::string text_of(const message& from) {
    return from ? std::string(from.text()) : "nothing";
}

std::string popped(shm_message_queue& from) {
    return text_of(from.try_pop());
}

// Is all of the room in one piece again?
void check_is_whole(shm_message_queue& queue) {
    CHECK(queue.empty());
    const std::string all(queue.capacity(), 'x');
    CHECK(queue.try_push(all));
    CHECK(popped(queue) == all);
    CHECK(queue.empty());
}

template <class Call>
std::error_code code_of(const Call& call) {
    try {
        call();
    } catch (const failure& error) {
        return error.code();
    }
    return {};
}

} // namespace

TEST_CASE("messages come out as they went in") {
    scratch s(1000);
    CHECK(s.queue.capacity() == 1000);
    CHECK(s.queue.empty());
    CHECK(s.queue.push("hello"));
    CHECK(s.queue.push(std::string(300, 'a')));
    CHECK(s.queue.push(std::string_view()));
    const std::array<std::byte, 3> bytes{std::byte{1}, std::byte{0}, std::byte{2}};
    CHECK(s.queue.push(bytes));
    CHECK(s.queue.push(std::vector<std::byte>(2)));
    CHECK(s.queue.push(std::as_bytes(std::span(bytes))));
    CHECK(s.queue.size() == 6);
    {
        const message first = s.queue.pop();
        REQUIRE(first);
        CHECK(first.text() == "hello");
        CHECK(first->size() == 5);
        CHECK((*first)[1] == std::byte{'e'});
        CHECK(first.priority() == 0);
        CHECK(first.attempts() == 1);
        CHECK(reinterpret_cast<std::uintptr_t>(first->data()) % 16 == 0);
        CHECK(s.queue.size() == 6); // it is held
    }
    CHECK(s.queue.size() == 5);
    CHECK(popped(s.queue) == std::string(300, 'a'));
    const message none = s.queue.pop();
    CHECK(none);
    CHECK(none->empty());
    const message three = s.queue.pop();
    REQUIRE(three->size() == 3);
    CHECK(std::memcmp(three->data(), bytes.data(), 3) == 0);
    CHECK(s.queue.pop()->size() == 2);
    CHECK(s.queue.pop()->size() == 3);
    CHECK_FALSE(s.queue.try_pop());
}

TEST_CASE("bytes of every kind are messages") {
    const memory here = memory::create();
    auto& queue = here.construct<shm_message_queue>("it", 4096);
    const std::vector<unsigned char> numbers{1, 2, 3};
    const std::vector<char> characters{'a', 'b'};
    const unsigned char array[] = {4, 5, 6, 7};
    const std::u8string text(u8"\u00e9");
    CHECK(queue.push(numbers));
    CHECK(queue.push(characters, 0));
    CHECK(queue.try_push(array));
    CHECK(queue.push_for(std::span<const unsigned char>(array, 1), 1s));
    CHECK(queue.push(text));
    CHECK(queue.push("a\0b"));                 // as a std::string_view
    CHECK(queue.push(std::string("a\0b", 3))); // all of it
    const auto next = [&queue] {
        const auto message = queue.try_pop();
        REQUIRE(message);
        CHECK(message.size() == message->size());
        CHECK(message.bytes().data() == message->data());
        return std::string(message.text());
    };
    CHECK(next() == std::string("\1\2\3"));
    CHECK(next() == "ab");
    CHECK(next() == std::string("\4\5\6\7"));
    CHECK(next() == std::string("\4"));
    CHECK(next() == "\xc3\xa9");
    CHECK(next() == "a");
    CHECK(next() == std::string("a\0b", 3));

    auto place = queue.claim(5);
    REQUIRE(place);
    CHECK(place.size() == 5);
    CHECK(place.bytes().data() == place->data());
    static_assert(!std::is_convertible_v<const std::vector<int>&, message_bytes>);
    static_assert(!std::is_convertible_v<const char8_t(&)[3], message_bytes>);
}

TEST_CASE("the highest priority comes first, and of each the oldest") {
    scratch s(4096);
    for (unsigned i = 0; i < 64; ++i) {
        const unsigned priority = i * 7 % 32;
        CHECK(s.queue.push(std::to_string(i), priority));
    }
    for (unsigned priority = 32; priority-- > 0;) {
        int last = -1;
        for (int i = 0; i < 2; ++i) {
            const message each = s.queue.try_pop();
            REQUIRE(each);
            CHECK(each.priority() == priority);
            const int number = std::stoi(std::string(each.text()));
            CHECK(number > last);
            last = number;
        }
    }
    check_is_whole(s.queue);
}

TEST_CASE("impossible messages and rooms are refused") {
    scratch s(100);
    CHECK(code_of([&] { s.queue.push(std::string(101, 'x')); }) == errc::invalid_size);
    CHECK(code_of([&] { s.queue.push("x", 32); }) == std::errc::invalid_argument);
    CHECK(code_of([&] { static_cast<void>(s.queue.claim(101)); }) == errc::invalid_size);
    std::error_code ec;
    CHECK_FALSE(s.queue.try_push(std::string(101, 'x'), ec));
    CHECK(ec == errc::invalid_size);
    CHECK(std::string_view(last_failure().what()).find("101 bytes") != std::string_view::npos);
    CHECK_FALSE(s.queue.push_for("x", 1ms, 99, ec));
    CHECK(ec == std::errc::invalid_argument);
    CHECK_FALSE(s.queue.try_claim(200, 0, ec));
    CHECK(ec == errc::invalid_size);
    CHECK(s.queue.push("fits", ec));
    CHECK_FALSE(ec);
    const auto refused = [&](auto bytes) {
        return code_of([&] { s.handle.construct<shm_message_queue>("other", bytes); });
    };
    CHECK(refused(0) == errc::invalid_size);
    CHECK(refused(-1) == errc::invalid_size);
    CHECK(refused(std::uint64_t{1} << 40) == errc::invalid_size);
    CHECK(refused(std::uint64_t{1} << 35) == (sizeof(void*) == 8
                                                  ? make_error_code(errc::reserve_exceeded)
                                                  : make_error_code(errc::invalid_size)));
    CHECK(code_of([] { const shm_message_queue outside(100); }) == errc::no_segment);
}

TEST_CASE("every small room holds what it promises") {
    for (std::size_t room = 1; room <= 200; ++room) {
        scratch s(room);
        check_is_whole(s.queue);
        std::size_t count = 0;
        while (s.queue.try_push("x")) {
            ++count;
        }
        CHECK(count >= 1);
        for (; count != 0; --count) {
            CHECK(popped(s.queue) == "x");
        }
        check_is_whole(s.queue);
    }
}

TEST_CASE("codes tell a polling caller what to do next") {
    scratch s(64);
    std::error_code ec;
    CHECK_FALSE(s.queue.try_pop(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(s.queue.pop_for(1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(s.queue.pop_until(std::chrono::steady_clock::now() + 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK(s.queue.push(std::string(64, 'x'), 3, ec));
    CHECK_FALSE(ec);
    CHECK_FALSE(s.queue.try_push("y", ec));
    CHECK(ec == errc::full);
    CHECK_FALSE(s.queue.push_for("y", 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(s.queue.push_until("y", std::chrono::system_clock::now() + 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(s.queue.try_claim(1, ec));
    CHECK(ec == errc::full);
    CHECK_FALSE(s.queue.claim_for(1, 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(s.queue.claim_until(1, std::chrono::steady_clock::now(), ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(s.queue.push_for("y", 1ms));
    CHECK_FALSE(s.queue.push_until("y", std::chrono::steady_clock::now() + 1ms));
    CHECK_FALSE(s.queue.claim_until(1, std::chrono::steady_clock::now() + 1ms));
    s.queue.close();
    CHECK_FALSE(s.queue.push("y", ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(s.queue.claim(1, ec));
    CHECK(ec == errc::closed);
    CHECK(s.queue.pop_for(1h, ec)->size() == 64);
    CHECK_FALSE(ec);
    CHECK_FALSE(s.queue.pop(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(s.queue.try_pop(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(s.queue.pop());
    CHECK_FALSE(s.queue.push("y"));
    CHECK_FALSE(s.queue.pop_until(std::chrono::steady_clock::now() + 1h));
}

TEST_CASE("a message is written in place, and is there only when it is committed") {
    scratch s(1000);
    {
        claimed_message claimed = s.queue.claim(10, 5);
        REQUIRE(claimed);
        CHECK(claimed->size() == 10);
        CHECK(s.queue.empty());
        CHECK_FALSE(s.queue.try_pop());
        std::memcpy(claimed->data(), "0123456789", 10);
        CHECK(s.queue.push("another", 5));
        CHECK(claimed.commit());
        CHECK_FALSE(claimed);
    }
    CHECK(popped(s.queue) == "another"); // the order is that of commits
    {
        const message written = s.queue.try_pop();
        CHECK(written.text() == "0123456789");
        CHECK(written.priority() == 5);
    }
    {
        claimed_message shorter = s.queue.try_claim(500);
        std::memcpy(shorter->data(), "abc", 3);
        std::error_code ec;
        CHECK_FALSE(shorter.commit(501, ec));
        CHECK(ec == errc::invalid_size);
        CHECK(shorter);
        CHECK(shorter.commit(3));
        CHECK_FALSE(shorter.commit(3, ec));
        CHECK(ec == errc::empty_handle);
        CHECK(code_of([&] { shorter.commit(); }) == errc::empty_handle);
    }
    CHECK(popped(s.queue) == "abc");
    {
        claimed_message dropped = s.queue.claim(1000);
        CHECK_FALSE(s.queue.try_push("x"));
        claimed_message moved = std::move(dropped);
        CHECK_FALSE(dropped); // NOLINT: that is what is tested
        CHECK(moved);
        moved = s.queue.try_claim(1);
        CHECK_FALSE(moved);
        claimed_message again = s.queue.claim_for(1000, 1h);
        again.abandon();
        CHECK_FALSE(again);
    }
    check_is_whole(s.queue);
    claimed_message late = s.queue.claim(3);
    s.queue.close();
    std::error_code ec;
    CHECK_FALSE(late.commit(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(s.queue.pop());
}

TEST_CASE("messages that are held stay in their place, and others pass them") {
    scratch s(10000);
    for (int i = 0; i < 6; ++i) {
        s.queue.push(std::to_string(i));
    }
    std::vector<message> held;
    for (int i = 0; i < 6; ++i) {
        held.push_back(s.queue.try_pop());
        CHECK(held.back().text() == std::to_string(i));
    }
    CHECK_FALSE(s.queue.try_pop());
    CHECK(s.queue.size() == 6);
    for (const std::size_t each : {2u, 0u, 5u, 3u}) {
        held[each].release();
        CHECK_FALSE(held[each]);
    }
    s.queue.push("6");
    CHECK(popped(s.queue) == "6");
    held[1] = std::move(held[4]);
    CHECK(held[1].text() == "4");
    CHECK(s.queue.size() == 1);
    held.clear();
    check_is_whole(s.queue);
}

TEST_CASE("a closed queue ends when nothing is left that could come") {
    scratch s(1000);
    s.queue.push("first");
    s.queue.push("second");
    const message mine = s.queue.pop();
    s.queue.close();
    s.queue.close();
    CHECK(s.queue.is_closed());
    CHECK(s.queue.pop().text() == "second");
    CHECK_FALSE(s.queue.pop()); // what this process holds cannot come to it again
}

TEST_CASE("random traffic agrees with a model") {
    struct known {
        unsigned priority;
        std::string text;
    };

    for (const std::size_t room : {200u, 1000u, 5000u}) {
        scratch s(room);
        std::mt19937 random(static_cast<unsigned>(room));
        std::map<unsigned, std::deque<std::string>, std::greater<>> waiting;
        std::vector<std::pair<message, std::string>> held;
        std::vector<std::pair<claimed_message, known>> claimed;
        std::size_t count = 0;
        for (int step = 0; step < 20000; ++step) {
            const unsigned priority = random() % 4 == 0 ? random() % 32 : 3;
            const std::string text(random() % (random() % 8 == 0 ? room : 40),
                                   char('a' + step % 26));
            switch (random() % 8) {
            case 0:
            case 1:
                if (s.queue.try_push(text, priority)) {
                    waiting[priority].push_back(text);
                    ++count;
                }
                break;
            case 2:
                if (auto made = s.queue.try_claim(text.size(), priority)) {
                    std::memcpy(made->data(), text.data(), text.size());
                    claimed.emplace_back(std::move(made), known{priority, text});
                }
                break;
            case 3:
                if (!claimed.empty()) {
                    const std::size_t at = random() % claimed.size();
                    const std::size_t less = claimed[at].second.text.size() / (1 + random() % 2);
                    if (random() % 3 != 0) {
                        CHECK(claimed[at].first.commit(less));
                        waiting[claimed[at].second.priority].push_back(
                            claimed[at].second.text.substr(0, less));
                        ++count;
                    }
                    claimed.erase(claimed.begin() + static_cast<std::ptrdiff_t>(at));
                }
                break;
            case 4:
            case 5:
            case 6: {
                message each = s.queue.try_pop();
                while (!waiting.empty() && waiting.begin()->second.empty()) {
                    waiting.erase(waiting.begin());
                }
                CHECK(static_cast<bool>(each) == !waiting.empty());
                if (each) {
                    CHECK(each.priority() == waiting.begin()->first);
                    CHECK(each.text() == waiting.begin()->second.front());
                    held.emplace_back(std::move(each), waiting.begin()->second.front());
                    waiting.begin()->second.pop_front();
                }
                break;
            }
            default:
                if (!held.empty()) {
                    const std::size_t at = random() % held.size();
                    CHECK(held[at].first.text() == held[at].second); // nobody has written to it
                    held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
                    --count;
                }
            }
            CHECK(s.queue.size() == count);
        }
        claimed.clear();
        held.clear();
        while (s.queue.try_pop()) {
        }
        check_is_whole(s.queue);
    }
}

TEST_CASE("many threads, every message once, in the order of each producer") {
    scratch s(2000);
    constexpr int producers = 3;
    constexpr int each_pushes = 3000;
    std::atomic<int> taken{0};
    std::atomic<bool> good{true};
    std::vector<std::thread> threads;
    for (int p = 0; p < producers; ++p) {
        threads.emplace_back([&, p] {
            for (int i = 0; i < each_pushes; ++i) {
                std::string text = std::to_string(p) + " " + std::to_string(i);
                text.resize(text.size() + static_cast<std::size_t>(i % 90), '.');
                if (i % 3 == 0) {
                    claimed_message made = s.queue.claim(text.size(), static_cast<unsigned>(p));
                    std::memcpy(made->data(), text.data(), text.size());
                    made.commit();
                } else {
                    s.queue.push(text, static_cast<unsigned>(p));
                }
            }
        });
    }
    for (int c = 0; c < 2; ++c) {
        threads.emplace_back([&] {
            int last[producers] = {-1, -1, -1};
            while (const message each = s.queue.pop()) {
                const std::string text(each.text());
                const int p = text[0] - '0';
                const int number = std::stoi(text.substr(2));
                good = good && static_cast<unsigned>(p) == each.priority() && number > last[p];
                last[p] = number;
                if (++taken == producers * each_pushes) {
                    s.queue.close();
                }
            }
        });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(good);
    CHECK(taken == producers * each_pushes);
    CHECK(s.queue.empty());
}

TEST_CASE("room that was released, but is not given back yet, is found") {
    scratch s(2000); // of which four short messages are an eighth
    while (s.queue.try_push("short")) {
    }
    for (int i = 0; i < 3; ++i) {
        CHECK(s.queue.try_pop());
    }
    CHECK(s.queue.try_push(std::string(150, 'x'))); // all of the three places
    CHECK_FALSE(s.queue.try_push("short"));
    CHECK(s.queue.try_pop());
    CHECK(s.queue.push_for("short", std::chrono::seconds(60)));
    CHECK_FALSE(s.queue.try_push("short"));
    CHECK(s.queue.try_pop());
    CHECK(s.queue.push("short"));
    CHECK(s.queue.size() == 30);
}

TEST_CASE("room that is given up while another looks for some is not lost") {
    scratch s(480);
    std::atomic<bool> done{false};
    std::thread other([&] {
        for (int i = 0; i < 200000; ++i) {
            static_cast<void>(s.queue.try_claim(480));
        }
        done = true;
    });
    while (!done) {
        static_cast<void>(s.queue.try_claim(480));
    }
    other.join();
    CHECK(s.queue.try_claim(480));
}

TEST_CASE("sleepers are woken by messages, by room, and by the end") {
    scratch s(64);
    std::atomic<int> step{0};
    std::thread consumer([&] {
        CHECK(s.queue.pop().text() == "one");
        ++step;
        CHECK_FALSE(s.queue.pop());
        ++step;
    });
    std::this_thread::sleep_for(20ms);
    s.queue.push("one");
    while (step != 1) {
        std::this_thread::yield();
    }
    std::this_thread::sleep_for(20ms);
    s.queue.close();
    consumer.join();
    CHECK(step == 2);

    scratch full(64);
    full.queue.push(std::string(64, 'x'));
    std::thread producer([&] {
        CHECK(full.queue.push("two"));
        ++step;
    });
    std::this_thread::sleep_for(20ms);
    CHECK(step == 2);
    static_cast<void>(full.queue.pop());
    producer.join();
    CHECK(popped(full.queue) == "two");
}

TEST_CASE("two mappings of a segment share one queue") {
    const memory first = memory::create(std::size_t{1} << 20);
    const memory second = memory::adopt({::dup(first.native_handle().value)});
    auto& here = first.construct<shm_message_queue>("q", 500);
    auto* const there = second.find<shm_message_queue>("q");
    REQUIRE(there != nullptr);
    CHECK(static_cast<void*>(there) != static_cast<void*>(&here));
    for (int i = 0; i < 100; ++i) {
        CHECK(here.push(std::to_string(i), static_cast<unsigned>(i % 3)));
        const message each = there->pop();
        CHECK(each.text() == std::to_string(i));
        CHECK_FALSE(here.try_pop());
    }
    check_is_whole(here);
    check_is_whole(*there);
}

TEST_CASE("what a killed process had begun does not happen, and what it held goes back") {
    scratch s(1000);
    s.queue.push("low", 1);
    s.queue.push("first", 2);
    s.queue.push("second", 2);
    const support::ending how = support::run_child([&] {
        message low = s.queue.pop();
        CHILD_CHECK(low.text() == "first");
        message second = s.queue.pop();
        CHILD_CHECK(second.text() == "second");
        second.release();
        claimed_message half = s.queue.claim(300);
        CHILD_CHECK(half);
        CHILD_CHECK(s.queue.push("last words"));
        ::raise(SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    INFO(how.text);
    CHECK(popped(s.queue) == "low");
    CHECK(popped(s.queue) == "last words");
    {
        const message again = s.queue.pop(); // nothing else is there
        CHECK(again.text() == "first");
        CHECK(again.priority() == 2);
        CHECK(again.attempts() == 2);
    }
    check_is_whole(s.queue);
}

TEST_CASE("a message of a killed consumer goes back to its place under traffic, too") {
    scratch s(1000);
    s.queue.push("first");
    CHECK(support::run_child([&] {
              const message first = s.queue.pop();
              ::raise(SIGKILL);
          }).signal == SIGKILL);
    int passed = 0;
    for (s.queue.push("x"); popped(s.queue) != "first"; s.queue.push("x")) {
        REQUIRE(++passed < 300);
    }
    CHECK(popped(s.queue) == "x");
    check_is_whole(s.queue);
}

TEST_CASE("a closed queue waits for what others hold") {
    scratch s(1000);
    s.queue.push("only");
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    support::child other([&] {
        const message mine = s.queue.pop();
        CHILD_CHECK(::write(ends[1], "x", 1) == 1);
        ::usleep(50000);
        ::raise(SIGKILL);
    });
    char got = 0;
    REQUIRE(::read(ends[0], &got, 1) == 1);
    s.queue.close();
    CHECK(s.queue.pop().text() == "only"); // after the kill
    CHECK(other.wait().signal == SIGKILL);
    CHECK_FALSE(s.queue.pop());
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("a forked child's copies of messages and claims do nothing") {
    scratch s(1000);
    s.queue.push("mine");
    message mine = s.queue.pop();
    claimed_message half = s.queue.claim(10);
    support::check_child([&] {
        mine.release();
        std::error_code ec;
        CHILD_CHECK(!half.commit(ec));
        CHILD_CHECK(ec == errc::not_owner);
        CHILD_CHECK(s.queue.push("of the child"));
        CHILD_CHECK(s.queue.size() == 2);
    });
    CHECK(s.queue.size() == 2);
    CHECK(half.commit());
    CHECK(mine.text() == "mine");
    mine.release();
    CHECK(popped(s.queue) == "of the child");
    CHECK(s.queue.pop()->size() == 10);
    check_is_whole(s.queue);
}

TEST_CASE("in a section that is undone, messages stay") {
    struct both {
        shm_guarded<int> value{1};
        shm_message_queue queue{500};
    };

    const memory handle = memory::create(std::size_t{1} << 20);
    both& it = handle.construct<both>("both");
    try {
        it.value.with([&](int& value) {
            value = 2;
            it.queue.push("sent");
            throw 1;
        });
    } catch (int) {
        CHECK(*it.value.lock() == 1);
    }
    CHECK(popped(it.queue) == "sent");
}

TEST_CASE("a queue of messages is an object like others") {
    const std::string name = support::own_name("message-queue");
    {
        auto root = shared<shm_message_queue, mechanism::memfd>::create(1000);
        CHECK(root->push("x"));
        CHECK(popped(*root) == "x");
    }
    CHECK(type_name_of<shm_message_queue>() == "shm_message_queue");
    CHECK(sizeof(shm_message_queue) == 768);
    CHECK(shareable<shm_message_queue>);
    CHECK_FALSE(std::is_copy_constructible_v<message>);
    CHECK(std::is_nothrow_move_constructible_v<message>);
    CHECK(std::is_nothrow_move_assignable_v<claimed_message>);
    CHECK_FALSE(std::is_convertible_v<message, bool>);
    memory handle = memory::create(std::size_t{1} << 20);
    handle.construct<int>("first");
    const std::size_t before = handle.used();
    handle.construct<shm_message_queue>("q", 5000).push("left");
    handle.destroy<shm_message_queue>("q");
    CHECK(handle.used() == before);
}

TEST_CASE("damaged bytes give errors, and no access outside the queue") {
    std::mt19937 random(7);
    for (int round = 0; round < 150; ++round) {
        const std::uint32_t seed = static_cast<std::uint32_t>(random());
        const support::ending how = support::run_child([&] {
            scratch s(700);
            std::mt19937 mine(seed);
            for (unsigned i = 0; i < 8; ++i) {
                s.queue.push(std::string(i * 9, 'x'), i % 3);
            }
            message held = s.queue.pop();
            claimed_message claimed = s.queue.claim(20);
            s.queue.pop().release();
            // All but the pointers and the sizes of the queue itself.
            auto* const words = reinterpret_cast<char*>(&s.queue);
            auto* const blocks = const_cast<std::byte*>(held->data()) - 32;
            for (int i = 0; i < 6; ++i) {
                const auto value =
                    static_cast<std::uint32_t>(mine() % 2 == 0 ? mine() : mine() % 40);
                char* const at = mine() % 2 == 0
                                     ? words + 64 + mine() % (sizeof s.queue - 64) / 4 * 4
                                     : reinterpret_cast<char*>(blocks) + mine() % 700 / 4 * 4;
                std::memcpy(at, &value, 4);
            }
            for (int i = 0; i < 40; ++i) {
                std::error_code ec;
                s.queue.try_push("abc", ec);
                const message each = s.queue.try_pop(ec);
                std::size_t sum = 0;
                for (const std::byte byte : *each) {
                    sum += static_cast<std::size_t>(byte);
                }
                static_cast<void>(s.queue.try_claim(sum % 100, ec));
            }
            ::_exit(0); // destructors wait for locks, which may seem to be held
        });
        INFO("seed ", seed, ": ", how.text);
        CHECK(how.signal == 0);
        CHECK(how.code == 0);
    }
}
