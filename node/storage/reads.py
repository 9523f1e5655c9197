"""Verified reads: every row that leaves the store for the engine's callers passes through here.

Every entry is checked against its checksum. What is found damaged, by that or by the store itself, puts its segment in
quarantine before the caller receives the error, and is never served.

A segment as a whole is checked against its summary, which finds an entry that is missing or older than what was
written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ...ring.tokens import TokenRange
from ..errors import Corruption, Quarantined
from .encoding import KeyRange, check, digest_of, entry_in, token_in, unpack
from .interface import Entry
from .ledger import SUMMARY_MISMATCH, Ledger
from .segments import (
    SEGMENTS,
    SegmentPart,
    clip,
    segment_in,
    segment_key_range,
    segment_of,
    segments_within,
    split,
)
from .store import Row, Store
from .summary import NOTHING, Summary, summary_of_packed

_MAX_CACHED_PARTS = 4096
_ENTRY_COST_BYTES = 1024
"""Bytes of values that take as long to verify as the fixed work for an entry."""


class VerifiedReads:
    def __init__(
        self, store: Store, ledger: Ledger, on_damage: Callable[[Collection[int], str], None]
    ) -> None:
        """``on_damage`` puts segments in quarantine, on disk too."""
        self._store = store
        self._quarantine = ledger.quarantine
        self._summaries = ledger.summaries
        self._on_damage = on_damage
        self._part_digests: dict[SegmentPart, tuple[Summary, int]] = {}
        """Digests of parts that ranges cut off, each with the summary of the segment that it was computed under: an
        anti-entropy session returns to the same ranges again and again."""

    def held(self, stored: Sequence[bytes]) -> list[bytes | None]:
        """Return the rows under stored keys, in their order, each verified. Raise Quarantined for any of them."""
        if self._quarantine:
            for key in stored:
                self._quarantine.refuse(segment_in(key))
        try:
            rows = self._store.read_many(stored)
        except Corruption:
            rows = [self._read(key) for key in stored]  # one by one, to find the damaged one
        try:
            for key, packed in zip(stored, rows, strict=True):
                if packed is not None:
                    check(key, packed)
        except Corruption as corruption:
            raise self._damaged([segment_in(key)], corruption) from corruption
        return rows

    def verified(self, stored: bytes, packed: bytes) -> Entry:
        """Return the entry in a row. Raise Quarantined when it does not match its checksum."""
        self.check(stored, packed)
        return entry_in(packed)

    def check(self, stored: bytes, packed: bytes) -> None:
        """Raise Quarantined for a row that does not match its checksum."""
        try:
            check(stored, packed)
        except Corruption as corruption:
            raise self._damaged([segment_in(stored)], corruption) from corruption

    def rows(self, keys: KeyRange) -> Iterator[Row]:
        """Yield the unverified rows of a range, and raise Quarantined at the first segment in quarantine."""
        barred = self._first_barred(keys)
        readable = keys if barred is None else KeyRange(keys.begin, segment_key_range(barred).begin)
        place = keys.begin
        try:
            if barred is None or readable.begin < segment_key_range(barred).begin:
                for row in self._store.rows(readable):
                    place = row[0]
                    yield row
        except Corruption as corruption:
            damaged = unreadable(self._store, KeyRange(place, readable.end))
            raise self._damaged(damaged, corruption) from corruption
        if barred is not None:
            self._quarantine.refuse(barred)

    def digest(self, token_range: TokenRange) -> int:
        """Return the XOR of the digests of the entries in a range. Raise Quarantined when one of them is damaged."""
        whole, cut = split(token_range)
        digest = self._summaries.digest(whole)
        for part in cut:
            digest ^= self._part_digest(part)
        return digest

    def verify(self, number: int, step_bytes: int) -> Iterator[None]:
        """Do what ``Engine.verify`` describes."""
        if number in self._quarantine:
            return
        expected, summary = self._summaries[number], NOTHING
        try:
            left_bytes = step_bytes
            for stored, packed in self._store.snapshot(segment_key_range(number)):
                unpack(stored, packed)
                summary = summary.plus(summary_of_packed(stored, packed))
                left_bytes -= _ENTRY_COST_BYTES + len(packed)
                if left_bytes < 0:
                    yield
                    left_bytes = step_bytes
        except Corruption as corruption:
            self._on_damage([number], str(corruption))
            return
        if summary != expected:
            self._on_damage([number], SUMMARY_MISMATCH)

    def _part_digest(self, part: SegmentPart) -> int:
        summary = self._summaries[part.number]
        if summary == NOTHING:
            return 0
        cached = self._part_digests.get(part)
        if cached is not None and cached[0] == summary:
            return cached[1]
        digest = 0
        for stored, packed in self.rows(part.keys):
            self.check(stored, packed)
            digest ^= digest_of(stored, packed)
        if len(self._part_digests) >= _MAX_CACHED_PARTS:
            self._part_digests.clear()
        self._part_digests[part] = summary, digest
        return digest

    def _read(self, stored: bytes) -> bytes | None:
        try:
            return self._store.read(stored)
        except Corruption as corruption:
            raise self._damaged([segment_in(stored)], corruption) from corruption

    def _first_barred(self, keys: KeyRange) -> int | None:
        if not self._quarantine:
            return None
        touched = segments_within(keys)
        return next((number for number in self._quarantine.numbers if number in touched), None)

    def _damaged(self, numbers: Collection[int], corruption: Corruption) -> Quarantined:
        self._on_damage(numbers, str(corruption))
        first, *others = sorted(numbers)
        more = f" and {len(others)} more" if others else ""
        return Quarantined(f"segment {first}{more} put in quarantine: {corruption}")


def unreadable(store: Store, keys: KeyRange) -> list[int]:
    """Return which segments of a range, which begins shortly before the damage, the store cannot read.

    A store does not report how far the damage extends, so segments are tried one by one, until one behind it is read.
    """
    found: list[int] = []
    for number in segments_within(keys):
        if not _readable(store, clip(keys, number)):
            found.append(number)
        elif found:
            break
    return found or [min(segment_of(token_in(keys.begin)), SEGMENTS - 1)]


def _readable(store: Store, keys: KeyRange) -> bool:
    try:
        for _ in store.rows(keys):
            pass
    except Corruption:
        return False
    return True
