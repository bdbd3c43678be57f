// The calling thread in a segment: finding or making its transaction and its journal, and how a
// process with all its threads ceases to be a participant.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_THIS_THREAD_HPP
#define COHOLD_ENGINE_THIS_THREAD_HPP

#include <new>

#include <cohold/engine/thread_cache.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- finding the transaction of this thread

// A journal for a thread: one that another thread has left, or a new one. *Errors*:
// errc::too_many_threads, those of the heap, and ETIMEDOUT if the thread's patience ended before.
[[gnu::cold]] journal* find_journal(segment_header& header, owner_word me,
                                    std::error_code& ec) noexcept;

// An owner word that no thread has had before, because a lock that a thread has left locked still
// names that thread, and must never name another one. When the thread numbers are used up, they
// start again with the next generation of the attachment. Earlier generations count as this process
// as long as it is attached.
[[gnu::cold]] owner_word new_thread(segment_header& header) noexcept;

[[gnu::cold]] thread_transaction* make_transaction(segment_header& header,
                                                   std::error_code& ec) noexcept;

// The transaction for this segment and attachment.
[[gnu::cold]] thread_transaction*
find_transaction_of(thread_core& core, const segment_header& header, std::uint64_t epoch) noexcept;

// The transaction that this thread has made after the end of its cache.
[[gnu::cold]] thread_transaction* find_late_transaction(const local_identity& identity) noexcept;

[[gnu::cold]] transaction* find_transaction(segment_header& header, std::error_code& ec) noexcept;

// The transaction of this thread in a segment. nullptr after an error: errc::out_of_space,
// reserve_exceeded, and those of attach.
[[nodiscard]] inline transaction* self(segment_header& header, std::error_code& ec) noexcept {
    if (transaction* const known = known_transaction(&header); known != nullptr) [[likely]] {
        return known;
    }
    return find_transaction(header, ec);
}

// The segment to which the address belongs; nullptr if it belongs to none. The address is a number,
// because g++ considers passing the address of an object under construction a use of that object.
// The list of mappings has those of this copy of the library. The transactions have those that
// the thread has used in any copy.
[[nodiscard, gnu::cold]] segment_header* segment_around(std::uintptr_t address) noexcept;

// Did this thread use the segment before this process was forked? Then locks that it held may have
// been inherited. Whether a particular lock was cannot be told once the parent has released it.
[[gnu::cold]] bool has_inherited(const segment_header& header) noexcept;

// ---- detaching

// Called when a mapping ceases to be a participant: its pointers to shared objects that are left
// outside the segment refer to nothing. Were there any?
[[nodiscard, gnu::cold]] bool forget_holds(local_identity& identity) noexcept;

// Ends the participation of this mapping, before it is unmapped. Does nothing if it is not a
// participant, as in a forked child that has not used the inherited mapping.
[[gnu::cold]] void detach(segment_header& header) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/this_thread.ipp>
#endif

#endif
