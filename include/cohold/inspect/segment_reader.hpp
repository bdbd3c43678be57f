// Reads a segment's own data structures without trusting their bytes: only through copies, never
// outside the segment, and with the heap change of a dead process rolled back.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SEGMENT_READER_HPP
#define COHOLD_INSPECT_SEGMENT_READER_HPP

#include <memory>
#include <string_view>
#include <vector>

#include <cohold/inspect/detail/segment_source.hpp>
#include <cohold/inspect/segment_state.hpp>

COHOLD_NAMESPACE_BEGIN

/// The parts of a segment that are checked separately.
enum class segment_part { header, participants, heap, directory, journals };

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(segment_part part) noexcept {
    constexpr std::string_view names[] = {"header", "participants", "heap", "directory",
                                          "journals"};
    return names[static_cast<int>(part)];
}

/// Something in a segment that is not as it must be.
struct segment_flaw {
    segment_part part = segment_part::header;
    std::string_view what{};  ///< in words
    std::uint64_t offset = 0; ///< in bytes from the beginning of the segment
    std::uint64_t found = 0;  ///< the value there, or which part of it is meant
    bool mends = false;       ///< left by a dead process: recovery repairs it. Otherwise damage

    friend bool operator==(const segment_flaw&, const segment_flaw&) = default;
};

namespace detail {

// The flaws found, with all details of the first ones.
class flaw_list {
  public:
    static constexpr std::size_t kept = 200;

    [[gnu::cold]] void add(segment_part part, std::string_view what, std::uint64_t offset,
                           std::uint64_t found = 0, bool mends = false);

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    [[nodiscard]] const std::vector<segment_flaw>& flaws() const noexcept { return flaws_; }

    [[nodiscard]] std::vector<segment_flaw> take() noexcept { return std::move(flaws_); }

  private:
    std::vector<segment_flaw> flaws_;
    std::uint64_t count_ = 0;
};

// Where the parts begin. The first block's position depends on the number of participants that the
// segment is made for.
struct segment_places {
    std::uint64_t slots; // of the process table, including the spare one
    std::uint64_t heap;
    std::uint64_t directory;
    std::uint64_t reserve_journals;
    std::uint64_t first_block;

    explicit constexpr segment_places(std::uint32_t max_participants) noexcept
        : slots(std::uint64_t{max_participants} + 1), heap(control_bytes + table_bytes),
          directory((heap + heap_bytes + 63) / 64 * 64),
          reserve_journals((directory + directory_bytes + 63) / 64 * 64),
          first_block(reserve_journals + kept_bytes + far_bytes(max_participants)) {}

    static constexpr std::uint64_t heap_bytes = 7672;
    static constexpr std::uint64_t directory_bytes = 32;
    static constexpr std::uint64_t kept_bytes = 64 + 4096;
};

// Pages of the segment, kept for the duration of one inspection.
class segment_reader {
  public:
    [[gnu::cold]] segment_reader(const segment_source& source, std::uint64_t size)
        : source_(source), size_(size), pages_(new page[page_count]) {}

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    // Is the whole range in the segment?
    [[nodiscard]] bool has(std::uint64_t from, std::uint64_t bytes) const noexcept {
        return from <= size_ && bytes <= size_ - from;
    }

    // Returns false, and zeros, for what is not in the segment. Bytes that were never written are
    // zeros, too.
    bool read(void* to, std::size_t bytes, std::uint64_t from) noexcept;

    // 0 if it is not in the segment.
    [[nodiscard]] std::uint64_t word(std::uint64_t from) noexcept {
        std::uint64_t out = 0;
        read(&out, sizeof out, from);
        return out;
    }

    // From now on reads return this value of the word. Must be called before that word is read.
    void replace(std::uint64_t where, std::uint64_t value);

    // Has the object become shorter meanwhile, or could it not be read?
    [[nodiscard]] bool lost() const noexcept { return lost_; }

  private:
    static constexpr std::size_t page_bytes = 4096;
    static constexpr std::size_t page_count = 64;
    static constexpr std::uint64_t none = ~std::uint64_t{0};

    struct page {
        std::uint64_t index = none;
        char bytes[page_bytes];
    };

    struct replaced {
        std::uint64_t where;
        std::uint64_t value;
    };

    [[gnu::cold]] const char* fetch(std::uint64_t index) noexcept;

    const segment_source& source_;
    std::uint64_t size_;
    std::unique_ptr<page[]> pages_;
    std::vector<replaced> replaced_;
    bool lost_ = false;
};

// A lock of the segment itself must name either nobody or a process that has attached at some time.
[[gnu::cold]] void check_lock(segment_reader& segment, const segment_places& places,
                              std::uint64_t at, segment_part part, flaw_list& flaws);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/segment_reader.ipp>
#endif

#endif
