"""The ledger: an engine's data about its entries, stored in the same batch as the entries that change it.

It consists of each segment's summary, the set of segments in quarantine, and the latest timestamp ever merged. A ledger
that does not exist yet (a new folder, or one of an older format) is computed once from the entries.

A batch changes nearly as many summaries as it has entries. To write one row instead of a row for each, it appends the
new summaries as one row to a journal. When the journal has ``JOURNAL_ROWS`` rows, the next batch writes the rows of the
changed summaries and drops the journal. If the journal is damaged, all summaries are computed from the entries.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ring.tokens import TokenRange
from ..errors import Corruption
from .encoding import KeyRange, beginning_with, pack_named, token_in, unpack, unpack_named
from .quarantine import Quarantine
from .segments import SEGMENTS, segment_key_range, touched_by
from .store import Store, WriteBatch
from .summary import (
    NOTHING,
    SUMMARY_PREFIX,
    Summaries,
    Summary,
    decode_changes,
    decode_summary,
    encode_changes,
    encode_summary,
    segment_of_summary,
    summary_of_packed,
)

_QUARANTINE = b"\xffquarantine"
_LATEST = b"\xfflatest"
"""The latest timestamp. Written with the first change: where it is missing, the ledger does not exist yet."""
_FORMER_PREFIX = b"\xffusage"
"""Prefix of the rows with counts that format 1 had; they are deleted when the ledger is made."""
_JOURNAL_PREFIX = b"\xffjournal"
_TIMESTAMP = struct.Struct(">Q")
_JOURNAL_POSITION = struct.Struct(">Q")
JOURNAL_ROWS = 1024
"""Maximum number of rows of the journal, all of which are read at each opening; dropping it takes milliseconds."""


@dataclass(slots=True)
class Changes:
    """The changes that one batch makes to the ledger."""

    summaries: dict[int, Summary] = field(default_factory=dict)
    latest: int = 0
    """The latest version timestamp among the merged entries."""
    damaged: dict[int, str] = field(default_factory=dict)
    """The segments that enter quarantine, each with the reason."""
    released: set[int] = field(default_factory=set)
    """The segments that leave quarantine."""


class Ledger:
    def __init__(self) -> None:
        self.summaries = Summaries()
        self.quarantine = Quarantine()
        self.latest_timestamp = 0
        self._stored = False
        """Whether the latest timestamp has a row."""
        self._journal_begin = self._journal_end = 0
        self._outdated: dict[int, None] = {}
        """Segments whose new summaries are only in the journal; a set that keeps the order of insertion."""

    @classmethod
    def open(cls, store: Store) -> Ledger:
        """Read the ledger, or compute it from the entries if there is none. Raise Corruption or StorageFailed."""
        ledger = cls()
        latest = store.read_named(_LATEST)
        changes = _computed_from_entries(store) if latest is None else ledger._read(store, latest)
        batch = WriteBatch()
        ledger.note(changes, batch)
        if latest is None:
            batch.named += [(name, None) for name, _ in store.named_rows(_FORMER_PREFIX)]
        if not batch.empty:
            store.write(batch)
        ledger.apply(changes)
        return ledger

    def note(self, changes: Changes, batch: WriteBatch) -> None:
        """Add the rows for these changes to a batch. It must be written, and ``apply`` called, before the next call."""
        latest = max(changes.latest, self.latest_timestamp)
        if self._journal_is_long():
            batch.deleted_name_ranges = [*batch.deleted_name_ranges, beginning_with(_JOURNAL_PREFIX)]
            outdated = {number: self.summaries[number] for number in self._outdated} | changes.summaries
            batch.named += [encode_summary(number, summary) for number, summary in outdated.items()]
        elif changes.summaries:
            name = _JOURNAL_PREFIX + _JOURNAL_POSITION.pack(self._journal_end)
            batch.named.append((name, pack_named(name, encode_changes(latest, changes.summaries))))
        if self._journal_is_long() or (not self._stored and _affects_segments(changes)):
            batch.named.append((_LATEST, pack_named(_LATEST, _TIMESTAMP.pack(latest))))
        if changes.damaged or changes.released:
            encoded = self.quarantine.encode(changes.damaged, changes.released)
            batch.named.append((_QUARANTINE, pack_named(_QUARANTINE, encoded) if encoded else None))

    def _journal_is_long(self) -> bool:
        return self._journal_end - self._journal_begin >= JOURNAL_ROWS

    def apply(self, changes: Changes) -> None:
        """Apply changes to the ledger in memory once their batch is written."""
        self._stored = self._stored or _affects_segments(changes)
        if self._journal_is_long():
            self._journal_begin = self._journal_end
            self._outdated.clear()
        elif changes.summaries:
            self._journal_end += 1
            self._outdated |= dict.fromkeys(changes.summaries)
        self.summaries.apply(changes.summaries)
        self.latest_timestamp = max(self.latest_timestamp, changes.latest)
        self.quarantine.release(changes.released)
        for number, reason in changes.damaged.items():
            self.quarantine.add([number], reason)

    def _read(self, store: Store, latest: bytes) -> Changes:
        """Read the stored ledger; return the changes that repair its unreadable parts."""
        self._stored = True
        self.latest_timestamp = _TIMESTAMP.unpack(unpack_named(_LATEST, latest))[0]
        if (quarantined := store.read_named(_QUARANTINE)) is not None:
            self.quarantine = Quarantine.decode(unpack_named(_QUARANTINE, quarantined))
        changes = Changes()
        for name, packed in store.named_rows(SUMMARY_PREFIX):
            number = segment_of_summary(name)
            if number is None:
                raise Corruption(f"the named value {name!r} is no segment's summary")
            try:
                self.summaries.apply({number: decode_summary(unpack_named(name, packed))})
            except Corruption as corruption:
                changes.damaged[number] = str(corruption)
        try:
            self._replay(store)
        except Corruption:
            self._journal_end = self._journal_begin + JOURNAL_ROWS  # so that the next batch drops it
            changes = _computed_from_entries(store)
            changes.summaries = dict.fromkeys(range(SEGMENTS), NOTHING) | changes.summaries
        return changes

    def _replay(self, store: Store) -> None:
        """Apply the rows of the journal. Raise Corruption if one of them is damaged."""
        for name, packed in store.named_rows(_JOURNAL_PREFIX):
            latest, summaries = decode_changes(unpack_named(name, packed))
            position = int.from_bytes(name[len(_JOURNAL_PREFIX) :], "big")
            if not self._outdated:
                self._journal_begin = position
            self._journal_end = position + 1
            self.latest_timestamp = max(self.latest_timestamp, latest)
            self.summaries.apply(summaries)
            self._outdated |= dict.fromkeys(summaries)


def _affects_segments(changes: Changes) -> bool:
    return bool(changes.summaries or changes.damaged)


def recount(store: Store, number: int) -> tuple[Summary, int]:
    """Return the summary of a segment's entries and their latest timestamp. Raise Corruption for a damaged entry."""
    return _count(store, segment_key_range(number))


def _count(store: Store, keys: KeyRange) -> tuple[Summary, int]:
    summary, latest = NOTHING, 0
    for stored, packed in store.rows(keys):
        latest = max(latest, unpack(stored, packed).version.timestamp)
        summary = summary.plus(summary_of_packed(stored, packed))
    return summary, latest


def _computed_from_entries(store: Store) -> Changes:
    """Return the changes that make an empty ledger that of the entries; unreadable segments go into quarantine."""
    changes = Changes()
    if _is_empty(store):
        return changes
    for number in range(SEGMENTS):
        try:
            summary, latest = recount(store, number)
        except Corruption as corruption:
            changes.damaged[number] = str(corruption)
            continue
        changes.latest = max(changes.latest, latest)
        if summary != NOTHING:
            changes.summaries[number] = summary
    return changes


def _is_empty(store: Store) -> bool:
    try:
        return next(store.rows(KeyRange(b"", None)), None) is None
    except Corruption:
        return False


SUMMARY_MISMATCH = "its entries do not add up to its summary"


def range_delete_changes(store: Store, ledger: Ledger, ranges: Sequence[TokenRange]) -> Changes:
    """Return the changes of the ledger for deleting every entry of the ranges.

    Segments that lie entirely in the ranges become empty. Segments that lie partly in them are read to compute the
    summary of the entries that remain; those that are found damaged go into quarantine.
    """
    touched = touched_by(ranges)
    changes = Changes(
        {number: NOTHING for number in touched.whole if ledger.summaries[number] != NOTHING},
        released={number for number in touched.whole if number in ledger.quarantine},
    )
    for number in touched.cut:
        if number in ledger.quarantine:
            continue  # its entries remain unknown
        try:
            inside, outside = _divide(store, number, ranges)
        except Corruption as corruption:
            changes.damaged[number] = str(corruption)
            continue
        if inside.plus(outside) != ledger.summaries[number]:
            changes.damaged[number] = SUMMARY_MISMATCH
        if inside != NOTHING:
            changes.summaries[number] = outside
    return changes


def _divide(store: Store, number: int, ranges: Sequence[TokenRange]) -> tuple[Summary, Summary]:
    """Return the summaries of a segment's entries inside and outside of the ranges."""
    inside, outside = NOTHING, NOTHING
    for stored, packed in store.rows(segment_key_range(number)):
        summary = summary_of_packed(stored, packed)
        if any(token_range.contains(token_in(stored)) for token_range in ranges):
            inside = inside.plus(summary)
        else:
            outside = outside.plus(summary)
    return inside, outside
