// Containers of the standard library and of Boost in a segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <vector>

#include <boost/container/map.hpp>
#include <boost/container/string.hpp>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
namespace app {

using string =
    boost::container::basic_string<char, std::char_traits<char>, cohold::shm_allocator<char>>;
using entry = std::pair<const string, int>;
using stock = boost::container::map<string, int, std::less<string>, cohold::shm_allocator<entry>>;
using numbers = std::vector<int, cohold::shm_allocator<int>>;

} // namespace app

// They keep their pointers in the allocator's pointer type, offset_ptr. cohold cannot see that, so
// the program says so. Both sides must use the same library in the same version.
template <>
inline constexpr bool cohold::enable_shareable<app::string> = true;
template <>
inline constexpr bool cohold::enable_shareable<app::stock> = true;
template <>
inline constexpr bool cohold::enable_shareable<app::numbers> = true;

// #endregion types

int main() {
    cohold::segment<>::remove("example-stock");
    {
        // #region use
        const auto segment = cohold::segment<>::create("example-stock");
        auto& stock = segment.construct<app::stock>("stock");
        stock.try_emplace(app::string("apples", segment.allocator<char>()), 12);
        stock.try_emplace(app::string("pears, and a name too long for the string itself",
                                      segment.allocator<char>()),
                          7);
        segment.construct<app::numbers>("numbers", 1000U, 1);

        const auto view = cohold::segment<>::open("example-stock", cohold::read_only);
        int sum = 0;
        for (const auto& [name, count] : *view.find<app::stock>("stock")) {
            sum += count;
        }
        check(sum == 19);
        check(view.find<app::numbers>("numbers")->size() == 1000);
        // #endregion use
    }
    check(cohold::segment<>::remove("example-stock"));
}
