#!/usr/bin/env python3
# How long programs with cohold take to compile, and how large their code is, compared with the same
# programs with Boost: processor time of g++ -O2, interleaved, medians of the ratios of the rounds.
# cohold is used both ways: with the definitions in the headers, and with the library compiled once.
#   compile.py INCLUDE_DIRECTORY [--quick] [--json=FILE]
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import os
import statistics
import subprocess
import sys
import tempfile

COHOLD_INCLUDES = """
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
"""
COHOLD_PROGRAM = COHOLD_INCLUDES + """
int main() {
    auto segment = cohold::segment<>::create("name", 1 << 20);
    auto& vector = segment.construct<cohold::shm_vector<int>>("vector");
    vector.push_back(1);
    auto& queue = segment.construct<cohold::shm_queue<int>>("queue", 100);
    queue.push(vector[0]);
    return queue.pop().value();
}
"""
BOOST_INCLUDES = """
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/vector.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
"""
BOOST_PROGRAM = BOOST_INCLUDES + """
namespace bip = boost::interprocess;
int main() {
    bip::managed_shared_memory segment(bip::create_only, "name", 1 << 20);
    using allocator = bip::allocator<int, bip::managed_shared_memory::segment_manager>;
    auto& vector = *segment.construct<bip::vector<int, allocator>>("vector")(
        segment.get_segment_manager());
    vector.push_back(1);
    bip::message_queue queue(bip::create_only, "queue", 100, sizeof(int));
    queue.send(&vector[0], sizeof(int), 0);
    int value = 0;
    bip::message_queue::size_type size = 0;
    unsigned priority = 0;
    queue.receive(&value, sizeof value, size, priority);
    return value;
}
"""
MUTEX = """
#include <cohold/sync/shm_mutex.hpp>
void change(cohold::shm_mutex& mutex, int& value) {
    mutex.lock();
    ++value;
    mutex.unlock();
}
"""

HEADERS = ""
COMPILED = "#define COHOLD_SEPARATE_COMPILATION\n"
UMBRELLA = "#include <cohold/cohold.hpp>\n"
QUEUE_HEADER = "#include <cohold/container/shm_queue.hpp>\n"
LIBRARY = COMPILED + "#include <cohold/src.hpp>\n"

BOOST = "boost managed_shared_memory, vector, message_queue"
LOCKFREE = "boost/lockfree/queue.hpp"
LOCKFREE_HEADER = "#include <boost/lockfree/queue.hpp>\n"
SMALL = "`<vector>` and `<atomic>`"
SMALL_HEADERS = "#include <vector>\n#include <atomic>\n"

TITLE = "Compile time and code, one unit, -O2"
# The comparisons: title, way, cohold's program, name of the peer, the peer's program, goal.
COMPARISONS = [
    ("a segment with a vector and a queue", "headers", HEADERS + COHOLD_PROGRAM, BOOST,
     BOOST_PROGRAM, 0.7),
    ("a segment with a vector and a queue", "compiled", COMPILED + COHOLD_PROGRAM, BOOST,
     BOOST_PROGRAM, 0.35),
    ("its includes alone", "headers", HEADERS + COHOLD_INCLUDES, BOOST, BOOST_INCLUDES, None),
    ("its includes alone", "compiled", COMPILED + COHOLD_INCLUDES, BOOST, BOOST_INCLUDES, None),
    ("a lock and an unlock of a mutex", "compiled", COMPILED + MUTEX, "the same, by headers",
     HEADERS + MUTEX, 0.6),
    ("`<cohold/container/shm_queue.hpp>` alone", "headers", HEADERS + QUEUE_HEADER, LOCKFREE,
     LOCKFREE_HEADER, 0.5),
    ("`<cohold/container/shm_queue.hpp>` alone", "compiled", COMPILED + QUEUE_HEADER, LOCKFREE,
     LOCKFREE_HEADER, None),
    ("the umbrella alone", "headers", HEADERS + UMBRELLA, SMALL, SMALL_HEADERS, None),
    ("the umbrella alone", "compiled", COMPILED + UMBRELLA, SMALL, SMALL_HEADERS, None),
    ("the library, once a program: `<cohold/src.hpp>`", "compiled", LIBRARY, "", None, None),
]


def compile_unit(source, include, directory):
    """Processor time in user mode, which other jobs of the machine disturb less than the time of
    the clock, and the bytes of code and constants."""
    path = os.path.join(directory, "unit.cpp")
    unit = os.path.join(directory, "unit.o")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    compiler = subprocess.Popen([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-I", include,
                                 "-c", path, "-o", unit])
    _, status, usage = os.wait4(compiler.pid, 0)
    compiler.returncode = os.waitstatus_to_exitcode(status)
    if compiler.returncode != 0:
        sys.exit("benchmark is wrong: a unit does not compile:\n" + source)
    sizes = subprocess.run(["size", unit], stdout=subprocess.PIPE, text=True, check=True).stdout
    return usage.ru_utime, int(sizes.splitlines()[1].split()[0])


def kilobytes(text):
    return f"{text / 1000:.1f}" if text else ""


def quartiles(values):
    """Low, median and high, with four digits."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [float(f"{value:.4g}") for value in (
        ordered[last // 4], statistics.median(ordered), ordered[last - last // 4])]


def json_row(title, way, ours, peer, theirs, goal, seconds, text):
    contenders = [("cohold", ours)] + ([(peer, theirs)] if theirs is not None else [])
    row = {"name": title, "way": way, "contenders": [
        {"name": name, "value": quartiles(seconds[source]), "bytes of code": text[source],
         "ratio": quartiles([a / b for a, b in zip(seconds[ours], seconds[source])])}
        for name, source in contenders]}
    if goal is not None:
        reached = row["contenders"][1]["ratio"]
        row["goals"] = [{"bound": "at most, times", "limit": goal, "peer": peer,
                         "reached": reached, "met": reached[1] <= goal}]
    return row


def main():
    include = sys.argv[1]
    rounds = 3 if "--quick" in sys.argv[2:] else 9
    sources = list(dict.fromkeys(
        source for row in COMPARISONS for source in (row[2], row[4]) if source is not None))
    seconds = {source: [] for source in sources}
    text = {}
    with tempfile.TemporaryDirectory(prefix="cohold-bench-") as directory:
        for number in range(rounds):
            first = number % len(sources)
            for source in sources[first:] + sources[:first]:
                if source == LIBRARY and number % 3 != 0:
                    continue  # compared with nothing
                time, text[source] = compile_unit(source, include, directory)
                seconds[source].append(time)
    print(f"\n### {TITLE}\n")
    print("| s of processor time | way | cohold | kB of code | peer | ratio | goal |\n"
          "|---|---|---:|---:|---|---:|---|")
    for title, way, ours, peer, theirs, goal in COMPARISONS:
        mine = (f"| {title} | {way} | {statistics.median(seconds[ours]):.2f} "
                f"| {kilobytes(text[ours])} |")
        if theirs is None:
            print(mine + " | | |")
            continue
        ratios = [a / b for a, b in zip(seconds[ours], seconds[theirs])]
        ratio = statistics.median(ratios)
        size = f", {kilobytes(text[theirs])} kB" if text[theirs] else ""
        verdict = ""
        if goal is not None:
            verdict = (f"≤ {goal:.2f} ×: {'met' if ratio <= goal else '**missed**'}, "
                       f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"{mine} {peer}: {statistics.median(seconds[theirs]):.2f} s{size} | {ratio:.2f} "
              f"| {verdict} |")

    for option in sys.argv[2:]:
        if option.startswith("--json="):
            with open(option.removeprefix("--json="), "w", encoding="utf-8") as file:
                print(json.dumps({"table": TITLE, "unit": "s of processor time", "rows": [
                    json_row(*row, seconds, text) for row in COMPARISONS]}), file=file)


main()
