"""Calls peers over gRPC: the production binding of ``ports.Transport``, and its connections.

Connections are made when needed, bounded in number, and closed when idle.
Each address has one for control, one for batches and one for all other data, such as whole ranges: a large message
would delay the others on its connection.

A link must notice within a second that a peer is back, and must know of a failed call whether it was sent.
So a call first waits until the connection is made or refused; a call that fails before that was never sent.
gRPC itself reconnects with a short backoff; it neither retries calls nor shares connections between lanes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
from grpc import ChannelConnectivity

from ...api.channel import channel_options
from ...api.codec import MalformedMessage
from ..errors import PeerTimeout, PeerUnreachable
from ..messages.data import DataBatch
from ..messages.envelope import Reply, Request
from ..ports import Clock
from .batch_stream import BatchStream
from .codec.peer import Lane, lane_of
from .descriptors import MAX_LINKS
from .failures import peer_error
from .peer import method_path

IDLE_S: Final = 120.0


BATCHES: Final = "Batches"
"""The name of the connection for them; the others have the names of their lanes."""

CHANNEL_OPTIONS: Final = (
    *channel_options(max_reconnect_backoff_ms=500),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class Link:
    """The connections to one address."""

    def __init__(self, address: str) -> None:
        self.address: Final = address
        self.in_flight = 0
        self.used_at_s = 0.0
        self._channels: Final[dict[str, grpc.aio.Channel]] = {}
        self._batches: BatchStream | None = None

    async def call_batch(self, request: Request, timeout_s: float) -> Reply:
        """Send a request of the data lane over its stream.

        Raise PeerUnreachable when it was certainly not handled, PeerTimeout when it may have been.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        if self._batches is None or self._batches.ended:
            channel = self._channel(BATCHES)
            await self._settled(channel, timeout_s)
            if self._batches is None or self._batches.ended:  # else another caller was faster
                self._batches = BatchStream(self.address, channel)
        return await self._batches.call(request, max(0.0, deadline_s - loop.time()))

    async def call(self, lane: Lane, encoded: bytes, timeout_s: float) -> bytes:
        """Send one request and return the reply's bytes.

        Raise PeerUnreachable when there was no connection in time, AioRpcError when the call failed.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        channel = self._channel(lane.name)
        await self._settled(channel, timeout_s)
        call = channel.unary_unary(method_path(lane), None, None)
        reply: bytes = await call(encoded, timeout=max(0.0, deadline_s - loop.time()))
        return reply

    def _channel(self, purpose: str) -> grpc.aio.Channel:
        channel = self._channels.get(purpose)
        if channel is None:
            channel = grpc.aio.insecure_channel(self.address, options=CHANNEL_OPTIONS)
            self._channels[purpose] = channel
        return channel

    async def _settled(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        """Wait until the connection is made or refused; a call after a refusal fails with the reason."""
        state = channel.get_state(try_to_connect=True)
        if state is ChannelConnectivity.READY:
            return
        try:
            async with asyncio.timeout(timeout_s):
                while state in (ChannelConnectivity.IDLE, ChannelConnectivity.CONNECTING):
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError as error:
            raise PeerUnreachable(f"{self.address}: no connection within {timeout_s:.3f} s") from error

    async def close(self) -> None:
        if self._batches is not None:
            await self._batches.close()
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()


class Links:
    """The links in use, the least recently used first."""

    def __init__(self, *, max_links: int, idle_s: float) -> None:
        self._max_links: Final = max_links
        self._idle_s: Final = idle_s
        self._links: Final[OrderedDict[str, Link]] = OrderedDict()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(self._links)

    @contextmanager
    def using(self, address: str, now_s: float) -> Iterator[Link]:
        """Yield the link to ``address``, kept open until the block ends."""
        link = self._links.setdefault(address, Link(address))
        self._links.move_to_end(address)
        link.used_at_s = now_s
        link.in_flight += 1
        try:
            yield link
        finally:
            link.in_flight -= 1

    async def make_room(self, address: str, now_s: float) -> None:
        """Close links that are idle for too long, and the least recently used one when ``address`` needs its place.

        Raise PeerUnreachable when all links are busy and no more are allowed.
        """
        while (link := self._expendable(address, now_s)) is not None:
            del self._links[link.address]
            await link.close()
        if address not in self._links and len(self._links) >= self._max_links:
            raise PeerUnreachable(f"{address}: not called, {self._max_links} other peers are being called")

    def _expendable(self, address: str, now_s: float) -> Link | None:
        full = address not in self._links and len(self._links) >= self._max_links
        for link in self._links.values():
            if not full and now_s - link.used_at_s < self._idle_s:
                return None  # and neither are all that follow
            if link.in_flight == 0 and link.address != address:
                return link
        return None

    async def close(self) -> None:
        while self._links:
            _, link = self._links.popitem()
            await link.close()


class GrpcTransport:
    """Every failure of a call is PeerUnreachable, or PeerTimeout where the request may have been handled."""

    def __init__(self, clock: Clock, *, max_links: int = MAX_LINKS, idle_s: float = IDLE_S) -> None:
        self._clock: Final = clock
        self._links: Final = Links(max_links=max_links, idle_s=idle_s)
        self._closed = False

    async def call(self, address: str, request: Request, *, timeout_s: float) -> Reply:
        if self._closed:
            raise PeerUnreachable(f"{address}: not called, this node is stopping")
        now_s = self._clock.monotonic()
        await self._links.make_room(address, now_s)
        with self._links.using(address, now_s) as link:
            return await self._reply(link, request, timeout_s)

    async def _reply(self, link: Link, request: Request, timeout_s: float) -> Reply:
        try:
            if isinstance(request.body, DataBatch):
                return await link.call_batch(request, timeout_s)
            lane = lane_of(request.body)
            return lane.decode_reply(await link.call(lane, lane.encode_request(request), timeout_s))
        except MalformedMessage as error:
            raise PeerTimeout(f"{link.address}: the reply is malformed: {error}") from error
        except grpc.aio.AioRpcError as error:
            raise peer_error(error, link.address) from error
        except grpc.aio.UsageError as error:
            raise PeerUnreachable(f"{link.address}: not called, this node is stopping") from error
        except asyncio.CancelledError as error:
            # gRPC cancels the calls of a channel that is closed, as if the caller had been cancelled.
            if not self._closed or _being_cancelled():
                raise
            raise PeerTimeout(f"{link.address}: given up, this node is stopping") from error

    async def close(self) -> None:
        """Give up the calls under way and close all connections."""
        self._closed = True
        await self._links.close()


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
