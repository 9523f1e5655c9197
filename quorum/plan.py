"""What a request's consistency asks of each live ring. Pure.

Quorum and anything stronger is asked of every live ring. What is weaker than quorum promises less, and while
the ring changes asks the old ring only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..identity import Identity
from ..node.epoch.epochs import Epoch
from ..node.errors import InvalidRequest
from ..node.operations import Consistency, Level
from ..ring.ring import Ring
from ..ring.tokens import token_of
from .tally import Requirement


@dataclass(frozen=True)
class ReadPlan:
    replies: tuple[Requirement, ...]
    holders: tuple[Requirement, ...]
    """Copies that a version must be known to have before it is returned; none for weak reads."""

    @cached_property
    def agreement_suffices(self) -> bool:
        """Whether as many replies as are needed, all of one version, know of enough copies of it."""
        return not self.holders or all(
            reply.needed >= holder.needed for reply, holder in zip(self.replies, self.holders, strict=True)
        )


@dataclass(frozen=True, slots=True)
class WritePlan:
    acknowledgements: tuple[Requirement, ...]
    everyone: tuple[Requirement, ...]
    """Whom the write is sent to: all replicas of all live rings, whatever must be acknowledged."""


class Plans:
    """The plans of one epoch, each made once. Keys with the same replicas have the same, whatever their ranges."""

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self._rings = epoch.rings
        self._only_ring = epoch.rings[0] if len(epoch.rings) == 1 else None
        self._reads: dict[tuple[object, Consistency], ReadPlan] = {}
        self._writes: dict[tuple[object, Consistency], WritePlan] = {}
        self._equal_reads: dict[ReadPlan, ReadPlan] = {}
        self._equal_writes: dict[WritePlan, WritePlan] = {}

    def read(self, key: bytes, consistency: Consistency) -> ReadPlan:
        """As ``plan_read``."""
        place = self._place(key), consistency
        plan = self._reads.get(place)
        if plan is None:
            plan = plan_read(self.epoch, key, consistency)
            plan = self._reads[place] = self._equal_reads.setdefault(plan, plan)
        return plan

    def write(self, key: bytes, consistency: Consistency) -> WritePlan:
        """As ``plan_write``."""
        place = self._place(key), consistency
        plan = self._writes.get(place)
        if plan is None:
            plan = plan_write(self.epoch, key, consistency)
            plan = self._writes[place] = self._equal_writes.setdefault(plan, plan)
        return plan

    def _place(self, key: bytes) -> object:
        """The range, or the ranges in both live rings, that the key lies in."""
        token = token_of(key)
        if self._only_ring is not None:
            return self._only_ring.range_index(token)
        return tuple([ring.range_index(token) for ring in self._rings])


def plan_read(epoch: Epoch, key: bytes, consistency: Consistency) -> ReadPlan:
    token = token_of(key)
    strict = [_strict(ring, ring.r, consistency) for ring in epoch.rings]
    if None in strict:
        old = epoch.rings[0]
        return ReadPlan((Requirement(_replicas(old, token), _asked(old, consistency)),), ())
    return ReadPlan(
        tuple(
            Requirement(_replicas(ring, token), needed)
            for ring, needed in zip(epoch.rings, strict, strict=True)
            if needed is not None
        ),
        tuple(Requirement(_replicas(ring, token), ring.w) for ring in epoch.rings),
    )


def plan_write(epoch: Epoch, key: bytes, consistency: Consistency) -> WritePlan:
    token = token_of(key)
    everyone = tuple(Requirement(_replicas(ring, token), ring.n) for ring in epoch.rings)
    strict = [_strict(ring, ring.w, consistency) for ring in epoch.rings]
    if None in strict:
        old = epoch.rings[0]
        return WritePlan((Requirement(_replicas(old, token), _asked(old, consistency)),), everyone)
    return WritePlan(
        tuple(
            Requirement(part.replicas, needed)
            for part, needed in zip(everyone, strict, strict=True)
            if needed is not None
        ),
        everyone,
    )


def _replicas(ring: Ring, token: int) -> tuple[Identity, ...]:
    """In an order that does not depend on the range: who is asked first follows from load."""
    return tuple(sorted(ring.preference_list(token)))


def _strict(ring: Ring, quorum: int, consistency: Consistency) -> int | None:
    """Replicas to wait for in ``ring`` when the request is no weaker than its quorum; None when it is weaker."""
    asked = _asked(ring, consistency)
    if consistency.replicas == 0 and consistency.level is Level.QUORUM:
        return quorum
    return asked if asked >= quorum else None


def _asked(ring: Ring, consistency: Consistency) -> int:
    if consistency.replicas:
        if consistency.replicas > ring.spec.quorums.replication_factor:
            raise InvalidRequest(
                f"{consistency.replicas} replicas were asked for, but each key has "
                f"{ring.spec.quorums.replication_factor}"
            )
        return min(consistency.replicas, ring.n)
    return ring.n if consistency.level is Level.ALL else 1
