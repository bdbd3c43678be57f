// Definitions for proc.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_PROC_IPP
#define COHOLD_OS_PROC_IPP

#include <cohold/os/proc.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE int read_text(int fd, std::string& out, std::size_t most) {
    std::size_t used = 0;
    int error = 0;
    out.resize(4096);
    while (error == 0) {
        const ssize_t got = read_some(fd, out.data() + used, out.size() - used);
        if (got > 0) {
            used += static_cast<std::size_t>(got);
        } else if (got == 0) {
            break;
        } else if (errno != EINTR) {
            error = errno;
        }
        if (used == out.size()) {
            if (used >= most) {
                break;
            }
            out.resize(used * 4);
        }
    }
    out.resize(used);
    return error;
}

COHOLD_INLINE int read_text(const char* path, std::string& out) {
    out.clear();
    const unique_fd file = open_file(path, O_RDONLY | O_NOCTTY);
    return file ? read_text(file.get(), out) : errno;
}

COHOLD_INLINE std::string_view next_line(std::string_view& rest) noexcept {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return line;
}

COHOLD_INLINE std::string_view next_word(std::string_view& rest) noexcept {
    constexpr std::string_view blanks = " \t";
    const std::size_t begin = rest.find_first_not_of(blanks);
    if (begin == std::string_view::npos) {
        rest = {};
        return {};
    }
    rest.remove_prefix(begin);
    const std::string_view word = rest.substr(0, rest.find_first_of(blanks));
    rest.remove_prefix(word.size());
    const std::size_t more = rest.find_first_not_of(blanks);
    rest.remove_prefix(more == std::string_view::npos ? rest.size() : more);
    return word;
}

COHOLD_INLINE std::optional<std::uint64_t> number_in(std::string_view word,
                                                     unsigned base) noexcept {
    const bool negative = base == 10 && !word.empty() && word.front() == '-';
    word.remove_prefix(negative ? 1 : 0);
    std::uint64_t value = 0;
    for (const char c : word) {
        const unsigned digit = c >= '0' && c <= '9'   ? static_cast<unsigned>(c - '0')
                               : c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a') + 10
                               : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A') + 10
                                                      : base;
        if (digit >= base || value > (UINT64_MAX - digit) / base) {
            return {};
        }
        value = value * base + digit;
    }
    if (word.empty() || (negative && value > static_cast<std::uint64_t>(INT64_MAX))) {
        return {};
    }
    return negative ? 0 - value : value;
}

COHOLD_INLINE std::optional<std::uint64_t> number_of_file(const char* path) {
    std::string text;
    if (read_text(path, text) != 0) {
        return {};
    }
    std::string_view rest = text;
    std::string_view line = next_line(rest);
    return number_in(next_word(line));
}

COHOLD_INLINE std::optional<std::uint64_t> amount_in(std::string_view words) noexcept {
    const std::optional<std::uint64_t> number = number_in(next_word(words));
    const std::string_view unit = next_word(words);
    if (!number || unit.empty()) {
        return number;
    }
    return unit == "kB" && *number <= UINT64_MAX / 1024 ? std::optional(*number * 1024)
                                                        : std::optional<std::uint64_t>();
}

COHOLD_INLINE std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto code = text[i] == '\\' && text.size() - i > 3
                              ? number_in(text.substr(i + 1, 3), 8)
                              : std::optional<std::uint64_t>();
        if (code && *code < 256) {
            out.push_back(static_cast<char>(*code));
            i += 3;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

COHOLD_INLINE column_table::column_table(std::string_view text) noexcept : rest_(text) {
    std::string_view line = next_line(rest_);
    while (columns_ < most && !line.empty()) {
        titles_[columns_] = next_word(line);
        columns_ += titles_[columns_].empty() ? 0u : 1u;
    }
}

COHOLD_INLINE bool column_table::next() noexcept {
    while (!rest_.empty()) {
        std::string_view line = next_line(rest_);
        unsigned found = 0;
        while (found < columns_ && !line.empty()) {
            cells_[found] = next_word(line);
            found += cells_[found].empty() ? 0u : 1u;
        }
        if (found == columns_ && columns_ != 0) {
            return true;
        }
    }
    return false;
}

COHOLD_INLINE std::uint64_t column_table::number(std::string_view title,
                                                 unsigned base) const noexcept {
    for (unsigned i = 0; i < columns_; ++i) {
        if (titles_[i] == title) {
            return number_in(cells_[i], base).value_or(0);
        }
    }
    return 0;
}

COHOLD_INLINE bool parse_map_line(std::string_view line, map_line& out) noexcept {
    const std::string_view range = next_word(line);
    const std::string_view kind = next_word(line);
    const std::string_view offset = next_word(line);
    const std::string_view device = next_word(line);
    const auto inode = number_in(next_word(line));
    const std::size_t dash = range.find('-');
    const std::size_t colon = device.find(':');
    if (dash == std::string_view::npos || colon == std::string_view::npos || kind.size() != 4 ||
        !inode) {
        return false;
    }
    const auto from = number_in(range.substr(0, dash), 16);
    const auto to = number_in(range.substr(dash + 1), 16);
    const auto start = number_in(offset, 16);
    const auto major = number_in(device.substr(0, colon), 16);
    const auto minor = number_in(device.substr(colon + 1), 16);
    if (!from || !to || *to < *from || !start || !major || !minor) {
        return false;
    }
    out = {*from,
           *to,
           kind[0] == 'r',
           kind[1] == 'w',
           kind[3] == 's',
           *start,
           device_number(*major, *minor),
           *inode,
           line};
    return true;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
