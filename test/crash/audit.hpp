// Walks all blocks of a segment's heap and all its free lists, and reports inconsistencies.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_AUDIT_HPP
#define COHOLD_TEST_CRASH_AUDIT_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>

#include <cohold/cohold.hpp>

namespace crash {

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

template <class Tag, auto Member>
struct show {
    friend constexpr auto member(Tag) { return Member; }
};

template struct show<heads, &heap::heads_>;
template struct show<column_maps, &heap::column_maps_>;
template struct show<row_map, &heap::row_map_>;
template struct show<first, &heap::first_>;
template struct show<end, &heap::end_>;

} // namespace opened

// The blocks of the participants' journals, which used() does not count.
struct journal_blocks {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
    std::uint64_t kept = 0; // a bit for each of those beside the heap
};

inline journal_blocks journals_of(cohold::detail::segment_header& header) {
    namespace inner = cohold::detail;
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
            next = log->next;
        }
    }
    return found;
}

// Empty if all is well. No thread may be working on the segment. Tells how many blocks are
// allocated besides the journals.
inline std::string audit(cohold::detail::segment_header& header, std::uint64_t* blocks = nullptr) {
    using cohold::detail::heap;
    using cohold::detail::heap_block;
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
        } else if (block.word >> 63 == 0) {
            return wrong("a block is neither free nor allocated", place);
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
    const journal_blocks journals = journals_of(header);
    if (journals.kept != cohold::detail::reserve_journals::of(header).in_use) {
        return wrong("the journals beside it that are in use do not match",
                     cohold::detail::reserve_journals::offset);
    }
    if (used != all.used() + journals.bytes) {
        char text[128];
        std::snprintf(
            text, sizeof text, "heap: used() is %llu, the blocks have %llu, of these journals %llu",
            static_cast<unsigned long long>(all.used()), static_cast<unsigned long long>(used),
            static_cast<unsigned long long>(journals.bytes));
        return text;
    }
    if (blocks != nullptr) {
        *blocks = count - journals.count;
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
