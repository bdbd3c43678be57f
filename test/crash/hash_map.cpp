// The operations of shm_hash_map and shm_hash_set, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "crash/crowded.hpp"
#include "crash/explore.hpp"
#include "crash/operations.hpp"

// Blocks with one group: so a table grows after 16 elements, and its growth is short to step.
template <>
inline constexpr std::uint32_t cohold::detail::hash_groups<std::pair<const int, int>> = 1;
template <>
inline constexpr std::uint32_t
    cohold::detail::hash_groups<std::pair<const int, std::array<int, 4>>> = 1;
template <>
inline constexpr std::uint32_t cohold::detail::hash_groups<cohold::detail::hash_node> = 1;
template <>
inline constexpr std::uint32_t cohold::detail::hash_groups<int> = 1;

namespace {

using crash::registry;
using crash::segment;

// Values: one word; several words, which no single store writes; and one that owns memory.
using several = std::array<int, 4>;
using owning = cohold::shm_vector<int>;

void set(int& value, int number) {
    value = number;
}

void set(several& value, int number) {
    value = {number, number + 1, number + 2, number + 3};
}

void set(owning& value, int number) {
    value.assign({number, number + 1});
}

template <class T>
constexpr const char* kind = std::is_same_v<T, int>       ? "ints"
                             : std::is_same_v<T, several> ? "arrays"
                                                          : "vectors";

// All keys collide.
struct all_alike {
    std::uint64_t operator()(int /*key*/, std::uint64_t /*seed*/) const noexcept { return 42; }
};

template <class Hash>
constexpr const char* alike = std::is_same_v<Hash, all_alike> ? "colliding, " : "";

std::string in_order(std::vector<std::string>& lines) {
    std::sort(lines.begin(), lines.end());
    std::string text;
    for (const std::string& each : lines) {
        text.append(each).append(" ");
    }
    return text;
}

// A map, and a value in the segment, so that what a value owns can be freed.
template <class T, class Hash>
struct one {
    cohold::shm_hash_map<int, T, Hash> it{cohold::detail::hash_seed{7}};
    T spare{};
    std::pair<const int, T> other{30, T{}}; // not on the victim's stack, where it would leak
    std::pair<const int, T> same{1, T{}};

    std::string tell() {
        std::vector<std::string> lines;
        const std::size_t count = it.cvisit_all([&](const auto& each) {
            lines.push_back(std::to_string(each.first) + ":" +
                            crash::tell(const_cast<T&>(each.second)));
        });
        std::string text = in_order(lines);
        if (count != it.size() || count != lines.size()) {
            return "a map that has " + std::to_string(it.size()) + " elements: " + text;
        }
        for (int key = 0; key < 40; ++key) { // as look-ups see it
            const bool listed =
                std::any_of(lines.begin(), lines.end(), [key](const std::string& line) {
                    return line.starts_with(std::to_string(key) + ":");
                });
            if (it.contains(key) != listed) {
                return "a map in which " + std::to_string(key) + " is lost: " + text;
            }
        }
        return text + "and " + crash::tell(spare);
    }
};

// Doubles the directory of a map, as growth does before it splits a block.
template <class Map>
struct innards : Map {
    static void grow_directory(Map& map, const segment& where) {
        map.reserve(0);
        cohold::detail::segment_header& header = crash::header_of(where);
        std::error_code ec;
        const cohold::detail::hash_growth growth{map.*(&innards::table_), innards::shape,
                                                 *cohold::detail::self(header, ec), header};
        static_cast<void>(growth.deepen(0, ec));
    }

    // Appends a block to the only one, as growth does if all hashes are alike.
    static void append_block(Map& map, const segment& where) {
        cohold::detail::segment_header& header = crash::header_of(where);
        std::error_code ec;
        const cohold::detail::hash_growth growth{map.*(&innards::table_), innards::shape,
                                                 *cohold::detail::self(header, ec), header};
        cohold::detail::hash_way way;
        if ((map.*(&innards::table_)).find(0, innards::shape, way)) {
            growth.lengthen(*way.block, ec);
        }
    }
};

struct state {
    const char* name;
    int count; // keys 0 … count - 1
};

template <class T, class Hash, class Act>
auto on(registry& all, const char* name, const state& in, const Act& act, const char* how = "") {
    using M = one<T, Hash>;
    return all
        .add<M>(
            std::string("shm_hash_map::") + name,
            std::string(alike<Hash>) + kind<T> + ", " + in.name + how,
            [in](const segment& where) {
                M& made = where.construct<M>(crash::subject);
                for (int i = 0; i < in.count; ++i) {
                    set(made.spare, i * 10);
                    made.it.try_emplace(i, made.spare);
                }
                set(made.spare, 700);
                set(made.other.second, 700);
                set(made.same.second, 700);
            },
            act)
        .heals();
}

constexpr state empty{"empty", 0};
constexpr state few{"three", 3};
// The next one splits the block, as often as it takes.
template <class T>
constexpr state full{"full", std::is_same_v<T, several> ? 15 : 16};

template <class T, class Hash>
void declare_for(registry& all) {
    using M = one<T, Hash>;
    // A table may have grown although nothing was inserted.
    const auto grown = [](M& m) { m.it.reserve(m.it.size() < 15 ? 0 : 13); };
    const auto growing = [](M& m, const segment& where) {
        innards<decltype(m.it)>::grow_directory(m.it, where);
    };
    const auto appended = [](M& m, const segment& where) {
        if (std::is_same_v<Hash, all_alike> && m.it.size() >= 15) {
            innards<decltype(m.it)>::append_block(m.it, where);
        }
    };
    for (const state& each : {empty, few, full<T>}) {
        on<T, Hash>(all, "try_emplace", each, [](M& m) { return m.it.try_emplace(30, m.spare); })
            .also(grown)
            .also(growing)
            .also(appended);
        on<T, Hash>(all, "insert_or_assign", each,
                    [](M& m) { return m.it.insert_or_assign(30, m.spare); })
            .also(grown)
            .also(growing)
            .also(appended);
    }
    for (const state& each : {few, full<T>}) {
        on<T, Hash>(
            all, "insert_or_assign", each, [](M& m) { return !m.it.insert_or_assign(1, m.spare); },
            ", one that is there");
        on<T, Hash>(all, "erase", each, [](M& m) { return m.it.erase(2) == 1; });
        on<T, Hash>(all, "update", each,
                    [](M& m) { return m.it.update(2, [&](T& value) { value = m.spare; }); });
    }
    on<T, Hash>(all, "insert", few, [](M& m) { return m.it.insert(m.other); });
    on<T, Hash>(all, "emplace", few, [](M& m) { return m.it.emplace(30, m.spare); });
    const auto put = [](M& m) { return [&m](auto& found) { found.second = m.spare; }; };
    const auto look = [](const auto& /*found*/) {};
    on<T, Hash>(all, "insert_or_visit", few,
                [put](M& m) { return !m.it.insert_or_visit(m.same, put(m)); });
    on<T, Hash>(all, "insert_or_cvisit", few,
                [look](M& m) { return m.it.insert_or_cvisit(m.other, look); });
    on<T, Hash>(all, "emplace_or_visit", few,
                [put](M& m) { return !m.it.emplace_or_visit(1, m.spare, put(m)); });
    on<T, Hash>(all, "emplace_or_cvisit", few,
                [look](M& m) { return m.it.emplace_or_cvisit(30, m.spare, look); });
    on<T, Hash>(all, "try_emplace_or_visit", few,
                [put](M& m) { return !m.it.try_emplace_or_visit(1, m.spare, put(m)); });
    on<T, Hash>(all, "try_emplace_or_cvisit", few,
                [look](M& m) { return m.it.try_emplace_or_cvisit(30, m.spare, look); });
    on<T, Hash>(all, "visit", few, [put](M& m) { return m.it.visit(1, put(m)) == 1; });
    on<T, Hash>(all, "erase_if", few,
                [](M& m) { return m.it.erase_if(1, [](const auto&) { return true; }) == 1; });
    // One after the other; the order is that of the hashes.
    const auto removed = [](int from, int to) {
        return [from, to](M& m) {
            for (int key = from; key <= to; ++key) {
                m.it.erase(key);
            }
        };
    };
    const auto removed_if = [](M& m) {
        return m.it.erase_if([](const auto& each) { return each.first < 2; }) == 2;
    };
    on<T, Hash>(all, "erase_if", few, removed_if, ", two of them")
        .also(removed(0, 0))
        .also(removed(1, 1));
    state two{"two", 2};
    on<T, Hash>(all, "clear", two, [](M& m) { m.it.clear(); })
        .also(removed(0, 0))
        .also(removed(1, 1));
    const auto changed = [](int key) {
        return [key](M& m) { m.it.update(key, [&](T& value) { value = m.spare; }); };
    };
    on<T, Hash>(all, "visit_all", two, [put](M& m) { return m.it.visit_all(put(m)) == 2; })
        .also(changed(0))
        .also(changed(1));
    on<T, Hash>(all, "visit_while", two,
                [](M& m) {
                    return m.it.visit_while([&m](auto& found) {
                        found.second = m.spare;
                        return true;
                    });
                })
        .also(changed(0))
        .also(changed(1));
}

// A growth in several steps: the contents stay the same.
void declare_growth(registry& all) {
    using M = one<int, cohold::shm_hash<int>>;
    const auto growing = [](M& m, const segment& where) {
        innards<decltype(m.it)>::grow_directory(m.it, where);
    };
    on<int, cohold::shm_hash<int>>(all, "reserve", empty, [](M& m) {
        m.it.reserve(13);
    }).also([](M& m) {
          m.it.reserve(0);
      }).also(growing);
    on<int, cohold::shm_hash<int>>(all, "reserve", full<int>, [](M& m) {
        m.it.reserve(13);
    }).also(growing);
}

// A reader's result, which is seen if it is wrong. The element moves to a block in memory by which
// the segment has just grown.
struct reading {
    cohold::shm_hash_map<int, int> it{cohold::detail::hash_seed{7}};
    int found = 0;

    std::string tell() {
        std::vector<std::string> lines;
        it.cvisit_all([&](const auto& each) { lines.push_back(std::to_string(each.first)); });
        return in_order(lines) + "found " + std::to_string(found);
    }
};

// Leaves no room, so that the next block makes the segment grow.
void fill_up(const segment& where) {
    const cohold::detail::segment_header& header = crash::header_of(where);
    auto& mapping = const_cast<cohold::detail::local_mapping&>(cohold::detail::local_of(header));
    const std::uint64_t reserve = std::exchange(mapping.reserve, header.size.load());
    crash::crowd(where, crash::room::none);
    mapping.reserve = reserve;
}

void declare_reading(registry& all) {
    const auto grown = [](reading& r) { r.it.reserve(13); };
    const auto growing = [](reading& r, const segment& where) {
        innards<decltype(r.it)>::grow_directory(r.it, where);
    };
    for (const int key : {0, 1}) { // one moves, the other stays
        const auto act = [key](reading& r) {
            r.found = r.it.get(key).value_or(-1);
            return true;
        };
        all.add<reading>(
               "shm_hash_map::get", "key " + std::to_string(key) + ", full, the segment grows",
               [](const segment& where) {
                   reading& made = where.construct<reading>(crash::subject);
                   for (int i = 0; i < 16; ++i) {
                       made.it.try_emplace(i, i + 1);
                   }
                   // So the split changes an entry of the directory that the reader looks at.
                   innards<decltype(made.it)>::grow_directory(made.it, where);
               },
               act)
            .meanwhile([](reading& r) { return r.it.try_emplace(30, 31); })
            .prepare([](reading& /*r*/, const segment& where) { fill_up(where); })
            .closely()
            .heals()
            .also(grown)
            .also(growing)
            .together([=](reading& r) {
                grown(r);
                act(r);
            })
            .together([=](reading& r, const segment& where) {
                growing(r, where);
                act(r);
            });
    }
}

struct set_of_ints {
    cohold::shm_hash_set<int> it{cohold::detail::hash_seed{7}};

    std::string tell() {
        std::vector<std::string> lines;
        it.cvisit_all([&](int each) { lines.push_back(std::to_string(each)); });
        return in_order(lines) + std::to_string(it.size());
    }
};

void declare_set(registry& all) {
    using S = set_of_ints;
    const auto on = [&](const char* name, int count, auto act) {
        return all
            .add<S>(
                std::string("shm_hash_set::") + name, std::to_string(count) + " keys",
                [count](const segment& where) {
                    S& made = where.construct<S>(crash::subject);
                    for (int i = 0; i < count; ++i) {
                        made.it.insert(i);
                    }
                },
                act)
            .heals();
    };
    const auto growing = [](S& s, const segment& where) {
        innards<decltype(s.it)>::grow_directory(s.it, where);
    };
    for (const int count : {0, 3, 16}) {
        on("insert", count, [](S& s) {
            return s.it.insert(30);
        }).also([](S& s) {
              s.it.reserve(s.it.size() < 16 ? 0 : 13);
          }).also(growing);
    }
    on("emplace", 3, [](S& s) { return s.it.emplace(30); });
    on("insert_or_visit", 3, [](S& s) { return s.it.insert_or_visit(30, [](int) {}); });
    on("insert_or_cvisit", 3, [](S& s) { return s.it.insert_or_cvisit(30, [](int) {}); });
    on("erase", 3, [](S& s) { return s.it.erase(1) == 1; });
    on("erase_if", 3, [](S& s) { return s.it.erase_if([](int key) { return key == 1; }) == 1; });
    on("clear", 1, [](S& s) { s.it.clear(); });
    on("reserve", 16, [](S& s) { s.it.reserve(13); }).also(growing);
    // They change nothing, or only the word of a lock.
    for (const std::string of : {"shm_hash_map::", "shm_hash_set::"}) {
        all.covered(of + "cvisit", of + "erase");
        all.covered(of + "rehash", of + "reserve");
        all.covered(of + "cvisit_all", of + "erase_if");
        all.covered(of + "cvisit_while", of + "erase_if");
    }
    all.covered("shm_hash_set::visit", "shm_hash_set::erase");
    all.covered("shm_hash_set::visit_all", "shm_hash_set::erase_if");
    all.covered("shm_hash_set::visit_while", "shm_hash_set::erase_if");
}

} // namespace

void crash::declare(registry& all) {
    declare_for<int, cohold::shm_hash<int>>(all);
    declare_for<several, cohold::shm_hash<int>>(all);
    declare_for<owning, cohold::shm_hash<int>>(all);
    declare_for<int, all_alike>(all);
    declare_growth(all);
    declare_reading(all);
    declare_set(all);
}
