"""The calling end of a peer's stream of batches: requests are sent in order, replies arrive as they are ready.

A request that is not answered in time ends the stream, and with it the work of the peer on its requests. A stream that
has ended is not used again; its link opens another one. Requests under way when it ended may have been handled; so may
a request that the peer did not read because it was about to end the stream. A stream that ends because of one request
does not name it: only if no other request was under way is it certain that the request was not handled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import grpc

from ...api.codec import MalformedMessage
from ..errors import PeerError, PeerTimeout
from ..messages.envelope import Reply, Request
from .codec.peer import DATA
from .failures import peer_error
from .peer import BATCHES_PATH

BY_ONE_REQUEST: Final = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
"""Statuses of a stream that ends because of one request: too large, or malformed."""


class BatchStream:
    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self._address: Final = address
        self._stream: Final[Any] = channel.stream_stream(BATCHES_PATH, None, None)(None)
        self._waiting: Final[dict[int, asyncio.Future[Reply]]] = {}
        self._calls = 0
        self._unanswered: Final[set[int]] = set()
        """Includes calls whose callers have stopped waiting."""
        self._outbox: Final[deque[bytes]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._reading: Final = asyncio.get_running_loop().create_task(self._read())
        self.ended = False

    async def call(self, request: Request, timeout_s: float) -> Reply:
        """Return the reply. Raise PeerUnreachable when the request was certainly not handled, else PeerTimeout."""
        loop = asyncio.get_running_loop()
        self._calls = call = self._calls + 1
        answer: asyncio.Future[Reply] = loop.create_future()
        self._waiting[call] = answer
        self._unanswered.add(call)
        timer = loop.call_later(timeout_s, self._expire, answer)
        self._outbox.append(DATA.encode_request(request, call))
        if self._writing is None:  # in a task: a cancelled caller would end the stream
            self._writing = loop.create_task(self._write())
        try:
            return await answer
        finally:
            timer.cancel()
            del self._waiting[call]

    async def close(self) -> None:
        owned = [task for task in (self._reading, self._writing) if task is not None]
        for task in owned:
            task.cancel()
        await asyncio.gather(*owned, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._outbox:
                await self._stream.write(self._outbox.popleft())
        except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError):
            self._outbox.clear()  # the stream has ended; its reader reports how
        finally:
            self._writing = None

    async def _read(self) -> None:
        ended: PeerError = PeerTimeout(f"{self._address} ended the stream of batches")
        try:
            while (encoded := await self._stream.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                call, reply = DATA.decode_answer(encoded)
                self._unanswered.discard(call)
                answer = self._waiting.get(call)
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        except grpc.aio.AioRpcError as error:
            ended = peer_error(error, self._address)
            if error.code() in BY_ONE_REQUEST and len(self._unanswered) > 1:
                ended = PeerTimeout(str(ended))
        except MalformedMessage as error:
            ended = PeerTimeout(f"{self._address}: a reply is malformed: {error}")
        finally:
            self.ended = True
            self._stream.cancel()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(type(ended)(str(ended)))

    def _expire(self, answer: asyncio.Future[Reply]) -> None:
        if not answer.done():
            answer.set_exception(PeerTimeout(f"{self._address} gave no answer in time"))
            self.ended = True
            self._reading.cancel()
