// The host: shares a segment with a plug-in that it loads, unloads and loads again.
//
//     host PLUG-IN [unloads]    unloads: the plug-in must really be gone after dlclose
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "plugin.hpp"

#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

namespace {

using namespace plugin;

int passed = 0;
int failed = 0;

void check(bool good, const char* what) {
    if (!good) {
        std::printf("FAIL %s\n", what);
    }
    ++(good ? passed : failed);
}

// The plug-in while it is loaded.
class loaded {
  public:
    explicit loaded(const char* path) : library_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
        if (library_ == nullptr) {
            std::printf("FAIL %s\n", dlerror());
            std::exit(1);
        }
        void* const entry = dlsym(library_, "cohold_test_plugin");
        if (entry == nullptr) {
            std::printf("FAIL %s\n", dlerror());
            std::exit(1);
        }
        functions_ = reinterpret_cast<const interface* (*)()>(entry)();
    }

    loaded(const loaded&) = delete;
    loaded& operator=(const loaded&) = delete;

    ~loaded() { dlclose(library_); }

    const interface* operator->() const { return functions_; }

  private:
    void* library_;
    const interface* functions_;
};

bool is_loaded(const char* path) {
    void* const library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (library != nullptr) {
        dlclose(library);
    }
    return library != nullptr;
}

// Which of the two it is, and that it came with its facts.
template <class Work>
std::string caught(const Work& work, cohold::errc code) {
    try {
        work();
    } catch (const cohold::failure& error) {
        check(error.code() == code, "the code of a failure from the plug-in");
        return "failure " + std::string(error.what());
    } catch (const std::system_error& error) {
        check(error.code() == code, "the code of a system_error from the plug-in");
        return "system_error " + std::string(error.what());
    }
    return "none";
}

void nested(const loaded& other, cohold::segment<>& segment) {
    auto& cells = segment.construct<table>("table");
    grow(cells, 3, 3);
    const std::size_t size = segment.size();
    other->grow(cells, 300, 200); // its code, the host's mapping and descriptor
    check(segment.size() > size, "the plug-in grew the segment through the host's mapping");
    check(holds(cells, 300, 200), "the host sees what the plug-in has pushed");
    grow(cells, 310, 250);
    check(other->holds(cells, 310, 250), "the plug-in sees what the host has pushed");
    other->grow(cells, 320, 300);
    cells.erase(cells.begin());
    check(cells[0][7] == cell(1, 7), "the host moves and frees what the plug-in has allocated");
    cells.shrink_to_fit();
    segment.destroy<table>("table");
}

void named(const loaded& other, cohold::segment<>& segment) {
    other->write_note("first");
    other->write_note("second");
    auto* const first = segment.find<note>("first");
    check(first != nullptr && first->author == 2, "the host finds the plug-in's object");
    check(first != nullptr &&
              std::string_view(first->text.data(), first->text.size()) == "written by the plug-in",
          "and what it contains");
    segment.construct<note>("third");
    check(segment.objects().size() == 3, "three objects");
    other->erase_note("third");
    check(segment.find<note>("third") == nullptr, "the plug-in destroys the host's object");
    check(segment.destroy<note>("second"), "the host destroys the plug-in's object");
    segment.grow(segment.size() * 2);
    check(other->size() == segment.size(), "both handles see the same size");
    // "first" stays when the plug-in is unloaded.
}

void errors(const loaded& other, cohold::segment<>& segment) {
    segment.construct<int>("int", 3);
    const std::string thrown = caught([&] { other->mistake("int"); }, cohold::errc::type_mismatch);
    check(thrown.starts_with("failure "), "the host catches a cohold::failure");
    check(thrown.find("shm_vector<shm_vector<i32>>") != std::string::npos &&
              thrown.find("'int'") != std::string::npos,
          "whose text names object and types");
    bool system_error = false;
    try {
        other->mistake("int");
    } catch (const std::system_error& error) {
        system_error = error.code() == std::errc::invalid_argument &&
                       std::string_view(error.code().category().name()) == "cohold";
    }
    check(system_error, "the host catches it as std::system_error");
    const std::error_code ec = other->mistake_without_throwing("int");
    check(ec == cohold::errc::type_mismatch, "an error code of the plug-in, in the host");
    check(ec != cohold::errc::not_found, "and no other");
    check(ec == std::errc::invalid_argument, "and as a condition");

    auto& cells = segment.construct<table>("full");
    const std::string full = caught([&] { other->grow(cells, 100, segment.capacity()); },
                                    cohold::errc::reserve_exceeded);
    check(full.starts_with("failure "), "the plug-in fills the reserve of the host's segment");
    bool intact = cells.size() == 100;
    for (std::size_t j = 0; intact && j < cells[0].size(); ++j) {
        intact = cells[0][j] == cell(0, j);
    }
    check(intact, "and what it had pushed before is intact");
    segment.destroy<table>("full");

    check(std::string_view(other->call([] {
              static_cast<void>(cohold::segment<>::open("cohold-test-no-such-segment"));
          })) == "failure",
          "the plug-in catches the host's failure");
    segment.destroy<int>("int");
}

// A thread has one section, whichever module opens it.
void sections(const loaded& other, cohold::segment<>& segment) {
    auto& numbers = segment.construct<ledger>("ledger");
    const auto undone = [&](const auto& work) {
        try {
            work();
        } catch (int) {
            return;
        }
        check(false, "an exception passes through the plug-in");
    };
    numbers.lock()->reserve(2);
    const std::size_t used = segment.used();
    undone([&] {
        const auto locked = numbers.lock();
        for (int i = 0; i < 50; ++i) { // in place, and in new blocks
            locked->push_back(i);
            other->append(*locked, i);
        }
        throw 1;
    });
    check(numbers.lock()->empty() && segment.used() == used,
          "what the plug-in did in the host's section is undone");
    std::pair<ledger&, const loaded&> both(numbers, other);
    undone([&] {
        other->within(
            numbers,
            [](void* with) {
                auto& [mine, theirs] = *static_cast<decltype(both)*>(with);
                const auto again = mine.lock(); // which the thread already has
                for (int i = 0; i < 50; ++i) {
                    again->push_back(i);
                    theirs->append(*again, i);
                }
                throw 1;
            },
            &both);
    });
    check(numbers.lock()->empty() && segment.used() == used,
          "what the host did in the plug-in's section is undone");
    other->within(
        numbers, [](void* with) { static_cast<ledger*>(with)->lock()->push_back(3); }, &numbers);
    check(numbers.lock()->size() == 2, "host and plug-in change it in one section");
    segment.destroy<ledger>("ledger");
}

// It has used the plug-in, and continues when that is unloaded.
class survivor {
  public:
    survivor(const loaded& other, cohold::segment<>& segment)
        : numbers_(segment.construct<ledger>("survivor")), thread_([this, &other] {
              {
                  const auto locked = numbers_.lock();
                  other->append(*locked, 1);
              }
              step_ = 1;
              while (step_ != 2) {
                  std::this_thread::yield();
              }
              try {
                  const auto locked = numbers_.lock();
                  locked->push_back(2);
                  throw 1;
              } catch (int) {
                  numbers_.lock()->push_back(3);
              }
              const auto locked = numbers_.lock();
              locked->push_back(4);
              pthread_exit(nullptr);
          }) {
        while (step_ != 1) {
            std::this_thread::yield();
        }
    }

    void finish(cohold::segment<>& segment) {
        step_ = 2;
        thread_.join();
        {
            const auto locked = numbers_.lock();
            check(locked->size() == 2 && (*locked)[0] == 1 && (*locked)[1] == 3,
                  "a thread outlives a plug-in that it used");
        }
        segment.destroy<ledger>("survivor");
    }

  private:
    ledger& numbers_;
    std::atomic<int> step_{0};
    std::thread thread_;
};

void threads(const loaded& other, cohold::segment<>& segment) {
    auto& out = segment.construct<queue>("queue", 20U);
    auto& sum = segment.construct<std::atomic<std::uint64_t>>("sum", 0U);
    auto& theirs = segment.construct<table>("theirs");
    auto& ours = segment.construct<table>("ours");
    other->start("queue", "sum");
    std::thread worker([&] { other->grow(theirs, 200, 100); });
    constexpr std::uint64_t count = 5000;
    for (std::uint64_t i = 1; i <= count; ++i) {
        out.push(i);
    }
    grow(ours, 200, 100);
    worker.join();
    out.close();
    while (sum.load() != count * (count + 1) / 2) {
        std::this_thread::yield();
    }
    check(holds(theirs, 200, 100) && other->holds(ours, 200, 100),
          "host and plug-in allocate at the same time");
    // The plug-in's thread is joined when the plug-in is unloaded.
}

void run(const char* path, bool unloads, const std::string& name) {
    const cohold::segment_options options{
        .size = 16384, .reserve = std::size_t{16} << 20, .lifetime = cohold::lifetime::session};
    auto segment = cohold::segment<>::create(name, options);
    segment.construct<int>("warm"); // the directory keeps its table
    segment.destroy<int>("warm");
    const std::size_t used = segment.used();
    std::optional<survivor> outlives;
    {
        const loaded other(path);
        other->open(name.c_str());
        nested(other, segment);
        named(other, segment);
        errors(other, segment);
        sections(other, segment);
        outlives.emplace(other, segment);
        threads(other, segment);
        if (!unloads) {
            other->close();
        }
    }
    if (unloads) {
        check(!is_loaded(path), "the plug-in is unloaded");
    }
    outlives->finish(segment);
    check(cohold::segment<>::open(name).objects().size() == 5, "the session continues");
    auto* const theirs = segment.find<table>("theirs");
    grow(*theirs, 250, 150); // made by the plug-in, whose mapping is closed
    check(holds(*theirs, 250, 150), "the plug-in's table, after the plug-in");
    check(segment.destroy<note>("first") && segment.destroy<queue>("queue") &&
              segment.destroy<std::atomic<std::uint64_t>>("sum") &&
              segment.destroy<table>("theirs") && segment.destroy<table>("ours"),
          "the host destroys what is left");
    check(segment.objects().empty() && segment.used() == used, "nothing is left");
    segment = {};
    std::error_code ec;
    check(!cohold::segment<>::open(name, ec) && ec == cohold::errc::not_found,
          "the session ends with the host's handle");
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s PLUG-IN [unloads]\n", argv[0]);
        return 2;
    }
    alarm(60);
    const bool unloads = argc > 2 && std::string_view(argv[2]) == "unloads";
    const std::string name = "cohold-test-plugin-" + std::to_string(getpid());
    for (int round = 0; round < 2; ++round) { // loading it again works as well
        run(argv[1], unloads, name);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
