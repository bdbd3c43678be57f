// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/type_description.hpp>

#include <atomic>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

// The expected texts and hashes are written out, so every compiler that builds this test must
// produce them: g++ and clang, libstdc++ and libc++, 32 and 64 bit.

using cohold::offset_ptr;
using cohold::type_name_of;
using cohold::detail::type_descriptor_of;

namespace app {

enum class colour : std::uint8_t { red, green };

struct vec {
    float x;
    float y;
};

struct body {
    vec pos;
    std::int32_t weight;
    colour tint;
    char name[3][5];
};

struct node {
    std::int32_t value;
    offset_ptr<node> next;
    offset_ptr<const char[4]> text;
};

template <class T>
class ring {
  public:
    ring() = default;

    ring(const ring& other) : first_(other.first_) {}

  private:
    offset_ptr<T> first_;
};

struct tree {
    std::int32_t value;
    ring<tree> children;
};

class money {
  public:
    money() = default;

    explicit money(std::int64_t c) : cents_(c) {}

    std::int64_t cents() const { return cents_; }

  private:
    alignas(8) std::int64_t cents_ = 0;
};

struct bill {
    money total;
    ring<vec> lines;
};

struct alignas(32) wide {
    std::int32_t a;
};

template <class T, std::size_t N>
struct generic {
    T value[N];

    struct inner {
        T value;
    };
};

namespace v1 {
struct versioned {
    std::int16_t a;
};
} // namespace v1

inline namespace v2 {
struct versioned {
    std::int16_t a;
};
} // namespace v2

template <class T>
auto make_local(T) {
    struct local {
        T a;

        auto operator<(int) const {
            struct inner {
                int b;
            };

            return inner{};
        }
    };

    return local{};
}

inline constexpr auto closure = [] {
    struct local {
        int a;
    };

    return local{};
};

struct around {
    struct {
        struct named {
            int a;
        };
    } unnamed;
};

struct empty {};

inline constexpr int around_number = 0;

template <auto... Value>
struct values {
    char a;
};

struct mixed {
    std::int32_t a;
    double d; // at 4 in 32-bit programs
};

struct two_doubles {
    double a;
    double b;
};

#pragma pack(push, 4)

struct low { // everywhere as in 32-bit programs
    std::int64_t a;
};

#pragma pack(pop)

// A container with both in a block.
template <class First, class Second>
struct both {
    std::int64_t place;
};

} // namespace app

namespace {

struct hidden {
    bool a;
};

} // namespace

template <class T>
inline constexpr bool cohold::enable_shareable<app::ring<T>> = true;
template <>
inline constexpr bool cohold::enable_shareable<app::money> = true;

template <class First, class Second>
inline constexpr bool cohold::enable_shareable<app::both<First, Second>> = true;

template <class First, class Second>
struct cohold::type_description<app::both<First, Second>> {
    static constexpr void write(cohold::type_writer& out) {
        out.text("both<");
        out.neighbours<First, Second>();
        out.text(">");
    }
};

template <class T>
struct cohold::type_description<app::ring<T>> {
    static constexpr void write(cohold::type_writer& out) {
        out.text("ring<");
        out.type<T>();
        out.text(">");
    }
};

namespace {

template <class T>
std::string description() {
    return std::string(type_descriptor_of<T>.description);
}

template <class T>
std::string name() {
    return std::string(type_name_of<T>());
}

// At compile time.
static_assert(type_descriptor_of<int>.description == "i32");
static_assert(type_descriptor_of<const app::vec>.size == 8);
static_assert(type_descriptor_of<app::wide>.alignment == 32);

template <double Value>
struct fraction {
    char a;
};

template <class T, const int* Address>
struct pointing {
    T a;
};

struct pair_of_ints {
    int a;
    int b;
};

// Different compilers write these differently.
static_assert(!cohold::shareable<fraction<1.0>>);
static_assert(!cohold::shareable<fraction<-0.0>>);
static_assert(!cohold::shareable<pointing<int, nullptr>>);
static_assert(!cohold::shareable<pointing<int, &app::around_number>>);
static_assert(!cohold::shareable<app::values<nullptr>>);
static_assert(!cohold::shareable<app::values<static_cast<int*>(nullptr)>>);
static_assert(!cohold::shareable<app::values<&app::vec::x>>);
static_assert(!cohold::shareable<app::values<static_cast<int app::vec::*>(nullptr)>>);
static_assert(!cohold::shareable<app::values<&pair_of_ints::a, 1>>);
static_assert(!cohold::shareable<app::values<pair_of_ints{1, 2}>>);
static_assert(!cohold::shareable<app::generic<fraction<2.5>, 1>::inner>);
static_assert(cohold::shareable<app::values<0, 'c', app::colour::red>>);

} // namespace

// But according to its own description.
template <>
struct cohold::type_description<fraction<3.5>> {
    static constexpr void write(cohold::type_writer& out) { out.text("fraction of 7/2"); }
};

static_assert(cohold::shareable<fraction<3.5>>);

TEST_CASE("scalars by kind and width") {
    CHECK(description<bool>() == "bool");
    CHECK(description<char>() == "char");
    CHECK(description<signed char>() == "i8");
    CHECK(description<std::uint8_t>() == "u8");
    CHECK(description<short>() == "i16");
    CHECK(description<std::int64_t>() == "i64");
    CHECK(description<long long>() == "i64");
    CHECK(description<unsigned long long>() == "u64");
    CHECK(description<long>() == (sizeof(long) == 8 ? "i64" : "i32"));
    CHECK(description<char8_t>() == "char8");
    CHECK(description<char16_t>() == "char16");
    CHECK(description<char32_t>() == "char32");
    CHECK(description<wchar_t>() == "wchar32");
    CHECK(description<float>() == "f32");
    CHECK(description<const volatile double>() == "f64");
    CHECK(description<app::colour>() == "app::colour:u8");
    CHECK(description<std::byte>() == "std::byte:u8");
    CHECK(description<int[2][3]>() == "i32[2][3]");
}

TEST_CASE("structs by their members") {
    CHECK(description<app::vec>() == "app::vec{x@0 f32;y@4 f32}8");
    CHECK(description<app::body>() == "app::body{pos@0 app::vec{x@0 f32;y@4 f32}8;weight@8 i32;"
                                      "tint@12 app::colour:u8;name@13 char[3][5]}28");
    CHECK(description<app::node>() ==
          "app::node{value@0 i32;next@8 offset_ptr<app::node>;text@16 offset_ptr<char[4]>}24");
    CHECK(description<app::tree>() == "app::tree{value@0 i32;children@8 ring<app::tree>}16");
    CHECK(description<app::bill>() ==
          "app::bill{total@0 app::money{}8;lines@8 ring<app::vec{x@0 f32;y@4 f32}8>}16");
    CHECK(description<app::wide>() == "app::wide{a@0 i32}32^32");
    CHECK(description<app::empty>() == "app::empty{}1");
    CHECK(description<hidden>() == "(anonymous)::hidden{a@0 bool}1");
    CHECK(description<app::v1::versioned>() == "app::v1::versioned{a@0 i16}2");
    const bool leaves_out = cohold::detail::own_spelling == 1;
    CHECK(description<app::versioned>() ==
          (leaves_out ? "app::versioned{a@0 i16}2" : "app::v2::versioned{a@0 i16}2"));
    CHECK(description<app::generic<std::uint64_t, 2>>() == "app::generic<u64,2>{value@0 u64[2]}16");
    CHECK(description<app::generic<unsigned short, 3>::inner>() ==
          "app::generic<u16,3>::inner{value@0 u16}2");

    CHECK(description<app::values<1U, -2L, 'c', '\0', '\n', '\'', '\\', '{', true>>() ==
          "app::values<1,-2,99,0,10,39,92,123,true>{a@0 char}1");
    CHECK(description<
              app::values<std::uint8_t{200}, std::int8_t{-1}, short{3}, u8'A', char16_t{300}>>() ==
          "app::values<200,-1,3,65,300>{a@0 char}1");
    CHECK(description<app::values<app::colour::green, static_cast<app::colour>(9)>>() ==
          "app::values<app::colour::green,(app::colour)9>{a@0 char}1");

    struct local {
        int a;
    };

    CHECK(description<local>() == "local{a@0 i32}4");
    CHECK(description<decltype(app::make_local(2.5F))>() == "local{a@0 f32}4");
    CHECK(description<decltype(app::make_local(1) < 2)>() == "inner{b@0 i32}4");
    CHECK(description<decltype(app::closure())>() == "local{a@0 i32}4");
    CHECK(description<decltype(app::around::unnamed)::named>() == "app::around::named{a@0 i32}4");
    CHECK(description<app::values<static_cast<char>(-56)>>() == "app::values<200>{a@0 char}1");
}

TEST_CASE("types that 32-bit programs lay out differently are told apart, others are not") {
    CHECK(description<app::mixed>() == (alignof(double) == 8 ? "app::mixed{a@0 i32;d@8 f64}16"
                                                             : "app::mixed{a@0 i32;d@4 f64}12"));
    CHECK(description<app::two_doubles>() == "app::two_doubles{a@0 f64;b@8 f64}16");
    const bool usual = alignof(double) == 8;
    CHECK(description<app::both<std::int32_t, double>>() ==
          (usual ? "both<i32,f64>" : "both<std::pair{first@0 i32;second@4 f64}12>"));
    CHECK(description<app::both<double, std::int32_t>>() ==
          (usual ? "both<f64,i32>" : "both<std::pair{first@0 f64;second@8 i32}12>"));
    CHECK(description<app::both<std::int32_t, app::vec>>() ==
          "both<i32,app::vec{x@0 f32;y@4 f32}8>");
    CHECK(description<app::both<double, double>>() == "both<f64,f64>");
    CHECK(description<app::both<char, app::wide>>() == "both<char,app::wide{a@0 i32}32^32>");
    CHECK(description<app::both<std::int32_t, app::low>>() ==
          "both<std::pair{first@0 i32;second@4 app::low{a@0 i64}8}12>");
    CHECK(name<app::both<std::int32_t, app::low>>() == "both<i32,app::low>");
}

TEST_CASE("standard types by their parts") {
    using namespace std::chrono;
    CHECK(description<std::pair<char, app::vec>>() ==
          "std::pair{first@0 char;second@4 app::vec{x@0 f32;y@4 f32}8}12");
    CHECK(description<std::array<app::colour, 3>>() == "std::array<app::colour:u8,3>");
    CHECK(description<std::optional<float>>() == "std::optional{value@0 f32;has_value@4 bool}8");
    CHECK(description<std::complex<float>>() == "std::complex<f32>");
    CHECK(description<std::atomic<std::uint32_t>>() == "std::atomic<u32>");
    CHECK(description<duration<std::int64_t, std::milli>>() == "std::chrono::duration<i64,1/1000>");
    CHECK(description<time_point<steady_clock, duration<float>>>() ==
          "std::chrono::time_point<std::chrono::steady_clock,std::chrono::duration<f32,1/1>>");
    CHECK(description<time_point<system_clock, duration<std::int64_t, std::ratio<60>>>>() ==
          "std::chrono::time_point<std::chrono::system_clock,std::chrono::duration<i64,60/1>>");
    CHECK(description<year_month_day>() == "std::chrono::year_month_day{}4");
}

TEST_CASE("names for people") {
    CHECK(name<int[3]>() == "i32[3]");
    CHECK(name<app::body>() == "app::body");
    CHECK(name<app::colour>() == "app::colour");
    CHECK(name<app::ring<app::vec>>() == "ring<app::vec>");
    CHECK(name<std::pair<int, app::vec>>() == "std::pair<i32,app::vec>");
    CHECK(name<std::array<std::optional<app::vec>, 2>>() ==
          "std::array<std::optional<app::vec>,2>");
    CHECK(name<offset_ptr<app::vec>>() == "offset_ptr<app::vec>");
    CHECK(name<offset_ptr<void>>() == "offset_ptr<void>");
}

TEST_CASE("the members of a pair and an optional are where the description says") {
    std::pair<char, double> p;
    const auto distance = reinterpret_cast<char*>(&p.second) - reinterpret_cast<char*>(&p);
    CHECK(description<decltype(p)>().find("second@" + std::to_string(distance) + " ") !=
          std::string::npos);
    std::optional<double> o = 1.0;
    CHECK(static_cast<void*>(&*o) == static_cast<void*>(&o));
    o.reset();
    unsigned char before[sizeof(o)];
    std::memcpy(before, &o, sizeof(o));
    o = 1.0;
    CHECK(before[sizeof(double)] == 0);
    std::memcpy(before, &o, sizeof(o));
    CHECK(before[sizeof(double)] == 1);
}

TEST_CASE("the hash is that of the description") {
    CHECK(type_descriptor_of<int>.hash == cohold::detail::hash64("i32"));
    CHECK(type_descriptor_of<int>.hash == type_descriptor_of<const int>.hash);
    CHECK(type_descriptor_of<int>.hash != type_descriptor_of<unsigned>.hash);
    CHECK(cohold::detail::hash64("") == 0xefd01f60ba992926);
    CHECK(type_descriptor_of<app::body>.hash == 3840813852829398698U);
}
