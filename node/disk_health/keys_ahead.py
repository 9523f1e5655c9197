"""Counts the keys of this node whose versions are ahead of all clocks, for ``covey status --json``.

A clock follows timestamps up to ``max_followed``; a version with a higher timestamp is ahead of it. The engine knows
the highest timestamp that it ever merged: while clocks follow that timestamp, there are no such keys and nothing is
read. Otherwise each segment is read once, slowly, and again only when its digest has changed or when clocks may have
reached some of its versions. So the count falls to 0 even without further writes.
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

PAGE_ENTRIES = 256
PAGE_BYTES = 1 << 20
PAUSE_S = 0.01
"""Pause between two reads, so that reading takes at most a twentieth of the event loop's time."""
GROUP_SEGMENTS = 64
"""Number of segments whose combined digest is compared before those of single segments."""


@dataclass(frozen=True, slots=True)
class _SegmentCount:
    digest: int
    keys: int
    earliest: int
    """The lowest timestamp of the keys counted."""
    counted_at: float


_EMPTY = _SegmentCount(digest=0, keys=0, earliest=0, counted_at=0.0)
"""The count of an empty segment."""


class KeysAhead:
    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        max_followed: Callable[[], int],
        on_change: Callable[[], None],
        interval_s: float,
        recount_s: float = 60.0,
    ) -> None:
        """Take ``max_followed``, which returns the highest timestamp that clocks follow.

        ``on_change`` is called when the count has changed. A key is counted for up to ``recount_s`` after clocks have
        reached its version.
        """
        self._engine = engine
        self._clock = clock
        self._max_followed = max_followed
        self._on_change = on_change
        self._interval_s = interval_s
        self._recount_s = recount_s
        self._segments: dict[int, _SegmentCount] = {}
        self._group_digests: dict[int, int] = {}
        """Digest under which each group of segments was last counted, by its first segment."""
        self.count = 0
        """Number of keys ahead, tombstones included."""

    async def run(self) -> None:
        """Count until cancelled, or until the engine has failed."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._recount()
            except StorageFailed:
                return  # the engine has reported it, and the node stops

    async def _recount(self) -> None:
        if self._engine.latest_timestamp() <= self._max_followed():
            self._segments.clear()
            self._group_digests.clear()
            self._publish()
            return
        for first in range(0, SEGMENTS, GROUP_SEGMENTS):
            await self._recount_group(range(first, first + GROUP_SEGMENTS))
            self._publish()

    def _publish(self) -> None:
        count = sum(counted.keys for counted in self._segments.values())
        if count != self.count:
            self.count = count
            self._on_change()

    async def _recount_group(self, segments: range) -> None:
        try:
            token_range = TokenRange(segment_range(segments[0]).after, segment_range(segments[-1]).upto)
            (digest,) = self._engine.digests([token_range])
            unchanged = digest == self._group_digests.get(segments[0], 0)
            if unchanged and not any(map(self._is_outdated, segments)):
                return
            self._group_digests[segments[0]] = digest
        except Corruption:
            pass  # the damaged segments of the group are found below
        for segment in segments:
            try:
                (digest,) = self._engine.digests([segment_range(segment)])
                if digest != self._segments.get(segment, _EMPTY).digest or self._is_outdated(segment):
                    self._segments[segment] = await self._counted(segment, digest)
            except Corruption:
                self._segments.pop(segment, None)  # unknown until it is recovered
        await asyncio.sleep(0)

    def _is_outdated(self, segment: int) -> bool:
        """Return whether clocks have reached a counted version, and the count is at least ``recount_s`` old."""
        counted = self._segments.get(segment, _EMPTY)
        if not counted.keys or counted.earliest > self._max_followed():
            return False
        return self._clock.monotonic() - counted.counted_at >= self._recount_s

    async def _counted(self, segment: int, digest: int) -> _SegmentCount:
        counted_at, max_followed = self._clock.monotonic(), self._max_followed()
        keys = earliest = 0
        after: Cursor | None = None
        while True:
            chunk = self._engine.scan(
                segment_range(segment), after, PAGE_ENTRIES, PAGE_BYTES, with_values=False
            )
            timestamps = [entry.version.timestamp for _, entry in chunk.entries]
            ahead = [timestamp for timestamp in timestamps if timestamp > max_followed]
            if ahead:
                earliest = min(ahead) if not keys else min(earliest, *ahead)
                keys += len(ahead)
            if chunk.next is None:
                return _SegmentCount(digest=digest, keys=keys, earliest=earliest, counted_at=counted_at)
            after = chunk.next
            await asyncio.sleep(PAUSE_S)
