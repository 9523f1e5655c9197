"""Estimates of peers' hybrid clocks from their latest replies; requests expire at instants in the receiver's time.

So a difference between two wall clocks neither makes a request expire early nor keeps it from expiring.
"""

from __future__ import annotations

from ...quorum.hybrid_clock import MachineClock
from ...quorum.version import COUNTER_BITS

MAX_REMEMBERED = 4096
"""Addresses kept; all are forgotten when there are more."""
WEIGHT_OF_LESS = 0.125
"""Weight of a reading that is behind the estimate; one that is ahead replaces it."""


class PeerClocks:
    def __init__(self, clock: MachineClock) -> None:
        self._clock = clock
        self._leads_ms: dict[str, float] = {}
        """Distance of each peer's clock ahead of this machine's monotonic clock, by address."""

    def note(self, address: str, timestamp: int) -> None:
        """Record the peer's hybrid clock from a reply that has just arrived."""
        if len(self._leads_ms) >= MAX_REMEMBERED:
            self._leads_ms.clear()
        lead_ms = (timestamp >> COUNTER_BITS) - self._clock.monotonic() * 1000
        before_ms = self._leads_ms.get(address, lead_ms)
        # A slow reply gives too low a reading; a hybrid clock ahead of its wall clock, too high a reading.
        self._leads_ms[address] = max(lead_ms, before_ms + (lead_ms - before_ms) * WEIGHT_OF_LESS)

    def expiry_ms(self, address: str, timeout_s: float, own_ms: int) -> int:
        """Return what the clock at ``address`` will show in ``timeout_s``, by ``own_ms`` if it never answered."""
        lead_ms = self._leads_ms.get(address)
        if lead_ms is None:
            return own_ms + int(timeout_s * 1000)
        return int(lead_ms + (self._clock.monotonic() + timeout_s) * 1000)
