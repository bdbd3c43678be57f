// tmpfs_mount and tmpfs_usage: a private file system in memory, with a limit that no other program
// can use up; and the state of any tmpfs.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_TMPFS_HPP
#define COHOLD_HANDLE_TMPFS_HPP

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

#include <cohold/error.hpp>
#include <cohold/os/mount.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

/// When the files of a tmpfs get huge pages (2 MiB on x86-64).
enum class tmpfs_huge {
    kernel_default, ///< never, unless the kernel was started with transparent_hugepage_tmpfs=
    never,          ///< not even on request
    advise,         ///< where a program asks for them by madvise(MADV_HUGEPAGE)
    within_size,    ///< where the whole page lies within the file
    always,         ///< wherever possible: may use far more memory than the files are long
};

/// What the kernel says about a tmpfs.
struct tmpfs_statistics {
    std::uint64_t size = 0;   ///< bytes that it can hold; 0: no limit, and then nothing is counted
    std::uint64_t used = 0;   ///< bytes of whole pages, in memory or in swap
    std::uint64_t free = 0;   ///< bytes; the machine may run out of memory earlier
    std::uint64_t inodes = 0; ///< files and directories that it can hold; 0: no limit
    std::uint64_t free_inodes = 0; ///< how many more it can hold
    std::string
        mount_point;     ///< seen from the root of this process; empty if it is not visible there
    std::string options; ///< as in /proc/mounts: "rw,nosuid,size=1024k,mode=700"
    tmpfs_huge huge = tmpfs_huge::never; ///< when files get huge pages
    bool noswap = false;                 ///< do its pages stay in memory?
};

namespace detail {

[[gnu::cold]] tmpfs_huge huge_of(std::string_view word) noexcept;

[[gnu::cold]] tmpfs_statistics tmpfs_statistics_of(int fd, std::error_code& ec);

// O_PATH: does not open or read the file itself.
[[gnu::cold]] unique_fd open_place(std::string_view path, std::error_code& ec);

} // namespace detail

/// Is the file that the path leads to (through links, too) on a tmpfs? /dev/shm usually is one; a
/// ramfs or hugetlbfs is not. *Errors* of the form with `ec`: errc::not_found, not_a_directory,
/// permission_denied, invalid_name; open(2), fstatfs(2). *Thread safety*: yes.
[[nodiscard]] bool is_tmpfs(name_argument path, std::error_code& ec) noexcept;

[[nodiscard]] inline bool is_tmpfs(name_argument path) {
    return detail::thrown([&](std::error_code& ec) { return is_tmpfs(path, ec); });
}

/// The state of the tmpfs that the path leads to: its mount point, or any file in it. The numbers
/// are those of one moment; other processes may use up the free space in the next. The mount point
/// and the options come from /proc/self/mountinfo and are empty if /proc is not mounted. *Errors*:
/// errc::not_on_tmpfs, and those of is_tmpfs; fstatvfs(3). *Complexity*: reads all of mountinfo.
/// *Thread safety*: yes.
[[nodiscard]] tmpfs_statistics tmpfs_usage(name_argument path, std::error_code& ec) noexcept;

[[nodiscard]] inline tmpfs_statistics tmpfs_usage(name_argument path) {
    return detail::thrown([&](std::error_code& ec) { return tmpfs_usage(path, ec); });
}

/// For `tmpfs_mount::create(path, {.size = 64 << 20})`.
struct tmpfs_options {
    /// A size, or a number of inodes, limited only by the machine's memory.
    static constexpr std::uint64_t unlimited = UINT64_MAX;

    /// Bytes that it can hold; the kernel rounds up to whole pages. 0: the kernel's default, half
    /// of the memory. At most INT64_MAX; or `unlimited`, which resize() cannot change later.
    std::uint64_t size = 0;
    /// Files and directories that it can hold, including the root. 0: the kernel's default, one for
    /// every two pages of the memory.
    std::uint64_t inodes = 0;
    /// The mode of its root directory, which decides which users may create files in it, e.g. 01777
    /// as in /tmp.
    ::mode_t mode = 0700;
    /// The owner of the root directory. None: the effective user of this process.
    std::optional<uid_t> uid = std::nullopt;
    /// The group of the root directory. None: the effective group of this process.
    std::optional<gid_t> gid = std::nullopt;
    /// When files get huge pages.
    tmpfs_huge huge = tmpfs_huge::kernel_default;
    /// Never swap its pages out. Linux 6.4 or newer, and root outside of user namespaces.
    bool noswap = false;
};

/// Selects an unmount that does not wait for users: `unmount(lazy)`.
inline constexpr struct lazy_t {
} lazy{}; ///< selects the unmount that does not wait

/// A tmpfs that this process has mounted, and unmounts. mechanism::tmpfs finds its files by their
/// paths. Mounting needs CAP_SYS_ADMIN: root has it, and so does every user in a user namespace of
/// their own with a mount namespace, where only the processes inside see the mount. It is mounted
/// nosuid, nodev and noexec: it is a place for memory.
///
/// The destructor unmounts; if the mount is in use it detaches it lazily: nothing stays mounted at
/// the path, but processes that have its files open or mapped keep them. Call unmount() instead to
/// learn of users. In a forked child the destructor does nothing: the mount belongs to its parent.
/// *If the process is killed*, the mount stays; adopt() takes it over, umount(8) ends it; the
/// mounts of a mount namespace end with its last process.
///
/// *Complexity*: one or a few system calls for each. *Thread safety*: several threads may call
/// const members at the same time. *Errors* of all members besides their own: errc::empty_handle;
/// removed if it has been unmounted by other means or this process has entered another mount
/// namespace; busy if another file system is mounted over it; permission_denied (EPERM of mount(2)
/// and umount(2)).
class tmpfs_mount {
  public:
    tmpfs_mount() = default;

    tmpfs_mount(tmpfs_mount&& other) noexcept
        : path_(std::move(other.path_)), mount_(std::exchange(other.mount_, {})),
          owner_(other.owner_) {}

    tmpfs_mount& operator=(tmpfs_mount&& other) noexcept;

    ~tmpfs_mount() {
        if (mount_ && owner_ == ::getpid()) {
            detail::discard_tmpfs(path_, mount_);
        }
    }

    /// Mounts a new, empty tmpfs on a directory, and hides the directory's contents meanwhile.
    /// *Errors*: errc::no_such_directory, not_a_directory, symlink_refused (of the last component);
    /// permission_denied; invalid_options, invalid_size; unsupported if the kernel refuses an
    /// option, with its reason; out_of_space (fs.mount-max). System calls: open(2), mount(2).
    [[nodiscard]] static tmpfs_mount create(name_argument path, const tmpfs_options& options = {}) {
        return detail::thrown([&](std::error_code& ec) { return create(path, options, ec); });
    }

    [[nodiscard]] static tmpfs_mount create(name_argument path, std::error_code& ec) noexcept {
        return create(path, tmpfs_options{}, ec);
    }

    [[nodiscard]] static tmpfs_mount create(name_argument path, const tmpfs_options& options,
                                            std::error_code& ec) noexcept;

    /// Takes over an existing mount: this handle unmounts it. For mounts of processes that were
    /// killed; or to resize a mount, and to release() it again. *Errors*: errc::not_on_tmpfs,
    /// no_such_directory, not_a_directory, symlink_refused; invalid_name if the path leads into a
    /// tmpfs but not to its mount point.
    [[nodiscard]] static tmpfs_mount adopt(name_argument path) {
        return detail::thrown([&](std::error_code& ec) { return adopt(path, ec); });
    }

    [[nodiscard]] static tmpfs_mount adopt(name_argument path, std::error_code& ec) noexcept;

    explicit operator bool() const noexcept { return static_cast<bool>(mount_); }

    /// Where it is mounted: an absolute path without links. Empty for an empty handle.
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Is it still mounted, and does the path lead to it?
    [[nodiscard]] bool is_mounted() const noexcept;

    /// Changes the limit, in bytes (the kernel rounds up to whole pages), by a remount: the
    /// contents stay, users can continue, and all other options stay the same. *Errors*:
    /// errc::invalid_size for less than is used, for 0, and if it was mounted without a limit.
    void resize(std::uint64_t bytes) const {
        std::error_code ec;
        resize(bytes, ec);
        detail::raise_if(ec);
    }

    void resize(std::uint64_t bytes, std::error_code& ec) const noexcept {
        limit("size", bytes, ec);
    }

    /// The same for the number of files and directories.
    void resize_inodes(std::uint64_t count) const {
        std::error_code ec;
        resize_inodes(count, ec);
        detail::raise_if(ec);
    }

    void resize_inodes(std::uint64_t count, std::error_code& ec) const noexcept {
        limit("nr_inodes", count, ec);
    }

    /// Its size, how much is used and free, and its options: see tmpfs_usage.
    [[nodiscard]] tmpfs_statistics statistics() const {
        return detail::thrown([&](std::error_code& ec) { return statistics(ec); });
    }

    [[nodiscard]] tmpfs_statistics statistics(std::error_code& ec) const noexcept {
        const detail::error_context context("statistics of", "tmpfs", path_);
        const detail::unique_fd root = root_of(ec);
        return ec ? tmpfs_statistics() : detail::tmpfs_statistics_of(root.get(), ec);
    }

    /// Unmounts, and makes this handle empty; the memory is free again. *Errors*: errc::busy,
    /// without effect, if a process has one of its files open or mapped, or is in one of its
    /// directories, or something is mounted there; the message names some of these. System call:
    /// umount2(2).
    void unmount() {
        std::error_code ec;
        unmount(ec);
        detail::raise_if(ec);
    }

    void unmount(std::error_code& ec) noexcept { end(false, ec); }

    /// The same at once, even if it is in use: its path no longer leads to it, open and mapped
    /// files keep working, and the memory is free when the last of these is gone.
    void unmount(lazy_t) {
        std::error_code ec;
        unmount(lazy, ec);
        detail::raise_if(ec);
    }

    void unmount(lazy_t, std::error_code& ec) noexcept { end(true, ec); }

    /// Leaves it mounted; this handle becomes empty.
    void release() noexcept {
        path_.clear();
        mount_ = {};
    }

  private:
    // The directory, and its path without links.
    static detail::unique_fd open(std::string_view path, std::string& real, std::error_code& ec);

    static tmpfs_mount found_at(const std::string& real, std::error_code& ec);

    // The options in the form that mount(2) expects.
    static std::string written(const tmpfs_options& options, std::error_code& ec);

    static bool is_limit(std::uint64_t value) noexcept {
        return value <= static_cast<std::uint64_t>(INT64_MAX) || value == tmpfs_options::unlimited;
    }

    void limit(const char* key, std::uint64_t value, std::error_code& ec) const noexcept;

    detail::unique_fd root_of(std::error_code& ec) const;

    void end(bool lazily, std::error_code& ec) noexcept;

    std::string path_;
    detail::mount_identity mount_;
    pid_t owner_ = -1;
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/tmpfs.ipp>
#endif

#endif
