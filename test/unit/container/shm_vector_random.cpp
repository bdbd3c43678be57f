// shm_vector against std::vector: long random sequences of operations with fixed seeds.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_vector.hpp>

#include <algorithm>
#include <list>
#include <random>

#include "vector_support.hpp"

using namespace vector_test;

namespace {

template <class V>
class pair_of_vectors {
  public:
    using T = typename V::value_type;
    using R = std::vector<T>;

    explicit pair_of_vectors(std::uint32_t seed) : random_(seed) {}

    void step() {
        const std::size_t size = mine_.size();
        const auto at = static_cast<std::ptrdiff_t>(below(size + 1));
        const std::size_t count = below(12);
        const T value = fresh();
        switch (below(26)) {
        case 0:
        case 1:
            mine_.push_back(value);
            model_.push_back(value);
            break;
        case 2:
            returned(mine_.insert(mine_.begin() + at, value),
                     model_.insert(model_.begin() + at, value));
            break;
        case 3:
            returned(mine_.emplace(mine_.cbegin() + at, value),
                     model_.emplace(model_.cbegin() + at, value));
            break;
        case 4:
            returned(mine_.insert(mine_.begin() + at, count, value),
                     model_.insert(model_.begin() + at, count, value));
            break;
        case 5: {
            const R source = several(count);
            returned(mine_.insert(mine_.begin() + at, source.begin(), source.end()),
                     model_.insert(model_.begin() + at, source.begin(), source.end()));
            break;
        }
        case 6: {
            const R values = several(count);
            const std::list<T> source(values.begin(), values.end());
            mine_.insert_range(mine_.begin() + at, source);
            model_.insert(model_.begin() + at, source.begin(), source.end());
            break;
        }
        case 7: {
            const int first = static_cast<int>(below(1000));
            const single_pass<T> begin(first);
            const single_pass<T> end(first + static_cast<int>(count));
            returned(mine_.insert(mine_.begin() + at, begin, end),
                     model_.insert(model_.begin() + at, begin, end));
            break;
        }
        case 8:
            if (size != 0) { // an element of its own
                const std::size_t own = below(size);
                mine_.insert(mine_.begin() + at, mine_[own]);
                model_.insert(model_.begin() + at, T(model_[own]));
            }
            break;
        case 9:
            if (size != 0) {
                const std::size_t own = below(size);
                mine_.insert(mine_.begin() + at, count, mine_[own]);
                model_.insert(model_.begin() + at, count, T(model_[own]));
            }
            break;
        case 10:
            if (size != 0) {
                const std::size_t own = below(size);
                mine_.push_back(mine_[own]);
                model_.push_back(T(model_[own]));
            }
            break;
        case 11:
        case 12:
            if (size != 0) {
                const auto which = static_cast<std::ptrdiff_t>(below(size));
                returned(mine_.erase(mine_.begin() + which), model_.erase(model_.begin() + which));
            }
            break;
        case 13:
        case 14: {
            const auto from = static_cast<std::ptrdiff_t>(below(static_cast<std::size_t>(at) + 1));
            returned(mine_.erase(mine_.begin() + from, mine_.begin() + at),
                     model_.erase(model_.begin() + from, model_.begin() + at));
            break;
        }
        case 15:
            if (size != 0) {
                mine_.pop_back();
                model_.pop_back();
            }
            break;
        case 16: {
            const std::size_t other = below(2 * size + 5);
            mine_.resize(other);
            model_.resize(other);
            break;
        }
        case 17: {
            const std::size_t other = below(2 * size + 5);
            mine_.resize(other, value);
            model_.resize(other, value);
            break;
        }
        case 18:
            mine_.reserve(below(200));
            break;
        case 19:
            mine_.shrink_to_fit();
            CHECK(mine_.capacity() == mine_.size());
            break;
        case 20: {
            const R source = several(3 * count);
            mine_.assign(source.begin(), source.end());
            model_.assign(source.begin(), source.end());
            break;
        }
        case 21: {
            const int first = static_cast<int>(below(1000));
            const single_pass<T> begin(first);
            const single_pass<T> end(first + static_cast<int>(count));
            mine_.assign(begin, end);
            model_.assign(begin, end);
            break;
        }
        case 22:
            mine_.assign(count, value);
            model_.assign(count, value);
            break;
        case 23: {
            V copy(mine_);
            V other;
            other.push_back(value);
            other = copy;
            CHECK(other == copy);
            swap(mine_, other);
            copy = std::move(other);
            mine_ = std::move(copy);
            break;
        }
        case 24: {
            const R source = several(count);
            mine_.append_range(source);
            model_.insert(model_.end(), source.begin(), source.end());
            break;
        }
        default:
            CHECK(erase(mine_, value) == static_cast<std::size_t>(std::erase(model_, value)));
            break;
        }
        if (mine_.size() > 300) {
            mine_.erase(mine_.begin() + 20, mine_.end());
            model_.erase(model_.begin() + 20, model_.end());
        }
    }

    [[nodiscard]] bool agree() const {
        return mine_.size() == model_.size() && mine_.capacity() >= mine_.size() &&
               std::equal(mine_.begin(), mine_.end(), model_.begin());
    }

  private:
    template <class I, class J>
    void returned(I mine, J model) {
        CHECK(mine - mine_.begin() == model - model_.begin());
    }

    std::size_t below(std::size_t limit) { return random_() % limit; }

    T fresh() { return el<T>(static_cast<int>(below(50))); }

    R several(std::size_t count) {
        R result;
        for (; count != 0; --count) {
            result.push_back(fresh());
        }
        return result;
    }

    std::mt19937 random_;
    V mine_;
    R model_;
};

} // namespace

TEST_CASE_TEMPLATE("random operations agree with std::vector", V, vec<int>, vec<std::uint8_t>,
                   vec<line>, vec<std::string>, vec<probe<moving::never_throws>>,
                   vec<probe<moving::may_throw>>, vec<vec<short>>,
                   ledger_vec<std::uint64_t, offset_pointers>,
                   ledger_vec<std::string, offset_pointers>, ledger_vec<int, own_construct>) {
    const long outside = fuse::live;
    for (std::uint32_t seed : {1U, 2U, 3U, 4U}) {
        pair_of_vectors<V> vectors(seed);
        for (int i = 0; i < 3000; ++i) {
            vectors.step();
            if (!vectors.agree()) {
                CAPTURE(seed);
                CAPTURE(i);
                FAIL("the vectors differ");
            }
        }
    }
    CHECK(fuse::live == outside);
    CHECK(default_ledger.outstanding == 0);
}
