"""Counts acknowledgements and failures of replicas until each operation has a quorum in every live ring. Pure.

A counter counts the answers of one epoch only. A coordinator that adopts a newer epoch record starts over with a new
counter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..identity import Identity


@dataclass(frozen=True, slots=True)
class Requirement:
    """The replicas of one key in one live ring, and how many of them must answer."""

    replicas: tuple[Identity, ...]
    needed: int
    """Number of replies or acknowledgements that must come from ``replicas``."""


Requirements = Sequence[Requirement]
"""The requirements of one operation, one for each live ring."""


def replicas_of(requirements: Requirements) -> tuple[Identity, ...]:
    """Return every replica of every ring, each once, in list order."""
    return tuple(dict.fromkeys(replica for part in requirements for replica in part.replicas))


def satisfied(requirements: Requirements, acks: Collection[Identity]) -> bool:
    """Return True if ``acks`` contains a quorum of every ring."""
    return all(sum(r in acks for r in part.replicas) >= part.needed for part in requirements)


def satisfiable_without(requirements: Requirements, nacks: Collection[Identity]) -> bool:
    """Return True if the replicas that are not in ``nacks`` contain a quorum of every ring."""
    return all(sum(r not in nacks for r in part.replicas) >= part.needed for part in requirements)


class QuorumCounter:
    """A counter for a batch of operations; an operation is identified by its index in the batch.

    The caller reports at most one answer of each replica to each operation.
    """

    def __init__(self, requirements: Sequence[Requirements]) -> None:
        self._requirements = requirements
        self._acks: list[set[Identity]] = [set() for _ in requirements]
        self._nacks: list[set[Identity]] = [set() for _ in requirements]

    def ack(self, replica: Identity, operations: Sequence[int]) -> list[int]:
        """Count an acknowledgement of these operations; return those that have reached their quorum by it."""
        pending = [operation for operation in operations if not self.reached(operation)]
        for operation in operations:
            self._acks[operation].add(replica)
        return [operation for operation in pending if self.reached(operation)]

    def nack(self, replica: Identity, operation: int) -> bool:
        """Count a failure of the operation at ``replica``; return True if its quorum is no longer reachable."""
        self._nacks[operation].add(replica)
        return not self.reached(operation) and self.lost(operation)

    def acks(self, operation: int) -> int:
        """Return the number of replicas that have acknowledged the operation."""
        return len(self._acks[operation])

    def reached(self, operation: int) -> bool:
        return satisfied(self._requirements[operation], self._acks[operation])

    def lost(self, operation: int) -> bool:
        """Return True if too many replicas have failed for the operation to reach its quorum."""
        return not satisfiable_without(self._requirements[operation], self._nacks[operation])


class OneRingCounter(QuorumCounter):
    """A faster counter for a cluster with one live ring.

    Every replica that answers belongs to that ring, so each answer only decrements a number.
    """

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
