// Definitions for thread.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_THREAD_IPP
#define COHOLD_OS_THREAD_IPP

#include <cohold/os/thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE thread_end::~thread_end() {
    if (!made_) {
        return;
    }
    if (void* const mine = ::pthread_getspecific(key_); mine != nullptr) {
        ::pthread_setspecific(key_, nullptr);
        ending_(mine);
    }
    ::pthread_key_delete(key_);
}

COHOLD_INLINE bool thread_end::tell(void* value) const noexcept {
    return made_ && ::pthread_setspecific(key_, value) == 0;
}

} // namespace detail

#if defined(__GLIBC__)

namespace detail {

COHOLD_INLINE cleanup_chain::cleanup_chain() noexcept {
    if (push_cleanup != nullptr && pop_cleanup != nullptr) {
        push_cleanup(&front_, nullptr, nullptr);
    }
}

COHOLD_INLINE cleanup_chain::~cleanup_chain() {
    if (push_cleanup != nullptr && pop_cleanup != nullptr) {
        pop_cleanup(&front_, 0);
    }
}

COHOLD_INLINE void* cleanup_chain::find(int tag) const noexcept {
    for (const cleanup_entry* each = front_.__prev; each != nullptr; each = each->__prev) {
        if (each->__canceltype == tag && each->__arg != nullptr) {
            return each->__arg;
        }
    }
    return nullptr;
}

COHOLD_INLINE void cleanup_chain::append(cleanup_entry& entry, int tag, void (*routine)(void*),
                                         void* argument) noexcept {
    entry.__routine = routine;
    entry.__arg = argument;
    entry.__canceltype = tag;
    entry.__prev = nullptr;
    last().__prev = &entry;
}

COHOLD_INLINE void cleanup_chain::remove(const cleanup_entry& entry) noexcept {
    for (cleanup_entry* each = &front_; each != nullptr; each = each->__prev) {
        if (each->__prev == &entry) {
            each->__prev = entry.__prev;
            return;
        }
    }
}

COHOLD_INLINE void cleanup_chain::change(cleanup_entry& entry, void (*routine)(void*)) noexcept {
    if (routine == nullptr) {
        __atomic_store_n(&entry.__arg, nullptr, __ATOMIC_RELEASE);
        routine = &std::free; // its code is never unloaded; it ignores a null argument
    }
    __atomic_store_n(&entry.__routine, routine, __ATOMIC_RELEASE);
}

COHOLD_INLINE cleanup_entry& cleanup_chain::last() noexcept {
    cleanup_entry* each = &front_;
    while (each->__prev != nullptr) {
        each = each->__prev;
    }
    return *each;
}

} // namespace detail

#endif

COHOLD_NAMESPACE_END

#endif
