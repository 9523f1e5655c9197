"""Bounds the operations that one client has in hand at all nodes, by number and by bytes.

An operation is in hand from before it is first queued for a node until its call ends, including its retries. If there
is no room, operations wait in order, outside of the queues of nodes. An operation that waits here was certainly not
sent, and fails at its deadline.

The limit adapts to the cluster's load: an Overloaded refusal halves it, at most once in ``DECREASE_EVERY_S``, and each
operation that ends raises it by one (additive increase, multiplicative decrease; Jacobson, SIGCOMM '88). So an
overloaded cluster receives fewer operations instead of retries of all of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from .errors import CoveyError, NotSent, Unavailable

MAX_IN_HAND_OPERATIONS = 4096
MAX_IN_HAND_BYTES = 64 << 20
"""Maximum bytes of keys and values. A larger operation enters when nothing else is in hand."""
MIN_IN_HAND_OPERATIONS = 64
"""The limit is never decreased below this."""
DECREASE_EVERY_S = 0.1
SWEEP_EVERY_S = 0.05
"""Minimum time between two checks for expired operations, and thus how much later than its deadline one may end."""


@dataclass(slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    size_bytes: int
    deadline: float | None
    """By the loop's clock."""


class Admission:
    """The operations of one client that are in hand, and the queue of those that wait for room."""

    def __init__(self) -> None:
        self._limit = MAX_IN_HAND_OPERATIONS
        self._operations = 0
        self._bytes = 0
        self._paused = False
        self._closed = False
        self._watched = False
        """True if entering and leaving take more than counting; set by ``_watch``."""
        self._waiting: deque[_Waiter] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._decreased_at = float("-inf")
        self._drained: asyncio.Future[None] | None = None

    @property
    def in_hand(self) -> int:
        return self._operations

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def limit(self) -> int:
        return self._limit

    def try_enter(self, size_bytes: int) -> bool:
        """Take the operation in hand and return True, unless there is no room or other operations wait for room."""
        crowded = self._operations >= self._limit or self._bytes + size_bytes > MAX_IN_HAND_BYTES
        if (crowded or self._watched) and (self._waiting or not self._has_room(size_bytes)):
            return False
        self._operations += 1
        self._bytes += size_bytes
        return True

    async def enter(self, size_bytes: int, deadline: float | None) -> None:
        """Wait for room and take the operation in hand. Raise NotSent at the deadline, Unavailable once closed."""
        if self.try_enter(size_bytes):
            return
        if self._closed:
            raise Unavailable("the client is closed")
        turn = self.queue(size_bytes, deadline)
        try:
            await turn
        except asyncio.CancelledError:
            self.give_up(turn, size_bytes)
            raise

    def queue(self, size_bytes: int, deadline: float | None = None) -> asyncio.Future[None]:
        """Return a future that is done once the operation is in hand. To stop waiting, call ``give_up``."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if self._closed:
            turn.set_exception(Unavailable("the client is closed"))
            return turn
        self._waiting.append(_Waiter(turn, size_bytes, deadline))
        self._watch()
        if deadline is not None:
            self._expire_at(loop, deadline)
        self._admit()
        return turn

    def give_up(self, turn: asyncio.Future[None], size_bytes: int) -> None:
        """Undo ``queue``, whether or not the operation is in hand by now."""
        if not turn.done():
            turn.cancel()
        elif not turn.cancelled() and turn.exception() is None:
            self.leave(size_bytes)

    def leave(self, size_bytes: int, operations: int = 1) -> None:
        """Release operations that were in hand; ``size_bytes`` is the sum of their sizes."""
        self._operations -= operations
        self._bytes -= size_bytes
        if self._watched:
            self._left()

    def _left(self) -> None:
        if self._limit < MAX_IN_HAND_OPERATIONS:
            self._limit += 1
        if self._waiting:
            self._admit()
        if self._drained is not None and self._operations == 0 and not self._drained.done():
            self._drained.set_result(None)
        self._watch()

    def _watch(self) -> None:
        """Determine whether entering and leaving take more than counting."""
        below_limit = self._limit < MAX_IN_HAND_OPERATIONS
        ending = self._paused or self._closed or self._drained is not None
        self._watched = below_limit or ending or bool(self._waiting)

    def overloaded(self, now: float) -> None:
        """Lower the limit after a node has refused an operation because of its load."""
        if now - self._decreased_at >= DECREASE_EVERY_S:
            self._decreased_at = now
            self._limit = max(MIN_IN_HAND_OPERATIONS, min(self._limit, self._operations) // 2)
            self._watch()

    def pause(self) -> None:
        """Let no operation enter until ``resume``; operations in hand continue."""
        self._paused = True
        self._watch()

    def resume(self) -> None:
        self._paused = False
        self._admit()
        self._watch()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing is in hand; return False if that takes longer than the timeout."""
        if self._operations == 0:
            return True
        self._drained = asyncio.get_running_loop().create_future()
        self._watch()
        await asyncio.wait([self._drained], timeout=timeout_s)
        self._drained = None
        self._watch()
        return self._operations == 0

    def close(self) -> None:
        """Fail all operations that wait, and let no operation enter any more."""
        self._closed = True
        self._watch()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._waiting:
            _fail(self._waiting.popleft(), Unavailable("the client was closed before the operation was sent"))

    def _has_room(self, size_bytes: int) -> bool:
        if self._operations == 0:
            return not (self._paused or self._closed)
        return (
            self._operations < self._limit
            and self._bytes + size_bytes <= MAX_IN_HAND_BYTES
            and not self._paused
            and not self._closed
        )

    def _admit(self) -> None:
        waiting = self._waiting
        while waiting:
            first = waiting[0]
            if not first.turn.done():
                if not self._has_room(first.size_bytes):
                    return
                self._operations += 1
                self._bytes += first.size_bytes
                first.turn.set_result(None)
            waiting.popleft()

    def _expire_at(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._sweep is not None:
            if self._sweep_at <= at:
                return
            self._sweep.cancel()
        self._sweep_at = at
        self._sweep = loop.call_at(at, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail operations whose deadlines have passed, and drop those that were given up."""
        self._sweep = None
        now = loop.time()
        left: deque[_Waiter] = deque()
        earliest: float | None = None
        for waiter in self._waiting:
            if waiter.turn.done():
                continue
            if waiter.deadline is not None and waiter.deadline <= now:
                _fail(
                    waiter, NotSent("the operation waited for others of this client and was not sent in time")
                )
                continue
            left.append(waiter)
            if waiter.deadline is not None and (earliest is None or waiter.deadline < earliest):
                earliest = waiter.deadline
        self._waiting = left
        if earliest is not None:
            self._expire_at(loop, max(earliest, now + SWEEP_EVERY_S))
        self._admit()


def _fail(waiter: _Waiter, error: CoveyError) -> None:
    if not waiter.turn.done():
        waiter.turn.set_exception(error)
        waiter.turn.exception()  # a caller that was cancelled at the same moment does not retrieve it
