// stored_object and stored_journal: the named objects and the journals of a segment; and
// inspect_contents, which reads them together with the heap and checks everything.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STORED_OBJECTS_HPP
#define COHOLD_INSPECT_STORED_OBJECTS_HPP

#include <string>

#include <time.h>

#include <cohold/engine/directory.hpp>
#include <cohold/engine/recovery.hpp>
#include <cohold/inspect/heap_map.hpp>
#include <cohold/inspect/object_state.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- objects

/// A named object. Its description tells the parts of its type: docs/layout.md.
struct stored_object {
    std::string name{};        ///< any bytes; empty: that of a shared<T>
    std::string type{};        ///< the name of its type
    std::string description{}; ///< the parts of its type
    std::uint64_t offset = 0;  ///< in the segment
    std::uint64_t bytes = 0;   ///< its size
    object_state state{};      ///< with contents_extent::everything
};

namespace detail {

static_assert(sizeof(directory) == segment_places::directory_bytes);
static_assert(segment_places(config::max_participants).directory == directory::offset);

class directory_reader {
  public:
    directory_reader(segment_reader& segment, const segment_places& places, heap_reader& heap,
                     flaw_list& flaws) noexcept
        : segment_(segment), places_(places), heap_(heap), flaws_(flaws),
          text_left_(segment.size()) {}

    [[gnu::cold]] std::vector<stored_object> read();

  private:
    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[gnu::cold]] void read_slots(std::uint64_t table, std::uint64_t slots);

    [[gnu::cold]] bool read_entry(std::uint64_t slot, std::uint64_t from, std::uint64_t& hash);

    segment_reader& segment_;
    const segment_places& places_;
    heap_reader& heap_;
    flaw_list& flaws_;
    std::uint64_t text_left_;
    std::vector<stored_object> out_;
};

} // namespace detail

// ---- journals

/// A journal: what would have to be rolled back or completed if its thread died now.
struct stored_journal {
    std::uint32_t participant = 0; ///< the slot of its process
    std::uint64_t thread = 0;      ///< the thread's number within its process; 0: no thread now
    std::uint64_t offset = 0;      ///< in the segment
    std::uint64_t records = 0;     ///< recorded steps; 0: the thread is not in a section
    std::uint64_t bytes = 0;       ///< how many bytes they would restore
    bool finishing = false;        ///< the section is committed, and is being completed
};

namespace detail {

static_assert(segment_places(config::max_participants).reserve_journals ==
              reserve_journals::offset);
static_assert(segment_places::kept_bytes == sizeof(reserve_journals));

class journals_reader {
  public:
    journals_reader(segment_reader& segment, const segment_places& places, heap_reader& heap,
                    flaw_list& flaws) noexcept
        : segment_(segment), places_(places), heap_(heap), flaws_(flaws),
          records_left_(segment.size() / sizeof(journal_record)),
          journals_left_(segment.size() / journal::size),
          kept_left_(segment.word(places.reserve_journals)) {}

    [[gnu::cold]] std::vector<stored_journal> read();

    // The size of the blocks that the heap does not count.
    [[nodiscard]] std::uint64_t block_bytes() const noexcept { return block_bytes_; }

  private:
    static constexpr std::uint64_t records_at = offsetof(journal, records);
    static constexpr std::uint64_t kept_at = offsetof(reserve_journals, journals);

    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[gnu::cold]] void read_slot(std::uint64_t index);

    // Takes one of those that the segment keeps beside its heap.
    [[gnu::cold]] bool take_kept(std::uint64_t offset, std::uint64_t from);

    // Takes a block that used() leaves out.
    [[gnu::cold]] bool take(std::uint64_t offset, std::uint64_t bytes, std::string_view what,
                            std::uint64_t from);

    [[gnu::cold]] void read_journal(std::uint32_t slot, std::uint64_t place);

    // Reads the record that ends at `top`; afterwards the records before it end at `top`.
    [[gnu::cold]] bool read_record(std::uint64_t& top, stored_journal& found);

    segment_reader& segment_;
    const segment_places& places_;
    heap_reader& heap_;
    flaw_list& flaws_;
    // However they are linked, all of them together cannot be longer than the segment.
    std::uint64_t records_left_;
    std::uint64_t journals_left_;
    std::uint64_t kept_left_; // bits of those that are in use according to the header
    std::uint64_t block_bytes_ = 0;
    std::vector<stored_journal> out_;
};

} // namespace detail

// ---- all contents of a segment

/// How much inspect_contents() reads.
enum class contents_extent {
    everything, ///< all that there is
    counts,     ///< neither blocks nor journals, and no search for flaws: only sizes and objects
};

/// The result of inspect_contents(). If `readable` is false, only the state is known.
struct segment_contents {
    segment_state state{}; ///< what the header says
    bool readable = false; ///< was the header in order, so that the rest could be read?
    heap_map heap{};       ///< the blocks
    std::vector<stored_object> objects{};   ///< the named objects
    std::vector<stored_journal> journals{}; ///< what threads have saved
    std::vector<segment_flaw> flaws{};      ///< the first 200
    std::uint64_t flaw_count = 0;           ///< all of them
    bool lost = false; ///< the object became shorter while it was read, or was removed

    /// Everything is as it must be, and nothing is left to recover.
    [[nodiscard]] bool is_good() const noexcept { return readable && flaw_count == 0 && !lost; }

    /// Nothing is wrong that recovery does not repair: segment::recover(), or the next process that
    /// attaches.
    [[nodiscard]] bool is_mendable() const noexcept;
};

namespace detail {

[[gnu::cold]] segment_contents
examine_contents(const segment_source& source,
                 contents_extent extent = contents_extent::everything);

// While other processes work in the segment, a reader can see half of a change. So the segment is
// read again, and a flaw counts only if it is found every time.
[[gnu::cold]] segment_contents confirmed_contents(const segment_source& source,
                                                  contents_extent extent);

} // namespace detail

/// Reads all of a segment's own data: the blocks of its heap, its directory and its journals, not
/// the objects themselves. It does not attach, lock or wait. It always ends, and touches nothing
/// outside the segment, whatever the bytes are. While other processes work in the segment the parts
/// may be of different moments; `flaws` lists what was wrong each time, in up to sixteen attempts
/// in 36 ms. *Complexity*: linear in the number of blocks.
[[nodiscard, gnu::cold]] segment_contents
inspect_contents(const file_descriptor& object,
                 contents_extent extent = contents_extent::everything);

/// For a System V segment, in the way of inspect_segment().
[[nodiscard, gnu::cold]] segment_contents
inspect_contents(const system_v_id& object, contents_extent extent = contents_extent::everything);

/// The same by name. *Errors*: those of Mechanism::open; flaws of the segment are not errors.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents inspect_contents(name_argument name, contents_extent extent,
                                                std::error_code& ec) {
    const detail::error_context context("inspect", Mechanism::label, name);
    ec.clear();
    auto object = Mechanism::open(name, access_mode::reading, ec);
    if (ec) {
        return {};
    }
    segment_contents out = inspect_contents(object, extent);
    Mechanism::close(object);
    return out;
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents inspect_contents(name_argument name, std::error_code& ec) {
    return inspect_contents<Mechanism>(name, contents_extent::everything, ec);
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents
inspect_contents(name_argument name, contents_extent extent = contents_extent::everything) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_contents<Mechanism>(name, extent, ec); });
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/stored_objects.ipp>
#endif

#endif
