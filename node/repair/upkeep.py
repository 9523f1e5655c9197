"""Upkeep of a node's own disk: damage is looked for and healed, and free space is watched."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ...identity import Identity
from ..config import Config
from ..epochs import Epochs
from ..events import Event, EventLog
from ..fenced import FencedPeers
from ..gossiping import Gossiping
from ..ports import Clock
from ..storage.engine import Engine
from ..tasks import Tasks
from ..throttle import Throttle
from .quarantine import QuarantineRepair
from .scrub import Scrubber

LOOK_EVERY_S = 0.5
"""How often free space is looked at while little is written."""


class Upkeep:
    def __init__(
        self,
        engine: Engine,
        repair: QuarantineRepair,
        scrubber: Scrubber,
        tell: Callable[[], None],
        log: EventLog,
        reserve_bytes: int,
    ) -> None:
        """``tell`` is called when the disk has become full, or has space again."""
        self._engine = engine
        self._repair = repair
        self._scrubber = scrubber
        self._tell = tell
        self._log = log
        self._reserve_bytes = reserve_bytes

    def begin(self, tasks: Tasks) -> None:
        for loop in (self._repair, self._scrubber, self):
            tasks.spawn(loop.run())

    def quarantined(self) -> int:
        """How many segments are in quarantine."""
        return len(self._engine.quarantined())

    def disk_full(self) -> bool:
        return self._engine.disk_full()

    async def run(self) -> None:
        """Watch the free space, until cancelled."""
        was_full = False
        while True:
            self._engine.look_at_space()
            full = self._engine.disk_full()
            if full != was_full:
                was_full = full
                if full:
                    self._log.emit(Event.DISK_FULL, reserve_bytes=self._reserve_bytes)
                else:
                    self._log.emit(Event.DISK_FREED, reserve_bytes=self._reserve_bytes)
                self._tell()
            await asyncio.sleep(LOOK_EVERY_S)


def make_upkeep(
    me: Identity,
    config: Config,
    engine: Engine,
    peers: FencedPeers,
    epochs: Epochs,
    gossiping: Gossiping,
    clock: Clock,
    rng: random.Random,
    log: EventLog,
) -> Upkeep:
    """Put together what upkeep takes."""
    repair = QuarantineRepair(
        me,
        epochs,
        engine,
        peers,
        gossiping.is_down,
        Throttle(clock, config.handoff_rate),
        rng,
        config.rpc_timeout,
        log,
        gossiping.say_condition,
    )
    scrubber = Scrubber(engine, rng, config.scrub_interval)
    return Upkeep(engine, repair, scrubber, gossiping.say_condition, log, config.disk_reserve)
