// Definitions for directory.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_DIRECTORY_IPP
#define COHOLD_ENGINE_DIRECTORY_IPP

#include <cohold/engine/directory.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE directory::lock::lock(directory& held, std::error_code& ec) noexcept
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

[[gnu::noinline]] COHOLD_INLINE directory::lock::~lock() {
    innermost_ = outer_;
    if (locked_ && (keeper_ == nullptr || (!changed_ && keeper_->forget_lock(&held_.lock_)))) {
        held_.lock_.unlock();
    }
}

COHOLD_INLINE void directory::lock::enter(segment_header& header, owner_word me,
                                          std::error_code& ec) noexcept {
    transaction* const open = open_transaction(&header);
    for (const transaction* each = last_opened(); each != nullptr; each = each->next_open()) {
        if (each->is_inherited() || !is_same_segment(each->header(), header) ||
            !each->keeps(&of(each->header()).lock_)) {
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
    if (open != nullptr && !open->make_room_for_lock()) {
        fail(ec, errc::out_of_space,
             "not enough memory for the list of locks that the thread holds");
        return;
    }
    held_.lock_.lock(me, deadline::never(), [&header, me](owner_word holder) noexcept {
        return recover_if_dead(header, me, holder);
    });
    locked_ = true;
    keeper_ = open;
    if (open != nullptr) {
        open->keep({&held_.lock_, [](void* kept, transaction& /*holder*/) noexcept {
                        static_cast<robust_lock*>(kept)->unlock();
                    }});
    }
}

COHOLD_INLINE directory::found_object directory::find(std::string_view name) const noexcept {
    const std::uint64_t wanted = hash(name);
    // This repeats only when other processes make progress. The limit protects against hostile
    // bytes.
    for (int attempt = 0; attempt < 1000000; ++attempt) {
        const std::uint64_t version = current_version();
        found_object found;
        if (const seen_entry seen = probe(name, wanted); seen.entry != nullptr) {
            found = {seen.entry,     seen.entry->object, seen.entry->bytes,   seen.entry->type_hash,
                     seen.type_name, seen.description,   seen.entry->spelling};
        }
        std::atomic_thread_fence(std::memory_order_acquire);
        if (current_version() == version) {
            return found;
        }
    }
    return {};
}

COHOLD_INLINE const void* directory::address(const found_object& found,
                                             std::size_t alignment) const noexcept {
    const std::uint64_t size = segment_size();
    const bool inside = found.object >= offset && found.object <= size &&
                        found.bytes <= size - found.object && found.object % alignment == 0;
    return inside ? base() + found.object : nullptr;
}

COHOLD_INLINE void directory::reserve_slot(section& making, std::error_code& ec) noexcept {
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
    const std::uint64_t slots = table == nullptr ? 16 : count * 2 < before ? before : before * 2;
    void* memory = allocate(header(), sizeof(directory_table) + slots * 8, 8, ec);
    if (!ec) {
        making->save_word(&table_, ec);
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
    replaced_.fetch_add(1, std::memory_order_release); // before the table: its readers see this
    table_.store(static_cast<std::uint64_t>(reinterpret_cast<char*>(grown) - base()),
                 std::memory_order_release);
    retire();
    deallocate(header(), table);
}

COHOLD_INLINE directory_entry* directory::make_entry(std::string_view name,
                                                     const type_descriptor& type,
                                                     std::uint64_t object,
                                                     std::error_code& ec) noexcept {
    const std::string_view parts[] = {name, type.name.substr(0, max_description),
                                      type.description.substr(0, max_description)};
    void* memory = allocate(
        header(), sizeof(directory_entry) + parts[0].size() + parts[1].size() + parts[2].size(), 8,
        ec);
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
            continue; // memcpy must not get a null pointer, not even for zero bytes
        }
        std::memcpy(out, part.data(), part.size());
        out += part.size();
    }
    return entry;
}

COHOLD_INLINE void directory::insert(directory_entry* entry, section& making,
                                     std::error_code& ec) noexcept {
    const std::uint64_t place = static_cast<std::uint64_t>(reinterpret_cast<char*>(entry) - base());
    const std::uint64_t value = slot_of(place, entry->name_hash);
    directory_table* const table = own_table(ec);
    std::atomic<std::uint64_t>* const slot =
        table == nullptr ? nullptr : free_slot(*table, entry->name_hash);
    if (slot == nullptr) {
        fail_damaged(0, ec); // the count was wrong
        return;
    }
    if (making.is_outermost()) {
        making.commit_by(*slot, value, witness_kind::equal);
        return;
    }
    making->save_word(slot, ec);
    if (!ec) {
        slot->store(value, std::memory_order_release);
    }
}

COHOLD_INLINE void directory::erase(const directory_entry* entry, section& breaking,
                                    std::error_code& ec) noexcept {
    directory_table* const table = own_table(ec);
    const std::uint64_t place = static_cast<std::uint64_t>(reinterpret_cast<const char*>(entry) -
                                                           reinterpret_cast<const char*>(base()));
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
            breaking->save_word(&slot, ec);
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

COHOLD_INLINE directory_table* directory::own_table(std::error_code& ec) noexcept {
    const std::uint64_t place = table_.load(std::memory_order_relaxed);
    if (place != 0 && view().slots == 0) {
        fail(ec, errc::corrupt, "the directory: its table is damaged, at offset %#llx",
             static_cast<unsigned long long>(place));
    }
    return place == 0 || ec ? nullptr : reinterpret_cast<directory_table*>(base() + place);
}

[[gnu::noinline]] COHOLD_INLINE void directory::fail_damaged(std::uint64_t index,
                                                             std::error_code& ec) noexcept {
    if (!ec) {
        fail(ec, errc::corrupt, "the directory: slot %#llx of its table is damaged",
             static_cast<unsigned long long>(index));
    }
}

COHOLD_INLINE directory::table_view directory::view() const noexcept {
    const std::uint64_t place = table_.load(std::memory_order_acquire);
    const std::uint64_t size = segment_size(); // afterwards: it may have grown for the table
    if (place == 0 || place % 8 != 0 || place > size || size - place < sizeof(directory_table)) {
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

COHOLD_INLINE directory::seen_entry directory::entry_of(std::uint64_t slot) const noexcept {
    const std::uint64_t size = segment_size();
    const std::uint64_t place = slot & 0x0000ffffffffffffu;
    if (place <= erased || place % 8 != 0 || place > size ||
        size - place < sizeof(directory_entry)) {
        return {};
    }
    const auto* entry = reinterpret_cast<const directory_entry*>(base() + place);
    const std::uint64_t lengths[] = {__atomic_load_n(&entry->name_length, __ATOMIC_RELAXED),
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

COHOLD_INLINE directory::seen_entry directory::probe(std::string_view name,
                                                     std::uint64_t wanted) const noexcept {
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

COHOLD_INLINE std::atomic<std::uint64_t>* directory::free_slot(directory_table& table,
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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
