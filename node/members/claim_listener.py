"""Waits for a claim before a fresh seed forms a cluster (see ``claims``)."""

from __future__ import annotations

import asyncio

from ..events import Event, EventLog
from .claims import Claimant, Claims

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
            f"no other seed is given: {self._name} forms a cluster of its own, unless a cluster that counts it as a "
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
                    "disk instead of forming one of its own"
                ),
            )
        return claimant
