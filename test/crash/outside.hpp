// How inspect_contents() sees a state from outside: the remains of a kill must look like something
// that recovery repairs, and the recovered state must look good.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_OUTSIDE_HPP
#define COHOLD_TEST_CRASH_OUTSIDE_HPP

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include <cohold/inspect/stored_objects.hpp>

#include "crash/lab.hpp"

namespace crash {

class outside final : public cohold::detail::segment_source {
  public:
    outside(const char* bytes, const census& fates) noexcept : bytes_(bytes), fates_(fates) {}

    std::size_t read(void* to, std::size_t wanted, std::uint64_t from) const noexcept override {
        const std::uint64_t there = from < world::reserve ? world::reserve - from : 0;
        const auto got = static_cast<std::size_t>(wanted < there ? wanted : there);
        std::memcpy(to, bytes_ + from, got);
        return got;
    }

    [[nodiscard]] std::uint64_t size() const noexcept override { return world::reserve; }

    [[nodiscard]] cohold::verdict
    probe(std::uint32_t slot, const cohold::liveness_token& /*token*/) const noexcept override {
        return fates_.fates[slot] == fate::alive && is_mapped(fates_.pages[slot])
                   ? cohold::verdict::alive
                   : cohold::verdict::dead;
    }

    [[nodiscard]] bool nameless() const noexcept override { return true; }

    [[nodiscard]] int anybody() const noexcept override { return 0; }

    // Empty if all is well: good, or repairable by recovery.
    [[nodiscard]] std::string complaint(bool recovered) const {
        const cohold::segment_contents found = cohold::detail::examine_contents(*this);
        if (recovered ? found.is_good() : found.is_mendable()) {
            return {};
        }
        std::string out =
            recovered ? "from outside, after recovery:" : "from outside, before recovery:";
        for (const cohold::segment_flaw& each : found.flaws) {
            char where[64];
            std::snprintf(where, sizeof where, " (%#llx: %#llx)",
                          static_cast<unsigned long long>(each.offset),
                          static_cast<unsigned long long>(each.found));
            out.append(" ").append(each.what).append(where);
        }
        return out;
    }

  private:
    const char* bytes_;
    const census& fates_;
};

} // namespace crash

#endif
