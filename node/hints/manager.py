"""Hints as a whole: kept while replicas miss writes, brought to them soon after they are up again, discarded when
their destination is no replica any more, dropped when they grow too old.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from ...identity import Identity
from ..config.config import Config
from ..epoch.fenced_client import DataPlane
from ..errors import Corruption, StorageFailed
from ..members.members import Members
from ..runtime import Runtime
from ..throttle import Throttle
from .dispatcher import BATCH_BYTES, BATCH_HINTS, HintDispatcher
from .hint_log import HintEvents
from .store import HintStore, Page
from .writer import HintWriter

SWEEPS_PER_AGE = 16
"""How often, while a hint grows old, those that have are looked for."""


@dataclass(frozen=True, slots=True)
class HintSettings:
    max_bytes: int
    """Bound on what is kept for one destination."""
    max_age_s: float
    rate: float
    """Bytes a second that are sent, at most."""
    interval_s: float
    """Between two rounds over the destinations."""

    @classmethod
    def of(cls, config: Config) -> HintSettings:
        return cls(
            max_bytes=config.hint_max_bytes,
            max_age_s=config.hint_max_age,
            rate=config.hint_rate,
            interval_s=config.heartbeat_interval / 2,
        )


class HintManager:
    """Owns the loops. ``writer`` takes the writes that coordinators' replicas missed."""

    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        settings: HintSettings,
        lacks: Callable[[Identity], None],
        on_change: Callable[[], None],
    ) -> None:
        """Take ``lacks``, called with a member that will not get a hint which it needs.

        ``on_change`` is called when ``waiting`` becomes 0 or is 0 no longer.
        """
        self._clock = runtime.clock
        self._tasks = runtime.tasks
        self._log = HintEvents(runtime.clock, runtime.log)
        self._epochs = data.epochs
        self._members = members
        self._on_change = on_change
        self._interval_s = settings.interval_s
        self._max_age_s = settings.max_age_s
        self._store = HintStore(data.engine, settings.max_bytes)
        self.writer = HintWriter(me=runtime.me.identity, store=self._store, lacks=lacks, log=self._log)
        self._dispatcher = HintDispatcher(
            runtime,
            data,
            members,
            store=self._store,
            writer=self.writer,
            throttle=Throttle(runtime.clock, settings.rate),
            log=self._log,
        )
        self._busy: set[Identity] = set()
        self._published = False

    def waiting(self) -> int:
        """Hints kept for destinations that are up."""
        return sum(
            self._store.kept(to).hints for to in self._store.destinations() if not self._members.is_down(to)
        )

    async def run(self) -> None:
        """See to every destination, again and again, until cancelled."""
        self._tasks.spawn(self._expire())
        self._report_lost()
        while True:
            for to in self._store.destinations():
                self._see_to(to)
            if bool(self.waiting()) != self._published:
                self._published = not self._published
                self._on_change()
            self._log.catch_up()
            await asyncio.sleep(self._interval_s)

    def _report_lost(self) -> None:
        """Any owner may be one whose hints the disk did not give back when the node started."""
        epoch = self._epochs.current
        if self._store.unreadable and epoch is not None:
            for to in dict.fromkeys(owner for spec in epoch.record.live_rings for owner in spec.owners):
                self.writer.lost(to, self._store.unreadable)

    def _see_to(self, to: Identity) -> None:
        epoch = self._epochs.current
        if epoch is None or to in self._busy:
            return
        if not any(to in spec.owners for spec in epoch.record.live_rings):
            self.writer.discard_all(to)
        elif not self._members.is_down(to) and self._tasks.spawn(self._bring(to)):
            self._busy.add(to)

    async def _bring(self, to: Identity) -> None:
        try:
            await self._spared(to, self._dispatcher.run(to))
        finally:
            self._busy.discard(to)

    async def _spared(self, to: Identity, work: Awaitable[None]) -> None:
        """Await the work; what the disk has lost of hints, the node can do without."""
        try:
            await work
        except Corruption as damage:
            self.writer.lost(to, str(damage))
        except StorageFailed:
            return  # the engine has told its owner, and the node ends

    async def _expire(self) -> None:
        """Drop what has grown too old, until cancelled."""
        while True:
            await asyncio.sleep(self._max_age_s / SWEEPS_PER_AGE)
            now_ms = self._clock.wall_ms()
            for to in self._store.destinations():
                if self._store.kept(to).oldest_ms < now_ms - self._max_age_s * 1000:
                    await self._spared(to, self._expire_of(to, now_ms))

    async def _expire_of(self, to: Identity, now_ms: int) -> None:
        limit_ms = now_ms - self._max_age_s * 1000
        oldest_ms = now_ms
        async for page in self._pages(to):
            self.writer.expire([hint for hint in page.hints if hint.wall_ms < limit_ms])
            young = (hint.wall_ms for hint in page.hints if hint.wall_ms >= limit_ms)
            oldest_ms = min(oldest_ms, min(young, default=now_ms))
        self._store.none_before(to, oldest_ms)

    async def _pages(self, to: Identity) -> AsyncIterator[Page]:
        """All hints for a destination, bit by bit, so that nobody else has to wait long; damaged ones go."""
        after = None
        while True:
            page = self._store.page(to, after, BATCH_HINTS, BATCH_BYTES)
            self.writer.discard_damaged(to, page.damaged)
            yield page
            if page.next is None:
                return
            after = page.next
            await asyncio.sleep(0)
