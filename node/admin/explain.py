"""Explains one key: lists its replicas and reads the entry that each of them has."""

from __future__ import annotations

import asyncio

from ...api.cluster import Explanation, ReplicaReport
from ...identity import Identity
from ...ring.tokens import token_of
from ..epoch.epochs import Epoch
from ..epoch.fenced_client import DataPlane
from ..errors import InvalidRequest, PeerError, StorageFailed, Unavailable
from ..members.members import Members
from ..messages.data import DataBatch, DataReply, Read, ReadResult
from ..messages.envelope import EpochMismatch
from ..replica.service import ReplicaService
from .status import state_of

EXPLAIN_TIMEOUT_S = 1.0


class KeyExplainer:
    def __init__(
        self, data: DataPlane, members: Members, replica: ReplicaService, max_key_bytes: int
    ) -> None:
        self._epochs, self._peers = data.epochs, data.peers
        self._members = members
        self._replica = replica
        self._max_key_bytes = max_key_bytes

    async def explain(self, key: bytes) -> Explanation:
        if not 0 < len(key) <= self._max_key_bytes:
            raise InvalidRequest(f"a key has 1 to {self._max_key_bytes} bytes, not {len(key)}")
        if (epoch := self._epochs.current) is None:
            raise Unavailable("this node belongs to no cluster yet")
        token = token_of(key)
        replicas = dict.fromkeys(r for ring in epoch.rings for r in ring.preference_list(token))
        reports = await asyncio.gather(*(self._report(epoch, replica, key) for replica in replicas))
        return Explanation(
            key=key,
            token=token,
            epoch=epoch.number,
            replicas=tuple(reports),
            reachable=sum(report.answered for report in reports),
            read_quorum=epoch.rings[0].r,
            write_quorum=epoch.rings[0].w,
        )

    async def _report(self, epoch: Epoch, replica: Identity, key: bytes) -> ReplicaReport:
        state = state_of(self._members.get(replica))
        batch = DataBatch(epoch.stamp, (Read(key),))
        reply: DataReply | EpochMismatch
        try:
            if replica == self._peers.me:
                reply = await self._replica.serve(batch)
            else:
                reply = await self._peers.call(replica, batch, DataReply, EXPLAIN_TIMEOUT_S)
        except (PeerError, StorageFailed):
            return ReplicaReport(replica.name, state, answered=False)
        if isinstance(reply, EpochMismatch) or not isinstance(reply.results[0], ReadResult):
            return ReplicaReport(replica.name, state, answered=False)
        entry = reply.results[0].entry
        if entry is None:
            return ReplicaReport(replica.name, state, answered=True)
        size = len(entry.value or b"")
        return ReplicaReport(
            name=replica.name,
            state=state,
            answered=True,
            version=entry.version,
            tombstone=entry.tombstone,
            bytes=size,
        )
