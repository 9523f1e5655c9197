"""Counts the keys of this node that stand ahead of all clocks, for ``covey status --json``.

The engine knows the highest timestamp it ever merged. While that is no later than clocks follow, there is nothing to
count, and nothing is read. Otherwise each segment is read once, slowly, and again only when its digest has changed or
when time may have caught up with some of its keys. So the count falls to 0 by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ...ring.tokens import TokenRange
from ..errors import Corruption, StorageFailed
from ..ports import Clock
from ..storage.interface import Cursor, Engine
from ..storage.segments import SEGMENTS, segment_range

ENTRIES_AT_ONCE = 256
BYTES_AT_ONCE = 1 << 20
PAUSE_S = 0.01
"""Pause between two reads, so that they take at most a twentieth of the time."""
GROUP = 64
"""Number of segments whose digest is compared together."""


@dataclass(frozen=True, slots=True)
class _Counted:
    digest: int
    keys: int
    earliest: int
    """The lowest of their timestamps."""
    at_s: float


_NONE = _Counted(0, 0, 0, 0.0)
"""The count of an empty segment."""


class KeysAhead:
    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        furthest: Callable[[], int],
        on_change: Callable[[], None],
        interval_s: float,
        recount_s: float = 60.0,
    ) -> None:
        """Take ``furthest``, the last timestamp that clocks follow; ``on_change`` is called when the count has changed.

        Keys that time has caught up with count for up to ``recount_s`` more.
        """
        self._engine = engine
        self._clock = clock
        self._furthest = furthest
        self._on_change = on_change
        self._interval_s = interval_s
        self._recount_s = recount_s
        self._counted: dict[int, _Counted] = {}
        """Counts by segment."""
        self._groups: dict[int, int] = {}
        """Digest under which each group of segments was last counted, by its first segment."""
        self.count = 0
        """Number of keys ahead, tombstones included."""

    async def run(self) -> None:
        """Count until cancelled, or until the engine reads no more."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._recount()
            except StorageFailed:
                return  # the engine has reported it, and the node ends

    async def _recount(self) -> None:
        if self._engine.latest_timestamp() <= self._furthest():
            self._counted.clear()
            self._groups.clear()
        else:
            for first in range(0, SEGMENTS, GROUP):
                await self._see_to_group(range(first, first + GROUP))
                self._say()
        self._say()

    def _say(self) -> None:
        count = sum(counted.keys for counted in self._counted.values())
        if count != self.count:
            self.count = count
            self._on_change()

    async def _see_to_group(self, numbers: range) -> None:
        try:
            span = TokenRange(segment_range(numbers[0]).after, segment_range(numbers[-1]).upto)
            (digest,) = self._engine.digests([span])
            if digest == self._groups.get(numbers[0], 0) and not any(map(self._is_overtaken, numbers)):
                return
            self._groups[numbers[0]] = digest
        except Corruption:
            pass  # what is damaged of it is found below
        for number in numbers:
            await self._see_to(number)
        await asyncio.sleep(0)

    async def _see_to(self, number: int) -> None:
        try:
            (digest,) = self._engine.digests([segment_range(number)])
            if digest != self._counted.get(number, _NONE).digest or self._is_overtaken(number):
                self._counted[number] = await self._read(number, digest)
        except Corruption:
            self._counted.pop(number, None)  # nothing is known of it until it is healed

    def _is_overtaken(self, number: int) -> bool:
        """Return whether time has caught up with a key of the segment, and it was not read for a while."""
        counted = self._counted.get(number, _NONE)
        if not counted.keys or counted.earliest > self._furthest():
            return False
        return self._clock.monotonic() - counted.at_s >= self._recount_s

    async def _read(self, number: int, digest: int) -> _Counted:
        at_s, furthest, keys, earliest = self._clock.monotonic(), self._furthest(), 0, 0
        after: Cursor | None = None
        while True:
            chunk = self._engine.scan(
                segment_range(number), after, ENTRIES_AT_ONCE, BYTES_AT_ONCE, with_values=False
            )
            timestamps = [entry.version.timestamp for _, entry in chunk.entries]
            ahead = [timestamp for timestamp in timestamps if timestamp > furthest]
            if ahead:
                earliest = min(ahead) if not keys else min(earliest, *ahead)
                keys += len(ahead)
            if chunk.next is None:
                return _Counted(digest, keys, earliest, at_s)
            after = chunk.next
            await asyncio.sleep(PAUSE_S)
