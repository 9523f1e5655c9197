"""Client for data messages, which are fenced by epoch: they succeed only between two nodes at the same epoch.

- A peer at a later epoch replies with its record, which this node adopts.
- To a peer at an earlier epoch, this node pushes its record, and then repeats the call.
- In both cases the peer does nothing under an epoch that the two nodes do not share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from ...identity import Identity
from ...ring.epoch import EpochRecord
from ...ring.paxos import DivergedRecord
from ..errors import PeerError, PeerRefused
from ..messages.control import PushRecord
from ..messages.data import Scan, ScanReply, checksum_of
from ..messages.envelope import DataBody, EpochMismatch
from ..peer.client import PeerClient
from ..storage.interface import Engine
from .epochs import Epochs

B = TypeVar("B")

MAX_RECORD_PUSHES = 3


class FencedClient:
    """Sends data messages to peers. Without a ``timeout_s``, the peer client's default applies."""

    def __init__(self, peers: PeerClient, epochs: Epochs) -> None:
        self._peers = peers
        self._epochs = epochs

    @property
    def me(self) -> Identity:
        return self._peers.me.identity

    async def call(
        self, to: Identity, body: DataBody, expect: type[B], timeout_s: float | None = None
    ) -> B | EpochMismatch:
        """Send ``body`` to ``to`` under ``body.epoch``, and return the reply.

        An EpochMismatch means that certainly nothing was done. Raise as PeerClient.call does.
        """
        for _ in range(MAX_RECORD_PUSHES):
            reply = await self._peers.call(to, body, expect, timeout_s)
            if not isinstance(reply, EpochMismatch):
                return reply
            if not await self._reconcile(to, body, reply, timeout_s):
                return reply
        return reply

    async def fetch_chunk(self, source: Identity, scan: Scan, timeout_s: float | None = None) -> ScanReply:
        """Fetch a chunk of a range and verify its checksum.

        Raise PeerError if ``source`` is at another epoch or the chunk was damaged in transit, and as ``call`` does.
        """
        reply = await self.call(source, scan, ScanReply, timeout_s)
        if isinstance(reply, EpochMismatch):
            raise PeerError(f"{source.name} is at another epoch")
        if reply.checksum != checksum_of(reply.entries):
            raise PeerError(f"a chunk from {source.name} was damaged in transit")
        return reply

    async def _reconcile(
        self, to: Identity, body: DataBody, mismatch: EpochMismatch, timeout_s: float | None
    ) -> bool:
        """Bring the node that is behind to the other's epoch. Return True if the request can be sent again."""
        if mismatch.record is not None:
            await self._adopt(to, mismatch.record)
            return False
        record = self._epochs.record
        if record is None or record.stamp != body.epoch:
            return False
        try:
            await self._peers.send(to, PushRecord(record), timeout_s)
        except PeerError:
            return False  # the peer is still behind
        return True

    async def _adopt(self, source: Identity, record: EpochRecord) -> None:
        try:
            await self._epochs.adopt(record)
        except DivergedRecord as diverged:
            raise PeerRefused(f"{source.name} has a different history of epochs: {diverged}") from diverged


@dataclass(frozen=True)
class DataPlane:
    """Access to data: this node's own copies, its peers' copies, and the epoch under which both are used."""

    epochs: Epochs
    engine: Engine
    peers: FencedClient
