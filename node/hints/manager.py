"""Hints as a whole: kept while replicas miss writes, brought to them soon after they are up again, discarded when
their destination is no replica any more, dropped when they grow too old.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from ...identity import Identity
from ..epoch.epochs import Epochs
from ..errors import Corruption, StorageFailed
from ..ports import Clock
from ..tasks import Tasks
from .dispatcher import BATCH_BYTES, BATCH_HINTS, HintDispatcher
from .hint_log import HintEvents
from .store import HintStore, Page
from .writer import HintWriter

SWEEPS_PER_AGE = 16
"""How often, while a hint grows old, those that have are looked for."""


class HintManager:
    """Owns the loops. ``keeping`` is what a coordinator gives missed writes to."""

    def __init__(
        self,
        store: HintStore,
        keeping: HintWriter,
        replay: HintDispatcher,
        epochs: Epochs,
        is_down: Callable[[Identity], bool],
        tell: Callable[[], None],
        clock: Clock,
        tasks: Tasks,
        log: HintEvents,
        *,
        interval_s: float,
        max_age_s: float,
    ) -> None:
        """``tell`` is called when ``waiting`` becomes something or nothing; ``interval_s``: how often it looks."""
        self.keeping = keeping
        self._store = store
        self._replay = replay
        self._epochs = epochs
        self._is_down = is_down
        self._tell = tell
        self._clock = clock
        self._tasks = tasks
        self._log = log
        self._interval_s = interval_s
        self._max_age_s = max_age_s
        self._busy: set[Identity] = set()
        self._told = False

    def waiting(self) -> int:
        """Hints kept for destinations that are up."""
        return sum(self._store.kept(to).hints for to in self._store.destinations() if not self._is_down(to))

    async def run(self) -> None:
        """See to every destination, again and again, until cancelled."""
        self._tasks.spawn(self._expire())
        self._mourn()
        while True:
            for to in self._store.destinations():
                self._see_to(to)
            if bool(self.waiting()) != self._told:
                self._told = not self._told
                self._tell()
            self._log.catch_up()
            await asyncio.sleep(self._interval_s)

    def _mourn(self) -> None:
        """Any owner may be one whose hints the disk did not give back when the node started."""
        epoch = self._epochs.current
        if self._store.unreadable and epoch is not None:
            for to in dict.fromkeys(owner for spec in epoch.record.live_rings for owner in spec.owners):
                self.keeping.lost(to, self._store.unreadable)

    def _see_to(self, to: Identity) -> None:
        epoch = self._epochs.current
        if epoch is None or to in self._busy:
            return
        if not any(to in spec.owners for spec in epoch.record.live_rings):
            self.keeping.discard_all(to)
        elif not self._is_down(to) and self._tasks.spawn(self._bring(to)):
            self._busy.add(to)

    async def _bring(self, to: Identity) -> None:
        try:
            await self._spared(to, self._replay.run(to))
        finally:
            self._busy.discard(to)

    async def _spared(self, to: Identity, work: Awaitable[None]) -> None:
        """Await the work; what the disk has lost of hints, the node can do without."""
        try:
            await work
        except Corruption as damage:
            self.keeping.lost(to, str(damage))
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
            self.keeping.expire([hint for hint in page.hints if hint.wall_ms < limit_ms])
            young = (hint.wall_ms for hint in page.hints if hint.wall_ms >= limit_ms)
            oldest_ms = min(oldest_ms, min(young, default=now_ms))
        self._store.none_before(to, oldest_ms)

    async def _pages(self, to: Identity) -> AsyncIterator[Page]:
        """All hints for a destination, bit by bit, so that nobody else has to wait long; damaged ones go."""
        after = None
        while True:
            page = self._store.page(to, after, BATCH_HINTS, BATCH_BYTES)
            self.keeping.discard_damaged(to, page.damaged)
            yield page
            if page.next is None:
                return
            after = page.next
            await asyncio.sleep(0)
