"""Writer of hints, which also drops and discards them.

- The writes that replicas missed within one iteration of the event loop are stored by a single write to the engine.
- A hint that cannot be kept (no room, too old, a full disk) is dropped. This never fails a client's write; anti-entropy
  with the destination is requested instead.
- A hint that its destination no longer needs is discarded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from ...identity import Identity
from ..errors import Corruption, DiskFull, StorageFailed
from ..events import Event, EventLog
from ..ports import Clock
from ..storage.interface import Entry
from .store import Hint, HintStore, StoredHints

NO_ROOM = "hint_max_bytes is reached"
TOO_OLD = "they are older than hint_max_age"
DAMAGED = "they are damaged on this node's disk"
REMOVED = "the member is not in the ring any more"
FOREIGN = "the ring has changed: the member is no replica of their keys any more"
LOG_INTERVAL_S = 10.0

_LogKey = tuple[Event, Identity, str]
"""A kind of event, the member that it is about, and the reason, if it has one."""


class HintLog:
    """Logs events about hints at a bounded rate: each kind and member at most every ``LOG_INTERVAL_S``.

    The first event is logged at once. The numbers of further events are added up, and logged when ``flush`` finds that
    the interval has passed.
    """

    def __init__(self, clock: Clock, log: EventLog) -> None:
        self._clock = clock
        self._log = log
        self._logged_at: dict[_LogKey, float] = {}
        self._sums: dict[_LogKey, dict[str, float]] = {}

    def stored(self, to: Identity, stored: StoredHints) -> None:
        if self._is_due((Event.HINT_STORED, to, "")):
            self._log.emit(Event.HINT_STORED, member=to.name, hints=stored.hints, bytes=stored.bytes)

    def dropped(self, to: Identity, hints: int, reason: str) -> None:
        self._add((Event.HINT_DROPPED, to, reason), hints=hints)

    def replayed(self, to: Identity, keys: int, size_bytes: int, after_s: float) -> None:
        """Log a replay; ``after_s`` is the time from the first batch to the last reply."""
        self._add((Event.HINT_REPLAYED, to, ""), keys=keys, bytes=size_bytes, after_s=after_s)

    def flush(self) -> None:
        """Log the sums that are due."""
        for key in list(self._sums):
            self._log_if_due(key)

    def _add(self, key: _LogKey, **amounts: float) -> None:
        sums = self._sums.setdefault(key, {})
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount
        self._log_if_due(key)

    def _log_if_due(self, key: _LogKey) -> None:
        if self._is_due(key):
            event, to, reason = key
            sums = {name: round(amount, 3) for name, amount in self._sums.pop(key).items()}
            self._log.emit(event, member=to.name, **sums, **({"reason": reason} if reason else {}))

    def _is_due(self, key: _LogKey) -> bool:
        now = self._clock.monotonic()
        if now - self._logged_at.get(key, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            return False
        self._logged_at[key] = now
        return True


class HintWriter:
    def __init__(
        self, me: Identity, store: HintStore, on_stale: Callable[[Identity], None], log: HintLog
    ) -> None:
        """Call ``on_stale`` with a destination that remains stale because a hint that it needs was dropped."""
        self.store = store
        self.log = log
        self._me = me
        self._on_stale = on_stale
        self._waiting: list[Hint] = []

    def keep(self, to: Identity, key: bytes, entry: Entry) -> None:
        """Keep a missed write (see HintSink). Ignore a write that this node missed: its own disk has refused it."""
        if to == self._me:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(Hint(to, key, entry))

    def flush(self) -> None:
        """Store the hints that wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            self._drop(self.store.add(waiting), NO_ROOM)
        except (StorageFailed, DiskFull) as error:
            self._drop(waiting, f"they cannot be stored: {error}")
        for to in dict.fromkeys(hint.to for hint in waiting):
            if (stored := self.store.stored(to)).hints:
                self.log.stored(to, stored)

    # --- dropping hints that the destination needs ---

    def expire(self, hints: Sequence[Hint]) -> None:
        """Drop hints that have grown too old."""
        self.store.delete(hints)
        self._drop(hints, TOO_OLD)

    def drop_damaged(self, to: Identity, names: Sequence[bytes]) -> None:
        if names:
            self.store.delete((), names)
            self.log.dropped(to, len(names), DAMAGED)
            self._on_stale(to)

    def drop_all(self, to: Identity, reason: str) -> None:
        """Drop all hints for ``to`` because the disk does not return them."""
        if to != self._me:
            self.log.dropped(to, self.store.delete_all(to), reason)
            self._on_stale(to)

    @contextmanager
    def surviving_damage(self, to: Identity) -> Iterator[None]:
        """Drop the hints for ``to`` if the body finds them damaged; suppress the error if the engine has failed."""
        try:
            yield
        except Corruption as damage:
            self.drop_all(to, str(damage))
        except StorageFailed:
            return  # the engine has reported it, and the node ends

    def _drop(self, hints: Iterable[Hint], reason: str) -> None:
        for to, count in Counter(hint.to for hint in hints).items():
            self.log.dropped(to, count, reason)
            self._on_stale(to)

    # --- discarding hints that the destination does not need ---

    def discard_all(self, to: Identity) -> None:
        """Discard all hints for ``to``, which is in no live ring."""
        self.log.dropped(to, self.store.delete_all(to), REMOVED)

    def discard_foreign(self, to: Identity, hints: Sequence[Hint]) -> None:
        """Discard hints for ``to``, which is no replica of their keys any more."""
        if hints:
            self.store.delete(hints)
            self.log.dropped(to, len(hints), FOREIGN)
