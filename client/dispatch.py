"""Sends an operation to a node, and to other nodes after a failure, as long as that is safe and there is time.

Rules
- A read changes nothing: after any failure that may not occur at another node, it is tried at another node.
- A write is tried again only if it certainly was not done. A write whose connection was lost before the answer arrived
  may have happened; it ends with a Timeout whose ``maybe_applied`` is True.
- Nodes that were not tried yet are tried at once, one after the other. When all have failed, the next round begins
  after a jittered pause, which is longer each time, until the operation's deadline. After a node has refused because of
  its load, the pause that it asks for precedes the next attempt.
- A silent node has left an operation unanswered. No write is sent to it as long as another node answers, even if that
  node refuses: the write might wait there until its deadline, with an unknown outcome. ``topology_learner`` checks
  whether silent nodes answer again.
- A node that answers other operations is not backed off for one that fails, unless it refuses because of its load.
- A client that has never reached any node does not wait: it tries each address once, and its error lists them.
- If no node has done the operation, it ends with the most informative of its errors: the refusal of a node that
  answered takes precedence over that a node could not be reached, and that the deadline passed before sending.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple, TypeVar

from ..api.backoff import backoff_s, doubled_s, jittered_s
from .admission import Admission
from .batching import Completion
from .cluster_identity import ClusterIdentity
from .errors import (
    CoveyError,
    InternalError,
    NotSent,
    Overloaded,
    Timeout,
    Unanswered,
    Unavailable,
    Unreachable,
    WrongCluster,
    is_answer,
)
from .links import Links, NodeLink
from .requests import Operation
from .routing import Router
from .sender import ReplyReport
from .version import HighestSeen

BACKOFF_S = (0.05, 1.0)
MIN_READ_ATTEMPT_S = 0.25
MIN_RETRY_S = 0.1
"""With less time left, there is no further attempt: it would likely end with "may have happened"."""
MAX_ADDRESSES_SHOWN = 5

_ELSEWHERE = (Unavailable, Timeout, Overloaded, InternalError, WrongCluster)
"""Errors after which another node may succeed."""

_Result = TypeVar("_Result")
Attempt = Callable[[NodeLink, float], Awaitable[_Result]]
"""A request to one node, with a deadline on the loop's clock; may raise CoveyError."""
Choose = Callable[[Collection[str], float], str | None]
"""Returns the address to try next, given the addresses that were tried and the loop's time."""
NextNode = Callable[[Mapping[str, CoveyError], float], str | None]
"""Returns the address to try next, given the errors of this round by address and the loop's time."""


class FirstAttempt(NamedTuple):
    """Where and when an operation was first sent."""

    address: str
    at: float
    deadline: float
    """The deadline of the operation; both times are on the loop's clock."""


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
        """Call ``on_attempt`` after an attempt, with True if it succeeded."""
        self._seen = seen
        self._cluster = cluster
        self._router = router
        self._links = links
        self._rng = rng
        self._on_attempt = on_attempt
        self._reached_any = False
        self._closed = asyncio.Event()
        self.admission = Admission()
        """The operations that the client has in hand; an operation enters before ``begin``."""

    def close(self) -> None:
        """End all pauses between attempts; the operations end with the errors of their earlier attempts."""
        self._closed.set()
        self.admission.close()

    def on_reply(self, reply: ReplyReport) -> None:
        """Record a reply to operations."""
        self._reached_any = True
        if reply.round_trip_s is not None:
            self._router.replied(reply.address, reply.now, reply.round_trip_s, reply.operations, reply.others)
        if reply.served:
            self._router.served(reply.address, reply.now)
            self._on_attempt(True)

    async def perform(self, operation: Operation, timeout_s: float) -> Any:
        """Carry out one operation; return a value or None for a get, else a Version. Raise CoveyError."""
        loop, admission = asyncio.get_running_loop(), self.admission
        if not admission.try_enter(operation.size_bytes):
            deadline = loop.time() + timeout_s
            await admission.enter(operation.size_bytes, deadline)
            timeout_s = deadline - loop.time()
        try:
            result = loop.create_future()
            first = self.begin(operation, timeout_s, result)
            try:
                return await result
            except CoveyError as error:
                return await self.retry(operation, first, error)
            except asyncio.CancelledError:
                if operation.writes:
                    self.abandon()
                raise
        finally:
            admission.leave(operation.size_bytes)

    def abandon(self) -> None:
        """Record that the caller no longer waits for writes under way. Later writes must still be newer than these."""
        self._seen.assume_allowed()

    def begin(self, operation: Operation, timeout_s: float, completion: Completion) -> FirstAttempt:
        """Send the operation to the first node. If that fails, call ``retry`` to try others.

        Raise WrongCluster if the given addresses belong to two clusters.
        """
        self._refuse_conflict()
        now = asyncio.get_running_loop().time()
        address = self._router.choose((), now) or self._router.given[0]
        first = FirstAttempt(address, now, now + timeout_s)
        try:
            attempt_deadline = _attempt_deadline(first.deadline, timeout_s, writes=operation.writes)
            self._links.to(address).sender.submit(operation, attempt_deadline, completion)
        except CoveyError as error:
            completion.set_exception(error)
        return first

    async def retry(self, operation: Operation, first: FirstAttempt, error: CoveyError) -> Any:
        """Try other nodes after the first one failed with ``error``; return and raise what ``perform`` does."""

        def attempt(link: NodeLink, deadline: float) -> Awaitable[Any]:
            result = asyncio.get_running_loop().create_future()
            link.sender.submit(operation, deadline, result)
            return result

        loop = self._retry_loop(self._router.choose, first.deadline, writes=operation.writes)
        self._note_failure(first.address, first.at, error)
        await loop.after_failure(first.address, error)
        try:
            return await self._run(loop, attempt)
        except asyncio.CancelledError:
            if operation.writes:
                self.abandon()
            raise

    def _refuse_conflict(self) -> None:
        if self._cluster.conflict is not None:
            raise copy(self._cluster.conflict)

    async def ask_any(self, attempt: Attempt[_Result], timeout_s: float) -> _Result:
        """Return the answer of any node to a request that changes nothing. Raise CoveyError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        return await self._run(self._retry_loop(self._router.choose, deadline, writes=False), attempt)

    async def ask_given(self, attempt: Attempt[_Result], timeout_s: float, *, writes: bool) -> _Result:
        """Return the answer of the first of the given addresses that answers. Raise CoveyError."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        return await self._run(self._retry_loop(self._router.choose_given, deadline, writes=writes), attempt)

    def _retry_loop(self, choose: Choose, deadline: float, *, writes: bool) -> _RetryLoop:
        def next_node(tried: Mapping[str, CoveyError], now_s: float) -> str | None:
            address = choose(tried, now_s)
            if writes and address is not None and self._router.is_silent(address):
                return None if any(map(is_answer, tried.values())) else address
            return address

        return _RetryLoop(next_node, self._rng, self._closed, deadline=deadline, writes=writes)

    async def _run(self, loop: _RetryLoop, attempt: Attempt[_Result]) -> _Result:
        while True:
            self._refuse_conflict()
            while (address := loop.choose()) is None:
                if not self._reached_any or loop.all_foreign:
                    raise loop.final_error()
                await loop.back_off()
            begun_at = asyncio.get_running_loop().time()
            try:
                result = await attempt(self._links.to(address), loop.attempt_deadline())
            except CoveyError as error:
                self._note_failure(address, begun_at, error)
                await loop.after_failure(address, error)
            else:
                self._reached_any = True
                self._router.served(address, asyncio.get_running_loop().time())
                self._on_attempt(True)
                return result

    def _note_failure(self, address: str, begun_at: float, error: CoveyError) -> None:
        self._reached_any = self._reached_any or not isinstance(error, Unreachable)
        if isinstance(error, _ELSEWHERE):
            pause_s = error.retry_after if isinstance(error, Overloaded) else 0.0
            if isinstance(error, Overloaded):
                self.admission.overloaded(asyncio.get_running_loop().time())
            served = self._router.served_since(address, begun_at)
            if isinstance(error, Overloaded) or not served:
                self._router.failed(address, asyncio.get_running_loop().time(), pause_s)
            if is_answer(error):
                self._router.answered(address)
            elif isinstance(error, Unanswered) and not served:
                self._router.unanswered(address)
            self._on_attempt(False)


def _attempt_deadline(deadline: float, remaining_s: float, *, writes: bool) -> float:
    """Return the deadline of one attempt: a read leaves half of its time for another node, a write leaves none."""
    if writes:
        return deadline
    return deadline - max(0.0, min(remaining_s / 2, remaining_s - MIN_READ_ATTEMPT_S))


class _RetryLoop:
    """The attempts at one operation, from node to node."""

    def __init__(
        self, next_node: NextNode, rng: random.Random, closed: asyncio.Event, *, deadline: float, writes: bool
    ) -> None:
        self._next_node = next_node
        self._rng = rng
        self._closed = closed
        self._deadline = deadline
        self._writes = writes
        self._tried: dict[str, CoveyError] = {}
        """The errors of this round, by address."""
        self._rounds = 0
        self._refusals = 0
        """Number of refusals for load."""
        self._reason: CoveyError | None = None
        """The most informative error so far, the latest of its kind."""
        self._unreachable: dict[str, str] = {}
        """The errors of nodes that could not be reached, by address."""

    @property
    def _remaining_s(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def choose(self) -> str | None:
        """Return the next address of this round; None if all were tried."""
        return self._next_node(self._tried, asyncio.get_running_loop().time())

    @property
    def all_foreign(self) -> bool:
        """True if every node that was tried in this round belongs to another cluster."""
        return bool(self._tried) and all(isinstance(e, WrongCluster) for e in self._tried.values())

    def attempt_deadline(self) -> float:
        return _attempt_deadline(self._deadline, self._remaining_s, writes=self._writes)

    async def after_failure(self, address: str, error: CoveyError) -> None:
        """Record a failed attempt; wait if the node asked for it. Raise the final error if no attempt may follow."""
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
            pause_s = max(error.retry_after, doubled_s(self._refusals, BACKOFF_S))
            self._refusals += 1
            await self._pause(jittered_s(pause_s, self._rng))
        elif self._remaining_s < MIN_RETRY_S:
            raise self.final_error()

    async def back_off(self) -> None:
        """Wait before the next round over all nodes. Raise the final error if there is no time for one."""
        pause_s = backoff_s(self._rounds, BACKOFF_S, self._rng)
        self._rounds += 1
        self._tried.clear()
        await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        if self._remaining_s - pause_s < MIN_RETRY_S:
            raise self.final_error()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closed.wait()
                raise self.final_error()

    def final_error(self) -> CoveyError:
        """Return the error of an operation that no node has done."""
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
    """Rank an error among those of one operation's attempts; the highest is reported."""
    if isinstance(error, Unreachable):
        return 0
    if isinstance(error, WrongCluster):
        return 1  # a node of the client's own cluster knows more
    if isinstance(error, NotSent):
        return 2
    if isinstance(error, Unanswered):
        return 3  # a node that answered knows why
    return 4
