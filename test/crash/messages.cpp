// The operations of shm_message_queue and shm_service, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crash/explore.hpp"
#include "crash/operations.hpp"

namespace {

using namespace std::chrono_literals;
using crash::registry;
using crash::segment;

std::chrono::steady_clock::time_point soon() {
    return std::chrono::steady_clock::now() + 1s;
}

// A queue, of which everything is taken to tell what was in it. Then all of its room must be there.
template <unsigned Room>
struct with_room {
    cohold::shm_message_queue it{Room};

    std::string tell() {
        std::string text = it.is_closed() ? "closed(" : "(";
        std::multimap<unsigned, std::string, std::greater<>>
            all; // keeps the order of each priority
        while (const auto each = it.try_pop()) {
            all.emplace(each.priority(), each.text());
        }
        for (const auto& [priority, each] : all) {
            text += std::to_string(priority) + ":" + each + " ";
        }
        text += ")";
        if (!it.empty()) { // before the push, which repairs what it finds
            text += ", and the size is " + std::to_string(it.size());
        }
        if (!it.is_closed() && (!it.try_push(std::string(it.capacity(), 'x')) || !it.try_pop())) {
            text += ", and some room is lost";
        }
        return text;
    }
};

using queue = cohold::shm_message_queue;
using one = with_room<480>;    // so small that every place is given back at once
using roomy = with_room<2000>; // so large that four are given back together

const std::string longer(70, 'l');

void write(const queue::claimed_message& into, std::string_view text) {
    std::memcpy(into->data(), text.data(), text.size());
}

struct state {
    const char* name;
    void (*make)(queue& q);
};

const state states[] = {
    {"empty", [](queue&) {}},
    {"one", [](queue& q) { q.push("a", 1); }},
    {"three priorities",
     [](queue& q) {
         q.push("a", 1);
         q.push("b", 30);
         q.push("c");
         q.push("d", 1);
         q.push("e", 30);
     }},
    {"in pieces",
     [](queue& q) {
         for (int i = 0; i < 3; ++i) {
             q.push("low");
             q.push("high", 1);
         }
         while (const auto each = q.try_pop()) {
             if (each.priority() == 0) {
                 break;
             }
         }
     }},
    {"full",
     [](queue& q) {
         while (q.try_push("f", 2)) {
         }
     }},
};

constexpr const state& empty = states[0];
constexpr const state& one_there = states[1];
constexpr const state& several = states[2];
constexpr const state& pieces = states[3];

constexpr state alike = {"five alike", [](queue& q) {
                             for (int i = 0; i < 5; ++i) {
                                 q.push("f", 2);
                             }
                         }};

constexpr state behind = {"behind a free place", [](queue& q) {
                              q.push("a");
                              q.push("b");
                              static_cast<void>(q.try_pop());
                          }};

std::string drained(queue& from) {
    std::string text;
    while (const auto each = from.try_pop()) {
        text += std::string(each.text()) + " ";
    }
    return text;
}

// Full, but for three places that were released; the next one makes them an eighth of the room.
constexpr state gathered = {"three gathered", [](queue& q) {
                                while (q.try_push("f", 2)) {
                                }
                                for (int i = 0; i < 3; ++i) {
                                    static_cast<void>(q.try_pop());
                                }
                            }};

// What a dead consumer held comes when another one finds it.
std::string in_any_order(std::string text) {
    std::sort(text.begin(), text.end());
    return text;
}

template <class Subject = one, class Act>
auto on_guard(registry& all, const std::string& name, const state& in, const Act& act,
              const char* how = "") {
    return all
        .add<Subject>(
            name, std::string(in.name) + how,
            [&in](const segment& where) { in.make(where.construct<Subject>(crash::subject).it); },
            [act](Subject& q) { return act(q.it); })
        .hasty("takes everything, and destroys it",
               [](const segment& where) {
                   crash::said = in_any_order(drained(where.find<Subject>(crash::subject)->it));
                   where.destroy<Subject>(crash::subject);
                   crash::usurp(where);
               })
        .heals();
}

template <class Act>
auto on(registry& all, const char* name, const state& in, const Act& act, const char* how = "") {
    return on_guard(all, std::string("shm_message_queue::") + name, in, act, how);
}

bool push(queue& q) {
    return q.try_push("new", 1);
}

bool push_longer(queue& q) {
    return q.try_push(longer, 1);
}

bool push_other(queue& q) {
    return q.try_push("other", 1);
}

bool pop(queue& q) {
    return static_cast<bool>(q.try_pop());
}

bool write_in_place(queue& q) {
    auto claimed = q.try_claim(longer.size(), 2);
    if (claimed) {
        write(claimed, longer);
        return claimed.commit(8);
    }
    return false;
}

// The victim held the first one; a survivor finds that it is dead only when there is no other, and
// so gets that one last. The check sorts by priority.
void first_comes_last(queue& q) {
    auto first = q.try_pop();
    const std::string text(first.text());
    const unsigned priority = first.priority();
    first.release();
    if (!text.empty()) {
        q.try_push(text, priority);
    }
}

// Two are held, and the second one is released first.
bool pop_two(queue& q) {
    auto first = q.try_pop();
    auto second = q.try_pop();
    second.release();
    return static_cast<bool>(first);
}

// What the thread of a descriptor does while other processes hold messages.
bool look(queue& q) {
    const auto held = q.try_pop();
    return reinterpret_cast<cohold::detail::message_store&>(q).is_ready(true);
}

void declare_pushes(registry& all) {
    for (const state& each : states) {
        // A bystander may be killed while it holds a message.
        on(all, "try_push", each, push)
            .meanwhile([](one& q) { return pop(q.it); })
            .together([](one& q) {
                push(q.it);
                first_comes_last(q.it);
            });
        on(all, "try_push", each, push_longer, ", a longer one").meanwhile([](one& q) {
            return push_other(q.it);
        });
        on(all, "try_claim", each, write_in_place)
            .meanwhile([](one& q) { return pop(q.it); })
            .together([](one& q) {
                write_in_place(q.it);
                first_comes_last(q.it);
            });
        on(
            all, "try_claim", each,
            [](queue& q) {
                const auto dropped = q.try_claim(longer.size());
                return static_cast<bool>(dropped);
            },
            ", given up")
            .meanwhile([](one& q) { return push_other(q.it); });
    }
    on(all, "push", empty, [](queue& q) { return q.push("new", 31); });
    on(all, "push", one_there, [](queue& q) { return q.push(longer); });
    on(all, "push_for", one_there, [](queue& q) { return q.push_for("new", 1s); });
    on(all, "push_until", one_there, [](queue& q) { return q.push_until("new", soon()); });
    on(all, "claim", pieces, [](queue& q) {
        auto claimed = q.claim(3);
        write(claimed, "new");
        return claimed.commit();
    });
    on(all, "claim_for", empty, [](queue& q) { return q.claim_for(0, 1s).commit(); });
    on(all, "claim_until", empty, [](queue& q) { return q.claim_until(0, soon()).commit(); });
}

void declare_pops(registry& all) {
    for (const state& each : states) {
        on(all, "try_pop", each, pop)
            .meanwhile([](one& q) { return push_other(q.it); })
            .also([](one& q) { first_comes_last(q.it); })
            .together([](one& q) {
                push_other(q.it);
                first_comes_last(q.it);
            });
    }
    on(all, "try_pop", several, pop, ", another pops")
        .meanwhile([](one& q) { return pop(q.it); })
        .also([](one& q) { first_comes_last(q.it); })
        .together([](one& q) { // the victim holds the first
            const auto first = q.it.try_pop();
            static_cast<void>(q.it.try_pop());
            q.it.try_push(first.text(), first.priority());
        });
    on(all, "try_pop", alike, pop_two, ", two at once").also([](one& q) { pop(q.it); });
    on(all, "pop", several, [](queue& q) {
        return static_cast<bool>(q.pop());
    }).also([](one& q) {
          first_comes_last(q.it);
      }).once();
    on(all, "pop_for", several, [](queue& q) {
        return static_cast<bool>(q.pop_for(1s));
    }).also([](one& q) { first_comes_last(q.it); });
    on(all, "pop_until", several, [](queue& q) {
        return static_cast<bool>(q.pop_until(soon()));
    }).also([](one& q) { first_comes_last(q.it); });
    all.covered("shm_message_queue::native_event", "shm_message_queue::watch");
    on(all, "watch", one_there, look)
        .meanwhile([](one& q) { return push_other(q.it); })
        .also([](one& q) { first_comes_last(q.it); })
        .together([](one& q) {
            push_other(q.it);
            first_comes_last(q.it);
        });
    on(all, "watch", several, look).meanwhile([](one& q) { return pop(q.it); }).also([](one& q) {
        first_comes_last(q.it);
    });
    on(all, "close", several, [](queue& q) { q.close(); }).meanwhile([](one& q) {
        return push_other(q.it);
    });
}

// A message that fills the room. Where the headers of others were, its bytes say that a consumer
// holds them.
std::string forged(const queue& q) {
    constexpr std::uint64_t held = 0x700300003;
    std::string text(q.capacity(), '\0');
    for (std::size_t at = 0; at + sizeof held <= text.size(); at += sizeof held) {
        std::memcpy(text.data() + at, &held, sizeof held);
    }
    return text;
}

// Pushes it, if there is room; then takes everything.
std::string refilled(queue& q) {
    const std::string all = forged(q);
    const bool pushed = q.try_push(all);
    std::string text;
    while (const auto each = q.try_pop()) {
        text += each.text() == all         ? "all of it "
                : each.text().size() < 100 ? std::string(each.text()) + " "
                                           : "other bytes ";
    }
    return text + (pushed ? "with it" : "without it");
}

void declare_gathered(registry& all) {
    const std::string of = "shm_message_queue::";
    on_guard<roomy>(all, of + "try_pop", gathered, pop).meanwhile([](roomy& q) {
        return push_other(q.it);
    });
    on_guard<roomy>(all, of + "try_pop", gathered, pop_two, ", two at once").also([](roomy& q) {
        pop(q.it);
    });
    on_guard<roomy>(all, of + "try_push", gathered, push_longer).meanwhile([](roomy& q) {
        return pop(q.it);
    });
    on_guard<roomy>(all, of + "try_pop", gathered, pop, ", the room is filled")
        .hasty("pushes, takes everything, fills the room, and destroys it",
               [](const segment& where) {
                   queue& q = where.find<roomy>(crash::subject)->it;
                   static_cast<void>(q.try_push(longer));
                   crash::said = in_any_order(drained(q));
                   crash::said += refilled(q);
                   where.destroy<roomy>(crash::subject);
                   crash::usurp(where);
               });
}

void declare_guards(registry& all) {
    on_guard(all, "claimed_message::commit", several, [](queue& q) {
        auto claimed = q.try_claim(3);
        write(claimed, "new");
        return claimed.commit();
    });
    on_guard(all, "claimed_message::abandon", several, [](queue& q) {
        auto claimed = q.try_claim(3);
        claimed.abandon();
    });
    on_guard(all, "claimed_message::operator=", one_there, [](queue& q) {
        auto claimed = q.try_claim(3);
        claimed = q.try_claim(longer.size());
        write(claimed, longer);
        return claimed.commit();
    });
    on_guard(all, "message::release", several, [](queue& q) {
        auto first = q.try_pop();
        first.release();
    }).also([](one& q) { first_comes_last(q.it); });
    on_guard(all, "message::release", behind, [](queue& q) {
        auto only = q.try_pop();
        only.release();
    }).hasty("fills the room, takes everything, and destroys it", [](const segment& where) {
        crash::said = refilled(where.find<one>(crash::subject)->it);
        where.destroy<one>(crash::subject);
        crash::usurp(where);
    });
    on_guard(all, "message::operator=", alike, [](queue& q) {
        auto held = q.try_pop();
        held = q.try_pop();
    }).also([](one& q) { pop(q.it); });
}

// Destroyed by hand: its address, and whether it exists.
struct by_hand {
    alignas(queue) std::byte room[sizeof(queue)];

    by_hand() { ::new (static_cast<void*>(room)) queue(480); }

    by_hand(const by_hand&) = delete;
    by_hand& operator=(const by_hand&) = delete;

    ~by_hand() { it().~queue(); }

    [[nodiscard]] queue& it() noexcept { return *std::launder(reinterpret_cast<queue*>(room)); }

    std::string tell() { return it().capacity() == 0 ? "gone" : drained(it()); }
};

void declare_by_hand(registry& all) {
    all.add<by_hand>(
           "shm_message_queue::~shm_message_queue", "by hand",
           [](const segment& where) {
               several.make(where.construct<by_hand>(crash::subject).it());
           },
           [](by_hand& it) {
               std::destroy_at(&it.it());
               return true;
           })
        .heals();
}

// ---- shm_service

// Three places for calls, of which one is waiting: the maker's.
struct calls {
    cohold::shm_service<int, int> it{3};
    cohold::detail::call_table table{3, 64, 64, cohold::if_killed::serve_again};

    // Serves everything. Then the other places must be free, no matter which process had them.
    std::string tell() {
        std::error_code ec;
        int served = 0;
        int free = 0;
        cohold::detail::owner_word me = cohold::detail::nobody;
        while (auto* const slot = table.take(cohold::detail::at_once, me, ec)) {
            served += table.reply(*slot, me, true) ? 1 : 0;
        }
        std::vector<cohold::detail::call_slot*> all;
        ec.clear(); // there was no other call
        while (auto* const slot = table.claim(cohold::detail::at_once, ec)) {
            all.push_back(slot);
            ++free;
        }
        for (auto* const slot : all) {
            table.finish(*slot);
        }
        return (it.is_closed() ? "closed, " : "") + std::to_string(it.waiting()) + " and " +
               std::to_string(served) + " served, " + std::to_string(free) + " free";
    }
};

void declare_calls(registry& all) {
    const auto on = [&](const char* name, const char* setup, auto act) {
        return all
            .add<calls>(
                name, setup,
                [](const segment& where) {
                    auto& made = where.construct<calls>(crash::subject);
                    std::error_code ec;
                    auto* const slot = made.table.claim(cohold::detail::at_once, ec);
                    made.table.make(*slot);
                },
                act)
            .heals();
    };
    const auto serve = [](bool good) {
        return [good](calls& c) {
            std::error_code ec;
            cohold::detail::owner_word me = cohold::detail::nobody;
            auto* const slot = c.table.take(cohold::detail::at_once, me, ec);
            return slot != nullptr && c.table.reply(*slot, me, good);
        };
    };
    const auto cancel = [](calls& c) {
        std::error_code ec;
        auto* const slot = c.table.claim(cohold::detail::at_once, ec);
        if (slot != nullptr) {
            c.table.make(*slot);
            return !c.table.wait(*slot, cohold::detail::at_once, ec);
        }
        return false;
    };
    // A killed client's call that waits is served in vain.
    on("shm_service::call", "cancelled at once", cancel).also([](calls& c) {
        std::error_code ec;
        auto* const slot = c.table.claim(cohold::detail::at_once, ec);
        c.table.make(*slot);
    });
    on("shm_service::next", "and a reply", serve(true));
    // What a server holds is a place of the table.
    on("incoming::reply", "one waits", serve(true));
    on("incoming::operator=", "dropped", serve(false));
    on("shm_service::next_for", "none",
       [](calls& c) { return static_cast<bool>(c.it.next_for(1us)); });
    on("shm_service::try_next", "and no reply", serve(false));
    on("shm_service::close", "one waits", [](calls& c) { c.it.close(); });
}

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<by_hand> = true;
template <>
inline constexpr bool cohold::enable_shareable<calls> = true;

template <>
struct cohold::type_description<by_hand> {
    static constexpr void write(type_writer& out) { out.text("by_hand"); }
};

template <>
struct cohold::type_description<calls> {
    static constexpr void write(type_writer& out) { out.text("calls"); }
};

void crash::declare(registry& all) {
    declare_pushes(all);
    declare_pops(all);
    declare_gathered(all);
    declare_guards(all);
    declare_by_hand(all);
    declare_calls(all);
}
