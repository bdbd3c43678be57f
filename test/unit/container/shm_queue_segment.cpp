// shm_queue in a segment, at several addresses, with elements that own memory there.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <signal.h>
#include <unistd.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_mutex.hpp>

#include "queue_testing.hpp"
#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace queue_testing;

namespace {

// A segment with a name of its own, which is removed at the end.
class scratch {
  public:
    scratch() : name("cohold-test-queue." + std::to_string(getpid())), handle(make(name)) {}

    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    ~scratch() { segment<>::remove(name); }

    std::string name;
    segment<> handle;

  private:
    static segment<> make(const std::string& name) {
        segment<>::remove(name); // left by a killed process with the same number
        segment<> made = segment<>::create(name);
        // The directory keeps the memory of its table: allocate it before anything is counted.
        made.construct<int>("first");
        made.destroy<int>("first");
        return made;
    }
};

struct message {
    std::uint32_t id;
    shm_vector<int> values;
};

using numbers = shm_vector<int>;

// Move-only elements.
struct only_moved {
    only_moved() = default;
    only_moved(only_moved&&) = default;
    only_moved(const only_moved&) = delete;

    numbers values;
};

// Converts to a number in the middle of a push: by then the place is claimed.
template <class Act>
struct in_the_middle {
    Act act;

    operator int() const { return act(); }
};

template <class Act>
in_the_middle(Act) -> in_the_middle<Act>;

// Waits until another process has set the word to this value.
void await(const std::atomic<int>& word, int value) {
    while (word != value) {
        usleep(100);
    }
}

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<only_moved> = true;

TEST_CASE("a queue in a segment has the same layout everywhere") {
    CHECK(sizeof(shm_queue<int>) == 320);
    CHECK(sizeof(shm_queue<double, concurrency::spsc, waiting::spin>) == 320);
    CHECK(alignof(shm_queue<char, concurrency::spmc>) == 64);
    CHECK(shareable<shm_queue<int>>);
    CHECK(shareable<shm_queue<shm_vector<int>, concurrency::spsc>>);
}

TEST_CASE("the type of a queue includes elements and concurrency, not the waiting policy") {
    CHECK(type_name_of<shm_queue<int>>() == "shm_queue<i32,mpmc>");
    CHECK(type_name_of<shm_queue<double, concurrency::spsc>>() == "shm_queue<f64,spsc>");
    CHECK(type_name_of<shm_queue<char, concurrency::mpsc, waiting::spin>>() ==
          type_name_of<shm_queue<char, concurrency::mpsc, waiting::block>>());
    scratch s;
    s.handle.construct<shm_queue<int>>("q", 3);
    std::error_code ec;
    CHECK(s.handle.find<shm_queue<int, concurrency::mpmc, waiting::block>>("q", ec) != nullptr);
    CHECK_FALSE(ec);
    CHECK(s.handle.find<shm_queue<int, concurrency::spsc>>("q", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);
    CHECK(s.handle.find<shm_queue<unsigned>>("q", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);
}

TEST_CASE_TEMPLATE("two mappings of one queue work as one", Mode, spsc, mpsc, spmc, mpmc) {
    scratch s;
    segment<> second = segment<>::open(s.name);
    using queue = shm_queue<std::uint64_t, Mode::value>;
    queue& mine = s.handle.construct<queue>("q", 5U);
    queue* const theirs = second.find<queue>("q");
    REQUIRE(theirs != nullptr);
    REQUIRE(theirs != &mine);
    ledger book(1, 5000);
    std::thread producer([&] {
        for (std::uint32_t i = 0; i < 5000; ++i) {
            mine.push(element_of(0, i));
        }
        mine.close();
    });
    ledger::reader reader(book);
    while (const std::optional<std::uint64_t> element = theirs->pop()) {
        CHECK(reader.enter(*element));
    }
    producer.join();
    CHECK(book.holds_first(0, 5000));
    CHECK(second.destroy<queue>("q")); // made at one address, destroyed at another
}

TEST_CASE("processes find the queue by its name") {
    scratch s;
    using queue = shm_queue<std::uint64_t>;
    queue& there = s.handle.construct<queue>("to", 7U);
    queue& back = s.handle.construct<queue>("back", 7U);
    const pid_t child = start_child([&] {
        segment<> mine = segment<>::open(s.name);
        queue* const in = mine.find<queue>("to");
        queue* const out = mine.find<queue>("back");
        if (in == nullptr || out == nullptr) {
            return false;
        }
        while (const auto element = in->pop()) {
            if (!out->push(*element + 1)) {
                return false;
            }
        }
        out->close();
        return true;
    });
    for (std::uint64_t i = 0; i < 1000; ++i) {
        CHECK(there.push(i));
        CHECK(back.pop() == i + 1);
    }
    there.close();
    CHECK_FALSE(back.pop());
    CHECK(succeeded(child));
}

TEST_CASE("elements that own memory of the segment travel between processes") {
    scratch s;
    using queue = shm_queue<message>;
    const std::uint64_t used_before = s.handle.used();
    queue& q = s.handle.construct<queue>("q", 4U);
    const pid_t child = start_child([&] {
        segment<> mine = segment<>::open(s.name);
        queue* const out = mine.find<queue>("q");
        if (out == nullptr) {
            return false;
        }
        for (std::uint32_t id = 0; id < 200; ++id) {
            shm_vector<int> values(mine.allocator<int>());
            for (std::uint32_t i = 0; i <= id; ++i) {
                values.push_back(static_cast<int>(id * i));
            }
            if (!out->push(message{id, std::move(values)})) {
                return false;
            }
        }
        out->close();
        return true;
    });
    std::uint32_t expected = 0;
    while (const std::optional<message> m = q.pop()) {
        CHECK(m->id == expected);
        REQUIRE(m->values.size() == expected + 1);
        CHECK(m->values.back() == static_cast<int>(expected * expected));
        ++expected;
    }
    CHECK(expected == 200);
    CHECK(succeeded(child));
    CHECK(s.handle.destroy<queue>("q"));
    CHECK(s.handle.used() == used_before);
}

TEST_CASE("remaining elements are destroyed with the queue") {
    scratch s;
    using queue = shm_queue<shm_vector<int>, concurrency::spsc>;
    const std::uint64_t used_before = s.handle.used();
    queue& q = s.handle.construct<queue>("q", 3U);
    CHECK(q.emplace(100U, 7)); // allocates in the segment, without an explicit allocator
    const shm_vector<int> original({1, 2, 3}, s.handle.allocator<int>());
    CHECK(q.push(original));
    CHECK(q.emplace(50U, 1));
    CHECK(q.pop().value().size() == 100);
    CHECK(s.handle.destroy<queue>("q"));
    {
        shm_vector<int> moved(std::move(const_cast<shm_vector<int>&>(original)));
        CHECK(moved.size() == 3);
    }
    CHECK(s.handle.used() == used_before);
}

namespace {

// A process that was killed has destroyed the queue, and could no longer tell the others.
template <class Queue>
void check_destroyed(Queue& q, const typename Queue::value_type& element) {
    using value = typename Queue::value_type;
    std::error_code ec;
    CHECK(q.capacity() == 0);
    CHECK(q.size() == 0);
    CHECK(q.is_closed());
    CHECK_FALSE(q.try_push(element, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.push(element));
    CHECK_FALSE(q.try_pop(ec).has_value());
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.pop().has_value());
    std::array<value, 2> several{element, element};
    CHECK(q.push_n(several) == 0);
    CHECK(q.pop_n(several) == 0);
    q.close();
    std::destroy_at(&q);
    CHECK(q.capacity() == 0);
}

} // namespace

TEST_CASE_TEMPLATE("a queue that was destroyed by hand is closed and drained", Mode, spsc, mpsc,
                   spmc, mpmc) {
    scratch s;
    auto& plain = s.handle.construct<shm_queue<int, Mode::value>>("plain", 5);
    auto& owning = s.handle.construct<shm_queue<shm_vector<int>, Mode::value>>("owning", 5);
    const shm_vector<int> element({1, 2, 3}, s.handle.allocator<int>());
    for (int i = 0; i < 7; ++i) { // so that head and tail are in the middle
        plain.push(i);
        owning.push(element);
        if (i < 4) {
            plain.pop();
            owning.pop();
        }
    }
    auto& lock = s.handle.construct<shm_guarded<int>>("lock");
    try {
        const auto section = lock.lock();
        std::destroy_at(&plain);
        std::destroy_at(&owning);
        throw 1;
    } catch (int) {
    }
    CHECK(plain.pop().value() == 4);
    CHECK(owning.pop().value() == element);
    std::destroy_at(&plain);
    std::destroy_at(&owning);
    check_destroyed(plain, 1);
    check_destroyed(owning, element);
}

TEST_CASE("a capacity beyond the segment is an error and leaves nothing") {
    scratch s;
    const std::uint64_t used_before = s.handle.used();
    const auto code_of = [&](int capacity) {
        try {
            s.handle.construct<shm_queue<int>>("q", capacity);
        } catch (const failure& error) {
            return error.code();
        }
        return std::error_code();
    };
    CHECK(code_of(0) == errc::invalid_size);
    CHECK(code_of(-5) == errc::invalid_size);
    CHECK(code_of(0x7fffffff) == errc::invalid_size);
    CHECK(code_of(0x7fffff00) ==
          (sizeof(void*) == 8 ? errc::reserve_exceeded : errc::invalid_size));
    CHECK(s.handle.find<shm_queue<int>>("q") == nullptr);
    CHECK(s.handle.used() == used_before);
    CHECK_FALSE(code_of(8));
    CHECK(s.handle.destroy<shm_queue<int>>("q"));
    CHECK(s.handle.used() == used_before);
}

TEST_CASE("a queue outside any segment is reported") {
    try {
        const shm_queue<int> homeless(3);
        FAIL("made without memory");
    } catch (const failure& error) {
        CHECK(error.code() == errc::no_segment);
    }
}

TEST_CASE("readers see the size and state of a queue") {
    scratch s;
    auto& q = s.handle.construct<shm_queue<int>>("q", 3U);
    CHECK(q.push(1));
    const auto view = segment<>::open(s.name, read_only);
    const shm_queue<int>* const seen = view.find<shm_queue<int>>("q");
    REQUIRE(seen != nullptr);
    CHECK(seen->size() == 1);
    CHECK_FALSE(seen->empty());
    CHECK(seen->capacity() == 3);
    CHECK_FALSE(seen->is_closed());
    q.close();
    CHECK(seen->is_closed());
}

TEST_CASE("a single producer that is killed is replaced, and nothing acknowledged is lost") {
    scratch s;
    auto& queue = s.handle.construct<shm_queue<std::uint64_t, concurrency::spsc>>("q", 3U);
    in_pages<std::atomic<std::uint64_t>> acknowledged(std::uint64_t{0});
    const pid_t consumer = start_child([&] {
        std::uint64_t last = 0;
        while (const auto element = queue.pop()) {
            // The successor repeats the one that was pushed but not yet acknowledged.
            if (*element != last + 1 && *element != last) {
                return false;
            }
            last = *element;
        }
        return last >= *acknowledged;
    });
    for (int round = 0; round < 100; ++round) {
        const std::uint64_t before = *acknowledged;
        const pid_t producer = start_child([&] {
            for (;;) {
                const std::uint64_t next = *acknowledged + 1;
                if (!queue.push(next)) {
                    return false;
                }
                *acknowledged = next;
            }
        });
        while (*acknowledged < before + 10) { // it works again
            usleep(50);
        }
        usleep(static_cast<useconds_t>(round * 7));
        REQUIRE(kill(producer, SIGKILL) == 0);
        CHECK_FALSE(succeeded(producer));
    }
    queue.close(); // whether the last one was killed in a push or not
    CHECK(succeeded(consumer));
    CHECK(queue.empty());
}

// What a queue has received stays, whatever becomes of the section around; and undone objects are
// as before, with memory of their own.
TEST_CASE_TEMPLATE("an undone section takes nothing from a queue", Mode, spsc, mpsc, spmc, mpmc) {
    scratch s;
    auto& lock = s.handle.construct<shm_guarded<numbers>>("lock");
    auto& q = s.handle.construct<shm_queue<numbers, Mode::value>>("queue", 8);
    lock.with([](numbers& mine) { mine.assign({1, 2, 3}); });
    const auto used = s.handle.used();
    const auto fill = [&](numbers& mine) {
        numbers local(s.handle.template allocator<int>());
        local.assign({10, 11, 12}); // allocated in the section
        CHECK(q.push(std::move(local)));
        CHECK(q.push(std::move(mine))); // has existed before it
        mine.assign(100, 7);            // grows in it
        CHECK(q.try_emplace(std::move(mine)));
        mine.clear();
    };
    const auto check = [&] {
        CHECK(*q.pop() == numbers({10, 11, 12}, s.handle.template allocator<int>()));
        CHECK(*q.pop() == numbers({1, 2, 3}, s.handle.template allocator<int>()));
        CHECK(*q.pop() == numbers(100, 7, s.handle.template allocator<int>()));
        CHECK(q.empty());
        lock.with([&](numbers& mine) {
            CHECK(mine == numbers({1, 2, 3}, s.handle.template allocator<int>()));
        });
        CHECK(s.handle.used() == used);
    };
    SUBCASE("by an exception") {
        CHECK_THROWS_AS(lock.with([&](numbers& mine) {
            fill(mine);
            throw 1;
        }),
                        int);
        check();
    }
    SUBCASE("by a kill") {
        const support::ending killed = support::child([&] {
                                           lock.with([&](numbers& mine) {
                                               fill(mine);
                                               ::raise(SIGKILL);
                                           });
                                       }).wait();
        CHECK(killed.signal == SIGKILL);
        CHECK(s.handle.recover() == 1);
        check();
    }
}

TEST_CASE_TEMPLATE("an undone section leaks no element that came from a queue", Mode, spsc, mpsc,
                   spmc, mpmc) {
    scratch s;
    auto& lock = s.handle.construct<shm_guarded<shm_vector<numbers>>>("lock");
    auto& q = s.handle.construct<shm_queue<numbers, Mode::value>>("queue", 8);
    lock.with([](shm_vector<numbers>& rows) {
        rows.reserve(4);
        rows.emplace_back().assign({1, 2, 3});
    });
    const auto used = s.handle.used();
    for (int i = 0; i < 3; ++i) {
        q.push(numbers(50, i, s.handle.template allocator<int>()));
    }
    const auto take = [&](shm_vector<numbers>& rows) {
        rows.push_back(std::move(*q.pop()));
        CHECK(q.try_pop_n(std::span(rows.data(), 1)) == 1); // replaces the old row
        CHECK(rows[0] == numbers(50, 1, s.handle.template allocator<int>()));
        CHECK(rows[1] == numbers(50, 0, s.handle.template allocator<int>()));
        CHECK(q.try_pop().has_value());
    };
    const auto check = [&] {
        CHECK(q.empty()); // immediately and permanently
        lock.with([&](shm_vector<numbers>& rows) {
            CHECK(rows.size() == 1);
            CHECK(rows[0] == numbers({1, 2, 3}, s.handle.template allocator<int>()));
        });
        CHECK(s.handle.used() == used);
    };
    SUBCASE("by an exception") {
        CHECK_THROWS_AS(lock.with([&](shm_vector<numbers>& rows) {
            take(rows);
            throw 1;
        }),
                        int);
        check();
    }
    SUBCASE("by a kill") {
        const support::ending killed = support::child([&] {
                                           lock.with([&](shm_vector<numbers>& rows) {
                                               take(rows);
                                               ::raise(SIGKILL);
                                           });
                                       }).wait();
        CHECK(killed.signal == SIGKILL);
        CHECK(s.handle.recover() == 1);
        check();
    }
    SUBCASE("not undone, it keeps them") {
        lock.with(take);
        lock.with([&](shm_vector<numbers>& rows) {
            CHECK(rows.size() == 2);
            rows.pop_back();
            rows[0].assign({1, 2, 3});
            rows[0].shrink_to_fit();
        });
        check();
    }
}

TEST_CASE("move-only elements are refused in a section") {
    scratch s;
    auto& lock = s.handle.construct<shm_guarded<int>>("lock");
    auto& q = s.handle.construct<shm_queue<only_moved>>("queue", 4);
    const auto code_of = [&](auto&& act) {
        try {
            lock.with([&](int&) { act(); });
        } catch (const failure& thrown) {
            return thrown.code();
        }
        return std::error_code();
    };
    CHECK(q.emplace()); // outside
    CHECK(code_of([&] { (void)q.emplace(only_moved()); }) == errc::section_open);
    CHECK(code_of([&] { static_cast<void>(q.try_pop()); }) == errc::section_open);
    CHECK(q.size() == 1);
    CHECK_FALSE(code_of([&] { CHECK(q.emplace()); })); // needs no move
    CHECK(q.try_pop().has_value());
    CHECK(q.try_pop().has_value());
    CHECK(q.emplace(only_moved()));
    CHECK(q.pop().has_value());
}

TEST_CASE("generations of participants wrap, and no participant is taken for another") {
    for (const std::uint64_t first : {std::uint64_t{0xfffd}, std::uint64_t{0x7fffd},
                                      std::uint64_t{0xfffffffd}, std::uint64_t{0xfffefffd}}) {
        CAPTURE(first);
        scratch s;
        auto& lock = s.handle.construct<shm_mutex>("lock");
        auto& q = s.handle.construct<shm_queue<int>>("queue", 4);
        auto& step = s.handle.construct<std::atomic<int>>("step", 0);
        auto& slot = detail::participant_table::of(*s.handle.allocator<int>().header()).slots[1];
        slot.state = first << 32;
        std::uint64_t generation = first;
        for (int i = 0; i < 5; ++i) {
            CAPTURE(i);
            // One participant is killed while it holds a lock and a claimed place of the queue.
            generation = generation == 0xffffffff ? 1 : generation + 1;
            const support::ending killed = support::child([&] {
                                               lock.lock();
                                               q.try_emplace(in_the_middle{[] {
                                                   ::raise(SIGKILL);
                                                   return 0;
                                               }});
                                           }).wait();
            CHECK(killed.signal == SIGKILL);
            CHECK(slot.state == detail::attached_state(static_cast<std::uint32_t>(generation)));
            CHECK(q.push(i));
            CHECK(q.pop() ==
                  i); // behind the place of the dead participant, which is recovered for that
            CHECK(slot.state == generation << 32);
            lock.lock();
            CHECK(lock.recovered());
            lock.unlock();
            // The next one has the same slot, and is alive.
            generation = generation == 0xffffffff ? 1 : generation + 1;
            step = 0;
            support::child living([&] {
                lock.lock();
                q.try_emplace(in_the_middle{[&] {
                    step = 1;
                    await(step, 2);
                    return 100 + i;
                }});
                lock.unlock();
            });
            await(step, 1);
            CHECK(slot.state == detail::attached_state(static_cast<std::uint32_t>(generation)));
            CHECK_FALSE(q.pop_for(std::chrono::milliseconds(10)).has_value());
            CHECK_FALSE(lock.try_lock_for(std::chrono::milliseconds(10)));
            step = 2;
            CHECK(q.pop() == 100 + i);
            CHECK(living.wait().code == 0);
            CHECK(s.handle.recover() <= 1); // it has not detached, but exited
            CHECK(lock.try_lock());
            lock.unlock();
            CHECK(q.empty());
        }
    }
}

TEST_CASE_TEMPLATE("the last place is free again when a producer has died there", Mode, spsc, mpsc,
                   spmc, mpmc) {
    for (const int before : {0, 1, 3}) {
        CAPTURE(before);
        const scratch s;
        auto& q = s.handle.construct<shm_queue<int, Mode::value>>("queue", before + 1);
        for (int i = 0; i < before; ++i) {
            CHECK(q.push(i));
        }
        support::child killed([&] {
            q.try_emplace(in_the_middle{[] {
                ::raise(SIGKILL);
                return 0;
            }});
        });
        CHECK(killed.wait().signal == SIGKILL);
        CHECK(q.push_for(before, std::chrono::seconds(10)));
        CHECK_FALSE(q.try_push(9));
        for (int i = 0; i <= before; ++i) {
            CHECK(q.try_pop() == i);
        }
    }
}

TEST_CASE_TEMPLATE("a thread that is stopped inside holds up its own side only", Mode, spsc, mpmc) {
    const scratch s;
    auto& q = s.handle.construct<shm_queue<int, Mode::value>>("queue", 4);
    CHECK(q.push(1));
    const support::child stopped([&] {
        q.try_emplace(in_the_middle{[] {
            ::raise(SIGSTOP);
            return 2;
        }});
    });
    int status = 0;
    REQUIRE(::waitpid(stopped.id(), &status, WUNTRACED) == stopped.id());
    REQUIRE(WIFSTOPPED(status));
    std::error_code ec;
    if (Mode::value == concurrency::mpmc) {
        CHECK_FALSE(q.try_push(3));
        CHECK_FALSE(q.try_push(3, ec));
        CHECK(ec == errc::busy);
        CHECK_FALSE(q.push_for(3, std::chrono::milliseconds(20), ec));
        CHECK(ec == std::errc::timed_out);
        CHECK(q.try_push_n(std::array{3, 4}, ec) == 0);
        CHECK(ec == errc::busy);
    }
    CHECK(q.try_pop() == 1);
    CHECK_FALSE(q.try_pop(ec));
    CHECK(ec == errc::empty);
    CHECK(q.empty());
    q.close();
    CHECK_FALSE(q.try_pop(ec)); // one may still come
    CHECK(ec == errc::busy);
    ::kill(stopped.id(), SIGCONT);
    CHECK(q.pop() == 2);
    CHECK_FALSE(q.pop(ec));
    CHECK(ec == errc::closed);
}

namespace {

struct pusher {
    int number;

    explicit pusher(int n) : number(n) {}

    template <class Queue>
    pusher(Queue& queue, bool copies) : number(0) {
        if (copies) {
            queue.try_push(pusher(1));
        } else {
            queue.try_emplace(1);
        }
    }
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<pusher> = true;

TEST_CASE_TEMPLATE("an element that pushes to its own queue is an error, and harms nothing", Mode,
                   spsc, mpmc) {
    const scratch s;
    auto& q = s.handle.construct<shm_queue<pusher, Mode::value>>("queue", 4);
    try {
        q.emplace(q, false);
        FAIL("nested");
    } catch (const failure& error) {
        CHECK(error.code() == std::errc::resource_deadlock_would_occur);
    }
    CHECK(q.empty());
    CHECK(q.emplace(q, true)); // the inner one is refused
    CHECK(q.size() == 1);
    CHECK(q.pop().value().number == 0);
}

TEST_CASE_TEMPLATE("a single producer that no heavy barrier reaches is marked", Mode, spsc, spmc) {
    const scratch s;
    using queue = shm_queue<int, Mode::value>;
    auto& q = s.handle.construct<queue>("q", 8);
    const auto& writer =
        *reinterpret_cast<const std::atomic<std::uint64_t>*>(reinterpret_cast<char*>(&q) + 40);
    for (int round = 0; round < 2; ++round) {
        support::child sandboxed([&] {
            detail::membarrier_of_process = detail::membarrier_state::missing;
            CHILD_CHECK(q.push(1) && q.push(2) && q.push(3));
            CHILD_CHECK((writer & detail::awaited) != 0);
        });
        CHECK(sandboxed.wait().code == 0);
        CHECK(q.push(4));
        CHECK((writer & detail::awaited) == 0);
        for (const int expected : {1, 2, 3, 4}) {
            CHECK(q.try_pop() == expected);
        }
    }
    support::child last([&] {
        detail::membarrier_of_process = detail::membarrier_state::missing;
        CHILD_CHECK(q.push(5));
        q.close();
        CHILD_CHECK(!q.push(6));
    });
    CHECK(last.wait().code == 0);
    CHECK(q.pop() == 5);
    CHECK(q.pop() == std::nullopt);
    s.handle.template destroy<queue>("q");
}

namespace {

struct huge {
    std::array<std::int64_t, 1 << 20> values; // as large as a stack
};

} // namespace

TEST_CASE("elements as large as a stack are pushed and popped in place") {
    const std::string name = support::own_name("huge");
    const auto segment = cohold::segment<>::create(name, {.size = 40 << 20, .reserve = 40 << 20});
    cohold::segment<>::remove(name);
    auto& queue = segment.construct<cohold::shm_queue<huge>>("queue", 2);
    const auto value = std::make_unique<huge>();
    value->values.back() = 7;
    CHECK(queue.push(*value));
    CHECK(queue.try_push(*value));
    value->values.back() = 0;
    CHECK(queue.pop(*value));
    CHECK(value->values.back() == 7);
    CHECK(queue.try_pop(*value));
    CHECK_FALSE(queue.try_pop(*value));
    CHECK_FALSE(queue.pop_for(*value, std::chrono::milliseconds(1)));
    CHECK(queue.push_for(*value, std::chrono::seconds(1)));
    CHECK(queue.pop_until(*value, std::chrono::steady_clock::now()));
    queue.close();
    CHECK_FALSE(queue.pop(*value));
}

TEST_CASE("elements that own memory are popped into others, in a section as copies") {
    const std::string name = support::own_name("popped into");
    const auto segment = cohold::segment<>::create(name, 1 << 20);
    cohold::segment<>::remove(name);
    using vector_of_ints = cohold::shm_vector<int>;
    auto& queue = segment.construct<cohold::shm_queue<vector_of_ints>>("queue", 2);
    auto& guarded = segment.construct<cohold::shm_guarded<vector_of_ints>>("guarded");
    const std::size_t used = segment.used();
    {
        vector_of_ints into(segment.allocator<int>());
        queue.push(vector_of_ints(3, 1, segment.allocator<int>()));
        CHECK(queue.pop(into));
        CHECK(into.size() == 3);
        queue.push(vector_of_ints(4, 1, segment.allocator<int>()));
        try {
            const auto lock = guarded.lock();
            CHECK(queue.try_pop(into));
            CHECK(into.size() == 4);
            throw 1;
        } catch (int) {
        }
        CHECK(into.size() == 3); // as before
        CHECK(queue.empty());
        queue.push(std::move(into));
        guarded.with([&](vector_of_ints& found) { CHECK(queue.pop(found)); });
        CHECK(guarded.lock()->size() == 3);
    }
    guarded.with([](vector_of_ints& found) {
        found.clear();
        found.shrink_to_fit();
    });
    CHECK(segment.used() == used);
}
