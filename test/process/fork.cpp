// What happens to segments and their handles in forked children, after exec, and when all
// descriptors are closed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

using namespace cohold;
using support::child;
using support::content;
using support::in_child;
using support::status_of;

namespace {

using numbers = shm_vector<std::uint64_t>;

constexpr segment_options small{.size = 16384, .reserve = std::size_t{64} << 20};
constexpr segment_options for_session{
    .size = 16384, .reserve = std::size_t{64} << 20, .lifetime = lifetime::session};

// A segment of any mechanism, of which nothing is left at the end.
template <class Mechanism>
class scratch {
  public:
    using segment = cohold::segment<Mechanism>;

    static constexpr bool named =
        !std::same_as<typename Mechanism::default_naming, naming::unnamed>;
    static constexpr bool is_file = std::same_as<Mechanism, mechanism::file>;

    explicit scratch(const segment_options& options = small)
        : name_((is_file ? "/tmp/" : "") + ("cohold-test-fork-" + std::to_string(getpid()))) {
        if constexpr (named) {
            segment::remove(name_); // left by a killed process with the same number
            handle = segment::create(name_, options);
        } else {
            handle = segment::create(options);
        }
    }

    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    ~scratch() {
        if constexpr (named) {
            std::error_code ec;
            segment::remove(name_, ec);
        }
    }

    [[nodiscard]] const std::string& name() const { return name_; }

    [[nodiscard]] bool exists() const {
        std::error_code ec;
        const bool found = static_cast<bool>(segment::open(name_, ec));
        CHECK((found || ec == errc::not_found));
        return found;
    }

    segment handle;

  private:
    std::string name_;
};

bool holds(const numbers& vector, std::size_t count) {
    if (vector.size() != count) {
        return false;
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (vector[i] != i * i) {
            return false;
        }
    }
    return true;
}

void fill(numbers& vector, std::size_t count) {
    while (vector.size() < count) {
        vector.push_back(vector.size() * vector.size());
    }
}

// The mapping that an address belongs to, according to /proc/self/maps.
struct mapping {
    char* begin = nullptr;
    unsigned long long inode = 0;
};

mapping mapping_of(const void* address) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long long begin = 0;
        unsigned long long end = 0;
        unsigned long long inode = 0;
        if (std::sscanf(line.c_str(), "%llx-%llx %*s %*s %*s %llu", &begin, &end, &inode) == 3 &&
            begin <= wanted && wanted < end) {
            return {reinterpret_cast<char*>(static_cast<std::uintptr_t>(begin)), inode};
        }
    }
    return {};
}

// Is the page mapped, and does it contain what was written?
bool intact(const char* page, char value) {
    // write(2) reads the page for us, and returns EFAULT instead of dying.
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    const bool read = write(ends[1], page, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return read && *page == value;
}

std::string contents(int fd) {
    char text[8192];
    const ssize_t bytes = pread(fd, text, sizeof text, 0);
    return {text, bytes < 0 ? 0 : static_cast<std::size_t>(bytes)};
}

// The question for programs after exec: how many descriptors and mappings of an inode do they have?
int count_of(unsigned long long inode) {
    int count = 0;
    for (int fd = 0; fd < 1000; ++fd) {
        struct stat status{};
        count += fstat(fd, &status) == 0 && status.st_ino == inode ? 1 : 0;
    }
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long long found = 0;
        count += std::sscanf(line.c_str(), "%*s %*s %*s %*s %llu", &found) == 1 && found == inode
                     ? 1
                     : 0;
    }
    return count;
}

// -1 on failure.
int inherited_by_exec(const void* object) {
    const std::string inode = std::to_string(mapping_of(object).inode);
    const pid_t id = fork();
    if (id == 0) {
        execl("/proc/self/exe", "fork", "--count", inode.c_str(), static_cast<char*>(nullptr));
        _exit(99);
    }
    int status = -1;
    const bool counted = waitpid(id, &status, 0) == id && WIFEXITED(status) &&
                         WEXITSTATUS(status) != 99 && inode != "0";
    return counted ? WEXITSTATUS(status) : -1;
}

// Drops the privilege of opening files by their mappings.
bool become_nobody() {
    return geteuid() != 0 || setresuid(65534, 65534, 65534) == 0;
}

// The same, and the file belongs to that user.
bool become_its_owner(const std::string& name) {
    const std::string path = name.front() == '/' ? name : "/dev/shm/" + name;
    return chown(path.c_str(), 65534, 65534) == 0 && become_nobody();
}

std::optional<segment<>> at_exit; // destroyed by exit(3)

} // namespace

#define MECHANISMS                                                                                 \
    mechanism::posix, mechanism::system_v, mechanism::file, mechanism::memfd, mechanism::anonymous

TEST_CASE_TEMPLATE("a child works with the handle that it inherited", Mechanism, MECHANISMS) {
    scratch<Mechanism> s;
    auto& mine = s.handle.template construct<numbers>("numbers");
    fill(mine, 100);
    const std::size_t size = s.handle.size();
    support::common<std::atomic<int>> turn;
    child other(content([&] {
        numbers* found = s.handle.template find<numbers>("numbers");
        EXPECT(found == &mine && holds(*found, 100));
        fill(*found, 100000);
        EXPECT(s.handle.size() > size);
        s.handle.template construct<numbers>("child's");
        s.handle.template destroy<numbers>("child's");
        s.handle.template construct<numbers>("kept", std::size_t{3}, std::uint64_t{9});
        *turn = 1;
        support::await(*turn, 2);
        EXPECT(holds(*found, 300000)); // in memory that the parent has added meanwhile
        found->clear();
        found->shrink_to_fit();
        return true;
    }));
    support::await(*turn, 1);
    CHECK(s.handle.size() > size);
    CHECK(holds(mine, 100000));
    CHECK(s.handle.template find<numbers>("kept")->size() == 3);
    CHECK(s.handle.template find<numbers>("child's") == nullptr);
    fill(mine, 300000);
    *turn = 2;
    CHECK(status_of(other) == 0);
    CHECK(mine.empty());
}

TEST_CASE_TEMPLATE("a child's destructors do the parent no harm", Mechanism, MECHANISMS) {
    scratch<Mechanism> s;
    auto& mine = s.handle.template construct<numbers>("numbers");
    CHECK(in_child([&] {
              fill(mine, 50);
              const auto taken = std::move(s.handle);
              return true;
          }) == 0);
    fill(mine, 100000);
    CHECK(holds(mine, 100000));
    if constexpr (scratch<Mechanism>::named) {
        CHECK(s.exists());
        CHECK_FALSE(s.handle.is_removed());
    }
}

TEST_CASE("a child's copy of a node handle does not free the parent's node") {
    scratch<mechanism::posix> s;
    auto& mine = s.handle.construct<shm_map<int, int>>("map");
    mine[1] = 11;
    auto node = mine.extract(1);
    const auto used = s.handle.used();
    CHECK(in_child([&] {
              auto taken = std::move(node);
              taken = {};
              const auto again = std::move(taken);
              return true;
          }) == 0);
    CHECK(in_child([&] {
              const auto taken = std::move(node);
              return true;
          }) == 0);
    CHECK(s.handle.used() == used);
    CHECK(mine.insert(std::move(node)).inserted);
    CHECK(mine.at(1) == 11);
}

TEST_CASE_TEMPLATE("a session outlives the children of its user", Mechanism, mechanism::posix,
                   mechanism::system_v, mechanism::file) {
    scratch<Mechanism> s(for_session);
    auto& mine = s.handle.template construct<numbers>("numbers");
    CHECK(in_child([&] {
              const auto taken = std::move(s.handle);
              return true;
          }) == 0);
    CHECK(s.exists());
    CHECK(in_child([&] { return true; }) == 0); // _exit
    CHECK(s.exists());
    // A child that attaches by itself.
    CHECK(in_child([&] {
              const auto own = cohold::segment<Mechanism>::open(s.name());
              fill(*own.template find<numbers>("numbers"), 1000);
              return true;
          }) == 0);
    CHECK(s.exists());
    CHECK(holds(mine, 1000));
    s.handle = {};
    CHECK_FALSE(s.exists());
}

TEST_CASE("exit(3) of a child, with its static objects, leaves the parent's session") {
    scratch<mechanism::posix> s(for_session);
    at_exit.emplace(segment<>::open(s.name()));
    int status = -1;
    const pid_t id = fork();
    if (id == 0) {
        at_exit->construct<numbers>("child's", std::size_t{10});
        std::exit(0);
    }
    CHECK(waitpid(id, &status, 0) == id);
    CHECK(status == 0);
    CHECK(at_exit->find<numbers>("child's")->size() == 10);
    s.handle = {};
    CHECK(s.exists()); // at_exit is attached
    at_exit.reset();
    CHECK_FALSE(s.exists());
}

TEST_CASE_TEMPLATE("a child has inherited a handle, not an attachment", Mechanism, mechanism::posix,
                   mechanism::system_v, mechanism::file) {
    scratch<Mechanism> s(for_session);
    auto& mine = s.handle.template construct<numbers>("numbers");
    support::common<std::atomic<int>> turn;
    child other(content([&] {
        support::await(*turn, 1);
        // The session may be over, but the memory exists, and grows.
        fill(mine, 200000);
        EXPECT(holds(mine, 200000));
        const auto taken = std::move(s.handle);
        return true;
    }));
    s.handle = {};
    *turn = 1;
    CHECK(status_of(other) == 0);
    CHECK_FALSE(s.exists());
}

TEST_CASE_TEMPLATE("a child that attaches by itself keeps the session alive", Mechanism,
                   mechanism::posix, mechanism::system_v, mechanism::file) {
    scratch<Mechanism> s(for_session);
    s.handle.template construct<numbers>("numbers");
    support::common<std::atomic<int>> turn;
    child other(content([&] {
        auto own = cohold::segment<Mechanism>::open(s.name());
        {
            const auto inherited = std::move(s.handle);
        }
        *turn = 1;
        support::await(*turn, 2);
        EXPECT(s.exists()); // the parent has left
        fill(*own.template find<numbers>("numbers"), 1000);
        *turn = 3;
        support::await(*turn, 4);
        own = {};
        EXPECT(!s.exists());
        return true;
    }));
    support::await(*turn, 1);
    s.handle = {};
    *turn = 2;
    support::await(*turn, 3);
    CHECK(s.exists());
    *turn = 4;
    CHECK(status_of(other) == 0);
    CHECK_FALSE(s.exists());
}

TEST_CASE_TEMPLATE("a child that uses what it has inherited keeps the session alive", Mechanism,
                   mechanism::posix, mechanism::system_v, mechanism::file) {
    for (const bool killed : {false, true}) {
        CAPTURE(killed);
        scratch<Mechanism> s(for_session);
        s.handle.template construct<numbers>("numbers");
        support::common<std::atomic<int>> turn;
        child other(content([&] {
            fill(*s.handle.template find<numbers>("numbers"), 1000);
            *turn = 1;
            support::await(*turn, 2);
            EXPECT(s.exists()); // the parent has left
            if (killed) {
                raise(SIGKILL);
            }
            {
                const auto taken = std::move(s.handle);
            }
            EXPECT(!s.exists());
            return true;
        }));
        support::await(*turn, 1);
        s.handle = {};
        CHECK(s.exists());
        *turn = 2;
        CHECK(status_of(other) == (killed ? -SIGKILL : 0));
        CHECK_FALSE(s.exists());
    }
}

TEST_CASE("a child's destructor unmaps nothing but the segment") {
    scratch<mechanism::posix> s(for_session);
    const auto& mine = s.handle.construct<int>("one", 1);
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    CHECK(in_child([&] {
              char* const base = mapping_of(&mine).begin;
              EXPECT(base != nullptr);
              // The child's own mappings may be placed wherever the parent's private pages are not
              // inherited.
              std::vector<char*> pages;
              for (std::size_t i = 1; i <= 4; ++i) {
                  void* const at = mmap(base - i * page, page, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                  EXPECT(at != MAP_FAILED);
                  pages.push_back(static_cast<char*>(at));
                  *pages.back() = 'x';
              }
              {
                  const auto taken = std::move(s.handle);
              }
              EXPECT(mapping_of(&mine).begin == nullptr);
              for (const char* each : pages) {
                  EXPECT(intact(each, 'x'));
              }
              return true;
          }) == 0);
}

TEST_CASE_TEMPLATE("exec inherits neither descriptors nor mappings", Mechanism, MECHANISMS) {
    scratch<Mechanism> s(scratch<Mechanism>::named ? for_session : small);
    auto& mine = s.handle.template construct<numbers>("numbers");
    CHECK(count_of(mapping_of(&mine).inode) > 0);
    CHECK(inherited_by_exec(&mine) == 0);
}

TEST_CASE("exec inherits nothing of views, adopted handles and objects") {
    scratch<mechanism::posix> s;
    const auto& mine = s.handle.construct<int>("one", 1);
    const auto view = segment<>::open(s.name(), read_only);
    const int fd = dup(s.handle.native_handle().value); // dup clears FD_CLOEXEC
    CHECK(inherited_by_exec(&mine) == 1);
    const auto adopted = segment<>::adopt(file_descriptor{fd});
    const auto object = memory_object<>::open(s.name());
    const auto region = object.map();
    CHECK(adopted.size() == view.size());
    CHECK(region.size() >= s.handle.size());
    CHECK(count_of(mapping_of(&mine).inode) >= 8); // four descriptors, four mappings
    CHECK(inherited_by_exec(&mine) == 0);
}

TEST_CASE_TEMPLATE("a session is over when its only user becomes another program", Mechanism,
                   mechanism::posix, mechanism::system_v, mechanism::file) {
    scratch<Mechanism> s(for_session);
    s.handle = {};
    CHECK(in_child([&] {
              s.handle = cohold::segment<Mechanism>::create(s.name(), for_session);
              EXPECT(s.exists());
              execl("/bin/true", "true", static_cast<char*>(nullptr));
              return false;
          }) == 0);
    CHECK_FALSE(s.exists());
}

TEST_CASE_TEMPLATE("fork while other threads allocate and construct", Mechanism, mechanism::posix,
                   mechanism::anonymous) {
    // The locks are in the segment, and their holders continue: the child merely waits its turn.
    scratch<Mechanism> s;
    std::atomic<bool> stop{false};
    const auto work = [&](const char* name) {
        while (!stop) {
            numbers some(s.handle.template allocator<std::uint64_t>());
            fill(some, 500);
            s.handle.template construct<numbers>(name);
            s.handle.template destroy<numbers>(name);
        }
    };
    s.handle.template construct<numbers>("warm");
    s.handle.template destroy<numbers>("warm");
    const std::size_t used = s.handle.used();
    std::thread one(work, "one");
    std::thread two(work, "two");
    int failed = 0;
    for (int i = 0; i < 20; ++i) {
        failed += in_child([&] {
            for (int round = 0; round < 20; ++round) {
                numbers& some = s.handle.template construct<numbers>("child's");
                fill(some, 300);
                EXPECT(holds(some, 300));
                EXPECT(s.handle.template destroy<numbers>("child's"));
            }
            return true;
        });
        const pid_t id = fork();
        if (id == 0) {
            execl("/bin/true", "true", static_cast<char*>(nullptr));
            _exit(9);
        }
        int status = -1;
        failed += waitpid(id, &status, 0) == id && status == 0 ? 0 : 1;
    }
    stop = true;
    one.join();
    two.join();
    CHECK(failed == 0);
    CHECK(s.handle.used() == used);
}

TEST_CASE_TEMPLATE("a child that has closed all descriptors works with what it has inherited",
                   Mechanism, mechanism::posix, mechanism::file) {
    for (const auto& options : {small, for_session}) {
        scratch<Mechanism> s(options);
        auto& mine = s.handle.template construct<shm_guarded<numbers>>("numbers");
        fill(*mine.lock(), 100);
        const int number = s.handle.native_handle().value;
        for (const bool privileged : {true, false}) {
            CAPTURE(privileged);
            CHECK(in_child([&] {
                      EXPECT(close_range(3, ~0U, 0) == 0);
                      EXPECT(privileged || geteuid() != 0 || become_its_owner(s.name()));
                      EXPECT(memfd_create("victim", 0) == 3 && dup2(3, number) == number);
                      const auto locked = mine.lock(); // the first use: it attaches
                      EXPECT(holds(*locked, locked->size()));
                      fill(*locked, locked->size() * 30); // it grows
                      return s.handle.recover() == 0;
                  }) == 0);
        }
        const auto locked = mine.lock();
        CHECK(holds(*locked, 100 * 30 * 30));
    }
}

TEST_CASE_TEMPLATE("all descriptors closed, no name: growth fails, existing data stay", Mechanism,
                   mechanism::posix, mechanism::file, mechanism::memfd) {
    scratch<Mechanism> s;
    auto& mine = s.handle.template construct<numbers>("numbers");
    fill(mine, 100);
    const std::size_t size = s.handle.size();
    const int number = s.handle.native_handle().value;
    if constexpr (scratch<Mechanism>::named) {
        CHECK(scratch<Mechanism>::segment::remove(s.name()));
    }
    for (const bool reused : {false, true}) {
        CAPTURE(reused);
        CHECK(in_child([&] {
                  EXPECT(s.handle.recover() == 0); // the first use: it attaches
                  EXPECT(become_nobody());
                  EXPECT(close_range(3, ~0U, 0) == 0);
                  const int fd = memfd_create("victim", 0);
                  EXPECT(fd >= 0 && write(fd, "untouched", 9) == 9);
                  if (reused && fd != number) {
                      EXPECT(dup2(fd, number) == number);
                  }
                  if (!reused && fd == number) {
                      EXPECT(fcntl(fd, F_DUPFD, number + 1) > number && close(fd) == 0);
                  }
                  const int victim = reused ? number : fd == number ? number + 1 : fd;
                  std::error_code ec;
                  s.handle.grow(size * 4, ec);
                  EXPECT(ec == errc::empty_handle);
                  EXPECT(s.handle.size() == size);
                  bool thrown = false;
                  try {
                      fill(mine, 100000);
                  } catch (const failure& caught) {
                      thrown = std::string_view(caught.what()).find("closed by somebody else") !=
                               std::string_view::npos;
                  }
                  EXPECT(thrown);
                  EXPECT(holds(mine, mine.size()));
                  mine.resize(100);
                  // What fits still works.
                  EXPECT(s.handle.template construct<std::array<int, 5>>("five")[4] == 0);
                  EXPECT(s.handle.template destroy<std::array<int, 5>>("five"));
                  EXPECT(contents(victim) == "untouched");
                  {
                      const auto taken = std::move(s.handle);
                  }
                  EXPECT(fcntl(victim, F_GETFD) >= 0); // the library must not close it
                  EXPECT(contents(victim) == "untouched");
                  return true;
              }) == 0);
        CHECK(holds(mine, 100));
        CHECK(s.handle.size() == size);
    }
    fill(mine, 100000);
    CHECK(holds(mine, 100000));
}

TEST_CASE("System V needs no descriptor: it grows after closing all") {
    scratch<mechanism::system_v> s;
    auto& mine = s.handle.construct<numbers>("numbers");
    CHECK(in_child([&] {
              EXPECT(close_range(3, ~0U, 0) == 0);
              fill(mine, 100000);
              return true;
          }) == 0);
    CHECK(holds(mine, 100000));
}

TEST_CASE("closing all descriptors does not end a session before its last user") {
    scratch<mechanism::posix> s(for_session);
    const std::string file = "/dev/shm/" + s.name();
    support::common<std::atomic<int>> turn;
    child other(content([&] {
        segment<> own = segment<>::open(s.name());
        {
            const auto inherited = std::move(s.handle);
        }
        EXPECT(close_range(3, ~0U, 0) == 0);
        const int victim = memfd_create("victim", 0);
        EXPECT(dup2(victim, own.native_handle().value) >= 0);
        *turn = 1;
        support::await(*turn, 2);
        EXPECT(s.exists()); // because of this process's lock, which closing did not release
        own = {};
        EXPECT(::access(file.c_str(), F_OK) != 0);
        EXPECT(fcntl(victim, F_GETFD) >= 0);
        return true;
    }));
    support::await(*turn, 1);
    s.handle = {};
    *turn = 2;
    CHECK(status_of(other) == 0);
}

TEST_CASE("a child releases what it has inherited, before its parent does and after") {
    struct locks {
        shm_mutex mutex;
        shm_recursive_mutex recursive;
        shm_shared_mutex shared;
        shm_guarded<int, shm_shared_mutex> guarded;
    };

    scratch<mechanism::posix> here;
    auto& all = here.handle.construct<locks>("locks");
    const auto is_free = [&] {
        return all.mutex.try_lock() && all.recursive.try_lock() && all.shared.try_lock() &&
               static_cast<bool>(all.guarded.try_lock());
    };
    const auto inherited = [&](const auto& lock, bool uses) {
        for (const bool parent_first : {false, true}) {
            CAPTURE(parent_first);
            support::common<std::atomic<int>> step;
            std::optional held(lock());
            child worker(content([&] {
                support::await(*step, 1);
                if (uses) {
                    here.handle.template construct<int>("used");
                    here.handle.template destroy<int>("used");
                }
                held.reset();
                return true;
            }));
            if (parent_first) {
                held.reset();
            }
            *step = 1;
            CHECK(status_of(worker) == 0);
            CHECK(in_child([&] { return is_free() == parent_first; }) == 0);
        }
    };
    for (const bool uses : {false, true}) {
        CAPTURE(uses);
        inherited([&] { return std::unique_lock(all.mutex); }, uses);
        inherited([&] { return std::unique_lock(all.recursive); }, uses);
        inherited([&] { return std::unique_lock(all.shared); }, uses);
        inherited([&] { return std::shared_lock(all.shared); }, uses);
        inherited([&] { return all.guarded.lock(); }, uses);
        inherited([&] { return all.guarded.lock_shared(); }, uses);
    }
}

TEST_CASE("a child frees nothing that its parent's own objects have in a segment") {
    scratch<mechanism::posix> here;
    const std::size_t before = here.handle.used();
    std::optional<shm_vector<numbers>> outside;
    outside.emplace(here.handle.allocator<numbers>());
    outside->resize(3);
    fill((*outside)[1], 100);
    const std::size_t used = here.handle.used();
    CHECK(in_child([&] {
              outside.reset(); // like exit(3) with static ones
              return true;
          }) == 0);
    CHECK(here.handle.used() == used);
    CHECK(holds((*outside)[1], 100));
    outside.reset();
    CHECK(here.handle.used() == before);
}

TEST_CASE_TEMPLATE("a segment whose name is removed can still grow, in parent and child", Mechanism,
                   mechanism::posix, mechanism::system_v, mechanism::file) {
    scratch<Mechanism> s;
    auto& mine = s.handle.template construct<numbers>("numbers");
    CHECK(cohold::segment<Mechanism>::remove(s.name()));
    CHECK(s.handle.is_removed());
    CHECK(in_child([&] {
              EXPECT(s.handle.is_removed());
              fill(mine, 100000);
              return true;
          }) == 0);
    fill(mine, 200000);
    CHECK(holds(mine, 200000));
}

int main(int argc, char** argv) {
    if (argc == 3 && std::string_view(argv[1]) == "--count") {
        return count_of(std::strtoull(argv[2], nullptr, 10));
    }
    return doctest::Context(argc, argv).run();
}
