"""The types of objects, made of their descriptions in the segment (docs/layout.md, Types)."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import re
import struct


class Damaged(ValueError):
    """Not a segment, or not one that this version can read."""


class UnknownType(TypeError):
    """The object can be found, but not be read: a class whose structure is not recorded."""


class Unsettled(RuntimeError):
    """The value was being changed, or damaged, each time that it was read."""


SCALARS = {"bool": "?", "i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I",
           "i64": "q", "u64": "Q", "f32": "f", "f64": "d", "char": "c"}
CHARACTERS = {"char": (1, "utf-8"), "char8": (1, "utf-8"), "char16": (2, "utf-16"),
              "wchar16": (2, "utf-16"), "char32": (4, "utf-32"), "wchar32": (4, "utf-32")}
LOCKS = {"shm_mutex": (24, 8), "shm_recursive_mutex": (24, 8), "shm_shared_mutex": (576, 64),
         "shm_condition": (8, 8), "shm_semaphore": (8, 8), "shm_event": (16, 8),
         "shm_latch": (8, 8), "shm_barrier": (8, 8)}
ELEMENTS = 1 << 26  # more are taken for damage


# What the names in descriptions mean; messaging.py adds to them.
NAMES = {}  # those without <…>
TEMPLATES = {}  # those that are made of one type
WITHOUT_PARTS = {}  # those that are read without a look at the types of their parts


def slot_place(slot):
    """The offset of a slot of the process table."""
    return 4096 + 64 * slot if slot < 65 else 20160 + 64 * (slot - 65)


def process_of(segment, word):
    """The id of the process that an owner word names; None if it is attached no more. Whether it is
    alive, only the kernel knows: `cohold_inspect show` asks."""
    generation = word >> 32
    taken = segment.read("Q", slot_place(word >> 20 & 0xFFF))
    lived = (taken >> 32) - generation & 0xFFFFFFFF <= taken >> 1 & 0x7FFFFFFF
    return segment.read("I", slot_place(word >> 20 & 0xFFF) + 8) if taken & 1 and lived else None


def lock_holder(segment, at):
    """The id of the process that has the lock: None if none has, -1 if it is attached no more."""
    word = segment.read("Q", at)
    if word == 0:
        return None
    process = process_of(segment, word)
    return -1 if process is None else process


def round_up(value, unit):
    return (value + unit - 1) // unit * unit


def same(a, b):
    """Equal, where a NaN equals itself."""
    return a == b or repr(a) == repr(b)


class Type:
    """Base of all: size, alignment, read(segment, offset)."""

    plain = True  # trivially copyable
    is_safe = False  # a reading is whole: it checks that by itself

    def __init__(self, size, alignment):
        self.size, self.alignment = size, alignment

    def dtype(self, order):
        raise TypeError("numpy has no such type")

    def elements(self, segment, at):
        raise TypeError("not a vector or array")

    def part(self, segment, at, key):
        """(type, offset) of a part; for Segment.array."""
        raise TypeError(f"it has no part {key!r}")

    def state(self, segment, at):
        """What there is to say beside the value."""
        return {}


class Scalar(Type):
    def __init__(self, letter):
        size = struct.calcsize("=" + letter)
        super().__init__(size, size)
        self.letter = letter

    def read(self, segment, at):
        return segment.read(self.letter, at)

    def dtype(self, order):
        return {"c": "S1", "?": "?"}.get(self.letter) or order + (
            "f" if self.letter in "fd" else "u" if self.letter.isupper() else "i") + str(self.size)


class Fixed(Type):
    """Arrays and pairs of numbers; std::complex."""

    def __init__(self, element, count):
        super().__init__(element.size * count, element.alignment)
        self.element, self.count, self.plain = element, count, element.plain

    def read(self, segment, at):
        return sequence(segment, self.element, at, self.count)

    def elements(self, segment, at):
        return at, self.count, self.element

    def dtype(self, order):
        return (self.element.dtype(order), (self.count,))


def sequence(segment, element, at, count):
    if count > ELEMENTS:
        raise Unsettled(f"{count} elements")
    segment.span(at, element.size * count)
    if isinstance(element, Scalar):
        if element.letter == "c":  # of char: text
            return segment.bytes(at, count).decode(errors="replace")
        return list(struct.unpack_from(f"{segment.order}{count}{element.letter}", segment.data, at))
    return [element.read(segment, at + i * element.size) for i in range(count)]


class Complex(Fixed):
    def read(self, segment, at):
        return complex(*super().read(segment, at))

    def dtype(self, order):
        return f"{order}c{self.size}"


class Struct(Type):
    def __init__(self, members, size, alignment):
        super().__init__(size, alignment)
        self.members = members
        self.plain = all(kind.plain for _, _, kind in members)

    def read(self, segment, at):
        return {name: kind.read(segment, at + offset) for name, offset, kind in self.members}

    def part(self, segment, at, key):
        for name, offset, kind in self.members:
            if name == key:
                return kind, at + offset
        raise KeyError(key)

    def dtype(self, order):
        return {"names": [name for name, _, _ in self.members],
                "formats": [kind.dtype(order) for _, _, kind in self.members],
                "offsets": [offset for _, offset, _ in self.members], "itemsize": self.size}


class Pair(Struct):
    def read(self, segment, at):
        return tuple(super().read(segment, at).values())


def pair_of(first, second):
    """As programs lay it out whose numbers are aligned to their size; others describe their pairs."""
    place, alignment = round_up(first.size, second.alignment), max(first.alignment, second.alignment)
    return Pair([("first", 0, first), ("second", place, second)],
                round_up(place + second.size, alignment), alignment)


class Optional(Struct):
    def read(self, segment, at):
        (_, place, kind), (_, flag, _) = self.members
        return kind.read(segment, at + place) if segment.read("?", at + flag) else None


class Pointer(Type):
    """offset_ptr: the offset of the target, whose type the description does not contain."""

    plain = False

    def __init__(self):
        super().__init__(8, 8)

    def read(self, segment, at):
        return segment.pointer(at)


class Owner(Type):
    """shm_unique_ptr and shm_shared_ptr: the object, or None."""

    plain = False

    def __init__(self, size, target):
        super().__init__(size, 8)
        self.target = target

    def read(self, segment, at):
        place = segment.pointer(at)
        return None if place is None else self.target.read(segment, place)


class Array(Type):
    """What a shm_unique_ptr<T[]> owns, and a shm_shared_ptr<T[]> shares: a list."""

    plain = False

    def __init__(self, element):
        super().__init__(element.size, element.alignment)
        self.element = element

    def read(self, segment, at):
        count = segment.read("Q", at - max(16, self.element.alignment))
        return sequence(segment, self.element, at, count)


class Text(Type):
    plain = False

    def __init__(self, character):
        super().__init__(32, 8)
        self.width, self.coding = CHARACTERS[character]

    def read(self, segment, at):
        size, begin = segment.read("B", at), at + self.width  # in the string itself, behind its size
        if size & 0x80:  # in a block
            size, begin = segment.read("Q", at + 8), segment.pointer(at + 16)
            if begin is None or size > ELEMENTS:
                raise Unsettled("a text without memory")
        elif (size + 1) * self.width > 24:
            raise Unsettled("a text that is too long")
        coding = self.coding + (
            "" if self.width == 1 else "-le" if segment.order == "<" else "-be")
        return segment.bytes(begin, size * self.width).decode(coding, errors="replace")


class Vector(Type):
    plain = False

    def __init__(self, element):
        super().__init__(32, 8)
        self.element = element

    def elements(self, segment, at):
        begin, count = segment.pointer(at), segment.read("Q", at + 8)
        if count > segment.read("Q", at + 16) or (begin is None and count != 0):
            raise Unsettled("a vector whose size does not fit")
        return (begin or 0), count, self.element

    def read(self, segment, at):
        begin, count, element = self.elements(segment, at)
        return sequence(segment, element, begin, count)

    def state(self, segment, at):
        return {"size": segment.read("Q", at + 8), "capacity": segment.read("Q", at + 16)}


class List(Type):
    """A ring of nodes, each of which has to lead back to the one before."""

    plain = False

    def __init__(self, element):
        super().__init__(32, 8)
        self.element, self.place = element, round_up(16, element.alignment)

    def read(self, segment, at):
        count, values = segment.read("Q", at + 16), []
        before, node = at, at + segment.read("q", at + 8)
        while node != at:
            if len(values) == count or node + segment.read("q", node) != before:
                raise Unsettled("a list that does not lead back")
            values.append(self.element.read(segment, node + self.place))
            before, node = node, node + segment.read("q", node + 8)
        if len(values) != count or at + segment.read("q", at) != before:
            raise Unsettled("a list with fewer elements than it says")
        return values


class Deque(Type):
    """Blocks of elements, and a map of the blocks."""

    plain = False

    def __init__(self, element):
        super().__init__(40, 8)
        self.element = element
        self.in_block = (4 if element.size > 256 else
                         1 << (1024 // max(element.size, 1)).bit_length() - 1)

    def read(self, segment, at):
        slots, first, last = (segment.read("Q", at + field) for field in (8, 16, 24))
        count, begin = last - first & (1 << 64) - 1, segment.pointer(at)
        if count > ELEMENTS or count > slots * self.in_block or (begin is None and count != 0):
            raise Unsettled("a deque whose size does not fit")
        values = []
        while count != 0:
            block, offset = divmod(first, self.in_block)
            place = segment.pointer(begin + block % slots * 8)
            if place is None:
                raise Unsettled("a deque without a block")
            some = min(self.in_block - offset, count)
            part = sequence(segment, self.element, place + offset * self.element.size, some)
            values += part
            first, count = first + some & (1 << 64) - 1, count - some
        if isinstance(self.element, Scalar) and self.element.letter == "c":
            return "".join(values)
        return values


class Tree(Type):
    """The elements of maps and sets, in order."""

    plain = False

    def __init__(self, element):
        super().__init__(56, 8)
        self.element, self.place = element, round_up(24, element.alignment)

    def read(self, segment, at):
        def link(node, field):
            distance = segment.read("q", node + field)
            return node + distance if distance != 0 else None

        count = segment.read("Q", at + 40)
        values, above, node = [], [], link(at, 8)
        while above or node is not None:
            while node is not None:  # all the way to the left
                above.append(node)
                if len(above) > 128:
                    raise Unsettled("a tree that is too deep")
                node = link(node, 8)
            node = above.pop()
            values.append(self.element.read(segment, node + self.place))
            if len(values) > count:
                raise Unsettled("a tree with more elements than it says")
            node = link(node, 16)
        if len(values) != count:
            raise Unsettled("a tree with fewer elements than it says")
        return values


def as_dict(pairs):
    """Or a list of pairs, if the keys are structs, which Python cannot look up."""
    try:
        return dict(pairs)
    except TypeError:
        return pairs


class TreeMap(Tree):
    def read(self, segment, at):
        return as_dict(super().read(segment, at))


class HashTable(Type):
    """A set, or a dict if the elements are pairs of a key and a value. Plain elements are checked one
    by one against the version of their group, as the library itself reads them, so that each is
    whole."""

    plain = False

    def __init__(self, item, is_map):
        super().__init__(40, 8)
        self.item, self.is_map = item, is_map
        self.is_safe = item.plain
        self.slot_bytes = item.size if item.plain else 16
        self.groups = 16 if self.slot_bytes <= 32 else 8 if self.slot_bytes <= 64 else 4

    def read(self, segment, at):
        root, found, entry = segment.read("Q", at + 8), [], 0
        base = (segment.pointer(at) or 0)  # of the header: 0
        depth = root & 255
        if depth > 32:
            raise Unsettled("a directory that is too deep")
        while root != 0 and entry < 1 << depth:
            place = base + (root >> 8) + 16 + entry * 8
            word = segment.read("Q", place)
            part = self.blocks(segment, base + (word >> 8))
            if segment.read("Q", place) != word or segment.read("Q", at + 8) != root:
                raise Unsettled("the directory has changed")
            found += part
            entry += 1 << max(depth - (word & 255), 0)
        return self.collect(found)

    def blocks(self, segment, block):
        if segment.read("Q", block + 8) != 0:
            raise Unsettled("a split is not finished")
        found, chain = [], 0
        while block != 0:
            chain += 1
            if chain > 10000:
                raise Unsettled("a chain without an end")
            for group in range(self.groups):
                first = block + 64 + group * (32 + 16 * self.slot_bytes)
                word = segment.read("Q", first)
                segment.fence()
                part = [self.element(segment, first + 32 + slot * self.slot_bytes)
                        for slot in range(16) if word >> slot & 1]
                segment.fence()
                if segment.read("Q", first) != word:
                    raise Unsettled("an element has changed")
                found += part
            block = segment.read("Q", block + 16)
        return found

    def element(self, segment, place):
        return self.item.read(segment, place if self.item.plain else segment.read("Q", place))

    def collect(self, found):
        if self.is_map:
            return as_dict(found)
        return found if any(isinstance(each, dict) for each in found) else set(found)


class Guarded(Type):
    """A value under its lock, which nobody had while it was read."""

    plain = False
    is_safe = True

    def __init__(self, value, mutex):
        lock, alignment = LOCKS[mutex]
        self.place = round_up(lock, value.alignment)
        alignment = max(alignment, value.alignment)
        super().__init__(round_up(self.place + value.size, alignment), alignment)
        self.value, self.shared = value, mutex == "shm_shared_mutex"

    def version(self, segment, at):
        """Unsettled while it is locked, by the living or the dead."""
        version = segment.read("I", at + 20)
        segment.fence()
        if segment.read("Q", at) != 0 and not (self.shared and version % 2 == 0):
            raise Unsettled("it is locked")
        segment.fence()
        return segment.read("I", at + 20)

    def read(self, segment, at):
        before = self.version(segment, at)
        segment.fence()
        value = self.value.read(segment, at + self.place)
        segment.fence()
        if self.version(segment, at) != before:
            raise Unsettled("it has changed")
        return value

    def state(self, segment, at):
        return {"locked by": lock_holder(segment, at), "version": segment.read("I", at + 20)}


class Latest(Type):
    """shm_latest: the value that was stored last."""

    plain = False
    is_safe = True

    def __init__(self, value):
        self.value = value
        small = value.size <= 16 and value.alignment <= 16
        self.unit = 16 if small else max(64, value.alignment)
        self.first = 80 if small else round_up(128, self.unit)
        self.stride = round_up(value.size, self.unit)
        super().__init__(round_up(128, max(64, self.unit)) + (0 if small else 3 * self.stride),
                         max(64, self.unit))

    def state(self, segment, at):
        return {"version": segment.read("Q", at + 64) >> 6, "locked by": lock_holder(segment, at),
                "readers wait": segment.read("I", at + 72) & 1 != 0}

    def read(self, segment, at):
        return self.versioned(segment, at)[1]

    def versioned(self, segment, at):
        """(version, value)"""
        before = segment.read("Q", at + 64)
        place = max(before >> 4 & 3, 1) - 1
        segment.fence()
        value = self.value.read(segment, at + self.first + place * self.stride)
        segment.fence()
        after = segment.read("Q", at + 64)
        passed = (after >> 6) - (before >> 6)
        if passed > 2 or (passed == 2 and after & 1):
            raise Unsettled("it has been stored several times")
        return before >> 6, value


class Lock(Type):
    """Alone: is it locked, or what a signal counts."""

    plain = False

    def __init__(self, name):
        super().__init__(*LOCKS[name])
        self.name = name

    def read(self, segment, at):
        if self.name.endswith("mutex"):
            return segment.read("Q", at) != 0
        return segment.read("Q" if self.name == "shm_barrier" else "I", at)

    def state(self, segment, at):
        return {"locked by": lock_holder(segment, at)} if self.name.endswith("mutex") else {}


class Parser:
    """Makes a Type of a description."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        found = re.compile(pattern).match(self.text, self.at)
        if found is None:
            raise UnknownType(self.text[self.at:self.at + 60])
        self.at = found.end()
        return found

    def follows(self, text):
        return self.text.startswith(text, self.at)

    def type(self):
        base, extents = self.single(), []
        while self.follows("[") and not self.follows("[]"):  # which is for pointers
            extents.append(int(self.take(r"\[(\d+)\]")[1]))
        for extent in reversed(extents):
            base = Fixed(base, extent)
        return base

    def single(self):
        name = self.take(r"[^{}<>:;@,\[\]]*(?:::[^{}<>:;@,\[\]]+)*")[0]
        if self.follows("{"):
            return self.structure(name)
        if self.follows("<"):
            return self.template(name)
        if self.follows(":"):  # an enum and what it is made of
            self.take(":")
            return self.single()
        if name in SCALARS:
            return Scalar(SCALARS[name])
        if name == "shm_string":
            return Text("char")
        if name in LOCKS:
            return Lock(name)
        if name in NAMES:
            return NAMES[name]()
        raise UnknownType(name)

    def structure(self, name):
        members = []
        self.take("{")
        while not self.follows("}"):
            member, offset = self.take(r"(#?\w+)@(\d+) ").groups()
            members.append((member, int(offset), self.type()))
            if self.follows(";"):
                self.take(";")
        self.take("}")
        size, stated = self.take(r"(\d+)(?:\^(\d+))?").groups()
        if not members:
            raise UnknownType(f"{name}, whose structure is not recorded")
        alignment = int(stated or max(kind.alignment for _, _, kind in members))
        made = {"std::pair": Pair, "std::optional": Optional}.get(name, Struct)
        return made(members, int(size), alignment)

    def template(self, name):
        self.take("<")
        if name == "shm_basic_string":
            made = Text(self.take(r"\w+")[0])
        elif name in ("offset_ptr", "shm_weak_ptr"):  # the name of the target is all that is known
            self.rest()
            if name == "shm_weak_ptr":
                raise UnknownType(name)
            made = Pointer()
        elif name in WITHOUT_PARTS:
            self.rest()
            made = WITHOUT_PARTS[name]()
        else:
            made = self.of_types(name)
        self.take(">")
        return made

    def rest(self):
        """What is left before the closing bracket."""
        begin, depth = self.at, 0
        while self.at < len(self.text) and (depth or self.text[self.at] != ">"):
            depth += {"<": 1, ">": -1}.get(self.text[self.at], 0)
            self.at += 1
        return self.text[begin:self.at].lstrip(",")

    def arguments(self):
        """How many follow."""
        begin, left = self.at, self.rest()
        self.at = begin
        nested = re.compile(r"<[^<>]*>|{[^{}]*}")
        while nested.search(left):
            left = nested.sub("", left)
        return left.count(",") + 1 if left else 0

    def of_types(self, name):
        element = self.type()
        if name == "shm_hash_map":
            if not isinstance(element, Pair) or self.arguments() % 2 != 0:
                self.take(",")
                element = pair_of(element, self.type())
            self.rest()  # the names of the hash function and of what compares
            return HashTable(element, True)
        rest = self.rest()
        if name in ("std::atomic", "std::chrono::duration", "std::chrono::time_point"):
            return element
        if name == "std::array":
            return Fixed(element, int(rest))
        if name == "std::complex":
            return Complex(element, 2)
        if name == "shm_hash_set":
            return HashTable(element, False)
        if name == "shm_guarded" and rest in LOCKS:
            return Guarded(element, rest)
        if rest == "[]":
            element = Array(element)
        if name == "shm_atomic_shared_ptr":
            made = Guarded(Owner(24, element), "shm_mutex")
            made.size += 8  # the word for those that wait
            return made
        if name in ("shm_unique_ptr", "shm_shared_ptr"):
            return Owner(16 if name == "shm_unique_ptr" else 24, element)
        if name in TEMPLATES:
            return TEMPLATES[name](element)
        raise UnknownType(name)


TEMPLATES.update(shm_vector=Vector, shm_list=List, shm_deque=Deque, shm_set=Tree, shm_multiset=Tree,
                 shm_multimap=Tree, shm_map=TreeMap, shm_latest=Latest)


def parse(description):
    return Parser(description).type()
