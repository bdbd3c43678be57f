// The second program of the main job: counts the lines that come through the queue, in a vector in
// shared memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <cohold/cohold.hpp>

#include "options.hpp"
#include "text_job.hpp"

int main(int argc, char** argv) {
    const auto mechanism = options::take_mechanism(argc, argv, "posix");
    if (argc != 2) {
        return options::usage("consumer [--mechanism NAME] SEGMENT");
    }
    return options::with_named_mechanism(mechanism, [&]<class Mechanism>(Mechanism) {
        return options::guarded([&] {
            const auto segment = cohold::segment<Mechanism>::open_or_create(argv[1], 1 << 20);
            text_job::consume(text_job::queue_in(segment), text_job::table_in(segment));
            return 0;
        });
    });
}

// #endregion program
