#!/usr/bin/env python3
"""The Python package reads what C++ writes, while it writes and is killed:
python.py PACKAGE LAYOUT WRITER"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import contextlib
import pathlib
import random
import re
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


@contextlib.contextmanager
def writing(writer, path, what):
    """A writer at work, which is killed at the end."""
    with subprocess.Popen([writer, path, what], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


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
        assert segment["list"] == ["one", "two", "three"] and segment["no list"] == []
        assert segment["recent"] == [1996, 1997, 1998, 1999]
        assert segment["queue"] == [4, 5] and segment.state("queue") == {
            "capacity": 3, "size": 2, "closed": True, "overwritten": 0, "consumers wait": False,
            "producers wait": False}, segment.state("queue")
        assert segment["messages"] == [cohold.Message(b"first", 9, 0, False),
                                       cohold.Message(b"third", 0, 0, False)], segment["messages"]
        assert segment.state("messages") == {
            "capacity": 1000, "size": 2, "bytes": 10, "held": 0, "closed": True,
            "consumers wait": False, "producers wait": False}, segment.state("messages")
        assert segment["news"] == [{"x": 2, "y": -2, "shade": 0}, {"x": 3, "y": -3, "shade": 0}]
        assert segment.state("news")["published"] == 3 and segment.state("row")["version"] == 2
        assert segment.state("numbers")["size"] == 40 and segment.state("answer") == {}
        reader = segment.follow("news", history=True)
        assert [reader.next(0)["x"], reader.next(0)["x"], reader.missed] == [2, 3, 0]
        fails(TimeoutError, reader.next, 0)
        fails(TypeError, segment.follow, "numbers")
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
        assert segment["chosen"] == {"x": 7, "y": 8, "shade": 9}
        text = ", a text that does not fit into the string"
        assert segment["rows"] == {"owned": [4, 4, 4], "shared": [text, text], "none": None}
        frame = segment.array("frames", 2)
        assert frame.dtype == numpy.float32 and len(frame) == 1000 and not frame.flags.owndata
        fails(KeyError, segment.array, "frames", 4)
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
        for name, part, field, what in (("news", "element", None, 128), ("small", "element", 192, 1),
                                        ("messages", "look", 208, 1)):
            kind, at = segment.place(name)
            owner, call = (kind, "look") if part == "look" else (kind.element, "read")
            inner, before = getattr(owner, call), kind.read(segment, at)
            field = at + field if field else segment.pointer(at + 64)

            def overtaken(*where):
                value = inner(*where)
                if len(taken) == 0:
                    taken.append(add(field, 8, what))
                return value

            taken = []
            setattr(owner, call, overtaken)
            if name == "messages":
                fails(cohold.Unsettled, kind.read, segment, at)
            else:  # what was overwritten, or taken, is left out
                assert len(kind.read(segment, at)) == len(before) - 1
            setattr(owner, call, inner)
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
            assert number == 0 or value["lines"][-1] == value["text"], value
            recent = value["recent"]
            assert recent == list(range(recent[0], recent[0] + len(recent))) if recent else not number
        elif name == "sides":
            assert value["left"] ^ value["right"] == MASK, value
        elif name == "newest":
            assert len(set(value)) == 1, value
        else:
            for key, each in value.items():
                assert each["left"] ^ each["right"] == MASK and each["left"] % 500 == key, value
    names = set(segment)
    assert names - {"passing"} == {"chosen", "guarded", "keys", "ledger", "newest", "numbers", "points",
                                   "rows", "shades", "sides", "table", *FAMILY}, names
    return count


FAMILY = {"small", "large", "texts", "ring", "news", "messages", "frames", "service"}
TEXT = re.compile(r"(\d+), a text that does not fit into the string")


def number_of(value):
    """Of what a writer has written; fails if it is not whole."""
    if isinstance(value, dict):
        assert value["left"] ^ value["right"] == MASK, value
        return value["left"]
    if isinstance(value, list):
        assert len(set(value)) == 1 and len(value) == 8, value
        return value[0]
    if isinstance(value, cohold.Message):
        assert value.priority == int(TEXT.fullmatch(value.data.decode())[1]) % 3, value
        return number_of(value.data.decode())
    found = TEXT.fullmatch(value)
    assert found, value
    return int(found[1])


def check_order(name, numbers):
    """They grow, except where another writer has begun anew, once in a while."""
    falls = sum(a >= b for a, b in zip(numbers, numbers[1:]))
    assert falls <= len(numbers) // 8 + 3, (name, numbers)


def look_at_family(segment, counts):
    for name in ("small", "large", "texts", "ring", "news", "messages"):
        try:
            found = segment.get(name, patience=0.05)
        except cohold.Unsettled:
            continue
        numbers = [number_of(value) for value in found]
        if name == "messages":
            assert [each.priority for each in found] == sorted(
                (each.priority for each in found), reverse=True), found
        else:
            check_order(name, numbers)
        assert len(found) <= (64 if name == "news" else 50 if name != "messages" else 4000), name
        counts[name] = counts.get(name, 0) + len(found)
        assert 0 <= segment.state(name).get("size", 0) <= 4000, segment.state(name)


def check_following(reader, name, last, end, counts):
    """The messages come one after the other, and what is missed is counted."""
    while time.monotonic() < end:
        before = reader.missed
        try:
            number = number_of(reader.next(0.01))
        except TimeoutError:
            continue
        if last is not None and number > last:  # otherwise another writer has begun
            assert number - last == reader.missed - before + 1, (name, number, last)
        last = number
        counts[name] = counts.get(name, 0) + 1
    return last


def check_family_kills(writer, path, rounds):
    """Beside a writer that is killed, and before another one has recovered what it left."""
    counts, noise = {}, random.Random(11)
    with cohold.open(path) as segment:
        for _ in range(rounds):
            # All that the one before had published has been followed when the next one begins.
            readers = {name: segment.follow(name) for name in ("news", "newest")}
            with writing(writer, path, "work"):
                last = dict.fromkeys(readers)
                end = time.monotonic() + noise.uniform(0.02, 0.1)
                while time.monotonic() < end:
                    look_at_family(segment, counts)
                    for name, reader in readers.items():
                        last[name] = check_following(reader, name, last[name],
                                                     time.monotonic() + 0.005, counts)
            look_at_family(segment, counts)
            for name in readers:
                fails(TimeoutError, segment.follow(name).next, 0)
    for name in ("small", "large", "texts", "ring", "news", "messages", "newest"):
        assert counts.get(name, 0) > rounds, counts


def check_holder(writer, path):
    """What a process holds, while it lives and after it was killed."""
    with cohold.open(path) as segment:
        with writing(writer, path, "hold") as process:
            end = time.monotonic() + 60
            while not ("nothing" in segment and segment.state("nothing")["consumers wait"]):
                assert time.monotonic() < end, list(segment)
                time.sleep(0.001)
            loans = segment.state("frames")
            (number,) = loans["loans"]
            assert loans == {"objects": 4, "available": 3, "least available": 3, "loans": {
                number: {"processes": [process.pid], "in the segment": 1}}}, loans
            assert segment["frames"] == {number: [1.5] * 1000}
            if numpy is not None:
                assert segment.array("frames", number).sum() == 1500
            assert segment["lent"] == [[1.5] * 1000], segment["lent"]
            calls = segment["service"]
            assert [call[1:] for call in calls] == [
                ("serving", process.pid, process.pid), ("waiting", process.pid, None)], calls
            assert segment.state("service")["serving"] == 1, segment.state("service")
            assert segment["lock"] is True
            assert segment.state("lock") == {"locked by": process.pid}
            assert segment.state("texts")["closed"]
        # Nobody has recovered it: it is as it was left.
        assert segment.state("lock") == {"locked by": process.pid}
        assert segment.state("frames") == loans


def check_kills(writer, path, rounds):
    read = 0
    noise = random.Random(5)
    with cohold.open(path) as segment:
        for _ in range(rounds):
            with writing(writer, path, "work"):
                end = time.monotonic() + noise.uniform(0.005, 0.1)
                while time.monotonic() < end:
                    read += look(segment)
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
        check_family_kills(writer, second, 20)
        check_holder(writer, second)
        check_damage(first)
        check_damage(second)
    print("ok")


main(*sys.argv[2:])
