// The operations of shm_list and shm_deque, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "crash/operations.hpp"

namespace {

using crash::registry;
using ints = cohold::shm_vector<int>;

// Elements with plain bytes and with memory of their own. A block of a deque has four of them.
template <class T>
struct wide {
    T it{};
    std::array<char, 256 - sizeof(T)> room{};

    std::string tell() { return crash::tell(it); }
};

using numbers = wide<int>;
using rows = wide<ints>;

void set(numbers& element, int number) {
    element.it = number;
}

void set(rows& element, int number) {
    element.it.assign({number, number + 1});
}

int number_of(const numbers& element) {
    return element.it;
}

int number_of(const rows& element) {
    return element.it.empty() ? 0 : element.it[0];
}

constexpr auto is_less = [](const auto& a, const auto& b) { return number_of(a) < number_of(b); };
constexpr auto are_equal = [](const auto& a, const auto& b) {
    return number_of(a) == number_of(b);
};

template <class C>
struct two {
    C it;
    C other;
    typename C::value_type spare{}; // an element that is not in the segment could not be freed

    std::string tell() {
        return crash::tell(it) + " and " + crash::tell(other) + " and " + crash::tell(spare);
    }
};

struct state {
    const char* name;
    int pushed;
    int popped; // of these, from the front
};

// In a deque, the first block then begins with the first element; a queue has left one behind; and
// the map of the blocks is full.
constexpr state states[] = {
    {"empty", 0, 0}, {"three", 3, 0}, {"a block is left", 8, 5}, {"a full map", 16, 0}};

template <class C>
void fill(C& sequence, const state& how) {
    for (int i = 0; i < how.pushed; ++i) {
        set(sequence.emplace_back(), i * 7 % 5 * 10);
    }
    for (int i = 0; i < how.popped; ++i) {
        sequence.pop_front();
    }
}

template <class C>
std::string kind() {
    return std::is_same_v<typename C::value_type, numbers> ? "ints, " : "vectors, ";
}

template <class C, class Act>
void on(registry& all, const std::string& name, const std::string& how, const state& setup,
        const Act& act) {
    all.add<two<C>>(
        name, kind<C>() + setup.name + how,
        [setup](const crash::segment& where) {
            auto& made = where.construct<two<C>>(crash::subject);
            fill(made.it, setup);
            set(made.other.emplace_back(), 0);
            set(made.other.emplace_back(), 25);
            set(made.spare, 70);
        },
        act);
}

// In all states that have at least that many elements, as far as they differ for the operation: a
// list has no blocks, and what inserts and erases in the middle needs none.
template <class C, class Act>
void on_each(registry& all, const std::string& name, int least, const Act& act,
             const char* how = "") {
    const bool blocks = name.starts_with("shm_deque") &&
                        (name.ends_with("_back") || name.ends_with("_front") ||
                         name.ends_with("clear") || name.ends_with("shrink_to_fit"));
    for (const state& each : states) {
        if (each.pushed - each.popped >= least && (blocks || each.pushed <= 3)) {
            on<C>(all, name, how, each, act);
        }
    }
}

template <class C>
void declare_common(registry& all, const std::string& type) {
    const std::string of = type + "::";
    on_each<C>(all, of + "push_back", 0, [](two<C>& c) { c.it.push_back(c.spare); });
    on_each<C>(all, of + "push_front", 0, [](two<C>& c) { c.it.push_front(c.spare); });
    on_each<C>(
        all, of + "push_back", 3, [](two<C>& c) { c.it.push_back(std::move(c.spare)); }, ", moved");
    on_each<C>(
        all, of + "push_front", 3, [](two<C>& c) { c.it.push_front(std::move(c.spare)); },
        ", moved");
    on_each<C>(all, of + "emplace_back", 3, [](two<C>& c) { c.it.emplace_back(c.spare); });
    on_each<C>(all, of + "emplace_front", 3, [](two<C>& c) { c.it.emplace_front(c.spare); });
    on_each<C>(all, of + "try_push_back", 0, [](two<C>& c) { return c.it.try_push_back(c.spare); });
    on_each<C>(all, of + "try_push_front", 0,
               [](two<C>& c) { return c.it.try_push_front(c.spare); });
    on_each<C>(all, of + "try_emplace_back", 3, [](two<C>& c) {
        std::error_code ec;
        return c.it.try_emplace_back(ec, c.spare) != nullptr;
    });
    on_each<C>(all, of + "try_emplace_front", 3, [](two<C>& c) {
        std::error_code ec;
        return c.it.try_emplace_front(ec, c.spare) != nullptr;
    });
    on_each<C>(all, of + "pop_back", 3, [](two<C>& c) {
        if (!c.it.empty()) {
            c.it.pop_back();
        }
    });
    on_each<C>(all, of + "pop_front", 3, [](two<C>& c) {
        if (!c.it.empty()) {
            c.it.pop_front();
        }
    });
    for (const int at : {1, 2}) { // nearer to the front, and to the back
        const std::string how = ", at " + std::to_string(at);
        on_each<C>(
            all, of + "insert", 3,
            [at](two<C>& c) { c.it.insert(std::next(c.it.begin(), at), c.spare); }, how.c_str());
        on_each<C>(
            all, of + "insert", 3,
            [at](two<C>& c) { c.it.insert(std::next(c.it.begin(), at), 2, c.spare); },
            (how + ", two of it").c_str());
        on_each<C>(
            all, of + "insert_range", 3,
            [at](two<C>& c) { c.it.insert_range(std::next(c.it.begin(), at), c.other); },
            how.c_str());
        on_each<C>(
            all, of + "erase", 3,
            [at](two<C>& c) {
                if (c.it.size() > 2) {
                    c.it.erase(std::next(c.it.begin(), at - 1));
                }
            },
            how.c_str());
        on_each<C>(
            all, of + "erase", 3,
            [at](two<C>& c) {
                if (c.it.size() > 2) {
                    c.it.erase(std::next(c.it.begin(), at - 1), std::next(c.it.begin(), at + 1));
                }
            },
            (how + ", two").c_str());
    }
    on_each<C>(
        all, of + "insert", 3,
        [](two<C>& c) { c.it.insert(std::next(c.it.begin()), std::move(c.spare)); }, ", moved");
    on_each<C>(all, of + "emplace", 3,
               [](two<C>& c) { c.it.emplace(std::next(c.it.begin()), c.spare); });
    on_each<C>(all, of + "append_range", 0, [](two<C>& c) { c.it.append_range(c.other); });
    on_each<C>(all, of + "prepend_range", 3, [](two<C>& c) { c.it.prepend_range(c.other); });
    on_each<C>(all, of + "clear", 0, [](two<C>& c) { c.it.clear(); });
    on_each<C>(all, of + "resize", 0, [](two<C>& c) { c.it.resize(c.it.size() + 2); }, ", larger");
    on_each<C>(all, of + "resize", 3, [](two<C>& c) { c.it.resize(1); }, ", smaller");
    on_each<C>(all, of + "assign", 0, [](two<C>& c) { c.it.assign(2, c.spare); });
    on_each<C>(all, of + "assign_range", 3, [](two<C>& c) { c.it.assign_range(c.other); });
    on_each<C>(all, of + "operator=", 3, [](two<C>& c) { c.it = c.other; }, ", copy");
    on_each<C>(all, of + "operator=", 0, [](two<C>& c) { c.it = std::move(c.other); }, ", move");
    on_each<C>(all, of + "swap", 0, [](two<C>& c) { c.it.swap(c.other); });
}

template <class T>
void declare_deque(registry& all) {
    using C = cohold::shm_deque<T>;
    declare_common<C>(all, "shm_deque");
    on_each<C>(all, "shm_deque::shrink_to_fit", 0, [](two<C>& c) { c.it.shrink_to_fit(); });
}

template <class T>
void declare_list(registry& all) {
    using C = cohold::shm_list<T>;
    declare_common<C>(all, "shm_list");
    const auto with = [&](const char* name, const char* how, const auto& act) {
        on_each<C>(all, std::string("shm_list::") + name, 0, act, how);
    };
    with("splice", ", all", [](two<C>& c) { c.it.splice(c.it.begin(), c.other); });
    with("splice", ", one", [](two<C>& c) {
        if (!c.other.empty()) {
            c.it.splice(c.it.end(), c.other, c.other.begin());
        }
    });
    with("splice", ", a range",
         [](two<C>& c) { c.it.splice(c.it.begin(), c.other, c.other.begin(), c.other.end()); });
    with("splice", ", within it", [](two<C>& c) {
        if (!c.it.empty()) {
            c.it.splice(c.it.begin(), c.it, std::prev(c.it.end()));
        }
    });
    with("merge", "", [](two<C>& c) {
        if (std::is_sorted(c.it.begin(), c.it.end(), is_less)) {
            c.it.merge(c.other, is_less);
        }
    });
    with("sort", "", [](two<C>& c) { c.it.sort(is_less); });
    with("reverse", "", [](two<C>& c) { c.it.reverse(); });
    with("unique", "", [](two<C>& c) { c.it.unique(are_equal); });
    with("remove_if", "",
         [](two<C>& c) { c.it.remove_if([](const T& each) { return number_of(each) > 15; }); });
}

} // namespace

void crash::declare(registry& all) {
    declare_list<numbers>(all);
    declare_list<rows>(all);
    declare_deque<numbers>(all);
    declare_deque<rows>(all);
    all.covered("shm_list::remove", "shm_list::remove_if");
}
