// Named objects of different types in one segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct point {
    double x;
    double y;
};

struct outline {
    std::uint32_t colour;
    cohold::shm_vector<point> points{};
};

// #endregion types

int main() {
    cohold::segment<>::remove("example-drawing");
    // #region use
    const auto drawing = cohold::segment<>::create("example-drawing", 1 << 20);

    // construct: a new object; an error if the name is taken.
    auto& triangle = drawing.construct<outline>("triangle", 0xff0000U);
    triangle.points.push_back({0, 0});
    triangle.points.push_back({4, 0});
    triangle.points.push_back({0, 3});

    // find_or_construct: the first process to call it makes the object; all others get it.
    auto& count = drawing.find_or_construct<std::uint64_t>("count", 1U);
    check(&drawing.find_or_construct<std::uint64_t>("count", 99U) == &count);
    check(count == 1);

    // find: a pointer, null if there is no such object.
    const outline* found = drawing.find<outline>("triangle");
    check(found == &triangle && found->points.size() == 3);
    check(drawing.find<outline>("square") == nullptr);

    // What there is, with the names of the types.
    for (const cohold::object_info& object : drawing.objects()) {
        std::printf("%s: %s, %zu bytes\n", object.name.c_str(), object.type_name.c_str(),
                    object.bytes);
    }

    // destroy: runs the destructor, gives the memory back and frees the name.
    check(drawing.destroy<outline>("triangle"));
    check(!drawing.destroy<outline>("triangle"));
    // #endregion use
    check(drawing.objects().size() == 1);
    check(cohold::segment<>::remove("example-drawing"));
}
