"""Pulling what the new ring gives this node (docs/ring-changes.md, rules 7 and 8).

For each range whose list changes, a gaining node takes everything from the owner it displaces, or else from
r(O) nodes of the old list. Requests and replies carry the epoch; what comes under another is discarded, because
the entries of a chunk and the place it ends at are merged only if the epoch is still the same at that moment.
"Done" is said only once all of it is on disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...api.backoff import backoff_s
from ...identity import Identity
from ...membership.record import HandoffProgress
from ...ring.moves import Pull
from ...ring.tokens import TokenRange
from ..epoch.epochs import META_HANDOFF, Epoch, EpochPassed
from ..epoch.fenced_client import DataPlane
from ..errors import DiskFull, PeerError, Quarantined
from ..events import Event
from ..members.members import Members
from ..messages.data import Scan, ScanPurpose, ScanReply, SizeQuery, SizeReply, checksum_of
from ..runtime import Runtime
from ..storage.segments import common, segment_range
from ..throttle import Throttle
from .progress import PullProgress

CHUNK_ENTRIES = 1024
CHUNK_BYTES = 512 << 10
"""Each step of it, at the source and here, holds up everything else there for a millisecond or two."""
PULLS_AT_ONCE = 4
RETRY_BACKOFF_S = (0.1, 2.0)
REPORT_EVERY_S = 0.5
ACQUAINTED_S, ASK_AGAIN_S = 3.0, 0.05
"""How long, in which steps, a joiner waits to hear of all owners; gossip takes a round or two to tell."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One pull of this node's; ``index`` names it in the progress on disk."""

    index: int
    span: TokenRange
    pull: Pull


def assignments_of(epoch: Epoch, me: Identity) -> list[Assignment]:
    """What ``me`` has to pull under ``epoch``; the numbering is the same at every node and restart."""
    if epoch.change is None:
        return []
    pulls = [(move.token_range, pull) for move in epoch.change.moves for pull in move.pulls]
    return [Assignment(i, span, pull) for i, (span, pull) in enumerate(pulls) if pull.gainer == me]


class Puller:
    """Pulls under one epoch until done; cancel it when the epoch passes."""

    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        members: Members,
        epoch: Epoch,
        throttle: Throttle,
        report: Callable[[HandoffProgress], None],
    ) -> None:
        self._me = me = runtime.me.identity
        self._rng = runtime.rng
        self._log = runtime.log
        self._epochs, self._engine, self._peers = data.epochs, data.engine, data.peers
        self._members = members
        self._epoch = epoch
        self._throttle = throttle
        self._report = report
        self._assignments = assignments_of(epoch, me)
        self._turns: defaultdict[Identity, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Of each source, which is asked for one chunk at a time, so that what others ask of it comes in between. While
        one is merged here, the next is on its way."""
        self._progress = PullProgress.load(data.engine.get_meta(META_HANDOFF), epoch.number)

    async def run(self) -> None:
        """Returns when everything is pulled, on disk and reported; raises EpochPassed when it has lost its epoch."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._assignments:
            await self._acquainted()
            await self._measure()
            self._log.emit(
                Event.HANDOFF_STARTED,
                epoch=self._epoch.number,
                ranges=len(self._assignments),
                bytes_total=self._progress.bytes_total,
            )
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report_regularly(began))
            await self._pull_all()
            reporter.cancel()
        await self._finish(loop.time() - began)

    async def _finish(self, took_s: float) -> None:
        self._engine.put_meta({META_HANDOFF: self._progress.encode()})
        await self._engine.durable(always=True)
        await self._sound()
        self._check_epoch()
        self._progress.bytes_total = self._progress.bytes_done
        if self._assignments:
            self._log.emit(
                Event.HANDOFF_FINISHED,
                epoch=self._epoch.number,
                bytes_done=self._progress.bytes_done,
                after_s=round(took_s, 3),
            )
        self._report(self._state(done=True))

    def _state(self, done: bool) -> HandoffProgress:
        return HandoffProgress(
            self._epoch.number, self._progress.bytes_done, self._progress.bytes_total, done=done
        )

    async def _report_regularly(self, began: float) -> None:
        had = self._progress.bytes_done
        while True:
            self._report(self._state(done=False))
            await asyncio.sleep(REPORT_EVERY_S)
            done, total = self._progress.bytes_done, self._progress.bytes_total
            rate = (done - had) / (asyncio.get_running_loop().time() - began)
            eta = {"eta_s": round((total - done) / rate, 1)} if rate > 0 else {}
            self._log.emit(
                Event.HANDOFF_PROGRESS, epoch=self._epoch.number, bytes_done=done, bytes_total=total, **eta
            )

    async def _acquainted(self) -> None:
        """Wait a little until gossip has told of every source.

        A joiner may get the change before it has heard of anyone but the seed. Whoever it has not heard of is not down:
        taking the one displaced for such would have the joiner pull from r others, twice as much and more.
        """
        sources = {source for assignment in self._assignments for source in assignment.pull.sources}
        waited_s = 0.0
        while waited_s < ACQUAINTED_S and not all(
            s == self._me or self._members.is_known(s) for s in sources
        ):
            await asyncio.sleep(ASK_AGAIN_S)
            waited_s += ASK_AGAIN_S

    # --- pulling ---

    async def _pull_all(self) -> None:
        waiting = list(reversed(self._assignments))

        async def worker() -> None:
            while waiting:
                await self._pull(waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(PULLS_AT_ONCE, len(waiting))):
                group.create_task(worker())

    async def _pull(self, assignment: Assignment) -> None:
        """Exhaust sources, in turn and again, until the pull is complete."""
        failures = 0
        while not self._complete(assignment):
            for source in self._sources(assignment):
                if self._complete(assignment):
                    break
                try:
                    await self._exhaust(assignment, source)
                except (PeerError, DiskFull, Quarantined):
                    failures += 1  # another source may do; later there may be space, or the damage be gone
            if not self._complete(assignment):
                await asyncio.sleep(backoff_s(failures, RETRY_BACKOFF_S, self._rng))

    async def _sound(self) -> None:
        """Return once nothing of what was pulled is in quarantine: that is not there, though it was received."""
        while True:
            quarantined = [segment_range(number) for number in self._engine.quarantined()]
            if not any(common(a.span, segment) for segment in quarantined for a in self._assignments):
                return
            await asyncio.sleep(RETRY_BACKOFF_S[1])

    def _complete(self, assignment: Assignment) -> bool:
        return assignment.pull.complete(self._progress.sources_finished(assignment.index))

    def _sources(self, assignment: Assignment) -> list[Identity]:
        """Who to pull from, best first: the displaced one, then the others of the old list; the dead ones last."""
        pull = assignment.pull
        others = [s for s in pull.sources if s not in (pull.displaced, self._me)]
        self._rng.shuffle(others)
        ordered = [pull.displaced, *others] if pull.displaced is not None else others
        finished = self._progress.sources_finished(assignment.index)
        return sorted((s for s in ordered if s not in finished), key=self._members.is_down)

    async def _exhaust(self, assignment: Assignment, source: Identity) -> None:
        place = (assignment.index, source)
        while source not in self._progress.sources_finished(assignment.index):
            after = self._progress.cursors.get(place)
            most = self._throttle.share(CHUNK_BYTES)
            scan = Scan(self._epoch.stamp, ScanPurpose.PULL, assignment.span, after, CHUNK_ENTRIES, most)
            async with self._turns[source]:
                reply = await self._peers.call(source, scan, ScanReply)
            await self._epochs.held(self._epoch.stamp)
            if not isinstance(reply, ScanReply):
                raise PeerError(f"{source.name} is at another epoch")
            if reply.checksum != checksum_of(reply.entries):
                raise PeerError(f"a chunk from {source.name} was damaged on its way")
            size = self._merge(assignment, source, reply)
            await self._throttle.spent(size)

    def _merge(self, assignment: Assignment, source: Identity, reply: ScanReply) -> int:
        size = sum(len(key) + len(entry.value or b"") for key, entry in reply.entries)
        progress = self._progress.copy()
        progress.advance(assignment.index, source, reply.next, size)
        if reply.entries:
            self._engine.merge(reply.entries, {META_HANDOFF: progress.encode()})
        self._progress = progress
        return size

    def _check_epoch(self) -> None:
        if self._epochs.stamp != self._epoch.stamp:
            raise EpochPassed

    # --- how much there is ---

    async def _measure(self) -> None:
        """Ask one source of each pull how much there is, for the progress shown; an estimate, so failures pass."""
        by_source: dict[Identity, list[TokenRange]] = {}
        for assignment in self._assignments:
            sources = self._sources(assignment)
            if sources and not self._complete(assignment):
                needed = 1 if sources[0] == assignment.pull.displaced else assignment.pull.needed
                for source in sources[:needed]:
                    by_source.setdefault(source, []).append(assignment.span)
        sizes = await asyncio.gather(*(self._size(source, spans) for source, spans in by_source.items()))
        self._progress.bytes_total = self._progress.bytes_done + sum(sizes)

    async def _size(self, source: Identity, spans: Sequence[TokenRange]) -> int:
        try:
            reply = await self._peers.call(source, SizeQuery(self._epoch.stamp, tuple(spans)), SizeReply)
        except PeerError:
            return 0
        return sum(reply.sizes) if isinstance(reply, SizeReply) else 0
