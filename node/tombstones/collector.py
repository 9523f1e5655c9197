"""Collecting tombstones: confirm on all replicas, wait for the floor, purge (rules 11 to 13 of the epoch rules).

The node that stands first in a range's list drives it. Under a stable epoch it asks all replicas of the range
for what is older than ``tombstone_age``; what all of them hold, on disk, it keeps in mind (``confirmed``) and
tells, by gossip, which floor that waits for. Once the steward has had the floor raised, under any later epoch,
it has the tombstones purged on all replicas of the then current lists.

Age only says when to begin. A replica that is away is waited for, in both steps: what was purged without it, it
would bring back as a tombstone, to be collected again. Evicting it lets the collection go on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...identity import Identity
from ...quorum.version import timestamp_at
from ...ring.ring import PreferenceList
from ...ring.span import TokenRange
from ..config.config import Config
from ..epoch.epochs import Epoch, Epochs
from ..epoch.fenced_client import FencedClient
from ..errors import Corruption, PeerError
from ..events import Event, EventLog
from ..messages.envelope import EpochMismatch
from ..messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply, Tombstone
from ..ports import Clock
from ..storage.interface import Cursor, Engine, TombstonePage
from .confirmed import ConfirmedTombstones, by_replicas, held_by_all
from .replica import TombstoneReplica

Q = TypeVar("Q", Confirm, Purge)
R = TypeVar("R", ConfirmReply, PurgeReply)

BATCH = 256
"""Tombstones asked about at once: some 10 KB, and with the longest keys that can be configured 16 MB."""
PAUSE_S = 0.02
"""Between two batches, so that clients keep their share of the machine."""
SHARE = 0.1
"""Of the time, that looking for tombstones takes at most."""
LONGEST_INTERVAL_S = 60.0
SPREAD_S = 1.0
"""How long an epoch has to reach the others before purging begins under it."""


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    age_s: float
    interval_s: float
    """Between two looks for tombstones that are old enough."""
    rpc_timeout_s: float

    @classmethod
    def of(cls, config: Config) -> CollectionSettings:
        """A tenth of the age is little beside it, and a minute is often enough."""
        interval_s = min(config.tombstone_age / 10, LONGEST_INTERVAL_S)
        return cls(config.tombstone_age, interval_s, config.rpc_timeout)


class TombstoneCollector:
    """``behind`` is told of peers that lack a tombstone of this node's."""

    def __init__(
        self,
        epochs: Epochs,
        engine: Engine,
        peers: FencedClient,
        is_down: Callable[[Identity], bool],
        behind: Callable[[Identity], None],
        clock: Clock,
        rng: random.Random,
        settings: CollectionSettings,
        log: EventLog,
    ) -> None:
        self._me = peers.me
        self._epochs = epochs
        self._engine = engine
        self.replica = TombstoneReplica(engine, epochs)
        self._peers = peers
        self._is_down = is_down
        self._behind = behind
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._log = log
        self._confirmed = ConfirmedTombstones()
        self._awaited: set[str] = set()
        self._moved_on = asyncio.Event()
        epochs.observe(lambda epoch: self._moved_on.set())
        self.floor_wanted = 0
        """The floor that confirmed tombstones wait for; 0 for none."""
        self.waiting = ""
        """Whom tombstones wait for that could be collected otherwise, for people; empty for nobody."""

    async def run(self) -> None:
        """Collect until cancelled: look for more now and then, and purge whenever the epoch has moved on."""
        look_at = self._clock.monotonic() + self._jittered(self._settings.interval_s)
        while True:
            await self._epoch_or(look_at)
            looks = self._clock.monotonic() >= look_at
            began = self._clock.monotonic()
            if (epoch := self._epochs.current) is not None:
                await self._collect(epoch, looks)
            if looks:
                took_s = self._clock.monotonic() - began
                look_at = began + self._jittered(max(self._settings.interval_s, took_s / SHARE))

    def _jittered(self, interval_s: float) -> float:
        return interval_s * (0.75 + self._rng.random() / 2)

    async def _epoch_or(self, look_at: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, look_at - self._clock.monotonic())):
                await self._moved_on.wait()
                await asyncio.sleep(self._jittered(SPREAD_S))
        except TimeoutError:
            pass  # time to look
        self._moved_on.clear()

    async def _collect(self, epoch: Epoch, looks: bool) -> None:
        self._awaited = set()
        await self._purge_all(epoch)
        if looks and not epoch.record.changing:
            await self._confirm_all(epoch)
            self._say_waiting()
        self.floor_wanted = self._confirmed.floor_wanted(epoch.number, epoch.record.floor)

    def _say_waiting(self) -> None:
        waiting = ", ".join(sorted(self._awaited))
        if waiting and waiting != self.waiting:
            self._log.emit(
                Event.TOMBSTONES_WAITING,
                reason=f"a tombstone stays until all its replicas have it: {waiting}",
            )
        self.waiting = waiting

    # --- confirming ---

    async def _confirm_all(self, epoch: Epoch) -> None:
        up_to = timestamp_at(self._clock.wall_ms() - int(self._settings.age_s * 1000))
        before = len(self._confirmed)
        for replicas, spans in epoch.rings[0].led_by(self._me).items():
            for span in spans:
                await self._confirm_span(epoch, replicas, span, up_to)
        if (keys := len(self._confirmed) - before) > 0:
            self._log.emit(Event.TOMBSTONES_CONFIRMED, epoch=epoch.number, keys=keys)

    async def _confirm_span(
        self, epoch: Epoch, replicas: PreferenceList, span: TokenRange, up_to: int
    ) -> None:
        after: Cursor | None = None
        while self._epochs.stamp == epoch.stamp and not self._confirmed.full:
            if (page := self._page(span, after, up_to)) is None:
                return
            if asked := self._confirmed.lacking(page.entries):
                if self._someone_is_away(replicas):
                    return
                await self._confirm(epoch, replicas, asked)
            if page.next is None:
                return
            after = page.next
            await asyncio.sleep(PAUSE_S)

    def _page(self, span: TokenRange, after: Cursor | None, up_to: int) -> TombstonePage | None:
        try:
            return self._engine.tombstones(span, after, up_to, BATCH)
        except Corruption:
            self._awaited.add(f"{self._me.name} is damaged there")
            return None

    async def _confirm(self, epoch: Epoch, replicas: PreferenceList, asked: Sequence[Tombstone]) -> None:
        request = Confirm(epoch.stamp, tuple(asked))
        replies = await self._ask_all(replicas, request, ConfirmReply, self.replica.confirm)
        if replies is None or self._epochs.stamp != epoch.stamp:
            return
        answers = [reply.confirmed for reply in replies]
        if any(len(answer) != len(asked) for answer in answers):
            return
        self._confirmed.add(held_by_all(asked, answers), epoch.number)
        for replica, answer in zip(replicas, answers, strict=True):
            if not all(answer) and replica != self._me:
                self._behind(replica)

    # --- purging ---

    async def _purge_all(self, epoch: Epoch) -> None:
        purged = 0
        for part in self._confirmed.purgeable(epoch.number, epoch.record.floor, BATCH):
            for confirmed_epoch, tombstones in part.items():
                for replicas, batch in by_replicas(epoch.rings, tombstones).items():
                    purged += await self._purge(epoch, confirmed_epoch, replicas, batch)
            await asyncio.sleep(PAUSE_S if part else 0)
        if purged:
            self._log.emit(Event.TOMBSTONES_PURGED, epoch=epoch.number, keys=purged)

    async def _purge(
        self, epoch: Epoch, confirmed_epoch: int, replicas: PreferenceList, batch: Sequence[Tombstone]
    ) -> int:
        """Purge a batch everywhere; what not all have purged is tried again. Returns how many are done with."""
        if self._epochs.stamp != epoch.stamp or self._someone_is_away(replicas):
            return 0
        request = Purge(epoch.stamp, confirmed_epoch, tuple(batch))
        if await self._ask_all(replicas, request, PurgeReply, self.replica.purge) is None:
            return 0
        self._confirmed.forget(batch)
        return len(batch)

    # --- asking ---

    def _someone_is_away(self, replicas: PreferenceList) -> bool:
        away = [replica.name for replica in replicas if replica != self._me and self._is_down(replica)]
        self._awaited.update(f"{name} is away" for name in away)
        return bool(away)

    async def _ask_all(
        self,
        replicas: PreferenceList,
        request: Q,
        expect: type[R],
        ask_myself: Callable[[Q], Awaitable[R | EpochMismatch]],
    ) -> list[R] | None:
        """The replies of all, in order; None unless each gave one under the epoch that was asked under."""

        async def ask(replica: Identity) -> R | EpochMismatch | None:
            if replica == self._me:
                return await ask_myself(request)
            try:
                return await self._peers.call(replica, request, expect, self._settings.rpc_timeout_s)
            except PeerError:
                self._awaited.add(f"{replica.name} does not answer")
                return None

        replies = await asyncio.gather(*map(ask, replicas))
        given = [reply for reply in replies if isinstance(reply, expect) and reply.epoch == request.epoch]
        return given if len(given) == len(replicas) else None
