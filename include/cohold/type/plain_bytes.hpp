// Which bytes of an object mean nothing but themselves: to put the old ones back undoes a change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_PLAIN_BYTES_HPP
#define COHOLD_TYPE_PLAIN_BYTES_HPP

#include <cstddef>
#include <type_traits>

#include <cohold/type/detail/type_shape.hpp>
#include <cohold/type/members.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// `Within`: in what is saved as a whole, be it changed or not: there the words of cohold's vectors
// mean nothing but themselves, too. Elsewhere vectors save them when they change.
template <class T, bool Within = false>
constexpr bool is_plain();

// Which bytes of a struct are plain does not depend on enable_shareable.
template <class T>
constexpr auto shape_for_bytes() {
    if constexpr (kind_of<T>() == type_kind::vouched_for && std::is_class_v<T> &&
                  std::is_aggregate_v<T>) {
        return std::type_identity<type_shape<T, type_kind::aggregate>>();
    } else {
        return std::type_identity<type_shape<T>>();
    }
}

template <class T>
using bytes_shape = typename decltype(shape_for_bytes<T>())::type;

template <bool Within, class... Part>
constexpr bool are_plain(part_list<Part...>) {
    return (... && is_plain<Part, Within>());
}

// Atomics are trivially copyable to some compilers, but nobody can copy them: others change them
// without a lock, and old values would undo what those did.
template <class T, bool Within>
constexpr bool is_plain() {
    using element = std::remove_cv_t<std::remove_all_extents_t<T>>;
    if constexpr (std::is_trivially_copyable_v<element> && std::is_copy_constructible_v<element>) {
        return true;
    } else if constexpr (Within && saves_itself<element>) {
        return true;
    } else {
        using shape = bytes_shape<element>;
        if constexpr (shape::plain == plainness::parts || shape::plain == plainness::together) {
            constexpr bool together = Within || shape::plain == plainness::together;
            return are_plain<together>(typename shape::parts());
        } else {
            return shape::plain == plainness::everything;
        }
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
            using shape = bytes_shape<std::remove_cv_t<T>>;
            if constexpr (shape::plain == plainness::parts) {
                add_parts<shape>(offset, typename shape::parts());
            } else {
                joins_ = false;
            }
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

    template <class Shape, class... Part>
    constexpr void add_parts(std::size_t offset, part_list<Part...>) noexcept {
        if constexpr (requires { Shape::count; }) {
            for (std::size_t i = 0; i < Shape::count && bytes_ <= saved_at_most; ++i) {
                (add<Part>(offset + i * sizeof(Part)), ...);
            }
        } else {
            [[maybe_unused]] std::size_t index = 0;
            (add<Part>(offset + Shape::offset(index++)), ...);
        }
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
