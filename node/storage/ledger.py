"""The ledger: what an engine keeps about its entries, stored in the same batch as the entries that change it.

It has each segment's summary, the segments in quarantine, and the latest timestamp ever merged. A ledger that
was never begun (a new folder, or one of an older format) is made from what is found, once.

A batch changes as many summaries as it has entries, or nearly. So it notes what they become in one row, the journal's
next, rather than in a row for each; now and then a batch brings the rows of the summaries up to date and drops the
journal. What a journal that is damaged said is found out from the entries themselves.

What deleting ranges makes of the ledger: segments that they cover are empty then, those they cut are counted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ring.tokens import TokenRange
from ..errors import Corruption
from .encoding import Stretch, beginning_with, pack_named, token_in, unpack, unpack_named
from .quarantine import Quarantine
from .segments import SEGMENTS, segment_stretch, touched_by
from .store import Batch, Store
from .summary import (
    NOTHING,
    SUMMARY_PREFIX,
    Summaries,
    Summary,
    decode_changes,
    decode_summary,
    encode_changes,
    encode_summary,
    summarized_in,
    summary_of_packed,
)

_QUARANTINE = b"\xffquarantine"
_LATEST = b"\xfflatest"
"""Written with the first of anything, so where it is missing there are no entries, or there is no ledger yet."""
_FORMER_PREFIX = b"\xffusage"
"""Of the counts that format 1 had; nothing else can tell a folder of it from a new one."""
_JOURNAL_PREFIX = b"\xffjournal"
_TIMESTAMP = struct.Struct(">Q")
_PLACE = struct.Struct(">Q")
JOURNAL_ROWS = 1024
"""With so many the next batch drops the journal: some milliseconds' work, and what an opening reads at most."""


@dataclass(slots=True)
class Changes:
    """What one batch changes in the ledger."""

    summaries: dict[int, Summary] = field(default_factory=dict)
    latest: int = 0
    """The latest timestamp among what is merged."""
    damaged: dict[int, str] = field(default_factory=dict)
    """Segments that go into quarantine, and why."""
    lifted: set[int] = field(default_factory=set)
    """Segments that leave it."""


class Ledger:
    def __init__(self) -> None:
        self.summaries = Summaries()
        self.quarantine = Quarantine()
        self.latest_timestamp = 0
        self._begun = False
        self._journal_begin = self._journal_end = 0
        self._outdated: dict[int, None] = {}
        """Segments whose summaries have changed since their rows were written."""

    @classmethod
    def open(cls, store: Store) -> Ledger:
        """Read it, or make it from the entries found. Raises Corruption and StorageFailed."""
        ledger = cls()
        latest = store.read_named(_LATEST)
        changes = _found_in(store) if latest is None else ledger._read(store, latest)
        batch = Batch()
        ledger.note(changes, batch)
        if latest is None:
            batch.named += [(name, None) for name, _ in store.named_rows(_FORMER_PREFIX)]
        if not batch.empty:
            store.write(batch)
        ledger.apply(changes)
        return ledger

    def note(self, changes: Changes, batch: Batch) -> None:
        """Add the rows that keep what changes to a batch, which is to be written before anything else is noted."""
        latest = max(changes.latest, self.latest_timestamp)
        if self._journal_is_long():
            batch.erased_names = [*batch.erased_names, beginning_with(_JOURNAL_PREFIX)]
            outdated = {number: self.summaries[number] for number in self._outdated} | changes.summaries
            batch.named += [encode_summary(number, summary) for number, summary in outdated.items()]
        elif changes.summaries:
            name = _JOURNAL_PREFIX + _PLACE.pack(self._journal_end)
            batch.named.append((name, pack_named(name, encode_changes(latest, changes.summaries))))
        if self._journal_is_long() or (not self._begun and _says_something(changes)):
            batch.named.append((_LATEST, pack_named(_LATEST, _TIMESTAMP.pack(latest))))
        if changes.damaged or changes.lifted:
            encoded = self.quarantine.encode(changes.damaged, changes.lifted)
            batch.named.append((_QUARANTINE, pack_named(_QUARANTINE, encoded) if encoded else None))

    def _journal_is_long(self) -> bool:
        return self._journal_end - self._journal_begin >= JOURNAL_ROWS

    def apply(self, changes: Changes) -> None:
        """Take over what has been stored."""
        self._begun = self._begun or _says_something(changes)
        if self._journal_is_long():
            self._journal_begin = self._journal_end
            self._outdated.clear()
        elif changes.summaries:
            self._journal_end += 1
            self._outdated |= dict.fromkeys(changes.summaries)
        self.summaries.apply(changes.summaries)
        self.latest_timestamp = max(self.latest_timestamp, changes.latest)
        self.quarantine.lift(changes.lifted)
        for number, reason in changes.damaged.items():
            self.quarantine.add([number], reason)

    def _read(self, store: Store, latest: bytes) -> Changes:
        """Read what is there; what cannot be read of it is answered as changes."""
        self._begun = True
        self.latest_timestamp = _TIMESTAMP.unpack(unpack_named(_LATEST, latest))[0]
        if (quarantined := store.read_named(_QUARANTINE)) is not None:
            self.quarantine = Quarantine.decode(unpack_named(_QUARANTINE, quarantined))
        changes = Changes()
        for name, packed in store.named_rows(SUMMARY_PREFIX):
            number = summarized_in(name)
            if number is None:
                raise Corruption(f"the named value {name!r} is no segment's summary")
            try:
                self.summaries.apply({number: decode_summary(unpack_named(name, packed))})
            except Corruption as corruption:
                changes.damaged[number] = str(corruption)
        try:
            self._replay(store)
        except Corruption:
            self._journal_end = self._journal_begin + JOURNAL_ROWS  # as long as one that is dropped
            changes = _found_in(store)
            changes.summaries = dict.fromkeys(range(SEGMENTS), NOTHING) | changes.summaries
        return changes

    def _replay(self, store: Store) -> None:
        """Raises Corruption when not all of the journal can be read."""
        for name, packed in store.named_rows(_JOURNAL_PREFIX):
            latest, summaries = decode_changes(unpack_named(name, packed))
            place = int.from_bytes(name[len(_JOURNAL_PREFIX) :], "big")
            if not self._outdated:
                self._journal_begin = place
            self._journal_end = place + 1
            self.latest_timestamp = max(self.latest_timestamp, latest)
            self.summaries.apply(summaries)
            self._outdated |= dict.fromkeys(summaries)


def _says_something(changes: Changes) -> bool:
    return bool(changes.summaries or changes.damaged)


def recount(store: Store, number: int) -> tuple[Summary, int]:
    """What a segment's entries add up to, each verified, and their latest timestamp. Raises Corruption."""
    return _count(store, segment_stretch(number))


def _count(store: Store, stretch: Stretch) -> tuple[Summary, int]:
    summary, latest = NOTHING, 0
    for stored, packed in store.rows(stretch):
        latest = max(latest, unpack(stored, packed).version.timestamp)
        summary = summary.plus(summary_of_packed(stored, packed))
    return summary, latest


def _found_in(store: Store) -> Changes:
    """The ledger of what is there; segments that cannot be read go into quarantine."""
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
        return next(store.rows(Stretch(b"", None)), None) is None
    except Corruption:
        return False


NOT_ADDING_UP = "its entries do not add up to its summary"


def erasing(store: Store, ledger: Ledger, spans: Sequence[TokenRange]) -> Changes:
    """The changes that go with deleting every entry of the spans. Damage in a cut segment shows as quarantine."""
    touched = touched_by(spans)
    changes = Changes(
        {number: NOTHING for number in touched.whole if ledger.summaries[number] != NOTHING},
        lifted={number for number in touched.whole if number in ledger.quarantine},
    )
    for number in touched.cut:
        if number in ledger.quarantine:
            continue  # what it holds stays unknown
        try:
            inside, outside = _divide(store, number, spans)
        except Corruption as corruption:
            changes.damaged[number] = str(corruption)
            continue
        if inside.plus(outside) != ledger.summaries[number]:
            changes.damaged[number] = NOT_ADDING_UP
        if inside != NOTHING:
            changes.summaries[number] = outside
    return changes


def _divide(store: Store, number: int, spans: Sequence[TokenRange]) -> tuple[Summary, Summary]:
    """What of a segment lies in some of the spans, and what in none."""
    inside, outside = NOTHING, NOTHING
    for stored, packed in store.rows(segment_stretch(number)):
        summary = summary_of_packed(stored, packed)
        if any(span.contains(token_in(stored)) for span in spans):
            inside = inside.plus(summary)
        else:
            outside = outside.plus(summary)
    return inside, outside
