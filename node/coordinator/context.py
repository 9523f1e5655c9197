"""Parts that every operation of a coordinator works with, and the plans of the current epoch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...quorum.consistency import (
    Consistency,
    LiveRing,
    ReadPlan,
    TooManyReplicas,
    WritePlan,
    plan_read,
    plan_write,
)
from ...ring.tokens import token_of
from ..epoch.epochs import Epoch, Epochs
from ..errors import InvalidRequest
from ..events import EventLog
from ..replica.load_meter import LoadMeter
from ..runtime import LocalIdentity
from .replica_selector import ReplicaSelector
from .version_source import VersionSource

P = TypeVar("P", ReadPlan, WritePlan)


def live_rings(epoch: Epoch, key: bytes) -> tuple[LiveRing, ...]:
    """Return the live rings as operations on ``key`` see them.

    The order of replicas does not depend on the range that the key lies in; load decides which one is asked first.
    """
    token = token_of(key)
    return tuple(
        LiveRing(
            tuple(sorted(ring.preference_list(token))),
            ring.spec.quorums.replication_factor,
            w=ring.w,
            r=ring.r,
        )
        for ring in epoch.rings
    )


class Plans:
    """Plans of one epoch, each made once. Keys with the same replicas share a plan, whatever their ranges."""

    def __init__(self) -> None:
        self._epoch: Epoch | None = None
        self._reads: dict[tuple[object, Consistency], ReadPlan] = {}
        self._writes: dict[tuple[object, Consistency], WritePlan] = {}
        self._equal: dict[Any, Any] = {}

    def read(self, epoch: Epoch, key: bytes, consistency: Consistency) -> ReadPlan:
        """Raise InvalidRequest if ``consistency`` requires more replicas than a key has."""
        place = self._place(epoch, key), consistency
        plan = self._reads.get(place)
        if plan is None:
            plan = self._reads[place] = self._make(plan_read, epoch, key, consistency)
        return plan

    def write(self, epoch: Epoch, key: bytes, consistency: Consistency) -> WritePlan:
        """Raise InvalidRequest if ``consistency`` requires more replicas than a key has."""
        place = self._place(epoch, key), consistency
        plan = self._writes.get(place)
        if plan is None:
            plan = self._writes[place] = self._make(plan_write, epoch, key, consistency)
        return plan

    def _place(self, epoch: Epoch, key: bytes) -> object:
        """Return the range, or the ranges in both live rings, that the key lies in."""
        if epoch is not self._epoch:
            self._reads, self._writes, self._equal, self._epoch = {}, {}, {}, epoch
        token, rings = token_of(key), epoch.rings
        return (
            rings[0].range_index(token) if len(rings) == 1 else tuple([r.range_index(token) for r in rings])
        )

    def _make(
        self,
        make: Callable[[Sequence[LiveRing], Consistency], P],
        epoch: Epoch,
        key: bytes,
        consistency: Consistency,
    ) -> P:
        try:
            plan = make(live_rings(epoch, key), consistency)
        except TooManyReplicas as error:
            raise InvalidRequest(str(error)) from None
        shared: P = self._equal.setdefault(plan, plan)
        return shared


@dataclass(frozen=True)
class CoordinatorContext:
    me: LocalIdentity
    epochs: Epochs
    replicas: ReplicaSelector
    versions: VersionSource
    load: LoadMeter
    rng: random.Random
    log: EventLog
    plans: Plans = field(default_factory=Plans)
