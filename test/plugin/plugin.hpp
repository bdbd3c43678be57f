// The functions that a host and its plug-in, built separately, call on each other for their
// segment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_PLUGIN_HPP
#define COHOLD_TEST_PLUGIN_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <cohold/cohold.hpp>

namespace plugin {

using table = cohold::shm_vector<cohold::shm_vector<int>>;
using queue = cohold::shm_queue<std::uint64_t>;

using ledger = cohold::shm_guarded<cohold::shm_vector<int>>;

struct note {
    std::uint32_t author;
    cohold::shm_vector<char> text;
    std::atomic<std::uint32_t> readers;
};

inline int cell(std::size_t i, std::size_t j) {
    return static_cast<int>(i * 1000 + j % 1000);
}

// Makes the table `rows` by `columns`, with the code compiled into the calling module.
inline void grow(table& cells, std::size_t rows, std::size_t columns) {
    while (cells.size() < rows) {
        cells.emplace_back();
    }
    for (std::size_t i = 0; i < rows; ++i) {
        while (cells[i].size() < columns) {
            cells[i].push_back(cell(i, cells[i].size()));
        }
    }
}

inline bool holds(const table& cells, std::size_t rows, std::size_t columns) {
    bool good = cells.size() == rows;
    for (std::size_t i = 0; good && i < rows; ++i) {
        good = cells[i].size() == columns;
        for (std::size_t j = 0; good && j < columns; ++j) {
            good = cells[i][j] == cell(i, j);
        }
    }
    return good;
}

// Everything that is visible of a plug-in.
struct interface {
    // For an object of the host, through the host's mapping.
    void (*grow)(table& cells, std::size_t rows, std::size_t columns);
    bool (*holds)(const table& cells, std::size_t rows, std::size_t columns);
    // Through a handle of its own, which it keeps until it is unloaded.
    void (*open)(const char* name);
    void (*close)(); // what unloading does too, if the plug-in is really unloaded
    std::size_t (*size)();
    void (*write_note)(const char* name);
    void (*erase_note)(const char* name);
    // A thread of its own that sums up a queue until that is closed.
    void (*start)(const char* queue_name, const char* sum_name);
    // Within the section that the calling thread has open.
    void (*append)(cohold::shm_vector<int>& numbers, int number);
    // In a section of its own, in which it calls back.
    void (*within)(ledger& numbers, void (*back)(void*), void* with);
    // Errors: finds a table where there is an int.
    void (*mistake)(const char* name);
    std::error_code (*mistake_without_throwing)(const char* name);
    // Calls back, and returns which exception it caught: "failure", "system_error", "other",
    // "none".
    const char* (*call)(void (*back)());
};

} // namespace plugin

extern "C" const plugin::interface* cohold_test_plugin();

#endif
