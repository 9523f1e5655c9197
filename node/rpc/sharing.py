"""How many operations of clients are in hand, divided among those who ask.

A stream that has its part is not read any further: what is left waits at its sender, where it can still be given up for
certain, and the operations of others do not wait behind it. The part is the same for everybody who has something in
hand, so that many callers on one stream get no more than few on another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MOST_IN_HAND: Final = 512
"""Of all streams together, about: more would wait for each other and be done no sooner."""
LEAST_PART: Final = 32
"""Of a stream, however many there are."""


class Sharing:
    def __init__(self, most: int = MOST_IN_HAND, least: int = LEAST_PART) -> None:
        self._most: Final = most
        self._least: Final = least
        self._busy: Final[set[Share]] = set()

    @property
    def part(self) -> int:
        """Operations that a stream may have in hand now, before more are read from it."""
        return max(self._least, self._most // max(1, len(self._busy)))

    def share(self, on_change: Callable[[], None]) -> Share:
        """Of one stream; ``on_change`` is called when it has less in hand."""
        return Share(self, self._busy, on_change)


class Share:
    def __init__(self, of: Sharing, busy: set[Share], on_change: Callable[[], None]) -> None:
        self._of = of
        self._busy = busy
        self._on_change = on_change
        self._in_hand = 0

    @property
    def full(self) -> bool:
        return self._in_hand >= self._of.part

    def take(self, operations: int) -> None:
        self._in_hand += operations
        self._busy.add(self)

    def give_back(self, operations: int) -> None:
        self._in_hand -= operations
        if self._in_hand == 0:
            self._busy.discard(self)
        self._on_change()

    def close(self) -> None:
        """The stream is over; what is still given back is of no interest."""
        self._busy.discard(self)
