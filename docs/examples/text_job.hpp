// The main job, a line count shared between processes: the data that its programs agree on, and
// the three roles. The programs are producer.cpp, consumer.cpp, report.cpp and forked.cpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_EXAMPLES_TEXT_JOB_HPP
#define COHOLD_EXAMPLES_TEXT_JOB_HPP

#include <bit>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <cohold/cohold.hpp>

// #region data
namespace text_job {

// Lines have any length and hold any bytes, but the elements of a queue have a fixed size. So a
// line is sent in pieces. All pieces of a line but the last are full.
struct piece {
    static constexpr std::size_t max_length = 254;

    std::uint8_t length;
    bool ends_line; // a newline follows, which is not among the bytes
    char bytes[max_length];
};

static_assert(sizeof(piece) == 256);

// Totals over lines of similar length. Newlines count as bytes, as in wc(1).
struct line_class {
    std::uint64_t lines;
    std::uint64_t words;
    std::uint64_t bytes;
    std::uint64_t longest;
};

// One producer and one consumer. The table has a row for each doubling of the length:
// 0, 1, 2-3, 4-7 ...
using piece_queue = cohold::shm_queue<piece, cohold::concurrency::spsc>;
using line_table = cohold::shm_vector<line_class>;

// The objects in the segment, made by the first program that asks for them.
template <class Segment>
piece_queue& queue_in(const Segment& segment) {
    return segment.template find_or_construct<piece_queue>("pieces", 1024);
}

template <class Segment>
line_table& table_in(const Segment& segment) {
    return segment.template find_or_construct<line_table>("table");
}

// #endregion data

// #region produce
// Sends one line, given by parts: send() any number of times, then end(). False: no consumer,
// because the queue is closed, or because it was full for a minute.
class line_sender {
  public:
    explicit line_sender(piece_queue& queue) : queue_(queue) {}

    bool send(std::string_view part) {
        while (!part.empty()) {
            const std::size_t room = piece::max_length - piece_.length;
            const std::size_t some = part.size() < room ? part.size() : room;
            std::memcpy(piece_.bytes + piece_.length, part.data(), some);
            piece_.length = static_cast<std::uint8_t>(piece_.length + some);
            part.remove_prefix(some);
            if (piece_.length == piece::max_length && !flush(false)) {
                return false;
            }
        }
        return true;
    }

    bool end(bool with_newline) {
        return (!with_newline && piece_.length == 0) || flush(with_newline);
    }

  private:
    bool flush(bool ends_line) {
        piece_.ends_line = ends_line;
        const bool sent = queue_.push_for(piece_, std::chrono::minutes(1));
        piece_.length = 0;
        return sent;
    }

    piece_queue& queue_;
    piece piece_{};
};

// Sends all lines of the file, then closes the queue. False if the file could not be read to its
// end.
inline bool produce(std::FILE* file, piece_queue& queue) {
    line_sender sender(queue);
    char buffer[65536];
    bool listening = true;
    for (std::size_t count = 1; listening && count != 0;) {
        count = std::fread(buffer, 1, sizeof buffer, file);
        std::string_view rest(buffer, count);
        for (std::size_t end; listening && (end = rest.find('\n')) != rest.npos;) {
            listening = sender.send(rest.substr(0, end)) && sender.end(true);
            rest.remove_prefix(end + 1);
        }
        listening = listening && sender.send(rest);
    }
    listening = listening && sender.end(false); // the last line may lack its newline
    queue.close();
    return listening && std::ferror(file) == 0;
}

// #endregion produce

// #region consume
// Counts the lines from the queue until it is closed and empty.
inline void consume(piece_queue& queue, line_table& table) {
    line_class line{}; // the one that is coming in
    bool in_word = false;
    const auto finish = [&] {
        line.longest = line.bytes - line.lines;
        const auto row = static_cast<std::size_t>(std::bit_width(line.longest));
        if (table.size() <= row) {
            table.resize(row + 1);
        }
        line_class& total = table[row];
        total.lines += line.lines;
        total.words += line.words;
        total.bytes += line.bytes;
        total.longest = line.longest > total.longest ? line.longest : total.longest;
        line = {};
        in_word = false;
    };
    while (const auto piece = queue.pop()) {
        for (const char byte : std::string_view(piece->bytes, piece->length)) {
            const bool space = std::isspace(static_cast<unsigned char>(byte)) != 0;
            line.words += !space && !in_word;
            in_word = !space;
        }
        line.bytes += piece->length;
        if (piece->ends_line) {
            line.bytes += 1;
            line.lines = 1;
            finish();
        }
    }
    if (line.bytes != 0) {
        finish(); // without a newline: no line by wc's count, but its words and bytes
    }
}

// #endregion consume

// #region report
// Prints a row for each class of lengths that occurs, and the totals.
inline void report(const line_table& table) {
    std::printf("%16s %10s %10s %12s %10s\n", "length of line", "lines", "words", "bytes",
                "longest");
    const auto print = [](const char* label, const line_class& row) {
        std::printf("%16s %10ju %10ju %12ju %10ju\n", label, std::uintmax_t{row.lines},
                    std::uintmax_t{row.words}, std::uintmax_t{row.bytes},
                    std::uintmax_t{row.longest});
    };
    line_class total{};
    for (std::size_t row = 0; row < table.size(); ++row) {
        const line_class& found = table[row];
        if (found.bytes == 0) {
            continue;
        }
        const std::uint64_t from = row == 0 ? 0 : std::uint64_t{1} << (row - 1);
        char label[48];
        if (row < 2) {
            std::snprintf(label, sizeof label, "%ju", std::uintmax_t{from});
        } else {
            std::snprintf(label, sizeof label, "%ju-%ju", std::uintmax_t{from},
                          std::uintmax_t{2 * from - 1});
        }
        print(label, found);
        total.lines += found.lines;
        total.words += found.words;
        total.bytes += found.bytes;
        total.longest = found.longest; // the rows are in the order of length
    }
    print("total", total);
}

// #endregion report

} // namespace text_job

#endif
