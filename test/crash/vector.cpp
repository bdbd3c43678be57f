// The operations of shm_vector, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "crash/operations.hpp"

namespace {

using crash::registry;
using ints = cohold::shm_vector<int>;
using rows = cohold::shm_vector<ints>;

// Two of them, for operations that take two.
template <class V>
struct two {
    V first;
    V second;

    std::string tell() { return crash::tell(first) + " and " + crash::tell(second); }
};

// A vector, and an element for it: one that is not in the segment could not be freed.
template <class V>
struct one {
    V it;
    typename V::value_type spare{};

    std::string tell() { return crash::tell(it) + " and " + crash::tell(spare); }
};

void set(int& element, int number) {
    element = number;
}

void set(ints& element, int number) {
    element.assign({number, number + 1});
}

template <class V>
void fill(V& vector, int count, std::size_t room) {
    vector.reserve(room);
    for (int i = 0; i < count; ++i) {
        set(vector.emplace_back(), i * 10);
    }
}

struct state {
    const char* name;
    int count;
    std::size_t room;
};

constexpr state states[] = {{"empty", 0, 0}, {"with room", 2, 4}, {"about to grow", 3, 3}};

template <class V>
std::string kind() {
    return std::is_same_v<V, ints> ? "ints, " : "vectors, ";
}

// An operation on vectors in all states that have at least that many elements.
template <class V, class Act>
std::vector<crash::declaration<one<V>>> on_each(registry& all, const char* name, int least,
                                                const Act& act, const char* how = "") {
    std::vector<crash::declaration<one<V>>> added;
    for (const state& each : states) {
        if (each.count >= least) {
            added.push_back(all.add<one<V>>(
                std::string("shm_vector::") + name, kind<V>() + each.name + how,
                [each](const crash::segment& where) {
                    auto& made = where.construct<one<V>>(crash::subject);
                    fill(made.it, each.count, each.room);
                    set(made.spare, 70);
                },
                [act](one<V>& with) { return act(with.it, with.spare); }));
        }
    }
    return added;
}

template <class V, class Act>
void on_two(registry& all, const char* name, const char* setup, const Act& act) {
    all.add<two<V>>(
        std::string("shm_vector::") + name, kind<V>() + setup,
        [](const crash::segment& where) {
            auto& both = where.construct<two<V>>(crash::subject);
            fill(both.first, 2, 2);
            fill(both.second, 3, 4);
        },
        act);
}

template <class V>
void declare_for(registry& all) {
    using T = typename V::value_type;
    on_each<V>(all, "push_back", 0, [](V& v, const T& x) { v.push_back(x); });
    on_each<V>(all, "push_back", 0, [](V& v, T& x) { v.push_back(std::move(x)); }, ", moved");
    on_each<V>(all, "emplace_back", 0, [](V& v, const T& x) { v.emplace_back(x); });
    on_each<V>(all, "try_push_back", 0, [](V& v, const T& x) { return v.try_push_back(x); });
    on_each<V>(all, "try_emplace_back", 0,
               [](V& v, const T& x) { return v.try_emplace_back(x) != nullptr; });
    on_each<V>(all, "pop_back", 1, [](V& v, const T&) { v.pop_back(); });
    on_each<V>(all, "insert", 0, [](V& v, const T& x) { v.insert(v.begin(), x); });
    on_each<V>(
        all, "insert", 2, [](V& v, T& x) { v.insert(v.begin() + 1, std::move(x)); }, ", moved");
    on_each<V>(
        all, "insert", 2, [](V& v, const T& x) { v.insert(v.begin() + 1, 2, x); }, ", two of it");
    on_each<V>(all, "emplace", 2, [](V& v, const T& x) { v.emplace(v.begin() + 1, x); });
    for (auto& each : on_each<V>(all, "erase", 2, [](V& v, const T&) { v.erase(v.begin()); })) {
        // Erased and remaining elements change places, one after the other.
        for (std::size_t steps = 1; steps < 3 && !std::is_same_v<V, ints>; ++steps) {
            each.stepwise([steps](one<V>& with) {
                for (std::size_t i = 0; i < steps && i + 1 < with.it.size(); ++i) {
                    std::ranges::swap(with.it[i], with.it[i + 1]);
                }
            });
        }
    }
    on_each<V>(all, "clear", 2, [](V& v, const T&) { v.clear(); });
    on_each<V>(all, "resize", 0, [](V& v, const T&) { v.resize(v.size() + 2); }, ", larger");
    on_each<V>(all, "resize", 2, [](V& v, const T&) { v.resize(1); }, ", smaller");
    on_each<V>(all, "reserve", 2, [](V& v, const T&) { v.reserve(8); });
    on_each<V>(all, "try_reserve", 2, [](V& v, const T&) { return v.try_reserve(8); });
    on_each<V>(all, "shrink_to_fit", 0, [](V& v, const T&) { v.shrink_to_fit(); });
    on_each<V>(all, "assign", 0, [](V& v, const T& x) { v.assign(4, x); });
    on_two<V>(all, "operator=", "copy", [](two<V>& both) { both.first = both.second; });
    on_two<V>(all, "operator=", "move", [](two<V>& both) { both.first = std::move(both.second); });
    on_two<V>(all, "swap", "two", [](two<V>& both) { both.first.swap(both.second); });
    on_two<V>(all, "append_range", "of another",
              [](two<V>& both) { both.first.append_range(both.second); });
    on_two<V>(all, "insert_range", "of another",
              [](two<V>& both) { both.first.insert_range(both.first.begin(), both.second); });
    on_two<V>(all, "assign_range", "of another",
              [](two<V>& both) { both.first.assign_range(both.second); });
}

// Many numbers behind the place: they are moved in steps as long as the inserted range, or saved in
// the journal step by step, in its own room or in one more block; downwards also where nothing is
// saved.
void declare_long(registry& all) {
    const auto on = [&](const char* name, int count, const char* how, auto act) {
        return all.add<ints>(
            std::string("shm_vector::") + name, std::to_string(count) + " ints, " + how,
            [count](const crash::segment& where) {
                fill(where.construct<ints>(crash::subject), count, 1600);
            },
            act);
    };
    const auto insert = [](std::ptrdiff_t at, std::size_t number) {
        return [=](ints& v) {
            if (v.size() + number <= v.capacity()) { // growing is a different case
                v.insert(v.begin() + at, number, 7);
            }
        };
    };
    const auto erase = [](std::ptrdiff_t at, std::ptrdiff_t number) {
        return [=](ints& v) {
            if (v.end() - v.begin() >= at + number) {
                v.erase(v.begin() + at, v.begin() + at + number);
            }
        };
    };
    on("insert", 150, "one at the front", insert(0, 1));
    on("insert", 1100, "one at the front", insert(0, 1));
    on("insert", 1100, "two in the middle", insert(550, 2));
    on("insert", 1100, "70 at the front", insert(0, 70));
    on("insert", 1100, "300 at the front", insert(0, 300));
    on("insert", 150, "more than there are", insert(1, 200));
    const auto on_erase = [&](int count, const char* how, std::ptrdiff_t at,
                              std::ptrdiff_t number) {
        auto what = on("erase", count, how, erase(at, number));
        constexpr std::ptrdiff_t step = 64; // of ints, the last ones first
        for (std::ptrdiff_t gone = step; gone < number; gone += step) {
            what.stepwise(erase(at + number - gone, gone));
        }
    };
    on_erase(150, "the first", 0, 1);
    on_erase(1100, "the first", 0, 1);
    on_erase(1100, "two in the middle", 550, 2);
    on_erase(1100, "70 at the front", 0, 70);
    on_erase(1100, "300 at the front", 0, 300);
    on_erase(1100, "all but some", 0, 1000);
}

} // namespace

void crash::declare(registry& all) {
    declare_long(all);
    declare_for<ints>(all);
    declare_for<rows>(all);
}
