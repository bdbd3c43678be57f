// Being told when a thread ends, without keeping a plug-in loaded as a thread_local object with a
// destructor does.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_THREAD_END_HPP
#define COHOLD_DETAIL_THREAD_END_HPP

#include <pthread.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A key of POSIX threads: its destructor runs in every thread that has asked, after the destructors
// of thread_local objects. The main thread ends with the program, and the library that this is in
// may be unloaded before other threads end: then this object's own destructor tells the thread that
// runs it, and the others are told no more. Where there is no key left, nobody is told.
class thread_end {
  public:
    [[gnu::cold]] explicit thread_end(void (*ending)(void*)) noexcept
        : ending_(ending), made_(::pthread_key_create(&key_, ending) == 0) {}

    thread_end(const thread_end&) = delete;
    thread_end& operator=(const thread_end&) = delete;

    [[gnu::cold]] ~thread_end() {
        if (!made_) {
            return;
        }
        if (void* const mine = ::pthread_getspecific(key_); mine != nullptr) {
            ::pthread_setspecific(key_, nullptr);
            ending_(mine);
        }
        ::pthread_key_delete(key_);
    }

    // When this thread ends, `ending` gets the value, which is not null. False if nobody will be
    // told.
    [[nodiscard, gnu::cold]] bool tell(void* value) const noexcept {
        return made_ && ::pthread_setspecific(key_, value) == 0;
    }

  private:
    void (*ending_)(void*);
    ::pthread_key_t key_{};
    bool made_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
