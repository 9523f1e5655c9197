"""Digests of ranges: whole segments by their summaries, the parts that a range cuts off by their entries.

A cut part is read once and its digest kept until the segment changes, for comparisons come back to the same
ranges again and again.
"""

from __future__ import annotations

from ...ring.span import TokenRange
from .encoding import digest_of
from .reads import Reads
from .segments import SegmentPart, split
from .summary import NOTHING, Summaries, Summary

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
