// Bad input: each has an error of its own, whose text names the operation, the object and what was
// found, and changes nothing. In namespaces of its own, with a /dev/shm of 64 MiB.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
using namespace std::string_literals;

namespace {

constexpr const char* directory = "/dev/shm/";

std::string read_all(int fd) {
    std::string bytes;
    std::array<char, 65536> some{};
    for (ssize_t got = 0; (got = ::read(fd, some.data(), some.size())) > 0;) {
        bytes.append(some.data(), static_cast<std::size_t>(got));
    }
    return bytes;
}

std::string contents(const std::string& path) {
    const detail::unique_fd fd = detail::open_file(path.c_str(), O_RDONLY | O_NOFOLLOW);
    return fd ? read_all(fd.get()) : "unreadable";
}

void put(const std::string& path, std::string_view bytes, mode_t mode = 0600) {
    const detail::unique_fd fd = detail::open_file(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
    REQUIRE(fd);
    REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(::fchmod(fd.get(), mode) == 0);
}

void list_files(const std::string& path, std::string& out) {
    DIR* const opened = ::opendir(path.c_str());
    if (opened == nullptr) {
        out += path + " cannot be read\n";
        return;
    }
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(opened)) {
        names.emplace_back(entry->d_name);
    }
    ::closedir(opened);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
        struct ::stat status{};
        const std::string file = path + name;
        if (name == "." || name == ".." || ::lstat(file.c_str(), &status) != 0) {
            continue;
        }
        out += file + " mode " + std::to_string(status.st_mode) + " owner " +
               std::to_string(status.st_uid) + " bytes " + std::to_string(status.st_size) +
               " changed " + std::to_string(status.st_mtim.tv_sec) + "." +
               std::to_string(status.st_mtim.tv_nsec);
        if (S_ISREG(status.st_mode)) {
            out += " holds " + contents(file);
        }
        out += "\n";
        if (S_ISDIR(status.st_mode)) {
            list_files(file + "/", out);
        }
    }
}

// The System V objects of this namespace: key, id, mode, size and first bytes.
void list_system_v(std::string& out) {
    struct ::shm_info info{};
    const int last_segment =
        ::shmctl(0, SHM_INFO, reinterpret_cast<struct ::shmid_ds*>(&info)); // NOLINT
    for (int i = 0; i <= last_segment; ++i) {
        struct ::shmid_ds status{};
        const int id = ::shmctl(i, SHM_STAT, &status);
        if (id < 0) {
            continue;
        }
        out += "shm " + std::to_string(status.shm_perm.__key) + " " + std::to_string(id) +
               " mode " + std::to_string(status.shm_perm.mode) + " bytes " +
               std::to_string(status.shm_segsz);
        void* at = ::shmat(id, nullptr, SHM_RDONLY);
        if (at != reinterpret_cast<void*>(-1)) {
            const std::size_t some = std::min<std::size_t>(status.shm_segsz, 65536);
            out += " holds " + std::string(static_cast<const char*>(at), some);
            ::shmdt(at);
        }
        out += "\n";
    }
    ::seminfo sets{};
    detail::semaphore_argument argument{};
    static_assert(sizeof(argument) == sizeof(void*));
    std::memset(&argument, 0, sizeof argument);
    argument.status = reinterpret_cast<struct ::semid_ds*>(&sets); // NOLINT
    const int last_set = ::semctl(0, 0, SEM_INFO, argument);
    for (int i = 0; i <= last_set; ++i) {
        struct ::semid_ds status{};
        argument.status = &status;
        if (const int id = ::semctl(i, 0, SEM_STAT, argument); id >= 0) {
            out += "sem " + std::to_string(status.sem_perm.__key) + " " + std::to_string(id) + "\n";
        }
    }
}

// The objects that this process holds: its descriptors and its mappings.
void list_held(std::string& out) {
    for (int fd = 0; fd < 256; ++fd) {
        out += ::fcntl(fd, F_GETFD) >= 0 ? "fd " + std::to_string(fd) + "\n" : "";
    }
    const detail::unique_fd maps = detail::open_file("/proc/self/maps", O_RDONLY);
    const std::string text = read_all(maps.get());
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t end = text.find('\n', from);
        const std::string line = text.substr(from, end - from);
        if (line.find(" /dev/shm/") != std::string::npos ||
            line.find(" /SYSV") != std::string::npos ||
            line.find("memfd:cohold") != std::string::npos) {
            out += line + "\n";
        }
        from = end + 1;
    }
}

std::string world() {
    std::string out;
    list_files(directory, out);
    list_system_v(out);
    list_held(out);
    return out;
}

std::string all_of(std::initializer_list<std::string_view> parts) {
    std::string out;
    for (const std::string_view part : parts) {
        out += std::string(out.empty() ? "" : " … ") + std::string(part);
    }
    return out;
}

// CHECK in a function, because one in each of the hundred places below would take long to compile.
void must(bool good) {
    CHECK(good);
}

using parts = std::initializer_list<std::string_view>;

void check_refused(errc code, std::errc condition, parts says, std::error_code ec) {
    const std::string what = last_failure().what();
    CAPTURE(what);
    CAPTURE(all_of(says));
    CHECK(ec == code);
    CHECK(ec == condition);
    CHECK(last_failure().code() == ec);
    CHECK(what.find(ec.message()) != std::string::npos);
    for (const std::string_view part : says) {
        CHECK(what.find(part) != std::string::npos);
    }
}

void check_unchanged(const std::string& before) {
    CHECK(world() == before);
}

// Runs an operation that takes an error code; it must fail with this code, mention all of the
// parts, and change nothing.
template <class Operation>
void refuses(errc code, std::errc condition, parts says, const Operation& operation) {
    const std::string before = world();
    std::error_code ec;
    operation(ec);
    check_refused(code, condition, says, ec);
    check_unchanged(before);
}

// Every way to open an object by name: all must fail in the same way.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>>
void refuses_to_open(errc code, std::errc condition, std::string_view name, parts says) {
    using segment_type = segment<Mechanism, Naming>;
    // An empty name is not shown at all.
    const std::string quoted =
        name.empty() ? ""
                     : "'" + std::string(name.substr(0, 300)) + (name.size() > 300 ? "...'" : "'");
    for (const std::string_view part : says) {
        CAPTURE(part);
        const parts all{"open ", Mechanism::label, quoted, part};
        refuses(code, condition, all,
                [&](std::error_code& ec) { must(!segment_type::open(name, ec)); });
        refuses(code, condition, all,
                [&](std::error_code& ec) { must(!segment_type::open(name, read_only, ec)); });
        refuses(code, condition, all, [&](std::error_code& ec) {
            must(!shared<int, Mechanism, Naming>::open(name, ec));
        });
        refuses(code, condition, all, [&](std::error_code& ec) {
            must(!shared<int, Mechanism, Naming>::open(name, read_only, ec));
        });
        refuses(code, condition, all, [&](std::error_code& ec) {
            must(!segment_type::open_or_create(name, {.size = 65536}, ec));
        });
        refuses(code, condition, all, [&](std::error_code& ec) {
            must(!shared<int, Mechanism, Naming>::open_or_create(name, ec, 1));
        });
    }
    try {
        (void)segment_type::open(name);
        CHECK(false);
    } catch (const failure& thrown) {
        CHECK(thrown.code() == code);
        CHECK(thrown.what() == std::string(last_failure().what()));
    }
}

// The bytes of a segment of 64 KiB with an object in it.
const std::string& valid_bytes() {
    static const std::string bytes = [] {
        const auto made = segment<>::create("valid", {.size = 65536, .reserve = 1 << 20});
        made.construct<int>("answer", 42);
        std::string read = contents(directory + "valid"s);
        segment<>::remove("valid");
        return read;
    }();
    return bytes;
}

void put_word(std::string& bytes, std::size_t offset, std::uint64_t value, std::size_t width) {
    std::memcpy(bytes.data() + offset, &value, width);
}

std::uint64_t word_at(const std::string& bytes, std::size_t offset, std::size_t width) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + offset, width);
    return value;
}

std::uint64_t checksum_of(const std::string& bytes) {
    constexpr std::size_t from = offsetof(detail::segment_header, order);
    return detail::hash64(
        std::string_view(bytes).substr(from, offsetof(detail::segment_header, checksum) - from));
}

std::string hex(std::uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
    return text;
}

struct bad_name {
    std::string name;
    std::string_view says;
};

const bad_name bad_components[] = {
    {"", "the name is empty"},
    {"/", "the name is empty"},
    {".", "the name refers to a directory"},
    {"..", "the name refers to a directory"},
    {"a\0b"s, "zero byte"},
    {std::string(300, 'n'), "300 bytes"},
    {std::string(256, 'n'), "256 bytes"},
};

template <class Mechanism, class Naming = detail::default_naming<Mechanism>>
void refuses_name(std::string_view name, std::string_view says) {
    CAPTURE(name.substr(0, 300));
    using segment_type = segment<Mechanism, Naming>;
    using object_type = memory_object<Mechanism, Naming>;
    constexpr auto code = errc::invalid_name;
    constexpr auto condition = std::errc::invalid_argument;
    refuses(code, condition, {"create ", Mechanism::label, says},
            [&](std::error_code& ec) { must(!segment_type::create(name, {.size = 65536}, ec)); });
    refuses(code, condition, {"create ", Mechanism::label, says},
            [&](std::error_code& ec) { must(!object_type::create(name, 65536, ec)); });
    refuses(code, condition, {"create ", Mechanism::label, says}, [&](std::error_code& ec) {
        must(!shared<int, Mechanism, Naming>::create(name, ec, 1));
    });
    refuses(code, condition, {"open ", says},
            [&](std::error_code& ec) { must(!object_type::open(name, ec)); });
    refuses(code, condition, {"open ", says},
            [&](std::error_code& ec) { must(!object_type::open(name, read_only, ec)); });
    refuses(code, condition, {"open ", says},
            [&](std::error_code& ec) { must(!object_type::open_or_create(name, 1, ec)); });
    refuses(code, condition, {"remove ", says},
            [&](std::error_code& ec) { must(!object_type::remove(name, ec)); });
    refuses(code, condition, {"remove ", says},
            [&](std::error_code& ec) { must(!segment_type::remove(name, ec)); });
    refuses_to_open<Mechanism, Naming>(code, condition, name, {says});
    if constexpr (Mechanism::replaces) {
        refuses(code, condition, {"create ", says},
                [&](std::error_code& ec) { must(!segment_type::replace(name, ec)); });
    }
}

} // namespace

TEST_CASE("impossible names") {
    for (const bad_name& bad : bad_components) {
        // The text of a name ends at its zero byte.
        const bool whole = bad.name.find('\0') == std::string::npos;
        if (whole) {
            refuses_name<mechanism::posix>(bad.name, bad.says);
            refuses_name<mechanism::system_v>(bad.name, bad.says);
            refuses_name<mechanism::posix, naming::prefixed<"p.">>(
                bad.name, bad.name.size() == 300   ? "302 bytes"
                          : bad.name.size() == 256 ? "258 bytes"
                                                   : bad.says);
        }
        if (whole && bad.name != "/") {
            refuses_name<mechanism::file>(directory + bad.name, bad.says);
            refuses_name<mechanism::tmpfs>(directory + bad.name, bad.says);
        }
    }
    for (const std::string& name : {"a/b"s, "/a/b"s, "//a"s, "a/"s}) {
        refuses_name<mechanism::posix>(name, "slash at position");
        refuses_name<mechanism::system_v>(name, "slash at position");
    }
    for (const std::string& name : {"sem.x"s, "/sem.x"s, "sem."s}) {
        refuses_name<mechanism::posix>(name, "sem.");
    }
    refuses_name<mechanism::posix, naming::prefixed<"sem.">>("x", "sem.");
    refuses_name<mechanism::posix, naming::hashed>("", "empty");
    refuses_name<mechanism::file>("/dev/shm/" + std::string(5000, 'n') + "/x", "bytes");
    refuses_name<mechanism::file>("", "empty");

    const std::string zero = "a\0b"s;
    const auto refused = [](auto&& run) {
        refuses(errc::invalid_name, std::errc::invalid_argument, {"zero byte"}, run);
    };
    refused([&](std::error_code& ec) { (void)segment<>::create(zero, 65536, ec); });
    refused([&](std::error_code& ec) { (void)segment<>::open(zero, ec); });
    refused([&](std::error_code& ec) {
        (void)segment<mechanism::file>::create("/dev/shm/" + zero, 65536, ec);
    });
    refused([&](std::error_code& ec) {
        (void)segment<mechanism::file>::create("/dev/shm/\0/a"s, 65536, ec);
    });
    refused([&](std::error_code& ec) {
        (void)segment<mechanism::posix, naming::hashed>::create(zero, 65536, ec);
    });
    refused([&](std::error_code& ec) {
        (void)segment<mechanism::system_v, naming::from_path<'x'>>::create(zero, 65536, ec);
    });
    refuses(errc::not_found, std::errc::no_such_file_or_directory,
            {"create System V segment '/no/such/file'", "no such file"}, [](std::error_code& ec) {
                (void)segment<mechanism::system_v, naming::from_path<'x'>>::create("/no/such/file",
                                                                                   65536, ec);
            });
}

TEST_CASE("impossible sizes") {
    const auto check = [](auto&& create) {
        const auto bad = [&](errc code, std::errc condition, std::string_view says,
                             const segment_options& options) {
            refuses(code, condition, {"create ", says},
                    [&](std::error_code& ec) { must(!create(options, ec)); });
        };
        constexpr auto invalid = errc::invalid_size;
        constexpr auto argument = std::errc::invalid_argument;
        bad(invalid, argument, "size 0, reserve 0", {.size = 0});
        bad(invalid, argument, "size 0, reserve 65536", {.size = 0, .reserve = 65536});
        bad(invalid, argument, "size is 65537 bytes, larger than segment_options::reserve, 65536",
            {.size = 65537, .reserve = 65536});
        bad(invalid, argument, std::to_string(SIZE_MAX), {.size = SIZE_MAX});
        bad(invalid, argument, std::to_string(SIZE_MAX), {.size = 1, .reserve = SIZE_MAX});
        bad(invalid, argument, "reserve",
            {.size = 1, .reserve = static_cast<std::size_t>(PTRDIFF_MAX) + 1});
        if constexpr (sizeof(void*) == 8) { // two of four gibibytes may be available
            for (const std::size_t reserve : {static_cast<std::size_t>(std::uint64_t{1} << 47),
                                              static_cast<std::size_t>(PTRDIFF_MAX) - 65536}) {
                bad(errc::reserve_too_large, std::errc::not_enough_memory, "bytes",
                    {.size = 1, .reserve = reserve});
            }
        }
    };
    check([](const segment_options& o, std::error_code& ec) {
        return segment<>::create("size", o, ec);
    });
    check([](const segment_options& o, std::error_code& ec) {
        return segment<mechanism::file>::create("/dev/shm/size", o, ec);
    });
    check([](const segment_options& o, std::error_code& ec) {
        return segment<mechanism::memfd>::create(o, ec);
    });
    check([](const segment_options& o, std::error_code& ec) {
        return segment<mechanism::anonymous>::create(o, ec);
    });

    const auto object = [](std::size_t size) {
        refuses(errc::invalid_size, std::errc::invalid_argument,
                {"create ", std::to_string(size) + " bytes"},
                [&](std::error_code& ec) { must(!memory_object<>::create("size", size, ec)); });
        refuses(errc::invalid_size, std::errc::invalid_argument, {std::to_string(size) + " bytes"},
                [&](std::error_code& ec) {
                    must(!memory_object<mechanism::system_v>::create("size", size, ec));
                });
        refuses(
            errc::invalid_size, std::errc::invalid_argument, {std::to_string(size) + " bytes"},
            [&](std::error_code& ec) { must(!memory_object<mechanism::memfd>::create(size, ec)); });
    };
    object(0);
    object(SIZE_MAX);
    object(static_cast<std::size_t>(PTRDIFF_MAX) + 1);

    put(directory + "empty"s, "");
    refuses(errc::invalid_size, std::errc::invalid_argument, {"map ", "'empty'", "0 bytes"},
            [](std::error_code& ec) {
                const auto opened = memory_object<>::open("empty");
                must(!opened.map(ec));
            });
    ::unlink("/dev/shm/empty");
}

TEST_CASE("sizes beyond the filesystem and beyond the memory") {
    constexpr std::size_t large = std::size_t{256} << 20;
    const std::string wanted = "wanted " + std::to_string(large) + " bytes more, available ";
    const auto full = [&](auto&& create) {
        refuses(errc::out_of_space, std::errc::no_space_on_device, {"create ", wanted}, create);
    };
    full([](std::error_code& ec) { (void)segment<>::create("large", large, ec); });
    full([](std::error_code& ec) { (void)memory_object<>::create("large", large, ec); });
    full([](std::error_code& ec) {
        (void)segment<mechanism::tmpfs>::create("/dev/shm/large", large, ec);
    });
    full([](std::error_code& ec) {
        (void)shared<int>::create("large", segment_options{.size = large}, ec, 1);
    });
    full([](std::error_code& ec) { (void)segment<>::open_or_create("large", large, ec); });
    full([](std::error_code& ec) { (void)segment<>::replace("large", {.size = large}, ec); });
    if constexpr (sizeof(void*) == 8) {
        // No file system limits these, but the machine does not have that much, and must not try.
        constexpr std::size_t huge = std::size_t{1} << (sizeof(void*) == 8 ? 44 : 0);
        const auto short_of_memory = [](auto&& create) {
            refuses(errc::out_of_space, std::errc::no_space_on_device,
                    {"create ", "wanted 17592186044416 bytes more, available "}, create);
        };
        const segment_options options{.size = huge, .reserve = huge};
        short_of_memory(
            [&](std::error_code& ec) { (void)segment<mechanism::memfd>::create(options, ec); });
        short_of_memory(
            [&](std::error_code& ec) { (void)memory_object<mechanism::memfd>::create(huge, ec); });
        short_of_memory(
            [&](std::error_code& ec) { (void)segment<mechanism::anonymous>::create(options, ec); });
        short_of_memory([&](std::error_code& ec) {
            (void)segment<mechanism::system_v>::create("huge", options, ec);
        });
        short_of_memory([&](std::error_code& ec) {
            (void)memory_object<mechanism::system_v>::create("huge", huge, ec);
        });
    }
    const auto there = segment<>::create("there", {.size = 65536, .reserve = 512 << 20});
    there.construct<int>("x", 1);
    refuses(errc::out_of_space, std::errc::no_space_on_device,
            {"grow posix object 'there'", "wanted ", "available "},
            [&](std::error_code& ec) { there.grow(large, ec); });
    refuses(errc::reserve_exceeded, std::errc::not_enough_memory,
            {"grow posix object 'there'", "the reserve has 536870912"},
            [&](std::error_code& ec) { there.grow((512 << 20) + 1, ec); });
    refuses(errc::reserve_exceeded, std::errc::not_enough_memory,
            {"grow posix object 'there'", std::to_string(SIZE_MAX)},
            [&](std::error_code& ec) { there.grow(SIZE_MAX, ec); });
    CHECK(there.size() == 65536);
    CHECK(*there.find<int>("x") == 1);
    segment<>::remove("there");
}

TEST_CASE("missing objects and directories, and existing ones") {
    const auto missing = errc::not_found;
    const auto no_entry = std::errc::no_such_file_or_directory;
    const auto is_missing = [&]<class Mechanism>(Mechanism, std::string_view name, errc code) {
        const std::string quoted = "'" + std::string(name) + "'";
        refuses(code, no_entry, {"open ", Mechanism::label, quoted},
                [&](std::error_code& ec) { must(!segment<Mechanism>::open(name, ec)); });
        refuses(code, no_entry, {"open ", Mechanism::label, quoted}, [&](std::error_code& ec) {
            must(!memory_object<Mechanism>::open(name, read_only, ec));
        });
        refuses(code, no_entry, {"open ", Mechanism::label, quoted}, [&](std::error_code& ec) {
            must(!shared<int, Mechanism>::open(name, read_only, ec));
        });
    };
    is_missing(mechanism::posix(), "none", missing);
    is_missing(mechanism::system_v(), "none", missing);
    is_missing(mechanism::file(), "/dev/shm/none", missing);
    is_missing(mechanism::tmpfs(), "/dev/shm/none", missing);
    is_missing(mechanism::file(), "/dev/shm/none/none", errc::no_such_directory);
    is_missing(mechanism::tmpfs(), "/dev/shm/none/none", errc::no_such_directory);
    put(directory + "plain"s, "text");
    const auto not_made = [&](errc code, std::errc condition, const char* name) {
        refuses(code, condition, {"create file '", name}, [&](std::error_code& ec) {
            must(!segment<mechanism::file>::create(name, 65536, ec));
        });
        refuses(code, condition, {"create ", name}, [&](std::error_code& ec) {
            must(!memory_object<mechanism::tmpfs>::create(name, 65536, ec));
        });
        if (code != errc::unsupported) {
            refuses(code, condition, {name}, [&](std::error_code& ec) {
                must(!segment<mechanism::file>::open_or_create(name, 65536, ec));
            });
        }
    };
    not_made(errc::no_such_directory, no_entry, "/dev/shm/none/x");
    not_made(errc::no_such_directory, no_entry, "/dev/shm/none/none/x");
    not_made(errc::not_a_directory, std::errc::not_a_directory, "/dev/shm/plain/x");
    refuses(errc::not_a_directory, std::errc::not_a_directory, {"open file", "/dev/shm/plain/"},
            [&](std::error_code& ec) {
                must(!segment<mechanism::file>::open("/dev/shm/plain/none", ec));
            });
    if (::geteuid() == 0) { // other users do not get that far
        not_made(errc::unsupported, std::errc::not_supported, "/proc/cohold-test");
    }
    {
        std::error_code ec;
        const std::string before = world();
        must(!segment<>::remove("none", ec));
        must(!memory_object<mechanism::system_v>::remove("none", ec));
        must(!segment<mechanism::system_v>::remove("none", ec));
        must(!ec);
        CHECK(world() == before);
    }

    const auto exists = [&]<class Mechanism>(Mechanism, std::string_view name) {
        const std::string quoted = "'" + std::string(name) + "'";
        const parts says{"create ", Mechanism::label, quoted};
        const auto code = errc::already_exists;
        const auto condition = std::errc::file_exists;
        refuses(code, condition, says, [&](std::error_code& ec) {
            must(!segment<Mechanism>::create(name, {.size = 65536}, ec));
        });
        refuses(code, condition, says, [&](std::error_code& ec) {
            must(!memory_object<Mechanism>::create(name, 65536, ec));
        });
        refuses(code, condition, says,
                [&](std::error_code& ec) { must(!shared<int, Mechanism>::create(name, ec, 1)); });
    };
    put(directory + "segment"s, valid_bytes());
    exists(mechanism::posix(), "segment");
    exists(mechanism::posix(), "plain");
    exists(mechanism::tmpfs(), "/dev/shm/plain");
    const auto in_system_v =
        segment<mechanism::system_v>::create("there", {.size = 65536, .reserve = 65536});
    exists(mechanism::system_v(), "there");
    segment<mechanism::system_v>::remove("there");
    ::unlink("/dev/shm/plain");
    ::unlink("/dev/shm/segment");
}

TEST_CASE("objects that are not regular files") {
    REQUIRE(::mkdir("/dev/shm/directory", 0700) == 0);
    put(directory + "target"s, valid_bytes());
    REQUIRE(::symlink("/dev/shm/target", "/dev/shm/link") == 0);
    REQUIRE(::symlink("/dev/shm/nothing", "/dev/shm/dangling") == 0);
    REQUIRE(::mkfifo("/dev/shm/pipe", 0600) == 0);
    put(directory + "device"s, "");
    REQUIRE(::mount("/dev/null", "/dev/shm/device", nullptr, MS_BIND, nullptr) == 0);
    const detail::unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct ::sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "/dev/shm/socket"); // NOLINT: it fits
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);

    struct row {
        std::string_view name;
        errc code;
        std::errc condition;
    };

    for (const row& each :
         {row{"directory", errc::directory_refused, std::errc::is_a_directory},
          row{"link", errc::symlink_refused, std::errc::too_many_symbolic_link_levels},
          row{"dangling", errc::symlink_refused, std::errc::too_many_symbolic_link_levels},
          row{"pipe", errc::special_file_refused, std::errc::invalid_argument},
          row{"device", errc::special_file_refused, std::errc::invalid_argument},
          row{"socket", errc::special_file_refused, std::errc::invalid_argument}}) {
        CAPTURE(each.name);
        const std::string path = directory + std::string(each.name);
        ::alarm(20); // opening a pipe must not wait for its other end
        refuses_to_open(each.code, each.condition, each.name, {path});
        refuses_to_open<mechanism::file>(each.code, each.condition, path, {path});
        refuses_to_open<mechanism::tmpfs>(each.code, each.condition, path, {path});
        refuses(each.code, each.condition, {"open ", each.name},
                [&](std::error_code& ec) { must(!memory_object<>::open(each.name, ec)); });
        refuses(each.code, each.condition, {"open ", each.name}, [&](std::error_code& ec) {
            must(!memory_object<>::open(each.name, read_only, ec));
        });
        refuses(errc::already_exists, std::errc::file_exists, {"create ", each.name},
                [&](std::error_code& ec) { must(!segment<>::create(each.name, 65536, ec)); });
        ::alarm(0);
    }
    refuses(errc::directory_refused, std::errc::is_a_directory, {"remove ", "directory"},
            [](std::error_code& ec) { must(!memory_object<>::remove("directory", ec)); });
    refuses(errc::directory_refused, std::errc::is_a_directory, {"remove ", "directory"},
            [](std::error_code& ec) { must(!segment<>::remove("directory", ec)); });
    ::umount2("/dev/shm/device", MNT_DETACH);
    for (const char* name : {"target", "link", "dangling", "pipe", "device", "socket"}) {
        ::unlink((directory + std::string(name)).c_str());
    }
    ::rmdir("/dev/shm/directory");
}

TEST_CASE("paths that are not on a tmpfs") {
    REQUIRE(::mkdir("/dev/shm/elsewhere", 0700) == 0);
    support::mount_or_exit("ramfs", "/dev/shm/elsewhere", "mode=0700");
    const char* const name = "/dev/shm/elsewhere/x";
    const auto refused = [&](std::string_view verb, auto&& run) {
        refuses(errc::not_on_tmpfs, std::errc::invalid_argument,
                {verb, "expected 1021994, found 858458f6", "mechanism::file"}, run);
    };
    refused("create tmpfs file '/dev/shm/elsewhere/x'", [&](std::error_code& ec) {
        must(!segment<mechanism::tmpfs>::create(name, 65536, ec));
    });
    refused("create ", [&](std::error_code& ec) {
        must(!memory_object<mechanism::tmpfs>::create(name, 65536, ec));
    });
    // A file system without fallocate: space is reserved by writing.
    {
        const auto made =
            segment<mechanism::file>::create(name, {.size = 65536, .reserve = 1 << 20});
        made.construct<int>("x", 1);
        made.grow(1 << 19);
        CHECK(made.size() == 1 << 19);
        CHECK(*segment<mechanism::file>::open(name).find<int>("x") == 1);
    }
    refused("open ",
            [&](std::error_code& ec) { must(!segment<mechanism::tmpfs>::open(name, ec)); });
    refused("open ", [&](std::error_code& ec) {
        must(!segment<mechanism::tmpfs>::open(name, read_only, ec));
    });
    refused("adopt ", [&](std::error_code& ec) {
        must(!segment<mechanism::tmpfs>::adopt(
            {detail::open_file(name, O_RDWR | O_CLOEXEC).release()}, ec));
    });
    REQUIRE(::umount2("/dev/shm/elsewhere", MNT_DETACH) == 0);
    REQUIRE(::rmdir("/dev/shm/elsewhere") == 0);
}

TEST_CASE("segments cut short at every length") {
    const std::string& whole = valid_bytes();
    REQUIRE(whole.size() == 65536);
    const std::string path = directory + "short"s;
    std::vector<std::size_t> lengths;
    for (std::size_t length = 0; length <= detail::control_bytes; ++length) {
        lengths.push_back(length);
    }
    lengths.insert(lengths.end(), {4097, 8191, 8192, 12288, 32768, 65535});
    for (const std::size_t length : lengths) {
        CAPTURE(length);
        put(path, std::string_view(whole).substr(0, length));
        const std::string found = "found " + std::to_string(length);
        const std::string_view expected = length < detail::control_bytes
                                              ? "at least 4096 bytes expected"
                                              : "at least 65536 bytes expected";
        refuses(errc::truncated, std::errc::bad_message,
                {"open posix object 'short'", "object size", expected, found},
                [](std::error_code& ec) { must(!segment<>::open("short", ec)); });
        if (length % 64 == 0) {
            refuses_to_open(errc::truncated, std::errc::bad_message, "short", {found});
        }
    }
    ::unlink(path.c_str());
    // System V: an object that is shorter than its reserve.
    for (const std::size_t length : {std::size_t{1}, std::size_t{4095}, std::size_t{65536}}) {
        const key_t key = detail::system_v_key("short");
        const int id = ::shmget(key, length, IPC_CREAT | IPC_EXCL | 0600);
        REQUIRE(id >= 0);
        void* const at = ::shmat(id, nullptr, 0);
        std::string bytes = whole;
        auto* const header = reinterpret_cast<detail::segment_header*>(bytes.data());
        header->set_name("short");
        header->checksum = header->expected_checksum();
        std::memcpy(at, bytes.data(), length);
        ::shmdt(at);
        refuses_to_open<mechanism::system_v>(errc::truncated, std::errc::bad_message, "short",
                                             {"found " + std::to_string(length)});
        ::shmctl(id, IPC_RMID, nullptr);
    }
}

TEST_CASE("every wrong bit of the header is noticed, and its field named") {
    struct field {
        std::size_t offset;
        std::size_t width;
        errc code;
        std::errc condition;
        std::string_view name;
    };

    using header = detail::segment_header;
    constexpr auto message = std::errc::bad_message;
    constexpr auto other = std::errc::not_supported;
    const field fields[] = {
        {offsetof(header, magic), 8, errc::not_a_segment, message, "magic"},
        {offsetof(header, order), 4, errc::byte_order_mismatch, other, "word order"},
        {offsetof(header, layout_version), 4, errc::layout_mismatch, other, "layout version"},
        {offsetof(header, header_bytes), 4, errc::corrupt, message, "header bytes"},
        {offsetof(header, max_participants),
         offsetof(header, checksum) - offsetof(header, max_participants), errc::corrupt, message,
         "checksum"},
        {offsetof(header, checksum), 8, errc::corrupt, message, "checksum"},
    };
    const std::string& whole = valid_bytes();
    const std::string path = directory + "flipped"s;
    put(path, whole);
    const detail::unique_fd fd = detail::open_file(path.c_str(), O_RDWR);
    std::string bytes = whole;
    for (const field& each : fields) {
        CAPTURE(each.name);
        for (std::size_t bit = 0; bit < each.width * 8; ++bit) {
            const std::size_t at = each.offset + bit / 8;
            if (at >= offsetof(header, name) + 8 && at < offsetof(header, checksum) &&
                bit % 61 != 0) {
                continue; // a flipped bit in a long name is not distinguished everywhere
            }
            CAPTURE(bit);
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << (bit % 8)));
            REQUIRE(::pwrite(fd.get(), &bytes[at], 1, static_cast<off_t>(at)) == 1);
            const bool sum = each.name == "checksum";
            const std::string text =
                std::string(each.name) + ": expected " +
                hex(sum ? checksum_of(bytes) : word_at(whole, each.offset, each.width)) +
                ", found " +
                hex(sum ? word_at(bytes, offsetof(header, checksum), 8)
                        : word_at(bytes, each.offset, each.width));
            refuses(each.code, each.condition, {"open posix object 'flipped'", text},
                    [](std::error_code& ec) { must(!segment<>::open("flipped", ec)); });
            if (bit == 0) {
                refuses_to_open(each.code, each.condition, "flipped", {text});
            }
            // A header is not trusted just because its checksum matches.
            if (!sum) {
                std::string sealed = bytes;
                put_word(sealed, offsetof(header, checksum), checksum_of(sealed), 8);
                put(path, sealed);
                refuses(each.code, each.condition, {text}, [](std::error_code& ec) {
                    must(!segment<>::open("flipped", read_only, ec));
                });
            }
            bytes[at] = whole[at];
            if (sum) {
                REQUIRE(::pwrite(fd.get(), &bytes[at], 1, static_cast<off_t>(at)) == 1);
            } else {
                put(path, whole);
            }
        }
    }
    // The size changes constantly, so it is not in the checksum: its bounds are checked.
    for (const std::uint64_t size :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4095}, std::uint64_t{4096},
          std::uint64_t{8192}, std::uint64_t{1048577}, std::uint64_t{1} << 62, UINT64_MAX}) {
        put_word(bytes, offsetof(header, size), size, 8);
        put(path, bytes);
        CAPTURE(size);
        refuses_to_open(errc::corrupt, message, "flipped",
                        {"size: expected ", "found " + std::to_string(size)});
    }
    for (const std::uint64_t size :
         {std::uint64_t{65537}, std::uint64_t{69632}, std::uint64_t{1048576}}) {
        put_word(bytes, offsetof(header, size), size, 8);
        put(path, bytes);
        refuses_to_open(errc::truncated, message, "flipped",
                        {std::to_string(size) + " bytes expected", "found 65536"});
    }
    // A reserve that matches the checksum, and is impossible.
    bytes = whole;
    for (const std::uint64_t reserve :
         {std::uint64_t{0}, std::uint64_t{65535}, std::uint64_t{1} << 63, UINT64_MAX,
          UINT64_MAX - 4095, UINT64_MAX - 8191, UINT64_MAX - 12287}) {
        put_word(bytes, offsetof(header, reserve), reserve, 8);
        put_word(bytes, offsetof(header, checksum), checksum_of(bytes), 8);
        put(path, bytes);
        CAPTURE(reserve);
        refuses_to_open(errc::corrupt, message, "flipped", {"open "});
    }
    put(path, whole);
    CHECK(*segment<>::open("flipped").find<int>("answer") == 42); // nothing else was wrong
    ::unlink(path.c_str());
}

TEST_CASE("the other byte order, another version, another configuration") {
    std::string swapped = valid_bytes();
    const auto swap_words = [&](std::size_t from, std::size_t count, std::size_t width) {
        for (std::size_t i = 0; i < count; ++i) {
            auto* const word = swapped.data() + from + i * width;
            std::reverse(word, word + width);
        }
    };
    using header = detail::segment_header;
    swap_words(offsetof(header, order), 4, 4);
    swap_words(offsetof(header, reserve), 4, 8);
    swap_words(offsetof(header, life), 2, 4);
    swap_words(offsetof(header, name_hash), 2, 8);
    put_word(swapped, offsetof(header, checksum), checksum_of(swapped), 8);
    swap_words(offsetof(header, size), 1, 8);
    const std::string path = directory + "foreign"s;
    put(path, swapped);
    refuses_to_open(errc::byte_order_mismatch, std::errc::not_supported, "foreign",
                    {"word order: expected 0x1020304, found 0x4030201", "byte order"});

    std::string newer = valid_bytes();
    put_word(newer, offsetof(header, layout_version), COHOLD_LAYOUT_VERSION + 1, 4);
    put_word(newer, offsetof(header, header_bytes), 1024, 4);
    put(path, newer);
    refuses_to_open(errc::layout_mismatch, std::errc::not_supported, "foreign",
                    {"layout version: expected " + hex(COHOLD_LAYOUT_VERSION) + ", found " +
                     hex(COHOLD_LAYOUT_VERSION + 1)});

    std::string wider = valid_bytes();
    put_word(wider, offsetof(header, max_participants), 5000, 4);
    put_word(wider, offsetof(header, checksum), checksum_of(wider), 8);
    put(path, wider);
    refuses_to_open(errc::corrupt, std::errc::bad_message, "foreign",
                    {"participants: expected 2 to 4094, found 5000"});
    ::unlink(path.c_str());
}

TEST_CASE("random bytes are not a segment") {
    std::mt19937_64 random(5);
    const std::string path = directory + "random"s;
    for (int round = 0; round < 200; ++round) {
        std::string bytes(static_cast<std::size_t>(random() % 20000), '\0');
        if (round % 8 != 0) { // all zero, now and then
            std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(random()); });
        }
        put(path, bytes);
        const bool shorter = bytes.size() < detail::control_bytes;
        refuses(shorter ? errc::truncated : errc::not_a_segment, std::errc::bad_message,
                {"open posix object 'random'", shorter ? "object size" : "magic: expected "},
                [](std::error_code& ec) { must(!segment<>::open("random", ec)); });
    }
    put(path, std::string(8192, 'x'));
    refuses_to_open(
        errc::not_a_segment, std::errc::bad_message, "random",
        {"magic: expected " + hex(detail::magic_word()) + ", found " + hex(0x7878787878787878u)});
    ::unlink(path.c_str());
}

TEST_CASE("a good header and random bytes behind it never lead out of the segment") {
    std::mt19937_64 random(9);
    const std::string path = directory + "hostile"s;
    for (int round = 0; round < 60; ++round) {
        std::string bytes = valid_bytes();
        const std::size_t changes = static_cast<std::size_t>(random() % 4000 + 1);
        for (std::size_t i = 0; i < changes; ++i) {
            const std::size_t at = static_cast<std::size_t>(4096 + random() % (65536 - 4096)) / 8;
            put_word(bytes, at * 8, random() % 2 == 0 ? random() % 70000 : random(), 8);
        }
        put(path, bytes);
        support::check_child([&] {
            std::error_code ec;
            const auto view = segment<>::open("hostile", read_only, ec);
            if (view) {
                (void)view.find<int>("answer", ec);
                (void)view.find<double>("answer", ec);
                (void)view.objects();
            }
        });
    }
    ::unlink(path.c_str());
}

TEST_CASE("wrong types, wrong names and wrong alignments in a segment") {
    const auto made = segment<>::create("objects", {.size = 65536, .reserve = 1 << 20});
    made.construct<int>("number", 7);
    const std::size_t used = made.used();
    const auto mismatch = [&](auto&& run) {
        refuses(errc::type_mismatch, std::errc::invalid_argument,
                {"'number'", "expected f64 (8 bytes)", "found i32 (4 bytes)"}, run);
        CHECK(made.used() == used);
    };
    mismatch([&](std::error_code& ec) { CHECK(made.find<double>("number", ec) == nullptr); });
    mismatch([&](std::error_code& ec) {
        CHECK(made.find_or_construct<double>("number", ec, 1.0) == nullptr);
    });
    mismatch([&](std::error_code& ec) { must(!made.destroy<double>("number", ec)); });
    mismatch([&](std::error_code& ec) {
        CHECK(segment<>::open("objects", read_only).find<double>("number", ec) == nullptr);
    });
    refuses(errc::already_exists, std::errc::file_exists,
            {"construct object 'number'", "of type i32"},
            [&](std::error_code& ec) { CHECK(made.construct<int>("number", ec, 8) == nullptr); });
    CHECK(*made.find<int>("number") == 7);
    for (const auto& [name, says] :
         {bad_name{"", "empty"}, bad_name{std::string(1024, 'x'), "1024 bytes"},
          bad_name{"a\0b"s, "zero byte"}}) {
        const auto invalid = [&](std::string_view verb, auto&& run) {
            refuses(errc::invalid_name, std::errc::invalid_argument, {verb, says}, run);
            CHECK(made.used() == used);
        };
        invalid("construct object",
                [&](std::error_code& ec) { CHECK(made.construct<int>(name, ec) == nullptr); });
        invalid("construct object", [&](std::error_code& ec) {
            CHECK(made.find_or_construct<int>(name, ec) == nullptr);
        });
        invalid("destroy object", [&](std::error_code& ec) { must(!made.destroy<int>(name, ec)); });
    }

    struct alignas(4 << 20) wide {
        char bytes[4 << 20];
    };

    refuses(errc::invalid_alignment, std::errc::invalid_argument, {"allocate", "alignment 4194304"},
            [&](std::error_code& ec) {
                CHECK(made.allocator<wide>().try_allocate(1) == nullptr);
                ec = last_failure().code();
            });
    CHECK(made.used() == used);
    refuses(errc::invalid_size, std::errc::invalid_argument, {"allocate", "objects of 8 bytes"},
            [&](std::error_code& ec) {
                CHECK(made.allocator<std::uint64_t>().try_allocate(SIZE_MAX / 8) == nullptr);
                ec = last_failure().code();
            });
    refuses(errc::no_segment, std::errc::not_enough_memory,
            {"allocate", "5 objects of 4 bytes", "segment::construct"}, [](std::error_code& ec) {
                CHECK(shm_allocator<int>().try_allocate(5) == nullptr);
                ec = last_failure().code();
            });
    {
        // It has attached in order to look, and is recorded in its slot of the process table.
        std::error_code ec;
        must(!shared<int>::open("objects", ec));
        check_refused(errc::not_found, std::errc::no_such_file_or_directory,
                      {"'objects'", "root object"}, ec);
        CHECK(made.participants().size() == 1);
        CHECK(made.used() == used);
    }

    // Empty handles.
    const segment<> empty;
    const auto refused_by_empty = [](auto&& run) {
        refuses(errc::empty_handle, std::errc::bad_file_descriptor, {"empty"}, run);
    };
    refused_by_empty([&](std::error_code& ec) { (void)empty.find<int>("x", ec); });
    refused_by_empty([&](std::error_code& ec) { (void)empty.construct<int>("x", ec); });
    refused_by_empty([&](std::error_code& ec) { (void)empty.destroy<int>("x", ec); });
    refused_by_empty([&](std::error_code& ec) { empty.grow(1, ec); });
    refused_by_empty([&](std::error_code& ec) { (void)segment<>::adopt({}, ec); });
    refused_by_empty([&](std::error_code& ec) { (void)memory_object<>().map(ec); });
    segment<>::remove("objects");
}

TEST_CASE("names that share a hash or a key are told apart") {
    using hashed = segment<mechanism::posix, naming::hashed>;
    {
        const auto made = hashed::create("one", {.size = 65536, .reserve = 1 << 20});
        made.construct<int>("x", 1);
    }
    std::error_code ec;
    const std::string one = directory + naming::hashed::apply("one", ec);
    const std::string two = directory + naming::hashed::apply("two", ec);
    REQUIRE(::rename(one.c_str(), two.c_str()) == 0); // as if both had the same hash
    const parts says{"expected 'two', found 'one'"};
    refuses_to_open<mechanism::posix, naming::hashed>(errc::name_mismatch, std::errc::file_exists,
                                                      "two", says);
    refuses(errc::name_mismatch, std::errc::file_exists, says,
            [](std::error_code& code) { must(!hashed::remove("two", code)); });
    REQUIRE(::rename(two.c_str(), one.c_str()) == 0);
    CHECK(hashed::remove("one"));

    // System V: "0x…" is a key, so it can be the key of another name.
    using system_v = segment<mechanism::system_v>;
    const auto named = system_v::create("some name", {.size = 65536, .reserve = 65536});
    const std::string as_key =
        detail::key_text(static_cast<std::uint32_t>(detail::system_v_key("some name")));
    const std::string text = "expected '" + as_key + "', found 'some name'";
    refuses_to_open<mechanism::system_v>(errc::name_mismatch, std::errc::file_exists, as_key,
                                         {text});
    refuses(errc::already_exists, std::errc::file_exists, {"create ", as_key},
            [&](std::error_code& code) { must(!system_v::create(as_key, 65536, code)); });
    refuses(errc::name_mismatch, std::errc::file_exists, {"remove ", text},
            [&](std::error_code& code) { must(!system_v::remove(as_key, code)); });
    CHECK(system_v::open("some name"));
    CHECK(system_v::remove("some name"));
}

TEST_CASE("System V objects of other programs") {
    using system_v = segment<mechanism::system_v>;
    const key_t key = detail::system_v_key("foreign");
    const int id = ::shmget(key, 100000, IPC_CREAT | IPC_EXCL | 0600);
    REQUIRE(id >= 0);
    for (const char* text : {"", "somebody else's bytes"}) {
        void* const at = ::shmat(id, nullptr, 0);
        std::strcpy(static_cast<char*>(at), text); // NOLINT: it fits
        ::shmdt(at);
        refuses_to_open<mechanism::system_v>(errc::not_a_segment, std::errc::bad_message, "foreign",
                                             {"magic: expected "});
        refuses(errc::already_exists, std::errc::file_exists, {"create ", "'foreign'"},
                [](std::error_code& ec) { must(!system_v::create("foreign", 65536, ec)); });
        refuses(errc::not_a_segment, std::errc::bad_message, {"remove ", "'foreign'"},
                [](std::error_code& ec) { must(!system_v::remove("foreign", ec)); });
    }
    ::shmctl(id, IPC_RMID, nullptr);

    // Many programs use one key for memory and for semaphores: theirs stay.
    for (const int semaphores : {1, 2, 5}) {
        CAPTURE(semaphores);
        const int set = ::semget(key, semaphores, IPC_CREAT | IPC_EXCL | 0600);
        REQUIRE(set >= 0);
        REQUIRE(::semctl(set, 0, SETVAL, 1) == 0);
        const std::string before = world();
        ::alarm(20); // and the library does not wait for them
        {
            std::error_code ec;
            const auto made = system_v::create("foreign", {.size = 65536, .reserve = 65536}, ec);
            INFO(last_failure().what());
            must(!ec);
            CHECK(system_v::open("foreign", ec));
            CHECK(system_v::remove("foreign", ec));
        }
        ::alarm(0);
        CHECK(world() == before);
        CHECK(::semctl(set, 0, GETVAL) == 1);
        ::semctl(set, 0, IPC_RMID);
    }
}

TEST_CASE("native handles that are not segments") {
    const auto refused = [](errc code, std::errc condition, std::string_view says, auto&& run) {
        refuses(code, condition, {"adopt ", says}, run);
    };
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const auto copy = [](int fd) { return file_descriptor{::fcntl(fd, F_DUPFD_CLOEXEC, 100)}; };
    refused(errc::special_file_refused, std::errc::invalid_argument, "file descriptor",
            [&](std::error_code& ec) { must(!segment<>::adopt(copy(ends[0]), ec)); });
    refused(errc::special_file_refused, std::errc::invalid_argument, "file descriptor",
            [&](std::error_code& ec) {
                must(!memory_object<mechanism::memfd>::adopt(copy(ends[0]), ec));
            });
    ::close(ends[0]);
    ::close(ends[1]);
    put(directory + "plain"s, std::string(5000, 'x'));
    const detail::unique_fd plain = detail::open_file("/dev/shm/plain", O_RDWR);
    refused(errc::not_a_segment, std::errc::bad_message, "magic",
            [&](std::error_code& ec) { must(!segment<>::adopt(copy(plain.get()), ec)); });
    refused(errc::unsupported, std::errc::not_supported, "F_SEAL_SHRINK", [&](std::error_code& ec) {
        must(!segment<mechanism::memfd>::adopt(copy(plain.get()), ec));
    });
    put(directory + "plain"s, valid_bytes());
    const detail::unique_fd reader = detail::open_file("/dev/shm/plain", O_RDONLY);
    refused(errc::permission_denied, std::errc::permission_denied, "for writing",
            [&](std::error_code& ec) { must(!segment<>::adopt(copy(reader.get()), ec)); });
    CHECK(segment_view<>::adopt(copy(reader.get())));
    refuses(errc::read_only, std::errc::permission_denied, {"grow ", "fallocate"},
            [&](std::error_code& ec) {
                auto object = memory_object<>::adopt(copy(reader.get()));
                object.grow(1 << 20, ec);
            });
    std::error_code ec;
    must(!segment<>::adopt({9999}, ec));
    CHECK(ec == std::errc::bad_file_descriptor);
    must(!segment<mechanism::system_v>::adopt({0x7fffff00}, ec));
    CHECK(ec == errc::removed);
    ::unlink("/dev/shm/plain");
}

int main(int argc, char** argv) {
    support::enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC);
    support::mount_or_exit("tmpfs", "/dev/shm", "size=64m,mode=1777");
    // If the library tries to get terabytes all the same, it must fail.
    const ::rlimit file_size{1 << 30, 1 << 30};
    ::setrlimit(RLIMIT_FSIZE, &file_size);
    doctest::Context context(argc, argv);
    const int result = context.run();
    if (context.shouldExit()) {
        return result;
    }
    std::string left;
    list_files(directory, left);
    list_system_v(left);
    if (!left.empty()) {
        std::fprintf(stderr, "left behind:\n%s", left.c_str());
    }
    return result != 0 || !left.empty() ? 1 : 0;
}
