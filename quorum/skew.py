"""Judgement of this machine's wall clock by what a majority of the members report. Pure.

Rules:
- An answer to a gossip exchange carries the peer's wall clock, which is taken as that of the middle of the round trip,
  give or take half of it. A round trip that is too long gives no reading.
- A reading is kept relative to this machine's monotonic clock, not to its wall clock. So the next judgement after the
  wall clock is set, rightly or wrongly, notices it.
- The wall clock is off if it is certainly further than allowed ahead of a majority of the known clocks, or as far
  behind a majority. Counted are this clock, and those of members that are alive and were read not long ago. Clocks that
  differ in both directions prove nothing.
- Of two clocks that differ, therefore, neither is off. Each node still refuses data from too far ahead of itself, so
  nothing that needs both of them is acknowledged.
- A clock that was off is right again once most clocks are well within what is allowed. Half of them do not suffice, or
  the clock would be right as soon as the others were unreachable.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

from ..identity import Identity

TRUSTED_ERROR = 0.5
"""Largest error of a reading, as a part of the allowed skew."""
WELL_WITHIN = 0.75
"""Distance at which a clock that was off is right again, as a part of the allowed skew."""


@dataclass(frozen=True, slots=True)
class _Reading:
    lead_ms: float
    """The peer's wall clock minus this machine's monotonic one."""
    error_ms: float
    at_s: float


class ClockReadings:
    """The latest reading of each member's wall clock. Times are monotonic seconds."""

    def __init__(self, max_skew_s: float, max_age_s: float) -> None:
        """Readings older than ``max_age_s`` do not count."""
        self._max_skew_ms = max_skew_s * 1000
        self._max_age_s = max_age_s
        self._readings: dict[Identity, _Reading] = {}

    def note(self, member: Identity, wall_ms: int, sent_s: float, heard_s: float) -> None:
        """Record that ``member`` showed ``wall_ms`` at some instant between the two."""
        error_ms = (heard_s - sent_s) * 500
        if error_ms <= self._max_skew_ms * TRUSTED_ERROR:
            self._readings[member] = _Reading(wall_ms - (sent_s + heard_s) * 500, error_ms, heard_s)

    def members(self) -> frozenset[Identity]:
        """Return the members whose clocks are known."""
        return frozenset(self._readings)

    def off_ms(self, wall_ms: int, now_s: float, alive: Collection[Identity], was_off: bool) -> int:
        """Return how far this wall clock is ahead of what a majority reports, negative if behind; 0 if not off."""
        self._forget(now_s, alive)
        mine_ms = wall_ms - now_s * 1000
        limit_ms = self._max_skew_ms * (WELL_WITHIN if was_off else 1)
        ahead = [mine_ms - reading.lead_ms for reading in self._readings.values()]
        limits = [reading.error_ms + limit_ms for reading in self._readings.values()]
        too_far_ahead = sum(by > limit for by, limit in zip(ahead, limits, strict=True))
        too_far_behind = sum(-by > limit for by, limit in zip(ahead, limits, strict=True))
        clocks = 1 + len(ahead)
        twice = 2 * max(too_far_ahead, too_far_behind)
        return round(median(ahead)) if twice > clocks or (was_off and twice == clocks) else 0

    def _forget(self, now_s: float, alive: Collection[Identity]) -> None:
        """Drop the readings of members that are gone, and those that are too old."""
        self._readings = {
            member: reading
            for member, reading in self._readings.items()
            if member in alive and now_s - reading.at_s <= self._max_age_s
        }
