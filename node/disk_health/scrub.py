"""The scrubber: reads everything held, slowly and for ever, so that damage is found while others still have copies.

A segment is checked entry by entry and as a whole (``Engine.verify``); what does not hold goes into quarantine,
from where it is healed. One round takes ``interval_s``, each node begins where chance says, and a step is short
enough to go unnoticed.
"""

from __future__ import annotations

import asyncio
import random

from ..storage.interface import Engine
from ..storage.segments import SEGMENTS

STEP_BYTES = 256 << 10
"""What is read at once, entries counted with what they cost: about a millisecond."""
STEP_PAUSE_S = 0.01


class Scrubber:
    def __init__(self, engine: Engine, rng: random.Random, interval_s: float) -> None:
        """``interval_s``: how long a round takes; 0 for no scrubbing."""
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
