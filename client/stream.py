"""One call of ``KV.Operate``, over which batches are sent and replies received until either side ends it.

A stream has a task that reads replies, and one writer at a time. Its end is reported once, with the error for the
operations that were sent and not answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from ..api.metadata import Greeting, read_greeting, read_last_begun
from .columns import Reply, Request
from .errors import CoveyError, Unanswered, Unreachable
from .failures import error_from_status

if TYPE_CHECKING:
    from ..proto.generated.kv_pb2_grpc import KVAsyncStub as KVAsyncStub

GREETING_TIMEOUT_S = 2.0
"""Time in which a connected node must open the stream."""

OnEnd = Callable[["OperateStream", BaseException], None]


class OperateStream:
    """A stream, which is opened at once. ``on_reply`` receives each reply, ``on_end`` the error that ends it."""

    def __init__(
        self,
        stub: KVAsyncStub,
        address: str,
        on_reply: Callable[[Reply], None],
        on_end: OnEnd,
        on_greeting: Callable[[Greeting, float], CoveyError | None],
    ) -> None:
        """Call ``on_greeting`` with the greeting and the time it took; an error that it returns ends the stream."""
        self._on_greeting = on_greeting
        self._greeted = False
        self._call = stub.Operate()  # type: ignore[call-arg]  # the generated types lack calls without a request iterator
        self._address = address
        self._on_reply = on_reply
        self._on_end = on_end
        self.used = False
        """True once a batch was sent, or may have been."""
        self.last_begun: int | None = None
        """The id of the last batch that the node began; None unless the node has sent it at the end of the stream."""
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(self._finish)

    @property
    def open(self) -> bool:
        """False once nothing can be sent any more."""
        return not self._call.done()

    async def connected(self) -> bool:
        """Wait until the node has opened the stream; if it fails to, return False after ``on_end`` was called."""
        with suppress(grpc.aio.AioRpcError):
            await self._call.wait_for_connection()
        if self.open and not self._greeted:
            await self._greeting()
        if not self.open:
            await asyncio.wait([self._reader])
        return self.open

    async def _greeting(self) -> None:
        """Wait for the greeting. No batch is sent before it, because a batch names the cluster and the node's time."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                greeting = read_greeting(await self._call.initial_metadata())
                if greeting is None:
                    await asyncio.wait(
                        [self._reader]
                    )  # something else than a node ends the call with a reason
                    return
        except TimeoutError:
            self._give_up(Unreachable(f"what listens at {self._address} does not answer"))
            return
        self._greeted = True
        if self.open and (error := self._on_greeting(greeting, loop.time() - began_s)) is not None:
            self._give_up(error)

    def _give_up(self, error: CoveyError) -> None:
        self._reader.remove_done_callback(self._finish)
        self._reader.cancel()
        self._call.cancel()
        self._on_end(self, error)

    async def send(self, request: Request) -> None:
        """Send a batch; return when another can be sent. A failure ends the stream, and is reported to ``on_end``."""
        self.used = True
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(request)

    async def close(self) -> None:
        """End the stream from this side, without calling ``on_end``."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._call.cancel()

    async def _read(self) -> CoveyError:
        try:
            while isinstance(reply := await self._call.read(), Reply):
                self._on_reply(reply)
            self.last_begun = read_last_begun(await self._call.trailing_metadata())
            return Unanswered(f"{self._address} stopped before it answered", maybe_applied=True)
        except grpc.aio.AioRpcError as error:
            return error_from_status(error, self._address)

    def _finish(self, reader: asyncio.Task[CoveyError]) -> None:
        if reader.cancelled():
            return
        defect = reader.exception()
        self._call.cancel()
        self._on_end(self, defect or reader.result())
