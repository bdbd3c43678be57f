// Long random sequences of operations on shm_list and shm_deque, against a container of std; also
// in full segments and in sections that are undone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_UNIT_CONTAINER_SEQUENCE_SUPPORT_HPP
#define COHOLD_TEST_UNIT_CONTAINER_SEQUENCE_SUPPORT_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque> // std::erase, for any model
#include <iterator>
#include <list>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/container/shm_string.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"
#include "tree_support.hpp"
#include "vector_support.hpp"

namespace sequence_test {

using tree_test::fill;
using tree_test::make;
using tree_test::segment;
using tree_test::undone;

inline constexpr std::string_view sentence = "a text that does not fit into the string itself";

template <class T>
T value_of(std::size_t number) {
    if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(number);
    } else {
        return T(std::string(number % 50, static_cast<char>('a' + number % 7)));
    }
}

inline bool is_full(const std::error_code& ec) {
    return ec == cohold::errc::out_of_space || ec == cohold::errc::reserve_exceeded;
}

// A sequence and its model, and operations that are the same on both. `Extra` has those that only
// this kind of sequence has.
template <class Mine, class Model, class Extra>
class pair_of_sequences {
  public:
    using T = typename Mine::value_type;
    using V = typename Model::value_type;

    pair_of_sequences(Mine& mine, unsigned seed) : mine_(mine), random_(seed) {}

    // False if memory has run out: then nothing has changed.
    bool step() {
        try {
            act();
        } catch (const cohold::failure& refused) {
            CHECK(is_full(refused.code()));
            return false;
        }
        return true;
    }

    [[nodiscard]] bool agrees() const {
        return mine_.size() == model_.size() && mine_.empty() == model_.empty() &&
               std::equal(mine_.begin(), mine_.end(), model_.begin(), model_.end()) &&
               std::equal(mine_.rbegin(), mine_.rend(), model_.rbegin(), model_.rend()) &&
               (model_.empty() ||
                (mine_.front() == model_.front() && mine_.back() == model_.back()));
    }

    Model model_;
    int coded_refusals = 0;

  private:
    // On both sides: on the model only if there was memory for it.
    template <class F>
    void both(const F& f) {
        f(mine_);
        f(model_);
    }

    // A form with an error code.
    template <class F, class G>
    void coded(const F& mine, const G& model) {
        std::error_code ec = std::make_error_code(std::errc::io_error);
        const bool done = mine(ec);
        CHECK(done == !ec);
        if (done) {
            model();
        } else {
            CHECK(is_full(ec));
            ++coded_refusals;
        }
    }

    // Both positions, and that the results are at the same place.
    template <class F>
    void at_place(std::size_t index, const F& f) {
        const auto mine = f(mine_, std::next(mine_.begin(), static_cast<std::ptrdiff_t>(index)));
        const auto model = f(model_, std::next(model_.begin(), static_cast<std::ptrdiff_t>(index)));
        CHECK(std::distance(mine_.begin(), mine) == std::distance(model_.begin(), model));
    }

    void act() {
        const std::size_t size = mine_.size();
        const std::size_t index = below(size + 1);
        const std::size_t count = 1 + below(8); // libstdc++'s deque loses strings if it is 0
        const V value = value_of<V>(below(1000));
        switch (below(24)) {
        case 0:
        case 1:
            return both([&](auto& s) { s.emplace_back(value); });
        case 2:
        case 3:
            return both([&](auto& s) { s.emplace_front(value); });
        case 4:
            return coded([&](auto& ec) { return mine_.try_emplace_back(ec, value) != nullptr; },
                         [&] { model_.push_back(value); });
        case 5:
            return coded([&](auto& ec) { return mine_.try_emplace_front(ec, value) != nullptr; },
                         [&] { model_.push_front(value); });
        case 6:
        case 7:
            if (size != 0) {
                both([](auto& s) { s.pop_front(); });
            }
            return;
        case 8:
        case 9:
            if (size != 0) {
                both([](auto& s) { s.pop_back(); });
            }
            return;
        case 10:
        case 11:
            return at_place(index, [&](auto& s, auto at) { return s.emplace(at, value); });
        case 12: {
            const std::vector<V> source = several(count);
            return at_place(index, [&](auto& s, auto at) {
                return s.insert(at, source.begin(), source.end());
            });
        }
        case 13:
            if (count == 8) { // nothing
                const V* const none = nullptr;
                CHECK(mine_.insert(mine_.end(), none, none) == mine_.end());
                CHECK(mine_.insert(mine_.begin(), 0, T()) == mine_.begin());
                return;
            }
            if (size != 0) { // copies of an element of its own
                const auto own = static_cast<std::ptrdiff_t>(below(size));
                at_place(index, [&](auto& s, auto at) {
                    return s.insert(at, count, *std::next(s.begin(), own));
                });
            }
            return;
        case 14:
        case 15:
            if (index != size) {
                at_place(index, [](auto& s, auto at) { return s.erase(at); });
            }
            return;
        case 16: {
            const auto gone = static_cast<std::ptrdiff_t>(below(size - index + 1) % 12);
            return at_place(index,
                            [&](auto& s, auto at) { return s.erase(at, std::next(at, gone)); });
        }
        case 17: {
            const std::size_t other = size / 2 + below(size / 2 + 10);
            return both([&](auto& s) { s.resize(other); });
        }
        case 18: {
            if (below(6) != 0) {
                return;
            }
            const std::vector<V> source = several(3 * count);
            return both([&](auto& s) { s.assign(source.begin(), source.end()); });
        }
        case 19:
            if (below(6) == 0 && size != 0) {
                mine_.assign(count, mine_.back());
                model_.assign(count, V(model_.back())); // std's must not refer to itself
            }
            return;
        case 20:
            if (below(10) == 0) {
                both([](auto& s) { s.clear(); });
            }
            return;
        case 21: {
            Mine copy(mine_);
            CHECK(copy == mine_);
            Mine other(mine_.get_allocator());
            other = std::move(copy);
            CHECK(copy.empty()); // NOLINT: what is left is tested
            mine_.swap(other);
            CHECK((mine_ <=> other) == 0);
            return;
        }
        case 22:
            if (below(3) == 0 && size != 0) {
                const V first = model_.front();
                const auto gone = erase(mine_, first);
                CHECK(gone == std::erase(model_, first));
            }
            return;
        default:
            return Extra::act(mine_, model_, random_);
        }
    }

    std::size_t below(std::size_t limit) { return random_() % limit; }

    std::vector<V> several(std::size_t count) {
        std::vector<V> result;
        for (; count != 0; --count) {
            result.push_back(value_of<V>(below(1000)));
        }
        return result;
    }

    Mine& mine_;
    std::mt19937 random_;
};

// ---- what both kinds of sequences are tested for

// `Plain<T>` has std::allocator, `Shared<T>` is for segments.
template <template <class> class Plain, template <class> class Shared, template <class> class Model,
          class Extra>
struct sequence_tests {
    using texts = Shared<cohold::shm_string>;
    using pair_of_texts = pair_of_sequences<texts, Model<std::string>, Extra>;
    using numbers = Shared<std::int64_t>;
    using pair_of_numbers = pair_of_sequences<numbers, Model<std::int64_t>, Extra>;

    static void agrees_with_std() {
        for (unsigned seed : {1U, 2U, 3U, 7U, 8U, 9U}) {
            Plain<int> local;
            pair_of_sequences<Plain<int>, Model<int>, Extra> both(local, seed);
            const segment here = make();
            pair_of_texts shared(here.construct<texts>("texts"), seed);
            pair_of_numbers counted(here.construct<numbers>("numbers"), seed);
            for (int i = 0; i < 6000; ++i) {
                CHECK(both.step());
                CHECK(shared.step());
                CHECK(counted.step());
                if (!both.agrees() || !shared.agrees() || !counted.agrees()) {
                    CAPTURE(i);
                    FAIL("the sequences differ");
                }
            }
        }
    }

    static void frees_everything() {
        const segment here = make();
        auto& warm = here.construct<texts>("warm"); // so that the thread has its journal
        warm.emplace_back(sentence);
        here.destroy<texts>("warm");
        const auto used = here.used();
        pair_of_texts both(here.construct<texts>("texts"), 11);
        for (int i = 0; i < 1000; ++i) {
            CHECK(both.step());
        }
        here.destroy<texts>("texts");
        CHECK(here.used() == used);
    }

    static void full_segment_changes_nothing() {
        for (unsigned seed : {4U, 5U, 6U}) {
            const segment here = make(1 << 20);
            texts outside(here.allocator<cohold::shm_string>());
            auto& mine = seed == 6U ? outside : here.construct<texts>("texts");
            mine.emplace_back("x"); // so that the thread has its journal
            mine.clear();
            auto& filler = fill(here);
            pair_of_texts both(mine, seed);
            std::mt19937 random(seed);
            int refused = 0;
            for (int i = 0; i < 6000; ++i) {
                refused += both.step() ? 0 : 1;
                if (!both.agrees()) {
                    CAPTURE(i);
                    FAIL("the sequences differ");
                }
                if (random() % 200 == 0 && !filler.empty()) {
                    filler.pop_back();
                }
            }
            CHECK(refused > 100);
            CHECK(both.coded_refusals > 5);
        }
    }

    // What a section does is undone with it.
    template <class Both, class Mine>
    static void undone_in(unsigned seed) {
        const segment here = make();
        Mine outside(here.allocator<typename Mine::value_type>());
        auto& mine = seed == 8U ? outside : here.construct<Mine>("it");
        Both both(mine, seed);
        std::mt19937 random(seed);
        for (int i = 0; i < 2000; ++i) {
            const auto before = both.model_;
            const auto used = here.used();
            const auto steps = random() % 9;
            const auto some = [&] {
                for (auto each = steps; each != 0; --each) {
                    both.step();
                }
            };
            if (random() % 2 == 0) {
                undone(here, some);
                both.model_ = before;
                CHECK(here.used() == used);
            } else {
                some();
            }
            if (!both.agrees()) {
                CAPTURE(i);
                FAIL("the sequences differ");
            }
        }
    }

    static void undone_with_section() {
        for (unsigned seed : {7U, 8U}) {
            undone_in<pair_of_texts, texts>(seed);
            undone_in<pair_of_numbers, numbers>(seed);
        }
    }

    // A sequence on a stack that takes elements in a section which is undone is empty again.
    static void stack_follows_undone_sections() {
        const segment here = make();
        auto& mine = here.construct<texts>("texts");
        mine.emplace_back(sentence);
        mine.emplace_back("second");
        const auto used = here.used();
        texts taken(mine.get_allocator());
        undone(here, [&] { taken = std::move(mine); });
        CHECK(taken.empty());
        CHECK(mine.size() == 2); // NOLINT
        undone(here, [&] { taken.swap(mine); });
        CHECK(taken.empty());
        CHECK(mine.front() == sentence);
        undone(here, [&] {
            texts inner(std::move(mine));
            CHECK(inner.size() == 2);
            inner.pop_front();
        });
        CHECK(mine.front() == sentence);
        undone(here, [&] {
            mine.clear();
            mine.emplace_back("new");
        });
        CHECK(mine.back() == "second");
        CHECK(here.used() == used);
    }

    static void error_codes() {
        std::error_code ec = std::make_error_code(std::errc::io_error);
        SUBCASE("where there is memory") {
            const segment here = make();
            auto& mine = here.construct<texts>("texts");
            const cohold::shm_string text("one");
            CHECK(mine.try_push_back(text, ec));
            CHECK(!ec);
            CHECK(mine.try_push_front(text, ec));
            CHECK(mine.try_push_back(cohold::shm_string("two"), ec));
            CHECK(mine.try_push_front(cohold::shm_string("zero"), ec));
            CHECK(*mine.try_emplace_back(ec, sentence) == sentence);
            CHECK(*mine.try_emplace_front(sentence) == sentence);
            CHECK(mine.try_push_back(text));
            CHECK(mine.try_push_front(text));
            CHECK(mine.try_push_back(cohold::shm_string("two")));
            CHECK(mine.try_push_front(cohold::shm_string("zero")));
            CHECK(!ec);
            CHECK(mine.size() == 10);
        }
        SUBCASE("in a full segment") {
            const segment here = make(1 << 20);
            auto& mine = here.construct<numbers>("numbers");
            mine.push_back(0);
            fill(here);
            while (mine.try_push_back(1, ec)) {
            }
            CHECK(is_full(ec));
            while (mine.try_push_front(1, ec)) {
            }
            CHECK(is_full(ec));
            const auto size = mine.size();
            const auto used = here.used();
            CHECK(!mine.try_push_back(1));
            CHECK(mine.try_emplace_back(2) == nullptr);
            CHECK(mine.try_emplace_front(ec, 2) == nullptr);
            CHECK_THROWS_AS(mine.insert(std::next(mine.begin()), 10000, 7), cohold::failure);
            CHECK(mine.size() == size);
            CHECK(here.used() == used);
            CHECK(std::none_of(mine.begin(), mine.end(), [](auto n) { return n == 7; }));
            mine.pop_back(); // needs no memory
            mine.clear();
            CHECK(mine.empty());
        }
        SUBCASE("outside of a segment") {
            numbers unbound;
            CHECK(unbound.try_emplace_back(ec, 1) == nullptr);
            CHECK(ec == cohold::errc::no_segment);
            ec.clear();
            CHECK(!unbound.try_push_front(1, ec));
            CHECK(ec == cohold::errc::no_segment);
            CHECK_THROWS_AS(unbound.push_back(1), cohold::failure);
            CHECK(unbound.empty());
            Plain<int> local;
            CHECK(local.try_push_back(1, ec));
            CHECK(!ec);
        }
    }

    static void between_segments() {
        const segment here = make();
        const segment there = make();
        auto& a = here.construct<texts>("a");
        auto& b = there.construct<texts>("b");
        a.emplace_back(sentence);
        b = a;
        CHECK(b == a);
        CHECK(b.front().get_allocator() == there.allocator<char>());
        b.clear();
        b = std::move(a);
        CHECK(b.front() == sentence);
        CHECK(b.front().get_allocator() == there.allocator<char>());
        CHECK(a.empty()); // NOLINT
        const texts copied(b, here.allocator<cohold::shm_string>());
        CHECK(copied.front().get_allocator() == here.allocator<char>());
    }

    // A second mapping of the segment has what the first one has.
    static void two_mappings() {
        const std::string name = support::own_name("sequence");
        {
            const auto here = cohold::segment<>::create(name);
            const auto again = cohold::segment<>::open(name);
            pair_of_texts both(here.construct<texts>("texts"), 21);
            texts& mine = *again.find<texts>("texts");
            pair_of_texts other(mine, 22);
            for (int i = 0; i < 2000; ++i) {
                CHECK(both.step());
                other.model_ = both.model_;
                CHECK(other.agrees());
                CHECK(other.step());
                both.model_ = other.model_;
                if (!both.agrees()) {
                    CAPTURE(i);
                    FAIL("the mappings differ");
                }
            }
        }
        CHECK(cohold::segment<>::remove(name));
    }

    // Two processes add to one end and take from the other.
    static void two_processes() {
        struct work {
            texts waiting;
            numbers done;
        };

        const std::string name = support::own_name("processes");
        {
            const auto here = cohold::segment<>::create(name);
            auto& shared = here.construct<cohold::shm_guarded<work>>("work");
            constexpr int count = 300;
            const auto act = [](auto& guarded, int from) {
                for (int i = 0; i < count; ++i) {
                    guarded.with([&](work& all) {
                        all.waiting.emplace_back(std::string(30, 'x') + std::to_string(from + i));
                        if (i % 2 == 1) {
                            for (int twice = 0; twice < 2; ++twice) {
                                all.done.push_back(
                                    std::stoll(all.waiting.front().str().substr(30)));
                                all.waiting.pop_front();
                            }
                        }
                    });
                }
            };
            support::child child([&] {
                const auto there = cohold::segment<>::open(name);
                act(*there.find<cohold::shm_guarded<work>>("work"), 1000);
            });
            act(shared, 2000);
            CHECK(child.wait().code == 0);
            const auto guard = shared.lock();
            CHECK(guard->waiting.empty());
            std::vector<std::int64_t> all(guard->done.begin(), guard->done.end());
            CHECK(all.size() == 2 * count);
            std::int64_t next[] = {1000, 2000}; // those of each process are in order
            for (const std::int64_t each : all) {
                CHECK(each == next[each / 1000 - 1]++);
            }
        }
        CHECK(cohold::segment<>::remove(name));
    }

    // Elements that throw: nothing is lost, constructed twice or destroyed twice.
    static void exceptions() {
        using namespace vector_test;
        using T = probe<moving::may_throw>;
        const long outside = fuse::live;
        for (long fails = 0; fails < 40; ++fails) {
            Plain<T> mine;
            for (int i = 0; i < 6; ++i) {
                mine.emplace_back(i);
            }
            const auto attempt = [&](const auto& f) {
                const auto size = mine.size();
                fuse::countdown = fails;
                bool thrown = false;
                try {
                    f();
                } catch (const boom&) {
                    thrown = true;
                }
                fuse::countdown = -1;
                CHECK(static_cast<std::size_t>(fuse::live - outside) == mine.size());
                return thrown ? size : SIZE_MAX;
            };
            // At the ends nothing has changed.
            for (const bool front : {false, true}) {
                const auto size =
                    attempt([&] { front ? mine.emplace_front(9) : mine.emplace_back(9); });
                CHECK((size == SIZE_MAX || size == mine.size()));
            }
            attempt([&] { mine.emplace(std::next(mine.begin(), 2), 8); });
            attempt([&] { mine.insert(std::next(mine.begin(), 3), 3, T(7)); });
            attempt([&] { mine.erase(std::next(mine.begin())); });
            attempt([&] { mine.assign(4, T(5)); });
            attempt([&] { mine.resize(9); });
            attempt([&] { Plain<T> copy(mine); });
            CHECK(std::all_of(mine.begin(), mine.end(),
                              [](const T& each) { return each.value() >= -1; }));
        }
        CHECK(fuse::live == outside);
    }
};

} // namespace sequence_test

#endif
