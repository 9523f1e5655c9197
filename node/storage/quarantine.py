"""Quarantine: damaged segments not yet recovered from other replicas (docs/ring-changes.md, rule 17).

Which entries a node holds of such a segment is unknown, which is not the same as having none: the segment is not read,
written, scanned or compared. It leaves quarantine when it is replaced or dropped as a whole in one batch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence

from ...ring.tokens import TokenRange
from ..errors import Corruption, Quarantined
from .segments import SEGMENTS, touched_by

Watcher = Callable[[tuple[int, ...], str], None]
"""A callback that receives the numbers of segments that have just entered quarantine, and the reason."""

_FOUND_EARLIER = "found damaged before this start"


class Quarantine:
    """The set of segments in quarantine, as stored on disk. The caller stores a change before it applies it."""

    def __init__(self, numbers: Collection[int] = ()) -> None:
        self._reasons = dict.fromkeys(sorted(numbers), _FOUND_EARLIER)
        self._watchers: list[Watcher] = []

    @classmethod
    def decode(cls, encoded: bytes) -> Quarantine:
        """Decode bytes that ``encode`` wrote. Raise Corruption if they are cut short."""
        if len(encoded) % 2:
            raise Corruption("the list of segments in quarantine is cut short")
        return cls([number for (number,) in struct.iter_unpack(">H", encoded) if number < SEGMENTS])

    def encode(self, added: Collection[int], released: Collection[int]) -> bytes:
        """Return the bytes to store for the set with these segments added and released."""
        numbers = sorted({*self._reasons, *added} - set(released))
        return struct.pack(f">{len(numbers)}H", *numbers)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(self._reasons))

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def __contains__(self, number: int) -> bool:
        return number in self._reasons

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def add(self, found: Collection[int], reason: str) -> None:
        new = tuple(sorted(set(found) - self._reasons.keys()))
        self._reasons.update(dict.fromkeys(new, reason))
        if new:
            for watcher in self._watchers:
                watcher(new, reason)

    def release(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self._reasons.pop(number, None)

    def refuse(self, number: int) -> None:
        """Raise Quarantined if the segment is in quarantine."""
        if number in self._reasons:
            raise Quarantined(f"segment {number} is in quarantine: {self._reasons[number]}")

    def refuse_ranges(self, ranges: Sequence[TokenRange]) -> None:
        """Raise Quarantined if a range touches a segment in quarantine."""
        if self._reasons:
            touched = touched_by(ranges)
            for number in (*touched.whole, *touched.cut):
                self.refuse(number)
