// Parsing the text files of /proc: reading them, lines and words, numbers, tables, and the lines of
// /proc/PID/maps.
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

// ---- reading

// Reads all of an open file, however small the pieces in which the kernel delivers it. 0, or errno:
// ESRCH if the process has ended meanwhile. No file in /proc is as long as `most`.
[[gnu::cold]] int read_text(int fd, std::string& out, std::size_t most = 64u << 20);

// The same for a path.
[[gnu::cold]] int read_text(const char* path, std::string& out);

// ---- lines, words and numbers

// Removes the first line from `rest` and returns it without its line end.
[[gnu::cold]] std::string_view next_line(std::string_view& rest) noexcept;

// Removes the first word and the blanks around it from `rest`, and returns it. Empty at the end.
[[gnu::cold]] std::string_view next_word(std::string_view& rest) noexcept;

// The number that is the whole word; a negative one as its two's complement. Empty if the word is
// not a number, or does not fit.
[[gnu::cold]] std::optional<std::uint64_t> number_in(std::string_view word,
                                                     unsigned base = 10) noexcept;

// The number that a file contains. Empty if it is not a number, such as "max".
[[gnu::cold]] std::optional<std::uint64_t> number_of_file(const char* path);

// ---- lists of keys, and tables

// The value in "Key:   123 kB" or "Key:  123": in bytes if it has a unit, otherwise the number
// itself.
[[gnu::cold]] std::optional<std::uint64_t> amount_in(std::string_view words) noexcept;

// A key of such a text, and the member that takes its amount.
template <class T>
struct text_field {
    std::string_view key;
    std::optional<std::uint64_t> T::* member;
};

// Adds the amount in one line to its member. True if the line's key is one of the fields.
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

// Does so for each line of a text.
template <class T, std::size_t N>
[[gnu::cold]] void add_fields(std::string_view text, const text_field<T> (&fields)[N], T& out) {
    while (!text.empty()) {
        add_field(next_line(text), fields, out);
    }
}

// Decodes the kernel's escapes for bytes that would look like its own separators: "\040" is a
// blank.
[[gnu::cold]] std::string unescaped(std::string_view text);

// A table whose columns are found by their titles, because newer kernels have added columns.
class column_table {
  public:
    [[gnu::cold]] explicit column_table(std::string_view text) noexcept;

    // Goes to the next row. False at the end. Rows with too few columns are skipped.
    [[nodiscard, gnu::cold]] bool next() noexcept;

    // The number in a column of the current row; 0 if there is no such column, or no number in it.
    [[nodiscard, gnu::cold]] std::uint64_t number(std::string_view title,
                                                  unsigned base = 10) const noexcept;

  private:
    static constexpr unsigned most = 32;

    std::string_view rest_;
    std::string_view titles_[most];
    std::string_view cells_[most];
    unsigned columns_ = 0;
};

// ---- /proc/PID/maps

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
    std::string_view path; // with "\012" for newlines, and followed by " (deleted)" if it is
};

// Combines the two numbers of a device into one, as in the st_dev of stat(2).
[[nodiscard]] constexpr std::uint64_t device_number(std::uint64_t major,
                                                    std::uint64_t minor) noexcept {
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~std::uint64_t{0xff}) << 12 |
           (major & ~std::uint64_t{0xfff}) << 32;
}

// False if the line does not describe a mapping.
[[gnu::cold]] bool parse_map_line(std::string_view line, map_line& out) noexcept;

// Calls visit(mapping) for each line of the text of /proc/PID/maps.
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

#if COHOLD_DEFINED_HERE
#include <cohold/os/proc.ipp>
#endif

#endif
