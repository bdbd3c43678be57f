// The promises of every legal combination of mechanism, naming and permission, as tests over the
// combination. A program names its combinations with CONTRACT_FOR(list of combination<…>).
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_CONTRACT_HPP
#define COHOLD_TEST_SUPPORT_CONTRACT_HPP

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <list>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <sys/resource.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/place.hpp"
#include "support/process.hpp"

namespace support {

using cohold::errc;
using cohold::shm_vector;

inline constexpr cohold::segment_options small{.size = 65536, .reserve = std::size_t{8} << 20};
inline constexpr cohold::segment_options small_session{
    .size = 65536, .reserve = std::size_t{8} << 20, .lifetime = cohold::lifetime::session};

using table = shm_vector<shm_vector<std::int32_t>>;

struct record {
    std::int32_t id;
    shm_vector<std::int32_t> numbers;
    std::array<shm_vector<char>, 2> texts;
};

struct counter {
    std::atomic<std::int32_t> value;
};

// Constructs further objects in the segment in which it is being constructed.
struct founder {
    template <class Segment>
    explicit founder(const Segment& segment)
        : value(segment.template construct<std::int32_t>("founded", 41) + 1) {}

    std::int32_t value;
};

// Has allocated memory when it throws.
struct half_made {
    explicit half_made(bool whole) : numbers(1000, 1), value(1) {
        if (!whole) {
            throw std::runtime_error("half made");
        }
    }

    shm_vector<std::int32_t> numbers;
    std::int32_t value;
};

} // namespace support

template <>
inline constexpr bool cohold::enable_shareable<support::founder> = true;
template <>
inline constexpr bool cohold::enable_shareable<support::half_made> = true;

namespace support {

inline void fill(table& rows) {
    rows.resize(3);
    for (std::int32_t i = 0; i < 1000; ++i) {
        rows[static_cast<std::size_t>(i) % 3].push_back(i);
    }
    rows.push_back(rows[1]);
}

[[nodiscard]] inline bool filled(const table& rows) {
    EXPECT(rows.size() == 4);
    EXPECT(rows[0].size() == 334 && rows[1].size() == 333 && rows[2].size() == 333);
    EXPECT(rows[3] == rows[1] && rows[3].data() != rows[1].data());
    for (std::int32_t i = 0; i < 1000; ++i) {
        EXPECT(rows[static_cast<std::size_t>(i) % 3][static_cast<std::size_t>(i) / 3] == i);
    }
    for (const auto& row : rows) {
        EXPECT(row.get_allocator() == rows.get_allocator());
    }
    return true;
}

inline void fill(record& object) {
    object.id = 7;
    object.numbers.assign(100, 8);
    object.texts[1].assign(50, 'x');
}

[[nodiscard]] inline bool filled(const record& object) {
    EXPECT(object.id == 7);
    EXPECT(object.numbers.size() == 100 && object.numbers[99] == 8);
    EXPECT(object.texts[0].empty());
    EXPECT(object.texts[1].size() == 50 && object.texts[1][49] == 'x');
    return true;
}

// Do both forms report this code, one by an exception, the other by its argument and
// last_failure()?
template <class Throwing, class Quiet>
[[nodiscard]] bool fails(errc code, const Throwing& throwing, const Quiet& quiet) {
    std::error_code thrown;
    try {
        throwing();
    } catch (const cohold::failure& failure) {
        thrown = failure.code();
        EXPECT(std::strlen(failure.what()) > 10);
    }
    std::error_code set;
    quiet(set);
    if (thrown != code || set != code || cohold::last_failure().code() != code) {
        std::fprintf(stderr, "expected '%s', thrown '%s', set '%s', last '%s'\n",
                     make_error_code(code).message().c_str(), thrown.message().c_str(),
                     set.message().c_str(), cohold::last_failure().what());
        return false;
    }
    return true;
}

// A segment that is removed at the end of the test.
template <class C, class Handle = typename C::segment>
class temporary {
  public:
    template <class... Arguments>
    explicit temporary(const cohold::segment_options& options, Arguments&&... arguments)
        : handle_(make(options, std::forward<Arguments>(arguments)...)) {}

    temporary(const temporary&) = delete;
    temporary& operator=(const temporary&) = delete;

    ~temporary() {
        if constexpr (C::named) {
            std::error_code ec;
            Handle::remove(C::name(), ec);
            CHECK_FALSE(ec);
        }
    }

    Handle& operator*() { return handle_; }

    Handle* operator->() { return &handle_; }

    // The same object through another handle and another mapping.
    template <class Other = Handle>
    [[nodiscard]] Other again() const {
        if constexpr (C::named) {
            if constexpr (requires { typename Other::read_only_type; }) {
                return Other::open(C::name());
            } else {
                return Other::open(C::name(), cohold::read_only);
            }
        } else {
            return Other::adopt(duplicate(handle_.native_handle()));
        }
    }

  private:
    template <class... Arguments>
    static Handle make(const cohold::segment_options& options, Arguments&&... arguments) {
        if constexpr (C::named) {
            return Handle::create(C::name(), options, std::forward<Arguments>(arguments)...);
        } else {
            return Handle::create(options, std::forward<Arguments>(arguments)...);
        }
    }

    Handle handle_;
};

// For named combinations: is there an object with this name?
template <class C>
[[nodiscard]] bool exists(const std::string& name) {
    std::error_code ec;
    const auto opened = C::memory_object::open(name, cohold::read_only, ec);
    CHECK((!ec || ec == errc::not_found));
    return !ec;
}

// Leaves nothing behind, however the test ends.
template <class C>
class cleanup {
  public:
    cleanup() = default;
    cleanup(const cleanup&) = delete;
    cleanup& operator=(const cleanup&) = delete;

    ~cleanup() {
        if constexpr (C::named) {
            std::error_code ec;
            C::memory_object::remove(C::name(), ec);
        }
    }
};

template <class Handle>
void check_handle_type() {
    static_assert(std::is_nothrow_default_constructible_v<Handle>);
    static_assert(std::is_nothrow_move_constructible_v<Handle>);
    static_assert(std::is_nothrow_move_assignable_v<Handle>);
    static_assert(std::is_nothrow_destructible_v<Handle>);
    static_assert(!std::is_copy_constructible_v<Handle> && !std::is_copy_assignable_v<Handle>);
    static_assert(!std::is_convertible_v<Handle, bool>); // the conversion is explicit
}

} // namespace support

TEST_CASE_TEMPLATE_DEFINE("contract: memory_object", C, contract_memory_object) {
    using namespace support;
    const cleanup<C> afterwards;
    using object = typename C::memory_object;
    using mechanism = typename C::mechanism;
    check_handle_type<object>();
    check_handle_type<typename object::read_only_type>();
    const auto make = [](std::size_t size) {
        if constexpr (C::named) {
            return object::create(C::name(), size);
        } else {
            return object::create(size);
        }
    };
    object empty;
    CHECK_FALSE(empty);
    CHECK(empty.size() == 0);
    CHECK(empty.name().empty());
    CHECK(fails(
        errc::empty_handle, [&] { (void)empty.map(); },
        [&](std::error_code& ec) { (void)empty.map(ec); }));
    CHECK(fails(
        errc::empty_handle, [&] { empty.grow(100); },
        [&](std::error_code& ec) { empty.grow(100, ec); }));

    object made = make(5000);
    REQUIRE(made);
    CHECK(made.size() >= 5000);
    CHECK(made.size() < 5000 + 65536);
    const cohold::mapped_region region = made.map();
    REQUIRE(region);
    CHECK(region.size() == made.size());
    CHECK(std::all_of(region.bytes().begin(), region.bytes().end(),
                      [](std::byte byte) { return byte == std::byte{0}; }));
    const cohold::mapped_region twin = made.map();
    const cohold::const_mapped_region reader = made.map(cohold::read_only);
    static_assert(std::is_same_v<decltype(reader.data()), const std::byte*>);
    CHECK(twin.data() != region.data());
    region.data()[4999] = std::byte{42};
    CHECK(twin.data()[4999] == std::byte{42});
    CHECK(reader.data()[4999] == std::byte{42});
    CHECK(mapping_of(region.data()).substr(0, 2) == "rw");
    CHECK(mapping_of(reader.data()).substr(0, 2) == "r-");
    CHECK(in_child([&] {
              const cohold::mapped_region inherited = made.map();
              EXPECT(inherited.data()[4999] == std::byte{42});
              inherited.data()[1] = std::byte{43};
              return true;
          }) == 0);
    CHECK(region.data()[1] == std::byte{43});

    if constexpr (mechanism::grows) {
        made.grow(100000);
        CHECK(made.size() == 100000);
        made.grow(10); // it is longer already
        CHECK(made.size() == 100000);
        const cohold::mapped_region grown = made.map();
        CHECK(grown.size() == 100000);
        CHECK(grown.data()[4999] == std::byte{42});
        CHECK(grown.data()[99999] == std::byte{0});
        grown.data()[0] = std::byte{44};
        CHECK(region.data()[0] == std::byte{44});
    } else {
        CHECK(fails(
            errc::unsupported, [&] { made.grow(1 << 20); },
            [&](std::error_code& ec) { made.grow(1 << 20, ec); }));
    }

    object moved = std::move(made);
    CHECK(moved);
    CHECK_FALSE(made); // NOLINT: the state after the move is promised
    CHECK(made.name().empty());
    made = std::move(moved);
    CHECK(made);
    const auto native = made.release();
    CHECK_FALSE(made);
    made = object::adopt(native);
    CHECK(made);
    CHECK(made.map().data()[1] == std::byte{43});
    CHECK(fails(
        errc::empty_handle, [] { (void)object::adopt({}); },
        [](std::error_code& ec) { (void)object::adopt({}, ec); }));

    if constexpr (C::named) {
        CHECK(object::remove(C::name()));
    }
    CHECK(region.data()[4999] == std::byte{42});
}

TEST_CASE_TEMPLATE_DEFINE("contract: names of memory_object", C, contract_names) {
    using namespace support;
    const cleanup<C> afterwards;
    using object = typename C::memory_object;
    if constexpr (C::named) {
        const std::string name = C::name();
        const auto fails_to_open = [&](errc code) {
            return fails(
                       code, [&] { (void)object::open(name); },
                       [&](std::error_code& ec) { (void)object::open(name, ec); }) &&
                   fails(
                       code, [&] { (void)object::open(name, cohold::read_only); },
                       [&](std::error_code& ec) {
                           (void)object::open(name, cohold::read_only, ec);
                       });
        };
        CHECK(fails_to_open(errc::not_found));
        CHECK_FALSE(object::remove(name));
        CHECK(fails(
            errc::invalid_name, [] { (void)object::create("", 100); },
            [](std::error_code& ec) { (void)object::create("", 100, ec); }));
        CHECK(fails(
            errc::invalid_name, [] { (void)object::open(std::string_view("a\0b", 3)); },
            [](std::error_code& ec) { (void)object::open(std::string_view("a\0b", 3), ec); }));
        CHECK(fails(
            errc::invalid_size, [&] { (void)object::create(name, 0); },
            [&](std::error_code& ec) { (void)object::create(name, 0, ec); }));
        CHECK(fails_to_open(errc::not_found));

        const object made = object::create(name, 100);
        CHECK(made.name() == name);
        CHECK_FALSE(made.is_removed());
        CHECK(fails(
            errc::already_exists, [&] { (void)object::create(name, 100); },
            [&](std::error_code& ec) { (void)object::create(name, 100, ec); }));
        const auto same = [first = made.status()](const auto& other) {
            return other.status().inode == first.inode && other.status().device == first.device;
        };
        CHECK(same(object::open(name)));
        CHECK(same(object::open(name, cohold::read_write)));
        const typename object::read_only_type reader = object::open(name, cohold::read_only);
        CHECK(same(reader));
        CHECK(same(object::open_or_create(name, 5000)));
        made.map().data()[99] = std::byte{1};
        CHECK(reader.map(cohold::read_only).data()[99] == std::byte{1});
        CHECK(in_child([&] {
                  const cohold::mapped_region region = object::open(name).map();
                  EXPECT(region.data()[99] == std::byte{1});
                  region.data()[98] = std::byte{2};
                  return true;
              }) == 0);
        CHECK(made.map().data()[98] == std::byte{2});

        CHECK(object::remove(name));
        CHECK_FALSE(object::remove(name));
        CHECK(fails_to_open(errc::not_found));
        const object second = object::open_or_create(name, 100);
        CHECK_FALSE(same(second));
        CHECK_FALSE(second.is_removed());
        CHECK(made.is_removed());
        CHECK(object::remove(name));
        CHECK(second.is_removed());
    }
}

TEST_CASE_TEMPLATE_DEFINE("contract: modes are exact, whatever the umask", C, contract_modes) {
    using namespace support;
    using mechanism = typename C::mechanism;
    for (const mode_t mask : {mode_t{0}, mode_t{0777}}) {
        const mode_t before = ::umask(mask);
        {
            temporary<C> made(small);
            ::umask(before);
            std::error_code ec;
            const cohold::object_status status = mechanism::status(made->native_handle(), ec);
            CHECK_FALSE(ec);
            if constexpr (!std::is_same_v<mechanism, cohold::mechanism::anonymous>) { // has no mode
                CHECK(status.mode == mode_t{C::permission::bits});
            }
            CHECK(status.owner == ::geteuid());
        }
        if constexpr (C::named) {
            ::umask(mask);
            const auto object = C::memory_object::create(C::name(), 100);
            ::umask(before);
            CHECK(object.status().mode == mode_t{C::permission::bits});
            CHECK(C::memory_object::remove(C::name()));
        }
        ::umask(before);
    }
}

TEST_CASE_TEMPLATE_DEFINE("contract: names of segments", C, contract_segment_names) {
    using namespace support;
    const cleanup<C> afterwards;
    using segment = typename C::segment;
    using view = typename C::segment_view;
    check_handle_type<segment>();
    check_handle_type<view>();
    if constexpr (C::named) {
        const std::string name = C::name();
        const auto fails_to_open = [&](errc code) {
            return fails(
                       code, [&] { (void)segment::open(name); },
                       [&](std::error_code& ec) { (void)segment::open(name, ec); }) &&
                   fails(
                       code, [&] { (void)segment::open(name, cohold::read_only); },
                       [&](std::error_code& ec) { (void)view::open(name, cohold::read_only, ec); });
        };
        CHECK(fails_to_open(errc::not_found));
        CHECK_FALSE(segment::remove(name));
        CHECK(fails(
            errc::invalid_size, [&] { (void)segment::create(name, 0); },
            [&](std::error_code& ec) { (void)segment::create(name, 0, ec); }));
        CHECK(fails_to_open(errc::not_found));

        // An object that is not a segment. It stays as it is.
        (void)C::memory_object::create(name, 100);
        CHECK(fails_to_open(errc::truncated));
        CHECK(C::memory_object::remove(name));
        C::memory_object::create(name, 8192).map().data()[0] = std::byte{1};
        CHECK(fails_to_open(errc::not_a_segment));
        CHECK(fails(
            errc::already_exists, [&] { (void)segment::create(name, small); },
            [&](std::error_code& ec) { (void)segment::create(name, small, ec); }));
        CHECK(C::memory_object::open(name).map().data()[0] == std::byte{1});
        CHECK(C::memory_object::remove(name));

        segment made = segment::create(name, small);
        CHECK(made);
        CHECK(made.name() == name);
        CHECK(made.size() == small.size);
        CHECK(made.capacity() == small.reserve);
        CHECK(made.used() == 0);
        CHECK(made.lifetime() == cohold::lifetime::persistent);
        CHECK_FALSE(made.is_removed());
        CHECK(fails(
            errc::already_exists, [&] { (void)segment::create(name, small); },
            [&](std::error_code& ec) { (void)segment::create(name, small, ec); }));
        made.template construct<std::int32_t>("number", 5);
        CHECK(*segment::open(name).template find<std::int32_t>("number") == 5);
        CHECK(*segment::open_or_create(name, small).template find<std::int32_t>("number") == 5);
        CHECK(*segment::open(name, cohold::read_only).template find<std::int32_t>("number") == 5);

        if constexpr (C::replaces) {
            const segment second = segment::replace(name, small);
            CHECK(made.is_removed());
            CHECK_FALSE(second.is_removed());
            CHECK(*made.template find<std::int32_t>("number") == 5);
            CHECK(segment::open(name).template find<std::int32_t>("number") == nullptr);
            second.template construct<std::int32_t>("number", 6);
            std::error_code ec;
            const segment third = segment::replace(name, small, ec);
            CHECK_FALSE(ec);
            CHECK(second.is_removed());
            third.template construct<std::int32_t>("number", 7);
            made = segment::open(name);
            CHECK(*made.template find<std::int32_t>("number") == 7);
        }

        CHECK(segment::remove(name));
        CHECK(made.is_removed());
        CHECK_FALSE(segment::remove(name));
        CHECK(made.template find<std::int32_t>("number") != nullptr); // those that have it keep it
        CHECK(fails_to_open(errc::not_found));
        const segment second = segment::open_or_create(name, small);
        CHECK(second.template find<std::int32_t>("number") == nullptr);
        CHECK(segment::remove(name));
        if constexpr (C::replaces) {
            (void)segment::replace(name, small); // there was none
            CHECK(segment::remove(name));
        }
        CHECK_FALSE(exists<C>(name));
    }
}

TEST_CASE_TEMPLATE_DEFINE("contract: handles move, and may be empty", C, contract_moves) {
    using namespace support;
    using segment = typename C::segment;
    segment empty;
    CHECK_FALSE(empty);
    CHECK(empty.size() == 0);
    CHECK(empty.capacity() == 0);
    CHECK(empty.used() == 0);
    CHECK(empty.name().empty());
    CHECK(empty.objects().empty());
    CHECK_FALSE(empty.template allocator<int>());
    CHECK(fails(
        errc::empty_handle, [&] { empty.template construct<std::int32_t>("a"); },
        [&](std::error_code& ec) { empty.template construct<std::int32_t>("a", ec); }));
    CHECK(fails(
        errc::empty_handle, [&] { (void)empty.template find<std::int32_t>("a"); },
        [&](std::error_code& ec) { (void)empty.template find<std::int32_t>("a", ec); }));
    CHECK(fails(
        errc::empty_handle, [&] { empty.grow(100); },
        [&](std::error_code& ec) { empty.grow(100, ec); }));
    CHECK(fails(
        errc::empty_handle, [] { (void)segment::adopt({}); },
        [](std::error_code& ec) { (void)segment::adopt({}, ec); }));
    CHECK_FALSE(typename C::segment_view());
    CHECK(typename C::template shared<std::int32_t>().get() == nullptr);

    temporary<C> made(small);
    std::int32_t& number = made->template construct<std::int32_t>("a", 5);
    segment moved = std::move(*made);
    CHECK_FALSE(*made);
    CHECK(made->size() == 0);
    CHECK(moved.template find<std::int32_t>("a") == &number); // the mapping has not moved
    *made = std::move(moved);
    CHECK_FALSE(moved); // NOLINT: the state after the move is promised
    CHECK(made->template find<std::int32_t>("a") == &number);
    segment& self = *made;
    *made = std::move(self);
    CHECK(made->template find<std::int32_t>("a") == &number);
}

TEST_CASE_TEMPLATE_DEFINE("contract: named objects", C, contract_named_objects) {
    using namespace support;
    temporary<C> made(small);
    const typename C::segment& here = *made;
    CHECK(here.template find<std::int32_t>("number") == nullptr);
    CHECK_FALSE(here.template destroy<std::int32_t>("number"));
    CHECK(here.objects().empty());
    std::int32_t& number = here.template construct<std::int32_t>("number", 5);
    CHECK(here.template find<std::int32_t>("number") == &number);
    CHECK(&here.template find_or_construct<std::int32_t>("number", 6) == &number);
    CHECK(number == 5);
    CHECK(fails(
        errc::already_exists, [&] { here.template construct<std::int32_t>("number"); },
        [&](std::error_code& ec) { here.template construct<std::int32_t>("number", ec, 3); }));
    CHECK(fails(
        errc::type_mismatch, [&] { (void)here.template find<double>("number"); },
        [&](std::error_code& ec) { (void)here.template find<double>("number", ec); }));
    CHECK(std::strstr(cohold::last_failure().what(), "f64") != nullptr);
    CHECK(std::strstr(cohold::last_failure().what(), "i32") != nullptr);
    CHECK(fails(
        errc::type_mismatch, [&] { here.template find_or_construct<double>("number"); },
        [&](std::error_code& ec) { here.template find_or_construct<double>("number", ec); }));
    CHECK(fails(
        errc::type_mismatch, [&] { here.template destroy<double>("number"); },
        [&](std::error_code& ec) { here.template destroy<double>("number", ec); }));
    CHECK(number == 5);
    CHECK(fails(
        errc::invalid_name, [&] { here.template construct<std::int32_t>(""); },
        [&](std::error_code& ec) { here.template construct<std::int32_t>("", ec); }));

    auto& array = here.template construct<std::array<std::int32_t, 100>>("array");
    CHECK(array[99] == 0);
    auto& plain = here.template construct<std::int32_t[3]>("plain array");
    CHECK(plain[2] == 0);
    auto& object = here.template construct<record>("record");
    fill(object);
    CHECK(filled(object));
    CHECK(here.template construct<founder>("founder", here).value == 42);
    CHECK(*here.template find<std::int32_t>("founded") == 41);

    const auto list = here.objects();
    REQUIRE(list.size() == 6);
    const auto described = std::find_if(list.begin(), list.end(),
                                        [](const auto& info) { return info.name == "array"; });
    REQUIRE(described != list.end());
    CHECK(described->bytes == 400);
    CHECK(described->type_name.find("array") != std::string::npos);

    // Exceptions leave nothing behind.
    const std::size_t used = here.used();
    CHECK_THROWS_AS(here.template construct<half_made>("half", false), std::runtime_error);
    CHECK_THROWS_AS(here.template find_or_construct<half_made>("half", false), std::runtime_error);
    CHECK(here.template find<half_made>("half") == nullptr);
    CHECK(here.used() == used);
    CHECK(here.objects().size() == 6);
    CHECK(here.template construct<half_made>("half", true).numbers[999] == 1);
    CHECK(here.template destroy<half_made>("half"));
    CHECK(here.used() == used);

    for (const char* name : {"number", "founded"}) {
        CHECK(here.template destroy<std::int32_t>(name));
        CHECK_FALSE(here.template destroy<std::int32_t>(name));
    }
    CHECK(here.template destroy<record>("record"));
    CHECK(here.template destroy<founder>("founder"));
    CHECK(here.template destroy<std::int32_t[3]>("plain array"));
    CHECK(here.objects().size() == 1);
    CHECK(here.used() < used);
}

TEST_CASE_TEMPLATE_DEFINE("contract: the heap and its containers", C, contract_heap) {
    using namespace support;
    temporary<C> made(small);
    const typename C::segment& here = *made;
    auto allocator = here.template allocator<std::int64_t>();
    REQUIRE(allocator);
    const auto first = allocator.allocate(100);
    const auto second = allocator.allocate(100000); // the segment grows
    CHECK(here.used() >= 100100 * 8);
    CHECK(here.size() > small.size);
    std::fill_n(first.get(), 100, 1);
    std::fill_n(second.get(), 100000, 2);
    CHECK(first[99] == 1);
    allocator.deallocate(first, 100);
    allocator.deallocate(second, 100000);
    CHECK(here.used() == 0);
    try {
        (void)allocator.allocate(std::size_t{4} << 20);
        FAIL_CHECK("more than the reserve was allocated");
    } catch (const cohold::failure& failure) {
        CHECK(failure.code() == errc::reserve_exceeded);
    }
    CHECK(here.used() == 0);

    auto& rows = here.template construct<table>("table");
    fill(rows);
    CHECK(filled(rows));
    shm_vector<std::int32_t> outside(here.template allocator<std::int32_t>());
    outside.assign(10, 3);
    CHECK(outside.get_allocator() == rows.get_allocator());
    rows.push_back(std::move(outside));
    CHECK(rows.back().size() == 10);
    auto& records = here.template construct<shm_vector<record>>("records");
    records.resize(5);
    fill(records[4]);
    records.push_back(records[4]);
    records.erase(records.begin(), records.begin() + 4);
    CHECK(filled(records[0]));
    CHECK(filled(records[1]));
    CHECK(here.template destroy<shm_vector<record>>("records"));
    CHECK(here.template destroy<table>("table"));
}

TEST_CASE_TEMPLATE_DEFINE("contract: two mappings in one process", C, contract_two_mappings) {
    using namespace support;
    temporary<C> made(small);
    typename C::segment& here = *made;
    const typename C::segment there = made.again();
    auto& mine = here.template construct<table>("table");
    auto* const other = there.template find<table>("table");
    REQUIRE(other != nullptr);
    CHECK(other != &mine);
    fill(*other);
    CHECK(filled(mine));
    CHECK(mine[0].data() != (*other)[0].data());
    CHECK(mine.get_allocator() != other->get_allocator());
    auto& long_one = here.template construct<shm_vector<std::int32_t>>("long");
    long_one.resize(100000, 3);
    CHECK(here.size() > small.size);
    CHECK(there.size() == here.size());
    auto* const long_other = there.template find<shm_vector<std::int32_t>>("long");
    REQUIRE(long_other != nullptr);
    CHECK(std::count(long_other->begin(), long_other->end(), 3) == 100000);
    there.grow(std::size_t{4} << 20);
    CHECK(here.size() == std::size_t{4} << 20);
    CHECK(fails(
        errc::reserve_exceeded, [&] { there.grow(std::size_t{9} << 20); },
        [&](std::error_code& ec) { there.grow(std::size_t{9} << 20, ec); }));

    // The first mapping is closed, the second stays valid.
    if constexpr (!C::named) {
        if constexpr (!std::is_same_v<typename C::mechanism, cohold::mechanism::system_v>) {
            here = {};
        }
    } else {
        here = {};
    }
    (*other)[2].push_back(-1);
    CHECK((*other)[2].back() == -1);
    CHECK(long_other->back() == 3);
}

TEST_CASE_TEMPLATE_DEFINE("contract: other processes", C, contract_processes) {
    using namespace support;
    temporary<C> made(small);
    const typename C::segment& here = *made;
    auto& rows = here.template construct<table>("table");
    auto& hits = here.template construct<counter>("hits", 0);
    // Through its own mapping, or through the inherited one.
    for (const bool inherited : {false, true}) {
        CHECK(in_child([&] {
                  const typename C::segment own = inherited ? std::move(*made) : made.again();
                  auto* const found = own.template find<table>("table");
                  EXPECT(found != nullptr);
                  EXPECT(inherited == (found == &rows));
                  found->clear();
                  fill(*found);
                  own.template construct<record>(inherited ? "inherited" : "opened").id = 9;
                  const std::size_t size = own.size() + (std::size_t{1} << 20);
                  own.template find_or_construct<shm_vector<char>>("much").resize(size, 'm');
                  EXPECT(own.size() > size);
                  return true;
              }) == 0);
        CHECK(filled(rows));
        const auto* const much = here.template find<shm_vector<char>>("much");
        REQUIRE(much != nullptr);
        CHECK(much->back() == 'm');
        CHECK(here.size() > much->size());
        CHECK(here.template find<record>(inherited ? "inherited" : "opened")->id == 9);
    }
    // All at once: allocations, names and atomics.
    std::list<child> workers;
    for (int i = 0; i < 4; ++i) {
        workers.emplace_back(content([&, i] {
            const typename C::segment own = made.again();
            const std::string mine = "worker " + std::to_string(i);
            for (std::int32_t round = 0; round < 100; ++round) {
                auto& vector = own.template construct<shm_vector<std::int32_t>>(mine);
                vector.assign(static_cast<std::size_t>(round), round);
                EXPECT(std::count(vector.begin(), vector.end(), round) == round);
                EXPECT(own.template destroy<shm_vector<std::int32_t>>(mine));
                ++own.template find<counter>("hits")->value;
            }
            return true;
        }));
    }
    for (child& worker : workers) {
        CHECK(status_of(worker) == 0);
    }
    CHECK(hits.value == 400);
    CHECK(here.objects().size() == 5);
}

TEST_CASE_TEMPLATE_DEFINE("contract: no address space", C, contract_no_addresses) {
    using namespace support;
    if (COHOLD_TEST_SANITIZED) {
        return; // sanitizers need the whole address space
    }
    temporary<C> made(small);
    CHECK(in_child([&] {
              const auto copy = [&] { // adopt closes what it refuses
                  if constexpr (C::named) {
                      return 0;
                  } else {
                      return duplicate(made->native_handle());
                  }
              };
              const auto first = copy();
              const auto second = copy();
              const ::rlimit limit{1 << 20, 1 << 20};
              EXPECT(::setrlimit(RLIMIT_AS, &limit) == 0);
              std::error_code ec;
              if constexpr (C::named) {
                  const typename C::segment opened = C::segment::open(C::name(), ec);
                  EXPECT(!opened);
              } else {
                  const typename C::segment adopted = C::segment::adopt(first, ec);
                  EXPECT(!adopted);
              }
              EXPECT(ec == errc::reserve_too_large);
              if constexpr (C::named) {
                  const auto view = C::segment::open(C::name(), cohold::read_only, ec);
                  EXPECT(!view);
              } else {
                  const auto view = C::segment_view::adopt(second, ec);
                  EXPECT(!view);
              }
              EXPECT(ec == errc::reserve_too_large);
              return true;
          }) == 0);
}

TEST_CASE_TEMPLATE_DEFINE("contract: read-only opening", C, contract_read_only) {
    using namespace support;
    using view = typename C::segment_view;
    temporary<C> made(small);
    fill(made->template construct<table>("table"));
    const view reader = made.template again<view>();
    const auto* const rows = reader.template find<table>("table");
    static_assert(std::is_same_v<decltype(rows), const table* const>);
    REQUIRE(rows != nullptr);
    CHECK(filled(*rows));
    CHECK(mapping_of(rows).substr(0, 2) == "r-");
    CHECK(mapping_of(made->template find<table>("table")).substr(0, 2) == "rw");
    CHECK(reader.template find<table>("nothing") == nullptr);
    CHECK(fails(
        errc::type_mismatch, [&] { (void)reader.template find<record>("table"); },
        [&](std::error_code& ec) { (void)reader.template find<record>("table", ec); }));
    CHECK(reader.objects().size() == 1);
    CHECK(reader.size() == made->size());
    CHECK(reader.capacity() == made->capacity());
    CHECK(reader.used() == made->used());
    // It sees later changes, including growth.
    made->template construct<shm_vector<char>>("much").resize(std::size_t{2} << 20, 'm');
    CHECK(reader.size() == made->size());
    CHECK(reader.template find<shm_vector<char>>("much")->back() == 'm');
    CHECK(in_child([&] {
              const view own = made.template again<view>();
              EXPECT(filled(*own.template find<table>("table")));
              return true;
          }) == 0);
    if constexpr (C::named) {
        const view opened = C::segment::open(C::name(), cohold::read_only);
        CHECK(filled(*opened.template find<table>("table")));
        CHECK(opened.name() == C::name());
        CHECK_FALSE(opened.is_removed());
    }
}

TEST_CASE_TEMPLATE_DEFINE("contract: shared", C, contract_shared) {
    using namespace support;
    const cleanup<C> afterwards;
    using rows = typename C::template shared<table>;
    using const_rows = typename C::template shared<const table>;
    check_handle_type<rows>();
    check_handle_type<const_rows>();
    static_assert(std::is_same_v<decltype(*std::declval<const const_rows&>()), const table&>);
    {
        temporary<C, rows> made(small, std::size_t{2});
        CHECK((*made)->size() == 2);
        (*made)->clear();
        fill(**made);
        CHECK(filled(**made));
        const rows there = made.again();
        CHECK(there.get() != made->get());
        CHECK(filled(*there));
        (*there)[0].assign(100000, 1); // grows
        CHECK((**made)[0].size() == 100000);
        CHECK(made->size() == there.size());
        (*there)[0].clear();
        const const_rows reader = made.template again<const_rows>();
        CHECK((*reader)[1].size() == 333);
        CHECK(mapping_of(reader.get()).substr(0, 2) == "r-");
        CHECK(in_child([&] {
                  const rows own = made.again();
                  own->push_back(own->back());
                  return true;
              }) == 0);
        CHECK((*made)->size() == 5);
        CHECK(reader->size() == 5);
        auto allocator = made->template allocator<char>();
        CHECK(allocator == (*made)->get_allocator());
        rows moved = std::move(*made);
        CHECK_FALSE(*made);
        CHECK(made->get() == nullptr);
        CHECK(moved->size() == 5);
        *made = std::move(moved);
        CHECK((*made)->size() == 5);
    }
    if constexpr (C::named) {
        using number = typename C::template shared<std::int32_t>;
        const std::string name = C::name();
        const auto fails_to_open = [&](errc code) {
            return fails(
                       code, [&] { (void)number::open(name); },
                       [&](std::error_code& ec) { (void)number::open(name, ec); }) &&
                   fails(
                       code, [&] { (void)number::open(name, cohold::read_only); },
                       [&](std::error_code& ec) {
                           (void)number::open(name, cohold::read_only, ec);
                       });
        };
        CHECK(fails_to_open(errc::not_found));
        {
            const number made = number::create(name, 5); // with the default options
            CHECK(*made == 5);
            CHECK(made.name() == name);
            CHECK(fails(
                errc::already_exists, [&] { (void)number::create(name, small, 6); },
                [&](std::error_code& ec) { (void)number::create(name, small, ec, 6); }));
            CHECK(*number::open_or_create(name, small, 6) == 5);
            std::error_code ec;
            CHECK(*number::open_or_create(name, ec, 6) == 5);
            CHECK_FALSE(ec);
            CHECK(*number::open(name, cohold::read_only) == 5);
            CHECK(fails(
                errc::type_mismatch, [&] { (void)rows::open(name); },
                [&](std::error_code& code) { (void)rows::open_or_create(name, small, code); }));
            if constexpr (C::replaces) {
                const number second = number::replace(name, small, 7);
                CHECK(*made == 5);
                CHECK(made.is_removed());
                CHECK(*number::open(name) == 7);
            }
        }
        CHECK(number::remove(name));
        CHECK_FALSE(number::remove(name));
        CHECK(*number::open_or_create(name, small, 8) == 8);
        CHECK(number::remove(name));
        (void)C::segment::create(name, small);
        CHECK(fails_to_open(errc::not_found)); // a segment without a root
        CHECK(C::segment::remove(name));
        using half = typename C::template shared<half_made>;
        CHECK_THROWS_AS((void)half::create(name, small, false), std::runtime_error);
        CHECK_FALSE(exists<C>(name));
        CHECK_THROWS_AS((void)half::open_or_create(name, small, false), std::runtime_error);
        CHECK_FALSE(exists<C>(name));
        CHECK(half::create(name, small, true)->value == 1);
        CHECK(half::remove(name));
    }
}

TEST_CASE_TEMPLATE_DEFINE("contract: sessions", C, contract_sessions) {
    using namespace support;
    const cleanup<C> afterwards;
    using segment = typename C::segment;
    if constexpr (C::has_sessions) {
        const std::string name = C::name();
        { // the last to detach removes it
            segment first = segment::create(name, small_session);
            CHECK(first.lifetime() == cohold::lifetime::session);
            segment second = segment::open(name);
            first = {};
            CHECK(exists<C>(name));
            typename C::segment_view third = segment::open(name, cohold::read_only);
            second = {};
            CHECK(exists<C>(name));
            third = {};
            CHECK_FALSE(exists<C>(name));
        }
        { // a process can be the last, too
            common<std::atomic<int>> step;
            segment first = segment::create(name, small_session);
            child other(content([&] {
                first = {}; // inherited: changes nothing
                const segment own = segment::open(name);
                *step = 1;
                await(*step, 2);
                return true;
            }));
            await(*step, 1);
            CHECK_FALSE(first.is_removed());
            first = {};
            CHECK(exists<C>(name));
            *step = 2;
            CHECK(status_of(other) == 0);
            CHECK_FALSE(exists<C>(name));
        }
        { // a forked child's destructor does nothing
            const segment first = segment::create(name, small_session);
            first.template construct<std::int32_t>("number", 5);
            CHECK(in_child([&] {
                      const segment inherited = std::move(const_cast<segment&>(first));
                      EXPECT(*inherited.template find<std::int32_t>("number") == 5);
                      return true;
                  }) == 0);
            CHECK_FALSE(first.is_removed());
            CHECK(*segment::open(name).template find<std::int32_t>("number") == 5);
        }
        CHECK_FALSE(exists<C>(name));
        // All processes are dead: the segment counts as absent.
        const auto leave_dead = [&] {
            common<std::atomic<int>> step;
            child dead(content([&] {
                const segment own = segment::create(name, small_session);
                own.template construct<std::int32_t>("number", 5);
                const segment twin = segment::open(name);
                *step = 1;
                await(*step, 2);
                return true;
            }));
            await(*step, 1);
            CHECK(segment::open(name).template find<std::int32_t>("number") != nullptr);
            CHECK(exists<C>(name));
            CHECK(kill_child(dead) == -SIGKILL);
        };
        leave_dead();
        CHECK(fails(
            errc::not_found, [&] { (void)segment::open(name); },
            [&](std::error_code& ec) { (void)segment::open(name, ec); }));
        leave_dead();
        {
            const segment fresh = segment::create(name, small_session);
            CHECK(fresh.template find<std::int32_t>("number") == nullptr);
        }
        leave_dead();
        {
            const segment fresh = segment::open_or_create(name, small_session);
            CHECK(fresh.template find<std::int32_t>("number") == nullptr);
        }
        leave_dead();
        CHECK(segment::remove(name));
        { // removed by name while attached: a new one with the name is a different segment
            const segment first = segment::create(name, small_session);
            CHECK(segment::remove(name));
            CHECK(first.is_removed());
            const segment second = segment::create(name, small);
            CHECK_FALSE(second.is_removed());
        }
        CHECK(exists<C>(name)); // the second is persistent, and independent of the first
        CHECK(segment::remove(name));
        using number = typename C::template shared<std::int32_t>;
        {
            const number made = number::create(name, small_session, 5);
            CHECK(*number::open(name) == 5);
        }
        CHECK_FALSE(exists<C>(name));
    } else if constexpr (C::named) {
        CHECK(fails(
            errc::unsupported, [] { (void)segment::create(C::name(), small_session); },
            [](std::error_code& ec) { (void)segment::create(C::name(), small_session, ec); }));
    }
}

// Tests for which the permission and the naming matter.
#define CONTRACT_OF_NAMES_FOR(...)                                                                 \
    TEST_CASE_TEMPLATE_APPLY(contract_names, __VA_ARGS__);                                         \
    TEST_CASE_TEMPLATE_APPLY(contract_modes, __VA_ARGS__);                                         \
    TEST_CASE_TEMPLATE_APPLY(contract_segment_names, __VA_ARGS__);                                 \
    TEST_CASE_TEMPLATE_APPLY(contract_read_only, __VA_ARGS__);                                     \
    TEST_CASE_TEMPLATE_APPLY(contract_shared, __VA_ARGS__);                                        \
    TEST_CASE_TEMPLATE_APPLY(contract_sessions, __VA_ARGS__)

// Tests of objects that are already open.
#define CONTRACT_OF_CONTENTS_FOR(...)                                                              \
    TEST_CASE_TEMPLATE_APPLY(contract_memory_object, __VA_ARGS__);                                 \
    TEST_CASE_TEMPLATE_APPLY(contract_moves, __VA_ARGS__);                                         \
    TEST_CASE_TEMPLATE_APPLY(contract_named_objects, __VA_ARGS__);                                 \
    TEST_CASE_TEMPLATE_APPLY(contract_heap, __VA_ARGS__);                                          \
    TEST_CASE_TEMPLATE_APPLY(contract_two_mappings, __VA_ARGS__);                                  \
    TEST_CASE_TEMPLATE_APPLY(contract_processes, __VA_ARGS__);                                     \
    TEST_CASE_TEMPLATE_APPLY(contract_no_addresses, __VA_ARGS__)

#endif
