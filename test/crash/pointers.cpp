// Pointers that own objects, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

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

// ---- arrays: their elements own memory

using array_owner = cohold::shm_unique_ptr<ints[]>;
using array_sharer = cohold::shm_shared_ptr<ints[]>;

struct arrays {
    array_owner first;
    array_owner second;
    array_sharer shared;
    int turns = 0;

    std::string tell() {
        std::string text;
        for (const array_owner* each : {&first, &second}) {
            text += std::to_string(each->size()) + " of";
            for (std::size_t i = 0; i < each->size(); ++i) {
                text += " " + crash::tell((*each)[i]);
            }
            text += ", ";
        }
        text += shared == nullptr ? "none"
                                  : crash::tell(shared[0]) + " and " + crash::tell(shared[1]) +
                                        " of " + std::to_string(shared.use_count());
        return text + " " + std::to_string(turns);
    }
};

struct guarded_arrays {
    cohold::shm_guarded<arrays> it;

    std::string tell() { return it.lock()->tell(); }
};

void make_arrays(arrays& made, const segment& where) {
    made.first = cohold::make_shm_unique<ints[]>(where, 3);
    made.second = cohold::make_shm_unique<ints[]>(where, 1);
    made.first[0].assign(2U, 1);
    made.first[2].assign(1U, 3);
    made.second[0].assign(4U, 2);
    made.shared = cohold::make_shm_shared<ints[]>(where, 2);
    made.shared[1].assign(2U, 5);
}

void with_arrays(const segment& where) {
    make_arrays(where.construct<arrays>(crash::subject), where);
}

void with_guarded_arrays(const segment& where) {
    auto& made = where.construct<guarded_arrays>(crash::subject);
    made.it.with([&](arrays& all) { make_arrays(all, where); });
}

void declare_arrays(registry& all) {
    const auto on = [&](const char* function, const char* setup, auto act) {
        all.add<arrays>(function, setup, with_arrays, act);
    };
    on("shm_unique_ptr::operator=", "arrays, move",
       [](arrays& it) { it.first = std::move(it.second); });
    on("shm_unique_ptr::reset", "an array", [](arrays& it) { it.first.reset(); });
    on("shm_unique_ptr::swap", "arrays", [](arrays& it) { it.first.swap(it.second); });
    on("shm_shared_ptr::reset", "an array", [](arrays& it) { it.shared.reset(); });
    on("make_shm_shared", "an array, with a value", [](arrays& it, const segment& where) {
        it.shared = cohold::make_shm_shared<ints[]>(where, 2, it.second[0]);
    });
    on("make_shm_shared", "an array, and gone", [](arrays& it, const segment& where) {
        const auto made = cohold::make_shm_shared<ints[]>(where, 3, it.first[0]);
    });
    all.add<guarded_arrays>("make_shm_unique", "an array, in a section", with_guarded_arrays,
                            [](guarded_arrays& it, const segment& where) {
                                it.it.with([&](arrays& each) {
                                    each.first =
                                        cohold::make_shm_unique<ints[]>(where, 2, each.second[0]);
                                    ++each.turns;
                                });
                            })
        .heals();
    all.add<guarded_arrays>(
           "make_shm_unique", "an array, in a section, an exception", with_guarded_arrays,
           [](guarded_arrays& it, const segment& where) {
               try {
                   it.it.with([&](arrays& each) {
                       each.first = cohold::make_shm_unique<ints[]>(where, 2, each.second[0]);
                       each.second.reset();
                       throw std::runtime_error("on purpose");
                   });
               } catch (const std::runtime_error&) {
               }
           })
        .heals();
}

// ---- shm_shared_ptr and shm_weak_ptr

using sharer = cohold::shm_shared_ptr<ints>;
using observer = cohold::shm_weak_ptr<ints>;

// The number of references shows what a kill has left.
std::string tell_object(const sharer& it) {
    return it == nullptr ? "null" : crash::tell(*it) + " of " + std::to_string(it.use_count());
}

std::string tell_object(const observer& it) {
    return tell_object(it.lock());
}

struct sharers {
    sharer first;
    sharer second;
    observer weak; // of the first
    cohold::shm_vector<sharer> all;
    int turns = 0;

    std::string tell() {
        std::string text = tell_object(first) + " and " + tell_object(second) + ", weak " +
                           tell_object(weak) + ", all";
        for (const sharer& each : all) {
            text.append(" ").append(tell_object(each));
        }
        return text + " " + std::to_string(turns);
    }
};

struct guarded_sharers {
    cohold::shm_guarded<sharers> it;

    std::string tell() { return it.lock()->tell(); }
};

void make_sharers(sharers& made, const segment& where) {
    made.first = cohold::make_shm_shared<ints>(where, 3U, 1);
    made.second = cohold::make_shm_shared<ints>(where, 4U, 2);
    made.weak = made.first;
    made.all.reserve(4);
    for (int i = 0; i < 3; ++i) {
        made.all.push_back(cohold::make_shm_shared<ints>(where, 1U, i));
    }
}

void with_sharers(const segment& where) {
    make_sharers(where.construct<sharers>(crash::subject), where);
}

void with_guarded_sharers(const segment& where) {
    auto& made = where.construct<guarded_sharers>(crash::subject);
    made.it.with([&](sharers& all) { make_sharers(all, where); });
}

void declare_sharers(registry& all) {
    const std::string name = "shm_shared_ptr::";
    const auto on = [&](const std::string& function, const char* setup, auto act) {
        return all.add<sharers>(function, setup, with_sharers, act);
    };
    on(name + "operator=", "null", [](sharers& it) { it.first = nullptr; });
    on(name + "operator=", "copy", [](sharers& it) { it.first = it.second; });
    on(name + "operator=", "move", [](sharers& it) { it.first = std::move(it.second); });
    on(name + "operator=", "a new object", [](sharers& it, const segment& where) {
        it.first = cohold::make_shm_shared<ints>(where, 2U, 5);
    });
    on(name + "operator=", "over the stack", [](sharers& it) {
        auto outside = it.first;
        it.first = it.second;
        it.second = std::move(outside);
    }).also([](sharers& it) { it.first = it.second; });
    on(name + "reset", "an object, another one locks it", [](sharers& it) {
        it.first.reset();
    }).meanwhile([](sharers& it) { const sharer locked = it.weak.lock(); });
    on(name + "swap", "two", [](sharers& it) { it.first.swap(it.second); });
    on(name + "operator=", "elements, push_back", [](sharers& it) { it.all.push_back(it.first); });
    on(name + "operator=", "elements, push_back, moved",
       [](sharers& it) { it.all.push_back(std::move(it.first)); });
    on(name + "operator=", "elements, insert",
       [](sharers& it) { it.all.insert(it.all.begin(), it.first); });
    on(name + "operator=", "elements, erase", [](sharers& it) {
        if (!it.all.empty()) {
            it.all.erase(it.all.begin());
        }
    });
    on(name + "operator=", "elements, clear", [](sharers& it) { it.all.clear(); });
    on("make_shm_shared", "and gone", [](sharers&, const segment& where) {
        const auto made = cohold::make_shm_shared<ints>(where, 2U, 5);
    });
    on("make_shm_shared", "and gone, needs no destruction", [](sharers&, const segment& where) {
        const auto made = cohold::make_shm_shared<int>(where, 2);
    });
    on("shm_weak_ptr::operator=", "another object", [](sharers& it) { it.weak = it.second; });
    on("shm_weak_ptr::operator=", "move", [](sharers& it) {
        observer outside = it.second;
        it.weak = std::move(outside);
    });
    on("shm_weak_ptr::reset", "one", [](sharers& it) { it.weak.reset(); });
    on("shm_weak_ptr::swap", "with one on the stack", [](sharers& it) {
        observer outside = it.second;
        it.weak.swap(outside);
    });
    on("shm_weak_ptr::lock", "another one resets the object", [](sharers& it) {
        const sharer locked = it.weak.lock();
    }).meanwhile([](sharers& it) { it.first.reset(); });
    const auto guarded = [&](const std::string& function, const char* setup, auto act) {
        using T = guarded_sharers;
        all.add<T>(name + function, std::string("in a section, ") + setup, with_guarded_sharers,
                   [act](T& it, const segment& where) {
                       it.it.with([&](sharers& each) {
                           act(each, where);
                           ++each.turns;
                       });
                   });
        all.add<T>(name + function, std::string("in a section, an exception, ") + setup,
                   with_guarded_sharers, [act](T& it, const segment& where) {
                       try {
                           it.it.with([&](sharers& each) {
                               act(each, where);
                               throw std::runtime_error("on purpose");
                           });
                       } catch (const std::runtime_error&) {
                       }
                   });
    };
    guarded("operator=", "a new object", [](sharers& it, const segment& where) {
        it.first = cohold::make_shm_shared<ints>(where, 2U, it.turns);
    });
    guarded("operator=", "over the stack", [](sharers& it, const segment&) {
        auto outside = std::move(it.first);
        it.first = std::move(it.second);
        it.second = std::move(outside);
    });
    guarded("reset", "and copied before", [](sharers& it, const segment&) {
        const auto outside = it.first;
        it.all.push_back(outside);
        it.first.reset();
        it.second = outside;
    });
}

// ---- shm_atomic_shared_ptr

using atomic_sharer = cohold::shm_atomic_shared_ptr<ints>;

struct atomics {
    atomic_sharer it;
    sharer other;
    int taken = 0;     // how often the first object was replaced
    bool gone = false; // an object has ended while it was used

    void note(bool replaced) { taken += replaced ? 1 : 0; }

    std::string tell() {
        return (gone ? "used when gone, " : "") + tell_object(it.load()) + " and " +
               tell_object(other) + ", replaced " + std::to_string(taken);
    }
};

void with_atomics(const segment& where) {
    auto& made = where.construct<atomics>(crash::subject);
    made.it = cohold::make_shm_shared<ints>(where, 3U, 1);
    made.other = cohold::make_shm_shared<ints>(where, 4U, 2);
}

void declare_atomics(registry& all) {
    const std::string name = "shm_atomic_shared_ptr::";
    const auto on = [&](const std::string& function, const char* setup, auto act) {
        return all.add<atomics>(name + function, setup, with_atomics, act);
    };
    on("store", "null", [](atomics& both) { both.it.store(nullptr); });
    on("store", "one from the segment, another one loads it", [](atomics& both) {
        both.it.store(both.other);
    }).meanwhile([](atomics& both) { const sharer seen = both.it.load(); });
    on("store", "a new object", [](atomics& both, const segment& where) {
        both.it.store(cohold::make_shm_shared<ints>(where, 2U, 5));
    });
    on("load", "and gone", [](atomics& both) { const sharer seen = both.it.load(); });
    on("exchange", "for a new object", [](atomics& both, const segment& where) {
        const sharer before = both.it.exchange(cohold::make_shm_shared<ints>(where, 2U, 5));
    });
    on("compare_exchange_strong", "equal", [](atomics& both) {
        sharer expected = both.it.load();
        both.it.compare_exchange_strong(expected, both.other);
    });
    // Only one of two can have replaced the object, whatever is in between.
    const auto remove = [](atomics& both) { both.it.store(nullptr); }; // and nobody notes it
    const auto take = [](atomics& both) { both.note(both.it.exchange(nullptr) != nullptr); };
    on("exchange", "for null, another one does the same", take)
        .meanwhile(take)
        .also(remove)
        .together(remove)
        .closely();
    const auto change = [](atomics& both) {
        sharer expected = both.it.load();
        both.note(expected != nullptr && both.it.compare_exchange_strong(expected, nullptr));
    };
    on("compare_exchange_strong", "null, another one does the same", change)
        .meanwhile(change)
        .also(remove)
        .together(remove)
        .closely();
    // An object ends, and another one gets its memory.
    on("load", "and used, another one replaces it twice",
       [](atomics& both) {
           const sharer seen = both.it.load();
           const int before = seen == nullptr ? 0 : (*seen)[0];
           static_cast<void>(both.it.load());
           both.gone |= before != (seen == nullptr ? 0 : (*seen)[0]);
       })
        .meanwhile([](atomics& both, const segment& where) {
            both.it.store(nullptr);
            both.it.store(cohold::make_shm_shared<ints>(where, 3U, 9));
        })
        .together(remove)
        .closely();
    on("compare_exchange_strong", "not equal", [](atomics& both) {
        sharer expected;
        both.it.compare_exchange_strong(expected, both.other);
    });
    on("wait", "there is another one", [](atomics& both) {
        both.it.wait(both.other);
    }).meanwhile([](atomics& both) { both.it.store(nullptr); });
    on("notify_one", "after a store", [](atomics& both) {
        both.it.store(both.other);
        both.it.notify_one();
    });
    on("notify_all", "after a store", [](atomics& both) {
        both.it.store(both.other);
        both.it.notify_all();
    });
    all.covered(name + "operator=", name + "store");
    all.covered(name + "compare_exchange_weak", name + "compare_exchange_strong");
}

// ---- shm_pool and shm_loan

using loan = cohold::shm_loan<int>;
using loans = cohold::shm_vector<loan>;
using loan_queue = cohold::shm_queue<loan, cohold::concurrency::mpmc, cohold::waiting::block>;

std::string tell_object(const loan& it) {
    return it ? std::to_string(*it) + " of " + std::to_string(it.use_count()) : "nothing";
}

// Everything that can still be had from the pool belongs to what is told.
struct lending {
    cohold::shm_pool<int> pool{4};
    loan first;
    loan second;
    loans all;
    loan_queue queue{4};

    std::string tell() {
        std::string text = tell_object(first) + " and " + tell_object(second) + ", all";
        for (const loan& each : all) {
            text.append(" ").append(tell_object(each));
        }
        text.append(", sent");
        while (const auto each = queue.try_pop()) {
            text.append(" ").append(tell_object(*each));
        }
        std::vector<loan> left;
        while (loan each = pool.try_loan()) {
            left.push_back(std::move(each));
        }
        return text + ", left " + std::to_string(left.size());
    }
};

void with_loans(const segment& where) {
    auto& made = where.construct<lending>(crash::subject);
    for (int i = 1; i <= 4; ++i) {
        *made.pool.loan() = 0;
    }
    made.first = made.pool.loan();
    *made.first = 1;
    made.second = made.pool.loan();
    *made.second = 2;
    made.all.reserve(4);
    made.all.push_back(made.second);
}

void declare_loans(registry& all) {
    const auto on = [&](const std::string& function, const char* setup, auto act) {
        return all.add<lending>(function, setup, with_loans, act);
    };
    const auto lend_and_drop = [](lending& it) { return static_cast<bool>(it.pool.try_loan()); };
    on("shm_pool::try_loan", "and gone", lend_and_drop).meanwhile(lend_and_drop);
    on("shm_pool::try_loan", "all that are left", [](lending& it) {
        const loan one = it.pool.try_loan();
        const loan two = it.pool.try_loan();
        const loan none = it.pool.try_loan();
        return !none;
    });
    on("shm_pool::loan", "kept", [](lending& it) { it.second = it.pool.loan(); });
    on("shm_pool::loan_for", "and gone",
       [](lending& it) { return static_cast<bool>(it.pool.loan_for(std::chrono::seconds(1))); });
    on("shm_pool::loan_until", "and gone", [](lending& it) {
        return static_cast<bool>(
            it.pool.loan_until(std::chrono::steady_clock::now() + std::chrono::seconds(1)));
    });
    on("shm_loan::operator=", "copy", [](lending& it) { it.first = it.second; });
    on("shm_loan::operator=", "move", [](lending& it) { it.first = std::move(it.second); });
    on("shm_loan::operator=", "elements, push_back, moved",
       [](lending& it) { it.all.push_back(std::move(it.first)); });
    on("shm_loan::operator=", "sent", [](lending& it) {
        return it.queue.try_push(std::move(it.first));
    }).meanwhile(lend_and_drop);
    on("shm_loan::reset", "the last one", [](lending& it) {
        it.first.reset();
    }).meanwhile(lend_and_drop);
    on("shm_loan::reset", "not the last one", [](lending& it) { it.second.reset(); });
    on("shm_loan::swap", "two", [](lending& it) { it.first.swap(it.second); });
    on("shm_loan::~shm_loan", "elements, clear", [](lending& it) { it.all.clear(); });
}

// ---- a broadcast of loans

using film = cohold::shm_broadcast<loan, cohold::waiting::block>;

struct showing {
    cohold::shm_pool<int> pool{4};
    film it{2};
    loan first;

    std::string tell() {
        std::string text = tell_object(first) + ", " + std::to_string(it.published()) +
                           (it.is_closed() ? " and closed" : " published");
        auto reader = it.subscribe(cohold::from::oldest);
        while (const auto each = reader.try_next()) {
            text.append(" ").append(tell_object(*each));
        }
        std::vector<loan> left;
        while (loan each = pool.try_loan()) {
            left.push_back(std::move(each));
        }
        return text + ", left " + std::to_string(left.size());
    }
};

template <int Count>
void with_film(const segment& where) {
    auto& made = where.construct<showing>(crash::subject);
    for (int i = 1; i <= 4; ++i) {
        *made.pool.loan() = 0;
    }
    for (int i = 1; i <= Count; ++i) {
        loan next = made.pool.loan();
        *next = i;
        made.it.publish(std::move(next));
    }
    made.first = made.pool.loan();
    *made.first = 9;
}

void declare_film(registry& all) {
    const auto on = [&](const std::string& function, const char* setup, auto act) {
        return all.add<showing>("shm_broadcast::" + function, std::string("of loans, ") + setup,
                                with_film<2>, act);
    };
    const auto read = [](showing& each) {
        auto reader = each.it.subscribe(cohold::from::oldest);
        return static_cast<bool>(reader.try_next());
    };
    all.add<showing>("shm_broadcast::publish", "of loans, the first one", with_film<0>,
                     [](showing& each) { return each.it.publish(each.first); });
    on("publish", "over another one, somebody reads", [](showing& each) {
        return each.it.publish(each.first);
    }).meanwhile(read);
    on("publish", "moved from the segment",
       [](showing& each) { return each.it.publish(std::move(each.first)); });
    on("try_publish", "moved from the segment", [](showing& each) {
        return each.it.try_publish(std::move(each.first));
    }).meanwhile(read);
    on("publish_for", "a copy",
       [](showing& each) { return each.it.publish_for(each.first, std::chrono::seconds(1)); });
    on("close", "somebody reads", [](showing& each) { each.it.close(); }).meanwhile(read);
    on("subscribe", "and read, another publishes", read).meanwhile([](showing& each) {
        return each.it.publish(each.first);
    });
}

} // namespace

void crash::declare(registry& all) {
    declare_owners(all);
    declare_arrays(all);
    declare_sharers(all);
    declare_atomics(all);
    declare_loans(all);
    declare_film(all);
}
