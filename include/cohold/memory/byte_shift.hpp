// Moving bytes up or down to where they overlap with themselves, so that at every instruction the
// journal knows how to move them back.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_BYTE_SHIFT_HPP
#define COHOLD_MEMORY_BYTE_SHIFT_HPP

#include <cstddef>
#include <cstring>

#include <cohold/memory/journal_record.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The bytes are moved step by step, those first that stand where the others go. A step whose source
// and target overlap is kept in the journal meanwhile: a kill in the middle of it leaves neither
// whole. What has been done is one word, `progress`, and undoing goes the same way back: it keeps
// the same word, so that it can be killed, too, and gone on with by anybody.
//
// In front of the record are the bytes of a step, if they have to be kept, and then these words.
struct shift_words {
    std::uint64_t bytes;                 // how many are moved in all
    std::uint64_t distance;              // by how much, as two's complement: up or down
    std::atomic<std::uint64_t> progress; // offset:63 | held:1

    // Up: from the offset on, all have been moved; down: all before it. If `held`, the step at the
    // offset is in the journal, those that are moved before it have been, and the others have not.

    [[nodiscard]] static shift_words& of(const journal_record& record) noexcept {
        return *reinterpret_cast<shift_words*>(
            const_cast<char*>(reinterpret_cast<const char*>(&record)) - sizeof(shift_words));
    }
};

static_assert(sizeof(shift_words) == 24);

class byte_shift {
  public:
    // With steps as long as the distance, source and target do not overlap, and nothing has to be
    // kept; but short ones are slow.
    static constexpr std::uint64_t least_unkept = 1024;

    // Steps that are kept are a multiple of this, and should begin at one.
    static constexpr std::uint64_t least_kept = 64;

    // There is no record: for bytes that need none, or are saved already.
    byte_shift(char* place, std::uint64_t bytes, std::ptrdiff_t distance) noexcept
        : place_(place), bytes_(bytes), distance_(distance) {}

    // `room`: of the words and what is in front of them. The words may be a dead one's, who may
    // change them still: they are read once.
    byte_shift(char* place, shift_words& words, std::uint64_t room) noexcept
        : byte_shift(place, words, room, words.bytes,
                     static_cast<std::ptrdiff_t>(static_cast<std::int64_t>(words.distance))) {}

    // The same, where it is known what they say.
    byte_shift(char* place, shift_words& words, std::uint64_t room, std::uint64_t bytes,
               std::ptrdiff_t distance) noexcept
        : place_(place), bytes_(bytes), distance_(distance), progress_(&words.progress) {
        if (room >= sizeof words + least_kept) {
            step_ = (room - sizeof words) / least_kept * least_kept;
            kept_ = reinterpret_cast<char*>(&words) - step_;
        } else {
            step_ = length_of(distance_);
        }
    }

    // Does it keep what a step of that distance needs?
    [[nodiscard]] static constexpr bool keeps(std::uint64_t bytes,
                                              std::ptrdiff_t distance) noexcept {
        return length_of(distance) < bytes && length_of(distance) < least_unkept;
    }

    // Of how many bytes, to where: of a dead one's it must be seen whether they are in the segment.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    [[nodiscard]] std::ptrdiff_t distance() const noexcept { return distance_; }

    // Can a dead one have begun that?
    [[nodiscard]] bool is_possible() const noexcept {
        if (bytes_ == 0 || distance_ == 0) {
            return false;
        }
        return kept_ != nullptr || !keeps(bytes_, distance_);
    }

    // For a shift that has not begun: what `progress` is then.
    [[nodiscard]] static constexpr std::uint64_t begin_of(std::uint64_t bytes,
                                                          std::ptrdiff_t distance) noexcept {
        return distance > 0 ? bytes * 2 : 0;
    }

    // For one that is done.
    [[nodiscard]] static constexpr std::uint64_t end_of(std::uint64_t bytes,
                                                        std::ptrdiff_t distance) noexcept {
        return distance > 0 ? 0 : bytes * 2;
    }

    void run() noexcept {
        if (distance_ > 0) {
            std::uint64_t at = bytes_;
            do {
                at = step_before(at);
                take(at, at);
            } while (at != 0);
        } else {
            for (std::uint64_t at = 0; at != bytes_;) {
                const std::uint64_t next = at + size_at(at);
                take(at, next);
                at = next;
            }
        }
    }

    // Moves all back that has been moved.
    [[gnu::cold]] void undo() noexcept {
        if (progress_ == nullptr) {
            undo_at_once();
            return;
        }
        const std::uint64_t begun = progress_->load(std::memory_order_relaxed);
        std::uint64_t at = begun / 2;
        if (at > bytes_) {
            return; // nobody has written that
        }
        if (kept_ != nullptr && begun % 2 != 0) {
            at = give_back(at);
        }
        while (at != (distance_ > 0 ? bytes_ : 0)) {
            const std::uint64_t last = distance_ > 0 ? at : step_before(at);
            if (kept_ != nullptr) {
                move(kept_, place_ + last + distance_, size_at(last));
                note(last, true);
                at = give_back(last);
            } else {
                move(place_ + last, place_ + last + distance_, size_at(last));
                at = without(last);
            }
        }
    }

    // One that is done, without its record: that may be gone.
    [[gnu::cold]] void undo_at_once() noexcept { move(place_, place_ + distance_, bytes_); }

  private:
    [[nodiscard]] static constexpr std::uint64_t length_of(std::ptrdiff_t distance) noexcept {
        return distance > 0 ? static_cast<std::uint64_t>(distance)
                            : std::uint64_t{0} - static_cast<std::uint64_t>(distance);
    }

    // A step begins at a multiple of its length, and the last one may be shorter.
    [[nodiscard]] std::uint64_t step_before(std::uint64_t at) const noexcept {
        return (at - 1) / step_ * step_;
    }

    [[nodiscard]] std::uint64_t size_at(std::uint64_t at) const noexcept {
        return bytes_ - at < step_ ? bytes_ - at : step_;
    }

    // Moves the step; `then`: where the progress is after it.
    void take(std::uint64_t at, std::uint64_t then) noexcept {
        if (kept_ != nullptr) {
            move(kept_, place_ + at, size_at(at));
            note(at, true);
        }
        move(place_ + at + distance_, place_ + at, size_at(at));
        note(then, false);
    }

    // The step that is kept goes to where it was. Where the progress is then.
    std::uint64_t give_back(std::uint64_t at) noexcept {
        move(place_ + at, kept_, size_at(at));
        return without(at);
    }

    std::uint64_t without(std::uint64_t at) noexcept {
        const std::uint64_t then = distance_ > 0 ? at + size_at(at) : at;
        note(then, false);
        return then;
    }

    void note(std::uint64_t at, bool held) noexcept {
        store_in_order(*progress_, at * 2 + (held ? 1 : 0));
    }

    // A dead one's words may say that anything overlaps.
    static void move(char* to, const char* from, std::uint64_t bytes) noexcept {
        std::memmove(to, from, static_cast<std::size_t>(bytes));
    }

    char* place_;
    std::uint64_t bytes_;
    std::ptrdiff_t distance_;
    std::atomic<std::uint64_t>* progress_ = nullptr;
    char* kept_ = nullptr;
    std::uint64_t step_ = 0;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
