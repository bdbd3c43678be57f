// Frames that go to another process without a copy, and calls that are answered.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_LOANS_HPP
#define COHOLD_TEST_BENCH_LOANS_HPP

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "harness.hpp"
#include "processes.hpp"

namespace bench::loans {

using memory = cohold::segment<cohold::mechanism::memfd>;

template <std::size_t Bytes>
struct frame {
    std::uint64_t number;
    std::array<std::byte, Bytes - 8> rest;
};

inline std::string size_text(std::size_t bytes) {
    return bytes < 1024      ? std::to_string(bytes) + " B"
           : bytes < 1048576 ? std::to_string(bytes / 1024) + " KiB"
                             : std::to_string(bytes / 1048576) + " MiB";
}

// Lent, written to, sent, read from and given back. Only the first bytes of the frame are touched,
// so that the time is that of the way, and not that of the memory.
template <std::size_t Bytes>
void add_frames(contest& row, const std::string& name, const std::vector<int>& cpus) {
    using loan = cohold::shm_loan<frame<Bytes>>;

    struct stream {
        memory segment = memory::create(12 * Bytes + (std::size_t{1} << 20));
        cohold::shm_pool<frame<Bytes>>& pool =
            segment.construct<cohold::shm_pool<frame<Bytes>>>("pool", 8);
        cohold::shm_queue<loan>& queue = segment.construct<cohold::shm_queue<loan>>("queue", 8);
    };

    constexpr std::uint64_t count = 5'000;
    auto way = std::make_shared<stream>();
    const auto send = [way](std::uint64_t n) {
        for (std::uint64_t i = 1; i <= n; ++i) {
            loan next = way->pool.loan();
            next->number = i;
            way->queue.push(std::move(next));
        }
        return std::uint64_t{0};
    };
    const auto receive = [way](std::uint64_t n) {
        std::uint64_t sum = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            sum += (*way->queue.pop())->number;
        }
        return sum;
    };
    const auto worker = [](int cpu, auto work) {
        return bench::worker{cpu, [=] { return work(count); },
                             [=] { static_cast<void>(work(count / 10)); }};
    };
    auto team = std::make_shared<bench::team>(
        std::vector<bench::worker>{worker(cpus[0], send), worker(cpus[1], receive)});
    row.add(name, [team] { return team->run(count, count * (count + 1) / 2); });
}

template <std::size_t Bytes>
contest frames(const std::vector<int>& cpus, int rounds) {
    contest row(size_text(Bytes), {{bound::at_most, 1.1, {"the same, 64 B"}}});
    add_frames<Bytes>(row, "cohold", cpus);
    add_frames<64>(row, "the same, 64 B", cpus);
    return row.measure(rounds);
}

inline std::vector<contest> frame_rows(const std::vector<int>& cpus, int rounds) {
    return {frames<64>(cpus, rounds), frames<4096>(cpus, rounds), frames<65536>(cpus, rounds),
            frames<1048576>(cpus, rounds), frames<4194304>(cpus, rounds)};
}

// ---- calls

// There and back between a client and a server, as pairs of functions.
template <class Call, class Serve>
void add_calls(contest& row, const char* name, const std::vector<int>& cpus, std::uint64_t count,
               Call call, Serve serve) {
    const auto client = [call](std::uint64_t n) {
        std::uint64_t sum = 0;
        for (std::uint64_t i = 1; i <= n; ++i) {
            sum += call(i);
        }
        return sum;
    };
    const auto server = [serve](std::uint64_t n) {
        for (std::uint64_t i = 0; i < n; ++i) {
            serve();
        }
        return std::uint64_t{0};
    };
    const auto worker = [count](int cpu, auto work) {
        return bench::worker{cpu, [=] { return work(count); },
                             [=] { static_cast<void>(work(count / 10)); }};
    };
    auto team = std::make_shared<bench::team>(
        std::vector<bench::worker>{worker(cpus[0], client), worker(cpus[1], server)});
    // The response is the number of the call, plus one.
    row.add(name, [team, count] { return team->run(count, count * (count + 1) / 2 + count); });
}

inline void add_service(contest& row, const std::vector<int>& cpus, std::uint64_t count) {
    using service = cohold::shm_service<std::uint64_t, std::uint64_t>;

    struct place {
        memory segment = memory::create(std::size_t{1} << 20);
        service& it = segment.construct<service>("it", 16);
    };

    auto shared = std::make_shared<place>();
    add_calls(
        row, "cohold", cpus, count,
        [shared](std::uint64_t number) { return shared->it.call(number).value_or(0); },
        [shared] {
            auto call = shared->it.next();
            call.reply(call.request() + 1);
        });
}

// A word in each direction, with nothing around it.
inline void add_lines(contest& row, const std::vector<int>& cpus, std::uint64_t count) {
    auto lines = std::make_shared<in_shared_memory<std::array<own_line, 2>>>();
    const auto await_change = [](const std::atomic<std::uint32_t>& word, std::uint32_t from) {
        std::uint32_t now = from;
        while ((now = word.load(std::memory_order_acquire)) == from) {
        }
        return now;
    };
    add_calls(
        row, "raw line", cpus, count,
        [lines, await_change](std::uint64_t number) {
            auto& [request, response] = **lines;
            const std::uint32_t before = response.value.load(std::memory_order_relaxed);
            request.value.fetch_add(1, std::memory_order_release);
            await_change(response.value, before);
            return number + 1;
        },
        [lines, await_change] {
            auto& [request, response] = **lines;
            await_change(request.value, response.value.load(std::memory_order_relaxed));
            response.value.fetch_add(1, std::memory_order_release);
        });
}

inline void add_socket(contest& row, const std::vector<int>& cpus, std::uint64_t count) {
    struct pair {
        int ends[2] = {-1, -1};

        pair() { check(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0, "socketpair"); }

        pair(const pair&) = delete;
        pair& operator=(const pair&) = delete;

        ~pair() {
            ::close(ends[0]);
            ::close(ends[1]);
        }

        void send(int end, std::uint64_t number) const {
            check(::write(ends[end], &number, sizeof number) == sizeof number, "write");
        }

        [[nodiscard]] std::uint64_t receive(int end) const {
            std::uint64_t number = 0;
            check(::read(ends[end], &number, sizeof number) == sizeof number, "read");
            return number;
        }
    };

    auto sockets = std::make_shared<pair>();
    add_calls(
        row, "unix socket", cpus, count,
        [sockets](std::uint64_t number) {
            sockets->send(0, number);
            return sockets->receive(0);
        },
        [sockets] { sockets->send(1, sockets->receive(1) + 1); });
}

inline std::vector<contest> call_rows(const std::vector<int>& cpus, int rounds) {
    contest row("a call and its reply, 8 B each");
    add_service(row, cpus, 5'000);
    add_lines(row, cpus, 5'000);
    add_socket(row, cpus, 500);
    return {row.measure(rounds)};
}

} // namespace bench::loans

#endif
