// A segment that consists of bytes of this process, for code that looks at it from outside.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_BYTES_SOURCE_HPP
#define COHOLD_TEST_SUPPORT_BYTES_SOURCE_HPP

#include <cstring>
#include <string>

#include <cohold/inspect/detail/segment_source.hpp>

namespace support {

class bytes_source final : public cohold::detail::segment_source {
  public:
    explicit bytes_source(std::string its) : bytes(std::move(its)) {}

    std::size_t read(void* to, std::size_t wanted, std::uint64_t from) const noexcept override {
        ++reads;
        read_outside += from > bytes.size() || wanted > bytes.size() - from ? 1u : 0u;
        if (refuses) {
            return refused;
        }
        const std::uint64_t there = from < bytes.size() ? bytes.size() - from : 0;
        const auto got = static_cast<std::size_t>(wanted < there ? wanted : there);
        std::memcpy(to, bytes.data() + from, got);
        return got;
    }

    [[nodiscard]] std::uint64_t size() const noexcept override { return bytes.size(); }

    [[nodiscard]] cohold::verdict probe(std::uint32_t,
                                        const cohold::liveness_token&) const noexcept override {
        return participants;
    }

    [[nodiscard]] bool nameless() const noexcept override { return false; }

    [[nodiscard]] int anybody() const noexcept override { return 0; }

    std::string bytes;
    cohold::verdict participants = cohold::verdict::dead;
    bool refuses = false;
    mutable std::uint64_t reads = 0;
    mutable std::uint64_t read_outside = 0; // beyond the end
};

} // namespace support

#endif
