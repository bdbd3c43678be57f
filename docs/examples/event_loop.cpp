// An event loop with epoll(7) that gets jobs, news and the end of the work from other processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <system_error>

#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

namespace {

struct shared_state {
    cohold::shm_queue<std::int32_t> jobs{64};
    cohold::shm_broadcast<std::int32_t> news{1024};
};

using state = cohold::shared<shared_state>;
constexpr const char name[] = "example-event-loop";
constexpr int count = 1000;

int produce() {
    const auto shared = state::open(name);
    for (std::int32_t i = 1; i <= count; ++i) {
        shared->jobs.push(i); // knows nothing of event loops
        if (i % 10 == 0) {
            shared->news.publish(i);
        }
    }
    shared->news.close();
    shared->jobs.close();
    return 0;
}

} // namespace

int main() {
    const auto shared = state::create(name);
    const pid_t producer = ::fork();
    if (producer == 0) {
        ::_exit(produce());
    }
    std::int64_t sum = 0;
    std::int32_t last_news = 0;
    // #region use
    auto news = shared->news.subscribe(cohold::from::oldest);
    const int on_job = shared->jobs.native_event();
    const int on_news = news.native_event();

    const int poller = ::epoll_create1(EPOLL_CLOEXEC);
    for (const int each : {on_job, on_news}) {
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        wanted.data.fd = each;
        check(::epoll_ctl(poller, EPOLL_CTL_ADD, each, &wanted) == 0);
    }
    for (int open = 2; open != 0;) {
        epoll_event found{};
        if (::epoll_wait(poller, &found, 1, -1) != 1) {
            continue; // a signal
        }
        std::error_code ec;
        if (found.data.fd == on_job) {
            while (const auto job = shared->jobs.try_pop(ec)) { // all that is there
                sum += *job;
            }
        } else {
            while (const auto item = news.try_next(ec)) {
                last_news = *item;
            }
        }
        if (ec == cohold::errc::closed) { // readable for ever
            ::epoll_ctl(poller, EPOLL_CTL_DEL, found.data.fd, nullptr);
            --open;
        }
        std::uint64_t ignored = 0; // clears it; it is readable again at once if more has come
        static_cast<void>(!::read(found.data.fd, &ignored, sizeof ignored));
    }
    ::close(poller);
    // #endregion use
    int status = -1;
    check(::waitpid(producer, &status, 0) == producer && status == 0);
    check(sum == std::int64_t{count} * (count + 1) / 2);
    check(last_news == count);
    state::remove(name);
}
