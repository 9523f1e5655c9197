"""One anti-entropy session with one peer, under one stable epoch: finds entries that differ, and updates both nodes.

Rules
- The Merkle tree is descended from groups to leaves, then to keys with their versions, and then to values. Only parts
  that differ are read.
- The newer entry replaces the older one, on either node. A tombstone is an entry like any other.
- A fetched entry is merged only if the epoch is still the one under which it was requested; there is no await between
  this check and the merge. A batch that is sent carries its epoch. When the epoch changes, the session ends.
- At most one batch is in flight, bounded in keys, bytes and rate; about half of the time none is. No step occupies
  the event loop for long.
- Ranges that are in quarantine on either node are skipped, since their contents are unknown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
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
)
from ..runtime import Runtime
from ..storage.interface import Cursor, Entry
from ..throttle import Throttle
from .digests import Digest, Digests
from .merkle_tree import merge_leaves

PAGE_ENTRIES = 256
PAGE_BYTES = 1 << 20
BATCH_KEYS = 128
"""Merging this many keys occupies a replica's event loop for about 3 ms."""
BATCH_BYTES = 1 << 20
MAX_GAP_BYTES = 16 << 10
"""Equal data of at most this size between two differing leaves is read too, since a separate request costs more."""
MAX_IDLE_S = 0.1
RECHECK_DELAY_S = 0.05
"""Leaves that differ are compared again after this time, so that writes in flight do not count as differences."""

LeafIndex = tuple[int, int]
"""The group of a leaf, and its position in the group."""


def newer_in(one: Mapping[bytes, Version], other: Mapping[bytes, Version]) -> list[bytes]:
    """Return the keys that ``other`` lacks or holds in an older version than ``one``."""
    return [key for key, version in one.items() if key not in other or other[key] < version]


class BatchSize:
    """The number of keys to read in a batch, estimated from the values read so far, since their sizes are unknown."""

    def __init__(self, max_keys: int, max_bytes: int) -> None:
        self._max_keys = max_keys
        self._max_bytes = max_bytes
        self.keys = max(1, max_keys // 16)

    def observe(self, keys: int, size_bytes: int) -> None:
        """Record the size of a batch. The next batch is at most four times as large."""
        fitting = self._max_bytes * max(1, keys) // max(1, size_bytes)
        self.keys = max(1, min(self._max_keys, fitting, 4 * self.keys))


@dataclass(frozen=True)
class SessionResult:
    summary: RepairSummary
    obstacle: str = ""
    """Why the two may still differ; empty when everything was compared and made equal."""
    postponed: bool = False
    """Whether the peer refused to begin because it is busy."""


class AntiEntropySession:
    """A session, for one call of ``run``."""

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
        self.accepted = False
        """Whether the peer has accepted the session, by sending its digests of the groups."""
        self._epoch = epoch
        self._data = data
        self._engine = data.engine
        self._digests = digests
        self._throttle = throttle
        self._rng = runtime.rng
        self._tree = digests.tree(epoch, peer)
        self._unknown: set[LeafIndex] = set()
        self._to_fetch: deque[bytes] = deque()
        self._to_send: deque[bytes] = deque()
        self._batch_size = BatchSize(BATCH_KEYS, BATCH_BYTES)
        self._compared = self._differing = self._received = self._sent = self._bytes = 0
        self._obstacle = ""
        self._idled_at = asyncio.get_running_loop().time()

    async def run(self) -> SessionResult:
        try:
            await self._compare()
        except EpochPassed:
            self._obstacle = "the epoch has passed"
        except (PeerError, Quarantined, DiskFull) as error:
            self._obstacle = str(error)
            if isinstance(error, PeerRefused) and not self.accepted:
                return SessionResult(RepairSummary(), self._obstacle, postponed=True)
        summary = RepairSummary(
            compared=self._compared - len(self._unknown),
            differing=self._differing,
            received=self._received,
            sent=self._sent,
            bytes=self._bytes,
        )
        return SessionResult(summary, self._obstacle)

    async def _compare(self) -> None:
        theirs = await self._query((), len(self._tree.groups))
        self.accepted = True
        mine = await self._digests.of_groups(self._epoch, self._tree)
        self._compared = self._tree.leaves
        pairs = enumerate(zip(mine, theirs, strict=True))
        found = await self._find_differing(
            [group for group, pair in pairs if None in pair or len({*pair}) > 1]
        )
        self._differing = len(found)
        # In random order: if several peers repair one node at once, they rarely send it the same entries.
        differing = {group for group, _ in found}
        for group in self._rng.sample(sorted(differing), len(differing)):
            for token_range in self._ranges(group, sorted(leaf for of, leaf in found if of == group)):
                await self._make_equal(token_range)
        await self._move(everything=True)
        await self._engine.durable()

    # --- finding the leaves that differ ---

    async def _find_differing(self, groups: Sequence[int]) -> set[LeafIndex]:
        """Return the leaves of these groups that differ in two comparisons, with a pause between them."""
        found = await self._differing_leaves(groups)
        if found:
            await asyncio.sleep(RECHECK_DELAY_S)
            found &= await self._differing_leaves(sorted({group for group, _ in found}))
        return found

    async def _differing_leaves(self, groups: Sequence[int]) -> set[LeafIndex]:
        if not groups:
            return set()
        leaves = [(group, leaf) for group in groups for leaf in range(len(self._tree.groups[group]))]
        theirs = await self._query(groups, len(leaves))
        mine = await self._digests.of_leaves(self._epoch, [self._tree.groups[group] for group in groups])
        triples = list(zip(leaves, mine, theirs, strict=True))
        self._unknown |= {leaf for leaf, *pair in triples if None in pair}
        return {leaf for leaf, here, there in triples if None not in (here, there) and here != there}

    async def _query(self, groups: Sequence[int], expected: int) -> tuple[Digest, ...]:
        query = TreeQuery(self._epoch.stamp, tuple(groups))
        reply = await self._data.peers.call(self.peer, query, TreeReply)
        if not isinstance(reply, TreeReply):
            raise EpochPassed
        if len(reply.digests) != expected:
            raise PeerError(f"{self.peer.name} sent {len(reply.digests)} digests, not {expected}")
        return reply.digests

    # --- comparing their keys ---

    def _ranges(self, group: int, differing: Sequence[int]) -> list[TokenRange]:
        """Return the differing leaves of a group, merged across gaps that are cheaper to read than to skip."""
        leaves = self._tree.groups[group]
        read = set(differing)
        for one, other in pairwise(differing):
            gap = range(one + 1, other)
            unknown = any((group, leaf) in self._unknown for leaf in gap)
            if gap and not unknown:
                size_bytes = self._engine.size(TokenRange(leaves[one].upto, leaves[other].after))
                if size_bytes <= MAX_GAP_BYTES:
                    read.update(gap)
        return merge_leaves(leaves[leaf] for leaf in sorted(read))

    async def _make_equal(self, token_range: TokenRange) -> None:
        """Compare the keys of a range page by page, and move newer entries to the other side."""
        stamp, after = self._epoch.stamp, None
        try:
            while True:
                scan = Scan(
                    epoch=stamp,
                    purpose=ScanPurpose.KEYS,
                    span=token_range,
                    after=after,
                    max_entries=PAGE_ENTRIES,
                    max_bytes=PAGE_BYTES,
                )
                page = await self._data.peers.fetch_chunk(self.peer, scan)
                await self._pace(page.size_bytes)
                here = await self._local_versions(token_range, after, upto=page.next)
                there = {key: entry.version for key, entry in page.entries}
                self._to_fetch.extend(newer_in(there, here))
                self._to_send.extend(newer_in(here, there))
                await self._move()
                after = page.next
                if after is None:
                    return
        except (PeerRefused, Quarantined) as error:
            self._obstacle = str(error)  # the other ranges can still be made equal

    async def _local_versions(
        self, token_range: TokenRange, after: Cursor | None, upto: Cursor | None
    ) -> dict[bytes, Version]:
        """Return the versions held here after ``after`` and up to ``upto``; None stands for an end of the range."""
        versions: dict[bytes, Version] = {}
        while True:
            await asyncio.sleep(0)
            await self._data.epochs.ensure_current(self._epoch.stamp)
            chunk = self._engine.scan(token_range, after, PAGE_ENTRIES, PAGE_BYTES)
            for key, entry in chunk.entries:
                if upto is not None and Cursor(token_of(key), key) > upto:
                    return versions
                versions[key] = entry.version
            after = chunk.next
            if after is None or (upto is not None and after >= upto):
                return versions

    # --- moving entries, one batch at a time ---

    async def _move(self, *, everything: bool = False) -> None:
        """Fetch and send full batches; with ``everything``, also the incomplete last batches."""
        while len(self._to_fetch) >= (1 if everything else self._batch_size.keys):
            await self._fetch_batch()
        while len(self._to_send) >= (1 if everything else BATCH_KEYS):
            await self._send_batch()

    async def _fetch_batch(self) -> None:
        keys = [self._to_fetch.popleft() for _ in range(min(len(self._to_fetch), self._batch_size.keys))]
        results = await self._execute(tuple(Read(key) for key in keys))
        found = [
            (key, result.entry)
            for key, result in zip(keys, results, strict=True)
            if isinstance(result, ReadResult) and result.entry is not None
        ]
        await self._data.epochs.ensure_current(self._epoch.stamp)
        self._engine.merge(found)
        await self._engine.durable()
        size_bytes = sum(_size_bytes(key, entry) for key, entry in found)
        self._received += len(found)
        self._bytes += size_bytes
        self._batch_size.observe(len(found), size_bytes)
        await self._pace(size_bytes)

    async def _send_batch(self) -> None:
        await self._data.epochs.ensure_current(self._epoch.stamp)
        merges: list[Merge] = []
        size_bytes = 0
        while self._to_send and len(merges) < BATCH_KEYS and size_bytes < BATCH_BYTES:
            key = self._to_send.popleft()
            entry = self._engine.get(key)
            if entry is not None:
                merges.append(Merge(key, entry, MergeKind.REPAIR))
                size_bytes += _size_bytes(key, entry)
        await self._engine.durable()
        results = await self._execute(tuple(merges))
        self._sent += sum(not isinstance(result, FailedResult) for result in results)
        self._bytes += size_bytes
        await self._pace(size_bytes)

    async def _execute(self, operations: Sequence[Read | Merge]) -> Sequence[Result]:
        """Have the peer execute a batch of operations."""
        batch = DataBatch(self._epoch.stamp, operations)
        reply = await self._data.peers.call(self.peer, batch, DataReply)
        if not isinstance(reply, DataReply):
            raise EpochPassed
        if len(reply.results) != len(operations):
            raise PeerError(f"{self.peer.name} sent {len(reply.results)} results, not {len(operations)}")
        for result in reply.results:
            if isinstance(result, FailedResult):
                self._obstacle = f"{self.peer.name}: {result.reason}"
        return reply.results

    async def _pace(self, size_bytes: int) -> None:
        """Limit the rate, and idle for as long as the work took, so that clients keep their share of the machine."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        await self._throttle.spent(size_bytes)
        idle_s = min(MAX_IDLE_S, now - self._idled_at) - (loop.time() - now)
        if idle_s > 0:
            await asyncio.sleep(idle_s)
        self._idled_at = loop.time()


def _size_bytes(key: bytes, entry: Entry) -> int:
    return len(key) + len(entry.value or b"")
