// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/stored_objects.hpp>

#include <string>
#include <thread>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE_TEMPLATE("the contents of a segment", Mechanism, mechanism::posix, mechanism::system_v) {
    using own_segment = segment<Mechanism>;
    const std::string name = support::own_name("contents");
    {
        const auto made =
            own_segment::create(name, segment_options{.size = 65536, .reserve = 1 << 24});
        segment_contents found = inspect_contents<Mechanism>(name);
        CHECK(found.is_good());
        CHECK(found.is_mendable());
        CHECK(found.objects.empty());
        CHECK(found.heap.complete);
        made.template construct<shm_vector<int>>("many").resize(100000); // it grows
        found = inspect_contents<Mechanism>(name);
        CHECK(found.is_good());
        CHECK(found.state.size == made.size());
        CHECK(found.heap.used == made.used());
        CHECK(found.objects.size() == 1);
        CHECK(found.journals.size() == 1);
        CHECK(inspect_contents(made.native_handle()).objects.size() == 1);
    }
    CHECK(inspect_contents<Mechanism>(name).is_good());
    // A dead process has left something, and recovery removes it.
    const support::ending how = support::run_child([&] {
        static auto kept = own_segment::open(name);
        std::error_code ec;
        auto* const many = kept.template find<shm_vector<int>>("many");
        auto& header =
            *static_cast<detail::segment_header*>(const_cast<void*>(kept.mapping().address()));
        static detail::section open(detail::self(header, ec), true);
        many->push_back(1);
        ::raise(SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    segment_contents found = inspect_contents<Mechanism>(name);
    CHECK_FALSE(found.is_good());
    CHECK(found.is_mendable());
    CHECK(found.flaws.size() == 1);
    REQUIRE(found.journals.size() == 1);
    CHECK(found.journals[0].records != 0);
    CHECK(own_segment::open(name).recover() == 0); // opening did it
    CHECK(inspect_contents<Mechanism>(name).is_good());
    CHECK(own_segment::remove(name));
    std::error_code ec;
    static_cast<void>(inspect_contents<Mechanism>(name, ec));
    CHECK(ec == errc::not_found);
    CHECK_THROWS_AS(static_cast<void>(inspect_contents<Mechanism>(name)), failure);
}

TEST_CASE("changes under way are not taken for damage") {
    const auto made = segment<mechanism::memfd>::create(1 << 20);
    std::atomic<bool> done{false};
    std::thread worker([&] {
        for (unsigned i = 0; !done; ++i) {
            const std::string name = "x" + std::to_string(i % 50);
            made.find_or_construct<shm_vector<int>>(name).resize(i % 1000);
            if (i % 3 == 0) {
                made.destroy<shm_vector<int>>(name);
            }
        }
    });
    for (int i = 0; i < 30; ++i) {
        const segment_contents found = inspect_contents(made.native_handle());
        CHECK(found.readable);
        for (const segment_flaw& each : found.flaws) {
            FAIL_CHECK(each.what);
        }
    }
    done = true;
    worker.join();
    CHECK(inspect_contents(made.native_handle()).is_good());
}

TEST_CASE("contents that cannot be read say why") {
    const detail::unique_fd file = detail::memory_file(0);
    const segment_contents found = inspect_contents(file_descriptor{file.get()});
    CHECK_FALSE(found.readable);
    CHECK_FALSE(found.is_good());
    CHECK_FALSE(found.is_mendable());
    CHECK(found.state.problem == errc::not_a_segment);
    CHECK_FALSE(inspect_contents(system_v_id{0x7ffffff0}).readable);
}
