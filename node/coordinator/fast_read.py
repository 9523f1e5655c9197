"""The short way of reads: answered when as many replicas as are needed hold the same version.

One replica is asked for the value, the others for the version alone. When they agree, enough copies are known of what
is returned, and when nobody has anything there is nothing to return. When they do not, the long way finds out which is
the newest and writes it back. A replica that is seen to be behind later is given what was answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ...identity import Identity
from ...quorum.counter import quorum_counter
from ...quorum.plan import ReadPlan
from ...quorum.ranking import LONGEST_PATIENCE_S, fewest_for
from ...quorum.tally import replicas_of
from ...quorum.version import Version
from ..epoch.epochs import Epoch, Epochs
from ..messages.data import REPLY_FULL, Merge, MergeKind, Read, ReadResult, VersionResult
from ..named import as_named
from ..storage.interface import Entry
from .fast_path import FastPath, alike
from .replica_queue import Outcome
from .replica_selector import ReplicaSelector

OnRead = Callable[[Sequence[int], Mapping[int, Entry]], None]
"""Told which reads are answered, and what was found where anything was."""
HandOver = Callable[[int], None]
PutOff = Callable[[int], None]
"""Callback with the read that is to be begun again, with fewer others."""


class FastReads(FastPath):
    def __init__(
        self,
        epochs: Epochs,
        epoch: Epoch,
        replicas: ReplicaSelector,
        keys: Sequence[bytes],
        plans: Sequence[ReadPlan],
        on_read: OnRead,
        hand_over: HandOver,
        put_off: PutOff,
    ) -> None:
        """All ``plans`` are such that agreement suffices."""
        super().__init__(epochs, len(keys))
        self._replicas = replicas
        self._epoch = epoch
        self._keys = keys
        self._plans = plans
        self._on_read = on_read
        self._on_handed_over = hand_over
        self._on_put_off = put_off
        self._votes = quorum_counter([plan.replies for plan in plans], len(epoch.rings))
        self._asked: dict[Identity, set[int]] = {}
        self._versions: dict[int, Version | None] = {}
        """What the replies to each read agree on so far."""
        self._entries: dict[int, Entry] = {}
        self._more: asyncio.TimerHandle | None = None

    def begin(self, deadline_s: float) -> None:
        """``deadline_s``: of the read whose time is up first, on the loop's clock."""
        self._begin(deadline_s)
        values, versions = self._choose()
        asked = self._replicas.others_first(dict.fromkeys([*values, *versions]))
        for replica in asked:
            places = [*values.get(replica, ()), *versions.get(replica, ())]
            self._ask(replica, places, len(values.get(replica, ())))
        self._replicas.hedges.reads(len(self._keys))
        if self._left:
            others = [replica for replica in asked if replica != self._replicas.me]
            patience_s = self._replicas.ranking.patience_s(others)
            self._more = asyncio.get_running_loop().call_later(patience_s, self._hedge, patience_s)

    def _choose(self) -> tuple[dict[Identity, list[int]], dict[Identity, list[int]]]:
        """Of whom the values and of whom the versions are asked: the best replicas, as few as suffice."""
        values: dict[Identity, list[int]] = {}
        versions: dict[Identity, list[int]] = {}
        for places in alike(self._plans):
            asked = values
            for replica in self._best(self._plans[places[0]]):
                asked.setdefault(replica, []).extend(places)
                asked = versions
            if asked is values:
                for place in places:
                    self._hand_over(place)
        return values, versions

    def _best(self, plan: ReadPlan) -> list[Identity]:
        if self._replicas.short_of(plan.replies) is not None:
            return []
        return fewest_for(plan.replies, self._replicas.ranked(replicas_of(plan.replies)))

    def _ask(self, replica: Identity, places: Sequence[int], values: int) -> None:
        """Ask for the values of the first ``values`` of ``places``, and for the versions of the others."""
        self._asked.setdefault(replica, set()).update(places)
        keys = self._keys
        reads = [as_named(Read, (keys[place], False)) for place in places[:values]]
        reads += [as_named(Read, (keys[place], True)) for place in places[values:]]
        self._replicas.submit_all(replica, self._epoch.stamp, reads, partial(self._on_outcomes, places))

    def _hedge(self, waited_s: float) -> None:
        """Those asked take longer than they usually do: ask the others too, once the budget has room for all."""
        open_places = [place for place in range(len(self._keys)) if self._is_open(place)]
        self._ask_the_rest(open_places[: self._replicas.hedges.spend(len(open_places))])
        left_s = LONGEST_PATIENCE_S - waited_s
        self._more = asyncio.get_running_loop().call_later(left_s, self._ask_all_the_rest)

    def _ask_all_the_rest(self) -> None:
        """Those asked may be dead, whatever it costs."""
        self._more = None
        self._ask_the_rest([place for place in range(len(self._keys)) if self._is_open(place)])

    def _ask_the_rest(self, places: Sequence[int]) -> None:
        """Ask the replicas that were not asked yet, for the values."""
        rest: dict[Identity, list[int]] = {}
        for place in places:
            for replica in self._replicas.ranked(replicas_of(self._plans[place].replies)):
                if place not in self._asked.get(replica, ()) and self._replicas.worth_asking(replica):
                    rest.setdefault(replica, []).append(place)
        for replica, ordered in rest.items():
            self._ask(replica, ordered, len(ordered))

    def _on_outcomes(self, places: Sequence[int], replica: Identity, outcomes: Sequence[Outcome]) -> None:
        agreeing = []
        versions, entries = self._versions, self._entries
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, ReadResult):
                entry = outcome.entry
                version = None if entry is None else entry.version
            elif isinstance(outcome, VersionResult):
                entry, version = None, outcome.version
            else:
                if self._is_open(place):
                    if outcome == REPLY_FULL:
                        self._put_off(place)
                    else:
                        self._hand_over(place)
                continue
            if versions.setdefault(place, version) == version:
                agreeing.append(place)
                if entry is not None:
                    entries[place] = entry
            else:
                self._disagree(replica, place, version)
        self._settle(self._votes.yes(replica, agreeing))

    def _settle(self, places: Sequence[int]) -> None:
        unknown = [p for p in places if self._versions[p] is not None and p not in self._entries]
        for place in unknown:  # whoever was asked for the value has not answered
            if self._is_open(place):
                self._hand_over(place)
        done = self._close(places)
        if done:
            self._on_read(done, self._entries)

    def _disagree(self, replica: Identity, place: int, version: Version | None) -> None:
        if self._is_open(place):
            self._hand_over(place)
        elif (answered := self._entries.get(place)) is not None and self._plans[place].holders:
            behind = version is None or version < answered.version
            if behind and not self._settled_deletion(answered):
                merge = Merge(self._keys[place], answered, MergeKind.REPAIR)
                self._replicas.submit_aside(replica, self._epoch.stamp, merge)

    def _settled_deletion(self, entry: Entry) -> bool:
        """Whether a replica that holds nothing may be right to: it has purged this tombstone already."""
        return entry.tombstone and entry.version.timestamp <= self._epoch.record.floor

    def _over(self) -> None:
        if self._more is not None:
            self._more.cancel()
            self._more = None

    def _hand_over(self, place: int) -> None:
        self._close([place])
        self._entries.pop(place, None)
        self._on_handed_over(place)

    def _put_off(self, place: int) -> None:
        self._close([place])
        self._entries.pop(place, None)
        self._on_put_off(place)
