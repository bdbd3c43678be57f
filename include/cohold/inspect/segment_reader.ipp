// Definitions for segment_reader.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SEGMENT_READER_IPP
#define COHOLD_INSPECT_SEGMENT_READER_IPP

#include <cohold/inspect/segment_reader.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void flaw_list::add(segment_part part, std::string_view what, std::uint64_t offset,
                                  std::uint64_t found, bool mends) {
    ++count_;
    if (flaws_.size() < kept) {
        flaws_.push_back({part, what, offset, found, mends});
    }
}

COHOLD_INLINE bool segment_reader::read(void* to, std::size_t bytes, std::uint64_t from) noexcept {
    char* out = static_cast<char*>(to);
    if (!has(from, bytes)) {
        std::memset(out, 0, bytes);
        return false;
    }
    while (bytes != 0) {
        const std::size_t begin = from % page_bytes;
        const std::size_t some = bytes < page_bytes - begin ? bytes : page_bytes - begin;
        std::memcpy(out, fetch(from / page_bytes) + begin, some);
        out += some;
        from += some;
        bytes -= some;
    }
    return true;
}

COHOLD_INLINE void segment_reader::replace(std::uint64_t where, std::uint64_t value) {
    for (replaced& each : replaced_) {
        if (each.where == where) {
            each.value = value;
            return;
        }
    }
    replaced_.push_back({where, value});
    pages_[where / page_bytes % page_count].index = none;
}

COHOLD_INLINE const char* segment_reader::fetch(std::uint64_t index) noexcept {
    page& out = pages_[index % page_count];
    if (out.index == index) {
        return out.bytes;
    }
    const std::uint64_t begin = index * page_bytes;
    const std::uint64_t left = size_ - begin;
    const std::size_t wanted = left < page_bytes ? static_cast<std::size_t>(left) : page_bytes;
    std::size_t got = source_.read(out.bytes, wanted, begin);
    if (got > wanted) { // refused
        got = 0;
        lost_ = true;
    }
    if (got < wanted) {
        std::memset(out.bytes + got, 0, wanted - got);
        lost_ = lost_ || source_.size() < begin + wanted;
    }
    for (const replaced& each : replaced_) {
        if (each.where / page_bytes == index && each.where - begin + 8 <= wanted) {
            std::memcpy(out.bytes + (each.where - begin), &each.value, 8);
        }
    }
    out.index = index;
    return out.bytes;
}

COHOLD_INLINE void check_lock(segment_reader& segment, const segment_places& places,
                              std::uint64_t at, segment_part part, flaw_list& flaws) {
    const owner_word holder = segment.word(at);
    if (holder == nobody) {
        return;
    }
    const std::uint64_t slot = slot_of(holder);
    if (slot >= places.slots || generation_of(holder) == 0 || thread_of(holder) != 0) {
        flaws.add(part, "a lock's holder cannot exist", at, holder);
        return;
    }
    const std::uint64_t state = segment.word(participant_table::offset_of(slot));
    const auto newer =
        static_cast<std::int32_t>(generation_of(holder) - static_cast<std::uint32_t>(state >> 32));
    if (newer > 0) {
        flaws.add(part, "a lock's holder has not attached yet", at, holder);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
