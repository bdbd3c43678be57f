// shm_vector and offset_ptr, compared with std::vector, raw pointers and Boost.Interprocess.
//
// std::vector runs twice: in ordinary memory, and with an allocator in shared memory of its own,
// which shows the cost of that kind of memory for any library.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <memory>
#include <vector>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/vector.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>

#include <sys/mman.h>

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::contest;
using bench::sample;
using bench::time_of;
using goals = std::vector<bench::goal>;

constexpr std::size_t elements = 10'000'000;
constexpr std::size_t few_elements = 1'000'000;
constexpr std::size_t arena_bytes = std::size_t{1} << 28;

// Shared memory that hands out each byte once.
class arena {
  public:
    arena()
        : begin_(static_cast<char*>(mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE,
                                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
        bench::check(begin_ != MAP_FAILED, "mmap");
    }

    arena(const arena&) = delete;
    arena& operator=(const arena&) = delete;

    ~arena() { munmap(begin_, arena_bytes); }

    void* take(std::size_t bytes) {
        void* const taken = begin_ + used_;
        used_ += (bytes + 63) / 64 * 64;
        bench::check(used_ <= arena_bytes, "arena is full");
        return taken;
    }

  private:
    char* begin_;
    std::size_t used_ = 0;
};

template <class T>
struct arena_allocator {
    using value_type = T;

    explicit arena_allocator(arena& from) : memory(&from) {}

    template <class U>
    arena_allocator(const arena_allocator<U>& other) : memory(other.memory) {}

    T* allocate(std::size_t count) { return static_cast<T*>(memory->take(count * sizeof(T))); }

    void deallocate(T*, std::size_t) {}

    bool operator==(const arena_allocator&) const = default;

    arena* memory;
};

// Where a vector of each library is stored; a new place for each series of rounds, because it is a
// matter of luck, too, which pages of real memory a vector gets.
template <class T>
struct cohold_home {
    static constexpr const char* name = "cohold";
    using vector = cohold::shm_vector<T>;

    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(
            {.size = 1 << 20, .reserve = arena_bytes});
    vector& v = segment.construct<vector>("v");
};

template <class T>
struct std_home {
    static constexpr const char* name = "std";
    using vector = std::vector<T>;
    vector v;
};

template <class T>
struct std_shared_home {
    static constexpr const char* name = "std in shared memory";
    using vector = std::vector<T, arena_allocator<T>>;
    arena memory;
    vector v{arena_allocator<T>(memory)};
};

template <class T>
struct boost_home {
    static constexpr const char* name = "boost";
    using allocator = bip::allocator<T, bip::managed_shared_memory::segment_manager>;
    using vector = bip::vector<T, allocator>;

    std::string object = bench::own_name("vector");
    bip::managed_shared_memory segment{bip::create_only, object.c_str(), arena_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());
    vector& v = *segment.construct<vector>("v")(allocator(segment.get_segment_manager()));
};

std::vector<std::uint32_t> random_indexes(std::size_t count, std::size_t below) {
    bench::random_numbers random;
    std::vector<std::uint32_t> indexes(count);
    for (std::uint32_t& index : indexes) {
        index = static_cast<std::uint32_t>(random.below(below));
    }
    return indexes;
}

// The loops are functions of their own, so that the compiler knows nothing about them at the call.
template <class Vector>
[[gnu::noipa]] std::uint64_t sum_of(const Vector& v) {
    std::uint64_t sum = 0;
    for (const auto& element : v) {
        sum += static_cast<std::uint64_t>(element);
    }
    return sum;
}

template <class Vector>
[[gnu::noipa]] std::uint64_t indexed_sum_of(const Vector& v) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < v.size(); ++i) {
        sum += static_cast<std::uint64_t>(v[i]);
    }
    return sum;
}

template <class Vector>
[[gnu::noipa]] void write_index(Vector& v) {
    for (std::size_t i = 0; i < v.size(); ++i) {
        v[i] = static_cast<typename Vector::value_type>(i);
    }
}

template <class Vector>
[[gnu::noipa]] void write_sum(Vector& v, unsigned first) {
    for (std::size_t i = 0; i < v.size(); ++i) {
        v[i] = static_cast<typename Vector::value_type>(first + i);
    }
}

template <class Vector>
[[gnu::noipa]] std::uint64_t read_at(const Vector& v, const std::vector<std::uint32_t>& indexes) {
    std::uint64_t sum = 0;
    for (const std::uint32_t index : indexes) {
        sum += static_cast<std::uint64_t>(v[index]);
    }
    return sum;
}

template <class Vector>
[[gnu::noipa]] void sort_all(Vector& v) {
    std::sort(v.begin(), v.end());
}

template <class Vector>
[[gnu::noipa]] void push_back_all(Vector& v, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        v.push_back(static_cast<typename Vector::value_type>(i));
    }
}

// An element comes in at the position and goes out at the end, or vice versa: the size stays the
// same.
template <class Vector>
[[gnu::noipa]] void insert_all(Vector& v, std::size_t at, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        v.insert(v.begin() + static_cast<std::ptrdiff_t>(at), i);
        v.pop_back();
    }
}

template <class Vector>
[[gnu::noipa]] void erase_all(Vector& v, std::size_t at, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        v.erase(v.begin() + static_cast<std::ptrdiff_t>(at));
        v.push_back(i);
    }
}

template <class Vector>
void fill(Vector& v, std::size_t count) {
    v.resize(count);
    write_index(v);
}

// A vector of each library on which to run `make(home)`. Measures in several series, each with new
// vectors.
template <class T, template <class> class First, template <class> class... Homes, class Make>
contest vectors(const char* name, const goals& wanted, int series, int rounds, Make make) {
    contest all(name, wanted);
    for (int i = 0; i < series; ++i) {
        contest one(name);
        const auto add = [&]<class Home>(std::type_identity<Home>) {
            auto home = std::make_shared<Home>();
            one.add(Home::name, [home, run = make(home->v)] { return run(); });
        };
        add(std::type_identity<First<T>>());
        (add(std::type_identity<Homes<T>>()), ...);
        all.join(one.measure(rounds).keep_best());
    }
    return all;
}

template <class T, class Make>
contest vectors(const char* name, const goals& wanted, int series, int rounds, Make make) {
    return vectors<T, cohold_home, std_home, std_shared_home, boost_home>(name, wanted, series,
                                                                          rounds, make);
}

std::vector<contest> vector_rows(int series, int rounds) {
    const goals as_std{{bench::bound::at_most, 1.03, {"std"}}};
    const goals push_as_std{{bench::bound::at_most_more, 0.3, {"std"}}};
    const goals no_goal;

    const auto sum = [](auto loop) {
        return [loop](auto& v) {
            fill(v, elements);
            return [&v, loop]() -> sample {
                std::uint64_t total = 0;
                const double time = time_of(elements, [&] { total = loop(v); });
                bench::check(total == elements / 2 * (elements - 1), "sum");
                return time;
            };
        };
    };
    const auto indexes = random_indexes(1'000'000, elements);
    const auto read = [&indexes](auto& v) {
        fill(v, elements);
        return [&v, &indexes]() -> sample {
            return time_of(indexes.size(), [&] { bench::keep(read_at(v, indexes)); });
        };
    };
    const auto write = [](auto loop) {
        return [loop](auto& v) {
            fill(v, few_elements);
            return [&v, loop]() -> sample {
                const double time = time_of(10 * few_elements, [&] {
                    for (int i = 0; i < 10; ++i) {
                        loop(v);
                    }
                });
                bench::check(static_cast<std::size_t>(v[few_elements - 1]) >= few_elements - 1,
                             "write");
                return time;
            };
        };
    };
    const auto write_i = write([](auto& v) { write_index(v); });
    const auto write_first_i = write([](auto& v) { write_sum(v, 8); });
    std::vector<int> unsorted(few_elements);
    bench::random_numbers random;
    for (int& number : unsorted) {
        number = static_cast<int>(random() >> 33);
    }
    const auto sort = [&unsorted](auto& v) {
        v.resize(few_elements);
        return [&v, &unsorted]() -> sample {
            std::copy(unsorted.begin(), unsorted.end(), v.begin());
            const double time = time_of(few_elements, [&] { sort_all(v); });
            bench::check(std::is_sorted(v.begin(), v.end()), "sort");
            return time;
        };
    };
    const auto push_reserved = [](auto& v) {
        v.reserve(few_elements);
        fill(v, few_elements);
        return [&v]() -> sample {
            v.clear();
            const double time = time_of(few_elements, [&] { push_back_all(v, few_elements); });
            bench::check(v.size() == few_elements && v[1000] == 1000, "push_back");
            return time;
        };
    };
    const auto push_growing = [](auto& v) {
        return [&v]() -> sample {
            v.clear();
            v.shrink_to_fit();
            const double time = time_of(few_elements, [&] { push_back_all(v, few_elements); });
            bench::check(v.size() == few_elements && v[1000] == 1000, "push_back");
            return time;
        };
    };

    std::vector<contest> rows;
    rows.push_back(vectors<int>("sum of 1e7 int, by iterator", as_std, series, rounds,
                                sum([](const auto& v) { return sum_of(v); })));
    rows.push_back(vectors<int>("sum of 1e7 int, by index", as_std, series, rounds,
                                sum([](const auto& v) { return indexed_sum_of(v); })));
    rows.push_back(vectors<int>("random read of 1e7 int", as_std, series, rounds, read));
    rows.push_back(vectors<int>("1e6 int: v[i] = i", as_std, series, rounds, write_i));
    rows.push_back(
        vectors<int>("1e6 int: v[i] = first + i", as_std, series, rounds, write_first_i));
    rows.push_back(vectors<std::uint64_t>("1e6 uint64: v[i] = i", as_std, series, rounds, write_i));
    rows.push_back(vectors<int>("sort of 1e6 int", as_std, series, (rounds + 3) / 4, sort));
    rows.push_back(
        vectors<int>("push_back of 1e6 int, reserved", push_as_std, series, rounds, push_reserved));
    rows.push_back(vectors<std::uint64_t>("push_back of 1e6 uint64, reserved", push_as_std, series,
                                          rounds, push_reserved));
    rows.push_back(vectors<int, cohold_home, std_home, boost_home>(
        "push_back of 1e6 int, growing", no_goal, series, rounds, push_growing));
    return rows;
}

// One element of 8 bytes at a time, with the others moved to make room or to close the gap.
std::vector<contest> shift_rows(int series, int rounds) {
    const goals no_goal;
    std::vector<contest> rows;
    const auto add = [&](const char* name, std::size_t size, std::size_t at, bool erases) {
        const auto make = [size, at, erases](auto& v) {
            v.reserve(size + 1);
            fill(v, size);
            const std::size_t count = 4'000'000 / (size + 400);
            return [&v, size, at, erases, count]() -> sample {
                const double time = time_of(count, [&] {
                    if (erases) {
                        erase_all(v, at, count);
                    } else {
                        insert_all(v, at, count);
                    }
                });
                bench::check(v.size() == size && v[erases ? size - 1 : at] == count - 1, "order");
                return time;
            };
        };
        rows.push_back(vectors<std::uint64_t, cohold_home, std_home, boost_home>(
            name, no_goal, series, rounds, make));
    };
    add("insert at the front of 16", 16, 0, false);
    add("insert in the middle of 16", 16, 8, false);
    add("insert at the front of 1,000", 1'000, 0, false);
    add("insert in the middle of 1,000", 1'000, 500, false);
    add("insert at the front of 100,000", 100'000, 0, false);
    add("insert in the middle of 100,000", 100'000, 50'000, false);
    add("erase at the front of 16", 16, 0, true);
    add("erase in the middle of 16", 16, 8, true);
    add("erase at the front of 1,000", 1'000, 0, true);
    add("erase in the middle of 1,000", 1'000, 500, true);
    add("erase at the front of 100,000", 100'000, 0, true);
    add("erase in the middle of 100,000", 100'000, 50'000, true);
    return rows;
}

// The same list and the same arrays, by each kind of pointer.
template <class T>
struct raw_pointer {
    using type = T*;
};

template <class T>
struct cohold_pointer {
    using type = cohold::offset_ptr<T>;
};

template <class T>
struct boost_pointer {
    using type = bip::offset_ptr<T>;
};

template <template <class> class Pointer>
struct node {
    typename Pointer<node>::type next = nullptr;
    std::uint64_t value = 0;
};

template <class Node>
[[gnu::noipa]] std::uint64_t sum_of_list(const Node& first) {
    std::uint64_t sum = 0;
    const Node* n = &first;
    for (; n->next; n = &*n->next) {
        sum += n->value;
    }
    return sum + n->value;
}

template <class Pointer>
[[gnu::noipa]] std::uint64_t sum_of_range(const Pointer& first, const Pointer& last) {
    std::uint64_t sum = 0;
    for (Pointer p = first; p != last; ++p) {
        sum += *p;
    }
    return sum;
}

template <class Pointer>
[[gnu::noipa]] std::uint64_t sum_of_targets(const std::vector<Pointer>& pointers) {
    std::uint64_t sum = 0;
    for (const Pointer& p : pointers) {
        sum += *p;
    }
    return sum;
}

constexpr std::size_t nodes = 10'000; // fits the second-level cache: the pointers matter, not it
constexpr int repeats = 20;

template <class Loop>
sample repeated(Loop&& loop) {
    return time_of(repeats * nodes, [&] {
        for (int i = 0; i < repeats; ++i) {
            bench::check(loop() == nodes / 2 * (nodes - 1), "sum");
        }
    });
}

template <template <class> class Pointer>
void add_pointers(const char* name, contest& list, contest& range, contest& targets) {
    using number_pointer = typename Pointer<std::uint64_t>::type;

    struct world {
        std::vector<node<Pointer>> chain = std::vector<node<Pointer>>(nodes);
        std::vector<std::uint64_t> numbers = std::vector<std::uint64_t>(nodes);
        std::vector<number_pointer> pointers = std::vector<number_pointer>(nodes);
        number_pointer first;
        number_pointer last;
    };

    auto w = std::make_shared<world>();
    std::vector<std::size_t> order(nodes);
    for (std::size_t i = 0; i < nodes; ++i) {
        order[i] = i;
        w->numbers[i] = i;
    }
    bench::random_numbers random;
    for (std::size_t i = nodes - 1; i > 1; --i) {
        std::swap(order[i], order[1 + random.below(i)]); // the first stays first
    }
    for (std::size_t i = 0; i < nodes; ++i) {
        w->chain[order[i]].value = i;
        w->pointers[i] = &w->numbers[order[i]];
        if (i + 1 < nodes) {
            w->chain[order[i]].next = &w->chain[order[i + 1]];
        }
    }
    w->first = w->numbers.data();
    w->last = w->numbers.data() + nodes;
    list.add(name, [w] { return repeated([&] { return sum_of_list(w->chain[0]); }); });
    range.add(name, [w] { return repeated([&] { return sum_of_range(w->first, w->last); }); });
    targets.add(name, [w] { return repeated([&] { return sum_of_targets(w->pointers); }); });
}

std::vector<contest> pointer_rows(int series, int rounds) {
    std::vector<contest> rows{contest("walk through a list of 1e4 nodes in random order"),
                              contest("pointer as the iterator of a loop over 1e4 uint64"),
                              contest("dereference of 1e4 pointers in an array")};
    for (int i = 0; i < series; ++i) {
        std::vector<contest> now(3, contest(""));
        add_pointers<cohold_pointer>("cohold", now[0], now[1], now[2]);
        add_pointers<raw_pointer>("raw pointer", now[0], now[1], now[2]);
        add_pointers<boost_pointer>("boost", now[0], now[1], now[2]);
        for (std::size_t row = 0; row < rows.size(); ++row) {
            rows[row].join(now[row].measure(rounds).keep_best());
        }
    }
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    bench::table("Vector", "ns an element", 1, bench::shown::time)
        .print(vector_rows(settings.rounds(15), 6));
    bench::table("Vector, in front of others", "ns an element", 1, bench::shown::time)
        .print(shift_rows(settings.rounds(15), 6));
    bench::table("Pointer in shared memory", "ns a step", 1, bench::shown::time)
        .print(pointer_rows(settings.rounds(15), 6));
}
