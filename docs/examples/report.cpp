// The third program of the main job: prints the table that the consumer left in the segment,
// without permission to write to it; or removes the segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <string_view>

#include <cohold/cohold.hpp>

#include "options.hpp"
#include "text_job.hpp"

int main(int argc, char** argv) {
    const auto mechanism = options::take_mechanism(argc, argv, "posix");
    const bool remove = argc == 3 && std::string_view(argv[1]) == "--remove";
    if (argc != 2 && !remove) {
        return options::usage("report [--mechanism NAME] [--remove] SEGMENT");
    }
    const char* const name = argv[argc - 1];
    return options::with_named_mechanism(mechanism, [&]<class Mechanism>(Mechanism) {
        return options::guarded([&] {
            using segment = cohold::segment<Mechanism>;
            if (remove) {
                return segment::remove(name) ? 0 : 1;
            }
            const auto view = segment::open(name, cohold::read_only);
            const auto* table = view.template find<text_job::line_table>("table");
            if (table == nullptr) {
                std::fprintf(stderr, "%s holds no table: start a consumer first\n", name);
                return 1;
            }
            text_job::report(*table);
            return 0;
        });
    });
}

// #endregion program
