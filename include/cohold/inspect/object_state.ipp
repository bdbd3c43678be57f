// Definitions for object_state.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_OBJECT_STATE_IPP
#define COHOLD_INSPECT_OBJECT_STATE_IPP

#include <cohold/inspect/object_state.hpp>

COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE std::uint64_t object_state::operator[](std::string_view what) const noexcept {
    for (const object_fact& each : facts) {
        if (each.what == what) {
            return each.value;
        }
    }
    return 0;
}

namespace detail {

COHOLD_INLINE std::uint32_t object_reader::half_at(std::uint64_t place) noexcept {
    std::uint32_t out = 0;
    segment_.read(&out, sizeof out, place);
    return out;
}

COHOLD_INLINE std::uint64_t object_reader::pointer(std::uint64_t field) noexcept {
    const std::uint64_t distance = word(field);
    const std::uint64_t target = at_ + field + distance;
    return distance == 0 || !segment_.has(target, 1) ? 0 : target;
}

COHOLD_INLINE void object_reader::fact(std::string_view what, std::uint64_t value) {
    out_.facts.push_back({what, value});
}

COHOLD_INLINE void object_reader::waits(std::string_view what, std::uint64_t field) {
    if ((half(field) & 1) != 0) {
        fact(what, 1);
    }
}

COHOLD_INLINE void object_reader::held(std::string_view what, std::uint64_t owner,
                                       std::uint64_t count) {
    const std::uint32_t slot = slot_of(owner);
    const std::uint64_t taken = segment_.word(participant_table::offset_of(slot));
    // As many generations before the present one belong to the same process.
    const auto before = static_cast<std::uint32_t>(taken >> 1) & 0x7fffffffu;
    const auto age =
        static_cast<std::uint32_t>(taken >> 32) - static_cast<std::uint32_t>(owner >> 32);
    held_by(what, slot, (taken & 1) == 0 || age > before, count);
}

COHOLD_INLINE void object_reader::held_by(std::string_view what, std::uint32_t slot, bool is_gone,
                                          std::uint64_t count) {
    object_holder found{what, count, 0, slot, is_gone ? verdict::dead : verdict::unknown};
    for (const participant& each : state_.participants) {
        if (!is_gone && each.slot == slot) {
            found.pid = each.pid;
            found.state = each.state;
        }
    }
    for (object_holder& each : out_.holders) {
        if (each.what == what && each.slot == slot && each.pid == found.pid) {
            each.count += count;
            return;
        }
    }
    out_.holders.push_back(found);
}

COHOLD_INLINE void object_reader::lock(std::string_view what, std::uint64_t field) {
    if (const std::uint64_t owner = word(field); owner != 0) {
        held(what, owner);
    }
}

COHOLD_INLINE object_state object_reader::read(std::string_view type, std::uint64_t offset) {
    at_ = offset;
    out_ = {};
    const std::string_view name = type.substr(0, type.find('<'));
    if (name == "shm_queue") {
        read_queue();
    } else if (name == "shm_message_queue") {
        read_messages();
    } else if (name == "shm_pool") {
        read_pool();
    } else if (name == "shm_service") {
        read_service();
    } else if (name == "shm_broadcast") {
        fact("published", word(24));
        fact("capacity", half(80));
        fact("closed", half(84) != 0 ? 1u : 0u);
        waits("readers wait", 88);
        lock("writer", 0);
    } else if (name == "shm_latest") {
        fact("version", word(64) >> 6);
        waits("readers wait", 72);
        lock("writer", 0);
    } else if (name == "shm_hash_map" || name == "shm_hash_set") {
        lock("lock of the directory", 24);
    } else {
        read_container(name);
        read_signal(name);
        if (name == "shm_guarded" || name.ends_with("mutex")) {
            lock("lock", 0);
        }
        if (name == "shm_shared_mutex" ||
            (name == "shm_guarded" && type.ends_with(",shm_shared_mutex>"))) {
            for (std::uint64_t reader = 0; reader < 64; ++reader) {
                lock("reader", 64 + 8 * reader);
            }
        }
    }
    return std::move(out_);
}

COHOLD_INLINE void object_reader::read_container(std::string_view name) {
    if (name == "shm_vector") {
        fact("size", word(8));
        fact("capacity", word(16));
    } else if (name == "shm_list") {
        fact("size", word(16));
    } else if (name == "shm_deque") {
        fact("size", word(24) - word(16));
    } else if (name == "shm_map" || name == "shm_multimap" || name == "shm_set" ||
               name == "shm_multiset") {
        fact("size", word(40));
    } else if (name == "shm_string" || name == "shm_basic_string") {
        unsigned char first = 0;
        segment_.read(&first, 1, at_);
        fact("size", (first & 0x80) != 0 ? word(8) : first);
    }
}

COHOLD_INLINE void object_reader::read_queue() {
    fact("size", queue_size());
    fact("capacity", half(16));
    fact("closed", half(20) != 0 ? 1u : 0u);
    if (word(136) != 0) {
        fact("overwritten", word(136));
    }
    waits("consumers wait", 24);
    waits("producers wait", 28);
    // With bit 0, a thread comes and goes without saying so.
    for (const auto& [what, field] : {std::pair{"producer", 88u}, std::pair{"consumer", 280u}}) {
        if ((word(field) & 1) == 0) {
            lock(what, field);
        }
    }
}

// As queue_core::size, from the words alone.
COHOLD_INLINE std::uint64_t object_reader::queue_size() {
    const std::uint64_t ring = pointer(0);
    const std::uint32_t capacity = half(16);
    const std::uint32_t end = half(32);
    const std::uint32_t in_line = half(36);
    const auto bits = static_cast<unsigned>(std::bit_width(in_line));
    const std::uint64_t head = word(192);
    if (ring == 0 || in_line > 56 ||
        (in_line != 0 && !segment_.has(ring, (end >> bits) * std::uint64_t{64}))) {
        return 0;
    }
    const std::uint64_t each_line = in_line == 0 ? 1 : in_line;
    const auto distance = [&](std::uint64_t last) noexcept {
        const auto in_turn = [&](std::uint64_t at) noexcept {
            const auto index = static_cast<std::uint32_t>(at);
            return static_cast<std::int64_t>((index >> bits) * each_line +
                                             (index & ((1u << bits) - 1)));
        };
        const auto turns = static_cast<std::int32_t>(static_cast<std::uint32_t>(last >> 32) -
                                                     static_cast<std::uint32_t>(head >> 32));
        return turns * static_cast<std::int64_t>((end >> bits) * each_line) + in_turn(last) -
               in_turn(head);
    };
    std::uint64_t last = in_line == 0 ? word(128) : word(64);
    // What is claimed may not be published yet: the lines say it.
    for (std::uint32_t lines = (end >> bits) + 1; in_line != 0 && lines != 0 && distance(last) > 0;
         --lines) {
        const std::uint64_t line = (static_cast<std::uint32_t>(last) & ((1u << bits) - 1)) != 0
                                       ? last & ~((std::uint64_t{1} << bits) - 1)
                                   : static_cast<std::uint32_t>(last) != 0
                                       ? last - (std::uint64_t{1} << bits)
                                       : ((last >> 32) - 1) << 32 | (end - (1u << bits));
        const std::uint64_t known =
            segment_.word(ring + (static_cast<std::uint32_t>(line) >> bits) * std::uint64_t{64});
        if (static_cast<std::int64_t>(known - line) > 0) {
            last = known;
            break;
        }
        last = line;
    }
    const std::int64_t count = distance(last);
    return count < 0 ? 0 : count > capacity ? capacity : static_cast<std::uint64_t>(count);
}

COHOLD_INLINE void object_reader::read_messages() {
    fact("size", word(128) - word(208));
    fact("capacity", word(16));
    fact("closed", half(32) != 0 ? 1u : 0u);
    waits("consumers wait", 36);
    waits("producers wait", 40);
    lock("producer", 64);
    lock("consumer", 192);
    const std::uint64_t blocks = pointer(8) + std::uint64_t{half(28)} * 4;
    const std::uint64_t places = half(24);
    for (std::uint64_t place = 2; pointer(8) != 0 && place < places;) {
        const std::uint64_t block = blocks + place * 32;
        const std::uint64_t units = half_at(block + 8);
        if (units == 0 || !segment_.has(block, 32)) {
            break; // a reader is no place to tell of damage
        }
        const std::uint64_t owner = segment_.word(block);
        if ((owner & 0xfffffu) == 3) {
            held("messages", owner);
        }
        place += units;
    }
}

COHOLD_INLINE void object_reader::read_pool() {
    fact("objects", word(48));
    fact("available", word(16));
    fact("least available", word(24));
    waits("borrowers wait", 56);
    const std::uint64_t table = pointer(40);
    const std::uint64_t count = word(48);
    std::uint64_t inside = 0;
    if (table == 0 || count > segment_.size() / 96 || // the least that an object and its word take
        !segment_.has(table, count * 8)) {
        return;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t block = segment_.word(table + i * 8);
        const std::uint32_t words = half_at(block + 48);
        if (half_at(block + 52) != 0 || words > 64) {
            continue;
        }
        inside += segment_.word(block + 32) != 0 ? 1u : 0u;
        for (std::uint32_t group = 0; group < words; ++group) {
            for (std::uint64_t some = segment_.word(block + 80 + group * 8); some != 0;
                 some &= some - 1) {
                const std::uint32_t slot =
                    group * 64 + static_cast<std::uint32_t>(std::countr_zero(some));
                const std::uint64_t taken = segment_.word(participant_table::offset_of(slot));
                held_by("loans", slot, (taken & 1) == 0, 1);
            }
        }
    }
    fact("in the segment", inside);
}

COHOLD_INLINE void object_reader::read_service() {
    const std::uint64_t places = pointer(8);
    const std::uint64_t stride = half(16);
    const std::uint64_t count = half(20);
    std::uint64_t waiting = 0;
    std::uint64_t serving = 0;
    if (places != 0 && stride >= 64 && count <= segment_.size() / stride) {
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t owner = segment_.word(places + i * stride);
            waiting += (owner & 0xfffffu) == 2 ? 1u : 0u;
            if ((owner & 0xfffffu) == 3) {
                ++serving;
                held("calls", owner);
            }
        }
    }
    fact("waiting", waiting);
    fact("serving", serving);
    fact("capacity", count);
    fact("calls", word(32));
    fact("closed", half(28) != 0 ? 1u : 0u);
    waits("servers wait", 40);
    waits("clients wait", 44);
}

COHOLD_INLINE void object_reader::read_signal(std::string_view name) {
    if (name == "shm_semaphore") {
        fact("permits", half(0));
    } else if (name == "shm_event") {
        fact("set", half(0) != 0 ? 1u : 0u);
    } else if (name == "shm_latch") {
        fact("left", half(0));
    } else if (name == "shm_barrier") {
        fact("phase", word(0) >> 41);
        fact("left", word(0) >> 20 & 0xfffffu);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
