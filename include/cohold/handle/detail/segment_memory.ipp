// Definitions for segment_memory.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_SEGMENT_MEMORY_IPP
#define COHOLD_HANDLE_DETAIL_SEGMENT_MEMORY_IPP

#include <bit>
#include <cstring>
#include <new>

#include <cohold/engine/this_thread.hpp>
#include <cohold/handle/detail/segment_memory.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void segment_memory::unmap_all() noexcept {
    native_events::end(base_, static_cast<std::size_t>(reserve_));
    mappings.remove(local_of_this()); // no effect for a read-only mapping
    detach(header());
    unmap(local_of_this().identity->attendance, page_size());
    // In a forked child that does not have the mapping, something else may be in its place.
    wiped_cells::give_back(local_of_this().identity);
    const bool here = only_in_ == 0 || only_in_ == process_stamp();
    unmap(base_ - front(), front() + (here ? static_cast<std::size_t>(reserve_) : 0));
}

COHOLD_INLINE segment_memory segment_memory::map(const native_object& object, std::uint64_t reserve,
                                                 access_mode how, const mapping_options& options,
                                                 std::error_code& ec) noexcept {
    const object_status found = object.status(ec);
    return ec ? segment_memory() : map(object, found, reserve, how, options, ec);
}

// The largest alignment that a block in a segment of that reserve can have.
COHOLD_INLINE std::uint64_t segment_memory::aligned_blocks(std::uint64_t reserve) noexcept {
    const std::uint64_t largest = std::bit_floor(reserve);
    return larger(page_size(), largest < heap::max_alignment ? largest : heap::max_alignment);
}

// The object, with the page before it; nullptr if it cannot be had in this way.
COHOLD_INLINE char* segment_memory::map_anywhere(const native_object& object, std::uint64_t bytes,
                                                 access_mode how) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    void* const at = object.map(bytes, how, nullptr, ec);
    if (ec || map_private_at(static_cast<char*>(at) - front(), front())) {
        return ec ? nullptr : static_cast<char*>(at);
    }
    unmap(at, static_cast<std::size_t>(bytes));
    return nullptr;
}

COHOLD_INLINE segment_memory segment_memory::map(const native_object& object,
                                                 const object_status& found, std::uint64_t wanted,
                                                 access_mode how, const mapping_options& options,
                                                 std::error_code& ec) noexcept {
    // The unit of the mapping's address; and the reserve, if it consists of hugetlb pages.
    std::uint64_t reserve = wanted;
    std::uint64_t unit =
        options.huge == huge_pages::none ? aligned_blocks(wanted) : huge_page_bytes;
    if (object.descriptor() >= 0) {
        if (const std::uint64_t huge = hugetlb_page(object.descriptor()); huge != 0) {
            unit = huge;
            reserve = round_up(reserve, huge);
        }
    }
    // Mostly there is room in front of where the kernel maps the object. If not, or if that
    // fails, the addresses are reserved first.
    char* base = unit > page_size() ? nullptr : map_anywhere(object, reserve, how);
    const bool mapped = base != nullptr;
    if (!mapped) {
        base = reserve_aligned(front(), reserve, unit);
    }
    if (base == nullptr) {
        const int error = errno; // EAGAIN: all mappings are locked, mlockall(MCL_FUTURE)
        fail(ec, error == EAGAIN ? errc::lock_limit : errc::reserve_too_large,
             "reserve: %llu bytes, mmap: errno %d", static_cast<unsigned long long>(reserve),
             error);
        return {};
    }
    segment_memory memory(base, reserve);
    memory.only_in_ = options.fork ? 0 : process_stamp();
    if (!mapped) {
        static_cast<void>(object.map(reserve, how, memory.base_, ec));
        if (!ec && !make_writable(base - front(), front())) {
            fail_errno(ec, errno, "mprotect");
        }
    }
    void* const identity = ec ? nullptr : wiped_cells::take(); // zeros: not a participant
    if (!ec && identity == nullptr) {
        fail_errno(ec, errno, "a page with MADV_WIPEONFORK");
    }
    if (!ec) {
        begin_mapping(memory.base_, static_cast<std::size_t>(reserve), options, ec);
    }
    if (ec) {
        memory.base_ = nullptr;
        if (identity != nullptr) {
            wiped_cells::give_back(identity);
        }
        unmap(base - front(), front() + static_cast<std::size_t>(reserve));
        return {};
    }
    auto* const local = ::new (memory.base_ - sizeof(local_mapping)) local_mapping{};
    std::memcpy(&local->native, object.native, object.calls->size);
    local->calls = object.calls;
    local->identity = static_cast<local_identity*>(identity);
    local->device = found.device;
    local->inode = found.inode;
    local->reserve = reserve;
    local->length.store(found.size < reserve ? found.size : reserve, std::memory_order_relaxed);
    local->only_in = memory.only_in_;
    local->is_read_only = how != access_mode::writing;
    if (how == access_mode::writing) {
        mappings.add(*local);
    }
    return memory;
}

COHOLD_INLINE void segment_memory::format(std::uint64_t size, std::uint32_t participants,
                                          lifetime life, std::string_view full_name,
                                          std::error_code& ec) noexcept {
    local_mapping& local = local_of_this();
    local.calls->back(&local.native, base_, 0, size, ec);
    if (ec) {
        return;
    }
    local.length.store(size, std::memory_order_relaxed);
    segment_header& fresh = header();
    fresh.order = word_order;
    fresh.layout_version = COHOLD_LAYOUT_VERSION;
    fresh.header_bytes = sizeof(segment_header);
    fresh.max_participants = participants;
    fresh.reserve = reserve_;
    if (!fill_randomly(fresh.id, sizeof fresh.id)) {
        fail_errno(ec, errno, "getrandom");
        return;
    }
    fresh.created = wall_clock();
    fresh.life = static_cast<std::uint32_t>(life);
    fresh.set_name(full_name);
    fresh.checksum = fresh.expected_checksum();
    fresh.size.store(size, std::memory_order_release);
    heap_here().format(far_slots_offset + far_bytes(participants));
}

COHOLD_INLINE void segment_memory::participate(std::error_code& ec) const noexcept {
    std::atomic<std::uint32_t>& flags = local_of_this().identity->flags;
    flags.fetch_or(local_identity::fresh, std::memory_order_relaxed);
    static_cast<void>(participant_of(header(), ec));
    flags.fetch_and(~local_identity::fresh, std::memory_order_relaxed);
}

COHOLD_INLINE void segment_memory::attend_session(std::error_code& ec) const noexcept {
    const local_mapping& local = local_of(header());
    if (local.calls->enter != nullptr) {
        local.identity->attendance = enter_session({local.calls, &local.native}, ec);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
