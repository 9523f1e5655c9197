"""Natural batching: while a batch is in flight to a node, what comes meanwhile rides in the next.

A lone operation leaves at once; under load batches grow by themselves. The next batch leaves as soon as
anything of the one before is answered, or when that one is out for longer than ``STRAGGLER_S``: an operation
never waits for a straggler (a key that waits for a slow replica). Up to ``MAX_FLIGHTS`` are out at a time.

Operations have their own deadlines. One that is still waiting when its time is up was certainly not sent,
and its error says so; one that is in flight may have been carried out.

Knows no clock and no network: ``link.py`` tells it the time and carries its batches.
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
"""Of keys and values; a single larger operation flies alone."""
MAX_WAITING_OPERATIONS = 8192
MAX_WAITING_BYTES = 64 << 20
MAX_FLIGHTS = 16
STRAGGLER_S = 0.05

_EARLY_S = 0.001
"""Timers may run so much early; what is due by then is due."""


class Answer(Protocol):
    """What waits for the outcome of an operation: a future, or less. Settled once, unless ``done`` before."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(slots=True, eq=False)
class Pending:
    """An operation that waits for its answer."""

    operation: Operation
    deadline: float
    """On the loop's clock."""
    answer: Answer
    flight: Flight | None = None
    """The batch in which the operation was sent."""

    @property
    def sent(self) -> bool:
        return self.flight is not None

    def fail(self, error: BaseException) -> None:
        """Give the error, unless the caller has given up or time ran out before."""
        if self.flight is not None and self.operation.writes and may_have_happened(error):
            self.flight.lose_track()
        if not self.answer.done():
            self.answer.set_exception(error)

    def expire(self) -> None:
        if self.sent:
            self.fail(Unanswered("no answer came in time", maybe_applied=self.operation.writes))
        else:
            self.fail(NotSent("it was not sent in time"))


def may_have_happened(error: BaseException) -> bool:
    """Return whether a write that was sent and failed with this error may have happened; True after a defect."""
    return not isinstance(error, CoveyError) or error.maybe_applied


class Flight:
    """A batch on its way, or waiting for the rest of its answers."""

    __slots__ = (
        "_seen",
        "batch",
        "carrier",
        "departed_at",
        "heard",
        "latest_timestamp",
        "number",
        "unanswered",
    )

    def __init__(
        self, number: int, batch: list[Pending], carrier: object, now: float, seen: HighestSeen | None = None
    ) -> None:
        self._seen = seen or HighestSeen()
        self.latest_timestamp = 0
        """No write of the batch gets a version beyond it; 0 when that is not known."""
        self.number = number
        self.batch: list[Pending | None] = [*batch]
        """None in the place of each that was answered."""
        self.unanswered = len(batch)
        self.carrier = carrier
        """The stream it was sent over."""
        self.departed_at = now
        self.heard = False
        """Something of it was answered."""

    @property
    def writes(self) -> bool:
        """Whether anything of it that is not answered is a write."""
        return any(pending is not None and pending.operation.writes for pending in self.batch)

    @property
    def left(self) -> list[Pending]:
        """What is not answered."""
        return [pending for pending in self.batch if pending is not None]

    def lose_track(self) -> None:
        """A write of the batch may have happened, or may happen yet: what comes later must be newer."""
        self._seen.lose(self.latest_timestamp)


class Lane:
    """Operations on their way to one node."""

    def __init__(self, seen: HighestSeen | None = None) -> None:
        self._seen = seen or HighestSeen()
        self.outstanding = 0
        """Operations that wait or are in flight."""
        self._waiting: deque[Pending] = deque()
        self._waiting_bytes = 0
        self._flights: dict[int, Flight] = {}
        """In the order in which they left."""
        self._latest: Flight | None = None
        """The flight that what comes now waits for."""
        self._last_number = 0

    @property
    def in_flight(self) -> int:
        return self.outstanding - len(self._waiting)

    def add(self, pending: Pending) -> None:
        """Queue an operation. Raises Overloaded when too much waits already."""
        size_bytes = pending.operation.size_bytes
        waiting = self._waiting
        full = len(waiting) >= MAX_WAITING_OPERATIONS
        if full or (waiting and self._waiting_bytes + size_bytes > MAX_WAITING_BYTES):
            raise Overloaded(f"{len(waiting)} operations wait for this node already")
        waiting.append(pending)
        self._waiting_bytes += size_bytes
        self.outstanding += 1

    def departure(self) -> float | None:
        """When the next batch may leave, were nothing answered until then; None while nothing can."""
        if not self._waiting or len(self._flights) >= MAX_FLIGHTS:
            return None
        return 0.0 if self._latest is None else self._latest.departed_at + STRAGGLER_S

    def board(self, carrier: object, now: float) -> Flight | None:
        """The next batch, which counts as sent from now on; None when everybody waiting has given up."""
        batch: list[Pending] = []
        size_bytes = 0
        while self._waiting and len(batch) < MAX_BATCH_OPERATIONS:
            size_bytes += self._waiting[0].operation.size_bytes
            if batch and size_bytes > MAX_BATCH_BYTES:
                break
            pending = self._dequeue()
            if not pending.answer.done():
                batch.append(pending)
        if not batch:
            return None
        self._last_number += 1
        flight = Flight(self._last_number, batch, carrier, now, self._seen)
        for pending in batch:
            pending.flight = flight
        self._flights[flight.number] = self._latest = flight
        self.outstanding += flight.unanswered
        return flight

    def flight(self, number: int) -> Flight | None:
        """The flight of that number; None when nobody waits for it any more."""
        return self._flights.get(number)

    def answered(self, flight: Flight, count: int) -> None:
        """So many of the flight's operations have their answers now."""
        flight.heard = True
        flight.unanswered -= count
        self.outstanding -= count
        if flight is self._latest:
            self._latest = None
        if not flight.unanswered:
            del self._flights[flight.number]

    def carried_by(self, carrier: object) -> int:
        """How many flights are under way over one stream."""
        return sum(flight.carrier is carrier for flight in self._flights.values())

    def land(self, flight: Flight) -> list[Pending]:
        """Expect no more answers to the flight; returns those that have none."""
        self.answered(flight, flight.unanswered)
        return flight.left

    def land_all(self, carrier: object, after: int = 0) -> list[Pending]:
        """The same for all flights of one stream whose numbers are above ``after``."""
        flights = [f for f in self._flights.values() if f.carrier is carrier and f.number > after]
        return [pending for flight in flights for pending in self.land(flight)]

    def turn_away(self) -> list[Pending]:
        """All that wait, which do so no longer."""
        return [self._dequeue() for _ in range(len(self._waiting))]

    def expire(self, now: float) -> float | None:
        """End what is due; returns the earliest deadline of what is left."""
        due = now + _EARLY_S
        earliest = _expire(self._waiting, due)
        for flight in list(self._flights.values()):
            deadline = _expire(flight.left, due)
            if deadline is None:  # nobody waits for the rest
                self.land(flight)
            elif earliest is None or deadline < earliest:
                earliest = deadline
        return earliest

    def silent_since(self) -> float | None:
        """When the oldest batch left of which nothing has been heard."""
        return next((flight.departed_at for flight in self._flights.values() if not flight.heard), None)

    def _dequeue(self) -> Pending:
        pending = self._waiting.popleft()
        self._waiting_bytes -= pending.operation.size_bytes
        self.outstanding -= 1
        return pending


def _expire(pendings: Iterable[Pending], due: float) -> float | None:
    earliest = None
    for pending in pendings:
        if pending.answer.done():
            continue
        if pending.deadline <= due:
            pending.expire()
        elif earliest is None or pending.deadline < earliest:
            earliest = pending.deadline
    return earliest
