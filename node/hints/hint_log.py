"""What the log says of hints: that there are some, how many, and what became of them; a few lines, whatever the load.

Of one kind of event about one member there is a line every ten seconds at most. The first is written at once; what
happens meanwhile is added up for the next.
"""

from __future__ import annotations

from collections import Counter

from ...identity import Identity
from ..events import Event, EventLog
from ..ports import Clock
from .store import Kept

PAUSE_S = 10.0


class HintEvents:
    """Call ``catch_up`` now and then: it writes what has been added up."""

    def __init__(self, clock: Clock, log: EventLog) -> None:
        self._clock = clock
        self._log = log
        self._told_at: dict[tuple[Event, Identity, str], float] = {}
        self._dropped: Counter[tuple[Identity, str]] = Counter()
        self._replayed: dict[Identity, tuple[int, int, float]] = {}

    def stored(self, to: Identity, kept: Kept) -> None:
        if self._is_due(Event.HINT_STORED, to):
            self._log.emit(Event.HINT_STORED, member=to.name, hints=kept.hints, bytes=kept.bytes)

    def dropped(self, to: Identity, hints: int, reason: str) -> None:
        self._dropped[to, reason] += hints
        self._tell_dropped(to, reason)

    def replayed(self, to: Identity, keys: int, size_bytes: int, after_s: float) -> None:
        """``after_s``: from the first batch to the last answer."""
        keys_before, bytes_before, s_before = self._replayed.get(to, (0, 0, 0.0))
        self._replayed[to] = (keys_before + keys, bytes_before + size_bytes, s_before + after_s)
        self._tell_replayed(to)

    def catch_up(self) -> None:
        for to, reason in list(self._dropped):
            self._tell_dropped(to, reason)
        for to in list(self._replayed):
            self._tell_replayed(to)

    def _tell_dropped(self, to: Identity, reason: str) -> None:
        if self._is_due(Event.HINT_DROPPED, to, reason):
            hints = self._dropped.pop((to, reason))
            self._log.emit(Event.HINT_DROPPED, member=to.name, hints=hints, reason=reason)

    def _tell_replayed(self, to: Identity) -> None:
        if self._is_due(Event.HINT_REPLAYED, to):
            keys, size_bytes, after_s = self._replayed.pop(to)
            self._log.emit(
                Event.HINT_REPLAYED, member=to.name, keys=keys, bytes=size_bytes, after_s=round(after_s, 3)
            )

    def _is_due(self, event: Event, to: Identity, reason: str = "") -> bool:
        now = self._clock.monotonic()
        if now - self._told_at.get((event, to, reason), -PAUSE_S) < PAUSE_S:
            return False
        self._told_at[event, to, reason] = now
        return True
