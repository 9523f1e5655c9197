"""Collects claims: calls from clusters that count this node as a member although it does not belong to them.

A node whose data folder was lost and that is its only seed cannot know that a cluster exists in which its old disk is a
member. But the members of that cluster keep calling the old disk, at this node's address.

What counts as a claim, and why:
- The call must reach this node, so the other cluster has its address; and its destination must be a node of this node's
  name on another disk. A call without a destination (from a member that has this node as a seed) counts only when that
  cluster has a member of this name.
- An equal address is not enough. Addresses are reused, by a new machine in a cloud as by a new cluster on the same
  host, and a node of another name there is meant for another cluster. Mixing two clusters is the worst of all outcomes
  and cannot be undone; leaving them apart loses nothing.
- An equal name is not enough either: it distinguishes members of one cluster, not clusters ("n1" is common), and
  while a node of that name is alive elsewhere in the other cluster, that node is meant.
- A call proves little, so the caller is called back: it must answer at the address and under the identity that it gave,
  with a record of the cluster that it named.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from ...identity import Identity
from ...ring.epoch import EpochRecord
from ..epoch.epochs import Epochs
from ..errors import PeerError
from ..events import Event, EventLog
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
    """A cluster that has confirmed that it counts this node's name among its members."""

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

        Of two clusters of one, neither absorbs the other. A cluster without a majority cannot agree to admit a node;
        if this one stopped serving for it, no cluster would serve.
        """
        return len(self.record.owners.owners) > 1 and self.owners_up >= self.record.majority


class Claims:
    def __init__(self, peers: PeerClient, epochs: Epochs) -> None:
        self._peers = peers
        self._epochs = epochs
        self._claims: dict[str, Claim] = {}
        self.heard = asyncio.Event()
        """Set by each claim; cleared by the task that waits for it."""

    def note(self, envelope: Envelope) -> None:
        """Record a call from a member of another cluster, if it claims this node."""
        me, meant = self._peers.me.identity, envelope.destination
        if not envelope.cluster_id or envelope.cluster_id == self._epochs.cluster_id():
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
                claim.address, MembershipQuery(), to=claim.identity, without_cluster_id=True
            )
        except PeerError:
            return None
        answer = reply.body
        if not isinstance(answer, MembershipReply) or not answer.counted or answer.record is None:
            return None
        if answer.record.cluster_id != claim.cluster_id or not answer.members:
            return None
        return Claimant(answer.record, answer.owners_up, answer.members)


LISTEN_HEARTBEATS, RECONNECT_S, MAX_LISTEN_S = 1.2, 0.5, 1.2
"""Time that a fresh seed listens for a cluster that counts it as a member: a number of heartbeat intervals, plus the
longest pause before a peer's connection is tried again, up to a limit that keeps the start short.

In that time each of a few members, or several of many, have called the disk that was at this address."""


class ClaimListener:
    def __init__(self, claims: Claims, name: str, heartbeat_interval_s: float, log: EventLog) -> None:
        self._claims = claims
        self._name = name
        self._listen_s = min(LISTEN_HEARTBEATS * heartbeat_interval_s + RECONNECT_S, MAX_LISTEN_S)
        self._log = log
        self._until_s = 0.0
        self.claimed_by = ""
        """The cluster that counts this node as a member, once a member of it has confirmed that."""

    def begin(self, only_seed: bool) -> None:
        """Begin to listen; with ``only_seed``, log the notice for a node that is its only seed."""
        self._until_s = asyncio.get_running_loop().time() + self._listen_s
        if only_seed:
            self._log.emit(Event.GENESIS_ALONE, listens_s=self._listen_s, reason=self.notice())

    def notice(self) -> str:
        """Return the notice for the operator of a fresh node that is its only seed."""
        return (
            f"no other seed is given: {self._name} forms a new cluster, unless a cluster that counts it as a "
            f"member calls within {self._listen_s:.2g} s; to join a cluster, start it with --seed"
        )

    def left_s(self) -> float:
        """Return for how long it still listens."""
        return max(0.0, self._until_s - asyncio.get_running_loop().time())

    def obstacle(self) -> str:
        """Return why this node takes part in no first cluster now; empty when it does."""
        if self.claimed_by:
            return f"cluster {self.claimed_by} counts it as a member"
        return "it still listens whether a cluster counts it as a member" if self.left_s() else ""

    async def claimant(self) -> Claimant | None:
        """Return the cluster to join instead of forming one; None when none has called in the listening time."""
        claimant = await self._claims.within(self.left_s())
        if claimant is not None and not self.claimed_by:
            self.claimed_by = claimant.cluster_id
            member, address = claimant.members[0]
            self._log.emit(
                Event.GENESIS_CLAIMED,
                cluster_id=claimant.cluster_id,
                member=member.name,
                address=address,
                reason=(
                    f"cluster {claimant.cluster_id} counts {self._name} as a member: it joins that cluster as a new "
                    "disk instead of forming a new cluster"
                ),
            )
        return claimant
