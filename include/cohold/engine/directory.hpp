// The directory of a segment: its named objects, their types and their places.
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
    std::uint32_t spelling; // own_spelling of the program that made the entry

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

// A hash table with open addressing. A slot is 0 (never used), 1 (erased), or the offset of an
// entry with 16 bits of the name's hash in the highest bits.
struct directory_table {
    alignas(8) std::uint64_t slots; // their number, a power of two
    alignas(8) std::uint64_t used;  // the number of slots that are not 0

    [[nodiscard]] std::atomic<std::uint64_t>& slot(std::uint64_t index) noexcept {
        return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1)[index];
    }
};

// The directory is changed with its lock held, by one store at a time. So readers that have mapped
// the segment read-only and cannot lock find it consistent at any moment: an insertion is one store
// to a slot, an erasure one store and a new version. Changes are part of a section: if the process
// is killed, they are undone.
class directory {
  public:
    static constexpr std::uint64_t offset = (heap::offset + sizeof(heap) + 63) / 64 * 64;
    static constexpr std::size_t max_name = 1023; // bytes
    // The maximum length of a type's name and description. Longer ones are cut, but their hash is
    // that of the full text.
    static constexpr std::size_t max_description = 8191;

    // Held while the directory is changed, and by construct while the object's constructor runs,
    // which may construct further named objects in the same thread. If a section is open and has
    // changed the directory, it keeps the lock until its end. Otherwise rolling it back would
    // overwrite changes that other processes have made meanwhile. If the holder is killed, the next
    // holder undoes its changes. *Errors*: those of attach; errc::out_of_space; errc::section_open,
    // if the thread has changed names in a section that is open in another mapping of the segment.
    class lock {
      public:
        lock(directory& held, std::error_code& ec) noexcept;

        lock(const lock&) = delete;
        lock& operator=(const lock&) = delete;

        ~lock();

        // Must be called before each change.
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
        transaction* keeper_ = nullptr; // the transaction whose section was already open
        bool nested_ = false;
        bool locked_ = false;
        bool changed_ = false;
    };

    [[nodiscard]] static directory& of(segment_header& header) noexcept {
        return *reinterpret_cast<directory*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Might a dead process have left a change unfinished? Then locking succeeds and undoes that
    // change.
    [[nodiscard]] bool is_deserted() const noexcept {
        const owner_word holder = lock_.holder();
        return !same_owner(holder, nobody) &&
               !is_alive(*reinterpret_cast<const segment_header*>(base()), holder);
    }

    [[nodiscard]] static std::uint64_t hash(std::string_view name) noexcept { return hash64(name); }

    // What find copies from an entry while it is certain that the entry is valid.
    struct found_object {
        const directory_entry* entry = nullptr; // nullptr if there is no such name
        std::uint64_t object = 0;
        std::uint64_t bytes = 0;
        std::uint64_t type_hash = 0;
        std::string_view type_name{};
        std::string_view type{}; // the description of the type
        std::uint32_t spelling = 0;
    };

    // Never reads outside the segment, whatever its bytes are. In a section, the result is valid
    // until the section ends. Without one, as in read-only mappings, the object may be destroyed at
    // any time.
    [[nodiscard]] found_object find(std::string_view name) const noexcept;

    // The address of an object that was found; nullptr if it cannot be an object of this segment.
    [[nodiscard]] const void* address(const found_object& found,
                                      std::size_t alignment) const noexcept;

    // Calls visit(entry) for each object. To be called in a section, or on a segment that does not
    // change.
    template <class Visitor>
    void each(const Visitor& visit) const {
        const table_view table = view();
        for (std::uint64_t i = 0; i < table.slots; ++i) {
            if (const seen_entry seen = entry_of(table.load(i)); seen.entry != nullptr) {
                visit(*seen.entry);
            }
        }
    }

    // The contents of an entry, copied from the segment.
    struct entry_copy {
        std::string name{};
        std::string type_name{};
        std::uint64_t bytes = 0;
    };

    // Calls restart(), and then visit(entry_copy&&) for each object. If the table is replaced
    // meanwhile, calls restart() again: everything visited so far must then be forgotten. Needs no
    // section. Objects that exist the whole time are visited once; objects that are made or
    // destroyed meanwhile may be visited or not.
    template <class Restart, class Visitor>
    void each_copy(const Restart& restart, const Visitor& visit) const {
        table_view table;
        std::uint32_t replaced = 0;
        std::uint64_t index = 0;
        bool begun = false;
        // As in find, the limit protects against hostile bytes.
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

    // Makes room for one more name. To be called in a section.
    [[gnu::cold]] void reserve_slot(section& making, std::error_code& ec) noexcept;

    // Makes an entry that is not in the table yet. To be called in a section.
    [[gnu::cold]] directory_entry* make_entry(std::string_view name, const type_descriptor& type,
                                              std::uint64_t object, std::error_code& ec) noexcept;

    // Inserts the entry, which makes it visible to all processes. reserve_slot must have been
    // called before. This commits everything that the section has done, unless it is nested in
    // another section.
    [[gnu::cold]] void insert(directory_entry* entry, section& making,
                              std::error_code& ec) noexcept;

    // Removes the name and frees the entry, but not the object. To be called in a section.
    [[gnu::cold]] void erase(const directory_entry* entry, section& breaking,
                             std::error_code& ec) noexcept;

    [[nodiscard]] segment_header& header() noexcept {
        return *reinterpret_cast<segment_header*>(base());
    }

  private:
    static constexpr std::uint64_t never_used = 0;
    static constexpr std::uint64_t erased = 1;

    // The table for a reader: its bounds have been checked, its slots have not.
    struct table_view {
        const std::uint64_t* first = nullptr;
        std::uint64_t slots = 0;

        [[nodiscard]] std::uint64_t load(std::uint64_t index) const noexcept {
            return __atomic_load_n(static_cast<const aligned_word*>(first + index),
                                   __ATOMIC_ACQUIRE);
        }
    };

    [[nodiscard]] char* base() noexcept { return reinterpret_cast<char*>(this) - offset; }

    [[nodiscard]] const char* base() const noexcept {
        return reinterpret_cast<const char*>(this) - offset;
    }

    // Changes whenever something has been retired or a change has been undone.
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

    // The table, to change it. nullptr without an error if there is none yet.
    [[nodiscard]] directory_table* own_table(std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_damaged(std::uint64_t index, std::error_code& ec) noexcept;

    [[nodiscard]] table_view view() const noexcept;

    // An entry with its texts, whose lengths are read only once, because the bytes of the entry may
    // change at any time.
    struct seen_entry {
        const directory_entry* entry = nullptr;
        std::string_view name{};
        std::string_view type_name{};
        std::string_view description{};
    };

    // The entry that a slot refers to, if all of it lies in the segment.
    [[nodiscard]] seen_entry entry_of(std::uint64_t slot) const noexcept;

    [[nodiscard]] seen_entry probe(std::string_view name, std::uint64_t wanted) const noexcept;

    // A slot for a name with this hash; nullptr if the table is full, which never happens. Counts
    // the slot as used before it is: one too many makes the table grow early, one too few would let
    // it become full.
    static std::atomic<std::uint64_t>* free_slot(directory_table& table,
                                                 std::uint64_t hash) noexcept;

    // After this, what can no longer be reached may be overwritten, because readers notice the new
    // version.
    void retire() noexcept {
        version_.fetch_add(1, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_release); // later writes stay after it
    }

    robust_lock lock_;
    alignas(8) std::atomic<std::uint64_t> version_;
    alignas(8) std::atomic<std::uint64_t> table_;    // its offset; 0: no name yet
    alignas(8) std::atomic<std::uint32_t> replaced_; // how often the table was replaced
};

static_assert(sizeof(directory) == 32);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/directory.ipp>
#endif

#endif
