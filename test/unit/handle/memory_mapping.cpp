// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/mapping.hpp>

#include <ostream>
#include <string>
#include <type_traits>

#include <doctest/doctest.h>

#include <cohold/handle/memory_object.hpp>
#include <cohold/handle/segment.hpp>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_trivially_copyable_v<memory_mapping>);

TEST_CASE("an empty mapping") {
    const memory_mapping none;
    CHECK(none.address() == nullptr);
    CHECK(none.size() == 0);
    std::error_code ec;
    none.apply({.populate = true}, ec);
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS(none.apply({}), failure);
    none.durable(ec);
    CHECK_FALSE(ec);
    CHECK(segment<>().mapping().address() == nullptr);
    CHECK(segment_view<>().mapping().size() == 0);
}

TEST_CASE("the mapping of a region and of a segment") {
    const auto object = memory_object<mechanism::memfd>::create(40000);
    const mapped_region region = object.map();
    CHECK(region.mapping().address() == region.data());
    CHECK(region.mapping().size() == 40000);
    region.mapping().apply({.populate = true, .threads = 2, .dump = false});
    const const_mapped_region constant = object.map(read_only);
    constant.mapping().apply({.populate = true}); // reads
    const auto one = segment<mechanism::memfd>::create(65536);
    const int& x = one.construct<int>("x", 7);
    const memory_mapping mapping = one.mapping();
    CHECK(mapping.size() == one.size());
    CHECK(mapping.address() < &x);
    one.grow(1 << 20);
    CHECK(one.mapping().size() == one.size());
    CHECK(mapping.size() == 65536);
    mapping.apply({.populate = true});
    segment_view<mechanism::memfd>::adopt({::dup(one.native_handle().value)})
        .mapping()
        .apply({.populate = true});
}

TEST_CASE("options that are fixed when a mapping is made") {
    const auto one = segment<mechanism::anonymous>::create();
    std::error_code ec;
    one.mapping().apply({.fork = false}, ec);
    CHECK(ec == errc::invalid_options);
    one.mapping().apply({.huge = huge_pages::hugetlb_2m}, ec);
    CHECK(ec == errc::invalid_options);
}

TEST_CASE("parts can be made durable") {
    const std::string path = "/tmp/" + support::own_name("durable");
    using object = memory_object<mechanism::file>;
    const auto file = object::create(path, 100000);
    object::remove(path);
    const mapped_region region = file.map();
    region.bytes()[70000] = std::byte{1};
    region.mapping().durable();
    region.mapping().durable(69999, 2);
    region.mapping().durable(0, 0);
    region.mapping().durable(100000, 0);
    std::error_code ec;
    region.mapping().durable(100000, 1, ec);
    CHECK(ec == errc::invalid_size);
    region.mapping().durable(1, SIZE_MAX, ec);
    CHECK(ec == errc::invalid_size);
    CHECK_THROWS_AS(region.mapping().durable(100001, 0), failure);
}
