// Where the structures of cohold's rows are. The segment loses its name as soon as it is made; the
// children of the process that made it inherit the mapping, and become participants of their own.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_KILLS_SEGMENT_HPP
#define COHOLD_TEST_BENCH_KILLS_SEGMENT_HPP

#include <atomic>
#include <cstdint>
#include <string>

#include <cohold/cohold.hpp>

#include "kills.hpp"

namespace kills {

class home {
  public:
    home() : name_(bench::own_name("kill")), segment_(cohold::segment<>::create(name_, 1 << 18)) {
        cohold::segment<>::remove(name_);
    }

    cohold::segment<>& operator*() { return segment_; }

    cohold::segment<>* operator->() { return &segment_; }

  private:
    std::string name_;
    cohold::segment<> segment_;
};

/// Where a T is stored.
template <class T>
class in_segment {
  public:
    T* operator->() { return object_; }

  private:
    home segment_;
    T* object_ = &segment_->construct<T>("object");
};

/// How much memory is in use after a process has done `work`, which leaves nothing, and has ended:
/// what it needed as a participant included. A survivor that does the same must find as much.
class memory_in_use {
  public:
    template <class Work>
    memory_in_use(home& segment, Work work) {
        bench::finish(bench::child([&] {
            segment->recover();
            work();
            *used_ = segment->used();
        }));
    }

    [[nodiscard]] bool is_that_of(home& segment) const { return segment->used() == *used_; }

  private:
    bench::in_shared_memory<std::atomic<std::uint64_t>> used_;
};

} // namespace kills

#endif
