// Reading without permission to write.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <concepts>

#include <cohold/cohold.hpp>

#include "check.hpp"

struct sample {
    std::int64_t time;
    double value;
};

int main() {
    cohold::segment<>::remove("example-samples");
    cohold::shared<sample>::remove("example-latest");

    // #region use
    const auto segment = cohold::segment<>::create("example-samples");
    auto& samples = segment.construct<cohold::shm_vector<sample>>("samples");
    samples.push_back({1, 20.5});

    // Opening read-only gives another type. It finds only const objects, so writing does not
    // compile. The memory is mapped without write permission, so a cast would not help.
    const auto view = cohold::segment<>::open("example-samples", cohold::read_only);
    static_assert(std::same_as<decltype(view), const cohold::segment_view<>>);
    const auto* found = view.find<cohold::shm_vector<sample>>("samples");
    static_assert(std::same_as<decltype(found), const cohold::shm_vector<sample>*>);
    check(found->size() == 1 && found->front().value == 20.5);

    // The same with a single value: a shared<const T>.
    const auto latest = cohold::shared<sample>::create("example-latest", 2, 21.0);
    const cohold::shared<const sample> reader =
        cohold::shared<sample>::open("example-latest", cohold::read_only);
    latest->value = 21.5;
    check(reader->value == 21.5);
    // #endregion use

    check(cohold::segment<>::remove("example-samples"));
    check(cohold::shared<sample>::remove("example-latest"));
}
