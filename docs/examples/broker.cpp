// A broker: unrelated processes of one user get segments from it by name. No other user gets any.
//   broker serve DIR | broker set DIR NAME NUMBER | broker get DIR NAME | broker stop DIR
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region broker
namespace {

using number = cohold::shared<int, cohold::mechanism::memfd>;

// DIR has mode 0700: no other user can even reach the socket.
int socket_in(const std::string& directory, bool listening) {
    sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
    const std::string path = directory + "/socket";
    check(path.size() < sizeof at.sun_path);
    std::strcpy(at.sun_path, path.c_str());
    const auto* address = reinterpret_cast<const sockaddr*>(&at);
    const int made = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (listening) {
        check(mkdir(directory.c_str(), 0700) == 0 && bind(made, address, sizeof at) == 0 &&
              listen(made, 16) == 0);
    } else {
        check(connect(made, address, sizeof at) == 0);
    }
    return made;
}

void serve(const std::string& directory) {
    const int listener = socket_in(directory, true);
    std::map<std::string, number> all; // each lives as long as the broker or a client has it
    for (bool running = true; running;) {
        const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        const timeval patience{.tv_sec = 1, .tv_usec = 0}; // a client that sends nothing
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        char name[64];
        const ssize_t length = recv(client, name, sizeof name, 0);
        running = length != 1 || name[0] != '.';
        if (length > 0 && running) {
            number& wanted = all[std::string(name, static_cast<std::size_t>(length))];
            std::error_code ec; // a client that has gone, or is of another user
            if (!wanted) {
                wanted = number::create(ec, 0);
            }
            cohold::send(client, wanted, ec);
        }
        close(client);
    }
    check(unlink((directory + "/socket").c_str()) == 0 && rmdir(directory.c_str()) == 0);
}

number ask(const std::string& directory, const std::string& name) {
    const int broker = socket_in(directory, false);
    check(::send(broker, name.data(), name.size(), MSG_NOSIGNAL) > 0);
    number got = name == "." ? number() : cohold::receive<number>(broker); // checks its user
    close(broker);
    return got;
}

} // namespace

// #endregion broker

int main(int argc, char** argv) {
    const std::string verb = argc > 2 ? argv[1] : "";
    if (verb == "serve") {
        serve(argv[2]);
    } else if (verb == "stop") {
        ask(argv[2], ".");
    } else if (verb == "set" && argc == 5) {
        *ask(argv[2], argv[3]) = std::atoi(argv[4]);
    } else if (verb == "get" && argc == 4) {
        std::printf("%d\n", *ask(argv[2], argv[3]));
    } else {
        std::fprintf(stderr, "usage: broker serve|stop DIR | set DIR NAME NUMBER | get DIR NAME\n");
        return 2;
    }
}
