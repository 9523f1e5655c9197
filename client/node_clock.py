"""Estimates the clock of one node, and sets the instants by which that node may begin operations.

Rules
- The estimate is the node's latest reading plus the time that has passed here since, by a clock that keeps running
  while this machine is suspended. It errs to the early side, by the time that the reading took to arrive.
- A reading behind the estimate may have taken long, so it has little weight. A reading that is further behind than the
  time it took and the difference of hybrid clocks is from a clock that was set back; the estimate follows it at once.
- A batch carries the estimate of the instant at which it is sent. The node begins no operation after that instant and
  the operation's timeout, and gives no write a version beyond a second, nearer instant: the batch's latest.
- A write whose outcome is not known raises what the client has seen to the latest of its batch. So whatever the client
  writes later has a higher version, whether and when that write happened, and whatever the clocks show.
- The latest lies so near that nodes follow it at once, unless the node answers so slowly that it would refuse much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ..api.operations import latest_timestamp
from ..quorum.version import COUNTER_BITS

DEFAULT_SKEW_MS = 500
FOLLOWED_SHARE = 0.8
"""Share of the skew that nodes allow within which writes may begin, so that nodes follow their instants."""
MIN_WITHIN_MS, MAX_WITHIN_MS = 200, 2000
ROUND_TRIPS = 3
"""Minimum number of round trips that a write may take to begin."""
ABOVE_SEEN_MS = 50
"""Minimum distance of the latest instant above what the client has seen: it leaves room for versions."""
MAX_WIRE_WITHIN_MS = 2**32 - 1
NEAR_FUTURE_MS = 10_000
"""How far beyond the clocks' skew nodes wait for the latest version of a lost write; they ignore one beyond it."""
WEIGHT_OF_LESS = 0.125
"""Weight of a reading that is behind the estimate; one that is ahead replaces the estimate."""


def _boot_time_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


elapsed_s: Callable[[], float] = _boot_time_s if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


class Stamp(NamedTuple):
    """The cluster that a batch is for, and the instants by which it may begin."""

    cluster_id: str = ""
    sent_ms: int = 0
    """Time of sending by the node's clock; 0 when that is not known."""
    within_ms: int = 0

    @property
    def latest_timestamp(self) -> int:
        """No write of the batch gets a version beyond it; 0 when that is not known."""
        return latest_timestamp(self.sent_ms, self.within_ms) if self.sent_ms else 0


class NodeClock:
    """Estimates one node's clock. ``elapsed_s`` never goes back, and keeps running while the machine is suspended."""

    def __init__(self, elapsed_s: Callable[[], float] = elapsed_s) -> None:
        self.elapsed_s = elapsed_s
        self._lead_ms: float | None = None
        """The node's clock minus this machine's."""
        self._least_ms = int(DEFAULT_SKEW_MS * FOLLOWED_SHARE)
        self._within_ms = self._least_ms
        self._skew_ms = DEFAULT_SKEW_MS

    @property
    def known(self) -> bool:
        return self._lead_ms is not None

    def allow_skew(self, skew_ms: int) -> None:
        """Note how far ahead of its clock the node follows others."""
        if skew_ms > 0:
            self._skew_ms = skew_ms
            within_ms = int(skew_ms * FOLLOWED_SHARE)
            self._least_ms = max(MIN_WITHIN_MS, min(within_ms, MAX_WITHIN_MS // 2))
            self._within_ms = max(self._within_ms, self._least_ms)

    def read(self, clock_ms: int, took_s: float | None = None) -> None:
        """Note a reading that has just arrived; 0 when the node does not send its clock.

        It was asked for ``took_s`` ago, where that is known.
        """
        if clock_ms <= 0:
            return
        lead_ms = clock_ms - self.elapsed_s() * 1000
        if self._lead_ms is None or lead_ms >= self._lead_ms:
            self._lead_ms = lead_ms
        else:
            self._lead_ms += (lead_ms - self._lead_ms) * WEIGHT_OF_LESS
            if took_s is not None:
                self._lead_ms = min(self._lead_ms, lead_ms + took_s * 1000 + 2 * self._skew_ms)

    def took(self, round_trip_s: float) -> None:
        """Note the time that the node took to begin an operation and answer."""
        within_ms = int(round_trip_s * 1000 * ROUND_TRIPS)
        self._within_ms = max(self._least_ms, min(within_ms, MAX_WITHIN_MS))

    def now_ms(self) -> int:
        """Return the node's clock; 0 when it is not known."""
        return 0 if self._lead_ms is None else max(1, int(self._lead_ms + self.elapsed_s() * 1000))

    def stamp(self, cluster_id: str, seen_timestamp: int, lost_timestamp: int = 0) -> Stamp:
        """Return the stamp of a batch that leaves now; nodes draw its versions above both, if the latter is near."""
        sent_ms = self.now_ms()
        if not sent_ms:
            return Stamp(cluster_id)
        if (lost_timestamp >> COUNTER_BITS) - sent_ms <= 2 * self._skew_ms + NEAR_FUTURE_MS:
            seen_timestamp = max(seen_timestamp, lost_timestamp)
        above_seen_ms = (seen_timestamp >> COUNTER_BITS) + ABOVE_SEEN_MS - sent_ms
        return Stamp(cluster_id, sent_ms, min(MAX_WIRE_WITHIN_MS, max(self._within_ms, above_seen_ms)))
