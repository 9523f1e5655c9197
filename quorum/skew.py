"""Whether this machine's wall clock is right, going by what a majority of the members report.

Rules:
- An answer to an exchange brings the peer's wall clock as it was halfway between sending and hearing, give or
  take half the round trip. A round trip too long to tell anything by is no reading.
- A reading is kept against this machine's monotonic clock, not against its wall clock: when the wall clock is
  set, rightly or wrongly, the very next judgement knows.
- The wall clock is off when it is certainly further than allowed ahead of a majority of the clocks known, or as
  far behind a majority; this clock and those of the members that are alive and were read lately are counted.
  Clocks that lie apart in both directions accuse nobody.
- So of two clocks that differ neither is off: no majority says which one is wrong. Each node still refuses data
  from too far ahead of itself, so nothing that takes both of them is acknowledged meanwhile.
- A clock that was off is right again once most clocks lie well within what is allowed; half of them will not do,
  or it would be right as soon as the others were out of reach.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

from ..identity import Identity

TRUSTED_ERROR = 0.5
"""The largest error of a reading, as a part of the allowed skew."""
WELL_WITHIN = 0.75
"""How near a clock that was off has to come, as a part of the allowed skew."""


@dataclass(frozen=True, slots=True)
class _Reading:
    lead_ms: float
    """The peer's wall clock minus this machine's monotonic one."""
    error_ms: float
    at_s: float


class ClockReadings:
    """What the members' wall clocks showed, the latest of each. Times are monotonic seconds."""

    def __init__(self, max_skew_s: float, lately_s: float) -> None:
        """Readings older than ``lately_s`` are not counted."""
        self._max_skew_ms = max_skew_s * 1000
        self._lately_s = lately_s
        self._readings: dict[Identity, _Reading] = {}

    def note(self, member: Identity, wall_ms: int, sent_s: float, heard_s: float) -> None:
        """``member`` showed ``wall_ms`` at some instant between the two."""
        error_ms = (heard_s - sent_s) * 500
        if error_ms <= self._max_skew_ms * TRUSTED_ERROR:
            self._readings[member] = _Reading(wall_ms - (sent_s + heard_s) * 500, error_ms, heard_s)

    def members(self) -> frozenset[Identity]:
        """Whose clocks are known."""
        return frozenset(self._readings)

    def off_ms(self, wall_ms: int, now_s: float, alive: Collection[Identity], was_off: bool) -> int:
        """How far this wall clock is ahead of what a majority reports (negative: behind it); 0 when not off."""
        self._forget(now_s, alive)
        mine_ms = wall_ms - now_s * 1000
        limit_ms = self._max_skew_ms * (WELL_WITHIN if was_off else 1)
        ahead = [mine_ms - reading.lead_ms for reading in self._readings.values()]
        certainly = [reading.error_ms + limit_ms for reading in self._readings.values()]
        too_far_ahead = sum(by > least for by, least in zip(ahead, certainly, strict=True))
        too_far_behind = sum(-by > least for by, least in zip(ahead, certainly, strict=True))
        clocks = 1 + len(ahead)
        most = 2 * max(too_far_ahead, too_far_behind)
        return round(median(ahead)) if most > clocks or (was_off and most == clocks) else 0

    def _forget(self, now_s: float, alive: Collection[Identity]) -> None:
        """Let go of members that are gone, and of what was read too long ago."""
        self._readings = {
            member: reading
            for member, reading in self._readings.items()
            if member in alive and now_s - reading.at_s <= self._lately_s
        }
