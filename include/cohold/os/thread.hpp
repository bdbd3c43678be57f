// Threads: disabling cancellation, blocking signals, whether there are others, the number of
// uncaught exceptions, and functions that are called when a thread ends. The last use a key of
// POSIX threads or the list of cleanup handlers that glibc keeps for each thread. Through that
// list, all code of a process can also find an object of the thread without sharing a symbol.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_THREAD_HPP
#define COHOLD_OS_THREAD_HPP

#include <cstdlib>

#include <pthread.h>
#include <signal.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- cancellation

// While it lives, the thread is not cancelled. A request for cancellation stays pending.
class uncancelled {
  public:
    uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }

    uncancelled(const uncancelled&) = delete;
    uncancelled& operator=(const uncancelled&) = delete;

    ~uncancelled() { ::pthread_setcancelstate(before_, &before_); }

  private:
    int before_ = PTHREAD_CANCEL_ENABLE;
};

// ---- other threads and signal handlers

// While it lives, no signal is delivered to the thread.
class signals_blocked {
  public:
    signals_blocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        held_ = ::pthread_sigmask(SIG_SETMASK, &all, &before_) == 0;
    }

    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;

    ~signals_blocked() {
        if (held_) {
            ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        }
    }

  private:
    sigset_t before_;
    bool held_;
};

// Is this certainly the only thread of the process? False if the C library does not tell.
[[nodiscard]] inline bool is_single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
    return __libc_single_threaded != 0;
#else
    return false;
#endif
}

// ---- uncaught exceptions

#if defined(__cpp_exceptions)

// A function of the C++ ABI. It has a name of our own here, because libstdc++'s <cxxabi.h> already
// declares it, while libc++abi has no public declaration.
extern char* eh_globals() noexcept __asm__("__cxa_get_globals");

/// The address of the number of uncaught exceptions of the calling thread, valid as long as the
/// thread lives.
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

// ---- functions called when a thread ends

// Calls a function when a thread ends, by means of a key of POSIX threads. The key's destructor
// runs in every thread that has called tell(), after the destructors of thread_local objects. The
// main thread ends with the program, and the library that contains this code may be unloaded before
// other threads end. In both cases the destructor of this object calls the function for the thread
// that runs it, and no longer for the others. If no key is left, the function is never called.
class thread_end {
  public:
    [[gnu::cold]] explicit thread_end(void (*ending)(void*)) noexcept
        : ending_(ending), made_(::pthread_key_create(&key_, ending) == 0) {}

    thread_end(const thread_end&) = delete;
    thread_end& operator=(const thread_end&) = delete;

    [[gnu::cold]] ~thread_end();

    // When this thread ends, `ending` is called with the value, which must not be null. False if it
    // will not be called.
    [[nodiscard, gnu::cold]] bool tell(void* value) const noexcept;

  private:
    void (*ending_)(void*);
    ::pthread_key_t key_{};
    bool made_;
};

#if defined(__GLIBC__)

// The interface behind pthread_cleanup_push from the time before threads were unwound by
// exceptions, which glibc still provides. The names are our own, because <pthread.h> does not
// always declare the functions.
using cleanup_entry = ::_pthread_cleanup_buffer;

[[gnu::weak]] extern void push_cleanup(cleanup_entry* entry, void (*routine)(void*),
                                       void* argument) noexcept __asm__("_pthread_cleanup_push");
[[gnu::weak]] extern void pop_cleanup(cleanup_entry* entry, int run) noexcept
    __asm__("_pthread_cleanup_pop");

// Gives access to the entries of this thread while the object lives. An entry that is not on the
// stack is called before the first destructor runs when the thread is unwound. Entries are appended
// at the end, because the entries before belong to running functions, which will remove them.
class cleanup_chain {
  public:
    [[gnu::cold]] cleanup_chain() noexcept;

    cleanup_chain(const cleanup_chain&) = delete;
    cleanup_chain& operator=(const cleanup_chain&) = delete;

    [[gnu::cold]] ~cleanup_chain();

    // The argument of the entry that was appended with the tag, if it is not null; nullptr if there
    // is none.
    [[nodiscard, gnu::cold]] void* find(int tag) const noexcept;

    [[gnu::cold]] void append(cleanup_entry& entry, int tag, void (*routine)(void*),
                              void* argument) noexcept;

    [[gnu::cold]] void remove(const cleanup_entry& entry) noexcept;

    // Changes an entry of any thread. With nullptr, the entry can no longer be found, and calling
    // it does nothing.
    [[gnu::cold]] static void change(cleanup_entry& entry, void (*routine)(void*)) noexcept;

  private:
    [[nodiscard]] cleanup_entry& last() noexcept;

    cleanup_entry front_{};
};

#else

// Other C libraries end a thread without running destructors and have no such list.
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
