"""The gRPC connections of one client to nodes, by address. Each is opened when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from ..api.channel import channel_options
from ..api.metadata import read_greeting
from ..proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from .cluster_identity import ClusterIdentity
from .errors import CoveyError, NotSent, Unanswered, Unavailable, Unreachable, WrongCluster
from .failures import error_from_status
from .sender import OperationSender, ReplyReport
from .version import HighestSeen

MAX_RECONNECT_BACKOFF_MS = 2000
CLOCK_TIMEOUT_S = 2.0
"""Timeout of the call that reads a node's clock before an administrative change is sent to it."""

_REQUESTS: dict[str, Any] = {
    method.name: GetMessageClass(method.input_type)
    for file, service in ((kv_pb2, "KV"), (cluster_pb2, "Cluster"))
    for method in file.DESCRIPTOR.services_by_name[service].methods
}
"""The request type of each method."""


class NodeLink:
    """The connection to the node at one address: a channel, with a stream for operations and calls for the rest."""

    def __init__(
        self,
        address: str,
        seen: HighestSeen,
        on_reply: Callable[[ReplyReport], None],
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self.address = address
        self._cluster = cluster or ClusterIdentity()
        self._channel = grpc.aio.insecure_channel(
            address, options=channel_options(max_reconnect_backoff_ms=MAX_RECONNECT_BACKOFF_MS)
        )
        self._kv: kv_pb2_grpc.KVAsyncStub = kv_pb2_grpc.KVStub(self._channel)
        self._administration: cluster_pb2_grpc.ClusterAsyncStub = cluster_pb2_grpc.ClusterStub(self._channel)
        self._closed_because = ""
        self.sender = OperationSender(address, self._kv, seen=seen, on_reply=on_reply, cluster=self._cluster)
        """Sends operations to the node."""

    async def call(self, method: str, timeout_s: float, **fields: Any) -> Any:
        """Call a method with one request and one response, outside of the stream. Raise CoveyError."""
        request = _REQUESTS[method](cluster_id=self._cluster.cluster_id, **fields)
        stub = self._administration if hasattr(self._administration, method) else self._kv
        try:
            with self._errors_mapped():
                response = await getattr(stub, method)(request, timeout=timeout_s)
        except WrongCluster as error:
            raise self._cluster.met(self.address, error.cluster_id) or error from error
        self.sender.clock.read(getattr(response, "clock_ms", 0))
        if (foreign := self._cluster.met(self.address, getattr(response, "cluster_id", ""))) is not None:
            raise foreign  # the request named no cluster, because the client did not know its cluster yet
        return response

    async def change(self, method: str, timeout_s: float, **fields: Any) -> Any:
        """Call a method that changes the cluster; a node refuses it if it arrives after the timeout."""
        clock = self.sender.clock
        began_s = clock.elapsed_s()
        if not clock.known:
            await self._read_clock(min(timeout_s / 2, CLOCK_TIMEOUT_S))
        left_s = timeout_s - (clock.elapsed_s() - began_s)
        return await self.call(method, max(0.001, left_s), sent_ms=clock.now_ms(), **fields)

    async def _read_clock(self, timeout_s: float) -> None:
        try:
            await self.call("Ring", timeout_s)
        except Unreachable:
            return  # the change itself will fail for the same reason
        except CoveyError as error:
            error.maybe_applied = False
            raise

    async def keys(
        self, timeout_s: float, *, prefix: bytes, after_key: bytes, chunk_timeout_s: float
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """Yield chunks of keys; raise CoveyError. Close the generator if it is not read to its end."""
        request = kv_pb2.KeysRequest(
            prefix=prefix,
            after_key=after_key,
            timeout=chunk_timeout_s,
            cluster_id=self._cluster.cluster_id,
        )
        stream = self._kv.Keys(request, timeout=timeout_s)
        try:
            with self._errors_mapped():
                greeting = read_greeting(await stream.initial_metadata())
                if greeting and (foreign := self._cluster.met(self.address, greeting.cluster_id)) is not None:
                    raise foreign
                async for chunk in stream:
                    yield chunk.keys
        except WrongCluster as error:
            raise self._cluster.met(self.address, error.cluster_id) or error from error
        finally:
            stream.cancel()

    async def close(self, why: str) -> None:
        """Fail all calls with ``why``. Release the channel at once, not only when the link is collected."""
        self._closed_because = why
        await self.sender.close(why)
        await self._channel.close(None)
        del self._channel, self._kv, self._administration

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
            raise Unanswered(self._closed_because, maybe_applied=True) from None  # closing cancelled the call


class Links:
    def __init__(
        self,
        seen: HighestSeen,
        on_reply: Callable[[ReplyReport], None],
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self._cluster = cluster or ClusterIdentity()
        self._seen = seen
        self._on_reply = on_reply
        self._links: dict[str, NodeLink] = {}
        self._closed = False
        self._paused = False

    def to(self, address: str) -> NodeLink:
        """Return the connection to ``address``. Raise Unavailable if the client is closed, NotSent during a fork."""
        link = self._links.get(address)
        if link is None:
            if self._closed:
                raise Unavailable("the client is closed")
            if self._paused:
                raise NotSent("it was not sent before the process forked")
            link = self._links[address] = NodeLink(address, self._seen, self._on_reply, cluster=self._cluster)
        return link

    def outstanding(self, address: str) -> int:
        link = self._links.get(address)
        return 0 if link is None else link.sender.queue.outstanding

    def silent_since(self, address: str) -> float | None:
        """Return when the oldest batch to the address without any answer was sent; None if there is none."""
        link = self._links.get(address)
        return None if link is None else link.sender.queue.silent_since()

    async def close_unused(self, wanted: Collection[str]) -> None:
        """Close idle connections to nodes that are no longer part of the cluster."""
        idle = [address for address in self._links if address not in wanted and not self.outstanding(address)]
        await asyncio.gather(
            *(self._links.pop(address).close("the node left the cluster") for address in idle)
        )

    async def close(self) -> None:
        self._closed = True
        await self._close_all("the client was closed")

    def pause(self) -> None:
        """Let no connection be opened before ``reconnect``."""
        self._paused = True

    async def disconnect(self) -> None:
        """Close all connections, and let none be opened before ``reconnect``."""
        self.pause()
        await self._close_all("the process forked")

    def reconnect(self) -> None:
        self._paused = False

    async def _close_all(self, why: str) -> None:
        links = list(self._links.values())
        self._links.clear()
        await asyncio.gather(*(link.close(why) for link in links))
