"""Counting of replicas' answers until operations have a quorum in every live ring. Pure.

All answers that one counter counts belong to one epoch. A coordinator that adopts a newer record begins again with a
new counter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..identity import Identity


@dataclass(frozen=True, slots=True)
class Requirement:
    """One live ring's part in an operation on one key."""

    replicas: tuple[Identity, ...]
    needed: int
    """Number of replies or acknowledgements that must come from ``replicas``."""


Requirements = Sequence[Requirement]
"""Requirements of one operation, one for each ring."""


def replicas_of(requirements: Requirements) -> tuple[Identity, ...]:
    """Return every replica of every ring, each once, in list order."""
    return tuple(dict.fromkeys(replica for part in requirements for replica in part.replicas))


def satisfied(requirements: Requirements, acks: Collection[Identity]) -> bool:
    """Return True if the replicas ``acks`` are a quorum in every ring."""
    return all(sum(r in acks for r in part.replicas) >= part.needed for part in requirements)


def satisfiable_without(requirements: Requirements, nacks: Collection[Identity]) -> bool:
    """Return True if the replicas other than ``nacks`` are a quorum in every ring."""
    return all(sum(r not in nacks for r in part.replicas) >= part.needed for part in requirements)


class QuorumCounter:
    """Counts for a batch of operations, which are named by their positions.

    Each replica answers each operation at most once.
    """

    def __init__(self, requirements: Sequence[Requirements]) -> None:
        self._requirements = requirements
        self._acks: list[set[Identity]] = [set() for _ in requirements]
        self._nacks: list[set[Identity]] = [set() for _ in requirements]

    def ack(self, replica: Identity, operations: Sequence[int]) -> list[int]:
        """Count ``replica`` for these operations; return those that have their quorum from now on."""
        pending = [operation for operation in operations if not self.reached(operation)]
        for operation in operations:
            self._acks[operation].add(replica)
        return [operation for operation in pending if self.reached(operation)]

    def nack(self, replica: Identity, operation: int) -> bool:
        """Count ``replica`` out; return True if the quorum is no longer reachable."""
        self._nacks[operation].add(replica)
        return not self.reached(operation) and self.lost(operation)

    def acks(self, operation: int) -> int:
        """Return the number of replicas that were counted for it."""
        return len(self._acks[operation])

    def reached(self, operation: int) -> bool:
        return satisfied(self._requirements[operation], self._acks[operation])

    def lost(self, operation: int) -> bool:
        """Return True if too many replicas were counted out for a quorum."""
        return not satisfiable_without(self._requirements[operation], self._nacks[operation])


class OneRingCounter(QuorumCounter):
    """Counts while the cluster has one ring: every replica that answers is in it, so a count is a subtraction."""

    def __init__(self, requirements: Sequence[Requirements]) -> None:
        self._needed = [part.needed for (part,) in requirements]
        self._missing = self._needed.copy()
        self._spare = [len(part.replicas) - part.needed for (part,) in requirements]

    def ack(self, replica: Identity, operations: Sequence[int]) -> list[int]:
        missing = self._missing
        reached = []
        for operation in operations:
            left = missing[operation] = missing[operation] - 1
            if left == 0:
                reached.append(operation)
        return reached

    def nack(self, replica: Identity, operation: int) -> bool:
        self._spare[operation] -= 1
        return self._spare[operation] < 0 < self._missing[operation]

    def acks(self, operation: int) -> int:
        return self._needed[operation] - self._missing[operation]

    def reached(self, operation: int) -> bool:
        return self._missing[operation] <= 0

    def lost(self, operation: int) -> bool:
        return self._spare[operation] < 0


def quorum_counter(requirements: Sequence[Requirements], rings: int) -> QuorumCounter:
    """Return a counter for a cluster with this number of live rings."""
    return OneRingCounter(requirements) if rings == 1 else QuorumCounter(requirements)
