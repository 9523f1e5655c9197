"""Looking at the cluster and changing it. Answers are the asked node's own view.

The node asked is the first of the client's given addresses that answers, never another one it has learned of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..identity import Identity
from ..proto.generated import cluster_pb2, types_pb2
from .arguments import checked_node_name, checked_timeout
from .dispatch import Dispatcher
from .errors import InternalError
from .link import NodeLink
from .requests import Key, encoded, version_from
from .version import Version

if TYPE_CHECKING:
    from ..ring.epoch import EpochRecord

DEFAULT_TIMEOUT_S = 5.0
ANSWER_GRACE_S = 2.0
"""A node that gives up on a change after its timeout has so long to say so."""


@dataclass(frozen=True, slots=True)
class Load:
    """How loaded a node is, as it says itself."""

    in_flight: int
    queue_depth: int
    service_time_ms: float
    cpu: float
    """Share of one core."""
    keys: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Condition:
    """How a node's data stands beside its peers', and what it noticed about its disk and clock."""

    hints: int
    """Kept there for members that are up."""
    comparisons: int
    """Peers whose data it still has to be compared with, or made equal to."""
    quarantined: int
    """Segments found damaged and not yet merged from others."""
    floor_wanted: int
    """The floor that confirmed tombstones or segments in quarantine wait for; 0 for none."""
    disk_full: bool
    clock_off_ms: int
    """Its wall clock minus what a majority reports, when beyond the allowed skew."""
    needs_restart: bool
    """Its disk has damage that is removed when it starts again."""
    keys_ahead: int
    """Number of its keys that stand ahead of all clocks, since they were written while clocks were wrong."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """What a node has pulled of the ranges it gains under ``epoch``."""

    epoch: int
    bytes_done: int
    bytes_total: int
    done: bool


@dataclass(frozen=True, slots=True)
class NodeStatus:
    identity: Identity
    address: str
    zone: str
    weight: float
    state: str
    """joining, serving, leaving, suspect or down."""
    owner: bool
    generation: int
    epoch: int
    heartbeat_age_s: float
    ownership: float
    """Share of all copies; sums to 1 over owners."""
    keys: int
    load: Load
    handoff: Handoff | None
    condition: Condition

    @property
    def name(self) -> str:
        return self.identity.name


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    cluster_id: str
    epoch: int
    changing: bool
    synced: bool
    nodes: tuple[NodeStatus, ...]
    answered_by: str
    """Name of the node whose view this is."""
    notes: tuple[str, ...]
    """What a person should know, for instance why the cluster is not synced; a sentence each."""
    replication_factor: int
    write_quorum: int
    read_quorum: int


@dataclass(frozen=True, slots=True)
class RingView:
    record: EpochRecord
    addresses: Mapping[Identity, str]
    """Where each owner listens, as far as the asked node knows."""


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    name: str
    state: str
    answered: bool
    version: Version | None
    """None when the replica holds nothing, or did not answer."""
    tombstone: bool
    bytes: int
    """Of the value."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What every replica of a key says of it, asked now."""

    key: bytes
    token: int
    epoch: int
    replicas: tuple[ReplicaReport, ...]
    reachable: int
    read_quorum: int
    write_quorum: int


@dataclass(frozen=True, slots=True)
class NodeRepair:
    """What came of one node's comparing its data with all its peers'."""

    name: str
    compared: int
    """Segments, or parts of segments."""
    differing: int
    received: int
    """Keys that were newer at a peer and were brought."""
    sent: int
    """Keys that were newer here and were sent."""
    bytes: int
    """Of keys and values, received and sent."""
    unfinished: tuple[str, ...]
    """Names of peers that it could not be made equal to."""
    failure: str
    """Why nothing is known of it; empty when it answered."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    nodes: tuple[NodeRepair, ...]
    down: tuple[str, ...]
    """Names of owners that were not asked."""


class Administration:
    """Administrative calls. Each raises CoveyError; leave and remove also Refused and NotFound."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def status(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> ClusterStatus:
        """The cluster as the asked node sees it."""

        async def ask(link: NodeLink, deadline: float) -> cluster_pb2.StatusResponse:
            request = cluster_pb2.StatusRequest()
            return await link.call(link.cluster.Status, request, _until(deadline))

        return _status_from(await self._dispatcher.ask_given(ask, checked_timeout(timeout), writes=False))

    async def ring(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> RingView:
        """The newest epoch record the asked node knows."""

        async def ask(link: NodeLink, deadline: float) -> cluster_pb2.RingResponse:
            return await link.call(link.cluster.Ring, cluster_pb2.RingRequest(), _until(deadline))

        return _ring_from(await self._dispatcher.ask_given(ask, checked_timeout(timeout), writes=False))

    async def explain(self, key: Key, *, timeout: float = DEFAULT_TIMEOUT_S) -> Explanation:
        """Where a key lives and what each of its replicas holds."""
        request = cluster_pb2.ExplainRequest(key=encoded(key, "key"))

        async def ask(link: NodeLink, deadline: float) -> cluster_pb2.ExplainResponse:
            return await link.call(link.cluster.Explain, request, _until(deadline))

        return _explanation_from(
            await self._dispatcher.ask_given(ask, checked_timeout(timeout), writes=False)
        )

    async def leave(self, name: str, *, timeout: float) -> None:
        """Have the node hand everything off and leave the ring; returns when that is done."""
        timeout = checked_timeout(timeout)
        request = cluster_pb2.LeaveRequest(name=checked_node_name(name), timeout=timeout)

        async def ask(link: NodeLink, deadline: float) -> cluster_pb2.LeaveResponse:
            return await link.change(link.cluster.Leave, request, _until(deadline))

        await self._dispatcher.ask_given(ask, timeout + ANSWER_GRACE_S, writes=True)

    async def remove(self, name: str, *, timeout: float) -> None:
        """Remove a node that is down; returns when the ring no longer has it."""
        timeout = checked_timeout(timeout)
        request = cluster_pb2.RemoveRequest(name=checked_node_name(name), timeout=timeout)

        async def ask(link: NodeLink, deadline: float) -> cluster_pb2.RemoveResponse:
            return await link.change(link.cluster.Remove, request, _until(deadline))

        await self._dispatcher.ask_given(ask, timeout + ANSWER_GRACE_S, writes=True)

    async def repair(self, *, timeout: float) -> RepairReport:
        """Have every owner that is up compare its data with its peers'; the report says who was not finished."""
        timeout = checked_timeout(timeout)
        request = cluster_pb2.RepairRequest(timeout=timeout)

        async def ask(link: NodeLink, deadline: float) -> cluster_pb2.RepairResponse:
            return await link.change(link.cluster.Repair, request, _until(deadline))

        return _repair_from(await self._dispatcher.ask_given(ask, timeout + ANSWER_GRACE_S, writes=True))


def _until(deadline: float) -> float:
    return max(0.001, deadline - asyncio.get_running_loop().time())


def _status_from(message: cluster_pb2.StatusResponse) -> ClusterStatus:
    return ClusterStatus(
        cluster_id=message.cluster_id,
        epoch=message.epoch,
        changing=message.changing,
        synced=message.synced,
        nodes=tuple(_node_from(node) for node in message.nodes),
        answered_by=message.answered_by,
        notes=tuple(message.notes),
        replication_factor=message.replication_factor,
        write_quorum=message.write_quorum,
        read_quorum=message.read_quorum,
    )


def _node_from(message: cluster_pb2.NodeStatus) -> NodeStatus:
    load, handoff = message.load, message.handoff
    return NodeStatus(
        identity=Identity(message.identity.name, message.identity.disk_id),
        address=message.address,
        zone=message.zone,
        weight=message.weight,
        state=message.state,
        owner=message.owner,
        generation=message.generation,
        epoch=message.epoch,
        heartbeat_age_s=message.heartbeat_age_s,
        ownership=message.ownership,
        keys=message.keys,
        load=Load(load.in_flight, load.queue_depth, load.service_time_ms, load.cpu, load.keys, load.bytes),
        handoff=Handoff(handoff.epoch, handoff.bytes_done, handoff.bytes_total, handoff.done)
        if message.HasField("handoff")
        else None,
        condition=_condition_from(message.condition),
    )


def _condition_from(message: types_pb2.Condition) -> Condition:
    return Condition(
        hints=message.hints,
        comparisons=message.comparisons,
        quarantined=message.quarantined,
        floor_wanted=message.floor_wanted,
        disk_full=message.disk_full,
        clock_off_ms=message.clock_off_ms,
        needs_restart=message.needs_restart,
        keys_ahead=message.keys_ahead,
    )


def _ring_from(message: cluster_pb2.RingResponse) -> RingView:
    from ..ring.epoch import EpochRecord  # loaded late: most commands do without

    try:
        record = EpochRecord.decode(message.record)
        addresses = {Identity.parse(text): address for text, address in sorted(message.addresses.items())}
    except ValueError as error:
        raise InternalError(f"the node's answer holds no usable ring: {error}") from error
    return RingView(record, addresses)


def _explanation_from(message: cluster_pb2.ExplainResponse) -> Explanation:
    return Explanation(
        key=message.key,
        token=message.token,
        epoch=message.epoch,
        replicas=tuple(_replica_from(replica) for replica in message.replicas),
        reachable=message.reachable,
        read_quorum=message.read_quorum,
        write_quorum=message.write_quorum,
    )


def _replica_from(message: cluster_pb2.ReplicaReport) -> ReplicaReport:
    version = version_from(message.version) if message.HasField("version") else None
    return ReplicaReport(
        message.name, message.state, message.answered, version, message.tombstone, message.bytes
    )


def _repair_from(message: cluster_pb2.RepairResponse) -> RepairReport:
    return RepairReport(tuple(_node_repair_from(node) for node in message.nodes), tuple(message.down))


def _node_repair_from(message: cluster_pb2.NodeRepair) -> NodeRepair:
    return NodeRepair(
        name=message.name,
        compared=message.compared,
        differing=message.differing,
        received=message.received,
        sent=message.sent,
        bytes=message.bytes,
        unfinished=tuple(message.unfinished),
        failure=message.failure,
    )
