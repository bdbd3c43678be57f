// Where the bytes of an inspected segment come from, and how the kernel is asked about its users.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_HPP
#define COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_HPP

#include <cohold/engine/participant_table.hpp>
#include <cohold/os/mapping.hpp>
#include <cohold/policy/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The source is not attached, and is used for a moment.
class segment_source {
  public:
    static constexpr std::size_t refused = static_cast<std::size_t>(-1);

    // Returns how many bytes could be read: all of them, or fewer at the end; `refused`, and errno,
    // if this process is not allowed to know.
    virtual std::size_t read(void* to, std::size_t bytes, std::uint64_t from) const noexcept = 0;

    // The object's length, from the kernel.
    [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;

    [[nodiscard]] virtual verdict probe(std::uint32_t slot,
                                        const liveness_token& token) const noexcept = 0;

    // Is there no name that leads to it? Then the kernel frees it when its last user is gone.
    [[nodiscard]] virtual bool nameless() const noexcept = 0;

    // Does any process have the segment of session lifetime attached? 1, 0, or -1: unknown.
    [[nodiscard]] virtual int anybody() const noexcept = 0;

  protected:
    ~segment_source() = default;
};

class file_source final : public segment_source {
  public:
    explicit file_source(const file_descriptor& file) noexcept : file_(file) {}

    [[gnu::cold]] std::size_t read(void* to, std::size_t bytes,
                                   std::uint64_t from) const noexcept override;

    [[nodiscard, gnu::cold]] std::uint64_t size() const noexcept override;

    [[nodiscard, gnu::cold]] verdict probe(std::uint32_t slot,
                                           const liveness_token& token) const noexcept override;

    [[nodiscard, gnu::cold]] bool nameless() const noexcept override;

    [[nodiscard, gnu::cold]] int anybody() const noexcept override;

  private:
    file_descriptor file_;
};

class system_v_source final : public segment_source {
  public:
    [[gnu::cold]] explicit system_v_source(int id) noexcept;

    system_v_source(const system_v_source&) = delete;
    system_v_source& operator=(const system_v_source&) = delete;

    ~system_v_source() {
        if (at_ != nullptr) {
            detach_system_v(at_);
        }
    }

    [[gnu::cold]] std::size_t read(void* to, std::size_t bytes,
                                   std::uint64_t from) const noexcept override;

    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

    [[nodiscard, gnu::cold]] verdict probe(std::uint32_t slot,
                                           const liveness_token& token) const noexcept override;

    [[nodiscard, gnu::cold]] bool nameless() const noexcept override;

    // If an attendance object may not be read, any process may be attached to it.
    [[nodiscard, gnu::cold]] int anybody() const noexcept override;

  private:
    int id_;
    int error_ = 0;
    std::uint64_t size_ = 0;
    void* at_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/detail/segment_source.ipp>
#endif

#endif
