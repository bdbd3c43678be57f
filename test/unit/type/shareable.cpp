// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <complex>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <variant>
#include <vector>

#include <pthread.h>

#include <doctest/doctest.h>

using cohold::enable_shareable;
using cohold::offset_ptr;
using cohold::shareable;

namespace {

struct incomplete;

enum plain_enum { one, two };

enum class scoped_enum : std::uint8_t { red, green };

struct empty {};

struct point {
    float x;
    float y;
};

struct nested {
    point corner[2][2];
    char name[4096];
    std::array<point, 3> more;
    scoped_enum colour;
    const int fixed = 3;
    bool flag;
};

struct node {
    int value;
    offset_ptr<node> next;
    offset_ptr<void> user;
};

struct widest { // 64 members
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16;
    int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16;
    int c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16;
    int d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16;
};

struct too_wide { // the same and one more
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16;
    int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16;
    int c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16;
    int d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16;
    int i1;
};

class money { // a user's class that says so itself
  public:
    explicit money(std::int64_t cents) : cents_(cents) {}

    std::int64_t cents() const { return cents_; }

  private:
    std::int64_t cents_;
};

class secretive { // the same, but it does not say so
  public:
    explicit secretive(int v) : v_(v) {}

    int v() const { return v_; }

  private:
    int v_;
};

template <class T>
class container { // stands for shm_vector: shareable whatever the element
  public:
    container() = default;

    container(const container& other) : first_(other.first_) {}

    ~container() { first_ = nullptr; }

  private:
    offset_ptr<T> first_;
};

class no_default { // stands for shm_queue: neither default-constructible nor movable
  public:
    no_default(std::size_t, int i) : i_(i) {}

    no_default(const no_default&) = delete;
    no_default& operator=(const no_default&) = delete;

    int i() const { return i_; }

  private:
    int i_;
};

struct tree { // contains itself
    int value;
    container<tree> children;
};

struct record { // not trivially copyable, but each member is shareable
    int id;
    container<char> name;
    money price;
    std::optional<container<int>> maybe;
};

struct widest_with_events { // 64 members, some without default constructors
    no_default first{1, 2};
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16;
    int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16;
    char text[8][2];
    int c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13;
    no_default last{3, 4};
    int d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16;
};

struct application { // members without default constructors, arrays between them
    int version;
    no_default in{1, 2};
    char name[32];
    no_default out{3, 4};
    point corners[2];
    double rate;
};

struct all_required {
    no_default a;
    no_default b[2];
    int c[2];
};

struct measured {
    std::atomic<int> count;
    std::atomic<std::uint32_t> flags[3];
    std::atomic_flag once;
    std::chrono::nanoseconds lasted;
    std::chrono::steady_clock::time_point since;
    std::complex<float> z[2];
    std::pair<std::atomic<int>, std::optional<point>> both;
    std::array<std::array<char, 8>, 4> names;
};

// Refused.
struct with_pointer {
    int a;
    int* p;
};

struct deep_pointer {
    int a;
    std::array<std::pair<int, with_pointer>, 2> b[2];
};

struct with_reference {
    int a;
    const int& r;
};

struct with_defaulted_reference {
    int a;
    int& r;
    int b = 1;
};

struct with_string {
    int a;
    std::string s;
};

struct with_bits {
    int a : 3;
    int b : 29;
};

struct with_union {
    int tag;

    union {
        int i;
        float f;
    };
};

struct with_named_union {
    int tag;

    union value {
        int i;
        float f;
    } v;
};

struct with_volatile {
    int a;
    volatile int b;
};

struct derived : point {
    int z;
};

struct derived_from_empty : empty {
    int z;
};

struct only_derived : point {};

struct polymorphic {
    virtual ~polymorphic() = default;
    int a;
};

struct [[gnu::packed]] packed {
    char c;
    int i;
};

struct greedy {
    template <class U>
    greedy(U&&) : a(1) {}

    int a;
};

struct with_greedy {
    int a;
    greedy g = 3;
    int b;
};

struct big {
    std::int64_t words[4];
};

union plain_union {
    int i;
    float f;
};

struct tuple_like {
    int a;
    int b;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<money> = true;
template <>
inline constexpr bool cohold::enable_shareable<no_default> = true;
template <class T>
inline constexpr bool cohold::enable_shareable<container<T>> = true;

template <>
struct std::tuple_size<tuple_like> : std::integral_constant<std::size_t, 1> {};

namespace {

// Scalars.
static_assert(shareable<bool> && shareable<char> && shareable<signed char> && shareable<short>);
static_assert(shareable<int> && shareable<long> && shareable<unsigned long long>);
static_assert(shareable<float> && shareable<double> && shareable<wchar_t> && shareable<char8_t>);
static_assert(shareable<char16_t> && shareable<char32_t> && shareable<std::byte>);
static_assert(shareable<plain_enum> && shareable<scoped_enum>);
static_assert(shareable<const int> && shareable<volatile int> && shareable<const volatile point>);
static_assert(!shareable<long double> && !shareable<std::nullptr_t>);

// Arrays and the shareable templates of std.
static_assert(shareable<int[3]> && shareable<const point[2][3]> && !shareable<int* [3]>);
static_assert(!shareable<int[]>);
static_assert(shareable<std::array<int, 3>> && !shareable<std::array<int*, 3>>);
static_assert(!shareable<std::array<int, 0>>);
static_assert(shareable<std::pair<int, const point>> && !shareable<std::pair<int, int*>>);
static_assert(!shareable<std::pair<int&, int>> && !shareable<std::pair<std::string, int>>);
static_assert(shareable<std::optional<point>> && !shareable<std::optional<int*>>);
static_assert(shareable<std::complex<double>> && !shareable<std::complex<long double>>);
static_assert(shareable<std::chrono::nanoseconds>);
static_assert(shareable<std::chrono::duration<float, std::ratio<1, 3>>>);
static_assert(!shareable<std::chrono::duration<long double>>);
static_assert(shareable<std::chrono::system_clock::time_point>);
static_assert(shareable<std::chrono::steady_clock::time_point>);
static_assert(shareable<std::chrono::year_month_day> && shareable<std::chrono::weekday>);
static_assert(shareable<std::atomic<int>>);
static_assert(shareable<std::atomic_flag>);
// Some compilers have no lock-free bytes on some processors, such as g++ 12 on RISC-V.
constexpr bool bytes_are_lock_free = std::atomic<std::uint8_t>::is_always_lock_free;
static_assert(shareable<std::atomic<bool>> == bytes_are_lock_free);
static_assert(shareable<std::atomic<scoped_enum>> == bytes_are_lock_free);
static_assert(shareable<std::atomic<std::uint32_t>[4]>);
static_assert(!shareable<std::atomic<int*>> && !shareable<std::atomic<big>>);
static_assert(!shareable<std::atomic<std::shared_ptr<int>>>);

// Structs.
static_assert(shareable<empty> && shareable<point> && shareable<nested> && shareable<node>);
static_assert(shareable<widest> && !shareable<too_wide>);
static_assert(cohold::detail::members_counted<widest>.count == 64);
static_assert(cohold::detail::refusal_for<too_wide> == cohold::detail::refusal::too_many_members);
static_assert(shareable<widest_with_events>);
static_assert(cohold::detail::members_counted<widest_with_events>.count == 64);
static_assert(shareable<tree> && shareable<record> && shareable<application>);
static_assert(shareable<all_required> && shareable<measured>);
static_assert(cohold::detail::members_counted<measured>.count == 8);
static_assert(shareable<money> && shareable<container<int>> && shareable<offset_ptr<int>>);
static_assert(cohold::detail::members_counted<application>.count == 6);
static_assert(cohold::detail::members_counted<all_required>.count == 3);
static_assert(cohold::detail::members_counted<nested>.count == 6);

// Refused, never an error.
static_assert(!shareable<void> && !shareable<const void> && !shareable<void()>);
static_assert(!shareable<void() const> && !shareable<incomplete> && !shareable<incomplete[2]>);
static_assert(!shareable<int*> && !shareable<int&> && !shareable<int&&> && !shareable<void (*)()>);
static_assert(!shareable<const char* const> && !shareable<point&>);
static_assert(!shareable<int point::*> && !shareable<void (point::*)() const>);
static_assert(!shareable<with_pointer> && !shareable<deep_pointer>);
static_assert(!shareable<with_reference> && !shareable<with_defaulted_reference>);
static_assert(!shareable<with_string> && !shareable<with_bits> && !shareable<with_union>);
static_assert(!shareable<with_named_union> && !shareable<plain_union>);
static_assert(!shareable<with_volatile> && !shareable<packed>);
static_assert(!shareable<derived> && shareable<derived_from_empty> && !shareable<only_derived>);

// A large array behind members that only a value initialises.
struct ringed {
    no_default in;
    point other[2];
    no_default out{1, 2};
    int ring[1000];
    char tail[500];
};

static_assert(shareable<ringed> && cohold::detail::members_counted<ringed>.count == 5);

// Compiled without a warning.
struct with_old_member {
    int a;
    [[deprecated("use a")]] int b;
};

static_assert(shareable<with_old_member>);

static_assert(!shareable<polymorphic> && !shareable<secretive> && !shareable<with_greedy>);
static_assert(!shareable<tuple_like> && !shareable<decltype([] {})>);
static_assert(!shareable<std::string> && !shareable<std::string_view>);
static_assert(!shareable<std::span<int>> && !shareable<std::reference_wrapper<int>>);
static_assert(!shareable<std::tuple<int>> && !shareable<std::variant<int, float>>);
static_assert(!shareable<std::vector<int>> && !shareable<std::map<int, int>>);
static_assert(!shareable<std::unique_ptr<int>> && !shareable<std::shared_ptr<int>>);
static_assert(!shareable<std::function<void()>> && !shareable<std::mutex>);
static_assert(!shareable<std::thread> && !shareable<std::condition_variable>);
static_assert(!shareable<std::initializer_list<int>> && !shareable<pthread_mutex_t>);

// The messages exist only where they should.
static_assert(cohold::detail::assert_shareable<const nested>());
static_assert(cohold::detail::assert_shareable<record[2]>());
static_assert(cohold::detail::assert_shareable<std::pair<std::atomic<int>, tree>>());

} // namespace

TEST_CASE("a type without a name is refused") {
    struct {
        int a;
    } unnamed = {1};

    struct local {
        int a;
    };

    CHECK(unnamed.a == 1);
    CHECK_FALSE(shareable<decltype(unnamed)>);
    CHECK(shareable<local>);
}

TEST_CASE("the offsets found are those of the compiler") {
    using namespace cohold::detail;
    nested n{};
    const auto at = [&](const auto& member) {
        return static_cast<std::size_t>(reinterpret_cast<const char*>(&member) -
                                        reinterpret_cast<const char*>(&n));
    };
    constexpr auto& offsets = offsets_of<nested>.at;
    CHECK(offsets[0] == at(n.corner));
    CHECK(offsets[1] == at(n.name));
    CHECK(offsets[2] == at(n.more));
    CHECK(offsets[3] == at(n.colour));
    CHECK(offsets[4] == at(n.fixed));
    CHECK(offsets[5] == at(n.flag));
    CHECK(member_name<nested, 0>() == "corner");
    CHECK(member_name<nested, 5>() == "flag");

    struct spread {
        char c;
        alignas(32) char d;
        [[no_unique_address]] empty e;
        alignas(8) std::int64_t i;
    };

    spread s{};
    constexpr auto& found = offsets_of<spread>.at;
    CHECK(found[1] == 32);
    CHECK(found[3] ==
          static_cast<std::size_t>(reinterpret_cast<char*>(&s.i) - reinterpret_cast<char*>(&s)));
    CHECK(found[3] == 40);
}

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Wc99-extensions"
#endif

namespace {

// With a flexible array at the end, which is an extension of both compilers.
struct flexible {
    int length;
    char bytes[];
};

struct flexible_behind_array {
    int numbers[3];
    double number;
    long rest[];
};

struct flexible_with_base : empty {
    int length;
    double rest[];
};

struct flexible_behind_value {
    cohold::offset_ptr<int> pointer;
    std::atomic<int> counter;
    short rest[];
};

struct flexible_inside {
    int number;
    flexible rest;
};

struct only_array {
    int number;
    char bytes[3];
};

} // namespace

static_assert(!shareable<flexible>);
static_assert(!shareable<flexible_behind_array>);
static_assert(!shareable<flexible_with_base>);
static_assert(!shareable<flexible_behind_value>);
static_assert(!shareable<flexible_inside>);
static_assert(shareable<only_array>);

#pragma GCC diagnostic pop
#endif
