"""A node for the shell to talk to: real gRPC on a free port, a dictionary instead of a cluster behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Self

import grpc

from covey.client.requests import GET, PUT
from covey.proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc, types_pb2
from covey.ring.epoch import EpochRecord


class FakeNode(kv_pb2_grpc.KVServicer, cluster_pb2_grpc.ClusterServicer):
    """``failure`` is what every operation ends with while it is set, and ``failures`` what single keys do."""

    def __init__(self, port: int = 0) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.failure: kv_pb2.OperationFailure | None = None
        self.failures: dict[bytes, kv_pb2.OperationFailure] = {}
        self.superseded = False
        self.puts: list[bytes] = []
        self.left: list[str] = []
        self.status = status_of(node_status("n1"))
        self.later_statuses: list[cluster_pb2.StatusResponse] = []
        self.explanation = cluster_pb2.ExplainResponse()
        self.repaired = cluster_pb2.RepairResponse()
        self.record: EpochRecord | None = None
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.asked_for_status = threading.Event()
        self.address = ""
        self._port = port
        self._versions = 0
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))

    def __enter__(self) -> Self:
        kv_pb2_grpc.add_KVServicer_to_server(self, self._server)
        cluster_pb2_grpc.add_ClusterServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{self._port}')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def Operate(
        self, requests: Iterator[kv_pb2.OperateRequest], context: grpc.ServicerContext
    ) -> Iterator[kv_pb2.OperateReply]:
        context.send_initial_metadata((("covey-cluster-id", ""),))
        for request in requests:
            with self._lock:
                reply = self._perform(request)
            yield reply

    def Keys(
        self, request: kv_pb2.KeysRequest, context: grpc.ServicerContext
    ) -> Iterator[kv_pb2.KeysResponse]:
        keys = [
            key for key in sorted(self.contents) if key.startswith(request.prefix) and key > request.after_key
        ]
        for begin in range(0, len(keys), 100):
            yield kv_pb2.KeysResponse(keys=keys[begin : begin + 100])

    def _perform(self, request: kv_pb2.OperateRequest) -> kv_pb2.OperateReply:
        reply = kv_pb2.OperateReply(id=request.id, disk_id=1, generation=1)
        values = iter(request.values)
        for kind, key in zip(request.kinds, request.keys, strict=True):
            value = next(values) if kind == PUT else None
            failure = self.failure or self.failures.get(key)
            if failure is not None:
                reply.failures.append(failure)
                reply.kinds += bytes([4])
            elif kind == GET:
                reply.values.extend([self.contents[key]] if key in self.contents else [])
                reply.kinds += bytes([key in self.contents])
            else:
                self._write(key, value)
                reply.timestamps.append(self._versions << 16)
                reply.kinds += bytes([3 if value is not None and self.superseded else 2])
        return reply

    def _write(self, key: bytes, value: bytes | None) -> None:
        self._versions += 1
        if value is None:
            self.contents.pop(key, None)
        else:
            self.contents[key] = value
            self.puts.append(key)

    def Status(
        self, request: cluster_pb2.StatusRequest, context: grpc.ServicerContext
    ) -> cluster_pb2.StatusResponse:
        self.asked_for_status.set()
        if self.later_statuses:
            self.status = self.later_statuses.pop(0)
        return self.status

    def Ring(
        self, request: cluster_pb2.RingRequest, context: grpc.ServicerContext
    ) -> cluster_pb2.RingResponse:
        if self.record is None:
            return cluster_pb2.RingResponse()
        owners = sorted(self.record.owners.owners)
        return cluster_pb2.RingResponse(
            record=self.record.encoded, addresses={str(owner): self.address for owner in owners}
        )

    def Explain(
        self, request: cluster_pb2.ExplainRequest, context: grpc.ServicerContext
    ) -> cluster_pb2.ExplainResponse:
        return self.explanation

    def Leave(
        self, request: cluster_pb2.LeaveRequest, context: grpc.ServicerContext
    ) -> cluster_pb2.LeaveResponse:
        self._depart(request.name, context)
        return cluster_pb2.LeaveResponse()

    def Remove(
        self, request: cluster_pb2.RemoveRequest, context: grpc.ServicerContext
    ) -> cluster_pb2.RemoveResponse:
        self._depart(request.name, context)
        return cluster_pb2.RemoveResponse()

    def Repair(
        self, request: cluster_pb2.RepairRequest, context: grpc.ServicerContext
    ) -> cluster_pb2.RepairResponse:
        return self.repaired

    def _depart(self, name: str, context: grpc.ServicerContext) -> None:
        if self.refusal is not None:
            context.set_trailing_metadata((("covey-maybe-applied", "0"),))
            context.abort(*self.refusal)
        self.left.append(name)


def node_status(name: str, state: str = "serving", *, owner: bool = True) -> cluster_pb2.NodeStatus:
    return cluster_pb2.NodeStatus(
        identity=types_pb2.Identity(name=name, disk_id=7),
        address=f"127.0.0.1:700{name[-1]}",
        state=state,
        owner=owner,
        generation=1,
        heartbeat_age_s=0.25,
        ownership=0.5 if owner else 0.0,
        keys=12,
        load=types_pb2.LoadReport(in_flight=1, service_time_ms=0.5, cpu=0.25, keys=12, bytes=3456),
        epoch=3,
        weight=1.0,
    )


def status_of(
    *nodes: cluster_pb2.NodeStatus, synced: bool = True, notes: tuple[str, ...] = ()
) -> cluster_pb2.StatusResponse:
    return cluster_pb2.StatusResponse(
        cluster_id="c0ffee",
        epoch=3,
        changing=not synced,
        synced=synced,
        nodes=nodes,
        answered_by=nodes[0].identity.name,
        notes=notes,
        replication_factor=3,
        write_quorum=2,
        read_quorum=2,
    )
