"""Repair as a whole: brings replicas to be equal, without anyone asking and when asked.

It compares with the peers of the current stable epoch, one at a time: each in turn, and soon with all of them after
this node started or gained ranges, with one that returned, and with one that was marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...identity import Identity
from ...ring.moves import RingChange
from ..epoch.epochs import Epoch, Epochs
from ..messages.anti_entropy import RepairSummary, RequestRepair, TreeQuery, TreeReply
from ..messages.envelope import Envelope, EpochMismatch, Refusal
from ..ports import Clock
from .merkle_tree import peers_of
from .responder import AntiEntropyResponder
from .schedule import PendingComparison, Schedule
from .session import Outcome

LONGEST_WAIT_S = 1.0
"""Who is up is looked at again after so long, at the latest."""


@dataclass
class _Request:
    """Someone waits for comparisons that begin from now on."""

    after: int
    """Comparisons up to this one, in the order of their beginning, are too old."""
    missing: set[Identity]
    summary: RepairSummary = field(default_factory=RepairSummary)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class AntiEntropyService:
    """``run`` it for as long as the node lives."""

    def __init__(
        self,
        me: Identity,
        epochs: Epochs,
        anti_entropy: AntiEntropyResponder,
        schedule: Schedule,
        is_down: Callable[[Identity], bool],
        told: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._me = me
        self._epochs = epochs
        self._anti_entropy = anti_entropy
        self._schedule = schedule
        self._is_down = is_down
        self._told = told
        self._clock = clock
        self._followed: Epoch | None = None
        self._begun = 0
        self._requests: list[_Request] = []
        self._wake = asyncio.Event()
        self._said = 0
        epochs.observe(lambda _: self._wake.set())

    # --- what others of this node ask ---

    def mark(self, peer: Identity) -> None:
        """Compare with this peer soon: it may lack something that this node has, or the other way round."""
        if self._schedule.by_itself:
            self._owe(peer)

    @property
    def comparisons(self) -> int:
        """How many are owed to peers that are up."""
        return len(self._schedule.owed(self._is_up))

    async def compare_all(self, timeout_s: float) -> RepairSummary:
        """Compare with all peers that are up, from now on; returns at the latest after ``timeout_s``."""
        if self._follow() is None:
            return RepairSummary(unfinished=self._names_of_other_owners())
        request = _Request(self._begun, {peer for peer in self._schedule.peers if self._is_up(peer)})
        for peer in sorted(request.missing):
            self._owe(peer)
        self._requests.append(request)
        try:
            if request.missing:
                async with asyncio.timeout(timeout_s):
                    await request.done.wait()
        except TimeoutError:
            pass  # the summary says which are unfinished
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
        return await self._anti_entropy.answer(envelope.source, query)

    async def on_request(self, envelope: Envelope, message: RequestRepair) -> RepairSummary:
        return await self.compare_all(message.timeout_ms / 1000)

    # --- the loop ---

    async def run(self) -> None:
        """Compare with whoever is due, until cancelled."""
        while True:
            epoch = self._follow()
            now = self._clock.monotonic()
            due = self._schedule.take(now, self._is_up) if epoch is not None else None
            if epoch is None or due is None:
                await self._news_or(self._schedule.next_at(self._is_up) - now)
            else:
                await self._compare(epoch, *due)
            self._release()
            self._say()

    async def _compare(self, epoch: Epoch, peer: Identity, debt: PendingComparison | None) -> None:
        self._begun += 1
        number = self._begun
        outcome = await self._anti_entropy.compare(epoch, peer)
        now = self._clock.monotonic()
        if outcome.postponed:
            self._schedule.postponed(peer, debt, now)
        elif outcome.obstacle:
            self._schedule.failed(peer, debt, now)
        else:
            self._schedule.compared(peer, debt)
        for request in self._requests:
            if number > request.after:
                _count(request, peer, outcome)

    async def _news_or(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(min(LONGEST_WAIT_S, max(0.01, wait_s))):
                await self._wake.wait()
        except TimeoutError:
            pass  # somebody may be due, or up again
        self._wake.clear()

    def _follow(self) -> Epoch | None:
        """The epoch to compare under, after taking up what its adoption asks for; None while the ring changes."""
        epoch = self._epochs.current
        if epoch is None or epoch.record.changing:
            return None
        before, self._followed = self._followed, epoch
        if before is not epoch:
            self._schedule.follow(peers_of(epoch.rings[0], self._me), self._clock.monotonic())
            if before is None or RingChange(before.rings[0], epoch.rings[0]).gained_spans(self._me):
                for peer in sorted(self._schedule.peers):
                    self.mark(peer)
            for request in self._requests:
                request.missing &= self._schedule.peers
        return epoch

    def _release(self) -> None:
        """Let those go who wait for nobody that is up."""
        for request in self._requests:
            if not any(self._is_up(peer) for peer in request.missing):
                request.done.set()

    def _owe(self, peer: Identity) -> None:
        self._schedule.owe(peer, self._clock.monotonic())
        self._wake.set()
        self._say()

    def _say(self) -> None:
        """Let the members know as soon as something is owed, and as soon as nothing is any more."""
        if self.comparisons != self._said:
            self._said = self.comparisons
            self._told()

    def _is_up(self, peer: Identity) -> bool:
        return not self._is_down(peer)


def _count(request: _Request, peer: Identity, outcome: Outcome) -> None:
    request.summary = request.summary.plus(outcome.summary)
    if not outcome.obstacle:
        request.missing.discard(peer)
