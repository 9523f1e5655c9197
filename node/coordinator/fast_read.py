"""Fast path of reads: a read is answered when the required number of replicas hold the same version.

- One replica is asked for the value, the others for the version only.
- If they agree, the returned value is known to be on enough replicas. If none of them has an entry, the key is absent.
- If they disagree, the read falls back to the slow path, which finds the newest version and writes it back.
- A replica whose later reply shows an older version is sent the entry that was returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ...identity import Identity
from ...quorum.consistency import ReadPlan
from ...quorum.counter import quorum_counter, replicas_of
from ...quorum.ranking import MAX_PATIENCE_S, smallest_quorum
from ...quorum.version import Version
from ..epoch.epochs import Epoch
from ..messages.data import REPLY_FULL, Read, ReadResult, VersionResult
from ..named import as_named
from ..storage.interface import Entry
from .attempt import BatchAttempt, by_plan
from .context import CoordinatorContext
from .replica_queue import Outcome

OnRead = Callable[[Sequence[int], Mapping[int, Entry]], None]
"""Called with the positions of answered reads, and the entries that were found by position."""
OnFallback = Callable[[int, bool], None]
"""Called with the position of a read, and whether it falls back because a reply was full.

A read of that kind succeeds in a smaller batch.
"""


class FastReads(BatchAttempt):
    def __init__(
        self,
        context: CoordinatorContext,
        epoch: Epoch,
        keys: Sequence[bytes],
        plans: Sequence[ReadPlan],
        on_read: OnRead,
        on_fallback: OnFallback,
    ) -> None:
        """Take one plan for each key; ``agreement_suffices`` is True in all of them."""
        super().__init__(context.epochs, len(keys))
        self._replicas = context.replicas
        self._epoch = epoch
        self._keys = keys
        self._plans = plans
        self._on_read = on_read
        self._on_fallback = on_fallback
        self._counter = quorum_counter([plan.replies for plan in plans], len(epoch.rings))
        self._asked: dict[Identity, set[int]] = {}
        self._versions: dict[int, Version | None] = {}
        """Version that the replies to each read agree on so far, by position."""
        self._entries: dict[int, Entry] = {}
        self._hedging: asyncio.TimerHandle | None = None

    def begin(self, deadline_s: float) -> None:
        """Send the batch; ``deadline_s`` is the earliest deadline in it, on the loop's clock."""
        self._begin(deadline_s)
        values, versions = self._choose()
        asked = self._replicas.others_first(dict.fromkeys([*values, *versions]))
        for replica in asked:
            positions = [*values.get(replica, ()), *versions.get(replica, ())]
            self._ask(replica, positions, len(values.get(replica, ())))
        self._replicas.hedges.earn(len(self._keys))
        if self._open_count:
            others = [replica for replica in asked if replica != self._replicas.me]
            patience_s = self._replicas.ranking.patience_s(others)
            self._hedging = asyncio.get_running_loop().call_later(patience_s, self._hedge, patience_s)

    def _choose(self) -> tuple[dict[Identity, list[int]], dict[Identity, list[int]]]:
        """Return the positions to ask each replica for: values, and versions.

        The best-ranked replicas are chosen, and no more than suffice.
        """
        values: dict[Identity, list[int]] = {}
        versions: dict[Identity, list[int]] = {}
        for positions in by_plan(self._plans):
            replies = self._plans[positions[0]].replies
            if self._replicas.short_of(replies) is not None:
                for position in positions:
                    self._fall_back(position)
                continue
            first, *others = smallest_quorum(replies, self._replicas.ranked(replicas_of(replies)))
            values.setdefault(first, []).extend(positions)
            for replica in others:
                versions.setdefault(replica, []).extend(positions)
        return values, versions

    def _ask(self, replica: Identity, positions: Sequence[int], values: int) -> None:
        """Ask for the values of the first ``values`` of ``positions``, and for the versions of the others."""
        self._asked.setdefault(replica, set()).update(positions)
        keys = self._keys
        reads = [as_named(Read, (keys[position], False)) for position in positions[:values]]
        reads += [as_named(Read, (keys[position], True)) for position in positions[values:]]
        on_outcomes = partial(self._on_outcomes, positions)
        self._replicas.queues.to(replica).submit(self._epoch.stamp, reads, on_outcomes)

    def _hedge(self, waited_s: float) -> None:
        """Ask the other replicas too, as far as the hedge budget allows: the first replicas take longer than usual."""
        open_positions = self._open_positions()
        self._ask_the_rest(open_positions[: self._replicas.hedges.spend(len(open_positions))])
        left_s = MAX_PATIENCE_S - waited_s
        self._hedging = asyncio.get_running_loop().call_later(left_s, self._hedge_all)

    def _hedge_all(self) -> None:
        """Ask the other replicas, without regard to the hedge budget: the first replicas may be down."""
        self._hedging = None
        self._ask_the_rest(self._open_positions())

    def _ask_the_rest(self, positions: Sequence[int]) -> None:
        """Ask the replicas that were not asked yet for the values."""
        rest: dict[Identity, list[int]] = {}
        for position in positions:
            for replica in self._replicas.ranked(replicas_of(self._plans[position].replies)):
                if position not in self._asked.get(replica, ()) and self._replicas.worth_asking(replica):
                    rest.setdefault(replica, []).append(position)
        for replica, asked in rest.items():
            self._ask(replica, asked, len(asked))

    def _on_outcomes(self, positions: Sequence[int], replica: Identity, outcomes: Sequence[Outcome]) -> None:
        agreeing = []
        versions, entries = self._versions, self._entries
        for position, outcome in zip(positions, outcomes, strict=True):
            if isinstance(outcome, ReadResult):
                entry = outcome.entry
                version = None if entry is None else entry.version
            elif isinstance(outcome, VersionResult):
                entry, version = None, outcome.version
            else:
                if self._is_open(position):
                    self._fall_back(position, reply_full=outcome == REPLY_FULL)
                continue
            if versions.setdefault(position, version) == version:
                agreeing.append(position)
                if entry is not None:
                    entries[position] = entry
            elif self._is_open(position):
                self._fall_back(position)
            elif (answered := entries.get(position)) is not None and self._plans[position].holders:
                self._replicas.repair(replica, self._epoch, self._keys[position], answered, version)
        self._settle(self._counter.ack(replica, agreeing))

    def _settle(self, positions: Sequence[int]) -> None:
        unknown = [p for p in positions if self._versions[p] is not None and p not in self._entries]
        for position in unknown:  # the replica that was asked for the value has not answered
            if self._is_open(position):
                self._fall_back(position)
        done = self._close(positions)
        if done:
            self._on_read(done, self._entries)

    def _on_all_closed(self) -> None:
        if self._hedging is not None:
            self._hedging.cancel()
            self._hedging = None

    def _fall_back(self, position: int, reply_full: bool = False) -> None:
        self._close([position])
        self._entries.pop(position, None)
        self._on_fallback(position, reply_full)
