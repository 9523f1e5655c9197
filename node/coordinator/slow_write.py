"""Slow path of a write: attempts, each under one epoch, until each live ring has its w acknowledgements.

It serves writes that need more than one round, not writes that took long.

Rules
- Every attempt sends the same version to every replica of every live ring. With a second version, one write would have
  two places in the order of writes.
- Once any replica may have applied the write, the error of a failed write has ``maybe_applied``.
- A hint is kept for each replica that missed an acknowledged write. It never counts as an acknowledgement.
- A write that was not acknowledged leaves no hints: a write that is reported as not done must not happen later.

Keys ahead of all clocks. A key that was written while clocks were wrong may hold a version that no clock reaches.
- A write of such a key finds that version on a quorum, and is repeated under a second version just above it. The second
  version applies to this key only; no clock follows it.
- The second version is drawn only when every replica that was sent the first version has answered, and each of them
  held a newer version when the first one arrived. Then the first version was never stored: no read has returned it, no
  write was ordered after it, no replica can pass it on, and there is no hint of it. So the write has only one place in
  the order.
- If a replica has stored the first version, or has not answered, a read may have returned it, and another client's
  write may have followed. A second version would undo that later write. So the write ends with an error that it may
  have happened. The coordinator remembers the key, and draws the next version for it above the held version.
- Acknowledged writes of such a key are ordered like all others: each is on a quorum, so the next write finds it,
  whichever node coordinates it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ...identity import Identity
from ...quorum.consistency import Consistency, WritePlan
from ...quorum.counter import quorum_counter
from ...quorum.version import Version
from ..epoch.epochs import Epoch
from ..errors import OperationError, OperationTimeout, Unavailable
from ..messages.data import FailedResult, Merge, MergeResult
from ..operations import WriteResult
from ..storage.interface import Entry
from .attempt import Attempt, Ended
from .context import CoordinatorContext
from .replica_queue import Outcome, Undelivered

MIN_BACKOFF_S, MAX_BACKOFF_S = 0.02, 0.5
"""Pause before the same version is sent again."""


def applied(outcome: Outcome) -> bool:
    """Return True if the replica now holds this write or a newer one."""
    return isinstance(outcome, MergeResult) and not outcome.below_floor


def remains_open(outcome: Outcome) -> bool:
    """Return True if the replica may have applied the write although it did not confirm it."""
    return isinstance(outcome, Undelivered) and outcome.maybe_applied


@dataclass
class Exposure:
    """The replicas that may have applied a write, over all its attempts. It determines the error of a failed write."""

    unanswered: int = 0
    applied: int = 0
    """Number of replicas that hold the write or a newer one."""
    taken: int = 0
    """Number of those that held nothing newer when the write arrived, so that a read may have returned it."""
    ahead: Version | None = None
    """A version ahead of all clocks that a quorum holds instead."""
    on_answered: Callable[[], None] | None = None
    """Called when no replica is unanswered any more."""

    @property
    def maybe_applied(self) -> bool:
        return self.unanswered > 0 or self.applied > 0

    @property
    def maybe_read(self) -> bool:
        """Return True if a read may have returned the write, or may do so later."""
        return self.unanswered > 0 or self.taken > 0

    def record(self, outcome: Outcome) -> None:
        """Record the outcome of a request that was unanswered."""
        if isinstance(outcome, MergeResult) and applied(outcome):
            self.unanswered -= 1
            self.applied += 1
            self.taken += outcome.newer is None
        elif not remains_open(outcome):
            self.unanswered -= 1
        if not self.unanswered and self.on_answered is not None:
            self.on_answered()


class SlowWrite:
    def __init__(
        self, context: CoordinatorContext, consistency: Consistency, deadline_s: float, exposure: Exposure
    ) -> None:
        """Continue with the ``exposure`` of the fast path, which records late answers in it."""
        self._context = context
        self._consistency = consistency
        self._deadline_s = deadline_s
        self._exposure = exposure
        self._second: SlowWrite | None = None
        """The write of the second version, once that is drawn."""

    async def run(self, merge: Merge) -> WriteResult:
        """Complete the write, under a second version if the key is ahead of all clocks.

        Raise Unavailable if it certainly did not happen, OperationTimeout if it may have.
        """
        versions = self._context.versions
        if self._exposure.ahead is None:
            newest = await self.run_version(merge)
            if newest <= merge.entry.version:
                return WriteResult(merge.entry.version)
            if not versions.is_ahead(newest):
                versions.observe_all([newest.timestamp])
                return WriteResult(merge.entry.version, superseded=True)
            self._exposure.ahead = newest
        return await self._run_above(merge, self._exposure.ahead)

    async def run_version(self, merge: Merge) -> Version:
        """Write this version; return the newest one that an acknowledging replica holds. Raise as ``run`` does."""
        tries = 0
        while True:
            epoch = self._context.epochs.current
            if epoch is None:
                raise Unavailable("this node belongs to no cluster yet")
            if asyncio.get_running_loop().time() >= self._deadline_s:
                raise self.failure("too few replicas acknowledged in time")
            plan = self._context.plans.write(epoch, merge.key, self._consistency)
            if (short := self._context.replicas.short_of(plan.acknowledgements)) is not None:
                raise self.failure(short)
            attempt = _WriteAttempt(
                self._context, self._deadline_s, epoch, plan=plan, merge=merge, exposure=self._exposure
            )
            with attempt:
                ended = await attempt.run()
            if ended is Ended.DECIDED and attempt.reached:
                return attempt.newest
            if ended is Ended.EXPIRED:
                raise self.failure(f"{attempt.acks} replicas acknowledged in time; {attempt.trouble}")
            if ended is Ended.DECIDED:
                await self._back_off(tries, attempt.trouble)
                if attempt.below_floor:
                    raise self.failure(attempt.trouble)
                tries += 1

    def failure(self, why: str) -> OperationError:
        """Return the error with which the write fails if it ends now."""
        if self._second is not None:
            return self._second.failure(why)
        # Below a held version that is ahead, the write has happened only if a read may have returned it.
        ahead = self._exposure.ahead is not None
        if self._exposure.maybe_read if ahead else self._exposure.maybe_applied:
            return OperationTimeout(f"the write may have happened: {why}", maybe_applied=True)
        return Unavailable(f"the write was not done: {why}")

    async def _back_off(self, tries: int, trouble: str) -> None:
        backoff_s = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2 ** min(tries, 10))
        backoff_s *= 0.5 + self._context.rng.random()
        left_s = self._deadline_s - asyncio.get_running_loop().time()
        # Wait also before failing: answers that are under way may show that certainly nothing was done.
        await asyncio.sleep(min(backoff_s, left_s))
        if backoff_s >= left_s:
            raise self.failure(trouble)

    async def _run_above(self, first: Merge, held: Version) -> WriteResult:
        versions = self._context.versions
        versions.remember_ahead(first.key, held)
        await self._all_answered()
        if self._exposure.maybe_read:
            raise self.failure(
                "the key holds a version ahead of all clocks, which a replica lacks or does not answer about; "
                "write again"
            )
        version = versions.draw_above(first.key, held)
        self._second = SlowWrite(self._context, self._consistency, self._deadline_s, exposure=Exposure())
        newest = await self._second.run_version(first._replace(entry=Entry(version, first.entry.value)))
        return WriteResult(version, superseded=newest > version)

    async def _all_answered(self) -> None:
        """Wait until all replicas that were sent the first version have answered, or the time is up."""
        if not self._exposure.unanswered:
            return
        answered = asyncio.Event()
        self._exposure.on_answered = answered.set
        timer = asyncio.get_running_loop().call_at(self._deadline_s, answered.set)
        try:
            await answered.wait()
        finally:
            timer.cancel()


class _WriteAttempt(Attempt):
    """One attempt at one version; also records answers that arrive after its end."""

    def __init__(
        self,
        context: CoordinatorContext,
        deadline_s: float,
        epoch: Epoch,
        plan: WritePlan,
        merge: Merge,
        exposure: Exposure,
    ) -> None:
        super().__init__(context.epochs, deadline_s)
        self._context = context
        self._epoch = epoch
        self._plan = plan
        self._merge = merge
        self._exposure = exposure
        self._counter = quorum_counter([plan.acknowledgements], len(epoch.rings))
        self._troubles: dict[str, None] = {}
        self._missed: list[Identity] = []
        self._leaves_hints = False
        """Set once the write is acknowledged."""
        self.newest = merge.entry.version
        self.below_floor = False
        """Whether a replica refused the version as below the floor: none accepts it under this or any later epoch."""

    async def run(self) -> Ended:
        replicas = self._context.replicas
        for replica in self._plan.receivers:
            if replicas.usable(replica):
                self._exposure.unanswered += 1
                replicas.submit(replica, self._epoch.stamp, self._merge, self._on_outcome)
            else:
                self._counter.nack(replica, 0)
                self._miss(replica)
        ended = await self.ended()
        ahead = self.newest > self._merge.entry.version and self._context.versions.is_ahead(self.newest)
        if self.reached and ended is Ended.DECIDED and not ahead:
            self._leaves_hints = True
            for replica in self._missed:
                self._miss(replica)
        return ended

    @property
    def reached(self) -> bool:
        return self._counter.reached(0)

    @property
    def acks(self) -> int:
        return self._counter.acks(0)

    @property
    def trouble(self) -> str:
        return "; ".join(self._troubles) or "the others did not answer"

    def _on_outcome(self, replica: Identity, outcome: Outcome) -> None:
        self._exposure.record(outcome)
        if isinstance(outcome, MergeResult) and applied(outcome):
            self._counter.ack(replica, (0,))
            if outcome.newer is not None:
                self.newest = max(self.newest, outcome.newer)
        else:
            self._counter.nack(replica, 0)
            if isinstance(outcome, MergeResult):
                self.below_floor = True
            else:
                self._miss(replica)
            self._troubles[_reason(outcome)] = None
        if self.reached or self._counter.lost(0):
            self.decide()

    def _miss(self, replica: Identity) -> None:
        if self._leaves_hints:
            self._context.replicas.hints.keep(replica, self._merge.key, self._merge.entry)
        else:
            self._missed.append(replica)


def _reason(outcome: Outcome) -> str:
    if isinstance(outcome, Undelivered | FailedResult):
        return outcome.reason
    return "the version is not above the settled floor"
