"""Draws versions for keys that stand ahead of all clocks.

A key that was written while clocks were wrong holds a version that no clock reaches for as long as they were ahead. A
write of that key takes a version after the one that stands, and no clock follows.

Rules:
- A timestamp drawn here is above the standing version, and above every timestamp that this process drew here before
  for the same key: its identity and generation then make the version unique. What was drawn is kept by a hash of the
  key, so that memory is bounded and nothing is ever forgotten. Keys that share a hash are drawn above each other;
  both stand ahead already.
- It is odd, and what is drawn by the clock is even: when time has caught up with a key, none is drawn twice.
- Of two coordinators that found the same version standing, the later one draws the higher timestamp. One of them may
  have reached a single replica only, so that the other one has not met its version. The time of day is added for this,
  in steps of half a second and over half an hour; a sixteenth of a millisecond is all that a version gains by it, so
  that time catches up with a key however often it is written.
- Keys that were met are remembered, up to a number, so that their next write takes one round.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from ...quorum.version import MAX_TIMESTAMP, Version
from ..errors import Unavailable

KEYS_REMEMBERED = 1024
"""Keys remembered; they take some megabytes when keys are as long as can be."""
_HASHES = 0xFFFF
_STEP_BITS = 9
"""Number of low bits of the wall clock's milliseconds within one step."""
_STEPS = 0xFFF


def is_drawn_above(version: Version) -> bool:
    """Return whether a version was drawn above one that stood ahead of all clocks."""
    return version.timestamp & 1 == 1


class AheadVersions:
    """Draws for one coordinator. ``follows`` returns whether clocks reach a timestamp."""

    def __init__(self, wall_ms: Callable[[], int], follows: Callable[[int], bool]) -> None:
        self._wall_ms = wall_ms
        self._follows = follows
        self._drawn: dict[int, int] = {}
        """Highest timestamp drawn here, by a hash of the key."""
        self._standing: dict[bytes, int] = {}
        """Highest known timestamp of each key that was met: the one that stood, or the one drawn above it."""

    @property
    def empty(self) -> bool:
        """Return whether no key is remembered."""
        return not self._standing

    def note(self, key: bytes, timestamp: int) -> None:
        """Remember that ``timestamp`` stands at ``key``; forgets the key that was met longest ago for it."""
        timestamp = max(timestamp, self._standing.pop(key, 0))
        if len(self._standing) >= KEYS_REMEMBERED:
            del self._standing[next(iter(self._standing))]
        self._standing[key] = timestamp

    def standing(self, key: bytes) -> int | None:
        """Return the timestamp ahead of all clocks that ``key`` is known to hold; None when there is none."""
        timestamp = self._standing.get(key)
        if timestamp is not None and self._follows(timestamp):
            del self._standing[key]
            return None
        return timestamp

    def draw(self, key: bytes, standing: int) -> int:
        """Draw a new timestamp for ``key`` alone, above ``standing``. Raise Unavailable when there is none left."""
        slot = crc32(key) & _HASHES
        step = self._wall_ms() >> _STEP_BITS & _STEPS
        timestamp = max(standing, self._drawn.get(slot, 0)) + 1 + step | 1
        if timestamp > MAX_TIMESTAMP:
            raise Unavailable(
                "the write was not done: the key holds a version so far ahead of all clocks that there is none after "
                "it; use another key, and remove this one with its cluster"
            )
        self._drawn[slot] = timestamp
        self.note(key, timestamp)
        return timestamp
