"""What deleting ranges makes of the ledger: segments that they cover are empty then, those they cut are counted."""

from __future__ import annotations

from collections.abc import Sequence

from ...ring.span import TokenRange
from ..errors import Corruption
from .encoding import token_in
from .ledger import Changes, Ledger
from .segments import segment_stretch, touched_by
from .store import Store
from .summary import NOTHING, Summary, summary_of_packed

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
