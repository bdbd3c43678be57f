// A program built with another configuration of cohold: it shares segments all the same.
//
//     stranger create|open NAME
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string_view>

#include <cohold/cohold.hpp>

static_assert(cohold::config::max_participants != 64, "this program is built with a -D of its own");

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s create|open NAME\n", argv[0]);
        return 2;
    }
    const bool create = std::string_view(argv[1]) == "create";
    try {
        const auto segment =
            create ? cohold::segment<>::create(argv[2]) : cohold::segment<>::open(argv[2]);
        auto& numbers = segment.find_or_construct<cohold::shm_vector<int>>("numbers");
        numbers.push_back(1);
        std::printf("done with %zu numbers\n", numbers.size());
    } catch (const cohold::failure& refused) {
        std::printf("%s\n", refused.what());
        return 3;
    }
    return 0;
}
