"""Takes an operation to a node, and to others as long as that is safe and there is time.

Rules
- A read changes nothing: after any failure that another node may not have, it is tried elsewhere.
- A write is tried again only when it certainly was not done. One whose connection broke before the answer
  came may have happened; it ends as a Timeout that says so.
- Untried nodes are tried at once, one after the other. When all were tried, a jittered pause comes before the
  next round, longer each time; the operation's deadline ends it all. A node that refused for load is not
  followed by the next at once: its wish for a pause is kept.
- A node that answers other operations well is not at fault for the one that fails, unless it refuses for load.
- A client that never reached any node does not wait: one round over all addresses, and it says so.
- An operation that no node has done ends with the most informative of its errors: a node that answered and refused
  knows more than one that could not be reached, or that a deadline that passed before anything was sent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple, TypeVar

from .admission import Admission
from .batching import Answer
from .cluster_identity import ClusterIdentity
from .errors import (
    CoveyError,
    InternalError,
    NotSent,
    Overloaded,
    Timeout,
    Unavailable,
    Unreachable,
    WrongCluster,
)
from .links import Links, NodeLink
from .sender import Heard
from .requests import Operation
from .routing import Router
from .version import HighestSeen

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
MAX_DOUBLINGS = 10
"""Maximum number of times that a pause doubles; it has reached its maximum by then."""
MIN_READ_ATTEMPT_S = 0.25
MIN_RETRY_S = 0.1
"""With less time left, another attempt would only turn "certainly not done" into "may have happened"."""
MAX_ADDRESSES_SHOWN = 5

_ELSEWHERE = (Unavailable, Timeout, Overloaded, InternalError, WrongCluster)
"""What may go better on another node."""

_Answer = TypeVar("_Answer")
Attempt = Callable[[NodeLink, float], Awaitable[_Answer]]
"""Asks one node, until a deadline on the loop's clock; raises CoveyError."""
Choose = Callable[[Collection[str], float], str | None]
"""Given what was tried and the loop's time: the address to try next."""


class Begun(NamedTuple):
    """The first attempt at an operation."""

    address: str
    at: float
    deadline: float
    """Of the operation; this and ``at`` on the loop's clock."""


class Dispatcher:
    def __init__(
        self,
        router: Router,
        links: Links,
        rng: random.Random,
        on_attempt: Callable[[bool], None],
        seen: HighestSeen,
        cluster: ClusterIdentity,
    ) -> None:
        self._seen = seen
        self._cluster = cluster
        self._router = router
        self._links = links
        self._rng = rng
        self._on_attempt = on_attempt
        """Told after each attempt whether the node answered."""
        self._reached_any = False
        self._closed = asyncio.Event()
        self.admission = Admission()
        """The operations that the client has in hand; an operation enters before ``begin``."""

    def close(self) -> None:
        """What pauses before another attempt ends with the error it has."""
        self._closed.set()
        self.admission.close()

    def heard(self, heard: Heard) -> None:
        """A reply to operations came."""
        self._reached_any = True
        if heard.round_trip_s is not None:
            self._router.heard(heard.address, heard.now, heard.round_trip_s, heard.operations, heard.others)
        if heard.well:
            self._router.served(heard.address, heard.now)
            self._on_attempt(True)

    async def perform(self, operation: Operation, timeout_s: float) -> Any:
        """Carry out one operation: a value or None for a get, else a Version. Raises CoveyError."""
        loop, admission = asyncio.get_running_loop(), self.admission
        if not admission.try_enter(operation.size_bytes):
            deadline = loop.time() + timeout_s
            await admission.enter(operation.size_bytes, deadline)
            timeout_s = deadline - loop.time()
        try:
            answer = loop.create_future()
            begun = self.begin(operation, timeout_s, answer)
            try:
                return await answer
            except CoveyError as error:
                return await self.go_on(operation, begun, error)
            except asyncio.CancelledError:
                if operation.writes:
                    self.abandon()
                raise
        finally:
            admission.leave(operation.size_bytes)

    def abandon(self) -> None:
        """Stop waiting for writes under way; later writes are ordered after them all the same."""
        self._seen.assume_allowed()

    def begin(self, operation: Operation, timeout_s: float, answer: Answer) -> Begun:
        """Send the operation to the first node. An error in the answer may not be the end: see ``go_on``.

        Raise WrongCluster when this client's addresses are of two clusters.
        """
        self._refuse_conflict()
        now = asyncio.get_running_loop().time()
        address = self._router.choose((), now) or self._router.given[0]
        begun = Begun(address, now, now + timeout_s)
        try:
            attempt_deadline = _attempt_deadline(begun.deadline, timeout_s, writes=operation.writes)
            self._links.to(address).operator.submit(operation, attempt_deadline, answer)
        except CoveyError as error:
            answer.set_exception(error)
        return begun

    async def go_on(self, operation: Operation, begun: Begun, error: CoveyError) -> Any:
        """Carry on after the first node failed with ``error``. Results and errors as of ``perform``."""

        def attempt(link: NodeLink, deadline: float) -> Awaitable[Any]:
            answer = asyncio.get_running_loop().create_future()
            link.operator.submit(operation, deadline, answer)
            return answer

        journey = self._journey(self._router.choose, begun.deadline, writes=operation.writes)
        self._note_failure(begun.address, begun.at, error)
        await journey.go_on_after(begun.address, error)
        try:
            return await self._travel(journey, attempt)
        except asyncio.CancelledError:
            if operation.writes:
                self.abandon()
            raise

    def _refuse_conflict(self) -> None:
        if self._cluster.conflict is not None:
            raise copy(self._cluster.conflict)

    async def ask_any(self, attempt: Attempt[_Answer], timeout_s: float) -> _Answer:
        """Bring an answer, which changes nothing, from any node. Raises CoveyError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        return await self._travel(self._journey(self._router.choose, deadline, writes=False), attempt)

    async def ask_given(self, attempt: Attempt[_Answer], timeout_s: float, *, writes: bool) -> _Answer:
        """Bring an answer from the first of the given addresses that answers. Raises CoveyError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        return await self._travel(self._journey(self._router.choose_given, deadline, writes=writes), attempt)

    def _journey(self, choose: Choose, deadline: float, *, writes: bool) -> _RetryLoop:
        return _RetryLoop(choose, self._rng, self._closed, deadline, writes)

    async def _travel(self, journey: _RetryLoop, attempt: Attempt[_Answer]) -> _Answer:
        while True:
            address = await self._next_stop(journey)
            begun_at = asyncio.get_running_loop().time()
            try:
                answer = await attempt(self._links.to(address), journey.attempt_deadline())
            except CoveyError as error:
                self._note_failure(address, begun_at, error)
                await journey.go_on_after(address, error)
            else:
                self._reached_any = True
                self._router.served(address, asyncio.get_running_loop().time())
                self._on_attempt(True)
                return answer

    async def _next_stop(self, journey: _RetryLoop) -> str:
        self._refuse_conflict()
        while (address := journey.choose()) is None:
            if not self._reached_any or journey.all_foreign:
                raise journey.ended_by()
            await journey.rest()
        return address

    def _note_failure(self, address: str, begun_at: float, error: CoveyError) -> None:
        self._reached_any = self._reached_any or not isinstance(error, Unreachable)
        if isinstance(error, _ELSEWHERE):
            pause_s = error.retry_after if isinstance(error, Overloaded) else 0.0
            if isinstance(error, Overloaded):
                self.admission.overloaded(asyncio.get_running_loop().time())
            if isinstance(error, Overloaded) or not self._router.served_since(address, begun_at):
                self._router.failed(address, asyncio.get_running_loop().time(), pause_s)
            self._on_attempt(False)


def _attempt_deadline(deadline: float, remaining_s: float, *, writes: bool) -> float:
    """A read leaves half of its time for another node; a write has one chance and takes it all."""
    if writes:
        return deadline
    return deadline - max(0.0, min(remaining_s / 2, remaining_s - MIN_READ_ATTEMPT_S))


class _RetryLoop:
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
        self._refusals = 0
        """For load."""
        self._reason: CoveyError | None = None
        """The most informative error so far, the latest of its kind."""
        self._unreachable: dict[str, str] = {}
        """Why, by address."""

    @property
    def _remaining_s(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def choose(self) -> str | None:
        return self._choose(self._tried, asyncio.get_running_loop().time())

    @property
    def all_foreign(self) -> bool:
        """Whether everything that was tried in this round belongs to another cluster."""
        return bool(self._tried) and all(isinstance(e, WrongCluster) for e in self._tried.values())

    def attempt_deadline(self) -> float:
        return _attempt_deadline(self._deadline, self._remaining_s, writes=self._writes)

    async def go_on_after(self, address: str, error: CoveyError) -> None:
        """Prepare the next attempt, or raise what ends the operation."""
        if not self._writes:
            error.maybe_applied = False
        if error.maybe_applied or not isinstance(error, _ELSEWHERE):
            raise error
        self._tried[address] = error
        if self._reason is None or _informativeness(error) >= _informativeness(self._reason):
            self._reason = error
        if isinstance(error, Unreachable):
            self._unreachable[address] = str(error)
        if isinstance(error, Overloaded):
            longest_s = max(error.retry_after, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**self._refusals))
            self._refusals = min(self._refusals + 1, MAX_DOUBLINGS)
            await self._pause(longest_s * self._rng.uniform(0.5, 1.5))
        elif self._remaining_s < MIN_RETRY_S:
            raise self.ended_by()

    async def rest(self) -> None:
        """Every node was tried: wait before the next round, or raise when there is no time for one."""
        longest_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**self._rounds)
        self._rounds = min(self._rounds + 1, MAX_DOUBLINGS)
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
        if self._reason is None:
            return Timeout("the time was over before anything was sent")
        if not isinstance(self._reason, Unreachable):
            return self._reason
        shown = list(self._unreachable.values())[:MAX_ADDRESSES_SHOWN]
        more = len(self._unreachable) - len(shown)
        tried = "; ".join(shown) + (f"; and {more} more" if more else "")
        return Unreachable(
            f"no node of the cluster can be reached: {tried}\n"
            "Nothing was done. Give the client the address of any node that runs."
        )


def _informativeness(error: CoveyError) -> int:
    """Rank the errors of one operation's attempts: the highest is the one to report."""
    if isinstance(error, Unreachable):
        return 0
    if isinstance(error, WrongCluster):
        return 1  # the nodes of one's own cluster have more to say
    if isinstance(error, NotSent):
        return 2
    return 3
