"""Fast path of writes: a write is sent to all replicas, and acknowledged when each live ring has its quorum.

- A hint is kept for each replica that misses an acknowledged write, even if it fails after the acknowledgement.
- A write whose quorum holds a version ahead of all clocks falls back to the slow path, and leaves no hint of its first
  version (``slow_write``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...identity import Identity
from ...quorum.consistency import WritePlan
from ...quorum.counter import quorum_counter
from ...quorum.version import Version
from ..epoch.epochs import Epoch
from ..messages.data import MERGED, Merge, MergeResult
from .attempt import BatchAttempt, by_plan
from .context import CoordinatorContext
from .replica_queue import Outcome
from .slow_write import Exposure, applied, remains_open

OnWritten = Callable[[Sequence[int], Mapping[int, Version]], None]
"""Called with the positions of acknowledged writes, and the newer versions that replicas held, by position."""
OnFallback = Callable[[int, Exposure], None]


class FastWrites(BatchAttempt):
    def __init__(
        self,
        context: CoordinatorContext,
        epoch: Epoch,
        merges: Sequence[Merge],
        plans: Sequence[WritePlan],
        on_written: OnWritten,
        on_fallback: OnFallback,
    ) -> None:
        super().__init__(context.epochs, len(merges))
        self._replicas = context.replicas
        self._versions = context.versions
        self._stamp = epoch.stamp
        self._merges = merges
        self._plans = plans
        self._on_written = on_written
        self._on_fallback = on_fallback
        self._counter = quorum_counter([plan.acknowledgements for plan in plans], len(epoch.rings))
        self._sent: dict[Identity, Sequence[int]] = {}
        self._answered: set[Identity] = set()
        self._newer: dict[int, Version] = {}
        """Newest version that a replica held already, by write."""
        self._superseding: dict[int, int] = {}
        """Number of replicas that hold a newer version, by write."""
        self._missed: dict[int, list[Identity]] = {}
        """Replicas that missed a write which is not acknowledged yet, by write."""
        self._in_doubt: dict[int, int] = {}
        """Number of replicas that may have applied a write although they did not confirm it, by write."""
        self._fallen_back: dict[int, Exposure] = {}

    def begin(self, deadline_s: float) -> None:
        """Send the batch; ``deadline_s`` is the earliest deadline in it, on the loop's clock."""
        self._begin(deadline_s)
        receivers: dict[Identity, list[int]] = {}
        for positions in by_plan(self._plans):
            for replica in self._plans[positions[0]].receivers:
                receivers.setdefault(replica, []).extend(positions)
        for replica in [replica for replica in receivers if not self._replicas.worth_asking(replica)]:
            for position in receivers.pop(replica):
                self._miss(replica, position)
        for replica in self._replicas.others_first(receivers):
            self._send(replica, receivers[replica])

    def _send(self, replica: Identity, positions: Sequence[int]) -> None:
        if self._fallen_back:
            positions = [position for position in positions if position not in self._fallen_back]
        if positions:
            self._sent[replica] = positions
            merges = [self._merges[position] for position in positions]
            self._replicas.queues.to(replica).submit(self._stamp, merges, self._on_outcomes)

    def _on_outcomes(self, replica: Identity, outcomes: Sequence[Outcome]) -> None:
        self._answered.add(replica)
        positions = self._sent[replica]
        if self._fallen_back:
            for position, outcome in zip(positions, outcomes, strict=True):
                if position in self._fallen_back:
                    self._fallen_back[position].record(outcome)
        if outcomes.count(MERGED) < len(outcomes):
            positions = self._acknowledged(replica, outcomes)
        self._settle(self._counter.ack(replica, positions))

    def _acknowledged(self, replica: Identity, outcomes: Sequence[Outcome]) -> list[int]:
        """Return the positions of the writes that the replica acknowledges; record that it missed the others."""
        acknowledged = []
        for position, outcome in zip(self._sent[replica], outcomes, strict=True):
            if isinstance(outcome, MergeResult) and applied(outcome):
                acknowledged.append(position)
                if outcome.newer is not None:
                    self._newer[position] = max(outcome.newer, self._newer.get(position, outcome.newer))
                    self._superseding[position] = self._superseding.get(position, 0) + 1
                continue
            if position not in self._fallen_back and remains_open(outcome):
                self._in_doubt[position] = self._in_doubt.get(position, 0) + 1
            self._miss(replica, position)
        return acknowledged

    def _settle(self, positions: Sequence[int]) -> None:
        if self._newer:
            positions = [position for position in positions if not self._falls_back_ahead(position)]
        done = self._close(positions)
        if done:
            self._on_written(done, self._newer)
        if self._missed:
            for position in done:
                for replica in self._missed.pop(position, ()):
                    self._hint(replica, position)

    def _falls_back_ahead(self, position: int) -> bool:
        """Fall back if the write's quorum holds a version ahead of all clocks. Return whether it fell back."""
        newer = self._newer.get(position)
        if newer is None or not self._is_open(position) or not self._versions.is_ahead(newer):
            return False
        self._fall_back(position, newer)
        return True

    def _miss(self, replica: Identity, position: int) -> None:
        lost = self._counter.nack(replica, position)
        if self._is_open(position):
            self._missed.setdefault(position, []).append(replica)
            if lost:
                self._fall_back(position)
        elif position not in self._fallen_back:
            self._hint(replica, position)

    def _hint(self, replica: Identity, position: int) -> None:
        merge = self._merges[position]
        self._replicas.hints.keep(replica, merge.key, merge.entry)

    def _on_all_closed(self) -> None:
        """Release nothing: late outcomes are still recorded."""

    def _fall_back(self, position: int, ahead: Version | None = None) -> None:
        unanswered = sum(
            position in positions
            for replica, positions in self._sent.items()
            if replica not in self._answered
        )
        exposure = Exposure(
            unanswered + self._in_doubt.get(position, 0), self._counter.acks(position), ahead=ahead
        )
        exposure.taken = exposure.applied - self._superseding.get(position, 0)
        self._fallen_back[position] = exposure
        self._close([position])
        self._on_fallback(position, exposure)
