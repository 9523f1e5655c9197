"""Which keys were changed by writes that no fsync covers yet.

A replica reports a version, to readers too, only once it is durable; most keys are, and need not wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ...ring.hashing import token_of
from ...ring.span import TokenRange

_LOOKED_AT = 256


class _Write(NamedTuple):
    number: int
    keys: Sequence[bytes]
    spans: Sequence[TokenRange]


class Unsynced:
    """Holds only writes after the last flush, so it is as small as one flush is short."""

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()
        self._last_write_of: dict[bytes, int] = {}
        self._dropping: deque[_Write] = deque()

    def add(self, number: int, keys: Sequence[bytes], spans: Sequence[TokenRange] = ()) -> None:
        """Write ``number`` changed these keys, and everything in these spans."""
        write = _Write(number, keys, spans)
        self._writes.append(write)
        for key in keys:
            self._last_write_of[key] = number
        if spans:
            self._dropping.append(write)

    def synced(self, number: int) -> None:
        """All writes up to ``number`` are on the disk."""
        while self._writes and self._writes[0].number <= number:
            write = self._writes.popleft()
            for key in write.keys:
                if self._last_write_of.get(key) == write.number:
                    del self._last_write_of[key]
        while self._dropping and self._dropping[0].number <= number:
            self._dropping.popleft()

    def __contains__(self, key: bytes) -> bool:
        return key in self._last_write_of or (bool(self._dropping) and self._dropped(token_of(key)))

    def touch(self, span: TokenRange) -> bool:
        """Whether they changed anything in the span; also true when too much was changed to look at each."""
        if self._dropping or len(self._last_write_of) > _LOOKED_AT:
            return True
        return any(span.contains(token_of(key)) for key in self._last_write_of)

    def _dropped(self, token: int) -> bool:
        return any(span.contains(token) for write in self._dropping for span in write.spans)
