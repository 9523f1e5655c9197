"""This node's comparisons with its peers, one at a time, and its answers when they compare with it.

Two nodes need not do the same work: while one compares with the other, it puts off the other's wish to begin. When
both begin at once, the one with the lower identity goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from ...identity import Identity
from ..epoch.epochs import Epoch, EpochPassed, Epochs
from ..events import Event, EventLog
from ..messages.anti_entropy import TreeQuery, TreeReply
from ..messages.envelope import EpochMismatch, Refusal, RefusalCode
from ..ports import Clock
from .digests import Digests
from .session import AntiEntropySession, Outcome

MakeComparison = Callable[[Epoch, Identity], AntiEntropySession]


class AntiEntropyResponder:
    def __init__(
        self,
        me: Identity,
        epochs: Epochs,
        digests: Digests,
        make: MakeComparison,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self._me = me
        self._epochs = epochs
        self._digests = digests
        self._make = make
        self._clock = clock
        self._log = log
        self._leading: AntiEntropySession | None = None

    async def compare(self, epoch: Epoch, peer: Identity) -> Outcome:
        """Make what this node and ``peer`` share under a stable epoch equal; ends early when the epoch does."""
        began = self._clock.monotonic()
        self._leading = comparison = self._make(epoch, peer)
        try:
            outcome = await comparison.run()
        finally:
            self._leading = None
        self._tell(epoch, peer, outcome, round(self._clock.monotonic() - began, 3))
        return outcome

    async def answer(self, peer: Identity, query: TreeQuery) -> TreeReply | EpochMismatch | Refusal:
        """Tell the digests that ``peer`` asks for."""
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(query.epoch)) is not None:
            return mismatch
        epoch = self._epochs.current
        if epoch is None or epoch.record.changing:
            return Refusal(RefusalCode.NOT_READY, "the ring is changing")
        if not query.groups and self._goes_on_against(peer):
            return Refusal(RefusalCode.NOT_READY, f"{self._me.name} compares with {peer.name} already")
        return await self._read(epoch, peer, query)

    async def _read(
        self, epoch: Epoch, peer: Identity, query: TreeQuery
    ) -> TreeReply | EpochMismatch | Refusal:
        tree = self._digests.tree(epoch, peer)
        groups = tree.groups
        if any(number >= len(groups) for number in query.groups):
            return Refusal(RefusalCode.NOT_READY, f"{self._me.name} and {peer.name} share no such group")
        try:
            if query.groups:
                digests = await self._digests.of_pieces(epoch, [groups[number] for number in query.groups])
            else:
                digests = await self._digests.of_groups(epoch, tree)
        except EpochPassed:
            return self._epochs.mismatch(query.epoch) or Refusal(RefusalCode.NOT_READY, "the epoch passed")
        await self._digests.durable()
        return TreeReply(tuple(digests))

    def _goes_on_against(self, peer: Identity) -> bool:
        """Whether this node compares with ``peer`` and will not give way to it."""
        leading = self._leading
        return leading is not None and leading.peer == peer and (leading.under_way or self._me < peer)

    def _tell(self, epoch: Epoch, peer: Identity, outcome: Outcome, took_s: float) -> None:
        summary = outcome.summary
        obstacle = {"reason": outcome.obstacle} if outcome.obstacle else {}
        if summary.differing:
            self._log.emit(
                Event.REPAIR_FINISHED,
                member=peer.name,
                epoch=epoch.number,
                segments=summary.compared,
                differing=summary.differing,
                keys_received=summary.received,
                keys_sent=summary.sent,
                bytes=summary.bytes,
                after_s=took_s,
                **obstacle,
            )
        else:
            self._log.emit(
                Event.REPAIR_COMPARED,
                member=peer.name,
                epoch=epoch.number,
                segments=summary.compared,
                after_s=took_s,
                **obstacle,
            )
