// A configuration that many processes read: made anew, and swapped in as a whole.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "../check.hpp"

// #region types
using settings = cohold::shm_map<cohold::shm_string, cohold::shm_string>;
using shared_settings = cohold::shared<settings>;

// #endregion types

namespace {

// #region publish
void publish(const std::map<std::string, std::string>& wanted) {
    // Filled before it has a name. Readers find the old map or all of this one.
    const auto fresh =
        shared_settings::replace("example-config", {.size = 1 << 20}, wanted.begin(), wanted.end());
}

// #endregion publish

// #region read
class config_reader {
  public:
    // Without a lock: a published map never changes.
    [[nodiscard]] std::optional<std::string> get(std::string_view key) const {
        const auto found = current_->find(key);
        return found == current_->end() ? std::nullopt : std::optional(found->second.str());
    }

    // Called now and then, for example before each request: costs a system call.
    bool refresh() {
        if (!current_.is_removed()) {
            return false;
        }
        current_ = shared_settings::open("example-config", cohold::read_only);
        return true;
    }

  private:
    shared_settings::read_only_type current_ =
        shared_settings::open("example-config", cohold::read_only);
};

// #endregion read

// What another program would do.
int read_until_changed() {
    config_reader config;
    if (config.get("workers") != "4" || config.get("nothing")) {
        return 1;
    }
    while (!config.refresh()) {
        usleep(1000);
    }
    return config.get("workers") == "8" && config.get("greeting")->size() == 1000 ? 0 : 2;
}

} // namespace

int main() {
    shared_settings::remove("example-config");
    publish({{"workers", "4"}, {"address", "localhost:8080"}});
    pid_t readers[3];
    for (pid_t& reader : readers) {
        if (reader = fork(); reader == 0) {
            _exit(read_until_changed());
        }
    }
    usleep(20000);
    publish({{"workers", "8"}, {"greeting", std::string(1000, '!')}});
    for (const pid_t reader : readers) {
        int status = 1;
        check(waitpid(reader, &status, 0) == reader && status == 0);
    }
    check(shared_settings::remove("example-config"));
}
