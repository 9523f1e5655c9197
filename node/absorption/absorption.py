"""Absorption: a cluster of one node becomes part of the cluster that has a member of that node's name.

The case arises when a node that is the only seed loses its data folder and is started again while the other members are
unreachable. It then forms a new cluster, while the members of the old cluster still count its old disk as a member, and
both clusters serve. So once a claim of the other cluster (``claims``) has been verified:

1. This node first refuses clients and peers. When the operations under way have ended, its engine has all data that it
   has acknowledged and will ever acknowledge.
2. The verdict is stored on disk. It is never revoked, whatever happens to the other cluster: a restart continues with
   it, and the node never again serves as a cluster of one.
3. All entries are sent to the other cluster (``transfer``), and the end of the transfer is stored on disk.
4. The process discards the data and with it the identity, and restarts with an empty folder that contains the addresses
   of the other cluster. It then joins that cluster as a new disk under its name, which replaces the old disk.

Only a node whose cluster never had another owner does this: other owners would not learn that their cluster ends. Any
other node refuses the members of the other cluster as it refuses any foreign cluster, and logs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ..data_directory.verdict import META_ALONE, META_VERDICT, Verdict
from ..epoch.epochs import Epoch
from ..epoch.fenced_client import DataPlane
from ..events import Event
from ..members.claims import Claimant, Claims
from ..members.members import Members
from ..messages.absorption import CALL_TIMEOUTS
from ..peer.client import PeerClient
from ..runtime import Runtime
from .transfer import Transfer

REST_S = 0.5
"""Average minimum time between the verifications of two claims."""


class Absorption:
    def __init__(
        self,
        runtime: Runtime,
        peers: PeerClient,
        data: DataPlane,
        members: Members,
        claims: Claims,
        call_timeout_s: float,
    ) -> None:
        self._rng = runtime.rng
        self._log = runtime.log
        self._epochs = data.epochs
        self._engine = data.engine
        self._members = members
        self._claims = claims
        self._transfer = Transfer(
            runtime, peers, claims, engine=data.engine, timeout_s=CALL_TIMEOUTS * call_timeout_s
        )
        self._logged_obstacle = ""
        self.began = asyncio.Event()
        """Set once this node refuses all requests because it is to join another cluster."""
        self.finished = asyncio.Event()
        """Set once the other cluster has acknowledged all entries, so that the data can be discarded."""
        stored = data.engine.get_meta(META_VERDICT)
        self.verdict = Verdict.decode(stored) if stored is not None else None
        if (epoch := data.epochs.current) is not None:
            self.on_epoch(epoch)

    def refusal(self) -> str:
        """Return why clients and peers are refused; empty while they are not."""
        return _refusal(self.verdict.cluster_id) if self.verdict is not None else ""

    def status(self) -> str:
        """Return a sentence on the absorption under way, for ``covey status``; empty if there is none."""
        verdict = self.verdict
        if verdict is None:
            return ""
        name = self._members.own_record().identity.name
        waits = f"; it waits: {self._transfer.trouble}" if self._transfer.trouble else ""
        return (
            f"{name} serves no more: it joins cluster {verdict.cluster_id}, which counts it as a member, and has "
            f"brought it {verdict.entries:,} entries so far{waits}"
        )

    async def run(self, close: Callable[[str], None], idle: Callable[[], Awaitable[None]]) -> None:
        """Wait for a claim, or continue with the stored verdict; return when all entries are transferred.

        ``close`` makes the node refuse all requests, for the reason given. It is not called if there is a stored
        verdict: the node must then refuse requests from its start. ``idle`` returns when no operation is under way.
        """
        if self.verdict is None:
            claimant = await self._claimed()
            close(_refusal(claimant.cluster_id))
            await self._decide(claimant)
        self.began.set()
        await idle()
        assert self.verdict is not None
        if not self.verdict.finished:
            self._note(await self._transfer.run(self.verdict, self._note))
            self._note(replace(self.verdict, finished=True))
            await self._engine.durable(always=True)
        self._log.emit(
            Event.ABSORPTION_FINISHED,
            cluster_id=self.verdict.cluster_id,
            entries=self.verdict.entries,
            skipped=self.verdict.skipped,
        )
        self.finished.set()

    async def _claimed(self) -> Claimant:
        """Wait for the first cluster whose claim is to be followed."""
        while True:
            await self._claims.heard.wait()
            self._claims.heard.clear()
            if self._alone():
                claimant = await self._claims.claimant()
                if claimant is not None and claimant.absorbs and self._alone():
                    return claimant
                if claimant is not None:
                    self._log_unable(claimant)
            await asyncio.sleep(REST_S * (0.5 + self._rng.random()))

    def _alone(self) -> bool:
        """Return whether this node is the only member its cluster ever had, and no other node is about to join."""
        record = self._epochs.record
        if record is None or record.changing or not self._epochs.is_sole_owner():
            return False
        never_joined = record.number == 1 or self._engine.get_meta(META_ALONE) is not None
        return never_joined and not self._members.has_met_others()

    async def _decide(self, claimant: Claimant) -> None:
        self._note(Verdict(claimant.cluster_id, claimant.members))
        await self._engine.durable(always=True)
        identity, address = claimant.members[0]
        self._log.emit(
            Event.ABSORPTION_BEGUN,
            cluster_id=claimant.cluster_id,
            member=identity.name,
            address=address,
            reason=_refusal(claimant.cluster_id),
        )

    def _note(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self._engine.put_meta({META_VERDICT: verdict.encode()})

    def on_epoch(self, epoch: Epoch) -> None:
        """Clear META_ALONE forever once the cluster has had another owner, whose node knows of the cluster."""
        if len(epoch.record.live_owners) > 1 and self._engine.get_meta(META_ALONE):
            self._engine.put_meta({META_ALONE: None})

    def _log_unable(self, claimant: Claimant) -> None:
        owners = len(claimant.record.owners.owners)
        reason = (
            f"cluster {claimant.cluster_id} counts this node as a member, but cannot take it in: "
            f"{claimant.owners_up} of its {owners} owners are up; this node continues as a separate cluster"
        )
        if reason != self._logged_obstacle:
            self._logged_obstacle = reason
            self._log.emit(Event.ABSORPTION_WAITING, cluster_id=claimant.cluster_id, reason=reason)


def _refusal(cluster_id: str) -> str:
    return (
        f"this node leaves its cluster of one and joins cluster {cluster_id}, which counts it as a member; ask again "
        "when it has"
    )
