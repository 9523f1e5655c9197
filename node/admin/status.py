"""Reports the cluster as this node knows it: each member's state, pending work, and warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...api.cluster import ClusterStatus, NodeState, NodeStatus
from ...membership.member_list import Liveness, Member
from ...membership.record import Condition, LoadReport, Status
from ...ring.epoch import EpochRecord
from ..epoch.epochs import Epoch, Epochs
from ..members.members import Members
from ..peer.skew_guard import describe_skew
from ..ring_change.steward import Steward
from ..runtime import Runtime
from ..tombstones.collector import TombstoneCollector


def state_of(member: Member | None) -> NodeState:
    """Return that the member is down or suspected, else the state that it has published."""
    if member is None or member.liveness is Liveness.DOWN or member.left:
        return NodeState.DOWN
    if member.liveness is Liveness.SUSPECT:
        return NodeState.SUSPECT
    return NodeState(member.record.status.value)


def _pending_of(name: str, condition: Condition) -> Iterator[str]:
    """Yield a sentence on each kind of work that a member still has to do for its data or other members' data."""
    if condition.hints:
        plural = "" if condition.hints == 1 else "s"
        yield f"{name} keeps {condition.hints:,} hint{plural} for members that are up"
    if condition.comparisons:
        peers = "1 member" if condition.comparisons == 1 else f"{condition.comparisons} members"
        yield f"{name} has yet to compare its data with that of {peers}"
    if condition.quarantined:
        plural = "" if condition.quarantined == 1 else "s"
        when = ", once it has been restarted" if condition.needs_restart else ""
        yield (
            f"{name} has found {condition.quarantined:,} damaged segment{plural} and gets them from other replicas"
            f"{when}"
        )


def _warnings_of(name: str, condition: Condition) -> Iterator[str]:
    """Yield a sentence on each fault of a member's disk or clock that an operator should know."""
    if off_ms := condition.clock_off_ms:
        yield (
            f"{name}'s clock is {describe_skew(off_ms)} what a majority reports: set it right; "
            "until then it serves no clients"
        )
    if condition.disk_full:
        yield f"{name}'s disk is full: it refuses writes until there is space"
    if keys := condition.keys_ahead:
        count = "1 key" if keys == 1 else f"{keys:,} keys"
        yield (
            f"{name} holds {count} with versions ahead of all clocks, written while clocks were wrong; "
            "they can be read and written, and this warning ends when clocks have reached the versions"
        )


class ClusterView:
    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        members: Members,
        steward: Steward,
        tombstones: TombstoneCollector,
        under_way: Callable[[], str],
    ) -> None:
        """Take ``under_way``, which returns why this node does not serve; empty while it serves."""
        self._me = runtime.me.identity
        self._clock = runtime.clock
        self._epochs = epochs
        self._members = members
        self._steward = steward
        self._tombstones = tombstones
        self._under_way = under_way

    def status(self) -> ClusterStatus:
        epoch = self._epochs.current
        if epoch is None:
            nodes = tuple(self._node(member, None) for member in self._present())
            return ClusterStatus(
                cluster_id="",
                epoch=0,
                changing=False,
                synced=False,
                nodes=nodes,
                answered_by=self._me.name,
                replication_factor=0,
                write_quorum=0,
                read_quorum=0,
                notes=("this node belongs to no cluster yet",),
            )
        record = epoch.record
        pending = self._pending(record)
        quorums = record.owners.quorums
        return ClusterStatus(
            cluster_id=record.cluster_id,
            epoch=record.number,
            changing=record.changing,
            synced=not pending,
            nodes=(*(self._node(member, epoch) for member in self._present()), *self._unheard(epoch)),
            answered_by=self._me.name,
            replication_factor=quorums.replication_factor,
            write_quorum=quorums.write_quorum,
            read_quorum=quorums.read_quorum,
            notes=(*pending, *self._warnings(record)),
        )

    def _present(self) -> list[Member]:
        return [member for member in self._members.all() if not member.left]

    def _node(self, member: Member, epoch: Epoch | None) -> NodeStatus:
        record = member.record
        return NodeStatus(
            identity=member.identity,
            address=record.address,
            zone=record.zone,
            weight=record.weight,
            state=state_of(member),
            owner=epoch is not None and member.identity in epoch.record.owners.owners,
            generation=record.generation,
            heartbeat_age_s=round(member.heartbeat_age_s(self._clock.monotonic()), 3),
            ownership=epoch.ownership.get(member.identity, 0.0) if epoch is not None else 0.0,
            keys=record.load.keys,
            epoch=record.epoch,
            load=record.load,
            condition=record.condition,
            handoff=record.handoff if epoch is not None and epoch.record.changing else None,
        )

    def _unheard(self, epoch: Epoch) -> list[NodeStatus]:
        """Return the owners of which this node has received no record since it started."""
        return [
            NodeStatus(
                identity=identity,
                address="",
                zone=owner.zone,
                weight=owner.weight,
                state=NodeState.DOWN,
                owner=True,
                generation=0,
                heartbeat_age_s=0.0,
                ownership=epoch.ownership.get(identity, 0.0),
                keys=0,
                epoch=0,
                load=LoadReport(),
            )
            for identity, owner in sorted(epoch.record.owners.owners.items())
            if not self._members.is_known(identity)
        ]

    def _pending(self, record: EpochRecord) -> list[str]:
        """Return sentences on the reasons why the cluster is not in sync, apart from down members."""
        pending = [under_way] if (under_way := self._under_way()) else []
        if record.changing:
            obstacle = self._steward.obstacle
            pending.append(
                f"the ring is changing (epoch {record.number})" + (f": {obstacle}" if obstacle else "")
            )
        for member in self._present():
            name = member.identity.name
            if member.liveness is Liveness.DOWN:
                continue
            if member.liveness is Liveness.SUSPECT:
                pending.append(f"{name} is under suspicion")
            if member.record.epoch != record.number:
                pending.append(f"{name} is at epoch {member.record.epoch}, this node at {record.number}")
            if member.record.status is Status.JOINING:
                pending.append(f"{name} waits to join the ring{self._why_not_begun(record)}")
            if member.record.status is Status.LEAVING:
                pending.append(f"{name} is leaving{self._why_not_begun(record)}")
            pending.extend(_pending_of(name, member.record.condition))
        return pending

    def _why_not_begun(self, record: EpochRecord) -> str:
        """Return the end of a sentence: why the next change of a stable ring cannot begin; empty if it can."""
        obstacle = self._steward.obstacle
        return f", but the change cannot begin yet: {obstacle}" if obstacle and not record.changing else ""

    def _warnings(self, record: EpochRecord) -> list[str]:
        """Return sentences on faults that an operator should know although no work is pending."""
        owners = record.owners.owners
        up = [owner for owner in owners if not self._members.is_down(owner)]
        warnings = [f"{owner.name} is down" for owner in sorted(owners) if self._members.is_down(owner)]
        for member in self._present():
            if member.liveness is not Liveness.DOWN:
                warnings += _warnings_of(member.identity.name, member.record.condition)
        wanted = record.owners.quorums.replication_factor
        if len(owners) < wanted:
            warnings.append(f"under-replicated: {len(owners)} owners hold {len(owners)} of {wanted} copies")
        if len(up) < record.majority:
            warnings.append(
                f"the ring cannot change: that takes {record.majority} of {len(owners)} owners, and {len(up)} are up"
            )
        if self._tombstones.waiting:
            warnings.append(f"some tombstones cannot be collected: {self._tombstones.waiting}")
        return warnings
