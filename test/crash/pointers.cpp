// Pointers that own objects, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <stdexcept>
#include <string>
#include <utility>

#include "crash/operations.hpp"

namespace {

using crash::registry;
using crash::segment;
using ints = cohold::shm_vector<int>;

// ---- shm_unique_ptr

using owner = cohold::shm_unique_ptr<ints>;
using owners = cohold::shm_vector<owner>;

std::string tell_object(const owner& it) {
    return it == nullptr ? "null" : crash::tell(*it);
}

struct two_owners {
    owner first;
    owner second;
    int turns = 0;

    std::string tell() {
        return tell_object(first) + " and " + tell_object(second) + " " + std::to_string(turns);
    }
};

struct guarded_owners {
    cohold::shm_guarded<two_owners> both;

    std::string tell() { return both.lock()->tell(); }
};

struct many_owners {
    owners all;
    owner spare;

    std::string tell() {
        std::string text;
        for (const owner& each : all) {
            text.append(tell_object(each)).append(" ");
        }
        return text + "and " + tell_object(spare);
    }
};

void with_two(const segment& where) {
    auto& made = where.construct<two_owners>(crash::subject);
    made.first = cohold::make_shm_unique<ints>(where, 3U, 1);
    made.second = cohold::make_shm_unique<ints>(where, 4U, 2);
}

void with_guarded(const segment& where) {
    auto& made = where.construct<guarded_owners>(crash::subject);
    made.both.with([&](two_owners& both) {
        both.first = cohold::make_shm_unique<ints>(where, 3U, 1);
        both.second = cohold::make_shm_unique<ints>(where, 4U, 2);
    });
}

void with_many(const segment& where) {
    auto& made = where.construct<many_owners>(crash::subject);
    for (int i = 0; i < 4; ++i) {
        made.all.push_back(cohold::make_shm_unique<ints>(where, 2U, i));
    }
    made.spare = cohold::make_shm_unique<ints>(where, 5U, 5);
}

void declare_owners(registry& all) {
    const std::string name = "shm_unique_ptr::";
    all.add<two_owners>(name + "operator=", "null", with_two,
                        [](two_owners& both) { both.first = nullptr; });
    all.add<two_owners>(name + "operator=", "move", with_two,
                        [](two_owners& both) { both.first = std::move(both.second); });
    all.add<two_owners>(name + "reset", "an object", with_two,
                        [](two_owners& both) { both.first.reset(); });
    all.add<two_owners>(name + "swap", "two", with_two,
                        [](two_owners& both) { both.first.swap(both.second); });
    all.covered(name + "release", "make_shm_unique");
    // Killed in between, the object is leaked: in a section it is not.
    const auto guarded = [&](const std::string& function, const char* setup, auto act) {
        using T = guarded_owners;
        all.add<T>(name + function, std::string("in a section, ") + setup, with_guarded,
                   [act](T& it, const segment& where) {
                       it.both.with([&](two_owners& both) {
                           act(both, where);
                           ++both.turns;
                       });
                   })
            .heals();
        all.add<T>(name + function, std::string("in a section, an exception, ") + setup,
                   with_guarded,
                   [act](T& it, const segment& where) {
                       try {
                           it.both.with([&](two_owners& both) {
                               act(both, where);
                               throw std::runtime_error("on purpose");
                           });
                       } catch (const std::runtime_error&) {
                       }
                   })
            .heals();
    };
    guarded("operator=", "a new object", [](two_owners& both, const segment& where) {
        both.first = cohold::make_shm_unique<ints>(where, 2U, both.turns);
    });
    guarded("release", "and reset",
            [](two_owners& both, const segment&) { both.second.reset(both.first.release()); });
    guarded("operator=", "over the stack", [](two_owners& both, const segment&) {
        owner outside = std::move(both.first);
        both.first = std::move(both.second);
        both.second = std::move(outside);
    });
    guarded("reset", "off the stack",
            [](two_owners& both, const segment&) { const owner outside = std::move(both.first); });
    const auto many = [&](const char* setup, auto act) {
        all.add<many_owners>(name + "operator=", std::string("elements, ") + setup, with_many, act);
    };
    many("push_back", [](many_owners& it) { it.all.push_back(std::move(it.spare)); });
    many("insert", [](many_owners& it) { it.all.insert(it.all.begin(), std::move(it.spare)); });
    many("erase", [](many_owners& it) {
        if (!it.all.empty()) {
            it.all.erase(it.all.begin());
        }
    });
    many("clear", [](many_owners& it) { it.all.clear(); });
}

} // namespace

void crash::declare(registry& all) {
    declare_owners(all);
}
