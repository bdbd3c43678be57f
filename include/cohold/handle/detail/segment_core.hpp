// The common parts of segment, segment_view and shared: segment_core, which creates, opens, checks
// and removes a segment, and the observers that all of them have.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_SEGMENT_CORE_HPP
#define COHOLD_HANDLE_DETAIL_SEGMENT_CORE_HPP

#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/handle/detail/segment_memory.hpp>
#include <cohold/handle/heap_statistics.hpp>
#include <cohold/handle/listing.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/handle/segment_options.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The options for the mapping of the process that makes a segment.
[[nodiscard]] inline mapping_options mapping_of(const segment_options& options) noexcept {
    mapping_options wanted = options.mapping;
    wanted.populate = wanted.populate || options.populate;
    return wanted;
}

// A segment of any policies: the object, and its mapping.
class segment_core {
  public:
    explicit segment_core(const object_policies& of) noexcept : object_(of) {}

    segment_core(segment_core&& other) noexcept
        : object_(std::move(other.object_)), memory_(std::move(other.memory_)), how_(other.how_),
          state_(std::exchange(other.state_, state::detached)) {}

    segment_core& operator=(segment_core&& other) noexcept {
        if (this != &other) {
            detach();
            object_ = std::move(other.object_);
            memory_ = std::move(other.memory_);
            how_ = other.how_;
            state_ = std::exchange(other.state_, state::detached);
        }
        return *this;
    }

    ~segment_core() { detach(); }

    // A formatted segment that no other process can open yet. Destroyed without publish(), it
    // leaves nothing behind.
    [[gnu::cold]] static segment_core prepare(const object_policies& of, std::string_view name,
                                              const segment_options& options, publication how,
                                              std::error_code& ec) noexcept;

    [[gnu::cold]] void publish(publication how, std::error_code& ec) noexcept;

    [[gnu::cold]] static segment_core open(const object_policies& of, std::string_view name,
                                           access_mode how, const mapping_options& options,
                                           std::error_code& ec) noexcept;

    // `native`: the address of a native handle.
    [[gnu::cold]] static segment_core adopt(const object_policies& of, const void* native,
                                            access_mode how, const mapping_options& options,
                                            std::error_code& ec) noexcept;

    [[gnu::cold]] static bool remove(const object_policies& of, std::string_view name,
                                     std::error_code& ec) noexcept;

    explicit operator bool() const noexcept { return static_cast<bool>(memory_); }

    [[nodiscard]] const object_handle& object() const noexcept { return object_; }

    [[nodiscard]] const segment_memory& memory() const noexcept { return memory_; }

    // The mapping of the bytes that exist.
    [[nodiscard, gnu::cold]] memory_mapping mapping() const noexcept;

    // Bytes of memory that the kernel has given to the object.
    [[nodiscard, gnu::cold]] std::uint64_t committed() const noexcept;

    // Waits until the file and its name will survive a loss of power.
    [[gnu::cold]] void durable(std::error_code& ec) const noexcept;

  private:
    enum class state { detached, unpublished, attached };

    // The facts that must be known about a segment before it is mapped.
    struct facts {
        std::uint64_t reserve = 0;
        enum lifetime life = lifetime::persistent;
    };

    [[nodiscard]] const object_policies& policies() const noexcept { return object_.policies(); }

    [[nodiscard]] const mechanism_calls& calls() const noexcept { return object_.calls(); }

    [[gnu::cold]] static void measure(const object_policies& of, const segment_options& options,
                                      std::uint64_t& size, std::uint64_t& reserve,
                                      std::error_code& ec) noexcept;

    // Reads and checks the header.
    [[gnu::cold]] static facts peek(const object_handle& object, object_status& status,
                                    std::error_code& ec) noexcept;

    // What a header says, if all of it is good.
    [[gnu::cold]] static facts judge(const object_handle& object, const segment_header& header,
                                     object_status& status, std::error_code& ec) noexcept;

    // The options that can be applied only once the memory exists.
    [[gnu::cold]] void finish(const mapping_options& options, std::error_code& ec) const noexcept;

    // Opens the segment in an object of which the handle is open.
    [[gnu::cold]] void attach(object_status status, access_mode how, const mapping_options& options,
                              std::error_code& ec) noexcept;

    // Maps what exists, without holes.
    [[gnu::cold]] void map(const facts& found, const object_status& status,
                           const mapping_options& options, std::error_code& ec) noexcept;

    [[gnu::cold]] void attach_to_session(const facts& found, const object_status& status,
                                         const mapping_options& options,
                                         std::error_code& ec) noexcept;

    // Removes a segment of session lifetime that no process has attached. Returns true if it is
    // gone now; false without an error if a process has it attached.
    [[gnu::cold]] static bool remove_if_deserted(const object_handle& object,
                                                 std::error_code& ec) noexcept;

    // Replaces a segment of session lifetime while neither it nor the new one in its place can be
    // removed for lack of users. Returns false if there is none.
    [[gnu::cold]] bool replace_session(std::error_code& ec) noexcept;

    // Called before a new segment is made: is the name free? A segment whose session is over is
    // removed.
    [[gnu::cold]] static void clear_the_way(const object_policies& of, std::string_view name,
                                            std::error_code& ec) noexcept;

    // Has other code closed the native handle?
    [[gnu::cold]] [[nodiscard]] bool is_lost(const object_handle& object) const noexcept;

    // Then finds the object by its name, if that still leads to it.
    [[gnu::cold]] void find_again() noexcept;

    [[gnu::cold]] void detach() noexcept;

    object_handle object_;
    segment_memory memory_;
    access_mode how_ = access_mode::writing;
    state state_ = state::detached;
};

// The same with the types of its policies.
template <class Policies>
class segment_base : public segment_core {
  public:
    segment_base() noexcept : segment_core(Policies::data()) {}

    explicit segment_base(segment_core&& core) noexcept : segment_core(std::move(core)) {}

    [[gnu::cold]] static segment_base prepare(std::string_view name, const segment_options& options,
                                              publication how, std::error_code& ec) noexcept {
        return segment_base(segment_core::prepare(Policies::data(), name, options, how, ec));
    }

    [[gnu::cold]] static segment_base open(std::string_view name, access_mode how,
                                           const mapping_options& options,
                                           std::error_code& ec) noexcept {
        return segment_base(segment_core::open(Policies::data(), name, how, options, ec));
    }

    [[gnu::cold]] static segment_base
    adopt(const typename Policies::mechanism::native_handle_type& native, access_mode how,
          const mapping_options& options, std::error_code& ec) noexcept {
        return segment_base(segment_core::adopt(Policies::data(), &native, how, options, ec));
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        return segment_core::remove(Policies::data(), name, ec);
    }
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
        return base_.object().template native<native_handle_type>();
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

    /// Bytes allocated on the heap, for objects, their names and their elements. A block may be
    /// larger than needed, by 16 bytes or up to the next size that slabs have, so the same objects
    /// need not always take the same number of bytes. *Complexity*: linear in the number of slabs.
    [[nodiscard]] std::size_t used() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().heap_here().used()) : 0;
    }

    /// Bytes of memory, or of disk space, that the kernel has given to the segment: size(), less
    /// what trim() has given back. On System V and of anonymous memory, without the pages that are
    /// swapped out. 0 for an empty handle. *System calls*: fstat(2), or mincore(2).
    [[nodiscard]] std::size_t committed() const noexcept {
        return static_cast<std::size_t>(base_.committed());
    }

    /// What is used, by sizes of blocks. All zero for an empty handle. *Complexity*: linear in the
    /// number of slabs. *Thread and process safety*: takes no lock, and does not change anything.
    [[nodiscard]] heap_statistics statistics() const noexcept {
        return *this ? detail::statistics_of(base_.memory().heap_here()) : heap_statistics();
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
    /// soon as it has used the segment itself. Readers are not listed. Throws
    /// std::bad_alloc. *Complexity*: a system call for each.
    [[nodiscard]] participant_list participants() const {
        return *this ? list_participants(base_.memory().header()) : participant_list();
    }

    /// The same: it does not fail, but functions that list have both forms.
    [[nodiscard]] participant_list participants(std::error_code& ec) const {
        ec.clear();
        return participants();
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

#if COHOLD_DEFINED_HERE
#include <cohold/handle/detail/segment_core.ipp>
#endif

#endif
