"""Parts that every operation of a coordinator uses, and the plans of the current epoch."""

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
    """Return the replicas and quorums of ``key`` in each live ring.

    Replicas are sorted, so that all ranges with the same replicas have equal plans. The order in which replicas are
    asked depends on their load, not on this order.
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
    """Plans of one epoch, each made once. Keys with the same replicas share a plan, even in different ranges."""

    def __init__(self) -> None:
        self._epoch: Epoch | None = None
        self._reads: dict[tuple[object, Consistency], ReadPlan] = {}
        self._writes: dict[tuple[object, Consistency], WritePlan] = {}
        self._equal: dict[Any, Any] = {}

    def read(self, epoch: Epoch, key: bytes, consistency: Consistency) -> ReadPlan:
        """Return the plan of a read. Raise InvalidRequest if it requires more replicas than a key has."""
        range_key = self._range_of(epoch, key), consistency
        plan = self._reads.get(range_key)
        if plan is None:
            plan = self._reads[range_key] = self._make(plan_read, epoch, key, consistency)
        return plan

    def write(self, epoch: Epoch, key: bytes, consistency: Consistency) -> WritePlan:
        """Return the plan of a write. Raise InvalidRequest if it requires more replicas than a key has."""
        range_key = self._range_of(epoch, key), consistency
        plan = self._writes.get(range_key)
        if plan is None:
            plan = self._writes[range_key] = self._make(plan_write, epoch, key, consistency)
        return plan

    def _range_of(self, epoch: Epoch, key: bytes) -> object:
        """Return the index of the key's range; a tuple of two indexes while two rings are live."""
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
