// Which bytes of an object mean nothing but themselves: to put the old ones back undoes a change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_PLAIN_BYTES_HPP
#define COHOLD_MEMORY_PLAIN_BYTES_HPP

#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include <cohold/memory/aggregate_members.hpp>
#include <cohold/memory/offset_ptr.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T>
constexpr bool is_plain();

// A struct whose members can be told apart.
template <class T>
constexpr bool has_visible_members() {
    if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T> ||
                  requires { std::tuple_size<T>::value; }) {
        return false;
    } else if constexpr (members_counted<T>.fault != aggregate_fault::none) {
        return false;
    } else {
        return has_readable_members<T>;
    }
}

template <class T, std::size_t... Index>
constexpr bool has_plain_members(std::index_sequence<Index...>) {
    return (... && is_plain<member_type<T, Index>>());
}

template <class T>
struct plain_parts {
    static constexpr bool all = false;
};

template <class T>
struct plain_parts<offset_ptr<T>> { // put back where it was, it points where it did
    static constexpr bool all = true;
};

template <class First, class Second>
struct plain_parts<std::pair<First, Second>> {
    static constexpr bool all = is_plain<First>() && is_plain<Second>();
};

template <class T, std::size_t Size>
struct plain_parts<std::array<T, Size>> {
    static constexpr bool all = is_plain<T>();
};

template <class T>
struct plain_parts<std::optional<T>> {
    static constexpr bool all = is_plain<T>();
};

// Atomics are trivially copyable to some compilers, but nobody can copy them: others change them
// without a lock, and old values would undo what those did.
template <class T>
constexpr bool is_plain() {
    using element = std::remove_cv_t<std::remove_all_extents_t<T>>;
    if constexpr (std::is_trivially_copyable_v<element> && std::is_copy_constructible_v<element>) {
        return true;
    } else if constexpr (plain_parts<element>::all) {
        return true;
    } else if constexpr (has_visible_members<element>()) {
        return has_plain_members<element>(
            std::make_index_sequence<members_counted<element>.count>());
    } else {
        return false;
    }
}

// The plain bytes of a type, as few stretches: padding between two that are plain is one of them.
class plain_ranges {
  public:
    struct range {
        std::size_t offset = 0;
        std::size_t bytes = 0;
    };

    static constexpr std::size_t most = 64;

    template <class T>
    [[nodiscard]] static constexpr plain_ranges of() noexcept {
        plain_ranges found;
        found.add<T>(0);
        if (found.count_ > most) {
            return {}; // too scattered
        }
        return found;
    }

    [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }

    [[nodiscard]] constexpr const range& operator[](std::size_t index) const noexcept {
        return ranges_[index];
    }

    [[nodiscard]] constexpr std::size_t bytes() const noexcept {
        std::size_t sum = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            sum += ranges_[i].bytes;
        }
        return sum;
    }

  private:
    template <class T>
    constexpr void add(std::size_t offset) noexcept {
        if constexpr (is_plain<T>()) {
            add_bytes(offset, sizeof(T));
        } else {
            add_parts(offset, static_cast<std::remove_cv_t<T>*>(nullptr));
        }
    }

    constexpr void add_bytes(std::size_t offset, std::size_t bytes) noexcept {
        if (joins_ && count_ <= most) {
            ranges_[count_ - 1].bytes = offset + bytes - ranges_[count_ - 1].offset;
        } else {
            if (count_ < most) {
                ranges_[count_] = {offset, bytes};
            }
            ++count_;
            joins_ = true;
        }
    }

    template <class T>
    constexpr void add_parts(std::size_t offset, T*) noexcept {
        if constexpr (has_visible_members<T>()) {
            add_members<T>(offset, std::make_index_sequence<members_counted<T>.count>());
        } else {
            joins_ = false;
        }
    }

    template <class T, std::size_t Size>
    constexpr void add_parts(std::size_t offset, T (*)[Size]) noexcept {
        add_elements<T>(offset, Size);
    }

    template <class T, std::size_t Size>
    constexpr void add_parts(std::size_t offset, std::array<T, Size>*) noexcept {
        add_elements<T>(offset, Size);
    }

    template <class First, class Second>
    constexpr void add_parts(std::size_t offset, std::pair<First, Second>*) noexcept {
        add<First>(offset);
        add<Second>(offset +
                    (sizeof(First) + alignof(Second) - 1) / alignof(Second) * alignof(Second));
    }

    template <class T>
    constexpr void add_elements(std::size_t offset, std::size_t count) noexcept {
        for (std::size_t i = 0; i < count && count_ <= most; ++i) {
            add<T>(offset + i * sizeof(T));
        }
    }

    template <class T, std::size_t... Index>
    constexpr void add_members(std::size_t offset, std::index_sequence<Index...>) noexcept {
        (add<member_type<T, Index>>(offset + offsets_of<T>.at[Index]), ...);
    }

    range ranges_[most]{};
    std::size_t count_ = 0;
    bool joins_ = false; // nothing that is not plain since the last one
};

template <class T>
inline constexpr plain_ranges plain_ranges_of = plain_ranges::of<T>();

} // namespace detail

COHOLD_NAMESPACE_END

#endif
