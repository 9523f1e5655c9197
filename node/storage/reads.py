"""Verified reads: nothing leaves the store for the engine's callers but through here.

Every entry is checked against its checksum. What is found damaged, by that or by the store itself, puts its
segment in quarantine before the caller hears of it, and is never served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ..errors import Corruption, Quarantined
from .encoding import Stretch, check, entry_in, token_in
from .interface import Entry
from .quarantine import Quarantine
from .segments import SEGMENTS, clip, segment_in, segment_of, segment_stretch, within
from .store import Row, Store

Found = Callable[[Collection[int], str], None]
"""Puts segments in quarantine, on disk too."""


class Reads:
    def __init__(self, store: Store, quarantine: Quarantine, found: Found) -> None:
        self._store = store
        self._quarantine = quarantine
        self._found = found

    def held(self, stored: Sequence[bytes]) -> list[bytes | None]:
        """The rows under stored keys, in their order, each verified; raises Quarantined for any of them."""
        if self._quarantine:
            for key in stored:
                self._quarantine.refuse(segment_in(key))
        try:
            rows = self._store.read_many(stored)
        except Corruption:
            rows = [self._read(key) for key in stored]  # which of them it was comes out
        try:
            for key, packed in zip(stored, rows, strict=True):
                if packed is not None:
                    check(key, packed)
        except Corruption as corruption:
            raise self._damaged([segment_in(key)], corruption) from corruption
        return rows

    def verified(self, stored: bytes, packed: bytes) -> Entry:
        """The entry in a row; raises Quarantined when it does not match its checksum."""
        self.check(stored, packed)
        return entry_in(packed)

    def check(self, stored: bytes, packed: bytes) -> None:
        """Raise Quarantined for a row that does not match its checksum."""
        try:
            check(stored, packed)
        except Corruption as corruption:
            raise self._damaged([segment_in(stored)], corruption) from corruption

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

    def _read(self, stored: bytes) -> bytes | None:
        try:
            return self._store.read(stored)
        except Corruption as corruption:
            raise self._damaged([segment_in(stored)], corruption) from corruption

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
