// Containers within containers: each allocates in its segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct article {
    cohold::shm_string title;
    cohold::shm_vector<cohold::shm_string> authors;
    double price;
};

using catalogue = cohold::shm_vector<article>;

// #endregion types

int main() {
    cohold::segment<>::remove("example-catalogue");
    cohold::segment<>::remove("example-copy");
    {
        // #region use
        const auto segment = cohold::segment<>::create("example-catalogue");
        auto& articles = segment.construct<catalogue>("articles");

        // No allocator is named anywhere: objects constructed inside a segment allocate there, to
        // any depth.
        article& first = articles.emplace_back();
        first.title = "Futexes are tricky";
        first.authors.emplace_back("U. Drepper");
        first.price = 0;

        // A copy in another segment is a deep copy; nothing points back.
        const auto other = cohold::segment<>::create("example-copy");
        auto& copied = other.construct<catalogue>("articles", articles);
        articles.clear();
        check(copied[0].title == "Futexes are tricky");
        check(copied[0].authors.size() == 1);
        // #endregion use
    }
    check(cohold::segment<>::remove("example-catalogue"));
    check(cohold::segment<>::remove("example-copy"));
}
