"""Reads segments of the C++ library cohold, of which docs/layout.md describes the bytes.

    import cohold
    with cohold.open("prices") as segment:      # a name in /dev/shm, or a path
        for name in segment:
            print(name, segment.type(name), segment[name])
        numbers = segment.array("numbers")      # numpy's, without a copy

Nothing has to be declared: a segment describes the types of its objects. It is mapped for reading
only, and nothing is locked. Values that other processes are changing are read again until they
are whole, or raise Unsettled.
"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import mmap
import os
import platform
import struct
import threading
import time

from . import types
from .following import Closed, Follower
from .messaging import Message
from .types import Damaged, UnknownType, Unsettled

__all__ = ["Segment", "Closed", "Damaged", "Message", "UnknownType", "Unsettled", "open"]

LAYOUT_VERSION = 1
HEADER_BYTES = 704
DIRECTORY = 15936
_MASK = 0xFFFFFFFFFFFFFFFF


def open(name):  # as in gzip.open
    """The segment with that name: in /dev/shm, or a path if there is a slash in it."""
    name = os.fspath(name)
    return Segment(name if "/" in name else "/dev/shm/" + name)


def hash64(data):
    """FNV-1a, then the finaliser of MurmurHash3."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & _MASK
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33


_lock = threading.Lock()


def _barrier():
    """What was read before, was read before what is read afterwards. Locks are all that Python has
    for it: one keeps reads from leaving it upwards, the other downwards."""
    with _lock:
        pass
    with _lock:
        pass


class Segment:
    """A mapping of names to the values of objects."""

    def __init__(self, path):
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.data = None
        self._types = {}
        try:
            self._map()
            self._check()
        except BaseException:
            self.close()
            raise

    def _map(self):
        """All of the file. What has been mapped before stays as long as an array refers to it."""
        length = os.fstat(self._file).st_size
        if length < 4096:
            raise Damaged("not a segment: it is too short")
        self.data = mmap.mmap(self._file, length, mmap.MAP_SHARED, mmap.PROT_READ)

    def _check(self):
        if self.data[:8] != b"cohold\x1a\0":
            raise Damaged("not a segment of cohold")
        orders = {struct.pack(order + "I", 0x01020304): order for order in "<>"}
        self.order = orders.get(self.data[8:12])
        if self.order is None:
            raise Damaged("its word order is neither")
        if self.read("I", 12) != LAYOUT_VERSION:
            raise Damaged(f"it has layout version {self.read('I', 12)}, not {LAYOUT_VERSION}")
        if self.read("I", 16) != HEADER_BYTES or hash64(self.data[8:592]) != self.read("Q", 592):
            raise Damaged("its header is damaged")

    def close(self):
        """Arrays that refer to the segment stay valid."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.data = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- bytes; every access is checked, because the segment may contain anything

    def span(self, at, size):
        """Checks that these bytes are mapped; maps more if the segment has grown."""
        if self.data is None:
            raise ValueError("the segment is closed")
        if at < 0 or size < 0 or at + size > len(self.data):
            if len(self.data) < os.fstat(self._file).st_size:
                self._map()
            if at < 0 or size < 0 or at + size > len(self.data):
                raise Unsettled(f"{size} bytes at {at} are not in the segment")
        return at

    # x86 reads in order.
    fence = staticmethod((lambda: None) if platform.machine() in ("x86_64", "i686", "AMD64") else
                         _barrier)

    def read(self, kind, at):
        """A number of the width that struct's letter says."""
        self.span(at, struct.calcsize("=" + kind))
        return struct.unpack_from(self.order + kind, self.data, at)[0]

    def bytes(self, at, size):
        self.span(at, size)
        return self.data[at:at + size]

    def pointer(self, at):
        """What the offset_ptr at `at` points to; None for null."""
        distance = self.read("q", at)
        if distance == 0:
            return None
        return at if distance == -(1 << 63) else at + distance

    # ---- objects

    @property
    def name(self):
        return self.bytes(80, min(self.read("I", 60), 512)).decode(errors="replace")

    @property
    def size(self):
        return self.read("Q", 640)

    @property
    def reserve(self):
        return self.read("Q", 24)

    def _entries(self):
        """{name: (name of the type, its description, offset, bytes)}"""
        found = {}
        table = self.read("Q", DIRECTORY + 16)
        count = self.read("Q", table) if table else 0
        self.span(table, 16 + 8 * count)
        for index in range(count):
            entry = self.read("Q", table + 16 + 8 * index) & 0x0000FFFFFFFFFFFF
            if entry <= 1:  # never used, or erased
                continue
            texts, begin = [], entry + 48
            for field in (32, 36, 40):
                length = self.read("I", entry + field)
                texts.append(self.bytes(begin, length).decode(errors="replace"))
                begin += length
            found[texts[0]] = texts[1], texts[2], self.read("Q", entry + 8), self.read("Q", entry + 16)
        return found

    def _settled(self, look, patience=1.0):
        """What `look` returns when nothing has changed meanwhile: neither names, nor because of a
        rollback."""
        end = time.monotonic() + patience
        while True:
            before = self.read("Q", DIRECTORY + 8), self.read("Q", 648)
            try:
                found = look()
                if before == (self.read("Q", DIRECTORY + 8), self.read("Q", 648)):
                    return found
                why = Unsettled("names are being changed")
            except Unsettled as error:
                why = error
            except (RecursionError, MemoryError, OverflowError) as error:
                why = Unsettled(str(error))
            if time.monotonic() > end:
                raise why
            time.sleep(0.0005)

    def __iter__(self):
        return iter(sorted(self._settled(self._entries)))

    def keys(self):
        return list(self)

    def __len__(self):
        return len(self._settled(self._entries))

    def __contains__(self, name):
        return name in self._settled(self._entries)

    def _entry(self, name):
        return self._entries()[name]

    def type(self, name):
        """The name of its type, such as "shm_vector<i32>"."""
        return self._settled(lambda: self._entry(name)[0])

    def description(self, name):
        """The structure of its type, in the grammar of docs/layout.md."""
        return self._settled(lambda: self._entry(name)[1])

    def _kind(self, description):
        kind = self._types.get(description)
        if kind is None:
            kind = self._types[description] = types.parse(description)
        return kind

    def get(self, name, patience=1.0):
        """Its value. Unsettled if it was being changed all the time, or by a process that died and
        that no other has recovered yet. A value without a lock of its own is read until two readings
        are equal."""
        def look():
            _, description, at, _ = self._entry(name)
            kind = self._kind(description)
            value = kind.read(self, at)
            if not kind.is_safe and not types.same(kind.read(self, at), value):
                raise Unsettled(f"{name} is being changed")
            return value
        return self._settled(look, patience)

    def __getitem__(self, name):
        return self.get(name)

    def state(self, name, patience=1.0):
        """What there is to say of the object beside its value, as a dictionary: of a queue its
        capacity and size, is it closed, does a thread wait; of a pool its loans and who has them; of
        a lock the process that holds it, and so on."""
        def look():
            _, description, at, _ = self._entry(name)
            return self._kind(description).state(self, at)
        return self._settled(look, patience)

    def place(self, name):
        """Its type, as a types.Type, and its offset."""
        def look():
            _, description, at, _ = self._entry(name)
            return self._kind(description), at
        return self._settled(look)

    def names_changed(self):
        """A number that changes when names come or go."""
        return self.read("Q", DIRECTORY + 8)

    def follow(self, name, history=False):
        """An iterator over the messages of a broadcast from now on, or over newer values of a
        shm_latest; with `history`, over what is there already, too. It is closed with the segment."""
        return Follower(self, name, history)

    def array(self, name, *parts):
        """The elements of a vector or array of numbers, or of structs of these, without a copy: as
        a numpy array, which shows later changes of the elements. Ask again after the vector may have
        grown: it moves then, and the old array shows memory that was freed. `parts` lead to an array
        inside of the object: names of members, the number of an object of a pool."""
        import numpy

        def look():
            _, description, at, _ = self._entry(name)
            kind = self._kind(description)
            for each in parts:
                kind, at = kind.part(self, at, each)
            begin, count, element = kind.elements(self, at)
            self.span(begin, count * element.size)
            made = numpy.frombuffer(self.data, element.dtype(self.order), count, begin)
            if kind.elements(self, at)[:2] != (begin, count):
                raise Unsettled(f"{name} is being changed")
            return made
        return self._settled(look)
