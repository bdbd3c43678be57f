// Runs a function of this program instruction by instruction, and keeps every state of the watched
// bytes: what a kill at any instruction would leave behind.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_STEPPER_HPP
#define COHOLD_TEST_CRASH_STEPPER_HPP

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

#include <sys/mman.h>
#include <ucontext.h>

// The trap flag of x86 does the work. Sanitizers would be stepped through as well.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COHOLD_TEST_STEPS 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef COHOLD_TEST_STEPS
#define COHOLD_TEST_STEPS 0
#endif
#endif
#else
#define COHOLD_TEST_STEPS 0
#endif

namespace crash {

// One state of the watched bytes, and the number of instructions after which it first appeared.
struct snapshot {
    std::uint64_t step = 0;
    const char* bytes = nullptr;
    std::size_t size = 0;
    const void* code = nullptr; // the instruction that follows
};

// Memory for states. Not from the heap: it is filled while the victim may be inside malloc.
class snapshot_store {
  public:
    snapshot_store(std::size_t most_states, std::size_t most_bytes)
        : stride_(most_bytes), most_(most_states), list_(new snapshot[most_states]) {
        void* at = ::mmap(nullptr, stride_ * most_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) {
            std::perror("memory for snapshots");
            std::abort();
        }
        bytes_ = static_cast<char*>(at);
    }

    snapshot_store(const snapshot_store&) = delete;
    snapshot_store& operator=(const snapshot_store&) = delete;

    ~snapshot_store() {
        ::munmap(bytes_, stride_ * most_);
        delete[] list_;
    }

    void clear() noexcept { count_ = 0; }

    void add(std::uint64_t step, const char* bytes, std::size_t size,
             const void* code = nullptr) noexcept {
        if (count_ == most_ || size > stride_) {
            std::fputs("there is no room for so many or so long snapshots\n", stderr);
            std::abort();
        }
        char* const copy = bytes_ + count_ * stride_;
        std::memcpy(copy, bytes, size);
        list_[count_++] = {step, copy, size, code};
    }

    [[nodiscard]] const snapshot& last() const noexcept { return list_[count_ - 1]; }

    [[nodiscard]] const snapshot& operator[](std::size_t index) const noexcept {
        return list_[index];
    }

    [[nodiscard]] std::size_t size() const noexcept { return count_; }

  private:
    std::size_t stride_;
    std::size_t most_;
    std::size_t count_ = 0;
    char* bytes_ = nullptr;
    snapshot* list_;
};

// What to do while a victim is stepped.
struct stepping {
    // The bytes to watch. `size` is asked again after each instruction, because a segment grows.
    const char* bytes = nullptr;
    std::function<std::size_t()> size{};
    // Where the victim has them mapped.
    const char* mapped = nullptr;
    std::size_t mapped_size = 0;
    snapshot_store* states = nullptr; // null: none are kept
    // Called between two instructions, on a stack of its own and unstepped: after `at` instructions
    // or, if that is 0, after each. Returns false to let the victim run on unstepped.
    std::uint64_t at = 0;
    std::function<bool(std::uint64_t step)> between{};
};

namespace detail {

struct stepping_now {
    const stepping* what = nullptr;
    std::uint64_t steps = 0;
};

inline constinit thread_local stepping_now now_stepping;

#if COHOLD_TEST_STEPS

inline void look(const void* code) {
    const stepping& what = *now_stepping.what;
    if (what.states == nullptr) {
        return;
    }
    const std::size_t size = what.size();
    const snapshot& last = what.states->last();
    if (size != last.size || std::memcmp(what.bytes, last.bytes, size) != 0) {
        what.states->add(now_stepping.steps, what.bytes, size, code);
    }
}

// A repeated string instruction traps after each repetition. One that writes elsewhere, like a copy
// of an error message, may be done at once: that saves most of the time.
inline void finish_string(const stepping& what, greg_t (&registers)[NGREG]) {
    const auto* code = reinterpret_cast<const unsigned char*>(registers[REG_RIP]);
    const unsigned char* const begin = code;
    constexpr greg_t direction_flag = 0x400;
    if (*code++ != 0xf3 || (registers[REG_EFL] & direction_flag) != 0) {
        return;
    }
    const bool quads = *code == 0x48;
    code += quads ? 1 : 0;
    const unsigned char kind = *code++;
    const bool moves = kind == 0xa4 || kind == 0xa5;
    const bool stores = kind == 0xaa || kind == 0xab;
    if (!moves && !stores) {
        return;
    }
    const std::size_t width = (kind & 1) == 0 ? 1 : quads ? 8 : 4;
    const auto count = static_cast<std::size_t>(registers[REG_RCX]);
    auto* const to = reinterpret_cast<char*>(registers[REG_RDI]);
    const auto* const from = reinterpret_cast<const char*>(registers[REG_RSI]);
    if (what.mapped == nullptr ||
        (to + count * width > what.mapped && to < what.mapped + what.mapped_size)) {
        return;
    }
    for (std::size_t i = 0; i < count; ++i) { // in order, should the two overlap
        std::memcpy(to + i * width,
                    moves ? from + i * width : reinterpret_cast<const char*>(&registers[REG_RAX]),
                    width);
    }
    const auto bytes = static_cast<greg_t>(count * width);
    registers[REG_RDI] += bytes;
    registers[REG_RSI] += moves ? bytes : 0;
    registers[REG_RCX] = 0;
    registers[REG_RIP] += code - begin;
}

inline void on_trap(int /*signal*/, siginfo_t* /*info*/, void* context) {
    const int error = errno;
    const stepping_now here = now_stepping;
    if (here.what == nullptr) {
        std::fputs("a trap without a victim\n", stderr);
        std::abort();
    }
    const std::uint64_t step = ++now_stepping.steps;
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    look(reinterpret_cast<const void*>(registers[REG_RIP]));
    const stepping& what = *here.what;
    finish_string(what, registers);
    if (what.between && (what.at == 0 || what.at == step) && !what.between(step)) {
        constexpr greg_t trap_flag = 0x100;
        registers[REG_EFL] &= ~trap_flag;
    }
    errno = error;
}

inline void handle_traps() {
    static const bool once = [] {
        static char stack[1 << 18];
        const stack_t own{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
        struct sigaction action{};
        action.sa_sigaction = &on_trap;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        if (::sigaltstack(&own, nullptr) != 0 || ::sigaction(SIGTRAP, &action, nullptr) != 0) {
            std::perror("catching SIGTRAP");
            std::abort();
        }
        return true;
    }();
    static_cast<void>(once);
}

// The red zone below the stack pointer must not be written to.
[[gnu::always_inline]] inline void trap_flag_on() {
    asm volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
                 :
                 :
                 : "memory", "cc");
}

[[gnu::always_inline]] inline void trap_flag_off() {
    asm volatile(
        "lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
        :
        :
        : "memory", "cc");
}

#else

inline void handle_traps() {
}

inline void trap_flag_on() {
}

inline void trap_flag_off() {
}

#endif

class trapping {
  public:
    explicit trapping(const stepping& what) noexcept {
        now_stepping = {&what, 0};
        trap_flag_on();
    }

    trapping(const trapping&) = delete;
    trapping& operator=(const trapping&) = delete;

    // Also when the victim throws.
    ~trapping() {
        trap_flag_off();
        now_stepping.what = nullptr;
    }
};

} // namespace detail

// Runs the victim; returns the number of its instructions. Its exceptions pass through. The first
// state is the one before it.
template <class Victim>
[[gnu::noinline]] std::uint64_t step_through(const stepping& what, Victim&& victim) {
    detail::handle_traps();
    if (what.states != nullptr) {
        what.states->clear();
        what.states->add(0, what.bytes, what.size());
    }
    {
        const detail::trapping on(what);
        victim();
    }
    return detail::now_stepping.steps;
}

// A victim that was left in the middle, by siglongjmp from `between`, is no longer stepped.
inline void abandon_victim() noexcept {
    detail::now_stepping.what = nullptr;
}

} // namespace crash

#endif
