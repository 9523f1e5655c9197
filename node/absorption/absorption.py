"""Makes a cluster of one that no other node has joined part of the cluster that counts its node as a member.

The case arises when a node that is its only seed loses its folder and is started again while the other members are out
of reach. It then forms a cluster, theirs counts its old disk, and both serve. So once a claim (``claims``) has been
verified:

1. This node refuses clients and peers from that moment on, before anything else: whatever it acknowledged is in its
   engine once the operations under way have ended.
2. The verdict is put on disk. From here on a restart continues with it, and the node never serves as a cluster of one
   again. It is not taken back, whatever becomes of the other cluster.
3. Everything is brought into the other cluster (``transfer``), and that this is finished is put on disk.
4. The process gives up the data, and with it its identity, and begins anew with an empty folder that remembers where
   the other cluster is. It then joins as a new disk under its name, and the old one is replaced.

Only a node whose record has never had another owner does so: a cluster that others have joined has owners who would
not know of it. Such a node refuses the callers and logs it, as any node does.
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
"""Minimum time, on average, between two claims that are verified."""


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
        self._not_able = ""
        self.began = asyncio.Event()
        """Set once this node refuses everything because it is to join another cluster."""
        self.finished = asyncio.Event()
        """Set once everything is acknowledged there and the data can be given up."""
        stored = data.engine.get_meta(META_VERDICT)
        self.verdict = Verdict.decode(stored) if stored is not None else None
        if (epoch := data.epochs.current) is not None:
            self.on_epoch(epoch)

    def refusal(self) -> str:
        """Return why clients and peers are refused; empty while they are not."""
        return _refusal(self.verdict.cluster_id) if self.verdict is not None else ""

    def status(self) -> str:
        """Return what is under way, for status; empty when nothing is."""
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
        """Wait for a claim and follow it, or continue with one; return when all entries are transferred.

        ``close`` is called with a reason and refuses everything from then on, as must a node that starts with a
        verdict; ``idle`` returns when no operation is under way.
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
        """Return whether this is a cluster of one that no other node has joined or is about to join."""
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
        """Clear the mark for good once there was another owner, for its node may know of this cluster."""
        if len(epoch.record.live_owners) > 1 and self._engine.get_meta(META_ALONE):
            self._engine.put_meta({META_ALONE: None})

    def _log_unable(self, claimant: Claimant) -> None:
        owners = len(claimant.record.owners.owners)
        reason = (
            f"cluster {claimant.cluster_id} counts this node as a member, but cannot take it in: "
            f"{claimant.owners_up} of its {owners} owners are up; this node goes on as a cluster of its own"
        )
        if reason != self._not_able:
            self._not_able = reason
            self._log.emit(Event.ABSORPTION_WAITING, cluster_id=claimant.cluster_id, reason=reason)


def _refusal(cluster_id: str) -> str:
    return (
        f"this node leaves its cluster of one and joins cluster {cluster_id}, which counts it as a member; ask again "
        "when it has"
    )
