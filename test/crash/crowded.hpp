// The same operations again, in segments that are full or have only small holes, and undone by the
// living: this shows operations that have no room to save what they change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_CROWDED_HPP
#define COHOLD_TEST_CRASH_CROWDED_HPP

#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crash/operation.hpp"

namespace crash {

enum class room { all, holes, none };

// Fills the heap completely, except for holes of a few sizes. What it has allocated stays.
inline void crowd(const segment& where, room left) {
    auto memory = where.allocator<char>();
    std::vector<std::pair<cohold::offset_ptr<char>, std::size_t>> holes;
    if (left == room::holes) {
        for (const std::size_t size : {16u, 48u, 80u, 200u, 400u}) {
            for (int i = 0; i < 2; ++i) {
                holes.emplace_back(memory.allocate(size), size);
                static_cast<void>(memory.allocate(16)); // or the neighbours would be merged
            }
        }
    }
    for (std::size_t size = 65536; size != 0; size /= 2) {
        while (memory.try_allocate(size) != nullptr) {
        }
    }
    for (const auto& [hole, size] : holes) {
        memory.deallocate(hole, size);
    }
}

struct on_purpose : std::exception {};

// The guarded value whose section is around the operation that is undone.
inline constexpr std::string_view around = "around";

inline deed undoing(const segment& where, deed inner) {
    auto* const outer = where.find<cohold::shm_guarded<int>>(around);
    return [outer, inner = std::move(inner)] {
        try {
            outer->with([&](int& number) {
                ++number;
                inner();
                throw on_purpose();
            });
        } catch (const on_purpose&) {
        } catch (const cohold::failure&) { // no room: undone as well
        }
        return false;
    };
}

inline deed refusable(deed inner) {
    return [inner = std::move(inner)] {
        try {
            return inner();
        } catch (const cohold::failure&) { // nothing has happened
            return false;
        }
    };
}

inline operation crowded(const operation& what, room left, bool undone) {
    operation made = what;
    constexpr const char* names[] = {"", ", only holes left", ", no room left"};
    made.setup += names[static_cast<int>(left)];
    made.heals = false;
    made.repeats = false;
    made.meanwhile = {};
    made.together.clear();
    made.hasty.clear();
    made.alone = true;
    if (left != room::all) {
        made.fill = [left](const segment& where) { crowd(where, left); };
        made.most = what.most_crowded;
        made.may_leak = true;
    }
    if (undone) {
        made.setup += ", undone";
        made.undone = true;
        made.also.clear();
        made.make = [make = what.make](const segment& where) {
            where.construct<cohold::shm_guarded<int>>(around, 0);
            make(where);
        };
        made.act = [act = what.act](const segment& where) { return undoing(where, act(where)); };
        made.contents = [contents = what.contents](const segment& where) {
            return contents(where) + " around " +
                   std::to_string(*where.find<cohold::shm_guarded<int>>(around)->lock());
        };
    } else {
        made.act = [act = what.act](const segment& where) { return refusable(act(where)); };
        made.also.insert(made.also.end(), what.stepwise.begin(), what.stepwise.end());
    }
    return made;
}

// Queues and locks change immediately and permanently, and so are not undone.
inline bool can_be_undone(const operation& what) {
    return what.name.starts_with("shm_vector::") || what.name.starts_with("shm_guarded::") ||
           what.name.starts_with("shm_unique_ptr::") || what.name.starts_with("shm_shared_ptr::");
}

// Adds one out of `every` operations.
inline void add_crowded(registry& all, std::size_t every) {
    std::vector<operation> more;
    for (const operation& each : all.all()) {
        if (each.fresh || each.attaches || each.twice || each.undone || !can_be_undone(each)) {
            continue;
        }
        more.push_back(crowded(each, room::all, true));
        for (const room left : {room::holes, room::none}) {
            more.push_back(crowded(each, left, false));
            more.push_back(crowded(each, left, true));
        }
    }
    for (std::size_t i = 0; i < more.size(); i += every) {
        all.add(std::move(more[i]));
    }
}

} // namespace crash

#endif
