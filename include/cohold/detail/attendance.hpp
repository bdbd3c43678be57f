// Who has a segment attached, as the kernel knows it: what session lifetime rests on.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_ATTENDANCE_HPP
#define COHOLD_DETAIL_ATTENDANCE_HPP

#include <cohold/detail/file.hpp>
#include <cohold/detail/memory_map.hpp>
#include <cohold/detail/system_v_object.hpp>
#include <cohold/error.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Files: everybody attached shares a lock on one byte far behind the end. The lock belongs to an
// open file that is kept open by a mapping alone: it costs no descriptor, closefrom(3) cannot close
// it, a forked child does not inherit it, and the kernel drops it when the process is gone, however
// it went.
struct file_attendance {
    // Held shared by who attaches, alone by who removes for lack of others. Not held (false, and
    // errno) where locks do not work; without `wait`, EAGAIN while others hold it.
    class gate {
      public:
        gate(const file_descriptor& file, lock_kind kind, bool wait = true) noexcept
            : fd_(reopen_file(file.value, kind == lock_kind::exclusive ? O_RDWR : O_RDONLY)) {
            const int error = fd_ ? lock_file(fd_.get(), lock_byte::gate, kind, wait) : errno;
            held_ = error == 0;
            errno = error;
        }

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        // A child that another thread forks meanwhile has the open file too, and would keep the
        // lock.
        ~gate() {
            if (held_) {
                lock_file(fd_.get(), lock_byte::gate, lock_kind::none, false);
            }
        }

        explicit operator bool() const noexcept { return held_; }

      private:
        unique_fd fd_;
        bool held_;
    };

    // Attaches this process until it unmaps the page at `page`, or dies.
    static void enter(const file_descriptor& file, void* page, std::error_code& ec) noexcept {
        const unique_fd fd = reopen_file(file.value, O_RDONLY);
        const int error =
            !fd ? errno : lock_file(fd.get(), lock_byte::attached, lock_kind::shared, false);
        if (error != 0) {
            fail_errno(ec, error, "locking the file, which session lifetime needs");
        } else if (::mmap(page, page_size(), PROT_NONE, MAP_SHARED | MAP_FIXED, fd.get(), 0) ==
                       MAP_FAILED ||
                   ::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "mapping the attendance page");
        }
    }

    static bool anybody(const file_descriptor& file) noexcept {
        return lock_held(file.value, lock_byte::attached) != 0;
    }
};

// System V: the kernel counts attachments, and everybody attached has the attendance_object at his
// attendance page. Segments without a name have none: for them any attachment counts.
struct system_v_attendance {
    class gate {
      public:
        gate(const system_v_id& object, lock_kind /*kind*/, bool wait = true) noexcept
            : gate(status_of(object), wait) {}

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        ~gate() {
            if (locked_) {
                // The lock may have been one that a dead creator held, of the next object of the
                // key.
                reclaim_unready(key_, lock_);
                lock_.release();
            }
        }

        explicit operator bool() const noexcept { return key_ == IPC_PRIVATE || locked_; }

      private:
        // An object without a key, or one that has lost it, is found by nobody: no need to lock,
        // and there is nothing to lock by.
        gate(const struct ::shmid_ds& status, bool wait) noexcept
            : key_(status.shm_perm.__key), lock_(key_) {
            const ::mode_t mode = status.shm_perm.uid == ::geteuid()
                                      ? creation_lock::mode_for(status.shm_perm.mode)
                                      : ::mode_t{0666}; // its owner must get by
            const int error = key_ == IPC_PRIVATE ? 0 : lock_.acquire(true, wait, mode);
            locked_ = key_ != IPC_PRIVATE && error == 0;
            errno = error;
        }

        static struct ::shmid_ds status_of(const system_v_id& object) noexcept {
            struct ::shmid_ds status{};
            if (!system_v_status(object.value, status)) {
                status.shm_perm.__key = IPC_PRIVATE;
            }
            return status;
        }

        key_t key_;
        creation_lock lock_;
        bool locked_ = false;
    };

    // Attaches this process until it unmaps the page at `page`, or dies, or executes a program.
    [[gnu::cold]] static void enter(const system_v_id& object, void* page,
                                    std::error_code& ec) noexcept {
        struct ::shmid_ds segment{};
        if (!system_v_status(object.value, segment)) {
            fail_errno(ec, errno, "shmctl(IPC_STAT)");
            return;
        }
        if (segment.shm_perm.__key == IPC_PRIVATE) {
            return;
        }
        const bool finished = system_v_ready(object.value);
        const int id =
            finished ? attendance_object::find(segment) : attendance_object::make(segment);
        if (id < 0 && finished) {
            fail(ec, errc::removed, "identifier %d", object.value);
        } else if (id < 0) {
            fail_errno(ec, errno, "shmget of key %#x, which session lifetime needs",
                       static_cast<unsigned>(attendance_object::key_of(segment)));
        } else if (::shmat(id, page, SHM_RDONLY | SHM_REMAP) == reinterpret_cast<void*>(-1)) {
            if (errno == EIDRM || errno == EINVAL) {
                fail(ec, errc::removed, "identifier %d", object.value);
            } else {
                fail_errno(ec, errno, "shmat, which session lifetime needs");
            }
        } else if (::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
        }
    }

    [[gnu::cold]] static bool anybody(const system_v_id& object) noexcept {
        struct ::shmid_ds status{};
        if (!system_v_status(object.value, status)) {
            return false;
        }
        if (status.shm_perm.__key != IPC_PRIVATE) {
            const int id = attendance_object::find(status);
            return id >= 0 && system_v_status(id, status) && status.shm_nattch != 0;
        }
        return status.shm_nattch != 0;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
