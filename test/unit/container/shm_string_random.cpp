// shm_string against std::string: long random sequences of operations with fixed seeds, also in a
// segment that is nearly full and in sections that are undone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_string.hpp>

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

using cohold::shm_basic_string;
using cohold::shm_vector;
using segment = cohold::segment<cohold::mechanism::memfd>;

namespace {

// Two strings and their models, and operations that are the same on both sides.
template <class S>
class pair_of_strings {
  public:
    using Char = typename S::value_type;
    using R = std::basic_string<Char>;
    using V = std::basic_string_view<Char>;
    using size_type = typename S::size_type;

    pair_of_strings(S& mine, S& other, std::uint32_t seed)
        : mine_(mine), other_(other), random_(seed) {}

    // False if memory has run out: then nothing has changed.
    bool step() {
#if defined(__cpp_exceptions)
        try {
            act();
        } catch (const cohold::failure& refused) {
            CHECK((refused.code() == cohold::errc::out_of_space ||
                   refused.code() == cohold::errc::reserve_exceeded));
            return false;
        }
#else
        act();
#endif
        if (model_.size() > longest_) {
            const auto size = static_cast<size_type>(below(40));
            mine_.resize(size);
            model_.resize(size);
        }
        return true;
    }

    [[nodiscard]] bool agree() const { return same(mine_, model_) && same(other_, other_model_); }

    [[nodiscard]] std::pair<R, R> models() const { return {model_, other_model_}; }

    void restore(std::pair<R, R> models) {
        model_ = std::move(models.first);
        other_model_ = std::move(models.second);
    }

    void limit(std::size_t longest) { longest_ = longest; }

  private:
    static bool same(const S& mine, const R& model) {
        return V(mine) == V(model) && mine.capacity() >= mine.size() &&
               mine.c_str()[mine.size()] == Char();
    }

    // For the forms with an error code: does the memory suffice?
    template <class F>
    static bool fits(const F& f) {
        std::error_code ec = std::make_error_code(std::errc::io_error);
        const bool done = f(ec);
        CHECK(done == !ec);
        CHECK((!ec || ec == cohold::errc::out_of_space || ec == cohold::errc::reserve_exceeded));
        return done;
    }

    // On both sides: the model only changes if the string does.
    template <class F>
    void both(const F& f) {
        f(mine_);
        f(model_);
    }

    void act() {
        const auto size = static_cast<size_type>(model_.size());
        const auto at = below(size + 1);
        const auto removed = below(size + 3);
        const auto count = below(random_() % 8 == 0 ? longest_ / 2 : 14);
        const Char one = fresh();
        const R text = several(count);
        const auto from = static_cast<size_type>(below(text.size() + 1));
        switch (below(50)) {
        case 0:
        case 1:
        case 2:
            return both([&](auto& s) { s.push_back(one); });
        case 3:
            return both([&](auto& s) { s += text; });
        case 4:
            return both([&](auto& s) { s.append(text.c_str()); });
        case 5:
            return both([&](auto& s) { s.append(text, from, removed); });
        case 6:
            return both([&](auto& s) { s.append(count, one); });
        case 7: {
            const std::list<Char> list(text.begin(), text.end());
            return both([&](auto& s) { s.append(list.begin(), list.end()); });
        }
        case 8:
            return both([&](auto& s) { s.insert(at, text); });
        case 9:
            return both([&](auto& s) { s.insert(at, text.c_str()); });
        case 10:
            return both([&](auto& s) { s.insert(at, count, one); });
        case 11: {
            const auto mine = mine_.insert(mine_.begin() + at, one);
            const auto model = model_.insert(model_.begin() + signed_of(at), one);
            CHECK(mine - mine_.begin() == model - model_.begin());
            return;
        }
        case 12: {
            const auto mine = mine_.insert(mine_.cbegin() + at, text.begin(), text.end());
            const auto model =
                model_.insert(model_.cbegin() + signed_of(at), text.begin(), text.end());
            CHECK(mine - mine_.begin() == model - model_.begin());
            return;
        }
        case 13:
        case 14:
            return both([&](auto& s) { s.erase(at, removed); });
        case 15: {
            if (at == size) {
                return;
            }
            const auto mine = mine_.erase(mine_.begin() + at);
            const auto model = model_.erase(model_.begin() + signed_of(at));
            CHECK(mine - mine_.begin() == model - model_.begin());
            return;
        }
        case 16: {
            const size_type last = at + below(size - at + 1);
            const auto mine = mine_.erase(mine_.begin() + at, mine_.cbegin() + last);
            CHECK(mine - mine_.begin() ==
                  model_.erase(model_.begin() + signed_of(at), model_.begin() + signed_of(last)) -
                      model_.begin());
            return;
        }
        case 17:
        case 18:
            return both([&](auto& s) { s.replace(at, removed, text); });
        case 19:
            return both([&](auto& s) { s.replace(at, removed, text.c_str()); });
        case 20:
            return both([&](auto& s) { s.replace(at, removed, count, one); });
        case 21:
            return both([&](auto& s) {
                const size_type last = at + limited(removed, size - at);
                s.replace(s.begin() + signed_of(at), s.begin() + signed_of(last), text);
            });
        case 22:
            return both([&](auto& s) { s.assign(text); });
        case 23:
            return both([&](auto& s) { s = text.c_str(); });
        case 24:
            return both([&](auto& s) { s = V(text); });
        case 25:
            return both([&](auto& s) { s.assign(count, one); });
        case 26:
            return both([&](auto& s) { s = one; });
        case 27:
            return both([&](auto& s) { s.resize(below_fixed(at, 2 * size + 5), one); });
        case 28:
            if (random_() % 4 == 0) {
                return both([&](auto& s) { s.clear(); });
            }
            return;
        case 29:
            if (size != 0) {
                both([&](auto& s) { s.pop_back(); });
            }
            return;
        case 30:
            return mine_.reserve(below(longest_));
        case 31:
            mine_.shrink_to_fit();
            return;
        // With parts of itself.
        case 32:
            return both([&](auto& s) { s.append(s); });
        case 33:
            return both([&](auto& s) { s.append(s.data() + at, limited(removed, size - at)); });
        case 34:
            return both([&](auto& s) { s.append(s, at, removed); });
        case 35:
            return both([&](auto& s) { s.insert(at, s.c_str()); });
        case 36:
        case 37:
        case 38: {
            const size_type own = below(size + 1);
            const size_type length = below(size - own + 1);
            return both([&](auto& s) { s.insert(at, s.data() + own, length); });
        }
        case 39:
        case 40:
        case 41: {
            const size_type own = below(size + 1);
            const size_type length = below(size - own + 1);
            return both([&](auto& s) { s.replace(at, removed, s.data() + own, length); });
        }
        case 42: {
            const size_type own = below(size + 1);
            const size_type length = below(size - own + 1);
            return both([&](auto& s) { s.assign(s.data() + own, length); });
        }
        case 43:
            mine_ = other_;
            model_ = other_model_;
            return;
        case 44:
            mine_.swap(other_);
            model_.swap(other_model_);
            return;
        case 45:
            mine_ = std::move(other_);
            model_ = std::move(other_model_);
            other_model_.clear();
            return;
        case 46:
            if (fits([&](std::error_code& ec) { return mine_.try_assign(text, ec); })) {
                model_ = text;
            }
            return;
        case 47:
            if (fits([&](std::error_code& ec) { return mine_.try_append(text, ec); })) {
                model_ += text;
            }
            return;
        case 48: {
            const auto erased = erase(mine_, one);
            CHECK(erased == std::erase(model_, one));
            return;
        }
        default:
            look(at, removed, text, one);
            return;
        }
    }

    // Operations that change nothing.
    void look(size_type at, size_type count, const R& text, Char one) {
        const auto is = [](auto mine, auto model) {
            CHECK((mine == S::npos ? R::npos : static_cast<std::size_t>(mine)) == model);
        };
        const R part = model_.substr(at, 2);
        is(mine_.find(part), model_.find(part));
        is(mine_.find(one, at), model_.find(one, at));
        is(mine_.rfind(part.c_str()), model_.rfind(part.c_str()));
        is(mine_.find_first_of(text), model_.find_first_of(text));
        is(mine_.find_last_of(text, at), model_.find_last_of(text, at));
        is(mine_.find_first_not_of(text), model_.find_first_not_of(text));
        is(mine_.find_last_not_of(one), model_.find_last_not_of(one));
        const S own_part = mine_.substr(at, count);
        CHECK(V(own_part) == V(model_).substr(at, count));
        CHECK((mine_.compare(at, count, text) < 0) == (model_.compare(at, count, text) < 0));
        CHECK(mine_.starts_with(text) == model_.starts_with(text));
        CHECK(mine_.ends_with(part) == model_.ends_with(part));
        CHECK(mine_.contains(text) == (model_.find(text) != R::npos));
        CHECK((mine_ < text) == (model_ < text));
        CHECK((mine_ == text) == (model_ == text));
        CHECK((mine_ <=> other_) == (model_ <=> other_model_));
        const S behind = mine_ + text;
        CHECK(V(behind) == V(model_ + text));
        const S before = text + mine_;
        CHECK(V(before) == V(text + model_));
        CHECK(std::hash<S>()(mine_) == std::hash<V>()(model_));
    }

    [[nodiscard]] static std::ptrdiff_t signed_of(size_type number) {
        return static_cast<std::ptrdiff_t>(number);
    }

    [[nodiscard]] static size_type limited(size_type count, size_type most) {
        return count < most ? count : most;
    }

    // The same for both sides.
    [[nodiscard]] static size_type below_fixed(size_type number, size_type limit) {
        return number * 7919 % limit;
    }

    size_type below(std::size_t limit) { return static_cast<size_type>(random_() % limit); }

    Char fresh() { return random_() % 20 == 0 ? Char() : static_cast<Char>('a' + random_() % 5); }

    R several(std::size_t count) {
        R result;
        for (; count != 0; --count) {
            result.push_back(fresh());
        }
        return result;
    }

    S& mine_;
    S& other_;
    R model_;
    R other_model_;
    std::mt19937 random_;
    std::size_t longest_ = 120;
};

template <class Char>
using plain = shm_basic_string<Char, std::char_traits<Char>, std::allocator<Char>>;

template <class S>
void must_agree(const pair_of_strings<S>& strings, std::uint32_t seed, int step) {
    if (!strings.agree()) {
        CAPTURE(seed);
        CAPTURE(step);
        FAIL("the strings differ");
    }
}

template <class S>
struct in_segment {
    segment where = segment::create({.size = 65536, .reserve = 1 << 20});
    S& first = where.construct<S>("first");
    S& second = where.construct<S>("second");
};

} // namespace

TEST_CASE_TEMPLATE("random operations agree with std::string", S, plain<char>, plain<char16_t>,
                   plain<wchar_t>) {
    for (std::uint32_t seed : {1U, 2U, 3U}) {
        S first;
        S second;
        pair_of_strings<S> strings(first, second, seed);
        for (int i = 0; i < 20000; ++i) {
            strings.step();
            must_agree(strings, seed, i);
        }
    }
}

TEST_CASE_TEMPLATE("random operations in a segment agree with std::string", S,
                   shm_basic_string<char>, shm_basic_string<char16_t>, shm_basic_string<char32_t>) {
    for (std::uint32_t seed : {4U, 5U}) {
        in_segment<S> here;
        const auto used = here.where.used();
        pair_of_strings<S> strings(here.first, here.second, seed);
        for (int i = 0; i < 20000; ++i) {
            CHECK(strings.step());
            must_agree(strings, seed, i);
        }
        here.first = S();
        here.second = S();
        here.first.shrink_to_fit();
        here.second.shrink_to_fit();
        CHECK(here.where.used() == used);
    }
}

TEST_CASE("random operations with long texts agree with std::string") {
    using S = shm_basic_string<char>;
    for (std::uint32_t seed : {6U, 7U}) {
        in_segment<S> here;
        pair_of_strings<S> strings(here.first, here.second, seed);
        strings.limit(6000); // more than is saved in the journal itself
        for (int i = 0; i < 8000; ++i) {
            CHECK(strings.step());
            must_agree(strings, seed, i);
        }
    }
}

TEST_CASE("random operations in a full segment change nothing, or agree") {
    using S = shm_basic_string<char>;
    for (std::uint32_t seed : {8U, 9U, 10U, 11U}) {
        in_segment<S> here;
        auto& filler = here.where.construct<shm_vector<shm_vector<char>>>("filler");
        filler.reserve(4096);
        here.first.assign(100, 'x');
        here.first = "";
        for (std::size_t bytes : {65536U, 4096U, 512U, 64U, 16U}) {
            for (;;) {
                auto& each = filler.emplace_back();
                if (!each.try_reserve(bytes)) {
                    filler.pop_back();
                    break;
                }
            }
        }
        pair_of_strings<S> strings(here.first, here.second, seed);
        strings.limit(2000);
        int refused = 0;
        std::mt19937 random(seed);
        for (int i = 0; i < 20000; ++i) {
            refused += strings.step() ? 0 : 1;
            must_agree(strings, seed, i);
            if (random() % 500 == 0 && !filler.empty()) { // a little more room
                filler.pop_back();
            }
        }
        CHECK(refused > 100);
    }
}

TEST_CASE_TEMPLATE("what a section does with strings is undone", S, shm_basic_string<char>,
                   shm_basic_string<char16_t>) {
    for (std::uint32_t seed : {12U, 13U, 14U}) {
        in_segment<S> here;
        pair_of_strings<S> strings(here.first, here.second, seed);
        std::mt19937 random(seed);
        for (int i = 0; i < 4000; ++i) {
            strings.limit(random() % 10 == 0 ? 1500 : 60);
            const auto before = strings.models();
            const auto used = here.where.used();
            const bool undo = random() % 2 == 0;
            {
                std::error_code ec;
                cohold::detail::section section(*here.first.get_allocator().header(), ec);
                REQUIRE(!ec);
                for (auto steps = random() % 9; steps != 0; --steps) {
                    strings.step();
                    must_agree(strings, seed, i);
                }
                if (random() % 3 == 0) { // one of its own within it
                    const auto outer = strings.models();
                    cohold::detail::section inner(*here.first.get_allocator().header(), ec);
                    for (auto steps = random() % 5; steps != 0; --steps) {
                        strings.step();
                    }
                    if (random() % 2 == 0) {
                        inner.roll_back();
                        strings.restore(outer);
                        must_agree(strings, seed, i);
                    }
                }
                if (undo) {
                    section.roll_back();
                    strings.restore(before);
                }
            }
            must_agree(strings, seed, i);
            if (undo) {
                CHECK(here.where.used() == used);
            }
        }
    }
}
