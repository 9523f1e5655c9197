"""The hybrid logical clock that versions are drawn from.

Rules: a timestamp drawn is greater than every timestamp drawn or observed before; the clock rises with every
message and reply, but one from further ahead than the allowed skew is refused, never followed, so that one
machine with a broken clock cannot drag the others into the future. After Kulkarni et al., "Logical Physical
Clocks" (2014).
"""

from __future__ import annotations

from ..errors import ClockSkew
from ..ports import Clock
from .version import COUNTER_BITS


class HybridClock:
    def __init__(self, clock: Clock, max_skew_s: float) -> None:
        self._clock = clock
        self._max_skew_ms = int(max_skew_s * 1000)
        self._last = 0

    def current(self) -> int:
        """The timestamp to put on a message: nothing this node has seen is later."""
        self._last = max(self._last, self._clock.wall_ms() << COUNTER_BITS)
        return self._last

    def draw(self, above: int = 0) -> int:
        """A new timestamp, greater than all before and than ``above``."""
        self._last = max(self.current(), above) + 1
        return self._last

    def observe(self, timestamp: int) -> None:
        """Rise to ``timestamp``; raises ClockSkew when it lies too far ahead of this machine's wall clock."""
        ahead_ms = (timestamp >> COUNTER_BITS) - self._clock.wall_ms()
        if ahead_ms > self._max_skew_ms:
            raise ClockSkew(ahead_ms / 1000, self._max_skew_ms / 1000)
        self._last = max(self._last, timestamp)
