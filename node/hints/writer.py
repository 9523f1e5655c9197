"""Keeping hints, and letting go of them.

What replicas missed within one turn of the loop is stored by one write. A hint that cannot be kept (no room, too
old, a full disk) is dropped: no client's write fails by it, and whoever compares replicas is told that the
destination lacks something. A hint that nobody needs any more is discarded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ...identity import Identity
from ..errors import DiskFull, StorageFailed
from ..storage.interface import Entry
from .hint_log import HintEvents
from .store import Hint, HintStore

NO_ROOM = "hint_max_bytes is reached"
TOO_OLD = "they are older than hint_max_age"
DAMAGED = "they are damaged on this node's disk"
REMOVED = "the member is not in the ring any more"
FOREIGN = "the ring has changed: the member is no replica of their keys any more"


class HintWriter:
    """``lacks`` is called with a destination that will not get a hint which it needs."""

    def __init__(
        self, me: Identity, store: HintStore, lacks: Callable[[Identity], None], log: HintEvents
    ) -> None:
        self._me = me
        self._store = store
        self._lacks = lacks
        self._log = log
        self._waiting: list[Hint] = []

    def keep(self, to: Identity, key: bytes, entry: Entry) -> None:
        """See HintSink. For this node itself there is nothing to keep that its disk did not take at once."""
        if to == self._me:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.write)
        self._waiting.append(Hint(to, key, entry))

    def write(self) -> None:
        """Store what waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            self._drop(self._store.add(waiting), NO_ROOM)
        except (StorageFailed, DiskFull) as error:
            self._drop(waiting, f"they cannot be stored: {error}")
        for to in dict.fromkeys(hint.to for hint in waiting):
            if (kept := self._store.kept(to)).hints:
                self._log.stored(to, kept)

    # --- letting go ---

    def expire(self, hints: Sequence[Hint]) -> None:
        """These have grown too old."""
        self._store.forget(hints)
        self._drop(hints, TOO_OLD)

    def lost(self, to: Identity, reason: str) -> None:
        """The disk does not give them back."""
        if to == self._me:
            return
        self._log.dropped(to, self._store.drop_all(to), reason)
        self._lacks(to)

    def discard_damaged(self, to: Identity, names: Sequence[bytes]) -> None:
        if names:
            self._store.forget((), names)
            self._log.dropped(to, len(names), DAMAGED)
            self._lacks(to)

    def discard_all(self, to: Identity) -> None:
        """The destination is in no live ring."""
        self._log.dropped(to, self._store.drop_all(to), REMOVED)

    def discard_foreign(self, hints: Iterable[Hint]) -> None:
        """Their destinations hold these keys no longer, and so lack nothing."""
        foreign = list(hints)
        self._store.forget(foreign)
        for to, count in _by_destination(foreign).items():
            self._log.dropped(to, count, FOREIGN)

    def _drop(self, hints: Iterable[Hint], reason: str) -> None:
        for to, count in _by_destination(hints).items():
            self._log.dropped(to, count, reason)
            self._lacks(to)


def _by_destination(hints: Iterable[Hint]) -> Counter[Identity]:
    return Counter(hint.to for hint in hints)
