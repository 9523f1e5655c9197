"""Fences calls of the data lane by epoch: they succeed only between nodes at equal epochs.

A peer that is ahead answers with its record, which this node adopts. A peer that is behind gets this node's record
before the call is repeated. In both cases nothing was done under an epoch that the two nodes did not share.
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
    """Calls of the data lane to peers; without a ``timeout_s``, the peer client's default applies."""

    def __init__(self, peers: PeerClient, epochs: Epochs) -> None:
        self._peers = peers
        self._epochs = epochs

    @property
    def me(self) -> Identity:
        return self._peers.me.identity

    async def call(
        self, to: Identity, body: DataBody, expect: type[B], timeout_s: float | None = None
    ) -> B | EpochMismatch:
        """Ask ``to`` under ``body.epoch``; an EpochMismatch means that certainly nothing was done.

        Raises as PeerClient.call does.
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

        Raises PeerError when ``source`` is at another epoch or the chunk was damaged in transit, and as ``call`` does.
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
        """Bring the two nodes to one epoch; return whether the request is worth sending again."""
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
            raise PeerRefused(f"{source.name} is of another history: {diverged}") from diverged


@dataclass(frozen=True)
class DataPlane:
    """The copies of data within reach: this node's own, its peers', and the epoch under which both are used."""

    epochs: Epochs
    engine: Engine
    peers: FencedClient
