// Definitions for named_semaphore.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_NAMED_SEMAPHORE_IPP
#define COHOLD_HANDLE_NAMED_SEMAPHORE_IPP

#include <cohold/handle/named_semaphore.hpp>

// glibc 2.30 has it; but ThreadSanitizer would not see that it synchronizes.
#if defined(__GLIBC_PREREQ) && !defined(__SANITIZE_THREAD__)
#define COHOLD_HAS_SEM_CLOCKWAIT __GLIBC_PREREQ(2, 30)
#else
#define COHOLD_HAS_SEM_CLOCKWAIT 0
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef COHOLD_HAS_SEM_CLOCKWAIT
#define COHOLD_HAS_SEM_CLOCKWAIT 0
#endif
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE file_place semaphore_place(const std::string& name) noexcept {
    return {"/dev/shm/", "sem." + name};
}

COHOLD_INLINE void check_semaphore_name(const std::string& name, std::error_code& ec) noexcept {
    if (name.size() > max_semaphore_name) {
        fail(ec, errc::invalid_name,
             "the semaphore's name has %zu bytes, but at most %zu are possible (naming::hashed "
             "takes "
             "any)",
             name.size(), max_semaphore_name);
    }
}

COHOLD_INLINE semaphore_mapping map_semaphore(const unique_fd& file, std::error_code& ec) noexcept {
    file_status status{};
    if (raw_fstat(file.get(), status) != 0) {
        fail_errno(ec, errno, "fstat");
        return {};
    }
    // 32 bytes in 64-bit programs, 16 in others, which count differently.
    if (status.st_size != static_cast<std::int64_t>(sizeof(::sem_t))) {
        fail(ec, errc::type_mismatch,
             "size: expected %zu, found %lld (those of 64-bit programs have 32)", sizeof(::sem_t),
             static_cast<long long>(status.st_size));
        return {};
    }
    void* const at =
        ::mmap(nullptr, sizeof(::sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (at == MAP_FAILED) {
        fail_errno(ec, errno, "mmap");
        return {};
    }
    return {static_cast<::sem_t*>(at), static_cast<std::uint64_t>(status.st_dev),
            static_cast<std::uint64_t>(status.st_ino)};
}

COHOLD_INLINE semaphore_mapping create_semaphore(const std::string& name, unsigned value,
                                                 const creation& wanted,
                                                 std::error_code& ec) noexcept {
    check_semaphore_name(name, ec);
    if (ec) {
        return {};
    }
    const file_place place = semaphore_place(name);
    unique_fd file(create_file(place, wanted, ec).value);
    if (ec) {
        return {};
    }
    ::sem_t initial;
    std::memset(&initial, 0, sizeof initial); // padding, too
    ::sem_init(&initial, 1, value);           // like sem_open
    int error = 0;
    {
        const signals_held held;
        const ssize_t written = raw_pwrite(file.get(), &initial, sizeof initial, 0);
        error = written < 0 ? errno : written < static_cast<ssize_t>(sizeof initial) ? ENOSPC : 0;
    }
    if (error != 0) {
        fail_to_back(file.get(), error, 0, sizeof initial, ec);
    }
    semaphore_mapping made;
    if (!ec) {
        made = map_semaphore(file, ec);
    }
    if (!ec) {
        publish_file(file.get(), place, publication::exclusive, ec);
    }
    if (ec) {
        unmap(made.at, sizeof(::sem_t));
        file_descriptor left{file.release()};
        abandon_file(left, place);
        return {};
    }
    return made;
}

COHOLD_INLINE bool remove_semaphore(const std::string& name, std::error_code& ec) noexcept {
    check_semaphore_name(name, ec);
    return !ec && remove_file(semaphore_place(name), ec);
}

COHOLD_INLINE bool semaphore_is_named(const semaphore_mapping& mapped,
                                      const std::string& name) noexcept {
    const file_place place = semaphore_place(name);
    file_status found{};
    return raw_lstat(place.path(), found) == 0 &&
           static_cast<std::uint64_t>(found.st_dev) == mapped.device &&
           static_cast<std::uint64_t>(found.st_ino) == mapped.inode;
}

COHOLD_INLINE void wait_semaphore(::sem_t* semaphore) noexcept {
    const uncancelled here;
    while (::sem_wait(semaphore) != 0) {
        // EINTR; EINVAL cannot happen with a valid semaphore
    }
}

COHOLD_INLINE bool try_wait_semaphore(::sem_t* semaphore) noexcept {
    while (::sem_trywait(semaphore) != 0) {
        if (errno != EINTR) {
            return false; // EAGAIN
        }
    }
    return true;
}

COHOLD_INLINE bool wait_semaphore(::sem_t* semaphore, deadline until) noexcept {
    if (until.is_never()) {
        wait_semaphore(semaphore);
        return true;
    }
    const uncancelled here;
#if COHOLD_HAS_SEM_CLOCKWAIT
    const ::timespec time = to_timespec(until.nanoseconds);
    while (::sem_clockwait(semaphore, CLOCK_MONOTONIC, &time) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
#else
    // The C library can wait only by the realtime clock, which can be set: the monotonic clock
    // decides.
    for (;;) {
        const std::int64_t left = until.nanoseconds - deadline::now().nanoseconds;
        if (left <= 0) {
            return try_wait_semaphore(semaphore);
        }
        ::timespec day{};
        ::clock_gettime(CLOCK_REALTIME, &day);
        const std::int64_t today = static_cast<std::int64_t>(day.tv_sec) * 1000000000 + day.tv_nsec;
        constexpr std::int64_t longest = std::int64_t{1000000000} * 60;
        const ::timespec time = to_timespec(today + (left < longest ? left : longest));
        if (::sem_timedwait(semaphore, &time) == 0) {
            return true;
        }
    }
#endif
}

} // namespace detail

COHOLD_NAMESPACE_END

#undef COHOLD_HAS_SEM_CLOCKWAIT

#endif
