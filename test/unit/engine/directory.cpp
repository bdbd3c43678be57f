// The directory: many names, names that come and go, colliding hashes, and readers that cannot lock
// while others change it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/directory.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <set>
#include <string>

#include <sys/mman.h>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>

#include "support/child.hpp"
#include "unit/engine/scratch_segment.hpp"

using cohold::detail::directory;
using cohold::detail::directory_entry;

namespace {

std::string numbered(std::uint64_t number) {
    return "name." + std::to_string(number);
}

// A change of the directory, under its lock.
struct change {
    std::error_code ec;
    directory& objects;
    directory::lock lock;
    cohold::detail::section section;

    explicit change(const scratch::segment& segment)
        : objects(segment.directory()), lock(objects, ec), section(segment.header(), ec) {
        REQUIRE_FALSE(ec);
    }

    // A new entry for an object at `object`.
    directory_entry* put(std::string_view name, std::uint64_t object) {
        directory_entry* entry =
            objects.make_entry(name, cohold::detail::type_descriptor_of<std::uint64_t>, object, ec);
        if (!ec) {
            objects.reserve_slot(section, ec);
        }
        INFO(cohold::last_failure().what());
        REQUIRE_FALSE(ec);
        return entry;
    }

    void insert(directory_entry* entry) {
        objects.insert(entry, section, ec);
        REQUIRE_FALSE(ec);
    }

    void erase(const directory_entry* entry) {
        objects.erase(entry, section, ec);
        REQUIRE_FALSE(ec);
    }
};

void add(const scratch::segment& segment, std::string_view name, std::uint64_t object) {
    change adding(segment);
    adding.insert(adding.put(name, object));
}

bool drop(const scratch::segment& segment, std::string_view name) {
    change dropping(segment);
    const auto found = segment.directory().find(name);
    if (found.entry != nullptr) {
        dropping.erase(found.entry);
    }
    return found.entry != nullptr;
}

std::size_t listed(const directory& objects) {
    std::size_t count = 0;
    objects.each([&count](const directory_entry&) { ++count; });
    return count;
}

} // namespace

TEST_CASE("an empty directory finds nothing and takes no memory") {
    const scratch::segment segment(65536, 65536);
    CHECK(segment.directory().find("a").entry == nullptr);
    CHECK(segment.directory().find("").entry == nullptr);
    CHECK(listed(segment.directory()) == 0);
    CHECK(segment.heap().used() == 0);
}

TEST_CASE("ten thousand names, each with its object and type") {
    const scratch::segment segment(65536, 64 << 20);
    constexpr std::uint64_t count = 10000;
    for (std::uint64_t i = 0; i < count; ++i) {
        add(segment, numbered(i), 8192 + i * 8);
    }
    const auto mapped = segment.again(cohold::access_mode::reading);
    const directory& view = mapped.directory_here();
    bool good = true;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto found = view.find(numbered(i));
        good = good && found.entry != nullptr && found.object == 8192 + i * 8 && found.bytes == 8 &&
               found.type_hash == cohold::detail::type_descriptor_of<std::uint64_t>.hash &&
               found.type_name == cohold::detail::type_descriptor_of<std::uint64_t>.name &&
               found.entry->name() == numbered(i) && view.find(numbered(i) + ".").entry == nullptr;
    }
    CHECK(good);
    CHECK(listed(view) == count);
    std::set<std::string> names;
    view.each([&names](const directory_entry& entry) { names.emplace(entry.name()); });
    CHECK(names.size() == count);

    std::mt19937_64 random(1);
    std::set<std::string> left = names;
    for (const std::string& name : names) {
        if (random() % 2 == 0) {
            CHECK(drop(segment, name));
            left.erase(name);
        }
    }
    good = true;
    for (const std::string& name : names) {
        good = good && (view.find(name).entry != nullptr) == left.contains(name);
    }
    CHECK(good);
    CHECK(listed(view) == left.size());
    for (const std::string& name : left) {
        CHECK(drop(segment, name));
    }
    CHECK(listed(view) == 0);
}

TEST_CASE("names that come and go do not fill the directory") {
    const scratch::segment segment(1 << 20, 1 << 20);
    for (std::uint64_t i = 0; i < 10; ++i) {
        add(segment, numbered(i), 8192);
    }
    std::uint64_t most = 0;
    for (std::uint64_t i = 10; i < 50000; ++i) {
        add(segment, numbered(i), 8192);
        REQUIRE(drop(segment, numbered(i - 10)));
        most = std::max(most, segment.heap().used());
    }
    CHECK(most < 8192); // ten entries and a table for them, or two while it is renewed
    CHECK(listed(segment.directory()) == 10);
    for (std::uint64_t i = 0; i < 50000; ++i) {
        add(segment, "always", 8192);
        REQUIRE(drop(segment, "always"));
    }
    CHECK(segment.heap().used() <= most);
    CHECK(segment.directory().find(numbered(49999)).entry != nullptr);
    CHECK(segment.directory().find(numbered(49989)).entry == nullptr);
}

TEST_CASE("names with the same hash are told apart") {
    const scratch::segment segment(65536, 1 << 20);
    // Two names with the same 64-bit hash are hard to find, but an entry can be given one.
    const auto impostor = [&](std::string_view name, std::string_view as, std::uint64_t object) {
        change adding(segment);
        directory_entry* entry = adding.put(name, object);
        entry->name_hash = directory::hash(as);
        adding.insert(entry);
        return entry;
    };
    const directory_entry* first = impostor("other", "wanted", 1000);
    impostor("wante", "wanted", 1008);
    impostor("wanted.", "wanted", 1016);
    CHECK(segment.directory().find("wanted").entry == nullptr);
    add(segment, "wanted", 2000);
    const directory_entry* last = impostor("later!", "wanted", 1024);
    CHECK(segment.directory().find("wanted").object == 2000);
    for (std::uint64_t i = 0; i < 100; ++i) { // into a larger table
        add(segment, numbered(i), 3000);
    }
    CHECK(segment.directory().find("wanted").object == 2000);
    {
        change dropping(segment);
        dropping.erase(first);
        dropping.erase(last);
    }
    CHECK(segment.directory().find("wanted").object == 2000);
    CHECK(drop(segment, "wanted"));
    CHECK(segment.directory().find("wanted").entry == nullptr);
    CHECK(listed(segment.directory()) == 102);
}

TEST_CASE("names of any bytes and the longest names") {
    const scratch::segment segment(65536, 1 << 20);
    const std::string longest(directory::max_name, 'x');
    add(segment, longest, 8192);
    add(segment, longest.substr(1), 8200);
    add(segment, "", 8208);
    add(segment, "\xff\xfe /\n", 8216);
    CHECK(segment.directory().find(longest).object == 8192);
    CHECK(segment.directory().find(longest.substr(1)).object == 8200);
    CHECK(segment.directory().find("").object == 8208);
    CHECK(segment.directory().find("\xff\xfe /\n").object == 8216);
    CHECK(segment.directory().find(longest + "x").entry == nullptr);
}

TEST_CASE("the lock excludes other processes, and can be taken again by its own thread") {
    const scratch::segment segment(65536, 1 << 20);
    for (int i = 0; i < 3; ++i) {
        support::child other([&] {
            const auto mine = segment.again(cohold::access_mode::writing);
            for (int k = 0; k < 20000; ++k) {
                std::error_code ec;
                const directory::lock outer(mine.directory_here(), ec);
                const directory::lock inner(mine.directory_here(), ec);
                CHILD_CHECK(!ec);
                // Not atomic: a lost update shows that two were in the critical section.
                *reinterpret_cast<volatile std::uint64_t*>(mine.base() + 60000) =
                    *reinterpret_cast<volatile std::uint64_t*>(mine.base() + 60000) + 1;
            }
        });
        for (int k = 0; k < 20000; ++k) {
            std::error_code ec;
            const directory::lock outer(segment.directory(), ec);
            REQUIRE_FALSE(ec);
            auto* counter = reinterpret_cast<volatile std::uint64_t*>(segment.memory().base());
            counter += 60000 / 8;
            *counter = *counter + 1;
        }
        CHECK(other.wait().code == 0);
    }
    CHECK(*reinterpret_cast<std::uint64_t*>(segment.memory().base() + 60000) == 120000);
}

TEST_CASE("a directory of arbitrary bytes never leads out of the segment") {
    support::check_child([] {
        const scratch::segment segment(65536, 65536);
        std::mt19937_64 random(7);
        auto* words = reinterpret_cast<std::uint64_t*>(segment.memory().base() + directory::offset);
        const std::size_t count = (65536 - directory::offset) / 8;
        std::uint64_t found = 0;
        for (int round = 0; round < 300; ++round) {
            for (std::size_t i = 0; i < count; ++i) {
                // Offsets that may be valid, small numbers, and noise.
                const std::uint64_t kind = random() % 4;
                words[i] = kind == 0   ? random() % 65536 / 8 * 8
                           : kind == 1 ? random() % 16
                           : kind == 2 ? random()
                                       : (random() % 65536 / 8 * 8) | (random() << 48);
            }
            for (int probe = 0; probe < 20; ++probe) {
                const auto object = segment.directory().find(numbered(random() % 100));
                found += object.entry != nullptr ? object.type.size() : 0;
            }
            segment.directory().each([&](const directory_entry& entry) {
                const char* end = entry.text() + entry.text_length();
                CHILD_CHECK(end <= segment.memory().base() + 65536);
                for (const char c : entry.description()) {
                    found += static_cast<unsigned char>(c);
                }
            });
            cohold::detail::directory::found_object any;
            any.object = random();
            any.bytes = random() % 3 == 0 ? random() : random() % 65536;
            const auto* at = static_cast<const char*>(segment.directory().address(any, 8));
            CHILD_CHECK(at == nullptr ||
                        (at >= segment.memory().base() &&
                         at + any.bytes <= segment.memory().base() + segment.size()));
        }
        CHILD_CHECK(found != 1); // used
    });
}

TEST_CASE("readers that cannot lock see stable names, while others change the rest") {
    using namespace cohold;
    using shared_memory = segment<mechanism::memfd>;
    const shared_memory writer = shared_memory::create({.size = 65536, .reserve = 64 << 20});
    for (std::uint64_t i = 0; i < 20; ++i) {
        writer.construct<std::uint64_t>("stays." + std::to_string(i), i);
    }
    auto& stop = writer.construct<std::atomic<std::uint32_t>>("stop", 0u);
    const auto read_only_copy = [&] {
        const std::string path = "/proc/self/fd/" + std::to_string(writer.native_handle().value);
        return segment_view<mechanism::memfd>::adopt({::open(path.c_str(), O_RDONLY | O_CLOEXEC)});
    };
    support::child finder([&] {
        const auto view = read_only_copy();
        std::uint64_t rounds = 0;
        while (stop == 0) {
            for (std::uint64_t i = 0; i < 20; ++i) {
                const auto* found = view.find<std::uint64_t>("stays." + std::to_string(i));
                CHILD_CHECK(found != nullptr && *found == i);
            }
            CHILD_CHECK(view.find<std::uint64_t>("never") == nullptr);
            (void)view.find<std::uint64_t>("name.1");
            ++rounds;
        }
        CHILD_CHECK(rounds > 0);
    });
    support::child lister([&] {
        const auto view = read_only_copy();
        while (stop == 0) {
            std::set<std::string> names;
            for (const object_info& each : view.objects()) {
                const bool known = each.name == "stop" || each.name.starts_with("stays.") ||
                                   each.name.starts_with("name.");
                CHILD_CHECK(known);
                CHILD_CHECK(each.type_name == (each.name == "stop" ? "std::atomic<u32>" : "u64"));
                names.insert(each.name);
            }
            for (std::uint64_t i = 0; i < 20; ++i) {
                CHILD_CHECK(names.contains("stays." + std::to_string(i)));
            }
        }
    });
    std::mt19937_64 random(3);
    std::set<std::string> there;
    for (int round = 0; round < 40000; ++round) {
        const std::string name = numbered(random() % 300);
        if (there.contains(name)) {
            writer.destroy<std::uint64_t>(name);
            there.erase(name);
        } else {
            writer.construct<std::uint64_t>(name, ~std::uint64_t{0});
            there.insert(name);
        }
        if (round % 5000 == 0) { // reuse the memory of entries for other bytes
            auto block = writer.allocator<char>().allocate(20000);
            std::memset(block.get(), 0xff, 20000);
            writer.allocator<char>().deallocate(block, 20000);
        }
    }
    stop = 1;
    for (support::child* each : {&finder, &lister}) {
        const support::ending how = each->wait();
        INFO(how.text.substr(0, 2000));
        CHECK(how.signal == 0);
        CHECK(how.code == 0);
    }
}
