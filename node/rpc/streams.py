"""The serving end of streams: messages in as they come, replies out one at a time, an end when the server stops.

A stream lasts as long as its caller wants it to, so a server that stops has to end it, or it would wait for its whole
grace. It hands on nothing more then, and ends the stream once all that it has handed on is answered.

Nothing more is read while the outbox is full, while the caller has its part of what is in hand (``sharing``), or while
operations that were read wait for room to begin (``waves``): what comes beyond waits at the sender.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final

import grpc

from ..errors import Overloaded
from .budget import STALLED_S, Sharing
from .waves import Waves

Context = grpc.aio.ServicerContext[Any, Any]

OnMessage = Callable[["ServedStream", Any], None]

MOST_IN_HAND: Final = 64
"""Messages of one stream that are worked on; what comes beyond waits at the sender, by HTTP/2's flow control."""
MOST_OUTBOX_BYTES: Final = 4 << 20
"""Bytes of replies of one stream that are not written yet, at which nothing more is read."""
MOST_STREAMS: Final = 1024
"""Open at a time, of clients and of peers together; each may have one message on its way in."""
LOOK_EVERY_S: Final = 1.0
"""Time between two checks for stalled streams."""
MOST_PEER_BYTES: Final = 64 << 20
LEAST_PEER_BYTES: Final = 1 << 20
"""Bytes of replies to peers that are not written yet, in all and per stream, at which no more requests are read."""


class Streams:
    """The streams that a server serves."""

    def __init__(self, hang_up: Callable[[str], None] = lambda peer: None) -> None:
        """Take ``hang_up``, which ends the connections of a caller, by gRPC's name for it: nothing less makes gRPC drop
        a message that is not taken."""
        self.hang_up: Final = hang_up
        self._open: Final[set[ServedStream]] = set()
        self.clients: Final = Sharing()
        self._peers: Final = Sharing(most_bytes=MOST_PEER_BYTES, least_bytes=LEAST_PEER_BYTES)
        self._looking: asyncio.TimerHandle | None = None
        self._ending = False

    async def serve(self, context: Context, on_message: OnMessage, *, of_peer: bool = False) -> None:
        """Hand on what comes until the caller ends the stream or this server does.

        The receiver of a message calls ``ServedStream.answered`` for it, once, for any number of replies.
        Nothing is handed on any more when it returns or raises. Raises Overloaded when too many are open.
        """
        if len(self._open) >= MOST_STREAMS:
            raise Overloaded(f"this node serves {MOST_STREAMS} streams already; try another node", 1.0)
        stream = ServedStream(context, self._peers if of_peer else self.clients, of_peer=of_peer)
        self._open.add(stream)
        if self._looking is None:
            self._look_later()
        try:
            if not self._ending:
                await stream.run(on_message)
        finally:
            self._open.discard(stream)
            if not self._open and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._end_stalled)

    def _end_stalled(self) -> None:
        """End the streams whose callers take no replies: those of clients while others wait for the room."""
        self._look_later()
        since_s = asyncio.get_running_loop().time() - STALLED_S
        for stream in list(self._open):
            if stream.writing_since_s < since_s and (stream.of_peer or self.clients.awaited):
                stream.fail(Overloaded(f"no reply was read for {STALLED_S:g} s while others needed the room"))
                self.hang_up(stream.peer)

    def end(self) -> None:
        """Hand on nothing more, and end every stream as soon as what came on it before is answered."""
        self._ending = True
        for stream in list(self._open):
            stream.end()


class ServedStream:
    def __init__(self, context: Context, sharing: Sharing, *, of_peer: bool) -> None:
        self.of_peer: Final = of_peer
        self.peer: Final[str] = context.peer()
        self._context = context
        self._in_hand = 0
        self._has_room = asyncio.Event()
        self.share = sharing.share(self._on_room)
        """Of the operations of clients, for those who bring any."""
        self._unbegun: dict[Waves, None] = {}
        """Requests with operations that wait for room, in their order."""
        self._beginning: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox: deque[tuple[Any, int]] = deque()
        self._outbox_bytes = 0
        self.writing_since_s = inf
        """When the write under way began; inf while there is none."""
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
            for waves in self._unbegun:
                waves.close()
            self._unbegun.clear()
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

    def fail(self, error: BaseException) -> None:
        """End the stream with this error; what is under way on it may have happened."""
        self._failure = error
        self.end()
        self._idle.set()  # what the rest comes to is not waited for

    def begin_now(self, waves: Waves) -> None:
        """Begin operations that have just come, those that there is no room for later."""
        if self._unbegun or not waves.begin_some() or not waves.all_begun:
            self.begin_later(waves)

    def begin_later(self, waves: Waves) -> None:
        """Begin what waits in ``waves`` when its turn comes and there is room for it."""
        if not self._closed:
            self._unbegun.setdefault(waves)
            self._begin_soon()

    def send(self, reply: Any, held_bytes: int = 0) -> None:
        """Send a reply after those before it; it is dropped when the caller is gone.

        ``held_bytes`` of it are part of the stream's share, and are released once it is written.
        """
        if self._closed:
            return
        self._outbox.append((reply, held_bytes))
        self._outbox_bytes += held_bytes
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
            self.fail(error)

    def _on_room(self) -> None:
        self._has_room.set()
        if self._unbegun:
            self._begin_soon()

    def _begin_soon(self) -> None:
        """Schedule the next wave for the loop's next turn, so that others have theirs between two waves."""
        if self._beginning is None:
            self._beginning = asyncio.get_running_loop().call_soon(self._begin_more)

    def _begin_more(self) -> None:
        self._beginning = None
        if self._closed or not self._unbegun:
            return
        waves = next(iter(self._unbegun))
        if waves.begin_some():
            self._begin_soon()
        if waves.all_begun:
            del self._unbegun[waves]
            self._has_room.set()

    @property
    def _full(self) -> bool:
        return (
            self._in_hand >= MOST_IN_HAND
            or self._outbox_bytes >= MOST_OUTBOX_BYTES
            or bool(self._unbegun)
            or self.share.full
        )

    async def _read(self, on_message: OnMessage) -> None:
        while (message := await self._context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            if self._ending.done():
                return
            self._in_hand += 1
            self._idle.clear()
            on_message(self, message)
            while self._full:
                self._has_room.clear()
                await self._has_room.wait()

    async def _write(self) -> None:
        try:
            while self._outbox:
                reply, held_bytes = self._outbox.popleft()
                self.writing_since_s = asyncio.get_running_loop().time()
                await self._context.write(reply)
                self._outbox_bytes -= held_bytes
                if held_bytes:
                    self.share.release(held_bytes)
        except grpc.aio.BaseError:
            self._closed = True  # the caller is gone, and whoever reads is told so
            self._outbox.clear()
        finally:
            self.writing_since_s = inf
            self._writing = None
