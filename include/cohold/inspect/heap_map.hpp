// A look into a segment from outside: segment_reader reads its bytes; heap_map lists the blocks of
// its heap, in order, and says whether they agree with the lists of free blocks.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_HEAP_MAP_HPP
#define COHOLD_INSPECT_HEAP_MAP_HPP

#include <algorithm>
#include <bit>
#include <memory>
#include <string_view>
#include <vector>

#include <cohold/inspect/detail/segment_source.hpp>
#include <cohold/inspect/segment_state.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- the bytes of a segment, and its flaws

/// The parts of a segment that are checked separately.
enum class segment_part {
    header,       ///< what the first page says about the segment
    participants, ///< the table of processes
    heap,         ///< blocks, used and free
    directory,    ///< the named objects
    journals,     ///< what threads have saved
};

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(segment_part part) noexcept {
    constexpr std::string_view names[] = {"header", "participants", "heap", "directory",
                                          "journals"};
    return names[static_cast<int>(part)];
}

/// Something in a segment that is not as it must be.
struct segment_flaw {
    segment_part part = segment_part::header; ///< where it is
    std::string_view what{};                  ///< in words
    std::uint64_t offset = 0;                 ///< in bytes from the beginning of the segment
    std::uint64_t found = 0;                  ///< the value there, or which part of it is meant
    bool mends = false; ///< left by a dead process: recovery repairs it. Otherwise damage

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

    static constexpr std::uint64_t heap_bytes = 7680;
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

    // From now on reads return this value of the word.
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

// ---- the heap

/// A block of the heap.
struct heap_extent {
    std::uint64_t offset = 0;      ///< of its payload
    std::uint64_t bytes : 63 = 0;  ///< of its payload; the 16 bytes before it belong to the heap,
                                   ///< unless it is in a slab
    std::uint64_t is_free : 1 = 0; ///< is it free?
};

/// A run of equal blocks, which are also in heap_map::blocks.
struct slab_extent {
    std::uint64_t offset = 0;      ///< of the first block
    std::uint64_t bytes = 0;       ///< of the run
    std::uint64_t descriptor = 0;  ///< offset
    std::uint32_t block_bytes = 0; ///< of each block
    std::uint32_t count = 0;       ///< of blocks
    std::uint32_t count_free = 0;  ///< of these, free
    std::uint32_t participant = 0; ///< the slot of the process that owns it
    std::uint32_t thread = 0;      ///< the thread's number within the process; 0: nobody owns it
};

/// The heap as it is when no change is under way: a change that is being made at this moment, or
/// that a dead process left unfinished, is disregarded.
struct heap_map {
    std::uint64_t begin = 0;         ///< offsets
    std::uint64_t end = 0;           ///< where the heap ends
    std::uint64_t used = 0;          ///< bytes in use, without journals, as segment::used() has it
    std::uint64_t bytes_in_use = 0;  ///< of the payloads of blocks in use
    std::uint64_t bytes_free = 0;    ///< of the payloads of free blocks
    std::uint64_t bytes_own = 0;     ///< for the heap itself, and what is left over in slabs
    std::uint64_t largest_free = 0;  ///< bytes of the largest free block
    std::uint64_t count_in_use = 0;  ///< blocks in use
    std::uint64_t count_free = 0;    ///< free blocks
    bool complete = false;           ///< do the blocks fill the heap? If not, the rest is unknown
    std::vector<heap_extent> blocks; ///< in order
    std::vector<slab_extent> slabs;  ///< in order
};

namespace detail {

// The heap's state, by the offsets in docs/layout.md.
struct heap_places {
    static constexpr unsigned rows = 41;
    static constexpr unsigned columns = 16;
    static constexpr std::uint64_t lock = 0;
    static constexpr std::uint64_t row_map = 8;
    static constexpr std::uint64_t column_maps = 16;
    static constexpr std::uint64_t used = 344;
    static constexpr std::uint64_t first = 352;
    static constexpr std::uint64_t end = 360;
    static constexpr std::uint64_t heads = 368;
    static constexpr std::uint64_t log_size = 5616;
    static constexpr std::uint64_t log = 5624;
    static constexpr std::uint64_t log_capacity = 128;
    static constexpr std::uint64_t slabs = 7672;
    static constexpr std::uint64_t slab_bytes = 8; // in the directory of slabs
    static constexpr std::uint64_t orphans = 16;
    static constexpr std::uint64_t parts = 272;
    static constexpr std::uint64_t first_part = 504;
    static constexpr std::uint64_t overhead = 16; // of each block
};

static_assert(sizeof(heap) == segment_places::heap_bytes &&
              heap_places::log + heap_places::log_capacity * 16 + 8 == sizeof(heap));
static_assert(offsetof(slab_directory, bytes) == heap_places::slab_bytes);
static_assert(offsetof(slab_directory, orphans) == heap_places::orphans);
static_assert(offsetof(slab_directory, part) == heap_places::parts);
static_assert(offsetof(slab_directory, first_part) == heap_places::first_part);

class heap_reader {
    using at = heap_places;

  public:
    heap_reader(segment_reader& segment, const segment_places& places, flaw_list& flaws) noexcept
        : segment_(segment), places_(places), flaws_(flaws) {}

    // Makes the reader see the heap as it was before the change that is under way. Returns true if
    // there is one.
    [[gnu::cold]] bool undo();

    // Everything but the blocks.
    [[gnu::cold]] void read_counts();

    [[gnu::cold]] void walk();

    // Every free block is in the list of its class, once, and the lists contain nothing else.
    // Called after walk().
    [[gnu::cold]] void check_lists();

    // Is this the payload of a block in use, of at least so many bytes, that nothing else has taken
    // so far? Reports a flaw if not. Where the heap is unknown, everything is possible.
    [[gnu::cold]] bool take(std::uint64_t offset, std::uint64_t bytes, segment_part part,
                            std::string_view what, std::uint64_t from);

    // The block with that payload; nullptr if there is none.
    [[nodiscard, gnu::cold]] const heap_extent* find(std::uint64_t offset) const noexcept;

    // `journals`: the bytes that used() leaves out.
    [[gnu::cold]] void check_used(std::uint64_t journals);

    // The slabs in the list that begins at the word `from` belong to threads of that participant,
    // or to nobody.
    [[gnu::cold]] void check_slabs(std::uint64_t from, bool owned, std::uint64_t slot);

    // The orphans, and whether every slab is in one list. Called after check_slabs() for all
    // journals.
    [[gnu::cold]] void check_orphans();

    [[nodiscard]] heap_map& map() noexcept { return out_; }

  private:
    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[nodiscard]] std::uint64_t field(std::uint64_t offset) noexcept {
        return segment_.word(places_.heap + offset);
    }

    [[nodiscard]] static std::uint64_t mark_of(std::uint64_t place) noexcept {
        return ((place * 0x9e3779b97f4a7c15u) | std::uint64_t{1} << 63) & 0xffff000000000000u;
    }

    [[nodiscard]] static unsigned class_of(std::uint64_t size) noexcept;

    // Reads the descriptor of a slab. False, and a flaw, if it is damaged.
    [[gnu::cold]] bool read_slab(std::uint64_t place, std::uint64_t unit, slab& out);

    // The entry of a unit in the map of slabs; 0 if there is none.
    [[gnu::cold]] std::uint64_t map_entry(std::uint64_t unit);

    // Adds the blocks of a slab, whose run is there.
    [[gnu::cold]] void add_slab(std::uint64_t begin, std::uint64_t bytes);

    // How many blocks of it are in use. `add`: also adds its blocks.
    [[gnu::cold]] std::uint64_t read_bits(std::uint64_t place, const slab& from, bool add);

    void add_block(std::uint64_t offset, std::uint64_t bytes, bool is_free, bool in_slab);

    // Each block is at least 32 bytes after the one before.
    [[gnu::cold]] bool walk_blocks();

    // Returns whether all of the list was in order. It ends: a cyclic list reaches some block a
    // second time.
    [[gnu::cold]] bool check_list(std::uint64_t head, unsigned which);

    segment_reader& segment_;
    const segment_places& places_;
    flaw_list& flaws_;
    heap_map out_;
    std::vector<bool> taken_;   // for each block: is it in a list, or owned?
    std::vector<bool> in_slab_; // for each block
    std::vector<std::uint64_t> own_blocks_;
    std::vector<std::uint64_t> descriptors_; // of slabs
    std::vector<bool> listed_;               // for each of them: has it been in a list?
    bool all_listed_ = true;                 // no list was wrong, see check_lists()
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/heap_map.ipp>
#endif

#endif
