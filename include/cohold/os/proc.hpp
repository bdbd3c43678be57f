// The lines of /proc/PID/maps and smaps.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_PROC_HPP
#define COHOLD_OS_PROC_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cohold/os/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// All of an open file, however small the pieces are in which it comes. 0, or errno: ESRCH of a
// process that has gone meanwhile. Nothing in /proc is as long as `most`.
[[gnu::cold]] inline int read_text(int fd, std::string& out, std::size_t most = 64u << 20) {
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

// The same of a path.
[[gnu::cold]] inline int read_text(const char* path, std::string& out) {
    out.clear();
    const unique_fd file = open_file(path, O_RDONLY | O_NOCTTY);
    return file ? read_text(file.get(), out) : errno;
}

// Takes the first line away from the rest, without its end.
[[gnu::cold]] inline std::string_view next_line(std::string_view& rest) noexcept {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return line;
}

// Takes the first word away, and the blanks around it. Empty at the end.
[[gnu::cold]] inline std::string_view next_word(std::string_view& rest) noexcept {
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

// A whole word as a number; a negative one as its two's complement. Nothing if it is none, or does
// not fit.
[[gnu::cold]] inline std::optional<std::uint64_t> number_in(std::string_view word,
                                                            unsigned base = 10) noexcept {
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

// The number that a file consists of; "max" is none.
[[gnu::cold]] inline std::optional<std::uint64_t> number_of_file(const char* path) {
    std::string text;
    if (read_text(path, text) != 0) {
        return {};
    }
    std::string_view rest = text;
    std::string_view line = next_line(rest);
    return number_in(next_word(line));
}

// "Key:   123 kB" or "Key:  123": what the number says, in bytes or as it is.
[[gnu::cold]] inline std::optional<std::uint64_t> amount_in(std::string_view words) noexcept {
    const std::optional<std::uint64_t> number = number_in(next_word(words));
    const std::string_view unit = next_word(words);
    if (!number || unit.empty()) {
        return number;
    }
    return unit == "kB" && *number <= UINT64_MAX / 1024 ? std::optional(*number * 1024)
                                                        : std::optional<std::uint64_t>();
}

// A key of such a text, and where its amount goes.
template <class T>
struct text_field {
    std::string_view key;
    std::optional<std::uint64_t> T::* member;
};

// Adds one line to what there is. True if it was one of the fields.
template <class T, std::size_t N>
[[gnu::cold]] bool add_field(std::string_view line, const text_field<T> (&fields)[N], T& out) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
        return false;
    }
    const std::string_view key = line.substr(0, colon);
    for (const text_field<T>& field : fields) {
        if (field.key == key) {
            if (const auto amount = amount_in(line.substr(colon + 1))) {
                auto& sum = out.*field.member;
                sum = sum.value_or(0) + *amount;
            }
            return true;
        }
    }
    return false;
}

// A text of such lines.
template <class T, std::size_t N>
[[gnu::cold]] void add_fields(std::string_view text, const text_field<T> (&fields)[N], T& out) {
    while (!text.empty()) {
        add_field(next_line(text), fields, out);
    }
}

// What the kernel has put for bytes that would be mistaken for its own separators: "\040" is a
// blank.
[[gnu::cold]] inline std::string unescaped(std::string_view text) {
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

// By titles, because kernels have added columns.
class column_table {
  public:
    [[gnu::cold]] explicit column_table(std::string_view text) noexcept : rest_(text) {
        std::string_view line = next_line(rest_);
        while (columns_ < most && !line.empty()) {
            titles_[columns_] = next_word(line);
            columns_ += titles_[columns_].empty() ? 0u : 1u;
        }
    }

    // False at the end. Rows that have too few columns are passed over.
    [[nodiscard, gnu::cold]] bool next() noexcept {
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

    // Of this row; 0 where there is no such column, or no number in it.
    [[nodiscard, gnu::cold]] std::uint64_t number(std::string_view title,
                                                  unsigned base = 10) const noexcept {
        for (unsigned i = 0; i < columns_; ++i) {
            if (titles_[i] == title) {
                return number_in(cells_[i], base).value_or(0);
            }
        }
        return 0;
    }

  private:
    static constexpr unsigned most = 32;

    std::string_view rest_;
    std::string_view titles_[most];
    std::string_view cells_[most];
    unsigned columns_ = 0;
};

// A mapping, as the kernel prints it.
struct map_line {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    bool readable = false;
    bool writable = false;
    bool shared = false;
    std::uint64_t offset = 0;
    std::uint64_t device = 0; // as st_dev
    std::uint64_t inode = 0;
    std::string_view path; // with "\012" for the ends of lines in it, and " (deleted)" behind it
};

// The two numbers of a device as one, as stat(2) gives it.
[[nodiscard]] constexpr std::uint64_t device_number(std::uint64_t major,
                                                    std::uint64_t minor) noexcept {
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~std::uint64_t{0xff}) << 12 |
           (major & ~std::uint64_t{0xfff}) << 32;
}

// False if the line is something else.
[[gnu::cold]] inline bool parse_map_line(std::string_view line, map_line& out) noexcept {
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

// Calls visit(mapping) for each line of a text of /proc/PID/maps.
template <class Visit>
[[gnu::cold]] void for_each_mapping(std::string_view text, const Visit& visit) {
    map_line found;
    while (!text.empty()) {
        if (parse_map_line(next_line(text), found)) {
            visit(found);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
