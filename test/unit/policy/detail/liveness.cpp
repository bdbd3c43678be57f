// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/detail/liveness.hpp>

#include <cstddef>
#include <string>
#include <type_traits>

#include <sys/mman.h>
#include <sys/resource.h>

#include <doctest/doctest.h>

#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/system_v.hpp>

#include "support/child.hpp"
#include "support/seccomp.hpp"

using namespace cohold;
using detail::file_liveness;

namespace {

// Users' mechanisms, as far as it matters here.
struct with_descriptor {
    using native_handle_type = file_descriptor;
};

struct with_something {
    using native_handle_type = int;
};

struct with_liveness : with_something {
    struct liveness {
        struct gate {};
    };
};

struct with_ungated_liveness : with_descriptor {
    struct liveness {};
};

class memory_file {
  public:
    memory_file() : native{::memfd_create("cohold-test", MFD_CLOEXEC)} {
        REQUIRE(static_cast<bool>(native));
    }

    memory_file(const memory_file&) = delete;
    memory_file& operator=(const memory_file&) = delete;

    ~memory_file() { ::close(native.value); }

    [[nodiscard]] void* claim(std::uint32_t slot, std::error_code& ec) const {
        liveness_token token;
        return file_liveness::claim(native, slot, token, ec);
    }

    [[nodiscard]] void* claim(std::uint32_t slot) const {
        std::error_code ec;
        void* const page = claim(slot, ec);
        INFO(last_failure().what());
        CHECK_FALSE(ec);
        return page;
    }

    [[nodiscard]] verdict probe(std::uint32_t slot) const {
        return file_liveness::probe(native, slot, {});
    }

    const file_descriptor native;
};

void let_go(void* page) {
    ::munmap(page, detail::page_size());
}

} // namespace

TEST_CASE("every mechanism has a liveness; users' mechanisms have their own or a default") {
    using detail::claim_gate;
    using detail::liveness_of;
    using std::is_same_v;
    static_assert(is_same_v<liveness_of<mechanism::posix>, file_liveness>);
    static_assert(is_same_v<liveness_of<mechanism::file>, file_liveness>);
    static_assert(is_same_v<liveness_of<mechanism::tmpfs>, file_liveness>);
    static_assert(is_same_v<liveness_of<mechanism::memfd>, file_liveness>);
    static_assert(is_same_v<liveness_of<mechanism::anonymous>, detail::anonymous_liveness>);
    static_assert(is_same_v<liveness_of<mechanism::system_v>, detail::system_v_liveness>);
    static_assert(is_same_v<claim_gate<mechanism::system_v>, detail::system_v_liveness::gate>);
    static_assert(is_same_v<liveness_of<with_descriptor>, file_liveness>);
    static_assert(is_same_v<liveness_of<with_something>, detail::no_liveness>);
    static_assert(is_same_v<liveness_of<with_liveness>, with_liveness::liveness>);
    static_assert(is_same_v<claim_gate<with_liveness>, with_liveness::liveness::gate>);
    static_assert(is_same_v<claim_gate<with_ungated_liveness>, detail::open_gate>);
    static_assert(is_same_v<claim_gate<with_descriptor>, detail::open_gate>);
    static_assert(is_same_v<claim_gate<with_something>, detail::open_gate>);
}

TEST_CASE("a slot belongs to its claimant until the page is unmapped") {
    const memory_file file;
    CHECK(file.probe(0) == verdict::dead);
    void* const page = file.claim(0);
    REQUIRE(page != nullptr);
    CHECK(file.probe(0) == verdict::alive);
    CHECK(file.claim(0) == nullptr);
    CHECK(file.probe(1) == verdict::dead);
    void* const last = file.claim(4000);
    REQUIRE(last != nullptr);
    CHECK(file.probe(4000) == verdict::alive);
    let_go(page);
    CHECK(file.probe(0) == verdict::dead);
    CHECK(file.probe(4000) == verdict::alive);
    void* const again = file.claim(0);
    REQUIRE(again != nullptr);
    CHECK(file.probe(0) == verdict::alive);
    let_go(again);
    let_go(last);
    CHECK(detail::lock_held(file.native.value, detail::lock_byte::gate) == 0);
}

TEST_CASE("a read lock keeps others away, but makes nobody alive") {
    const memory_file file;
    const detail::unique_fd reader = detail::reopen_file(file.native.value, O_RDONLY);
    REQUIRE(detail::lock_file(reader.get(), detail::participant_byte(3), detail::lock_kind::shared,
                              false) == 0);
    CHECK(file.probe(3) == verdict::dead);
    CHECK(file.claim(3) == nullptr);
}

TEST_CASE("the lock needs no descriptor, and the page cannot be touched") {
    support::check_child([] {
        const memory_file file;
        void* const page = file.claim(0);
        CHILD_CHECK(::close_range(3, ~0u, 0) == 0);
        CHILD_CHECK(file.probe(0) == verdict::unknown);
        std::error_code ec;
        CHILD_CHECK(file.claim(1, ec) == nullptr);
        CHILD_CHECK(ec == errc::empty_handle);
        CHILD_CHECK(::mprotect(page, detail::page_size(), PROT_READ) == 0); // it is there
    });
    const memory_file file;
    void* const page = file.claim(0);
    const support::ending how =
        support::run_child([page] { *static_cast<volatile char*>(page) = 1; });
    CHECK((how.signal == SIGSEGV || how.code > 1)); // sanitizers exit
    let_go(page);
}

TEST_CASE("the number of descriptors does not grow with the number of claims") {
    support::check_child([] {
        const ::rlimit few{1024, 1024};
        CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &few) == 0);
        const memory_file file;
        for (std::uint32_t slot = 0; slot < 1000; ++slot) {
            CHILD_CHECK(file.claim(slot) != nullptr);
        }
        for (std::uint32_t slot = 0; slot < 1000; ++slot) {
            CHILD_CHECK(file.probe(slot) == verdict::alive);
        }
        const detail::unique_fd next = detail::open_file("/dev/null", O_RDONLY);
        CHILD_CHECK(next.get() == file.native.value + 1);
    });
}

TEST_CASE("a claim that fails says why") {
    support::check_child([] {
        const memory_file file;
        std::error_code ec;
        const ::rlimit none{static_cast<rlim_t>(file.native.value) + 1, 1024};
        CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        CHILD_CHECK(file.claim(0, ec) == nullptr);
        CHILD_CHECK(ec == std::errc::too_many_files_open);
        CHILD_CHECK(file.probe(0) == verdict::dead);
    });
    CHECK(file_liveness::probe({-1}, 0, {}) == verdict::unknown);
}

TEST_CASE(
    "a process without the right to open the file cannot claim; anonymous memory needs none") {
    if (::geteuid() != 0) {
        return;
    }
    std::error_code ec;
    anonymous_memory memory = mechanism::anonymous::create(
        {.reserve = 4096, .mode = 0600, .group = std::nullopt, .formatted = false}, ec);
    REQUIRE_FALSE(ec);
    support::check_child([&] {
        const memory_file file;
        CHILD_CHECK(::fchmod(file.native.value, 0600) == 0);
        CHILD_CHECK(::setgid(65534) == 0 && ::setuid(65534) == 0);
        CHILD_CHECK(file.claim(0, ec) == nullptr);
        CHILD_CHECK(ec == errc::permission_denied);
        CHILD_CHECK(std::string(last_failure().what()).find("65534") != std::string::npos);
        CHILD_CHECK(file.probe(0) == verdict::dead);
        ec.clear();
        liveness_token token;
        CHILD_CHECK(mechanism::anonymous::liveness::claim(memory, 0, token, ec) != nullptr);
        CHILD_CHECK(mechanism::anonymous::liveness::probe(memory, 0, token) == verdict::alive);
        CHILD_CHECK(!ec);
    });
    mechanism::anonymous::close(memory);
}

TEST_CASE(
    "where locks are refused, the claim fails with that reason, and nobody is taken for dead") {
    support::check_child([] {
        const memory_file file;
        void* const page = file.claim(0);
        CHILD_CHECK(page != nullptr);
        support::refuse_locks();
        CHILD_CHECK(file.probe(0) == verdict::unknown);
        std::error_code ec;
        CHILD_CHECK(file.claim(1, ec) == nullptr);
        CHILD_CHECK(ec == errc::locks_unsupported);
        CHILD_CHECK(std::string(last_failure().what()).find("errno 22") != std::string::npos);
    });
}

TEST_CASE("a forked child keeps an inherited lock: so a twin reveals forks") {
    const memory_file file;
    for (const bool inherited : {false, true}) {
        for (const bool by_descriptor : {false, true}) {
            std::error_code ec;
            int ends[2];
            REQUIRE(::pipe(ends) == 0);
            const pid_t child = [&] {
                detail::lock_page page;
                CHECK(page.lock(file.native, detail::twin_byte(1), inherited, ec));
                CHECK_FALSE(ec);
                if (!by_descriptor) {
                    page.close_descriptor();
                }
                const pid_t forked = ::fork();
                if (forked == 0) {
                    char nothing = 0;
                    ::close(ends[1]);
                    ::_exit(::read(ends[0], &nothing, 1) != 0);
                }
                return forked;
            }();
            REQUIRE(child > 0);
            CHECK(detail::lock_held(file.native.value, detail::twin_byte(1)) ==
                  (inherited || by_descriptor ? 1 : 0));
            ::close(ends[1]);
            int status = 1;
            CHECK(::waitpid(child, &status, 0) == child);
            CHECK(status == 0);
            CHECK(detail::lock_held(file.native.value, detail::twin_byte(1)) == 0);
            ::close(ends[0]);
        }
    }
}

TEST_CASE("without a way to ask the kernel, every participant is alive") {
    liveness_token token;
    std::error_code ec;
    void* const page = detail::no_liveness::claim(0, 0, token, ec);
    CHECK_FALSE(ec);
    REQUIRE(page != nullptr);
    CHECK(detail::no_liveness::probe(0, 0, token) == verdict::alive);
    let_go(page);
    CHECK(detail::no_liveness::probe(0, 0, token) == verdict::alive);
}
