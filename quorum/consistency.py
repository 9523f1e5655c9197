"""What a consistency level requires of each live ring, as the plan of a read or a write. Pure.

QUORUM and anything stronger is required of every live ring. A weaker level promises less: while the ring changes, it is
required of the old ring only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from ..identity import Identity
from .counter import Requirement


class Level(StrEnum):
    """Number of replicas that must answer, relative to the ring's settings."""

    ONE = "one"
    QUORUM = "quorum"
    ALL = "all"


class Consistency(NamedTuple):
    """Number of replicas that must answer: ``replicas`` if that is above 0, else what ``level`` means."""

    level: Level = Level.QUORUM
    replicas: int = 0
    """An explicit r for a read, w for a write."""


QUORUM = Consistency()


class TooManyReplicas(ValueError):
    """More replicas are required than a key has."""


class LiveRing(NamedTuple):
    """One live ring, as an operation on one key sees it."""

    replicas: tuple[Identity, ...]
    """Replicas of the key: N of them, or all owners if there are fewer."""
    replication_factor: int
    w: int
    r: int


@dataclass(frozen=True)
class ReadPlan:
    replies: tuple[Requirement, ...]
    holders: tuple[Requirement, ...]
    """Copies that a version must be known to have before it is returned; none for weak reads."""

    @cached_property
    def agreement_suffices(self) -> bool:
        """Return True if as many replies as are needed, all of one version, prove enough copies of it."""
        return not self.holders or all(
            reply.needed >= holder.needed for reply, holder in zip(self.replies, self.holders, strict=True)
        )


@dataclass(frozen=True, slots=True)
class WritePlan:
    acknowledgements: tuple[Requirement, ...]
    receivers: tuple[Identity, ...]
    """Replicas that the write is sent to: all of all live rings, whatever must be acknowledged."""


def plan_read(rings: Sequence[LiveRing], consistency: Consistency) -> ReadPlan:
    """Raise TooManyReplicas if ``consistency`` requires more replicas than a key has."""
    replies = _strict(rings, [ring.r for ring in rings], consistency)
    if not replies:
        return ReadPlan((_weak(rings[0], consistency),), ())
    return ReadPlan(replies, tuple(Requirement(ring.replicas, ring.w) for ring in rings))


def plan_write(rings: Sequence[LiveRing], consistency: Consistency) -> WritePlan:
    """Raise TooManyReplicas if ``consistency`` requires more replicas than a key has."""
    acknowledgements = _strict(rings, [ring.w for ring in rings], consistency)
    receivers = tuple(dict.fromkeys(replica for ring in rings for replica in ring.replicas))
    return WritePlan(acknowledgements or (_weak(rings[0], consistency),), receivers)


def _strict(
    rings: Sequence[LiveRing], quorums: Sequence[int], consistency: Consistency
) -> tuple[Requirement, ...]:
    """Return the requirement of every ring, or nothing if ``consistency`` is weaker than the quorum of one of them."""
    if consistency == QUORUM:
        needed = quorums
    else:
        needed = [_count(ring, consistency) for ring in rings]
        if any(count < quorum for count, quorum in zip(needed, quorums, strict=True)):
            return ()
    return tuple(Requirement(ring.replicas, count) for ring, count in zip(rings, needed, strict=True))


def _weak(old: LiveRing, consistency: Consistency) -> Requirement:
    return Requirement(old.replicas, _count(old, consistency))


def _count(ring: LiveRing, consistency: Consistency) -> int:
    if consistency.replicas:
        if consistency.replicas > ring.replication_factor:
            raise TooManyReplicas(
                f"{consistency.replicas} replicas were asked for, but each key has {ring.replication_factor}"
            )
        return min(consistency.replicas, len(ring.replicas))
    return len(ring.replicas) if consistency.level is Level.ALL else 1
