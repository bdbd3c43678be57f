// Which bytes of an object mean nothing but themselves: to put the old ones back undoes a change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_PLAIN_BYTES_HPP
#define COHOLD_TYPE_PLAIN_BYTES_HPP

#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include <cohold/type/members.hpp>
#include <cohold/type/offset_ptr.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// `Within`: in what is saved as a whole, be it changed or not: there the words of cohold's vectors
// mean nothing but themselves, too. Elsewhere vectors save them when they change.
template <class T, bool Within = false>
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

template <class T, bool Within, std::size_t... Index>
constexpr bool has_plain_members(std::index_sequence<Index...>) {
    return (... && is_plain<member_type<T, Index>, Within>());
}

template <class T, bool Within>
struct plain_parts {
    static constexpr bool all = Within && saves_itself<T>;
};

template <class T, bool Within>
struct plain_parts<offset_ptr<T>, Within> { // put back where it was, it points where it did
    static constexpr bool all = true;
};

template <class First, class Second, bool Within>
struct plain_parts<std::pair<First, Second>, Within> {
    static constexpr bool all = is_plain<First, Within>() && is_plain<Second, Within>();
};

template <class T, std::size_t Size, bool Within>
struct plain_parts<std::array<T, Size>, Within> {
    static constexpr bool all = is_plain<T, Within>();
};

// Whether there is a value, and its bytes, go together: nobody can tell where the former stands.
template <class T, bool Within>
struct plain_parts<std::optional<T>, Within> {
    static constexpr bool all = is_plain<T, true>();
};

// Atomics are trivially copyable to some compilers, but nobody can copy them: others change them
// without a lock, and old values would undo what those did.
template <class T, bool Within>
constexpr bool is_plain() {
    using element = std::remove_cv_t<std::remove_all_extents_t<T>>;
    if constexpr (std::is_trivially_copyable_v<element> && std::is_copy_constructible_v<element>) {
        return true;
    } else if constexpr (plain_parts<element, Within>::all) {
        return true;
    } else if constexpr (has_visible_members<element>()) {
        return has_plain_members<element, Within>(
            std::make_index_sequence<members_counted<element>.count>());
    } else {
        return false;
    }
}

// What locking saves of a T at most.
inline constexpr std::size_t saved_at_most = 4096;

// The plain bytes of a type, as few stretches: padding between two that are plain is one of them.
// Of more bytes than are saved, not all are found.
template <std::size_t Room>
class plain_ranges {
  public:
    struct range {
        std::size_t offset = 0;
        std::size_t bytes = 0;
    };

    template <class T>
    [[nodiscard]] static constexpr plain_ranges of() noexcept {
        plain_ranges found;
        found.template add<T>(0);
        return found;
    }

    [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }

    [[nodiscard]] constexpr const range& operator[](std::size_t index) const noexcept {
        return ranges_[index];
    }

    [[nodiscard]] constexpr std::size_t bytes() const noexcept { return bytes_; }

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
        const std::size_t first = joins_ ? end_ : offset;
        if (!joins_) {
            if (count_ < Room) {
                ranges_[count_].offset = offset;
            }
            ++count_;
        }
        joins_ = true;
        end_ = offset + bytes;
        bytes_ += end_ - first;
        if (count_ <= Room) {
            ranges_[count_ - 1].bytes = end_ - ranges_[count_ - 1].offset;
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
        for (std::size_t i = 0; i < count && bytes_ <= saved_at_most; ++i) {
            add<T>(offset + i * sizeof(T));
        }
    }

    template <class T, std::size_t... Index>
    constexpr void add_members(std::size_t offset, std::index_sequence<Index...>) noexcept {
        (add<member_type<T, Index>>(offset + offsets_of<T>.at[Index]), ...);
    }

    range ranges_[Room == 0 ? 1 : Room]{};
    std::size_t count_ = 0;
    std::size_t bytes_ = 0;
    std::size_t end_ = 0;
    bool joins_ = false; // nothing that is not plain since the last one
};

template <class T>
inline constexpr auto plain_ranges_of =
    plain_ranges<plain_ranges<0>::of<T>().size()>::template of<T>();

template <class T>
inline constexpr bool saves_ranges = plain_ranges_of<T>.bytes() <= saved_at_most;

} // namespace detail

COHOLD_NAMESPACE_END

#endif
