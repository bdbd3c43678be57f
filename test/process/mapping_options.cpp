// What processes want from their mappings: with every mechanism, through everything that makes a
// mapping, as root and as an unprivileged user, with and without what the kernel needs for it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/process.hpp"
#include "support/seccomp.hpp"
#include "support/users.hpp"
#include "support/world.hpp"

using namespace cohold;

namespace {

constexpr uid_t nobody = 65534;

// The two worlds: the user that runs the test (perhaps root), and an unprivileged user there.
struct as_runner {
    template <class Body>
    static void run(const Body& body) {
        support::in_own_world([&] {
            support::mount_or_exit("ramfs", "/mnt", "mode=1777");
            body();
        });
    }
};

struct as_user {
    template <class Body>
    static void run(const Body& body) {
        support::in_own_world([&] {
            support::mount_or_exit("ramfs", "/mnt", "mode=1777");
            support::become(nobody);
            body();
        });
    }
};

#define WORLDS as_runner, as_user

// A child of a child, where assertions are lost.
template <class Body>
void nested(const Body& body) {
    support::child_check_child(body, __FILE__, __LINE__);
}

bool fails(std::error_code ec, std::error_code code, std::string_view says = "") {
    const std::string_view what = last_failure().what();
    if (ec != code || what.find(says) == std::string_view::npos) {
        std::fprintf(stderr, "expected '%s' (%s), found '%s'\n", code.message().c_str(),
                     std::string(says).c_str(), ec ? std::string(what).c_str() : "success");
        return false;
    }
    return true;
}

bool exists(const char* path) {
    struct ::stat found{};
    return ::lstat(path, &found) == 0;
}

template <class Mechanism>
constexpr const char* name = Mechanism::names == name_form::path ? "/dev/shm/object" : "object";

template <class Mechanism>
segment<Mechanism> create(const segment_options& options, std::error_code& ec) {
    if constexpr (Mechanism::names == name_form::none) {
        return segment<Mechanism>::create(options, ec);
    } else {
        return segment<Mechanism>::create(name<Mechanism>, options, ec);
    }
}

template <class Mechanism>
segment<Mechanism> create(const segment_options& options) {
    std::error_code ec;
    auto made = create<Mechanism>(options, ec);
    CHILD_CHECK(!ec || fails(ec, {}));
    return made;
}

template <class Mechanism>
void remove() {
    if constexpr (Mechanism::names != name_form::none) {
        CHILD_CHECK(segment<Mechanism>::remove(name<Mechanism>));
    }
}

constexpr std::size_t huge = 2 << 20;

// Everything that any kernel can do without privilege: little enough to be locked.
constexpr mapping_options much{.populate = true,
                               .threads = 2,
                               .huge = huge_pages::none,
                               .lock = memory_lock::on_fault,
                               .numa = {},
                               .dump = false,
                               .fork = false};

bool is_much(const memory_mapping& mapping) {
    const mapping_report found = report(mapping);
    EXPECT(found.resident >= mapping.size());
    EXPECT(found.locked >= mapping.size());
    EXPECT(found.lock_on_fault);
    EXPECT(!found.dumped);
    EXPECT(!found.inherited);
    return true;
}

} // namespace

TEST_CASE_TEMPLATE("every mechanism, however it is mapped", World, WORLDS) {
    World::run([] {
        const auto check = []<class Mechanism>(Mechanism) {
            const auto made =
                create<Mechanism>({.size = 65536, .reserve = 1 << 20, .mapping = much});
            CHILD_CHECK(is_much(made.mapping()));
            made.template construct<int>("x", 42);
            if constexpr (Mechanism::names != name_form::none) {
                using object = segment<Mechanism>;
                for (const auto& opened :
                     {object::open(name<Mechanism>, much),
                      object::open_or_create(name<Mechanism>, {.mapping = much})}) {
                    CHILD_CHECK(is_much(opened.mapping()));
                    CHILD_CHECK(*opened.template find<int>("x") == 42);
                }
                const auto view = object::open(name<Mechanism>, read_only, much);
                CHILD_CHECK(*view.template find<int>("x") == 42);
                CHILD_CHECK(is_much(view.mapping()));
                const auto plain = object::open(name<Mechanism>);
                CHILD_CHECK(report(plain.mapping()).inherited);
                plain.mapping().apply({.lock = memory_lock::now, .dump = false});
                CHILD_CHECK(report(plain.mapping()).locked >= plain.mapping().size());
                plain.mapping().unlock();
                CHILD_CHECK(report(plain.mapping()).locked == 0);
                remove<Mechanism>();
                const auto whole = object::open_or_create(name<Mechanism>, {.mapping = much});
                CHILD_CHECK(is_much(whole.mapping()));
                remove<Mechanism>();
            }
            made.grow(500000);
            made.mapping().apply({.populate = true});
        };
        check(mechanism::posix());
        check(mechanism::file());
        check(mechanism::tmpfs());
        check(mechanism::system_v());
        check(mechanism::memfd());
        check(mechanism::anonymous());
    });
}

TEST_CASE_TEMPLATE("a value, a raw object, a session", World, WORLDS) {
    World::run([] {
        const auto value = shared<int>::create("v", {.mapping = much}, 7);
        CHILD_CHECK(is_much(value.mapping()));
        CHILD_CHECK(is_much(shared<int>::open("v", much).mapping()));
        CHILD_CHECK(is_much(shared<int>::open("v", read_only, much).mapping()));
        CHILD_CHECK(is_much(shared<int>::open_or_create("v", {.mapping = much}, 8).mapping()));
        const int copy = ::dup(value.native_handle().value);
        CHILD_CHECK(is_much(shared<const int>::adopt({copy}, much).mapping()));
        CHILD_CHECK(shared<int>::remove("v"));
        const auto bytes = memory_object<mechanism::system_v>::create("b", 100000);
        CHILD_CHECK(is_much(bytes.map(much).mapping()));
        CHILD_CHECK(is_much(bytes.map(read_only, much).mapping()));
        CHILD_CHECK(memory_object<mechanism::system_v>::remove("b"));
        {
            const auto session =
                segment<>::create("s", {.lifetime = lifetime::session, .mapping = much});
            CHILD_CHECK(is_much(segment<>::open("s", much).mapping()));
        }
        CHILD_CHECK(!exists("/dev/shm/s"));
    });
}

TEST_CASE_TEMPLATE("a child without the mapping destroys its handle, and nothing else", World,
                   WORLDS) {
    World::run([] {
        auto made = segment<>::create("f", {.mapping = {.fork = false}});
        segment<>::remove("f");
        auto& numbers = made.construct<shm_vector<int>>("v");
        numbers.push_back(1); // this thread has used it
        auto object = memory_object<mechanism::memfd>::create(8192);
        mapped_region region = object.map({.fork = false});
        mapped_region advised = object.map();
        advised.advise(advice::no_fork);
        const char* const base = reinterpret_cast<const char*>(&numbers);
        nested([&] {
            // A mapping of the child at an address where its parent has something must stay.
            const auto occupy = [](const void* at) {
                auto* const page =
                    reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(at) / 4096 * 4096);
                void* const there =
                    ::mmap(page, 4096, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
                CHILD_CHECK(there == page);
                *page = 7;
                return page;
            };
            char* const places[] = {occupy(base), occupy(region.data()), occupy(advised.data())};
            made = segment<>();
            region = mapped_region();
            const mapped_region moved = std::move(advised);
            advised = mapped_region();
            for (const char* const place : places) {
                CHILD_CHECK(*place == 7); // SIGSEGV if it were unmapped
            }
            std::exit(support::child_failures); // and everything that happens then
        });
        CHILD_CHECK(made.find<shm_vector<int>>("v")->size() == 1);
        CHILD_CHECK(made.participants().size() == 1);
    });
}

TEST_CASE_TEMPLATE("collapsed, whatever the kernel's settings are", World, WORLDS) {
    World::run([] {
        const auto check = []<class Mechanism>(Mechanism) {
            std::error_code ec;
            const auto made = create<Mechanism>(
                {.size = huge + 1, .mapping = {.huge = huge_pages::collapse}}, ec);
            if (ec) { // before Linux 6.1
                CHILD_CHECK(fails(ec, errc::unsupported, "MADV_COLLAPSE"));
                return;
            }
            CHILD_CHECK(made.size() == 2 * huge);
            const mapping_report found = report(made.mapping());
            CHILD_CHECK(found.huge_bytes <= found.resident);
            if (found.huge_bytes !=
                2 * huge) { // there may be no contiguous memory, and then it says so
                std::fprintf(stderr, "%s: %llu of %zu bytes by huge pages\n",
                             Mechanism::label.data(),
                             static_cast<unsigned long long>(found.huge_bytes), 2 * huge);
            }
            made.grow(3 * huge);
            made.mapping().apply({.huge = huge_pages::collapse});
            CHILD_CHECK(report(made.mapping()).huge_bytes >= found.huge_bytes);
            made.template construct<shm_vector<int>>("v").resize(huge / 4);
            if constexpr (Mechanism::names != name_form::none) {
                const auto opened = segment<Mechanism>::open(
                    name<Mechanism>, {.populate = true, .huge = huge_pages::collapse});
                CHILD_CHECK(report(opened.mapping()).huge_bytes >= found.huge_bytes);
                remove<Mechanism>();
            }
        };
        check(mechanism::posix());
        check(mechanism::tmpfs());
        check(mechanism::system_v());
        check(mechanism::memfd());
        check(mechanism::anonymous());
        const auto object = memory_object<mechanism::memfd>::create(2 * huge + 4096);
        const mapped_region region = object.map({.huge = huge_pages::collapse});
        CHILD_CHECK(reinterpret_cast<std::uintptr_t>(region.data()) % huge == 0);
        // Advice has an effect or not, depending on the kernel's settings.
        const auto advised = object.map({.huge = huge_pages::advise});
        CHILD_CHECK(report(advised.mapping()).huge_advised);
        std::error_code ec;
        const auto disk = segment<mechanism::file>::create(
            "/mnt/x", {.mapping = {.huge = huge_pages::collapse}}, ec);
        CHILD_CHECK(fails(ec, errc::unsupported, "MADV_COLLAPSE"));
        CHILD_CHECK(!exists("/mnt/x"));
    });
}

TEST_CASE_TEMPLATE("impossible options are refused, and leave nothing", World, WORLDS) {
    World::run([] {
        std::error_code ec;
        for (const huge_pages pages : {huge_pages::hugetlb_2m, huge_pages::hugetlb_1g}) {
            const mapping_options wanted{.huge = pages};
            (void)segment<>::create("x", {.mapping = wanted}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported, "not for this mechanism"));
            (void)segment<mechanism::anonymous>::create({.mapping = wanted}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported));
            (void)memory_object<mechanism::system_v>::create(
                "x", {.size = 1, .huge = huge_pages::hugetlb_2m}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported));
            (void)segment<mechanism::file>::create("/mnt/x", {.mapping = wanted}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported, "hugetlbfs"));
            (void)segment<mechanism::tmpfs>::create("/dev/shm/x", {.mapping = wanted}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported));
        }
        const mapping_options nowhere{.numa = {numa_mode::bind, std::uint64_t{1} << 63}};
        (void)segment<>::create("x", {.mapping = nowhere}, ec);
        if (ec != errc::permission_denied && ec != errc::unsupported) { // a container, no NUMA
            CHILD_CHECK(fails(ec, errc::invalid_options, "mbind"));
        }
        (void)segment<>::create("x", {.mapping = {.numa = {numa_mode::preferred, 0}}}, ec);
        CHILD_CHECK(fails(ec, errc::invalid_options, "no NUMA node"));
        CHILD_CHECK(!exists("/dev/shm/x") && !exists("/mnt/x"));
    });
}

TEST_CASE("more locked memory than a user may have") {
    as_user::run([] {
        const ::rlimit little{65536, 65536};
        CHILD_CHECK(::setrlimit(RLIMIT_MEMLOCK, &little) == 0);
        std::error_code ec;
        for (const memory_lock how : {memory_lock::now, memory_lock::on_fault}) {
            (void)segment<>::create("x", {.size = 1 << 20, .mapping = {.lock = how}}, ec);
            CHILD_CHECK(fails(ec, errc::lock_limit, "ulimit -l 65536"));
            CHILD_CHECK(!exists("/dev/shm/x"));
        }
        const auto made = segment<>::create("x", {.size = 1 << 20});
        (void)segment<>::open("x", {.lock = memory_lock::now}, ec);
        CHILD_CHECK(fails(ec, errc::lock_limit));
        CHILD_CHECK(made.participants().size() == 1);
        made.mapping().apply({.lock = memory_lock::now}, ec);
        CHILD_CHECK(fails(ec, errc::lock_limit, "steer mapping"));
        CHILD_CHECK(segment<>::remove("x"));
    });
}

TEST_CASE_TEMPLATE("a machine with one NUMA node, or a container that forbids all of it", World,
                   WORLDS) {
    World::run([] {
        const mapping_options here{.numa = {numa_mode::bind, 1}};
        std::error_code ec;
        const auto made = segment<>::create("n", {.mapping = here}, ec);
        if (!ec) {
            made.construct<shm_vector<int>>("v").resize(100000);
            CHILD_CHECK(segment<>::open("n", {.numa = {numa_mode::interleave, 1}}));
            CHILD_CHECK(segment<>::remove("n"));
        } else {
            CHILD_CHECK(ec == errc::unsupported || ec == errc::permission_denied);
        }
        nested([&] {
            support::refuse_call(SYS_mbind, EPERM);
            (void)segment<>::create("n", {.mapping = here}, ec);
            CHILD_CHECK(fails(ec, errc::permission_denied, "seccomp"));
        });
        nested([&] {
            support::refuse_call(SYS_mbind, ENOSYS);
            (void)segment<>::create("n", {.mapping = here}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported, "no NUMA"));
            support::refuse_call(SYS_mlock2, ENOSYS);
            (void)segment<>::create("n", {.mapping = {.lock = memory_lock::on_fault}}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported, "mlock2"));
        });
        CHILD_CHECK(!exists("/dev/shm/n"));
    });
}

TEST_CASE_TEMPLATE("durability", World, WORLDS) {
    World::run([] {
        const auto disk = segment<mechanism::file>::create("/mnt/durable");
        disk.construct<shm_vector<int>>("v").resize(100000, 7);
        disk.durable();
        disk.mapping().durable(0, 4096);
        const auto value = shared<int, mechanism::file>::create("/mnt/value", 1);
        value.durable();
        segment<>::create("m").durable(); // memory: there is nothing to wait for
        segment<mechanism::anonymous>::create().durable();
        std::error_code ec;
        segment<mechanism::file>().durable(ec);
        CHILD_CHECK(fails(ec, errc::empty_handle));
        CHILD_CHECK(::rename("/mnt/durable", "/mnt/other") == 0);
        disk.durable(); // the directory still exists
        ::close(disk.native_handle().value);
        disk.durable(ec);
        CHILD_CHECK(fails(ec, errc::empty_handle, "closed by somebody else"));
        CHILD_CHECK(segment<>::remove("m"));
    });
}

namespace {

constexpr const char* pool = "/proc/sys/vm/nr_hugepages";

long pool_size() {
    std::FILE* const file = std::fopen(pool, "re");
    long pages = -1;
    if (file != nullptr) {
        if (std::fscanf(file, "%ld", &pages) != 1) {
            pages = -1;
        }
        std::fclose(file);
    }
    return pages;
}

// Adds huge pages to the machine's pool, or removes some. Returns false if this process may not.
bool add_to_pool(long pages) {
    const long before = pool_size();
    std::FILE* const file = std::fopen(pool, "we");
    if (before < 0 || file == nullptr) {
        if (file != nullptr) {
            std::fclose(file);
        }
        return false;
    }
    std::fprintf(file, "%ld", before + pages);
    return std::fclose(file) == 0 && pool_size() == before + pages;
}

} // namespace

TEST_CASE("hugetlb pages, if the machine has some to spare") {
    constexpr long pages = 8;
    const long before = pool_size();
    const bool given = add_to_pool(pages);
    as_runner::run([&] {
        using object = segment<mechanism::memfd>;
        std::error_code ec;
        const segment_options wanted{.size = 1, .mapping = {.huge = huge_pages::hugetlb_2m}};
        const auto made = object::create(wanted, ec);
        if (!given) {
            CHILD_CHECK(!ec || ec == errc::out_of_space || ec == errc::unsupported);
            return;
        }
        CHILD_CHECK(!ec || fails(ec, {}));
        CHILD_CHECK(made.size() == huge);
        CHILD_CHECK(report(made.mapping()).page == huge);
        auto& numbers = made.construct<shm_vector<int>>("v");
        numbers.resize(1000, 7);
        CHILD_CHECK(report(made.mapping()).huge_bytes == huge);
        const auto again = object::adopt({::dup(made.native_handle().value)});
        CHILD_CHECK(again.participants().size() == 2);
        nested([&] {
            made.find<shm_vector<int>>("v")->resize(1000000, 8); // a participant of its own
            CHILD_CHECK(made.participants().size() == 3);
        });
        CHILD_CHECK(made.participants().size() == 2 || made.recover() == 1);
        CHILD_CHECK(again.find<shm_vector<int>>("v")->back() == 8);
        CHILD_CHECK(made.size() > 4000000 && again.size() == made.size());
        made.grow(std::size_t{pages + 1} * huge, ec);
        CHILD_CHECK(fails(ec, errc::out_of_space, "nr_hugepages"));

        const auto raw =
            memory_object<mechanism::memfd>::create({.size = 1, .huge = huge_pages::hugetlb_2m});
        CHILD_CHECK(raw.size() == huge);
        const mapped_region region = raw.map();
        region.bytes()[huge - 1] = std::byte{1};
        CHILD_CHECK(report(region.mapping()).page == huge);

        if (::mount("cohold-test", "/mnt", "hugetlbfs", 0, "pagesize=2M,mode=1777") == 0) {
            const auto file = segment<mechanism::file>::create("/mnt/s", wanted);
            file.construct<int>("x", 42);
            CHILD_CHECK(report(file.mapping()).page == huge);
            CHILD_CHECK(*segment<mechanism::file>::open("/mnt/s").find<int>("x") == 42);
            CHILD_CHECK(segment<mechanism::file>::remove("/mnt/s"));
            (void)segment<mechanism::file>::create(
                "/mnt/g", {.mapping = {.huge = huge_pages::hugetlb_1g}}, ec);
            CHILD_CHECK(fails(ec, errc::unsupported));
        } else {
            CHILD_CHECK(errno == EPERM); // root of a user namespace may not
        }
    });
    if (given) {
        CHECK(add_to_pool(-pages));
        CHECK(pool_size() == before);
    }
}

int main(int argc, char** argv) {
    support::become_root_of_users(argc, argv);
    return doctest::Context(argc, argv).run();
}
