// Blocks of slabs, for the rig: taken, freed by their owner and by others, in sections, when slabs
// are made, adopted and given back.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "crash/explore.hpp"
#include "crash/operations.hpp"

namespace {

using crash::registry;
using crash::segment;
namespace inner = cohold::detail;

constexpr std::size_t bytes = 128; // 31 to a slab
constexpr std::size_t asked = 16;  // so many come from the heap before there is a slab
constexpr std::size_t most = 200;

struct stock {
    cohold::shm_guarded<int> number{1};
    cohold::shm_guarded<int> visits{0};    // of others
    cohold::offset_ptr<char> others[most]; // blocks of the maker
    cohold::offset_ptr<char> mine[most];   // blocks of the victim
    cohold::shm_shared_ptr<int> shared[asked + 8];
    cohold::shm_vector<int> numbers;
    cohold::shm_string text;

    // Has the vector as much room as it says? It must be too large for a slab.
    [[nodiscard]] bool has_room() {
        const auto* const block = reinterpret_cast<const inner::heap_block*>(
            reinterpret_cast<const char*>(numbers.data()) - 16);
        return numbers.capacity() * sizeof(int) <= block->size();
    }

    std::string tell() {
        if (numbers.capacity() > 200 && !has_room()) {
            return "numbers in too small a block";
        }
        std::string told = std::to_string(*number.lock()) + "," + std::to_string(*visits.lock()) +
                           "," + std::to_string(numbers.size()) +
                           std::string(std::string_view(text));
        for (const int each : numbers) {
            told += each == 1 ? "" : std::to_string(each);
        }
        for (const auto& each : shared) {
            told += each == nullptr ? "-" : "+";
        }
        return told;
    }
};

void fill(const segment& where, cohold::offset_ptr<char>* blocks, std::size_t count,
          std::size_t size = bytes) {
    auto memory = where.allocator<char>();
    for (std::size_t i = 0; i < count; ++i) {
        blocks[i] = memory.allocate(size);
    }
}

// Frees those in the range that are there.
void drop(const segment& where, const cohold::offset_ptr<char>* blocks, std::size_t from,
          std::size_t to) {
    auto memory = where.allocator<char>();
    for (std::size_t i = from; i < to; ++i) {
        memory.deallocate(blocks[i], bytes);
    }
}

// Allocates so many blocks, which nobody then knows.
bool get(const segment& where, std::size_t count, std::size_t size = bytes) {
    auto memory = where.allocator<char>();
    for (std::size_t i = 0; i < count; ++i) {
        static_cast<void>(memory.allocate(size));
    }
    return true;
}

void make(const segment& where) {
    where.grow(crash::world::reserve);
    where.construct<stock>(crash::subject);
}

void make_trimmed(const segment& where) {
    make(where);
    where.trim();
}

auto with_blocks(std::size_t count, std::size_t size = bytes) {
    return [count, size](stock& it, const segment& where) { fill(where, it.mine, count, size); };
}

// Blocks of the maker's.
auto made_with(std::size_t count) {
    return [count](const segment& where) {
        make(where);
        fill(where, where.find<stock>(crash::subject)->others, count);
    };
}

// Blocks of a thread that has ended, some of which others have freed.
auto made_with_orphans(std::size_t count) {
    return [count](const segment& where) {
        make(where);
        stock& it = *where.find<stock>(crash::subject);
        std::thread([&] { fill(where, it.others, count); }).join();
        drop(where, it.others, 50, 53);
        it.number.with([&](int&) { drop(where, it.others, 55, 57); });
    };
}

void take_back(const segment& where) {
    inner::segment_header& header = crash::header_of(where);
    inner::heap::change change(inner::heap::of(header), crash::attached(where));
    change.take_back_all();
}

// Allocates and frees so many that there is a new slab, and all or none of them, if it is killed.
bool come_and_go(stock& it, const segment& where) {
    it.visits.with([&](int& count) {
        ++count;
        auto memory = where.allocator<char>();
        cohold::offset_ptr<char> taken[asked + 4];
        for (auto& each : taken) {
            each = memory.allocate(bytes);
        }
        for (auto& each : taken) {
            memory.deallocate(each, bytes);
        }
    });
    return true;
}

bool take_back_too(const segment& where) {
    take_back(where);
    return true;
}

struct on_purpose : std::exception {};

} // namespace

void crash::declare(registry& all) {
    const auto free_others = [](stock& it, const segment& where) {
        drop(where, it.mine, 40, 41); // one step
        return true;
    };

    struct allocating {
        std::string setup;
        std::function<void(const segment&)> make;
        std::function<void(stock&, const segment&)> prepare;
        std::size_t count;
        std::size_t size = bytes;
    };

    const allocating several[] = {
        {"at hand", make, with_blocks(60), 2},
        {"the first slab", make, with_blocks(asked), 2},
        {"a further slab", make, with_blocks(asked + 31), 2},
        {"in the middle of a word", make, with_blocks(asked + 50, 16), 20, 16},
        {"just freed", make,
         [](stock& it, const segment& where) {
             fill(where, it.mine, 60);
             drop(where, it.mine, 59, 60);
         },
         2},
        {"of several slabs", make,
         [](stock& it, const segment& where) {
             fill(where, it.mine, 110);
             for (const std::size_t each : {20u, 30u, 50u, 80u, 81u, 105u}) {
                 drop(where, it.mine, each, each + 1);
             }
         },
         9},
        {"adopted", made_with_orphans(90), with_blocks(asked), 8},
    };
    for (const allocating& each : several) {
        const auto allocate = [count = each.count, size = each.size](const segment& where) {
            return get(where, count, size);
        };
        const auto declared = [&](auto&& meanwhile, const char* name) {
            auto made =
                all.add<stock>("shm_allocator::allocate", "a slab's: " + each.setup + ", " + name,
                               each.make, allocate);
            made.prepare(each.prepare).unhasty().once().meanwhile(meanwhile);
            for (std::size_t i = 1; i < each.count; ++i) {
                made.also(
                    [i, size = each.size](const segment& where) { return get(where, i, size); });
            }
        };
        if (each.count > 2) {
            declared(come_and_go, "others come and go");
        } else {
            declared(take_back_too, "others take back");
        }
        if (each.count > 8 || each.setup == "at hand") {
            declared(
                [](stock& it, const segment& where) {
                    drop(where, it.mine, 17, 18);
                    return true;
                },
                "others free");
        }
    }
    // What others have freed, in sections and outside of them.
    const auto freed_by_others = [](std::size_t from, std::size_t to) {
        return [from, to](stock& it, const segment& where) {
            fill(where, it.mine, asked + 3 * 31); // the slabs are full
            std::thread([&] {
                drop(where, it.mine, from, to);
                it.number.with([&](int&) { drop(where, it.mine, to, to + 3); });
            }).join();
        };
    };

    struct freed {
        std::string setup;
        void (*make)(const segment&);
        std::size_t to;
    };

    for (const freed& each :
         {freed{"freed by others", make, 50}, freed{"emptied by others", make, 80},
          freed{"emptied by others, and trimmed before", make_trimmed, 80}}) {
        auto made = all.add<stock>("shm_allocator::allocate", "a slab's: " + each.setup, each.make,
                                   [](const segment& where) { return get(where, 9); });
        made.prepare(freed_by_others(47, each.to)).unhasty().once().meanwhile(take_back_too);
        for (std::size_t i = 1; i < 9; ++i) {
            made.also([i](const segment& where) { return get(where, i); });
        }
    }
    // The heap has no room, but some slabs are free.
    all.add<stock>(
           "shm_allocator::allocate", "a slab is taken back for it",
           [](const segment& where) {
               made_with(110)(where);
               auto memory = where.allocator<char>();
               for (std::size_t size = 65536; size >= 3000; size /= 2) {
                   while (inner::heap::change(inner::heap::of(crash::header_of(where)),
                                              crash::attached(where)) &&
                          inner::heap::of(crash::header_of(where)).has_room(size)) {
                       static_cast<void>(memory.allocate(size));
                   }
               }
               // Others free all blocks of the slabs, whose owner does not notice.
               std::thread([&] {
                   drop(where, where.find<stock>(crash::subject)->others, asked, 110);
               }).join();
           },
           [](const segment& where) { return get(where, 1, 3500); })
        .unhasty()
        .once();

    struct freeing {
        std::string setup;
        std::function<void(const segment&)> make;
        std::function<void(stock&, const segment&)> prepare;
        std::vector<std::size_t> which;
        bool others = false;
    };

    std::vector<std::size_t> a_slab; // and a little more, but one less in the first slab
    for (std::size_t i = 80; i > 45; --i) {
        a_slab.push_back(i - 1);
    }
    const freeing frees[] = {
        {"its own", make, with_blocks(110), {109, 60, 20}},
        {"all of its own", make, with_blocks(110), a_slab},
        {"those of others", made_with(110), with_blocks(asked), {109, 60, 20}, true},
        {"of nobody", made_with_orphans(110), with_blocks(asked), {109, 60, 20}, true},
        {"all of nobody",
         made_with_orphans(58),
         with_blocks(asked),
         {47, 48, 49, 53, 54, 57},
         true},
    };
    for (const freeing& each : frees) {
        const auto free = [which = each.which, others = each.others](std::size_t count) {
            return [=](stock& it, const segment& where) {
                for (std::size_t i = 0; i < count; ++i) {
                    drop(where, others ? it.others : it.mine, which[i], which[i] + 1);
                }
                return true;
            };
        };
        const auto declared = [&](auto&& meanwhile, const char* name) {
            auto made =
                all.add<stock>("shm_allocator::deallocate", "a slab's: " + each.setup + ", " + name,
                               each.make, free(each.which.size()));
            made.prepare(each.prepare).unhasty().once().meanwhile(meanwhile);
            for (std::size_t i = 1; i < each.which.size(); ++i) {
                made.also(free(i));
            }
        };
        declared(take_back_too, "others take back");
        if (each.which.size() < 8) {
            declared(come_and_go, "others come and go");
        }
        if (!each.others) {
            declared(free_others, "others free");
        }
    }

    // In sections.
    struct section {
        std::string setup;
        std::function<void(stock&, const segment&)> act;
    };

    const section sections[] = {
        {"allocates", [](stock&, const segment& where) { get(where, 3); }},
        {"allocates many",
         [](stock&, const segment& where) {
             get(where, 20);
             get(where, 1, 3000);
         }},
        {"frees its own",
         [](stock& it, const segment& where) {
             for (const std::size_t i : {3u, 20u, 60u, 109u}) {
                 drop(where, it.mine, i, i + 1);
             }
             get(where, 2);
         }},
        {"frees a whole slab",
         [](stock& it, const segment& where) { drop(where, it.mine, 47, 78); }},
        {"frees those of others",
         [](stock& it, const segment& where) {
             for (const std::size_t i : {3u, 20u, 60u, 89u}) {
                 drop(where, it.others, i, i + 1);
             }
             drop(where, it.mine, 30, 31);
             get(where, 2);
         }},
        {"frees what it allocates",
         [](stock&, const segment& where) {
             auto memory = where.allocator<char>();
             const auto block = memory.allocate(bytes);
             get(where, 1);
             memory.deallocate(block, bytes);
         }},
    };
    for (const section& each : sections) {
        for (const bool undone : {false, true}) {
            auto made = all.add<stock>(
                "shm_guarded::with", "slabs: " + each.setup + (undone ? ", an exception" : ""),
                made_with(90), [act = each.act, undone](stock& it, const segment& where) {
                    try {
                        it.number.with([&](int& number) {
                            ++number;
                            act(it, where);
                            if (undone) {
                                throw on_purpose();
                            }
                        });
                    } catch (const on_purpose&) {
                    }
                });
            made.prepare(with_blocks(110)).unhasty().once().large();
            if (each.setup == "frees a whole slab") {
                made.meanwhile(take_back_too);
            } else if (each.setup == "allocates many") {
                made.meanwhile(free_others);
            } else {
                made.meanwhile(come_and_go);
            }
        }
    }

    // Their memory is freed in a change of the heap.
    all.add<stock>("shm_shared_ptr::reset", "in a slab, others come and go", make,
                   [](stock& it) { it.shared[asked + 4].reset(); })
        .prepare([](stock& it, const segment& where) {
            for (auto& each : it.shared) {
                each = cohold::make_shm_shared<int>(where, 5);
            }
        })
        .meanwhile(come_and_go)
        .unhasty()
        .once()
        .large();

    // Pages go back to the kernel, and come again.
    all.add<stock>("segment::trim", "others come and go", make,
                   [](const segment& where) {
                       where.trim();
                       return true;
                   })
        .prepare(with_blocks(asked))
        .meanwhile(come_and_go)
        .unhasty()
        .once()
        .large();
    all.add<stock>("segment::trim", "after some of it is used", make_trimmed,
                   [](const segment& where) {
                       where.trim();
                       return true;
                   })
        .prepare([](stock& it, const segment& where) {
            fill(where, it.mine, 4, 9000);
            drop(where, it.mine, 1, 3);
        })
        .unhasty()
        .once()
        .large();
    all.add<stock>("shm_allocator::allocate", "from a trimmed block", make_trimmed,
                   [](const segment& where) { return get(where, 1, 10000); })
        .prepare(with_blocks(2))
        .meanwhile(come_and_go)
        .unhasty()
        .once()
        .large();
    all.add<stock>("shm_allocator::deallocate", "between trimmed blocks", make,
                   [](stock& it, const segment& where) {
                       drop(where, it.mine, 1, 2);
                       return true;
                   })
        .prepare([](stock& it, const segment& where) {
            fill(where, it.mine, 4, 9000);
            drop(where, it.mine, 0, 1);
            drop(where, it.mine, 2, 3);
            where.trim();
        })
        .unhasty()
        .once()
        .large();

    // A block changes its size where it is: the smallest that is worth it, and the last one, for
    // which the segment would grow.
    struct resizing {
        const char* setup;
        std::size_t size;
        std::size_t count;
    };

    for (const resizing& each :
         {resizing{"it grows", 3000, 5000}, resizing{"it shrinks", 9000, 3000},
          resizing{"it takes all", 3000, 6016}}) {
        all.add<stock>("shm_allocator::resize_in_place", each.setup, make,
                       [count = each.count](stock& it, const segment& where) {
                           return where.allocator<char>().resize_in_place(it.mine[0], count);
                       })
            .prepare([size = each.size](stock& it, const segment& where) {
                fill(where, it.mine, 3, size);
                drop(where, it.mine, 1, 2);
            })
            .meanwhile(come_and_go)
            .unhasty()
            .once();
    }

    all.add<stock>("shm_allocator::resize_in_place", "it grows into a trimmed block", make_trimmed,
                   [](stock& it, const segment& where) {
                       return where.allocator<char>().resize_in_place(it.mine[0], 9000);
                   })
        .prepare([](stock& it, const segment& where) {
            fill(where, it.mine, 1, 3000);
            fill(where, it.mine + 1, 1, 20000);
            fill(where, it.mine + 2, 1, 3000);
            drop(where, it.mine, 1, 2);
            where.trim();
        })
        .meanwhile(come_and_go)
        .unhasty()
        .once()
        .large();

    const auto apart = [](stock& it, const segment& where) {
        fill(where, it.mine, 3, 3000);
        drop(where, it.mine, 1, 2);
    };
    all.add<stock>("shm_allocator::reallocate", "it grows where it is", make,
                   [](stock& it, const segment& where) {
                       return where.allocator<char>().reallocate(it.mine[0], 3000, 5000) != nullptr;
                   })
        .prepare(apart)
        .unhasty()
        .once();
    // In a section the new block and the old one change together.
    all.add<stock>("shm_allocator::reallocate", "it goes elsewhere, in a section", make,
                   [](stock& it, const segment& where) {
                       it.number.with([&](int& number) {
                           it.mine[0] = where.allocator<char>().reallocate(it.mine[0], 3000, 20000);
                           ++number;
                       });
                   })
        .prepare(apart)
        .unhasty()
        .once();

    // Containers whose blocks grow where they are.
    const auto large = [](stock& it, const segment&) {
        it.numbers.assign(300, 1);
        it.text.assign(1100, 'x');
    };
    all.add<stock>("shm_string::append", "in place", make,
                   [](stock& it) { it.text.append(900, 'y'); })
        .prepare(large)
        .unhasty()
        .once();
    all.add<stock>("shm_vector::push_back", "in place", make,
                   [](stock& it) { it.numbers.push_back(7); })
        .prepare([large](stock& it, const segment& where) {
            large(it, where);
            it.text.shrink_to_fit();
            it.text.clear();
            it.text.shrink_to_fit(); // nothing is behind the numbers
        })
        .meanwhile(come_and_go)
        .unhasty()
        .once();
    all.add<stock>("shm_vector::shrink_to_fit", "in place", make,
                   [](stock& it) { it.numbers.shrink_to_fit(); })
        .prepare([](stock& it, const segment&) {
            it.numbers.reserve(900);
            it.numbers.assign(300, 1);
        })
        .meanwhile(come_and_go)
        .unhasty()
        .once();

    // The victim leaves.
    all.add<stock>("segment::~segment", "with slabs", made_with(90),
                   [](const segment& handle) { const_cast<segment&>(handle) = segment(); })
        .prepare([](stock& it, const segment& where) {
            fill(where, it.mine, 110);
            drop(where, it.mine, 47, 80);
            drop(where, it.mine, 90, 93);
        })
        .unhasty()
        .once();
}
