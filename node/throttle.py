"""Limit on the rate of background transfers, so that clients keep their share of the machine."""

from __future__ import annotations

import asyncio

from .ports import Clock


class Throttle:
    """Limits an average rate to ``rate`` bytes per second; 0 for no limit."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._free_at = 0.0

    def share(self, max_bytes: int) -> int:
        """Return the size of the next transfer: ``max_bytes``, but at most one second's bytes.

        So progress stays visible at a low rate.
        """
        return max_bytes if self._rate <= 0 else max(1, min(max_bytes, int(self._rate)))

    async def spent(self, size: int) -> None:
        """Record the transfer of ``size`` bytes, and return when the next transfer may begin."""
        if self._rate <= 0:
            return
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + size / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
