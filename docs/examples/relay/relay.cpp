// Carries a queue to another machine with ZeroMQ: at least once, in order, whichever program is
// killed, and no faster than the consumers over there take the elements out.
//
//   relay produce FILE COUNT    pushes readings to the queue of the segment in FILE
//   relay send FILE ADDRESS     carries them to a `receive`, as tcp://host:5555
//   relay receive FILE ADDRESS  pushes them to a queue of the segment in FILE, as tcp://*:5555
//   relay consume FILE          pops them, until the queue is closed
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include <zmq.hpp>

#include <cohold/cohold.hpp>

// #region types
struct reading {
    std::uint64_t number;
    double value;
};

// Both machines have the same byte order. The queue of `send` has one consumer, that of `receive`
// one producer: each may be killed and replaced.
using outbox = cohold::shm_queue<reading, cohold::concurrency::mpsc>;
using inbox = cohold::shm_queue<reading, cohold::concurrency::spmc>;

struct packet {
    std::uint64_t stream; // a random number of the outbox
    std::uint64_t number; // in the stream; an acknowledgement: of the next one that is expected
    std::uint64_t is_last;
    reading value;
};

// What is on the way, and what has arrived, survive in the segments.
struct sending {
    std::uint64_t stream = 0;
    std::uint64_t next = 0;
    cohold::shm_deque<packet> unacknowledged{};
};

using arrivals = cohold::shm_map<std::uint64_t, std::uint64_t>; // stream, next number

// #endregion types

namespace {

using namespace std::chrono_literals;
using segment = cohold::segment<cohold::mechanism::file>;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t window = 64; // packets on the way
constexpr auto patience = 200ms;   // until they are sent again

template <class T>
bool post(zmq::socket_t& socket, const T& message) {
    return socket.send(zmq::buffer(&message, sizeof message), zmq::send_flags::dontwait)
        .has_value();
}

std::optional<packet> packet_in(const zmq::message_t& message) {
    packet found{};
    if (message.size() != sizeof found) { // anybody can send something
        return {};
    }
    std::memcpy(&found, message.data(), sizeof found);
    return found;
}

int produce(const char* file, std::uint64_t count) {
    const auto in = segment::open_or_create(file);
    auto& queue = in.find_or_construct<outbox>("readings", 100);
    for (std::uint64_t number = 0; number < count; ++number) {
        queue.push({number, static_cast<double>(number) / 2}); // waits while the way is blocked
    }
    queue.close();
    return 0;
}

int send(const char* file, const char* address) {
    const auto in = segment::open_or_create(file);
    auto& queue = in.find_or_construct<outbox>("readings", 100);
    auto& state = in.find_or_construct<cohold::shm_guarded<sending>>("sending");
    zmq::context_t context;
    zmq::socket_t socket(context, zmq::socket_type::dealer);
    socket.set(zmq::sockopt::immediate, true); // only to a receiver that is there
    socket.set(zmq::sockopt::sndhwm, static_cast<int>(4 * window)); // resent ones, too
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::reconnect_ivl, 10);
    socket.set(zmq::sockopt::reconnect_ivl_max, 200);
    socket.connect(address);
    state.with([](sending& on_the_way) {
        while (on_the_way.stream == 0) {
            on_the_way.stream = std::random_device()() + (std::uint64_t{1} << 32);
        }
    });
    auto sent = clock_type::time_point(); // what another process has sent, is sent again
    for (bool is_over = false;;) {
        // #region send
        // A kill in the middle of with() undoes it; a kill between it and release() sends the
        // element twice. Either way it is not lost.
        std::error_code ec;
        while (!is_over && state.lock()->unacknowledged.size() < window) {
            auto view = queue.try_front(ec);
            if (!view && ec != cohold::errc::closed) {
                break;
            }
            is_over = !view;
            packet made{};
            state.with([&](sending& on_the_way) {
                const auto& last = on_the_way.unacknowledged;
                if (is_over && !last.empty() && last.back().is_last != 0) {
                    return; // the one before has got this far
                }
                made = {on_the_way.stream, on_the_way.next++, is_over ? std::uint64_t{1} : 0,
                        view ? *view : reading()};
                on_the_way.unacknowledged.push_back(made);
            });
            if (view) {
                view.release();
            }
            if (made.stream != 0) {
                post(socket, made);
            }
        }
        // #endregion send
        if (!is_over && state.lock()->unacknowledged.empty()) {
            if (auto view = queue.front_for(50ms)) { // sleeps until there is something
                view.keep();
            }
            continue;
        }
        zmq::pollitem_t items[] = {{socket.handle(), 0, ZMQ_POLLIN, 0}};
        zmq::poll(items, 1, 1ms);
        zmq::message_t message;
        bool is_done = false;
        while (socket.recv(message, zmq::recv_flags::dontwait)) {
            const auto found = packet_in(message);
            state.with([&](sending& on_the_way) {
                auto& left = on_the_way.unacknowledged;
                while (found && found->stream == on_the_way.stream && !left.empty() &&
                       left.front().number < found->number) {
                    is_done = left.front().is_last != 0;
                    left.pop_front();
                    sent = clock_type::now();
                }
            });
        }
        if (is_done) {
            return 0;
        }
        if (clock_type::now() - sent > patience) {
            for (const packet& each : state.lock()->unacknowledged) {
                post(socket, each);
            }
            sent = clock_type::now();
        }
    }
}

int receive(const char* file, const char* address) {
    const auto in = segment::open_or_create(file);
    auto& queue = in.find_or_construct<inbox>("readings", 100);
    auto& arrived = in.find_or_construct<arrivals>("arrivals");
    zmq::context_t context;
    zmq::socket_t socket(context, zmq::socket_type::router);
    socket.set(zmq::sockopt::linger, 0);
    socket.bind(address);
    for (;;) {
        zmq::message_t sender;
        zmq::message_t message;
        if (!socket.recv(sender) || !socket.recv(message)) {
            continue;
        }
        const auto found = packet_in(message);
        if (!found) {
            continue;
        }
        // #region receive
        // First into the queue, then into the books: a kill in between lets it come twice.
        std::uint64_t& next = arrived.try_emplace(found->stream, 0U).first->second;
        if (found->number == next) {
            if (found->is_last != 0) {
                queue.close();
            } else {
                queue.push(found->value); // no acknowledgement while there is no room
            }
            ++next;
        }
        const packet answer{found->stream, next, 0, {}};
        // #endregion receive
        socket.send(sender, zmq::send_flags::sndmore);
        post(socket, answer);
    }
}

int consume(const char* file) {
    const auto in = segment::open_or_create(file);
    auto& queue = in.find_or_construct<inbox>("readings", 100);
    std::uint64_t next = 0;
    std::uint64_t twice = 0;
    while (const auto got = queue.pop()) {
        if (got->number > next || got->value * 2 != static_cast<double>(got->number)) {
            std::fprintf(stderr, "%llu instead of %llu\n",
                         static_cast<unsigned long long>(got->number),
                         static_cast<unsigned long long>(next));
            return 1;
        }
        twice += got->number < next ? 1U : 0U;
        next = got->number + 1;
    }
    std::printf("%llu readings, %llu of them twice\n", static_cast<unsigned long long>(next),
                static_cast<unsigned long long>(twice));
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 2 ? argv[1] : "";
    try {
        std::uint64_t count = 0;
        if (what == "produce" && argc == 4 &&
            std::from_chars(argv[3], argv[3] + std::strlen(argv[3]), count).ec == std::errc()) {
            return produce(argv[2], count);
        }
        if (what == "send" && argc == 4) {
            return send(argv[2], argv[3]);
        }
        if (what == "receive" && argc == 4) {
            return receive(argv[2], argv[3]);
        }
        if (what == "consume" && argc == 3) {
            return consume(argv[2]);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "relay: %s\n", error.what());
        return 1;
    }
    std::fprintf(stderr, "usage: relay produce FILE COUNT | send FILE ADDRESS | receive FILE "
                         "ADDRESS | consume FILE\n");
    return 2;
}
