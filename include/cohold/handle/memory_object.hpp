// memory_object and const_memory_object, shared bytes without any structure of cohold's; and the
// regions to which they are mapped.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MEMORY_OBJECT_HPP
#define COHOLD_HANDLE_MEMORY_OBJECT_HPP

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <cohold/handle/detail/factories.hpp>
#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/system_v.hpp>
#include <cohold/sync/event_descriptor.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- regions

/// What a region will be used for: madvise(2).
enum class advice : int {
    normal = MADV_NORMAL,            ///< nothing special
    random = MADV_RANDOM,            ///< here and there: do not read ahead
    sequential = MADV_SEQUENTIAL,    ///< from the beginning to the end: read ahead
    will_need = MADV_WILLNEED,       ///< soon: read it now
    huge_pages = MADV_HUGEPAGE,      ///< give it huge pages where that is possible
    no_huge_pages = MADV_NOHUGEPAGE, ///< give it none
    no_dump = MADV_DONTDUMP,         ///< leave it out of core dumps
    no_fork = MADV_DONTFORK,         ///< a forked child does not have it
};

namespace detail {

// Owns a mapping; Byte is std::byte or const std::byte.
template <class Byte>
class basic_region {
  public:
    basic_region() = default;

    basic_region(basic_region&& other) noexcept
        : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)),
          only_in_(other.only_in_) {}

    basic_region& operator=(basic_region&& other) noexcept {
        basic_region taken(std::move(other));
        std::swap(address_, taken.address_);
        std::swap(size_, taken.size_);
        std::swap(only_in_, taken.only_in_);
        return *this;
    }

    ~basic_region() {
        // In a forked child that does not have the mapping, something else may be in its place.
        if (only_in_ == 0 || only_in_ == process_stamp()) {
            native_events::end(address_, size_);
            unmap(address_, size_);
        }
    }

    // Takes over a mapping that the caller has made.
    basic_region(void* address, std::size_t size, std::uint64_t only_in = 0) noexcept
        : address_(address), size_(size), only_in_(only_in) {}

    /// The bytes of the object. Writes are visible to other processes at once, in no particular
    /// order without atomics.
    [[nodiscard]] std::span<Byte> bytes() const noexcept COHOLD_LIFETIMEBOUND {
        return {data(), size_};
    }

    [[nodiscard]] Byte* data() const noexcept COHOLD_LIFETIMEBOUND {
        return static_cast<Byte*>(address_);
    }

    /// In bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    explicit operator bool() const noexcept { return address_ != nullptr; }

    /// For settings and operations on parts: huge pages, NUMA nodes, durability …
    [[nodiscard]] memory_mapping mapping() const noexcept {
        return {address_, size_, !std::is_const_v<Byte>};
    }

    /// Waits until the changed pages of a file are written to its disk; nothing to do for memory.
    /// The same as mapping().durable(). *Errors*: msync(2).
    void durable() const {
        std::error_code ec;
        durable(ec);
        raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept {
        const error_context context("write back", "region", "");
        ec.clear();
        write_back(address_, 0, size_, ec);
    }

    /// As durable(), by the name that other libraries have for it.
    void sync() const { durable(); }

    void sync(std::error_code& ec) const noexcept { durable(ec); }

    /// Tells the kernel what the region will be used for. *Errors*: madvise(2); EINVAL if the
    /// kernel does not know it.
    void advise(advice what) const {
        std::error_code ec;
        advise(what, ec);
        raise_if(ec);
    }

    void advise(advice what, std::error_code& ec) const noexcept {
        if (what == advice::no_fork) {
            __atomic_store_n(&only_in_, process_stamp(), __ATOMIC_RELAXED);
        }
        const error_context context("advise", "region", "");
        ec.clear();
        advise_pages(address_, size_, static_cast<int>(what), ec);
    }

    /// Touches all pages now, so that there are no page faults later. *Errors*: madvise(2); EFAULT
    /// if there is no memory.
    void populate() const {
        std::error_code ec;
        populate(ec);
        raise_if(ec);
    }

    void populate(std::error_code& ec) const noexcept {
        constexpr int how = std::is_const_v<Byte> ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
        const error_context context("populate", "region", "");
        ec.clear();
        advise_pages(address_, size_, how, ec);
    }

    /// Keeps all pages in memory, out of swap, until unlock or unmapping. *Errors*:
    /// errc::lock_limit beyond `ulimit -l`; mlock(2).
    void lock() const {
        std::error_code ec;
        lock(ec);
        raise_if(ec);
    }

    void lock(std::error_code& ec) const noexcept {
        const error_context context("lock", "region", "");
        ec.clear();
        lock_pages(address_, size_, false, ec);
    }

    /// Ends what lock() has begun: the pages may go to swap again.
    void unlock() const noexcept { unlock_pages(address_, size_); }

  private:
    void* address_ = nullptr;
    std::size_t size_ = 0;
    // The process that has the mapping, if forked children do not have it.
    alignas(8) mutable std::uint64_t only_in_ = 0;
};

} // namespace detail

/// A mapping for reading and writing, from memory_object::map(). Unmapped by the destructor;
/// independent of the handle that made it. *Complexity*: constant to reach the bytes; a system call
/// for each other operation. *Thread safety*: several threads may call const members. *If the
/// process is killed*: its mapping ends with it; the bytes are as it has left them.
class mapped_region : public detail::basic_region<std::byte> {
  public:
    using basic_region::basic_region;
};

/// A mapping for reading, from map(read_only): it gives access to const bytes only. *Complexity*,
/// *thread safety* and what is left *if the process is killed*: as for mapped_region.
class const_mapped_region : public detail::basic_region<const std::byte> {
  public:
    using basic_region::basic_region;
};

// ---- objects

/// For `memory_object<mechanism::memfd>::create({.size = 1 << 20, .seals = seal::shrink})`.
struct object_options {
    /// Bytes, all of them backed by real memory. There is no default.
    std::size_t size = 0;
    /// The group that the object will belong to, for permission::group and group_read. None: the
    /// kernel's choice.
    std::optional<gid_t> group = std::nullopt;
    /// huge_pages::hugetlb_2m or hugetlb_1g: the object consists of pages from the machine's pool,
    /// and `size` is rounded up to whole ones. The other kinds are for map().
    enum huge_pages huge = huge_pages::none;
    /// The operations that no process can perform on a memfd once it is made. Not for other
    /// mechanisms: errc::unsupported.
    seal seals = seal::none;
};

namespace detail {

// ---- the part that does not depend on the types of the policies

struct mapped_bytes {
    void* address = nullptr;
    std::size_t size = 0;
    std::uint64_t only_in = 0; // the process that has the mapping, if forked children do not
};

// A new object, backed by real memory, that has no name yet. Empty after an error.
[[gnu::cold]] object_handle prepare_object(const object_policies& of, std::string_view name,
                                           const object_options& options,
                                           std::error_code& ec) noexcept;

[[gnu::cold]] void grow_object(const object_handle& object, std::size_t size,
                               std::error_code& ec) noexcept;

// The whole object; nothing after an error.
[[gnu::cold]] mapped_bytes map_object(const object_handle& object, access_mode how,
                                      const mapping_options& options, std::error_code& ec) noexcept;

template <class Policies>
struct object_forms {
    static constexpr bool named = Policies::named;
    static constexpr std::string_view label = Policies::mechanism::label;
    static constexpr bool has_default = false;
    static constexpr bool has_contents = false;
    static constexpr bool replaces = false;

    using options = object_options;
    using number = std::size_t; // its size
    using opening = no_opening;
    using native_handle_type = typename Policies::mechanism::native_handle_type;

    static object_options from(std::size_t size) noexcept { return {.size = size}; }

    static no_opening opening_of(const object_options& /*wanted*/) noexcept { return {}; }
};

// What handles for reading and for writing share.
template <class Policies>
class object_base {
  public:
    using mechanism_type = typename Policies::mechanism;
    using native_handle_type = typename mechanism_type::native_handle_type;

    explicit operator bool() const noexcept { return static_cast<bool>(object_); }

    /// The name as it was given; empty for unnamed and adopted objects.
    [[nodiscard]] const std::string& name() const noexcept { return object_.name(); }

    /// Stays owned by this object.
    [[nodiscard]] const native_handle_type& native_handle() const noexcept {
        return object_.template native<native_handle_type>();
    }

    /// Releases the native handle to the caller; this handle becomes empty.
    [[nodiscard]] native_handle_type release() noexcept {
        const native_handle_type native = native_handle();
        object_.release();
        return native;
    }

    /// What the kernel knows about the object. *Errors*: fstat(2), shmctl(2); errc::empty_handle.
    [[nodiscard]] object_status status() const {
        std::error_code ec;
        const object_status found = status(ec);
        raise_if(ec);
        return found;
    }

    [[nodiscard]] object_status status(std::error_code& ec) const noexcept {
        const error_context context("status of", mechanism_type::label, name());
        ec.clear();
        return object_.status(ec);
    }

    /// In bytes; 0 for an empty handle.
    [[nodiscard]] std::uint64_t size() const noexcept {
        const detail::report_keeper keeper;
        std::error_code ec;
        return object_.status(ec).size;
    }

    /// Has the name been removed, or been given to another object?
    [[nodiscard]] bool is_removed() const noexcept { return object_.is_removed(); }

    /// A mapping of the whole object for reading. *Errors*: errc::invalid_size if it has no bytes;
    /// mmap(2), shmat(2).
    [[nodiscard]] const_mapped_region map(read_only_t) const {
        std::error_code ec;
        const_mapped_region region = map(read_only, ec);
        raise_if(ec);
        return region;
    }

    [[nodiscard]] const_mapped_region map(read_only_t, std::error_code& ec) const noexcept {
        return map_as<const_mapped_region>(access_mode::reading, {}, ec);
    }

    /// The same, with options. *Errors*: also errc::lock_limit, unsupported; hugetlb pages are
    /// requested when an object is created.
    [[nodiscard]] const_mapped_region map(read_only_t, const mapping_options& options) const {
        return thrown([&](std::error_code& ec) { return map(read_only, options, ec); });
    }

    [[nodiscard]] const_mapped_region map(read_only_t, const mapping_options& options,
                                          std::error_code& ec) const noexcept {
        return map_as<const_mapped_region>(access_mode::reading, options, ec);
    }

  protected:
    object_base() noexcept : object_(Policies::data()) {}

    explicit object_base(object_handle&& object) noexcept : object_(std::move(object)) {}

    static object_handle opened(std::string_view name, access_mode how,
                                std::error_code& ec) noexcept {
        object_status found{};
        return object_handle::open(Policies::data(), name, how, found, ec);
    }

    static object_handle adopted(const native_handle_type& native, std::error_code& ec) noexcept {
        return object_handle::adopt(Policies::data(), &native, ec);
    }

    template <class Region>
    Region map_as(access_mode how, const mapping_options& options,
                  std::error_code& ec) const noexcept {
        const mapped_bytes made = map_object(object_, how, options, ec);
        return Region(made.address, made.size, made.only_in);
    }

    object_handle object_;
};

} // namespace detail

/// A shared object opened for reading: it maps to const bytes only. From
/// `memory_object<…>::open(name, read_only)`. *Errors*, *complexity*, *thread safety* and what is
/// left *if the process is killed*: as for memory_object.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class const_memory_object
    : public detail::object_base<detail::policies<Mechanism, Naming, Permission>>,
      public detail::view_factories<
          const_memory_object<Mechanism, Naming, Permission>,
          detail::object_forms<detail::policies<Mechanism, Naming, Permission>>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::object_base<policies>;

  public:
    const_memory_object() = default;

    using base::map;

    /// As map(read_only): there is no other way here. *Errors*: as there.
    [[nodiscard]] const_mapped_region map() const { return map(read_only); }

    [[nodiscard]] const_mapped_region map(std::error_code& ec) const noexcept {
        return map(read_only, ec);
    }

    [[nodiscard]] const_mapped_region map(const mapping_options& options) const {
        return map(read_only, options);
    }

    [[nodiscard]] const_mapped_region map(const mapping_options& options,
                                          std::error_code& ec) const noexcept {
        return map(read_only, options, ec);
    }

  private:
    friend detail::factory_access;

    explicit const_memory_object(detail::object_handle&& object) noexcept
        : base(std::move(object)) {}

    static const_memory_object attach(std::string_view name, detail::no_opening,
                                      std::error_code& ec) noexcept {
        return const_memory_object(base::opened(name, access_mode::reading, ec));
    }

    static const_memory_object attach(const typename base::native_handle_type& native,
                                      detail::no_opening, std::error_code& ec) noexcept {
        return const_memory_object(base::adopted(native, ec));
    }
};

/// A shared object of the kernel: bytes with a name, an owner, a mode and a size. For typed data
/// see segment and shared.
///
/// Each factory and operation has two forms: one throws cohold::failure, one takes std::error_code&
/// as the last argument and returns an empty handle, with the details in last_failure(). Named
/// mechanisms: create, open, open_or_create, remove; unnamed: create; all: adopt. *If the process
/// is killed* in a factory, there is the whole object or none. *Complexity*: a few system calls for
/// each operation; creating an object reserves its bytes, which takes the longer the more there
/// are.
///
/// *Thread safety*: several threads may call const members at the same time.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class memory_object : public detail::object_base<detail::policies<Mechanism, Naming, Permission>>,
                      public detail::factories<
                          memory_object<Mechanism, Naming, Permission>,
                          detail::object_forms<detail::policies<Mechanism, Naming, Permission>>,
                          const_memory_object<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::object_base<policies>;

  public:
    using read_only_type = const_memory_object<Mechanism, Naming, Permission>;

    memory_object() = default;

    /// Makes the object `size` bytes long; does nothing if it is already. Existing mappings do not
    /// see the new bytes. *Errors*: errc::out_of_space; unsupported where objects cannot grow
    /// (System V, anonymous).
    void grow(std::size_t size) const {
        std::error_code ec;
        grow(size, ec);
        detail::raise_if(ec);
    }

    void grow(std::size_t size, std::error_code& ec) const noexcept {
        detail::grow_object(this->object_, size, ec);
    }

    using base::map;

    /// A mapping of the whole object. *Errors*: errc::invalid_size if it has no bytes; mmap(2),
    /// shmat(2).
    [[nodiscard]] mapped_region map() const {
        std::error_code ec;
        mapped_region region = map(ec);
        detail::raise_if(ec);
        return region;
    }

    [[nodiscard]] mapped_region map(std::error_code& ec) const noexcept {
        return this->template map_as<mapped_region>(access_mode::writing, {}, ec);
    }

    /// The same, with options. *Errors*: also errc::lock_limit, unsupported; hugetlb pages are
    /// requested when an object is created.
    [[nodiscard]] mapped_region map(const mapping_options& options) const {
        return detail::thrown([&](std::error_code& ec) { return map(options, ec); });
    }

    [[nodiscard]] mapped_region map(const mapping_options& options,
                                    std::error_code& ec) const noexcept {
        return this->template map_as<mapped_region>(access_mode::writing, options, ec);
    }

  private:
    friend detail::factory_access;

    // An object that has no name yet. Destroyed without publish(), it leaves nothing behind.
    class draft {
      public:
        draft(std::string_view name, const object_options& options, publication /*how*/,
              std::error_code& ec) noexcept
            : made_(detail::prepare_object(policies::data(), name, options, ec)) {}

        draft(const draft&) = delete;
        draft& operator=(const draft&) = delete;

        ~draft() {
            if (made_) {
                made_.abandon();
            }
        }

        void fill(std::error_code& /*ec*/) noexcept {}

        void publish(publication how, std::error_code& ec) noexcept { made_.publish(how, ec); }

      private:
        friend memory_object;

        detail::object_handle made_;
    };

    explicit memory_object(detail::object_handle&& object) noexcept : base(std::move(object)) {}

    explicit memory_object(draft&& made) noexcept : base(std::move(made.made_)) {}

    static memory_object attach(std::string_view name, detail::no_opening,
                                std::error_code& ec) noexcept {
        return memory_object(base::opened(name, access_mode::writing, ec));
    }

    static memory_object attach(const typename base::native_handle_type& native, detail::no_opening,
                                std::error_code& ec) noexcept {
        return memory_object(base::adopted(native, ec));
    }

    static bool erase(std::string_view name, std::error_code& ec) noexcept {
        return detail::object_handle::remove(policies::data(), name, ec);
    }
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/memory_object.ipp>
#endif

#endif
