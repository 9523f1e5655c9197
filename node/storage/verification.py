"""Checking a segment as a whole: each entry against its checksum, and all of them against the summary.

The second finds what the first cannot: an entry that is not there although it was written, or is an older one
than was written. A step is bounded, so that the node does not stand still; entries are those of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Corruption
from .encoding import unpack
from .ledger import Ledger
from .range_delete import NOT_ADDING_UP
from .reads import Found
from .segments import segment_stretch
from .store import Store
from .summary import NOTHING, summary_of_packed

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
