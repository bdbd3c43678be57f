#!/usr/bin/env python3
# How far a reader who follows one call through the code has to go: how many functions of cohold the
# call runs through, in how many files, and how often it goes from one file to another. Built at
# -O0, where every function that is written is called; the standard library's are left out.
#   paths.py INCLUDE_DIRECTORY [--json=FILE]
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import os
import subprocess
import sys
import tempfile

# The thread has used the segment before, so it knows it; but `open` opens a segment that the process
# has closed. Growing moves elements.
CALLS = [
    ("queue.push(int)", "", "queue.push(1);"),
    ("queue.pop()", "", "static_cast<void>(queue.pop());"),
    ("guarded.lock()", "", "auto locked = guarded.lock();"),
    ("mutex.lock()", "", "mutex.lock();"),
    ("segment::open", "segment = {};", "auto opened = cohold::segment<>::open(name);"),
    ("segment.find<int>", "", "static_cast<void>(segment.find<int>(\"number\"));"),
    ("segment.construct<int>", "", "segment.construct<int>(\"another\", 1);"),
    ("vector.push_back(int)", "", "vector.push_back(1);"),
    ("vector.push_back(int), growing", "", "growing.push_back(1);"),
]

PROGRAM = r"""
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

#include <cohold/cohold.hpp>

#define HOOK extern "C" __attribute__((no_instrument_function)) void

namespace {
constexpr int most = 1 << 20;
void* trace[most];
int length = 0;
bool recording = false;
} // namespace

HOOK __cyg_profile_func_enter(void* function, void* /*site*/) {
    if (recording && length < most) {
        trace[length++] = function;
    }
}

HOOK __cyg_profile_func_exit(void* /*function*/, void* /*site*/) {
    if (recording && length < most) {
        trace[length++] = nullptr;
    }
}

int main(int /*count*/, char** arguments) {
    const std::string name = "paths." + std::to_string(::getpid());
    auto segment = cohold::segment<>::create(name, 1 << 20);
    auto& queue = segment.construct<cohold::shm_queue<int>>("queue", 100);
    auto& guarded = segment.construct<cohold::shm_guarded<int>>("guarded");
    auto& mutex = segment.construct<cohold::shm_mutex>("mutex");
    auto& vector = segment.construct<cohold::shm_vector<int>>("vector");
    auto& growing = segment.construct<cohold::shm_vector<int>>("growing", 4);
    segment.construct<int>("number", 1);
    vector.reserve(100);
    queue.push(1);
    queue.push(1);
    static_cast<void>(queue.pop());
    *guarded.lock() = 1;
    vector.push_back(1);
    mutex.lock();
    mutex.unlock();
    switch (std::atoi(arguments[1])) {
CASES
    }
    cohold::segment<>::remove(name);
    for (int i = 0; i < length; ++i) {
        std::printf("%p\n", trace[i]);
    }
}
"""


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options).stdout


def places_of(program, addresses):
    """Of each address, the function and the file, relative to the library's directory; None for
    functions of others."""
    lines = run(["addr2line", "-f", "-e", program], input="\n".join(addresses)).splitlines()
    places = {}
    for address, function, place in zip(addresses, lines[::2], lines[1::2]):
        file = os.path.normpath(place.rsplit(":", 1)[0])
        at = file.rfind("/cohold/")
        places[address] = (function, file[at + 1:]) if at >= 0 else None
    return places


def build(include, program):
    cases = "".join(
        f"case {number}: {{\n{before}\nrecording = true;\n{call}\nrecording = false;\n}} break;\n"
        for number, (_, before, call) in enumerate(CALLS))
    run([os.environ.get("CXX", "g++"), "-std=c++20", "-O0", "-g1", "-no-pie",
         "-finstrument-functions", "-I", include, "-x", "c++", "-", "-o", program, "-pthread"],
        input=PROGRAM.replace("CASES", cases))


def measure(program, number):
    trace = run([program, str(number)]).split()
    places = places_of(program, sorted(set(trace) - {"(nil)"}))
    # Enters and leaves functions in the order of reading; functions of other libraries are skipped.
    calls, functions, files, changes = 0, set(), set(), 0
    stack, here = [], None
    for address in trace:
        if address != "(nil)":
            stack.append(places[address])
            if stack[-1] is not None:
                calls += 1
                functions.add(address)
                files.add(stack[-1][1])
        else:
            stack.pop()
        now = next((place[1] for place in reversed(stack) if place is not None), here)
        changes += here is not None and now != here
        here = now
    return calls, len(functions), len(files), changes


def main():
    include = sys.argv[1]
    title = "What a call runs through, -O0"
    columns = ["calls", "functions", "files", "changes of file"]
    rows = []
    print(f"\n### {title}\n")
    print(f"| call | {' | '.join(columns)} |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="cohold-paths-") as directory:
        program = os.path.join(directory, "paths")
        build(include, program)
        for number, (call, _, _) in enumerate(CALLS):
            figures = measure(program, number)
            print(f"| `{call}` | " + " | ".join(str(figure) for figure in figures) + " |")
            rows.append({"name": call, **dict(zip(columns, figures))})
    for option in sys.argv[2:]:
        if option.startswith("--json="):
            with open(option.removeprefix("--json="), "w", encoding="utf-8") as file:
                print(json.dumps({"table": title, "unit": "functions and files", "rows": rows}),
                      file=file)


main()
