"""The path of a read.

Asked of the best-ranked replicas, answered when each live ring has r replies under one epoch and the newest
version among them is known to be on w replicas of each ring; otherwise it is written back first, so that what
was read once is never unread. Nothing found anywhere is answered at once. A replica that is seen to be behind
although enough others are not is given what was answered, without anyone waiting for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from ...identity import Identity
from ...quorum.plan import ReadPlan, plan_read
from ...quorum.ranking import LONGEST_PATIENCE_S, fewest_for
from ...quorum.tally import ReadTally, replicas_of
from ..epoch.epochs import Epoch, Epochs
from ..errors import OperationTimeout, Unavailable
from ..messages.data import Merge, MergeKind, MergeResult, Read, ReadResult
from ..operations import Consistency
from ..storage.interface import Entry
from .attempt import Attempt, Ended
from .replica_queue import Outcome
from .replica_selector import ReplicaSelector

RETRY_PAUSE_S = 0.05


@dataclass
class _Answer:
    entry: Entry | None


class SlowRead:
    """One read, from the first question to the answer."""

    def __init__(
        self,
        epochs: Epochs,
        replicas: ReplicaSelector,
        rng: random.Random,
        consistency: Consistency,
        deadline_s: float,
    ) -> None:
        self._epochs = epochs
        self._replicas = replicas
        self._rng = rng
        self._consistency = consistency
        self._deadline_s = deadline_s

    async def run(self, key: bytes) -> Entry | None:
        """The newest entry (perhaps a tombstone), or None. Raises Unavailable or OperationTimeout."""
        loop = asyncio.get_running_loop()
        while loop.time() < self._deadline_s:
            epoch = self._epochs.current
            if epoch is None:
                raise Unavailable("this node belongs to no cluster yet")
            ended, answer = await self._attempt(epoch, key)
            if answer is not None:
                return answer.entry
            if ended is Ended.DECIDED:
                await asyncio.sleep(RETRY_PAUSE_S * (0.5 + self._rng.random()))
        raise OperationTimeout("too few replicas answered the read in time", maybe_applied=False)

    async def _attempt(self, epoch: Epoch, key: bytes) -> tuple[Ended, _Answer | None]:
        plan = plan_read(epoch, key, self._consistency)
        if (short := self._replicas.short_of(plan.replies)) is not None:
            raise Unavailable(f"the read was not done: {short}")
        with Attempt(self._epochs, self._deadline_s) as attempt:
            question = _Question(self._replicas, epoch, key, plan, attempt)
            ended = await question.ask()
            return ended, question.answer


class _Question:
    """A read under one epoch: who was asked, who answered, and what is being written back."""

    def __init__(
        self, replicas: ReplicaSelector, epoch: Epoch, key: bytes, plan: ReadPlan, attempt: Attempt
    ) -> None:
        self._replicas = replicas
        self._epoch = epoch
        self._key = key
        self._attempt = attempt
        self._tally = ReadTally(plan.replies, plan.holders)
        self._asked: dict[Identity, None] = {}
        self._writing_back: Entry | None = None
        self._not_written: dict[Identity, None] = {}
        self.answer: _Answer | None = None

    async def ask(self) -> Ended:
        ranked = self._replicas.ranked(replicas_of(self._tally.requirements))
        self._ask_these(fewest_for(self._tally.requirements, ranked))
        ended = await self._attempt.ended_within(LONGEST_PATIENCE_S)
        if ended is None:
            self._ask_these(ranked)
            ended = await self._attempt.ended()
        return ended

    def _ask_these(self, replicas: list[Identity]) -> None:
        for replica in replicas:
            if replica not in self._asked:
                self._asked[replica] = None
                self._replicas.submit(replica, self._epoch.stamp, Read(self._key), self._on_reply)

    def _on_reply(self, replica: Identity, outcome: Outcome) -> None:
        if not self._attempt.running:
            if self.answer is not None and isinstance(outcome, ReadResult):
                self._repair(self.answer.entry, {replica: outcome.entry})
            return
        if isinstance(outcome, ReadResult):
            self._tally.reply(replica, outcome.entry)
        else:
            self._tally.fail(replica)
            self._ask_these(self._replicas.ranked(replicas_of(self._tally.requirements)))
        self._decide()

    def _decide(self) -> None:
        if self._writing_back is not None:
            if self._tally.settled(self._writing_back):
                self._answer(self._writing_back)
            elif not self._tally.can_settle(self._writing_back, self._not_written):
                self._attempt.decide()
            return
        if not self._tally.reached:
            if self._tally.hopeless:
                self._attempt.decide()
            return
        newest = self._tally.newest
        if newest is None or self._tally.settled(newest):
            self._answer(newest)
            self._repair(newest, self._tally.replies)
        else:
            self._write_back(newest)

    def _answer(self, entry: Entry | None) -> None:
        self.answer = _Answer(entry)
        self._attempt.decide()

    def _repair(self, answered: Entry | None, replies: Mapping[Identity, Entry | None]) -> None:
        """Bring those that replied with less than the answer up to it, in the background."""
        if answered is None or not self._tally.holders or self._settled_deletion(answered):
            return
        merge = Merge(self._key, answered, MergeKind.REPAIR)
        for replica, held in replies.items():
            if held is None or held.version < answered.version:
                self._replicas.submit_aside(replica, self._epoch.stamp, merge)

    def _settled_deletion(self, entry: Entry) -> bool:
        """Whether a replica that holds nothing may be right to: it has purged this tombstone already."""
        return entry.tombstone and entry.version.timestamp <= self._epoch.record.floor

    def _write_back(self, entry: Entry) -> None:
        self._writing_back = entry
        merge = Merge(self._key, entry, MergeKind.REPAIR)
        for replica in self._tally.lacking(entry):
            if self._replicas.usable(replica):
                self._replicas.submit(replica, self._epoch.stamp, merge, self._on_written_back)
            else:
                self._not_written[replica] = None
        self._decide()

    def _on_written_back(self, replica: Identity, outcome: Outcome) -> None:
        if not self._attempt.running or self._writing_back is None:
            return
        if isinstance(outcome, MergeResult):
            self._tally.reply(replica, self._writing_back)
        else:
            self._not_written[replica] = None
        self._decide()
