// listing, the range in which a segment lists its objects and its participants; and participant, an
// element of the latter.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_LISTING_HPP
#define COHOLD_HANDLE_LISTING_HPP

#include <cstddef>
#include <span>
#include <utility>

#include <sys/types.h>

#include <cohold/config.hpp>
#include <cohold/engine/section.hpp>

COHOLD_NAMESPACE_BEGIN

/// A range of facts copied out of a segment: segment::objects() and participants() return it. (A
/// vector would do, but every program would have to include it.)
template <class T>
class listing {
  public:
    listing() = default;

    listing(listing&& other) noexcept
        : items_(std::exchange(other.items_, nullptr)), size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}

    listing& operator=(listing&& other) noexcept {
        std::swap(items_, other.items_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }

    ~listing() { delete[] items_; }

    [[nodiscard]] const T* begin() const noexcept { return items_; }

    [[nodiscard]] const T* end() const noexcept { return items_ + size_; }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return items_[index]; }

    /// For the library: appends a fact. Throws std::bad_alloc.
    [[gnu::cold]] void add(T&& item) {
        if (size_ == capacity_) {
            listing larger;
            larger.items_ = new T[size_ * 2 + 8];
            larger.capacity_ = size_ * 2 + 8;
            for (T& each : std::span<T>(items_, size_)) {
                larger.items_[larger.size_++] = std::move(each);
            }
            *this = std::move(larger);
        }
        items_[size_++] = std::move(item);
    }

  private:
    T* items_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

/// A process that uses a segment, as segment::participants() lists it. A process that has the
/// segment attached several times is listed as many times; readers (segment_view) are not
/// participants.
struct participant {
    std::uint32_t slot = 0; ///< its place in the segment; later participants reuse it
    pid_t pid = 0;          ///< as the process itself sees it: in its own PID namespace
    /// When the process started, in clock ticks since boot, like field 22 of /proc/PID/stat: with
    /// the pid it identifies the process. 0: unknown.
    std::uint64_t start_time = 0;
    std::uint64_t attached = 0; ///< since when, in nanoseconds since 1970
    /// What the kernel says. Stopped processes are alive, zombies are dead; `unknown` if the kernel
    /// cannot be asked, because the process has closed the segment's descriptor.
    verdict state = verdict::unknown;
    bool self = false; ///< this process, by this handle
};

/// What segment::participants() returns.
using participant_list = listing<participant>;

namespace detail {

// Processes may come and go meanwhile: each one listed was there at some moment.
[[gnu::cold]] participant_list list_participants(const segment_header& header);

// Returns how many dead participants this call has recovered.
[[gnu::cold]] std::size_t recover_participants(segment_header& header,
                                               std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/listing.ipp>
#endif

#endif
