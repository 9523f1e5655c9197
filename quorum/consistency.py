"""Plans of reads and writes: how many replicas of each live ring must answer for a consistency level. Pure.

QUORUM, and any stronger level, must be reached in every live ring. A weaker level promises less: while the ring
changes, it must be reached in the old ring only.
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
    """The operation requires more replicas than a key has."""


class LiveRing(NamedTuple):
    """The replicas of one key in one live ring, and the quorums of that ring."""

    replicas: tuple[Identity, ...]
    """Replicas of the key: N of them, or all owners if there are fewer."""
    replication_factor: int
    w: int
    r: int


@dataclass(frozen=True)
class ReadPlan:
    replies: tuple[Requirement, ...]
    """Replies that are needed to find the newest version."""
    holders: tuple[Requirement, ...]
    """Replicas that must be known to hold a version before it is returned; empty for weak reads."""

    @cached_property
    def agreement_suffices(self) -> bool:
        """True if the needed replies, when all have the same version, prove that enough replicas hold it."""
        return not self.holders or all(
            reply.needed >= holder.needed for reply, holder in zip(self.replies, self.holders, strict=True)
        )


@dataclass(frozen=True, slots=True)
class WritePlan:
    acknowledgements: tuple[Requirement, ...]
    receivers: tuple[Identity, ...]
    """Replicas that the write is sent to: those of all live rings, at every consistency level."""


def plan_read(rings: Sequence[LiveRing], consistency: Consistency) -> ReadPlan:
    """Return the plan of a read. Raise TooManyReplicas if ``consistency`` requires more replicas than a key has."""
    replies = _strict(rings, [ring.r for ring in rings], consistency)
    if not replies:
        return ReadPlan((_weak(rings[0], consistency),), ())
    return ReadPlan(replies, tuple(Requirement(ring.replicas, ring.w) for ring in rings))


def plan_write(rings: Sequence[LiveRing], consistency: Consistency) -> WritePlan:
    """Return the plan of a write. Raise TooManyReplicas if ``consistency`` requires more replicas than a key has."""
    acknowledgements = _strict(rings, [ring.w for ring in rings], consistency)
    receivers = tuple(dict.fromkeys(replica for ring in rings for replica in ring.replicas))
    return WritePlan(acknowledgements or (_weak(rings[0], consistency),), receivers)


def _strict(
    rings: Sequence[LiveRing], quorums: Sequence[int], consistency: Consistency
) -> tuple[Requirement, ...]:
    """Return one requirement per ring, or () if ``consistency`` is weaker than the quorum of any ring."""
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
