// Whether two descriptions are of the same type; and says in words where they differ, by the path
// of the first member that does.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_MISMATCH_HPP
#define COHOLD_TYPE_MISMATCH_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <cohold/type/detail/type_name.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Two descriptions of one type differ where one compiler leaves out an inline namespace that the
// other writes. So names match if one has all parts of the other, in order, and ends alike.
class namesake_finder {
  public:
    namesake_finder(std::string_view a, std::string_view b) noexcept : a_(a), b_(b) {}

    [[gnu::cold]] bool run() noexcept;

  private:
    [[gnu::cold]] static std::size_t word_length(std::string_view text) noexcept;

    // "app::point", off the beginning.
    [[gnu::cold]] static std::string_view take_name(std::string_view& text) noexcept;

    [[gnu::cold]] static std::string_view take_part(std::string_view& name) noexcept;

    [[gnu::cold]] static bool has_parts(std::string_view all, std::string_view some) noexcept;

    std::string_view a_;
    std::string_view b_;
};

// For descriptions that are not equal. A spelling is own_spelling of the program that wrote it.
[[gnu::cold]] bool same_but_for_inline_namespaces(std::string_view a, std::uint32_t a_spelling,
                                                  std::string_view b,
                                                  std::uint32_t b_spelling) noexcept;

// Text in a buffer of the caller, always terminated, cut where it is too long. Bytes that do not
// print become '?': they may come from another process.
class bounded_text {
  public:
    bounded_text(char* out, std::size_t size) noexcept : out_(out), capacity_(size) {
        if (capacity_ != 0) {
            out_[0] = '\0';
        }
    }

    [[gnu::cold]] void put(std::string_view text) noexcept;

    // One part of a sentence, so that a long one leaves room for the others.
    [[gnu::cold]] void put_short(std::string_view text) noexcept;

  private:
    char* out_;
    std::size_t capacity_;
    std::size_t used_ = 0;
};

// Reads the grammar of type_writer, from text that may be anything.
class mismatch_explainer {
  public:
    mismatch_explainer(std::string_view expected, std::string_view found, char* out,
                       std::size_t size) noexcept
        : expected_(expected), found_(found), out_(out, size) {}

    [[gnu::cold]] void run() noexcept;

  private:
    struct member {
        std::string_view name; // empty for the whole type
        std::string_view offset;
        std::string_view type; // empty where there is no member
    };

    [[gnu::cold]] static char at(std::string_view text, std::size_t i) noexcept;

    // The first byte that differs, and where the members that enclose it start.
    [[gnu::cold]] void find_difference() noexcept;

    [[nodiscard]] std::size_t innermost() const noexcept {
        return levels_ == 0 ? 0 : start_[levels_ - 1];
    }

    // The member that starts there: "name@offset type", up to the ';' or '}' that ends it.
    [[nodiscard]] member read(std::string_view text, std::size_t start) const noexcept;

    // The type without what is in braces: "app::point", "shm_vector<app::point>".
    [[gnu::cold]] void put_type(std::string_view type) noexcept;

    [[gnu::cold]] static bool is_measure(char c) noexcept;

    // The size in which two types differ, where their members do not: "12" of "point{...}12".
    [[nodiscard]] std::string_view measure(std::string_view text) const noexcept;

    [[gnu::cold]] void put_member(const member& one, bool with_name,
                                  std::string_view measured) noexcept;

    [[gnu::cold]] void explain(const member& expected, const member& found) noexcept;

    static constexpr std::size_t max_depth = 32;

    std::string_view expected_;
    std::string_view found_;
    bounded_text out_;
    std::size_t difference_ = 0;
    std::size_t depth_ = 0;
    std::size_t levels_ = 0;
    std::size_t start_[max_depth] = {};
};

// Writes where found differs from expected, two descriptions of type_descriptor, as in "member
// pos.x: expected f32 at 0, found i32 at 0". found may hold any bytes. The result is terminated
// and cut to size bytes. Allocates nothing.
inline void explain_mismatch(std::string_view expected, std::string_view found, char* out,
                             std::size_t size) noexcept {
    mismatch_explainer(expected, found, out, size).run();
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/type/mismatch.ipp>
#endif

#endif
