// Many processes log, one writes the lines to a file. Logging makes no system call; when the
// collector does not keep up, lines are dropped and counted.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "../check.hpp"

// #region types
struct log_line {
    std::int32_t process;
    std::uint32_t number; // the process's own count: gaps are lines that were dropped
    std::uint16_t length;
    char text[118];
};

static_assert(sizeof(log_line) == 128);

struct log_box {
    cohold::shm_queue<log_line, cohold::concurrency::mpsc> lines{1024};
    std::atomic<std::uint64_t> dropped = 0;
};

// #endregion types

namespace {

// #region log
class logger {
  public:
    explicit logger(log_box& box) : box_(&box) {}

    // Never waits.
    void log(std::string_view text) {
        log_line line{.process = getpid(), .number = ++count_, .length = 0, .text = {}};
        line.length = static_cast<std::uint16_t>(std::min(text.size(), sizeof line.text));
        std::copy_n(text.data(), line.length, line.text);
        if (!box_->lines.try_push(line)) {
            box_->dropped.fetch_add(1, std::memory_order_relaxed);
        }
    }

  private:
    log_box* box_;
    std::uint32_t count_ = 0;
};

// #endregion log

// #region collect
int collect(log_box& box, std::FILE* file) {
    log_line line{};
    while (box.lines.pop(line)) { // waits; false once it is closed and drained
        std::fprintf(file, "%d %u %.*s\n", line.process, line.number, int{line.length}, line.text);
    }
    return std::fclose(file);
}

// #endregion collect

void log_a_lot(log_box& box, int how_many) {
    logger mine(box);
    for (int i = 1; i <= how_many; ++i) {
        mine.log("the answer to request " + std::to_string(i));
        usleep(100);
    }
}

} // namespace

int main() {
    cohold::segment<>::remove("example-log");
    const auto segment = cohold::segment<>::create("example-log", 1 << 20);
    auto& box = segment.construct<log_box>("log");
    std::FILE* const file = std::tmpfile();
    std::fflush(nullptr);
    const pid_t collector = fork();
    if (collector == 0) {
        _exit(collect(box, file));
    }
    pid_t writers[3];
    for (pid_t& writer : writers) {
        if (writer = fork(); writer == 0) {
            log_a_lot(box, 500);
            _exit(0);
        }
    }
    usleep(20000);
    kill(writers[0], SIGKILL); // in the middle of a line, perhaps; the others do not notice
    for (const pid_t writer : writers) {
        waitpid(writer, nullptr, 0);
    }
    box.lines.close();
    int status = 1;
    check(waitpid(collector, &status, 0) == collector && status == 0);

    // The lines of each process are whole, and in order.
    std::rewind(file);
    std::map<int, unsigned> last;
    std::uint64_t lines = 0;
    int process = 0;
    unsigned number = 0;
    unsigned request = 0;
    while (std::fscanf(file, "%d %u the answer to request %u\n", &process, &number, &request) ==
           3) {
        check(number == request && number > last[process]);
        last[process] = number;
        ++lines;
    }
    check(std::feof(file) != 0);
    check(lines + box.dropped >= 1000); // those of the two that lived, and some of the third
    std::fclose(file);
    check(cohold::segment<>::remove("example-log"));
}
