// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/memfd.hpp>

#include <ostream>
#include <string>

#include <doctest/doctest.h>

using namespace cohold;

static_assert((seal::grow | seal::seals) == static_cast<seal>(5));
static_assert(((seal::grow | seal::seals) & seal::grow) == seal::grow);
static_assert((seal::grow & seal::shrink) == seal::none);

namespace {

struct memory {
    explicit memory(unsigned flags = MFD_ALLOW_SEALING)
        : file{detail::memory_file(flags).release()} {
        REQUIRE(::ftruncate(file.value, 8192) == 0);
    }

    memory(const memory&) = delete;
    memory& operator=(const memory&) = delete;

    ~memory() { ::close(file.value); }

    file_descriptor file;
};

bool has(seal all, seal one) {
    return (all & one) == one;
}

} // namespace

TEST_CASE("seals are permanent, and can be relied upon") {
    const memory object;
    CHECK_FALSE(has(seals_of(object.file), seal::grow));
    std::error_code ec;
    require_seals(object.file, seal::grow | seal::shrink, ec);
    CHECK(ec == errc::unsealed);
    CHECK(ec == std::errc::permission_denied);
    CHECK(std::string(last_failure().what()).find("0x6 expected") != std::string::npos);
    CHECK_THROWS_AS(require_seals(object.file, seal::grow), failure);

    add_seals(object.file, seal::shrink | seal::grow);
    require_seals(object.file, seal::grow | seal::shrink);
    require_seals(object.file, seal::none);
    CHECK(::ftruncate(object.file.value, 4096) != 0);
    CHECK(::ftruncate(object.file.value, 16384) != 0);

    add_seals(object.file, seal::future_write);
    CHECK(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, object.file.value, 0) ==
          MAP_FAILED);

    add_seals(object.file, seal::seals, ec);
    CHECK_FALSE(ec);
    add_seals(object.file, seal::exec, ec); // this kernel has no more; newer ones have it
    CHECK((ec == errc::permission_denied));
    CHECK(std::string(last_failure().what()).find("0x20") != std::string::npos);
    CHECK_THROWS_AS(add_seals(object.file, seal::grow), failure);
}

TEST_CASE("objects that cannot be sealed") {
    std::error_code ec;
    const memory object;
    add_seals(object.file, static_cast<seal>(0x40000000), ec);
    CHECK(ec == errc::unsupported);

    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const file_descriptor pipe{ends[0]};
    CHECK(seals_of(pipe, ec) == seal::none);
    CHECK(ec == errc::unsupported);
    require_seals(pipe, seal::shrink, ec);
    CHECK(ec == errc::unsealed);
    add_seals(pipe, seal::shrink, ec);
    CHECK((ec == errc::unsupported || ec == errc::permission_denied));
    ::close(ends[0]);
    ::close(ends[1]);

    const file_descriptor closed{ends[0]};
    CHECK_THROWS_AS((void)seals_of(closed), failure);
    require_seals(closed, seal::shrink, ec);
    CHECK(ec == errc::unsealed);
    add_seals(closed, seal::shrink, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
}
