// Prints which naming can name objects of which mechanism, like the table in docs/policies.md.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdio>

#include <cohold/cohold.hpp>

namespace {

template <class Mechanism>
void row(const char* name) {
    using namespace cohold;
    const auto cell = [](bool fits) { std::printf(" %s |", fits ? "yes" : "–"); };
    std::printf("| `%s` |", name);
    cell(names_fit<naming::verbatim, Mechanism>);
    cell(names_fit<naming::prefixed<"app.">, Mechanism>);
    cell(names_fit<naming::per_user, Mechanism>);
    cell(names_fit<naming::hashed, Mechanism>);
    cell(names_fit<naming::from_path<'x'>, Mechanism>);
    cell(names_fit<naming::unnamed, Mechanism>);
    std::printf("\n");
}

} // namespace

int main() {
    std::printf("| | `verbatim` | `prefixed` | `per_user` | `hashed` | `from_path` | `unnamed` |\n"
                "|---|---|---|---|---|---|---|\n");
    row<cohold::mechanism::posix>("posix");
    row<cohold::mechanism::system_v>("system_v");
    row<cohold::mechanism::file>("file");
    row<cohold::mechanism::tmpfs>("tmpfs");
    row<cohold::mechanism::anonymous>("anonymous");
    row<cohold::mechanism::memfd>("memfd");
}
