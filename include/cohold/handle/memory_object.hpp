// memory_object and const_memory_object, shared bytes without any structure of cohold's; and the
// regions to which they are mapped.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_MEMORY_OBJECT_HPP
#define COHOLD_HANDLE_MEMORY_OBJECT_HPP

#include <cstddef>
#include <span>
#include <utility>

#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/handle/mapping.hpp>
#include <cohold/handle/segment_options.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- regions

/// What a region will be used for: madvise(2).
enum class advice : int {
    normal = MADV_NORMAL,
    random = MADV_RANDOM,
    sequential = MADV_SEQUENTIAL,
    will_need = MADV_WILLNEED,
    huge_pages = MADV_HUGEPAGE,
    no_huge_pages = MADV_NOHUGEPAGE,
    no_dump = MADV_DONTDUMP,
    no_fork = MADV_DONTFORK,
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
    void sync() const {
        std::error_code ec;
        sync(ec);
        raise_if(ec);
    }

    void sync(std::error_code& ec) const noexcept {
        const error_context context("sync", "region", "");
        ec.clear();
        write_back(address_, 0, size_, ec);
    }

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

    void unlock() const noexcept { unlock_pages(address_, size_); }

  private:
    void* address_ = nullptr;
    std::size_t size_ = 0;
    // The process that has the mapping, if forked children do not have it.
    mutable std::uint64_t only_in_ = 0;
};

} // namespace detail

/// A mapping for reading and writing, from memory_object::map(). Unmapped by the destructor;
/// independent of the handle that made it. *Thread safety*: several threads may call const members.
class mapped_region : public detail::basic_region<std::byte> {
  public:
    using basic_region::basic_region;
};

/// A mapping for reading, from map(read_only): it gives access to const bytes only.
class const_mapped_region : public detail::basic_region<const std::byte> {
  public:
    using basic_region::basic_region;
};

namespace detail {

// ---- what does not depend on the types of the policies

struct mapped_bytes {
    void* address = nullptr;
    std::size_t size = 0;
    std::uint64_t only_in = 0; // the process that has the mapping, if forked children do not
};

// A new object, published and backed by real memory.
[[gnu::cold]] object_handle make_object(const object_policies& of, std::string_view name,
                                        const segment_options& options,
                                        std::error_code& ec) noexcept;

[[gnu::cold]] object_handle open_object(const object_policies& of, std::string_view name,
                                        access_mode how, std::error_code& ec) noexcept;

[[gnu::cold]] object_handle adopt_object(const object_policies& of, const void* native,
                                         std::error_code& ec) noexcept;

[[gnu::cold]] bool remove_object(const object_policies& of, std::string_view name,
                                 std::error_code& ec) noexcept;

[[gnu::cold]] void grow_object(const object_handle& object, std::size_t size,
                               std::error_code& ec) noexcept;

// The whole object; nothing after an error.
[[gnu::cold]] mapped_bytes map_object(const object_handle& object, access_mode how,
                                      const mapping_options& options, std::error_code& ec) noexcept;

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
        return open_object(Policies::data(), name, how, ec);
    }

    static object_handle adopted(const native_handle_type& native, std::error_code& ec) noexcept {
        return adopt_object(Policies::data(), &native, ec);
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
/// memory_object<…>::open(name, read_only).
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class const_memory_object
    : public detail::object_base<detail::policies<Mechanism, Naming, Permission>> {
    using base = detail::object_base<detail::policies<Mechanism, Naming, Permission>>;

    using policies = detail::policies<Mechanism, Naming, Permission>;

  public:
    using typename base::native_handle_type;

    const_memory_object() = default;

    /// The same as memory_object<…>::open(name, read_only).
    [[nodiscard]] static const_memory_object open(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static const_memory_object open(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return const_memory_object(base::opened(name, access_mode::reading, ec));
    }

    /// Waits until the name exists, like segment::open.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard]] static auto open(name_argument name, const Duration& patience, Rest&&... rest) {
        return detail::open_within<const_memory_object>(name, patience,
                                                        std::forward<Rest>(rest)...);
    }

    /// From a native handle that was obtained in another way; it may be read-only. On failure it is
    /// closed.
    [[nodiscard]] static const_memory_object adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static const_memory_object adopt(native_handle_type native,
                                                   std::error_code& ec) noexcept {
        return const_memory_object(base::adopted(native, ec));
    }

  private:
    explicit const_memory_object(detail::object_handle&& object) noexcept
        : base(std::move(object)) {}
};

/// A shared object of the kernel: bytes with a name, an owner, a mode and a size. For typed data
/// see segment and shared.
///
/// Each factory has two forms: one throws cohold::failure, one takes std::error_code& and returns
/// an empty handle, with the details in last_failure(). Named mechanisms: create, open,
/// open_or_create, remove; unnamed: create. *If the process is killed* in a factory, there is the
/// whole object or none.
///
/// *Thread safety*: several threads may call const members at the same time.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class memory_object : public detail::object_base<detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::object_base<policies>;

  public:
    using typename base::native_handle_type;
    using read_only_type = const_memory_object<Mechanism, Naming, Permission>;

    memory_object() = default;

    /// A new object of `size` bytes, all zero and backed by real memory. Of the options, size,
    /// group, seals and hugetlb pages apply to raw objects (the others are for map()). *Errors*:
    /// errc::already_exists, invalid_name, invalid_size, invalid_options, out_of_space,
    /// permission_denied, no_such_directory, not_on_tmpfs.
    [[nodiscard]] static memory_object create(name_argument name, const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard]] static memory_object create(name_argument name, const segment_options& options,
                                              std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return make(name, options, ec);
    }

    [[nodiscard]] static memory_object create(name_argument name, std::size_t size)
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size});
    }

    [[nodiscard]] static memory_object create(name_argument name, std::size_t size,
                                              std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size}, ec);
    }

    static memory_object create(name_argument, std::initializer_list<decltype(nullptr)>) = delete;

    [[nodiscard]] static memory_object create(const segment_options& options)
        requires detail::has_no_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(options, ec); });
    }

    [[nodiscard]] static memory_object create(const segment_options& options,
                                              std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return make({}, options, ec);
    }

    [[nodiscard]] static memory_object create(std::size_t size)
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size});
    }

    [[nodiscard]] static memory_object create(std::size_t size, std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size}, ec);
    }

    /// An existing object. *Errors*: errc::not_found, symlink_refused, directory_refused,
    /// special_file_refused, unexpected_owner, wider_permission, permission_denied.
    [[nodiscard]] static memory_object open(name_argument name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static memory_object open(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return memory_object(base::opened(name, access_mode::writing, ec));
    }

    [[nodiscard]] static memory_object open(name_argument name, read_write_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard]] static memory_object open(name_argument name, read_write_t,
                                            std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    /// For reading only: another type, through whose mappings nothing can be written.
    [[nodiscard]] static read_only_type open(name_argument name, read_only_t)
        requires detail::has_names<policies>
    {
        return read_only_type::open(name);
    }

    [[nodiscard]] static read_only_type open(name_argument name, read_only_t,
                                             std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, ec);
    }

    /// Waits until the name exists, like segment::open.
    template <detail::duration_like Duration, class... Rest>
        requires detail::has_names<policies>
    [[nodiscard]] static auto open(name_argument name, const Duration& patience, Rest&&... rest) {
        return detail::open_within<memory_object>(name, patience, std::forward<Rest>(rest)...);
    }

    /// The existing object, whatever its size, or a new one. Any number of processes may race: all
    /// get the same object.
    [[nodiscard]] static memory_object open_or_create(name_argument name,
                                                      const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard]] static memory_object
    open_or_create(name_argument name, const segment_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        for (;;) {
            memory_object object = open(name, ec);
            if (ec != errc::not_found) {
                return object;
            }
            object = create(name, options, ec);
            if (ec != errc::already_exists) {
                return object;
            }
        }
    }

    [[nodiscard]] static memory_object open_or_create(name_argument name, std::size_t size)
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size});
    }

    [[nodiscard]] static memory_object open_or_create(name_argument name, std::size_t size,
                                                      std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size}, ec);
    }

    static memory_object open_or_create(name_argument,
                                        std::initializer_list<decltype(nullptr)>) = delete;

    /// Removes the name; processes that have the object open keep it. Returns false if there was no
    /// such name.
    static bool remove(name_argument name)
        requires detail::has_names<policies>
    {
        std::error_code ec;
        const bool removed = remove(name, ec);
        detail::raise_if(ec);
        return removed;
    }

    static bool remove(name_argument name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return detail::remove_object(policies::data(), name, ec);
    }

    /// Takes ownership of a native handle that was obtained in another way, e.g. over a socket. On
    /// failure it is closed.
    [[nodiscard]] static memory_object adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static memory_object adopt(native_handle_type native,
                                             std::error_code& ec) noexcept {
        return memory_object(base::adopted(native, ec));
    }

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
    explicit memory_object(detail::object_handle&& object) noexcept : base(std::move(object)) {}

    static memory_object make(std::string_view name, const segment_options& options,
                              std::error_code& ec) noexcept {
        return memory_object(detail::make_object(policies::data(), name, options, ec));
    }
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/memory_object.ipp>
#endif

#endif
