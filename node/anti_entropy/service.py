"""Anti-entropy: makes replicas equal, both continuously and on request.

A node leads one session at a time, with the peers of the current stable epoch:
- with each peer in turn;
- soon with all peers, after it has started or gained ranges;
- soon with a peer that has returned or was marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...identity import Identity
from ...ring.moves import RingChange
from ..epoch.epochs import Epoch, Epochs
from ..members.members import Members
from ..messages.anti_entropy import RepairSummary, RequestRepair, TreeQuery, TreeReply
from ..messages.envelope import Envelope, EpochMismatch, Refusal
from ..runtime import Runtime
from ..tasks import wait_at_most
from .merkle_tree import peers_of
from .responder import AntiEntropyResponder
from .schedule import PendingComparison, Schedule

MAX_WAIT_S = 1.0
"""Liveness of the peers is checked again after this time."""


@dataclass
class _Request:
    """A request for a session with each peer, begun after the request."""

    after: int
    """Number of the last session that began before the request; sessions are counted from the start of the node."""
    missing: set[Identity]
    """Peers without a complete session."""
    summary: RepairSummary = field(default_factory=RepairSummary)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class AntiEntropyService:
    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        members: Members,
        responder: AntiEntropyResponder,
        schedule: Schedule,
        on_change: Callable[[], None],
    ) -> None:
        """Call ``on_change`` when ``comparisons`` has changed."""
        self._me = runtime.me.identity
        self._epochs = epochs
        self._responder = responder
        self._schedule = schedule
        self._members = members
        self._on_change = on_change
        self._clock = runtime.clock
        self._epoch: Epoch | None = None
        """The epoch whose peers are in the schedule."""
        self._begun = 0
        self._requests: list[_Request] = []
        self._wakeup = asyncio.Event()
        self._published = 0

    def on_epoch(self, epoch: Epoch) -> None:
        self._wakeup.set()

    def mark(self, peer: Identity) -> None:
        """Request a comparison with this peer soon, because it or this node may lack entries that the other has."""
        if self._schedule.automatic:
            self._mark(peer)

    @property
    def comparisons(self) -> int:
        """The number of comparisons that are pending with peers that are up."""
        return len(self._schedule.pending(self._is_up))

    async def compare_all(self, timeout_s: float) -> RepairSummary:
        """Compare with all peers that are up, in sessions that begin after this call, within ``timeout_s``."""
        if self._update_peers() is None:
            return RepairSummary(unfinished=self._names_of_other_owners())
        request = _Request(self._begun, {peer for peer in self._schedule.peers if self._is_up(peer)})
        for peer in sorted(request.missing):
            self._mark(peer)
        self._requests.append(request)
        try:
            if request.missing:
                await wait_at_most(timeout_s, request.done)
        finally:
            self._requests.remove(request)
        return replace(request.summary, unfinished=tuple(sorted(peer.name for peer in request.missing)))

    def _names_of_other_owners(self) -> tuple[str, ...]:
        record = self._epochs.record
        owners = record.owners.owners if record is not None else ()
        return tuple(sorted(owner.name for owner in owners if owner != self._me and self._is_up(owner)))

    async def on_tree_query(
        self, envelope: Envelope, query: TreeQuery
    ) -> TreeReply | EpochMismatch | Refusal:
        return await self._responder.answer(envelope.source, query)

    async def on_request(self, envelope: Envelope, message: RequestRepair) -> RepairSummary:
        return await self.compare_all(message.timeout_ms / 1000)

    # --- the loop ---

    async def run(self) -> None:
        """Compare with the peers that are due, until cancelled."""
        while True:
            epoch = self._update_peers()
            now = self._clock.monotonic()
            due = self._schedule.take(now, self._is_up) if epoch is not None else None
            if epoch is None or due is None:
                wait_s = self._schedule.next_at(self._is_up) - now
                await wait_at_most(min(MAX_WAIT_S, max(0.01, wait_s)), self._wakeup)
                self._wakeup.clear()
            else:
                await self._compare(epoch, *due)
            for request in self._requests:
                if not any(self._is_up(peer) for peer in request.missing):
                    request.done.set()
            self._publish()

    async def _compare(self, epoch: Epoch, peer: Identity, pending: PendingComparison | None) -> None:
        self._begun += 1
        number = self._begun
        result = await self._responder.lead_session(epoch, peer)
        now = self._clock.monotonic()
        if result.postponed:
            self._schedule.postponed(peer, pending, now)
        elif result.obstacle:
            self._schedule.failed(peer, pending, now)
        else:
            self._schedule.completed(peer, pending)
        for request in self._requests:
            if number > request.after:
                request.summary = request.summary.plus(result.summary)
                if not result.obstacle:
                    request.missing.discard(peer)

    def _update_peers(self) -> Epoch | None:
        """Return the epoch to compare under, None while the ring changes. Under a new epoch, set and mark the peers."""
        epoch = self._epochs.current
        if epoch is None or epoch.record.changing:
            return None
        before, self._epoch = self._epoch, epoch
        if before is not epoch:
            self._schedule.set_peers(peers_of(epoch.rings[0], self._me), self._clock.monotonic())
            if before is None or RingChange(before.rings[0], epoch.rings[0]).gained_ranges(self._me):
                for peer in sorted(self._schedule.peers):
                    self.mark(peer)
            for request in self._requests:
                request.missing &= self._schedule.peers
        return epoch

    def _mark(self, peer: Identity) -> None:
        self._schedule.mark(peer, self._clock.monotonic())
        self._wakeup.set()
        self._publish()

    def _publish(self) -> None:
        if self.comparisons != self._published:
            self._published = self.comparisons
            self._on_change()

    def _is_up(self, peer: Identity) -> bool:
        return not self._members.is_down(peer)
