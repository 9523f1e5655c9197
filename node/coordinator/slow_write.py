"""The path of a write.

It goes to every replica of every live ring at once and is acknowledged when each live ring has its w
acknowledgements under one epoch. Whatever is tried again is the same version: a second version would order one
write twice. Once any replica may have applied it, a failure says so. Replicas that missed a write which was
acknowledged get a hint, which never counts. A write whose quorum holds a version from ahead of all clocks leaves no
hint: its result says what stands, and ``write_above`` goes on from there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ...identity import Identity
from ...quorum.plan import plan_write
from ...quorum.tally import WriteTally, replicas_of
from ...quorum.version import Version
from ..epoch.epochs import Epoch, Epochs
from ..errors import OperationError, OperationTimeout, Unavailable
from ..messages.data import FailedResult, Merge, MergeResult
from ..operations import Consistency, WriteResult
from .attempt import Attempt, Ended
from .exposure import Exposure, applied
from .missed import Missed
from .replica_queue import Outcome, Undelivered
from .replica_selector import ReplicaSelector

RETRY_BACKOFF_S = (0.02, 0.5)
"""First and longest pause before the same version is sent again."""


class SlowWrite:
    """One write, from its version to its acknowledgement."""

    def __init__(
        self,
        epochs: Epochs,
        replicas: ReplicaSelector,
        rng: random.Random,
        consistency: Consistency,
        deadline_s: float,
        exposure: Exposure,
        is_ahead: Callable[[Version], bool],
    ) -> None:
        """``exposure``: where the write may have been applied already; it is kept up to date by who made it."""
        self._epochs = epochs
        self._replicas = replicas
        self._rng = rng
        self._consistency = consistency
        self._deadline_s = deadline_s
        self._exposure = exposure
        self._is_ahead = is_ahead
        self._below_floor = False
        """Whether a replica refused the version as settled: no replica takes it at this or any later epoch."""
        self.stands: Version | None = None
        """The newest version that an acknowledging replica holds, once the write is acknowledged."""

    async def run(self, merge: Merge) -> WriteResult:
        """Raises Unavailable when certainly not done, else OperationTimeout that says it may have been."""
        tries = 0
        while True:
            epoch = self._epochs.current
            if epoch is None:
                raise Unavailable("this node belongs to no cluster yet")
            if asyncio.get_running_loop().time() >= self._deadline_s:
                raise self.failure("too few replicas acknowledged in time")
            tally, ended, trouble = await self._attempt(epoch, merge)
            if tally.reached and ended is Ended.DECIDED:
                self.stands = tally.newest
                return WriteResult(merge.entry.version, superseded=_newer(tally.newest, merge.entry.version))
            if ended is Ended.EXPIRED:
                raise self.failure(f"{len(tally.acknowledged)} replicas acknowledged in time; {trouble}")
            if ended is Ended.DECIDED:
                await self._pause(tries, trouble)
                if self._below_floor:
                    raise self.failure(trouble)
                tries += 1

    async def _attempt(self, epoch: Epoch, merge: Merge) -> tuple[WriteTally, Ended, str]:
        plan = plan_write(epoch, merge.key, self._consistency)
        if (short := self._replicas.short_of(plan.acknowledgements)) is not None:
            raise self.failure(short)
        tally = WriteTally(plan.acknowledgements)
        missed = Missed(self._replicas.hints, merge.key, merge.entry)
        troubles: list[str] = []
        with Attempt(self._epochs, self._deadline_s) as attempt:

            def on_outcome(replica: Identity, outcome: Outcome) -> None:
                self._count(tally, merge.entry.version, replica, outcome, troubles)
                if not isinstance(outcome, MergeResult):
                    missed.by(replica)
                if tally.reached or tally.hopeless:
                    attempt.decide()

            for replica in replicas_of(plan.everyone):
                if self._replicas.usable(replica):
                    self._exposure.unanswered += 1
                    self._replicas.submit(replica, epoch.stamp, merge, on_outcome)
                else:
                    tally.fail(replica)
                    missed.by(replica)
            ended = await attempt.ended()
        if tally.reached and self._is_outrun(tally.newest, merge):
            return tally, ended, "the key holds a version ahead of all clocks"
        if tally.reached and ended is Ended.DECIDED:
            missed.acknowledged()
        return tally, ended, "; ".join(dict.fromkeys(troubles)) or "the others did not answer"

    def _is_outrun(self, newest: Version | None, merge: Merge) -> bool:
        return newest is not None and newest > merge.entry.version and self._is_ahead(newest)

    def _count(
        self, tally: WriteTally, written: Version, replica: Identity, outcome: Outcome, troubles: list[str]
    ) -> None:
        self._exposure.note(outcome)
        if isinstance(outcome, MergeResult) and applied(outcome):
            tally.acknowledge(replica, outcome.newer or written)
            return
        if isinstance(outcome, MergeResult):
            self._below_floor = True
        tally.fail(replica)
        troubles.append(_reason(outcome))

    async def _pause(self, tries: int, trouble: str) -> None:
        shortest_s, longest_s = RETRY_BACKOFF_S
        pause_s = min(longest_s, shortest_s * 2 ** min(tries, 10)) * (0.5 + self._rng.random())
        left_s = self._deadline_s - asyncio.get_running_loop().time()
        # Also before giving up: answers on their way may say that certainly nothing was done.
        await asyncio.sleep(min(pause_s, left_s))
        if pause_s >= left_s:
            raise self.failure(trouble)

    def failure(self, why: str) -> OperationError:
        """What the write ends with when it ends now."""
        if self._exposure.maybe_applied:
            return OperationTimeout(f"the write may have happened: {why}", maybe_applied=True)
        return Unavailable(f"the write was not done: {why}")


def _reason(outcome: Outcome) -> str:
    if isinstance(outcome, Undelivered | FailedResult):
        return outcome.reason
    return "the version is not above the settled floor"


def _newer(stands: Version | None, written: Version) -> bool:
    return stands is not None and stands > written
