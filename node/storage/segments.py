"""Segments: the token space in a fixed number of equal parts, the same at every node.

What is kept about the entries held is kept for each segment: how many, how large, their digest, and whether
they are in quarantine. Ranges may cut segments anywhere; the parts that they cut are looked at entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...ring.tokens import TOKEN_SPACE, TokenRange
from .encoding import Stretch, intervals, stretch_of, token_in

SEGMENTS = 4096
SEGMENT_WIDTH = TOKEN_SPACE // SEGMENTS


class SegmentPart(NamedTuple):
    """Tokens ``first`` to ``last``, all within the segment ``number``."""

    number: int
    first: int
    last: int

    @property
    def whole(self) -> bool:
        return self.last - self.first == SEGMENT_WIDTH - 1

    @property
    def stretch(self) -> Stretch:
        """Where the keys of these tokens are stored."""
        return stretch_of(self.first, self.last)


def segment_of(token: int) -> int:
    return token // SEGMENT_WIDTH


def segment_in(stored: bytes) -> int:
    """The segment that a stored key lies in: the first 12 bits of its token."""
    return stored[0] << 4 | stored[1] >> 4


def segment_span(number: int) -> TokenRange:
    first = number * SEGMENT_WIDTH
    return TokenRange((first - 1) % TOKEN_SPACE, _last_token(number))


def segment_stretch(number: int) -> Stretch:
    """Where the keys of a segment are stored."""
    return stretch_of(number * SEGMENT_WIDTH, _last_token(number))


def within(stretch: Stretch) -> range:
    """The segments that a stretch lies in."""
    end = SEGMENTS if stretch.end is None else segment_of(token_in(stretch.end) - 1) + 1
    return range(segment_of(token_in(stretch.begin)), end)


def clip(stretch: Stretch, number: int) -> Stretch:
    """What of a stretch lies in the segment, which it touches."""
    begin, end = segment_stretch(number)
    if stretch.end is not None:
        end = stretch.end if end is None else min(end, stretch.end)
    return Stretch(max(begin, stretch.begin), end)


def common(span: TokenRange, other: TokenRange) -> list[TokenRange]:
    """What two spans share; two spans when they overlap at both ends."""
    return [
        TokenRange((max(first, begin) - 1) % TOKEN_SPACE, min(last, end))
        for first, last in intervals(span)
        for begin, end in intervals(other)
        if max(first, begin) <= min(last, end)
    ]


class Split(NamedTuple):
    """A span, or tokens in a row, cut at the borders of segments."""

    whole: list[int]
    cut: list[SegmentPart]


def split(span: TokenRange) -> Split:
    """Whole segments, and the parts of those that the span cuts."""
    if span.width == TOKEN_SPACE:
        return Split(list(range(SEGMENTS)), [])
    whole: list[int] = []
    cut: list[SegmentPart] = []
    for first, last in intervals(span):
        low, high = segment_of(first), segment_of(last)
        head = SegmentPart(low, first, min(last, _last_token(low)))
        tail = SegmentPart(high, max(first, high * SEGMENT_WIDTH), last)
        ends = [head] if low == high else [head, tail]
        cut += [part for part in ends if not part.whole]
        whole += [part.number for part in ends if part.whole]
        whole += range(low + 1, high)
    return Split(whole, cut)


class Touched(NamedTuple):
    """The segments in which spans lie: covered as a whole, or cut."""

    whole: tuple[int, ...]
    cut: tuple[int, ...]


def touched_by(spans: Sequence[TokenRange]) -> Touched:
    whole: set[int] = set()
    cut: set[int] = set()
    for span in spans:
        parts = split(span)
        whole.update(parts.whole)
        cut.update(part.number for part in parts.cut)
    return Touched(tuple(sorted(whole)), tuple(sorted(cut - whole)))


def _last_token(number: int) -> int:
    return (number + 1) * SEGMENT_WIDTH - 1
