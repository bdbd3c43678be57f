// Containers of std::pmr in the memory of a segment, for one process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <map>
#include <memory_resource>
#include <string>

#include <cohold/cohold.hpp>

#include "check.hpp"

int main() {
    cohold::segment<>::remove("example-resource");
    {
        // #region use
        const auto segment = cohold::segment<>::create("example-resource");
        cohold::segment_memory_resource memory(segment);
        std::pmr::map<std::pmr::string, int> counts(&memory); // of this process alone
        for (const char* word : {"to", "be", "or", "not", "to", "be"}) {
            ++counts[word];
        }
        check(counts["be"] == 2);
        // #endregion use
    }
    check(cohold::segment<>::remove("example-resource"));
}
