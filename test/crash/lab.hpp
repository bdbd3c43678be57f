// Segments in which the test decides which participants are dead: a kill is simulated by a copy of
// the bytes at that moment, and by the verdict on the victim.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_LAB_HPP
#define COHOLD_TEST_CRASH_LAB_HPP

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "crash/audit.hpp"
#include "crash/stepper.hpp"

namespace crash {

inline void demand(bool good, const char* what) {
    if (!good) {
        std::perror(what);
        std::abort();
    }
}

enum class fate : std::uint32_t { nobody, alive, dead };

inline constexpr std::size_t slots = cohold::config::max_participants + 1;

// What the kernel would know about a segment's participants.
struct census {
    std::array<std::atomic<fate>, slots> fates{};
    std::array<std::atomic<void*>, slots> pages{};

    census() = default;

    census(const census& other) noexcept { *this = other; }

    census& operator=(const census& other) noexcept {
        for (std::size_t i = 0; i < slots; ++i) {
            fates[i] = other.fates[i].load();
            pages[i] = other.pages[i].load();
        }
        return *this;
    }
};

inline constexpr std::size_t most_descriptors = 1024;
inline std::array<census*, most_descriptors> census_of_descriptor{};
inline census* census_of_new = nullptr; // of a segment under construction

// Pages that stand for locks. Low enough that the kernel puts nothing else there: unmapping one
// releases its lock.
inline void* new_page() noexcept {
    static constexpr std::uintptr_t region = 0x100000000000;
    static std::atomic<std::uintptr_t> next{region};
    const auto bytes = static_cast<std::uintptr_t>(::getpagesize());
    void* at = reinterpret_cast<void*>(next.fetch_add(2 * bytes)); // apart, or they would be merged
    at = ::mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    demand(at != MAP_FAILED, "a page that stands for a lock");
    return at;
}

inline bool is_mapped(void* page) noexcept {
    return ::msync(page, static_cast<std::size_t>(::getpagesize()), MS_ASYNC) == 0;
}

// Calls f with the first word of each page between them.
template <class F>
void each_page(void* mapping, std::uint64_t from, std::uint64_t to, const F& f) noexcept {
    const auto page = static_cast<std::uint64_t>(::getpagesize());
    for (std::uint64_t at = (from + page - 1) / page * page; at + page <= to; at += page) {
        f(*reinterpret_cast<std::uint64_t*>(static_cast<char*>(mapping) + at));
    }
}

// A memfd, with verdicts of the test's own.
struct lab : cohold::mechanism::memfd {
    static cohold::file_descriptor create(const cohold::creation& wanted,
                                          std::error_code& ec) noexcept {
        const cohold::file_descriptor made = memfd::create(wanted, ec);
        if (!ec) {
            // As long as it can ever become, at once: so copies of all lengths can be written to
            // it.
            demand(::ftruncate(made.value, static_cast<off_t>(wanted.reserve)) == 0, "ftruncate");
            census_of_descriptor[static_cast<std::size_t>(made.value)] = census_of_new;
        }
        return made;
    }

    // All memory is allocated. (The library would block signals meanwhile, and a trap with blocked
    // signals ends the process.)
    static void back(const cohold::file_descriptor& /*object*/, void* mapping, std::uint64_t from,
                     std::uint64_t to, std::error_code& /*ec*/) noexcept {
        each_page(mapping, from, to, [](std::uint64_t& first) {
            if (first == given_back) {
                first = 0;
            }
        });
    }

    static void release(const cohold::file_descriptor& object, void* mapping, std::uint64_t from,
                        std::uint64_t to, std::error_code& ec) noexcept {
        memfd::release(object, mapping, from, to, ec);
        if (!ec) {
            each_page(mapping, from, to, [](std::uint64_t& first) { first = given_back; });
        }
    }

    static census& census_of(const cohold::file_descriptor& object) noexcept {
        return *census_of_descriptor[static_cast<std::size_t>(object.value)];
    }

    struct liveness {
        static void* claim(const cohold::file_descriptor& object, std::uint32_t slot,
                           cohold::liveness_token& token, std::error_code& /*ec*/) noexcept {
            census& known = census_of(object);
            if (known.fates[slot] == fate::alive && is_mapped(known.pages[slot])) {
                return nullptr;
            }
            token = {};
            known.pages[slot] = new_page();
            known.fates[slot] = fate::alive;
            return known.pages[slot];
        }

        static cohold::verdict probe(const cohold::file_descriptor& object, std::uint32_t slot,
                                     const cohold::liveness_token& /*token*/) noexcept {
            const census& known = census_of(object);
            return known.fates[slot] == fate::alive && is_mapped(known.pages[slot])
                       ? cohold::verdict::alive
                       : cohold::verdict::dead;
        }
    };
};

using segment = cohold::segment<lab>;

// The header of a handle's mapping. Handles do not show it; an explicit instantiation may name
// protected members.
struct base_of_handle {
    friend constexpr auto member(base_of_handle);
};

template <class Tag, auto Member>
struct show_base {
    friend constexpr auto member(Tag) { return Member; }
};

template struct show_base<
    base_of_handle, &cohold::detail::segment_observers<cohold::detail::policies<
                        lab, cohold::naming::unnamed, cohold::permission::owner_only>>::base_>;

inline cohold::detail::segment_header& header_of(const segment& handle) {
    return (handle.*member(base_of_handle{})).memory().header();
}

// The bytes of one segment, and which participants are alive.
class world {
  public:
    static constexpr std::size_t reserve = 128 * 1024;

    // `most`: bytes that the segment can grow to.
    explicit world(std::size_t most = reserve) {
        census_of_new = &census_;
        maker_ = segment::create({.size = cohold::detail::smallest_segment, .reserve = most});
        demand(::ftruncate(maker_.native_handle().value, reserve) == 0, "ftruncate");
        fd_ = maker_.native_handle().value;
        bytes_ = static_cast<char*>(
            ::mmap(nullptr, reserve, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
        demand(bytes_ != MAP_FAILED, "the test's own mapping");
        ::memset(bytes_ + size(), 0, reserve - size()); // avoids page faults later
        fd_ = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    }

    world(const world&) = delete;
    world& operator=(const world&) = delete;

    ~world() {
        maker_ = {};
        ::munmap(bytes_, reserve);
        ::close(fd_);
    }

    // The handle that created the segment; for setups.
    [[nodiscard]] segment& maker() noexcept { return maker_; }

    // A further participant.
    [[nodiscard]] segment attach() {
        const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
        demand(fd >= 0 && static_cast<std::size_t>(fd) < most_descriptors, "dup");
        census_of_descriptor[static_cast<std::size_t>(fd)] = &census_;
        return segment::adopt({fd});
    }

    [[nodiscard]] char* bytes() noexcept { return bytes_; }

    [[nodiscard]] cohold::detail::segment_header& header() noexcept {
        return *reinterpret_cast<cohold::detail::segment_header*>(bytes_);
    }

    [[nodiscard]] std::size_t size() noexcept {
        return static_cast<std::size_t>(header().size.load(std::memory_order_relaxed));
    }

    [[nodiscard]] census& fates() noexcept { return census_; }

    // A participant is dead from now on. All that this process plays count as one process, except
    // the dead: `process` says which of them belonged together.
    void kill(std::uint32_t slot, std::uint32_t process) noexcept {
        census_.fates[slot] = fate::dead;
        cohold::detail::participant_table::of(header()).slots[slot].stamp = process;
    }

    // Restores a state.
    void load(const snapshot& state) noexcept {
        const std::size_t before = size();
        std::memcpy(bytes_, state.bytes, state.size);
        if (before > state.size) {
            std::memset(bytes_ + state.size, 0, before - state.size);
        }
    }

  private:
    census census_;
    segment maker_;
    int fd_ = -1;
    char* bytes_ = nullptr;
};

} // namespace crash

#endif
