// Children that report by their exit status, namespaces for tests, and names that no other test
// has.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_CHILD_HPP
#define COHOLD_TEST_SUPPORT_CHILD_HPP

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <ostream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COHOLD_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COHOLD_TEST_SANITIZED 1
#endif
#endif
#ifndef COHOLD_TEST_SANITIZED
#define COHOLD_TEST_SANITIZED 0
#endif

namespace support {

// A name for an object that no other test, and no other run of this one, uses.
inline std::string own_name(std::string_view suffix) {
    return "cohold.test." + std::to_string(::getpid()) + "." + std::string(suffix);
}

// In a child, doctest's assertions would be lost: these write to standard error and set the exit
// status.
inline int child_failures = 0;
inline bool is_child = false;

inline void child_check(bool good, const char* what, const char* file, int line,
                        const std::string& more = {}) {
    if (!good) {
        ++child_failures;
        std::fprintf(stderr, "%s:%d: %s %s\n", file, line, what, more.c_str());
    }
}

#define CHILD_CHECK(...)                                                                           \
    ::support::child_check(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)

// How a child ended, and what it wrote to standard error.
struct ending {
    int code = -1;  // of _exit; -1: killed by a signal
    int signal = 0; // 0: none
    std::string text;

    [[nodiscard]] bool says(std::string_view part) const {
        return text.find(part) != std::string::npos;
    }
};

// A child that runs `body`; wait for it once.
class child {
  public:
    template <class Body>
    explicit child(const Body& body) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) {
            std::abort();
        }
        std::fflush(nullptr);
        id_ = ::fork();
        if (id_ == 0) {
            is_child = true;
            ::dup2(ends[1], 2);
            for (const int each : {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTERM, SIGINT}) {
                ::signal(each, SIG_DFL); // doctest's handlers would report a crash of the parent
            }
            const ::rlimit no_core{0, 0};
            ::setrlimit(RLIMIT_CORE, &no_core);
            ::alarm(
                250); // it hangs: some tests take a minute where many programs share the machine
            try {
                body();
            } catch (const std::exception& thrown) {
                std::fprintf(stderr, "thrown: %s\n", thrown.what());
                ++child_failures;
            }
            ::_exit(child_failures == 0 ? 0 : 1);
        }
        ::close(ends[1]);
        pipe_ = ends[0];
    }

    child(const child&) = delete;
    child& operator=(const child&) = delete;

    ~child() {
        if (id_ > 0) {
            wait();
        }
    }

    [[nodiscard]] pid_t id() const { return id_; }

    ending wait() {
        ending how;
        char some[512];
        for (ssize_t bytes = 0; (bytes = ::read(pipe_, some, sizeof some)) > 0;) {
            how.text.append(some, static_cast<std::size_t>(bytes));
        }
        ::close(pipe_);
        int status = 0;
        if (::waitpid(id_, &status, 0) == id_) {
            how.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
            how.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        }
        id_ = -1;
        return how;
    }

  private:
    pid_t id_ = -1;
    int pipe_ = -1;
};

template <class Body>
ending run_child(const Body& body) {
    return child(body).wait();
}

// A child that must do everything correctly; also one of a child, to which its failures are
// reported.
template <class Body>
void check_child(const Body& body) {
    const ending how = run_child(body);
    if (is_child) {
        child_check(how.signal == 0 && how.code == 0, "a child's child", __FILE__, __LINE__,
                    how.text);
        return;
    }
    INFO(how.text);
    CHECK(how.signal == 0);
    CHECK(how.code == 0);
}

// The same inside a child, for a child of its own; says where.
template <class Body>
void child_check_child(const Body& body, const char* file, int line) {
    const ending how = run_child(body);
    child_check(how.signal == 0 && how.code == 0, "a child's child", file, line, how.text);
}

inline void write_file(const char* path, const std::string& text) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        std::perror(path);
        ::_exit(90);
    }
    ::close(fd);
}

// In a child: namespaces of its own (CLONE_NEW…), in which it may do what root may. Users other
// than root get a user namespace for this.
inline void enter_namespaces(int flags) {
    const uid_t user = ::geteuid();
    const gid_t group = ::getegid();
    if (::unshare(flags | (user == 0 ? 0 : CLONE_NEWUSER)) != 0) {
        std::perror(user == 0 ? "unshare: root needs CAP_SYS_ADMIN here"
                              : "unshare: this needs user namespaces without privileges, which the "
                                "kernel refuses in a chroot, and many containers refuse, too");
        ::_exit(91);
    }
    if (user != 0) {
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
        write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
    }
    if ((flags & CLONE_NEWNS) != 0 &&
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        std::perror("mount --make-rprivate /");
        ::_exit(92);
    }
}

// In a child with a mount namespace of its own.
inline void mount_or_exit(const char* type, const char* at, const char* options,
                          unsigned long flags = 0) {
    if (::mount("cohold-test", at, type, flags, options) != 0) {
        std::perror(at);
        ::_exit(93);
    }
}

} // namespace support

#endif
