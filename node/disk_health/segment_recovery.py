"""Recovers segments in quarantine by replacing all their entries with those of other replicas.

Invariants (docs/ring-changes.md, rule 17)
- A segment is recovered under a later epoch than the one in which its damage was found. Until then a write that this
  node acknowledged may still be in flight, and be completed by a replica that has already sent its entries. Under a
  later epoch that acknowledgement no longer counts, and the other replicas' acknowledgements are in what they send.
- For each range of the segment that this node replicates, r other replicas must send all their entries, at this node's
  own stable epoch. Among them they have every acknowledged write: it is on w replicas, at most one of which is this
  node. Where there are fewer than r others, all of them must send theirs.
- Where a write may have been acknowledged by this node only (w is 1), the others cannot replace it. Such a segment
  stays in quarantine, since the others' entries could miss an acknowledged write.
- The epoch is checked again in the same step that replaces the old entries by the new.
- Entries of the segment that this node does not replicate are dropped with it.
- While the disk has damage that only a restart removes, nothing is recovered: it would be found damaged again.
- A recovered segment is reported only once it is on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...identity import Identity
from ...ring.ring import Ring
from ...ring.tokens import TokenRange
from ..epoch.epochs import Epoch
from ..epoch.fenced_client import DataPlane
from ..errors import DiskFull, PeerError
from ..events import Event
from ..members.members import Members
from ..messages.data import Scan, ScanPurpose
from ..runtime import Runtime
from ..storage.interface import Cursor, Entry
from ..storage.segments import common, segment_range
from ..tasks import wait_at_most
from ..throttle import Throttle

CHUNK_ENTRIES = 1024
CHUNK_BYTES = 1 << 20
RETRY_BACKOFF_S = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class ReplicatedRange:
    """A range within a segment whose keys all have one preference list, which contains this node."""

    token_range: TokenRange
    sources: tuple[Identity, ...]
    """The other replicas."""
    needed: int
    """The number of sources that must send all their entries."""


def replicated_ranges(ring: Ring, me: Identity, segment: int) -> list[ReplicatedRange]:
    """Return the ranges of a segment that ``me`` replicates, in token order."""
    ranges = []
    for found in ring.ranges():
        if me in found.preference_list:
            sources = tuple(other for other in found.preference_list if other != me)
            needed = min(ring.r, len(sources)) if ring.w > 1 else len(sources) + 1
            common_ranges = common(found.token_range, segment_range(segment))
            ranges += [ReplicatedRange(token_range, sources, needed) for token_range in common_ranges]
    return sorted(ranges, key=lambda found: found.token_range)


class SegmentRecovery:
    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        throttle: Throttle,
        on_change: Callable[[], None],
    ) -> None:
        """Take ``on_change``, which is called once a change of the set of segments in quarantine is on disk."""
        self._me = runtime.me.identity
        self._peers = data.peers
        self._epochs = data.epochs
        self._engine = data.engine
        self._members = members
        self._on_change = on_change
        self._throttle = throttle
        self._rng = runtime.rng
        self._log = runtime.log
        self._found_under = dict.fromkeys(data.engine.quarantined(), data.epochs.number)
        """For each segment, the number of the epoch in which it was last found damaged, or of a later epoch."""
        self._wakeup = asyncio.Event()
        data.engine.watch_quarantine(self._on_quarantine)

    def on_epoch(self, epoch: Epoch) -> None:
        self._wakeup.set()

    def floor_wanted(self) -> int:
        """Return the floor to request; 0 if no segment waits for a later epoch, which raising the floor creates."""
        epoch = self._epochs.current
        if epoch is None or all(self._found_under[n] < epoch.number for n in self._engine.quarantined()):
            return 0
        return epoch.record.floor + 1

    def _on_quarantine(self, segments: tuple[int, ...], reason: str) -> None:
        for segment in segments:
            self._found_under[segment] = self._epochs.number
            self._log.emit(Event.SEGMENT_QUARANTINED, segment=segment, reason=reason)
        self._wakeup.set()

    async def run(self) -> None:
        """Recover the segments in quarantine, until cancelled."""
        min_s, max_s = RETRY_BACKOFF_S
        pause_s = min_s
        while True:
            while not self._engine.quarantined():
                await self._wakeup.wait()
                self._wakeup.clear()
                pause_s = min_s
            self._wakeup.clear()
            await self._engine.durable(always=True)
            self._on_change()
            if await self._recover_all():
                pause_s = min_s
            elif self._engine.quarantined():
                await wait_at_most(pause_s * (0.5 + self._rng.random()), self._wakeup)
                pause_s = min(max_s, 2 * pause_s)

    async def _recover_all(self) -> int:
        """Recover the segments for which this is possible now; return their number."""
        if self._engine.needs_restart():
            return 0
        recovered = 0
        for segment in self._engine.quarantined():
            epoch = self._epochs.current
            if epoch is None or epoch.record.changing:
                return recovered
            if self._found_under[segment] < epoch.number:
                recovered += await self._recover(epoch, segment)
        return recovered

    async def _recover(self, epoch: Epoch, segment: int) -> bool:
        began_s = asyncio.get_running_loop().time()
        entries: dict[bytes, Entry] = {}
        for replicated in replicated_ranges(epoch.rings[0], self._me, segment):
            if not await self._fetch(epoch, replicated, entries):
                return False
        await self._epochs.settled()
        if self._epochs.stamp != epoch.stamp or segment not in self._engine.quarantined():
            return False
        try:
            self._engine.replace([segment_range(segment)], list(entries.items()))
        except DiskFull:
            return False
        await self._engine.durable(always=True)
        after_s = round(asyncio.get_running_loop().time() - began_s, 3)
        self._log.emit(Event.SEGMENT_HEALED, segment=segment, entries=len(entries), after_s=after_s)
        self._on_change()
        return True

    async def _fetch(self, epoch: Epoch, replicated: ReplicatedRange, entries: dict[bytes, Entry]) -> bool:
        """Add the entries of a range from as many sources as needed. Return False if too few sources send them now."""
        complete = 0
        for source in self._ordered(replicated.sources):
            if complete == replicated.needed:
                break
            try:
                await self._fetch_from(source, epoch, replicated.token_range, entries)
                complete += 1
            except PeerError:
                continue  # another source may be enough; if not, the segment is retried
        return complete == replicated.needed

    def _ordered(self, sources: Sequence[Identity]) -> list[Identity]:
        """Return the sources in random order, with those that are down last."""
        return sorted(self._rng.sample(sources, len(sources)), key=self._members.is_down)

    async def _fetch_from(
        self, source: Identity, epoch: Epoch, token_range: TokenRange, entries: dict[bytes, Entry]
    ) -> None:
        """Add all entries of a range that ``source`` holds, except where ``entries`` has a newer one."""
        after: Cursor | None = None
        while True:
            scan = Scan(
                epoch=epoch.stamp,
                purpose=ScanPurpose.PULL,
                span=token_range,
                after=after,
                max_entries=CHUNK_ENTRIES,
                max_bytes=CHUNK_BYTES,
            )
            chunk = await self._peers.fetch_chunk(source, scan)
            for key, entry in chunk.entries:
                if key not in entries or entry.version > entries[key].version:
                    entries[key] = entry
            await self._throttle.spent(chunk.size_bytes)
            if chunk.next is None:
                return
            after = chunk.next
