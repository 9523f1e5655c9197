"""Watches this node's disk: ``Scrubber`` searches for damage, ``SpaceMonitor`` checks the free space."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ..events import Event
from ..runtime import Runtime
from ..storage.interface import Engine
from ..storage.segments import SEGMENTS

STEP_BYTES = 256 << 10
"""Bytes that the scrubber reads without a pause, as ``Engine.verify`` counts them: about a millisecond."""
STEP_PAUSE_S = 0.01
SPACE_INTERVAL_S = 0.5
"""Interval of checks of free space; the engine also checks it after every MiB written."""


class Scrubber:
    """Verifies all entries, slowly and repeatedly, so that damage is found while other replicas still have copies.

    ``Engine.verify`` checks each segment, and puts a damaged segment in quarantine; ``SegmentRecovery`` then recovers
    it. Each node begins at a random segment.
    """

    def __init__(self, engine: Engine, rng: random.Random, interval_s: float) -> None:
        """Take ``interval_s``, the time in which all segments are verified once; 0 for no scrubbing."""
        self._engine = engine
        self._rng = rng
        self._pause_s = interval_s / SEGMENTS

    async def run(self) -> None:
        """Verify one segment after another until cancelled; return at once if scrubbing is off."""
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
        """Take ``on_change``, which is called when the disk has become full, or has space again."""
        self._engine = engine
        self._on_change = on_change
        self._log = runtime.log
        self._reserve_bytes = reserve_bytes

    async def run(self) -> None:
        """Check the free space at intervals until cancelled."""
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
