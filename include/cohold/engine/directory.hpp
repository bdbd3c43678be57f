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
        [[gnu::noinline]] lock(directory& held, std::error_code& ec) noexcept
            : held_(held), outer_(innermost_) {
            for (const lock* each = outer_; each != nullptr; each = each->outer_) {
                nested_ = nested_ || each->is_of(held.header());
            }
            innermost_ = this;
            segment_header& header = held.header();
            const owner_word me = participant_of(header, ec);
            if (!ec) {
                enter(header, me, ec);
            }
        }

        lock(const lock&) = delete;
        lock& operator=(const lock&) = delete;

        [[gnu::noinline]] ~lock() {
            innermost_ = outer_;
            if (locked_ &&
                (keeper_ == nullptr || (!changed_ && keeper_->locks.forget_last(&held_.lock_)))) {
                held_.lock_.unlock();
            }
        }

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

        void enter(segment_header& header, owner_word me, std::error_code& ec) noexcept {
            thread_record* const open = open_record(&header);
            for (const thread_record* each = last_opened(); each != nullptr;
                 each = each->next_open) {
                if (each->is_inherited() || !is_same_segment(*each->header, header) ||
                    !each->keeps(&of(*each->header).lock_)) {
                    continue;
                }
                nested_ = true;
                if (each != open) {
                    fail(ec, errc::section_open,
                         "names were changed in a section of another mapping of the segment");
                    return;
                }
            }
            if (nested_) {
                return;
            }
            if (open != nullptr && !open->locks.make_room()) {
                fail(ec, errc::out_of_space, "no memory for what a thread has locked");
                return;
            }
            held_.lock_.lock(me, deadline::never(), [&header, me](owner_word holder) noexcept {
                return bury(header, me, holder);
            });
            locked_ = true;
            keeper_ = open;
            if (open != nullptr) {
                open->keep({&held_.lock_, [](void* kept, thread_record& /*holder*/) noexcept {
                                static_cast<owner_lock*>(kept)->unlock();
                            }});
            }
            // The journals of the dead must say nothing more of an object that is going to be
            // destroyed.
            static_cast<void>(recover_all(header, me));
        }

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
    [[nodiscard]] found_object find(std::string_view name) const noexcept {
        const std::uint64_t wanted = hash(name);
        // Only other processes' progress repeats this; the limit is for hostile bytes.
        for (int attempt = 0; attempt < 1000000; ++attempt) {
            const std::uint64_t version = current_version();
            found_object found;
            if (const seen_entry seen = probe(name, wanted); seen.entry != nullptr) {
                found = {
                    seen.entry,     seen.entry->object, seen.entry->bytes,   seen.entry->type_hash,
                    seen.type_name, seen.description,   seen.entry->spelling};
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (current_version() == version) {
                return found;
            }
        }
        return {};
    }

    // The address of an object found; nullptr if none can be there.
    [[nodiscard]] const void* address(const found_object& found,
                                      std::size_t alignment) const noexcept {
        const std::uint64_t size = segment_size();
        const bool inside = found.object >= offset && found.object <= size &&
                            found.bytes <= size - found.object && found.object % alignment == 0;
        return inside ? base() + found.object : nullptr;
    }

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
    [[gnu::cold]] void reserve_slot(section& making, std::error_code& ec) noexcept {
        directory_table* const table = own_table(ec);
        if (ec) {
            return;
        }
        const std::uint64_t before = table == nullptr ? 0 : table->slots;
        if (table != nullptr && table->used < before && (table->used + 1) * 4 <= before * 3) {
            return;
        }
        std::uint64_t count = 0;
        for (std::uint64_t i = 0; i < before; ++i) {
            const std::uint64_t slot = table->slot(i).load(std::memory_order_relaxed);
            if (slot > erased && entry_of(slot).entry == nullptr) {
                fail_damaged(i, ec);
                return;
            }
            count += slot > erased ? 1u : 0u;
        }
        const std::uint64_t slots = table == nullptr     ? 16
                                    : count * 2 < before ? before
                                                         : before * 2;
        void* memory = allocate(header(), sizeof(directory_table) + slots * 8, 8, ec);
        if (!ec) {
            making.record().save_word(&table_, ec);
        }
        if (ec) {
            return;
        }
        auto* grown = static_cast<directory_table*>(memory);
        grown->slots = slots;
        grown->used = 0;
        std::memset(static_cast<void*>(grown + 1), 0, static_cast<std::size_t>(slots * 8));
        for (std::uint64_t i = 0; i < before; ++i) {
            const std::uint64_t slot = table->slot(i).load(std::memory_order_relaxed);
            if (slot > erased) {
                free_slot(*grown, entry_of(slot).entry->name_hash)
                    ->store(slot, std::memory_order_relaxed);
            }
        }
        replaced_.fetch_add(1, std::memory_order_release); // before: who sees the table sees this
        table_.store(static_cast<std::uint64_t>(reinterpret_cast<char*>(grown) - base()),
                     std::memory_order_release);
        retire();
        deallocate(header(), table);
    }

    // A new entry, not yet in the table. In a section.
    [[gnu::cold]] directory_entry* make_entry(std::string_view name, const type_descriptor& type,
                                              std::uint64_t object, std::error_code& ec) noexcept {
        const std::string_view parts[] = {name, type.name.substr(0, max_description),
                                          type.description.substr(0, max_description)};
        void* memory = allocate(
            header(), sizeof(directory_entry) + parts[0].size() + parts[1].size() + parts[2].size(),
            8, ec);
        if (ec) {
            return nullptr;
        }
        auto* entry = static_cast<directory_entry*>(memory);
        *entry = {.name_hash = hash(name),
                  .object = object,
                  .bytes = type.size,
                  .type_hash = type.hash,
                  .name_length = static_cast<std::uint32_t>(parts[0].size()),
                  .type_name_length = static_cast<std::uint32_t>(parts[1].size()),
                  .description_length = static_cast<std::uint32_t>(parts[2].size()),
                  .spelling = own_spelling};
        char* out = entry->text();
        for (const std::string_view part : parts) {
            if (part.empty()) {
                continue; // memcpy wants no null, not even for nothing
            }
            std::memcpy(out, part.data(), part.size());
            out += part.size();
        }
        return entry;
    }

    // Shows the entry to everybody; reserve_slot came before. With that, all that has happened in
    // the section stays, unless it is a part of another one.
    [[gnu::cold]] void insert(directory_entry* entry, section& making,
                              std::error_code& ec) noexcept {
        const std::uint64_t place =
            static_cast<std::uint64_t>(reinterpret_cast<char*>(entry) - base());
        const std::uint64_t value = slot_of(place, entry->name_hash);
        directory_table* const table = own_table(ec);
        std::atomic<std::uint64_t>* const slot =
            table == nullptr ? nullptr : free_slot(*table, entry->name_hash);
        if (slot == nullptr) {
            fail_damaged(0, ec); // it was counted wrong
            return;
        }
        if (making.is_outermost()) {
            making.commit_by(*slot, value, false);
            return;
        }
        making.record().save_word(slot, ec);
        if (!ec) {
            slot->store(value, std::memory_order_release);
        }
    }

    // Takes the name away and frees the entry; the object stays. In a section.
    [[gnu::cold]] void erase(const directory_entry* entry, section& breaking,
                             std::error_code& ec) noexcept {
        directory_table* const table = own_table(ec);
        const std::uint64_t place = static_cast<std::uint64_t>(
            reinterpret_cast<const char*>(entry) - reinterpret_cast<const char*>(base()));
        const std::uint64_t hash = entry->name_hash;
        const std::uint64_t wanted = slot_of(place, hash);
        const std::uint64_t slots = table == nullptr ? 0 : table->slots;
        for (std::uint64_t i = 0;; ++i) {
            if (i >= slots) {
                fail_damaged(hash, ec);
                return;
            }
            std::atomic<std::uint64_t>& slot = table->slot((hash + i) & (slots - 1));
            if (slot.load(std::memory_order_relaxed) == wanted) {
                breaking.record().save_word(&slot, ec);
                if (ec) {
                    return;
                }
                slot.store(erased, std::memory_order_release);
                break;
            }
        }
        retire();
        deallocate(header(), const_cast<directory_entry*>(entry));
    }

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
    [[nodiscard]] directory_table* own_table(std::error_code& ec) noexcept {
        const std::uint64_t place = table_.load(std::memory_order_relaxed);
        if (place != 0 && view().slots == 0) {
            fail(ec, errc::corrupt, "the directory: its table is damaged, at offset %#llx",
                 static_cast<unsigned long long>(place));
        }
        return place == 0 || ec ? nullptr : reinterpret_cast<directory_table*>(base() + place);
    }

    [[gnu::cold, gnu::noinline]] static void fail_damaged(std::uint64_t index,
                                                          std::error_code& ec) noexcept {
        if (!ec) {
            fail(ec, errc::corrupt, "the directory: slot %#llx of its table is damaged",
                 static_cast<unsigned long long>(index));
        }
    }

    [[nodiscard]] table_view view() const noexcept {
        const std::uint64_t size = segment_size();
        const std::uint64_t place = table_.load(std::memory_order_acquire);
        if (place == 0 || place % 8 != 0 || place > size ||
            size - place < sizeof(directory_table)) {
            return {};
        }
        const auto* table = reinterpret_cast<const directory_table*>(base() + place);
        const std::uint64_t slots = __atomic_load_n(&table->slots, __ATOMIC_RELAXED);
        if ((slots & (slots - 1)) != 0 ||
            slots > (size - place - sizeof(directory_table)) / sizeof(std::uint64_t)) {
            return {};
        }
        return {reinterpret_cast<const std::uint64_t*>(table + 1), slots};
    }

    // An entry with its texts, whose lengths were read once: the entry may become other bytes at
    // any time.
    struct seen_entry {
        const directory_entry* entry = nullptr;
        std::string_view name{};
        std::string_view type_name{};
        std::string_view description{};
    };

    // The entry that a slot means, if all of it lies in the segment.
    [[nodiscard]] seen_entry entry_of(std::uint64_t slot) const noexcept {
        const std::uint64_t size = segment_size();
        const std::uint64_t place = slot & 0x0000ffffffffffffu;
        if (place <= erased || place % 8 != 0 || place > size ||
            size - place < sizeof(directory_entry)) {
            return {};
        }
        const auto* entry = reinterpret_cast<const directory_entry*>(base() + place);
        const std::uint64_t lengths[] = {
            __atomic_load_n(&entry->name_length, __ATOMIC_RELAXED),
            __atomic_load_n(&entry->type_name_length, __ATOMIC_RELAXED),
            __atomic_load_n(&entry->description_length, __ATOMIC_RELAXED)};
        if (lengths[0] > max_name || lengths[1] > max_description || lengths[2] > max_description ||
            lengths[0] + lengths[1] + lengths[2] > size - place - sizeof(directory_entry)) {
            return {};
        }
        const char* text = entry->text();
        return {entry,
                {text, static_cast<std::size_t>(lengths[0])},
                {text + lengths[0], static_cast<std::size_t>(lengths[1])},
                {text + lengths[0] + lengths[1], static_cast<std::size_t>(lengths[2])}};
    }

    [[nodiscard]] seen_entry probe(std::string_view name, std::uint64_t wanted) const noexcept {
        const table_view table = view();
        for (std::uint64_t i = 0; i < table.slots; ++i) {
            const std::uint64_t slot = table.load((wanted + i) & (table.slots - 1));
            if (slot == never_used) {
                break;
            }
            if (((slot ^ wanted) & 0xffff000000000000u) == 0) {
                const seen_entry seen = entry_of(slot);
                if (seen.entry != nullptr && seen.entry->name_hash == wanted && seen.name == name) {
                    return seen;
                }
            }
        }
        return {};
    }

    // Where a name of this hash can go; nullptr if the table is full, which it is never. Counts the
    // slot as used first: one too many makes the table grow early, one too few would make it full.
    static std::atomic<std::uint64_t>* free_slot(directory_table& table,
                                                 std::uint64_t hash) noexcept {
        for (std::uint64_t i = 0; i < table.slots; ++i) {
            std::atomic<std::uint64_t>& place = table.slot((hash + i) & (table.slots - 1));
            const std::uint64_t found = place.load(std::memory_order_relaxed);
            if (found <= erased) {
                table.used += found == never_used ? 1 : 0;
                return &place;
            }
        }
        return nullptr;
    }

    // What was taken out of reach may be overwritten after this: readers notice the new version.
    void retire() noexcept {
        version_.fetch_add(1, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_release); // no later write comes before it
    }

    owner_lock lock_;
    alignas(8) std::atomic<std::uint64_t> version_;
    alignas(8) std::atomic<std::uint64_t> table_;    // offset; 0: no name yet
    alignas(8) std::atomic<std::uint32_t> replaced_; // how often the table was
};

static_assert(sizeof(directory) == 32);

} // namespace detail

COHOLD_NAMESPACE_END

#endif
