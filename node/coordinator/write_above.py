"""Writes a key that stands ahead of all clocks, because it was written while clocks were wrong.

The write has met such a version on a quorum, and its first version is lower. It gets a second version, right above
the one that stands, for this key alone; no clock follows.

Why this orders no write twice: the second version is drawn only once every replica that was sent the first one has
answered, and each of them held something newer when it came. Then the first version stood nowhere, not for a moment:
no read can have returned it, nothing was ordered after it, no replica can pass it on, and there is no hint of it. The
write has happened under its second version only, or not at all.

Where a replica has taken the first version, since it lacked what stands, or has not said, a read may have returned it,
and another client's write may have followed it. Repeated above that write, the first one would undo it. So it ends as
one that may have happened. Its coordinator knows the key from then on, and draws the next write of it above what stands
at once, so that it succeeds whatever single replicas lack.

The order of writes is kept as anywhere else: one that was acknowledged stands on a quorum, so whichever coordinator
writes the key next meets it and goes above it.
"""

from __future__ import annotations

import asyncio

from ...quorum.version import Version
from ..errors import OperationError, OperationTimeout, Unavailable
from ..messages.data import Merge
from ..operations import WriteResult
from ..storage.interface import Entry
from .exposure import Exposure
from .slow_write import SlowWrite
from .version_source import VersionSource


class WriteAbove:
    """Writes a key ahead; ``exposure`` is that of the first version, ``second`` carries the second one with another."""

    def __init__(
        self,
        versions: VersionSource,
        exposure: Exposure,
        second: SlowWrite,
        deadline_s: float,
    ) -> None:
        self._versions = versions
        self._exposure = exposure
        self._second = second
        self._deadline_s = deadline_s
        self._drawn = False

    async def run(self, first: Merge, stands: Version) -> WriteResult:
        """Complete the write. Raise Unavailable when certainly not done, OperationTimeout when it may have happened."""
        self._versions.note_ahead(first.key, stands)
        await self._answered()
        if self._exposure.maybe_read:
            raise self.failure(
                "the key holds a version ahead of all clocks, which a replica lacks or does not answer about; "
                "write again"
            )
        version = self._versions.draw_above(first.key, stands)
        self._drawn = True
        return await self._second.run(Merge(first.key, Entry(version, first.entry.value), first.kind))

    def failure(self, why: str) -> OperationError:
        """Return the error with which the write ends when it ends now."""
        if self._drawn:
            return self._second.failure(why)
        if self._exposure.maybe_read:
            return OperationTimeout(f"the write may have happened: {why}", maybe_applied=True)
        return Unavailable(f"the write was not done: {why}")

    async def _answered(self) -> None:
        """Wait until all replicas that were sent the first version have answered, or the time is up."""
        if not self._exposure.unanswered:
            return
        answered = asyncio.Event()
        self._exposure.on_answered = answered.set
        loop = asyncio.get_running_loop()
        timer = loop.call_at(self._deadline_s, answered.set)
        try:
            await answered.wait()
        finally:
            timer.cancel()
