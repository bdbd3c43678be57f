// Named objects, the heap and the life of a segment, for the rig.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <stdexcept>
#include <string>
#include <utility>

#include "crash/explore.hpp"
#include "crash/operations.hpp"

namespace {

using crash::registry;
using crash::segment;
using ints = cohold::shm_vector<int>;

// Its constructor allocates, so a kill may find it half constructed.
struct record {
    ints left{1, 2, 3};
    ints right{4, 5};

    std::string tell() { return crash::tell(left) + crash::tell(right); }
};

struct holder {
    cohold::offset_ptr<char> block;

    std::string tell() { return "a block"; } // whose freeing it does not notice
};

// Names are made and destroyed in a section.
struct sections {
    cohold::shm_guarded<int> number{1};

    std::string tell() { return std::to_string(*number.lock()); }
};

auto with_sections(int others) {
    return [others](const segment& where) {
        where.construct<sections>(crash::subject);
        for (int i = 0; i < others; ++i) {
            where.construct<int>("other" + std::to_string(i), i);
        }
    };
}

// That many objects with other names.
auto with_names(int count) {
    return [count](const segment& where) {
        for (int i = 0; i < count; ++i) {
            where.construct<int>("other" + std::to_string(i), i);
        }
    };
}

auto with_record(int others) {
    return [others](const segment& where) {
        where.construct<record>(crash::subject);
        with_names(others)(where);
    };
}

} // namespace

void crash::declare(registry& all) {
    // Directory.
    const auto construct = [](const segment& where) {
        std::error_code ec;
        return where.construct<record>(crash::subject, ec) != nullptr;
    };
    const auto construct_other = [](const segment& where) {
        std::error_code ec;
        return where.construct<int>("from aside", ec, 5) != nullptr;
    };
    const auto make_others = [](const segment& where) {
        std::error_code ec; // it may not exist
        where.destroy<int>("other0", ec);
        where.construct<record>("another");
        where.destroy<record>("another");
        crash::usurp(where);
    };
    for (const int others : {0, 1, 11, 12, 13}) {
        all.add<record>("segment::construct", std::to_string(others) + " other names",
                        with_names(others), construct)
            .hasty("makes and destroys others", make_others)
            .heals()
            .meanwhile(construct_other);
    }
    all.add<record>("segment::construct", "the same name meanwhile", with_names(1), construct)
        .meanwhile(construct);
    all.add<record>("segment::find_or_construct", "none", with_names(1),
                    [](const segment& where) {
                        return where.find_or_construct<record>(crash::subject).left.size() == 3;
                    })
        .heals();
    all.add<record>("segment::find_or_construct", "it is there", with_record(1),
                    [](const segment& where) {
                        return where.find_or_construct<record>(crash::subject).left.size() == 3;
                    })
        .heals();
    all.add<record>("segment::destroy", "of two", with_record(1),
                    [](const segment& where) { return where.destroy<record>(crash::subject); })
        .hasty("makes and destroys others", make_others)
        .heals()
        .meanwhile(construct_other);
    all.add<record>("segment::destroy", "of many", with_record(12),
                    [](const segment& where) { return where.destroy<record>(crash::subject); })
        .heals();
    // The others' changes wait until the section has ended.
    for (const int others : {1, 10, 11}) {
        const auto change = [](sections& it, const segment& where) {
            it.number.with([&](int& number) {
                where.destroy<record>("made"); // if this happens once more
                where.construct<record>("made");
                where.destroy<int>("other0");
                ++number;
            });
        };
        const auto change_in_vain = [](sections& it, const segment& where) {
            try {
                it.number.with([&](int& number) {
                    where.construct<record>("made");
                    where.destroy<int>("other0");
                    ++number;
                    throw std::runtime_error("on purpose");
                });
            } catch (const std::runtime_error&) {
            }
        };
        const std::string setup = "in a section, " + std::to_string(others) + " other names";
        all.add<sections>("segment::construct", setup, with_sections(others), change)
            .heals()
            .meanwhile(construct_other);
        all.add<sections>("segment::construct", setup + ", an exception", with_sections(others),
                          change_in_vain)
            .heals()
            .meanwhile(construct_other);
    }
    // The victim does not have a journal yet, and the heap has no room for one.
    all.add<record>(
           "segment::destroy", "full, by a newcomer",
           [](const segment& where) {
               with_record(1)(where);
               auto bytes = where.allocator<char>();
               for (std::size_t size = 65536; size != 0; size /= 2) {
                   while (bytes.try_allocate(size) != nullptr) {
                   }
               }
           },
           [](const segment& where) { return where.destroy<record>(crash::subject); })
        .heals()
        .unhasty()
        .fresh();

    // Heap.
    all.add<void>("segment::grow", "by half", with_names(1),
                  [](const segment& where) { where.grow(where.size() + where.size() / 2); });
    all.add<ints>(
        "segment::grow", "on its own",
        [](const segment& where) { where.construct<ints>(crash::subject, 2u); },
        [](ints& it, const segment& where) { it.reserve(where.size() / 2 / sizeof(int)); });

    const auto allocate = [](std::size_t bytes) {
        return [bytes](const segment& where) {
            return where.allocator<char>().try_allocate(bytes) != nullptr;
        };
    };
    for (const std::size_t bytes : {16u, 100u, 1040u, 5000u}) {
        const std::string size = std::to_string(bytes) + " bytes";
        all.add<void>("shm_allocator::allocate", size, with_names(1),
                      [bytes](const segment& where) {
                          static_cast<void>(where.allocator<char>().allocate(bytes));
                      })
            .meanwhile(allocate(200));
        all.add<void>("shm_allocator::try_allocate", size, with_names(1), allocate(bytes));
        // Neighbours of all kinds: allocated ones, and free ones with which it merges.
        for (const bool between : {false, true}) {
            all.add<holder>(
                   "shm_allocator::deallocate", size + (between ? ", between free ones" : ""),
                   [bytes, between](const segment& where) {
                       auto memory = where.allocator<char>();
                       auto& made = where.construct<holder>(crash::subject);
                       const auto before = memory.allocate(100);
                       made.block = memory.allocate(bytes);
                       const auto behind = memory.allocate(100);
                       if (between) {
                           memory.deallocate(before, 100);
                           memory.deallocate(behind, 100);
                       }
                   },
                   [bytes](holder& it, const segment& where) {
                       where.allocator<char>().deallocate(it.block, bytes);
                   })
                .meanwhile(allocate(200))
                .once();
        }
    }
    all.covered("shm_allocator::construct", "shm_vector::emplace_back");
    all.covered("shm_allocator::operator=", "shm_vector::operator=");
    all.covered("shared::recover", "segment::recover");

    // The life of a participant.
    all.add<record>("segment::open", "attaching", with_record(1),
                    [](const segment&) {
                        crash::attached(*new segment(crash::world_to_attach_to->attach()));
                    })
        .once()
        .attaches();
    all.add<record>("segment::~segment", "detaching", with_record(1),
                    [](const segment& handle) { const_cast<segment&>(handle) = segment(); })
        .once();
    all.add<record>("segment::recover", "nobody is dead", with_record(1),
                    [](const segment& handle) { crash::recover(handle); });
    all.add<record>("segment::construct", "the first use of a participant", with_names(1),
                    construct)
        .fresh();
}
