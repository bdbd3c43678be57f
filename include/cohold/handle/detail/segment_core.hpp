// What segment, segment_view and shared have in common: segment_base, which creates, opens, checks
// and removes a segment, and the observers that all of them have.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_SEGMENT_CORE_HPP
#define COHOLD_HANDLE_DETAIL_SEGMENT_CORE_HPP

#include <unistd.h>

#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/handle/detail/segment_memory.hpp>
#include <cohold/handle/listing.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/handle/segment_options.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Policies>
class segment_base {
  public:
    using mechanism = typename Policies::mechanism;
    using naming = typename Policies::naming;
    using handle = object_handle<Policies>;

    segment_base() = default;

    segment_base(segment_base&& other) noexcept
        : object_(std::move(other.object_)), memory_(std::move(other.memory_)), how_(other.how_),
          state_(std::exchange(other.state_, state::detached)) {}

    segment_base& operator=(segment_base&& other) noexcept {
        if (this != &other) {
            detach();
            object_ = std::move(other.object_);
            memory_ = std::move(other.memory_);
            how_ = other.how_;
            state_ = std::exchange(other.state_, state::detached);
        }
        return *this;
    }

    ~segment_base() { detach(); }

    // A formatted segment that no other process can open yet. Destroyed without publish(), it
    // leaves nothing behind.
    [[gnu::cold]] static segment_base prepare(std::string_view name, const segment_options& options,
                                              publication how, std::error_code& ec) noexcept {
        std::uint64_t size = 0;
        std::uint64_t reserve = 0;
        measure(options, size, reserve, ec);
        if (!ec && how == publication::exclusive) {
            clear_the_way(name, ec);
        }
        if (ec) {
            return {};
        }
        segment_base made;
        made.object_ = handle::create(name,
                                      {.capacity = reserve,
                                       .mode = Policies::permission::bits,
                                       .group = options.group,
                                       .formatted = true,
                                       .huge_page = hugetlb_page_of(options.mapping.huge)},
                                      ec);
        if (ec) {
            return {};
        }
        made.state_ = state::unpublished;
        made.memory_ = segment_memory::map<mechanism>(made.object_.native(), reserve,
                                                      access_mode::writing, options.mapping, ec);
        if (!ec) {
            std::string full;
            if constexpr (Policies::named) {
                full = full_name<mechanism, naming>(name);
            }
            made.memory_.template format<mechanism>(
                made.object_.native(), size, static_cast<std::uint32_t>(options.participants),
                options.lifetime, full, ec);
        }
        if (!ec) {
            made.finish(options_of(options), ec);
        }
        if (!ec && options.lifetime == lifetime::session) {
            made.enter(ec);
        }
        if (!ec) {
            made.memory_.participate(ec);
        }
        if constexpr (seals_objects) {
            if (!ec && options.seals != seal::none) {
                mechanism::seal(made.object_.native(), options.seals, ec);
            }
        }
        return ec ? segment_base() : std::move(made);
    }

    // What the process that makes or opens a segment wants from its mapping.
    [[nodiscard]] static mapping_options options_of(const segment_options& options) noexcept {
        mapping_options wanted = options.mapping;
        wanted.populate = wanted.populate || options.populate;
        return wanted;
    }

    [[gnu::cold]] void publish(publication how, std::error_code& ec) noexcept {
        memory_.ready();
        if (how == publication::exclusive || !replace_session(ec)) {
            object_.publish(how, ec);
        }
        if (!ec) {
            state_ = state::attached;
        }
    }

    [[gnu::cold]] static segment_base open(std::string_view name, access_mode how,
                                           const mapping_options& options,
                                           std::error_code& ec) noexcept {
        object_status found{};
        handle object = handle::open(name, how, found, ec);
        if (ec) {
            return {};
        }
        segment_base opened = attach(std::move(object), found, how, options, ec);
        handle::removed_is_absent(ec);
        return opened;
    }

    [[gnu::cold]] static segment_base adopt(typename handle::native_type native, access_mode how,
                                            const mapping_options& options,
                                            std::error_code& ec) noexcept {
        handle object = handle::adopt(native, ec);
        const object_status found = ec ? object_status() : object.status(ec);
        return ec ? segment_base() : attach(std::move(object), found, how, options, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        std::error_code unknown;
        object_status status{};
        const handle object = handle::open(name, access_mode::writing, status, unknown);
        const facts found = unknown ? facts() : peek(object, status, unknown);
        if constexpr (checks_names) {
            // An object that belongs to another name must stay.
            handle::removed_is_absent(unknown);
            if (unknown == errc::not_found) {
                handle::reclaim(name);
                return false;
            }
            if (unknown) {
                ec = unknown;
                return false;
            }
        }
        if (!object) {
            return handle::remove(name, ec); // reports what is wrong, if anything is
        }
        if constexpr (has_attendance<mechanism>) {
            if (!unknown && found.life == lifetime::session) {
                // No process may attach to a segment that is being removed.
                const typename mechanism::attendance::gate gate(object.native(),
                                                                lock_kind::exclusive);
                return handle::remove(name, ec);
            }
        }
        return handle::remove(name, ec);
    }

    explicit operator bool() const noexcept { return static_cast<bool>(memory_); }

    [[nodiscard]] const handle& object() const noexcept { return object_; }

    [[nodiscard]] const segment_memory& memory() const noexcept { return memory_; }

    // The mapping of the bytes that exist.
    [[nodiscard, gnu::cold]] memory_mapping mapping() const noexcept {
        return memory_ ? memory_mapping(memory_.base(),
                                        static_cast<std::size_t>(
                                            memory_.header().size.load(std::memory_order_acquire)),
                                        how_ == access_mode::writing)
                       : memory_mapping();
    }

    // Waits until the file and its name will survive a loss of power.
    [[gnu::cold]] void durable(std::error_code& ec) const noexcept {
        if (!memory_) {
            fail(ec, errc::empty_handle);
            return;
        }
        write_back(memory_.base(), 0, mapping().size(), ec);
        if constexpr (requires { mechanism::settle(object_.native(), object_.name(), ec); }) {
            std::string real;
            if constexpr (Policies::named) {
                if (!ec && !object_.name().empty()) {
                    real = object_name<mechanism, naming>(object_.name(), ec);
                }
            }
            if (!ec && is_lost(object_)) {
                fail(ec, errc::empty_handle,
                     "the segment's native handle was closed by somebody else");
            }
            if (!ec) {
                mechanism::settle(object_.native(), real, ec);
            }
        }
    }

  private:
    enum class state { detached, unpublished, attached };

    // The facts that must be known about a segment before it is mapped.
    struct facts {
        std::uint64_t reserve = 0;
        enum lifetime life = lifetime::persistent;
    };

    static constexpr bool seals_objects =
        requires(const typename mechanism::native_handle_type& native, std::error_code& ec) {
            mechanism::seal(native, seal::none, ec);
        };

    static constexpr bool checks_names = mechanism::keys_collide || naming::collides;

    [[gnu::cold]] static void measure(const segment_options& options, std::uint64_t& size,
                                      std::uint64_t& reserve, std::error_code& ec) noexcept {
        if (options.size == 0 || options.size > PTRDIFF_MAX || options.reserve > PTRDIFF_MAX) {
            fail(ec, errc::invalid_size, "size %zu, reserve %zu bytes", options.size,
                 options.reserve);
            return;
        }
        if (options.reserve != 0 && options.size > options.reserve) {
            fail(ec, errc::invalid_size,
                 "segment_options::size is %zu bytes, larger than segment_options::reserve, %zu",
                 options.size, options.reserve);
            return;
        }
        if (options.participants < least_participants || options.participants > most_participants) {
            fail(ec, errc::invalid_options,
                 "segment_options::participants: %zu, but only %u to %u are possible",
                 options.participants, least_participants, most_participants);
            return;
        }
        check_hugetlb<mechanism>(options.mapping.huge, ec);
        if (!ec && !seals_objects && options.seals != seal::none) {
            fail(ec, errc::unsupported, "segment_options::seals: only a memfd can be sealed");
        }
        const bool sized = (options.seals & seal::grow) != seal::none;
        if (!ec && sized && options.reserve > options.size) {
            fail(ec, errc::invalid_options,
                 "sealed by seal::grow at %zu bytes, but with a reserve of %zu: it could not grow",
                 options.size, options.reserve);
        }
        if (ec) {
            return;
        }
        const std::uint64_t unit = options.mapping.huge == huge_pages::advise
                                       ? page_size()
                                       : mapping_unit(options.mapping.huge);
        size = round_up(larger(options.size, smallest_segment_for(options.participants)), unit);
        if (sized) {
            reserve = size;
        } else if (options.reserve != 0) {
            reserve = round_up(options.reserve, page_size());
        } else {
            constexpr std::uint64_t most = std::uint64_t{PTRDIFF_MAX} / 4;
            reserve = larger(config::default_reserve, size > most / 16 ? most : size * 16);
            if constexpr (sizeof(void*) == 4) {
                reserve = larger(config::default_reserve, size > most / 2 ? size : size * 2);
            }
        }
        reserve = larger(reserve, size);
        if constexpr (!has_attendance<mechanism> && Policies::named) {
            if (options.lifetime == lifetime::session) {
                fail(ec, errc::unsupported,
                     "lifetime::session: the mechanism cannot tell which processes are attached");
            }
        }
    }

    // Reads and checks the header.
    [[gnu::cold]] static facts peek(const handle& object, object_status& status,
                                    std::error_code& ec) noexcept {
        if (status.size < control_bytes) {
            fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
                 static_cast<unsigned long long>(control_bytes),
                 static_cast<unsigned long long>(status.size));
            return {};
        }
        if constexpr (maps_descriptors<mechanism>) {
            // What is good is known soonest by reading. What is not, or has holes, is looked at
            // where it is mapped, and the error is from there.
            segment_header copy{};
            if (!status.sparse && raw_pread(object.native().value, &copy, sizeof copy, 0) ==
                                      static_cast<ssize_t>(sizeof copy)) {
                const report_keeper keeper;
                std::error_code wrong;
                const facts found = judge(object, copy, status, wrong);
                if (!wrong) {
                    return found;
                }
            }
        }
        // Of an object that cannot grow there is one size.
        const std::uint64_t bytes = mechanism::grows ? page_size() : status.size;
        void* const at = mechanism::map(object.native(), bytes, access_mode::reading, nullptr, ec);
        if (ec) {
            return {};
        }
        // A file may have a hole here and the file system no space for it: reading would raise
        // SIGBUS.
        if (is_missing(at, control_bytes)) {
            const object_status now = object.status(ec);
            if (!ec && now.size < control_bytes) {
                fail(ec, errc::truncated,
                     "object size: %llu bytes, and then %llu: another process truncates it",
                     static_cast<unsigned long long>(status.size),
                     static_cast<unsigned long long>(now.size));
            } else if (!ec) {
                fail(ec, errc::out_of_space, "the object has a hole where its header should be");
            }
            unmap(at, static_cast<std::size_t>(bytes));
            return {};
        }
        const facts found = judge(object, *static_cast<const segment_header*>(at), status, ec);
        unmap(at, static_cast<std::size_t>(bytes));
        return found;
    }

    // What a header says, if all of it is good.
    [[gnu::cold]] static facts judge(const handle& object, const segment_header& header,
                                     object_status& status, std::error_code& ec) noexcept {
        validate_header(header, status.size, ec);
        // Another process may have made the object longer, and its header may say so, since its
        // size was read.
        while (ec == errc::truncated) {
            std::error_code unknown;
            const object_status longer = object.status(unknown);
            if (unknown || longer.size <= status.size) {
                break;
            }
            status = longer;
            ec.clear();
            validate_header(header, status.size, ec);
        }
        const facts found{header.reserve, static_cast<enum lifetime>(header.life)};
        // Such an object is mapped completely, so its size must equal its reserve.
        if (!ec && !mechanism::grows &&
            round_up(status.size, page_size()) != round_up(found.reserve, page_size())) {
            fail(ec, status.size < found.reserve ? errc::truncated : errc::corrupt,
                 "object size: %llu bytes expected, found %llu",
                 static_cast<unsigned long long>(found.reserve),
                 static_cast<unsigned long long>(status.size));
        }
        if constexpr (checks_names && Policies::named) {
            if (!ec && !object.name().empty()) {
                const std::string full = full_name<mechanism, naming>(object.name());
                if (!header.is_named(full)) {
                    fail(ec, errc::name_mismatch, "full name: expected '%s', found '%.*s'",
                         full.c_str(), static_cast<int>(header.name_view().size()),
                         header.name_view().data());
                }
            }
        }
        return found;
    }

    // The options that can be applied only once the memory exists.
    [[gnu::cold]] void finish(const mapping_options& options, std::error_code& ec) const noexcept {
        finish_mapping(memory_.base(), mapping().size(), how_ == access_mode::writing, options, ec);
    }

    [[gnu::cold]] static segment_base attach(handle&& object, object_status status, access_mode how,
                                             const mapping_options& options,
                                             std::error_code& ec) noexcept {
        const facts found = ec ? facts() : peek(object, status, ec);
        if (ec) {
            return {};
        }
        segment_base made;
        made.object_ = std::move(object);
        made.how_ = how;
        if constexpr (has_attendance<mechanism>) {
            if (found.life == lifetime::session) {
                made.attach_to_session(found, status, how, options, ec);
                if (!ec) {
                    made.finish(options, ec);
                }
                return ec ? segment_base() : std::move(made);
            }
        }
        made.map(found, status, how, options, ec);
        if (ec) {
            return {};
        }
        made.state_ = state::attached;
        if (how == access_mode::writing) {
            made.memory_.participate(ec);
        }
        if (!ec) {
            made.finish(options, ec);
        }
        return ec ? segment_base() : std::move(made);
    }

    // Maps what exists, without holes.
    [[gnu::cold]] void map(const facts& found, const object_status& status, access_mode how,
                           const mapping_options& options, std::error_code& ec) noexcept {
        memory_ = segment_memory::map<mechanism>(object_.native(), status, found.reserve, how,
                                                 options, ec);
        if constexpr (requires { mechanism::fill(object_.native(), how, nullptr, 0, ec); }) {
            if (!ec && status.sparse) {
                mechanism::fill(object_.native(), how, memory_.base(),
                                memory_.header().size.load(std::memory_order_acquire), ec);
            }
        }
        if (ec) {
            memory_ = {};
        }
    }

    [[gnu::cold]] void attach_to_session(const facts& found, const object_status& status,
                                         access_mode how, const mapping_options& options,
                                         std::error_code& ec) noexcept {
        using attendance = typename mechanism::attendance;
        {
            // While this is held, the segment cannot be removed for lack of users.
            const typename attendance::gate gate(object_.native(), lock_kind::shared);
            if (!gate) {
                fail_errno(ec, errno, "locking the object, which session lifetime needs");
            } else if (!attendance::anybody(object_.native()) || object_.is_removed()) {
                fail(ec, errc::not_found, "its session is over: no process has it attached");
            } else {
                map(found, status, how, options, ec);
                if (!ec) {
                    enter(ec);
                }
                if (!ec) {
                    state_ = state::attached;
                }
            }
        }
        if (!ec && how == access_mode::writing) {
            memory_.participate(ec);
        }
        if (ec == errc::not_found) {
            const report_keeper keeper;
            std::error_code ignored;
            remove_if_deserted(object_, ignored);
        }
    }

    void enter(std::error_code& ec) noexcept {
        if constexpr (has_attendance<mechanism>) {
            memory_.template attend_session<mechanism>(ec);
        }
    }

    // Removes a segment of session lifetime that no process has attached. Returns true if it is
    // gone now; false without an error if a process has it attached.
    [[gnu::cold]] static bool remove_if_deserted(const handle& object,
                                                 std::error_code& ec) noexcept {
        if constexpr (has_attendance<mechanism> && Policies::named) {
            using attendance = typename mechanism::attendance;
            const typename attendance::gate gate(object.native(), lock_kind::exclusive);
            if (!gate) {
                fail_errno(ec, errno, "locking the object, which session lifetime needs");
                return false;
            }
            return !attendance::anybody(object.native()) && object.is_named_so() &&
                   handle::remove(object.name(), ec);
        } else {
            return false;
        }
    }

    // Replaces a segment of session lifetime while neither it nor the new one in its place can be
    // removed for lack of users. Returns false if there is none.
    [[gnu::cold]] bool replace_session(std::error_code& ec) noexcept {
        if constexpr (has_attendance<mechanism> && Policies::named) {
            for (;;) {
                std::error_code unknown;
                const report_keeper keeper;
                object_status status{};
                const handle old =
                    handle::open(object_.name(), access_mode::writing, status, unknown);
                const facts found = unknown ? facts() : peek(old, status, unknown);
                if (unknown || found.life != lifetime::session) {
                    return false;
                }
                const typename mechanism::attendance::gate gate(old.native(), lock_kind::exclusive);
                if (old.is_named_so()) {
                    object_.publish(publication::replace, ec);
                    return true;
                }
            }
        } else {
            return false;
        }
    }

    // Called before a new segment is made: is the name free? A segment whose session is over is
    // removed.
    [[gnu::cold]] static void clear_the_way(std::string_view name, std::error_code& ec) noexcept {
        if constexpr (Policies::named) {
            std::error_code unknown;
            handle object;
            facts found;
            {
                const report_keeper keeper;
                object_status status{};
                object = handle::open(name, access_mode::writing, status, unknown);
                if (!unknown) {
                    found = peek(object, status, unknown);
                }
            }
            if (!object) {
                // Absent, or not this process's to judge: publishing will find out.
                if (unknown == errc::invalid_name) {
                    static_cast<void>(
                        handle::open(name, access_mode::writing, ec)); // reports the reason
                }
            } else if (unknown || found.life != lifetime::session ||
                       (!remove_if_deserted(object, ec) && !ec)) {
                fail(ec, errc::already_exists);
            }
        }
    }

    // Has other code closed the native handle?
    [[gnu::cold]] [[nodiscard]] bool is_lost(const handle& object) const noexcept {
        std::error_code ec;
        const object_status found = object.status(ec);
        return ec == std::errc::bad_file_descriptor || (!ec && !memory_.is_of(found));
    }

    // Then finds the object by its name, if that still leads to it.
    [[gnu::cold]] void find_again() noexcept {
        if constexpr (Policies::named) {
            std::error_code ec;
            handle again = handle::open(object_.name(), access_mode::writing, ec);
            if (!ec && !is_lost(again)) {
                object_ = std::move(again);
            }
        }
    }

    [[gnu::cold]] void detach() noexcept {
        switch (std::exchange(state_, state::detached)) {
        case state::unpublished:
            memory_ = {};
            object_.abandon();
            break;
        case state::attached: {
            const report_keeper keeper;
            // A forked child that has not used the segment has only inherited a handle.
            const bool session = memory_.attends_session();
            if (is_lost(object_)) {
                static_cast<void>(object_.release()); // this process must not close it
                if (session) {
                    find_again();
                }
            }
            memory_ = {};
            if (session && object_) {
                std::error_code ignored;
                remove_if_deserted(object_, ignored);
            }
            break;
        }
        case state::detached:
            break;
        }
    }

    handle object_;
    segment_memory memory_;
    access_mode how_ = access_mode::writing;
    state state_ = state::detached;
};

template <class Policies>
class segment_observers {
  public:
    using mechanism_type = typename Policies::mechanism;
    using native_handle_type = typename Policies::mechanism::native_handle_type;

    /// Is a segment attached?
    explicit operator bool() const noexcept { return static_cast<bool>(base_); }

    /// The name as it was given; empty for unnamed and adopted segments.
    [[nodiscard]] const std::string& name() const noexcept { return base_.object().name(); }

    /// Stays owned by this handle.
    [[nodiscard]] const native_handle_type& native_handle() const noexcept {
        return base_.object().native();
    }

    /// Bytes that are published and backed by real memory now. All three sizes are 0 for an empty
    /// handle.
    [[nodiscard]] std::size_t size() const noexcept {
        return *this ? static_cast<std::size_t>(
                           base_.memory().header().size.load(std::memory_order_acquire))
                     : 0;
    }

    /// Bytes that the segment can grow to: its reserve.
    [[nodiscard]] std::size_t capacity() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().header().reserve) : 0;
    }

    /// Bytes allocated on the heap, for objects, their names and their elements. A block is 16
    /// bytes larger than needed where these would be too small for a block of their own, so the
    /// same objects need not always take the same number of bytes.
    [[nodiscard]] std::size_t used() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().heap_here().used()) : 0;
    }

    /// Does the name stay until it is removed, or go with the last process?
    [[nodiscard]] enum lifetime lifetime() const noexcept {
        return *this ? static_cast<enum cohold::lifetime>(base_.memory().header().life)
                     : cohold::lifetime::persistent;
    }

    /// Has the name been removed, or been given to another segment (replace)? The memory stays
    /// valid for processes that have it.
    [[nodiscard]] bool is_removed() const noexcept { return base_.object().is_removed(); }

    /// The processes that use the segment, and whether they are alive. A forked child is listed as
    /// soon as it has used the segment itself. Readers are not listed. *Complexity*: a system call
    /// for each.
    [[nodiscard]] participant_list participants() const {
        return *this ? list_participants(base_.memory().header()) : participant_list();
    }

    /// Where the segment is mapped in this process, with the bytes that exist now: to get huge
    /// pages, to lock it, to examine it … Empty for an empty handle.
    [[nodiscard]] memory_mapping mapping() const noexcept { return base_.mapping(); }

  protected:
    segment_observers() = default;

    explicit segment_observers(segment_base<Policies>&& base) noexcept : base_(std::move(base)) {}

    // For operations that need a segment. Returns false for an empty handle.
    [[nodiscard]] bool check_attached(std::error_code& ec) const noexcept {
        if (!*this) {
            fail(ec, errc::empty_handle);
        }
        return !ec;
    }

    // For segment and shared: see their recover().
    [[gnu::cold]] std::size_t recover_dead(std::error_code& ec) const noexcept {
        ec.clear();
        return check_attached(ec) ? recover_participants(base_.memory().header(), ec) : 0;
    }

    segment_base<Policies> base_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
