"""Clusters that count this node as a member although it does not know them, or belongs to another cluster.

A node whose data folder was lost and that is its own only seed cannot know that a cluster exists in which its old
disk is a member. But the members of that cluster go on trying the old disk, at this node's address.

What counts as a claim, and why:
- The call must reach this node, so the other cluster has its address; and the call must be meant for a node of this
  node's name on another disk. A call that names no destination (from a member that has this node as a seed) counts
  only when that cluster has a member of this name.
- The address alone does not suffice. Addresses are reused, by a new machine in a cloud as by a new cluster on the
  same host, and an operator who starts a node of another name there means another cluster: to mix the two would be
  the worst of all outcomes, and could not be undone. To leave them apart loses nothing.
- The name alone does not suffice either: it tells apart the members of one cluster, not clusters ("n1" is common),
  and while a node of that name is alive elsewhere in the other cluster, that one is meant.
- A call proves little, so the caller is asked in turn: it must answer at the address and under the identity that it
  gave, with a record of the cluster that it named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...identity import Identity
from ...ring.epoch import EpochRecord
from ..errors import PeerError
from ..messages.absorption import MAX_ADDRESS_BYTES, MembershipQuery, MembershipReply
from ..messages.envelope import Envelope
from ..peer.client import PeerClient

MAX_CLAIMS = 4
"""Clusters whose claims are remembered; of more, the oldest claim is dropped."""


class Claim(NamedTuple):
    """A member of another cluster that called this node by its name; not verified."""

    cluster_id: str
    identity: Identity
    address: str


@dataclass(frozen=True)
class Claimant:
    """A cluster that was asked and does count this node's name among its members."""

    record: EpochRecord
    owners_up: int
    members: tuple[tuple[Identity, str], ...]
    """Members that are alive, and their addresses; the one that was asked first."""

    @property
    def cluster_id(self) -> str:
        return self.record.cluster_id

    @property
    def absorbs(self) -> bool:
        """Return whether it may and can absorb a cluster of one: it has several owners, and a majority of them is up.

        Of two clusters of one neither absorbs the other. A cluster without a majority cannot agree to take a node
        in; to stop serving for its sake would leave no cluster that serves.
        """
        return len(self.record.owners.owners) > 1 and self.owners_up >= self.record.majority


class Claims:
    def __init__(self, peers: PeerClient, cluster_id: Callable[[], str], rpc_timeout_s: float) -> None:
        self._peers = peers
        self._cluster_id = cluster_id
        self._rpc_timeout_s = rpc_timeout_s
        self._claims: dict[str, Claim] = {}
        self.heard = asyncio.Event()
        """Set by each claim; cleared by the task that waits for it."""

    def note(self, envelope: Envelope) -> None:
        """Note a call from a member of another cluster, if it claims this node."""
        me, meant = self._peers.me.identity, envelope.destination
        if not envelope.cluster_id or envelope.cluster_id == self._cluster_id():
            return
        if not 0 < len(envelope.address) <= MAX_ADDRESS_BYTES:
            return
        if meant == me or (meant is not None and meant.name != me.name) or envelope.source.name == me.name:
            return
        self._claims.pop(envelope.cluster_id, None)
        self._claims[envelope.cluster_id] = Claim(envelope.cluster_id, envelope.source, envelope.address)
        if len(self._claims) > MAX_CLAIMS:
            del self._claims[next(iter(self._claims))]
        self.heard.set()

    async def claimant(self, cluster_id: str | None = None) -> Claimant | None:
        """Return the cluster whose claim is the latest that its member confirms; only ``cluster_id`` if given."""
        for claim in reversed(list(self._claims.values())):
            if cluster_id in (None, claim.cluster_id) and (found := await self._verify(claim)) is not None:
                return found
        return None

    async def within(self, timeout_s: float) -> Claimant | None:
        """Return the first claimant, waiting up to ``timeout_s`` for one to call."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            self.heard.clear()
            if (found := await self.claimant()) is not None:
                return found
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self.heard.wait()
            except TimeoutError:
                return None

    async def _verify(self, claim: Claim) -> Claimant | None:
        try:
            reply = await self._peers.call_address(
                claim.address, MembershipQuery(), self._rpc_timeout_s, claim.identity, as_stranger=True
            )
        except PeerError:
            return None
        answer = reply.body
        if not isinstance(answer, MembershipReply) or not answer.counted or answer.record is None:
            return None
        if answer.record.cluster_id != claim.cluster_id or not answer.members:
            return None
        return Claimant(answer.record, answer.owners_up, answer.members)
