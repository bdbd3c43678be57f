// The plug-in: gives the host one function, and nothing of cohold.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "plugin.hpp"

#include <string_view>
#include <thread>

namespace {

using namespace plugin;

// Static, so that unloading the plug-in destroys it: the thread first, then the mapping.
cohold::segment<> own;

struct worker {
    std::thread thread;

    ~worker() { join(); }

    void join() {
        if (thread.joinable()) {
            thread.join();
        }
    }
} consumer;

void open(const char* name) {
    own = cohold::segment<>::open(name);
}

void close() {
    consumer.join();
    own = {};
}

std::size_t size() {
    return own.size();
}

void write_note(const char* name) {
    using namespace std::string_view_literals;
    auto& made = own.construct<note>(name);
    made.author = 2;
    for (const char c : "written by the plug-in"sv) {
        made.text.push_back(c);
    }
}

void erase_note(const char* name) {
    if (!own.destroy<note>(name)) {
        cohold::detail::raise(cohold::errc::not_found, "%s", name);
    }
}

void start(const char* queue_name, const char* sum_name) {
    auto* const in = own.find<queue>(queue_name);
    auto* const sum = own.find<std::atomic<std::uint64_t>>(sum_name);
    consumer.thread = std::thread([in, sum] {
        while (const auto number = in->pop()) {
            // Meanwhile it has a vector of its own, from the same heap.
            cohold::shm_vector<int> numbers(*number % 50, 1, own.allocator<int>());
            sum->fetch_add(*number);
        }
    });
}

void append(cohold::shm_vector<int>& numbers, int number) {
    numbers.push_back(number);
}

void within(ledger& numbers, void (*back)(void*), void* with) {
    const auto locked = numbers.lock();
    locked->push_back(100);
    back(with);
}

void mistake(const char* name) {
    static_cast<void>(own.find<table>(name));
}

std::error_code mistake_without_throwing(const char* name) {
    std::error_code ec;
    static_cast<void>(own.find<table>(name, ec));
    return ec;
}

const char* call(void (*back)()) {
    try {
        back();
    } catch (const cohold::failure&) {
        return "failure";
    } catch (const std::system_error&) {
        return "system_error";
    } catch (...) {
        return "other";
    }
    return "none";
}

constexpr interface functions{.grow = plugin::grow,
                              .holds = plugin::holds,
                              .open = open,
                              .close = close,
                              .size = size,
                              .write_note = write_note,
                              .erase_note = erase_note,
                              .start = start,
                              .append = append,
                              .within = within,
                              .mistake = mistake,
                              .mistake_without_throwing = mistake_without_throwing,
                              .call = call};

} // namespace

extern "C" [[gnu::visibility("default")]] const plugin::interface* cohold_test_plugin() {
    return &functions;
}
