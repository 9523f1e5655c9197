"""Bounds how fast data is received or sent in the background, so that clients keep their share of the machine."""

from __future__ import annotations

import asyncio

from .ports import Clock


class Throttle:
    """Lets ``rate`` bytes a second through on average; 0 for no limit."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._free_at = 0.0

    def share(self, most: int) -> int:
        """Return ``most``, or the bytes of one second if those are fewer, so that progress stays visible."""
        return most if self._rate <= 0 else max(1, min(most, int(self._rate)))

    async def spent(self, size: int) -> None:
        """Account for ``size`` bytes that were moved, and return when more may move."""
        if self._rate <= 0:
            return
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + size / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
