// Named objects in a segment, compared with those of Boost's managed_shared_memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <memory>
#include <string>
#include <vector>

#include <boost/interprocess/managed_shared_memory.hpp>

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::contest;
using bench::sample;

constexpr std::size_t count = 10'000;
constexpr std::size_t segment_bytes = std::size_t{16} << 20;

struct cohold_names {
    static constexpr const char* name = "cohold";
    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(segment_bytes);

    void construct(const std::string& object, int value) { segment.construct<int>(object, value); }

    const int* find(const std::string& object) { return segment.find<int>(object); }

    bool destroy(const std::string& object) { return segment.destroy<int>(object); }
};

struct boost_names {
    static constexpr const char* name = "boost managed_shared_memory";
    std::string object = bench::own_name("names");
    bip::managed_shared_memory segment{bip::create_only, object.c_str(), segment_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());

    void construct(const std::string& object_name, int value) {
        segment.construct<int>(object_name.c_str())(value);
    }

    const int* find(const std::string& object_name) {
        return segment.find<int>(object_name.c_str()).first;
    }

    bool destroy(const std::string& object_name) {
        return segment.destroy<int>(object_name.c_str());
    }
};

// Names like those of real programs, in an order unrelated to that of their creation.
std::vector<std::string> names(const char* prefix) {
    std::vector<std::string> made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i] = prefix + std::to_string(i * 7919 % count);
    }
    return made;
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    const std::vector<std::string> present = names("measurement/sensor-");
    const std::vector<std::string> absent = names("measurement/absent-");
    std::vector<contest> rows{
        contest("construct", {{bench::bound::at_most, 0.5, {boost_names::name}}}),
        contest("find, present", {{bench::bound::at_most, 60.0 / 298, {boost_names::name}}}),
        contest("find, absent"), contest("destroy")};

    for (int i = 0; i < settings.rounds(25); ++i) {
        std::vector<contest> now(rows.size(), contest(""));
        const auto add = [&]<class Names>(std::type_identity<Names>) {
            auto n = std::make_shared<Names>();
            now[0].add(Names::name, [n, &present]() -> sample {
                return bench::time_of(count, [&] {
                    for (std::size_t k = 0; k < count; ++k) {
                        n->construct(present[count - 1 - k], static_cast<int>(count - 1 - k));
                    }
                });
            });
            now[1].add(Names::name, [n, &present]() -> sample {
                return bench::time_of(count, [&] {
                    for (std::size_t k = 0; k < count; ++k) {
                        const int* const found = n->find(present[k]);
                        bench::check(found != nullptr && *found == static_cast<int>(k), "find");
                    }
                });
            });
            now[2].add(Names::name, [n, &absent]() -> sample {
                return bench::time_of(count, [&] {
                    for (const std::string& name : absent) {
                        bench::check(n->find(name) == nullptr, "find");
                    }
                });
            });
            now[3].add(Names::name, [n, &present]() -> sample {
                return bench::time_of(count, [&] {
                    for (const std::string& name : present) {
                        bench::check(n->destroy(name), "destroy");
                    }
                });
            });
        };
        add(std::type_identity<cohold_names>());
        add(std::type_identity<boost_names>());
        const int repeats[] = {1, 3, 3, 1};
        for (std::size_t row = 0; row < rows.size(); ++row) {
            rows[row].join(now[row].measure(repeats[row]).keep_best());
        }
    }
    bench::table("Named objects, 10,000 in a segment", "ns", 1, bench::shown::time).print(rows);
}
