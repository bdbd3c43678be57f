// The list that glibc keeps for each thread, of what is to be called when pthread_exit or
// pthread_cancel unwinds it: also a place where all code of a process finds something of the
// thread without sharing a symbol.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_CLEANUP_CHAIN_HPP
#define COHOLD_DETAIL_CLEANUP_CHAIN_HPP

#include <cstdlib>

#include <pthread.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

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
    [[gnu::cold]] cleanup_chain() noexcept {
        if (push_cleanup != nullptr && pop_cleanup != nullptr) {
            push_cleanup(&front_, nullptr, nullptr);
        }
    }

    cleanup_chain(const cleanup_chain&) = delete;
    cleanup_chain& operator=(const cleanup_chain&) = delete;

    [[gnu::cold]] ~cleanup_chain() {
        if (push_cleanup != nullptr && pop_cleanup != nullptr) {
            pop_cleanup(&front_, 0);
        }
    }

    // The argument, not null, of the entry that has been appended with the tag; nullptr if there is
    // none.
    [[nodiscard, gnu::cold]] void* find(int tag) const noexcept {
        for (const cleanup_entry* each = front_.__prev; each != nullptr; each = each->__prev) {
            if (each->__canceltype == tag && each->__arg != nullptr) {
                return each->__arg;
            }
        }
        return nullptr;
    }

    [[gnu::cold]] void append(cleanup_entry& entry, int tag, void (*routine)(void*),
                              void* argument) noexcept {
        entry.__routine = routine;
        entry.__arg = argument;
        entry.__canceltype = tag;
        entry.__prev = nullptr;
        last().__prev = &entry;
    }

    [[gnu::cold]] void remove(const cleanup_entry& entry) noexcept {
        for (cleanup_entry* each = &front_; each != nullptr; each = each->__prev) {
            if (each->__prev == &entry) {
                each->__prev = entry.__prev;
                return;
            }
        }
    }

    // Of any thread. nullptr: it is to be found no more, and nothing happens.
    [[gnu::cold]] static void change(cleanup_entry& entry, void (*routine)(void*)) noexcept {
        if (routine == nullptr) {
            __atomic_store_n(&entry.__arg, nullptr, __ATOMIC_RELEASE);
            routine = &std::free; // code that is never unloaded
        }
        __atomic_store_n(&entry.__routine, routine, __ATOMIC_RELEASE);
    }

  private:
    [[nodiscard]] cleanup_entry& last() noexcept {
        cleanup_entry* each = &front_;
        while (each->__prev != nullptr) {
            each = each->__prev;
        }
        return *each;
    }

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

#endif
