"""A client's connection to one node: the border where gRPC is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import grpc

from ..proto.generated import cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from .errors import Timeout
from .operating import Heard, Operator
from .requests import MAX_MESSAGE_BYTES
from .statuses import error_from_status
from .version import HighestSeen

CONNECT_TIMEOUT_MS = 1000

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

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class NodeLink:
    """One node at one address: one channel, with a stream for operations and calls for the rest."""

    def __init__(self, address: str, seen: HighestSeen, on_reply: Callable[[Heard], None]) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self.kv: kv_pb2_grpc.KVAsyncStub = kv_pb2_grpc.KVStub(self._channel)
        self.cluster: cluster_pb2_grpc.ClusterAsyncStub = cluster_pb2_grpc.ClusterStub(self._channel)
        self._closed_because = ""
        self.operator = Operator(address, self.kv, seen, on_reply)
        """Carries operations."""

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout_s: float,
    ) -> _Response:
        """One call beside the stream; raises CoveyError."""
        with self._errors_mapped():
            return await method(request, timeout=timeout_s)

    async def keys(
        self, request: kv_pb2.KeysRequest, timeout_s: float
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """A stream of chunks of keys; raises CoveyError. Close it when it is not read to its end."""
        stream = self.kv.Keys(request, timeout=timeout_s)
        try:
            with self._errors_mapped():
                async for chunk in stream:
                    yield chunk.keys
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
            raise Timeout(self._closed_because, maybe_applied=True) from None  # which cancels its calls
