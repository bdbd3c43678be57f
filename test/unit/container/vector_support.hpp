// Elements that count themselves and fail on demand, and allocators that keep a ledger, for the
// tests of shm_vector.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_UNIT_CONTAINER_VECTOR_SUPPORT_HPP
#define COHOLD_TEST_UNIT_CONTAINER_VECTOR_SUPPORT_HPP

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/container/shm_vector.hpp>

namespace vector_test {

template <class T>
using vec = cohold::shm_vector<T, std::allocator<T>>;

struct boom {};

// Counts the living instances, and throws boom at the chosen operation.
struct fuse {
    static inline long live = 0;
    static inline long countdown = -1; // operations until boom; negative: never
    static inline long operations = 0;

    static void burn() {
        ++operations;
        if (countdown >= 0 && countdown-- == 0) {
            throw boom{};
        }
    }
};

enum class moving { never_throws, may_throw, is_all_there_is, is_all_there_is_and_throws };

// An element that knows its address: this reveals byte copies, double destruction, and use after
// destruction.
template <moving Moving>
class probe {
  public:
    static constexpr bool nothrow =
        Moving == moving::never_throws || Moving == moving::is_all_there_is;
    static constexpr bool copyable = Moving == moving::never_throws || Moving == moving::may_throw;

    probe() : probe(0) {}

    probe(int value) : value_(value) { // NOLINT: converts on purpose
        fuse::burn();
        appear();
    }

    probe(const probe& other)
        requires copyable
        : value_(other.checked().value_) {
        fuse::burn();
        appear();
    }

    probe(probe&& other) noexcept(nothrow) : value_(other.checked().value_) {
        if constexpr (!nothrow) {
            fuse::burn();
        }
        other.value_ = -1;
        appear();
    }

    probe& operator=(const probe& other)
        requires copyable
    {
        checked();
        fuse::burn();
        value_ = other.checked().value_;
        return *this;
    }

    probe& operator=(probe&& other) noexcept(nothrow) {
        checked();
        if constexpr (!nothrow) {
            fuse::burn();
        }
        const int value = other.checked().value_;
        other.value_ = -1;
        value_ = value;
        return *this;
    }

    ~probe() {
        checked();
        self_ = nullptr;
        --fuse::live;
    }

    int value() const { return checked().value_; }

    friend bool operator==(const probe& a, const probe& b) { return a.value() == b.value(); }

    friend bool operator<(const probe& a, const probe& b) { return a.value() < b.value(); }

  private:
    void appear() {
        self_ = this;
        ++fuse::live;
    }

    const probe& checked() const {
        if (self_ != this) {
            std::abort(); // never constructed here, or destroyed already
        }
        return *this;
    }

    int value_;
    const probe* self_ = nullptr;
};

struct ledger {
    long outstanding = 0; // bytes
    long allocations = 0;
    long fail_after = -1; // allocations that still succeed; negative: all
    std::size_t most = static_cast<std::size_t>(PTRDIFF_MAX);
};

inline ledger default_ledger;

enum : unsigned {
    plain = 0,
    copy_propagates = 1,
    move_propagates = 2,
    swap_propagates = 4,
    selects_default = 8, // a copy-constructed container gets the default ledger
    offset_pointers = 16,
    own_construct = 32, // counts its calls of construct and destroy
    reports = 64        // has try_allocate
};

inline long constructs = 0;
inline long destroys = 0;

template <class T, unsigned Traits = plain>
class ledger_allocator {
  public:
    using value_type = T;
    using pointer = std::conditional_t<(Traits & offset_pointers) != 0, cohold::offset_ptr<T>, T*>;
    using propagate_on_container_copy_assignment =
        std::bool_constant<(Traits & copy_propagates) != 0>;
    using propagate_on_container_move_assignment =
        std::bool_constant<(Traits & move_propagates) != 0>;
    using propagate_on_container_swap = std::bool_constant<(Traits & swap_propagates) != 0>;
    using is_always_equal = std::false_type;

    template <class U>
    struct rebind {
        using other = ledger_allocator<U, Traits>;
    };

    ledger_allocator() noexcept : book_(&default_ledger) {}

    explicit ledger_allocator(ledger& book) noexcept : book_(&book) {}

    template <class U>
    ledger_allocator(const ledger_allocator<U, Traits>& other) noexcept : book_(&other.book()) {}

    pointer allocate(std::size_t count) {
        if (book_->fail_after == 0) {
            throw std::bad_alloc();
        }
        return take(count);
    }

    pointer try_allocate(std::size_t count) noexcept
        requires((Traits & reports) != 0)
    {
        return book_->fail_after == 0 ? pointer(nullptr) : take(count);
    }

    void deallocate(pointer memory, std::size_t count) noexcept {
        book_->outstanding -= static_cast<long>(count * sizeof(T));
        ::operator delete(static_cast<void*>(std::to_address(memory)), count * sizeof(T),
                          std::align_val_t(alignof(T)));
    }

    template <class U, class... Args>
    void construct(U* at, Args&&... args)
        requires((Traits & own_construct) != 0)
    {
        ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
        ++constructs;
    }

    template <class U>
    void destroy(U* at)
        requires((Traits & own_construct) != 0)
    {
        ++destroys;
        at->~U();
    }

    ledger_allocator select_on_container_copy_construction() const {
        return (Traits & selects_default) != 0 ? ledger_allocator() : *this;
    }

    std::size_t max_size() const noexcept { return book_->most / sizeof(T); }

    ledger& book() const noexcept { return *book_; }

    friend bool operator==(const ledger_allocator& a, const ledger_allocator& b) noexcept {
        return a.book_ == b.book_;
    }

  private:
    pointer take(std::size_t count) {
        if (book_->fail_after > 0) {
            --book_->fail_after;
        }
        ++book_->allocations;
        book_->outstanding += static_cast<long>(count * sizeof(T));
        return pointer(
            static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(alignof(T)))));
    }

    ledger* book_;
};

template <class T, unsigned Traits = plain>
using ledger_vec = cohold::shm_vector<T, ledger_allocator<T, Traits>>;

struct alignas(64) line {
    int value;
    auto operator<=>(const line&) const = default;
};

struct alignas(4096) page {
    page() noexcept = default;

    page(int v) noexcept : value(v) {} // NOLINT: converts on purpose

    page(const page& other) noexcept : value(other.value) {}

    page& operator=(const page&) noexcept = default;

    ~page() { value = -1; }

    int value = 0;

    friend bool operator==(const page& a, const page& b) { return a.value == b.value; }

    friend auto operator<=>(const page& a, const page& b) { return a.value <=> b.value; }
};

// The element of type T that stands for a number.
template <class T>
struct element {
    static T of(int number) { return static_cast<T>(number); }
};

template <>
struct element<std::string> {
    static std::string of(int number) {
        return "a string too long for the small buffer, number " + std::to_string(number);
    }
};

template <>
struct element<line> {
    static line of(int number) { return line{number}; }
};

template <class T, class A>
struct element<cohold::shm_vector<T, A>> {
    static cohold::shm_vector<T, A> of(int number) {
        return cohold::shm_vector<T, A>(static_cast<std::size_t>(number % 7),
                                        element<T>::of(number));
    }
};

template <>
struct element<std::unique_ptr<int>> {
    static std::unique_ptr<int> of(int number) { return std::make_unique<int>(number); }
};

template <class T>
T el(int number) {
    return element<T>::of(number);
}

template <class Vector, class... Numbers>
Vector vector_of(Numbers... numbers) {
    Vector result;
    (result.push_back(el<typename Vector::value_type>(numbers)), ...);
    return result;
}

template <class Vector>
bool holds(const Vector& vector, std::initializer_list<int> numbers) {
    if (vector.size() != numbers.size()) {
        return false;
    }
    auto at = vector.begin();
    for (int number : numbers) {
        if (!(*at++ == el<typename Vector::value_type>(number))) {
            return false;
        }
    }
    return true;
}

// A single-pass iterator that throws at the chosen step.
template <class T>
class single_pass {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = const T*;
    using reference = T;

    single_pass() = default;

    explicit single_pass(int number, int fails_at = -1) : number_(number), fails_at_(fails_at) {}

    T operator*() const {
        if (number_ == fails_at_) {
            throw boom{};
        }
        return el<T>(number_);
    }

    single_pass& operator++() {
        ++number_;
        return *this;
    }

    void operator++(int) { ++number_; }

    friend bool operator==(const single_pass& a, const single_pass& b) {
        return a.number_ == b.number_;
    }

  private:
    int number_ = 0;
    int fails_at_ = -1;
};

} // namespace vector_test

#endif
