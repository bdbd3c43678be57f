// The heap of a segment against Boost's managed_shared_memory, and against allocators that are not
// shared: the C library's, mimalloc and jemalloc, if they are there.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <boost/interprocess/managed_shared_memory.hpp>
#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "children.hpp"
#include "processes.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::contest;
using bench::sample;

constexpr std::size_t segment_bytes = std::size_t{256} << 20;

struct cohold_heap {
    static constexpr const char* name = "cohold";
    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(segment_bytes);
    cohold::shm_allocator<char> from = segment.allocator<char>();

    [[nodiscard]] bool is_there() const { return true; }

    void* allocate(std::size_t bytes) { return from.allocate(bytes).get(); }

    void deallocate(void* block) { from.deallocate(static_cast<char*>(block), 0); }

    // Bytes of memory that the kernel has given to it, after what is free has been given back.
    [[nodiscard]] double memory() const {
        segment.trim();
        return static_cast<double>(segment.committed());
    }
};

// Of this process.
double resident() {
    unsigned long pages = 0;
    std::FILE* const file = std::fopen("/proc/self/statm", "r");
    bench::check(file != nullptr && std::fscanf(file, "%*u %lu", &pages) == 1, "statm");
    std::fclose(file);
    return static_cast<double>(pages) * static_cast<double>(getpagesize());
}

struct boost_heap {
    static constexpr const char* name = "boost managed_shared_memory";
    std::string object = bench::own_name("heap");
    bip::managed_shared_memory segment{bip::create_only, object.c_str(), segment_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());

    [[nodiscard]] bool is_there() const { return true; }

    void* allocate(std::size_t bytes) { return segment.allocate(bytes); }

    void deallocate(void* block) { segment.deallocate(block); }
};

struct malloc_heap {
    static constexpr const char* name = "malloc";

    [[nodiscard]] bool is_there() const { return true; }

    void* allocate(std::size_t bytes) { return std::malloc(bytes); }

    void deallocate(void* block) { std::free(block); }

    [[nodiscard]] double memory() const {
        malloc_trim(0);
        return resident();
    }
};

// One of a library that is loaded beside the program's own malloc.
class loaded_heap {
  public:
    loaded_heap(const char* library, const char* allocate, const char* deallocate)
        : library_(dlopen(library, RTLD_NOW | RTLD_LOCAL)) {
        if (library_ != nullptr) {
            allocate_ = reinterpret_cast<void* (*)(std::size_t)>(dlsym(library_, allocate));
            deallocate_ = reinterpret_cast<void (*)(void*)>(dlsym(library_, deallocate));
        }
    }

    [[nodiscard]] bool is_there() const { return allocate_ != nullptr && deallocate_ != nullptr; }

    void* allocate(std::size_t bytes) { return allocate_(bytes); }

    void deallocate(void* block) { deallocate_(block); }

  protected:
    template <class Function>
    [[nodiscard]] Function* function(const char* name) const {
        return reinterpret_cast<Function*>(dlsym(library_, name));
    }

  private:
    void* library_;
    void* (*allocate_)(std::size_t) = nullptr;
    void (*deallocate_)(void*) = nullptr;
};

struct mimalloc_heap : loaded_heap {
    static constexpr const char* name = "mimalloc";

    mimalloc_heap() : loaded_heap("libmimalloc.so.2", "mi_malloc", "mi_free") {}

    [[nodiscard]] double memory() const {
        function<void(bool)>("mi_collect")(true);
        return resident();
    }
};

struct jemalloc_heap : loaded_heap {
    static constexpr const char* name = "jemalloc";

    jemalloc_heap() : loaded_heap("libjemalloc.so.2", "malloc", "free") {}

    [[nodiscard]] double memory() const {
        function<int(const char*, void*, std::size_t*, void*, std::size_t)>("mallctl")(
            "arena.4096.purge", nullptr, nullptr, nullptr, 0); // of all arenas
        return resident();
    }
};

// Allocates a block, writes to it, frees it.
template <class Heap>
[[gnu::noinline]] void pairs(Heap& heap, std::size_t bytes, int count) {
    for (int i = 0; i < count; ++i) {
        auto* const block = static_cast<int*>(heap.allocate(bytes));
        *block = i;
        bench::keep(block);
        heap.deallocate(block);
    }
}

template <class Heap>
sample timed_pairs(Heap& heap, std::size_t bytes) {
    constexpr int count = 20'000;
    return bench::time_of(count, [&] { pairs(heap, bytes, count); });
}

// Many at a time.
template <class Heap>
sample bursts(Heap& heap) {
    constexpr int count = 20'000;
    std::array<void*, 100> held;
    return bench::time_of(count, [&] {
        for (int i = 0; i < count; i += static_cast<int>(held.size())) {
            for (void*& each : held) {
                each = heap.allocate(64);
                *static_cast<int*>(each) = i;
            }
            for (void* const each : held) {
                heap.deallocate(each);
            }
        }
    });
}

// Frees a random one of many live blocks of 16 to 1024 bytes and allocates another.
template <class Heap>
class mix {
  public:
    explicit mix(std::shared_ptr<Heap> heap) : heap_(std::move(heap)) {
        for (void*& block : blocks_) {
            block = allocate();
        }
    }

    mix(const mix&) = delete;
    mix& operator=(const mix&) = delete;

    ~mix() {
        for (void* const block : blocks_) {
            heap_->deallocate(block);
        }
    }

    sample operator()() {
        constexpr int count = 10'000;
        return bench::time_of(count, [&] {
            for (int i = 0; i < count; ++i) {
                void*& block = blocks_[random_.below(live)];
                heap_->deallocate(block);
                block = allocate();
            }
        });
    }

  private:
    static constexpr std::size_t live = 100'000;

    void* allocate() {
        auto* const block =
            static_cast<std::uint64_t*>(heap_->allocate(16 + random_.below(1024 - 16 + 1)));
        *block = 1;
        return block;
    }

    std::shared_ptr<Heap> heap_;
    bench::random_numbers random_;
    std::vector<void*> blocks_ = std::vector<void*>(live);
};

// Two threads on two cpus at once, each with its own part; `work` is called with 0 and 1.
template <class Work>
double both(const std::vector<int>& cpus, std::uint64_t operations, const Work& work) {
    std::atomic<int> ready{0};
    std::array<double, 2> times{};
    const auto side = [&](std::size_t which) {
        bench::pin_to(cpus[which]);
        ready.fetch_add(1);
        while (ready.load() != 2) {
            bench::pause();
        }
        times[which] = bench::time_of(operations, [&] { work(static_cast<int>(which)); });
    };
    std::thread first(side, 0);
    std::thread second(side, 1);
    first.join();
    second.join();
    return (times[0] + times[1]) / 2;
}

// One allocates, the other frees.
template <class Heap>
class handing_over {
  public:
    void operator()(Heap& heap, int side, std::uint64_t count) {
        bench::patience turn;
        for (std::uint64_t i = 0; i < count; ++i) {
            std::atomic<void*>& slot = slots_[i % slots_.size()];
            if (side == 0) {
                void* const block = heap.allocate(64);
                *static_cast<std::uint64_t*>(block) = i;
                while (slot.load(std::memory_order_acquire) != nullptr) {
                    turn.wait();
                }
                slot.store(block, std::memory_order_release);
            } else {
                void* block = nullptr;
                while ((block = slot.load(std::memory_order_acquire)) == nullptr) {
                    turn.wait();
                }
                slot.store(nullptr, std::memory_order_release);
                heap.deallocate(block);
            }
        }
    }

  private:
    std::vector<std::atomic<void*>> slots_ = std::vector<std::atomic<void*>>(1000);
};

// ---- memory

// Live blocks, and how many bytes were asked for them.
template <class Heap>
class population {
  public:
    population(Heap& heap, std::size_t count) : heap_(heap), blocks_(count), bytes_(count) {
        std::memset(blocks_.data(), 1, count * sizeof(blocks_[0])); // now the memory is there
        std::memset(bytes_.data(), 1, count * sizeof(bytes_[0]));
    }

    void put(std::size_t which, std::size_t bytes) {
        blocks_[which] = heap_.allocate(bytes);
        bytes_[which] = static_cast<std::uint32_t>(bytes);
        std::memset(blocks_[which], 1, bytes);
    }

    void replace(std::size_t which, std::size_t bytes) {
        heap_.deallocate(blocks_[which]);
        put(which, bytes);
    }

    [[nodiscard]] double bytes() const {
        double sum = 0;
        for (const std::uint32_t each : bytes_) {
            sum += each;
        }
        return sum;
    }

  private:
    Heap& heap_;
    std::vector<void*> blocks_;
    std::vector<std::uint32_t> bytes_;
};

// Calls work(heap) -> double in a process of its own.
template <class Heap, class Work>
sample in_child(const Work& work) {
    auto* const result = static_cast<double*>(
        mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    bench::check(result != MAP_FAILED, "mmap");
    bench::finish(bench::child([&] {
        Heap heap;
        *result = work(heap);
    }));
    const sample made{*result};
    munmap(result, sizeof(double));
    return made;
}

// Bytes of memory a byte that is in use, after random blocks were replaced for a long time. Their
// sizes change with the time, so that few blocks fit where others were.
template <class Heap>
sample after_churn(std::uint64_t operations) {
    return in_child<Heap>([operations](Heap& heap) {
        constexpr std::size_t live = 100'000;
        bench::random_numbers random;
        population<Heap> blocks(heap, live);
        const double before = heap.memory();
        const auto size = [&random](std::uint64_t now, std::uint64_t all) {
            const std::size_t most = now * 10 / all % 2 == 0 ? 1024 : 300;
            return 16 + random.below(most - 16 + 1);
        };
        for (std::size_t i = 0; i < live; ++i) {
            blocks.put(i, size(0, 1));
        }
        for (std::uint64_t i = 0; i < operations; ++i) {
            blocks.replace(random.below(live), size(i, operations));
        }
        return (heap.memory() - before) / blocks.bytes();
    });
}

// The same for blocks of one size.
template <class Heap>
sample of_equal_blocks(std::size_t bytes) {
    return in_child<Heap>([bytes](Heap& heap) {
        constexpr std::size_t live = 500'000;
        population<Heap> blocks(heap, live);
        const double before = heap.memory();
        for (std::size_t i = 0; i < live; ++i) {
            blocks.put(i, bytes);
        }
        return (heap.memory() - before) / blocks.bytes();
    });
}

// How many objects a segment of 64 KiB has room for.
template <class Allocate>
double count_of(const Allocate& allocate) {
    double count = 0;
    while (allocate() != nullptr) {
        ++count;
    }
    return count;
}

sample in_a_small_segment(std::size_t bytes) {
    const auto segment =
        cohold::segment<cohold::mechanism::memfd>::create({.size = 65536, .reserve = 65536});
    auto memory = segment.allocator<char>();
    return {65536 / count_of([&] { return memory.try_allocate(bytes); })};
}

sample in_a_small_boost(std::size_t bytes) {
    const std::string name = bench::own_name("small");
    bip::managed_shared_memory segment(bip::create_only, name.c_str(), 65536);
    bip::shared_memory_object::remove(name.c_str());
    return {65536 / count_of([&] { return segment.allocate(bytes, std::nothrow); })};
}

struct tables {
    std::vector<contest> one;
    std::vector<contest> two;
    std::vector<contest> memory;
    std::uint64_t churn;
};

template <class Heap>
void add(tables& to, const std::vector<int>& cpus) {
    auto heap = std::make_shared<Heap>();
    if (!heap->is_there()) {
        return;
    }
    to.one[0].add(Heap::name, [heap] { return timed_pairs(*heap, 64); });
    to.one[1].add(Heap::name, [heap] { return timed_pairs(*heap, 512); });
    to.one[2].add(Heap::name, [heap] { return bursts(*heap); });
    auto mixed = std::make_shared<mix<Heap>>(heap);
    to.one[3].add(Heap::name, [mixed] { return (*mixed)(); });
    if constexpr (requires { heap->memory(); }) {
        to.memory[0].add(Heap::name, [churn = to.churn] { return after_churn<Heap>(churn); });
        to.memory[1].add(Heap::name, [] { return of_equal_blocks<Heap>(64); });
    }
    if (cpus.empty()) {
        return;
    }
    to.two[0].add(Heap::name, [heap, cpus] {
        constexpr std::uint64_t count = 40'000;
        return both(cpus, count, [&](int) { pairs(*heap, 64, count); });
    });
    auto handing = std::make_shared<handing_over<Heap>>();
    to.two[1].add(Heap::name, [heap, handing, cpus] {
        constexpr std::uint64_t count = 40'000;
        return both(cpus, count, [&](int side) { (*handing)(*heap, side, count); });
    });
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    const std::vector<int> cpus = bench::two_cpus();
    const bool has_mimalloc = mimalloc_heap().is_there();
    const auto at_most = [&](double limit) {
        return has_mimalloc ? std::vector<bench::goal>{{bench::bound::at_most, limit, {"mimalloc"}}}
                            : std::vector<bench::goal>{};
    };
    tables all{{contest("64 B, allocate and free", at_most(0.95)),
                contest("512 B, allocate and free", at_most(0.95)),
                contest("64 B, 100 at a time", at_most(1.1)),
                contest("16 to 1024 B, 1e5 live, free and allocate", at_most(1.1))},
               {contest("64 B, allocate and free, both at once", at_most(1.0)),
                contest("64 B, one allocates and the other frees", at_most(0.9))},
               {contest(settings.quick ? "16 to 1024 B, 1e5 live, after 1e6 random replacements"
                                       : "16 to 1024 B, 1e5 live, after 1e7 random replacements",
                        at_most(1.15)),
                contest("64 B, 5e5 live", at_most(1.03))},
               settings.quick ? 1'000'000U : 10'000'000U};
    add<cohold_heap>(all, cpus);
    add<boost_heap>(all, cpus);
    add<malloc_heap>(all, cpus);
    add<mimalloc_heap>(all, cpus);
    add<jemalloc_heap>(all, cpus);
    for (contest& each : all.one) {
        each.measure(settings.rounds(200));
    }
    bench::table("Heap, one thread; malloc, mimalloc and jemalloc are not shared", "ns a pair", 1,
                 bench::shown::time)
        .print(all.one);
    if (!cpus.empty()) {
        for (contest& each : all.two) {
            each.measure(settings.rounds(60));
        }
        bench::table("Heap, two threads", "ns a pair", 1, bench::shown::time).print(all.two);
    }
    for (contest& each : all.memory) {
        each.measure(settings.rounds(5));
    }
    bench::table("Heap, memory from the kernel when all that is free has been given back",
                 "bytes a byte in use", 1, bench::shown::time)
        .print(all.memory);
    std::vector<contest> small;
    for (const std::size_t bytes : {16U, 48U, 64U, 100U}) {
        small.emplace_back(std::to_string(bytes) + " B");
        small.back()
            .add("cohold", [bytes] { return in_a_small_segment(bytes); })
            .add("boost managed_shared_memory", [bytes] { return in_a_small_boost(bytes); })
            .measure(1);
    }
    bench::table("Heap, a segment of 64 KiB", "bytes of it an object", 1, bench::shown::time)
        .print(small);
}
