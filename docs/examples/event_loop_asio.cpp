// A queue between processes in an event loop of Asio, here without Boost; with Boost.Asio it is the
// same, in the namespace boost::asio.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <system_error>

#include <sys/wait.h>
#include <unistd.h>

#include <asio.hpp>

#include <cohold/cohold.hpp>

#include "check.hpp"

namespace {

using numbers = cohold::shm_queue<std::int32_t>;
using shared_numbers = cohold::shared<numbers>;
constexpr const char name[] = "example-event-loop-asio";
constexpr int count = 1000;

// #region use
class receiver {
  public:
    receiver(asio::io_context& loop, numbers& queue)
        : queue_(queue), events_(queue.watch()),
          descriptor_(loop, ::dup(events_.native_handle())) { // Asio closes the copy
        wait();
    }

    [[nodiscard]] std::int64_t sum() const { return sum_; }

  private:
    void wait() {
        descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this](const std::error_code& error) {
                                   if (!error && receive()) {
                                       wait();
                                   }
                               });
    }

    // Returns whether there can be more.
    bool receive() {
        std::error_code ec;
        while (const auto number = queue_.try_pop(ec)) {
            sum_ += *number;
        }
        events_.clear();
        return ec != cohold::errc::closed;
    }

    numbers& queue_;
    cohold::event_descriptor events_;
    asio::posix::stream_descriptor descriptor_;
    std::int64_t sum_ = 0;
};

// #endregion use

} // namespace

int main() {
    const auto shared = shared_numbers::create(name, 64);
    const pid_t producer = ::fork();
    if (producer == 0) {
        const auto mine = shared_numbers::open(name);
        for (std::int32_t i = 1; i <= count; ++i) {
            mine->push(i);
        }
        mine->close();
        ::_exit(0);
    }
    asio::io_context loop;
    const receiver numbers_of_others(loop, *shared);
    loop.run();
    int status = -1;
    check(::waitpid(producer, &status, 0) == producer && status == 0);
    check(numbers_of_others.sum() == std::int64_t{count} * (count + 1) / 2);
    shared_numbers::remove(name);
}
