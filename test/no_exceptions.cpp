// A program of two processes, built without exceptions and RTTI: the forms with std::error_code do
// everything, and the others end the process with the message that they would have thrown.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this program is about builds with -fno-exceptions -fno-rtti"
#endif

namespace {

using segment = cohold::segment<>;
using numbers = cohold::shm_vector<std::int64_t>;
using queue = cohold::shm_queue<std::int64_t>;

constexpr std::int64_t count = 20000;

int passed = 0;
int failed = 0;

void check(bool good, const char* what) {
    std::printf("%s %s\n", good ? "ok  " : "FAIL", what);
    ++(good ? passed : failed);
}

// The exit status of a child that opens the segment by its name and sends.
int send(const char* name) {
    std::error_code ec;
    segment mine = segment::open(name, ec);
    if (!mine || ec) {
        std::fprintf(stderr, "%s\n", cohold::last_failure().what());
        return 1;
    }
    queue* out = mine.find<queue>("queue", ec);
    if (out == nullptr || ec) {
        return 2;
    }
    for (std::int64_t i = 0; i < count; ++i) {
        if (!out->push(i)) {
            return 3;
        }
    }
    out->close();
    return 0;
}

void share(const char* name) {
    std::error_code ec;
    segment ours = segment::create(name, 1 << 16, ec);
    check(ours && !ec, "create");
    if (!ours) {
        return;
    }
    queue* in = ours.construct<queue>("queue", ec, 64);
    numbers* kept = ours.construct<numbers>("numbers", ec);
    check(in != nullptr && kept != nullptr && !ec, "construct");

    const pid_t child = fork();
    if (child == 0) {
        _exit(send(name));
    }
    while (auto number = in->pop()) {
        kept->push_back(*number);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other process sent everything");
    bool in_order = kept->size() == static_cast<std::size_t>(count);
    for (std::size_t i = 0; in_order && i < kept->size(); ++i) {
        in_order = (*kept)[i] == static_cast<std::int64_t>(i);
    }
    check(in_order, "the vector grew over all of it, in order");

    check(ours.find<queue>("numbers", ec) == nullptr && ec == cohold::errc::type_mismatch,
          "the wrong type is an error code");
    check(ours.construct<numbers>("numbers", ec) == nullptr && ec == cohold::errc::already_exists,
          "a name that is taken is an error code");
}

// The message that a child prints before it aborts; empty if it does not abort.
template <class Work>
std::string last_words(const Work& work) {
    int ends[2];
    if (pipe(ends) != 0) {
        return {};
    }
    const pid_t child = fork();
    if (child == 0) {
        const rlimit no_core{};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        work();
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char part[256];
    for (ssize_t got; (got = read(ends[0], part, sizeof(part))) > 0;) {
        text.append(part, static_cast<std::size_t>(got));
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? text : std::string();
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

void aborts(const std::string& name) {
    const std::string text = last_words([&] { segment absent = segment::open(name); });
    check(contains(text, "cohold: ") && contains(text, name) && contains(text, "no such object"),
          "opening a missing segment without an error code aborts, and says what failed");
    const std::string thrown = last_words([] {
        numbers nowhere;
        nowhere.push_back(1);
    });
    check(contains(thrown, "cohold: ") && contains(thrown, "not in a segment"),
          "so does allocating outside of any segment");
    const std::string range = last_words([&] {
        segment ours = segment::create(name + ".range");
        segment::remove(name + ".range");
        static_cast<void>(ours.construct<numbers>("numbers").at(3));
    });
    check(!range.empty(), "and an index out of range");
}

// The error codes of all functions that create, open and remove.
void factories(const std::string& name) {
    using cohold::errc;
    std::error_code ec;
    const std::string other = name + ".other";
    const cohold::segment_options options{.size = 16384, .reserve = std::size_t{1} << 20};

    check(!segment::create("", 4096, ec) && ec == errc::invalid_name, "no name");
    check(!segment::create(name, 0, ec) && ec == errc::invalid_size, "no size");
    const segment made = segment::create(name, options, ec);
    check(made && !ec && made.capacity() == std::size_t{1} << 20, "create with options");
    check(!segment::create(name, options, ec) && ec == errc::already_exists, "create again");
    check(ec == std::errc::file_exists && contains(cohold::last_failure().what(), name),
          "the last failure has the facts");
    check(segment::open_or_create(name, options, ec).capacity() == made.capacity() && !ec,
          "open_or_create opens");
    const auto view = segment::open(name, cohold::read_only, ec);
    check(view && !ec, "open for reading");
    check(view.find<numbers>("numbers", ec) == nullptr && !ec, "find nothing in a view");
    check(segment::adopt(cohold::file_descriptor{dup(made.native_handle().value)}, ec) && !ec,
          "adopt");
    check(!segment::adopt(cohold::file_descriptor{}, ec) && ec == errc::empty_handle,
          "adopt nothing");
    check(segment::replace(name, options, ec) && !ec && made.is_removed(), "replace");
    check(segment::remove(name, ec) && !ec && !segment::remove(name, ec) && !ec, "remove");

    const segment empty;
    check(empty.construct<numbers>("numbers", ec) == nullptr && ec == errc::empty_handle,
          "construct in an empty handle");
    empty.grow(1 << 20, ec);
    check(ec == errc::empty_handle, "grow an empty handle");

    using shared = cohold::shared<numbers>;
    check(!shared::open(other, ec) && ec == errc::not_found, "open a missing shared");
    const shared first = shared::create(other, options, ec, std::size_t{3}, std::int64_t{7});
    check(first && !ec && first->size() == 3 && (*first)[2] == 7, "create a shared");
    check(shared::open_or_create(other, ec)->size() == 3 && !ec, "open_or_create a shared");
    const auto reader = shared::open(other, cohold::read_only, ec);
    check(reader && !ec && reader->back() == 7, "open a shared for reading");
    check(!cohold::shared<queue>::open(other, ec) && ec == errc::type_mismatch,
          "open a shared of another type");
    check(shared::remove(other, ec) && !ec, "remove a shared");

    using object = cohold::memory_object<>;
    object raw = object::create(other, 4096, ec);
    check(raw && !ec, "create a memory object");
    raw.grow(8192, ec);
    const cohold::mapped_region region = raw.map(ec);
    check(!ec && region.size() == 8192, "grow and map it");
    region.durable(ec);
    check(!ec, "sync it");
    check(!segment::open(other, ec) && ec == errc::not_a_segment, "which is not a segment");
    check(object::remove(other, ec) && !ec, "remove it");
}

// A segment that can no longer grow.
void full(const std::string& name) {
    using cohold::errc;
    std::error_code ec;
    const segment ours = segment::create(name, {.size = 16384, .reserve = 1 << 17}, ec);
    segment::remove(name, ec);
    numbers* const kept = ours.construct<numbers>("kept", ec);
    check(kept != nullptr && !ec, "construct in a small segment");
    if (kept == nullptr) {
        return;
    }
    check(kept->try_reserve(10) && kept->capacity() >= 10, "try_reserve");
    check(!kept->try_reserve(std::size_t{1} << 20) && kept->empty(), "try_reserve too much");
    check(cohold::last_failure().code() == errc::reserve_exceeded, "the last failure says why");
    std::int64_t next = 0;
    while (kept->try_push_back(next)) {
        ++next;
    }
    check(next > 1000 && kept->size() == static_cast<std::size_t>(next) &&
              kept->back() == next - 1 && kept->front() == 0,
          "try_push_back until the segment is full");
    check(kept->try_emplace_back(1) == nullptr, "try_emplace_back into a full one");
    check(ours.construct<std::array<std::int64_t, 20000>>("large", ec) == nullptr &&
              ec == errc::reserve_exceeded,
          "construct an object that does not fit");
    check(ours.find<std::array<std::int64_t, 20000>>("large", ec) == nullptr && !ec,
          "and nothing of it is left");
    ours.grow(1 << 20, ec);
    check(ec == errc::reserve_exceeded, "grow beyond the reserve");
    cohold::shm_allocator<std::int64_t> allocator = ours.allocator<std::int64_t>();
    check(allocator.try_allocate(std::size_t{1} << 20) == nullptr, "try_allocate too much");
    const auto block = allocator.try_allocate(3);
    check(block != nullptr, "try_allocate");
    allocator.deallocate(block, 3);
    check(contains(last_words([&] { kept->push_back(1); }), "reserve"), "push_back aborts");
    const std::string constructor = last_words([&] {
        // In a segment of its own: a process that dies in construct leaves the names locked.
        const segment own = segment::create(name, {.size = 16384, .reserve = 1 << 17});
        segment::remove(name);
        static_cast<void>(own.construct<queue>("q", ec, 50000));
    });
    check(contains(constructor, "reserve"),
          "and so does a constructor that has no error code to report by");
    queue* const small = ours.construct<queue>("small", ec, 2);
    check(small != nullptr && small->try_push(1) && small->try_push(2) && !small->try_push(3),
          "try_push into a full queue");
    check(small->try_pop() == 1 && small->try_pop() == 2 && !small->try_pop(),
          "try_pop from an empty one");
    check(ours.destroy<queue>("small", ec) && !ec && !ours.destroy<queue>("small", ec) && !ec,
          "destroy");
    check(!ours.destroy<queue>("kept", ec) && ec == errc::type_mismatch, "destroy another type");
    check(ours.find_or_construct<numbers>("kept", ec) == kept && !ec, "find_or_construct finds");
}

// Semaphores by name and by key, and tmpfs.
void others(const std::string& name) {
    using cohold::errc;
    using set = cohold::system_v_semaphores<>;
    using semaphore = cohold::named_semaphore<>;
    constexpr auto back = cohold::semaphore_undo::at_exit;
    std::error_code ec;
    const semaphore first = semaphore::create(name, 1, ec);
    check(first && !ec && first.try_acquire(ec) && !first.try_acquire(ec) && !ec, "a semaphore");
    first.release(2, ec);
    first.acquire(ec);
    check(!ec && semaphore::open(name, ec).value(ec) == 1 && !ec, "which is opened");
    check(semaphore::remove(name, ec) && !semaphore::open(name, ec) && ec == errc::not_found,
          "and removed");
    check(contains(last_words([&] { semaphore::open(name).acquire(); }), "no such object"),
          "after which opening it aborts");
    const set second = set::create(name, {.count = 2, .initial = 1}, ec);
    check(second && !ec && second.try_acquire(1, back, ec) && !second.try_acquire(1, back, ec),
          "a set of System V");
    second.release(1, 1, back, ec);
    const cohold::semaphore_step both[] = {{0, -1}, {1, -1}};
    check(!ec && second.try_operate(both, ec) && set::open(name, ec).value(0, ec) == 0 && !ec,
          "several steps at once");
    check(second.value(2, ec) == 0 && ec == std::errc::invalid_argument, "an index out of range");
    check(set::remove(name, ec) && !second.try_acquire(0, back, ec) && ec == errc::removed,
          "a set that was removed");
    check(cohold::is_tmpfs("/dev/shm", ec) && !cohold::is_tmpfs("/proc", ec) && !ec, "is_tmpfs");
    check(cohold::tmpfs_usage("/dev/shm", ec).mount_point == "/dev/shm" && !ec, "tmpfs_usage");
    cohold::tmpfs_mount mount = cohold::tmpfs_mount::create("/proc/self/stat", {}, ec);
    check(!mount && ec == errc::not_a_directory, "mounting on a file");
    mount.unmount(ec);
    check(ec == errc::empty_handle, "unmounting nothing");
}

// Operations on mappings, seals, and passing segments on.
void mappings_and_passing() {
    using cohold::errc;
    using memfd = cohold::segment<cohold::mechanism::memfd>;
    std::error_code ec;
    const memfd ours = memfd::create({.mapping = {.populate = true, .threads = 2, .dump = false},
                                      .seals = cohold::seal::future_write},
                                     ec);
    check(ours && !ec, "create with options of its mapping, and sealed");
    const cohold::mapping_report found = cohold::report(ours.mapping(), ec);
    check(!ec && found.resident >= ours.size() && !found.dumped, "report");
    ours.mapping().apply({.fork = false}, ec);
    check(ec == errc::invalid_options, "apply impossible options");
    ours.durable(ec);
    check(!ec, "durable");
    cohold::require_seals(ours.native_handle(), cohold::seal::grow, ec);
    check(ec == errc::unsealed, "require_seals");
    check(!memfd::adopt({dup(ours.native_handle().value)}, ec) && ec == errc::permission_denied,
          "adopt a sealed object for writing");
    int ends[2];
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    cohold::send(ends[0], ours, cohold::read_only, {.tamper_proof = true}, ec);
    check(!ec, "send");
    const auto view = cohold::receive<memfd::read_only_type>(ends[1], {}, ec);
    check(view && !ec, "receive");
    close(ends[0]);
    check(!cohold::receive<memfd::read_only_type>(ends[1], {}, ec) && ec,
          "receive without a sender");
    close(ends[1]);
    check(!cohold::inherit<memfd>("none", ec) && ec == errc::invalid_options, "inherit");
    check(!cohold::fetch<memfd>(getpid(), 4095, ec) && ec, "fetch");
}

// Locks that would wait, or be held, for ever without the error codes.
void locks(const std::string& name) {
    using cohold::errc;
    std::error_code ec;
    const std::string here = name + ".locks";
    const segment ours = segment::create(here, 1 << 16, ec);
    auto* const mutex = ours.construct<cohold::shm_mutex>("mutex", ec);
    auto* const shared = ours.construct<cohold::shm_shared_mutex>("shared", ec);
    auto* const value = ours.construct<cohold::shm_guarded<numbers>>("value", ec);
    auto* const permits = ours.construct<cohold::shm_semaphore>("permits", ec, 0);
    check(mutex != nullptr && shared != nullptr && value != nullptr && permits != nullptr && !ec,
          "construct locks");
    mutex->lock(ec);
    check(!ec, "lock");
    mutex->lock(ec);
    check(ec == std::errc::resource_deadlock_would_occur, "lock twice");
    mutex->unlock();
    shared->lock_shared(ec);
    check(!ec && shared->try_lock_shared(ec), "read");
    check(!shared->try_lock(ec) && ec == std::errc::resource_deadlock_would_occur,
          "write while reading");
    shared->unlock_shared();
    shared->unlock_shared();
    {
        const auto guard = value->lock(ec);
        check(guard && !ec, "lock a value");
        guard->push_back(1);
        auto inner = value->try_lock(ec);
        inner.unlock(ec);
        check(ec == errc::section_open, "unlock in a section");
    }
    check(value->with([](const numbers& found) { return found.size(); }) == 1, "with");
    permits->release(cohold::shm_semaphore::max(), ec);
    check(!ec, "release");
    permits->release(1, ec);
    check(ec == errc::invalid_size, "release too many");
    cohold::shm_guarded<std::int64_t> outside;
    check(!outside.lock(ec) && ec == errc::no_segment, "lock outside of a segment");
    const std::string words =
        last_words([&] { outside.with([](std::int64_t& found) { ++found; }); });
    check(contains(words, "cohold: lock") && contains(words, "not in a segment"),
          "and without a code that aborts");
    check(segment::remove(here, ec) && !ec, "remove");
}

} // namespace

int main() {
    const std::string name = "cohold-test-no-exceptions-" + std::to_string(getpid());
    std::error_code ec;
    check(!segment::open(name, ec) && ec == cohold::errc::not_found,
          "a missing segment is an error code");
    aborts(name);
    factories(name);
    full(name);
    mappings_and_passing();
    others(name);
    locks(name);
    share(name.c_str());
    check(segment::remove(name, ec) && !ec, "remove");
    check(!segment::remove(name, ec), "nothing is left to remove");
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
