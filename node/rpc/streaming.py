"""The serving end of streams: messages in as they come, replies out one at a time, an end when the server stops.

A stream lasts as long as its caller wants it to, so a server that stops has to end it, or it would wait for its whole
grace. It hands on nothing more then, and ends the stream once all that it has handed on is answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import grpc

from .sharing import Sharing

Context = grpc.aio.ServicerContext[Any, Any]

OnMessage = Callable[["ServedStream", Any], None]

MOST_IN_HAND: Final = 64
"""Messages of one stream that are worked on; what comes beyond waits at the sender, by HTTP/2's flow control."""


class Streams:
    """The streams that a server serves."""

    def __init__(self) -> None:
        self._open: Final[set[ServedStream]] = set()
        self._sharing: Final = Sharing()
        self._ending = False

    async def serve(self, context: Context, on_message: OnMessage) -> None:
        """Hand on what comes until the caller ends the stream or this server does.

        Whoever is handed a message answers it by ``ServedStream.answered``, once, however many replies it sends.
        Nothing is handed on any more when it returns or raises.
        """
        stream = ServedStream(context, self._sharing)
        self._open.add(stream)
        try:
            if not self._ending:
                await stream.run(on_message)
        finally:
            self._open.discard(stream)

    def end(self) -> None:
        """Hand on nothing more, and end every stream as soon as what came on it before is answered."""
        self._ending = True
        for stream in list(self._open):
            stream.end()


class ServedStream:
    def __init__(self, context: Context, sharing: Sharing) -> None:
        self._context = context
        self._in_hand = 0
        self._has_room = asyncio.Event()
        self.share = sharing.share(self._has_room.set)
        """Of the operations of clients, for those who bring any."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox: deque[Any] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._closed = False

    async def run(self, on_message: OnMessage) -> None:
        reading = asyncio.get_running_loop().create_task(self._read(on_message))
        try:
            await asyncio.wait([reading, self._ending], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            await self._idle.wait()
            if self._failure is not None:
                raise self._failure
            if self._writing is not None:
                await self._writing
        finally:
            self._closed = True
            self.share.close()
            owned = [task for task in (reading, self._writing, *self._working) if task is not None]
            for task in owned:
                task.cancel()
            await asyncio.gather(*owned, return_exceptions=True)

    def end(self) -> None:
        """Hand on nothing more; the stream is over once all that came before is answered."""
        if not self._ending.done():
            self._ending.set_result(None)

    def work(self, answering: Coroutine[Any, Any, None]) -> None:
        """Run what answers a message, as long as the stream lasts; what it raises ends the stream."""
        task = asyncio.get_running_loop().create_task(answering)
        self._working.add(task)
        task.add_done_callback(self._worked)

    def send(self, reply: Any) -> None:
        """Send it after those before it; dropped when the caller is gone."""
        if self._closed:
            return
        self._outbox.append(reply)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    def answered(self) -> None:
        """Everything about one message has been handed to ``send``."""
        self._in_hand -= 1
        self._has_room.set()
        if self._in_hand == 0:
            self._idle.set()

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self.end()
            self._idle.set()  # what the rest comes to is not waited for

    async def _read(self, on_message: OnMessage) -> None:
        while (message := await self._context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            if self._ending.done():
                return
            self._in_hand += 1
            self._idle.clear()
            on_message(self, message)
            while self._in_hand >= MOST_IN_HAND or self.share.full:
                self._has_room.clear()
                await self._has_room.wait()

    async def _write(self) -> None:
        try:
            while self._outbox:
                await self._context.write(self._outbox.popleft())
        except grpc.aio.BaseError:
            self._closed = True  # the caller is gone, and whoever reads is told so
            self._outbox.clear()
        finally:
            self._writing = None
