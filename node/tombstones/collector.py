"""Collection of tombstones (docs/ring-changes.md, rules 11 to 13).

The first node of a range's list drives the collection, in three steps:
1. Confirm. Under a stable epoch, it asks all replicas of the range about tombstones older than ``tombstone_age``. It
   remembers the tombstones that all replicas hold on disk (``confirmed``).
2. Wait for the floor. Gossip spreads the floor that confirmed tombstones need, and the steward has it raised.
3. Purge. Under any later epoch, it has the tombstones purged on all replicas of the current lists.

Age only determines when collection begins. The first and third steps wait for a replica that is away. If they did not,
the replica would bring back the tombstone, which would have to be collected again. Evicting the replica ends the wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ...identity import Identity
from ...quorum.version import timestamp_at
from ...ring.ring import PreferenceList
from ...ring.tokens import TokenRange
from ..epoch.epochs import Epoch
from ..epoch.fenced_client import DataPlane
from ..errors import Corruption, PeerError
from ..events import Event
from ..members.members import Members
from ..messages.envelope import EpochMismatch
from ..messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply, Tombstone
from ..runtime import Runtime
from ..storage.interface import Cursor
from .confirmed import ConfirmedTombstones, by_replicas, held_by_all
from .replica import TombstoneReplica

Q = TypeVar("Q", Confirm, Purge)
R = TypeVar("R", ConfirmReply, PurgeReply)

BATCH_TOMBSTONES = 256
"""Tombstones in one message: about 10 KB, and 16 MB with the longest keys that can be configured."""
PAUSE_S = 0.02
"""Pause between two batches, so that clients keep their share of the machine."""
MAX_SHARE = 0.1
"""Maximum share of the time that scans for tombstones take."""
SCANS_PER_AGE, MAX_INTERVAL_S = 10, 60.0
"""Scans begin every tenth of ``tombstone_age``, which delays collection only a little, and at least every minute."""
SPREAD_S = 1.0
"""Time for an epoch to reach the other nodes before purging begins under it."""


class TombstoneCollector:
    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        on_stale: Callable[[Identity], None],
        age_s: float,
    ) -> None:
        """Call ``on_stale`` with each replica that lacks a tombstone older than ``age_s``."""
        self._me = runtime.me.identity
        self._data = data
        self._epochs = data.epochs
        self._members = members
        self._on_stale = on_stale
        self._clock = runtime.clock
        self._rng = runtime.rng
        self._age_s = age_s
        self._interval_s = min(age_s / SCANS_PER_AGE, MAX_INTERVAL_S)
        self._log = runtime.log
        self._confirmed = ConfirmedTombstones()
        self._obstacles: set[str] = set()
        self._epoch_passed = asyncio.Event()
        self.replica = TombstoneReplica(data.engine, data.epochs)
        self.floor_wanted = 0
        """The floor that confirmed tombstones wait for; 0 for none."""
        self.waiting = ""
        """The replicas that tombstones wait for, as text for people; empty if they wait for none."""

    def on_epoch(self, epoch: Epoch) -> None:
        self._epoch_passed.set()

    async def run(self) -> None:
        """Scan for tombstones at intervals, and purge after each new epoch, until cancelled."""
        scan_at = self._clock.monotonic() + self._jittered(self._interval_s)
        while True:
            await self._wait(scan_at)
            began_s = self._clock.monotonic()
            scans = began_s >= scan_at
            if (epoch := self._epochs.current) is not None:
                await self._collect(epoch, scans)
            if scans:
                took_s = self._clock.monotonic() - began_s
                scan_at = began_s + self._jittered(max(self._interval_s, took_s / MAX_SHARE))

    def _jittered(self, interval_s: float) -> float:
        return interval_s * (0.75 + self._rng.random() / 2)

    async def _wait(self, scan_at: float) -> None:
        """Return at the time of the next scan, or earlier after a new epoch."""
        try:
            async with asyncio.timeout(max(0.0, scan_at - self._clock.monotonic())):
                await self._epoch_passed.wait()
                await asyncio.sleep(self._jittered(SPREAD_S))
        except TimeoutError:
            pass  # it is time to scan
        self._epoch_passed.clear()

    async def _collect(self, epoch: Epoch, scans: bool) -> None:
        self._obstacles = set()
        await self._purge_all(epoch)
        if scans and not epoch.record.changing:
            await self._confirm_all(epoch)
            waiting = ", ".join(sorted(self._obstacles))
            if waiting and waiting != self.waiting:
                reason = f"a tombstone stays until all its replicas have it: {waiting}"
                self._log.emit(Event.TOMBSTONES_WAITING, reason=reason)
            self.waiting = waiting
        self.floor_wanted = self._confirmed.floor_wanted(epoch.number, epoch.record.floor)

    # --- confirming ---

    async def _confirm_all(self, epoch: Epoch) -> None:
        up_to = timestamp_at(self._clock.wall_ms() - int(self._age_s * 1000))
        before = len(self._confirmed)
        for replicas, ranges in epoch.rings[0].primary_ranges(self._me).items():
            for token_range in ranges:
                await self._confirm_range(epoch, replicas, token_range, up_to)
        if (keys := len(self._confirmed) - before) > 0:
            self._log.emit(Event.TOMBSTONES_CONFIRMED, epoch=epoch.number, keys=keys)

    async def _confirm_range(
        self, epoch: Epoch, replicas: PreferenceList, token_range: TokenRange, up_to: int
    ) -> None:
        after: Cursor | None = None
        while self._epochs.stamp == epoch.stamp and not self._confirmed.full:
            try:
                page = self._data.engine.tombstones(token_range, after, up_to, BATCH_TOMBSTONES)
            except Corruption:
                self._obstacles.add(f"{self._me.name} is damaged there")
                return
            if missing := self._confirmed.missing(page.entries):
                if self._any_away(replicas):
                    return
                await self._confirm(epoch, replicas, missing)
            if page.next is None:
                return
            after = page.next
            await asyncio.sleep(PAUSE_S)

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
                self._on_stale(replica)

    # --- purging ---

    async def _purge_all(self, epoch: Epoch) -> None:
        purged = 0
        for part in self._confirmed.purgeable(epoch.number, epoch.record.floor, BATCH_TOMBSTONES):
            for confirmed_epoch, tombstones in part.items():
                for replicas, batch in by_replicas(epoch.rings, tombstones).items():
                    purged += await self._purge(epoch, confirmed_epoch, replicas, batch)
            await asyncio.sleep(PAUSE_S if part else 0)
        if purged:
            self._log.emit(Event.TOMBSTONES_PURGED, epoch=epoch.number, keys=purged)

    async def _purge(
        self, epoch: Epoch, confirmed_epoch: int, replicas: PreferenceList, batch: Sequence[Tombstone]
    ) -> int:
        """Purge a batch on all replicas. Return its size; 0 when it must be retried."""
        if self._epochs.stamp != epoch.stamp or self._any_away(replicas):
            return 0
        request = Purge(epoch.stamp, confirmed_epoch, tuple(batch))
        if await self._ask_all(replicas, request, PurgeReply, self.replica.purge) is None:
            return 0
        self._confirmed.remove(batch)
        return len(batch)

    # --- requests to all replicas ---

    def _any_away(self, replicas: PreferenceList) -> bool:
        away = [
            replica.name for replica in replicas if replica != self._me and self._members.is_down(replica)
        ]
        self._obstacles.update(f"{name} is away" for name in away)
        return bool(away)

    async def _ask_all(
        self,
        replicas: PreferenceList,
        request: Q,
        expect: type[R],
        ask_self: Callable[[Q], Awaitable[R | EpochMismatch]],
    ) -> list[R] | None:
        """Return the replies of all replicas, in order; None unless all replied under the epoch of the request."""

        async def ask(replica: Identity) -> R | EpochMismatch | None:
            if replica == self._me:
                return await ask_self(request)
            try:
                return await self._data.peers.call(replica, request, expect)
            except PeerError:
                self._obstacles.add(f"{replica.name} does not answer")
                return None

        replies = await asyncio.gather(*map(ask, replicas))
        valid = [reply for reply in replies if isinstance(reply, expect) and reply.epoch == request.epoch]
        return valid if len(valid) == len(replicas) else None
