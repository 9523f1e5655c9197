"""A client's connection to one node: the border where gRPC is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import grpc

from ..proto.generated import cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from .batching import Lane, Pending
from .errors import CoveyError, InternalError, Timeout
from .requests import MAX_MESSAGE_BYTES, Operation, seen_in
from .statuses import error_from_failure, error_from_status
from .version import HighestSeen

CONNECT_TIMEOUT_MS = 1000

_ANSWER_MARGIN = 0.05
_MAX_ANSWER_MARGIN_S = 0.1
"""The node is given a little less time than the caller has, so that its own, better error arrives."""

_CHANNEL_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
    ("grpc.max_reconnect_backoff_ms", 2000),
]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class NodeLink:
    """One node at one address. Reads and writes have lanes of their own, so neither waits for the other."""

    def __init__(self, address: str, seen: HighestSeen) -> None:
        self.address = address
        self._seen = seen
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._kv: kv_pb2_grpc.KVAsyncStub = kv_pb2_grpc.KVStub(self._channel)
        self.cluster: cluster_pb2_grpc.ClusterAsyncStub = cluster_pb2_grpc.ClusterStub(self._channel)
        self._closed = False
        self._reads = Lane(self._send)
        self._writes = Lane(self._send)

    @property
    def outstanding(self) -> int:
        """Operations that wait for this node or are in flight to it."""
        return self._reads.outstanding + self._writes.outstanding

    def submit(self, operation: Operation, deadline: float) -> asyncio.Future[kv_pb2.OperationResult]:
        """See ``Lane.submit``."""
        lane = self._writes if operation.writes else self._reads
        return lane.submit(operation, deadline)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout_s: float,
    ) -> _Response:
        """One call outside the lanes; raises CoveyError."""
        with self._errors_mapped():
            return await method(request, timeout=timeout_s)

    async def keys(
        self, request: kv_pb2.KeysRequest, timeout_s: float
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """A stream of chunks of keys; raises CoveyError. Close it when it is not read to its end."""
        stream = self._kv.Keys(request, timeout=timeout_s)
        try:
            with self._errors_mapped():
                async for chunk in stream:
                    yield chunk.keys
        finally:
            stream.cancel()

    async def close(self) -> None:
        self._closed = True
        await self._reads.close()
        await self._writes.close()
        await self._channel.close(None)

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error, self.address) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise Timeout("the client was closed", maybe_applied=True) from None  # which cancels its calls

    async def _send(self, batch: Sequence[Pending]) -> Sequence[kv_pb2.OperationResult | CoveyError]:
        now = asyncio.get_running_loop().time()
        request = kv_pb2.BatchRequest(
            operations=[
                pending.operation.stamp(
                    seen_timestamp=self._seen.timestamp, timeout_s=_for_the_node(pending.deadline - now)
                )
                for pending in batch
            ]
        )
        timeout_s = max(pending.deadline for pending in batch) - now
        try:
            response = await self._kv.Batch(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return [error_from_status(error, self.address) for _ in batch]
        if len(response.results) != len(batch):
            text = f"{self.address} answered {len(batch)} operations with {len(response.results)} results"
            return [InternalError(text, maybe_applied=True) for _ in batch]
        return [self._outcome(result) for result in response.results]

    def _outcome(self, result: kv_pb2.OperationResult) -> kv_pb2.OperationResult | CoveyError:
        if result.WhichOneof("result") == "failure":
            return error_from_failure(result.failure)
        self._seen.observe(seen_in(result))
        return result


def _for_the_node(remaining_s: float) -> float:
    return max(0.001, remaining_s - min(remaining_s * _ANSWER_MARGIN, _MAX_ANSWER_MARGIN_S))
