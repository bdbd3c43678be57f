// Definitions for mismatch.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_MISMATCH_IPP
#define COHOLD_TYPE_MISMATCH_IPP

#include <cohold/type/mismatch.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE bool namesake_finder::run() noexcept {
    while (!a_.empty() && !b_.empty()) {
        std::string_view a = take_name(a_);
        std::string_view b = take_name(b_);
        if (a.empty() && b.empty()) {
            if (a_.front() != b_.front()) {
                return false;
            }
            a_.remove_prefix(1);
            b_.remove_prefix(1);
        } else if (a.size() < b.size() ? !has_parts(b, a) : !has_parts(a, b)) {
            return false;
        }
    }
    return a_.empty() && b_.empty();
}

COHOLD_INLINE std::size_t namesake_finder::word_length(std::string_view text) noexcept {
    std::size_t length = 0;
    while (length < text.size() && is_identifier(text[length])) {
        ++length;
    }
    return length;
}

COHOLD_INLINE std::string_view namesake_finder::take_name(std::string_view& text) noexcept {
    std::size_t end = word_length(text);
    while (end != 0 && text.substr(end).starts_with("::")) {
        const std::size_t part = word_length(text.substr(end + 2));
        if (part == 0) {
            break;
        }
        end += 2 + part;
    }
    const std::string_view name = text.substr(0, end);
    text.remove_prefix(end);
    return name;
}

COHOLD_INLINE std::string_view namesake_finder::take_part(std::string_view& name) noexcept {
    const std::string_view part = name.substr(0, word_length(name));
    name.remove_prefix(part.size() < name.size() ? part.size() + 2 : part.size());
    return part;
}

COHOLD_INLINE bool namesake_finder::has_parts(std::string_view all,
                                              std::string_view some) noexcept {
    while (!some.empty()) {
        const std::string_view wanted = take_part(some);
        std::string_view part;
        do {
            if (all.empty()) {
                return false;
            }
            part = take_part(all);
        } while (part != wanted || (some.empty() && !all.empty()));
    }
    return all.empty();
}

COHOLD_INLINE bool same_but_for_inline_namespaces(std::string_view a, std::uint32_t a_spelling,
                                                  std::string_view b,
                                                  std::uint32_t b_spelling) noexcept {
    return (a_spelling != 0 || b_spelling != 0) && namesake_finder(a, b).run();
}

COHOLD_INLINE void bounded_text::put(std::string_view text) noexcept {
    for (const char c : text) {
        if (used_ + 1 >= capacity_) {
            return;
        }
        const auto byte = static_cast<unsigned char>(c);
        out_[used_++] = byte < 0x20 || byte == 0x7f ? '?' : c;
        out_[used_] = '\0';
    }
}

COHOLD_INLINE void bounded_text::put_short(std::string_view text) noexcept {
    constexpr std::size_t longest = 80;
    put(text.substr(0, longest));
    if (text.size() > longest) {
        put("...");
    }
}

COHOLD_INLINE void mismatch_explainer::run() noexcept {
    if (expected_ == found_) {
        out_.put("the types have the same description");
        return;
    }
    find_difference();
    std::size_t expected_start = innermost();
    std::size_t found_start = expected_start;
    // One of them ends where the other has one more member.
    if (difference_ > expected_start && at(expected_, difference_) == '}' &&
        at(found_, difference_) == ';') {
        expected_start = expected_.size();
        found_start = difference_ + 1;
    } else if (difference_ > expected_start && at(expected_, difference_) == ';' &&
               at(found_, difference_) == '}') {
        expected_start = difference_ + 1;
        found_start = found_.size();
    }
    explain(read(expected_, expected_start), read(found_, found_start));
}

COHOLD_INLINE char mismatch_explainer::at(std::string_view text, std::size_t i) noexcept {
    return i < text.size() ? text[i] : '\0';
}

COHOLD_INLINE void mismatch_explainer::find_difference() noexcept {
    while (difference_ < expected_.size() && difference_ < found_.size() &&
           expected_[difference_] == found_[difference_]) {
        switch (expected_[difference_]) {
        case '{':
            if (++depth_ <= max_depth) {
                start_[depth_ - 1] = difference_ + 1;
            }
            break;
        case ';':
            if (depth_ > 0 && depth_ <= max_depth) {
                start_[depth_ - 1] = difference_ + 1;
            }
            break;
        case '}':
            depth_ -= depth_ > 0 ? 1 : 0;
            break;
        default:
            break;
        }
        ++difference_;
    }
    levels_ = depth_ < max_depth ? depth_ : max_depth;
}

COHOLD_INLINE mismatch_explainer::member
mismatch_explainer::read(std::string_view text, std::size_t start) const noexcept {
    if (start >= text.size() || text[start] == '}') {
        return {};
    }
    std::size_t end = start;
    for (std::size_t depth = 0; end < text.size(); ++end) {
        if (text[end] == '{') {
            ++depth;
        } else if (depth == 0 && (text[end] == ';' || text[end] == '}')) {
            break;
        } else if (text[end] == '}') {
            --depth;
        }
    }
    const std::string_view whole = text.substr(start, end - start);
    const std::size_t name_end = whole.find('@');
    const std::size_t offset_end = whole.find(' ', name_end);
    if (levels_ == 0 || name_end > whole.find('{') || offset_end == std::string_view::npos) {
        return {{}, {}, whole};
    }
    return {whole.substr(0, name_end), whole.substr(name_end + 1, offset_end - name_end - 1),
            whole.substr(offset_end + 1)};
}

COHOLD_INLINE void mismatch_explainer::put_type(std::string_view type) noexcept {
    std::size_t shown = 0;
    while (!type.empty() && shown < 120) {
        const std::size_t open = type.find('{');
        out_.put_short(type.substr(0, open));
        shown += open < type.size() ? open : type.size();
        if (open == std::string_view::npos) {
            return;
        }
        std::size_t end = open;
        std::size_t depth = 0;
        do {
            depth += type[end] == '{' ? 1U : 0U;
            depth -= type[end] == '}' ? 1U : 0U;
            ++end;
        } while (end < type.size() && depth != 0);
        while (end < type.size() && is_measure(type[end])) {
            ++end; // size and alignment
        }
        type.remove_prefix(end);
    }
}

COHOLD_INLINE bool mismatch_explainer::is_measure(char c) noexcept {
    return (c >= '0' && c <= '9') || c == '^';
}

COHOLD_INLINE std::string_view mismatch_explainer::measure(std::string_view text) const noexcept {
    std::size_t start = difference_;
    while (start > 0 && is_measure(text[start - 1])) {
        --start;
    }
    if (start == 0 || text[start - 1] != '}') {
        return {};
    }
    std::size_t end = start;
    while (end < text.size() && is_measure(text[end])) {
        ++end;
    }
    return text.substr(start, end - start);
}

COHOLD_INLINE void mismatch_explainer::put_member(const member& one, bool with_name,
                                                  std::string_view measured) noexcept {
    if (one.type.empty()) {
        out_.put("nothing");
        return;
    }
    if (with_name) {
        out_.put_short(one.name);
        out_.put(" as ");
    }
    put_type(one.type);
    if (!measured.empty()) {
        const std::size_t caret = measured.find('^');
        out_.put(" of ");
        out_.put_short(measured.substr(0, caret));
        out_.put(" bytes");
        if (caret != std::string_view::npos) {
            out_.put(" aligned to ");
            out_.put_short(measured.substr(caret + 1));
        }
    }
    if (!one.offset.empty()) {
        out_.put(" at ");
        out_.put_short(one.offset);
    }
}

COHOLD_INLINE void mismatch_explainer::explain(const member& expected,
                                               const member& found) noexcept {
    if (levels_ > 0) {
        out_.put("member ");
        for (std::size_t i = 0; i + 1 < levels_; ++i) {
            out_.put_short(read(expected_, start_[i]).name);
            out_.put(".");
        }
        out_.put_short(expected.type.empty() ? found.name : expected.name);
        out_.put(": ");
    }
    const bool renamed =
        !expected.type.empty() && !found.type.empty() && expected.name != found.name;
    out_.put("expected ");
    put_member(expected, renamed, measure(expected_));
    out_.put(", found ");
    put_member(found, renamed, measure(found_));
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
