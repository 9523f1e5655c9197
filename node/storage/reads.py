"""Verified reads: nothing leaves the store for the engine's callers but through here.

Every entry is checked against its checksum. What is found damaged, by that or by the store itself, puts its
segment in quarantine before the caller hears of it, and is never served.

Checking a segment as a whole: each entry against its checksum, and all of them against the summary.

The second finds what the first cannot: an entry that is not there although it was written, or is an older one
than was written. A step is bounded, so that the node does not stand still; entries are those of one moment.

Digests of ranges: whole segments by their summaries, the parts that a range cuts off by their entries.

A cut part is read once and its digest kept until the segment changes, for comparisons come back to the same
ranges again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ...ring.tokens import TokenRange
from ..errors import Corruption, Quarantined
from .encoding import Stretch, check, digest_of, entry_in, token_in, unpack
from .interface import Entry
from .ledger import NOT_ADDING_UP, Ledger
from .quarantine import Quarantine
from .segments import SEGMENTS, SegmentPart, clip, segment_in, segment_of, segment_stretch, split, within
from .store import Row, Store
from .summary import NOTHING, Summaries, Summary, summary_of_packed

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


_ENTRY_COSTS_BYTES = 1024
"""So many bytes of values take as long as anything at all about an entry."""


def verify(store: Store, ledger: Ledger, found: Found, number: int, step_bytes: int) -> Iterator[None]:
    """See ``Engine.verify``."""
    if number in ledger.quarantine:
        return
    expected, summary = ledger.summaries[number], NOTHING
    try:
        left_bytes = step_bytes
        for stored, packed in store.snapshot(segment_stretch(number)):
            unpack(stored, packed)
            summary = summary.plus(summary_of_packed(stored, packed))
            left_bytes -= _ENTRY_COSTS_BYTES + len(packed)
            if left_bytes < 0:
                yield
                left_bytes = step_bytes
    except Corruption as corruption:
        found([number], str(corruption))
        return
    if summary != expected:
        found([number], NOT_ADDING_UP)


_PARTS_KEPT = 4096


class Digests:
    def __init__(self, reads: Reads, summaries: Summaries) -> None:
        self._reads = reads
        self._summaries = summaries
        self._kept: dict[SegmentPart, tuple[Summary, int]] = {}
        """Of each part, its digest, and the summary of the segment that it was computed under."""

    def of(self, span: TokenRange) -> int:
        """The XOR of the digests of the entries in a span; raises Quarantined when one of them is damaged."""
        whole, cut = split(span)
        digest = self._summaries.digest(whole)
        for part in cut:
            digest ^= self._of_part(part)
        return digest

    def _of_part(self, part: SegmentPart) -> int:
        summary = self._summaries[part.number]
        if summary == NOTHING:
            return 0
        kept = self._kept.get(part)
        if kept is None or kept[0] != summary:
            if len(self._kept) >= _PARTS_KEPT:
                self._kept.clear()
            kept = self._kept[part] = summary, self._read(part)
        return kept[1]

    def _read(self, part: SegmentPart) -> int:
        digest = 0
        for stored, packed in self._reads.rows(part.stretch):
            self._reads.check(stored, packed)
            digest ^= digest_of(stored, packed)
        return digest
