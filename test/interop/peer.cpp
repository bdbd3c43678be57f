// One of two programs that share a segment and were built differently: executes the commands that
// run.py writes to it, one on each line, and answers each with a line that begins with "ok" or
// "bad".
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <iostream>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include <unistd.h>

#include "catalogue.hpp"

using namespace catalogue;

namespace {

constexpr std::size_t queue_capacity = 100;
constexpr std::size_t race_capacity = 16;
constexpr std::size_t message_room = 20000; // bytes

template <class T>
using spsc = shm_queue<T, concurrency::spsc>;
template <class T>
using mpmc = shm_queue<T, concurrency::mpmc>;

// All shared objects, in any kind of segment. Found by name, or constructed.
struct shared_things {
    ::numbers* numbers;
    ::table* table;
    shm_vector<record>* records;
    record* single;
    std::array<std::uint16_t, 5>* array;
    int (*grid)[3][4];
    std::pair<std::int32_t, float>* pair;
    std::optional<std::int32_t>* optional;
    std::atomic<std::uint64_t>* word;
    ::counters* counters;
    shm_vector<offer>* offers;
    v1::amount* amount;
    spsc<int>* spsc_numbers;
    mpmc<int>* mpmc_numbers;
    spsc<::table>* spsc_tables;
    mpmc<::table>* mpmc_tables;
    mpmc<ticket>* race;
    mpmc<row>* race_rows;
    cohold::shm_message_queue* messages;

    template <class Visitor>
    void each(const Visitor& visit) {
        visit("numbers", numbers);
        visit("table", table);
        visit("records", records);
        visit("single", single);
        visit("array", array);
        visit("grid", grid);
        visit("pair", pair);
        visit("optional", optional);
        visit("word", word);
        visit("counters", counters);
        visit("offers", offers);
        visit("amount", amount);
        visit("spsc_numbers", spsc_numbers, queue_capacity);
        visit("mpmc_numbers", mpmc_numbers, queue_capacity);
        visit("spsc_tables", spsc_tables, queue_capacity);
        visit("mpmc_tables", mpmc_tables, queue_capacity);
        visit("race", race, race_capacity);
        visit("race_rows", race_rows, race_capacity);
        visit("messages", messages, message_room);
    }
};

// The part of a peer that depends on the kind of segment.
class attached {
  public:
    attached() = default;
    attached(const attached&) = delete;
    attached& operator=(const attached&) = delete;
    virtual ~attached() = default;

    virtual void construct(shared_things& things) = 0;
    virtual void find(shared_things& things) = 0;
    virtual void destroy(shared_things& things) = 0;
    virtual void construct_skewed() = 0;
    virtual std::string find_skewed() = 0;
    virtual std::string list() = 0;
    virtual std::string sizes() = 0;
    virtual void view(const std::string& name, std::size_t count) = 0;
    virtual void race_for_names(std::uint32_t maker) = 0;
    virtual std::uint64_t end_race_for_names() = 0;
    virtual void warm_up() = 0;
    virtual cohold::shm_allocator<row> allocator() = 0;
};

template <class Segment>
class attached_to final : public attached {
  public:
    explicit attached_to(Segment&& segment) : segment_(std::move(segment)) {}

    void construct(shared_things& things) override {
        things.each([this](const char* name, auto*& object, auto... arguments) {
            using type = std::remove_pointer_t<std::remove_reference_t<decltype(object)>>;
            object = &segment_.template construct<type>(name, arguments...);
        });
    }

    void find(shared_things& things) override {
        things.each([this](const char* name, auto*& object, auto...) {
            using type = std::remove_pointer_t<std::remove_reference_t<decltype(object)>>;
            object = segment_.template find<type>(name);
            require(object != nullptr, name);
        });
        std::error_code ec;
        require(segment_.template find<v2::amount>("amount", ec) == nullptr &&
                    ec == cohold::errc::type_mismatch,
                "v1 is taken for v2");
    }

    void destroy(shared_things& things) override {
        things.each([this](const char* name, auto*& object, auto...) {
            using type = std::remove_pointer_t<std::remove_reference_t<decltype(object)>>;
            require(segment_.template destroy<type>(name), name);
            object = nullptr;
        });
    }

    void construct_skewed() override {
        segment_.template construct<skewed>("skewed", 1, 2.5);
        segment_.template construct<skewed_deep>("skewed_deep");
        segment_.template construct<skewed_word>("skewed_word");
        segment_.template construct<skewed_pair>("skewed_pair", 3, 4);
        segment_.template construct<skewed_optional>("skewed_optional", 5U);
        segment_.template construct<shm_vector<skewed>>("skewed_vector");
        segment_.template construct<mpmc<skewed_deep>>("skewed_queue", 4U);
    }

    std::string find_skewed() override {
        const std::string all = try_find<skewed>("skewed") + try_find<skewed_deep>("skewed_deep") +
                                try_find<skewed_word>("skewed_word") +
                                try_find<skewed_pair>("skewed_pair") +
                                try_find<skewed_optional>("skewed_optional") +
                                try_find<shm_vector<skewed>>("skewed_vector") +
                                try_find<mpmc<skewed_deep>>("skewed_queue");
        return all;
    }

    std::string list() override {
        std::vector<std::string> lines;
        for (const cohold::object_info& each : segment_.objects()) {
            lines.push_back(each.name + ": " + each.type_name + " " + std::to_string(each.bytes));
        }
        std::sort(lines.begin(), lines.end());
        std::string text;
        for (const std::string& line : lines) {
            text += line + "; ";
        }
        return text;
    }

    std::string sizes() override {
        return std::to_string(segment_.size()) + " " + std::to_string(segment_.capacity()) + " " +
               std::to_string(segment_.used());
    }

    void view(const std::string& name, std::size_t count) override {
        const auto reader = Segment::open(name, cohold::read_only);
        const auto* seen = reader.template find<numbers>("numbers");
        const auto* cells = reader.template find<table>("table");
        require(seen != nullptr && cells != nullptr, "find in a view");
        require(seen->size() == count && cells->size() == count, "size in a view", seen->size());
        for (std::size_t i = 0; i < count; ++i) {
            require((*seen)[i] == number_at(i), "number in a view", i);
        }
        require(reader.objects().size() == segment_.objects().size(), "objects of a view");
    }

    // Constructs what the other destroys, and vice versa.
    void race_for_names(std::uint32_t maker) override {
        for (int i = 0; i < 400; ++i) {
            std::error_code ec;
            const std::string name = "contested" + std::to_string(i % 5);
            if (maker == 0) {
                segment_.template construct<row>(name, ec, std::size_t{9}, std::uint64_t{9});
                require(!ec || ec == cohold::errc::already_exists, "construct");
            } else {
                segment_.template destroy<row>(name, ec);
                require(!ec, "destroy");
            }
            auto& both =
                segment_.template find_or_construct<std::atomic<std::uint64_t>>("both", 0U);
            both.fetch_add(1);
        }
    }

    // The directory keeps the memory for the largest number of names so far: reserve it early.
    void warm_up() override {
        for (int i = 0; i < 6; ++i) {
            segment_.template construct<int>("warm" + std::to_string(i));
        }
        for (int i = 0; i < 6; ++i) {
            segment_.template destroy<int>("warm" + std::to_string(i));
        }
    }

    // Both are done: removes what is left.
    std::uint64_t end_race_for_names() override {
        for (int i = 0; i < 5; ++i) {
            segment_.template destroy<row>("contested" + std::to_string(i));
        }
        const auto* both = segment_.template find<std::atomic<std::uint64_t>>("both");
        require(both != nullptr, "both");
        const std::uint64_t count = *both;
        segment_.template destroy<std::atomic<std::uint64_t>>("both");
        return count;
    }

    cohold::shm_allocator<row> allocator() override { return segment_.template allocator<row>(); }

  private:
    template <class T>
    std::string try_find(const char* name) {
        std::error_code ec;
        const T* const found = segment_.template find<T>(name, ec);
        if (found != nullptr && !ec) {
            return std::string(name) + " found | ";
        }
        require(ec == cohold::errc::type_mismatch, name);
        return std::string(name) + " refused: " + cohold::last_failure().what() + " | ";
    }

    Segment segment_;
};

template <class Mechanism>
std::unique_ptr<attached> attach(const std::string& name, const std::string& life) {
    using segment = cohold::segment<Mechanism>;
    if (life == "existing") {
        return std::make_unique<attached_to<segment>>(segment::open(name));
    }
    const cohold::segment_options options{
        .size = 16384,
        .reserve = std::size_t{64} << 20,
        .lifetime = life == "session" ? cohold::lifetime::session : cohold::lifetime::persistent};
    return std::make_unique<attached_to<segment>>(segment::create(name, options));
}

template <class Mechanism>
bool remove(const std::string& name) {
    return cohold::segment<Mechanism>::remove(name);
}

std::unique_ptr<attached> attach(const std::string& mechanism, const std::string& name,
                                 const std::string& life) {
    return mechanism == "posix"      ? attach<cohold::mechanism::posix>(name, life)
           : mechanism == "system_v" ? attach<cohold::mechanism::system_v>(name, life)
                                     : attach<cohold::mechanism::file>(name, life);
}

bool remove(const std::string& mechanism, const std::string& name) {
    return mechanism == "posix"      ? remove<cohold::mechanism::posix>(name)
           : mechanism == "system_v" ? remove<cohold::mechanism::system_v>(name)
                                     : remove<cohold::mechanism::file>(name);
}

// Commands.

// Makes the vectors `count` long and the table's rows `depth` long, whatever they were before.
void grow(shared_things& things, std::size_t count, std::size_t depth) {
    while (things.numbers->size() < count) {
        things.numbers->push_back(number_at(things.numbers->size()));
    }
    while (things.table->size() < count) {
        things.table->emplace_back();
    }
    for (std::size_t i = 0; i < count; ++i) {
        row& cells = (*things.table)[i];
        while (cells.size() < depth) {
            cells.push_back(cell_at(i, cells.size()));
        }
    }
    things.records->resize(count / 4);
    for (std::size_t i = 0; i < things.records->size(); ++i) {
        set((*things.records)[i], i);
    }
}

void shrink(shared_things& things, std::size_t count) {
    things.numbers->resize(count);
    things.numbers->shrink_to_fit();
    things.table->erase(things.table->begin() + static_cast<std::ptrdiff_t>(count),
                        things.table->end());
    things.table->shrink_to_fit();
    // The first is erased and inserted again, so that all others move.
    record first = things.records->front();
    things.records->erase(things.records->begin());
    things.records->insert(things.records->begin(), std::move(first));
    things.records->resize(count / 4);
}

void check(const shared_things& things, std::size_t count, std::size_t depth) {
    require(things.numbers->size() == count, "numbers", things.numbers->size());
    for (std::size_t i = 0; i < count; ++i) {
        require((*things.numbers)[i] == number_at(i), "number", i);
    }
    require(things.table->size() == count, "table", things.table->size());
    for (std::size_t i = 0; i < count; ++i) {
        const row& cells = (*things.table)[i];
        require(cells.size() == depth, "row", i);
        for (std::size_t j = 0; j < depth; ++j) {
            require(cells[j] == cell_at(i, j), "cell", i);
        }
    }
    require(things.records->size() == count / 4, "records", things.records->size());
    for (std::size_t i = 0; i < things.records->size(); ++i) {
        require(is((*things.records)[i], i), "record", i);
    }
}

void set_values(shared_things& things, std::size_t seed) {
    const auto n = static_cast<int>(seed);
    set(*things.single, seed);
    things.array->fill(static_cast<std::uint16_t>(seed));
    for (int i = 0; i < 12; ++i) {
        (*things.grid)[i / 4][i % 4] = n + i;
    }
    *things.pair = {n, static_cast<float>(-n)};
    *things.optional = n;
    things.word->fetch_add(cell_at(seed, seed));
    things.counters->small.fetch_sub(n);
    things.counters->flag.store(!things.counters->flag.load());
    things.counters->large.fetch_add(cell_at(seed, seed));
}

void check_values(const shared_things& things, std::size_t seed, std::uint64_t word) {
    const auto n = static_cast<int>(seed);
    require(is(*things.single, seed), "single");
    for (const std::uint16_t each : *things.array) {
        require(each == seed, "array");
    }
    for (int i = 0; i < 12; ++i) {
        require((*things.grid)[i / 4][i % 4] == n + i, "grid");
    }
    require(*things.pair == std::pair{n, static_cast<float>(-n)}, "pair");
    require(*things.optional == n, "optional");
    require(*things.word == word && things.counters->large == word, "word");
}

template <class Queue>
void push_numbers(Queue& queue, std::size_t first, std::size_t count) {
    std::vector<int> batch;
    for (std::size_t i = first; i < first + count; ++i) {
        batch.push_back(number_at(i));
    }
    require(queue.try_push_n(std::span<const int>(batch).first(count / 2)) == count / 2, "batch");
    for (std::size_t i = count / 2; i < count; ++i) {
        require(queue.try_push(batch[i]), "try_push", i);
    }
}

template <class Queue>
void pop_numbers(Queue& queue, std::size_t first, std::size_t count) {
    std::vector<int> batch(count / 2);
    require(queue.try_pop_n(std::span<int>(batch)) == count / 2, "batch popped");
    for (std::size_t i = 0; i < count; ++i) {
        const std::optional<int> got = i < batch.size() ? std::optional(batch[i]) : queue.pop();
        require(got == number_at(first + i), "number popped", i);
    }
}

template <class Queue>
void push_tables(Queue& queue, attached& where, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
        table made(i % 4 + 1, where.allocator());
        for (row& cells : made) {
            for (std::size_t j = 0; j < i % 9; ++j) {
                cells.push_back(cell_at(i, j));
            }
        }
        require(i % 2 == 0 ? queue.try_push(made) : queue.try_push(std::move(made)), "table", i);
    }
}

template <class Queue>
void pop_tables(Queue& queue, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
        std::optional<table> got = queue.try_pop();
        require(got && got->size() == i % 4 + 1, "table popped", i);
        for (row& cells : *got) {
            require(cells.size() == i % 9, "row popped", i);
            for (std::size_t j = 0; j < cells.size(); ++j) {
                require(cells[j] == cell_at(i, j), "cell popped", j);
            }
            cells.push_back(0); // it belongs to this vector now, and grows
        }
    }
}

std::string message_at(std::size_t index) {
    return std::to_string(index) + std::string(index % 100, '.');
}

// The last message of each push is urgent, and so the first one of the next pop.
void push_messages(cohold::shm_message_queue& queue, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
        require(queue.try_push(message_at(i), 2u), "message", i);
    }
    require(queue.try_push("urgent", 31u), "urgent message", first);
}

void pop_messages(cohold::shm_message_queue& queue, std::size_t first, std::size_t count) {
    const auto urgent = queue.try_pop();
    require(urgent && urgent.text() == "urgent" && urgent.priority() == 31u, "urgent message",
            first);
    for (std::size_t i = first; i < first + count; ++i) {
        const auto got = queue.try_pop();
        require(got && got.text() == message_at(i) && got.priority() == 2u, "message popped", i);
    }
}

void push(shared_things& things, attached& where, std::size_t first, std::size_t count) {
    push_messages(*things.messages, first, count);
    push_numbers(*things.spsc_numbers, first, count);
    push_numbers(*things.mpmc_numbers, first, count);
    push_tables(*things.spsc_tables, where, first, count);
    push_tables(*things.mpmc_tables, where, first, count);
}

void pop(shared_things& things, std::size_t first, std::size_t count) {
    pop_messages(*things.messages, first, count);
    pop_numbers(*things.spsc_numbers, first, count);
    pop_numbers(*things.mpmc_numbers, first, count);
    pop_tables(*things.spsc_tables, first, count);
    pop_tables(*things.mpmc_tables, first, count);
}

// Both peers at the same time: each produces and consumes `count` tickets, and as many rows that
// the other frees, and allocates rows of its own.
void race(shared_things& things, attached& where, std::uint32_t maker, std::uint32_t count) {
    std::string wrong[5];
    const auto guarded = [&wrong](std::size_t index, auto&& work) {
        return std::thread([&wrong, index, work] {
            try {
                work();
            } catch (const std::exception& error) {
                wrong[index] = error.what();
            }
        });
    };
    std::thread threads[] = {
        guarded(4, [&] { where.race_for_names(maker); }),
        guarded(0,
                [&] {
                    for (std::uint32_t i = 0; i < count; ++i) {
                        require(things.race->push({maker, i}), "push", i);
                    }
                }),
        guarded(1,
                [&] {
                    std::uint32_t next[2] = {};
                    for (std::uint32_t i = 0; i < count; ++i) {
                        const std::optional<ticket> got = things.race->pop();
                        require(got && got->maker < 2 && got->number >= next[got->maker],
                                "order of tickets", i);
                        next[got->maker] = got->number + 1;
                        things.word->fetch_add(got->number + 1);
                    }
                }),
        guarded(2,
                [&] {
                    const std::uint32_t rows = count / 4;
                    for (std::uint32_t i = 0; i < rows; ++i) {
                        row made(where.allocator());
                        for (std::size_t j = 0; j < i % 50; ++j) {
                            made.push_back(cell_at(i, j));
                        }
                        require(things.race_rows->push(std::move(made)), "push of a row", i);
                    }
                }),
        guarded(3, [&] {
            const std::uint32_t rows = count / 4;
            std::vector<row> own;
            for (std::uint32_t i = 0; i < rows; ++i) {
                std::optional<row> got = things.race_rows->pop();
                require(got.has_value(), "row", i);
                std::uint64_t sum = 0;
                for (const std::uint64_t cell : *got) {
                    sum += cell;
                }
                const std::size_t of =
                    got->empty() ? 0 : static_cast<std::size_t>((*got)[0] >> 33) - 1;
                require(sum == cell_sum(of, got->size()) && got->size() == of % 50,
                        "cells of a row", i);
                // Some are kept for a while, so that the heap is fragmented.
                own.push_back(std::move(*got));
                if (own.size() > 40) {
                    own.erase(own.begin() + static_cast<std::ptrdiff_t>(i % 40));
                }
            }
        })};
    for (std::thread& each : threads) {
        each.join();
    }
    for (const std::string& each : wrong) {
        require(each.empty(), each.c_str());
    }
}

// shared<T>: a root object, in a segment of its own.
void root(const std::string& how, const std::string& name) {
    using shared = cohold::shared<record>;
    if (how == "create") {
        shared made = shared::create(name, {.reserve = std::size_t{8} << 20});
        set(*made, 41);
        return;
    }
    shared opened = shared::open(name);
    require(is(*opened, 41), "root");
    opened->history.resize(100000, 7);
    require(shared::open(name, cohold::read_only)->history.back() == 7, "root seen");
    shared::remove(name);
}

// A small segment that may become larger than some processes' address space.
void reserve(const std::string& name, std::uint64_t bytes) {
    const auto fits = static_cast<std::size_t>(bytes);
    require(fits == bytes, "a reserve for this program's words");
    auto made = cohold::segment<>::create(name, {.reserve = fits});
    made.construct<int>("int", 7);
}

// Opens it, and returns the remedy if that fails.
std::string too_large(const std::string& name) {
    std::error_code ec;
    const auto opened = cohold::segment<>::open(name, ec);
    if (ec) {
        require(ec == cohold::errc::reserve_too_large && !opened, cohold::last_failure().what());
        return cohold::last_failure().what();
    }
    require(*opened.find<int>("int") == 7, "int");
    return "opened";
}

// Names of types, and the hashes by which they are compared.
template <class T>
std::string type() {
    char text[24];
    std::snprintf(text, sizeof text, "=%016llx ",
                  static_cast<unsigned long long>(cohold::detail::type_descriptor_of<T>.hash));
    return std::string(cohold::type_name_of<T>()) + text;
}

std::string types() {
    return type<bool>() + type<wchar_t>() + type<char16_t>() + type<std::int64_t>() +
           type<unsigned long long>() + type<signed char>() + type<double>() + type<colour>() +
           type<record>() + type<counters>() + type<ticket>() + type<std::byte>() +
           type<samples<std::int64_t, 2>>() + type<samples<unsigned long long, 300>>() +
           type<shm_vector<samples<std::uint64_t, 1>>>() + type<table>() +
           type<mpmc<std::array<row, 3>>>() + type<spsc<std::optional<std::int32_t>>>() +
           type<cohold::offset_ptr<record>>() + type<cohold::shm_string>() +
           type<cohold::shm_multimap<std::int64_t, double, std::greater<>>>() +
           type<cohold::shm_basic_string<char32_t>>() + type<std::atomic<std::uint64_t>>();
}

} // namespace

int main() {
    std::unique_ptr<attached> where;
    shared_things things{};
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        std::string command;
        std::string words[3];
        in >> command;
        const auto word = [&](std::size_t index) -> const std::string& {
            in >> words[index];
            return words[index];
        };
        const auto number = [&in] {
            std::uint64_t value = 0;
            in >> value;
            require(!in.fail(), "an argument of the command");
            return value;
        };
        const auto count = [&number] { return static_cast<std::size_t>(number()); };
        try {
            std::string answer;
            if (command == "create" || command == "open") {
                const std::string mechanism = word(0);
                const std::string name = word(1);
                where = attach(mechanism, name, command == "open" ? "existing" : word(2));
                if (command == "create") {
                    where->construct(things);
                    where->construct_skewed();
                } else {
                    where->find(things);
                }
            } else if (command == "close") {
                where.reset();
            } else if (command == "remove") {
                const std::string mechanism = word(0);
                answer = remove(mechanism, word(1)) ? "removed" : "absent";
            } else if (command == "destroy") {
                where->destroy(things);
            } else if (command == "list") {
                answer = where->list();
            } else if (command == "sizes") {
                answer = where->sizes();
            } else if (command == "types") {
                answer = types();
            } else if (command == "skewed") {
                answer = where->find_skewed();
            } else if (command == "view") {
                const std::string name = word(0);
                where->view(name, count());
            } else if (command == "grow") {
                const std::size_t length = count();
                grow(things, length, count());
            } else if (command == "shrink") {
                shrink(things, count());
            } else if (command == "check") {
                const std::size_t length = count();
                check(things, length, count());
            } else if (command == "set") {
                set_values(things, count());
            } else if (command == "values") {
                const std::size_t seed = count();
                check_values(things, seed, number());
            } else if (command == "push") {
                const std::size_t first = count();
                push(things, *where, first, count());
            } else if (command == "pop") {
                const std::size_t first = count();
                pop(things, first, count());
            } else if (command == "await") { // sleeps until the other pushes
                std::cout << "ok waiting" << std::endl;
                const std::optional<int> got = things.mpmc_numbers->pop();
                require(got.has_value(), "await");
                answer = std::to_string(*got);
            } else if (command == "wake") {
                things.mpmc_numbers->push(static_cast<int>(count()));
            } else if (command == "race") {
                const auto maker = static_cast<std::uint32_t>(count());
                race(things, *where, maker, static_cast<std::uint32_t>(count()));
            } else if (command == "warm_up") {
                where->warm_up();
            } else if (command == "end_race") {
                answer = std::to_string(where->end_race_for_names());
            } else if (command == "reserve") {
                const std::string name = word(0);
                reserve(name, number());
            } else if (command == "too_large") {
                answer = too_large(word(0));
            } else if (command == "word") {
                answer = std::to_string(things.word->exchange(0));
            } else if (command == "root") {
                const std::string how = word(0);
                root(how, word(1));
            } else {
                throw std::runtime_error("no such command: " + line);
            }
            std::cout << "ok " << answer << std::endl;
        } catch (const std::exception& error) {
            std::cout << "bad " << command << ": " << error.what() << std::endl;
        }
    }
    return 0;
}
