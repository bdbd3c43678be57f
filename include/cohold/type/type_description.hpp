// What a type is made of, as text and as a hash of it: computed at compile time, and the same from
// every compiler, standard library and word size that lays the type out alike.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_TYPE_DESCRIPTION_HPP
#define COHOLD_TYPE_TYPE_DESCRIPTION_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/os/hash.hpp>
#include <cohold/type/detail/type_name.hpp>
#include <cohold/type/members.hpp>
#include <cohold/type/offset_ptr.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

/// How a type that cohold cannot look into appears in fingerprints. Specialise it for templates,
/// whose parts shall count but whose allocators shall not:
///
///     template <class T, class Allocator>
///     struct cohold::type_description<app::ring<T, Allocator>> {
///         static constexpr void write(cohold::type_writer& out) {
///             out.text("app::ring<");
///             out.type<T>();
///             out.text(">");
///         }
///     };
///
/// Without it a class that specialises enable_shareable appears as its name, size and alignment.
/// The text is all that two programs compare: change it when the layout changes. It must be free
/// of ';', '@', '{' and '}'.
template <class T>
struct type_description {};

/// Collects the description of a type.
///
/// The grammar: a scalar is its kind and width, "f64"; an array "i32[4]"; an enum "app::colour:u8";
/// a struct "app::point{x@0 f32;y@4 f32}8": the name, offset and type of each member, then the
/// size, then "^16" for an alignment above 8. (Objects in a segment are aligned to 8 at least, so
/// lower alignments, in which 32-bit programs differ, matter only for what follows in the same
/// block: see neighbours.)
class type_writer {
  public:
    /// Only counts where out is null. With names_only a struct is written as its name.
    constexpr type_writer(char* out, bool names_only) noexcept
        : out_(out), names_only_(names_only) {}

    /// Appends characters.
    constexpr void text(std::string_view text) noexcept {
        if (out_ != nullptr) {
            for (std::size_t i = 0; i < text.size(); ++i) {
                out_[size_ + i] = text[i];
            }
        }
        size_ += text.size();
    }

    /// Appends a number in decimal digits.
    constexpr void number(std::uint64_t value) noexcept {
        char digits[20] = {};
        std::size_t start = sizeof(digits);
        do {
            digits[--start] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        text({digits + start, sizeof(digits) - start});
    }

    /// The description of T. Within itself a type is written as its name, so recursion ends.
    template <class T>
    constexpr void type() noexcept {
        using plain = std::remove_cv_t<T>;
        if constexpr (detail::scalar_kind<plain> != detail::type_kind::other) {
            detail::type_shape<plain, detail::scalar_kind<plain>>::describe(*this);
        } else if (names_only_ || is_open(detail::raw_type_name<plain>())) {
            name<plain>();
        } else {
            const open_type here{detail::raw_type_name<plain>(), open_};
            open_ = &here;
            structure<plain>();
            open_ = here.outer;
        }
    }

    /// The name of T alone, for what is only pointed to. T may be incomplete.
    template <class T>
    constexpr void name() noexcept {
        using plain = std::remove_cv_t<T>;
        const bool outer = std::exchange(names_only_, true);
        if constexpr (std::is_bounded_array_v<plain> || std::is_arithmetic_v<plain>) {
            type<plain>();
        } else if constexpr (detail::describes_itself<plain>) {
            type_description<plain>::write(*this);
        } else if constexpr (constexpr auto kind = detail::template_kind<plain>;
                             kind != detail::type_kind::other) {
            detail::type_shape<plain, kind>::describe(*this);
        } else {
            text(detail::type_name<plain>());
        }
        names_only_ = outer;
    }

    /// Whether only the name is wanted, not the members.
    [[nodiscard]] constexpr bool names_only() const noexcept { return names_only_; }

    /// How many characters there are so far.
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

    /// A template and its arguments.
    template <class First, class... More>
    constexpr void arguments(std::string_view name) noexcept {
        text(name);
        text("<");
        type<First>();
        ((text(","), type<More>()), ...);
        text(">");
    }

    /// Two types in one block, the second directly behind the first: "u32,i64"; or as a std::pair,
    /// if this program puts the second where the two descriptions do not say.
    template <class First, class Second>
    constexpr void neighbours() noexcept {
        using pair = std::pair<std::remove_cv_t<First>, std::remove_cv_t<Second>>;
        const bool short_form = names_only_ || detail::is_usual_pair<pair>();
        if (!short_form) {
            type<pair>();
            return;
        }
        type<First>();
        text(",");
        type<Second>();
    }

    /// A member of a struct, between the braces.
    template <class T>
    constexpr void member(std::string_view name, std::size_t index, std::size_t offset) noexcept {
        if (index != 0) {
            text(";");
        }
        if (name.empty()) {
            text("#");
            number(index);
        } else {
            text(name);
        }
        text("@");
        number(offset);
        text(" ");
        type<T>();
    }

    /// What follows the braces.
    template <class T>
    constexpr void size_and_alignment() noexcept {
        number(sizeof(T));
        if constexpr (alignof(T) > 8) {
            text("^");
            number(alignof(T));
        }
    }

  private:
    // The types that are being written, from the innermost outwards.
    struct open_type {
        std::string_view raw_name; // known again by it: addresses are not constant enough for all
        const open_type* outer;
    };

    [[nodiscard]] constexpr bool is_open(std::string_view raw_name) const noexcept {
        for (const open_type* each = open_; each != nullptr; each = each->outer) {
            if (each->raw_name == raw_name) {
                return true;
            }
        }
        return false;
    }

    template <class T>
    constexpr void structure() noexcept {
        if constexpr (detail::describes_itself<T>) {
            type_description<T>::write(*this);
        } else {
            detail::type_shape<T>::describe(*this);
        }
    }

    char* out_;
    std::size_t size_ = 0;
    bool names_only_;
    const open_type* open_ = nullptr;
};

namespace detail {

template <class T, bool NamesOnly>
constexpr std::size_t described_size() noexcept {
    type_writer out(nullptr, NamesOnly);
    out.type<T>();
    return out.size();
}

template <class T, bool NamesOnly>
constexpr auto describe() noexcept {
    name_buffer<described_size<T, NamesOnly>() + 1> buffer;
    type_writer out(buffer.text, NamesOnly);
    out.type<T>();
    buffer.size = out.size();
    return buffer;
}

template <class T, bool NamesOnly>
inline constexpr auto described = describe<T, NamesOnly>();

// The fingerprint. Types are the same when their hashes and sizes are; the description tells how
// they differ (explain_mismatch). The alignment is that of this program; 32-bit ones have lower
// ones for some types, so it is for allocating, not for comparing.
struct type_descriptor {
    std::uint64_t hash;
    std::size_t size;
    std::size_t alignment;
    std::string_view name;
    std::string_view description;
};

template <class T>
constexpr type_descriptor make_type_descriptor() noexcept {
    if constexpr (assert_shareable<T>()) {
        const std::string_view name(described<T, true>.text, described<T, true>.size);
        const std::string_view text(described<T, false>.text, described<T, false>.size);
        return {hash64(text), sizeof(T), alignof(T), name, text};
    } else {
        return {};
    }
}

// How this compiler spells names: whether it leaves out inline namespaces.
#if defined(__clang__)
inline constexpr std::uint32_t own_spelling = 1;
#else
inline constexpr std::uint32_t own_spelling = 0;
#endif

template <class T>
inline constexpr type_descriptor type_descriptor_of = make_type_descriptor<std::remove_cv_t<T>>();

} // namespace detail

/// The name of T as segments record it, the same from every compiler: "app::point",
/// "shm_vector<i32>".
template <shareable T>
[[nodiscard]] constexpr std::string_view type_name_of() noexcept {
    return detail::type_descriptor_of<T>.name;
}

COHOLD_NAMESPACE_END

#endif
