"""Repairs the whole cluster, at an operator's request."""

from __future__ import annotations

import asyncio

from ...identity import Identity
from ..anti_entropy.service import AntiEntropyService
from ..epoch.epochs import Epochs
from ..errors import PeerError, Unavailable
from ..members.members import Members
from ..messages.anti_entropy import RepairSummary, RequestRepair
from ..operations import NodeRepair, RepairReport
from ..peer.client import PeerClient

ANSWER_GRACE_S = 1.0
"""Time added to the timeout of a peer, in which it reports how far it came."""
MAX_TIMEOUT_S = 1_000_000.0


class ClusterRepair:
    def __init__(
        self, peers: PeerClient, epochs: Epochs, members: Members, repair: AntiEntropyService
    ) -> None:
        self._peers = peers
        self._epochs = epochs
        self._members = members
        self._repair = repair

    async def run(self, timeout_s: float) -> RepairReport:
        """Have every owner that is up compare with all its peers; each answers within ``timeout_s``."""
        record = self._epochs.record
        if record is None:
            raise Unavailable("this node belongs to no cluster yet")
        if record.changing:
            raise Unavailable(
                f"the ring is changing (epoch {record.number}): nothing is compared until that is over"
            )
        owners = sorted(record.owners.owners)
        down = [
            owner for owner in owners if owner != self._peers.me.identity and self._members.is_down(owner)
        ]
        asked = [owner for owner in owners if owner not in down]
        nodes = await asyncio.gather(*(self._ask(owner, min(timeout_s, MAX_TIMEOUT_S)) for owner in asked))
        return RepairReport(tuple(nodes), tuple(owner.name for owner in down))

    async def _ask(self, owner: Identity, timeout_s: float) -> NodeRepair:
        try:
            summary = await self._summary(owner, timeout_s)
        except PeerError as error:
            return NodeRepair(owner.name, failure=str(error))
        return NodeRepair(
            name=owner.name,
            compared=summary.compared,
            differing=summary.differing,
            received=summary.received,
            sent=summary.sent,
            bytes=summary.bytes,
            unfinished=summary.unfinished,
        )

    async def _summary(self, owner: Identity, timeout_s: float) -> RepairSummary:
        if owner == self._peers.me.identity:
            return await self._repair.compare_all(timeout_s)
        request = RequestRepair(int(timeout_s * 1000))
        return await self._peers.ask(owner, request, RepairSummary, timeout_s + ANSWER_GRACE_S)
