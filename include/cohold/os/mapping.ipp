// Definitions for mapping.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MAPPING_IPP
#define COHOLD_OS_MAPPING_IPP

#include <cohold/os/mapping.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE memory_found memory_left() noexcept {
    std::string text;
    if (read_text("/proc/meminfo", text) != 0) {
        return {UINT64_MAX, ""};
    }
    const std::uint64_t swap = labelled_number(text, "SwapFree:") * 1024;
    const std::uint64_t machine = labelled_number(text, "MemAvailable:") * 1024 + swap;
    const std::uint64_t group = group_memory_left(swap);
    return group < machine
               ? memory_found{group, " in the control group of this process (memory.max)"}
               : memory_found{machine, ""};
}

COHOLD_INLINE void fail_for_memory(std::error_code& ec, std::uint64_t wanted) noexcept {
    const memory_found left = memory_left();
    fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu%s",
         static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(left.bytes),
         left.bound_by);
}

COHOLD_INLINE void populate(void* mapping, std::uint64_t from, std::uint64_t to,
                            std::error_code& ec) noexcept {
    const std::uint64_t begin = from / page_size() * page_size();
    const std::uint64_t end = round_up(to, page_size());
    if (end <= begin) {
        return;
    }
    const int error = exceeds_memory(end - begin)
                          ? ENOMEM
                          : populate_for_writing(static_cast<char*>(mapping) + begin,
                                                 static_cast<std::size_t>(end - begin));
    if (error == ENOMEM || error == EFAULT || error == EHWPOISON) {
        fail_for_memory(ec, end - begin);
    } else if (error != 0) {
        fail_errno(ec, error, "madvise(MADV_POPULATE_WRITE)");
    }
}

COHOLD_INLINE void remove_pages(void* mapping, std::uint64_t from, std::uint64_t to,
                                std::error_code& ec) noexcept {
    if (::madvise(static_cast<char*>(mapping) + from, static_cast<std::size_t>(to - from),
                  MADV_REMOVE) == 0) {
        return;
    }
    if (errno == EINVAL || errno == EOPNOTSUPP) {
        fail(ec, errc::unsupported,
             "madvise(MADV_REMOVE): not for memory that is locked (mlock), or in hugetlb pages");
    } else {
        fail_errno(ec, errno, "madvise(MADV_REMOVE)");
    }
}

COHOLD_INLINE void advise_pages(void* at, std::size_t bytes, int advice,
                                std::error_code& ec) noexcept {
    if (::madvise(at, bytes, advice) != 0) {
        fail_errno(ec, errno, "madvise");
    }
}

COHOLD_INLINE void advise_mapping(void* at, std::size_t bytes, int advice, const char* name,
                                  std::error_code& ec) noexcept {
    if (bytes == 0 || ::madvise(at, bytes, advice) == 0) {
        return;
    }
    if (errno == EINVAL) {
        fail(ec, errc::unsupported, "madvise(%s): the kernel does not support it for this mapping",
             name);
    } else {
        fail_errno(ec, errno, "madvise(%s)", name);
    }
}

COHOLD_INLINE void collapse_pages(void* at, std::size_t bytes, std::error_code& ec) noexcept {
    const auto begin = reinterpret_cast<std::uintptr_t>(at);
    const auto huge = static_cast<std::uintptr_t>(huge_page_bytes);
    for (std::uintptr_t page = (begin + huge - 1) / huge * huge; page + huge <= begin + bytes;
         page += huge) {
        int error = 0;
        for (int attempt = 0; attempt < 3; ++attempt) {
            error = ::madvise(reinterpret_cast<void*>(page), huge, MADV_COLLAPSE) == 0 ? 0 : errno;
            if (error != EAGAIN && error != EBUSY && error != EINTR) {
                break;
            }
        }
        if (error == EINVAL) {
            fail(ec, errc::unsupported,
                 "madvise(MADV_COLLAPSE): this memory cannot have huge pages (Linux before 6.1, a "
                 "file that is not on a tmpfs, or a kernel without them)");
            return;
        }
        if (error != 0 && error != EAGAIN && error != EBUSY && error != EINTR && error != ENOMEM) {
            fail_errno(ec, error, "madvise(MADV_COLLAPSE)");
            return;
        }
    }
}

COHOLD_INLINE std::uint64_t locked_bytes() noexcept {
    char text[4096];
    const unique_fd file = open_file("/proc/self/status", O_RDONLY);
    const ssize_t length = file ? read_some(file.get(), text, sizeof text - 1) : -1;
    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    const char* const line = std::strstr(text, "VmLck:");
    return line == nullptr ? 0 : std::strtoull(line + 6, nullptr, 10) * 1024;
}

COHOLD_INLINE void lock_pages(void* at, std::size_t bytes, bool on_fault,
                              std::error_code& ec) noexcept {
    constexpr int when_touched = 1; // MLOCK_ONFAULT
    // Not mlock(3), which does nothing under sanitizers.
    if (bytes == 0 || ::syscall(SYS_mlock2, at, bytes, on_fault ? when_touched : 0) == 0) {
        return;
    }
    const int error = errno;
    struct ::rlimit limit{};
    const bool limited =
        ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    const std::uint64_t locked = locked_bytes();
    if (error == EPERM ||
        (error == ENOMEM && limited && locked + bytes > std::uint64_t{limit.rlim_cur})) {
        fail(ec, errc::lock_limit, "wanted %zu bytes, already locked %llu, ulimit -l %llu", bytes,
             static_cast<unsigned long long>(locked),
             static_cast<unsigned long long>(limit.rlim_cur));
    } else if (error == ENOSYS) {
        fail(ec, errc::unsupported, "mlock2: the kernel lacks it, or a seccomp filter forbids it");
    } else if (error == ENOMEM) {
        fail(ec, errc::out_of_space,
             "locking %zu bytes: not all of them could be brought into memory", bytes);
    } else {
        fail_errno(ec, error, "mlock2 of %zu bytes", bytes);
    }
}

COHOLD_INLINE void unlock_pages(void* at, std::size_t bytes) noexcept {
    ::syscall(SYS_munlock, at, bytes);
}

COHOLD_INLINE void place_on_nodes(void* at, std::size_t bytes, int policy, std::uint64_t nodes,
                                  std::error_code& ec) noexcept {
    constexpr unsigned move = 2; // MPOL_MF_MOVE
    // The kernel reads the mask in words of a long, and uses one bit less than the number it is
    // told.
    unsigned long mask[sizeof(std::uint64_t) / sizeof(unsigned long) + 1] = {};
    constexpr unsigned word = 8 * sizeof(unsigned long);
    for (unsigned node = 0; node < 64; ++node) {
        if ((nodes >> node & 1) != 0) {
            mask[node / word] |= 1ul << node % word;
        }
    }
    if (nodes == 0) {
        fail(ec, errc::invalid_options, "no NUMA node is given");
    } else if (bytes != 0 && ::syscall(SYS_mbind, at, bytes, policy, mask, 65ul, move) != 0) {
        if (errno == ENOSYS) {
            fail(ec, errc::unsupported, "mbind: the kernel has no NUMA support");
        } else if (errno == EPERM) {
            fail(ec, errc::permission_denied,
                 "mbind: EPERM: the seccomp filter of a container may forbid it without "
                 "CAP_SYS_NICE");
        } else if (errno == EINVAL) {
            fail(ec, errc::invalid_options,
                 "mbind: nodes %#llx: not all of them are there and may be used (see "
                 "/sys/devices/system/node/online)",
                 static_cast<unsigned long long>(nodes));
        } else {
            fail_errno(ec, errno, "mbind");
        }
    }
}

COHOLD_INLINE int populating::run(unsigned threads) noexcept {
    constexpr unsigned most = 64;
    const std::size_t pieces = (bytes_ + piece - 1) / piece;
    if (threads == 0) {
        threads = cpus();
    }
    threads = threads < most ? threads : most;
    threads = threads < pieces ? threads : static_cast<unsigned>(pieces);
    pthread_t helpers[most];
    unsigned started = 0;
    // The program's signal handlers must not run in these threads.
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    const int masked = threads > 1 ? ::pthread_sigmask(SIG_SETMASK, &all, &old) : -1;
    while (started + 1 < threads &&
           ::pthread_create(&helpers[started], nullptr, &help, this) == 0) {
        ++started; // if one cannot be started, the others do its work
    }
    if (masked == 0) {
        ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    }
    work();
    const uncancelled here; // the helpers use this object, which is on this thread's stack
    while (started > 0) {
        ::pthread_join(helpers[--started], nullptr);
    }
    return error_.load(std::memory_order_relaxed);
}

COHOLD_INLINE unsigned populating::cpus() noexcept {
    cpu_set_t mine;
    return ::sched_getaffinity(0, sizeof mine, &mine) == 0 ? static_cast<unsigned>(CPU_COUNT(&mine))
                                                           : 1;
}

COHOLD_INLINE void populating::work() noexcept {
    for (;;) {
        const std::size_t from = next_.fetch_add(piece, std::memory_order_relaxed);
        if (from >= bytes_ || error_.load(std::memory_order_relaxed) != 0) {
            return;
        }
        const std::size_t some = bytes_ - from < piece ? bytes_ - from : piece;
        const int error = writing_ ? populate_for_writing(at_ + from, some)
                                   : populate_for_reading(at_ + from, some);
        if (error != 0) {
            error_.store(error, std::memory_order_relaxed);
        }
    }
}

COHOLD_INLINE int populating::populate_for_reading(void* at, std::size_t bytes) noexcept {
    while (::madvise(at, bytes, MADV_POPULATE_READ) != 0) {
        if (errno != EINTR) {
            return errno == EINVAL ? 0 : errno; // Linux before 5.14 does not have it
        }
    }
    return 0;
}

COHOLD_INLINE void populate_mapping(void* at, std::size_t bytes, unsigned threads, bool writing,
                                    std::error_code& ec) noexcept {
    if (const int error = bytes == 0 ? 0 : populating(at, bytes, writing).run(threads);
        error != 0) {
        fail_errno(ec, error, "populating %zu bytes", bytes);
    }
}

COHOLD_INLINE void write_back(void* at, std::size_t from, std::size_t to,
                              std::error_code& ec) noexcept {
    const uncancelled here;
    const std::size_t begin = from / page_size() * page_size();
    if (to > begin && ::msync(static_cast<char*>(at) + begin, to - begin, MS_SYNC) != 0) {
        fail_errno(ec, errno, "msync");
    }
}

COHOLD_INLINE std::optional<std::uint64_t> data_bytes(int fd, std::uint64_t size) noexcept {
    const unique_fd own = fd < 0 ? unique_fd() : reopen_file(fd, O_RDONLY);
    std::uint64_t bytes = 0;
    std::int64_t at = 0;
    if (!own) {
        return {};
    }
    while (static_cast<std::uint64_t>(at) < size) {
        const std::int64_t data = raw_lseek(own.get(), at, SEEK_DATA);
        if (data < 0) {
            return errno == ENXIO ? std::optional(bytes) : std::optional<std::uint64_t>();
        }
        const std::int64_t hole = raw_lseek(own.get(), data, SEEK_HOLE);
        if (hole <= data) {
            break; // it has become shorter
        }
        bytes += static_cast<std::uint64_t>(hole - data);
        at = hole;
    }
    return bytes;
}

COHOLD_INLINE bool tells_residency(int fd, const file_status& status) noexcept {
    return status.st_uid == ::geteuid() || reopen_file(fd, O_WRONLY | O_NONBLOCK);
}

COHOLD_INLINE std::optional<std::uint64_t> resident_bytes(const void* at,
                                                          std::uint64_t bytes) noexcept {
    unsigned char pages[4096];
    const std::size_t page = page_size();
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    const std::uintptr_t begin = address / page * page;
    std::uint64_t found = 0;
    for (std::uint64_t done = 0; done < bytes + (address - begin);) {
        const std::uint64_t left = bytes + (address - begin) - done;
        const std::uint64_t most = std::uint64_t{sizeof pages} * page;
        const auto some = static_cast<std::size_t>(left < most ? left : most);
        if (::mincore(reinterpret_cast<void*>(begin + static_cast<std::uintptr_t>(done)), some,
                      pages) != 0) {
            return {};
        }
        for (std::size_t i = 0; i < (some + page - 1) / page; ++i) {
            found += (pages[i] & 1) != 0 ? page : 0;
        }
        done += some;
    }
    return found;
}

COHOLD_INLINE std::optional<std::uint64_t> resident_bytes_of_file(int fd,
                                                                  std::uint64_t size) noexcept {
    constexpr std::uint64_t window = std::uint64_t{256} << 20; // fits every address space
    std::uint64_t found = 0;
    for (std::uint64_t from = 0; from < size; from += window) {
        const auto bytes = static_cast<std::size_t>(size - from < window ? size - from : window);
        void* const at = raw_map(bytes, fd, static_cast<std::int64_t>(from));
        if (at == MAP_FAILED) {
            return {};
        }
        const auto some = resident_bytes(at, bytes);
        unmap(at, bytes);
        if (!some) {
            return {};
        }
        found += *some;
    }
    return found;
}

COHOLD_INLINE std::size_t read_file(int fd, void* to, std::size_t bytes,
                                    std::uint64_t from) noexcept {
    std::size_t done = 0;
    while (done < bytes) {
        const ssize_t got = raw_pread(fd, static_cast<char*>(to) + done, bytes - done,
                                      static_cast<std::int64_t>(from + done));
        if (got > 0) {
            done += static_cast<std::size_t>(got);
        } else if (got == 0 || errno != EINTR) {
            break;
        }
    }
    return done;
}

COHOLD_INLINE std::size_t copy_from_mapping(void* to, const void* from,
                                            std::size_t bytes) noexcept {
    const struct ::iovec into{to, bytes};
    const struct ::iovec out{const_cast<void*>(from), bytes};
    const long got = ::syscall(SYS_process_vm_readv, ::getpid(), &into, 1L, &out, 1L, 0L);
    if (got >= 0) {
        return static_cast<std::size_t>(got);
    }
    // A sandbox may forbid that call. Reading this file does the same.
    if (errno == EPERM || errno == ENOSYS) {
        const unique_fd self = open_file("/proc/self/mem", O_RDONLY);
        return self ? read_file(self.get(), to, bytes, reinterpret_cast<std::uintptr_t>(from)) : 0;
    }
    return 0;
}

COHOLD_INLINE bool any_page_resident(void* at, std::uint64_t bytes) noexcept {
    unsigned char pages[64];
    const std::size_t page = page_size();
    for (std::uint64_t done = 0; done < bytes; done += sizeof pages * page) {
        const std::uint64_t left = bytes - done;
        const auto some = static_cast<std::size_t>(
            left < sizeof pages * page ? left : std::uint64_t{sizeof pages} * page);
        if (::mincore(static_cast<char*>(at) + done, some, pages) != 0) {
            return true;
        }
        for (std::size_t i = 0; i < (some + page - 1) / page; ++i) {
            if ((pages[i] & 1) != 0) {
                return true;
            }
        }
    }
    return false;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
