"""A hybrid logical clock, which provides the timestamps of versions. Pure.

Rules:
- A timestamp drawn is greater than every timestamp drawn or observed before, even if the wall clock goes back.
- Every message and reply carries a timestamp, and its receiver raises its clock to it. A timestamp further ahead of the
  receiver's wall clock than the allowed skew is refused, so that one machine with a broken clock cannot move the others
  into the future.
- Only timestamps that are drawn or observed raise the clock. A wall clock that was wrong for a while has no lasting
  effect unless a timestamp was drawn meanwhile. ``return_to_wall`` resets the clock to the wall clock; timestamps may
  then be drawn a second time, and the caller must distinguish them.
- A message carries no timestamp that its receiver would refuse. A node whose hybrid clock is further ahead of its wall
  clock than the skew allows can therefore still read, answer and hand off data.

After Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from __future__ import annotations

from typing import Protocol

from .version import COUNTER_BITS

MAX_DRAWN_SHARE = 1.2
"""How far ahead of the wall clock timestamps may be drawn, as a multiple of the allowed skew. It exceeds 1 so that a
clock that observed a timestamp at the limit can still draw some above it; other nodes accept those a moment later."""


class MachineClock(Protocol):
    """The clocks of one machine."""

    def monotonic(self) -> float:
        """Return seconds since some fixed instant; never goes back."""

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch by this machine's clock, which may jump forward or back."""


class ClockSkew(Exception):
    """A timestamp is further ahead than the allowed skew, so the clock was not raised to it."""

    def __init__(self, ahead_s: float, allowed_s: float) -> None:
        super().__init__(
            f"a clock is {ahead_s:.3f} s ahead of this node's; at most {allowed_s:.3f} s are followed"
        )
        self.ahead_s = ahead_s
        self.allowed_s = allowed_s


class BeyondBound(Exception):
    """The next timestamp would be later than the caller allows, so none was drawn."""


class HybridClock:
    def __init__(self, machine: MachineClock, max_skew_s: float) -> None:
        self.machine = machine
        self.max_skew_s = max_skew_s
        self._max_skew_ms = int(max_skew_s * 1000)
        self._last = 0

    def current(self) -> int:
        """Return the timestamp to put on a message; it is capped so that its receiver accepts it."""
        return min(max(self._last, self._wall()), self.latest_followed())

    def current_ms(self) -> int:
        """Return the milliseconds of ``current``."""
        return self.current() >> COUNTER_BITS

    def begin(self, timestamp: int) -> None:
        """Raise the clock to what an earlier process drew or observed, at most to ``latest_followed``."""
        self._last = max(self._last, min(timestamp, self.latest_followed()))

    def follow_disk(self, timestamp: int) -> None:
        """Raise the clock to a timestamp on this node's own disk, however far ahead."""
        self._last = max(self._last, timestamp)

    def draw(self, above: int = 0, count: int = 1, *, bounded: bool = True, latest: int = 0) -> int:
        """Draw ``count`` consecutive timestamps greater than all earlier timestamps and ``above``; return the first.

        Raise BeyondBound if the last of them would be greater than ``latest``, unless that is 0.

        If ``bounded``, raise ClockSkew when the last of them would be further ahead of the wall clock than
        ``MAX_DRAWN_SHARE`` allows, which happens after the wall clock was set back.
        """
        first = max(self._last, self._wall(), above) + 1
        last = first + count - 1
        ahead_ms = self._ahead_ms(last)
        max_ms = int(self._max_skew_ms * MAX_DRAWN_SHARE)
        if bounded and ahead_ms > max_ms:
            raise ClockSkew(ahead_ms / 1000, max_ms / 1000)
        if latest and last > latest:
            raise BeyondBound(f"the next timestamp is {last - latest} beyond the latest allowed")
        self._last = last
        return first

    def observe(self, timestamp: int) -> None:
        """Raise the clock to ``timestamp``. Raise ClockSkew if it is too far ahead of this machine's wall clock."""
        if timestamp <= self._last:
            return
        ahead_ms = self._ahead_ms(timestamp)
        if ahead_ms > self._max_skew_ms:
            raise ClockSkew(ahead_ms / 1000, self.max_skew_s)
        self._last = timestamp

    def was_set_back(self) -> bool:
        """Return True if the wall clock was set back so far that nothing can be drawn for a long time."""
        return self._ahead_ms(self._last) > 2 * self._max_skew_ms

    def return_to_wall(self) -> None:
        """Reset the clock to this machine's wall clock."""
        self._last = self._wall()

    def follows(self, timestamp: int) -> bool:
        """Return True if ``observe`` would accept ``timestamp``; do not raise the clock."""
        return timestamp <= self._last or timestamp <= self.latest_followed()

    def ahead_s(self, timestamp: int) -> float:
        """Return how far ``timestamp`` is ahead of this machine's wall clock, in seconds."""
        return self._ahead_ms(timestamp) / 1000

    def is_ahead(self) -> bool:
        """Return True if this clock is further ahead of its wall clock than the allowed skew."""
        return self._ahead_ms(self._last) > self._max_skew_ms

    def latest_followed(self) -> int:
        """Return the latest timestamp that a node with the same wall clock accepts."""
        return ((self.machine.wall_ms() + self._max_skew_ms + 1) << COUNTER_BITS) - 1

    def _wall(self) -> int:
        return self.machine.wall_ms() << COUNTER_BITS

    def _ahead_ms(self, timestamp: int) -> int:
        return (timestamp >> COUNTER_BITS) - self.machine.wall_ms()
