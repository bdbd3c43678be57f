// Definitions for undo.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_UNDO_IPP
#define COHOLD_CONTAINER_DETAIL_UNDO_IPP

#include <cohold/container/detail/undo.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE void save_slowly(transaction& mine, const void* at,
                                                 std::size_t bytes, bool words,
                                                 without_journal otherwise) {
    if (otherwise == without_journal::fails) {
        mine.save(at, bytes);
    } else {
        mine.save_anyhow(at, bytes, words);
    }
}

[[gnu::noinline]] COHOLD_INLINE void save_words_unkept(transaction& mine, const void* words,
                                                       std::size_t bytes,
                                                       without_journal otherwise) {
    if (otherwise == without_journal::fails) {
        raise(errc::out_of_space,
              "elements were removed in the section that is open, and the segment has no room "
              "to keep them: end the section first");
    }
    mine.save_anyhow(words, bytes, true);
}

[[gnu::noinline]] COHOLD_INLINE transaction* find_slowly(segment_header& header,
                                                         without_journal otherwise) {
    std::error_code ec;
    if (otherwise != without_journal::happens) {
        transaction* const mine = self(header, ec);
        if (otherwise == without_journal::fails) {
            raise_if(ec);
        }
        return mine;
    }
    const report_keeper keeper;
    return self(header, ec);
}

[[gnu::noinline]] COHOLD_INLINE void forget_in_open_sections(const void* object,
                                                             std::size_t bytes) noexcept {
    join_thread(); // or it is not known which sections are open
    for (transaction* each = last_opened(); each != nullptr; each = each->next_open()) {
        if (!each->is_inside(object)) {
            each->forget(object, bytes);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
