"""Client of addresses at which members may listen: the seeds, and the addresses of members in this node's last run.

A node that starts again knows only itself until it contacts one member, which sends it all others that it knows. If
many nodes start again during a partition, they form groups. When the partition heals, the members of one group do not
know those of another, so gossip does not connect the groups. Therefore some of the addresses are contacted again while
an owner is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...ring.genesis import GenesisSeat
from ...ring.paxos import DivergedRecord
from ..epoch.epochs import Epochs
from ..errors import ForeignCluster, PeerError
from ..events import Event
from ..messages.membership import Hello, HelloReply
from ..peer.client import PeerClient
from ..peer.skew_guard import SkewGuard
from ..runtime import Runtime
from .gossip_driver import GossipDriver

DISCOVERY_HEARTBEATS = 5
"""Average number of heartbeat intervals between two searches for owners that are unknown."""
MAX_DISCOVERY_CALLS = 3


@dataclass(frozen=True, slots=True)
class SeedAnswer:
    """The outcome of a ``Hello`` to one address."""

    address: str
    reply: HelloReply | None
    trouble: str = ""
    asked_s: float = 0.0
    heard_s: float = 0.0
    """By this node's monotonic clock."""
    foreign: bool = False
    """Whether the node at the address belongs to another cluster than this node."""


def troubles(answers: Sequence[SeedAnswer]) -> str:
    return "; ".join(answer.trouble for answer in answers if answer.trouble) or "no addresses to ask"


def advice(answers: Sequence[SeedAnswer]) -> str:
    """Return advice if these nodes wait for each other and none of them is in its own list of seeds; else empty."""
    replies = [answer.reply for answer in answers if answer.reply is not None]
    if not replies or any(reply.record is not None or reply.seat is not None for reply in replies):
        return ""
    return (
        "; no node here is a seed by its own list: to form a new cluster, start one without --seed, "
        "or give the same list to all that are on it"
    )


class SeedClient:
    def __init__(
        self,
        runtime: Runtime,
        gossip: GossipDriver,
        peers: PeerClient,
        epochs: Epochs,
        skew_guard: SkewGuard,
    ) -> None:
        self._me = runtime.me
        self._rng = runtime.rng
        self._clock = runtime.clock
        self._log = runtime.log
        self._members = gossip.members
        self._gossip = gossip
        self._peers = peers
        self._epochs = epochs
        self._skew_guard = skew_guard

    async def hello(self, addresses: Iterable[str], seat: GenesisSeat | None = None) -> list[SeedAnswer]:
        """Send a ``Hello`` to each address but this node's; return the outcomes in order."""
        others = [address for address in dict.fromkeys(addresses) if address != self._me.address]
        return await asyncio.gather(*(self._hello(address, seat) for address in others))

    async def _hello(self, address: str, seat: GenesisSeat | None) -> SeedAnswer:
        asked_s = self._clock.monotonic()
        try:
            reply = await self._peers.call_address(address, Hello(self._members.own_record(), seat))
        except PeerError as error:
            return SeedAnswer(address, None, trouble=str(error), foreign=isinstance(error, ForeignCluster))
        if not isinstance(reply.body, HelloReply):
            return SeedAnswer(address, None, trouble=f"{address} is not ready")
        trouble = "" if reply.body.record else f"{address} waits too"
        return SeedAnswer(
            address, reply.body, trouble=trouble, asked_s=asked_s, heard_s=self._clock.monotonic()
        )

    async def adopt(self, answer: SeedAnswer) -> bool:
        """Adopt the epoch and the record of a member that answered. Return False if no other member answered."""
        reply = answer.reply
        if reply is None or reply.record is None or reply.member.identity == self._me.identity:
            return False
        await self._epochs.adopt(reply.record)
        self._gossip.learn([reply.member])
        self._skew_guard.note(reply.member.identity, reply.wall_ms, answer.asked_s, answer.heard_s)
        return True

    async def discover_owners(self, addresses: Sequence[str], heartbeat_interval_s: float) -> None:
        """Contact some of the addresses at intervals while an owner is unknown, until cancelled."""
        while True:
            pause_s = DISCOVERY_HEARTBEATS * heartbeat_interval_s
            await asyncio.sleep(pause_s * (0.5 + self._rng.random()))
            if not self._members.unheard(self._epochs.live_owners()):
                continue
            known = {member.record.address for member in self._members.all()}  # gossip contacts these
            unknown = sorted({*addresses} - known)
            await self._meet(self._rng.sample(unknown, min(MAX_DISCOVERY_CALLS, len(unknown))))

    async def _meet(self, addresses: Sequence[str]) -> None:
        for answer in await self.hello(addresses):
            if answer.reply is None or answer.reply.refused:
                continue
            try:
                await self.adopt(answer)
            except DivergedRecord as diverged:
                self._log.emit(Event.NODE_DEFECT, method="Hello", traceback=str(diverged))
