"""Slow path of a read: attempts, each under one epoch, until the newest version is known to be safe to return.

It serves reads that need more than one round, not reads that took long.

- The best-ranked replicas are asked first.
- A read needs r replies from each live ring. It is answered if the newest version among them is known to be on w
  replicas of each ring.
- Otherwise that version is written back first, so that no later read returns an older one.
- If none of these replicas has an entry, the key is absent.
- If the newest version is on enough replicas, a replica that is behind is sent it in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ...identity import Identity
from ...quorum.consistency import Consistency, ReadPlan
from ...quorum.counter import quorum_counter, replicas_of
from ...quorum.ranking import MAX_PATIENCE_S, smallest_quorum
from ...quorum.read_replies import ReadReplies
from ..epoch.epochs import Epoch
from ..errors import OperationTimeout, Unavailable
from ..messages.data import Merge, MergeKind, MergeResult, Read, ReadResult
from ..storage.interface import Entry
from .attempt import Attempt, Ended
from .context import CoordinatorContext
from .replica_queue import Outcome

RETRY_PAUSE_S = 0.05


@dataclass
class _Answer:
    entry: Entry | None


class SlowRead:
    def __init__(self, context: CoordinatorContext, consistency: Consistency, deadline_s: float) -> None:
        self._context = context
        self._consistency = consistency
        self._deadline_s = deadline_s

    async def run(self, key: bytes) -> Entry | None:
        """Return the newest entry (perhaps a tombstone), or None. Raise Unavailable or OperationTimeout."""
        context, loop = self._context, asyncio.get_running_loop()
        while loop.time() < self._deadline_s:
            epoch = context.epochs.current
            if epoch is None:
                raise Unavailable("this node belongs to no cluster yet")
            plan = context.plans.read(epoch, key, self._consistency)
            if (short := context.replicas.short_of(plan.replies)) is not None:
                raise Unavailable(f"the read was not done: {short}")
            attempt = _ReadAttempt(context, self._deadline_s, epoch, key=key, plan=plan)
            with attempt:
                ended = await attempt.run()
            if attempt.answer is not None:
                return attempt.answer.entry
            if ended is Ended.DECIDED:
                await asyncio.sleep(RETRY_PAUSE_S * (0.5 + context.rng.random()))
        raise OperationTimeout("too few replicas answered the read in time", maybe_applied=False)


class _ReadAttempt(Attempt):
    """One attempt: the replicas that were asked, their replies, and the entry that is being written back."""

    def __init__(
        self, context: CoordinatorContext, deadline_s: float, epoch: Epoch, key: bytes, plan: ReadPlan
    ) -> None:
        super().__init__(context.epochs, deadline_s)
        self._replicas = context.replicas
        self._epoch = epoch
        self._key = key
        self._plan = plan
        self._counter = quorum_counter([plan.replies], len(epoch.rings))
        self._replies: ReadReplies[Entry] = ReadReplies(plan.holders)
        self._asked: set[Identity] = set()
        self._writing_back: Entry | None = None
        self._not_written: set[Identity] = set()
        self.answer: _Answer | None = None

    async def run(self) -> Ended:
        ranked = self._replicas.ranked(replicas_of(self._plan.replies))
        self._ask(smallest_quorum(self._plan.replies, ranked))
        if not await self.ends_within(MAX_PATIENCE_S):
            self._ask(ranked)
        return await self.ended()

    def _ask(self, replicas: Sequence[Identity]) -> None:
        for replica in replicas:
            if replica not in self._asked:
                self._asked.add(replica)
                self._replicas.submit(replica, self._epoch.stamp, Read(self._key), self._on_reply)

    def _on_reply(self, replica: Identity, outcome: Outcome) -> None:
        if not self.running:
            if self.answer is not None and isinstance(outcome, ReadResult):
                self._repair(replica, self.answer.entry, outcome.entry)
            return
        if isinstance(outcome, ReadResult):
            self._replies.entries[replica] = outcome.entry
            self._counter.ack(replica, (0,))
        else:
            self._counter.nack(replica, 0)
            self._ask(self._replicas.ranked(replicas_of(self._plan.replies)))
        self._decide()

    def _decide(self) -> None:
        if self._writing_back is not None:
            if self._replies.settled(self._writing_back):
                self._answer(self._writing_back)
            elif not self._replies.can_settle(self._writing_back, self._not_written):
                self.decide()
            return
        if not self._counter.reached(0):
            if self._counter.lost(0):
                self.decide()
            return
        newest = self._replies.newest
        if newest is None or self._replies.settled(newest):
            self._answer(newest)
            for replica, held in self._replies.entries.items():
                self._repair(replica, newest, held)
        else:
            self._write_back(newest)

    def _answer(self, entry: Entry | None) -> None:
        self.answer = _Answer(entry)
        self.decide()

    def _repair(self, replica: Identity, answered: Entry | None, held: Entry | None) -> None:
        if answered is not None and self._plan.holders:
            version = None if held is None else held.version
            self._replicas.repair(replica, self._epoch, self._key, answered, version)

    def _write_back(self, entry: Entry) -> None:
        self._writing_back = entry
        merge = Merge(self._key, entry, MergeKind.REPAIR)
        for replica in self._replies.lacking(entry):
            if self._replicas.usable(replica):
                self._replicas.submit(replica, self._epoch.stamp, merge, self._on_written_back)
            else:
                self._not_written.add(replica)
        self._decide()

    def _on_written_back(self, replica: Identity, outcome: Outcome) -> None:
        if not self.running or self._writing_back is None:
            return
        if isinstance(outcome, MergeResult):
            self._replies.entries[replica] = self._writing_back
        else:
            self._not_written.add(replica)
        self._decide()
