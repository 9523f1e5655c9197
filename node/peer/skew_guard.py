"""Guard that keeps a node from coordinating operations while its wall clock is wrong (``quorum.skew``).

- A node that starts again with data does not know yet whether its clock is wrong. If the clock were ahead, its writes
  would remain in its own copy, since no other node would accept them. Therefore it first compares its clock with those
  of a majority of the owners, itself included. If too few of them answer in time, it coordinates without this check,
  since the others may need it.
- A node whose clock is wrong still gossips, so that it notices when the clock is right again.
- It still serves as a replica, since the clock of each coordinator is checked with every message
  (``quorum.hybrid_clock``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ...identity import Identity
from ...quorum.skew import ClockReadings
from ..events import Event, EventLog
from ..ports import Clock

READING_ROUNDS = 60
"""Number of heartbeat intervals for which a reading of a member's clock is used."""
COMPARE_ROUNDS = 10
"""Maximum number of heartbeat intervals for which a node that starts waits for readings of other clocks."""
STEP_MS = 20
"""A wall clock that has moved this far against the monotonic clock was set, so its skew is computed again."""


class SkewGuard:
    def __init__(
        self,
        clock: Clock,
        max_skew_s: float,
        heartbeat_interval_s: float,
        alive: Callable[[], Collection[Identity]],
        log: EventLog,
    ) -> None:
        self._clock = clock
        self._max_skew_s = max_skew_s
        self._interval_s = heartbeat_interval_s
        self._alive = alive
        self._log = log
        self._readings = ClockReadings(max_skew_s, READING_ROUNDS * heartbeat_interval_s)
        self._off_ms = 0
        self._computed_at_s = clock.monotonic()
        self._computed_lead_ms = self._lead_ms()
        self._to_compare: frozenset[Identity] = frozenset()
        """The other owners, while too few of their clocks are known."""
        self._compare_until_s = 0.0

    def compare_first(self, others: Collection[Identity]) -> None:
        """Refuse to coordinate until this node's clock is compared with those of ``others``, the other owners."""
        self._to_compare = frozenset(others)
        self._compare_until_s = self._clock.monotonic() + COMPARE_ROUNDS * self._interval_s

    def note(self, member: Identity, wall_ms: int, sent_s: float, heard_s: float) -> None:
        """Record the wall clock that ``member`` sent between these times; ``wall_ms`` is 0 if it sent none."""
        if wall_ms:
            self._readings.note(member, wall_ms, sent_s, heard_s)
            self._compute()

    def off_ms(self) -> int:
        """Return how far the wall clock is ahead of a majority's clocks, negative if behind; 0 if it is right."""
        stale = self._clock.monotonic() - self._computed_at_s >= self._interval_s
        if stale or abs(self._lead_ms() - self._computed_lead_ms) > STEP_MS:
            self._compute()
        return self._off_ms

    def refusal(self) -> str | None:
        """Return why this node coordinates no operations, and what to do; None if it coordinates."""
        off_ms = self.off_ms()
        if not off_ms:
            return self._not_compared()
        return (
            f"this node's clock is {describe_skew(off_ms)} what a majority of the members report "
            f"(max_clock_skew is {self._max_skew_s:g} s): ask another node, and set this one's clock right"
        )

    def _not_compared(self) -> str | None:
        if not self._to_compare:
            return None
        known = len(self._to_compare & self._readings.members())
        if 2 * known >= len(self._to_compare) or self._clock.monotonic() >= self._compare_until_s:
            self._to_compare = frozenset()
            return None
        return "this node has just started and compares its clock with the others' first; ask another node"

    def _compute(self) -> None:
        self._computed_at_s = self._clock.monotonic()
        self._computed_lead_ms = self._lead_ms()
        was_off = self._off_ms != 0
        self._off_ms = self._readings.off_ms(
            self._clock.wall_ms(), self._computed_at_s, frozenset(self._alive()), was_off
        )
        if self._off_ms and not was_off:
            self._log.emit(Event.CLOCK_OFF, off_s=self._off_ms / 1000, limit_s=self._max_skew_s)
        elif was_off and not self._off_ms:
            self._log.emit(Event.CLOCK_BACK, limit_s=self._max_skew_s)

    def _lead_ms(self) -> float:
        return self._clock.wall_ms() - self._clock.monotonic() * 1000


def describe_skew(off_ms: int) -> str:
    """Return the skew as text; the reference that the clock is compared with is to follow."""
    return f"{abs(off_ms) / 1000:.1f} s {'ahead of' if off_ms > 0 else 'behind'}"
