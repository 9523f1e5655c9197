"""Decides whether this machine's wall clock is off, by comparison with the clocks of other members. Pure.

Rules:
- An answer to a gossip exchange carries the peer's wall clock. The reading is assumed to be from the middle of the
  round trip, with an error of half the round trip. A round trip that is too long gives no reading.
- A reading is stored relative to this machine's monotonic clock, not to its wall clock, so that a change of the wall
  clock shows in the next check.
- The wall clock is off if it is certainly ahead of a majority of the known clocks by more than the allowed skew, or
  behind a majority by more. The known clocks are this one and those of live members that were read recently. A clock
  that is ahead of some and behind others, but of no majority in either direction, is not off.
- With two clocks, therefore, neither is off. Each node still refuses data from too far ahead of its clock, so an
  operation that needs both nodes is not acknowledged.
- A clock that was off is right again once it is within ``WELL_WITHIN`` of most clocks. Half of them do not suffice;
  otherwise the clock would count as right as soon as the other nodes were unreachable.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

from ..identity import Identity

TRUSTED_ERROR = 0.5
"""Largest error of a reading, as a part of the allowed skew."""
WELL_WITHIN = 0.75
"""Difference within which a clock that was off counts as right again, as a part of the allowed skew."""


@dataclass(frozen=True, slots=True)
class _Reading:
    lead_ms: float
    """The peer's wall clock minus this machine's monotonic one."""
    error_ms: float
    at_s: float


class ClockReadings:
    """The latest reading of each member's wall clock. Times are monotonic seconds."""

    def __init__(self, max_skew_s: float, max_age_s: float) -> None:
        """Ignore readings older than ``max_age_s``."""
        self._max_skew_ms = max_skew_s * 1000
        self._max_age_s = max_age_s
        self._readings: dict[Identity, _Reading] = {}

    def note(self, member: Identity, wall_ms: int, sent_s: float, heard_s: float) -> None:
        """Record that the clock of ``member`` showed ``wall_ms`` at some instant between ``sent_s`` and ``heard_s``."""
        error_ms = (heard_s - sent_s) * 500
        if error_ms <= self._max_skew_ms * TRUSTED_ERROR:
            self._readings[member] = _Reading(wall_ms - (sent_s + heard_s) * 500, error_ms, heard_s)

    def members(self) -> frozenset[Identity]:
        """Return the members whose clocks are known."""
        return frozenset(self._readings)

    def off_ms(self, wall_ms: int, now_s: float, alive: Collection[Identity], was_off: bool) -> int:
        """Return how far this wall clock is ahead of the others (median), negative if behind; 0 if it is not off."""
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
        """Drop the readings of members that are not alive, and those that are too old."""
        self._readings = {
            member: reading
            for member, reading in self._readings.items()
            if member in alive and now_s - reading.at_s <= self._max_age_s
        }
