#!/usr/bin/env python3
"""The reader in Python understands what the library writes: layout.py PROGRAM READER"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import pathlib
import subprocess
import sys
import tempfile

EXPECTED = {
    "ages": ("shm_hash_map<u32,i64>", [
        {"first": i, "second": i * 3} for i in range(1000) if i != 500]),
    "answer": ("i32", 42),
    "corner": ("shm_latest<app::point>", {
        "value": {"x": 3, "y": 4, "shade": 1}, "version": 1}),
    "counters": ("std::array<std::atomic<u32>,2>", [0, 0]),
    "half": ("f64", 0.5),
    "letters": ("shm_vector<char>", "xxx"),
    "list": ("shm_list<shm_string>", ["one", "two", "three"]),
    "maybe": ("std::optional<i32>", {"value": 7, "has_value": True}),
    "messages": ("shm_message_queue", {
        "messages": [[9, "first"], [0, "third"]], "capacity": 1000, "closed": True}),
    "news": ("shm_broadcast<app::point>", {
        "messages": [{"x": 2, "y": -2, "shade": 0}, {"x": 3, "y": -3, "shade": 0}],
        "capacity": 2, "published": 3, "closed": False}),
    "no list": ("shm_list<f64>", []),
    "numbers": ("shm_vector<i32>", [i * i for i in range(1, 41)]),
    "pair": ("std::pair<i8,f64>", {"first": -1, "second": 2.25}),
    "paths": ("shm_hash_map<shm_string,i32>", [{"first": "/tmp", "second": -1}]),
    "ordered": ("shm_map<shm_string,i32>", [
        {"first": "Ada", "second": 36}, {"first": "Grace", "second": 85}]),
    "people": ("shm_vector<app::person>", [
        {"name": "Ada", "path": [{"x": 0.5, "y": -1.0, "shade": 1}],
         "marks": [[0, 0, 0], [0, 0, -3]]},
        {"name": "Blaise, whose name is longer than 22 characters", "path": [], "marks": [[0, 0, 0], [0, 0, 0]]}]),
    "primes": ("shm_hash_set<u64>", [7]),
    "queue": ("shm_queue<u16,mpmc>", {"elements": [4, 5], "capacity": 3, "closed": True}),
    "row": ("shm_latest<std::array<i32,20>>", {"value": [3, 4, 5] + [0] * 17, "version": 2}),
    "recent": ("shm_deque<i32>", [1996, 1997, 1998, 1999]),
    "shades": ("shm_hash_map<u32,app::point>", [
        {"first": 7, "second": {"x": 1, "y": 2, "shade": 1}}]),
    "sorted": ("shm_set<i64>", [2, 3, 5, 7]),
    "wide": ("shm_basic_string<char16>", "sechzehn"),
    "yes": ("bool", True),
    "zeros": ("u64[3]", [0, 0, 0]),
}


def read(reader, path):
    return subprocess.run([sys.executable, reader, "--json", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)


def walk_heap(data):
    """The blocks of the heap are where docs/layout.md says."""
    def word(at):
        return int.from_bytes(data[at:at + 8], sys.byteorder)

    def descriptor(at):
        unit, part = at // 4096, 0
        while unit >= 64 << part:
            part += 1
        begin = word(heap + 7672) + 504 if part == 0 else word(word(heap + 7672) + 272 + part * 8)
        place = begin + 4 * (unit - (32 << part if part != 0 else 0))
        return 64 * int.from_bytes(data[place:place + 4], sys.byteorder)

    heap = 8256
    at, before, used, runs, own = word(heap + 352), 0, 0, 0, 0
    assert at == 20160, at
    while at != word(heap + 360):
        size = word(at) & 0x0000FFFFFFFFFFF0
        assert size >= 16 and word(at + 8) == before, at
        kind = word(at) & 7
        assert kind in (0, 1, 2, 4), at
        used += size if kind == 0 else 0
        own += kind == 4
        if kind == 2:
            runs += data[descriptor(at + 16) + 33] * 4096 - 16
            slab = descriptor(at + 16)
            assert word(slab + 16) == at + 16 and word(slab) == 0, slab  # nobody owns it now
            assert (size + 16) // 4096 == data[slab + 33] and size % 4096 in (0, 4080) and word(slab + 8) & 3 == 1, slab
        before, at = at, at + 16 + size
    slabs = word(heap + 7672)
    if slabs != 0:
        assert runs == word(slabs + 8) and own > 1
    # No process has the segment attached: no journal is left, and no change of the heap is under
    # way.
    assert used == word(heap + 344) and word(at) == 0
    assert word(heap) == 0 and word(heap + 5616) == 0
    for slot in range(4096, heap, 64):
        assert word(slot) & 1 == 0 and word(slot + 40) == 0 and word(slot + 48) == 0, slot
    assert word(4096) >> 32 == 1


def main(program, reader):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "segment"
        subprocess.run([program, path], check=True, timeout=60)
        data = path.read_bytes()

        walk_heap(data)
        found = json.loads(read(reader, path).stdout)
        assert found["header"]["name"] == "segment", found["header"]
        assert found["header"]["size"] == len(data), found["header"]
        assert found["header"]["lifetime"] == "persistent", found["header"]
        # Pointers are read as offsets: this one is that of the seventh number.
        people = found["objects"]["people"]["value"]
        place = people[0].pop("favourite")
        assert int.from_bytes(data[place:place + 4], sys.byteorder) == 49, place
        assert people[1].pop("favourite") is None
        found["objects"]["ages"]["value"].sort(key=lambda each: each["first"])
        objects = {name: (each["type"], each["value"]) for name, each in found["objects"].items()}
        assert objects == EXPECTED, objects

        # It refuses damaged segments, and everything that is not a segment.
        for at, what in {0: "not a segment", 12: "layout version", 100: "checksum"}.items():
            path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1:])
            refused = read(reader, path)
            assert refused.returncode == 1 and what in refused.stderr, refused
    print("ok")


main(*sys.argv[1:])
