// The list that glibc keeps for each thread, of what is to be called when pthread_exit or
// pthread_cancel unwinds it: also a place where all code of a process finds something of the
// thread without sharing a symbol.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_THREAD_HPP
#define COHOLD_OS_THREAD_HPP

#include <cstdlib>

#include <pthread.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// While it lives, the thread is not cancelled; a request stays pending.
class uncancelled {
  public:
    uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }

    uncancelled(const uncancelled&) = delete;
    uncancelled& operator=(const uncancelled&) = delete;

    ~uncancelled() { ::pthread_setcancelstate(before_, &before_); }

  private:
    int before_ = PTHREAD_CANCEL_ENABLE;
};

#if defined(__cpp_exceptions)

// Of the C++ ABI. The name is one of ours, so that this is no second declaration beside that of
// libstdc++'s <cxxabi.h>; libc++abi has no public one.
extern char* eh_globals() noexcept __asm__("__cxa_get_globals");

/// Where that number is for the calling thread, as long as it lives.
/// Source: Itanium C++ ABI, Exception Handling, 2.2.2: a pointer, caughtExceptions, and then an
/// unsigned int, uncaughtExceptions.
[[nodiscard]] inline const unsigned* uncaught_counter() noexcept {
    return reinterpret_cast<const unsigned*>(eh_globals() + sizeof(void*));
}

#else

[[nodiscard]] inline const unsigned* uncaught_counter() noexcept {
    static constexpr unsigned none = 0;
    return &none;
}

#endif

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

    [[gnu::cold]] ~thread_end();

    // When this thread ends, `ending` gets the value, which is not null. False if nobody will be
    // told.
    [[nodiscard, gnu::cold]] bool tell(void* value) const noexcept;

  private:
    void (*ending_)(void*);
    ::pthread_key_t key_{};
    bool made_;
};

#if defined(__GLIBC__)

// The interface of pthread_cleanup_push that programs had before exceptions unwound threads; glibc
// keeps it. The names are ours, as <pthread.h> does not declare the functions for everybody.
using cleanup_entry = ::_pthread_cleanup_buffer;

[[gnu::weak]] extern void push_cleanup(cleanup_entry* entry, void (*routine)(void*),
                                       void* argument) noexcept __asm__("_pthread_cleanup_push");
[[gnu::weak]] extern void pop_cleanup(cleanup_entry* entry, int run) noexcept
    __asm__("_pthread_cleanup_pop");

// The entries that this thread has, while the object lives. An entry in memory that is not on the
// stack is called before the first destructor of an unwound thread runs. They are appended at the
// end, as those before it belong to functions that are running and will be taken away.
class cleanup_chain {
  public:
    [[gnu::cold]] cleanup_chain() noexcept;

    cleanup_chain(const cleanup_chain&) = delete;
    cleanup_chain& operator=(const cleanup_chain&) = delete;

    [[gnu::cold]] ~cleanup_chain();

    // The argument, not null, of the entry that has been appended with the tag; nullptr if there is
    // none.
    [[nodiscard, gnu::cold]] void* find(int tag) const noexcept;

    [[gnu::cold]] void append(cleanup_entry& entry, int tag, void (*routine)(void*),
                              void* argument) noexcept;

    [[gnu::cold]] void remove(const cleanup_entry& entry) noexcept;

    // Of any thread. nullptr: it is to be found no more, and nothing happens.
    [[gnu::cold]] static void change(cleanup_entry& entry, void (*routine)(void*)) noexcept;

  private:
    [[nodiscard]] cleanup_entry& last() noexcept;

    cleanup_entry front_{};
};

#else

// Other C libraries end a thread without running destructors, and have no such list.
struct cleanup_entry {};

class cleanup_chain {
  public:
    [[nodiscard]] void* find(int /*tag*/) const noexcept { return nullptr; }

    void append(cleanup_entry& /*entry*/, int /*tag*/, void (* /*routine*/)(void*),
                void* /*argument*/) noexcept {}

    void remove(const cleanup_entry& /*entry*/) noexcept {}

    static void change(cleanup_entry& /*entry*/, void (* /*routine*/)(void*)) noexcept {}
};

#endif

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/thread.ipp>
#endif

#endif
