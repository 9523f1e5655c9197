"""Takes an operation to a node, and to others as long as that is safe and there is time.

Rules
- A read changes nothing: after any failure that another node may not have, it is tried elsewhere.
- A write is tried again only when it certainly was not done. One whose connection broke before the answer
  came may have happened; it ends as a Timeout that says so.
- Untried nodes are tried at once, one after the other. When all were tried, a jittered pause comes before the
  next round, longer each time; the operation's deadline ends it all. A node that refused for load is not
  followed by the next at once: its wish for a pause is kept.
- A client that never reached any node does not wait: one round over all addresses, and it says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ..proto.generated import kv_pb2
from .errors import CoveyError, InternalError, Overloaded, Timeout, Unavailable, Unreachable
from .link import NodeLink
from .links import Links
from .requests import Operation
from .routing import Router

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
MIN_READ_ATTEMPT_S = 0.25
MIN_RETRY_S = 0.1
"""With less time left, another attempt would only turn "certainly not done" into "may have happened"."""
MAX_ADDRESSES_SHOWN = 5

_ELSEWHERE = (Unavailable, Timeout, Overloaded, InternalError)
"""What may go better on another node."""

_Answer = TypeVar("_Answer")
Attempt = Callable[[NodeLink, float], Awaitable[_Answer]]
"""Asks one node, until a deadline on the loop's clock; raises CoveyError."""
Choose = Callable[[Collection[str], float], str | None]
"""Given what was tried and the loop's time: the address to try next."""


class Dispatcher:
    def __init__(
        self, router: Router, links: Links, rng: random.Random, on_attempt: Callable[[bool], None]
    ) -> None:
        self._router = router
        self._links = links
        self._rng = rng
        self._on_attempt = on_attempt
        """Told after each attempt whether the node answered."""
        self._reached_any = False
        self._closed = asyncio.Event()

    def close(self) -> None:
        """What pauses before another attempt ends with the error it has."""
        self._closed.set()

    async def perform(self, operation: Operation, timeout_s: float) -> kv_pb2.OperationResult:
        """Carry out one operation. Raises CoveyError."""

        def attempt(link: NodeLink, deadline: float) -> Awaitable[kv_pb2.OperationResult]:
            return link.submit(operation, deadline)

        choose = partial(self._router.choose, operation.key)
        return await self._travel(choose, attempt, timeout_s, writes=operation.writes)

    async def ask_any(self, attempt: Attempt[_Answer], timeout_s: float) -> _Answer:
        """Bring an answer, which changes nothing, from any node. Raises CoveyError."""
        return await self._travel(partial(self._router.choose, None), attempt, timeout_s, writes=False)

    async def ask_given(self, attempt: Attempt[_Answer], timeout_s: float, *, writes: bool) -> _Answer:
        """Bring an answer from the first of the given addresses that answers. Raises CoveyError."""
        return await self._travel(self._router.choose_given, attempt, timeout_s, writes=writes)

    async def _travel(
        self, choose: Choose, attempt: Attempt[_Answer], timeout_s: float, *, writes: bool
    ) -> _Answer:
        deadline = asyncio.get_running_loop().time() + timeout_s
        journey = _Journey(choose, self._rng, self._closed, deadline, writes)
        while True:
            address = await self._next_stop(journey)
            try:
                answer = await attempt(self._links.to(address), journey.attempt_deadline())
            except CoveyError as error:
                self._note_failure(address, error)
                await journey.go_on_after(address, error)
            else:
                self._reached_any = True
                self._router.penalties.succeeded(address)
                self._on_attempt(True)
                return answer

    async def _next_stop(self, journey: _Journey) -> str:
        while (address := journey.choose()) is None:
            if not self._reached_any:
                raise journey.ended_by()
            await journey.rest()
        return address

    def _note_failure(self, address: str, error: CoveyError) -> None:
        self._reached_any = self._reached_any or not isinstance(error, Unreachable)
        if isinstance(error, _ELSEWHERE):
            pause_s = error.retry_after if isinstance(error, Overloaded) else 0.0
            self._router.penalties.failed(address, asyncio.get_running_loop().time(), pause_s)
            self._on_attempt(False)


class _Journey:
    """One operation's way from node to node."""

    def __init__(
        self, choose: Choose, rng: random.Random, closed: asyncio.Event, deadline: float, writes: bool
    ) -> None:
        self._choose = choose
        self._rng = rng
        self._closed = closed
        self._deadline = deadline
        self._writes = writes
        self._tried: dict[str, CoveyError] = {}
        """In this round."""
        self._rounds = 0
        self._last_error: CoveyError | None = None
        self._unreachable: dict[str, str] = {}
        """Why, by address."""

    @property
    def _remaining_s(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def choose(self) -> str | None:
        return self._choose(self._tried, asyncio.get_running_loop().time())

    def attempt_deadline(self) -> float:
        """A read leaves half of its time for another node; a write has one chance and takes it all."""
        if self._writes:
            return self._deadline
        return self._deadline - max(0.0, min(self._remaining_s / 2, self._remaining_s - MIN_READ_ATTEMPT_S))

    async def go_on_after(self, address: str, error: CoveyError) -> None:
        """Prepare the next attempt, or raise what ends the operation."""
        if not self._writes:
            error.maybe_applied = False
        if error.maybe_applied or not isinstance(error, _ELSEWHERE):
            raise error
        self._tried[address] = self._last_error = error
        if isinstance(error, Unreachable):
            self._unreachable[address] = str(error)
        if isinstance(error, Overloaded):
            await self._pause(error.retry_after * self._rng.uniform(0.5, 1.5))
        elif self._remaining_s < MIN_RETRY_S:
            raise self.ended_by()

    async def rest(self) -> None:
        """Every node was tried: wait before the next round, or raise when there is no time for one."""
        longest_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**self._rounds)
        self._rounds += 1
        self._tried.clear()
        await self._pause(longest_s * self._rng.uniform(0.5, 1.0))

    async def _pause(self, pause_s: float) -> None:
        if self._remaining_s - pause_s < MIN_RETRY_S:
            raise self.ended_by()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closed.wait()
                raise self.ended_by()

    def ended_by(self) -> CoveyError:
        """The error that a journey without an answer ends with."""
        if self._last_error is None:
            return Timeout("the time was over before anything was sent")
        if not isinstance(self._last_error, Unreachable):
            return self._last_error
        shown = list(self._unreachable.values())[:MAX_ADDRESSES_SHOWN]
        more = len(self._unreachable) - len(shown)
        tried = "; ".join(shown) + (f"; and {more} more" if more else "")
        return Unavailable(
            f"no node of the cluster can be reached: {tried}\n"
            "Nothing was done. Give the address of any node that runs by --server, or to the client."
        )
