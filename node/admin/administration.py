"""Looking at the cluster and changing it, as people ask it of any node."""

from __future__ import annotations

import asyncio

from ...identity import Identity
from ...membership.view import Member
from ...quorum.tally import Requirement, replicas_of
from ...ring.epoch import EpochRecord
from ...ring.hashing import token_of
from ..epoch.epochs import Epoch, Epochs
from ..epoch.fenced_client import FencedClient
from ..errors import (
    InvalidRequest,
    OperationTimeout,
    PeerError,
    Refused,
    StorageFailed,
    Unavailable,
    UnknownNode,
)
from ..members.gossip_driver import GossipDriver
from ..messages.control import RequestLeave
from ..messages.data import DataBatch, DataReply, Read, ReadResult
from ..messages.envelope import EpochMismatch
from ..operations import ClusterStatus, Explanation, RepairReport, ReplicaReport, RingView
from ..peer.client import PeerClient
from ..replica.service import ReplicaService
from ..ring_change.steward import Steward
from .cluster_repair import ClusterRepair
from .status import ClusterView, state_of

POLL_S = 0.05
EXPLAIN_TIMEOUT_S = 1.0


class ClusterAdmin:
    def __init__(
        self,
        peers: PeerClient,
        fenced: FencedClient,
        epochs: Epochs,
        gossiping: GossipDriver,
        replica: ReplicaService,
        view: ClusterView,
        steward: Steward,
        repair: ClusterRepair,
        rpc_timeout_s: float,
        max_key_bytes: int,
    ) -> None:
        self._peers = peers
        self._me = peers.me.identity
        self._fenced = fenced
        self._epochs = epochs
        self._gossiping = gossiping
        self._replica = replica
        self._view = view
        self._steward = steward
        self._repair = repair
        self._rpc_timeout_s = rpc_timeout_s
        self._max_key_bytes = max_key_bytes

    def status(self) -> ClusterStatus:
        return self._view.status()

    def ring(self) -> RingView:
        return RingView(
            self._epochs.record,
            {m.identity: m.record.address for m in self._gossiping.members() if not m.left},
        )

    # --- explain ---

    async def explain(self, key: bytes) -> Explanation:
        if not 0 < len(key) <= self._max_key_bytes:
            raise InvalidRequest(f"a key has 1 to {self._max_key_bytes} bytes, not {len(key)}")
        epoch = self._require_epoch()
        token = token_of(key)
        lists = [Requirement(ring.preference_list(token), ring.n) for ring in epoch.rings]
        replicas = replicas_of(lists)
        reports = await asyncio.gather(*(self._report(epoch, replica, key) for replica in replicas))
        return Explanation(
            key=key,
            token=token,
            epoch=epoch.number,
            replicas=tuple(reports),
            reachable=sum(report.answered for report in reports),
            read_quorum=epoch.rings[0].r,
            write_quorum=epoch.rings[0].w,
        )

    async def _report(self, epoch: Epoch, replica: Identity, key: bytes) -> ReplicaReport:
        state = state_of(self._gossiping.member(replica))
        batch = DataBatch(epoch.stamp, (Read(key),))
        reply: DataReply | EpochMismatch
        try:
            if replica == self._me:
                reply = await self._replica.serve(batch)
            else:
                reply = await self._fenced.call(replica, batch, DataReply, EXPLAIN_TIMEOUT_S)
        except (PeerError, StorageFailed):
            return ReplicaReport(replica.name, state, answered=False)
        if isinstance(reply, EpochMismatch) or not isinstance(reply.results[0], ReadResult):
            return ReplicaReport(replica.name, state, answered=False)
        entry = reply.results[0].entry
        if entry is None:
            return ReplicaReport(replica.name, state, answered=True)
        size = len(entry.value or b"")
        return ReplicaReport(replica.name, state, True, entry.version, entry.tombstone, size)

    # --- leave ---

    async def leave(self, name: str, timeout_s: float) -> None:
        member = self._find(name, prefer_alive=True)
        if self._gossiping.is_down(member.identity):
            raise Refused(
                f"{name} is down and cannot hand anything off; 'covey remove {name}' takes it out of the ring"
            )
        record = self._require_epoch().record
        if list(record.owners.owners) == [member.identity]:
            raise Refused(f"{name} is the only owner: its data would have nowhere to go; stop it instead")
        self._require_majority(record, name)
        if member.identity == self._me:
            self._gossiping.leave()
        else:
            await self._ask_to_leave(member.identity)
        await self._until_out(member.identity, timeout_s, f"{name} is still handing off")

    async def _ask_to_leave(self, identity: Identity) -> None:
        try:
            await self._peers.tell(identity, RequestLeave(), self._rpc_timeout_s)
        except PeerError as error:
            raise Unavailable(f"{identity.name} could not be asked to leave: {error}") from error

    # --- remove ---

    async def remove(self, name: str, timeout_s: float) -> None:
        record = self._require_epoch().record
        identity = self._unheard(record, name) or self._find(name, prefer_alive=False).identity
        if not self._gossiping.is_down(identity):
            raise Refused(f"{name} is alive; 'covey leave {name}' hands its data off first")
        self._require_majority(record, name)
        self._steward.request_removal(identity)
        try:
            await self._until_out(identity, timeout_s, f"{name} is still in the ring")
        finally:
            self._steward.withdraw_removal(identity)

    def _unheard(self, record: EpochRecord, name: str) -> Identity | None:
        """An owner of that name that no member has told of: all others have restarted since it went."""
        named = (identity for identity in sorted(record.owners.owners) if identity.name == name)
        return next((identity for identity in named if self._gossiping.member(identity) is None), None)

    # --- repair ---

    async def repair(self, timeout_s: float) -> RepairReport:
        return await self._repair.run(timeout_s)

    # --- common ---

    async def _until_out(self, identity: Identity, timeout_s: float, unfinished: str) -> None:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while not self._is_out(identity):
            if asyncio.get_running_loop().time() >= deadline_s:
                obstacle = self._steward.obstacle
                raise OperationTimeout(
                    f"{unfinished} after {timeout_s:g} s, and goes on"
                    + (f": {obstacle}" if obstacle else ""),
                    maybe_applied=True,
                )
            await asyncio.sleep(POLL_S)

    def _is_out(self, identity: Identity) -> bool:
        """Whether no live ring has the node; another change may have begun by now."""
        record = self._require_epoch().record
        return all(identity not in spec.owners for spec in record.live_rings)

    def _find(self, name: str, prefer_alive: bool) -> Member:
        """The member of that name; of several (a wiped disk under an old name) the alive or the down one."""
        found = [m for m in self._gossiping.members() if m.identity.name == name and not m.left]
        if not found:
            known = ", ".join(m.identity.name for m in self._gossiping.members() if not m.left)
            raise UnknownNode(f"no node is named {name}; known are {known}")
        return min(found, key=lambda m: self._gossiping.is_down(m.identity) is prefer_alive)

    def _require_majority(self, record: EpochRecord, name: str) -> None:
        owners = record.owners.owners
        alive = sum(not self._gossiping.is_down(owner) for owner in owners)
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
