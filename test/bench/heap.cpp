// The heap of a segment against Boost's managed_shared_memory and malloc.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <memory>
#include <vector>

#include <boost/interprocess/managed_shared_memory.hpp>

#include <cohold/cohold.hpp>

#include "harness.hpp"

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

    void* allocate(std::size_t bytes) { return from.allocate(bytes).get(); }

    void deallocate(void* block) { from.deallocate(static_cast<char*>(block), 0); }
};

struct boost_heap {
    static constexpr const char* name = "boost managed_shared_memory";
    std::string object = bench::own_name("heap");
    bip::managed_shared_memory segment{bip::create_only, object.c_str(), segment_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());

    void* allocate(std::size_t bytes) { return segment.allocate(bytes); }

    void deallocate(void* block) { segment.deallocate(block); }
};

struct malloc_heap {
    static constexpr const char* name = "malloc, not shared";

    void* allocate(std::size_t bytes) { return std::malloc(bytes); }

    void deallocate(void* block) { std::free(block); }
};

// Allocates 64 bytes, writes to them, frees them.
template <class Heap>
sample pairs(Heap& heap) {
    constexpr int count = 20'000;
    return bench::time_of(count, [&] {
        for (int i = 0; i < count; ++i) {
            auto* const block = static_cast<int*>(heap.allocate(64));
            *block = i;
            bench::keep(block);
            heap.deallocate(block);
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

template <class Heap>
void add(contest& one, contest& many) {
    auto heap = std::make_shared<Heap>();
    one.add(Heap::name, [heap] { return pairs(*heap); });
    auto mixed = std::make_shared<mix<Heap>>(heap);
    many.add(Heap::name, [mixed] { return (*mixed)(); });
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    contest one("64 B, allocate and free");
    contest many("16 to 1024 B, 1e5 live, free and allocate");
    add<cohold_heap>(one, many);
    add<boost_heap>(one, many);
    add<malloc_heap>(one, many);
    bench::table("Heap, one process", "ns a pair", 1, bench::shown::time)
        .print({one.measure(settings.rounds(200)), many.measure(settings.rounds(200))});
}
