"""Pretty-printers for gdb: what is in the containers, locks and handles of cohold.

gdb loads this file by itself where it is installed beside gdb's own Python code
(/usr/share/gdb/python/gdb/printer/). Otherwise: (gdb) source PATH/cohold.py

They read the bytes that docs/layout.md describes, and call nothing in the program, so that they work
on a core dump as well. `disable pretty-printer global cohold` shows the members instead.
"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import re

import gdb
import gdb.printing

HEADER_MAGIC = b"cohold\x1a\0"
LAYOUT_VERSION = 1
DIRECTORY = 15936
FIRST_SLOTS, FURTHER_SLOTS, SLOTS_IN_FIRST = 4096, 20160, 65


# ---- bytes

def memory(address, size):
    """Throws gdb.MemoryError where nothing is mapped, or a core dump left it out."""
    return bytes(gdb.selected_inferior().read_memory(address, size))


def number(address, size=8, signed=False):
    order = "little" if "little" in gdb.execute("show endian", to_string=True) else "big"
    return int.from_bytes(memory(address, size), order, signed=signed)


def address_of(value):
    """Where an object is; None for a temporary of gdb's, which is nowhere."""
    return int(value.address) if value.address is not None else None


def target_of(address):
    """What the offset_ptr there points to; 0 for null."""
    distance = number(address, signed=True)
    return 0 if distance == 0 else address if distance == -1 << 63 else address + distance


def counted(count, noun):
    return f"{count} {noun}" + ("" if count == 1 else "s")


def round_up(value, unit):
    return (value + unit - 1) // unit * unit


def at(address, kind):
    return gdb.Value(address).cast(kind.pointer()).dereference()


def argument(kind, index):
    return kind.template_argument(index).strip_typedefs()


# ---- segments and their participants

class Segment:
    """The segment whose header is at an address."""

    def __init__(self, base):
        self.base = base

    def is_valid(self):
        try:
            return (memory(self.base, 8) == HEADER_MAGIC
                    and number(self.base + 12, 4) == LAYOUT_VERSION)
        except gdb.MemoryError:
            return False

    def name(self):
        return memory(self.base + 80, min(number(self.base + 60, 4), 512)).decode(errors="replace")

    def participants(self):
        """(slot, generation, how many generations before it, process, start) of each."""
        for slot in range(min(number(self.base + 20, 4) + 1, 4096)):
            place = self.slot(slot)
            word = number(place)
            if word & 1:
                yield (slot, word >> 32, word >> 1 & 0x7FFFFFFF, number(place + 8, 4),
                       number(place + 16))

    def slot(self, index):
        return self.base + (FIRST_SLOTS + 64 * index if index < SLOTS_IN_FIRST
                            else FURTHER_SLOTS + 64 * (index - SLOTS_IN_FIRST))

    def holder(self, word):
        """The thread that the word of a lock names, in words."""
        slot, generation = word >> 20 & 0xFFF, word >> 32
        taken = number(self.slot(slot))
        before = taken >> 1 & 0x7FFFFFFF
        if not taken & 1 or not 0 <= (taken >> 32) - generation & 0xFFFFFFFF <= before:
            return "a process that is dead, and was recovered"
        return self.slot_in_words(slot)

    def slot_in_words(self, index):
        """The participant there."""
        place = self.slot(index)
        if not number(place) & 1:
            return "a process that is dead, and was recovered"
        return process_in_words(number(place + 8, 4), number(place + 16))

    def objects(self):
        """(name, type, address, bytes) of each."""
        table = number(self.base + DIRECTORY + 16)
        if table == 0:
            return
        for index in range(number(self.base + table)):
            entry = number(self.base + table + 16 + 8 * index) & 0x0000FFFFFFFFFFFF
            if entry <= 1:
                continue
            entry += self.base
            name_size, type_size = number(entry + 32, 4), number(entry + 36, 4)
            texts = memory(entry + 48, name_size + type_size).decode(errors="replace")
            yield (texts[:name_size] or "(root)", texts[name_size:],
                   self.base + number(entry + 8), number(entry + 16))


def is_running_here():
    """Not a core dump, nor on another machine."""
    connection = getattr(gdb.selected_inferior(), "connection", None)  # gdb 12
    if connection is not None:
        return connection.type == "native"
    return "Native process" in gdb.execute("info target", to_string=True)


def process_in_words(process, start):
    """The process, and whether it is alive as far as /proc tells: only the kernel's locks, which
    the library asks, are certain, and in another PID namespace the number means another process."""
    if process == gdb.selected_inferior().pid:
        return f"process {process} (this one)"
    if not is_running_here():
        return f"process {process}"
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return f"process {process}, which is dead"
    same = int(fields[19]) == start and fields[0] not in "ZX"
    return f"process {process}, which is {'alive' if same else 'dead'}"


def segment_of(lock):
    """That of a lock, which has an offset_ptr to the header at 8."""
    base = target_of(lock + 8)
    return Segment(base) if base != 0 and Segment(base).is_valid() else None


def lock_in_words(address, times=False):
    word = number(address)
    if word == 0:
        text = "not locked"
    else:
        segment = segment_of(address)
        text = "locked by " + (segment.holder(word) if segment else f"somebody: {word:#x}")
        if segment and word >> 1 & 0x7FFFF:
            text += f", thread {word >> 1 & 0x7FFFF}"
        if times and number(address + 20, 4):
            text += f", {number(address + 20, 4) + 1} times"
        if word & 1:
            text += "; others wait"
    if number(address + 16, 4) == 1:
        text += "; taken over from a dead process"
    return text


# ---- printers

class Printer:
    """Of an object in memory; what fails is said, and the object's members can be seen with /r."""

    def __init__(self, value):
        self.value, self.type = value, value.type.strip_typedefs().unqualified()
        self.address = address_of(value)

    allocator = None  # where its offset_ptr to the header is

    def to_string(self):
        try:
            if self.address is None:
                return "(not in memory)"
            if self.allocator is not None and number(self.address + self.allocator) == 0:
                return self.text() + (", in no segment" if is_running_here() else
                                      ", in no segment, or left out of this core dump")
            return self.text()
        except gdb.MemoryError as error:
            return f"(its memory is not here: {error})"


def pointer_in_words(address, target):
    """As gdb prints a pointer, but with the type, so that it can be copied into an expression."""
    if target.code == gdb.TYPE_CODE_ARRAY:
        target = target.target()
    return f"({target} *) {address:#x}" if address != 0 else "null"


class Pointer(Printer):
    def text(self):
        return pointer_in_words(target_of(self.address), argument(self.type, 0))


class Shared(Printer):
    """shm_shared_ptr and shm_weak_ptr."""

    def text(self):
        block = target_of(self.address + 8)
        if block == 0:
            return "null"
        pointer = pointer_in_words(target_of(self.address), argument(self.type, 0))
        return (f"{pointer}, referred to from the segment {number(block + 32)} times, weakly "
                f"{number(block + 40)} times")


class String(Printer):
    def text(self):
        character = argument(self.type, 0)
        size, begin = number(self.address, 1), self.address + character.sizeof
        if size & 0x80:
            size, begin = number(self.address + 8), target_of(self.address + 16)
        return gdb.Value(begin).cast(character.pointer()).lazy_string(length=size) if size else ""

    def display_hint(self):
        return "string"


class Sequence(Printer):
    def display_hint(self):
        return "array"

    def children(self):
        try:
            for index, each in enumerate(self.elements()):
                yield f"[{index}]", each
        except gdb.MemoryError as error:
            yield "?", f"(its memory is not here: {error})"


class Vector(Sequence):
    allocator = 24

    def text(self):
        return (f"shm_vector of length {number(self.address + 8)}, capacity "
                f"{number(self.address + 16)}")

    def elements(self):
        kind, begin = argument(self.type, 0), target_of(self.address)
        for index in range(number(self.address + 8)):
            yield at(begin + index * kind.sizeof, kind)


class Tree(Sequence):
    """shm_set and shm_multiset; below also the maps."""
    allocator = 48

    def text(self):
        return f"{short_name(self.type)} of {counted(number(self.address + 40), 'element')}"

    def nodes(self):
        """In order, and never more than the count: a damaged tree may have circles."""
        def link(node, field):
            distance = number(node + field, signed=True)
            return node + distance if distance != 0 else 0

        left, above, node = number(self.address + 40), [], link(self.address, 8)
        while (above or node != 0) and left != 0:
            while node != 0 and len(above) < 100:
                above.append(node)
                node = link(node, 8)
            node = above.pop()
            yield node
            left -= 1
            node = link(node, 16)

    def elements(self):
        kind = argument(self.type, 0)
        place = round_up(24, kind.alignof)
        for node in self.nodes():
            yield at(node + place, kind)


class KeysAndValues:
    """What gdb shows as [key] = value."""

    def display_hint(self):
        return "map"

    def children(self):
        try:
            for index, (key, value) in enumerate(self.pairs()):
                yield f"[{2 * index}]", key
                yield f"[{2 * index + 1}]", value
        except gdb.MemoryError as error:
            yield "[0]", "?"
            yield "[1]", f"(its memory is not here: {error})"


def pair_at(address, key, value):
    return at(address, key), at(address + round_up(key.sizeof, value.alignof), value)


class TreeMap(KeysAndValues, Tree):
    def pairs(self):
        key, value = argument(self.type, 0), argument(self.type, 1)
        place = round_up(24, max(key.alignof, value.alignof))
        for node in self.nodes():
            yield pair_at(node + place, key, value)


class Hash(Sequence):
    """shm_hash_set; below also the map."""
    allocator = 0

    def contents(self):
        """The address of each element."""
        kinds = self.kinds()
        size = kinds[0].sizeof
        if len(kinds) == 2:
            size = round_up(round_up(size, kinds[1].alignof) + kinds[1].sizeof,
                            max(kinds[0].alignof, kinds[1].alignof))
        plain = bool(self.value["is_plain"])
        slot_bytes = size if plain else 16
        groups = 16 if slot_bytes <= 32 else 8 if slot_bytes <= 64 else 4
        base, root, entry = target_of(self.address), number(self.address + 8), 0
        depth = root & 255
        while root != 0 and entry < 1 << min(depth, 40):
            word = number(base + (root >> 8) + 16 + entry * 8)
            entry += 1 << max(depth - (word & 255), 0)
            block, chain = word >> 8, 0
            while block != 0 and chain < 1000:
                for group in range(groups):
                    first = base + block + 64 + group * (32 + 16 * slot_bytes)
                    present = number(first, 2)
                    for slot in range(16):
                        if present >> slot & 1:
                            place = first + 32 + slot * slot_bytes
                            yield place if plain else base + number(place)
                block, chain = number(base + block + 16), chain + 1

    def text(self):
        return f"{short_name(self.type)} of {counted(sum(1 for _ in self.contents()), 'element')}"

    def kinds(self):
        return [argument(self.type, 0)]

    def elements(self):
        for place in self.contents():
            yield at(place, self.kinds()[0])


class HashMap(KeysAndValues, Hash):
    def kinds(self):
        return [argument(self.type, 0), argument(self.type, 1)]

    def pairs(self):
        for place in self.contents():
            yield pair_at(place, *self.kinds())


class Mutex(Printer):
    allocator = 8

    def text(self):
        return lock_in_words(self.address, times=short_name(self.type) == "shm_recursive_mutex")


class SharedMutex(Printer):
    allocator = 8

    def text(self):
        segment = segment_of(self.address)
        words = [number(self.address + 64 + 8 * index) for index in range(64)]
        readers = [segment.holder(word) if segment else f"{word:#x}" for word in words if word]
        return lock_in_words(self.address) + (
            "; read by " + ", ".join(readers) if readers else "; no readers")


class Guarded(Printer):
    allocator = 8

    def text(self):
        return lock_in_words(self.address)

    def children(self):
        yield "value", self.value["value_"]


class Signal(Printer):
    def text(self):
        first = number(self.address, 4)
        kind = short_name(self.type)
        if kind == "shm_condition":
            return f"at most {first} waiting"
        if kind == "shm_semaphore":
            return counted(first, "permit")
        if kind == "shm_event":
            how = "automatic" if number(self.address + 8, 4) else "manual"
            return f"{'set' if first else 'not set'}, {how}"
        if kind == "shm_latch":
            return f"{first} left"
        word = number(self.address)
        return (f"{word >> 20 & 0xFFFFF} of {word & 0xFFFFF} still to come in phase {word >> 41}")


# ---- messaging

def joined(*parts):
    return ", ".join(part for part in parts if part)


def sleeping(address, noun):
    """Of a futex word, whose bit 0 says that somebody sleeps there."""
    return f"{noun} wait" if number(address, 4) & 1 else ""


def closed(address):
    return "closed" if number(address, 4) else ""


def lock_of_writers(address):
    return "" if number(address) == 0 else lock_in_words(address)


class List(Sequence):
    allocator = 24

    def text(self):
        return f"shm_list of {counted(number(self.address + 16), 'element')}"

    def elements(self):
        kind, left = argument(self.type, 0), number(self.address + 16)
        place, node = round_up(16, kind.alignof), self.address
        while left != 0:
            distance = number(node + 8, signed=True)
            node, left = node + distance, left - 1
            if distance == 0 or node == self.address:
                return
            yield at(node + place, kind)


class Deque(Sequence):
    allocator = 32

    def size(self):
        return number(self.address + 24) - number(self.address + 16) & (1 << 64) - 1

    def text(self):
        return f"shm_deque of {counted(self.size(), 'element')}"

    def elements(self):
        kind = argument(self.type, 0)
        in_block = 4 if kind.sizeof > 256 else 1 << (1024 // kind.sizeof).bit_length() - 1
        slots, first, blocks = number(self.address + 8), number(self.address + 16), target_of(self.address)
        for index in range(self.size() if slots else 0):
            block, offset = divmod(first + index & (1 << 64) - 1, in_block)
            yield at(target_of(blocks + block % slots * 8) + offset * kind.sizeof, kind)


class Queue(Sequence):
    """What is published and not taken, the oldest first."""
    allocator = 8

    def places(self):
        """The address of each element."""
        size, ring = argument(self.type, 0).sizeof, target_of(self.address)
        capacity, end, in_line = (number(self.address + field, 4) for field in (16, 32, 36))
        bits, position = in_line.bit_length(), number(self.address + 192)
        for _ in range(capacity):
            turn, index = position >> 32, position & 0xFFFFFFFF
            line, offset = index >> bits, index & (1 << bits) - 1
            known = number(ring + line * 64 if in_line else self.address + 128)
            if known == position or known - position & 1 << 63:
                return
            yield (ring + line * 64 + 8 if in_line else ring + line * size) + offset * size
            index = line + 1 << bits if offset + 1 == in_line else index + 1
            position = (turn << 32 | index) if index != end else (turn + 1 & 0xFFFFFFFF) << 32

    def at_work(self, field, who):
        word, segment = number(self.address + field), segment_of(self.address)
        if word == 0 or word & 1 or segment is None:
            return ""  # nobody, or one that comes and goes without saying so
        return f"{who} at work: {segment.holder(word)}"

    def text(self):
        lost = number(self.address + 136)
        return joined(f"shm_queue of {counted(sum(1 for _ in self.places()), 'element')}",
                      f"capacity {number(self.address + 16, 4)}", closed(self.address + 20),
                      f"{lost} overwritten" if lost else "", self.at_work(88, "producer"),
                      self.at_work(280, "consumer"), sleeping(self.address + 24, "consumers"),
                      sleeping(self.address + 28, "producers"))

    def elements(self):
        for place in self.places():
            yield at(place, argument(self.type, 0))


class Latest(Printer):
    allocator = 8  # that of the lock

    def text(self):
        state = number(self.address + 64)
        return joined(f"shm_latest, version {state >> 6}", lock_of_writers(self.address),
                      "a store is not finished" if state & 1 else "",
                      sleeping(self.address + 72, "readers"))

    def children(self):
        try:
            kind = argument(self.type, 0)
            unit = 16 if kind.sizeof <= 16 and kind.alignof <= 16 else max(64, kind.alignof)
            first = self.address + (80 if unit == 16 else round_up(128, unit))
            place = max(number(self.address + 64) >> 4 & 3, 1) - 1
            yield "value", at(first + place * round_up(kind.sizeof, unit), kind)
        except gdb.MemoryError as error:
            yield "value", f"(its memory is not here: {error})"


class Broadcast(Sequence):
    allocator = 72

    def text(self):
        return joined(f"shm_broadcast, {number(self.address + 24)} published",
                      f"capacity {number(self.address + 80, 4)}", closed(self.address + 84),
                      lock_of_writers(self.address), sleeping(self.address + 88, "readers"))

    def elements(self):
        """The messages that are still there and whole."""
        kind, slots = argument(self.type, 0), target_of(self.address + 64)
        place = max(8, kind.alignof)
        stride = round_up(place + kind.sizeof, 8)
        stride = (round_up(stride, max(64, kind.alignof)) if stride > 64 else
                  1 << (stride - 1).bit_length())
        capacity, end = number(self.address + 80, 4), number(self.address + 24)
        for message in range(max(end - capacity, 0), end + 1) if capacity else ():
            slot = slots + message % capacity * stride
            if number(slot) == 2 * message + 2:
                yield at(slot + place, kind)


class Messages(Printer):
    """In the order in which they come out."""
    allocator = 0

    def blocks(self):
        """(address, state with the owner) of each message."""
        inbox, places = number(self.address + 28, 4), number(self.address + 24, 4)
        memory, removed = target_of(self.address + 8), number(self.address + 224, 4)
        seen, left = set(), places
        for priority in range(31, -1, -1):
            here, place = [], number(self.address + 232 + priority * 16, 4)
            while 2 <= place < places and place not in seen and left != 0:
                seen.add(place)
                here.append(place)
                place, left = number(memory + inbox * 4 + place * 32 + 16, 4), left - 1
            for index in range(number(self.address + 200), min(number(self.address + 128),
                                                               number(self.address + 200) + inbox)):
                place = number(memory + index % inbox * 4, 4)
                block = memory + inbox * 4 + place * 32
                if place not in seen and number(block + 24, 4) == priority:
                    seen.add(place)
                    here.append(place)
            for place in here:
                word = number(memory + inbox * 4 + place * 32)
                if word & 0xFFFFF != 0 and (word & 0xFFFFF != 3 or place != removed):
                    yield memory + inbox * 4 + place * 32, word

    def text(self):
        blocks = list(self.blocks())
        size = sum(number(block + 12, 4) for block, _ in blocks)
        return joined(f"shm_message_queue of {counted(len(blocks), 'message')}",
                      f"{size} of {number(self.address + 16)} bytes", closed(self.address + 32),
                      sleeping(self.address + 36, "consumers"),
                      sleeping(self.address + 40, "producers"))

    def children(self):
        try:
            segment = Segment(target_of(self.address))
            for index, (block, word) in enumerate(self.blocks()):
                held = ""
                if word & 0xFFFFF == 3 and segment.is_valid():
                    held = f", held by {segment.holder(word)}"
                characters = gdb.Value(block + 32).cast(gdb.lookup_type("char").pointer())
                yield (f"[{index}, priority {number(block + 24, 4)}{held}]",
                       characters.lazy_string(encoding="ISO-8859-1", length=number(block + 12, 4)))
        except gdb.MemoryError as error:
            yield "?", f"(its memory is not here: {error})"


def loans_in_words(segment, block):
    """Who holds an object of a pool."""
    inside, words = number(block + 32), min(number(block + 48, 4), 64)
    people = [segment.slot_in_words(slot) for slot in range(64 * words)
              if number(block + 80 + slot // 64 * 8) >> slot % 64 & 1]
    return joined("held by " + ", ".join(people) if people else "",
                  f"{counted(inside, 'loan')} in the segment" if inside else "") or "held by nobody"


class Pool(Printer):
    allocator = 32

    def text(self):
        return joined(f"shm_pool of {counted(number(self.address + 48), 'object')}",
                      f"{number(self.address + 16)} available, {number(self.address + 24)} at the least",
                      sleeping(self.address + 56, "borrowers"))

    def children(self):
        """Those that are lent."""
        try:
            segment, begin = Segment(target_of(self.address + 32)), target_of(self.address + 40)
            for index in range(number(self.address + 48) if segment.is_valid() else 0):
                block = segment.base + number(begin + 8 * index)
                if number(block + 52, 4) == 0:
                    yield f"[{index}]", loans_in_words(segment, block)
        except gdb.MemoryError as error:
            yield "?", f"(its memory is not here: {error})"


class Loan(Printer):
    def text(self):
        block = target_of(self.address + 8)
        if block == 0:
            return "null"
        text = pointer_in_words(target_of(self.address), argument(self.type, 0))
        segment = Segment(block - number(block + 16))
        return f"{text}, {loans_in_words(segment, block)}" if segment.is_valid() else text


CALLS = ["free", "filling", "waiting", "serving", "answered", "failed", "cancelled"]


class Service(Printer):
    allocator = 0

    def text(self):
        return joined(f"shm_service of {counted(number(self.address + 20, 4), 'place')}",
                      f"{number(self.address + 32)} calls made", closed(self.address + 28),
                      sleeping(self.address + 40, "servers"), sleeping(self.address + 44, "clients"))

    def children(self):
        try:
            segment, begin = Segment(target_of(self.address)), target_of(self.address + 8)
            stride, found = number(self.address + 16, 4), []
            for index in range(number(self.address + 20, 4) if segment.is_valid() else 0):
                place = begin + index * stride
                word = number(place)
                state = word & 0xFFFFF
                if state == 0 or state >= len(CALLS):
                    continue
                client = segment.holder(number(place + 8) if state > 1 else word)
                text = f"{CALLS[state]}, from {client}"
                if state in (3, 6):
                    text += f", by {segment.holder(word)}"
                found.append((number(place + 16), text))
            for call, text in sorted(found):
                yield f"[call {call}]", text
        except gdb.MemoryError as error:
            yield "?", f"(its memory is not here: {error})"


# ---- handles

class Handle(Printer):
    """segment, segment_view and shared."""

    def segment(self):
        return Segment(int(self.value["base_"]["memory_"]["base_"]))

    def text(self):
        segment = self.segment()
        if segment.base == 0:
            return "an empty handle"
        if not segment.is_valid():
            return f"segment at {segment.base:#x}, whose memory is not here"
        base = segment.base
        people = "; ".join(process_in_words(each[3], each[4]) for each in segment.participants())
        return (f"{short_name(self.type)} \"{segment.name()}\" at {base:#x}: size "
                f"{number(base + 640)}, reserve {number(base + 24)}; participants: "
                f"{people or 'none'}")

    def children(self):
        try:
            segment = self.segment()
            if segment.base == 0 or not segment.is_valid():
                return
            for name, kind, place, size in sorted(segment.objects()):
                yield name, f"{kind}, {size} bytes at {place:#x}"
        except gdb.MemoryError:
            return


PRINTERS = {
    "offset_ptr": Pointer, "shm_unique_ptr": Pointer, "shm_shared_ptr": Shared,
    "shm_weak_ptr": Shared, "shm_basic_string": String, "shm_vector": Vector, "shm_set": Tree,
    "shm_multiset": Tree, "shm_map": TreeMap, "shm_multimap": TreeMap, "shm_hash_set": Hash,
    "shm_hash_map": HashMap, "shm_mutex": Mutex, "shm_recursive_mutex": Mutex,
    "shm_shared_mutex": SharedMutex, "shm_guarded": Guarded, "shm_condition": Signal,
    "shm_semaphore": Signal, "shm_event": Signal, "shm_latch": Signal, "shm_barrier": Signal,
    "shm_list": List, "shm_deque": Deque, "shm_queue": Queue, "shm_latest": Latest,
    "shm_broadcast": Broadcast, "shm_message_queue": Messages, "shm_pool": Pool, "shm_loan": Loan,
    "shm_service": Service, "segment": Handle, "segment_view": Handle, "shared": Handle,
}


def short_name(kind):
    """Without the namespaces, of which the inner one depends on how the library is built."""
    found = re.match(r"cohold::(?:\w+::)?(\w+)(?:<|$)", kind.name or "")
    return found[1] if found else None


class Printers(gdb.printing.PrettyPrinter):
    def __init__(self):
        super().__init__("cohold")

    def __call__(self, value):
        kind = value.type
        if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            value = value.referenced_value()
            kind = value.type
        kind = kind.strip_typedefs().unqualified()
        made = PRINTERS.get(short_name(kind)) if kind.code == gdb.TYPE_CODE_STRUCT else None
        if made is Broadcast and short_name(argument(kind, 0)) == "shm_loan":
            return None  # it is another class
        return made(value) if made else None


gdb.printing.register_pretty_printer(None, Printers(), replace=True)
