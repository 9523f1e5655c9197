"""Connections to peers: made when needed, bounded in number, closed when idle.

There is one to each address for control, one for batches and one for all other data, such as whole ranges: what is
large would hold up what shares a connection with it.

A link must notice within a second that a peer is back, and must know of a failed call whether it was sent.
So a call first waits until the connection stands or was refused; what is lost before that was never sent.
gRPC itself reconnects with a short backoff; it neither retries calls nor shares connections between lanes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from grpc import ChannelConnectivity

from ..errors import PeerUnreachable
from ..messages.envelope import Reply, Request
from .batch_stream import BatchStream
from .codec.peer import Lane
from .peer import method_path

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
BATCHES: Final = "Batches"
"""What the connection for them is called; the others are called as their lanes."""

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # or both lanes would share one connection
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    # The least that gRPC allows to begin with, and in sum well under a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # in fact the time limit of one attempt
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Finds a machine that vanished without closing its connections.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
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

        Raises PeerUnreachable when it was certainly not handled, PeerTimeout when it may have been.
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

        Raises PeerUnreachable when no connection came about in time, AioRpcError when the call failed.
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
        """Wait until the connection stands or was refused; a call after a refusal fails with the reason."""
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

    def __init__(self, *, most: int, idle_s: float) -> None:
        self._most: Final = most
        self._idle_s: Final = idle_s
        self._links: Final[OrderedDict[str, Link]] = OrderedDict()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(self._links)

    @contextmanager
    def using(self, address: str, now_s: float) -> Iterator[Link]:
        """The link to ``address``, kept open at least until the block ends."""
        link = self._links.setdefault(address, Link(address))
        self._links.move_to_end(address)
        link.used_at_s = now_s
        link.in_flight += 1
        try:
            yield link
        finally:
            link.in_flight -= 1

    async def make_room(self, address: str, now_s: float) -> None:
        """Close what has been idle for long, and the least recently used when ``address`` needs its place.

        Raises PeerUnreachable when every link is busy and there is no place for another.
        """
        while (link := self._expendable(address, now_s)) is not None:
            del self._links[link.address]
            await link.close()
        if address not in self._links and len(self._links) >= self._most:
            raise PeerUnreachable(f"{address}: not called, {self._most} other peers are being called")

    def _expendable(self, address: str, now_s: float) -> Link | None:
        full = address not in self._links and len(self._links) >= self._most
        for link in self._links.values():
            if not full and now_s - link.used_at_s < self._idle_s:
                return None  # and so are all that follow
            if link.in_flight == 0 and link.address != address:
                return link
        return None

    async def close(self) -> None:
        while self._links:
            _, link = self._links.popitem()
            await link.close()
