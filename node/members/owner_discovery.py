"""Looks for owners of the ring that this node has not heard of.

A node that starts again knows nobody until it meets one member, who tells it of all others that it knows. Where many
start again while the network is cut, they come to know each other in groups; and when the cut is gone, members of one
group have never heard of those of another, so that gossip does not bring them together. So as long as an owner is
unheard of, some of the addresses that this node was given, or had met members at in an earlier life, are asked again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from .gossip_driver import GossipDriver
from .join import JoinProcedure

ROUNDS = 5
"""How many heartbeat intervals pass, on average, from one search to the next."""
ASKED_AT_ONCE = 3


class OwnerDiscovery:
    def __init__(
        self,
        gossiping: GossipDriver,
        joining: JoinProcedure,
        addresses: Sequence[str],
        rng: random.Random,
        heartbeat_interval_s: float,
    ) -> None:
        """``addresses``: the seeds, and where members were when this node was last up."""
        self._gossiping = gossiping
        self._joining = joining
        self._addresses = sorted(set(addresses))
        self._rng = rng
        self._interval_s = ROUNDS * heartbeat_interval_s

    async def run(self) -> None:
        """Search until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s * (0.5 + self._rng.random()))
            if self._gossiping.unheard_of() and (elsewhere := self._elsewhere()):
                await self._joining.meet(self._rng.sample(elsewhere, min(ASKED_AT_ONCE, len(elsewhere))))

    def _elsewhere(self) -> list[str]:
        """Where none of the members is that this node knows: those, gossip finds by itself."""
        known = {member.record.address for member in self._gossiping.members()}
        return [address for address in self._addresses if address not in known]
