// What the tests of locks share: a segment with one object, in any number of mappings and
// processes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SYNC_LOCK_SUPPORT_HPP
#define COHOLD_TEST_SYNC_LOCK_SUPPORT_HPP

#include <chrono>
#include <csignal>
#include <string>
#include <utility>

#include <sys/wait.h>

#include <cohold/handle/segment.hpp>
#include <cohold/policy/file.hpp>

#include "support/child.hpp"

namespace support {

using namespace std::chrono_literals;

constexpr auto a_moment = 5ms;    // too short to get a lock that another holds
constexpr auto a_while = 30000ms; // longer than any test takes

inline int lock_count = 0;

// The object T of a segment that is removed at the end of the test.
template <class T>
class in_segment {
  public:
    template <class... Arguments>
    explicit in_segment(Arguments&&... arguments)
        : segment_(cohold::segment<>::create(name_, {.size = 65536, .reserve = 1 << 20})),
          object_(&segment_.construct<T>("object", std::forward<Arguments>(arguments)...)) {}

    in_segment(const in_segment&) = delete;
    in_segment& operator=(const in_segment&) = delete;

    ~in_segment() { cohold::segment<>::remove(name_); }

    T* operator->() const { return object_; }

    T& operator*() const { return *object_; }

    cohold::segment<>& segment() { return segment_; }

    [[nodiscard]] const std::string& name() const { return name_; }

    // In another mapping, of this process or of a child: a separate participant.
    class other {
      public:
        explicit other(const std::string& name)
            : segment_(cohold::segment<>::open(name)), object_(segment_.find<T>("object")) {}

        T* operator->() const { return object_; }

        T& operator*() const { return *object_; }

        cohold::segment<>& segment() { return segment_; }

      private:
        cohold::segment<> segment_;
        T* object_;
    };

    [[nodiscard]] other again() const { return other(name_); }

  private:
    std::string name_ = own_name("lock" + std::to_string(lock_count++));
    cohold::segment<> segment_;
    T* object_;
};

// A child that calls body and then stops, alive, until it is killed.
template <class Body>
class stopped_child {
  public:
    explicit stopped_child(const Body& body)
        : child_([&] { body([] { ::kill(::getpid(), SIGSTOP); }); }) {
        ::siginfo_t info{};
        REQUIRE(::waitid(P_PID, static_cast<::id_t>(child_.id()), &info, WSTOPPED | WNOWAIT) == 0);
    }

    void kill() { ::kill(child_.id(), SIGKILL); }

    void go_on() { ::kill(child_.id(), SIGCONT); }

    ending wait() { return child_.wait(); }

  private:
    child child_;
};

} // namespace support

#endif
