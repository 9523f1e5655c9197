"""Counting what replicas say of operations that are under way together. Pure.

While the cluster has one ring, all of an operation's replicas count for the one requirement there is, and counting is
to subtract one. While it has two, each replica counts in the rings that it is a replica in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..identity import Identity
from .tally import Requirement, satisfied

Requirements = Sequence[Requirement]
"""Of one operation: its quorum in every live ring."""


class QuorumCounter(Protocol):
    """Operations are named by their places. Each replica votes at most once on each of them."""

    def yes(self, replica: Identity, places: Sequence[int]) -> list[int]:
        """Count ``replica`` for these; returns those of them that have their quorum by it."""

    def no(self, replica: Identity, place: int) -> bool:
        """Count ``replica`` out for one; says whether that leaves it without hope of its quorum."""

    def ayes(self, place: int) -> int:
        """How many replicas were counted for it."""


def quorum_counter(requirements: Sequence[Requirements], rings: int) -> QuorumCounter:
    return OneRingCounter(requirements) if rings == 1 else AllRingsCounter(requirements)


class OneRingCounter:
    def __init__(self, requirements: Sequence[Requirements]) -> None:
        self._needed = [parts[0].needed for parts in requirements]
        self._lacking = self._needed.copy()
        self._spare = [len(parts[0].replicas) - parts[0].needed for parts in requirements]

    def yes(self, replica: Identity, places: Sequence[int]) -> list[int]:
        lacking = self._lacking
        complete = []
        for place in places:
            left = lacking[place] = lacking[place] - 1
            if left == 0:
                complete.append(place)
        return complete

    def no(self, replica: Identity, place: int) -> bool:
        self._spare[place] -= 1
        return self._spare[place] < 0 < self._lacking[place]

    def ayes(self, place: int) -> int:
        return self._needed[place] - self._lacking[place]


class AllRingsCounter:
    def __init__(self, requirements: Sequence[Requirements]) -> None:
        self._requirements = requirements
        self._for: list[set[Identity]] = [set() for _ in requirements]
        self._against: list[set[Identity]] = [set() for _ in requirements]

    def yes(self, replica: Identity, places: Sequence[int]) -> list[int]:
        return [place for place in places if self._completes(replica, place)]

    def _completes(self, replica: Identity, place: int) -> bool:
        parts, ayes = self._requirements[place], self._for[place]
        before = satisfied(parts, ayes)
        ayes.add(replica)
        return not before and satisfied(parts, ayes)

    def no(self, replica: Identity, place: int) -> bool:
        against = self._against[place]
        against.add(replica)
        return not satisfied(self._requirements[place], self._for[place]) and any(
            sum(member not in against for member in part.replicas) < part.needed
            for part in self._requirements[place]
        )

    def ayes(self, place: int) -> int:
        return len(self._for[place])
