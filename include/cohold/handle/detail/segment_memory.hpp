// A segment as it is mapped into this process: its parts, how they are made and checked, and this
// process's part in it as a participant and as a user of a session.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_SEGMENT_MEMORY_HPP
#define COHOLD_HANDLE_DETAIL_SEGMENT_MEMORY_HPP

#include <ctime>
#include <new>
#include <utility>

#include <cohold/engine/directory.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/policy/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The mapping, behind two private pages: one with the identity as a participant, one with the
// local_mapping.
class segment_memory {
  public:
    static_assert(directory::offset + sizeof(directory) <= reserve_journals::offset);
    static_assert(reserve_journals::offset + sizeof(reserve_journals) == far_slots_offset);
    static_assert(far_slots_offset + 4096 < smallest_segment);

    segment_memory() = default;

    segment_memory(segment_memory&& other) noexcept
        : base_(std::exchange(other.base_, nullptr)), reserve_(other.reserve_),
          only_in_(other.only_in_) {}

    segment_memory& operator=(segment_memory&& other) noexcept {
        segment_memory taken(std::move(other));
        std::swap(base_, taken.base_);
        std::swap(reserve_, taken.reserve_);
        std::swap(only_in_, taken.only_in_);
        return *this;
    }

    ~segment_memory() {
        if (base_ != nullptr) {
            mappings.remove(local_of_this()); // no effect for a read-only mapping
            detach(header());
            unmap(local_of(header()).identity->attendance, page_size());
            // In a forked child that does not have the mapping, something else may be in its place.
            forget_wiped(base_ - front());
            const bool here = only_in_ == 0 || only_in_ == process_stamp();
            unmap(base_ - front(), front() + (here ? static_cast<std::size_t>(reserve_) : 0));
        }
    }

    template <class Mechanism>
    [[gnu::cold]] static segment_memory map(const typename Mechanism::native_handle_type& native,
                                            std::uint64_t reserve, access_mode how,
                                            std::error_code& ec) noexcept {
        return map<Mechanism>(native, reserve, how, {}, ec);
    }

    // The same, where the object's status is not known yet.
    template <class Mechanism>
    [[gnu::cold]] static segment_memory
    map(const typename Mechanism::native_handle_type& native, std::uint64_t reserve,
        access_mode how, const mapping_options& options, std::error_code& ec) noexcept {
        const object_status found = Mechanism::status(native, ec);
        return ec ? segment_memory() : map<Mechanism>(native, found, reserve, how, options, ec);
    }

    // Maps the object and all of its reserve, without looking at it.
    template <class Mechanism>
    [[gnu::cold]] static segment_memory map(const typename Mechanism::native_handle_type& native,
                                            const object_status& found, std::uint64_t wanted,
                                            access_mode how, const mapping_options& options,
                                            std::error_code& ec) noexcept {
        using native_type = typename Mechanism::native_handle_type;
        static_assert(sizeof(native_type) <= sizeof(local_mapping::native) &&
                          alignof(native_type) <= 16 && std::is_trivially_copyable_v<native_type>,
                      "cohold: a mechanism's native handle is a small trivially copyable type");
        std::uint64_t reserve = wanted;
        std::uint64_t unit = page_size();
        find_unit(native, options.huge, unit, reserve);
        // Mostly there is room in front of where the kernel maps the object. If not, or if that
        // fails, the addresses are reserved first.
        char* base = unit > page_size() ? nullptr : map_anywhere<Mechanism>(native, reserve, how);
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
        char* const identity = base - front();
        if (!mapped) {
            Mechanism::map(native, reserve, how, memory.base_, ec);
            if (!ec && !make_writable(identity, front())) {
                fail_errno(ec, errno, "mprotect");
            }
        }
        if (!ec && !wipe_on_fork(identity)) {
            fail_errno(ec, errno, "madvise(MADV_WIPEONFORK)");
        }
        if (!ec) {
            begin_mapping(memory.base_, static_cast<std::size_t>(reserve), options, ec);
        }
        if (ec) {
            memory.base_ = nullptr;
            forget_wiped(identity);
            unmap(identity, front() + static_cast<std::size_t>(reserve));
            return {};
        }
        auto* const local = ::new (memory.base_ - sizeof(local_mapping)) local_mapping{};
        ::new (static_cast<void*>(local->native)) native_type(native);
        local->calls = &calls<Mechanism>;
        local->identity = ::new (static_cast<void*>(identity)) local_identity{};
        local->device = found.device;
        local->inode = found.inode;
        local->reserve = reserve;
        local->length.store(found.size < reserve ? found.size : reserve, std::memory_order_relaxed);
        local->only_in = memory.only_in_;
        if (how == access_mode::writing) {
            mappings.add(*local);
        }
        return memory;
    }

    // Fills a mapped object that is all zero, except for the magic word: ready() adds that.
    template <class Mechanism>
    [[gnu::cold]] void format(const typename Mechanism::native_handle_type& native,
                              std::uint64_t size, std::uint32_t participants, lifetime life,
                              std::string_view full_name, std::error_code& ec) noexcept {
        Mechanism::back(native, base_, 0, size, ec);
        if (ec) {
            return;
        }
        local_of_this().length.store(size, std::memory_order_relaxed);
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

    // The last step of formatting.
    void ready() noexcept { header().magic.store(magic_word(), std::memory_order_release); }

    explicit operator bool() const noexcept { return base_ != nullptr; }

    [[nodiscard]] char* base() const noexcept { return base_; }

    // Becomes a participant. *Errors*: errc::locks_unsupported, too_many_participants, and those of
    // the mechanism's claim.
    void participate(std::error_code& ec) const noexcept {
        std::atomic<bool>& fresh = local_of_this().identity->fresh;
        fresh.store(true, std::memory_order_relaxed);
        static_cast<void>(participant_of(header(), ec));
        fresh.store(false, std::memory_order_relaxed);
    }

    // From now on counts as a user of a session, even without being a participant. Called within
    // the mechanism's gate, or before the segment is published.
    template <class Mechanism>
    [[gnu::cold]] void attend_session(std::error_code& ec) const noexcept {
        const local_mapping& local = local_of(header());
        local.identity->attendance = enter<Mechanism>(native_of<Mechanism>(local), ec);
    }

    // Is this process a user of the session? A forked child is not, until it becomes a participant.
    [[nodiscard]] bool attends_session() const noexcept {
        return local_of(header()).identity->attendance != nullptr;
    }

    // Is this the status of the mapped object? A program that closes all descriptors closes the
    // segment's, and its number may refer to another file by now.
    [[nodiscard]] static bool is_of(const local_mapping& local,
                                    const object_status& found) noexcept {
        return found.device == local.device && found.inode == local.inode;
    }

    [[nodiscard]] bool is_of(const object_status& found) const noexcept {
        return is_of(local_of(header()), found);
    }

    [[nodiscard]] segment_header& header() const noexcept {
        return *reinterpret_cast<segment_header*>(base_);
    }

    [[nodiscard]] heap& heap_here() const noexcept { return heap::of(header()); }

    [[nodiscard]] directory& directory_here() const noexcept {
        return *reinterpret_cast<directory*>(base_ + directory::offset);
    }

  private:
    segment_memory(char* base, std::uint64_t reserve) noexcept : base_(base), reserve_(reserve) {}

    [[gnu::cold]] static std::size_t front() noexcept { return 2 * page_size(); }

    [[nodiscard]] local_mapping& local_of_this() const noexcept {
        return *reinterpret_cast<local_mapping*>(base_ - sizeof(local_mapping));
    }

    // The unit of the mapping's address; and the reserve, if it consists of hugetlb pages.
    template <class Native>
    [[gnu::cold]] static void find_unit(const Native& native, huge_pages how, std::uint64_t& unit,
                                        std::uint64_t& reserve) noexcept {
        if constexpr (std::is_same_v<Native, file_descriptor>) {
            if (const std::uint64_t huge = hugetlb_page(native.value); huge != 0) {
                unit = huge;
                reserve = round_up(reserve, huge);
                return;
            }
        }
        if (how != huge_pages::none) {
            unit = huge_page_bytes;
        }
    }

    // The object, with the two pages before it; nullptr if it cannot be had in this way.
    template <class Mechanism>
    [[gnu::cold]] static char* map_anywhere(const typename Mechanism::native_handle_type& native,
                                            std::uint64_t bytes, access_mode how) noexcept {
        const report_keeper keeper;
        std::error_code ec;
        void* const at = Mechanism::map(native, bytes, how, nullptr, ec);
        if (ec || map_private_at(static_cast<char*>(at) - front(), front())) {
            return ec ? nullptr : static_cast<char*>(at);
        }
        unmap(at, static_cast<std::size_t>(bytes));
        return nullptr;
    }

    template <class Mechanism>
    static const typename Mechanism::native_handle_type&
    native_of(const local_mapping& local) noexcept {
        return *reinterpret_cast<const typename Mechanism::native_handle_type*>(local.native);
    }

    template <class Mechanism>
    [[gnu::cold]] static void back(const local_mapping& local, void* base, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept {
        const lent_native<Mechanism> native(local, "so it cannot grow", ec);
        if (!ec) {
            Mechanism::back(*native, base, from, to, ec);
        }
    }

    [[nodiscard]] static std::string_view name_of(const local_mapping& local) noexcept {
        return reinterpret_cast<const segment_header*>(&local + 1)->name_view();
    }

    // The segment's native handle. A program that closes all descriptors closes it as well, and its
    // number may then refer to another file: in that case this is a new descriptor of the mapped
    // file, which is closed when this object ends.
    template <class Mechanism>
    class lent_native {
      public:
        using native_type = typename Mechanism::native_handle_type;

        [[gnu::cold]] lent_native(const local_mapping& local, const char* consequence,
                                  std::error_code& ec) noexcept
            : native_(native_of<Mechanism>(local)) {
            if (local.identity->fresh.load(std::memory_order_relaxed)) {
                return;
            }
            const object_status found = Mechanism::status(native_, ec);
            if (ec ? ec != std::errc::bad_file_descriptor : is_of(local, found)) {
                return;
            }
            if constexpr (std::is_same_v<native_type, file_descriptor>) {
                again_ = reopen_mapped(&local + 1, static_cast<std::size_t>(local.reserve),
                                       name_of(local), O_RDWR);
                std::error_code unknown;
                if (again_ && is_of(local, Mechanism::status({again_.get()}, unknown)) &&
                    !unknown) {
                    native_ = {again_.get()};
                    clear(ec);
                    return;
                }
            }
            fail(ec, errc::empty_handle,
                 "the segment's native handle was closed by somebody else, %s", consequence);
        }

        [[nodiscard]] const native_type& operator*() const noexcept { return native_; }

      private:
        native_type native_;
        unique_fd again_;
    };

    template <class Mechanism>
    [[gnu::cold]] static void*
    claim(const local_mapping& local, std::uint32_t slot, const liveness_token& present,
          bool (*publish)(void* context, const liveness_token& token) noexcept, void* context,
          std::error_code& ec) noexcept {
        const lent_native<Mechanism> native(local, "so it cannot be attached", ec);
        if (ec) {
            return nullptr;
        }
        const claim_gate<Mechanism> gate(*native, ec); // one at a time, where necessary
        liveness_token token = present;
        void* const page = ec ? nullptr : liveness_of<Mechanism>::claim(*native, slot, token, ec);
        if (page != nullptr && !publish(context, token)) {
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    template <class Mechanism>
    [[gnu::cold]] static verdict probe(const local_mapping& local, std::uint32_t slot,
                                       const liveness_token& token) noexcept {
        const auto& native = native_of<Mechanism>(local);
        const report_keeper keeper;
        std::error_code ec;
        const object_status found = Mechanism::status(native, ec);
        const verdict told = ec || !is_of(local, found)
                                 ? verdict::unknown
                                 : liveness_of<Mechanism>::probe(native, slot, token);
        return told == verdict::unknown ? probe_mapped<Mechanism>(local, slot, token) : told;
    }

    // The same after other code has closed the descriptor: the page that holds this process's lock
    // belongs to the file that holds all of them.
    template <class Mechanism>
    [[gnu::cold]] static verdict probe_mapped(const local_mapping& local, std::uint32_t slot,
                                              const liveness_token& token) noexcept {
        constexpr bool named = std::is_same_v<liveness_of<Mechanism>, file_liveness>;
        if constexpr (named || std::is_same_v<liveness_of<Mechanism>, anonymous_liveness>) {
            const unique_fd again =
                reopen_mapped(local.identity->page, page_size(),
                              named ? name_of(local) : std::string_view(), O_RDONLY);
            std::error_code ec;
            bool same = static_cast<bool>(again);
            if constexpr (named) {
                same = same && is_of(local, Mechanism::status({again.get()}, ec)) && !ec;
            } else {
                same = same && anonymous_liveness::identity(again.get()) ==
                                   native_of<Mechanism>(local).liveness_identity;
            }
            if (same) {
                return file_liveness::probe({again.get()}, slot, token);
            }
        }
        return verdict::unknown;
    }

    template <class Mechanism>
    [[gnu::cold]] static std::uint64_t length(const local_mapping& local) noexcept {
        const report_keeper keeper;
        std::error_code ec;
        const object_status found = Mechanism::status(native_of<Mechanism>(local), ec);
        return ec || !is_of(local, found) ? 0 : found.size;
    }

    // A page for a user of a session, at an address where there is nothing else.
    template <class Mechanism>
    [[gnu::cold]] static void* enter(const typename Mechanism::native_handle_type& native,
                                     std::error_code& ec) noexcept {
        void* const page = reserve_addresses(page_size());
        if (page == nullptr) {
            fail_errno(ec, errno, "mmap");
            return nullptr;
        }
        Mechanism::attendance::enter(native, page, ec);
        if (ec) {
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    template <class Mechanism>
    [[gnu::cold]] static void* attend(const local_mapping& local, std::error_code& ec) noexcept {
        if constexpr (requires { typename Mechanism::attendance; }) {
            // While this is held, no process can find the segment without users and remove it.
            const lent_native<Mechanism> native(local, "so it is no user of the session", ec);
            if (ec) {
                return nullptr;
            }
            const typename Mechanism::attendance::gate gate(*native, lock_kind::shared);
            return enter<Mechanism>(*native, ec);
        } else {
            return nullptr;
        }
    }

    template <class Mechanism>
    static constexpr local_calls calls{&back<Mechanism>, &claim<Mechanism>, &probe<Mechanism>,
                                       &length<Mechanism>, &attend<Mechanism>};

    char* base_ = nullptr;
    std::uint64_t reserve_ = 0;
    std::uint64_t only_in_ =
        0; // the process that has the mapping, if forked children do not have it
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
