"""Serves operations of unary calls: their part of the budget, and batches of them.

A call has a share of the budget like a stream (``budget``). A call that there is no room for is refused as Overloaded:
unlike the messages of a stream, it is read already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from ..errors import OperationError, Overloaded
from ..operations import Get, GetResult, Operation, OperationResult, Operations, TimeBounds
from .budget import Share
from .streams import Streams
from .waves import WAVE_OPERATIONS, Waves

MAX_REPLY_BYTES: Final = 4 << 20
"""Maximum size of the values in the reply to a batch; the last one may exceed it."""
FIRST_WAVE: Final = 16
"""Operations of a batch that begin before the size of its reads is known."""
MAX_WAITING_S: Final = 0.5
"""Time that a call waits for room."""
RETRY_AFTER_S: Final = 0.2
NOT_READ_S: Final = 30.0
"""Time in which a caller must take its reply."""

NO_ROOM: Final = "the operation was not done: what is in hand leaves no room for it"
REPLY_FULL: Final = (
    "the operation was not done: the values in the reply to its batch add up to {} bytes already"
)


class CallShare:
    """The bytes that one call has in hand."""

    def __init__(self, streams: Streams) -> None:
        self._disconnect: Final = streams.disconnect
        self._budget: Final = streams.clients
        self.changed: Final = asyncio.Event()
        self.share: Final[Share] = streams.clients.share(self.changed.set)

    async def room_for_a_read(self) -> None:
        """Reserve what a read is expected to return. Raise Overloaded when there is no room for that in time."""
        each_bytes = self.share.expected_bytes
        try:
            async with asyncio.timeout(MAX_WAITING_S):
                while not self.share.room(1, each_bytes):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise Overloaded(NO_ROOM, RETRY_AFTER_S) from None
        self.share.take(1)
        self.share.hold(each_bytes)

    def room_for_a_write(self, value_bytes: int) -> None:
        """Count a received value. Raise Overloaded when there is no room for it."""
        if value_bytes > self._budget.min_bytes and value_bytes > self._budget.room_bytes:
            raise Overloaded(NO_ROOM, RETRY_AFTER_S)
        self.share.take(1)
        self.share.hold(value_bytes)

    def found(self, value_bytes: int) -> None:
        """Count a value that a read has returned."""
        self.share.hold(value_bytes)
        self.share.expect(1, value_bytes)

    async def send(self, response: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Wait until the transport has taken the response; its bytes count as in hand until then."""
        try:
            async with asyncio.timeout(NOT_READ_S):
                await context.write(response)
        except TimeoutError:
            self._disconnect(context.peer())
            raise Overloaded(f"the reply was not read within {NOT_READ_S:g} s", RETRY_AFTER_S) from None


@asynccontextmanager
async def call_share(streams: Streams) -> AsyncIterator[CallShare]:
    """Hold a share for the time of one call."""
    call = CallShare(streams)
    try:
        yield call
    finally:
        call.share.close()


class BatchCall:
    """The operations of one call of ``KV.Batch``; those that cannot be begun are errors already."""

    def __init__(
        self, call: CallShare, operations: Sequence[Operation | OperationError], bounds: TimeBounds
    ) -> None:
        self._call = call
        self._bounds = bounds
        self._outcomes: list[OperationResult | BaseException | None] = [
            one if isinstance(one, OperationError) else None for one in operations
        ]
        self._operations = [one for one in operations if not isinstance(one, OperationError)]
        self._places = [place for place, one in enumerate(operations) if not isinstance(one, OperationError)]
        self._left = len(self._operations)
        self._reads = any(type(operation) is Get for operation in self._operations)
        self.value_bytes = 0

    async def run(self, operations: Operations) -> None:
        """Run the operations until all have their outcomes."""
        changed = self._call.changed
        waves = Waves(
            self._operations,
            self._call.share,
            execute_all=operations.execute_all,
            on_results=self._on_results,
            on_put_off=lambda _: changed.set(),
            bounds=self._bounds,
        )
        try:
            while self._left:
                changed.clear()
                if self.value_bytes >= MAX_REPLY_BYTES:
                    waves.refuse(Get, self._reply_full)
                if (
                    waves.waiting == self._left
                ):  # one wave at a time, or the reply would grow beyond its bound
                    waves.begin_some(self._most_at_once())
                if self._left:
                    await changed.wait()
        finally:
            waves.close()

    def _most_at_once(self) -> int:
        """Return how many operations the reply has room for; few while their size is not known."""
        if not self.value_bytes:
            begun = self._left < len(self._operations)
            return WAVE_OPERATIONS if begun or not self._reads else FIRST_WAVE
        return max(1, (MAX_REPLY_BYTES - self.value_bytes) // self._call.share.expected_bytes)

    def outcomes(self) -> list[OperationResult | BaseException]:
        """Return the outcomes in the order of the operations, once they have run."""
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _reply_full(self) -> OperationError:
        return Overloaded(REPLY_FULL.format(self.value_bytes), RETRY_AFTER_S)

    def _on_results(self, places: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
        for place, result in zip(places, results, strict=True):
            self._outcomes[self._places[place]] = result
            if isinstance(result, GetResult) and result.value:
                self.value_bytes += len(result.value)
                self._call.found(len(result.value))
        self._left -= len(places)
        self._call.changed.set()
