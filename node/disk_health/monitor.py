"""Upkeep of a node's own disk: damage is looked for and healed, and free space is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..events import Event
from ..runtime import Runtime
from ..storage.interface import Engine
from .scrub import Scrubber
from .segment_recovery import SegmentRecovery

LOOK_EVERY_S = 0.5
"""How often free space is looked at while little is written."""


class DiskMonitor:
    def __init__(
        self,
        runtime: Runtime,
        engine: Engine,
        recovery: SegmentRecovery,
        scrubber: Scrubber,
        on_change: Callable[[], None],
        reserve_bytes: int,
    ) -> None:
        """Take ``on_change``, called when the disk has become full, or has space again."""
        self._tasks = runtime.tasks
        self._log = runtime.log
        self._engine = engine
        self.recovery = recovery
        self._scrubber = scrubber
        self._on_change = on_change
        self._reserve_bytes = reserve_bytes

    def quarantined(self) -> int:
        """How many segments are in quarantine."""
        return len(self._engine.quarantined())

    def needs_restart(self) -> bool:
        """Whether the disk has damage that is removed when the node starts again."""
        return self._engine.needs_restart()

    def floor_wanted(self) -> int:
        """The floor that segments in quarantine wait for; 0 for none."""
        return self.recovery.floor_wanted()

    def disk_full(self) -> bool:
        return self._engine.disk_full()

    async def run(self) -> None:
        """Watch the free space, and have damage looked for and healed, until cancelled."""
        self._tasks.spawn(self.recovery.run())
        self._tasks.spawn(self._scrubber.run())
        was_full = False
        while True:
            self._engine.check_free_space()
            full = self._engine.disk_full()
            if full != was_full:
                was_full = full
                if full:
                    self._log.emit(Event.DISK_FULL, reserve_bytes=self._reserve_bytes)
                else:
                    self._log.emit(Event.DISK_FREED, reserve_bytes=self._reserve_bytes)
                self._on_change()
            await asyncio.sleep(LOOK_EVERY_S)
