// The directory of a segment: which named objects it holds, of which types, and where.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_DIRECTORY_HPP
#define COHOLD_ENGINE_DIRECTORY_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <cohold/engine/section.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// One named object. Its name, its type's name and its type's description follow.
struct directory_entry {
    alignas(8) std::uint64_t name_hash;
    alignas(8) std::uint64_t object; // offset
    alignas(8) std::uint64_t bytes;
    alignas(8) std::uint64_t type_hash;
    std::uint32_t name_length;
    std::uint32_t type_name_length;
    std::uint32_t description_length;
    std::uint32_t spelling; // own_spelling of the program that made it

    [[nodiscard]] char* text() noexcept { return reinterpret_cast<char*>(this + 1); }

    [[nodiscard]] const char* text() const noexcept {
        return reinterpret_cast<const char*>(this + 1);
    }

    [[nodiscard]] std::string_view name() const noexcept { return {text(), name_length}; }

    [[nodiscard]] std::string_view type_name() const noexcept {
        return {text() + name_length, type_name_length};
    }

    [[nodiscard]] std::string_view description() const noexcept {
        return {text() + name_length + type_name_length, description_length};
    }

    [[nodiscard]] std::uint64_t text_length() const noexcept {
        return std::uint64_t{name_length} + type_name_length + description_length;
    }
};

static_assert(sizeof(directory_entry) == 48);

// A hash table with open addressing. A slot is 0 (never used), 1 (used once), or the offset of an
// entry with 16 bits of the name's hash above it.
struct directory_table {
    alignas(8) std::uint64_t slots; // how many; a power of two
    alignas(8) std::uint64_t used;  // those that are not 0

    [[nodiscard]] std::atomic<std::uint64_t>& slot(std::uint64_t index) noexcept {
        return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1)[index];
    }
};

// Changed under its lock, one store at a time, so that readers who cannot lock, because they have
// mapped the segment read-only, can follow at any moment: an insertion is one store to a slot, an
// erasure one store and a new version. Changes are parts of a section: if the process is killed,
// they are undone.
class directory {
  public:
    static constexpr std::uint64_t offset = (heap::offset + sizeof(heap) + 63) / 64 * 64;
    static constexpr std::size_t max_name = 1023; // bytes
    // Of a type; longer ones are cut, their hash is whole.
    static constexpr std::size_t max_description = 8191;

    // Held by who changes the directory, and by construct while the object's constructor runs; that
    // may construct further named objects, in the same thread. A section that is open keeps it up
    // to its end, once it has changed something: what others made of the table meanwhile would be
    // overwritten when it is undone. If the holder is killed, what it has begun is undone by the
    // next one. *Errors*: those of attach; errc::out_of_space; errc::section_open, if the thread
    // has changed names in a section that is open in another mapping of the segment.
    class lock {
      public:
        lock(directory& held, std::error_code& ec) noexcept;

        lock(const lock&) = delete;
        lock& operator=(const lock&) = delete;

        ~lock();

        // What follows is changed.
        void changes() noexcept {
            for (lock* each = this; each != nullptr; each = each->outer_) {
                each->changed_ = each->changed_ || each->is_of(held_.header());
            }
        }

      private:
        static inline thread_local constinit lock* innermost_ = nullptr;

        [[nodiscard]] bool is_of(const segment_header& header) const noexcept {
            return is_same_segment(held_.header(), header);
        }

        void enter(segment_header& header, owner_word me, std::error_code& ec) noexcept;

        directory& held_;
        lock* outer_;
        thread_record* keeper_ = nullptr; // whose section was open before
        bool nested_ = false;
        bool locked_ = false;
        bool changed_ = false;
    };

    [[nodiscard]] static directory& of(segment_header& header) noexcept {
        return *reinterpret_cast<directory*>(reinterpret_cast<char*>(&header) + offset);
    }

    // May a process that is dead have left something unfinished? The lock is to be had then: who
    // takes it has undone that.
    [[nodiscard]] bool is_deserted() const noexcept {
        const owner_word holder = lock_.holder();
        return !same_owner(holder, nobody) &&
               !is_alive(*reinterpret_cast<const segment_header*>(base()), holder);
    }

    [[nodiscard]] static std::uint64_t hash(std::string_view name) noexcept { return hash64(name); }

    // What find copies out of an entry, while it is sure that the entry is one.
    struct found_object {
        const directory_entry* entry = nullptr; // nullptr: there is no such name
        std::uint64_t object = 0;
        std::uint64_t bytes = 0;
        std::uint64_t type_hash = 0;
        std::string_view type_name{};
        std::string_view type{}; // its description
        std::uint32_t spelling = 0;
    };

    // Never leaves the segment, whatever its bytes are. In a section the result lasts as long as
    // that; without one, as for read-only mappings, the object may be destroyed at any time, as
    // ever.
    [[nodiscard]] found_object find(std::string_view name) const noexcept;

    // The address of an object found; nullptr if none can be there.
    [[nodiscard]] const void* address(const found_object& found,
                                      std::size_t alignment) const noexcept;

    // Calls visit(entry) for each object; in a section, or on a segment that is at rest.
    template <class Visitor>
    void each(const Visitor& visit) const {
        const table_view table = view();
        for (std::uint64_t i = 0; i < table.slots; ++i) {
            if (const seen_entry seen = entry_of(table.load(i)); seen.entry != nullptr) {
                visit(*seen.entry);
            }
        }
    }

    // What an entry says, copied out of the segment.
    struct entry_copy {
        std::string name{};
        std::string type_name{};
        std::uint64_t bytes = 0;
    };

    // Calls visit(entry_copy&&) for each object, and restart() before, and again when everything
    // visited so far shall be forgotten, because the table was replaced meanwhile. Needs no
    // section: what is there all the time is visited once, what comes and goes perhaps.
    template <class Restart, class Visitor>
    void each_copy(const Restart& restart, const Visitor& visit) const {
        table_view table;
        std::uint32_t replaced = 0;
        std::uint64_t index = 0;
        bool begun = false;
        // As in find, the limit is for hostile bytes.
        for (std::uint64_t repeated = 0; repeated < 1000000;) {
            const std::uint64_t version = current_version();
            const table_view now = view();
            const std::uint32_t replaced_now = replaced_.load(std::memory_order_acquire);
            if (!begun || now.first != table.first || replaced_now != replaced) {
                restart();
                table = now;
                replaced = replaced_now;
                index = 0;
                begun = true;
                ++repeated;
            }
            const bool end = index >= now.slots;
            entry_copy copy;
            const seen_entry seen = end ? seen_entry() : entry_of(now.load(index));
            if (seen.entry != nullptr) {
                copy.name = seen.name;
                copy.type_name = seen.type_name;
                copy.bytes = seen.entry->bytes;
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (current_version() != version) {
                ++repeated;
            } else if (end) {
                return;
            } else {
                ++index;
                if (seen.entry != nullptr) {
                    visit(std::move(copy));
                }
            }
        }
    }

    // Room for one more name. In a section.
    [[gnu::cold]] void reserve_slot(section& making, std::error_code& ec) noexcept;

    // A new entry, not yet in the table. In a section.
    [[gnu::cold]] directory_entry* make_entry(std::string_view name, const type_descriptor& type,
                                              std::uint64_t object, std::error_code& ec) noexcept;

    // Shows the entry to everybody; reserve_slot came before. With that, all that has happened in
    // the section stays, unless it is a part of another one.
    [[gnu::cold]] void insert(directory_entry* entry, section& making,
                              std::error_code& ec) noexcept;

    // Takes the name away and frees the entry; the object stays. In a section.
    [[gnu::cold]] void erase(const directory_entry* entry, section& breaking,
                             std::error_code& ec) noexcept;

    [[nodiscard]] segment_header& header() noexcept {
        return *reinterpret_cast<segment_header*>(base());
    }

  private:
    static constexpr std::uint64_t never_used = 0;
    static constexpr std::uint64_t erased = 1;

    // The table as a reader may use it: its bounds are checked, its slots are not.
    struct table_view {
        const std::uint64_t* first = nullptr;
        std::uint64_t slots = 0;

        [[nodiscard]] std::uint64_t load(std::uint64_t index) const noexcept {
            return __atomic_load_n(first + index, __ATOMIC_ACQUIRE);
        }
    };

    [[nodiscard]] char* base() noexcept { return reinterpret_cast<char*>(this) - offset; }

    [[nodiscard]] const char* base() const noexcept {
        return reinterpret_cast<const char*>(this) - offset;
    }

    // Changes whenever something was taken out of use, or a change was undone.
    [[nodiscard]] std::uint64_t current_version() const noexcept {
        return version_.load(std::memory_order_acquire) +
               reinterpret_cast<const segment_header*>(base())->rollbacks.load(
                   std::memory_order_acquire);
    }

    [[nodiscard]] static std::uint64_t slot_of(std::uint64_t place, std::uint64_t hash) noexcept {
        return place | (hash & 0xffff000000000000u);
    }

    [[nodiscard]] std::uint64_t segment_size() const noexcept {
        return bounded_size(*reinterpret_cast<const segment_header*>(base()));
    }

    // For who changes it. nullptr without an error: there is none yet.
    [[nodiscard]] directory_table* own_table(std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_damaged(std::uint64_t index, std::error_code& ec) noexcept;

    [[nodiscard]] table_view view() const noexcept;

    // An entry with its texts, whose lengths were read once: the entry may become other bytes at
    // any time.
    struct seen_entry {
        const directory_entry* entry = nullptr;
        std::string_view name{};
        std::string_view type_name{};
        std::string_view description{};
    };

    // The entry that a slot means, if all of it lies in the segment.
    [[nodiscard]] seen_entry entry_of(std::uint64_t slot) const noexcept;

    [[nodiscard]] seen_entry probe(std::string_view name, std::uint64_t wanted) const noexcept;

    // Where a name of this hash can go; nullptr if the table is full, which it is never. Counts the
    // slot as used first: one too many makes the table grow early, one too few would make it full.
    static std::atomic<std::uint64_t>* free_slot(directory_table& table,
                                                 std::uint64_t hash) noexcept;

    // What was taken out of reach may be overwritten after this: readers notice the new version.
    void retire() noexcept {
        version_.fetch_add(1, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_release); // no later write comes before it
    }

    robust_lock lock_;
    alignas(8) std::atomic<std::uint64_t> version_;
    alignas(8) std::atomic<std::uint64_t> table_;    // offset; 0: no name yet
    alignas(8) std::atomic<std::uint32_t> replaced_; // how often the table was
};

static_assert(sizeof(directory) == 32);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/directory.ipp>
#endif

#endif
