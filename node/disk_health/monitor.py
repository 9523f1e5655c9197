"""Watches this node's disk: a scrubber looks for damage, and a monitor for a lack of free space."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ..events import Event
from ..runtime import Runtime
from ..storage.interface import Engine
from ..storage.segments import SEGMENTS

STEP_BYTES = 256 << 10
"""Bytes that the scrubber reads at once, per-entry costs included: about a millisecond."""
STEP_PAUSE_S = 0.01
SPACE_INTERVAL_S = 0.5
"""How often free space is checked while little is written."""


class Scrubber:
    """Reads all entries, slowly and repeatedly, so that damage is found while other replicas still have copies.

    A segment is checked entry by entry and by its summary (``Engine.verify``); a damaged one goes into quarantine,
    from where it is recovered. Each node begins at a random segment.
    """

    def __init__(self, engine: Engine, rng: random.Random, interval_s: float) -> None:
        """``interval_s``: the time of one round; 0 for no scrubbing."""
        self._engine = engine
        self._rng = rng
        self._pause_s = interval_s / SEGMENTS

    async def run(self) -> None:
        """Check one segment after another, until cancelled."""
        number = self._rng.randrange(SEGMENTS)
        while self._pause_s:
            await asyncio.sleep(self._pause_s * (0.5 + self._rng.random()))
            for _ in self._engine.verify(number, STEP_BYTES):
                await asyncio.sleep(STEP_PAUSE_S)
            number = (number + 1) % SEGMENTS


class SpaceMonitor:
    def __init__(
        self, runtime: Runtime, engine: Engine, on_change: Callable[[], None], reserve_bytes: int
    ) -> None:
        """``on_change`` is called when the disk has become full, or has space again."""
        self._engine = engine
        self._on_change = on_change
        self._log = runtime.log
        self._reserve_bytes = reserve_bytes

    async def run(self) -> None:
        """Check the free space until cancelled."""
        was_full = False
        while True:
            self._engine.check_free_space()
            full = self._engine.disk_full()
            if full != was_full:
                was_full = full
                self._log.emit(
                    Event.DISK_FULL if full else Event.DISK_FREED, reserve_bytes=self._reserve_bytes
                )
                self._on_change()
            await asyncio.sleep(SPACE_INTERVAL_S)
