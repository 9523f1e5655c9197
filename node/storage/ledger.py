"""The ledger: what an engine keeps about its entries, stored in the same batch as the entries that change it.

It has each segment's summary, the segments in quarantine, and the latest timestamp ever merged. A ledger that
was never begun (a new folder, or one of an older format) is made from what is found, once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ..errors import Corruption
from .encoding import Stretch, pack_named, unpack, unpack_named
from .quarantine import Quarantine
from .segments import SEGMENTS, segment_stretch
from .store import Batch, Store
from .summary import (
    NOTHING,
    SUMMARY_PREFIX,
    Summaries,
    Summary,
    decode_summary,
    encode_summary,
    summarized_in,
    summary_of_packed,
)

_QUARANTINE = b"\xffquarantine"
_LATEST = b"\xfflatest"
"""Written with the first of anything, so where it is missing there are no entries, or there is no ledger yet."""
_FORMER_PREFIX = b"\xffusage"
"""Of the counts that format 1 had; nothing else can tell a folder of it from a new one."""
_TIMESTAMP = struct.Struct(">Q")


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

    @classmethod
    def open(cls, store: Store) -> Ledger:
        """Read it, or make it from the entries found. Raises Corruption and StorageFailed."""
        ledger = cls()
        latest = store.read_named(_LATEST)
        changes = _found_in(store) if latest is None else ledger._read(store, latest)
        named = ledger.rows(changes)
        if latest is None:
            named += [(name, None) for name, _ in store.named_rows(_FORMER_PREFIX)]
        if named:
            store.write(Batch(named=named))
        ledger.apply(changes)
        return ledger

    def rows(self, changes: Changes) -> list[tuple[bytes, bytes | None]]:
        """The rows that keep what changes."""
        rows = [encode_summary(number, summary) for number, summary in changes.summaries.items()]
        if changes.latest > self.latest_timestamp or (not self._begun and _says_something(changes)):
            rows.append((_LATEST, pack_named(_LATEST, _TIMESTAMP.pack(changes.latest))))
        if changes.damaged or changes.lifted:
            encoded = self.quarantine.encode(changes.damaged, changes.lifted)
            rows.append((_QUARANTINE, pack_named(_QUARANTINE, encoded) if encoded else None))
        return rows

    def apply(self, changes: Changes) -> None:
        """Note what has been stored."""
        self._begun = self._begun or _says_something(changes)
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
        return changes


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
