"""Serves people who look at the cluster and change it: proto/covey/v1/cluster.proto over ``Administration``."""

from __future__ import annotations

from typing import Any, Final

import grpc

from ...proto.generated import cluster_pb2, cluster_pb2_grpc
from ..coordinator.preconditions import ANY, Preconditions
from ..operations import (
    Administration,
    ClusterStatus,
    Explanation,
    NodeRepair,
    NodeStatus,
    RepairReport,
    ReplicaReport,
    RingView,
)
from .codec.values import (
    encode_condition,
    encode_handoff,
    encode_identity,
    encode_load,
    encode_optional,
    encode_version,
)
from .kv import allowed_s
from .status import Answering, ReportDefect

CHANGE_TIMEOUT_S: Final = 600.0
"""How long a leave, a removal or a repair may take when the caller does not say: moving data takes its time."""

Context = grpc.aio.ServicerContext[Any, Any]
Change = cluster_pb2.LeaveRequest | cluster_pb2.RemoveRequest | cluster_pb2.RepairRequest


def encode_node(node: NodeStatus) -> cluster_pb2.NodeStatus:
    return cluster_pb2.NodeStatus(
        identity=encode_identity(node.identity),
        address=node.address,
        zone=node.zone,
        state=node.state,
        owner=node.owner,
        generation=node.generation,
        heartbeat_age_s=node.heartbeat_age_s,
        ownership=node.ownership,
        keys=node.keys,
        load=encode_load(node.load),
        handoff=encode_optional(encode_handoff, node.handoff),
        condition=encode_condition(node.condition),
        epoch=node.epoch,
        weight=node.weight,
    )


def encode_status(status: ClusterStatus) -> cluster_pb2.StatusResponse:
    return cluster_pb2.StatusResponse(
        cluster_id=status.cluster_id,
        epoch=status.epoch,
        changing=status.changing,
        synced=status.synced,
        nodes=[encode_node(node) for node in status.nodes],
        answered_by=status.answered_by,
        notes=status.notes,
        replication_factor=status.replication_factor,
        write_quorum=status.write_quorum,
        read_quorum=status.read_quorum,
    )


def encode_ring(view: RingView, clock_ms: int = 0) -> cluster_pb2.RingResponse:
    return cluster_pb2.RingResponse(
        record=None if view.record is None else view.record.encoded,
        addresses={str(identity): address for identity, address in sorted(view.addresses.items())},
        clock_ms=clock_ms,
        cluster_id="" if view.record is None else view.record.cluster_id,
    )


def encode_replica(replica: ReplicaReport) -> cluster_pb2.ReplicaReport:
    return cluster_pb2.ReplicaReport(
        name=replica.name,
        state=replica.state,
        answered=replica.answered,
        version=encode_optional(encode_version, replica.version),
        tombstone=replica.tombstone,
        bytes=replica.bytes,
    )


def encode_explanation(explanation: Explanation) -> cluster_pb2.ExplainResponse:
    return cluster_pb2.ExplainResponse(
        key=explanation.key,
        token=explanation.token,
        epoch=explanation.epoch,
        replicas=[encode_replica(replica) for replica in explanation.replicas],
        reachable=explanation.reachable,
        read_quorum=explanation.read_quorum,
        write_quorum=explanation.write_quorum,
    )


def encode_repair(report: RepairReport) -> cluster_pb2.RepairResponse:
    return cluster_pb2.RepairResponse(nodes=map(encode_node_repair, report.nodes), down=report.down)


def encode_node_repair(node: NodeRepair) -> cluster_pb2.NodeRepair:
    return cluster_pb2.NodeRepair(
        name=node.name,
        compared=node.compared,
        differing=node.differing,
        received=node.received,
        sent=node.sent,
        bytes=node.bytes,
        unfinished=node.unfinished,
        failure=node.failure,
    )


class ClusterService(cluster_pb2_grpc.ClusterServicer):
    def __init__(
        self,
        administration: Administration,
        report_defect: ReportDefect,
        preconditions: Preconditions = ANY,
    ) -> None:
        self._preconditions: Final = preconditions
        self._administration: Final = administration
        self._report_defect: Final = report_defect

    async def Status(
        self, request: cluster_pb2.StatusRequest, context: Context
    ) -> cluster_pb2.StatusResponse:
        async with self._answering("Status", context):
            self._preconditions.check_cluster(request.cluster_id)
            return encode_status(self._administration.status())

    async def Ring(self, request: cluster_pb2.RingRequest, context: Context) -> cluster_pb2.RingResponse:
        async with self._answering("Ring", context):
            self._preconditions.check_cluster(request.cluster_id)
            return encode_ring(self._administration.ring(), self._preconditions.clock_ms())

    async def Explain(
        self, request: cluster_pb2.ExplainRequest, context: Context
    ) -> cluster_pb2.ExplainResponse:
        async with self._answering("Explain", context):
            self._preconditions.check_cluster(request.cluster_id)
            return encode_explanation(await self._administration.explain(request.key))

    async def Leave(self, request: cluster_pb2.LeaveRequest, context: Context) -> cluster_pb2.LeaveResponse:
        async with self._answering("Leave", context):
            timeout_s = self._admitted_s(request, context)
            await self._administration.leave(request.name, timeout_s)
            return cluster_pb2.LeaveResponse()

    async def Remove(
        self, request: cluster_pb2.RemoveRequest, context: Context
    ) -> cluster_pb2.RemoveResponse:
        async with self._answering("Remove", context):
            timeout_s = self._admitted_s(request, context)
            await self._administration.remove(request.name, timeout_s)
            return cluster_pb2.RemoveResponse()

    async def Repair(
        self, request: cluster_pb2.RepairRequest, context: Context
    ) -> cluster_pb2.RepairResponse:
        async with self._answering("Repair", context):
            timeout_s = self._admitted_s(request, context)
            return encode_repair(await self._administration.repair(timeout_s))

    def _admitted_s(self, change: Change, context: Context) -> float:
        """Return the seconds that a change may take. Raise OperationError when it is not to be begun."""
        timeout_s = allowed_s(change.timeout, context, CHANGE_TIMEOUT_S)
        self._preconditions.check_cluster(change.cluster_id)
        self._preconditions.check_time(change.sent_ms, timeout_s)
        return timeout_s

    def _answering(self, method: str, context: Context) -> Answering:
        return Answering(method, context, self._report_defect)
