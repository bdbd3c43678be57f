// The operations of shm_queue, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include "crash/explore.hpp"
#include "crash/operations.hpp"

namespace {

using cohold::concurrency;
using crash::registry;
using crash::segment;

template <class T, concurrency Concurrency, class Overflow = cohold::overflow::block>
using queue = cohold::shm_queue<T, Concurrency, cohold::waiting::block, // spinning is long to step
                                Overflow>;

// Elements: one word; several words, which no single store writes; more than lines have room for,
// so that they lie densely, in as many places as the queue has; and one that owns memory.
using several = std::array<int, 4>;
using large = std::array<int, 8>;
using owning = cohold::shm_vector<int>;

void set(int& element, int number) {
    element = number;
}

void set(several& element, int number) {
    element = {number, number + 1, number + 2, number + 3};
}

void set(large& element, int number) {
    element = {number, number + 1, number + 2, number + 3, number, number, number, number + 4};
}

void set(owning& element, int number) {
    element.assign({number, number + 1});
}

template <class T>
constexpr const char* kind = std::is_same_v<T, int>       ? "ints"
                             : std::is_same_v<T, several> ? "arrays"
                             : std::is_same_v<T, large>   ? "large arrays"
                                                          : "vectors";

template <concurrency Concurrency>
constexpr const char* sides = Concurrency == concurrency::spsc   ? "spsc"
                              : Concurrency == concurrency::mpsc ? "mpsc"
                              : Concurrency == concurrency::spmc ? "spmc"
                                                                 : "mpmc";

// A queue, and elements for it and from it: they are in the segment, so that what they own can be
// freed.
template <class T, concurrency Concurrency, class Overflow = cohold::overflow::block>
struct one {
    queue<T, Concurrency, Overflow> it{8};
    T spare[3]{};
    T received[3]{};
    T refill[8]{};

    std::string tell() {
        std::string text = crash::tell(it) + " and";
        for (T& each : spare) {
            text += " " + crash::tell(each);
        }
        if constexpr (!std::is_trivially_copyable_v<T>) { // else what is there before the end is
                                                          // nothing
            text += " and";
            for (T& each : received) {
                text += " " + crash::tell(each);
            }
        }
        return text;
    }
};

struct state {
    const char* name;
    int count;  // number of elements
    int passed; // elements that have gone through before
};

constexpr state states[] = {{"empty", 0, 0}, {"one", 1, 0}, {"going round", 5, 6}, {"full", 8, 1}};

// Tries again while a side is held: by the dead victim, until it is recovered.
template <class Try>
void until_decided(const Try& attempt) {
    std::error_code ec = cohold::errc::busy;
    while (ec == cohold::errc::busy) {
        attempt(ec);
        if (ec == cohold::errc::busy) {
            ::usleep(200);
        }
    }
}

template <class T, concurrency Concurrency, class Overflow>
std::vector<std::string> drain(queue<T, Concurrency, Overflow>& from) {
    std::vector<std::string> given;
    for (std::optional<T> each;;) {
        until_decided([&](std::error_code& ec) { each = from.try_pop(ec); });
        if (!each) {
            return given;
        }
        given.push_back(crash::tell(*each));
    }
}

void must(bool so, const char* complaint) {
    if (!so) {
        throw std::runtime_error(complaint);
    }
}

// Takes all elements, fills the queue again, and takes all once more. Reports the elements that the
// survivor had not pushed itself, in order.
template <class Q>
void drain_and_refill(Q& q) {
    for (const std::string& each : drain(q.it)) {
        crash::said += each + " ";
    }
    std::vector<std::string> pushed;
    for (auto& each : q.refill) {
        const std::string element = crash::tell(each);
        bool done = false;
        until_decided( // moved: allocating may trigger recovery
            [&](std::error_code& ec) { done = q.it.try_emplace(ec, std::move(each)); });
        must(done || crash::tell(each) == element, "the refused element has changed");
        if (done) {
            pushed.push_back(element);
        }
    }
    must(pushed.size() == (q.it.is_closed() ? 0 : std::size(q.refill)),
         "a push was refused with room, or accepted although the queue is closed");
    must(drain(q.it) == pushed, "a survivor's elements do not come back in order");
}

// Pushes until the queue is full, and takes all elements.
template <class Q>
void fill_and_drain(Q& q) {
    for (auto& each : q.refill) {
        bool done = false;
        until_decided([&](std::error_code& ec) { done = q.it.try_emplace(ec, std::move(each)); });
        if (!done) {
            break;
        }
    }
    for (const std::string& each : drain(q.it)) {
        crash::said += each + " ";
    }
}

// What survivors do with a queue before any of them has recovered the dead one.
template <class Q>
void ask_nobody(crash::declaration<Q>& what) {
    what.hasty("drains and refills it", [](Q& q) { drain_and_refill(q); });
    what.hasty("pops from it, and destroys it", [](const segment& where) {
        Q* const q = where.find<Q>(crash::subject);
        std::optional<typename decltype(q->it)::value_type> popped;
        until_decided([&](std::error_code& ec) { popped = q->it.try_pop(ec); });
        where.destroy<Q>(crash::subject);
        crash::usurp(where);
        crash::said = popped ? crash::tell(*popped) : "nothing";
    });
}

template <class T, concurrency Concurrency, class Overflow = cohold::overflow::block, class Act>
auto on(registry& all, const char* name, const state& in, const Act& act, const char* how = "") {
    using Q = one<T, Concurrency, Overflow>;
    auto what = all.add<Q>(
        std::string("shm_queue::") + name,
        std::string(sides<Concurrency>) + ", " + kind<T> + ", " + in.name + how,
        [in](const segment& where) {
            Q& made = where.construct<Q>(crash::subject);
            for (int i = 0; i < in.passed + in.count; ++i) {
                set(made.spare[0], i * 10);
                made.it.push(made.spare[0]);
                if (i < in.passed) {
                    made.it.try_pop_n(made.received);
                }
            }
            for (int i = 0; i < 3; ++i) {
                set(made.spare[i], 200 + i * 10);
                set(made.received[i], 1);
            }
            for (int i = 0; i < 8; ++i) {
                set(made.refill[i], 900 + i * 10);
            }
        },
        act);
    ask_nobody(what);
    return what;
}

template <class T, concurrency Concurrency>
void declare_for(registry& all) {
    using Q = one<T, Concurrency>;
    const state& empty = states[0];
    const state& round = states[2];
    const state& full = states[3];
    for (const state& each : states) {
        // Few enough that the victim, a survivor and a newcomer can do it without waiting.
        if (each.count <= 4) {
            on<T, Concurrency>(all, "push", each, [](Q& q) {
                return q.it.push(q.spare[0]);
            }).heals();
        }
        if (each.count >= 4) {
            on<T, Concurrency>(all, "pop_n", each, [](Q& q) {
                return q.it.pop_n(std::span<T>(q.received, 1)) != 0;
            }).survivor([](Q& q) {
                  return q.it.pop_n(std::span<T>(q.received + 1, 1)) != 0;
              }).once(); // the check of the contents has taken everything
        }
        on<T, Concurrency>(all, "try_push", each, [](Q& q) {
            return q.it.try_push(q.spare[0]);
        }).meanwhile([](Q& q) { return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0; });
        on<T, Concurrency>(all, "try_pop_n", each, [](Q& q) {
            return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0;
        }).meanwhile([](Q& q) { return q.it.try_push(q.spare[1]); });
    }
    // A survivor pushes to the place that the victim has freed, and pops only then.
    on<T, Concurrency>(
        all, "try_pop_n", full,
        [](Q& q) { return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0; }, ", refilled")
        .hasty("fills and drains it", [](Q& q) { fill_and_drain(q); });
    // The victim has claimed the last place. A survivor takes it, without a pop in between.
    on<T, Concurrency>(all, "try_push", {"one place left", 7, 1}, [](Q& q) {
        bool pushed = false;
        until_decided([&](std::error_code& ec) { pushed = q.it.try_push(q.spare[0], ec); });
        must(pushed || q.it.size() == q.it.capacity(), "a push was refused with room");
        return pushed;
    }).heals();
    // The producers have to look at the head again. A survivor finds the room, too.
    on<T, Concurrency>(all, "try_push", {"room to be found", 5, 3}, [](Q& q) {
        bool pushed = false;
        until_decided([&](std::error_code& ec) { pushed = q.it.try_push(q.spare[0], ec); });
        must(pushed, "a push was refused with room");
    }).heals();
    on<T, Concurrency>(
        all, "push", round, [](Q& q) { return q.it.push(std::move(q.spare[0])); }, ", moved");
    on<T, Concurrency>(
        all, "try_push", round, [](Q& q) { return q.it.try_push(std::move(q.spare[0])); },
        ", moved");
    on<T, Concurrency>(all, "emplace", round, [](Q& q) { return q.it.emplace(q.spare[0]); });
    on<T, Concurrency>(all, "try_emplace", round,
                       [](Q& q) { return q.it.try_emplace(q.spare[0]); });
    on<T, Concurrency>(all, "push_for", full, [](Q& q) {
        return q.it.push_for(q.spare[0], std::chrono::microseconds(1));
    });
    on<T, Concurrency>(all, "push_until", round, [](Q& q) {
        return q.it.push_until(q.spare[0],
                               std::chrono::steady_clock::now() + std::chrono::seconds(1));
    });
    // Of several elements, each is pushed or popped by itself.
    const auto push_n = [](std::size_t count) {
        return
            [count](Q& q) { return q.it.try_push_n(std::span<const T>(q.spare, count)) == count; };
    };
    on<T, Concurrency>(all, "try_push_n", empty, push_n(3)).also(push_n(1)).also(push_n(2));
    on<T, Concurrency>(all, "push_n", empty, [](Q& q) {
        return q.it.push_n(std::span<const T>(q.spare, 2)) == 2;
    }).also(push_n(1));
    const auto pop_n = [](std::size_t count) {
        return [count](Q& q) { return q.it.try_pop_n(std::span<T>(q.received, count)) == count; };
    };
    on<T, Concurrency>(all, "try_pop_n", full, pop_n(3), ", three").also(pop_n(1)).also(pop_n(2));
    // If a batch is killed in the middle, its first elements are there, or gone.
    on<T, Concurrency>(all, "try_push_n", round, push_n(3), ", round the end")
        .meanwhile([](Q& q) { return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0; })
        .also(push_n(1))
        .also(push_n(2));
    on<T, Concurrency>(all, "try_pop_n", round, pop_n(3), ", round the end")
        .meanwhile([](Q& q) { return q.it.try_push(q.spare[0]); })
        .also(pop_n(1))
        .also(pop_n(2));
    on<T, Concurrency>(all, "close", round, [](Q& q) { q.it.close(); });
    if constexpr (std::is_trivially_copyable_v<T>) {
        // The result is on the victim's stack, and dies with it.
        on<T, Concurrency>(all, "pop", round, [](Q& q) { return q.it.pop().has_value(); })
            .heals()
            .once();
        on<T, Concurrency>(all, "try_pop", round, [](Q& q) { return q.it.try_pop().has_value(); });
        on<T, Concurrency>(all, "pop_for", round, [](Q& q) {
            return q.it.pop_for(std::chrono::seconds(1)).has_value();
        }).once();
        on<T, Concurrency>(all, "pop_until", empty, [](Q& q) {
            return q.it.pop_until(std::chrono::steady_clock::now()).has_value();
        });
    }
}

// Two on the same side at once, and one of them in the middle.
template <class T>
void declare_many(registry& all) {
    using Q = one<T, concurrency::mpmc>;
    const state& round = states[2];
    const auto push = [](Q& q) { return q.it.try_push(q.spare[0]); };
    const auto push_other = [](Q& q) { return q.it.try_push(q.spare[1]); };
    const auto pop = [](Q& q) { return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0; };
    const auto pop_other = [](Q& q) {
        return q.it.try_pop_n(std::span<T>(q.received + 1, 1)) != 0;
    };
    on<T, concurrency::mpmc>(all, "try_push", round, push, ", another pushes")
        .meanwhile(push_other);
    on<T, concurrency::mpmc>(all, "try_pop_n", round, pop, ", another pops").meanwhile(pop_other);
}

// A side is biased to a thread that comes in for the second time: so the victim comes in in all
// ways.
template <class T>
void bias_soon(queue<T, concurrency::mpmc>& it) {
    for (const std::ptrdiff_t needed : {124, 316}) { // docs/layout.md
        *reinterpret_cast<std::uint32_t*>(reinterpret_cast<char*>(&it) + needed) = 1;
    }
}

template <class T>
void declare_biased(registry& all) {
    using Q = one<T, concurrency::mpmc>;
    const auto on = [&](const char* name, const char* setup, auto act) {
        auto what = all.add<Q>(
            std::string("shm_queue::") + name, std::string("mpmc, ") + kind<T> + ", " + setup,
            [](const segment& where) {
                Q& made = where.construct<Q>(crash::subject);
                for (int i = 0; i < 11; ++i) {
                    set(made.spare[0], i * 10);
                    made.it.push(made.spare[0]);
                    if (i < 6) {
                        made.it.try_pop_n(made.received);
                    }
                }
                for (int i = 0; i < 3; ++i) {
                    set(made.spare[i], 200 + i * 10);
                    set(made.received[i], 1);
                }
                for (int i = 0; i < 8; ++i) {
                    set(made.refill[i], 900 + i * 10);
                }
                bias_soon(made.it);
            },
            act);
        ask_nobody(what);
        return what;
    };
    const auto push = [](int count) {
        return [count](Q& q) {
            for (int i = 0; i < count; ++i) {
                if (!q.it.try_push(q.spare[i])) {
                    return false;
                }
            }
            return true;
        };
    };
    const auto pop = [](int count) {
        return [count](Q& q) {
            for (int i = 0; i < count; ++i) {
                if (q.it.try_pop_n(std::span<T>(q.received, 1)) == 0) {
                    return false;
                }
            }
            return true;
        };
    };
    on("try_push", "three times, biased", push(3)).also(push(1)).also(push(2));
    on("try_pop_n", "three times, biased", pop(3)).also(pop(1)).also(pop(2));
    // The same element each time, so that the order of victim and bystander does not matter.
    const auto both = [](int pushes, int pops) {
        return [pushes, pops](Q& q) {
            for (int i = 0; i < 2; ++i) {
                if ((i < pushes && !q.it.try_push(q.spare[0])) ||
                    (i < pops && q.it.try_pop_n(std::span<T>(q.received, 1)) == 0)) {
                    return false;
                }
            }
            return true;
        };
    };
    on("try_push", "and popped, twice, biased, another pushes", both(2, 2))
        .also(both(1, 0))
        .also(both(1, 1))
        .also(both(2, 1))
        .meanwhile([](Q& q) { return q.it.try_push(q.spare[0]); })
        .closely();
    on("try_push", "and popped, twice, biased, another pops", both(2, 2))
        .also(both(1, 0))
        .also(both(1, 1))
        .also(both(2, 1))
        .meanwhile([](Q& q) { return q.it.try_pop_n(std::span<T>(q.received + 1, 1)) != 0; })
        .closely();
}

// Elements that are written and read in their places.
template <class T, concurrency Concurrency>
void declare_in_place(registry& all) {
    using Q = one<T, Concurrency>;
    const state& empty = states[0];
    const state& round = states[2];
    const state& full = states[3];
    const auto pop = [](Q& q) { return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0; };
    const auto push = [](Q& q) { return q.it.try_push(q.spare[1]); };
    const auto write = [](Q& q, auto slot) {
        if (!slot) {
            return false;
        }
        *slot = q.spare[0];
        return slot.commit();
    };
    const auto read = [](auto view) { return view.release(); };
    on<T, Concurrency>(all, "claim", round, [write](Q& q) { return write(q, q.it.claim()); })
        .heals()
        .meanwhile(pop);
    on<T, Concurrency>(all, "try_claim", empty, [write](Q& q) {
        return write(q, q.it.try_claim());
    }).meanwhile(pop);
    on<T, Concurrency>(all, "try_claim", full,
                       [write](Q& q) { return write(q, q.it.try_claim()); });
    on<T, Concurrency>(
        all, "try_claim", round,
        [](Q& q) {
            const auto slot = q.it.try_claim();
            *slot = q.spare[0];
            return false;
        },
        ", not committed")
        .meanwhile(pop);
    on<T, Concurrency>(all, "claim_for", full, [write](Q& q) {
        return write(q, q.it.claim_for(std::chrono::microseconds(1)));
    });
    on<T, Concurrency>(all, "claim_until", round, [write](Q& q) {
        return write(q,
                     q.it.claim_until(std::chrono::steady_clock::now() + std::chrono::seconds(1)));
    });
    on<T, Concurrency>(all, "front", round, [read](Q& q) { return read(q.it.front()); })
        .heals()
        .meanwhile(push)
        .once(); // the check of the contents has taken everything
    on<T, Concurrency>(all, "try_front", full, [read](Q& q) {
        return read(q.it.try_front());
    }).meanwhile(push);
    on<T, Concurrency>(all, "try_front", empty, [read](Q& q) { return read(q.it.try_front()); });
    on<T, Concurrency>(
        all, "try_front", round,
        [](Q& q) {
            q.it.try_front().keep();
            return false;
        },
        ", kept")
        .meanwhile(push);
    on<T, Concurrency>(all, "front_for", round, [read](Q& q) {
        return read(q.it.front_for(std::chrono::seconds(1)));
    }).once();
    on<T, Concurrency>(all, "front_until", empty, [read](Q& q) {
        return read(q.it.front_until(std::chrono::steady_clock::now()));
    });
}

// Elements that come back unless they are done. Where nobody has recovered the victim, survivors
// ask about it once in a millisecond.
template <class T, concurrency Concurrency>
void declare_takes(registry& all) {
    using Q = one<T, Concurrency>;
    const state& empty = states[0];
    const state& round = states[2];
    const state& full = states[3];
    const auto on_it = [&](const char* name, const state& in, auto act, const char* how = "") {
        auto what = all.add<Q>(
            std::string("shm_queue::") + name,
            std::string(sides<Concurrency>) + ", " + kind<T> + ", " + in.name + how,
            [in](const segment& where) {
                Q& made = where.construct<Q>(crash::subject);
                for (int i = 0; i < in.passed + in.count; ++i) {
                    set(made.spare[0], i * 10);
                    made.it.push(made.spare[0]);
                    if (i < in.passed) {
                        made.it.try_pop_n(made.received);
                    }
                }
                for (int i = 0; i < 3; ++i) {
                    set(made.spare[i], 200 + i * 10);
                    set(made.received[i], 1);
                }
                for (int i = 0; i < 8; ++i) {
                    set(made.refill[i], 900 + i * 10);
                }
            },
            act);
        what.also([](Q& q) { static_cast<void>(q.it.try_take()); }); // the table has been made
        what.hasty("drains and refills it", [](Q& q) {
            ::usleep(1100);
            drain_and_refill(q);
        });
        return what;
    };
    const auto push = [](Q& q) { return q.it.try_push(q.spare[1]); };
    on_it("take", round, [](Q& q) { return q.it.take().done(); }).meanwhile(push).once();
    on_it("try_take", full, [](Q& q) { return q.it.try_take().done(); }).meanwhile(push);
    on_it("try_take", empty, [](Q& q) { return q.it.try_take().done(); });
    on_it("take_for", round, [](Q& q) {
        return q.it.take_for(std::chrono::seconds(1)).done();
    }).once();
    on_it("take_until", round, [](Q& q) {
        return q.it.take_until(std::chrono::steady_clock::now() + std::chrono::seconds(1)).done();
    }).once();
    on_it(
        "try_take", round, [](Q& q) { static_cast<void>(q.it.try_take()); }, ", given back")
        .meanwhile(push);
    on_it(
        "try_take", round,
        [](Q& q) {
            const auto first = q.it.try_take();
            return q.it.try_take().done();
        },
        ", the second one done");
    on_it(
        "try_take", round,
        [](Q& q) {
            static_cast<void>(q.it.try_take());
            return q.it.try_pop_n(std::span<T>(q.received, 1)) != 0;
        },
        ", given back and popped");
    on_it(
        "try_take", round,
        [](Q& q) {
            static_cast<void>(q.it.try_take());
            return q.it.try_front().release();
        },
        ", given back and removed in place");
}

int number_of(int element) {
    return element;
}

template <std::size_t N>
int number_of(const std::array<int, N>& element) {
    return element[0];
}

// Of those that a queue has at the beginning.
template <class T>
bool are_whole_and_in_order(const T* popped, std::size_t count) {
    const int first = number_of(popped[0]);
    for (std::size_t i = 0; i < count; ++i) {
        const int number = first + static_cast<int>(i) * 10;
        T expected{};
        set(expected, number);
        if (popped[i] != expected || number < 10 || number > 110) {
            return false;
        }
    }
    return true;
}

// A queue that overwrites. If a process is killed after it has removed the oldest elements, these
// are gone although no new one has come.
template <class T, concurrency Concurrency>
void declare_overwriting(registry& all) {
    using Overflow = cohold::overflow::overwrite_oldest;
    using Q = one<T, Concurrency, Overflow>;
    const state& round = states[2];
    const state& full = states[3];
    const auto on_it = [&](const char* name, const state& in, auto act,
                           const char* how = ", overwriting") {
        return on<T, Concurrency, Overflow>(all, name, in, act, how);
    };
    // What was overwritten while it was being copied must not come out: then the state is none that
    // is legal.
    const auto pop = [](std::size_t count) {
        return [count](Q& q) {
            const bool popped = q.it.try_pop_n(std::span<T>(q.received, count)) == count;
            if (popped && !are_whole_and_in_order(q.received, count)) {
                set(q.spare[0], -1);
            }
            return popped;
        };
    };
    const auto push = [](std::size_t count) {
        return [count](Q& q) { return q.it.push_n(std::span<const T>(q.spare, count)) == count; };
    };
    on_it("push", round, [](Q& q) { return q.it.push(q.spare[0]); }).heals().meanwhile(pop(1));
    on_it("push", full, [](Q& q) { return q.it.push(q.spare[0]); }).heals().also(pop(1));
    on_it("try_push", full, [](Q& q) { return q.it.try_push(q.spare[0]); })
        .also(pop(1))
        .meanwhile(pop(1));
    on_it("emplace", full, [](Q& q) { return q.it.emplace(q.spare[0]); }).also(pop(1));
    on_it("push_n", full, push(3))
        .also(pop(3))
        .also(push(1))
        .also(push(2))
        .also([](Q& q) {
            return q.it.try_pop_n(std::span<T>(q.received, 2)) == 2 && q.it.push(q.spare[0]);
        })
        .also([](Q& q) {
            return q.it.try_pop_n(std::span<T>(q.received, 1)) == 1 &&
                   q.it.push_n(std::span<const T>(q.spare, 2)) == 2;
        });
    // The other one may be killed as well, after it has removed the oldest element.
    on_it("try_pop_n", full, pop(1))
        .meanwhile([](Q& q) { return q.it.try_push(q.spare[1]); })
        .together(pop(1))
        .together(pop(2));
    on_it("try_pop_n", full, pop(3), ", three, overwriting")
        .meanwhile([](Q& q) { return q.it.try_push(q.spare[1]); })
        .together(pop(1))
        .together([](Q& q) {
            return q.it.try_pop_n(std::span<T>(q.received, 3)) == 3 &&
                   q.it.try_pop_n(std::span<T>(q.received, 1)) == 1;
        });
    // Each one that is copied out is a state of its own: so the other ones are overwritten between
    // copies. That the victim looks again afterwards is all that keeps it from returning them.
    on_it("try_pop_n", full, pop(3), ", three that are overwritten")
        .meanwhile(push(3))
        .together(pop(3))
        .together([](Q& q) {
            return q.it.try_pop_n(std::span<T>(q.received, 3)) == 3 &&
                   q.it.try_pop_n(std::span<T>(q.received, 3)) == 3;
        });
}

// A queue that is used in sections: it changes at once, and what is around it when they end.
template <concurrency Concurrency>
struct within {
    cohold::shm_guarded<owning> mine;
    queue<owning, Concurrency> it{8};
    owning refill[3];

    std::string tell() { return crash::tell(*mine.lock()) + " and " + crash::tell(it); }
};

template <concurrency Concurrency>
void declare_within(registry& all) {
    using Q = within<Concurrency>;
    const auto on = [&](const char* name, const char* setup, auto act) {
        auto what = all.add<Q>(
                           std::string("shm_queue::") + name,
                           std::string(sides<Concurrency>) + ", vectors, in a section, " + setup,
                           [](const segment& where) {
                               Q& made = where.construct<Q>(crash::subject);
                               *made.mine.lock() = {1, 2, 3};
                               const auto locked = made.mine.lock();
                               for (int i = 0; i < 4; ++i) {
                                   made.it.push(owning({i, i}, locked->get_allocator()));
                               }
                               for (int i = 0; i < 3; ++i) {
                                   set(made.refill[i], 900 + i * 10);
                               }
                           },
                           act)
                        .heals();
        ask_nobody(what);
        return what;
    };
    // The element may be in the queue although the section was not committed.
    on("push", "what was there before", [](Q& q) {
        q.mine.with([&](owning& mine) {
            q.it.push(std::move(mine));
            mine.assign({7});
        });
    }).also([](Q& q) { q.it.push(*q.mine.lock()); });
    on("push", "what was made in it", [](Q& q) {
        q.mine.with([&](owning& mine) {
            mine.assign({4, 5, 6, 7, 8});
            q.it.push(std::move(mine));
            mine.clear();
            mine.shrink_to_fit();
        });
    }).also([](Q& q) { q.it.push(owning({4, 5, 6, 7, 8}, q.mine.lock()->get_allocator())); });
    on("try_pop", "kept", [](Q& q) {
        return q.mine.with([&](owning& mine) {
            std::optional<owning> popped = q.it.try_pop();
            if (popped) {
                mine = std::move(*popped);
            }
            return popped.has_value();
        });
    }).also([](Q& q) { static_cast<void>(q.it.try_pop()); });
    on("try_pop_n", "into a vector", [](Q& q) {
        q.mine.with(
            [&](owning& mine) { static_cast<void>(q.it.try_pop_n(std::span<owning>(&mine, 1))); });
    }).also([](Q& q) { static_cast<void>(q.it.try_pop()); });
}

// An element whose constructor pushes to another queue: the thread has two claims then.
struct pushing {
    int number;

    pushing(queue<int, concurrency::mpmc>& other, int n) : number(n) { other.push(n); }

    std::string tell() { return std::to_string(number); }
};

struct two_queues {
    queue<pushing, concurrency::mpmc> outer{4};
    queue<int, concurrency::mpmc> inner{8};

    std::string tell() { return crash::tell(outer) + " and " + crash::tell(inner); }
};

// Survivors push and pop beyond the outer claim, whether or not recovery knows about it.
void declare_nested(registry& all) {
    all.add<two_queues>(
           "shm_queue::emplace", "mpmc, in the constructor of an element",
           [](const segment& where) {
               auto& made = where.construct<two_queues>(crash::subject);
               made.outer.emplace(made.inner, 10);
           },
           [](two_queues& q) { return q.outer.emplace(q.inner, 20); })
        .also([](two_queues& q) { q.inner.push(20); })
        .heals();
}

// An object that is destroyed by hand: its address and, outside of the segment so that it survives
// a kill, whether it exists.
template <class T>
struct by_hand {
    alignas(T) std::byte room[sizeof(T)];

    by_hand() { ::new (static_cast<void*>(room)) T(4u); }

    by_hand(const by_hand&) = delete;
    by_hand& operator=(const by_hand&) = delete;

    // Perhaps a second time: then there is nothing to do.
    ~by_hand() { it().~T(); }

    [[nodiscard]] T& it() noexcept { return *std::launder(reinterpret_cast<T*>(room)); }

    std::string tell() { return it().capacity() == 0 ? "gone" : crash::tell(it()); }
};

using queue_by_hand = by_hand<queue<owning, concurrency::mpmc>>;
using lone_queue_by_hand = by_hand<queue<owning, concurrency::spsc>>;
using plain_queue_by_hand = by_hand<queue<int, concurrency::mpmc>>;
using vectors_by_hand = by_hand<cohold::shm_vector<owning>>;

template <class T>
void declare_by_hand(registry& all, const char* name, const char* setup) {
    all.add<T>(
           name, std::string("destroyed by hand, ") + setup,
           [](const segment& where) {
               auto& made = where.construct<T>(crash::subject).it();
               if constexpr (std::is_same_v<T, vectors_by_hand>) {
                   for (int i = 0; i < 4; ++i) {
                       set(made[static_cast<std::size_t>(i)], i * 10);
                   }
               } else {
                   auto each = [&] {
                       if constexpr (std::is_same_v<T, plain_queue_by_hand>) {
                           return 0;
                       } else {
                           return owning(where.allocator<int>());
                       }
                   }();
                   for (int i = 0; i < 3; ++i) {
                       set(each, i * 10);
                       made.push(each);
                   }
               }
           },
           [](T& it) {
               std::destroy_at(&it.it());
               return true;
           })
        .heals();
}

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<pushing> = true;
template <class T>
inline constexpr bool cohold::enable_shareable<by_hand<T>> = true;

template <class T>
struct cohold::type_description<by_hand<T>> {
    static constexpr void write(type_writer& out) { out.text("by_hand"); }
};

void crash::declare(registry& all) {
    declare_for<int, concurrency::spsc>(all);
    declare_for<several, concurrency::mpmc>(all);
    declare_for<owning, concurrency::mpmc>(all);
    declare_for<owning, concurrency::spsc>(all);
    declare_many<several>(all);
    declare_many<owning>(all);
    declare_biased<int>(all);
    declare_biased<several>(all);
    declare_in_place<int, concurrency::mpmc>(all);
    declare_in_place<several, concurrency::spsc>(all);
    declare_takes<int, concurrency::spsc>(all);
    declare_takes<several, concurrency::mpmc>(all);
    declare_takes<large, concurrency::mpmc>(all);
    declare_overwriting<int, concurrency::spsc>(all);
    declare_overwriting<several, concurrency::mpmc>(all);
    declare_overwriting<large, concurrency::mpmc>(all);
    declare_within<concurrency::mpmc>(all);
    declare_within<concurrency::spsc>(all);
    declare_nested(all);
    declare_by_hand<queue_by_hand>(all, "shm_queue::~shm_queue", "mpmc, vectors");
    declare_by_hand<lone_queue_by_hand>(all, "shm_queue::~shm_queue", "spsc, vectors");
    declare_by_hand<plain_queue_by_hand>(all, "shm_queue::~shm_queue", "mpmc, ints");
    declare_by_hand<vectors_by_hand>(all, "shm_vector::~shm_vector", "of vectors");
}
