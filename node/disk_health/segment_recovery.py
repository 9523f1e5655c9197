"""Heals segments in quarantine by replacing them as a whole from other replicas (docs/ring-changes.md, rule 17).

What must hold:
- It happens under a later epoch than the one the damage was found in. Until then a write that this node had
  acknowledged may still be under way, and be completed by a replica that has already given what it holds. Under
  a later epoch that acknowledgement counts no more, and what the others acknowledged is in what they give.
- Of each piece of the segment that this node replicates, r other replicas must have given all they hold, at
  this node's own stable epoch. Together they have every write that was ever acknowledged there: a write is on w
  replicas, at most one of which is this node. Where there are fewer than r others, all of them must have.
- Where a write may have been acknowledged by this node alone (w is 1), no one else can make up for it: such a
  segment stays in quarantine, since an answer from the others could miss an acknowledged write.
- The epoch is checked again in the very step that puts the new entries in the place of all the old ones.
- What this node does not replicate of the segment is dropped with it.
- While the disk has damage that only a restart removes, nothing is healed: it would be found damaged again.
- A healed segment is reported only once it is on disk.
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
from ..messages.data import Scan, ScanPurpose, ScanReply, checksum_of
from ..runtime import Runtime
from ..storage.interface import Cursor, Entry
from ..storage.segments import common, segment_range
from ..throttle import Throttle

CHUNK_ENTRIES = 1024
CHUNK_BYTES = 1 << 20
RETRY_BACKOFF_S = (0.5, 30.0)

Entries = dict[bytes, Entry]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a segment with one preference list, that this node is in."""

    span: TokenRange
    others: tuple[Identity, ...]
    needed: int
    """How many of the others must give all they hold."""


def pieces_of(ring: Ring, me: Identity, number: int) -> list[Piece]:
    """What of a segment ``me`` replicates, in token order."""
    pieces = []
    for found in ring.ranges():
        if me in found.preference_list:
            others = tuple(other for other in found.preference_list if other != me)
            needed = min(ring.r, len(others)) if ring.w > 1 else len(others) + 1
            pieces += [
                Piece(span, others, needed) for span in common(found.token_range, segment_range(number))
            ]
    return sorted(pieces, key=lambda piece: piece.span)


class SegmentRecovery:
    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        throttle: Throttle,
        on_change: Callable[[], None],
    ) -> None:
        """Take ``on_change``, called when the number of segments in quarantine has changed, on disk too."""
        self._me = runtime.me.identity
        self._rng = runtime.rng
        self._log = runtime.log
        self._epochs, self._engine, self._peers = data.epochs, data.engine, data.peers
        self._members = members
        self._throttle = throttle
        self._on_change = on_change
        self._found_under = dict.fromkeys(data.engine.quarantined(), data.epochs.number)
        """The number of the epoch that each segment was last found damaged in, or of a later one."""
        self._news = asyncio.Event()
        data.engine.watch_quarantine(self._on_quarantine)

    def on_epoch(self, epoch: Epoch) -> None:
        """Try again what waits for a later epoch."""
        self._news.set()

    def floor_wanted(self) -> int:
        """A floor whose rise would be the later epoch that a segment waits for; 0 when none does."""
        epoch = self._epochs.current
        if epoch is None or all(self._found_under[n] < epoch.number for n in self._engine.quarantined()):
            return 0
        return epoch.record.floor + 1

    def _on_quarantine(self, numbers: tuple[int, ...], reason: str) -> None:
        for number in numbers:
            self._found_under[number] = self._epochs.number
            self._log.emit(Event.SEGMENT_QUARANTINED, segment=number, reason=reason)
        self._news.set()

    async def run(self) -> None:
        """Heal whatever is in quarantine, until cancelled."""
        shortest_s, longest_s = RETRY_BACKOFF_S
        pause_s = shortest_s
        while True:
            while not self._engine.quarantined():
                await self._news.wait()
                self._news.clear()
                pause_s = shortest_s
            self._news.clear()
            await self._engine.durable(always=True)
            self._on_change()
            if await self._heal_all():
                pause_s = shortest_s
            elif self._engine.quarantined():
                await self._news_or_pause(pause_s * (0.5 + self._rng.random()))
                pause_s = min(longest_s, 2 * pause_s)

    async def _news_or_pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._news.wait()
        except TimeoutError:
            pass  # nothing new, but who was away may be back

    async def _heal_all(self) -> int:
        """How many segments were healed."""
        if self._engine.needs_restart():
            return 0
        healed = 0
        for number in self._engine.quarantined():
            epoch = self._epochs.current
            if epoch is None or epoch.record.changing:
                return healed
            if self._found_under[number] < epoch.number:
                healed += await self._heal(epoch, number)
        return healed

    async def _heal(self, epoch: Epoch, number: int) -> bool:
        began = asyncio.get_running_loop().time()
        gathered: Entries = {}
        for piece in pieces_of(epoch.rings[0], self._me, number):
            if not await self._gather(epoch, piece, gathered):
                return False
        await self._epochs.settled()
        if self._epochs.stamp != epoch.stamp or number not in self._engine.quarantined():
            return False
        try:
            self._engine.replace([segment_range(number)], list(gathered.items()))
        except DiskFull:
            return False
        await self._engine.durable(always=True)
        took_s = round(asyncio.get_running_loop().time() - began, 3)
        self._log.emit(Event.SEGMENT_HEALED, segment=number, entries=len(gathered), after_s=took_s)
        self._on_change()
        return True

    async def _gather(self, epoch: Epoch, piece: Piece, into: Entries) -> bool:
        """Bring together what enough others hold of a piece; False when they cannot be had now."""
        given = 0
        for source in self._in_turn(piece.others):
            if given == piece.needed:
                break
            try:
                await self._exhaust(epoch, source, piece.span, into)
                given += 1
            except PeerError:
                continue  # the next one may do, and else all of it is tried again
        return given == piece.needed

    def _in_turn(self, others: Sequence[Identity]) -> list[Identity]:
        shuffled = self._rng.sample(others, len(others))
        return sorted(shuffled, key=self._members.is_down)

    async def _exhaust(self, epoch: Epoch, source: Identity, span: TokenRange, into: Entries) -> None:
        """Take everything that ``source`` holds of a span; the newest of each key stays."""
        after: Cursor | None = None
        while True:
            scan = Scan(epoch.stamp, ScanPurpose.PULL, span, after, CHUNK_ENTRIES, CHUNK_BYTES)
            reply = await self._peers.call(source, scan, ScanReply)
            if not isinstance(reply, ScanReply):
                raise PeerError(f"{source.name} is at another epoch")
            if reply.checksum != checksum_of(reply.entries):
                raise PeerError(f"a chunk from {source.name} was damaged on its way")
            for key, entry in reply.entries:
                if key not in into or entry.version > into[key].version:
                    into[key] = entry
            await self._throttle.spent(sum(len(key) + len(e.value or b"") for key, e in reply.entries))
            if reply.next is None:
                return
            after = reply.next
