// Definitions for local_mapping.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_LOCAL_MAPPING_IPP
#define COHOLD_ENGINE_LOCAL_MAPPING_IPP

#include <cohold/engine/local_mapping.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The segment's native handle; if other code has closed that, a new descriptor of the mapped file,
// which is closed when this object ends.
class lent_native {
  public:
    [[gnu::cold]] lent_native(const local_mapping& local, const char* consequence,
                              std::error_code& ec) noexcept
        : lent_{local.calls, &local.native} {
        if ((local.identity->flags.load(std::memory_order_relaxed) & local_identity::fresh) != 0) {
            return;
        }
        const object_status found = lent_.status(ec);
        if (ec ? ec != std::errc::bad_file_descriptor : is_of(local, found)) {
            return;
        }
        if (local.calls->has_descriptor) {
            const auto& header = *reinterpret_cast<const segment_header*>(&local + 1);
            again_ = reopen_mapped(&header, static_cast<std::size_t>(local.reserve),
                                   header.name_view(), O_RDWR);
            file_ = {again_.get()};
            lent_.native = &file_;
            std::error_code unknown;
            if (again_ && is_of(local, lent_.status(unknown)) && !unknown) {
                clear(ec);
                return;
            }
        }
        fail(ec, errc::empty_handle, "the segment's native handle was closed by somebody else, %s",
             consequence);
    }

    lent_native(const lent_native&) = delete;
    lent_native& operator=(const lent_native&) = delete;

    [[nodiscard]] const native_object& operator*() const noexcept { return lent_; }

  private:
    native_object lent_;
    unique_fd again_;
    file_descriptor file_;
};

COHOLD_INLINE void back_segment(const local_mapping& local, void* base, std::uint64_t from,
                                std::uint64_t to, std::error_code& ec) noexcept {
    const lent_native native(local, "so it cannot grow", ec);
    if (!ec) {
        local.calls->back((*native).native, base, from, to, ec);
    }
}

COHOLD_INLINE void release_segment(const local_mapping& local, void* base, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept {
    if (local.calls->release == nullptr) {
        fail(ec, errc::unsupported, "this mechanism has no function that gives memory back");
        return;
    }
    const lent_native native(local, "so no memory can be given back", ec);
    if (!ec) {
        local.calls->release((*native).native, base, from, to, ec);
    }
}

COHOLD_INLINE void* claim_slot(const local_mapping& local, std::uint32_t slot,
                               const liveness_token& present,
                               bool (*publish)(void* context, const liveness_token& token) noexcept,
                               void* context, std::error_code& ec) noexcept {
    const lent_native native(local, "so it cannot be attached", ec);
    return ec ? nullptr : local.calls->claim((*native).native, slot, present, publish, context, ec);
}

COHOLD_INLINE verdict probe_claim(const local_mapping& local, std::uint32_t slot,
                                  const liveness_token& token) noexcept {
    const mechanism_calls& calls = *local.calls;
    const report_keeper keeper;
    std::error_code ec;
    const object_status found = calls.status(&local.native, ec);
    const verdict told =
        !ec && is_of(local, found) ? calls.probe(&local.native, slot, token) : verdict::unknown;
    if (told != verdict::unknown || calls.probe_by == nullptr) {
        return told;
    }
    // The page that holds this process's lock belongs to the file that holds all of them.
    const auto& header = *reinterpret_cast<const segment_header*>(&local + 1);
    const unique_fd again =
        reopen_mapped(local.identity->page, page_size(),
                      calls.locks_itself ? header.name_view() : std::string_view(), O_RDONLY);
    return again
               ? calls.probe_by(again.get(), &local.native, local.device, local.inode, slot, token)
               : verdict::unknown;
}

COHOLD_INLINE void* enter_session(const native_object& object, std::error_code& ec) noexcept {
    void* const page = reserve_addresses(page_size()); // where there is nothing else
    if (page == nullptr) {
        fail_errno(ec, errno, "mmap");
        return nullptr;
    }
    object.calls->enter(object.native, page, ec);
    if (ec) {
        unmap(page, page_size());
        return nullptr;
    }
    return page;
}

COHOLD_INLINE void* attend_session(const local_mapping& local, std::error_code& ec) noexcept {
    if (local.calls->within_gate == nullptr) {
        return nullptr;
    }
    const lent_native native(local, "so it is no user of the session", ec);
    if (ec) {
        return nullptr;
    }

    struct entering {
        const native_object& object;
        std::error_code& ec;
        void* page;
    } context{*native, ec, nullptr};

    // Within the gate, no process can find the segment without users and remove it.
    local.calls->within_gate((*native).native, lock_kind::shared,
                             [](void* with, bool /*held*/) noexcept {
                                 auto& [object, error, page] = *static_cast<entering*>(with);
                                 page = enter_session(object, error);
                             },
                             &context);
    return context.page;
}

COHOLD_INLINE void mapping_list::add(local_mapping& mapping) noexcept {
    const process_lock held(busy_, stamp_page());
    const auto begin = reinterpret_cast<std::uintptr_t>(&mapping + 1);
    if (begin < lowest_.load(std::memory_order_relaxed)) {
        lowest_.store(begin, std::memory_order_relaxed);
    }
    const auto end = begin + static_cast<std::uintptr_t>(mapping.reserve);
    if (end > highest_.load(std::memory_order_relaxed)) {
        highest_.store(end, std::memory_order_relaxed);
    }
    mapping.next_mapping = first_.load(std::memory_order_relaxed);
    first_.store(&mapping, std::memory_order_relaxed);
}

COHOLD_INLINE void mapping_list::remove(local_mapping& mapping) noexcept {
    {
        const process_lock held(busy_, stamp_page());
        if (first_.load(std::memory_order_relaxed) == &mapping) {
            first_.store(mapping.next_mapping, std::memory_order_relaxed);
        }
        for (local_mapping* each = first_.load(std::memory_order_relaxed); each != nullptr;
             each = each->next_mapping) {
            if (each->next_mapping == &mapping) {
                each->next_mapping = mapping.next_mapping;
            }
        }
        mapping.next_mapping = &mapping; // a thread that is at this mapping has to start again
    }
    for (yielding turn; mapping.identity->pins.load(std::memory_order_acquire) != 0;) {
        turn.yield();
    }
}

COHOLD_INLINE segment_header* mapping_list::around(std::uintptr_t address) noexcept {
    if (address < lowest_.load(std::memory_order_relaxed) ||
        address >= highest_.load(std::memory_order_relaxed)) {
        return nullptr;
    }
    const process_lock held(busy_, stamp_page());
    for (local_mapping* each = first_.load(std::memory_order_relaxed); each != nullptr;
         each = each->next_mapping) {
        if (address - reinterpret_cast<std::uintptr_t>(each + 1) < each->reserve &&
            is_here(*each)) {
            return reinterpret_cast<segment_header*>(each + 1);
        }
    }
    return nullptr;
}

COHOLD_INLINE local_mapping* mapping_list::next_pinned(local_mapping* last) noexcept {
    const process_lock held(busy_, stamp_page());
    local_mapping* const next = last == nullptr || last->next_mapping == last
                                    ? first_.load(std::memory_order_relaxed)
                                    : last->next_mapping;
    if (last != nullptr) {
        last->identity->pins.fetch_sub(1, std::memory_order_release);
    }
    if (next != nullptr) {
        next->identity->pins.fetch_add(1, std::memory_order_relaxed);
    }
    return next;
}

[[gnu::noinline]] COHOLD_INLINE std::uint64_t bounded_by_object(const local_mapping& local,
                                                                std::uint64_t size) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    const object_status found = local.calls->status(&local.native, ec);
    const bool told = !ec && is_of(local, found) && found.size != 0;
    const std::uint64_t there = told && found.size < local.reserve ? found.size : local.reserve;
    local.length.store(there, std::memory_order_relaxed);
    return size < there ? size : there;
}

[[gnu::noinline]] COHOLD_INLINE std::uint32_t
count_participants(const segment_header& header) noexcept {
    const std::uint64_t size = bounded_size(header);
    std::uint64_t count = header.max_participants;
    const std::uint64_t room = near_slots - 1 +
                               (size < far_slots_offset ? 0 : size - far_slots_offset) /
                                   participant_bytes; // whatever the segment says
    count = count < room ? count : room;
    count = count < most_participants ? count : most_participants;
    const auto found = static_cast<std::uint32_t>(count);
    local_of(header).participants.store(found, std::memory_order_relaxed);
    return found;
}

COHOLD_INLINE void grow_segment(segment_header& header, std::uint64_t to,
                                std::error_code& ec) noexcept {
    const std::uint64_t from = header.size.load(std::memory_order_relaxed);
    if (to <= from) {
        return;
    }
    const local_mapping& local = local_of(header);
    if (to > local.reserve) {
        fail(ec, errc::reserve_exceeded, "wanted a size of %llu bytes, the reserve has %llu",
             static_cast<unsigned long long>(to), static_cast<unsigned long long>(local.reserve));
        return;
    }
    back_segment(local, &header, from, to, ec);
    if (!ec) {
        header.size.store(to, std::memory_order_release); // after the space exists: no SIGBUS
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
