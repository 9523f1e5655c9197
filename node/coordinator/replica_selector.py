"""The replicas as a coordinator sees them: who is worth asking, in which order, the pipes to them, and the hints
kept for those that missed something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from ...identity import Identity
from ...membership.record import LoadReport
from ...quorum.ranking import HedgeBudget, ReplicaRanking
from ...quorum.tally import Requirement
from ...ring.epoch import EpochStamp
from ..messages.data import Merge, Read
from ..ports import Clock
from .missed import HintSink
from .replica_queue import OnOutcomes, Outcome, ReplicaQueues

MAX_ASIDE = 1000
"""Repairs under way that nobody waits for; what comes beyond that is left to anti-entropy."""
MAX_ASIDE_BYTES = 8 << 20
"""Bytes of their values."""


OnOutcome = Callable[[Identity, Outcome], None]


class LiveView(Protocol):
    """What gossip knows of members."""

    def is_down(self, member: Identity) -> bool:
        """Whether the member is thought down (or was never heard of). Members under suspicion are not down."""

    def load_of(self, member: Identity) -> LoadReport | None: ...


class ReplicaSelector:
    def __init__(
        self,
        me: Identity,
        pipes: ReplicaQueues,
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
        self._pipes = pipes
        self._view = view
        self._aside = self._aside_bytes = 0

    def usable(self, replica: Identity) -> bool:
        return replica == self.me or not self._view.is_down(replica)

    def worth_asking(self, replica: Identity) -> bool:
        """Whether an answer can be expected: not of one that gossip thinks is up, but was out of reach just now.

        What cannot do without such a replica asks it all the same.
        """
        return self.usable(replica) and not self.ranking.shuns(replica, self._clock.monotonic())

    def ranked(self, replicas: Iterable[Identity]) -> list[Identity]:
        """The usable ones, best first: this node itself, to which no message goes, then those that answer soonest."""
        now_s, me, load_of = self._clock.monotonic(), self.me, self._view.load_of
        ranking = self.ranking
        return sorted(
            (replica for replica in replicas if self.usable(replica)),
            key=lambda r: -1.0 if r == me else ranking.expected_ms(r, load_of(r), now_s),
        )

    def others_first(self, replicas: Iterable[Identity]) -> list[Identity]:
        """The usable ones in the order to send to: those that answer soonest, and this node last.

        Others work while this node does its own part; and who is to answer first is to begin first.
        """
        ranked = self.ranked(replicas)
        return [*ranked[1:], ranked[0]] if ranked and ranked[0] == self.me else ranked

    def short_of(self, requirements: Sequence[Requirement]) -> str | None:
        """Why the requirements cannot be met by who is up, in words; None when they can."""
        for part in requirements:
            down = [replica.name for replica in part.replicas if not self.usable(replica)]
            if len(part.replicas) - len(down) < part.needed:
                return (
                    f"{part.needed} of {len(part.replicas)} replicas are needed and "
                    f"{len(part.replicas) - len(down)} are up ({', '.join(down)} down)"
                )
        return None

    def submit(
        self, replica: Identity, epoch: EpochStamp, operation: Read | Merge, on_outcome: OnOutcome
    ) -> None:
        """``on_outcome`` is called exactly once, also for an operation that cannot be sent."""
        self.submit_all(replica, epoch, [operation], lambda to, outcomes: on_outcome(to, outcomes[0]))

    def submit_all(
        self,
        replica: Identity,
        epoch: EpochStamp,
        operations: Sequence[Read | Merge],
        on_outcomes: OnOutcomes,
    ) -> None:
        """The same for operations that belong together: in one message, and answered at once."""
        self._pipes.to(replica).submit(epoch, operations, on_outcomes)

    def submit_aside(self, replica: Identity, epoch: EpochStamp, repair: Merge) -> None:
        """Submit what nobody waits for; left undone when too much of it is under way already."""
        size_bytes = len(repair.entry.value or b"")
        full = self._aside >= MAX_ASIDE or self._aside_bytes + size_bytes > MAX_ASIDE_BYTES
        if not (self._aside and full) and self.usable(replica):
            self._aside += 1
            self._aside_bytes += size_bytes
            self.submit(replica, epoch, repair, partial(self._done_aside, size_bytes))

    def _done_aside(self, size_bytes: int, replica: Identity, outcome: Outcome) -> None:
        self._aside -= 1
        self._aside_bytes -= size_bytes
