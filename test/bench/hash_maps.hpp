// The hash maps that maps.cpp compares: from numbers to numbers, each with its own default hash.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_HASH_MAPS_HPP
#define COHOLD_TEST_BENCH_HASH_MAPS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/unordered_map.hpp>
#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
#include <boost/unordered/unordered_flat_map.hpp>
#define BENCH_FLAT_MAP 1
#endif
#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
#include <boost/unordered/concurrent_flat_map.hpp>
#define BENCH_CONCURRENT_MAP 1
#endif
#if defined(BENCH_ABSL)
#include <absl/container/flat_hash_map.h>
#endif

#include <cohold/cohold.hpp>

#include "harness.hpp"
#include "processes.hpp"

namespace bench {

namespace bip = boost::interprocess;
using number = std::uint64_t;

constexpr std::size_t segment_bytes = std::size_t{128} << 20;

struct cohold_map {
    static constexpr const char* name = "cohold";
    using map = cohold::shm_hash_map<number, number>;
    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(
            {.size = segment_bytes, .populate = true});
    map& it = segment.construct<map>("it");

    void insert(number key) { it.insert({key, key}); }

    bool find(number key) {
        return it.cvisit(key, [](const auto& found) { keep(found.second); }) != 0;
    }

    bool erase(number key) { return it.erase(key) != 0; }

    number sum() {
        number all = 0;
        it.cvisit_all([&all](const auto& each) { all += each.second; });
        return all;
    }
};

// Those with the interface of std::unordered_map.
template <class Map>
struct standard_map {
    template <class... Arguments>
    explicit standard_map(Arguments&&... arguments) : it(std::forward<Arguments>(arguments)...) {}

    Map it;

    void insert(number key) { it.emplace(key, key); }

    bool find(number key) {
        const auto found = it.find(key);
        if (found == it.end()) {
            return false;
        }
        keep(found->second);
        return true;
    }

    bool erase(number key) { return it.erase(key) != 0; }

    number sum() {
        number all = 0;
        for (const auto& each : it) {
            all += each.second;
        }
        return all;
    }
};

struct std_map : standard_map<std::unordered_map<number, number>> {
    static constexpr const char* name = "std::unordered_map";
};

using boost_manager = bip::managed_shared_memory;
using boost_allocator =
    bip::allocator<std::pair<const number, number>, boost_manager::segment_manager>;
using boost_tree = bip::map<number, number, std::less<number>, boost_allocator>;
using boost_hash = boost::unordered_map<number, number, boost::hash<number>, std::equal_to<number>,
                                        boost_allocator>;

struct boost_memory {
    std::string object = own_name("maps");
    boost_manager segment{bip::create_only, object.c_str(), segment_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());

    boost_memory() { segment.zero_free_memory(); } // touches all pages
};

struct boost_hash_map : boost_memory, standard_map<boost_hash> {
    static constexpr const char* name = "boost unordered_map, shared";

    boost_hash_map()
        : standard_map(16, boost::hash<number>(), std::equal_to<number>(),
                       segment.get_allocator<std::pair<const number, number>>()) {}
};

#if defined(BENCH_ABSL)
struct absl_map : standard_map<absl::flat_hash_map<number, number>> {
    static constexpr const char* name = "absl flat_hash_map";
};
#endif

struct boost_tree_map : boost_memory, standard_map<boost_tree> {
    static constexpr const char* name = "boost map, shared";

    boost_tree_map()
        : standard_map(std::less<number>(),
                       segment.get_allocator<std::pair<const number, number>>()) {}
};

#if defined(BENCH_FLAT_MAP)
struct flat_map : standard_map<boost::unordered_flat_map<number, number>> {
    static constexpr const char* name = "boost unordered_flat_map";
};
#endif

#if defined(BENCH_CONCURRENT_MAP)
template <class Allocator = std::allocator<std::pair<const number, number>>>
struct concurrent_map_with {
    static constexpr const char* name = "boost concurrent_flat_map";
    boost::concurrent_flat_map<number, number, boost::hash<number>, std::equal_to<number>,
                               Allocator>
        it;

    void insert(number key) { it.insert({key, key}); }

    bool find(number key) {
        return it.cvisit(key, [](const auto& found) { keep(found.second); }) != 0;
    }

    bool erase(number key) { return it.erase(key) != 0; }

    number sum() {
        number all = 0;
        it.cvisit_all([&all](const auto& each) { all += each.second; });
        return all;
    }

    void assign(number key, number value) { it.insert_or_assign(key, value); }
};

using concurrent_map = concurrent_map_with<>;
#endif

// ---- those that several processes can use

struct cohold_shared_map : cohold_map {
    void assign(number key, number value) { it.insert_or_assign(key, value); }
};

// Every operation takes the lock: the map has none.
struct boost_locked_map : boost_memory {
    static constexpr const char* name = "boost unordered_map, shared, with a mutex";

    struct content {
        explicit content(boost_manager::segment_manager* in)
            : map(16, boost::hash<number>(), std::equal_to<number>(), boost_allocator(in)) {}

        bip::interprocess_mutex mutex;
        boost_hash map;
    };

    content& it = *segment.construct<content>("it")(segment.get_segment_manager());

    template <class F>
    auto locked(F&& f) {
        it.mutex.lock();
        const auto result = f(it.map);
        it.mutex.unlock();
        return result;
    }

    void insert(number key) {
        locked([&](boost_hash& map) { return map.emplace(key, key).second; });
    }

    bool find(number key) {
        return locked([&](boost_hash& map) {
            const auto found = map.find(key);
            if (found != map.end()) {
                keep(found->second);
            }
            return found != map.end();
        });
    }

    bool erase(number key) {
        return locked([&](boost_hash& map) { return map.erase(key) != 0; });
    }

    void assign(number key, number value) {
        locked([&](boost_hash& map) { return map[key] = value; });
    }
};

#if defined(BENCH_CONCURRENT_MAP)
// The peer has no form for shared memory. Here it lies in memory that forked processes have at the
// same address, so that its pointers happen to be right in all of them.
class inherited_memory {
  public:
    static void* take(std::size_t bytes) {
        const std::size_t at = used_->fetch_add((bytes + 63) / 64 * 64);
        check(at + bytes <= segment_bytes, "the inherited memory is full");
        return begin() + at;
    }

  private:
    static char* begin() {
        static char* const memory = [] {
            void* const made = mmap(nullptr, segment_bytes, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            check(made != MAP_FAILED, "mmap");
            return static_cast<char*>(made);
        }();
        return memory;
    }

    static inline const in_shared_memory<std::atomic<std::size_t>> used_{0u};
};

template <class T>
struct inherited_allocator {
    using value_type = T;

    inherited_allocator() = default;

    template <class U>
    inherited_allocator(const inherited_allocator<U>&) {}

    T* allocate(std::size_t count) {
        return static_cast<T*>(inherited_memory::take(count * sizeof(T)));
    }

    void deallocate(T*, std::size_t) {}

    friend bool operator==(const inherited_allocator&, const inherited_allocator&) { return true; }
};

struct concurrent_shared_map {
    using map = concurrent_map_with<inherited_allocator<std::pair<const number, number>>>;
    static constexpr const char* name = map::name;
    in_shared_memory<map> shared;

    void insert(number key) { shared->insert(key); }

    bool find(number key) { return shared->find(key); }

    bool erase(number key) { return shared->erase(key); }

    void assign(number key, number value) { shared->assign(key, value); }
};
#endif

} // namespace bench

#endif
