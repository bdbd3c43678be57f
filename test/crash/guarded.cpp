// Locks and guarded values, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "crash/operations.hpp"

namespace {

using namespace std::chrono_literals;
using crash::registry;
using crash::segment;
using ints = cohold::shm_vector<int>;

// ---- locks

// A lock, and whether it can be had in the end.
template <class Lock>
struct locked_by_hand {
    Lock lock;

    std::string tell() {
        if (!lock.try_lock()) {
            return "held";
        }
        lock.unlock();
        return "free";
    }
};

template <class Lock>
void declare_lock(registry& all, const std::string& name) {
    using T = locked_by_hand<Lock>;
    const auto on = [&](const char* function, const char* setup, auto take) {
        all.add<T>(
               name + "::" + function, setup,
               [](const segment& where) { where.construct<T>(crash::subject); },
               [take](T& it) {
                   const bool taken = take(it.lock);
                   if (taken) {
                       it.lock.unlock();
                   }
                   return taken;
               })
            .heals()
            .meanwhile([](T& it) {
                it.lock.lock();
                it.lock.unlock();
            });
    };
    on("lock", "and unlock", [](Lock& lock) {
        lock.lock();
        return true;
    });
    on("try_lock", "and unlock", [](Lock& lock) { return lock.try_lock(); });
    on("try_lock_for", "and unlock", [](Lock& lock) { return lock.try_lock_for(1s); });
    on("try_lock_until", "and unlock",
       [](Lock& lock) { return lock.try_lock_until(std::chrono::steady_clock::now() + 1s); });
    all.covered(name + "::unlock", name + "::lock");
}

void declare_twice(registry& all) {
    using T = locked_by_hand<cohold::shm_recursive_mutex>;
    all.add<T>(
           "shm_recursive_mutex::lock", "twice",
           [](const segment& where) { where.construct<T>(crash::subject); },
           [](T& it) {
               it.lock.lock();
               it.lock.lock();
               it.lock.unlock();
               it.lock.unlock();
           })
        .heals();
}

void declare_readers(registry& all) {
    using T = locked_by_hand<cohold::shm_shared_mutex>;
    const auto on = [&](const char* function, const char* setup, auto take, auto other) {
        all.add<T>(
               std::string("shm_shared_mutex::") + function, setup,
               [](const segment& where) { where.construct<T>(crash::subject); },
               [take](T& it) {
                   const bool taken = take(it.lock);
                   if (taken) {
                       it.lock.unlock_shared();
                   }
                   return taken;
               })
            .heals()
            .meanwhile(other);
    };
    const auto writes = [](T& it) {
        it.lock.lock();
        it.lock.unlock();
    };
    const auto reads = [](T& it) {
        it.lock.lock_shared();
        it.lock.unlock_shared();
    };
    const auto share = [](cohold::shm_shared_mutex& lock) {
        lock.lock_shared();
        return true;
    };
    on("lock_shared", "another writes", share, writes);
    on("lock_shared", "another reads", share, reads);
    on(
        "try_lock_shared", "another writes",
        [](cohold::shm_shared_mutex& lock) { return lock.try_lock_shared(); }, writes);
    on(
        "try_lock_shared_for", "another writes",
        [](cohold::shm_shared_mutex& lock) { return lock.try_lock_shared_for(1s); }, writes);
    on(
        "try_lock_shared_until", "another writes",
        [](cohold::shm_shared_mutex& lock) {
            return lock.try_lock_shared_until(std::chrono::steady_clock::now() + 1s);
        },
        writes);
    all.covered("shm_shared_mutex::unlock_shared", "shm_shared_mutex::lock_shared");
}

// ---- guarded values

// Must change as a whole: plain words, and containers.
struct account {
    int left = 100;
    int right = 0;
    ints moves;
    cohold::shm_vector<ints> rows;

    std::string tell() {
        return std::to_string(left) + "+" + std::to_string(right) + " " + crash::tell(moves) + " " +
               crash::tell(rows);
    }
};

// More than locking saves.
using table = std::array<int, 1500>;

struct guarded {
    cohold::shm_guarded<account> first;
    cohold::shm_guarded<int> second{1};
    cohold::shm_guarded<table> third;

    std::string tell() {
        return first.with([](account& it) { return it.tell(); }) + " and " +
               second.with([](int& it) { return std::to_string(it); }) + " and " +
               third.with([](table& it) {
                   int sum = 0;
                   for (const int each : it) {
                       sum += each;
                   }
                   return std::to_string(sum);
               });
    }
};

auto filled(int count, std::size_t room) {
    return [count, room](const segment& where) {
        auto& made = where.construct<guarded>(crash::subject);
        made.first.with([&](account& it) {
            it.moves.reserve(room);
            it.rows.reserve(room);
            for (int i = 0; i < count; ++i) {
                it.moves.push_back(i);
                it.rows.emplace_back(std::size_t{2}, i);
            }
        });
    };
}

void move_one(account& it) {
    --it.left;
    ++it.right;
    it.moves.push_back(it.right);
}

template <class Guard>
bool move_if(const Guard& guard) {
    if (guard) {
        move_one(*guard);
    }
    return static_cast<bool>(guard);
}

struct change {
    const char* name;
    void (*make)(account&);
};

constexpr change changes[] = {
    {"words and an element", &move_one},
    {"pop, pop, push",
     [](account& it) {
         it.moves.pop_back();
         it.moves.pop_back();
         it.moves.push_back(77);
     }},
    {"growth, twice",
     [](account& it) {
         it.moves.resize(it.moves.size() + 3);
         it.moves.resize(it.moves.size() + 12);
     }},
    {"erase and insert",
     [](account& it) {
         it.moves.erase(it.moves.begin());
         it.moves.insert(it.moves.begin() + 1, 5);
     }},
    {"vectors in a vector",
     [](account& it) {
         it.rows.emplace_back(std::size_t{3}, 9);
         it.rows.erase(it.rows.begin());
         it.rows.front().push_back(8);
     }},
    {"clear and shrink",
     [](account& it) {
         it.moves.clear();
         it.moves.shrink_to_fit();
         it.rows.clear();
         it.moves.push_back(1);
     }},
    {"an exchange of elements", [](account& it) { std::swap(it.rows[0], it.rows[1]); }},
};

// Too many elements before a change to be saved: they are moved step by step, the journal keeps a
// shortened record of each move, and the next one follows it.
void move_many(account& it) {
    it.moves.insert(it.moves.begin(), 5);
    it.moves.pop_back(); // one that was there, in another place
    it.moves.push_back(9);
    it.moves.erase(it.moves.begin() + 20, it.moves.begin() + 23);
    it.moves.pop_back();
    it.moves.insert(it.moves.begin() + 2, 2, 7);
    it.moves.push_back(8);
}

void with_many(const segment& where) {
    where.construct<guarded>(crash::subject).first.with([](account& it) {
        it.moves.reserve(410);
        for (int i = 0; i < 400; ++i) {
            it.moves.push_back(i);
        }
    });
}

// ---- two mappings

// A process that has the segment mapped twice is two participants, with one life.
struct by_two {
    cohold::shm_mutex mutex;
    cohold::shm_vector<ints> rows;
    cohold::shm_guarded<ints> first;
    cohold::shm_guarded<ints> second;
    cohold::shm_queue<ints, cohold::concurrency::mpmc, cohold::waiting::block> queue{4};
    ints spare{7, 8};

    std::string tell() {
        return crash::tell(rows) + " " + crash::tell(*first.lock()) + " " +
               crash::tell(*second.lock()) + " " + crash::tell(queue) + crash::tell(spare);
    }
};

// The next thread that gets the lock, which one mapping held, finds what the other mapping did.
void declare_two_mappings(registry& all) {
    using T = by_two;
    const auto on = [&](const char* function, const char* setup, auto act) {
        return all
            .add<T>(
                function, std::string("another mapping of the process, ") + setup,
                [](const segment& where) {
                    auto& made = where.construct<T>(crash::subject);
                    made.rows.reserve(8);
                    for (int i = 0; i < 4; ++i) {
                        made.rows.emplace_back(2u, i);
                    }
                    made.first.lock()->assign({1, 2, 3});
                    made.second.lock()->assign({4, 5, 6});
                    made.queue.push(made.spare);
                },
                act)
            .twice();
    };
    on("shm_vector::insert", "under a lock of the first",
       [](T& app, T& library) {
           app.mutex.lock();
           library.rows.insert(library.rows.begin() + 1, library.spare);
           app.mutex.unlock();
       })
        .hasty("locks and looks",
               [](T& it) {
                   it.mutex.lock();
                   crash::said = crash::tell(it.rows);
                   it.rows.push_back(it.spare);
                   it.mutex.unlock();
               })
        .heals();
    on("shm_queue::push", "under a lock of the first",
       [](T& app, T& library) {
           app.mutex.lock();
           library.queue.push(library.spare);
           app.mutex.unlock();
       })
        .hasty("locks, and drains it",
               [](T& it) {
                   it.mutex.lock();
                   crash::said = crash::tell(it.queue);
                   it.queue.push(it.spare);
                   it.mutex.unlock();
               })
        .heals();
    // What the other mapping does is a section of its own.
    on("shm_guarded::with", "a section within one of the first",
       [](T& app, T& library) {
           app.first.with([&](ints& mine) {
               mine.push_back(1);
               library.second.with([](ints& theirs) { theirs.resize(12); });
               mine.clear();
           });
       })
        .also([](T& it) { it.second.with([](ints& theirs) { theirs.resize(12); }); })
        .hasty("locks the outer one, and looks",
               [](T& it) {
                   const auto outer = it.first.lock();
                   crash::said = crash::tell(*outer) + crash::tell(*it.second.lock());
                   outer->push_back(77);
               })
        .heals();
    on("shm_guarded::with", "under a lock of the first",
       [](T& app, T& library) {
           app.mutex.lock();
           library.first.with([](ints& it) { it.resize(12); });
           app.mutex.unlock();
       })
        .hasty("locks, and looks",
               [](T& it) {
                   it.mutex.lock();
                   crash::said = crash::tell(*it.first.lock());
                   it.mutex.unlock();
               })
        .heals();
}

// Readers that share the lock.
void on_shared(registry& all) {
    using T = cohold::shm_guarded<account, cohold::shm_shared_mutex>;

    struct shared {
        T it;

        std::string tell() {
            return it.with([](account& inner) { return inner.tell(); });
        }
    };

    const auto on = [&](const char* function, const char* setup, auto act) {
        all.add<shared>(
               std::string("shm_guarded::") + function, setup,
               [](const segment& where) {
                   where.construct<shared>(crash::subject).it.with([](account& inner) {
                       inner.moves.resize(3);
                   });
               },
               [act](shared& with) { return act(with.it); })
            .heals()
            .meanwhile([](shared& with) { with.it.with(&move_one); });
    };
    const auto looks = [](const auto& guard) { return guard && guard->left != 0; };
    on("lock_shared", "another writes", [looks](T& it) { return looks(it.lock_shared()); });
    on("lock_shared", "assigned from nothing, another writes", [looks](T& it) {
        auto guard = it.lock_shared();
        const bool saw = looks(guard);
        guard = {};
        return saw;
    });
    on("try_lock_shared", "another writes", [looks](T& it) { return looks(it.try_lock_shared()); });
    on("try_lock_shared_for", "another writes",
       [looks](T& it) { return looks(it.try_lock_shared_for(1s)); });
    on("try_lock_shared_until", "another writes", [looks](T& it) {
        return looks(it.try_lock_shared_until(std::chrono::steady_clock::now() + 1s));
    });
    on("with", "of a shared mutex", [](T& it) {
        it.with(&move_one);
        return true;
    });
}

} // namespace

void crash::declare(registry& all) {
    declare_lock<cohold::shm_mutex>(all, "shm_mutex");
    declare_lock<cohold::shm_recursive_mutex>(all, "shm_recursive_mutex");
    declare_lock<cohold::shm_shared_mutex>(all, "shm_shared_mutex");
    declare_twice(all);
    declare_two_mappings(all);
    declare_readers(all);

    const auto on = [&](const char* function, const char* setup, auto act) {
        return all.add<guarded>(std::string("shm_guarded::") + function, setup, filled(8, 9), act)
            .heals();
    };
    for (const change& each : changes) {
        const auto act = [make = each.make](guarded& it) { it.first.with(make); };
        for (const std::size_t room : {std::size_t{8}, std::size_t{20}}) {
            all.add<guarded>("shm_guarded::with",
                             std::string(each.name) + (room == 8 ? ", about to grow" : ""),
                             filled(8, room), act)
                .heals()
                .meanwhile([](guarded& it) { it.first.with(&move_one); });
        }
    }
    all.add<guarded>("shm_guarded::with", "many elements moved", &with_many,
                     [](guarded& it) { it.first.with(&move_many); })
        .heals();
    all.add<guarded>("shm_guarded::with", "many elements moved, an exception", &with_many,
                     [](guarded& it) {
                         try {
                             it.first.with([](account& inner) {
                                 move_many(inner);
                                 throw std::runtime_error("on purpose");
                             });
                         } catch (const std::runtime_error&) {
                         }
                     })
        .heals();
    on("with", "an exception", [](guarded& it) {
        try {
            it.first.with([](account& inner) {
                move_one(inner);
                throw std::runtime_error("on purpose");
            });
        } catch (const std::runtime_error&) {
        }
    });
    // Objects outside of the segment that outlive the section, which is undone.
    on("with", "moved out, an exception", [](guarded& it) {
        std::optional<ints> outside;
        std::vector<ints> more;
        try {
            it.first.with([&](account& inner) {
                more.push_back(std::move(inner.rows.front()));
                outside.emplace(std::move(inner.moves));
                inner.moves.assign({1, 2});
                throw std::runtime_error("on purpose");
            });
        } catch (const std::runtime_error&) {
        }
    }).undone();
    on("with", "swapped out, an exception", [](guarded& it) {
        ints outside;
        try {
            it.first.with([&](account& inner) {
                inner.moves.swap(outside);
                inner.moves.assign({1, 2});
                throw std::runtime_error("on purpose");
            });
        } catch (const std::runtime_error&) {
        }
    }).undone();
    on("with", "one in another", [](guarded& it) {
        it.first.with([&](account& outer) {
            move_one(outer);
            it.second.with([](int& inner) { ++inner; });
            it.first.with([](account& again) { --again.left; });
            ++outer.right;
        });
    });
    on("with", "save", [](guarded& it) {
        const auto guard = it.third.lock();
        guard.save((*guard)[7]);
        (*guard)[7] = 1;
        guard.save(&(*guard)[10], 1000);
        for (std::size_t i = 10; i < 1010; i += 100) {
            (*guard)[i] += 1;
        }
    });
    on_shared(all);
    on("lock", "a guard", [](guarded& it) { move_one(*it.first.lock()); });
    on("lock", "unlocked and locked again", [](guarded& it) {
        auto guard = it.first.lock();
        guard->left += 1;
        guard.unlock();
        guard.lock();
        guard->right += 1;
    }).also([](guarded& it) { it.first.lock()->left += 1; });
    on("lock", "a guard, assigned from nothing", [](guarded& it) {
        auto guard = it.first.lock();
        move_one(*guard);
        guard = {}; // the section ends here
        it.second.with([](int& inner) { ++inner; });
    }).also([](guarded& it) { move_one(*it.first.lock()); });
    on("try_lock", "a guard", [](guarded& it) { return move_if(it.first.try_lock()); });
    on("try_lock_for", "a guard", [](guarded& it) { return move_if(it.first.try_lock_for(1s)); });
    on("try_lock_until", "a guard", [](guarded& it) {
        return move_if(it.first.try_lock_until(std::chrono::steady_clock::now() + 1s));
    });
    all.covered("section_guard::save", "shm_guarded::with");
    all.covered("section_guard::lock", "shm_guarded::lock");
    all.covered("section_guard::operator=", "shm_guarded::lock");
    all.covered("shared_guard::operator=", "shm_guarded::lock_shared");
    all.covered("section_guard::unlock", "shm_guarded::lock");
}
