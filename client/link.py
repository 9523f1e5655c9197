"""A client's connection to one node: the border where gRPC is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import grpc

from ..proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from .cluster_identity import ClusterIdentity
from .errors import CoveyError, Unanswered, Unreachable, WrongCluster
from .operating import Heard, Operator
from .requests import MAX_MESSAGE_BYTES
from .statuses import error_from_status, greeting_from
from .version import HighestSeen

CONNECT_TIMEOUT_MS = 1000
READING_TIMEOUT_S = 2.0
"""Time that a node has to send its clock before it gets an administrative change."""

_CHANNEL_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Finds a machine that vanished without closing its connections, under a stream that would wait for it.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class NamesCluster(Protocol):
    """A request that names the cluster it is for."""

    cluster_id: str


class Change(NamesCluster, Protocol):
    """A request that says when it was sent."""

    sent_ms: int


_Request = TypeVar("_Request", bound=NamesCluster)
_Change = TypeVar("_Change", bound=Change)
_Response = TypeVar("_Response")


class NodeLink:
    """One node at one address: one channel, with a stream for operations and calls for the rest."""

    def __init__(
        self,
        address: str,
        seen: HighestSeen,
        on_reply: Callable[[Heard], None],
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self.address = address
        self._cluster = cluster or ClusterIdentity()
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self.kv: kv_pb2_grpc.KVAsyncStub = kv_pb2_grpc.KVStub(self._channel)
        self.cluster: cluster_pb2_grpc.ClusterAsyncStub = cluster_pb2_grpc.ClusterStub(self._channel)
        self._closed_because = ""
        self.operator = Operator(address, self.kv, seen, on_reply, self._cluster)
        """Carries operations."""

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout_s: float,
    ) -> _Response:
        """One call beside the stream; raises CoveyError."""
        if cluster_id := self._cluster.cluster_id:
            request.cluster_id = cluster_id
        try:
            with self._errors_mapped():
                response = await method(request, timeout=timeout_s)
        except WrongCluster as error:
            raise self._cluster.met(self.address, error.cluster_id) or error from error
        self.operator.clock.read(getattr(response, "clock_ms", 0))
        if (foreign := self._cluster.met(self.address, getattr(response, "cluster_id", ""))) is not None:
            raise foreign  # it was asked before this client belonged to a cluster
        return response

    async def change(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Change, _Response],
        request: _Change,
        timeout_s: float,
    ) -> _Response:
        """Make a call that changes something; a node refuses it when this client has stopped waiting."""
        clock = self.operator.clock
        began_s = clock.elapsed_s()
        if not clock.known:
            await self._read_clock(min(timeout_s / 2, READING_TIMEOUT_S))
        left_s = timeout_s - (clock.elapsed_s() - began_s)
        request.sent_ms = clock.now_ms()
        return await self.call(method, request, max(0.001, left_s))

    async def _read_clock(self, timeout_s: float) -> None:
        try:
            await self.call(self.cluster.Ring, cluster_pb2.RingRequest(), timeout_s)
        except Unreachable:
            return  # as what comes next will find
        except CoveyError as error:
            error.maybe_applied = False
            raise

    async def keys(
        self, request: kv_pb2.KeysRequest, timeout_s: float
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """A stream of chunks of keys; raises CoveyError. Close it when it is not read to its end."""
        request.cluster_id = self._cluster.cluster_id
        stream = self.kv.Keys(request, timeout=timeout_s)
        try:
            with self._errors_mapped():
                greeting = greeting_from(await stream.initial_metadata())
                if greeting and (foreign := self._cluster.met(self.address, greeting.cluster_id)) is not None:
                    raise foreign
                async for chunk in stream:
                    yield chunk.keys
        except WrongCluster as error:
            raise self._cluster.met(self.address, error.cluster_id) or error from error
        finally:
            stream.cancel()

    async def close(self, why: str) -> None:
        """End what is under way with errors that say why. Frees the channel, even before the link is collected."""
        self._closed_because = why
        await self.operator.close(why)
        await self._channel.close(None)
        del self._channel, self.kv, self.cluster

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error, self.address) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed_because or (task is not None and task.cancelling()):
                raise
            raise Unanswered(self._closed_because, maybe_applied=True) from None  # which cancels its calls
