#!/usr/bin/env python3
"""The Python package reads what C++ writes, while it writes and is killed:
python.py PACKAGE LAYOUT WRITER"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, sys.argv[1])
import cohold  # pylint: disable=wrong-import-position

try:
    import numpy
except ImportError:
    numpy = None

MASK = 0xFFFFFFFFFFFFFFFF


def fails(error, call, *arguments):
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def check_types(path):
    """Every type of the example, by what the segment says of it."""
    with cohold.open(path) as segment:
        expected = {
            "ages": {i: i * 3 for i in range(1000) if i != 500}, "answer": 42, "half": 0.5,
            "corner": {"x": 3, "y": 4, "shade": 1}, "counters": [0, 0], "letters": "xxx",
            "maybe": 7, "numbers": [i * i for i in range(1, 41)], "pair": (-1, 2.25),
            "paths": {"/tmp": -1}, "ordered": {"Ada": 36, "Grace": 85}, "primes": {7}, "shades": {7: {"x": 1, "y": 2, "shade": 1}},
            "row": [3, 4, 5] + [0] * 17, "sorted": [2, 3, 5, 7], "wide": "sechzehn", "yes": True,
            "zeros": [0, 0, 0]}
        for name, value in expected.items():
            assert segment[name] == value, (name, segment[name])
        people = segment["people"]
        assert [each["name"] for each in people] == [
            "Ada", "Blaise, whose name is longer than 22 characters"], people
        assert people[0]["path"] == [{"x": 0.5, "y": -1.0, "shade": 1}], people
        assert segment.type("numbers") == "shm_vector<i32>" and "gone" not in segment
        for name in ("queue", "messages"):
            fails(cohold.UnknownType, segment.get, name)
        fails(KeyError, segment.get, "gone")
    fails(ValueError, segment.get, "answer")  # closed


def check_pairs():
    """Those of hash tables, also where 32-bit programs put the value elsewhere."""
    for text, size, place in (("u32,i64", 16, 8), ("std::pair{first@0 u32;second@4 i64}12", 12, 4),
                              ("std::pair{first@0 u32;second@4 i64}12,app::hash,app::equal", 12, 4),
                              ("std::pair{first@0 u8;second@1 u8}2,i64", 16, 8),
                              ("u64,app::point{x@0 f32;y@4 f32}8", 16, 8)):
        kind = cohold.types.parse(f"shm_hash_map<{text}>")
        assert (kind.item.size, kind.item.members[1][1]) == (size, place), text


def check_arrays(path):
    """Without a copy, and for reading only."""
    with cohold.open(path) as segment:
        numbers, points = segment.array("numbers"), segment.array("points")
        assert numbers.dtype == float and list(numbers) == [i / 2 for i in range(1000)]
        assert points["x"].sum() == -points["y"].sum() == 499500 and points["shade"][300] == 44
        assert not numbers.flags.writeable and not numbers.flags.owndata
        fails(TypeError, segment.array, "ledger")
        assert segment["shades"] == {7: {"x": 1, "y": 2, "shade": 3}}
        assert segment["keys"] == [({"a": 1, "b": 2}, 3)]
        assert segment["guarded"] == {"x": 4, "y": 5, "shade": 6}
    assert numbers[999] == 499.5  # although it is closed


def check_protocols(path):
    """What changes between two looks at it is not taken for a value."""
    copy = path + ".copy"
    pathlib.Path(copy).write_bytes(pathlib.Path(path).read_bytes())
    with cohold.open(copy) as segment, open(copy, "r+b", buffering=0) as file:
        def add(at, size, what):
            file.seek(at)
            word = int.from_bytes(file.read(size), sys.byteorder) + what
            file.seek(at)
            file.write(word.to_bytes(size, sys.byteorder))

        def change_groups(at, kind):
            block = segment.read("Q", (segment.read("Q", at + 8) >> 8) + 16) >> 8
            for group in range(kind.groups):
                add(block + 64 + group * (32 + 16 * kind.slot_bytes), 8, 1 << 24)

        changes = {"ledger": ("value", lambda at, kind: add(at + 20, 4, 1)),
                   "sides": ("value", lambda at, kind: add(at + 20, 4, 2)),
                   "newest": ("value", lambda at, kind: add(at + 64, 8, 3 << 6)),
                   "shades": ("item", change_groups)}
        for name, (part, change) in changes.items():
            kind, at = segment._kind(segment.description(name)), segment._entry(name)[2]
            inner = getattr(kind, part)
            read = inner.read
            inner.read = lambda *where: (read(*where), change(at, kind))[0]
            fails(cohold.Unsettled, kind.read, segment, at)
            inner.read = read
            kind.read(segment, at)
        _, _, at, _ = segment._entry("ledger")
        add(at, 8, 2)  # locked
        fails(cohold.Unsettled, segment.get, "ledger", 0)


def look(segment):
    """Reads all of it; each value is whole, or refused. Returns how many were read."""
    count = 0
    for name in ("ledger", "sides", "table", "newest"):
        try:
            value = segment.get(name, patience=0.05)
        except cohold.Unsettled:
            continue
        count += 1
        if name == "ledger":
            number = value["number"]
            assert value["entries"] == ([number] * (number % 50 + 1) if number else []), value
            assert number == 0 or value["text"].startswith(f"{number}, a text"), value
        elif name == "sides":
            assert value["left"] ^ value["right"] == MASK, value
        elif name == "newest":
            assert len(set(value)) == 1, value
        else:
            for key, each in value.items():
                assert each["left"] ^ each["right"] == MASK and each["left"] % 500 == key, value
    names = set(segment)
    assert names - {"passing"} == {"guarded", "keys", "ledger", "newest", "numbers", "points", "queue",
                                   "shades", "sides", "table"}, names
    return count


def check_kills(writer, path, rounds):
    read = 0
    noise = random.Random(5)
    with cohold.open(path) as segment:
        for _ in range(rounds):
            with subprocess.Popen([writer, path, "work"], stdout=subprocess.PIPE) as process:
                assert process.stdout.readline() == b"ready\n"
                end = time.monotonic() + noise.uniform(0.005, 0.1)
                while time.monotonic() < end:
                    read += look(segment)
                process.kill()
            # It may be left locked or half done, until somebody recovers it: refused, or whole.
            read += look(segment)
    assert read > rounds, read


def check_damage(path):
    """No bytes make it hang, or fail in another way than by its own errors."""
    sound = pathlib.Path(path).read_bytes()
    noise = random.Random(7)
    damaged = pathlib.Path(path + ".damaged")
    for number in range(150):
        data = bytearray(sound)
        for _ in range(noise.randrange(1, 6)):
            at = 8 * noise.randrange(len(data) // 8) if number % 3 else 8 * noise.randrange(1990, 3000)
            value = noise.choice([0, MASK, at, len(sound), 1 << 63, noise.getrandbits(64)])
            data[at:at + 8] = value.to_bytes(8, sys.byteorder)
        damaged.write_bytes(data if number % 8 else data[:noise.randrange(len(data))])
        try:
            with cohold.open(str(damaged)) as segment:
                for name in segment._settled(segment._entries, 0):
                    try:
                        segment.get(name, patience=0)
                    except (cohold.Unsettled, cohold.UnknownType):
                        pass
        except (cohold.Damaged, cohold.Unsettled):
            pass
    for at, what in {0: "not a segment", 12: "layout version", 100: "damaged"}.items():
        damaged.write_bytes(sound[:at] + bytes([sound[at] ^ 255]) + sound[at + 1:])
        try:
            cohold.open(str(damaged))
            raise AssertionError("opened")
        except cohold.Damaged as error:
            assert what in str(error), error


def main(layout, writer):
    with tempfile.TemporaryDirectory() as name:
        first, second = str(pathlib.Path(name) / "first"), str(pathlib.Path(name) / "second")
        subprocess.run([layout, first], check=True, timeout=60)
        subprocess.run([writer, second, "make"], check=True, timeout=60)
        check_types(first)
        check_pairs()
        if numpy is not None:
            check_arrays(second)
        else:
            print("numpy is not installed: arrays were not read")
        check_protocols(second)
        check_kills(writer, second, 20)
        check_damage(first)
        check_damage(second)
    print("ok")


main(*sys.argv[2:])
