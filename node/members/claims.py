"""Claims: calls from clusters that count this node as a member although it does not belong to them.

A node whose data folder was lost, and that is its only seed, cannot know that a cluster exists in which its old disk is
a member. But the members of that cluster continue to call the old disk at this node's address.

A call is a claim under these rules
- The call reaches this node, which shows that the other cluster has its address. The destination of the call is a node
  of this node's name on another disk. A call without a destination, from a member that has this node as a seed, is a
  claim only if its cluster has a member of this name.
- An equal address is not enough. Addresses are reused, by a new machine in a cloud or by a new cluster on the same
  host. If the destination has another name, the call is for a node that no longer runs here. Mixing two clusters is
  the worst possible outcome and cannot be undone; leaving them separate loses nothing.
- An equal name is not enough. Names are unique within a cluster, not between clusters ("n1" is common). While a node
  of that name is alive elsewhere in the other cluster, the call is for that node.
- A call proves little, so this node verifies it by a call to the sender, which must answer at the address and under the
  identity in its envelope, with a record of the cluster that it named.
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
"""Number of clusters whose claims are remembered. When there are more, the oldest claim is dropped."""


class Claim(NamedTuple):
    """A member of another cluster whose call was a claim; not verified."""

    cluster_id: str
    identity: Identity
    address: str


@dataclass(frozen=True)
class Claimant:
    """A cluster that has confirmed that it has a member of this node's name."""

    record: EpochRecord
    owners_up: int
    members: tuple[tuple[Identity, str], ...]
    """Members that are alive, and their addresses; the first is the member that confirmed."""

    @property
    def cluster_id(self) -> str:
        return self.record.cluster_id

    @property
    def absorbs(self) -> bool:
        """Whether it may absorb a cluster of one node: it has several owners, and a majority of them is up.

        Of two clusters of one node each, neither absorbs the other. A cluster without a majority cannot agree to admit
        a node; if this node stopped serving in order to join it, neither cluster would serve.
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
        """Record a call from a member of another cluster if it is a claim."""
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
        """Return the cluster of the latest claim that its member confirms; only ``cluster_id``, if that is given."""
        for claim in reversed(list(self._claims.values())):
            if cluster_id in (None, claim.cluster_id) and (found := await self._verify(claim)) is not None:
                return found
        return None

    async def wait_for_claimant(self, timeout_s: float) -> Claimant | None:
        """Wait up to ``timeout_s`` for a claim that is confirmed. Return None if there is none in that time."""
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
longest pause before a peer tries a connection again, up to a limit that keeps the start short.

In that time, every member of a small cluster, or several members of a large one, have called the disk that was at this
address."""


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

    def remaining_s(self) -> float:
        """Return the rest of the listening time."""
        return max(0.0, self._until_s - asyncio.get_running_loop().time())

    def obstacle(self) -> str:
        """Return why this node does not take part in forming a first cluster now; empty if it does."""
        if self.claimed_by:
            return f"cluster {self.claimed_by} counts it as a member"
        return "it still listens whether a cluster counts it as a member" if self.remaining_s() else ""

    async def claimant(self) -> Claimant | None:
        """Return the cluster to join instead of forming one; None if none has called in the listening time."""
        claimant = await self._claims.wait_for_claimant(self.remaining_s())
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
                    "disk instead of forming a new one"
                ),
            )
        return claimant
