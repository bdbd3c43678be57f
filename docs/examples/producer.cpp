// The first program of the main job: sends the lines of a file through a queue in shared memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <cstdio>

#include <cohold/cohold.hpp>

#include "options.hpp"
#include "text_job.hpp"

int main(int argc, char** argv) {
    const auto mechanism = options::take_mechanism(argc, argv, "posix");
    if (argc != 3) {
        return options::usage("producer [--mechanism NAME] SEGMENT FILE");
    }
    return options::with_named_mechanism(mechanism, [&]<class Mechanism>(Mechanism) {
        return options::guarded([&] {
            std::FILE* const file = std::fopen(argv[2], "rb");
            if (file == nullptr) {
                std::perror(argv[2]);
                return 1;
            }
            const auto segment = cohold::segment<Mechanism>::open_or_create(argv[1], 1 << 20);
            const bool all = text_job::produce(file, text_job::queue_in(segment));
            if (!all) {
                std::fprintf(stderr, "%s: not all of it could be read and sent\n", argv[2]);
            }
            std::fclose(file);
            return all ? 0 : 1;
        });
    });
}

// #endregion program
