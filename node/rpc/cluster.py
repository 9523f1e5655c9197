"""Serves operators: the service Cluster of proto/covey/v1/cluster.proto, by means of ``Administration``."""

from __future__ import annotations

from typing import Any, Final

import grpc

from ...api.cluster import RingView
from ...api.cluster_codec import EXPLANATION, REPAIR, STATUS
from ...proto.generated import cluster_pb2, cluster_pb2_grpc
from ..coordinator.request_checks import ANY, Preconditions
from ..operations import Administration
from .failures import ErrorMapper, ReportDefect
from .kv import allowed_s

CHANGE_TIMEOUT_S: Final = 600.0
"""Default timeout of a leave, a removal or a repair, which may have to move much data."""

Context = grpc.aio.ServicerContext[Any, Any]
Change = cluster_pb2.LeaveRequest | cluster_pb2.RemoveRequest | cluster_pb2.RepairRequest


def encode_ring(view: RingView | None, clock_ms: int = 0) -> cluster_pb2.RingResponse:
    """Encode the ring as a node knows it, and the node's clock, from which clients derive ``sent_ms``."""
    if view is None:
        return cluster_pb2.RingResponse(clock_ms=clock_ms)
    return cluster_pb2.RingResponse(
        record=view.record.encoded,
        addresses={str(identity): address for identity, address in sorted(view.addresses.items())},
        clock_ms=clock_ms,
        cluster_id=view.record.cluster_id,
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
            response: cluster_pb2.StatusResponse = STATUS.encode(self._administration.status())
            return response

    async def Ring(self, request: cluster_pb2.RingRequest, context: Context) -> cluster_pb2.RingResponse:
        async with self._answering("Ring", context):
            self._preconditions.check_cluster(request.cluster_id)
            return encode_ring(self._administration.ring(), self._preconditions.clock_ms())

    async def Explain(
        self, request: cluster_pb2.ExplainRequest, context: Context
    ) -> cluster_pb2.ExplainResponse:
        async with self._answering("Explain", context):
            self._preconditions.check_cluster(request.cluster_id)
            explanation = await self._administration.explain(request.key)
            response: cluster_pb2.ExplainResponse = EXPLANATION.encode(explanation)
            return response

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
            report = await self._administration.repair(timeout_s)
            response: cluster_pb2.RepairResponse = REPAIR.encode(report)
            return response

    def _admitted_s(self, change: Change, context: Context) -> float:
        """Return the seconds that a change may take. Raise OperationError when it must not begin."""
        timeout_s = allowed_s(change.timeout, context, CHANGE_TIMEOUT_S)
        self._preconditions.check_cluster(change.cluster_id)
        self._preconditions.check_time(change.sent_ms, timeout_s)
        return timeout_s

    def _answering(self, method: str, context: Context) -> ErrorMapper:
        return ErrorMapper(method, context, self._report_defect)
