"""Queues, broadcasts, messages, pools and services: what is in them, beside writers and the dead."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import typing

from .types import (ELEMENTS, NAMES, TEMPLATES, WITHOUT_PARTS, Owner, Type, Unsettled, lock_holder,
                    process_of, round_up, slot_place)

_HALF, _MASK = 1 << 63, 0xFFFFFFFFFFFFFFFF
_PROCESS = _MASK - 0xFFFFF  # in an owner word


class Queue(Type):
    """The elements, the oldest first: those that were in the queue from the beginning of the reading
    to its end. A producer writes to the place of an element only after the head has passed it."""

    plain = False
    is_safe = True

    def __init__(self, element):
        super().__init__(320, 64)
        self.element = element

    def read(self, segment, at):
        return [value for _, value in self.contents(segment, at)]

    def contents(self, segment, at):
        """[(position, value)]"""
        ring, capacity, end, in_line = (segment.pointer(at), segment.read("I", at + 16),
                                        segment.read("I", at + 32), segment.read("I", at + 36))
        if capacity == 0:  # freed
            return []
        if ring is None or capacity > ELEMENTS or in_line > 56:
            raise Unsettled("a queue whose words do not fit")
        bits, place, found = in_line.bit_length(), segment.read("Q", at + 192), []
        while len(found) < capacity:
            turn, index = place >> 32, place & 0xFFFFFFFF
            line, offset = index >> bits, index & (1 << bits) - 1
            if in_line:
                known, item = segment.read("Q", ring + line * 64), ring + line * 64 + 8
            else:
                known, item = segment.read("Q", at + 128), ring + line * self.element.size
            if known == place or known - place & _HALF:  # positions wrap around
                break
            segment.fence()
            found.append((place, self.look(segment, item + offset * self.element.size)))
            index = line + 1 << bits if offset + 1 == in_line else index + 1
            place = (turn << 32 | index) if index != end else (turn + 1 & 0xFFFFFFFF) << 32
        segment.fence()
        # Elements that own memory are moved out before the head passes them, by one consumer at a time.
        taking = not self.element.plain and segment.read("Q", at + 280) != 0
        segment.fence()
        head = segment.read("Q", at + 192)
        if taking and any(place == head for place, _ in found):
            raise Unsettled("an element is being taken")
        found = [each for each in found if not each[0] - head & _HALF]
        for _, value in found:
            if isinstance(value, Unsettled):
                raise value
        return found

    def look(self, segment, place):
        """An element, or why it cannot be read: it may have been taken already."""
        try:
            return self.element.read(segment, place)
        except Unsettled as error:
            return error

    def state(self, segment, at):
        return {"capacity": segment.read("I", at + 16), "size": self.count(segment, at),
                "closed": segment.read("I", at + 20) != 0,
                "overwritten": segment.read("Q", at + 136),
                "consumers wait": segment.read("I", at + 24) & 1 != 0,
                "producers wait": segment.read("I", at + 28) & 1 != 0}

    @staticmethod
    def count(segment, at):
        """How many elements, without a look at all of them."""
        ring, capacity, end, in_line = (segment.pointer(at), segment.read("I", at + 16),
                                        segment.read("I", at + 32), segment.read("I", at + 36))
        bits, head = in_line.bit_length(), segment.read("Q", at + 192)

        def number(place):  # of elements since the beginning, apart from whole turns of turns
            turn, index = place >> 32, place & 0xFFFFFFFF
            in_turn = (index >> bits) * (in_line or 1) + (index & (1 << bits) - 1)
            return turn * ((end >> bits) * (in_line or 1)) + in_turn

        last = segment.read("Q", at + 64 if in_line else at + 128)
        while in_line and number(last) > number(head):  # what is claimed may not be published yet
            index = (last & 0xFFFFFFFF) - 1
            line = last - 1 & _MASK - (1 << bits) + 1 if index >= 0 else (
                (last >> 32) - 1 & 0xFFFFFFFF) << 32 | end - (1 << bits)
            known = segment.read("Q", ring + ((line & 0xFFFFFFFF) >> bits) * 64)
            if known != line and not known - line & _HALF:
                last = known
                break
            last = line
        return min(max(number(last) - number(head), 0), capacity)


class Broadcast(Type):
    """The messages that are still there, the oldest first."""

    plain = False
    is_safe = True

    def __init__(self, element):
        super().__init__(128, 64)
        self.element, self.place = element, max(8, element.alignment)
        stride = round_up(self.place + element.size, 8)
        self.stride = (round_up(stride, max(64, element.alignment)) if stride > 64 else
                       1 << (stride - 1).bit_length())

    def words(self, segment, at):
        slots, capacity = segment.pointer(at + 64), segment.read("I", at + 80)
        if capacity > ELEMENTS or capacity & capacity - 1 or (slots is None and capacity != 0):
            raise Unsettled("a broadcast whose words do not fit")
        return slots, capacity, segment.read("Q", at + 24)

    def message(self, segment, at, number):
        """[value] of message `number`; [] if it is not there yet; None if it is there no more."""
        slots, capacity, _ = self.words(segment, at)
        if capacity == 0:
            return None
        slot, whole = slots + (number & capacity - 1) * self.stride, 2 * number + 2
        word = segment.read("Q", slot)
        if word != whole:
            return None if word > whole else []
        segment.fence()
        value = self.element.read(segment, slot + self.place)
        segment.fence()
        return [value] if segment.read("Q", slot) == whole else None

    def read(self, segment, at):
        _, capacity, published = self.words(segment, at)
        found = []
        for number in range(max(published - capacity, 0), published + 1):
            found += self.message(segment, at, number) or []
        # The first one may have been overwritten by the last one since it was read.
        return found[-capacity:] if capacity else []

    def state(self, segment, at):
        _, capacity, published = self.words(segment, at)
        return {"capacity": capacity, "published": published,
                "closed": segment.read("I", at + 84) != 0,
                "readers wait": segment.read("I", at + 88) & 1 != 0,
                "locked by": lock_holder(segment, at)}


class Message(typing.NamedTuple):
    """Of a shm_message_queue."""

    data: bytes
    priority: int
    attempts: int  # how many consumers have taken it
    held: bool     # by a consumer, dead or alive, that has not released it


class Messages(Type):
    """The messages in the order in which they come out. Blocks are freed only after `released` has
    grown, so what is found while it stays the same, is whole. Without the lock, because its holder
    may be dead: then two readings have to be equal."""

    plain = False
    is_safe = True

    def __init__(self):
        super().__init__(768, 64)

    def read(self, segment, at):
        def words():
            return segment.read("Q", at + 208), segment.read("Q", at + 192)

        before = words()
        segment.fence()
        found = self.look(segment, at)
        segment.fence()
        if before[1] != 0:  # somebody is at work, or has died at it
            again = self.look(segment, at)
            segment.fence()
            if again != found:
                raise Unsettled("messages are being taken")
        after = words()
        if after[0] != before[0] or (before[1] != 0 and after != before):
            raise Unsettled("messages are being released")
        return found

    def look(self, segment, at):
        memory, places, inbox = (segment.pointer(at + 8), segment.read("I", at + 24),
                                 segment.read("I", at + 28))
        if memory is None:
            return []
        if inbox == 0 or inbox & inbox - 1 or places > ELEMENTS:
            raise Unsettled("a queue of messages whose words do not fit")
        found, seen, removed = [], set(), segment.read("I", at + 224)

        def add(place):
            if not 2 <= place < places or place in seen:
                raise Unsettled("a list of messages that leads nowhere")
            seen.add(place)
            block = memory + inbox * 4 + place * 32
            word, units, length = (segment.read("Q", block), segment.read("I", block + 8),
                                   segment.read("I", block + 12))
            if length > max(units - 1, 0) * 32:
                raise Unsettled("a message that is too long")
            state = word & 0xFFFFF
            if state == 0 or (state == 3 and place == removed):  # it has been released
                return segment.read("I", block + 16)
            data = bytes(segment.bytes(block + 32, length))
            found.append(Message(data, segment.read("I", block + 24),
                                 segment.read("I", block + 28), state == 3))
            return segment.read("I", block + 16)

        for priority in range(31, -1, -1):
            place = segment.read("I", at + 232 + priority * 16)
            while place != 0:
                place = add(place)
        listed, passed = segment.read("Q", at + 200), segment.read("Q", at + 128)
        if passed - listed & _MASK > inbox:
            raise Unsettled("messages are being listed")
        for index in range(passed - listed & _MASK):
            place = segment.read("I", memory + (listed + index & inbox - 1) * 4)
            if place not in seen:  # otherwise it has just been put into a list
                add(place)
        return sorted(found, key=lambda message: -message.priority)  # stable: in order within one

    def state(self, segment, at):
        found = self.read(segment, at)
        return {"capacity": segment.read("Q", at + 16), "size": len(found),
                "bytes": sum(len(each.data) for each in found),
                "held": sum(each.held for each in found),
                "closed": segment.read("I", at + 32) != 0,
                "consumers wait": segment.read("I", at + 36) & 1 != 0,
                "producers wait": segment.read("I", at + 40) & 1 != 0}


class Pool(Type):
    """The objects that are lent, by their numbers."""

    plain = False

    def __init__(self, element):
        super().__init__(64, 8)
        self.element = element

    def part(self, segment, at, number):
        """For Segment.array: an object of the pool, lent or not."""
        for each, block in self.blocks(segment, at):
            if each == number:
                return self.element, segment.read("Q", block + 64)
        raise KeyError(number)

    def blocks(self, segment, at):
        begin, count = segment.pointer(at + 40), segment.read("Q", at + 48)
        if count > ELEMENTS or (begin is None and count != 0):
            raise Unsettled("a pool whose words do not fit")
        segment.span(begin or 0, 8 * count)
        for number in range(count):
            yield number, segment.read("Q", begin + 8 * number)

    def lent(self, segment, at):
        """(number, offset of the control block) of each that is lent."""
        for number, block in self.blocks(segment, at):
            if segment.read("I", block + 52) == 0:
                yield number, block

    def read(self, segment, at):
        return {number: self.element.read(segment, segment.read("Q", block + 64))
                for number, block in self.lent(segment, at)}

    def state(self, segment, at):
        """With the processes that hold each object, and how many loans the segment itself has."""
        loans = {}
        for number, block in self.lent(segment, at):
            words = segment.read("I", block + 48)
            if words > 64:
                raise Unsettled("a set of holders that is too large")
            people = [segment.read("I", slot_place(slot) + 8) for slot in range(64 * words)
                      if segment.read("Q", block + 80 + slot // 64 * 8) >> slot % 64 & 1
                      and segment.read("Q", slot_place(slot)) & 1]
            loans[number] = {"processes": people, "in the segment": segment.read("Q", block + 32)}
        return {"objects": segment.read("Q", at + 48), "available": segment.read("Q", at + 16),
                "least available": segment.read("Q", at + 24), "loans": loans}


CALLS = ["free", "filling", "waiting", "serving", "answered", "failed", "cancelled"]


class Service(Type):
    """The calls, in the order in which they were made: (number, state, client, server), with
    process ids, or None."""

    plain = False

    def __init__(self):
        super().__init__(48, 8)

    def read(self, segment, at):
        places, stride, count = (segment.pointer(at + 8), segment.read("I", at + 16),
                                 segment.read("I", at + 20))
        if count > ELEMENTS or (places is None and count != 0):
            raise Unsettled("a service whose words do not fit")
        found = []
        for place in range(places or 0, (places or 0) + count * stride, max(stride, 1)):
            word = segment.read("Q", place)
            state = word & 0xFFFFF
            if state == 0:
                continue
            if state >= len(CALLS):
                raise Unsettled("a call in no state")
            client, server = segment.read("Q", place + 8) if state > 1 else word, None
            if state in (3, 6):
                server = process_of(segment, word & _PROCESS)
            found.append((segment.read("Q", place + 16), CALLS[state],
                          process_of(segment, client & _PROCESS), server))
        return sorted(found, key=lambda call: call[0])

    def state(self, segment, at):
        calls = self.read(segment, at)
        return {"capacity": segment.read("I", at + 20), "calls": segment.read("Q", at + 32),
                "waiting": sum(call[1] == "waiting" for call in calls),
                "serving": sum(call[1] == "serving" for call in calls),
                "closed": segment.read("I", at + 28) != 0,
                "servers wait": segment.read("I", at + 40) & 1 != 0,
                "clients wait": segment.read("I", at + 44) & 1 != 0}


NAMES["shm_message_queue"] = Messages
TEMPLATES.update(shm_queue=Queue, shm_broadcast=Broadcast, shm_pool=Pool,
                 shm_loan=lambda element: Owner(24, element))
WITHOUT_PARTS["shm_service"] = Service
