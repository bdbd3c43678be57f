// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/detail/survey.hpp>

#include <set>
#include <string>

#include <doctest/doctest.h>

using namespace cohold;

TEST_CASE("a survey is a range that says whether it is complete") {
    survey<int> all{{1, 2, 3}};
    CHECK(all.complete());
    CHECK(all.size() == 3);
    CHECK(all[1] == 2);
    int sum = 0;
    for (const int each : all) {
        sum += each;
    }
    CHECK(sum == 6);
    all.refused = 1;
    CHECK_FALSE(all.complete());
    survey<int> none;
    CHECK(none.empty());
    none.hidden = true;
    CHECK_FALSE(none.complete());
}

TEST_CASE("every kind has a name of its own") {
    std::set<std::string_view> names;
    for (const object_kind kind :
         {object_kind::posix, object_kind::posix_semaphore, object_kind::file, object_kind::memfd,
          object_kind::system_v, object_kind::semaphore_set, object_kind::anonymous}) {
        CHECK_FALSE(name_of(kind).empty());
        CHECK(names.insert(name_of(kind)).second);
    }
}
