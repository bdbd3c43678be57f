// A second thread, which does something while the first one is stopped between two instructions.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_BYSTANDER_HPP
#define COHOLD_TEST_CRASH_BYSTANDER_HPP

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include <sched.h>

namespace crash {

class bystander {
  public:
    bystander() {
        ::sigset_t all;
        ::sigset_t before;
        sigfillset(&all); // signals go to the thread that is stepped
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        thread_ = std::thread([this] { serve(); });
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    bystander(const bystander&) = delete;
    bystander& operator=(const bystander&) = delete;

    ~bystander() {
        start(nullptr);
        thread_.join();
    }

    // The task must stay in place until it is done. Null ends the thread.
    void start(const std::function<void()>* task) noexcept {
        task_ = task;
        state_.store(asked, std::memory_order_release);
        state_.notify_one();
    }

    // Is it done, at the latest after that time?
    [[nodiscard]] bool wait(std::chrono::milliseconds patience) const noexcept {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (state_.load(std::memory_order_acquire) != idle) {
            if (std::chrono::steady_clock::now() > end) {
                return false;
            }
            ::sched_yield();
        }
        return true;
    }

    // Runs it and waits for its end.
    void do_now(const std::function<void()>& task) noexcept {
        start(&task);
        while (!wait(std::chrono::milliseconds(100))) {
        }
    }

  private:
    static constexpr int idle = 0;
    static constexpr int asked = 1;

    void serve() {
        for (;;) {
            state_.wait(idle, std::memory_order_acquire);
            const std::function<void()>* const task = task_;
            if (task == nullptr) {
                return;
            }
            (*task)();
            state_.store(idle, std::memory_order_release);
        }
    }

    std::atomic<int> state_{idle};
    const std::function<void()>* task_ = nullptr;
    std::thread thread_;
};

} // namespace crash

#endif
