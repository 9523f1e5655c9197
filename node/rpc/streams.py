"""The serving end of streams: reads messages, writes replies one at a time, and ends when the server stops.

The caller decides how long a stream lasts, so a server that stops must end it, or it would wait for its whole grace
period. It then passes on no more messages, and ends the stream once all those passed on are answered.

No more messages are read while the outbox is full, while the caller has used its part of the budget (``budget``), or
while operations that were read wait for room to begin (``waves``): further messages wait at the sender.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final

import grpc

from ..errors import Overloaded
from .budget import STALLED_S, Budget
from .waves import Waves

Context = grpc.aio.ServicerContext[Any, Any]

OnMessage = Callable[["ServedStream", Any], None]

MAX_IN_HAND: Final = 64
"""Maximum number of unanswered messages of one stream; more wait at the sender, by HTTP/2's flow control."""
MAX_OUTBOX_BYTES: Final = 4 << 20
"""Bytes of unwritten replies of one stream at which no more is read."""
MAX_STREAMS: Final = 1024
"""Maximum number of open streams, of clients and peers; each may have one message on its way in."""
STALL_CHECK_INTERVAL_S: Final = 1.0
"""Time between two checks for stalled streams."""
MAX_PEER_BYTES: Final = 64 << 20
MIN_PEER_BYTES: Final = 1 << 20
"""Bytes of unwritten replies to peers, in total and per stream, at which no more requests are read."""


class Streams:
    """The streams that a server serves."""

    def __init__(self, disconnect: Callable[[str], None] = lambda peer: None) -> None:
        """Take ``disconnect``, which ends the connections of a caller, given gRPC's name for it: only that makes gRPC
        drop a message that is not read."""
        self.disconnect: Final = disconnect
        self._open: Final[set[ServedStream]] = set()
        self.clients: Final = Budget()
        self._peers: Final = Budget(max_bytes=MAX_PEER_BYTES, min_bytes=MIN_PEER_BYTES)
        self._looking: asyncio.TimerHandle | None = None
        self._ending = False

    async def serve(self, context: Context, on_message: OnMessage, *, of_peer: bool = False) -> None:
        """Pass on messages until either side ends the stream. Raise Overloaded when too many are open.

        The receiver of a message calls ``ServedStream.answered`` for it, once, for any number of replies.
        No message is passed on after this returns or raises.
        """
        if len(self._open) >= MAX_STREAMS:
            raise Overloaded(f"this node serves {MAX_STREAMS} streams already; try another node", 1.0)
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
        self._looking = asyncio.get_running_loop().call_later(STALL_CHECK_INTERVAL_S, self._end_stalled)

    def _end_stalled(self) -> None:
        """End the streams whose callers read no replies; those of clients only while others wait for room."""
        self._look_later()
        since_s = asyncio.get_running_loop().time() - STALLED_S
        for stream in list(self._open):
            if stream.writing_since_s < since_s and (stream.of_peer or self.clients.awaited):
                stream.fail(Overloaded(f"no reply was read for {STALLED_S:g} s while others needed the room"))
                self.disconnect(stream.peer)

    def end(self) -> None:
        """Pass on no more messages, and end every stream once those passed on are answered."""
        self._ending = True
        for stream in list(self._open):
            stream.end()


class ServedStream:
    def __init__(self, context: Context, budget: Budget, *, of_peer: bool) -> None:
        self.of_peer: Final = of_peer
        self.peer: Final[str] = context.peer()
        self._context = context
        self._in_hand = 0
        self._has_room = asyncio.Event()
        self.share = budget.share(self._on_room)
        """The stream's share of the budget for clients or for peers."""
        self._unbegun: dict[Waves, None] = {}
        """Requests with operations that wait for room, in their order."""
        self._beginning: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox: deque[tuple[Any, int]] = deque()
        self._outbox_bytes = 0
        self.writing_since_s = inf
        """When the current write began; inf while there is none."""
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
        """Pass on no more messages; the stream ends once those passed on are answered."""
        if not self._ending.done():
            self._ending.set_result(None)

    def work(self, answering: Coroutine[Any, Any, None]) -> None:
        """Run a task that answers a message until the stream ends; an error that it raises ends the stream."""
        task = asyncio.get_running_loop().create_task(answering)
        self._working.add(task)
        task.add_done_callback(self._worked)

    def fail(self, error: BaseException) -> None:
        """End the stream with this error; operations under way on it may have happened."""
        self._failure = error
        self.end()
        self._idle.set()  # so that ``run`` does not wait for the other replies

    def begin_now(self, waves: Waves) -> None:
        """Begin operations that have just arrived, as far as there is room; the rest later."""
        if self._unbegun or not waves.begin_some() or not waves.all_begun:
            self.begin_later(waves)

    def begin_later(self, waves: Waves) -> None:
        """Begin the operations that wait in ``waves`` in their turn, when there is room for them."""
        if not self._closed:
            self._unbegun.setdefault(waves)
            self._begin_soon()

    def send(self, reply: Any, held_bytes: int = 0) -> None:
        """Send a reply after the earlier replies; drop it when the caller is gone.

        ``held_bytes`` of it are part of the stream's share, and are released once it is written.
        """
        if self._closed:
            return
        self._outbox.append((reply, held_bytes))
        self._outbox_bytes += held_bytes
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    def answered(self) -> None:
        """Count a message as answered: all replies to it have been passed to ``send``."""
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
        """Schedule the next wave for the event loop's next turn, so that other tasks run between two waves."""
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
            self._in_hand >= MAX_IN_HAND
            or self._outbox_bytes >= MAX_OUTBOX_BYTES
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
            self._closed = True  # the caller is gone, which also ends the read
            self._outbox.clear()
        finally:
            self.writing_since_s = inf
            self._writing = None
