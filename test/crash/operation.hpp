// What the rig knows about an operation: one declaration says how it is set up, what it does and,
// by itself, which outcomes of a kill are legal.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_OPERATION_HPP
#define COHOLD_TEST_CRASH_OPERATION_HPP

#include <concepts>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "crash/contents.hpp"
#include "crash/lab.hpp"

namespace crash {

// An action that is bound to one participant's mapping. False: it was refused, and had no effect.
using deed = std::function<bool()>;
using binding = std::function<deed(const segment&)>;

inline constexpr std::string_view subject = "it"; // the name of the operation's object

// What survivors report about their deeds: a part of the outcome.
inline std::string said;

struct hasty_deed {
    std::string name; // in words
    binding act;
};

// The other mapping of a participant, if it has two; otherwise the same.
inline std::map<const segment*, const segment*> second_mappings;

inline const segment& second_of(const segment& first) {
    const auto found = second_mappings.find(&first);
    return found == second_mappings.end() ? first : *found->second;
}

// What others do with memory that they are given.
using usurper = cohold::shm_vector<cohold::shm_vector<int>>;
inline constexpr std::string_view usurper_name = "usurper";

inline constexpr std::size_t usurped[] = {4, 4, 8, 8, 12, 16, 24, 60, 300};
inline constexpr int usurping = 7777;

// Takes free memory of all sizes and writes to it: this shows bytes that are restored there.
inline void usurp(const segment& where) {
    usurper& made = where.construct<usurper>(usurper_name);
    made.reserve(std::size(usurped));
    for (const std::size_t count : usurped) {
        made.emplace_back(count, usurping);
    }
}

inline std::string tell_usurper(const usurper& made) {
    if (made.size() != std::size(usurped)) {
        return std::to_string(made.size()) + " blocks of others";
    }
    for (std::size_t i = 0; i < made.size(); ++i) {
        if (made[i].size() != usurped[i]) {
            return "a block of others with " + std::to_string(made[i].size()) + " numbers";
        }
        for (std::size_t at = 0; at < usurped[i]; ++at) {
            if (made[i][at] != usurping) {
                return "number " + std::to_string(at) + " in block " + std::to_string(i) +
                       " of others is " + std::to_string(made[i][at]);
            }
        }
    }
    return "what others have";
}

struct operation {
    std::string name;  // of the member function: "shm_vector::insert"
    std::string setup; // in words
    std::function<void(const segment&)> make{};
    binding act{};
    // What the victim has done before, so that it knows it.
    std::function<void(const segment&)> prepare{};
    // A survivor's deed, if it cannot be exactly the same.
    binding survive{};
    std::function<std::string(const segment&)> contents{};
    // Legal outcomes besides "before" and "after": those that these deeds lead to.
    std::vector<binding> also{};
    // Further ones where there is no room to save what changes: then it goes step by step.
    std::vector<binding> stepwise{};
    // Further ones where another one did it, or did `meanwhile`, when the victim was in the middle.
    std::vector<binding> together{};
    // A bystander's deed at any instruction of it, on the same object or another one.
    binding meanwhile{};
    // Others act at many of its instructions, in a quick run as well: what they must not do there
    // is possible between few of them.
    bool closely = false;
    // Survivors find everything in order without recover(): by the lock that the dead one held, or
    // by the words that it had claimed.
    bool heals = false;
    // The victim has not used the segment before: its first use is a part of the operation.
    bool fresh = false;
    // The victim is not attached before: it attaches in the operation.
    bool attaches = false;
    // The victim has two mappings of the segment, and so is two participants of it.
    bool twice = false;
    // What survivors do before any of them has recovered the victim.
    std::vector<hasty_deed> hasty{};
    // Fills the segment when all are attached; and the number of bytes to which it grows.
    std::function<void(const segment&)> fill{};
    std::size_t most = world::reserve;
    // The same where it is filled: a smaller segment is compared in less time.
    std::size_t most_crowded = 49152;
    // The living undo the operation: it has never happened.
    bool undone = false;
    // Killed in a full segment, it may leak memory.
    bool may_leak = false;
    // Only the kills of the victim itself are explored.
    bool alone = false;
    // How many more times others can do the same afterwards.
    bool repeats = true;
};

// Makes deeds from anything callable with a T&, a T& and the segment or the T& of another mapping,
// or the segment alone.
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
            if constexpr (std::invocable<const F&, T&, T&>) {
                T* const again = second_of(where).template find<T>(subject);
                return [f, it, again, done] { return done([&] { return f(*it, *again); }); };
            } else if constexpr (std::invocable<const F&, T&, const segment&>) {
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
    declaration& stepwise(F f) {
        what_.stepwise.push_back(crash::bind<T>(std::move(f)));
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

    declaration& closely() {
        what_.closely = true;
        return *this;
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

    declaration& twice() {
        what_.twice = true;
        return *this;
    }

    // A survivor has no room for a hasty deed.
    declaration& unhasty() {
        what_.hasty.clear();
        return *this;
    }

    declaration& undone() {
        what_.undone = true;
        return *this;
    }

    // A survivor's deed that does not ask about the dead first.
    template <class F>
    declaration& hasty(std::string name, F f) {
        what_.hasty.push_back({std::move(name), crash::bind<T>(std::move(f))});
        return *this;
    }

    template <class F>
    declaration& prepare(F f) {
        what_.prepare = [f](const segment& where) { f(*where.template find<T>(subject), where); };
        return *this;
    }

    declaration& once() {
        what_.repeats = false;
        return *this;
    }

    // Needs all of the segment, even where it is filled.
    declaration& large() {
        what_.most_crowded = world::reserve;
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
        if constexpr (!std::is_void_v<T>) {
            what.hasty.push_back({"destroys it", crash::bind<T>([](const segment& where) {
                                      std::error_code ec; // it may not exist
                                      where.destroy<T>(subject, ec);
                                      usurp(where);
                                  })});
        }
        return declaration<T>(what);
    }

    // Excludes kinds of events.
    void restrict(bool hasty, bool twice) {
        all_.remove_if([&](const operation& each) { return each.twice && !twice; });
        for (operation& each : all_) {
            if (!hasty) {
                each.hasty.clear();
            }
        }
    }

    void add(operation what) { all_.push_back(std::move(what)); }

    // Declares that a mutator is covered by an operation with another name.
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
