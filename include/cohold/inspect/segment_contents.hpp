// inspect_contents: everything that a segment holds, and whether all of it is in order, learned
// without attaching to it, without its types, and without trust in its bytes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SEGMENT_CONTENTS_HPP
#define COHOLD_INSPECT_SEGMENT_CONTENTS_HPP

#include <time.h>

#include <cohold/detail/uncancelled.hpp>
#include <cohold/inspect/stored_journals.hpp>
#include <cohold/inspect/stored_objects.hpp>

COHOLD_NAMESPACE_BEGIN

/// How much inspect_contents() reads.
enum class contents_extent {
    everything,
    counts, ///< neither blocks nor journals, and no flaw is looked for: sizes and objects alone
};

/// What inspect_contents() finds. Where `readable` is false the state alone is known.
struct segment_contents {
    segment_state state{};
    bool readable = false; ///< was the header in order, so that the rest could be read?
    heap_map heap{};
    std::vector<stored_object> objects{};
    std::vector<stored_journal> journals{};
    std::vector<segment_flaw> flaws{}; ///< the first 200
    std::uint64_t flaw_count = 0;
    bool lost = false; ///< the object has become shorter while it was read, or was removed

    /// Everything is as it must be, and nothing is left to recover.
    [[nodiscard]] bool is_good() const noexcept { return readable && flaw_count == 0 && !lost; }

    /// Nothing is wrong but what recovery puts in order: segment::recover(), or whoever attaches.
    [[nodiscard]] bool is_mendable() const noexcept {
        bool mends = readable && !lost && flaw_count == flaws.size();
        for (const segment_flaw& each : flaws) {
            mends = mends && each.mends;
        }
        return mends;
    }
};

namespace detail {

[[gnu::cold]] inline segment_contents
examine_contents(const segment_source& source,
                 contents_extent extent = contents_extent::everything) {
    segment_contents out;
    flaw_list flaws;
    segment_header header{};
    out.state = examine(source);
    std::error_code problem;
    const report_keeper keeper;
    if (source.read(&header, sizeof header, 0) == sizeof header) {
        validate_header(header, source.size(), problem);
    } else {
        fail(problem, errc::not_a_segment);
    }
    out.readable = !problem && !out.state.problem;
    const segment_places places(out.readable ? header.max_participants : 2);
    const std::uint64_t size = header.size.load(std::memory_order_relaxed);
    if (out.readable && size < places.first_block + 4096) {
        fail(problem, errc::corrupt);
        out.readable = false;
    }
    if (!out.readable) {
        if (!out.state.problem) {
            out.state.problem = problem; // it has become so meanwhile
        }
        flaws.add(segment_part::header, "the header is not in order", 0, 0);
        out.flaw_count = flaws.count();
        out.flaws = flaws.take();
        return out;
    }
    for (const participant& each : out.state.participants) {
        if (each.state == verdict::dead) {
            flaws.add(segment_part::participants, "a process has died, and is not recovered",
                      process_table::offset_of(each.slot), static_cast<std::uint64_t>(each.pid),
                      true);
        }
    }
    segment_reader segment(source, size);
    heap_reader heap(segment, places, flaws);
    heap.undo();
    if (extent == contents_extent::counts) {
        heap.read_counts();
        out.objects = directory_reader(segment, places, heap, flaws).read();
        out.heap = std::move(heap.map());
        out.lost = segment.lost();
        return out;
    }
    heap.walk();
    heap.check_lists();
    check_lock(segment, places, places.heap, segment_part::heap, flaws);
    check_lock(segment, places, places.directory, segment_part::directory, flaws);
    out.objects = directory_reader(segment, places, heap, flaws).read();
    journals_reader journals(segment, places, heap, flaws);
    out.journals = journals.read();
    heap.check_used(journals.block_bytes());
    out.heap = std::move(heap.map());
    out.lost = segment.lost();
    out.flaw_count = flaws.count();
    out.flaws = flaws.take();
    return out;
}

// While somebody works in the segment, a look at it can see half of a change. What is found is
// looked for again, and counts if it is there every time.
[[gnu::cold]] inline segment_contents confirmed_contents(const segment_source& source,
                                                         contents_extent extent) {
    constexpr int looks = 16;
    segment_contents out = examine_contents(source, extent);
    std::vector<segment_flaw> always = out.flaws;
    for (int look = 1; look < looks && !always.empty(); ++look) {
        const segment_state& state = out.state;
        if (!out.readable || state.count(verdict::dead) == state.participants.size()) {
            return out; // it is at rest
        }
        const struct ::timespec some{0, look * 300000};
        const detail::uncancelled here;
        ::nanosleep(&some, nullptr);
        out = examine_contents(source, extent);
        std::erase_if(always, [&out](const segment_flaw& flaw) {
            return std::find(out.flaws.begin(), out.flaws.end(), flaw) == out.flaws.end();
        });
    }
    out.flaw_count = always.size();
    out.flaws = std::move(always);
    return out;
}

} // namespace detail

/// Reads the whole of a segment's own data: the blocks of its heap, its directory and its journals,
/// not the objects themselves. Nothing is attached to, nothing is locked, nobody waits. Whatever
/// the bytes are, it ends, and touches nothing outside. While others work in the segment the parts
/// may be of different moments; `flaws` has what was wrong each time, up to sixteen times in 36 ms.
/// *Complexity*: linear in the number of blocks.
[[nodiscard, gnu::cold]] inline segment_contents
inspect_contents(const file_descriptor& object,
                 contents_extent extent = contents_extent::everything) {
    return detail::confirmed_contents(detail::file_source(object), extent);
}

/// Of a System V segment, as inspect_segment() does it.
[[nodiscard, gnu::cold]] inline segment_contents
inspect_contents(const system_v_id& object, contents_extent extent = contents_extent::everything) {
    return detail::confirmed_contents(detail::system_v_source(object.value), extent);
}

/// The same by name. *Errors*: as Mechanism::open has them; what is wrong with the segment is none.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents
inspect_contents(std::string_view name, std::error_code& ec,
                 contents_extent extent = contents_extent::everything) {
    const detail::operation context("inspect", Mechanism::label, name);
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
[[nodiscard]] segment_contents inspect_contents(std::string_view name) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_contents<Mechanism>(name, ec); });
}

COHOLD_NAMESPACE_END

#endif
