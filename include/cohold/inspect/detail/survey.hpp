// What the reports have in common: numbers that may be missing, the kinds of objects, and lists
// that say whether they are complete.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_DETAIL_SURVEY_HPP
#define COHOLD_INSPECT_DETAIL_SURVEY_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

/// A number that the kernel may not provide.
using amount = std::optional<std::uint64_t>;

/// The kinds of objects that hold shared memory, and of those that accompany them.
enum class object_kind {
    posix,           ///< a POSIX object: a file of /dev/shm
    posix_semaphore, ///< of sem_open(3): a file of /dev/shm whose name begins with "sem."
    file,            ///< a file elsewhere, including on a tmpfs
    memfd,           ///< of memfd_create(2)
    system_v,        ///< of shmget(2)
    semaphore_set,   ///< a set of semget(2)
    anonymous,       ///< memory without a name or a descriptor
};

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(object_kind kind) noexcept {
    switch (kind) {
    case object_kind::posix:
        return "posix";
    case object_kind::posix_semaphore:
        return "posix semaphore";
    case object_kind::file:
        return "file";
    case object_kind::memfd:
        return "memfd";
    case object_kind::system_v:
        return "system_v";
    case object_kind::semaphore_set:
        return "semaphore set";
    case object_kind::anonymous:
        return "anonymous";
    }
    return "";
}

/// A list, and how much could not be looked at. Items that appear or disappear meanwhile
/// may be in it or not.
template <class T>
struct survey {
    std::vector<T> entries;
    /// Processes and objects that this user was not allowed to look into.
    std::size_t refused = 0;
    /// There may be processes that cannot be seen at all: /proc is mounted with hidepid.
    bool hidden = false;

    /// Was everything looked at? If not, "nobody" means "nobody that I can see".
    [[nodiscard]] bool complete() const noexcept { return refused == 0 && !hidden; }

    [[nodiscard]] auto begin() noexcept { return entries.begin(); }

    [[nodiscard]] auto end() noexcept { return entries.end(); }

    [[nodiscard]] auto begin() const noexcept { return entries.begin(); }

    [[nodiscard]] auto end() const noexcept { return entries.end(); }

    [[nodiscard]] std::size_t size() const noexcept { return entries.size(); }

    [[nodiscard]] bool empty() const noexcept { return entries.empty(); }

    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return entries[i]; }
};

COHOLD_NAMESPACE_END

#endif
