// Where the bytes of a segment come from that is looked at from outside, and whom the kernel is
// asked about.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_HPP
#define COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_HPP

#include <cohold/engine/participant_table.hpp>
#include <cohold/os/safe_copy.hpp>
#include <cohold/policy/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Not attached, and for a moment.
class segment_source {
  public:
    static constexpr std::size_t refused = static_cast<std::size_t>(-1);

    // How many bytes could be read: all of them, or less at the end; `refused`, and errno, if this
    // process cannot know.
    virtual std::size_t read(void* to, std::size_t bytes, std::uint64_t from) const noexcept = 0;

    // What the kernel says of the object's length.
    [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;

    [[nodiscard]] virtual verdict probe(std::uint32_t slot,
                                        const liveness_token& token) const noexcept = 0;

    // Does no name lead to it? Then the kernel takes it when its last user goes.
    [[nodiscard]] virtual bool nameless() const noexcept = 0;

    // Has anybody the segment of session lifetime attached? 1, 0, or -1: unknown.
    [[nodiscard]] virtual int anybody() const noexcept = 0;

  protected:
    ~segment_source() = default;
};

class file_source final : public segment_source {
  public:
    explicit file_source(const file_descriptor& file) noexcept : file_(file) {}

    [[gnu::cold]] std::size_t read(void* to, std::size_t bytes,
                                   std::uint64_t from) const noexcept override {
        return read_file(file_.value, to, bytes, from);
    }

    [[nodiscard, gnu::cold]] std::uint64_t size() const noexcept override {
        file_status found{};
        return raw_fstat(file_.value, found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
    }

    [[nodiscard, gnu::cold]] verdict probe(std::uint32_t slot,
                                           const liveness_token& token) const noexcept override {
        return file_liveness::probe(file_, slot, token);
    }

    [[nodiscard, gnu::cold]] bool nameless() const noexcept override {
        file_status found{};
        return raw_fstat(file_.value, found) == 0 && found.st_nlink == 0;
    }

    [[nodiscard, gnu::cold]] int anybody() const noexcept override {
        return lock_held(file_.value, lock_byte::attached);
    }

  private:
    file_descriptor file_;
};

class system_v_source final : public segment_source {
  public:
    [[gnu::cold]] explicit system_v_source(int id) noexcept : id_(id) {
        struct ::shmid_ds status{};
        if (!system_v_status(id, status)) {
            error_ = errno;
            return;
        }
        size_ = status.shm_segsz;
        // The small ones beside segments must not be attached: that is how the living are counted.
        if (size_ < control_bytes) {
            return;
        }
        at_ = attach_for_reading(id);
        if (at_ == nullptr) {
            error_ = errno; // ENOMEM: the address space may be too small for it
        }
    }

    system_v_source(const system_v_source&) = delete;
    system_v_source& operator=(const system_v_source&) = delete;

    ~system_v_source() {
        if (at_ != nullptr) {
            detach_system_v(at_);
        }
    }

    [[gnu::cold]] std::size_t read(void* to, std::size_t bytes,
                                   std::uint64_t from) const noexcept override {
        if (at_ == nullptr) {
            errno = error_;
            return error_ == 0 || error_ == EINVAL || error_ == EIDRM ? 0 : refused;
        }
        // A page that was never written to is zeros; reading it would allocate it.
        const std::size_t page = page_size();
        const std::uint64_t begin = from / page * page;
        if (from + bytes > size_ ||
            (!any_page_resident(static_cast<char*>(at_) + begin, from + bytes - begin) &&
             !system_v_swapped())) {
            return 0;
        }
        return copy_from_mapping(to, static_cast<const char*>(at_) + from, bytes);
    }

    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

    [[nodiscard, gnu::cold]] verdict probe(std::uint32_t slot,
                                           const liveness_token& token) const noexcept override {
        return system_v_liveness::probe({id_}, slot, token);
    }

    [[nodiscard, gnu::cold]] bool nameless() const noexcept override {
        struct ::shmid_ds status{};
        return system_v_status(id_, status) &&
               (status.shm_perm.__key == IPC_PRIVATE || system_v_removed(status));
    }

    // An attendance object that may not be looked at can be attached by anybody.
    [[nodiscard, gnu::cold]] int anybody() const noexcept override {
        struct ::shmid_ds segment{};
        struct ::shmid_ds beside{};
        if (!system_v_status(id_, segment)) {
            return -1;
        }
        if (segment.shm_perm.__key != IPC_PRIVATE) {
            const int id = system_v_at(attendance_object::key_of(segment));
            if (id >= 0 && !system_v_status(id, beside) && errno != EINVAL && errno != EIDRM) {
                return -1;
            }
        } else {
            return segment.shm_nattch > (at_ != nullptr ? 1u : 0u) ? 1 : 0;
        }
        return system_v_attendance::anybody({id_}) ? 1 : 0;
    }

  private:
    int id_;
    int error_ = 0;
    std::uint64_t size_ = 0;
    void* at_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
