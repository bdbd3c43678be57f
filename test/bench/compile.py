#!/usr/bin/env python3
# How long programs with cohold take to compile, compared with the same programs with Boost:
# processor time of g++ -O2, interleaved, medians of the ratios of the rounds.
#   compile.py INCLUDE_DIRECTORY [--quick]
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import os
import statistics
import subprocess
import sys
import tempfile

COHOLD_PROGRAM = """
#include <cohold/cohold.hpp>
int main() {
    auto segment = cohold::segment<>::create("name", 1 << 20);
    auto& vector = segment.construct<cohold::shm_vector<int>>("vector");
    vector.push_back(1);
    auto& queue = segment.construct<cohold::shm_queue<int>>("queue", 100);
    queue.push(vector[0]);
    return queue.pop().value();
}
"""
BOOST_PROGRAM = """
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/vector.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
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
BOOST_INCLUDES = "".join(line + "\n" for line in BOOST_PROGRAM.splitlines() if "#include" in line)

# What is compiled, and with what: title, cohold's program, name of the peer, the peer's program,
# goal.
COMPARISONS = [
    ("a segment with a vector and a queue", COHOLD_PROGRAM,
     "boost managed_shared_memory, vector, message_queue", BOOST_PROGRAM, 0.45),
    ("the same, includes alone", "#include <cohold/cohold.hpp>\n",
     "boost managed_shared_memory, vector, message_queue", BOOST_INCLUDES, None),
    ("`<cohold/container/shm_queue.hpp>` alone", "#include <cohold/container/shm_queue.hpp>\n",
     "boost/lockfree/queue.hpp", "#include <boost/lockfree/queue.hpp>\n", 0.6),
    ("the umbrella alone", "#include <cohold/cohold.hpp>\n", "`<vector>` and `<atomic>`",
     "#include <vector>\n#include <atomic>\n", None),
]


def seconds_of(source, include, directory):
    """Processor time, which other jobs of the machine disturb less than the time of the clock."""
    path = os.path.join(directory, "unit.cpp")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    compiler = subprocess.Popen([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-I", include,
                                 "-c", path, "-o", os.path.join(directory, "unit.o")])
    _, status, usage = os.wait4(compiler.pid, 0)
    compiler.returncode = os.waitstatus_to_exitcode(status)
    if compiler.returncode != 0:
        sys.exit("benchmark is wrong: a unit does not compile:\n" + source)
    return usage.ru_utime + usage.ru_stime


def main():
    include = sys.argv[1]
    rounds = 3 if "--quick" in sys.argv[2:] else 11
    sources = list(dict.fromkeys(s for _, ours, _, theirs, _ in COMPARISONS for s in (ours, theirs)))
    samples = {source: [] for source in sources}
    with tempfile.TemporaryDirectory(prefix="cohold-bench-") as directory:
        for number in range(rounds):
            first = number % len(sources)
            for source in sources[first:] + sources[:first]:
                samples[source].append(seconds_of(source, include, directory))
    print("\n### Compile time, one unit, -O2\n")
    print("| s of processor time | cohold | peer | ratio | goal |\n|---|---:|---|---:|---|")
    for title, ours, peer, theirs, goal in COMPARISONS:
        ratios = [a / b for a, b in zip(samples[ours], samples[theirs])]
        ratio = statistics.median(ratios)
        low, high = min(ratios), max(ratios)
        verdict = ""
        if goal is not None:
            verdict = (f"≤ {goal:.2f} ×: {'met' if ratio <= goal else '**missed**'}, "
                       f"{ratio:.2f} ({low:.2f} to {high:.2f})")
        print(f"| {title} | {statistics.median(samples[ours]):.2f} | {peer}: "
              f"{statistics.median(samples[theirs]):.2f} | {ratio:.2f} | {verdict} |")


main()
