// The name of a type as every compiler and standard library has it, at compile time.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_DETAIL_TYPE_NAME_HPP
#define COHOLD_TYPE_DETAIL_TYPE_NAME_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T>
constexpr const char* pretty_type() noexcept {
    return __PRETTY_FUNCTION__; // "… [with T = app::point]" or "… [T = app::point]"
}

template <auto* Address>
constexpr const char* pretty_address() noexcept {
    return __PRETTY_FUNCTION__; // "… (& object<app::point>.….app::point::x)]" or "… &object.….x]"
}

constexpr bool is_identifier(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}

// The name as this compiler writes it.
template <class T>
constexpr std::string_view raw_type_name() noexcept {
    const std::string_view text = pretty_type<T>();
    const std::size_t start = text.find("T = ") + 4;
    return text.substr(start, text.size() - 1 - start);
}

// The name of the member at a constant address, or nothing where the compiler does not tell.
template <auto* Address>
constexpr std::string_view raw_member_name() noexcept {
    std::string_view text = pretty_address<Address>();
    text.remove_suffix(text.ends_with(")]") ? 2 : 1);
    std::size_t start = text.size();
    while (start > 0 && is_identifier(text[start - 1])) {
        --start;
    }
    const bool named = start > 0 && (text[start - 1] == ':' || text[start - 1] == '.');
    return named ? text.substr(start) : std::string_view();
}

// The canonical name of an arithmetic type by kind and width: "i32", "u64", "f64", "char".
template <class T>
constexpr std::string_view arithmetic_name() noexcept {
    if constexpr (std::is_same_v<T, bool>) {
        return "bool";
    } else if constexpr (std::is_same_v<T, char>) {
        return "char";
    } else if constexpr (std::is_same_v<T, wchar_t>) {
        return sizeof(T) == 4 ? "wchar32" : "wchar16";
    } else if constexpr (std::is_same_v<T, char8_t>) {
        return "char8";
    } else if constexpr (std::is_same_v<T, char16_t>) {
        return "char16";
    } else if constexpr (std::is_same_v<T, char32_t>) {
        return "char32";
    } else if constexpr (std::is_floating_point_v<T>) {
        return sizeof(T) == 4 ? "f32" : sizeof(T) == 8 ? "f64" : "long_double";
    } else if constexpr (std::is_signed_v<T>) {
        return sizeof(T) == 1 ? "i8" : sizeof(T) == 2 ? "i16" : sizeof(T) == 4 ? "i32" : "i64";
    } else {
        return sizeof(T) == 1 ? "u8" : sizeof(T) == 2 ? "u16" : sizeof(T) == 4 ? "u32" : "u64";
    }
}

// Rewrites a compiler's name of a type into the one that all of them share. What differs: spaces,
// "long int", "{anonymous}", "std::__1::", the enclosing function of a local type, suffixes of
// literals. One difference stays: clang leaves out most inline namespaces, g++ none, and neither
// says which are inline; same_type takes account of it. The text never grows by more than the space
// given.
class name_normaliser {
  public:
    constexpr name_normaliser(std::string_view raw, char* out) noexcept : rest_(raw), out_(out) {}

    constexpr std::size_t run() noexcept {
        while (!rest_.empty()) {
            step();
        }
        return size_;
    }

    // Whether every compiler writes the template arguments alike.
    [[nodiscard]] constexpr bool alike() const noexcept { return alike_; }

  private:
    constexpr bool take(std::string_view text) noexcept {
        if (!rest_.starts_with(text)) {
            return false;
        }
        rest_.remove_prefix(text.size());
        return true;
    }

    constexpr void put(std::string_view text) noexcept {
        for (const char c : text) {
            out_[size_++] = c;
        }
    }

    constexpr std::string_view word() const noexcept {
        std::size_t length = 0;
        while (length < rest_.size() && is_identifier(rest_[length])) {
            ++length;
        }
        return rest_.substr(0, length);
    }

    constexpr void step() noexcept {
        if (take("{anonymous}") || take("(anonymous namespace)")) {
            put("(anonymous)");
        } else if (drop_cast()) {
            // The literal behind it is written as a number.
        } else if (rest_[0] == '\'') {
            character();
        } else if (const std::string_view name = word(); !name.empty()) {
            if (rest_.substr(name.size()).starts_with('\'') && name != "char") {
                rest_.remove_prefix(name.size()); // u8'A'
            } else if (name[0] >= '0' && name[0] <= '9') {
                rest_.remove_prefix(name.size());
                alike_ = alike_ && !rest_.starts_with("."); // a fraction
                put(name.substr(0, name.find_last_not_of("uUlL") + 1));
            } else if (!builtin()) {
                rest_.remove_prefix(name.size());
                alike_ = alike_ && name != "nullptr" && !is_no_number(name);
                if (!(rest_.starts_with("::") && is_of_the_library(name) && take("::"))) {
                    put(name);
                    if (name == "operator") {
                        operator_symbol();
                    } else {
                        separate();
                    }
                }
            }
        } else if (take(" ")) {
            // Only separate() decides where a space stays.
        } else if (const std::size_t end = function_end(); end != 0) {
            rest_.remove_prefix(end);
            leave_function(1);
        } else if (const std::size_t closure = unnamed_scope(); closure != 0) {
            const bool function = rest_[1] == 'l';
            rest_.remove_prefix(closure);
            if (function) {
                leave_function(0);
            }
        } else {
            // Braces and separators of descriptions must not come from names.
            const char c = rest_[0];
            alike_ = alike_ && c != '{' && c != '+' && !is_address();
            rest_.remove_prefix(1);
            out_[size_++] = c == '{' ? '(' : c == '}' ? ')' : c == ';' || c == '@' ? '?' : c;
        }
    }

    // "INF" and "nan" as arguments.
    constexpr bool is_no_number(std::string_view name) const noexcept {
        return (name == "INF" || name == "nan") && size_ > 0 && out_[size_ - 1] != ':' &&
               (rest_.starts_with(">") || rest_.starts_with(","));
    }

    // "<&object>" or "<(& object)>", but not "(&)" as in types.
    constexpr bool is_address() const noexcept {
        const char before = size_ > 0 ? out_[size_ - 1] : ' ';
        return rest_[0] == '&' && (before == '<' || before == ',' || rest_.starts_with("& "));
    }

    // "(short)3" is "3" elsewhere, and "(unsigned char)'a'" is "97".
    constexpr bool drop_cast() noexcept {
        if (rest_[0] != '(' || (size_ > 0 && out_[size_ - 1] != '<' && out_[size_ - 1] != ',')) {
            return false;
        }
        const std::size_t close = rest_.find(')');
        if (close == std::string_view::npos || close + 1 >= rest_.size()) {
            return false;
        }
        const char next = rest_[close + 1];
        const std::string_view inside = rest_.substr(1, close - 1);
        const bool integer = inside.ends_with("short") || inside.ends_with("char") ||
                             inside.ends_with("int") || inside.ends_with("long");
        if (!integer || !((next >= '0' && next <= '9') || next == '-' || next == '\'')) {
            return false;
        }
        signed_cast_ = inside == "signed char";
        rest_.remove_prefix(close + 1);
        return true;
    }

    // A character literal, as the number it stands for.
    constexpr void character() noexcept {
        rest_.remove_prefix(1);
        unsigned value = static_cast<unsigned char>(rest_[0]);
        std::size_t length = 1;
        if (rest_[0] == '\\') {
            constexpr std::string_view letters = "abtnvfre";
            constexpr unsigned values[] = {7, 8, 9, 10, 11, 12, 13, 27};
            value = static_cast<unsigned char>(rest_[1]);
            length = 2;
            if (const std::size_t found = letters.find(rest_[1]); found < letters.size()) {
                value = values[found];
            } else if (const bool hex = rest_[1] == 'x' || rest_[1] == 'u' || rest_[1] == 'U';
                       hex || (rest_[1] >= '0' && rest_[1] <= '7')) {
                const unsigned base = hex ? 16 : 8;
                length = base == 16 ? 2 : 1;
                value = 0;
                for (; rest_[length] != '\''; ++length) {
                    const char c = rest_[length];
                    value = value * base + static_cast<unsigned>(c <= '9'   ? c - '0'
                                                                 : c <= 'F' ? c - 'A' + 10
                                                                            : c - 'a' + 10);
                }
            }
        }
        rest_.remove_prefix(length + 1);
        if (value > 0xffffff00) { // a negative char, as 32 bits
            value &= 0xff;
        }
        if (signed_cast_ && value > 127) {
            put("-");
            value = 256 - value;
        }
        signed_cast_ = false;
        char digits[10] = {};
        std::size_t start = sizeof(digits);
        do {
            digits[--start] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        put({digits + start, sizeof(digits) - start});
    }

    // Two words in a row, as in "const foo" and "foo const".
    constexpr void separate() noexcept {
        if (rest_.size() >= 2 && rest_[0] == ' ' && is_identifier(rest_[1])) {
            out_[size_++] = ' ';
        }
    }

    // The length of what ends the name of an enclosing function, as in "f(int) const::local".
    constexpr std::size_t function_end() const noexcept {
        if (rest_[0] != ')') {
            return 0;
        }
        std::size_t end = 1;
        for (const std::string_view part : {" const", " volatile", " &", "&", "&", " noexcept"}) {
            end += rest_.substr(end).starts_with(part) ? part.size() : 0;
        }
        return rest_.substr(end).starts_with("::") ? end + 2 : 0;
    }

    // The length of a scope without a name, as "<lambda(int)>::" and "<unnamed struct>::".
    constexpr std::size_t unnamed_scope() const noexcept {
        if (!rest_.starts_with("<lambda(") && !rest_.starts_with("<unnamed ")) {
            return 0;
        }
        std::size_t depth = 0;
        for (std::size_t end = 0; end < rest_.size(); ++end) {
            depth += rest_[end] == '<' ? 1U : 0U;
            depth -= rest_[end] == '>' ? 1U : 0U;
            if (depth == 0) {
                return rest_.substr(end + 1).starts_with("::") ? end + 3 : 0;
            }
        }
        return 0;
    }

    // Of "operator<< <int>(int)::local": brackets that are none.
    constexpr void operator_symbol() noexcept {
        for (const std::string_view symbol :
             {"()", "->*", "->", "<=>", "<<=", "<<", "<=", "<", ">>=", ">>", ">=", ">", " "}) {
            if (take(symbol)) {
                break;
            }
        }
        take(" ");
    }

    // Drops back to the start of the name that is being written: "f(int)::local" and
    // "<lambda()>::local" are "local" elsewhere. The depth is that of the brackets that are open,
    // seen from the end.
    constexpr void leave_function(std::size_t depth) noexcept {
        while (size_ > 0) {
            const char c = out_[size_ - 1];
            if (depth == 0 && (c == '<' || c == ',' || c == '(' || c == ' ')) {
                break;
            }
            if (c == ')' || c == '>') {
                ++depth;
            } else if ((c == '(' || c == '<') && depth > 0) {
                --depth;
            }
            --size_;
        }
    }

    // Inline namespaces that are known: those of the standard libraries, as __1, __cxx11 and _V2,
    // and cohold's own. Of others nobody can tell whether they are inline.
    constexpr bool is_of_the_library(std::string_view name) noexcept {
        const std::string_view before(out_, size_);
        if (before.ends_with("cohold::")) {
            return name == std::string_view(COHOLD_ABI_NAME);
        }
        const std::size_t start = before.find_last_of("<,( ") + 1; // npos + 1 is 0
        return before.substr(start).starts_with("std::") && name.size() > 1 && name[0] == '_' &&
               (name[1] == '_' || (name[1] >= 'A' && name[1] <= 'Z'));
    }

    // A run of the words that make up the built-in types, in whatever order.
    constexpr bool builtin() noexcept {
        int longs = 0;
        bool is_unsigned = false;
        bool is_signed = false;
        bool is_short = false;
        std::string_view base;
        std::size_t words = 0;
        while (true) {
            const std::string_view ahead = rest_;
            if (words > 0) {
                take(" ");
            }
            const std::string_view name = word();
            if (name == "long") {
                ++longs;
            } else if (name == "unsigned") {
                is_unsigned = true;
            } else if (name == "signed") {
                is_signed = true;
            } else if (name == "short") {
                is_short = true;
            } else if (name == "int" || name == "char" || name == "double" || name == "float" ||
                       name == "wchar_t" || name == "char8_t" || name == "char16_t" ||
                       name == "char32_t") {
                base = name;
            } else {
                rest_ = ahead;
                break;
            }
            rest_.remove_prefix(name.size());
            ++words;
        }
        if (words == 0) {
            return false;
        }
        if (base == "double") {
            put(longs != 0 ? arithmetic_name<long double>() : arithmetic_name<double>());
        } else if (base == "float") {
            put(arithmetic_name<float>());
        } else if (base == "wchar_t") {
            put(arithmetic_name<wchar_t>());
        } else if (base.starts_with("char") && base.size() > 4) {
            put(base.substr(0, base.size() - 2)); // char8_t: char8
        } else if (base == "char") {
            put(is_unsigned ? "u8" : is_signed ? "i8" : "char");
        } else if (is_short) {
            put(is_unsigned ? "u16" : "i16");
        } else if (longs == 0) {
            put(is_unsigned ? "u32" : "i32");
        } else if (longs == 1) {
            put(is_unsigned ? arithmetic_name<unsigned long>() : arithmetic_name<long>());
        } else {
            put(is_unsigned ? "u64" : "i64");
        }
        return true;
    }

    std::string_view rest_;
    char* out_;
    std::size_t size_ = 0;
    bool signed_cast_ = false;
    bool alike_ = true;
};

template <std::size_t Capacity>
struct name_buffer {
    char text[Capacity] = {};
    std::size_t size = 0;
    bool alike = true;
};

template <class T>
constexpr auto normalise_type_name() noexcept {
    constexpr std::string_view raw = raw_type_name<T>();
    // The longest growth is that of "long double" and of ";", which keep below twice the length.
    name_buffer<2 * raw.size() + 1> buffer;
    name_normaliser normaliser(raw, buffer.text);
    buffer.size = normaliser.run();
    buffer.alike = normaliser.alike();
    return buffer;
}

template <class T>
inline constexpr auto normalised_type_name = normalise_type_name<T>();

// Types without a name: compilers write them differently.
constexpr bool mentions_unnamed(std::string_view name) noexcept {
    constexpr std::string_view marks[] = {
        "<unnamed ",        "(unnamed ",         "<lambda",          "(lambda",
        "(anonymous class", "(anonymous struct", "(anonymous union", "(anonymous enum"};
    for (const std::string_view mark : marks) {
        if (name.find(mark) != std::string_view::npos) {
            return true;
        }
    }
    return false;
}

// Whether the type, or one that it is made of, has no name. Those of functions around it do not
// count: only some compilers show them.
template <class T>
constexpr bool is_unnamed_type() noexcept {
    if constexpr (!mentions_unnamed(raw_type_name<T>())) {
        return false;
    } else {
        const auto& name = normalised_type_name<T>;
        return mentions_unnamed({name.text, name.size});
    }
}

// Template arguments by kind: g++ writes a null pointer as 0, and a function like a type.
template <class T>
inline constexpr bool arguments_alike = true;
#if !defined(__clang__)
template <class T>
inline constexpr bool argument_alike = std::is_integral_v<T> || std::is_enum_v<T>;
template <template <auto...> class Template, auto... Value>
inline constexpr bool arguments_alike<Template<Value...>> =
    (... && argument_alike<decltype(Value)>);
template <template <class, auto...> class Template, class T, auto... Value>
inline constexpr bool arguments_alike<Template<T, Value...>> =
    (... && argument_alike<decltype(Value)>);
#endif

// Whether every compiler writes the name of a class or an enum alike: it has no template argument
// that is a floating-point number, a pointer or an object.
template <class T>
constexpr bool is_named_alike() noexcept {
    if constexpr (raw_type_name<T>().find('<') == std::string_view::npos) {
        return true;
    } else {
        return arguments_alike<T> && normalised_type_name<T>.alike;
    }
}

// The name of a type without its const and volatile, the same from every compiler. Types without
// a name have none to share.
template <class T>
constexpr std::string_view type_name() noexcept {
    if constexpr (std::is_arithmetic_v<T>) {
        return arithmetic_name<std::remove_cv_t<T>>();
    } else if constexpr (is_unnamed_type<std::remove_cv_t<T>>()) {
        return "(unnamed)";
    } else {
        const auto& name = normalised_type_name<std::remove_cv_t<T>>;
        return {name.text, name.size};
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
