"""Verified reads: nothing leaves the store for the engine's callers but through here.

Every entry is checked against its checksum. What is found damaged, by that or by the store itself, puts its
segment in quarantine before the caller hears of it, and is never served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ..errors import Corruption, Quarantined
from .encoding import Stretch, token_in, unpack
from .engine import Entry
from .quarantine import Quarantine
from .segments import SEGMENTS, clip, segment_of, segment_stretch, within
from .store import Row, Store

Found = Callable[[Collection[int], str], None]
"""Puts segments in quarantine, on disk too."""


class Reads:
    def __init__(self, store: Store, quarantine: Quarantine, found: Found) -> None:
        self._store = store
        self._quarantine = quarantine
        self._found = found

    def held(self, stored: bytes) -> Entry | None:
        """The entry under a stored key; raises Quarantined."""
        if self._quarantine:
            self._quarantine.refuse(segment_of(token_in(stored)))
        try:
            packed = self._store.read(stored)
        except Corruption as corruption:
            raise self._damaged([segment_of(token_in(stored))], corruption) from corruption
        return None if packed is None else self.verified(stored, packed)

    def verified(self, stored: bytes, packed: bytes) -> Entry:
        """The entry in a row; raises Quarantined when it does not match its checksum."""
        try:
            return unpack(stored, packed)
        except Corruption as corruption:
            raise self._damaged([segment_of(token_in(stored))], corruption) from corruption

    def rows(self, stretch: Stretch) -> Iterator[Row]:
        """The rows of a stretch, not verified yet, up to the first segment in quarantine: raises Quarantined there."""
        barred = self._first_barred(stretch)
        readable = stretch if barred is None else Stretch(stretch.begin, segment_stretch(barred).begin)
        place = stretch.begin
        try:
            if barred is None or readable.begin < segment_stretch(barred).begin:
                for row in self._store.rows(readable):
                    place = row[0]
                    yield row
        except Corruption as corruption:
            raise self._damaged(
                unreadable(self._store, Stretch(place, readable.end)), corruption
            ) from corruption
        if barred is not None:
            self._quarantine.refuse(barred)

    def _first_barred(self, stretch: Stretch) -> int | None:
        if not self._quarantine:
            return None
        touched = within(stretch)
        return next((number for number in self._quarantine.numbers if number in touched), None)

    def _damaged(self, numbers: Collection[int], corruption: Corruption) -> Quarantined:
        self._found(numbers, str(corruption))
        first, *others = sorted(numbers)
        more = f" and {len(others)} more" if others else ""
        return Quarantined(f"segment {first}{more} put in quarantine: {corruption}")


def unreadable(store: Store, stretch: Stretch) -> list[int]:
    """Which segments of a stretch, that begins shortly before the damage, the store cannot read.

    A store does not say how far the damage goes, so segments are tried one by one, until one behind it is read.
    """
    found: list[int] = []
    for number in within(stretch):
        if not _readable(store, clip(stretch, number)):
            found.append(number)
        elif found:
            break
    return found or [min(segment_of(token_in(stretch.begin)), SEGMENTS - 1)]


def _readable(store: Store, stretch: Stretch) -> bool:
    try:
        for _ in store.rows(stretch):
            pass
    except Corruption:
        return False
    return True
