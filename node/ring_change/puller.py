"""Pulls the ranges that a node gains by a ring change (docs/ring-changes.md, rules 7 and 8).

- For each range whose preference list changes, a gaining node pulls all entries from the owner that it displaces, or
  from r(O) nodes of the old list.
- Requests and replies carry the epoch. The entries of a chunk, and the position at its end, are stored only if the
  epoch is still the same at that moment; otherwise the chunk is discarded.
- A node reports that it is done only once everything is on disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ...api.backoff import backoff_s
from ...identity import Identity
from ...ring.moves import Pull
from ...ring.tokens import TokenRange
from ..epoch.epochs import Epoch, EpochPassed
from ..epoch.fenced_client import DataPlane
from ..errors import DiskFull, PeerError, Quarantined
from ..members.members import Members
from ..messages.data import Scan, ScanPurpose, SizeQuery, SizeReply
from ..runtime import Runtime
from ..storage.segments import common, segment_range
from ..throttle import Throttle
from .progress import PullTracker

CHUNK_ENTRIES = 1024
CHUNK_BYTES = 512 << 10
"""Reading and merging a chunk occupies the event loop of each node for a millisecond or two."""
MAX_CONCURRENT_PULLS = 4
RETRY_BACKOFF_S = (0.1, 2.0)
MAX_DISCOVERY_S, DISCOVERY_INTERVAL_S = 3.0, 0.05
"""Time limit and interval for checking whether gossip knows all sources, which usually takes one or two rounds."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A pull by this node; ``index`` identifies it in the progress on disk."""

    index: int
    token_range: TokenRange
    pull: Pull


def assignments_of(epoch: Epoch, me: Identity) -> list[Assignment]:
    """Return the pulls of ``me`` under ``epoch``. Their indexes are the same at every node and after each restart."""
    if epoch.change is None:
        return []
    pulls = [(move.token_range, pull) for move in epoch.change.moves for pull in move.pulls]
    return [
        Assignment(i, token_range, pull) for i, (token_range, pull) in enumerate(pulls) if pull.gainer == me
    ]


class Puller:
    """Pulls under one epoch until done; cancel it when the epoch passes."""

    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        epoch: Epoch,
        tracker: PullTracker,
        throttle: Throttle,
    ) -> None:
        self._me = runtime.me.identity
        self._epoch = epoch
        self._data = data
        self._tracker = tracker
        self._throttle = throttle
        self._members = members
        self._rng = runtime.rng
        self._assignments = assignments_of(epoch, self._me)
        self._turns: defaultdict[Identity, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Limit each source to one request at a time, so that it serves other requests in between. While one chunk is
        merged here, the next one may be in transit."""

    async def run(self) -> None:
        """Return when everything is pulled, on disk and reported. Raise EpochPassed if the epoch has changed."""
        if self._assignments:
            await self._discover_sources()
            await self._estimate_total()
            self._tracker.started(len(self._assignments))
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(self._tracker.report_regularly())
            await self._pull_all()
            reporting.cancel()
        await self._tracker.persist()
        await self._until_none_is_quarantined()
        self._check_epoch()
        self._tracker.finished(len(self._assignments))

    async def _discover_sources(self) -> None:
        """Wait until gossip knows every source, for a limited time.

        A joining node may receive the epoch of the change before it knows any member except the seed. ``is_down`` is
        true of an unknown member. If the displaced owner were unknown, the node would pull from r other owners instead,
        which is at least twice as much data.
        """
        sources = {source for assignment in self._assignments for source in assignment.pull.sources}
        waited_s = 0.0
        while waited_s < MAX_DISCOVERY_S and not all(
            s == self._me or self._members.is_known(s) for s in sources
        ):
            await asyncio.sleep(DISCOVERY_INTERVAL_S)
            waited_s += DISCOVERY_INTERVAL_S

    # --- pulling ---

    async def _pull_all(self) -> None:
        waiting = list(reversed(self._assignments))

        async def worker() -> None:
            while waiting:
                await self._pull(waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(MAX_CONCURRENT_PULLS, len(waiting))):
                group.create_task(worker())

    async def _pull(self, assignment: Assignment) -> None:
        """Pull from one source after another, repeatedly, until the pull is complete."""
        failures = 0
        while not self._is_complete(assignment):
            self._check_epoch()
            for source in self._sources(assignment):
                if self._is_complete(assignment):
                    break
                try:
                    await self._pull_from(source, assignment)
                except (PeerError, DiskFull, Quarantined):
                    failures += (
                        1  # try another source; later there may be space, or the damage may be repaired
                    )
            if not self._is_complete(assignment):
                await asyncio.sleep(backoff_s(failures, RETRY_BACKOFF_S, self._rng))

    async def _until_none_is_quarantined(self) -> None:
        """Return once no pulled range is in quarantine, since quarantined data counts as missing."""
        while True:
            quarantined = [segment_range(number) for number in self._data.engine.quarantined()]
            if not any(common(a.token_range, segment) for segment in quarantined for a in self._assignments):
                return
            await asyncio.sleep(RETRY_BACKOFF_S[1])

    def _is_complete(self, assignment: Assignment) -> bool:
        return assignment.pull.complete(self._tracker.progress.sources_finished(assignment.index))

    def _sources(self, assignment: Assignment) -> list[Identity]:
        """Return the unfinished sources: the displaced owner, then the others in random order; down members last."""
        pull = assignment.pull
        others = [s for s in pull.sources if s not in (pull.displaced, self._me)]
        self._rng.shuffle(others)
        ordered = [pull.displaced, *others] if pull.displaced is not None else others
        finished = self._tracker.progress.sources_finished(assignment.index)
        return sorted((s for s in ordered if s not in finished), key=self._members.is_down)

    async def _pull_from(self, source: Identity, assignment: Assignment) -> None:
        """Pull all entries that ``source`` holds in the range, chunk by chunk."""
        index, stamp = assignment.index, self._epoch.stamp
        while source not in self._tracker.progress.sources_finished(index):
            after = self._tracker.progress.cursors.get((index, source))
            max_bytes = self._throttle.share(CHUNK_BYTES)
            scan = Scan(
                epoch=stamp,
                purpose=ScanPurpose.PULL,
                span=assignment.token_range,
                after=after,
                max_entries=CHUNK_ENTRIES,
                max_bytes=max_bytes,
            )
            async with self._turns[source]:
                chunk = await self._data.peers.fetch_chunk(source, scan)
            await self._data.epochs.ensure_current(stamp)
            self._tracker.store(index, source, chunk)
            await self._throttle.spent(chunk.size_bytes)

    def _check_epoch(self) -> None:
        if self._data.epochs.stamp != self._epoch.stamp:
            raise EpochPassed

    # --- the estimate of the total ---

    async def _estimate_total(self) -> None:
        """Ask the first sources of each pull for sizes. Failures are ignored, since the total is only displayed."""
        by_source: dict[Identity, list[TokenRange]] = {}
        for assignment in self._assignments:
            sources = self._sources(assignment)
            if sources and not self._is_complete(assignment):
                needed = 1 if sources[0] == assignment.pull.displaced else assignment.pull.needed
                for source in sources[:needed]:
                    by_source.setdefault(source, []).append(assignment.token_range)
        sizes = await asyncio.gather(*(self._size(source, ranges) for source, ranges in by_source.items()))
        self._tracker.progress.bytes_total = self._tracker.progress.bytes_done + sum(sizes)

    async def _size(self, source: Identity, ranges: Sequence[TokenRange]) -> int:
        query = SizeQuery(self._epoch.stamp, tuple(ranges))
        try:
            reply = await self._data.peers.call(source, query, SizeReply)
        except PeerError:
            return 0
        return sum(reply.sizes) if isinstance(reply, SizeReply) else 0
