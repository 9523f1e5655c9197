"""Calls peers over gRPC: the production binding of ``ports.Transport``."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc

from ..errors import MalformedMessage, PeerTimeout, PeerUnreachable
from ..messages.data import DataBatch
from ..messages.envelope import Reply, Request
from ..ports import Clock
from .codec.peer import lane_of
from .descriptors import MOST_LINKS
from .links import Link, Links
from .status import peer_error

IDLE_S: Final = 120.0


class GrpcTransport:
    """Every failure of a call is PeerUnreachable, or PeerTimeout where the request may have been handled."""

    def __init__(self, clock: Clock, *, most_links: int = MOST_LINKS, idle_s: float = IDLE_S) -> None:
        self._clock: Final = clock
        self._links: Final = Links(most=most_links, idle_s=idle_s)
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
