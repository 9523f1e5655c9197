"""What peers' hybrid clocks show, by their latest replies: the instants at which requests expire are in their time.

So no difference between two wall clocks makes a request expire early, and none keeps it alive.
"""

from __future__ import annotations

from .ports import Clock
from .quorum.version import COUNTER_BITS

MAX_REMEMBERED = 4096
"""Addresses; all are forgotten when there are more."""
WEIGHT_OF_LESS = 0.125
"""Of a reading that is behind what is expected; one that is ahead holds at once."""


class PeerClocks:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leads_ms: dict[str, float] = {}
        """By address: how far the clock there is ahead of this machine's monotonic clock."""

    def note(self, address: str, timestamp: int) -> None:
        """A reply came just now, with the peer's hybrid clock."""
        if len(self._leads_ms) >= MAX_REMEMBERED:
            self._leads_ms.clear()
        lead_ms = (timestamp >> COUNTER_BITS) - self._clock.monotonic() * 1000
        before_ms = self._leads_ms.get(address, lead_ms)
        # A reply that took its time tells too little; a hybrid clock ahead of its wall clock, too much.
        self._leads_ms[address] = max(lead_ms, before_ms + (lead_ms - before_ms) * WEIGHT_OF_LESS)

    def expiry_ms(self, address: str, timeout_s: float, own_ms: int) -> int:
        """What the clock at ``address`` will show in ``timeout_s``; going by ``own_ms`` if it never answered."""
        lead_ms = self._leads_ms.get(address)
        if lead_ms is None:
            return own_ms + int(timeout_s * 1000)
        return int(lead_ms + (self._clock.monotonic() + timeout_s) * 1000)
