// The part of shm_service that does not depend on the types of requests and responses.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_CALL_TABLE_HPP
#define COHOLD_CONTAINER_DETAIL_CALL_TABLE_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <cohold/container/shm_allocator.hpp>
#include <cohold/engine/participant_table.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

/// What happens to a call whose server is killed before it has replied.
enum class if_killed : std::uint32_t {
    serve_again, ///< another server serves it: at least once
    fail         ///< it fails, with std::errc::connection_reset: at most once
};

namespace detail {

enum class call_state : std::uint32_t {
    free = 0,
    filling = 1,  // the client writes the request
    waiting = 2,  // for a server
    serving = 3,  // by a server
    answered = 4, // the client may read
    failed = 5,   // the server gave up or died
    cancelled = 6 // the client gave up, and the server does not know yet
};

// The word: bits 0 to 19 the state; above, a process, as in an owner word: the server while serving
// or cancelled, otherwise the client, so that no call is taken for another one in the same slot.
// Every change is one compare-and-swap or, by the one who is at work, one store.
struct alignas(64) call_slot {
    std::atomic<std::uint64_t> word;
    std::atomic<std::uint64_t> client; // set while filling
    std::atomic<std::uint64_t> ticket; // in the order of calls
    wait_word answered;
    std::uint32_t unused;
};

static_assert(sizeof(call_slot) == 64);

class call_table {
  public:
    [[gnu::cold]] call_table(std::uint64_t count, std::size_t size, std::size_t alignment,
                             if_killed what, const shm_allocator<std::byte>& allocator = {});

    call_table(const call_table&) = delete;
    call_table& operator=(const call_table&) = delete;

    [[gnu::cold]] ~call_table();

    // For clients: a slot for a request; nullptr in vain, with the reason.
    [[nodiscard]] call_slot* claim(deadline until, std::error_code& ec) noexcept;

    // Makes the call whose request has been written.
    void make(call_slot& slot) noexcept;

    // Waits for its response. False: the slot is free again, or will be.
    [[nodiscard]] bool wait(call_slot& slot, deadline until, std::error_code& ec) noexcept;

    // The response has been read.
    void finish(call_slot& slot) noexcept;

    // For servers.
    [[nodiscard]] call_slot* take(deadline until, owner_word& me, std::error_code& ec) noexcept;

    [[nodiscard]] bool is_cancelled(const call_slot& slot, owner_word me) const noexcept;

    // `good`: the response has been written.
    [[nodiscard]] bool reply(call_slot& slot, owner_word me, bool good) noexcept;

    void close() noexcept;

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire) != 0;
    }

    [[nodiscard]] std::uint64_t capacity() const noexcept { return count_; }

    [[nodiscard]] std::uint64_t waiting() const noexcept;

    // Calls for a server, or the end.
    [[nodiscard]] event_source events() noexcept;

    // Except that there is no call, or no reply in time.
    static void raise_failure(const std::error_code& ec);

  private:
    [[nodiscard]] call_slot& at(std::uint32_t index) const noexcept {
        return *reinterpret_cast<call_slot*>(memory_.get() + std::size_t{index} * stride_);
    }

    [[nodiscard]] owner_word enter(std::error_code& ec) const noexcept;

    [[nodiscard]] segment_header& header() const noexcept { return allocator_.bound_header(); }

    [[nodiscard]] call_slot* try_claim(owner_word me, bool thorough) noexcept;

    [[nodiscard]] call_slot* try_take(owner_word me) noexcept;

    // What has become of the call.
    [[nodiscard]] outcome look(call_slot& slot) noexcept;

    void free_slot(call_slot& slot) noexcept;

    shm_allocator<std::byte> allocator_;
    offset_ptr<std::byte> memory_{};
    std::uint32_t stride_ = 0;
    std::uint32_t count_ = 0;
    if_killed what_;
    std::atomic<std::uint32_t> closed_{0};
    std::atomic<std::uint64_t> tickets_{0};
    wait_word calls_;  // servers sleep here
    wait_word places_; // clients sleep here
};

static_assert(sizeof(call_table) == 48);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/call_table.ipp>
#endif

#endif
