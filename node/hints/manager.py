"""The loops of hinted handoff: replay to members that are up, discarding for members that were removed, and expiry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...identity import Identity
from ..epoch.epochs import Epochs
from ..members.members import Members
from ..runtime import Runtime
from .dispatcher import BATCH_BYTES, BATCH_HINTS, HintDispatcher
from .writer import HintWriter

SWEEPS_PER_AGE = 16
"""Number of searches for expired hints within ``max_age_s``."""


class HintManager:
    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        members: Members,
        writer: HintWriter,
        dispatcher: HintDispatcher,
        on_change: Callable[[], None],
        interval_s: float,
    ) -> None:
        """Call ``on_change`` when ``waiting()`` becomes 0 or stops being 0."""
        self.writer = writer
        """Keeps the writes that a coordinator reports as missed."""
        self._store = writer.store
        self._dispatcher = dispatcher
        self._epochs = epochs
        self._members = members
        self._on_change = on_change
        self._tasks = runtime.tasks
        self._interval_s = interval_s
        self._replaying: set[Identity] = set()
        self._published = False

    def waiting(self) -> int:
        """Return the number of hints for destinations that are up."""
        return sum(
            self._store.stored(to).hints for to in self._store.destinations() if not self._members.is_down(to)
        )

    async def run(self) -> None:
        """Replay or discard the hints of each destination, until cancelled."""
        self._report_unreadable()
        while True:
            for to in self._store.destinations():
                self._check(to)
            if bool(self.waiting()) != self._published:
                self._published = not self._published
                self._on_change()
            self.writer.log.flush()
            await asyncio.sleep(self._interval_s)

    def _report_unreadable(self) -> None:
        """Report all owners as stale if the disk did not return their hints when the node started."""
        epoch = self._epochs.current
        if self._store.unreadable and epoch is not None:
            for to in dict.fromkeys(owner for spec in epoch.record.live_rings for owner in spec.owners):
                self.writer.drop_all(to, self._store.unreadable)

    def _check(self, to: Identity) -> None:
        """Begin a replay to ``to`` if it is up, or discard its hints if it was removed."""
        epoch = self._epochs.current
        if epoch is None or to in self._replaying:
            return
        if not any(to in spec.owners for spec in epoch.record.live_rings):
            self.writer.discard_all(to)
        elif not self._members.is_down(to) and self._tasks.spawn(self._replay(to)):
            self._replaying.add(to)

    async def _replay(self, to: Identity) -> None:
        try:
            with self.writer.surviving_damage(to):
                await self._dispatcher.replay(to)
        finally:
            self._replaying.discard(to)


class HintExpiry:
    def __init__(self, runtime: Runtime, writer: HintWriter, max_age_s: float) -> None:
        self._writer = writer
        self._store = writer.store
        self._clock = runtime.clock
        self._max_age_s = max_age_s

    async def run(self) -> None:
        """Drop hints that are older than the maximum age, until cancelled."""
        while True:
            await asyncio.sleep(self._max_age_s / SWEEPS_PER_AGE)
            limit_ms = self._clock.wall_ms() - self._max_age_s * 1000
            for to in self._store.destinations():
                if self._store.stored(to).oldest_ms < limit_ms:
                    with self._writer.surviving_damage(to):
                        await self._expire(to, limit_ms)

    async def _expire(self, to: Identity, limit_ms: float) -> None:
        oldest_ms, after = self._clock.wall_ms(), None
        while True:
            page = self._store.page(to, after, BATCH_HINTS, BATCH_BYTES)
            self._writer.drop_damaged(to, page.damaged)
            self._writer.expire([hint for hint in page.hints if hint.wall_ms < limit_ms])
            oldest_ms = min([oldest_ms, *(hint.wall_ms for hint in page.hints if hint.wall_ms >= limit_ms)])
            if page.next is None:
                break
            after = page.next
            await asyncio.sleep(0)
        self._store.note_oldest(to, oldest_ms)
