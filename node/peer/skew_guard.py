"""Guard that keeps a node from coordinating while its wall clock is off (``quorum.skew``).

A node that starts again with data does not know yet whether it is. What it wrote by a clock that is ahead would stay in
its own copy, and no other node would take it. So it first compares its clock with a majority of the owners, itself
included. If too few answer, it proceeds after a while, since the others may need it.

It still gossips, so that it notices when its clock is right again, and still serves as a replica: the clocks of its
coordinators are checked message by message (``quorum.hybrid_clock``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ...identity import Identity
from ...quorum.skew import ClockReadings
from ..events import Event, EventLog
from ..ports import Clock

READING_ROUNDS = 60
"""Heartbeat intervals for which a reading of a member's clock counts."""
COMPARE_ROUNDS = 10
"""Maximum number of heartbeat intervals that a node which starts waits for other clocks to compare with."""
STEP_MS = 20
"""A wall clock that moved this far against the monotonic clock was set, which invalidates the last judgement."""


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
        self._judged_at_s = clock.monotonic()
        self._judged_lead_ms = self._lead_ms()
        self._to_compare: frozenset[Identity] = frozenset()
        """The other owners, until enough of their clocks are known."""
        self._compare_until_s = 0.0

    def compare_first(self, others: Collection[Identity]) -> None:
        """Coordinate nothing before this clock is compared with those of ``others``, the other owners."""
        self._to_compare = frozenset(others)
        self._compare_until_s = self._clock.monotonic() + COMPARE_ROUNDS * self._interval_s

    def note(self, member: Identity, wall_ms: int, sent_s: float, heard_s: float) -> None:
        """Record the wall clock that ``member`` sent between these times; ``wall_ms`` is 0 if it sent none."""
        if wall_ms:
            self._readings.note(member, wall_ms, sent_s, heard_s)
            self._judge()

    def off_ms(self) -> int:
        """Return how far the wall clock is ahead of what a majority reports, negative if behind; 0 if not off."""
        stale = self._clock.monotonic() - self._judged_at_s >= self._interval_s
        if stale or abs(self._lead_ms() - self._judged_lead_ms) > STEP_MS:
            self._judge()
        return self._off_ms

    def refusal(self) -> str | None:
        """Return why this node coordinates nothing, and what to do; None if it does."""
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

    def _judge(self) -> None:
        self._judged_at_s = self._clock.monotonic()
        self._judged_lead_ms = self._lead_ms()
        was_off = self._off_ms != 0
        self._off_ms = self._readings.off_ms(
            self._clock.wall_ms(), self._judged_at_s, frozenset(self._alive()), was_off
        )
        if self._off_ms and not was_off:
            self._log.emit(Event.CLOCK_OFF, off_s=self._off_ms / 1000, limit_s=self._max_skew_s)
        elif was_off and not self._off_ms:
            self._log.emit(Event.CLOCK_BACK, limit_s=self._max_skew_s)

    def _lead_ms(self) -> float:
        return self._clock.wall_ms() - self._clock.monotonic() * 1000


def describe_skew(off_ms: int) -> str:
    """Return the distance as text, to be followed by what the clock is compared with."""
    return f"{abs(off_ms) / 1000:.1f} s {'ahead of' if off_ms > 0 else 'behind'}"
