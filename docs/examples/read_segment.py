#!/usr/bin/env python3
"""Reads a segment of cohold from its bytes alone, as docs/layout.md describes them:

    python3 read_segment.py /dev/shm/NAME      prints its header and its objects
    python3 read_segment.py --json FILE        the same for other programs

Written to be read beside that page. It takes no lock, so it is for segments that are at rest.
"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import re
import struct
import sys

LAYOUT_VERSION = 1
HEADER_BYTES = 704
MASK = 0xFFFFFFFFFFFFFFFF


# #region hash
def hash64(data):
    """FNV-1a, then the finaliser of MurmurHash3."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & MASK
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33
# #endregion hash


# #region key_hash
START, WORD, END = 0x243F6A8885A308D3, 0x13198A2E03707344, 0x9E3779B97F4A7C15


def mix(a, b):
    return a * b & MASK ^ a * b >> 64


def number(value, seed):
    return mix(value & MASK ^ seed ^ START, END)


def characters(data, seed):
    def word(at, count):
        return int.from_bytes(data[at:at + count], "little")

    state, at = seed ^ START, 0
    while len(data) - at > 16:
        state = mix(word(at, 8) ^ WORD, word(at + 8, 8) ^ state)
        at += 16
    left = len(data) - at
    if left >= 8:
        a, b = word(at, 8), word(len(data) - 8, 8)
    elif left >= 4:
        a, b = word(at, 4), word(len(data) - 4, 4)
    elif left > 0:
        a, b = data[at] | data[at + left // 2] << 8 | data[-1] << 16, 0
    else:
        a, b = 0, 0
    return mix(mix(a ^ WORD, b ^ state) ^ len(data), END)
# #endregion key_hash


# #region memory
class Segment:
    def __init__(self, data):
        self.data = data
        self.order = "<"
        if data[:8] != b"cohold\x1a\0":
            raise ValueError("not a segment of cohold")
        if self.read("I", 8) != 0x01020304:
            self.order = ">"
        if self.read("I", 8) != 0x01020304:
            raise ValueError("damaged: word order")
        if self.read("I", 12) != LAYOUT_VERSION:
            raise ValueError(f"layout version {self.read('I', 12)}")
        if self.read("I", 16) != HEADER_BYTES:
            raise ValueError("damaged: header bytes")
        if hash64(data[8:592]) != self.read("Q", 592):
            raise ValueError("damaged: checksum")

    def read(self, kind, at):
        """A number of the width that struct's letter says."""
        return struct.unpack_from(self.order + kind, self.data, at)[0]

    def pointer(self, at):
        """What the offset_ptr at `at` points to; None for null."""
        distance = self.read("q", at)
        if distance == 0:
            return None
        return at if distance == -(1 << 63) else at + distance
    # #endregion memory

    # #region header
    def header(self):
        length = self.read("I", 60)
        return {
            "id": self.data[32:48].hex(),
            "reserve": self.read("Q", 24),
            "size": self.read("Q", 640),
            "created": self.read("Q", 48),  # nanoseconds since 1970
            "lifetime": ["persistent", "session"][self.read("I", 56)],
            "max_participants": self.read("I", 20),
            "name": self.data[80:80 + min(length, 512)].decode(errors="replace"),
        }
    # #endregion header

    def directory(self):
        """Its offset, the same in all segments."""
        return 15936

    # #region directory
    def objects(self):
        """(name, type's name, description, offset, bytes) of each object."""
        table = self.read("Q", self.directory() + 16)
        if table == 0:
            return
        for index in range(self.read("Q", table)):
            slot = self.read("Q", table + 16 + 8 * index)
            entry = slot & 0x0000FFFFFFFFFFFF
            if entry <= 1:  # never used, or erased
                continue
            at, size = self.read("Q", entry + 8), self.read("Q", entry + 16)
            texts, begin = [], entry + 48
            for field in (32, 36, 40):
                end = begin + self.read("I", entry + field)
                texts.append(self.data[begin:end].decode())
                begin = end
            yield texts[0], texts[1], texts[2], at, size
    # #endregion directory


# #region types
SCALARS = {"bool": "?", "i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I",
           "i64": "q", "u64": "Q", "f32": "f", "f64": "d", "char": "c"}
CHARACTERS = {"char": 1, "char8": 1, "char16": 2, "wchar16": 2, "char32": 4, "wchar32": 4}


class Type:
    """Size, alignment, and how to read a value: read(segment, offset)."""

    def __init__(self, size, alignment, read, plain=True):
        self.size, self.alignment, self.read = size, alignment, read
        self.plain = plain  # trivially copyable


def round_up(value, unit):
    return (value + unit - 1) // unit * unit


def array_of(element, count):
    return Type(element.size * count, element.alignment,
                lambda segment, at: elements(segment, element, at, count), element.plain)


def elements(segment, element, at, count):
    values = [element.read(segment, at + i * element.size) for i in range(count)]
    if count and all(isinstance(value, bytes) for value in values):
        return b"".join(values).decode(errors="replace")  # of char: text
    return values


class Parser:
    """Makes a Type of a description, in the grammar of docs/layout.md."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        found = re.compile(pattern).match(self.text, self.at)
        if found is None:
            raise ValueError(f"unknown type: {self.text[self.at:]}")
        self.at = found.end()
        return found

    def follows(self, text):
        return self.text.startswith(text, self.at)

    def type(self):
        base = self.single()
        extents = []
        while self.follows("["):
            extents.append(int(self.take(r"\[(\d+)\]")[1]))
        for extent in reversed(extents):
            base = array_of(base, extent)
        return base

    def single(self):
        name = self.take(r"[^{}<>:;@,\[\]]*(?:::[^{}<>:;@,\[\]]+)*")[0]
        if self.follows("{"):
            return self.structure()
        if self.follows("<"):
            return self.template(name)
        if self.follows(":"):  # an enum and what it is made of
            self.take(":")
            return self.single()
        if name == "shm_string":
            return Type(32, 8, lambda segment, at: string(segment, at, 1), False)
        if name == "shm_message_queue":
            return Type(768, 64, messages, False)
        if name not in SCALARS:
            raise ValueError(f"unknown type: {name}")
        letter = SCALARS[name]
        size = struct.calcsize("=" + letter)
        return Type(size, size, lambda segment, at: segment.read(letter, at))

    def structure(self):
        members = []
        self.take("{")
        while not self.follows("}"):
            name, offset = self.take(r"(#?\w+)@(\d+) ").groups()
            members.append((name, int(offset), self.type()))
            if self.follows(";"):
                self.take(";")
        self.take("}")
        size, stated = self.take(r"(\d+)(?:\^(\d+))?").groups()
        alignment = int(stated or max((kind.alignment for _, _, kind in members), default=8))
        return Type(int(size), alignment, lambda segment, at: {
            name: kind.read(segment, at + offset) for name, offset, kind in members},
            all(kind.plain for _, _, kind in members))

    def template(self, name):
        self.take("<")
        if name == "shm_basic_string":
            width = CHARACTERS[self.take(r"\w+")[0]]
            made = Type(32, 8, lambda segment, at: string(segment, at, width), False)
        elif name == "offset_ptr":  # the name of the target is all that is known
            self.take("[^>]*(?:<.*>)?")
            made = Type(8, 8, lambda segment, at: segment.pointer(at), False)
        else:
            element = self.type()
            if name == "shm_hash_map" and self.follows(","):  # otherwise it is described as a pair
                self.take(",")
                element = pair_of(element, self.type())
            rest = self.take(r"(?:,([^>]*))?")[1]
            if name in ("std::atomic",):
                made = element
            elif name == "std::array":
                made = array_of(element, int(rest))
            elif name == "shm_vector":
                made = Type(32, 8, lambda segment, at: vector(segment, at, element), False)
            elif name == "shm_list":
                made = Type(32, 8, lambda segment, at: ring(segment, at, element), False)
            elif name == "shm_deque":
                made = Type(40, 8, lambda segment, at: deque(segment, at, element), False)
            elif name in ("shm_map", "shm_multimap", "shm_set", "shm_multiset"):
                made = Type(56, 8, lambda segment, at: tree(segment, at, element), False)
            elif name == "shm_queue":
                made = Type(320, 64, lambda segment, at: queue(segment, at, element), False)
            elif name == "shm_broadcast":
                made = Type(128, 64, lambda segment, at: broadcast(segment, at, element), False)
            elif name == "shm_latest":
                unit = 16 if element.size <= 16 and element.alignment <= 16 else max(
                    64, element.alignment)
                places = 0 if unit == 16 else 3 * round_up(element.size, unit)
                made = Type(round_up(128, max(64, unit)) + places, max(64, unit),
                            lambda segment, at: latest(segment, at, element), False)
            elif name in ("shm_hash_map", "shm_hash_set"):
                made = Type(40, 8, lambda segment, at: hash_table(segment, at, element), False)
            else:
                raise ValueError(f"unknown type: {name}")
        self.take(">")
        return made
# #endregion types


# #region containers
def vector(segment, at, element):
    return elements(segment, element, segment.pointer(at) or 0, segment.read("Q", at + 8))


def ring(segment, at, element):
    """The elements of a list."""
    place = round_up(16, element.alignment)
    values, node = [], at + segment.read("q", at + 8)
    while node != at:
        values.append(element.read(segment, node + place))
        node += segment.read("q", node + 8)
    return values


def deque(segment, at, element):
    slots, first, last = (segment.read("Q", at + field) for field in (8, 16, 24))
    block = 4 if element.size > 256 else 1 << (1024 // element.size).bit_length() - 1
    values = []
    while first != last:
        slot = segment.pointer(at) + first // block % slots * 8
        values.append(element.read(segment, segment.pointer(slot) + first % block * element.size))
        first = first + 1 & MASK
    return values


def string(segment, at, width):
    size, begin = segment.data[at], at + width  # in the string itself, behind its size
    if size & 0x80:  # in a block
        size, begin = segment.read("Q", at + 8), segment.pointer(at + 16)
    order = "le" if segment.order == "<" else "be"
    coding = {1: "utf-8", 2: "utf-16-" + order, 4: "utf-32-" + order}[width]
    return segment.data[begin:begin + size * width].decode(coding, errors="replace")


def tree(segment, at, element):
    """The elements in order."""
    place = round_up(24, element.alignment)

    def link(node, field):
        distance = segment.read("q", node + field)
        return node + distance if distance != 0 else None

    values, above, node = [], [], link(at, 8)
    while above or node is not None:
        while node is not None:  # all the way to the left
            above.append(node)
            node = link(node, 8)
        node = above.pop()
        values.append(element.read(segment, node + place))
        node = link(node, 16)
    return values


def queue(segment, at, element):
    """What is in the queue, the oldest first."""
    ring, capacity = segment.pointer(at), segment.read("I", at + 16)
    end, in_line = segment.read("I", at + 32), segment.read("I", at + 36)
    bits, place, values = in_line.bit_length(), segment.read("Q", at + 192), []
    while len(values) < capacity:
        turn, index = place >> 32, place & 0xFFFFFFFF
        line, offset = index >> bits, index & (1 << bits) - 1
        if in_line:
            known, item = segment.read("Q", ring + line * 64), ring + line * 64 + 8
        else:
            known, item = segment.read("Q", at + 128), ring + line * element.size
        if known == place or known - place & 1 << 63:  # positions wrap
            break
        values.append(element.read(segment, item + offset * element.size))
        index = line + 1 << bits if offset + 1 == in_line else index + 1
        place = (turn << 32 | index) if index != end else (turn + 1 & 0xFFFFFFFF) << 32
    return {"elements": values, "capacity": capacity, "closed": segment.read("I", at + 20) != 0}
# #endregion containers


# #region latest
def latest(segment, at, element):
    """The value that was stored last, and how many were."""
    state = segment.read("Q", at + 64)
    small = element.size <= 16 and element.alignment <= 16
    unit = 16 if small else max(64, element.alignment)
    first = at + (80 if small else round_up(128, unit))
    place = max(state >> 4 & 3, 1) - 1
    return {"value": element.read(segment, first + place * round_up(element.size, unit)),
            "version": state >> 6}
# #endregion latest


# #region messages
def messages(segment, at):
    """What is in a queue of messages, in the order in which it comes out."""
    blocks = (segment.pointer(at + 8) or 0) + segment.read("I", at + 28) * 4  # after the inbox
    found = []

    def add(place):
        block = blocks + place * 32
        text = segment.data[block + 32:block + 32 + segment.read("I", block + 12)]
        found.append([segment.read("I", block + 24), text.decode(errors="replace")])
        return segment.read("I", block + 16)

    for priority in range(32):
        place = segment.read("I", at + 232 + priority * 16)
        while place != 0:
            place = add(place)
    for index in range(segment.read("Q", at + 200), segment.read("Q", at + 128)):  # not listed yet
        inbox = segment.pointer(at + 8) + index % segment.read("I", at + 28) * 4
        add(segment.read("I", inbox))
    return {"messages": sorted(found, key=lambda message: -message[0]),
            "capacity": segment.read("Q", at + 16), "closed": segment.read("I", at + 32) != 0}
# #endregion messages


# #region broadcast
def broadcast(segment, at, element):
    """The messages that are still there, the oldest first."""
    slots, capacity = segment.pointer(at + 64), segment.read("I", at + 80)
    offset = max(8, element.alignment)
    stride = round_up(offset + element.size, 8)
    if stride > 64:
        stride = round_up(stride, max(64, element.alignment))
    else:
        stride = 1 << (stride - 1).bit_length()
    found = []
    for index in range(capacity):
        word = segment.read("Q", slots + index * stride)
        if word != 0 and word % 2 == 0:
            found.append((word, element.read(segment, slots + index * stride + offset)))
    return {"messages": [message for _, message in sorted(found, key=lambda each: each[0])],
            "capacity": capacity, "published": segment.read("Q", at + 24),
            "closed": segment.read("I", at + 84) != 0}
# #endregion broadcast


# #region hash_table
def pair_of(key, value):
    """An element of a map, where its description does not say it."""
    offset, alignment = round_up(key.size, value.alignment), max(key.alignment, value.alignment)
    return Type(round_up(offset + value.size, alignment), alignment, lambda segment, at: {
        "first": key.read(segment, at), "second": value.read(segment, at + offset)},
        key.plain and value.plain)


def hash_table(segment, at, element):
    """The elements in the order of the directory."""
    root, found, entry = segment.read("Q", at + 8), [], 0
    slot_bytes = element.size if element.plain else 16
    groups = 16 if slot_bytes <= 32 else 8 if slot_bytes <= 64 else 4
    depth = root & 255
    while root != 0 and entry < 1 << depth:
        word = segment.read("Q", (root >> 8) + 16 + entry * 8)
        entry += 1 << depth - (word & 255)  # the next one that leads to another block
        block = word >> 8
        while block != 0:
            for group in range(groups):
                first = block + 64 + group * (32 + 16 * slot_bytes)
                for slot in range(16):
                    if segment.read("Q", first) >> slot & 1:
                        place = first + 32 + slot * slot_bytes
                        found.append(element.read(
                            segment, place if element.plain else segment.read("Q", place)))
            block = segment.read("Q", block + 16)
    return found
# #endregion hash_table


def value_of(segment, description, at):
    try:
        return Parser(description).type().read(segment, at)
    except ValueError as unknown:
        return f"({unknown})"


def main(arguments):
    as_json = arguments[:1] == ["--json"]
    if len(arguments) != (2 if as_json else 1):
        sys.exit(__doc__)
    with open(arguments[-1], "rb") as file:
        segment = Segment(file.read())
    objects = {name: {"type": kind, "offset": at, "bytes": size,
                      "value": value_of(segment, description, at)}
               for name, kind, description, at, size in sorted(segment.objects())}
    if as_json:
        print(json.dumps({"header": segment.header(), "objects": objects}))
        return
    for field, value in segment.header().items():
        print(f"{field + ':':18}{value}")
    for name, found in objects.items():
        print(f"\n{name or '(root)'}: {found['type']}, {found['bytes']} bytes at {found['offset']:#x}")
        print(f"    {found['value']}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, struct.error) as error:
        sys.exit(f"{sys.argv[-1]}: {error}")
