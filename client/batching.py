"""Natural batching: the operations that arrive while a batch is in flight to a node form the next batch.

An operation is sent at once if nothing is in flight; under load, batches become larger. The next batch is sent as soon
as any operation of the batch before is answered, or when that batch has been in flight for ``STRAGGLER_S``; so no
operation has to wait for a slow one, such as that of a key with a slow replica. Up to ``MAX_IN_FLIGHT_BATCHES`` are in
flight.

Each operation has a deadline. If it still waits at its deadline, it was certainly not sent, and fails with NotSent. If
it is in flight, it may have been carried out.

This module has no clock and no network: ``sender`` passes in the time and sends the batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import CoveyError, NotSent, Overloaded, Unanswered
from .requests import Operation
from .version import HighestSeen

MAX_BATCH_OPERATIONS = 512
MAX_BATCH_BYTES = 1 << 20
"""Maximum size of the keys and values of a batch. A larger operation is sent in a separate batch."""
MAX_WAITING_OPERATIONS = 8192
MAX_WAITING_BYTES = 64 << 20
MAX_IN_FLIGHT_BATCHES = 16
STRAGGLER_S = 0.05

_EARLY_S = 0.001
"""Tolerance of deadlines, since a timer may fire early by as much."""


class Completion(Protocol):
    """Receives the result of an operation, like a future. It is completed once, and never after ``done``."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(slots=True, eq=False)
class Pending:
    """An operation without a result."""

    operation: Operation
    deadline: float
    """On the loop's clock."""
    completion: Completion
    batch: InFlightBatch | None = None
    """The batch in which the operation was sent; None while it waits."""

    def fail(self, error: BaseException) -> None:
        """Complete with the error, unless the caller has given up or the operation has expired."""
        if self.batch is not None and self.operation.writes and may_have_happened(error):
            self.batch.assume_written()
        if not self.completion.done():
            self.completion.set_exception(error)

    def expire(self) -> None:
        if self.batch is not None:
            self.fail(Unanswered("no answer came in time", maybe_applied=self.operation.writes))
        else:
            self.fail(NotSent("it was not sent in time"))


def may_have_happened(error: BaseException) -> bool:
    """Return True if a write that was sent and failed with this error may have happened; True for a defect."""
    return not isinstance(error, CoveyError) or error.maybe_applied


class InFlightBatch:
    """A batch that was sent and is not fully answered."""

    __slots__ = (
        "_seen",
        "answered",
        "latest_timestamp",
        "number",
        "operations",
        "sent_at",
        "stream",
        "unanswered",
    )

    def __init__(
        self,
        number: int,
        operations: list[Pending],
        stream: object,
        now: float,
        seen: HighestSeen | None = None,
    ) -> None:
        self._seen = seen or HighestSeen()
        self.latest_timestamp = 0
        """The highest version that a write of the batch can get; 0 when that is not known."""
        self.number = number
        self.operations: list[Pending | None] = [*operations]
        """None in the place of each that was answered."""
        self.unanswered = len(operations)
        self.stream = stream
        """The stream that it was sent over."""
        self.sent_at = now
        self.answered = False
        """True once any of its operations is answered."""

    @property
    def writes(self) -> bool:
        """True if any unanswered operation is a write."""
        return any(pending is not None and pending.operation.writes for pending in self.operations)

    @property
    def pending(self) -> list[Pending]:
        """The unanswered operations."""
        return [pending for pending in self.operations if pending is not None]

    def assume_written(self) -> None:
        """Record that a write of the batch may have happened, or may happen later: later writes must be newer."""
        self._seen.lose(self.latest_timestamp)


class OperationQueue:
    """The operations for one node that wait or are in flight."""

    def __init__(self, seen: HighestSeen | None = None) -> None:
        self._seen = seen or HighestSeen()
        self.outstanding = 0
        """Number of operations that wait or are in flight."""
        self._waiting: deque[Pending] = deque()
        self._waiting_bytes = 0
        self._batches: dict[int, InFlightBatch] = {}
        """The batches in flight, in the order in which they were sent."""
        self._latest: InFlightBatch | None = None
        """The batch that operations arriving now wait for."""
        self._last_number = 0

    @property
    def in_flight(self) -> int:
        """Number of operations in flight."""
        return self.outstanding - len(self._waiting)

    def add(self, pending: Pending) -> None:
        """Queue an operation. Raise Overloaded when too many wait already."""
        size_bytes = pending.operation.size_bytes
        waiting = self._waiting
        full = len(waiting) >= MAX_WAITING_OPERATIONS
        if full or (waiting and self._waiting_bytes + size_bytes > MAX_WAITING_BYTES):
            raise Overloaded(f"{len(waiting)} operations wait for this node already")
        waiting.append(pending)
        self._waiting_bytes += size_bytes
        self.outstanding += 1

    def departure(self) -> float | None:
        """Return when the next batch may be sent if nothing is answered before; None if none can."""
        if not self._waiting or len(self._batches) >= MAX_IN_FLIGHT_BATCHES:
            return None
        return 0.0 if self._latest is None else self._latest.sent_at + STRAGGLER_S

    def take_batch(self, stream: object, now: float) -> InFlightBatch | None:
        """Return the next batch, which is then in flight; None if all callers of waiting operations have given up."""
        taken: list[Pending] = []
        size_bytes = 0
        while self._waiting and len(taken) < MAX_BATCH_OPERATIONS:
            size_bytes += self._waiting[0].operation.size_bytes
            if taken and size_bytes > MAX_BATCH_BYTES:
                break
            pending = self._dequeue()
            if not pending.completion.done():
                taken.append(pending)
        if not taken:
            return None
        self._last_number += 1
        batch = InFlightBatch(self._last_number, taken, stream, now=now, seen=self._seen)
        for pending in taken:
            pending.batch = batch
        self._batches[batch.number] = self._latest = batch
        self.outstanding += batch.unanswered
        return batch

    def batch(self, number: int) -> InFlightBatch | None:
        """Return the batch in flight with that number; None if it is complete."""
        return self._batches.get(number)

    def record_answers(self, batch: InFlightBatch, count: int) -> None:
        """Record that ``count`` more operations of the batch are answered."""
        batch.answered = True
        batch.unanswered -= count
        self.outstanding -= count
        if batch is self._latest:
            self._latest = None
        if not batch.unanswered:
            del self._batches[batch.number]

    def batches_on(self, stream: object) -> int:
        """Return the number of batches in flight over one stream."""
        return sum(batch.stream is stream for batch in self._batches.values())

    def complete(self, batch: InFlightBatch) -> list[Pending]:
        """Expect no further answers to the batch; return its unanswered operations."""
        self.record_answers(batch, batch.unanswered)
        return batch.pending

    def complete_all(self, stream: object, after: int = 0) -> list[Pending]:
        """Call ``complete`` for all batches of a stream with numbers above ``after``; return their operations."""
        batches = [b for b in self._batches.values() if b.stream is stream and b.number > after]
        return [pending for batch in batches for pending in self.complete(batch)]

    def reject(self) -> list[Pending]:
        """Remove and return all operations that wait."""
        return [self._dequeue() for _ in range(len(self._waiting))]

    def expire(self, now: float) -> float | None:
        """Fail the operations whose deadlines have passed; return the earliest deadline of the others."""
        due = now + _EARLY_S
        earliest = _expire(self._waiting, due)
        for batch in list(self._batches.values()):
            deadline = _expire(batch.pending, due)
            if deadline is None:  # all callers have given up
                self.complete(batch)
            elif earliest is None or deadline < earliest:
                earliest = deadline
        return earliest

    def silent_since(self) -> float | None:
        """Return when the oldest batch without any answer was sent; None if there is none."""
        return next((batch.sent_at for batch in self._batches.values() if not batch.answered), None)

    def _dequeue(self) -> Pending:
        pending = self._waiting.popleft()
        self._waiting_bytes -= pending.operation.size_bytes
        self.outstanding -= 1
        return pending


def _expire(pendings: Iterable[Pending], due: float) -> float | None:
    earliest = None
    for pending in pendings:
        if pending.completion.done():
            continue
        if pending.deadline <= due:
            pending.expire()
        elif earliest is None or pending.deadline < earliest:
            earliest = pending.deadline
    return earliest
