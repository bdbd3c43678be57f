// The results for programs: with --json=FILE, a benchmark writes a line of JSON there for each
// table that it prints.
//
// Such a line has the members "table" and "unit", and "rows", which have a "name" and figures; a
// figure that was not measured is null. What publish.py reads from them is in this format and
// nowhere else.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_JSON_HPP
#define COHOLD_TEST_BENCH_JSON_HPP

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::json {

// A value is the text that stands for it.

inline std::string text(std::string_view characters) {
    std::string quoted = "\"";
    for (const char c : characters) {
        if (c == '"' || c == '\\') {
            quoted += '\\';
        }
        quoted += c;
    }
    return quoted + '"';
}

/// Four digits: no benchmark on a shared machine knows more.
inline std::string number(double value) {
    if (!std::isfinite(value)) {
        return "null";
    }
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.4g", value);
    return digits;
}

inline std::string truth(bool value) {
    return value ? "true" : "false";
}

inline std::string list(const std::vector<std::string>& values) {
    std::string all;
    for (const std::string& value : values) {
        all += (all.empty() ? "[" : ", ") + value;
    }
    return all.empty() ? "[]" : all + "]";
}

inline std::string object(std::initializer_list<std::pair<const char*, std::string>> members) {
    std::string all;
    for (const auto& [name, value] : members) {
        all += (all.empty() ? "{" : ", ") + text(name) + ": " + value;
    }
    return all.empty() ? "{}" : all + "}";
}

inline std::FILE*& file() {
    static std::FILE* the_file = nullptr;
    return the_file;
}

/// From now on, lines go to this file.
inline void open(const char* path) {
    file() = std::fopen(path, "we");
    if (file() == nullptr) {
        std::perror(path);
        std::exit(1);
    }
}

/// Writes the line, if a file was asked for.
inline void line(const std::string& value) {
    if (file() != nullptr &&
        (std::fprintf(file(), "%s\n", value.c_str()) < 0 || std::fflush(file()) != 0)) {
        std::perror("--json");
        std::exit(1);
    }
}

inline void table(std::string_view title, std::string_view unit,
                  const std::vector<std::string>& rows) {
    line(object({{"table", text(title)}, {"unit", text(unit)}, {"rows", list(rows)}}));
}

} // namespace bench::json

#endif
