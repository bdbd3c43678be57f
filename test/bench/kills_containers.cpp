// Rows of the table of kills: cohold's containers and shared pointers.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kills_segment.hpp"

namespace kills {
namespace {

// A container that gets the same calls as one of the standard library. Kind has the two types,
// `apply`, which is a call to either, and `same`. The last of `cycle` calls leaves it empty.
template <class Kind>
class modelled {
  public:
    static constexpr std::uint64_t calls_before = Kind::calls_before;

    modelled() { container_ = made(); }

    void prepare() {}

    void operate(std::uint64_t call) { Kind::apply(*container_, call); }

    /// Calls that had returned have happened, the one that had begun has happened or not; the
    /// container works on, and gives back all of its memory.
    bool survive(std::uint64_t begun, std::uint64_t returned) {
        segment_->recover();
        if (!Kind::same(*container_, after(returned)) &&
            !(begun != returned && Kind::same(*container_, after(begun)))) {
            return false;
        }
        if (!empties()) {
            return false;
        }
        return unused_.is_that_of(segment_);
    }

  private:
    using type = typename Kind::type;
    using model = typename Kind::model;

    static model after(std::uint64_t calls) {
        model made;
        for (std::uint64_t call = calls - calls % Kind::cycle; call <= calls; ++call) {
            if (call != 0) { // the first one is 1
                Kind::apply(made, call);
            }
        }
        return made;
    }

    type* made() { return &segment_->template construct<type>("object"); }

    // Goes on, as the victim would have done, with a container that starts empty; then destroys it.
    bool empties() {
        bool right = true;
        model expected;
        for (int container = 0; container < 2; ++container) {
            if (container == 1) { // again, in the memory of the first one
                segment_->template destroy<type>("object");
                container_ = made();
            } else {
                Kind::empty(*container_);
            }
            for (std::uint64_t call = Kind::cycle; call < 2 * Kind::cycle; ++call) {
                Kind::apply(*container_, call);
                Kind::apply(expected, call);
                if (call % 16 == 0) {
                    right = right && Kind::same(*container_, expected);
                }
            }
        }
        right = right && Kind::same(*container_, model());
        return segment_->template destroy<type>("object") && right;
    }

    // Destroyed by the process that found out what was in use then.
    home segment_;
    type* container_ = made();
    memory_in_use unused_{segment_, [this] { bench::check(empties(), "an unharmed container"); }};
};

// Of a length that fits into a string, or not.
std::string text(std::uint64_t call) {
    return std::string(call % 3 == 0 ? 8 : 30 + call % 40, static_cast<char>('a' + call % 26));
}

template <class Sequence>
auto middle(Sequence& sequence) {
    return std::next(sequence.begin(), static_cast<std::ptrdiff_t>(sequence.size() / 2));
}

struct strings {
    using type = cohold::shm_string;
    using model = std::string;
    static constexpr std::uint64_t cycle = 64;
    static constexpr std::uint64_t calls_before = 64;

    template <class String>
    static void apply(String& string, std::uint64_t call) {
        const std::uint64_t step = call % cycle;
        if (step == cycle - 1) {
            string.clear();
            string.shrink_to_fit();
        } else if (step % 16 == 9) {
            string.assign(text(call));
        } else if (step % 4 == 0) {
            string.append(text(call));
        } else if (step % 4 == 1) {
            string.insert(string.size() / 2, text(call));
        } else if (step % 4 == 2) {
            string.replace(string.size() / 3, string.size() / 4, text(call));
        } else {
            string.erase(string.size() / 4, string.size() / 8);
        }
    }

    static void empty(type& string) { string.clear(); }

    static bool same(const type& string, const model& expected) {
        return std::string_view(string) == expected && string.c_str()[string.size()] == '\0';
    }
};

struct lists {
    using type = cohold::shm_list<cohold::shm_string>;
    using model = std::list<std::string>;
    static constexpr std::uint64_t cycle = 64;
    static constexpr std::uint64_t calls_before = 64;

    template <class List>
    static void apply(List& list, std::uint64_t call) {
        const std::uint64_t step = call % cycle;
        if (step == cycle - 1) {
            list.clear();
        } else if (step % 8 < 3) {
            list.emplace_back(text(call));
        } else if (step % 8 == 3) {
            list.emplace_front(text(call));
        } else if (step % 8 == 4) {
            list.emplace(middle(list), text(call));
        } else if (step % 8 == 5) {
            list.sort();
        } else if (step % 8 == 6) {
            list.reverse();
        } else {
            list.erase(middle(list));
        }
    }

    static void empty(type& list) { list.clear(); }

    // There and back: both directions of the links.
    static bool same(const type& list, const model& expected) {
        return list.size() == expected.size() &&
               std::equal(list.begin(), list.end(), expected.begin(), expected.end()) &&
               std::equal(list.rbegin(), list.rend(), expected.rbegin(), expected.rend());
    }
};

struct deques {
    using type = cohold::shm_deque<std::uint64_t>;
    using model = std::deque<std::uint64_t>;
    static constexpr std::uint64_t cycle = 1024; // some blocks of elements
    static constexpr std::uint64_t calls_before = 512;

    template <class Deque>
    static void apply(Deque& deque, std::uint64_t call) {
        const std::uint64_t step = call % cycle;
        if (step == cycle - 1) {
            deque.clear();
            deque.shrink_to_fit();
        } else if (step % 8 < 4) {
            deque.push_back(call);
        } else if (step % 8 == 4) {
            deque.push_front(call);
        } else if (step % 8 == 5) {
            deque.insert(middle(deque), call);
        } else if (step % 8 == 6) {
            deque.pop_front();
        } else {
            deque.erase(middle(deque));
        }
    }

    static void empty(type& deque) { deque.clear(); }

    static bool same(const type& deque, const model& expected) {
        return std::equal(deque.begin(), deque.end(), expected.begin(), expected.end());
    }
};

struct maps {
    using type = cohold::shm_map<std::uint64_t, cohold::shm_string>;
    using model = std::map<std::uint64_t, std::string>;
    static constexpr std::uint64_t cycle = 256;
    static constexpr std::uint64_t calls_before = 128;

    template <class Map>
    static void apply(Map& map, std::uint64_t call) {
        const std::uint64_t step = call % cycle;
        const std::uint64_t key = call * 31 % 97;
        if (step == cycle - 1) {
            map.clear();
        } else if (step % 4 == 0) {
            map.insert_or_assign(key, text(call));
        } else if (step % 4 == 1) {
            map.try_emplace(key, text(call));
        } else if (step % 4 == 2) {
            if (const auto found = map.lower_bound(key); found != map.end()) {
                found->second += text(call);
            }
        } else {
            map.erase(call * 17 % 97);
        }
    }

    static void empty(type& map) { map.clear(); }

    static bool same(const type& map, const model& expected) {
        return std::equal(map.begin(), map.end(), expected.begin(), expected.end(),
                          [](const auto& one, const auto& other) {
                              return one.first == other.first && one.second == other.second;
                          }) &&
               std::all_of(expected.begin(), expected.end(),
                           [&](const auto& each) { return map.contains(each.first); });
    }
};

// A std::map with the members of a hash table that many may use.
template <class T>
struct table : std::map<std::uint64_t, T> {
    template <class Function>
    void update(std::uint64_t key, Function function) {
        if (const auto found = this->find(key); found != this->end()) {
            function(found->second);
        }
    }
};

template <class Map, class T, class Equal>
bool same_elements(Map& map, const table<T>& expected, Equal equal) {
    bool right = map.size() == expected.size();
    for (const auto& [key, value] : expected) {
        right = right && map.cvisit(key, [&](const auto& found) {
            right = right && equal(found.second, value);
        }) == 1;
    }
    return right;
}

// Plain elements, which lie in the table: it grows.
struct plain_tables {
    using type = cohold::shm_hash_map<std::uint64_t, std::array<std::uint64_t, 3>>;
    using model = table<std::array<std::uint64_t, 3>>;
    static constexpr std::uint64_t most = 1000;
    static constexpr std::uint64_t cycle = most * 2 + 500;
    static constexpr std::uint64_t calls_before = 2;

    template <class Map>
    static void apply(Map& map, std::uint64_t call) {
        const std::uint64_t step = call % cycle;
        if (step < most) {
            map.insert_or_assign(step, std::array{call, call, call});
        } else if (step < cycle - most) {
            map.update(step * 7 % most, [&](auto& value) { value = {call, call, call}; });
        } else {
            map.erase(step - (cycle - most));
        }
    }

    static void empty(type& map) { map.clear(); }

    static bool same(type& map, const model& expected) {
        return same_elements(map, expected, [](auto& one, auto& other) { return one == other; });
    }
};

struct tables_of_texts {
    using type = cohold::shm_hash_map<std::uint64_t, cohold::shm_string>;
    using model = table<std::string>;
    static constexpr std::uint64_t most = 50;
    static constexpr std::uint64_t cycle = 200;
    static constexpr std::uint64_t calls_before = 2;

    template <class Map>
    static void apply(Map& map, std::uint64_t call) {
        const std::uint64_t step = call % cycle;
        if (step >= cycle - most) {
            map.erase(step - (cycle - most));
        } else if (step % 4 == 0) {
            map.insert_or_assign(call * 31 % most, text(call));
        } else if (step % 4 == 1) {
            map.try_emplace(call * 31 % most, text(call));
        } else if (step % 4 == 2) {
            map.update(call * 30 % most, [&](auto& value) { value += text(call); });
        } else {
            map.erase(call * 17 % most);
        }
    }

    static void empty(type& map) { map.clear(); }

    static bool same(type& map, const model& expected) {
        return same_elements(map, expected, [](auto& one, auto& other) { return one == other; });
    }
};

// Objects that pointers in the segment and one of the victim share.
class shared_pointers {
  public:
    static constexpr std::uint64_t calls_before = 16;

    void prepare() {}

    void operate(std::uint64_t call) {
        cohold::shm_shared_ptr<item>& place = places_->at[call % count];
        if (call % 3 == 0) {
            place.reset();
        } else if (call % 3 == 1) {
            mine_ = cohold::make_shm_shared<item>(*segment_, numbered(call));
            place = mine_;
        } else {
            place = places_->at[(call + count - 1) % count];
        }
    }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        segment_->recover();
        const bool right = is_after(returned) || (begun != returned && is_after(begun));
        return works_on() && right && unused_.is_that_of(segment_);
    }

  private:
    static constexpr std::uint64_t count = 4;

    struct places {
        cohold::shm_shared_ptr<item> at[count];
    };

    bool is_after(std::uint64_t calls) {
        std::uint64_t numbers[count] = {};
        for (std::uint64_t call = 1; call <= calls; ++call) {
            numbers[call % count] = call % 3 == 0   ? 0
                                    : call % 3 == 1 ? call
                                                    : numbers[(call + count - 1) % count];
        }
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto& pointer = places_->at[i];
            const std::ptrdiff_t holders = std::count(numbers, numbers + count, numbers[i]);
            if (numbers[i] == 0
                    ? pointer != nullptr
                    : pointer == nullptr || !pointer->whole() || pointer->number != numbers[i] ||
                          static_cast<std::ptrdiff_t>(pointer.use_count()) != holders) {
                return false;
            }
        }
        return true;
    }

    void reset() {
        for (auto& pointer : places_->at) {
            pointer.reset();
        }
        mine_.reset();
    }

    // Leaves no object.
    bool works_on() {
        reset();
        for (std::uint64_t call = 1; call <= 60; ++call) {
            operate(call);
        }
        mine_.reset();
        const bool right = is_after(60);
        reset();
        return right;
    }

    home segment_;
    places* places_ = &segment_->construct<places>("places");
    cohold::shm_shared_ptr<item> mine_;
    memory_in_use unused_{segment_, [this] { bench::check(works_on(), "unharmed pointers"); }};
};

class atomic_pointer {
  public:
    static constexpr std::uint64_t calls_before = 4;

    void prepare() {}

    void operate(std::uint64_t call) {
        auto next = cohold::make_shm_shared<item>(*segment_, numbered(call));
        if (call % 3 == 0) {
            newest_->store(std::move(next));
        } else if (call % 3 == 1) {
            const auto last = newest_->exchange(std::move(next));
            bench::check((last ? last->number : 0) == call - 1, "the object before");
        } else {
            auto expected = newest_->load();
            bench::check(newest_->compare_exchange_strong(expected, std::move(next)),
                         "nobody else stores");
        }
    }

    bool survive(std::uint64_t begun, std::uint64_t returned) {
        segment_->recover();
        const bool right = is_now(returned) || is_now(begun);
        return works_on() && right && unused_.is_that_of(segment_);
    }

  private:
    bool is_now(std::uint64_t number) {
        const auto now = newest_->load();
        return now && now->whole() && now->number == number && now.use_count() == 2;
    }

    // Leaves no object.
    bool works_on() {
        newest_->store(nullptr);
        for (std::uint64_t call = 1; call <= 60; ++call) {
            operate(call);
        }
        const bool right = is_now(60);
        newest_->store(nullptr);
        return right;
    }

    home segment_;
    cohold::shm_atomic_shared_ptr<item>* newest_ =
        &segment_->construct<cohold::shm_atomic_shared_ptr<item>>("newest");
    memory_in_use unused_{segment_,
                          [this] { bench::check(works_on(), "an unharmed atomic pointer"); }};
};

} // namespace

std::vector<row> rows_of_containers() {
    return {
        {"shm_string: append, insert, replace, erase", referee<modelled<strings>>},
        {"shm_map: insert, assign, erase, clear", referee<modelled<maps>>},
        {"shm_hash_map of plain elements, which grows", referee<modelled<plain_tables>>},
        {"shm_hash_map of texts", referee<modelled<tables_of_texts>>},
        {"shm_list: insert, erase, sort, reverse", referee<modelled<lists>>},
        {"shm_deque: push, pop, insert, erase", referee<modelled<deques>>},
        {"shm_shared_ptr: make, copy, reset", referee<shared_pointers>},
        {"shm_atomic_shared_ptr: store, exchange", referee<atomic_pointer>},
    };
}

} // namespace kills
