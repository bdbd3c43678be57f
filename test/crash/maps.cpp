// The operations of shm_map, shm_set and their kin, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <iterator>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "crash/operations.hpp"

namespace {

using cohold::shm_multimap;
using cohold::shm_multiset;
using cohold::shm_set;
using cohold::shm_string;
using crash::registry;
using names = cohold::shm_map<shm_string, shm_string>;

constexpr const char* sentence = "a text that needs a block of its own";

template <class C>
struct two {
    C it;
    C other;

    std::string tell() { return crash::tell(it) + " and " + crash::tell(other); }
};

// Keys 0, 10, 20 …, put in and taken out so that nodes are turned, and painted, in all ways.
template <class C, class Add>
void fill(C& it, int count, const Add& add) {
    for (int i = 0; i < count; ++i) {
        add(it, i * 7 % count * 10);
    }
}

template <class C, class Add, class Act>
crash::declaration<two<C>> on(registry& all, const std::string& name, const char* setup, int count,
                              const Add& add, const Act& act) {
    return all.add<two<C>>(
        name, setup,
        [count, add](const crash::segment& where) {
            auto& both = where.construct<two<C>>(crash::subject);
            fill(both.it, count, add);
            add(both.other, 0);
            add(both.other, 45);
        },
        act);
}

// Changes the key of a node that is in no map or set.
template <class Node>
void rename(Node& node) {
    const auto change = [](auto& key) {
        if constexpr (std::is_same_v<decltype(key), int&>) {
            key += 32;
        } else {
            key = sentence;
        }
    };
    if constexpr (requires { node.key(); }) {
        change(node.key());
    } else {
        change(node.value());
    }
}

// What all of them can do. `add(c, key)` adds an element.
template <class C, class Add>
void declare_common(registry& all, const char* type, const Add& add) {
    const std::string of = std::string(type) + "::";
    for (const auto& [setup, count] :
         {std::pair("empty", 0), std::pair("one element", 1), std::pair("10 elements", 10)}) {
        on<C>(all, of + "emplace", setup, count, add, [add](two<C>& c) { add(c.it, 35); });
        on<C>(all, of + "insert", setup, count, add,
              [](two<C>& c) { c.it.insert(*std::prev(c.other.end())); });
        on<C>(all, of + "insert", (std::string(setup) + ", an error code").c_str(), count, add,
              [](two<C>& c) {
                  std::error_code ec;
                  c.it.insert(*std::prev(c.other.end()), ec);
              });
        on<C>(all, of + "insert_range", setup, count, add, [](two<C>& c) {
            c.it.insert_range(c.other);
        }).also([](two<C>& c) {
            if (!c.other.empty()) {
                c.it.insert(*c.other.begin());
            }
        });
        on<C>(all, of + "emplace_hint", setup, count, add,
              [](two<C>& c) { c.it.emplace_hint(c.it.end(), *std::prev(c.other.end())); });
        on<C>(all, of + "clear", setup, count, add, [](two<C>& c) { c.it.clear(); });
        on<C>(all, of + "swap", setup, count, add, [](two<C>& c) { c.it.swap(c.other); });
        on<C>(all, of + "merge", setup, count, add, [](two<C>& c) { c.it.merge(c.other); });
        on<C>(all, of + "operator=", setup, count, add,
              [](two<C>& c) { c.it = std::move(c.other); });
    }
    on<C>(all, of + "operator=", "copy", 3, add, [](two<C>& c) { c.it = c.other; });
    for (int at : {0, 3, 9}) {
        const std::string setup = "10 elements, number " + std::to_string(at);
        on<C>(all, of + "erase", setup.c_str(), 10, add, [at](two<C>& c) {
            if (std::size_t(at) < c.it.size()) {
                c.it.erase(std::next(c.it.begin(), at));
            }
        });
        // From one to the other, which takes a section.
        on<C>(all, of + "extract", setup.c_str(), 10, add,
              [at](two<C>& c, const crash::segment& where) {
                  if (std::size_t(at) < c.it.size()) {
                      std::error_code ec;
                      const cohold::detail::section section(*where.allocator<char>().header(), ec);
                      auto node = c.it.extract(std::next(c.it.begin(), at));
                      c.other.insert(std::move(node));
                  }
              });
        on<C>(all, of + "extract", (setup + ", another key").c_str(), 10, add,
              [at](two<C>& c, const crash::segment& where) {
                  if (std::size_t(at) < c.it.size()) {
                      std::error_code ec;
                      const cohold::detail::section section(*where.allocator<char>().header(), ec);
                      typename C::node_type node;
                      node = c.it.extract(std::next(c.it.begin(), at));
                      rename(node);
                      c.it.insert(c.it.end(), std::move(node));
                  }
              });
        on<C>(all, of + "extract", (setup + ", undone").c_str(), 10, add,
              [at](two<C>& c, const crash::segment& where) {
                  if (std::size_t(at) < c.it.size()) {
                      std::error_code ec;
                      typename C::node_type node;
                      cohold::detail::section section(*where.allocator<char>().header(), ec);
                      node = c.it.extract(std::next(c.it.begin(), at));
                      rename(node);
                      c.other.insert(std::move(node));
                      section.roll_back();
                  }
              });
    }
}

// What only maps can do.
void declare_map(registry& all) {
    const auto add = [](names& m, int key) {
        m.try_emplace(std::to_string(key), key % 20 == 0 ? sentence : "short");
    };
    const auto on_map = [&](const char* name, const char* setup, const auto& act) {
        on<names>(all, std::string("shm_map::") + name, setup, 5, add, act);
    };
    on_map("operator[]", "a new key", [](two<names>& m) { m.it["35"]; });
    on_map("try_emplace", "a new key", [](two<names>& m) { m.it.try_emplace("35", sentence); });
    on_map("try_emplace", "a hint",
           [](two<names>& m) { m.it.try_emplace(m.it.end(), "35", sentence); });
    on_map("insert_or_assign", "a new key",
           [](two<names>& m) { m.it.insert_or_assign("35", sentence); });
    on_map("insert_or_assign", "a known key",
           [](two<names>& m) { m.it.insert_or_assign("10", sentence); });
    on_map("insert_or_assign", "a known key, another text",
           [](two<names>& m) { m.it.insert_or_assign("20", "changed"); });
    on_map("emplace_hint", "the end",
           [](two<names>& m) { m.it.emplace_hint(m.it.end(), "99", sentence); });
    on_map("try_emplace", "an error code", [](two<names>& m) {
        std::error_code ec;
        m.it.try_emplace(ec, "35", sentence);
    });
    on_map("insert_or_assign", "an error code", [](two<names>& m) {
        std::error_code ec;
        m.it.insert_or_assign("10", sentence, ec);
    });
    on_map("insert", "an element", [](two<names>& m) { m.it.insert({"15", "text"}); });
    on_map("erase", "a key", [](two<names>& m) { m.it.erase("20"); });
    on_map("erase", "a range",
           [](two<names>& m) { m.it.erase(m.it.lower_bound("10"), m.it.lower_bound("40")); });
}

} // namespace

void crash::declare(registry& all) {
    declare_map(all);
    declare_common<cohold::shm_map<int, int>>(
        all, "shm_map", [](auto& m, int key) { m.try_emplace(key, key + 1); });
    declare_common<shm_multimap<int, shm_string>>(
        all, "shm_multimap", [](auto& m, int key) { m.emplace(key / 20, sentence); });
    declare_common<shm_set<shm_string>>(all, "shm_set",
                                        [](auto& s, int key) { s.emplace(std::to_string(key)); });
    declare_common<shm_multiset<int>>(all, "shm_multiset",
                                      [](auto& s, int key) { s.insert(key / 20); });
}
