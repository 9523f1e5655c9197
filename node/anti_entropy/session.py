"""One comparison with one peer, under one stable epoch: find what differs, and make it equal both ways.

Rules
- The tree is descended: groups, pieces, then keys with their versions, then values; only what differs is read.
- Whatever is newer wins, wherever it lies; a tombstone is an entry like any other.
- What is brought is merged only while the epoch is the one it was asked under, checked in the same uninterrupted
  step; what is sent is fenced by the epoch in its batch. When the epoch moves on, the comparison ends.
- One batch is in flight, of bounded keys and bytes, at a bounded rate, and half of the time none; no step on the
  loop takes long.
- What either side has in quarantine is passed over: nothing can be said about it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...identity import Identity
from ...quorum.version import Version
from ...ring.tokens import TokenRange, token_of
from ..epoch.epochs import Epoch, EpochPassed
from ..epoch.fenced_client import DataPlane
from ..errors import DiskFull, PeerError, PeerRefused, Quarantined
from ..messages.anti_entropy import RepairSummary, TreeQuery, TreeReply
from ..messages.data import (
    DataBatch,
    DataReply,
    FailedResult,
    Merge,
    MergeKind,
    Read,
    ReadResult,
    Result,
    Scan,
    ScanPurpose,
    ScanReply,
    checksum_of,
)
from ..runtime import Runtime
from ..storage.interface import Cursor, Entry
from ..throttle import Throttle
from .differences import BatchSize, differences
from .digests import Digest, Digests
from .merkle_tree import joined

PAGE_ENTRIES = 256
PAGE_BYTES = 1 << 20
BATCH_KEYS = 128
"""Merging so many takes a replica's loop some 3 ms."""
BATCH_BYTES = 1 << 20
BRIDGED_BYTES = 16 << 10
"""Equal data of that size between two differing pieces is read along: asking twice would cost more."""
LONGEST_REST_S = 0.1
LOOK_AGAIN_S = 0.05
"""What differs is looked at once more after so long, lest writes that are under way pass for differences."""

NodeSpec = tuple[int, int]
"""Of a piece: its group, and its place there."""


@dataclass(frozen=True)
class Outcome:
    summary: RepairSummary
    obstacle: str = ""
    """Why the two may not be equal even so; empty when everything was compared and made equal."""
    postponed: bool = False
    """The peer did not want to begin now, being busy."""


class AntiEntropySession:
    """``run`` it once."""

    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        digests: Digests,
        throttle: Throttle,
        epoch: Epoch,
        peer: Identity,
    ) -> None:
        self.peer = peer
        self.under_way = False
        """Whether the peer has agreed to it, by answering for the groups."""
        self._epoch = epoch
        self._epochs, self._engine, self._peers = data.epochs, data.engine, data.peers
        self._digests = digests
        self._throttle = throttle
        self._rng = runtime.rng
        self._tree = digests.tree(epoch, peer)
        self._unknown: set[NodeSpec] = set()
        self._wanted: deque[bytes] = deque()
        self._offered: deque[bytes] = deque()
        self._batch_size = BatchSize(BATCH_KEYS, BATCH_BYTES)
        self._compared = self._differing = self._received = self._sent = self._bytes = 0
        self._obstacle = ""
        self._rested_at = asyncio.get_running_loop().time()

    async def run(self) -> Outcome:
        try:
            await self._compare()
        except EpochPassed:
            self._obstacle = "the epoch has passed"
        except (PeerError, Quarantined, DiskFull) as error:
            self._obstacle = str(error)
            if isinstance(error, PeerRefused) and not self.under_way:
                return Outcome(RepairSummary(), self._obstacle, postponed=True)
        summary = RepairSummary(
            self._compared - len(self._unknown), self._differing, self._received, self._sent, self._bytes
        )
        return Outcome(summary, self._obstacle)

    async def _compare(self) -> None:
        groups = self._tree.groups
        theirs = await self._ask((), len(groups))
        self.under_way = True
        mine = await self._digests.of_groups(self._epoch, self._tree)
        self._compared = self._tree.pieces
        pairs = enumerate(zip(mine, theirs, strict=True))
        found = await self._look_twice([number for number, pair in pairs if None in pair or len({*pair}) > 1])
        self._differing = len(found)
        for number in self._in_any_order({group for group, _ in found}):
            for stretch in self._stretches(
                number, sorted(place for group, place in found if group == number)
            ):
                await self._make_equal(stretch)
        await self._move(everything=True)
        await self._engine.durable()

    def _in_any_order(self, groups: set[int]) -> list[int]:
        """Several peers may bring one node what it lacks: in different orders, they hardly bring anything twice."""
        return self._rng.sample(sorted(groups), len(groups))

    # --- where the two differ ---

    async def _look_twice(self, groups: Sequence[int]) -> set[NodeSpec]:
        found = await self._look(groups)
        if found:
            await asyncio.sleep(LOOK_AGAIN_S)
            found &= await self._look(sorted({group for group, _ in found}))
        return found

    async def _look(self, groups: Sequence[int]) -> set[NodeSpec]:
        """The pieces of these groups that are not equal."""
        if not groups:
            return set()
        places = [(group, place) for group in groups for place in range(len(self._tree.groups[group]))]
        theirs = await self._ask(groups, len(places))
        mine = await self._digests.of_pieces(self._epoch, [self._tree.groups[group] for group in groups])
        triples = list(zip(places, mine, theirs, strict=True))
        self._unknown |= {place for place, *pair in triples if None in pair}
        return {place for place, here, there in triples if None not in (here, there) and here != there}

    async def _ask(self, groups: Sequence[int], expected: int) -> tuple[Digest, ...]:
        query = TreeQuery(self._epoch.stamp, tuple(groups))
        reply = await self._peers.call(self.peer, query, TreeReply)
        if not isinstance(reply, TreeReply):
            raise EpochPassed
        if len(reply.digests) != expected:
            raise PeerError(f"{self.peer.name} sent digests that do not fit")
        return reply.digests

    # --- what differs there ---

    def _stretches(self, number: int, places: Sequence[int]) -> list[TokenRange]:
        """Pieces of a group, the little between two of them included where that saves a question."""
        pieces = self._tree.groups[number]
        read = set(places)
        for one, other in pairwise(places):
            between = range(one + 1, other)
            unknown = any((number, place) in self._unknown for place in between)
            if between and not unknown and self._small(TokenRange(pieces[one].upto, pieces[other].after)):
                read.update(between)
        return joined(pieces[place] for place in sorted(read))

    async def _make_equal(self, stretch: TokenRange) -> None:
        """Compare the keys of a stretch page by page, and move what is newer on one side to the other."""
        after: Cursor | None = None
        try:
            while True:
                page = await self._scan(stretch, after)
                here = await self._held(stretch, after, upto=page.next)
                there = {key: entry.version for key, entry in page.entries}
                found = differences(here, there)
                self._wanted.extend(found.newer_there)
                self._offered.extend(found.newer_here)
                await self._move()
                after = page.next
                if after is None:
                    return
        except (PeerRefused, Quarantined) as error:
            self._obstacle = str(error)  # the other stretches do not suffer for it

    def _small(self, span: TokenRange) -> bool:
        return self._engine.size(span) <= BRIDGED_BYTES

    async def _scan(self, stretch: TokenRange, after: Cursor | None) -> ScanReply:
        scan = Scan(self._epoch.stamp, ScanPurpose.KEYS, stretch, after, PAGE_ENTRIES, PAGE_BYTES)
        reply = await self._peers.call(self.peer, scan, ScanReply)
        if not isinstance(reply, ScanReply):
            raise EpochPassed
        if reply.checksum != checksum_of(reply.entries):
            raise PeerError(f"a chunk from {self.peer.name} was damaged on its way")
        await self._rest(sum(len(key) for key, _ in reply.entries))
        return reply

    async def _held(
        self, stretch: TokenRange, after: Cursor | None, upto: Cursor | None
    ) -> dict[bytes, Version]:
        """What is held here behind ``after`` and up to ``upto``, or to the end."""
        held: dict[bytes, Version] = {}
        while True:
            await asyncio.sleep(0)
            await self._epochs.held(self._epoch.stamp)
            chunk = self._engine.scan(stretch, after, PAGE_ENTRIES, PAGE_BYTES)
            for key, entry in chunk.entries:
                if upto is not None and Cursor(token_of(key), key) > upto:
                    return held
                held[key] = entry.version
            after = chunk.next
            if after is None or (upto is not None and after >= upto):
                return held

    # --- moving entries, a batch at a time ---

    async def _move(self, *, everything: bool = False) -> None:
        """Bring and send full batches; at the end, what is left as well."""
        while len(self._wanted) >= (1 if everything else self._batch_size.keys):
            await self._bring()
        while len(self._offered) >= (1 if everything else BATCH_KEYS):
            await self._send()

    async def _bring(self) -> None:
        keys = [self._wanted.popleft() for _ in range(min(len(self._wanted), self._batch_size.keys))]
        results = await self._deliver(tuple(Read(key) for key in keys))
        found = [
            (key, result.entry)
            for key, result in zip(keys, results, strict=True)
            if isinstance(result, ReadResult) and result.entry is not None
        ]
        await self._epochs.held(self._epoch.stamp)
        self._engine.merge(found)
        await self._engine.durable()
        size = sum(_size(key, entry) for key, entry in found)
        self._received += len(found)
        self._batch_size.saw(len(found), size)
        await self._spent(size)

    async def _send(self) -> None:
        await self._epochs.held(self._epoch.stamp)
        merges: list[Merge] = []
        size = 0
        while self._offered and len(merges) < BATCH_KEYS and size < BATCH_BYTES:
            key = self._offered.popleft()
            entry = self._engine.get(key)
            if entry is not None:
                merges.append(Merge(key, entry, MergeKind.REPAIR))
                size += _size(key, entry)
        await self._engine.durable()
        results = await self._deliver(tuple(merges))
        self._sent += sum(not isinstance(result, FailedResult) for result in results)
        await self._spent(size)

    async def _deliver(self, operations: Sequence[Read | Merge]) -> Sequence[Result]:
        batch = DataBatch(self._epoch.stamp, operations)
        reply = await self._peers.call(self.peer, batch, DataReply)
        if not isinstance(reply, DataReply):
            raise EpochPassed
        if len(reply.results) != len(operations):
            raise PeerError(f"{self.peer.name} sent a reply that does not fit")
        for result in reply.results:
            if isinstance(result, FailedResult):
                self._obstacle = f"{self.peer.name}: {result.reason}"
        return reply.results

    async def _spent(self, size: int) -> None:
        self._bytes += size
        await self._rest(size)

    async def _rest(self, size: int) -> None:
        """Leave others their share of the machine: keep to the rate, and rest for as long as the work took."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        await self._throttle.spent(size)
        rest_s = min(LONGEST_REST_S, now - self._rested_at) - (loop.time() - now)
        if rest_s > 0:
            await asyncio.sleep(rest_s)
        self._rested_at = loop.time()


def _size(key: bytes, entry: Entry) -> int:
    return len(key) + len(entry.value or b"")
