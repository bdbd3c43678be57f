// Objects that are files: created completely and published in one step, opened with care, backed
// with real space, and what all mechanisms with a file descriptor have in common.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_DETAIL_FILE_OBJECT_HPP
#define COHOLD_POLICY_DETAIL_FILE_OBJECT_HPP

#include <climits>
#include <cstdio>
#include <string_view>

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/hash.hpp>
#include <cohold/os/mapping.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- names and paths

struct path_text {
    char text[PATH_MAX];
};

// The place of a file: its directory, with the final slash or empty for the current directory, and
// its name in that directory.
class file_place {
  public:
    [[gnu::cold]] file_place(std::string_view folder, std::string_view name) noexcept;

    [[gnu::cold]] explicit file_place(std::string_view path) noexcept
        : file_place(path.substr(0, path.rfind('/') + 1), path.substr(path.rfind('/') + 1)) {}

    // Sets ec if the path is too long. The other functions are only for paths that are not.
    [[gnu::cold]] void check(std::error_code& ec) const noexcept;

    [[nodiscard]] const char* path() const noexcept { return path_; }

    [[nodiscard, gnu::cold]] path_text folder() const noexcept;

    // The name under which a file is filled where O_TMPFILE is missing, and from which it is
    // renamed to replace another file. It depends only on the final name and the user, so that the
    // next creator finds and reclaims what a killed one has left.
    [[nodiscard, gnu::cold]] path_text temporary() const noexcept;

  private:
    char path_[PATH_MAX];
    std::size_t folder_length_;
    bool fits_;
};

// Reports an errno for a path that could not be opened, or at which no file could be created.
[[gnu::cold]] void fail_path(std::error_code& ec, int error, const file_place& place,
                             bool creating = false) noexcept;

[[gnu::cold]] bool same_file(int fd, const char* path) noexcept;

// ---- creating and publishing

// Removes what a dead creator has left under the temporary name. With `wait`, waits for a live one
// to finish. False and errno on failure: EPERM if another user has put a file there.
[[gnu::cold]] bool reclaim_temporary(const char* temporary, bool wait) noexcept;

// Creates a file under the temporary name, locked by this process. -1 and errno on failure.
[[gnu::cold]] unique_fd create_temporary(const char* temporary) noexcept;

[[gnu::cold]] void set_owner_and_mode(int fd, const creation& wanted, std::error_code& ec) noexcept;

// Creates an empty file that does not have its final name yet.
[[gnu::cold]] file_descriptor create_file(const file_place& place, const creation& wanted,
                                          std::error_code& ec) noexcept;

// Gives a name to a file made with O_TMPFILE. 0 or errno.
[[gnu::cold]] int link_file(int fd, const char* path) noexcept;

// Renames a file from its temporary name to its final one, if that is free. 0 or errno.
[[gnu::cold]] int rename_exclusively(const char* temporary, const char* path) noexcept;

[[gnu::cold]] void publish_file(int fd, const file_place& place, publication how,
                                std::error_code& ec) noexcept;

[[gnu::cold]] void abandon_file(file_descriptor& file, const file_place& place) noexcept;

// ---- opening and removing

[[nodiscard]] object_status status_from(const file_status& found) noexcept;

[[gnu::cold]] file_descriptor open_existing(const file_place& place, access_mode how,
                                            object_status& found, std::error_code& ec) noexcept;

[[gnu::cold]] bool remove_file(const file_place& place, std::error_code& ec) noexcept;

// ---- space and contents

// Waits until the file is on disk: its length, and its contents including those written through
// mappings.
[[gnu::cold]] void sync_file(int fd, std::error_code& ec) noexcept;

// Reports an errno for [from, to) of a file that did not get space.
[[gnu::cold]] void fail_to_back(int fd, int error, std::uint64_t from, std::uint64_t to,
                                std::error_code& ec) noexcept;

// What all mechanisms whose native handle is a file descriptor have in common.
struct descriptor_object {
    using native_handle_type = file_descriptor;
    static constexpr bool grows = true;

    [[gnu::cold]] static object_status status(const file_descriptor& file,
                                              std::error_code& ec) noexcept;

    [[gnu::cold]] static void back(const file_descriptor& file, void* /*mapping*/,
                                   std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept;

    /// Gives real space to the holes in the first `bytes`. Otherwise touching a hole would allocate
    /// space or, if there is none, raise SIGBUS. Reading allocates memory only on a tmpfs, so for a
    /// process that may not write, only a tmpfs is populated.
    [[gnu::cold]] static void fill(const file_descriptor& file, access_mode how, void* mapping,
                                   std::uint64_t bytes, std::error_code& ec) noexcept;

    // Makes a hole of whole pages.
    [[gnu::cold]] static void release(const file_descriptor& file, void* /*mapping*/,
                                      std::uint64_t from, std::uint64_t to,
                                      std::error_code& ec) noexcept;

    [[gnu::cold]] static void* map(const file_descriptor& file, std::uint64_t bytes,
                                   access_mode how, void* at, std::error_code& ec) noexcept;

    [[gnu::cold]] static void close(file_descriptor& file) noexcept;

    [[gnu::cold]] static void adopt(file_descriptor& file, std::error_code& ec) noexcept;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/detail/file_object.ipp>
#endif

#endif
