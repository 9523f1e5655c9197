"""The anti-entropy sessions that this node leads, one at a time, and its replies in sessions that its peers lead.

Two nodes do not compare with each other twice at the same time: a node that leads a session with a peer refuses the
peer's request to begin one. If both begin at once, the session of the node with the lower identity continues.
"""

from __future__ import annotations

from collections.abc import Callable

from ...identity import Identity
from ..epoch.epochs import Epoch, EpochPassed
from ..epoch.fenced_client import DataPlane
from ..events import Event
from ..messages.anti_entropy import TreeQuery, TreeReply
from ..messages.envelope import EpochMismatch, Refusal, RefusalCode
from ..runtime import Runtime
from .digests import Digests
from .session import AntiEntropySession, SessionResult


class AntiEntropyResponder:
    def __init__(
        self,
        runtime: Runtime,
        data: DataPlane,
        digests: Digests,
        make_session: Callable[[Epoch, Identity], AntiEntropySession],
    ) -> None:
        self._me = runtime.me.identity
        self._epochs = data.epochs
        self._engine = data.engine
        self._digests = digests
        self._make_session = make_session
        self._clock = runtime.clock
        self._log = runtime.log
        self._leading: AntiEntropySession | None = None

    async def lead_session(self, epoch: Epoch, peer: Identity) -> SessionResult:
        """Make this node and ``peer`` equal in the ranges that they share under a stable epoch.

        The session ends early if the epoch changes.
        """
        began_s = self._clock.monotonic()
        self._leading = session = self._make_session(epoch, peer)
        try:
            result = await session.run()
        finally:
            self._leading = None
        self._log_result(epoch, peer, result, round(self._clock.monotonic() - began_s, 3))
        return result

    async def answer(self, peer: Identity, query: TreeQuery) -> TreeReply | EpochMismatch | Refusal:
        """Return the digests that ``peer`` requests."""
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(query.epoch)) is not None:
            return mismatch
        epoch = self._epochs.current
        if epoch is None or epoch.record.changing:
            return Refusal(RefusalCode.NOT_READY, "the ring is changing")
        if not query.groups and self._leads_against(peer):
            return Refusal(RefusalCode.NOT_READY, f"{self._me.name} compares with {peer.name} already")
        tree = self._digests.tree(epoch, peer)
        groups = tree.groups
        if any(number >= len(groups) for number in query.groups):
            return Refusal(RefusalCode.NOT_READY, f"{self._me.name} and {peer.name} share no such group")
        try:
            if query.groups:
                digests = await self._digests.of_leaves(epoch, [groups[number] for number in query.groups])
            else:
                digests = await self._digests.of_groups(epoch, tree)
        except EpochPassed:
            return self._epochs.mismatch(query.epoch) or Refusal(RefusalCode.NOT_READY, "the epoch passed")
        await self._engine.durable()
        return TreeReply(tuple(digests))

    def _leads_against(self, peer: Identity) -> bool:
        """Return whether this node leads a session with ``peer`` and will not yield to it."""
        leading = self._leading
        return leading is not None and leading.peer == peer and (leading.accepted or self._me < peer)

    def _log_result(self, epoch: Epoch, peer: Identity, result: SessionResult, after_s: float) -> None:
        summary = result.summary
        obstacle = {"reason": result.obstacle} if result.obstacle else {}
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
                after_s=after_s,
                **obstacle,
            )
        else:
            self._log.emit(
                Event.REPAIR_COMPARED,
                member=peer.name,
                epoch=epoch.number,
                segments=summary.compared,
                after_s=after_s,
                **obstacle,
            )
