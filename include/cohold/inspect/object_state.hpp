// object_fact and object_holder: what the objects of the library say of themselves, without their
// types: how full a queue is, the holders of locks, loans and messages.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_OBJECT_STATE_HPP
#define COHOLD_INSPECT_OBJECT_STATE_HPP

#include <string_view>
#include <vector>

#include <cohold/engine/words.hpp>
#include <cohold/inspect/heap_map.hpp>

COHOLD_NAMESPACE_BEGIN

/// A number that an object keeps: "size", "capacity", "closed" (0 or 1), "consumers wait" …
struct object_fact {
    std::string_view what{}; ///< its name
    std::uint64_t value = 0; ///< flags are 0 or 1

    /// Both members are the same.
    friend bool operator==(const object_fact&, const object_fact&) = default;
};

/// A process that has something of an object in hands: a lock, loans, messages, calls.
struct object_holder {
    std::string_view what{}; ///< "lock", "reader", "loans", "messages", "calls", "producer" …
    std::uint64_t count = 0; ///< how many of them
    pid_t pid = 0;           ///< 0: it is attached no more
    std::uint32_t slot = 0;  ///< of the participant
    verdict state = verdict::unknown; ///< dead: also if it has been recovered since

    /// All members are the same.
    friend bool operator==(const object_holder&, const object_holder&) = default;
};

/// The state of an object of one of the library's types; empty for other types. While processes
/// work, its numbers may be of different moments.
struct object_state {
    std::vector<object_fact> facts{};     ///< in a fixed order for each type
    std::vector<object_holder> holders{}; ///< one for each process and kind

    /// The value of a fact; 0 if there is none of that name.
    [[nodiscard, gnu::cold]] std::uint64_t operator[](std::string_view what) const noexcept;
};

namespace detail {

// Reads the words that docs/layout.md describes, whatever they are: what leads out of the segment
// is 0, and loops end at the latest where the segment does.
class object_reader {
  public:
    object_reader(segment_reader& segment, const segment_state& state) noexcept
        : segment_(segment), state_(state) {}

    // `type`: its description, or the beginning of it.
    [[gnu::cold]] object_state read(std::string_view type, std::uint64_t offset);

  private:
    [[nodiscard]] std::uint64_t word(std::uint64_t field) noexcept {
        return segment_.word(at_ + field);
    }

    [[nodiscard]] std::uint32_t half(std::uint64_t field) noexcept { return half_at(at_ + field); }

    [[nodiscard, gnu::cold]] std::uint32_t half_at(std::uint64_t place) noexcept;

    // Where the offset_ptr leads to, or 0.
    [[nodiscard, gnu::cold]] std::uint64_t pointer(std::uint64_t field) noexcept;

    [[gnu::cold]] void fact(std::string_view what, std::uint64_t value);

    [[gnu::cold]] void waits(std::string_view what, std::uint64_t field);

    // The process that an owner word names.
    [[gnu::cold]] void held(std::string_view what, std::uint64_t owner, std::uint64_t count = 1);

    [[gnu::cold]] void held_by(std::string_view what, std::uint32_t slot, bool is_gone,
                               std::uint64_t count);

    [[gnu::cold]] void lock(std::string_view what, std::uint64_t field);

    [[gnu::cold]] void read_container(std::string_view name);
    [[gnu::cold]] void read_queue();
    [[gnu::cold]] std::uint64_t queue_size();
    [[gnu::cold]] void read_messages();
    [[gnu::cold]] void read_pool();
    [[gnu::cold]] void read_service();
    [[gnu::cold]] void read_signal(std::string_view name);

    segment_reader& segment_;
    const segment_state& state_;
    std::uint64_t at_ = 0;
    object_state out_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/object_state.ipp>
#endif

#endif
