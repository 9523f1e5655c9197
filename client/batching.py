"""Natural batching: while one batch is in flight to a node, what comes meanwhile rides in the next.

A lone operation leaves at once; under load batches grow by themselves. An operation never waits for a
straggler: a batch that is out for longer than ``STRAGGLER_S`` (one of its keys waits for a slow replica)
no longer holds the next one back, up to ``MAX_FLIGHTS`` at a time.

Operations have their own deadlines. One that is still waiting when its time is up was certainly not sent,
and its error says so; one that is in flight may have been carried out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..proto.generated import kv_pb2
from .errors import CoveyError, MessageTooLarge, Overloaded, Timeout, Unavailable
from .requests import Operation

MAX_BATCH_OPERATIONS = 512
MAX_BATCH_BYTES = 1 << 20
"""Of keys and values; a single larger operation flies alone."""
MAX_WAITING_OPERATIONS = 8192
MAX_WAITING_BYTES = 64 << 20
MAX_FLIGHTS = 16
STRAGGLER_S = 0.05


@dataclass(slots=True, eq=False)
class Pending:
    """An operation that waits for its answer."""

    operation: Operation
    deadline: float
    """On the loop's clock."""
    answer: asyncio.Future[kv_pb2.OperationResult]
    sent: bool = False

    def settle(self, outcome: kv_pb2.OperationResult | BaseException) -> None:
        """Give the answer, unless the caller has given up or time ran out before."""
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)

    def expire(self) -> None:
        where = "no answer came in time" if self.sent else "it was not sent in time"
        self.settle(Timeout(where, maybe_applied=self.sent and self.operation.writes))


Send = Callable[[Sequence[Pending]], Awaitable[Sequence[kv_pb2.OperationResult | CoveyError]]]
"""Carries a batch to the node: one outcome for each operation, in order. Does not raise CoveyError."""


class Lane:
    """Operations of one kind (reads or writes) on their way to one node."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[Pending] = deque()
        self._waiting_bytes = 0
        self._flights: dict[asyncio.Task[None], Sequence[Pending]] = {}
        self._fresh: asyncio.Task[None] | None = None
        """The flight that what comes now waits for."""
        self._departure: asyncio.Handle | None = None
        self._max_operations = MAX_BATCH_OPERATIONS
        self._closed = False

    @property
    def outstanding(self) -> int:
        """Operations that wait or are in flight."""
        return len(self._waiting) + sum(len(batch) for batch in self._flights.values())

    def submit(self, operation: Operation, deadline: float) -> asyncio.Future[kv_pb2.OperationResult]:
        """Queue an operation; the future brings its result or a CoveyError, at the latest at the deadline.

        Raises Overloaded when too much waits already.
        """
        if self._closed:
            raise Unavailable("the client is closed")
        self._refuse_when_full(operation)
        loop = asyncio.get_running_loop()
        pending = Pending(operation, deadline, loop.create_future())
        timer = loop.call_at(deadline, pending.expire)
        pending.answer.add_done_callback(lambda _: timer.cancel())
        self._enqueue(pending)
        if self._departure is None:
            self._departure = loop.call_soon(self._depart)  # what is submitted in this turn rides along
        return pending.answer

    async def close(self) -> None:
        """End what is under way: what was in flight may have happened, what waited did not."""
        self._closed = True
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        while self._waiting:
            self._dequeue().settle(Unavailable("the client was closed before the operation was sent"))

    def _refuse_when_full(self, operation: Operation) -> None:
        full = len(self._waiting) >= MAX_WAITING_OPERATIONS
        if full or (self._waiting and self._waiting_bytes + operation.size_bytes > MAX_WAITING_BYTES):
            raise Overloaded(f"{len(self._waiting)} operations wait for this node already")

    def _enqueue(self, pending: Pending) -> None:
        self._waiting.append(pending)
        self._waiting_bytes += pending.operation.size_bytes

    def _dequeue(self) -> Pending:
        pending = self._waiting.popleft()
        self._waiting_bytes -= pending.operation.size_bytes
        return pending

    def _depart(self) -> None:
        self._departure = None
        while self._waiting and self._fresh is None and len(self._flights) < MAX_FLIGHTS and not self._closed:
            batch = self._board()
            if batch:
                self._launch(batch)

    def _board(self) -> list[Pending]:
        """Take what fits into one batch; who has given up waiting stays behind."""
        batch: list[Pending] = []
        size_bytes = 0
        while self._waiting and len(batch) < self._max_operations:
            size_bytes += self._waiting[0].operation.size_bytes
            if batch and size_bytes > MAX_BATCH_BYTES:
                break
            pending = self._dequeue()
            if not pending.answer.done():
                batch.append(pending)
        return batch

    def _launch(self, batch: list[Pending]) -> None:
        for pending in batch:
            pending.sent = True
        flight = asyncio.create_task(self._fly(batch))
        self._flights[flight] = batch
        self._fresh = flight
        straggling = asyncio.get_running_loop().call_later(STRAGGLER_S, self._let_go, flight)
        flight.add_done_callback(lambda _: straggling.cancel())
        flight.add_done_callback(self._landed)

    async def _fly(self, batch: Sequence[Pending]) -> None:
        outcomes = await self._send(batch)
        if len(batch) > 1 and isinstance(outcomes[0], MessageTooLarge) and not batch[0].operation.writes:
            self._split(batch)
            return
        self._max_operations = min(MAX_BATCH_OPERATIONS, self._max_operations + self._max_operations // 8 + 1)
        for pending, outcome in zip(batch, outcomes, strict=True):
            pending.settle(outcome)

    def _split(self, batch: Sequence[Pending]) -> None:
        """The answers do not fit into one message: read fewer at a time from now on."""
        self._max_operations = len(batch) // 2
        for pending in reversed(batch):
            pending.sent = False
            self._waiting.appendleft(pending)
            self._waiting_bytes += pending.operation.size_bytes

    def _let_go(self, flight: asyncio.Task[None]) -> None:
        if self._fresh is flight:
            self._fresh = None
            self._depart()

    def _landed(self, flight: asyncio.Task[None]) -> None:
        batch = self._flights.pop(flight)
        if flight.cancelled():
            for pending in batch:
                pending.settle(Timeout("the client was closed", maybe_applied=pending.operation.writes))
        elif (bug := flight.exception()) is not None:
            for pending in batch:
                pending.settle(bug)
        if self._fresh is flight:
            self._fresh = None
        self._depart()
