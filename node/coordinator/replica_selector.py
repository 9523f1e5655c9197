"""Selection of the replicas that a coordinator asks, and the ways to reach them: queues, background repair, hints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from ...identity import Identity
from ...membership.record import LoadReport
from ...quorum.counter import Requirements
from ...quorum.ranking import HedgeBudget, ReplicaRanking
from ...quorum.version import Version
from ...ring.epoch import EpochStamp
from ..epoch.epochs import Epoch
from ..messages.data import Merge, MergeKind, Read
from ..ports import Clock
from ..storage.interface import Entry
from .replica_queue import Outcome, ReplicaQueues

MAX_REPAIRS = 1000
"""Maximum number of background repairs in flight. All others are left to anti-entropy."""
MAX_REPAIR_BYTES = 8 << 20
"""Maximum size of their values."""

OnOutcome = Callable[[Identity, Outcome], None]


class HintSink(Protocol):
    def keep(self, to: Identity, key: bytes, entry: Entry) -> None:
        """Keep an acknowledged write for a replica that missed it. This never fails and never waits."""


class LiveView(Protocol):
    """The members as gossip knows them."""

    def is_down(self, member: Identity) -> bool:
        """Return True if the member is considered down, or is unknown. Suspected members are not down."""

    def load_of(self, member: Identity) -> LoadReport | None: ...


class ReplicaSelector:
    def __init__(
        self,
        me: Identity,
        queues: ReplicaQueues,
        view: LiveView,
        hints: HintSink,
        ranking: ReplicaRanking,
        clock: Clock,
    ) -> None:
        self.me = me
        self.hints = hints
        self.ranking = ranking
        self.hedges = HedgeBudget()
        self._clock = clock
        self.queues = queues
        self._view = view
        self._repairs = self._repair_bytes = 0

    def usable(self, replica: Identity) -> bool:
        return replica == self.me or not self._view.is_down(replica)

    def worth_asking(self, replica: Identity) -> bool:
        """Return True if an answer is likely: the replica is up, and was not unreachable recently.

        An operation that needs a replica asks it even if an answer is not likely.
        """
        return self.usable(replica) and not self.ranking.is_backed_off(replica, self._clock.monotonic())

    def ranked(self, replicas: Iterable[Identity]) -> list[Identity]:
        """Return the usable replicas, best first: this node, which needs no message, then the fastest."""
        now_s, me, load_of = self._clock.monotonic(), self.me, self._view.load_of
        ranking = self.ranking
        return sorted(
            (replica for replica in replicas if self.usable(replica)),
            key=lambda r: -1.0 if r == me else ranking.expected_ms(r, load_of(r), now_s),
        )

    def others_first(self, replicas: Iterable[Identity]) -> list[Identity]:
        """Return the usable replicas in the order to send to: fastest first, and this node last.

        The others then work while this node does its own part.
        """
        ranked = self.ranked(replicas)
        return [*ranked[1:], ranked[0]] if ranked and ranked[0] == self.me else ranked

    def short_of(self, requirements: Requirements) -> str | None:
        """Return why the replicas that are up cannot satisfy the requirements; None if they can."""
        for part in requirements:
            down = [replica.name for replica in part.replicas if not self.usable(replica)]
            up = len(part.replicas) - len(down)
            if up < part.needed:
                return (
                    f"{part.needed} of {len(part.replicas)} replicas are needed and "
                    f"{up} are up ({', '.join(down)} down)"
                )
        return None

    def submit(
        self, replica: Identity, epoch: EpochStamp, operation: Read | Merge, on_outcome: OnOutcome
    ) -> None:
        """Submit an operation; ``on_outcome`` is called exactly once, also if it cannot be sent."""
        self.queues.to(replica).submit(epoch, [operation], lambda to, outcomes: on_outcome(to, outcomes[0]))

    def repair(
        self, replica: Identity, epoch: Epoch, key: bytes, answered: Entry, held: Version | None
    ) -> None:
        """Send a replica the entry that a read returned, in the background, if it holds less and there is room."""
        if held is not None and held >= answered.version:
            return
        if answered.tombstone and answered.version.timestamp <= epoch.record.floor:
            return  # a replica that holds nothing may have purged this tombstone already
        size_bytes = len(answered.value or b"")
        full = self._repairs >= MAX_REPAIRS or self._repair_bytes + size_bytes > MAX_REPAIR_BYTES
        if not (self._repairs and full) and self.usable(replica):
            self._repairs += 1
            self._repair_bytes += size_bytes
            merge = Merge(key, answered, MergeKind.REPAIR)
            self.submit(replica, epoch.stamp, merge, partial(self._on_repaired, size_bytes))

    def _on_repaired(self, size_bytes: int, replica: Identity, outcome: Outcome) -> None:
        self._repairs -= 1
        self._repair_bytes -= size_bytes
