// A segment as it is mapped into this process: its parts, how they are made and checked, and this
// process's part in it as a participant and as a user of a session.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_DETAIL_SEGMENT_MEMORY_HPP
#define COHOLD_HANDLE_DETAIL_SEGMENT_MEMORY_HPP

#include <utility>

#include <cohold/engine/directory.hpp>
#include <cohold/handle/mapping.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The mapping, behind a private page with the local_mapping.
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
            unmap_all();
        }
    }

    // Maps the object and all of its reserve, without looking at it. `found`: the object's status.
    [[gnu::cold]] static segment_memory map(const native_object& object, const object_status& found,
                                            std::uint64_t wanted, access_mode how,
                                            const mapping_options& options,
                                            std::error_code& ec) noexcept;

    // The same, where the object's status is not known yet.
    [[gnu::cold]] static segment_memory map(const native_object& object, std::uint64_t reserve,
                                            access_mode how, const mapping_options& options,
                                            std::error_code& ec) noexcept;

    // Fills a mapped object that is all zero, except for the magic word: ready() adds that.
    [[gnu::cold]] void format(std::uint64_t size, std::uint32_t participants, lifetime life,
                              std::string_view full_name, std::error_code& ec) noexcept;

    // The last step of formatting.
    void ready() noexcept { header().magic.store(magic_word(), std::memory_order_release); }

    explicit operator bool() const noexcept { return base_ != nullptr; }

    [[nodiscard]] char* base() const noexcept { return base_; }

    // Becomes a participant. *Errors*: errc::locks_unsupported, too_many_participants, and those of
    // the mechanism's claim.
    [[gnu::cold]] void participate(std::error_code& ec) const noexcept;

    // From now on counts as a user of a session, even without being a participant. Called within
    // the mechanism's gate, or before the segment is published.
    [[gnu::cold]] void attend_session(std::error_code& ec) const noexcept;

    // Is this process a user of the session? A forked child is not, until it becomes a participant.
    [[nodiscard]] bool attends_session() const noexcept {
        return local_of(header()).identity->attendance != nullptr;
    }

    // Is this the status of the mapped object? A program that closes all descriptors closes the
    // segment's, and its number may refer to another file by now.
    [[nodiscard]] bool is_of(const object_status& found) const noexcept {
        return detail::is_of(local_of(header()), found);
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

    [[gnu::cold]] static std::size_t front() noexcept { return page_size(); }

    [[nodiscard]] local_mapping& local_of_this() const noexcept {
        return *reinterpret_cast<local_mapping*>(base_ - sizeof(local_mapping));
    }

    [[nodiscard]] static std::uint64_t aligned_blocks(std::uint64_t reserve) noexcept;

    [[gnu::cold]] static char* map_anywhere(const native_object& object, std::uint64_t bytes,
                                            access_mode how) noexcept;

    [[gnu::cold]] void unmap_all() noexcept;

    char* base_ = nullptr;
    std::uint64_t reserve_ = 0;
    std::uint64_t only_in_ =
        0; // the process that has the mapping, if forked children do not have it
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/detail/segment_memory.ipp>
#endif

#endif
