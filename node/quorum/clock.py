"""The hybrid logical clock that versions are drawn from.

Rules:
- A timestamp drawn is greater than every timestamp drawn or observed before. So the clock never goes back, also
  when the wall clock does.
- The clock rises with every message and reply, but one from further ahead than the allowed skew is refused, never
  followed, so that one machine with a broken clock cannot move the others into the future.
- Only what is drawn and what is observed raises it. A wall clock that was wrong for a while has raised nothing that it
  would take as long to come down from, as long as nothing was drawn meanwhile. What was drawn then is given up by
  ``return_to_wall``, after which timestamps may come again; the caller distinguishes them.
- A message carries no time that its receiver would refuse. So a node whose hybrid clock is further ahead of its wall
  clock than that still reads, answers and hands off.

After Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from __future__ import annotations

from ..errors import BeyondBound, ClockSkew
from ..ports import Clock
from .version import COUNTER_BITS

MOMENT = 0.2
"""How far beyond the allowed skew timestamps are drawn, as a part of it. A clock that has followed others to the very
end has room for some above them."""


class HybridClock:
    def __init__(self, clock: Clock, max_skew_s: float) -> None:
        self._clock = clock
        self._max_skew_ms = int(max_skew_s * 1000)
        self._last = 0

    @property
    def machine(self) -> Clock:
        """The clocks of this machine, which it is drawn from."""
        return self._clock

    @property
    def max_skew_s(self) -> float:
        return self._max_skew_ms / 1000

    def wall_ms(self) -> int:
        """Return what this machine's wall clock shows."""
        return self._clock.wall_ms()

    def current(self) -> int:
        """The timestamp to put on a message: nothing this node has seen, and others follow, is later."""
        return min(max(self._last, self._wall()), self._furthest())

    def begin(self, timestamp: int) -> None:
        """Start no lower than an earlier process has got, as far as that may be followed."""
        self._last = max(self._last, min(timestamp, self._furthest()))

    def follow_disk(self, timestamp: int) -> None:
        """Rise to what this node's own disk has, however far ahead."""
        self._last = max(self._last, timestamp)

    def current_ms(self) -> int:
        """The milliseconds of ``current``."""
        return self.current() >> COUNTER_BITS

    def draw(self, above: int = 0, count: int = 1, *, bounded: bool = True, latest: int = 0) -> int:
        """The first of ``count`` new timestamps in a row, greater than all before and than ``above``.

        Raises BeyondBound when the last of them would be greater than ``latest``, unless that is 0.

        Raises ClockSkew, if ``bounded``, when one of them would lie further ahead of the wall clock than others follow
        at once or in a moment (``MOMENT``), which it may since this wall clock was set back.
        """
        timestamp = max(self._last, self._wall(), above) + 1
        ahead_ms = self._ahead_ms(timestamp + count - 1)
        most_ms = int(self._max_skew_ms * (1 + MOMENT))
        if bounded and ahead_ms > most_ms:
            raise ClockSkew(ahead_ms / 1000, most_ms / 1000)
        if latest and timestamp + count - 1 > latest:
            raise BeyondBound(
                f"the next timestamp is {timestamp + count - 1 - latest} beyond the latest allowed"
            )
        self._last = timestamp + count - 1
        return timestamp

    def observe(self, timestamp: int) -> None:
        """Rise to ``timestamp``; raises ClockSkew when it lies too far ahead of this machine's wall clock."""
        if timestamp <= self._last:
            return
        ahead_ms = self._ahead_ms(timestamp)
        if ahead_ms > self._max_skew_ms:
            raise ClockSkew(ahead_ms / 1000, self._max_skew_ms / 1000)
        self._last = timestamp

    def was_set_back(self) -> bool:
        """Whether this machine's wall clock was set back so far that nothing can be drawn for longer than a moment."""
        return self._ahead_ms(self._last) > 2 * self._max_skew_ms

    def return_to_wall(self) -> None:
        """Go back to what the wall clock shows."""
        self._last = self._wall()

    def follows(self, timestamp: int) -> bool:
        """Return True unless ``timestamp`` lies too far ahead of this machine's wall clock; changes nothing."""
        return timestamp <= self._last or timestamp <= self._furthest()

    def ahead_s(self, timestamp: int) -> float:
        """Return how far ``timestamp`` lies ahead of this machine's wall clock, in seconds."""
        return self._ahead_ms(timestamp) / 1000

    def is_ahead(self) -> bool:
        """Return True if this clock is further ahead of its machine's wall clock than others would follow."""
        return self._ahead_ms(self._last) > self._max_skew_ms

    def furthest(self) -> int:
        """Return the last timestamp that other nodes whose clocks are right follow."""
        return self._furthest()

    def _wall(self) -> int:
        return self._clock.wall_ms() << COUNTER_BITS

    def _ahead_ms(self, timestamp: int) -> int:
        return (timestamp >> COUNTER_BITS) - self._clock.wall_ms()

    def _furthest(self) -> int:
        """The last timestamp that a machine whose wall clock shows the same follows."""
        return ((self._clock.wall_ms() + self._max_skew_ms + 1) << COUNTER_BITS) - 1
