"""An estimate of one node's clock, and the time limits within which the node may begin a batch's operations.

Rules
- The estimate is the latest reading of the node's clock plus the time that has passed here since, by a clock that keeps
  running while this machine is suspended. It is too early by the time that the reading took to arrive.
- A reading behind the estimate may have been delayed, so it has little weight. If it is further behind than its delay
  and the skew between hybrid clocks explain, the node's clock was set back, and the estimate follows it at once.
- A batch has the estimated time of the node's clock at which it is sent. The node begins no operation when the
  operation's timeout has passed since that time. It gives no write a version above the batch's latest timestamp, which
  is nearer.
- After a write of unknown outcome, the client counts the latest timestamp of its batch as seen. So every later write of
  the client has a higher version, no matter whether and when the lost write happens, and what the clocks show.
- The latest timestamp is near enough that other nodes accept it at once, except if the node answers so slowly that it
  would have to refuse many writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ..api.operations import latest_timestamp
from ..quorum.version import COUNTER_BITS

DEFAULT_SKEW_MS = 500
FOLLOWED_SHARE = 0.8
"""Part of the skew that nodes allow within which writes may begin, so that nodes accept their timestamps."""
MIN_WITHIN_MS, MAX_WITHIN_MS = 200, 2000
ROUND_TRIPS = 3
"""Number of round trips that a write may take to begin."""
ABOVE_SEEN_MS = 50
"""Minimum distance of the latest timestamp above those that the client has seen, as room for new versions."""
MAX_WIRE_WITHIN_MS = 2**32 - 1
NEAR_FUTURE_MS = 10_000
"""Time beyond the allowed skew for which nodes wait for the timestamp of a lost write; they ignore later timestamps."""
WEIGHT_OF_LESS = 0.125
"""Weight of a reading behind the estimate. A reading ahead of the estimate replaces it."""


def _boot_time_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


elapsed_s: Callable[[], float] = _boot_time_s if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


class Stamp(NamedTuple):
    """The cluster that a batch is for, and the times within which its operations may begin."""

    cluster_id: str = ""
    sent_ms: int = 0
    """Time of sending by the node's clock; 0 if that is not known."""
    within_ms: int = 0
    """Time after ``sent_ms`` within which writes may begin."""

    @property
    def latest_timestamp(self) -> int:
        """The highest timestamp that a write of the batch may get; 0 if that is not known."""
        return latest_timestamp(self.sent_ms, self.within_ms) if self.sent_ms else 0


class NodeClock:
    """The estimate of one node's clock.

    ``elapsed_s`` is a clock that never goes back, and keeps running while this machine is suspended.
    """

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
        """Record the skew that the node allows; 0 if it did not send one."""
        if skew_ms > 0:
            self._skew_ms = skew_ms
            within_ms = int(skew_ms * FOLLOWED_SHARE)
            self._least_ms = max(MIN_WITHIN_MS, min(within_ms, MAX_WITHIN_MS // 2))
            self._within_ms = max(self._within_ms, self._least_ms)

    def read(self, clock_ms: int, took_s: float | None = None) -> None:
        """Record a reading that has just arrived; 0 if the node does not send its clock.

        ``took_s`` is the time since the request for it, if known.
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
        """Record the time that the node took to begin an operation and answer it."""
        within_ms = int(round_trip_s * 1000 * ROUND_TRIPS)
        self._within_ms = max(self._least_ms, min(within_ms, MAX_WITHIN_MS))

    def now_ms(self) -> int:
        """Return the estimated time of the node's clock; 0 if it is not known."""
        return 0 if self._lead_ms is None else max(1, int(self._lead_ms + self.elapsed_s() * 1000))

    def stamp(self, cluster_id: str, seen_timestamp: int, lost_timestamp: int = 0) -> Stamp:
        """Return the stamp of a batch that is sent now.

        Its latest timestamp leaves room above ``seen_timestamp`` and, unless nodes ignore it, ``lost_timestamp``.
        """
        sent_ms = self.now_ms()
        if not sent_ms:
            return Stamp(cluster_id)
        if (lost_timestamp >> COUNTER_BITS) - sent_ms <= 2 * self._skew_ms + NEAR_FUTURE_MS:
            seen_timestamp = max(seen_timestamp, lost_timestamp)
        above_seen_ms = (seen_timestamp >> COUNTER_BITS) + ABOVE_SEEN_MS - sent_ms
        return Stamp(cluster_id, sent_ms, min(MAX_WIRE_WITHIN_MS, max(self._within_ms, above_seen_ms)))
