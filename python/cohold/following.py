"""What follows: the messages of a broadcast, or newer values of a shm_latest."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import time

from .messaging import Broadcast
from .types import Latest, Unsettled


class Closed(EOFError):
    """The broadcast is closed and everything in it has been read, or the object is gone."""


class Follower:
    """An iterator, which waits, and ends when the broadcast is closed. `missed` counts the messages
    that were overwritten before this reader got them, or the values that it has skipped."""

    def __init__(self, segment, name, history):
        self._segment, self._name = segment, name
        self._names = segment.names_changed()
        self._kind, self._at = segment.place(name)
        self.missed = 0
        if isinstance(self._kind, Broadcast):
            _, capacity, published = self._kind.words(segment, self._at)
            self._position = max(published - capacity, 0) if history else published
            if not history and self._kind.message(segment, self._at, published):
                self._position += 1  # its writer was killed before it counted it
        elif isinstance(self._kind, Latest):
            self._position = -1 if history else segment.read("Q", self._at + 64) >> 6
        else:
            raise TypeError(f"{name} is neither a broadcast nor a shm_latest")

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.next()
        except Closed:
            raise StopIteration from None

    def next(self, timeout=None):
        """The next message, or a newer value. *Raises* TimeoutError, Closed, and Unsettled if the
        object is damaged."""
        end, pause = None if timeout is None else time.monotonic() + timeout, 0.0
        while True:
            found = (self._next_message() if isinstance(self._kind, Broadcast) else
                     self._newer_value())
            if found:
                return found[0]
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(self._name)
            self._check_name()
            time.sleep(pause)
            pause = min(pause + 0.00005, 0.001)

    def _next_message(self):
        segment, at = self._segment, self._at
        is_closed = segment.read("I", at + 84) != 0  # before the look: no message comes after it
        segment.fence()
        for skipped in range(64):
            found = self._kind.message(segment, at, self._position)
            if found is not None:
                break
            _, capacity, published = self._kind.words(segment, at)
            if capacity == 0:
                raise Closed(self._name)
            # The oldest is overwritten next; if that has happened again, an eighth more, and so on.
            ahead = capacity - 1 - min(skipped, 8) * capacity // 8
            oldest = max(published - max(ahead, 0), self._position + 1)
            self.missed += oldest - self._position
            self._position = oldest
        else:
            raise Unsettled(f"{self._name} has no message that is whole")
        self._position += len(found)
        if not found and is_closed:
            raise Closed(self._name)
        return found

    def _newer_value(self):
        segment, at = self._segment, self._at
        if segment.read("Q", at + 64) >> 6 <= self._position:
            return []
        try:
            version, value = self._kind.versioned(segment, at)
        except Unsettled:
            return []  # stored several times meanwhile: again
        self.missed += version - self._position - 1 if self._position >= 0 else 0
        self._position = version
        return [value]

    def _check_name(self):
        names = self._segment.names_changed()
        if names != self._names:
            self._names = names
            try:
                if self._segment.place(self._name)[1] == self._at:
                    return
            except KeyError:
                pass
            raise Closed(f"{self._name} is not there any more")
