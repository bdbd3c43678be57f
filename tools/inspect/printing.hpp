// How cohold_inspect writes: tables for people, JSON for programs; names of any bytes in either.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TOOLS_INSPECT_PRINTING_HPP
#define COHOLD_TOOLS_INSPECT_PRINTING_HPP

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

namespace inspector {

// ---- bytes that may be anything

// How many bytes the character at the front has in UTF-8; 0 if there is none that can be printed.
inline std::size_t printable(std::string_view text) {
    const auto byte = [text](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
    const unsigned first = byte(0);
    if (first < 0x80) {
        return first >= 0x20 && first != 0x7f ? 1 : 0;
    }
    if (first >= 0xc2 && first < 0xe0 && follows(1)) {
        return first == 0xc2 && byte(1) < 0xa0 ? 0 : 2; // C1 controls
    }
    if (first >= 0xe0 && first < 0xf0 && follows(1) && follows(2)) {
        const unsigned code = (first & 0xfu) << 12 | (byte(1) & 0x3fu) << 6 | (byte(2) & 0x3fu);
        const bool turns = (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
        return code < 0x800 || (code >= 0xd800 && code < 0xe000) || turns ? 0 : 3;
    }
    if (first >= 0xf0 && first < 0xf5 && follows(1) && follows(2) && follows(3)) {
        return (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f) ? 0 : 4;
    }
    return 0;
}

// Without control sequences for terminals.
inline std::string shown(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const std::size_t length = printable(bytes);
        if (length == 0 || bytes[0] == '\\') {
            char code[8];
            std::snprintf(code, sizeof code, length == 0 ? "\\x%02x" : "\\\\",
                          static_cast<unsigned>(static_cast<unsigned char>(bytes[0])));
            out += code;
        } else {
            out += bytes.substr(0, length);
        }
        bytes.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

// A string of JSON; a byte that is not UTF-8 becomes the character of that number.
inline std::string quoted(std::string_view bytes) {
    std::string out = "\"";
    while (!bytes.empty()) {
        const std::size_t length = printable(bytes);
        if (length == 0) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x",
                          static_cast<unsigned>(static_cast<unsigned char>(bytes[0])));
            out += code;
        } else {
            out += bytes[0] == '"' || bytes[0] == '\\' ? "\\" : "";
            out += bytes.substr(0, length);
        }
        bytes.remove_prefix(length == 0 ? 1 : length);
    }
    return out + '"';
}

// ---- for people

inline std::string number(std::uint64_t value) {
    return std::to_string(value);
}

inline std::string hexadecimal(std::uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
    return text;
}

inline std::string size_text(std::uint64_t bytes) {
    constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    for (; value >= 1024 && unit < 6; ++unit) {
        value /= 1024;
    }
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
                  units[unit]);
    return text;
}

inline std::string time_text(std::uint64_t nanoseconds) {
    const auto seconds = static_cast<std::time_t>(nanoseconds / 1000000000u);
    std::tm parts{};
    char text[64];
    return ::gmtime_r(&seconds, &parts) != nullptr &&
                   std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) != 0
               ? text
               : number(nanoseconds);
}

// Colours only on a terminal, and not if NO_COLOR is set: https://no-color.org.
inline bool has_colours() {
    const char* const no = std::getenv("NO_COLOR");
    const char* const terminal = std::getenv("TERM");
    return ::isatty(STDOUT_FILENO) == 1 && (no == nullptr || *no == '\0') &&
           (terminal == nullptr || std::string_view(terminal) != "dumb");
}

enum class colour { none, bold, good, bad, dim };

inline std::string in_colour(colour which, const std::string& text) {
    static const bool coloured = has_colours();
    constexpr const char* codes[] = {"", "\033[1m", "\033[32m", "\033[31m", "\033[2m"};
    return coloured && which != colour::none ? codes[static_cast<int>(which)] + text + "\033[0m"
                                             : text;
}

inline void headline(const char* text) {
    std::printf("\n%s\n", in_colour(colour::bold, text).c_str());
}

struct cell {
    std::string text;
    colour shade = colour::none;

    cell(std::string its, colour shown_as = colour::none) : text(std::move(its)), shade(shown_as) {}

    cell(const char* its) : text(its) {}

    // Characters, not bytes.
    [[nodiscard]] std::size_t width() const {
        std::size_t count = 0;
        for (const char each : text) {
            count += (static_cast<unsigned char>(each) & 0xc0u) != 0x80u ? 1u : 0u;
        }
        return count;
    }
};

// Columns as wide as their contents.
class table {
  public:
    explicit table(std::vector<cell> titles) {
        for (cell& each : titles) {
            each.shade = colour::dim;
        }
        rows_.push_back(std::move(titles));
    }

    void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }

    void print() const {
        std::vector<std::size_t> widths;
        for (const std::vector<cell>& row : rows_) {
            widths.resize(row.size() > widths.size() ? row.size() : widths.size());
            for (std::size_t i = 0; i < row.size(); ++i) {
                widths[i] = row[i].width() > widths[i] ? row[i].width() : widths[i];
            }
        }
        for (const std::vector<cell>& row : rows_) {
            std::string line;
            for (std::size_t i = 0; i < row.size(); ++i) {
                line += in_colour(row[i].shade, row[i].text);
                if (i + 1 < row.size()) {
                    line.append(widths[i] - row[i].width() + 2, ' ');
                }
            }
            std::printf("%s\n", line.c_str());
        }
    }

  private:
    std::vector<std::vector<cell>> rows_;
};

// ---- for programs

// One value of JSON, written from the front to the back.
class json {
  public:
    json& begin(char bracket) {
        separate();
        out_ += bracket;
        first_ = true;
        return *this;
    }

    json& end(char bracket) {
        out_ += bracket;
        first_ = false;
        return *this;
    }

    json& key(std::string_view name) {
        separate();
        out_ += quoted(name) + ':';
        first_ = true;
        return *this;
    }

    json& text(std::string_view value) { return put(quoted(value)); }

    json& number(std::uint64_t value) { return put(std::to_string(value)); }

    json& signed_number(std::int64_t value) { return put(std::to_string(value)); }

    json& boolean(bool value) { return put(value ? "true" : "false"); }

    json& text(std::string_view name, std::string_view value) { return key(name).text(value); }

    json& number(std::string_view name, std::uint64_t value) { return key(name).number(value); }

    json& boolean(std::string_view name, bool value) { return key(name).boolean(value); }

    void print() const {
        std::printf("%s\n", out_.c_str());
        std::fflush(stdout);
    }

  private:
    void separate() {
        out_ += first_ ? "" : ",";
        first_ = false;
    }

    json& put(const std::string& value) {
        separate();
        out_ += value;
        return *this;
    }

    std::string out_;
    bool first_ = true;
};

} // namespace inspector

#endif
