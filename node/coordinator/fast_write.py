"""The short way of writes: sent to all replicas at once, acknowledged when each live ring has its quorum.

A replica that misses a write which is acknowledged gets a hint, also if it turns out later. A write that meets a
version from ahead of all clocks is not acknowledged by that: it is handed over, and leaves no hint (``write_above``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...identity import Identity
from ...quorum.counter import quorum_counter
from ...quorum.plan import WritePlan
from ...quorum.tally import replicas_of
from ...quorum.version import Version
from ..epoch.epochs import Epoch, Epochs
from ..messages.data import MERGED, Merge, MergeResult
from .exposure import Exposure, applied, remains_open
from .fast_path import FastPath, alike
from .replica_queue import Outcome
from .replica_selector import ReplicaSelector

OnWritten = Callable[[Sequence[int], Mapping[int, Version]], None]
"""Told which writes are acknowledged, and which newer version stood already where one did."""
HandOver = Callable[[int, Exposure], None]


class FastWrites(FastPath):
    def __init__(
        self,
        epochs: Epochs,
        epoch: Epoch,
        replicas: ReplicaSelector,
        merges: Sequence[Merge],
        plans: Sequence[WritePlan],
        on_written: OnWritten,
        hand_over: HandOver,
        is_ahead: Callable[[Version], bool],
    ) -> None:
        super().__init__(epochs, len(merges))
        self._replicas = replicas
        self._stamp = epoch.stamp
        self._merges = merges
        self._plans = plans
        self._on_written = on_written
        self._on_handed_over = hand_over
        self._is_ahead = is_ahead
        self._votes = quorum_counter([plan.acknowledgements for plan in plans], len(epoch.rings))
        self._sent: dict[Identity, Sequence[int]] = {}
        self._answered: set[Identity] = set()
        self._newer: dict[int, Version] = {}
        self._outrun: dict[int, int] = {}
        """Number of replicas that hold a newer version, by write."""
        self._missed: dict[int, list[Identity]] = {}
        """By writes that are not acknowledged yet: the replicas that miss them."""
        self._perhaps: dict[int, int] = {}
        """By writes: how many replicas may have applied them although they did not say so."""
        self._handed_over: dict[int, Exposure] = {}

    def begin(self, deadline_s: float) -> None:
        """``deadline_s``: of the write whose time is up first, on the loop's clock."""
        self._begin(deadline_s)
        receivers = self._receivers()
        for replica in [replica for replica in receivers if not self._replicas.worth_asking(replica)]:
            for place in receivers.pop(replica):
                self._miss(replica, place)
        for replica in self._replicas.others_first(receivers):
            self._send(replica, receivers[replica])

    def _receivers(self) -> dict[Identity, list[int]]:
        """Who gets which writes."""
        receivers: dict[Identity, list[int]] = {}
        for places in alike(self._plans):
            for replica in replicas_of(self._plans[places[0]].everyone):
                receivers.setdefault(replica, []).extend(places)
        return receivers

    def _send(self, replica: Identity, places: Sequence[int]) -> None:
        if self._handed_over:
            places = [place for place in places if place not in self._handed_over]
        if places:
            self._sent[replica] = places
            merges = [self._merges[place] for place in places]
            self._replicas.submit_all(replica, self._stamp, merges, self._on_outcomes)

    def _on_outcomes(self, replica: Identity, outcomes: Sequence[Outcome]) -> None:
        self._answered.add(replica)
        places = self._sent[replica]
        if self._handed_over:
            for place, outcome in zip(places, outcomes, strict=True):
                if place in self._handed_over:
                    self._handed_over[place].note(outcome)
        if outcomes.count(MERGED) < len(outcomes):
            places = self._acknowledged(replica, outcomes)
        self._settle(self._votes.yes(replica, places))

    def _acknowledged(self, replica: Identity, outcomes: Sequence[Outcome]) -> list[int]:
        """The writes that the replica acknowledges; the others are missed."""
        acknowledged = []
        for place, outcome in zip(self._sent[replica], outcomes, strict=True):
            if isinstance(outcome, MergeResult) and applied(outcome):
                acknowledged.append(place)
                if outcome.newer is not None:
                    self._newer[place] = max(outcome.newer, self._newer.get(place, outcome.newer))
                    self._outrun[place] = self._outrun.get(place, 0) + 1
                continue
            if place not in self._handed_over and remains_open(outcome):
                self._perhaps[place] = self._perhaps.get(place, 0) + 1
            self._miss(replica, place)
        return acknowledged

    def _settle(self, places: Sequence[int]) -> None:
        if self._newer:
            places = [place for place in places if not self._outrun_by_future(place)]
        done = self._close(places)
        if done:
            self._on_written(done, self._newer)
        if self._missed:
            for place in done:
                for replica in self._missed.pop(place, ()):
                    self._hint(replica, place)

    def _outrun_by_future(self, place: int) -> bool:
        """Hand over a write whose quorum holds a version that is ahead; return False for any other."""
        newer = self._newer.get(place)
        if newer is None or not self._is_open(place) or not self._is_ahead(newer):
            return False
        self._hand_over(place, newer)
        return True

    def _miss(self, replica: Identity, place: int) -> None:
        hopeless = self._votes.no(replica, place)
        if self._is_open(place):
            self._missed.setdefault(place, []).append(replica)
            if hopeless:
                self._hand_over(place)
        elif place not in self._handed_over:
            self._hint(replica, place)

    def _hint(self, replica: Identity, place: int) -> None:
        merge = self._merges[place]
        self._replicas.hints.keep(replica, merge.key, merge.entry)

    def _hand_over(self, place: int, ahead: Version | None = None) -> None:
        unanswered = sum(
            place in places for replica, places in self._sent.items() if replica not in self._answered
        )
        exposure = Exposure(unanswered + self._perhaps.get(place, 0), self._votes.ayes(place))
        exposure.taken, exposure.ahead = exposure.applied - self._outrun.get(place, 0), ahead
        self._handed_over[place] = exposure
        self._close([place])
        self._on_handed_over(place, exposure)
