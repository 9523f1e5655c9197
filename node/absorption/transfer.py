"""Transfers all entries of this node to another cluster, tombstones included.

Rules
- One batch at a time is under way, bounded in entries and bytes. Since no other node has these entries, it is sent to
  one member of the other cluster after another, with increasing random pauses, until all of it is acknowledged.
- After a batch, the number of completed segments is stored, so that a restart continues from there. Sending an entry
  twice has no further effect.
- A segment that cannot be read is skipped, counted and logged; the data is then kept aside instead of being deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ...api.backoff import backoff_s
from ...identity import Identity
from ..data_directory.verdict import Verdict
from ..errors import Corruption, PeerError
from ..events import Event
from ..members.claims import Claims
from ..messages.absorption import MAX_BYTES, MAX_ENTRIES, Contribution, ContributionReply
from ..peer.client import PeerClient
from ..runtime import Runtime
from ..storage.interface import Engine, Entry
from ..storage.segments import SEGMENTS, segment_range

RETRY_BACKOFF_S = (0.1, 5.0)
LOG_AGAIN_TRIES = 20
"""Number of tries after which a lasting failure is logged again: every 100 s at the longest pauses."""
SEGMENTS_AT_ONCE = 16
"""Number of segments that are read before other tasks of the event loop run."""

Note = Callable[[Verdict], None]


class Transfer:
    def __init__(
        self,
        runtime: Runtime,
        peers: PeerClient,
        claims: Claims,
        engine: Engine,
        timeout_s: float,
    ) -> None:
        """Take ``timeout_s``, the time in which the other side must answer for one batch."""
        self._peers = peers
        self._claims = claims
        self._engine = engine
        self._rng = runtime.rng
        self._timeout_s = timeout_s
        self._log = runtime.log
        self.trouble = ""
        """Why the batch under way is not acknowledged yet; empty if no try has failed."""

    async def run(self, verdict: Verdict, note: Note) -> Verdict:
        """Send all entries from the verdict's segment on; call ``note`` with the progress; return the final verdict."""
        batch: list[tuple[bytes, Entry]] = []
        for number in range(verdict.segment, SEGMENTS):
            verdict = await self._segment(number, batch, verdict)
            if len(batch) >= MAX_ENTRIES // 2 or _size(batch) >= MAX_BYTES // 2:
                verdict = await self._deliver(batch, verdict, last=False)
                batch.clear()
                verdict = replace(verdict, segment=number + 1)
                note(verdict)
            if number % SEGMENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return await self._deliver(batch, verdict, last=True)

    async def _segment(self, number: int, batch: list[tuple[bytes, Entry]], verdict: Verdict) -> Verdict:
        """Add the entries of a segment to ``batch``, which is sent and emptied whenever it is full."""
        after = None
        while True:
            room, room_bytes = MAX_ENTRIES - len(batch), MAX_BYTES - _size(batch)
            try:
                chunk = self._engine.scan(segment_range(number), after, room, max(1, room_bytes))
            except Corruption as corruption:
                self._log.emit(Event.ABSORPTION_SKIPPED, segment=number, reason=str(corruption))
                return replace(verdict, skipped=verdict.skipped + 1)
            batch += chunk.entries
            after = chunk.next
            if after is None:
                return verdict
            verdict = await self._deliver(batch, verdict, last=False)
            batch.clear()

    async def _deliver(self, batch: list[tuple[bytes, Entry]], verdict: Verdict, *, last: bool) -> Verdict:
        """Send a batch repeatedly until it is acknowledged; return the verdict with its entries counted."""
        contribution = Contribution(
            cluster_id=verdict.cluster_id, entries=tuple(batch), written=verdict.entries, last=last
        )
        tries = 0
        while trouble := await self._send(contribution, *verdict.members[tries % len(verdict.members)]):
            if trouble != self.trouble or tries % LOG_AGAIN_TRIES == 0:
                self._log.emit(Event.ABSORPTION_WAITING, cluster_id=verdict.cluster_id, reason=trouble)
            self.trouble = trouble
            tries += 1
            await asyncio.sleep(backoff_s(tries, RETRY_BACKOFF_S, self._rng))
            if (found := await self._claims.claimant(verdict.cluster_id)) is not None:
                verdict = replace(verdict, members=found.members or verdict.members)
        self.trouble = ""
        return replace(verdict, entries=verdict.entries + len(batch))

    async def _send(self, contribution: Contribution, to: Identity, address: str) -> str:
        """Send the batch once; return why it is not acknowledged, or an empty string."""
        try:
            reply = await self._peers.call_address(
                address, contribution, self._timeout_s, to=to, without_cluster_id=True
            )
        except PeerError as error:
            return str(error)
        if isinstance(reply.body, ContributionReply):
            return reply.body.trouble
        return f"{address} is not ready"


def _size(batch: list[tuple[bytes, Entry]]) -> int:
    return sum(len(key) + len(entry.value or b"") for key, entry in batch)
