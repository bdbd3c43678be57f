// What the rig knows of an operation: one declaration says how it is set up, what it does and, by
// itself, which outcomes of a kill are legal.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_OPERATION_HPP
#define COHOLD_TEST_CRASH_OPERATION_HPP

#include <concepts>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crash/contents.hpp"
#include "crash/lab.hpp"

namespace crash {

// A thing to do, bound to one participant's mapping. False: it was refused, and nothing happened.
using deed = std::function<bool()>;
using binding = std::function<deed(const segment&)>;

inline constexpr std::string_view subject = "it"; // the name of what an operation is about

struct operation {
    std::string name;  // of the member function: "shm_vector::insert"
    std::string setup; // in words
    std::function<void(const segment&)> make{};
    binding act{};
    // What a survivor does, if it cannot be quite the same.
    binding survive{};
    std::function<std::string(const segment&)> contents{};
    // Legal outcomes beside "before" and "after": what these lead to.
    std::vector<binding> also{};
    // And where another one did it, or did `meanwhile`, when the victim was in the middle.
    std::vector<binding> together{};
    // What a bystander does at any instruction of it, on the same object or another one.
    binding meanwhile{};
    // Survivors find it as it must be without recover(): by the lock that the dead one held, or by
    // the words that it had claimed.
    bool heals = false;
    // The victim has done nothing yet in the segment: its first use is a part of the operation.
    bool fresh = false;
    // Who dies is not attached before: it attaches in it.
    bool attaches = false;
    // How many times the same can be done again afterwards, by others.
    bool repeats = true;
};

// Makes deeds of anything callable with a T&, a T& and the segment, or the segment alone.
template <class T, class F>
binding bind(F f) {
    return [f](const segment& where) -> deed {
        const auto done = [](auto&& call) {
            if constexpr (std::same_as<decltype(call()), bool>) {
                return call();
            } else {
                call();
                return true;
            }
        };
        if constexpr (std::invocable<const F&, const segment&>) {
            return [f, &where, done] { return done([&] { return f(where); }); };
        } else {
            T* const it = where.template find<T>(subject);
            if constexpr (std::invocable<const F&, T&, const segment&>) {
                return [f, it, &where, done] { return done([&] { return f(*it, where); }); };
            } else {
                return [f, it, done] { return done([&] { return f(*it); }); };
            }
        }
    };
}

// An operation on a T, to be completed by chained calls.
template <class T>
class declaration {
  public:
    explicit declaration(operation& what) noexcept : what_(what) {}

    template <class F>
    declaration& also(F f) {
        what_.also.push_back(crash::bind<T>(std::move(f)));
        return *this;
    }

    template <class F>
    declaration& together(F f) {
        what_.together.push_back(crash::bind<T>(std::move(f)));
        return *this;
    }

    template <class F>
    declaration& meanwhile(F f) {
        what_.meanwhile = crash::bind<T>(std::move(f));
        return *this;
    }

    template <class F>
    declaration& survivor(F f) {
        what_.survive = crash::bind<T>(std::move(f));
        return heals();
    }

    declaration& heals() {
        what_.heals = true;
        return *this;
    }

    declaration& fresh() {
        what_.fresh = true;
        return *this;
    }

    declaration& attaches() {
        what_.attaches = true;
        return *this;
    }

    declaration& once() {
        what_.repeats = false;
        return *this;
    }

  private:
    operation& what_;
};

class registry {
  public:
    // `make` constructs a T of the name "it" in a segment; `act` is the operation.
    template <class T, class Make, class Act>
    declaration<T> add(std::string name, std::string setup, Make make, Act act) {
        operation& what = all_.emplace_back();
        what.name = std::move(name);
        what.setup = std::move(setup);
        what.make = [make](const segment& where) { make(where); };
        what.act = crash::bind<T>(std::move(act));
        what.contents = [](const segment& where) { return contents_of<T>(where); };
        return declaration<T>(what);
    }

    // Says that a mutator is covered by an operation that is called otherwise.
    void covered(std::string_view mutator, std::string_view by) {
        covered_.emplace_back(mutator, by);
    }

    [[nodiscard]] const std::list<operation>& all() const noexcept { return all_; }

    [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& covered() const noexcept {
        return covered_;
    }

  private:
    std::list<operation> all_;
    std::vector<std::pair<std::string, std::string>> covered_;
};

} // namespace crash

#endif
