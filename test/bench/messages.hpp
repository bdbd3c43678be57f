// Messages between two processes: shm_message_queue, compared with Boost's queue, that of the
// kernel, a pipe, a socket, and ZeroMQ where it is installed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_MESSAGES_HPP
#define COHOLD_TEST_BENCH_MESSAGES_HPP

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <mqueue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>

#if BENCH_ZEROMQ
#include <zmq.h>
#endif

#include <cohold/cohold.hpp>

#include "harness.hpp"
#include "processes.hpp"

namespace bench::messages {

// How many messages have room, in the queues where that can be chosen.
constexpr std::size_t places_for(std::size_t bytes) {
    const std::size_t places = (std::size_t{1} << 20) / bytes;
    return places < 16 ? 16 : places > 1024 ? 1024 : places;
}

// Each of them sends and receives with waiting.

struct cohold_queue {
    static constexpr const char* name = "cohold";
    static constexpr std::uint64_t count = 100'000;
    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(std::size_t{4} << 20);
    cohold::shm_message_queue& queue;

    explicit cohold_queue(std::size_t bytes)
        : queue(segment.construct<cohold::shm_message_queue>("q",
                                                             places_for(bytes) * (bytes + 64))) {}

    void send(const std::byte* bytes, std::size_t size) {
        queue.push(std::span<const std::byte>(bytes, size));
    }

    std::uint64_t receive(std::byte* into) {
        const auto message = queue.pop();
        std::memcpy(into, message->data(), message->size());
        std::uint64_t first = 0;
        std::memcpy(&first, into, sizeof first);
        return first;
    }
};

// Without a copy on either side, where the others have one.
struct cohold_in_place : cohold_queue {
    static constexpr const char* name = "cohold, in place";
    using cohold_queue::cohold_queue;

    void send(const std::byte* bytes, std::size_t size) {
        auto claimed = queue.claim(size);
        std::memcpy(claimed->data(), bytes, sizeof(std::uint64_t)); // as if it were made there
        claimed.commit();
    }

    std::uint64_t receive(std::byte* /*into*/) {
        const auto message = queue.pop();
        std::uint64_t first = 0;
        std::memcpy(&first, message->data(), sizeof first);
        return first;
    }
};

struct boost_queue {
    static constexpr const char* name = "boost message_queue";
    static constexpr std::uint64_t count = 10'000;
    std::string object = own_name("messages");
    boost::interprocess::message_queue queue;
    std::size_t size;

    explicit boost_queue(std::size_t bytes)
        : queue(boost::interprocess::create_only, object.c_str(), places_for(bytes), bytes),
          size(bytes) {
        boost::interprocess::message_queue::remove(object.c_str());
    }

    void send(const std::byte* bytes, std::size_t length) { queue.send(bytes, length, 0); }

    std::uint64_t receive(std::byte* into) {
        boost::interprocess::message_queue::size_type length = 0;
        unsigned priority = 0;
        queue.receive(into, size, length, priority);
        std::uint64_t first = 0;
        std::memcpy(&first, into, sizeof first);
        return first;
    }
};

// What a descriptor carries, one message a call.
template <class Queue>
struct by_descriptor {
    static constexpr std::uint64_t count = 10'000;
    int ends[2] = {-1, -1};
    std::size_t size;

    explicit by_descriptor(std::size_t bytes) : size(bytes) { Queue::open(ends, bytes); }

    by_descriptor(const by_descriptor&) = delete;
    by_descriptor& operator=(const by_descriptor&) = delete;

    ~by_descriptor() {
        ::close(ends[0]);
        ::close(ends[1]);
    }

    void send(const std::byte* bytes, std::size_t length) {
        for (std::size_t done = 0; done < length;) {
            const ssize_t more = ::write(ends[1], bytes + done, length - done);
            check(more > 0, "write");
            done += static_cast<std::size_t>(more);
        }
    }

    std::uint64_t receive(std::byte* into) {
        for (std::size_t done = 0; done < size;) {
            const ssize_t more = ::read(ends[0], into + done, size - done);
            check(more > 0, "read");
            done += static_cast<std::size_t>(more);
        }
        std::uint64_t first = 0;
        std::memcpy(&first, into, sizeof first);
        return first;
    }
};

struct pipe_queue : by_descriptor<pipe_queue> {
    static constexpr const char* name = "pipe";
    using by_descriptor::by_descriptor;

    static void open(int* ends, std::size_t /*bytes*/) { check(::pipe2(ends, 0) == 0, "pipe2"); }
};

struct socket_queue : by_descriptor<socket_queue> {
    static constexpr const char* name = "unix socket";
    using by_descriptor::by_descriptor;

    static void open(int* ends, std::size_t /*bytes*/) {
        check(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0, "socketpair");
    }
};

struct posix_queue {
    static constexpr const char* name = "POSIX mq";
    static constexpr std::uint64_t count = 10'000;
    ::mqd_t queue;
    std::size_t size;

    explicit posix_queue(std::size_t bytes) : queue(open(bytes)), size(bytes) {
        check(queue != -1, "mq_open");
    }

    // The kernel limits the size of messages: to 8 KiB, unless it is told otherwise.
    static bool carries(std::size_t bytes) {
        const ::mqd_t tried = open(bytes);
        if (tried != -1) {
            ::mq_close(tried);
        }
        return tried != -1;
    }

    static ::mqd_t open(std::size_t bytes) {
        const std::string object = "/" + own_name("mq");
        ::mq_attr wanted{};
        wanted.mq_maxmsg = 10; // what everybody may have
        wanted.mq_msgsize = static_cast<long>(bytes);
        const ::mqd_t opened = ::mq_open(object.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, &wanted);
        ::mq_unlink(object.c_str());
        return opened;
    }

    posix_queue(const posix_queue&) = delete;
    posix_queue& operator=(const posix_queue&) = delete;

    ~posix_queue() { ::mq_close(queue); }

    void send(const std::byte* bytes, std::size_t length) {
        check(::mq_send(queue, reinterpret_cast<const char*>(bytes), length, 0) == 0, "mq_send");
    }

    std::uint64_t receive(std::byte* into) {
        check(::mq_receive(queue, reinterpret_cast<char*>(into), size, nullptr) ==
                  static_cast<ssize_t>(size),
              "mq_receive");
        std::uint64_t first = 0;
        std::memcpy(&first, into, sizeof first);
        return first;
    }
};

#if BENCH_ZEROMQ
// Sockets are made by the threads that use them, at the first message.
template <class Queue>
struct zeromq_queue {
    static constexpr std::uint64_t count = 10'000;
    std::string object = Queue::prefix + own_name("zeromq");
    std::size_t size;
    void* context = nullptr;
    void* sender = nullptr;
    void* receiver = nullptr;

    explicit zeromq_queue(std::size_t bytes) : size(bytes) {}

    void send(const std::byte* bytes, std::size_t length) {
        if (sender == nullptr) {
            sender = Queue::open(context, ZMQ_PUSH);
            check(::zmq_connect(sender, object.c_str()) == 0, "zmq_connect");
        }
        check(::zmq_send(sender, bytes, length, 0) == static_cast<int>(length), "zmq_send");
    }

    std::uint64_t receive(std::byte* into) {
        if (receiver == nullptr) {
            receiver = Queue::open(context, ZMQ_PULL);
            check(::zmq_bind(receiver, object.c_str()) == 0, "zmq_bind");
        }
        check(::zmq_recv(receiver, into, size, 0) == static_cast<int>(size), "zmq_recv");
        std::uint64_t first = 0;
        std::memcpy(&first, into, sizeof first);
        return first;
    }
};

// Between processes: an abstract socket, which leaves no file.
struct zeromq_ipc : zeromq_queue<zeromq_ipc> {
    static constexpr const char* name = "ZeroMQ ipc";
    static constexpr const char* prefix = "ipc://@";
    using zeromq_queue::zeromq_queue;

    // In the child: a context does not survive fork().
    static void* open(void*& context, int kind) {
        if (context == nullptr) {
            context = ::zmq_ctx_new();
        }
        return ::zmq_socket(context, kind);
    }
};

// Between threads of a process; each sample has its own process.
struct zeromq_inproc : zeromq_queue<zeromq_inproc> {
    static constexpr const char* name = "ZeroMQ inproc (threads)";
    static constexpr const char* prefix = "inproc://";
    using zeromq_queue::zeromq_queue;

    // Whichever thread is first makes it.
    static void* open(void*& context, int kind) {
        static std::mutex making;
        const std::lock_guard lock(making);
        if (context == nullptr) {
            context = ::zmq_ctx_new();
        }
        return ::zmq_socket(context, kind);
    }
};
#endif

enum class between { processes, threads };

template <class Queue>
void add(contest& row, const std::vector<int>& cpus, std::size_t bytes,
         between what = between::processes) {
    auto queue = std::make_shared<Queue>(bytes);
    const std::size_t places = places_for(bytes);
    const std::uint64_t count = Queue::count / (bytes > 64 ? bytes / 64 : 1) + 2 * places;
    const auto produce = [queue, bytes](std::uint64_t n) {
        std::vector<std::byte> message(bytes);
        for (std::uint64_t i = 1; i <= n; ++i) {
            std::memcpy(message.data(), &i, sizeof i);
            queue->send(message.data(), bytes);
        }
        return std::uint64_t{0};
    };
    const auto consume = [queue, bytes](std::uint64_t n) {
        std::vector<std::byte> message(bytes);
        std::uint64_t sum = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            sum += queue->receive(message.data());
            keep(*message.data());
        }
        return sum;
    };
    // Before the clock starts, all places have been used.
    const auto worker = [=](int cpu, auto work) {
        return bench::worker{cpu, [=] { return work(count); },
                             [=] { static_cast<void>(work(2 * places)); }};
    };
    std::vector<bench::worker> workers{worker(cpus[0], produce), worker(cpus[1], consume)};
    auto team = std::make_shared<bench::team>(what == between::threads ? as_threads(workers)
                                                                       : std::move(workers));
    row.add(Queue::name, [team, count] { return team->run(count, count * (count + 1) / 2); });
}

inline std::vector<contest> rows(const std::vector<int>& cpus, int rounds) {
    std::vector<contest> all;
    for (const std::size_t bytes : {64u, 256u, 1024u, 8192u, 65536u}) {
        contest row(bytes < 1024 ? std::to_string(bytes) + " B"
                                 : std::to_string(bytes / 1024) + " KiB",
                    {{bound::at_least, 5, {boost_queue::name}}});
        add<cohold_queue>(row, cpus, bytes);
        add<cohold_in_place>(row, cpus, bytes);
        add<boost_queue>(row, cpus, bytes);
        if (posix_queue::carries(bytes)) {
            add<posix_queue>(row, cpus, bytes);
        }
        add<pipe_queue>(row, cpus, bytes);
        add<socket_queue>(row, cpus, bytes);
#if BENCH_ZEROMQ
        add<zeromq_ipc>(row, cpus, bytes);
        add<zeromq_inproc>(row, cpus, bytes, between::threads);
#endif
        all.push_back(row.measure(rounds));
    }
    return all;
}

} // namespace bench::messages

#endif
