// Segments passed from process to process and from user to user: over sockets, by inheritance, by
// pidfd; for reading only, and attacked; with invalid messages. In namespaces of its own.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <doctest/doctest.h>

#include "support/process.hpp"
#include "support/users.hpp"

using namespace cohold;
using namespace std::chrono_literals;
using memfd_segment = segment<mechanism::memfd>;
using memfd_view = segment_view<mechanism::memfd>;

namespace {

constexpr uid_t ann = 1001;
constexpr uid_t bob = 1002;

// Two connected sockets of this process.
struct socket_pair {
    explicit socket_pair(int type = SOCK_SEQPACKET) {
        if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) {
            std::perror("socketpair");
            ::_exit(96);
        }
    }

    socket_pair(const socket_pair&) = delete;
    socket_pair& operator=(const socket_pair&) = delete;

    ~socket_pair() {
        ::close(ends[0]);
        ::close(ends[1]);
    }

    int ends[2];
};

::sockaddr_un address() {
    ::sockaddr_un made{};
    made.sun_family = AF_UNIX;
    std::strcpy(made.sun_path, "/dev/shm/socket");
    return made;
}

// Two users meet: the first listens, the second connects. Their code runs in children.
template <class First, class Second>
void meet(uid_t first, const First& listen, uid_t second, const Second& connect) {
    const ::sockaddr_un at = address();
    const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ::unlink(at.sun_path);
    // SO_PEERCRED names the process that called listen, so the first user must call it.
    REQUIRE(::bind(listener, reinterpret_cast<const ::sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::chmod(at.sun_path, 0666) == 0);
    const support::common<std::atomic<int>> ready;
    support::child one([&] {
        support::become(first);
        CHILD_CHECK(::listen(listener, 1) == 0);
        *ready = 1;
        const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        CHILD_CHECK(socket >= 0);
        listen(socket);
    });
    support::await(*ready, 1);
    support::child two([&] {
        support::become(second);
        const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        CHILD_CHECK(::connect(socket, reinterpret_cast<const ::sockaddr*>(&at), sizeof at) == 0);
        connect(socket);
    });
    CHECK(support::status_of(two) == 0);
    CHECK(support::status_of(one) == 0);
    ::close(listener);
    ::unlink(at.sun_path);
}

template <class Mechanism>
auto make() {
    if constexpr (Mechanism::names == name_form::none) {
        return segment<Mechanism>::create();
    } else {
        auto made =
            segment<Mechanism>::create(Mechanism::names == name_form::path ? "/dev/shm/p" : "p");
        segment<Mechanism>::remove(made.name());
        return made;
    }
}

bool fails(std::error_code ec, std::error_code code, std::string_view says = "") {
    const std::string_view what = last_failure().what();
    if (ec != code || what.find(says) == std::string_view::npos) {
        std::fprintf(stderr, "expected '%s' (%s), found '%s'\n", code.message().c_str(),
                     std::string(says).c_str(), ec ? std::string(what).c_str() : "success");
        return false;
    }
    return true;
}

std::error_code errno_code(int value) {
    return {value, std::generic_category()};
}

// Sends anything, including what cohold would not send.
void send_raw(int socket, const void* bytes, std::size_t size, const std::vector<int>& fds) {
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    ::iovec part{const_cast<void*>(bytes), size};
    ::msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        ::cmsghdr* const rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
    }
    CHECK(::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
}

} // namespace

TEST_CASE_TEMPLATE("over any kind of Unix socket", Mechanism, mechanism::memfd, mechanism::posix,
                   mechanism::file, mechanism::tmpfs) {
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
        const socket_pair sockets(type);
        const auto mine = make<Mechanism>();
        std::atomic<int>& x = mine.template construct<std::atomic<int>>("x", 1);
        send(sockets.ends[0], mine);
        send(sockets.ends[0], mine, read_only);
        support::check_child([&] {
            const auto theirs = receive<segment<Mechanism>>(sockets.ends[1], {.timeout = 10s});
            *theirs.template find<std::atomic<int>>("x") = 2;
            theirs.template construct<shm_vector<int>>("v").resize(100000, 7);
            CHILD_CHECK(theirs.participants().size() == 2);
            CHILD_CHECK((::fcntl(theirs.native_handle().value, F_GETFD) & FD_CLOEXEC) != 0);
            const auto view = receive<segment_view<Mechanism>>(sockets.ends[1]);
            CHILD_CHECK(*view.template find<std::atomic<int>>("x") == 2);
            CHILD_CHECK((::fcntl(view.native_handle().value, F_GETFL) & O_ACCMODE) == O_RDONLY);
        });
        CHECK(x == 2);
        CHECK(mine.template find<shm_vector<int>>("v")->back() == 7);
    }
}

TEST_CASE("every handle that has a descriptor") {
    const socket_pair sockets;
    const auto [in, out] = sockets.ends;
    const auto value = shared<int, mechanism::memfd>::create(5);
    send(in, value);
    CHECK(*receive<shared<int, mechanism::memfd>>(out) == 5);
    send(in, value, read_only);
    const auto constant = receive<shared<const int, mechanism::memfd>>(out);
    CHECK(*constant == 5);
    send(in, constant); // for reading, like the object itself
    std::error_code ec;
    CHECK_FALSE((receive<shared<int, mechanism::memfd>>(out, {}, ec)));
    CHECK(fails(ec, errc::read_only, "sent for reading"));
    const auto bytes = memory_object<mechanism::memfd>::create(5000);
    bytes.map().bytes()[4999] = std::byte{7};
    send(in, bytes);
    CHECK(receive<memory_object<mechanism::memfd>>(out).map().bytes()[4999] == std::byte{7});
    send(in, bytes, read_only);
    CHECK(receive<const_memory_object<mechanism::memfd>>(out).size() == 5000);
    // A view of a writable descriptor passes on a read-only one.
    send(in, memfd_view::adopt({::dup(value.native_handle().value)}));
    CHECK_FALSE(static_cast<bool>(receive<memfd_segment>(out, {}, ec)));
    CHECK(fails(ec, errc::read_only));
    send(in, memfd_segment(), ec);
    CHECK(fails(ec, errc::empty_handle));
    send(in, value, read_only, ec);
    CHECK_FALSE(static_cast<bool>(receive<memfd_segment>(out, {}, ec)));
    CHECK_THROWS_AS((void)receive<memfd_view>(out, {.timeout = 1ms}), failure);
}

TEST_CASE("users are identified by the socket") {
    const auto serve = [](int socket) {
        const auto mine = memfd_segment::create();
        mine.construct<int>("x", 42);
        std::error_code ec;
        send(socket, mine, ec); // not to another user, unless told to
        CHILD_CHECK(fails(ec, errc::unexpected_peer, "user: expected 1001 or 0, found 1002"));
        send(socket, mine, {.accepts = [](const peer&) noexcept { return false; }}, ec);
        CHILD_CHECK(fails(ec, errc::unexpected_peer, "was refused"));
        CHILD_CHECK(peer_of(socket).user == bob && peer_of(socket).group == bob);
        send(socket, mine, read_only, {.user = bob, .tamper_proof = true});
        send(socket, mine, {.accepts = [](const peer& who) noexcept { return who.user == bob; }});
        char done = 0;
        CHILD_CHECK(::read(socket, &done, 1) == 0); // until bob has ended
    };
    const auto use = [](int socket) {
        std::error_code ec;
        CHILD_CHECK(!receive<memfd_view>(socket, {}, ec));
        CHILD_CHECK(fails(ec, errc::unexpected_peer, "user: expected 1002 or 0, found 1001"));
        CHILD_CHECK(!receive<memfd_view>(socket, {.user = 0}, ec));
        CHILD_CHECK(fails(ec, errc::unexpected_peer, "expected 0, found 1001"));
        const auto view = receive<memfd_view>(socket, {.user = ann});
        CHILD_CHECK(*view.find<int>("x") == 42);
        // The descriptor is writable, but ann's mode 0600 does not allow bob to take part.
        CHILD_CHECK(!receive<memfd_segment>(socket, {.user = ann}, ec));
        CHILD_CHECK(fails(ec, errc::permission_denied, "/proc/self/fd"));
    };
    meet(ann, serve, bob, use);
}

TEST_CASE("passed to another user for writing, with a mode that allows it") {
    using open_segment = segment<mechanism::memfd, naming::unnamed, permission::everyone>;
    meet(
        ann,
        [](int socket) {
            const auto mine = open_segment::create();
            mine.construct<std::atomic<int>>("x", 0);
            send(socket, mine, {.user = bob});
            support::await(*mine.find<std::atomic<int>>("x"), 1);
        },
        bob,
        [](int socket) {
            const auto theirs = receive<open_segment>(socket, {.user = ann});
            CHILD_CHECK(theirs.participants().size() == 2);
            *theirs.find<std::atomic<int>>("x") = 1;
        });
}

namespace {

// The attempts of a receiver that was meant to read only. True if all of them fail.
bool attack(const memfd_view& view) {
    const int fd = view.native_handle().value;
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    const auto writable = [](int which) {
        return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, which, 0) != MAP_FAILED ||
               ::write(which, "x", 1) == 1;
    };
    EXPECT(!writable(fd));
    EXPECT(::mprotect(const_cast<void*>(view.mapping().address()), 4096, PROT_READ | PROT_WRITE) !=
           0);
    EXPECT(::ftruncate(fd, 0) != 0);
    EXPECT(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
    static_cast<void>(::fchmod(fd, 0666)); // the owner may do this, but it must not help
    for (const int flags : {O_RDWR, O_WRONLY, O_RDWR | O_TRUNC}) {
        const int again = ::open(self.c_str(), flags | O_CLOEXEC);
        EXPECT(again < 0 || !writable(again));
        EXPECT(again < 0 || ::ftruncate(again, 0) != 0);
        EXPECT(again < 0 ||
               ::fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
        ::close(again);
    }
    EXPECT(*view.find<int>("x") == 42);
    return true;
}

} // namespace

TEST_CASE("for reading, and the receiver tries to write") {
    for (const bool sealed : {false, true}) {
        for (const uid_t reader : {ann, bob, uid_t{0}}) {
            if (!sealed && reader != bob) {
                continue; // the owner and root: see below
            }
            meet(
                ann,
                [&](int socket) {
                    const auto mine = memfd_segment::create(
                        {.seals = sealed ? seal::future_write | seal::seals : seal::none});
                    mine.construct<int>("x", 42);
                    send(socket, mine, read_only, {.user = reader, .tamper_proof = true});
                    char done = 0;
                    CHILD_CHECK(::read(socket, &done, 1) == 0);
                    CHILD_CHECK(*mine.find<int>("x") == 42);
                },
                reader,
                [&](int socket) {
                    const auto view = receive<memfd_view>(
                        socket, {.user = ann, .seals = sealed ? seal::future_write : seal::none});
                    CHILD_CHECK(attack(view));
                });
        }
    }
}

TEST_CASE("without the seal the owner and root could write, and tamper_proof says so") {
    for (const uid_t reader : {ann, uid_t{0}}) {
        meet(
            ann,
            [&](int socket) {
                const auto mine = memfd_segment::create();
                mine.construct<int>("x", 42);
                std::error_code ec;
                send(socket, mine, read_only, {.user = reader, .tamper_proof = true}, ec);
                CHILD_CHECK(fails(ec, errc::unsealed, "seal::future_write"));
                send(socket, mine, read_only, {.user = reader});
                char done = 0;
                CHILD_CHECK(::read(socket, &done, 1) == 0);
            },
            reader,
            [](int socket) {
                const auto view = receive<memfd_view>(socket, {.user = ann});
                const int again =
                    ::open(("/proc/self/fd/" + std::to_string(view.native_handle().value)).c_str(),
                           O_RDWR | O_CLOEXEC);
                CHILD_CHECK(again >= 0); // this is the attack that the seal prevents
                CHILD_CHECK(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) !=
                            MAP_FAILED);
            });
    }
    // A file that others may write to.
    const socket_pair sockets;
    const auto open =
        segment<mechanism::posix, naming::verbatim, permission::everyone>::create("o");
    std::error_code ec;
    send(sockets.ends[0], open, read_only, {.tamper_proof = true}, ec);
    CHECK(fails(ec, errc::unsealed));
    CHECK(decltype(open)::remove("o"));
}

TEST_CASE("invalid messages, and no descriptor stays") {
    const auto mine = memfd_segment::create();
    const int good = mine.native_handle().value;
    const detail::passing_header header = detail::header_of("memfd");
    int pipe_ends[2];
    REQUIRE(::pipe2(pipe_ends, O_CLOEXEC) == 0);
    const int path = ::open("/dev/shm", O_PATH | O_CLOEXEC);
    const int zero = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
    const int directory = ::open("/dev/shm", O_RDONLY | O_CLOEXEC);
    const int posix_file = ::open("/dev/shm/f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const int unsealed = ::memfd_create("u", MFD_CLOEXEC); // it cannot be sealed, either
    const int empty = ::memfd_create("e", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(::ftruncate(unsealed, 65536) == 0);

    struct row {
        const char* what;
        std::error_code code;
        std::vector<int> fds;
        std::size_t bytes = sizeof header;
        bool wrong_magic = false;
    };

    const std::vector<row> rows = {
        {"no descriptor", errc::bad_message, {}},
        {"two", errc::bad_message, {good, good}},
        {"many", errc::bad_message, std::vector<int>(200, good)},
        {"as many as can be", errc::bad_message, std::vector<int>(253, good)},
        {"too short", errc::bad_message, {good}, 31},
        {"too long", errc::bad_message, {good}, 64},
        {"one byte", errc::bad_message, {good, good}, 1},
        {"another program's", errc::bad_message, {good}, sizeof header, true},
        {"not open", errc::bad_message, {path}},
        {"pipe", errc::read_only, {pipe_ends[0]}},
        {"device", errc::special_file_refused, {zero}},
        {"directory", errc::read_only, {directory}},
        {"can be truncated", errc::unsupported, {posix_file}},
        {"cannot be sealed", errc::unsupported, {unsealed}},
        {"has no bytes", errc::truncated, {empty}},
    };
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
        for (const row& each : rows) {
            if (type == SOCK_STREAM && each.bytes > sizeof header) {
                continue; // the rest is the next message
            }
            CAPTURE(each.what);
            CAPTURE(type);
            const int before = support::open_descriptors();
            {
                const socket_pair sockets(type);
                char message[64] = {};
                std::memcpy(message, &header, sizeof header);
                message[0] = each.wrong_magic ? 'C' : 'c';
                send_raw(sockets.ends[0], message, each.bytes, each.fds);
                if (type == SOCK_STREAM) {
                    ::shutdown(sockets.ends[0], SHUT_WR);
                }
                std::error_code ec;
                CHECK_FALSE(static_cast<bool>(
                    receive<memfd_segment>(sockets.ends[1], {.timeout = 20s}, ec)));
                CHECK(fails(ec, each.code));
            }
            CHECK(support::open_descriptors() == before);
        }
    }
    SUBCASE("another mechanism's") {
        const socket_pair sockets;
        const auto object = memory_object<>::create("m", 4096);
        memory_object<>::remove("m");
        send(sockets.ends[0], object);
        std::error_code ec;
        CHECK_FALSE(static_cast<bool>(receive<memfd_segment>(sockets.ends[1], {}, ec)));
        CHECK(fails(ec, errc::bad_message, "kind: expected 'memfd', found 'posix object'"));
        send(sockets.ends[0], object);
        CHECK_FALSE(static_cast<bool>(receive<segment<>>(sockets.ends[1], {}, ec)));
        CHECK(fails(ec, errc::not_a_segment));
    }
    SUBCASE("required seals") {
        const socket_pair sockets;
        std::error_code ec;
        send(sockets.ends[0], mine);
        CHECK_FALSE(
            static_cast<bool>(receive<memfd_segment>(sockets.ends[1], {.seals = seal::grow}, ec)));
        CHECK(fails(ec, errc::unsealed, "seals: 0x4 expected"));
    }
    SUBCASE("no room for a descriptor") {
        support::check_child([&] {
            const socket_pair sockets;
            send(sockets.ends[0], mine);
            const ::rlimit few{static_cast<::rlim_t>(sockets.ends[1] + 1), 4096};
            CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &few) == 0);
            std::error_code ec;
            CHILD_CHECK(!receive<memfd_segment>(sockets.ends[1], {}, ec));
            CHILD_CHECK(fails(ec, errc::bad_message, "ulimit -n"));
        });
    }
    for (const int each :
         {pipe_ends[0], pipe_ends[1], path, zero, directory, posix_file, unsealed, empty}) {
        ::close(each);
    }
    ::unlink("/dev/shm/f");
}

TEST_CASE("no process waits for ever, and a sent object outlives its sender") {
    std::error_code ec;
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
        const socket_pair sockets(type);
        (void)receive<memfd_segment>(sockets.ends[1], {.timeout = 30ms}, ec);
        CHECK(fails(ec, errno_code(ETIMEDOUT), "took too long"));
        (void)receive<memfd_segment>(sockets.ends[1], {.timeout = 0ms}, ec);
        CHECK(fails(ec, errno_code(ETIMEDOUT)));
        const auto mine = memfd_segment::create();
        do { // until the socket is full
            send(sockets.ends[0], mine, {.timeout = 30ms}, ec);
        } while (!ec);
        CHECK((ec == errno_code(ETIMEDOUT) || ec == errno_code(ETOOMANYREFS)));
    }
    {
        const socket_pair sockets(SOCK_STREAM);
        send_raw(sockets.ends[0], "cohold", 6, {});
        (void)receive<memfd_segment>(sockets.ends[1], {.timeout = 30ms}, ec); // half a message
        CHECK(fails(ec, errno_code(ETIMEDOUT)));
    }
    {
        const socket_pair sockets;
        support::check_child([&] {
            const auto mine = memfd_segment::create();
            mine.construct<int>("x", 42);
            send(sockets.ends[0], mine);
        });
        ::close(sockets.ends[0]);
        CHECK(*receive<memfd_segment>(sockets.ends[1]).find<int>("x") == 42);
        (void)receive<memfd_segment>(sockets.ends[1], {}, ec);
        CHECK(fails(ec, errno_code(ECONNRESET), "closed"));
        send(sockets.ends[1], memfd_segment::create(), ec); // and there is no SIGPIPE
        CHECK(fails(ec, errno_code(EPIPE), "closed"));
    }
    const int alone = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    send(alone, memfd_segment::create(), ec);
    CHECK(fails(ec, errc::unexpected_peer, "not a connected Unix socket"));
    const int internet = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)receive<memfd_segment>(internet, {}, ec);
    CHECK(static_cast<bool>(ec));
    (void)receive<memfd_segment>(-1, {}, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    const int file = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_THROWS_AS(send(file, memfd_segment::create()), failure);
    for (const int each : {alone, internet, file}) {
        ::close(each);
    }
}

TEST_CASE("by inheritance, through exec") {
    const auto mine = memfd_segment::create();
    std::atomic<int>& x = mine.construct<std::atomic<int>>("x", 1);
    const std::string number = std::to_string(mine.native_handle().value);
    support::check_child([&] {
        static char self[] = "/proc/self/exe", option[] = "--inherit";
        CHILD_CHECK(keep_across_exec(mine) == mine.native_handle().value);
        char* const arguments[] = {self, option, const_cast<char*>(number.c_str()), nullptr};
        ::execv(self, arguments);
        CHILD_CHECK(false);
    });
    CHECK(x == 2);
    CHECK((::fcntl(mine.native_handle().value, F_GETFD) & FD_CLOEXEC) != 0); // unchanged here
    std::error_code ec;
    CHECK(keep_across_exec(memfd_segment(), ec) == -1);
    CHECK(ec == errc::empty_handle);
    for (const char* const wrong : {"", "x", "-1", "99999999999999999999", "1 "}) {
        (void)inherit<memfd_segment>(wrong, ec);
        CHECK(fails(ec, errc::invalid_options, "not the number"));
    }
    (void)inherit<memfd_segment>("4095", ec);
    CHECK(fails(ec, errno_code(EBADF), "was not inherited"));
    const int other = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)inherit<memfd_segment>(std::to_string(other), ec);
    CHECK(fails(ec, errc::special_file_refused));
    CHECK(::close(other) == 0); // a number that was no descriptor is left alone
    CHECK_THROWS_AS((void)inherit<memfd_segment>("?"), failure);
}

TEST_CASE("fetched by pidfd") {
    const support::common<std::atomic<int>> number;
    const support::common<std::atomic<int>> over;
    support::child holder([&] {
        support::become(ann);
        const auto mine = memfd_segment::create();
        mine.construct<int>("x", 42);
        *number = mine.native_handle().value;
        support::await(*over, 1);
    });
    support::await(*number, 1);
    std::error_code ec;
    const auto fetched = fetch<memfd_view>(holder.id(), *number, ec);
    if (ec == errc::unsupported) {
        MESSAGE(last_failure().what()); // an old kernel
    } else {
        REQUIRE_FALSE(static_cast<bool>(ec));
        CHECK(*fetched.find<int>("x") == 42);
        (void)fetch<memfd_view>(holder.id(), 999, ec);
        CHECK(fails(ec, errc::not_found, "no file descriptor 999"));
        support::as(ann, [&] {
            const auto mine = fetch<memfd_segment>(holder.id(), *number);
            CHILD_CHECK(mine.participants().size() == 2);
        });
        support::as(bob, [&] {
            std::error_code denied;
            (void)fetch<memfd_view>(holder.id(), *number, denied);
            CHILD_CHECK(fails(denied, errc::permission_denied, "ptrace"));
        });
    }
    const pid_t ended = holder.id();
    *over = 1;
    CHECK(support::status_of(holder) == 0);
    if (ec != errc::unsupported) {
        (void)fetch<memfd_view>(ended, *number, ec);
        CHECK(fails(ec, errc::not_found, "has ended"));
    }
}

int main(int argc, char** argv) {
    if (argc == 3 && std::string_view(argv[1]) == "--inherit") {
        const auto theirs = inherit<memfd_segment>(argv[2]);
        *theirs.find<std::atomic<int>>("x") = 2;
        const bool kept = theirs.native_handle().value != std::stoi(argv[2]) &&
                          ::fcntl(std::stoi(argv[2]), F_GETFD) < 0 &&
                          (::fcntl(theirs.native_handle().value, F_GETFD) & FD_CLOEXEC) != 0;
        return kept ? 0 : 1;
    }
    support::become_root_of_users(argc, argv);
    support::enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC);
    support::mount_or_exit("tmpfs", "/dev/shm", "size=64m,mode=1777");
    return doctest::Context(argc, argv).run();
}
