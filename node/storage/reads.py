"""Verified reads: every row that leaves the store for the engine's callers passes through here.

Every entry is checked against its checksum. When that or the store itself finds damage, the segment is put in
quarantine before the caller receives the error; damaged entries are never served.

``verify`` compares a whole segment with its summary, which also finds entries that are missing or older than those
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
"""The fixed cost of verifying an entry, as the number of value bytes that take the same time."""


class VerifiedReads:
    def __init__(
        self, store: Store, ledger: Ledger, on_damage: Callable[[Collection[int], str], None]
    ) -> None:
        """Take ``on_damage``, which puts segments in quarantine, on disk too, for the given reason."""
        self._store = store
        self._quarantine = ledger.quarantine
        self._summaries = ledger.summaries
        self._on_damage = on_damage
        self._part_digests: dict[SegmentPart, tuple[Summary, int]] = {}
        """Cached digests of parts of segments, since anti-entropy sessions read the same ranges repeatedly. A digest is
        valid while its segment has the summary stored with it."""

    def held(self, stored: Sequence[bytes]) -> list[bytes | None]:
        """Return the verified row of each stored key, or None. Raise Quarantined if a segment is damaged."""
        if self._quarantine:
            for key in stored:
                self._quarantine.refuse(segment_in(key))
        try:
            rows = self._store.read_many(stored)
        except Corruption:
            rows = [self._read(key) for key in stored]  # read each key separately to find the damaged row
        try:
            for key, packed in zip(stored, rows, strict=True):
                if packed is not None:
                    check(key, packed)
        except Corruption as corruption:
            raise self._damaged([segment_in(key)], corruption) from corruption
        return rows

    def verified(self, stored: bytes, packed: bytes) -> Entry:
        """Return the entry of a row. Raise Quarantined if the row does not match its checksum."""
        self.check(stored, packed)
        return entry_in(packed)

    def check(self, stored: bytes, packed: bytes) -> None:
        """Raise Quarantined if a row does not match its checksum."""
        try:
            check(stored, packed)
        except Corruption as corruption:
            raise self._damaged([segment_in(stored)], corruption) from corruption

    def rows(self, keys: KeyRange) -> Iterator[Row]:
        """Yield the unverified rows of a range; raise Quarantined on reaching a segment in quarantine."""
        quarantined = self._first_in_quarantine(keys)
        readable = keys if quarantined is None else KeyRange(keys.begin, segment_key_range(quarantined).begin)
        last_read = keys.begin
        try:
            if quarantined is None or readable.begin < segment_key_range(quarantined).begin:
                for row in self._store.rows(readable):
                    last_read = row[0]
                    yield row
        except Corruption as corruption:
            damaged = unreadable(self._store, KeyRange(last_read, readable.end))
            raise self._damaged(damaged, corruption) from corruption
        if quarantined is not None:
            self._quarantine.refuse(quarantined)

    def digest(self, token_range: TokenRange) -> int:
        """Return the XOR of the digests of the entries in a range. Raise Quarantined when one of them is damaged."""
        whole, cut = split(token_range)
        digest = self._summaries.digest(whole)
        for part in cut:
            digest ^= self._part_digest(part)
        return digest

    def verify(self, number: int, step_bytes: int) -> Iterator[None]:
        """Check a segment, as ``Engine.verify`` describes."""
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

    def _first_in_quarantine(self, keys: KeyRange) -> int | None:
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
    """Return the damaged segments, where a read of ``keys`` failed at or shortly after its beginning.

    A store does not report how far damage extends, so segments are read in order until one is readable again.
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
