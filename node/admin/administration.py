"""Serves administration: the cluster's state, and changes that an operator requests of any node."""

from __future__ import annotations

import asyncio

from ...api.cluster import ClusterStatus, Explanation, NodeRepair, RepairReport, RingView
from ...identity import Identity
from ...membership.member_list import Member
from ...ring.epoch import EpochRecord
from ..anti_entropy.service import AntiEntropyService
from ..epoch.epochs import Epoch, Epochs
from ..errors import (
    OperationTimeout,
    PeerError,
    Refused,
    Unavailable,
    UnknownNode,
)
from ..members.gossip_driver import GossipDriver
from ..messages.anti_entropy import RepairSummary, RequestRepair
from ..messages.control import RequestLeave
from ..peer.client import PeerClient
from ..ring_change.steward import Steward
from .explain import KeyExplainer
from .status import ClusterView

POLL_S = 0.05
ANSWER_GRACE_S = 1.0
"""Time added to the timeout of a peer's repair, so that its reply arrives."""
MAX_TIMEOUT_S = 1_000_000.0


class ClusterAdmin:
    def __init__(
        self,
        gossip: GossipDriver,
        peers: PeerClient,
        epochs: Epochs,
        steward: Steward,
        view: ClusterView,
        explainer: KeyExplainer,
        anti_entropy: AntiEntropyService,
    ) -> None:
        self._me = peers.me.identity
        self._gossip = gossip
        self._members = gossip.members
        self._peers = peers
        self._epochs = epochs
        self._steward = steward
        self._view = view
        self._explainer = explainer
        self._anti_entropy = anti_entropy

    def status(self) -> ClusterStatus:
        return self._view.status()

    def ring(self) -> RingView | None:
        record = self._epochs.record
        if record is None:
            return None
        return RingView(record, {m.identity: m.record.address for m in self._members.all() if not m.left})

    async def explain(self, key: bytes) -> Explanation:
        return await self._explainer.explain(key)

    async def repair(self, timeout_s: float) -> RepairReport:
        """Make every owner that is up compare its data with all its peers'; each may take ``timeout_s``."""
        record = self._require_epoch().record
        if record.changing:
            raise Unavailable(
                f"the ring is changing (epoch {record.number}): nothing is compared until that is over"
            )
        owners = sorted(record.owners.owners)
        down = [owner for owner in owners if owner != self._me and self._members.is_down(owner)]
        asked = [owner for owner in owners if owner not in down]
        nodes = await asyncio.gather(
            *(self._repair_by(owner, min(timeout_s, MAX_TIMEOUT_S)) for owner in asked)
        )
        return RepairReport(tuple(nodes), tuple(owner.name for owner in down))

    async def _repair_by(self, owner: Identity, timeout_s: float) -> NodeRepair:
        request = RequestRepair(int(timeout_s * 1000))
        try:
            if owner == self._me:
                summary = await self._anti_entropy.compare_all(timeout_s)
            else:
                summary = await self._peers.ask(owner, request, RepairSummary, timeout_s + ANSWER_GRACE_S)
        except PeerError as error:
            return NodeRepair(owner.name, failure=str(error))
        return NodeRepair(
            name=owner.name,
            compared=summary.compared,
            differing=summary.differing,
            received=summary.received,
            sent=summary.sent,
            bytes=summary.bytes,
            unfinished=summary.unfinished,
        )

    # --- taking a node out of the ring ---

    async def leave(self, name: str, timeout_s: float) -> None:
        member = self._find(name, prefer_alive=True)
        if self._members.is_down(member.identity):
            raise Refused(
                f"{name} is down and cannot hand anything off; 'covey remove {name}' takes it out of the ring"
            )
        record = self._require_epoch().record
        if list(record.owners.owners) == [member.identity]:
            raise Refused(f"{name} is the only owner: its data would have nowhere to go; stop it instead")
        self._require_majority(record, name)
        if member.identity == self._me:
            self._gossip.leave()
        else:
            await self._ask_to_leave(member.identity)
        await self._until_out(member.identity, timeout_s, f"{name} is still handing off")

    async def _ask_to_leave(self, identity: Identity) -> None:
        try:
            await self._peers.send(identity, RequestLeave())
        except PeerError as error:
            raise Unavailable(f"{identity.name} could not be asked to leave: {error}") from error

    async def remove(self, name: str, timeout_s: float) -> None:
        record = self._require_epoch().record
        identity = self._unheard_owner(record, name) or self._find(name, prefer_alive=False).identity
        if not self._members.is_down(identity):
            raise Refused(f"{name} is alive; 'covey leave {name}' hands its data off first")
        self._require_majority(record, name)
        self._steward.request_removal(identity)
        try:
            await self._until_out(identity, timeout_s, f"{name} is still in the ring")
        finally:
            self._steward.withdraw_removal(identity)

    def _unheard_owner(self, record: EpochRecord, name: str) -> Identity | None:
        """Return an owner of that name that gossip does not know, as after a restart of all others since it failed."""
        named = (identity for identity in sorted(record.owners.owners) if identity.name == name)
        return next((identity for identity in named if not self._members.is_known(identity)), None)

    async def _until_out(self, identity: Identity, timeout_s: float, unfinished: str) -> None:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while not self._is_out(identity):
            if asyncio.get_running_loop().time() >= deadline_s:
                obstacle = self._steward.obstacle
                raise OperationTimeout(
                    f"{unfinished} after {timeout_s:g} s; the change continues"
                    + (f": {obstacle}" if obstacle else ""),
                    maybe_applied=True,
                )
            await asyncio.sleep(POLL_S)

    def _is_out(self, identity: Identity) -> bool:
        """Return whether the node is in no live ring, whatever change of the ring may have begun since."""
        return identity not in self._require_epoch().record.live_owners

    def _find(self, name: str, prefer_alive: bool) -> Member:
        """Return the member of that name; of several (an old and a new disk), one alive or down as preferred."""
        found = [m for m in self._members.all() if m.identity.name == name and not m.left]
        if not found:
            known = ", ".join(m.identity.name for m in self._members.all() if not m.left)
            raise UnknownNode(f"no node is named {name}; known are {known}")
        return min(found, key=lambda m: self._members.is_down(m.identity) is prefer_alive)

    def _require_majority(self, record: EpochRecord, name: str) -> None:
        owners = record.owners.owners
        alive = sum(not self._members.is_down(owner) for owner in owners)
        if alive < record.majority:
            raise Refused(
                f"taking {name} out needs the agreement of {record.majority} of {len(owners)} owners, and {alive} "
                f"{'is' if alive == 1 else 'are'} up; start one that is down again"
            )

    def _require_epoch(self) -> Epoch:
        epoch = self._epochs.current
        if epoch is None:
            raise Unavailable("this node belongs to no cluster yet")
        return epoch
