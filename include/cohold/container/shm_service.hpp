// Requests and replies between processes: clients call, servers take calls and reply.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_SERVICE_HPP
#define COHOLD_CONTAINER_SHM_SERVICE_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/call_table.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/os/time.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// Requests from any number of clients to any number of servers, and their replies. A call is
/// served by one server; calls begin to be served in the order in which they were made.
///
/// *Thread and process safety*: every member but constructor and destructor may be called by any
/// number of threads of any number of processes. *If the process is killed*: a client's calls
/// disappear; what a server had begun to serve is served by another one, or fails with
/// std::errc::connection_reset, as `if_killed` says, as soon as the client looks again, some ms
/// later, or an eighth of a second at most if it was asleep when the server took the call.
/// Everything is immediate, also in a section. *Complexity*: a step for each place of the table; a
/// system call only to sleep, to wake a sleeper, and to ask whether a process is alive.
template <class Request, class Response>
class shm_service {
    static_assert(std::is_trivially_copyable_v<Request> && std::is_trivially_copyable_v<Response>,
                  "cohold: requests and responses are copied byte by byte: they own nothing. Large "
                  "ones can be objects of a shm_pool, named by their numbers");

  public:
    /// What a client sends.
    using request_type = Request;
    /// What a server answers.
    using response_type = Response;
    using size_type = std::size_t;
    using allocator_type = shm_allocator<std::byte>;

    class incoming;

    /// `calls`: how many calls can be made or served at the same time. *Errors*: errc::invalid_size
    /// if it is 0, negative or more than 65,536; the allocator's errors.
    template <std::integral Count>
    explicit shm_service(Count calls, if_killed what = if_killed::serve_again,
                         const allocator_type& allocator = allocator_type())
        : table_(static_cast<std::uint64_t>(calls), sizeof(place), alignof(place), what,
                 allocator) {
        static_assert(detail::assert_shareable<Request>() && detail::assert_shareable<Response>());
    }

    shm_service(const shm_service&) = delete;
    shm_service& operator=(const shm_service&) = delete;

    /// No thread may use the service any more.
    ~shm_service() = default;

    /// Waits until a server has replied. Nothing if the service is closed before a server takes the
    /// call. *Errors*: std::errc::connection_reset if the server was killed, as `if_killed`
    /// says, or did not reply; those of attaching.
    std::optional<Response> call(const Request& request) {
        return call_or_throw(request, detail::deadline::never());
    }

    /// Waits no longer than `patience`, a std::chrono::duration: then the call is cancelled.
    template <detail::duration_like Duration>
    std::optional<Response> call(const Request& request, const Duration& patience) {
        return call_or_throw(request, detail::deadline_in(patience));
    }

    // `ec` is clear if there is a response. Otherwise it is std::errc::timed_out, errc::closed, or
    // one of the errors above.

    std::optional<Response> call(const Request& request, std::error_code& ec) noexcept {
        return call_until(request, detail::deadline::never(), ec);
    }

    template <detail::duration_like Duration>
    std::optional<Response> call(const Request& request, const Duration& patience,
                                 std::error_code& ec) noexcept {
        return call_until(request, detail::deadline_in(patience), ec);
    }

    /// The next call; waits for one. False once the service is closed.
    [[nodiscard]] incoming next() { return next_or_throw(detail::deadline::never()); }

    /// Does not wait.
    [[nodiscard]] incoming try_next() { return next_or_throw(detail::at_once); }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] incoming next_for(const Duration& patience) {
        return next_or_throw(detail::deadline_in(patience));
    }

    // `ec`: errc::empty, std::errc::timed_out, errc::closed, or an error of attaching.

    [[nodiscard]] incoming next(std::error_code& ec) noexcept {
        return next_until(detail::deadline::never(), ec);
    }

    [[nodiscard]] incoming try_next(std::error_code& ec) noexcept {
        return next_until(detail::at_once, ec);
    }

    template <detail::duration_like Duration>
    [[nodiscard]] incoming next_for(const Duration& patience, std::error_code& ec) noexcept {
        return next_until(detail::deadline_in(patience), ec);
    }

    /// From now on calls fail, also those that no server has taken yet. Wakes all waiters.
    void close() noexcept { table_.close(); }

    [[nodiscard]] bool is_closed() const noexcept { return table_.is_closed(); }

    /// A descriptor for epoll(7) and the like, for servers: readable while calls wait, and once the
    /// service is closed. Take them with try_next.
    /// It is made on first use and belongs to this object in this process: it ends when this
    /// process destroys the object or unmaps it; a forked child makes its own. See
    /// event_descriptor, which watch() returns, for when it is readable. *Errors*: EMFILE, ENFILE,
    /// ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these, the first
    /// time.
    [[nodiscard]] int native_event() { return detail::native_events::of(table_.events()); }

    /// @copydoc native_event
    [[nodiscard]] int native_event(std::error_code& ec) noexcept {
        return detail::native_events::of(table_.events(), ec);
    }

    /// Another descriptor like that of native_event(), which the result owns. *Errors*: EMFILE,
    /// ENFILE, ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these.
    [[nodiscard]] event_descriptor watch() { return detail::event_access::watch(table_.events()); }

    /// @copydoc watch
    [[nodiscard]] event_descriptor watch(std::error_code& ec) noexcept {
        return detail::event_access::watch(table_.events(), ec);
    }

    /// How many calls can be made or served at the same time.
    [[nodiscard]] size_type capacity() const noexcept {
        return static_cast<size_type>(table_.capacity());
    }

    /// How many calls wait for a server. An estimate while other threads use the service.
    [[nodiscard]] size_type waiting() const noexcept {
        return static_cast<size_type>(table_.waiting());
    }

  private:
    struct place {
        detail::call_slot slot;
        alignas(Request) std::byte request[sizeof(Request)];
        alignas(Response) std::byte response[sizeof(Response)];
    };

    template <class T>
    static T read(const std::byte* bytes) noexcept {
        struct alignas(T) copied {
            std::byte bytes[sizeof(T)];
        } copy;

        std::memcpy(copy.bytes, bytes, sizeof(T));
        return __builtin_bit_cast(T, copy);
    }

    std::optional<Response> call_until(const Request& request, detail::deadline until,
                                       std::error_code& ec) noexcept {
        detail::clear(ec);
        std::optional<Response> result;
        detail::call_slot* const slot = table_.claim(until, ec);
        if (slot != nullptr) {
            place& mine = *reinterpret_cast<place*>(slot);
            std::memcpy(mine.request, __builtin_addressof(request), sizeof(Request));
            table_.make(*slot);
            if (table_.wait(*slot, until, ec)) {
                result = read<Response>(mine.response);
                table_.finish(*slot);
            }
        }
        return result;
    }

    std::optional<Response> call_or_throw(const Request& request, detail::deadline until) {
        std::error_code ec;
        std::optional<Response> result = call_until(request, until, ec);
        detail::call_table::raise_failure(ec);
        return result;
    }

    [[nodiscard]] incoming next_until(detail::deadline until, std::error_code& ec) noexcept;

    [[nodiscard]] incoming next_or_throw(detail::deadline until);

    detail::call_table table_;
};

/// A call that this server serves: true if there is one. If it is destroyed without a reply, by an
/// exception for instance, the call fails with std::errc::connection_reset.
template <class Request, class Response>
class shm_service<Request, Response>::incoming {
  public:
    /// None.
    incoming() noexcept = default;

    incoming(incoming&& other) noexcept
        : table_(std::exchange(other.table_, nullptr)), at_(other.at_), owner_(other.owner_) {}

    incoming& operator=(incoming&& other) noexcept {
        if (this != &other) {
            drop();
            table_ = std::exchange(other.table_, nullptr);
            at_ = other.at_;
            owner_ = other.owner_;
        }
        return *this;
    }

    ~incoming() { drop(); }

    [[nodiscard]] explicit operator bool() const noexcept { return table_ != nullptr; }

    /// A copy of what the client has sent.
    [[nodiscard]] Request request() const noexcept { return read<Request>(at_->request); }

    /// The same.
    [[nodiscard]] Request operator*() const noexcept { return request(); }

    /// Has the client given up? Then a reply is in vain.
    [[nodiscard]] bool is_cancelled() const noexcept {
        return table_->is_cancelled(at_->slot, owner_);
    }

    /// Ends the call. Returns false if the client has given up.
    bool reply(const Response& response) noexcept {
        std::memcpy(at_->response, __builtin_addressof(response), sizeof(Response));
        return std::exchange(table_, nullptr)->reply(at_->slot, owner_, true);
    }

  private:
    friend shm_service;

    incoming(detail::call_table& table, place& at, detail::owner_word owner) noexcept
        : table_(&table), at_(&at), owner_(owner) {}

    void drop() noexcept {
        if (table_ != nullptr) {
            static_cast<void>(std::exchange(table_, nullptr)->reply(at_->slot, owner_, false));
        }
    }

    detail::call_table* table_ = nullptr;
    place* at_ = nullptr;
    detail::owner_word owner_ = detail::nobody;
};

template <class Request, class Response>
typename shm_service<Request, Response>::incoming
shm_service<Request, Response>::next_until(detail::deadline until, std::error_code& ec) noexcept {
    detail::clear(ec);
    detail::owner_word me = detail::nobody;
    detail::call_slot* const slot = table_.take(until, me, ec);
    return slot != nullptr ? incoming(table_, *reinterpret_cast<place*>(slot), me) : incoming();
}

template <class Request, class Response>
typename shm_service<Request, Response>::incoming
shm_service<Request, Response>::next_or_throw(detail::deadline until) {
    std::error_code ec;
    incoming result = next_until(until, ec);
    detail::call_table::raise_failure(ec);
    return result;
}

template <class Request, class Response>
inline constexpr bool enable_shareable<shm_service<Request, Response>> = true;

template <class Request, class Response>
struct type_description<shm_service<Request, Response>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_service<");
        out.neighbours<Request, Response>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
