// Walks all blocks of a segment's heap and all its free lists, and reports inconsistencies.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_AUDIT_HPP
#define COHOLD_TEST_CRASH_AUDIT_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include <cohold/cohold.hpp>

namespace crash {

namespace inner = cohold::detail;

// The first word of a page that was given back to the kernel, in the rig. It is in the segment, so
// that every state tells which pages those are.
inline constexpr std::uint64_t given_back = 0x6b63616220736965;

// The heap does not show its state. An explicit instantiation may name private members.
namespace opened {

using cohold::detail::heap;

struct heads {
    friend constexpr auto member(heads);
};

struct column_maps {
    friend constexpr auto member(column_maps);
};

struct row_map {
    friend constexpr auto member(row_map);
};

struct first {
    friend constexpr auto member(first);
};

struct end {
    friend constexpr auto member(end);
};

struct slabs {
    friend constexpr auto member(slabs);
};

struct log_size {
    friend constexpr auto member(log_size);
};

template <class Tag, auto Member>
struct show {
    friend constexpr auto member(Tag) { return Member; }
};

template struct show<heads, &heap::heads_>;
template struct show<column_maps, &heap::column_maps_>;
template struct show<row_map, &heap::row_map_>;
template struct show<first, &heap::first_>;
template struct show<end, &heap::end_>;
template struct show<slabs, &heap::slabs_>;
template struct show<log_size, &heap::log_size_>;

} // namespace opened

// The blocks of the participants' journals, which used() does not count.
struct journal_blocks {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
    std::uint64_t kept = 0; // a bit for each of those beside the heap
    std::map<std::uint64_t, cohold::detail::owner_word> lists{}; // first slabs, by their owner
};

inline journal_blocks journals_of(cohold::detail::segment_header& header) {
    journal_blocks found;
    const auto add = [&](std::uint64_t offset) {
        ++found.count;
        found.bytes += reinterpret_cast<const inner::heap_block*>(
                           reinterpret_cast<const char*>(&header) + offset - 16)
                           ->size();
    };
    for (std::uint32_t i = 0; i <= inner::participant_table::spare(header); ++i) {
        const inner::participant_slot& slot = inner::participant_table::of(header).slots[i];
        int most = 1000; // an end, whatever the bytes are
        for (std::uint64_t next = slot.journals.load(); next != 0 && most > 0; --most) {
            const inner::journal* const log = inner::journal_at(header, next);
            if (log == nullptr) {
                break;
            }
            if (const std::uint64_t kept = inner::reserve_journals::of(header).index_of(log);
                kept != inner::reserve_journals::count) {
                found.kept |= std::uint64_t{1} << kept;
            } else {
                add(next);
            }
            if (inner::journal_at(header, log->chunk) != nullptr) {
                add(log->chunk);
            }
            if (log->slabs != 0) {
                found.lists[log->slabs] = log->thread.load();
            }
            next = log->next;
        }
    }
    return found;
}

// The slabs of a heap, of which nobody uses any at this moment.
class slab_audit {
  public:
    explicit slab_audit(cohold::detail::segment_header& header) noexcept
        : header_(header), base_(reinterpret_cast<char*>(&header)) {}

    // The run of a slab, and the offset of its first block.
    std::string add_run(std::uint64_t begin, std::uint64_t bytes) {
        inner::slab* const it = inner::heap::of(header_).slab_around(begin);
        if (it == nullptr || it->begin != begin) {
            return "a slab without a descriptor";
        }
        const std::uint64_t wanted = it->units * inner::slab_unit - 16;
        if ((bytes != wanted && bytes != wanted + 16) || // as any block of the heap
            it->count != wanted / inner::slab_table.size[it->which]) {
            return "the numbers of a slab";
        }
        const std::uint64_t state = it->state & 3;
        if (state != static_cast<std::uint64_t>(inner::slab_state::parked) &&
            (state != static_cast<std::uint64_t>(inner::slab_state::active) ||
             it->owner == inner::nobody)) {
            return "the state of a slab";
        }
        for (std::uint64_t unit = 0; unit < it->units; ++unit) {
            if (inner::heap::of(header_).slab_around(begin + unit * inner::slab_unit) != it) {
                return "the map of slabs";
            }
        }
        units += it->units;
        run_bytes += wanted;
        used += it->count_used() * inner::slab_table.size[it->which];
        blocks += it->count_used();
        expected_.insert(offset_of(it));
        return {};
    }

    // A block of the heap's own.
    void add_own(std::uint64_t offset) { own_.insert(offset); }

    [[nodiscard]] std::string finish(std::uint64_t directory, const journal_blocks& journals) {
        if (directory == 0) {
            return expected_.empty() && own_.empty() ? "" : "slabs without a directory";
        }
        own_.erase(directory);
        const auto& all = *reinterpret_cast<const inner::slab_directory*>(base_ + directory);
        std::uint64_t entries = 0;
        for (unsigned i = 0; i < inner::slab_directory::parts; ++i) {
            own_.erase(all.part[i]);
            const std::uint32_t* const part = inner::heap::of(header_).map_part(i);
            for (std::uint64_t unit = 0;
                 part != nullptr && unit < inner::slab_directory::units_of(i); ++unit) {
                entries += part[unit] != 0 ? 1 : 0;
            }
        }
        if (entries != units) {
            return "the map has units of no slab";
        }
        if (all.bytes != run_bytes) {
            return "the bytes of slabs are counted wrongly";
        }
        if (own_ != expected_) {
            return "a block of the heap's own belongs to nothing";
        }
        for (const auto& [first, owner] : journals.lists) {
            if (std::string wrong = follow(first, owner, -1); !wrong.empty()) {
                return wrong;
            }
        }
        for (std::uint32_t i = 0; i < inner::slab_classes; ++i) {
            if (std::string wrong = follow(all.orphans[i], inner::nobody, static_cast<int>(i));
                !wrong.empty()) {
                return wrong;
            }
        }
        return expected_.empty() ? "" : "a slab is in no list";
    }

    std::uint64_t used = 0;
    std::uint64_t blocks = 0;
    std::uint64_t run_bytes = 0;
    std::uint64_t units = 0;

  private:
    [[nodiscard]] std::uint64_t offset_of(const inner::slab* it) const {
        return static_cast<std::uint64_t>(reinterpret_cast<const char*>(it) - base_);
    }

    std::string follow(std::uint64_t first, inner::owner_word owner, int which) {
        std::uint64_t before = 0;
        for (std::uint64_t each = first; each != 0;) {
            const auto* const it = reinterpret_cast<const inner::slab*>(base_ + each);
            if (expected_.erase(each) == 0) {
                return "a list of slabs has something else";
            }
            if (it->previous != before || it->owner != owner ||
                (which >= 0 && it->which != which)) {
                return "a slab is in a wrong list";
            }
            before = each;
            each = it->next;
        }
        return {};
    }

    cohold::detail::segment_header& header_;
    char* base_;
    std::set<std::uint64_t> expected_; // descriptors
    std::set<std::uint64_t> own_;
};

// Empty if all is well. No thread may be working on the segment. Tells how many blocks are
// allocated besides the journals.
inline std::string audit(cohold::detail::segment_header& header, std::uint64_t* blocks = nullptr) {
    using cohold::detail::heap;
    using cohold::detail::heap_block;
    using cohold::detail::page_size;
    constexpr std::uint64_t overhead = 16;
    char* const base = reinterpret_cast<char*>(&header);
    heap& all = heap::of(header);
    const std::uint64_t first = all.*member(opened::first{});
    const std::uint64_t end = all.*member(opened::end{});
    const std::uint64_t size = header.size.load();
    const auto at = [base](std::uint64_t place) -> const heap_block& {
        return *reinterpret_cast<const heap_block*>(base + place);
    };
    const auto wrong = [](const char* what, std::uint64_t place) {
        char text[96];
        std::snprintf(text, sizeof text, "heap: %s at offset %#llx", what,
                      static_cast<unsigned long long>(place));
        return std::string(text);
    };
    if (first % 16 != 0 || end % 16 != 0 || first >= end || end > size - overhead) {
        return wrong("its bounds are wrong; end", end);
    }
    std::map<std::uint64_t, bool> free_blocks; // offset; found in a list?
    std::uint64_t used = 0;
    std::uint64_t count = 0;
    std::uint64_t previous = 0;
    std::uint64_t place = first;
    bool free_before = false;
    std::set<std::uint64_t> holes_of_pages; // offsets of pages that may have been given back
    slab_audit slabs(header);
    if (all.*member(opened::log_size{}) != 0) {
        return wrong("a change is under way", heap::offset);
    }
    while (place < end) {
        const heap_block& block = at(place);
        if (block.size() < 16 || block.size() > end - place - overhead) {
            return wrong("a block has an impossible size", place);
        }
        if (block.previous != previous) {
            return wrong("a block does not record the one before it", place);
        }
        if (block.is_free() && free_before) {
            return wrong("two free blocks are neighbours", place);
        }
        free_before = block.is_free();
        if (block.is_free()) {
            free_blocks[place] = false;
            if ((block.word & heap_block::holes_bit) != 0) {
                const auto& holes =
                    reinterpret_cast<const cohold::detail::trimmed_block&>(block).holes;
                const cohold::detail::heap_holes most = heap::pages_inside(place, block.size());
                if (holes.begin % page_size() != 0 || holes.end % page_size() != 0 ||
                    holes.begin < most.begin || holes.end > most.end || holes.begin >= holes.end ||
                    holes.filled > holes.bytes()) {
                    return wrong("the holes of a free block are wrong", place);
                }
                for (std::uint64_t page = holes.begin; page < holes.end; page += page_size()) {
                    holes_of_pages.insert(page);
                }
            }
            if ((block.word & 6) != 0) {
                return wrong("a free block is also something else", place);
            }
        } else if (block.word >> 63 == 0) {
            return wrong("a block is neither free nor allocated", place);
        } else if ((block.word & heap_block::slab_bit) != 0) {
            if (const std::string why = slabs.add_run(place + overhead, block.size());
                !why.empty()) {
                return wrong(why.c_str(), place);
            }
        } else if ((block.word & heap_block::own_bit) != 0) {
            slabs.add_own(place + overhead);
        } else {
            used += block.size();
            ++count;
        }
        previous = place;
        place += overhead + block.size();
    }
    if (place != end || at(end).word != 0 || at(end).previous != previous) {
        return wrong("the last block is wrong", end);
    }
    for (std::uint64_t page = 0; page < size; page += page_size()) {
        std::uint64_t word = 0;
        std::memcpy(&word, base + page, sizeof word);
        if (word == given_back && !holes_of_pages.contains(page)) {
            return wrong("a page was given back, and nothing says so,", page);
        }
    }
    const journal_blocks journals = journals_of(header);
    if (journals.kept != cohold::detail::reserve_journals::of(header).in_use) {
        return wrong("the journals beside it that are in use do not match",
                     cohold::detail::reserve_journals::offset);
    }
    if (const std::string why = slabs.finish(all.*member(opened::slabs{}), journals);
        !why.empty()) {
        return "heap: " + why;
    }
    used += slabs.used;
    if (used != all.used() + journals.bytes) {
        char text[128];
        std::snprintf(
            text, sizeof text, "heap: used() is %llu, the blocks have %llu, of these journals %llu",
            static_cast<unsigned long long>(all.used()), static_cast<unsigned long long>(used),
            static_cast<unsigned long long>(journals.bytes));
        return text;
    }
    if (blocks != nullptr) {
        *blocks = count + slabs.blocks - journals.count;
    }
    const auto& heads = all.*member(opened::heads{});
    const auto& column_maps = all.*member(opened::column_maps{});
    std::size_t row = 0;
    for (const auto& columns : heads) {
        std::size_t column = 0;
        for (const std::uint64_t head : columns) {
            if (((column_maps[row] >> column & 1) != 0) != (head != 0)) {
                return wrong("a column map contradicts its list", head);
            }
            std::uint64_t before = 0;
            for (std::uint64_t each = head; each != 0; each = at(each).next_free) {
                const auto found = free_blocks.find(each);
                if (found == free_blocks.end()) {
                    return wrong("a free list contains something that is not a free block", each);
                }
                if (found->second) {
                    return wrong("a block is in a free list twice", each);
                }
                if (at(each).previous_free != before) {
                    return wrong("a free list is linked wrongly", each);
                }
                found->second = true;
                before = each;
            }
            ++column;
        }
        if (((all.*member(opened::row_map{}) >> row & 1) != 0) != (column_maps[row] != 0)) {
            return wrong("the row map is wrong; row", row);
        }
        ++row;
    }
    for (const auto& [each, listed] : free_blocks) {
        if (!listed) {
            return wrong("a free block is in no list", each);
        }
    }
    return {};
}

// The same for a segment that has had names, whose objects are all destroyed: then only the
// journals and the directory's table may be allocated. The number of bytes in use is no evidence:
// the table is replaced now and then, and a block is 16 bytes larger than needed where those could
// not be a block of their own.
template <class Segment>
std::string audit_empty(const Segment& where, bool may_leak = false) {
    std::uint64_t blocks = 0;
    std::string wrong = audit(*where.template allocator<int>().header(), &blocks);
    if (wrong.empty() && blocks != 1 && !may_leak) {
        wrong =
            "heap: blocks allocated beside the directory's table: " + std::to_string(blocks - 1);
    }
    return wrong;
}

} // namespace crash

#endif
